/* fuzz_json.c - json.c against any bytes: JSON as plain.h reads it, JSON written and read again, time there and back. */
#include "../json.c"

#include <errno.h>

#include "fuzz.h"
#include "plain.h"

/* ---- JSON as another reader sees it ---- */

static void must_equal(struct json v, const struct plain *p, struct arena *arena);

static void must_mean(struct json v, const struct plain *p, struct arena *arena)
{
	struct str meaning = {p->text, p->length}, got;

	must(json_string(v, arena, &got) && str_equal(got, meaning), "a string means the same");
	must(json_equals(v, meaning), "a string equals what it means");
	if (p->length) {
		meaning.n--;
		must(!json_equals(v, meaning), "a string does not equal its beginning");
	}
}

static void must_count(struct json v, const struct plain *p)
{
	char digits[32];
	long long number;
	int64_t got;
	bool whole = !memchr(p->text, '.', p->length) && !memchr(p->text, 'e', p->length) &&
		     !memchr(p->text, 'E', p->length);

	must(str_equal(json_token(v), (struct str){p->text, p->length}), "a number stands as it came");
	must(!json_int64(v, &got) || whole, "what is read as an integer is written as one");
	if (!whole || p->length >= sizeof digits)
		return;
	memcpy(digits, p->text, p->length);
	digits[p->length] = '\0';
	errno = 0;
	number = strtoll(digits, NULL, 10);
	must(json_int64(v, &got) == !errno && (errno || got == number), "an integer has its value, or does not fit");
}

/* Looking members up takes the square of their number. */
enum { LOOK_MOST = 40 };

static void must_hold(struct json v, const struct plain *p, struct arena *arena)
{
	struct json_each it = json_each(v);
	const struct plain *child;

	for (child = p->child; child; child = child->next) {
		must(json_next(&it), "as many elements or members");
		if (p->type == '{') {
			struct str name = {child->name, child->name_length};
			must(json_equals(it.key, name), "a member has the same name");
			must(!it.name.n || plain_is(it.name.s + 1, it.name.n - 2, name.s, name.n),
			     "a plain name is the name");
			must(p->count > LOOK_MOST || (plain_member(p, name.s, name.n) == child) ==
							     (json_member(v, name).node == it.value.node),
			     "of equal names the last counts");
		}
		must_equal(it.value, child, arena);
	}
	must(!json_next(&it), "no more elements or members");
}

static void must_equal(struct json v, const struct plain *p, struct arena *arena)
{
	static const char types[] = {[JSON_NULL] = 'n',   [JSON_BOOL] = 't',  [JSON_NUMBER] = 0,
				     [JSON_STRING] = '"', [JSON_ARRAY] = '[', [JSON_OBJECT] = '{'};
	enum json_type type = json_type(v);

	must(type != JSON_ABSENT && types[type] == (p->type == 'f' ? 't' : p->type), "the same type");
	must(json_plain(v).type == type, "json_plain names the type");
	if (type == JSON_BOOL)
		must(*json_token(v).s == p->type, "the same boolean");
	else if (type == JSON_NUMBER)
		must_count(v, p);
	else if (type == JSON_STRING)
		must_mean(v, p, arena);
	else
		must_hold(v, p, arena);
}

static size_t lines(const char *bytes, size_t length)
{
	size_t n = 1;

	while (length)
		n += bytes[--length] == '\n';
	return n;
}

/* The same verdict and the same values; an error's place is within the text. */
static void fuzz_value(const char *bytes, size_t length)
{
	struct arena arena = {0};
	struct json_error error = {0};
	const struct plain *expected;
	struct json root;
	bool good = json_parse(&arena, bytes, length, &root, &error);

	plain_begin();
	expected = plain_parse(bytes, length);
	must(good == (expected != NULL), "both take it, or neither");
	if (good)
		must_equal(root, expected, &arena);
	else
		must(error.what && error.line >= 1 && error.line <= lines(bytes, length) && error.column >= 1 &&
			     error.column <= length + 1,
		     "an error is somewhere in the text");
	arena_free(&arena);
}

/* ---- Written and read again ---- */

/* What is written; the caller frees it. */
static struct json_out written(struct json v, unsigned indent, bool mend)
{
	struct json_out out = {.mend = mend};

	json_put_value(&out, v, indent);
	return out;
}

static struct json must_parse(struct arena *arena, const struct json_out *out)
{
	struct json root = {NULL, NULL};
	struct json_error error;

