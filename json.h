/* json.h - text: slices and characters, errors, the arena, time, and JSON text into a tape of small nodes and back.
 * Knows the C library only: no files, no sockets, nothing of Singer or Segment. */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lets a compiler that can do so compare a format with its arguments; both count from 1. */
#ifdef __GNUC__
#define PRINTF_LIKE(text, arguments) __attribute__((format(printf, text, arguments)))
#else
#define PRINTF_LIKE(text, arguments)
#endif

#define countof(array) (sizeof(array) / sizeof *(array))

/* ---- Slices and characters: ASCII, whatever the locale ---- */

/* A slice of somebody's bytes, without an ending NUL.  It lives as long as they do. */
struct str {
	const char *s;
	size_t n;
};

struct str str_of(const char *); /* NULL gives the empty slice */
bool str_equal(struct str, struct str);
bool str_is(struct str, const char *);
bool str_is_word(struct str, const char *lower); /* equal but for the case of letters; lower is in lower case */
void str_skip(struct str *, size_t);             /* the first n bytes are cut off */
struct str str_trim(struct str);                 /* without blanks, tabs and line ends around it */
/* Cuts off and returns what stands before the first such byte, all of it where there is none; the byte goes too. */
struct str str_cut(struct str *, char);
int str_width(struct str, size_t most); /* its length, at most so much: a precision for printf */

/* The name among many that a mistyped one is most like, whatever the case of its letters; starts as {0}.  likely: near
 * enough to be what was meant.  The first of equally near ones stays. */
struct nearest {
	struct str name;
	size_t distance;
	bool likely;
};

void nearest_try(struct nearest *, struct str wanted, struct str name);

bool is_digit(char);
bool is_alpha(char);
char to_lower(char);
int hex_value(char); /* of a hexadecimal digit in either case; -1 for anything else */

/* ---- Errors ---- */

enum { ERROR_SIZE = 1024 };

/* One line: says what failed, where, why and what to do.  Starts as {""}; what does not fit is cut. */
struct error {
	char text[ERROR_SIZE];
};

bool fail(struct error *, const char *format, ...) PRINTF_LIKE(2, 3);      /* fills it; always returns false */
void error_add(struct error *, const char *format, ...) PRINTF_LIKE(2, 3); /* puts more behind it */
bool error_about(struct error *, const char *subject); /* puts "subject: " before it, NULL: nothing; returns false */

/* ---- Time: instants are microseconds since 1970, UTC, years 1 to 9999 of the Gregorian calendar ---- */

enum { TIME_SIZE = 28 };

#define SECOND_US INT64_C(1000000)
#define DAY_US    (86400 * SECOND_US)

/* RFC 3339 section 5.6: a date, or a date-time with any offset; a blank may stand for the T (its last note), digits past
 * six are cut, a leap second counts as the second after it.  A date is its UTC midnight.  Beyond the RFC, as people and
 * programs write times: without an offset it is UTC, an offset may lack its colon, and the second may be left out.
 * false: *us stays. */
bool time_parse(struct str, int64_t *us);
const char *time_read(struct str,
		      int64_t *us); /* the same; NULL, or a constant that says what is wrong with the text */
void time_format(int64_t us, char out[TIME_SIZE]); /* 2021-02-01T00:00:00.000000Z; what is outside the years is cut */
/* Days from 1970-01-01 to a date, month and day from 1.  false: there is no such date. */
bool days_since_1970(int year, int month, int day, int64_t *days);

/* ---- Arena ---- */

/* Memory given back all at once.  Starts as {0}; limit is a ceiling in bytes, 0 for none; held is what it has now. */
struct arena {
	struct arena_block *block;
	size_t held, limit;
};

/* Zeroed, aligned for long long, double and pointers.  NULL when the limit or memory is exhausted, or count * size does
 * not fit a size_t. */
void *arena_alloc(struct arena *, size_t count, size_t size);
char *arena_string(struct arena *, struct str); /* a copy with an ending NUL; NULL likewise */
void arena_reset(struct arena *); /* every pointer into it dies; the largest block stays for the next use */
void arena_free(struct arena *);  /* every pointer into it dies; ready for use again */

/* ---- JSON ---- */

/* A value, passed by value.  It lives as long as the text and the arena that json_parse was given.
 * node == NULL is "no such value"; every function below accepts it.  What a node is, json.c alone knows. */
struct json {
	const char *text;
	const struct json_node *node;
};

enum json_type { JSON_ABSENT, JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* what is a constant; line and column count from 1, columns in bytes. */
struct json_error {
	const char *what;
	size_t line, column;
	bool no_memory; /* no fault of the text; not set where the arena's limit is too low for it */
};

enum { JSON_DEPTH = 128 }; /* deeper nesting is refused */

/* RFC 8259: UTF-8 checked, no byte order mark, only white space after the value.  length <= UINT32_MAX / 2.
 * Memory: eight bytes a value and a name; as many bytes as the text is long are reckoned with at first, and a text with
 * more of them is gone over twice.
 * Equal keys and lone surrogate escapes are syntax, and pass.  false: *error says why; the root is absent then. */
bool json_parse(struct arena *, const char *text, size_t length, struct json *root, struct json_error *error);

enum json_type json_type(struct json);
struct json json_member(struct json object, struct str key); /* the last of equal keys; calls nest safely */
struct json json_get(struct json object, const char *key);   /* the same */
bool json_equals(struct json string, struct str);            /* what the string means, however it is escaped */
struct str json_token(struct json); /* string: as sent, between its quotes; other scalar: its text; else empty */

/* The type, and the text where it can be copied as it stands: a scalar without any escape, a string with its quotes; of an
 * array or object the opening bracket; of a string with an escape nothing, n is 0.  For loops over many rows. */
struct json_plain {
	const char *s;
	uint32_t n;
	enum json_type type;
};

struct json_plain json_plain(struct json);

/* The string unescaped: a slice of the text where nothing was escaped, else in the arena.  A lone surrogate becomes
 * U+FFFD.  false: not a string, or no memory. */
bool json_string(struct json, struct arena *, struct str *);
bool json_int64(struct json, int64_t *); /* an integer literal that fits, or false: never rounded */

/* for (it = json_each(v); json_next(&it);) visits members or elements; it.key is absent in arrays; scalars and absent
 * values give no round.  name: the key as it stands in the text, with its quotes, if it has no escape; else empty. */
struct json_each {
	struct json key, value;
	struct str name;
	const struct json_node *next, *end;
	bool object;
};

struct json_each json_each(struct json container);
bool json_next(struct json_each *);

/* Growing output.  Starts as {0}.  failed stays set once memory ran out, and nothing is added then.
 * To take back what was written since a mark, set length back to it.
 * mend: no text with U+0000 or half a surrogate pair is written; \ufffd takes the place of the escape, and mended is set
 * until somebody clears it. */
struct json_out {
	char *bytes;
	size_t length, capacity;
	bool failed;
	bool mend, mended;
};

void json_reserve(struct json_out *, size_t); /* room for so many more bytes at once, where it is known beforehand */
void json_put_text(struct json_out *, const char *);
void json_put(struct json_out *, struct str);        /* as it is */
void json_put_string(struct json_out *, struct str); /* UTF-8, quoted and escaped */
void json_put_int64(struct json_out *, int64_t);
/* Digits and escapes as sent, without the text's white space; indent: blanks a level, 0 for one compact line. */
void json_put_value(struct json_out *, struct json, unsigned indent);
void json_put_quoted(struct json_out *, struct json); /* the value's compact text, as a string */
void json_out_free(struct json_out *);

#endif
