/* tap_test.c - the program's own part: command line, configuration, files, signals.  Its modes are tested end to end. */
#define main         tap_main
#define log_width    fake_log_width
#define log_clock_ms fake_log_clock_ms
#define log_progress fake_log_progress
int main(int argc, char **argv);
#include "../tap.c"
#undef main

#include "check.h"

#include <sys/wait.h>

enum { TEXT_SIZE = 1024 };

/* What a test compares: growing text that never overflows. */
struct text {
	char s[TEXT_SIZE];
	size_t n;
};

static void add(struct text *t, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(t->s + t->n, sizeof t->s - t->n, format, args);
	va_end(args);
	if (n > 0)
		t->n += (size_t)n < sizeof t->s - t->n ? (size_t)n : sizeof t->s - t->n - 1;
}

/* expected is the whole text; of an error, which begins with '!', the beginning is enough. */
static void check_outcome(bool ok, const struct text *got, const struct error *error, const char *expected,
			  const char *name)
{
	if (*expected != '!') {
		check_text(ok ? got->s : error->text, expected, name);
		return;
	}
	if (!check(!ok && strncmp(error->text, expected + 1, strlen(expected + 1)) == 0, "%s", name))
		printf("# expected %s\n# got      %s %s\n", expected + 1, ok ? "no error:" : "",
		       ok ? got->s : error->text);
}

static char *copy(const char *s)
{
	size_t size = strlen(s) + 1;
	char *p = malloc(size);

	if (!p) {
		puts("Bail out! no memory");
		exit(1);
	}
	return memcpy(p, s, size);
}

/* ---- Command line ---- */

enum { WORDS = 12 };

static const struct {
	const char *name, *words[WORDS], *expected;
} command_lines[] = {
	{"no option", {NULL}, ""},
	{"long, value apart", {"--config", "c"}, "config=c"},
	{"long, value after =", {"--config=c"}, "config=c"},
	{"long, value holds =", {"--config=a=b"}, "config=a=b"},
	{"long, empty value after =", {"--select="}, "select="},
	{"long, empty value apart", {"--select", ""}, "select="},
	{"no file's name after =", {"--state="}, "!--state: expects a file's name"},
	{"no file's name apart", {"-c", ""}, "!--config: expects a file's name"},
	{"no file's name, others", {"--catalog="}, "!--catalog: expects a file's name"},
	{"no file's name, the older one", {"-p", ""}, "!--properties: expects a file's name"},
	{"no file's name to write", {"-o", ""}, "!--output: expects a file's name"},
	{"no file's name for the state", {"-o", "o", "--state-file="}, "!--state-file: expects a file's name"},
	{"the configuration itself",
	 {"-c", "{\"api_token\":\"t\"}"},
	 "!--config: expected the name of a file, not the configuration itself"},
	{"the configuration itself, joined, blanks before it",
	 {"--config= \t\n{"},
	 "!--config: expected the name of a file, not the configuration itself"},
	{"a file's name with a brace", {"-c", "a{"}, "config=a{"},
	{"output is a dash",
	 {"-o", "-"},
	 "!--output: \"-\" is not a file; standard output is what is written without --output"},
	{"state file is a dash",
	 {"-o", "o", "--state-file=-"},
	 "!--state-file: \"-\" is not a file; standard output is what is written without --output"},
	{"short, value apart", {"-c", "c"}, "config=c"},
	{"short, value joined", {"-cfile"}, "config=file"},
	{"short, value after =", {"-c=file"}, "config=file"},
	{"short, value begins with a dash", {"-c-x"}, "config=-x"},
	{"value is a dash", {"--state", "-"}, "state=-"},
	{"standard input", {"--config", "-", "-c-"}, "config=standard input config=standard input"},
	{"every short option",
	 {"-c", "1", "-d", "-p", "2", "-s", "3", "-o", "4", "-h"},
	 "config=1 properties=2 state=3 output=4 discover help"},
	{"repeated --config keeps its order", {"-c", "1", "--config", "ENV", "-c2"}, "config=1 config=ENV config=2"},
	{"any other repeated: the last", {"--state=1", "-s2"}, "state=2"},
	{"prefix of one option", {"--cat", "c", "--prop=p"}, "catalog=c properties=p"},
	{"shortest prefixes",
	 {"--co=1", "--ca=2", "--p=3", "--state=4", "--se=5"},
	 "config=1 catalog=2 properties=3 state=4 select=5"},
	{"shortest prefixes, the others",
	 {"--t", "--a", "--f=json", "--di", "--log-l=info", "--log-f=plain", "--v", "--h", "--de"},
	 "log-level=info log-format=plain discover test=all about format=json version help dev"},
	{"shortest prefixes, files", {"--o=1", "--state-=2"}, "output=1 state-file=2"},
	{"a name that is the beginning of another", {"--state=1"}, "state=1"},
	{"prefix of two options",
	 {"--st=x"},
	 "!--st: ambiguous option, the beginning of --state and of --state-file; --help lists them"},
	{"prefix of a hidden one too", {"--d"}, "!--d: ambiguous option, the beginning of --discover and of --dev"},
	{"longer than any option",
	 {"--discovery"},
	 "!--discovery: unknown option; did you mean --discover? --help lists them"},
	{"letters exchanged", {"--catlaog=c"}, "!--catlaog: unknown option; did you mean --catalog? --help lists them"},
	{"upper case", {"--CONFIG=c"}, "!--CONFIG: unknown option; did you mean --config?"},
	{"like none", {"--verbosely"}, "!--verbosely: unknown option; --help lists them"},
	{"unknown long option, its value not shown", {"--token=secret"}, "!--token: unknown option; --help lists them"},
	{"unknown short option", {"-x"}, "!-x: unknown option; --help lists them"},
	{"short option of one without a letter", {"-a"}, "!-a: unknown option"},
	{"a word that is no option", {"-d", "catalog.json"}, "!catalog.json: unexpected argument"},
	{"an empty word", {""}, "!: unexpected argument"},
	{"a dash alone", {"-"}, "!-: unexpected argument"},
	{"value missing at the end", {"--config"}, "!--config: needs a value: FILE"},
	{"value missing at the end, short", {"-s"}, "!--state: needs a value: FILE"},
	{"value missing before an option", {"--state", "--discover"}, "!--state: needs a value: FILE"},
	{"value missing before a short option", {"-s", "-d"}, "!--state: needs a value: FILE"},
	{"value where none is taken", {"--discover=yes"}, "!--discover: takes no value"},
	{"empty value where none is taken", {"--about="}, "!--about: takes no value"},
	{"short, value where none is taken", {"-dyes"}, "!--discover: takes no value"},
	{"--test alone", {"--test"}, "test=all"},
	{"--test leaves the next word", {"--test", "--config", "c"}, "config=c test=all"},
	{"--test=all", {"--test=all"}, "test=all"},
	{"--test=schema", {"--test=schema"}, "test=schema"},
	{"--test of something else", {"--test=some"}, "!--test: "},
	{"--test of nothing", {"--test="}, "!--test: "},
	{"choices in any case",
	 {"--log-level=DEBUG", "--about", "--format", "Json"},
	 "log-level=debug about format=json"},
	{"no prefix of a choice", {"--log-level=warnin"}, "!--log-level: "},
	{"Python's names of levels", {"--log-level=WARN"}, "log-level=warn"},
	{"an argument after --", {"-d", "--", "x"}, "!x: unexpected argument"},
	{"-- and nothing after it", {"-d", "--"}, "discover"},
	{"what follows -- is no option", {"--", "-d"}, "!-d: unexpected argument"},
	{"not a choice", {"--format", "xml"}, "!--format: "},
	{"--dev is taken and does nothing", {"--dev"}, "dev"},
	{"--format without --about", {"--format=json"}, "!--format: does nothing without --about"},
	{"--state-file without --output", {"--state-file=s"}, "!--state-file: does nothing without --output"},
	{"two states to go on from",
	 {"-o", "o", "--state-file=s", "--state=t"},
	 "!--state-file: does not go together with --state; leave one of them out"},
	{"--discover with a catalog", {"-d", "--catalog=c"}, "!--discover: does not go together with --catalog"},
	{"--discover with a legacy catalog", {"-d", "-p", "c"}, "!--discover: does not go together with --properties"},
	{"--discover with --test", {"-d", "--test"}, "!--discover: does not go together with --test"},
	{"--discover with --output", {"-d", "-o", "o"}, "!--discover: does not go together with --output"},
	{"--discover with a state, as Meltano does", {"-d", "-s", "s"}, "state=s discover"},
	{"--test with --output", {"--test", "-o", "o"}, "!--test: does not go together with --output"},
	{"--about with --discover", {"--about", "-d"}, "!--about: does not go together with --discover"},
	{"--help with anything", {"--help", "--format=json"}, "format=json help"},
	{"--version with anything", {"--version", "-d", "--test"}, "discover test=all version"},
};

