/* The job around a step: under davit's worker a JSON document on standard input (agent/actions/STEP_PROTOCOL.md), under
 * another runner the environment (plugin mode: INPUT_*, GITHUB_*, RUNNER_*). The steps of one job share a deployment by its key. */
#pragma once
#include "base/data/json.h"
#include "base/data/fields/read.h"

/* Of a job that a pull request began. */
struct invocation_pull {
	int64_t number; /* 0: another event began it */
	char *head,
		*repository; /* the newest commit of its branch, and where that is: not the job's own one if it comes from a fork */
};

struct invocation {
	bool present;
	bool runner_decides; /* from davit's worker, which decides the deployment at the job's end */
	bool secrets_known;  /* the runner named them all: the mask has them */
	char *key;           /* server, repository, run id, attempt, job, matrix, RUNNER_TRACKING_ID */
	json_t *env;         /* the step's `env` context from the worker; NULL */
	json_t *masked;      /* the values that the runner named as secret, an array; NULL */
	char *repository, *run_url, *api_url, *token, *commit, *ref, *workspace, *environment, *on_failure;
	char *status; /* of the job so far, in GitHub's words; NULL: not known */
	char *actor;  /* who began the run: a login */
	struct invocation_pull pull;
};

/* Standard input, at most 8 MiB: either {"input":{…},"job":{…}} or {"deploy":{…},"job":{…}} or plain inputs (JSON or YAML).
 * ret_input: the object under "input"/"deploy" or the plain one; the caller's. *ret_text: the values are strings. */
int invocation_read_document(const char *data, size_t len, struct invocation *ret, json_t **ret_input, bool *ret_text,
                             struct err *err);
/* From GITHUB_* when GITHUB_ACTIONS is "true"; present stays false elsewhere. */
void invocation_from_environment(struct invocation *ret);
/* INPUT_NAME of every input of the table; each is erased from the environment. */
json_t *invocation_inputs_from_environment(const struct field_table *table);
json_t *invocation_inputs_by_name(const char *const *names, size_t count);
/* {name: text} appended to the file that GITHUB_OUTPUT names; nothing without it. */
int invocation_write_outputs(const json_t *outputs, struct err *err);
/* Text appended to GITHUB_STEP_SUMMARY, masked. */
int invocation_write_summary(const char *markdown, struct err *err);
/* The id of the job's deployment in $RUNNER_TEMP/davit/deployment, which the runner empties with each job: written when it is
 * opened, so that a later step that does not find it in its journal knows that there is one. */
void invocation_keep_id(void *context, const char *id); /* context: struct deployment_session, for a warning */
char *invocation_kept_id(void);                         /* NULL: none; free() */
/* The last part of "owner/name", and the job's environment, in the form that a deployment's names have; or NULL. */
char *invocation_default_name(const struct invocation *job);
char *invocation_default_environment(const struct invocation *job);
void invocation_done(struct invocation *job);
