/* tap.c - the program: options, configuration, files, signals, modes, exit code.  main is at the end.
 * What it does with them is elsewhere: streams.c walks the API, singer.c writes the messages. */
#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Beside 0, 1 and 128 + a signal's number. */
enum {
	EXIT_USAGE = 2,  /* wrong usage, configuration, catalog or state */
	EXIT_LATER = 3,  /* nothing could be done now: try later */
	EXIT_REFUSED = 4 /* nothing can be done until somebody acts */
};

/* ---- Option table ---- */

enum { CONFIG_FILES = 16 };

static const char standard_input[] = "standard input"; /* - as it is told of; known by its address */

struct options {
	const char *config[CONFIG_FILES];
	size_t configs;
	bool discover, about, version, help, dev;
	const char *catalog, *properties, *state, *select, *output, *state_file, *test, *format, *log_level,
		*log_format;
};

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_INPUT, OPTION_OUTPUT, OPTION_CONFIG }; /* files from INPUT on */

/* The levels' own names come first, in their order; the others are Python's. */
static const char *const log_levels[] = {"debug", "info",  "warning", "error", "critical",
					 "warn",  "fatal", "notset",  NULL};
static const enum log_level log_level_of[] = {LOG_DEBUG,    LOG_INFO,    LOG_WARNING,  LOG_ERROR,
					      LOG_CRITICAL, LOG_WARNING, LOG_CRITICAL, LOG_DEBUG};
static const char *const log_formats[] = {"plain", "json", NULL};
static const char *const formats[] = {"text", "json", "markdown", NULL};
static const char *const test_depths[] = {"all", "schema", NULL};

static const struct option {
	const char *name;
	char letter;
	enum option_kind kind;
	size_t at;                  /* of the field in struct options */
	const char *value;          /* what the value is called in --help; NULL: takes none */
	const char *absent;         /* stands for a value left out; NULL: it can't be */
	const char *const *choices; /* the values there are; NULL: any */
	const char *help;           /* NULL: not shown */
} option_table[] = {
	{"config", 'c', OPTION_CONFIG, 0, "FILE", NULL, NULL,
	 "the configuration, a JSON object; may be repeated, later ones win; - reads standard input, ENV the "
	 "environment "
	 "(TAP_SEGMENT_API_TOKEN, ...), which beats files"},
	{"catalog", 0, OPTION_INPUT, offsetof(struct options, catalog), "FILE", NULL, NULL,
	 "the catalog that selects streams and fields; without one, the streams of a plain run"},
	{"properties", 'p', OPTION_INPUT, offsetof(struct options, properties), "FILE", NULL, NULL,
	 "the same under its older name"},
	{"state", 's', OPTION_INPUT, offsetof(struct options, state), "FILE", NULL, NULL,
	 "the state of an earlier run, to go on from"},
	{"select", 0, OPTION_TEXT, offsetof(struct options, select), "RULES", NULL, NULL,
	 "streams and fields in place of the catalog's selection; see below"},
	{"output", 'o', OPTION_OUTPUT, offsetof(struct options, output), "FILE", NULL, NULL,
	 "messages go to FILE, which takes its name once it is whole; %Y%m%d and the like are the run's start"},
	{"state-file", 0, OPTION_OUTPUT, offsetof(struct options, state_file), "FILE", NULL, NULL,
	 "state to go on from, if it is there, and to be replaced once the output is in place"},
	{"log-level", 0, OPTION_TEXT, offsetof(struct options, log_level), "LEVEL", NULL, log_levels,
	 "debug, info, warning, error or critical; default TAP_SEGMENT_LOGLEVEL, LOGLEVEL, info"},
	{"log-format", 0, OPTION_TEXT, offsetof(struct options, log_format), "plain|json", NULL, log_formats,
	 "lines of the log as text, or as JSON objects"},
	{"discover", 'd', OPTION_FLAG, offsetof(struct options, discover), NULL, NULL, NULL,
	 "write the catalog; needs neither configuration nor network"},
	{"test", 0, OPTION_TEXT, offsetof(struct options, test), "all|schema", "all", test_depths,
	 "try each stream with one request and say which ones the token may read; schema: send nothing"},
	{"about", 0, OPTION_FLAG, offsetof(struct options, about), NULL, NULL, NULL,
	 "describe the tap: capabilities, settings, streams"},
	{"format", 0, OPTION_TEXT, offsetof(struct options, format), "text|json|markdown", NULL, formats,
	 "form of --about"},
	{"version", 0, OPTION_FLAG, offsetof(struct options, version), NULL, NULL, NULL, "print the version"},
	{"help", 'h', OPTION_FLAG, offsetof(struct options, help), NULL, NULL, NULL, "print this help"},
	{"dev", 0, OPTION_FLAG, offsetof(struct options, dev), NULL, NULL, NULL, NULL},
};

enum { OPTIONS = countof(option_table) };

/* What --help calls the options from that one on. */
static const struct {
	const char *first, *heading;
} option_groups[] = {
	{"config", "what to read"}, {"output", "where to write"}, {"discover", "what to do in place of a sync"}};

/* What only counts beside another option, and what does nothing beside one. */
static const struct {
	const char *name, *other;
	bool needed;
} option_pairs[] = {
	{"format", "about", true},      {"state-file", "output", true},    {"state-file", "state", false},
	{"discover", "catalog", false}, {"discover", "properties", false}, {"discover", "test", false},
	{"discover", "output", false},  {"about", "discover", false},      {"about", "test", false},
	{"about", "output", false},     {"test", "output", false},
};

/* An option that is none, or the beginning of several: names the nearest, or these. */
static void fail_option(struct error *error, struct str given, bool ambiguous)
{
	struct nearest nearest = {{NULL, 0}, 0, false};
	const char *before = "";
	size_t i;

	fail(error, "--%.*s: %s option", str_width(given, 64), given.s, ambiguous ? "ambiguous" : "unknown");
	for (i = 0; i < OPTIONS; i++) {
		nearest_try(&nearest, given, str_of(option_table[i].name));
		if (ambiguous && strncmp(option_table[i].name, given.s, given.n) == 0) {
			error_add(error, "%s --%s", *before ? before : ", the beginning of", option_table[i].name);
			before = " and of";
		}
	}
	if (!ambiguous && nearest.likely)
		error_add(error, "; did you mean --%s?", nearest.name.s);
	error_add(error, "%s --help lists them", !ambiguous && nearest.likely ? "" : ";");
}

/* The option of that name, or of which name[0..n) is the beginning and no other's. */
static const struct option *option_by_name(const char *name, size_t n, struct error *error)
{
	const struct option *found = NULL;
	struct str given = {name, n};
	size_t i, matches = 0;

	for (i = 0; i < OPTIONS; i++) {
		const struct option *o = &option_table[i];
		if (strncmp(o->name, name, n) != 0)
			continue;
		found = o;
		if (o->name[n] == '\0')
			return o;
		matches++;
	}
	if (matches == 1)
		return found;
	fail_option(error, given, matches > 0);
	return NULL;
}

static const struct option *option_by_letter(char letter, struct error *error)
{
	size_t i;

	for (i = 0; i < OPTIONS; i++)
		if (letter && option_table[i].letter == letter)
			return &option_table[i];
	fail(error, "-%c: unknown option; --help lists them", letter);
	return NULL;
}

static const char *const *choice_find(const char *const *choices, const char *value)
{
	for (; *choices; choices++)
		if (strcasecmp(*choices, value) == 0)
			return choices;
	return NULL;
}

/* Names the choices, since the help of an option need not. */
static bool wrong_choice(const struct option *o, const char *value, struct error *error)
{
	char list[ERROR_SIZE / 2] = "";
	size_t i, n = 0;

	for (i = 0; o->choices[i] && n < sizeof list; i++)
		n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", o->choices[i]);
	return fail(error, "--%s: %.64s: unknown; expected one of %s", o->name, value, list);
}

static bool option_apply(struct options *options, const struct option *o, const char *value, struct error *error)
{
	char *field = (char *)options + o->at;

	if (o->choices && value) {
		const char *const *choice = choice_find(o->choices, value);
		if (!choice)
			return wrong_choice(o, value, error);
		value = *choice;
	}
	if (o->kind >= OPTION_INPUT && *value == '\0')
		return fail(error, "--%s: expects a file's name", o->name);
	if (o->kind == OPTION_OUTPUT && strcmp(value, "-") == 0)
		return fail(error, "--%s: \"-\" is not a file; standard output is what is written without --output",
			    o->name);
	switch (o->kind) {
	case OPTION_FLAG: *(bool *)field = true; break;
	case OPTION_TEXT:
	case OPTION_INPUT:
	case OPTION_OUTPUT: memcpy(field, &value, sizeof value); break;
	case OPTION_CONFIG:
		if (options->configs == CONFIG_FILES)
			return fail(error, "--config: given more than %d times", CONFIG_FILES);
		if (value[strspn(value, " \t\r\n")] == '{') /* with the token in it */
			return fail(error, "--config: expected the name of a file, not the configuration itself");
		options->config[options->configs++] = strcmp(value, "-") == 0 ? standard_input : value;
		break;
	}
	return true;
}

static bool is_value(const char *arg)
{
	return arg && (arg[0] != '-' || arg[1] == '\0');
}

/* One option at argv[*i]; *i moves past it and its value.  A value that begins with '-' must be joined to its option, as
 * with argparse: else a forgotten value would swallow the next option. */
static bool option_read(struct options *options, char **argv, int *i, struct error *error)
{
	const char *arg = argv[(*i)++], *inline_value = NULL;
	const struct option *o;

	if (arg[0] != '-' || arg[1] == '\0')
		return fail(error, "%s: unexpected argument; --help lists the options", arg);
	if (arg[1] == '-') {
		size_t n = strcspn(arg + 2, "=");
		o = option_by_name(arg + 2, n, error);
		if (arg[2 + n] == '=')
			inline_value = arg + 2 + n + 1;
	} else {
		o = option_by_letter(arg[1], error);
		if (arg[2])
			inline_value = arg + 2 + (arg[2] == '=');
	}
	if (!o)
		return false;
	if (!o->value && inline_value)
		return fail(error, "--%s: takes no value", o->name);
	if (o->value && !inline_value && is_value(argv[*i]) && (!o->absent || choice_find(o->choices, argv[*i])))
		inline_value = argv[(*i)++];
	if (o->value && !inline_value)
		inline_value = o->absent;
	if (o->value && !inline_value)
		return fail(error, "--%s: needs a value: %s", o->name, o->value);
	return option_apply(options, o, inline_value, error);
}

static bool option_given(const struct options *options, const char *name)
{
	const struct option *o = option_table;
	const char *field, *text;

	while (strcmp(o->name, name) != 0)
		o++;
	field = (const char *)options + o->at;
	if (o->kind == OPTION_FLAG)
		return *(const bool *)field;
	memcpy(&text, field, sizeof text);
	return text != NULL;
}