	must(!out->failed && json_parse(arena, out->bytes, out->length, &root, &error), "what is written can be read");
	return root;
}

static void must_be_same(const struct json_out *a, const struct json_out *b, const char *what)
{
	must(plain_is(a->bytes, a->length, b->bytes, b->length), what);
}

/* Neither half a surrogate pair nor U+0000, in any spelling. */
static void must_be_text(const struct plain *p)
{
	const struct plain *child;

	must(!p->lone && !p->name_lone, "no half of a surrogate pair is left");
	must(p->type != '"' || !memchr(p->text, '\0', p->length), "no U+0000 is left");
	must(!p->name_length || !memchr(p->name, '\0', p->name_length), "no U+0000 is left in a name");
	for (child = p->child; child; child = child->next)
		must_be_text(child);
}

static void round_mend(struct json root, const struct json_out *compact)
{
	struct json_out mended = written(root, 0, true);
	const struct plain *p;

	plain_begin();
	p = plain_parse(mended.bytes, mended.length);
	must(p != NULL, "mended text is JSON");
	must_be_text(p);
	must(mended.mended || plain_is(mended.bytes, mended.length, compact->bytes, compact->length),
	     "what is not mended stays");
	json_out_free(&mended);
}

/* The value's text as a string means just that text. */
static void round_quoted(struct json root, const struct json_out *compact, struct arena *arena)
{
	struct json_out quoted = {0}, again = {0};
	struct str meaning;

	json_put_quoted(&quoted, root);
	must(json_string(must_parse(arena, &quoted), arena, &meaning), "a quoted value is a string");
	must(plain_is(meaning.s, meaning.n, compact->bytes, compact->length), "which means the value's text");
	json_put_string(&again, meaning);
	must_be_same(&again, &quoted, "and is spelt as any string");
	json_out_free(&again);
	json_out_free(&quoted);
}

/* What parses is written, and parsed again to the same; with a limit of memory it is the same or refused. */
static void fuzz_round(const char *bytes, size_t length)
{
	struct arena arena = {0}, small = {.limit = 1 + length * 9};
	struct json_error error = {0};
	struct json_out compact, again, indented;
	const struct plain *first, *second;
	struct json root, limited;

	if (json_parse(&arena, bytes, length, &root, &error)) {
		compact = written(root, 0, false);
		plain_begin();
		first = plain_parse(bytes, length);
		second = plain_parse(compact.bytes, compact.length);
		must(first && second && plain_equal(first, second), "written compactly it says the same");
		again = written(must_parse(&arena, &compact), 0, false);
		must_be_same(&again, &compact, "compact text stays as it is");
		json_out_free(&again);
		indented = written(root, 3, false);
		again = written(must_parse(&arena, &indented), 0, false);
		must_be_same(&again, &compact, "indented text is the compact text");
		json_out_free(&again);
		json_out_free(&indented);
		if (json_parse(&small, bytes, length, &limited, &error)) {
			again = written(limited, 0, false);
			must_be_same(&again, &compact, "in little memory it is the same");
			json_out_free(&again);
		}
		must(small.held <= small.limit, "an arena's limit holds");
		round_mend(root, &compact);
		round_quoted(root, &compact, &arena);
		json_out_free(&compact);
	}
	arena_free(&small);
	arena_free(&arena);
}

/* ---- Time ---- */

/* Days from 1970 to a date of the proleptic Gregorian calendar, counted year by year. */
static int64_t days_counted(int year, int month, int day)
{
	static const char lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t days = day - 1;
	int y, m;

	for (m = 1; m < month; m++)
		days += lengths[m - 1];
	for (y = 1; y < year; y++)
		days += 365;
	for (y = 4; y <= year; y += 4)
		if ((y % 100 || y % 400 == 0) && (y < year || month > 2))
			days++;
	return days - 719162;
}

/* An instant read once more, from the text that time_format writes. */
static int64_t instant_counted(const char *text)
{
	int year, month, day, hour, minute, second, us;

	must(sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%6dZ", &year, &month, &day, &hour, &minute, &second, &us) == 7,
	     "a time is written in its form");
	must(hour < 24 && minute < 60 && second < 60, "with a time of day");
	return ((days_counted(year, month, day) * 24 + hour) * 60 + minute) * 60 * SECOND_US + second * SECOND_US + us;
}

