/* The plan and the walk over a fake HTTP client: what is asked for, what is written, what is said, and that neither the
 * number of connections nor the order of the answers makes a difference. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include "check.h"
#include "fake_http.h"

/* The allocations of streams.c under control: number fail_allocation fails; 0: none. */
static size_t allocations, fail_allocation;

static void *test_malloc(size_t size)
{
	return ++allocations == fail_allocation ? NULL : malloc(size);
}

static void *test_calloc(size_t count, size_t size)
{
	return ++allocations == fail_allocation ? NULL : calloc(count, size);
}

#define malloc test_malloc
#define calloc test_calloc
#include "../streams.c"
#undef malloc
#undef calloc

/* ---- Scenarios: what they look like ---- */

/* In bodies, states and expected messages ' stands for ". */
struct scenario {
	const char *name, *select; /* streams, separated by commas */
	const char *state;         /* NULL: none */
	const char *start;         /* NULL: 2021-01-01 */
	const char *end;           /* NULL: none */
	const char *now;           /* NULL: 2021-03-10T12:00:00Z, a Wednesday noon */
	const char *received;      /* when all answers come; NULL: now */
	unsigned page_rows;
	size_t hold;             /* 0: 4 MiB */
	bool forbid, full_table; /* fail_on_forbidden; the user's wish for every stream */
	bool version;            /* full tables carry one */
	struct fake_answer answers[24];
	bool (*make)(const char *path, struct fake_answer *); /* in place of answers */
	size_t stop_after;                                    /* answers; 0: not stopped */
	enum sync_result result;
	const char *messages; /* what is written, a line each: see brief */
	const char *log;      /* warnings and worse; NULL: not compared */
	const char *asked;    /* by one connection: "rank path" a line; NULL: not compared */
};

#define ROWS(name, rows)       "{'data':{'" name "':[" rows "],'pagination':{'current':'c'}}}"
#define MORE(name, rows, next) "{'data':{'" name "':[" rows "],'pagination':{'current':'c','next':'" next "'}}}"
#define REFUSED                "{'errors':[{'type':'not-found','message':'No such thing','field':'id'}]}"
#define COUNT                  "pagination.count=200"

/* ---- Scenarios: running one ---- */

struct outcome {
	enum sync_result result;
	struct sync_totals totals;
	char messages[1 << 20]; /* in brief */
	char state[1 << 12];    /* of the last STATE, as it was written */
	char warnings[1 << 14]; /* warnings and worse */
	char log[1 << 17];      /* all lines of which the order of answers makes no difference */
};

static struct http fake;
static volatile sig_atomic_t stop;
static struct arena arena; /* of one scenario */
static struct selection pristine[STREAMS], selection[STREAMS];
static int out_file, log_file; /* standard output's and standard error's during a run */
static bool output_fails;
static unsigned progress_calls;

/* Appends to a text that begins empty and is otherwise left alone.  The one that it had last is measured from where that
 * ended, or a long one would take the square of its length. */
static void add(char *to, size_t size, const char *format, ...)
{
	static const char *last;
	static size_t end;
	size_t length = to == last && *to ? end + strlen(to + end) : strlen(to);
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(to + length, size - length, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= size - length)
		abort(); /* the test's buffer is too small */
	last = to;
	end = length + (size_t)n;
}

enum { BRIEF = 300, MEMBERS = 8 }; /* longest value shown; most members of a test's record */

static void add_value(char *to, size_t size, struct json v)
{
	struct json_out out = {0};
	size_t i;

	json_put_value(&out, v, 0);
	for (i = 0; i < out.length; i++)
		if (out.bytes[i] == '"')
			out.bytes[i] = '\'';
	add(to, size, "%.*s", str_width((struct str){out.bytes, out.length}, BRIEF), out.bytes);
	json_out_free(&out);
}

static int by_key(const void *a, const void *b)
{
	struct str x = json_token(((const struct json_each *)a)->key),
		   y = json_token(((const struct json_each *)b)->key);
	int order = memcmp(x.s, y.s, x.n < y.n ? x.n : y.n);

	return order ? order : (x.n > y.n) - (x.n < y.n);
}

/* In the order of the names: that of the schema is not the subject here. */
static void add_record(char *to, size_t size, struct json record)
{
	struct json_each it = json_each(record), members[MEMBERS];
	size_t n = 0, i;

	while (n < MEMBERS && json_next(&it))
		members[n++] = it;
	qsort(members, n, sizeof *members, by_key);
	for (i = 0; i < n; i++) {
		struct str key = json_token(members[i].key);
		add(to, size, "%s'%.*s':", i ? "," : "{", (int)key.n, key.s);
		add_value(to, size, members[i].value);
	}
	add(to, size, "}");
}

static void brief_state(char *to, size_t size, struct json state)
{
	struct str syncing = json_token(json_get(state, "currently_syncing"));
	struct json_each it = json_each(json_get(state, "bookmarks"));

	add(to, size, "STATE %.*s", (int)syncing.n, syncing.s);
	while (json_next(&it)) {
		struct str name = json_token(it.key), time = json_token(json_get(it.value, "timestamp"));
		add(to, size, ", %.*s %.*s", (int)name.n, name.s, (int)time.n, time.s);
	}
	add(to, size, "\n");
}

/* A message in brief: "SCHEMA stream", "stream {record}", "STATE syncing, stream timestamp, ...". */
static void brief(char *to, size_t size, const char *line, size_t length)
{
	struct arena tape = {NULL, 0, 0};
	struct json_error bad;
	struct json root;
	struct json record;
	struct str type, stream;

	if (!json_parse(&tape, line, length, &root, &bad)) {
		add(to, size, "NOT JSON: %.*s\n", (int)length, line);
		arena_free(&tape);
		return;
	}
	type = json_token(json_get(root, "type"));
	stream = json_token(json_get(root, "stream"));
	record = json_get(root, "record");
	if (str_is(type, "STATE")) {
		brief_state(to, size, json_get(root, "value"));
	} else if (str_is(type, "SCHEMA") || str_is(type, "ACTIVATE_VERSION")) {
		add(to, size, "%.*s %.*s\n", (int)type.n, type.s, (int)stream.n, stream.s);
	} else {
		add(to, size, "%.*s ", (int)stream.n, stream.s);
		add_record(to, size, record);
		add(to, size, "\n");
	}
	arena_free(&tape);
}

/* A file without a name, emptied for each run. */
static int scratch_file(void)
{
	char name[] = "/tmp/streams_test.XXXXXX";
	int fd = mkstemp(name);

	if (fd < 0 || unlink(name) != 0)
		abort();
	return fd;
}

static char *whole_file(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *text = malloc((size_t)size + 1);

	if (!text || lseek(fd, 0, SEEK_SET) != 0 || read(fd, text, (size_t)size) != size)
		abort();
	text[size] = '\0';
	return text;
}

/* What was written since the last call. */
static char *file_text(int fd)
{
	char *text = whole_file(fd);

	if (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0)
		abort();
	return text;
}

static bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

static void read_messages(struct outcome *o, int fd)
{
	char *text = file_text(fd), *line = text, *end;

	o->messages[0] = o->state[0] = '\0';
	for (; (end = strchr(line, '\n')); line = end + 1) {
		brief(o->messages, sizeof o->messages, line, (size_t)(end - line));
		if (starts_with(line, "{\"type\":\"STATE\""))
			snprintf(o->state, sizeof o->state, "%.*s", (int)(end - line), line);
	}
	if (*line)
		add(o->messages, sizeof o->messages, "CUT: %s\n", line);
	free(text);
}

static void read_log(struct outcome *o, int fd)
{
	char *text = file_text(fd), *line = text, *end;

	o->log[0] = o->warnings[0] = '\0';
	for (; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		if (strstr(line, "http_request_duration") || strstr(line, "asking again"))
			continue;
		add(o->log, sizeof o->log, "%s\n", line);
		if (!starts_with(line, "INFO "))
			add(o->warnings, sizeof o->warnings, "%s\n", line);
	}
	free(text);
}

static int saved_err;

static void log_catch(void)
{
	fflush(stdout);
	saved_err = dup(2);
	dup2(log_file, 2);
}

static void log_caught(struct outcome *o)
{
	dup2(saved_err, 2);
	close(saved_err);
	read_log(o, log_file);
}

static int64_t instant(const char *text, const char *otherwise)
{
	int64_t us = 0;

	if (!time_parse(str_of(text ? text : otherwise), &us))
		abort();
	return us;
}

static void progress(void *ctx, const char *stream, unsigned number, uint64_t records)
{
	(void)stream;
	if (!number || number > STREAMS)
		abort();
	(void)records;
	++*(unsigned *)ctx;
}

static struct sync_options options_of(const struct scenario *s, struct outcome *o)
{
	struct sync_options options = {
		.start_us = instant(s->start, "2021-01-01"),
		.end_us = s->end ? instant(s->end, NULL) : INT64_MAX,
		.now_us = instant(s->now, "2021-03-10T12:00:00Z"),
		.page_rows = s->page_rows,
		.connections = fake.connections,
		.page_bytes = s->hold ? s->hold : 4 << 20,
		.fail_on_forbidden = s->forbid,
		.stop = &stop,
		.totals = &o->totals,
		.progress = progress,
		.ctx = &progress_calls,
	};

	return options;
}

static const char *const *unique_of(size_t stream)
{
	const struct singer_stream *s = &streams[stream].singer;

	return s->unique_key ? s->unique_key : s->key;
}

/* The schema of a stream, as its file has it. */
static struct str schema_of(size_t stream)
{
	static char *texts[STREAMS];
	char name[128];
	int fd;

	if (!texts[stream]) {
		snprintf(name, sizeof name, "schemas/%s.json", stream_name(stream));
		fd = open(name, O_RDONLY);
		if (fd < 0)
			abort();
		texts[stream] = whole_file(fd);
		close(fd);
	}
	return str_of(texts[stream]);
}

/* Selects the scenario's streams; what a run changes is in a copy. */
static void prepare(const struct scenario *s)
{
	const char *rules = s->select;
	struct json none = {NULL, NULL};
	struct error error;
	size_t i;

	arena_reset(&arena);
	memset(pristine, 0, sizeof pristine);
	for (i = 0; i < STREAMS; i++) {
		pristine[i].stream = &streams[i].singer;
		pristine[i].schema_text = schema_of(i);
	}
	log_setup(LOG_CRITICAL, false); /* what selection_make warns of is not the subject here */
	if (!selection_make(pristine, STREAMS, none, rules, true, &arena, &error))
		abort();
	log_setup(LOG_INFO, false);
	for (i = 0; i < STREAMS; i++)
		pristine[i].full_table = s->full_table;
}

/* Of a scenario; in the text ' stands for ".  NULL: absent. */
static struct json parse_state(const char *text)
{
	struct json document = {NULL, NULL};
	struct json_error bad;
	char *copy = text ? arena_string(&arena, str_of(text)) : NULL, *p;

	for (p = copy; p && *p; p++)
		if (*p == '\'')
			*p = '"';
	if (copy && !json_parse(&arena, copy, strlen(copy), &document, &bad))
		abort();
	return document;
}

/* A run of streams_sync from this state.  What the fake client is asked of otherwise is the caller's to set. */
static void run(const struct scenario *s, const char *state_text, struct outcome *o)
{
	struct singer singer = {.fd = output_fails ? -1 : out_file, .version = s->version};
	struct state state = {.arena = &arena};
	struct sync_options options = options_of(s, o);
	struct error error;

	memcpy(selection, pristine, sizeof selection);
	stop = 0;
	progress_calls = 0;
	fake.answers = s->answers;
	fake.make = s->make;
	fake.stop = &stop;
	if (s->stop_after)
		fake.stop_after = s->stop_after;
	fake.received_us = s->received ? instant(s->received, NULL) : options.now_us;
	fake_reset(&fake);
	log_catch();
	if (!state_read(&state, parse_state(state_text), &arena, &error) ||
	    !state_bookmarks(&state, selection, STREAMS, options.start_us, &error))
		abort();
	o->result = streams_sync(&fake, &singer, &state, selection, &options);
	log_caught(o);
	json_out_free(&singer.out);
	read_messages(o, out_file);
}

/* ---- Scenarios: the table ---- */

#define MONTH(month)  "/usage/api-calls/daily?period=" month "&pagination.count=1000"
#define USED(rows)    ROWS("dailyWorkspaceAPICallsUsage", rows)
#define DAY_ROW(time) "{'timestamp':'" time "'}"
#define END           "23:59:59.999Z"
#define DELIVERY(id, source, day, end)                                                                           \
	"/destinations/" id "/delivery-metrics?sourceId=" source "&startTime=" day "T00:00:00.000Z&endTime=" day \
	"T" end "&granularity=DAY"
#define DELIVERED(source) "{'data':{'deliveryMetricsSummary':{'sourceId':'" source "','destinationMetadataId':'m'}}}"
#define SPAN(from, to)    "/audit-events?startTime=" from "&endTime=" to "&pagination.count=1000"
#define EVENT(id, time)   "{'id':'" id "','timestamp':'" time "'}"

#define DAILY   "usage_api_calls_workspace_daily"
#define METRICS "destination_delivery_metrics_summary"

