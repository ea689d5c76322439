/* The engine: validate all, check all, plan all, then step by step journal, save, apply and verify each change; on failure
 * undo in reverse; then decide, clean and report. docs/semantics.md is its specification.
 *
 * A deployment is given as one JSON object, resolved but for values that only later steps give:
 *   {"name","environment","on_failure","targets":{NAME:{"local":{}|"ssh":{…},"become","base"}},
 *    "steps":[{"step":"archive-upload","id","name","target":["web"],"input":{…},"texts"}],
 *    "source_root","file","commit","dirty","repository","run_url","api_url","token","undo_deadline_ms","seal":true,
 *    "kept":{…} (as the caller wants it back for a rollback after the commit; goes into the journal, so it holds no secret)}
 * "texts": the values of the input may be YAML in text (the way of `with:`); left out: true, as all were before it was there.
 * It may hold secrets; what recovery needs of it is sealed (base/secret/seal.h).
 */
#pragma once
#include "engine/run/deployment.h"
#include "engine/run/step.h"
#include "engine/journal/store.h"

struct engine_options {
	struct store *store;
	struct wait *wait;         /* cancel, and no deadline */
	const char *expect_digest; /* NULL: any plan */
	const json_t *
		expect_plan; /* engine_result.planned of that digest, so that a difference can be told; NULL: not known */
	int64_t lock_wait_ms;
	int64_t undo_deadline_ms; /* 0: 15 min */
	bool force;               /* rollback: overwrite conflicts */
	bool data;                /* rollback: snapshots too */
	bool refresh;             /* a plan: the status is 6 when what can be looked at is not as described */
	bool planned;             /* a plan: ret->planned is wanted */
	bool seal;
	int64_t standstill_ms; /* of another machine's locks, before they are taken over; 0: 90 s */
	bool consent;          /* a person says that the other machine is gone */
	/* Fills in values of earlier steps: called before a step is applied, with {"deployment":{…},"steps":{ID:{"outputs":{…}}}}. May be NULL. */
	int (*resolve)(void *context, int step_index, const json_t *contexts, json_t **ret_input, struct err *err);
	void *resolve_context;
	/* Lines as they happen: level "info", "warning", "error", "group", "endgroup"; the program prints them or makes workflow commands of them. */
	void (*report)(void *report_context, const char *level, const char *line);
	void *report_context;
	/* What was found before the first change, all of it: [{"severity": "error" | "warning","step","target","at","text","hint"}], missing
	 * members are left out. NULL: it is reported line by line. */
	void (*findings)(void *report_context, const json_t *findings);
	/* The current activity, replaced by the next; NULL: no activity. For a person at a terminal: the function is NULL if nobody watches. */
	void (*live)(void *report_context, const char *line);
	const char *job_key; /* the deployment of this job; NULL: none */
	bool runner_decides; /* the job's runner decides at the job's end; if it dies before, the job did not succeed */
	bool keep_open;      /* a step of a job: do not decide at the end */
	void (*opened)(
		void *opened_context,
		const char *id); /* a step of a job opened the job's deployment; nothing is changed yet. May be NULL */
	void *opened_context;
	/* Factories of targets and steps: steps/registry.h, or the simulator's. */
	const struct field_choice *const *target_kinds; /* each a struct target_kind */
	target_make_fn make_target;
	const struct step_type *(*find_step)(const char *name);
	/* The kinds of changes that steps and providers bring along; NULL: those of engine/change only. */
	const struct change_type *(*find_change)(const char *kind);
	int runner_pid; /* of a job: after the end of this process no further step will come; 0: found among our ancestors */
	const struct deployment *
		deployment; /* rollback, recover: from a file, if the sealed one is gone or was never made; may be NULL */
	const json_t *
		heard; /* continue: approvals that this process heard itself, which no journal proves; an array or NULL */
	struct http *(*http)(void *http_context); /* the process's client; may be NULL */
	void *http_context;
};

struct engine_result {
	int exit_status; /* docs/semantics.md 6 */
	enum deployment_state state;
	char *id;        /* NULL when none was made */
	char digest[65]; /* the plan's */
	size_t drift;    /* of a plan with `refresh`: changes that would bring the world back to its description */
	json_t *planned; /* of a plan with `planned`: what the digest is of, without secrets; owned */
	json_t *report;  /* plan, steps, changes, probes, left-overs: what show --json prints; owned */
	json_t *outputs; /* {step id: {name: text}} */
	json_t *decided; /* of a recovery of all: [{"exit_status","state","id","report"}], one per deployment; owned */
};
void engine_result_done(struct engine_result *r);

/* All return 0 whenever ret->exit_status says how it ended; err then holds the reason for a status other than 0. Negative only if
 * even that is unknown. */
int engine_plan(const struct deployment *deployment, const struct engine_options *o, struct engine_result *ret,
                struct err *err); /* no lock, nothing written */
int engine_deploy(const struct deployment *deployment, const struct engine_options *o, struct engine_result *ret,
                  struct err *err);
/* A step of a job: opens or joins the deployment of o->job_key; deployment has exactly one step. */
int engine_job_step(const struct deployment *deployment, const struct engine_options *o, struct engine_result *ret,
                    struct err *err);
/* Decides the job's deployment. status: success, failure, cancelled; on_failure NULL: the deployment's own. Nothing open: status 0. */
int engine_finish(const char *status, const char *on_failure, const struct engine_options *o, struct engine_result *ret,
                  struct err *err);
/* id NULL: the job's, else the only open or held one. to: a release name. secrets: values by name that the sealed file lacks. */
int engine_rollback(const char *id, const char *to, const json_t *secrets, const struct engine_options *o,
                    struct engine_result *ret, struct err *err);
/* The same as a plan: in ret->report "plan" and "not_taken_back"; no lock, nothing written. */
int engine_rollback_plan(const char *id, const char *to, const struct engine_options *o, struct engine_result *ret,
                         struct err *err);
/* id NULL: every undecided one. deployment: from a file, for recovering from the targets alone (may be NULL); takeover: from another machine. */
struct engine_recover_options {
	const char *id;
	const struct deployment *deployment;
	bool takeover;
	int64_t takeover_after_ms;
	const json_t *secrets;
};
int engine_recover(const struct engine_recover_options *r, const struct engine_options *o, struct engine_result *ret,
                   struct err *err);
/* A parked deployment: carried out, if people have agreed to its plan and the plan made now is that one (engine/run/park.c). Not
 * yet: exit status 7. What may pass (a lock, a target out of reach) leaves it parked; another plan closes it. */
int engine_continue(const char *id, const struct engine_options *o, struct engine_result *ret, struct err *err);
/* Closes it: nothing was changed. reason: what history says. */
int engine_reject(const char *id, const char *reason, const struct engine_options *o, struct engine_result *ret,
                  struct err *err);
int engine_unlock(const char *environment, bool yes, bool accept, const struct engine_options *o,
                  struct engine_result *ret, struct err *err);
