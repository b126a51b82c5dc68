/* segmentd - a Segment Public API of our own, for tests: real TLS 1.2 on loopback, a made-up workspace behind it.
 *
 *	segmentd --chain FILE --key FILE [OPTION...]
 *
 * "segmentd --help" names every option and every fault; the same texts stand in the two tables of this file.
 *
 * It knows every operation that the tap reads, and is as strict as the API is, or stricter: method, token, media types,
 * required and unknown parameters, page sizes, cursors, the limits of the windows of events and deliveries, and with
 * --minute how many requests of a kind it takes a minute.  A client that is careless anywhere gets an error here before it meets a customer.
 *
 * The workspace is a pure function of --seed, --scale and the time at the start (--now): nothing is stored, each row is
 * made when it is asked for, so ten thousand sources need no more memory than three.  What may differ between two rows
 * of a model does differ: fields are absent or null where the API allows that, come in changing order and beside
 * members that no model names, on pages that are compact, indented or oddly spaced.
 *
 * A new operation needs a name for what it lists (enum thing, and things[]), its model among the models, and a line in the
 * table of operations; if it is no plain list, also two functions: how many rows, and which is the i-th.
 *
 * One thread, one poll() loop.  A request is answered into memory at once; the bytes leave when their time has come
 * (--latency), whole or spoilt (--fault).  Nothing here is meant to be fast, or safe to reach from another machine. */
#include <bearssl.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	CONNECTIONS = 64,      /* open at once; others wait in the listen queue */
	REQUEST_LIMIT = 16384, /* bytes of a request */
	CHAIN_LIMIT = 8,       /* certificates in --chain */
	RULE_LIMIT = 64,       /* --fault options */
	SESSIONS = 256,        /* that can be resumed */
	SESSION_SIZE = 100,    /* bytes of one in BearSSL's cache */
	SCALE_LIMIT = 10000
};

/* What the command line says; the table of options at the end of this file explains each. */
static struct {
	const char *chain, *key, *address, *port_file, *scale, *token, *now, *log, *stats, *tls, *suites;
	int64_t port, seed, page_cap, latency_ms, rate, idle_ms, minute_ms, groups;
	bool plain, twice, inclusive, no_resume, no_gzip, mute, still;
} options = {.address = "127.0.0.1", .scale = "demo", .token = "demo-token", .seed = 1, .page_cap = 1000};

/* ---- Text and dice ---- */

/* Growing bytes.  Starts as {0}. */
struct text {
	char *bytes;
	size_t length, capacity;
};

static void die(const char *what, const char *subject)
{
	fprintf(stderr, "segmentd: %s: %s\n", subject, what);
	exit(1);
}

static void put(struct text *t, const char *bytes, size_t n)
{
	if (n > t->capacity - t->length) {
		size_t capacity = t->capacity * 2 + n + 256;
		char *moved = realloc(t->bytes, capacity);
		if (!moved)
			die("no memory", "answer");
		t->bytes = moved;
		t->capacity = capacity;
	}
	if (n > 0) /* or there may be no bytes to point at */
		memcpy(t->bytes + t->length, bytes, n);
	t->length += n;
}

static void put_text(struct text *t, const char *s)
{
	put(t, s, strlen(s));
}

static void put_byte(struct text *t, char c)
{
	put(t, &c, 1);
}

/* At most a line. */
static void put_format(struct text *t, const char *format, ...)
{
	char line[512];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	put(t, line, n < (int)sizeof line ? (size_t)n : sizeof line - 1);
}

/* The finaliser of SplitMix64: every bit of the result depends on every bit of x. */
static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static uint64_t mix_text(uint64_t x, const char *s)
{
	for (; *s; s++)
		x = mix(x ^ (unsigned char)*s);
	return x;
}

