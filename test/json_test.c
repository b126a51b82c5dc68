/* json_test.c - unit tests of json.c: arena, parser, access, output.
 * Every text is parsed where it ends right before an unreadable page, whole and cut at each byte, so that a parser
 * which looks one byte too far dies. */
#include <stdbool.h>
#include <stdlib.h>

/* Allocation that fails when it is told to, and never returns zeroed memory: nobody may rely on that. */
enum { NEVER = -1 };

static long calls_to_failure = NEVER;

static bool failure_is_due(void)
{
	return calls_to_failure != NEVER && calls_to_failure-- == 0;
}

static void *fault_malloc(size_t size)
{
	unsigned char *p = failure_is_due() ? NULL : malloc(size);
	size_t i;

	for (i = 0; p && i < size && i < 4096; i++)
		p[i] = 0x55;
	return p;
}

static void *fault_realloc(void *old, size_t size)
{
	return failure_is_due() ? NULL : realloc(old, size);
}

#define malloc  fault_malloc
#define realloc fault_realloc
#include "../json.c"
#undef malloc
#undef realloc

#include "check.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
/* A literal as a slice; it may hold NUL bytes. */
/* Versions of clang-format disagree on braces here. */
/* clang-format off */
#define TEXT(literal) {literal, sizeof(literal) - 1}
/* clang-format on */

/* ---- Helpers ---- */

/* Memory that is followed by an unreadable page. */
enum { GUARDED = 1 << 16 };

static char *guarded_end;

static bool guard_make(void)
{
	long page = sysconf(_SC_PAGESIZE);
	int zero = open("/dev/zero", O_RDWR);
	char *begin;

	if (page <= 0 || zero < 0)
		return false;
	begin = mmap(NULL, GUARDED + (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
	close(zero);
	if (begin == MAP_FAILED)
		return false;
	guarded_end = begin + GUARDED;
	return mprotect(guarded_end, (size_t)page, PROT_NONE) == 0;
}

/* A parsed text, and all that belongs to it. */
struct parsed {
	struct arena arena;
	struct json root;
	struct json_error error;
	bool ok;
};

static struct parsed parse(struct str text)
{
	struct parsed p = {.root = {"", NULL}};

	if (text.n)
		memcpy(guarded_end - text.n, text.s, text.n);
	p.ok = json_parse(&p.arena, guarded_end - text.n, text.n, &p.root, &p.error);
	return p;
}

static void parsed_free(struct parsed *p)
{
	arena_free(&p->arena);
}

static struct str put(const struct json_out *out)
{
	struct str s = {out->bytes, out->length};

	return s;
}

static bool same(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.s, b.s, a.n) == 0);
}

/* check() that two slices are equal, shown where they are not. */
static void check_same(struct str got, struct str expected, const char *name)
{
	if (!check(same(got, expected), "%s", name)) {
		check_show("expected", expected.s, expected.n);
		check_show("got     ", got.s, got.n);
	}
}

static struct str slice(const char *s, size_t n)
{
	struct str part = {s, n};

	return part;
}

/* ---- Slices, characters, errors ---- */

static void test_words(void)
{
	static const struct {
		const char *text, *lower;
		bool expected;
	} words[] = {{"gzip", "gzip", true},   {"GZip", "gzip", true},  {"", "", true},   {"gzi", "gzip", false},
		     {"gzipp", "gzip", false}, {"gzi@", "gzip", false}, {"[", "{", false}};
	size_t i;

	for (i = 0; i < countof(words); i++)
		check(str_is_word(str_of(words[i].text), words[i].lower) == words[i].expected,
		      "\"%s\" is%s the word %s", words[i].text, words[i].expected ? "" : " not", words[i].lower);
}

static void test_cuts(void)
{
	struct str rest = str_of("a,,b"), none = {NULL, 0}, part;

	part = str_cut(&rest, ',');
	check(str_is(part, "a") && str_is(rest, ",b"), "the first part");
	part = str_cut(&rest, ',');
	check(str_is(part, "") && str_is(rest, "b"), "an empty part");
	part = str_cut(&rest, ',');
	check(str_is(part, "b") && rest.n == 0, "the last part");
	part = str_cut(&none, ',');
	check(part.n == 0 && none.n == 0, "a slice without an address");
	check(str_is(str_trim(str_of(" \t a b\r\n")), "a b"), "blanks around");
	check(str_is(str_trim(str_of(" \n")), ""), "nothing but blanks");
	check(str_width(str_of("abc"), 2) == 2 && str_width(str_of("abc"), 5) == 3, "a width");
}

static void test_characters(void)
{
	int c, digits = 0, letters = 0, hex = 0;

	for (c = 0; c < 256; c++) {
		digits += is_digit((char)c);
		letters += is_alpha((char)c);
		hex += hex_value((char)c) >= 0;
	}
	check(digits == 10 && letters == 52 && hex == 22, "the characters of each kind");
	check(hex_value('0') == 0 && hex_value('9') == 9 && hex_value('a') == 10 && hex_value('F') == 15,
	      "hexadecimal digits");
	check(to_lower('A') == 'a' && to_lower('Z') == 'z' && to_lower('@') == '@' && to_lower('[') == '[',
	      "lower case");
}

static void test_errors(void)
{
	struct error error = {""};
	size_t i;

	check(!fail(&error, "%s %d", "a", 1), "fail returns false");
	error_add(&error, ", %s", "b");
	check_text(error.text, "a 1, b", "an error and what was added");
	fail(&error, "c");
	check_text(error.text, "c", "an error in the place of another");
	check(!error_about(&error, NULL), "an error about nothing");
	check_text(error.text, "c", "stays as it is");
	check(!error_about(&error, "file"), "an error about a file");
	check_text(error.text, "file: c", "begins with its name");
	for (i = 0; i < ERROR_SIZE; i++)
		error_add(&error, "dd");
	check(strlen(error.text) == ERROR_SIZE - 1, "an error that is too long is cut");
}

static void test_days(void)
{
	int64_t days = 7;

	check(days_since_1970(1970, 1, 1, &days) && days == 0, "day 0");
	check(days_since_1970(2000, 2, 29, &days) && days == 11016, "a leap day");
	check(days_since_1970(1969, 12, 31, &days) && days == -1, "the day before");
	check(!days_since_1970(1900, 2, 29, &days) && !days_since_1970(0, 1, 1, &days) &&
		      !days_since_1970(2000, 0, 1, &days) && !days_since_1970(2000, 13, 1, &days) && days == -1,
	      "dates that are none");
}

/* ---- Time ---- */

static const struct {
	const char *text, *expected; /* NULL: refused */
} instants[] = {
	{"1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"},
	{"2021-02-01", "2021-02-01T00:00:00.000000Z"},
	{"2021-02-01T00:00:00.000Z", "2021-02-01T00:00:00.000000Z"},
	{"2021-02-01T12:34:56.7Z", "2021-02-01T12:34:56.700000Z"},
	{"2021-02-01T12:34:56.123456Z", "2021-02-01T12:34:56.123456Z"},
	{"2021-02-01T12:34:56.123456789Z", "2021-02-01T12:34:56.123456Z"},
	{"2021-02-01T12:34:56.999999999999999999Z", "2021-02-01T12:34:56.999999Z"},
	{"2021-02-01t12:34:56z", "2021-02-01T12:34:56.000000Z"},
	{"2021-02-01 12:34:56Z", "2021-02-01T12:34:56.000000Z"},
	{"2021-02-01T00:30:00+01:00", "2021-01-31T23:30:00.000000Z"},
	{"2021-01-31T23:30:00.5-01:00", "2021-02-01T00:30:00.500000Z"},
	{"2021-02-01T00:00:00-00:00", "2021-02-01T00:00:00.000000Z"},
	{"2021-02-01T00:00:00+23:59", "2021-01-31T00:01:00.000000Z"},
	{"2020-02-29", "2020-02-29T00:00:00.000000Z"},
	{"2000-02-29T23:59:59Z", "2000-02-29T23:59:59.000000Z"},
	{"2021-12-31T23:59:59.999999Z", "2021-12-31T23:59:59.999999Z"},
	{"2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z"},
	{"2016-12-31T23:59:60.25Z", "2017-01-01T00:00:00.250000Z"},
	{"1990-12-31T15:59:60-08:00", "1991-01-01T00:00:00.000000Z"},
	{"1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"},
	{"1900-03-01T00:00:00Z", "1900-03-01T00:00:00.000000Z"},
	{"2038-01-19T03:14:08Z", "2038-01-19T03:14:08.000000Z"},
	{"2106-02-07T06:28:16Z", "2106-02-07T06:28:16.000000Z"},
	{"0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"},
	{"9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"},
	{"0000-12-31T23:59:59-00:01", NULL}, /* year 0, though its instant is in year 1 */
	{"0001-01-01T00:00:00+00:01", NULL},
	{"9999-12-31T23:59:59-00:01", NULL},
	{"9999-12-31T23:59:60Z", NULL},
	{"2021-02-29", NULL},
	{"1900-02-29", NULL},
	{"2021-00-10", NULL},
	{"2021-13-10", NULL},
	{"2021-04-31", NULL},
	{"2021-04-00", NULL},
	{"2021-02-01T24:00:00Z", NULL},
	{"2021-02-01T23:60:00Z", NULL},
	{"2021-02-01T23:59:61Z", NULL},
	{"2021-02-01T12:00:60Z", NULL}, /* no leap second there */
	{"2016-12-31T23:59:60+01:00", NULL},
	{"2021-02-01T12:34:56", "2021-02-01T12:34:56.000000Z"}, /* no zone: UTC */
	{"2026-11-26T03:31:44.299964", "2026-11-26T03:31:44.299964Z"},
	{"2021-02-01 12:34:56", "2021-02-01T12:34:56.000000Z"},
	{"2021-02-01T12:34Z", "2021-02-01T12:34:00.000000Z"}, /* no second */
	{"2021-02-01T12:34", "2021-02-01T12:34:00.000000Z"},
	{"2021-02-01T12:34+01:00", "2021-02-01T11:34:00.000000Z"},
	{"2021-02-01T12:34:56+0000", "2021-02-01T12:34:56.000000Z"}, /* no colon */
	{"2021-02-01T12:34:56.5-0130", "2021-02-01T14:04:56.500000Z"},
	{"2021-02-01T12:34:56.5", "2021-02-01T12:34:56.500000Z"},
	{"2016-12-31T23:59:60", "2017-01-01T00:00:00.000000Z"},
	{"2021-02-01T12", NULL},
	{"2021-02-01T12:3", NULL},
	{"2021-02-01T12:34:", NULL},
	{"2021-02-01T12:34:5", NULL},
	{"2021-02-01T12:34.5Z", NULL}, /* a fraction of a minute */
	{"2021-02-01T24:00", NULL},
	{"2021-02-01T12:60", NULL},
	{"2021-02-01T12:34 ", NULL},
	{"2021-02-01T12:34:56+2400", NULL},
	{"2021-02-01T12:34:56+0160", NULL},
	{"2021-02-01T12:34:56*0100", NULL},
	{"2021-02-01T12:34:56+01000", NULL},
	{"2021-02-01T12:34:56+010", NULL},
	{"2021-02-01+00:00", NULL},
	{"2021-02-01T12-34:56Z", NULL},
	{"2021-02-01T12:34-56Z", NULL},
	{"2021-02-01x12:34:56Z", NULL},
	{"2021-02-01T12:34:56+01-00", NULL},
	{"2021-02-01T12:34:56.Z", NULL},
	{"2021-02-01T12:34:56,5Z", NULL},
	{"2021-02-01T12:34:56+24:00", NULL},
	{"2021-02-01T12:34:56+01:60", NULL},
	{"2021-02-01T12:34:56+01", NULL},
	{"2021-02-01T12:34:56 Z", NULL},
	{"2021-02-01T12:34:56ZZ", NULL},
	{"2021-02-01T", NULL},
	{"2021-02-01Z", NULL},
	{"2021-2-1", NULL},
	{"21-02-01", NULL},
	{"20a1-02-01", NULL},
	{"2021/02/01", NULL},
	{"+2021-02-01", NULL},
	{"-021-02-01", NULL},
	{" 2021-02-01", NULL},
	{"2021-02-01 ", NULL},
	{"1612137600", NULL},
	{"now", NULL},
	{"", NULL},
};

