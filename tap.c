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

struct options {
	const char *config[CONFIG_FILES];
	size_t configs;
	bool discover, about, version, help, dev;
	const char *catalog, *properties, *state, *select, *test, *format, *log_level;
};

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_CONFIG };

static const char *const log_levels[] = {"debug", "info", "warning", "error", "critical", NULL};
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
	 "configuration, a JSON object; may be repeated, later ones win; ENV reads TAP_SEGMENT_* and beats files"},
	{"discover", 'd', OPTION_FLAG, offsetof(struct options, discover), NULL, NULL, NULL,
	 "write the catalog to standard output; needs neither configuration nor network"},
	{"catalog", 0, OPTION_TEXT, offsetof(struct options, catalog), "FILE", NULL, NULL,
	 "catalog that selects streams and fields; without one every stream is synced"},
	{"properties", 'p', OPTION_TEXT, offsetof(struct options, properties), "FILE", NULL, NULL,
	 "the same under its older name"},
	{"state", 's', OPTION_TEXT, offsetof(struct options, state), "FILE", NULL, NULL,
	 "state of an earlier run, to go on from"},
	{"select", 0, OPTION_TEXT, offsetof(struct options, select), "RULES", NULL, NULL,
	 "streams and fields by glob in place of the catalog's selection: sources,iam_*,!*.settings"},
	{"test", 0, OPTION_TEXT, offsetof(struct options, test), "all|schema", "all", test_depths,
	 "try each stream with one request and say which ones the token may read; schema: send nothing"},
	{"about", 0, OPTION_FLAG, offsetof(struct options, about), NULL, NULL, NULL,
	 "describe the tap: capabilities and settings"},
	{"format", 0, OPTION_TEXT, offsetof(struct options, format), "text|json|markdown", NULL, formats,
	 "form of --about"},
	{"log-level", 0, OPTION_TEXT, offsetof(struct options, log_level), "LEVEL", NULL, log_levels,
	 "debug, info, warning, error or critical; default TAP_SEGMENT_LOGLEVEL, LOGLEVEL, info"},
	{"version", 0, OPTION_FLAG, offsetof(struct options, version), NULL, NULL, NULL, "print the version"},
	{"help", 'h', OPTION_FLAG, offsetof(struct options, help), NULL, NULL, NULL, "print this help"},
	{"dev", 0, OPTION_FLAG, offsetof(struct options, dev), NULL, NULL, NULL, NULL},
};

enum { OPTIONS = countof(option_table) };

