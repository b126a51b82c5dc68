/* Unit tests of singer.c: vectors for log lines, selection, projection, messages and state; failing memory and
 * writes.  JSON in the tables is written with ' for ". */
#include <unistd.h>

int fake_isatty(int fd);
ssize_t fake_write(int fd, const void *bytes, size_t length);

#define isatty fake_isatty /* so that a test can make standard error a terminal */
#define write  fake_write  /* and a file take nothing */
#include "../singer.c"
#undef isatty
#undef write
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* ---- Helpers ---- */

static FILE *log_file, *out_file; /* what went to standard error, and what the singer wrote */

/* All that was written to a file since the last call; lives until then. */
static const char *take(FILE *file)
{
	static char text[2][1 << 17];
	char *to = text[file == out_file];
	size_t n;

	rewind(file);
	n = fread(to, 1, sizeof text[0] - 1, file);
	to[n] = '\0';
	if (ftruncate(fileno(file), 0) || lseek(fileno(file), 0, SEEK_SET))
		to[0] = '\0';
	return to;
}

/* A copy with " for '. */
static char *json_text(const char *text)
{
	char *copy = malloc(strlen(text) + 1), *to = copy;

	for (; copy && *text; text++)
		*to++ = *text == '\'' ? '"' : *text;
	if (!copy)
		exit(2);
	*to = '\0';
	return copy;
}

static struct json parsed(struct arena *arena, const char *text)
{
	struct json_error problem;
	struct json root;

	if (!json_parse(arena, text, strlen(text), &root, &problem)) {
		printf("Bail out! %zu:%zu: %s in %s\n", problem.line, problem.column, problem.what, text);
		exit(2);
	}
	return root;
}

static struct singer singer_to_file(void)
{
	struct singer s = {.fd = fileno(out_file)};

	return s;
}

/* ---- Log ---- */

static const struct {
	const char *name, *secret, *text, *expected;
} secrets[] = {
	{"no secret", NULL, "hello", "INFO hello\n"},
	{"an empty secret", "", "hello", "INFO hello\n"},
	{"a secret alone", "sgp_abcdef", "sgp_abcdef", "INFO ***\n"},
	{"a secret in a longer word", "sgp_abcdef", "xsgp_abcdefx sgp_abc", "INFO x***x sgp_abc\n"},
	{"a secret cut off at its end", "sgp_abcdef", "token sgp_abcde", "INFO token ***\n"},
	{"a secret cut off in percent codes", "ab/c+d=efgh", "?t=ab%2Fc%2bd%3De", "INFO ?t=***\n"},
	{"a secret twice in a row", "sgp_abcdef", "sgp_abcdefsgp_abcdef", "INFO ******\n"},
	{"a secret after its own beginning", "aabaac-", "aabaabaac-", "INFO aab***\n"},
	{"a secret percent-encoded", "ab/c+d=e", "?t=ab%2Fc%2bd%3De&x", "INFO ?t=***&x\n"},
	{"a secret escaped for JSON", "ab\"c\\d/e", "'ab\\\"c\\\\d\\/e'", "INFO '***'\n"},
	{"a secret in \\u escapes", "abcdef", "'\\u0061b\\u0063def'", "INFO '***'\n"},
	{"a secret with u in \\u escapes", "sgp_abcdu1efgh", "'sgp_abcd\\u00751efgh' \\u0073gp_abcdu1efgh",
	 "INFO '***' ***\n"},
	{"a secret with % as %25", "ab%cd%25ef", "ab%25cd%2525ef ab%cd%25ef ab\\u0025cd%2525ef", "INFO *** *** ***\n"},
	{"a secret with a backslash escaped", "ab\\cd\\\\ef", "ab\\\\cd\\\\\\\\ef ab\\cd\\\\ef ab\\u005ccd%5c%5Cef",
	 "INFO *** *** ***\n"},
	{"a secret that ends with a percent sign", "abcdefg%", "abcdefg% abcdefg%25 abcdefg%41",
	 "INFO *** *** ***41\n"},
	{"a secret of backslashes alone", "\\\\\\\\\\\\\\\\\\", "\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\.", "INFO ***.\n"},
	{"a short secret is a word of its own", "tok", "token tok, Atok tokZ 9tok tok0 ztok (tok)",
	 "INFO token ***, Atok tokZ 9tok tok0 ztok (***)\n"},
	{"a secret of one character", "e", "e here %65", "INFO * here ***\n"},
	{"percent codes of other characters", "abcdef", "%51bcdef %62bcdef", "INFO %51bcdef %62bcdef\n"},
	{"another case is not the secret", "Secret1", "secret1", "INFO secret1\n"},
	{"controls and bytes that are not ASCII", NULL, "a\nb\tc\x7f\xc3\xa9~", "INFO a?b?c???~\n"},
	{"a percent sign at the end", "abcdefg", "abcdef%", "INFO abcdef%\n"},
	{"an escape cut off", "abcdefg", "abcdef\\u00", "INFO abcdef\\u00\n"},
};

static void test_log_secrets(void)
{
	size_t i;

	for (i = 0; i < countof(secrets); i++) {
		log_secret(NULL);
		log_secret(secrets[i].secret);
		log_line(LOG_INFO, "%s", secrets[i].text);
		check_text(take(log_file), secrets[i].expected, secrets[i].name);
	}
	log_secret(NULL);
}

static void test_log_two_secrets(void)
{
	size_t i;

	log_secret("first-one");
	log_secret("");
	log_secret("second");
	log_line(LOG_INFO, "first-one second first-on");
	check_text(take(log_file), "INFO *** *** ***\n", "one secret doesn't replace another");
	log_secret(NULL);
	log_line(LOG_INFO, "second");
	check_text(take(log_file), "INFO second\n", "until all are forgotten");
	for (i = 0; i < 2 * SECRETS; i++)
		log_secret("another");
	log_secret("the-newest");
	log_line(LOG_INFO, "another the-newest");
	check_text(take(log_file), "INFO *** ***\n", "however many there are, the newest is known");
	log_secret(NULL);
}

static void test_log_hold(void)
{
	log_hold();
	log_line(LOG_WARNING, "first");
	log_line(LOG_INFO, "second");
	check_text(take(log_file), "", "lines wait");
	log_release(true);
	check_text(take(log_file), "WARNING first\nINFO second\n", "and are written, in order");
	log_hold();
	log_line(LOG_WARNING, "needless");
	log_release(false);
	log_line(LOG_ERROR, "alone");
	check_text(take(log_file), "ERROR alone\n", "or are dropped");
	log_hold();
	log_line(LOG_INFO, "third");
	log_release(true);
	check_text(take(log_file), "INFO third\n", "and not told twice");
}

static bool terminal;

int fake_isatty(int fd)
{
	return terminal && fd == STDERR_FILENO;
}

static void test_log_progress(void)
{
	const char *text;

	log_progress("%d rows", 1);
	check_text(take(log_file), "", "no progress where standard error is no terminal");
	check(log_width() == 0, "and no width");
	terminal = true;
	check(log_width() == 80, "a terminal has one");
	log_progress("%d rows", 1);
	check_text(take(log_file), "1 rows", "progress on a terminal");
	log_progress("%d rows", 2);
	check_text(take(log_file), "\r\033[K2 rows", "the next one takes its place");
	log_line(LOG_INFO, "line");
	check_text(take(log_file), "\r\033[KINFO line\n2 rows", "a line stands above it");
	log_progress("%0100d", 3);
	text = take(log_file);
	check(strlen(text) == strlen("\r\033[K") + PROGRESS_WIDTH - 1, "it is cut to the width of the terminal");
	log_progress_end();
	check_text(take(log_file), "\r\033[K", "at its end it goes");
	log_line(LOG_INFO, "line");
	check_text(take(log_file), "INFO line\n", "and stays away");
	log_setup(LOG_WARNING, false);
	log_progress("%d rows", 3);
	check_text(take(log_file), "", "no progress above the level of what it tells");
	log_setup(LOG_INFO, true);
	log_progress("%d rows", 3);
	check_text(take(log_file), "", "no progress among structured lines");
	check(log_width() == 0, "which no width limits");
	log_setup(LOG_INFO, false);
	terminal = false;
}

/* Who logs between a failed call and the text of its errno must not lose it, not even if the line can't be written. */
static void test_log_errno(void)
{
	int log = dup(STDERR_FILENO), closed = open("/dev/null", O_RDONLY);

	if (log < 0 || closed < 0 || dup2(closed, STDERR_FILENO) < 0) {
		check(false, "standard error that can't be written");
		return;
	}
	terminal = true;
	errno = ENOENT;
	log_line(LOG_INFO, "line");
	check(errno == ENOENT, "a line leaves errno");
	log_progress("progress");
	check(errno == ENOENT, "progress leaves errno");
	log_progress_end();
	terminal = false;
	log_setup(LOG_INFO, true);
	errno = ENOENT;
	log_probe("s", "yes", 200, "a row");
	check(errno == ENOENT, "a row of the table leaves errno");
	log_setup(LOG_INFO, false);
	dup2(log, STDERR_FILENO);
	close(log);
	close(closed);
}

static void test_log_levels(void)
{
	int level;

	for (level = LOG_DEBUG; level <= LOG_CRITICAL; level++)
		log_line((enum log_level)level, "%d", level);
	check_text(take(log_file), "INFO 1\nWARNING 2\nERROR 3\nCRITICAL 4\n",
		   "level names, and debug is silent at first");
	log_setup(LOG_ERROR, false);
	log_line(LOG_WARNING, "no");
	log_records("s", 1);
	log_line(LOG_ERROR, "yes");
	check_text(take(log_file), "ERROR yes\n", "below the level there is silence, metrics too");
	log_setup(LOG_DEBUG, false);
	log_line(LOG_DEBUG, "yes");
	check_text(take(log_file), "DEBUG yes\n", "debug can be heard");
	log_setup(LOG_INFO, false);
	errno = ERANGE;
	log_line(LOG_INFO, "%s", "x");
	check(errno == ERANGE, "a log line leaves errno alone");
	take(log_file);
}

/* A secret at each place around the cut must never show, not even its beginning. */
static void test_log_cut(void)
{
	static const char secret[] = "SECRETSECRETSECRET";
	char text[8192];
	size_t at, shown = 0, longest = 0;

	log_secret(secret);
	for (at = 0; at < sizeof text - sizeof secret; at += at < 2000 || at > 4200 ? 97 : 1) {
		const char *line;
		memset(text, '-', sizeof text);
		memcpy(text + at, secret, sizeof secret - 1);
		text[sizeof text - 1] = '\0';
		log_line(LOG_CRITICAL, "%s", text);
		line = take(log_file);
		shown += strstr(line, "SEC") != NULL;
		longest = strlen(line) > longest ? strlen(line) : longest;
	}
	check(shown == 0, "nothing of a secret shows, wherever the line is cut");
	check(longest == LOG_LINE, "the longest line has 2 KiB");
	for (at = 0; at + sizeof secret < sizeof text; at += sizeof secret - 1)
		memcpy(text + at, secret, sizeof secret - 1);
	text[at] = '\0';
	log_line(LOG_INFO, "%s", text);
	check(!strstr(take(log_file), "S"), "secrets only, beyond the buffer: none shows");
	log_secret(NULL);
}

static void test_log_metrics(void)
{
	log_records("sources", 100);
	check_text(take(log_file),
		   "INFO METRIC: {\"type\": \"counter\", \"metric\": \"record_count\", \"value\": 100, \"tags\": "
		   "{\"endpoint\": \"sources\"}}\n",
		   "metric record_count");
	log_request("sources", 1041, 200);
	check_text(take(log_file), "", "requests are for those who look closely");
	log_setup(LOG_DEBUG, false);
	log_request("sources", 1041, 200);
	check_text(take(log_file),
		   "DEBUG METRIC: {\"type\": \"timer\", \"metric\": \"http_request_duration\", \"value\": 1.041, "
		   "\"tags\": "
		   "{\"endpoint\": \"sources\", \"http_status_code\": 200, \"status\": \"succeeded\"}}\n",
		   "metric http_request_duration");
	log_request("sources", 7, 503);
	check_text(take(log_file),
		   "DEBUG METRIC: {\"type\": \"timer\", \"metric\": \"http_request_duration\", \"value\": 0.007, "
		   "\"tags\": "
		   "{\"endpoint\": \"sources\", \"http_status_code\": 503, \"status\": \"failed\"}}\n",
		   "metric of a failed request");
	log_request("sources", -1, 0);
	check_text(take(log_file),
		   "DEBUG METRIC: {\"type\": \"timer\", \"metric\": \"http_request_duration\", \"value\": 0.000, "
		   "\"tags\": "
		   "{\"endpoint\": \"sources\", \"status\": \"failed\"}}\n",
		   "metric of a request without an answer");
	log_requests("sources", 2);
	check_text(take(log_file),
		   "DEBUG METRIC: {\"type\": \"counter\", \"metric\": \"http_request_count\", \"value\": 2, \"tags\": "
		   "{\"endpoint\": \"sources\"}}\n",
		   "metric http_request_count");
	log_duration("sources", 61005, false);
	check_text(take(log_file),
		   "DEBUG METRIC: {\"type\": \"timer\", \"metric\": \"sync_duration\", \"value\": 61.005, \"tags\": "
		   "{\"endpoint\": \"sources\", \"status\": \"failed\"}}\n",
		   "metric sync_duration");
	log_setup(LOG_INFO, false);
	log_bytes(1000, 12345678901);
	check_text(take(log_file),
		   "INFO METRIC: {\"type\": \"gauge\", \"metric\": \"http_bytes_received\", \"value\": 1000, \"tags\": "
		   "{}}\n"
		   "INFO METRIC: {\"type\": \"gauge\", \"metric\": \"http_bytes_decoded\", \"value\": 12345678901, "
		   "\"tags\": "
		   "{}}\n",
		   "metrics of bytes");
}

/* The text of a member of a structured line, as JSON; NULL if the line is not one JSON object. */
static const char *structured_member(const char *line, const char *name)
{
	static char text[8192];
	struct arena arena = {0};
	struct json_error problem;
	struct json_out out = {0};
	struct json root;

	if (!json_parse(&arena, line, strlen(line), &root, &problem) || json_type(root) != JSON_OBJECT)
		return NULL;
	json_put_value(&out, json_get(root, name), 0);
	snprintf(text, sizeof text, "%.*s", (int)out.length, out.length ? out.bytes : "");
	json_out_free(&out);
	arena_free(&arena);
	return text;
}

static void test_log_structured(void)
{
	static const char *const members[][2] = {{"level", "\"warning\""},
						 {"logger_name", "\"tap-segment\""},
						 {"thread_name", "\"MainThread\""},
						 {"stream_name", "null"},
						 {"app_name", "\"tap-segment\""},
						 {"message", "\"a \\\"b\\\" \\\\ c ***?\""},
						 {"metric_info", ""}};
	const char *line, *ts;
	char expected[256];
	size_t i;

	log_setup(LOG_INFO, true);
	log_secret("sgp_token");
	log_line(LOG_WARNING, "%s", "a \"b\" \\ c sgp_token\n");
	line = take(log_file);
	for (i = 0; i < countof(members); i++)
		check_text(structured_member(line, members[i][0]), members[i][1], members[i][0]);
	check(atol(structured_member(line, "pid")) == (long)getpid(), "pid");
	ts = structured_member(line, "ts");
	check(strspn(ts, "0123456789") >= 10 && strlen(ts + strspn(ts, "0123456789")) == 7,
	      "ts in seconds, six digits");
	check(strchr(line, '\n') == line + strlen(line) - 1, "a structured line is one line");
	log_records("sources", 3);
	line = take(log_file);
	check_text(structured_member(line, "message"), "\"METRIC\"", "message of a structured metric");
	check_text(structured_member(line, "stream_name"), "\"sources\"", "stream of a structured metric");
	snprintf(expected, sizeof expected,
		 "{\"type\":\"counter\",\"metric\":\"record_count\",\"value\":3,\"tags\":{\"endpoint\":\"sources\","
		 "\"stream\":\"sources\",\"context\":{},\"pid\":%ld}}",
		 (long)getpid());
	check_text(structured_member(line, "metric_info"), expected, "metric_info");
	log_request("sources", 5, 200);
	check_text(structured_member(take(log_file), "level"), "\"info\"", "requests are metrics like others there");
	log_stream(LOG_WARNING, "sources", "x");
	check_text(structured_member(take(log_file), "stream_name"), "\"sources\"", "stream of a line");
	log_setup(LOG_INFO, false);
	log_secret(NULL);
}

/* ---- Selection ---- */

#define NULLABLE(t) "{'type':['null','" t "']}"
#define TIME        "{'type':['null','string'],'format':'date-time'}"
#define USERS                                                                                                         \
	"{'type':'object','properties':{'id':" NULLABLE("string") ",'name':" NULLABLE(                                \
		"string") ",'address':{'type':["                                                                      \
			  "'null','object'],'properties':{'street':" NULLABLE("string") ",'city':" NULLABLE(          \
				  "string") "}},'tags':{'type'"                                                       \
					    ":['null','array'],'items':{'type':['null','object'],'properties':{'key'" \
					    ":" NULLABLE("string") ",'value':" NULLABLE(                              \
						    "string") "}}},'settings':" NULLABLE("object") "}}"
