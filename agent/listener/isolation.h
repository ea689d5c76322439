/* Decides the walls between the jobs of a registration and those of others that run as the same user (base/data/walls_told.h). A
 * registration with a user of its own (worker_user.h) needs none. */
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
	char *text; /* one line for people: what is kept apart, what is not and why; NULL: nothing to report */
	bool whole; /* no reachable directory is left out */
};
int isolation_decide(const struct isolation_question *q, struct isolation *ret, struct err *err);
void isolation_done(struct isolation *i);
/* The settings for the worker: as for walls_told_raise (base/data/walls_told.h), and "required": a job fails if walls cannot be raised; "text".
 * The directories name all other registrations: kept for each of them they would grow quadratically. */
json_t *isolation_settings(const struct isolation *i);
/* "auto", "on" or "off"? */
bool isolation_is_mode(const char *text);
