/* What replay.c and replay_job.c share. */
#pragma once
#include "base/data/json.h"

/* The members of an ssh target that log in. */
enum { KEPT_LOGIN_COUNT = 3 };
extern const char *const kept_login[KEPT_LOGIN_COUNT];
/* Does a way back need this step? */
bool kept_needs(const char *step, const json_t *input);
/* Does the text of the value hold something that the process's mask knows? One that is too long counts as such. */
bool kept_shows_a_secret(const json_t *value);
