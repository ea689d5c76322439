/* Shared by all commands: options with one spelling, one help text, one way to report a usage error.
 *
 *     static const struct cli_option options[] = {
 *         { "plan", 0, CLI_FLAG, &plan, NULL, "show what would change, and stop" },
 *         { "secret", 0, CLI_LIST, &names, "NAME", "take the secret NAME from that environment variable; may be repeated" },
 *         { 0 } };
 *     int r = cli_parse(&command, argc, argv, &rest);
 *     if (r >= 0) return r;        // --help was printed (0), or the call was wrong (2)
 */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

enum cli_kind { CLI_FLAG, CLI_TEXT, CLI_LIST }; /* bool, const char *, struct strv */
struct cli_option {
	const char *name; /* without the dashes; NULL ends the table */
	char letter;      /* 0: none */
	enum cli_kind kind;
	void *value;
	const char *argument; /* "NAME" in the help; NULL for flags */
	const char *help;
};
struct cli_command {
	const char *name;    /* "deploy" */
	const char *usage;   /* "FILE [options]" */
	const char *summary; /* one sentence */
	const struct cli_option *options;
	size_t min_rest, max_rest; /* number of words that are not options */
};
struct cli_rest {
	char **words;
	size_t count;
};

/* argv[0] is the command's name. -1: continue; else the exit status. --help prints to standard output; a usage error to standard
 * error, with the nearest option. `--` ends the options; --name=value and --name value are the same. */
int cli_parse(const struct cli_command *command, int argc, char **argv, struct cli_rest *ret);
/* True for a shell that asks which words may follow (agent/cmd/completion.c): lines of WORD, ARGUMENT (`-`: none) and HELP, with tabs. cli_parse
 * answers it for options. */
bool cli_wants_words(int argc, char **argv);
/* Prints an error; with --json also {"exit_status","error":{"code","text","hint"}} on standard output. Returns status. */
int cli_fail(const struct err *err, int status);
/* Reports output that did not all arrive (a full disk; a closed pipe where SIGPIPE is ignored). For commands that only print. */
bool cli_output_failed(void);
/* "ADDRESS:PORT" with an IPv4 address; another one than loopback is ERR_REFUSED unless `remote`. */
int cli_address(const char *text, bool remote, char ret_host[64], int *ret_port, struct err *err);
/* --json, --trace and -v are known to every command. */
bool cli_json(void);
bool cli_verbose(void);
