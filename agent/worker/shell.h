/* Shells of `run:` steps: which program with which arguments [7.1, 7.2]. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

struct shell {
	char *command;         /* as chosen: "bash" */
	char *program;         /* absolute path */
	char *format;          /* arguments with {0} */
	const char *extension; /* ".sh", "" */
};
/* given: `shell:` of the step or of defaults.run; NULL or "": bash if there is one, else sh, with the arguments of
 * sh. path: the search path. ERR_NOT_FOUND: "NAME: command not found". */
int shell_choose(const char *given, const char *path, struct shell *ret, struct err *err);
/* The same where programs are not looked up: in a container the shell's name is used as it is, sh where none is given. */
void shell_choose_unseen(const char *given, struct shell *ret);
void shell_done(struct shell *s);
/* The argument vector: program, then the format's words with the script's path in the place of {0}. Sets the items.
 * ERR_INVALID: there is no {0}, or another brace. */
int shell_arguments(const struct shell *s, const char *script_path, struct strv *ret, struct err *err);
/* Words of an argument text: blanks separate, quotes group. */
void shell_split(const char *text, struct strv *ret);
/* The script as it is written to its file. free() */
char *shell_script(const struct shell *s, const char *script);
/* A program by name in a search path, or an existing absolute path; NULL: none. free() */
char *shell_find(const char *name, const char *path);
