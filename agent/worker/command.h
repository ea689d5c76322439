/* Workflow commands in a line of output [5.7]: reading only, no effects. */
#pragma once
#include "base/data/json.h"

enum command_kind {
	COMMAND_NONE, /* ordinary text */
	COMMAND_SET_OUTPUT,
	COMMAND_SAVE_STATE,
	COMMAND_SET_ENV,
	COMMAND_ADD_PATH,
	COMMAND_ADD_MASK,
	COMMAND_DEBUG,
	COMMAND_ERROR,
	COMMAND_WARNING,
	COMMAND_NOTICE,
	COMMAND_GROUP,
	COMMAND_ENDGROUP,
	COMMAND_ADD_MATCHER,
	COMMAND_REMOVE_MATCHER,
	COMMAND_ECHO,
	COMMAND_STOP,
	COMMAND_RESUME,
};
struct command {
	enum command_kind kind;
	const char *name;   /* as registered */
	json_t *properties; /* name → text; names as written, found without case by command_property */
	char *data;
};
struct command_rules {
	bool notice;         /* the service knows notices */
	const char *stopped; /* commands are off until ::this:: comes; NULL: on */
};
/* kind COMMAND_NONE leaves the rest empty. The line is NUL-terminated UTF-8. */
void command_read(const char *line, const struct command_rules *rules, struct command *ret);
void command_done(struct command *c);
const char *command_property(const struct command *c, const char *name); /* NULL: not given */
/* May a script stop commands with this token? */
bool command_token_is_allowed(const char *token);