static void must_come_back(int64_t us)
{
	char text[TIME_SIZE], again[TIME_SIZE];
	int64_t back = 0;

	time_format(us, text);
	must(strlen(text) == TIME_SIZE - 1, "a time has its length");
	must(time_parse(str_of(text), &back) && back == us, "an instant comes back");
	must(instant_counted(text) == us, "and is the one that is written");
	time_format(back, again);
	must(strcmp(text, again) == 0, "as the same text");
}

/* Does the text have the form of RFC 3339, widened as json.h says?  Of digits only the places are looked at. */
static bool has_form(const char *s, size_t n)
{
	static const char *const ends[] = {"", "Z", "z", "+99:99", "-99:99", "+9999", "-9999"};
	static const char *const begins[] = {"9999-99-99", "9999-99-99T99:99", "9999-99-99T99:99:99",
					     "9999-99-99T99:99:99.9"};
	size_t i, b, e, length, to = 0;
	char form[40];

	for (i = 0; i < n; i++) {
		char c = s[i] >= '0' && s[i] <= '9' ? '9' : s[i];
		if (c == '9' && to > 20 && form[to - 1] == '9' && form[to - 2] == '.')
			continue; /* more digits of the fraction */
		if (i == 10 && (c == 't' || c == ' '))
			c = 'T';
		if (to == sizeof form - 1 || !c)
			return false;
		form[to++] = c;
	}
	form[to] = '\0';
	if (strcmp(form, begins[0]) == 0)
		return true;
	for (b = 1; b < countof(begins); b++)
		for (e = 0, length = strlen(begins[b]); e < countof(ends); e++)
			if (strncmp(form, begins[b], length) == 0 && strcmp(form + length, ends[e]) == 0)
				return true;
	return false;
}

static int two(const char *s)
{
	return (s[0] - '0') * 10 + (s[1] - '0');
}

/* Is there such a date, such a time of day, such a zone?  Of a text of the form. */
static bool has_values(const char *s, size_t n, int64_t *us)
{
	int year = two(s) * 100 + two(s + 2), month = two(s + 5), day = two(s + 8), second = 0, zone = 0, weight;
	int64_t next, minutes;
	const char *p = s + 16, *end = s + n;

	*us = 0;
	if (year < 1 || month < 1 || month > 12 || day < 1)
		return false;
	next = month == 12 ? days_counted(year + 1, 1, 1) : days_counted(year, month + 1, 1);
	if (days_counted(year, month, day) >= next)
		return false;
	minutes = days_counted(year, month, day) * 24 * 60;
	if (n > 10) {
		if (two(s + 11) > 23 || two(s + 14) > 59)
			return false;
		minutes += two(s + 11) * 60 + two(s + 14);
		if (p < end && *p == ':') {
			second = two(p + 1);
			p += 3;
		}
		if (p < end && *p == '.')
			for (p++, weight = 100000; p < end && *p >= '0' && *p <= '9'; p++, weight /= 10)
				*us += (*p - '0') * weight;
		if (end - p > 1) {
			int hours = two(p + 1), rest = two(end - 2);
			if (hours > 23 || rest > 59)
				return false;
			zone = (hours * 60 + rest) * (*p == '-' ? -1 : 1);
		}
	}
	minutes -= zone;
	*us += (minutes * 60 + second) * SECOND_US;
	if (second > 60 || (second == 60 && ((minutes + 1) % 1440 + 1440) % 1440 != 0))
		return false;
	return *us >= -INT64_C(719162) * DAY_US && *us < INT64_C(2932897) * DAY_US;
}

/* A text is read as it says; any eight bytes are an instant that comes back. */
static void fuzz_time(const char *bytes, size_t length)
{
	struct str text = {bytes, length};
	int64_t us = 42, expected;
	uint64_t any = 0;
	const char *wrong = time_read(text, &us);

	must(!wrong == (has_form(bytes, length) && has_values(bytes, length, &expected)), "a time, or none");
	must(wrong ? us == 42 : us == expected, "the instant that the text says");
	if (!wrong)
		must_come_back(us);
	memcpy(&any, bytes, length < sizeof any ? length : sizeof any);
	must_come_back((int64_t)(any % (uint64_t)(INT64_C(3652059) * DAY_US)) - INT64_C(719162) * DAY_US);
}

/* ---- Targets ---- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct fuzz_target targets[] = {{"json", fuzz_value}, {"round", fuzz_round}, {"time", fuzz_time}};

	(void)argc;
	(void)argv;
	return fuzz_choose(targets, countof(targets));
}
