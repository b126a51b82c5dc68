/* streams.c - the streams of the Segment Public API as a table, the plan of a run, and the walk over it.
 *
 * Contents: table · time · templates · parents · plan · paths · texts · pages · the run · failures · a token's probe ·
 *           rows · sample · windows and bookmarks · a stream's begin and end · chain · walk · regions and pauses */
#define SCHEMA_TEXTS /* of schemas/schemas.h */
#include "streams.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Table ---- */

#define V1    "application/vnd.segment.v1+json"
#define BETA  "application/vnd.segment.v1beta+json"
#define ALPHA "application/vnd.segment.v1alpha+json"

/* How long rows are taken to be on their way.  A cautious guess: when a counter is final is documented nowhere. */
enum { AUDIT_SETTLE = 3600, DELIVERY_SETTLE = 6 * 3600, USAGE_SETTLE = 24 * 3600 };

/* clang-format off */
/* Its name, what else Singer has to know of it, and its schema. */
#define STREAM(stream, ...)                                                                                           \
	.singer = {.name = #stream, __VA_ARGS__}, .schema_at = SCHEMA_AT_##stream,                                    \
	.schema_length = SCHEMA_LENGTH_##stream
#define PAIRS(...) (const struct stream_pair[]){__VA_ARGS__, {NULL, NULL}}
#define LIST(stream) STREAM(stream, .key = NAMES("id"))
#define PAGED(key, stage, count) .rows = key, .accept = stage, .page_rows = count
/* What a plain run has not.  Their keys identify a row. */
#define BY_NAME(...) .by_name = true, .key = NAMES(__VA_ARGS__)
#define USAGE                                                                                      \
	.query = PAIRS({"period", "{month}"}), .window = WINDOW_MONTH, .accept = V1, .page_rows = 1000, \
	.settle_s = USAGE_SETTLE, .needs = "access to usage data"

/* Points of a day, counted by groups: a field of a group may be absent. */
#define OVERVIEW(...)         BY_NAME(__VA_ARGS__), .replication_key = "timestamp", .renamed = "time"
#define WINDOW_ASKED          {"startTime", "{from}"}, {"endTime", "{to}"}, {"granularity", "DAY"}
#define EVENT_GROUPS          {"groupBy.0", "eventName"}, {"groupBy.1", "eventType"}
#define EVENT_ADDED           {"eventName", "{.eventName}"}, {"eventType", "{.eventType}"}
#define REASON_ADDED          {"discardReason", "{.discardReason}"}
#define POINTS                                                                                                        \
	.rows = "dataset", .shape = ROWS_SERIES, .series = "series", .accept = BETA, .page_rows = 1000,               \
	.window = WINDOW_DAYS, .settle_s = DELIVERY_SETTLE, .reach_days = 30
#define OF_DESTINATION(stream)                                                                                        \
	STREAM(stream, OVERVIEW("sourceId", "destinationId", "eventName", "eventType", "discardReason", "timestamp"), \
	       .parent = "destinations")
#define DESTINATION_POINTS                                                                                            \
	.query = PAIRS({"sourceId", "{sourceId}"}, {"destinationConfigId", "{id}"}, WINDOW_ASKED, EVENT_GROUPS,            \
		  {"groupBy.2", "discardReason"}), POINTS,                                                            \
	.add = PAIRS({"timestamp", "{.time}"}, {"sourceId", "{sourceId}"}, {"destinationId", "{id}"}, EVENT_ADDED,         \
		REASON_ADDED),                                                                                        \
	.needs = "event delivery in the plan, access to destinations, and beta endpoints"

/* Destinations carry their kind with all its actions, so a page of them is megabytes: they come by the hundred.
 * A stream stands behind its parent's, a slow one behind the others. */
const struct stream streams[] = {
	{LIST(sources), .path = "/sources", PAGED("sources", V1, 200),
	 .needs = "access to sources",
	 .cost = "1", .personal = "writeKeys, settings"},
	{STREAM(destinations, .key = NAMES("id"), .unique_key = NAMES("id", "sourceId")),
	 .path = "/destinations", PAGED("destinations", V1, 100),
	 .needs = "access to destinations",
	 .cost = "1", .personal = "settings"},
	{LIST(warehouses), .path = "/warehouses", PAGED("warehouses", V1, 200),
	 .needs = "access to warehouses",
	 .cost = "1", .personal = "settings"},
	{STREAM(source_connected_destinations, .key = NAMES("sourceId"), .unique_key = NAMES("sourceId", "id"),
		.parent = "sources"),
	 .path = "/sources/{id}/connected-destinations", PAGED("destinations", V1, 100),
	 .add = PAIRS({"sourceId", "{id}"}),
	 .needs = "access to sources and their destinations",
	 .cost = "S", .personal = "settings"},
	{STREAM(source_connected_warehouses, .key = NAMES("sourceId"), .unique_key = NAMES("sourceId", "id"),
		.parent = "sources"),
	 .path = "/sources/{id}/connected-warehouses", PAGED("warehouses", V1, 200), .add = PAIRS({"sourceId", "{id}"}),
	 .needs = "access to sources and their warehouses",
	 .cost = "S", .personal = "settings"},
	{STREAM(destination_subscriptions, .key = NAMES("destinationId"), .unique_key = NAMES("destinationId", "id"),
		.parent = "destinations"),
	 .path = "/destinations/{id}/subscriptions", PAGED("subscriptions", ALPHA, 200),
	 .needs = "access to destinations and to alpha endpoints",
	 .cost = "D", .personal = "settings"},
	{LIST(catalog_sources), .path = "/catalog/sources", PAGED("sourcesCatalog", V1, 200),
	 .needs = "access to the catalog",
	 .cost = "1"},
	{LIST(catalog_destinations), .path = "/catalog/destinations", PAGED("destinationsCatalog", V1, 100),
	 .needs = "access to the catalog",
	 .cost = "1", .personal = "contacts of vendors"},
	{LIST(catalog_warehouses), .path = "/catalog/warehouses", PAGED("warehousesCatalog", V1, 200),
	 .needs = "access to the catalog",
	 .cost = "1"},
	{STREAM(usage_api_calls_per_source_daily, .key = NAMES("sourceId"),
		.unique_key = NAMES("sourceId", "timestamp"), .replication_key = "timestamp"), USAGE,
	 .path = "/usage/api-calls/sources/daily", .rows = "dailyPerSourceAPICallsUsage",
	 .cost = "1 a month"},
	{STREAM(usage_api_calls_workspace_daily, .key = NAMES("timestamp"), .replication_key = "timestamp"), USAGE,
	 .path = "/usage/api-calls/daily", .rows = "dailyWorkspaceAPICallsUsage",
	 .cost = "1 a month"},
	{STREAM(usage_mtu_per_source_daily, .key = NAMES("sourceId"),
		.unique_key = NAMES("sourceId", "periodStart", "timestamp"), .replication_key = "timestamp"), USAGE,
	 .path = "/usage/mtu/sources/daily", .rows = "dailyPerSourceMTUUsage",
	 .cost = "1 a month"},
	{STREAM(usage_mtu_workspace_daily, .key = NAMES("timestamp"),
		.unique_key = NAMES("periodStart", "timestamp"), .replication_key = "timestamp"), USAGE,
	 .path = "/usage/mtu/daily", .rows = "dailyWorkspaceMTUUsage",
	 .cost = "1 a month"},
	{STREAM(audit_events, .key = NAMES("id"), .replication_key = "timestamp"),
	 .path = "/audit-events", .query = PAIRS({"startTime", "{from}"}, {"endTime", "{to}"}), PAGED("events", V1, 1000),
	 .window = WINDOW_SPAN, .settle_s = AUDIT_SETTLE, .overlap_s = 1,
	 .needs = "the audit trail, which is part of the Business plan",
	 .cost = "1 in 30 days", .personal = "e-mails"},
	{LIST(iam_users), .singer.alias = "users", .path = "/users", PAGED("users", V1, 200),
	 .needs = "a token that may read users, a workspace owner's say",
	 .cost = "1", .personal = "names, e-mails"},
	{LIST(iam_groups), .singer.alias = "groups", .path = "/groups", PAGED("userGroups", V1, 200),
	 .needs = "a token that may read groups, a workspace owner's say",
	 .cost = "1"},
	{LIST(transformations), .path = "/transformations", PAGED("transformations", V1, 200),
	 .needs = "the Protocols feature in the plan",
	 .cost = "1", .personal = "hash keys"},
	{STREAM(destination_delivery_metrics_summary, .key = NAMES("destinationId"),
		.unique_key = NAMES("destinationId", "sourceId", "timestamp"), .replication_key = "timestamp", .parent = "destinations"),
	 .path = "/destinations/{id}/delivery-metrics",
	 .query = PAIRS({"sourceId", "{sourceId}"}, {"startTime", "{from}"}, {"endTime", "{to}"}, {"granularity", "DAY"}),
	 .rows = "deliveryMetricsSummary", .shape = ROWS_OBJECT, .accept = BETA,
	 .window = WINDOW_DAY, .settle_s = DELIVERY_SETTLE, .reach_days = 14,
	 .add = PAIRS({"destinationId", "{id}"}, {"timestamp", "{from}"}),
	 .needs = "event delivery metrics in the plan, and access to destinations",
	 .cost = "D a day"},
	{STREAM(workspace, BY_NAME("id")), .path = "/", .rows = "workspace", .shape = ROWS_OBJECT, .accept = V1,
	 .needs = "any valid token",
	 .cost = "1"},
	{STREAM(labels, BY_NAME("key", "value")), .path = "/labels", .rows = "labels", .accept = V1,
	 .needs = "a token that may read labels, a workspace owner's say",
	 .cost = "1"},
	{STREAM(roles, BY_NAME("id")), .path = "/roles", PAGED("roles", V1, 200),
	 .needs = "a token that may read roles, a workspace owner's say",
	 .cost = "1"},
	{STREAM(invites, BY_NAME("email")), .path = "/invites", PAGED("invites", V1, 200), .shape = ROWS_TEXTS,
	 .add = PAIRS({"email", "{.}"}),
	 .needs = "a token that may read invites, a workspace owner's say",
	 .cost = "1", .personal = "e-mails"},
	{STREAM(iam_group_members, BY_NAME("userGroupId", "id"), .parent = "iam_groups"),
	 .path = "/groups/{id}/users", PAGED("users", V1, 200), .add = PAIRS({"userGroupId", "{id}"}),
	 .needs = "a token that may read users and groups, a workspace owner's say",
	 .cost = "G", .personal = "names, e-mails"},
	{STREAM(tracking_plans, BY_NAME("id")), .path = "/tracking-plans", PAGED("trackingPlans", V1, 200),
	 .needs = "the Protocols feature in the plan, and the role Tracking Plan Read-only",
	 .cost = "1"},
	{STREAM(tracking_plan_sources, BY_NAME("trackingPlanId", "id"), .parent = "tracking_plans"),
	 .path = "/tracking-plans/{id}/sources", PAGED("sources", V1, 200), .add = PAIRS({"trackingPlanId", "{id}"}),
	 .needs = "the Protocols feature in the plan, the role Tracking Plan Read-only, and access to sources",
	 .cost = "T", .personal = "writeKeys, settings"},
	{STREAM(source_schema_settings, BY_NAME("sourceId"), .parent = "sources"),
	 .path = "/sources/{id}/settings", .rows = "settings", .shape = ROWS_OBJECT, .accept = V1,
	 .add = PAIRS({"sourceId", "{id}"}),
	 .needs = "access to sources",
	 .cost = "S"},
	{STREAM(destination_filters, BY_NAME("id"), .parent = "destinations"),
	 .path = "/destination/{id}/filters", PAGED("filters", V1, 200),
	 .needs = "access to destinations, and destination filters in the plan (Business)",
	 .cost = "D", .personal = "conditions may quote user data"},
	{STREAM(functions, BY_NAME("id")),
	 .path = "/functions", .query = PAIRS({"resourceType", "{each}"}), PAGED("functions", V1, 200),
	 .each = NAMES("DESTINATION", "INSERT_DESTINATION", "INSERT_SOURCE", "INSERT_TRANSFORMATION", "SOURCE"),
	 .needs = "the Functions feature in the plan, and the role Function Read-only",
	 .cost = "5"},
	{STREAM(function_versions, BY_NAME("functionId", "id"), .parent = "functions"),
	 .path = "/functions/{id}/versions", PAGED("versions", ALPHA, 200), .add = PAIRS({"functionId", "{id}"}),
	 .needs = "the Functions feature in the plan, the role Function Read-only, and access to alpha endpoints",
	 .cost = "5 + F", .personal = "source code, authors"},
	{STREAM(insert_function_instances, BY_NAME("id"), .parent = "functions",
		.secret = NAMES("settings", "encryptedSettings")),
	 .path = "/insert-function-instances", .query = PAIRS({"functionId", "{id}"}), .only = {"resourceType", "INSERT_"},
	 PAGED("instances", ALPHA, 200),
	 .needs = "the Functions feature in the plan, the role Function Read-only, and access to alpha endpoints",
	 .cost = "5 + insert functions", .personal = "settings, encryptedSettings: out unless named"},
	{STREAM(reverse_etl_models, BY_NAME("id")), .path = "/reverse-etl-models", PAGED("models", ALPHA, 200),
	 .needs = "Reverse ETL in the plan, and access to alpha endpoints",
	 .cost = "1", .personal = "SQL"},
	{STREAM(reverse_etl_syncs, BY_NAME("syncId"), .parent = "destination_subscriptions"),
	 .path = "/reverse-etl-models/{modelId}/subscriptionId/{id}/syncs", .only = {"modelId", ""},
	 PAGED("syncStatuses", ALPHA, 100), .page_most = 100, .count_name = "count",
	 .cursor_name = "cursor",
	 .add = PAIRS({"subscriptionId", "{id}"}),
	 .needs = "Reverse ETL in the plan, and access to alpha endpoints",
	 .cost = "D + M", .personal = "error texts"},
	{STREAM(warehouse_connected_sources, BY_NAME("warehouseId", "id"), .parent = "warehouses"),
	 .path = "/warehouses/{id}/connected-sources", PAGED("sources", V1, 200), .add = PAIRS({"warehouseId", "{id}"}),
	 .needs = "access to warehouses and their sources",
	 .cost = "W", .personal = "writeKeys, settings"},
	{STREAM(spaces, BY_NAME("id")), .path = "/spaces", PAGED("spaces", ALPHA, 200),
	 .needs = "the Spaces feature (Unify, Engage) in the plan, and access to alpha endpoints",
	 .cost = "1"},
	{STREAM(profiles_warehouses, BY_NAME("spaceId", "id"), .parent = "spaces"),
	 .path = "/spaces/{id}/profiles-warehouses", PAGED("profilesWarehouses", ALPHA, 200),
	 .add = PAIRS({"spaceId", "{id}"}),
	 .needs = "Profiles Sync (Unify) in the plan, and access to alpha endpoints",
	 .cost = "P, each an audit event", .personal = "settings"},
	{STREAM(regulations, BY_NAME("id")),
		.path = "/regulations", PAGED("regulations", V1, 100), /* a row may hold 5000 ids */
	 .needs = "a workspace owner's token",
	 .cost = "1", .personal = "ids of people"},
	{STREAM(suppressions, BY_NAME("subjectType", "subjectId")),
	 .path = "/suppressions", .rows = "suppressed", .shape = ROWS_SERIES, .series = "subjectIds", .accept = V1,
	 .page_rows = 1000,
	 .add = PAIRS({"subjectType", "{.subjectType}"}, {"subjectId", "{.}"}),
	 .needs = "a workspace owner's token",
	 .cost = "1", .personal = "ids of people"},
	{STREAM(credentials, BY_NAME("id")), .path = "/credentials", PAGED("credentials", V1, 200),
	 .needs = "one of the roles Workspace Owner, Warehouse Admin, Source Admin, Entities Admin, Unify and Engage Admin",
	 .cost = "1", .personal = "of the settings only their type"},
	{STREAM(delivery_overview_successfully_received, OVERVIEW("sourceId", "eventName", "eventType", "timestamp"),
		.parent = "sources"),
	 .path = "/delivery-overview/successfully-received", .query = PAIRS({"sourceId", "{id}"}, WINDOW_ASKED, EVENT_GROUPS), POINTS,
	 .add = PAIRS({"timestamp", "{.time}"}, {"sourceId", "{id}"}, EVENT_ADDED),
	 .needs = "event delivery in the plan, access to sources, and beta endpoints",
	 .cost = "S in 30 days"},
	{STREAM(delivery_overview_failed_on_ingest, OVERVIEW("sourceId", "eventName", "eventType", "discardReason",
			     "timestamp"), .parent = "sources"),
	 .path = "/delivery-overview/failed-on-ingest", .query = PAIRS({"sourceId", "{id}"}, WINDOW_ASKED, EVENT_GROUPS, {"groupBy.2", "discardReason"}), POINTS,
	 .add = PAIRS({"timestamp", "{.time}"}, {"sourceId", "{id}"}, EVENT_ADDED, REASON_ADDED),
	 .needs = "event delivery in the plan, access to sources, and beta endpoints",
	 .cost = "S in 30 days"},
	{STREAM(delivery_overview_filtered_at_source, OVERVIEW("sourceId", "eventName", "eventType",
			     "discardReason", "timestamp"), .parent = "sources"),
	 .path = "/delivery-overview/filtered-at-source", .query = PAIRS({"sourceId", "{id}"}, WINDOW_ASKED, EVENT_GROUPS, {"groupBy.2", "discardReason"}), POINTS,
	 .add = PAIRS({"timestamp", "{.time}"}, {"sourceId", "{id}"}, EVENT_ADDED, REASON_ADDED),
	 .needs = "event delivery in the plan, access to sources, and beta endpoints",
	 .cost = "S in 30 days"},
	{OF_DESTINATION(delivery_overview_filtered_at_destination),
	 .path = "/delivery-overview/filtered-at-destination", DESTINATION_POINTS,
	 .cost = "D in 30 days"},
	{OF_DESTINATION(delivery_overview_failed_delivery),
	 .path = "/delivery-overview/failed-delivery", DESTINATION_POINTS,
	 .cost = "D in 30 days"},
	{OF_DESTINATION(delivery_overview_successful_delivery),
	 .path = "/delivery-overview/successful-delivery", DESTINATION_POINTS,
	 .cost = "D in 30 days"},
	/* From here on the API documents a limit: 200 to 25 requests a minute, then 2. */
	{STREAM(tracking_plan_rules, BY_NAME("trackingPlanId", "type", "key", "version"), .parent = "tracking_plans"),
	 .path = "/tracking-plans/{id}/rules", PAGED("rules", V1, 200),
	 .add = PAIRS({"trackingPlanId", "{id}"}, {"key", "{.key}"}), .per_minute = 200,
	 .needs = "the Protocols feature in the plan, and the role Tracking Plan Read-only",
	 .cost = "T"},
	{STREAM(events_volume_daily, OVERVIEW("sourceId", "eventName", "eventType", "timestamp"), .parent = "sources"),
	 .path = "/events/volume",
	 .query = PAIRS({"sourceId.0", "{id}"}, {"startTime", "{from}"}, {"endTime", "{to}"}, {"granularity", "DAY"},
		   {"groupBy.0", "source"}, {"groupBy.1", "eventName"}, {"groupBy.2", "eventType"}),
	 .rows = "result", .shape = ROWS_SERIES, .series = "series", .accept = V1, .page_rows = 1000,
	 .rows_most = 5000, .window = WINDOW_DAYS, .settle_s = DELIVERY_SETTLE,
	 .add = PAIRS({"timestamp", "{.time}"}, {"sourceId", "{.source.id}"}, {"sourceName", "{.source.name}"},
		 {"sourceSlug", "{.source.slug}"}, EVENT_ADDED), .per_minute = 60,
	 .needs = "a token that may read event volume (Team or Business plan)",
	 .cost = "S in 30 days"},
	{STREAM(audiences, BY_NAME("id"), .parent = "spaces"),
	 .path = "/spaces/{id}/audiences", .query = PAIRS({"include", "schedules"}), PAGED("audiences", V1, 200), .page_most = 200,
	 .per_minute = 60,
	 .needs = "the Audiences feature (Engage) in the plan",
	 .cost = "P", .personal = "definitions may quote traits"},
	{STREAM(activations, BY_NAME("id"), .parent = "audiences"),
	 .path = "/spaces/{spaceId}/audiences/{id}/activations", PAGED("activations", ALPHA, 200), .per_minute = 60,
	 .needs = "the Audiences feature (Engage) in the plan, and access to alpha endpoints",
	 .cost = "P + A"},
	{STREAM(audience_destination_connections, BY_NAME("audienceId", "id"), .parent = "audiences"),
	 .path = "/spaces/{spaceId}/audiences/{id}/destination-connections", PAGED("connections", ALPHA, 200), .per_minute = 50,
	 .add = PAIRS({"spaceId", "{spaceId}"}, {"audienceId", "{id}"}),
	 .needs = "the Audiences feature (Engage) in the plan, and access to alpha endpoints",
	 .cost = "P + A", .personal = "settings"},
	{STREAM(computed_traits, BY_NAME("id"), .parent = "spaces"),
	 .path = "/spaces/{id}/computed-traits", PAGED("computedTraits", ALPHA, 200), .per_minute = 25,
	 .needs = "the Computed Traits feature (Unify) in the plan, and access to alpha endpoints",
	 .cost = "P"},
	{STREAM(space_events, BY_NAME("spaceId", "type", "name"), .parent = "spaces"),
	 .path = "/spaces/{id}/events", .query = PAIRS({"sortBy", "name"}, {"sortDir", "asc"}), /* or rows move in the walk */
	 PAGED("events", ALPHA, 200), .per_minute = 25,
	 .add = PAIRS({"spaceId", "{id}"}),
	 .needs = "the Spaces feature (Unify, Engage) in the plan, and access to alpha endpoints",
	 .cost = "P"},
	{STREAM(space_traits, BY_NAME("spaceId", "collection", "trait", "type"), .parent = "spaces"),
	 .path = "/spaces/{id}/traits", .query = PAIRS({"collection", "{each}"}, {"sortBy", "trait"}, {"sortDir", "asc"}),
	 .each = NAMES("users", "accounts"), PAGED("traits", ALPHA, 200), .per_minute = 25,
	 .add = PAIRS({"spaceId", "{id}"}, {"collection", "{each}"}),
	 .needs = "the Spaces feature (Unify, Engage) in the plan, and access to alpha endpoints",
	 .cost = "2 x P"},
	{STREAM(warehouse_syncs, BY_NAME("warehouseId", "sourceId", "start"), .parent = "warehouses"),
	 .path = "/warehouses/{id}/syncs", PAGED("reports", V1, 1000), .per_minute = 2,
	 .add = PAIRS({"warehouseId", "{id}"}),
	 .needs = "access to warehouses",
	 .cost = "W", .personal = "names of tables"},
	{STREAM(warehouse_selective_syncs, BY_NAME("warehouseId", "sourceId", "collection"),
		.parent = "warehouse_connected_sources"),
	 .path = "/warehouses/{warehouseId}/connected-sources/{id}/selective-syncs", PAGED("items", V1, 200), .per_minute = 2,
	 .needs = "access to warehouses, and selective sync in the plan (Business)",
	 .cost = "W + C"},
};
/* clang-format on */

/* It does not compile where the numbers differ.  Were the size in the declaration, missing rows would be taken to be 0. */
typedef char a_row_for_each_schema[sizeof streams / sizeof *streams == SCHEMAS ? 1 : -1];

bool streams_unpack(struct selection sel[STREAMS], struct arena *arena)
{
	size_t length, i;
	char *unpacked = http_gunzip(schema_texts, sizeof schema_texts, SCHEMA_TEXTS_LENGTH, &length);
	const char *text = unpacked ? arena_string(arena, (struct str){unpacked, length}) : NULL;

	free(unpacked);
	assert(!text || length == SCHEMA_TEXTS_LENGTH);
	for (i = 0; text && i < STREAMS; i++) {
		sel[i].stream = &streams[i].singer;
		sel[i].schema_text = (struct str){text + streams[i].schema_at, streams[i].schema_length};
	}
	return text;
}

/* The stream of that name, or that another tap gives that name; STREAMS if there is none. */
static size_t stream_named(struct str name)
{
	size_t i;

	for (i = 0; i < STREAMS; i++)
		if (str_is(name, streams[i].singer.name) ||
		    (name.n && str_equal(name, str_of(streams[i].singer.alias))))
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

/* How many values stand for {each}; a stream without that has one, which nothing names. */
static size_t each_count(size_t stream)
{
	size_t n = 0;

	while (streams[stream].each && streams[stream].each[n])
		n++;
	return n ? n : 1;
}

/* Is a job of this stream one of several that fail each by itself? */
static bool has_peers(size_t stream)
{
	return streams[stream].singer.parent || streams[stream].each;
}

/* ---- Time ---- */

#define SPAN_US   (30 * DAY_US)
#define METRIC_US (60 * SECOND_US) /* between two metric lines of a stream */

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

/* ---- Templates: text with {names} in it ---- */

/* Takes the next piece off: plain text, and the name in the braces behind it, empty at the end.  false: none is left. */
static bool template_next(const char **rest, struct str *plain, struct str *name)
{
	static const struct str none;

	if (!**rest)
		return false;
	*plain = (struct str){*rest, strcspn(*rest, "{")};
	*rest += plain->n;
	*name = none;
	if (!**rest)
		return true;
	*name = (struct str){*rest + 1, strcspn(*rest + 1, "}")};
	*rest = name->s + name->n;
	assert(**rest == '}');
	++*rest;
	return true;
}

/* What a name stands for, other than a field of the parent's row. */
static bool is_of_request(struct str name)
{
	return str_is(name, "from") || str_is(name, "to") || str_is(name, "month") || str_is(name, "each");
}

/* {.x.y}: a member of the row itself; {.}: the row, a bare string. */
static bool is_of_row(struct str name)
{
	return name.n && *name.s == '.';
}

/* ---- Parents ---- */

/* Implementation notes.
 *
 * Of a parent's row the requests and rows of its children take a few fields.  What a parent stream hands down is the
 * union of the names that the rows of the table use which are planned as its children.  The values are kept packed, so
 * that 10,000 destinations are half a megabyte: of each row the handed names' values, each as four bytes of length and
 * the text; an absent one is empty.  A parent is known by its offset.
 *
 * A child's targets are the distinct tuples of the names that it uses itself: a destination that stands in the list
 * twice, once for each source, is asked once for its subscriptions and twice for its delivery metrics.  They are made
 * once, when the list of parents is whole, so that planning neither allocates nor compares. */

enum {
	HANDED_NAMES = 8,         /* most that one stream hands down */
	VALUE_LIMIT = 64 << 10,   /* bytes of one value, and of a cursor */
	PARENTS_LIMIT = 64 << 20, /* bytes of all values of one parent stream */
	LENGTH_BYTES = sizeof(uint32_t),
	LEFT_OUT_SIZE = 64
};

enum loss { LOSS_NONE, LOSS_FORBIDDEN, LOSS_FAILED };

struct names {
	struct str name[HANDED_NAMES];
	size_t count;
};

struct parents {
	struct names handed;
	struct json_out packed;
	bool whole;     /* all pages are read: children can be planned */
	enum loss lost; /* never will be */
};

/* What has become of a target in this run. */
enum target_state { TARGET_NEW, TARGET_ANSWERED, TARGET_LEFT_OUT };

struct targets {
	size_t *parent; /* offsets */
	size_t count;
	unsigned char *state; /* of each (target, each value): enum target_state */
	size_t missing;       /* rows without a value that the child uses */
	bool nameless;        /* ... some of them without their own key: no parent that is gone, but a fault */
	char first_missing[LEFT_OUT_SIZE]; /* what the first of them has in place of an id */
};

static size_t names_find(const struct names *names, struct str name)
{
	size_t i = 0;

	while (i < names->count && !str_equal(names->name[i], name))
		i++;
	return i;
}

static void names_add(struct names *names, struct str name)
{
	if (!name.n || is_of_request(name) || is_of_row(name) || names_find(names, name) < names->count)
		return;
	assert(names->count < HANDED_NAMES);
	names->name[names->count++] = name;
}

static void names_add_template(struct names *names, const char *text)
{
	struct str plain, name;

	while (template_next(&text, &plain, &name))
		names_add(names, name);
}

/* The fields of the parent's row that a stream uses, in the order of their first use, and none for one without parent. */
static void names_of(size_t stream, struct names *names)
{
	const struct stream *s = &streams[stream];
	size_t i;

	names_add_template(names, s->path);
	for (i = 0; s->query && s->query[i].name; i++)
		names_add_template(names, s->query[i].value);
	for (i = 0; s->add && s->add[i].name; i++)
		names_add_template(names, s->add[i].value);
	if (s->only.name)
		names_add(names, str_of(s->only.name));
}

static struct str parent_value_at(const struct parents *p, size_t parent, size_t index)
{
	struct str value = {p->packed.bytes + parent, 0};
	uint32_t length;

	for (;; index--) {
		memcpy(&length, value.s, LENGTH_BYTES);
		value.s += LENGTH_BYTES;
		value.n = length;
		if (index == 0)
			return value;
		value.s += length;
	}
}

static struct str parent_value(const struct parents *p, size_t parent, struct str name)
{
	size_t index = names_find(&p->handed, name);

	assert(index < p->handed.count);
	return parent_value_at(p, parent, index);
}

static size_t parent_after(const struct parents *p, size_t parent)
{
	struct str last = parent_value_at(p, parent, p->handed.count - 1);

	return (size_t)(last.s + last.n - p->packed.bytes);
}

/* values: one for each handed name.  false: no memory. */
static bool parent_add(struct parents *p, const struct str values[])
{
	size_t i;

	for (i = 0; i < p->handed.count; i++) {
		uint32_t length = (uint32_t)values[i].n;
		char bytes[LENGTH_BYTES];
		assert(values[i].n <= VALUE_LIMIT);
		memcpy(bytes, &length, LENGTH_BYTES);
		json_put(&p->packed, (struct str){bytes, LENGTH_BYTES});
		json_put(&p->packed, values[i]);
	}
	return !p->packed.failed;
}

static void parents_lose(struct parents *p, enum loss loss)
{
	json_out_free(&p->packed);
	p->whole = false;
	p->lost = loss;
}

/* ---- Targets ---- */

/* Does the child want a job for this parent at all? */
static bool parent_wanted(const struct stream *child, const struct parents *p, size_t parent)
{
	size_t n = child->only.value ? strlen(child->only.value) : 0;
	struct str value;

	if (!child->only.name)
		return true;
	value = parent_value(p, parent, str_of(child->only.name));
	if (!value.n)
		return n > 0; /* it can't be told, so the parent is not passed over in silence */
	return value.n >= n && memcmp(value.s, child->only.value, n) == 0;
}

static bool parent_is_whole(const struct parents *p, size_t parent, const struct names *used)
{
	size_t i;

	for (i = 0; i < used->count; i++)
		if (!parent_value(p, parent, used->name[i]).n)
			return false;
	return true;
}

static bool parent_is_nameless(const struct parents *p, size_t parent, const struct names *used,
			       const char *const key[])
{
	size_t i;

	for (i = 0; key[i]; i++)
		if (names_find(used, str_of(key[i])) < used->count && !parent_value(p, parent, str_of(key[i])).n)
			return true;
	return false;
}

/* How a message names a parent. */
static struct str parent_subject(const struct parents *p, size_t parent, const struct names *used)
{
	size_t id = names_find(used, str_of("id"));
	struct str subject = parent_value(p, parent, used->name[id < used->count ? id : 0]);

	return subject.n ? subject : str_of("one without an id");
}

static bool same_tuple(const struct parents *p, size_t a, size_t b, const struct names *used)
{
	size_t i;

	for (i = 0; i < used->count; i++)
		if (!str_equal(parent_value(p, a, used->name[i]), parent_value(p, b, used->name[i])))
			return false;
	return true;
}

/* FNV-1a over the values and their lengths, begun with a number of this run's own, which a server cannot know. */
static uint64_t tuple_hash(const struct parents *p, size_t parent, const struct names *used, uint64_t seed)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ seed;
	size_t i, c;

	for (i = 0; i < used->count; i++) {
		struct str value = parent_value(p, parent, used->name[i]);
		for (c = 0; c < value.n; c++)
			hash = (hash ^ (unsigned char)value.s[c]) * UINT64_C(0x100000001b3);
		hash = (hash ^ value.n ^ seed) * UINT64_C(0x100000001b3);
	}
	return hash ^ hash >> 32;
}

/* A set of tuples with open addressing: each place holds a target's number plus one. */
struct tuple_set {
	uint32_t *places;
	size_t mask;
	uint64_t seed;
};

/* false: the tuple of this parent is in already. */
static bool tuple_add(struct tuple_set *set, const struct targets *t, const struct parents *p, size_t parent,
		      const struct names *used)
{
	size_t at = (size_t)tuple_hash(p, parent, used, set->seed) & set->mask;

	for (; set->places[at]; at = (at + 1) & set->mask)
		if (same_tuple(p, t->parent[set->places[at] - 1], parent, used))
			return false;
	set->places[at] = (uint32_t)t->count + 1;
	return true;
}

static void targets_fill(struct targets *t, struct tuple_set *set, size_t child, const struct parents *p)
{
	struct names used = {.count = 0};
	size_t at;

	names_of(child, &used);
	for (at = 0; at < p->packed.length; at = parent_after(p, at)) {
		if (!parent_wanted(&streams[child], p, at))
			continue;
		if (parent_is_whole(p, at, &used)) {
			if (tuple_add(set, t, p, at, &used))
				t->parent[t->count++] = at;
		} else {
			struct str subject = parent_subject(p, at, &used);
			if (t->missing++ == 0)
				snprintf(t->first_missing, sizeof t->first_missing, "%.*s", str_width(subject, 60),
					 subject.s);
			t->nameless =
				t->nameless || parent_is_nameless(p, at, &used, streams[parent_of(child)].singer.key);
		}
	}
}

static void targets_free(struct targets *t)
{
	static const struct targets none;

	free(t->parent);
	free(t->state);
	*t = none;
}

/* Once the list of parents is whole.  false: no memory. */
static bool targets_make(struct targets *t, size_t child, const struct parents *p, uint64_t seed)
{
	struct tuple_set set = {.mask = 15, .seed = seed};
	size_t rows = 0, at;

	for (at = 0; at < p->packed.length; at = parent_after(p, at))
		rows++;
	while (set.mask < rows * 2)
		set.mask = set.mask * 2 + 1;
	set.places = calloc(set.mask + 1, sizeof *set.places);
	t->parent = malloc((rows + 1) * sizeof *t->parent);
	t->state = calloc(rows * each_count(child) + 1, 1);
	if (set.places && t->parent && t->state)
		targets_fill(t, &set, child, p);
	free(set.places);
	return set.places && t->parent && t->state;
}

/* ---- Plan ---- */

/* Implementation notes.
 *
 * The jobs of a stream are yielded in the order in which their rows are to be written: window by window (months, days,
 * spans; a list is one window), in each the targets, for each the {each} values.  The streams stand in the order of
 * their output.  plan_next computes a stream's next job from the table, the selection, the state, the options and the
 * parents read so far, and from nothing else: it neither allocates nor waits, and it cannot tell which answer came first.
 *
 * A stream whose parents are not all read has no job yet (PLAN_WAITS).  Its parent's stream stands before it, so the
 * first stream that is not over never waits for another.
 *
 * A stream with nothing to ask for (no parents, an empty time) has one empty job all the same: its place in the
 * output, where its SCHEMA and STATE are written. */

/* A place in the order of the streams. */
struct entry {
	size_t stream;
	bool quiet; /* not selected: read for the ids of its rows, of which nothing is written */
	/* How far it is planned. */
	bool planned;        /* to its end, or given up */
	int64_t from, until; /* next window's start, and the end of all windows */
	size_t unit;         /* next job in the window: target * values of {each} + value */
	uint64_t jobs;       /* given out so far; 0: from and until are not set yet */
};

struct since {
	int64_t us;
	bool bookmarked; /* a bookmark, not start_date */
};

struct plan {
	const struct sync_options *opt;
	struct entry order[STREAMS];
	size_t entries;
	bool is_parent[STREAMS]; /* some planned stream needs its rows' fields */
	struct parents parents[STREAMS];
	struct targets targets[STREAMS];
	struct since since[STREAMS];
};

enum plan_answer { PLAN_JOB, PLAN_WAITS, PLAN_END };

/* The pages of one list, month, day of a destination, or span.  The plan is elsewhere by the time that the second page is
 * asked for, so whatever its requests need is kept here. */
struct job {
	/* What plan_next says of it. */
	size_t stream;
	uint64_t rank;    /* grows along the output; never 0 */
	bool quiet;       /* its rows are not written */
	bool first, last; /* of its stream */
	bool closes;      /* the last of its window */
	bool empty;       /* nothing to ask for */
	bool open;        /* a span without an end: up to the time of the answer */
	int64_t from, to; /* its window */
	size_t unit;      /* which target and which value of {each} */
	/* What the walk makes of it. */
	struct job *next;                    /* of the same stream */
	bool begun;                          /* it has been at the front */
	bool want;                           /* a page is to be asked for */
	struct http_request *asked;          /* the page under way */
	struct json_out path;                /* of that page */
	struct page *arrived, **arrived_end; /* pages here and not yet consumed, in the chain's order */
	unsigned page_rows;                  /* a chain keeps the page size it began with */
	bool shrunk;                         /* ... which is not the first one tried */
	unsigned repeats;                    /* of the page under way */
	uint64_t pages, rows;                /* how many came, of the right shape */
	struct json_out cursor, milestone;   /* of the next page; an old one, see chain_follow */
	bool circle;
};

/* Is since after now, or not before end_date?  Then there is nothing to ask for, not even parents. */
static bool plan_ahead(const struct plan *p, size_t stream)
{
	int64_t since = p->since[stream].us;

	return streams[stream].window && !p->opt->sample && (since > p->opt->now_us || since >= p->opt->end_us);
}

/* A stream that would come after a child, or isn't selected, stands just before its first child. */
static void plan_place(struct plan *p, const struct selection sel[], bool placed[], size_t stream)
{
	size_t parent = parent_of(stream);

	if (placed[stream])
		return;
	placed[stream] = true;
	if (parent < STREAMS && !plan_ahead(p, stream)) {
		p->is_parent[parent] = true;
		names_of(stream, &p->parents[parent].handed);
		plan_place(p, sel, placed, parent);
	}
	p->order[p->entries].stream = stream;
	p->order[p->entries++].quiet = !sel[stream].selected;
}

/* The table's order, rotated to begin where the last run was interrupted. */
static void plan_order(struct plan *p, const struct selection sel[], struct str syncing)
{
	bool placed[STREAMS] = {false};
	size_t start = stream_named(syncing), i;

	if (start == STREAMS || !sel[start].selected)
		start = 0;
	for (i = 0; i < STREAMS; i++)
		if (sel[(start + i) % STREAMS].selected)
			plan_place(p, sel, placed, (start + i) % STREAMS);
}

/* The oldest day that the API still has whole; of a stream without such an end, one before all others. */
static int64_t oldest_day(const struct plan *p, size_t stream)
{
	unsigned days = streams[stream].reach_days;

	return days ? day_start(p->opt->now_us) - (days - 1) * DAY_US : INT64_MIN;
}

/* The end of the days that are whole: what an answer says of the minute just past may be incomplete. */
static int64_t whole_days_end(const struct sync_options *opt)
{
	return earlier(opt->end_us == INT64_MAX ? INT64_MAX : day_start(opt->end_us),
		       day_start(opt->now_us - 60 * SECOND_US));
}

static int64_t window_end(enum window window, int64_t from)
{
	switch (window) {
	case WINDOW_NONE: return from + 1;
	case WINDOW_MONTH: return month_next(from);
	case WINDOW_DAY: return from + DAY_US;
	case WINDOW_SPAN:
	case WINDOW_DAYS: return from + SPAN_US;
	}
	return from + 1;
}

static int64_t first_window(const struct plan *p, size_t stream)
{
	int64_t since = p->since[stream].us;

	switch (streams[stream].window) {
	case WINDOW_NONE: return 0;
	case WINDOW_MONTH:
		return month_before(month_start(since)); /* its billing period may run on into since's month */
	case WINDOW_DAY:
	case WINDOW_DAYS: return later(day_start(since), oldest_day(p, stream));
	case WINDOW_SPAN: return since;
	}
	return since;
}

/* One window of recent time is enough to see whether a stream may be read. */
static int64_t sample_window(const struct sync_options *opt, enum window window)
{
	switch (window) {
	case WINDOW_NONE: return 0;
	case WINDOW_MONTH: return month_start(opt->now_us - DAY_US);
	case WINDOW_DAY: return day_start(opt->now_us - DAY_US);
	case WINDOW_DAYS: return day_start(opt->now_us - 60 * SECOND_US) - DAY_US;
	case WINDOW_SPAN: return opt->now_us - SPAN_US;
	}
	return 0;
}

static void plan_open(const struct plan *p, struct entry *e)
{
	enum window window = streams[e->stream].window;

	if (p->opt->sample) {
		e->from = sample_window(p->opt, window);
		e->until = e->from + 1;
		return;
	}
	e->from = first_window(p, e->stream);
	e->until = earlier(p->opt->end_us, p->opt->now_us);
	if (window == WINDOW_NONE)
		e->until = 1;
	if (window == WINDOW_DAYS)
		e->until = whole_days_end(p->opt);
	if (plan_ahead(p, e->stream))
		e->from = e->until;
}

/* How many jobs a window has. */
static size_t plan_units(const struct plan *p, size_t stream)
{
	size_t targets = parent_of(stream) < STREAMS ? p->targets[stream].count : 1;

	return (p->opt->sample && targets ? 1 : targets * each_count(stream));
}

static int64_t job_until(const struct plan *p, const struct entry *e)
{
	enum window window = streams[e->stream].window;
	int64_t end = window_end(window, e->from);

	if (window == WINDOW_DAYS && p->opt->sample)
		return e->from + DAY_US;
	/* Days are whole, but today. */
	return window == WINDOW_DAY || p->opt->sample ? earlier(end, p->opt->now_us) : earlier(end, e->until);
}

static void plan_job(const struct plan *p, struct entry *e, struct job *j)
{
	size_t units = plan_units(p, e->stream), place = (size_t)(e - p->order);
	int64_t end = window_end(streams[e->stream].window, e->from);

	j->stream = e->stream;
	j->quiet = e->quiet;
	j->rank = (uint64_t)(place + 1) << 40 | ++e->jobs;
	j->from = e->from;
	j->to = job_until(p, e);
	j->open = streams[e->stream].window == WINDOW_SPAN && end >= e->until && p->opt->end_us == INT64_MAX;
	j->unit = e->unit;
	j->empty = e->from >= e->until || !units;
	j->closes = j->empty || ++e->unit == units;
	j->last = j->empty || (j->closes && end >= e->until);
	if (j->closes) {
		e->from = end;
		e->unit = 0;
	}
	e->planned = j->last;
}

/* The next job of one stream.  PLAN_WAITS: its parents are not all read.  PLAN_END: there is none. */
static enum plan_answer plan_next(const struct plan *p, struct entry *e, struct job *j)
{
	size_t parent = parent_of(e->stream);

	if (e->planned)
		return PLAN_END;
	if (parent < STREAMS && !p->parents[parent].whole && !p->parents[parent].lost && !plan_ahead(p, e->stream))
		return PLAN_WAITS;
	memset(j, 0, sizeof *j);
	j->first = !e->jobs;
	if (j->first)
		plan_open(p, e);
	plan_job(p, e, j);
	return PLAN_JOB;
}

/* The parent of a job, as an offset. */
static size_t job_parent(const struct plan *p, const struct job *j)
{
	return p->targets[j->stream].parent[j->unit / each_count(j->stream)];
}

static const char *job_each(const struct job *j)
{
	return streams[j->stream].each[j->unit % each_count(j->stream)];
}

/* ---- Paths ---- */

static bool is_unreserved(char c)
{
	return is_alpha(c) || is_digit(c) || (c && strchr("-._~", c));
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

/* What is asked for begins and ends a little outside of the window where it is not said whether the API's ends are
 * inclusive: the rows are compared anyway.  A day is asked for to its last millisecond, as the API may count the end itself
 * to the window. */
static int64_t asked_from(const struct job *j)
{
	return j->from - streams[j->stream].overlap_s * SECOND_US;
}

static int64_t asked_to(const struct job *j)
{
	if (streams[j->stream].window == WINDOW_DAY)
		return earlier(j->to, j->from + DAY_US - 1000);
	return j->to + streams[j->stream].overlap_s * SECOND_US;
}

/* The time that {from}, {to} or {month} stands for.  Instants have milliseconds, as in the API's examples. */
static void put_time(struct json_out *out, const struct job *j, struct str name)
{
	char text[TIME_SIZE];

	time_format(str_is(name, "to") ? asked_to(j) : asked_from(j), text);
	if (str_is(name, "month"))
		text[DATE_LENGTH] = '\0';
	else
		memcpy(text + 23, "Z", 2);
	json_put_text(out, text);
}

/* A template of the path or the query, filled in. */
static void put_template(struct json_out *out, const struct plan *p, const struct job *j, const char *text)
{
	struct str plain, name;

	while (template_next(&text, &plain, &name)) {
		json_put(out, plain);
		if (str_is(name, "each"))
			put_encoded(out, str_of(job_each(j)));
		else if (is_of_request(name))
			put_time(out, j, name);
		else if (name.n)
			put_encoded(out, parent_value(&p->parents[parent_of(j->stream)], job_parent(p, j), name));
	}
}

static void put_parameter(struct json_out *out, char *before, const char *name)
{
	json_put(out, (struct str){before, 1});
	json_put_text(out, name);
	json_put_text(out, "=");
	*before = '&';
}

/* The whole path and query of the page that a job wants, ending in a NUL. */
static void job_path(struct json_out *out, const struct plan *p, const struct job *j)
{
	const struct stream *s = &streams[j->stream];
	char before = '?';
	size_t i;

	put_template(out, p, j, s->path);
	for (i = 0; s->query && s->query[i].name; i++) {
		if (j->open && strcmp(s->query[i].value, "{to}") == 0)
			continue;
		put_parameter(out, &before, s->query[i].name);
		put_template(out, p, j, s->query[i].value);
	}
	if (j->page_rows) {
		put_parameter(out, &before, s->count_name ? s->count_name : "pagination.count");
		json_put_int64(out, j->page_rows);
	}
	if (j->cursor.length) {
		put_parameter(out, &before, s->cursor_name ? s->cursor_name : "pagination.cursor");
		put_encoded(out, (struct str){j->cursor.bytes, j->cursor.length});
	}
	json_put(out, (struct str){"", 1});
}

void streams_notice(void *ctx, const struct http_notice *n)
{
	const char *stream = n->lane < STREAMS ? stream_name(n->lane) : NULL; /* NULL: GET / asks about the token */
	const char *subject = stream ? stream : "the token";

	(void)ctx;
	if (n->event == HTTP_RATE_LIMIT)
		log_stream(LOG_INFO, stream, "%s: %s: rate limit (%s): waiting %lld ms", subject, n->path, n->reason,
			   (long long)n->wait_ms);
	else if (n->event == HTTP_RETRY)
		log_stream(LOG_WARNING, stream, "%s: %s: %s: attempt %u failed, next one in %lld ms", subject, n->path,
			   n->reason, n->attempt, (long long)n->wait_ms);
}

/* ---- Texts: what an answer says of itself ---- */

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

/* A page of HTML, as proxies and firewalls put in an answer's place: its title, empty where it has none. */
static bool html_title(struct str body, struct str *title)
{
	static const char opening[] = "<title>";
	struct str text = str_trim(body);
	size_t i;

	*title = str_of("");
	if (!text.n || *text.s != '<')
		return false;
	for (; text.n >= sizeof opening - 1; str_skip(&text, 1)) {
		if (!str_is_word((struct str){text.s, sizeof opening - 1}, opening))
			continue;
		str_skip(&text, sizeof opening - 1);
		for (i = 0; i < text.n && text.s[i] != '<'; i++)
			;
		*title = str_trim((struct str){text.s, i});
		break;
	}
	return true;
}

/* What the answer itself says of an error, where it does: " (message; type; field F)", or that it is a page of HTML. */
static void error_add_answer(struct error *t, const struct http_response *a)
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
	if (html_title((struct str){a->body, a->length}, &said)) {
		error_add(t, "%sa page of HTML%s%.*s", before, said.n ? ": " : "", str_width(said, 100), said.s);
		before = "; ";
	}
	if (*before == ';')
		error_add(t, ")");
	arena_free(&arena);
}

/* ---- Pages ---- */

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
	struct json rows, pagination, cursor; /* of a 200 */
	uint64_t count, rows_so_far;          /* its rows; those of its chain, up to its last */
	bool first;                           /* of its chain */
	bool no_memory;
	struct error wrong; /* with the shape of a 200; empty: nothing */
	size_t cost;        /* bytes, while it is held */
};

