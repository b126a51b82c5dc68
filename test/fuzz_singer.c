/* fuzz_singer.c - singer.c against any catalog, rules, state and secret; and rows under schemas and selections, all three
 * made by dice, whose RECORDs are read by plain.h and compared with what the schema's own model says. */
#include "../singer.c"

#include "fuzz.h"
#include "plain.h"

#include <fnmatch.h>

/* Nothing leaves: what is written is looked at. */
static struct singer singer_kept(void)
{
	struct singer s = {.fd = -1, .waits = true};

	return s;
}

/* ---- Models: schemas that are made by dice ---- */

enum { CHILDREN = 4, DEPTH = 3, SHAPES = 400 };

/* What a schema says of one place, and what the catalog's metadata say. */
struct shape {
	const char *name;
	unsigned types; /* bits of enum kind; 0: no "type" */
	bool time, in, required;
	struct shape *child[CHILDREN], *items;
	size_t children;
};

enum kind {
	KIND_NULL = 1,
	KIND_BOOL = 2,
	KIND_NUMBER = 4,
	KIND_INTEGER = 8,
	KIND_STRING = 16,
	KIND_ARRAY = 32,
	KIND_OBJECT = 64
};

static const struct {
	const char *name;
	enum kind kind;
} kinds[] = {{"null", KIND_NULL},     {"boolean", KIND_BOOL}, {"number", KIND_NUMBER}, {"integer", KIND_INTEGER},
	     {"string", KIND_STRING}, {"array", KIND_ARRAY},  {"object", KIND_OBJECT}};

static const char *const names[] = {"id", "a", "b", "timestamp", "n\"q", "\xc3\xa9", "ab", "\xf0\x9f\x98\x80"};

static struct shape shapes[SHAPES];
static size_t shape_count;

static struct shape *shape_make(struct dice *d, const char *name, unsigned depth);

static void shape_children(struct dice *d, struct shape *s, unsigned depth)
{
	size_t n = throw_dice(d, CHILDREN + 1), i;
	unsigned first = throw_dice(d, countof(names));

	if (!depth) { /* the key is always there */
		first = 0;
		n += !n;
	}
	for (i = 0; i < n; i++)
		s->child[s->children++] = shape_make(d, names[(first + i) % countof(names)], depth + 1);
}

static struct shape *shape_make(struct dice *d, const char *name, unsigned depth)
{
	struct shape *s = &shapes[shape_count++];

	must(shape_count < SHAPES, "the model fits the test");
	memset(s, 0, sizeof *s);
	s->name = name;
	s->types = throw_dice(d, 128);
	s->time = s->types & KIND_STRING && throw_dice(d, 3) == 1;
	s->in = throw_dice(d, 4) != 3;
	if (!depth)
		s->types = KIND_OBJECT;
	s->required = depth == 1 && (strcmp(name, "id") == 0 || strcmp(name, "timestamp") == 0);
	s->in = s->in || s->required || !depth;
	if (s->types & KIND_OBJECT && depth < DEPTH)
		shape_children(d, s, depth);
	if (s->types & KIND_ARRAY && depth < DEPTH && throw_dice(d, 2))
		s->items = shape_make(d, "", depth + 1);
	return s;
}

static void put_schema_text(struct json_out *out, const struct shape *s)
{
	size_t i, n = 0;

	json_put_text(out, "{");
	if (s->types) {
		json_put_text(out, "\"type\":[");
		for (i = 0; i < countof(kinds); i++)
			if (s->types & kinds[i].kind) {
				json_put_text(out, n++ ? "," : "");
				json_put_string(out, str_of(kinds[i].name));
			}
		json_put_text(out, s->time ? "],\"format\":\"date-time\"" : "]");
	} else {
		json_put_text(out, "\"title\":\"any\"");
	}
	for (i = 0; i < s->children; i++) {
		json_put_text(out, i ? "," : ",\"properties\":{");
		json_put_string(out, str_of(s->child[i]->name));
		json_put_text(out, ":");
		put_schema_text(out, s->child[i]);
	}
	json_put_text(out, s->children ? "}" : "");
	if (s->items) {
		json_put_text(out, ",\"items\":");
		put_schema_text(out, s->items);
	}
	json_put_text(out, "}");
}

