/* streams.c - the streams of the Segment Public API as a table, the plan of a run, and the walk over it. */
#include "streams.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/schemas.h"

/* ---- Table ---- */

#define V1    "application/vnd.segment.v1+json"
#define BETA  "application/vnd.segment.v1beta+json"
#define ALPHA "application/vnd.segment.v1alpha+json"

/* How long rows are taken to be on their way.  A cautious guess: when a counter is final is documented nowhere. */
enum { AUDIT_SETTLE = 3600, DELIVERY_SETTLE = 6 * 3600, USAGE_SETTLE = 24 * 3600 };

#define NAMED(stream) .name = #stream, .schema = schema_##stream, .schema_length = sizeof schema_##stream
#define LIST(stream)  .singer = {NAMED(stream), .key = {"id"}, .unique_key = {"id"}}, .walk = WALK_LIST
#define USAGE \
	.walk = WALK_MONTHS, .accept = V1, .page_rows = 1000, .settle_s = USAGE_SETTLE, .needs = "access to usage data"

/* Destinations carry their kind with all its actions, so a page of them is megabytes: they come by the hundred. */
/* clang-format off */
const struct stream streams[STREAMS] = {
	{LIST(sources), .path = "/sources", .rows = "sources", .accept = V1, .page_rows = 200,
	 .needs = "access to sources"},
	{.singer = {NAMED(destinations), .key = {"id"}, .unique_key = {"id", "sourceId"}}, .walk = WALK_LIST,
	 .path = "/destinations", .rows = "destinations", .accept = V1, .page_rows = 100,
	 .needs = "access to destinations"},
	{LIST(warehouses), .path = "/warehouses", .rows = "warehouses", .accept = V1, .page_rows = 200,
	 .needs = "access to warehouses"},
	{.singer = {NAMED(source_connected_destinations), .key = {"sourceId"}, .unique_key = {"sourceId", "id"},
		    .parent = "sources"}, .walk = WALK_PARENTS,
	 .path = "/sources/{id}/connected-destinations", .rows = "destinations", .accept = V1, .page_rows = 100,
	 .add = {{"sourceId", "{id}"}},
	 .needs = "access to sources and their destinations"},
	{.singer = {NAMED(source_connected_warehouses), .key = {"sourceId"}, .unique_key = {"sourceId", "id"},
		    .parent = "sources"}, .walk = WALK_PARENTS,
	 .path = "/sources/{id}/connected-warehouses", .rows = "warehouses", .accept = V1, .page_rows = 200,
	 .add = {{"sourceId", "{id}"}},
	 .needs = "access to sources and their warehouses"},
	{.singer = {NAMED(destination_subscriptions), .key = {"destinationId"}, .unique_key = {"destinationId", "id"},
		    .parent = "destinations"}, .walk = WALK_PARENTS,
	 .path = "/destinations/{id}/subscriptions", .rows = "subscriptions", .accept = ALPHA, .page_rows = 200,
	 .needs = "access to destinations and to alpha endpoints"},
	{LIST(catalog_sources), .path = "/catalog/sources", .rows = "sourcesCatalog", .accept = V1, .page_rows = 200,
	 .needs = "access to the catalog"},
	{LIST(catalog_destinations), .path = "/catalog/destinations", .rows = "destinationsCatalog", .accept = V1,
	 .page_rows = 100,
	 .needs = "access to the catalog"},
	{LIST(catalog_warehouses), .path = "/catalog/warehouses", .rows = "warehousesCatalog", .accept = V1,
	 .page_rows = 200,
	 .needs = "access to the catalog"},
	{.singer = {NAMED(usage_api_calls_per_source_daily), .key = {"sourceId"},
		    .unique_key = {"sourceId", "timestamp"}, .replication_key = "timestamp"}, USAGE,
	 .path = "/usage/api-calls/sources/daily?period={month}", .rows = "dailyPerSourceAPICallsUsage"},
	{.singer = {NAMED(usage_api_calls_workspace_daily), .key = {"timestamp"},
		    .unique_key = {"timestamp"}, .replication_key = "timestamp"}, USAGE,
	 .path = "/usage/api-calls/daily?period={month}", .rows = "dailyWorkspaceAPICallsUsage"},
	{.singer = {NAMED(usage_mtu_per_source_daily), .key = {"sourceId"},
		    .unique_key = {"sourceId", "periodStart", "timestamp"}, .replication_key = "timestamp"}, USAGE,
	 .path = "/usage/mtu/sources/daily?period={month}", .rows = "dailyPerSourceMTUUsage"},
	{.singer = {NAMED(usage_mtu_workspace_daily), .key = {"timestamp"},
		    .unique_key = {"periodStart", "timestamp"}, .replication_key = "timestamp"}, USAGE,
	 .path = "/usage/mtu/daily?period={month}", .rows = "dailyWorkspaceMTUUsage"},
	{.singer = {NAMED(destination_delivery_metrics_summary), .key = {"destinationId"},
		    .unique_key = {"destinationId", "sourceId", "timestamp"}, .replication_key = "timestamp",
		    .parent = "destinations"}, .walk = WALK_DAYS,
	 .path = "/destinations/{id}/delivery-metrics?sourceId={sourceId}&startTime={from}&endTime={to}&granularity=DAY",
	 .rows = "deliveryMetricsSummary", .accept = BETA, .settle_s = DELIVERY_SETTLE,
	 .add = {{"destinationId", "{id}"}, {"timestamp", "{from}"}},
	 .needs = "event delivery metrics in the plan, and access to destinations"},
	{.singer = {NAMED(audit_events), .key = {"id"}, .unique_key = {"id"}, .replication_key = "timestamp"},
	 .walk = WALK_SPANS,
	 .path = "/audit-events?startTime={from}&endTime={to}", .rows = "events", .accept = V1, .page_rows = 1000,
	 .settle_s = AUDIT_SETTLE,
	 .needs = "the audit trail, which is part of the Business plan"},
	{LIST(iam_users), .path = "/users", .rows = "users", .accept = V1, .page_rows = 200,
	 .needs = "a token that may read users, a workspace owner's say"},
	{LIST(iam_groups), .path = "/groups", .rows = "userGroups", .accept = V1, .page_rows = 200,
	 .needs = "a token that may read groups, a workspace owner's say"},
	{LIST(transformations), .path = "/transformations", .rows = "transformations", .accept = V1, .page_rows = 200,
	 .needs = "the Protocols feature in the plan"},
};
/* clang-format on */

/* The stream of that name, STREAMS if there is none. */
static size_t stream_named(struct str name)
{
	size_t i;

	for (i = 0; i < STREAMS; i++)
		if (str_is(name, streams[i].singer.name))
			break;
	return i;
}

static const char *stream_name(size_t stream)
{
	return streams[stream].singer.name;
}

/* The stream whose rows are this one's parents, STREAMS if it needs none. */
static size_t parent_of(size_t stream)
{
	return stream_named(str_of(streams[stream].singer.parent));
}

/* ---- Parents ---- */

/* Of a parent's row the children's requests take two fields.  They are kept packed, so that 10,000 destinations are
 * half a megabyte: of each parent its id, then its sourceId (empty where the row has none), each as four bytes of
 * length and the text.  A parent is known by its offset. */

static const char *const parent_fields[] = {"id", "sourceId"};
enum { PARENT_ID, PARENT_SOURCE, PARENT_FIELDS, LENGTH_BYTES = sizeof(uint32_t) };

enum loss { LOSS_NONE, LOSS_FORBIDDEN, LOSS_FAILED };

struct parents {
	struct json_out packed;
	bool whole;                          /* all pages are read: children can be planned */
	enum loss lost;                      /* never will be */
	size_t sourceless, first_sourceless; /* how many have no sourceId, and the first of them */
};

static struct str parent_field(const struct parents *p, size_t parent, int field)
{
	struct str value = {p->packed.bytes + parent, 0};
	uint32_t length;

	for (;; field--) {
		memcpy(&length, value.s, LENGTH_BYTES);
		value.s += LENGTH_BYTES;
		value.n = length;
		if (field == 0)
			return value;
		value.s += length;
	}
}

static size_t parent_after(const struct parents *p, size_t parent)
{
	struct str last = parent_field(p, parent, PARENT_FIELDS - 1);

	return (size_t)(last.s + last.n - p->packed.bytes);
}

/* This parent, or the next one that has what the stream's path asks for. */
static size_t parent_usable(const struct parents *p, size_t parent, size_t stream)
{
	if (strstr(streams[stream].path, "{sourceId}"))
		while (parent < p->packed.length && !parent_field(p, parent, PARENT_SOURCE).n)
			parent = parent_after(p, parent);
	return parent;
}