/* The next throw, 0 to sides - 1. */
static size_t dice(uint64_t *state, size_t sides)
{
	*state = mix(*state);
	return (size_t)((*state >> 16) % sides);
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Digits alone, of a number up to most. */
static bool read_number(const char *s, int64_t most, int64_t *n)
{
	size_t digits = strspn(s, "0123456789");

	if (digits == 0 || digits > 18 || s[digits])
		return false;
	*n = strtoll(s, NULL, 10);
	return *n <= most;
}

/* ---- Gzip (RFC 1952): what the client is to decode ---- */

/* Deflate (RFC 1951) in fixed codes: matches are looked for where the same four bytes stood before, a few times back. */
enum { PACK_WINDOW = 32768, PACK_HASHES = 1 << 15, PACK_LOOKS = 8, PACK_LEAST = 4, PACK_MOST = 258 };

struct packer {
	struct text *out;
	uint64_t bits; /* the lowest leave first */
	unsigned count;
};

static void pack_bits(struct packer *p, uint32_t value, unsigned n)
{
	p->bits |= (uint64_t)value << p->count;
	for (p->count += n; p->count >= 8; p->count -= 8, p->bits >>= 8)
		put_byte(p->out, (char)(p->bits & 255));
}

static void pack_align(struct packer *p)
{
	if (p->count > 0)
		pack_bits(p, 0, 8 - p->count);
}

/* A code's highest bit comes first. */
static void pack_code(struct packer *p, uint32_t code, unsigned n)
{
	while (n--)
		pack_bits(p, code >> n & 1, 1);
}

static void pack_symbol(struct packer *p, unsigned symbol)
{
	if (symbol < 144)
		pack_code(p, 0x30 + symbol, 8);
	else if (symbol < 256)
		pack_code(p, 0x190 + symbol - 144, 9);
	else if (symbol < 280)
		pack_code(p, symbol - 256, 7);
	else
		pack_code(p, 0xc0 + symbol - 280, 8);
}

/* RFC 1951 section 3.2.5: the codes come in groups, each group with one extra bit more than the one before. */
static void pack_match(struct packer *p, unsigned length, unsigned distance)
{
	unsigned extra, l = length - 3, d = distance - 1;

	for (extra = 0; l >> extra >= 8; extra++)
		;
	if (length == PACK_MOST) {
		pack_symbol(p, 285);
	} else {
		pack_symbol(p, 257 + 4 * extra + (l >> extra));
		pack_bits(p, l & ((1u << extra) - 1), extra);
	}
	for (extra = 0; d >> extra >= 4; extra++)
		;
	pack_code(p, 2 * extra + (d >> extra), 5);
	pack_bits(p, d & ((1u << extra) - 1), extra);
}

static size_t hash_of(const char *s)
{
	uint32_t four;

	memcpy(&four, s, sizeof four);
	return four * UINT32_C(2654435761) >> 17;
}

/* The longest of a few earlier places that go on as `at` does; 0 if there is none.  Places count from 1. */
static size_t find_match(const char *s, size_t n, size_t at, const uint32_t *head, const uint32_t *before,
			 size_t *distance)
{
	size_t place = head[hash_of(s + at)], best = 0, most = smaller(n - at, PACK_MOST), length;
	int looks;

	for (looks = PACK_LOOKS; place > 0 && at - (place - 1) <= PACK_WINDOW && looks > 0; looks--) {
		for (length = 0; length < most && s[place - 1 + length] == s[at + length]; length++)
			;
		if (length > best) {
			best = length;
			*distance = at - (place - 1);
		}
		place = before[(place - 1) % PACK_WINDOW];
	}
	return best < PACK_LEAST ? 0 : best;
}

static void pack_block(struct packer *p, const char *s, size_t n, bool last)
{
	static uint32_t head[PACK_HASHES], before[PACK_WINDOW];
	size_t at = 0, length, distance = 0, hash;

	memset(head, 0, sizeof head);
	pack_bits(p, last, 1);
	pack_bits(p, 1, 2);
	while (at < n) {
		length = n - at < PACK_LEAST ? 0 : find_match(s, n, at, head, before, &distance);
		if (length > 0)
			pack_match(p, (unsigned)length, (unsigned)distance);
		else
			pack_symbol(p, (unsigned char)s[at]);
		for (length += length == 0; length > 0; length--, at++) {
			if (n - at < PACK_LEAST)
				continue;
			hash = hash_of(s + at);
			before[at % PACK_WINDOW] = head[hash];
			head[hash] = (uint32_t)at + 1;
		}
	}
	pack_symbol(p, 256);
}

static void pack_stored(struct packer *p, const char *s, size_t n)
{
	pack_bits(p, 0, 3);
	pack_align(p);
	pack_bits(p, (uint32_t)n, 16);
	pack_bits(p, (uint32_t)n ^ 0xffff, 16);
	put(p->out, s, n);
}

static uint32_t crc_of(const char *s, size_t n)
{
	static uint32_t table[256];
	uint32_t crc, i, k;

	for (i = 0; i < 256 && table[255] == 0; i++)
		for (table[i] = i, k = 0; k < 8; k++)
			table[i] = table[i] & 1 ? UINT32_C(0xedb88320) ^ table[i] >> 1 : table[i] >> 1;
	for (crc = UINT32_MAX; n > 0; s++, n--)
		crc = crc >> 8 ^ table[(crc ^ (unsigned char)*s) & 255];
	return ~crc;
}

/* One member; its first `stored` bytes are not compressed; at most 65535. */
static void put_gzip_member(struct text *out, const char *s, size_t n, size_t stored)
{
	static const char head[] = "\x1f\x8b\b\0\0\0\0\0\0\3";
	struct packer p = {.out = out};

	put(out, head, sizeof head - 1);
	if (stored > 0)
		pack_stored(&p, s, stored);
	pack_block(&p, s + stored, n - stored, true);
	pack_align(&p);
	pack_bits(&p, crc_of(s, n), 32);
	pack_bits(&p, (uint32_t)n, 32);
}

/* ---- Time ---- */

/* Instants are microseconds since 1970, UTC; days are numbered from 1970-01-01. */
#define SECOND INT64_C(1000000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)

enum { TIME_SIZE = 48, AGE_OF_WORKSPACE = 400 /* days; there is no usage from before */ };

struct date {
	int64_t year;
	int month, day;
};

/* Civil calendar, after Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms": years that begin in March, in
 * eras of 400 years. */
static int64_t day_number(struct date d)
{
	int64_t year = d.year - (d.month <= 2), era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
	int64_t of_year = (153 * (d.month + (d.month > 2 ? -3 : 9)) + 2) / 5 + d.day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static struct date date_of(int64_t day)
{
	int64_t shifted = day + 719468, era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
	int64_t of_era = shifted - era * 146097;
	int64_t years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * years + years / 4 - years / 100), m = (5 * of_year + 2) / 153;

	return (struct date){.year = years + era * 400 + (m >= 10),
			     .month = (int)(m < 10 ? m + 3 : m - 9),
			     .day = (int)(of_year - (153 * m + 2) / 5 + 1)};
}

static int64_t next_month(int64_t first)
{
	struct date d = date_of(first + 31);

	d.day = 1;
	return day_number(d);
}

static bool read_digits(const char **s, int count, int64_t least, int64_t most, int64_t *n)
{
	for (*n = 0; count > 0; count--, (*s)++) {
		if (**s < '0' || **s > '9')
			return false;
		*n = *n * 10 + (**s - '0');
	}
	return *n >= least && *n <= most;
}

static bool skip(const char **s, char c)
{
	return **s == c && *(*s)++;
}

/* YYYY-MM-DD at the start of *s. */
static bool read_date(const char **s, int64_t *day)
{
	int64_t year, month, of_month;

	if (!read_digits(s, 4, 1, 9999, &year) || !skip(s, '-') || !read_digits(s, 2, 1, 12, &month) || !skip(s, '-') ||
	    !read_digits(s, 2, 1, 31, &of_month))
		return false;
	*day = day_number((struct date){.year = year, .month = (int)month, .day = (int)of_month});
	return date_of(*day).day == of_month; /* no 31 April */
}

/* "Z" or an offset as +02:00, in microseconds. */
static bool read_offset(const char **s, int64_t *us)
{
	int64_t sign = **s == '-' ? -1 : 1, hours = 0, minutes = 0;

	*us = 0;
	if (skip(s, 'Z'))
		return true;
	if ((!skip(s, '+') && !skip(s, '-')) || !read_digits(s, 2, 0, 23, &hours) || !skip(s, ':') ||
	    !read_digits(s, 2, 0, 59, &minutes))
		return false;
	*us = sign * (hours * 60 + minutes) * 60 * SECOND;
	return true;
}

/* A date-time of RFC 3339, and nothing after it. */
static bool read_time(const char *s, int64_t *us)
{
	int64_t day, hours, minutes, seconds, offset, unit = SECOND;

	if (!read_date(&s, &day) || !skip(&s, 'T') || !read_digits(&s, 2, 0, 23, &hours) || !skip(&s, ':') ||
	    !read_digits(&s, 2, 0, 59, &minutes) || !skip(&s, ':') || !read_digits(&s, 2, 0, 59, &seconds))
		return false;
	*us = day * DAY + hours * HOUR + (minutes * 60 + seconds) * SECOND;
	if (skip(&s, '.')) {
		if (*s < '0' || *s > '9')
			return false;
		for (; *s >= '0' && *s <= '9'; s++)
			*us += (*s - '0') * (unit /= 10);
	}
	if (!read_offset(&s, &offset))
		return false;
	*us -= offset;
	return !*s;
}

static int64_t clock_us(clockid_t id)
{
	struct timespec t;

	if (clock_gettime(id, &t))
		die(strerror(errno), "clock");
	return (int64_t)t.tv_sec * SECOND + t.tv_nsec / 1000;
}

static int64_t clock_offset; /* --now against the machine's clock */
static int64_t start_day, start_us;

static int64_t now_us(void)
{
	return (options.still ? 0 : clock_us(CLOCK_REALTIME)) + clock_offset;
}

static int64_t now_ms(void)
{
	return clock_us(CLOCK_MONOTONIC) / 1000;
}

/* The ways in which a timestamp is written: digits of its fraction, minutes from UTC. */
static const struct {
	int digits, offset;
} time_styles[] = {{3, 0}, {0, 0}, {6, 0}, {9, 0}, {3, 120}, {0, -270}};

enum { TIME_STYLES = sizeof time_styles / sizeof *time_styles };

/* An instant in one of the styles; its fraction has more digits than a microsecond where there is room for them. */
static void write_time(char out[TIME_SIZE], int64_t us, size_t style)
{
	int digits = time_styles[style].digits, offset = time_styles[style].offset, length, minutes = abs(offset);
	int64_t local = us + offset * 60 * SECOND, day = local / DAY, second = local % DAY / SECOND;
	struct date d = date_of(day);
	char fraction[16];

	length = snprintf(out, TIME_SIZE, "%04" PRId64 "-%02d-%02dT%02d:%02d:%02d", d.year, d.month, d.day,
			  (int)(second / 3600), (int)(second / 60 % 60), (int)(second % 60));
	snprintf(fraction, sizeof fraction, ".%06d%s", (int)(us % SECOND), us % SECOND ? "789" : "000");
	if (digits > 0)
		length += snprintf(out + length, TIME_SIZE - (size_t)length, "%.*s", digits + 1, fraction);
	if (offset)
		snprintf(out + length, TIME_SIZE - (size_t)length, "%c%02d:%02d", offset < 0 ? '-' : '+', minutes / 60,
			 minutes % 60);
	else
		snprintf(out + length, TIME_SIZE - (size_t)length, "Z");
}

/* A date in one of RFC 9110's three forms (section 5.6.7): d, the usual one; r, RFC 850's; a, asctime's.  j is what
 * JavaScript's Date makes of one. */
static void put_date(struct text *t, int64_t us, char form)
{
	static const char *const days[] = {"Thursday", "Friday",  "Saturday", "Sunday",
					   "Monday",   "Tuesday", "Wednesday"};
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct date d = date_of(us / DAY);
	const char *day = days[us / DAY % 7], *month = months + 3 * (d.month - 1);
	int second = (int)(us % DAY / SECOND), year = (int)d.year;
	char clock[16];

	snprintf(clock, sizeof clock, "%02d:%02d:%02d", second / 3600, second / 60 % 60, second % 60);
	switch (form) {
	case 'r': put_format(t, "%s, %02d-%.3s-%02d %s GMT", day, d.day, month, year % 100, clock); break;
	case 'a': put_format(t, "%.3s %.3s %2d %s %d", day, month, d.day, clock, year); break;
	case 'j': put_format(t, "%.3s %.3s %02d %d %s GMT+0000 (UTC)", day, month, d.day, year, clock); break;
	default: put_format(t, "%.3s, %02d %.3s %d %s GMT", day, d.day, month, year, clock); break;
	}
}

/* ---- Models ---- */

/* How a value comes about.  The last three columns of a field: kind, flags, and what the kind needs to know. */
enum kind {
	OWN_ID,         /* of the row */
	SOURCE_ID,      /* of the source that the row belongs to */
	DESTINATION_ID, /* of its destination */
	CATALOG_ID,     /* of its entry in the catalog */
	CATALOG_ENTRY,  /* that entry, whole; of: its model */
	WORKSPACE_ID,
	SOME_ID,
	ACTOR,     /* of an audit event: an id with a slash */
	TIMESTAMP, /* of the row */
	COUNTER,   /* digits in a string, growing from day to day of a period, beyond 2^64 for some sources */
	PERIOD_START,
	PERIOD_END, /* both Unix seconds */
	BOOLEAN,
	WORD, /* of: the words, "|" between them, taken in turn */
	PICK, /* of: JSON texts, one by chance */
	MAP,  /* an object with keys of the customer's choice, and any depth */
	NOTHING,
	PARENT_ID, /* of the {} in the path */
	SECOND_ID, /* of the second {} */
	MODEL_ID,  /* of the Reverse ETL model of a subscription; "" for some */
	ORDINAL,   /* the row's place in its list, from 1 */
	OWN_TEXT,  /* a text that no other row of the list has */
	OWN_EMAIL,
	SUBJECT,    /* somebody's id, another in each element */
	EVENT_NAME, /* of a group of events; absent in the first ones */
	EVENT_TYPE,
	DISCARD_REASON,
	TOTAL,  /* of the group's series */
	SERIES, /* its days: an array of points */
	OBJECT, /* of: its model */
	ONE_OF  /* of: models, taken in turn */
};

enum {
	MAYBE = 1,    /* may be absent */
	NULLABLE = 2, /* may be null */
	LIST = 4,     /* an array of 0 to 3 such values */
	ALL = 8,      /* an array of as many as there are words in its model's first field */
	HEAVY = 16,   /* an array of HEAVY_LENGTH such values in a large workspace: 20 KB a destination */
	HEAVY_LENGTH = 8,
	FIELDS = 24 /* at most in a model */
};

struct field {
	const char *name;
	enum kind kind;
	unsigned flags;
	const void *of;
};

/* Tables, with as much in a line as fits. */
/* clang-format off */

/* Strings as people write them: raw UTF-8, escapes, surrogate pairs, what JSON must escape and what it may. */
static const char *const texts[] = {
	"\"Web\"", "\"\"", "\"Checkout (prod)\"", "\"Zażółć gęślą jaźń\"", "\"\\u00e9t\\u00e9 \\ud83e\\udda5\"",
	"\"数据仓库 🦥\"", "\"say \\\"hi\\\" to C:\\\\temp \\/ back\"", "\"two\\nlines\\tand a tab\\u0001\"", "\"null\"",
	"\"0\"", "\"a 'quoted' name, with: {json} [in] it\"", "\"\\u2028 \\u0041\\u0000 \x7f\"", NULL};
static const char *const urls[] = {
	"\"https://cdn.example.com/logos/javascript-default.png\"",
	"\"https:\\/\\/cdn.example.com\\/logos\\/kinesis.svg\"", "\"\"",
	"\"https://cdn.example.com/%7Ea/b?c=d&e=%C3%A9#f\"", NULL};
static const char *const emails[] = {
	"\"sloth@segment.com\"", "\"zo\\u00eb+tag@example.com\"", "\"ünal@example.org\"", NULL};
static const char *const slugs[] = {
	"\"javascript\"", "\"amazon-kinesis\"", "\"actions-example\"", "\"ios\"", NULL};
static const char *const numbers[] = {
	"0", "1.50", "1E5", "-0", "153.25", "1500", "12345678901234567890", "0.1e-7",
	"123456789012345678901234567890.5", "9007199254740993", NULL};
static const char *const small_numbers[] = {
	"0", "6", "12", "18", "2.0", NULL};
/* Any JSON at all: every type, numbers that no double holds, spaces inside. */
static const char *const anything[] = {
	"\"\"", "\"us-west-2\"", "true", "false", "null", "30", "-0.0", "1.50", "1E400",
	"12345678901234567890.123456789012345678901234567890", "[]", "[\"calls\",[1,{\"a\":null}],false]", "{}",
	"{\"@path\":\"$.properties.id\"}",
	"{ \"@if\" : {\"exists\": {\"@path\": \"$.a\"},\n\"then\": 1.0, \"else\": null} }",
	"{\"@arrayPath\":[\"$.products\",{\"na\\u006de\":{\"@path\":\"$.name\"}}]}",
	"\"{\\\"json\\\": \\\"in a string\\\"}\"", "\"••••••••••dada\"", NULL};

/* In the order of the API's own model documents; names as there.  Null only where those say so. */
static const struct field logos[] = {
	{"default", PICK, 0, urls}, {"mark", PICK, MAYBE | NULLABLE, urls}, {"alt", PICK, MAYBE | NULLABLE, urls},
	{0}};
static const struct field option[] = {
	{"name", PICK, 0, slugs}, {"type", WORD, 0, "string|boolean|number|text-map|array|select"},
	{"required", BOOLEAN, 0, NULL}, {"description", PICK, MAYBE, texts}, {"defaultValue", PICK, MAYBE, anything},
	{"label", PICK, MAYBE, texts}, {0}};
static const struct field label[] = {
	{"key", WORD, 0, "environment|type"}, {"value", PICK, 0, texts}, {"description", PICK, MAYBE, texts}, {0}};

static const struct field source_entry[] = {
	{"id", OWN_ID, 0, NULL}, {"name", PICK, 0, texts}, {"slug", PICK, 0, slugs}, {"description", PICK, 0, texts},
	{"logos", OBJECT, 0, logos}, {"options", OBJECT, LIST, option}, {"categories", PICK, LIST, texts},
	{"isCloudEventSource", BOOLEAN, 0, NULL},
	{"status", WORD, 0, "PUBLIC|PUBLIC_BETA|PRIVATE_BETA|DEPRECATED|A_STATUS_OF_TOMORROW|UNAVAILABLE"},
	{"partnerOwned", BOOLEAN, MAYBE, NULL}, {0}};
static const struct field warehouse_entry[] = {
	{"id", OWN_ID, 0, NULL}, {"name", PICK, 0, texts}, {"slug", PICK, 0, slugs}, {"description", PICK, 0, texts},
	{"logos", OBJECT, 0, logos}, {"options", OBJECT, LIST, option}, {0}};
static const struct field component[] = {
	{"type", WORD, 0, "BROWSER|SERVER|IOS|ANDROID"}, {"code", PICK, 0, urls},
	{"owner", WORD, MAYBE, "SEGMENT|PARTNER"}, {0}};
static const struct field features[] = {
	{"cloudModeInstances", WORD, MAYBE, "0|1|MULTIPLE|NONE|SINGLE"},
	{"deviceModeInstances", WORD, MAYBE, "NONE|0|SINGLE|1"}, {"replay", BOOLEAN, MAYBE, NULL},
	{"browserUnbundling", BOOLEAN, MAYBE, NULL}, {"browserUnbundlingPublic", BOOLEAN, MAYBE, NULL}, {0}};
static const struct field methods[] = {
	{"pageview", BOOLEAN, MAYBE, NULL}, {"identify", BOOLEAN, MAYBE, NULL}, {"alias", BOOLEAN, MAYBE, NULL},
	{"track", BOOLEAN, MAYBE, NULL}, {"group", BOOLEAN, MAYBE, NULL}, {0}};
static const struct field platforms[] = {
	{"browser", BOOLEAN, MAYBE, NULL}, {"server", BOOLEAN, MAYBE, NULL}, {"mobile", BOOLEAN, MAYBE, NULL},
	{"warehouse", BOOLEAN, MAYBE, NULL}, {"cloudAppObject", BOOLEAN, MAYBE, NULL},
	{"linkedAudiences", BOOLEAN, MAYBE, NULL}, {0}};
static const struct field action_field[] = {
	{"id", SOME_ID, 0, NULL}, {"sortOrder", PICK, 0, numbers}, {"fieldKey", PICK, 0, slugs},
	{"label", PICK, 0, texts},
	{"type", WORD, 0, "STRING|BOOLEAN|INTEGER|NUMBER|OBJECT|DATETIME|TEXT|PASSWORD|HIDDEN"},
	{"description", PICK, 0, texts}, {"placeholder", PICK, MAYBE, texts}, {"defaultValue", PICK, MAYBE, anything},
	{"required", BOOLEAN, 0, NULL}, {"multiple", BOOLEAN, 0, NULL}, {"choices", PICK, MAYBE, anything},
	{"dynamic", BOOLEAN, 0, NULL}, {"allowNull", BOOLEAN, 0, NULL}, {"hidden", BOOLEAN, MAYBE, NULL}, {0}};
static const struct field action[] = {
	{"id", SOME_ID, 0, NULL}, {"slug", PICK, 0, slugs}, {"name", PICK, 0, texts}, {"description", PICK, 0, texts},
	{"platform", WORD, 0, "CLOUD|WEB|MOBILE"}, {"hidden", BOOLEAN, 0, NULL},
	{"defaultTrigger", PICK, NULLABLE, texts}, {"fields", OBJECT, LIST | HEAVY, action_field}, {0}};
static const struct field preset[] = {
	{"actionId", SOME_ID, 0, NULL}, {"name", PICK, 0, texts}, {"fields", MAP, 0, NULL},
	{"trigger", PICK, 0, texts}, {0}};
static const struct field contact[] = {
	{"name", PICK, MAYBE, texts}, {"email", PICK, 0, emails}, {"role", WORD, MAYBE, "engineering|support"},
	{"isPrimary", BOOLEAN, MAYBE, NULL}, {0}};
static const struct field destination_entry[] = {
	{"id", OWN_ID, 0, NULL}, {"name", PICK, 0, texts}, {"slug", PICK, 0, slugs}, {"description", PICK, 0, texts},
	{"logos", OBJECT, 0, logos}, {"options", OBJECT, LIST, option},
	{"status", WORD, 0, "PUBLIC|PRIVATE_BUILDING|PRIVATE_SUBMITTED|PUBLIC_BETA"},
	{"previousNames", PICK, LIST, texts}, {"categories", PICK, LIST, texts}, {"website", PICK, 0, urls},
	{"components", OBJECT, LIST, component}, {"supportedFeatures", OBJECT, 0, features},
	{"supportedMethods", OBJECT, 0, methods}, {"supportedPlatforms", OBJECT, 0, platforms},
	{"actions", OBJECT, LIST | HEAVY, action}, {"presets", OBJECT, LIST, preset},
	{"contacts", OBJECT, MAYBE | LIST, contact}, {"partnerOwned", BOOLEAN, MAYBE, NULL},
	{"supportedRegions", WORD, MAYBE | LIST, "us-west-2|eu-west-1"},
	{"regionEndpoints", WORD, MAYBE | LIST, "US|EU"}, {"multiInstanceSupportedVersion", PICK, MAYBE, texts}, {0}};

static const struct field source[] = {
	{"id", OWN_ID, 0, NULL}, {"slug", PICK, 0, slugs}, {"name", PICK, MAYBE, texts},
	{"metadata", CATALOG_ENTRY, 0, source_entry}, {"workspaceId", WORKSPACE_ID, 0, NULL},
	{"enabled", BOOLEAN, 0, NULL}, {"writeKeys", SOME_ID, LIST, NULL}, {"settings", MAP, MAYBE, NULL},
	{"labels", OBJECT, LIST, label}, {0}};
static const struct field destination[] = {
	{"id", OWN_ID, 0, NULL}, {"name", PICK, MAYBE, texts}, {"enabled", BOOLEAN, 0, NULL},
	{"metadata", CATALOG_ENTRY, 0, destination_entry}, {"sourceId", SOURCE_ID, 0, NULL},
	{"settings", MAP, 0, NULL}, {0}};
static const struct field warehouse[] = {
	{"id", OWN_ID, 0, NULL}, {"metadata", CATALOG_ENTRY, 0, warehouse_entry},
	{"workspaceId", WORKSPACE_ID, 0, NULL}, {"enabled", BOOLEAN, 0, NULL}, {"settings", MAP, 0, NULL}, {0}};

static const struct field interval[] = {{"interval", WORD, 0, "15m|3h25m30s"}, {0}};
static const struct field weekdays[] = {
	{"days", PICK, LIST, small_numbers}, {"hours", PICK, LIST, small_numbers},
	{"timezone", WORD, 0, "America/Los_Angeles|Europe/Berlin"}, {0}};
static const struct field cron[] = {{"spec", WORD, 0, "0 */4 * * 1-5"}, {"timezone", WORD, 0, "UTC"}, {0}};
static const struct field dbt[] = {{"jobId", WORD, 0, "70403103916"}, {"accountId", WORD, 0, "7040"}, {0}};
static const struct field *const schedules[] = {
	(const struct field[]){{"strategy", WORD, 0, "PERIODIC"}, {"config", OBJECT, 0, interval}, {0}},
	(const struct field[]){{"strategy", WORD, 0, "SPECIFIC_DAYS"}, {"config", OBJECT, 0, weekdays}, {0}},
	(const struct field[]){{"strategy", WORD, 0, "CRON"}, {"config", OBJECT, 0, cron}, {0}},
	(const struct field[]){{"strategy", WORD, 0, "DBT_CLOUD"}, {"config", OBJECT, 0, dbt}, {0}},
	(const struct field[]){{"strategy", WORD, 0, "MANUAL"}, {"config", NOTHING, 0, NULL}, {0}},
	(const struct field[]){{"strategy", WORD, 0, "MANUAL"}, {0}},
	NULL};
static const struct field subscription[] = {
	{"id", OWN_ID, 0, NULL}, {"name", PICK, 0, texts}, {"actionId", SOME_ID, 0, NULL},
	{"actionSlug", PICK, 0, slugs}, {"destinationId", DESTINATION_ID, 0, NULL}, {"enabled", BOOLEAN, 0, NULL},
	{"settings", MAP, 0, NULL}, {"trigger", PICK, 0, texts}, {"modelId", MODEL_ID, MAYBE, NULL},
	{"reverseETLSchedule", ONE_OF, MAYBE, schedules}, {0}};

/* The usage of the whole workspace has no sourceId: its models begin at the second field. */
static const struct field api_calls[] = {
	{"sourceId", SOURCE_ID, 0, NULL}, {"apiCalls", COUNTER, 0, NULL}, {"timestamp", TIMESTAMP, 0, NULL}, {0}};
static const struct field users_seen[] = {
	{"sourceId", SOURCE_ID, 0, NULL}, {"periodStart", PERIOD_START, 0, NULL}, {"periodEnd", PERIOD_END, 0, NULL},
	{"anonymous", COUNTER, 0, NULL}, {"anonymousIdentified", COUNTER, 0, NULL}, {"identified", COUNTER, 0, NULL},
	{"neverIdentified", COUNTER, 0, NULL}, {"timestamp", TIMESTAMP, 0, NULL}, {0}};

static const struct field breakdown[] = {
	{"metricName", WORD, 0, "successes_on_first_attempt|time_to_success_p95|a_new_one"},
	{"value", PICK, 0, numbers}, {0}};
static const struct field metric[] = {
	{"metricName", WORD, 0, "successes|expired|discarded|retried|time_to_success|time_to_first_attempt"},
	{"total", PICK, 0, numbers}, {"breakdown", OBJECT, MAYBE | LIST, breakdown}, {0}};
static const struct field delivery[] = {
	{"sourceId", SOURCE_ID, 0, NULL}, {"destinationMetadataId", CATALOG_ID, 0, NULL},
	{"metrics", OBJECT, LIST | ALL, metric}, {0}};

static const struct field event[] = {
	{"id", OWN_ID, 0, NULL}, {"timestamp", TIMESTAMP, 0, NULL},
	{"type", WORD, 0, "Source Modified|Source Function Deleted|User Invited|Warehouse Sync Édited"},
	{"actor", ACTOR, 0, NULL}, {"actorEmail", PICK, MAYBE, emails}, {"resourceId", SOME_ID, 0, NULL},
	{"resourceType", WORD, 0, "source|function|user"}, {"resourceName", PICK, 0, texts}, {0}};

static const struct field resource[] = {
	{"id", SOME_ID, 0, NULL}, {"type", WORD, 0, "WORKSPACE|SOURCE|FUNCTION|SPACE|WAREHOUSE"},
	{"labels", OBJECT, MAYBE | LIST, label}, {0}};
static const struct field permission[] = {
	{"roleName", WORD, 0, "Workspace Owner|Source Read-only"}, {"roleId", SOME_ID, 0, NULL},
	{"resources", OBJECT, LIST, resource}, {"labels", OBJECT, MAYBE | LIST, label}, {0}};
static const struct field user[] = {
	{"id", OWN_ID, 0, NULL}, {"name", PICK, 0, texts}, {"email", PICK, 0, emails},
	{"permissions", OBJECT, MAYBE | LIST, permission}, {0}};
static const struct field group[] = {
	{"id", OWN_ID, 0, NULL}, {"name", PICK, 0, texts}, {"memberCount", PICK, 0, numbers},
	{"permissions", OBJECT, MAYBE | LIST, permission}, {0}};

static const struct field workspace[] = {
	{"id", OWN_ID, 0, NULL}, {"slug", PICK, 0, slugs}, {"name", PICK, 0, texts}, {0}};

static const struct field renaming[] = {{"oldName", PICK, 0, slugs}, {"newName", PICK, 0, texts}, {0}};
static const struct field new_value[] = {
	{"propertyPaths", PICK, LIST, slugs}, {"propertyValue", PICK, 0, texts}, {0}};
static const struct field fql[] = {
	{"fql", WORD, 0, "lowercase(traits.email)"}, {"propertyName", PICK, 0, slugs}, {0}};
static const struct field hashing[] = {
	{"algorithm", WORD, 0, "SHA256|MD5"}, {"key", PICK, MAYBE, texts},
	{"encoding", WORD, MAYBE, "HEX|BASE64|BASE64URL|BASE16"}, {"paths", PICK, LIST, slugs}, {0}};
/* Its last three were seen in answers, but are in no model. */
static const struct field transformation[] = {
	{"id", OWN_ID, 0, NULL}, {"name", PICK, 0, texts}, {"sourceId", SOURCE_ID, 0, NULL},
	{"destinationMetadataId", CATALOG_ID, MAYBE, NULL}, {"enabled", BOOLEAN, 0, NULL},
	{"if", WORD, 0, "event = 'Order Cancelled'|type = 'identify'"}, {"drop", BOOLEAN, MAYBE, NULL},
	{"newEventName", PICK, MAYBE, texts}, {"propertyRenames", OBJECT, MAYBE | LIST, renaming},
	{"propertyValueTransformations", OBJECT, MAYBE | LIST, new_value},
	{"fqlDefinedProperties", OBJECT, MAYBE | LIST, fql}, {"allowProperties", PICK, MAYBE | LIST, slugs},
	{"hashPropertiesConfiguration", OBJECT, MAYBE, hashing}, {"workspaceId", WORKSPACE_ID, MAYBE, NULL},
	{"propertyDrops", PICK, MAYBE | LIST, slugs}, {"destinationId", SOME_ID, MAYBE, NULL}, {0}};

static const char *const moments[] = {
	"\"2023-10-10T16:34:53.000Z\"", "\"2024-02-29T23:59:59Z\"", "\"2025-06-01T09:00:00.123456789+02:00\"",
	"\"2022-01-01T00:00:00-04:30\"", "\"2026-07-01T00:00:00.5Z\"", NULL};
/* "Never" as Go writes it, and as others do. */
static const char *const late_moments[] = {
	"\"0001-01-01T00:00:00.000Z\"", "\"2026-03-01T10:00:00.000Z\"", "\"\"", NULL};
static const char *const nested_moments[] = {"\"2024-03-01T11:00:05.000Z\"", "\"soon\"", "\"\"", NULL};
static const char *const counters[] = {"\"0\"", "\"12\"", "\"\"", "\"18446744073709551616\"", NULL};
static const char *const code[] = {
	"\"async function onRequest(request) {\\n\\treturn \\\"\\u003c/script>\\\";\\n}\\n\"", "\"// draft\"", "\"\"",
	NULL};
static const char *const queries[] = {
	"\"event('Order Completed').count() >= 3\"", "\"SELECT user_id, \\\"plan\\\" FROM users -- \\u00e9\"", NULL};

static const struct field own_label[] = {
	{"key", WORD, 0, "environment|type"}, {"value", OWN_TEXT, 0, NULL}, {"description", PICK, MAYBE, texts}, {0}};
static const struct field role[] = {
	{"id", OWN_ID, 0, NULL}, {"name", PICK, 0, texts}, {"description", PICK, 0, texts}, {0}};
static const struct field member[] = {
	{"id", OWN_ID, 0, NULL}, {"name", PICK, 0, texts}, {"email", PICK, 0, emails}, {0}};
static const struct field invite[] = {{"", OWN_EMAIL, 0, NULL}, {0}};

static const struct field filter_action[] = {
	{"type", WORD, 0, "SAMPLE|DROP_PROPERTIES|DROP|ALLOW_PROPERTIES"}, {"percent", PICK, MAYBE, numbers},
	{"path", PICK, MAYBE, slugs}, {"fields", MAP, MAYBE, NULL}, {0}};
static const struct field filter[] = {
	{"id", OWN_ID, 0, NULL}, {"sourceId", SOURCE_ID, 0, NULL}, {"destinationId", DESTINATION_ID, 0, NULL},
	{"if", WORD, 0, "type = 'identify'|event != 'Order Completed'"}, {"actions", OBJECT, LIST, filter_action},
	{"title", PICK, 0, texts}, {"description", PICK, MAYBE, texts}, {"enabled", BOOLEAN, 0, NULL},
	{"createdAt", PICK, 0, moments}, {"updatedAt", PICK, 0, moments}, {0}};

static const struct field track_rules[] = {
	{"allowUnplannedEvents", BOOLEAN, MAYBE, NULL}, {"allowUnplannedEventProperties", BOOLEAN, MAYBE, NULL},
	{"allowEventOnViolations", BOOLEAN, MAYBE, NULL}, {"allowPropertiesOnViolations", BOOLEAN, MAYBE, NULL},
	{"commonEventOnViolations", WORD, MAYBE, "ALLOW|BLOCK|OMIT_PROPERTIES"}, {0}};
static const struct field trait_rules[] = {
	{"allowUnplannedTraits", BOOLEAN, MAYBE, NULL}, {"allowTraitsOnViolations", BOOLEAN, MAYBE, NULL},
	{"commonEventOnViolations", WORD, MAYBE, "ALLOW|BLOCK|OMIT_TRAITS"}, {0}};
static const struct field schema_settings[] = {
	{"track", OBJECT, MAYBE, track_rules}, {"identify", OBJECT, MAYBE, trait_rules},
	{"group", OBJECT, MAYBE, trait_rules}, {"forwardingViolationsTo", SOME_ID, MAYBE, NULL},
	{"forwardingBlockedEventsTo", SOME_ID, MAYBE, NULL}, {0}};

/* The number of a function says of which type it is. */
#define FUNCTION_TYPES "DESTINATION|INSERT_DESTINATION|INSERT_SOURCE|INSERT_TRANSFORMATION|SOURCE"
static const struct field function[] = {
	{"id", OWN_ID, 0, NULL}, {"resourceType", WORD, 0, FUNCTION_TYPES}, {"createdAt", PICK, MAYBE, moments},
	{"createdBy", SOME_ID, MAYBE, NULL}, {"displayName", PICK, MAYBE, texts}, {"description", PICK, MAYBE, texts},
	{"logoUrl", PICK, MAYBE, urls}, {"catalogId", SOME_ID, MAYBE, NULL}, {0}};
static const struct field function_version[] = {
	{"id", OWN_ID, 0, NULL}, {"author", PICK, MAYBE, emails}, {"code", PICK, 0, code},
	{"isDeployed", BOOLEAN, MAYBE, NULL}, {"createdAt", PICK, MAYBE, moments}, {"updatedAt", PICK, MAYBE, moments},
	{"deployedAt", PICK, MAYBE, late_moments}, {0}};
static const struct field function_instance[] = {
	{"id", OWN_ID, 0, NULL}, {"name", PICK, MAYBE, texts}, {"integrationId", SOME_ID, 0, NULL},
	{"classId", PARENT_ID, 0, NULL}, {"enabled", BOOLEAN, 0, NULL}, {"createdAt", PICK, 0, moments},
	{"updatedAt", PICK, 0, moments}, {"settings", MAP, 0, NULL}, {"encryptedSettings", MAP, 0, NULL}, {0}};

static const struct field tracking_plan[] = {
	{"id", OWN_ID, 0, NULL}, {"name", PICK, MAYBE, texts}, {"slug", PICK, MAYBE, slugs},
	{"description", PICK, MAYBE, texts}, {"type", WORD, 0, "LIVE|RULE_LIBRARY|PROPERTY_LIBRARY|ENGAGE|TEMPLATE"},
	{"updatedAt", PICK, MAYBE, moments}, {"createdAt", PICK, MAYBE, moments}, {0}};
static const struct field rule_model[] = {
	{"type", WORD, 0, "TRACK|COMMON|IDENTIFY|GROUP|PAGE|SCREEN"}, {"key", PICK, MAYBE, texts},
	{"jsonSchema", PICK, 0, anything}, {"version", ORDINAL, 0, NULL}, {"createdAt", PICK, MAYBE, moments},
	{"updatedAt", PICK, MAYBE, moments}, {"deprecatedAt", PICK, MAYBE, late_moments}, {0}};

static const struct field volume_source[] = {
	{"id", SOURCE_ID, 0, NULL}, {"name", PICK, MAYBE, texts}, {"slug", PICK, MAYBE, slugs}, {0}};
static const struct field volume[] = {
	{"source", OBJECT, 0, volume_source}, {"eventName", EVENT_NAME, 0, NULL}, {"eventType", EVENT_TYPE, 0, NULL},
	{"total", TOTAL, 0, NULL}, {"series", SERIES, 0, NULL}, {0}};
/* What is received has no reason to be discarded: its model begins at the second field. */
static const struct field overview[] = {
	{"discardReason", DISCARD_REASON, 0, NULL}, {"eventName", EVENT_NAME, 0, NULL},
	{"eventType", EVENT_TYPE, 0, NULL}, {"total", TOTAL, 0, NULL}, {"series", SERIES, 0, NULL},
	{"totalRetryCount", PICK, MAYBE, numbers}, {0}};

static const struct field notice[] = {
	{"level", WORD, 0, "warning|error|info"}, {"message", PICK, 0, texts}, {"createdAt", PICK, 0, nested_moments},
	{0}};
static const struct field warehouse_sync[] = {
	{"sourceId", SOURCE_ID, 0, NULL}, {"start", TIMESTAMP, 0, NULL}, {"end", PICK, NULLABLE, moments},
	{"status", WORD, 0, "SUCCESS|PARTIAL|FAILURE|RUNNING"}, {"duration", PICK, 0, numbers},
	{"humanDuration", PICK, 0, texts}, {"count", PICK, 0, numbers}, {"notices", OBJECT, LIST, notice}, {0}};
static const struct field selective_sync[] = {
	{"sourceId", SECOND_ID, 0, NULL}, {"collection", OWN_TEXT, 0, NULL}, {"warehouseId", PARENT_ID, 0, NULL},
	{"enabled", BOOLEAN, 0, NULL}, {"properties", MAP, 0, NULL}, {0}};

static const struct field etl_model[] = {
	{"id", OWN_ID, 0, NULL}, {"sourceId", SOURCE_ID, 0, NULL}, {"name", PICK, 0, texts},
	{"description", PICK, 0, texts}, {"enabled", BOOLEAN, 0, NULL}, {"query", PICK, 0, queries},
	{"queryIdentifierColumn", PICK, 0, slugs}, {0}};
static const struct field extract_phase[] = {
	{"addedCount", PICK, 0, counters}, {"updatedCount", PICK, 0, counters}, {"deletedCount", PICK, 0, counters},
	{"extractCount", PICK, 0, counters}, {"errorCode", PICK, 0, slugs}, {"startedAt", PICK, 0, nested_moments},
	{"finishedAt", PICK, 0, nested_moments}, {0}};
static const struct field load_phase[] = {
	{"deliverSuccessCount", PICK, 0, counters}, {"deliverFailureCount", PICK, 0, counters},
	{"errorCode", PICK, 0, slugs}, {"startedAt", PICK, 0, nested_moments},
	{"finishedAt", PICK, 0, nested_moments}, {0}};
static const struct field etl_sync[] = {
	{"syncId", OWN_ID, 0, NULL}, {"modelId", PARENT_ID, 0, NULL}, {"sourceId", SOURCE_ID, 0, NULL},
	{"syncStatus", WORD, 0, "SUCCESS|PARTIAL_SUCCESS|IN_PROGRESS|FAILED"}, {"duration", WORD, 0, "2m3s|1h0m0.5s"},
	{"startedAt", PICK, 0, moments}, {"finishedAt", PICK, MAYBE, moments},
	{"extractPhase", OBJECT, MAYBE, extract_phase}, {"loadPhase", OBJECT, MAYBE, load_phase},
	{"error", PICK, MAYBE, texts}, {"errorCode", PICK, MAYBE, slugs}, {0}};

static const struct field cadence[] = {{"type", WORD, 0, "REALTIME|BATCH"}, {0}};
static const struct field audience_size[] = {
	{"count", PICK, MAYBE, numbers}, {"type", WORD, 0, "USERS|ACCOUNTS|ENTITIES"},
	{"uniqueCount", PICK, MAYBE, numbers}, {0}};
static const struct field audience_options[] = {
	{"filterByExternalIds", PICK, LIST, slugs}, {"includeHistoricalData", BOOLEAN, MAYBE, NULL},
	{"backfillEventDataDays", PICK, MAYBE, small_numbers}, {0}};
static const struct field *const run_configs[] = {interval, weekdays, NULL};
static const struct field run_schedule[] = {
	{"id", SOME_ID, 0, NULL}, {"strategy", WORD, 0, "PERIODIC|SPECIFIC_DAYS"},
	{"config", ONE_OF, MAYBE | NULLABLE, run_configs}, {"nextExecution", PICK, MAYBE, nested_moments}, {0}};
static const struct field definition[] = {
	{"targetEntity", PICK, MAYBE | NULLABLE, slugs}, {"query", PICK, 0, queries}, {0}};
/* Without include=schedules a row has none: the model begins at the second field. */
static const struct field audience[] = {
	{"schedules", OBJECT, MAYBE | LIST, run_schedule}, {"computeCadence", OBJECT, 0, cadence},
	{"size", OBJECT, MAYBE, audience_size}, {"options", OBJECT, MAYBE, audience_options}, {"id", OWN_ID, 0, NULL},
	{"spaceId", PARENT_ID, 0, NULL}, {"name", PICK, 0, texts}, {"description", PICK, MAYBE, texts},
	{"key", PICK, 0, slugs}, {"enabled", BOOLEAN, 0, NULL}, {"definition", OBJECT, NULLABLE, definition},
	{"status", WORD, MAYBE, "Live|Disabled|Computing"}, {"createdBy", SOME_ID, 0, NULL},
	{"updatedBy", SOME_ID, 0, NULL}, {"createdAt", PICK, 0, moments}, {"updatedAt", PICK, 0, moments},
	{"audienceType", WORD, 0, "USERS|ACCOUNTS|LINKED"}, {0}};
static const struct field trait_definition[] = {
	{"query", PICK, 0, queries}, {"type", WORD, 0, "USERS|ACCOUNTS"}, {0}};
static const struct field trait_options[] = {
	{"includeHistoricalData", BOOLEAN, MAYBE, NULL}, {"includeAnonymousUsers", BOOLEAN, MAYBE, NULL},
	{"backfillDurationDays", PICK, MAYBE, small_numbers}, {0}};
static const struct field computed_trait[] = {
	{"id", OWN_ID, 0, NULL}, {"spaceId", PARENT_ID, 0, NULL}, {"name", PICK, 0, texts},
	{"description", PICK, MAYBE, texts}, {"key", PICK, 0, slugs}, {"enabled", BOOLEAN, 0, NULL},
	{"definition", OBJECT, NULLABLE, trait_definition}, {"status", WORD, MAYBE, "Live|Disabled"},
	{"createdBy", SOME_ID, 0, NULL}, {"updatedBy", SOME_ID, 0, NULL}, {"createdAt", PICK, 0, moments},
	{"updatedAt", PICK, 0, moments}, {"options", OBJECT, MAYBE, trait_options}, {0}};
static const struct field id_sync[] = {
	{"externalId", PICK, 0, slugs}, {"strategy", WORD, 0, "last|first|all"}, {"mapTo", PICK, MAYBE, slugs}, {0}};
static const struct field connection_kind[] = {
	{"id", CATALOG_ID, 0, NULL}, {"name", PICK, 0, texts}, {"slug", PICK, 0, slugs}, {0}};
static const struct field connection[] = {
	{"id", OWN_ID, 0, NULL}, {"name", PICK, MAYBE, texts}, {"sourceId", SOURCE_ID, 0, NULL},
	{"enabled", BOOLEAN, 0, NULL}, {"createdAt", PICK, 0, moments}, {"updatedAt", PICK, 0, moments},
	{"settings", MAP, 0, NULL}, {"destinationId", SOME_ID, 0, NULL}, {"metadata", OBJECT, MAYBE, connection_kind},
	{"idSyncConfiguration", OBJECT, MAYBE | LIST, id_sync}, {"connectionSettings", PICK, MAYBE, anything}, {0}};
static const struct field profile[] = {{"properties", PICK, LIST, slugs}, {"mapping", MAP, MAYBE, NULL}, {0}};
static const struct field entity[] = {
	{"properties", PICK, LIST, slugs}, {"relationshipSlug", PICK, 0, slugs}, {0}};
static const struct field personalization[] = {
	{"profile", OBJECT, 0, profile}, {"entities", OBJECT, MAYBE | LIST, entity},
	{"syncEntityPropertyChanges", BOOLEAN, MAYBE, NULL}, {0}};
static const struct field mapping[] = {{"actionId", SOME_ID, 0, NULL}, {"settings", MAP, MAYBE, NULL}, {0}};
static const struct field activation[] = {
	{"id", OWN_ID, 0, NULL}, {"enabled", BOOLEAN, 0, NULL}, {"workspaceId", WORKSPACE_ID, 0, NULL},
	{"spaceId", PARENT_ID, 0, NULL}, {"audienceId", SECOND_ID, 0, NULL}, {"connectionId", SOME_ID, 0, NULL},
	{"activationType", WORD, 0, "Audience Entered|Audience Exited"}, {"activationName", PICK, 0, texts},
	{"displayName", PICK, MAYBE | NULLABLE, texts}, {"personalization", OBJECT, 0, personalization},
	{"destinationMapping", OBJECT, MAYBE, mapping}, {"performResync", BOOLEAN, MAYBE, NULL}, {0}};
static const struct field profiles_warehouse[] = {
	{"id", OWN_ID, 0, NULL}, {"spaceId", PARENT_ID, 0, NULL}, {"metadata", CATALOG_ENTRY, 0, warehouse_entry},
	{"workspaceId", WORKSPACE_ID, 0, NULL}, {"enabled", BOOLEAN, 0, NULL}, {"settings", MAP, 0, NULL},
	{"schemaName", PICK, MAYBE, slugs}, {0}};
static const struct field space_event[] = {
	{"name", OWN_TEXT, 0, NULL}, {"type", WORD, 0, "TRACK|PAGE|SCREEN|IDENTIFY|GROUP|ALIAS"},
	{"lastSeenAt", PICK, 0, moments}, {0}};
static const struct field space_trait[] = {
	{"trait", OWN_TEXT, 0, NULL}, {"type", WORD, 0, "CUSTOM|COMPUTED|AUDIENCE|SQL"},
	{"lastSeenAt", PICK, 0, moments}, {0}};

static const struct field regulation[] = {
	{"id", OWN_ID, 0, NULL}, {"subjectType", WORD, 0, "USER_ID|OBJECT_ID"}, {"subjects", SUBJECT, LIST, NULL},
	{"status", WORD, 0, "FINISHED|RUNNING|FAILED|PARTIAL_SUCCESS|INITIALIZED|NOT_SUPPORTED|INVALID"},
	{"createdAt", PICK, 0, moments},
	{"regulationType", WORD, 0, "SUPPRESS_WITH_DELETE|DELETE_ONLY|UNSUPPRESS|SUPPRESS_ONLY"},
	{"finishedAt", PICK, MAYBE, moments}, {0}};
static const struct field suppression[] = {
	{"subjectType", WORD, 0, "USER_ID|ANONYMOUS_ID"}, {"subjectIds", SUBJECT, LIST, NULL}, {0}};
static const struct field credential_settings[] = {
	{"type", WORD, 0, "Snowflake|BigQuery|Redshift"}, {"account", PICK, MAYBE, slugs},
	{"password", WORD, 0, "••••••••"}, {0}};
static const struct field credential[] = {
	{"id", OWN_ID, 0, NULL}, {"workspaceId", WORKSPACE_ID, 0, NULL}, {"name", PICK, 0, texts},
	{"settings", OBJECT, 0, credential_settings}, {"createdAt", PICK, 0, moments},
	{"updatedAt", PICK, 0, moments}, {0}};
/* clang-format on */

/* ---- Rows ---- */

enum { ID_SIZE = 23, ID_TAIL = 4 /* of the 22 characters: the row's number to base 62 */ };

enum thing {
	SOURCES,
	DESTINATIONS,
	WAREHOUSES,
	SUBSCRIPTIONS,
	SOURCE_CATALOG,
	DESTINATION_CATALOG,
	WAREHOUSE_CATALOG,
	USERS,
	GROUPS,
	TRANSFORMATIONS,
	EVENTS,
	USAGE,
	METRICS,
	WORKSPACE,
	LABELS,
	ROLES,
	INVITES,
	FILTERS,
	FUNCTIONS,
	VERSIONS,
	INSTANCES,
	PLANS,
	RULES,
	VOLUME,
	OVERVIEW,
	WAREHOUSE_SYNCS,
	SELECTIVE_SYNCS,
	MODELS,
	MODEL_SYNCS,
	SPACES,
	AUDIENCES,
	COMPUTED_TRAITS,
	AUDIENCE_CONNECTIONS,
	ACTIVATIONS,
	PROFILES_WAREHOUSES,
	SPACE_EVENTS,
	SPACE_TRAITS,
	REGULATIONS,
	SUPPRESSIONS,
	CREDENTIALS
};

/* How many there are: in the demo workspace, and at scale N, least + N * times / by, rounded up, but not over most. */
static const struct {
	const char *name;
	size_t demo, least, times, by, most;
	enum thing catalog; /* where their kinds are listed */
} things[] = {[SOURCES] = {"source", 3, 0, 1, 1, SCALE_LIMIT, SOURCE_CATALOG},
	      [DESTINATIONS] = {"destination", 4, 0, 1, 1, SCALE_LIMIT, DESTINATION_CATALOG},
	      [WAREHOUSES] = {"warehouse", 3, 0, 1, 10, SCALE_LIMIT, WAREHOUSE_CATALOG},
	      [SUBSCRIPTIONS] = {"subscription", 0, 0, 0, 1, 0, DESTINATION_CATALOG}, /* counted by destination */
	      [SOURCE_CATALOG] = {"source kind", 5, 5, 1, 2, 400, SOURCE_CATALOG},
	      [DESTINATION_CATALOG] = {"destination kind", 5, 5, 1, 2, 400, DESTINATION_CATALOG},
	      [WAREHOUSE_CATALOG] = {"warehouse kind", 5, 5, 1, 20, 20, WAREHOUSE_CATALOG},
	      [USERS] = {"user", 5, 0, 1, 1, SCALE_LIMIT, SOURCE_CATALOG},
	      [GROUPS] = {"group", 2, 0, 1, 5, SCALE_LIMIT, SOURCE_CATALOG},
	      [TRANSFORMATIONS] = {"transformation", 4, 0, 1, 1, SCALE_LIMIT, DESTINATION_CATALOG},
	      [EVENTS] = {"event", 40, 0, 40, 1, 40 * SCALE_LIMIT, SOURCE_CATALOG},
	      [USAGE] = {"usage", 0, 0, 0, 1, 0, SOURCE_CATALOG},
	      [METRICS] = {"metrics", 0, 0, 0, 1, 0, DESTINATION_CATALOG},
	      [WORKSPACE] = {"workspace", 1, 1, 0, 1, 1, SOURCE_CATALOG},
	      [LABELS] = {"label", 4, 0, 1, 5, SCALE_LIMIT, SOURCE_CATALOG},
	      [ROLES] = {"role", 3, 0, 1, 1, 20, SOURCE_CATALOG},
	      [INVITES] = {"invite", 3, 0, 1, 10, SCALE_LIMIT, SOURCE_CATALOG},
	      [FUNCTIONS] = {"function", 8, 0, 1, 5, SCALE_LIMIT, SOURCE_CATALOG},
	      [PLANS] = {"tracking plan", 4, 0, 1, 10, SCALE_LIMIT, SOURCE_CATALOG},
	      [MODELS] = {"model", 6, 0, 1, 10, SCALE_LIMIT, SOURCE_CATALOG},
	      [SPACES] = {"space", 3, 0, 1, 50, SCALE_LIMIT, SOURCE_CATALOG},
	      [AUDIENCES] = {"audience", 12, 0, 1, 10, SCALE_LIMIT, SOURCE_CATALOG},
	      [REGULATIONS] = {"regulation", 5, 0, 1, 1, SCALE_LIMIT, SOURCE_CATALOG},
	      [SUPPRESSIONS] = {"suppression", 5, 0, 1, 1, SCALE_LIMIT, SOURCE_CATALOG},
	      [CREDENTIALS] = {"credential", 3, 0, 1, 20, SCALE_LIMIT, SOURCE_CATALOG},
	      /* Counted by what they belong to. */
	      [FILTERS] = {"filter", 0, 0, 0, 1, 0, DESTINATION_CATALOG},
	      [VERSIONS] = {"version", 0, 0, 0, 1, 0, SOURCE_CATALOG},
	      [INSTANCES] = {"instance", 0, 0, 0, 1, 0, SOURCE_CATALOG},
	      [RULES] = {"rule", 0, 0, 0, 1, 0, SOURCE_CATALOG},
	      [VOLUME] = {"volume", 0, 0, 0, 1, 0, SOURCE_CATALOG},
	      [OVERVIEW] = {"overview", 0, 0, 0, 1, 0, SOURCE_CATALOG},
	      [WAREHOUSE_SYNCS] = {"warehouse sync", 0, 0, 0, 1, 0, SOURCE_CATALOG},
	      [SELECTIVE_SYNCS] = {"selective sync", 0, 0, 0, 1, 0, SOURCE_CATALOG},
	      [MODEL_SYNCS] = {"model sync", 0, 0, 0, 1, 0, SOURCE_CATALOG},
	      [COMPUTED_TRAITS] = {"computed trait", 0, 0, 0, 1, 0, SOURCE_CATALOG},
	      [AUDIENCE_CONNECTIONS] = {"connection", 0, 0, 0, 1, 0, DESTINATION_CATALOG},
	      [ACTIVATIONS] = {"activation", 0, 0, 0, 1, 0, SOURCE_CATALOG},
	      [PROFILES_WAREHOUSES] = {"profiles warehouse", 0, 0, 0, 1, 0, WAREHOUSE_CATALOG},
	      [SPACE_EVENTS] = {"space event", 0, 0, 0, 1, 0, SOURCE_CATALOG},
	      [SPACE_TRAITS] = {"space trait", 0, 0, 0, 1, 0, SOURCE_CATALOG}};

/* A row before it is text: all that the fields of its model may ask for. */
struct row {
	size_t n;      /* which of its kind: decides what is absent, null or unusual */
	uint64_t seed; /* of its dice */
	char id[ID_SIZE], source[ID_SIZE], destination[ID_SIZE], parent[ID_SIZE], second[ID_SIZE];
	enum thing catalog;
	size_t entry;                              /* in the catalog */
	int64_t time_us, period_start, period_end; /* the latter two: day numbers */
	size_t time_style, day_of_period;
	uint64_t counter_seed; /* the same for all days of a counter */
	size_t ordinal;        /* in its list, from 1 */
	size_t groups;         /* a series: of how many groups of events it is one; its days are those of the period */
};

static int64_t scale = -1; /* -1: the demo workspace */

static size_t count_of(enum thing t)
{
	if (scale < 0)
		return things[t].demo;
	return smaller(things[t].least + ((size_t)scale * things[t].times + things[t].by - 1) / things[t].by,
		       things[t].most);
}

static bool is_large(void)
{
	return scale >= 100;
}

static uint64_t seed_of(enum thing t, uint64_t n)
{
	return mix(mix_text((uint64_t)options.seed, things[t].name) ^ n);
}

/* 22 characters, as the API's own.  They end in the row's number, so that find_id needs no list.  Every eighth holds
 * what a path must percent-encode. */
static void make_id(char id[ID_SIZE], enum thing t, size_t n)
{
	static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	uint64_t state = seed_of(t, n);
	size_t i, rest = n;

	for (i = 0; i < ID_SIZE - 1 - ID_TAIL; i++)
		id[i] = base62[dice(&state, 62)];
	for (i = ID_SIZE - 2; i > ID_SIZE - 2 - ID_TAIL; i--, rest /= 62)
		id[i] = base62[rest % 62];
	if (n % 8 == 5 && (t <= DESTINATIONS || t == AUDIENCES || t == MODELS))
		memcpy(id + 3, "/ +%é", sizeof "/ +%é" - 1);
	id[ID_SIZE - 1] = '\0';
}

/* Is there an n-th one?  Every destination but each fourth has four subscriptions. */
static bool exists(enum thing t, size_t n)
{
	if (t == SUBSCRIPTIONS)
		return n / 4 < count_of(DESTINATIONS) && n / 4 % 4 != 0;
	return n < count_of(t);
}

static bool find_id(enum thing t, const char *id, size_t *n)
{
	char right[ID_SIZE];
	size_t i;

	if (strlen(id) != ID_SIZE - 1)
		return false;
	for (*n = 0, i = ID_SIZE - 1 - ID_TAIL; i < ID_SIZE - 1; i++) {
		int c = id[i];
		int digit = c >= 'a' ? c - 'a' + 36 : c >= 'A' ? c - 'A' + 10 : c - '0';
		if (digit < 0 || digit > 61)
			return false;
		*n = *n * 62 + (size_t)digit;
	}
	make_id(right, t, *n);
	return exists(t, *n) && strcmp(id, right) == 0;
}

/* Sources with destinations: the last one has none, where there are more than three. */
static size_t owners(void)
{
	return count_of(SOURCES) > 3 ? count_of(SOURCES) - 1 : count_of(SOURCES);
}

/* The source that a destination belongs to. */
static size_t owner_of(size_t destination_number)
{
	return destination_number % owners();
}

/* The first destination serves three sources at once. */
static bool is_connected(size_t source_number, size_t destination_number)
{
	return owner_of(destination_number) == source_number || (destination_number == 0 && source_number < 3);
}

/* With --twice every fourth destination is listed under its next source, too. */
static bool serves(size_t source_number, size_t destination_number)
{
	size_t next = (owner_of(destination_number) + 1) % count_of(SOURCES);

	return is_connected(source_number, destination_number) ||
	       (options.twice && destination_number % 4 == 3 && source_number == next);
}

static void make_row(struct row *row, enum thing t, size_t n)
{
	*row = (struct row){.n = n, .seed = seed_of(t, n), .catalog = things[t].catalog};
	make_id(row->id, t, n);
	row->entry = n % count_of(row->catalog);
	if (count_of(SOURCES) > 0)
		make_id(row->source, SOURCES, owner_of(n));
}

/* The Reverse ETL model of a subscription; an empty id for every seventh. */
static void model_of(size_t subscription_number, char id[ID_SIZE])
{
	id[0] = '\0';
	if (count_of(MODELS) > 0 && subscription_number % 7 != 3)
		make_id(id, MODELS, subscription_number % count_of(MODELS));
}

enum layout { COMPACT, INDENTED, ODD, LAYOUTS };

/* The writing of a row, and of the page around it. */
struct writer {
	struct text *out;
	enum layout layout;
	unsigned depth;
	bool first;             /* nothing stands in the open array or object yet */
	uint64_t spacing, dice; /* a row's dice are its own: it is the same on every page */
	const struct row *row;
};

static void new_line(struct writer *w)
{
	unsigned i;

	if (w->layout == ODD)
		put_text(w->out, dice(&w->spacing, 4) ? " " : " \r\n\t");
	if (w->layout != INDENTED)
		return;
	put_byte(w->out, '\n');
	for (i = 0; i < w->depth; i++)
		put_text(w->out, "  ");
}

static void open_value(struct writer *w, char bracket)
{
	put_byte(w->out, bracket);
	w->depth++;
	w->first = true;
}

static void close_value(struct writer *w, char bracket)
{
	w->depth--;
	if (!w->first)
		new_line(w);
	put_byte(w->out, bracket);
	w->first = false;
}

static void next_item(struct writer *w)
{
	if (!w->first)
		put_byte(w->out, ',');
	w->first = false;
	new_line(w);
}

/* A member's name may hold escapes that it does not need. */
static void put_member(struct writer *w, const char *name)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char c = (unsigned char)*name;

	next_item(w);
	put_byte(w->out, '"');
	if (w->layout == ODD && c > 0 && c < 0x80 && dice(&w->spacing, 16) == 0) {
		char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15], '\0'};
		put_text(w->out, escape);
		name++;
	}
	put_text(w->out, name);
	put_text(w->out, w->layout == COMPACT ? "\":" : w->layout == INDENTED ? "\": " : "\"\t:  ");
}