/* Each text stands at the end of a block of its own, so that a sanitizer sees a read past it. */
static void test_time_vectors(void)
{
	char out[TIME_SIZE];
	size_t i;

	for (i = 0; i < countof(instants); i++) {
		size_t n = strlen(instants[i].text);
		char *copy = malloc(n ? n : 1);
		struct str text = {copy, n};
		int64_t us = -42;
		bool ok;

		if (!copy)
			exit(2);
		memcpy(copy, instants[i].text, n);
		ok = time_parse(text, &us);
		if (ok)
			time_format(us, out);
		check(instants[i].expected ? ok && strcmp(out, instants[i].expected) == 0 : !ok && us == -42,
		      "time \"%s\" is %s", instants[i].text, instants[i].expected ? instants[i].expected : "refused");
		free(copy);
	}
}

static const struct {
	const char *text, *wrong;
} time_faults[] = {
	{"", "it does not begin with YYYY-MM-DD"},
	{"yesterday!", "it does not begin with YYYY-MM-DD"},
	{"2O26-01-01", "it does not begin with YYYY-MM-DD"},
	{"01/02/2026", "it does not begin with YYYY-MM-DD"},
	{"0000-01-01", "there is no such year"},
	{"2026-13-01", "there is no such month"},
	{"2026-02-29", "this month has no such day"},
	{"2026-01-01T", "what follows the date is no time such as T00:00:00Z"},
	{"2026-01-01x00:00:00Z", "what follows the date is no time such as T00:00:00Z"},
	{"2026-01-01T00:00:0xZ", "its second is not two digits"},
	{"2026-01-01T00:00:00.Z", "no digit follows the point"},
	{"2026-01-01T24:00:00Z", "there is no such time of day"},
	{"2026-01-01T00:00:60Z", "there is no leap second at this time"},
	{"2026-01-01T00:00:00 CET", "what follows the time is no zone such as Z or +01:00"},
	{"2026-01-01T00:00:00+24:00", "there is no such zone"},
	{"0001-01-01T00:00:00+01:00", "it is not within the years 1 to 9999"},
};

static void test_time_faults(void)
{
	size_t i;
	int64_t us = 0;

	for (i = 0; i < countof(time_faults); i++)
		check_text(time_read(str_of(time_faults[i].text), &us), time_faults[i].wrong, time_faults[i].text);
	check(!time_read(str_of("2026-01-01"), &us) && us == INT64_C(1767225600000000), "nothing is wrong with a date");
}

static const char *const words[] = {"sources", "destinations", "iam_users", "iam_groups", "audit_events"};

static const struct {
	const char *wanted, *nearest;
	size_t distance;
	bool likely;
} nearest_words[] = {
	{"sources", "sources", 0, true},    {"sourcs", "sources", 1, true},           {"SOURCES", "sources", 0, true},
	{"suorces", "sources", 1, true},    {"ssourcse", "sources", 2, true},         {"users", "iam_users", 4, true},
	{"groups", "iam_groups", 4, true},  {"auditevents", "audit_events", 1, true}, {"", "sources", 7, false},
	{"xyzxyzxyz", "sources", 9, false},
};

static void test_nearest(void)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
	struct nearest longest = {{NULL, 0}, 0, false};
	size_t i, w;

	for (i = 0; i < countof(nearest_words); i++) {
		struct nearest near = {{NULL, 0}, 0, false};
		for (w = 0; w < countof(words); w++)
			nearest_try(&near, str_of(nearest_words[i].wanted), str_of(words[w]));
		check(str_is(near.name, nearest_words[i].nearest) && near.distance == nearest_words[i].distance &&
			      near.likely == nearest_words[i].likely,
		      "nearest to \"%s\": %.*s, %zu", nearest_words[i].wanted, (int)near.name.n, near.name.s,
		      near.distance);
	}
	nearest_try(&longest, str_of(letters), str_of(letters + 1));
	check(longest.distance == 2, "of long words the beginnings are compared");
}

static void test_time_prefixes(void)
{
	static const char whole[] = "2021-02-01T12:34:56.789+01:00";
	size_t n, accepted = 0;

	for (n = 0; n <= strlen(whole); n++) {
		struct str text = {whole, n};
		int64_t us;
		accepted += time_parse(text, &us);
	}
	check(accepted == 7,
	      "of a time's beginnings the date, the minute, the second, three fractions and the whole are times");
}

/* Against a calendar that counts day by day. */
static void test_time_calendar(void)
{
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int year = 1, month = 1, day = 1, wrong = 0;
	int64_t days, back;
	char expected[64], out[TIME_SIZE];

	for (days = -DAYS_TO_1970; year <= 9999; days++) {
		bool leap = year % 400 == 0 || (year % 4 == 0 && year % 100 != 0);
		if (days % 17 == 0 || day >= 28) {
			int64_t us = days * DAY_US + 3723000004;
			snprintf(expected, sizeof expected, "%04d-%02d-%02dT01:02:03.000004Z", year, month, day);
			time_format(us, out);
			wrong += strcmp(out, expected) != 0 || !time_parse(str_of(expected), &back) || back != us;
		}
		if (++day > lengths[month - 1] + (month == 2 && leap)) {
			day = 1;
			month = month % 12 + 1;
			year += month == 1;
		}
	}
	check(wrong == 0, "times of all years from 1 to 9999 there and back");
}

static void test_time_bounds(void)
{
	char out[TIME_SIZE];

	time_format(INT64_MIN, out);
	check_text(out, "0001-01-01T00:00:00.000000Z", "the least number is cut to year 1");
	time_format(INT64_MAX, out);
	check_text(out, "9999-12-31T23:59:59.999999Z", "the greatest number is cut to year 9999");
	time_format(-1, out);
	check_text(out, "1969-12-31T23:59:59.999999Z", "a microsecond before 1970");
}

/* ---- Arena ---- */

static bool is_zero(const unsigned char *p, size_t n)
{
	while (n && *p == 0)
		p++, n--;
	return n == 0;
}

static void test_arena_memory(void)
{
	struct arena arena = {0};
	bool aligned = true, zeroed = true, apart = true;
	size_t i;

	for (i = 1; i < 3000; i += 7) {
		unsigned char *a = arena_alloc(&arena, i, 1), *b = arena_alloc(&arena, 1, i);
		aligned = aligned && (uintptr_t)a % sizeof(double) == 0 && (uintptr_t)b % sizeof(void *) == 0;
		zeroed = zeroed && is_zero(a, i) && is_zero(b, i);
		memset(a, 0xaa, i);
		memset(b, 0xbb, i);
		apart = apart && a[i - 1] == 0xaa && a[0] == 0xaa;
	}
	check(aligned, "arena: every piece is aligned");
	check(zeroed, "arena: every piece is zeroed");
	check(apart, "arena: pieces don't overlap");
	check(arena_alloc(&arena, 0, 8) != NULL, "arena: nothing of something is no failure");
	check(arena_alloc(&arena, 8, 0) != NULL, "arena: something of no size is no failure");
	arena_free(&arena);
	check(arena.block == NULL && arena.held == 0, "arena: nothing is held after arena_free");
	check(arena_alloc(&arena, 1, 1) != NULL, "arena: ready for use after arena_free");
	arena_free(&arena);
}

static void test_arena_overflow(void)
{
	static const struct {
		const char *name;
		size_t count, size;
	} cases[] = {
		{"count * size wraps to zero", SIZE_MAX / 2 + 1, 2},
		{"count * size wraps to little", SIZE_MAX / 4 + 2, 4},
		{"SIZE_MAX bytes", SIZE_MAX, 1},
		{"one piece of SIZE_MAX", 1, SIZE_MAX},
		{"room for the rounding, none for the block's header", SIZE_MAX - sizeof(union alignment), 1},
		{"both as large as can be", SIZE_MAX, SIZE_MAX},
	};
	struct arena arena = {0};
	size_t i;

	for (i = 0; i < COUNT(cases); i++)
		check(arena_alloc(&arena, cases[i].count, cases[i].size) == NULL, "arena: %s is refused",
		      cases[i].name);
	check(arena.held == 0, "arena: nothing is held after refusals");
}

static void test_arena_limit(void)
{
	struct arena arena = {.limit = 10000};
	bool within = true;
	size_t got = 0;

	while (arena_alloc(&arena, 1, 100)) {
		got += 100;
		within = within && arena.held <= arena.limit;
	}
	check(within, "arena: never holds more than its limit");
	check(got > 9000, "arena: most of the limit can be used");
	check(arena_alloc(&arena, 1, 5000) == NULL, "arena: what passes the limit is refused");
	arena.limit = 20000;
	check(arena_alloc(&arena, 1, 5000) != NULL, "arena: a raised limit counts");
	arena.limit = 100;
	check(arena_alloc(&arena, 1, 5000) == NULL, "arena: a limit lowered below what is held counts");
	arena_free(&arena);
}