/* Whoever asks for help or the version gets it, whatever stands beside that. */
static bool options_agree(const struct options *options, struct error *error)
{
	size_t i;

	for (i = 0; i < countof(option_pairs) && !options->help && !options->version; i++) {
		const char *name = option_pairs[i].name, *other = option_pairs[i].other;
		if (!option_given(options, name) || option_given(options, other) == option_pairs[i].needed)
			continue;
		if (option_pairs[i].needed)
			return fail(error, "--%s: does nothing without --%s", name, other);
		return fail(error, "--%s: does not go together with --%s; leave one of them out", name, other);
	}
	return true;
}

static bool options_read(struct options *options, int argc, char **argv, struct error *error)
{
	int i = 1;

	while (i < argc && strcmp(argv[i], "--") != 0)
		if (!option_read(options, argv, &i, error))
			return false;
	if (i + 1 < argc)
		return fail(error, "%s: unexpected argument; --help lists the options", argv[i + 1]);
	return options_agree(options, error);
}

/* ---- Config table ---- */

enum key {
	KEY_API_TOKEN,
	KEY_START_DATE,
	KEY_END_DATE,
	KEY_USER_AGENT,
	KEY_REQUEST_TIMEOUT,
	KEY_REGION,
	KEY_BASE_URL,
	KEY_PAGE_SIZE,
	KEY_MAX_CONNECTIONS,
	KEY_MAX_ATTEMPTS,
	KEY_CA_FILE,
	KEY_PROXY,
	KEY_UNIQUE_KEYS,
	KEY_FAIL_ON_FORBIDDEN,
	KEY_ACTIVATE_VERSION,
	KEYS
};

enum value_type { TYPE_TEXT, TYPE_FILE, TYPE_SECRET, TYPE_TIME, TYPE_INTEGER, TYPE_SECONDS, TYPE_BOOL, TYPE_REGION };

static const struct config_key {
	const char *name, *alias;
	enum value_type type;
	int64_t least, most; /* of a number */
	bool required, zero_is_default;
	const char *fallback; /* default, as text; NULL: none */
	const char *help;
} config_table[KEYS] = {
	[KEY_API_TOKEN] = {"api_token", "access_token", TYPE_SECRET, .required = true,
			   .help = "token of the Segment Public API"},
	[KEY_START_DATE] = {"start_date", NULL, TYPE_TIME, .required = true,
			    .help = "where a stream without a bookmark begins"},
	[KEY_END_DATE] = {"end_date", NULL, TYPE_TIME, .help = "rows from here on are left out"},
	[KEY_USER_AGENT] = {"user_agent", NULL, TYPE_TEXT, .fallback = "tap-segment/" VERSION,
			    .help = "User-Agent of each request"},
	[KEY_REQUEST_TIMEOUT] = {"request_timeout", NULL, TYPE_SECONDS, 1, 86400, .zero_is_default = true,
				 .fallback = "300", .help = "seconds that a request may take"},
	[KEY_REGION] = {"region", NULL, TYPE_REGION, .fallback = "us", .help = "the workspace's region: us or eu"},
	[KEY_BASE_URL] = {"base_url", NULL, TYPE_TEXT, .help = "address of the API, in place of the region's"},
	[KEY_PAGE_SIZE] = {"page_size", NULL, TYPE_INTEGER, 1, 1000,
			   .help = "rows a page, in place of each stream's own choice"},
	[KEY_MAX_CONNECTIONS] = {"max_connections", NULL, TYPE_INTEGER, 1, HTTP_CONNECTIONS, .fallback = "4",
				 .help = "connections, and so requests, at once"},
	[KEY_MAX_ATTEMPTS] = {"max_attempts", NULL, TYPE_INTEGER, 1, 20, .fallback = "8",
			      .help = "tries of a request that fails in a way that may pass"},
	[KEY_CA_FILE] = {"ca_file", NULL, TYPE_FILE, .help = "PEM file of trusted roots, in place of the system's"},
	[KEY_PROXY] = {"proxy", NULL, TYPE_TEXT,
		       .help = "http://[user:password@]host:port, in place of https_proxy and no_proxy"},
	[KEY_UNIQUE_KEYS] = {"unique_keys", NULL, TYPE_BOOL, .fallback = "false",
			     .help = "key_properties that identify each row, in place of the documented ones"},
	[KEY_FAIL_ON_FORBIDDEN] = {"fail_on_forbidden", NULL, TYPE_BOOL, .fallback = "false",
				   .help = "exit 1 when a stream is skipped for lack of permission"},
	[KEY_ACTIVATE_VERSION] = {"activate_version", NULL, TYPE_BOOL, .fallback = "false",
				  .help = "let targets drop the rows of full tables that Segment no longer has"},
};

/* text: NULL where not set; number: of an integer, seconds (milliseconds), a boolean (0, 1), a time (microseconds).
 * variable: of the environment, that the text comes from; NULL: it comes from elsewhere. */
struct config {
	struct {
		const char *text, *variable;
		int64_t number;
	} value[KEYS];
};

/* The key of that name, or KEYS. */
static enum key key_find(struct json name)
{
	size_t i;

	for (i = 0; i < KEYS; i++) {
		const struct config_key *k = &config_table[i];
		if (json_equals(name, str_of(k->name)) || (k->alias && json_equals(name, str_of(k->alias))))
			break;
	}
	return (enum key)i;
}

static bool integer_read(const struct config_key *k, const char *text, int64_t *number)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (end > text && *end == '.' && end[1]) /* 4.0 is an integer for JSON Schema */
		end += 1 + strspn(end + 1, "0");
	if (end == text || *end || errno || value < k->least || value > k->most)
		return false;
	*number = value;
	return true;
}

/* Seconds with or without decimals, of which those past the millisecond are cut. */
static bool seconds_read(const struct config_key *k, const char *text, int64_t *ms)
{
	int64_t whole = 0, fraction = 0, weight = 100;
	const char *p = text;
	bool zero = !text[strspn(text, "0.")];

	for (; is_digit(*p) && whole <= k->most; p++)
		whole = whole * 10 + (*p - '0');
	if (p == text || (*p == '.' && !is_digit(p[1])))
		return false;
	if (*p == '.')
		for (p++; is_digit(*p); p++, weight /= 10)
			fraction += weight * (*p - '0');
	*ms = whole * 1000 + fraction;
	return *p == '\0' && *ms <= k->most * 1000 && (*ms >= k->least * 1000 || (zero && k->zero_is_default));
}

/* The words that environments and configuration files use for a boolean. */
static bool bool_read(const char *text, int64_t *number)
{
	static const struct {
		const char *word;
		int64_t number;
	} words[] = {{"true", 1}, {"1", 1}, {"yes", 1}, {"on", 1}, {"false", 0}, {"0", 0}, {"no", 0}, {"off", 0}};
	size_t i;

	for (i = 0; i < countof(words); i++)
		if (strcasecmp(words[i].word, text) == 0) {
			*number = words[i].number;
			return true;
		}
	return false;
}

/* A wrong value may be the token in another's place, and is not to be shown then: what is long and no attempt at a time. */
static bool may_be_token(const char *text)
{
	enum { TOKEN_LEAST = 20 };

	return strlen(text) >= TOKEN_LEAST && text[strspn(text, "0123456789-+:.,TZtz ")];
}

/* text: the value that is wrong, NULL where it is not even a text.  where: file and key, or the variable. */
static bool wrong_value(const char *where, const struct config_key *k, const char *text, struct error *error)
{
	int64_t unused;

	switch (k->type) {
	case TYPE_TEXT:
	case TYPE_FILE:
	case TYPE_SECRET: return fail(error, "%s: expected a string", where);
	case TYPE_TIME:
		fail(error, "%s: ", where);
		if (text && !may_be_token(text))
			error_add(error, "\"%.40s\": ", text);
		if (text)
			error_add(error, "%s; ", time_read(str_of(text), &unused));
		error_add(error, "expected a date or date-time, such as 2026-01-31 or 2026-01-31T00:00:00Z");
		return false;
	case TYPE_INTEGER:
		return fail(error, "%s: expected an integer from %lld to %lld", where, (long long)k->least,
			    (long long)k->most);
	case TYPE_SECONDS:
		return fail(error, "%s: expected a number of seconds from %lld to %lld", where, (long long)k->least,
			    (long long)k->most);
	case TYPE_BOOL: return fail(error, "%s: expected true or false", where);
	case TYPE_REGION: return fail(error, "%s: expected us or eu", where);
	}
	return false;
}

static bool is_printable(const char *text)
{
	while (*text >= ' ' && *text <= '~')
		text++;
	return *text == '\0';
}

/* A secret as it is sent: without the scheme of its header and the blanks and line ends that copying brings along.  Known
 * to the log in both spellings before anything else can be said.  NULL: no memory. */
static const char *secret_clean(const char *given, struct arena *arena)
{
	struct str s = str_trim(str_of(given)), scheme = {s.s, s.n < 6 ? s.n : 6};
	const char *clean;

	if (str_is_word(scheme, "bearer") && (s.n == scheme.n || s.s[scheme.n] == ' ' || s.s[scheme.n] == '\t')) {
		str_skip(&s, scheme.n);
		s = str_trim(s);
	}
	clean = arena_string(arena, s);
	log_secret(given);
	log_secret(clean);
	return clean;
}

static bool is_quoted(const char *text)
{
	size_t n = strlen(text);

	return n > 1 && (text[0] == '"' || text[0] == '\'' || text[0] == '`') && text[n - 1] == text[0];
}

/* The number that a text stands for, 0 for one that is none. */
static bool value_read(const struct config_key *k, const char *text, int64_t *number)
{
	*number = 0;
	switch (k->type) {
	case TYPE_FILE:
	case TYPE_TEXT:
	case TYPE_SECRET: return true;
	case TYPE_TIME: return time_parse(str_of(text), number);
	case TYPE_INTEGER: return integer_read(k, text, number);
	case TYPE_SECONDS: return seconds_read(k, text, number);
	case TYPE_BOOL: return bool_read(text, number);
	case TYPE_REGION: return segment_region_url(text) != NULL;
	}
	return false;
}

/* Takes one value as text, whatever it was before.  where: file and key, or the variable, for errors.  The text stays the
 * caller's, and must live as long as the configuration. */
static bool config_set(struct config *config, enum key key, const char *text, const char *where, struct arena *arena,
		       struct error *error)
{
	const struct config_key *k = &config_table[key];
	int64_t number = 0;

	if (k->type == TYPE_SECRET && !(text = secret_clean(text, arena)))
		return fail(error, "%s: no memory", where);
	config->value[key].variable = NULL;
	if (*text == '\0') { /* how a settings form leaves something out */
		config->value[key].text = NULL;
		config->value[key].number = 0;
		return true;
	}
	/* These values are not shown: they may hold a secret. */
	if ((k->type == TYPE_SECRET || k->type == TYPE_TEXT) && !is_printable(text))
		return fail(error, "%s: holds a control character or a byte that is not ASCII", where);
	if (k->type == TYPE_SECRET && is_quoted(text))
		return fail(error, "%s: stands in quotes, which are no part of it; take them away", where);
	if (!value_read(k, text, &number))
		return wrong_value(where, k, text, error);
	if (k->zero_is_default && number == 0)
		return config_set(config, key, k->fallback, where, arena, error);
	config->value[key].text = text;
	config->value[key].number = number;
	return true;
}