static void put_options(struct text *t, const struct options *options)
{
	size_t i, c;

	for (i = 0; i < OPTIONS; i++) {
		const struct option *o = &option_table[i];
		const char *field = (const char *)options + o->at, *value, *blank = t->n ? " " : "";
		switch (o->kind) {
		case OPTION_FLAG:
			if (*(const bool *)field)
				add(t, "%s%s", blank, o->name);
			break;
		case OPTION_TEXT:
		case OPTION_INPUT:
		case OPTION_OUTPUT:
			memcpy(&value, field, sizeof value);
			if (value)
				add(t, "%s%s=%s", blank, o->name, value);
			break;
		case OPTION_CONFIG:
			for (c = 0; c < options->configs; c++)
				add(t, "%s%s=%s", c ? " " : blank, o->name, options->config[c]);
			break;
		}
	}
}

/* The words are copied to blocks of their exact size, so that a sanitizer sees a step beyond. */
static void test_command_line(const char *const *words, const char *expected, const char *name)
{
	struct options options = {0};
	struct error error = {""};
	struct text got = {"", 0};
	char *argv[WORDS + 2];
	int argc = 0;
	bool ok;

	argv[argc++] = copy("tap-segment");
	for (; argc <= WORDS && words[argc - 1]; argc++)
		argv[argc] = copy(words[argc - 1]);
	argv[argc] = NULL;
	ok = options_read(&options, argc, argv, &error);
	if (ok)
		put_options(&got, &options);
	check_outcome(ok, &got, &error, expected, name);
	while (argc)
		free(argv[--argc]);
}

static void test_command_lines(void)
{
	struct options options = {0};
	struct error error = {""};
	char *argv[CONFIG_FILES + 3] = {NULL};
	size_t i;
	bool ok;

	for (i = 0; i < countof(command_lines); i++)
		test_command_line(command_lines[i].words, command_lines[i].expected, command_lines[i].name);
	for (i = 0; i < CONFIG_FILES + 2; i++)
		argv[i] = copy("-cx");
	ok = options_read(&options, CONFIG_FILES + 1, argv, &error);
	check(ok && options.configs == CONFIG_FILES, "as many --config as there is room for");
	memset(&options, 0, sizeof options);
	check(!options_read(&options, CONFIG_FILES + 2, argv, &error), "one --config more");
	check(options_read(&options, 0, argv + CONFIG_FILES + 2, &error),
	      "no word at all, not even the program's name");
	for (i = 0; i < CONFIG_FILES + 2; i++)
		free(argv[i]);
}

/* The choices of an option are named by its error, whatever the option is. */
static void test_choices(void)
{
	size_t i, c;

	for (i = 0; i < OPTIONS; i++) {
		const struct option *o = &option_table[i];
		struct options options = {0};
		struct error error = {""};
		if (!o->choices)
			continue;
		check(!option_apply(&options, o, "nonsense", &error), "--%s: no such choice", o->name);
		for (c = 0; o->choices[c]; c++)
			check(strstr(error.text, o->choices[c]) != NULL, "--%s: the error names %s", o->name,
			      o->choices[c]);
	}
}

/* ---- Configuration ---- */

/* "key=text", with its number where that says more than the text, of all that is set. */
static void put_config(struct text *t, const struct config *config)
{
	size_t i;

	for (i = 0; i < KEYS; i++) {
		const char *text = config->value[i].text, *blank = t->n ? " " : "";
		long long number = (long long)config->value[i].number;
		if (text && config_table[i].type >= TYPE_TIME && config_table[i].type <= TYPE_BOOL)
			add(t, "%s%s=%lld", blank, config_table[i].name, number);
		else if (text)
			add(t, "%s%s=%s", blank, config_table[i].name, text);
		else if (number)
			add(t, "%s%s: a number without a text", blank, config_table[i].name);
	}
}

