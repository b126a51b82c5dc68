/* singer.c - the Singer protocol, in three parts; each uses only those above it.
 *
 * Contents: 1 log        secrets · lines · metrics
 *           2 selection  fields · the --select rules · the catalog · keys · which fields · a stream, and all of them
 *           3 output     projection: pieces, values, objects, rows that do not fit · messages · state · the catalog */
#include "singer.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* ==== Part 1: the log ============================================================================================= */

enum {
	LOG_LINE = 2048,         /* bytes of a plain line, its end included */
	LOG_TEXT = 2 * LOG_LINE, /* formatted before striking out, which makes it shorter */
	SECRETS = 32,
	SECRET_SHORT = 6,     /* a shorter secret is a part of too many words */
	SECRET_BEGINNING = 8, /* so many characters of a longer one are struck out as well */
	SPELLING = 6,         /* the longest spelling of one character: \u0041 */
	READINGS = 8,
	PROGRESS_WIDTH = 80 /* of a terminal that does not tell */
};

static struct {
	enum log_level least;
	bool structured;
	char progress[LOG_TEXT]; /* what standard error, a terminal, shows below the lines; empty: nothing */
	bool holding;
	struct json_out held;        /* lines that wait */
	const char *secret[SECRETS]; /* beyond so many the newest takes the oldest's place */
	size_t secrets;
} logger = {.least = LOG_INFO};

static const char *const level_upper[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};
static const char *const level_lower[] = {"debug", "info", "warning", "error", "critical"};

void log_setup(enum log_level least, bool structured)
{
	logger.least = least;
	logger.structured = structured;
}

bool log_is_structured(void)
{
	return logger.structured;
}

void log_hold(void)
{
	logger.holding = true;
}

void log_secret(const char *secret)
{
	if (!secret)
		logger.secrets = 0;
	else if (*secret)
		logger.secret[logger.secrets++ % SECRETS] = secret;
}

/* ---- Secrets ---- */

static bool is_word(char c)
{
	return is_digit(c) || is_alpha(c);
}

/* Does a text of two hexadecimal digits, in either case, stand for this character? */
static bool is_hex_of(const char *text, char c)
{
	return hex_value(text[0]) == (unsigned char)c >> 4 && hex_value(text[1]) == ((unsigned char)c & 15);
}

/* The lengths at which a text may spell a beginning of the secret: more than one where a byte can be read in two ways, as
 * the percent sign of "%25" can, itself or the beginning of a code. */
struct readings {
	size_t at[READINGS], n;
};

static void reading_add(struct readings *r, size_t at)
{
	size_t i;

	for (i = 0; i < r->n && r->at[i] != at; i++)
		;
	if (i == r->n && i < READINGS)
		r->at[r->n++] = at;
}

/* Adds the place after each spelling of a character at text + at: itself, percent-encoded, or an escape of JSON.  Codes
 * come first: where there is no room for more readings, they are the truer ones. */
static void readings_add(struct readings *r, const char *text, size_t at, char c, bool json)
{
	const char *p = text + at;

	if (p[0] == '\\' && p[1] == 'u' && p[2] == '0' && p[3] == '0' && is_hex_of(p + 4, c))
		reading_add(r, at + 6);
	if (p[0] == '%' && is_hex_of(p + 1, c))
		reading_add(r, at + 3);
	if (p[0] == '\\' && p[1] == c)
		reading_add(r, at + 2);
	if (*p == c &&
	    !(json && (c == '"' || c == '\\'))) /* within a string of JSON these two never stand for themselves */
		reading_add(r, at + 1);
}

static size_t reading_longest(const struct readings *r)
{
	size_t i, longest = 0;

	for (i = 0; i < r->n; i++)
		if (r->at[i] > longest)
			longest = r->at[i];
	return longest;
}

/* Length of the secret at text, or 0.  In a log line its beginning counts as well, if it is long enough to tell something:
 * what a message quotes may have been cut in the middle of the secret.  cut: so was this text, at its end.
 * json: text is within a string of JSON, and only the whole secret counts. */
static size_t secret_length(const char *text, const char *secret, bool cut, bool json)
{
	struct readings now = {{0}, 1}, next;
	const char *c;
	size_t i;

	for (c = secret; *c; c++, now = next) {
		next.n = 0;
		for (i = 0; i < now.n; i++)
			readings_add(&next, text, now.at[i], *c, json);
		for (i = 0; cut && c > secret && i < now.n && next.n == 0; i++)
			if (strlen(text + now.at[i]) < SPELLING)
				return strlen(text);
		if (next.n == 0)
			return !json && c - secret >= SECRET_BEGINNING ? reading_longest(&now) : 0;
	}
	return reading_longest(&now);
}

static bool is_struck(const char *text, const char *at, size_t length, const char *secret)
{
	if (length == 0 || strlen(secret) >= SECRET_SHORT)
		return length > 0;
	return !(at > text && is_word(at[-1])) && !is_word(at[length]);
}

/* Length of what is to be struck out at a place of the text, or 0. */
static size_t struck_length(const char *text, const char *at, bool cut, bool json)
{
	size_t i, longest = 0;

	for (i = 0; i < logger.secrets && i < SECRETS; i++) {
		size_t n = secret_length(at, logger.secret[i], cut, json);
		if (n > longest && is_struck(text, at, n, logger.secret[i]))
			longest = n;
	}
	return longest;
}

/* Up to three asterisks in place of each secret: never longer than what they replace. */
static void strike_out(char *text, bool cut)
{
	char *from = text, *to = text;

	while (*from) {
		size_t n = struck_length(text, from, cut, false), stars = n < 3 ? n : 3;
		if (n > 0) {
			memset(to, '*', stars);
			to += stars;
			from += n;
		} else {
			*to++ = *from++;
		}
	}
	*to = '\0';
}

/* Length of a character of a JSON text, as it is or as an escape. */
static size_t character_length(const char *json)
{
	return *json != '\\' ? 1 : json[1] != 'u' ? 2 : 6;
}

/* Length of what is to be struck out from a character of a string on, or 0.  A secret that begins among the digits of an
 * escape takes all of it along: what is left must be JSON. */
static size_t struck_string_length(const char *string, const char *at)
{
	size_t n = struck_length(string, at, false, true), digit;

	for (digit = 2; n == 0 && digit < character_length(at); digit++) {
		n = struck_length(string, at + digit, false, true);
		n += n ? digit : 0;
	}
	return n;
}

/* The same within the strings of compact JSON, which stays what it is. */
static bool strike_out_strings(char *json)
{
	const char *from = json, *string = NULL; /* the string's first byte, while in one */
	char *to = json;
	bool found = false;

	while (*from) {
		size_t n = string ? struck_string_length(string, from) : 0, stars = n < 3 ? n : 3,
		       kept = n ? 0 : character_length(from);
		if (*from == '"')
			string = string ? NULL : from + 1;
		memset(to, '*', stars);
		memmove(to + stars, from, kept);
		to += stars + kept;
		from += n + kept;
		found = found || n > 0;
	}
	*to = '\0';
	return found;
}

/* ---- Lines ---- */

static void make_printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