static void test_arena_reset(void)
{
	struct arena arena = {0};
	size_t held;
	void *large;

	arena_reset(&arena);
	check(arena.held == 0, "arena: reset of an empty one");
	arena_alloc(&arena, 1, 10);
	large = arena_alloc(&arena, 1, 3000000);
	arena_alloc(&arena, 1, 100000);
	held = arena.held;
	arena_reset(&arena);
	check(arena.held >= 3000000 && arena.held < held,
	      "arena: reset keeps the largest block and tells what it holds");
	check(arena.block->older == NULL && arena.held == arena.block->size + BLOCK_HEADER,
	      "arena: held is true after a reset");
	check(arena_alloc(&arena, 1, 3000000) == large, "arena: the block kept is used again");
	check(is_zero(large, 3000000), "arena: memory used again is zeroed");
	arena_free(&arena);
}

static void test_arena_string(void)
{
	struct arena arena = {0};
	const struct str with_nul = TEXT("a\0b");
	char *copy = arena_string(&arena, with_nul);

	check(copy && memcmp(copy, "a\0b\0", 4) == 0, "arena_string: all bytes and an ending NUL");
	check_text(arena_string(&arena, slice(NULL, 0)), "", "arena_string: of an empty slice");
	check(arena_string(&arena, slice("", SIZE_MAX)) == NULL, "arena_string: a length without room for the NUL");
	arena_free(&arena);
}

static void test_arena_out_of_memory(void)
{
	struct arena arena = {0};

	arena_alloc(&arena, 1, 1);
	calls_to_failure = 0;
	check(arena_alloc(&arena, 1, 1 << 20) == NULL, "arena: NULL when malloc fails");
	calls_to_failure = NEVER;
	check(arena_alloc(&arena, 1, 1 << 20) != NULL, "arena: usable after a failure");
	arena_free(&arena);
}

/* ---- Texts that are JSON ---- */

struct accepted {
	const char *name;
	struct str text, compact; /* compact: as written back; no address: the text itself */
};

/* clang-format off */
#define SAME {NULL, 0}
/* clang-format on */

static const struct accepted accepted[] = {
	{"null", TEXT("null"), SAME},
	{"true", TEXT("true"), SAME},
	{"false", TEXT("false"), SAME},
	{"white space: the whole set, around a value", TEXT(" \t\r\n1\n\r\t "), TEXT("1")},
	{"white space: between all tokens", TEXT("\t{ \"a\"\n:\r[ 1\t, 2 ]\n, \"b\" :\t{ } }\r\n"),
	 TEXT("{\"a\":[1,2],\"b\":{}}")},
	{"white space: nine blanks, more than are looked at once", TEXT("         [         ]         "), TEXT("[]")},

	{"number: zero", TEXT("0"), SAME},
	{"number: minus zero", TEXT("-0"), SAME},
	{"number: one digit", TEXT("7"), SAME},
	{"number: many digits", TEXT("123456789012345678901234567890"), SAME},
	{"number: negative", TEXT("-12"), SAME},
	{"number: fraction", TEXT("0.5"), SAME},
	{"number: fraction of minus zero", TEXT("-0.0"), SAME},
	{"number: fraction with zeros at both ends", TEXT("1.0500"), SAME},
	{"number: exponent", TEXT("1e5"), SAME},
	{"number: exponent with plus", TEXT("1E+5"), SAME},
	{"number: exponent with minus", TEXT("1e-5"), SAME},
	{"number: exponent with leading zeros", TEXT("1e007"), SAME},
	{"number: zero with exponent", TEXT("0e1"), SAME},
	{"number: all parts", TEXT("-12.34E-56"), SAME},
	{"number: beyond any double", TEXT("1e999999"), SAME},
	{"number: below any double", TEXT("-1e-999999"), SAME},
	{"number: in an array, before a comma and a bracket", TEXT("[-0,1.5e3,0]"), SAME},
	{"number: before white space", TEXT("[1 ,2\n]"), TEXT("[1,2]")},

	{"string: empty", TEXT("\"\""), SAME},
	{"string: one letter", TEXT("\"a\""), SAME},
	{"string: seven letters", TEXT("\"abcdefg\""), SAME},
	{"string: eight letters", TEXT("\"abcdefgh\""), SAME},
	{"string: nine letters", TEXT("\"abcdefghi\""), SAME},
	{"string: sixteen letters", TEXT("\"abcdefghijklmnop\""), SAME},
	{"string: every short escape", TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), SAME},
	{"string: unicode escape in both cases", TEXT("\"\\u00e9\\u00E9\\uABCD\\uabcd\""), SAME},
	{"string: escaped NUL", TEXT("\"\\u0000\""), SAME},
	{"string: escape right before the end", TEXT("\"abcdef\\n\""), SAME},
	{"string: escape across the eighth byte", TEXT("\"abcdefg\\u0041bc\""), SAME},
	{"string: pair of surrogates", TEXT("\"\\ud83d\\ude00\""), SAME},
	{"string: high surrogate alone", TEXT("\"\\ud83d\""), SAME},
	{"string: low surrogate alone", TEXT("\"\\ude00\""), SAME},
	{"string: surrogates the wrong way round", TEXT("\"\\ude00\\ud83d\""), SAME},
	{"string: DEL is no control character of JSON", TEXT("\"\x7f\""), SAME},
	{"string: solidus as it is", TEXT("\"a/b\""), SAME},
	{"string: brackets, commas and colons", TEXT("\"{[,:]}\""), SAME},
	{"string: white space inside stays", TEXT("[\" a  b \"]"), SAME},
	{"string: backslashes before the quote", TEXT("[\"\\\\\",\"\\\\\\\"\"]"), SAME},

	{"UTF-8: least of two bytes", TEXT("\"\xc2\x80\""), SAME},
	{"UTF-8: most of two bytes", TEXT("\"\xdf\xbf\""), SAME},
	{"UTF-8: least of three bytes", TEXT("\"\xe0\xa0\x80\""), SAME},
	{"UTF-8: last before the surrogates", TEXT("\"\xed\x9f\xbf\""), SAME},
	{"UTF-8: first after the surrogates", TEXT("\"\xee\x80\x80\""), SAME},
	{"UTF-8: U+FFFF", TEXT("\"\xef\xbf\xbf\""), SAME},
	{"UTF-8: least of four bytes", TEXT("\"\xf0\x90\x80\x80\""), SAME},
	{"UTF-8: U+10FFFF", TEXT("\"\xf4\x8f\xbf\xbf\""), SAME},
	{"UTF-8: byte order mark inside a string", TEXT("\"\xef\xbb\xbf\""), SAME},
	{"UTF-8: among ASCII", TEXT("\"abcdefg\xc3\xa9hijk\xe2\x82\xac\""), SAME},

	{"array: empty", TEXT("[]"), SAME},
	{"array: empty with white space", TEXT("[ \n]"), TEXT("[]")},
	{"array: of all types", TEXT("[null,true,false,-1.5,\"s\",[],{}]"), SAME},
	{"array: nested", TEXT("[[[[]]],[[]]]"), SAME},
	{"object: empty", TEXT("{}"), SAME},
	{"object: of all types", TEXT("{\"a\":null,\"b\":true,\"c\":false,\"d\":0,\"e\":\"\",\"f\":[],\"g\":{}}"),
	 SAME},
	{"object: empty name", TEXT("{\"\":0}"), SAME},
	{"object: equal names", TEXT("{\"a\":1,\"a\":2}"), SAME},
	{"object: escaped name", TEXT("{\"\\u0061\\n\":1}"), SAME},
	{"object: nested", TEXT("{\"a\":{\"b\":{\"c\":{}}},\"d\":[{\"e\":[]}]}"), SAME},
	{"a page of an API",
	 TEXT("{\"data\":{\"sources\":[{\"id\":\"qQEHquLrjRDN9j1ByrChyn\",\"name\":\"caf\xc3\xa9 "
	      "\\\"q\\\"\",\"labels\":[]},"
	      "{\"id\":\"rh5BDZp6QDHvXFCkibm1pR\",\"enabled\":true,\"metadata\":{\"logos\":{\"alt\":null}}}],"
	      "\"pagination\":{\"current\":\"MA==\",\"totalEntries\":2}}}"),
	 SAME},
};

/* Is a text that is JSON still JSON when it is cut to n bytes?  Only if all that is lost is white space, or digits. */
static bool valid_when_cut(struct str text, size_t n, enum json_type type)
{
	size_t end = text.n;

	while (is_space(text.s[end - 1]))
		end--;
	return n >= end || (type == JSON_NUMBER && n > 0 && is_digit(text.s[n - 1]));
}

static bool cut_everywhere(struct str text, enum json_type type)
{
	size_t n;

	for (n = 0; n < text.n; n++) {
		struct parsed p = parse(slice(text.s, n));
		bool as_expected = p.ok == valid_when_cut(text, n, type);

		as_expected =
			as_expected && (p.ok || (p.root.node == NULL && p.error.line >= 1 && p.error.column >= 1));
		parsed_free(&p);
		if (!as_expected) {
			check_show("cut to", text.s, n);
			return false;
		}
	}
	return true;
}

/* Indented, parsed again and written compactly, a value is what it was. */
static void check_indented(struct json value, struct str compact, const char *name)
{
	struct json_out indented = {0}, again = {0};
	struct parsed p;

	json_put_value(&indented, value, 2);
	p = parse(put(&indented));
	json_put_value(&again, p.root, 0);
	check(p.ok && same(put(&again), compact), "round trip with indentation: %s", name);
	parsed_free(&p);
	json_out_free(&indented);
	json_out_free(&again);
}

static void test_accepted(void)
{
	size_t i;

	for (i = 0; i < COUNT(accepted); i++) {
		const struct accepted *a = &accepted[i];
		struct str compact = a->compact.s ? a->compact : a->text;
		struct parsed p = parse(a->text);
		struct json_out out = {0};
		enum json_type type = json_type(p.root);

		if (check(p.ok, "accepted: %s", a->name)) {
			json_put_value(&out, p.root, 0);
			check_same(put(&out), compact, a->name);
			check_indented(p.root, compact, a->name);
			check(cut_everywhere(a->text, type), "cut at each byte: %s", a->name);
		} else {
			printf("# %zu:%zu: %s\n", p.error.line, p.error.column, p.error.what);
		}
		json_out_free(&out);
		parsed_free(&p);
	}
}

