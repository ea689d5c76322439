/* davit agent autoscale: for each queued job that fits this machine a runner of its own, by a just-in-time registration that lives for that one job.
 * Queued jobs are asked for by REST, with conditional requests; so one agent serves all repositories of a personal account, for which GitHub has no
 * runners in common. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

struct scale_options {
	struct strv urls;                 /* of repositories, or of a person or organisation: all of theirs */
	struct strv labels;               /* whole: those that a job may ask for */
	const char *token_file;           /* NULL: GITHUB_TOKEN */
	const char *app_id, *app_key;     /* of a GitHub App, in the token's place; NULL */
	const char *policy, *worker_user; /* handed to each runner; NULL */
	int slots;
	int64_t interval_ms;
	bool json; /* a JSON object a line on standard output for what happens */
};
/* Until it is told to stop (cancel_fd): then no runner is started any more, those that work end their job, a second signal cancels them. Negative: an error
 * before the first question. */
int scale_run(const struct scale_options *options, int cancel_fd, struct err *err);