/* clang-format off */
static const struct scenario scenarios[] = {
	/* Lists. */
	{
		.name = "a list of two pages",
		.select = "sources",
		.answers = {{"/sources?" COUNT, 200, MORE("sources", "{'id':'a'},{'id':'b'}", "Mw==")},
			    {"/sources?" COUNT "&pagination.cursor=Mw%3D%3D", 200, ROWS("sources", "{'id':'c'}")}},
		.messages =
			"STATE null\n"
			"STATE sources\n"
			"SCHEMA sources\n"
			"sources {'id':'a'}\n"
			"sources {'id':'b'}\n"
			"sources {'id':'c'}\n"
			"STATE null\n",
		.log = "",
		.asked =
			"/sources?" COUNT "\n"
			"/sources?" COUNT "&pagination.cursor=Mw%3D%3D\n",
	},
	{
		.name = "an empty list, one without pagination, one whose next is null, one whose next is empty",
		.select = "warehouses,catalog_sources,iam_users,iam_groups",
		.answers = {{"/warehouses?" COUNT, 200, ROWS("warehouses", "")},
			    {"/catalog/sources?" COUNT, 200, "{'data':{'sourcesCatalog':[{'id':'a'}]}}"},
			    {"/users?" COUNT, 200, "{'data':{'pagination':{'next':null},'users':[{'id':'u'}]}}"},
			    {"/groups?" COUNT, 200, MORE("userGroups", "{'id':'g'}", "")}},
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"SCHEMA warehouses\n"
			"STATE catalog_sources\n"
			"SCHEMA catalog_sources\n"
			"catalog_sources {'id':'a'}\n"
			"STATE iam_users\n"
			"SCHEMA iam_users\n"
			"iam_users {'id':'u'}\n"
			"STATE iam_groups\n"
			"SCHEMA iam_groups\n"
			"iam_groups {'id':'g'}\n"
			"STATE null\n",
		.log = "",
	},
	{
		.name = "an empty page with a next is followed",
		.select = "iam_groups",
		.answers = {{"/groups?" COUNT, 200, MORE("userGroups", "", "n")},
			    {"/groups?" COUNT "&pagination.cursor=n", 200, ROWS("userGroups", "{'id':'g'}")}},
		.messages =
			"STATE null\n"
			"STATE iam_groups\n"
			"SCHEMA iam_groups\n"
			"iam_groups {'id':'g'}\n"
			"STATE null\n",
		.log = "",
	},
	{
		.name = "nothing selected",
		.select = "!*",
		.messages =
			"STATE null\n"
			"STATE null\n",
		.log = "",
	},
	/* Parents. */
	{
		.name = "children with their parents selected, one of them of two pages",
		.select = "sources,source_connected_warehouses",
		.answers = {{"/sources?" COUNT, 200, MORE("sources", "{'id':'a'},{'id':'.'}", "2")},
			    {"/sources?" COUNT "&pagination.cursor=2", 200, ROWS("sources", "{'id':'x/ \\u00e9'}")},
			    {"/sources/a/connected-warehouses?" COUNT, 200, MORE("warehouses", "{'id':'w1'}", "p")},
			    {"/sources/a/connected-warehouses?" COUNT "&pagination.cursor=p", 200,
			     ROWS("warehouses", "{'id':'w2','sourceId':'not this one'}")},
			    {"/sources/%2E/connected-warehouses?" COUNT, 200, ROWS("warehouses", "")},
			    {"/sources/x%2F%20%C3%A9/connected-warehouses?" COUNT, 200,
			     ROWS("warehouses", "{'id':'w3'}")}},
		.messages =
			"STATE null\n"
			"STATE sources\n"
			"SCHEMA sources\n"
			"sources {'id':'a'}\n"
			"sources {'id':'.'}\n"
			"sources {'id':'x/ \\u00e9'}\n"
			"STATE source_connected_warehouses\n"
			"SCHEMA source_connected_warehouses\n"
			"source_connected_warehouses {'id':'w1','sourceId':'a'}\n"
			"source_connected_warehouses {'id':'w2','sourceId':'a'}\n"
			"source_connected_warehouses {'id':'w3','sourceId':'x/ \xc3\xa9'}\n"
			"STATE null\n",
		.log = "",
	},
	/* Versions. */
	{
		.name = "versions of full tables: a whole one, an empty one; none of one with a row left out",
		.select = "warehouses,iam_users,iam_groups," DAILY,
		.start = "2021-03-01",
		.version = true,
		.answers = {{"/warehouses?" COUNT, 200, MORE("warehouses", "{'id':'w'}", "2")},
			    {"/warehouses?" COUNT "&pagination.cursor=2", 200, ROWS("warehouses", "{'id':'x'}")},
			    {"/users?" COUNT, 200, ROWS("users", "")},
			    {"/groups?" COUNT, 200, ROWS("userGroups", "{'id':'g'},{}")},
			    {MONTH("2021-02-01"), 200, USED("")},
			    {MONTH("2021-03-01"), 200, USED("")}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"SCHEMA warehouses\n"
			"warehouses {'id':'w'}\n"
			"warehouses {'id':'x'}\n"
			"ACTIVATE_VERSION warehouses\n"
			"STATE " DAILY "\n"
			"SCHEMA " DAILY "\n"
			"STATE iam_users\n"
			"SCHEMA iam_users\n"
			"ACTIVATE_VERSION iam_users\n"
			"STATE iam_groups\n"
			"SCHEMA iam_groups\n"
			"iam_groups {'id':'g'}\n"
			"STATE null\n",
		.log = NULL,
	},
	{
		.name = "no version of what is below a list that was read in part",
		.select = "destinations,destination_subscriptions,reverse_etl_syncs",
		.version = true,
		.answers = {{"/destinations?pagination.count=100", 200, ROWS("destinations", "{'id':'a','sourceId':'s'},{'id':'b','sourceId':'s'}")},
			    {"/destinations/a/subscriptions?" COUNT, 404, REFUSED},
			    {"/destinations/b/subscriptions?" COUNT, 200, ROWS("subscriptions", "")}},
		.messages =
			"STATE null\n"
			"STATE destinations\n"
			"SCHEMA destinations\n"
			"destinations {'id':'a','sourceId':'s'}\n"
			"destinations {'id':'b','sourceId':'s'}\n"
			"ACTIVATE_VERSION destinations\n"
			"STATE destination_subscriptions\n"
			"SCHEMA destination_subscriptions\n"
			"STATE reverse_etl_syncs\n"
			"SCHEMA reverse_etl_syncs\n"
			"STATE null\n",
		.log = NULL,
	},
	{
		.name = "no version of a list that failed, nor of one whose parents failed",
		.select = "sources,source_connected_warehouses,iam_users",
		.version = true,
		.answers = {{"/sources?" COUNT, 200, MORE("sources", "{'id':'a'}", "2")},
			    {"/sources?" COUNT "&pagination.cursor=2", 500, ""},
			    {"/users?" COUNT, 403, REFUSED}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE sources\n"
			"SCHEMA sources\n"
			"sources {'id':'a'}\n"
			"STATE iam_users\n"
			"STATE null\n",
		.log = NULL,
	},
	{
		.name = "children alone: their parents are read quietly, once",
		.select = "source_connected_destinations,source_connected_warehouses,destination_subscriptions",
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "{'id':'a'}")},
			    {"/destinations?pagination.count=100", 200, ROWS("destinations", "{'id':'d'}")},
			    {"/sources/a/connected-destinations?pagination.count=100", 200,
			     ROWS("destinations", "{'id':'d'}")},
			    {"/sources/a/connected-warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")},
			    {"/destinations/d/subscriptions?" COUNT, 200,
			     ROWS("subscriptions", "{'id':'s','destinationId':'d'}")}},
		.messages =
			"STATE null\n"
			"STATE source_connected_destinations\n"
			"SCHEMA source_connected_destinations\n"
			"source_connected_destinations {'id':'d','sourceId':'a'}\n"
			"STATE source_connected_warehouses\n"
			"SCHEMA source_connected_warehouses\n"
			"source_connected_warehouses {'id':'w','sourceId':'a'}\n"
			"STATE destination_subscriptions\n"
			"SCHEMA destination_subscriptions\n"
			"destination_subscriptions {'destinationId':'d','id':'s'}\n"
			"STATE null\n",
		.log = "",
		.asked =
			"/sources?" COUNT "\n"
			"/sources/a/connected-destinations?pagination.count=100\n"
			"/sources/a/connected-warehouses?" COUNT "\n"
			"/destinations?pagination.count=100\n"
			"/destinations/d/subscriptions?" COUNT "\n",
	},
	{
		.name = "no parents: SCHEMA and STATE all the same",
		.select = "source_connected_destinations,iam_users",
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "")},
			    {"/users?" COUNT, 200, ROWS("users", "{'id':'u'}")}},
		.messages =
			"STATE null\n"
			"STATE source_connected_destinations\n"
			"SCHEMA source_connected_destinations\n"
			"STATE iam_users\n"
			"SCHEMA iam_users\n"
			"iam_users {'id':'u'}\n"
			"STATE null\n",
		.log = "",
	},
	{
		.name = "a quiet parent's row without id",
		.select = "source_connected_destinations,iam_users",
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "{'id':'a'},{'id':null}")},
			    {"/sources/a/connected-destinations?pagination.count=100", 200, ROWS("destinations", "")},
			    {"/users?" COUNT, 200, ROWS("users", "")}},
		.messages =
			"STATE null\n"
			"STATE source_connected_destinations\n"
			"SCHEMA source_connected_destinations\n"
			"STATE iam_users\n"
			"SCHEMA iam_users\n"
			"STATE null\n",
		.log =
			"WARNING source_connected_destinations: left out for single sources: 0 forbidden (403), 1 not found (404) or without id, first one without an id\n",
	},
	/* Order. */
	{
		.name = "an interrupted stream goes first, its parent before it",
		.select = "sources,warehouses,source_connected_warehouses,iam_users",
		.state = "{'bookmarks':{},'currently_syncing':'source_connected_warehouses'}",
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "{'id':'a'}")},
			    {"/sources/a/connected-warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")},
			    {"/warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")},
			    {"/users?" COUNT, 200, ROWS("users", "{'id':'u'}")}},
		.messages =
			"STATE source_connected_warehouses\n"
			"STATE sources\n"
			"SCHEMA sources\n"
			"sources {'id':'a'}\n"
			"STATE source_connected_warehouses\n"
			"SCHEMA source_connected_warehouses\n"
			"source_connected_warehouses {'id':'w','sourceId':'a'}\n"
			"STATE iam_users\n"
			"SCHEMA iam_users\n"
			"iam_users {'id':'u'}\n"
			"STATE warehouses\n"
			"SCHEMA warehouses\n"
			"warehouses {'id':'w'}\n"
			"STATE null\n",
		.log = "",
	},
	{
		.name = "an interrupted stream that is not selected changes nothing",
		.select = "warehouses,iam_users",
		.state = "{'currently_syncing':'catalog_sources'}",
		.answers = {{"/warehouses?" COUNT, 200, ROWS("warehouses", "")},
			    {"/users?" COUNT, 200, ROWS("users", "")}},
		.messages =
			"STATE catalog_sources\n"
			"STATE warehouses\n"
			"SCHEMA warehouses\n"
			"STATE iam_users\n"
			"SCHEMA iam_users\n"
			"STATE null\n",
		.log = "",
	},
	/* Failures of a list. */
	{
		.name = "a list that fails in the middle, and one that is not there: the others go on",
		.select = "warehouses,catalog_sources,iam_users",
		.answers = {{"/warehouses?" COUNT, 200, MORE("warehouses", "{'id':'w'}", "2")},
			    {"/warehouses?" COUNT "&pagination.cursor=2", 500, "oops"},
			    {"/catalog/sources?" COUNT, 404, REFUSED},
			    {"/users?" COUNT, 200, ROWS("users", "{'id':'u'}")}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"SCHEMA warehouses\n"
			"warehouses {'id':'w'}\n"
			"STATE catalog_sources\n"
			"STATE iam_users\n"
			"SCHEMA iam_users\n"
			"iam_users {'id':'u'}\n"
			"STATE null\n",
		.log =
			"ERROR warehouses: failed: GET /warehouses?pagination.count=200&pagination.cursor=2: status 500; run again later\n"
			"ERROR catalog_sources: failed: GET /catalog/sources?pagination.count=200: status 404 (No such thing; not-found; field id); check base_url and region\n",
	},
	{
		.name = "a redirect, a broken connection",
		.select = "warehouses,catalog_sources",
		.answers = {{"/warehouses?" COUNT, 301, ""}, {"/catalog/sources?" COUNT, -HTTP_BROKEN, ""}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"STATE catalog_sources\n"
			"STATE null\n",
		.log =
			"ERROR warehouses: failed: /path: it leads elsewhere; check region as well\n"
			"ERROR catalog_sources: failed: GET /path: the connection broke; run again later\n",
	},
	{
		.name = "a forbidden list is skipped",
		.select = "transformations,iam_users",
		.answers = {{"/transformations?" COUNT, 403, "\n<html><TITLE> No entry</title>"}, {"/users?" COUNT, 200, ROWS("users", "")}},
		.messages =
			"STATE null\n"
			"STATE iam_users\n"
			"SCHEMA iam_users\n"
			"STATE transformations\n"
			"STATE null\n",
		.log =
			"WARNING transformations: skipped: GET /transformations?pagination.count=200: status 403 (a page of HTML: No entry); it needs the Protocols feature in the plan; or leave the stream out\n",
	},
	{
		.name = "a forbidden list with fail_on_forbidden",
		.select = "audit_events",
		.forbid = true,
		.end = "2021-01-02",
		.answers = {{"/audit-events?startTime=2020-12-31T23:59:59.000Z&endTime=2021-01-02T00:00:01.000Z"
			     "&pagination.count=1000",
			     403, "{'errors':[{'type':'forbidden','message':'Access denied'}]}"}},
		.result = SYNC_REFUSED,
		.messages =
			"STATE null\n"
			"STATE audit_events\n"
			"STATE null\n",
		.log =
			"WARNING audit_events: skipped: GET /audit-events?startTime=2020-12-31T23:59:59.000Z&endTime=2021-01-02T00:00:01.000Z&pagination.count=1000: status 403 (Access denied; forbidden); it needs the audit trail, which is part of the Business plan; or leave the stream out\n"
			"CRITICAL every selected stream is forbidden to this token: it needs a role that may read them, or the plan lacks them; see the lines above\n",
	},
	{
		.name = "children of a forbidden list",
		.select = "sources,source_connected_destinations,source_connected_warehouses,iam_users",
		.answers = {{"/sources?" COUNT, 403, REFUSED}, {"/users?" COUNT, 200, ROWS("users", "")}},
		.messages =
			"STATE null\n"
			"STATE sources\n"
			"STATE iam_users\n"
			"SCHEMA iam_users\n"
			"STATE null\n",
		.log =
			"WARNING sources: skipped: GET /sources?pagination.count=200: status 403 (No such thing; not-found; field id); it needs access to sources; or leave the stream out\n"
			"WARNING source_connected_destinations: skipped: it needs the list of sources, which can't be read (see above)\n"
			"WARNING source_connected_warehouses: skipped: it needs the list of sources, which can't be read (see above)\n",
	},
	{
		.name = "children of a list that fails after a page",
		.select = "sources,source_connected_warehouses",
		.answers = {{"/sources?" COUNT, 200, MORE("sources", "{'id':'a'}", "2")},
			    {"/sources?" COUNT "&pagination.cursor=2", 503, ""}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE sources\n"
			"SCHEMA sources\n"
			"sources {'id':'a'}\n"
			"STATE null\n",
		.log =
			"ERROR sources: failed: GET /sources?pagination.count=200&pagination.cursor=2: status 503; run again later\n"
			"WARNING source_connected_warehouses: failed: it needs the list of sources, which can't be read (see above)\n",
	},
	{
		.name = "a row that does not fit: the rows before it stay, the others go on",
		.select = "warehouses,iam_users",
		.answers = {{"/warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'},{'enabled':true},{'id':'x'}")},
			    {"/users?" COUNT, 200, ROWS("users", "{'id':'u'}")}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"SCHEMA warehouses\n"
			"warehouses {'id':'w'}\n"
			"warehouses {'id':'x'}\n"
			"STATE iam_users\n"
			"SCHEMA iam_users\n"
			"iam_users {'id':'u'}\n"
			"STATE null\n",
		.log =
			"ERROR stream warehouses: a row with id : id is missing, but it belongs to the key or dates the row; the row is left out (GET /warehouses?pagination.count=200)\n",
	},
	{
		.name = "no connection at all ends the run",
		.select = "warehouses,iam_users",
		.answers = {{"/warehouses?" COUNT, -HTTP_UNREACHABLE, ""},
			    {"/users?" COUNT, -HTTP_UNREACHABLE, ""}},
		.result = SYNC_LATER,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"STATE warehouses\n",
		.log =
			"CRITICAL warehouses: GET /path: the connection broke\n",
	},
	{
		.name = "every request fails in a way that passes, or is forbidden: nothing could be done now",
		.select = "warehouses,iam_users,iam_groups",
		.answers = {{"/warehouses?" COUNT, 503, ""},
			    {"/users?" COUNT, -HTTP_BROKEN, ""},
			    {"/groups?" COUNT, 403, REFUSED}},
		.result = SYNC_LATER,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"STATE iam_users\n"
			"STATE iam_groups\n"
			"STATE null\n",
		.log =
			"ERROR warehouses: failed: GET /warehouses?pagination.count=200: status 503; run again later\n"
			"ERROR iam_users: failed: GET /path: the connection broke; run again later\n"
			"WARNING iam_groups: skipped: GET /groups?pagination.count=200: status 403 (No such thing; not-found; field id); it needs a token that may read groups, a workspace owner's say; or leave the stream out\n"
			"CRITICAL no request was answered as it should be: warehouses: failed: GET /warehouses?pagination.count=200: status 503; run again later\n",
	},
	{
		.name = "... but one that is refused for good is a failure like others",
		.select = "warehouses,iam_users",
		.answers = {{"/warehouses?" COUNT, 503, ""}, {"/users?" COUNT, 404, REFUSED}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"STATE iam_users\n"
			"STATE null\n",
		.log =
			"ERROR warehouses: failed: GET /warehouses?pagination.count=200: status 503; run again later\n"
			"ERROR iam_users: failed: GET /users?pagination.count=200: status 404 (No such thing; not-found; field id); check base_url and region\n",
	},
	{
		.name = "a refused certificate ends the run, after what came before",
		.select = "warehouses,iam_users",
		.answers = {{"/warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")},
			    {"/users?" COUNT, -HTTP_UNTRUSTED, ""}},
		.result = SYNC_REFUSED,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"SCHEMA warehouses\n"
			"warehouses {'id':'w'}\n"
			"STATE iam_users\n"
			"STATE iam_users\n",
		.log =
			"CRITICAL iam_users: GET /path: the connection broke\n",
	},
	/* 401. */
	{
		.name = "401 of a token that works elsewhere is as 403",
		.select = "warehouses,iam_users,iam_groups",
		.answers = {{"/warehouses?" COUNT, 401, REFUSED},
			    {"/", 200, "{'data':{'workspace':{'id':'w'}}}"},
			    {"/users?" COUNT, 200, ROWS("users", "{'id':'u'}")},
			    {"/groups?" COUNT, 401, REFUSED}},
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"STATE iam_users\n"
			"SCHEMA iam_users\n"
			"iam_users {'id':'u'}\n"
			"STATE iam_groups\n"
			"STATE null\n",
		.log =
			"WARNING warehouses: skipped: GET /warehouses?pagination.count=200: status 401 (No such thing; not-found; field id); it needs access to warehouses; or leave the stream out\n"
			"WARNING iam_groups: skipped: GET /groups?pagination.count=200: status 401 (No such thing; not-found; field id); it needs a token that may read groups, a workspace owner's say; or leave the stream out\n",
		.asked =
			"/warehouses?" COUNT "\n"
			"/\n"
			"/users?" COUNT "\n"
			"/groups?" COUNT "\n"
			"/\n",
	},
	{
		.name = "401 of a token that works nowhere ends the run",
		.select = "warehouses,iam_users",
		.answers = {{"/warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")},
			    {"/users?" COUNT, 401, REFUSED},
			    {"/", 401, "{'errors':[{'type':'unauthorized','message':'Invalid token'}]}"}},
		.result = SYNC_REFUSED,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"SCHEMA warehouses\n"
			"warehouses {'id':'w'}\n"
			"STATE iam_users\n"
			"STATE iam_users\n",
		.log =
			"CRITICAL the API refuses the token: GET /: status 401 (Invalid token; unauthorized); check api_token, and that region is the workspace's\n",
	},
	{
		.name = "401, and GET / finds nobody any more",
		.select = "warehouses",
		.answers = {{"/warehouses?" COUNT, 401, REFUSED}, {"/", -HTTP_UNREACHABLE, ""}},
		.result = SYNC_LATER,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"STATE warehouses\n",
		.log =
			"CRITICAL the token can't be checked: GET /path: the connection broke\n",
	},
	{
		.name = "401, and GET / finds somebody else",
		.select = "warehouses",
		.answers = {{"/warehouses?" COUNT, 401, REFUSED}, {"/", -HTTP_UNTRUSTED, ""}},
		.result = SYNC_REFUSED,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"STATE warehouses\n",
		.log =
			"CRITICAL the token can't be checked: GET /path: the connection broke\n",
	},
	{
		.name = "401, and no memory for GET /",
		.select = "warehouses",
		.answers = {{"/warehouses?" COUNT, 401, REFUSED}, {"/", -HTTP_NO_MEMORY, ""}},
		.result = SYNC_ENDED,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"STATE warehouses\n",
		.log =
			"CRITICAL no memory: a smaller page_size or max_connections needs less\n",
	},
	{
		.name = "no memory for an answer",
		.select = "warehouses,iam_users",
		.answers = {{"/warehouses?" COUNT, -HTTP_NO_MEMORY, ""}, {"/users?" COUNT, 200, ROWS("users", "")}},
		.result = SYNC_ENDED,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"STATE warehouses\n",
		.log =
			"CRITICAL no memory: a smaller page_size or max_connections needs less\n",
	},
	/* Failures of parents. */
	{
		.name = "single parents forbidden and gone: one warning",
		.select = "source_connected_warehouses",
		.answers = {{"/sources?" COUNT, 200,
			     ROWS("sources", "{'id':'a'},{'id':'b'},{'id':'c'},{'id':'d'},{'id':'e'},{'id':'f'}")},
			    {"/sources/a/connected-warehouses?" COUNT, 403, REFUSED},
			    {"/sources/b/connected-warehouses?" COUNT, 404, REFUSED},
			    {"/sources/c/connected-warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")},
			    {"/sources/d/connected-warehouses?" COUNT, 403, REFUSED},
			    {"/sources/e/connected-warehouses?" COUNT, 403, REFUSED},
			    {"/sources/f/connected-warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")}},
		.messages =
			"STATE null\n"
			"STATE source_connected_warehouses\n"
			"SCHEMA source_connected_warehouses\n"
			"source_connected_warehouses {'id':'w','sourceId':'c'}\n"
			"source_connected_warehouses {'id':'w','sourceId':'f'}\n"
			"STATE null\n",
		.log =
			"WARNING source_connected_warehouses: left out for single sources: 3 forbidden (403), 1 not found (404) or without id, first a\n",
	},
	{
		.name = "a single forbidden parent with fail_on_forbidden",
		.select = "source_connected_warehouses",
		.forbid = true,
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "{'id':'a'},{'id':'b'}")},
			    {"/sources/a/connected-warehouses?" COUNT, 200, ROWS("warehouses", "")},
			    {"/sources/b/connected-warehouses?" COUNT, 403, REFUSED}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE source_connected_warehouses\n"
			"SCHEMA source_connected_warehouses\n"
			"STATE null\n",
		.log =
			"WARNING source_connected_warehouses: left out for single sources: 1 forbidden (403), 0 not found (404) or without id, first b\n",
	},
	{
		.name = "three forbidden parents and nothing else: the stream is skipped, the fourth not needed",
		.select = "source_connected_warehouses,iam_users",
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "{'id':'a'},{'id':'b'},{'id':'c'},{'id':'d'}")},
			    {"/sources/a/connected-warehouses?" COUNT, 403, REFUSED},
			    {"/sources/b/connected-warehouses?" COUNT, 403, REFUSED},
			    {"/sources/c/connected-warehouses?" COUNT, 403, REFUSED},
			    {"/sources/d/connected-warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")},
			    {"/users?" COUNT, 200, ROWS("users", "")}},
		.messages =
			"STATE null\n"
			"STATE source_connected_warehouses\n"
			"STATE iam_users\n"
			"SCHEMA iam_users\n"
			"STATE null\n",
		.log =
			"WARNING source_connected_warehouses: skipped: GET /sources/c/connected-warehouses?pagination.count=200: status 403 (No such thing; not-found; field id); it needs access to sources and their warehouses; or leave the stream out\n",
		.asked =
			"/sources?" COUNT "\n"
			"/sources/a/connected-warehouses?" COUNT "\n"
			"/sources/b/connected-warehouses?" COUNT "\n"
			"/sources/c/connected-warehouses?" COUNT "\n"
			"/users?" COUNT "\n",
	},
	{
		.name = "all of two parents forbidden: the stream is skipped",
		.select = "source_connected_warehouses",
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "{'id':'a'},{'id':'b'}")},
			    {"/sources/a/connected-warehouses?" COUNT, 403, REFUSED},
			    {"/sources/b/connected-warehouses?" COUNT, 403, REFUSED}},
		.result = SYNC_REFUSED,
		.messages =
			"STATE null\n"
			"STATE source_connected_warehouses\n"
			"STATE null\n",
		.log =
			"WARNING source_connected_warehouses: skipped: GET /sources/b/connected-warehouses?pagination.count=200: status 403 (No such thing; not-found; field id); it needs access to sources and their warehouses; or leave the stream out\n"
			"CRITICAL every selected stream is forbidden to this token: it needs a role that may read them, or the plan lacks them; see the lines above\n",
	},
	{
		.name = "one parent fails: the stream goes on with the next, and the run says so",
		.select = "source_connected_warehouses,iam_users",
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "{'id':'a'},{'id':'b'},{'id':'c'}")},
			    {"/sources/a/connected-warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")},
			    {"/sources/b/connected-warehouses?" COUNT, 422, REFUSED},
			    {"/sources/c/connected-warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")},
			    {"/users?" COUNT, 200, ROWS("users", "")}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE source_connected_warehouses\n"
			"SCHEMA source_connected_warehouses\n"
			"source_connected_warehouses {'id':'w','sourceId':'a'}\n"
			"source_connected_warehouses {'id':'w','sourceId':'c'}\n"
			"STATE iam_users\n"
			"SCHEMA iam_users\n"
			"STATE null\n",
		.log =
			"ERROR source_connected_warehouses: GET /sources/b/connected-warehouses?pagination.count=200: status 422 (No such thing; not-found; field id); run again later, and report it if it stays; the others go on\n",
	},
	/* Wrong shapes. */
	{
		.name = "wrong shapes are asked for again twice, each page anew",
		.select = "warehouses",
		.answers = {{"/warehouses?" COUNT, 200, "{'data':{'warehouses':[{'id':'w'}"},
			    {"/warehouses?" COUNT, 200, "{'data':{'pagination':{}}}"},
			    {"/warehouses?" COUNT, 200, MORE("warehouses", "{'id':'w'}", "2")},
			    {"/warehouses?" COUNT "&pagination.cursor=2", 200, ROWS("warehouses", "{'id':'x'},7")},
			    {"/warehouses?" COUNT "&pagination.cursor=2", 200, "{'data':{'warehouses':{}}}"},
			    {"/warehouses?" COUNT "&pagination.cursor=2", 200, ROWS("warehouses", "{'id':'x'}")}},
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"SCHEMA warehouses\n"
			"warehouses {'id':'w'}\n"
			"warehouses {'id':'x'}\n"
			"STATE null\n",
		.log = "",
	},
	{
		.name = "wrong shapes three times fail the stream; of such a page no row is written",
		.select = "warehouses,catalog_sources,catalog_warehouses,iam_users,iam_groups,transformations",
		.answers = {{"/warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'},7")},
			    {"/catalog/sources?" COUNT, 200, ""},
			    {"/catalog/warehouses?" COUNT, 200, "{'data':{'warehousesCatalog':null}}"},
			    {"/users?" COUNT, 200, "{'data':{'users':[{'id':'u'}],'pagination':{'next':3}}}"},
			    {"/groups?" COUNT, 200, "{'data':{'userGroups':[{'id':'u'}],'pagination':[]}}"},
			    {"/transformations?" COUNT, 204, ""}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"STATE catalog_sources\n"
			"STATE catalog_warehouses\n"
			"STATE iam_users\n"
			"STATE iam_groups\n"
			"STATE transformations\n"
			"STATE null\n",
		.log =
			"ERROR warehouses: failed: GET /warehouses?pagination.count=200: status 200, not of the expected shape: data.warehouses holds a row that is no object; it was asked three times; run again later\n"
			"ERROR catalog_sources: failed: GET /catalog/sources?pagination.count=200: status 200, no JSON, line 1, column 1: expected a value; it was asked three times; run again later\n"
			"ERROR catalog_warehouses: failed: GET /catalog/warehouses?pagination.count=200: status 200, not of the expected shape: data.warehousesCatalog is not a list; it was asked three times; run again later\n"
			"ERROR iam_users: failed: GET /users?pagination.count=200: status 200, not of the expected shape: data.users has no readable pagination beside it; it was asked three times; run again later\n"
			"ERROR iam_groups: failed: GET /groups?pagination.count=200: status 200, not of the expected shape: data.userGroups has no readable pagination beside it; it was asked three times; run again later\n"
			"ERROR transformations: failed: GET /transformations?pagination.count=200: status 204; run again later\n",
		.asked =
			"/warehouses?" COUNT "\n"
			"/warehouses?" COUNT "\n"
			"/warehouses?" COUNT "\n"
			"/catalog/sources?" COUNT "\n"
			"/catalog/sources?" COUNT "\n"
			"/catalog/sources?" COUNT "\n"
			"/catalog/warehouses?" COUNT "\n"
			"/catalog/warehouses?" COUNT "\n"
			"/catalog/warehouses?" COUNT "\n"
			"/users?" COUNT "\n"
			"/users?" COUNT "\n"
			"/users?" COUNT "\n"
			"/groups?" COUNT "\n"
			"/groups?" COUNT "\n"
			"/groups?" COUNT "\n"
			"/transformations?" COUNT "\n",
	},
	/* Months. */
	{
		.name = "months from the one before since: foreign rows stay, bookmarks stay in their month",
		.select = DAILY,
		.start = "2021-02-10",
		.answers = {{MONTH("2021-01-01"), 200, USED(DAY_ROW("2021-01-31") "," DAY_ROW("2021-02-10"))},
			    {MONTH("2021-02-01"), 200,
			     USED(DAY_ROW("2021-02-28T00:00:00.123456789Z") "," DAY_ROW("2021-02-11T01:00:00+01:00") ","
				  DAY_ROW("2021-03-02"))},
			    {MONTH("2021-03-01"), 200,
			     USED(DAY_ROW("2021-03-08") "," DAY_ROW("2021-03-10") "," DAY_ROW("2021-03-11"))}},
		.messages =
			"STATE null\n"
			"STATE " DAILY "\n"
			"SCHEMA " DAILY "\n"
			DAILY " {'timestamp':'2021-02-10T00:00:00.000000Z'}\n"
			"STATE " DAILY "\n"
			DAILY " {'timestamp':'2021-02-28T00:00:00.123456Z'}\n"
			DAILY " {'timestamp':'2021-02-11T00:00:00.000000Z'}\n"
			DAILY " {'timestamp':'2021-03-02T00:00:00.000000Z'}\n"
			"STATE " DAILY ", " DAILY " 2021-02-28T00:00:00.000000Z\n"
			DAILY " {'timestamp':'2021-03-08T00:00:00.000000Z'}\n"
			DAILY " {'timestamp':'2021-03-10T00:00:00.000000Z'}\n"
			DAILY " {'timestamp':'2021-03-11T00:00:00.000000Z'}\n"
			"STATE " DAILY ", " DAILY " 2021-03-09T00:00:00.000000Z\n"
			"STATE null, " DAILY " 2021-03-09T00:00:00.000000Z\n",
		.log = "",
		.asked =
			MONTH("2021-01-01") "\n"
			MONTH("2021-02-01") "\n"
			MONTH("2021-03-01") "\n",
	},
	{
		.name = "months from a bookmark: a row of exactly that time is written again",
		.select = DAILY,
		.state = "{'bookmarks':{'usage_api_calls_workspace_daily':{'timestamp':'2021-02-28T00:00:00Z'}}}",
		.end = "2021-03-05",
		.answers = {{MONTH("2021-01-01"), 200, USED("")},
			    {MONTH("2021-02-01"), 200,
			     USED(DAY_ROW("2021-02-27T23:59:59.999999Z") "," DAY_ROW("2021-02-28"))},
			    {MONTH("2021-03-01"), 200, USED(DAY_ROW("2021-03-05"))}},
		.messages =
			"STATE null, " DAILY " 2021-02-28T00:00:00Z\n"
			"STATE " DAILY ", " DAILY " 2021-02-28T00:00:00Z\n"
			"SCHEMA " DAILY "\n"
			DAILY " {'timestamp':'2021-02-28T00:00:00.000000Z'}\n"
			"STATE " DAILY ", " DAILY " 2021-02-28T00:00:00Z\n"
			"STATE null, " DAILY " 2021-02-28T00:00:00Z\n",
		.log = "",
	},
	{
		.name = "months: the settle time a microsecond before midnight",
		.select = DAILY,
		.state = "{'bookmarks':{'usage_api_calls_workspace_daily':{'timestamp':'2021-03-01T00:00:00Z'}}}",
		.now = "2021-03-10T23:59:59.999999Z",
		.answers = {{MONTH("2021-02-01"), 200, USED("")},
			    {MONTH("2021-03-01"), 200, USED(DAY_ROW("2021-03-10"))}},
		.messages =
			"STATE null, " DAILY " 2021-03-01T00:00:00Z\n"
			"STATE " DAILY ", " DAILY " 2021-03-01T00:00:00Z\n"
			"SCHEMA " DAILY "\n"
			DAILY " {'timestamp':'2021-03-10T00:00:00.000000Z'}\n"
			"STATE " DAILY ", " DAILY " 2021-03-09T00:00:00.000000Z\n"
			"STATE null, " DAILY " 2021-03-09T00:00:00.000000Z\n",
		.log = "",
	},
	{
		.name = "months that are refused without a bookmark are a gap up to the first good one",
		.select = DAILY,
		.start = "2020-11-15",
		.answers = {{MONTH("2020-10-01"), 404, REFUSED},
			    {MONTH("2020-11-01"), 400, REFUSED},
			    {"/usage/api-calls/daily?period=2020-11-01&" COUNT, 400, REFUSED},
			    {MONTH("2020-12-01"), 422, REFUSED},
			    {"/usage/api-calls/daily?period=2020-12-01&" COUNT, 422, REFUSED},
			    {MONTH("2021-01-01"), 200, USED("")},
			    {MONTH("2021-02-01"), 200, USED(DAY_ROW("2021-02-01"))},
			    {MONTH("2021-03-01"), 200, USED("")}},
		.messages =
			"STATE null\n"
			"STATE " DAILY "\n"
			"SCHEMA " DAILY "\n"
			DAILY " {'timestamp':'2021-02-01T00:00:00.000000Z'}\n"
			"STATE " DAILY ", " DAILY " 2021-02-01T00:00:00.000000Z\n"
			"STATE null, " DAILY " 2021-02-01T00:00:00.000000Z\n",
		.log =
			"WARNING " DAILY ": the API has nothing for the months 2020-11 to 2020-12: GET /usage/api-calls/daily?period=2020-11-01&pagination.count=200: status 400 (No such thing; not-found; field id)\n",
	},
	{
		.name = "a month's bookmark is the latest row written in it, not in the one before",
		.select = DAILY,
		.state = "{'bookmarks':{'usage_api_calls_workspace_daily':{'timestamp':'2021-02-15T00:00:00Z'}}}",
		.answers = {{MONTH("2021-01-01"), 200, USED("")},
			    {MONTH("2021-02-01"), 200, USED(DAY_ROW("2021-03-05") "," DAY_ROW("2021-02-16"))},
			    {MONTH("2021-03-01"), 200, USED(DAY_ROW("2021-03-02"))}},
		.messages =
			"STATE null, " DAILY " 2021-02-15T00:00:00Z\n"
			"STATE " DAILY ", " DAILY " 2021-02-15T00:00:00Z\n"
			"SCHEMA " DAILY "\n"
			DAILY " {'timestamp':'2021-03-05T00:00:00.000000Z'}\n"
			DAILY " {'timestamp':'2021-02-16T00:00:00.000000Z'}\n"
			"STATE " DAILY ", " DAILY " 2021-02-28T00:00:00.000000Z\n"
			DAILY " {'timestamp':'2021-03-02T00:00:00.000000Z'}\n"
			"STATE " DAILY ", " DAILY " 2021-03-02T00:00:00.000000Z\n"
			"STATE null, " DAILY " 2021-03-02T00:00:00.000000Z\n",
		.log = "",
	},
	{
		.name = "a month that is refused after a good one",
		.select = DAILY,
		.answers = {{MONTH("2020-12-01"), 404, REFUSED},
			    {MONTH("2021-01-01"), 200, USED(DAY_ROW("2021-01-05"))},
			    {MONTH("2021-02-01"), 404, REFUSED},
			    {MONTH("2021-03-01"), 200, USED(DAY_ROW("2021-03-01"))}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE " DAILY "\n"
			"SCHEMA " DAILY "\n"
			DAILY " {'timestamp':'2021-01-05T00:00:00.000000Z'}\n"
			"STATE " DAILY ", " DAILY " 2021-01-05T00:00:00.000000Z\n"
			"STATE null, " DAILY " 2021-01-05T00:00:00.000000Z\n",
		.log =
			"ERROR " DAILY ": failed: GET /usage/api-calls/daily?period=2021-02-01&pagination.count=1000: status 404 (No such thing; not-found; field id); check base_url and region\n",
	},
	{
		.name = "a month that is refused with a bookmark; the month before it may be",
		.select = DAILY,
		.state = "{'bookmarks':{'usage_api_calls_workspace_daily':{'timestamp':'2021-02-01T00:00:00Z'}}}",
		.answers = {{MONTH("2021-01-01"), 404, REFUSED}, {MONTH("2021-02-01"), 404, REFUSED}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null, " DAILY " 2021-02-01T00:00:00Z\n"
			"STATE " DAILY ", " DAILY " 2021-02-01T00:00:00Z\n"
			"STATE null, " DAILY " 2021-02-01T00:00:00Z\n",
		.log =
			"ERROR " DAILY ": failed: GET /usage/api-calls/daily?period=2021-02-01&pagination.count=1000: status 404 (No such thing; not-found; field id); check base_url and region\n",
	},
	{
		.name = "no good month at all",
		.select = DAILY,
		.start = "2021-02-01",
		.answers = {{MONTH("2021-01-01"), 404, REFUSED},
			    {MONTH("2021-02-01"), 404, REFUSED},
			    {MONTH("2021-03-01"), 404, REFUSED}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE " DAILY "\n"
			"STATE null\n",
		.log =
			"ERROR " DAILY ": failed: GET /usage/api-calls/daily?period=2021-03-01&pagination.count=1000: status 404 (No such thing; not-found; field id); check base_url and region\n",
	},
	{
		.name = "a month that is refused on its second page is no gap, and not asked for with a smaller page",
		.select = DAILY,
		.start = "2021-03-01",
		.answers = {{MONTH("2021-02-01"), 200, MORE("dailyWorkspaceAPICallsUsage", "", "2")},
			    {MONTH("2021-02-01") "&pagination.cursor=2", 400, REFUSED},
			    {MONTH("2021-03-01"), 200, USED("")}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE " DAILY "\n"
			"STATE null\n",
		.log =
			"ERROR " DAILY ": failed: GET /usage/api-calls/daily?period=2021-02-01&pagination.count=1000&pagination.cursor=2: status 400 (No such thing; not-found; field id); run again later, and report it if it stays\n",
		.asked =
			MONTH("2021-02-01") "\n"
			MONTH("2021-02-01") "&pagination.cursor=2\n",
	},
	{
		.name = "a forbidden month skips the stream",
		.select = DAILY,
		.start = "2021-03-01",
		.answers = {{MONTH("2021-02-01"), 403, REFUSED}},
		.result = SYNC_REFUSED,
		.messages =
			"STATE null\n"
			"STATE " DAILY "\n"
			"STATE null\n",
		.log =
			"WARNING " DAILY ": skipped: GET /usage/api-calls/daily?period=2021-02-01&pagination.count=1000: status 403 (No such thing; not-found; field id); it needs access to usage data; or leave the stream out\n"
			"CRITICAL every selected stream is forbidden to this token: it needs a role that may read them, or the plan lacks them; see the lines above\n",
	},
	{
		.name = "a row without a readable timestamp is left out, and the bookmark stays before it",
		.select = DAILY,
		.start = "2021-03-01",
		.answers = {{MONTH("2021-02-01"), 200, USED("")},
			    {MONTH("2021-03-01"), 200, USED(DAY_ROW("2021-03-02") "," DAY_ROW("soon"))}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE " DAILY "\n"
			"SCHEMA " DAILY "\n"
			DAILY " {'timestamp':'2021-03-02T00:00:00.000000Z'}\n"
			"STATE " DAILY "\n"
			"STATE null\n",
		.log =
			"ERROR stream " DAILY ": a row with timestamp=soon has no readable timestamp, which dates it; the row is left out (GET /usage/api-calls/daily?period=2021-03-01&pagination.count=1000)\n",
	},
	{
		.name = "FULL_TABLE: the bookmark is neither read nor moved",
		.select = DAILY,
		.state = "{'bookmarks':{'usage_api_calls_workspace_daily':{'timestamp':'2021-03-05T00:00:00Z'}}}",
		.start = "2021-03-01",
		.full_table = true,
		.answers = {{MONTH("2021-02-01"), 200, USED("")},
			    {MONTH("2021-03-01"), 200, USED(DAY_ROW("2021-03-02") "," DAY_ROW("2021-03-08"))}},
		.messages =
			"STATE null, " DAILY " 2021-03-05T00:00:00Z\n"
			"STATE " DAILY ", " DAILY " 2021-03-05T00:00:00Z\n"
			"SCHEMA " DAILY "\n"
			DAILY " {'timestamp':'2021-03-02T00:00:00.000000Z'}\n"
			DAILY " {'timestamp':'2021-03-08T00:00:00.000000Z'}\n"
			"STATE " DAILY ", " DAILY " 2021-03-05T00:00:00Z\n"
			"STATE null, " DAILY " 2021-03-05T00:00:00Z\n",
		.log = "",
	},
	{
		.name = "since in the future, or not before end_date: a warning, nothing is asked for",
		.select = "usage_api_calls_workspace_daily,audit_events,destination_delivery_metrics_summary",
		.state = "{'bookmarks':{'audit_events':{'timestamp':'2021-02-01T00:00:00Z'}}}",
		.start = "2021-03-10T12:00:00.000001Z",
		.end = "2021-02-01",
		.answers = {{"/destinations?pagination.count=100", 200,
			     ROWS("destinations", "{'id':'d','sourceId':'s'}")}},
		.messages =
			"STATE null, audit_events 2021-02-01T00:00:00Z\n"
			"STATE " DAILY ", audit_events 2021-02-01T00:00:00Z\n"
			"SCHEMA " DAILY "\n"
			"STATE audit_events, audit_events 2021-02-01T00:00:00Z\n"
			"SCHEMA audit_events\n"
			"STATE " METRICS ", audit_events 2021-02-01T00:00:00Z\n"
			"SCHEMA " METRICS "\n"
			"STATE null, audit_events 2021-02-01T00:00:00Z\n",
		.log =
			"WARNING " DAILY ": nothing to ask for: start_date 2021-03-10T12:00:00.000001Z is in the future\n"
			"WARNING audit_events: nothing to ask for: the bookmark 2021-02-01T00:00:00.000000Z is not before end_date\n"
			"WARNING " METRICS ": nothing to ask for: start_date 2021-03-10T12:00:00.000001Z is in the future\n",
		.asked = "",
	},
	/* Page sizes. */
	{
		.name = "pages of 1000 refused: 200 from then on",
		.select = "usage_api_calls_workspace_daily,audit_events",
		.start = "2021-03-01",
		.answers = {{MONTH("2021-02-01"), 400, REFUSED},
			    {"/usage/api-calls/daily?period=2021-02-01&" COUNT, 200,
			     MORE("dailyWorkspaceAPICallsUsage", "", "2")},
			    {"/usage/api-calls/daily?period=2021-02-01&" COUNT "&pagination.cursor=2", 200,
			     USED(DAY_ROW("2021-03-01"))},
			    {MONTH("2021-03-01"), 422, REFUSED},
			    {"/usage/api-calls/daily?period=2021-03-01&" COUNT, 200, USED(DAY_ROW("2021-03-02"))},
			    {"/audit-events?startTime=2021-02-28T23:59:59.000Z&pagination.count=1000", 400, REFUSED},
			    {"/audit-events?startTime=2021-02-28T23:59:59.000Z&" COUNT, 200,
			     ROWS("events", EVENT("e", "2021-03-05T00:00:00Z"))}},
		.messages =
			"STATE null\n"
			"STATE " DAILY "\n"
			"SCHEMA " DAILY "\n"
			DAILY " {'timestamp':'2021-03-01T00:00:00.000000Z'}\n"
			"STATE " DAILY "\n"
			DAILY " {'timestamp':'2021-03-02T00:00:00.000000Z'}\n"
			"STATE " DAILY ", " DAILY " 2021-03-02T00:00:00.000000Z\n"
			"STATE audit_events, " DAILY " 2021-03-02T00:00:00.000000Z\n"
			"SCHEMA audit_events\n"
			"audit_events {'id':'e','timestamp':'2021-03-05T00:00:00.000000Z'}\n"
			"STATE audit_events, " DAILY " 2021-03-02T00:00:00.000000Z, audit_events 2021-03-05T00:00:00.000000Z\n"
			"STATE null, " DAILY " 2021-03-02T00:00:00.000000Z, audit_events 2021-03-05T00:00:00.000000Z\n",
		.log = "",
		.asked =
			"/usage/api-calls/daily?period=2021-02-01&pagination.count=1000\n"
			"/usage/api-calls/daily?period=2021-02-01&pagination.count=200\n"
			"/usage/api-calls/daily?period=2021-02-01&pagination.count=200&pagination.cursor=2\n"
			"/usage/api-calls/daily?period=2021-03-01&pagination.count=200\n"
			"/audit-events?startTime=2021-02-28T23:59:59.000Z&pagination.count=1000\n"
			"/audit-events?startTime=2021-02-28T23:59:59.000Z&pagination.count=200\n",
	},
	{
		.name = "refused with 200 rows as well: the second answer counts",
		.select = "audit_events",
		.start = "2021-03-01",
		.answers = {{"/audit-events?startTime=2021-02-28T23:59:59.000Z&pagination.count=1000", 400, REFUSED},
			    {"/audit-events?startTime=2021-02-28T23:59:59.000Z&" COUNT, 422,
			     "{'errors':[{'type':'input-validation','field':'startTime'}]}"}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE audit_events\n"
			"STATE null\n",
		.log =
			"ERROR audit_events: failed: GET /audit-events?startTime=2021-02-28T23:59:59.000Z&pagination.count=200: status 422 (input-validation; field startTime); check start_date\n",
	},
	{
		.name = "the user's own page size, which is not given up at 200 or less",
		.select = "sources,audit_events",
		.start = "2021-03-01",
		.page_rows = 7,
		.answers = {{"/sources?pagination.count=7", 200, ROWS("sources", "")},
			    {"/audit-events?startTime=2021-02-28T23:59:59.000Z&pagination.count=7", 400, REFUSED}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE sources\n"
			"SCHEMA sources\n"
			"STATE audit_events\n"
			"STATE null\n",
		.log =
			"ERROR audit_events: failed: GET /audit-events?startTime=2021-02-28T23:59:59.000Z&pagination.count=7: status 400 (No such thing; not-found; field id); run again later, and report it if it stays\n",
		.asked =
			"/sources?pagination.count=7\n"
			"/audit-events?startTime=2021-02-28T23:59:59.000Z&pagination.count=7\n",
	},
	{
		.name = "a fixed value that is not found is left out like a parent",
		.select = "functions",
		.answers = {{"/functions?resourceType=DESTINATION&" COUNT, 200, ROWS("functions", "{'id':'d'}")},
			    {"/functions?resourceType=INSERT_DESTINATION&" COUNT, 200, ROWS("functions", "")},
			    {"/functions?resourceType=INSERT_SOURCE&" COUNT, 200, ROWS("functions", "")},
			    {"/functions?resourceType=INSERT_TRANSFORMATION&" COUNT, 404, REFUSED},
			    {"/functions?resourceType=SOURCE&" COUNT, 200, ROWS("functions", "{'id':'s'}")}},
		.messages =
			"STATE null\n"
			"STATE functions\n"
			"SCHEMA functions\n"
			"functions {'id':'d'}\n"
			"functions {'id':'s'}\n"
			"STATE null\n",
		.log =
			"WARNING functions: left out for single values: 0 forbidden (403), 1 not found (404), first INSERT_TRANSFORMATION\n",
	},
	{
		.name = "what is left out is named by its id, wherever that stands in the query",
		.select = "delivery_overview_failed_delivery",
		.answers = {{"/destinations?pagination.count=100", 200, ROWS("destinations", "{'id':'d'},{'id':'e'}")}},
		.messages =
			"STATE null\n"
			"STATE delivery_overview_failed_delivery\n"
			"SCHEMA delivery_overview_failed_delivery\n"
			"STATE null\n",
		.log =
			"WARNING delivery_overview_failed_delivery: left out for single destinations: 0 forbidden (403), 2 not found (404) or without sourceId or id, first d\n"
			"WARNING delivery_overview_failed_delivery: the API has nothing for the days 2021-01-01 to 2021-02-08: it keeps 30 days\n",
	},
	/* Days. */
	{
		.name = "delivery by day and destination; a destination without sourceId is left out",
		.select = METRICS,
		.start = "2021-03-09T15:00:00Z",
		.answers = {{"/destinations?pagination.count=100", 200,
			     ROWS("destinations", "{'id':'c'},{'id':'d','sourceId':'s'},{'id':'e','sourceId':''},"
						  "{'id':'f','sourceId':'t'},{'id':'g','sourceId':null}")},
			    {DELIVERY("d", "s", "2021-03-09", END), 200, DELIVERED("s")},
			    {DELIVERY("f", "t", "2021-03-09", END), 200, DELIVERED("t")},
			    {DELIVERY("d", "s", "2021-03-10", "12:00:00.000Z"), 200, DELIVERED("s")},
			    {DELIVERY("f", "t", "2021-03-10", "12:00:00.000Z"), 404, REFUSED}},
		.messages =
			"STATE null\n"
			"STATE " METRICS "\n"
			"SCHEMA " METRICS "\n"
			METRICS " {'destinationId':'d','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-03-09T00:00:00.000000Z'}\n"
			METRICS " {'destinationId':'f','destinationMetadataId':'m','sourceId':'t','timestamp':'2021-03-09T00:00:00.000000Z'}\n"
			"STATE " METRICS ", " METRICS " 2021-03-09T00:00:00.000000Z\n"
			METRICS " {'destinationId':'d','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-03-10T00:00:00.000000Z'}\n"
			"STATE " METRICS ", " METRICS " 2021-03-10T00:00:00.000000Z\n"
			"STATE null, " METRICS " 2021-03-10T00:00:00.000000Z\n",
		.log =
			"WARNING " METRICS ": left out for single destinations: 0 forbidden (403), 4 not found (404) or without id or sourceId, first c\n",
		.asked =
			"/destinations?pagination.count=100\n"
			"/destinations/d/delivery-metrics?sourceId=s&startTime=2021-03-09T00:00:00.000Z&endTime=2021-03-09T23:59:59.999Z&granularity=DAY\n"
			"/destinations/f/delivery-metrics?sourceId=t&startTime=2021-03-09T00:00:00.000Z&endTime=2021-03-09T23:59:59.999Z&granularity=DAY\n"
			"/destinations/d/delivery-metrics?sourceId=s&startTime=2021-03-10T00:00:00.000Z&endTime=2021-03-10T12:00:00.000Z&granularity=DAY\n"
			"/destinations/f/delivery-metrics?sourceId=t&startTime=2021-03-10T00:00:00.000Z&endTime=2021-03-10T12:00:00.000Z&granularity=DAY\n",
	},
	{
		.name = "delivery: a destination without its id is a fault of the answer, so the bookmark waits for it",
		.select = METRICS,
		.start = "2021-03-09T15:00:00Z",
		.end = "2021-03-10",
		.answers = {{"/destinations?pagination.count=100", 200,
			     ROWS("destinations", "{'sourceId':'s'},{'id':'d','sourceId':'s'}")},
			    {DELIVERY("d", "s", "2021-03-09", END), 200, DELIVERED("s")}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE " METRICS "\n"
			"SCHEMA " METRICS "\n"
			METRICS " {'destinationId':'d','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-03-09T00:00:00.000000Z'}\n"
			"STATE " METRICS "\n"
			"STATE null\n",
		.log =
			"ERROR " METRICS ": a row of destinations has no id, so what belongs to it can't be asked for; the next run will ask again\n"
			"WARNING " METRICS ": left out for single destinations: 0 forbidden (403), 1 not found (404) or without id or sourceId, first one without an id\n",
	},
	{
		.name = "delivery: the bookmark's day is read again, and settles after six hours",
		.select = METRICS,
		.state = "{'bookmarks':{'destination_delivery_metrics_summary':{'timestamp':'2021-03-09T08:00:00Z'}}}",
		.now = "2021-03-10T05:59:59.999Z",
		.answers = {{"/destinations?pagination.count=100", 200,
			     ROWS("destinations", "{'id':'d','sourceId':'s'}")},
			    {DELIVERY("d", "s", "2021-03-09", END), 200, DELIVERED("s")},
			    {DELIVERY("d", "s", "2021-03-10", "05:59:59.999Z"), 200, DELIVERED("s")}},
		.messages =
			"STATE null, " METRICS " 2021-03-09T08:00:00Z\n"
			"STATE " METRICS ", " METRICS " 2021-03-09T08:00:00Z\n"
			"SCHEMA " METRICS "\n"
			METRICS " {'destinationId':'d','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-03-09T00:00:00.000000Z'}\n"
			"STATE " METRICS ", " METRICS " 2021-03-09T08:00:00Z\n"
			METRICS " {'destinationId':'d','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-03-10T00:00:00.000000Z'}\n"
			"STATE " METRICS ", " METRICS " 2021-03-09T08:00:00Z\n"
			"STATE null, " METRICS " 2021-03-09T08:00:00Z\n",
		.log = "",
	},
	{
		.name = "delivery days that the API no longer has, some since the run began",
		.select = METRICS,
		.end = "2021-02-26T12:00:00Z",
		.received = "2021-03-11T00:00:00.000001Z",
		.answers = {{"/destinations?pagination.count=100", 200,
			     ROWS("destinations", "{'id':'d','sourceId':'s'},{'id':'e','sourceId':'s'}")},
			    {DELIVERY("d", "s", "2021-02-25", END), 422, REFUSED},
			    {DELIVERY("e", "s", "2021-02-25", END), 400, REFUSED},
			    {DELIVERY("d", "s", "2021-02-26", END), 200, DELIVERED("s")},
			    {DELIVERY("e", "s", "2021-02-26", END), 200, DELIVERED("s")}},
		.messages =
			"STATE null\n"
			"STATE " METRICS "\n"
			"SCHEMA " METRICS "\n"
			METRICS " {'destinationId':'d','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-02-26T00:00:00.000000Z'}\n"
			METRICS " {'destinationId':'e','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-02-26T00:00:00.000000Z'}\n"
			"STATE " METRICS ", " METRICS " 2021-02-26T00:00:00.000000Z\n"
			"STATE null, " METRICS " 2021-02-26T00:00:00.000000Z\n",
		.log =
			"WARNING " METRICS ": the API has nothing for the days 2021-01-01 to 2021-02-25: it keeps 14 days\n",
	},
	{
		.name = "delivery days that are all too old",
		.select = METRICS,
		.end = "2021-02-20T12:00:00Z",
		.answers = {{"/destinations?pagination.count=100", 200, ROWS("destinations", "{'id':'d','sourceId':'s'}")}},
		.messages =
			"STATE null\n"
			"STATE " METRICS "\n"
			"SCHEMA " METRICS "\n"
			"STATE null\n",
		.log =
			"WARNING " METRICS ": the API has nothing for the days 2021-01-01 to 2021-02-20: it keeps 14 days\n",
	},
	{
		.name = "a delivery day that is refused though it is young",
		.select = METRICS,
		.start = "2021-02-24",
		.end = "2021-02-26",
		.received = "2021-03-11T00:00:00Z",
		.answers = {{"/destinations?pagination.count=100", 200,
			     ROWS("destinations", "{'id':'d','sourceId':'s'}")},
			    {DELIVERY("d", "s", "2021-02-25", END), 422, REFUSED}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE " METRICS "\n"
			"SCHEMA " METRICS "\n"
			"STATE null\n",
		.log =
			"ERROR " METRICS ": GET /destinations/d/delivery-metrics?sourceId=s&startTime=2021-02-25T00:00:00.000Z&endTime=2021-02-25T23:59:59.999Z&granularity=DAY: status 422 (No such thing; not-found; field id); run again later, and report it if it stays; the others go on\n"
			"WARNING " METRICS ": the API has nothing for the days 2021-02-24 to 2021-02-24: it keeps 14 days\n",
	},
	{
		.name = "delivery: refused at its first request, a destination is left out of the run, and its days are passed over",
		.select = METRICS,
		.start = "2021-03-09",
		.answers = {{"/destinations?pagination.count=100", 200,
			     ROWS("destinations", "{'id':'d','sourceId':'s'},{'id':'e','sourceId':'s'}")},
			    {DELIVERY("d", "s", "2021-03-09", END), 403, REFUSED},
			    {DELIVERY("e", "s", "2021-03-09", END), 200, DELIVERED("s")},
			    {DELIVERY("d", "s", "2021-03-10", "12:00:00.000Z"), 200, DELIVERED("s")},
			    {DELIVERY("e", "s", "2021-03-10", "12:00:00.000Z"), 200, DELIVERED("s")}},
		.messages =
			"STATE null\n"
			"STATE " METRICS "\n"
			"SCHEMA " METRICS "\n"
			METRICS " {'destinationId':'e','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-03-09T00:00:00.000000Z'}\n"
			"STATE " METRICS ", " METRICS " 2021-03-09T00:00:00.000000Z\n"
			METRICS " {'destinationId':'e','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-03-10T00:00:00.000000Z'}\n"
			"STATE " METRICS ", " METRICS " 2021-03-10T00:00:00.000000Z\n"
			"STATE null, " METRICS " 2021-03-10T00:00:00.000000Z\n",
		.log =
			"WARNING " METRICS ": left out for single destinations: 1 forbidden (403), 0 not found (404) or without id or sourceId, first d\n",
	},
	{
		.name = "delivery: ... but with fail_on_forbidden no bookmark passes them",
		.select = METRICS,
		.start = "2021-03-09",
		.forbid = true,
		.answers = {{"/destinations?pagination.count=100", 200,
			     ROWS("destinations", "{'id':'d','sourceId':'s'},{'id':'e','sourceId':'s'}")},
			    {DELIVERY("d", "s", "2021-03-09", END), 403, REFUSED},
			    {DELIVERY("e", "s", "2021-03-09", END), 200, DELIVERED("s")},
			    {DELIVERY("e", "s", "2021-03-10", "12:00:00.000Z"), 200, DELIVERED("s")}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE " METRICS "\n"
			"SCHEMA " METRICS "\n"
			METRICS " {'destinationId':'e','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-03-09T00:00:00.000000Z'}\n"
			"STATE " METRICS "\n"
			METRICS " {'destinationId':'e','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-03-10T00:00:00.000000Z'}\n"
			"STATE " METRICS "\n"
			"STATE null\n",
		.log =
			"WARNING " METRICS ": left out for single destinations: 1 forbidden (403), 0 not found (404) or without id or sourceId, first d\n",
	},
	{
		.name = "delivery: a refusal that passes is asked again, and leaves nothing behind",
		.select = METRICS,
		.start = "2021-03-10",
		.answers = {{"/destinations?pagination.count=100", 200, ROWS("destinations", "{'id':'d','sourceId':'s'}")},
			    {DELIVERY("d", "s", "2021-03-10", "12:00:00.000Z"), 403, REFUSED},
			    {DELIVERY("d", "s", "2021-03-10", "12:00:00.000Z"), 403, REFUSED},
			    {DELIVERY("d", "s", "2021-03-10", "12:00:00.000Z"), 200, DELIVERED("s")}},
		.messages =
			"STATE null\n"
			"STATE " METRICS "\n"
			"SCHEMA " METRICS "\n"
			METRICS " {'destinationId':'d','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-03-10T00:00:00.000000Z'}\n"
			"STATE " METRICS ", " METRICS " 2021-03-10T00:00:00.000000Z\n"
			"STATE null, " METRICS " 2021-03-10T00:00:00.000000Z\n",
		.log = "",
	},
	{
		.name = "delivery: refused after a good day, it leaves a hole: what comes later is written, the bookmark stays",
		.select = METRICS,
		.start = "2021-03-08",
		.answers = {{"/destinations?pagination.count=100", 200,
			     ROWS("destinations", "{'id':'d','sourceId':'s'},{'id':'e','sourceId':'s'}")},
			    {DELIVERY("d", "s", "2021-03-08", END), 200, DELIVERED("s")},
			    {DELIVERY("e", "s", "2021-03-08", END), 200, DELIVERED("s")},
			    {DELIVERY("d", "s", "2021-03-09", END), 403, REFUSED},
			    {DELIVERY("e", "s", "2021-03-09", END), 200, DELIVERED("s")},
			    {DELIVERY("d", "s", "2021-03-10", "12:00:00.000Z"), 200, DELIVERED("s")},
			    {DELIVERY("e", "s", "2021-03-10", "12:00:00.000Z"), 200, DELIVERED("s")}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE " METRICS "\n"
			"SCHEMA " METRICS "\n"
			METRICS " {'destinationId':'d','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-03-08T00:00:00.000000Z'}\n"
			METRICS " {'destinationId':'e','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-03-08T00:00:00.000000Z'}\n"
			"STATE " METRICS ", " METRICS " 2021-03-08T00:00:00.000000Z\n"
			METRICS " {'destinationId':'e','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-03-09T00:00:00.000000Z'}\n"
			"STATE " METRICS ", " METRICS " 2021-03-08T00:00:00.000000Z\n"
			METRICS " {'destinationId':'d','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-03-10T00:00:00.000000Z'}\n"
			METRICS " {'destinationId':'e','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-03-10T00:00:00.000000Z'}\n"
			"STATE " METRICS ", " METRICS " 2021-03-08T00:00:00.000000Z\n"
			"STATE null, " METRICS " 2021-03-08T00:00:00.000000Z\n",
		.log =
			"ERROR " METRICS ": GET /destinations/d/delivery-metrics?sourceId=s&startTime=2021-03-09T00:00:00.000Z&endTime=2021-03-09T23:59:59.999Z&granularity=DAY: status 403 (No such thing; not-found; field id); run again later; the others go on\n",
	},
	{
		.name = "a token that is revoked behind the first refusal: noticed before a bookmark passes what it keeps back",
		.select = METRICS,
		.start = "2021-03-10",
		.answers = {{"/destinations?pagination.count=100", 200,
			     ROWS("destinations", "{'id':'d','sourceId':'s'},{'id':'e','sourceId':'s'},{'id':'f','sourceId':'s'}")},
			    {DELIVERY("d", "s", "2021-03-10", "12:00:00.000Z"), 200, DELIVERED("s")},
			    {DELIVERY("e", "s", "2021-03-10", "12:00:00.000Z"), 401, REFUSED},
			    {"/", 200, "{}"},
			    {DELIVERY("f", "s", "2021-03-10", "12:00:00.000Z"), 401, REFUSED},
			    {"/", 401, ""}},
		.result = SYNC_REFUSED,
		.messages =
			"STATE null\n"
			"STATE " METRICS "\n"
			"SCHEMA " METRICS "\n"
			METRICS " {'destinationId':'d','destinationMetadataId':'m','sourceId':'s','timestamp':'2021-03-10T00:00:00.000000Z'}\n"
			"STATE " METRICS "\n",
	},
	{
		.name = "... and of one that still works, refused parents are left out",
		.select = "source_connected_warehouses",
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "{'id':'a'},{'id':'b'},{'id':'c'}")},
			    {"/sources/a/connected-warehouses?" COUNT, 401, REFUSED},
			    {"/", 200, "{}"},
			    {"/sources/b/connected-warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")},
			    {"/sources/c/connected-warehouses?" COUNT, 401, REFUSED}},
		.messages =
			"STATE null\n"
			"STATE source_connected_warehouses\n"
			"SCHEMA source_connected_warehouses\n"
			"source_connected_warehouses {'id':'w','sourceId':'b'}\n"
			"STATE null\n",
		.log =
			"WARNING source_connected_warehouses: left out for single sources: 2 forbidden (403), 0 not found (404) or without id, first a\n",
		.asked =
			"/sources?" COUNT "\n"
			"/sources/a/connected-warehouses?" COUNT "\n"
			"/\n"
			"/sources/b/connected-warehouses?" COUNT "\n"
			"/sources/c/connected-warehouses?" COUNT "\n"
			"/\n",
	},
	{
		.name = "... and of one of which that can't be told the stream fails",
		.select = "source_connected_warehouses",
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "{'id':'a'},{'id':'b'},{'id':'c'}")},
			    {"/sources/a/connected-warehouses?" COUNT, 401, REFUSED},
			    {"/", 200, "{}"},
			    {"/sources/b/connected-warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")},
			    {"/sources/c/connected-warehouses?" COUNT, 401, REFUSED},
			    {"/", 503, ""}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE source_connected_warehouses\n"
			"SCHEMA source_connected_warehouses\n"
			"source_connected_warehouses {'id':'w','sourceId':'b'}\n"
			"STATE null\n",
		.log =
			"ERROR source_connected_warehouses: failed: status 401; whether the token is good can't be told, for GET / gives no answer either; run again later\n"
			"WARNING source_connected_warehouses: left out for single sources: 2 forbidden (403), 0 not found (404) or without id, first a\n",
	},
	{
		.name = "a second page that is not found is a hole in its window",
		.select = "events_volume_daily",
		.start = "2021-03-08",
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "{'id':'a'}")},
			    {"/events/volume?sourceId.0=a&startTime=2021-03-08T00:00:00.000Z&endTime=2021-03-10T00:00:00.000Z&granularity=DAY&groupBy.0=source&groupBy.1=eventName&groupBy.2=eventType&pagination.count=1000", 200, MORE("result", "{'source':{'id':'a'},'eventName':'e','eventType':'t','series':[{'time':'2021-03-08T00:00:00Z','count':1}]}", "n")},
			    {"/events/volume?sourceId.0=a&startTime=2021-03-08T00:00:00.000Z&endTime=2021-03-10T00:00:00.000Z&granularity=DAY&groupBy.0=source&groupBy.1=eventName&groupBy.2=eventType&pagination.count=1000&pagination.cursor=n", 404, REFUSED}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE events_volume_daily\n"
			"SCHEMA events_volume_daily\n"
			"events_volume_daily {'count':1,'eventName':'e','eventType':'t','sourceId':'a','timestamp':'2021-03-08T00:00:00.000000Z'}\n"
			"STATE events_volume_daily\n"
			"STATE null\n",
	},
	{
		.name = "a month that is forbidden is not asked for again: nobody else's rows are behind it",
		.select = "warehouses," DAILY,
		.start = "2021-03-01",
		.answers = {{"/warehouses?" COUNT, 200, ROWS("warehouses", "")},
			    {"/usage/api-calls/daily?period=2021-02-01&pagination.count=1000", 403, REFUSED}},
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"SCHEMA warehouses\n"
			"STATE " DAILY "\n"
			"STATE null\n",
		.log =
			"WARNING " DAILY ": skipped: GET /usage/api-calls/daily?period=2021-02-01&pagination.count=1000: status 403 (No such thing; not-found; field id); it needs access to usage data; or leave the stream out\n",
		.asked =
			"/warehouses?" COUNT "\n"
			"/usage/api-calls/daily?period=2021-02-01&pagination.count=1000\n",
	},
	{
		.name = "an answer over a limit would be so later as well: no reason to try again by itself",
		.select = "warehouses",
		.answers = {{"/warehouses?" COUNT, -HTTP_TOO_LARGE, ""}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"STATE null\n",
		.log =
			"ERROR warehouses: failed: GET /path: the connection broke; a smaller page_size may help; if not, report it\n",
	},
	{
		.name = "whole days end with the day before end_date, whatever its hour",
		.select = "events_volume_daily",
		.start = "2021-03-07",
		.end = "2021-03-09T18:00:00Z",
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "{'id':'a'}")},
			    {"/events/volume?sourceId.0=a&startTime=2021-03-07T00:00:00.000Z&endTime=2021-03-09T00:00:00.000Z&granularity=DAY&groupBy.0=source&groupBy.1=eventName&groupBy.2=eventType&pagination.count=1000", 200, ROWS("result", "")}},
		.messages =
			"STATE null\n"
			"STATE events_volume_daily\n"
			"SCHEMA events_volume_daily\n"
			"STATE null\n",
		.log = "",
	},
	{
		.name = "what a list that is read quietly leaves out is told as well",
		.select = "activations",
		.answers = {{"/spaces?" COUNT, 200, ROWS("spaces", "{'id':'p'},{'id':'q'}")},
			    {"/spaces/p/audiences?include=schedules&" COUNT, 404, REFUSED},
			    {"/spaces/q/audiences?include=schedules&" COUNT, 200, ROWS("audiences", "{'id':'a','spaceId':'q'}")},
			    {"/spaces/q/audiences/a/activations?" COUNT, 200, ROWS("activations", "{'id':'x'}")}},
		.messages =
			"STATE null\n"
			"STATE activations\n"
			"SCHEMA activations\n"
			"activations {'id':'x'}\n"
			"STATE null\n",
		.log =
			"WARNING audiences: left out for single spaces: 0 forbidden (403), 1 not found (404) or without id, first p\n",
	},
	{
		.name = "a failure before refusals: the stream is not skipped, and the run says so",
		.select = "iam_users,source_connected_warehouses",
		.answers = {{"/users?" COUNT, 200, ROWS("users", "")},
			    {"/sources?" COUNT, 200, ROWS("sources", "{'id':'a'},{'id':'b'},{'id':'c'},{'id':'d'}")},
			    {"/sources/a/connected-warehouses?" COUNT, 500, ""},
			    {"/sources/b/connected-warehouses?" COUNT, 403, REFUSED},
			    {"/sources/c/connected-warehouses?" COUNT, 403, REFUSED},
			    {"/sources/d/connected-warehouses?" COUNT, 403, REFUSED}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE source_connected_warehouses\n"
			"SCHEMA source_connected_warehouses\n"
			"STATE iam_users\n"
			"SCHEMA iam_users\n"
			"STATE null\n",
		.log =
			"ERROR source_connected_warehouses: GET /sources/a/connected-warehouses?pagination.count=200: status 500; run again later; the others go on\n"
			"WARNING source_connected_warehouses: left out for single sources: 3 forbidden (403), 0 not found (404) or without id, first b\n",
	},
	{
		.name = "a function of which it is not said what it is counts as one that is not found",
		.select = "insert_function_instances",
		.answers = {{"/functions?resourceType=DESTINATION&" COUNT, 200, ROWS("functions", "{'id':'d','resourceType':'DESTINATION'}")},
			    {"/functions?resourceType=INSERT_DESTINATION&" COUNT, 200,
			     ROWS("functions", "{'id':'f'},{'id':'g','resourceType':'INSERT_DESTINATION'}")},
			    {"/functions?resourceType=INSERT_SOURCE&" COUNT, 200, ROWS("functions", "")},
			    {"/functions?resourceType=INSERT_TRANSFORMATION&" COUNT, 200, ROWS("functions", "")},
			    {"/functions?resourceType=SOURCE&" COUNT, 200, ROWS("functions", "")},
			    {"/insert-function-instances?functionId=g&" COUNT, 200, ROWS("instances", "{'id':'i'}")}},
		.messages =
			"STATE null\n"
			"STATE insert_function_instances\n"
			"SCHEMA insert_function_instances\n"
			"insert_function_instances {'id':'i'}\n"
			"STATE null\n",
		.log =
			"WARNING insert_function_instances: left out for single functions: 0 forbidden (403), 1 not found (404) or without id or resourceType, first f\n",
	},
	{
		.name = "subscriptions of a destination that stands in the list twice are asked for once",
		.select = "destination_subscriptions",
		.answers = {{"/destinations?pagination.count=100", 200,
			     ROWS("destinations", "{'id':'d','sourceId':'s'},{'id':'e','sourceId':'s'},{'id':'d','sourceId':'t'}")},
			    {"/destinations/d/subscriptions?" COUNT, 200, ROWS("subscriptions", "{'id':'1','destinationId':'d'}")},
			    {"/destinations/e/subscriptions?" COUNT, 200, ROWS("subscriptions", "{'id':'2','destinationId':'e'}")}},
		.messages =
			"STATE null\n"
			"STATE destination_subscriptions\n"
			"SCHEMA destination_subscriptions\n"
			"destination_subscriptions {'destinationId':'d','id':'1'}\n"
			"destination_subscriptions {'destinationId':'e','id':'2'}\n"
			"STATE null\n",
		.log = "",
		.asked =
			"/destinations?pagination.count=100\n"
			"/destinations/d/subscriptions?" COUNT "\n"
			"/destinations/e/subscriptions?" COUNT "\n",
	},
	{
		.name = "a numeric id counts as its digits",
		.select = "sources,source_connected_warehouses",
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "{'id':42}")},
			    {"/sources/42/connected-warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")}},
		.messages =
			"STATE null\n"
			"STATE sources\n"
			"SCHEMA sources\n"
			"sources {'id':'42'}\n"
			"STATE source_connected_warehouses\n"
			"SCHEMA source_connected_warehouses\n"
			"source_connected_warehouses {'id':'w','sourceId':'42'}\n"
			"STATE null\n",
		.log = "",
	},
	{
		.name = "three parents in a row fail: the stream has failed",
		.select = "source_connected_warehouses,iam_users",
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "{'id':'a'},{'id':'b'},{'id':'c'},{'id':'d'}")},
			    {"/sources/a/connected-warehouses?" COUNT, 500, ""},
			    {"/sources/b/connected-warehouses?" COUNT, 500, ""},
			    {"/sources/c/connected-warehouses?" COUNT, 500, ""},
			    {"/sources/d/connected-warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")},
			    {"/users?" COUNT, 200, ROWS("users", "")}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE source_connected_warehouses\n"
			"STATE iam_users\n"
			"SCHEMA iam_users\n"
			"STATE null\n",
		.log =
			"ERROR source_connected_warehouses: GET /sources/a/connected-warehouses?pagination.count=200: status 500; run again later; the others go on\n"
			"ERROR source_connected_warehouses: GET /sources/b/connected-warehouses?pagination.count=200: status 500; run again later; the others go on\n"
			"ERROR source_connected_warehouses: failed: GET /sources/c/connected-warehouses?pagination.count=200: status 500; run again later\n",
	},
	{
		.name = "refused after a good page, a list has failed: that is no matter of permission",
		.select = "iam_users,iam_groups",
		.answers = {{"/users?" COUNT, 200, MORE("users", "{'id':'u'}", "2")},
			    {"/users?" COUNT "&pagination.cursor=2", 403, REFUSED},
			    {"/groups?" COUNT, 200, ROWS("userGroups", "")}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE iam_users\n"
			"SCHEMA iam_users\n"
			"iam_users {'id':'u'}\n"
			"STATE iam_groups\n"
			"SCHEMA iam_groups\n"
			"STATE null\n",
		.log =
			"ERROR iam_users: failed: GET /users?pagination.count=200&pagination.cursor=2: status 403 (No such thing; not-found; field id); run again later\n",
	},
	{
		.name = "401, and GET / does not say: the stream fails, the others go on",
		.select = "iam_users,iam_groups",
		.answers = {{"/users?" COUNT, 401, REFUSED}, {"/", 503, ""}, {"/groups?" COUNT, 200, ROWS("userGroups", "")}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null\n"
			"STATE iam_users\n"
			"STATE iam_groups\n"
			"SCHEMA iam_groups\n"
			"STATE null\n",
		.log =
			"ERROR iam_users: failed: GET /users?pagination.count=200: status 401 (No such thing; not-found; field id); whether the token is good can't be told, for GET / gives no answer either; run again later\n",
	},
	{
		.name = "a token that is revoked while the run goes on ends it",
		.select = "warehouses,iam_users,iam_groups",
		.answers = {{"/warehouses?" COUNT, 401, REFUSED}, {"/", 200, "{}"}, {"/", 401, REFUSED},
			    {"/users?" COUNT, 200, ROWS("users", "")}, {"/groups?" COUNT, 401, REFUSED}},
		.result = SYNC_REFUSED,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"STATE iam_users\n"
			"SCHEMA iam_users\n"
			"STATE iam_groups\n"
			"STATE iam_groups\n",
		.log =
			"WARNING warehouses: skipped: GET /warehouses?pagination.count=200: status 401 (No such thing; not-found; field id); it needs access to warehouses; or leave the stream out\n"
			"CRITICAL the API refuses the token: GET /: status 401 (No such thing; not-found; field id); check api_token, and that region is the workspace's\n",
	},
	{
		.name = "no destination has a sourceId",
		.select = METRICS,
		.start = "2021-03-07",
		.answers = {{"/destinations?pagination.count=100", 200, ROWS("destinations", "{'id':'d'}")}},
		.messages =
			"STATE null\n"
			"STATE " METRICS "\n"
			"SCHEMA " METRICS "\n"
			"STATE null\n",
		.log =
			"WARNING " METRICS ": left out for single destinations: 0 forbidden (403), 1 not found (404) or without id or sourceId, first d\n",
	},
	{
		.name = "a child that has nothing to ask for misses no parents",
		.select = "destinations," METRICS,
		.state = "{'bookmarks':{'" METRICS "':{'timestamp':'2030-01-01'}}}",
		.answers = {{"/destinations?pagination.count=100", 500, ""}},
		.result = SYNC_PARTLY,
		.messages =
			"STATE null, " METRICS " 2030-01-01\n"
			"STATE destinations, " METRICS " 2030-01-01\n"
			"STATE " METRICS ", " METRICS " 2030-01-01\n"
			"SCHEMA " METRICS "\n"
			"STATE null, " METRICS " 2030-01-01\n",
		.log =
			"ERROR destinations: failed: GET /destinations?pagination.count=100: status 500; run again later\n"
			"WARNING " METRICS ": nothing to ask for: the bookmark 2030-01-01T00:00:00.000000Z is in the future\n",
	},
	{
		.name = "a child that has nothing to ask for stands before its parent, which is read for the next one",
		.select = "destination_subscriptions," METRICS,
		.state = "{'bookmarks':{'" METRICS "':{'timestamp':'2030-01-01'}},'currently_syncing':'" METRICS "'}",
		.answers = {{"/destinations?pagination.count=100", -HTTP_UNREACHABLE, ""}},
		.result = SYNC_LATER,
		.messages =
			"STATE " METRICS ", " METRICS " 2030-01-01\n"
			"STATE " METRICS ", " METRICS " 2030-01-01\n"
			"SCHEMA " METRICS "\n"
			"STATE destination_subscriptions, " METRICS " 2030-01-01\n",
		.log =
			"WARNING " METRICS ": nothing to ask for: the bookmark 2030-01-01T00:00:00.000000Z is in the future\n"
			"CRITICAL destinations: GET /path: the connection broke\n",
	},
	/* Stopped. */
	{
		.name = "stopped while parents are read quietly: the child's name stays",
		.select = "warehouses,source_connected_warehouses",
		.stop_after = 2,
		.answers = {{"/warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")},
			    {"/sources?" COUNT, 200, MORE("sources", "{'id':'a'}", "2")}},
		.result = SYNC_STOPPED,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"SCHEMA warehouses\n"
			"warehouses {'id':'w'}\n"
			"STATE source_connected_warehouses\n",
		.log = "",
	},
	{
		.name = "stopped before a stream's first page: it has begun all the same",
		.select = "warehouses,iam_users",
		.stop_after = 1,
		.answers = {{"/warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")}},
		.result = SYNC_STOPPED,
		.messages =
			"STATE null\n"
			"STATE warehouses\n"
			"SCHEMA warehouses\n"
			"warehouses {'id':'w'}\n"
			"STATE iam_users\n"
			"STATE iam_users\n",
		.log = "",
	},
	/* Spans. */
	{
		.name = "audit spans whose ends the API takes as inclusive; the last one is open",
		.select = "audit_events",
		.answers = {{SPAN("2020-12-31T23:59:59.000Z", "2021-01-31T00:00:01.000Z"), 200,
			     ROWS("events", EVENT("0", "2020-12-31T23:59:59.999Z") ","
					    EVENT("events/2", "2021-01-31T00:00:00Z") ","
					    EVENT("1", "2021-01-01T00:00:00Z") ","
					    EVENT("3", "2021-01-30T23:59:59.999999Z"))},
			    {SPAN("2021-01-30T23:59:59.000Z", "2021-03-02T00:00:01.000Z"), 200,
			     ROWS("events", EVENT("3", "2021-01-30T23:59:59.999999Z") ","
					    EVENT("events/2", "2021-01-31T00:00:00Z"))},
			    {"/audit-events?startTime=2021-03-01T23:59:59.000Z&pagination.count=1000", 200,
			     ROWS("events", EVENT("4", "2021-03-10T12:00:05Z") "," EVENT("5", "2021-03-10T10:59:00Z"))}},
		.messages =
			"STATE null\n"
			"STATE audit_events\n"
			"SCHEMA audit_events\n"
			"audit_events {'id':'1','timestamp':'2021-01-01T00:00:00.000000Z'}\n"
			"audit_events {'id':'3','timestamp':'2021-01-30T23:59:59.999999Z'}\n"
			"STATE audit_events, audit_events 2021-01-30T23:59:59.999999Z\n"
			"audit_events {'id':'events/2','timestamp':'2021-01-31T00:00:00.000000Z'}\n"
			"STATE audit_events, audit_events 2021-01-31T00:00:00.000000Z\n"
			"audit_events {'id':'4','timestamp':'2021-03-10T12:00:05.000000Z'}\n"
			"audit_events {'id':'5','timestamp':'2021-03-10T10:59:00.000000Z'}\n"
			"STATE audit_events, audit_events 2021-03-10T11:00:00.000000Z\n"
			"STATE null, audit_events 2021-03-10T11:00:00.000000Z\n",
		.log = "",
		.asked =
			"/audit-events?startTime=2020-12-31T23:59:59.000Z&endTime=2021-01-31T00:00:01.000Z&pagination.count=1000\n"
			"/audit-events?startTime=2021-01-30T23:59:59.000Z&endTime=2021-03-02T00:00:01.000Z&pagination.count=1000\n"
			"/audit-events?startTime=2021-03-01T23:59:59.000Z&pagination.count=1000\n",
	},
	{
		.name = "audit spans whose ends the API takes as exclusive",
		.select = "audit_events",
		.start = "2021-02-01",
		.answers = {{SPAN("2021-01-31T23:59:59.000Z", "2021-03-03T00:00:01.000Z"), 200,
			     ROWS("events", EVENT("0", "2021-01-31T23:59:59.001Z") "," EVENT("1", "2021-02-01T00:00:00Z") ","
					    EVENT("2", "2021-03-03T00:00:00Z"))},
			    {"/audit-events?startTime=2021-03-02T23:59:59.000Z&pagination.count=1000", 200,
			     ROWS("events", EVENT("2", "2021-03-03T00:00:00Z"))}},
		.messages =
			"STATE null\n"
			"STATE audit_events\n"
			"SCHEMA audit_events\n"
			"audit_events {'id':'1','timestamp':'2021-02-01T00:00:00.000000Z'}\n"
			"STATE audit_events, audit_events 2021-02-01T00:00:00.000000Z\n"
			"audit_events {'id':'2','timestamp':'2021-03-03T00:00:00.000000Z'}\n"
			"STATE audit_events, audit_events 2021-03-03T00:00:00.000000Z\n"
			"STATE null, audit_events 2021-03-03T00:00:00.000000Z\n",
		.log = "",
	},
	{
		.name = "audit spans up to end_date, rows of exactly that time not",
		.select = "audit_events",
		.start = "2021-01-20",
		.end = "2021-02-01",
		.answers = {{SPAN("2021-01-19T23:59:59.000Z", "2021-02-01T00:00:01.000Z"), 200,
			     ROWS("events",
				  EVENT("1", "2021-01-31T23:59:59.999999Z") "," EVENT("2", "2021-02-01T00:00:00Z"))}},
		.messages =
			"STATE null\n"
			"STATE audit_events\n"
			"SCHEMA audit_events\n"
			"audit_events {'id':'1','timestamp':'2021-01-31T23:59:59.999999Z'}\n"
			"STATE audit_events, audit_events 2021-01-31T23:59:59.999999Z\n"
			"STATE null, audit_events 2021-01-31T23:59:59.999999Z\n",
		.log = "",
	},
	{
		.name = "audit bookmark: an hour behind now, and never moved back",
		.select = "audit_events",
		.state = "{'bookmarks':{'audit_events':{'timestamp':'2021-03-10T11:30:00Z'},'other':{'x':1}}}",
		.answers = {{"/audit-events?startTime=2021-03-10T11:29:59.000Z&pagination.count=1000", 200,
			     ROWS("events", EVENT("1", "2021-03-10T11:45:00Z"))}},
		.messages =
			"STATE null, audit_events 2021-03-10T11:30:00Z, other \n"
			"STATE audit_events, audit_events 2021-03-10T11:30:00Z, other \n"
			"SCHEMA audit_events\n"
			"audit_events {'id':'1','timestamp':'2021-03-10T11:45:00.000000Z'}\n"
			"STATE audit_events, audit_events 2021-03-10T11:30:00Z, other \n"
			"STATE null, audit_events 2021-03-10T11:30:00Z, other \n",
		.log = "",
	},
};
/* clang-format on */

