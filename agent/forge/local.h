/* The forge in the caller's own process, for one who runs a workflow here: he takes the jobs that are ready and starts their workers
 * himself, so that nothing registers, polls or asks for a message. What a job means is the forge's: needs, matrices, conditions, groups,
 * time limits. */
#pragma once
#include "agent/forge/forge.h"
#include "agent/workflow/workflow.h"

struct forge_local_run {
	struct workflow *workflow;    /* taken */
	const char *event, *ref;      /* "push", "refs/heads/main" */
	const char *sha;              /* a commit of the run's repository */
	json_t *payload;              /* taken; NULL: made from … */
	json_t *head_commit;          /* … that commit, as events show one, without its URL; taken */
	json_t *inputs;               /* of a dispatch, checked; taken; NULL: none */
	const json_t *secrets, *vars; /* name → text */
	const char *work_tree;        /* of that repository; reusable workflows are read there; borrowed to the end */
	const struct strv *repositories; /* "OWNER/NAME=DIR": the run's own first */
};
/* Begins the only run of this forge, which serves no repository yet. */
int forge_local_begin(struct forge *f, const struct forge_local_run *what, struct err *err);

/* A job that is ready, which counts as running from now on: {"job_id", "name", "message"}. NULL: none is. The caller's. */
json_t *forge_local_take(struct forge *f);

struct forge_local_job {
	bool cancelled;         /* it was told to end … */
	int64_t cancel_left_ms; /* … within that time */
	bool over, lost;        /* lost: it was ended while its worker had not reported it */
};
struct forge_local_job forge_local_look(struct forge *f, const char *job_id);
/* Its worker ended. A job that was not reported has failed with that reason. */
void forge_local_end(struct forge *f, const char *job_id, const char *why);
void forge_local_cancel(struct forge *f);

/* Readable when a job or the run has changed; forge_local_pass makes it unreadable, and lets time pass (time limits). */
int forge_local_fd(const struct forge *f);
void forge_local_pass(struct forge *f);
/* The run as GET /runs shows it, without logs. The caller's. */
json_t *forge_local_show(struct forge *f);