#define EVENTS                                                                                                         \
	"{'type':'object','properties':{'id':" NULLABLE("string") ",'timestamp':" TIME ",'n':" NULLABLE("integer") "}" \
														   "}"
#define MEMBERS "{'type':'object','properties':{'groupId':" NULLABLE("string") ",'id':" NULLABLE("string") "}}"

enum { TEST_STREAMS = 3 };

static struct singer_stream test_streams[TEST_STREAMS] = {
	{.name = "users", .alias = "people", .key = NAMES("id")},
	{.name = "events", .key = NAMES("id"), .unique_key = NAMES("id"), .replication_key = "timestamp"},
	{.name = "members", .key = NAMES("groupId"), .unique_key = NAMES("groupId", "id"), .parent = "users"},
};
static struct str schema_texts[TEST_STREAMS];

static void test_streams_init(void)
{
	static const char *const texts[TEST_STREAMS] = {USERS, EVENTS, MEMBERS};
	size_t i;

	for (i = 0; i < TEST_STREAMS; i++)
		schema_texts[i] = str_of(json_text(texts[i]));
}

static const struct {
	const char *glob, *name;
	bool matches;
} globs[] = {
	{"", "", true},
	{"", "a", false},
	{"a", "a", true},
	{"a", "b", false},
	{"a", "ab", false},
	{"ab", "a", false},
	{"*", "", true},
	{"*", "abc", true},
	{"a*", "a", true},
	{"a*", "ba", false},
	{"*c", "abc", true},
	{"*c", "cb", false},
	{"*c", "acbc", true},
	{"a*c", "abcbc", true},
	{"a*c", "abcb", false},
	{"a*b*c", "a1b2b3c", true},
	{"a*b*c", "a1c2b", false},
	{"*ab*", "aab", true},
	{"*aab", "aaab", true},
	{"?", "", false},
	{"?", "a", true},
	{"?", "ab", false},
	{"a?c", "abc", true},
	{"*?", "", false},
	{"*?b", "aab", true},
	{"**", "a", true},
	{"a**b", "ab", true},
	{"[a]", "a", false},
	{"A", "a", false},
	{"*_*_*", "a_b", false},
	{"*_*_*", "a_b_c", true},
};

static void test_globs(void)
{
	size_t i;

	for (i = 0; i < countof(globs); i++)
		check(glob_matches(str_of(globs[i].glob), str_of(globs[i].name)) == globs[i].matches,
		      "\"%s\" %s \"%s\"", globs[i].glob, globs[i].matches ? "matches" : "does not match",
		      globs[i].name);
}

/* selection_make for all test streams. */
static bool select_streams(struct selection sel[TEST_STREAMS], struct arena *arena, const char *catalog,
			   const char *rules, bool unique_keys, struct error *error)
{
	struct json none = {NULL, NULL};
	size_t i;

	for (i = 0; i < TEST_STREAMS; i++) {
		sel[i].stream = &test_streams[i];
		sel[i].schema_text = schema_texts[i];
	}
	return selection_make(sel, TEST_STREAMS, catalog ? parsed(arena, catalog) : none, rules, unique_keys, arena,
			      error) &&
	       (!rules || selection_check_rules(sel, TEST_STREAMS, rules, error));
}

/* What discovery says of a field, with more said about it. */
#define ROOT(said)         "{'breadcrumb':[],'metadata':{" said "}}"
#define ABOUT(place, said) ",{'breadcrumb':[" place "],'metadata':{" said "}}"
#define P                  "'properties',"
#define ENTRY(id, rest)    "{'tap_stream_id':'" id "'," rest "}"
#define CATALOG(entries)   "{'streams':[" entries "]}"
#define WITH(id, metadata) CATALOG(ENTRY(id, "'metadata':[" metadata "]"))
#define SELECTED           ROOT("'selected':true")
#define KEYED(keys)        CATALOG(ENTRY("members", keys))