/* ---- Texts that are not ---- */

struct refused {
	const char *name;
	struct str text;
	size_t line, column;
};

static const struct refused refused[] = {
	{"nothing", TEXT(""), 1, 1},
	{"white space alone", TEXT(" \n "), 2, 2},
	{"a NUL byte", TEXT("\0"), 1, 1},
	{"a NUL byte after the value", TEXT("1\0"), 1, 2},
	{"a NUL byte in an array", TEXT("[\0]"), 1, 2},
	{"a NUL byte between members", TEXT("{\"a\":1\0}"), 1, 7},
	{"byte order mark", TEXT("\xef\xbb\xbf{}"), 1, 1},
	{"byte order mark alone", TEXT("\xef\xbb\xbf"), 1, 1},
	{"UTF-16", TEXT("\xff\xfe[\0]\0"), 1, 1},
	{"form feed as white space", TEXT("[\f1]"), 1, 2},
	{"vertical tab as white space", TEXT("\v1"), 1, 1},
	{"no-break space",
	 TEXT("[\xc2\xa0"
	      "1]"),
	 1, 2},
	{"a second value", TEXT("1 2"), 1, 3},
	{"a second document on a second line", TEXT("{}\n{}"), 2, 1},
	{"a comma after the value", TEXT("1,"), 1, 2},
	{"a closing bracket too many", TEXT("[1]]"), 1, 4},
	{"a closing bracket alone", TEXT("]"), 1, 1},
	{"a comma alone", TEXT(","), 1, 1},
	{"a colon alone", TEXT(":"), 1, 1},
	{"a comment", TEXT("/* */1"), 1, 1},
	{"a comment after the value", TEXT("1 // one"), 1, 3},
	{"a hash comment", TEXT("#\n1"), 1, 1},

	{"literal: upper case", TEXT("True"), 1, 1},
	{"literal: cut short", TEXT("tru"), 1, 1},
	{"literal: other word", TEXT("nil"), 1, 1},
	{"literal: wrong last letter", TEXT("falsy"), 1, 1},
	{"literal: too long", TEXT("nulll"), 1, 5},
	{"literal: two in a row", TEXT("truefalse"), 1, 5},
	{"literal: NaN", TEXT("NaN"), 1, 1},
	{"literal: Infinity", TEXT("[Infinity]"), 1, 2},
	{"literal: minus Infinity", TEXT("-Infinity"), 1, 2},
	{"literal: undefined", TEXT("undefined"), 1, 1},
	{"literal: NUL inside", TEXT("nul\0"), 1, 1},

	{"number: leading zero", TEXT("01"), 1, 2},
	{"number: two zeros", TEXT("00"), 1, 2},
	{"number: negative with leading zero", TEXT("-01"), 1, 3},
	{"number: plus", TEXT("+1"), 1, 1},
	{"number: minus alone", TEXT("-"), 1, 2},
	{"number: two minuses", TEXT("--1"), 1, 2},
	{"number: minus before a blank", TEXT("- 1"), 1, 2},
	{"number: point at its end", TEXT("1."), 1, 3},
	{"number: point at its beginning", TEXT(".5"), 1, 1},
	{"number: minus and point", TEXT("-.5"), 1, 2},
	{"number: point before the exponent", TEXT("1.e5"), 1, 3},
	{"number: two points", TEXT("1.2.3"), 1, 4},
	{"number: exponent without digits", TEXT("1e"), 1, 3},
	{"number: exponent with a sign alone", TEXT("[1e+]"), 1, 5},
	{"number: exponent with two signs", TEXT("1e+-1"), 1, 4},
	{"number: exponent with a fraction", TEXT("1e1.5"), 1, 4},
	{"number: two exponents", TEXT("1e1e1"), 1, 4},
	{"number: hexadecimal", TEXT("0x1F"), 1, 2},
	{"number: with a letter", TEXT("12a"), 1, 3},
	{"number: digits apart", TEXT("1 000"), 1, 3},
	{"number: underscore", TEXT("1_000"), 1, 2},
	{"number: full-width digit", TEXT("\xef\xbc\x91"), 1, 1},

	{"string: single quotes", TEXT("'a'"), 1, 1},
	{"string: without an end", TEXT("\"abc"), 1, 5},
	{"string: a quote alone", TEXT("\""), 1, 2},
	{"string: escaped quote at the end", TEXT("\"abc\\\""), 1, 7},
	{"string: backslash at the end", TEXT("\"\\"), 1, 3},
	{"string: line feed", TEXT("[\"a\nb\"]"), 1, 4},
	{"string: tab", TEXT("\"\t\""), 1, 2},
	{"string: NUL", TEXT("\"a\0b\""), 1, 3},
	{"string: 0x1f in the eighth byte", TEXT("\"abcdefg\x1f\""), 1, 9},
	{"string: 0x1f in the ninth byte", TEXT("\"abcdefgh\x1f\""), 1, 10},
	{"escape: of a letter without one", TEXT("\"\\a\""), 1, 2},
	{"escape: of a quote that is single", TEXT("\"\\'\""), 1, 2},
	{"escape: upper case", TEXT("\"\\N\""), 1, 2},
	{"escape: hexadecimal", TEXT("\"\\x41\""), 1, 2},
	{"escape: octal", TEXT("\"\\0\""), 1, 2},
	{"escape: of NUL", TEXT("\"\\\0\""), 1, 2},
	{"escape: of a line feed", TEXT("\"\\\n\""), 1, 2},
	{"escape: of two bytes", TEXT("\"\\\xc3\xa9\""), 1, 2},
	{"escape: upper-case U", TEXT("\"\\U0041\""), 1, 2},
	{"escape: three digits", TEXT("\"\\u123\""), 1, 2},
	{"escape: no digits", TEXT("\"\\u\""), 1, 2},
	{"escape: digit that is none", TEXT("\"ab\\u12g4\""), 1, 4},
	{"escape: bad one after a high surrogate", TEXT("\"\\ud83d\\u12\""), 1, 8},
	{"escape: braces", TEXT("\"\\u{41}\""), 1, 2},

	{"UTF-8: continuation byte alone", TEXT("\"\x80\""), 1, 2},
	{"UTF-8: overlong NUL of two bytes", TEXT("\"\xc0\x80\""), 1, 2},
	{"UTF-8: overlong solidus of two bytes", TEXT("\"\xc0\xaf\""), 1, 2},
	{"UTF-8: overlong of two bytes, the last", TEXT("\"\xc1\xbf\""), 1, 2},
	{"UTF-8: overlong of three bytes", TEXT("\"\xe0\x9f\xbf\""), 1, 2},
	{"UTF-8: overlong of four bytes", TEXT("\"\xf0\x8f\xbf\xbf\""), 1, 2},
	{"UTF-8: first surrogate", TEXT("\"\xed\xa0\x80\""), 1, 2},
	{"UTF-8: last surrogate", TEXT("\"\xed\xbf\xbf\""), 1, 2},
	{"UTF-8: U+110000", TEXT("\"\xf4\x90\x80\x80\""), 1, 2},
	{"UTF-8: lead 0xf5", TEXT("\"\xf5\x80\x80\x80\""), 1, 2},
	{"UTF-8: five bytes", TEXT("\"\xf8\x88\x80\x80\x80\""), 1, 2},
	{"UTF-8: 0xfe", TEXT("\"\xfe\""), 1, 2},
	{"UTF-8: 0xff", TEXT("\"\xff\""), 1, 2},
	{"UTF-8: lead without continuation", TEXT("\"\xc3\""), 1, 2},
	{"UTF-8: lead before ASCII",
	 TEXT("\"\xc3"
	      "a\""),
	 1, 2},
	{"UTF-8: two of three bytes", TEXT("\"\xe2\x82\""), 1, 2},
	{"UTF-8: three of four bytes", TEXT("\"\xf0\x9f\x98\""), 1, 2},
	{"UTF-8: Latin-1", TEXT("\"caf\xe9\""), 1, 5},
	{"UTF-8: after eight good bytes", TEXT("\"abcdefgh\xff\""), 1, 10},
	{"UTF-8: second of two characters", TEXT("\"\xc3\xa9\xc3\""), 1, 4},
	{"UTF-8: outside a string", TEXT("[\xc3\xa9]"), 1, 2},

	{"array: without an end", TEXT("[1"), 1, 3},
	{"array: without an end after a comma", TEXT("[1,"), 1, 4},
	{"array: opened only", TEXT("["), 1, 2},
	{"array: comma at its end", TEXT("[1,]"), 1, 4},
	{"array: comma at its beginning", TEXT("[,1]"), 1, 2},
	{"array: two commas", TEXT("[1,,2]"), 1, 4},
	{"array: comma alone", TEXT("[,]"), 1, 2},
	{"array: missing comma", TEXT("[1 2]"), 1, 4},
	{"array: colon", TEXT("[\"a\":1]"), 1, 5},
	{"array: closed by a brace", TEXT("[1}"), 1, 3},
	{"array: empty, closed by a brace", TEXT("[}"), 1, 2},
	{"array: missing comma on the third line", TEXT("[\n1,\n2 3]"), 3, 3},
	{"object: without an end", TEXT("{\"a\":1"), 1, 7},
	{"object: opened only", TEXT("{"), 1, 2},
	{"object: name only", TEXT("{\"a\""), 1, 5},
	{"object: name without a colon", TEXT("{\"a\" 1}"), 1, 6},
	{"object: name without a value", TEXT("{\"a\":}"), 1, 6},
	{"object: name and comma", TEXT("{\"a\",1}"), 1, 5},
	{"object: two colons", TEXT("{\"a\"::1}"), 1, 6},
	{"object: comma at its end", TEXT("{\"a\":1,}"), 1, 8},
	{"object: comma at its beginning", TEXT("{,\"a\":1}"), 1, 2},
	{"object: two commas", TEXT("{\"a\":1,,\"b\":2}"), 1, 8},
	{"object: missing comma", TEXT("{\"a\":1 \"b\":2}"), 1, 8},
	{"object: bare name", TEXT("{a:1}"), 1, 2},
	{"object: name in single quotes", TEXT("{'a':1}"), 1, 2},
	{"object: number as a name", TEXT("{1:1}"), 1, 2},
	{"object: null as a name", TEXT("{null:1}"), 1, 2},
	{"object: value alone", TEXT("{1}"), 1, 2},
	{"object: closed by a bracket", TEXT("{\"a\":1]"), 1, 7},
	{"object: empty, closed by a bracket", TEXT("{]"), 1, 2},
	{"object: closed by a bracket after an array", TEXT("{\"a\":[1]]"), 1, 9},
	{"object: bad name", TEXT("{\"\xff\":1}"), 1, 3},
	{"object: member without a value in the second line", TEXT("{\"a\":1,\r\n \"b\"}"), 2, 5},
};

