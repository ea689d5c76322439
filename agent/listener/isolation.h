/* Which walls stand between the jobs of a registration and those of others that run as the same user (base/data/walls_told.h). A
 * user of its own (worker_user.h) needs none. */
#pragma once
#include "agent/listener/records.h"

struct isolation_question {
	const struct registration *const *all;
	size_t count, which;
	const char *mode;      /* "auto", "on", "off"; NULL: as the registration says */
	const char *agent_dir; /* of the store; NULL: a registration that is kept nowhere */
	bool no_sudo;          /* known already: their user may not use it */
};
struct isolation {
	bool shared; /* jobs of another repository run as the same user */
	bool processes, signals, files, required;
	struct strv closed, open; /* directories, for struct landlock_plan */
	struct strv areas;        /* those of them that are work areas of others */
	char *text; /* one line for people: what is kept apart, what is not and why; NULL: nothing is to be said */
	bool whole; /* nothing that could be reached is left out */
};
int isolation_decide(const struct isolation_question *q, struct isolation *ret, struct err *err);
void isolation_done(struct isolation *i);
/* What the worker is told: as for walls_told_raise (base/data/walls_told.h), and "required": a job fails where they cannot be raised; "text".
 * The directories name all other registrations: kept for each of them they would grow with the square. */
json_t *isolation_settings(const struct isolation *i, bool with_directories);
/* "auto", "on" or "off"? */
bool isolation_is_mode(const char *text);
