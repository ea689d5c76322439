/* A command as people write it in an input: a list of arguments, run without a shell, or one string for sh. Also the two
 * rules that hold for every such input: a secret is never part of a command line, and variables have names that sh can
 * carry. Everything is borrowed from the JSON value or lies in the arena. */
#pragma once
#include "engine/run/step.h"

struct step_command {
	const char *const *argv; /* NULL-terminated, or NULL when it is a script */
	const char *script;
};

/* "none" (the word) is a value of `undo` and means that there is nothing to do. */
bool step_command_is_none(const json_t *value);
/* Adds a fault for a wrong type, an empty list, and a secret inside. */
void step_command_faults(const json_t *value, const char *pointer, struct faults *faults);
/* value has passed step_command_faults. */
struct step_command step_command_read(const json_t *value, struct arena *arena);
void step_env_faults(const struct field_map *env, const char *pointer, struct faults *faults);
/* As a person would type it, for plans: arguments quoted if needed. */
void step_command_show(const json_t *value, struct str *out);
bool step_exit_accepted(const struct field_integers *list, int status); /* NULL or empty: [0] */

/* Runs it, guarded, its lines going to the log. exit_list NULL: [0]. ERR_FAILED with status and last line; ERR_TIMEOUT.
 */
struct step_run_options {
	const struct field_map *env;
	const char *extra_name, *extra_value; /* one more variable; NULL: none */
	const char *cwd;
	const char *user; /* NULL: the target's own */
	int64_t timeout_ms;
	const struct field_integers *exit_list;
};
int step_command_run(const struct step_context *c, struct target *t, const struct step_command *command,
                     const struct step_run_options *o, struct err *err);
/* The last line that is not blank, control characters replaced, at most 300 bytes. */
void step_last_line(const struct str *text, struct str *out);