/* ---- Scenarios: all numbers of connections, many orders of answers ---- */

static bool same_outcome(const struct outcome *a, const struct outcome *b)
{
	return a->result == b->result && strcmp(a->messages, b->messages) == 0 && strcmp(a->log, b->log) == 0 &&
	       memcmp(&a->totals, &b->totals, sizeof a->totals) == 0;
}

static void show(const char *label, const char *text)
{
	const char *end;

	printf("# %s:\n", label);
	for (; (end = strchr(text, '\n')); text = end + 1)
		printf("#   %.*s\n", (int)(end - text), text);
}

/* Runs it with this many connections and orders, fewer of a long scenario or where each takes long (FEW); every outcome
 * has to be that of the first. */
static bool always(const struct scenario *s, const struct outcome *expected)
{
	static const unsigned connections[] = {1, 2, 3, 4, 8, 32};
	static struct outcome o;
	unsigned orders = s->make || getenv("FEW") ? 3 : 12;
	size_t i;

	for (i = 0; i < countof(connections); i++)
		for (fake.seed = 0; fake.seed < orders; fake.seed++) {
			fake.connections = connections[i];
			run(s, s->state, &o);
			if (same_outcome(&o, expected) && fake.started == fake.released &&
			    fake.most_unanswered <= ROOM_OF_ALL * fake.connections)
				continue;
			printf("# connections %u, seed %u: %zu started, %zu released, %zu at once\n", fake.connections,
			       fake.seed, fake.started, fake.released, fake.most_unanswered);
			show("messages", o.messages);
			show("log", o.log);
			return false;
		}
	return true;
}

