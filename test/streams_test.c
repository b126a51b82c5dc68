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
	const char *name, *select;             /* streams, separated by commas */
	const char *state, *start, *end, *now; /* NULL: none, 2021-01-01, none, 2021-03-10T12:00:00Z */
	unsigned page_rows;
	bool forbid, full_table; /* fail_on_forbidden; the user's wish for every stream */
	struct fake_answer answers[24];
	bool (*make)(const char *path, struct fake_answer *);
	enum sync_result result;
	const char *messages; /* what is written, a line each: see brief */
	const char *log;      /* warnings and worse */
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
	char messages[1 << 16]; /* in brief */
	char warnings[1 << 13]; /* warnings and worse */
	char log[1 << 14];      /* all lines of which the order of answers makes no difference */
};

static struct http fake;
static volatile sig_atomic_t stop;
static struct arena arena; /* of one scenario */
static struct selection pristine[STREAMS], selection[STREAMS];

static void add(char *to, size_t size, const char *format, ...)
{
	size_t length = strlen(to);
	va_list args;

	va_start(args, format);
	if ((size_t)vsnprintf(to + length, size - length, format, args) >= size - length)
		abort(); /* the test's buffer is too small */
	va_end(args);
}

static void add_value(char *to, size_t size, struct json v)
{
	struct json_out out = {NULL, 0, 0, false};
	size_t i;

	json_put_value(&out, v, 0);
	for (i = 0; i < out.length; i++)
		if (out.bytes[i] == '"')
			out.bytes[i] = '\'';
	add(to, size, "%.*s", (int)out.length, out.bytes);
	json_out_free(&out);
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
	} else if (str_is(type, "SCHEMA")) {
		add(to, size, "SCHEMA %.*s\n", (int)stream.n, stream.s);
	} else {
		add(to, size, "%.*s ", (int)stream.n, stream.s);
		add_value(to, size, record);
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

static char *file_text(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *text = malloc((size_t)size + 1);

	if (!text || lseek(fd, 0, SEEK_SET) != 0 || read(fd, text, (size_t)size) != size || ftruncate(fd, 0) != 0 ||
	    lseek(fd, 0, SEEK_SET) != 0)
		abort();
	text[size] = '\0';
	return text;
}

static bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

static void read_messages(struct outcome *o, int fd)
{
	char *text = file_text(fd), *line = text, *end;

	o->messages[0] = '\0';
	for (; (end = strchr(line, '\n')); line = end + 1)
		brief(o->messages, sizeof o->messages, line, (size_t)(end - line));
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

static int64_t instant(const char *text, const char *otherwise)
{
	int64_t us = 0;

	if (!time_parse(str_of(text ? text : otherwise), &us))
		abort();
	return us;
}

static struct sync_options options_of(const struct scenario *s, struct outcome *o)
{
	struct sync_options options = {
		.start_us = instant(s->start, "2021-01-01"),
		.end_us = s->end ? instant(s->end, NULL) : INT64_MAX,
		.now_us = instant(s->now, "2021-03-10T12:00:00Z"),
		.page_rows = s->page_rows,
		.connections = fake.connections,
		.hold = 4 << 20,
		.fail_on_forbidden = s->forbid,
		.stop = &stop,
		.totals = &o->totals,
	};

	return options;
}

/* Selects the scenario's streams; what a run changes is in a copy. */
static void prepare(const struct scenario *s)
{
	const char *rules[] = {s->select, NULL};
	struct json none = {NULL, NULL};
	struct error error;
	size_t i;

	arena_reset(&arena);
	memset(pristine, 0, sizeof pristine);
	for (i = 0; i < STREAMS; i++)
		pristine[i].stream = &streams[i].singer;
	if (!selection_make(pristine, STREAMS, none, rules, false, &arena, &error))
		abort();
	for (i = 0; i < STREAMS; i++)
		pristine[i].full_table = s->full_table;
}

static void run(const struct scenario *s, const char *state_text, struct outcome *o)
{
	static int out = -1, err = -1;
	struct singer singer = {.fd = 1};
	struct state state = {.arena = &arena};
	struct sync_options options = options_of(s, o);
	struct json document = {NULL, NULL};
	struct json_error bad;
	struct error error;
	int saved_err = dup(2);
	char *p;

	if (out < 0) {
		out = scratch_file();
		err = scratch_file();
	}
	if (state_text) {
		char *text = arena_string(&arena, str_of(state_text));
		for (p = text; *p; p++)
			if (*p == '\'')
				*p = '"';
		if (!json_parse(&arena, text, strlen(text), &document, &bad))
			abort();
	}
	if (!state_read(&state, document, &arena, &error))
		abort();
	memcpy(selection, pristine, sizeof selection);
	singer.fd = out;
	stop = 0;
	fake.answers = s->answers;
	fake.make = s->make;
	fake.stop = &stop;
	fake.received_us = options.now_us;
	fake_reset(&fake);
	dup2(err, 2);
	o->result = streams_sync(&fake, &singer, &state, selection, &options);
	dup2(saved_err, 2);
	close(saved_err);
	json_out_free(&singer.out);
	read_messages(o, out);
	read_log(o, err);
}

/* ---- Scenarios: the table ---- */

#define UNANSWERED {NULL, 599, "", HTTP_DONE}

static const struct scenario scenarios[] = {
	/* Lists. */
	{
		.name = "a list of two pages",
		.select = "sources",
		.answers = {{"/sources?" COUNT, 200, MORE("sources", "{'id':'a'},{'id':'b'}", "Mw==")},
			    {"/sources?" COUNT "&pagination.cursor=Mw%3D%3D", 200, ROWS("sources", "{'id':'c'}")}},
		.messages = "STATE null\n"
			    "STATE sources\n"
			    "SCHEMA sources\n"
			    "sources {'id':'a'}\n"
			    "sources {'id':'b'}\n"
			    "sources {'id':'c'}\n"
			    "STATE null\n",
		.log = "",
		.asked = "1 /sources?" COUNT "\n1 /sources?" COUNT "&pagination.cursor=Mw%3D%3D\n",
	},
	{
		.name = "an empty list, one without pagination, one whose next is null, one whose next is empty",
		.select = "warehouses,catalog_sources,iam_users,iam_groups",
		.answers = {{"/warehouses?" COUNT, 200, ROWS("warehouses", "")},
			    {"/catalog/sources?" COUNT, 200, "{'data':{'sourcesCatalog':[{'id':'a'}]}}"},
			    {"/users?" COUNT, 200, "{'data':{'pagination':{'next':null},'users':[{'id':'u'}]}}"},
			    {"/groups?" COUNT, 200, MORE("userGroups", "{'id':'g'}", "")}},
		.messages = "STATE null\n"
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
		.messages = "STATE null\n"
			    "STATE iam_groups\n"
			    "SCHEMA iam_groups\n"
			    "iam_groups {'id':'g'}\n"
			    "STATE null\n",
		.log = "",
	},
	{
		.name = "nothing selected",
		.select = "!*",
		.messages = "STATE null\n"
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
		.messages = "STATE null\n"
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
		.messages = "STATE null\n"
			    "STATE source_connected_destinations\n"
			    "SCHEMA source_connected_destinations\n"
			    "source_connected_destinations {'id':'d','sourceId':'a'}\n"
			    "STATE source_connected_warehouses\n"
			    "SCHEMA source_connected_warehouses\n"
			    "source_connected_warehouses {'id':'w','sourceId':'a'}\n"
			    "STATE destination_subscriptions\n"
			    "SCHEMA destination_subscriptions\n"
			    "destination_subscriptions {'id':'s','destinationId':'d'}\n"
			    "STATE null\n",
		.log = "",
		.asked = "1 /sources?" COUNT "\n"
			 "2 /sources/a/connected-destinations?pagination.count=100\n"
			 "3 /sources/a/connected-warehouses?" COUNT "\n"
			 "4 /destinations?pagination.count=100\n"
			 "5 /destinations/d/subscriptions?" COUNT "\n",
	},
	{
		.name = "no parents: SCHEMA and STATE all the same",
		.select = "source_connected_destinations,iam_users",
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "")},
			    {"/users?" COUNT, 200, ROWS("users", "{'id':'u'}")}},
		.messages = "STATE null\n"
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
			    {"/users?" COUNT, 200, ROWS("users", "")}},
		.result = SYNC_PARTLY,
		.messages = "STATE null\n"
			    "STATE iam_users\n"
			    "SCHEMA iam_users\n"
			    "STATE null\n",
		.log = "",
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
		.messages = "STATE source_connected_warehouses\n"
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
		.state = "{'currently_syncing':'sources'}",
		.answers = {{"/warehouses?" COUNT, 200, ROWS("warehouses", "")},
			    {"/users?" COUNT, 200, ROWS("users", "")}},
		.messages = "STATE sources\n"
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
		.messages = "STATE null\n"
			    "STATE warehouses\n"
			    "SCHEMA warehouses\n"
			    "warehouses {'id':'w'}\n"
			    "STATE catalog_sources\n"
			    "STATE iam_users\n"
			    "SCHEMA iam_users\n"
			    "iam_users {'id':'u'}\n"
			    "STATE null\n",
		.log = "",
	},
	{
		.name = "a redirect, a broken connection",
		.select = "warehouses,catalog_sources",
		.answers = {{"/warehouses?" COUNT, 301, ""}, {"/catalog/sources?" COUNT, 0, "", HTTP_BROKEN}},
		.result = SYNC_PARTLY,
		.messages = "STATE null\n"
			    "STATE warehouses\n"
			    "STATE catalog_sources\n"
			    "STATE null\n",
		.log = "",
	},
	{
		.name = "a forbidden list is skipped",
		.select = "transformations,iam_users",
		.answers = {{"/transformations?" COUNT, 403, "<html>"}, {"/users?" COUNT, 200, ROWS("users", "")}},
		.messages = "STATE null\n"
			    "STATE iam_users\n"
			    "SCHEMA iam_users\n"
			    "STATE transformations\n"
			    "STATE null\n",
		.log = "",
	},
	{
		.name = "a forbidden list with fail_on_forbidden",
		.select = "audit_events",
		.forbid = true,
		.end = "2021-01-02",
		.answers = {{"/audit-events?startTime=2020-12-31T23:59:59.000Z&endTime=2021-01-02T00:00:01.000Z"
			     "&pagination.count=1000",
			     403, "{'errors':[{'type':'forbidden','message':'Access denied'}]}"}},
		.result = SYNC_PARTLY,
		.messages = "STATE null\n"
			    "STATE audit_events\n"
			    "STATE null\n",
		.log = "",
	},
	{
		.name = "children of a forbidden list",
		.select = "sources,source_connected_destinations,source_connected_warehouses,iam_users",
		.answers = {{"/sources?" COUNT, 403, REFUSED}, {"/users?" COUNT, 200, ROWS("users", "")}},
		.messages = "STATE null\n"
			    "STATE sources\n"
			    "STATE iam_users\n"
			    "SCHEMA iam_users\n"
			    "STATE null\n",
		.log = "",
	},
	{
		.name = "children of a list that fails after a page",
		.select = "sources,source_connected_warehouses",
		.answers = {{"/sources?" COUNT, 200, MORE("sources", "{'id':'a'}", "2")},
			    {"/sources?" COUNT "&pagination.cursor=2", 503, ""}},
		.result = SYNC_PARTLY,
		.messages = "STATE null\n"
			    "STATE sources\n"
			    "SCHEMA sources\n"
			    "sources {'id':'a'}\n"
			    "STATE null\n",
		.log = "",
	},
	{
		.name = "a row that does not fit: the rows before it stay, the others go on",
		.select = "warehouses,iam_users",
		.answers = {{"/warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'},{'enabled':true},{'id':'x'}")},
			    {"/users?" COUNT, 200, ROWS("users", "{'id':'u'}")}},
		.result = SYNC_PARTLY,
		.messages = "STATE null\n"
			    "STATE warehouses\n"
			    "SCHEMA warehouses\n"
			    "warehouses {'id':'w'}\n"
			    "STATE iam_users\n"
			    "SCHEMA iam_users\n"
			    "iam_users {'id':'u'}\n"
			    "STATE null\n",
		.log = "",
	},
	{
		.name = "no connection at all ends the run",
		.select = "warehouses,iam_users",
		.answers = {{"/warehouses?" COUNT, 0, "", HTTP_UNREACHABLE},
			    {"/users?" COUNT, 0, "", HTTP_UNREACHABLE}},
		.result = SYNC_ENDED,
		.messages = "STATE null\n"
			    "STATE warehouses\n"
			    "STATE warehouses\n",
		.log = "",
	},
	{
		.name = "a refused certificate ends the run, after what came before",
		.select = "warehouses,iam_users",
		.answers = {{"/warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")},
			    {"/users?" COUNT, 0, "", HTTP_UNTRUSTED}},
		.result = SYNC_ENDED,
		.messages = "STATE null\n"
			    "STATE warehouses\n"
			    "SCHEMA warehouses\n"
			    "warehouses {'id':'w'}\n"
			    "STATE iam_users\n"
			    "STATE iam_users\n",
		.log = "",
	},
	/* 401. */
	{
		.name = "401 of a token that works elsewhere is as 403",
		.select = "warehouses,iam_users,iam_groups",
		.answers = {{"/warehouses?" COUNT, 401, REFUSED},
			    {"/", 200, "{'data':{'workspace':{'id':'w'}}}"},
			    {"/users?" COUNT, 200, ROWS("users", "{'id':'u'}")},
			    {"/groups?" COUNT, 401, REFUSED}},
		.messages = "STATE null\n"
			    "STATE warehouses\n"
			    "STATE iam_users\n"
			    "SCHEMA iam_users\n"
			    "iam_users {'id':'u'}\n"
			    "STATE iam_groups\n"
			    "STATE null\n",
		.log = "",
		.asked = "1 /warehouses?" COUNT "\n0 /\n2 /users?" COUNT "\n3 /groups?" COUNT "\n",
	},
	{
		.name = "401 of a token that works nowhere ends the run",
		.select = "warehouses,iam_users",
		.answers = {{"/warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")},
			    {"/users?" COUNT, 401, REFUSED},
			    {"/", 401, "{'errors':[{'type':'unauthorized','message':'Invalid token'}]}"}},
		.result = SYNC_ENDED,
		.messages = "STATE null\n"
			    "STATE warehouses\n"
			    "SCHEMA warehouses\n"
			    "warehouses {'id':'w'}\n"
			    "STATE iam_users\n"
			    "STATE iam_users\n",
		.log = "",
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
		.messages = "STATE null\n"
			    "STATE source_connected_warehouses\n"
			    "SCHEMA source_connected_warehouses\n"
			    "source_connected_warehouses {'id':'w','sourceId':'c'}\n"
			    "source_connected_warehouses {'id':'w','sourceId':'f'}\n"
			    "STATE null\n",
		.log = "",
	},
	{
		.name = "a single forbidden parent with fail_on_forbidden",
		.select = "source_connected_warehouses",
		.forbid = true,
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "{'id':'a'},{'id':'b'}")},
			    {"/sources/a/connected-warehouses?" COUNT, 200, ROWS("warehouses", "")},
			    {"/sources/b/connected-warehouses?" COUNT, 403, REFUSED}},
		.result = SYNC_PARTLY,
		.messages = "STATE null\n"
			    "STATE source_connected_warehouses\n"
			    "SCHEMA source_connected_warehouses\n"
			    "STATE null\n",
		.log = "",
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
		.messages = "STATE null\n"
			    "STATE source_connected_warehouses\n"
			    "STATE iam_users\n"
			    "SCHEMA iam_users\n"
			    "STATE null\n",
		.log = "",
		.asked = "1 /sources?" COUNT "\n"
			 "2 /sources/a/connected-warehouses?" COUNT "\n"
			 "3 /sources/b/connected-warehouses?" COUNT "\n"
			 "4 /sources/c/connected-warehouses?" COUNT "\n"
			 "5 /users?" COUNT "\n",
	},
	{
		.name = "all of two parents forbidden: the stream is skipped",
		.select = "source_connected_warehouses",
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "{'id':'a'},{'id':'b'}")},
			    {"/sources/a/connected-warehouses?" COUNT, 403, REFUSED},
			    {"/sources/b/connected-warehouses?" COUNT, 403, REFUSED}},
		.messages = "STATE null\n"
			    "STATE source_connected_warehouses\n"
			    "STATE null\n",
		.log = "",
	},
	{
		.name = "one parent fails: so does the stream",
		.select = "source_connected_warehouses,iam_users",
		.answers = {{"/sources?" COUNT, 200, ROWS("sources", "{'id':'a'},{'id':'b'},{'id':'c'}")},
			    {"/sources/a/connected-warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")},
			    {"/sources/b/connected-warehouses?" COUNT, 422, REFUSED},
			    {"/sources/c/connected-warehouses?" COUNT, 200, ROWS("warehouses", "{'id':'w'}")},
			    {"/users?" COUNT, 200, ROWS("users", "")}},
		.result = SYNC_PARTLY,
		.messages = "STATE null\n"
			    "STATE source_connected_warehouses\n"
			    "SCHEMA source_connected_warehouses\n"
			    "source_connected_warehouses {'id':'w','sourceId':'a'}\n"
			    "STATE iam_users\n"
			    "SCHEMA iam_users\n"
			    "STATE null\n",
		.log = "",
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
		.messages = "STATE null\n"
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
		.messages = "STATE null\n"
			    "STATE warehouses\n"
			    "STATE catalog_sources\n"
			    "STATE catalog_warehouses\n"
			    "STATE iam_users\n"
			    "STATE iam_groups\n"
			    "STATE transformations\n"
			    "STATE null\n",
		.log = "",
	},
};

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