static bool parent_add(struct parents *p, const struct str value[PARENT_FIELDS])
{
	size_t at = p->packed.length;
	int i;

	for (i = 0; i < PARENT_FIELDS; i++) {
		uint32_t length = (uint32_t)value[i].n; /* a body is far smaller than 4 GiB */
		char bytes[LENGTH_BYTES];
		memcpy(bytes, &length, LENGTH_BYTES);
		json_put(&p->packed, (struct str){bytes, LENGTH_BYTES});
		json_put(&p->packed, value[i]);
	}
	if (!value[PARENT_SOURCE].n && p->sourceless++ == 0)
		p->first_sourceless = at;
	return !p->packed.failed;
}

static void parents_lose(struct parents *p, enum loss loss)
{
	json_out_free(&p->packed);
	memset(p, 0, sizeof *p);
	p->lost = loss;
}

/* ---- Time ---- */

#define SPAN_US   (30 * DAY_US)
#define METRIC_US (60 * SECOND_US) /* between two metric lines of a stream */

/* Delivery metrics by day begin at most 14 days ago, so the oldest day that is whole is 13 days before today. */
#define DELIVERY_REACH_US (14 * DAY_US)

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t later(int64_t a, int64_t b)
{
	return a < b ? b : a;
}

static int64_t day_start(int64_t us)
{
	int64_t into = us % DAY_US;

	return us - into - (into < 0 ? DAY_US : 0);
}

enum { MONTH_LENGTH = 7, DATE_LENGTH = 10 }; /* of a written instant's beginning */

/* By way of text: its first ten characters are the date. */
static int64_t month_start(int64_t us)
{
	char text[TIME_SIZE];
	int64_t start = us;

	time_format(us, text);
	memcpy(text + 8, "01", 2);
	time_parse((struct str){text, DATE_LENGTH}, &start);
	return start;
}

static int64_t month_next(int64_t start)
{
	return month_start(start + 31 * DAY_US);
}

static int64_t month_before(int64_t start)
{
	return month_start(start - 1);
}

static const char *date_text(int64_t us, int length, char text[TIME_SIZE])
{
	time_format(us, text);
	text[length] = '\0';
	return text;
}

/* ---- Plan ---- */

/* Implementation notes.
 *
 * Jobs are yielded in the order in which their rows are to be written: stream by stream, a stream by its windows
 * (months, days, spans; a list is one window), a window by parents.  plan_next computes each from the table, the
 * selection, the state, the options and the parents read so far, and from nothing else: it neither allocates nor
 * waits, and it cannot tell which answer came first.
 *
 * A barrier: a job whose parents are not all read can't be yielded yet.  It never yields a
 * later stream's job first, for that would be another order.  Since a parent stream stands before its children, the
 * job that ends the barrier is always ahead of it and under way.
 *
 * A stream with nothing to ask for (no parents, an empty time) has one empty job all the same: its place in the
 * output, where its SCHEMA and STATE are written. */

/* A place in the order of the streams. */
struct entry {
	size_t stream;
	bool quiet;   /* not selected: read for the ids of its rows, of which nothing is written */
	bool dropped; /* failed or forbidden: the rest of it is not planned */
};

struct since {
	int64_t us;
	bool bookmarked; /* a bookmark, not start_date */
};

struct plan {
	const struct sync_options *opt;
	struct entry order[STREAMS];
	size_t entries;
	bool is_parent[STREAMS]; /* some selected stream needs its rows' ids */
	struct parents parents[STREAMS];
	struct since since[STREAMS];
	/* Where it stands. */
	size_t at;           /* in order */
	bool opened;         /* the fields below are that entry's */
	int64_t from, until; /* next window's start, and the end of all windows */
	size_t parent;       /* of the next job */
	uint64_t rank;
};

/* The pages of one list, month, day of a destination, or span.  The plan is elsewhere by the time that the second page is
 * asked for, so whatever its requests need is kept here. */
struct job {
	/* What plan_next says of it. */
	size_t stream;
	uint64_t rank;    /* its number in the plan, from 1 on */
	bool quiet;       /* its rows are not written */
	bool first, last; /* of its stream */
	bool closes;      /* the last of its window */
	bool empty;       /* nothing to ask for */
	bool open;        /* a span without an end: up to the time of the answer */
	int64_t from, to; /* its window */
	size_t parent;    /* if its stream has parents */
	/* What the walk makes of it. */
	struct job *next;                  /* in the plan */
	bool begun;                        /* it has been at the front */
	bool want;                         /* a page is to be asked for */
	struct http_request *asked;        /* the page under way */
	struct json_out path;              /* of that page */
	struct page *held, **held_end;     /* pages here and not yet consumed, in the chain's order */
	unsigned page_rows;                /* a chain keeps the page size it began with */
	bool shrunk;                       /* ... which is not the first one tried */
	unsigned repeats;                  /* of the page under way, for its shape */
	uint64_t pages;                    /* how many came, of the right shape */
	struct json_out cursor, milestone; /* of the next page; an old one, see chain_follow */
	bool circle;
};

static const struct parents *plan_parents(const struct plan *p, size_t stream)
{
	size_t parent = parent_of(stream);

	return parent < STREAMS ? &p->parents[parent] : NULL;
}

/* Is since after now, or not before end_date?  Then there is nothing to ask for, not even parents. */
static bool plan_ahead(const struct plan *p, size_t stream)
{
	int64_t since = p->since[stream].us;

	return streams[stream].singer.replication_key && (since > p->opt->now_us || since >= p->opt->end_us);
}

static void plan_place(struct plan *p, const struct selection sel[], bool placed[], size_t stream)
{
	if (placed[stream])
		return;
	placed[stream] = true;
	p->order[p->entries].stream = stream;
	p->order[p->entries++].quiet = !sel[stream].selected;
}

/* The table's order, rotated to begin where the last run was interrupted.  A parent that would come after a child, or
 * isn't selected, stands just before its first child. */
static void plan_order(struct plan *p, const struct selection sel[], struct str syncing)
{
	bool placed[STREAMS] = {false};
	size_t start = stream_named(syncing), i;

	if (start == STREAMS || !sel[start].selected)
		start = 0;
	for (i = 0; i < STREAMS; i++) {
		size_t stream = (start + i) % STREAMS, parent = parent_of(stream);
		if (!sel[stream].selected)
			continue;
		if (parent < STREAMS && !plan_ahead(p, stream)) {
			p->is_parent[parent] = true;
			plan_place(p, sel, placed, parent);
		}
		plan_place(p, sel, placed, stream);
	}
}

/* The oldest day that the API still has whole. */
static int64_t plan_oldest_day(const struct plan *p)
{
	return day_start(p->opt->now_us) - DELIVERY_REACH_US + DAY_US;
}

static int64_t window_end(enum walk walk, int64_t from)
{
	switch (walk) {
	case WALK_LIST:
	case WALK_PARENTS: return from + 1;
	case WALK_MONTHS: return month_next(from);
	case WALK_DAYS: return from + DAY_US;
	case WALK_SPANS: return from + SPAN_US;
	}
	return from + 1;
}

static size_t plan_first_parent(const struct plan *p, size_t stream)
{
	const struct parents *parents = plan_parents(p, stream);

	return parents ? parent_usable(parents, 0, stream) : 0;
}

static void plan_open(struct plan *p, size_t stream)
{
	int64_t since = p->since[stream].us;

	p->opened = true;
	p->parent = plan_first_parent(p, stream);
	p->until = earlier(p->opt->end_us, p->opt->now_us);
	switch (streams[stream].walk) {
	case WALK_LIST:
	case WALK_PARENTS:
		p->from = 0;
		p->until = 1;
		break;
	case WALK_MONTHS: /* a billing period may run on into the month of since */
		p->from = month_before(month_start(since));
		break;
	case WALK_DAYS: p->from = later(day_start(since), plan_oldest_day(p)); break;
	case WALK_SPANS: p->from = since; break;
	}
	if (plan_ahead(p, stream))
		p->from = p->until;
}

static void plan_job(struct plan *p, const struct entry *e, struct job *j)
{
	const struct parents *parents = plan_parents(p, e->stream);
	enum walk walk = streams[e->stream].walk;
	int64_t end = window_end(walk, p->from);

	j->stream = e->stream;
	j->quiet = e->quiet;
	j->rank = ++p->rank;
	j->from = p->from;
	j->to = earlier(end, walk == WALK_DAYS ? p->opt->now_us : p->until); /* days are whole, but today */
	j->open = walk == WALK_SPANS && end >= p->until && p->opt->end_us == INT64_MAX;
	j->parent = p->parent;
	j->empty = p->from >= p->until || (parents && p->parent == parents->packed.length);
	if (parents && !j->empty)
		p->parent = parent_usable(parents, parent_after(parents, p->parent), e->stream);
	j->closes = j->empty || !parents || p->parent == parents->packed.length;
	j->last = j->empty || (j->closes && end >= p->until);
	if (j->closes) {
		p->from = end;
		p->parent = plan_first_parent(p, e->stream);
	}
	if (j->last) {
		p->at++;
		p->opened = false;
	}
}