/* fields: of the selected streams, "stream(key)[bookmark] name name{nested} name[nested]"; or the error. */
static const struct {
	const char *name, *catalog, *rules;
	bool unique_keys;
	const char *expected, *log;
} selections[] = {
	/* streams */
	{"no catalog", NULL, NULL, false,
	 "users(id) id name address{street city} tags[key value] settings\n"
	 "events(id)[timestamp] id timestamp n\nmembers(groupId) groupId id\n",
	 ""},
	{"no catalog, unique keys", NULL, NULL, true,
	 "users(id) id name address{street city} tags[key value] settings\n"
	 "events(id)[timestamp] id timestamp n\nmembers(groupId,id) groupId id\n",
	 ""},
	{"a selected stream", WITH("events", SELECTED), NULL, false, "events(id)[timestamp] id timestamp n\n", ""},
	{"selected as a string", WITH("events", ROOT("'selected':'True'")), NULL, false,
	 "events(id)[timestamp] id timestamp n\n", ""},
	{"not selected as a string",
	 CATALOG(ENTRY("users", "'metadata':[" ROOT("'selected':'false'") "]") "," ENTRY("members", "'x':1")), NULL,
	 false, "members(groupId) groupId id\n", ""},
	{"selected, but unsupported", WITH("events", ROOT("'selected':true,'inclusion':'unsupported'")), NULL, false,
	 "",
	 "WARNING the catalog selects no stream: nothing is synced; set \"selected\": true in a stream's metadata with "
	 "the breadcrumb [], or use --select\n"},
	{"selected by default", WITH("members", ROOT("'selected-by-default':true")), NULL, false,
	 "members(groupId) groupId id\n", ""},
	{"selected beats selected-by-default",
	 CATALOG(ENTRY("users", "'metadata':[" ROOT("'selected':false,'selected-by-default':true") "]") "," ENTRY(
		 "members", "'metadata':[]")),
	 NULL, false, "members(groupId) groupId id\n", ""},
	{"null says nothing", WITH("members", ROOT("'selected':null,'selected-by-default':true")), NULL, false,
	 "members(groupId) groupId id\n", ""},
	{"metadata that says nothing",
	 CATALOG(ENTRY("users", "'metadata':[" ROOT("'inclusion':'available'") "]") "," ENTRY("members", "'x':1")),
	 NULL, false, "members(groupId) groupId id\n", ""},
	{"the last of equal metadata",
	 CATALOG(ENTRY("users", "'metadata':[" SELECTED "," ROOT("'selected':false") "]") "," ENTRY("members",
												    "'x':1")),
	 NULL, false, "members(groupId) groupId id\n", ""},
	{"legacy: selected inside the schema",
	 CATALOG(ENTRY("members", "'schema':{'selected':'true'}") "," ENTRY("users", "'schema':{'selected':false}")),
	 NULL, false, "members(groupId) groupId id\n", ""},
	{"legacy: selected beside the schema",
	 CATALOG(ENTRY("members", "'selected':true") "," ENTRY("users", "'selected':false")), NULL, false,
	 "members(groupId) groupId id\n", ""},
	{"legacy: metadata, then schema, then entry",
	 CATALOG(ENTRY("members", "'schema':{'selected':true},'selected':false,'metadata':[" ROOT(
					  "'x':1") "]") "," ENTRY("users",
								  "'schema':{'selected':true},'metadata':[" ROOT(
									  "'selected':false") "]")),
	 NULL, false, "members(groupId) groupId id\n", ""},
	{"a name alone identifies", CATALOG("{'stream':'members'}"), NULL, false, "members(groupId) groupId id\n", ""},
	{"the identity counts, not the name", CATALOG(ENTRY("members", "'stream':'users'")), NULL, false,
	 "members(groupId) groupId id\n", ""},
	{"an unknown stream", CATALOG(ENTRY("members", "'x':1") "," ENTRY("ghosts", "'metadata':[" SELECTED "]")), NULL,
	 false, "members(groupId) groupId id\n", "WARNING stream ghosts of the catalog is unknown and left out\n"},
	{"a child without its parent", WITH("members", SELECTED), NULL, false, "members(groupId) groupId id\n", ""},
	/* fields */
	{"a field out", WITH("users", SELECTED ABOUT(P "'name'", "'selected':false")), NULL, false,
	 "users(id) id address{street city} tags[key value] settings\n", ""},
	{"a field out as a string", WITH("users", SELECTED ABOUT(P "'name'", "'selected':'false'")), NULL, false,
	 "users(id) id address{street city} tags[key value] settings\n", ""},
	{"a field unsupported, though selected",
	 WITH("users", SELECTED ABOUT(P "'name'", "'selected':true,'inclusion':'unsupported'")), NULL, false,
	 "users(id) id address{street city} tags[key value] settings\n", ""},
	{"a field automatic, though not selected",
	 WITH("users", SELECTED ABOUT(P "'name'", "'selected':false,'inclusion':'automatic'")
			       ABOUT(P "'settings'", "'selected':false")),
	 NULL, false, "users(id) id name address{street city} tags[key value]\n", ""},
	{"a field out by default", WITH("users", SELECTED ABOUT(P "'name'", "'selected-by-default':false")), NULL,
	 false, "users(id) id address{street city} tags[key value] settings\n", ""},
	{"a field in against its default",
	 WITH("users", SELECTED ABOUT(P "'name'", "'selected-by-default':false,'selected':true")), NULL, false,
	 "users(id) id name address{street city} tags[key value] settings\n", ""},
	{"the key stays", WITH("users", SELECTED ABOUT(P "'id'", "'selected':false,'inclusion':'unsupported'")), NULL,
	 false, "users(id) id name address{street city} tags[key value] settings\n", ""},
	{"the replication key stays", WITH("events", SELECTED ABOUT(P "'timestamp'", "'selected':false")), NULL, false,
	 "events(id)[timestamp] id timestamp n\n", ""},
	{"a nested field out", WITH("users", SELECTED ABOUT(P "'address'," P "'city'", "'selected':false")), NULL,
	 false, "users(id) id name address{street} tags[key value] settings\n", ""},
	{"a field of elements out", WITH("users", SELECTED ABOUT(P "'tags','items'," P "'key'", "'selected':false")),
	 NULL, false, "users(id) id name address{street city} tags[value] settings\n", ""},
	{"a parent out takes its children along",
	 WITH("users", SELECTED ABOUT(P "'address'", "'selected':false")
			       ABOUT(P "'address'," P "'city'", "'inclusion':'automatic'")),
	 NULL, false, "users(id) id name tags[key value] settings\n", ""},
	{"legacy: fields inside the schema",
	 CATALOG(ENTRY("members", "'schema':{'type':'object','properties':{'groupId':" NULLABLE(
					  "string") ",'id':{'type':'string','selected':'false'}}}")),
	 NULL, false, "members(groupId) groupId\n", ""},
	{"legacy: inclusion inside the schema",
	 CATALOG(ENTRY("members", "'schema':{'type':'object','properties':{'groupId':" NULLABLE(
					  "string") ",'id':{'type':'string','inclusion':'unsupported'}}}")),
	 NULL, false, "members(groupId) groupId\n", ""},
	{"with metadata the schema's nodes say nothing",
	 CATALOG(ENTRY("members",
		       "'metadata':[" SELECTED "],'schema':{'type':'object','properties':{'groupId':" NULLABLE(
			       "string") ",'id':{'type':'string','selected':false}}}")),
	 NULL, false, "members(groupId) groupId id\n", ""},
	{"an object without its fields",
	 WITH("users", SELECTED ABOUT(P "'address'," P "'city'", "'selected':false")
			       ABOUT(P "'address'," P "'street'", "'selected':false")),
	 NULL, false, "users(id) id name address{} tags[key value] settings\n",
	 "WARNING stream users: address is selected, but none of its fields, so it is written as {}; select "
	 "users.address.*\n"},
	{"elements without their fields",
	 WITH("users", SELECTED ABOUT(P "'tags','items'," P "'key'", "'selected':false")
			       ABOUT(P "'tags','items'," P "'value'", "'selected':false")),
	 NULL, false, "users(id) id name address{street city} tags[] settings\n",
	 "WARNING stream users: tags is selected, but no field of its elements, so they are written as {}; select "
	 "users.tags.*, or take the metadata below its \"items\" out of the catalog\n"},
	{"rows without fields",
	 CATALOG(ENTRY("members", "'key_properties':[],'metadata':[" SELECTED ABOUT(P "'id'", "'selected':false")
					  ABOUT(P "'groupId'", "'selected':false") "]")),
	 NULL, false, "members()\n",
	 "WARNING stream members: none of its fields is selected, so its rows are written as {}; select members.*\n"},
	{"metadata about nothing", WITH("members", SELECTED ABOUT(P "'ghost'", "'selected':true")), NULL, false,
	 "members(groupId) groupId id\n",
	 "WARNING stream members: the catalog's metadata is about [\"properties\",\"ghost\"], which its schema does "
	 "not "
	 "have\n"},
	{"metadata about half a place", WITH("members", SELECTED ABOUT("'properties'", "'selected':true")), NULL, false,
	 "members(groupId) groupId id\n",
	 "WARNING stream members: the catalog's metadata is about [\"properties\"], which its schema does not have\n"},
	{"fields named like the breadcrumb's words",
	 CATALOG(ENTRY("members", "'metadata':[" SELECTED ABOUT(P "'items'", "'selected':false") ABOUT(
					  P "'properties'",
					  "'selected':false") "],'schema':{'type':'object','properties':{'groupId':{'"
							      "type':'string'},'items':{'type':'string'"
							      "},'properties':{'type':'string'}}}")),
	 NULL, false, "members(groupId) groupId\n", ""},
	/* the catalog's schema */
	{"a narrowed schema",
	 CATALOG(ENTRY("users", "'schema':{'type':'object','properties':{'id':{'type':'string'}}}")), NULL, false,
	 "users(id) id\n", ""},
	{"a widened schema",
	 CATALOG(ENTRY("members", "'schema':{'type':'object','properties':{'groupId':{'type':'string'},'more':{'type':"
				  "'object','properties':{'a':{}}}}}")),
	 NULL, false, "members(groupId) groupId more{a}\n",
	 "WARNING stream members: field more of the catalog's schema is unknown; it is written where the API sends "
	 "it\n"},
	{"a widened nested schema",
	 CATALOG(ENTRY("users", "'schema':{'type':'object','properties':{'id':{'type':'string'},'tags':{'type':'array',"
				"'items':{'type':'object','properties':{'key':{},'extra':{}}}}}}")),
	 NULL, false, "users(id) id tags[key extra]\n",
	 "WARNING stream users: field tags[].extra of the catalog's schema is unknown; it is written where the API "
	 "sends "
	 "it\n"},
	{"a schema without fields is none", CATALOG(ENTRY("members", "'schema':{'type':'object','properties':{}}")),
	 NULL, false, "members(groupId) groupId id\n", ""},
	{"no type: all of it",
	 CATALOG(ENTRY("users", "'schema':{'properties':{'id':{},'address':{'properties':{'x':{}}}}}")), NULL, false,
	 "users(id) id address\n", ""},
	{"the last of equal fields",
	 CATALOG(ENTRY("members",
		       "'schema':{'type':'object','properties':{'groupId':{'type':'array'},'groupId':{'type':"
		       "'string'}}}")),
	 NULL, false, "members(groupId) groupId\n", ""},
	/* keys and methods */
	{"the documented key in the catalog is nobody's wish", KEYED("'key_properties':['groupId']"), NULL, true,
	 "members(groupId,id) groupId id\n", ""},
	{"the user's key on the entry", KEYED("'key_properties':['id']"), NULL, true, "members(id) groupId id\n", ""},
	{"the user's key with dashes",
	 WITH("members", ROOT("'selected':true,'key-properties':['id'],'table-key-properties':['groupId']")), NULL,
	 false, "members(id) groupId id\n", ""},
	{"Meltano's two spellings",
	 CATALOG(ENTRY("members",
		       "'key_properties':['id'],'metadata':[" ROOT(
			       "'selected':true,'key-properties':['id'],'table-key-properties':['groupId']") "]")),
	 NULL, false, "members(id) groupId id\n", ""},
	{"the entry's key where the metadata has the documented",
	 CATALOG(ENTRY("members", "'key_properties':['id'],'metadata':[" ROOT(
					  "'selected':true,'key-properties':['groupId']") "]")),
	 NULL, false, "members(id) groupId id\n", ""},
	{"a key of a view", WITH("members", ROOT("'selected':true,'view-key-properties':['id']")), NULL, false,
	 "members(id) groupId id\n", ""},
	{"the unique key in the catalog is nobody's wish", KEYED("'key_properties':['id','groupId']"), NULL, false,
	 "members(groupId) groupId id\n", ""},
	{"the unique key in the metadata likewise",
	 WITH("members", ROOT("'selected':true,'table-key-properties':['groupId','id']")), NULL, true,
	 "members(groupId,id) groupId id\n", ""},
	{"a view without a key says nothing",
	 WITH("members", ROOT("'selected':true,'view-key-properties':[],'table-key-properties':[]")), NULL, false,
	 "members(groupId) groupId id\n", ""},
	{"an edited table key", WITH("members", ROOT("'selected':true,'table-key-properties':['id']")), NULL, false,
	 "members(id) groupId id\n", ""},
	{"no key", KEYED("'key_properties':[]"), NULL, true, "members() groupId id\n", ""},
	{"a null key says nothing", KEYED("'key_properties':null"), NULL, false, "members(groupId) groupId id\n", ""},
	{"the user's key stays selected",
	 WITH("users", ROOT("'selected':true,'key-properties':['name']") ABOUT(P "'name'", "'selected':false")
			       ABOUT(P "'id'", "'selected':false")),
	 NULL, false, "users(name) name address{street city} tags[key value] settings\n", ""},
	{"FULL_TABLE", WITH("events", ROOT("'selected':true,'replication-method':'FULL_TABLE'")), NULL, false,
	 "events(id) id timestamp n\n", ""},
	{"FULL_TABLE on the entry, null in the metadata",
	 CATALOG(ENTRY("events", "'replication_method':'FULL_TABLE','metadata':[" ROOT(
					 "'selected':true,'replication-method':null") "]")),
	 NULL, false, "events(id) id timestamp n\n", ""},
	{"FULL_TABLE on the entry", CATALOG(ENTRY("events", "'replication_method':'FULL_TABLE'")), NULL, false,
	 "events(id) id timestamp n\n", ""},
	{"both spellings on the entry: underscored",
	 CATALOG(ENTRY("events", "'replication-method':'INCREMENTAL','replication_method':'FULL_TABLE'")), NULL, false,
	 "events(id) id timestamp n\n", ""},
	{"both spellings in the metadata: with dashes",
	 WITH("events", ROOT("'selected':true,'replication_method':'INCREMENTAL','replication-method':'FULL_TABLE'")),
	 NULL, false, "events(id) id timestamp n\n", ""},
	{"INCREMENTAL by its own key",
	 WITH("events", ROOT("'selected':true,'replication-method':'INCREMENTAL','replication-key':'timestamp'")), NULL,
	 false, "events(id)[timestamp] id timestamp n\n", ""},
	{"INCREMENTAL where it is not possible", CATALOG(ENTRY("members", "'replication_method':'INCREMENTAL'")), NULL,
	 false, "members(groupId) groupId id\n",
	 "WARNING stream members: replication method \"INCREMENTAL\" of the catalog is not possible and left out\n"},
	{"a null method and a null key say nothing",
	 CATALOG(ENTRY("members", "'replication_method':null,'replication_key':null")), NULL, false,
	 "members(groupId) groupId id\n", ""},
	{"LOG_BASED by another key",
	 CATALOG(ENTRY("events", "'replication_method':'LOG_BASED','replication_key':'id'")), NULL, false,
	 "events(id)[timestamp] id timestamp n\n",
	 "WARNING stream events: replication method \"LOG_BASED\" of the catalog is not possible and left out\n"
	 "WARNING stream events: replication key \"id\" of the catalog is not possible and left out\n"},
	{"FULL_TABLE without the replication key",
	 CATALOG(ENTRY("events",
		       "'replication_method':'FULL_TABLE','schema':{'type':'object','properties':{'id':{'type':"
		       "'string'}}}")),
	 NULL, false, "events(id) id\n", ""},
	{"FULL_TABLE as a forced method",
	 WITH("events", ROOT("'selected':true,'forced-replication-method':'FULL_TABLE'")), NULL, false,
	 "events(id) id timestamp n\n", ""},
	{"the user's method beats the forced one",
	 WITH("events",
	      ROOT("'selected':true,'replication-method':'INCREMENTAL','forced-replication-method':'FULL_TABLE'")),
	 NULL, false, "events(id)[timestamp] id timestamp n\n", ""},
	{"a schema without the replication key",
	 CATALOG(ENTRY("events", "'schema':{'properties':{'id':{'type':'string'}}}")), NULL, false, "events(id) id\n",
	 "WARNING stream events: its replication key timestamp is not in the catalog's schema, so it is read from "
	 "start_date on each time; add the field there to go on from its bookmark\n"},
	{"a schema without the replication key, FULL_TABLE forced",
	 CATALOG(ENTRY("events", "'schema':{'properties':{'id':{'type':'string'}}},'metadata':[" ROOT(
					 "'selected':true,'forced-replication-method':'FULL_TABLE'") "]")),
	 NULL, false, "events(id) id\n", ""},
	{"another tap's name", CATALOG("{'tap_stream_id':'people','stream':'people','metadata':[" SELECTED "]}"), NULL,
	 false, "users(id) id name address{street city} tags[key value] settings\n", ""},
	{"two entries for one stream: the last",
	 CATALOG(ENTRY("users", "'x':1") "," ENTRY("members", "'x':1") "," ENTRY(
		 "users", "'metadata':[" ROOT("'selected':false") "]")),
	 NULL, false, "members(groupId) groupId id\n",
	 "WARNING stream users: the catalog has more than one entry for it; the last counts\n"},
	{"three, one by another tap's name",
	 CATALOG(ENTRY("users", "'x':1") "," ENTRY("people", "'metadata':[]") "," ENTRY(
		 "users", "'metadata':[" SELECTED ABOUT(P "'name'", "'selected':false") "]")),
	 NULL, false, "users(id) id address{street city} tags[key value] settings\n",
	 "WARNING stream users: the catalog has more than one entry for it; the last counts\n"},
	/* rules */
	{"rules: a stream", NULL, "members", false, "members(groupId) groupId id\n", ""},
	{"rules: streams", NULL, "members, events", false,
	 "events(id)[timestamp] id timestamp n\nmembers(groupId) groupId id\n", ""},
	{"rules: a glob", NULL, "*s,!*er*", false, "events(id)[timestamp] id timestamp n\n", ""},
	{"rules: a question mark", NULL, "?vent?", false, "events(id)[timestamp] id timestamp n\n", ""},
	{"rules: all but", NULL, "!users,!mem*", false, "events(id)[timestamp] id timestamp n\n", ""},
	{"rules: all but a field", NULL, "!users.settings,!events,!members", false,
	 "users(id) id name address{street city} tags[key value]\n", ""},
	{"rules: one field", NULL, "users.name", false, "users(id) id name\n", ""},
	{"rules: a field that one stream has", NULL, "*.name", false, "users(id) id name\n", ""},
	{"rules: a field of all", NULL, "*.id", false,
	 "users(id) id\nevents(id)[timestamp] id timestamp\nmembers(groupId) groupId id\n", ""},
	{"rules: all fields but", NULL, "users.*,!users.a*,!users.tags", false, "users(id) id name settings\n", ""},
	{"rules: what is below a field comes with it", NULL, "users.address.*", false,
	 "users(id) id address{street city}\n", ""},
	{"rules: all fields out is the stream out", NULL, "events,members,!events.*", false,
	 "members(groupId) groupId id\n", ""},
	{"rules: the last wins", NULL, "users,!users,users.name,!users.name,users.tags", false,
	 "users(id) id tags[key value]\n", ""},
	{"rules: both lists of keys stay", NULL, "!users,!events,!members.id", false, "members(groupId) groupId id\n",
	 ""},
	{"rules: in place of the catalog's selection",
	 CATALOG(ENTRY("users", "'metadata':[" SELECTED ABOUT(P "'name'", "'selected':false") "]")), "users,members",
	 false, "users(id) id name address{street city} tags[key value] settings\nmembers(groupId) groupId id\n", ""},
	{"rules: blanks and empty rules", NULL, " members , ,events .n ,", false,
	 "events(id)[timestamp] id timestamp n\nmembers(groupId) groupId id\n", ""},
	{"rules: nothing", NULL, "!*", false, "",
	 "WARNING --select leaves no stream: nothing is synced; --select '*' takes all of them\n"},
	/* refused */
	{"an empty catalog", CATALOG(""), NULL, false, "the catalog has no stream; --discover writes one that has", ""},
	{"a catalog of another tap", CATALOG(ENTRY("orders", "'x':1") "," ENTRY("event", "'x':1")), NULL, false,
	 "the catalog has no stream of this tap; the nearest to event is events; --discover writes a catalog",
	 "WARNING stream orders of the catalog is unknown and left out\n"
	 "WARNING stream event of the catalog is unknown and left out\n"},
	{"a catalog of another tap, with rules", CATALOG(ENTRY("orders", "'x':1")), "users", false,
	 "the catalog has no stream of this tap; the nearest to orders is users; --discover writes a catalog",
	 "WARNING stream orders of the catalog is unknown and left out\n"},
	{"a rule that matches nothing", NULL, "evnets", false,
	 "--select: evnets matches no stream or field; the nearest is events; --discover shows what there is",
	 "WARNING --select leaves no stream: nothing is synced; --select '*' takes all of them\n"},
	{"a rule that excludes nothing", NULL, "events,!user", false,
	 "--select: !user matches no stream or field; the nearest is users; --discover shows what there is", ""},
	{"a field that a stream does not have", NULL, "users.nmae", false,
	 "--select: users.nmae matches no stream or field; the nearest is users.name; --discover shows what there is",
	 "WARNING --select leaves no stream: nothing is synced; --select '*' takes all of them\n"},
	{"a field that no stream has", NULL, "*.timestmp", false,
	 "--select: *.timestmp matches no stream or field; the nearest is events.timestamp; --discover shows what "
	 "there "
	 "is",
	 "WARNING --select leaves no stream: nothing is synced; --select '*' takes all of them\n"},
	{"a field of a stream that is not there", NULL, "usrs.name", false,
	 "--select: usrs.name matches no stream or field; the nearest is users; --discover shows what there is",
	 "WARNING --select leaves no stream: nothing is synced; --select '*' takes all of them\n"},
	{"rules: all of a field", NULL, "users.address.*,users.tags . * ", false,
	 "users(id) id address{street city} tags[key value]\n", ""},
	{"a rule below a field", NULL, "users,!users.address.city", false,
	 "--select: !users.address.city: rules go down to top-level fields; a catalog selects what is below", ""},
	{"a rule below any field", NULL, "users.*.city", false,
	 "--select: users.*.city: rules go down to top-level fields; a catalog selects what is below", ""},
	{"a rule far below a field", NULL, "users.address.*.x", false,
	 "--select: users.address.*.x: rules go down to top-level fields; a catalog selects what is below", ""},
	{"two streams of one name",
	 CATALOG(ENTRY("users", "'stream':'x','metadata':[" SELECTED
				"]") "," ENTRY("members", "'stream':'x','metadata':[" SELECTED "]")),
	 NULL, false, "streams users and members: the catalog calls both of them x, and selects both", ""},
	{"another stream's name",
	 CATALOG(ENTRY("users", "'stream':'members','metadata':[" SELECTED "]") "," ENTRY("members",
											  "'metadata':[" SELECTED "]")),
	 NULL, false, "streams users and members: the catalog calls both of them members, and selects both", ""},
	{"one name, but one of the two is not selected",
	 CATALOG(ENTRY("events", "'stream':'x','selected':false") "," ENTRY("members",
									    "'stream':'x','metadata':[" SELECTED "]")),
	 NULL, false, "members(groupId) groupId id\n", ""},
	{"no rule", NULL, " , ", false, "--select: expected rules like sources,audit_events.*,!iam_*",
	 "WARNING --select leaves no stream: nothing is synced; --select '*' takes all of them\n"},
	{"no list of streams", "{}", NULL, false,
	 "not a catalog: expected {\"streams\": [...]}, as --discover writes it", ""},
	{"null", "null", NULL, false, "not a catalog: expected {\"streams\": [...]}, as --discover writes it", ""},
	{"a nameless stream", CATALOG("{}"), NULL, false, "a stream of the catalog has no \"tap_stream_id\"", ""},
	{"a stream that is a number", CATALOG("7"), NULL, false, "a stream of the catalog has no \"tap_stream_id\"",
	 ""},
	{"selected is neither", WITH("users", ROOT("'selected':'maybe'")), NULL, false,
	 "stream users: \"selected\" in the catalog is neither true nor false", ""},
	{"a field's selected is neither", WITH("users", SELECTED ABOUT(P "'name'", "'selected':1")), NULL, false,
	 "stream users: \"selected\" in the catalog is neither true nor false", ""},
	{"metadata is an object", CATALOG(ENTRY("users", "'metadata':{}")), NULL, false,
	 "stream users: \"metadata\" in the catalog is not a list", ""},
	{"metadata without a breadcrumb", WITH("users", "{'metadata':{}}"), NULL, false,
	 "stream users: the catalog's metadata must be a list of {\"breadcrumb\": [...], \"metadata\": {...}}", ""},
	{"a schema that is a string", CATALOG(ENTRY("users", "'schema':'x'")), NULL, false,
	 "stream users: \"schema\" in the catalog is not an object", ""},
	{"an unknown type", CATALOG(ENTRY("users", "'schema':{'properties':{'id':{'type':'text'}}}")), NULL, false,
	 "stream users: \"type\" of id in the catalog's schema is neither a JSON type nor a list of such", ""},
	{"a list of no types",
	 CATALOG(ENTRY("users", "'schema':{'properties':{'id':{'type':'object','properties':{'a':{'type':[]}}}}}")),
	 NULL, false,
	 "stream users: \"type\" of id.a in the catalog's schema is neither a JSON type nor a list of such", ""},
	{"a key that is no field", KEYED("'key_properties':['ghost']"), NULL, false,
	 "stream members: key field ghost is not in the catalog's schema; add it there, or choose other key-properties",
	 ""},
	{"a schema without the key", CATALOG(ENTRY("users", "'schema':{'properties':{'name':{'type':'string'}}}")),
	 NULL, false,
	 "stream users: key field id is not in the catalog's schema; add it there, or choose other key-properties", ""},
	{"selected is neither, in the schema", CATALOG(ENTRY("users", "'schema':{'selected':7}")), NULL, false,
	 "stream users: \"selected\" in the catalog is neither true nor false", ""},
	{"selected is neither, on the entry", CATALOG(ENTRY("users", "'selected':[]")), NULL, false,
	 "stream users: \"selected\" in the catalog is neither true nor false", ""},
	{"selected-by-default is neither", WITH("users", ROOT("'selected-by-default':'x'")), NULL, false,
	 "stream users: \"selected-by-default\" in the catalog is neither true nor false", ""},
	{"a nested field's selected is neither",
	 WITH("users", SELECTED ABOUT(P "'address'," P "'city'", "'selected':'no'")), NULL, false,
	 "stream users: \"selected\" in the catalog is neither true nor false", ""},
	{"an element's selected is neither",
	 WITH("users", SELECTED ABOUT(P "'tags','items'," P "'key'", "'selected-by-default':0")), NULL, false,
	 "stream users: \"selected-by-default\" in the catalog is neither true nor false", ""},
	{"metadata that is a list", WITH("users", "{'breadcrumb':[],'metadata':[]}"), NULL, false,
	 "stream users: the catalog's metadata must be a list of {\"breadcrumb\": [...], \"metadata\": {...}}", ""},
	{"metadata without its metadata", WITH("users", "{'breadcrumb':[]}"), NULL, false,
	 "stream users: the catalog's metadata must be a list of {\"breadcrumb\": [...], \"metadata\": {...}}", ""},
	{"a key that is a string", KEYED("'key_properties':'id'"), NULL, false,
	 "stream members: the catalog's key is not a list of fields' names", ""},
	{"a key of numbers", KEYED("'key_properties':[1]"), NULL, false,
	 "stream members: the catalog's key is not a list of fields' names", ""},
	{"a key of nine fields", KEYED("'key_properties':['id','id','id','id','id','id','id','id','id']"), NULL, false,
	 "stream members: the catalog's key has more than 8 fields", ""},
};

static void put_fields(struct json_out *out, const struct field *f)
{
	const char *before = "";
	size_t i;

	for (i = 0; i < f->count; i++) {
		const struct field *child = &f->children[i];
		if (!child->selected)
			continue;
		json_put_text(out, before);
		json_put(out, child->name);
		if (child->children || (child->items && child->items->children)) {
			json_put_text(out, child->children ? "{" : "[");
			put_fields(out, child->children ? child : child->items);
			json_put_text(out, child->children ? "}" : "]");
		}
		before = " ";
	}
}

/* The selection in the form of the table. */
static void put_selection(struct json_out *out, const struct selection sel[TEST_STREAMS])
{
	size_t i, k;

	for (i = 0; i < TEST_STREAMS; i++) {
		if (!sel[i].selected)
			continue;
		json_put_text(out, sel[i].stream->name);
		json_put_text(out, "(");
		for (k = 0; k < SINGER_KEYS && sel[i].key[k].n; k++) {
			json_put_text(out, k ? "," : "");
			json_put(out, sel[i].key[k]);
		}
		json_put_text(out, ")");
		if (sel[i].stream->replication_key && !sel[i].full_table)
			json_put_text(out, "[timestamp]");
		json_put_text(out, any_selected(sel[i].fields) ? " " : "");
		put_fields(out, sel[i].fields);
		json_put_text(out, "\n");
	}
}

