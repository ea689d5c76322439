/* What comments and issues share. */
#pragma once
#include "agent/deployment/invocation.h"
#include "agent/deployment/session.h"
#include "providers/github/rest.h"

/* GitHub takes 65,536 characters; the line that finds it again comes on top. */
enum { REVIEW_TEXT_MAX = 65000 };

struct rest review_rest(struct deployment_session *s, const struct invocation *job);
/* The job has a repository, a commit and a token. */
int review_check_job(const struct invocation *job, const char *what, struct err *err);