/* false: there is no further job, or (see the barrier) none yet. */
static bool plan_next(struct plan *p, struct job *j)
{
	for (; p->at < p->entries; p->at++, p->opened = false) {
		const struct entry *e = &p->order[p->at];
		const struct parents *parents = plan_parents(p, e->stream);
		if (e->dropped)
			continue;
		if (parents && !parents->whole && !parents->lost && !plan_ahead(p, e->stream))
			return false;
		memset(j, 0, sizeof *j);
		j->first = !p->opened;
		if (!p->opened)
			plan_open(p, e->stream);
		plan_job(p, e, j);
		return true;
	}
	return false;
}

/* ---- Paths ---- */

static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c));
}

/* RFC 3986: all but unreserved characters as %XX.  "." and ".." would be taken for path segments of their own meaning
 * (section 5.2.4), so their dots are written out too. */
static void put_encoded(struct json_out *out, struct str s)
{
	static const char hex[] = "0123456789ABCDEF";
	bool dots = str_is(s, ".") || str_is(s, "..");
	size_t i;

	for (i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.s[i];
		char code[] = {'%', hex[c >> 4], hex[c & 15]};
		if (is_unreserved(s.s[i]) && !dots)
			json_put(out, (struct str){s.s + i, 1});
		else
			json_put(out, (struct str){code, sizeof code});
	}
}

/* An audit span is asked for with a second more at both ends: whether the API's ends are inclusive isn't said, and the
 * rows are compared anyway.  A delivery day's last millisecond is its end, for the API's window may hold its end. */
static int64_t asked_from(const struct job *j)
{
	return streams[j->stream].walk == WALK_SPANS ? j->from - SECOND_US : j->from;
}

static int64_t asked_to(const struct job *j)
{
	if (streams[j->stream].walk == WALK_DAYS)
		return earlier(j->to, j->from + DAY_US - 1000);
	return j->to + SECOND_US;
}

/* The field of a parent that {name} stands for, PARENT_FIELDS if it stands for something else. */
static int parent_field_named(struct str name)
{
	int field = 0;

	while (field < PARENT_FIELDS && !str_is(name, parent_fields[field]))
		field++;
	return field;
}

/* What {name} stands for: a slice of the parents, or of text.  Instants have milliseconds, as in the API's examples. */
static struct str placeholder(const struct job *j, const struct parents *parents, struct str name, char text[TIME_SIZE])
{
	int field = parent_field_named(name);

	if (field < PARENT_FIELDS)
		return parent_field(parents, j->parent, field);
	time_format(str_is(name, "to") ? asked_to(j) : asked_from(j), text);
	if (str_is(name, "month"))
		text[DATE_LENGTH] = '\0';
	else
		memcpy(text + 23, "Z", 2);
	return str_of(text);
}

/* The path's template filled in.  An open span has no endTime, the last parameter. */
static void put_path(struct json_out *out, const struct job *j, const struct parents *parents)
{
	const char *p = streams[j->stream].path, *end = p + strlen(p);
	char text[TIME_SIZE];

	if (j->open)
		end = strstr(p, "&endTime=");
	while (p < end) {
		struct str plain = {p, strcspn(p, "{")}, name = {p + plain.n + 1, 0};
		json_put(out, plain);
		p += plain.n;
		if (*p != '{')
			break;
		name.n = strcspn(name.s, "}");
		p = name.s + name.n + 1;
		if (parent_field_named(name) < PARENT_FIELDS)
			put_encoded(out, placeholder(j, parents, name, text));
		else
			json_put(out, placeholder(j, parents, name, text));
	}
}

/* The whole path and query of the page that a job wants, ending in a NUL. */
static void job_path(struct json_out *out, const struct job *j, const struct parents *parents)
{
	put_path(out, j, parents);
	if (j->page_rows) {
		json_put_text(out, strchr(streams[j->stream].path, '?') ? "&" : "?");
		json_put_text(out, "pagination.count=");
		json_put_int64(out, j->page_rows);
	}
	if (j->cursor.length) {
		json_put_text(out, "&pagination.cursor=");
		put_encoded(out, (struct str){j->cursor.bytes, j->cursor.length});
	}
	json_put(out, (struct str){"", 1});
}

/* Does a path come from this template? */
static bool path_matches(const char *from, const char *path)
{
	while (*from && *from != '?') {
		if (*from == '{') {
			from += strcspn(from, "}") + 1;
			path += strcspn(path, "/?");
		} else if (*from++ != *path++) {
			return false;
		}
	}
	return *path == '\0' || *path == '?';
}

static const char *path_stream(const char *path)
{
	size_t i;

	for (i = 0; i < STREAMS; i++)
		if (path_matches(streams[i].path, path))
			return stream_name(i);
	return "workspace";
}

void streams_notice(void *ctx, const struct http_notice *n)
{
	(void)ctx;
	if (n->event == HTTP_RATE_LIMIT)
		log_line(LOG_WARNING, "%s: %s: rate limit (%s): waiting %lld ms", path_stream(n->path), n->path,
			 n->reason, (long long)n->wait_ms);
	else
		log_line(LOG_WARNING, "%s: %s: %s: attempt %u failed, next one in %lld ms", path_stream(n->path),
			 n->path, n->reason, n->attempt, (long long)n->wait_ms);
}

/* ---- Texts ---- */

enum { API_ERROR_LIMIT = 1 << 20 }; /* bytes of tape: an error is short, or of no interest */

/* The first of an error answer's "errors", absent if the body holds none. */
static struct json api_error(struct arena *arena, const char *body, size_t length)
{
	struct json root = {NULL, NULL};
	struct json_error bad;
	struct json_each errors;

	json_parse(arena, body, length, &root, &bad);
	errors = json_each(json_get(root, "errors"));
	json_next(&errors);
	return errors.value;
}

/* What the API itself says of an error, where it does: " (message; type; field F)". */
static void text_add_api_error(struct error *t, const struct http_response *a)
{
	static const struct {
		const char *member, *label;
	} parts[] = {{"message", ""}, {"type", ""}, {"field", "field "}};
	struct arena arena = {.limit = API_ERROR_LIMIT};
	struct json error = api_error(&arena, a->body, a->length);
	const char *before = " (";
	struct str said;
	size_t i;

	for (i = 0; i < countof(parts); i++)
		if (json_string(json_get(error, parts[i].member), &arena, &said) && said.n) {
			error_add(t, "%s%s%.*s", before, parts[i].label, str_width(said, 200), said.s);
			before = "; ";
		}
	if (*before == ';')
		error_add(t, ")");
	arena_free(&arena);
}

/* ---- Page ---- */

enum {
	PAGE_TAPE_LIMIT = 2 * HTTP_BODY_LIMIT, /* far more than a body's nodes take, unless it is made to hurt */
	PAGE_COST = 2048                       /* bytes of a held page beside body and tape, with its job, roughly */
};

/* An answer: whole, looked over, not yet consumed. */
struct page {
	struct page *next; /* in the chain */
	struct http_request *request;
	const struct http_response *answer; /* lives as long as the request */
	struct json_out path;
	struct arena tape;
	struct json rows, cursor; /* of a 200 */
	bool first;               /* of its chain */
	bool no_memory;
	char wrong[160]; /* what is wrong with the shape of a 200; empty: nothing */
	size_t cost;     /* bytes, while it is held */
};

static bool page_is(const struct page *p, int status)
{
	return p->answer->outcome == HTTP_DONE && p->answer->status == status;
}

static void page_free(struct http *http, struct page *p)
{
	http_release(http, p->request);
	json_out_free(&p->path);
	arena_free(&p->tape);
	free(p);
}

static bool is_if_any(struct json v, enum json_type expected)
{
	enum json_type type = json_type(v);

	return type == expected || type == JSON_NULL || type == JSON_ABSENT;
}

/* Finds the rows and the next cursor.  What is wrong with the rows, or NULL. */
static const char *page_misshape(const struct stream *s, struct page *p, struct json root)
{
	struct json data = json_get(root, "data"), pagination = json_get(data, "pagination");
	struct json_each it;

	p->rows = json_get(data, s->rows);
	p->cursor = json_get(pagination, "next");
	if (!s->page_rows)
		return json_type(p->rows) == JSON_OBJECT ? NULL : "is not one object";
	if (json_type(p->rows) != JSON_ARRAY)
		return "is not a list";
	for (it = json_each(p->rows); json_next(&it);)
		if (json_type(it.value) != JSON_OBJECT)
			return "holds a row that is no object";
	if (!is_if_any(pagination, JSON_OBJECT) || !is_if_any(p->cursor, JSON_STRING))
		return "has no readable pagination beside it";
	return NULL;
}

