/* A typed step: one const table. The engine calls the members in this order; the last column says what NULL means.
 *
 * | member   | receives                    | touches  | promises                                                        | NULL    |
 * | park     | typed input                 | nothing  | how long its deployment waits for people, before the first change, and what they are asked | it does not wait |
 * | agreed   | input, what people have said | local files | 0: they have agreed to this plan; 1: not yet, and who is missing       | –       |
 * | describe | typed input                 | nothing  | one sentence that a person can approve; secrets left out         | the name |
 * | validate | typed input                 | nothing  | rules that a schema cannot say; all faults, each with its pointer | none   |
 * | missing  | input (and what was handed over) | nothing | faults that check finds too, for when other faults end it before     | none    |
 * | check    | input, read-only targets    | reads    | all that can be known before the first change, all faults at once | none   |
 * | named    | input                       | local files | what stands in the file that its input names, in the form of its input: a takeover undoes nothing else. NULL in *ret: nothing | nothing more than its input |
 * | begin    | input, before anything is connected | local files | may start reading in the background what the plan will need | none |
 * | plan     | input, one read-only target | reads    | the changes, from and to; none means already so                  | none    |
 * | apply    | one change, its target      | writes   | makes it; the same change twice is harmless                      | change_apply |
 * | outputs  | input, one read-only target | reads    | adds outputs that are known only once its changes are made; "resources": a JSON object, ID → name → string, for the context of that name | none |
 * | verify   | one change, read-only       | reads    | looks afresh; ERR_CONFLICT says what differs                     | change_compare |
 * | undo     | one change, its target      | writes   | reverses what the record says; twice equals once; 1: there is nothing to take back | change_undo |
 * | probe    | input                       | reads    | steps without changes that judge (health-gate): ERR_FAILED says why | none |
 * | baseline_begin | input               | reads    | starts the round before the first change, on its own thread where that takes long | probe asks it |
 * | baseline_end   | input               | reads    | 0 healthy; ERR_FAILED not; ERR_TIMEOUT not known: no answer within wait_ms        | –    |
 * | release  | input, one read-only target | reads    | the name of the release that is valid there now; "" none         | none    |
 * | restore  | input, target (in undo, after all changes are taken back) | writes | restore_on_rollback, after_undo         | none    |
 * | after    | input                       | nothing  | one line: what restore would do; nothing where it would do nothing | none |
 * | deciding | input, the outcome          | local files | once it is decided, before anything is cleaned: what `settled` would say is kept, so that it is said although this process dies | none |
 * | settled  | input, the outcome          | –        | after the decision (notify); failure is a warning                | none    |
 * | images   | input, one read-only target | reads    | after the commit: the digests of the images that stand there by this step ("sha256:…", appended to an array), for the record of what passed a gate | it has none |
 * | clean    | input, target, after the commit | writes | retention: releases and snapshots beyond `keep`                | none    |
 * | back     | input, one read-only target, a change of the committed deployment that is rolled back | reads | the changes that lead back from it: none where it is as before already. ERR_UNSUPPORTED: none can, and err says why; ERR_CONFLICT: the world is not as that change left it | it stays, and is named |
 * | back_to | as `back`, and the name of a release in place of the change | reads | the changes that lead back to what it was before that release was replaced | nothing of the step is led back to a release |
 *
 * Changes of an API are made, looked at and taken back by their driver alone, which is given the lock's guard and notes its tasks.
 * apply is called once a change, after intents and former contents are durable; the journal is the engine's business.
 * undo gets the change from the journal, maybe in another process than apply's: it must rest on the record, the target and the sealed input only.
 */
#pragma once
#include "engine/change/change.h"
#include "schemas/step_info.h"

struct http;
struct step_type;

enum outcome_state { OUTCOME_COMMITTED, OUTCOME_UNDONE, OUTCOME_HELD, OUTCOME_REFUSED };

