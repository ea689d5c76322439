/* Which walls stand between the jobs of a registration and those of others that run as the same user (base/data/walls_told.h). A
 * user of its own (worker_user.h) needs none. */
#pragma once
#include "agent/listener/survey.h"

struct isolation_question {
	struct survey *survey;
	size_t which;
	const char *mode; /* "auto", "on", "off"; NULL: as the registration says */
	bool for_a_job;   /* the directories are wanted; that its user may not use sudo is known */
};
struct isolation {
	bool shared; /* jobs of another repository run as the same user */
	bool processes, signals, files, required;
	struct strv closed, open; /* of a job: directories, for struct landlock_plan */
	char *text; /* one line for people: what is kept apart, what is not and why; NULL: nothing is to be said */
	bool whole; /* nothing that could be reached is left out */
};
int isolation_decide(const struct isolation_question *q, struct isolation *ret, struct err *err);
void isolation_done(struct isolation *i);
/* What the worker is told: as for walls_told_raise (base/data/walls_told.h), and "required": a job fails where they cannot be raised; "text".
 * The directories name all other registrations: kept for each of them they would grow with the square. */
json_t *isolation_settings(const struct isolation *i);
/* "auto", "on" or "off"? */
bool isolation_is_mode(const char *text);