/* A string is taken for every type, since settings often pass through an environment; a number or boolean for its own. */
static bool config_set_json(struct config *config, enum key key, struct json value, const char *where,
			    struct arena *arena, struct error *error)
{
	enum value_type type = config_table[key].type;
	enum json_type is = json_type(value);
	struct str string = json_token(value);
	const char *text;

	if (is == JSON_NULL)
		return config_set(config, key, "", where, arena, error);
	if (is != JSON_STRING && !(is == JSON_NUMBER && (type == TYPE_INTEGER || type == TYPE_SECONDS)) &&
	    !(is == JSON_BOOL && type == TYPE_BOOL))
		return wrong_value(where, &config_table[key], NULL, error);
	if (is == JSON_STRING && !json_string(value, arena, &string))
		return fail(error, "%s: no memory", where);
	if (memchr(string.s, '\0', string.n))
		return fail(error, "%s: holds a NUL character", where);
	text = arena_string(arena, string);
	return text ? config_set(config, key, text, where, arena, error) : fail(error, "%s: no memory", where);
}

/* A settings form writes null, or nothing between quotes, for what is not filled in. */
static bool says_nothing(struct json value)
{
	return json_type(value) <= JSON_NULL || (json_type(value) == JSON_STRING && !str_trim(json_token(value)).n);
}

/* Such a value takes back what an earlier file has set; not what stands under the key's other name. */
static bool is_passed_over(struct json document, const struct json_each *it, const struct config_key *k)
{
	return says_nothing(it->value) && k->alias &&
	       (json_equals(it->key, str_of(k->alias)) || !says_nothing(json_get(document, k->alias)));
}

/* The members of a document, either the secrets or all others. */
static bool config_take(struct config *config, struct json document, const char *source, bool secrets,
			struct arena *arena, struct error *error)
{
	struct json_each it;

	for (it = json_each(document); json_next(&it);) {
		enum key key = key_find(it.key);
		char where[ERROR_SIZE / 2];

		if (key == KEYS || (config_table[key].type == TYPE_SECRET) != secrets)
			continue;
		if (is_passed_over(document, &it, &config_table[key]))
			continue;
		snprintf(where, sizeof where, "%s: %s", source, config_table[key].name);
		if (!config_set_json(config, key, it.value, where, arena, error))
			return false;
	}
	return true;
}

/* What the Meltano SDK's taps do to rows on the way.  Whoever asks for it may count on it, to mask data say, so it is not
 * passed over. */
static const struct {
	const char *begin, *instead; /* the key, or its beginning if it ends in '_' */
} foreign_keys[] = {
	{"stream_maps",
	 "--select or a catalog leaves streams and fields out; Meltano's mappers, or the target, change rows"},
	{"stream_map_config", "Meltano's mappers, or the target, change rows"},
	{"faker_config", "--select or a catalog leaves fields out; Meltano's mappers make others up"},
	{"flattening_", "targets flatten objects, those of the Meltano SDK by the same settings"},
};

/* false: the name is one of those, and the error says what does it in the tap's place. */
static bool key_is_ours(struct str name, const char *source, struct error *error)
{
	size_t i;

	for (i = 0; i < countof(foreign_keys); i++) {
		struct str begin = str_of(foreign_keys[i].begin), head = {name.s, begin.n};
		bool open = begin.s[begin.n - 1] == '_';
		if (open ? name.n > begin.n && str_equal(head, begin) : str_equal(name, begin))
			return fail(error,
				    "%s: %.*s: this tap does not do that, and so would write rows as they are; %s",
				    source, str_width(name, 64), name.s, foreign_keys[i].instead);
	}
	return true;
}

/* A null, an empty object and the like is how a form leaves something out. */
static bool is_left_out(struct json value)
{
	struct str text = json_token(value);
	struct json_each it = json_each(value);

	switch (json_type(value)) {
	case JSON_STRING: return !text.n;
	case JSON_BOOL: return str_is(text, "false");
	case JSON_OBJECT:
	case JSON_ARRAY: return !json_next(&it);
	default: return json_type(value) == JSON_NULL;
	}
}

static bool keys_are_ours(struct json document, const char *source, struct error *error)
{
	struct json_each it;

	for (it = json_each(document); json_next(&it);)
		if (!is_left_out(it.value) && !key_is_ours(json_token(it.key), source, error))
			return false;
	return true;
}

/* Secrets first: an error shows other values. */
static bool config_from_json(struct config *config, struct json document, const char *source, struct arena *arena,
			     struct error *error)
{
	if (json_type(document) != JSON_OBJECT)
		return fail(error,
			    "%s: expected a JSON object such as {\"api_token\": \"...\", \"start_date\": \"...\"}",
			    source);
	return config_take(config, document, source, true, arena, error) &&
	       config_take(config, document, source, false, arena, error) && keys_are_ours(document, source, error);
}

/* Every variable that is read, but those of the configuration: TAP_SEGMENT_ and a key's name in upper case. */
enum variable { ENV_LOG_LEVEL, ENV_LOG_CONFIG, ENV_CA_FILE, ENV_CA_FOLDER, ENV_PROXY, ENV_NO_PROXY, VARIABLES };