static void put_some_id(struct writer *w, const char *prefix)
{
	char id[ID_SIZE];

	make_id(id, USERS, dice(&w->dice, 5));
	put_format(w->out, "\"%s%s\"", prefix, id);
}

static size_t count_words(const char *words)
{
	size_t count = 1;

	for (; *words; words++)
		count += *words == '|';
	return count;
}

/* Words taken in turn. */
static void put_word(struct writer *w, const char *words, size_t n)
{
	for (n %= count_words(words); n > 0; n--)
		words = strchr(words, '|') + 1;
	put_format(w->out, "\"%.*s\"", (int)strcspn(words, "|"), words);
}

static void put_pick(struct writer *w, const char *const *choices)
{
	size_t count = 0;

	while (choices[count])
		count++;
	put_text(w->out, choices[dice(&w->dice, count)]);
}

static void put_counter(struct writer *w, const char *name)
{
	uint64_t rate = mix_text(w->row->counter_seed, name), count = rate % 997 * (w->row->day_of_period - 1);

	if (rate % 5 == 0) /* more than 2^64 */
		put_format(w->out, "\"184467440737095%" PRIu64 "\"", 5169600 + count);
	else
		put_format(w->out, "\"%" PRIu64 "\"", count);
}

/* Names that differ by their number, in strings as people write them. */
static void put_own_text(struct writer *w)
{
	static const char *const forms[] = {"\"Order Completed %zu\"",
					    "\"\\u00e9tape %zu\"",
					    "\"Zażółć/%zu?a=b&c\"",
					    "\"say \\\"%zu\\\"\"",
					    "\"%zu\"",
					    "\" %zu \""};
	size_t n = w->row->ordinal;
	char text[64];

	snprintf(text, sizeof text, forms[n % (sizeof forms / sizeof *forms)], n);
	put_text(w->out, text);
}

enum { EVENT_TYPES = 6 };

/* Groups of events: the largest totals come first, and nothing has happened in the last group. */
static size_t events_on(const struct row *row, int64_t day)
{
	size_t rank = row->groups - 1 - row->n;

	if (rank == 0 || mix(row->counter_seed ^ (uint64_t)day) % 7 == 0)
		return 0;
	return rank * 16 + (size_t)(mix(row->seed ^ (uint64_t)day) % 16);
}

/* Some days have no point, all groups alike. */
static bool has_point(const struct row *row, int64_t day)
{
	return mix(row->counter_seed ^ (uint64_t)day) % 5 != 1;
}

static void put_total(struct writer *w)
{
	const struct row *row = w->row;
	int64_t day;
	size_t total = 0;

	for (day = row->period_start; day < row->period_end; day++)
		total += has_point(row, day) ? events_on(row, day) : 0;
	put_format(w->out, "%zu", total);
}

static void put_point(struct writer *w, int64_t day)
{
	const struct row *row = w->row;
	uint64_t seed = mix(row->seed ^ (uint64_t)day);
	char time[TIME_SIZE];

	next_item(w);
	open_value(w, '{');
	put_member(w, "time");
	write_time(time, day * DAY, (size_t)(seed % TIME_STYLES));
	put_format(w->out, "\"%s\"", time);
	put_member(w, "count");
	put_format(w->out, "%zu", events_on(row, day));
	if (seed % 3 == 0) {
		put_member(w, "retryCount");
		put_format(w->out, "%zu", (size_t)(seed % 17));
	}
	close_value(w, '}');
}

/* A day before and one after the window come along now and then; nothing promises that they don't. */
static void put_series(struct writer *w)
{
	const struct row *row = w->row;
	int64_t first = row->period_start - (row->n % 3 == 1), end = row->period_end + (row->n % 3 == 2), day;

	open_value(w, '[');
	for (day = first; day < end && row->n + 1 < row->groups; day++)
		if (has_point(row, day) || day < row->period_start || day >= row->period_end)
			put_point(w, day);
	close_value(w, ']');
}

