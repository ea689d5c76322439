/* Options of `davit agent configure`, `run`, `remove`, `status` and `key`, by the rules of the official config.sh and run.sh
 * (protocol 1.1, 1.2): the command line wins over ACTIONS_RUNNER_INPUT_NAME, the first occurrence counts, names are
 * case-insensitive. Unlike there, an unknown option is an error and does nothing, labels are trimmed, a flag may be
 * followed by true or false, --name=value. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

struct agent_options {
	char *url, *token, *pat, *name, *group, *labels_text, *work, *jit;
	char *worker_user, *actions_repository, *native, *on_failure, *token_file, *isolation, *actions, *node, *policy,
		*ping, *app_id, *app_key, *runner_version, *version_source, *version_key;
	struct strv labels;
	int slots, probe;          /* 0: not given */
	int64_t quota, free_space; /* bytes; 0: not given */
	bool unattended, replace, ephemeral, disable_update, no_default_labels, once, local, json, check, keep_pat,
		drain, help, version;
};
/* Reads argv (argv[0] is the word after `davit agent`, which decides what options there are) and the environment; wipes secrets in argv;
 * removes ACTIONS_RUNNER_INPUT_* from the environment. `--token -` and `--token-file F` are read here. ERR_INVALID: an impossible value. */
int agent_options_read(int argc, char **argv, struct agent_options *ret, struct err *err);
void agent_options_done(struct agent_options *o);
/* Splits at commas, trims, drops empty items and duplicates (case-insensitive). ERR_INVALID: longer than 256. */
int agent_options_labels(const char *text, struct strv *ret, struct err *err);
/* For --help: one line an option of that word. */
void agent_options_help(const char *part, struct str *out);
/* For shells: lines of word, argument and help, with tabs. */
void agent_options_words(const char *part, struct str *out);
