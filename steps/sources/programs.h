/* Programs that sources run on a target: their variables, their time, and what they say when they fail. */
#pragma once
#include "steps/sources/sources.h"

/* Variables of a program, in order; values may be secret, so they are sent on standard input (struct target_command). */
struct source_env {
	struct field_pair *items;
	size_t count, cap;
	struct strv owned;
};
void source_env_done(struct source_env *e);
void source_env_add(struct source_env *e, const char *name, const char *value); /* borrowed; NULL: not added */
void source_env_addf(struct source_env *e, const char *name, const char *fmt, ...) _printf_(3, 4); /* no secrets */
void source_env_inputs(struct source_env *e, const struct source_call *s); /* those of the input `env` */

struct source_program {
	const char *const *argv; /* as in struct target_command: either this … */
	const char *script;      /* … or this */
	const struct source_env *env;
	const char *user;
	int64_t timeout_ms;
};
/* Guarded; what it writes to its error stream goes to the log. out: its output; may be NULL. ERR_FAILED says what it complained of. */
int source_run(const struct source_call *s, struct target *t, const struct source_program *p, struct str *out,
               struct err *err);
/* The same for a program that changes nothing. */
int source_ask(struct view *v, const struct source_program *p, struct str *out, struct err *err);