/* Keys in a customer's own words, from a random one on; maps inside maps; and lists of them. */
static void put_map(struct writer *w, unsigned levels)
{
	static const char *const keys[] = {"apiKey",     "endpoint", "",           "ключ", "@path",      "a.b",
					   "with space", "$ref",     "quote\\\"d", "type", "caf\\u00e9", "0"};
	enum { KEYS = sizeof keys / sizeof *keys };
	size_t first = dice(&w->dice, KEYS), count = dice(&w->dice, 5), i;

	open_value(w, '{');
	for (i = 0; i < count; i++) {
		put_member(w, keys[(first + i) % KEYS]);
		if (levels > 0 && dice(&w->dice, 3) == 0)
			put_map(w, levels - 1);
		else
			put_pick(w, anything);
	}
	close_value(w, '}');
}

/* Whose turn it is among the rows: fields of one model do not all come and go together. */
static size_t turn_of(const struct field *f, size_t n, size_t turns)
{
	return n + (size_t)(mix_text(0, f->name) % turns);
}

/* Elements of an array: 0 to 3 in turn, or what the flags say. */
static size_t list_length(const struct field *f, size_t n)
{
	static const size_t lengths[] = {2, 0, 3, 1};
	const struct field *model = f->of;
	size_t turn = turn_of(f, n, 2);

	if (f->flags & ALL)
		return n % 4 == 3 ? 0 : count_words(model->of);
	if (f->flags & HEAVY && is_large())
		return HEAVY_LENGTH;
	return lengths[(f->flags & MAYBE ? turn / 2 : turn) % 4];
}

/* What of a field's object is its n-th form; NULL for what is no object. */
static const struct field *object_model(const struct field *f, size_t n)
{
	const struct field *const *forms = f->of;
	size_t count = 0;

	if (f->kind == OBJECT || f->kind == CATALOG_ENTRY)
		return f->of;
	if (f->kind != ONE_OF)
		return NULL;
	while (forms[count])
		count++;
	return forms[n / 2 % count]; /* the field itself may be absent in every other row */
}

static void put_scalar(struct writer *w, const struct field *f, size_t n)
{
	const struct row *row = w->row;
	char buffer[TIME_SIZE];

	switch (f->kind) {
	case OWN_ID: put_format(w->out, "\"%s\"", row->id); break;
	case SOURCE_ID: put_format(w->out, "\"%s\"", row->source); break;
	case DESTINATION_ID: put_format(w->out, "\"%s\"", row->destination); break;
	case CATALOG_ID:
		make_id(buffer, row->catalog, row->entry);
		put_format(w->out, "\"%s\"", buffer);
		break;
	case WORKSPACE_ID:
		make_id(buffer, WORKSPACE, 0);
		put_format(w->out, "\"%s\"", buffer);
		break;
	case SOME_ID: put_some_id(w, ""); break;
	case ACTOR: put_some_id(w, n % 2 ? "users/" : "public-api-token/"); break;
	case TIMESTAMP:
		write_time(buffer, row->time_us, row->time_style);
		put_format(w->out, "\"%s\"", buffer);
		break;
	case COUNTER: put_counter(w, f->name); break;
	case PERIOD_START: put_format(w->out, "%" PRId64, row->period_start * (DAY / SECOND)); break;
	case PERIOD_END: put_format(w->out, "%" PRId64, row->period_end * (DAY / SECOND)); break;
	case BOOLEAN: put_text(w->out, dice(&w->dice, 2) ? "true" : "false"); break;
	case WORD: put_word(w, f->of, n); break;
	case PICK: put_pick(w, f->of); break;
	case MAP: put_map(w, 2); break;
	case NOTHING: put_text(w->out, "null"); break;
	case PARENT_ID: put_format(w->out, "\"%s\"", row->parent); break;
	case SECOND_ID: put_format(w->out, "\"%s\"", row->second); break;
	case MODEL_ID:
		model_of(row->n, buffer);
		dice(&w->dice, 2); /* as any value that is taken by chance */
		put_format(w->out, "\"%s\"", buffer);
		break;
	case ORDINAL: put_format(w->out, "%zu", row->ordinal); break;
	case OWN_TEXT:
	case EVENT_NAME: put_own_text(w); break;
	case OWN_EMAIL: put_format(w->out, "\"%s%zu@example.com\"", row->n % 3 ? "zo\\u00eb+" : "ünal.", row->n); break;
	case SUBJECT: put_format(w->out, "\"u-%zu/%zu\"", row->n, n); break;
	case EVENT_TYPE: put_word(w, "track|page|identify|screen|group|alias", n); break;
	case DISCARD_REASON: put_word(w, "missing_type|filtered_by_rule|an \\\"odd\\\" one", n); break;
	case TOTAL: put_total(w); break;
	case SERIES: put_series(w); break;
	case OBJECT:
	case CATALOG_ENTRY:
	case ONE_OF: break; /* put_object's own */
	}
}

/* A member that no model names: the API adds fields without notice. */
static const struct field undocumented = {"aFieldOfTomorrow", PICK, 0, anything};

/* The fields of a model in the order of this object. */
static size_t shuffle(struct writer *w, const struct field *model, const struct field *order[FIELDS + 1])
{
	size_t count = 0, i;

	for (; model->name; model++)
		order[count++] = model;
	if (dice(&w->dice, 24) == 0)
		order[count++] = &undocumented;
	for (i = count; i > 1; i--) {
		size_t other = dice(&w->dice, i);
		const struct field *moved = order[i - 1];
		order[i - 1] = order[other];
		order[other] = moved;
	}
	return count;
}

enum presence { PRESENT, IS_NULL, ABSENT };

/* Groups of events are told apart by their names, the first ones, which have none, by their types. */
static bool lacks_dimension(const struct field *f, size_t n)
{
	switch (f->kind) {
	case EVENT_NAME: return n < EVENT_TYPES;
	case EVENT_TYPE: return n % (EVENT_TYPES + 1) == EVENT_TYPES - 1;
	case DISCARD_REASON: return n % 4 == 3;
	default: return false;
	}
}

/* Each field has its turns of being there, null and absent; so a handful of rows shows them all. */
static enum presence presence_of(const struct field *f, size_t n)
{
	if (lacks_dimension(f, n))
		return ABSENT;
	switch (f->flags & (MAYBE | NULLABLE)) {
	case MAYBE | NULLABLE: return (enum presence)(turn_of(f, n, 3) % 3);
	case MAYBE: return turn_of(f, n, 2) % 2 ? PRESENT : ABSENT;
	case NULLABLE: return turn_of(f, n, 2) % 2 ? PRESENT : IS_NULL;
	default: return PRESENT;
	}
}

/* An object of the model; n is the turn of its fields.  A catalog entry is a row of its own, the same wherever it
 * stands. */
static void put_object(struct writer *w, const struct field *model, size_t n)
{
	const struct field *order[FIELDS + 1];
	size_t count = shuffle(w, model, order), i, item, items;

	open_value(w, '{');
	for (i = 0; i < count; i++) {
		const struct field *f = order[i], *inner = object_model(f, n);
		enum presence presence = presence_of(f, n);
		bool list = f->flags & LIST && presence == PRESENT;

		if (presence == ABSENT)
			continue;
		put_member(w, f->name);
		if (list)
			open_value(w, '[');
		for (item = 0, items = list ? list_length(f, n) : 1; item < items; item++) {
			if (list)
				next_item(w);
			if (presence == IS_NULL) {
				put_text(w->out, "null");
			} else if (f->kind == CATALOG_ENTRY) {
				struct writer aside = *w;
				struct row entry;
				make_row(&entry, w->row->catalog, w->row->entry);
				aside.row = &entry;
				aside.dice = entry.seed;
				put_object(&aside, inner, entry.n);
			} else if (inner) {
				put_object(w, inner, (f->flags & MAYBE ? n / 2 : n) + item);
			} else {
				put_scalar(w, f, n + item);
			}
		}
		if (list)
			close_value(w, ']');
	}
	close_value(w, '}');
}

/* ---- Operations ---- */

/* Parameters.  Those of a list (groupBy.0, groupBy.1) are numbered from 0, without gaps. */
enum {
	COUNT = 1,
	CURSOR = 2,
	PERIOD = 4,
	START = 8,
	END = 16,
	SOURCE = 32,
	GRANULARITY = 64,
	PAGED = COUNT | CURSOR,
	PLAIN_COUNT = 128, /* without "pagination." */
	PLAIN_CURSOR = 256,
	RESOURCE_TYPE = 512,
	FUNCTION = 1024,
	INCLUDE = 2048,
	COLLECTION = 4096,
	SORT_BY = 8192,
	SORT_DIR = 16384,
	DESTINATION = 32768,
	GROUP_BY = 65536,
	SOURCES_GIVEN = 131072,
	PLAIN_PAGED = PLAIN_COUNT | PLAIN_CURSOR,
	SORTED = SORT_BY | SORT_DIR,
	WINDOW = START | END | GRANULARITY | GROUP_BY
};

/* What events can be grouped by. */
enum { BY_SOURCE = 1, BY_NAME = 2, BY_TYPE = 4, BY_REASON = 8 };

/* How an operation differs from a plain list. */
enum {
	ONE_OBJECT = 1,          /* no array, no pages */
	PAGINATION_OPTIONAL = 2, /* a single page may come without data.pagination */
	PER_SOURCE = 4,          /* usage: a row a source and day, not one a day */
	USERS_SEEN = 8,          /* usage: the tracked users, not the calls */
	UNPAGED = 16,            /* an array all the same */
	TEXTS = 32,              /* rows are bare strings: the model's only field */
	ASIDE = 64               /* "data" has more members than rows and pagination */
};

/* A request as far as it is understood, and what is wrong with it. */
struct query {
	const struct operation *operation;
	size_t parent; /* the number of the {} in the path, or of what a parameter names in its place */
	size_t second; /* the same of a second one */
	size_t choice; /* of the words of resourceType, or collection */
	unsigned dimensions, group_bys, sources; /* what events are grouped by; how many of each list came */
	unsigned given;                          /* parameters */
	int64_t page_rows, start_us, end_us, period;
	char cursor[16], source[128], destination[128], granularity[8];
	size_t offset; /* of the page's first row; from the cursor */
	bool empty_page, loop;
	int status; /* 200, or that of the refusal */
	const char *type, *field;
	char message[160];
	int64_t used, limit, reset_ms; /* of the requests that this operation takes a minute; limit 0: any number */
};

/* What few operations have. */
struct special {
	enum thing second;             /* of the second {} */
	bool (*check)(struct query *); /* of what the parameters say together */
	int64_t cap;                   /* of rows in a page, where it is less than elsewhere */
	int64_t limit;                 /* documented: requests a minute */
	unsigned dimensions;           /* that events must be grouped by */
	const char *sort_by;           /* what sortBy may be */
};

struct operation {
	const char *path; /* {} is the id of a parent */
	enum thing parent, thing;
	const char *data_key;
	const char *stages; /* that Accept may name */
	unsigned takes, needs;
	const struct field *model;
	size_t (*count)(const struct query *);
	void (*row)(const struct query *, size_t i, struct row *);
	unsigned flags;
	struct special special;
};

/* Always returns false. */
static bool refuse(struct query *q, int status, const char *type, const char *field, const char *format, ...)
{
	va_list args;

	q->status = status;
	q->type = type;
	q->field = field;
	va_start(args, format);
	vsnprintf(q->message, sizeof q->message, format, args);
	va_end(args);
	return false;
}

static bool invalid(struct query *q, const char *field, const char *what)
{
	return refuse(q, 422, "input-validation", field, "\"%s\" %s", field, what);
}

static size_t list_count(const struct query *q)
{
	return count_of(q->operation->thing);
}

static void list_row(const struct query *q, size_t i, struct row *row)
{
	make_row(row, q->operation->thing, i);
}

/* With --twice every fourth destination is followed by itself, under its next source. */
static size_t destinations_count(const struct query *q)
{
	return list_count(q) + (options.twice ? list_count(q) / 4 : 0);
}

static void destinations_row(const struct query *q, size_t i, struct row *row)
{
	(void)q;
	if (!options.twice) {
		make_row(row, DESTINATIONS, i);
		return;
	}
	make_row(row, DESTINATIONS, i / 5 * 4 + smaller(i % 5, 3));
	if (i % 5 == 4)
		make_id(row->source, SOURCES, (owner_of(row->n) + 1) % count_of(SOURCES));
}

/* The destinations whose number leaves the source's as remainder, and at the end the one that is shared. */
static size_t own_destinations(const struct query *q)
{
	size_t all = count_of(DESTINATIONS);

	return q->parent < owners() && q->parent < all ? (all - q->parent - 1) / owners() + 1 : 0;
}

static size_t connected_destinations_count(const struct query *q)
{
	return own_destinations(q) + (q->parent != owner_of(0) && is_connected(q->parent, 0));
}

static void connected_destinations_row(const struct query *q, size_t i, struct row *row)
{
	make_row(row, DESTINATIONS, i < own_destinations(q) ? q->parent + i * owners() : 0);
}

/* Two warehouses, one or none a source. */
static size_t connected_warehouses_count(const struct query *q)
{
	return smaller(count_of(WAREHOUSES), 2 - q->parent % 3);
}

static void connected_warehouses_row(const struct query *q, size_t i, struct row *row)
{
	make_row(row, WAREHOUSES, (q->parent + i) % count_of(WAREHOUSES));
}

static size_t subscriptions_count(const struct query *q)
{
	return q->parent % 4 == 0 ? 0 : 4;
}

static void subscriptions_row(const struct query *q, size_t i, struct row *row)
{
	make_row(row, SUBSCRIPTIONS, q->parent * 4 + i);
	make_id(row->destination, DESTINATIONS, q->parent);
}

/* Usage: a snapshot a day, cumulative within the period.  The period of API calls by source runs from the second day of
 * its month to the first of the next; that of the users seen ends with a snapshot at the start of the next month. */
static int64_t first_day(const struct query *q)
{
	bool late = q->operation->flags & PER_SOURCE && !(q->operation->flags & USERS_SEEN);
	int64_t first = q->period + late, oldest = start_day - AGE_OF_WORKSPACE;

	return first > oldest ? first : oldest;
}

static size_t usage_days(const struct query *q)
{
	int64_t last = next_month(q->period) - 1 + (q->operation->flags != 0), first = first_day(q);

	last = last < start_day ? last : start_day;
	return last < first ? 0 : (size_t)(last - first + 1);
}

static size_t usage_sources(const struct query *q)
{
	return q->operation->flags & PER_SOURCE ? count_of(SOURCES) : count_of(SOURCES) > 0;
}

static size_t usage_count(const struct query *q)
{
	return usage_days(q) * usage_sources(q);
}

/* Day by day, in every other month from the last to the first. */
static void usage_row(const struct query *q, size_t i, struct row *row)
{
	size_t source_number = i % usage_sources(q), day = i / usage_sources(q);

	if (date_of(q->period).month % 2 == 0)
		day = usage_days(q) - 1 - day;
	make_row(row, USAGE, source_number);
	make_id(row->source, SOURCES, source_number);
	row->counter_seed = mix_text(row->seed, q->operation->path);
	row->seed = mix(row->counter_seed ^ (uint64_t)(first_day(q) + (int64_t)day));
	row->time_us = (first_day(q) + (int64_t)day) * DAY;
	row->time_style = (size_t)(row->seed % TIME_STYLES);
	row->day_of_period = (size_t)(first_day(q) - q->period) + day + 1;
	row->period_start = q->period;
	row->period_end = next_month(q->period);
}

static size_t delivery_count(const struct query *q)
{
	(void)q;
	return 1;
}

static void delivery_row(const struct query *q, size_t i, struct row *row)
{
	make_row(row, METRICS, q->parent + i);
	row->seed = mix(row->seed ^ (uint64_t)q->start_us);
	memcpy(row->source, q->source, ID_SIZE);
}

/* Every fifth event has the time of the one before it. */
static uint64_t event_seed(size_t n)
{
	return seed_of(EVENTS, n - (n % 5 == 4));
}

/* Events lie in the 80 days before the start, newest first; at times that their style of writing can express. */
static int64_t event_us(size_t n)
{
	int64_t apart = 80 * DAY / (int64_t)count_of(EVENTS), back = (int64_t)(n - (n % 5 == 4)) * apart;
	int64_t us = start_us - 90 * 60 * SECOND - back - (int64_t)(event_seed(n) % (uint64_t)(apart / 2));
	int digits = time_styles[event_seed(n) % TIME_STYLES].digits;

	return us - us % (digits == 0 ? SECOND : digits == 3 ? 1000 : 1);
}

