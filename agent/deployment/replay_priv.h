/* What replay.c and replay_job.c share. */
#pragma once
#include "base/data/json.h"

/* The members of an ssh target that log in. */
enum { REPLAY_LOGIN_COUNT = 3 };
extern const char *const kept_login[REPLAY_LOGIN_COUNT];
/* Does a way back need this step? */
bool replay_needs(const char *step, const json_t *input);
/* Does the text of the value hold something that the process's mask knows? One that is too long counts as such. */
bool replay_shows_a_secret(const json_t *value);