static const struct {
	const char *name, *json, *expected;
} documents[] = {
	{"nothing", "{}", ""},
	{"a string", "{\"api_token\":\"abc\"}", "api_token=abc"},
	{"a string with escapes", "{\"ca_file\":\"\\u00e9\\/\\\"\"}", "ca_file=\xc3\xa9/\""},
	{"a key with escapes", "{\"regi\\u006fn\":\"eu\"}", "region=eu"},
	{"alias", "{\"access_token\":\"abc\"}", "api_token=abc"},
	{"unknown keys are left alone", "{\"page\":{\"size\":[1]},\"Region\":\"eu\"}", ""},
	{"equal keys: the last", "{\"region\":\"us\",\"region\":\"eu\"}", "region=eu"},
	{"null is not set", "{\"region\":null}", ""},
	{"empty is not set", "{\"region\":\"\",\"page_size\":\"\",\"unique_keys\":\"\",\"end_date\":\"\"}", ""},
	{"null takes back", "{\"page_size\":7,\"end_date\":\"2026-01-01\",\"page_size\":null,\"end_date\":\"\"}", ""},

	{"Bearer is cut off", "{\"api_token\":\"Bearer abc\"}", "api_token=abc"},
	{"bearer in any case, more blanks", "{\"api_token\":\"bEARER  abc\"}", "api_token=abc"},
	{"a token that begins like Bearer", "{\"api_token\":\"Bearerabc\"}", "api_token=Bearerabc"},
	{"an alias of null says nothing", "{\"api_token\":\"abc\",\"access_token\":null}", "api_token=abc"},
	{"an empty alias says nothing", "{\"api_token\":\"abc\",\"access_token\":\"\"}", "api_token=abc"},
	{"null says nothing against the alias", "{\"access_token\":\"abc\",\"api_token\":null}", "api_token=abc"},
	{"nor does nothing", "{\"access_token\":\"abc\",\"api_token\":\"\"}", "api_token=abc"},
	{"nor before the alias", "{\"api_token\":\"\",\"access_token\":\"abc\"}", "api_token=abc"},
	{"nor do blanks", "{\"access_token\":\"abc\",\"api_token\":\" \"}", "api_token=abc"},
	{"a list is no token, whatever the alias is", "{\"access_token\":\"abc\",\"api_token\":[\"x\"]}",
	 "!c.json: api_token: expected a string"},
	{"a list as the alias", "{\"api_token\":\"abc\",\"access_token\":[]}", "!c.json: api_token: expected a string"},
	{"Bearer and nothing else is not set", "{\"api_token\":\"Bearer \"}", ""},
	{"Bearer without a blank is not set", "{\"api_token\":\"Bearer\"}", ""},
	{"blanks and line ends around a token", "{\"api_token\":\" \\tabc\\r\\n\"}", "api_token=abc"},
	{"and around Bearer", "{\"api_token\":\"\\nBearer \\tabc \"}", "api_token=abc"},
	{"a token of blanks is not set", "{\"api_token\":\" \\n\"}", ""},
	{"blanks within a token stay", "{\"api_token\":\"a b\"}", "api_token=a b"},
	{"a token in quotes", "{\"api_token\":\"\\\"abc\\\"\"}", "!c.json: api_token: stands in quotes"},
	{"a token in single quotes", "{\"api_token\":\" 'abc'\\n\"}", "!c.json: api_token: stands in quotes"},
	{"a token in quotes after Bearer", "{\"api_token\":\"Bearer 'abc'\"}", "!c.json: api_token: stands in quotes"},
	{"a token that is a quote", "{\"api_token\":\"'\"}", "api_token='"},
	{"a token with quotes", "{\"api_token\":\"'a'b\"}", "api_token='a'b"},
	{"Bearer is cut off tokens only", "{\"user_agent\":\"Bearer abc\"}", "user_agent=Bearer abc"},
	{"a control character", "{\"api_token\":\"a\\nb\"}",
	 "!c.json: api_token: holds a control character or a byte that is not ASCII"},
	{"a byte beyond ASCII", "{\"user_agent\":\"\u00e9\"}",
	 "!c.json: user_agent: holds a control character or a byte that is not ASCII"},
	{"a file's name may hold any", "{\"ca_file\":\"\u00e9\"}", "ca_file=\u00e9"},

	{"integer", "{\"page_size\":7}", "page_size=7"},
	{"integer in a string", "{\"page_size\":\"7\"}", "page_size=7"},
	{"least and most", "{\"page_size\":1,\"max_connections\":32,\"max_attempts\":20,\"request_timeout\":86400}",
	 "request_timeout=86400000 page_size=1 max_connections=32 max_attempts=20"},
	{"below the least", "{\"page_size\":0}", "!c.json: page_size: expected an integer from 1 to 1000"},
	{"above the most", "{\"page_size\":1001}", "!c.json: page_size: expected an integer from 1 to 1000"},
	{"negative", "{\"max_attempts\":-1}", "!c.json: max_attempts: expected an integer from 1 to 20"},
	{"beyond 64 bits", "{\"max_attempts\":99999999999999999999}", "!c.json: max_attempts: expected an integer"},
	{"2^32 + 1", "{\"max_connections\":4294967297}", "!c.json: max_connections: expected an integer from 1 to 32"},
	{"an integer with a point", "{\"page_size\":7.0}", "page_size=7"},
	{"an integer with a point, in a string", "{\"page_size\":\"1000.00\"}", "page_size=1000"},
	{"fraction", "{\"page_size\":7.5}", "!c.json: page_size: expected an integer"},
	{"fraction behind a zero", "{\"page_size\":7.01}", "!c.json: page_size: expected an integer"},
	{"a point and nothing behind it", "{\"page_size\":\"7.\"}", "!c.json: page_size: expected an integer"},
	{"a fraction alone", "{\"page_size\":\".0\"}", "!c.json: page_size: expected an integer"},
	{"exponent", "{\"page_size\":1e2}", "!c.json: page_size: expected an integer"},
	{"more after the number", "{\"page_size\":\"7 \"}", "!c.json: page_size: expected an integer"},
	{"no number", "{\"page_size\":\"many\"}", "!c.json: page_size: expected an integer"},
	{"boolean for an integer", "{\"page_size\":true}", "!c.json: page_size: expected an integer"},
	{"0 seconds: the default", "{\"request_timeout\":0}", "request_timeout=300000"},
	{"0 seconds in a string", "{\"request_timeout\":\"0\"}", "request_timeout=300000"},
	{"0 seconds with decimals", "{\"request_timeout\":0.0}", "request_timeout=300000"},
	{"0 seconds, many digits", "{\"request_timeout\":\"00.0000\"}", "request_timeout=300000"},
	{"less than a millisecond", "{\"request_timeout\":0.0001}", "!c.json: request_timeout: expected a number"},
	{"one second too many", "{\"request_timeout\":86401}",
	 "!c.json: request_timeout: expected a number of seconds from 1 to 86400"},
	{"a millisecond too many", "{\"request_timeout\":86400.001}", "!c.json: request_timeout: expected a number"},
	{"far too many", "{\"request_timeout\":99999999999999999999999999}",
	 "!c.json: request_timeout: expected a number"},
	{"less than a second", "{\"request_timeout\":0.999}", "!c.json: request_timeout: expected a number"},
	{"seconds with decimals", "{\"request_timeout\":300.0}", "request_timeout=300000"},
	{"seconds with decimals in a string", "{\"request_timeout\":\"12.5\"}", "request_timeout=12500"},
	{"decimals past the millisecond", "{\"request_timeout\":\"1.2345678901234567890123\"}", "request_timeout=1234"},
	{"a point without decimals", "{\"request_timeout\":\"1.\"}", "!c.json: request_timeout: expected a number"},
	{"decimals alone", "{\"request_timeout\":\".5\"}", "!c.json: request_timeout: expected a number"},
	{"seconds below zero", "{\"request_timeout\":-1}", "!c.json: request_timeout: expected a number"},
	{"seconds with an exponent", "{\"request_timeout\":1e2}", "!c.json: request_timeout: expected a number"},
	{"seconds with a unit", "{\"request_timeout\":\"30s\"}", "!c.json: request_timeout: expected a number"},

	{"true", "{\"unique_keys\":true}", "unique_keys=1"},
	{"false", "{\"unique_keys\":false}", "unique_keys=0"},
	{"true in a string", "{\"unique_keys\":\"true\",\"fail_on_forbidden\":\"True\"}",
	 "unique_keys=1 fail_on_forbidden=1"},
	{"yes and on", "{\"unique_keys\":\"yes\",\"fail_on_forbidden\":\"ON\"}", "unique_keys=1 fail_on_forbidden=1"},
	{"no and off", "{\"unique_keys\":\"no\",\"fail_on_forbidden\":\"Off\"}", "unique_keys=0 fail_on_forbidden=0"},
	{"1 and 0 in strings", "{\"unique_keys\":\"1\",\"fail_on_forbidden\":\"0\"}",
	 "unique_keys=1 fail_on_forbidden=0"},
	{"what other taps do, left out",
	 "{\"stream_maps\":{},\"stream_map_config\":null,\"faker_config\":\"\",\"flattening_enabled\":false}", ""},
	{"rows changed on the way", "{\"stream_maps\":{\"a\":{}}}",
	 "!c.json: stream_maps: this tap does not do that, and so would write rows as they are; --select"},
	{"flat rows", "{\"flattening_max_depth\":1}", "!c.json: flattening_max_depth: this tap does not do that"},
	{"a name that only begins so", "{\"stream_mapping\":1,\"flattening\":1}", ""},
	{"any other word", "{\"unique_keys\":\"maybe\"}", "!c.json: unique_keys: expected true or false"},
	{"number for a boolean", "{\"unique_keys\":1}", "!c.json: unique_keys: expected true or false"},

	{"a date", "{\"start_date\":\"1970-01-02\"}", "start_date=86400000000"},
	{"a date-time", "{\"start_date\":\"1970-01-01T00:00:01.5Z\"}", "start_date=1500000"},
	{"with an offset, as Meltano writes it", "{\"start_date\":\"1970-01-01T01:00:00+00:00\"}",
	 "start_date=3600000000"},
	{"without a zone", "{\"start_date\":\"1970-01-01T00:00:01\"}", "start_date=1000000"},
	{"no date", "{\"start_date\":\"yesterday\"}",
	 "!c.json: start_date: \"yesterday\": it does not begin with YYYY-MM-DD; expected a date or date-time, such as "
	 "2026-01-31 or 2026-01-31T00:00:00Z"},
	{"19 bytes that are no date", "{\"start_date\":\"abcdefghijklmnopqrs\"}",
	 "!c.json: start_date: \"abcdefghijklmnopqrs\": it does not begin with YYYY-MM-DD; expected a date"},
	{"a token that begins with a digit", "{\"start_date\":\"7sgp_bcdefghijklmnop\"}",
	 "!c.json: start_date: it does not begin with YYYY-MM-DD; expected a date"},
	{"a long time that is none", "{\"start_date\":\"2026-13-01T00:00:00.000000Z\"}",
	 "!c.json: start_date: \"2026-13-01T00:00:00.000000Z\": "},
	{"20 bytes, which may be a token", "{\"start_date\":\"abcdefghijklmnopqrst\"}",
	 "!c.json: start_date: it does not begin with YYYY-MM-DD; expected a date"},
	{"token and date exchanged", "{\"api_token\":\"2026-01-01\",\"start_date\":\"sgp_0123456789abcdef\"}",
	 "!c.json: start_date: it does not begin with YYYY-MM-DD; expected a date"},
	{"what begins as a date is shown", "{\"start_date\":\"2026-02-30T00:00:00.000Z\"}",
	 "!c.json: start_date: \"2026-02-30T00:00:00.000Z\": this month has no such day; expected a date"},
	{"no day", "{\"end_date\":\"2026-02-29\"}",
	 "!c.json: end_date: \"2026-02-29\": this month has no such day; expected"},
	{"number for a date", "{\"start_date\":1704067200}", "!c.json: start_date: expected a date or date-time"},

	{"regions", "{\"region\":\"us\"}", "region=us"},
	{"regions in any case", "{\"region\":\"EU\"}", "region=EU"},
	{"a region as its host says", "{\"region\":\"eu1\"}", "region=eu1"},
	{"no region", "{\"region\":\"mars\"}", "!c.json: region: expected us or eu"},
	{"number for a string", "{\"user_agent\":1}", "!c.json: user_agent: expected a string"},
	{"boolean for a string", "{\"user_agent\":true}", "!c.json: user_agent: expected a string"},
	{"object for a string", "{\"proxy\":{}}", "!c.json: proxy: expected a string"},
	{"array for a string", "{\"api_token\":[\"abc\"]}", "!c.json: api_token: expected a string"},
	{"NUL in a string", "{\"api_token\":\"a\\u0000b\"}", "!c.json: api_token: holds a NUL"},
	{"an array", "[]", "!c.json: expected a JSON object"},
	{"a string alone", "\"api_token\"", "!c.json: expected a JSON object"},
	{"null alone", "null", "!c.json: expected a JSON object"},
};

/* Takes a document into the configuration; the text outlives it. */
static bool take(struct config *config, const char *json, struct arena *arena, struct error *error)
{
	struct json_error bad;
	struct json root;

	if (!json_parse(arena, json, strlen(json), &root, &bad))
		return fail(error, "not JSON: %s", bad.what);
	return config_from_json(config, root, "c.json", arena, error);
}

static void test_documents(void)
{
	size_t i;

	for (i = 0; i < countof(documents); i++) {
		struct arena arena = {0};
		struct config config = {{{NULL, NULL, 0}}};
		struct error error = {""};
		struct text got = {"", 0};
		bool ok = take(&config, documents[i].json, &arena, &error);
		put_config(&got, &config);
		check_outcome(ok, &got, &error, documents[i].expected, documents[i].name);
		arena_free(&arena);
	}
}

/* However little memory there is: an error that says so, and the right result in the end. */
static void test_no_memory(void)
{
	static const char json[] = "{\"api_token\":\"Bearer a\\u0062c\",\"page_size\":\"7\",\"unique_keys\":true}";
	struct error error = {""};
	struct text got;
	unsigned failed = 0, silent = 0;
	bool ok = false;
	size_t limit;

	for (limit = 1; !ok && limit < 8192; limit++) {
		struct arena arena = {.limit = limit};
		struct config config = {{{NULL, NULL, 0}}};
		error.text[0] = '\0';
		ok = take(&config, json, &arena, &error);
		failed += !ok;
		silent += !ok && !strstr(error.text, "no memory") &&
			  !strstr(error.text, "more values than there is room for");
		memset(&got, 0, sizeof got);
		put_config(&got, &config);
		arena_free(&arena);
	}
	check(failed > 0 && silent == 0, "a configuration without memory: an error that says so");
	check_outcome(ok, &got, &error, "api_token=abc page_size=7 unique_keys=1", "with enough memory");
}

