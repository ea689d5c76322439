/* A workflow file → a checked model → the job message that a runner gets.
 *
 * The model keeps what the service hands on unevaluated as *template tokens* (the JSON form of a YAML value that may
 * hold expressions), exactly as the job message carries them, and as plain text what the service itself decides by
 * (needs, labels, conditions, triggers). Reading finds all faults of a file at once, each with its place. Source:
 * GitHub's workflow syntax, docs/architecture.md; the message's shape is the runner protocol's. */
#pragma once
#include "agent/template/read.h"
#include "base/data/yaml.h"

enum workflow_step_kind { WORKFLOW_STEP_RUNS, WORKFLOW_STEP_WAIT, WORKFLOW_STEP_WAIT_ALL, WORKFLOW_STEP_CANCEL };

/* A step with `uses:` or `run:`, or one that says something of those in the background. `parallel:` becomes its steps, all in the
 * background, and a step that waits for them. */
struct workflow_step {
	enum workflow_step_kind kind;
	bool background;
	struct strv targets; /* context names of what is waited for or cancelled */
	char *group;         /* of steps that stood in one `parallel:`; NULL: in none */
	size_t entry;        /* its place in the list of the file */
	char *context_name;  /* id:, else a made-up name that starts with "__" */
	char *condition;     /* ready for the runner: no braces, success() && (…) already added */
	json_t *name;        /* tokens; NULL: not given */
	json_t *env, *inputs, *continue_on_error, *timeout_minutes;
	json_t *reference; /* {"type":"script"} and the like; it says nothing where no process runs */
	struct yaml_mark mark;
};

struct workflow_job {
	char *id;
	json_t *name; /* token; NULL: the id */
	struct strv needs;
	json_t *runs_on; /* token: string or sequence of strings */
	char *condition; /* as for steps */
	json_t *env, *defaults, *outputs, *timeout_minutes, *continue_on_error, *container, *services;
	json_t *matrix, *fail_fast, *max_parallel; /* tokens of `strategy`; NULL: not given */
	bool strategy_is_expression;               /* they are members of its value, each of which may be missing */
	json_t *environment_name, *environment_url;
	json_t *permissions;                            /* plain JSON as written; NULL: those of the workflow */
	json_t *concurrency_group, *concurrency_cancel; /* tokens; NULL: none, false */
	json_t *cancel_timeout_minutes; /* how long a cancelled job may continue; NULL: the service's default */
	char *uses;      /* "./.github/workflows/x.yml": it calls a reusable workflow, and has no steps; NULL: it has */
	json_t *with;    /* of that call, token */
	json_t *secrets; /* of that call, token; NULL: none, or all … */
	bool inherits_secrets; /* … of the caller's */
	struct workflow_step *steps;
	size_t step_count;
	struct yaml_mark mark;
};

struct workflow {
	char *path;       /* ".github/workflows/x.yml": the file table's only entry */
	char *name;       /* name:, else the path */
	json_t *run_name; /* token or NULL */
	json_t *on; /* {"push": {"branches": […], …}, "workflow_dispatch": {"inputs": {…}}, …}; null → {} */
	json_t *env, *defaults; /* tokens or NULL */
	json_t *permissions;    /* plain JSON as written, or NULL */
	json_t *concurrency_group, *concurrency_cancel;
	struct workflow_job *jobs;
	size_t job_count;
};

/* Reads and checks. path is only a name. Faults go to `faults` (the caller's); with any the result is ERR_INVALID and
 * no workflow. ret_doc (may be NULL) gets the document even then, for printing the faults with positions; the caller's.
 */
int workflow_read(const char *path, const char *data, size_t len, struct faults *faults, struct workflow **ret,
                  struct yaml_doc **ret_doc, struct err *err);
/* Reads all that there is, faults or not, and tells what GitHub would refuse (faults) from what only this agent does not do
 * (refusals). Only a document that is no YAML fails. ret, ret_doc: the caller's. */
int workflow_check(const char *path, const char *data, size_t len, struct faults *faults, struct faults *refusals,
                   struct workflow **ret, struct yaml_doc **ret_doc, struct err *err);