static void test_selections(void)
{
	size_t i;

	for (i = 0; i < countof(selections); i++) {
		char *catalog = selections[i].catalog ? json_text(selections[i].catalog) : NULL;
		struct selection sel[TEST_STREAMS];
		struct json_out got = {0};
		struct arena arena = {0};
		struct error error = {""};

		if (select_streams(sel, &arena, catalog, selections[i].rules, selections[i].unique_keys, &error))
			put_selection(&got, sel);
		else
			json_put_text(&got, error.text);
		check_bytes(got.length ? got.bytes : "", got.length, selections[i].expected, selections[i].name);
		check_text(take(log_file), selections[i].log, "  and its log");
		json_out_free(&got);
		arena_free(&arena);
		free(catalog);
	}
}

static void test_selection_limits(void)
{
	struct selection sel[TEST_STREAMS];
	struct json_out catalog = {0};
	struct arena arena = {0};
	struct error error = {""};
	int fields, i;

	for (fields = SINGER_FIELDS; fields <= SINGER_FIELDS + 1; fields++) {
		catalog.length = 0;
		json_put_text(&catalog,
			      "{\"streams\":[{\"tap_stream_id\":\"users\",\"schema\":{\"properties\":{\"id\":{}");
		for (i = 1; i < fields; i++) {
			json_put_text(&catalog, ",\"f");
			json_put_int64(&catalog, i);
			json_put_text(&catalog, "\":{}");
		}
		json_put_text(&catalog, "}}}]}");
		json_put(&catalog, (struct str){"", 1});
		check(select_streams(sel, &arena, catalog.bytes, NULL, false, &error) == (fields == SINGER_FIELDS),
		      "%d fields of an object", fields);
	}
	check_text(error.text, "stream users: the row has 65 fields in the catalog's schema, the most are 64",
		   "and the error says so");
	take(log_file);
	json_out_free(&catalog);
	arena_free(&arena);
}

enum {
	FOUR_TIMES = 10
}; /* work on four times as much may take so many times as long: 4 if it grows evenly, 16 if not */

/* The processor's time for a catalog of so many objects with hundreds of fields, and metadata for each field. */
static clock_t select_many(int outer)
{
	enum { INNER = 60, LEAVES = 8 };
	struct selection sel[TEST_STREAMS];
	struct json_out schema = {0}, metadata = {0};
	struct arena arena = {0};
	struct error error = {""};
	clock_t begin = clock();
	char name[128];
	int a, b, c;

	json_put_text(&metadata, "}},\"metadata\":[{\"breadcrumb\":[],\"metadata\":{\"selected\":true}}");
	json_put_text(
		&schema,
		"{\"streams\":[{\"tap_stream_id\":\"users\",\"schema\":{\"properties\":{\"id\":{\"type\":\"string\"}");
	for (a = 0; a < outer; a++) {
		snprintf(name, sizeof name, ",\"a%d\":{\"type\":\"object\",\"properties\":{", a);
		json_put_text(&schema, name);
		for (b = 0; b < INNER; b++) {
			snprintf(name, sizeof name, "%s\"b%d\":{\"type\":\"object\",\"properties\":{", b ? "," : "", b);
			json_put_text(&schema, name);
			for (c = 0; c < LEAVES; c++) {
				snprintf(name, sizeof name, "%s\"c%d\":{\"type\":\"string\"}", c ? "," : "", c);
				json_put_text(&schema, name);
				snprintf(name, sizeof name,
					 ",{\"breadcrumb\":[\"properties\",\"a%d\",\"properties\",\"b%d\","
					 "\"properties\",\"c%d\"],"
					 "\"metadata\":{}}",
					 a, b, c);
				json_put_text(&metadata, name);
			}
			json_put_text(&schema, "}}");
		}
		json_put_text(&schema, "}}");
	}
	json_put(&schema, (struct str){metadata.bytes, metadata.length});
	json_put_text(&schema, "]}]}");
	json_put(&schema, (struct str){"", 1});
	check(select_streams(sel, &arena, schema.bytes, NULL, false, &error) &&
		      sel[0].fields->count == (size_t)outer + 1,
	      "%d fields with metadata each", outer * INNER * LEAVES);
	begin = clock() - begin;
	take(log_file);
	json_out_free(&schema);
	json_out_free(&metadata);
	arena_free(&arena);
	return begin;
}

static void test_selection_size(void)
{
	clock_t quarter = select_many(15), whole = select_many(60);

	check(whole <= quarter * FOUR_TIMES + CLOCKS_PER_SEC / 100, "thousands of fields: the time grows as they do");
}

static void test_shared_keys(void)
{
	struct selection sel[TEST_STREAMS];
	struct arena arena = {0};
	struct error error = {""};

	select_streams(sel, &arena, NULL, NULL, false, &error);
	check(selection_shared_keys(sel, TEST_STREAMS, false) == 1, "a key that names several rows");
	check(selection_shared_keys(sel, TEST_STREAMS, true) == 1, "that of a full table");
	select_streams(sel, &arena, NULL, NULL, true, &error);
	check(selection_shared_keys(sel, TEST_STREAMS, false) == 0, "none with unique keys");
	select_streams(sel, &arena, NULL, "users", false, &error);
	check(selection_shared_keys(sel, TEST_STREAMS, false) == 0, "none of a stream that is not selected");
	take(log_file);
	arena_free(&arena);
}

/* ---- SCHEMA ---- */

static const struct {
	const char *name, *catalog, *expected;
} schemas[] = {
	{"the built-in schema, nested field out",
	 WITH("users", SELECTED ABOUT(P "'address'," P "'city'", "'selected':false")
			       ABOUT(P "'tags','items'," P "'key'", "'selected':false")
				       ABOUT(P "'settings'", "'selected':false")),
	 "{'type':'SCHEMA','stream':'users','schema':{'type':'object','properties':{'id':{'type':['null','string']},'"
	 "name':{"
	 "'type':['null','string']},'address':{'type':['null','object'],'properties':{'street':{'type':['null','string'"
	 "]}}},"
	 "'tags':{'type':['null','array'],'items':{'type':['null','object'],'properties':{'value':{'type':['null','"
	 "string']}"
	 "}}}}},'key_properties':['id']}\n"},
	{"bookmark_properties", WITH("events", SELECTED),
	 "{'type':'SCHEMA','stream':'events','schema':{'type':'object','properties':{'id':{'type':['null','string']},"
	 "'timestamp':{'type':['null','string'],'format':'date-time'},'n':{'type':['null','integer']}}},'key_"
	 "properties':["
	 "'id'],'bookmark_properties':['timestamp']}\n"},
	{"the catalog's name and schema, other keywords kept, its selection not",
	 CATALOG(ENTRY("users",
		       "'stream':'people \\u00e9','schema':{'title':'T','type':['object'],'selected':true,'required':["
		       "'id','x','other'],'properties':{'id':{'type':'string','inclusion':'automatic','maxLength':1e1},"
		       "'x':{'selected':false}},'additionalProperties':false}")),
	 "{'type':'SCHEMA','stream':'people "
	 "\xc3\xa9','schema':{'title':'T','type':['object'],'required':['id','other'],"
	 "'properties':{'id':{'type':'string','maxLength':1e1}},'additionalProperties':false},'key_properties':['id']}"
	 "\n"},
	{"a schema without a type becomes an object's",
	 CATALOG(ENTRY("users",
		       "'schema':{'properties':{'id':true,'settings':{'anyOf':[{'type':'null'},{'type':'string'}]}}}")),
	 "{'type':'SCHEMA','stream':'users','schema':{'type':'object','properties':{'id':true,'settings':{'anyOf':[{'"
	 "type':"
	 "'null'},{'type':'string'}]}}},'key_properties':['id']}\n"},
	{"text that targets refuse",
	 CATALOG(ENTRY("users",
		       "'stream':'a\\u0000','schema':{'title':'\\u0000','type':'object','properties':{'id':{'enum':['"
		       "\\ud800']},'x\\udc00':{}}}")),
	 "{'type':'SCHEMA','stream':'a\\ufffd','schema':{'title':'\\ufffd','type':'object','properties':{'id':{'enum':["
	 "'"
	 "\\ufffd']},'x\xef\xbf\xbd':{}}},'key_properties':['id']}\n"},
	{"several keys, and none in the bookmark of a full table",
	 CATALOG(ENTRY("events",
		       "'key_properties':['id','n'],'replication_method':'FULL_TABLE','schema':{'type':'object',"
		       "'properties':{'id':{'type':'string'},'n':{'type':'integer'}}}")),
	 "{'type':'SCHEMA','stream':'events','schema':{'type':'object','properties':{'id':{'type':'string'},'n':{'type'"
	 ":"
	 "'integer'}}},'key_properties':['id','n']}\n"},
};

static void test_schemas(void)
{
	size_t i, k;

	for (i = 0; i < countof(schemas); i++) {
		char *catalog = json_text(schemas[i].catalog), *expected = json_text(schemas[i].expected);
		struct singer s = singer_to_file();
		struct selection sel[TEST_STREAMS];
		struct arena arena = {0};
		struct error error = {""};

		check(select_streams(sel, &arena, catalog, NULL, false, &error), "%s%s", schemas[i].name, error.text);
		for (k = 0; k < TEST_STREAMS; k++)
			if (sel[k].selected) {
				singer_schema(&s, &sel[k]);
				singer_schema(&s, &sel[k]);
			}
		check(singer_flush(&s), "  is written");
		check_text(take(out_file), expected, "  as SCHEMA, once");
		json_out_free(&s.out);
		arena_free(&arena);
		free(catalog);
		free(expected);
	}
	take(log_file);
}

/* ---- Projection ---- */

#define TEN "abcdefghij"

/* A stream "s" with key k and these properties, and a row of it.  expected: the record, or the error without what
 * stands in the front and the end of all of them. */
