/* check.h - unit tests that speak TAP, the Test Anything Protocol (version 12), to be run by prove or any other harness.
 * A test program calls check() and check_text() any number of times and returns check_done() from main. */
#ifndef CHECK_H
#define CHECK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct check_totals {
	unsigned run, failed;
};

static struct check_totals check_totals;

/* One "ok" or "not ok" line, named by the format.  Returns ok. */
static inline bool check(bool ok, const char *format, ...)
{
	va_list args;

	check_totals.run++;
	check_totals.failed += !ok;
	printf("%sok %u - ", ok ? "" : "not ", check_totals.run);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	return ok;
}

/* The text with its control characters made visible, as a TAP comment. */
static inline void check_show(const char *label, const char *text, size_t length)
{
	size_t i;

	printf("# %s: ", label);
	for (i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == '\n')
			fputs("\\n", stdout);
		else if (c < 0x20 || c == 0x7f)
			printf("\\x%02x", c);
		else
			putchar(c);
	}
	putchar('\n');
}

/* Are these bytes the text that was expected?  Shows both where they are not. */
static inline bool check_bytes(const char *got, size_t length, const char *expected, const char *name)
{
	bool ok = got && length == strlen(expected) && memcmp(got, expected, length) == 0;

	check(ok, "%s", name);
	if (!ok) {
		check_show("expected", expected, strlen(expected));
		check_show("got     ", got ? got : "(null)", got ? length : 6);
	}
	return ok;
}

static inline bool check_text(const char *got, const char *expected, const char *name)
{
	return check_bytes(got, got ? strlen(got) : 0, expected, name);
}

/* The plan line; what main returns. */
static inline int check_done(void)
{
	printf("1..%u\n", check_totals.run);
	return check_totals.failed != 0;
}

#endif