/* `place`: the breadcrumb's text so far. */
static void put_metadata_text(struct json_out *out, const struct shape *s, const char *place)
{
	struct json_out here = {0};
	size_t i;

	for (i = 0; i < s->children; i++) {
		here.length = 0;
		json_put_text(&here, place);
		json_put_text(&here, *place ? ",\"properties\"," : "\"properties\",");
		json_put_string(&here, str_of(s->child[i]->name));
		json_put(&here, (struct str){"", 1});
		json_put_text(out, ",{\"breadcrumb\":[");
		json_put_text(out, here.bytes);
		json_put_text(out, s->child[i]->in ? "],\"metadata\":{}}" : "],\"metadata\":{\"selected\":false}}");
		put_metadata_text(out, s->child[i], here.bytes);
	}
	if (s->items) {
		here.length = 0;
		json_put_text(&here, place);
		json_put_text(&here, ",\"items\"");
		json_put(&here, (struct str){"", 1});
		put_metadata_text(out, s->items, here.bytes);
	}
	json_out_free(&here);
}

static void put_catalog_text(struct json_out *out, const struct shape *s)
{
	json_put_text(out, "{\"streams\":[{\"tap_stream_id\":\"rows\",\"schema\":");
	put_schema_text(out, s);
	json_put_text(out, ",\"metadata\":[{\"breadcrumb\":[],\"metadata\":{\"selected\":true}}");
	put_metadata_text(out, s, "");
	json_put_text(out, "]}]}");
}

/* ---- Rows that are made by dice ---- */

static void put_blanks(struct json_out *out, struct dice *d)
{
	static const char *const blanks[] = {"", "", "", " ", "\n\t", "\r\n  "};

	json_put_text(out, blanks[throw_dice(d, countof(blanks))]);
}

static void put_scalar(struct json_out *out, struct dice *d)
{
	static const char *const scalars[] = {"null",
					      "true",
					      "false",
					      "0",
					      "-7",
					      "5.0",
					      "5.00",
					      "5.5",
					      "1e2",
					      "1E-2",
					      "12345678901234567890.12345678901234567890",
					      "-0",
					      "-0.0",
					      "9007199254740993",
					      "\"\"",
					      "\"text\"",
					      "\"\\u00e9\\/\\\"\\\\\"",
					      "\"\\ud83d\\ude00\"",
					      "\"\\ud83d\"",
					      "\"x\\udc00\\u0000y\"",
					      "\"\xc3\xa9\xf0\x9f\x98\x80\"",
					      "\"2021-02-01\"",
					      "\"2021-02-01T10:11:12.5Z\"",
					      "\"2021-02-01T10:11:12+01:30\"",
					      "\"2016-12-31T23:59:60Z\"",
					      "\"2021-02-30\"",
					      "\"2021-02-01T10:11:12.1234567Z\"",
					      "\"2021\\u002d02-01\""};

	json_put_text(out, scalars[throw_dice(d, countof(scalars))]);
}

/* A member's name, plain or with its first character as an escape. */
static void put_member_name(struct json_out *out, struct dice *d)
{
	unsigned which = throw_dice(d, countof(names) + 2);
	char escape[10];

	if (which >= countof(names)) {
		json_put_text(out, which == countof(names) ? "\"unknown\"" : "\"\\ud800\"");
	} else if (throw_dice(d, 4) == 1 && is_alpha(*names[which])) {
		snprintf(escape, sizeof escape, "\"\\u00%02x", (unsigned)*names[which]);
		json_put_text(out, escape);
		json_put_text(out, names[which] + 1 + strspn(names[which] + 1, "\""));
		json_put_text(out, "\"");
	} else {
		json_put_string(out, str_of(names[which]));
	}
}