/* The data of its deployment for a step. Borrowed for the duration of a call. */
struct step_deployment {
	const char *id; /* "20260131T102030-3fa94c": also the release's name */
	const char *name, *environment;
	const char *commit; /* NULL: none */
	const char *ref;    /* "refs/heads/main": what the job runs for; NULL outside a job */
	bool dirty;
	const char *source_root;          /* absolute: base of relative paths on the sending side */
	const char *state_dir;            /* this machine's, of the store; NULL: none */
	const char *repository, *run_url; /* "owner/name" and the page of the run; NULL outside a job */
	const char *api_url, *token;      /* GitHub's REST, for notify; NULL */
	const json_t
		*targets; /* the deployment's "targets", logins included: secret-write refuses to write those; NULL */
	bool undoing;
};

struct step_context {
	const struct step_type *type;
	const void *input; /* struct NAME_in, from the generator */
	const json_t *input_json;
	int index;    /* of the step in its deployment */
	void *memory; /* of the step's type (step_type.memory) */
	int place;    /* of the step in its file, of which a rollback may have kept only some steps */
	const char *id, *display_name;
	const struct step_deployment *deployment;
	struct target **targets;
	size_t target_count; /* those the step names, opened; use &t->view if only reading is allowed */
	struct wait *wait;
	json_t *outputs;                    /* object of strings; the step adds */
	struct http *(*http)(void *engine); /* the process's client, made on first use */
	void *engine;
	/* A line for the log, including progress if nobody watches; masks are applied below. */
	void (*report)(void *engine, const char *fmt, ...) _printf_(2, 3);
	/* Progress, replaces the previous line; NULL if nobody watches. */
	void (*live)(void *engine, const char *fmt, ...) _printf_(2, 3);
	/* A probe or another fact for the journal: kind "probe", "baseline", "uploaded"; data without secrets. */
	void (*event)(void *engine, const char *kind, json_t *data);
	/* Rows that the step keeps in the store beyond a deployment (apply's state): key → JSON, written in the change's own record. */
	int (*state_get)(void *engine, const char *target, const char *key, json_t **ret,
	                 struct err *err);                                                         /* ERR_NOT_FOUND */
	int (*state_list)(void *engine, const char *target, json_t **ret_object, struct err *err); /* key → JSON */
	/* Takes a row out that no change is about: what it says is there is not there any more. */
	int (*state_forget)(void *engine, const char *target, const char *key, struct err *err);
	/* Is the lock on that API still ours? `clean` asks right before each request that changes something. ERR_FENCED: it is not. */
	int (*guard)(void *engine, const char *target, struct err *err);
	/* Another target of the deployment, by its name: opened, and locked as all are, so that the step may keep something there. NULL in *ret:
	 * it does not answer, as was said before. ERR_INVALID: there is none of this name. */
	int (*other)(void *engine, const char *name, struct target **ret, struct err *err);
	/* The same to look only, for which a target needs no lock (`read_only`). */
	int (*look)(void *engine, const char *name, struct view **ret, struct err *err);
	/* True if earlier steps of the deployment change something on that target (or, in a job, have changed), except commands and snapshots. */
	bool (*changed_before)(void *engine, int index, const char *target);
};

/* The plan that people are asked about, and what they have said so far (engine/run/park.c). */
struct step_request {
	const char *id, *scope, *digest;
	int64_t until_ms;     /* wall time; nobody can agree later */
	const char *asked_by; /* who began the deployment: a login on GitHub, or a user of this machine; "" unknown */
	const json_t *asked;  /* as `park` gave it */
	const json_t *approvals; /* an array, as they were recorded */
};

struct step_outcome {
	enum outcome_state state;
	int exit_status;
	const char *reason;   /* one sentence; NULL when committed */
	const json_t *report; /* as printed by `davit show --json` */
	bool recovered;       /* another process deployed; this one found it gone, and finished or undid its work */
};