static void test_refused(void)
{
	size_t i, n;

	for (i = 0; i < COUNT(refused); i++) {
		const struct refused *r = &refused[i];
		struct parsed p = parse(r->text);
		bool ok = !p.ok && p.error.line == r->line && p.error.column == r->column && *p.error.what;

		if (!check(ok && p.root.node == NULL, "refused at %zu:%zu: %s", r->line, r->column, r->name))
			printf("# %s %zu:%zu: %s\n", p.ok ? "accepted" : "refused", p.error.line, p.error.column,
			       p.ok ? "" : p.error.what);
		parsed_free(&p);
		for (n = 0; n < r->text.n; n++) { /* may be either, but must not be looked beyond */
			p = parse(slice(r->text.s, n));
			parsed_free(&p);
		}
	}
}

/* Most reasons are clear from the place; these are not. */
static void test_reasons(void)
{
	static const struct {
		const char *text, *reason;
	} cases[] = {
		{"\xef\xbb\xbf{}", "begins with a byte order mark"},
		{"\"abc", "string without an end"},
		{"\"abc\\", "string without an end"},
		{"\"abc\\u00", "string without an end"},
		{"\"abc\\u00\"", "malformed escape in a string"},
		{"\"a\tb\"", "control character in a string"},
		{"\"caf\xe9\"", "bytes that are not UTF-8 in a string"},
	};
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		struct parsed p = parse(str_of(cases[i].text));

		check_text(p.ok ? "accepted" : p.error.what, cases[i].reason, cases[i].reason);
		parsed_free(&p);
	}
}

static void test_no_address(void)
{
	struct arena arena = {0};
	struct json_error error;
	struct json root;

	check(!json_parse(&arena, NULL, 0, &root, &error) && error.line == 1 && error.column == 1,
	      "refused: no bytes at no address");
	arena_free(&arena);
}

static void test_too_long(void)
{
	struct arena arena = {0};
	struct json_error error;
	struct json root;

	check(!json_parse(&arena, "1", (size_t)(UINT32_MAX / 2) + 1, &root, &error) && error.column == 1,
	      "refused: one byte more than offsets can tell, without a look at them");
	arena_free(&arena);
}

/* ---- Nesting ---- */

/* A document of n containers in one another: before repeated, middle, after repeated. */
static struct json_out nested(const char *before, const char *middle, const char *after, size_t n)
{
	struct json_out out = {0};
	size_t i;

	for (i = 0; i < n; i++)
		json_put(&out, str_of(before));
	json_put(&out, str_of(middle));
	for (i = 0; i < n; i++)
		json_put(&out, str_of(after));
	return out;
}

static void test_depth(void)
{
	static const struct {
		const char *name, *before, *middle, *after;
	} kinds[] = {
		{"arrays", "[", "1", "]"},
		{"empty arrays", "[", "", "]"},
		{"objects", "{\"a\":", "null", "}"},
		{"arrays with white space", "[ ", "1", " ]"},
	};
	size_t i;

	for (i = 0; i < COUNT(kinds); i++) {
		const char *before = kinds[i].before, *middle = kinds[i].middle, *after = kinds[i].after;
		struct json_out good = nested(before, middle, after, JSON_DEPTH), again = {0};
		struct json_out bad = nested(before, middle, after, JSON_DEPTH + 1);
		struct parsed p = parse(put(&good));

		json_put_value(&again, p.root, 0);
		check(p.ok && again.length <= good.length, "accepted: %s at the limit of depth", kinds[i].name);
		parsed_free(&p);
		p = parse(put(&bad));
		check(!p.ok && p.error.column == JSON_DEPTH * strlen(before) + 1,
		      "refused: %s one deeper than the limit, at the bracket", kinds[i].name);
		parsed_free(&p);
		json_out_free(&good);
		json_out_free(&again);
		json_out_free(&bad);
	}
}

static bool parses_within(const char *text, unsigned depth)
{
	struct arena arena = {0};
	struct json_error error;
	struct json root;
	bool ok = parse_within(&arena, text, strlen(text), depth, &root, &error);

	arena_free(&arena);
	return ok;
}

static void test_depth_limits(void)
{
	struct json_out deep = nested("[", "", "]", 200000), again = {0};
	struct arena arena = {0};
	struct json_error error;
	struct json root;

	check(parses_within("1", 0), "depth 0: a scalar");
	check(!parses_within("[]", 0), "depth 0: no array");
	check(parses_within("[{}]", 2) && !parses_within("[{}]", 1), "depth counts arrays and objects alike");
	check(parses_within("[[],[],{\"a\":{}}]", 3), "depth goes down again where a container closes");
	check(parse_within(&arena, deep.bytes, deep.length, 200000, &root, &error),
	      "depth 200000: no stack is used up by parsing");
	json_put_value(&again, root, 0);
	check_same(put(&again), put(&deep), "depth 200000: nor by writing");
	arena_free(&arena);
	json_out_free(&deep);
	json_out_free(&again);
}

/* ---- Every byte ---- */

/* A byte in the place i of a string of plain letters: what a parser that looks at one byte after the other says. */
static bool special_byte_as_expected(unsigned char byte, size_t i)
{
	char text[] = "\"abcdefghijklmnopqrstuvw\"";
	size_t last = sizeof text - 2, column = i + 1;
	struct parsed p;
	bool ok;

	text[i] = (char)byte;
	p = parse(slice(text, last + 1));
	if (byte == '"')
		column = i + 2; /* what follows the closing quote */
	if (byte == '\\' && i == last - 1)
		column = last + 2; /* the end, its closing quote being escaped */
	if (byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\')
		ok = p.ok;
	else if (byte == '\\' && i < last - 1 && strchr("bfnrt", text[i + 1])) /* u: no digits follow */
		ok = p.ok;
	else
		ok = !p.ok && p.error.column == column;
	parsed_free(&p);
	return ok;
}

static void test_bytes_in_strings(void)
{
	unsigned byte, wrong = 0;
	size_t i;

	for (byte = 0; byte < 256; byte++)
		for (i = 1; i < 24; i++)
			wrong += !special_byte_as_expected((unsigned char)byte, i);
	check(wrong == 0, "every byte in every place of a string (%u wrong)", wrong);
}

static void test_bytes_between_tokens(void)
{
	unsigned byte, wrong = 0;

	for (byte = 0; byte < 256; byte++) {
		char before[] = "?[]", inside[] = "[?]", after[] = "[]?";
		bool space = byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d;
		bool value = byte >= '0' && byte <= '9';
		struct parsed p;

		before[0] = inside[1] = after[2] = (char)byte;
		p = parse(slice(before, 3));
		wrong += p.ok != space;
		parsed_free(&p);
		p = parse(slice(inside, 3));
		wrong += p.ok != (space || value);
		parsed_free(&p);
		p = parse(slice(after, 3));
		wrong += p.ok != space;
		parsed_free(&p);
	}
	check(wrong == 0, "every byte before, in and after an empty array (%u wrong)", wrong);
}

/* Does RFC 3629 allow these n bytes as one character?  By its value, not by the bounds of its bytes. */
static bool is_character(const unsigned char *s, size_t n)
{
	static const unsigned long least[] = {0, 0, 0x80, 0x800, 0x10000};
	static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0}, mask[] = {0, 0, 0xe0, 0xf0, 0xf8};
	unsigned long code = s[0] & (0x7fu >> n);
	size_t i;

	if ((s[0] & mask[n]) != lead[n])
		return false;
	for (i = 1; i < n; i++) {
		if (s[i] >> 6 != 2)
			return false;
		code = code << 6 | (s[i] & 0x3f);
	}
	return code >= least[n] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

static unsigned wrong_sequence(const unsigned char *s, size_t n)
{
	char text[6] = "\"";
	struct parsed p;
	unsigned wrong;

	memcpy(text + 1, s, n);
	text[n + 1] = '"';
	p = parse(slice(text, n + 2));
	wrong = p.ok != is_character(s, n);
	parsed_free(&p);
	return wrong;
}

static void test_utf8_sequences(void)
{
	static const unsigned char tails[] = {0x00, 0x20, 0x7f, 0x80, 0xbf, 0xc0, 0xff};
	unsigned char s[4];
	unsigned lead, second, wrong[5] = {0};
	size_t i, j;

	for (lead = 0x80; lead < 256; lead++)
		for (second = 0; second < 256; second++) {
			s[0] = (unsigned char)lead;
			s[1] = (unsigned char)second;
			wrong[2] += wrong_sequence(s, 2);
			for (i = 0; i < COUNT(tails) && lead >= 0xe0; i++) {
				s[2] = tails[i];
				wrong[3] += wrong_sequence(s, 3);
				for (j = 0; j < COUNT(tails) && lead >= 0xf0; j++) {
					s[3] = tails[j];
					wrong[4] += wrong_sequence(s, 4);
				}
			}
		}
	check(wrong[2] == 0, "UTF-8: every sequence of two bytes (%u wrong)", wrong[2]);
	check(wrong[3] == 0, "UTF-8: sequences of three bytes (%u wrong)", wrong[3]);
	check(wrong[4] == 0, "UTF-8: sequences of four bytes (%u wrong)", wrong[4]);
}

/* ---- Access ---- */

static void test_types(void)
{
	static const struct {
		const char *text, *token;
		enum json_type type;
	} cases[] = {
		{"null", "null", JSON_NULL},
		{"true", "true", JSON_BOOL},
		{"false", "false", JSON_BOOL},
		{"0", "0", JSON_NUMBER},
		{"-1.50e+07", "-1.50e+07", JSON_NUMBER},
		{"\"\"", "", JSON_STRING},
		{"\"a\\u0062\"", "a\\u0062", JSON_STRING},
		{"[1]", "", JSON_ARRAY},
		{"{\"a\":1}", "", JSON_OBJECT},
	};
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		struct parsed p = parse(str_of(cases[i].text));

		check(json_type(p.root) == cases[i].type, "type of %s", cases[i].text);
		check(str_is(json_token(p.root), cases[i].token), "token of %s", cases[i].text);
		parsed_free(&p);
	}
}