/* Parses a 200's body and looks it over. */
static void page_read(struct page *p, const struct stream *s)
{
	struct json_error bad = {.what = ""};
	const char *wrong;
	struct json root;

	p->tape.limit = PAGE_TAPE_LIMIT;
	if (!json_parse(&p->tape, p->answer->body, p->answer->length, &root, &bad)) {
		/* No memory is no fault of the answer's, but a tape beyond its limit is. */
		p->no_memory = bad.no_memory && p->tape.held < PAGE_TAPE_LIMIT / 4;
		snprintf(p->wrong, sizeof p->wrong, "no JSON, line %zu, column %zu: %s", bad.line, bad.column,
			 bad.what);
		return;
	}
	wrong = page_misshape(s, p, root);
	if (wrong)
		snprintf(p->wrong, sizeof p->wrong, "not of the expected shape: data.%s %s", s->rows, wrong);
}

/* "GET /path: status 422 (message; type)", or what else became of the request. */
static void text_add_page(struct error *t, const struct page *p)
{
	const struct http_response *a = p->answer;

	if (*a->error) { /* of a redirect as well */
		error_add(t, "%s", a->error);
		return;
	}
	error_add(t, "GET %.400s: status %d", p->path.bytes, a->status);
	if (a->status == 200)
		error_add(t, ", %s", p->wrong);
	else
		text_add_api_error(t, a);
}

/* ---- Run ---- */

/* What is known of a stream so far, in plan order. */
struct tally {
	bool begun;               /* its turn came, and its end is not reported yet */
	bool answered;            /* some request was answered well */
	uint64_t asked;           /* jobs whose turn came */
	uint64_t forbidden, gone; /* parents left out: 403, and 404 or without sourceId */
	char first_left_out[64];  /* id of the first of them */
	uint64_t in_window;       /* rows written since the last bookmark was due */
	int64_t highest;          /* ... and the latest of them */
	bool gap;                 /* months or days, from since on, that the API doesn't have: */
	int64_t gap_from, gap_to; /* the first and the last of them, */
	struct error gap_reason;  /* and its words for it */
	uint64_t counted;         /* records, at the last metric line */
	int64_t counted_us;       /* ... and when that was; 0: no answer yet */
};

struct run {
	struct http *http;
	struct singer *singer;
	struct state *state;
	struct selection *sel;
	const struct sync_options *opt;
	struct plan plan;
	struct tally tally[STREAMS];
	struct sync_totals totals;
	struct job *front, **queue_end; /* jobs planned and not closed, in plan order */
	unsigned asked;                 /* pages asked for and not yet here */
	size_t held;                    /* bytes of pages here and not yet consumed */
	struct http_request *token_probe;
	bool token_works;
	unsigned page_rows_limit; /* found out by a refusal; 0: none met */
	bool shrink_told, partly, no_memory;
	struct arena scratch; /* of one row */
};

/* What becomes of the job at the front. */
enum step {
	STEP_ON,   /* it goes on */
	STEP_SKIP, /* it is over, its stream goes on */
	STEP_DROP, /* its stream is over; the reason is logged */
	STEP_END,  /* the run is over; the reason is logged, unless it is standard output */
	STEP_STOP  /* the run is over: a signal */
};

static enum step run_ends(const char *subject, const char *why)
{
	log_line(LOG_CRITICAL, "%s: %s", subject, why);
	return STEP_END;
}

static enum step run_no_memory(void)
{
	return run_ends("no memory", "a smaller page_size or max_connections needs less");
}

static bool run_stopped(const struct run *r)
{
	return r->opt->stop && *r->opt->stop;
}

static bool put_state(struct run *r)
{
	singer_state(r->singer, r->state);
	return singer_flush(r->singer);
}

/* ---- Failures ---- */

enum { FORBIDDEN_PARENTS = 3 }; /* so many at a stream's start, and it is forbidden as a whole */

static const char *advice(const struct http_response *a)
{
	static const struct {
		int from, to;
		const char *text;
	} table[] = {
		{200, 200, "it was asked three times; run again later"},
		{300, 399, "check region as well"},
		{404, 404, "check base_url and region"},
		{400, 400, "check start_date, end_date and page_size"},
		{422, 422, "check start_date, end_date and page_size"},
	};
	size_t i;

	for (i = 0; i < countof(table); i++)
		if (a->outcome == HTTP_DONE && a->status >= table[i].from && a->status <= table[i].to)
			return table[i].text;
	return "run again later";
}

/* Before its last row.  A child of the stream is lost with it. */
static enum step stream_ends(struct run *r, const struct job *j, enum loss loss)
{
	if (loss == LOSS_FAILED || r->opt->fail_on_forbidden)
		r->partly = true;
	if (!j->quiet) {
		r->totals.failed += loss == LOSS_FAILED;
		r->totals.skipped += loss == LOSS_FORBIDDEN;
	}
	parents_lose(&r->plan.parents[j->stream], loss);
	return STEP_DROP;
}

static enum step stream_fails(struct run *r, const struct job *j, const struct page *p, const char *why)
{
	log_line(LOG_ERROR, "%s: failed: GET %.400s: %s", stream_name(j->stream), p->path.bytes, why);
	return stream_ends(r, j, LOSS_FAILED);
}

static enum step answer_fails(struct run *r, const struct job *j, const struct page *p)
{
	struct error what = {""};

	text_add_page(&what, p);
	log_line(LOG_ERROR, "%s: failed: %s; %s", stream_name(j->stream), what.text, advice(p->answer));
	return stream_ends(r, j, LOSS_FAILED);
}

static enum step stream_forbidden(struct run *r, const struct job *j, const struct page *p)
{
	struct error what = {""};

	text_add_page(&what, p);
	log_line(LOG_WARNING, "%s: skipped: %s; it needs %s; or leave the stream out", stream_name(j->stream),
		 what.text, streams[j->stream].needs);
	return stream_ends(r, j, LOSS_FORBIDDEN);
}

static enum step child_lost(struct run *r, const struct job *j, size_t parent)
{
	enum loss loss = r->plan.parents[parent].lost;

	log_line(LOG_WARNING, "%s: %s: it needs the list of %s, which can't be read (see above)",
		 stream_name(j->stream), loss == LOSS_FORBIDDEN ? "skipped" : "failed", stream_name(parent));
	return stream_ends(r, j, loss);
}

static void parent_left_out(struct run *r, size_t stream, size_t parent)
{
	struct tally *t = &r->tally[stream];
	struct str id = parent_field(plan_parents(&r->plan, stream), parent, PARENT_ID);

	if (!t->first_left_out[0])
		snprintf(t->first_left_out, sizeof t->first_left_out, "%.*s", str_width(id, 60), id.s);
}

/* 403, or a 401 of a token that works elsewhere. */
static enum step answer_forbidden(struct run *r, const struct job *j, const struct page *p)
{
	struct tally *t = &r->tally[j->stream];

	if (parent_of(j->stream) == STREAMS)
		return stream_forbidden(r, j, p);
	t->forbidden++;
	if (!t->answered && (t->forbidden == FORBIDDEN_PARENTS || (j->last && t->forbidden == t->asked))) {
		t->forbidden = t->gone = 0; /* all are named by what follows */
		return stream_forbidden(r, j, p);
	}
	parent_left_out(r, j->stream, j->parent);
	if (r->opt->fail_on_forbidden)
		r->partly = true;
	return STEP_SKIP;
}

static void gap_add(struct tally *t, int64_t from, int64_t to)
{
	t->gap_from = t->gap ? earlier(t->gap_from, from) : from;
	t->gap_to = t->gap ? later(t->gap_to, to) : to;
	t->gap = true;
}

/* A refused month is passed over where nothing can be missed by it: the month before since is looked into only for what a
 * billing period may have left there; and without a bookmark, a workspace may be younger than start_date, so months may
 * be refused up to the first good one.  If there is none at all, something else is wrong. */
static enum step month_refused(struct run *r, const struct job *j, const struct page *p)
{
	const struct since *since = &r->plan.since[j->stream];
	struct tally *t = &r->tally[j->stream];

	if (!p->first)
		return answer_fails(r, j, p);
	if (j->from < month_start(since->us))
		return STEP_SKIP;
	if (since->bookmarked || t->answered || j->last) {
		t->gap = false; /* what follows says enough */
		return answer_fails(r, j, p);
	}
	if (!t->gap)
		text_add_page(&t->gap_reason, p);
	gap_add(t, j->from, j->from);
	return STEP_SKIP;
}