void workflow_free(struct workflow *w);
void workflow_freep(struct workflow **w);
/* Leaves that job and those that it needs. ERR_INVALID: there is none of that name. */
int workflow_keep_job(struct workflow *w, const char *id, struct err *err);
const struct workflow_job *workflow_find_job(const struct workflow *w, const char *id); /* NULL: none */

/* An event that the file waits for and that nothing here gives; NULL past the last. In the file's order. */
const char *workflow_silent_event(const struct workflow *w, size_t n);
/* True if a push to `ref` ("refs/heads/main") starts it. Deleted refs never do. */
bool workflow_wants_push(const struct workflow *w, const char *ref);
/* True if it waits for an event of that name. branch: the base of pull_request, the branch of what ran of workflow_run; action: the type; NULL: it has none. Path filters are
 * not looked at. */
bool workflow_wants(const struct workflow *w, const char *event, const char *branch, const char *action);
/* True if its workflow_run waits for runs of the workflow of that name. */
bool workflow_wants_run_of(const struct workflow *w, const char *name);
/* The filters `paths` and `paths-ignore` of push and pull_request: whether there is one, and whether files that change let it start. */
bool workflow_has_path_filter(const struct workflow *w, const char *event);
bool workflow_wants_paths(const struct workflow *w, const char *event, const struct strv *changed);
/* GitHub's filter patterns: *, **, ?, +, [] and a leading !, the last match decides. items: strings. */
bool workflow_filter(const json_t *patterns, const char *name);
/* False: it cannot match anything, as with an unclosed or reversed [range]. A leading ! is allowed. */
bool workflow_pattern_good(const char *pattern);

/* True if the pushed commit's message asks for no workflow: "[skip ci]" and similar, or a trailer "skip-checks: true". */
bool workflow_skipped_by(const char *message);

/* Checks inputs of a dispatch against the declaration, fills in defaults: a new object of strings and booleans.
 * ERR_INVALID names the input. */
int workflow_dispatch_inputs(const struct workflow *w, const json_t *given, json_t **ret, struct err *err);

/* What a call gives a reusable workflow: the evaluated `with:` checked against its declaration, defaults evaluated in `scope`. A new
 * object of typed values. ERR_INVALID names the input. */
struct expr_scope;
int workflow_call_inputs(const struct workflow *w, const json_t *given, const struct expr_scope *scope, json_t **ret,
                         struct err *err);
/* given: name → string. Of inherited ones more may be given than are declared. */
int workflow_call_secrets(const struct workflow *w, const json_t *given, bool inherited, struct err *err);
/* A called job has at most its caller's permissions. New. */
json_t *workflow_permissions_below(const json_t *own, const json_t *callers);

/* Permissions of a job's token: {"Contents": "read", …} from the workflow and the job. Never NULL; the
 * caller's. */
json_t *workflow_permissions(const struct workflow *w, const struct workflow_job *job);

/* ---- the message (message.c) ---- */

struct workflow_message {
	const struct workflow *workflow;
	const struct workflow_job *job;
	const char *plan_id, *job_id; /* GUIDs */
	const char *display_name;     /* evaluated */
	const char *run_service_url, *results_url, *launch_url, *cache_url, *pipelines_url,
		*feed_url,        /* the live console; NULL: none */
		*actions_url,     /* where actions find the services of artifacts and caches; NULL: nowhere */
		*id_token_url;    /* cache, pipelines, id: NULL or "" for none */
	const char *access_token; /* the job's token for run service and results */
	const char *github_token;
	const char *billing_owner_id;
	const char *runner_group;
	const char *environment;                      /* evaluated name or NULL */
	const json_t *github, *needs, *inputs, *vars; /* plain JSON; inputs may be NULL */
	const json_t *secrets;                        /* name → string, without GITHUB_TOKEN */
	const json_t *matrix;                         /* of a leg; NULL: there is no matrix */
	const json_t *strategy; /* {"fail-fast", "job-index", "job-total", "max-parallel"}; NULL: of a job alone */
	const json_t *permissions;
	const json_t *flags; /* further variables, name → string; may be NULL */
	int64_t check_run_id;
};
/* The AgentJobRequestMessage. New. Step ids are random. */
json_t *workflow_job_message(const struct workflow_message *m);