static void line_write(const char *line, size_t length)
{
	struct str text = {line, length};

	if (logger.holding) {
		json_put(&logger.held, text);
		return;
	}
	while (length > 0) {
		ssize_t n = write(STDERR_FILENO, line, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* there is no other place to say so */
		line += n;
		length -= (size_t)n;
	}
}

void log_release(bool keep)
{
	logger.holding = false;
	if (keep)
		line_write(logger.held.bytes, logger.held.length);
	json_out_free(&logger.held);
}

/* A line of the log takes the place of the progress shown, which then stands below it. */
static void progress_clear(void)
{
	static const char erase[] = "\r\033[K"; /* ECMA-48: to the line's begin, and erase it */

	if (logger.progress[0])
		line_write(erase, sizeof erase - 1);
}

static size_t terminal_width(void)
{
#ifdef TIOCGWINSZ
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
		return size.ws_col;
#endif
	return PROGRESS_WIDTH;
}

/* One column less than there are, as some terminals go on to the next line once all are full. */
static void progress_show(void)
{
	if (logger.progress[0])
		line_write(logger.progress, strnlen(logger.progress, terminal_width() - 1));
}

/* Printable text as what stands in a JSON string. */
static void quote(char to[2 * LOG_LINE + 1], const char *text)
{
	for (; *text; *to++ = *text++)
		if (*text == '"' || *text == '\\')
			*to++ = '\\';
	*to = '\0';
}

/* The members that Meltano asks of a structured line.  message: text for a string; more: another member's name, or NULL,
 * and its JSON. */
static void line_structured(enum log_level level, const char *stream, const char *message, const char *more,
			    const char *json)
{
	char line[4 * LOG_LINE + 1024], quoted[2 * LOG_LINE + 1];
	struct timespec now = {0, 0};
	int n;

	quote(quoted, message);
	clock_gettime(CLOCK_REALTIME, &now);
	n = snprintf(line, sizeof line,
		     "{\"level\": \"%s\", \"pid\": %ld, \"logger_name\": \"tap-segment\", \"ts\": %" PRId64 ".%06ld, "
		     "\"thread_name\": \"MainThread\", \"app_name\": \"tap-segment\", \"stream_name\": %s%s%s, "
		     "\"message\": \"%s\"%s%s%s%s}\n",
		     level_lower[level], (long)getpid(), (int64_t)now.tv_sec, now.tv_nsec / 1000, stream ? "\"" : "",
		     stream ? stream : "null", stream ? "\"" : "", quoted, more ? ", \"" : "", more ? more : "",
		     more ? "\": " : "", more ? json : "");
	line_write(line, (size_t)n);
}

static void line_plain(enum log_level level, const char *message)
{
	char line[LOG_LINE + 1];
	int n = snprintf(line, sizeof line, "%s %s\n", level_upper[level], message);

	progress_clear();
	line_write(line, (size_t)n);
	progress_show();
}

/* The text of a line, fit to be shown and cut to a length. */
static void line_text(char text[LOG_TEXT], size_t most, const char *format, va_list args)
{
	int n = vsnprintf(text, LOG_TEXT, format, args);

	make_printable(text);
	strike_out(text, n >= LOG_TEXT);
	text[most] = '\0';
}

static void line_say(enum log_level level, const char *stream, const char *format, va_list args)
{
	char text[LOG_TEXT];
	int saved = errno;

	if (level < logger.least)
		return;
	line_text(text, LOG_LINE - strlen("CRITICAL \n"), format, args);
	if (logger.structured)
		line_structured(level, stream, text, NULL, NULL);
	else
		line_plain(level, text);
	errno = saved;
}

void log_line(enum log_level level, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	line_say(level, NULL, format, args);
	va_end(args);
}

void log_stream(enum log_level level, const char *stream, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	line_say(level, stream, format, args);
	va_end(args);
}

void log_progress(const char *format, ...)
{
	char text[LOG_TEXT];
	int saved = errno;
	va_list args;

	if (!logger.structured && LOG_INFO >= logger.least && isatty(STDERR_FILENO)) {
		va_start(args, format);
		line_text(text, LOG_LINE, format, args);
		va_end(args);
		progress_clear();
		memcpy(logger.progress, text, strlen(text) + 1);
		progress_show();
	}
	errno = saved;
}

void log_progress_end(void)
{
	progress_clear();
	logger.progress[0] = '\0';
}

size_t log_width(void)
{
	return logger.structured || !isatty(STDERR_FILENO) ? 0 : terminal_width();
}

void log_probe(const char *stream, const char *access, int status, const char *text)
{
	char shown[LOG_LINE / 2 + 1], message[LOG_LINE], quoted[2 * LOG_LINE + 1], extra[3 * LOG_LINE];
	int saved = errno, n = snprintf(shown, sizeof shown, "%s", text);

	if (!logger.structured || LOG_INFO < logger.least)
		return;
	make_printable(shown);
	strike_out(shown, (size_t)n >= sizeof shown);
	quote(quoted, shown);
	snprintf(extra, sizeof extra, "{\"access\": \"%s\", \"status\": %d, \"text\": \"%s\"}", access, status, quoted);
	snprintf(message, sizeof message, "%s, status %d: %s", access, status, shown);
	line_structured(LOG_INFO, stream, message, "extra", extra);
	errno = saved;
}

/* ---- Metrics ---- */

enum { METRIC_SIZE = 512 };

/* A metric is made of numbers and of the tap's own names: nothing in it to clean or to strike out.  tags: more of them,
 * each with a comma before it. */
static void log_metric(enum log_level plain, const char *stream, const char *type, const char *name, const char *value,
		       const char *tags)
{
	char metric[METRIC_SIZE], own[METRIC_SIZE / 2] = "";
	int saved = errno;

	if ((logger.structured ? LOG_INFO : plain) < logger.least)
		return;
	if (stream && logger.structured)
		snprintf(own, sizeof own, "\"endpoint\": \"%s\", \"stream\": \"%s\", \"context\": {}, \"pid\": %ld",
			 stream, stream, (long)getpid());
	else if (stream)
		snprintf(own, sizeof own, "\"endpoint\": \"%s\"", stream);
	snprintf(metric, sizeof metric,
		 "METRIC: {\"type\": \"%s\", \"metric\": \"%s\", \"value\": %s, \"tags\": {%s%s}}", type, name, value,
		 own, tags);
	if (logger.structured)
		line_structured(LOG_INFO, stream, "METRIC", "metric_info", strchr(metric, '{'));
	else
		line_plain(plain, metric);
	errno = saved;
}

struct number {
	char text[32];
};

static struct number number_of(uint64_t count)
{
	struct number number;

	snprintf(number.text, sizeof number.text, "%" PRIu64, count);
	return number;
}

static struct number seconds_of(int64_t ms)
{
	struct number number;

	if (ms < 0)
		ms = 0;
	snprintf(number.text, sizeof number.text, "%" PRId64 ".%03d", ms / 1000, (int)(ms % 1000));
	return number;
}

void log_records(const char *stream, uint64_t more)
{
	struct number number = number_of(more);

	log_metric(LOG_INFO, stream, "counter", "record_count", number.text, "");
}

void log_request(const char *stream, int64_t ms, int status)
{
	char tags[80], code[48] = "";
	struct number number = seconds_of(ms);

	if (status)
		snprintf(code, sizeof code, ", \"http_status_code\": %d", status);
	snprintf(tags, sizeof tags, "%s, \"status\": \"%s\"", code,
		 status >= 200 && status < 300 ? "succeeded" : "failed");
	log_metric(LOG_DEBUG, stream, "timer", "http_request_duration", number.text, tags);
}

void log_requests(const char *stream, uint64_t n)
{
	struct number number = number_of(n);

	log_metric(LOG_DEBUG, stream, "counter", "http_request_count", number.text, "");
}

void log_duration(const char *stream, int64_t ms, bool whole)
{
	struct number number = seconds_of(ms);

	log_metric(LOG_DEBUG, stream, "timer", "sync_duration", number.text,
		   whole ? ", \"status\": \"succeeded\"" : ", \"status\": \"failed\"");
}

int64_t log_clock_ms(void)
{
	struct timespec now = {0, 0};

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* No counters: whoever adds up those of a run means its records. */
void log_bytes(uint64_t received, uint64_t decoded)
{
	struct number in = number_of(received), out = number_of(decoded);

	log_metric(LOG_INFO, NULL, "gauge", "http_bytes_received", in.text, "");
	log_metric(LOG_INFO, NULL, "gauge", "http_bytes_decoded", out.text, "");
}

/* ==== Part 2: selection =========================================================================================== */

/* ---- Fields: a schema compiled ---- */

/* A field accepts the JSON types whose bits are set; integers have a bit of their own beside that of numbers. */
#define TYPE(t) (1u << (t))
enum {
	TYPE_INTEGER = TYPE(JSON_OBJECT + 1),
	TYPE_ANY = TYPE_INTEGER - 1 /* no "type": whatever comes */
};

/* A node of a schema.  The fields of one object lie side by side, in the schema's order. */
struct field {
	struct str name; /* unescaped; none for the schema itself and for the items of an array */
	unsigned types;
	bool date_time;
	bool selected;
	bool required;          /* a field of the key or the replication field: never missing, never null */
	bool foreign;           /* in the catalog's schema alone */
	unsigned leaves;        /* of the types, scalars that are written as they are */
	struct field *children; /* of an object; NULL: whatever members come */
	size_t count;           /* how many */
	struct field *items;    /* of an array; NULL: whatever elements come */
	const struct field *parent;
	struct json schema;   /* the node that this was compiled from */
	struct json metadata; /* the catalog's, while the selection is made */
};

/* What selection_make works with. */
struct maker {
	struct arena *arena;
	struct error *error;
	bool catalog;         /* is there one? */
	struct json *entries; /* of the catalog, one a stream of the tap; absent where it has none */
	const char *rules;    /* of --select; NULL: none */
	bool unique_keys;
	struct json_out line; /* for what is put together, of one stream after the other */
	/* of the stream at hand */
	const char *stream;
	struct json entry, metadata, root_metadata;
	bool has_metadata;
};

static bool no_memory(const struct maker *m)
{
	return fail(m->error, "stream %s: no memory for its schema and selection", m->stream);
}

static size_t json_count(struct json container)
{
	struct json_each it = json_each(container);
	size_t n = 0;

	while (json_next(&it))
		n++;
	return n;
}

static struct field *field_named(const struct field *object, struct str name)
{
	size_t i;

	for (i = 0; i < object->count; i++)
		if (str_equal(object->children[i].name, name))
			return &object->children[i];
	return NULL;
}

static struct field *field_called(const struct field *object, struct json name)
{
	size_t i;

	for (i = 0; i < object->count; i++)
		if (json_equals(name, object->children[i].name))
			return &object->children[i];
	return NULL;
}

/* The way to a field from its row, a.b[].c; returns the length, which may be cut to size - 1. */
static size_t field_path(const struct field *f, char *to, size_t size)
{
	size_t n = f->parent ? field_path(f->parent, to, size) : 0;
	int more;

	if (!f->parent || n + 1 >= size)
		return n;
	if (f->parent->items == f)
		more = snprintf(to + n, size - n, "[]");
	else
		more = snprintf(to + n, size - n, "%s%.*s", n ? "." : "", (int)(f->name.n < size ? f->name.n : size),
				f->name.s);
	return (size_t)more < size - n ? n + (size_t)more : size - 1;
}

/* A path short enough for a message. */
struct path {
	char text[128];
};

static const char *path_of(const struct field *f, struct path *path)
{
	if (!f->parent)
		return "the row";
	field_path(f, path->text, sizeof path->text);
	return path->text;
}

static const struct type_name {
	const char *name;
	unsigned bit;
} type_names[] = {{"null", TYPE(JSON_NULL)},     {"boolean", TYPE(JSON_BOOL)},
		  {"number", TYPE(JSON_NUMBER)}, {"integer", TYPE_INTEGER},
		  {"string", TYPE(JSON_STRING)}, {"array", TYPE(JSON_ARRAY)},
		  {"object", TYPE(JSON_OBJECT)}, {NULL, 0}};

static bool type_bit(struct json name, unsigned *types)
{
	const struct type_name *t;

	for (t = type_names; t->name && !json_equals(name, str_of(t->name)); t++)
		;
	*types |= t->bit;
	return t->name != NULL;
}

static bool field_types(const struct maker *m, struct field *f)
{
	struct json type = json_get(f->schema, "type");
	struct json_each it = json_each(type);
	struct path path;
	bool ok = true;

	if (!type.node) {
		f->types = TYPE_ANY;
		return true;
	}
	if (json_type(type) == JSON_STRING)
		ok = type_bit(type, &f->types);
	while (ok && json_next(&it))
		ok = type_bit(it.value, &f->types);
	f->date_time =
		(f->types & TYPE(JSON_STRING)) && json_equals(json_get(f->schema, "format"), str_of("date-time"));
	return (ok && f->types) || fail(m->error,
					"stream %s: \"type\" of %s in the catalog's schema is neither a JSON type "
					"nor a list of such",
					m->stream, path_of(f, &path));
}

/* The children of an object's node, not yet compiled.  Of equal names the last counts, as in any JSON object. */
static bool field_children(const struct maker *m, struct field *f, struct json properties, struct json built_in)
{
	struct json known = json_get(built_in, "properties");
	size_t most = json_count(properties);
	struct json_each it;
	struct path path;

	if (most > SINGER_FIELDS)
		return fail(m->error, "stream %s: %s has %zu fields in the catalog's schema, the most are %d",
			    m->stream, path_of(f, &path), most, SINGER_FIELDS);
	f->children = arena_alloc(m->arena, most, sizeof *f->children);
	if (!f->children)
		return no_memory(m);
	for (it = json_each(properties); json_next(&it);) {
		struct str name;
		struct field *child;

		if (!json_string(it.key, m->arena, &name))
			return no_memory(m);
		child = field_named(f, name);
		if (!child)
			child = &f->children[f->count++];
		child->name = name;
		child->parent = f;
		child->schema = it.value;
		child->foreign = known.node && !json_member(known, name).node;
	}
	return true;
}

static bool field_items(const struct maker *m, struct field *f, struct json items)
{
	f->items = arena_alloc(m->arena, 1, sizeof *f->items);
	if (!f->items)
		return no_memory(m);
	f->items->parent = f;
	f->items->schema = items;
	return true;
}

/* Compiles f->schema and all below it.  built_in: the tap's own node for the same place, if it is another.
 * The row's own node counts as an object, whatever it says. */
static bool field_compile(const struct maker *m, struct field *f, struct json built_in)
{
	struct json properties = json_get(f->schema, "properties"), items = json_get(f->schema, "items");
	struct json known = json_get(built_in, "properties");
	size_t i;

	if (!field_types(m, f))
		return false;
	if (!f->parent)
		f->types = TYPE(JSON_OBJECT);
	if (f->types == TYPE_ANY)
		return true;
	if ((f->types & TYPE(JSON_OBJECT)) && json_count(properties) && !field_children(m, f, properties, built_in))
		return false;
	if ((f->types & TYPE(JSON_ARRAY)) && json_type(items) == JSON_OBJECT && !field_items(m, f, items))
		return false;
	for (i = 0; i < f->count; i++)
		if (!field_compile(m, &f->children[i], json_member(known, f->children[i].name)))
			return false;
	return !f->items || field_compile(m, f->items, json_get(built_in, "items"));
}

/* ---- The --select rules ---- */

/* [!]stream or [!]stream.field, both with * and ?. */
struct rule {
	struct str text, stream, field; /* field: none for the whole stream */
	struct str below;               /* what follows a field */
	bool exclude;
};

static bool glob_matches(struct str glob, struct str name)
{
	size_t g = 0, n = 0, star = SIZE_MAX, from_star = 0;

	while (n < name.n) {
		if (g < glob.n && glob.s[g] == '*') {
			star = g++;
			from_star = n;
		} else if (g < glob.n && (glob.s[g] == '?' || glob.s[g] == name.s[n])) {
			g++;
			n++;
		} else if (star != SIZE_MAX) {
			g = star + 1;
			n = ++from_star;
		} else {
			return false;
		}
	}
	while (g < glob.n && glob.s[g] == '*')
		g++;
	return g == glob.n;
}

/* "s.*" is all of s, as "s" is, and "s.f.*" all of f. */
static struct rule rule_of(struct str text)
{
	struct rule rule = {.text = text};

	if (text.n && text.s[0] == '!') {
		rule.exclude = true;
		text.s++;
		text.n--;
	}
	rule.stream = str_trim(str_cut(&text, '.'));
	rule.field = str_trim(str_cut(&text, '.'));
	rule.below = str_trim(text);
	if (str_is(rule.field, "*"))
		rule.field.n = 0;
	return rule;
}

/* Takes the next rule off a text with commas between them.  false: none is left. */
static bool rule_next(struct str *rest, struct rule *rule)
{
	struct str part = {"", 0};

	while (!part.n && rest->n)
		part = str_trim(str_cut(rest, ','));
	*rule = rule_of(part);
	return part.n;
}

static bool any_field_matches(struct str glob, const struct field *fields)
{
	size_t i;

	for (i = 0; i < fields->count; i++)
		if (glob_matches(glob, fields->children[i].name))
			return true;
	return false;
}

/* Rules that begin with an exclusion take away from what a plain run has, others add to nothing. */
static bool rules_begin(const struct maker *m, const struct singer_stream *stream)
{
	struct str rest = str_of(m->rules);
	struct rule first;

	return rule_next(&rest, &first) && first.exclude && !stream->by_name;
}

/* Do the rules take a stream?  The last one that matches wins; one that excludes a field says nothing about it. */
static bool rules_take_stream(const struct maker *m, const struct singer_stream *stream, const struct field *fields)
{
	bool taken = rules_begin(m, stream);
	struct str rest = str_of(m->rules);
	struct rule rule;

	while (rule_next(&rest, &rule)) {
		if (!glob_matches(rule.stream, str_of(stream->name)))
			continue;
		if (!rule.field.n)
			taken = !rule.exclude;
		else if (!rule.exclude && any_field_matches(rule.field, fields))
			taken = true;
	}
	return taken;
}

/* A field that is a secret by nature is in only where it is named. */
static bool is_secret(const struct singer_stream *stream, const struct field *f)
{
	size_t i;

	for (i = 0; stream->secret && f->parent && !f->parent->parent && stream->secret[i]; i++)
		if (str_is(f->name, stream->secret[i]))
			return true;
	return false;
}

static bool rules_take_field(const struct maker *m, const struct singer_stream *stream, const struct field *f)
{
	bool secret = is_secret(stream, f), taken = rules_begin(m, stream) && !secret;
	struct str rest = str_of(m->rules);
	struct rule rule;

	while (rule_next(&rest, &rule))
		if (glob_matches(rule.stream, str_of(stream->name)) &&
		    (rule.field.n ? glob_matches(rule.field, f->name) : !secret || rule.exclude))
			taken = !rule.exclude;
	return taken;
}

static bool rule_matches(const struct rule *rule, const struct selection *sel)
{
	return glob_matches(rule->stream, str_of(sel->stream->name)) &&
	       (!rule->field.n || any_field_matches(rule->field, sel->fields));
}

/* What a rule without a match was most likely to mean: a field of a stream that it names, else a stream. */
static bool fail_rule(const struct rule *rule, const struct selection sel[], size_t n, struct error *error)
{
	struct nearest stream = {{NULL, 0}, 0, false}, field = stream;
	const struct singer_stream *of_field = NULL;
	size_t i, k;

	for (i = 0; i < n; i++) {
		nearest_try(&stream, rule->stream, str_of(sel[i].stream->name));
		for (k = 0; glob_matches(rule->stream, str_of(sel[i].stream->name)) && k < sel[i].fields->count; k++) {
			struct str before = field.name;
			nearest_try(&field, rule->field, sel[i].fields->children[k].name);
			if (field.name.s != before.s)
				of_field = sel[i].stream;
		}
	}
	return fail(
		error,
		"--select: %.*s matches no stream or field; the nearest is %s%s%.*s; --discover shows what there is",
		str_width(rule->text, 128), rule->text.s, of_field ? of_field->name : stream.name.s,
		of_field ? "." : "", str_width(field.name, 128), of_field ? field.name.s : "");
}

bool selection_check_rules(const struct selection sel[], size_t n, const char *rules, struct error *error)
{
	struct str rest = str_of(rules);
	struct rule rule;
	bool any = false;
	size_t i;

	for (; rule_next(&rest, &rule); any = true) {
		if (rule.below.n && !str_is(rule.below, "*"))
			return fail(
				error,
				"--select: %.*s: rules go down to top-level fields; a catalog selects what is below",
				str_width(rule.text, 128), rule.text.s);
		for (i = 0; i < n && !rule_matches(&rule, &sel[i]); i++)
			;
		if (i == n)
			return fail_rule(&rule, sel, n, error);
	}
	return any || fail(error, "--select: expected rules like sources,audit_events.*,!iam_*");
}

/* ---- The catalog ---- */

enum choice { UNSAID, NO, YES };

/* A boolean of the catalog, where nothing else has been said before.  Singer's own examples hold them as strings, which
 * mean what they say. */
static bool choose(const struct maker *m, struct json object, const char *name, enum choice *choice)
{
	struct json v = json_get(object, name);

	if (*choice != UNSAID || json_type(v) <= JSON_NULL)
		return true;
	if (str_is_word(json_token(v), "true"))
		*choice = YES;
	else if (str_is_word(json_token(v), "false"))
		*choice = NO;
	else
		return fail(m->error, "stream %s: \"%s\" in the catalog is neither true nor false", m->stream, name);
	return true;
}

/* A stream's name in the catalog: its identity, or in the oldest catalogs the name alone. */
static struct json entry_id(struct json entry)
{
	struct json id = json_get(entry, "tap_stream_id");

	return id.node ? id : json_get(entry, "stream");
}

/* Is this the stream's name, or the one that another tap gives it? */
static bool stream_is(const struct singer_stream *stream, struct json name)
{
	return json_equals(name, str_of(stream->name)) || (stream->alias && json_equals(name, str_of(stream->alias)));
}

/* The stream of that name, or n. */
static size_t stream_find(const struct selection sel[], size_t n, struct json name)
{
	size_t i;

	for (i = 0; i < n && !stream_is(sel[i].stream, name); i++)
		;
	return i;
}

enum { STRANGERS = 64 }; /* so many of them are compared with the tap's own streams */

static bool fail_strangers(const struct maker *m, const struct selection sel[], size_t n, struct json entries)
{
	struct nearest nearest = {{NULL, 0}, 0, false};
	struct str theirs = {"", 0};
	struct json_each it = json_each(entries);
	size_t i, k;

	for (k = 0; k < STRANGERS && json_next(&it); k++) {
		struct str name = json_token(entry_id(it.value)), before = nearest.name;
		for (i = 0; i < n; i++)
			nearest_try(&nearest, name, str_of(sel[i].stream->name));
		if (before.s != nearest.name.s)
			theirs = name;
	}
	if (!nearest.name.n)
		return fail(m->error, "the catalog has no stream; --discover writes one that has");
	return fail(m->error,
		    "the catalog has no stream of this tap; the nearest to %.*s is %s; --discover writes a catalog",
		    str_width(theirs, 64), theirs.s, nearest.name.s);
}

/* Finds the streams' entries; of several for one stream the last counts. */
static bool catalog_open(struct maker *m, const struct selection sel[], size_t n, struct json catalog)
{
	struct json entries = json_get(catalog, "streams");
	bool *repeated = arena_alloc(m->arena, n, sizeof *repeated), any = false;
	struct json_each it;
	size_t i;

	m->catalog = catalog.node != NULL;
	m->entries = arena_alloc(m->arena, n, sizeof *m->entries);
	if (!m->entries || !repeated)
		return fail(m->error, "no memory for the catalog");
	if (m->catalog && json_type(entries) != JSON_ARRAY)
		return fail(m->error, "not a catalog: expected {\"streams\": [...]}, as --discover writes it");
	for (it = json_each(entries); json_next(&it);) {
		struct json id = entry_id(it.value);
		if (json_type(id) != JSON_STRING)
			return fail(m->error, "a stream of the catalog has no \"tap_stream_id\"");
		i = stream_find(sel, n, id);
		if (i == n) {
			log_line(LOG_WARNING, "stream %.*s of the catalog is unknown and left out",
				 (int)json_token(id).n, json_token(id).s);
			continue;
		}
		if (m->entries[i].node && !repeated[i])
			log_stream(LOG_WARNING, sel[i].stream->name,
				   "stream %s: the catalog has more than one entry for it; the last counts",
				   sel[i].stream->name);
		repeated[i] = m->entries[i].node != NULL;
		m->entries[i] = it.value;
		any = true;
	}
	return any || !m->catalog || fail_strangers(m, sel, n, entries);
}

/* The metadata of the stream as a whole is that with the empty breadcrumb; of several the last counts. */
static bool entry_open(struct maker *m, const char *stream, struct json entry)
{
	struct json none = {NULL, NULL};
	struct json_each it;

	m->stream = stream;
	m->root_metadata = none;
	m->entry = entry;
	m->metadata = json_get(m->entry, "metadata");
	m->has_metadata = json_count(m->metadata) > 0;
	if (json_type(m->metadata) > JSON_NULL && json_type(m->metadata) != JSON_ARRAY)
		return fail(m->error, "stream %s: \"metadata\" in the catalog is not a list", stream);
	for (it = json_each(m->metadata); json_next(&it);) {
		struct json breadcrumb = json_get(it.value, "breadcrumb");
		if (json_type(breadcrumb) != JSON_ARRAY || json_type(json_get(it.value, "metadata")) != JSON_OBJECT)
			return fail(m->error,
				    "stream %s: the catalog's metadata must be a list of {\"breadcrumb\": [...], "
				    "\"metadata\": {...}}",
				    stream);
		if (json_count(breadcrumb) == 0)
			m->root_metadata = json_get(it.value, "metadata");
	}
	return true;
}

static struct json first_of(struct json a, struct json b)
{
	return json_type(a) > JSON_NULL ? a : b;
}

/* What the user says of a stream: Meltano writes it with dashes into the metadata and underscored beside it. */
static struct json entry_get(const struct maker *m, const char *dashed, const char *underscored)
{
	return first_of(first_of(json_get(m->root_metadata, dashed), json_get(m->root_metadata, underscored)),
			first_of(json_get(m->entry, underscored), json_get(m->entry, dashed)));
}

/* The catalog's word on a whole stream: the first of these places that says anything. */
static bool stream_selected(const struct maker *m, bool *selected)
{
	enum choice choice = UNSAID;

	if (!choose(m, m->root_metadata, "selected", &choice) ||
	    !choose(m, json_get(m->entry, "schema"), "selected", &choice) ||
	    !choose(m, m->entry, "selected", &choice) || !choose(m, m->root_metadata, "selected-by-default", &choice))
		return false;
	*selected = choice == YES || (choice == UNSAID && m->entry.node && !m->has_metadata);
	if (json_equals(json_get(m->root_metadata, "inclusion"), str_of("unsupported")))
		*selected = false;
	return true;
}

static void warn_impossible(const struct maker *m, const char *what, struct json value)
{
	log_stream(LOG_WARNING, m->stream, "stream %s: %s \"%.*s\" of the catalog is not possible and left out",
		   m->stream, what, (int)json_token(value).n, json_token(value).s);
}

/* FULL_TABLE on an incremental stream is the one method that can be chosen; other taps write it as a forced one. */
static void stream_method(const struct maker *m, struct selection *sel)
{
	struct json forced = entry_get(m, "forced-replication-method", "forced_replication_method");
	struct json method = first_of(entry_get(m, "replication-method", "replication_method"), forced);
	struct json key = entry_get(m, "replication-key", "replication_key");
	const char *own = sel->stream->replication_key;
	bool full_table = json_equals(method, str_of("FULL_TABLE"));

	sel->full_table = own && full_table;
	if (json_type(method) > JSON_NULL && !full_table && !(own && json_equals(method, str_of("INCREMENTAL"))))
		warn_impossible(m, "replication method", method);
	if (json_type(key) > JSON_NULL && !full_table && !(own && json_equals(key, str_of(own))))
		warn_impossible(m, "replication key", key);
	if (own && !full_table && !field_named(sel->fields, str_of(own))) {
		log_stream(LOG_WARNING, m->stream,
			   "stream %s: its replication key %s is not in the catalog's schema, so it is read from "
			   "start_date "
			   "on each time; add the field there to go on from its bookmark",
			   m->stream, own);
		sel->full_table = true;
	}
}

/* ---- Keys ---- */

/* What identifies one row. */
static const char *const *unique_key(const struct singer_stream *stream)
{
	return stream->unique_key ? stream->unique_key : stream->key;
}

static size_t key_count(const char *const key[])
{
	size_t n = 0;

	while (key[n])
		n++;
	return n;
}

static bool key_has(const char *const key[], struct json name)
{
	size_t i, n = key_count(key);

	for (i = 0; i < n; i++)
		if (json_equals(name, str_of(key[i])))
			return true;
	return false;
}

/* Are these the names of a key, in any order? */
static bool key_equals(const char *const key[], struct json names)
{
	struct json_each it;

	if (json_count(names) != key_count(key))
		return false;
	for (it = json_each(names); json_next(&it);)
		if (!key_has(key, it.value))
			return false;
	return true;
}

/* A key that discovery may have written is nobody's wish: the config decides between the two. */
static bool key_is_ours(const struct singer_stream *stream, struct json names)
{
	return key_equals(stream->key, names) || key_equals(unique_key(stream), names);
}

static bool key_take(const struct maker *m, struct selection *sel, struct json names)
{
	struct json_each it;
	size_t n = 0;

	memset(sel->key, 0, sizeof sel->key);
	for (it = json_each(names); json_next(&it); n++) {
		if (n == SINGER_KEYS)
			return fail(m->error, "stream %s: the catalog's key has more than %d fields", m->stream,
				    SINGER_KEYS);
		if (json_token(it.value).n == 0 || json_type(it.value) != JSON_STRING)
			return fail(m->error, "stream %s: the catalog's key is not a list of fields' names", m->stream);
		if (!json_string(it.value, m->arena, &sel->key[n]))
			return no_memory(m);
	}
	return true;
}

static void key_by_config(const struct maker *m, struct selection *sel)
{
	const char *const *own = m->unique_keys ? unique_key(sel->stream) : sel->stream->key;
	size_t i, n = key_count(own);

	for (i = 0; i < n; i++)
		sel->key[i] = str_of(own[i]);
}

/* The key in force: the user's, where the catalog has one that is not the tap's own; else the config's.  That there is no
 * key is a wish where the key stands; tables and views that have none are just written so. */
static bool stream_key(const struct maker *m, struct selection *sel)
{
	struct json places[4];
	size_t i;

	places[0] = entry_get(m, "key-properties", "key_properties");
	places[1] = json_get(m->entry, "key_properties");
	places[2] = entry_get(m, "view-key-properties", "view_key_properties");
	places[3] = entry_get(m, "table-key-properties", "table_key_properties");
	for (i = 0; i < countof(places); i++) {
		if (json_type(places[i]) > JSON_NULL && json_type(places[i]) != JSON_ARRAY)
			return fail(m->error, "stream %s: the catalog's key is not a list of fields' names", m->stream);
		if (json_type(places[i]) == JSON_ARRAY && !key_is_ours(sel->stream, places[i]) &&
		    (i < 2 || json_count(places[i])))
			return key_take(m, sel, places[i]);
	}
	return true;
}

static bool require_field(struct selection *sel, struct str name)
{
	struct field *f = field_named(sel->fields, name);

	if (f)
		f->required = true;
	return f != NULL;
}

/* Marks the fields that no row may lack. */
static bool stream_require(const struct maker *m, struct selection *sel)
{
	const char *replication = sel->stream->replication_key;
	size_t i;

	for (i = 0; i < SINGER_KEYS && sel->key[i].n; i++)
		if (!require_field(sel, sel->key[i]))
			return fail(m->error,
				    "stream %s: key field %.*s is not in the catalog's schema; add it there, or choose "
				    "other key-properties",
				    m->stream, (int)sel->key[i].n, sel->key[i].s);
	if (replication)
		require_field(sel, str_of(replication));
	return true;
}

/* A key identifies a row if all that the unique key names is in it.  No key at all loses no row either. */
static bool key_is_unique(const struct selection *sel)
{
	size_t i, k, n = key_count(unique_key(sel->stream));

	for (i = 0; i < n && sel->key[0].n; i++) {
		for (k = 0; k < SINGER_KEYS && !str_is(sel->key[k], unique_key(sel->stream)[i]); k++)
			;
		if (k == SINGER_KEYS)
			return false;
	}
	return true;
}

unsigned selection_shared_keys(const struct selection sel[], size_t n, bool full_tables)
{
	unsigned count = 0;
	size_t i;

	for (i = 0; i < n; i++)
		count += sel[i].selected && !key_is_unique(&sel[i]) && !(full_tables && sel[i].stream->replication_key);
	return count;
}

/* ---- Which fields ---- */

/* The field at a breadcrumb: "properties" before a name, "items" into an array.  NULL: the schema has none there. */
static struct field *field_at(struct field *root, struct json breadcrumb)
{
	struct field *f = root;
	bool name_next = false;
	struct json_each it;

	for (it = json_each(breadcrumb); f && json_next(&it);) {
		bool properties = json_equals(it.value, str_of("properties"));

		if (name_next)
			f = field_called(f, it.value);
		else if (!properties)
			f = json_equals(it.value, str_of("items")) ? f->items : NULL;
		name_next = !name_next && properties;
	}
	return name_next ? NULL : f;
}

static void warn_breadcrumb(const struct maker *m, struct json breadcrumb)
{
	struct json_out text = {0};

	json_put_value(&text, breadcrumb, 0);
	log_stream(LOG_WARNING, m->stream,
		   "stream %s: the catalog's metadata is about %.*s, which its schema does not have", m->stream,
		   (int)text.length, text.length ? text.bytes : "");
	json_out_free(&text);
}

/* Hangs each metadata entry on its field; of several for one field the last counts. */
static void metadata_attach(const struct maker *m, struct selection *sel)
{
	struct json_each it;

	for (it = json_each(m->metadata); json_next(&it);) {
		struct json breadcrumb = json_get(it.value, "breadcrumb");
		struct field *f = field_at(sel->fields, breadcrumb);

		if (f)
			f->metadata = json_get(it.value, "metadata");
		else if (sel->selected)
			warn_breadcrumb(m, breadcrumb);
	}
}

/* The catalog's word on a field whose parent is in; a secret is out where the catalog is silent. */
static bool field_chosen(const struct maker *m, const struct singer_stream *stream, const struct field *f, bool *chosen)
{
	/* The oldest catalogs have no metadata: what it would say stands inside the schema's nodes. */
	struct json said = m->has_metadata ? f->metadata : f->schema;
	struct json inclusion = json_get(said, "inclusion");
	enum choice choice = UNSAID;

	if (!choose(m, said, "selected", &choice) || !choose(m, said, "selected-by-default", &choice))
		return false;
	if (json_equals(inclusion, str_of("unsupported")))
		*chosen = false;
	else if (json_equals(inclusion, str_of("automatic")))
		*chosen = true;
	else
		*chosen = choice == YES || (choice == UNSAID && !is_secret(stream, f));
	return true;
}

static bool has_name(const char *const names[], struct str name)
{
	size_t i = 0;

	while (names[i] && !str_is(name, names[i]))
		i++;
	return names[i];
}

static bool is_automatic(const struct singer_stream *stream, struct str name)
{
	return has_name(stream->key, name) || has_name(unique_key(stream), name) ||
	       (stream->replication_key && str_is(name, stream->replication_key));
}

static unsigned leaves_of(const struct field *f)
{
	unsigned leaves = f->types & (TYPE(JSON_NULL) | TYPE(JSON_BOOL) | TYPE(JSON_NUMBER) | TYPE(JSON_STRING));

	if (f->date_time)
		leaves &= ~TYPE(JSON_STRING);
	if (f->required)
		leaves &= ~TYPE(JSON_NULL);
	return leaves;
}

/* Rules speak of top-level fields, the catalog of any; a required field is in whatever they say. */
static bool field_select(const struct maker *m, const struct singer_stream *stream, struct field *f, bool in)
{
	bool by_rules = m->rules && !f->parent;
	size_t i;

	f->selected = in;
	f->leaves = leaves_of(f);
	for (i = 0; i < f->count; i++) {
		struct field *child = &f->children[i];
		bool chosen = in;

		if (by_rules)
			chosen = rules_take_field(m, stream, child) || is_automatic(stream, child->name);
		else if (in && !m->rules && !field_chosen(m, stream, child, &chosen))
			return false;
		if (!field_select(m, stream, child, chosen || child->required))
			return false;
	}
	return !f->items || field_select(m, stream, f->items, in);
}

static bool any_selected(const struct field *f)
{
	size_t i;

	for (i = 0; i < f->count; i++)
		if (f->children[i].selected)
			return true;
	return false;
}

/* An object without any of its fields.  Meltano's rules never match what is below "items". */
static void warn_empty(const struct maker *m, const struct field *f)
{
	const char *stream = m->stream;
	struct path path;

	if (!f->parent)
		log_stream(LOG_WARNING, stream,
			   "stream %s: none of its fields is selected, so its rows are written as {}; select %s.*",
			   stream, stream);
	else if (f->parent->items == f)
		log_stream(LOG_WARNING, stream,
			   "stream %s: %s is selected, but no field of its elements, so they are written as {}; select "
			   "%s.%s.*, or take the metadata below its \"items\" out of the catalog",
			   stream, path_of(f->parent, &path), stream, path_of(f->parent, &path));
	else
		log_stream(LOG_WARNING, stream,
			   "stream %s: %s is selected, but none of its fields, so it is written as {}; select %s.%s.*",
			   stream, path_of(f, &path), stream, path_of(f, &path));
}

/* Selected fields that the tap does not know, and objects that are left with nothing in them. */
static void fields_warn(const struct maker *m, const struct field *f)
{
	struct path path;
	size_t i;

	if (!f->selected)
		return;
	if (f->foreign)
		log_stream(
			LOG_WARNING, m->stream,
			"stream %s: field %s of the catalog's schema is unknown; it is written where the API sends it",
			m->stream, path_of(f, &path));
	if (f->count && !any_selected(f))
		warn_empty(m, f);
	for (i = 0; i < f->count; i++)
		fields_warn(m, &f->children[i]);
	if (f->items)
		fields_warn(m, f->items);
}

/* ---- A stream, and all of them ---- */

enum { LEFT_OUT_NAMES = 16, LEFT_OUT_LENGTH = 64 };

/* Members that rows had and the schema has not: the object they stood in, and their names as sent. */
struct left_out {
	size_t count;
	struct {
		const struct field *object;
		size_t length;
		char name[LEFT_OUT_LENGTH];
	} member[LEFT_OUT_NAMES];
};

static void note_left_out(struct left_out *left_out, const struct field *object, struct str name)
{
	size_t i, n = left_out->count;

	for (i = 0; i < n; i++)
		if (left_out->member[i].object == object && left_out->member[i].length == name.n &&
		    memcmp(left_out->member[i].name, name.s, name.n) == 0)
			return;
	if (n == LEFT_OUT_NAMES || name.n > LEFT_OUT_LENGTH)
		return;
	left_out->member[n].object = object;
	left_out->member[n].length = name.n;
	memcpy(left_out->member[n].name, name.s, name.n);
	left_out->count++;
}

/* The catalog's schema if it has one with fields, else the built-in. */
static bool stream_fields(const struct maker *m, struct selection *sel)
{
	struct json theirs = json_get(m->entry, "schema"), none = {NULL, NULL}, built_in;
	struct json_error problem;

	if (!json_parse(m->arena, sel->schema_text.s, sel->schema_text.n, &built_in, &problem))
		return fail(m->error, "stream %s: built-in schema, line %zu, column %zu: %s", m->stream, problem.line,
			    problem.column, problem.what);
	if (json_type(theirs) > JSON_NULL && json_type(theirs) != JSON_OBJECT)
		return fail(m->error, "stream %s: \"schema\" in the catalog is not an object", m->stream);
	sel->schema = json_count(json_get(theirs, "properties")) ? theirs : built_in;
	sel->fields = arena_alloc(m->arena, 1, sizeof *sel->fields);
	if (!sel->fields)
		return no_memory(m);
	sel->fields->schema = sel->schema;
	return field_compile(m, sel->fields, sel->schema.node == built_in.node ? none : built_in);
}

/* What the RECORD lines need beside the fields. */
static bool stream_lines(struct maker *m, struct selection *sel)
{
	struct str head;
	const char *copy = NULL;

	m->line.length = 0;
	m->line.mend = true;
	json_put(&m->line, str_of("{\"type\":\"RECORD\",\"stream\":"));
	json_put_string(&m->line, sel->name);
	json_put(&m->line, str_of(",\"record\":"));
	head.s = m->line.bytes;
	head.n = m->line.length;
	if (!m->line.failed)
		copy = arena_string(m->arena, head);
	sel->head.s = copy;
	sel->head.n = head.n;
	sel->left_out = arena_alloc(m->arena, 1, sizeof *sel->left_out);
	return (copy && sel->left_out) || no_memory(m);
}

/* Whether a stream is in by the catalog, and what it is called.  Rules decide once its fields are known. */
static bool stream_choose(const struct maker *m, struct selection *sel)
{
	struct json name = json_get(m->entry, "stream");

	sel->name = str_of(sel->stream->name);
	if (json_type(name) == JSON_STRING && json_token(name).n && !json_string(name, m->arena, &sel->name))
		return no_memory(m);
	sel->by_rules = m->rules;
	if (!m->rules && m->catalog)
		return stream_selected(m, &sel->selected);
	sel->selected = !sel->stream->by_name;
	return true;
}

static bool stream_make(struct maker *m, struct selection *sel, struct json entry)
{
	key_by_config(m, sel);
	if (!entry_open(m, sel->stream->name, entry) || !stream_choose(m, sel))
		return false;
	/* Fields are needed to write rows, to tell which rules name one, and for discovery, which has no catalog. */
	if (!sel->selected && !m->rules && m->catalog)
		return true;
	if (!stream_fields(m, sel) || !stream_lines(m, sel))
		return false;
	if (m->rules)
		sel->selected = rules_take_stream(m, sel->stream, sel->fields);
	if (sel->selected) {
		stream_method(m, sel);
		if (!stream_key(m, sel) || !stream_require(m, sel))
			return false;
	}
	metadata_attach(m, sel);
	if (!field_select(m, sel->stream, sel->fields, true))
		return false;
	if (sel->selected)
		fields_warn(m, sel->fields);
	return true;
}

static void warn_nothing(const struct maker *m)
{
	log_line(LOG_WARNING, "%s",
		 m->rules ? "--select leaves no stream: nothing is synced; --select '*' takes all of them"
			  : "the catalog selects no stream: nothing is synced; set \"selected\": true in a stream's "
			    "metadata with the breadcrumb [], or use --select");
}

/* A target would take two streams of one name for one. */
static bool name_is_new(const struct maker *m, const struct selection sel[], size_t i)
{
	size_t k;

	for (k = 0; k < i; k++)
		if (sel[k].selected && sel[i].selected && str_equal(sel[k].name, sel[i].name))
			return fail(
				m->error, "streams %s and %s: the catalog calls both of them %.*s, and selects both",
				sel[k].stream->name, sel[i].stream->name, str_width(sel[i].name, 64), sel[i].name.s);
	return true;
}

static bool selection_fill(struct maker *m, struct selection sel[], size_t n, struct json catalog)
{
	bool any = false;
	size_t i;

	if (!catalog_open(m, sel, n, catalog))
		return false;
	for (i = 0; i < n; i++) {
		struct selection fresh = {
			.stream = sel[i].stream, .schema_text = sel[i].schema_text, .bookmark_us = INT64_MIN};
		sel[i] = fresh;
		if (!stream_make(m, &sel[i], m->entries[i]) || !name_is_new(m, sel, i))
			return false;
		any = any || sel[i].selected;
	}
	if (!any)
		warn_nothing(m);
	return true;
}

bool selection_make(struct selection sel[], size_t n, struct json catalog, const char *rules, bool unique_keys,
		    struct arena *arena, struct error *error)
{
	struct maker m = {.arena = arena, .error = error, .rules = rules, .unique_keys = unique_keys};
	bool ok = selection_fill(&m, sel, n, catalog);

	json_out_free(&m.line);
	return ok;
}

/* ==== Part 3: output ============================================================================================== */

/* ---- Projection: pieces ----
 * Most of what a row becomes stands in its text, and mostly in the same order.  So what is written comes in pieces of
 * that text, and pieces that follow each other there are copied as one; a whole row that needs no change is one copy. */

struct projector {
	struct json_out *out;
	const char *from, *to; /* the pieces not yet copied; never NULL, and *to can be read */
	const struct singer_extra *extra;
	size_t extras;
	struct left_out *left_out;
	const char *renamed;        /* a member of the row that is no loss; may be NULL */
	const struct field *mended; /* the first with text that json_put_value did not write as it came */
	/* why the row does not fit */
	const struct field *misfit;
	enum json_type found;
	const char *what; /* said in place of the type found; may be NULL */
};

/* Copies what is pending, so that other text can be put. */
static void pieces_end(struct projector *p)
{
	json_put(p->out, (struct str){p->from, (size_t)(p->to - p->from)});
	p->from = p->to = "";
}

static inline void put_piece(struct projector *p, const char *piece, size_t n)
{
	if (piece != p->to) {
		pieces_end(p);
		p->from = piece;
	}
	p->to = piece + n;
}

/* A bracket, comma or colon, which often stands in the text just there. */
static inline void put_sign(struct projector *p, const char *sign)
{
	if (*p->to == *sign)
		p->to++;
	else
		put_piece(p, sign, 1);
}

/* ---- Projection: values ---- */

static bool misfit(struct projector *p, const struct field *f, enum json_type found, const char *what)
{
	p->misfit = f;
	p->found = found;
	p->what = what;
	return false;
}

/* Writes what time_format would, at a fifth of its cost, if a time that was read lacks only digits of its fraction. */
static bool copy_utc(struct str time, char *to)
{
	size_t digits = time.n - 20; /* the point among them */

	if (time.n < 20 || time.s[10] != 'T' || time.s[time.n - 1] != 'Z' || time.s[17] == '6')
		return false;
	memcpy(to, "0000-00-00T00:00:00.000000Z", TIME_SIZE - 1);
	memcpy(to, time.s, 19);
	memcpy(to + 19, time.s + 19, digits < 7 ? digits : 7);
	return true;
}

/* A time in UTC with six digits.  Singer readers take the empty text for no time, as singer-python does. */
static bool put_time(struct projector *p, const struct field *f, struct str text)
{
	char time[TIME_SIZE + 1] = "\"";
	int64_t us;

	pieces_end(p);
	if (text.n == 0) {
		json_put_text(p->out, "null");
		return (!f->required && (f->types & TYPE(JSON_NULL))) || misfit(p, f, JSON_STRING, "an empty time");
	}
	if (!time_parse(text, &us))
		return misfit(p, f, JSON_STRING, "a text that is not an RFC 3339 time");
	if (!copy_utc(text, time + 1))
		time_format(us, time + 1);
	time[TIME_SIZE] = '"';
	json_put(p->out, (struct str){time, sizeof time});
	return true;
}

static bool put_time_of(struct projector *p, const struct field *f, struct json string)
{
	struct arena scratch = {0};
	struct str text;
	bool ok = json_string(string, &scratch, &text);

	p->out->failed |= !ok;
	ok = !ok || put_time(p, f, text);
	arena_free(&scratch);
	return ok;
}

/* 5 and 5.0 are integers; 5.5 is none, and what is written with an exponent counts as none. */
static bool is_integer(struct json_plain number)
{
	const char *p = number.s, *end = p + number.n;

	while (p < end && (is_digit(*p) || *p == '-'))
		p++;
	if (p < end && *p == '.')
		for (p++; p < end && *p == '0'; p++)
			;
	return p == end;
}

/* Any value as it came, or as its JSON text in a string. */
static void put_copy(struct projector *p, const struct field *f, struct json value, bool quoted)
{
	pieces_end(p);
	if (quoted)
		json_put_quoted(p->out, value);
	else
		json_put_value(p->out, value, 0);
	if (p->out->mended && !p->mended)
		p->mended = f;
}

/* A value whose JSON type is not in the field's list. */
static bool put_other(struct projector *p, const struct field *f, struct json value, struct json_plain plain)
{
	if (plain.type == JSON_NUMBER && (f->types & TYPE_INTEGER) && is_integer(plain))
		put_piece(p, plain.s, plain.n);
	else if (!(f->types & TYPE(JSON_STRING)) || f->date_time || plain.type == JSON_NULL)
		return misfit(p, f, plain.type, NULL);
	else
		put_copy(p, f, value, true);
	return true;
}

/* A field that the tap itself fills. */
static bool put_extra(struct projector *p, const struct field *f, struct str value)
{
	if (!(f->types & TYPE(JSON_STRING)))
		return misfit(p, f, JSON_STRING, NULL);
	if (f->date_time)
		return put_time(p, f, value);
	pieces_end(p);
	json_put_string(p->out, value);
	return true;
}

/* ---- Projection: objects ----
 * First the place of each field's value is noted, then the values are written in the schema's order. */

/* Is this the field's name?  Without an escape, its text is its meaning. */
static inline bool is_named(const struct field *f, const struct json_each *it)
{
	if (it->name.n == 0)
		return json_equals(it->key, f->name);
	return it->name.n == f->name.n + 2 && memcmp(it->name.s + 1, f->name.s, f->name.n) == 0;
}

/* The field of this name; NULL: none.  Members mostly come in the schema's order, so the search begins at *next, which
 * then is the field after this one. */
static inline const struct field *field_of(const struct field *object, const struct field **next,
					   const struct json_each *it)
{
	const struct field *f = *next, *end = object->children + object->count;
	size_t left;

	for (left = object->count; left > 0; left--, f++) {
		if (f == end)
			f = object->children;
		if (is_named(f, it)) {
			*next = f + 1;
			return f;
		}
	}
	return NULL;
}

/* Where an object has a field. */
struct place {
	const char *name;             /* as it stands in the text; NULL: not plain */
	const struct json_node *node; /* the value; NULL: nowhere */
};

/* Of several members of one name the last counts. */
static void members_note(struct projector *p, const struct field *object, struct json value, struct place places[])
{
	struct json_each it = json_each(value);
	const struct field *next = object->children;

	memset(places, 0, object->count * sizeof *places);
	while (json_next(&it)) {
		const struct field *f = field_of(object, &next, &it);
		struct place place = {it.name.n ? it.name.s : NULL, it.value.node};

		if (f)
			places[f - object->children] = place;
		else if (object->parent || !p->renamed || !json_equals(it.key, str_of(p->renamed)))
			note_left_out(p->left_out, object, json_token(it.key));
	}
}

static const struct singer_extra *extra_of(const struct projector *p, struct str field)
{
	size_t i;

	for (i = 0; i < p->extras; i++)
		if (str_is(field, p->extra[i].field))
			return &p->extra[i];
	return NULL;
}

static void put_name(struct projector *p, const struct field *f, const char *plain)
{
	if (plain) {
		put_piece(p, plain, f->name.n + 2);
	} else {
		pieces_end(p);
		json_put_string(p->out, f->name);
	}
	put_sign(p, ":");
}

/* Is this a scalar that is written as it stands?  Then it is. */
static inline bool put_leaf(struct projector *p, const struct field *f, struct json_plain plain)
{
	if (plain.n == 0 || !(f->leaves & TYPE(plain.type)))
		return false;
	put_piece(p, plain.s, plain.n);
	return true;
}

static bool put_value(struct projector *p, const struct field *f, struct json value, struct json_plain plain);

static bool put_object(struct projector *p, const struct field *f, struct json object)
{
	struct place places[SINGER_FIELDS];
	bool ok = true, first = true;
	size_t i;

	members_note(p, f, object, places);
	for (i = 0; ok && i < f->count; i++) {
		const struct field *child = &f->children[i];
		const struct singer_extra *extra = f->parent ? NULL : extra_of(p, child->name);
		struct json value = {object.text, places[i].node};
		struct json_plain plain = json_plain(value);

		if (!child->selected || (!value.node && !extra && !child->required))
			continue;
		if (!first)
			put_sign(p, ",");
		first = false;
		put_name(p, child, places[i].name);
		if (extra)
			ok = put_extra(p, child, extra->value);
		else
			ok = put_leaf(p, child, plain) || put_value(p, child, value, plain);
	}
	put_sign(p, "}");
	return ok;
}

static bool put_array(struct projector *p, const struct field *items, struct json array)
{
	struct json_each it = json_each(array);
	struct json_plain plain;
	bool ok = true, first = true;

	for (; ok && json_next(&it); first = false) {
		if (!first)
			put_sign(p, ",");
		plain = json_plain(it.value);
		ok = put_leaf(p, items, plain) || put_value(p, items, it.value, plain);
	}
	put_sign(p, "]");
	return ok;
}

/* A value as its field wants it, unless it is a leaf.  false: it does not fit, and p says why. */
static bool put_value(struct projector *p, const struct field *f, struct json value, struct json_plain plain)
{
	if (f->required && plain.type <= JSON_NULL)
		return misfit(p, f, plain.type, NULL);
	if (!(f->types & TYPE(plain.type)))
		return put_other(p, f, value, plain);
	if (plain.type == JSON_STRING && f->date_time)
		return put_time_of(p, f, value);
	if ((plain.type == JSON_ARRAY && f->items) || (plain.type == JSON_OBJECT && f->children)) {
		put_piece(p, plain.s, plain.n);
		return plain.type == JSON_ARRAY ? put_array(p, f->items, value) : put_object(p, f, value);
	}
	put_copy(p, f, value, false);
	return true;
}

/* ---- Projection: a row that does not fit ---- */

/* The key's values as sent. */
static void error_add_key(struct error *error, const struct selection *sel, struct json row, const struct projector *p)
{
	size_t i;

	for (i = 0; i < SINGER_KEYS && sel->key[i].n; i++) {
		const struct singer_extra *extra = extra_of(p, sel->key[i]);
		struct str value = extra ? extra->value : json_token(json_member(row, sel->key[i]));

		error_add(error, "%s%.*s %.*s", i ? ", " : " with ", str_width(sel->key[i], 32), sel->key[i].s,
			  str_width(value, 48), value.n ? value.s : "");
	}
}

static bool fail_misfit(const struct selection *sel, struct json row, const struct projector *p, struct error *error)
{
	static const char *const found[] = {
		[JSON_ABSENT] = "missing",  [JSON_NULL] = "null",       [JSON_BOOL] = "a boolean",
		[JSON_NUMBER] = "a number", [JSON_STRING] = "a string", [JSON_ARRAY] = "an array",
		[JSON_OBJECT] = "an object"};
	const struct field *f = p->misfit;
	const struct type_name *t;
	const char *before = "";
	struct path path;

	fail(error, "stream %s: a row", sel->stream->name);
	error_add_key(error, sel, row, p);
	error_add(error, ": %s is %s, but ", path_of(f, &path), p->what ? p->what : found[p->found]);
	if (f->required && (p->found <= JSON_NULL || (p->what && f->types & TYPE(JSON_NULL)))) {
		error_add(error, "it belongs to the key or dates the row");
		return false;
	}
	error_add(error, "the schema takes ");
	for (t = type_names; t->name; t++)
		if (f->types & t->bit) {
			error_add(error, "%s%s", before, t->name);
			before = " or ";
		}
	error_add(error, "%s; deselect it, or change its type in the catalog",
		  f->date_time ? " of format date-time" : "");
	return false;
}

void selection_report(const struct selection *sel)
{
	char names[1024];
	size_t i, length = 0, n = sel->left_out ? sel->left_out->count : 0;
	struct path path;

	for (i = 0; i < n && length < sizeof names; i++) {
		const struct field *object = sel->left_out->member[i].object;
		if (memchr(sel->left_out->member[i].name, '\\', sel->left_out->member[i].length))
			continue; /* another spelling of a name that is here already, most likely */
		length += (size_t)snprintf(names + length, sizeof names - length, "%s%s%s%.*s", length ? ", " : "",
					   object->parent ? path_of(object, &path) : "", object->parent ? "." : "",
					   (int)sel->left_out->member[i].length, sel->left_out->member[i].name);
	}
	if (length)
		log_stream(LOG_INFO, sel->stream->name, "stream %s: left out, because its schema does not have it: %s",
			   sel->stream->name, names);
	if (sel->mended)
		log_stream(
			LOG_INFO, sel->stream->name,
			"stream %s: %s has text with U+0000 or half a surrogate pair; as targets refuse it, \\ufffd is "
			"written there and wherever else it comes",
			sel->stream->name, path_of(sel->mended, &path));
}

/* ---- Messages ---- */

enum { LINES_HELD = 64 << 10 };

/* Stdout may have been made non-blocking by another process that shares it. */
static bool wait_writable(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLOUT};

	return poll(&ready, 1, -1) >= 0 || errno == EINTR || errno == EAGAIN;
}

volatile sig_atomic_t singer_writes;

/* Small enough for every sig_atomic_t, and even, so that what is odd stays odd. */
static void writes_count(void)
{
	singer_writes = (singer_writes + 1) % 64;
}

static void write_out(struct singer *s)
{
	size_t done = 0;

	if (s->waits)
		return;
	writes_count();
	while (!s->write_errno && done < s->out.length) {
		ssize_t n = write(s->fd, s->out.bytes + done, s->out.length - done);
		if (n > 0)
			done += (size_t)n;
		else if (n == 0)
			s->write_errno = EIO;
		else if (errno == EAGAIN || errno == EWOULDBLOCK ? !wait_writable(s->fd) : errno != EINTR)
			s->write_errno = errno;
	}
	writes_count();
	s->out.length = 0;
}

/* Where a line begins.  Many readers take half a surrogate pair, and fail when they are to write it; PostgreSQL has no
 * text with U+0000. */
static size_t line_begin(struct singer *s)
{
	s->out.mend = true;
	s->out.mended = false;
	return s->out.length;
}

/* The line since mark is complete, or memory ran out in it: then the lines before it are the last to leave. */
static bool line_end(struct singer *s, size_t mark)
{
	if (s->out.failed) {
		s->out.length = mark;
		write_out(s);
		if (!s->write_errno)
			s->write_errno = ENOMEM;
		return false;
	}
	if (s->out.length >= LINES_HELD)
		write_out(s);
	return s->write_errno == 0;
}

bool singer_flush(struct singer *s)
{
	write_out(s);
	return s->write_errno == 0;
}

/* Selected names of a "required" list; names that are no field of the node stay. */
static void put_required(struct json_out *out, const struct field *f, struct json names)
{
	bool first = true;
	struct json_each it;

	json_put_text(out, "[");
	for (it = json_each(names); json_next(&it);) {
		const struct field *child = field_called(f, it.value);
		if (child && !child->selected)
			continue;
		json_put_text(out, first ? "" : ",");
		json_put_value(out, it.value, 0);
		first = false;
	}
	json_put_text(out, "]");
}

/* Oldest catalogs select inside the schema; that is no part of a JSON Schema. */
static bool is_selection(struct json keyword)
{
	return json_equals(keyword, str_of("selected")) || json_equals(keyword, str_of("inclusion"));
}

/* The schema that a field was compiled from, with the selected fields only. */
static void put_schema(struct json_out *out, const struct field *f)
{
	struct json_each it = json_each(f->schema);
	bool first = true, first_child = true;
	size_t i;

	if (json_type(f->schema) != JSON_OBJECT) {
		json_put_value(out, f->schema, 0);
		return;
	}
	json_put_text(out, "{");
	if (!f->parent && !json_get(f->schema, "type").node) {
		json_put_text(out, "\"type\":\"object\"");
		first = false;
	}
	while (json_next(&it)) {
		if (is_selection(it.key))
			continue;
		json_put_text(out, first ? "" : ",");
		first = false;
		json_put_value(out, it.key, 0);
		json_put_text(out, ":");
		if (f->items && json_equals(it.key, str_of("items"))) {
			put_schema(out, f->items);
		} else if (f->children && json_equals(it.key, str_of("properties"))) {
			json_put_text(out, "{");
			for (i = 0; i < f->count; i++) {
				if (!f->children[i].selected)
					continue;
				json_put_text(out, first_child ? "" : ",");
				first_child = false;
				json_put_string(out, f->children[i].name);
				json_put_text(out, ":");
				put_schema(out, &f->children[i]);
			}
			json_put_text(out, "}");
		} else if (f->children && json_equals(it.key, str_of("required")) &&
			   json_type(it.value) == JSON_ARRAY) {
			put_required(out, f, it.value);
		} else {
			json_put_value(out, it.value, 0);
		}
	}
	json_put_text(out, "}");
}

static void put_names(struct json_out *out, const struct str names[], size_t n)
{
	size_t i;

	json_put_text(out, "[");
	for (i = 0; i < n && names[i].n; i++) {
		json_put_text(out, i ? "," : "");
		json_put_string(out, names[i]);
	}
	json_put_text(out, "]");
}

void singer_schema(struct singer *s, struct selection *sel)
{
	size_t mark = line_begin(s);
	struct str replication;

	if (sel->started || s->write_errno)
		return;
	sel->started = true;
	json_put_text(&s->out, "{\"type\":\"SCHEMA\",\"stream\":");
	json_put_string(&s->out, sel->name);
	json_put_text(&s->out, ",\"schema\":");
	put_schema(&s->out, sel->fields);
	json_put_text(&s->out, ",\"key_properties\":");
	put_names(&s->out, sel->key, SINGER_KEYS);
	if (sel->stream->replication_key && !sel->full_table) {
		replication = str_of(sel->stream->replication_key);
		json_put_text(&s->out, ",\"bookmark_properties\":");
		put_names(&s->out, &replication, 1);
	}
	json_put_text(&s->out, "}\n");
	line_end(s, mark);
}

/* The end of a RECORD line.  Rows of one page share the time, and so the text. */
static void put_extracted(struct singer *s, int64_t us)
{
	struct str tail = {s->tail, SINGER_TAIL};

	if (!s->tail[0] || s->extracted_us != us) {
		char time[TIME_SIZE], text[SINGER_TAIL + 1];
		time_format(us, time);
		snprintf(text, sizeof text, ",\"time_extracted\":\"%s\"}\n", time);
		memcpy(s->tail, text, SINGER_TAIL);
		s->extracted_us = us;
	}
	json_put(&s->out, tail);
}

static void put_version(struct singer *s, const struct selection *sel)
{
	if (!s->version || sel->stream->replication_key)
		return;
	json_put_text(&s->out, ",\"version\":");
	json_put_int64(&s->out, s->version);
}

void singer_activate(struct singer *s, const struct selection *sel)
{
	size_t mark = line_begin(s);

	if (!s->version || sel->stream->replication_key || s->write_errno)
		return;
	json_put_text(&s->out, "{\"type\":\"ACTIVATE_VERSION\",\"stream\":");
	json_put_string(&s->out, sel->name);
	put_version(s, sel);
	json_put_text(&s->out, "}\n");
	line_end(s, mark);
}

bool singer_record(struct singer *s, struct selection *sel, struct json row, const struct singer_extra *extra,
		   size_t extras, int64_t extracted_us, struct error *error)
{
	struct projector p = {.out = &s->out, .extra = extra, .extras = extras, .renamed = sel->stream->renamed};
	size_t mark;

	if (s->write_errno)
		return true;
	if (json_type(row) != JSON_OBJECT)
		return fail(error, "stream %s: a row is not an object", sel->stream->name);
	singer_schema(s, sel);
	p.from = p.to = "";
	p.left_out = sel->left_out;
	mark = line_begin(s);
	json_put(&s->out, sel->head);
	if (!put_value(&p, sel->fields, row, json_plain(row))) {
		s->out.length = mark;
		return fail_misfit(sel, row, &p, error);
	}
	pieces_end(&p);
	put_version(s, sel);
	put_extracted(s, extracted_us);
	if (p.mended && !sel->mended)
		sel->mended = p.mended;
	if (line_end(s, mark)) {
		sel->records++;
		s->records++;
	}
	return true;
}

/* ---- State ---- */

/* A bookmark that this run has moved. */
struct state_mark {
	const struct singer_stream *stream;
	const struct json_node *old; /* the bookmark that it takes the place of; NULL: none was there */
	int64_t us;
	struct state_mark *next;
};

static bool is_object_or_none(struct json v)
{
	return json_type(v) <= JSON_NULL || json_type(v) == JSON_OBJECT;
}

/* What is inside a STATE message, what "meltano state get" prints, or a file of Meltano's state backend; the state itself
 * otherwise. */
static struct json state_unwrap(struct json doc)
{
	struct json completed = json_get(json_get(doc, "completed"), "singer_state");
	struct json partial = json_get(json_get(doc, "partial"), "singer_state");
	struct json inside = json_get(doc, "singer_state");

	if (inside.node) {
		log_line(LOG_WARNING, "the state is that of \"singer_state\"; a state file should hold just this");
		return inside;
	}
	if (completed.node || partial.node) {
		log_line(LOG_WARNING,
			 "the state is the \"singer_state\" of \"%s\"; a state file should hold just this%s",
			 completed.node ? "completed" : "partial",
			 completed.node && json_count(partial) ? ", and its \"partial\" is left out" : "");
		return completed.node ? completed : partial;
	}
	inside = json_get(doc, "value");
	if (inside.node && json_equals(json_get(doc, "type"), str_of("STATE"))) {
		log_line(LOG_WARNING, "the state is the value of a STATE message; a state file should hold just this");
		return inside;
	}
	return doc;
}

/* A document goes out again as it came in, so it must be a state and not, say, the config. */
static bool state_check(struct json doc, struct error *error)
{
	static const char expected[] = "expected a state, {\"bookmarks\": {\"STREAM\": {\"KEY\": \"TIME\"}}}";
	struct json bookmarks = json_get(doc, "bookmarks");

	if (!is_object_or_none(doc))
		return fail(error, "the document is not an object; %s", expected);
	if (!is_object_or_none(bookmarks))
		return fail(error, "\"bookmarks\" is not an object; %s", expected);
	if (json_type(json_get(doc, "type")) == JSON_STRING && !bookmarks.node)
		return fail(error, "the document is a message of another kind; %s", expected);
	if (json_count(doc) && !bookmarks.node && !json_get(doc, "currently_syncing").node)
		return fail(error, "the document has neither \"bookmarks\" nor \"currently_syncing\"; %s", expected);
	return true;
}

/* The same document without the secrets that may stand in its strings. */
static bool state_clean(struct json *doc, struct arena *arena)
{
	struct json_out out = {0};
	struct json_error unused;
	const char *copy = NULL;
	bool ok = true;

	json_put_value(&out, *doc, 0);
	json_put(&out, (struct str){"", 1});
	if (!out.failed && strike_out_strings(out.bytes)) {
		struct str text = str_of(out.bytes);
		log_line(LOG_WARNING, "the state holds a secret of the config; it is struck out");
		copy = arena_string(arena, text);
		ok = copy && json_parse(arena, copy, text.n, doc, &unused);
	}
	ok = ok && !out.failed;
	json_out_free(&out);
	return ok;
}

bool state_read(struct state *st, struct json doc, struct arena *arena, struct error *error)
{
	struct state fresh = {.arena = arena};
	struct json syncing;

	*st = fresh;
	doc = state_unwrap(doc);
	if (!state_check(doc, error))
		return false;
	if (doc.node && logger.secrets && !state_clean(&doc, arena))
		return fail(error, "no memory for the state");
	syncing = json_get(doc, "currently_syncing");
	if (json_type(syncing) == JSON_STRING && !json_string(syncing, arena, &st->syncing))
		return fail(error, "no memory for the state");
	if (json_type(doc) == JSON_OBJECT)
		st->old = doc;
	return true;
}

static struct state_mark *state_mark_of(const struct state *st, const struct singer_stream *stream)
{
	struct state_mark *mark;

	for (mark = st->mark; mark && mark->stream != stream; mark = mark->next)
		;
	return mark;
}

/* The time in a bookmark; absent if it holds none. */
static struct json bookmark_time(struct json bookmark, const char *replication_key)
{
	struct json time = json_get(bookmark, replication_key);

	if (json_type(bookmark) != JSON_OBJECT)
		return bookmark;
	return json_type(time) > JSON_NULL ? time : json_get(bookmark, "replication_key_value");
}

/* A stream's bookmark as read; absent where there is none. */
static struct json bookmark_of(const struct state *st, const struct singer_stream *stream)
{
	struct json bookmarks = json_get(st->old, "bookmarks"), own = json_get(bookmarks, stream->name);

	return own.node || !stream->alias ? own : json_get(bookmarks, stream->alias);
}

bool state_get(const struct state *st, const struct singer_stream *stream, int64_t *us, struct error *error)
{
	const struct state_mark *mark = state_mark_of(st, stream);
	const char *wrong = "it is no string";
	struct json time;
	struct str text;

	if (mark)
		*us = mark->us;
	if (mark || !stream->replication_key)
		return true;
	time = bookmark_time(bookmark_of(st, stream), stream->replication_key);
	if (json_type(time) <= JSON_NULL)
		return true;
	if (json_type(time) == JSON_STRING && !json_string(time, st->arena, &text))
		return fail(error, "no memory for the state");
	if (json_type(time) == JSON_STRING)
		wrong = time_read(text, us);
	if (!wrong)
		return true;
	text = json_type(time) == JSON_STRING ? text : json_token(time);
	return fail(error,
		    "the bookmark of stream %s is not an RFC 3339 time: \"%.*s\": %s; expected {\"%s\": "
		    "\"2021-02-01T00:00:00Z\"}, without it the stream starts at start_date",
		    stream->name, str_width(text, 40), text.s, wrong, stream->replication_key);
}

/* How many of the bookmarks are a stream's of this tap, and how many there are. */
static size_t bookmarks_count(const struct state *st, const struct selection sel[], size_t n, size_t *all)
{
	struct json_each it;
	size_t ours = 0;

	*all = 0;
	for (it = json_each(json_get(st->old, "bookmarks")); json_next(&it); (*all)++)
		ours += stream_find(sel, n, it.key) < n;
	return ours;
}

bool state_bookmarks(const struct state *st, struct selection sel[], size_t n, int64_t start_us, struct error *error)
{
	size_t i, all, ours = bookmarks_count(st, sel, n, &all);
	char start[TIME_SIZE];

	time_format(start_us, start);
	for (i = 0; i < n; i++) {
		const struct singer_stream *stream = sel[i].stream;

		sel[i].bookmark_us = INT64_MIN;
		if (!stream->replication_key || sel[i].full_table)
			continue;
		if (!state_get(st, stream, &sel[i].bookmark_us, error))
			return false;
		if (sel[i].selected && sel[i].bookmark_us == INT64_MIN &&
		    json_type(bookmark_of(st, stream)) == JSON_OBJECT && json_count(bookmark_of(st, stream)))
			log_stream(
				LOG_WARNING, stream->name,
				"stream %s: its bookmark in the state holds no \"%s\", so the stream starts at %s, the "
				"start_date",
				stream->name, stream->replication_key, start);
	}
	if (all > 0 && ours == 0)
		log_line(LOG_WARNING,
			 "none of the %zu bookmarks in the state is that of a stream of this tap: every stream starts "
			 "at %s, "
			 "the start_date",
			 all, start);
	return true;
}

bool state_raise(struct state *st, const struct singer_stream *stream, int64_t us)
{
	struct state_mark *mark = state_mark_of(st, stream), **end = &st->mark;
	int64_t old = INT64_MIN;
	struct error ignored = {""};

	if (state_get(st, stream, &old, &ignored) && us <= old)
		return true;
	if (!mark) {
		mark = arena_alloc(st->arena, 1, sizeof *mark);
		if (!mark)
			return false;
		mark->stream = stream;
		mark->old = json_get(json_get(st->old, "bookmarks"), stream->name).node;
		while (*end)
			end = &(*end)->next;
		*end = mark;
	}
	mark->us = us;
	return true;
}

void state_syncing(struct state *st, const char *stream)
{
	st->syncing = str_of(stream);
}

static void put_key(struct json_out *out, bool *first, struct str name)
{
	json_put_text(out, *first ? "" : ",");
	*first = false;
	json_put_string(out, name);
	json_put_text(out, ":");
}

static void put_as_read(struct json_out *out, bool *first, const struct json_each *it)
{
	json_put_text(out, *first ? "" : ",");
	*first = false;
	json_put_value(out, it->key, 0);
	json_put_text(out, ":");
	json_put_value(out, it->value, 0);
}

/* A raised bookmark, in place of the old one: members that say the same are replaced, others stay. */
static void put_mark(struct json_out *out, const struct state_mark *mark, struct json old)
{
	const char *key = mark->stream->replication_key;
	struct json_each it = json_each(old);
	char time[TIME_SIZE];
	bool first = true;

	time_format(mark->us, time);
	json_put_text(out, "{");
	put_key(out, &first, str_of(key));
	json_put_string(out, str_of(time));
	while (it.object && json_next(&it))
		if (!json_equals(it.key, str_of(key)) && !json_equals(it.key, str_of("replication_key")) &&
		    !json_equals(it.key, str_of("replication_key_value")))
			put_as_read(out, &first, &it);
	json_put_text(out, "}");
}

/* The old bookmarks where they were, the raised in their place, new ones at the end. */
static void put_bookmarks(struct json_out *out, const struct state *st, struct json old)
{
	const struct state_mark *mark;
	struct json_each it;
	bool first = true;

	json_put_text(out, "{");
	for (it = json_each(old); json_next(&it);) {
		for (mark = st->mark; mark && mark->old != it.value.node; mark = mark->next)
			;
		if (mark) {
			put_key(out, &first, str_of(mark->stream->name));
			put_mark(out, mark, it.value);
		} else {
			put_as_read(out, &first, &it);
		}
	}
	for (mark = st->mark; mark; mark = mark->next)
		if (!mark->old) {
			struct json none = {NULL, NULL};
			put_key(out, &first, str_of(mark->stream->name));
			put_mark(out, mark, none);
		}
	json_put_text(out, "}");
}

static void put_syncing(struct json_out *out, const struct state *st)
{
	if (st->syncing.n)
		json_put_string(out, st->syncing);
	else
		json_put_text(out, "null");
}

static void put_state(struct json_out *out, const struct state *st)
{
	/* Of equal members the last one counts; it is looked up once, since there may be thousands. */
	struct json bookmarks = json_get(st->old, "bookmarks"), syncing = json_get(st->old, "currently_syncing");
	struct json_each it;
	bool first = true;

	json_put_text(out, "{");
	for (it = json_each(st->old); json_next(&it);) {
		if (it.value.node == bookmarks.node) {
			put_key(out, &first, str_of("bookmarks"));
			put_bookmarks(out, st, it.value);
		} else if (it.value.node == syncing.node) {
			put_key(out, &first, str_of("currently_syncing"));
			put_syncing(out, st);
		} else {
			put_as_read(out, &first, &it);
		}
	}
	if (!bookmarks.node) {
		put_key(out, &first, str_of("bookmarks"));
		put_bookmarks(out, st, bookmarks);
	}
	if (!syncing.node) {
		put_key(out, &first, str_of("currently_syncing"));
		put_syncing(out, st);
	}
	json_put_text(out, "}");
}

static void state_line(struct singer *s, const struct state *st, const char *before, const char *after)
{
	size_t mark = line_begin(s);

	if (s->write_errno)
		return;
	json_put_text(&s->out, before);
	put_state(&s->out, st);
	json_put_text(&s->out, after);
	if (line_end(s, mark))
		write_out(s);
}

void singer_state(struct singer *s, const struct state *st)
{
	state_line(s, st, "{\"type\":\"STATE\",\"value\":", "}\n");
}

void singer_state_value(struct singer *s, const struct state *st)
{
	state_line(s, st, "", "\n");
}

/* ---- The catalog as discovery writes it ----
 * Put together as compact text, then parsed and written again with line breaks: readers such as Meltano refuse lines
 * of more than 64 KiB. */

static void put_flag(struct json_out *out, const char *name, bool value)
{
	json_put_text(out, ",\"");
	json_put_text(out, name);
	json_put_text(out, value ? "\":true" : "\":false");
}

static void put_member(struct json_out *out, const char *name, const char *value)
{
	json_put_text(out, ",\"");
	json_put_text(out, name);
	json_put_text(out, "\":");
	json_put_string(out, str_of(value));
}

static void put_breadcrumb(struct json_out *out, const struct field *f)
{
	if (f->parent->parent) {
		put_breadcrumb(out, f->parent);
		json_put_text(out, ",");
	}
	json_put_text(out, "\"properties\",");
	json_put_string(out, f->name);
}

/* Metadata of the fields of an object and of the objects in it.  There is none below "items": Meltano's rules never
 * match it, and would leave the elements without fields. */
static void put_fields_metadata(struct json_out *out, const struct selection *sel, const struct field *object)
{
	size_t i;

	for (i = 0; i < object->count; i++) {
		const struct field *f = &object->children[i];
		bool top = !object->parent, automatic = top && is_automatic(sel->stream, f->name);

		json_put_text(out, ",{\"breadcrumb\":[");
		put_breadcrumb(out, f);
		json_put_text(out, automatic ? "],\"metadata\":{\"inclusion\":\"automatic\""
					     : "],\"metadata\":{\"inclusion\":\"available\"");
		put_flag(out, "selected-by-default", !is_secret(sel->stream, f));
		if (top && sel->by_rules && sel->selected)
			put_flag(out, "selected", f->selected);
		json_put_text(out, "}}");
		put_fields_metadata(out, sel, f);
	}
}

static void put_stream_metadata(struct json_out *out, const struct selection *sel)
{
	const struct singer_stream *stream = sel->stream;
	struct str replication = str_of(stream->replication_key);

	json_put_text(out, "{\"breadcrumb\":[],\"metadata\":{\"inclusion\":\"available\"");
	if (sel->by_rules)
		put_flag(out, "selected", sel->selected);
	json_put_text(out, ",\"table-key-properties\":");
	put_names(out, sel->key, SINGER_KEYS);
	put_member(out, "forced-replication-method", stream->replication_key ? "INCREMENTAL" : "FULL_TABLE");
	if (stream->replication_key) {
		json_put_text(out, ",\"valid-replication-keys\":");
		put_names(out, &replication, 1);
	}
	if (stream->parent)
		put_member(out, "parent-tap-stream-id", stream->parent);
	json_put_text(out, "}}");
}

/* "schema" stands before "metadata", the order in which Meltano walks through it. */
static void put_entry(struct json_out *out, const struct selection *sel)
{
	const struct singer_stream *stream = sel->stream;

	json_put_text(out, "{\"tap_stream_id\":");
	json_put_string(out, str_of(stream->name));
	put_member(out, "stream", stream->name);
	json_put_text(out, ",\"key_properties\":");
	put_names(out, sel->key, SINGER_KEYS);
	put_member(out, "replication_method", stream->replication_key ? "INCREMENTAL" : "FULL_TABLE");
	if (stream->replication_key)
		put_member(out, "replication_key", stream->replication_key);
	json_put_text(out, ",\"schema\":");
	json_put_value(out, sel->schema, 0);
	json_put_text(out, ",\"metadata\":[");
	put_stream_metadata(out, sel);
	put_fields_metadata(out, sel, sel->fields);
	json_put_text(out, "]}");
}

enum { CATALOG_SIZE = 1 << 19 }; /* bytes, about: with its indentation, which is half of it */

void singer_catalog(struct singer *s, const struct selection sel[], size_t n)
{
	size_t mark = s->out.length, i;
	struct json_out compact = {0};
	struct arena arena = {0};
	struct json_error problem;
	struct json document;

	if (s->write_errno)
		return;
	json_reserve(&compact, CATALOG_SIZE / 2);
	json_reserve(&s->out, CATALOG_SIZE);
	json_put_text(&compact, "{\"streams\":[");
	for (i = 0; i < n; i++) {
		json_put_text(&compact, i ? "," : "");
		put_entry(&compact, &sel[i]);
	}
	json_put_text(&compact, "]}");
	if (!compact.failed && json_parse(&arena, compact.bytes, compact.length, &document, &problem))
		json_put_value(&s->out, document, 2);
	else
		s->out.failed = true;
	json_put_text(&s->out, "\n");
	line_end(s, mark);
	arena_free(&arena);
	json_out_free(&compact);
}
