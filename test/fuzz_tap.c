/* fuzz_tap.c - tap.c against any command line, configuration, state file and name of an output file. */
#define main tap_main
int main(int argc, char **argv);
#include "../tap.c"
#undef main

#include "fuzz.h"

/* ---- Command line: words that end with a NUL ---- */

enum { WORDS = 24 };

static bool is_choice(const char *const *choices, const char *value)
{
	while (*choices && *choices != value)
		choices++;
	return *choices;
}

static void fuzz_options(const char *bytes, size_t length)
{
	struct str rest = {bytes, length};
	struct arena arena = {0};
	struct options options;
	struct error error = {""};
	char *argv[WORDS + 1] = {NULL};
	int argc = 0;
	size_t i;

	memset(&options, 0, sizeof options);
	for (argv[argc++] = NULL; rest.n && argc < WORDS; argc++)
		argv[argc] = arena_string(&arena, str_cut(&rest, '\0'));
	must(options_read(&options, argc, argv, &error) != (bool)*error.text, "what is refused has a reason");
	must(options.configs <= CONFIG_FILES, "not more files than there is room for");
	for (i = 0; i < OPTIONS; i++) {
		const struct option *o = &option_table[i];
		const char *value = NULL;
		if (o->kind != OPTION_FLAG && o->kind != OPTION_CONFIG)
			memcpy(&value, (const char *)&options + o->at, sizeof value);
		must(!value || !o->choices || is_choice(o->choices, value), "a value is one of the choices");
	}
	arena_free(&arena);
}

/* ---- Configuration: a JSON document, and behind a NUL what one variable says ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void must_be_clean(const char *token)
{
	size_t n = strlen(token), i;

	must(n > 0 && !is_blank(token[0]) && !is_blank(token[n - 1]), "no blank is around the token");
	for (i = 0; i < n; i++)
		must(token[i] >= ' ' && token[i] <= '~', "a token can stand in a header");
	must(n < 2 || token[0] != '"' || token[n - 1] != '"', "a token is in no quotes");
}

static void must_be_within(const struct config *config)
{
	size_t i;

	for (i = 0; i < KEYS; i++) {
		const struct config_key *k = &config_table[i];
		int64_t number = config->value[i].number, scale = k->type == TYPE_SECONDS ? 1000 : 1;
		must(config->value[i].text || (!k->required && !k->fallback), "a key has a value, or needs none");
		if (config->value[i].text && (k->type == TYPE_INTEGER || k->type == TYPE_SECONDS))
			must(number >= k->least * scale && number <= k->most * scale, "a number is in its range");
		if (config->value[i].text && k->type == TYPE_BOOL)
			must(number == 0 || number == 1, "a boolean is 0 or 1");
	}
	must(segment_region_url(config->value[KEY_REGION].text) != NULL, "a region is known");
	must_be_clean(config->value[KEY_API_TOKEN].text);
}

static void fuzz_config(const char *bytes, size_t length)
{
	struct str rest = {bytes, length}, text = str_cut(&rest, '\0');
	struct arena arena = {0};
	struct config config;
	struct error error = {""};
	struct json document;
	const char *variable = arena_string(&arena, rest);
	bool good;

	memset(&config, 0, sizeof config);
	log_hold();
	good = document_parse(&arena, "c.json", text, 0, &document, &error) &&
	       config_from_json(&config, document, "c.json", &arena, &error);
	if (good && rest.n)
		good = config_set(&config, (enum key)(length % KEYS), variable, "VARIABLE", &arena, &error);
	good = good && config_complete(&config, "c.json", &arena, &error);
	must(good != (bool)*error.text, "what is refused has a reason");
	if (good) {
		must_be_within(&config);
		warn_of_keys(document, "c.json");
		name_variable(&config, &error);
	} else {
		log_line(LOG_CRITICAL, "%s", error.text);
	}
	log_release(false);
	log_secret(NULL);
	arena_free(&arena);
}

/* ---- Names of output files ---- */

static void fuzz_name(const char *bytes, size_t length)
{
	char name[FILE_NAME], again[FILE_NAME];
	struct arena arena = {0};
	char *given = arena_string(&arena, (struct str){bytes, length});
	struct error error = {""};

	if (name_expand(given, 1, name, &error)) {
		must((*name || !*given) && strlen(name) < sizeof name, "a name fits");
		must(strchr(given, '%') || strcmp(name, given) == 0, "without a conversion it stays");
		must(strchr(name, '%') || (name_expand(name, 1, again, &error) && strcmp(name, again) == 0),
		     "what is expanded stays");
	} else {
		must(*error.text, "what is refused has a reason");
	}
	arena_free(&arena);
}

/* ---- Targets ---- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct fuzz_target targets[] = {
		{"options", fuzz_options}, {"config", fuzz_config}, {"name", fuzz_name}};

	(void)argc;
	(void)argv;
	return fuzz_choose(targets, countof(targets));
}