static const struct {
	const char *names[4]; /* the first that is set counts */
} environment_table[VARIABLES] = {
	[ENV_LOG_LEVEL] = {{"TAP_SEGMENT_LOGLEVEL", "LOGLEVEL"}},
	[ENV_LOG_CONFIG] = {{"SINGER_SDK_LOG_CONFIG"}},
	[ENV_CA_FILE] = {{"SSL_CERT_FILE"}},
	[ENV_CA_FOLDER] = {{"SSL_CERT_DIR"}},
	[ENV_PROXY] = {{"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}},
	[ENV_NO_PROXY] = {{"no_proxy", "NO_PROXY"}},
};

/* An empty variable is how an environment leaves something out: NULL, as for one that is not set. */
static const char *variable_text(const char *name)
{
	const char *text = getenv(name);

	return text && *text ? text : NULL;
}

/* *name: the variable that holds the text; the row's first where none does.  It may be NULL. */
static const char *environment(enum variable row, const char **name)
{
	const char *const *names = environment_table[row].names, *text = NULL;
	size_t i;

	for (i = 0; i < countof(environment_table[row].names) && names[i] && !text; i++)
		text = variable_text(names[i]);
	if (name)
		*name = names[text ? i - 1 : 0];
	return text;
}

#define VARIABLE_PREFIX "TAP_SEGMENT_"

/* A name in upper case with the prefix: that of a configuration key's variable. */
struct variable_name {
	char text[64];
};

static const char *variable_name(const char *key, struct variable_name *name)
{
	size_t n = strlen(VARIABLE_PREFIX);

	memcpy(name->text, VARIABLE_PREFIX, n);
	for (; *key && n < sizeof name->text - 1; key++)
		name->text[n++] = (char)(*key >= 'a' && *key <= 'z' ? *key - 'a' + 'A' : *key);
	name->text[n] = '\0';
	return name->text;
}

static bool config_from_environment(struct config *config, struct arena *arena, struct error *error)
{
	struct variable_name name;
	size_t i;

	for (i = 0; i < KEYS; i++) {
		const struct config_key *k = &config_table[i];
		const char *text = variable_text(variable_name(k->name, &name));
		if (!text && k->alias)
			text = variable_text(variable_name(k->alias, &name));
		if (!text)
			continue;
		if (!config_set(config, (enum key)i, text, name.text, arena, error))
			return false;
		config->value[i].variable = arena_string(arena, str_of(name.text));
		if (!config->value[i].variable)
			return fail(error, "%s: no memory", name.text);
	}
	return true;
}

/* Puts defaults where nothing is set, and misses what is required. */
static bool config_complete(struct config *config, const char *source, struct arena *arena, struct error *error)
{
	size_t i;

	for (i = 0; i < KEYS; i++) {
		const struct config_key *k = &config_table[i];
		if (config->value[i].text)
			continue;
		if (k->required)
			return fail(error, "%s: %s: required, but missing (%s)", source, k->name, k->help);
		if (k->fallback && !config_set(config, (enum key)i, k->fallback, "default", arena, error))
			return false;
	}
	return true;
}

/* The key that a mistyped one may have been meant to be; NULL: none is like it. */
static const char *key_nearest(struct str name)
{
	struct nearest nearest = {{NULL, 0}, 0, false};
	size_t i;

	for (i = 0; i < KEYS; i++) {
		nearest_try(&nearest, name, str_of(config_table[i].name));
		if (config_table[i].alias)
			nearest_try(&nearest, name, str_of(config_table[i].alias));
	}
	return nearest.likely ? nearest.name.s : NULL;
}

static void warn_of_keys(struct json document, const char *source)
{
	struct json_each it;

	for (it = json_each(document); json_next(&it);) {
		struct str key = json_token(it.key);
		const char *nearest;

		if (key_find(it.key) < KEYS)
			continue;
		nearest = key_nearest(key);
		log_line(LOG_WARNING, "%s: %.*s: unknown key, ignored; %s%s%s--help lists the known ones", source,
			 str_width(key, 64), key.s, nearest ? "did you mean " : "", nearest ? nearest : "",
			 nearest ? "? " : "");
	}
}

/* Is this the name of a variable that is read?  Two underscores begin the names that Meltano keeps for itself. */
static bool variable_known(struct str name)
{
	struct variable_name own;
	size_t i, k;

	if (name.n > strlen(VARIABLE_PREFIX) && name.s[strlen(VARIABLE_PREFIX)] == '_')
		return true;
	for (i = 0; i < KEYS; i++)
		if (str_is(name, variable_name(config_table[i].name, &own)) ||
		    (config_table[i].alias && str_is(name, variable_name(config_table[i].alias, &own))))
			return true;
	for (i = 0; i < VARIABLES; i++)
		for (k = 0; k < countof(environment_table[i].names) && environment_table[i].names[k]; k++)
			if (str_is(name, environment_table[i].names[k]))
				return true;
	return false;
}

extern char **environ; /* POSIX has it, and no header that declares it */

/* As with the keys of a file; a variable has its name in upper case. */
static bool variables_are_ours(struct error *error)
{
	struct variable_name own;
	char **entry;
	size_t i;

	for (i = 0; i < countof(foreign_keys); i++) {
		struct str wanted = str_of(variable_name(foreign_keys[i].begin, &own));
		for (entry = environ; *entry; entry++) {
			struct str rest = str_of(*entry), name = str_cut(&rest, '=');
			struct str head = {name.s, wanted.n};
			bool open = wanted.s[wanted.n - 1] == '_';
			if (rest.n && (open ? name.n > wanted.n && str_equal(head, wanted) : str_equal(name, wanted)) &&
			    !str_is_word(rest, "false") && !str_is(rest, "{}"))
				return fail(error,
					    "%.*s: this tap does not do that, and so would write rows as they are; %s",
					    str_width(name, 128), name.s, foreign_keys[i].instead);
		}
	}
	return true;
}

static void warn_of_variables(void)
{
	char **entry;

	for (entry = environ; *entry; entry++) {
		struct str rest = str_of(*entry), name = str_cut(&rest, '='), key = name;
		struct variable_name own;
		const char *nearest;

		if (strncmp(name.s, VARIABLE_PREFIX, strlen(VARIABLE_PREFIX)) != 0 || variable_known(name))
			continue;
		str_skip(&key, strlen(VARIABLE_PREFIX));
		nearest = key_nearest(key);
		log_line(LOG_WARNING, "ENV: %.*s: unknown variable, ignored; %s%s%s--help lists the known keys",
			 str_width(name, 128), name.s, nearest ? "did you mean " : "",
			 nearest ? variable_name(nearest, &own) : "", nearest ? "? " : "");
	}
}

/* ---- Reading files ---- */

enum { FILE_LIMIT = 64 << 20 };

/* A file's text, in the arena. */
static bool file_text(struct arena *arena, const char *name, struct str *text, struct error *error)
{
	struct json_out bytes = {0};
	int number = file_read(name == standard_input ? NULL : name, FILE_LIMIT, &bytes);

	text->n = bytes.length;
	text->s = number ? NULL : arena_string(arena, (struct str){bytes.bytes, bytes.length});
	json_out_free(&bytes);
	if (number == EFBIG)
		return fail(error, "%s: larger than %d MiB", name, FILE_LIMIT >> 20);
	if (number == ENOMEM || (!number && !text->s))
		return fail(error, "%s: no memory", name);
	return !number || fail(error, "%s: can't be read: %s", name, strerror(number));
}

/* A file of JSON: Windows' editors put a byte order mark before it, and some of its shells write UTF-16. */
static bool file_json(struct arena *arena, const char *name, struct str *text, struct error *error)
{
	static const struct str utf8 = {"\xef\xbb\xbf", 3}, wide[] = {{"\xff\xfe", 2}, {"\xfe\xff", 2}};
	struct str first;
	size_t i;

	if (!file_text(arena, name, text, error))
		return false;
	first.s = text->s;
	first.n = text->n < 3 ? text->n : 3;
	if (str_equal(first, utf8))
		str_skip(text, utf8.n);
	first.n = text->n < 2 ? text->n : 2;
	for (i = 0; i < countof(wide); i++)
		if (str_equal(first, wide[i]))
			break;
	if (i < countof(wide) || (text->n > 1 && (text->s[0] == '\0') != (text->s[1] == '\0')))
		return fail(error, "%s: is written in UTF-16; save it as UTF-8", name);
	return true;
}

static bool document_parse(struct arena *arena, const char *name, struct str text, size_t lines_before,
			   struct json *document, struct error *error)
{
	struct json_error bad;

	if (json_parse(arena, text.s, text.n, document, &bad))
		return true;
	return fail(error, "%s:%zu:%zu: %s", name, bad.line + lines_before, bad.column, bad.what);
}

/* A JSON file.  NULL: no file, and the document stays absent. */
static bool document_read(struct arena *arena, const char *name, struct json *document, struct error *error)
{
	struct str text;

	return !name || (file_json(arena, name, &text, error) && document_parse(arena, name, text, 0, document, error));
}

/* A state file holds one JSON value; or several, a line each, where a target's output was appended: the last counts. */
static bool state_document(struct arena *arena, const char *name, struct json *document, struct error *error)
{
	struct str text, trimmed, line;
	struct json_error bad;
	const char *end, *p;
	size_t lines = 0;

	if (!name)
		return true;
	if (!file_json(arena, name, &text, error))
		return false;
	trimmed = str_trim(text);
	if (!trimmed.n)
		return fail(error, "%s: holds no state; for a first run leave --state out, or remove a --state-file",
			    name);
	end = memchr(trimmed.s, '\n', trimmed.n);
	line.s = trimmed.s;
	line.n = end ? (size_t)(end - trimmed.s) : 0;
	if (!end || !json_parse(arena, line.s, line.n, document, &bad))
		return document_parse(arena, name, text, 0, document, error);
	for (p = end = trimmed.s + trimmed.n; p[-1] != '\n';)
		p--;
	line.s = p;
	line.n = (size_t)(end - p);
	while (p > text.s)
		lines += *--p == '\n';
	return document_parse(arena, name, line, lines, document, error);
}

/* ---- Output and state file ----
 * Each is written as FILE.part and takes its name once it is whole and on the disk, the output first: wherever a run dies,
 * the state covers no row that the output lacks.  FILE.part is locked for all of the run, so a second one can't begin;
 * what a run that died has left of it is taken over. */

enum { FILE_NAME = 4096, PART_TRIES = 16, LINKS = 16 };

struct new_file {
	const char *name, *part, *folder; /* NULL: standard output is written */
	mode_t mode;                      /* of the file that it replaces; 0: there is none */
	bool open;                        /* until it has its name */
	int fd;
};

/* FILE with conversions of strftime filled in: those that are digits of a time in UTC. */
static bool name_expand(const char *option, int64_t now_us, char name[FILE_NAME], struct error *error)
{
	static const struct {
		char letter;
		unsigned char at, length; /* in the time as it is written */
	} conversions[] = {{'Y', 0, 4},  {'y', 2, 2},  {'m', 5, 2},  {'d', 8, 2},  {'H', 11, 2},
			   {'M', 14, 2}, {'S', 17, 2}, {'F', 0, 10}, {'T', 11, 8}, {'R', 11, 5}};
	const char *given = option;
	char time[TIME_SIZE];
	size_t n = 0, i;

	time_format(now_us, time);
	for (; *given; given++) {
		struct str piece = {given, 1};
		if (*given == '%' && *++given != '%') {
			for (i = 0; i < countof(conversions) && conversions[i].letter != *given; i++)
				;
			if (i == countof(conversions))
				return fail(error,
					    "--output: %.200s: %%%.1s is no conversion; there are %%Y %%y %%m %%d %%H "
					    "%%M %%S "
					    "%%F %%T %%R, and %%%% for a percent sign",
					    option, given);
			piece = (struct str){time + conversions[i].at, conversions[i].length};
		}
		if (piece.n >= FILE_NAME - n)
			return fail(error, "--output: %.200s: too long", option);
		memcpy(name + n, piece.s, piece.n);
		n += piece.n;
	}
	name[n] = '\0';
	return true;
}

/* What a symbolic link stands for takes the link's place, so that the link stays. */
static bool name_follow(char name[FILE_NAME], struct error *error)
{
	char to[FILE_NAME];
	unsigned i;

	for (i = 0; i < LINKS; i++) {
		ssize_t n = readlink(name, to, sizeof to - 1);
		const char *slash = strrchr(name, '/');
		size_t kept = n > 0 && to[0] != '/' && slash ? (size_t)(slash + 1 - name) : 0;
		if (n <= 0)
			return true;
		if (kept + (size_t)n >= FILE_NAME)
			break;
		memcpy(name + kept, to, (size_t)n);
		name[kept + (size_t)n] = '\0';
	}
	return fail(error, "%.200s: %s", name, strerror(i < LINKS ? ENAMETOOLONG : ELOOP));
}

/* What is no regular file can't be replaced.  *mode: of the file that is there, 0 where there is none. */
static bool name_check(const char *name, mode_t *mode, struct error *error)
{
	struct stat status;

	*mode = 0;
	if (stat(name, &status) != 0)
		return errno == ENOENT || fail(error, "%.200s: %s", name, strerror(errno));
	*mode = status.st_mode & 0777;
	return S_ISREG(status.st_mode) || fail(error, "%.200s: is no regular file, and can't be replaced by one", name);
}

/* The names that a file goes by, in the arena.  Nothing is touched. */
static bool file_name(struct new_file *f, const char *given, struct arena *arena, struct error *error)
{
	char name[FILE_NAME], part[FILE_NAME + sizeof ".part"];
	const char *slash;

	if (strlen(given) >= sizeof name)
		return fail(error, "%.200s: %s", given, strerror(ENAMETOOLONG));
	memcpy(name, given, strlen(given) + 1);
	if (!name_follow(name, error) || !name_check(name, &f->mode, error))
		return false;
	slash = strrchr(name, '/');
	snprintf(part, sizeof part, "%s.part", name);
	f->name = arena_string(arena, str_of(name));
	f->part = arena_string(arena, str_of(part));
	f->folder = arena_string(arena,
				 slash ? (struct str){name, slash > name ? (size_t)(slash - name) : 1} : str_of("."));
	return (f->name && f->part && f->folder) || fail(error, "%.200s: no memory", name);
}

static bool same_inode(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool same_file(const char *a, const char *b)
{
	struct stat one, other;

	return stat(a, &one) == 0 && stat(b, &other) == 0 && same_inode(&one, &other);
}

static const char *last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Is one file the other, however that is spelt, or what the other is written as before it has its name? */
static bool files_clash(const struct new_file *a, const struct new_file *b)
{
	const char *name = last_name(a->name), *other = last_name(b->name);

	return same_file(a->folder, b->folder) && (strcmp(name, other) == 0 || strcmp(last_name(a->part), other) == 0 ||
						   strcmp(name, last_name(b->part)) == 0);
}

/* What was opened may have got its name from the run that held it meanwhile, or have been removed. */
static bool part_is(const struct new_file *f, struct stat *here)
{
	struct stat there;

	return fstat(f->fd, here) == 0 && stat(f->part, &there) == 0 && same_inode(here, &there);
}

/* Opens and locks it.  What is there already may be another user's, who can read it, or a second name of another file.
 * *busy: another run has it. */
static bool part_take(struct new_file *f, bool *busy, struct error *error)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat here;
	int number = 0;
	unsigned i;

	for (i = 0; i < PART_TRIES; i++) {
		bool found;
		f->fd = open(f->part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, f->mode ? f->mode : 0666);
		found = f->fd < 0 && errno == EEXIST;
		if (found)
			f->fd = open(f->part, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
		if (f->fd < 0 && (errno == EINTR || (found && errno == ENOENT)))
			continue;
		if (f->fd < 0)
			return fail(error, "%s: %s", f->part, strerror(errno));
		number = fcntl(f->fd, F_SETLK, &lock) == 0 ? 0 : errno;
		if (!number && part_is(f, &here)) {
			f->open = !found || (here.st_uid == geteuid() && here.st_nlink == 1);
			if (!f->open)
				close(f->fd);
			return f->open ||
			       fail(error, "%s: is another user's, or has a second name; remove it", f->part);
		}
		close(f->fd);
		if (number && number != EINTR)
			break;
	}
	*busy = number == EACCES || number == EAGAIN || !number;
	return *busy ? fail(error, "%s: another run is writing it; try again when that is done", f->name)
		     : fail(error, "%s: can't be locked: %s", f->part, strerror(number));
}

static void file_drop(struct new_file *f)
{
	if (!f->open)
		return;
	unlink(f->part);
	close(f->fd);
	f->open = false;
}

static bool file_open(struct new_file *f, bool *busy, struct error *error)
{
	if (!part_take(f, busy, error))
		return false;
	return (ftruncate(f->fd, 0) == 0 && (!f->mode || fchmod(f->fd, f->mode) == 0)) ||
	       fail(error, "%.200s: %s", f->part, strerror(errno));
}

/* Some file systems have nothing to store, and say so by EINVAL. */
static bool store(int fd)
{
	while (fsync(fd) != 0)
		if (errno != EINTR)
			return errno == EINVAL;
	return true;
}

/* A new name is on the disk once its folder is. */
static bool folder_store(const char *folder)
{
	int fd, number;
	bool ok;

	do
		fd = open(folder, O_RDONLY | O_CLOEXEC);
	while (fd < 0 && errno == EINTR);
	ok = fd >= 0 && store(fd);
	number = errno;
	if (fd >= 0)
		close(fd);
	errno = number;
	return ok;
}

/* Gives it its name.  false: it does not have it, or might lose it again if the machine stops. */
static bool file_store(struct new_file *f, struct error *error)
{
	if (!store(f->fd) || rename(f->part, f->name) != 0) {
		fail(error, "%s: can't be put in place: %s%s", f->name, strerror(errno),
		     errno == EBUSY ? "; mount its folder, not the file alone" : "");
		file_drop(f);
		return false;
	}
	f->open = false;
	close(f->fd);
	return folder_store(f->folder) || fail(error, "%s: %s", f->folder, strerror(errno));
}

/* ---- Modes: --version ---- */

struct tap {
	struct arena arena; /* what lives as long as the program: options' files and what is made of them */
	struct options options;
	struct config config;
	struct json documents[CONFIG_FILES]; /* of the configuration files */
	struct selection selection[STREAMS];
	struct state state;
	struct singer singer;
	struct new_file output, state_file; /* without names where standard output is written */
	bool busy;                          /* another run holds one of them */
	int64_t now_us;                     /* the run's start */
	struct error error;
};

static volatile sig_atomic_t stop_signal; /* the first SIGINT, SIGTERM or SIGHUP; 0: none */
static volatile sig_atomic_t storing;     /* files are being put in place, which a disk takes its time for */

/* An error stands alone: what was noticed before it is not said. */
static int usage_error(const struct tap *tap)
{
	log_release(false);
	log_line(LOG_CRITICAL, "%s", tap->error.text);
	return tap->busy ? EXIT_LATER : EXIT_USAGE;
}

/* The exit status after something was printed outside of discovery and sync. */
static int print_status(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_SUCCESS;
	if (errno != EPIPE)
		log_line(LOG_CRITICAL, "standard output: %s", strerror(errno));
	return EXIT_FAILURE;
}

static int mode_version(struct tap *tap)
{
	const char *date;
	size_t roots = http_roots(&date);

	(void)tap;
	printf("tap-segment v%s, BearSSL %s, %zu trust roots%s%s\n", VERSION, BEARSSL_VERSION, roots,
	       *date ? " of " : "", date);
	return print_status();
}

/* ---- Modes: --help ---- */

enum { HELP_WIDTH = 80, HELP_COLUMN = 30, HELP_KEY_COLUMN = 21 };

/* Text behind what stands at the line's begin; broken at blanks, each line from that column on. */
static void print_text(const char *left, const char *text, size_t column)
{
	size_t at = (size_t)printf("%s", left);

	if (at + 1 > column) {
		putchar('\n');
		at = 0;
	}
	while (*text) {
		size_t word = strcspn(text, " ");
		if (at > column && at + 1 + word > HELP_WIDTH) {
			putchar('\n');
			at = 0;
		}
		at += (size_t)printf("%*s%.*s", at < column ? (int)(column - at) : 1, "", (int)word, text);
		text += word + (text[word] == ' ');
	}
	putchar('\n');
}

static void help_option(const struct option *o)
{
	char left[64];
	const char *before = o->absent ? "[=" : o->value ? " " : "";
	size_t i;

	for (i = 0; i < countof(option_groups); i++)
		if (strcmp(option_groups[i].first, o->name) == 0)
			printf("\n%s:\n", option_groups[i].heading);
	snprintf(left, sizeof left, "  %c%c%s--%s%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
		 o->letter ? ", " : "  ", o->name, before, o->value ? o->value : "", o->absent ? "]" : "");
	print_text(left, o->help, HELP_COLUMN);
}

static void help_key(const struct config_key *k)
{
	char left[64], text[256];

	snprintf(left, sizeof left, "  %s", k->name);
	snprintf(text, sizeof text, "%s%s%s", k->help,
		 k->required   ? "; required"
		 : k->fallback ? "; default "
			       : "",
		 k->fallback ? k->fallback : "");
	print_text(left, text, HELP_KEY_COLUMN);
}

/* by_name: those that a plain run does not have. */
static void help_streams(const char *heading, bool by_name)
{
	char line[HELP_WIDTH * STREAMS] = "";
	size_t i, n = 0;

	for (i = 0; i < STREAMS && n < sizeof line; i++)
		if (streams[i].singer.by_name == by_name)
			n += (size_t)snprintf(line + n, sizeof line - n, "%s%s", n ? ", " : "", streams[i].singer.name);
	printf("\n%s:\n", heading);
	print_text("", line, 2);
}

static const char usage[] = "usage: tap-segment --config FILE [--select RULES] [--state FILE]\n"
			    "       tap-segment --config FILE --output FILE [--state-file FILE]\n"
			    "       tap-segment --config FILE --test\n"
			    "       tap-segment --discover\n";
static const char first_config[] = "A configuration, readable by you alone (chmod 600):\n"
				   "  {\"api_token\": \"...\",\n"
				   "   \"start_date\": \"2026-01-01\",\n"
				   "   \"unique_keys\": true}\n"
				   "The token: in Segment, Settings, Workspace settings, Access management, Tokens,\n"
				   "Create token, of the Public API.\n";
static const char selecting[] = "\nrules of --select, with commas between them; the last one that matches counts:\n"
				"  stream        the stream with all its fields, but for secrets\n"
				"  stream.field  the stream with this field of it\n"
				"  !...          leaves out what matches; if the first rule does, it begins with\n"
				"                the streams of a plain run, else with none\n"
				"  * and ?       stand for any characters, and for one\n"
				"examples:\n"
				"  --select 'sources,iam_*'\n"
				"  --select '*,!catalog_*,!*.settings'\n"
				"  --select 'audit_events.type,audit_events.actor'\n";

static int mode_help(struct tap *tap)
{
	size_t i;

	(void)tap;
	fputs(usage, stdout);
	puts("Writes a Segment workspace's configuration and usage to standard output, as\n"
	     "Singer messages for a target to load.\n");
	fputs(first_config, stdout);
	for (i = 0; i < OPTIONS; i++)
		if (option_table[i].help)
			help_option(&option_table[i]);
	fputs(selecting, stdout);
	puts("\nconfiguration:");
	for (i = 0; i < KEYS; i++)
		help_key(&config_table[i]);
	help_streams("streams of a plain run", false);
	help_streams("streams by name only, or all with --select '*'", true);
	puts("\nexit status: 0 all done; 1 something failed, the rest is written; 2 wrong usage,\n"
	     "configuration, catalog or state; 3 nothing could be done now, try later;\n"
	     "4 nothing can be done until somebody acts; 128 + signal number after SIGINT,\n"
	     "SIGTERM or SIGHUP");
	return print_status();
}

/* Nothing on the command line: a person looks what this is. */
static int short_usage(void)
{
	fprintf(stderr, "%s%s--help says more, --about lists the streams.\n", usage, first_config);
	return EXIT_USAGE;
}

/* ---- Modes: --about ---- */

static const char description[] = "Singer tap for the Segment Public API";
static const char *const capabilities[] = {"catalog", "discover",          "state", "properties", "about",
					   "test",    "structured-logging"};

enum { CAPABILITIES = countof(capabilities) };

static const char *json_type_name(enum value_type type)
{
	return type == TYPE_INTEGER   ? "integer"
	       : type == TYPE_SECONDS ? "number"
	       : type == TYPE_BOOL    ? "boolean"
				      : "string";
}

/* A member of a JSON object whose value is a string; more: another one follows. */
static void put_member(struct json_out *out, const char *name, const char *value, bool more)
{
	json_put_string(out, str_of(name));
	json_put_text(out, ":");
	json_put_string(out, str_of(value));
	json_put_text(out, more ? "," : "");
}

static void put_setting(struct json_out *out, const struct config_key *k)
{
	json_put_string(out, str_of(k->name));
	json_put_text(out, ":{\"type\":[");
	json_put_string(out, str_of(json_type_name(k->type)));
	json_put_text(out, k->required ? "]," : ",\"null\"],");
	if (k->type == TYPE_TIME)
		put_member(out, "format", "date-time", true);
	if (k->type == TYPE_SECRET)
		json_put_text(out, "\"secret\":true,\"writeOnly\":true,");
	if (k->fallback && strcmp(json_type_name(k->type), "string") != 0) {
		json_put_text(out, "\"default\":");
		json_put_text(out, k->fallback);
		json_put_text(out, ",");
	} else if (k->fallback) {
		put_member(out, "default", k->fallback, true);
	}
	put_member(out, "description", k->help, false);
	json_put_text(out, "}");
}

static void put_settings(struct json_out *out)
{
	size_t i, required = 0;

	json_put_text(out, "{\"type\":\"object\",\"properties\":{");
	for (i = 0; i < KEYS; i++) {
		json_put_text(out, i ? "," : "");
		put_setting(out, &config_table[i]);
	}
	json_put_text(out, "},\"required\":[");
	for (i = 0; i < KEYS; i++)
		if (config_table[i].required) {
			json_put_text(out, required++ ? "," : "");
			json_put_string(out, str_of(config_table[i].name));
		}
	json_put_text(out, "]}");
}

/* The members that the Meltano SDK's own taps print, in its order. */
static int about_json(struct tap *tap)
{
	struct json_out compact = {0}, out = {0};
	struct json_error unused;
	struct json document;
	bool ok;
	size_t i;

	json_put_text(&compact, "{");
	put_member(&compact, "name", "tap-segment", true);
	put_member(&compact, "description", description, true);
	put_member(&compact, "version", VERSION, true);
	json_put_text(&compact, "\"sdk_version\":null,\"supported_python_versions\":null,\"capabilities\":[");
	for (i = 0; i < CAPABILITIES; i++) {
		json_put_text(&compact, i ? "," : "");
		json_put_string(&compact, str_of(capabilities[i]));
	}
	json_put_text(&compact, "],\"settings\":");
	put_settings(&compact);
	json_put_text(&compact, "}");
	ok = !compact.failed && json_parse(&tap->arena, compact.bytes, compact.length, &document, &unused);
	if (ok)
		json_put_value(&out, document, 2);
	ok = ok && !out.failed;
	if (ok)
		printf("%.*s\n", (int)out.length, out.bytes);
	else
		log_line(LOG_CRITICAL, "no memory");
	json_out_free(&compact);
	json_out_free(&out);
	return ok ? print_status() : EXIT_FAILURE;
}

static const char *or_empty(const char *text)
{
	return text ? text : "";
}

static void about_text(void)
{
	size_t i;

	printf("Name: tap-segment\nDescription: %s\nVersion: %s\nCapabilities:", description, VERSION);
	for (i = 0; i < CAPABILITIES; i++)
		printf("%s%s", i ? ", " : " ", capabilities[i]);
	puts("\nSettings:");
	for (i = 0; i < KEYS; i++) {
		const struct config_key *k = &config_table[i];
		printf("  %s%s: %s%s%s\n", k->name, k->required ? " (required)" : "", k->help,
		       k->fallback ? "; default " : "", or_empty(k->fallback));
	}
	puts("Streams:");
	for (i = 0; i < STREAMS; i++) {
		const struct singer_stream *s = &streams[i].singer;
		printf("  %s: %s%s\n", s->name, s->replication_key ? "incremental" : "full table",
		       s->by_name ? ", by name only" : "");
	}
}

static const char *window_name(enum window window)
{
	switch (window) {
	case WINDOW_NONE: return "";
	case WINDOW_MONTH: return "month";
	case WINDOW_DAY: return "day";
	case WINDOW_SPAN: return "30 days";
	case WINDOW_DAYS: return "30 whole days";
	}
	return "";
}

static void print_key(const char *const names[])
{
	size_t i;

	for (i = 0; names[i]; i++)
		printf("%s%s", i ? ", " : " | ", names[i]);
}

static void about_stream(const struct stream *s)
{
	printf("| %s | %s | %s | %s | %s", s->singer.name, s->singer.by_name ? "" : "yes",
	       s->singer.replication_key ? "incremental" : "full table", window_name(s->window),
	       or_empty(s->singer.parent));
	print_key(s->singer.key);
	print_key(s->singer.unique_key ? s->singer.unique_key : s->singer.key);
	printf(" | %s | ", or_empty(s->cost));
	if (s->per_minute)
		printf("%u", s->per_minute);
	printf(" | %s | %s |\n", or_empty(s->needs), or_empty(s->personal));
}

static void about_markdown(void)
{
	size_t i;

	printf("# `tap-segment`\n\n%s\n\n## Capabilities\n\n", description);
	for (i = 0; i < CAPABILITIES; i++)
		printf("* `%s`\n", capabilities[i]);
	puts("\n## Settings\n\n| Setting | Required | Default | Description |\n| --- | --- | --- | --- |");
	for (i = 0; i < KEYS; i++) {
		const struct config_key *k = &config_table[i];
		printf("| %s | %s | %s | %s |\n", k->name, k->required ? "yes" : "no", or_empty(k->fallback), k->help);
	}
	puts("\n## Streams\n\n| Stream | Plain run | Method | Window | Parent | Key | With `unique_keys` | Requests "
	     "| Limit a minute | Needs | Personal data, secrets |\n"
	     "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
	for (i = 0; i < STREAMS; i++)
		about_stream(&streams[i]);
}

static int mode_about(struct tap *tap)
{
	const char *format = or_empty(tap->options.format);

	if (strcmp(format, "json") == 0)
		return about_json(tap);
	if (strcmp(format, "markdown") == 0)
		about_markdown();
	else
		about_text();
	return print_status();
}

/* ---- Modes: discovery ---- */

/* catalog_name: the file's, for errors. */
static bool make_selection(struct tap *tap, struct json catalog, const char *catalog_name)
{
	const char *rules = tap->options.select;
	bool unique_keys = tap->config.value[KEY_UNIQUE_KEYS].number != 0;

	if (!streams_unpack(tap->selection, &tap->arena))
		return fail(&tap->error, "no memory for the schemas");
	if (!selection_make(tap->selection, STREAMS, catalog, rules, unique_keys, &tap->arena, &tap->error))
		return error_about(&tap->error, catalog_name);
	return !rules || selection_check_rules(tap->selection, STREAMS, rules, &tap->error);
}

/* What became of standard output, in words; empty: nothing bad. */
static const char *output_fault(const struct singer *singer)
{
	switch (singer->write_errno) {
	case 0: return "";
	case EPIPE: return "whoever read it has gone";
	case EBADF: return "it is closed, or open for reading only";
	case ENOMEM: return "no memory";
	default: return strerror(singer->write_errno);
	}
}

/* A target that went away has said why itself. */
static int output_status(struct singer *singer)
{
	if (singer_flush(singer))
		return EXIT_SUCCESS;
	if (singer->write_errno != EPIPE)
		log_line(LOG_CRITICAL, "standard output: %s", output_fault(singer));
	return EXIT_FAILURE;
}

/* The files and the environment, as --config names them, without defaults.  *source: the last of them. */
static bool read_sources(struct tap *tap, const char **source)
{
	const struct options *o = &tap->options;
	bool environment_too = false;
	size_t i;

	for (i = 0; i < o->configs; i++) {
		if (strcmp(o->config[i], "ENV") == 0) {
			environment_too = true;
			continue;
		}
		*source = o->config[i];
		if (!document_read(&tap->arena, *source, &tap->documents[i], &tap->error) ||
		    !config_from_json(&tap->config, tap->documents[i], *source, &tap->arena, &tap->error))
			return false;
	}
	if (!environment_too)
		return true;
	*source = "ENV";
	return config_from_environment(&tap->config, &tap->arena, &tap->error) && variables_are_ours(&tap->error);
}

static void warn_of_names(const struct tap *tap)
{
	const struct options *o = &tap->options;
	size_t i;

	for (i = 0; i < o->configs; i++)
		if (strcmp(o->config[i], "ENV") == 0)
			warn_of_variables();
		else
			warn_of_keys(tap->documents[i], o->config[i]);
}

static bool read_config(struct tap *tap)
{
	const char *source = NULL;

	if (!tap->options.configs)
		return fail(&tap->error, "--config: required, but missing; --help shows the way");
	if (!read_sources(tap, &source))
		return false;
	if (config_complete(&tap->config, source, &tap->arena, &tap->error))
		return true;
	warn_of_names(tap); /* what is missing may stand there under another name */
	log_release(true);
	return false;
}

static bool holds_secret(struct json document)
{
	const struct config_key *token = &config_table[KEY_API_TOKEN];

	return !says_nothing(json_get(document, token->name)) || !says_nothing(json_get(document, token->alias)) ||
	       !says_nothing(json_get(document, config_table[KEY_PROXY].name));
}

/* A configuration file: who but its owner can read a token in it, or write it?  Where the owner is another, as of a secret
 * that a service is handed, it is as one of the group that the tap can read it. */
static void warn_of_mode(const char *name, bool secret)
{
	const char *help = strstr(name, ".meltano/")
				   ? "umask 077 before meltano helps, which makes the file anew for each run"
				   : "chmod 600 helps";
	struct stat status;
	mode_t readers;

	if (stat(name, &status) != 0 || !S_ISREG(status.st_mode))
		return;
	readers = status.st_uid == geteuid() ? S_IROTH | S_IRGRP : S_IROTH;
	if (secret && (status.st_mode & readers))
		log_line(LOG_WARNING, "%s: %s can read the token in it; %s", name,
			 status.st_mode & S_IROTH ? "every user of this host" : "every user of its group", help);
	if (status.st_mode & (S_IWOTH | S_IWGRP))
		log_line(LOG_WARNING, "%s: %s can change it, and so have the token sent to another host; %s", name,
			 status.st_mode & S_IWOTH ? "every user of this host" : "every user of its group", help);
}

static void warn_of_config(const struct tap *tap)
{
	size_t i;

	warn_of_names(tap);
	for (i = 0; i < tap->options.configs; i++)
		if (tap->documents[i].node && tap->options.config[i] != standard_input)
			warn_of_mode(tap->options.config[i], holds_secret(tap->documents[i]));
}

/* Needs no configuration.  One that is given decides about the keys; what is wrong with it is the next sync's matter. */
static int mode_discover(struct tap *tap)
{
	struct json none = {NULL, NULL};
	const char *source;

	log_hold();
	if (!read_sources(tap, &source))
		log_line(LOG_WARNING, "%s; the catalog is made without it", tap->error.text);
	if (!make_selection(tap, none, NULL))
		return usage_error(tap);
	log_release(true);
	singer_catalog(&tap->singer, tap->selection, STREAMS);
	return output_status(&tap->singer);
}

/* ---- Progress, for a person who watches ---- */

enum {
	PROGRESS_MS = 200,
	SHORT_WAIT_MS = 3000,
	NAME_LEAST = 8 /* of a stream's name, however narrow the terminal */
};

static struct {
	struct http *http;
	const struct singer *singer;
	unsigned selected, number;
	const char *stream; /* NULL: none has begun */
	uint64_t records;
	int64_t begun_ms, shown_ms;
	char waits[160]; /* what the oldest request waits for, if that takes long */
	int64_t waits_until_ms;
} progress;

static void progress_show(void)
{
	int64_t now = log_clock_ms(), elapsed = now - progress.begun_ms;
	int64_t waited, room = (int64_t)log_width() - 1;
	char place[32], figures[160];
	struct http_stats stats;

	if (!progress.stream)
		return;
	progress.shown_ms = now;
	http_stats(progress.http, &stats);
	waited = (int64_t)stats.rate_limit_ms < elapsed ? (int64_t)stats.rate_limit_ms
							: elapsed; /* begun counts whole */
	room -= snprintf(place, sizeof place, "%u/%u", progress.number, progress.selected) + 1;
	room -= snprintf(figures, sizeof figures, "%llu rows, %llu requests, %lld rows/s, %lld s waited, %lld s",
			 (unsigned long long)progress.records, (unsigned long long)stats.requests,
			 elapsed > 0 ? (long long)(progress.singer->records * 1000 / (uint64_t)elapsed) : 0,
			 (long long)(waited / 1000), (long long)(elapsed / 1000)) +
		2;
	log_progress("%s %.*s: %s%s%s", place, room > NAME_LEAST ? (int)room : NAME_LEAST, progress.stream, figures,
		     now < progress.waits_until_ms ? "; " : "", now < progress.waits_until_ms ? progress.waits : "");
}

/* While nothing comes. */
static void on_tick(void *ctx)
{
	(void)ctx;
	if (log_clock_ms() - progress.shown_ms >= PROGRESS_MS)
		progress_show();
}

static void on_progress(void *ctx, const char *stream, unsigned number, uint64_t records)
{
	bool other = progress.stream != stream;

	progress.stream = stream;
	progress.number = number;
	progress.records = records;
	if (other)
		progress_show();
	else
		on_tick(ctx);
}

/* What a request waits for is part of the progress; all else is a line of the log. */
static void on_notice(void *ctx, const struct http_notice *n)
{
	if (n->event != HTTP_WAITING) {
		streams_notice(ctx, n);
		return;
	}
	snprintf(progress.waits, sizeof progress.waits, "%s for %lld s", n->reason, (long long)(n->wait_ms / 1000));
	progress.waits_until_ms = log_clock_ms() + SHORT_WAIT_MS / 2;
}

static void progress_begin(struct tap *tap, struct http *http)
{
	size_t i;

	progress.http = http;
	progress.singer = &tap->singer;
	progress.begun_ms = log_clock_ms();
	for (i = 0; i < STREAMS; i++)
		progress.selected += tap->selection[i].selected;
}

/* ---- Modes: test, sync ---- */

/* An error of the client's about an option that came from the environment names the variable. */
static void name_variable(const struct config *config, struct error *error)
{
	struct error bare = *error;
	size_t i;

	for (i = 0; i < KEYS; i++) {
		const char *name = config_table[i].name, *variable = config->value[i].variable;
		size_t n = strlen(name);
		if (variable && strncmp(bare.text, name, n) == 0 && bare.text[n] == ':')
			fail(error, "%s%s", variable, bare.text + n);
	}
}

static struct http *open_client(struct tap *tap)
{
	const struct config *c = &tap->config;
	const char *url = c->value[KEY_BASE_URL].text;
	struct http_options options = {
		.base_url = url ? url : segment_region_url(c->value[KEY_REGION].text),
		.token = c->value[KEY_API_TOKEN].text,
		.user_agent = c->value[KEY_USER_AGENT].text,
		.ca_file = c->value[KEY_CA_FILE].text,
		.proxy = c->value[KEY_PROXY].text,
		.connections = (unsigned)c->value[KEY_MAX_CONNECTIONS].number,
		.attempts = (unsigned)c->value[KEY_MAX_ATTEMPTS].number,
		.request_timeout_ms = c->value[KEY_REQUEST_TIMEOUT].number,
		.backoff_ms = 1000,
		.patience_ms = 900000,
		.stop = &stop_signal,
		.pause_ms = segment_pause_ms,
		.notice = on_notice,
		.tick = on_tick,
	};
	struct http *http;

	/* What the configuration names is the nearer word: no_proxy says nothing about it. */
	if (!options.ca_file)
		options.ca_file = environment(ENV_CA_FILE, &options.ca_file_name);
	if (!options.ca_file && environment(ENV_CA_FOLDER, NULL))
		log_line(LOG_WARNING,
			 "SSL_CERT_DIR: folders of certificates are not read; name one PEM file in ca_file or "
			 "SSL_CERT_FILE");
	if (!options.proxy) {
		options.proxy = environment(ENV_PROXY, &options.proxy_name);
		options.no_proxy = environment(ENV_NO_PROXY, NULL);
	}
	http = http_open(&options, &tap->error);
	if (!http)
		name_variable(c, &tap->error);
	return http;
}

static int64_t clock_us(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t) != 0)
		return 0;
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static struct sync_options sync_options(const struct config *c, int64_t now_us)
{
	int64_t connections = c->value[KEY_MAX_CONNECTIONS].number;
	struct sync_options options = {
		.start_us = c->value[KEY_START_DATE].number,
		.end_us = c->value[KEY_END_DATE].text ? c->value[KEY_END_DATE].number : INT64_MAX,
		.now_us = now_us,
		.page_rows = (unsigned)c->value[KEY_PAGE_SIZE].number,
		.connections = (unsigned)connections,
		.page_bytes = (size_t)(connections > 4 ? connections : 4) << 20,
		.fail_on_forbidden = c->value[KEY_FAIL_ON_FORBIDDEN].number != 0,
		.stop = &stop_signal,
	};

	return options;
}

static const struct {
	enum log_level level;
	int status; /* of the process; of a signal 128 + its number */
	const char *text;
} results[] = {
	[SYNC_DONE] = {LOG_INFO, EXIT_SUCCESS, "Sync done"},
	[SYNC_PARTLY] = {LOG_ERROR, EXIT_FAILURE, "Sync done, but not all of it"},
	[SYNC_ENDED] = {LOG_CRITICAL, EXIT_FAILURE, "Sync ended early"},
	[SYNC_LATER] = {LOG_CRITICAL, EXIT_LATER, "Sync ended early"},
	[SYNC_REFUSED] = {LOG_CRITICAL, EXIT_REFUSED, "Sync ended early"},
	[SYNC_STOPPED] = {LOG_WARNING, 0, "Sync stopped by a signal"},
};

static int exit_status(enum sync_result result)
{
	return result == SYNC_STOPPED ? 128 + (int)stop_signal : results[result].status;
}

/* The last line of a run: what happened, and why not more. */
static void log_summary(const struct tap *tap, const struct http *http, enum sync_result result,
			const struct sync_totals *totals, const char *fault, int64_t elapsed_us)
{
	const char *reason = *fault ? fault : totals->reason.text;
	struct http_stats stats;

	http_stats(http, &stats);
	log_bytes(stats.bytes, stats.decoded);
	if (result == SYNC_STOPPED && !*fault)
		reason = "";
	log_line(tap->singer.write_errno == EPIPE ? LOG_WARNING : results[result].level,
		 "%s: %u of %u streams (%u skipped, %u failed), %llu records, %llu requests, %llu retries, %llu bytes "
		 "(%llu decoded), %lld.%lld s%s%s",
		 results[result].text, totals->synced, totals->selected, totals->skipped, totals->failed,
		 (unsigned long long)tap->singer.records, (unsigned long long)stats.requests,
		 (unsigned long long)stats.retries, (unsigned long long)stats.bytes, (unsigned long long)stats.decoded,
		 (long long)(elapsed_us / 1000000), (long long)(elapsed_us / 100000 % 10), *reason ? "; " : "", reason);
}

/* The file that the state is read from; NULL: none, or the state file of a first run. */
static const char *state_name(const struct tap *tap)
{
	const char *file = tap->state_file.name;

	if (!file)
		return tap->options.state;
	return access(file, F_OK) != 0 && errno == ENOENT ? NULL : file;
}

static bool prepare_sync(struct tap *tap)
{
	const char *catalog_name = tap->options.catalog ? tap->options.catalog : tap->options.properties;
	const char *name = state_name(tap);
	struct json catalog = {NULL, NULL}, state = {NULL, NULL};

	if (!document_read(&tap->arena, catalog_name, &catalog, &tap->error) ||
	    !state_document(&tap->arena, name, &state, &tap->error) || !make_selection(tap, catalog, catalog_name))
		return false;
	return (state_read(&tap->state, state, &tap->arena, &tap->error) &&
		state_bookmarks(&tap->state, tap->selection, STREAMS, tap->config.value[KEY_START_DATE].number,
				&tap->error)) ||
	       error_about(&tap->error, name);
}

/* What the run reads may not be lost to what it writes. */
static bool inputs_stay(struct tap *tap, const char *option, const struct new_file *f)
{
	const struct options *o = &tap->options;
	const char *inputs[CONFIG_FILES + 3] = {o->catalog, o->properties, o->state};
	size_t i;

	memcpy(inputs + 3, o->config, sizeof o->config);
	for (i = 0; i < countof(inputs); i++)
		if (inputs[i] && (same_file(f->name, inputs[i]) || same_file(f->part, inputs[i])))
			return fail(&tap->error, "%s: %.200s would take the place of %.200s, which this run reads",
				    option, f->name, inputs[i]);
	return true;
}

/* Before the state is read, so that no other run replaces it meanwhile. */
static bool open_files(struct tap *tap)
{
	const struct options *o = &tap->options;
	struct new_file *output = &tap->output, *state = &tap->state_file;
	char name[FILE_NAME];

	if (!o->output)
		return true;
	if (!name_expand(o->output, tap->now_us, name, &tap->error) ||
	    !file_name(output, name, &tap->arena, &tap->error) || !inputs_stay(tap, "--output", output))
		return false;
	if (o->state_file &&
	    (!file_name(state, o->state_file, &tap->arena, &tap->error) || !inputs_stay(tap, "--state-file", state)))
		return false;
	if (o->state_file && files_clash(output, state))
		return fail(&tap->error,
			    "--state-file: %.200s: --output writes to the same file, or FILE.part of one is the "
			    "other",
			    o->state_file);
	if ((o->state_file && !file_open(state, &tap->busy, &tap->error)) ||
	    !file_open(output, &tap->busy, &tap->error))
		return false;
	tap->singer.fd = output->fd;
	return true;
}

static void drop_files(struct tap *tap)
{
	file_drop(&tap->output);
	file_drop(&tap->state_file);
}

static bool write_state_file(struct tap *tap, struct error *fault)
{
	struct singer file = {.fd = tap->state_file.fd};
	bool ok;

	singer_state_value(&file, &tap->state);
	ok = singer_flush(&file);
	json_out_free(&file.out);
	return ok || fail(fault, "%s: %s", tap->state_file.part, strerror(file.write_errno));
}

/* At the end of a run: what it has written takes its name, and the state that belongs to it.  false: *fault says why the
 * output is not there, or the state. */
static bool store_files(struct tap *tap, struct error *fault)
{
	off_t written = tap->output.open ? lseek(tap->output.fd, 0, SEEK_CUR) : 0;

	if (written < 0)
		return fail(fault, "%s: %s", tap->output.part, strerror(errno));
	if (!written)
		return true;
	if (!file_store(&tap->output, fault))
		return false;
	if (!tap->state_file.open) {
		log_line(LOG_INFO, "The messages are in %s", tap->output.name);
		return true;
	}
	if (!write_state_file(tap, fault) || !file_store(&tap->state_file, fault))
		return false;
	log_line(LOG_INFO, "The messages are in %s, the state in %s", tap->output.name, tap->state_file.name);
	return true;
}

/* All that must be in order before anything is sent or written.  http: NULL if nothing is to be sent. */
static bool prepare(struct tap *tap, struct http **http)
{
	log_hold();
	if (!read_config(tap) || !open_files(tap) || !prepare_sync(tap) || (http && !(*http = open_client(tap)))) {
		drop_files(tap);
		return false;
	}
	warn_of_config(tap);
	log_release(true);
	return true;
}

/* The last bytes leave, and files get their names.  false: *fault says what went wrong. */
static bool end_output(struct tap *tap, struct error *fault)
{
	bool ok = singer_flush(&tap->singer);

	fault->text[0] = '\0';
	storing = 1;
	if (ok)
		ok = store_files(tap, fault);
	else
		fail(fault, "%s: %s", tap->output.name ? tap->output.part : "standard output",
		     output_fault(&tap->singer));
	drop_files(tap); /* those that have no name by now */
	storing = 0;
	return ok;
}

/* ---- Modes: test ---- */

static const char *const access_words[] = {
	[ACCESS_UNTRIED] = "not tried", [ACCESS_YES] = "yes", [ACCESS_NO] = "no", [ACCESS_ERROR] = "error"};

enum {
	ACCESS_WIDTH = 18, /* the columns between name and text, with their blanks */
	TEXT_LEAST = 20,   /* what a text's column has at least */
	LOG_ROW = 1024
};

/* A row of the table.  On a terminal the text is broken at blanks, so that its column stays one. */
static void log_row(int name_width, const char *name, const char *access, const char *status, const char *text)
{
	size_t width = log_width(), left = strlen("INFO ") + (size_t)name_width + ACCESS_WIDTH, room = LOG_ROW;

	if (width && width > left + TEXT_LEAST)
		room = width - left;
	do {
		size_t n = strlen(text), skip = 0;
		if (n > room) {
			for (n = room; n > 0 && text[n] != ' '; n--)
				;
			skip = n > 0;
			n = n > 0 ? n : room;
		}
		log_line(LOG_INFO, "%-*s %-9s %-6s %.*s", name_width, name, access, status, (int)n, text);
		text += n + skip;
		name = access = status = "";
	} while (*text);
}

static void log_access(const struct tap *tap, const struct probe probes[STREAMS])
{
	size_t i, width = strlen("stream");
	char status[16];

	for (i = 0; i < STREAMS; i++)
		if (tap->selection[i].selected && strlen(streams[i].singer.name) > width)
			width = strlen(streams[i].singer.name);
	if (!log_is_structured())
		log_row((int)width, "stream", "access", "status", "first row's key, or why not");
	for (i = 0; i < STREAMS; i++) {
		const char *name = streams[i].singer.name, *access = access_words[probes[i].access];
		if (!tap->selection[i].selected)
			continue;
		snprintf(status, sizeof status, "%d", probes[i].status);
		if (log_is_structured())
			log_probe(name, access, probes[i].status, probes[i].text);
		else
			log_row((int)width, name, access, probes[i].status ? status : "-", probes[i].text);
	}
}

/* The last line of a test: what can be read, and why not more. */
static void log_test(const struct tap *tap, const struct probe probes[STREAMS], enum sync_result result,
		     const struct sync_totals *totals, const char *fault)
{
	static const char *const texts[] = {
		[SYNC_DONE] = "Test done",           [SYNC_PARTLY] = "Test done",
		[SYNC_ENDED] = "Test ended early",   [SYNC_LATER] = "Test ended early",
		[SYNC_REFUSED] = "Test ended early", [SYNC_STOPPED] = "Test stopped by a signal"};
	const char *reason = *fault ? fault : result == SYNC_STOPPED ? "" : totals->reason.text;
	unsigned counts[countof(access_words)] = {0};
	size_t i;

	for (i = 0; i < STREAMS; i++)
		if (tap->selection[i].selected)
			counts[probes[i].access]++;
	log_line(results[result].level, "%s: %u of %u streams can be read; %u forbidden, %u failed, %u not tried%s%s",
		 texts[result], counts[ACCESS_YES], totals->selected, counts[ACCESS_NO], counts[ACCESS_ERROR],
		 counts[ACCESS_UNTRIED], *reason ? "; " : "", reason);
}

/* --test=schema: what a sync would send as SCHEMA, without a request. */
static int test_schemas(struct tap *tap)
{
	size_t i;

	if (!prepare(tap, NULL))
		return usage_error(tap);
	for (i = 0; i < STREAMS; i++)
		if (tap->selection[i].selected)
			singer_schema(&tap->singer, &tap->selection[i]);
	return output_status(&tap->singer);
}

static int mode_test(struct tap *tap)
{
	static struct probe probes[STREAMS];
	struct sync_totals totals = {0};
	struct sync_options options;
	struct error fault;
	struct http *http;
	enum sync_result result;
	int status;

	if (strcmp(tap->options.test, "schema") == 0)
		return test_schemas(tap);
	if (!prepare(tap, &http))
		return usage_error(tap);
	options = sync_options(&tap->config, tap->now_us);
	options.sample = probes;
	options.totals = &totals;
	tap->singer.waits = true; /* the table comes first, whoever reads the rows */
	result = streams_sync(http, &tap->singer, &tap->state, tap->selection, &options);
	if (result == SYNC_DONE || result == SYNC_PARTLY || totals.skipped + totals.failed == totals.selected)
		log_access(tap, probes);
	tap->singer.waits = false;
	status = end_output(tap, &fault) ? exit_status(result) : EXIT_FAILURE;
	log_test(tap, probes, *fault.text ? SYNC_ENDED : result, &totals, fault.text);
	http_close(http);
	return status;
}

/* Who has neither catalog nor rules is told once what else there is. */
static void log_more_streams(void)
{
	unsigned more = 0;
	size_t i;

	for (i = 0; i < STREAMS; i++)
		more += streams[i].singer.by_name;
	log_line(LOG_INFO,
		 "%u more streams are not part of a run without catalog and --select; --select '*' takes all of them, "
		 "--about lists them",
		 more);
}

/* Whoever has said what the keys shall be need not be told, unless rows will go by them. */
static void warn_of_shared_keys(const struct tap *tap)
{
	bool activate = tap->config.value[KEY_ACTIVATE_VERSION].number != 0;
	unsigned n = selection_shared_keys(tap->selection, STREAMS, activate);

	if (!n || (!activate && tap->config.value[KEY_UNIQUE_KEYS].text != config_table[KEY_UNIQUE_KEYS].fallback))
		return;
	log_line(LOG_WARNING, "the key of %u stream%s does not identify a row, and a target keeps one of several: %s",
		 n, n == 1 ? "" : "s",
		 activate ? "with activate_version set unique_keys to true"
			  : "set unique_keys, true to change that, false to keep it");
}

static int mode_sync(struct tap *tap)
{
	struct sync_totals totals = {0};
	struct sync_options options;
	struct error fault;
	struct http *http;
	enum sync_result result;
	int64_t begin = clock_us(CLOCK_MONOTONIC);
	int status;

	if (!prepare(tap, &http))
		return usage_error(tap);
	if (!tap->options.catalog && !tap->options.properties && !tap->options.select)
		log_more_streams();
	if (tap->config.value[KEY_ACTIVATE_VERSION].number)
		tap->singer.version = tap->now_us / 1000;
	warn_of_shared_keys(tap);
	options = sync_options(&tap->config, tap->now_us);
	options.totals = &totals;
	options.progress = on_progress;
	progress_begin(tap, http);
	result = streams_sync(http, &tap->singer, &tap->state, tap->selection, &options);
	log_progress_end();
	status = end_output(tap, &fault) ? exit_status(result) : EXIT_FAILURE;
	if (*fault.text && result != SYNC_STOPPED)
		result = SYNC_ENDED;
	log_summary(tap, http, result, &totals, fault.text, clock_us(CLOCK_MONOTONIC) - begin);
	http_close(http);
	return status;
}

/* ---- Signals ---- */

enum { OUTPUT_PATIENCE = 8 }; /* seconds for a target to take the last line and STATE: containers get 10 to stop */

static volatile sig_atomic_t writes_seen; /* singer_writes at the last alarm, or at the signal */

/* A target that loads a batch does not read for seconds; cut off in a line, or before the last STATE, it would lose what
 * it holds.  So as long as something is being written or stored, or was since the last alarm, there will be another. */
static void on_alarm(int signal)
{
	static volatile sig_atomic_t rings;
	sig_atomic_t writes = singer_writes;

	if (stop_signal && (storing || writes % 2 != 0 || writes != writes_seen) && ++rings < OUTPUT_PATIENCE) {
		writes_seen = writes;
		alarm(1);
		return;
	}
	_exit(128 +
	      (stop_signal ? (int)stop_signal : signal)); /* none: an alarm that was set before this program began */
}

/* Normally the flag is seen and the run ends in order.  Whatever blocks - the resolver, a target that no longer reads -
 * is ended by the alarm. */
static void on_stop(int signal)
{
	if (stop_signal)
		return; /* a second one must not put the alarm off */
	stop_signal = signal;
	writes_seen = singer_writes;
	alarm(1);
}

static void signals_set(void)
{
	static const struct {
		int signal;
		void (*handler)(int);
	} table[] = {{SIGALRM, on_alarm}, {SIGINT, on_stop},  {SIGTERM, on_stop},
		     {SIGHUP, on_stop},   {SIGPIPE, SIG_IGN}, {SIGXFSZ, SIG_IGN}};
	sigset_t ours;
	size_t i;

	sigemptyset(&ours);
	for (i = 0; i < countof(table); i++) {
		struct sigaction action, old;
		memset(&action, 0, sizeof action);
		action.sa_handler = table[i].handler;
		sigemptyset(&action.sa_mask);
		/* A shell's background job ignores SIGINT, one under nohup SIGHUP, and goes on doing so. */
		if ((table[i].signal == SIGINT || table[i].signal == SIGHUP) &&
		    sigaction(table[i].signal, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
			continue;
		sigaction(table[i].signal, &action, NULL);
		sigaddset(&ours, table[i].signal);
	}
	sigprocmask(SIG_UNBLOCK, &ours, NULL); /* a mask is inherited */
}

/* ---- Main ---- */

/* A closed standard descriptor would be given to the next file or socket, and messages or log lines would end up there.
 * One that can't be written to fails as a closed one does. */
static bool descriptors_hold(void)
{
	int fd;

	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd)
			return false;
	return true;
}

static bool file_holds(const char *name, const char *word)
{
	struct arena arena = {.limit = 1 << 20};
	struct error unused = {""};
	struct str text;
	bool found = name && file_text(&arena, name, &text, &unused) && strstr(text.s, word);

	arena_free(&arena);
	return found;
}

/* The level of that name, or false. */
static bool level_find(const char *name, enum log_level *level)
{
	const char *const *choice = choice_find(log_levels, name);

	if (choice)
		*level = log_level_of[choice - log_levels];
	return choice;
}

static void logging_set(const struct options *options)
{
	const char *const *names = environment_table[ENV_LOG_LEVEL].names;
	const char *wish[] = {options->log_level, variable_text(names[0]), variable_text(names[1])};
	enum log_level least = LOG_INFO;
	size_t i, n;

	for (i = 0; i < countof(wish) && !(wish[i] && level_find(wish[i], &least)); i++)
		;
	log_setup(least, options->log_format ? strcmp(options->log_format, "json") == 0
					     : file_holds(environment(ENV_LOG_CONFIG, NULL), "StructuredFormatter"));
	for (n = 1; n < i && n < countof(wish); n++)
		if (wish[n] && may_be_token(wish[n]))
			log_line(LOG_WARNING, "%s: is no level; debug, info, warning, error and critical are",
				 names[n - 1]);
		else if (wish[n])
			log_line(LOG_WARNING, "%s: \"%.32s\" is no level; debug, info, warning, error and critical are",
				 names[n - 1], wish[n]);
}

/* A core file would hold the token.  The limit can't be raised to more than it was, so nothing is lost by lowering it. */
static void core_files_off(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_CORE, &limit) == 0) {
		limit.rlim_cur = 0;
		setrlimit(RLIMIT_CORE, &limit);
	}
}

static int run(struct tap *tap)
{
	const struct options *o = &tap->options;

	if (o->help)
		return mode_help(tap);
	if (o->version)
		return mode_version(tap);
	if (o->about)
		return mode_about(tap);
	if (o->discover)
		return mode_discover(tap);
	if (o->test)
		return mode_test(tap);
	return mode_sync(tap);
}

int main(int argc, char **argv)
{
	static struct tap tap;
	int status;

	if (!descriptors_hold())
		return EXIT_USAGE;
	tap.singer.fd = STDOUT_FILENO;
	tap.now_us = clock_us(CLOCK_REALTIME);
	core_files_off();
	signals_set();
	status = options_read(&tap.options, argc, argv, &tap.error) ? 0 : EXIT_USAGE;
	logging_set(&tap.options);
	status = argc <= 1 ? short_usage() : status ? usage_error(&tap) : run(&tap);
	json_out_free(&tap.singer.out);
	arena_free(&tap.arena);
	return status;
}
