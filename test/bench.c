/* bench - the measurements of test/bench.py that want to be done in C.
 *
 *	bench pages DIRECTORY
 * Makes a page each of usage, audit events and the destination catalog as the API would send them, the same bytes in
 * every run, writes it to DIRECTORY/NAME.json for other programs to be measured on, and prints a line for each:
 *	NAME BYTES MEMCPY PARSE RECORD      the last three in nanoseconds, the median of many repetitions
 * MEMCPY copies the page, PARSE brings it to a tape, RECORD does all that a sync does with a page that has come: parse,
 * project by the built-in schema, write each row to /dev/null as a RECORD line.
 *
 *	bench gunzip FILE
 * Prints how many nanoseconds it takes to decode FILE, the median likewise.
 *
 *	bench roots FILE
 * Prints how many nanoseconds it takes to read the trusted roots in FILE, the median likewise.
 *
 *	bench run REPORT COMMAND [ARGUMENT...]
 * Runs a command and writes to the file REPORT: CPU and wall time in microseconds, peak of resident memory in KiB.
 * That takes a small program: a child's peak begins with the memory of the process that it was forked from. */
#include "../http.c"
#include "../json.h"
#include "../singer.h"
#include "../streams.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- Pages ----
 * Rows are made from patterns.  In a pattern ' stands for a quote, ^ for an id of 22 characters, # for a number, & for
 * one below 30, % for a day of a month, ~ for a sentence. */

static const char usage_row[] = "{'sourceId':'^','apiCalls':'#','timestamp':'2021-02-%T00:00:00.000Z'}";

static const char audit_row[] =
	"{'id':'events/#','timestamp':'2022-03-%T21:29:22.250Z','type':'Source Function Modified','actor':'users/^',"
	"'actorEmail':'first.last@example.com','resourceId':'^','resourceType':'function',"
	"'resourceName':'Web \xe2\x80\x93 \xc3\xa9t\xc3\xa9 #'}";

static const char catalog_head[] =
	"{'id':'^','name':'Example (Actions)','description':'~','slug':'actions-example-#',"
	"'logos':{'default':'https://cdn.example.com/logos/^-default.svg',"
	"'mark':'https://cdn.example.com/logos/^-mark.svg','alt':null},"
	"'status':'PUBLIC_BETA','previousNames':['Example','Example (Actions)'],"
	"'categories':['Analytics','Raw Data'],'website':'https://www.example.com/products/^',"
	"'components':[{'type':'SERVER','code':'https://github.com/example/action-destinations','owner':'SEGMENT'},"
	"{'type':'BROWSER','code':'https://github.com/example/action-destinations','owner':'PARTNER'}],"
	"'supportedFeatures':{'cloudModeInstances':'MULTIPLE','deviceModeInstances':'SINGLE','replay':false,"
	"'browserUnbundling':true,'browserUnbundlingPublic':false},"
	"'supportedMethods':{'pageview':true,'identify':true,'alias':false,'track':true,'group':true},"
	"'supportedPlatforms':{'browser':true,'server':true,'mobile':true,'warehouse':true,'cloudAppObject':false,"
	"'linkedAudiences':true},'options':[";
static const char catalog_option[] =
	"{'name':'endpoint#','type':'select','defaultValue':'north_america','description':'~','required':false,"
	"'label':'Endpoint region'}";
static const char catalog_action[] =
	"{'id':'^','slug':'trackEvent','name':'Track Event','description':'~','platform':'CLOUD','hidden':false,"
	"'defaultTrigger':'type = \\'track\\' and event = \\'Order Completed\\'','fields':[";

#define FIELD "{'id':'^','sortOrder':&,'fieldKey':'eventName#','label':'Event Name','description':'~',"
static const char *const catalog_fields[] = {
	FIELD "'type':'STRING','placeholder':'','defaultValue':{'@path':'$.properties.eventName'},'required':true,"
	      "'multiple':false,'choices':null,'dynamic':false,'allowNull':false,'hidden':false}",
	FIELD "'type':'OBJECT','defaultValue':{'@arrayPath':['$.properties.products',{'sku':{'@path':'$.sku'}}]},"
	      "'required':false,'multiple':true,'dynamic':false,'allowNull':true}",
	FIELD "'type':'BOOLEAN','defaultValue':true,'required':false,'multiple':false,'choices':[{'label':'Yes',"
	      "'value':true},{'label':'No','value':false}],'dynamic':false,'allowNull':false}",
	FIELD "'type':'INTEGER','defaultValue':null,'required':false,'multiple':false,'choices':['10','100'],"
	      "'dynamic':true,'allowNull':false}",
};