static void put_any(struct json_out *out, struct dice *d, unsigned depth)
{
	unsigned what = depth ? throw_dice(d, 8) : 7, n, i;
	bool object = what == 7;

	if (what < 6 || depth > DEPTH + 1) {
		put_scalar(out, d);
		return;
	}
	n = throw_dice(d, 7);
	json_put_text(out, object ? "{" : "[");
	for (i = 0; i < n; i++) {
		json_put_text(out, i ? "," : "");
		put_blanks(out, d);
		if (object) {
			put_member_name(out, d);
			put_blanks(out, d);
			json_put_text(out, ":");
		}
		put_any(out, d, depth + 1);
		put_blanks(out, d);
	}
	json_put_text(out, object ? "}" : "]");
}

/* ---- What must come of a row ---- */

/* The same, but for what targets refuse: U+0000 is U+FFFD then. */
static bool text_mended(const char *a, size_t n, const char *b, size_t m)
{
	size_t i, k = 0;

	for (i = 0; i < n; i++) {
		if (a[i] != '\0' ? k >= m || b[k] != a[i] : m - k < 3 || memcmp(b + k, "\xef\xbf\xbd", 3) != 0)
			return false;
		k += a[i] != '\0' ? 1 : 3;
	}
	return k == m;
}

static bool tree_mended(const struct plain *a, const struct plain *b)
{
	const struct plain *c, *d;

	if (a->type != b->type || a->count != b->count || !text_mended(a->text, a->length, b->text, b->length))
		return false;
	for (c = a->child, d = b->child; c; c = c->next, d = d->next)
		if (!text_mended(c->name, c->name_length, d->name, d->name_length) || !tree_mended(c, d))
			return false;
	return true;
}

static unsigned kind_of(const struct plain *p)
{
	switch (p->type) {
	case 'n': return KIND_NULL;
	case 't':
	case 'f': return KIND_BOOL;
	case '"': return KIND_STRING;
	case '[': return KIND_ARRAY;
	case '{': return KIND_OBJECT;
	default: return KIND_NUMBER;
	}
}

/* Digits, and nothing but zeros behind a point. */
static bool is_whole(const struct plain *p)
{
	size_t i = 0;

	for (; i < p->length && p->text[i] != '.'; i++)
		if (p->text[i] == 'e' || p->text[i] == 'E')
			return false;
	for (i++; i < p->length; i++)
		if (p->text[i] != '0')
			return false;
	return true;
}

/* out: NULL asks only whether the value fits; else it is what was written for it. */
static bool projects(const struct shape *s, const struct plain *in, const struct plain *out);

static bool projects_time(const struct shape *s, struct str text, const struct plain *out)
{
	char expected[TIME_SIZE];
	int64_t us;

	if (!text.n) {
		must(!out || out->type == 'n', "an empty time is null");
		return !s->required && s->types & KIND_NULL;
	}
	if (!time_parse(text, &us))
		return false;
	time_format(us, expected);
	must(!out || (out->type == '"' && plain_is(out->text, out->length, expected, strlen(expected))),
	     "a time is written in UTC with six digits");
	return true;
}

/* The text of a string is the value's JSON, without a blank between its tokens. */
static void must_quote(const struct plain *in, const struct plain *out)
{
	const struct plain *inside = plain_parse(out->text, out->length);

	must(out->type == '"' && inside && tree_mended(in, inside), "a value of another type is its JSON in a string");
}

static bool projects_object(const struct shape *s, const struct plain *in, const struct plain *out,
			    const struct singer_extra *extra)
{
	const struct plain *written = out ? out->child : NULL;
	size_t i;

	for (i = 0; i < s->children; i++) {
		const struct shape *child = s->child[i];
		const struct plain *value = plain_get(in, child->name);
		bool added = extra && strcmp(extra->field, child->name) == 0;

		if (!child->in || (!value && !child->required && !added))
			continue;
		if (out)
			must(written && plain_is(written->name, written->name_length, child->name, strlen(child->name)),
			     "a selected field that is there is written, in the schema's order");
		if (added && (!(child->types & KIND_STRING) && child->types))
			return false;
		if (added ? child->time && !projects_time(child, extra->value, written)
			  : !value || !projects(child, value, written))
			return false;
		if (out && added && !child->time)
			must(plain_is(written->text, written->length, extra->value.s, extra->value.n),
			     "an added value wins");
		if (out)
			written = written->next;
	}
	must(!written, "no other field is written");
	return true;
}

