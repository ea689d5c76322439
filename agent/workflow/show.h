/* A workflow as it would run: jobs in the order of their needs, a job for each combination of its matrix, their steps. What only a run can
 * know stays the expression that it is. */
#pragma once
#include "agent/workflow/workflow.h"

/* Reads a called workflow ("./.github/workflows/x.yml") for the show. ERR_NOT_FOUND: it is not there; its jobs are left out. */
typedef int (*workflow_reader)(void *user, const char *uses, struct workflow **ret, struct err *err);

struct workflow_show {
	const json_t *inputs; /* of a dispatch, checked; NULL: not known */
	const json_t *vars;   /* NULL: not known */
	const char *event;    /* NULL: not known */
	workflow_reader read; /* NULL: calls are shown without their jobs */
	void *user;
};
/* {"path", "name", "on", "jobs": [{"id", "name", "stage", "needs", "if", "runs", …, "steps" or "uses" and "jobs"}]}. `runs`: true, false, or null where
 * it depends on what happens. New. */
int workflow_show(const struct workflow *w, const struct workflow_show *how, json_t **ret, struct err *err);