/* The day has grown too old while the run went on. */
static bool is_day_too_old(const struct job *j, const struct page *p)
{
	return streams[j->stream].walk == WALK_DAYS && (p->answer->status == 400 || p->answer->status == 422) &&
	       p->answer->received_us - j->from > DELIVERY_REACH_US;
}

/* Any final status that is neither 200 nor a matter of permission. */
static enum step answer_refused(struct run *r, const struct job *j, const struct page *p)
{
	struct tally *t = &r->tally[j->stream];
	int status = p->answer->status;

	if (status == 404 && parent_of(j->stream) < STREAMS) {
		t->gone++;
		parent_left_out(r, j->stream, j->parent);
		return STEP_SKIP;
	}
	if (streams[j->stream].walk == WALK_MONTHS && (status == 400 || status == 404 || status == 422))
		return month_refused(r, j, p);
	if (is_day_too_old(j, p)) {
		gap_add(t, j->from, j->from);
		return STEP_SKIP;
	}
	return answer_fails(r, j, p);
}

/* STEP_ON: the page's rows can be used. */
static enum step answer_judge(struct run *r, const struct job *j, const struct page *p)
{
	const struct http_response *a = p->answer;

	switch (a->outcome) {
	case HTTP_DONE: break;
	case HTTP_BROKEN: return answer_fails(r, j, p);
	case HTTP_UNREACHABLE:
	case HTTP_UNTRUSTED: return run_ends(stream_name(j->stream), a->error);
	case HTTP_NO_MEMORY: return run_no_memory();
	}
	if (a->status == 401 || a->status == 403)
		return answer_forbidden(r, j, p);
	if (a->status != 200)
		return answer_refused(r, j, p);
	if (p->no_memory)
		return run_no_memory();
	if (p->wrong[0])
		return answer_fails(r, j, p);
	r->tally[j->stream].answered = true;
	return STEP_ON;
}

/* ---- A token's probe: is a 401 about the token, or about one resource? ---- */

static bool token_in_doubt(const struct run *r, const struct page *p)
{
	return page_is(p, 401) && !r->token_works;
}

static enum step token_ask(struct run *r)
{
	r->token_probe = http_start(r->http, "/", V1, 0);
	return r->token_probe ? STEP_ON : run_no_memory();
}

/* Of GET /, which every token may ask for. */
static enum step token_judge(struct run *r)
{
	const struct http_response *a = http_response(r->token_probe);
	struct error what = {"GET /: "};
	enum step step = STEP_ON;

	if (a->outcome != HTTP_DONE) {
		step = run_ends("the token can't be checked", a->error);
	} else if (a->status != 200) {
		error_add(&what, "status %d", a->status);
		text_add_api_error(&what, a);
		error_add(&what, "; check api_token, and that region is the workspace's");
		step = run_ends("the API refuses the token", what.text);
	}
	r->token_works = step == STEP_ON;
	http_release(r->http, r->token_probe);
	r->token_probe = NULL;
	return step;
}

/* ---- Rows ---- */

/* What the table adds to the rows of a job. */
struct extras {
	struct singer_extra extra[STREAM_EXTRAS];
	size_t n;
	char from[TIME_SIZE];
};

static void extras_make(struct extras *x, const struct job *j, const struct parents *parents)
{
	const struct stream *s = &streams[j->stream];

	time_format(j->from, x->from);
	for (x->n = 0; x->n < STREAM_EXTRAS && s->add[x->n].field; x->n++) {
		const char *value = s->add[x->n].value;
		int field = parent_field_named((struct str){value + 1, strlen(value) - 2});
		x->extra[x->n].field = s->add[x->n].field;
		x->extra[x->n].value =
			field < PARENT_FIELDS ? parent_field(parents, j->parent, field) : str_of(x->from);
	}
}

/* The documented key of a row: "sourceId=a, ...". */
static void text_add_key(struct error *t, const struct job *j, struct json row, const struct extras *x,
			 struct arena *arena)
{
	const char *const *key = streams[j->stream].singer.key;
	size_t i, k;

	for (i = 0; i < SINGER_KEYS && key[i]; i++) {
		struct json field = json_get(row, key[i]);
		struct str value = json_token(field);
		if (json_type(field) == JSON_STRING && !json_string(field, arena, &value))
			value = str_of("?");
		for (k = 0; k < x->n; k++)
			if (strcmp(x->extra[k].field, key[i]) == 0)
				value = x->extra[k].value;
		error_add(t, "%s%s=%.*s", i ? ", " : "", key[i], str_width(value, 100), value.s);
	}
}

/* The row's replication timestamp.  A delivery row is dated by its request alone. */
static bool row_time(struct run *r, const struct job *j, struct json row, int64_t *us)
{
	const struct stream *s = &streams[j->stream];
	struct str text;

	if (s->walk == WALK_DAYS) {
		*us = j->from;
		return true;
	}
	return json_string(json_get(row, s->singer.replication_key), &r->scratch, &text) && time_parse(text, us);
}

/* Months aren't compared: rows of a billing period may lie outside of the month that was asked for. */
static bool row_wanted(const struct run *r, const struct job *j, int64_t us)
{
	switch (streams[j->stream].walk) {
	case WALK_LIST:
	case WALK_PARENTS:
	case WALK_DAYS: return true;
	case WALK_MONTHS: return us >= r->plan.since[j->stream].us && us < r->opt->end_us;
	case WALK_SPANS: return us >= j->from && (j->open || us < j->to);
	}
	return true;
}

static enum step parent_take(struct run *r, const struct job *j, const struct page *p, struct json row)
{
	struct str value[PARENT_FIELDS];
	int i;

	for (i = 0; i < PARENT_FIELDS; i++) {
		struct json field = json_get(row, parent_fields[i]);
		value[i] = str_of("");
		if (json_type(field) == JSON_STRING && !json_string(field, &r->scratch, &value[i]))
			return run_no_memory();
	}
	if (!value[PARENT_ID].n)
		return stream_fails(r, j, p, "a row has no id, by which other lists are asked for");
	return parent_add(&r->plan.parents[j->stream], value) ? STEP_ON : run_no_memory();
}

static enum step row_undated(struct run *r, const struct job *j, const struct page *p, struct json row,
			     const struct extras *x)
{
	struct error what = {"a row with "};

	text_add_key(&what, j, row, x, &r->scratch);
	error_add(&what, " has no readable %s, which dates it", streams[j->stream].singer.replication_key);
	return stream_fails(r, j, p, what.text);
}

static enum step row_take(struct run *r, const struct job *j, const struct page *p, struct json row,
			  const struct extras *x)
{
	struct selection *sel = &r->sel[j->stream];
	struct tally *t = &r->tally[j->stream];
	struct error why = {""};
	int64_t us = 0;

	if (sel->stream->replication_key) {
		if (!row_time(r, j, row, &us))
			return row_undated(r, j, p, row, x);
		if (!row_wanted(r, j, us))
			return STEP_ON;
	}
	if (!singer_record(r->singer, sel, row, x->extra, x->n, p->answer->received_us, &why)) {
		log_line(LOG_ERROR, "%s; the stream ends there (GET %.400s)", why.text, p->path.bytes);
		return stream_ends(r, j, LOSS_FAILED);
	}
	t->highest = t->in_window++ ? later(t->highest, us) : us;
	return STEP_ON;
}

static enum step rows_take(struct run *r, const struct job *j, const struct page *p)
{
	bool is_parent = r->plan.is_parent[j->stream], one = json_type(p->rows) == JSON_OBJECT;
	struct json_each it = json_each(p->rows);
	enum step step = STEP_ON;
	struct extras x;

	extras_make(&x, j, plan_parents(&r->plan, j->stream));
	while (step == STEP_ON && (one || json_next(&it))) {
		struct json row = one ? p->rows : it.value;
		if (is_parent)
			step = parent_take(r, j, p, row);
		if (step == STEP_ON && !j->quiet)
			step = row_take(r, j, p, row, &x);
		arena_reset(&r->scratch);
		if (one)
			break;
	}
	return step;
}

/* ---- A stream's begin, windows and end ---- */

/* No bookmark may enter time in which rows can still change or turn up, nor leave the month that it comes from: the
 * next run begins in the month before the bookmark's, and so reads this month again. */
static int64_t bookmark_limit(const struct run *r, const struct job *j)
{
	const struct stream *s = &streams[j->stream];
	int64_t settled = r->opt->now_us - s->settle_s * SECOND_US;

	if (s->walk == WALK_SPANS)
		return settled;
	if (s->walk == WALK_MONTHS)
		return earlier(day_start(settled), month_next(j->from) - DAY_US);
	return day_start(settled);
}

/* The last job of a window is over, and with it all rows of the window. */
static enum step window_close(struct run *r, const struct job *j)
{
	const struct singer_stream *s = &streams[j->stream].singer;
	struct tally *t = &r->tally[j->stream];
	int64_t since = r->plan.since[j->stream].us, mark;