static bool projects_array(const struct shape *items, const struct plain *in, const struct plain *out)
{
	const struct plain *a = in->child, *b = out ? out->child : NULL;

	must(!out || in->count == out->count, "an array keeps its length");
	for (; a; a = a->next, b = b ? b->next : NULL)
		if (!projects(items, a, b))
			return false;
	return true;
}

static bool projects(const struct shape *s, const struct plain *in, const struct plain *out)
{
	unsigned kind = kind_of(in);
	bool fits = !s->types || s->types & kind;

	if (s->required && kind == KIND_NULL)
		return false;
	if (!fits && kind == KIND_NUMBER && s->types & KIND_INTEGER && is_whole(in))
		fits = true;
	if (!fits && (!(s->types & KIND_STRING) || s->time || kind == KIND_NULL))
		return false;
	if (!fits) {
		if (out)
			must_quote(in, out);
		return true;
	}
	if (kind == KIND_STRING && s->time)
		return projects_time(s, (struct str){in->text, in->length}, out);
	must(!out || kind_of(out) == kind, "a value keeps its type");
	if (kind == KIND_ARRAY && s->items && s->types)
		return projects_array(s->items, in, out);
	if (kind == KIND_OBJECT && s->children && s->types)
		return projects_object(s, in, out, NULL);
	must(!out || tree_mended(in, out), "a value is copied whole, numbers digit for digit");
	return true;
}

/* SCHEMA has the selected fields, and no others. */
static void must_show(const struct shape *s, const struct plain *schema)
{
	const struct plain *field = plain_get(schema, "properties"), *items = plain_get(schema, "items");
	size_t i;

	must(schema && schema->type == '{', "a schema is an object");
	field = field ? field->child : NULL;
	for (i = 0; s->types && i < s->children; i++) {
		if (!s->child[i]->in)
			continue;
		must(field && plain_is(field->name, field->name_length, s->child[i]->name, strlen(s->child[i]->name)),
		     "SCHEMA has the selected fields in their order");
		must_show(s->child[i], field);
		field = field->next;
	}
	must(!s->types || !field, "SCHEMA has no other fields");
	if (s->types && s->items)
		must_show(s->items, items);
}

static void must_write(const struct shape *s, const struct singer *singer, bool fits, const struct plain *row,
		       const struct singer_extra *extra)
{
	const char *lines = singer->out.bytes, *end = memchr(lines, '\n', singer->out.length);
	size_t first = end ? (size_t)(end - lines) : 0, second = singer->out.length - first - 1;
	const struct plain *schema = plain_parse(lines, first), *record, *out;

	must(end && schema && plain_is(plain_get(schema, "type")->text, 6, "SCHEMA", 6), "SCHEMA comes first");
	must_show(s, plain_get(schema, "schema"));
	must(projects_object(s, row, NULL, extra) == fits, "a row fits, or not, as the schema says");
	must(fits == (second > 0), "a row that does not fit leaves nothing behind");
	if (!fits)
		return;
	must(lines[singer->out.length - 1] == '\n' && !memchr(end + 1, '\n', second - 1), "a RECORD is one line");
	record = plain_parse(end + 1, second - 1);
	must(record && plain_is(plain_get(record, "type")->text, 6, "RECORD", 6), "a RECORD is JSON");
	must(plain_is(plain_get(record, "time_extracted")->text, 27, "1970-01-01T00:00:00.000001Z", 27),
	     "with its time");
	out = plain_get(record, "record");
	must(out && out->type == '{' && projects_object(s, row, out, extra), "the row is in it");
}

static const struct singer_stream rows_stream = {.name = "rows", .key = NAMES("id"), .replication_key = "timestamp"};

