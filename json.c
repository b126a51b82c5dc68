/* json.c - text: slices and characters, errors, the arena, time, JSON.  Each part uses only those above it. */
#include "json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Slices and characters ---- */

bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

char to_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

int hex_value(char c)
{
	c = to_lower(c);
	if (is_digit(c))
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* White space of JSON (RFC 8259 section 2).  Most bytes asked about are none, and one comparison tells. */
static bool is_space(char c)
{
	return (unsigned char)c <= ' ' && (c == ' ' || c == '\n' || c == '\r' || c == '\t');
}

struct str str_of(const char *s)
{
	struct str slice = {s ? s : "", s ? strlen(s) : 0};

	return slice;
}

/* An empty slice may have no address, and memcmp must not be given one that is NULL. */
bool str_equal(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.s, b.s, a.n) == 0);
}

bool str_is(struct str a, const char *b)
{
	return str_equal(a, str_of(b));
}

bool str_is_word(struct str a, const char *lower)
{
	size_t i;

	for (i = 0; i < a.n; i++)
		if (lower[i] == '\0' || to_lower(a.s[i]) != lower[i])
			return false;
	return lower[i] == '\0';
}

void str_skip(struct str *s, size_t n)
{
	if (n > 0) /* C knows no NULL plus 0 */
		s->s += n;
	s->n -= n;
}

struct str str_trim(struct str s)
{
	while (s.n && is_space(*s.s))
		str_skip(&s, 1);
	while (s.n && is_space(s.s[s.n - 1]))
		s.n--;
	return s;
}

struct str str_cut(struct str *rest, char c)
{
	const char *at = rest->n ? memchr(rest->s, c, rest->n) : NULL;
	struct str part = {rest->s, at ? (size_t)(at - rest->s) : rest->n};

	str_skip(rest, part.n + (at != NULL));
	return part;
}

int str_width(struct str s, size_t most)
{
	return (int)(s.n < most ? s.n : most);
}

/* Words longer than this are compared by their beginnings. */
enum { WORD_LENGTH = 64 };

/* Levenshtein's distance with transpositions of neighbours, row by row over a table of three rows. */
static size_t word_distance(struct str a, struct str b)
{
	size_t row[3][WORD_LENGTH + 1], n = b.n < WORD_LENGTH ? b.n : WORD_LENGTH, i, j;

	for (j = 0; j <= n; j++)
		row[0][j] = j;
	for (i = 1; i <= a.n && i <= WORD_LENGTH; i++) {
		size_t *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];

		now[0] = i;
		for (j = 1; j <= n; j++) {
			char c = to_lower(a.s[i - 1]), d = to_lower(b.s[j - 1]);
			size_t best = last[j - 1] + (c != d);

			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && c == to_lower(b.s[j - 2]) && to_lower(a.s[i - 2]) == d &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
	}
	return row[(i + 2) % 3][n];
}

void nearest_try(struct nearest *nearest, struct str wanted, struct str name)
{
	size_t distance = word_distance(wanted, name), length = wanted.n > name.n ? wanted.n : name.n;

	if (nearest->name.n && distance >= nearest->distance)
		return;
	nearest->name = name;
	nearest->distance = distance;
	nearest->likely = distance * 2 <= length;
}

/* ---- Errors ---- */

bool fail(struct error *error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error->text, sizeof error->text, format, args);
	va_end(args);
	return false;
}

void error_add(struct error *error, const char *format, ...)
{
	size_t length = strlen(error->text);
	va_list args;

	va_start(args, format);
	vsnprintf(error->text + length, sizeof error->text - length, format, args);
	va_end(args);
}

bool error_about(struct error *error, const char *subject)
{
	struct error bare = *error;

	return subject && fail(error, "%s: %s", subject, bare.text);
}

/* ---- Arena ---- */

/* The strictest of the alignments promised; max_align_t is C11's. */
union alignment {
	long long integer;
	double real;
	void *pointer;
	void (*function)(void);
};

struct arena_block {
	struct arena_block *older;
	size_t size, used; /* bytes after the header */
};

enum {
	ALIGNMENT = sizeof(union alignment),
	BLOCK_HEADER = (sizeof(struct arena_block) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT,
	BLOCK_LEAST = 16384 - BLOCK_HEADER,
	BLOCK_GROWTH_END = 1 << 20 /* blocks double up to here */
};

/* A new block with room for size bytes at least: twice the last one where the limit allows, else just what is asked. */
static struct arena_block *block_add(struct arena *arena, size_t size)
{
	size_t wish = arena->block ? arena->block->size * 2 : BLOCK_LEAST;
	size_t left = SIZE_MAX;
	struct arena_block *block;