/* How many events are later than the time, or with or_same at it. */
static size_t events_after(int64_t us, bool or_same)
{
	size_t low = 0, high = count_of(EVENTS);

	while (low < high) {
		size_t middle = (low + high) / 2;
		int64_t t = event_us(middle);
		if (t > us || (or_same && t == us))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static size_t events_count(const struct query *q)
{
	size_t after_end = events_after(q->end_us, !options.inclusive);
	size_t after_start = events_after(q->start_us, options.inclusive);

	return after_start > after_end ? after_start - after_end : 0;
}

/* No order is promised: neighbours change places. */
static void events_row(const struct query *q, size_t i, struct row *row)
{
	size_t other = i ^ 1;

	make_row(row, EVENTS, events_after(q->end_us, !options.inclusive) + (other < events_count(q) ? other : i));
	row->time_us = event_us(row->n);
	row->time_style = (size_t)(event_seed(row->n) % TIME_STYLES);
	snprintf(row->id, sizeof row->id, "events/%zu", 145876976 + count_of(EVENTS) - row->n);
}

/* ---- What belongs to one parent ---- */

static void make_parents(const struct query *q, struct row *row)
{
	make_id(row->parent, q->operation->parent, q->parent);
	make_id(row->second, q->operation->special.second, q->second);
}

/* Rows of one parent are numbered on from those of the parents before: PER_PARENT at most. */
enum { PER_PARENT = 400 };

static void child_row(const struct query *q, size_t i, struct row *row)
{
	make_row(row, q->operation->thing, q->parent * PER_PARENT + i);
	row->ordinal = i + 1;
	make_parents(q, row);
}

static void labels_row(const struct query *q, size_t i, struct row *row)
{
	list_row(q, i, row);
	row->ordinal = i + 1;
}

static size_t members_count(const struct query *q)
{
	return smaller(q->parent % 3 + q->parent / 3 % 2, count_of(USERS));
}

static void members_row(const struct query *q, size_t i, struct row *row)
{
	make_row(row, USERS, (q->parent + i) % count_of(USERS));
}

static size_t filters_count(const struct query *q)
{
	return (q->parent + 1) % 3;
}

static void filters_row(const struct query *q, size_t i, struct row *row)
{
	child_row(q, i, row);
	make_id(row->source, SOURCES, owner_of(q->parent));
	make_id(row->destination, DESTINATIONS, q->parent);
}

static size_t settings_count(const struct query *q)
{
	(void)q;
	return 1;
}

static void settings_row(const struct query *q, size_t i, struct row *row)
{
	make_row(row, SOURCES, q->parent + i);
}

/* ---- Functions ---- */

/* The type of a function is its number's remainder. */
enum { FUNCTION_KINDS = 5, FIRST_INSERT = 1, LAST_INSERT = 3 };

static size_t functions_count(const struct query *q)
{
	size_t all = count_of(FUNCTIONS);

	return q->choice < all ? (all - q->choice - 1) / FUNCTION_KINDS + 1 : 0;
}

static void functions_row(const struct query *q, size_t i, struct row *row)
{
	make_row(row, FUNCTIONS, q->choice + i * FUNCTION_KINDS);
}

static size_t versions_count(const struct query *q)
{
	return (q->parent + 2) % 4;
}

static size_t instances_count(const struct query *q)
{
	return (q->parent + 1) % 3;
}

/* ---- Tracking plans ---- */

static size_t rules_count(const struct query *q)
{
	return q->parent % 4 == 1 ? 0 : q->parent % 4 == 2 ? 250 : 9;
}

static size_t plan_sources_count(const struct query *q)
{
	return smaller((q->parent + 1) % 3, count_of(SOURCES));
}

static void plan_sources_row(const struct query *q, size_t i, struct row *row)
{
	make_row(row, SOURCES, (q->parent + i) % count_of(SOURCES));
}

/* ---- Warehouses ---- */

/* As source_connected_warehouses has it: see connected_warehouses_row. */
static bool is_stored(size_t source_number, size_t warehouse_number)
{
	size_t warehouses = count_of(WAREHOUSES), count = smaller(warehouses, 2 - source_number % 3), i;

	for (i = 0; i < count; i++)
		if ((source_number + i) % warehouses == warehouse_number)
			return true;
	return false;
}

/* The number of the source that is the i-th of a warehouse; count_of(SOURCES) after the last. */
static size_t stored_source(size_t warehouse_number, size_t i)
{
	size_t n, all = count_of(SOURCES);

	for (n = 0; n < all; n++)
		if (is_stored(n, warehouse_number) && i-- == 0)
			break;
	return n;
}

static size_t stored_count(const struct query *q)
{
	size_t n, count = 0, all = count_of(SOURCES);

	for (n = 0; n < all; n++)
		count += is_stored(n, q->parent);
	return count;
}

static void stored_row(const struct query *q, size_t i, struct row *row)
{
	make_row(row, SOURCES, stored_source(q->parent, i));
}

static size_t warehouse_syncs_count(const struct query *q)
{
	return q->parent % 4 == 1 ? 0 : 7;
}

/* One every seven hours, the last first; its start is part of its key. */
static void warehouse_syncs_row(const struct query *q, size_t i, struct row *row)
{
	child_row(q, i, row);
	make_id(row->source, SOURCES, i % count_of(SOURCES));
	row->time_us = start_us - (int64_t)(i + 1) * 7 * HOUR;
	row->time_style = (size_t)(row->seed % TIME_STYLES);
}

static size_t selective_syncs_count(const struct query *q)
{
	return (q->parent + q->second + 1) % 4;
}

static void selective_syncs_row(const struct query *q, size_t i, struct row *row)
{
	make_row(row, SELECTIVE_SYNCS, (q->second * 8 + i) * SCALE_LIMIT + q->parent);
	row->ordinal = i + 1;
	row->n = q->second + i;
	make_parents(q, row);
}

static bool check_stored(struct query *q)
{
	return is_stored(q->second, q->parent) ||
	       refuse(q, 404, "not-found", NULL, "The source is not connected to this warehouse.");
}

/* ---- Reverse ETL ---- */

static size_t model_syncs_count(const struct query *q)
{
	return q->second % 6 == 4 ? 0 : q->second % 6 == 5 ? 23 : 3;
}

static void model_syncs_row(const struct query *q, size_t i, struct row *row)
{
	make_row(row, MODEL_SYNCS, q->second * 32 + i);
	make_parents(q, row);
}

static bool check_model(struct query *q)
{
	char model[ID_SIZE], right[ID_SIZE];

	make_id(model, MODELS, q->parent);
	model_of(q->second, right);
	return strcmp(model, right) == 0 ||
	       refuse(q, 404, "not-found", NULL, "The subscription does not belong to this model.");
}

/* ---- Spaces ---- */

/* The last space of several is a deleted one: there, and empty. */
static size_t spaces_in_use(void)
{
	return count_of(SPACES) > 1 ? count_of(SPACES) - 1 : count_of(SPACES);
}

static size_t space_count(const struct query *q, size_t count)
{
	return q->parent < spaces_in_use() ? count : 0;
}

static size_t audiences_count(const struct query *q)
{
	size_t all = count_of(AUDIENCES);

	return q->parent < all ? space_count(q, (all - q->parent - 1) / spaces_in_use() + 1) : 0;
}

static void audiences_row(const struct query *q, size_t i, struct row *row)
{
	make_row(row, AUDIENCES, q->parent + i * spaces_in_use());
	make_parents(q, row);
}

static bool check_audience(struct query *q)
{
	return q->second % spaces_in_use() == q->parent ||
	       refuse(q, 404, "not-found", NULL, "The audience does not belong to this space.");
}

static size_t computed_traits_count(const struct query *q)
{
	return space_count(q, 5);
}

static size_t connections_count(const struct query *q)
{
	return (q->second + 1) % 3;
}

/* As child_row, below the second id of the path. */
static void grandchild_row(const struct query *q, size_t i, struct row *row)
{
	make_row(row, q->operation->thing, q->second * 8 + i);
	make_parents(q, row);
}

static size_t activations_count(const struct query *q)
{
	return q->second % 4;
}

static size_t profiles_count(const struct query *q)
{
	return space_count(q, 1 + q->parent % 2);
}

static size_t space_events_count(const struct query *q)
{
	return space_count(q, 14);
}

static size_t space_traits_count(const struct query *q)
{
	return space_count(q, q->choice ? 5 : 9);
}

static void space_traits_row(const struct query *q, size_t i, struct row *row)
{
	child_row(q, i, row);
	row->seed = mix(row->seed ^ q->choice);
}

/* ---- Events by group and day ---- */

enum { EVENT_GROUPS = 9, GROUPS_SHOWN = 5000 };

/* --groups is for the second source alone, so that one can be told from the others. */
static size_t groups_of(size_t source_number)
{
	return options.groups > 0 && source_number == 1 ? (size_t)options.groups : EVENT_GROUPS + source_number % 3;
}

static size_t groups_count(const struct query *q)
{
	return smaller(groups_of(q->parent), GROUPS_SHOWN);
}

/* What happens on a day is the same in whatever window it is asked for. */
static void groups_row(const struct query *q, size_t i, struct row *row)
{
	uint64_t place = (uint64_t)q->parent << 32 | q->second;

	*row = (struct row){.n = i, .ordinal = i + 1, .groups = groups_of(q->parent)};
	row->counter_seed = mix(mix_text(seed_of(q->operation->thing, place), q->operation->path));
	row->seed = mix(row->counter_seed ^ (uint64_t)i);
	make_id(row->source, SOURCES, q->parent);
	row->period_start = q->start_us / DAY;
	row->period_end = (q->end_us + DAY - 1) / DAY;
}

/* A window of days: the longest, how long ago it may begin (0: no matter), how far behind the clock it must end.  The
 * API knows other granularities; nobody asks for them here. */
static bool check_days(struct query *q, int64_t oldest, int64_t behind)
{
	const int64_t longest = 30 * DAY;
	int64_t now = now_us();

	if (strcmp(q->granularity, "DAY") != 0)
		return invalid(q, "granularity", "must be DAY on this server");
	if (q->start_us >= q->end_us)
		return invalid(q, "endTime", "must be after startTime");
	if (q->end_us - q->start_us > longest)
		return invalid(q, "endTime", "must be at most 30 days after startTime");
	if (oldest > 0 && q->start_us < now - oldest)
		return invalid(q, "startTime", "must be at most 30 days ago");
	if (q->end_us > now - behind)
		return invalid(q, "endTime", "is too late");
	if (q->dimensions != q->operation->special.dimensions)
		return invalid(q, "groupBy", "must name all that this server groups by");
	return true;
}

static bool find_source(struct query *q)
{
	return find_id(SOURCES, q->source, &q->parent) ||
	       refuse(q, 404, "not-found", NULL, "Source with id '%.40s' not found.", q->source);
}

static bool check_volume(struct query *q)
{
	return find_source(q) && check_days(q, 0, 60 * SECOND);
}

static bool check_received(struct query *q)
{
	return find_source(q) && check_days(q, 30 * DAY, 0);
}

static bool check_delivered(struct query *q)
{
	if (!find_id(DESTINATIONS, q->destination, &q->second))
		return refuse(q, 404, "not-found", NULL, "Destination with id '%.40s' not found.", q->destination);
	if (!find_source(q))
		return false;
	if (!serves(q->parent, q->second))
		return invalid(q, "sourceId", "is not connected to this destination");
	return check_days(q, 30 * DAY, 0);
}

static bool check_insert(struct query *q)
{
	size_t kind = q->parent % FUNCTION_KINDS;

	if (kind >= FIRST_INSERT && kind <= LAST_INSERT)
		return true;
	return invalid(q, "functionId", "is not an insert function");
}

/* ---- Windows of delivery metrics ---- */

/* The windows of delivery metrics: the longest, how long ago it may begin, and where it begins without startTime (for
 * DAY beyond what is allowed, so it has to be given). */
static const struct {
	const char *granularity;
	int64_t longest, oldest, start;
} windows[] = {{"MINUTE", 4 * HOUR, 48 * HOUR, HOUR},
	       {"HOUR", 7 * DAY, 7 * DAY, 7 * DAY},
	       {"DAY", 14 * DAY, 14 * DAY, 30 * DAY}};

static bool check_window(struct query *q)
{
	int64_t now = now_us();
	size_t i = 0;

	while (q->given & GRANULARITY && strcmp(windows[i].granularity, q->granularity) != 0)
		i++;
	if (!(q->given & END))
		q->end_us = now;
	if (!(q->given & START))
		q->start_us = now - windows[i].start;
	if (q->start_us >= q->end_us)
		return invalid(q, "endTime", "must be after startTime");
	if (q->start_us < now - windows[i].oldest)
		return invalid(q, "startTime", "is too long ago for this granularity");
	if (q->end_us - q->start_us > windows[i].longest)
		return invalid(q, "endTime", "makes the window too long for this granularity");
	return true;
}

static bool check_delivery(struct query *q)
{
	size_t n;

	if (!find_id(SOURCES, q->source, &n))
		return refuse(q, 404, "not-found", NULL, "Source with id '%.40s' not found.", q->source);
	if (!serves(n, q->parent))
		return invalid(q, "sourceId", "is not connected to this destination");
	return check_window(q);
}

/* ---- Table of operations ---- */

#define STABLE "v1 v1beta v1alpha"
#define ALPHA  "v1alpha"

/* The filters resourceId and resourceType of /audit-events are left out, as are those of others that no client here uses. */
/* clang-format off */
static const struct operation operations[] = {
	{"/sources", WORKSPACE, SOURCES, "sources", STABLE, PAGED, 0, source, list_count, list_row, 0, {0}},
	{"/destinations", WORKSPACE, DESTINATIONS, "destinations", STABLE, PAGED, 0, destination, destinations_count,
	 destinations_row, 0, {0}},
	{"/warehouses", WORKSPACE, WAREHOUSES, "warehouses", STABLE, PAGED, 0, warehouse, list_count, list_row, 0, {0}},
	{"/sources/{}/connected-destinations", SOURCES, DESTINATIONS, "destinations", STABLE, PAGED, 0, destination,
	 connected_destinations_count, connected_destinations_row, 0, {0}},
	{"/sources/{}/connected-warehouses", SOURCES, WAREHOUSES, "warehouses", STABLE, PAGED, 0, warehouse,
	 connected_warehouses_count, connected_warehouses_row, 0, {0}},
	{"/destinations/{}/subscriptions", DESTINATIONS, SUBSCRIPTIONS, "subscriptions", "v1alpha", PAGED, 0,
	 subscription, subscriptions_count, subscriptions_row, PAGINATION_OPTIONAL, {0}},
	{"/catalog/sources", WORKSPACE, SOURCE_CATALOG, "sourcesCatalog", STABLE, PAGED, 0, source_entry, list_count,
	 list_row, 0, {0}},
	{"/catalog/destinations", WORKSPACE, DESTINATION_CATALOG, "destinationsCatalog", STABLE, PAGED, 0,
	 destination_entry, list_count, list_row, 0, {0}},
	{"/catalog/warehouses", WORKSPACE, WAREHOUSE_CATALOG, "warehousesCatalog", STABLE, PAGED, 0, warehouse_entry,
	 list_count, list_row, 0, {0}},
	{"/usage/api-calls/sources/daily", WORKSPACE, USAGE, "dailyPerSourceAPICallsUsage", STABLE, PAGED | PERIOD,
	 PERIOD, api_calls, usage_count, usage_row, PER_SOURCE, {0}},
	{"/usage/api-calls/daily", WORKSPACE, USAGE, "dailyWorkspaceAPICallsUsage", STABLE, PAGED | PERIOD, PERIOD,
	 api_calls + 1, usage_count, usage_row, 0, {0}},
	{"/usage/mtu/sources/daily", WORKSPACE, USAGE, "dailyPerSourceMTUUsage", STABLE, PAGED | PERIOD, PERIOD,
	 users_seen, usage_count, usage_row, PER_SOURCE | USERS_SEEN, {0}},
	{"/usage/mtu/daily", WORKSPACE, USAGE, "dailyWorkspaceMTUUsage", STABLE, PAGED | PERIOD, PERIOD, users_seen + 1,
	 usage_count, usage_row, USERS_SEEN, {0}},
	{"/destinations/{}/delivery-metrics", DESTINATIONS, METRICS, "deliveryMetricsSummary", "v1beta v1alpha",
	 SOURCE | START | END | GRANULARITY, SOURCE, delivery, delivery_count, delivery_row, ONE_OBJECT,
	 {.check = check_delivery}},
	{"/audit-events", WORKSPACE, EVENTS, "events", STABLE, PAGED | START | END, 0, event, events_count, events_row,
	 PAGINATION_OPTIONAL, {0}},
	{"/users", WORKSPACE, USERS, "users", STABLE, PAGED, COUNT, user, list_count, list_row, 0, {0}},
	{"/groups", WORKSPACE, GROUPS, "userGroups", STABLE, PAGED, COUNT, group, list_count, list_row, 0, {0}},
	{"/transformations", WORKSPACE, TRANSFORMATIONS, "transformations", STABLE, PAGED, 0, transformation,
	 list_count, list_row, 0, {0}},
	{"/", WORKSPACE, WORKSPACE, "workspace", STABLE, 0, 0, workspace, list_count, list_row, ONE_OBJECT, {0}},
#define LISTED .takes = PAGED, .count = list_count, .row = list_row
	{"/labels", .thing = LABELS, .data_key = "labels", .stages = STABLE, .model = own_label, .count = list_count,
	 .row = labels_row, .flags = UNPAGED},
	{"/roles", .thing = ROLES, .data_key = "roles", .stages = STABLE, .model = role, LISTED},
	{"/groups/{}/users", GROUPS, USERS, "users", STABLE, PAGED, .model = member, .count = members_count,
	 .row = members_row},
	{"/invites", .thing = INVITES, .data_key = "invites", .stages = STABLE, .model = invite, LISTED,
	 .flags = TEXTS},
	{"/destination/{}/filters", DESTINATIONS, FILTERS, "filters", STABLE, PAGED, .model = filter,
	 .count = filters_count, .row = filters_row},
	{"/sources/{}/settings", SOURCES, SOURCES, "settings", STABLE, .model = schema_settings,
	 .count = settings_count, .row = settings_row, .flags = ONE_OBJECT | ASIDE},
	{"/functions", .thing = FUNCTIONS, .data_key = "functions", .stages = STABLE, .takes = PAGED | RESOURCE_TYPE,
	 .needs = RESOURCE_TYPE, .model = function, .count = functions_count, .row = functions_row},
	{"/functions/{}/versions", FUNCTIONS, VERSIONS, "versions", ALPHA, PAGED, .model = function_version,
	 .count = versions_count, .row = child_row},
	{"/insert-function-instances", FUNCTIONS, INSTANCES, "instances", ALPHA, PAGED | FUNCTION, FUNCTION,
	 .model = function_instance, .count = instances_count, .row = child_row, .special = {.check = check_insert}},
	{"/tracking-plans", .thing = PLANS, .data_key = "trackingPlans", .stages = STABLE, .model = tracking_plan,
	 LISTED},
	{"/tracking-plans/{}/rules", PLANS, RULES, "rules", STABLE, PAGED, .model = rule_model, .count = rules_count,
	 .row = child_row, .special = {.limit = 200}},
	{"/tracking-plans/{}/sources", PLANS, SOURCES, "sources", STABLE, PAGED, .model = source,
	 .count = plan_sources_count, .row = plan_sources_row},
	{"/events/volume", .thing = VOLUME, .data_key = "result", .stages = STABLE,
	 .takes = PAGED | WINDOW | SOURCES_GIVEN, .needs = WINDOW | SOURCES_GIVEN, .model = volume,
	 .count = groups_count, .row = groups_row, .flags = PAGINATION_OPTIONAL | ASIDE,
	 .special = {.check = check_volume, .limit = 60, .dimensions = BY_SOURCE | BY_NAME | BY_TYPE}},
#define OVERVIEW_OF(step, parameters, how, fields, by)                                                       \
	{"/delivery-overview/" step, .thing = OVERVIEW, .data_key = "dataset", .stages = "v1beta",           \
	 .takes = PAGED | WINDOW | (parameters), .needs = WINDOW | (parameters), .model = (fields),          \
	 .count = groups_count, .row = groups_row, .flags = ASIDE,                                           \
	 .special = {.check = (how), .dimensions = BY_NAME | BY_TYPE | (by)}}
	OVERVIEW_OF("successfully-received", SOURCE, check_received, overview + 1, 0),
	OVERVIEW_OF("failed-on-ingest", SOURCE, check_received, overview, BY_REASON),
	OVERVIEW_OF("filtered-at-source", SOURCE, check_received, overview, BY_REASON),
	OVERVIEW_OF("filtered-at-destination", SOURCE | DESTINATION, check_delivered, overview, BY_REASON),
	OVERVIEW_OF("failed-delivery", SOURCE | DESTINATION, check_delivered, overview, BY_REASON),
	OVERVIEW_OF("successful-delivery", SOURCE | DESTINATION, check_delivered, overview, BY_REASON),
	{"/warehouses/{}/syncs", WAREHOUSES, WAREHOUSE_SYNCS, "reports", STABLE, PAGED, .model = warehouse_sync,
	 .count = warehouse_syncs_count, .row = warehouse_syncs_row, .special = {.limit = 2}},
	{"/warehouses/{}/connected-sources", WAREHOUSES, SOURCES, "sources", STABLE, PAGED, .model = source,
	 .count = stored_count, .row = stored_row},
	{"/warehouses/{}/connected-sources/{}/selective-syncs", WAREHOUSES, SELECTIVE_SYNCS, "items", STABLE, PAGED,
	 .model = selective_sync, .count = selective_syncs_count, .row = selective_syncs_row,
	 .special = {SOURCES, check_stored, .limit = 2}},
	{"/reverse-etl-models", .thing = MODELS, .data_key = "models", .stages = ALPHA, .model = etl_model, LISTED},
	{"/reverse-etl-models/{}/subscriptionId/{}/syncs", MODELS, MODEL_SYNCS, "syncStatuses", ALPHA, PLAIN_PAGED,
	 .model = etl_sync, .count = model_syncs_count, .row = model_syncs_row, .flags = PAGINATION_OPTIONAL,
	 .special = {SUBSCRIPTIONS, check_model, .cap = 100}},
	{"/spaces", .thing = SPACES, .data_key = "spaces", .stages = ALPHA, .model = workspace, LISTED},
	{"/spaces/{}/audiences", SPACES, AUDIENCES, "audiences", STABLE, PAGED | INCLUDE, .model = audience,
	 .count = audiences_count, .row = audiences_row, .special = {.cap = 200, .limit = 60}},
	{"/spaces/{}/computed-traits", SPACES, COMPUTED_TRAITS, "computedTraits", ALPHA, PAGED,
	 .model = computed_trait, .count = computed_traits_count, .row = child_row, .special = {.limit = 25}},
	{"/spaces/{}/audiences/{}/destination-connections", SPACES, AUDIENCE_CONNECTIONS, "connections", ALPHA, PAGED,
	 .model = connection, .count = connections_count, .row = grandchild_row, .flags = PAGINATION_OPTIONAL,
	 .special = {AUDIENCES, check_audience, .limit = 50}},
	{"/spaces/{}/audiences/{}/activations", SPACES, ACTIVATIONS, "activations", ALPHA, PAGED, .model = activation,
	 .count = activations_count, .row = grandchild_row, .flags = PAGINATION_OPTIONAL,
	 .special = {AUDIENCES, check_audience, .limit = 60}},
	{"/spaces/{}/profiles-warehouses", SPACES, PROFILES_WAREHOUSES, "profilesWarehouses", ALPHA, PAGED,
	 .model = profiles_warehouse, .count = profiles_count, .row = child_row, .flags = PAGINATION_OPTIONAL},
	{"/spaces/{}/events", SPACES, SPACE_EVENTS, "events", ALPHA, PAGED | SORTED, .model = space_event,
	 .count = space_events_count, .row = child_row, .special = {.limit = 25, .sort_by = "name|lastSeenAt"}},
	{"/spaces/{}/traits", SPACES, SPACE_TRAITS, "traits", ALPHA, PAGED | SORTED | COLLECTION,
	 .model = space_trait, .count = space_traits_count, .row = space_traits_row,
	 .special = {.limit = 25, .sort_by = "trait|lastSeenAt"}},
	{"/regulations", .thing = REGULATIONS, .data_key = "regulations", .stages = STABLE, .model = regulation,
	 LISTED},
	{"/suppressions", .thing = SUPPRESSIONS, .data_key = "suppressed", .stages = STABLE, .model = suppression,
	 LISTED},
	{"/credentials", .thing = CREDENTIALS, .data_key = "credentials", .stages = "v1", .model = credential,
	 LISTED}};
/* clang-format on */

enum { OPERATIONS = sizeof operations / sizeof *operations };

/* ---- Parameters ---- */

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
				      : -1;
}

/* Percent-decodes length bytes at in.  raw names the characters beside RFC 3986's unreserved ones that may stand there
 * as they are: a client must not leave '+', '=' and '/' to luck. */
static bool decode(const char *in, size_t length, const char *raw, char *out, size_t size)
{
	const char *end = in + length;

	for (; in < end; in++, out++, size--) {
		bool plain = (*in >= '0' && *in <= '9') || (*in >= 'A' && *in <= 'Z') || (*in >= 'a' && *in <= 'z') ||
			     strchr("-._~", *in) || strchr(raw, *in);
		if (size < 2)
			return false;
		if (*in == '%') {
			if (end - in < 3 || hex_digit(in[1]) < 0 || hex_digit(in[2]) < 0)
				return false;
			*out = (char)(hex_digit(in[1]) << 4 | hex_digit(in[2]));
			in += 2;
			if (*out == '\0')
				return false;
		} else if (plain) {
			*out = *in;
		} else {
			return false;
		}
	}
	*out = '\0';
	return true;
}

static bool cap_count(struct query *q, const char *name)
{
	int64_t own = q->operation->special.cap, cap = own && own < options.page_cap ? own : options.page_cap;

	if (q->page_rows > cap)
		return refuse(q, 422, "input-validation", name, "\"%s\" must be less than or equal to %" PRId64, name,
			      cap);
	return true;
}

static bool read_count(struct query *q, const char *value)
{
	if (!read_number(value, INT32_MAX, &q->page_rows) || q->page_rows < 1)
		return invalid(q, "pagination.count", "must be a positive integer");
	return cap_count(q, "pagination.count");
}

static bool read_plain_count(struct query *q, const char *value)
{
	if (!read_number(value, INT32_MAX, &q->page_rows) || q->page_rows < 1)
		return invalid(q, "count", "must be a positive integer");
	return cap_count(q, "count");
}

static bool read_cursor(struct query *q, const char *value)
{
	if (strlen(value) >= sizeof q->cursor)
		return refuse(q, 400, "bad-request", "pagination.cursor", "Invalid cursor");
	strcpy(q->cursor, value);
	return true;
}

static bool read_period(struct query *q, const char *value)
{
	const char *s = value;

	if (!read_date(&s, &q->period) || *s)
		return invalid(q, "period", "must be a date of the form YYYY-MM-DD");
	if (date_of(q->period).day != 1)
		return invalid(q, "period", "must be the first day of a month");
	if (next_month(q->period) <= start_day - AGE_OF_WORKSPACE)
		return invalid(q, "period", "is before the workspace was created");
	if (q->period > start_day)
		return invalid(q, "period", "is in the future");
	return true;
}

static bool read_start(struct query *q, const char *value)
{
	return read_time(value, &q->start_us) || invalid(q, "startTime", "must be an RFC 3339 date-time");
}

static bool read_end(struct query *q, const char *value)
{
	return read_time(value, &q->end_us) || invalid(q, "endTime", "must be an RFC 3339 date-time");
}

static bool read_source(struct query *q, const char *value)
{
	if (strlen(value) >= sizeof q->source)
		return invalid(q, "sourceId", "is too long");
	strcpy(q->source, value);
	return true;
}

static bool read_granularity(struct query *q, const char *value)
{
	if (strcmp(value, "DAY") != 0 && strcmp(value, "HOUR") != 0 && strcmp(value, "MINUTE") != 0)
		return invalid(q, "granularity", "must be one of [DAY, HOUR, MINUTE]");
	strcpy(q->granularity, value);
	return true;
}

/* The place of a word among those with "|" between them; count_words if it is none of them. */
static size_t place_of(const char *words, const char *word)
{
	size_t n = 0, length = strlen(word);

	for (;; n++, words += strcspn(words, "|") + 1) {
		if (strcspn(words, "|") == length && memcmp(words, word, length) == 0)
			return n;
		if (!words[strcspn(words, "|")])
			return n + 1;
	}
}

static bool read_choice(struct query *q, const char *name, const char *words, const char *value, size_t *choice)
{
	*choice = place_of(words, value);
	return *choice < count_words(words) ||
	       refuse(q, 422, "input-validation", name, "\"%s\" must be one of %s", name, words);
}

static bool read_resource_type(struct query *q, const char *value)
{
	return read_choice(q, "resourceType", FUNCTION_TYPES, value, &q->choice);
}

static bool read_function(struct query *q, const char *value)
{
	return find_id(FUNCTIONS, value, &q->parent) ||
	       refuse(q, 404, "not-found", NULL, "Function with id '%.40s' not found.", value);
}

static bool read_include(struct query *q, const char *value)
{
	size_t none;

	return read_choice(q, "include", "schedules", value, &none);
}

static bool read_collection(struct query *q, const char *value)
{
	return read_choice(q, "collection", "users|accounts", value, &q->choice);
}

static bool read_sort_by(struct query *q, const char *value)
{
	size_t none;

	return read_choice(q, "sortBy", q->operation->special.sort_by, value, &none);
}

static bool read_sort_dir(struct query *q, const char *value)
{
	size_t none;

	return read_choice(q, "sortDir", "asc|desc", value, &none);
}

static bool read_destination(struct query *q, const char *value)
{
	if (strlen(value) >= sizeof q->destination)
		return invalid(q, "destinationConfigId", "is too long");
	strcpy(q->destination, value);
	return true;
}

/* A dimension that the operation does not know, or that was named before, is refused. */
static bool read_group_by(struct query *q, const char *value)
{
	size_t place = place_of("source|eventName|eventType|discardReason", value);
	unsigned bit = 1U << place;

	if (!(q->operation->special.dimensions & bit) || q->dimensions & bit)
		return refuse(q, 422, "input-validation", "groupBy", "\"groupBy\" must not be %.40s here", value);
	q->dimensions |= bit;
	return true;
}

/* Both spellings of the page parameters are in use. */
static const struct parameter {
	const char *name;
	unsigned bit;
	bool (*read)(struct query *, const char *value);
	size_t counted; /* a list: where its length stands in struct query */
} parameters[] = {{"pagination.count", COUNT, read_count, 0},
		  {"pagination.cursor", CURSOR, read_cursor, 0},
		  {"period", PERIOD, read_period, 0},
		  {"startTime", START, read_start, 0},
		  {"endTime", END, read_end, 0},
		  {"sourceId", SOURCE, read_source, 0},
		  {"granularity", GRANULARITY, read_granularity, 0},
		  {"pagination[count]", COUNT, read_count, 0},
		  {"pagination[cursor]", CURSOR, read_cursor, 0},
		  {"count", PLAIN_COUNT, read_plain_count, 0},
		  {"cursor", PLAIN_CURSOR, read_cursor, 0},
		  {"resourceType", RESOURCE_TYPE, read_resource_type, 0},
		  {"functionId", FUNCTION, read_function, 0},
		  {"include", INCLUDE, read_include, 0},
		  {"collection", COLLECTION, read_collection, 0},
		  {"sortBy", SORT_BY, read_sort_by, 0},
		  {"sortDir", SORT_DIR, read_sort_dir, 0},
		  {"destinationConfigId", DESTINATION, read_destination, 0},
		  {"groupBy", GROUP_BY, read_group_by, offsetof(struct query, group_bys)},
		  {"sourceId", SOURCES_GIVEN, read_source, offsetof(struct query, sources)}};

enum { PARAMETERS = sizeof parameters / sizeof *parameters };

/* A list's elements are NAME.0, NAME.1 and so on, in this order.  One element is all that sourceId may have here. */
static bool is_named(struct query *q, const struct parameter *p, const char *name)
{
	unsigned *length = (unsigned *)((char *)q + p->counted);
	char element[64];

	if (!p->counted)
		return strcmp(name, p->name) == 0;
	snprintf(element, sizeof element, "%s.%u", p->name, *length);
	if (strcmp(name, element) != 0 || (p->bit == SOURCES_GIVEN && *length > 0))
		return false;
	++*length;
	return true;
}

static bool read_parameter(struct query *q, const char *text, size_t length)
{
	const char *equals = memchr(text, '=', length);
	size_t name_length = equals ? (size_t)(equals - text) : length, i;
	char name[64], value[256];

	if (!decode(text, name_length, "[]", name, sizeof name) ||
	    (equals && !decode(equals + 1, length - name_length - 1, ":,@!$'()*", value, sizeof value)))
		return refuse(q, 400, "bad-request", NULL, "A query parameter is not percent-encoded");
	for (i = 0; i < PARAMETERS; i++) {
		const struct parameter *p = &parameters[i];
		if (!(q->operation->takes & p->bit) || !is_named(q, p, name))
			continue;
		if (q->given & p->bit && !p->counted)
			return refuse(q, 400, "bad-request", p->name, "\"%s\" is given twice", p->name);
		q->given |= p->bit;
		return equals && value[0] ? p->read(q, value) : invalid(q, p->name, "is not allowed to be empty");
	}
	return refuse(q, 422, "input-validation", NULL, "\"%s\" is not allowed", name);
}

/* ---- Cursors and pages ---- */

enum { CURSOR_SIZE = 13 };

/* Which of an operation's lists is meant. */
static uint64_t list_of(const struct query *q)
{
	return q->parent ^ (uint64_t)q->second << 24 ^ (uint64_t)q->choice << 48;
}

/* The base64 text of 8 bytes: the offset of the page's first row, and a hash over all that the client must repeat with
 * the cursor.  So a cursor of another list, of other parameters or of nobody's making is found out; it ends in '='. */
static void write_cursor(const struct query *q, size_t offset, bool empty_page, char out[CURSOR_SIZE])
{
	static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint64_t hash = mix_text(seed_of(q->operation->thing, list_of(q)), q->operation->path), bits;
	size_t i;

	hash = mix(hash ^ (uint64_t)q->page_rows);
	hash = mix(hash ^ (uint64_t)q->period);
	hash = mix(hash ^ (uint64_t)q->start_us);
	hash = mix(hash ^ (uint64_t)q->end_us);
	hash = mix(hash ^ (uint64_t)offset ^ ((uint64_t)empty_page << 32));
	bits = (uint64_t)offset << 32 | (hash & UINT32_MAX);
	for (i = 0; i < 10; i++)
		out[i] = base64[bits >> (58 - 6 * i) & 63];
	out[10] = base64[bits << 2 & 63];
	out[11] = '=';
	out[12] = '\0';
}

/* Where the cursor points: the offset stands in its first six characters, the rest must be as we would write it. */
static bool find_page(struct query *q)
{
	char right[CURSOR_SIZE];
	size_t i, offset = 0;
	int flag;

	if (!(q->given & (CURSOR | PLAIN_CURSOR)))
		return true;
	for (i = 0; i < 6 && q->cursor[i]; i++) {
		char c = q->cursor[i];
		int value = c >= 'a' ? c - 'a' + 26 : c >= 'A' ? c - 'A' : c >= '0' ? c - '0' + 52 : c == '+' ? 62 : 63;
		offset = offset << 6 | ((size_t)value & 63);
	}
	q->offset = offset >> 4;
	for (flag = 0; flag < 2; flag++) {
		write_cursor(q, q->offset, flag, right);
		q->empty_page = flag;
		if (strcmp(right, q->cursor) == 0)
			return true;
	}
	return refuse(q, 400, "bad-request", "pagination.cursor", "Invalid cursor");
}

static void put_cursor(struct writer *w, const struct query *q, const char *name, size_t offset, bool empty_page)
{
	char cursor[CURSOR_SIZE];

	write_cursor(q, offset, empty_page, cursor);
	put_member(w, name);
	put_format(w->out, "\"%s\"", cursor);
}

static void put_null(struct writer *w, const char *name)
{
	put_member(w, name);
	put_text(w->out, "null");
}

/* Some pages are announced twice: first an empty one, whose `next` is the page itself. */
static void put_pagination(struct writer *w, const struct query *q, size_t count, size_t here)
{
	size_t rows = (size_t)q->page_rows, next = q->offset + here;
	bool empty_next = !q->empty_page && dice(&w->dice, 8) == 0;

	put_member(w, "pagination");
	open_value(w, '{');
	if (dice(&w->dice, 3)) {
		put_member(w, "totalEntries");
		put_format(w->out, "%zu", count);
	}
	put_cursor(w, q, "current", q->offset, q->empty_page);
	if (q->loop)
		put_cursor(w, q, "next", q->offset, q->empty_page);
	else if (next < count)
		put_cursor(w, q, "next", next, empty_next);
	else if (dice(&w->dice, 2))
		put_null(w, "next");
	if (q->offset >= rows)
		put_cursor(w, q, "previous", q->offset - rows, false);
	else if (dice(&w->dice, 2))
		put_null(w, "previous");
	close_value(w, '}');
}

/* included: with the first field of a model whose operation takes `include`. */
static void put_row(struct writer *w, const struct row *row, const struct operation *o, bool included)
{
	w->row = row;
	w->dice = row->seed;
	if (o->flags & TEXTS)
		put_scalar(w, o->model, row->n);
	else
		put_object(w, o->model + (o->takes & INCLUDE && !included), row->n);
}

/* Members of "data" that no row has. */
static void put_aside(struct writer *w, const struct query *q)
{
	char id[ID_SIZE];

	switch (q->operation->thing) {
	case SOURCES:
		make_id(id, SOURCES, q->parent);
		put_member(w, "sourceId");
		put_format(w->out, "\"%s\"", id);
		break;
	case VOLUME:
		put_member(w, "path");
		put_text(w->out, "\"/observability/event_volume/v2.json\"");
		put_member(w, "query");
		put_text(w->out, "{\"workspaceId\":\"w\",\"granularity\":\"DAY\",\"limit\":5000}");
		break;
	default:
		put_member(w, "total");
		put_text(w->out, "218");
		break;
	}
}

static void put_rows(struct writer *w, const struct query *q, size_t here)
{
	const struct operation *o = q->operation;
	struct writer aside = *w;
	struct row row;
	size_t i;

	put_member(w, o->data_key);
	aside.first = true;
	if (!(o->flags & ONE_OBJECT))
		open_value(&aside, '[');
	for (i = q->offset; i < q->offset + here; i++) {
		if (!(o->flags & ONE_OBJECT))
			next_item(&aside);
		o->row(q, i, &row);
		put_row(&aside, &row, o, q->given & INCLUDE);
	}
	if (!(o->flags & ONE_OBJECT))
		close_value(&aside, ']');
}

/* {"data": {KEY: rows, "pagination": {...}}}, the two members in either order. */
static void put_page(struct text *out, const struct query *q)
{
	const struct operation *o = q->operation;
	size_t count = o->count(q), here = q->empty_page ? 0 : smaller(count - q->offset, (size_t)q->page_rows);
	struct writer w = {.out = out, .first = true};
	bool pagination_first, alone;

	w.dice = w.spacing = mix_text(mix(seed_of(o->thing, list_of(q)) ^ q->offset ^ (uint64_t)q->period), o->path);
	w.layout = is_large() ? COMPACT : (enum layout)dice(&w.dice, LAYOUTS);
	pagination_first = dice(&w.dice, 2);
	alone = o->flags & (ONE_OBJECT | UNPAGED) ||
		(o->flags & PAGINATION_OPTIONAL && here == count && dice(&w.dice, 2));
	open_value(&w, '{');
	put_member(&w, "data");
	open_value(&w, '{');
	if (!alone && pagination_first)
		put_pagination(&w, q, count, here);
	if (o->flags & ASIDE)
		put_aside(&w, q);
	put_rows(&w, q, here);
	if (!alone && !pagination_first)
		put_pagination(&w, q, count, here);
	close_value(&w, '}');
	close_value(&w, '}');
	if (w.layout != COMPACT)
		put_byte(out, '\n');
}

/* ---- Requests ---- */

/* A request's head, cut into strings where it lies. */
struct request {
	char *method, *target;
	const char *authorization, *accept, *agent;
	bool host, close, body, gzip;
};

static bool read_field(struct request *r, char *line)
{
	char *colon = strchr(line, ':'), *value, *end;

	if (!colon || colon == line || strcspn(line, " \t") < (size_t)(colon - line))
		return false;
	*colon = '\0';
	value = colon + 1 + strspn(colon + 1, " \t");
	for (end = value + strlen(value); end > value && (end[-1] == ' ' || end[-1] == '\t'); end--)
		end[-1] = '\0';
	if (strcasecmp(line, "Authorization") == 0)
		r->authorization = value;
	else if (strcasecmp(line, "Accept") == 0)
		r->accept = value;
	else if (strcasecmp(line, "Accept-Encoding") == 0)
		r->gzip = strcasecmp(value, "gzip") == 0 || strncasecmp(value, "gzip,", 5) == 0 ||
			  strstr(value, ", gzip");
	else if (strcasecmp(line, "User-Agent") == 0)
		r->agent = value;
	else if (strcasecmp(line, "Host") == 0)
		r->host = *value != '\0';
	else if (strcasecmp(line, "Connection") == 0)
		r->close = strcasecmp(value, "close") == 0;
	else if (strcasecmp(line, "Content-Length") == 0 || strcasecmp(line, "Transfer-Encoding") == 0)
		r->body = true;
	return true;
}

/* RFC 9112, section 3; text holds lines that end in CRLF, and is written to.  A request with a body is none of ours. */
static bool read_request(struct request *r, char *text)
{
	char *line = text, *end = strstr(text, "\r\n"), *version;

	*r = (struct request){0};
	*end = '\0';
	r->method = line;
	r->target = strchr(line, ' ');
	version = r->target ? strchr(r->target + 1, ' ') : NULL;
	if (!version || strcmp(version, " HTTP/1.1") != 0 || r->target[1] != '/')
		return false;
	*r->target++ = '\0';
	*version = '\0';
	while ((line = end + 2, end = strstr(line, "\r\n"))) {
		*end = '\0';
		if (!read_field(r, line))
			return false;
	}
	return r->host && !r->body;
}

/* Looks up what stands for a {} of the path.  An unknown id is a 404 in the API's words. */
static void read_id(struct query *q, enum thing t, const char *text, size_t length, size_t *n)
{
	char id[128];

	if (q->status != 200)
		return;
	if (!decode(text, length, ":@!$&'()*+,;=", id, sizeof id))
		refuse(q, 400, "bad-request", NULL, "The path is not percent-encoded");
	else if (!find_id(t, id, n))
		refuse(q, 404, "not-found", NULL, "%c%s with id '%.40s' not found.", toupper(*things[t].name),
		       things[t].name + 1, id);
}

/* Does the path fit the operation's?  A {} is any one segment of it. */
static bool match_path(struct query *q, const struct operation *o, const char *path, size_t length)
{
	const char *pattern = o->path, *end = path + length, *ids[2];
	size_t lengths[2], count = 0;

	while (*pattern) {
		if (*pattern == '{') {
			ids[count] = path;
			for (; path < end && *path != '/'; path++)
				;
			lengths[count] = (size_t)(path - ids[count]);
			count++;
			pattern += 2;
		} else if (path == end || *path++ != *pattern++) {
			return false;
		}
	}
	if (path < end)
		return false;
	if (count > 0)
		read_id(q, o->parent, ids[0], lengths[0], &q->parent);
	if (count > 1)
		read_id(q, o->special.second, ids[1], lengths[1], &q->second);
	return true;
}

static bool accepts(const struct operation *o, const char *accept)
{
	static const char prefix[] = "application/vnd.segment.", suffix[] = "+json";
	const char *stage, *s;
	size_t length;

	if (!accept || strcmp(accept, "application/json") == 0)
		return accept;
	if (strncmp(accept, prefix, sizeof prefix - 1) != 0)
		return false;
	stage = accept + sizeof prefix - 1;
	length = strcspn(stage, "+");
	if (strcmp(stage + length, suffix) != 0 || length == 0)
		return false;
	for (s = o->stages; *s; s += strcspn(s, " "), s += *s == ' ')
		if (strcspn(s, " ") == length && memcmp(s, stage, length) == 0)
			return true;
	return false;
}

static bool read_parameters(struct query *q, const char *text)
{
	size_t i, length;

	for (; *text; text += length, text += *text == '&') {
		length = strcspn(text, "&");
		if (!read_parameter(q, text, length))
			return false;
	}
	for (i = 0; i < PARAMETERS; i++)
		if (q->operation->needs & ~q->given & parameters[i].bit)
			return invalid(q, parameters[i].name, "is required");
	if (q->operation->special.check && !q->operation->special.check(q))
		return false;
	if (q->operation->flags & UNPAGED)
		q->page_rows = INT32_MAX;
	return q->operation->flags & ONE_OBJECT || find_page(q);
}

/* The checks, in the API's likely order: who, what, in which form, with which parameters. */
static bool understand(struct query *q, const struct request *r)
{
	size_t length = strcspn(r->target, "?"), i;

	*q = (struct query){.page_rows = 200, .start_us = INT64_MIN, .end_us = INT64_MAX, .status = 200};
	if (strcmp(r->method, "GET") != 0)
		return refuse(q, 405, "method-not-allowed", NULL, "Only GET is known here");
	if (!r->authorization || strncmp(r->authorization, "Bearer ", 7) != 0 ||
	    strcmp(r->authorization + 7, options.token) != 0)
		return refuse(q, 401, "unauthorized", NULL, "Invalid token");
	for (i = 0; i < OPERATIONS && !match_path(q, &operations[i], r->target, length); i++)
		;
	if (i == OPERATIONS)
		return refuse(q, 404, "NotFound", NULL, "Resource not found");
	q->operation = &operations[i];
	if (q->operation->takes & PLAIN_COUNT)
		q->page_rows = 10;
	if (q->status != 200)
		return false;
	if (!accepts(q->operation, r->accept))
		return refuse(q, 406, "not-acceptable", NULL, "Accept must name one of: %s", q->operation->stages);
	return read_parameters(q, r->target + length + (r->target[length] == '?'));
}

/* ---- Faults ---- */

enum answer { GOOD, ERROR, RAW, BAD_FRAMING, SILENCE };
enum framing { LENGTH, CHUNKS, UNTIL_CLOSE };
enum cut { WHOLE, BEFORE_HEAD, IN_HEAD, IN_BODY };
enum spoilt { SOUND, SHORT, WRONG_CRC, WRONG_LENGTH, GARBAGE, WRONG_BLOCK, BOMB, TWO_MEMBERS };
enum finish { KEEP, NOTIFY, BARE, RESET }; /* what follows the answer: nothing, close_notify and FIN, FIN, RST */

/* In headers and body %n is the rule's number, %d %r %a %j are dates that many seconds from now (RFC 9110's three forms
 * and JavaScript's), %k is the operation's data key. */
struct fault {
	const char *name, *about;
	const char *headers; /* RAW: the answer; else more lines of the head */
	const char *body;    /* ERROR: instead of the usual one; RAW: repeated for ever */
	enum answer answer;
	int status; /* of ERROR */
	enum framing framing;
	enum cut cut;
	enum finish finish;
	enum spoilt spoilt; /* of an answer in gzip; one in none is good */
	const char *coding; /* what it is called; NULL: gzip */
	bool hidden;        /* the closing is not announced */
	bool drip, half, loop;
	int64_t number; /* where the rule gives none */
};

#define OK   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define PAGE "{\"data\":{}}" /* 11 bytes */
#define HTML "<html><head><title>Bad Gateway</title></head><body>nginx</body></html>\n"
#define LIMITED                                                                                                      \
	"{\"errors\":[{\"type\":\"RequestError\",\"message\":\"Too many requests\",\"data\":{\"remainingPoints\":0," \
	"\"msBeforeNext\":%n,\"consumedPoints\":21}}]}"

/* clang-format off */
static const struct fault faults[] = {
	{"reset-before-head", "RST instead of an answer", .cut = BEFORE_HEAD, .finish = RESET},
	{"reset-in-head", "RST after half of the head", .cut = IN_HEAD, .finish = RESET},
	{"reset-in-body", "RST after half of the body", .cut = IN_BODY, .finish = RESET},
	{"cut-before-head", "end without close_notify instead of an answer", .cut = BEFORE_HEAD, .finish = BARE},
	{"cut-in-head", "end without close_notify in the head", .cut = IN_HEAD, .finish = BARE},
	{"cut", "end without close_notify in the body", .cut = IN_BODY, .finish = BARE},
	{"cut-notify", "close_notify in the body", .cut = IN_BODY, .finish = NOTIFY},
	{"chunked-cut", "close_notify in a chunked body", .framing = CHUNKS, .cut = IN_BODY, .finish = NOTIFY},
	{"until-cut", "a body without length, half of it, no close_notify", .framing = UNTIL_CLOSE, .cut = IN_BODY,
	 .finish = BARE},
	{"drip", "a byte every N ms; 100", .drip = true, .number = 100},
	{"stall", "no answer, ever", .answer = SILENCE},

	{"301", "to another host", .answer = ERROR, .status = 301, .headers = "Location: https://example.com/\r\n"},
	{"400", "in the API's form", .answer = ERROR, .status = 400},
	{"401", "", .answer = ERROR, .status = 401},
	{"403", "", .answer = ERROR, .status = 403},
	{"404", "", .answer = ERROR, .status = 404},
	{"408", "", .answer = ERROR, .status = 408, .finish = NOTIFY},
	{"422", "", .answer = ERROR, .status = 422},
	{"425", "", .answer = ERROR, .status = 425},
	{"429", "without a word on how long", .answer = ERROR, .status = 429},
	{"429-after", "Retry-After: N; 1", .answer = ERROR, .status = 429, .headers = "Retry-After: %n\r\n",
	 .number = 1},
	{"429-date", "Retry-After: a date, N s from now; 1", .answer = ERROR, .status = 429,
	 .headers = "Retry-After: %d\r\n", .number = 1},
	{"429-rfc850", "the same in RFC 850's form", .answer = ERROR, .status = 429, .headers = "Retry-After: %r\r\n",
	 .number = 1},
	{"429-asctime", "the same as asctime writes it", .answer = ERROR, .status = 429,
	 .headers = "Retry-After: %a\r\n", .number = 1},
	{"429-body", "msBeforeNext: N; 1000", .answer = ERROR, .status = 429, .body = LIMITED, .number = 1000},
	{"429-reset", "X-RateLimit-Reset: a date, N s from now; 1", .answer = ERROR, .status = 429,
	 .headers = "X-RateLimit-Reset: %d\r\n", .number = 1},
	{"429-js", "the same as JavaScript writes it", .answer = ERROR, .status = 429,
	 .headers = "X-RateLimit-Reset: %j\r\n", .number = 1},
	{"429-junk", "a Retry-After that is none", .answer = ERROR, .status = 429, .headers = "Retry-After: soon\r\n"},
	{"remaining-0", "a good answer: no request left until N s from now; 1",
	 .headers = "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: %d\r\n", .number = 1},
	{"500", "", .answer = ERROR, .status = 500},
	{"500-empty", "no body", .answer = ERROR, .status = 500, .body = ""},
	{"502", "", .answer = ERROR, .status = 502},
	{"502-html", "a proxy's page", .answer = ERROR, .status = 502, .body = HTML,
	 .headers = "Content-Type: text/html\r\n"},
	{"503", "", .answer = ERROR, .status = 503},
	{"503-empty", "no body", .answer = ERROR, .status = 503, .body = ""},

	{"bad-framing", "one of the next, in turn", .answer = BAD_FRAMING, .finish = NOTIFY},
	{"bad-length", "a length that is no number", .answer = RAW, .finish = NOTIFY,
	 .headers = OK "Content-Length: 11x\r\n\r\n" PAGE},
	{"two-lengths", "that differ", .answer = RAW, .finish = NOTIFY,
	 .headers = OK "Content-Length: 11\r\nContent-Length: 12\r\n\r\n" PAGE},
	{"huge-length", "beyond 64 bits", .answer = RAW, .finish = NOTIFY,
	 .headers = OK "Content-Length: 99999999999999999999999\r\n\r\n" PAGE},
	{"length-and-chunks", "both", .answer = RAW, .finish = NOTIFY,
	 .headers = OK "Content-Length: 11\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n" PAGE "\r\n0\r\n\r\n"},
	{"bad-chunk", "a size that is no number", .answer = RAW, .finish = NOTIFY,
	 .headers = OK "Transfer-Encoding: chunked\r\n\r\nxyz\r\n" PAGE "\r\n0\r\n\r\n"},
	{"long-chunk", "longer than its size", .answer = RAW, .finish = NOTIFY,
	 .headers = OK "Transfer-Encoding: chunked\r\n\r\n5\r\n" PAGE "\r\n0\r\n\r\n"},
	{"bare-lf-chunk", "LF alone after the size", .answer = RAW, .finish = NOTIFY,
	 .headers = OK "Transfer-Encoding: chunked\r\n\r\nb\n" PAGE "\r\n0\r\n\r\n"},
	{"obs-fold", "a folded header line", .answer = RAW, .finish = NOTIFY,
	 .headers = OK "X-Long: a\r\n b\r\nContent-Length: 11\r\n\r\n" PAGE},
	{"space-before-colon", "", .answer = RAW, .finish = NOTIFY, .headers = OK "Content-Length : 11\r\n\r\n" PAGE},
	{"bad-status-line", "", .answer = RAW, .finish = NOTIFY,
	 .headers = "HTTP/1.1 2OO OK\r\nContent-Length: 11\r\n\r\n" PAGE},
	{"not-http", "", .answer = RAW, .finish = NOTIFY, .headers = "SSH-2.0-OpenSSH_9.2\r\n"},
	{"unknown-coding", "Transfer-Encoding: br", .answer = RAW, .finish = NOTIFY,
	 .headers = OK "Transfer-Encoding: br, chunked\r\n\r\nb\r\n" PAGE "\r\n0\r\n\r\n"},
	{"gzip", "an answer that says it is in gzip", .headers = "Content-Encoding: gzip\r\n"},
	{"gzip-cut", "in gzip that lacks its last bytes", .spoilt = SHORT},
	{"gzip-crc", "in gzip with a wrong CRC", .spoilt = WRONG_CRC},
	{"gzip-length", "in gzip with a wrong length", .spoilt = WRONG_LENGTH},
	{"gzip-garbage", "in gzip with something behind it", .spoilt = GARBAGE},
	{"gzip-block", "in gzip with a block of no known type", .spoilt = WRONG_BLOCK},
	{"gzip-bomb", "in gzip: 80 KB that say 80 MB", .spoilt = BOMB},
	{"gzip-br", "in gzip that is called br", .coding = "br"},
	{"gzip-cut-chunked", "in chunks, and the gzip lacks its last bytes", .framing = CHUNKS, .spoilt = SHORT},

	{"bad-json", "a body that is no JSON", .answer = ERROR, .status = 200,
	 .body = "{\"data\":{\"%k\":[{\"id\":\"a\"},{\"id\":}]}}"},
	{"half-json", "half of the page, with the right length for that", .half = true},
	{"empty-body", "200 with no byte", .answer = ERROR, .status = 200, .body = ""},
	{"html", "200 with a page for people", .answer = ERROR, .status = 200, .body = HTML,
	 .headers = "Content-Type: text/html\r\n"},
	{"wrong-shape", "rows under another name", .answer = ERROR, .status = 200,
	 .body = "{\"data\":{\"rows\":[{\"id\":\"a\"}],\"pagination\":{\"current\":\"MA==\"}}}"},
	{"wrong-rows", "a row that is no object", .answer = ERROR, .status = 200,
	 .body = "{\"data\":{\"%k\":[{\"id\":\"a\"},1],\"pagination\":{\"current\":\"MA==\"}}}"},
	{"no-key", "a row without its key", .answer = ERROR, .status = 200,
	 .body = "{\"data\":{\"%k\":[{\"aFieldOfTomorrow\":1}],\"pagination\":{\"current\":\"MA==\"}}}"},
	{"no-data", "an empty object", .answer = ERROR, .status = 200, .body = "{}"},
	{"loop-cursor", "next is the page itself", .loop = true},

	{"close", "a good answer, then close, as announced", .finish = NOTIFY},
	{"close-keepalive", "a good answer, then close, unannounced", .finish = NOTIFY, .hidden = true},
	{"until-close", "a good answer without a length", .framing = UNTIL_CLOSE, .finish = NOTIFY},
	{"gzip-members", "a good answer, in two members", .spoilt = TWO_MEMBERS},
	{"x-gzip", "a good answer, its gzip under the old name", .coding = "x-gzip"},
	{"until-close-gzip", "", .framing = UNTIL_CLOSE, .finish = NOTIFY, .coding = "GZIP"},
	{"chunked", "a good answer in chunks of odd sizes, with extensions and a trailer", .framing = CHUNKS},
	{"early-hints", "103 before a good answer",
	 .headers = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"},

	{"endless-head", "", .answer = RAW, .headers = OK, .body = "X-Filler: and so on\r\n"},
	{"endless-1xx", "", .answer = RAW, .headers = "",
	 .body = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"},
	{"endless-body", "", .answer = RAW, .headers = OK "\r\n",
	 .body = "and so on, and so on, and so on, and so on, and so on, and so on\n"},
	{"endless-chunks", "", .answer = RAW, .headers = OK "Transfer-Encoding: chunked\r\n\r\n",
	 .body = "10\r\n0123456789abcdef\r\n"},
	{"endless-trailer", "", .answer = RAW,
	 .headers = OK "Transfer-Encoding: chunked\r\n\r\nb\r\n" PAGE "\r\n0\r\n", .body = "X-Filler: and so on\r\n"}};
/* clang-format on */

enum { FAULTS = sizeof faults / sizeof *faults };

static const struct fault no_fault = {"-", "", .finish = KEEP};

/* WHERE:KIND[=N][:TIMES] of the command line. */
struct rule {
	char where[256];
	const struct fault *fault;
	int64_t index;         /* of a request, from 1; 0: where is a glob */
	int64_t number, times; /* times left; -1: always */
};

static struct rule rules[RULE_LIMIT];
static size_t rule_count;

static const struct fault *find_fault(const char *name, size_t length)
{
	size_t i;

	for (i = 0; i < FAULTS; i++)
		if (strlen(faults[i].name) == length && memcmp(faults[i].name, name, length) == 0)
			return &faults[i];
	return NULL;
}

/* KIND or KIND=N. */
static bool read_kind(struct rule *r, const char *kind)
{
	size_t length = strcspn(kind, "=");

	r->fault = find_fault(kind, length);
	if (!r->fault)
		return false;
	r->number = r->fault->number;
	return !kind[length] || read_number(kind + length + 1, INT32_MAX, &r->number);
}

/* Read from the right, for a glob may hold colons, and 429 may be a kind or the number of times. */
static bool add_rule(const char *text)
{
	struct rule *r = &rules[rule_count];
	char *last, *kind;

	if (rule_count == RULE_LIMIT || strlen(text) >= sizeof r->where)
		return false;
	*r = (struct rule){.times = -1};
	strcpy(r->where, text);
	last = strrchr(r->where, ':');
	if (!last)
		return false;
	*last = '\0';
	kind = strrchr(r->where, ':');
	if (kind && read_kind(r, kind + 1) && read_number(last + 1, INT32_MAX, &r->times)) {
		*kind = '\0';
	} else {
		r->times = -1;
		if (!read_kind(r, last + 1))
			return false;
	}
	if (!read_number(r->where, INT32_MAX, &r->index))
		r->index = 0;
	rule_count++;
	return true;
}

/* The rule for this request, if there is one; uses up one of its times. */
static const struct rule *find_rule(const char *target, int64_t index)
{
	size_t i;

	for (i = 0; i < rule_count; i++) {
		struct rule *r = &rules[i];
		char path[256];
		snprintf(path, sizeof path, "%.*s", (int)strcspn(target, "?"), target);
		if (r->times == 0 || (r->index != 0 && r->index != index))
			continue;
		if (r->index == 0 && fnmatch(r->where, target, 0) != 0 && fnmatch(r->where, path, 0) != 0)
			continue;
		r->times -= r->times > 0;
		return r;
	}
	return NULL;
}

/* ---- Answers ---- */

static const struct problem {
	int status;
	const char *reason, *type, *message;
} problems[] = {{200, "OK", "", ""},
		{301, "Moved Permanently", "moved", "Moved"},
		{400, "Bad Request", "bad-request", "Bad request"},
		{401, "Unauthorized", "unauthorized", "Invalid token"},
		{403, "Forbidden", "forbidden", "Access denied"},
		{404, "Not Found", "NotFound", "Resource not found"},
		{405, "Method Not Allowed", "", ""},
		{406, "Not Acceptable", "", ""},
		{408, "Request Timeout", "timeout", "Request timeout"},
		{422, "Unprocessable Entity", "ValidationFailure", "Validation failure"},
		{425, "Too Early", "too-early", "Too early"},
		{429, "Too Many Requests", "RateLimited", "Rate limit exceeded"},
		{431, "Request Header Fields Too Large", "", ""},
		{500, "Internal Server Error", "InternalError", "Internal server error"},
		{502, "Bad Gateway", "BadGateway", "Bad gateway"},
		{503, "Service Unavailable", "Unavailable", "Service unavailable"}};

static const struct problem *problem_of(int status)
{
	size_t i = 0;

	while (problems[i].status != status)
		i++;
	return &problems[i];
}

/* A message may quote what the client sent. */
static void put_escaped(struct text *t, const char *s)
{
	put_byte(t, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			put_byte(t, '\\');
		put_byte(t, (unsigned char)*s < 0x20 || (unsigned char)*s > 0x7e ? '?' : *s);
	}
	put_byte(t, '"');
}

static void put_error(struct text *body, const char *type, const char *message, const char *field)
{
	put_format(body, "{\"errors\":[{\"type\":\"%s\",\"message\":", type);
	put_escaped(body, message);
	if (field)
		put_format(body, ",\"field\":\"%s\"", field);
	put_text(body, "}]}");
}

static void put_filled(struct text *t, const char *pattern, int64_t number, const char *key)
{
	for (; *pattern; pattern++) {
		if (*pattern != '%')
			put_byte(t, *pattern);
		else if (*++pattern == 'n')
			put_format(t, "%" PRId64, number);
		else if (*pattern == 'k')
			put_text(t, key);
		else
			put_date(t, now_us() + number * SECOND, *pattern);
	}
}

/* What the server has to say in return to one request, and how. */
struct reply {
	const struct fault *fault;
	int64_t number; /* of the rule */
	int64_t index;  /* of the request, from 1 */
	int status;
	enum finish finish;
	bool gzip; /* the client takes it */
};

static void put_body(struct text *body, const struct reply *r, const struct query *q)
{
	const struct fault *f = r->fault;
	const struct problem *p = problem_of(r->status);

	if (f->answer == ERROR && f->body)
		put_filled(body, f->body, r->number, q->operation ? q->operation->data_key : "data");
	else if (f->answer == ERROR)
		put_error(body, p->type, p->message, NULL);
	else if (q->status == 200)
		put_page(body, q);
	else if (q->status == 429)
		put_filled(body, LIMITED, q->reset_ms, "");
	else
		put_error(body, q->type, q->message, q->field);
	if (f->half)
		body->length /= 2;
}

/* Each spoilt gzip once was a good one. */
static void spoil_gzip(struct text *gzip, enum spoilt spoilt)
{
	char *end = gzip->bytes + gzip->length;

	switch (spoilt) {
	case SHORT: gzip->length -= 9; break;
	case WRONG_CRC: end[-8] ^= 1; break;
	case WRONG_LENGTH: end[-4] ^= 1; break;
	case GARBAGE: put(gzip, "\0\0", 2); break;
	case WRONG_BLOCK: gzip->bytes[10] |= 6; break;
	case BOMB:
	case TWO_MEMBERS:
	case SOUND: break;
	}
}

/* In place of the body; true if it is one in gzip then.  What an answer says in its head is left to it. */
static bool encode_body(struct text *body, const struct reply *r)
{
	enum { BOMB_SIZE = 80000000 };
	const struct fault *f = r->fault;
	struct text gzip = {0};
	size_t first;

	if (!r->gzip || body->length == 0 || (f->headers && strstr(f->headers, "Content-Encoding:")))
		return false;
	if (f->spoilt == BOMB) {
		free(body->bytes);
		body->bytes = calloc(BOMB_SIZE, 1);
		body->length = body->capacity = BOMB_SIZE;
		if (!body->bytes)
			die("no memory", "bomb");
	}
	first = f->spoilt == TWO_MEMBERS ? body->length / 2 : 0;
	if (first > 0)
		put_gzip_member(&gzip, body->bytes, first, 0);
	put_gzip_member(&gzip, body->bytes + first, body->length - first,
			f->spoilt == SOUND && r->index % 4 == 0 ? smaller(body->length, 100) : 0);
	spoil_gzip(&gzip, f->spoilt);
	free(body->bytes);
	*body = gzip;
	return true;
}

static void put_date_line(struct text *out, const char *name, int64_t us)
{
	put_format(out, "%s: ", name);
	put_date(out, us, 'd');
	put_text(out, "\r\n");
}

/* With --minute: the requests of each operation that has a documented limit, in windows of a minute from the first one
 * on.  The one over the limit is refused. */
static bool count_request(struct query *q)
{
	static struct {
		int64_t start_ms, used;
	} windows_used[OPERATIONS];
	size_t i = (size_t)(q->operation - operations);
	int64_t now = now_ms();

	q->limit = options.minute_ms > 0 ? q->operation->special.limit : 0;
	if (q->limit == 0)
		return true;
	if (windows_used[i].used == 0 || now >= windows_used[i].start_ms + options.minute_ms) {
		windows_used[i].start_ms = now;
		windows_used[i].used = 0;
	}
	q->used = ++windows_used[i].used;
	q->reset_ms = windows_used[i].start_ms + options.minute_ms - now;
	return q->used <= q->limit || refuse(q, 429, "RateLimited", NULL, "Rate limit exceeded");
}

/* What the API says of a limit that is documented for the operation, in answers of 200 and 429. */
static void put_limit(struct text *out, const struct query *q)
{
	int64_t seconds = (q->reset_ms + 999) / 1000, left = q->used < q->limit ? q->limit - q->used : 0;

	put_format(out, "X-RateLimit-Consumed: %" PRId64 "\r\nX-RateLimit-Remaining: %" PRId64 "\r\n", q->used, left);
	put_date_line(out, "X-RateLimit-Reset", now_us() + q->reset_ms * 1000);
	if (q->used > q->limit)
		put_format(out, "Retry-After: %" PRId64 "\r\n", seconds);
}

/* The rate limit is a minute's window with 1000 requests.  It is never used up: that is a fault of its own. */
static void put_head(struct text *out, const struct reply *r, const struct query *q, size_t length, bool gzip)
{
	static const char *const types[] = {"application/json", "application/vnd.segment.v1+json",
					    "application/json; charset=utf-8"};
	const struct fault *f = r->fault;
	const char *extra = f->headers ? f->headers : "";
	bool hints = strncmp(extra, "HTTP/", 5) == 0;

	put_format(out, "%sHTTP/1.1 %d %s\r\n", hints ? extra : "", r->status, problem_of(r->status)->reason);
	put_date_line(out, "Date", now_us());
	if (!strstr(extra, "Content-Type:"))
		put_format(out, "Content-Type: %s\r\n", types[r->index % 3]);
	if (q->limit > 0 && r->status == q->status && !strstr(extra, "X-RateLimit-")) {
		put_limit(out, q);
	} else if (q->status == 200 && r->status == 200 && !strstr(extra, "X-RateLimit-")) {
		int used = (int)(r->index % 600) + 1;
		put_format(out, "X-RateLimit-Consumed: %d\r\nX-RateLimit-Remaining: %d\r\n", used, 1000 - used);
		put_date_line(out, "X-RateLimit-Reset", now_us() + 60 * SECOND);
	}
	if (f->framing == LENGTH)
		put_format(out, "Content-Length: %zu\r\n", length);
	else if (f->framing == CHUNKS)
		put_text(out, "Transfer-Encoding: chunked\r\n");
	if (gzip)
		put_format(out, "Content-Encoding: %s\r\n", f->coding ? f->coding : "gzip");
	if (r->status == 405)
		put_text(out, "Allow: GET\r\n");
	if (!hints)
		put_filled(out, extra, r->number, "");
	if (r->finish != KEEP && !f->hidden && (f->cut == WHOLE || f->framing == UNTIL_CLOSE))
		put_text(out, "Connection: close\r\n");
	put_text(out, "\r\n");
}

/* RFC 9112, section 7.1, with extensions and a trailer; sizes grow as Fibonacci's numbers. */
static void put_chunks(struct text *out, const char *bytes, size_t length)
{
	size_t size = 1, before = 0, n;

	for (; length > 0; bytes += n, length -= n) {
		n = smaller(size, length);
		put_format(out, n % 2 ? "%zX\r\n" : "%04zx;a=\"b;c\"\r\n", n);
		put(out, bytes, n);
		put_text(out, "\r\n");
		size += before;
		before = size - before;
	}
	put_text(out, "0\r\nX-Checked: yes\r\n\r\n");
}

/* The whole answer as bytes, or as many of them as the fault lets through. */
static void put_reply(struct text *out, const struct reply *r, const struct query *q)
{
	const struct fault *f = r->fault;
	struct text body = {0};
	size_t head;
	bool gzip;

	if (f->answer == SILENCE)
		return;
	if (f->answer == RAW) {
		put_text(out, f->headers);
		return;
	}
	put_body(&body, r, q);
	gzip = encode_body(&body, r);
	put_head(out, r, q, body.length, gzip);
	head = out->length;
	if (f->framing == CHUNKS)
		put_chunks(out, body.bytes, body.length);
	else if (body.length > 0)
		put(out, body.bytes, body.length);
	free(body.bytes);
	if (f->cut == BEFORE_HEAD)
		out->length = 0;
	else if (f->cut == IN_HEAD)
		out->length = head / 2;
	else if (f->cut == IN_BODY)
		out->length = head + (out->length - head) / 2;
}

/* ---- TLS ---- */

static struct {
	br_x509_certificate chain[CHAIN_LIMIT];
	size_t chain_length;
	br_skey_decoder_context key;
	unsigned char sessions[SESSIONS * SESSION_SIZE];
} server;

/* BearSSL's own session cache behind a layer that notes what a handshake was: save is called in full ones only. */
static struct {
	const br_ssl_session_cache_class *vtable;
	br_ssl_session_cache_lru lru;
} cache;

static struct {
	uint64_t connections, full, resumed, requests, open, most_open, sent;
} totals;

/* With --rate: when the line has sent all that it was given.  It takes a little more before that. */
static int64_t line_us;

struct conn {
	br_ssl_server_context tls; /* stays first: the session cache knows the connection by it */
	unsigned char records[BR_SSL_BUFSIZE_BIDI];
	int fd; /* -1: free */
	uint64_t number;
	bool greeted, full; /* the handshake is done; was a full one */
	bool busy;          /* a request is being answered */
	bool parting;       /* close_notify is under way */
	bool eager;         /* step() stopped although more could be done */
	char in[REQUEST_LIMIT + 1];
	size_t in_length;
	struct text out;
	size_t sent;
	const char *again; /* put after out for ever */
	bool silent;       /* no answer */
	int64_t due_ms;    /* the next byte not before */
	int64_t drip_ms;   /* between two bytes; -1: no need */
	int64_t active_ms; /* the last answer's end */
	enum finish finish;
};

static struct conn conns[CONNECTIONS];

static void save_session(const br_ssl_session_cache_class **self, br_ssl_server_context *tls,
			 const br_ssl_session_parameters *session)
{
	(void)self;
	((struct conn *)tls)->full = true;
	cache.lru.vtable->save(&cache.lru.vtable, tls, session);
}

static int load_session(const br_ssl_session_cache_class **self, br_ssl_server_context *tls,
			br_ssl_session_parameters *session)
{
	(void)self;
	return options.no_resume ? 0 : cache.lru.vtable->load(&cache.lru.vtable, tls, session);
}

static const br_ssl_session_cache_class noting_cache = {sizeof cache, save_session, load_session};

static struct text read_file(const char *name)
{
	struct text t = {0};
	char buffer[4096];
	size_t n;
	FILE *f = fopen(name, "r");

	if (!f)
		die(strerror(errno), name);
	while ((n = fread(buffer, 1, sizeof buffer, f)) > 0)
		put(&t, buffer, n);
	if (ferror(f))
		die("cannot be read", name);
	fclose(f);
	put_byte(&t, '\n'); /* the decoder wants one at the end */
	return t;
}

static void append_bytes(void *t, const void *bytes, size_t n)
{
	put(t, bytes, n);
}

/* The objects of a PEM file, one after the other: each(type, DER). */
static void each_object(const char *name, void (*each)(const char *file, const char *type, struct text *der))
{
	struct text file = read_file(name), der = {0};
	br_pem_decoder_context pem;
	size_t done = 0;

	br_pem_decoder_init(&pem);
	while (done < file.length) {
		done += br_pem_decoder_push(&pem, file.bytes + done, file.length - done);
		switch (br_pem_decoder_event(&pem)) {
		case BR_PEM_BEGIN_OBJ: br_pem_decoder_setdest(&pem, append_bytes, &der); break;
		case BR_PEM_END_OBJ:
			each(name, br_pem_decoder_name(&pem), &der);
			der = (struct text){0};
			break;
		case BR_PEM_ERROR: die("damaged PEM", name);
		}
	}
	free(file.bytes);
	free(der.bytes);
}

/* The chain keeps the bytes. */
static void add_certificate(const char *file, const char *type, struct text *der)
{
	if (strcmp(type, "CERTIFICATE") != 0 || server.chain_length == CHAIN_LIMIT)
		die("not certificates alone, or too many", file);
	server.chain[server.chain_length++] =
		(br_x509_certificate){.data = (unsigned char *)der->bytes, .data_len = der->length};
}

static void add_key(const char *file, const char *type, struct text *der)
{
	if (strstr(type, "PRIVATE KEY")) {
		br_skey_decoder_init(&server.key);
		br_skey_decoder_push(&server.key, der->bytes, der->length);
		if (br_skey_decoder_last_error(&server.key))
			die("not an RSA or EC key", file);
	}
	free(der->bytes);
}

static const struct {
	const char *name;
	unsigned version;
} versions[] = {{"1.0", BR_TLS10}, {"1.1", BR_TLS11}, {"1.2", BR_TLS12}};

static const struct {
	const char *name;
	uint16_t suites[2]; /* for an EC and for an RSA key */
} suite_table[] = {
	{"chacha", {BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256}},
	{"gcm", {BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}},
	{"cbc", {BR_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, BR_TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256}}};

static bool restrict_tls(br_ssl_engine_context *engine)
{
	size_t version = 0, suite = 0;

	while (options.tls && version < 3 && strcmp(versions[version].name, options.tls) != 0)
		version++;
	while (options.suites && suite < 3 && strcmp(suite_table[suite].name, options.suites) != 0)
		suite++;
	if (version == 3 || suite == 3)
		return false;
	if (options.tls)
		br_ssl_engine_set_versions(engine, versions[version].version, versions[version].version);
	if (options.suites)
		br_ssl_engine_set_suites(engine, suite_table[suite].suites, 2);
	return true;
}

static bool start_tls(struct conn *c)
{
	const br_rsa_private_key *rsa = br_skey_decoder_get_rsa(&server.key);

	if (rsa)
		br_ssl_server_init_full_rsa(&c->tls, server.chain, server.chain_length, rsa);
	else
		br_ssl_server_init_full_ec(&c->tls, server.chain, server.chain_length, BR_KEYTYPE_EC,
					   br_skey_decoder_get_ec(&server.key));
	br_ssl_server_set_cache(&c->tls, &cache.vtable);
	br_ssl_engine_set_buffer(&c->tls.eng, c->records, sizeof c->records, 1);
	return restrict_tls(&c->tls.eng) && br_ssl_server_reset(&c->tls);
}

static void set_up_tls(void)
{
	each_object(options.chain, add_certificate);
	each_object(options.key, add_key);
	if (server.chain_length == 0 || br_skey_decoder_key_type(&server.key) == 0)
		die("no certificate, or no key", options.chain);
	br_ssl_session_cache_lru_init(&cache.lru, server.sessions, sizeof server.sessions);
	cache.vtable = &noting_cache;
	if (!start_tls(&conns[0])) /* rather now than when the first connection comes */
		die("not a version, or not a set of suites, or they do not fit", "--tls, --suites");
}

/* ---- Connections ---- */

/* Implementation notes.  A connection is in one of these states, told by its flags:
 *
 *	reading   !busy: bytes gather in `in` until they hold a request; then `out` is filled and it is busy
 *	answering busy: `out` leaves from due_ms on; --latency sets it once, a dripping fault after every byte
 *	parting   its close_notify is on the way; then it is closed
 *
 * step() does whatever can be done without waiting and calls itself done when nothing more moves.  Between TLS and
 * plain connections only three functions differ: receive, transmit and is_flushed.  Every way out of a connection is
 * drop(), at once and with whatever the fault wants the peer to see. */

static void drop(struct conn *c, enum finish finish)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	if (finish == RESET)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(c->fd);
	c->fd = -1;
	free(c->out.bytes);
	c->out = (struct text){0};
	totals.open--;
}

static bool would_wait(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* Moves records between engine and socket.  True if something moved. */
static bool move_records(struct conn *c)
{
	br_ssl_engine_context *engine = &c->tls.eng;
	bool moved = false;
	unsigned char *bytes;
	size_t room;
	ssize_t n;

	while (c->fd >= 0) {
		unsigned state = br_ssl_engine_current_state(engine);
		if (state == BR_SSL_CLOSED) {
			drop(c, BARE);
			return true;
		}
		if (state & BR_SSL_SENDREC) {
			bytes = br_ssl_engine_sendrec_buf(engine, &room);
			n = send(c->fd, bytes, room, MSG_NOSIGNAL);
			if (n > 0)
				br_ssl_engine_sendrec_ack(engine, (size_t)n);
		} else if (state & BR_SSL_RECVREC) {
			bytes = br_ssl_engine_recvrec_buf(engine, &room);
			n = recv(c->fd, bytes, room, 0);
			if (n > 0)
				br_ssl_engine_recvrec_ack(engine, (size_t)n);
		} else {
			return moved;
		}
		if (n < 0 && would_wait())
			return moved;
		if (n <= 0)
			drop(c, BARE);
		moved = true;
	}
	return moved;
}

/* Bytes of requests that have come, into `in`. */
static bool receive(struct conn *c)
{
	size_t room = REQUEST_LIMIT - c->in_length;
	unsigned char *bytes;
	ssize_t n;

	if (c->fd < 0 || room == 0 || c->parting)
		return false;
	if (options.plain) {
		n = recv(c->fd, c->in + c->in_length, room, 0);
		if (n < 0 && would_wait())
			return false;
		if (n <= 0)
			drop(c, BARE);
		c->in_length += n > 0 ? (size_t)n : 0;
		return true;
	}
	if (!(br_ssl_engine_current_state(&c->tls.eng) & BR_SSL_RECVAPP))
		return false;
	bytes = br_ssl_engine_recvapp_buf(&c->tls.eng, &room);
	room = smaller(room, REQUEST_LIMIT - c->in_length);
	memcpy(c->in + c->in_length, bytes, room);
	br_ssl_engine_recvapp_ack(&c->tls.eng, room);
	c->in_length += room;
	return true;
}

/* Hands over up to n bytes; returns how many were taken. */
static size_t transmit(struct conn *c, const char *bytes, size_t n)
{
	unsigned char *record;
	size_t room;
	ssize_t sent;

	if (options.plain) {
		sent = send(c->fd, bytes, n, MSG_NOSIGNAL);
		if (sent < 0 && !would_wait())
			drop(c, BARE);
		return sent > 0 ? (size_t)sent : 0;
	}
	if (!(br_ssl_engine_current_state(&c->tls.eng) & BR_SSL_SENDAPP))
		return 0;
	record = br_ssl_engine_sendapp_buf(&c->tls.eng, &room);
	n = smaller(n, room);
	memcpy(record, bytes, n);
	br_ssl_engine_sendapp_ack(&c->tls.eng, n);
	br_ssl_engine_flush(&c->tls.eng, 0);
	return n;
}

static bool is_flushed(const struct conn *c)
{
	return options.plain || !(br_ssl_engine_current_state(&c->tls.eng) & BR_SSL_SENDREC);
}

static void part(struct conn *c, enum finish finish)
{
	if (finish == NOTIFY && !options.plain) {
		br_ssl_engine_close(&c->tls.eng);
		c->parting = true;
	} else {
		drop(c, finish);
	}
}

static FILE *log_file;

/* What is no request has neither method nor target. */
static void log_request(const struct conn *c, const struct request *r, const struct reply *reply)
{
	bool has_status = reply->fault->answer == GOOD || reply->fault->answer == ERROR;

	if (log_file)
		fprintf(log_file, "%" PRIu64 " %s %s %d %s %s %s %s\n", c->number, r->method ? r->method : "-",
			r->target ? r->target : "-", has_status ? reply->status : 0,
			options.plain ? "plain"
			: c->full     ? "full"
				      : "resumed",
			reply->fault->name, r->gzip ? "gzip" : "identity", r->agent ? r->agent : "-");
}

/* The n-th of the faults that spoil the framing: in the table they stand between bad-framing and gzip. */
static const struct fault *bad_framing(int64_t n)
{
	size_t first = (size_t)(find_fault("bad-framing", 11) - faults) + 1;
	size_t end = (size_t)(find_fault("gzip", 4) - faults);

	return &faults[first + (size_t)n % (end - first)];
}

/* The head of a request lies in `in`, length bytes with the empty line; 0 if it has grown too large. */
static void answer_request(struct conn *c, size_t length)
{
	struct request r = {0};
	struct reply reply = {.fault = &no_fault, .index = (int64_t)++totals.requests, .finish = NOTIFY};
	const struct rule *rule;
	struct query q = {0};
	int64_t came_ms = now_ms(); /* what the making takes is part of the latency */

	if (length > 0)
		c->in[length - 2] = '\0';
	if (length == 0) {
		refuse(&q, c->in_length == REQUEST_LIMIT ? 431 : 400, "bad-request", NULL, "Too large, or no HTTP");
	} else if (!read_request(&r, c->in)) {
		r = (struct request){0};
		refuse(&q, 400, "bad-request", NULL, "Not a request that HTTP/1.1 knows");
	} else {
		rule = find_rule(r.target, reply.index);
		reply.gzip = r.gzip && !options.no_gzip;
		reply.fault = rule ? rule->fault : &no_fault;
		reply.number = rule ? rule->number : 0;
		if (reply.fault->answer == BAD_FRAMING)
			reply.fault = bad_framing(reply.index);
		(void)(understand(&q, &r) && count_request(&q));
		q.loop = reply.fault->loop;
		reply.finish = reply.fault->finish == KEEP && r.close ? NOTIFY : reply.fault->finish;
	}
	reply.status = reply.fault->answer == ERROR ? reply.fault->status : q.status;
	put_reply(&c->out, &reply, &q);
	log_request(c, &r, &reply);
	c->busy = true;
	c->finish = reply.finish;
	c->silent = reply.fault->answer == SILENCE;
	c->again = reply.fault->answer == RAW ? reply.fault->body : NULL;
	c->drip_ms = reply.fault->drip ? reply.number : -1;
	c->due_ms = came_ms + options.latency_ms;
	c->in_length -= length;
	memmove(c->in, c->in + length, c->in_length);
}

/* May what has come so far still become a request?  A NUL, or a TLS handshake on a plain port, never will. */
static bool may_be_request(const struct conn *c)
{
	return c->in_length < REQUEST_LIMIT && !memchr(c->in, '\0', c->in_length) &&
	       (c->in_length == 0 || isupper((unsigned char)c->in[0]));
}

static bool take_request(struct conn *c)
{
	char *end;

	if (c->fd < 0 || c->busy || c->parting)
		return false;
	c->in[c->in_length] = '\0';
	end = strstr(c->in, "\r\n\r\n");
	if (!end && may_be_request(c))
		return false;
	answer_request(c, end ? (size_t)(end - c->in) + 4 : 0);
	return true;
}

/* Milliseconds until the line takes more. */
static int64_t line_ms(void)
{
	enum { AHEAD_US = 4000 };
	int64_t ahead = options.rate > 0 ? line_us - clock_us(CLOCK_MONOTONIC) - AHEAD_US : 0;

	return ahead > 0 ? (ahead + 999) / 1000 : 0;
}

/* n bytes have left for the line. */
static void fill_line(size_t n)
{
	int64_t now = clock_us(CLOCK_MONOTONIC);

	totals.sent += n;
	if (options.rate > 0)
		line_us = (line_us > now ? line_us : now) + (int64_t)n * 8 * SECOND / options.rate;
}

/* What of the answer may leave now. */
static bool send_answer(struct conn *c)
{
	enum { PIECE = 2048 };
	size_t n;

	if (c->fd < 0 || !c->busy || c->silent || c->parting || now_ms() < c->due_ms)
		return false;
	if (c->sent == c->out.length && c->again) {
		c->out.length = c->sent = 0;
		while (c->out.length < PIECE)
			put_text(&c->out, c->again);
	}
	if (c->sent < c->out.length) {
		if (line_ms() > 0)
			return false;
		n = options.rate > 0 ? smaller(c->out.length - c->sent, PIECE) : c->out.length - c->sent;
		n = transmit(c, c->out.bytes + c->sent, c->drip_ms >= 0 ? 1 : n);
		c->sent += n;
		fill_line(n);
		if (c->drip_ms >= 0)
			c->due_ms = now_ms() + c->drip_ms;
		return n > 0;
	}
	if (!is_flushed(c))
		return false;
	c->busy = false;
	c->active_ms = now_ms();
	c->out.length = c->sent = 0;
	if (c->finish != KEEP)
		part(c, c->finish);
	return true;
}

static void note_handshake(struct conn *c)
{
	if (c->greeted || !(br_ssl_engine_current_state(&c->tls.eng) & BR_SSL_SENDAPP))
		return;
	c->greeted = true;
	totals.full += c->full;
	totals.resumed += !c->full;
}

/* A while of work; an answer without end must leave time for the others. */
static void step(struct conn *c)
{
	enum { ROUNDS = 256 };
	bool moved = true;
	int round;

	for (round = 0; moved && round < ROUNDS; round++) {
		moved = !options.plain && move_records(c);
		if (c->fd >= 0 && !options.plain)
			note_handshake(c);
		if (c->fd >= 0 && c->parting && is_flushed(c))
			drop(c, BARE);
		if (c->fd < 0)
			return;
		moved |= receive(c);
		moved |= take_request(c);
		moved |= send_answer(c);
	}
	c->eager = moved;
}

/* With --mute all that comes is thrown away. */
static void step_mute(struct conn *c)
{
	ssize_t n = recv(c->fd, c->in, sizeof c->in, 0);

	if (n == 0 || (n < 0 && !would_wait()))
		drop(c, BARE);
}

static bool is_sending(const struct conn *c)
{
	return c->busy && !c->silent && !c->parting;
}

/* Milliseconds until the connection has something to do of its own accord, -1 for never. */
static int64_t timer_of(const struct conn *c, int64_t now)
{
	int64_t due = -1;

	if (is_sending(c))
		due = c->due_ms > now + line_ms() ? c->due_ms : now + line_ms();
	else if (!c->busy && !c->parting && options.idle_ms > 0)
		due = c->active_ms + options.idle_ms;
	return due < 0 ? -1 : due > now ? due - now : 0;
}

static short events_of(const struct conn *c, int64_t now)
{
	bool sending = c->eager || (is_sending(c) && timer_of(c, now) == 0);
	unsigned state;

	if (options.mute)
		return POLLIN;
	if (options.plain)
		return (short)((c->in_length < REQUEST_LIMIT ? POLLIN : 0) | (sending ? POLLOUT : 0));
	state = br_ssl_engine_current_state(&c->tls.eng);
	return (short)((state & BR_SSL_RECVREC ? POLLIN : 0) | ((state & BR_SSL_SENDREC) || sending ? POLLOUT : 0));
}

static void prepare_socket(int fd)
{
	int one = 1, flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void accept_one(int listener, struct conn *c)
{
	int fd = accept(listener, NULL, NULL);

	if (fd < 0)
		return;
	prepare_socket(fd);
	memset(c, 0, sizeof *c);
	c->fd = fd;
	c->active_ms = now_ms();
	c->number = ++totals.connections;
	if (++totals.open > totals.most_open)
		totals.most_open = totals.open;
	if (!options.plain && !options.mute && !start_tls(c))
		die("cannot be set up", "TLS");
}

static struct conn *free_conn(void)
{
	size_t i;

	for (i = 0; i < CONNECTIONS; i++)
		if (conns[i].fd < 0)
			return &conns[i];
	return NULL;
}

static int stop_pipe[2];

static void on_signal(int number)
{
	int error = errno;

	(void)number;
	(void)!write(stop_pipe[1], "", 1);
	errno = error;
}

/* Until a signal comes. */
static void serve(int listener)
{
	struct pollfd polls[CONNECTIONS + 2];
	size_t i;

	for (;;) {
		int64_t now = now_ms(), wait = -1;
		polls[CONNECTIONS] = (struct pollfd){.fd = free_conn() ? listener : -1, .events = POLLIN};
		polls[CONNECTIONS + 1] = (struct pollfd){.fd = stop_pipe[0], .events = POLLIN};
		for (i = 0; i < CONNECTIONS; i++) {
			struct conn *c = &conns[i];
			int64_t timer = c->fd < 0 ? -1 : timer_of(c, now);
			polls[i] = (struct pollfd){.fd = c->fd, .events = c->fd < 0 ? 0 : events_of(c, now)};
			if (timer > 0 && (wait < 0 || timer < wait))
				wait = timer;
		}
		if (poll(polls, CONNECTIONS + 2, (int)wait) < 0 && errno != EINTR)
			die(strerror(errno), "poll");
		if (polls[CONNECTIONS + 1].revents)
			return;
		now = now_ms();
		for (i = 0; i < CONNECTIONS; i++) {
			struct conn *c = &conns[i];
			if (c->fd < 0 || (!polls[i].revents && timer_of(c, now) != 0))
				continue;
			if (options.mute)
				step_mute(c);
			else if (!c->busy && options.idle_ms > 0 && timer_of(c, now) == 0)
				part(c, NOTIFY);
			if (c->fd >= 0 && !options.mute)
				step(c);
		}
		if (polls[CONNECTIONS].revents)
			accept_one(listener, free_conn());
	}
}

/* ---- Command line ---- */

/* Where an option's value goes: exactly one of the last four is set. */
static const struct option {
	const char *name, *argument, *help;
	const char **text;
	int64_t *number;
	bool *flag;
	bool (*rule)(const char *);
} option_table[] = {
	{"chain", "FILE", "PEM: the leaf certificate, then intermediates", .text = &options.chain},
	{"key", "FILE", "PEM: the leaf's key, RSA or EC", .text = &options.key},
	{"plain", NULL, "HTTP without TLS; needs neither of the two", .flag = &options.plain},
	{"listen", "ADDRESS", "127.0.0.1, or ::1", .text = &options.address},
	{"port", "N", "0: any free one", .number = &options.port},
	{"port-file", "FILE", "gets the port once it listens; else standard output does", .text = &options.port_file},
	{"seed", "N", "another workspace; 1", .number = &options.seed},
	{"scale", "demo|N", "a small one, or N sources (to 10000; 0: empty)", .text = &options.scale},
	{"twice", NULL, "every fourth destination is listed under 2 sources", .flag = &options.twice},
	{"token", "T", "the one that is accepted; demo-token", .text = &options.token},
	{"now", "TIME", "RFC 3339: what its clock shows at the start", .text = &options.now},
	{"still", NULL, "its clock stands", .flag = &options.still},
	{"inclusive", NULL, "an audit event at startTime or endTime is within", .flag = &options.inclusive},
	{"page-cap", "N", "the largest pagination.count; 1000", .number = &options.page_cap},
	{"minute", "MS", "how long a minute of the documented rate limits is; 0: they are off",
	 .number = &options.minute_ms},
	{"groups", "N", "groups of events of the second source (5000 are shown)", .number = &options.groups},
	{"latency", "MS", "from a request to its answer", .number = &options.latency_ms},
	{"rate", "N", "bits a second of the line that all answers share, without what TLS adds",
	 .number = &options.rate},
	{"idle", "MS", "closes connections that are idle for so long", .number = &options.idle_ms},
	{"log", "FILE", "a line a request, as below", .text = &options.log},
	{"stats", "FILE", "written at the end: connections, handshakes, requests, bytes", .text = &options.stats},
	{"tls", "1.0|1.1|1.2", "this version only", .text = &options.tls},
	{"suites", "NAME", "ECDHE with chacha, gcm or cbc only", .text = &options.suites},
	{"no-resume", NULL, "every handshake is a full one", .flag = &options.no_resume},
	{"no-gzip", NULL, "answers are never compressed", .flag = &options.no_gzip},
	{"mute", NULL, "accepts connections and never says a word", .flag = &options.mute},
	{"fault", "RULE", "spoils answers, as below; repeatable, the first that fits counts", .rule = add_rule}};

enum { OPTIONS = sizeof option_table / sizeof *option_table };

static int help(void)
{
	size_t i;

	puts("usage: segmentd --chain FILE --key FILE [OPTION...]\n"
	     "A Segment Public API for tests.  SIGTERM ends it.\n");
	for (i = 0; i < OPTIONS; i++)
		printf("  --%s %-*s %s\n", option_table[i].name, (int)(17 - strlen(option_table[i].name)),
		       option_table[i].argument ? option_table[i].argument : "", option_table[i].help);
	puts("\nThe log has, for each request: number of the connection, method, target, status (0: none),\n"
	     "full, resumed or plain, fault or -, gzip if it is asked for or identity, user agent.\n\n"
	     "A RULE is WHERE:KIND[=N][:TIMES].  WHERE is the number of a request, from 1, or a glob on its path or\n"
	     "its whole target (* is every request).  KIND is one of");
	for (i = 0; i < FAULTS; i++)
		printf("  %-19s %s\n", faults[i].name, faults[i].about);
	return 0;
}

static const struct option *find_option(const char *argument)
{
	size_t i;

	for (i = 0; i < OPTIONS; i++)
		if (strncmp(argument, "--", 2) == 0 && strcmp(argument + 2, option_table[i].name) == 0)
			return &option_table[i];
	return NULL;
}

/* value is the next argument, or NULL after the last. */
static bool take_option(const struct option *o, const char *value)
{
	if (o->flag)
		*o->flag = true;
	else if (!value)
		return false;
	else if (o->text)
		*o->text = value;
	else
		return o->rule ? o->rule(value) : read_number(value, INT32_MAX, o->number);
	return true;
}

static bool read_options(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		const struct option *o = find_option(argv[i]);
		if (!o || !take_option(o, argv[i + 1])) {
			fprintf(stderr, "segmentd: %s %s: not understood; see --help\n", argv[i],
				o && argv[i + 1] ? argv[i + 1] : "");
			return false;
		}
		i += !o->flag;
	}
	if (strcmp(options.scale, "demo") != 0 && !read_number(options.scale, SCALE_LIMIT, &scale)) {
		fprintf(stderr, "segmentd: --scale %s: neither demo nor a number up to %d\n", options.scale,
			SCALE_LIMIT);
		return false;
	}
	if (!options.plain && !options.mute && (!options.chain || !options.key)) {
		fputs("segmentd: --chain and --key are needed, or --plain; see --help\n", stderr);
		return false;
	}
	return true;
}

/* The workspace follows from the time that was given, not from when this program got round to it. */
static void set_clock(void)
{
	int64_t now = clock_us(CLOCK_REALTIME);

	if (options.now && !read_time(options.now, &now))
		die("not an RFC 3339 date-time", options.now);
	clock_offset = now - (options.still ? 0 : clock_us(CLOCK_REALTIME));
	start_us = now / SECOND * SECOND;
	start_day = start_us / DAY;
}

static int open_listener(void)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
	struct addrinfo *address;
	char port[16];
	int fd, one = 1;

	snprintf(port, sizeof port, "%" PRId64, options.port);
	if (getaddrinfo(options.address, port, &hints, &address))
		die("not a numeric address with a port", options.address);
	fd = socket(address->ai_family, SOCK_STREAM, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
	    bind(fd, address->ai_addr, address->ai_addrlen) || listen(fd, CONNECTIONS))
		die(strerror(errno), options.address);
	prepare_socket(fd);
	freeaddrinfo(address);
	return fd;
}

/* Whoever waits for the port file finds it complete. */
static void write_port(int listener)
{
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof address;
	char part_name[4096], port[16];
	FILE *f;

	if (getsockname(listener, (struct sockaddr *)&address, &length) ||
	    getnameinfo((struct sockaddr *)&address, length, NULL, 0, port, sizeof port, NI_NUMERICSERV))
		die("no port", options.address);
	if (!options.port_file) {
		if (printf("%s\n", port) < 0 || fflush(stdout))
			die(strerror(errno), "standard output");
		return;
	}
	snprintf(part_name, sizeof part_name, "%s.part", options.port_file);
	f = fopen(part_name, "w");
	if (!f || fprintf(f, "%s\n", port) < 0 || fclose(f) || rename(part_name, options.port_file))
		die(strerror(errno), options.port_file);
}

static void write_stats(void)
{
	FILE *f = fopen(options.stats, "w");

	if (!f ||
	    fprintf(f,
		    "connections %" PRIu64 "\nfull %" PRIu64 "\nresumed %" PRIu64 "\nrequests %" PRIu64
		    "\nmost_open %" PRIu64 "\nsent %" PRIu64 "\n",
		    totals.connections, totals.full, totals.resumed, totals.requests, totals.most_open,
		    totals.sent) < 0 ||
	    fclose(f))
		die(strerror(errno), options.stats);
}

static void catch_signals(void)
{
	struct sigaction stop = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};

	if (pipe(stop_pipe) || sigaction(SIGTERM, &stop, NULL) || sigaction(SIGINT, &stop, NULL) ||
	    sigaction(SIGPIPE, &ignore, NULL))
		die(strerror(errno), "signals");
}

static void clean_up(void)
{
	size_t i;

	for (i = 0; i < CONNECTIONS; i++)
		if (conns[i].fd >= 0)
			drop(&conns[i], BARE);
	for (i = 0; i < server.chain_length; i++)
		free(server.chain[i].data);
	if (log_file)
		fclose(log_file);
}

int main(int argc, char **argv)
{
	int listener;
	size_t i;

	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return help();
	if (!read_options(argc, argv))
		return 2;
	set_clock();
	catch_signals();
	if (!options.plain && !options.mute)
		set_up_tls();
	for (i = 0; i < CONNECTIONS; i++)
		conns[i].fd = -1;
	if (options.log) {
		log_file = fopen(options.log, "w");
		if (!log_file)
			die(strerror(errno), options.log);
		setvbuf(log_file, NULL, _IOLBF, BUFSIZ);
	}
	listener = open_listener();
	write_port(listener);
	serve(listener);
	close(listener);
	if (options.stats)
		write_stats();
	clean_up();
	return 0;
}
