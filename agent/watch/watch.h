/* davit watch: pull mode. It asks GitHub's public REST for new deployments, or for new commits of a branch, of any number of repositories;
 * carries out the deployment file of that commit, by `davit deploy` in a process of its own; and says how it went by deployment statuses. No
 * runner, no webhook, nothing that listens. Which of them have been handled is kept in the state directory: none is run twice, and none is
 * forgotten, whatever dies in between (docs/semantics.md). One process a state directory. */
#pragma once
#include "base/core/err.h"

struct watch_options {
	const char *file;   /* what is watched (schemas/watch.json) */
	const char *policy; /* of the host; NULL: where admission_path finds it */
	bool once;          /* carry out what there is, then end */
	bool json;          /* a JSON object a line on standard output for what happens */
};
/* Returns the exit status (0; 1: with `once`, one of them did not succeed), or an error before anything was asked. cancel_fd: ends it, once
 * what runs is taken back. */
int watch_run(const struct watch_options *options, int cancel_fd, struct err *err);