/* Every selected stream is counted once, unless the run had an end of its own; what went wrong first is in the log, but of
 * the others nothing is known at the end. */
static bool totals_fit(const struct outcome *o)
{
	const struct sync_totals *t = &o->totals;
	bool ran = o->result == SYNC_DONE || o->result == SYNC_PARTLY;
	bool told = o->result == SYNC_DONE || o->result == SYNC_STOPPED || *t->reason.text;

	return told && strstr(o->log, t->reason.text) && !strstr(t->reason.text, "the others go on") &&
	       (!ran || t->synced + t->skipped + t->failed == t->selected);
}

static void test_scenario(const struct scenario *s)
{
	static struct outcome first;
	bool ok;

	prepare(s);
	fake.connections = 1;
	fake.seed = 0;
	run(s, s->state, &first);
	ok = first.result == s->result && strcmp(first.messages, s->messages) == 0 &&
	     (!s->log || strcmp(first.warnings, s->log) == 0);
	if (!check(ok, "%s", s->name)) {
		printf("# result %d, expected %d\n", (int)first.result, (int)s->result);
		show("messages", first.messages);
		show("warnings", first.warnings);
	}
	if (!check(totals_fit(&first), "%s: totals", s->name))
		printf("# %u selected, %u synced, %u skipped, %u failed; %s\n", first.totals.selected,
		       first.totals.synced, first.totals.skipped, first.totals.failed, first.totals.reason.text);
	if (s->asked && !check(strcmp(fake.asked, s->asked) == 0, "%s: requests", s->name))
		show("asked", fake.asked);
	if (!s->stop_after) /* where a run is stopped depends on the order of the answers */
		check(always(s, &first), "%s: the same for all connections and orders", s->name);
	fake.stop_after = 0;
}