/* The same of what the environment adds. */
static void test_no_memory_in_environment(void)
{
	struct error error = {""};
	unsigned failed = 0, silent = 0;
	bool ok = false;
	size_t limit;

	setenv("TAP_SEGMENT_PAGE_SIZE", "7", 1);
	for (limit = 1; !ok && limit < 8192; limit++) {
		struct arena arena = {.limit = limit};
		struct config config = {{{NULL, NULL, 0}}};
		error.text[0] = '\0';
		ok = config_from_environment(&config, &arena, &error);
		failed += !ok;
		silent += !ok && !strstr(error.text, "no memory");
		arena_free(&arena);
	}
	check(ok && failed > 0 && silent == 0, "the environment without memory: an error that says so");
	unsetenv("TAP_SEGMENT_PAGE_SIZE");
}

static const struct {
	const char *name, *first, *second, *expected;
} pairs[] = {
	{"other keys are added", "{\"page_size\":7}", "{\"region\":\"eu\"}", "region=eu page_size=7"},
	{"the later file wins", "{\"page_size\":7,\"region\":\"eu\"}", "{\"page_size\":8}", "region=eu page_size=8"},
	{"by the alias too", "{\"api_token\":\"a\"}", "{\"access_token\":\"b\"}", "api_token=b"},
	{"a later null takes the token back", "{\"api_token\":\"a\"}", "{\"api_token\":null}", ""},
	{"by whatever name it was set", "{\"access_token\":\"a\"}", "{\"api_token\":null,\"access_token\":\"\"}", ""},
	{"a later null alias does not", "{\"api_token\":\"a\"}", "{\"access_token\":null}", "api_token=a"},
	{"null in the later file takes back", "{\"page_size\":7,\"end_date\":\"2026-01-01\"}",
	 "{\"page_size\":null,\"end_date\":null}", ""},
};

static void test_pairs(void)
{
	size_t i;

	for (i = 0; i < countof(pairs); i++) {
		struct arena arena = {0};
		struct config config = {{{NULL, NULL, 0}}};
		struct error error = {""};
		struct text got = {"", 0};
		bool ok =
			take(&config, pairs[i].first, &arena, &error) && take(&config, pairs[i].second, &arena, &error);
		put_config(&got, &config);
		check_outcome(ok, &got, &error, pairs[i].expected, pairs[i].name);
		arena_free(&arena);
	}
}

static const struct {
	const char *name, *variables[4][2], *expected;
} environments[] = {
	{"nothing: the file's stay", {{NULL, NULL}}, "api_token=file page_size=7"},
	{"beats the file", {{"TAP_SEGMENT_API_TOKEN", "abc"}}, "api_token=abc page_size=7"},
	{"Bearer here too", {{"TAP_SEGMENT_API_TOKEN", "Bearer abc"}}, "api_token=abc page_size=7"},
	{"alias", {{"TAP_SEGMENT_ACCESS_TOKEN", "abc"}}, "api_token=abc page_size=7"},
	{"name before alias",
	 {{"TAP_SEGMENT_ACCESS_TOKEN", "no"}, {"TAP_SEGMENT_API_TOKEN", "yes"}},
	 "api_token=yes page_size=7"},
	{"empty is not set",
	 {{"TAP_SEGMENT_API_TOKEN", ""}, {"TAP_SEGMENT_PAGE_SIZE", ""}},
	 "api_token=file page_size=7"},
	{"empty name, alias",
	 {{"TAP_SEGMENT_API_TOKEN", ""}, {"TAP_SEGMENT_ACCESS_TOKEN", "abc"}},
	 "api_token=abc page_size=7"},
	{"numbers and booleans",
	 {{"TAP_SEGMENT_MAX_CONNECTIONS", "8"}, {"TAP_SEGMENT_UNIQUE_KEYS", "true"}},
	 "api_token=file page_size=7 max_connections=8 unique_keys=1"},
	{"names in upper case only", {{"tap_segment_page_size", "8"}}, "api_token=file page_size=7"},
	{"wrong value",
	 {{"TAP_SEGMENT_PAGE_SIZE", "many"}},
	 "!TAP_SEGMENT_PAGE_SIZE: expected an integer from 1 to 1000"},
	{"wrong date", {{"TAP_SEGMENT_START_DATE", "soon"}}, "!TAP_SEGMENT_START_DATE: \"soon\": it does not begin"},
	{"a token in place of the date",
	 {{"TAP_SEGMENT_START_DATE", "sgp_0123456789abcdef"}},
	 "!TAP_SEGMENT_START_DATE: it does not begin"},
	{"blanks around the token", {{"TAP_SEGMENT_API_TOKEN", " abc\n"}}, "api_token=abc page_size=7"},
	{"in quotes", {{"TAP_SEGMENT_API_TOKEN", "'abc'"}}, "!TAP_SEGMENT_API_TOKEN: stands in quotes"},
	{"in quotes, by the alias",
	 {{"TAP_SEGMENT_ACCESS_TOKEN", "'abc'"}},
	 "!TAP_SEGMENT_ACCESS_TOKEN: stands in quotes"},
};

static void test_environments(void)
{
	size_t i, v;

	for (i = 0; i < countof(environments); i++) {
		struct arena arena = {0};
		struct config config = {{{NULL, NULL, 0}}};
		struct error error = {""};
		struct text got = {"", 0};
		bool ok = take(&config, "{\"api_token\":\"file\",\"page_size\":7}", &arena, &error);
		for (v = 0; v < 4 && environments[i].variables[v][0]; v++)
			setenv(environments[i].variables[v][0], environments[i].variables[v][1], 1);
		ok = ok && config_from_environment(&config, &arena, &error);
		put_config(&got, &config);
		check_outcome(ok, &got, &error, environments[i].expected, environments[i].name);
		for (v = 0; v < 4 && environments[i].variables[v][0]; v++)
			unsetenv(environments[i].variables[v][0]);
		arena_free(&arena);
	}
}

static const struct {
	const char *name, *json, *expected;
} completions[] = {
	{"defaults", "{\"api_token\":\"abc\",\"start_date\":\"1970-01-02\"}",
	 "api_token=abc start_date=86400000000 user_agent=tap-segment/" VERSION
	 " request_timeout=300000 region=us max_connections=4 max_attempts=8 unique_keys=0 fail_on_forbidden=0 "
	 "activate_version=0"},
	{"what is set stays",
	 "{\"api_token\":\"abc\",\"start_date\":\"1970-01-02\",\"user_agent\":\"me\",\"request_timeout\":1,"
	 "\"region\":\"eu\",\"max_connections\":1,\"max_attempts\":1,\"unique_keys\":true,\"fail_on_forbidden\":true}",
	 "api_token=abc start_date=86400000000 user_agent=me request_timeout=1000 region=eu max_connections=1 "
	 "max_attempts=1 "
	 "unique_keys=1 fail_on_forbidden=1 activate_version=0"},
	{"no token", "{\"start_date\":\"2026-01-01\"}", "!c.json: api_token: required, but missing"},
	{"an empty token", "{\"api_token\":\"\",\"start_date\":\"2026-01-01\"}",
	 "!c.json: api_token: required, but missing"},
	{"no token after Bearer", "{\"api_token\":\"Bearer \",\"start_date\":\"2026-01-01\"}",
	 "!c.json: api_token: required, but missing"},
	{"no start_date", "{\"api_token\":\"abc\"}", "!c.json: start_date: required, but missing"},
};

static void test_completions(void)
{
	size_t i;

	for (i = 0; i < countof(completions); i++) {
		struct arena arena = {0};
		struct config config = {{{NULL, NULL, 0}}};
		struct error error = {""};
		struct text got = {"", 0};
		bool ok = take(&config, completions[i].json, &arena, &error) &&
			  config_complete(&config, "c.json", &arena, &error);
		put_config(&got, &config);
		check_outcome(ok, &got, &error, completions[i].expected, completions[i].name);
		arena_free(&arena);
	}
}

/* What http_open says of an option is told of the variable that it came from. */
static void test_variable_errors(void)
{
	static const struct {
		const char *text, *expected;
	} errors[] = {{"base_url: has no host", "TAP_SEGMENT_BASE_URL: has no host"},
		      {"proxy: has no host", "proxy: has no host"},
		      {"base_urls: x", "base_urls: x"},
		      {"no memory", "no memory"}};
	struct config config = {{{NULL, NULL, 0}}};
	size_t i;

	config.value[KEY_BASE_URL].variable = "TAP_SEGMENT_BASE_URL";
	for (i = 0; i < countof(errors); i++) {
		struct error error = {""};
		fail(&error, "%s", errors[i].text);
		name_variable(&config, &error);
		check_text(error.text, errors[i].expected, errors[i].text);
	}
}