/* The option of that name, or of which name[0..n) is the beginning and no other's. */
static const struct option *option_by_name(const char *name, size_t n, struct error *error)
{
	const struct option *found = NULL;
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
	fail(error, "--%.*s: %s option; --help lists them", (int)(n < 64 ? n : 64), name,
	     matches ? "ambiguous" : "unknown");
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

static const char *choice_find(const char *const *choices, const char *value)
{
	for (; *choices; choices++)
		if (strcasecmp(*choices, value) == 0)
			return *choices;
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
		const char *choice = choice_find(o->choices, value);
		if (!choice)
			return wrong_choice(o, value, error);
		value = choice;
	}
	switch (o->kind) {
	case OPTION_FLAG: *(bool *)field = true; break;
	case OPTION_TEXT: memcpy(field, &value, sizeof value); break;
	case OPTION_CONFIG:
		if (options->configs == CONFIG_FILES)
			return fail(error, "--config: given more than %d times", CONFIG_FILES);
		options->config[options->configs++] = value;
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

static bool options_read(struct options *options, int argc, char **argv, struct error *error)
{
	int i = 1;

	while (i < argc && strcmp(argv[i], "--") != 0)
		if (!option_read(options, argv, &i, error))
			return false;
	return i + 1 >= argc || fail(error, "%s: unexpected argument; --help lists the options", argv[i + 1]);
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
	KEYS
};

enum value_type { TYPE_TEXT, TYPE_FILE, TYPE_SECRET, TYPE_TIME, TYPE_INTEGER, TYPE_BOOL, TYPE_REGION };

static const struct config_key {
	const char *name, *alias;
	enum value_type type;
	int64_t least, most; /* of an integer */
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
	[KEY_REQUEST_TIMEOUT] = {"request_timeout", NULL, TYPE_INTEGER, 1, 86400, .zero_is_default = true,
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
};

/* text: NULL where not set; number: of an integer, a boolean (0, 1), a time (microseconds). */
struct config {
	struct {
		const char *text;
		int64_t number;
	} value[KEYS];
};

static const struct {
	const char *name, *url;
} regions[] = {{"us", "https://api.segmentapis.com"}, {"eu", "https://eu1.api.segmentapis.com"}};

enum { REGIONS = countof(regions) };

static const char *region_url(const char *name)
{
	size_t i;

	for (i = 0; i < REGIONS; i++)
		if (strcmp(regions[i].name, name) == 0)
			return regions[i].url;
	return NULL;
}

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
	if (end == text || *end || errno || value < k->least || value > k->most)
		return false;
	*number = value;
	return true;
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

static bool wrong_value(const char *source, const struct config_key *k, struct error *error)
{
	switch (k->type) {
	case TYPE_TEXT:
	case TYPE_FILE:
	case TYPE_SECRET: return fail(error, "%s: %s: expected a string", source, k->name);
	case TYPE_TIME:
		return fail(error, "%s: %s: expected a date or date-time, such as 2026-01-31 or 2026-01-31T00:00:00Z",
			    source, k->name);
	case TYPE_INTEGER:
		return fail(error, "%s: %s: expected an integer from %lld to %lld", source, k->name,
			    (long long)k->least, (long long)k->most);
	case TYPE_BOOL: return fail(error, "%s: %s: expected true or false", source, k->name);
	case TYPE_REGION: return fail(error, "%s: %s: expected us or eu", source, k->name);
	}
	return false;
}

static bool is_printable(const char *text)
{
	while (*text >= ' ' && *text <= '~')
		text++;
	return *text == '\0';
}

/* Takes one value as text, whatever it was before.  source names the file or ENV in errors. */
static bool config_set(struct config *config, enum key key, const char *text, const char *source, struct error *error)
{
	const struct config_key *k = &config_table[key];
	int64_t number = 0;
	bool ok = true;

	if (k->type == TYPE_SECRET && strncasecmp(text, "Bearer ", 7) == 0)
		text += 6 + strspn(text + 6, " ");
	if (k->type == TYPE_SECRET)
		log_secret(text); /* before anything else can be said */
	if (*text == '\0') {      /* how a settings form leaves something out */
		config->value[key].text = NULL;
		config->value[key].number = 0;
		return true;
	}
	switch (k->type) {
	case TYPE_FILE: break;
	case TYPE_TEXT:
	case TYPE_SECRET:
		if (!is_printable(text)) /* the value is not shown: it may hold a secret */
			return fail(error, "%s: holds a control character or a byte that is not ASCII", k->name);
		break;
	case TYPE_TIME: ok = time_parse(str_of(text), &number); break;
	case TYPE_INTEGER:
		if (k->zero_is_default && strcmp(text, "0") == 0)
			return config_set(config, key, k->fallback, source, error);
		ok = integer_read(k, text, &number);
		break;
	case TYPE_BOOL: ok = bool_read(text, &number); break;
	case TYPE_REGION: ok = region_url(text) != NULL; break;
	}
	if (!ok)
		return wrong_value(source, k, error);
	config->value[key].text = text;
	config->value[key].number = number;
	return true;
}

/* A string is taken for every type, since settings often pass through an environment; a number or boolean for its own. */
static bool config_set_json(struct config *config, enum key key, struct json value, const char *source,
			    struct arena *arena, struct error *error)
{
	enum value_type type = config_table[key].type;
	enum json_type is = json_type(value);
	struct str string = json_token(value);
	const char *text;

	if (is == JSON_NULL)
		return config_set(config, key, "", source, error);
	if (is != JSON_STRING && !(is == JSON_NUMBER && type == TYPE_INTEGER) &&
	    !(is == JSON_BOOL && type == TYPE_BOOL))
		return wrong_value(source, &config_table[key], error);
	if (is == JSON_STRING && !json_string(value, arena, &string))
		return fail(error, "%s: no memory", source);
	if (memchr(string.s, '\0', string.n))
		return fail(error, "%s: %s: holds a NUL character", source, config_table[key].name);
	text = arena_string(arena, string);
	return text ? config_set(config, key, text, source, error) : fail(error, "%s: no memory", source);
}

static bool config_from_json(struct config *config, struct json document, const char *source, struct arena *arena,
			     struct error *error)
{
	struct json_each it;

	if (json_type(document) != JSON_OBJECT)
		return fail(error,
			    "%s: expected a JSON object such as {\"api_token\": \"...\", \"start_date\": \"...\"}",
			    source);
	for (it = json_each(document); json_next(&it);) {
		enum key key = key_find(it.key);
		if (key < KEYS && !config_set_json(config, key, it.value, source, arena, error))
			return false;
	}
	return true;
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

/* The variable of a configuration key. */
static const char *key_variable(const char *key)
{
	char name[64] = "TAP_SEGMENT_";
	size_t n = strlen(name);

	for (; *key && n < sizeof name - 1; key++)
		name[n++] = (char)(*key >= 'a' && *key <= 'z' ? *key - 'a' + 'A' : *key);
	name[n] = '\0';
	return variable_text(name);
}

static bool config_from_environment(struct config *config, struct error *error)
{
	size_t i;

	for (i = 0; i < KEYS; i++) {
		const struct config_key *k = &config_table[i];
		const char *text = key_variable(k->name);
		if (!text && k->alias)
			text = key_variable(k->alias);
		if (text && !config_set(config, (enum key)i, text, "ENV", error))
			return false;
	}
	return true;
}

/* Puts defaults where nothing is set, and misses what is required. */
static bool config_complete(struct config *config, const char *source, struct error *error)
{
	size_t i;

	for (i = 0; i < KEYS; i++) {
		const struct config_key *k = &config_table[i];
		if (config->value[i].text)
			continue;
		if (k->required)
			return fail(error, "%s: %s: required, but missing (%s)", source, k->name, k->help);
		if (k->fallback && !config_set(config, (enum key)i, k->fallback, "default", error))
			return false;
	}
	return true;
}

/* ---- Reading files ---- */

enum { FILE_LIMIT = 64 << 20 };

/* A file's text, in the arena. */
static bool file_text(struct arena *arena, const char *name, struct str *text, struct error *error)
{
	struct json_out bytes = {0};
	int number = file_read(name, FILE_LIMIT, &bytes);

	text->n = bytes.length;
	text->s = number ? NULL : arena_string(arena, (struct str){bytes.bytes, bytes.length});
	json_out_free(&bytes);
	if (number == EFBIG)
		return fail(error, "%s: larger than %d MiB", name, FILE_LIMIT >> 20);
	if (number == ENOMEM || (!number && !text->s))
		return fail(error, "%s: no memory", name);
	return !number || fail(error, "%s: can't be read: %s", name, strerror(number));
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

	return !name || (file_text(arena, name, &text, error) && document_parse(arena, name, text, 0, document, error));
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
	if (!file_text(arena, name, &text, error))
		return false;
	trimmed = str_trim(text);
	if (!trimmed.n)
		return fail(error, "%s: holds no state; leave --state out for a first run", name);
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

/* ---- Modes: --version, --help ---- */

struct tap {
	struct arena arena; /* what lives as long as the program: options' files and what is made of them */
	struct options options;
	struct config config;
	struct json documents[CONFIG_FILES]; /* of the configuration files */
	struct selection selection[STREAMS];
	struct state state;
	struct singer singer;
	struct error error;
};

static volatile sig_atomic_t stop_signal; /* the first SIGINT, SIGTERM or SIGHUP; 0: none */

/* An error stands alone: what was noticed before it is not said. */
static int usage_error(const struct tap *tap)
{
	log_release(false);
	log_line(LOG_CRITICAL, "%s", tap->error.text);
	return EXIT_USAGE;
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

static int print_out(struct json_out *out)
{
	if (out->failed)
		log_line(LOG_CRITICAL, "no memory");
	else
		fwrite(out->bytes, 1, out->length, stdout);
	return out->failed ? EXIT_FAILURE : print_status();
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

static void help_option(const struct option *o)
{
	char left[64];
	const char *before = o->absent ? "[=" : o->value ? " " : "";

	snprintf(left, sizeof left, "  %c%c%s--%s%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
		 o->letter ? ", " : "  ", o->name, before, o->value ? o->value : "", o->absent ? "]" : "");
	printf("%-33s %s\n", left, o->help);
}

static int mode_help(struct tap *tap)
{
	size_t i;

	(void)tap;
	puts("usage: tap-segment --config FILE [--catalog FILE] [--state FILE]\n"
	     "       tap-segment --discover\n"
	     "Writes a Segment workspace's configuration and usage as Singer messages to standard output.\n\n"
	     "options:");
	for (i = 0; i < OPTIONS; i++)
		if (option_table[i].help)
			help_option(&option_table[i]);
	puts("\nconfiguration:");
	for (i = 0; i < KEYS; i++) {
		const struct config_key *k = &config_table[i];
		const char *note = k->required ? "; required" : k->fallback ? "; default " : "";
		printf("  %-31s %s%s%s\n", k->name, k->help, note, k->fallback ? k->fallback : "");
	}
	puts("\nexit status: 0 all done; 1 something failed, the rest is written; 2 wrong usage, configuration,\n"
	     "catalog or state; 3 nothing could be done now, try later; 4 nothing can be done until somebody acts;\n"
	     "128 + signal number after SIGINT, SIGTERM or SIGHUP");
	return print_status();
}

/* ---- Modes: --about ---- */

static const char description[] = "Singer tap for the Segment Public API";
static const char *const capabilities[] = {"catalog", "discover",          "state", "properties", "about",
					   "test",    "structured-logging"};

enum { CAPABILITIES = countof(capabilities) };

static const char *json_type_name(enum value_type type)
{
	return type == TYPE_INTEGER ? "integer" : type == TYPE_BOOL ? "boolean" : "string";
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
	if (k->fallback && (k->type == TYPE_INTEGER || k->type == TYPE_BOOL)) {
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
static void about_json(struct tap *tap, struct json_out *out)
{
	struct json_out compact = {0};
	struct json_error unused;
	struct json document;
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
	if (!compact.failed && json_parse(&tap->arena, compact.bytes, compact.length, &document, &unused))
		json_put_value(out, document, 2);
	else
		out->failed = true;
	json_put_text(out, "\n");
	json_out_free(&compact);
}

static void about_text(struct json_out *out)
{
	size_t i;

	json_put_text(out, "Name: tap-segment\nDescription: ");
	json_put_text(out, description);
	json_put_text(out, "\nVersion: " VERSION "\nCapabilities:");
	for (i = 0; i < CAPABILITIES; i++) {
		json_put_text(out, i ? ", " : " ");
		json_put_text(out, capabilities[i]);
	}
	json_put_text(out, "\nSettings:\n");
	for (i = 0; i < KEYS; i++) {
		const struct config_key *k = &config_table[i];
		json_put_text(out, "  ");
		json_put_text(out, k->name);
		json_put_text(out, k->required ? " (required): " : ": ");
		json_put_text(out, k->help);
		if (k->fallback) {
			json_put_text(out, "; default ");
			json_put_text(out, k->fallback);
		}
		json_put_text(out, "\n");
	}
}

static void put_names(struct json_out *out, const char *const names[SINGER_KEYS])
{
	size_t i;

	for (i = 0; i < SINGER_KEYS && names[i]; i++) {
		json_put_text(out, i ? ", " : "");
		json_put_text(out, names[i]);
	}
}

static bool same_names(const char *const a[SINGER_KEYS], const char *const b[SINGER_KEYS])
{
	size_t i;

	for (i = 0; i < SINGER_KEYS && a[i] && b[i]; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return i == SINGER_KEYS || a[i] == b[i];
}

static void about_stream(struct json_out *out, const struct singer_stream *s)
{
	json_put_text(out, "| ");
	json_put_text(out, s->name);
	json_put_text(out, s->replication_key ? " | incremental | " : " | full table | ");
	json_put_text(out, s->parent ? s->parent : "");
	json_put_text(out, " | ");
	put_names(out, s->key);
	json_put_text(out, " | ");
	if (same_names(s->key, s->unique_key)) {
		json_put_text(out, "every row");
	} else {
		json_put_text(out, "one row per ");
		put_names(out, s->key);
	}
	json_put_text(out, " | ");
	put_names(out, s->unique_key);
	json_put_text(out, " |\n");
}

static void about_markdown(struct json_out *out)
{
	size_t i;

	json_put_text(out, "# `tap-segment`\n\n");
	json_put_text(out, description);
	json_put_text(out, "\n\n## Capabilities\n\n");
	for (i = 0; i < CAPABILITIES; i++) {
		json_put_text(out, "* `");
		json_put_text(out, capabilities[i]);
		json_put_text(out, "`\n");
	}
	json_put_text(out,
		      "\n## Settings\n\n| Setting | Required | Default | Description |\n| --- | --- | --- | --- |\n");
	for (i = 0; i < KEYS; i++) {
		const struct config_key *k = &config_table[i];
		json_put_text(out, "| ");
		json_put_text(out, k->name);
		json_put_text(out, k->required ? " | yes | " : " | no | ");
		json_put_text(out, k->fallback ? k->fallback : "");
		json_put_text(out, " | ");
		json_put_text(out, k->help);
		json_put_text(out, " |\n");
	}
	json_put_text(
		out,
		"\n## Streams\n\n| Stream | Method | Parent | Key | An upserting target keeps | With `unique_keys` |\n"
		"| --- | --- | --- | --- | --- | --- |\n");
	for (i = 0; i < STREAMS; i++)
		about_stream(out, &streams[i].singer);
}

static int mode_about(struct tap *tap)
{
	const char *format = tap->options.format ? tap->options.format : "text";
	struct json_out out = {0};
	int status;

	if (strcmp(format, "json") == 0)
		about_json(tap, &out);
	else if (strcmp(format, "markdown") == 0)
		about_markdown(&out);
	else
		about_text(&out);
	status = print_out(&out);
	json_out_free(&out);
	return status;
}

/* ---- Modes: discovery, test, sync ---- */

static bool make_selection(struct tap *tap, struct json catalog)
{
	const char *const rules[] = {tap->options.select, NULL};
	bool unique_keys = tap->config.value[KEY_UNIQUE_KEYS].number != 0;
	size_t i;

	for (i = 0; i < STREAMS; i++)
		tap->selection[i].stream = &streams[i].singer;
	return selection_make(tap->selection, STREAMS, catalog, tap->options.select ? rules : NULL, unique_keys,
			      &tap->arena, &tap->error);
}

/* What became of standard output.  A target that went away has said why itself. */
static int output_status(struct singer *singer)
{
	if (singer_flush(singer))
		return EXIT_SUCCESS;
	if (singer->write_errno != EPIPE)
		log_line(LOG_CRITICAL, "standard output: %s",
			 singer->write_errno ? strerror(singer->write_errno) : "no memory");
	return EXIT_FAILURE;
}

static int mode_discover(struct tap *tap)
{
	struct json none = {NULL, NULL};

	if (!make_selection(tap, none))
		return usage_error(tap);
	singer_catalog(&tap->singer, tap->selection, STREAMS);
	return output_status(&tap->singer);
}

static bool read_config(struct tap *tap)
{
	const struct options *o = &tap->options;
	const char *source = "--config";
	bool environment_too = false;
	size_t i;

	if (!o->configs)
		return fail(&tap->error, "--config: required, but missing; --help shows the way");
	for (i = 0; i < o->configs; i++) {
		if (strcmp(o->config[i], "ENV") == 0) {
			environment_too = true;
			continue;
		}
		source = o->config[i];
		if (!document_read(&tap->arena, source, &tap->documents[i], &tap->error) ||
		    !config_from_json(&tap->config, tap->documents[i], source, &tap->arena, &tap->error))
			return false;
	}
	if (environment_too && !config_from_environment(&tap->config, &tap->error))
		return false;
	return config_complete(&tap->config, environment_too ? "ENV" : source, &tap->error);
}

static void warn_of_config(const struct tap *tap)
{
	size_t i;

	for (i = 0; i < tap->options.configs; i++) {
		const char *name = tap->options.config[i];
		struct json_each it = json_each(tap->documents[i]);
		struct stat status;

		while (json_next(&it)) {
			struct str key = json_token(it.key);
			if (key_find(it.key) == KEYS)
				log_line(LOG_WARNING, "%s: %.*s: unknown key, ignored; --help lists the known ones",
					 name, (int)(key.n < 64 ? key.n : 64), key.s);
		}
		if (tap->documents[i].node && stat(name, &status) == 0 && S_ISREG(status.st_mode) &&
		    (status.st_mode & S_IROTH))
			log_line(LOG_WARNING, "%s: every user of this host can read the token in it; chmod 600 helps",
				 name);
	}
}

static struct http *open_client(struct tap *tap)
{
	const struct config *c = &tap->config;
	const char *url = c->value[KEY_BASE_URL].text;
	struct http_options options = {
		.base_url = url ? url : region_url(c->value[KEY_REGION].text),
		.token = c->value[KEY_API_TOKEN].text,
		.user_agent = c->value[KEY_USER_AGENT].text,
		.ca_file = c->value[KEY_CA_FILE].text,
		.proxy = c->value[KEY_PROXY].text,
		.connections = (unsigned)c->value[KEY_MAX_CONNECTIONS].number,
		.attempts = (unsigned)c->value[KEY_MAX_ATTEMPTS].number,
		.timeout_ms = c->value[KEY_REQUEST_TIMEOUT].number * 1000,
		.backoff_ms = 1000,
		.patience_ms = 900000,
		.stop = &stop_signal,
		.pause_ms = segment_pause_ms,
		.notice = streams_notice,
	};

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
	return http_open(&options, &tap->error);
}

static int64_t clock_us(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t) != 0)
		return 0;
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static struct sync_options sync_options(const struct config *c)
{
	int64_t connections = c->value[KEY_MAX_CONNECTIONS].number;
	struct sync_options options = {
		.start_us = c->value[KEY_START_DATE].number,
		.end_us = c->value[KEY_END_DATE].text ? c->value[KEY_END_DATE].number : INT64_MAX,
		.now_us = clock_us(CLOCK_REALTIME),
		.page_rows = (unsigned)c->value[KEY_PAGE_SIZE].number,
		.connections = (unsigned)connections,
		.hold = (size_t)(connections > 4 ? connections : 4) << 20,
		.fail_on_forbidden = c->value[KEY_FAIL_ON_FORBIDDEN].number != 0,
		.stop = &stop_signal,
	};

	return options;
}

static void on_progress(void *ctx, const char *stream, uint64_t records)
{
	struct http_stats stats;

	http_stats(ctx, &stats);
	log_progress("%s: %llu rows, %llu requests, %lld s waited", stream, (unsigned long long)records,
		     (unsigned long long)stats.requests, (long long)(stats.rate_limit_ms / 1000));
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

/* What became of standard output, in words; empty: nothing bad. */
static const char *output_fault(const struct singer *singer)
{
	if (!singer->write_errno)
		return "";
	return singer->write_errno == EPIPE ? "whoever read standard output has gone" : strerror(singer->write_errno);
}

/* The last line of a run: what happened, and why not more. */
static void log_summary(const struct tap *tap, const struct http *http, enum sync_result result,
			const struct sync_totals *totals, int64_t elapsed_us)
{
	const char *fault = output_fault(&tap->singer), *reason = *fault ? fault : totals->reason.text;
	struct http_stats stats;

	http_stats(http, &stats);
	if (result == SYNC_STOPPED && !*fault)
		reason = "";
	log_line(results[result].level,
		 "%s: %u of %u streams (%u skipped, %u failed), %llu records, %llu requests, %llu retries, %llu bytes, "
		 "%lld.%lld s%s%s%s",
		 results[result].text, totals->synced, totals->selected, totals->skipped, totals->failed,
		 (unsigned long long)tap->singer.records, (unsigned long long)stats.requests,
		 (unsigned long long)stats.retries, (unsigned long long)stats.bytes, (long long)(elapsed_us / 1000000),
		 (long long)(elapsed_us / 100000 % 10), *reason ? "; " : "", *fault ? "standard output: " : "", reason);
}

/* Puts the name of the file in front of what is wrong with its content; an option's error stands by itself. */
static bool blame(struct tap *tap, const char *file)
{
	struct error bare = tap->error;

	if (!file || bare.text[0] == '-')
		return false;
	return fail(&tap->error, "%s: %s", file, bare.text);
}

/* Bookmarks that can't be read would be found out in the middle of the run otherwise. */
static bool check_bookmarks(struct tap *tap)
{
	size_t i;
	int64_t unused;

	for (i = 0; i < STREAMS; i++)
		if (streams[i].singer.replication_key && !tap->selection[i].full_table &&
		    !state_get(&tap->state, &streams[i].singer, &unused, &tap->error))
			return false;
	return true;
}

static bool prepare_sync(struct tap *tap)
{
	const char *catalog_name = tap->options.catalog ? tap->options.catalog : tap->options.properties;
	struct json catalog = {NULL, NULL}, state = {NULL, NULL};

	if (!document_read(&tap->arena, catalog_name, &catalog, &tap->error) ||
	    !state_document(&tap->arena, tap->options.state, &state, &tap->error))
		return false;
	if (!make_selection(tap, catalog))
		return blame(tap, catalog_name);
	if (!state_read(&tap->state, state, &tap->arena, &tap->error) || !check_bookmarks(tap))
		return blame(tap, tap->options.state);
	return true;
}

/* All that must be in order before anything is sent or written.  http: NULL if nothing is to be sent. */
static bool prepare(struct tap *tap, struct http **http)
{
	log_hold();
	if (!read_config(tap) || !prepare_sync(tap) || (http && !(*http = open_client(tap))))
		return false;
	warn_of_config(tap);
	log_release(true);
	return true;
}

static void log_access(const struct tap *tap, const struct probe probes[STREAMS])
{
	static const char *const words[] = {
		[ACCESS_UNTRIED] = "not tried", [ACCESS_YES] = "yes", [ACCESS_NO] = "no", [ACCESS_ERROR] = "error"};
	size_t i;

	log_line(LOG_INFO, "%-38s %-9s %-6s %s", "stream", "access", "status", "first row's key, or why not");
	for (i = 0; i < STREAMS; i++)
		if (tap->selection[i].selected)
			log_line(LOG_INFO, "%-38s %-9s %-6d %s", streams[i].singer.name, words[probes[i].access],
				 probes[i].status, probes[i].text);
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
	struct http *http;
	enum sync_result result;
	int status;

	if (strcmp(tap->options.test, "schema") == 0)
		return test_schemas(tap);
	if (!prepare(tap, &http))
		return usage_error(tap);
	options = sync_options(&tap->config);
	options.sample = probes;
	options.totals = &totals;
	result = streams_sync(http, &tap->singer, &tap->state, tap->selection, &options);
	status = output_status(&tap->singer) == EXIT_SUCCESS ? exit_status(result) : EXIT_FAILURE;
	if (result == SYNC_DONE || result == SYNC_PARTLY || totals.skipped + totals.failed == totals.selected)
		log_access(tap, probes);
	http_close(http);
	return status;
}

static int mode_sync(struct tap *tap)
{
	struct sync_totals totals = {0};
	struct sync_options options;
	struct http *http;
	enum sync_result result;
	int64_t begin = clock_us(CLOCK_MONOTONIC);
	int status;

	if (!prepare(tap, &http))
		return usage_error(tap);
	options = sync_options(&tap->config);
	options.totals = &totals;
	options.progress = on_progress;
	options.ctx = http;
	result = streams_sync(http, &tap->singer, &tap->state, tap->selection, &options);
	status = output_status(&tap->singer) == EXIT_SUCCESS ? exit_status(result) : EXIT_FAILURE;
	log_summary(tap, http, result, &totals, clock_us(CLOCK_MONOTONIC) - begin);
	http_close(http);
	return status;
}

/* ---- Signals ---- */

enum { OUTPUT_PATIENCE = 8 }; /* seconds for a target to take the last line and STATE: containers get 10 to stop */

/* A target that loads a batch does not read for seconds; cut off in a line, it would lose what it holds. */
static void on_alarm(int signal)
{
	static volatile sig_atomic_t rings;

	if (stop_signal && singer_writing && ++rings < OUTPUT_PATIENCE) {
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
	alarm(1);
}

static void signals_set(void)
{
	static const struct {
		int signal;
		void (*handler)(int);
	} table[] = {{SIGALRM, on_alarm}, {SIGINT, on_stop}, {SIGTERM, on_stop}, {SIGHUP, on_stop}, {SIGPIPE, SIG_IGN}};
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

static void logging_set(const struct options *options)
{
	const char *const *names = environment_table[ENV_LOG_LEVEL].names;
	const char *wish[] = {options->log_level, variable_text(names[0]), variable_text(names[1])};
	enum log_level least = LOG_INFO;
	size_t i;
	int level;

	for (i = 0; i < countof(wish); i++) {
		for (level = 0; wish[i] && log_levels[level]; level++)
			if (strcasecmp(log_levels[level], wish[i]) == 0)
				break;
		if (wish[i] && log_levels[level]) {
			least = (enum log_level)level;
			break;
		}
	}
	log_setup(least, file_holds(environment(ENV_LOG_CONFIG, NULL), "StructuredFormatter"));
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
	signals_set();
	status = options_read(&tap.options, argc, argv, &tap.error) ? 0 : EXIT_USAGE;
	logging_set(&tap.options);
	status = status ? usage_error(&tap) : run(&tap);
	json_out_free(&tap.singer.out);
	arena_free(&tap.arena);
	return status;
}