static const struct {
	const char *name, *properties, *row, *expected;
} rows[] = {
	{"a row as it is", "'k':{},'a':{}", "{'k':1,'a':2}", "{'k':1,'a':2}"},
	{"the schema's order", "'k':{},'a':{},'b':{}", "{'b':3,'a':2,'k':1}", "{'k':1,'a':2,'b':3}"},
	{"some in order, some not", "'k':{},'a':{},'b':{},'c':{}", "{'k':1,'b':3,'a':2,'c':4}",
	 "{'k':1,'a':2,'b':3,'c':4}"},
	{"missing fields", "'k':{},'a':{},'b':{}", "{'b':3,'k':1}", "{'k':1,'b':3}"},
	{"unknown members", "'k':{},'a':{}", "{'x':{'k':9},'k':1,'y':[1],'a':2,'z':null}", "{'k':1,'a':2}"},
	{"the last of equal members", "'k':{},'a':{}", "{'k':1,'a':2,'a':3,'k':4}", "{'k':4,'a':3}"},
	{"the last of equal members, though the first does not fit", "'k':{},'a':{'type':'integer'}",
	 "{'k':1,'a':'x','a':3}", "{'k':1,'a':3}"},
	{"of equal members the last that does not fit", "'k':{},'a':{'type':'integer'}", "{'k':1,'a':3,'a':true}",
	 "k 1: a is a boolean, but the schema takes integer"},
	{"white space", "'k':{},'a':{'type':'object'},'b':{'type':'array'}",
	 " {\n 'k' : 1 ,\t'a'\r: { 'x' : [ 1 , { } , [ ] ] } , 'b' : [ 1 , 'a  b' ] } ",
	 "{'k':1,'a':{'x':[1,{},[]]},'b':[1,'a  b']}"},
	{"white space in what is projected",
	 "'k':{},'o':{'type':'object','properties':{'a':{},'b':{}}},'l':{'type':'array','items':{'type':'number'}}",
	 "{ 'k' : 1 , 'l' : [ 1 , 2 ] , 'o' : { 'b' : 1 , 'a' : 2 } }", "{'k':1,'o':{'a':2,'b':1},'l':[1,2]}"},
	{"empty containers",
	 "'k':{},'o':{'type':'object','properties':{'a':{}}},'l':{'type':'array','items':{'type':'number'}}",
	 "{'k':1,'o':{},'l':[]}", "{'k':1,'o':{},'l':[]}"},
	{"empty containers with white space",
	 "'k':{},'o':{'type':'object','properties':{'a':{}}},'l':{'type':'array','items':{'type':'number'}}",
	 "{'k':1,'o':{ },'l':[ ]}", "{'k':1,'o':{},'l':[]}"},
	{"digits and escapes as sent", "'k':{},'n':{'type':'number'},'s':{'type':'string'}",
	 "{'k':1,'n':-1.50E+0123456789012345678901234567890,'s':'\\u0041\\/\\n\\u001f\xc3\xa9'}",
	 "{'k':1,'n':-1.50E+0123456789012345678901234567890,'s':'\\u0041\\/\\n\\u001f\xc3\xa9'}"},
	{"escaped names", "'k':{},'ab':{},'c\\u0022':{}", "{'\\u006b':1,'c\\\"':3,'\\u0061b':2}",
	 "{'k':1,'ab':2,'c\\\"':3}"},
	{"escaped names that have no field", "'k':{},'a':{}", "{'k':1,'\\u0062':2,'\\\\u0061':3}", "{'k':1}"},
	{"names that begin alike", "'k':{},'a':{},'ab':{},'abcdefgh':{},'abcdefghi':{}",
	 "{'k':1,'abcdefghj':0,'abcdefghi':9,'abcdefgh':8,'ab':2,'a':1,'abcdefgx':0}",
	 "{'k':1,'a':1,'ab':2,'abcdefgh':8,'abcdefghi':9}"},
	{"long names", "'k':{},'abcdefghijklmnopqrstuvwx':{},'abcdefghIjklmnopqrstuvwx':{}",
	 "{'k':1,'abcdefghIjklmnopqrstuvwx':2,'abcdefghijklmnopqrstuvwx':3,'abcdefgh-jklmnopqrstuvwx':4}",
	 "{'k':1,'abcdefghijklmnopqrstuvwx':3,'abcdefghIjklmnopqrstuvwx':2}"},
	/* types */
	{"each type where it is taken",
	 "'k':{},'a':{'type':['null','boolean']},'b':{'type':'number'},'c':{'type':'string'},'d':{'type':'array'},'e':{"
	 "'type':'object'},'f':{'type':'null'}",
	 "{'k':1,'a':true,'b':-0.5,'c':'','d':[],'e':{},'f':null}",
	 "{'k':1,'a':true,'b':-0.5,'c':'','d':[],'e':{},'f':null}"},
	{"anything becomes a string",
	 "'k':{},'a':{'type':['null','string']},'b':{'type':'string'},'c':{'type':'string'},'d':{'type':'string'},'e':{"
	 "'type':'string'}",
	 "{'k':1,'a':null,'b':12.50,'c':false,'d':[ 1, 'x\\n' ],'e':{ 'q' : '\\'' }}",
	 "{'k':1,'a':null,'b':'12.50','c':'false','d':'[1,\\'x\\\\n\\']','e':'{\\'q\\':\\'\\\\\\'\\'}'}"},
	{"a type that is taken is no string", "'k':{},'a':{'type':['string','number','object']}", "{'k':1,'a':12}",
	 "{'k':1,'a':12}"},
	{"integers", "'k':{},'a':{'type':'integer'},'b':{'type':['integer','string']}", "{'k':1,'a':-10,'b':1.5}",
	 "{'k':1,'a':-10,'b':'1.5'}"},
	{"a fraction of zeros", "'k':{},'a':{'type':'integer'},'b':{'type':['integer','string']}",
	 "{'k':1,'a':-10.000,'b':5.0}", "{'k':1,'a':-10.000,'b':5.0}"},
	{"an integer wide of any machine", "'k':{},'a':{'type':'integer'}",
	 "{'k':1,'a':123456789012345678901234567890}", "{'k':1,'a':123456789012345678901234567890}"},
	{"a zero before a fraction", "'k':{},'a':{'type':'integer'}", "{'k':1,'a':1.05}",
	 "k 1: a is a number, but the schema takes integer"},
	{"a zero fraction with an exponent", "'k':{},'a':{'type':'integer'}", "{'k':1,'a':1.0e0}",
	 "k 1: a is a number, but the schema takes integer"},
	{"a fraction is no integer", "'k':{},'a':{'type':'integer'}", "{'k':1,'a':1.5}",
	 "k 1: a is a number, but the schema takes integer"},
	{"an exponent is no integer", "'k':{},'a':{'type':['null','integer']}", "{'k':1,'a':1e3}",
	 "k 1: a is a number, but the schema takes null or integer"},
	{"null where it is not taken", "'k':{},'a':{'type':'string'}", "{'k':1,'a':null}",
	 "k 1: a is null, but the schema takes string"},
	{"a string where it is not taken", "'k':{},'a':{'type':['boolean','array']}", "{'k':1,'a':'secret'}",
	 "k 1: a is a string, but the schema takes boolean or array"},
	{"an object where it is not taken", "'k':{},'a':{'type':['number','null']}", "{'k':1,'a':{'b':1}}",
	 "k 1: a is an object, but the schema takes null or number"},
	/* depth */
	{"nested fields and elements",
	 "'k':{},'a':{'type':'object','properties':{'b':{'type':'array','items':{'type':'object','properties':{'c':{'"
	 "type':"
	 "'number'},'d':{'type':'string'}}}}}}",
	 "{'k':1,'a':{'x':0,'b':[{'c':1,'d':'e'},{'d':2,'c':3,'y':4},{}]}}",
	 "{'k':1,'a':{'b':[{'c':1,'d':'e'},{'c':3,'d':'2'},{}]}}"},
	{"the way to a value that does not fit",
	 "'k':{},'a':{'type':'object','properties':{'b':{'type':'array','items':{'type':'object','properties':{'c':{'"
	 "type':"
	 "'array','items':{'type':'number'}}}}}}}",
	 "{'k':1,'a':{'b':[{'c':[1]},{'c':[1,true]}]}}", "k 1: a.b[].c[] is a boolean, but the schema takes number"},
	{"arrays of arrays", "'k':{},'a':{'type':'array','items':{'type':'array','items':{'type':'string'}}}",
	 "{'k':1,'a':[[],[1],['x',[2]]]}", "{'k':1,'a':[[],['1'],['x','[2]']]}"},
	{"a null element", "'k':{},'a':{'type':'array','items':{'type':['null','object'],'properties':{'b':{}}}}",
	 "{'k':1,'a':[null,{'b':1}]}", "{'k':1,'a':[null,{'b':1}]}"},
	{"free objects and arrays whole", "'k':{},'a':{'type':'object'},'b':{'type':'array'},'c':{}",
	 "{'k':1,'a':{'x':{'y':[1,{'z':null}]}},'b':[[1],{'q':'r'}],'c':{'d':1}}",
	 "{'k':1,'a':{'x':{'y':[1,{'z':null}]}},'b':[[1],{'q':'r'}],'c':{'d':1}}"},
	/* times */
	{"a time", "'k':{},'t':{'type':['null','string'],'format':'date-time'}", "{'k':1,'t':'2021-02-01T00:00:00Z'}",
	 "{'k':1,'t':'2021-02-01T00:00:00.000000Z'}"},
	{"a time with three digits", "'t':{'type':['null','string'],'format':'date-time'},'k':{}",
	 "{'k':1,'t':'2021-02-01T00:00:00.123Z'}", "{'t':'2021-02-01T00:00:00.123000Z','k':1}"},
	{"a time with nine digits", "'k':{},'t':{'type':['null','string'],'format':'date-time'}",
	 "{'k':1,'t':'2021-02-01T00:00:00.123456789Z'}", "{'k':1,'t':'2021-02-01T00:00:00.123456Z'}"},
	{"a time with an offset", "'k':{},'t':{'type':['null','string'],'format':'date-time'}",
	 "{'k':1,'t':'2021-02-01T00:00:00+02:00'}", "{'k':1,'t':'2021-01-31T22:00:00.000000Z'}"},
	{"a time without a zone", "'k':{},'t':{'type':['null','string'],'format':'date-time'}",
	 "{'k':1,'t':'2021-02-01T00:00:00.299964'}", "{'k':1,'t':'2021-02-01T00:00:00.299964Z'}"},
	{"a time without a second, its zone without a colon",
	 "'k':{},'t':{'type':['null','string'],'format':'date-time'}", "{'k':1,'t':'2021-02-01T00:00+0000'}",
	 "{'k':1,'t':'2021-02-01T00:00:00.000000Z'}"},
	{"a date", "'k':{},'t':{'type':['null','string'],'format':'date-time'}", "{'k':1,'t':'2021-02-01'}",
	 "{'k':1,'t':'2021-02-01T00:00:00.000000Z'}"},
	{"a time in small letters", "'k':{},'t':{'type':['null','string'],'format':'date-time'}",
	 "{'k':1,'t':'2021-02-01t00:00:00z'}", "{'k':1,'t':'2021-02-01T00:00:00.000000Z'}"},
	{"a leap second", "'k':{},'t':{'type':['null','string'],'format':'date-time'}",
	 "{'k':1,'t':'2016-12-31T23:59:60Z'}", "{'k':1,'t':'2017-01-01T00:00:00.000000Z'}"},
	{"a time with escapes", "'k':{},'t':{'type':['null','string'],'format':'date-time'}",
	 "{'k':1,'t':'2021-02-01T00:00:00\\u002e5Z'}", "{'k':1,'t':'2021-02-01T00:00:00.500000Z'}"},
	{"the empty time", "'k':{},'t':{'type':['null','string'],'format':'date-time'}", "{'k':1,'t':''}",
	 "{'k':1,'t':null}"},
	{"the empty time where null is not taken", "'k':{},'t':{'type':'string','format':'date-time'}",
	 "{'k':1,'t':''}", "k 1: t is an empty time, but the schema takes string of format date-time"},
	{"no time", "'k':{},'t':{'type':['null','string'],'format':'date-time'}", "{'k':1,'t':'yesterday'}",
	 "k 1: t is a text that is not an RFC 3339 time, but the schema takes null or string of format date-time"},
	{"a number for a time", "'k':{},'t':{'type':['null','string'],'format':'date-time'}", "{'k':1,'t':1612137600}",
	 "k 1: t is a number, but the schema takes null or string of format date-time"},
	{"other formats are not looked at", "'k':{},'t':{'type':'string','format':'date'}", "{'k':1,'t':'2021'}",
	 "{'k':1,'t':'2021'}"},
	{"times in elements", "'k':{},'t':{'type':'array','items':{'type':'string','format':'date-time'}}",
	 "{'k':1,'t':['2021-02-01','2021-02-02T01:00:00Z']}",
	 "{'k':1,'t':['2021-02-01T00:00:00.000000Z','2021-02-02T01:00:00.000000Z']}"},
	/* surrogates */
	{"surrogate pairs stay", "'k':{},'a':{'type':'string'}", "{'k':1,'a':'\\ud83d\\ude00\\uD83D\\uDE00'}",
	 "{'k':1,'a':'\\ud83d\\ude00\\uD83D\\uDE00'}"},
	{"lone surrogates do not", "'k':{},'a':{'type':'string'}", "{'k':1,'a':'x\\ud83dy\\ude00z\\uD83D'}",
	 "{'k':1,'a':'x\\ufffdy\\ufffdz\\ufffd'}"},
	{"a lone one before a pair", "'k':{},'a':{'type':'string'}", "{'k':1,'a':'\\ud83d\\ud83d\\ude00\\ude00'}",
	 "{'k':1,'a':'\\ufffd\\ud83d\\ude00\\ufffd'}"},
	{"a high one before another escape", "'k':{},'a':{'type':'string'}",
	 "{'k':1,'a':'\\ud83d\\n\\ud83d\\u0041\\udbff\\\\'}", "{'k':1,'a':'\\ufffd\\n\\ufffd\\u0041\\ufffd\\\\'}"},
	{"an escaped backslash is none", "'k':{},'a':{'type':'string'}", "{'k':1,'a':'\\\\ud83d\\u00d8\\ue000\\ud7ff'}",
	 "{'k':1,'a':'\\\\ud83d\\u00d8\\ue000\\ud7ff'}"},
	{"surrogates in values that become text", "'k':{},'a':{'type':'string'}",
	 "{'k':1,'a':{'b\\ud800':'\\ud800','c':'\\\\ud800','d':'\\ud83d\\ude00','e':'\\udc00\\ud83d\\n'}}",
	 "{'k':1,'a':'{\\'b\\\\ufffd\\':\\'\\\\ufffd\\',\\'c\\':\\'\\\\\\\\ud800\\',\\'d\\':\\'\\\\ud83d\\\\ude00\\',"
	 "\\'e\\':\\'\\\\ufffd\\\\ufffd\\\\n\\'}'}"},
	{"surrogates in free values and names", "'k':{},'a':{'type':'object'}",
	 "{'k':1,'a':{'\\ud800':['\\udfff',{'b\\udc00':'\\ud800\\udc00'}]}}",
	 "{'k':1,'a':{'\\ufffd':['\\ufffd',{'b\\ufffd':'\\ud800\\udc00'}]}}"},
	{"U+0000", "'k':{},'a':{'type':'string'}", "{'k':1,'a':'\\u0000x\\\\u0000\\u00001\\n'}",
	 "{'k':1,'a':'\\ufffdx\\\\u0000\\ufffd1\\n'}"},
	{"U+0000 in values that become text", "'k':{},'a':{'type':'string'}",
	 "{'k':1,'a':{ 'b\\u0000' : '\\\\u0000' }}", "{'k':1,'a':'{\\'b\\\\ufffd\\':\\'\\\\\\\\u0000\\'}'}"},
	{"U+0000 in free values and names", "'k':{},'a':{'type':'array'}", "{'k':1,'a':[ { '\\u0000' : '\\u0000' } ]}",
	 "{'k':1,'a':[{'\\ufffd':'\\ufffd'}]}"},
	{"U+0000 in a field's name", "'k':{},'a\\u0000':{}", "{'k':1,'a\\u0000':2}", "{'k':1,'a\\ufffd':2}"},
	{"U+FFFD as it came", "'k':{},'a':{'type':'string'}", "{'k':1,'a':'\\uFFFD\\ufffd\\u0001'}",
	 "{'k':1,'a':'\\uFFFD\\ufffd\\u0001'}"},
	/* the key */
	{"no key", "'a':{},'k':{}", "{'a':1}", "k : k is missing, but it belongs to the key or dates the row"},
	{"a null key", "'k':{'type':['null','string']}", "{'k':null}",
	 "k null: k is null, but it belongs to the key or dates the row"},
	{"an empty time for a key", "'k':{'type':['null','string'],'format':'date-time'}", "{'k':''}",
	 "k : k is an empty time, but it belongs to the key or dates the row"},
	{"an empty key passes", "'k':{'type':['null','string']}", "{'k':''}", "{'k':''}"},
	{"a key that does not fit", "'k':{'type':'boolean'}",
	 "{'k':'"
	 "0123456789012345678901234567890123456789012345678901234567890"
	 "'}",
	 "k 012345678901234567890123456789012345678901234567: k is a string, but the schema takes boolean"},
	{"a path is cut",
	 "'k':{},'" TEN TEN TEN TEN TEN TEN "':{'type':'object','properties':{'" TEN TEN TEN TEN TEN TEN TEN
	 "':{'type':'array','items':{'type':'integer'}}}}",
	 "{'k':1,'" TEN TEN TEN TEN TEN TEN "':{'" TEN TEN TEN TEN TEN TEN TEN "':[true]}}",
	 "k 1: " TEN TEN TEN TEN TEN TEN "." TEN TEN TEN TEN TEN TEN
	 "abcdef is a boolean, but the schema takes integer"},
	{"a path is cut in its last sign",
	 "'k':{},'" TEN TEN TEN TEN TEN TEN "':{'type':'object','properties':{'" TEN TEN TEN TEN TEN TEN
	 "abcde':{'type':'array','items':{'type':'integer'}}}}",
	 "{'k':1,'" TEN TEN TEN TEN TEN TEN "':{'" TEN TEN TEN TEN TEN TEN "abcde':[true]}}",
	 "k 1: " TEN TEN TEN TEN TEN TEN "." TEN TEN TEN TEN TEN TEN
	 "abcde[ is a boolean, but the schema takes integer"},
	{"null for a key whose type is open", "'k':{}", "{'k':null}",
	 "k null: k is null, but it belongs to the key or dates the row"},
};

static const char row_stream[] = "s", *const row_key[] = {"k", NULL};

/* A selection of one stream with these properties. */
static bool select_row_stream(struct selection *sel, struct singer_stream *stream, char *schema, struct arena *arena,
			      struct error *error)
{
	struct json none = {NULL, NULL};

	stream->name = row_stream;
	stream->key = row_key;
	sel->stream = stream;
	sel->schema_text = str_of(schema);
	return selection_make(sel, 1, none, NULL, false, arena, error);
}

/* The record of the first row written, or the error, each without what is always around it. */
static void expect_row(const char *out, const struct error *error, bool fits, char *text, size_t size)
{
	static const char head[] = "{\"type\":\"RECORD\",\"stream\":\"s\",\"record\":";
	static const char tail[] = ",\"time_extracted\":\"2021-02-03T04:05:06.000007Z\"}\n";
	static const char error_head[] = "stream s: a row with ";
	static const char error_tail[] = "; deselect it, or change its type in the catalog";
	const char *from = fits ? strstr(out, head) : error->text;
	size_t front = fits ? strlen(head) : strlen(error_head), n;

	if (!from || strlen(from) < front || (!fits && strncmp(from, error_head, front) != 0)) {
		snprintf(text, size, "neither record nor error: %s%s", out, error->text);
		return;
	}
	n = (size_t)snprintf(text, size, "%s", from + front);
	if (n >= strlen(fits ? tail : error_tail) &&
	    strcmp(text + n - strlen(fits ? tail : error_tail), fits ? tail : error_tail) == 0)
		text[n - strlen(fits ? tail : error_tail)] = '\0';
	else if (fits)
		snprintf(text, size, "no time_extracted: %s", out);
}

/* Each row is written three times: one must not change the next. */
static void test_rows(void)
{
	static char wrapped[8192], text[8192];
	size_t i, round;

	for (i = 0; i < countof(rows); i++) {
		char *expected = json_text(rows[i].expected), *row = json_text(rows[i].row), *schema;
		struct singer s = singer_to_file();
		struct singer_stream stream = {0};
		struct selection sel = {0};
		struct arena arena = {0};
		struct error error = {""};

		snprintf(wrapped, sizeof wrapped, "{'type':'object','properties':{%s}}", rows[i].properties);
		schema = json_text(wrapped);
		if (!select_row_stream(&sel, &stream, schema, &arena, &error))
			check(false, "%s: %s", rows[i].name, error.text);
		for (round = 0; round < 3; round++) {
			struct json v = parsed(&arena, row);
			size_t mark = s.out.length;
			bool fits = singer_record(&s, &sel, v, NULL, 0, 1612325106000007, &error);

			if (!fits && round > 0)
				check(s.out.length == mark, "  nothing of it is written");
			singer_flush(&s);
			expect_row(take(out_file), &error, fits, text, sizeof text);
			check_text(text, expected, rows[i].name);
		}
		json_out_free(&s.out);
		arena_free(&arena);
		free(expected);
		free(row);
		free(schema);
	}
	take(log_file);
}

/* Rows whose members come in any order through one projection. */
static void test_row_orders(void)
{
	static const char schema[] = "{\"properties\":{\"k\":{},\"a\":{},\"o\":{\"type\":\"object\",\"properties\":{"
				     "\"x\":{},\"y\":{}}},\"b\":{}}}";
	static const char *const members[] = {"\"k\":1", "\"a\":2", "\"o\":{\"y\":5,\"x\":4}", "\"b\":3",
					      "\"u\":{\"k\":9}"};
	static const char expected[] = "\"record\":{\"k\":1,\"a\":2,\"o\":{\"x\":4,\"y\":5},\"b\":3},";
	struct singer s = singer_to_file();
	struct singer_stream stream = {0};
	struct selection sel = {0};
	struct arena arena = {0};
	struct error error = {""};
	unsigned order, wrong = 0, left, at;
	char *copy = json_text(schema), row[128];

	select_row_stream(&sel, &stream, copy, &arena, &error);
	for (order = 0; order < 120; order++) {
		unsigned code = order, used = 0;
		row[0] = '\0';
		for (left = 5; left > 0; left--) { /* the members in the order of this number */
			unsigned skip = code % left;
			for (at = 0; (used >> at & 1) || skip--; at++)
				;
			used |= 1u << at;
			code /= left;
			strcat(strcat(row, *row ? "," : "{"), members[at]);
		}
		wrong += !singer_record(&s, &sel, parsed(&arena, strcat(row, "}")), NULL, 0, 0, &error);
		singer_flush(&s);
		wrong += !strstr(take(out_file), expected);
	}
	check(wrong == 0, "all orders of five members give one record");
	check(s.records == 120 && sel.records == 120, "records are counted");
	take(log_file);
	selection_report(&sel);
	check_text(take(log_file), "INFO stream s: left out, because its schema does not have it: u\n",
		   "a member without a field is reported");
	json_out_free(&s.out);
	arena_free(&arena);
	free(copy);
}

static void test_left_out(void)
{
	char *schema = json_text(
		"{'properties':{'k':{},'a':{'type':'array','items':{'type':'object','properties':{'b':{}}}}}}");
	struct singer s = singer_to_file();
	struct singer_stream stream = {0};
	struct selection sel = {0};
	struct arena arena = {0};
	struct error error = {""};
	char row[256];
	int i;

	select_row_stream(&sel, &stream, schema, &arena, &error);
	selection_report(&sel);
	check_text(take(log_file), "", "nothing left out, nothing reported");
	for (i = 0; i < 40; i++) {
		snprintf(row, sizeof row, "{\"k\":1,\"x%d\":1,\"a\":[{\"c\":1},{\"c\":2}]}", i % 20);
		singer_record(&s, &sel, parsed(&arena, row), NULL, 0, 0, &error);
	}
	selection_report(&sel);
	check_text(take(log_file),
		   "INFO stream s: left out, because its schema does not have it: x0, a[].c, x1, x2, x3, x4, x5, x6, "
		   "x7, x8, "
		   "x9, x10, x11, x12, x13, x14\n",
		   "at most 16 names are reported, each once, with their place");
	json_out_free(&s.out);
	arena_free(&arena);
	free(schema);
}