/* Variables for what only the taps of Meltano's SDK do. */
static void test_foreign_variables(void)
{
#define LONG_NAME                 \
	"TAP_SEGMENT_FLATTENING_" \
	"012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
	static const struct {
		const char *name, *value, *expected;
	} variables[] = {
		{"TAP_SEGMENT_STREAM_MAPS", "{\"a\":{}}", "!TAP_SEGMENT_STREAM_MAPS: this tap does not do that"},
		{"TAP_SEGMENT_STREAM_MAPS", "", ""},
		{"TAP_SEGMENT_STREAM_MAPS", "{}", ""},
		{"TAP_SEGMENT_STREAM_MAPS", "False", ""},
		{"TAP_SEGMENT_STREAM_MAPS_2", "1", ""},
		{"TAP_SEGMENT_FLATTENING_ENABLED", "true",
		 "!TAP_SEGMENT_FLATTENING_ENABLED: this tap does not do that"},
		{"TAP_SEGMENT_FLATTENING_", "true", ""},
		{"TAP_SEGMENT_FLATTENINGS", "true", ""},
		{LONG_NAME "0123456789012345", "1", "!" LONG_NAME "012345678901234: this tap does not do that"},
	};
	struct text none = {"", 0};
	size_t i;

	for (i = 0; i < countof(variables); i++) {
		struct error error = {""};
		bool ok = setenv(variables[i].name, variables[i].value, 1) == 0 && variables_are_ours(&error);
		check_outcome(ok, &none, &error, variables[i].expected, variables[i].name);
		unsetenv(variables[i].name);
	}
#undef LONG_NAME
}

static void test_known_variables(void)
{
	static const struct {
		const char *name;
		bool known;
	} names[] = {{"TAP_SEGMENT_API_TOKEN", true},  {"TAP_SEGMENT_ACCESS_TOKEN", true},
		     {"TAP_SEGMENT_LOGLEVEL", true},   {"TAP_SEGMENT__SELECT", true},
		     {"TAP_SEGMENT_API_TOKE", false},  {"TAP_SEGMENT_API_TOKENS", false},
		     {"TAP_SEGMENT_api_token", false}, {"TAP_SEGMENT_", false}};
	size_t i;

	for (i = 0; i < countof(names); i++)
		check(variable_known(str_of(names[i].name)) == names[i].known, "%s is %s", names[i].name,
		      names[i].known ? "known" : "unknown");
	check_text(key_nearest(str_of("pagesize")), "page_size", "the nearest key");
	check_text(key_nearest(str_of("STRAT_DATE")), "start_date", "the nearest key in another case");
	check_text(key_nearest(str_of("acces_token")), "access_token", "the nearest key by its other name");
	check(!key_nearest(str_of("colour")) && !key_nearest(str_of("stream_maps")), "no key is like that");
}

static void test_levels(void)
{
	static const struct {
		const char *name;
		enum log_level level;
	} names[] = {{"DEBUG", LOG_DEBUG}, {"info", LOG_INFO},         {"Warning", LOG_WARNING}, {"WARN", LOG_WARNING},
		     {"ERROR", LOG_ERROR}, {"CRITICAL", LOG_CRITICAL}, {"FATAL", LOG_CRITICAL},  {"NOTSET", LOG_DEBUG}};
	enum log_level level = LOG_INFO;
	size_t i;

	for (i = 0; i < countof(names); i++)
		check(level_find(names[i].name, &level) && level == names[i].level, "level %s", names[i].name);
	check(!level_find("WARNIN", &level) && !level_find("", &level) && !level_find("20", &level),
	      "what is no level is none");
}

/* The table itself: what the code relies on. */
static void test_config_table(void)
{
	struct arena arena = {0};
	size_t i;

	for (i = 0; i < KEYS; i++) {
		const struct config_key *k = &config_table[i];
		struct config config = {{{NULL, NULL, 0}}};
		struct error error = {""};
		check(k->name && k->help, "%s: has a name and a help", k->name ? k->name : "?");
		check((k->type == TYPE_INTEGER || k->type == TYPE_SECONDS) == (k->most > 0), "%s: a range, if a number",
		      k->name);
		check(!k->fallback || config_set(&config, (enum key)i, k->fallback, "default", &arena, &error),
		      "%s: the default is valid", k->name);
		check(!(k->required && k->fallback), "%s: not both required and defaulted", k->name);
	}
	arena_free(&arena);
}

/* What the walk is given: what is not set must be what it takes for not set. */
static void test_sync_options(void)
{
	static const char all[] = "{\"start_date\":\"1970-01-02\",\"end_date\":\"1970-01-03\",\"page_size\":7,"
				  "\"max_connections\":8,\"fail_on_forbidden\":\"yes\"}";
	struct arena arena = {0};
	struct config config = {{{NULL, NULL, 0}}};
	struct error error = {""};
	struct sync_options options;
	bool ok = take(&config, all, &arena, &error);

	options = sync_options(&config, 5);
	check(ok && options.start_us == INT64_C(86400000000) && options.end_us == INT64_C(172800000000),
	      "start and end of the sync");
	check(options.page_rows == 7 && options.connections == 8 && options.page_bytes == (size_t)8 << 20 &&
		      options.fail_on_forbidden && options.stop == &stop_signal,
	      "numbers of the sync");
	check(options.now_us == 5, "the run's start");
	ok = take(&config, "{\"end_date\":null,\"page_size\":null,\"max_connections\":1}", &arena, &error);
	options = sync_options(&config, 5);
	check(ok && options.end_us == INT64_MAX && options.page_rows == 0, "no end, and the streams' own page sizes");
	check(options.page_bytes == (size_t)4 << 20, "room for pages, however few connections");
	arena_free(&arena);
}

/* ---- Files ---- */

static char folder[] = "/tmp/tap_test.XXXXXX";
static char path[sizeof folder + 16];

static const char *file_write(const char *text, size_t n)
{
	FILE *file;

	snprintf(path, sizeof path, "%s/file", folder);
	file = fopen(path, "wb");
	if (!file || fwrite(text, 1, n, file) != n || fclose(file) != 0) {
		printf("Bail out! %s: %s\n", path, strerror(errno));
		exit(1);
	}
	return path;
}

static const struct {
	const char *name, *text, *expected; /* the document, compact; or !, then the error after the path */
} state_files[] = {
	{"one line", "{\"a\":1}\n", "{\"a\":1}"},
	{"one line without its end", "{\"a\":1}", "{\"a\":1}"},
	{"one document of many lines", "{\n  \"a\": {\n    \"b\": [\n1,\n2]\n  }\n}\n", "{\"a\":{\"b\":[1,2]}}"},
	{"one document, blank lines about", "\n \r\n\t{\n\"a\": 1}\n\n\n", "{\"a\":1}"},
	{"one document on a line, blank lines about", "\n\n{\"a\":1}\n\n", "{\"a\":1}"},
	{"empty object", "{}", "{}"},
	{"null", "null\n", "null"},
	{"two lines: the last", "{\"a\":1}\n{\"a\":2}\n", "{\"a\":2}"},
	{"two lines without the last end", "{\"a\":1}\n{\"a\":2}", "{\"a\":2}"},
	{"many lines, CRLF, blank lines", "\r\n{\"a\":1}\r\n\r\n{\"a\":2}\r\n{\"a\":3}\r\n \r\n", "{\"a\":3}"},
	{"lines in between are not read", "{\"a\":1}\n{\"a\":\nWARNING x\n{\"a\":3}\n", "{\"a\":3}"},
	{"the last line has blanks before it", "{\"a\":1}\n  {\"a\":2}\n", "{\"a\":2}"},
	{"empty file", "", "!: holds no state; for a first run leave --state out"},
	{"blanks only", " \t\r\n\n", "!: holds no state; for a first run leave --state out"},
	{"cut last line", "{\"a\":1}\n{\"a\":2}\n{\"a\":", "!:3:6: "},
	{"cut last line, blank lines count", "\n{\"a\":1}\n\n{\"a\":2}\n\n{\"a\":", "!:6:6: "},
	{"cut last line, blanks before it", "{\"a\":1}\n  {\"a\"", "!:2:7: "},
	{"no JSON in the last line", "{\"a\":1}\nINFO done\n", "!:2:1: "},
	{"cut document of one line", "{\"a\":", "!:1:6: "},
	{"cut document of many lines", "{\n\"a\":1,\n", "!:3:1: "},
	{"wrong in a document of many lines", "\n{\n\"a\": x\n}\n", "!:3:6: "},
	{"no JSON in the first line", "INFO begun\n{\"a\":1}\n", "!:1:1: "},
	{"a byte order mark", "\xef\xbb\xbf{\"a\":1}\r\n", "{\"a\":1}"},
	{"a byte order mark before several lines", "\xef\xbb\xbf{\"a\":1}\n{\"a\":2}\n", "{\"a\":2}"},
	{"a byte order mark alone", "\xef\xbb\xbf", "!: holds no state; for a first run leave --state out"},
	{"two byte order marks", "\xef\xbb\xbf\xef\xbb\xbf{}", "!:1:1: begins with a byte order mark"},
	{"a line longer than the first", "{}\n{\"a\":\"0123456789\"}\n{\"b\":2}\n", "{\"b\":2}"},
};

