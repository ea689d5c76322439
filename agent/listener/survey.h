/* Who runs jobs as which user, and what walls around the directories of all registrations would cost each of these users: looked
 * at once for all of them, since hundreds of registrations share users, directories and answers. */
#pragma once
#include <sys/types.h>

#include "agent/listener/records.h"

struct survey_question {
	const struct registration *const *all; /* borrowed, as all texts here, for the life of the survey */
	size_t count;
	const char *agent_dir; /* of the store; NULL: registrations that are kept nowhere */
};
struct survey;
struct survey *survey_new(const struct survey_question *q);
void survey_free(struct survey *s);
void survey_freep(struct survey **s);
const struct registration *survey_registration(const struct survey *s, size_t which);
uid_t survey_user(const struct survey *s, size_t which);
/* Do jobs of another repository run as the same user? */
bool survey_is_shared(const struct survey *s, size_t which);
/* May the jobs' user become root? Asked once a user. */
bool survey_may_sudo(struct survey *s, size_t which);
/* What has to be closed to the jobs of this registration, and what of it stays open. */
int survey_directories(struct survey *s, size_t which, struct strv *closed, struct strv *open, struct err *err);
/* Why walls around these directories would take away what its jobs use; *ret NULL: they would not. Borrowed. */
int survey_cost(struct survey *s, size_t which, const char **ret, struct err *err);
