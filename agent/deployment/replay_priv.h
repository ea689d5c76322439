/* Shared by replay.c and replay_job.c. */
#pragma once
#include "base/data/json.h"

/* The members of an ssh target that log in. */
enum { REPLAY_LOGIN_COUNT = 3 };
extern const char *const kept_login[REPLAY_LOGIN_COUNT];
/* True if a rollback needs this step. */
bool replay_needs(const char *step, const json_t *input);
/* Empties the list among its inputs that a rollback does not need. */
void replay_spare(const char *step, json_t *input);
/* True if the value's string holds something that the process's mask knows, or is too long to tell. */
bool replay_shows_a_secret(const json_t *value);
