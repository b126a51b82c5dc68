/* bench DIRECTORY - how fast pages of JSON become a tape and RECORD lines.
 * Makes a page each of usage, audit events and the destination catalog as the API would send them, the same bytes in
 * every run, writes it to DIRECTORY/NAME.json for other programs to be measured on, and prints a line for each:
 *   NAME BYTES MEMCPY PARSE RECORD      the last three in nanoseconds, the median of many repetitions
 * MEMCPY copies the page, PARSE brings it to a tape, RECORD does all that a sync does with a page that has come: parse,
 * project by the built-in schema, write each row to /dev/null as a RECORD line. */
#include "../json.h"
#include "../singer.h"
#include "../streams.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- Pages ----
 * Rows are made from templates.  In a template ^ stands for an id of 22 characters, # for a number, % for a day of a
 * month, ~ for a sentence. */

static const char usage_row[] = "{\"sourceId\":\"^\",\"apiCalls\":\"#\",\"timestamp\":\"2021-02-%T00:00:00.000Z\"}";

static const char audit_row[] =
	"{\"id\":\"events/#\",\"timestamp\":\"2022-03-%T21:29:22.250Z\",\"type\":\"Source Function Modified\","
	"\"actor\":\"users/"
	"^\",\"actorEmail\":\"first.last@example.com\",\"resourceId\":\"^\",\"resourceType\":\"function\","
	"\"resourceName\":\"Web \xe2\x80\x93 \xc3\xa9t\xc3\xa9 #\"}";

static const char catalog_head[] =
	"{\"id\":\"^\",\"name\":\"Example "
	"(Actions)\",\"description\":\"~\",\"slug\":\"actions-example-#\",\"logos\":{\"default\":"
	"\"https://cdn.example.com/logos/^-default.svg\",\"mark\":\"https://cdn.example.com/logos/"
	"^-mark.svg\",\"alt\":null},"
	"\"status\":\"PUBLIC_BETA\",\"previousNames\":[\"Example\",\"Example "
	"(Actions)\"],\"categories\":[\"Analytics\","
	"\"Raw "
	"Data\"],\"website\":\"https://www.example.com/products/^\",\"components\":[{\"type\":\"SERVER\",\"code\":"
	"\"https://github.com/example/action-destinations\",\"owner\":\"SEGMENT\"},{\"type\":\"BROWSER\",\"code\":"
	"\"https://github.com/example/action-destinations\",\"owner\":\"PARTNER\"}],\"supportedFeatures\":{"
	"\"cloudModeInstances\":\"MULTIPLE\",\"deviceModeInstances\":\"SINGLE\",\"replay\":false,\"browserUnbundling\":"
	"true,"
	"\"browserUnbundlingPublic\":false},\"supportedMethods\":{\"pageview\":true,\"identify\":true,\"alias\":false,"
	"\"track\":true,\"group\":true},\"supportedPlatforms\":{\"browser\":true,\"server\":true,\"mobile\":true,"
	"\"warehouse\":true,\"cloudAppObject\":false,\"linkedAudiences\":true},\"options\":[";
static const char catalog_option[] = "{\"name\":\"endpoint#\",\"type\":\"select\",\"defaultValue\":\"north_america\","
				     "\"description\":\"~\",\"required\":false,"
				     "\"label\":\"Endpoint region\"}";
static const char catalog_action[] =
	"{\"id\":\"^\",\"slug\":\"trackEvent\",\"name\":\"Track "
	"Event\",\"description\":\"~\",\"platform\":\"CLOUD\",\"hidden\":"
	"false,\"defaultTrigger\":\"type = \\\"track\\\" and event = \\\"Order Completed\\\"\",\"fields\":[";
static const char catalog_field[] =
	"{\"id\":\"^\",\"sortOrder\":#,\"fieldKey\":\"products\",\"label\":\"Products\",\"type\":\"OBJECT\","
	"\"description\":\"~\","
	"\"placeholder\":\"\",\"defaultValue\":{\"@arrayPath\":[\"$.properties.products\",{\"sku\":{\"@path\":\"$."
	"sku\"},"
	"\"price\":{\"@path\":\"$.price\"}}]},\"required\":false,\"multiple\":true,\"choices\":[{\"label\":\"Yes\","
	"\"value\":"
	"true},{\"label\":\"No\",\"value\":false}],\"dynamic\":false,\"allowNull\":true,\"hidden\":false}";