	if (!s->replication_key || !t->in_window)
		return STEP_ON;
	t->in_window = 0;
	mark = earlier(t->highest, bookmark_limit(r, j));
	if (streams[j->stream].walk == WALK_DAYS)
		since = day_start(since);
	if (mark >= since && !r->sel[j->stream].full_table && !state_raise(r->state, s, mark))
		return run_no_memory();
	return put_state(r) ? STEP_ON : STEP_END;
}

static void warn_of_time(struct run *r, const struct job *j)
{
	const char *name = stream_name(j->stream);
	const struct since *since = &r->plan.since[j->stream];
	int64_t oldest = plan_oldest_day(&r->plan), until = earlier(oldest, r->plan.opt->end_us);
	char text[TIME_SIZE];

	if (plan_ahead(&r->plan, j->stream)) {
		time_format(since->us, text);
		log_line(LOG_WARNING, "%s: nothing to ask for: %s %s is %s", name,
			 since->bookmarked ? "the bookmark" : "start_date", text,
			 since->us > r->opt->now_us ? "in the future" : "not before end_date");
	} else if (streams[j->stream].walk == WALK_DAYS && day_start(since->us) < until) {
		gap_add(&r->tally[j->stream], day_start(since->us), day_start(until - 1));
	}
}

/* A list that isn't selected is read for the stream before which it stands, and that is what the run is busy with. */
static enum step quiet_begin(struct run *r, const struct job *j)
{
	const struct entry *e = r->plan.order;

	while (e->stream != j->stream)
		e++;
	while (parent_of(e->stream) != j->stream)
		e++;
	state_syncing(r->state, stream_name(e->stream));
	log_line(LOG_INFO, "Reading the ids of %s for %s", stream_name(j->stream), stream_name(e->stream));
	return STEP_ON;
}

static enum step stream_begin(struct run *r, const struct job *j)
{
	const struct parents *parents = plan_parents(&r->plan, j->stream);
	struct tally *t = &r->tally[j->stream];

	if (j->quiet)
		return quiet_begin(r, j);
	if (parents && parents->lost)
		return child_lost(r, j, parent_of(j->stream));
	t->begun = true;
	log_line(LOG_INFO, "START Syncing: %s", stream_name(j->stream));
	state_syncing(r->state, stream_name(j->stream));
	if (!put_state(r))
		return STEP_END;
	warn_of_time(r, j);
	if (streams[j->stream].walk == WALK_DAYS && parents->sourceless && !plan_ahead(&r->plan, j->stream)) {
		t->gone = parents->sourceless;
		parent_left_out(r, j->stream, parents->first_sourceless);
	}
	return STEP_ON;
}

static void count_records(struct run *r, size_t stream)
{
	struct tally *t = &r->tally[stream];

	log_records(stream_name(stream), r->sel[stream].records - t->counted);
	t->counted = r->sel[stream].records;
}

static void warn_of_parents(const struct tally *t, size_t stream)
{
	if (t->forbidden + t->gone)
		log_line(LOG_WARNING,
			 "%s: left out for single %s: %llu forbidden (403), %llu not found (404) or without sourceId, "
			 "first %s",
			 stream_name(stream), streams[stream].singer.parent, (unsigned long long)t->forbidden,
			 (unsigned long long)t->gone, t->first_left_out);
}

static void warn_of_gap(const struct tally *t, size_t stream)
{
	bool days = streams[stream].walk == WALK_DAYS;
	int length = days ? DATE_LENGTH : MONTH_LENGTH;
	char from[TIME_SIZE], to[TIME_SIZE];

	if (t->gap)
		log_line(LOG_WARNING, "%s: the API has nothing for the %s %s to %s: %s", stream_name(stream),
			 days ? "days" : "months", date_text(t->gap_from, length, from),
			 date_text(t->gap_to, length, to),
			 days ? "it keeps 14 days; run more often" : t->gap_reason.text);
}

/* Once a stream is over, in whatever way: what the user should know of it. */
static void stream_report(struct run *r, size_t stream)
{
	struct tally *t = &r->tally[stream];

	if (!t->begun)
		return;
	t->begun = false;
	warn_of_parents(t, stream);
	warn_of_gap(t, stream);
	selection_report(&r->sel[stream]);
	count_records(r, stream);
}

static enum step stream_end(struct run *r, const struct job *j)
{
	struct selection *sel = &r->sel[j->stream];

	r->plan.parents[j->stream].whole = true;
	if (j->quiet)
		return STEP_ON;
	singer_schema(r->singer, sel);
	stream_report(r, j->stream);
	log_line(LOG_INFO, "FINISHED Syncing: %s, total_records: %llu", stream_name(j->stream),
		 (unsigned long long)sel->records);
	r->totals.synced++;
	return STEP_ON;
}

/* ---- Chain: the pages of a job ---- */

enum {
	SHAPE_REPEATS = 2, /* a 200 of the wrong shape is asked for so often again */
	SMALL_PAGE = 200   /* the API's cap of a page is 1000; it was 200 once, and may be somewhere */
};

static unsigned page_rows(const struct run *r, size_t stream)
{
	unsigned rows = streams[stream].page_rows;

	if (rows && r->opt->page_rows)
		rows = r->opt->page_rows;
	return r->page_rows_limit && rows > r->page_rows_limit ? r->page_rows_limit : rows;
}

/* false: no memory. */
static bool page_ask(struct run *r, struct job *j)
{
	if (!j->pages && !j->shrunk)
		j->page_rows = page_rows(r, j->stream);
	j->path.length = 0;
	job_path(&j->path, j, plan_parents(&r->plan, j->stream));
	if (j->path.failed)
		return false;
	log_line(LOG_DEBUG, "%s: GET %s", stream_name(j->stream), j->path.bytes);
	j->asked = http_start(r->http, j->path.bytes, streams[j->stream].accept, j->rank);
	if (!j->asked)
		return false;
	j->want = false;
	r->asked++;
	return true;
}

static bool same_bytes(const struct json_out *a, struct str b)
{
	return a->length == b.n && memcmp(a->bytes, b.s, b.n) == 0;
}

static bool keep_bytes(struct json_out *to, struct str s)
{
	to->length = 0;
	json_put(to, s);
	return !to->failed;
}

/* Notes what comes after a page.  Cursors that run in a circle are found with one old cursor, the milestone, replaced
 * at pages 1, 2, 4, 8, ...: once it stands inside the circle and the distance to the next replacement is the circle's
 * length at least, it is met again.  An empty cursor is none.  false: no memory. */
static bool chain_follow(struct job *j, struct page *p)
{
	struct str cursor = {"", 0};

	j->repeats = 0;
	j->pages++;
	if (json_type(p->cursor) == JSON_STRING && !json_string(p->cursor, &p->tape, &cursor))
		return false;
	if (!cursor.n)
		return true;
	if (j->pages > 1 && same_bytes(&j->milestone, cursor)) {
		j->circle = true;
		return true;
	}
	j->want = true;
	if ((j->pages & (j->pages - 1)) == 0 && !keep_bytes(&j->milestone, cursor))
		return false;
	return keep_bytes(&j->cursor, cursor);
}

/* Is the same page to be asked for again?  That is decided as soon as it comes; its place in the chain is kept. */
static bool page_again(struct job *j, const struct page *p)
{
	if (p->wrong[0] && !p->no_memory && j->repeats < SHAPE_REPEATS) {
		j->repeats++;
		log_line(LOG_INFO, "%s: GET %s: %s; asking again", stream_name(j->stream), p->path.bytes, p->wrong);
		return true;
	}
	if (p->first && (page_is(p, 400) || page_is(p, 422)) && j->page_rows > SMALL_PAGE) {
		j->page_rows = SMALL_PAGE;
		j->shrunk = true;
		return true;
	}
	return false;
}

/* A page has come.  false: no memory. */
static bool page_come(struct run *r, struct job *j)
{
	struct page *p = calloc(1, sizeof *p);

	if (!p)
		return false;
	p->request = j->asked;
	p->answer = http_response(p->request);
	p->path = j->path;
	p->first = !j->pages;
	memset(&j->path, 0, sizeof j->path);
	j->asked = NULL;
	r->asked--;
	log_request(stream_name(j->stream), p->answer->elapsed_ms,
		    p->answer->outcome == HTTP_DONE ? p->answer->status : 0);
	if (page_is(p, 200))
		page_read(p, &streams[j->stream]);
	if (page_again(j, p)) {
		j->want = true;
		page_free(r->http, p);
		return true;
	}
	*j->held_end = p;
	j->held_end = &p->next;
	p->cost = PAGE_COST + p->answer->length + p->tape.held;
	r->held += p->cost;
	if (!page_is(p, 200) || p->wrong[0])
		return true;
	if (j->shrunk)
		r->page_rows_limit = SMALL_PAGE;
	return chain_follow(j, p);
}