static void test_state_file(const char *text, size_t n, const char *expected, const char *name)
{
	struct arena arena = {0};
	struct json document = {NULL, NULL};
	struct json_out out = {0};
	struct error error = {""};
	struct text got = {"", 0};
	const char *file = file_write(text, n);
	bool ok = state_document(&arena, file, &document, &error);

	if (ok)
		json_put_value(&out, document, 0);
	add(&got, "%.*s", (int)out.length, out.bytes ? out.bytes : "");
	if (!ok && check(strncmp(error.text, file, strlen(file)) == 0, "%s: the error names the file", name))
		memmove(error.text, error.text + strlen(file), strlen(error.text) - strlen(file) + 1);
	check_outcome(ok, &got, &error, expected, name);
	json_out_free(&out);
	arena_free(&arena);
}

static void test_state_files(void)
{
	static const char nul[] = "{\"a\":1}\n{\"a\":2}\0";
	struct arena arena = {0};
	struct json document = {NULL, NULL};
	struct error error;
	size_t i;

	for (i = 0; i < countof(state_files); i++)
		test_state_file(state_files[i].text, strlen(state_files[i].text), state_files[i].expected,
				state_files[i].name);
	test_state_file(nul, sizeof nul - 1, "!:2:8: ", "NUL after the last line");
	test_state_file("\0", 1, "!:1:1: ", "NUL alone");
	test_state_file("\xff\xfe{\0}\0", 6, "!: is written in UTF-16; save it as UTF-8", "UTF-16, little end first");
	test_state_file("\xfe\xff\0{\0}", 6, "!: is written in UTF-16; save it as UTF-8", "UTF-16, big end first");
	test_state_file("{\0}\0", 4, "!: is written in UTF-16; save it as UTF-8", "UTF-16 without a mark");
	test_state_file("\0{\0}", 4, "!: is written in UTF-16; save it as UTF-8",
			"UTF-16 without a mark, big end first");
	check(!document_read(&arena, file_write("\xff\xfe{\0}\0", 6), &document, &error) &&
		      strstr(error.text, "is written in UTF-16") != NULL,
	      "a config or catalog in UTF-16");
	check(document_read(&arena, file_write("\xef\xbb\xbf{}", 5), &document, &error) &&
		      json_type(document) == JSON_OBJECT,
	      "a config or catalog with a byte order mark");
	document.node = NULL;
	check(state_document(&arena, NULL, &document, &error) && json_type(document) == JSON_ABSENT,
	      "no state file: no document");
	check(document_read(&arena, NULL, &document, &error) && json_type(document) == JSON_ABSENT,
	      "no catalog file: no document");
	arena_free(&arena);
}

static const struct {
	const char *name, *file, *expected;
} unreadable[] = {
	{"no such file", "/no/such/file", "!/no/such/file: can't be read: "},
	{"no name", "", "!: can't be read: "},
	{"a folder", "/", "!/: can't be read: "},
};

static void test_files(void)
{
	static const char bytes[] = "a\0b\n";
	struct text none = {"", 0};
	struct str text = {NULL, 0};
	size_t i;

	for (i = 0; i < countof(unreadable); i++) {
		struct arena arena = {0};
		struct error error = {""};
		bool ok = file_text(&arena, unreadable[i].file, &text, &error);
		check_outcome(ok, &none, &error, unreadable[i].expected, unreadable[i].name);
		arena_free(&arena);
	}
	for (i = 0; i < 5; i++) {
		struct arena arena = {0};
		struct error error = {""};
		bool ok = file_text(&arena, file_write(bytes, i), &text, &error);
		check(ok && text.n == i && memcmp(text.s, bytes, i) == 0 && text.s[i] == '\0', "a file of %zu bytes",
		      i);
		arena_free(&arena);
	}
}

/* A file without blocks on the disk is as good as a full one. */
static void test_file_limit(void)
{
	static const struct {
		const char *name;
		off_t size;
		const char *expected;
	} sizes[] = {{"a file at the limit", FILE_LIMIT, ""}, {"a file over the limit", FILE_LIMIT + 1, "!"}};
	size_t i;

	for (i = 0; i < 2; i++) {
		struct arena arena = {0};
		struct error error = {""};
		struct text none = {"", 0};
		struct str text = {NULL, 0};
		const char *file = file_write("", 0);
		bool ok = truncate(file, sizes[i].size) == 0 && file_text(&arena, file, &text, &error);
		check_outcome(ok, &none, &error, sizes[i].expected, sizes[i].name);
		if (ok)
			check(text.n == (size_t)sizes[i].size, "%s is read whole", sizes[i].name);
		else
			check(strstr(error.text, "larger than 64 MiB") != NULL, "%s: the error says so", sizes[i].name);
		arena_free(&arena);
	}
}

static void test_file_without_memory(void)
{
	struct arena arena = {.limit = 1};
	struct error error = {""};
	struct text none = {"", 0};
	struct str text = {NULL, 0};
	bool ok = file_text(&arena, file_write("0123456789", 10), &text, &error);

	check_outcome(ok, &none, &error, "!/tmp/tap_test.", "a file without memory: the error names it");
	check(strstr(error.text, "no memory") != NULL, "a file without memory: the error says so");
	arena_free(&arena);
}

static void test_file_holds(void)
{
	const char *file = file_write("{\"()\": \"x.StructuredFormatter\"}", 31);

	check(file_holds(file, "StructuredFormatter"), "a file holds a word");
	check(!file_holds(file, "StructuredFormatters"), "a file doesn't hold a word");
	check(!file_holds("/no/such/file", ""), "a missing file holds nothing");
	check(!file_holds(NULL, ""), "no file holds nothing");
	check(truncate(file, (off_t)1 << 21) == 0 && !file_holds(file, "StructuredFormatter"),
	      "a file that is too large is not read");
}

/* ---- Output and state file ---- */

static const struct {
	const char *given, *expected;
} file_names[] = {
	{"out.jsonl", "out.jsonl"},
	{"a/out-%Y%m%d.jsonl", "a/out-20260203.jsonl"},
	{"%Y-%m-%dT%H-%M-%S", "2026-02-03T04-05-06"},
	{"%F_%R", "2026-02-03_04:05"},
	{"%y %T", "26 04:05:06"},
	{"100%%", "100%"},
	{"%", "!--output: %: % is no conversion"},
	{"a%Ya%", "!--output: a%Ya%: % is no conversion"},
	{"%q", "!--output: %q: %q is no conversion"},
	{"%D", "!--output: %D: %D is no conversion"}, /* holds slashes */
	{"%Ey", "!--output: %Ey: %E is no conversion"},
	{"%n", "!--output: %n: %n is no conversion"},
};

/* Names are compared, folders by what they are. */
static void test_files_clash(void)
{
	static const struct {
		const char *a, *b; /* below the tests' folder */
		bool clash;
	} clashes[] = {
		{"/a", "/a", true},        {"/a", "/a.part", true},      {"/a.part", "/a", true},
		{"/a", "/b", false},       {"/a", "/a.parts", false},    {"/a.part", "/b.part", false},
		{"/ab", "/a.part", false}, {"/a", "/./a", true},         {"/./a", "/a.part", true},
		{"//a.part", "/a", true},  {"/a.part", "/./a", true},    {"/tap_test.a", "/../tap_test.a", false},
		{"/a", "/no/a", false},    {"/a", "/a.part.part", false}};
	size_t i;

	for (i = 0; i < countof(clashes); i++) {
		struct new_file a = {NULL, NULL, NULL, 0, false, -1}, b = a;
		struct arena arena = {0};
		struct error error = {""};
		struct text one = {"", 0}, other = one;
		add(&one, "%s%s", folder, clashes[i].a);
		add(&other, "%s%s", folder, clashes[i].b);
		check(file_name(&a, one.s, &arena, &error) && file_name(&b, other.s, &arena, &error) &&
			      files_clash(&a, &b) == clashes[i].clash,
		      "output %s and state %s", clashes[i].a, clashes[i].b);
		arena_free(&arena);
	}
}

static void test_file_names(void)
{
	static char long_name[FILE_NAME + 1];
	char name[FILE_NAME];
	struct error error = {""};
	size_t i;

	for (i = 0; i < countof(file_names); i++) {
		struct text got = {"", 0};
		bool ok = name_expand(file_names[i].given, INT64_C(1770091506999999), name, &error);
		if (ok)
			add(&got, "%s", name);
		check_outcome(ok, &got, &error, file_names[i].expected, file_names[i].given);
	}
	memset(long_name, 'a', FILE_NAME);
	check(!name_expand(long_name, 0, name, &error), "a name that is too long");
	long_name[FILE_NAME - 1] = '\0';
	check(name_expand(long_name, 0, name, &error) && strcmp(name, long_name) == 0, "the longest name");
}

static void test_links(void)
{
	char link_name[sizeof folder + 16], name[FILE_NAME];
	struct error error = {""};
	mode_t mode;

	file_write("x", 1);
	snprintf(link_name, sizeof link_name, "%s/link", folder);
	check(symlink("file", link_name) == 0, "a link beside a file");
	snprintf(name, sizeof name, "%s", link_name);
	check(name_follow(name, &error), "a link is followed");
	check_text(name, path, "... to the file beside it");
	check(unlink(link_name) == 0 && symlink(path, link_name) == 0, "a link with a whole path");
	snprintf(name, sizeof name, "%s", link_name);
	check(name_follow(name, &error), "a whole path is followed");
	check_text(name, path, "... to that file");
	check(unlink(link_name) == 0 && symlink("link", link_name) == 0, "a link to itself");
	snprintf(name, sizeof name, "%s", link_name);
	check(!name_follow(name, &error), "a link to itself is refused");
	check(unlink(link_name) == 0, "the link is removed");
	check(chmod(path, 0640) == 0 && name_check(path, &mode, &error) && mode == 0640, "the mode of a file");
	check(name_check(link_name, &mode, &error) && mode == 0, "no mode of a file that is not there");
	check(!name_check(folder, &mode, &error) && !name_check("/dev/null", &mode, &error), "only regular files");
	check(!name_check("/dev/null/x", &mode, &error), "no name below what is no folder");
	check_text(error.text, "/dev/null/x: Not a directory", "and the error says so");
	check(unlink(path) == 0, "the file is removed");
}