/* Names of 64 bytes are reported, longer ones are not. */
static void test_left_out_lengths(void)
{
	char *schema = json_text("{'properties':{'k':{}}}"), row[256], expected[256];
	struct singer s = singer_to_file();
	struct singer_stream stream = {0};
	struct selection sel = {0};
	struct arena arena = {0};
	struct error error = {""};

	select_row_stream(&sel, &stream, schema, &arena, &error);
	snprintf(row, sizeof row, "{\"k\":1,\"%064d\":1,\"%065d\":1}", 0, 0);
	snprintf(expected, sizeof expected, "INFO stream s: left out, because its schema does not have it: %064d\n", 0);
	check(singer_record(&s, &sel, parsed(&arena, row), NULL, 0, 0, &error), "a row with long names");
	selection_report(&sel);
	check_text(take(log_file), expected, "is reported up to 64 bytes of a name");
	json_out_free(&s.out);
	arena_free(&arena);
	free(schema);
}

/* A member that another field is made of is no loss, in the row itself; and more names than a line holds are cut. */
static void test_left_out_more(void)
{
	char *schema = json_text(
		     "{'properties':{'k':{},'an_object_of_the_row':{'type':'object','properties':{'a':{}}}}}"),
	     row[1400] = "{\"k\":1,\"an_object_of_the_row\":{\"a\":1";
	struct singer s = singer_to_file();
	struct singer_stream stream = {.renamed = "time"};
	struct selection sel = {0};
	struct arena arena = {0};
	struct error error = {""};
	const char *log;
	int i;

	select_row_stream(&sel, &stream, schema, &arena, &error);
	check(singer_record(&s, &sel,
			    parsed(&arena, "{\"k\":1,\"time\":1,\"date\":1,\"an_object_of_the_row\":{\"time\":1}}"),
			    NULL, 0, 0, &error),
	      "a row with a renamed member");
	selection_report(&sel);
	check_text(take(log_file),
		   "INFO stream s: left out, because its schema does not have it: date, an_object_of_the_row.time\n",
		   "what has another name is not left out, but for a namesake below");
	for (i = 0; i < 14; i++)
		snprintf(row + strlen(row), sizeof row - strlen(row), ",\"%064d\":1", i);
	check(singer_record(&s, &sel, parsed(&arena, strcat(row, "}}")), NULL, 0, 0, &error),
	      "a row with many long names");
	selection_report(&sel);
	log = take(log_file);
	check(strlen(log) == strlen("INFO stream s: left out, because its schema does not have it: \n") + 1023,
	      "more than fits is cut (%zu)", strlen(log));
	json_out_free(&s.out);
	arena_free(&arena);
	free(schema);
}

/* The first field of a stream with text that targets refuse. */
static void test_mended(void)
{
	static const struct {
		const char *row, *log;
	} cases[] = {
		{"{'k':1,'a':'\\uFFFD\\n\\ud83d\\ude00','o':{'c':'\\\\u0000'}}", ""},
		{"{'k':1,'u':'\\u0000','a':'\\n'}", ""},
		{"{'k':null,'a':'\\u0000'}", ""},
		{"{'k':1,'o':{'c':['x','\\ud800']},'a':'\\n'}", "o.c"},
		{"{'k':1,'a':'\\u0000'}", "o.c"},
	};
	char *schema = json_text("{'properties':{'k':{},'a':{'type':'string'},'o':{'type':'object','properties':{'c':{"
				 "'type':'string'}}}}}");
	struct singer s = singer_to_file();
	struct singer_stream stream = {0};
	struct selection sel = {0};
	struct arena arena = {0};
	struct error error = {""};
	char expected[256];
	size_t i;

	select_row_stream(&sel, &stream, schema, &arena, &error);
	for (i = 0; i < countof(cases); i++) {
		char *row = json_text(cases[i].row);

		singer_record(&s, &sel, parsed(&arena, row), NULL, 0, 0, &error);
		sel.left_out->count = 0;
		selection_report(&sel);
		snprintf(expected, sizeof expected,
			 "INFO stream s: %s has text with U+0000 or half a surrogate pair; as targets refuse it, "
			 "\\ufffd is "
			 "written there and wherever else it comes\n",
			 cases[i].log);
		check_text(take(log_file), *cases[i].log ? expected : "", cases[i].row);
		free(row);
	}
	singer_flush(&s);
	take(out_file);
	json_out_free(&s.out);
	arena_free(&arena);
	free(schema);
}

static void test_unselected(void)
{
	char *catalog = json_text(WITH("users", SELECTED ABOUT(P "'name'", "'selected':false")
							ABOUT(P "'address'," P "'street'", "'selected':false")));
	struct singer s = singer_to_file();
	struct selection sel[TEST_STREAMS];
	struct arena arena = {0};
	struct error error = {""};

	select_streams(sel, &arena, catalog, NULL, false, &error);
	sel[0].started = true;
	singer_record(&s, &sel[0],
		      parsed(&arena, "{\"id\":\"1\",\"name\":[],\"address\":{\"city\":\"c\",\"street\":{}}}"), NULL, 0,
		      0, &error);
	singer_flush(&s);
	check_text(take(out_file),
		   "{\"type\":\"RECORD\",\"stream\":\"users\",\"record\":{\"id\":\"1\",\"address\":{\"city\":\"c\"}},"
		   "\"time_extracted\":\"1970-01-01T00:00:00.000000Z\"}\n",
		   "what is not selected is not written, whatever its type");
	selection_report(&sel[0]);
	check_text(take(log_file), "", "nor reported as unknown");
	check(!singer_record(&s, &sel[0], parsed(&arena, "[1]"), NULL, 0, 0, &error), "an array is no row");
	check_text(error.text, "stream users: a row is not an object", "and the error says so");
	json_out_free(&s.out);
	arena_free(&arena);
	free(catalog);
}

static const struct {
	const char *name, *properties, *row, *value, *expected;
} extras[] = {
	{"an extra field", "'k':{},'e':{'type':['null','string']}", "{'k':1}", "x\"y", "{'k':1,'e':'x\\'y'}"},
	{"an extra field wins", "'e':{'type':'string'},'k':{}", "{'k':1,'e':'row'}", "x", "{'e':'x','k':1}"},
	{"an extra field without a place in the schema", "'k':{}", "{'k':1,'e':2}", "x", "{'k':1}"},
	{"an extra time", "'k':{},'e':{'type':'string','format':'date-time'}", "{'k':1}", "2021-02-01T00:00:00.000Z",
	 "{'k':1,'e':'2021-02-01T00:00:00.000000Z'}"},
	{"an extra field that does not fit", "'k':{},'e':{'type':'integer'}", "{'k':1}", "x",
	 "k 1: e is a string, but the schema takes integer"},
	{"an extra time that is none", "'k':{},'e':{'type':'string','format':'date-time'}", "{'k':1}", "x",
	 "k 1: e is a text that is not an RFC 3339 time, but the schema takes string of format date-time"},
	{"an extra field only at the top", "'k':{},'o':{'type':'object','properties':{'e':{'type':'string'}}}",
	 "{'k':1,'o':{'e':'row'}}", "x", "{'k':1,'o':{'e':'row'}}"},
	{"an extra field after others", "'a':{},'k':{},'e':{'type':'string'},'z':{}", "{'z':4,'a':[1, 2],'k':{'x':1}}",
	 "x", "{'a':[1,2],'k':{'x':1},'e':'x','z':4}"},
};

static void test_extras(void)
{
	static char wrapped[1024], text[1024];
	size_t i;

	for (i = 0; i < countof(extras); i++) {
		char *expected = json_text(extras[i].expected), *row = json_text(extras[i].row), *schema;
		struct singer_extra extra = {"e", str_of(extras[i].value)};
		struct singer s = singer_to_file();
		struct singer_stream stream = {0};
		struct selection sel = {0};
		struct arena arena = {0};
		struct error error = {""};
		bool fits;

		snprintf(wrapped, sizeof wrapped, "{'properties':{%s}}", extras[i].properties);
		schema = json_text(wrapped);
		select_row_stream(&sel, &stream, schema, &arena, &error);
		fits = singer_record(&s, &sel, parsed(&arena, row), &extra, 1, 1612325106000007, &error);
		singer_flush(&s);
		expect_row(take(out_file), &error, fits, text, sizeof text);
		check_text(text, expected, extras[i].name);
		json_out_free(&s.out);
		arena_free(&arena);
		free(expected);
		free(row);
		free(schema);
	}
	take(log_file);
}

static void test_extra_key(void)
{
	char *schema = json_text("{'properties':{'k':{'type':'string'},'a':{'type':'number'}}}");
	struct singer_extra extra = {"k", {"parent", 6}};
	struct singer s = singer_to_file();
	struct singer_stream stream = {0};
	struct selection sel = {0};
	struct arena arena = {0};
	struct error error = {""};

	select_row_stream(&sel, &stream, schema, &arena, &error);
	check(singer_record(&s, &sel, parsed(&arena, "{\"a\":1}"), &extra, 1, 0, &error),
	      "the key may be an extra field");
	check(!singer_record(&s, &sel, parsed(&arena, "{\"a\":\"x\"}"), &extra, 1, 0, &error),
	      "the row must fit all the same");
	check_text(error.text,
		   "stream s: a row with k parent: a is a string, but the schema takes number; deselect it, or change "
		   "its type "
		   "in the catalog",
		   "and the error names the key");
	json_out_free(&s.out);
	arena_free(&arena);
	free(schema);
}

/* ---- Messages ---- */

/* Many records through a socket that keeps each write apart. */
static void test_whole_lines(void)
{
	static char packet[1 << 18];
	char *schema = json_text("{'properties':{'k':{},'a':{}}}"), row[512];
	struct singer_stream stream = {0};
	struct selection sel = {0};
	struct arena arena = {0};
	struct singer s = {0};
	struct error error = {""};
	int ends[2], i, wrong = 0, small = 0, parts = 0;
	sig_atomic_t before = singer_writes;
	uint64_t bytes = 0;
	ssize_t n;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends)) {
		check(false, "socketpair");
		return;
	}
	s.fd = ends[1];
	select_row_stream(&sel, &stream, schema, &arena, &error);
	for (i = 0; i < 1000; i++) {
		snprintf(row, sizeof row, "{\"k\":%d,\"a\":\"%0*d\"}", i, i % 300 + 1, 0);
		singer_record(&s, &sel, parsed(&arena, row), NULL, 0, 0, &error);
		arena_reset(&arena);
		select_row_stream(&sel, &stream, schema, &arena, &error);
		sel.started = true;
		while ((n = recv(ends[0], packet, sizeof packet, MSG_DONTWAIT)) > 0) {
			wrong += packet[n - 1] != '\n';
			small += n < LINES_HELD;
			parts++;
			bytes += (uint64_t)n;
		}
	}
	check(wrong == 0 && bytes > 0, "writes end where lines end");
	check(small == 0, "and not before 64 KiB are held");
	check(parts > 1 && singer_writes == (before + 2 * parts) % 64, "each of the %d is counted at both ends", parts);
	check(singer_flush(&s), "flushed");
	n = recv(ends[0], packet, sizeof packet, MSG_DONTWAIT);
	check(n > 0 && packet[n - 1] == '\n', "the rest comes with the flush");
	check(s.records == 1000, "records are counted");
	close(ends[0]);
	close(ends[1]);
	json_out_free(&s.out);
	arena_free(&arena);
	free(schema);
}

/* The end of a line is made once as long as rows come at the same time. */
static void test_extracted(void)
{
	char *schema = json_text("{'properties':{'k':{}}}"), *row = json_text("{'k':1}");
	struct singer s = singer_to_file();
	struct singer_stream stream = {0};
	struct selection sel = {0};
	struct arena arena = {0};
	struct error error = {""};
	int64_t us;

	select_row_stream(&sel, &stream, schema, &arena, &error);
	sel.started = true;
	for (us = 0; us < 6; us++)
		singer_record(&s, &sel, parsed(&arena, row), NULL, 0, us / 2, &error);
	singer_flush(&s);
#define AT(us)                                                                           \
	"{\"type\":\"RECORD\",\"stream\":\"s\",\"record\":{\"k\":1},\"time_extracted\":" \
	"\"1970-01-01T00:00:00.00000" us "Z\"}\n"
	check_text(take(out_file), AT("0") AT("0") AT("1") AT("1") AT("2") AT("2"), "each row at its own time");
#undef AT
	json_out_free(&s.out);
	arena_free(&arena);
	free(schema);
	free(row);
}

static void test_broken_pipe(void)
{
	struct selection sel[TEST_STREAMS];
	struct arena arena = {0};
	struct state st;
	struct error error = {""};
	struct singer s = {0};
	struct json none = {NULL, NULL};
	int ends[2];

	if (pipe(ends))
		exit(2);
	close(ends[0]);
	s.fd = ends[1];
	select_streams(sel, &arena, NULL, NULL, false, &error);
	state_read(&st, none, &arena, &error);
	singer_schema(&s, &sel[0]);
	check(s.write_errno == 0, "what is held does not fail");
	check(!singer_flush(&s) && s.write_errno == EPIPE, "a reader that is gone");
	sel[0].started = false;
	singer_schema(&s, &sel[0]);
	singer_state(&s, &st);
	singer_catalog(&s, sel, TEST_STREAMS);
	check(singer_record(&s, &sel[0], parsed(&arena, "{\"id\":\"1\"}"), NULL, 0, 0, &error),
	      "the row is not to blame");
	check(s.out.length == 0 && s.records == 0, "nothing is collected after that");
	check(!singer_flush(&s) && s.write_errno == EPIPE, "the failure stays");
	close(ends[1]);
	json_out_free(&s.out);
	arena_free(&arena);
}

static void test_bad_descriptor(void)
{
	struct arena arena = {0};
	struct error error = {""};
	struct state st;
	struct singer s = {.fd = -1};
	struct json none = {NULL, NULL};

	state_read(&st, none, &arena, &error);
	singer_state(&s, &st);
	check(!singer_flush(&s) && s.write_errno == EBADF, "a descriptor that is none");
	json_out_free(&s.out);
}

static unsigned takes_nothing; /* so many calls of write() write no byte, and say so */

ssize_t fake_write(int fd, const void *bytes, size_t length)
{
	if (!takes_nothing)
		return write(fd, bytes, length);
	takes_nothing--;
	return 0;
}

/* No file that POSIX knows does this. */
static void test_nothing_written(void)
{
	struct singer s = singer_to_file();
	struct state st = {0};

	takes_nothing = 1;
	errno = EINTR;
	singer_state(&s, &st);
	check(!singer_flush(&s) && s.write_errno == EIO && !takes_nothing, "a file that takes nothing");
	check_text(take(out_file), "", "gets nothing");
	json_out_free(&s.out);
}

/* A pipe that another process made non-blocking, and a reader that is slower than we are. */
static void test_non_blocking(void)
{
	enum { LINES = 4000 };
	struct selection sel[TEST_STREAMS];
	struct arena arena = {0};
	struct singer s = {0};
	struct error error = {""};
	struct json row;
	int ends[2], i, status = -1;
	pid_t child;

	if (pipe(ends) || fcntl(ends[1], F_SETFL, O_NONBLOCK))
		exit(2);
	select_streams(sel, &arena, NULL, NULL, false, &error);
	row = parsed(&arena, "{\"id\":\"0123456789012345678901234567890123456789\"}");
	fflush(stdout);
	child = fork();
	if (child == 0) {
		static char part[1000];
		int lines = 0;
		ssize_t n;
		close(ends[1]);
		while ((n = read(ends[0], part, sizeof part)) > 0)
			while (n > 0)
				lines += part[--n] == '\n';
		_exit(lines == LINES + 1 ? 0 : 1);
	}
	close(ends[0]);
	s.fd = ends[1];
	for (i = 0; i < LINES; i++)
		singer_record(&s, &sel[0], row, NULL, 0, 0, &error);
	check(singer_flush(&s), "a non-blocking pipe is waited for");
	close(ends[1]);
	waitpid(child, &status, 0);
	check(status == 0, "and its reader has all lines");
	json_out_free(&s.out);
	arena_free(&arena);
}

/* Memory runs out in a line: the lines before it leave whole. */
static void test_no_memory_in_line(void)
{
	struct selection sel[TEST_STREAMS];
	struct arena arena = {0};
	struct singer s = singer_to_file();
	struct error error = {""};

	select_streams(sel, &arena, NULL, NULL, false, &error);
	singer_schema(&s, &sel[2]);
	s.out.failed = true;
	check(singer_record(&s, &sel[2], parsed(&arena, "{\"groupId\":\"1\"}"), NULL, 0, 0, &error),
	      "the row is not to blame");
	check(s.write_errno == ENOMEM && s.records == 0, "no memory for a line");
	check(!singer_flush(&s), "is a failure that stays");
	check(strncmp(take(out_file), "{\"type\":\"SCHEMA\",", 17) == 0, "the line before it has left");
	json_out_free(&s.out);
	arena_free(&arena);
}

/* ---- State ---- */