/* The first page that a job holds leaves it. */
static void page_leave(struct run *r, struct job *j)
{
	struct page *p = j->held;

	j->held = p->next;
	if (!j->held)
		j->held_end = &j->held;
	r->held -= p->cost;
	page_free(r->http, p);
}

static void job_release(struct run *r, struct job *j)
{
	while (j->held)
		page_leave(r, j);
	if (j->asked) {
		http_release(r->http, j->asked);
		r->asked--;
	}
	json_out_free(&j->path);
	json_out_free(&j->cursor);
	json_out_free(&j->milestone);
	free(j);
}

/* ---- Walk ---- */

/* Implementation notes.
 *
 * The jobs that are planned and not closed form the window, in plan order.  Its front is the job whose turn it is: its
 * pages are consumed (judged, their rows written), and when it is over the next one's are.  So the output follows the
 * plan, whatever comes first.  Behind the front any job may have pages under way, and here: each chain goes on by
 * itself as its pages come, as long as there is room.
 *
 * Room: at most opt->connections pages are asked for and not yet here, and no further ones while more than opt->hold
 * bytes are held.  The front job may always ask, so that the walk goes on; it asks first, for the others wait for it. */

static struct job *queue_append(struct run *r)
{
	struct job planned, *j;

	if (!plan_next(&r->plan, &planned))
		return NULL;
	j = malloc(sizeof *j);
	if (!j) {
		r->no_memory = true;
		return NULL;
	}
	*j = planned;
	j->want = !j->empty;
	j->held_end = &j->held;
	*r->queue_end = j;
	r->queue_end = &j->next;
	return j;
}

/* Unlinks and frees the job that *link points to. */
static void queue_remove(struct run *r, struct job **link)
{
	struct job *j = *link;

	*link = j->next;
	if (!*link)
		r->queue_end = link;
	job_release(r, j);
}

static struct job *next_to_ask(struct run *r)
{
	struct job *j;

	for (j = r->front; j; j = j->next)
		if (j->want)
			return j;
	while ((j = queue_append(r)))
		if (j->want)
			return j;
	return NULL;
}

static enum step refill(struct run *r)
{
	struct job *j;

	if (r->front->want && !page_ask(r, r->front))
		return run_no_memory();
	while (r->asked < r->opt->connections && r->held <= r->opt->hold && (j = next_to_ask(r)))
		if (!page_ask(r, j))
			return run_no_memory();
	return r->no_memory ? run_no_memory() : STEP_ON;
}

/* Some page comes, and is given to its job. */
static enum step page_wait(struct run *r)
{
	struct http_request *came = http_next(r->http);
	struct job *j;

	if (!came)
		return run_stopped(r) ? STEP_STOP : run_ends("internal error", "nothing is under way");
	if (came == r->token_probe)
		return token_judge(r);
	j = r->front;
	while (j->asked != came)
		j = j->next;
	return page_come(r, j) ? STEP_ON : run_no_memory();
}

/* There is nothing to do but to wait: what is ready for the target leaves before, and all that may be asked for is. */
static enum step receive(struct run *r)
{
	enum step step = singer_flush(r->singer) ? STEP_ON : STEP_END;

	if (step == STEP_ON && !r->token_probe)
		step = refill(r);
	return step == STEP_ON ? page_wait(r) : step;
}

static enum step page_write(struct run *r, const struct job *j, const struct page *p)
{
	struct tally *t = &r->tally[j->stream];
	enum step step;

	if (j->shrunk && p->first && !r->shrink_told) {
		r->shrink_told = true;
		log_line(LOG_INFO, "%s: larger pages are refused: from here on they have %d rows",
			 stream_name(j->stream), SMALL_PAGE);
	}
	step = rows_take(r, j, p);
	if (j->quiet)
		return step;
	if (!t->counted_us)
		t->counted_us = p->answer->received_us;
	if (p->answer->received_us - t->counted_us >= METRIC_US) {
		t->counted_us = p->answer->received_us;
		count_records(r, j->stream);
	}
	if (r->opt->progress)
		r->opt->progress(r->opt->ctx, stream_name(j->stream), r->sel[j->stream].records);
	return step;
}

static enum step page_consume(struct run *r, struct job *j)
{
	enum step step = answer_judge(r, j, j->held);

	if (step == STEP_ON)
		step = page_write(r, j, j->held);
	page_leave(r, j);
	return step;
}

static enum step job_begin(struct run *r, struct job *j)
{
	enum step step = j->first ? stream_begin(r, j) : STEP_ON;

	j->begun = true;
	r->tally[j->stream].asked++;
	return step;
}

static enum step job_end(struct run *r, struct job *j)
{
	enum step step = j->closes ? window_close(r, j) : STEP_ON;

	if (step == STEP_ON && j->last)
		step = stream_end(r, j);
	if (step == STEP_ON)
		queue_remove(r, &r->front);
	return step;
}

/* The front job begins, uses a page, or ends. */
static enum step advance(struct run *r, struct job *j)
{
	enum step step = j->begun ? STEP_ON : job_begin(r, j);

	if (step == STEP_ON && j->held) {
		if (token_in_doubt(r, j->held))
			return token_ask(r);
		step = page_consume(r, j);
	}
	if (step == STEP_ON && (j->held || j->asked || j->want))
		return STEP_ON;
	if (step == STEP_ON && j->circle) {
		log_line(LOG_ERROR, "%s: failed: the cursors of %s run in a circle; run again later",
			 stream_name(j->stream), streams[j->stream].path);
		step = stream_ends(r, j, LOSS_FAILED);
	}
	return step == STEP_ON || step == STEP_SKIP ? job_end(r, j) : step;
}

/* Everything of a stream that is still to come is given up. */
static void stream_drop(struct run *r, size_t stream)
{
	struct job **link = &r->front;
	size_t i;

	while (*link)
		if ((*link)->stream == stream)
			queue_remove(r, link);
		else
			link = &(*link)->next;
	for (i = 0; i < r->plan.entries; i++)
		if (r->plan.order[i].stream == stream)
			r->plan.order[i].dropped = true;
	stream_report(r, stream);
}

/* Nothing can be done with the front job before a page comes. */
static bool job_waits(const struct run *r, const struct job *j)
{
	return r->token_probe || (j->begun && !j->held && (j->asked || j->want));
}

static enum sync_result walk_plan(struct run *r)
{
	for (;;) {
		enum step step;
		size_t stream;
		if (run_stopped(r))
			return SYNC_STOPPED;
		if (!r->front && !queue_append(r))
			break;
		stream = r->front->stream;
		step = job_waits(r, r->front) ? receive(r) : advance(r, r->front);
		if (step == STEP_STOP)
			return SYNC_STOPPED;
		if (step == STEP_END)
			return SYNC_ENDED;
		if (step == STEP_DROP)
			stream_drop(r, stream);
	}
	if (r->no_memory) {
		run_no_memory();
		return SYNC_ENDED;
	}
	return r->partly ? SYNC_PARTLY : SYNC_DONE;
}

static void run_init(struct run *r, const struct sync_options *opt)
{
	size_t i;

	r->opt = r->plan.opt = opt;
	r->queue_end = &r->front;
	for (i = 0; i < STREAMS; i++)
		r->plan.since[i].us = opt->start_us;
}

static void run_free(struct run *r)
{
	size_t i;

	while (r->front)
		queue_remove(r, &r->front);
	for (i = 0; i < STREAMS; i++)
		json_out_free(&r->plan.parents[i].packed);
	http_release(r->http, r->token_probe);
	arena_free(&r->scratch);
}

/* Reads the bookmarks, each stream's since. */
static bool read_bookmarks(struct run *r, struct error *error)
{
	size_t i;

	for (i = 0; i < STREAMS; i++) {
		struct since *since = &r->plan.since[i];
		int64_t us = INT64_MIN; /* no instant */
		r->totals.selected += r->sel[i].selected;
		if (!r->sel[i].selected || r->sel[i].full_table || !streams[i].singer.replication_key)
			continue;
		if (!state_get(r->state, &streams[i].singer, &us, error))
			return false;
		since->bookmarked = us != INT64_MIN;
		if (since->bookmarked)
			since->us = us;
	}
	return true;
}

enum sync_result streams_sync(struct http *http, struct singer *singer, struct state *state,
			      struct selection sel[STREAMS], const struct sync_options *opt)
{
	struct run r = {.http = http, .singer = singer, .state = state, .sel = sel};
	enum sync_result result = SYNC_ENDED;
	struct error error = {""};