/* Names at the limit of what a system takes. */
static void test_long_names(void)
{
	static char long_name[FILE_NAME + 1];
	char link_name[sizeof folder + 16], name[FILE_NAME];
	struct new_file file = {NULL, NULL, NULL, 0, false, -1};
	struct arena arena = {0}, none = {.limit = 1};
	struct error error = {""};

	memset(long_name, 'a', FILE_NAME);
	check(!file_name(&file, long_name, &arena, &error) && strstr(error.text, strerror(ENAMETOOLONG)),
	      "a file whose name is too long");
	long_name[FILE_NAME - 2] = '\0';
	snprintf(link_name, sizeof link_name, "%s/link", folder);
	if (symlink(long_name, link_name) == 0) {
		snprintf(name, sizeof name, "%s", link_name);
		check(!name_follow(name, &error) && strstr(error.text, strerror(ENAMETOOLONG)),
		      "a link beside its folder's name is too long");
		check(unlink(link_name) == 0, "the link is removed");
	} else {
		check(true, "a long link # SKIP this file system has none");
	}
	check(!file_name(&file, link_name, &none, &error) && strstr(error.text, "no memory"),
	      "a file's names without memory");
	arena_free(&arena);
	arena_free(&none);
}

static bool take_file(struct new_file *file, struct arena *arena, struct error *error)
{
	bool busy = false;

	char *given = copy(path);
	bool ok = file_name(file, given, arena, error) && file_open(file, &busy, error) && !busy;

	free(given);
	return ok;
}

/* What a run that died has left is taken over; a name that was taken away meanwhile is noticed. */
static void test_new_file(void)
{
	struct arena arena = {0};
	struct new_file file = {NULL, NULL, NULL, 0, false, -1};
	struct error error = {""};
	struct stat here;
	struct str text;
	char part[sizeof path + 8];
	bool ok;

	file_write("old", 3);
	snprintf(part, sizeof part, "%s.part", path);
	ok = take_file(&file, &arena, &error);
	check(ok && strcmp(file.part, part) == 0 && strcmp(file.folder, folder) == 0, "FILE.part is open");
	check(part_is(&file, &here), "it is what stands there");
	check(unlink(part) == 0 && !part_is(&file, &here), "it was removed");
	check(rename(path, part) == 0 && !part_is(&file, &here), "another one is there");
	close(file.fd);
	ok = take_file(&file, &arena, &error) && write(file.fd, "new", 3) == 3 && file_store(&file, &error);
	check(ok && !file.open && access(part, F_OK) != 0, "what was left over is taken over, and gone at the end");
	check(file_text(&arena, path, &text, &error) && str_is(text, "new"), "the file has the new bytes only");
	ok = take_file(&file, &arena, &error);
	file_drop(&file);
	check(ok && access(part, F_OK) != 0 && access(path, F_OK) == 0, "given up: the old file stays");
	arena_free(&arena);
}

/* FILE.part is nobody else's, from its first moment. */
static void test_new_file_is_ours(void)
{
	static const struct {
		mode_t old, mask, created, wanted; /* old: 0 where there is no file */
	} modes[] = {{0600, 022, 0600, 0600}, {0640, 077, 0600, 0640}, {0, 022, 0644, 0644}, {0, 077, 0600, 0600}};
	struct arena arena = {0};
	struct new_file file = {NULL, NULL, NULL, 0, false, -1};
	struct error error = {""};
	struct stat status;
	char part[sizeof path + 8], other[sizeof path + 8];
	bool busy = false, ok;
	size_t i;

	for (i = 0; i < countof(modes); i++) {
		mode_t mask;
		file_write("old", 3);
		ok = modes[i].old ? chmod(path, modes[i].old) == 0 : unlink(path) == 0;
		mask = umask(modes[i].mask);
		memset(&status, 0, sizeof status);
		ok = ok && file_name(&file, path, &arena, &error) && part_take(&file, &busy, &error) &&
		     fstat(file.fd, &status) == 0;
		check(ok && (status.st_mode & 0777) == modes[i].created, "in place of %o, umask %o: created with %o",
		      (unsigned)modes[i].old, (unsigned)modes[i].mask, (unsigned)(status.st_mode & 0777));
		file_drop(&file);
		check(take_file(&file, &arena, &error) && fstat(file.fd, &status) == 0 &&
			      (status.st_mode & 0777) == modes[i].wanted,
		      "... and then it has %o", (unsigned)(status.st_mode & 0777));
		file_drop(&file);
		umask(mask);
	}
	file_write("old", 3);
	snprintf(part, sizeof part, "%s.part", path);
	snprintf(other, sizeof other, "%s.other", path);
	check(rename(path, other) == 0 && link(other, part) == 0, "FILE.part is another file too");
	check(!take_file(&file, &arena, &error) && strstr(error.text, part) && strstr(error.text, "second name"),
	      "... and is refused: %s", error.text);
	file_drop(&file);
	check(stat(part, &status) == 0 && status.st_size == 3, "... as it was");
	check(unlink(other) == 0, "the other name is gone");
	if (geteuid() == 0) {
		check(chown(part, 1, 1) == 0 && !take_file(&file, &arena, &error) && strstr(error.text, part),
		      "FILE.part is another user's");
		file_drop(&file);
		check(stat(part, &status) == 0 && status.st_size == 3, "... and stays as it was");
	} else {
		check(true, "FILE.part is another user's # SKIP only root can give a file away");
	}
	check(unlink(part) == 0, "it is removed");
	arena_free(&arena);
}

/* Not to know how much was written is no reason to take it for nothing. */
static void test_unknown_length(void)
{
	static struct tap tap;
	struct error fault = {""};
	int ends[2];

	check(pipe(ends) == 0, "a pipe, which has no position");
	tap.output = (struct new_file){"out", "out.part", ".", 0, true, ends[1]};
	check(!store_files(&tap, &fault), "an output of unknown length is an error");
	check(strstr(fault.text, "out.part: ") && strstr(fault.text, strerror(ESPIPE)), "... that says why");
	close(ends[0]);
	close(ends[1]);
}

/* ---- Words for what there is ---- */

static void test_words(void)
{
	static const struct {
		int number;
		const char *text;
	} faults[] = {{0, ""},
		      {EPIPE, "whoever read it has gone"},
		      {EBADF, "it is closed, or open for reading only"},
		      {ENOMEM, "no memory"},
		      {ENOSPC, "No space left on device"}};
	static const char *const windows[] = {"", "month", "day", "30 days", "30 whole days"};
	struct singer singer = {0};
	size_t i;

	for (i = 0; i < countof(faults); i++) {
		singer.write_errno = faults[i].number;
		check_text(output_fault(&singer), faults[i].text, "what became of standard output");
	}
	for (i = 0; i < countof(windows); i++)
		check_text(window_name((enum window)i), windows[i], "a window's name");
}

/* ---- Signals and exit status ---- */

static void test_signals(void)
{
	static const struct {
		enum sync_result result;
		int status;
	} statuses[] = {{SYNC_DONE, 0}, {SYNC_PARTLY, 1}, {SYNC_ENDED, 1}, {SYNC_STOPPED, 128 + SIGTERM}};
	size_t i;

	stop_signal = 0;
	on_stop(SIGTERM);
	check(stop_signal == SIGTERM && alarm(0) > 0, "a signal is kept, and the alarm set");
	on_stop(SIGINT);
	check(stop_signal == SIGTERM, "the first signal counts");
	check(alarm(0) == 0, "a second signal does not put the alarm off");
	for (i = 0; i < countof(statuses); i++)
		check(exit_status(statuses[i].result) == statuses[i].status, "exit status %d", statuses[i].status);
	stop_signal = 0;
}

/* An alarm ends a run that was told to stop, unless it writes just then. */
static void test_alarm(void)
{
	static const struct {
		sig_atomic_t writes, seen;
		int status;
	} cases[] = {{1, 1, 0}, {2, 1, 0}, {2, 2, 128 + SIGTERM}};
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		int status = -1;
		pid_t child = fork();
		if (child == 0) {
			stop_signal = SIGTERM;
			singer_writes = cases[i].writes;
			writes_seen = cases[i].seen;
			on_alarm(SIGALRM);
			_exit(0);
		}
		check(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
			      WEXITSTATUS(status) == cases[i].status,
		      "an alarm after %d writes, %d at the last one", (int)cases[i].writes, (int)cases[i].seen);
	}
}

/* ---- What is shown ---- */

static size_t terminal_columns;
static int64_t clock_ms;
static char progress_text[300];

