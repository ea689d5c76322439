/* One `uses:` of an action with a manifest: from the job's set-up to its post. Shared by the files that run such actions. */
#pragma once
#include "agent/worker/action.h"
#include "agent/worker/prepare.h"

/* A step of a composite action. */
struct use_step {
	json_t *step; /* of the manifest, borrowed */
	const struct action_type *type;
	void *memory;
	char *shown;
};
struct use {
	char *shown; /* "OWNER/REPO/PATH@REF", "./path" */
	json_t *reference;
	int depth;
	const struct prepared *action; /* NULL: of the workspace, and not read yet */
	struct prepared *own;          /* the same, if it lies in the workspace */
	json_t *state;                 /* name → text, saved for later stages */
	bool expects_post;
	/* of composite actions */
	struct use_step *steps;
	size_t step_count;
	json_t *scope; /* `steps` of its steps */
	size_t *posts; /* indices of steps that began, in that order */
	size_t post_count;
};
const char *use_stage(const void *memory, enum stage stage);

/* ---- repository.c */
/* Makes the uses of a composite action's steps. */
int use_make_steps(struct job *j, struct use *u, struct err *err);
void use_log_head(struct job *j, struct record *r, const char *shown, const json_t *inputs);

/* ---- inputs.c */
/* Those given, and the defaults of those that are not; warnings for unknown and deprecated ones. New. */
int use_inputs(struct job *j, struct record *r, const struct use *u, const json_t *given, json_t **ret,
               struct err *err);

/* Of those; NULL: absent or empty. */
const char *use_input(const json_t *inputs, const char *name);

/* ---- node.c, composite.c: the action in r->stage */
int use_run_node(struct job *j, struct record *r, struct use *u, enum result *ret, struct err *err);
int use_run_docker(struct job *j, struct record *r, struct use *u, const json_t *inputs, enum result *ret,
                   struct err *err);
int use_run_composite(struct job *j, struct record *r, struct use *u, const json_t *inputs, enum result *ret,
                      struct err *err);
