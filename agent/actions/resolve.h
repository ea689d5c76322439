/* Resolves a `uses:` of an action of the configured repository (`--actions-repository`): it runs
 * natively, in davit-step, when its version is this program's major; another version is refused with a hint.
 * STEP_PROTOCOL.md says how davit-step is called. */
#pragma once
#include "base/data/json.h"

/* USES_SETUP: actions/setup, which has nothing to fetch here. */
enum uses_kind { USES_TYPED, USES_DEPLOY, USES_SETUP };
struct uses {
	enum uses_kind kind;
	char *step;   /* USES_TYPED: "archive-upload" */
	char *shown;  /* "owner/repo/actions/archive-upload@v1" */
	char *action; /* without the version */
	char *ref;
};
/* reference: of the job message. ERR_UNSUPPORTED, ERR_INVALID: a sentence for the job's log, with a hint. */
int uses_resolve(const json_t *reference, const char *actions_repository, struct uses *ret, struct err *err);
void uses_done(struct uses *u);

/* Appends the standard input of davit-step: {"input":{…}} or {"deploy":{…}} with {"job":{…}}. text: wipe. */
bool uses_document(const struct uses *u, const json_t *inputs, const json_t *job, struct str *text);
/* Arguments of davit-step after its name; NULL-terminated, static except for the step's name. */
void uses_arguments(const struct uses *u, const char *program, const char *ret_argv[6]);
/* True if it only reads (or is no step at all), so that it never opens a deployment. */
bool uses_only_looks(const struct uses *u);

/* The job as a step knows it, from the contexts `github` and `matrix`; new. token: of the job; masks: values that no
 * output may show. */
struct uses_job {
	const json_t *github, *matrix, *secrets;
	const json_t *inputs; /* of the step: those secrets go along that stand in them; NULL: none */
	const json_t *env; /* the step's env context without secrets, for the expressions of a deployment file; NULL */
	const json_t *isolation; /* what stands between this job and others (base/data/walls_told.h); NULL */
	const char *tracking_id, *workspace, *environment, *on_failure, *status;
};
json_t *uses_job(const struct uses_job *job);