/* expected: the STATE's value, or the error.  raise: so many microseconds for "events", 0 for not at all. */
static const struct {
	const char *name, *text;
	int64_t raise;
	const char *expected, *bookmark, *log;
} states[] = {
	{"no state", NULL, 0, "{'bookmarks':{},'currently_syncing':null}", "", ""},
	{"null", "null", 0, "{'bookmarks':{},'currently_syncing':null}", "", ""},
	{"an empty state", "{}", 0, "{'bookmarks':{},'currently_syncing':null}", "", ""},
	{"no state, raised", NULL, 1,
	 "{'bookmarks':{'events':{'timestamp':'1970-01-01T00:00:00.000001Z'}},"
	 "'currently_syncing':null}",
	 "1970-01-01T00:00:00.000001Z", ""},
	{"a bookmark", "{'bookmarks':{'events':{'timestamp':'2021-02-01T00:00:00Z'}}}", 0,
	 "{'bookmarks':{'events':{'timestamp':'2021-02-01T00:00:00Z'}},'currently_syncing':null}",
	 "2021-02-01T00:00:00.000000Z", ""},
	{"a bookmark that is a string", "{'bookmarks':{'events':'2021-02-01'}}", 0,
	 "{'bookmarks':{'events':'2021-02-01'},'currently_syncing':null}", "2021-02-01T00:00:00.000000Z", ""},
	{"a bookmark of the SDK",
	 "{'bookmarks':{'events':{'replication_key':'timestamp','replication_key_value':'2021-02-01T00:00:00+00:00'}}}",
	 0,
	 "{'bookmarks':{'events':{'replication_key':'timestamp','replication_key_value':'2021-02-01T00:00:00+00:00'}},"
	 "'currently_syncing':null}",
	 "2021-02-01T00:00:00.000000Z", ""},
	{"both spellings: ours counts",
	 "{'bookmarks':{'events':{'replication_key_value':'2020-01-01','timestamp':'2021-02-01'}}}", 0,
	 "{'bookmarks':{'events':{'replication_key_value':'2020-01-01','timestamp':'2021-02-01'}},'currently_syncing':"
	 "null}",
	 "2021-02-01T00:00:00.000000Z", ""},
	{"an escaped bookmark", "{'bookmarks':{'\\u0065vents':'2021\\u002d02-01'}}", 0,
	 "{'bookmarks':{'\\u0065vents':'2021\\u002d02-01'},'currently_syncing':null}", "2021-02-01T00:00:00.000000Z",
	 ""},
	{"bookmarks that are none", "{'bookmarks':{'events':{},'users':null}}", 0,
	 "{'bookmarks':{'events':{},'users':null},'currently_syncing':null}", "", ""},
	{"a null time", "{'bookmarks':{'events':{'timestamp':null}}}", 0,
	 "{'bookmarks':{'events':{'timestamp':null}},'currently_syncing':null}", "", ""},
	{"an empty document", "{}", 0, "{'bookmarks':{},'currently_syncing':null}", "", ""},
	{"no bookmarks, but currently_syncing", "{'x':1,'currently_syncing':null}", 0,
	 "{'x':1,'currently_syncing':null,'bookmarks':{}}", "", ""},
	{"other things", "{'api_token':'x','start_date':'2021-01-01'}", 0,
	 "the document has neither \"bookmarks\" nor \"currently_syncing\"; expected a state, {\"bookmarks\": "
	 "{\"STREAM\": {\"KEY\": \"TIME\"}}}",
	 "", ""},
	{"other things, wrapped", "{'singer_state':{'x':1}}", 0,
	 "the document has neither \"bookmarks\" nor \"currently_syncing\"; expected a state, {\"bookmarks\": "
	 "{\"STREAM\": {\"KEY\": \"TIME\"}}}",
	 "", "WARNING the state is that of \"singer_state\"; a state file should hold just this\n"},
	{"Meltano's file", "{'completed':{'singer_state':{'bookmarks':{'events':'2021-02-01'}}},'partial':{}}", 0,
	 "{'bookmarks':{'events':'2021-02-01'},'currently_syncing':null}", "2021-02-01T00:00:00.000000Z",
	 "WARNING the state is the \"singer_state\" of \"completed\"; a state file should hold just this\n"},
	{"Meltano's file, with something partial",
	 "{'completed':{'singer_state':{'bookmarks':{'events':'2021-02-01'}}},'partial':{'singer_state':{'bookmarks':{"
	 "'events':'2021-03-01'}}}}",
	 0, "{'bookmarks':{'events':'2021-02-01'},'currently_syncing':null}", "2021-02-01T00:00:00.000000Z",
	 "WARNING the state is the \"singer_state\" of \"completed\"; a state file should hold just this, and its "
	 "\"partial\" is left out\n"},
	{"Meltano's file, all of it partial",
	 "{'completed':{},'partial':{'singer_state':{'bookmarks':{'events':'2021-02-01'}}}}", 0,
	 "{'bookmarks':{'events':'2021-02-01'},'currently_syncing':null}", "2021-02-01T00:00:00.000000Z",
	 "WARNING the state is the \"singer_state\" of \"partial\"; a state file should hold just this\n"},
	{"a time without a zone", "{'bookmarks':{'events':{'timestamp':'2021-02-01T00:00:00'}}}", 0,
	 "{'bookmarks':{'events':{'timestamp':'2021-02-01T00:00:00'}},'currently_syncing':null}",
	 "2021-02-01T00:00:00.000000Z", ""},
	{"raised among equal bookmarks and members",
	 "{'currently_syncing':'a','bookmarks':{'events':'1969-12-30','x':1,'events':'1969-12-31','x':2},'"
	 "currently_syncing':'b'}",
	 1,
	 "{'currently_syncing':'a','bookmarks':{'events':'1969-12-30','x':1,'events':{'timestamp':'1970-01-01T00:00:00."
	 "000001Z'},'x':2},'currently_syncing':'b'}",
	 "1970-01-01T00:00:00.000001Z", ""},
	{"null bookmarks", "{'bookmarks':null}", 0, "{'bookmarks':{},'currently_syncing':null}", "", ""},
	{"raised", "{'bookmarks':{'events':{'timestamp':'1969-12-31'}}}", 1000000,
	 "{'bookmarks':{'events':{'timestamp':'1970-01-01T00:00:01.000000Z'}},'currently_syncing':null}",
	 "1970-01-01T00:00:01.000000Z", ""},
	{"raised in place of a string, others kept as they are and where they are",
	 "{ 'x' : 1.50e3 , 'bookmarks' : { 'a' : '\\u0041' , 'events' : '1969-12-31' , 'z' : [ 1 , {'q':null} ] } , "
	 "'y':{}}",
	 1000000,
	 "{'x':1.50e3,'bookmarks':{'a':'\\u0041','events':{'timestamp':'1970-01-01T00:00:01.000000Z'},'z':[1,{'q':null}"
	 "]},"
	 "'y':{},'currently_syncing':null}",
	 "1970-01-01T00:00:01.000000Z", ""},
	{"raised in the SDK's bookmark, unknown members kept",
	 "{'bookmarks':{'events':{'partitions':[],'replication_key':'timestamp','replication_key_value':'1969-12-31','"
	 "q':1}}}",
	 1,
	 "{'bookmarks':{'events':{'timestamp':'1970-01-01T00:00:00.000001Z','partitions':[],'q':1}},'currently_syncing'"
	 ":null}",
	 "1970-01-01T00:00:00.000001Z", ""},
	{"raised where null was", "{'bookmarks':{'events':null}}", 1,
	 "{'bookmarks':{'events':{'timestamp':'1970-01-01T00:00:00.000001Z'}},'currently_syncing':null}",
	 "1970-01-01T00:00:00.000001Z", ""},
	{"raised without bookmarks", "{'currently_syncing':null,'x':1}", 1,
	 "{'currently_syncing':null,'x':1,'bookmarks':{'events':{'timestamp':'1970-01-01T00:00:00.000001Z'}}}",
	 "1970-01-01T00:00:00.000001Z", ""},
	{"never back", "{'bookmarks':{'events':'2021-02-01'}}", 1,
	 "{'bookmarks':{'events':'2021-02-01'},'currently_syncing':null}", "2021-02-01T00:00:00.000000Z", ""},
	{"the last of equal members", "{'bookmarks':{'events':'x'},'bookmarks':{'events':'y','events':'1969-12-31'}}",
	 1,
	 "{'bookmarks':{'events':'x'},'bookmarks':{'events':'y','events':{'timestamp':'1970-01-01T00:00:00.000001Z'}},"
	 "'currently_syncing':null}",
	 "1970-01-01T00:00:00.000001Z", ""},
	{"currently_syncing is kept", "{'currently_syncing':'us\\u0065rs','bookmarks':{}}", 0,
	 "{'currently_syncing':'users','bookmarks':{}}", "", ""},
	{"text that targets refuse", "{'\\u0000':'\\ud800','bookmarks':{'x':{'a\\u0000':['\\u0000']}}}", 0,
	 "{'\\ufffd':'\\ufffd','bookmarks':{'x':{'a\\ufffd':['\\ufffd']}},'currently_syncing':null}", "", ""},
	{"currently_syncing that is no name", "{'currently_syncing':7,'bookmarks':{}}", 0,
	 "{'currently_syncing':null,'bookmarks':{}}", "", ""},
	{"a STATE message", "{'type':'STATE','value':{'bookmarks':{'events':'2021-02-01'}}}", 0,
	 "{'bookmarks':{'events':'2021-02-01'},'currently_syncing':null}", "2021-02-01T00:00:00.000000Z",
	 "WARNING the state is the value of a STATE message; a state file should hold just this\n"},
	{"a STATE message without a state", "{'type':'STATE','value':null}", 0,
	 "{'bookmarks':{},'currently_syncing':null}", "",
	 "WARNING the state is the value of a STATE message; a state file should hold just this\n"},
	{"Meltano's state", "{'singer_state':{'bookmarks':{'events':'2021-02-01'}}}", 0,
	 "{'bookmarks':{'events':'2021-02-01'},'currently_syncing':null}", "2021-02-01T00:00:00.000000Z",
	 "WARNING the state is that of \"singer_state\"; a state file should hold just this\n"},
	{"a list", "[]", 0,
	 "the document is not an object; expected a state, {\"bookmarks\": {\"STREAM\": {\"KEY\": \"TIME\"}}}", "", ""},
	{"a number", "7", 0,
	 "the document is not an object; expected a state, {\"bookmarks\": {\"STREAM\": {\"KEY\": \"TIME\"}}}", "", ""},
	{"bookmarks that are a list", "{'bookmarks':[]}", 0,
	 "\"bookmarks\" is not an object; expected a state, {\"bookmarks\": {\"STREAM\": {\"KEY\": \"TIME\"}}}", "",
	 ""},
	{"a RECORD message", "{'type':'RECORD','stream':'s','record':{}}", 0,
	 "the document is a message of another kind; expected a state, {\"bookmarks\": {\"STREAM\": {\"KEY\": "
	 "\"TIME\"}}}",
	 "", ""},
	{"a STATE message of a list", "{'type':'STATE','value':[]}", 0,
	 "the document is not an object; expected a state, {\"bookmarks\": {\"STREAM\": {\"KEY\": \"TIME\"}}}", "",
	 "WARNING the state is the value of a STATE message; a state file should hold just this\n"},
	{"an unreadable time", "{'bookmarks':{'events':{'timestamp':'soon'}}}", 0,
	 "the bookmark of stream events is not an RFC 3339 time: \"soon\": it does not begin with YYYY-MM-DD; expected "
	 "{\"timestamp\": \"2021-02-01T00:00:00Z\"}, without it the stream starts at start_date",
	 "", ""},
	{"a bookmark that is a number", "{'bookmarks':{'events':1612137600}}", 0,
	 "the bookmark of stream events is not an RFC 3339 time: \"1612137600\": it is no string; expected "
	 "{\"timestamp\": \"2021-02-01T00:00:00Z\"}, without it the stream starts at start_date",
	 "", ""},
	{"an unreadable bookmark of a stream that has none", "{'bookmarks':{'users':7}}", 0,
	 "{'bookmarks':{'users':7},'currently_syncing':null}", "", ""},
};

/* The value of the one STATE line written. */
static void put_state_value(struct json_out *out, const struct state *st)
{
	struct singer s = singer_to_file();
	const char *line;

	singer_state(&s, st);
	line = take(out_file);
	if (strncmp(line, "{\"type\":\"STATE\",\"value\":", 24) == 0 && strlen(line) > 26) {
		struct str value = {line + 24, strlen(line) - 26};
		json_put(out, value);
	}
	json_out_free(&s.out);
}

static void test_states(void)
{
	size_t i;

	for (i = 0; i < countof(states); i++) {
		char *text = states[i].text ? json_text(states[i].text) : NULL;
		char *expected = json_text(states[i].expected), bookmark[TIME_SIZE] = "";
		struct json doc = {NULL, NULL};
		struct json_out got = {0};
		struct arena arena = {0};
		struct error error = {""};
		int64_t users = -7, us = INT64_MIN;
		struct state st;
		bool ok;

		if (text)
			doc = parsed(&arena, text);
		ok = state_read(&st, doc, &arena, &error) && state_get(&st, &test_streams[1], &us, &error);
		if (ok && states[i].raise)
			ok = state_raise(&st, &test_streams[1], states[i].raise) &&
			     state_get(&st, &test_streams[1], &us, &error);
		if (ok)
			put_state_value(&got, &st);
		else
			json_put_text(&got, error.text);
		check_bytes(got.length ? got.bytes : "", got.length, expected, states[i].name);
		if (us != INT64_MIN)
			time_format(us, bookmark);
		check_text(bookmark, states[i].bookmark, "  and its bookmark");
		if (ok)
			check(state_get(&st, &test_streams[0], &users, &error) && users == -7,
			      "  and none where there is no key");
		check_text(take(log_file), states[i].log, "  and its log");
		json_out_free(&got);
		arena_free(&arena);
		free(text);
		free(expected);
	}
}

static void test_state_moves(void)
{
	struct singer_stream other = {.name = "other", .replication_key = "at"};
	struct json none = {NULL, NULL};
	struct json_out got = {0};
	struct arena arena = {0};
	struct error error = {""};
	struct state st;

	state_read(&st, none, &arena, &error);
	state_syncing(&st, "events");
	state_raise(&st, &other, 5000000);
	state_raise(&st, &test_streams[1], 3000000);
	state_raise(&st, &other, 4000000);
	state_raise(&st, &test_streams[1], 6000000);
	put_state_value(&got, &st);
	check_bytes(got.bytes, got.length,
		    "{\"bookmarks\":{\"other\":{\"at\":\"1970-01-01T00:00:05.000000Z\"},\"events\":{\"timestamp\":"
		    "\"1970-01-01T00:00:06.000000Z\"}},\"currently_syncing\":\"events\"}",
		    "bookmarks only rise, each by its own key, in the order of their first raise");
	state_syncing(&st, NULL);
	got.length = 0;
	put_state_value(&got, &st);
	json_put(&got, (struct str){"", 1});
	check(strstr(got.bytes, "\"currently_syncing\":null}") != NULL, "currently_syncing ends as null");
	json_out_free(&got);
	arena_free(&arena);
}

#define BOOKMARKS(list) "{'bookmarks':{" list "}}"

/* What a run goes on from: of events, and what is said. */
static const struct {
	const char *name, *state, *bookmark, *log; /* bookmark: "" where it starts anew, or the error */
} bookmark_cases[] = {
	{"no state", NULL, "", ""},
	{"no bookmarks", BOOKMARKS(""), "", ""},
	{"a bookmark", BOOKMARKS("'events':'2021-02-01'"), "2021-02-01T00:00:00.000000Z", ""},
	{"an empty one", BOOKMARKS("'events':{}"), "", ""},
	{"a null one", BOOKMARKS("'events':null"), "", ""},
	{"an object without a time that is known", BOOKMARKS("'events':{'last_record':'2021-02-01'}"), "",
	 "WARNING stream events: its bookmark in the state holds no \"timestamp\", so the stream starts at "
	 "1970-01-01T00:00:01.000000Z, the start_date\n"},
	{"one of a stream that has none", BOOKMARKS("'people':{'last_record':'2021-02-01'}"), "", ""},
	{"none of ours", BOOKMARKS("'event':'2021-02-01','orders':{'id':7}"), "",
	 "WARNING none of the 2 bookmarks in the state is that of a stream of this tap: every stream starts at "
	 "1970-01-01T00:00:01.000000Z, the start_date\n"},
	{"an unreadable one", BOOKMARKS("'events':'soon'"),
	 "the bookmark of stream events is not an RFC 3339 time: \"soon\": it does not begin with YYYY-MM-DD; expected "
	 "{\"timestamp\": \"2021-02-01T00:00:00Z\"}, without it the stream starts at start_date",
	 ""},
};