/* A row, a schema and a selection by dice; the row's text may also come from the input, where that begins with a brace. */
static void fuzz_project(const char *bytes, size_t length)
{
	struct dice d = {bytes, length};
	const struct singer_extra extra = {"a", {"2021-02-03", 10}};
	struct singer singer = singer_kept();
	struct json_out catalog = {0}, text = {0};
	struct arena arena = {0};
	struct selection sel = {.stream = &rows_stream, .schema_text = {"{}", 2}};
	struct error error = {""};
	struct json_error problem;
	struct json document, row;
	size_t extras = throw_dice(&d, 2);
	struct shape *root;
	bool fits;

	shape_count = 0;
	root = shape_make(&d, "", 0);
	put_catalog_text(&catalog, root);
	if (length && bytes[0] == '{')
		json_put(&text, (struct str){bytes, d.n});
	else
		put_any(&text, &d, 0);
	must(json_parse(&arena, catalog.bytes, catalog.length, &document, &problem), "a catalog is JSON");
	log_hold();
	must(selection_make(&sel, 1, document, NULL, false, &arena, &error), "a catalog is taken");
	if (text.length && json_parse(&arena, text.bytes, text.length, &row, &problem)) {
		fits = singer_record(&singer, &sel, row, &extra, extras, 1, &error);
		must(fits != (bool)*error.text, "a row that does not fit has a reason");
		plain_begin();
		must_write(root, &singer, fits, plain_parse(text.bytes, text.length), extras ? &extra : NULL);
		selection_report(&sel);
	}
	log_release(false);
	json_out_free(&singer.out);
	json_out_free(&catalog);
	json_out_free(&text);
	arena_free(&arena);
}

/* ---- Catalogs and rules ---- */

enum { STREAMS = 3 };

static const char users_schema[] =
	"{\"type\":\"object\",\"properties\":{\"id\":{\"type\":[\"null\",\"string\"]},\"name\":{\"type\":\"string\"},"
	"\"address\":{\"type\":[\"null\",\"object\"],\"properties\":{\"city\":{\"type\":\"string\"}}},\"tags\":{"
	"\"type\":"
	"\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"key\":{\"type\":\"string\"}}}}}}";
static const char events_schema[] = "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\"},\"timestamp\":{"
				    "\"type\":\"string\",\"format\":\"date-time\"}}}";

static const struct singer_stream table[STREAMS] = {
	{.name = "users", .alias = "people", .key = NAMES("id"), .secret = NAMES("name")},
	{.name = "events", .key = NAMES("id"), .replication_key = "timestamp"},
	{.name = "members", .key = NAMES("id"), .unique_key = NAMES("id", "name"), .parent = "users", .by_name = true},
};

static void table_begin(struct selection sel[STREAMS])
{
	static const char *const schema[STREAMS] = {users_schema, events_schema, users_schema};
	size_t i;

	memset(sel, 0, STREAMS * sizeof *sel);
	for (i = 0; i < STREAMS; i++) {
		sel[i].stream = &table[i];
		sel[i].schema_text = str_of(schema[i]);
	}
}

/* Each name of the key and all required fields are in SCHEMA; a row is one line of JSON, or leaves nothing. */
static void must_hold(struct selection *sel)
{
	static const char row_text[] =
		"{\"id\":\"1\",\"name\":2,\"timestamp\":\"2021-01-01\",\"address\":{\"city\":null},"
		"\"tags\":[{\"key\":1}]}";
	struct singer singer = singer_kept();
	struct arena arena = {0};
	struct json_error problem;
	struct error error = {""};
	const struct plain *schema, *keys, *key, *fields;
	struct json row;
	size_t mark;

	singer_schema(&singer, sel);
	plain_begin();
	schema = plain_parse(singer.out.bytes, singer.out.length);
	must(schema != NULL, "SCHEMA is JSON");
	fields = plain_get(plain_get(schema, "schema"), "properties");
	keys = plain_get(schema, "key_properties");
	for (key = keys->child; key; key = key->next)
		must(plain_member(fields, key->text, key->length) != NULL, "a key's field is in SCHEMA");
	must(json_parse(&arena, row_text, sizeof row_text - 1, &row, &problem), "the row is JSON");
	mark = singer.out.length;
	if (singer_record(&singer, sel, row, NULL, 0, 0, &error))
		must(plain_parse(singer.out.bytes + mark, singer.out.length - mark) != NULL, "a RECORD is JSON");
	else
		must(singer.out.length == mark && *error.text, "a row that does not fit leaves nothing");
	selection_report(sel);
	json_out_free(&singer.out);
	arena_free(&arena);
}

