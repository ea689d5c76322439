/* Shared by workflow.c and step.c: where in a workflow the look is. */
#pragma once
#include "agent/validate/validate.h"
#include "agent/workflow/workflow.h"

struct look {
	const struct validate_file *file;
	const struct workflow *workflow;
	const struct yaml_doc *doc;
	const struct workflow_job *job; /* NULL: outside the jobs */
	const json_t *envs[3];          /* variables of the step, the job and the workflow; NULL: none */
	const json_t *steps;            /* of the job, as they stand in the file */
	const json_t *matrix;           /* the keys of the job's matrix, if they are written out; NULL: not known */
	size_t step;                    /* steps before this one may be named */
	bool script;                    /* what the shell will read */
	bool javascript;                /* a step of actions/github-script, whose input of that name is a program too */
	struct str at;
};

/* A finding at l->at. hint: NULL for none. */
void validate_report(const struct look *l, enum finding_severity severity, const char *code, const char *hint,
                     const char *fmt, ...) _printf_(5, 6);

/* ---- step.c ---- */
void validate_step(struct look *l, const json_t *step);
bool validate_step_is_javascript(const json_t *step);
/* `if` of a job or a step. */
void validate_condition(struct look *l, const json_t *value);
/* The shell in `defaults` of a workflow or a job. */
void validate_default_shell(struct look *l, const json_t *value);
/* Single steps share a deployment, which something has to decide where davit's own worker does not. */
void validate_finish(struct look *l, const json_t *steps);

/* ---- labels.c ---- */
/* The labels in a job's runs-on, and in its matrix where runs-on names a key of it: a runner has them. */
void validate_labels(struct look *l, const json_t *job);
