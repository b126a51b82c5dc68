/* httpcheck.c - the HTTP client's reading of an answer, to be judged from outside.
 * The file's bytes are what a server sent in answer to a GET before its connection ended.  They go through
 * http.c's own functions in the order of a real exchange: answer_feed for what comes, answer_end if the answer is
 * not decided then.  The client does not read a body in a content coding; of a status other than 2xx only that counts
 * then, and it is printed with no body. */
#include "../http.c"

static const char usage[] = "usage: httpcheck [-1] [-c|-e] FILE\n"
			    "  -1  one byte at a time\n"
			    "  -c  the connection ends with close_notify (default)\n"
			    "  -e  it ends without\n";

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

int main(int argc, char **argv)
{
	struct answer a;
	enum verdict v;
	bool clean = true;
	size_t piece = SIZE_MAX;
	struct json_out bytes = {0};
	int error;
	int option;

	while ((option = getopt(argc, argv, "1ce")) != -1) {
		if (option == '?') {
			fputs(usage, stderr);
			return 2;
		}
		if (option == '1')
			piece = 1;
		else
			clean = option == 'c';
	}
	if (argc - optind != 1) {
		fputs(usage, stderr);
		return 2;
	}
	error = file_read(argv[optind], SIZE_MAX / 4, &bytes);
	if (error) {
		fprintf(stderr, "%s: %s\n", argv[optind], strerror(error));
		return 2;
	}
	memset(&a, 0, sizeof a);
	a.now = wall_us() / 1000000;
	v = feed(&a, bytes.bytes, bytes.length, piece);
	if (v == ANSWER_MORE)
		v = answer_end(&a, clean);
	json_out_free(&bytes);
	return report(&a, v);
}