static const char catalog_preset[] = "{\"actionId\":\"^\",\"name\":\"Track "
				     "Calls\",\"fields\":{\"userId\":{\"@if\":{\"exists\":{\"@path\":\"$.userId\"},"
				     "\"then\":{\"@path\":\"$.userId\"},\"else\":{\"@path\":\"$.anonymousId\"}}},"
				     "\"batch\":true,\"limit\":#},\"trigger\":"
				     "\"type = \\\"track\\\"\"}";
static const char catalog_tail[] =
	"],\"contacts\":[{\"name\":\"First Last\",\"email\":\"first.last@example.com\",\"role\":\"VP of engineering\","
	"\"isPrimary\":true}],\"partnerOwned\":true,\"supportedRegions\":[\"us-west-2\",\"eu-west-1\"],"
	"\"regionEndpoints\":["
	"\"US\",\"EU\"],\"multiInstanceSupportedVersion\":\"2\"}";

struct maker {
	struct json_out out;
	uint64_t state; /* of the generator: the same pages in every run */
};

static uint32_t random_below(struct maker *m, uint32_t n)
{
	m->state = m->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((m->state >> 33) % n);
}

static void put_text(struct maker *m, const char *text)
{
	json_put(&m->out, str_of(text));
}

static void put_id(struct maker *m)
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	char id[23] = {0};
	size_t i;

	for (i = 0; i < sizeof id - 1; i++)
		id[i] = digits[random_below(m, sizeof digits - 1)];
	put_text(m, id);
}

/* A few words; now and then one that is not ASCII or holds an escape. */
static void put_sentence(struct maker *m)
{
	static const char *const words[] = {
		"the",         "Segment", "event",      "is",         "sent to",     "your",
		"destination", "with",    "properties", "identifier", "optional",    "defaults",
		"when",        "a",       "mapping",    "workspace",  "caf\xc3\xa9", "\\\"quoted\\\"",
	};
	uint32_t n = 4 + random_below(m, 20);

	while (n--) {
		put_text(m, words[random_below(m, sizeof words / sizeof *words)]);
		put_text(m, n ? " " : ".");
	}
}

static void put_template(struct maker *m, const char *template)
{
	char day[3];

	for (;; template ++) {
		size_t plain = strcspn(template, "^#%~");
		struct str text = {template, plain};
		json_put(&m->out, text);
		template += plain;
		switch (*template) {
		case '\0': return;
		case '^': put_id(m); break;
		case '#': json_put_int64(&m->out, random_below(m, UINT32_C(1) << random_below(m, 31))); break;
		case '%':
			snprintf(day, sizeof day, "%02u", (unsigned)random_below(m, 28) + 1);
			put_text(m, day);
			break;
		case '~': put_sentence(m); break;
		}
	}
}

static void put_list(struct maker *m, unsigned n, void (*put_one)(struct maker *))
{
	while (n--) {
		put_one(m);
		put_text(m, n ? "," : "");
	}
}

static void put_usage(struct maker *m)
{
	put_template(m, usage_row);
}

static void put_audit(struct maker *m)
{
	put_template(m, audit_row);
}

static void put_option(struct maker *m)
{
	put_template(m, catalog_option);
}

static void put_field(struct maker *m)
{
	put_template(m, catalog_field);
}

static void put_action(struct maker *m)
{
	put_template(m, catalog_action);
	put_list(m, 5 + random_below(m, 12), put_field);
	put_text(m, "]}");
}

static void put_preset(struct maker *m)
{
	put_template(m, catalog_preset);
}

static void put_catalog(struct maker *m)
{
	put_template(m, catalog_head);
	put_list(m, 3 + random_below(m, 8), put_option);
	put_text(m, "],\"actions\":[");
	put_list(m, 2 + random_below(m, 5), put_action);
	put_text(m, "],\"presets\":[");
	put_list(m, 1 + random_below(m, 6), put_preset);
	put_template(m, catalog_tail);
}

struct page {
	const char *name, *stream;
	unsigned rows; /* of one page, as the tap asks for them */
	void (*put_row)(struct maker *);
};

static const struct page pages[] = {
	{"usage", "usage_api_calls_per_source_daily", 1000, put_usage},
	{"audit", "audit_events", 1000, put_audit},
	{"catalog", "catalog_destinations", 100, put_catalog},
};

static const struct stream *page_stream(const struct page *page)
{
	size_t i = 0;

	while (strcmp(streams[i].singer.name, page->stream) != 0)
		i++;
	return &streams[i];
}

static bool page_make(const struct page *page, struct maker *m)
{
	m->state = 1;
	put_text(m, "{\"data\":{\"");
	put_text(m, page_stream(page)->rows);
	put_text(m, "\":[");
	put_list(m, page->rows, page->put_row);
	put_text(m, "],\"pagination\":{\"current\":\"MA==\",\"next\":\"MQ==\",\"totalEntries\":123456}}}");
	return !m->out.failed;
}