/* Every function takes "no such value". */
static void test_absent(void)
{
	const struct json absent = {NULL, NULL};
	struct json_each it = json_each(absent);
	struct json_out out = {0};
	struct arena arena = {0};
	struct str s = {NULL, 0};
	int64_t number = 7;

	check(json_type(absent) == JSON_ABSENT, "absent: type");
	check(json_get(json_get(absent, "a"), "b").node == NULL, "absent: json_get, nested");
	check(!json_equals(absent, str_of("")), "absent: equals nothing, not even the empty text");
	check(json_token(absent).n == 0, "absent: no token");
	check(!json_string(absent, &arena, &s), "absent: no string");
	check(!json_int64(absent, &number) && number == 7, "absent: no integer, and the variable stays");
	check(!json_next(&it), "absent: no round");
	json_put_value(&out, absent, 0);
	json_put_value(&out, absent, 2);
	check(out.length == 0 && !out.failed, "absent: written as nothing");
	json_out_free(&out);
}

static void test_get(void)
{
	static const struct {
		const char *key, *token; /* NULL: absent */
	} cases[] = {
		{"a", "4"},   {"b", "x"},  {"", "empty"}, {"caf\xc3\xa9", "6"}, {"t\tb", "7"},
		{"ab", NULL}, {"A", NULL}, {"x", NULL},   {"inner", NULL},      {"\xf0\x9f\x98\x80", "8"},
	};
	struct parsed p = parse(str_of("{\"a\":1,\"b\":\"x\",\"o\":{\"a\":2,\"inner\":3},\"\\u0061\":4,\"\":\"empty\","
				       "\"caf\\u00E9\":6,\"t\\tb\":7,\"\\ud83d\\uDE00\":8}"));
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		struct json v = json_get(p.root, cases[i].key);

		check(cases[i].token ? str_is(json_token(v), cases[i].token) : json_type(v) == JSON_ABSENT,
		      "json_get: \"%s\"", cases[i].key);
	}
	check(str_is(json_token(json_get(json_get(p.root, "o"), "inner")), "3"), "json_get: nested");
	check(json_type(json_get(json_get(p.root, "a"), "b")) == JSON_ABSENT, "json_get: of a number");
	parsed_free(&p);
	p = parse(str_of("[\"a\",1]"));
	check(json_type(json_get(p.root, "a")) == JSON_ABSENT, "json_get: of an array");
	parsed_free(&p);
	p = parse(str_of("{\"a\":1,\"b\":[{\"a\":2}],\"a\":{\"c\":3},\"z\":0}"));
	check(json_type(json_get(p.root, "a")) == JSON_OBJECT, "json_get: the last of equal names");
	parsed_free(&p);
}

/* The keys and tokens of all rounds, to be compared as one text. */
static struct json_out rounds(struct json container)
{
	struct json_out out = {0};
	struct json_each it;

	for (it = json_each(container); json_next(&it);) {
		if (it.key.node)
			json_put_value(&out, it.key, 0);
		json_put_value(&out, it.value, 0);
		json_put(&out, str_of(";"));
	}
	return out;
}

static void test_each(void)
{
	static const struct {
		const char *text, *rounds;
	} cases[] = {
		{"[]", ""},
		{"{}", ""},
		{"1", ""},
		{"\"s\"", ""},
		{"[1]", "1;"},
		{"[1,\"two\",[3,[4]],{\"five\":5},null]", "1;\"two\";[3,[4]];{\"five\":5};null;"},
		{"{\"a\":[1,2],\"b\":{\"c\":{}},\"a\":3}", "\"a\"[1,2];\"b\"{\"c\":{}};\"a\"3;"},
	};
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		struct parsed p = parse(str_of(cases[i].text));
		struct json_out out = rounds(p.root);

		check_same(put(&out), str_of(cases[i].rounds), cases[i].text);
		json_out_free(&out);
		parsed_free(&p);
	}
}

/* ---- What a string means ---- */

struct meaning {
	const char *name;
	struct str text, meaning;
};

static const struct meaning meanings[] = {
	{"plain", TEXT("\"abc\""), TEXT("abc")},
	{"empty", TEXT("\"\""), TEXT("")},
	{"short escapes", TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), TEXT("\"\\/\b\f\n\r\t")},
	{"NUL", TEXT("\"a\\u0000b\""), TEXT("a\0b")},
	{"one byte", TEXT("\"\\u0041\\u007f\""), TEXT("A\x7f")},
	{"two bytes", TEXT("\"\\u0080\\u07ff\""), TEXT("\xc2\x80\xdf\xbf")},
	{"three bytes", TEXT("\"\\u0800\\uFFFF\""), TEXT("\xe0\xa0\x80\xef\xbf\xbf")},
	{"around the surrogates", TEXT("\"\\ud7ff\\ue000\""), TEXT("\xed\x9f\xbf\xee\x80\x80")},
	{"first pair", TEXT("\"\\ud800\\udc00\""), TEXT("\xf0\x90\x80\x80")},
	{"last pair", TEXT("\"\\uDBFF\\uDFFF\""), TEXT("\xf4\x8f\xbf\xbf")},
	{"high surrogate alone", TEXT("\"\\ud800\""), TEXT("\xef\xbf\xbd")},
	{"high surrogate before a letter", TEXT("\"\\ud800a\""),
	 TEXT("\xef\xbf\xbd"
	      "a")},
	{"high surrogate before an escape", TEXT("\"\\ud800\\n\""), TEXT("\xef\xbf\xbd\n")},
	{"high surrogate before another escape of six", TEXT("\"\\ud800\\u0041\""),
	 TEXT("\xef\xbf\xbd"
	      "A")},
	{"high surrogate before a backslash and a u", TEXT("\"\\ud800\\\\udc00\""), TEXT("\xef\xbf\xbd\\udc00")},
	{"two high surrogates and a low one", TEXT("\"\\ud800\\ud800\\udc00\""), TEXT("\xef\xbf\xbd\xf0\x90\x80\x80")},
	{"low surrogate alone", TEXT("\"\\udc00\""), TEXT("\xef\xbf\xbd")},
	{"two low surrogates", TEXT("\"\\udc00\\udc00\""), TEXT("\xef\xbf\xbd\xef\xbf\xbd")},
	{"surrogates the wrong way round", TEXT("\"\\udc00\\ud800\""), TEXT("\xef\xbf\xbd\xef\xbf\xbd")},
	{"escapes and UTF-8", TEXT("\"\xc3\xa9\\u00e9\xe2\x82\xac\""), TEXT("\xc3\xa9\xc3\xa9\xe2\x82\xac")},
	{"escaped backslash before a u", TEXT("\"\\\\u0041\""), TEXT("\\u0041")},
};

static void test_strings(void)
{
	size_t i;

	for (i = 0; i < COUNT(meanings); i++) {
		struct str m = meanings[i].meaning, got = {NULL, 0}, longer;
		struct parsed p = parse(meanings[i].text);
		char more[32] = {0};

		memcpy(more, m.s, m.n);
		longer = slice(more, m.n + 1);
		check(json_string(p.root, &p.arena, &got), "json_string: %s", meanings[i].name);
		check_same(got, m, meanings[i].name);
		check(json_equals(p.root, m), "json_equals: %s", meanings[i].name);
		check(!json_equals(p.root, longer), "json_equals: %s, not one byte more", meanings[i].name);
		if (m.n) {
			check(!json_equals(p.root, slice(m.s, m.n - 1)), "json_equals: %s, nor one byte less",
			      meanings[i].name);
			more[m.n - 1] ^= 1;
			check(!json_equals(p.root, slice(more, m.n)), "json_equals: %s, nor another byte",
			      meanings[i].name);
		}
		parsed_free(&p);
	}
}

static void test_string_memory(void)
{
	struct parsed p = parse(str_of("[\"plain\",\"esc\\naped\",5]"));
	struct json_each it = json_each(p.root);
	struct arena none = {.limit = 1};
	struct str got;

	json_next(&it);
	check(json_string(it.value, &none, &got) && none.held == 0, "json_string: no memory needed without an escape");
	json_next(&it);
	check(!json_string(it.value, &none, &got), "json_string: false when there is no memory for what escapes mean");
	json_next(&it);
	check(!json_string(it.value, &p.arena, &got), "json_string: false for a number");
	check(!json_equals(it.value, str_of("5")), "json_equals: false for a number");
	parsed_free(&p);
	p = parse(str_of("\"\""));
	check(json_equals(p.root, slice(NULL, 0)), "json_equals: the empty string and an empty slice at no address");
	parsed_free(&p);
}

static void test_int64(void)
{
	static const struct {
		const char *text;
		bool ok;
		int64_t value;
	} cases[] = {
		{"0", true, 0},
		{"-0", true, 0},
		{"7", true, 7},
		{"-7", true, -7},
		{"9007199254740993", true, INT64_C(9007199254740993)},
		{"9223372036854775806", true, INT64_MAX - 1},
		{"9223372036854775807", true, INT64_MAX},
		{"9223372036854775808", false, 0},
		{"9223372036854775810", false, 0},
		{"-9223372036854775807", true, -INT64_MAX},
		{"-9223372036854775808", true, INT64_MIN},
		{"-9223372036854775809", false, 0},
		{"18446744073709551616", false, 0},
		{"99999999999999999999999", false, 0},
		{"-99999999999999999999999", false, 0},
		{"1.0", false, 0},
		{"1e2", false, 0},
		{"-1E2", false, 0},
		{"\"1\"", false, 0},
		{"true", false, 0},
		{"null", false, 0},
		{"[1]", false, 0},
	};
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		struct parsed p = parse(str_of(cases[i].text));
		int64_t value = 42;
		bool ok = json_int64(p.root, &value);

		check(ok == cases[i].ok && value == (ok ? cases[i].value : 42), "json_int64: %s", cases[i].text);
		parsed_free(&p);
	}
}

static void test_slices(void)
{
	check(str_of(NULL).n == 0 && str_of(NULL).s != NULL, "str_of: NULL is the empty slice");
	check(str_is(slice("abc", 2), "ab") && !str_is(slice("abc", 2), "abc"), "str_is: the slice's length counts");
	check(!str_is(slice("a\0b", 3), "a"), "str_is: a NUL inside is no end");
	check(str_is(slice(NULL, 0), "") && !str_is(slice(NULL, 0), "a"), "str_is: an empty slice at no address");
}