size_t fake_log_width(void)
{
	return terminal_columns;
}

int64_t fake_log_clock_ms(void)
{
	return clock_ms;
}

void fake_log_progress(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(progress_text, sizeof progress_text, format, list);
	va_end(list);
}

/* What is written to a descriptor goes into the test's file from here on; returns a copy of the descriptor. */
static int catch_begin(int fd)
{
	int kept = dup(fd), file = open(file_write("", 0), O_WRONLY | O_APPEND);

	fflush(stdout);
	dup2(file, fd);
	close(file);
	return kept;
}

/* As it was before; returns what was written. */
static struct str catch_end(int fd, int kept, struct arena *arena)
{
	struct error error = {""};
	struct str text = {"", 0};

	fflush(stdout);
	dup2(kept, fd);
	close(kept);
	check(file_text(arena, path, &text, &error), "what was written is read: %s", error.text);
	return text;
}

/* What a function writes to a descriptor. */
static void check_shown(int fd, void (*function)(void), const char *expected, const char *name)
{
	struct arena arena = {0};
	int kept = catch_begin(fd);
	struct str text;

	function();
	text = catch_end(fd, kept, &arena);
	check_bytes(text.s, text.n, expected, name);
	arena_free(&arena);
}

static struct http *silent_client(void)
{
	struct http_options options = {.base_url = "http://127.0.0.1",
				       .token = "t",
				       .user_agent = "u",
				       .connections = 1,
				       .attempts = 1,
				       .request_timeout_ms = 1,
				       .backoff_ms = 1};
	struct error error = {""};
	struct http *http = http_open(&options, &error);

	check(http != NULL, "a client that sends nothing: %s", error.text);
	return http;
}

static void show_options(void)
{
	print_text("  --long", "with a text behind it", 9);
	print_text("  --longer", "with a text below it", 9);
}

static void show_rows(void)
{
	static const char text[] = "a text of 20 letters and more";

	terminal_columns = 50;
	log_row(6, "stream", "yes", "200", text);
	terminal_columns = 49;
	log_row(6, "stream", "yes", "200", text);
	terminal_columns = 0;
}

static void show_access(void)
{
	static struct tap tap;
	static struct probe probes[STREAMS];

	tap.selection[0].selected = tap.selection[STREAMS - 1].selected = true;
	probes[0].access = ACCESS_YES;
	probes[0].status = 200;
	snprintf(probes[0].text, sizeof probes[0].text, "id=1");
	log_access(&tap, probes);
}

static void test_shown(void)
{
	struct text access = {"", 0};
	int width = (int)strlen(streams[STREAMS - 1].singer.name);

	check_shown(STDOUT_FILENO, show_options,
		    "  --long with a text behind it\n"
		    "  --longer\n"
		    "         with a text below it\n",
		    "an option that leaves a blank before its text, and one that does not");
	check_shown(STDERR_FILENO, show_rows,
		    "INFO stream yes       200    a text of 20 letters\n"
		    "INFO                         and more\n"
		    "INFO stream yes       200    a text of 20 letters and more\n",
		    "a row on a terminal that is wide enough for two lines, and on one that is not");
	if (width < (int)strlen(streams[0].singer.name))
		width = (int)strlen(streams[0].singer.name);
	add(&access, "INFO %-*s access    status first row's key, or why not\n", width, "stream");
	add(&access, "INFO %-*s yes       200    id=1\n", width, streams[0].singer.name);
	add(&access, "INFO %-*s not tried -      \n", width, streams[STREAMS - 1].singer.name);
	check_shown(STDERR_FILENO, show_access, access.s, "the table of the first and the last stream");
}

static void test_progress(void)
{
	static struct singer singer;

	progress.http = silent_client();
	progress.singer = &singer;
	progress.selected = 9;
	progress.begun_ms = clock_ms = 1000;
	terminal_columns = 80;
	on_progress(NULL, "users", 3, 7);
	check_text(progress_text, "3/9 users: 7 rows, 0 requests, 0 rows/s, 0 s waited, 0 s",
		   "progress before any time has passed");
	clock_ms = 3000;
	singer.records = 500;
	on_tick(NULL);
	check_text(progress_text, "3/9 users: 7 rows, 0 requests, 250 rows/s, 0 s waited, 2 s", "... and after 2 s");
	terminal_columns = 0;
	http_close(progress.http);
	progress.http = NULL;
}

/* ---- The last line ---- */

static const struct {
	const char *name;
	enum sync_result result;
	struct sync_totals totals;
	const char *fault;
	int write_errno;
	const char *expected;
} summaries[] = {
	{"all", SYNC_DONE, {5, 5, 0, 0, {""}}, "", 0, "INFO Sync done: 5 of 5 streams (0 skipped, 0 failed)"},
	{"not all",
	 SYNC_PARTLY,
	 {9, 4, 2, 3, {"x: failed"}},
	 "",
	 0,
	 "ERROR Sync done, but not all of it: 4 of 9 streams (2 skipped, 3 failed); x: failed"},
	{"ended",
	 SYNC_ENDED,
	 {9, 1, 0, 1, {"no memory"}},
	 "",
	 0,
	 "CRITICAL Sync ended early: 1 of 9 streams (0 skipped, 1 failed); no memory"},
	{"a fault of the output comes first",
	 SYNC_LATER,
	 {9, 1, 0, 1, {"x: failed"}},
	 "full",
	 0,
	 "CRITICAL Sync ended early: 1 of 9 streams (0 skipped, 1 failed); full"},
	{"a target that is gone",
	 SYNC_ENDED,
	 {9, 1, 0, 0, {""}},
	 "gone",
	 EPIPE,
	 "WARNING Sync ended early: 1 of 9 streams (0 skipped, 0 failed); gone"},
	{"stopped",
	 SYNC_STOPPED,
	 {9, 1, 0, 1, {"x: failed"}},
	 "",
	 0,
	 "WARNING Sync stopped by a signal: 1 of 9 streams (0 skipped, 1 failed)"},
	{"stopped, and the output failed",
	 SYNC_STOPPED,
	 {9, 1, 0, 0, {""}},
	 "full",
	 0,
	 "WARNING Sync stopped by a signal: 1 of 9 streams (0 skipped, 0 failed); full"},
};

static void test_summary(void)
{
	static const char metrics[] =
		"INFO METRIC: {\"type\": \"gauge\", \"metric\": \"http_bytes_received\", \"value\": 0, \"tags\": {}}\n"
		"INFO METRIC: {\"type\": \"gauge\", \"metric\": \"http_bytes_decoded\", \"value\": 0, \"tags\": {}}\n";
	static const char figures[] = ", 7 records, 0 requests, 0 retries, 0 bytes (0 decoded), 12.3 s";
	static struct tap tap;
	struct http *http = silent_client();
	size_t i;

	for (i = 0; i < countof(summaries) && http; i++) {
		const char *reason = strstr(summaries[i].expected, "); ");
		size_t front = reason ? (size_t)(reason - summaries[i].expected) + 1 : strlen(summaries[i].expected);
		struct arena arena = {0};
		struct text wanted = {"", 0};
		struct str line;
		int kept;

		add(&wanted, "%s%.*s%s%s\n", metrics, (int)front, summaries[i].expected, figures,
		    summaries[i].expected + front);
		tap.singer.records = 7;
		tap.singer.write_errno = summaries[i].write_errno;
		kept = catch_begin(STDERR_FILENO);
		log_summary(&tap, http, summaries[i].result, &summaries[i].totals, summaries[i].fault, 12345678);
		line = catch_end(STDERR_FILENO, kept, &arena);
		check_bytes(line.s, line.n, wanted.s, summaries[i].name);
		arena_free(&arena);
	}
	http_close(http);
}

/* Whatever the machine's own settings say, a test must not depend on it. */
static void environment_clear(void)
{
	char name[64];
	size_t i, n;

	for (i = 0; i < KEYS; i++) {
		snprintf(name, sizeof name, "TAP_SEGMENT_%s", config_table[i].name);
		for (n = 0; name[n]; n++)
			if (name[n] >= 'a' && name[n] <= 'z')
				name[n] = (char)(name[n] - 'a' + 'A');
		unsetenv(name);
	}
	unsetenv("TAP_SEGMENT_ACCESS_TOKEN");
}

int main(void)
{
	environment_clear();
	if (!mkdtemp(folder)) {
		printf("Bail out! %s: %s\n", folder, strerror(errno));
		return 1;
	}
	test_command_lines();
	test_choices();
	test_documents();
	test_no_memory();
	test_no_memory_in_environment();
	test_pairs();
	test_environments();
	test_completions();
	test_variable_errors();
	test_foreign_variables();
	test_known_variables();
	test_levels();
	test_config_table();
	test_sync_options();
	test_state_files();
	test_files();
	test_file_limit();
	test_file_without_memory();
	test_file_holds();
	test_file_names();
	test_files_clash();
	test_links();
	test_long_names();
	test_new_file();
	test_new_file_is_ours();
	test_unknown_length();
	test_words();
	test_signals();
	test_alarm();
	log_secret(NULL); /* those of other tests are gone */
	test_shown();
	test_progress();
	test_summary();
	unlink(path);
	rmdir(folder);
	return check_done();
}