/* ---- A whole workspace, answered by rule ---- */

static const char *const days[] = {"2020-12-30", "2021-01-05", "2021-01-31", "2021-02-10",
				   "2021-02-28", "2021-03-01", "2021-03-09"};
enum { DAYS = countof(days) };

/* The value of a parameter, up to the next one; NULL: it is not there. */
static const char *parameter(const char *path, const char *name)
{
	const char *p = strstr(path, name);

	return p ? p + strlen(name) : NULL;
}

/* Usage rows of the month asked for, or events inside the window asked for, its ends excluded. */
static void add_dated_rows(char *to, size_t size, const char *path)
{
	const char *month = parameter(path, "period="), *from = parameter(path, "startTime="),
		   *until = parameter(path, "endTime=");
	const char *comma = "";
	int i;

	for (i = 0; i < DAYS; i++) {
		char time[32];
		snprintf(time, sizeof time, "%sT00:00:00.500Z", days[i]);
		if (month ? strncmp(month, time, 7) != 0
			  : strncmp(from, time, 24) >= 0 || (until && strncmp(until, time, 24) <= 0))
			continue;
		add(to, size, "%s{'id':'%s','sourceId':'s','periodStart':1,'timestamp':'%s'}", comma, days[i], time);
		comma = ",";
	}
}

/* What the keys of a stream and the requests of its children need of its rows. */
static void needed_names(size_t stream, struct names *needed)
{
	size_t i;

	for (i = 0; unique_of(stream)[i]; i++)
		names_add(needed, str_of(unique_of(stream)[i]));
	for (i = 0; i < STREAMS; i++)
		if (parent_of(i) == stream)
			names_of(i, needed);
}

/* Lists have two pages of two rows each.  Of two members of one name the last one counts: that of another type. */
static void add_list_rows(char *to, size_t size, size_t stream, const char *path)
{
	char page = parameter(path, "cursor=") ? 'b' : 'a';
	struct names needed = {.count = 0};
	size_t n;
	int i;

	needed_names(stream, &needed);
	for (i = 1; i <= 2; i++) {
		add(to, size, "%s{", i > 1 ? "," : "");
		for (n = 0; n < needed.count; n++)
			add(to, size, "'%.*s':'%c%d',", str_width(needed.name[n], 60), needed.name[n].s, page, i);
		add(to, size,
		    "'destinationId':'x','spaceId':'p','warehouseId':'w','modelId':'m','key':'k','type':'T','version':"
		    "1,"
		    "'start':'2021-03-0%dT00:00:00Z','resourceType':'INSERT_SOURCE','subjectType':'USER_ID',"
		    "'subjectIds':['%c1','%c2']}",
		    i, page, page);
	}
}

static void add_text_rows(char *to, size_t size, const char *path)
{
	add(to, size, parameter(path, "cursor=") ? "'c@d'" : "'a@b','b@c'");
}

/* Two groups of points, one of them with little said of it, and days around the window that was asked for. */
static void add_series_rows(char *to, size_t size, const char *path)
{
	const char *id = parameter(path, "sourceId=");

	if (!id)
		id = parameter(path, "sourceId.0=");
	add(to, size,
	    "{'source':{'id':'%.2s','name':'n'},'eventName':'E','eventType':'track','discardReason':'r','total':2,'"
	    "series':["
	    "{'time':'2021-02-28T00:00:00Z','count':1},{'time':'2021-03-05T00:00:00.000Z','count':2,'retryCount':1},"
	    "{'time':'2021-03-10T00:00:00.000Z','count':3}]},"
	    "{'source':{'id':'%.2s'},'total':1,'series':[{'time':'2021-03-09T00:00:00.000Z','count':1}]}",
	    id, id);
}

static void add_rows(char *to, size_t size, size_t stream, const char *path)
{
	const struct stream *s = &streams[stream];

	if (s->window == WINDOW_DAYS)
		add_series_rows(to, size, path);
	else if (s->window != WINDOW_NONE)
		add_dated_rows(to, size, path);
	else if (s->shape == ROWS_TEXTS)
		add_text_rows(to, size, path);
	else
		add_list_rows(to, size, stream, path);
}

/* Does a path come from this template? */
static bool path_matches(const char *from, const char *path)
{
	while (*from) {
		if (*from == '{') {
			from += strcspn(from, "}") + 1;
			path += strcspn(path, "/?");
		} else if (*from++ != *path++) {
			return false;
		}
	}
	return *path == '\0' || *path == '?';
}

/* Answers as the table says, so that a new row needs nothing here; lists that are paginated have a second page.  Whether
 * the table is right is another question, which the end-to-end tests ask: test/segmentd.c has every path once more. */
static bool workspace(const char *path, struct fake_answer *a)
{
	static char body[4096];
	bool paged = strstr(path, "count=") && !strstr(path, "count=1000") && !strstr(path, "cursor=");
	const char *source = parameter(path, "sourceId=");
	size_t i = 0;

	while (i < STREAMS && !path_matches(streams[i].path, path))
		i++;
	if (i == STREAMS)
		return false;
	a->body = body;
	body[0] = '\0';
	if (streams[i].shape == ROWS_OBJECT) {
		add(body, sizeof body, "{'data':{'%s':{'id':'w','sourceId':'%.2s'}}}", streams[i].rows,
		    source ? source : "");
		return true;
	}
	add(body, sizeof body, "{'data':{'%s':[", streams[i].rows);
	add_rows(body, sizeof body, i, path);
	add(body, sizeof body, "],'pagination':{'current':'c'%s}}}", paged ? ",'next':'n/='" : "");
	return true;
}

static const struct scenario whole = {
	.name = "a whole workspace", .select = "*", .make = workspace, .start = "2021-02-28"};

static const struct scenario some = {
	.name = "part of a workspace",
	.select = "source_connected_destinations,usage_api_calls_workspace_daily,destination_delivery_metrics_summary,"
		  "audit_events,iam_groups",
	.start = "2021-01-01",
	.now = "2021-03-10T12:00:00Z",
	.make = workspace,
};

static size_t count_of(const char *text, const char *part)
{
	size_t n = 0;

	for (; (text = strstr(text, part)); text += strlen(part))
		n++;
	return n;
}

static void test_workspace(void)
{
	static struct outcome o;
	size_t i;

	prepare(&whole);
	fake.connections = 1;
	fake.seed = 0;
	run(&whole, NULL, &o);
	check(o.result == SYNC_DONE && o.totals.selected == STREAMS && o.totals.synced == STREAMS && !o.warnings[0],
	      "a whole workspace");
	for (i = 0; i < STREAMS; i++) {
		char row[64], schema[64];
		snprintf(row, sizeof row, "\n%s {", stream_name(i));
		snprintf(schema, sizeof schema, "\nSCHEMA %s\n", stream_name(i));
		check(count_of(o.messages, schema) == 1 &&
			      count_of(o.messages, row) >= (strcmp(row, "\nworkspace {") ? 2 : 1),
		      "a whole workspace: %s: %u rows", stream_name(i), (unsigned)count_of(o.messages, row));
	}
	check(always(&whole, &o), "a whole workspace: the same for all connections and orders");
}