static bool page_write(const struct page *page, const struct json_out *bytes, const char *directory)
{
	char name[4096];
	FILE *file;
	bool ok;

	snprintf(name, sizeof name, "%s/%s.json", directory, page->name);
	file = fopen(name, "wb");
	if (!file)
		return false;
	ok = fwrite(bytes->bytes, 1, bytes->length, file) == bytes->length;
	return fclose(file) == 0 && ok;
}

/* ---- Measuring ---- */

enum { REPETITIONS = 101 };

/* What the repetitions work on. */
struct work {
	const struct json_out *text;
	char *copy;
	struct arena page, run; /* reset for each page; for the whole run */
	struct json root;
	struct selection selection;
	struct singer singer;
	const char *rows;
	struct error error;
};

static bool work_copy(struct work *w)
{
	memcpy(w->copy, w->text->bytes, w->text->length);
	return w->copy[w->text->length / 2] != '\0'; /* somebody has to look at it, or it may be left out */
}

static bool work_parse(struct work *w)
{
	struct json_error error;

	arena_reset(&w->page);
	return json_parse(&w->page, w->text->bytes, w->text->length, &w->root, &error) ||
	       fail(&w->error, "%zu:%zu: %s", error.line, error.column, error.what);
}

static bool work_record(struct work *w)
{
	struct json_each it;

	if (!work_parse(w))
		return false;
	for (it = json_each(json_get(json_get(w->root, "data"), w->rows)); json_next(&it);)
		if (!singer_record(&w->singer, &w->selection, it.value, NULL, 0, 0, &w->error))
			return false;
	return singer_flush(&w->singer) || fail(&w->error, "/dev/null: %s", strerror(w->singer.write_errno));
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The median time of a repetition; -1 if one failed. */
static int64_t median_ns(bool (*work)(struct work *), struct work *w)
{
	int64_t took[REPETITIONS];
	size_t i;

	for (i = 0; i < REPETITIONS; i++) {
		int64_t begin = now_ns();
		if (!work(w))
			return -1;
		took[i] = now_ns() - begin;
	}
	qsort(took, REPETITIONS, sizeof *took, compare);
	return took[REPETITIONS / 2];
}

static bool work_begin(struct work *w, const struct page *page, const struct json_out *text)
{
	const struct json nothing = {NULL, NULL};
	const struct stream *stream = page_stream(page);

	memset(w, 0, sizeof *w);
	w->text = text;
	w->rows = stream->rows;
	w->selection.stream = &stream->singer;
	w->copy = malloc(text->length);
	if (!w->copy)
		return fail(&w->error, "no memory");
	if (!selection_make(&w->selection, 1, nothing, NULL, false, &w->run, &w->error))
		return false;
	w->singer.fd = open("/dev/null", O_WRONLY);
	singer_schema(&w->singer, &w->selection);
	return w->singer.fd >= 0 || fail(&w->error, "/dev/null: cannot be opened");
}

static void work_end(struct work *w)
{
	if (w->singer.fd > 0)
		close(w->singer.fd);
	json_out_free(&w->singer.out);
	arena_free(&w->page);
	arena_free(&w->run);
	free(w->copy);
}

static bool page_measure(const struct page *page, const struct json_out *text, struct error *error)
{
	struct work w;
	int64_t copy = -1, parse = -1, record = -1;
	bool ok = work_begin(&w, page, text);

	if (ok) {
		copy = median_ns(work_copy, &w);
		parse = median_ns(work_parse, &w);
		record = median_ns(work_record, &w);
		ok = copy >= 0 && parse >= 0 && record >= 0;
	}
	if (ok)
		printf("%s %zu %" PRId64 " %" PRId64 " %" PRId64 "\n", page->name, text->length, copy, parse, record);
	*error = w.error;
	work_end(&w);
	return ok;
}

int main(int argc, char **argv)
{
	size_t i;
	bool ok = true;

	if (argc != 2) {
		fputs("usage: bench DIRECTORY\n", stderr);
		return 2;
	}
	for (i = 0; i < sizeof pages / sizeof *pages && ok; i++) {
		struct maker m = {0};
		struct error error = {""};
		ok = page_make(&pages[i], &m) && page_write(&pages[i], &m.out, argv[1]) &&
		     page_measure(&pages[i], &m.out, &error);
		if (!ok)
			fprintf(stderr, "bench: %s: %s\n", pages[i].name, *error.text ? error.text : "cannot be made");
		json_out_free(&m.out);
	}
	return ok ? 0 : 1;
}