static bool page_is(const struct page *p, int status)
{
	return p->answer->outcome == HTTP_DONE && p->answer->status == status;
}

static bool page_is_good(const struct page *p)
{
	return page_is(p, 200) && !p->wrong.text[0] && !p->no_memory;
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

/* What is wrong with one row, or NULL. */
static const char *row_misshape(const struct stream *s, const struct names *handed, struct json row)
{
	struct json_each it;
	size_t i;

	if (s->shape == ROWS_TEXTS)
		return json_type(row) == JSON_STRING ? NULL : "holds a row that is no text";
	if (json_type(row) != JSON_OBJECT)
		return "holds a row that is no object";
	for (i = 0; i < handed->count; i++)
		if (json_token(json_member(row, handed->name[i])).n > VALUE_LIMIT)
			return "holds an id of more than 64 KiB";
	if (s->shape != ROWS_SERIES)
		return NULL;
	if (json_type(json_get(row, s->series)) != JSON_ARRAY)
		return "holds a row whose series is no list";
	for (it = json_each(json_get(row, s->series)); json_next(&it);)
		if (json_type(it.value) != JSON_OBJECT && json_type(it.value) != JSON_STRING)
			return "holds a series with an element that is neither an object nor a text";
	return NULL;
}

/* Finds the rows and the next cursor.  What is wrong with them, or NULL. */
static const char *page_misshape(const struct stream *s, const struct names *handed, struct page *p, struct json root)
{
	struct json data = json_get(root, "data");
	const char *wrong = NULL;
	struct json_each it;

	p->rows = json_get(data, s->rows);
	p->pagination = json_get(data, "pagination");
	p->cursor = json_get(p->pagination, "next");
	if (s->shape == ROWS_OBJECT)
		return json_type(p->rows) == JSON_OBJECT ? NULL : "is not one object";
	if (json_type(p->rows) != JSON_ARRAY)
		return "is not a list";
	for (it = json_each(p->rows); !wrong && json_next(&it); p->count++)
		wrong = row_misshape(s, handed, it.value);
	if (!wrong && (!is_if_any(p->pagination, JSON_OBJECT) || !is_if_any(p->cursor, JSON_STRING)))
		return "has no readable pagination beside it";
	if (!wrong && json_token(p->cursor).n > VALUE_LIMIT)
		return "has a cursor of more than 64 KiB beside it";
	return wrong;
}

/* Parses a 200's body and looks it over. */
static void page_read(struct page *p, const struct stream *s, const struct names *handed)
{
	struct json_error bad = {.what = ""};
	const char *wrong;
	struct json root;
	struct str title;

	p->tape.limit = PAGE_TAPE_LIMIT;
	if (!json_parse(&p->tape, p->answer->body, p->answer->length, &root, &bad)) {
		p->no_memory = bad.no_memory;
		fail(&p->wrong, "no JSON, line %zu, column %zu: %s", bad.line, bad.column, bad.what);
		if (html_title((struct str){p->answer->body, p->answer->length}, &title))
			fail(&p->wrong, "a page of HTML in place of JSON%s%.*s", title.n ? ": " : "",
			     str_width(title, 100), title.s);
		return;
	}
	wrong = page_misshape(s, handed, p, root);
	if (wrong)
		fail(&p->wrong, "not of the expected shape: data.%s %s", s->rows, wrong);
}

/* "GET /path: status 422 (message; type)", or what else became of the request. */
static void error_add_page(struct error *t, const struct page *p)
{
	const struct http_response *a = p->answer;

	if (*a->error) { /* of a redirect as well */
		error_add(t, "%s", a->error);
		return;
	}
	error_add(t, "GET %.400s: status %d", p->path.bytes, a->status);
	if (a->status == 200)
		error_add(t, ", %s", p->wrong.text);
	else
		error_add_answer(t, a);
}

/* ---- The run ---- */

/* What is known of whether the token is good, where a stream was refused with 401. */
enum token_state { TOKEN_UNASKED, TOKEN_WORKS, TOKEN_UNCLEAR };

/* What is known of a stream so far, in plan order. */
struct tally {
	bool begun;    /* its turn came, and its end is not reported yet */
	bool answered; /* some request was answered well */
	enum token_state token;
	int doubts;                         /* 401s since GET / was asked, but for the one that it was asked for */
	uint64_t forbidden, gone;           /* jobs left out: 403, and 404 or without a field that they need */
	char first_left_out[LEFT_OUT_SIZE]; /* id of the first of them */
	uint64_t failed;                    /* jobs that failed while the others went on */
	unsigned failed_in_a_row;
	uint64_t misfits;         /* rows left out because they do not fit the schema */
	bool hole;                /* something of a window is missing: the bookmark stays where it is */
	bool incomplete;          /* it is over, and rows of it or of its parents may be missing */
	uint64_t in_window;       /* rows written since the last bookmark was due */
	int64_t highest;          /* ... and the latest of them */
	bool gap;                 /* months or days, from since on, that the API doesn't have: */
	int64_t gap_from, gap_to; /* the first and the last of them, */
	struct error gap_reason;  /* and its words for it */
	uint64_t requests;        /* that ended, repeated ones of the client's aside */
	int64_t begun_ms;         /* when its turn came, by log_clock_ms */
	uint64_t counted;         /* records, at the last metric line */
	int64_t counted_us;       /* ... and when that was; 0: no answer yet */
};

/* The jobs of one stream that are planned and not closed, in plan order. */
struct queue {
	struct job *front, **end;
	size_t length;
	unsigned asked; /* pages asked for and not yet here */
};

struct run {
	struct http *http;
	struct singer *singer;
	struct state *state;
	struct selection *sel;
	const struct sync_options *opt;
	struct plan plan;
	struct tally tally[STREAMS];
	struct queue queue[STREAMS]; /* of each place in the plan's order */
	size_t at;                   /* the place whose turn it is */
	struct sync_totals totals;
	enum sync_result result; /* why it ends early */
	unsigned asked;          /* pages asked for and not yet here, of all streams */
	size_t page_bytes;       /* of pages here and not yet consumed */
	struct http_request *token_probe;
	size_t token_stream;      /* for which it is asked */
	unsigned page_rows_limit; /* found out by a refusal; 0: none met */
	bool shrink_told, partly, no_memory;
	bool answered;        /* some request was answered well */
	bool failed_for_good; /* some failure is none that passes by itself */
	struct arena scratch; /* of one row */
	struct arena arena;   /* of the run */
	struct json empty;    /* {}: what a record made of a bare string begins with */
};

/* What becomes of the job at the front. */
enum step {
	STEP_ON,   /* it goes on */
	STEP_SKIP, /* it is over, its stream goes on */
	STEP_DROP, /* its stream is over; the reason is logged */
	STEP_END,  /* the run is over; r->result and the log say why, unless it is standard output */
	STEP_STOP  /* the run is over: a signal */
};

/* The first failure is told once more in the run's last line. */
static void run_reason(struct run *r, const char *text)
{
	if (!r->totals.reason.text[0])
		fail(&r->totals.reason, "%.300s", text);
}

/* A failure, or as a warning what is forbidden, which is a failure too if the user says so. */
static void run_log(struct run *r, enum log_level level, size_t stream, const char *text)
{
	struct error line = {""};

	error_add(&line, "%s: %s", stream_name(stream), text);
	if (level >= LOG_ERROR || r->opt->fail_on_forbidden)
		run_reason(r, line.text);
	log_stream(level, stream_name(stream), "%s", line.text);
}

/* What ends the run is told in its last line, and before it where that is not the next one. */
static enum step run_ends(struct run *r, enum sync_result result, const char *subject, const char *why)
{
	struct error line = {""};

	error_add(&line, "%s: %s", subject, why);
	r->result = result;
	fail(&r->totals.reason, "%.300s", line.text);
	if (!r->opt->sample)
		log_line(LOG_CRITICAL, "%s", line.text);
	return STEP_END;
}

static enum step run_no_memory(struct run *r)
{
	return run_ends(r, SYNC_ENDED, "no memory", "a smaller page_size or max_connections needs less");
}

static bool run_stopped(const struct run *r)
{
	return r->opt->stop && *r->opt->stop;
}

/* A sample keeps no state. */
static bool put_state(struct run *r)
{
	if (!r->opt->sample)
		singer_state(r->singer, r->state);
	return singer_flush(r->singer);
}

/* ---- Failures ---- */

enum {
	LEFT_OUT_JOBS = 3, /* so many at a stream's start, and it is left out as a whole */
	FAILED_JOBS = 3,   /* so many in a row, and the stream has failed as a whole */
	ERRORS_TOLD = 3    /* lines about single jobs of a stream */
};

/* What to look at, by the parameter that the API names. */
static const char *advice_of_field(const struct stream *s, const struct http_response *a)
{
	static const struct {
		const char *field, *text;
	} table[] = {{"period", "check start_date"},
		     {"startTime", "check start_date"},
		     {"endTime", "check end_date"},
		     {"pagination.count", "check page_size"},
		     {"pagination", "check page_size"}};
	struct arena arena = {.limit = API_ERROR_LIMIT};
	struct json error = api_error(&arena, a->body, a->length), field = json_get(error, "field");
	const char *text = s->window ? "check start_date, end_date and page_size" : "check page_size";
	size_t i;

	if (json_type(error) != JSON_OBJECT)
		text = "run again later";
	else if (json_token(field).n)
		text = "run again later, and report it if it stays";
	for (i = 0; i < countof(table); i++)
		if (json_equals(field, str_of(table[i].field)))
			text = table[i].text;
	arena_free(&arena);
	return text;
}

static const char *advice(const struct stream *s, const struct page *p)
{
	const struct http_response *a = p->answer;

	if (a->outcome == HTTP_TOO_LARGE)
		return "a smaller page_size may help; if not, report it";
	if (a->outcome != HTTP_DONE)
		return "run again later";
	if (a->status == 200)
		return "it was asked three times; run again later";
	if (a->status / 100 == 3)
		return "check region as well";
	if (a->status == 404 && p->first)
		return "check base_url and region";
	return a->status == 400 || a->status == 422 ? advice_of_field(s, a) : "run again later";
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

static enum step stream_fails(struct run *r, const struct job *j, const char *why)
{
	struct error line = {""};

	error_add(&line, "failed: %s", why);
	run_log(r, LOG_ERROR, j->stream, line.text);
	return stream_ends(r, j, LOSS_FAILED);
}

/* The third failure in a row speaks for the stream as a whole; where a stream is one job, the first does. */
static enum step job_fails(struct run *r, const struct job *j, const char *why)
{
	struct tally *t = &r->tally[j->stream];
	struct error line = {""};

	if (!has_peers(j->stream) || ++t->failed_in_a_row == FAILED_JOBS)
		return stream_fails(r, j, why);
	t->hole = true;
	error_add(&line, "%s: %s", stream_name(j->stream), why);
	run_reason(r, line.text);
	if (t->failed++ < ERRORS_TOLD)
		log_stream(LOG_ERROR, stream_name(j->stream), "%s; the others go on", line.text);
	return STEP_SKIP;
}

/* May the same request go better at another time, without anybody doing anything? */
static bool failure_passes(const struct page *p)
{
	const struct http_response *a = p->answer;

	return a->outcome == HTTP_BROKEN || a->status >= 500 || a->status == 408 || a->status == 425 ||
	       a->status == 429;
}

static enum step answer_fails(struct run *r, const struct job *j, const struct page *p)
{
	struct error what = {""};

	r->failed_for_good = r->failed_for_good || !failure_passes(p);
	error_add_page(&what, p);
	error_add(&what, "; %s", advice(&streams[j->stream], p));
	return job_fails(r, j, what.text);
}

static enum step stream_forbidden(struct run *r, const struct job *j, const struct page *p)
{
	struct error answer = {""}, what = {""};

	error_add_page(&answer, p);
	error_add(&what, "skipped: %s; it needs %s; or leave the stream out", answer.text, streams[j->stream].needs);
	run_log(r, LOG_WARNING, j->stream, what.text);
	return stream_ends(r, j, LOSS_FORBIDDEN);
}

static enum step child_lost(struct run *r, const struct job *j, size_t parent)
{
	enum loss loss = r->plan.parents[parent].lost;

	log_stream(LOG_WARNING, stream_name(j->stream),
		   "%s: %s: it needs the list of %s, which can't be read (see above)", stream_name(j->stream),
		   loss == LOSS_FORBIDDEN ? "skipped" : "failed", stream_name(parent));
	return stream_ends(r, j, loss);
}

/* What a job is about, where its stream has several: the parent's id, else the value of {each}. */
static struct str job_subject(const struct run *r, const struct job *j)
{
	struct names used = {.count = 0};

	names_of(j->stream, &used);
	if (!used.count)
		return str_of(job_each(j));
	return parent_subject(&r->plan.parents[parent_of(j->stream)], job_parent(&r->plan, j), &used);
}

static void note_left_out(struct run *r, const struct job *j)
{
	struct tally *t = &r->tally[j->stream];
	struct str id = job_subject(r, j);

	if (!t->first_left_out[0])
		snprintf(t->first_left_out, sizeof t->first_left_out, "%.*s", str_width(id, 60), id.s);
}

static unsigned char *target_state(struct run *r, const struct job *j)
{
	return parent_of(j->stream) < STREAMS ? &r->plan.targets[j->stream].state[j->unit] : NULL;
}

/* One of several jobs is refused for lack of permission.  In a window it is left out of the whole run where its first
 * request was refused: its windows are passed over, and a warning names it.  Refused later, or with fail_on_forbidden, it
 * leaves a hole, before which the bookmark stays. */
static enum step job_forbidden(struct run *r, const struct job *j, const struct page *p)
{
	struct tally *t = &r->tally[j->stream];
	unsigned char *state = target_state(r, j);
	bool windowed = streams[j->stream].window != WINDOW_NONE;

	if (windowed && state && *state == TARGET_ANSWERED)
		return answer_fails(r, j, p);
	t->forbidden++;
	if (!t->answered && !t->failed &&
	    (t->forbidden == LEFT_OUT_JOBS || t->forbidden == plan_units(&r->plan, j->stream))) {
		t->forbidden = t->gone = 0; /* all are named by what follows */
		return stream_forbidden(r, j, p);
	}
	note_left_out(r, j);
	t->doubts += p->answer->status == 401;
	if (windowed && state)
		*state = TARGET_LEFT_OUT;
	if (r->opt->fail_on_forbidden)
		t->hole = r->partly = true;
	return STEP_SKIP;
}

/* what: the answer with status 401. */
static enum step token_fails(struct run *r, const struct job *j, struct error *what)
{
	error_add(what, "; whether the token is good can't be told, for GET / gives no answer either; run again later");
	return stream_fails(r, j, what->text);
}

/* 403, or a 401 of a token that works elsewhere.  After a good answer to the same list it is no matter of permission. */
static enum step answer_forbidden(struct run *r, const struct job *j, const struct page *p)
{
	struct error what = {""};

	if (p->answer->status == 401 && r->tally[j->stream].token == TOKEN_UNCLEAR) {
		error_add_page(&what, p);
		return token_fails(r, j, &what);
	}
	if (has_peers(j->stream) && p->first)
		return job_forbidden(r, j, p);
	if (has_peers(j->stream) || r->tally[j->stream].answered)
		return answer_fails(r, j, p);
	return stream_forbidden(r, j, p);
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
		error_add_page(&t->gap_reason, p);
	gap_add(t, j->from, j->from);
	return STEP_SKIP;
}

/* The day has grown too old while the run went on. */
static bool is_day_too_old(const struct job *j, const struct page *p)
{
	const struct stream *s = &streams[j->stream];

	return s->window == WINDOW_DAY && s->reach_days && (p->answer->status == 400 || p->answer->status == 422) &&
	       p->answer->received_us - j->from > s->reach_days * DAY_US;
}

/* Any final status that is neither 200 nor a matter of permission. */
static enum step answer_refused(struct run *r, const struct job *j, const struct page *p)
{
	struct tally *t = &r->tally[j->stream];
	int status = p->answer->status;

	if (status == 404 && has_peers(j->stream) && (p->first || !streams[j->stream].window)) {
		t->gone++;
		note_left_out(r, j);
		return STEP_SKIP;
	}
	if (streams[j->stream].window == WINDOW_MONTH && (status == 400 || status == 404 || status == 422))
		return month_refused(r, j, p);
	if (is_day_too_old(j, p)) {
		gap_add(t, j->from, j->from);
		return STEP_SKIP;
	}
	return answer_fails(r, j, p);
}

/* What ends the run, whatever else the answer says.  STEP_ON: nothing does. */
static enum step answer_ends_run(struct run *r, const struct job *j, const struct page *p)
{
	const struct http_response *a = p->answer;

	switch (a->outcome) {
	case HTTP_DONE:
	case HTTP_BROKEN:
	case HTTP_TOO_LARGE: break;
	case HTTP_UNREACHABLE: return run_ends(r, SYNC_LATER, stream_name(j->stream), a->error);
	case HTTP_UNTRUSTED: return run_ends(r, SYNC_REFUSED, stream_name(j->stream), a->error);
	case HTTP_NO_MEMORY: return run_no_memory(r);
	}
	return p->no_memory ? run_no_memory(r) : STEP_ON;
}

/* A chain that brings as many rows as the API gives at most is taken to be cut off. */
static bool page_is_cut(const struct page *p, const struct job *j)
{
	unsigned most = streams[j->stream].rows_most;
	int64_t total = 0;

	return most && (p->rows_so_far >= most ||
			(json_int64(json_get(p->pagination, "totalEntries"), &total) && total >= (int64_t)most));
}

/* STEP_ON: the page's rows can be used. */
static enum step answer_judge(struct run *r, const struct job *j, const struct page *p)
{
	enum step step = answer_ends_run(r, j, p);
	struct tally *t = &r->tally[j->stream];
	unsigned char *state = target_state(r, j);
	struct error what = {""};

	if (step != STEP_ON)
		return step;
	if (p->answer->outcome == HTTP_DONE && (p->answer->status == 401 || p->answer->status == 403))
		return answer_forbidden(r, j, p);
	if (state)
		*state = TARGET_ANSWERED;
	if (p->answer->outcome != HTTP_DONE || (p->answer->status == 200 && !page_is_good(p)))
		return answer_fails(r, j, p);
	if (p->answer->status != 200)
		return answer_refused(r, j, p);
	r->answered = t->answered = true;
	t->failed_in_a_row = 0;
	if (!page_is_cut(p, j))
		return STEP_ON;
	error_add(&what, "GET %.400s: %u groups and more, beyond which the API gives none", p->path.bytes,
		  streams[j->stream].rows_most);
	return job_fails(r, j, what.text);
}

/* ---- A token's probe: is a 401 about the token, or about one resource? ---- */

/* Once for each stream that is refused, and once more where a window ends in which others of it were: a token may be revoked
 * while the run goes on. */
static bool token_is_unknown(const struct run *r, const struct job *j, const struct page *p)
{
	return page_is(p, 401) && r->tally[j->stream].token == TOKEN_UNASKED;
}

static enum step token_ask(struct run *r, size_t stream, int doubts)
{
	r->tally[stream].doubts = doubts;
	r->token_probe = http_start(r->http, "/", V1, 0, STREAMS);
	r->token_stream = stream;
	return r->token_probe ? STEP_ON : run_no_memory(r);
}

/* Of GET /, which every token may ask for. */
static enum step token_judge(struct run *r)
{
	const struct http_response *a = http_response(r->token_probe);
	bool refused = a->outcome == HTTP_DONE && (a->status == 401 || a->status == 403);
	struct error what = {"GET /: "};
	enum step step = STEP_ON;

	if (refused) {
		error_add(&what, "status %d", a->status);
		error_add_answer(&what, a);
		error_add(&what, "; check api_token, and that region is the workspace's");
		step = run_ends(r, SYNC_REFUSED, "the API refuses the token", what.text);
	} else if (a->outcome == HTTP_NO_MEMORY) {
		step = run_no_memory(r);
	} else if (a->outcome == HTTP_UNREACHABLE || a->outcome == HTTP_UNTRUSTED) {
		step = run_ends(r, a->outcome == HTTP_UNTRUSTED ? SYNC_REFUSED : SYNC_LATER,
				"the token can't be checked", a->error);
	}
	r->tally[r->token_stream].token = a->outcome == HTTP_DONE && a->status == 200 ? TOKEN_WORKS : TOKEN_UNCLEAR;
	http_release(r->http, r->token_probe);
	r->token_probe = NULL;
	return step;
}

/* ---- Rows ---- */

/* A page's rows, one after the other: the elements of its list, bare strings too; its one object; or the elements of a
 * list inside each of its rows, around which the row stands. */
struct rows {
	const struct stream *stream;
	struct json_each outer, inner;
	struct json row, around; /* the row at hand; what stands around it, or the row itself */
	bool done;
};

static void rows_begin(struct rows *it, const struct stream *s, struct json rows)
{
	*it = (struct rows){.stream = s, .outer = json_each(rows), .row = rows, .around = rows};
}

static bool rows_next(struct rows *it)
{
	if (it->stream->shape == ROWS_OBJECT) {
		bool first = !it->done;
		it->done = true;
		return first;
	}
	if (it->stream->shape == ROWS_SERIES) {
		while (!json_next(&it->inner)) {
			if (!json_next(&it->outer))
				return false;
			it->around = it->outer.value;
			it->inner = json_each(json_get(it->around, it->stream->series));
		}
		it->row = it->inner.value;
		return true;
	}
	if (!json_next(&it->outer))
		return false;
	it->row = it->around = it->outer.value;
	return true;
}

/* What the table adds to the rows of a job. */
struct extras {
	struct singer_extra extra[STREAM_ADD];
	size_t n;
	char from[TIME_SIZE];
};

/* The member at a path such as ".source.id", of the row or of what stands around it; "." is the row itself. */
static struct json row_member(const struct rows *it, struct str path)
{
	struct json v = it->row;
	struct str rest = {path.s + 1, path.n - 1}, part = str_cut(&rest, '.');

	if (!part.n)
		return v;
	v = json_member(it->row, part);
	if (!v.node)
		v = json_member(it->around, part);
	while (rest.n)
		v = json_member(v, str_cut(&rest, '.'));
	return v;
}

/* A scalar's text: a string's meaning, a number's digits; none of null, of what is absent and of what holds others.
 * false: no memory. */
static bool scalar_text(struct json v, struct arena *arena, struct str *text)
{
	*text = str_of("");
	if (json_type(v) == JSON_STRING)
		return json_string(v, arena, text);
	if (json_type(v) == JSON_NUMBER || json_type(v) == JSON_BOOL)
		*text = json_token(v);
	return true;
}

static bool in_unique_key(const struct stream *s, const char *field)
{
	const char *const *key = s->singer.unique_key ? s->singer.unique_key : s->singer.key;
	size_t i = 0;

	while (key[i] && strcmp(key[i], field) != 0)
		i++;
	return key[i];
}

/* The text that a field of `add` gets.  *absent: the row has nothing to give, and the key does without.
 * false: no memory. */
static bool extra_text(struct run *r, const struct job *j, const struct rows *it, size_t i, struct extras *x,
		       struct str *text, bool *absent)
{
	const struct stream *s = &streams[j->stream];
	const char *template = s->add[i].value;
	struct str plain, name;

	*absent = false;
	template_next(&template, &plain, &name);
	if (is_of_row(name)) {
		struct json v = row_member(it, name);
		*absent = json_type(v) <= JSON_NULL && !in_unique_key(s, s->add[i].name);
		return scalar_text(v, &r->scratch, text);
	}
	if (str_is(name, "from")) {
		time_format(j->from, x->from);
		*text = str_of(x->from);
	} else if (str_is(name, "each")) {
		*text = str_of(job_each(j));
	} else {
		*text = parent_value(&r->plan.parents[parent_of(j->stream)], job_parent(&r->plan, j), name);
	}
	return true;
}

static bool extras_make(struct run *r, const struct job *j, const struct rows *it, struct extras *x)
{
	const struct stream *s = &streams[j->stream];
	struct str text;
	bool absent;
	size_t i;

	x->n = 0;
	for (i = 0; s->add && s->add[i].name; i++) {
		if (!extra_text(r, j, it, i, x, &text, &absent))
			return false;
		if (absent)
			continue;
		x->extra[x->n].field = s->add[i].name;
		x->extra[x->n++].value = text;
	}
	return true;
}

/* The value that a row will have under this name: added, else its own. */
static bool row_text(struct run *r, const struct rows *it, const struct extras *x, struct str name, struct str *text)
{
	size_t i;

	for (i = 0; i < x->n; i++)
		if (str_is(name, x->extra[i].field)) {
			*text = x->extra[i].value;
			return true;
		}
	return scalar_text(json_member(it->row, name), &r->scratch, text);
}

/* The documented key of a row: "sourceId=a, ...". */
static void error_add_key(struct run *r, struct error *t, const struct job *j, const struct rows *it,
			  const struct extras *x)
{
	const char *const *key = streams[j->stream].singer.key;
	size_t i;

	for (i = 0; key[i]; i++) {
		struct str value;
		if (!row_text(r, it, x, str_of(key[i]), &value))
			value = str_of("?");
		error_add(t, "%s%s=%.*s", i ? ", " : "", key[i], str_width(value, 100), value.s);
	}
}

/* ---- Sample: what --test says of a stream ---- */

static void sample_note(struct run *r, const struct job *j, enum access access, int status, const char *text)
{
	struct probe *probe = &r->opt->sample[j->stream];

	if (j->quiet)
		return;
	probe->access = access;
	probe->status = status;
	snprintf(probe->text, sizeof probe->text, "%.*s", str_width(str_of(text), sizeof probe->text - 1), text);
}

static void sample_add(struct run *r, const struct job *j, const char *more)
{
	struct probe *probe = &r->opt->sample[j->stream];
	struct error text = {""};

	error_add(&text, "%s; %s", probe->text, more);
	sample_note(r, j, probe->access, probe->status, text.text);
}

static void sample_row(struct run *r, const struct job *j, const struct rows *it, const struct extras *x)
{
	struct error key = {""};

	error_add_key(r, &key, j, it, x);
	sample_note(r, j, ACCESS_YES, 200, key.text);
}

static void sample_refused(struct error *t, const struct job *j, const struct page *p, bool forbidden)
{
	int status = p->answer->status;

	if (*p->answer->error) {
		error_add(t, "%s", p->answer->error);
	} else if (status == 200) {
		error_add(t, "%s", p->wrong.text);
	} else {
		if (forbidden)
			error_add(t, "needs %s", streams[j->stream].needs);
		else
			error_add(t, "refused%s", status == 401 ? "; whether the token is good can't be told" : "");
		error_add_answer(t, p->answer);
	}
}

/* In place of answer_judge: nothing is logged, for the table says it. */
static enum step sample_judge(struct run *r, const struct job *j, const struct page *p)
{
	enum step step = answer_ends_run(r, j, p);
	bool unclear = page_is(p, 401) && r->tally[j->stream].token == TOKEN_UNCLEAR;
	bool forbidden = !unclear && (page_is(p, 401) || page_is(p, 403));
	struct error text = {""};

	if (step != STEP_ON)
		return step;
	if (page_is_good(p)) {
		r->answered = true;
		sample_note(r, j, ACCESS_YES, 200, "no rows");
		return STEP_ON;
	}
	sample_refused(&text, j, p, forbidden);
	sample_note(r, j, forbidden ? ACCESS_NO : ACCESS_ERROR, p->answer->status, text.text);
	error_about(&text, stream_name(j->stream));
	run_reason(r, text.text);
	r->partly = r->partly || !j->quiet;
	r->failed_for_good = r->failed_for_good || !(forbidden || unclear || failure_passes(p));
	return stream_ends(r, j, forbidden ? LOSS_FORBIDDEN : LOSS_FAILED);
}

static void sample_untried(struct run *r, const struct job *j)
{
	struct error text = {""};

	error_add(&text, "not tried: no row of %s to ask for", streams[j->stream].singer.parent);
	sample_note(r, j, ACCESS_UNTRIED, 0, text.text);
}

static enum step sample_lost(struct run *r, const struct job *j, enum loss loss)
{
	struct error text = {""};

	error_add(&text, "needs the list of %s, which can't be read", streams[j->stream].singer.parent);
	sample_note(r, j, loss == LOSS_FORBIDDEN ? ACCESS_NO : ACCESS_ERROR, 0, text.text);
	r->partly = r->partly || !j->quiet;
	return stream_ends(r, j, loss);
}

/* ---- Rows: written ---- */

/* Months aren't compared: rows of a billing period may lie outside of the month that was asked for. */
static bool row_wanted(const struct run *r, const struct job *j, int64_t us)
{
	if (r->opt->sample)
		return true;
	switch (streams[j->stream].window) {
	case WINDOW_NONE:
	case WINDOW_DAY: return true;
	case WINDOW_MONTH: return us >= r->plan.since[j->stream].us && us < r->opt->end_us;
	case WINDOW_SPAN:
	case WINDOW_DAYS: return us >= j->from && (j->open || us < j->to);
	}
	return true;
}

/* Keeps what the row hands down to the children of its stream. */
static enum step parent_take(struct run *r, const struct job *j, const struct rows *it, const struct extras *x)
{
	struct parents *p = &r->plan.parents[j->stream];
	struct str values[HANDED_NAMES];
	struct error what = {""};
	size_t i;

	for (i = 0; i < p->handed.count; i++)
		if (!row_text(r, it, x, p->handed.name[i], &values[i]))
			return run_no_memory(r);
	if (!parent_add(p, values))
		return run_no_memory(r);
	if (p->packed.length <= PARENTS_LIMIT)
		return STEP_ON;
	error_add(&what, "the ids of its rows, by which other lists are asked for, take more than %d MiB",
		  PARENTS_LIMIT >> 20);
	return stream_fails(r, j, what.text);
}

/* A row that does not fit is left out, and the stream goes on; but what it lacks is a hole. */
static enum step row_misfits(struct run *r, const struct job *j, const struct page *p, const char *why)
{
	struct tally *t = &r->tally[j->stream];
	struct error line = {""};

	t->hole = true;
	error_add(&line, "%s; the row is left out (GET %.400s)", why, p->path.bytes);
	run_reason(r, line.text);
	if (r->opt->sample) {
		sample_add(r, j, why);
		t->misfits++;
	} else if (t->misfits++ == 0) {
		log_stream(LOG_ERROR, stream_name(j->stream), "%s", line.text);
	}
	return STEP_ON;
}

static enum step row_undated(struct run *r, const struct job *j, const struct page *p, const struct rows *it,
			     const struct extras *x)
{
	struct error what = {""};

	error_add(&what, "stream %s: a row with ", stream_name(j->stream));
	error_add_key(r, &what, j, it, x);
	error_add(&what, " has no readable %s, which dates it", streams[j->stream].singer.replication_key);
	return row_misfits(r, j, p, what.text);
}

static enum step row_take(struct run *r, const struct job *j, const struct page *p, const struct rows *it,
			  const struct extras *x)
{
	struct selection *sel = &r->sel[j->stream];
	struct tally *t = &r->tally[j->stream];
	struct error why = {""};
	struct str text;
	int64_t us = 0;

	if (streams[j->stream].window) {
		if (!row_text(r, it, x, str_of(sel->stream->replication_key), &text))
			return run_no_memory(r);
		if (!time_parse(text, &us))
			return row_undated(r, j, p, it, x);
		if (!row_wanted(r, j, us))
			return STEP_ON;
	}
	if (!singer_record(r->singer, sel, json_type(it->row) == JSON_OBJECT ? it->row : r->empty, x->extra, x->n,
			   p->answer->received_us, &why))
		return row_misfits(r, j, p, why.text);
	t->highest = t->in_window++ ? later(t->highest, us) : us;
	return STEP_ON;
}

/* The stop flag is looked at between rows, so that a slow target does not put a stop off. */
static enum step rows_take(struct run *r, const struct job *j, const struct page *p)
{
	struct rows it;
	enum step step = STEP_ON;
	struct extras x;

	rows_begin(&it, &streams[j->stream], p->rows);
	while (step == STEP_ON && rows_next(&it)) {
		if (run_stopped(r))
			return STEP_STOP;
		if (!extras_make(r, j, &it, &x))
			return run_no_memory(r);
		if (r->plan.is_parent[j->stream])
			step = parent_take(r, j, &it, &x);
		if (r->opt->sample && !j->quiet)
			sample_row(r, j, &it, &x);
		if (step == STEP_ON && !j->quiet)
			step = row_take(r, j, p, &it, &x);
		arena_reset(&r->scratch);
		if (r->opt->sample)
			break;
	}
	return step;
}

/* ---- Windows and bookmarks ---- */

/* No bookmark may enter time in which rows can still change or turn up, nor leave the month that it comes from: the
 * next run begins in the month before the bookmark's, and so reads this month again. */
static int64_t bookmark_limit(const struct run *r, const struct job *j)
{
	const struct stream *s = &streams[j->stream];
	int64_t settled = r->opt->now_us - s->settle_s * SECOND_US;

	if (s->window == WINDOW_SPAN)
		return settled;
	if (s->window == WINDOW_MONTH)
		return earlier(day_start(settled), month_next(j->from) - DAY_US);
	return day_start(settled);
}

/* The last job of a window is over, and with it all rows of the window.  Behind a hole no bookmark is raised: the next
 * run reads from before it. */
static enum step window_close(struct run *r, const struct job *j)
{
	const struct stream *s = &streams[j->stream];
	struct tally *t = &r->tally[j->stream];
	int64_t since = r->plan.since[j->stream].us, mark;

	if (!s->window || !t->in_window)
		return STEP_ON;
	t->in_window = 0;
	mark = earlier(t->highest, bookmark_limit(r, j));
	if (s->window == WINDOW_DAY || s->window == WINDOW_DAYS)
		since = day_start(since);
	if (mark >= since && !t->hole && !r->sel[j->stream].full_table && !r->opt->sample &&
	    !state_raise(r->state, &s->singer, mark))
		return run_no_memory(r);
	return put_state(r) ? STEP_ON : STEP_END;
}

static void warn_of_time(struct run *r, const struct job *j)
{
	const char *name = stream_name(j->stream);
	const struct since *since = &r->plan.since[j->stream];
	int64_t until = earlier(oldest_day(&r->plan, j->stream), r->plan.opt->end_us);
	char text[TIME_SIZE];

	if (plan_ahead(&r->plan, j->stream)) {
		time_format(since->us, text);
		log_stream(LOG_WARNING, name, "%s: nothing to ask for: %s %s is %s", name,
			   since->bookmarked ? "the bookmark" : "start_date", text,
			   since->us > r->opt->now_us ? "in the future" : "not before end_date");
	} else if (streams[j->stream].reach_days && day_start(since->us) < until) {
		gap_add(&r->tally[j->stream], day_start(since->us), day_start(until - 1));
	}
}

/* ---- A stream's begin and end ---- */

static void tell_stream(const struct run *r, size_t stream)
{
	unsigned number = 0;
	size_t place;

	for (place = 0; place <= r->at; place++)
		number += !r->plan.order[place].quiet;
	if (r->opt->progress)
		r->opt->progress(r->opt->ctx, stream_name(stream), number ? number : 1, r->sel[stream].records);
}

/* A list that isn't selected is read for the stream before which it stands, and that is what the run is busy with. */
static enum step quiet_begin(struct run *r, const struct job *j)
{
	const struct entry *e = r->plan.order;

	while (e->stream != j->stream)
		e++;
	while (e->quiet)
		e++;
	if (r->opt->sample)
		return STEP_ON;
	state_syncing(r->state, stream_name(e->stream));
	tell_stream(r, j->stream);
	log_stream(LOG_INFO, stream_name(e->stream), "Reading the ids of %s for %s", stream_name(j->stream),
		   stream_name(e->stream));
	return STEP_ON;
}

/* Parents without a field that the stream needs count with those that are gone.  One without its own key is a fault of
 * its list: no bookmark may pass what it keeps from us. */
static void count_missing(struct run *r, size_t stream)
{
	const struct targets *targets = &r->plan.targets[stream];
	struct tally *t = &r->tally[stream];
	struct error what = {""};

	t->gone = targets->missing;
	memcpy(t->first_left_out, targets->first_missing, LEFT_OUT_SIZE);
	if (!targets->nameless || !streams[stream].window || r->opt->sample)
		return;
	t->hole = r->partly = true;
	error_add(&what, "a row of %s has no id, so what belongs to it can't be asked for; the next run will ask again",
		  streams[stream].singer.parent);
	run_log(r, LOG_ERROR, stream, what.text);
}

static enum step stream_begin(struct run *r, const struct job *j)
{
	size_t parent = parent_of(j->stream);
	struct tally *t = &r->tally[j->stream];

	if (parent < STREAMS && r->plan.parents[parent].lost && !plan_ahead(&r->plan, j->stream))
		return r->opt->sample ? sample_lost(r, j, r->plan.parents[parent].lost) : child_lost(r, j, parent);
	if (r->opt->sample && j->empty)
		sample_untried(r, j);
	count_missing(r, j->stream);
	if (j->quiet)
		return quiet_begin(r, j);
	t->begun = true;
	t->begun_ms = log_clock_ms();
	if (r->opt->sample)
		return STEP_ON;
	log_stream(LOG_INFO, stream_name(j->stream), "START Syncing: %s", stream_name(j->stream));
	tell_stream(r, j->stream);
	state_syncing(r->state, stream_name(j->stream));
	if (!put_state(r))
		return STEP_END;
	warn_of_time(r, j);
	return STEP_ON;
}

static void count_records(struct run *r, size_t stream)
{
	struct tally *t = &r->tally[stream];

	log_records(stream_name(stream), r->sel[stream].records - t->counted);
	t->counted = r->sel[stream].records;
}

static void warn_of_left_out(struct run *r, size_t stream)
{
	const struct tally *t = &r->tally[stream];
	const char *parent = streams[stream].singer.parent;
	struct names used = {.count = 0};
	struct error what = {""};
	size_t i;

	if (!t->forbidden && !t->gone)
		return;
	names_of(stream, &used);
	error_add(&what, "left out for single %s: %llu forbidden (403), %llu not found (404)",
		  parent ? parent : "values", (unsigned long long)t->forbidden, (unsigned long long)t->gone);
	for (i = 0; i < used.count; i++)
		error_add(&what, "%s%.*s", i ? " or " : " or without ", str_width(used.name[i], 60), used.name[i].s);
	error_add(&what, ", first %s", t->first_left_out);
	if (t->forbidden)
		run_log(r, LOG_WARNING, stream, what.text);
	else
		log_stream(LOG_WARNING, stream_name(stream), "%s: %s", stream_name(stream), what.text);
}

static void warn_of_gap(const struct run *r, const struct tally *t, size_t stream)
{
	bool days = streams[stream].reach_days != 0;
	int length = days ? DATE_LENGTH : MONTH_LENGTH;
	char from[TIME_SIZE], to[TIME_SIZE], keeps[64];

	if (!t->gap)
		return;
	snprintf(keeps, sizeof keeps, "it keeps %u days%s", streams[stream].reach_days,
		 r->plan.since[stream].bookmarked ? "; run more often" : "");
	log_stream(LOG_WARNING, stream_name(stream), "%s: the API has nothing for the %s %s to %s: %s",
		   stream_name(stream), days ? "days" : "months", date_text(t->gap_from, length, from),
		   date_text(t->gap_to, length, to), days ? keeps : t->gap_reason.text);
}

/* Once a stream is over, in whatever way: what the user should know of it. */
static void stream_report(struct run *r, size_t stream, bool whole)
{
	struct tally *t = &r->tally[stream];

	if (!t->begun || r->opt->sample)
		return;
	t->begun = false;
	warn_of_left_out(r, stream);
	warn_of_gap(r, t, stream);
	selection_report(&r->sel[stream]);
	count_records(r, stream);
	log_requests(stream_name(stream), t->requests);
	log_duration(stream_name(stream), log_clock_ms() - t->begun_ms, whole);
}

/* The children of a list that is now whole learn what they will ask for. */
static bool children_begin(struct run *r, size_t parent)
{
	size_t i;

	r->plan.parents[parent].whole = true;
	for (i = 0; i < r->plan.entries; i++) {
		size_t child = r->plan.order[i].stream;
		if (parent_of(child) == parent && !plan_ahead(&r->plan, child) &&
		    !targets_make(&r->plan.targets[child], child, &r->plan.parents[parent], (uint64_t)r->opt->now_us))
			return false;
	}
	return true;
}

static void log_finished(const struct run *r, size_t stream)
{
	const struct tally *t = &r->tally[stream];
	struct error line = {""};

	error_add(&line, "FINISHED Syncing: %s, total_records: %llu", stream_name(stream),
		  (unsigned long long)r->sel[stream].records);
	if (t->misfits)
		error_add(&line, ", rows that do not fit left out: %llu", (unsigned long long)t->misfits);
	if (t->failed)
		error_add(&line, ", failed requests: %llu", (unsigned long long)t->failed);
	log_stream(LOG_INFO, stream_name(stream), "%s", line.text);
}

/* May there be rows that this run has not seen?  Of a parent that is read in part its children are, too. */
static bool is_incomplete(const struct run *r, size_t stream)
{
	const struct tally *t = &r->tally[stream];
	size_t parent = parent_of(stream);

	return t->misfits || t->failed || t->forbidden || t->gone || r->plan.targets[stream].missing ||
	       (parent < STREAMS && r->tally[parent].incomplete);
}

static enum step stream_end(struct run *r, const struct job *j)
{
	struct tally *t = &r->tally[j->stream];
	bool whole = !t->misfits && !t->failed;

	t->incomplete = is_incomplete(r, j->stream);

	if (!children_begin(r, j->stream))
		return run_no_memory(r);
	if (!whole)
		r->partly = true;
	if (j->quiet && !r->opt->sample)
		warn_of_left_out(r, j->stream);
	if (j->quiet)
		return STEP_ON;
	singer_schema(r->singer, &r->sel[j->stream]);
	if (!t->incomplete && !r->opt->sample)
		singer_activate(r->singer, &r->sel[j->stream]);
	stream_report(r, j->stream, whole);
	if (!r->opt->sample)
		log_finished(r, j->stream);
	r->totals.synced += whole;
	r->totals.failed += !whole;
	return STEP_ON;
}

/* ---- Chain: the pages of a job ---- */

enum {
	REPEATS = 2,      /* a 200 of the wrong shape, or a passing refusal in a window, is asked for so often again */
	SMALL_PAGE = 200, /* the API's cap of a page is 1000; it was 200 once, and may be somewhere */
	LARGEST_PAGE = 1000
};

static unsigned page_rows(const struct run *r, size_t stream)
{
	const struct stream *s = &streams[stream];
	unsigned rows = s->page_rows, most = s->page_most ? s->page_most : LARGEST_PAGE;

	if (!rows)
		return 0;
	if (r->opt->sample)
		return 1;
	if (r->opt->page_rows)
		rows = r->opt->page_rows;
	if (r->page_rows_limit && most > r->page_rows_limit)
		most = r->page_rows_limit;
	return rows < most ? rows : most;
}

/* false: no memory. */
static bool page_ask(struct run *r, size_t place, struct job *j)
{
	if (!j->pages && !j->shrunk)
		j->page_rows = page_rows(r, j->stream);
	j->path.length = 0;
	job_path(&j->path, &r->plan, j);
	if (j->path.failed)
		return false;
	log_stream(LOG_DEBUG, stream_name(j->stream), "%s: GET %s", stream_name(j->stream), j->path.bytes);
	j->asked = http_start(r->http, j->path.bytes, streams[j->stream].accept, j->rank, (unsigned)j->stream);
	if (!j->asked)
		return false;
	j->want = false;
	r->queue[place].asked++;
	r->asked++;
	return true;
}

static bool keep_bytes(struct json_out *to, struct str s)
{
	to->length = 0;
	json_put(to, s);
	return !to->failed;
}

/* Notes what comes after a page.  Brent's way finds cursors that run in a circle with one old cursor, the milestone,
 * replaced at pages 1, 2, 4, 8, ...: once it stands inside the circle and the next replacement is a whole round away, it
 * is met again.  An empty cursor is none.  false: no memory. */
static bool chain_follow(struct run *r, struct job *j, struct page *p)
{
	struct str cursor = {"", 0};

	j->repeats = 0;
	j->pages++;
	j->rows += p->count;
	p->rows_so_far = j->rows;
	if (json_type(p->cursor) == JSON_STRING && !json_string(p->cursor, &p->tape, &cursor))
		return false;
	if (!cursor.n || r->opt->sample)
		return true;
	if (j->pages > 1 && str_equal((struct str){j->milestone.bytes, j->milestone.length}, cursor)) {
		j->circle = true;
		return true;
	}
	j->want = true;
	if ((j->pages & (j->pages - 1)) == 0 && !keep_bytes(&j->milestone, cursor))
		return false;
	return keep_bytes(&j->cursor, cursor);
}

static bool target_is_left_out(struct run *r, const struct job *j)
{
	unsigned char *state = j->empty ? NULL : target_state(r, j);

	return state && *state == TARGET_LEFT_OUT;
}

/* What is wrong with a page that may go better if it is asked for again; NULL: nothing. */
static const char *page_fault(const struct run *r, const struct job *j, const struct page *p)
{
	bool in_window = streams[j->stream].window && parent_of(j->stream) < STREAMS;

	if (p->wrong.text[0] && !p->no_memory)
		return p->wrong.text;
	if (in_window && p->first && !r->opt->sample && (page_is(p, 401) || page_is(p, 403)))
		return "refused, perhaps in passing";
	return NULL;
}

/* Is the same page to be asked for again?  That is decided as soon as it comes; its place in the chain is kept. */
static bool page_is_repeated(const struct run *r, struct job *j, const struct page *p)
{
	const char *fault = page_fault(r, j, p);

	if (fault && j->repeats < REPEATS) {
		j->repeats++;
		log_stream(LOG_INFO, stream_name(j->stream), "%s: GET %s: %s; asking again", stream_name(j->stream),
			   p->path.bytes, fault);
		return true;
	}
	if (p->first && (page_is(p, 400) || page_is(p, 422)) && j->page_rows > SMALL_PAGE) {
		j->page_rows = SMALL_PAGE;
		j->shrunk = true;
		return true;
	}
	return false;
}

/* The answer to what a job asked for. */
static struct page *page_make(struct run *r, size_t place, struct job *j)
{
	struct page *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->request = j->asked;
	p->answer = http_response(p->request);
	p->path = j->path;
	p->first = !j->pages;
	memset(&j->path, 0, sizeof j->path);
	j->asked = NULL;
	r->queue[place].asked--;
	r->asked--;
	r->tally[j->stream].requests++;
	log_request(stream_name(j->stream), p->answer->elapsed_ms,
		    p->answer->outcome == HTTP_DONE ? p->answer->status : 0);
	if (page_is(p, 200))
		page_read(p, &streams[j->stream], &r->plan.parents[j->stream].handed);
	return p;
}

/* A page has come.  false: no memory. */
static bool page_receive(struct run *r, size_t place, struct job *j)
{
	struct page *p = page_make(r, place, j);

	if (!p)
		return false;
	if (page_is_repeated(r, j, p)) {
		j->want = true;
		page_free(r->http, p);
		return true;
	}
	*j->arrived_end = p;
	j->arrived_end = &p->next;
	p->cost = PAGE_COST + p->answer->length + p->tape.held;
	r->page_bytes += p->cost;
	if (!page_is_good(p))
		return true;
	if (j->shrunk)
		r->page_rows_limit = SMALL_PAGE;
	return chain_follow(r, j, p);
}

/* The first page that a job holds leaves it. */
static void page_discard(struct run *r, struct job *j)
{
	struct page *p = j->arrived;

	j->arrived = p->next;
	if (!j->arrived)
		j->arrived_end = &j->arrived;
	assert(r->page_bytes >= p->cost);
	r->page_bytes -= p->cost;
	page_free(r->http, p);
}

static void job_release(struct run *r, size_t place, struct job *j)
{
	while (j->arrived)
		page_discard(r, j);
	if (j->asked) {
		http_release(r->http, j->asked);
		r->queue[place].asked--;
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
 * Each stream has a queue of the jobs that are planned and not closed.  The front of the first stream that is not over is
 * the job whose turn it is: its pages are consumed (judged, their rows written), and when it is over the next one's are.
 * So the output follows the plan, whatever comes first.  Behind the front any job of any stream may have pages under way,
 * and here: each chain goes on by itself as its pages come, as long as there is room.
 *
 * Room: of one stream at most opt->connections pages are asked for and not yet here, of all ROOM_OF_ALL times as many,
 * for a stream whose requests wait for the rate limit must not hold the others back; and no further ones while more than
 * opt->page_bytes have come.  The front job may always ask, so that the walk goes on; it asks first, for the others wait
 * for it. */

enum {
	ROOM_OF_ALL = 4,
	QUEUE_LIMIT = 1024 /* jobs of one stream planned ahead */
};

/* Plans the next job of a stream.  NULL: there is none yet, none any more, or no memory (r->no_memory). */
static struct job *queue_append(struct run *r, size_t place)
{
	struct queue *q = &r->queue[place];
	struct job planned, *j;

	if (q->length >= QUEUE_LIMIT || plan_next(&r->plan, &r->plan.order[place], &planned) != PLAN_JOB)
		return NULL;
	j = malloc(sizeof *j);
	if (!j) {
		r->no_memory = true;
		return NULL;
	}
	*j = planned;
	j->want = !j->empty && !target_is_left_out(r, j);
	j->arrived_end = &j->arrived;
	*q->end = j;
	q->end = &j->next;
	q->length++;
	return j;
}

static void queue_remove_front(struct run *r, size_t place)
{
	struct queue *q = &r->queue[place];
	struct job *j = q->front;

	q->front = j->next;
	if (!q->front)
		q->end = &q->front;
	q->length--;
	job_release(r, place, j);
}

static struct job *queue_next_to_ask(struct run *r, size_t place)
{
	struct job *j;

	for (j = r->queue[place].front; j; j = j->next)
		if (j->want)
			return j;
	while ((j = queue_append(r, place)))
		if (j->want)
			return j;
	return NULL;
}

static bool walk_has_room(const struct run *r)
{
	return r->asked < ROOM_OF_ALL * r->opt->connections && r->page_bytes <= r->opt->page_bytes;
}

/* The front job asks for what it wants, then the others, as long as there is room. */
static enum step walk_refill(struct run *r)
{
	struct job *j = r->queue[r->at].front;
	size_t place;

	if (j->want && !page_ask(r, r->at, j))
		return run_no_memory(r);
	for (place = r->at; place < r->plan.entries && walk_has_room(r); place++)
		while (r->queue[place].asked < r->opt->connections && walk_has_room(r) &&
		       (j = queue_next_to_ask(r, place)))
			if (!page_ask(r, place, j))
				return run_no_memory(r);
	return r->no_memory ? run_no_memory(r) : STEP_ON;
}

/* The job that asked for this page, and the place of its stream. */
static struct job *job_of(const struct run *r, const struct http_request *came, size_t *place)
{
	struct job *j;

	for (*place = r->at; *place < r->plan.entries; ++*place)
		for (j = r->queue[*place].front; j; j = j->next)
			if (j->asked == came)
				return j;
	return NULL;
}

/* Some page comes, and is given to its job. */
static enum step page_wait(struct run *r)
{
	struct http_request *came = http_next(r->http);
	struct job *j;
	size_t place;

	if (!came)
		return run_stopped(r) ? STEP_STOP : run_ends(r, SYNC_ENDED, "internal error", "nothing is under way");
	if (came == r->token_probe)
		return token_judge(r);
	j = job_of(r, came, &place);
	assert(j);
	return page_receive(r, place, j) ? STEP_ON : run_no_memory(r);
}

/* Flushes what the target can have and asks for all that there is room for; then blocks. */
static enum step walk_receive(struct run *r)
{
	enum step step = singer_flush(r->singer) ? STEP_ON : STEP_END;

	if (step == STEP_ON && !r->token_probe)
		step = walk_refill(r);
	return step == STEP_ON ? page_wait(r) : step;
}

static void progress_report(struct run *r, const struct job *j, const struct page *p)
{
	struct tally *t = &r->tally[j->stream];

	if (j->quiet || r->opt->sample)
		return;
	if (!t->counted_us)
		t->counted_us = p->answer->received_us;
	if (p->answer->received_us - t->counted_us >= METRIC_US) {
		t->counted_us = p->answer->received_us;
		count_records(r, j->stream);
	}
	tell_stream(r, j->stream);
}

static enum step page_write(struct run *r, const struct job *j, const struct page *p)
{
	enum step step;

	if (j->shrunk && p->first && !r->shrink_told) {
		r->shrink_told = true;
		log_stream(LOG_INFO, stream_name(j->stream),
			   "%s: larger pages are refused: from here on they have %d rows", stream_name(j->stream),
			   SMALL_PAGE);
	}
	step = rows_take(r, j, p);
	progress_report(r, j, p);
	return step;
}

static enum step page_consume(struct run *r, struct job *j)
{
	enum step step = r->opt->sample ? sample_judge(r, j, j->arrived) : answer_judge(r, j, j->arrived);

	if (step == STEP_ON)
		step = page_write(r, j, j->arrived);
	page_discard(r, j);
	return step;
}

/* Of a target that is left out, whatever came meanwhile is not looked at: the output must not depend on it. */
static enum step job_begin(struct run *r, struct job *j)
{
	enum step step = j->first ? stream_begin(r, j) : STEP_ON;

	j->begun = true;
	return step == STEP_ON && target_is_left_out(r, j) ? STEP_SKIP : step;
}

/* Where GET / is to be asked once more the job stays, and ends when that is answered. */
static enum step job_end(struct run *r, const struct job *j)
{
	const struct tally *t = &r->tally[j->stream];
	struct error what = {"status 401"};
	enum step step;

	if (j->closes && t->doubts > 0)
		return token_ask(r, j->stream, 0);
	if (t->token == TOKEN_UNCLEAR)
		return token_fails(r, j, &what);
	step = j->closes ? window_close(r, j) : STEP_ON;

	if (step == STEP_ON && j->last)
		step = stream_end(r, j);
	if (step == STEP_ON)
		queue_remove_front(r, r->at);
	return step;
}

static enum step chain_in_circle(struct run *r, const struct job *j)
{
	struct error what = {""};

	error_add(&what, "the cursors of %s run in a circle; run again later", streams[j->stream].path);
	return job_fails(r, j, what.text);
}

/* The front job begins, uses a page, or ends. */
static enum step job_advance(struct run *r, struct job *j)
{
	enum step step = j->begun ? STEP_ON : job_begin(r, j);

	if (step == STEP_ON && j->arrived) {
		if (token_is_unknown(r, j, j->arrived))
			return token_ask(r, j->stream, -1);
		step = page_consume(r, j);
	}
	if (step == STEP_ON && (j->arrived || j->asked || j->want))
		return STEP_ON;
	if (step == STEP_ON && j->circle) {
		j->circle = false;
		step = chain_in_circle(r, j);
	}
	return step == STEP_ON || step == STEP_SKIP ? job_end(r, j) : step;
}

/* Everything of the stream at the front that is still to come is given up. */
static void stream_drop(struct run *r)
{
	size_t stream = r->plan.order[r->at].stream;

	while (r->queue[r->at].front)
		queue_remove_front(r, r->at);
	r->plan.order[r->at].planned = true;
	if (r->plan.order[r->at].quiet && !r->opt->sample)
		warn_of_left_out(r, stream);
	stream_report(r, stream, false);
	if (r->opt->sample && !r->plan.order[r->at].quiet)
		singer_schema(r->singer, &r->sel[stream]);
}

/* Nothing can be done with the front job before a page comes. */
static bool job_waits(const struct run *r, const struct job *j)
{
	return r->token_probe || (j->begun && !j->arrived && (j->asked || j->want));
}

/* The job whose turn it is; NULL at the end of the plan, or without memory. */
static struct job *front_job(struct run *r)
{
	while (r->at < r->plan.entries && r->plan.order[r->at].planned && !r->queue[r->at].front)
		r->at++;
	if (r->at == r->plan.entries)
		return NULL;
	return r->queue[r->at].front ? r->queue[r->at].front : queue_append(r, r->at);
}

/* Every selected stream was refused: GET / tells a token that is good for nothing from one that is refused as such. */
static enum step all_forbidden(struct run *r)
{
	size_t first = r->plan.order[0].stream;
	enum step step = r->tally[first].token == TOKEN_UNASKED ? token_ask(r, first, 0) : STEP_ON;

	while (step == STEP_ON && r->token_probe)
		step = page_wait(r);
	if (step == STEP_ON)
		step = run_ends(r, SYNC_REFUSED, "every selected stream is forbidden to this token",
				"it needs a role that may read them, or the plan lacks them; see the lines above");
	return step;
}

/* Every selected stream failed or was refused, no request was answered well, and the failures are such as pass. */
static bool nothing_works(const struct run *r)
{
	return r->totals.failed && r->totals.failed + r->totals.skipped == r->totals.selected && !r->answered &&
	       !r->failed_for_good;
}

/* END means everything: each stream of the plan is over. */
static enum sync_result walk_end(struct run *r)
{
	enum step step = STEP_ON;

	if (r->no_memory)
		step = run_no_memory(r);
	else if (r->at < r->plan.entries)
		step = run_ends(r, SYNC_ENDED, "internal error", "a stream waits for one that comes later");
	else if (r->totals.selected && r->totals.skipped == r->totals.selected)
		step = all_forbidden(r);
	else if (nothing_works(r))
		step = run_ends(r, SYNC_LATER, "no request was answered as it should be", r->totals.reason.text);
	assert(step != STEP_ON || r->at == r->plan.entries);
	if (step == STEP_STOP)
		return SYNC_STOPPED;
	if (step == STEP_END)
		return r->result;
	return r->partly ? SYNC_PARTLY : SYNC_DONE;
}

static enum sync_result walk_plan(struct run *r)
{
	struct job *j;

	while (!run_stopped(r) && (j = front_job(r))) {
		enum step step = job_waits(r, j) ? walk_receive(r) : job_advance(r, j);
		if (step == STEP_STOP)
			return SYNC_STOPPED;
		if (step == STEP_END)
			return r->result;
		if (step == STEP_DROP)
			stream_drop(r);
	}
	return run_stopped(r) ? SYNC_STOPPED : walk_end(r);
}

static bool run_init(struct run *r, struct http *http, struct singer *singer, struct state *state,
		     struct selection sel[], const struct sync_options *opt)
{
	struct json_error unused;
	size_t i;

	r->http = http;
	r->singer = singer;
	r->state = state;
	r->sel = sel;
	r->opt = r->plan.opt = opt;
	r->result = SYNC_ENDED;
	for (i = 0; i < STREAMS; i++) {
		r->queue[i].end = &r->queue[i].front;
		r->plan.since[i].us = opt->start_us;
		r->totals.selected += sel[i].selected;
	}
	return json_parse(&r->arena, "{}", 2, &r->empty, &unused);
}

static void run_free(struct run *r)
{
	size_t i;

	for (i = 0; i < STREAMS; i++) {
		while (r->queue[i].front)
			queue_remove_front(r, i);
		json_out_free(&r->plan.parents[i].packed);
		targets_free(&r->plan.targets[i]);
	}
	http_release(r->http, r->token_probe);
	arena_free(&r->scratch);
	arena_free(&r->arena);
}

/* A stream goes on from its bookmark, if it has one. */
static void take_bookmarks(struct run *r)
{
	size_t i;

	for (i = 0; i < STREAMS; i++) {
		struct since *since = &r->plan.since[i];
		since->bookmarked = r->sel[i].bookmark_us != INT64_MIN;
		if (since->bookmarked)
			since->us = r->sel[i].bookmark_us;
	}
}

static void sample_init(struct run *r)
{
	size_t i;

	for (i = 0; i < STREAMS; i++) {
		struct probe *probe = &r->opt->sample[i];
		probe->access = ACCESS_UNTRIED;
		probe->status = 0;
		snprintf(probe->text, sizeof probe->text, "%s", r->sel[i].selected ? "not tried" : "not selected");
	}
}

/* From the first STATE to the last one. */
static enum sync_result run_walk(struct run *r)
{
	enum sync_result result = SYNC_ENDED;

	plan_order(&r->plan, r->sel, r->opt->sample ? str_of("") : r->state->syncing);
	if (put_state(r))
		result = walk_plan(r);
	if (r->at < r->plan.entries)
		stream_report(r, r->plan.order[r->at].stream, false);
	if ((result == SYNC_DONE || result == SYNC_PARTLY || r->at == r->plan.entries) && !r->opt->sample)
		state_syncing(r->state, NULL);
	return put_state(r) ? result : SYNC_ENDED;
}

enum sync_result streams_sync(struct http *http, struct singer *singer, struct state *state,
			      struct selection sel[STREAMS], const struct sync_options *opt)
{
	static struct run r; /* too large for a small stack */
	enum sync_result result = SYNC_ENDED;

	memset(&r, 0, sizeof r);
	if (!run_init(&r, http, singer, state, sel, opt)) {
		run_no_memory(&r);
	} else if (opt->sample) {
		sample_init(&r);
		result = run_walk(&r);
	} else {
		take_bookmarks(&r);
		result = run_walk(&r);
	}
	if (opt->totals)
		*opt->totals = r.totals;
	run_free(&r);
	return result;
}

/* ---- Regions, and how long a 429 asks to wait ---- */

const char *segment_region_url(const char *region)
{
	static const struct {
		const char *name, *url;
	} regions[] = {{"us", "https://api.segmentapis.com"},
		       {"eu", "https://eu1.api.segmentapis.com"},
		       {"eu1", "https://eu1.api.segmentapis.com"}};
	size_t i;

	for (i = 0; i < countof(regions); i++)
		if (str_is_word(str_of(region), regions[i].name))
			return regions[i].url;
	return NULL;
}

/* Milliseconds, rounded up: an integer in the examples seen, perhaps with a fraction.  -1: none. */
static int64_t milliseconds(struct json number)
{
	const int64_t most = INT64_C(1) << 53;
	struct str text = json_token(number);
	int64_t ms = 0;

	if (json_type(number) != JSON_NUMBER || *text.s == '-' || memchr(text.s, 'e', text.n) ||
	    memchr(text.s, 'E', text.n))
		return -1;
	for (; text.n && is_digit(*text.s); str_skip(&text, 1))
		ms = ms < most ? ms * 10 + (*text.s - '0') : most;
	return ms + (text.n > 0);
}

int64_t segment_pause_ms(const char *body, size_t length)
{
	struct arena arena = {.limit = API_ERROR_LIMIT};
	struct json data = json_get(api_error(&arena, body, length), "data");
	int64_t ms = milliseconds(json_get(data, "msBeforeNext"));

	arena_free(&arena);
	return ms;
}
