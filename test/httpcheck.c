/* httpcheck.c - the HTTP client's reading of an answer, to be judged from outside.
 * The file's bytes are what a server sent in answer to a GET before its connection ended.  They go through
 * http.c's own functions in the order of a real exchange: answer_feed for what comes, answer_end if the answer is
 * not decided then.  A body in gzip is printed as what it says.  One in another coding the client does not read: of a
 * status other than 2xx only that counts then, and it is printed with no body. */
#include "../http.c"

static const char usage[] =
	"usage: httpcheck [-1] [-c|-e] FILE\n"
	"       httpcheck -z FILE\n"
	"  -1  one byte at a time\n"
	"  -c  the connection ends with close_notify (default)\n"
	"  -e  it ends without\n"
	"  -z  FILE holds bodies in gzip, each behind its length in four bytes, lowest first; prints a\n"
	"      line for each: length and CRC-32 of what it says, or why it is refused\n";

static enum verdict feed(struct answer *a, const char *bytes, size_t length, size_t piece)
{
	enum verdict v = ANSWER_MORE;
	size_t at, used;

	for (at = 0; at < length && v == ANSWER_MORE; at += used)
		v = answer_feed(a, bytes + at, length - at < piece ? length - at : piece, &used);
	return v;
}

static int report(struct answer *a, enum verdict v)
{
	bool good = v == ANSWER_WHOLE;

	if (good) {
		printf("%d %lu\n", a->head.status, (unsigned long)a->length);
		if (a->length)
			fwrite(a->bytes, 1, a->length, stdout);
	} else {
		printf("%s\n", v == ANSWER_NO_MEMORY ? "no memory" : a->why);
	}
	answer_free(a);
	return fflush(stdout) == 0 && !ferror(stdout) ? !good : 2;
}

static int check_answer(const struct json_out *in, size_t piece, bool clean)
{
	struct answer a;
	enum verdict v;

	memset(&a, 0, sizeof a);
	a.now = wall_us() / 1000000;
	v = feed(&a, in->bytes, in->length, piece);
	if (v == ANSWER_MORE)
		v = answer_end(&a, clean);
	return report(&a, v);
}

static void check_body(const char *bytes, size_t length)
{
	const char *why;
	char *out;
	size_t n;

	if (gunzip(bytes, length, HTTP_BODY_LIMIT, &out, &n, &why) == ANSWER_WHOLE)
		printf("%lu %08lx\n", (unsigned long)n, (unsigned long)crc32_of((const unsigned char *)out, n));
	else
		printf("%s\n", why ? why : "no memory");
	free(out);
}

static int check_bodies(const struct json_out *in)
{
	size_t at = 0, n;

	while (in->length - at >= 4) {
		n = load32((const unsigned char *)in->bytes + at);
		at += 4;
		if (n > in->length - at)
			break;
		check_body(in->bytes + at, n);
		at += n;
	}
	return at == in->length && fflush(stdout) == 0 && !ferror(stdout) ? 0 : 2;
}

static int wrong_usage(void)
{
	fputs(usage, stderr);
	return 2;
}

int main(int argc, char **argv)
{
	bool clean = true, bodies = false;
	size_t piece = SIZE_MAX;
	struct json_out in = {0};
	int option, status;

	while ((option = getopt(argc, argv, "1cez")) != -1) {
		switch (option) {
		case '1': piece = 1; break;
		case 'c': clean = true; break;
		case 'e': clean = false; break;
		case 'z': bodies = true; break;
		default: return wrong_usage();
		}
	}
	if (argc - optind != 1)
		return wrong_usage();
	status = file_read(argv[optind], SIZE_MAX / 4, &in);
	if (status) {
		fprintf(stderr, "%s: %s\n", argv[optind], strerror(status));
		return 2;
	}
	status = bodies ? check_bodies(&in) : check_answer(&in, piece, clean);
	json_out_free(&in);
	return status;
}