/* ---- Output ---- */

static void test_put_string(void)
{
	static const struct {
		const char *name;
		struct str s, text;
	} cases[] = {
		{"nothing", TEXT(""), TEXT("\"\"")},
		{"nothing at no address", {NULL, 0}, TEXT("\"\"")},
		{"plain", TEXT("plain"), TEXT("\"plain\"")},
		{"quote and backslash", TEXT("\"\\"), TEXT("\"\\\"\\\\\"")},
		{"short escapes", TEXT("\b\f\n\r\t"), TEXT("\"\\b\\f\\n\\r\\t\"")},
		{"NUL", TEXT("\0"), TEXT("\"\\u0000\"")},
		{"other control characters", TEXT("\x01\x1b\x1f"), TEXT("\"\\u0001\\u001b\\u001f\"")},
		{"DEL and solidus as they are", TEXT("\x7f/"), TEXT("\"\x7f/\"")},
		{"UTF-8 as it is", TEXT("\xc3\xa9\xf0\x9f\x98\x80"), TEXT("\"\xc3\xa9\xf0\x9f\x98\x80\"")},
		{"escapes amid runs", TEXT("abcdefgh\nijklmnopqrs\"t"), TEXT("\"abcdefgh\\nijklmnopqrs\\\"t\"")},
	};
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		struct json_out out = {0};
		struct parsed p;

		json_put_string(&out, cases[i].s);
		check_same(put(&out), cases[i].text, cases[i].name);
		p = parse(put(&out));
		check(p.ok && json_equals(p.root, cases[i].s), "json_put_string, parsed: %s", cases[i].name);
		parsed_free(&p);
		json_out_free(&out);
	}
}

/* Each character, written as a string and as an escape, means itself. */
static void test_every_character(void)
{
	unsigned long code, wrong = 0;

	for (code = 0; code <= 0x10ffff; code += code < 0x3000 || code >= 0x10fff0 ? 1 : 61) {
		char bytes[4], escape[16];
		struct str s = slice(bytes, utf8_encode(code, bytes));
		unsigned long high = 0xd7c0 + (code >> 10), low = 0xdc00 + (code & 0x3ff);
		struct json_out out = {0};
		struct parsed p;

		if (code >= 0xd800 && code <= 0xdfff)
			continue;
		json_put_string(&out, s);
		p = parse(put(&out));
		wrong += !p.ok || !json_equals(p.root, s);
		parsed_free(&p);
		snprintf(escape, sizeof escape, code < 0x10000 ? "\"\\u%04lx\"" : "\"\\u%04lx\\u%04lx\"",
			 code < 0x10000 ? code : high, low);
		p = parse(str_of(escape));
		wrong += !p.ok || !json_equals(p.root, s);
		parsed_free(&p);
		json_out_free(&out);
	}
	check(wrong == 0, "characters from U+0000 to U+10FFFF (%lu wrong)", wrong);
}

static void test_put_int64(void)
{
	static const int64_t values[] = {0, 1, -1, 9, 10, -10, 1234567890, INT64_MAX, INT64_MIN};
	size_t i;

	for (i = 0; i < COUNT(values); i++) {
		struct json_out out = {0};
		char expected[32];

		snprintf(expected, sizeof expected, "%" PRId64, values[i]);
		json_put_int64(&out, values[i]);
		check_same(put(&out), str_of(expected), expected);
		json_out_free(&out);
	}
}

static void test_put_indented(void)
{
	static const struct {
		const char *text, *indented;
		unsigned indent;
	} cases[] = {
		{"1", "1", 2},
		{" \"s\" ", "\"s\"", 2},
		{"[]", "[]", 2},
		{"[ ]", "[]", 2},
		{"{}", "{}", 2},
		{"[[]]", "[\n  []\n]", 2},
		{"[1,2]", "[\n 1,\n 2\n]", 1},
		{"{\"a\":1,\"b\":[]}", "{\n  \"a\": 1,\n  \"b\": []\n}", 2},
		{"{ \"a\" :{\"b\":[ 1,{}]}}", "{\n  \"a\": {\n    \"b\": [\n      1,\n      {}\n    ]\n  }\n}", 2},
		{"[[1],\t\t[2]]", "[\n    [\n        1\n    ],\n    [\n        2\n    ]\n]", 4},
	};
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		struct parsed p = parse(str_of(cases[i].text));
		struct json_out out = {0};

		json_put_value(&out, p.root, cases[i].indent);
		check_same(put(&out), str_of(cases[i].indented), cases[i].text);
		json_out_free(&out);
		parsed_free(&p);
	}
}

/* A value from within a document is written alone, whatever stands around it. */
static void test_put_inner(void)
{
	static const char *const values[] = {"1", "\"s\"", "[]", "{}", "[1,[2,{}]]", "{\"a\":{\"b\":[{}]}}", "null"};
	static const char *const frames[] = {"{\"k\":%s}", "{\"k\": %s }", "{\"k\":%s,\"l\":[]}",
					     "{\"j\":[[1]],\"k\":%s\t}"};
	size_t i, j;

	for (i = 0; i < COUNT(values); i++)
		for (j = 0; j < COUNT(frames); j++) {
			struct json_out out = {0};
			struct parsed p;
			char text[64];

			snprintf(text, sizeof text, frames[j], values[i]);
			p = parse(str_of(text));
			json_put_value(&out, json_get(p.root, "k"), 0);
			check_same(put(&out), str_of(values[i]), text);
			json_out_free(&out);
			parsed_free(&p);
		}
}

static void test_put_quoted(void)
{
	static const struct {
		const char *text, *quoted;
	} cases[] = {
		{"1.50", "\"1.50\""},
		{"null", "\"null\""},
		{"[ ]", "\"[]\""},
		{"\"s\"", "\"\\\"s\\\"\""},
		{"\"\\\"\"", "\"\\\"\\\\\\\"\\\"\""},
		{"\"\\u00e9\\n\"", "\"\\\"\\\\u00e9\\\\n\\\"\""},
		{"{ \"@path\" : \"$.a\" }", "\"{\\\"@path\\\":\\\"$.a\\\"}\""},
		{"[\"caf\xc3\xa9\", {}]", "\"[\\\"caf\xc3\xa9\\\",{}]\""},
	};
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		struct parsed p = parse(str_of(cases[i].text));
		struct json_out out = {0}, compact = {0};

		json_put_value(&compact, p.root, 0);
		json_put(&out, str_of("before,"));
		json_put_quoted(&out, p.root);
		parsed_free(&p);
		p = parse(slice(out.bytes + 7, out.length - 7));
		check_same(slice(out.bytes + 7, out.length - 7), str_of(cases[i].quoted), cases[i].text);
		check(memcmp(out.bytes, "before,", 7) == 0 && json_equals(p.root, put(&compact)),
		      "json_put_quoted, parsed: %s", cases[i].text);
		parsed_free(&p);
		json_out_free(&out);
		json_out_free(&compact);
	}
}

/* Text that is none, in each way of writing, with and without the wish for it. */
static void test_put_mended(void)
{
	static const struct {
		const char *text, *value, *quoted;
	} cases[] = {
		{"[ \"\\u0000\" ]", "[\"\\ufffd\"]", "\"[\\\"\\\\ufffd\\\"]\""},
		{"{\"a\\u0000b\":\"\\uD800\\u0001\"}", "{\"a\\ufffdb\":\"\\ufffd\\u0001\"}",
		 "\"{\\\"a\\\\ufffdb\\\":\\\"\\\\ufffd\\\\u0001\\\"}\""},
		{"\"\\udc00\\ud83d\\ude00\\ud83d\"", "\"\\ufffd\\ud83d\\ude00\\ufffd\"",
		 "\"\\\"\\\\ufffd\\\\ud83d\\\\ude00\\\\ufffd\\\"\""},
		{"\"\\\\u0000\\\\\\u0000\"", "\"\\\\u0000\\\\\\ufffd\"", "\"\\\"\\\\\\\\u0000\\\\\\\\\\\\ufffd\\\"\""},
		{"\"\\uFFFD\\\\ud800\"", NULL, NULL},
		{"[1,\"plain\",{}]", NULL, NULL},
	};
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		struct parsed p = parse(str_of(cases[i].text));
		struct json_out as_is = {0}, value = {.mend = true}, quoted = {.mend = true}, plain = {0};
		struct json_out indented = {.mend = true};
		struct parsed again;

		json_put_value(&as_is, p.root, 0);
		json_put_value(&value, p.root, 0);
		json_put_value(&indented, p.root, 2);
		json_put_quoted(&quoted, p.root);
		json_put_quoted(&plain, p.root);
		again = parse(put(&indented));
		check(!as_is.mended && !plain.mended, "not mended unasked: %s", cases[i].text);
		check(value.mended == (cases[i].value != NULL) && quoted.mended == value.mended &&
			      indented.mended == value.mended,
		      "mended is told: %s", cases[i].text);
		check_same(put(&value), cases[i].value ? str_of(cases[i].value) : put(&as_is), cases[i].text);
		check_same(put(&quoted), cases[i].quoted ? str_of(cases[i].quoted) : put(&plain), cases[i].text);
		as_is.length = 0;
		json_put_value(&as_is, again.root, 0);
		check_same(put(&as_is), put(&value), "mended and indented");
		parsed_free(&p);
		parsed_free(&again);
		json_out_free(&as_is);
		json_out_free(&value);
		json_out_free(&indented);
		json_out_free(&quoted);
		json_out_free(&plain);
	}
}

/* U+0000 in a string that is written. */
static void test_put_string_mended(void)
{
	struct json_out out = {.mend = true};

	json_put_string(&out, slice("a\x01", 2));
	check(!out.mended, "json_put_string: a control character is no matter");
	json_put_string(&out, slice("b\0", 2));
	check(out.mended, "json_put_string: U+0000 is");
	check_same(put(&out), str_of("\"a\\u0001\"\"b\\ufffd\""), "json_put_string: mended");
	json_out_free(&out);
}