static void test_bookmarks(void)
{
	size_t i;

	for (i = 0; i < countof(bookmark_cases); i++) {
		char *text = bookmark_cases[i].state ? json_text(bookmark_cases[i].state) : NULL;
		char got[ERROR_SIZE] = "";
		struct selection sel[TEST_STREAMS];
		struct json none = {NULL, NULL};
		struct arena arena = {0};
		struct error error = {""};
		struct state st;

		select_streams(sel, &arena, NULL, NULL, false, &error);
		if (!state_read(&st, text ? parsed(&arena, text) : none, &arena, &error) ||
		    !state_bookmarks(&st, sel, TEST_STREAMS, 1000000, &error))
			snprintf(got, sizeof got, "%s", error.text);
		else if (sel[1].bookmark_us != INT64_MIN)
			time_format(sel[1].bookmark_us, got);
		check_text(got, bookmark_cases[i].bookmark, bookmark_cases[i].name);
		check_text(take(log_file), bookmark_cases[i].log, "  and its log");
		arena_free(&arena);
		free(text);
	}
}

/* A bookmark that can't be read is refused whether its stream is selected or not, for it would be passed on; but nobody
 * asks for that of a stream that is read from the start. */
static void test_bookmarks_unread(void)
{
	char *text = json_text("{'bookmarks':{'events':'soon'},'currently_syncing':'people'}");
	struct selection sel[TEST_STREAMS];
	struct arena arena = {0};
	struct error error = {""};
	struct state st;

	select_streams(sel, &arena, NULL, "users", false, &error);
	check(state_read(&st, parsed(&arena, text), &arena, &error), "%s", text);
	check(!state_bookmarks(&st, sel, TEST_STREAMS, 0, &error) && strstr(error.text, "bookmark of stream events"),
	      "the bookmark of a stream that is not selected is read: %s", error.text);
	select_streams(sel, &arena, NULL, NULL, false, &error);
	sel[1].full_table = true;
	check(state_bookmarks(&st, sel, TEST_STREAMS, 0, &error) && sel[1].bookmark_us == INT64_MIN,
	      "not that of a full table");
	check(str_is(st.syncing, "people"), "another tap's name in currently_syncing stays until a stream begins");
	take(log_file);
	arena_free(&arena);
	free(text);
}

static const struct {
	const char *name, *secret, *text, *expected; /* strings of a state */
} struck_states[] = {
	{"no secret", "sgp_abcdef", "'sgp_abcde'", "'sgp_abcde'"},
	{"as it is, and within", "sgp_abcdef", "'sgp_abcdef','x sgp_abcdefx'", "'***','x ***x'"},
	{"as a name", "sgp_abcdef", "{'sgp_abcdef':1}", "{'***':1}"},
	{"percent-encoded", "ab/c+d=e", "'?t=ab%2Fc%2bd%3De'", "'?t=***'"},
	{"escaped", "ab\"c\\d/e", "'ab\\\"c\\\\d\\/e','ab\\u0022c\\u005cd/e'", "'***','***'"},
	{"after an escaped backslash", "u0041bcdef", "'\\\\u0041bcdef'", "'\\\\***'"},
	{"that begins within an escape", "0041bcdef", "'x\\u0041bcdefy','\\u00410041bcdef'", "'x***y','\\u0041***'"},
	{"that ends with a backslash", "abcdefg\\", "'abcdefg\\\"','abcdefg\\\\'", "'abcdefg\\\"','***'"},
	{"no string", "123456", "123456,'123456'", "123456,'***'"},
	{"a short one", "tok", "'tok','token'", "'***','token'"},
};

static void test_state_secrets(void)
{
	size_t i;

	for (i = 0; i < countof(struck_states); i++) {
		char text[256], wanted[256], *state, *expected;
		struct json_out got = {0};
		struct arena arena = {0};
		struct error error = {""};
		struct state st;

		snprintf(text, sizeof text, "{'x':[%s],'bookmarks':{}}", struck_states[i].text);
		snprintf(wanted, sizeof wanted, "{'x':[%s],'bookmarks':{},'currently_syncing':null}",
			 struck_states[i].expected);
		state = json_text(text);
		expected = json_text(wanted);
		log_secret(struck_states[i].secret);
		if (state_read(&st, parsed(&arena, state), &arena, &error))
			put_state_value(&got, &st);
		check_bytes(got.length ? got.bytes : "", got.length, expected, struck_states[i].name);
		check((strstr(take(log_file), "struck out") != NULL) ==
			      (strcmp(struck_states[i].text, struck_states[i].expected) != 0),
		      "  and a warning if one is there");
		log_secret(NULL);
		json_out_free(&got);
		arena_free(&arena);
		free(state);
		free(expected);
	}
}

/* The processor's time for a state of so many equal members. */
static clock_t state_of_many(int members)
{
	struct json_out doc = {0}, got = {0};
	struct arena arena = {0};
	struct error error = {""};
	clock_t begin = clock();
	struct state st;
	int i;

	json_put_text(&doc, "{");
	for (i = 0; i < members; i++)
		json_put_text(&doc, "\"bookmarks\":{},\"currently_syncing\":null,");
	json_put_text(&doc, "\"bookmarks\":{");
	for (i = 0; i < members; i++)
		json_put_text(&doc, i ? ",\"events\":\"2021-02-01\"" : "\"events\":\"2021-02-01\"");
	json_put_text(&doc, "}}");
	json_put(&doc, (struct str){"", 1});
	check(state_read(&st, parsed(&arena, doc.bytes), &arena, &error) &&
		      state_raise(&st, &test_streams[1], INT64_C(1700000000000000)),
	      "a state of equal members is read");
	put_state(&got, &st);
	begin = clock() - begin;
	json_out_free(&doc);
	json_out_free(&got);
	arena_free(&arena);
	return begin;
}

static void test_state_equal_members(void)
{
	clock_t quarter = state_of_many(12500), whole = state_of_many(50000);

	check(whole <= quarter * FOUR_TIMES + CLOCKS_PER_SEC / 100, "equal members: the time grows as they do");
}

static void test_state_no_memory(void)
{
	struct json none = {NULL, NULL};
	struct arena arena = {.limit = 1};
	struct error error = {""};
	struct state st;

	check(state_read(&st, none, &arena, &error), "no state needs no memory");
	check(!state_raise(&st, &test_streams[1], 1), "a bookmark does");
}

/* A key by the catalog is a slice of its text, without an end of its own. */
static void test_catalog_key_misfit(void)
{
	char *catalog = json_text(CATALOG(ENTRY("users", "'key_properties':['name','id']")));
	char *row = json_text("{'id':'7','address':[]}");
	struct selection sel[TEST_STREAMS];
	struct singer s = singer_to_file();
	struct arena arena = {0};
	struct error error = {""};

	check(select_streams(sel, &arena, catalog, NULL, false, &error) &&
		      !singer_record(&s, &sel[0], parsed(&arena, row), NULL, 0, 0, &error),
	      "a row without a field of the catalog's key");
	check(strstr(error.text, "stream users: a row with name , id 7: ") == error.text, "is named by that key: %s",
	      error.text);
	take(log_file);
	json_out_free(&s.out);
	arena_free(&arena);
	free(catalog);
	free(row);
}

/* ---- Catalog ---- */

static const char discovered[] = "{\n"
				 "  \"streams\": [\n"
				 "    {\n"
				 "      \"tap_stream_id\": \"members\",\n"
				 "      \"stream\": \"members\",\n"
				 "      \"key_properties\": [\n"
				 "        \"groupId\"\n"
				 "      ],\n"
				 "      \"replication_method\": \"FULL_TABLE\",\n"
				 "      \"schema\": {\n"
				 "        \"type\": \"object\",\n"
				 "        \"properties\": {\n"
				 "          \"groupId\": {\n"
				 "            \"type\": [\n"
				 "              \"null\",\n"
				 "              \"string\"\n"
				 "            ]\n"
				 "          },\n"
				 "          \"id\": {\n"
				 "            \"type\": [\n"
				 "              \"null\",\n"
				 "              \"string\"\n"
				 "            ]\n"
				 "          }\n"
				 "        }\n"
				 "      },\n"
				 "      \"metadata\": [\n"
				 "        {\n"
				 "          \"breadcrumb\": [],\n"
				 "          \"metadata\": {\n"
				 "            \"inclusion\": \"available\",\n"
				 "            \"table-key-properties\": [\n"
				 "              \"groupId\"\n"
				 "            ],\n"
				 "            \"forced-replication-method\": \"FULL_TABLE\",\n"
				 "            \"parent-tap-stream-id\": \"users\"\n"
				 "          }\n"
				 "        },\n"
				 "        {\n"
				 "          \"breadcrumb\": [\n"
				 "            \"properties\",\n"
				 "            \"groupId\"\n"
				 "          ],\n"
				 "          \"metadata\": {\n"
				 "            \"inclusion\": \"automatic\",\n"
				 "            \"selected-by-default\": true\n"
				 "          }\n"
				 "        },\n"
				 "        {\n"
				 "          \"breadcrumb\": [\n"
				 "            \"properties\",\n"
				 "            \"id\"\n"
				 "          ],\n"
				 "          \"metadata\": {\n"
				 "            \"inclusion\": \"automatic\",\n"
				 "            \"selected-by-default\": true\n"
				 "          }\n"
				 "        }\n"
				 "      ]\n"
				 "    }\n"
				 "  ]\n"
				 "}\n";

/* The --discover document of the test streams from this one on, into text. */
static void discover(struct arena *arena, size_t first, const char *rules, bool unique_keys, char *text, size_t size)
{
	struct selection sel[TEST_STREAMS];
	struct singer s = singer_to_file();
	struct error error = {""};

	select_streams(sel, arena, NULL, rules, unique_keys, &error);
	singer_catalog(&s, sel + first, TEST_STREAMS - first);
	singer_flush(&s);
	snprintf(text, size, "%s", take(out_file));
	json_out_free(&s.out);
}

/* The metadata of the n-th stream as one line of compact text. */
static const char *metadata_of(struct arena *arena, const char *catalog, size_t n)
{
	struct json_each it = json_each(json_get(parsed(arena, catalog), "streams"));
	struct json_out out = {0};
	const char *text;

	while (json_next(&it) && n--)
		;
	json_put_value(&out, json_get(it.value, "metadata"), 0);
	text = arena_string(arena, (struct str){out.bytes, out.length});
	json_out_free(&out);
	return text ? text : "";
}

static void test_catalog(void)
{
	static char text[1 << 16], again[1 << 16];
	struct selection sel[TEST_STREAMS];
	struct json_out got = {0};
	struct arena arena = {0};
	struct error error = {""};
	char *expected;

	discover(&arena, 2, NULL, false, text, sizeof text);
	check_text(text, discovered, "a stream's catalog entry");
	discover(&arena, 2, "!members", true, text, sizeof text);
	check(strstr(text, "\"key_properties\": [\n        \"groupId\",\n        \"id\"\n      ]") &&
		      strstr(text, "\"table-key-properties\": [\n              \"groupId\",\n              \"id\""),
	      "with unique keys it shows these, even of a stream that is not selected");
	discover(&arena, 0, NULL, false, text, sizeof text);
	discover(&arena, 0, NULL, false, again, sizeof again);
	check_text(again, text, "discovery says the same twice");
	expected = json_text(
		"[" ROOT("'inclusion':'available','table-key-properties':['id'],'forced-replication-method':"
			 "'INCREMENTAL','valid-replication-keys':['timestamp']")
			ABOUT(P "'id'", "'inclusion':'automatic','selected-by-default':true")
				ABOUT(P "'timestamp'", "'inclusion':'automatic','selected-by-default':true")
					ABOUT(P "'n'", "'inclusion':'available','selected-by-default':true") "]");
	check_text(metadata_of(&arena, text, 1), expected, "metadata of an incremental stream");
	free(expected);
	expected = json_text(
		"[" ROOT("'inclusion':'available','table-key-properties':['id'],'forced-replication-method':"
			 "'FULL_TABLE'") ABOUT(P "'id'", "'inclusion':'automatic','selected-by-default':true")
			ABOUT(P "'name'", "'inclusion':'available','selected-by-default':true") ABOUT(
				P "'address'", "'inclusion':'available','selected-by-default':true")
				ABOUT(P "'address'," P "'street'", "'inclusion':'available','selected-by-default':true")
					ABOUT(P "'address'," P "'city'",
					      "'inclusion':'available','selected-by-default':true")
						ABOUT(P "'tags'", "'inclusion':'available','selected-by-default':true")
							ABOUT(P "'settings'", "'inclusion':'available','selected-by-"
									      "default':true") "]");
	check_text(metadata_of(&arena, text, 0), expected, "metadata of nested fields, none below items");
	free(expected);
	take(log_file);
	select_streams(sel, &arena, text, NULL, false, &error);
	put_selection(&got, sel);
	check(got.length == 0, "a raw catalog selects nothing");
	check(strstr(take(log_file), "selects no stream") != NULL, "and a warning says so");
	json_out_free(&got);
	arena_free(&arena);
}

/* What --select writes into a catalog is what a sync with that catalog selects. */
static void test_catalog_rules(void)
{
	static char text[1 << 16];
	struct selection sel[TEST_STREAMS];
	struct json_out direct = {0}, through = {0};
	struct arena arena = {0};
	struct error error = {""};

	discover(&arena, 0, "users.name,events,!events.n", false, text, sizeof text);
	select_streams(sel, &arena, NULL, "users.name,events,!events.n", false, &error);
	put_selection(&direct, sel);
	select_streams(sel, &arena, text, NULL, false, &error);
	put_selection(&through, sel);
	check_bytes(direct.bytes, direct.length, "users(id) id name\nevents(id)[timestamp] id timestamp\n",
		    "selected by rules");
	json_put(&direct, (struct str){"", 1});
	check_bytes(through.bytes, through.length, direct.bytes, "and through the catalog that they make");
	check(strstr(metadata_of(&arena, text, 2), "\"selected\":false") != NULL, "the others are not selected there");
	take(log_file);
	json_out_free(&direct);
	json_out_free(&through);
	arena_free(&arena);
}

/* ---- Failing memory ---- */

/* Everything that takes memory from the arena, with more and more of it. */
static bool make_all(struct arena *arena, struct arena *texts, const char *catalog, const char *state,
		     struct error *error)
{
	const char *rules = "users,events";
	struct selection sel[TEST_STREAMS];
	struct json doc = parsed(texts, catalog), old = parsed(texts, state);
	struct state st;
	int64_t us;
	size_t i;

	for (i = 0; i < TEST_STREAMS; i++) {
		sel[i].stream = &test_streams[i];
		sel[i].schema_text = schema_texts[i];
	}
	return selection_make(sel, TEST_STREAMS, doc, NULL, false, arena, error) &&
	       selection_make(sel, TEST_STREAMS, doc, rules, false, arena, error) &&
	       state_read(&st, old, arena, error) && state_get(&st, &test_streams[1], &us, error) &&
	       (state_raise(&st, &test_streams[1], INT64_MAX) || fail(error, "no memory"));
}

static void test_no_memory(void)
{
	char *catalog = json_text(CATALOG(ENTRY(
		"users", "'stream':'us\\u0065rs','key_properties':['\\u0069d','name'],'metadata':[" SELECTED ABOUT(
				 "'\\u0070roperties','n\\u0061me'", "'selected':true") "]")));
	char *state = json_text("{'currently_syncing':'us\\u0065rs','bookmarks':{'events':'2021\\u002d02-01'}}");
	size_t limit, failures = 0, silent = 0;
	struct arena texts = {0};
	bool ok = false;

	for (limit = 1; !ok && limit < 1 << 20; limit += 40) {
		struct arena arena = {.limit = limit};
		struct error error = {""};

		ok = make_all(&arena, &texts, catalog, state, &error);
		failures += !ok;
		silent += !ok && !strstr(error.text, "no memory") &&
			  !strstr(error.text, "more values than there is room for");
		arena_free(&arena);
		arena_reset(&texts);
	}
	check(ok && failures > 100, "selection and state with enough memory, and %zu times with less", failures);
	check(silent == 0, "each lack of memory is said");
	take(log_file);
	arena_free(&texts);
	free(catalog);
	free(state);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	log_file = tmpfile();
	out_file = tmpfile();
	if (!log_file || !out_file || dup2(fileno(log_file), STDERR_FILENO) < 0)
		return 2;
	test_streams_init();
	test_log_secrets();
	test_log_progress();
	test_log_errno();
	test_log_levels();
	test_log_cut();
	test_log_two_secrets();
	test_log_hold();
	test_log_metrics();
	test_log_structured();
	test_globs();
	test_selections();
	test_selection_limits();
	test_selection_size();
	test_shared_keys();
	test_schemas();
	test_rows();
	test_row_orders();
	test_left_out();
	test_left_out_lengths();
	test_left_out_more();
	test_mended();
	test_unselected();
	test_extras();
	test_extra_key();
	test_whole_lines();
	test_extracted();
	test_broken_pipe();
	test_bad_descriptor();
	test_nothing_written();
	test_non_blocking();
	test_no_memory_in_line();
	test_states();
	test_state_moves();
	test_bookmarks();
	test_bookmarks_unread();
	test_state_secrets();
	test_state_equal_members();
	test_state_no_memory();
	test_catalog_key_misfit();
	test_catalog();
	test_catalog_rules();
	test_no_memory();
	return check_done();
}