	if (arena->limit)
		left = arena->limit > arena->held ? arena->limit - arena->held : 0;
	if (wish > BLOCK_GROWTH_END)
		wish = BLOCK_GROWTH_END;
	if (wish < size || left < wish + BLOCK_HEADER)
		wish = size;
	if (left < BLOCK_HEADER || left - BLOCK_HEADER < wish)
		return NULL;
	block = malloc(BLOCK_HEADER + wish);
	if (!block)
		return NULL;
	block->older = arena->block;
	block->size = wish;
	block->used = 0;
	arena->block = block;
	arena->held += BLOCK_HEADER + wish;
	return block;
}

/* Like arena_alloc, but not zeroed. */
static void *arena_take(struct arena *arena, size_t count, size_t size)
{
	struct arena_block *block = arena->block;
	size_t bytes;
	char *p;

	if (size && count > (SIZE_MAX - ALIGNMENT) / size)
		return NULL;
	bytes = (count * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (!block || block->size - block->used < bytes)
		block = block_add(arena, bytes);
	if (!block)
		return NULL;
	p = (char *)block + BLOCK_HEADER + block->used;
	block->used += bytes;
	return p;
}

void *arena_alloc(struct arena *arena, size_t count, size_t size)
{
	void *p = arena_take(arena, count, size);

	if (p)
		memset(p, 0, count * size);
	return p;
}

char *arena_string(struct arena *arena, struct str s)
{
	char *copy = s.n < SIZE_MAX ? arena_take(arena, s.n + 1, 1) : NULL;

	if (copy) {
		if (s.n)
			memcpy(copy, s.s, s.n);
		copy[s.n] = '\0';
	}
	return copy;
}

static void blocks_free(struct arena_block *block)
{
	while (block) {
		struct arena_block *older = block->older;
		free(block);
		block = older;
	}
}

void arena_reset(struct arena *arena)
{
	struct arena_block **link, **largest = &arena->block, *kept;

	if (!arena->block)
		return;
	for (link = &arena->block; *link; link = &(*link)->older)
		if ((*link)->size > (*largest)->size)
			largest = link;
	kept = *largest;
	*largest = kept->older;
	blocks_free(arena->block);
	kept->older = NULL;
	kept->used = 0;
	arena->block = kept;
	arena->held = BLOCK_HEADER + kept->size;
}

void arena_free(struct arena *arena)
{
	blocks_free(arena->block);
	arena->block = NULL;
	arena->held = 0;
}

/* ---- Time ---- */

enum { SECONDS_A_DAY = 86400, DAYS_TO_1970 = 719162 /* from 0001-01-01 */ };

#define TIME_LEAST (-(int64_t)DAYS_TO_1970 * SECONDS_A_DAY * SECOND_US)
#define TIME_MOST  INT64_C(253402300799999999) /* 9999-12-31T23:59:59.999999Z */

enum { NO_NUMBER = -100000 }; /* stays below zero in all that is made of it */

static int two_digits(const char *s)
{
	return is_digit(s[0]) && is_digit(s[1]) ? (s[0] - '0') * 10 + (s[1] - '0') : NO_NUMBER;
}

static bool is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

bool days_since_1970(int year, int month, int day, int64_t *days)
{
	static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
	int past = year - 1, length;

	if (year < 1 || month < 1 || month > 12)
		return false;
	length = before[month] - before[month - 1] + (month == 2 && is_leap(year));
	if (day < 1 || day > length)
		return false;
	*days = past * 365 + past / 4 - past / 100 + past / 400 + before[month - 1] + (month > 2 && is_leap(year)) +
		day - 1 - DAYS_TO_1970;
	return true;
}

/* YYYY-MM-DD, which ten bytes at least must hold.  NULL, or what is wrong. */
static const char *read_date(struct str s, int64_t *days)
{
	int year, month, day;

	if (s.n < 10 || s.s[4] != '-' || s.s[7] != '-')
		return "it does not begin with YYYY-MM-DD";
	year = two_digits(s.s) * 100 + two_digits(s.s + 2);
	month = two_digits(s.s + 5);
	day = two_digits(s.s + 8);
	if (year < 0 || month < 0 || day < 0)
		return "it does not begin with YYYY-MM-DD";
	if (year < 1)
		return "there is no such year";
	if (month < 1 || month > 12)
		return "there is no such month";
	return days_since_1970(year, month, day, days) ? NULL : "this month has no such day";
}

/* Digits after the second as microseconds; what is past six is cut.  Returns the place after them. */
static const char *parse_fraction(const char *p, const char *end, int *us)
{
	int weight;

	for (weight = 100000; p < end && is_digit(*p); p++, weight /= 10)
		*us += weight * (*p - '0');
	return p;
}

/* All that is left: nothing, Z, or a sign and HH:MM or HHMM; as minutes. */
static const char *read_offset(struct str s, int *minutes)
{
	int hour, minute;

	*minutes = 0;
	if (s.n == 0 || (s.n == 1 && (*s.s == 'Z' || *s.s == 'z')))
		return NULL;
	if ((s.n != 6 || s.s[3] != ':') && s.n != 5)
		return "what follows the time is no zone such as Z or +01:00";
	hour = two_digits(s.s + 1);
	minute = two_digits(s.s + s.n - 2);
	if ((*s.s != '+' && *s.s != '-') || hour < 0 || minute < 0)
		return "what follows the time is no zone such as Z or +01:00";
	*minutes = (hour * 60 + minute) * (*s.s == '-' ? -1 : 1);
	return hour < 24 && minute < 60 ? NULL : "there is no such zone";
}

/* What may stand behind hours and minutes: :SS and a fraction. */
static const char *read_second(struct str *s, int *second, int *us)
{
	const char *end = s->s + s->n, *p;

	if (s->n == 0 || *s->s != ':')
		return NULL;
	*second = s->n < 3 ? NO_NUMBER : two_digits(s->s + 1);
	if (*second < 0)
		return "its second is not two digits";
	str_skip(s, 3);
	if (s->n == 0 || *s->s != '.')
		return NULL;
	p = parse_fraction(s->s + 1, end, us);
	if (p == s->s + 1)
		return "no digit follows the point";
	str_skip(s, (size_t)(p - s->s));
	return NULL;
}

/* THH:MM, second, fraction and offset, as microseconds since the date's UTC midnight. */
static const char *read_time(struct str s, int64_t *us)
{
	int hour, minute, second = 0, fraction = 0, offset;
	const char *wrong;

	if (s.n < 6 || (*s.s != 'T' && *s.s != 't' && *s.s != ' ') || s.s[3] != ':')
		return "what follows the date is no time such as T00:00:00Z";
	hour = two_digits(s.s + 1);
	minute = two_digits(s.s + 4);
	str_skip(&s, 6);
	if (hour < 0 || minute < 0)
		return "what follows the date is no time such as T00:00:00Z";
	wrong = read_second(&s, &second, &fraction);
	if (!wrong)
		wrong = read_offset(s, &offset);
	if (wrong)
		return wrong;
	if (hour > 23 || minute > 59 || second > 60)
		return "there is no such time of day";
	minute += hour * 60 - offset;
	*us = ((int64_t)minute * 60 + second) * SECOND_US + fraction;
	/* A leap second ends a UTC day, RFC 3339 section 5.7. */
	return second < 60 || (minute + 1) % (24 * 60) == 0 ? NULL : "there is no leap second at this time";
}

const char *time_read(struct str s, int64_t *us)
{
	int64_t days = 0, of_day = 0, result;
	const char *wrong = read_date(s, &days);

	if (!wrong && s.n > 10) {
		str_skip(&s, 10);
		wrong = read_time(s, &of_day);
	}
	if (wrong)
		return wrong;
	result = days * DAY_US + of_day;
	if (result < TIME_LEAST || result > TIME_MOST)
		return "it is not within the years 1 to 9999";
	*us = result;
	return NULL;
}

bool time_parse(struct str s, int64_t *us)
{
	return !time_read(s, us);
}

static void put_digits(char *to, unsigned value, int digits)
{
	while (digits-- > 0) {
		to[digits] = (char)('0' + value % 10);
		value /= 10;
	}
}

/* The date that lies so many days after 0000-03-01: years that begin in March have their leap day at the end, so that
 * month and day come from one line (153 days in five months) without a table. */
static void put_date(char *to, unsigned days)
{
	unsigned era = days / 146097, of_era = days % 146097;
	unsigned of_400 = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	unsigned of_year = of_era - (365 * of_400 + of_400 / 4 - of_400 / 100);
	unsigned from_march = (5 * of_year + 2) / 153;
	unsigned month = from_march < 10 ? from_march + 3 : from_march - 9;

	put_digits(to, era * 400 + of_400 + (month <= 2), 4);
	put_digits(to + 5, month, 2);
	put_digits(to + 8, of_year - (153 * from_march + 2) / 5 + 1, 2);
}

void time_format(int64_t us, char out[TIME_SIZE])
{
	uint64_t since_year_1;
	unsigned of_day;

	if (us < TIME_LEAST)
		us = TIME_LEAST;
	if (us > TIME_MOST)
		us = TIME_MOST;
	since_year_1 = (uint64_t)(us - TIME_LEAST);
	of_day = (unsigned)(since_year_1 / SECOND_US % SECONDS_A_DAY);
	memcpy(out, "0000-00-00T00:00:00.000000Z", TIME_SIZE);
	put_date(out, (unsigned)(since_year_1 / SECOND_US / SECONDS_A_DAY) + 306);
	put_digits(out + 11, of_day / 3600, 2);
	put_digits(out + 14, of_day / 60 % 60, 2);
	put_digits(out + 17, of_day % 60, 2);
	put_digits(out + 20, (unsigned)(since_year_1 % SECOND_US), 6);
}

/* ---- Text scanning ----
 * Each function takes the place where its token begins and the end of the text, and returns the place after the token.
 * If the token is malformed it returns NULL and leaves *bad at the byte that is. */

/* Implementation notes: eight bytes at once.
 * They are put together with the first byte lowest, whatever the machine's byte order; compilers make one load of it.
 * special_marks sets the top bit of every byte that ends a run of plain string text: control, quote, backslash, not
 * ASCII.  A subtraction may borrow from the bytes above one that is marked, and so mark them as well, but never from
 * below: the lowest mark is always a true one, and it is the only one asked for. */

static uint64_t load_eight(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;

	return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
	       (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

static const uint64_t ones = UINT64_C(0x0101010101010101); /* times a byte: that byte eight times */

static uint64_t special_marks(uint64_t x)
{
	uint64_t quote = x ^ (ones * '"'), backslash = x ^ (ones * '\\');

	return (x | (x - ones * 0x20) | (quote - ones) | (backslash - ones)) & (ones * 0x80);
}

/* How many bytes stand below the lowest mark: the bits under it, one a byte, are summed up by the multiplication. */
static size_t bytes_below(uint64_t marks)
{
	return (size_t)((((marks - 1) & ~marks & ones) * ones >> 56) - 1);
}

static bool is_plain(char c)
{
	return (unsigned char)c >= 0x20 && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

static inline const char *skip_plain(const char *p, const char *end)
{
	while (end - p >= 8) {
		uint64_t marks = special_marks(load_eight(p));
		if (marks)
			return p + bytes_below(marks);
		p += 8;
	}
	while (p < end && is_plain(*p))
		p++;
	return p;
}

/* Length of the UTF-8 sequence at p (RFC 3629 section 4: no overlong form, no surrogate, nothing past U+10FFFF); 0 if
 * it is none. */
static size_t utf8_length(const char *p, const char *end)
{
	unsigned char lead = (unsigned char)p[0], second;
	unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte */
	size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4, i;

	if (length == 1)
		return 1;
	if (lead < 0xc2 || lead > 0xf4 || (size_t)(end - p) < length)
		return 0;
	if (lead == 0xe0)
		low = 0xa0;
	else if (lead == 0xed)
		high = 0x9f;
	else if (lead == 0xf0)
		low = 0x90;
	else if (lead == 0xf4)
		high = 0x8f;
	second = (unsigned char)p[1];
	if (second < low || second > high)
		return 0;
	for (i = 2; i < length; i++)
		if (((unsigned char)p[i] & 0xc0) != 0x80)
			return 0;
	return length;
}

static const char *scan_escape(const char *p, const char *end, const char **bad)
{
	int i;

	*bad = end - p < 2 ? end : p;
	if (*bad == end)
		return NULL;
	if (p[1] != 'u')
		return p[1] != '\0' && strchr("\"\\/bfnrt", p[1]) ? p + 2 : NULL;
	for (i = 2; i < 6; i++) {
		if (p + i == end)
			*bad = end;
		if (p + i == end || hex_value(p[i]) < 0)
			return NULL;
	}
	return p + 6;
}

/* From inside a string, at a byte that is not plain, to the closing quote. */
static const char *scan_string(const char *p, const char *end, bool *escaped, const char **bad)
{
	while (p < end && *p != '"') {
		*bad = p;
		if (*p == '\\') {
			*escaped = true;
			p = scan_escape(p, end, bad);
			if (!p)
				return NULL;
		} else {
			size_t n = (unsigned char)*p < 0x20 ? 0 : utf8_length(p, end);
			if (n == 0)
				return NULL;
			p += n;
		}
		p = skip_plain(p, end);
	}
	*bad = p;
	return p < end ? p : NULL;
}

static const char *scan_digits(const char *p, const char *end, const char **bad)
{
	const char *first = p;

	while (p < end && is_digit(*p))
		p++;
	*bad = p;
	return p > first ? p : NULL;
}

static const char *scan_number(const char *p, const char *end, const char **bad)
{
	if (*p == '-')
		p++;
	if (p < end && *p == '0')
		p++;
	else
		p = scan_digits(p, end, bad);
	if (p && p < end && *p == '.')
		p = scan_digits(p + 1, end, bad);
	if (p && p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		p = scan_digits(p, end, bad);
	}
	return p;
}

/* ---- Nodes ----
 * One a value and one a key, in text order, in one contiguous array.
 * at:   offset of the value's first byte, which tells the type.
 * size: string: length between the quotes * 2 + (1 if it holds an escape); other scalar: length of its text;
 *       array, object: nodes of the whole subtree, this one included, so that the next sibling is one step away. */

struct json_node {
	uint32_t at, size;
};

static bool opens_container(char c)
{
	return c == '{' || c == '[';
}

/* The node after a value and all that is inside it. */
static const struct json_node *node_after(const char *text, const struct json_node *node)
{
	return node + (opens_container(text[node->at]) ? node->size : 1);
}

/* The place after a scalar, or after a container's opening bracket. */
static const char *token_end(const char *text, const struct json_node *node)
{
	const char *first = text + node->at;

	if (*first == '"')
		return first + node->size / 2 + 2;
	return first + (opens_container(*first) ? 1 : node->size);
}

/* Is this a string with an escape in it? */
static bool has_escape(const char *text, const struct json_node *node)
{
	return (node->size & 1) && text[node->at] == '"';
}

/* ---- Parse to tape ----
 * Implementation notes: nodes.
 * A container's node is added at its bracket, before its size is known.  Until it closes, size holds the index of the
 * container around it, so the open ones form a chain and no stack is needed; at the closing bracket size becomes the
 * number of nodes added since.  An object's node sequence is key, value, key, value; a key is a string like any other.
 *
 * The place in the text is an argument and a result, never a member, so that it stays in a register: each parse_
 * function takes where its part begins and returns where the next one does, or NULL after refuse.  The small ones that
 * run for every token say inline because compilers would not do it unasked at -O2; it is worth a third of the speed. */

struct parser {
	struct arena *arena;
	const char *text, *end;
	struct json_node *nodes;
	size_t count, capacity;
	size_t open; /* index of the innermost open container */
	unsigned depth, depth_limit;
	char closing;           /* the innermost open container's closing bracket; NUL outside all */
	const char *what, *bad; /* the first error, and where */
	bool no_memory;
	bool full; /* the tape: the text has more values than were reckoned with */
};

static const char *refuse(struct parser *s, const char *what, const char *where)
{
	s->what = what;
	s->bad = where;
	return NULL;
}

static const char *no_memory(struct parser *s, const char *where)
{
	s->no_memory = true;
	return refuse(s, "no memory for a document of this size", where);
}

/* Adds a node; returns after, the place after its text. */
static inline const char *tape_add(struct parser *s, const char *at, size_t size, const char *after)
{
	struct json_node *node;

	if (s->count == s->capacity) {
		s->full = true;
		return no_memory(s, at);
	}
	node = &s->nodes[s->count++];
	node->at = (uint32_t)(at - s->text);
	node->size = (uint32_t)size;
	return after;
}

static char peek(const struct parser *s, const char *p)
{
	return p < s->end ? *p : '\0';
}

/* Moves past white space; returns the byte after it, NUL at the end of the text. */
static inline char skip_space(const struct parser *s, const char **p)
{
	while (*p < s->end && is_space(**p))
		++*p;
	return peek(s, *p);
}

static const char *refuse_string(struct parser *s, const char *bad)
{
	if (bad == s->end)
		return refuse(s, "string without an end", bad);
	if (*bad == '\\')
		return refuse(s, "malformed escape in a string", bad);
	if ((unsigned char)*bad < 0x20)
		return refuse(s, "control character in a string", bad);
	return refuse(s, "bytes that are not UTF-8 in a string", bad);
}

/* The rest of a string that is not all plain. */
static const char *parse_string_rest(struct parser *s, const char *first, const char *p)
{
	const char *bad, *quote;
	bool escaped = false;

	quote = scan_string(p, s->end, &escaped, &bad);
	if (!quote)
		return refuse_string(s, bad);
	return tape_add(s, first, (size_t)(quote - first - 1) * 2 + escaped, quote + 1);
}

static inline const char *parse_string(struct parser *s, const char *first)
{
	const char *p = skip_plain(first + 1, s->end);

	if (peek(s, p) != '"')
		return parse_string_rest(s, first, p);
	return tape_add(s, first, (size_t)(p - first - 1) * 2, p + 1);
}

/* A member's name and colon. */
static const char *parse_key(struct parser *s, const char *p)
{
	if (skip_space(s, &p) != '"')
		return refuse(s, "expected a member's name in quotes", p);
	p = parse_string(s, p);
	if (!p)
		return NULL;
	if (skip_space(s, &p) != ':')
		return refuse(s, "expected ':' after a member's name", p);
	return p + 1;
}

static const char *parse_number(struct parser *s, const char *p)
{
	const char *bad, *after = scan_number(p, s->end, &bad);

	return after ? tape_add(s, p, (size_t)(after - p), after) : refuse(s, "expected a digit", bad);
}

static inline const char *parse_literal(struct parser *s, const char *p, const char *literal, size_t n)
{
	if ((size_t)(s->end - p) < n || memcmp(p, literal, n) != 0)
		return refuse(s, "expected a value", p);
	return tape_add(s, p, n, p + n);
}

static char closing_of(char opening)
{
	return opening == '{' ? '}' : ']';
}

/* *opened: the first thing inside is next; otherwise the closing bracket is. */
static const char *container_open(struct parser *s, const char *p, bool *opened)
{
	if (s->depth == s->depth_limit)
		return refuse(s, "nested too deep", p);
	if (!tape_add(s, p, s->open, p))
		return NULL;
	s->open = s->count - 1;
	s->depth++;
	s->closing = closing_of(*p);
	p++;
	*opened = skip_space(s, &p) != s->closing;
	return p;
}

static void container_close(struct parser *s)
{
	struct json_node *node = &s->nodes[s->open];

	s->open = node->size;
	node->size = (uint32_t)(s->count - (size_t)(node - s->nodes));
	s->depth--;
	s->closing = s->depth ? closing_of(s->text[s->nodes[s->open].at]) : '\0';
}

/* A scalar, or the beginning of a container. */
static const char *parse_value(struct parser *s, const char *p, bool *opened)
{
	char c = skip_space(s, &p);

	*opened = false;
	switch (c) {
	case '"': return parse_string(s, p);
	case '{':
	case '[': return container_open(s, p, opened);
	case 't': return parse_literal(s, p, "true", 4);
	case 'f': return parse_literal(s, p, "false", 5);
	case 'n': return parse_literal(s, p, "null", 4);
	default: return c == '-' || is_digit(c) ? parse_number(s, p) : refuse(s, "expected a value", p);
	}
}

/* What follows a value: closing brackets, and a comma where the container goes on. */
static const char *parse_after_value(struct parser *s, const char *p)
{
	while (s->closing) {
		char c = skip_space(s, &p);

		if (c == ',')
			return p + 1;
		if (c != s->closing)
			return refuse(s, s->closing == '}' ? "expected ',' or '}'" : "expected ',' or ']'", p);
		container_close(s);
		p++;
	}
	return p;
}

static const char *parse_document(struct parser *s, const char *p)
{
	do {
		bool opened = false;

		if (s->closing == '}')
			p = parse_key(s, p);
		if (p)
			p = parse_value(s, p, &opened);
		if (p && !opened)
			p = parse_after_value(s, p);
		if (!p)
			return NULL;
	} while (s->closing);
	skip_space(s, &p);
	return p == s->end ? p : refuse(s, "something follows the document's value", p);
}

static void error_locate(const struct parser *s, struct json_error *error)
{
	const char *c, *line = s->text;

	error->what = s->what;
	error->no_memory = s->no_memory;
	error->line = 1;
	for (c = s->text; c < s->bad; c++)
		if (*c == '\n') {
			error->line++;
			line = c + 1;
		}
	error->column = (size_t)(s->bad - line) + 1;
}

/* Everything about the text as a whole, before its first token. */
static const char *parse_begin(struct parser *s, size_t length)
{
	if (length > UINT32_MAX / 2)
		return refuse(s, "document larger than 2 GiB", s->text);
	if (length >= 3 && memcmp(s->text, "\xef\xbb\xbf", 3) == 0)
		return refuse(s, "begins with a byte order mark", s->text);
	s->end = s->text + length;
	return s->text;
}

static bool tape_reserve(struct parser *s, size_t capacity)
{
	size_t most = s->arena->limit ? (s->arena->limit - s->arena->held) / sizeof *s->nodes : SIZE_MAX;

	s->capacity = capacity;
	s->nodes = arena_take(s->arena, capacity, sizeof *s->nodes);
	if (s->nodes)
		return true;
	no_memory(s, s->text);
	if (capacity >= most) {
		s->no_memory = false;
		s->what = "more values than there is room for";
	}
	return false;
}

/* The most nodes that the text can have: every value but the first, and every name, follows one of these bytes. */
static size_t nodes_most(const struct parser *s)
{
	const char *c;
	size_t n = 1;

	for (c = s->text; c < s->end; c++)
		n += *c == '{' || *c == '[' || *c == ',' || *c == ':';
	return n;
}

/* A node in eight bytes is enough for the answers that were measured: none had less than nine.  A denser text is counted
 * and parsed anew, with a tape of just that size; the first one is given back where nothing else is in the arena. */
static bool parse_text(struct parser *s)
{
	bool alone = !s->arena->block;

	if (!tape_reserve(s, (size_t)(s->end - s->text) / 8 + 16))
		return false;
	if (parse_document(s, s->text))
		return true;
	if (!s->full)
		return false;
	if (alone)
		arena_free(s->arena);
	s->count = 0;
	s->depth = 0;
	s->closing = '\0';
	s->no_memory = false;
	return tape_reserve(s, nodes_most(s)) && parse_document(s, s->text);
}

static bool parse_within(struct arena *arena, const char *text, size_t length, unsigned depth_limit, struct json *root,
			 struct json_error *error)
{
	struct parser s = {.arena = arena, .text = length ? text : "", .depth_limit = depth_limit};
	bool ok = parse_begin(&s, length) && parse_text(&s);

	root->text = s.text;
	root->node = ok ? s.nodes : NULL;
	if (!ok)
		error_locate(&s, error);
	return ok;
}

bool json_parse(struct arena *arena, const char *text, size_t length, struct json *root, struct json_error *error)
{
	return parse_within(arena, text, length, JSON_DEPTH, root, error);
}

/* ---- Access ---- */

static const char *first_byte(struct json v)
{
	return v.text + v.node->at;
}

static enum json_type type_of(char first)
{
	static const unsigned char types[128] = {
		['{'] = JSON_OBJECT, ['['] = JSON_ARRAY,  ['"'] = JSON_STRING, ['n'] = JSON_NULL,   ['t'] = JSON_BOOL,
		['f'] = JSON_BOOL,   ['-'] = JSON_NUMBER, ['0'] = JSON_NUMBER, ['1'] = JSON_NUMBER, ['2'] = JSON_NUMBER,
		['3'] = JSON_NUMBER, ['4'] = JSON_NUMBER, ['5'] = JSON_NUMBER, ['6'] = JSON_NUMBER, ['7'] = JSON_NUMBER,
		['8'] = JSON_NUMBER, ['9'] = JSON_NUMBER};

	return (enum json_type)types[first & 127];
}

enum json_type json_type(struct json v)
{
	return v.node ? type_of(*first_byte(v)) : JSON_ABSENT;
}

/* Of a string with its quotes; 0 if it has an escape. */
static uint32_t plain_length(const struct json_node *string)
{
	return string->size & 1 ? 0 : string->size / 2 + 2;
}

struct json_plain json_plain(struct json v)
{
	struct json_plain plain = {"", 0, JSON_ABSENT};

	if (!v.node)
		return plain;
	plain.s = first_byte(v);
	plain.type = type_of(*plain.s);
	if (plain.type == JSON_STRING)
		plain.n = plain_length(v.node);
	else
		plain.n = plain.type < JSON_STRING ? v.node->size : 1;
	return plain;
}

struct str json_token(struct json v)
{
	enum json_type type = json_type(v);

	if (type == JSON_STRING)
		return (struct str){first_byte(v) + 1, v.node->size / 2};
	if (type == JSON_ABSENT || type > JSON_STRING)
		return (struct str){"", 0};
	return (struct str){first_byte(v), v.node->size};
}

static unsigned long four_hex(const char *p)
{
	unsigned long value = 0;
	int i;

	for (i = 0; i < 4; i++)
		value = value * 16 + (unsigned long)hex_value(p[i]);
	return value;
}

static size_t utf8_encode(unsigned long code, char out[4])
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

/* The character of \uXXXX at *p, a surrogate pair's both escapes, or U+FFFD for a surrogate alone.  The string is a
 * parsed one: what looks like an escape is a whole one, and a quote stands behind the last. */
static unsigned long unescape_unicode(const char **p)
{
	unsigned long code = four_hex(*p + 2), low;

	*p += 6;
	if (code < 0xd800 || code > 0xdfff)
		return code;
	if (code > 0xdbff || (*p)[0] != '\\' || (*p)[1] != 'u')
		return 0xfffd;
	low = four_hex(*p + 2);
	if (low < 0xdc00 || low > 0xdfff)
		return 0xfffd;
	*p += 6;
	return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

/* The bytes that the next byte or escape at *p stands for, and how many; *p moves past it. */
static size_t unescape(const char **p, char out[4])
{
	static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
	const char *letter;

	if (**p != '\\') {
		out[0] = *(*p)++;
		return 1;
	}
	if ((*p)[1] == 'u')
		return utf8_encode(unescape_unicode(p), out);
	letter = strchr(letters, (*p)[1]);
	out[0] = letter ? meanings[letter - letters] : (*p)[1];
	*p += 2;
	return 1;
}

bool json_equals(struct json string, struct str meaning)
{
	struct str raw = json_token(string);
	const char *p = raw.s, *end = raw.s + raw.n;
	char bytes[4];
	size_t done = 0;

	if (json_type(string) != JSON_STRING)
		return false;
	if (!has_escape(string.text, string.node))
		return str_equal(raw, meaning);
	while (p < end) {
		size_t n = unescape(&p, bytes);
		if (meaning.n - done < n || memcmp(meaning.s + done, bytes, n) != 0)
			return false;
		done += n;
	}
	return done == meaning.n;
}

bool json_string(struct json v, struct arena *arena, struct str *out)
{
	struct str raw = json_token(v);
	const char *p = raw.s, *end = raw.s + raw.n;
	char *copy, *to;

	if (json_type(v) != JSON_STRING)
		return false;
	*out = raw;
	if (!has_escape(v.text, v.node))
		return true;
	copy = to = arena_take(arena, raw.n, 1); /* no escape is shorter than what it stands for */
	if (!copy)
		return false;
	while (p < end) {
		char bytes[4];
		size_t n = unescape(&p, bytes);
		memcpy(to, bytes, n);
		to += n;
	}
	out->s = copy;
	out->n = (size_t)(to - copy);
	return true;
}

struct json json_member(struct json object, struct str name)
{
	struct json found = {object.text, NULL};
	struct json_each it;

	if (json_type(object) != JSON_OBJECT)
		return found;
	for (it = json_each(object); json_next(&it);)
		if (json_equals(it.key, name))
			found = it.value;
	return found;
}

struct json json_get(struct json object, const char *key)
{
	return json_member(object, str_of(key));
}

bool json_int64(struct json v, int64_t *out)
{
	struct str token = json_token(v);
	bool negative = token.n && token.s[0] == '-';
	uint64_t limit = (uint64_t)INT64_MAX + negative, value = 0;
	size_t i;

	if (json_type(v) != JSON_NUMBER)
		return false;
	for (i = negative; i < token.n; i++) {
		uint64_t digit = (uint64_t)(token.s[i] - '0');
		if (!is_digit(token.s[i]) || value > (limit - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	if (!negative)
		*out = (int64_t)value;
	else /* so that no step leaves the range, INT64_MIN included */
		*out = value ? -(int64_t)(value - 1) - 1 : 0;
	return true;
}

struct json_each json_each(struct json container)
{
	struct json_each it = {.key = {container.text, NULL}, .value = {container.text, NULL}};
	enum json_type type = json_type(container);

	if (type == JSON_OBJECT || type == JSON_ARRAY) {
		it.next = container.node + 1;
		it.end = container.node + container.node->size;
		it.object = type == JSON_OBJECT;
	}
	return it;
}

bool json_next(struct json_each *it)
{
	if (it->next == it->end)
		return false;
	if (it->object) {
		it->key.node = it->next++;
		it->name.s = first_byte(it->key);
		it->name.n = plain_length(it->key.node);
	}
	it->value.node = it->next;
	it->next = node_after(it->value.text, it->next);
	return true;
}

/* ---- Output ---- */

enum { OUT_LEAST = 256 }; /* bytes an output begins with; then it doubles */

static bool out_grow(struct json_out *out, size_t n)
{
	size_t capacity = out->capacity ? out->capacity : OUT_LEAST;
	char *bytes;

	if (out->failed)
		return false;
	while (capacity - out->length < n && capacity <= SIZE_MAX / 2)
		capacity *= 2;
	bytes = capacity - out->length >= n ? realloc(out->bytes, capacity) : NULL;
	if (!bytes) {
		out->failed = true;
		return false;
	}
	out->bytes = bytes;
	out->capacity = capacity;
	return true;
}

/* Room for n more bytes, or the output fails. */
static inline bool out_reserve(struct json_out *out, size_t n)
{
	return (out->capacity - out->length >= n && !out->failed) || out_grow(out, n);
}

/* memcpy for the few bytes of a token: a library's is made for long ones, and musl's takes 30 ns for any. */
static inline void copy_short(char *to, const char *from, size_t n)
{
	size_t i;

	if (n >= 8) {
		for (i = 0; i < n - 8; i += 8)
			memcpy(to + i, from + i, 8);
		memcpy(to + n - 8, from + n - 8, 8);
	} else if (n >= 4) {
		memcpy(to, from, 4);
		memcpy(to + n - 4, from + n - 4, 4);
	} else {
		for (i = 0; i < n; i++)
			to[i] = from[i];
	}
}

static void put_bytes(struct json_out *out, const char *s, size_t n)
{
	if (n && out_reserve(out, n)) {
		if (n <= 128)
			copy_short(out->bytes + out->length, s, n);
		else
			memcpy(out->bytes + out->length, s, n);
		out->length += n;
	}
}

static void put_char(struct json_out *out, char c)
{
	if (out_reserve(out, 1))
		out->bytes[out->length++] = c;
}

void json_reserve(struct json_out *out, size_t n)
{
	out_reserve(out, n);
}

void json_put_text(struct json_out *out, const char *text)
{
	json_put(out, str_of(text));
}

void json_put(struct json_out *out, struct str s)
{
	put_bytes(out, s.s, s.n);
}

/* The escape of a character that can't stand in a string as it is (RFC 8259 section 7). */
static void put_escape(struct json_out *out, char c)
{
	static const char digits[] = "0123456789abcdef";
	static const char special[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
	const char *short_form = c ? strchr(special, c) : NULL;
	char escape[6] = {'\\', 'u', '0', '0', 0, 0};

	if (short_form) {
		escape[1] = letters[short_form - special];
		put_bytes(out, escape, 2);
	} else {
		escape[4] = digits[(unsigned char)c >> 4];
		escape[5] = digits[(unsigned char)c & 15];
		put_bytes(out, escape, 6);
	}
}

typedef void put_function(struct json_out *, const char *s, size_t n);

static void put_replacement(struct json_out *out, put_function *put)
{
	put(out, "\\ufffd", 6);
	out->mended = true;
}

void json_put_string(struct json_out *out, struct str s)
{
	const char *p = s.n ? s.s : "", *end = p + s.n;

	put_char(out, '"');
	while (p < end) {
		const char *plain = p;

		p = skip_plain(p, end);
		put_bytes(out, plain, (size_t)(p - plain));
		if (p == end)
			break;
		if (*p == '\0' && out->mend)
			put_replacement(out, put_bytes);
		else if ((unsigned char)*p < 0x80)
			put_escape(out, *p);
		else
			put_char(out, *p);
		p++;
	}
	put_char(out, '"');
}

void json_put_int64(struct json_out *out, int64_t value)
{
	char digits[20], *p = digits + sizeof digits;
	uint64_t rest = value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value;

	do
		*--p = (char)('0' + rest % 10);
	while (rest /= 10);
	if (value < 0)
		*--p = '-';
	put_bytes(out, p, (size_t)(digits + sizeof digits - p));
}

static bool closes(char c)
{
	return c == '}' || c == ']';
}

/* Moves *p past an escape.  true: it stands for U+0000, or for half a surrogate pair. */
static bool is_no_text(const char **p)
{
	const char *escape = *p;
	unsigned long code;

	*p += 2;
	if (escape[1] != 'u')
		return false;
	*p = escape;
	code = unescape_unicode(p);
	return code == 0 || (code == 0xfffd && (escape[2] == 'd' || escape[2] == 'D'));
}

/* A string with escapes, its quotes included, whatever out->mend wants. */
static void put_escaped_token(struct json_out *out, const char *from, const char *end, put_function *put)
{
	const char *p = from;

	while (out->mend && (p = memchr(p, '\\', (size_t)(end - p)))) {
		const char *escape = p;

		if (is_no_text(&p)) {
			put(out, from, (size_t)(escape - from));
			put_replacement(out, put);
			from = p;
		}
	}
	put(out, from, (size_t)(end - from));
}

/* Between two tokens of a valid text stand only brackets, commas, colons and white space.  So a value is written in
 * one pass over its nodes, without recursion: each token, then what stands before the next one.  What has no white
 * space to be left out is put in one piece. */
static void put_compact(struct json_out *out, struct json v, put_function *put)
{
	const struct json_node *node = v.node, *end = node_after(v.text, node);
	const char *run = v.text + node->at, *p = run;
	size_t depth = 0;

	for (; node < end; node++) {
		const char *first = v.text + node->at, *next = node + 1 < end ? v.text + node[1].at : NULL;

		p = token_end(v.text, node);
		if (has_escape(v.text, node)) {
			put(out, run, (size_t)(first - run));
			put_escaped_token(out, first, p, put);
			run = p;
		}
		for (depth += opens_container(*first); depth > 0 && p != next; p++) {
			depth -= closes(*p);
			if (is_space(*p)) {
				put(out, run, (size_t)(p - run));
				run = p + 1;
			}
		}
	}
	put(out, run, (size_t)(p - run));
}

static void put_line_break(struct json_out *out, size_t blanks)
{
	if (!out_reserve(out, blanks + 1))
		return;
	out->bytes[out->length] = '\n';
	memset(out->bytes + out->length + 1, ' ', blanks);
	out->length += blanks + 1;
}

/* One byte of structure, and the layout around it.  empty: the container that it closes has nothing inside. */
static void put_structure(struct json_out *out, char c, size_t blanks, bool empty)
{
	if (closes(c) && !empty)
		put_line_break(out, blanks);
	put_char(out, c);
	if (c == ':')
		put_char(out, ' ');
	if (c == ',')
		put_line_break(out, blanks);
}

static void put_indented(struct json_out *out, struct json v, unsigned indent)
{
	const struct json_node *node = v.node, *end = node_after(v.text, node);
	size_t depth = 0;

	for (; node < end; node++) {
		const char *first = v.text + node->at, *p = token_end(v.text, node);
		const char *next = node + 1 < end ? v.text + node[1].at : NULL;
		bool empty = opens_container(*first) && node->size == 1;

		put_escaped_token(out, first, p, put_bytes);
		depth += opens_container(*first);
		if (opens_container(*first) && !empty)
			put_line_break(out, depth * indent);
		for (; depth > 0 && p != next; p++) {
			if (is_space(*p))
				continue;
			depth -= closes(*p);
			put_structure(out, *p, depth * indent, empty);
			empty = false;
		}
	}
}

void json_put_value(struct json_out *out, struct json v, unsigned indent)
{
	if (v.node && indent)
		put_indented(out, v, indent);
	else if (v.node)
		put_compact(out, v, put_bytes);
}

/* Compact JSON text as part of a string: it holds no control character, only quotes and backslashes need an escape.
 * Every byte gets a backslash before it, which the byte itself overwrites where it needs none: in text as full of
 * quotes as this is, no branch could be foreseen. */
static void put_escaped(struct json_out *out, const char *s, size_t n)
{
	char *to;
	size_t i;

	if (!out_reserve(out, n * 2))
		return;
	to = out->bytes + out->length;
	for (i = 0; i < n; i++) {
		*to = '\\';
		to += s[i] == '"' || s[i] == '\\';
		*to++ = s[i];
	}
	out->length = (size_t)(to - out->bytes);
}

void json_put_quoted(struct json_out *out, struct json v)
{
	put_char(out, '"');
	if (v.node)
		put_compact(out, v, put_escaped);
	put_char(out, '"');
}

void json_out_free(struct json_out *out)
{
	static const struct json_out empty;

	free(out->bytes);
	*out = empty;
}
