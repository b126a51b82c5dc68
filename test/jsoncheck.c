/* jsoncheck [-d DEPTH] FILE - parses FILE with the project's parser and writes the value back with its writer.
 * Exit 0: valid, one compact line on standard output.  1: refused, FILE:LINE:COLUMN: reason on standard output.
 * 2: wrong usage, FILE can't be read, or the result can't be written. */
#include "../json.c"

#include <errno.h>
#include <stdio.h>

static int usage(void)
{
	fputs("usage: jsoncheck [-d DEPTH] FILE\n", stderr);
	return 2;
}

static bool read_depth(const char *text, unsigned *depth)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	*depth = (unsigned)value;
	return is_digit(*text) && *end == '\0' && errno == 0 && value <= UINT32_MAX / 2;
}

static bool read_all(const char *name, struct json_out *bytes)
{
	FILE *file = fopen(name, "rb");
	char chunk[1 << 14];
	size_t n;
	bool ok;

	if (!file)
		return false;
	while ((n = fread(chunk, 1, sizeof chunk, file)) > 0)
		put_bytes(bytes, chunk, n);
	ok = !ferror(file) && !bytes->failed;
	fclose(file);
	return ok;
}

static int check(const char *name, const struct json_out *bytes, unsigned depth)
{
	struct arena arena = {0};
	struct json_out out = {0};
	struct json_error error;
	struct json root;
	bool valid = parse_within(&arena, bytes->bytes, bytes->length, depth, &root, &error);
	bool written;

	if (valid) {
		json_put_value(&out, root, 0);
		put_char(&out, '\n');
		written = !out.failed && fwrite(out.bytes, 1, out.length, stdout) == out.length;
	} else {
		written = printf("%s:%zu:%zu: %s\n", name, error.line, error.column, error.what) > 0;
	}
	written = fflush(stdout) == 0 && written;
	json_out_free(&out);
	arena_free(&arena);
	if (!written)
		fputs("jsoncheck: standard output or memory failed\n", stderr);
	return !written ? 2 : !valid;
}

int main(int argc, char **argv)
{
	unsigned depth = JSON_DEPTH;
	struct json_out bytes = {0};
	int i = 1, status = 2;

	if (i < argc && strcmp(argv[i], "-d") == 0) {
		if (i + 1 >= argc || !read_depth(argv[i + 1], &depth))
			return usage();
		i += 2;
	}
	if (argc - i != 1 || argv[i][0] == '-')
		return usage();
	if (read_all(argv[i], &bytes))
		status = check(argv[i], &bytes, depth);
	else
		fprintf(stderr, "jsoncheck: %s: cannot be read\n", argv[i]);
	json_out_free(&bytes);
	return status;
}