/* ---- Runs that end early ---- */

/* Are all lines of the text that begin with none of the words there in the other text? */
static bool records_within(const char *text, const char *other)
{
	const char *end;

	for (; (end = strchr(text, '\n')); text = end + 1) {
		char line[512];
		if (starts_with(text, "STATE") || starts_with(text, "SCHEMA"))
			continue;
		snprintf(line, sizeof line, "\n%.*s\n", (int)(end - text), text);
		if (!strstr(other, line)) {
			printf("# missing: %s", line + 1);
			return false;
		}
	}
	return true;
}

/* Without its last line the text is the other one's beginning, and its last line is a STATE. */
static bool is_beginning(const char *text, const char *of)
{
	size_t length = strlen(text);

	if (length)
		length--;
	while (length && text[length - 1] != '\n')
		length--;
	return strncmp(text, of, length) == 0 && starts_with(text + length, "STATE ");
}

/* However far a run comes, what it wrote is a beginning of the whole output, and the next run from its last STATE
 * writes all that is missing. */
static bool resumes(const struct scenario *s, const struct outcome *all)
{
	static struct outcome first, second;
	static char both[sizeof first.messages * 2];

	for (fake.stop_after = 1;; fake.stop_after++) {
		run(s, NULL, &first);
		if (first.result != SYNC_STOPPED)
			break;
		if (!is_beginning(first.messages, all->messages) || fake.started != fake.released) {
			show("stopped", first.messages);
			return false;
		}
		size_t stop_after = fake.stop_after;
		fake.stop_after = 0;
		run(s, first.state, &second);
		fake.stop_after = stop_after;
		snprintf(both, sizeof both, "\n%s%s", first.messages, second.messages);
		if (second.result != SYNC_DONE || !records_within(all->messages, both)) {
			printf("# stopped after %zu answers\n", stop_after);
			show("stopped", first.messages);
			show("resumed", second.messages);
			return false;
		}
	}
	return fake.stop_after > 10 && same_outcome(&first, all);
}

static void test_stop(void)
{
	static struct outcome all;

	prepare(&some);
	fake.seed = 0;
	fake.connections = 1;
	run(&some, NULL, &all);
	check(all.result == SYNC_DONE, "a run to its end");
	check(resumes(&some, &all), "a run that is stopped after n answers and resumed loses nothing");
	fake.connections = 4;
	fake.seed = 3;
	check(resumes(&some, &all), "... with 4 connections");
	fake.stop_after = 0;
}

/* Lets one failure after the other happen, until there was none. */
static bool survives(const struct outcome *all, size_t *fail, size_t least)
{
	static struct outcome o;

	for (*fail = 1;; ++*fail) {
		allocations = 0;
		run(&some, NULL, &o);
		if (fake.started != fake.released)
			return false;
		if (o.result == SYNC_DONE)
			break;
		if (o.result != SYNC_ENDED || !is_beginning(o.messages, all->messages) ||
		    !strstr(o.warnings, "CRITICAL no memory: ")) {
			show("messages", o.messages);
			show("log", o.warnings);
			return false;
		}
	}
	printf("# %zu places made to fail\n", *fail - 1);
	return *fail > least && same_outcome(&o, all);
}

static void test_no_memory(void)
{
	static struct outcome all;

	prepare(&some);
	fake.seed = 5;
	fake.connections = 3;
	run(&some, NULL, &all);
	check(survives(&all, &fake.fail_start, 20), "no memory for a request ends the run");
	fake.fail_start = 0;
	check(survives(&all, &fail_allocation, 20), "no memory for a job or page ends the run");
	fail_allocation = 0;
}

/* ---- Holes: whatever one request meets, two runs hold all rows, or the first one's exit status says what is wrong ---- */

/* A workspace in which each row says which request it came with, so that none is taken for another's.  Lists have pages of
 * two rows and one, what comes by time has two pages as well. */

/* What goes wrong. */
static const struct hole_kind {
	const char *name;
	int status; /* as in struct fake_answer; 0: another body */
	const char *body;
	bool spoiled; /* the first row of the page does not fit */
	bool revoked; /* the token is refused from then on, everywhere */
} hole_kinds[] = {
	{"400", 400, REFUSED, false, false},
	{"401", 401, REFUSED, false, false},
	{"401 everywhere from then on", 401, REFUSED, false, true},
	{"403", 403, REFUSED, false, false},
	{"404", 404, REFUSED, false, false},
	{"409", 409, REFUSED, false, false},
	{"422", 422, REFUSED, false, false},
	{"429", 429, REFUSED, false, false},
	{"500", 500, "", false, false},
	{"503", 503, "", false, false},
	{"a cut", -HTTP_BROKEN, "", false, false},
	{"no connection", -HTTP_UNREACHABLE, "", false, false},
	{"no JSON", 0, "{'data'", false, false},
	{"a wrong shape", 0, "{'data':{'list':[]}}", false, false},
	{"a row that does not fit", 0, NULL, true, false},
};

/* Which requests meet it, from the chosen one on. */
enum hole_reach { HOLE_ONCE, HOLE_REQUEST, HOLE_PARENT, HOLE_STREAM, HOLE_REACHES };

static struct {
	bool open; /* something goes wrong in this run */
	const struct hole_kind *kind;
	enum hole_reach reach;
	char path[512]; /* of the chosen request */
	size_t hits;
	bool listed_twice; /* of two destinations one is listed for each of two sources */
} hole;

static size_t endpoint_of(const char *path)
{
	size_t i = 0;

	while (i < STREAMS && !path_matches(streams[i].path, path))
		i++;
	if (i == STREAMS)
		abort();
	return i;
}

/* Do two texts say the same up to the end of the value that stands behind this name, if it is there? */
static bool same_parameter(const char *a, const char *b, const char *name)
{
	const char *x = parameter(a, name), *y = parameter(b, name);

	if (!x || !y)
		return x == y;
	return strcspn(x, "&") == strcspn(y, "&") && strncmp(x, y, strcspn(x, "&")) == 0;
}

static bool same_parent(const char *a, const char *b)
{
	size_t n = strcspn(a, "?");

	return n == strcspn(b, "?") && strncmp(a, b, n) == 0 && same_parameter(a, b, "sourceId=") &&
	       same_parameter(a, b, "sourceId.0=") && same_parameter(a, b, "destinationConfigId=") &&
	       same_parameter(a, b, "functionId=") && same_parameter(a, b, "resourceType=") &&
	       same_parameter(a, b, "collection=");
}

/* But for the size of the page. */
static bool same_request(const char *a, const char *b)
{
	return same_parent(a, b) && same_parameter(a, b, "startTime=") && same_parameter(a, b, "period=") &&
	       same_parameter(a, b, "cursor=");
}

static bool hole_meets(const char *path)
{
	if (!hole.open)
		return false;
	if (same_request(hole.path, path))
		return hole.hits++ == 0 || hole.reach != HOLE_ONCE;
	if (!hole.hits)
		return false;
	return hole.kind->revoked || (hole.reach == HOLE_PARENT && same_parent(hole.path, path)) ||
	       (hole.reach == HOLE_STREAM && endpoint_of(hole.path) == endpoint_of(path));
}

/* A number that stands for a request's path and query, but for its time and page. */
static unsigned path_number(const char *path)
{
	const char *time = strstr(path, "startTime="), *end = time ? time : strstr(path, "count=");
	unsigned number = 0;

	for (; *path && path != end; path++)
		number = number * 31 + (unsigned char)*path;
	return number % 1000000;
}

static void town_list(char *to, size_t size, const char *path, bool spoiled)
{
	char page = parameter(path, "cursor=") ? 'b' : 'a';
	bool twice = hole.listed_twice && starts_with(path, "/destinations?");
	int i;

	for (i = 1; i <= (page == 'a' ? 2 : 1); i++)
		if (i == 1 && spoiled)
			add(to, size, "{'enabled':true,'subjectIds':[3]}");
		else
			add(to, size,
			    "%s{'id':'%c%d','sourceId':'%c%d','name':'%u','destinationId':'x','modelId':'m','syncId':'%"
			    "u',"
			    "'resourceType':'INSERT_SOURCE','trait':'%c','type':'T','subjectType':'USER_ID',"
			    "'subjectIds':['%c%d','%c%d']}",
			    i > 1 ? "," : "", page, twice ? 1 : i, page, i, path_number(path), path_number(path), page,
			    page, i, page, i + 5);
}

static bool in_window(const char *path, const char *time)
{
	const char *month = parameter(path, "period="), *from = parameter(path, "startTime="),
		   *until = parameter(path, "endTime=");

	if (month)
		return strncmp(month, time, 7) == 0;
	return strncmp(from, time, 19) <= 0 && (!until || strncmp(until, time, 19) > 0);
}

/* Rows of days on which there are any, or points of them inside one row. */
static void town_days(char *to, size_t size, const char *path, bool spoiled, bool points)
{
	int page = parameter(path, "cursor=") ? 1 : 0, i;
	const char *comma = "";

	for (i = page; i < DAYS; i += 2) {
		char time[32];
		snprintf(time, sizeof time, "%sT00:00:00Z", days[i]);
		if (!in_window(path, time))
			continue;
		add(to, size, "%s{'id':'%s','sourceId':'s','periodStart':1,'count':%u,'%s':'%s'}", comma, days[i],
		    path_number(path), points ? "time" : "timestamp", spoiled ? "soon" : time);
		spoiled = false;
		comma = ",";
	}
}

static void town_series(char *to, size_t size, const char *path, bool spoiled)
{
	const char *source = parameter(path, "sourceId.0=");

	add(to, size, "{'source':{'id':'%.2s'},'eventName':'E%d','eventType':'track','series':[", source ? source : "",
	    parameter(path, "cursor=") ? 1 : 0);
	town_days(to, size, path, spoiled, true);
	add(to, size, "]}");
}

static void town_object(char *to, size_t size, const char *path, bool spoiled)
{
	const char *source = parameter(path, "sourceId=");

	if (!spoiled)
		add(to, size, "'id':'w','sourceId':'%.2s','name':'%u'", source ? source : "", path_number(path));
}

static bool town(const char *path, struct fake_answer *a)
{
	static char body[4096];
	const struct stream *s = &streams[endpoint_of(path)];
	bool met = hole_meets(path), spoiled = met && hole.kind->spoiled, object = s->shape == ROWS_OBJECT;

	a->body = body;
	body[0] = '\0';
	if (met && !spoiled) {
		a->status = hole.kind->status ? hole.kind->status : 200;
		a->body = hole.kind->body;
		return true;
	}
	add(body, sizeof body, object ? "{'data':{'%s':{" : "{'data':{'%s':[", s->rows);
	if (object)
		town_object(body, sizeof body, path, spoiled);
	else if (s->window == WINDOW_DAYS)
		town_series(body, sizeof body, path, spoiled);
	else if (s->window != WINDOW_NONE)
		town_days(body, sizeof body, path, spoiled, false);
	else if (s->shape == ROWS_TEXTS)
		add_text_rows(body, sizeof body, path);
	else
		town_list(body, sizeof body, path, spoiled);
	if (object)
		add(body, sizeof body, "}}}");
	else
		add(body, sizeof body, "],'pagination':{'current':'c'%s}}}",
		    parameter(path, "cursor=") ? "" : ",'next':'n'");
	return true;
}

/* One stream of each kind, some with their parents read for the ids alone. */
static const struct scenario hole_runs[] = {
	{.name = "days and destinations", .select = METRICS},
	{.name = "days and destinations, with the list of these", .select = "destinations," METRICS},
	{.name = "windows of days", .select = "events_volume_daily,delivery_overview_failed_delivery"},
	{.name = "months and spans",
	 .select = "usage_mtu_per_source_daily,usage_api_calls_workspace_daily,audit_events"},
	{.name = "lists, children and grandchildren",
	 .select = "workspace,sources,source_connected_warehouses,destination_subscriptions,reverse_etl_syncs,invites,"
		   "suppressions,source_schema_settings"},
	{.name = "values of a parameter", .select = "functions,insert_function_instances,space_traits"},
};

struct hole_case {
	struct scenario s;
	char state[1 << 12]; /* it begins with; empty: none */
	char asked[sizeof fake.asked];
	struct outcome all; /* what it writes where nothing goes wrong */
};

static size_t missing_lines(const char *of, const char *in, const char **first)
{
	size_t missing = 0;
	const char *end;

	for (; (end = strchr(of, '\n')); of = end + 1) {
		char line[512];
		if (starts_with(of, "STATE") || starts_with(of, "SCHEMA"))
			continue;
		snprintf(line, sizeof line, "\n%.*s\n", (int)(end - of), of);
		if (!strstr(in, line) && missing++ == 0)
			*first = of;
	}
	return missing;
}

/* Is the chosen request the first that is made for its parent? */
static bool hole_comes_first(const struct hole_case *c)
{
	const char *line = c->asked, *end;

	for (; (end = strchr(line, '\n')); line = end + 1) {
		char path[512];
		snprintf(path, sizeof path, "%.*s", (int)(end - line), line);
		if (same_parent(path, hole.path))
			return same_request(path, hole.path);
	}
	return false;
}

static bool hole_is_refusal(void)
{
	return hole.kind->status == 401 || hole.kind->status == 403;
}

/* Is it left out with a warning alone, as the README says?  What is forbidden from its first request on; a parent, or a
 * fixed value, that is gone; months before the workspace was there. */
static bool hole_is_known(const struct hole_case *c)
{
	int status = hole.kind->status;

	if (hole_is_refusal())
		return !c->s.forbid && hole_comes_first(c);
	if (starts_with(hole.path, "/usage/"))
		return !c->state[0] && (status == 400 || status == 404 || status == 422);
	return status == 404 &&
	       (strchr(streams[endpoint_of(hole.path)].path, '{') || streams[endpoint_of(hole.path)].each ||
		strstr(hole.path + strcspn(hole.path, "?"), "Id"));
}

/* What is wrong with two runs, or NULL.  Missing from both may be what was passed over in a window only. */
static const char *hole_fault(const struct hole_case *c, const struct outcome *first, const struct outcome *second)
{
	static char both[sizeof first->messages * 2];
	bool told = first->warnings[0] && hole_is_known(c),
	     windowed = parameter(hole.path, "Time=") || parameter(hole.path, "period=");
	const char *row = "";

	if (second->result != SYNC_DONE)
		return "the second run does not end well";
	snprintf(both, sizeof both, "\n%s%s", first->messages, second->messages);
	if (missing_lines(c->all.messages, both, &row) && !(told && windowed))
		return row;
	snprintf(both, sizeof both, "\n%s", first->messages);
	told = told || (first->warnings[0] && hole.kind->spoiled); /* a parent without an id */
	if (missing_lines(c->all.messages, both, &row) && first->result == SYNC_DONE && !told)
		return "rows are missing from the first run, which says that all is well";
	return NULL;
}

static bool hole_mended(const struct hole_case *c)
{
	static struct outcome first, second;
	const char *fault;

	hole.hits = 0;
	hole.open = true;
	run(&c->s, c->state[0] ? c->state : NULL, &first);
	hole.open = false;
	run(&c->s, first.state, &second);
	fault = hole_fault(c, &first, &second);
	if (!fault && hole.hits)
		return true;
	printf("# %s, reach %d, %u connections, met %zu times: %s\n# %.*s\n# result %d\n", hole.kind->name,
	       (int)hole.reach, fake.connections, hole.hits, hole.path, fault ? (int)strcspn(fault, "\n") : 0,
	       fault ? fault : "", (int)first.result);
	show("log", first.warnings);
	show("second", second.warnings);
	return false;
}

/* Every how many-th request has its turn: HOLES in the environment says it, 1 for all in every way. */
static size_t holes_step(void)
{
	const char *step = getenv("HOLES");
	size_t n = step ? strtoul(step, NULL, 10) : 0;

	return n ? n : 3;
}

/* Every kind at the chosen request, the place-th one: in one reach each and for 1 or 4 connections, or all of them. */
static size_t holes_at(const struct hole_case *c, size_t place, size_t *tried)
{
	static const unsigned connections[] = {1, 4};
	bool all = holes_step() == 1;
	size_t faults = 0, k, n;

	for (k = 0; k < countof(hole_kinds); k++) {
		hole.kind = &hole_kinds[k];
		if (c->s.forbid && !hole_is_refusal())
			continue;
		for (hole.reach = all ? HOLE_ONCE : (enum hole_reach)((place + k) % HOLE_REACHES);
		     hole.reach < HOLE_REACHES; hole.reach += all ? 1 : HOLE_REACHES)
			for (n = 0; n < (all ? 2 : 1); n++, ++*tried) {
				fake.connections = connections[all ? n : *tried * 7 / 3 % 2];
				faults += !hole_mended(c);
			}
	}
	return faults;
}

/* Of one scenario, without a state, or from one of some days before. */
static void test_holes(const struct scenario *s, bool resumed, bool forbid)
{
	static struct hole_case c;
	size_t tried = 0, faults = 0, place = 0;
	const char *line, *end;

	c.s = *s;
	c.s.make = town;
	c.s.start = "2021-01-20";
	c.s.forbid = forbid;
	c.s.now = "2021-03-02T12:00:00Z";
	fake.connections = 1;
	fake.seed = 0;
	prepare(&c.s);
	hole.open = false;
	run(&c.s, NULL, &c.all);
	snprintf(c.state, sizeof c.state, "%s", resumed ? c.all.state : "");
	c.s.now = NULL;
	run(&c.s, c.state[0] ? c.state : NULL, &c.all);
	snprintf(c.asked, sizeof c.asked, "%s", fake.asked);
	for (line = c.asked; (end = strchr(line, '\n')) && faults < 5; line = end + 1) {
		snprintf(hole.path, sizeof hole.path, "%.*s", (int)(end - line), line);
		if (place % holes_step() == 0)
			faults += holes_at(&c, place / holes_step(), &tried);
		place++;
	}
	check(c.all.result == SYNC_DONE && !faults && tried, "holes: %s%s%s%s: %zu pairs of runs", s->name,
	      resumed ? ", resumed" : "", forbid ? ", fail_on_forbidden" : "",
	      hole.listed_twice ? ", one listed twice" : "", tried);
}

static void test_all_holes(void)
{
	size_t i, way;

	for (i = 0; i < countof(hole_runs); i++)
		for (way = 0; way < 8; way++) {
			hole.listed_twice = way & 4;
			if (!hole.listed_twice || strstr(hole_runs[i].select, METRICS))
				test_holes(&hole_runs[i], way & 1, way & 2);
		}
	hole.listed_twice = false;
	fake.connections = 1;
}

/* ---- Cursors that run in a circle ---- */

static size_t ring_tail, ring_length;

/* Page n has row n and the cursor n + 1, but the last page leads back to page ring_tail. */
static bool ring(const char *path, struct fake_answer *a)
{
	static char body[256];
	const char *cursor = parameter(path, "cursor=");
	size_t page = cursor ? strtoul(cursor, NULL, 10) : 0, next = page + 1;

	if (next == ring_tail + ring_length)
		next = ring_tail;
	snprintf(body, sizeof body, MORE("userGroups", "{'id':'%zu'}", "%zu"), page, next);
	a->body = body;
	return true;
}

static void test_circles(void)
{
	static const struct scenario s = {.select = "iam_groups", .make = ring};
	static struct outcome o;
	bool found = true, said = true, all_rows = true;
	size_t most = 0;

	prepare(&s);
	fake.seed = 0;
	for (fake.connections = 1; fake.connections <= 8; fake.connections += 7)
		for (ring_tail = 1; ring_tail < 9; ring_tail++)
			for (ring_length = 1; ring_length < 9; ring_length++) {
				size_t pages = ring_tail + ring_length;
				char last[64];
				run(&s, NULL, &o);
				snprintf(last, sizeof last, "\niam_groups {'id':'%zu'}\n", pages - 1);
				found = found && o.result == SYNC_PARTLY && fake.started == fake.released;
				said = said &&
				       strstr(o.warnings,
					      "ERROR iam_groups: failed: the cursors of /groups run in a circle");
				all_rows = all_rows && strstr(o.messages, last);
				if (fake.started * 10 / pages > most)
					most = fake.started * 10 / pages;
			}
	check(found && said, "cursors in a circle of any length are found");
	check(all_rows, "... after the rows of all pages");
	check(most <= 40, "... within %zu.%zu times the pages", most / 10, most % 10);
}

/* ---- A chain as long as the API's chains get ---- */

/* Event volume of two sources: of the first, pages of 1000 groups up to the API's limit; of the second, one group. */
static bool volume(const char *path, struct fake_answer *a)
{
	static char body[1 << 17];
	const char *cursor = parameter(path, "cursor=");
	long page = cursor ? strtol(cursor, NULL, 10) : 1;
	int i, groups = strstr(path, "sourceId.0=s") ? 1000 : 1;

	body[0] = '\0';
	a->body = body;
	if (starts_with(path, "/sources?")) {
		add(body, sizeof body, ROWS("sources", "{'id':'s'},{'id':'t'}"));
		return true;
	}
	add(body, sizeof body, "{'data':{'result':[");
	for (i = 0; i < groups; i++)
		add(body, sizeof body, "%s{'eventName':'%ld-%d','series':[{'time':'2021-03-09','count':1}]}",
		    i ? "," : "", page, i);
	if (groups > 1 && page < 5)
		add(body, sizeof body, "],'pagination':{'next':'%ld'}}}", page + 1);
	else
		add(body, sizeof body, "]}}");
	return true;
}

/* A chain whose cursor, or the old one that finds circles, can't be kept does not go on. */
static void test_chain_memory(void)
{
	static const char text[] = "\"c\"";
	static struct run r;
	struct sync_options options = {0};
	struct json_error unused;
	unsigned i;

	r.opt = &options;
	for (i = 0; i < 3; i++) {
		struct page p = {.count = 1};
		struct job j = {.milestone.failed = i == 1, .cursor.failed = i == 2};
		check(json_parse(&p.tape, text, sizeof text - 1, &p.cursor, &unused) && chain_follow(&r, &j, &p) == !i,
		      "%s",
		      i == 0   ? "a cursor is kept"
		      : i == 1 ? "no memory for an old one"
			       : "no memory for it");
		json_out_free(&j.milestone);
		json_out_free(&j.cursor);
		arena_free(&p.tape);
	}
}

