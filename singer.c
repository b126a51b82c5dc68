#include "singer.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- Log ---- */

enum {
	LOG_LINE = 2048,         /* bytes of a plain line, its end included */
	LOG_TEXT = 2 * LOG_LINE, /* formatted before striking out, which makes it shorter */
	SECRETS = 32,
	SECRET_SHORT = 6,     /* a shorter secret is a part of too many words */
	SECRET_BEGINNING = 8, /* so many characters of a longer one are struck out as well */
	SPELLING = 6,         /* the longest spelling of one character: \u0041 */
	PROGRESS_WIDTH = 79
};

static struct {
	enum log_level least;
	bool structured;
	bool progress; /* standard error, a terminal, shows how far the run is */
	bool holding;
	struct json_out held; /* lines that wait */
	const char *secret[SECRETS];
	size_t secrets;
} logger = {.least = LOG_INFO};

static const char *const level_upper[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};
static const char *const level_lower[] = {"debug", "info", "warning", "error", "critical"};

void log_setup(enum log_level least, bool structured)
{
	logger.least = least;
	logger.structured = structured;
}

void log_hold(void)
{
	logger.holding = true;
}

void log_secret(const char *secret)
{
	if (!secret)
		logger.secrets = 0;
	else if (*secret && logger.secrets < SECRETS)
		logger.secret[logger.secrets++] = secret;
}

