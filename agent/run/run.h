/* A workflow run here, without GitHub: `davit run`. The forge (agent/forge/local.h) decides what runs when; each job gets a worker, as under
 * the agent; a person sees it happen. */
#pragma once
#include "base/core/str.h"
#include "base/data/json.h"

struct run_options {
	const char *workflow;   /* a file, its name, or the workflow's; NULL: the only one */
	const char *job;        /* only that one and what it needs; NULL: all */
	const char *event;      /* NULL: the first of push, workflow_dispatch and the file's own that there is */
	const char *native;     /* which actions this program carries out (agent/actions/native.h); NULL: the default */
	const char *event_file; /* its payload; NULL: made from the work tree */
	json_t *inputs;         /* name → string */
	json_t *secrets, *vars; /* name → string; a person's settings are added */
	struct strv repositories; /* OWNER/NAME=DIR: where actions of others lie here */
	struct strv environment;  /* names of variables that the steps inherit */
	const char *releases;     /* of the run's GitHub: DIR/OWNER/NAME/TAG/FILE; NULL: none */
	int64_t slots;            /* how many jobs at a time */
	bool json, verbose;
};
/* ret_status: 0 all succeeded, 1 a job failed, 130 cancelled. An error: nothing was run. */
int run_workflow(const struct run_options *o, int *ret_status, struct err *err);