static const char catalog_preset[] =
	"{'actionId':'^','name':'Track Calls','fields':{'userId':{'@if':{'exists':{'@path':'$.userId'},"
	"'then':{'@path':'$.userId'},'else':{'@path':'$.anonymousId'}}},'batch':true,'limit':#},"
	"'trigger':'type = \\'track\\''}";
static const char catalog_tail[] =
	"],'contacts':[{'name':'First Last','email':'first.last@example.com','role':'VP of engineering',"
	"'isPrimary':true}],'partnerOwned':true,'supportedRegions':['us-west-2','eu-west-1'],"
	"'regionEndpoints':['US','EU'],'multiInstanceSupportedVersion':'2'}";

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

/* A few words; one in a hundred is not ASCII, one in a hundred holds an escape. */
static void put_sentence(struct maker *m)
{
	static const char *const words[] = {"the",      "Segment",     "event", "is",         "sent to",
					    "your",     "destination", "with",  "properties", "identifier",
					    "optional", "when",        "a",     "mapping"};
	uint32_t n = 4 + random_below(m, 20);

	while (n--) {
		uint32_t kind = random_below(m, 100);
		put_text(m, kind == 0   ? "caf\xc3\xa9"
			    : kind == 1 ? "\\\"quoted\\\""
					: words[random_below(m, countof(words))]);
		put_text(m, n ? " " : ".");
	}
}