/* A catalog and, behind a NUL, rules of --select. */
static void fuzz_catalog(const char *bytes, size_t length)
{
	struct str rest = {bytes, length}, text = str_cut(&rest, '\0');
	struct arena arena = {0};
	struct selection sel[STREAMS];
	struct json document = {NULL, NULL};
	struct json_error problem;
	struct error error = {""};
	const char *rules = rest.n ? arena_string(&arena, rest) : NULL;
	bool good;
	size_t i;

	table_begin(sel);
	log_hold();
	if (!text.n || json_parse(&arena, text.s, text.n, &document, &problem)) {
		good = selection_make(sel, STREAMS, document, rules, length % 2, &arena, &error);
		must(good != (bool)*error.text, "what is refused has a reason");
		for (i = 0; good && i < STREAMS; i++)
			if (sel[i].selected)
				must_hold(&sel[i]);
		if (good && rules && !selection_check_rules(sel, STREAMS, rules, &error))
			must(*error.text, "a rule that matches nothing is named");
	}
	log_release(false);
	arena_free(&arena);
}

/* As fnmatch(3) has it, of the signs that both know. */
static void fuzz_glob(const char *bytes, size_t length)
{
	struct str name = {bytes, length}, glob = str_cut(&name, '\0');
	struct arena arena = {0};
	char *pattern = arena_string(&arena, glob), *text = arena_string(&arena, name);
	size_t i;

	for (i = 0; i < length && bytes[i] >= 0; i++)
		;
	if (i == length && !strpbrk(pattern, "[]\\") && strlen(pattern) == glob.n && strlen(text) == name.n)
		must(glob_matches(glob, name) == (fnmatch(pattern, text, 0) == 0), "a glob matches as fnmatch says");
	arena_free(&arena);
}

/* ---- State ---- */

static const struct plain *written_state(const struct state *st, struct json_out *text)
{
	struct singer singer = singer_kept();

	singer_state_value(&singer, st);
	*text = singer.out;
	must(text->length > 0, "a state is written");
	return plain_parse(text->bytes, text->length);
}

/* All but the two members that the tap writes. */
static bool is_kept(const struct plain *member)
{
	return !plain_is(member->name, member->name_length, "bookmarks", 9) &&
	       !plain_is(member->name, member->name_length, "currently_syncing", 17);
}

static const struct plain *kept(const struct plain *member)
{
	while (member && !is_kept(member))
		member = member->next;
	return member;
}

static void must_keep(const struct plain *before, const struct plain *after)
{
	const struct plain *a = kept(before ? before->child : NULL), *b = kept(after->child);

	for (; a && b; a = kept(a->next), b = kept(b->next))
		must(text_mended(a->name, a->name_length, b->name, b->name_length) && tree_mended(a, b),
		     "a member that is not ours stays");
	must(!a && !b, "no member comes or goes");
}

/* A state file's text; its last bytes say what is raised. */
static void fuzz_state(const char *bytes, size_t length)
{
	struct dice d = {bytes, length};
	int64_t raised = (int64_t)throw_dice(&d, 256) * 366 * DAY_US / 2, was = INT64_MIN, now = INT64_MIN;
	struct arena arena = {0};
	struct json_out text = {0}, again = {0}, old = {0};
	struct json_error problem;
	struct error error = {""};
	struct state st, second;
	struct json document;
	const struct plain *before, *after;

	log_hold();
	plain_begin();
	if (json_parse(&arena, bytes, d.n, &document, &problem) && state_read(&st, document, &arena, &error)) {
		bool good = state_get(&st, &table[1], &was, &error);
		json_put_value(&old, st.old, 0);
		before = old.length ? plain_parse(old.bytes, old.length) : NULL;
		state_syncing(&st, "events");
		must(state_raise(&st, &table[1], raised), "there is memory");
		after = written_state(&st, &text);
		must(after && after->type == '{', "a state is an object");
		must_keep(before, after);
		must(json_parse(&arena, text.bytes, text.length, &document, &problem) &&
			     state_read(&second, document, &arena, &error),
		     "what is written is a state");
		must(state_get(&second, &table[1], &now, &error), "its bookmark can be read");
		must(now == (good && was > raised ? was : raised), "a bookmark is raised, and never moved back");
		state_syncing(&second, "events");
		written_state(&second, &again);
		must(plain_is(text.bytes, text.length, again.bytes, again.length), "read again it is the same");
	}
	log_release(false);
	json_out_free(&text);
	json_out_free(&again);
	json_out_free(&old);
	arena_free(&arena);
}