static void test_cut_chain(void)
{
	static const struct scenario s = {.select = "events_volume_daily", .start = "2021-03-09", .make = volume};
	static struct outcome first;

	prepare(&s);
	fake.connections = 1;
	fake.seed = 0;
	run(&s, NULL, &first);
	check(first.result == SYNC_PARTLY && count_of(first.messages, "\nevents_volume_daily {") == 4001 &&
		      strstr(first.warnings, "5000 groups and more, beyond which the API gives none; the others go on"),
	      "a chain as long as the API's limit fails aloud, the other source goes on");
	check(!strstr(first.state, "events_volume_daily"), "... and the bookmark stays before it");
	check(strstr(first.messages, "\nevents_volume_daily {'count':1,'eventName':'1-0','eventType':'','sourceId':'',"
				     "'timestamp':'2021-03-09T00:00:00.000000Z'}\n") != NULL,
	      "fields that no group has are empty if they belong to the key, else absent");
}

/* ---- Memory ---- */

enum { BIG_PAGE = 20000, BIG_PARENTS = 150 };

/* A list of many sources, each with two pages of BIG_PAGE bytes of warehouses. */
static bool big(const char *path, struct fake_answer *a)
{
	static char body[BIG_PAGE + 1];
	int i;

	body[0] = '\0';
	a->body = body;
	if (starts_with(path, "/sources?")) {
		add(body, sizeof body, "{'data':{'sources':[{'id':'0'}");
		for (i = 1; i < BIG_PARENTS; i++)
			add(body, sizeof body, ",{'id':'%d'}", i);
		add(body, sizeof body, "]}}");
		return true;
	}
	if (starts_with(path, "/sources/100/")) /* late in the run, with all the pages that are held by then */
		fake.most_unanswered = 0;
	if (strstr(path, "cursor="))
		snprintf(body, sizeof body, ROWS("warehouses", "{'id':'w','settings':{'a':'%*s'}}"), BIG_PAGE - 100,
			 "");
	else
		snprintf(body, sizeof body, MORE("warehouses", "{'id':'v','settings':{'a':'%*s'}}", "2"),
			 BIG_PAGE - 100, "");
	return true;
}

static void test_memory(void)
{
	static const struct scenario s = {.select = "source_connected_warehouses", .make = big, .hold = 200000};
	static struct outcome first, o;
	bool same = true, bounded = true, parallel = true;
	size_t most = 0;

	prepare(&s);
	fake.seed = 0;
	fake.connections = 1;
	run(&s, NULL, &first);
	check(first.result == SYNC_DONE && selection[4].records == 2 * BIG_PARENTS, "%d parents of two big pages each",
	      BIG_PARENTS);
	fake.newest_first = true;
	for (fake.connections = 2; fake.connections <= 32; fake.connections *= 2) {
		run(&s, NULL, &o);
		same = same && strcmp(o.messages, first.messages) == 0;
		bounded = bounded && fake.most_bytes <= s.hold + (fake.connections + 1) * BIG_PAGE;
		parallel = parallel && fake.most_unanswered > 1;
		if (fake.most_bytes > most)
			most = fake.most_bytes;
	}
	fake.newest_first = false;
	check(same, "... in the same order though the front job is always answered last");
	check(bounded && most > s.hold / 2, "... holding %zu bytes at most", most);
	check(parallel, "... and several pages under way to the end");
}

/* ---- Connections ---- */

/* Ten sources whose warehouses are forbidden, then ten destinations whose subscriptions are not. */
static bool forbidden_first(const char *path, struct fake_answer *a)
{
	static char body[512];
	int i;

	body[0] = '\0';
	a->body = body;
	if (strstr(path, "/connected-warehouses")) {
		a->status = 403;
	} else if (strstr(path, "/subscriptions")) {
		add(body, sizeof body, ROWS("subscriptions", ""));
	} else {
		add(body, sizeof body, "{'data':{'%s':[{'id':'0'}", path[1] == 's' ? "sources" : "destinations");
		for (i = 1; i < 10; i++)
			add(body, sizeof body, ",{'id':'%d'}", i);
		add(body, sizeof body, "]}}");
		fake.most_unanswered = 0;
	}
	return true;
}

static void test_connections(void)
{
	static const struct scenario s = {.select = "source_connected_warehouses,destination_subscriptions",
					  .make = forbidden_first};
	static const struct scenario all = {.select = "*", .make = workspace};
	static struct outcome o;

	prepare(&s);
	fake.seed = 0;
	fake.connections = 4;
	run(&s, NULL, &o);
	check(o.result == SYNC_DONE && o.totals.skipped == 1 && o.totals.synced == 1 && fake.most_unanswered == 4,
	      "after a stream is given up with requests under way, the next one has all connections");
	prepare(&all);
	run(&all, NULL, &o);
	check(o.result == SYNC_DONE && fake.most_unanswered == 16,
	      "of many streams four times as many requests are asked for as there are connections (%zu)",
	      fake.most_unanswered);
}

/* ---- Time, if every request takes as long as the others ---- */

/* A hundred sources with one page of warehouses each; usage months of one to eight pages. */
static bool uneven(const char *path, struct fake_answer *a)
{
	static char body[4096];
	const char *month = parameter(path, "period="), *cursor = parameter(path, "cursor=");
	unsigned long page = cursor ? strtoul(cursor, NULL, 10) : 1,
		      pages = month ? strtoul(month + 5, NULL, 10) * 5 % 8 + 1 : 1;
	int i;

	body[0] = '\0';
	a->body = body;
	if (starts_with(path, "/sources?")) {
		add(body, sizeof body, "{'data':{'sources':[{'id':'0'}");
		for (i = 1; i < 100; i++)
			add(body, sizeof body, ",{'id':'%d'}", i);
		add(body, sizeof body, "]}}");
	} else if (!month) {
		add(body, sizeof body, ROWS("warehouses", "{'id':'w'}"));
	} else if (page < pages) {
		add(body, sizeof body, MORE("dailyWorkspaceAPICallsUsage", "", "%lu"), page + 1);
	} else {
		add(body, sizeof body, ROWS("dailyWorkspaceAPICallsUsage", ""));
	}
	return true;
}

/* With all connections busy all the time a run would take requests / connections, with a longest chain of 8 pages. */
static void test_parallel(void)
{
	static const struct scenario cases[] = {
		{.name = "child lists", .select = "source_connected_warehouses", .make = uneven},
		{.name = "months", .select = DAILY, .start = "2010-01-01", .end = "2021-01-01", .make = uneven},
	};
	static struct outcome o;
	size_t i;

	fake.seed = 0;
	for (i = 0; i < countof(cases); i++) {
		prepare(&cases[i]);
		for (fake.connections = 1; fake.connections <= 8; fake.connections *= 2) {
			size_t least;
			run(&cases[i], NULL, &o);
			least = (fake.started + fake.connections - 1) / fake.connections;
			check(o.result == SYNC_DONE && fake.clock * 100 <= least * 115,
			      "%s, %u connections: %zu requests in the time of %zu", cases[i].name, fake.connections,
			      fake.started, fake.clock);
		}
	}
}

/* ---- Log lines ---- */

/* Pages of one row that come 40 seconds after each other. */
static bool slow(const char *path, struct fake_answer *a)
{
	static char body[128];
	const char *cursor = parameter(path, "cursor=");
	long page = cursor ? strtol(cursor, NULL, 10) : 0;

	fake.received_us += 40 * SECOND_US;
	if (page < 4)
		snprintf(body, sizeof body, MORE("userGroups", "{'id':'%ld'}", "%ld"), page, page + 1);
	else
		snprintf(body, sizeof body, ROWS("userGroups", "{'id':'%ld'}"), page);
	a->body = body;
	return true;
}

static void test_log(void)
{
	static const struct scenario s = {.select = "iam_groups", .make = slow};
	static struct outcome o;

	prepare(&s);
	fake.connections = 2;
	run(&s, NULL, &o);
	check_text(o.log,
		   "INFO START Syncing: iam_groups\n"
		   "INFO METRIC: {\"type\": \"counter\", \"metric\": \"record_count\", \"value\": 3, "
		   "\"tags\": {\"endpoint\": \"iam_groups\"}}\n"
		   "INFO METRIC: {\"type\": \"counter\", \"metric\": \"record_count\", \"value\": 2, "
		   "\"tags\": {\"endpoint\": \"iam_groups\"}}\n"
		   "INFO METRIC: {\"type\": \"counter\", \"metric\": \"record_count\", \"value\": 0, "
		   "\"tags\": {\"endpoint\": \"iam_groups\"}}\n"
		   "INFO FINISHED Syncing: iam_groups, total_records: 5\n",
		   "a stream's log: start, records every 60 s and at the end, end");
	check(progress_calls == 6, "progress at the begin and after each page");
}

static void test_notice(void)
{
	static const struct http_notice notices[] = {
		{HTTP_RETRY, "/users?" COUNT, "status 503", 2, 4000, 14},
		{HTTP_RATE_LIMIT, "/sources/a/connected-warehouses?" COUNT, "Retry-After", 1, 60000, 4},
		{HTTP_RETRY, "/", "timeout", 1, 1000, STREAMS},
	};
	static struct outcome o;
	size_t i;

	log_catch();
	for (i = 0; i < countof(notices); i++)
		streams_notice(NULL, &notices[i]);
	log_caught(&o);
	check_text(o.log,
		   "WARNING iam_users: /users?" COUNT ": status 503: attempt 2 failed, next one in 4000 ms\n"
		   "INFO source_connected_warehouses: /sources/a/connected-warehouses?" COUNT
		   ": rate limit (Retry-After): waiting 60000 ms\n"
		   "WARNING the token: /: timeout: attempt 1 failed, next one in 1000 ms\n",
		   "notices of the client name the stream");
}

/* ---- Output that fails ---- */

static void test_output(void)
{
	static const struct scenario s = {.select = "sources,iam_users", .make = workspace};
	static struct outcome o;

	prepare(&s);
	fake.connections = 2;
	output_fails = true;
	run(&s, NULL, &o);
	output_fails = false;
	check(o.result == SYNC_ENDED && fake.started == fake.released && !o.warnings[0],
	      "a failed standard output ends the run; the caller has the word");
}

/* ---- Plan ---- */

static void add_job(char *to, size_t size, const struct job *j, const struct plan *p)
{
	char from[TIME_SIZE], until[TIME_SIZE];
	enum window w = streams[j->stream].window;
	size_t parent = parent_of(j->stream);

	add(to, size, "%s%s", j->quiet ? "quiet " : "", stream_name(j->stream));
	if (parent < STREAMS && !j->empty) {
		struct str id = parent_value(&p->parents[parent], job_parent(p, j), str_of("id"));
		add(to, size, " %.*s", (int)id.n, id.s);
	}
	if (w != WINDOW_NONE && !j->empty) {
		time_format(j->from, from);
		time_format(j->to, until);
		add(to, size, " %.19s %.19s", from, until);
	}
	add(to, size, "%s%s%s%s%s\n", j->empty ? " empty" : "", j->first ? " first" : "", j->closes ? " closes" : "",
	    j->last ? " last" : "", j->open && !j->empty ? " open" : "");
}

struct plan_case {
	const char *name, *select, *syncing, *start, *end, *now, *jobs;
};

static const struct plan_case plan_cases[] = {
	{"lists in the table's order", "iam_users,warehouses", "", "2021-01-01", NULL, "2021-03-10",
	 "warehouses first closes last\n"
	 "iam_users first closes last\n"},
	{"parents move before children, quietly if not selected",
	 "source_connected_warehouses,sources,destination_subscriptions", "destination_subscriptions", "2021-01-01",
	 NULL, "2021-03-10",
	 "quiet destinations first closes last\n"
	 "WAIT\n"
	 "destination_subscriptions d first\n"
	 "destination_subscriptions e closes last\n"
	 "sources first closes last\n"
	 "WAIT\n"
	 "source_connected_warehouses s first\n"
	 "source_connected_warehouses t closes last\n"},
	{"months of a leap year, until a month's first instant", "usage_mtu_workspace_daily", "",
	 "2024-02-29T23:59:59Z", "2024-04-01", "2024-05-05",
	 "usage_mtu_workspace_daily 2024-01-01T00:00:00 2024-02-01T00:00:00 first closes\n"
	 "usage_mtu_workspace_daily 2024-02-01T00:00:00 2024-03-01T00:00:00 closes\n"
	 "usage_mtu_workspace_daily 2024-03-01T00:00:00 2024-04-01T00:00:00 closes last\n"},
	{"months over the turn of a year, a microsecond into the last", "usage_mtu_workspace_daily", "", "2021-01-01",
	 NULL, "2021-02-01T00:00:00.000001Z",
	 "usage_mtu_workspace_daily 2020-12-01T00:00:00 2021-01-01T00:00:00 first closes\n"
	 "usage_mtu_workspace_daily 2021-01-01T00:00:00 2021-02-01T00:00:00 closes\n"
	 "usage_mtu_workspace_daily 2021-02-01T00:00:00 2021-02-01T00:00:00 closes last\n"},
	{"months from the first year on", "usage_mtu_workspace_daily", "", "0001-01-15", "0001-02-01", "2021-02-01",
	 "usage_mtu_workspace_daily 0001-01-01T00:00:00 0001-02-01T00:00:00 first closes last\n"},
	{"days times parents, over a leap day; those without sourceId not", "destination_delivery_metrics_summary", "",
	 "2024-02-28T10:00:00Z", NULL, "2024-03-01T00:00:00Z",
	 "quiet destinations first closes last\n"
	 "WAIT\n"
	 "destination_delivery_metrics_summary e 2024-02-28T00:00:00 2024-02-29T00:00:00 first closes\n"
	 "destination_delivery_metrics_summary e 2024-02-29T00:00:00 2024-03-01T00:00:00 closes last\n"},
	{"days not before the 13th ago", "destination_delivery_metrics_summary", "", "2021-01-01", "2021-02-27",
	 "2021-03-10T23:59:59Z",
	 "quiet destinations first closes last\n"
	 "WAIT\n"
	 "destination_delivery_metrics_summary e 2021-02-25T00:00:00 2021-02-26T00:00:00 first closes\n"
	 "destination_delivery_metrics_summary e 2021-02-26T00:00:00 2021-02-27T00:00:00 closes last\n"},
	{"days all too old", "destination_delivery_metrics_summary", "", "2021-01-01", "2021-02-25", "2021-03-10",
	 "quiet destinations first closes last\n"
	 "WAIT\n"
	 "destination_delivery_metrics_summary empty first closes last\n"},
	{"spans of 30 days, the last one open", "audit_events", "", "2021-01-01T06:00:00Z", NULL, "2021-03-10",
	 "audit_events 2021-01-01T06:00:00 2021-01-31T06:00:00 first closes\n"
	 "audit_events 2021-01-31T06:00:00 2021-03-02T06:00:00 closes\n"
	 "audit_events 2021-03-02T06:00:00 2021-03-10T00:00:00 closes last open\n"},
	{"spans to end_date, exactly", "audit_events", "", "2021-01-01", "2021-03-02", "2021-03-10",
	 "audit_events 2021-01-01T00:00:00 2021-01-31T00:00:00 first closes\n"
	 "audit_events 2021-01-31T00:00:00 2021-03-02T00:00:00 closes last\n"},
	{"end_date in the future: no open end", "audit_events", "", "2021-03-01", "2022-01-01", "2021-03-10",
	 "audit_events 2021-03-01T00:00:00 2021-03-10T00:00:00 first closes last\n"},
	{"months to the microsecond before now", "usage_mtu_workspace_daily", "", "2021-03-01", NULL, "2021-03-01",
	 "usage_mtu_workspace_daily 2021-02-01T00:00:00 2021-03-01T00:00:00 first closes last\n"},
	{"since is now", "audit_events", "", "2021-03-10", NULL, "2021-03-10",
	 "audit_events empty first closes last\n"},
	{"since in the future: parents are not needed", "destination_delivery_metrics_summary,iam_users", "",
	 "2021-03-11", NULL, "2021-03-10",
	 "iam_users first closes last\n"
	 "destination_delivery_metrics_summary empty first closes last\n"},
	{"nothing selected", "!*", "", "2021-01-01", NULL, "2021-03-10", ""},
};

/* Two parents, of which the second alone has a sourceId, and what follows from them for the children. */
static void fill_parents(struct plan *p, size_t stream)
{
	static const char *const ids[2][2] = {{"s", "t"}, {"d", "e"}};
	struct parents *parents = &p->parents[stream];
	size_t row, i;

	for (row = 0; row < 2; row++) {
		struct str values[HANDED_NAMES];
		for (i = 0; i < parents->handed.count; i++)
			values[i] = str_of(str_is(parents->handed.name[i], "id") ? ids[stream != 0][row]
					   : row                                 ? "s"
										 : "");
		if (!parent_add(parents, values))
			abort();
	}
	parents->whole = true;
	for (i = 0; i < p->entries; i++)
		if (parent_of(p->order[i].stream) == stream &&
		    !targets_make(&p->targets[p->order[i].stream], p->order[i].stream, parents, 7))
			abort();
}

static void test_plan(const struct plan_case *c)
{
	struct scenario s = {.select = c->select, .start = c->start, .end = c->end, .now = c->now};
	static struct outcome unused;
	struct sync_options opt = options_of(&s, &unused);
	static struct plan plan;
	struct job j;
	uint64_t rank = 0;
	bool grows = true;
	char text[4096] = "";
	size_t i;

	prepare(&s);
	memset(&plan, 0, sizeof plan);
	plan.opt = &opt;
	for (i = 0; i < STREAMS; i++)
		plan.since[i].us = opt.start_us;
	plan_order(&plan, pristine, str_of(c->syncing));
	for (i = 0; i < plan.entries;) {
		enum plan_answer answer = plan_next(&plan, &plan.order[i], &j);
		if (answer == PLAN_JOB) {
			add_job(text, sizeof text, &j, &plan);
			grows = grows && j.rank > rank;
			rank = j.rank;
		} else if (answer == PLAN_WAITS) {
			add(text, sizeof text, "WAIT\n");
			fill_parents(&plan, parent_of(plan.order[i].stream));
		} else {
			i++;
		}
	}
	check_text(text, c->jobs, c->name);
	check(grows, "%s: ranks grow", c->name);
	for (i = 0; i < STREAMS; i++) {
		json_out_free(&plan.parents[i].packed);
		targets_free(&plan.targets[i]);
	}
}

/* ---- The table ---- */

/* What rows of a stream have: the fields of its schema, with those that the tap adds. */
static bool stream_has(size_t stream, struct str field)
{
	struct arena own = {NULL, 0, 0};
	struct json_error bad;
	struct json schema;
	bool has = json_parse(&own, schema_of(stream).s, schema_of(stream).n, &schema, &bad) &&
		   json_member(json_get(schema, "properties"), field).node;

	arena_free(&own);
	return has;
}

/* The names in a template that are none of these and no field of the parent's; the first of them, or none. */
static struct str wrong_name(const struct stream *s, const char *text, const char *const allowed[])
{
	size_t parent = stream_named(str_of(s->singer.parent)), i;
	struct str plain, name;

	while (template_next(&text, &plain, &name)) {
		for (i = 0; allowed[i] && !str_is(name, allowed[i]); i++)
			;
		if (name.n && !allowed[i] && (parent == STREAMS || !stream_has(parent, name)))
			return name;
	}
	return str_of("");
}

static void check_names(size_t stream)
{
	static const char *const in_path[] = {"each", NULL}, *const in_query[] = {"from", "to", "month", "each", NULL},
				 *const in_add[] = {"from", "each", NULL};
	const struct stream *s = &streams[stream];
	struct str wrong = wrong_name(s, s->path, in_path);
	size_t i;

	for (i = 0; s->query && s->query[i].name; i++)
		wrong = wrong.n ? wrong : wrong_name(s, s->query[i].value, in_query);
	for (i = 0; s->add && s->add[i].name; i++) {
		const char *value = s->add[i].value;
		if (strncmp(value, "{.", 2) != 0)
			wrong = wrong.n ? wrong : wrong_name(s, value, in_add);
		if (!stream_has(stream, str_of(s->add[i].name)))
			wrong = str_of(s->add[i].name);
		if (value[0] != '{' || value[strlen(value) - 1] != '}')
			wrong = str_of(value);
	}
	check(!wrong.n, "the table: %s: every {name} is known, every added field in the schema: %.*s", s->singer.name,
	      str_width(wrong, 40), wrong.s);
}

static bool keys_in_schema(size_t stream)
{
	const struct singer_stream *s = &streams[stream].singer;
	const char *const *unique = unique_of(stream);
	bool good = s->key[0] && unique[0];
	size_t i;

	for (i = 0; s->key[i]; i++)
		good = good && stream_has(stream, str_of(s->key[i]));
	good = good && i <= SINGER_KEYS;
	for (i = 0; unique[i]; i++)
		good = good && stream_has(stream, str_of(unique[i]));
	good = good && i <= SINGER_KEYS;
	return good && (!s->replication_key || stream_has(stream, str_of(s->replication_key)));
}

static bool is_one_of(unsigned number, const unsigned *numbers, size_t count)
{
	while (count && numbers[count - 1] != number)
		count--;
	return count;
}

