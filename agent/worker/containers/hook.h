/* Container hooks [11.2]: a script of the host's administrator in place of each docker command: it makes and removes the job's containers and runs
 * programs in them, with one JSON document on standard input and its answer in a file. ACTIONS_RUNNER_CONTAINER_HOOKS in the agent's
 * environment names it, unless the service's flag DistributedTask.AllowRunnerContainerHooks says no. It runs with the agent's environment: nothing of
 * the workflow's changes what it does. */
#pragma once
#include "agent/worker/containers/containers.h"

bool hook_is_set(const struct job *j);
/* The job's containers are made, and what the script tells of them is what expressions see. */
int hook_prepare(struct job *j, struct record *r, struct err *err);
void hook_clean_up(struct job *j, struct record *r); /* whatever became of the job */
/* A program in the job's container; variables: NAME=VALUE. */
struct hook_program {
	const struct strv *words, *variables;
	const char *cwd; /* as the container sees it */
};
int hook_run_program(struct job *j, struct record *r, const struct hook_program *p, enum process_end *ret_end,
                     int *ret_status, struct err *err);
/* A container of its own for one step. args: the document's, taken. */
int hook_run_container(struct job *j, struct record *r, json_t *args, enum process_end *ret_end, int *ret_status,
                       struct err *err);
/* The program for JavaScript actions in the job's container. */
const char *hook_node(const struct job *j);

/* {"sourceVolumePath", "targetVolumePath", "readOnly"} of "HERE:THERE[:ro]" or "THERE". New. */
json_t *hook_mount(const char *text);
