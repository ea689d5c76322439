#include "agent/cmd/cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/data/json.h"
#include "base/core/log.h"
#include "base/secret/mask.h"

static bool json_wanted, verbose;
static const char *trace;

bool cli_json(void)
{
	return json_wanted;
}

bool cli_verbose(void)
{
	return verbose;
}

static const struct cli_option common[] = {
	{"json", 0, CLI_FLAG, &json_wanted, NULL, "answer with JSON on standard output"},
	{"trace", 0, CLI_TEXT, &trace, "PARTS", "show the work of parts of the program: journal,ssh,net or all"},
	{"verbose", 'v', CLI_FLAG, &verbose, NULL, "say more"},
	{"help", 'h', CLI_FLAG, NULL, NULL, "this text"},
	{0},
};

static void print_options(const struct cli_option *options)
{
	for (const struct cli_option *o = options; o->name != NULL; o++) {
		char left[64];
		snprintf(left, sizeof(left), "%s--%s%s%s", o->letter ? (char[]){'-', o->letter, ',', ' ', 0} : "    ",
		         o->name, o->argument ? " " : "", o->argument ? o->argument : "");
		printf("  %-28s%s %s\n", left, strlen(left) < 28 ? "" : " ", o->help);
	}
}

static int print_help(const struct cli_command *command)
{
	printf("usage: davit %s %s\n\n%s\n\n", command->name, command->usage, command->summary);
	print_options(command->options);
	print_options(common);
	return 0;
}

/* For shells: a line of word, argument and help for each, with a tab between them. */
static int print_words(const struct cli_command *command)
{
	const struct cli_option *const tables[] = {command->options, common};
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
		for (const struct cli_option *o = tables[t]; o->name != NULL; o++)
			printf("--%s\t%s\t%s\n", o->name, o->argument != NULL ? o->argument : "-", o->help);
	return 0;
}

static const struct cli_option *find_in(const struct cli_option *options, const char *name, size_t len, char letter)
{
	for (const struct cli_option *o = options; o->name != NULL; o++)
		if (letter ? o->letter == letter : strlen(o->name) == len && memcmp(o->name, name, len) == 0)
			return o;
	return NULL;
}

static void print_failure(const struct err *err, int status)
{
	char line[4096];
	json_t *answer _cleanup_json_ = json_pack(
		"{s:i, s:{s:s, s:o, s:o}}", "exit_status", status, "error", "code", err_code_name(err->code), "text",
		json_stringf("%s", err_line(err, line, sizeof(line))), "hint", json_stringf("%s", err->hint));
	_cleanup_free_ char *text = json_pretty(answer);
	struct str masked _cleanup_(str_done) = STR_INIT(1 << 16);
	mask_apply(mask_process(), text, strlen(text), &masked);
	puts(str_peek(&masked));
}

int cli_fail(const struct err *err, int status)
{
	if (json_wanted)
		print_failure(err, status);
	log_err(err);
	return status;
}

static int wrong(const struct cli_command *command, const char *what, const char *word, const char *nearest)
{
	struct err err = ERR_INIT;
	err_set(&err, ERR_INVALID, "%s '%s'", what, word);
	err_hint(&err, ERR_INVALID, "%s%s", nearest ? "did you mean --" : "usage: davit ",
	         nearest ? nearest : command->name);
	if (json_wanted)
		print_failure(&err, 2);
	fprintf(stderr, "davit %s: %s '%s'%s%s%s\n", command->name, what, word, nearest ? "; did you mean --" : "",
	        nearest ? nearest : "", nearest ? "?" : "");
	fprintf(stderr, "  usage: davit %s %s   (davit %s --help)\n", command->name, command->usage, command->name);
	return 2;
}

static const char *nearest_option(const struct cli_command *command, const char *word)
{
	const char *names[64];
	size_t count = 0;
	const struct cli_option *const tables[] = {command->options, common};
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
		for (const struct cli_option *o = tables[t]; o->name != NULL && count < ARRAY_SIZE(names); o++)
			names[count++] = o->name;
	return str_nearest(word, names, count);
}

static void store(const struct cli_option *option, const char *value)
{
	if (option->kind == CLI_FLAG)
		*(bool *)option->value = true;
	else if (option->kind == CLI_TEXT)
		*(const char **)option->value = value;
	else
		strv_add(option->value, value);
}

/* -1, -.5 and -Infinity are expressions; no option is called so. */
static bool is_negative_number(const char *word)
{
	return isdigit((unsigned char)word[1]) || word[1] == '.' || strcmp(word + 1, "Infinity") == 0;
}

int cli_parse(const struct cli_command *command, int argc, char **argv, struct cli_rest *ret)
{
	if (cli_wants_words(argc, argv))
		return print_words(command);
	char **rest = argv + 1; /* words move to the front, options are removed */
	size_t count = 0;
	bool ended = false;
	/* Set early, so that a usage error is reported in JSON too. */
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		json_wanted |= strcmp(argv[i], "--json") == 0;
	for (int i = 1; i < argc; i++) {
		char *word = argv[i];
		if (ended || word[0] != '-' || word[1] == '\0' || is_negative_number(word)) {
			rest[count++] = word;
			continue;
		}
		if (strcmp(word, "--") == 0) {
			ended = true;
			continue;
		}
		bool is_long = word[1] == '-';
		const char *name = is_long ? word + 2 : word + 1;
		size_t len = strcspn(name, "=");
		if (!is_long && name[1] != '\0')
			return wrong(command, "unknown option", word, NULL);
		const struct cli_option *option = find_in(command->options, name, len, is_long ? 0 : name[0]);
		if (option == NULL)
			option = find_in(common, name, len, is_long ? 0 : name[0]);
		if (option == NULL)
			return wrong(command, "unknown option", word, is_long ? nearest_option(command, name) : NULL);
		if (option->value == NULL)
			return print_help(command);
		const char *value = is_long && name[len] == '=' ? name + len + 1 : NULL;
		if (option->kind == CLI_FLAG && value != NULL)
			return wrong(command, "takes no value:", word, NULL);
		if (option->kind != CLI_FLAG && value == NULL) {
			if (i + 1 >= argc)
				return wrong(command, "needs a value:", word, NULL);
			value = argv[++i];
		}
		store(option, value);
	}
	log_setup(verbose ? LOG_DEBUG : LOG_INFO, LOG_TEXT, trace);
	if (count < command->min_rest)
		return wrong(command, "needs more:", command->usage, NULL);
	if (count > command->max_rest)
		return wrong(command, "one word too many:", rest[command->max_rest], NULL);
	ret->words = rest;
	ret->count = count;
	return -1;
}