/* Runs it with this many connections and orders; every outcome has to be that of the first. */
static bool always(const struct scenario *s, const struct outcome *expected)
{
	static const unsigned connections[] = {1, 2, 3, 4, 8, 32};
	static struct outcome o;
	size_t i;

	for (i = 0; i < sizeof connections / sizeof *connections; i++)
		for (fake.seed = 0; fake.seed < 12; fake.seed++) {
			fake.connections = connections[i];
			run(s, s->state, &o);
			if (same_outcome(&o, expected) && fake.started == fake.released &&
			    fake.most_unanswered <= fake.connections + (s->asked != NULL))
				continue;
			printf("# connections %u, seed %u: %zu started, %zu released, %zu at once\n", fake.connections,
			       fake.seed, fake.started, fake.released, fake.most_unanswered);
			show("messages", o.messages);
			show("log", o.log);
			return false;
		}
	return true;
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
	     strcmp(first.warnings, s->log) == 0;
	if (!check(ok, "%s", s->name)) {
		printf("# result %d, expected %d\n", (int)first.result, (int)s->result);
		show("messages", first.messages);
		show("warnings", first.warnings);
	}
	if (s->asked && !check(strcmp(fake.asked, s->asked) == 0, "%s: requests", s->name))
		show("asked", fake.asked);
	check(always(s, &first), "%s: the same for all connections and orders", s->name);
}

int main(void)
{
	size_t i;

	for (i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
		test_scenario(&scenarios[i]);
	arena_free(&arena);
	return check_done();
}
