/* fuzz.h - what the fuzzing programs share.  Each holds a table of targets; the variable FUZZ_TARGET names the one to run.
 * A target gets bytes and calls must() for all that has to hold of them; libFuzzer (LLVM) finds the bytes. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* bytes: in memory of just that length, so that AddressSanitizer sees who reads beyond it. */
struct fuzz_target {
	const char *name;
	void (*run)(const char *bytes, size_t length);
};

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void (*fuzz_run)(const char *bytes, size_t length);

/* The end of the run where it is not so; libFuzzer keeps the bytes. */
static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz: this does not hold: %s\n", what);
	abort();
}

/* libFuzzer's begin, for a table of the file's own. */
static int fuzz_choose(const struct fuzz_target *targets, size_t n)
{
	const char *name = getenv("FUZZ_TARGET");
	size_t i;

	for (i = 0; i < n; i++)
		if (name && strcmp(targets[i].name, name) == 0)
			fuzz_run = targets[i].run;
	if (!fuzz_run) {
		fprintf(stderr, "fuzz: FUZZ_TARGET: one of");
		for (i = 0; i < n; i++)
			fprintf(stderr, " %s", targets[i].name);
		fputc('\n', stderr);
		exit(2);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	fuzz_run((const char *)bytes, length);
	return 0;
}

/* ---- Bytes that decide ---- */

/* Taken from the end, so that what stands before them stays where it is; none left: 0 each time. */
struct dice {
	const char *s;
	size_t n;
};

/* 0 to sides - 1; of at most 256. */
static inline unsigned throw_dice(struct dice *d, unsigned sides)
{
	return d->n ? (unsigned char)d->s[--d->n] % sides : 0;
}

#endif