static bool is_word(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Does a text of two hexadecimal digits, in either case, stand for this character? */
static bool is_hex_of(const char *text, char c)
{
	char lower[3], upper[3];

	snprintf(lower, sizeof lower, "%02x", (unsigned)(unsigned char)c);
	snprintf(upper, sizeof upper, "%02X", (unsigned)(unsigned char)c);
	return (text[0] == lower[0] || text[0] == upper[0]) && (text[1] == lower[1] || text[1] == upper[1]);
}

/* How many bytes at text spell this character: itself, percent-encoded or as an escape of JSON; 0 if they do not. */
static size_t spelling(const char *text, char c)
{
	if (*text == c)
		return 1;
	if (*text == '%' && is_hex_of(text + 1, c))
		return 3;
	if (*text == '\\' && text[1] == c)
		return 2;
	if (strncmp(text, "\\u00", 4) == 0 && is_hex_of(text + 4, c))
		return 6;
	return 0;
}

/* Length of the secret at text, or 0.  Its beginning counts as well, if it is long enough to tell something: what a
 * message quotes may have been cut in the middle of the secret.  cut: so was this text, at its end. */
static size_t secret_length(const char *text, const char *secret, bool cut)
{
	const char *p = text, *c;

	for (c = secret; *c; c++) {
		size_t n = spelling(p, *c);
		if (n == 0 && cut && p > text && strlen(p) < SPELLING)
			return (size_t)(p - text) + strlen(p);
		if (n == 0)
			return c - secret >= SECRET_BEGINNING ? (size_t)(p - text) : 0;
		p += n;
	}
	return (size_t)(p - text);
}

static bool is_struck(const char *text, const char *at, size_t length, const char *secret)
{
	if (length == 0 || strlen(secret) >= SECRET_SHORT)
		return length > 0;
	return !(at > text && is_word(at[-1])) && !is_word(at[length]);
}

/* Length of what is to be struck out at a place of the text, or 0. */
static size_t struck_length(const char *text, const char *at, bool cut)
{
	size_t i, longest = 0;

	for (i = 0; i < logger.secrets; i++) {
		size_t n = secret_length(at, logger.secret[i], cut);
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
		size_t n = struck_length(text, from, cut), stars = n < 3 ? n : 3;
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

/* A line of the log takes the place of the progress shown. */
static void progress_clear(void)
{
	static const char erase[] = "\r\033[K"; /* ECMA-48: to the line's begin, and erase it */

	if (logger.progress)
		line_write(erase, sizeof erase - 1);
	logger.progress = false;
}

/* The members that Meltano asks of a structured line.  message: text for a string; metric: JSON, or NULL. */
static void line_structured(enum log_level level, const char *stream, const char *message, const char *metric)
{
	char line[2 * LOG_LINE + 1024], quoted[2 * LOG_LINE + 1], *to = quoted;
	struct timespec now = {0, 0};
	int n;

	for (; *message; *to++ = *message++)
		if (*message == '"' || *message == '\\')
			*to++ = '\\';
	*to = '\0';
	clock_gettime(CLOCK_REALTIME, &now);
	n = snprintf(line, sizeof line,
		     "{\"level\": \"%s\", \"pid\": %ld, \"logger_name\": \"tap-segment\", \"ts\": %" PRId64 ".%06ld, "
		     "\"thread_name\": \"MainThread\", \"app_name\": \"tap-segment\", \"stream_name\": %s%s%s, "
		     "\"message\": \"%s\"%s%s}\n",
		     level_lower[level], (long)getpid(), (int64_t)now.tv_sec, now.tv_nsec / 1000, stream ? "\"" : "",
		     stream ? stream : "null", stream ? "\"" : "", quoted, metric ? ", \"metric_info\": " : "",
		     metric ? metric : "");
	line_write(line, (size_t)n);
}

static void line_plain(enum log_level level, const char *message)
{
	char line[LOG_LINE + 1];
	int n = snprintf(line, sizeof line, "%s %s\n", level_upper[level], message);

	progress_clear();
	line_write(line, (size_t)n);
}

/* The text of a line, fit to be shown and cut to a length. */
static void line_text(char text[LOG_TEXT], size_t most, const char *format, va_list args)
{
	int n = vsnprintf(text, LOG_TEXT, format, args);

	make_printable(text);
	strike_out(text, n >= LOG_TEXT);
	text[most] = '\0';
}

void log_line(enum log_level level, const char *format, ...)
{
	char text[LOG_TEXT];
	int saved = errno;
	va_list args;

	if (level < logger.least)
		return;
	va_start(args, format);
	line_text(text, LOG_LINE - strlen("CRITICAL \n"), format, args);
	va_end(args);
	if (logger.structured)
		line_structured(level, NULL, text, NULL);
	else
		line_plain(level, text);
	errno = saved;
}

void log_progress(const char *format, ...)
{
	char text[LOG_TEXT];
	int saved = errno;
	va_list args;

	if (!logger.structured && LOG_INFO >= logger.least && isatty(STDERR_FILENO)) {
		va_start(args, format);
		line_text(text, PROGRESS_WIDTH, format, args);
		va_end(args);
		progress_clear();
		line_write(text, strlen(text));
		logger.progress = true;
	}
	errno = saved;
}

/* metric: JSON, behind "METRIC: ", which the structured form does not show.  It is made of numbers and of the tap's own
 * names: nothing in it to clean or to strike out. */
static void log_metric(const char *stream, const char *metric)
{
	int saved = errno;

	if (LOG_INFO < logger.least)
		return;
	if (logger.structured)
		line_structured(LOG_INFO, stream, "METRIC", strchr(metric, '{'));
	else
		line_plain(LOG_INFO, metric);
	errno = saved;
}

void log_records(const char *stream, uint64_t more)
{
	char metric[512];

	snprintf(metric, sizeof metric,
		 "METRIC: {\"type\": \"counter\", \"metric\": \"record_count\", \"value\": %" PRIu64
		 ", \"tags\": {\"endpoint\": \"%s\"}}",
		 more, stream);
	log_metric(stream, metric);
}

void log_request(const char *stream, int64_t ms, int status)
{
	char metric[512], code[48] = "";

	if (ms < 0)
		ms = 0;
	if (status)
		snprintf(code, sizeof code, "\"http_status_code\": %d, ", status);
	snprintf(metric, sizeof metric,
		 "METRIC: {\"type\": \"timer\", \"metric\": \"http_request_duration\", \"value\": %" PRId64 ".%03d, "
		 "\"tags\": {\"endpoint\": \"%s\", %s\"status\": \"%s\"}}",
		 ms / 1000, (int)(ms % 1000), stream, code, status >= 200 && status < 300 ? "succeeded" : "failed");
	log_metric(stream, metric);
}

/* No counters: whoever adds up those of a run means its records. */
void log_bytes(uint64_t received, uint64_t decoded)
{
	static const char format[] =
		"METRIC: {\"type\": \"gauge\", \"metric\": \"%s\", \"value\": %" PRIu64 ", \"tags\": {}}";
	char metric[512];

	snprintf(metric, sizeof metric, format, "http_bytes_received", received);
	log_metric(NULL, metric);
	snprintf(metric, sizeof metric, format, "http_bytes_decoded", decoded);
	log_metric(NULL, metric);
}

/* ---- Fields: a schema compiled ---- */

/* A field accepts the JSON types whose bits are set; integers have a bit of their own beside that of numbers. */
#define TYPE(t) (1u << (t))
enum {
	TYPE_INTEGER = TYPE(JSON_OBJECT + 1),
	TYPE_ANY = TYPE_INTEGER - 1 /* no "type": whatever comes */
};

/* A node of a schema.  The fields of one object lie side by side, in the schema's order. */
struct field {
	struct str name;       /* unescaped; none for the schema itself and for the items of an array */
	unsigned types, index; /* index: among the fields of its object */
	bool date_time;
	bool selected;
	bool required;          /* a field of the key or the replication field: never missing, never null */
	bool shuffled;          /* objects here have come in another order than the schema's, or not whole */
	bool foreign;           /* in the catalog's schema alone */
	unsigned leaves;        /* of the types, scalars that are written as they are */
	struct field *after;    /* the one that followed in an earlier row */
	struct field *children; /* of an object; NULL: whatever members come */
	size_t count, needs;    /* how many, and how many of them are required */
	struct field *items;    /* of an array; NULL: whatever elements come */
	const struct field *parent;
	struct json schema;   /* the node that this was compiled from */
	struct json metadata; /* the catalog's, while the selection is made */
};

/* What selection_make works with. */
struct maker {
	struct arena *arena;
	struct error *error;
	struct json streams; /* the catalog's entries; absent: no catalog */
	struct rule *rule;   /* of --select */
	size_t rules;
	bool unique_keys;
	struct json_out line; /* for what is put together, of one stream after the other */
	/* of the stream at hand */
	const char *stream;
	struct json entry, metadata, root_metadata;
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
		if (!child) {
			child = &f->children[f->count];
			child->index = (unsigned)f->count++;
		}
		child->name = name;
		child->after = child;
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

/* ---- Selection: the --select rules ---- */

/* [!]stream or [!]stream.field, both with * and ?. */
struct rule {
	struct str text, stream, field; /* field: none for the whole stream */
	bool exclude;
	bool matched; /* some stream or field */
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

/* "s.*" is all of s, as "s" is; what may follow a top-level field, as in "s.f.*", comes with it anyway. */
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
	if (str_is(rule.field, "*"))
		rule.field.n = 0;
	return rule;
}

static bool rules_parse(struct maker *m, const char *const *texts)
{
	const char *const *text, *c;
	size_t most = 1;

	if (!texts)
		return true;
	for (text = texts; *text; text++)
		for (most++, c = *text; *c; c++)
			most += *c == ',';
	m->rule = arena_alloc(m->arena, most, sizeof *m->rule);
	if (!m->rule)
		return fail(m->error, "--select: no memory");
	for (text = texts; *text; text++) {
		struct str rest = str_of(*text);
		while (rest.n) {
			struct str part = str_trim(str_cut(&rest, ','));
			if (part.n)
				m->rule[m->rules++] = rule_of(part);
		}
	}
	return m->rules || fail(m->error, "--select: expected rules like sources,audit_events.*,!iam_*");
}

static void rule_apply(struct rule *rule, bool *taken)
{
	rule->matched = true;
	*taken = !rule->exclude;
}

static bool any_field_matches(struct str glob, const struct field *fields)
{
	size_t i;

	for (i = 0; i < fields->count; i++)
		if (glob_matches(glob, fields->children[i].name))
			return true;
	return false;
}

/* Do the rules take a stream?  The last one that matches wins; one that excludes a field says nothing about it. */
static bool rules_take_stream(const struct maker *m, struct str stream, const struct field *fields)
{
	bool taken = m->rule[0].exclude;
	size_t i;

	for (i = 0; i < m->rules; i++) {
		struct rule *rule = &m->rule[i];
		if (!glob_matches(rule->stream, stream))
			continue;
		if (!rule->field.n)
			rule_apply(rule, &taken);
		else if (!rule->exclude && any_field_matches(rule->field, fields))
			taken = true;
	}
	return taken;
}

static bool rules_take_field(const struct maker *m, struct str stream, struct str field)
{
	bool taken = m->rule[0].exclude;
	size_t i;

	for (i = 0; i < m->rules; i++) {
		struct rule *rule = &m->rule[i];
		if (glob_matches(rule->stream, stream) && (!rule->field.n || glob_matches(rule->field, field)))
			rule_apply(rule, &taken);
	}
	return taken;
}

static void rules_warn(const struct maker *m)
{
	size_t i;

	for (i = 0; i < m->rules; i++)
		if (!m->rule[i].matched)
			log_line(LOG_WARNING,
				 "--select: %.*s matches no stream or field; --discover shows what there is",
				 (int)m->rule[i].text.n, m->rule[i].text.s);
}

/* ---- Selection: the catalog ---- */

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

static bool catalog_open(struct maker *m, struct json catalog)
{
	struct json_each it;

	m->streams = json_get(catalog, "streams");
	if (!catalog.node)
		return true;
	if (json_type(m->streams) != JSON_ARRAY)
		return fail(m->error, "not a catalog: expected {\"streams\": [...]}, as --discover writes it");
	for (it = json_each(m->streams); json_next(&it);)
		if (json_type(entry_id(it.value)) != JSON_STRING)
			return fail(m->error, "a stream of the catalog has no \"tap_stream_id\"");
	return true;
}

static struct json catalog_entry(const struct maker *m, const char *stream)
{
	struct json_each it;

	for (it = json_each(m->streams); json_next(&it);)
		if (json_equals(entry_id(it.value), str_of(stream)))
			return it.value;
	it.value.node = NULL;
	return it.value;
}

static void catalog_warn(const struct maker *m, const struct selection sel[], size_t n)
{
	struct json_each it;
	size_t i;

	for (it = json_each(m->streams); json_next(&it);) {
		struct json id = entry_id(it.value);
		for (i = 0; i < n && !json_equals(id, str_of(sel[i].stream->name)); i++)
			;
		if (i == n)
			log_line(LOG_WARNING, "stream %.*s of the catalog is unknown and left out",
				 (int)json_token(id).n, json_token(id).s);
	}
}

/* The metadata of the stream as a whole is that with the empty breadcrumb; of several the last counts. */
static bool entry_open(struct maker *m, const char *stream)
{
	struct json none = {NULL, NULL};
	struct json_each it;

	m->stream = stream;
	m->root_metadata = none;
	m->entry = catalog_entry(m, stream);
	m->metadata = json_get(m->entry, "metadata");
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
	*selected = choice == YES || (choice == UNSAID && m->entry.node && json_count(m->metadata) == 0);
	if (json_equals(json_get(m->root_metadata, "inclusion"), str_of("unsupported")))
		*selected = false;
	return true;
}

static void warn_impossible(const struct maker *m, const char *what, struct json value)
{
	log_line(LOG_WARNING, "stream %s: %s \"%.*s\" of the catalog is not possible and left out", m->stream, what,
		 (int)json_token(value).n, json_token(value).s);
}

/* FULL_TABLE on an incremental stream is the one method that can be chosen. */
static void stream_method(const struct maker *m, struct selection *sel)
{
	struct json method = entry_get(m, "replication-method", "replication_method");
	struct json key = entry_get(m, "replication-key", "replication_key");
	const char *own = sel->stream->replication_key;
	bool full_table = json_equals(method, str_of("FULL_TABLE"));

	sel->full_table = own && full_table;
	if (json_type(method) > JSON_NULL && !full_table && !(own && json_equals(method, str_of("INCREMENTAL"))))
		warn_impossible(m, "replication method", method);
	if (json_type(key) > JSON_NULL && !full_table && !(own && json_equals(key, str_of(own))))
		warn_impossible(m, "replication key", key);
}

/* ---- Selection: keys ---- */

static size_t key_count(const char *const key[SINGER_KEYS])
{
	size_t n = 0;

	while (n < SINGER_KEYS && key[n])
		n++;
	return n;
}

static bool key_has(const char *const key[SINGER_KEYS], struct json name)
{
	size_t i, n = key_count(key);

	for (i = 0; i < n; i++)
		if (json_equals(name, str_of(key[i])))
			return true;
	return false;
}

/* Are these the documented key's names, in any order?  Then they are what discovery wrote, and nobody's wish. */
static bool key_is_documented(const struct singer_stream *stream, struct json names)
{
	struct json_each it;

	if (json_count(names) != key_count(stream->key))
		return false;
	for (it = json_each(names); json_next(&it);)
		if (!key_has(stream->key, it.value))
			return false;
	return true;
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

/* The key in force: the user's, where the catalog has one that is not the documented; else unique or documented. */
static bool stream_key(const struct maker *m, struct selection *sel)
{
	const char *const *own = m->unique_keys ? sel->stream->unique_key : sel->stream->key;
	size_t i, n = key_count(own);
	struct json places[4];

	for (i = 0; i < n; i++)
		sel->key[i] = str_of(own[i]);
	places[0] = entry_get(m, "key-properties", "key_properties");
	places[1] = json_get(m->entry, "key_properties");
	places[2] = entry_get(m, "view-key-properties", "view_key_properties");
	places[3] = entry_get(m, "table-key-properties", "table_key_properties");
	for (i = 0; i < countof(places); i++) {
		if (json_type(places[i]) > JSON_NULL && json_type(places[i]) != JSON_ARRAY)
			return fail(m->error, "stream %s: the catalog's key is not a list of fields' names", m->stream);
		if (json_type(places[i]) == JSON_ARRAY && !key_is_documented(sel->stream, places[i]))
			return key_take(m, sel, places[i]);
	}
	return true;
}

static bool require_field(struct selection *sel, struct str name)
{
	struct field *f = field_named(sel->fields, name);

	if (f && !f->required) {
		f->required = true;
		sel->fields->needs++;
	}
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
	if (replication && !require_field(sel, str_of(replication)) && !sel->full_table)
		return fail(m->error,
			    "stream %s: replication key %s is not in the catalog's schema; add it there, or choose "
			    "FULL_TABLE",
			    m->stream, replication);
	return true;
}

/* A key identifies a row if all that the unique key names is in it.  No key at all loses no row either. */
static bool key_is_unique(const struct selection *sel)
{
	size_t i, k, n = key_count(sel->stream->unique_key);

	for (i = 0; i < n && sel->key[0].n; i++) {
		for (k = 0; k < SINGER_KEYS && !str_is(sel->key[k], sel->stream->unique_key[i]); k++)
			;
		if (k == SINGER_KEYS)
			return false;
	}
	return true;
}

void selection_warn_keys(const struct selection sel[], size_t n)
{
	char names[1024];
	size_t i, length = 0;

	for (i = 0; i < n && length < sizeof names; i++)
		if (sel[i].selected && !key_is_unique(&sel[i]))
			length += (size_t)snprintf(names + length, sizeof names - length, "%s%s", length ? ", " : "",
						   sel[i].stream->name);
	if (length)
		log_line(LOG_WARNING,
			 "the key does not identify a row of %s: a target that upserts keeps one of several rows; "
			 "\"unique_keys\": true in the config makes the keys identify rows",
			 names);
}

/* ---- Selection: fields ---- */

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
	log_line(LOG_WARNING, "stream %s: the catalog's metadata is about %.*s, which its schema does not have",
		 m->stream, (int)text.length, text.length ? text.bytes : "");
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

/* The catalog's word on a field whose parent is in. */
static bool field_chosen(const struct maker *m, const struct field *f, bool *chosen)
{
	/* The oldest catalogs have no metadata: what it would say stands inside the schema's nodes. */
	struct json said = json_count(m->metadata) ? f->metadata : f->schema;
	struct json inclusion = json_get(said, "inclusion");
	enum choice choice = UNSAID;

	if (!choose(m, said, "selected", &choice) || !choose(m, said, "selected-by-default", &choice))
		return false;
	if (json_equals(inclusion, str_of("unsupported")))
		*chosen = false;
	else if (json_equals(inclusion, str_of("automatic")))
		*chosen = true;
	else
		*chosen = choice != NO;
	return true;
}

static bool is_automatic(const struct singer_stream *stream, struct str name)
{
	size_t i;

	for (i = 0; i < SINGER_KEYS; i++)
		if ((stream->key[i] && str_is(name, stream->key[i])) ||
		    (stream->unique_key[i] && str_is(name, stream->unique_key[i])))
			return true;
	return stream->replication_key && str_is(name, stream->replication_key);
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
			chosen = rules_take_field(m, str_of(stream->name), child->name) ||
				 is_automatic(stream, child->name);
		else if (in && !m->rules && !field_chosen(m, child, &chosen))
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
		log_line(LOG_WARNING,
			 "stream %s: none of its fields is selected, so its rows are written as {}; select %s.*",
			 stream, stream);
	else if (f->parent->items == f)
		log_line(LOG_WARNING,
			 "stream %s: %s is selected, but no field of its elements, so they are written as {}; select "
			 "%s.%s.*, or take the metadata below its \"items\" out of the catalog",
			 stream, path_of(f->parent, &path), stream, path_of(f->parent, &path));
	else
		log_line(LOG_WARNING,
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
		log_line(LOG_WARNING,
			 "stream %s: field %s of the catalog's schema is unknown; it is written where the API sends it",
			 m->stream, path_of(f, &path));
	if (f->count && !any_selected(f))
		warn_empty(m, f);
	for (i = 0; i < f->count; i++)
		fields_warn(m, &f->children[i]);
	if (f->items)
		fields_warn(m, f->items);
}

/* ---- Selection: a stream, and all of them ---- */

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

/* The catalog's schema if it has one with fields, else the built-in. */
static bool stream_fields(const struct maker *m, struct selection *sel)
{
	struct json theirs = json_get(m->entry, "schema"), none = {NULL, NULL}, built_in;
	struct json_error problem;

	if (!json_parse(m->arena, (const char *)sel->stream->schema, sel->stream->schema_length, &built_in, &problem))
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
	sel->by_rules = m->rules > 0;
	if (!m->rules && m->streams.node)
		return stream_selected(m, &sel->selected);
	sel->selected = true;
	return true;
}

static bool stream_make(struct maker *m, struct selection *sel)
{
	if (!entry_open(m, sel->stream->name) || !stream_choose(m, sel))
		return false;
	/* Fields are needed to write rows, to tell which rules name one, and for discovery, which has no catalog. */
	if (!sel->selected && !m->rules && m->streams.node)
		return true;
	if (!stream_fields(m, sel) || !stream_lines(m, sel))
		return false;
	if (m->rules)
		sel->selected = rules_take_stream(m, str_of(sel->stream->name), sel->fields);
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

static bool selection_fill(struct maker *m, struct selection sel[], size_t n, struct json catalog,
			   const char *const *rules)
{
	bool any = false;
	size_t i;

	if (!catalog_open(m, catalog) || !rules_parse(m, rules))
		return false;
	catalog_warn(m, sel, n);
	for (i = 0; i < n; i++) {
		struct selection fresh = {.stream = sel[i].stream};
		sel[i] = fresh;
		if (!stream_make(m, &sel[i]))
			return false;
		any = any || sel[i].selected;
	}
	rules_warn(m);
	if (!any)
		warn_nothing(m);
	return true;
}

bool selection_make(struct selection sel[], size_t n, struct json catalog, const char *const *rules, bool unique_keys,
		    struct arena *arena, struct error *error)
{
	struct maker m = {.arena = arena, .error = error, .unique_keys = unique_keys};
	bool ok = selection_fill(&m, sel, n, catalog, rules);

	json_out_free(&m.line);
	return ok;
}

/* ---- Projection: copying ----
 * A row is written straight from its text, along its nodes (json.h, struct json_node): most of what is written stands
 * there in the same order, so instead of copying token by token, a span of the text grows as long as the next thing to
 * write follows it there, and is copied once.  A whole row that needs no change is one memcpy. */

struct projector {
	struct json_out *out;
	const char *text;
	const char *from, *to; /* the span: to be copied before anything else is written */
	const struct singer_extra *extra;
	size_t extras;
	struct left_out *left_out;
	/* why the row does not fit */
	const struct field *misfit;
	enum json_type found;
	const char *what; /* said in place of the type found; may be NULL */
};

static void span_end(struct projector *p)
{
	struct str span = {p->from, (size_t)(p->to - p->from)};

	if (p->to)
		json_put(p->out, span);
	p->from = p->to = NULL;
}

static void copy_range(struct projector *p, const char *from, const char *to)
{
	if (from != p->to) {
		span_end(p);
		p->from = from;
	}
	p->to = to;
}

/* The span never holds the row's last byte when this is called, so one more can be looked at. */
static void put_byte(struct projector *p, char c)
{
	struct str byte = {&c, 1};

	if (p->to && *p->to == c) {
		p->to++;
		return;
	}
	span_end(p);
	json_put(p->out, byte);
}

static void put_text(struct projector *p, struct str text)
{
	span_end(p);
	json_put(p->out, text);
}

/* Is this the escape of a surrogate, high (\ud800 to \udbff) or low (\udc00 to \udfff)? */
static bool is_surrogate(const char *escape, bool high)
{
	static const char highs[] = "89abAB", lows[] = "cdefCDEF";

	return escape[0] == '\\' && escape[1] == 'u' && (escape[2] == 'd' || escape[2] == 'D') &&
	       strchr(high ? highs : lows, escape[3]);
}

/* A string with escapes, its quotes included.  A surrogate without its other half is no character: many readers of JSON
 * take it, and fail when they are to write it. */
static void copy_escaped(struct projector *p, const char *from, const char *end)
{
	static const struct str replacement = {"\\ufffd", 6};
	const char *escape = from;

	while ((escape = memchr(escape, '\\', (size_t)(end - escape)))) {
		bool high = is_surrogate(escape, true);

		if (high && is_surrogate(escape + 6, false)) {
			escape += 12;
		} else if (high || is_surrogate(escape, false)) {
			if (escape > from)
				copy_range(p, from, escape);
			put_text(p, replacement);
			escape = from = escape + 6;
		} else {
			escape += 2;
		}
	}
	copy_range(p, from, end);
}

static void copy_token(struct projector *p, const struct json_node *node)
{
	const char *from = p->text + node->at, *end = json_token_end(p->text, node);

	if (*from == '"' && json_has_escape(node))
		copy_escaped(p, from, end);
	else
		copy_range(p, from, end);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Any value, without white space.  Between two tokens stand only brackets, commas, colons and blanks. */
static void copy_value(struct projector *p, const struct json_node *node)
{
	const struct json_node *end = json_node_after(p->text, node);
	size_t depth = 0;

	for (; node < end; node++) {
		const char *c = p->text + node->at, *next = node + 1 < end ? p->text + node[1].at : NULL;

		depth += json_opens(*c);
		copy_token(p, node);
		for (c = json_token_end(p->text, node); depth > 0 && c != next; c++) {
			if (is_blank(*c))
				continue;
			depth -= *c == '}' || *c == ']';
			copy_range(p, c, c + 1);
		}
	}
}

/* ---- Projection: values ---- */

/* The type of the value that begins with this byte, as a bit. */
static unsigned type_at(const char *first)
{
	static const unsigned char types[128] = {
		['{'] = TYPE(JSON_OBJECT), ['['] = TYPE(JSON_ARRAY),  ['"'] = TYPE(JSON_STRING),
		['n'] = TYPE(JSON_NULL),   ['t'] = TYPE(JSON_BOOL),   ['f'] = TYPE(JSON_BOOL),
		['-'] = TYPE(JSON_NUMBER), ['0'] = TYPE(JSON_NUMBER), ['1'] = TYPE(JSON_NUMBER),
		['2'] = TYPE(JSON_NUMBER), ['3'] = TYPE(JSON_NUMBER), ['4'] = TYPE(JSON_NUMBER),
		['5'] = TYPE(JSON_NUMBER), ['6'] = TYPE(JSON_NUMBER), ['7'] = TYPE(JSON_NUMBER),
		['8'] = TYPE(JSON_NUMBER), ['9'] = TYPE(JSON_NUMBER)};

	return types[*first & 127];
}

static bool misfit(struct projector *p, const struct field *f, enum json_type found, const char *what)
{
	p->misfit = f;
	p->found = found;
	p->what = what;
	return false;
}

/* Does a time that can be read lack nothing but digits of its fraction? */
static bool is_utc(struct str time)
{
	return time.n >= 20 && time.s[10] == 'T' && time.s[time.n - 1] == 'Z' && time.s[17] != '6';
}

static void copy_utc(struct str time, char *to)
{
	size_t digits = time.n - 20; /* the point among them */

	memcpy(to, "0000-00-00T00:00:00.000000Z", TIME_SIZE - 1);
	memcpy(to, time.s, 19);
	memcpy(to + 19, time.s + 19, digits < 7 ? digits : 7);
}

/* A time in UTC with six digits.  Singer readers take the empty text for no time, as singer-python does. */
static bool put_time(struct projector *p, const struct field *f, struct str text)
{
	static const struct str null = {"null", 4};
	char time[TIME_SIZE + 1] = "\"";
	struct str quoted = {time, sizeof time};
	int64_t us;

	if (text.n == 0) {
		put_text(p, null);
		return (!f->required && (f->types & TYPE(JSON_NULL))) || misfit(p, f, JSON_STRING, "an empty time");
	}
	if (!time_parse(text, &us))
		return misfit(p, f, JSON_STRING, "a text that is not an RFC 3339 time");
	if (is_utc(text))
		copy_utc(text, time + 1);
	else
		time_format(us, time + 1);
	time[TIME_SIZE] = '"';
	put_text(p, quoted);
	return true;
}

static bool put_time_of(struct projector *p, const struct field *f, const struct json_node *node)
{
	struct json string = {p->text, node};
	struct arena scratch = {0};
	struct str text;
	bool ok;

	if (!json_has_escape(node))
		return put_time(p, f, json_token(string));
	ok = json_string(string, &scratch, &text);
	p->out->failed |= !ok;
	ok = !ok || put_time(p, f, text);
	arena_free(&scratch);
	return ok;
}

static bool is_integer(struct str number)
{
	size_t i;

	for (i = 0; i < number.n; i++)
		if (number.s[i] == '.' || number.s[i] == 'e' || number.s[i] == 'E')
			return false;
	return true;
}

static bool any_escape(const struct projector *p, const struct json_node *node)
{
	const struct json_node *end = json_node_after(p->text, node);

	while (node < end && !(p->text[node->at] == '"' && json_has_escape(node)))
		node++;
	return node < end;
}

/* A surrogate without its other half, in JSON text that stands in a string: there each of its backslashes is two. */
static void mend_quoted(char *p, const char *end)
{
	while ((p = memchr(p, '\\', (size_t)(end - p)))) {
		bool escape = p[1] == '\\', high = escape && is_surrogate(p + 1, true);

		if (!escape) {
			p += 2;
		} else if (high && p[7] == '\\' && is_surrogate(p + 8, false)) {
			p += 14;
		} else if (high || is_surrogate(p + 1, false)) {
			memcpy(p + 3, "fffd", 4);
			p += 7;
		} else {
			p += p[2] == '\\' ? 4 : 3;
		}
	}
}

/* Any value as its JSON text. */
static void put_quoted(struct projector *p, struct json value)
{
	size_t mark = p->out->length;

	json_put_quoted(p->out, value);
	if (!p->out->failed && any_escape(p, value.node))
		mend_quoted(p->out->bytes + mark, p->out->bytes + p->out->length);
}

/* A value whose JSON type is not in the field's list. */
static bool put_other(struct projector *p, const struct field *f, const struct json_node *node)
{
	struct json value = {p->text, node};
	enum json_type type = json_type(value);

	if (type == JSON_NUMBER && (f->types & TYPE_INTEGER) && is_integer(json_token(value))) {
		copy_token(p, node);
		return true;
	}
	if (!(f->types & TYPE(JSON_STRING)) || f->date_time || type == JSON_NULL)
		return misfit(p, f, type, NULL);
	if (type == JSON_ARRAY || type == JSON_OBJECT) {
		span_end(p);
		put_quoted(p, value);
	} else {
		put_byte(p, '"');
		copy_token(p, node);
		put_byte(p, '"');
	}
	return true;
}

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

/* Names are short: mostly two overlapping words do what a call of memcmp would. */
static inline bool same_bytes(const char *a, const char *b, size_t n)
{
	uint64_t a8[2], b8[2];
	uint32_t a4[2], b4[2];

	if (n >= 8 && n <= 16) {
		memcpy(&a8[0], a, 8);
		memcpy(&a8[1], a + n - 8, 8);
		memcpy(&b8[0], b, 8);
		memcpy(&b8[1], b + n - 8, 8);
		return a8[0] == b8[0] && a8[1] == b8[1];
	}
	if (n >= 4 && n < 8) {
		memcpy(&a4[0], a, 4);
		memcpy(&a4[1], a + n - 4, 4);
		memcpy(&b4[0], b, 4);
		memcpy(&b4[1], b + n - 4, 4);
		return a4[0] == b4[0] && a4[1] == b4[1];
	}
	return memcmp(a, b, n) == 0;
}

/* Is this the field's name, without any escape? */
static inline bool is_plainly(const struct field *f, const char *text, const struct json_node *key)
{
	return key->size == f->name.n * 2 && same_bytes(f->name.s, text + key->at + 1, f->name.n);
}

/* The field with this name; NULL: none. */
static struct field *field_find(const struct field *object, const char *text, const struct json_node *key)
{
	struct json name = {text, key};
	size_t i;

	for (i = 0; i < object->count; i++)
		if (json_has_escape(key) ? json_equals(name, object->children[i].name)
					 : is_plainly(&object->children[i], text, key))
			return &object->children[i];
	return NULL;
}

/* What separates a member or element from the one before it, where the text has it just there, becomes part of the
 * span; first: there is none before it. */
static const char *after_comma(struct projector *p, const char *at, bool first)
{
	if (first)
		return at;
	if (at[-1] == ',')
		return at - 1;
	put_byte(p, ',');
	return at;
}

/* Comma, name and colon where the text does not have them so. */
static void put_new_name(struct projector *p, const struct field *f, bool first)
{
	if (!first)
		put_byte(p, ',');
	span_end(p);
	json_put_string(p->out, f->name);
	put_byte(p, ':');
}

static void put_name(struct projector *p, const struct field *f, const struct json_node *key, bool first)
{
	const char *from = p->text + key->at;

	if (json_has_escape(key)) {
		put_new_name(p, f, first);
	} else {
		copy_range(p, after_comma(p, from, first), json_token_end(p->text, key));
		put_byte(p, ':');
	}
}

/* A scalar that is written as it came, together with all that stands before it, from there on.  false: not that easy,
 * and nothing is written. */
static inline bool copy_leaf(struct projector *p, const struct field *f, const char *from, const struct json_node *node)
{
	const char *value = p->text + node->at;
	unsigned type = type_at(value);

	if (!(type & f->leaves) || (type == TYPE(JSON_STRING) && json_has_escape(node)))
		return false;
	copy_range(p, from, value + (type == TYPE(JSON_STRING) ? node->size / 2 + 2 : node->size));
	return true;
}

/* Comma, name and a value of that kind, which is what most members are; where the text has no white space there. */
static bool copy_member(struct projector *p, const struct field *f, const struct json_node *value, bool first)
{
	const struct json_node *key = value - 1;
	const char *name = p->text + key->at, *from = first ? name : name - 1;

	return !json_has_escape(key) && p->text + value->at == name + key->size / 2 + 3 && (first || *from == ',') &&
	       copy_leaf(p, f, from, value);
}

static const struct singer_extra *extra_of(const struct projector *p, const struct field *f)
{
	size_t i;

	for (i = 0; i < p->extras; i++)
		if (str_is(f->name, p->extra[i].field))
			return &p->extra[i];
	return NULL;
}

/* A member that the row itself does not have. */
static bool put_added(struct projector *p, const struct field *f, const struct singer_extra *extra, bool first)
{
	if (!extra)
		return misfit(p, f, JSON_ABSENT, NULL);
	put_new_name(p, f, first);
	if (!(f->types & TYPE(JSON_STRING)))
		return misfit(p, f, JSON_STRING, NULL);
	if (f->date_time)
		return put_time(p, f, extra->value);
	json_put_string(p->out, extra->value);
	return true;
}

/* ---- Projection: members ----
 * Members are written in the schema's order.  Where a row has them in that order, as rows of one API mostly do, each is
 * written as it is met.  An object that turns out to have another order, or a member twice, or whose value does not fit,
 * is taken back and written again: first the place of each field's value is noted (of several the last), then the values
 * are written.  From then on objects at this place of the schema go that second way. */

struct members {
	struct field *object, *field; /* field, value, extra: the member at hand */
	const struct json_node *value;
	const struct singer_extra *extra;  /* in place of the value */
	const struct json_node *key, *end; /* the next member of the text */
	struct field **hint, *first_hint;  /* the field that is tried before any other */
	bool noted;
	bool strayed;    /* not in the schema's order after all */
	size_t next;     /* index of the first field that may be met, or is to be written */
	size_t required; /* how many of these were met */
	size_t length;   /* how to take it all back */
	const char *from, *to;
	const struct json_node *values[SINGER_FIELDS];
};

/* Looks a name up that is not where it was expected. */
static struct field *field_search(struct projector *p, struct members *m)
{
	struct json name = {p->text, m->key};
	struct field *f = field_find(m->object, p->text, m->key);

	if (!f)
		note_left_out(p->left_out, m->object, json_token(name));
	return f;
}

/* The field of the member at m->key, NULL if there is none.  The field that followed in an earlier row is tried first. */
static inline struct field *member_field(struct projector *p, struct members *m)
{
	struct field *f = *m->hint;

	if (!is_plainly(f, p->text, m->key)) {
		f = field_search(p, m);
		if (!f)
			return NULL;
		*m->hint = f;
	}
	m->hint = &f->after;
	return f;
}

static void members_begin(struct projector *p, struct members *m, struct field *object, const struct json_node *node)
{
	m->object = object;
	m->key = node + 1;
	m->end = node + node->size;
	m->first_hint = object->children;
	m->hint = &m->first_hint;
	m->noted = object->shuffled || (!object->parent && p->extras);
	m->strayed = false;
	m->extra = NULL;
	m->next = m->required = 0;
	m->length = p->out->length;
	m->from = p->from;
	m->to = p->to;
	if (!m->noted)
		return;
	memset(m->values, 0, object->count * sizeof *m->values);
	for (; m->key < m->end; m->key = json_node_after(p->text, m->key + 1)) {
		const struct field *f = member_field(p, m);
		if (f)
			m->values[f->index] = m->key + 1;
	}
}

/* The next member that is to be written; of required fields also what is missing, without a value. */
static bool noted_next(struct projector *p, struct members *m)
{
	while (m->next < m->object->count) {
		m->field = &m->object->children[m->next];
		m->value = m->values[m->next++];
		m->extra = m->object->parent ? NULL : extra_of(p, m->field);
		if (m->extra)
			m->value = NULL;
		if (m->field->selected && (m->value || m->extra || m->field->required))
			return true;
	}
	return false;
}

static inline bool member_next(struct projector *p, struct members *m)
{
	if (m->noted)
		return noted_next(p, m);
	while (m->key < m->end) {
		struct field *f = member_field(p, m);

		m->value = m->key + 1;
		m->key = json_node_after(p->text, m->value);
		if (!f)
			continue;
		m->field = f;
		m->strayed = f->index < m->next;
		m->next = f->index + 1;
		m->required += f->required;
		if (f->selected || m->strayed)
			return !m->strayed;
	}
	return false;
}

/* After all members are written, or not: once more, the second way?  ok: each did fit. */
static bool members_again(struct projector *p, struct members *m, bool *ok)
{
	if (m->noted || (*ok && !m->strayed && m->required == m->object->needs))
		return false;
	p->out->length = m->length;
	p->from = m->from;
	p->to = m->to;
	m->object->shuffled = *ok = true;
	return true;
}

/* A value as its field wants it.  false: it does not fit, and p says why. */
static bool put_value(struct projector *p, struct field *f, const struct json_node *node)
{
	const char *from = p->text + node->at;
	unsigned type = type_at(from);
	bool first, ok = true;

	if (!(f->types & type))
		return put_other(p, f, node);
	if (type == TYPE(JSON_NULL) && f->required)
		return misfit(p, f, JSON_NULL, NULL);
	if (type == TYPE(JSON_STRING) && f->date_time)
		return put_time_of(p, f, node);
	if (type == TYPE(JSON_ARRAY) && f->items) {
		const struct json_node *end = node + node->size;
		copy_range(p, from, from + 1);
		for (first = true, node++; ok && node < end; node = json_node_after(p->text, node), first = false) {
			from = after_comma(p, p->text + node->at, first);
			if (copy_leaf(p, f->items, from, node))
				continue;
			copy_range(p, from, p->text + node->at);
			ok = put_value(p, f->items, node);
		}
		put_byte(p, ']');
	} else if (type == TYPE(JSON_OBJECT) && f->children) {
		struct members m;
		do {
			members_begin(p, &m, f, node);
			copy_range(p, from, from + 1);
			for (first = true; ok && member_next(p, &m); first = false) {
				if (!m.value) {
					ok = put_added(p, m.field, m.extra, first);
				} else if (!copy_member(p, m.field, m.value, first)) {
					put_name(p, m.field, m.value - 1, first);
					ok = put_value(p, m.field, m.value);
				}
			}
			put_byte(p, '}');
		} while (members_again(p, &m, &ok));
	} else {
		copy_value(p, node);
	}
	return ok;
}

/* ---- Projection: a row that does not fit ---- */

/* A key's value as sent, cut where it would not leave room for the rest of the message. */
static void row_name(const struct selection *sel, struct json row, const struct projector *p, char *to, size_t size)
{
	size_t i, length = 0;

	*to = '\0';
	for (i = 0; i < SINGER_KEYS && sel->key[i].n && length < size; i++) {
		struct str value = json_token(json_member(row, sel->key[i]));
		struct field key = {.name = sel->key[i]};
		const struct singer_extra *extra = extra_of(p, &key);

		if (extra)
			value = extra->value;
		length += (size_t)snprintf(to + length, size - length, "%s%.*s %.*s", i ? ", " : " with ",
					   (int)(key.name.n < 32 ? key.name.n : 32), key.name.s,
					   (int)(value.n < 48 ? value.n : 48), value.n ? value.s : "");
	}
}

static void types_text(unsigned types, char *to, size_t size)
{
	const struct type_name *t;
	size_t length = 0;

	for (t = type_names; t->name && length < size; t++)
		if (types & t->bit)
			length += (size_t)snprintf(to + length, size - length, "%s%s", length ? " or " : "", t->name);
}

static bool fail_misfit(const struct selection *sel, struct json row, const struct projector *p, struct error *error)
{
	static const char *const found[] = {
		[JSON_ABSENT] = "missing",  [JSON_NULL] = "null",       [JSON_BOOL] = "a boolean",
		[JSON_NUMBER] = "a number", [JSON_STRING] = "a string", [JSON_ARRAY] = "an array",
		[JSON_OBJECT] = "an object"};
	const char *what = p->what ? p->what : found[p->found];
	char name[192], types[64];
	struct path path;

	row_name(sel, row, p, name, sizeof name);
	if (p->misfit->required && (p->found <= JSON_NULL || (p->what && p->misfit->types & TYPE(JSON_NULL))))
		return fail(error, "stream %s: a row%s: %s is %s, but it belongs to the key or dates the row",
			    sel->stream->name, name, path_of(p->misfit, &path), what);
	types_text(p->misfit->types, types, sizeof types);
	return fail(error,
		    "stream %s: a row%s: %s is %s, but the schema takes %s%s; deselect it, or change its type in the "
		    "catalog",
		    sel->stream->name, name, path_of(p->misfit, &path), what, types,
		    p->misfit->date_time ? " of format date-time" : "");
}

void selection_report(const struct selection *sel)
{
	char names[1024];
	size_t i, length = 0, n = sel->left_out ? sel->left_out->count : 0;
	struct path path;

	for (i = 0; i < n && length < sizeof names; i++) {
		const struct field *object = sel->left_out->member[i].object;
		length += (size_t)snprintf(names + length, sizeof names - length, "%s%s%s%.*s", i ? ", " : "",
					   object->parent ? path_of(object, &path) : "", object->parent ? "." : "",
					   (int)sel->left_out->member[i].length, sel->left_out->member[i].name);
	}
	if (n)
		log_line(LOG_INFO, "stream %s: left out, because its schema does not have it: %s", sel->stream->name,
			 names);
}

/* ---- Messages ---- */

enum { LINES_HELD = 64 << 10 };

/* Stdout may have been made non-blocking by another process that shares it. */
static bool wait_writable(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLOUT};

	return poll(&ready, 1, -1) >= 0 || errno == EINTR || errno == EAGAIN;
}

static void write_out(struct singer *s)
{
	size_t done = 0;

	while (!s->write_errno && done < s->out.length) {
		ssize_t n = write(s->fd, s->out.bytes + done, s->out.length - done);
		if (n > 0)
			done += (size_t)n;
		else if (n == 0)
			s->write_errno = EIO;
		else if (errno == EAGAIN || errno == EWOULDBLOCK ? !wait_writable(s->fd) : errno != EINTR)
			s->write_errno = errno;
	}
	s->out.length = 0;
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
	size_t mark = s->out.length;
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

bool singer_record(struct singer *s, struct selection *sel, struct json row, const struct singer_extra *extra,
		   size_t extras, int64_t extracted_us, struct error *error)
{
	struct projector p = {.out = &s->out, .text = row.text, .extra = extra, .extras = extras};
	size_t mark;

	if (s->write_errno)
		return true;
	if (json_type(row) != JSON_OBJECT)
		return fail(error, "stream %s: a row is not an object", sel->stream->name);
	singer_schema(s, sel);
	p.left_out = sel->left_out;
	mark = s->out.length;
	json_put(&s->out, sel->head);
	if (!put_value(&p, sel->fields, row.node)) {
		s->out.length = mark;
		return fail_misfit(sel, row, &p, error);
	}
	span_end(&p);
	put_extracted(s, extracted_us);
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
	int64_t us;
	struct state_mark *next;
};

static bool is_object_or_none(struct json v)
{
	return json_type(v) <= JSON_NULL || json_type(v) == JSON_OBJECT;
}

/* What is inside a STATE message or what "meltano state get" prints; the state itself otherwise. */
static struct json state_unwrap(struct json doc)
{
	struct json inside = json_get(doc, "singer_state");

	if (inside.node) {
		log_line(LOG_WARNING, "the state is that of \"singer_state\"; a state file should hold just this");
		return inside;
	}
	inside = json_get(doc, "value");
	if (inside.node && json_equals(json_get(doc, "type"), str_of("STATE"))) {
		log_line(LOG_WARNING, "the state is the value of a STATE message; a state file should hold just this");
		return inside;
	}
	return doc;
}

bool state_read(struct state *st, struct json doc, struct arena *arena, struct error *error)
{
	static const char expected[] = "expected a state, {\"bookmarks\": {\"STREAM\": {\"KEY\": \"TIME\"}}}";
	struct state fresh = {.arena = arena};
	struct json syncing, type;

	*st = fresh;
	doc = state_unwrap(doc);
	type = json_get(doc, "type");
	if (!is_object_or_none(doc))
		return fail(error, "the document is not an object; %s", expected);
	if (!is_object_or_none(json_get(doc, "bookmarks")))
		return fail(error, "\"bookmarks\" is not an object; %s", expected);
	if (json_type(type) == JSON_STRING && !json_get(doc, "bookmarks").node)
		return fail(error, "the document is a message of another kind; %s", expected);
	syncing = json_get(doc, "currently_syncing");
	if (json_count(doc) && !syncing.node && !json_get(doc, "bookmarks").node)
		log_line(LOG_WARNING, "the state has no \"bookmarks\": every stream starts at start_date");
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

bool state_get(const struct state *st, const struct singer_stream *stream, int64_t *us, struct error *error)
{
	const struct state_mark *mark = state_mark_of(st, stream);
	struct json time;
	struct str text;

	if (mark)
		*us = mark->us;
	if (mark || !stream->replication_key)
		return true;
	time = bookmark_time(json_get(json_get(st->old, "bookmarks"), stream->name), stream->replication_key);
	if (json_type(time) <= JSON_NULL)
		return true;
	if (json_type(time) == JSON_STRING && !json_string(time, st->arena, &text))
		return fail(error, "no memory for the state");
	if (json_type(time) == JSON_STRING && time_parse(text, us))
		return true;
	return fail(error,
		    "the bookmark of stream %s is not an RFC 3339 time; expected {\"%s\": \"2021-02-01T00:00:00Z\"}, "
		    "without it the stream starts at start_date",
		    stream->name, stream->replication_key);
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

/* Is this the member that counts of those with its name? */
static bool is_last(struct json object, const struct json_each *it, const char *name)
{
	return json_equals(it->key, str_of(name)) && json_get(object, name).node == it->value.node;
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
		for (mark = st->mark; mark && !is_last(old, &it, mark->stream->name); mark = mark->next)
			;
		if (mark) {
			put_key(out, &first, str_of(mark->stream->name));
			put_mark(out, mark, it.value);
		} else {
			put_as_read(out, &first, &it);
		}
	}
	for (mark = st->mark; mark; mark = mark->next)
		if (!json_get(old, mark->stream->name).node) {
			put_key(out, &first, str_of(mark->stream->name));
			put_mark(out, mark, json_get(old, mark->stream->name));
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
	static const char bookmarks[] = "bookmarks", syncing[] = "currently_syncing";
	struct json_each it;
	bool first = true;

	json_put_text(out, "{");
	for (it = json_each(st->old); json_next(&it);) {
		if (is_last(st->old, &it, bookmarks)) {
			put_key(out, &first, str_of(bookmarks));
			put_bookmarks(out, st, it.value);
		} else if (is_last(st->old, &it, syncing)) {
			put_key(out, &first, str_of(syncing));
			put_syncing(out, st);
		} else {
			put_as_read(out, &first, &it);
		}
	}
	if (!json_get(st->old, bookmarks).node) {
		put_key(out, &first, str_of(bookmarks));
		put_bookmarks(out, st, json_get(st->old, bookmarks));
	}
	if (!json_get(st->old, syncing).node) {
		put_key(out, &first, str_of(syncing));
		put_syncing(out, st);
	}
	json_put_text(out, "}");
}

void singer_state(struct singer *s, const struct state *st)
{
	size_t mark = s->out.length;

	if (s->write_errno)
		return;
	json_put_text(&s->out, "{\"type\":\"STATE\",\"value\":");
	put_state(&s->out, st);
	json_put_text(&s->out, "}\n");
	if (line_end(s, mark))
		write_out(s);
}

/* ---- Catalog ----
 * Put together as compact text, then parsed and written again with line breaks: readers such as Meltano refuse lines
 * of more than 64 KiB. */

static void put_flag(struct json_out *out, const char *name, bool value)
{
	json_put_text(out, ",\"");
	json_put_text(out, name);
	json_put_text(out, value ? "\":true" : "\":false");
}

static void put_strings(struct json_out *out, const char *const texts[], size_t n)
{
	size_t i;

	json_put_text(out, "[");
	for (i = 0; i < n; i++) {
		json_put_text(out, i ? "," : "");
		json_put_string(out, str_of(texts[i]));
	}
	json_put_text(out, "]");
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
		put_flag(out, "selected-by-default", true);
		if (top && sel->by_rules && sel->selected)
			put_flag(out, "selected", f->selected);
		json_put_text(out, "}}");
		put_fields_metadata(out, sel, f);
	}
}

static void put_stream_metadata(struct json_out *out, const struct selection *sel)
{
	const struct singer_stream *stream = sel->stream;

	json_put_text(out, "{\"breadcrumb\":[],\"metadata\":{\"inclusion\":\"available\"");
	if (sel->by_rules)
		put_flag(out, "selected", sel->selected);
	json_put_text(out, ",\"table-key-properties\":");
	put_strings(out, stream->key, key_count(stream->key));
	put_member(out, "forced-replication-method", stream->replication_key ? "INCREMENTAL" : "FULL_TABLE");
	if (stream->replication_key) {
		json_put_text(out, ",\"valid-replication-keys\":");
		put_strings(out, &stream->replication_key, 1);
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
	put_strings(out, stream->key, key_count(stream->key));
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

enum { CATALOG_SIZE = 1 << 18 }; /* bytes, about: with its indentation, which is half of it */

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