static void test_table(void)
{
	/* No others stand in the API's documentation; 0: no pages, and no limit of its own. */
	static const unsigned page_sizes[] = {0, 100, 200, 1000}, rates[] = {0, 2, 25, 50, 60, 200};
	size_t i, k;

	for (i = 0; i < STREAMS; i++) {
		const struct stream *s = &streams[i];
		size_t parent = parent_of(i);
		struct names used = {.count = 0};
		check_names(i);
		names_of(i, &used);
		check(s->path && s->rows && s->accept && s->needs && keys_in_schema(i), "the table: %s is complete",
		      s->singer.name);
		check((s->window != WINDOW_NONE) == (s->singer.replication_key != NULL) && (s->window || !s->settle_s),
		      "the table: %s has a window just where it has a replication key", s->singer.name);
		check(s->shape != ROWS_OBJECT || !s->page_rows, "the table: %s: one object has no pages",
		      s->singer.name);
		check((s->shape == ROWS_SERIES) == (s->series != NULL), "the table: %s: a series is named",
		      s->singer.name);
		check(s->page_rows <= (s->page_most ? s->page_most : LARGEST_PAGE) &&
			      is_one_of(s->page_rows, page_sizes, countof(page_sizes)),
		      "the table: %s: page size", s->singer.name);
		check(is_one_of(s->per_minute, rates, countof(rates)), "the table: %s: requests a minute",
		      s->singer.name);
		check(!s->singer.parent == !used.count && (!s->singer.parent || parent < i),
		      "the table: %s stands behind its parent, and uses it", s->singer.name);
		for (k = 0; k < i; k++)
			if (strcmp(streams[k].singer.name, s->singer.name) == 0)
				break;
		check(k == i, "the table: %s is there once", s->singer.name);
	}
}

/* ---- Small parts ---- */

static void test_time(void)
{
	static const struct {
		const char *time, *day, *month, *next, *before;
	} cases[] = {
		{"2021-03-10T12:00:00Z", "2021-03-10", "2021-03-01", "2021-04-01", "2021-02-01"},
		{"2024-02-29T23:59:59.999999Z", "2024-02-29", "2024-02-01", "2024-03-01", "2024-01-01"},
		{"2100-02-28T00:00:00Z", "2100-02-28", "2100-02-01", "2100-03-01", "2100-01-01"},
		{"2021-01-31T00:00:00Z", "2021-01-31", "2021-01-01", "2021-02-01", "2020-12-01"},
		{"2021-12-31T23:59:59Z", "2021-12-31", "2021-12-01", "2022-01-01", "2021-11-01"},
		{"1969-12-31T23:59:59.999999Z", "1969-12-31", "1969-12-01", "1970-01-01", "1969-11-01"},
		{"1970-01-01T00:00:00Z", "1970-01-01", "1970-01-01", "1970-02-01", "1969-12-01"},
		{"0001-01-31T06:00:00Z", "0001-01-31", "0001-01-01", "0001-02-01", "0001-01-01"},
	};
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		int64_t us = instant(cases[i].time, NULL), month = month_start(us);
		check(day_start(us) == instant(cases[i].day, NULL) && month == instant(cases[i].month, NULL) &&
			      month_next(month) == instant(cases[i].next, NULL) &&
			      month_before(month) == instant(cases[i].before, NULL),
		      "day, month, next month, month before of %s", cases[i].time);
	}
}

static void test_encoding(void)
{
	static const struct {
		const char *text;
		size_t length;
		const char *encoded;
	} cases[] = {
		{"aZ09-._~", 8, "aZ09-._~"},
		{"Mw==", 4, "Mw%3D%3D"},
		{"a/b?c&d#e+ %", 12, "a%2Fb%3Fc%26d%23e%2B%20%25"},
		{"\xc3\xa9\x7f\xff", 4, "%C3%A9%7F%FF"},
		{"\0\n", 2, "%00%0A"},
		{".", 1, "%2E"},
		{"..", 2, "%2E%2E"},
		{"...", 3, "..."},
		{"", 0, ""},
	};
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		struct json_out out = {0};
		put_encoded(&out, (struct str){cases[i].text, cases[i].length});
		json_put(&out, (struct str){"", 1});
		check_text(out.bytes, cases[i].encoded, "percent-encoding");
		json_out_free(&out);
	}
}

/* The rest of a page that was cut stands behind it, and must not be looked at. */
static void test_titles(void)
{
	static const struct {
		const char *page;
		size_t left; /* bytes of the page that don't belong to the body */
		const char *title;
	} cases[] = {
		{"<html><title>No entry</title>", 0, "No entry"},
		{" <TITLE> No entry\n</title>", 0, "No entry"},
		{"<title>", 0, ""},
		{"<title>x", 0, "x"},
		{"<title>x<", 1, "x"},
		{"<title>x", 1, ""},
		{"<title>x", 2, ""},
		{"<html>", 0, ""},
		{"<", 0, ""},
		{"<html>", 6, NULL},
		{"No entry<title>x</title>", 0, NULL},
		{"", 0, NULL},
	};
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		struct str body = {cases[i].page, strlen(cases[i].page) - cases[i].left}, title;
		bool is_page = html_title(body, &title);
		check(cases[i].title ? is_page && str_is(title, cases[i].title) : !is_page && !title.n,
		      "title of %s, cut by %zu", cases[i].page, cases[i].left);
	}
}

/* What to do about an answer that has no rows. */
static void test_advice(void)
{
#define FIELD(name) "{\"errors\":[{\"field\":\"" name "\"}]}"
	static const struct {
		int status;
		const char *body, *of_list, *of_days; /* the advice for a stream without a window and for one with it */
	} cases[] = {
		{200, "", "it was asked three times; run again later", NULL},
		{201, "", "run again later", NULL},
		{299, "", "run again later", NULL},
		{300, "", "check region as well", NULL},
		{399, "", "check region as well", NULL},
		{400, "", "run again later", NULL},
		{400, "{\"errors\":[{}]}", "check page_size", "check start_date, end_date and page_size"},
		{400, FIELD("period"), "check start_date", NULL},
		{400, FIELD("startTime"), "check start_date", NULL},
		{422, FIELD("endTime"), "check end_date", NULL},
		{422, FIELD("pagination"), "check page_size", NULL},
		{422, FIELD("pagination.count"), "check page_size", NULL},
		{422, FIELD("x"), "run again later, and report it if it stays", NULL},
		{403, FIELD("period"), "run again later", NULL},
		{404, "", "check base_url and region", NULL},
		{405, "", "run again later", NULL},
		{423, FIELD("period"), "run again later", NULL},
	};
	const struct stream *windowed = streams;
	size_t i;

	while (windowed->window == WINDOW_NONE)
		windowed++;
	for (i = 0; i < countof(cases); i++) {
		struct http_response a = {.outcome = HTTP_DONE, .status = cases[i].status, .body = cases[i].body};
		struct page first = {.answer = &a, .first = true}, later = {.answer = &a};
		a.length = strlen(a.body);
		check_text(advice(streams, &first), cases[i].of_list, cases[i].body);
		check_text(advice(windowed, &first), cases[i].of_days ? cases[i].of_days : cases[i].of_list,
			   "... and by days");
		check(a.status != 404 || strcmp(advice(streams, &later), "run again later") == 0,
		      "status %d of a later page", a.status);
		a.outcome = HTTP_TOO_LARGE;
		check_text(advice(streams, &first), "a smaller page_size may help; if not, report it",
			   "an answer over a limit");
		a.outcome = HTTP_BROKEN;
		check(a.status == 400 || a.status == 422 || strcmp(advice(streams, &first), "run again later") == 0,
		      "status %d of an answer that is not whole", a.status);
	}
#undef FIELD
}

static void test_pause(void)
{
	static const struct {
		const char *body;
		int64_t ms;
	} cases[] = {
		{"{\"errors\":[{\"type\":\"RequestError\",\"data\":{\"remainingPoints\":0,\"msBeforeNext\":57647}}]}",
		 57647},
		{"{\"errors\":[{\"data\":{\"msBeforeNext\":0}},{\"data\":{\"msBeforeNext\":9}}]}", 0},
		{"{\"errors\":[{\"data\":{\"msBeforeNext\":-5}}]}", -1},
		{"{\"errors\":[{\"data\":{\"msBeforeNext\":1.5}}]}", 2},
		{"{\"errors\":[{\"data\":{\"msBeforeNext\":1.5e3}}]}", -1},
		{"{\"errors\":[{\"data\":{\"msBeforeNext\":1E9}}]}", -1},
		{"{\"errors\":[{\"data\":{\"msBeforeNext\":0.125}}]}", 1},
		{"{\"errors\":[{\"data\":{\"msBeforeNext\":2.0}}]}", 3},
		{"{\"errors\":[{\"data\":{\"msBeforeNext\":\"9\"}}]}", -1},
		{"{\"errors\":[{\"data\":{\"msBeforeNext\":99999999999999999999}}]}", INT64_C(1) << 53},
		{"{\"errors\":[{\"data\":null}]}", -1},
		{"{\"errors\":[]}", -1},
		{"{\"errors\":{\"data\":{\"msBeforeNext\":1}}}", -1},
		{"[]", -1},
		{"", -1},
		{"<html>", -1},
	};
	size_t i;

	for (i = 0; i < countof(cases); i++)
		check(segment_pause_ms(cases[i].body, strlen(cases[i].body)) == cases[i].ms, "msBeforeNext of %s",
		      cases[i].body);
}

/* ---- Page ---- */

/* A page whose rows are these, with some value of so many bytes wherever %s stands. */
/* A window of whole days ends a minute after midnight at the earliest; the one asked for as a sample is the last. */
static void test_sample_window(void)
{
	struct sync_options options = {.now_us = INT64_C(20000) * DAY_US + 60 * SECOND_US};

	check(sample_window(&options, WINDOW_DAYS) == INT64_C(19999) * DAY_US,
	      "yesterday, from a minute after midnight on");
	options.now_us--;
	check(sample_window(&options, WINDOW_DAYS) == INT64_C(19998) * DAY_US, "the day before until then");
}

static void test_shapes(void)
{
	static const struct {
		const char *stream, *rows;
		int long_value;
		const char *wrong;
	} cases[] = {
		{"invites", "'a',1", 0, "holds a row that is no text"},
		{"warehouses", "{'id':'a'},1", 0, "holds a row that is no object"},
		{"sources", "{'id':'%s'}", (64 << 10) + 1, "holds an id of more than 64 KiB"},
		{"sources", "{'id':'%s'}", (64 << 10) - 2, ""},
		{"events_volume_daily", "{'series':{}}", 0, "holds a row whose series is no list"},
		{"events_volume_daily", "{'series':[1]}", 0,
		 "holds a series with an element that is neither an object nor a text"},
		{"events_volume_daily", "{'series':[{}]}", 0, ""},
		{"sources", "],'x':[", -(64 << 10) - 1, "has a cursor of more than 64 KiB beside it"},
	};
	size_t i, k;

	for (i = 0; i < countof(cases); i++) {
		const struct stream *stream = streams;
		struct names handed = {0};
		struct http_response answer = {.status = 200};
		struct page page = {.answer = &answer};
		static char value[100000], rows[110000], body[300000];
		bool in_cursor = cases[i].long_value < 0;
		int n = in_cursor ? -cases[i].long_value : cases[i].long_value;
		while (strcmp(stream->singer.name, cases[i].stream) != 0)
			stream++;
		memset(value, 'v', (size_t)n);
		value[n] = '\0';
		names_add(&handed, str_of("id"));
		snprintf(rows, sizeof rows, cases[i].rows, value);
		answer.length = (size_t)snprintf(
			body, sizeof body, "{'data':{'%s':[%s],'pagination':{'current':'a'%s%s%s}}}", stream->rows,
			rows, in_cursor ? ",'next':'" : "", in_cursor ? value : "", in_cursor ? "'" : "");
		for (k = 0; k < answer.length; k++)
			if (body[k] == '\'')
				body[k] = '"';
		answer.body = body;
		page_read(&page, stream, &handed);
		check(*cases[i].wrong ? strstr(page.wrong.text, cases[i].wrong) != NULL : !*page.wrong.text,
		      "%s: %.40s: %s", cases[i].stream, cases[i].rows, page.wrong.text);
		arena_free(&page.tape);
	}
}

/* ---- Probe ---- */

struct probe_case {
	const char *name, *select, *start;
	struct fake_answer answers[12];
	enum sync_result result;
	const char *table, *messages;
	const char *reason; /* for the last line */
};

static const struct probe_case probe_cases[] = {
	{.name = "one request a stream and one a list of parents",
	 .select = "sources,source_connected_warehouses,destination_delivery_metrics_summary,usage_mtu_workspace_daily,"
		   "audit_events,transformations",
	 .start = "2022-01-01",
	 .answers = {{"/sources?pagination.count=1", 200, MORE("sources", "{'id':'a'}", "2")},
		     {"/destinations?pagination.count=1", 200, ROWS("destinations", "{'id':'d','sourceId':'s'}")},
		     {"/sources/a/connected-warehouses?pagination.count=1", 200, ROWS("warehouses", "{'id':'w'}")},
		     {DELIVERY("d", "s", "2021-03-09", END), 200, DELIVERED("s")},
		     {"/usage/mtu/daily?period=2021-03-01&pagination.count=1", 200, "[]"},
		     {"/usage/mtu/daily?period=2021-03-01&pagination.count=1", 200, ROWS("dailyWorkspaceMTUUsage", "")},
		     {"/audit-events?startTime=2021-02-08T11:59:59.000Z&pagination.count=1", 403, REFUSED},
		     {"/transformations?pagination.count=1", -HTTP_BROKEN, ""}},
	 .result = SYNC_PARTLY,
	 .table = "yes 200 sources: id=a\n"
		  "yes 200 source_connected_warehouses: sourceId=a\n"
		  "yes 200 usage_mtu_workspace_daily: no rows\n"
		  "no 403 audit_events: needs the audit trail, which is part of the Business plan (No such thing; "
		  "not-found; field id)\n"
		  "error 0 transformations: GET /path: the connection broke\n"
		  "yes 200 destination_delivery_metrics_summary: destinationId=d\n",
	 .messages = "SCHEMA sources\n"
		     "sources {'id':'a'}\n"
		     "SCHEMA source_connected_warehouses\n"
		     "source_connected_warehouses {'id':'w','sourceId':'a'}\n"
		     "SCHEMA usage_mtu_workspace_daily\n"
		     "SCHEMA audit_events\n"
		     "SCHEMA transformations\n"
		     "SCHEMA destination_delivery_metrics_summary\n"
		     "destination_delivery_metrics_summary {'destinationId':'d','destinationMetadataId':'m',"
		     "'sourceId':'s','timestamp':'2021-03-09T00:00:00.000000Z'}\n",
	 .reason = "audit_events: needs the audit trail, which is part of the Business plan (No such thing; not-found; "
		   "field id)"},
	{.name = "no parent to ask for",
	 .select = "source_connected_warehouses,destination_subscriptions",
	 .answers = {{"/sources?pagination.count=1", 200, "{'data':{'sources':{'id':'a'}}}"},
		     {"/destinations?pagination.count=1", 403, REFUSED}},
	 .result = SYNC_PARTLY,
	 .table = "error 0 source_connected_warehouses: needs the list of sources, which can't be read\n"
		  "no 0 destination_subscriptions: needs the list of destinations, which can't be read\n",
	 .messages = "SCHEMA source_connected_warehouses\n"
		     "SCHEMA destination_subscriptions\n",
	 .reason = "sources: not of the expected shape: data.sources is not a list"},
	{.name = "a token that is refused everywhere",
	 .select = "sources,iam_users",
	 .answers = {{"/sources?pagination.count=1", 401, REFUSED},
		     {"/users?pagination.count=1", 401, REFUSED},
		     {"/", 401, REFUSED}},
	 .result = SYNC_REFUSED,
	 .table = "untried 0 sources: not tried\nuntried 0 iam_users: not tried\n",
	 .messages = "",
	 .reason = "the API refuses the token: GET /: status 401 (No such thing; not-found; field id); check "
		   "api_token, and that region is the workspace's"},
	{.name = "a token that may not read one list",
	 .select = "sources,iam_users",
	 .answers = {{"/sources?pagination.count=1", 200, ROWS("sources", "{'id':'a'}")},
		     {"/users?pagination.count=1", 401, REFUSED},
		     {"/", 200, "{}"}},
	 .result = SYNC_PARTLY,
	 .table = "yes 200 sources: id=a\nno 401 iam_users: needs a token that may read users, a workspace owner's say "
		  "(No "
		  "such thing; not-found; field id)\n",
	 .messages = "SCHEMA sources\n"
		     "sources {'id':'a'}\n"
		     "SCHEMA iam_users\n",
	 .reason = "iam_users: needs a token that may read users, a workspace owner's say (No such thing; not-found; "
		   "field id)"},
	{.name = "statuses that refuse, and a row that does not fit",
	 .select = "sources,warehouses,iam_groups",
	 .answers = {{"/sources?pagination.count=1", 422, REFUSED},
		     {"/warehouses?pagination.count=1", 404, ""},
		     {"/groups?pagination.count=1", 200, ROWS("userGroups", "{'name':'g'}")}},
	 .result = SYNC_PARTLY,
	 .table = "error 422 sources: refused (No such thing; not-found; field id)\n"
		  "error 404 warehouses: refused\n"
		  "yes 200 iam_groups: id=; stream iam_groups: a row with id : id is missing, but it belongs to the "
		  "key or "
		  "dates the row\n",
	 .messages = "SCHEMA sources\nSCHEMA warehouses\nSCHEMA iam_groups\n",
	 .reason = "sources: refused (No such thing; not-found; field id)"},
	{.name = "a child of a list without rows",
	 .select = "source_connected_warehouses",
	 .answers = {{"/sources?pagination.count=1", 200, ROWS("sources", "")}},
	 .result = SYNC_DONE,
	 .table = "untried 0 source_connected_warehouses: not tried: no row of sources to ask for\n",
	 .messages = "SCHEMA source_connected_warehouses\n",
	 .reason = ""},
	{.name = "yesterday of a stream that has whole days",
	 .select = "events_volume_daily",
	 .answers = {{"/sources?pagination.count=1", 200, ROWS("sources", "{'id':'a'}")},
		     {"/events/volume?sourceId.0=a&startTime=2021-03-09T00:00:00.000Z&endTime=2021-03-10T00:00:00.000Z"
		      "&granularity=DAY&groupBy.0=source&groupBy.1=eventName&groupBy.2=eventType&pagination.count=1",
		      200, ROWS("result", "")}},
	 .result = SYNC_DONE,
	 .table = "yes 200 events_volume_daily: no rows\n",
	 .messages = "SCHEMA events_volume_daily\n",
	 .reason = ""},
	{.name = "a host that can't be reached",
	 .select = "sources",
	 .answers = {{"/sources?pagination.count=1", -HTTP_UNREACHABLE, ""}},
	 .result = SYNC_LATER,
	 .table = "untried 0 sources: not tried\n",
	 .messages = "",
	 .reason = "sources: GET /path: the connection broke"},
	{.name = "a 401 that nothing can be told of",
	 .select = "iam_users",
	 .answers = {{"/users?pagination.count=1", 401, REFUSED}, {"/", 503, ""}},
	 .result = SYNC_LATER,
	 .table = "error 401 iam_users: refused; whether the token is good can't be told (No such thing; not-found; "
		  "field id)\n",
	 .messages = "SCHEMA iam_users\n",
	 .reason = "no request was answered as it should be: iam_users: refused; whether the token is good can't be "
		   "told (No such thing; not-found; field id)"},
	{.name = "a parent's first row without its id",
	 .select = "events_volume_daily",
	 .answers = {{"/sources?pagination.count=1", 200, ROWS("sources", "{'name':'a'}")}},
	 .result = SYNC_DONE,
	 .table = "untried 0 events_volume_daily: not tried: no row of sources to ask for\n",
	 .messages = "SCHEMA events_volume_daily\n",
	 .reason = ""},
};

static void probe(const struct probe_case *c, struct outcome *o, char *table, size_t size)
{
	struct scenario s = {.select = c->select, .start = c->start};
	struct singer singer = {.fd = out_file};
	struct state state = {.arena = &arena};
	struct sync_options options = options_of(&s, o);
	static const char *const access[] = {"untried", "yes", "no", "error"};
	struct probe probes[STREAMS];
	size_t i;

	prepare(&s);
	memcpy(selection, pristine, sizeof selection);
	options.sample = probes;
	fake.answers = c->answers;
	fake.make = NULL;
	fake.received_us = options.now_us;
	fake_reset(&fake);
	log_catch();
	o->result = streams_sync(&fake, &singer, &state, selection, &options);
	log_caught(o);
	singer_flush(&singer);
	json_out_free(&singer.out);
	read_messages(o, out_file);
	*table = '\0';
	for (i = 0; i < STREAMS; i++)
		if (pristine[i].selected)
			add(table, size, "%s %d %s: %s\n", access[probes[i].access], probes[i].status, stream_name(i),
			    probes[i].text);
}

static void test_probe(const struct probe_case *c)
{
	static struct outcome o;
	bool same = true;
	char table[4096];

	for (fake.connections = 1; fake.connections <= 8; fake.connections *= 8)
		for (fake.seed = 0; fake.seed < 4; fake.seed++) {
			probe(c, &o, table, sizeof table);
			if (same && o.result == c->result && fake.started == fake.released &&
			    strcmp(table, c->table) == 0 && strcmp(o.messages, c->messages) == 0 && !*o.warnings &&
			    strcmp(o.totals.reason.text, c->reason) == 0)
				continue;
			same = false;
			show("table", table);
			show("messages", o.messages);
			show("log", o.warnings);
			show("reason", o.totals.reason.text);
		}
	check(same, "--test: %s", c->name);
}

int main(void)
{
	size_t i;

	out_file = scratch_file();
	log_file = scratch_file();
	for (i = 0; i < countof(scenarios); i++)
		test_scenario(&scenarios[i]);
	test_workspace();
	test_stop();
	test_no_memory();
	test_all_holes();
	test_circles();
	test_cut_chain();
	test_chain_memory();
	test_memory();
	test_connections();
	test_parallel();
	test_log();
	test_notice();
	test_output();
	for (i = 0; i < countof(plan_cases); i++)
		test_plan(&plan_cases[i]);
	test_table();
	test_time();
	test_encoding();
	test_titles();
	test_advice();
	test_pause();
	test_shapes();
	test_sample_window();
	for (i = 0; i < countof(probe_cases); i++)
		test_probe(&probe_cases[i]);
	fake_reset(&fake);
	arena_free(&arena);
	return check_done();
}