struct step_type {
	const struct step_info *info; /* from its schema: name, inputs, permissions */
	const struct change_type *const
		*kinds; /* the kinds of changes that it brings along, NULL at the end; NULL: none */
	/* For a step made of kinds of its own (apply: resources): the kinds that its list may hold, NULL at the end. */
	const struct field_choice *const *choices;
	/* True if it may act on that target. NULL: on every host, and on an API if it brings kinds of changes. */
	bool (*fits)(const struct step_type *type, const struct view *v);
	/* So many bytes, zeroed, that the steps of this type share for as long as one process works on one deployment: what they know about
	 * each other and of an earlier plan. Nothing that an undo needs. 0: none. */
	size_t memory;
	void (*forget)(void *memory); /* frees its content after the last `end`; may be NULL */
	/* asked: what the journal keeps of it, for whoever judges an approval. */
	int (*park)(const struct step_context *c, int64_t *ret_wait_ms, json_t **ret_asked, struct err *err);
	int (*agreed)(const struct step_context *c, const struct step_request *request, struct str *ret_missing,
	              struct err *err);
	void (*describe)(const struct step_context *c, struct str *out);
	void (*validate)(const struct step_context *c, struct faults *faults);
	void (*missing)(const struct step_context *c, struct faults *faults);
	int (*check)(const struct step_context *c, struct faults *faults, struct err *err);
	int (*named)(const struct step_context *c, json_t **ret, struct err *err);
	/* end: waits for the work of begin, or stops it; nothing of it is left afterwards. Always called. */
	void (*begin)(const struct step_context *c);
	void (*end)(const struct step_context *c);
	int (*plan)(const struct step_context *c, struct view *v, struct plan *plan, struct err *err);
	int (*apply)(const struct step_context *c, struct target *t, struct change *change, struct err *err);
	int (*outputs)(const struct step_context *c, struct view *v, struct err *err);
	int (*verify)(const struct step_context *c, struct view *v, const struct change *change, struct err *err);
	int (*undo)(const struct step_context *c, struct target *t, const struct change *change, struct err *err);
	/* baseline: one round before the first change, to remember; asked of steps without baseline_begin. */
	int (*probe)(const struct step_context *c, bool baseline, struct err *err);
	/* begin: nothing waits for it. end: asked right before the first change, and again when it was not known then; an answer that
	 * came meanwhile counts where it is a good one. */
	void (*baseline_begin)(const struct step_context *c);
	int (*baseline_end)(const struct step_context *c, int64_t wait_ms, struct err *err);
	int (*release)(const struct step_context *c, struct view *v, char **ret, struct err *err); /* free() */
	/* former_release: the release that is valid on this target again; "": there is none, as before; NULL: the target had nothing of an
	 * earlier deployment. */
	int (*restore)(const struct step_context *c, struct target *t, const char *former_release, struct err *err);
	void (*after)(const struct step_context *c, struct str *out);
	/* Where each value comes from that the step would write: {"path","values":[{"name","from","hides":[…]}]}, never a value. Needs the
	 * input, and of the deployment what its file says. */
	int (*explain)(const struct step_context *c, json_t **ret, struct err *err);
	/* The lines by which a target does without us (engine/alone/alone.h) what `undo` does for a change that cannot be looked at, and
	 * `restore`. ERR_UNSUPPORTED: it cannot, with the reason. NULL: nor can it. Nothing secret. */
	int (*undo_alone)(const struct step_context *c, const struct change *change, struct str *out, struct err *err);
	int (*restore_alone)(const struct step_context *c, const char *former_release, struct str *out,
	                     struct err *err);
	void (*deciding)(const struct step_context *c, const struct step_outcome *outcome);
	int (*settled)(const struct step_context *c, const struct step_outcome *outcome, struct err *err);
	int (*images)(const struct step_context *c, struct view *v, json_t *ret, struct err *err);
	int (*clean)(const struct step_context *c, struct target *t, struct err *err);
	/* The changes are made, looked at and taken back as those of `plan` are, by this step and with its input. former is from the journal, of
	 * an earlier deployment: what its undo rested on is gone. force: what somebody changed since is overwritten, where that can be undone. */
	int (*back)(const struct step_context *c, struct view *v, const struct change *former, bool force,
	            struct plan *plan, struct err *err);
	bool back_aside; /* on an API `back` is asked of what was kept aside alone (CHANGE_ASIDE), which is data; the rest stays there */
	int (*back_to)(const struct step_context *c, struct view *v, const char *release, struct plan *plan,
	               struct err *err);
};

/* The path of a step's releases by its input; NULL: it has none, or the path is not given. Borrowed. */
const char *step_releases_path(const char *step, const json_t *input);