/* What can be copied as it stands. */
static void test_plain(void)
{
	static const struct {
		const char *text, *plain;
		enum json_type type;
	} cases[] = {
		{" null ", "null", JSON_NULL},  {" true", "true", JSON_BOOL},
		{"false ", "false", JSON_BOOL}, {"-1.5e3 ", "-1.5e3", JSON_NUMBER},
		{"0", "0", JSON_NUMBER},        {" \"a b\" ", "\"a b\"", JSON_STRING},
		{"\"\"", "\"\"", JSON_STRING},  {"\"a\\n\"", "", JSON_STRING},
		{" [1,2]", "[", JSON_ARRAY},    {"{\"a\":1} ", "{", JSON_OBJECT},
	};
	struct json absent = {NULL, NULL};
	struct json_each it;
	struct parsed p;
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		struct json_plain plain;

		p = parse(str_of(cases[i].text));
		plain = json_plain(p.root);
		check(plain.type == cases[i].type, "json_plain: type of %s", cases[i].text);
		check_same(slice(plain.s, plain.n), str_of(cases[i].plain), cases[i].text);
		parsed_free(&p);
	}
	check(json_plain(absent).type == JSON_ABSENT && json_plain(absent).n == 0, "json_plain: absent");
	p = parse(str_of("{ \"name\" : 1 , \"\\u006e\" : 2 }"));
	it = json_each(p.root);
	json_next(&it);
	check_same(it.name, str_of("\"name\""), "json_each: a name as it stands in the text");
	json_next(&it);
	check(it.name.n == 0, "json_each: none where it has an escape");
	parsed_free(&p);
}

static void test_put_after_failure(void)
{
	struct json_out out = {0};

	json_put(&out, str_of("kept"));
	calls_to_failure = 0;
	while (!out.failed)
		json_put(&out, str_of("0123456789abcdef"));
	calls_to_failure = NEVER;
	out.length = 4;
	json_put(&out, str_of("lost"));
	json_put_string(&out, str_of("lost"));
	json_put_int64(&out, 1);
	check(out.failed, "output: failed stays set");
	check_same(put(&out), str_of("kept"), "output: nothing is added after a failure, even where there is room");
	json_put(&out, slice("", SIZE_MAX));
	json_out_free(&out);
	check(!out.failed && out.bytes == NULL, "output: ready for use again after json_out_free");
	json_put(&out, slice("", SIZE_MAX));
	check(out.failed, "output: a length that no memory holds is a failure");
	json_out_free(&out);
	json_put(&out, slice(NULL, 0));
	check(!out.failed && out.length == 0, "output: nothing from no address");
	json_out_free(&out);
}

/* ---- Each allocation fails in turn ---- */

static const char sample[] = "{\"escaped\":\"\\u00e9\",\"plain\":[1,-2.50,{\"d\":{\"e\":null}},[],\"\\\"\"]}";

/* Two bytes of text a node: more nodes than the parser reckons with, so the tape has to grow. */
static struct json_out dense_text(void)
{
	struct json_out text = {0};
	int i;

	json_put(&text, str_of("[0"));
	for (i = 0; i < 100000; i++)
		json_put(&text, str_of(",1"));
	json_put(&text, str_of("]"));
	return text;
}

/* Parses, unescapes and writes; false if anything had no memory, and then cleanly. */
static bool passes(struct str text, struct arena *arena)
{
	struct json_error error;
	struct json root;
	struct json_out compact = {0}, quoted = {0};
	struct str s = {"", 0};
	bool ok;

	if (!json_parse(arena, text.s, text.n, &root, &error))
		return !error.no_memory && strcmp(error.what, "more values than there is room for") != 0;
	ok = json_string(json_get(root, "escaped"), arena, &s) || json_type(root) != JSON_OBJECT;
	ok = ok && arena_string(arena, s);
	json_put_value(&compact, root, 0);
	json_put_quoted(&quoted, root);
	ok = ok && !compact.failed && !quoted.failed && same(put(&compact), text);
	json_out_free(&compact);
	json_out_free(&quoted);
	return ok;
}

/* How many allocations failed in turn before all succeeded; -1 if that never came. */
static long fail_in_turn(struct str text)
{
	long n;

	for (n = 0; n < 1000; n++) {
		struct arena arena = {0};
		bool ok;

		calls_to_failure = n;
		ok = passes(text, &arena);
		calls_to_failure = NEVER;
		arena_free(&arena);
		if (ok)
			return n;
	}
	return -1;
}

static void test_allocations_fail(void)
{
	struct json_out dense = dense_text();
	long small = fail_in_turn(str_of(sample)), large = fail_in_turn(put(&dense));

	check(small >= 3, "allocations fail in turn: an error until all succeed (%ld)", small);
	check(large > small, "allocations fail in turn: likewise while the tape and the output grow (%ld)", large);
	json_out_free(&dense);
}

static void test_limits(void)
{
	size_t limit, failed = 0, passed_after = 0;

	for (limit = 1; limit < 2000; limit++) {
		struct arena arena = {.limit = limit};

		if (passes(str_of(sample), &arena))
			passed_after++;
		else
			failed = limit;
		arena_free(&arena);
	}
	check(passed_after > 0 && failed + passed_after == 1999,
	      "arena limits from 1 on: an error until there is enough (%zu), and none after", failed + 1);
}

/* A text as dense as can be gets a tape of just its size, whatever was reckoned with at first. */
static void test_dense_limit(void)
{
	enum { ELEMENTS = 100000, NODE = 8 };
	struct json_out text = {0};
	struct json_error error = {.what = NULL};
	struct arena arena = {.limit = (ELEMENTS + 1) * NODE + 1000};
	struct json root;
	int i;

	json_put_text(&text, "[1");
	for (i = 1; i < ELEMENTS; i++)
		json_put_text(&text, ",1");
	json_put_text(&text, "]");
	check(json_parse(&arena, text.bytes, text.length, &root, &error),
	      "the densest text in memory for its nodes alone");
	arena_free(&arena);
	arena.limit = ELEMENTS * NODE;
	check(!json_parse(&arena, text.bytes, text.length, &root, &error) && !error.no_memory,
	      "a limit that is too small is no want of memory");
	check_text(error.what, "more values than there is room for", "and the error says so");
	arena_free(&arena);
	calls_to_failure = 0;
	check(!json_parse(&arena, text.bytes, 2, &root, &error) && error.no_memory, "want of memory is");
	calls_to_failure = NEVER;
	arena.limit = 0;
	text.bytes[text.length - 1] = '}';
	check(!json_parse(&arena, text.bytes, text.length, &root, &error) && !error.no_memory,
	      "nor is a fault at the end of a dense text");
	arena_free(&arena);
	calls_to_failure = NEVER;
	json_out_free(&text);
}

static void test_dense(void)
{
	struct json_out text = dense_text(), again = {0};
	struct parsed p = {.root = {"", NULL}};

	p.ok = json_parse(&p.arena, text.bytes, text.length, &p.root, &p.error);
	json_put_value(&again, p.root, 0);
	check(p.ok, "a tape that has to grow");
	check(same(put(&again), put(&text)), "a tape that has grown");
	parsed_free(&p);
	json_out_free(&text);
	json_out_free(&again);
}

/* ---- Mutations: what is accepted means the same after a round trip ---- */

static uint64_t random_state = 1;

static size_t random_below(size_t n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (size_t)(random_state >> 33) % n;
}

static size_t mutate(char *text, size_t n, size_t capacity)
{
	static const char bytes[] =
		"{}[]\":,\\/ \t\n\r0123456789-+.eEtrufalsn\x01\x7f\x80\xc3\xa9\xe2\x82\xac\xed\xf0\xff";
	size_t at = random_below(n), length;

	switch (random_below(4)) {
	case 0: /* replace a byte */ text[at] = bytes[random_below(sizeof bytes)]; return n;
	case 1: /* cut */ return at + 1;
	case 2: /* take some out */
		length = random_below(n - at);
		memmove(text + at, text + at + length, n - at - length);
		return n - length;
	default: /* repeat some */
		length = random_below(n - at);
		if (length > capacity - n)
			length = capacity - n;
		memmove(text + at + length, text + at, n - at);
		return n + length;
	}
}

/* Whatever the text is: accepted means that the same comes back from both layouts. */
static bool survives(struct str text, unsigned *good)
{
	struct parsed p = parse(text), again;
	struct json_out compact = {0}, indented = {0}, second = {0};
	bool ok = true;

	if (p.ok) {
		++*good;
		json_put_value(&compact, p.root, 0);
		json_put_value(&indented, p.root, 3);
		parsed_free(&p);
		again = parse(put(&indented));
		json_put_value(&second, again.root, 0);
		ok = again.ok && same(put(&second), put(&compact));
		parsed_free(&again);
	} else {
		ok = p.error.line >= 1 && p.error.column >= 1 && p.error.column <= text.n + 1;
		parsed_free(&p);
	}
	json_out_free(&compact);
	json_out_free(&indented);
	json_out_free(&second);
	return ok;
}

static void test_mutations(void)
{
	unsigned round, good = 0, wrong = 0;

	for (round = 0; round < 20000; round++) {
		const struct accepted *from = &accepted[random_below(COUNT(accepted))];
		char text[1024];
		size_t n = from->text.n, times = 1 + random_below(3);

		memcpy(text, from->text.s, n);
		while (times-- && n > 0)
			n = mutate(text, n, sizeof text);
		wrong += !survives(slice(text, n), &good);
	}
	check(wrong == 0, "mutations of what is accepted (%u wrong)", wrong);
	check(good > 1000 && good < 19000, "mutations: some are accepted, some not (%u of 20000)", good);
}

int main(void)
{
	if (!check(guard_make(), "an unreadable page"))
		return check_done();
	test_slices();
	test_words();
	test_cuts();
	test_characters();
	test_errors();
	test_days();
	test_time_vectors();
	test_time_prefixes();
	test_time_faults();
	test_nearest();
	test_time_calendar();
	test_time_bounds();
	test_arena_memory();
	test_arena_overflow();
	test_arena_limit();
	test_arena_reset();
	test_arena_string();
	test_arena_out_of_memory();
	test_accepted();
	test_refused();
	test_reasons();
	test_no_address();
	test_too_long();
	test_depth();
	test_depth_limits();
	test_bytes_in_strings();
	test_bytes_between_tokens();
	test_utf8_sequences();
	test_types();
	test_absent();
	test_get();
	test_each();
	test_strings();
	test_string_memory();
	test_int64();
	test_put_string();
	test_every_character();
	test_put_int64();
	test_put_indented();
	test_put_inner();
	test_put_quoted();
	test_put_mended();
	test_put_string_mended();
	test_plain();
	test_put_after_failure();
	test_allocations_fail();
	test_limits();
	test_dense();
	test_dense_limit();
	test_mutations();
	return check_done();
}