static void put_pattern(struct maker *m, const char *pattern)
{
	char day[3];

	for (;; pattern++) {
		struct str plain = {pattern, strcspn(pattern, "'^#&%~")};

		json_put(&m->out, plain);
		pattern += plain.n;
		switch (*pattern) {
		case '\0': return;
		case '\'': put_text(m, "\""); break;
		case '^': put_id(m); break;
		case '#': json_put_int64(&m->out, random_below(m, UINT32_C(1) << random_below(m, 31))); break;
		case '&': json_put_int64(&m->out, random_below(m, 30)); break;
		case '~': put_sentence(m); break;
		case '%':
			snprintf(day, sizeof day, "%02u", (unsigned)random_below(m, 28) + 1);
			put_text(m, day);
			break;
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
	put_pattern(m, usage_row);
}

static void put_audit(struct maker *m)
{
	put_pattern(m, audit_row);
}

static void put_option(struct maker *m)
{
	put_pattern(m, catalog_option);
}

static void put_field(struct maker *m)
{
	put_pattern(m, catalog_fields[random_below(m, countof(catalog_fields))]);
}

static void put_action(struct maker *m)
{
	put_pattern(m, catalog_action);
	put_list(m, 5 + random_below(m, 12), put_field);
	put_text(m, "]}");
}

static void put_preset(struct maker *m)
{
	put_pattern(m, catalog_preset);
}

static void put_catalog(struct maker *m)
{
	put_pattern(m, catalog_head);
	put_list(m, 3 + random_below(m, 8), put_option);
	put_text(m, "],\"actions\":[");
	put_list(m, 2 + random_below(m, 5), put_action);
	put_text(m, "],\"presets\":[");
	put_list(m, 1 + random_below(m, 6), put_preset);
	put_pattern(m, catalog_tail);
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

/* CPU time, so that what else the machine does is not counted. */
static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The median time of a repetition; -1 if one failed. */
static int64_t median_ns(bool (*work)(void *), void *context)
{
	int64_t took[REPETITIONS];
	size_t i;

	for (i = 0; i < REPETITIONS; i++) {
		int64_t begin = now_ns();
		if (!work(context))
			return -1;
		took[i] = now_ns() - begin;
	}
	qsort(took, REPETITIONS, sizeof *took, compare);
	return took[REPETITIONS / 2];
}

/* ---- Page to tape, page to records ---- */

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

static bool work_copy(void *context)
{
	struct work *w = context;

	memcpy(w->copy, w->text->bytes, w->text->length);
	return w->copy[w->text->length / 2] != '\0'; /* somebody has to look at it, or it may be left out */
}

static bool work_parse(void *context)
{
	struct work *w = context;
	struct json_error error;

	arena_reset(&w->page);
	return json_parse(&w->page, w->text->bytes, w->text->length, &w->root, &error) ||
	       fail(&w->error, "%zu:%zu: %s", error.line, error.column, error.what);
}

static bool work_record(void *context)
{
	struct work *w = context;
	struct json_each it;

	if (!work_parse(w))
		return false;
	for (it = json_each(json_get(json_get(w->root, "data"), w->rows)); json_next(&it);)
		if (!singer_record(&w->singer, &w->selection, it.value, NULL, 0, 0, &w->error))
			return false;
	return singer_flush(&w->singer) || fail(&w->error, "/dev/null: %s", strerror(w->singer.write_errno));
}

static bool work_begin(struct work *w, const struct page *page, const struct json_out *text)
{
	const struct json nothing = {NULL, NULL};
	static struct selection all[STREAMS];
	const struct stream *stream = page_stream(page);

	memset(w, 0, sizeof *w);
	w->text = text;
	w->rows = stream->rows;
	w->copy = malloc(text->length);
	if (!w->copy || !streams_unpack(all, &w->run))
		return fail(&w->error, "no memory");
	w->selection = all[stream - streams];
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

static int bench_pages(const char *directory)
{
	bool ok = true;
	size_t i;

	for (i = 0; i < countof(pages) && ok; i++) {
		struct maker m = {0};
		struct error error = {""};
		ok = page_make(&pages[i], &m) && page_write(&pages[i], &m.out, directory) &&
		     page_measure(&pages[i], &m.out, &error);
		if (!ok)
			fprintf(stderr, "bench: %s: %s\n", pages[i].name, *error.text ? error.text : "cannot be made");
		json_out_free(&m.out);
	}
	return ok ? 0 : 1;
}

/* ---- Gzip ---- */

static bool work_gunzip(void *context)
{
	const struct json_out *in = context;
	const char *why;
	char *out;
	size_t length;
	enum verdict v = gunzip(in->bytes, in->length, HTTP_BODY_LIMIT, &out, &length, &why);

	free(out);
	return v == ANSWER_WHOLE;
}

static int bench_gunzip(const char *file)
{
	struct json_out in = {0};
	int error = file_read(file, HTTP_BODY_LIMIT, &in);
	int64_t took = error ? -1 : median_ns(work_gunzip, &in);

	if (took >= 0)
		printf("%" PRId64 "\n", took);
	else
		fprintf(stderr, "bench: %s: %s\n", file, error ? strerror(error) : "no gzip");
	json_out_free(&in);
	return took >= 0 ? 0 : 1;
}

/* ---- Trusted roots ---- */

static bool open_client(void *context)
{
	struct http_options options = {.base_url = "https://localhost",
				       .token = "token",
				       .user_agent = "bench",
				       .ca_file = context,
				       .proxy = "",
				       .connections = 1,
				       .attempts = 1,
				       .request_timeout_ms = 1000,
				       .backoff_ms = 1000,
				       .patience_ms = 1000};
	struct error error = {""};
	struct http *http = http_open(&options, &error);

	if (!http)
		fprintf(stderr, "bench: %s\n", error.text);
	else
		http_close(http);
	return http != NULL;
}

static int bench_roots(char *file)
{
	int64_t took = median_ns(open_client, file);

	if (took >= 0)
		printf("%" PRId64 "\n", took);
	return took >= 0 ? 0 : 1;
}

/* ---- What a command costs ---- */

static int64_t elapsed_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t microseconds(struct timeval t)
{
	return (int64_t)t.tv_sec * 1000000 + t.tv_usec;
}

static bool report_write(const char *name, int64_t wall)
{
	struct rusage used;
	FILE *file = fopen(name, "w");

	if (!file || getrusage(RUSAGE_CHILDREN, &used) != 0)
		return false;
	fprintf(file, "%" PRId64 " %" PRId64 " %ld\n", microseconds(used.ru_utime) + microseconds(used.ru_stime), wall,
		used.ru_maxrss);
	return fclose(file) == 0;
}

/* The command's exit status, 128 + signal, or 127. */
static int bench_run(const char *report, char **command)
{
	int64_t begin = elapsed_us();
	pid_t child = fork();
	int status;

	if (child == 0) {
		execvp(command[0], command);
		fprintf(stderr, "bench: %s: %s\n", command[0], strerror(errno));
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || !report_write(report, elapsed_us() - begin)) {
		perror("bench: run");
		return 127;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "pages") == 0)
		return bench_pages(argv[2]);
	if (argc == 3 && strcmp(argv[1], "gunzip") == 0)
		return bench_gunzip(argv[2]);
	if (argc == 3 && strcmp(argv[1], "roots") == 0)
		return bench_roots(argv[2]);
	if (argc > 3 && strcmp(argv[1], "run") == 0)
		return bench_run(argv[2], argv + 3);
	fputs("usage: bench pages DIRECTORY | gunzip FILE | roots FILE | run REPORT COMMAND [ARGUMENT...]\n", stderr);
	return 2;
}