	run_init(&r, opt);
	if (!read_bookmarks(&r, &error)) {
		run_ends("state", error.text);
		return SYNC_ENDED;
	}
	plan_order(&r.plan, sel, state->syncing);
	selection_warn_keys(sel, STREAMS);
	if (put_state(&r))
		result = walk_plan(&r);
	if (r.front)
		stream_report(&r, r.front->stream);
	if (result == SYNC_DONE || result == SYNC_PARTLY)
		state_syncing(state, NULL);
	if (!put_state(&r))
		result = SYNC_ENDED;
	if (opt->totals)
		*opt->totals = r.totals;
	run_free(&r);
	return result;
}

/* ---- Probe ---- */

/* One row of recent time is enough to see whether a stream may be read. */
static void probe_job(const struct run *r, struct job *j, size_t stream)
{
	int64_t now = r->opt->now_us;

	memset(j, 0, sizeof *j);
	j->stream = stream;
	j->rank = stream + 1;
	j->open = streams[stream].walk == WALK_SPANS;
	switch (streams[stream].walk) {
	case WALK_LIST:
	case WALK_PARENTS: break;
	case WALK_MONTHS: j->from = month_start(now - DAY_US); break;
	case WALK_DAYS: j->from = day_start(now - DAY_US); break;
	case WALK_SPANS: j->from = now - SPAN_US; break;
	}
	j->to = window_end(streams[stream].walk, j->from);
}

/* Asks for one page of a stream; a child's parents are known.  false: no memory. */
static bool probe_ask(struct run *r, const struct entry *e)
{
	const struct parents *parents = plan_parents(&r->plan, e->stream);
	struct job *j = malloc(sizeof *j);

	if (!j)
		return false;
	probe_job(r, j, e->stream);
	j->quiet = e->quiet;
	j->held_end = &j->held;
	j->parent = plan_first_parent(&r->plan, e->stream);
	j->empty = parents && j->parent == parents->packed.length;
	*r->queue_end = j;
	r->queue_end = &j->next;
	return j->empty || page_ask(r, j);
}

/* Asks for all streams with this parent; STREAMS: for all that have none. */
static enum step probe_ask_children(struct run *r, size_t parent)
{
	size_t i;

	for (i = 0; i < r->plan.entries; i++)
		if (parent_of(r->plan.order[i].stream) == parent && !probe_ask(r, &r->plan.order[i]))
			return run_no_memory();
	return STEP_ON;
}

/* The first row; absent where there is none, or no good answer. */
static struct json first_row(const struct page *p)
{
	struct json none = {NULL, NULL};
	struct json_each it;

	if (!page_is(p, 200) || p->wrong[0])
		return none;
	if (json_type(p->rows) == JSON_OBJECT)
		return p->rows;
	it = json_each(p->rows);
	return json_next(&it) ? it.value : none;
}

/* What follows from a page that has just come. */
static enum step probe_next(struct run *r, struct job *j)
{
	const struct page *p = j->held;
	struct json row = first_row(p);

	j->begun = true;
	if (p->answer->outcome == HTTP_UNREACHABLE || p->answer->outcome == HTTP_UNTRUSTED)
		return run_ends("no answer", p->answer->error);
	if (p->no_memory || p->answer->outcome == HTTP_NO_MEMORY)
		return run_no_memory();
	if (!r->plan.is_parent[j->stream])
		return STEP_ON;
	if (json_type(row) == JSON_OBJECT && parent_take(r, j, p, row) == STEP_END)
		return STEP_END;
	return probe_ask_children(r, j->stream);
}

static enum step probe_token(struct run *r)
{
	const struct job *j;
	enum step step = STEP_ON;

	for (j = r->front; j && !r->token_probe; j = j->next)
		if (j->held && token_in_doubt(r, j->held))
			step = token_ask(r);
	while (step == STEP_ON && r->token_probe)
		step = page_wait(r);
	return step;
}

/* Every request that there is to make; the answers stay with their jobs. */
static enum step probe_all(struct run *r)
{
	enum step step = probe_ask_children(r, STREAMS);

	while (step == STEP_ON && r->asked) {
		struct job *j;
		step = page_wait(r);
		for (j = r->front; step == STEP_ON && j; j = j->next) {
			if (j->held && !j->begun)
				step = probe_next(r, j);
			else if (j->want && !j->held && !page_ask(r, j))
				step = run_no_memory();
		}
	}
	return step == STEP_ON ? probe_token(r) : step;
}

static void probe_row(struct run *r, const struct job *j, struct json row, struct error *what)
{
	struct extras x;
	struct error why = {""};

	if (json_type(row) != JSON_OBJECT) {
		error_add(what, "no rows");
		return;
	}
	extras_make(&x, j, plan_parents(&r->plan, j->stream));
	text_add_key(what, j, row, &x, &r->scratch);
	if (r->singer &&
	    !singer_record(r->singer, &r->sel[j->stream], row, x.extra, x.n, j->held->answer->received_us, &why))
		error_add(what, "; %s", why.text);
}

static void probe_answer(struct run *r, const struct job *j, const struct page *p, struct error *what)
{
	int status = p->answer->status;

	if (p->answer->outcome != HTTP_DONE) {
		error_add(what, "%s", p->answer->error);
	} else if (p->wrong[0]) {
		error_add(what, "%s", p->wrong);
	} else if (status == 200) {
		probe_row(r, j, first_row(p), what);
	} else if (*p->answer->error) {
		error_add(what, "%s", p->answer->error);
	} else {
		if (status == 401 || status == 403)
			error_add(what, "needs %s", streams[j->stream].needs);
		else
			error_add(what, "refused");
		text_add_api_error(what, p->answer);
	}
}

static enum access probe_access(const struct page *p)
{
	if (!p)
		return ACCESS_UNTRIED;
	if (page_is(p, 401) || page_is(p, 403))
		return ACCESS_NO;
	return page_is(p, 200) && !p->wrong[0] ? ACCESS_YES : ACCESS_ERROR;
}

static void probe_tell(struct run *r, const struct job *j, struct probe *probe)
{
	const struct page *p = j->held;
	struct error what = {""};

	if (r->singer)
		singer_schema(r->singer, &r->sel[j->stream]);
	if (p)
		probe_answer(r, j, p, &what);
	else
		error_add(&what, "not tried: no row of %s to ask for", stream_name(parent_of(j->stream)));
	probe->status = p && p->answer->outcome == HTTP_DONE ? p->answer->status : 0;
	probe->access = probe_access(p);
	snprintf(probe->text, sizeof probe->text, "%.*s", (int)sizeof probe->text - 1, what.text);
}

static const struct job *probe_of(const struct run *r, size_t stream)
{
	const struct job *j = r->front;

	while (j && j->stream != stream)
		j = j->next;
	return j;
}

enum sync_result streams_probe(struct http *http, struct singer *singer, struct selection sel[STREAMS],
			       struct probe probes[STREAMS], const struct sync_options *opt)
{
	struct run r = {.http = http, .singer = singer, .sel = sel, .page_rows_limit = 1 /* a row tells enough */};
	enum step step;
	size_t i;

	run_init(&r, opt);
	for (i = 0; i < STREAMS; i++)
		r.plan.since[i].us = INT64_MIN; /* whatever the dates in the config: nothing is ahead */
	plan_order(&r.plan, sel, str_of(""));
	step = probe_all(&r);
	for (i = 0; i < STREAMS; i++) {
		const struct job *j = probe_of(&r, i);
		probes[i].status = 0;
		probes[i].access = ACCESS_UNTRIED;
		snprintf(probes[i].text, sizeof probes[i].text, "%s", sel[i].selected ? "not tried" : "not selected");
		if (step == STEP_ON && j && !j->quiet)
			probe_tell(&r, j, &probes[i]);
	}
	run_free(&r);
	return step == STEP_ON ? SYNC_DONE : step == STEP_STOP ? SYNC_STOPPED : SYNC_ENDED;
}

/* ---- The rate limit's own words ---- */

/* Milliseconds, rounded up: an integer in the examples seen, but any number may stand there.  -1: none. */
static int64_t milliseconds(struct json number, struct arena *arena)
{
	const int64_t most = INT64_C(1) << 53;
	char *text = json_type(number) == JSON_NUMBER ? arena_string(arena, json_token(number)) : NULL;
	double ms = text ? strtod(text, NULL) : -1;

	if (ms < 0)
		return -1;
	return ms < (double)most ? (int64_t)ms + ((double)(int64_t)ms < ms) : most;
}

int64_t segment_pause_ms(const char *body, size_t length)
{
	struct arena arena = {.limit = API_ERROR_LIMIT};
	struct json data = json_get(api_error(&arena, body, length), "data");
	int64_t ms = milliseconds(json_get(data, "msBeforeNext"), &arena);

	arena_free(&arena);
	return ms;
}