/* ---- Secrets ---- */

static bool holds(const char *text, size_t n, struct str secret)
{
	for (; n >= secret.n; text++, n--)
		if (memcmp(text, secret.s, secret.n) == 0)
			return true;
	return false;
}

static void must_not_say(const struct plain *p, struct str secret)
{
	const struct plain *child;

	must(p->type != '"' || !holds(p->text, p->length, secret), "no string of a state says the secret");
	must(!holds(p->name, p->name_length, secret), "no name in a state says the secret");
	for (child = p->child; child; child = child->next)
		must_not_say(child, secret);
}

/* The secret in one of the spellings that are struck out. */
static void put_spelt(struct json_out *out, struct str secret, struct dice *d)
{
	char code[8];
	size_t i;

	for (i = 0; i < secret.n; i++) {
		unsigned c = (unsigned char)secret.s[i];
		snprintf(code, sizeof code, "%c", c);
		if (throw_dice(d, 4) == 1)
			snprintf(code, sizeof code, throw_dice(d, 2) ? "%%%02X" : "%%%02x", c);
		json_put_text(out, code);
	}
}

/* A secret and, behind a NUL, a text: nothing of the one is left in the other, as it is or spelt otherwise. */
static void fuzz_secret(const char *bytes, size_t length)
{
	enum { LEAST = 6, MOST = 40 };
	struct str text = {bytes, length}, secret = str_cut(&text, '\0');
	struct dice d = {text.s, text.n};
	struct json_out line = {0}, spelt = {0};
	struct arena arena = {0};
	const struct plain *p;
	size_t i;

	for (i = 0; i < secret.n && secret.s[i] > ' ' && secret.s[i] <= '~' && secret.s[i] != '*'; i++)
		;
	if (i < secret.n || secret.n < LEAST || secret.n > MOST)
		return;
	log_secret(NULL);
	log_secret(arena_string(&arena, secret));
	put_spelt(&spelt, secret, &d);
	json_put(&line, (struct str){text.s, d.n});
	json_put(&line, (struct str){spelt.bytes, spelt.length});
	json_put(&line, (struct str){"", 1});
	strike_out(line.bytes, false);
	must(!holds(line.bytes, strlen(line.bytes), secret), "a line does not say the secret");
	must(!holds(line.bytes, strlen(line.bytes), (struct str){spelt.bytes, spelt.length}),
	     "nor spells it otherwise");
	line.length = 0;
	plain_begin();
	if (plain_parse(text.s, text.n) && !memchr(text.s, '\0', text.n)) {
		json_put(&line, text);
		json_put(&line, (struct str){"", 1});
		strike_out_strings(line.bytes);
		p = plain_parse(line.bytes, strlen(line.bytes));
		must(p != NULL, "a state without its secrets is JSON");
		must_not_say(p, secret);
	}
	log_secret(NULL);
	json_out_free(&line);
	json_out_free(&spelt);
	arena_free(&arena);
}

/* ---- Targets ---- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct fuzz_target targets[] = {{"project", fuzz_project},
						     {"catalog", fuzz_catalog},
						     {"glob", fuzz_glob},
						     {"state", fuzz_state},
						     {"secret", fuzz_secret}};

	(void)argc;
	(void)argv;
	return fuzz_choose(targets, countof(targets));
}
