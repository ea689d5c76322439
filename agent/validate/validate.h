/* Looks through the files of a work tree without any login: workflows, action.yml files, deployment files, and what git has
 * tracked. Nothing is run, nothing is asked over the network. docs/findings.md lists what is found, by its code. */
#pragma once
#include "agent/validate/finding.h"

struct validate_options {
	const char *const *
		paths; /* files and directories; none: the work tree around the present directory. Of a directory what git has tracked below it is looked at as well */
	size_t path_count;
	struct strv runners;    /* labels of each runner that is known: "self-hosted,linux,x64" */
	struct strv migrations; /* directories of migrations; none: those with a usual name */
	struct strv excludes;   /* of the search for secrets: paths below the top, with * and ? */
	const json_t *contexts; /* for --render; NULL: nothing is rendered */
	FILE *rendered;         /* where the scripts go */
};
/* Returns 0 with what was found, or an error when a path cannot be read. */
int validate_run(const struct validate_options *options, struct findings *findings, size_t *ret_files, struct err *err);

/* ---- the kinds of files; name: as the user may open it, root: the work tree's top or NULL ---- */

struct validate_file {
	const char *name, *data;
	size_t len;
	const char *root;
	const struct validate_options *options;
	struct findings *findings;
};
void validate_workflow(const struct validate_file *file);
/* Its filters, the workflows that it follows and the defaults of its inputs. */
void validate_triggers(const struct validate_file *file, const struct yaml_doc *doc);
void validate_action(const struct validate_file *file, const struct yaml_doc *doc);
void validate_deployment(const struct validate_file *file, const struct yaml_doc *doc);
/* Prints the scripts of a workflow or an action, their expressions filled in from the contexts that were given. */
void validate_render(const struct validate_file *file, const struct yaml_doc *doc);
/* Private keys and tokens in any file. */
void validate_secrets(const struct validate_file *file);
/* Whether migrations are committed and pushed, and which files git has tracked. tracked: paths below the top. */
int validate_tree(const char *top, const struct strv *migrations, struct findings *findings, struct strv *tracked,
                  struct err *err);

/* Of a job that calls a reusable workflow; at: its place in the document. */
void validate_call(const struct validate_file *file, const struct yaml_doc *doc, const char *at, const char *uses,
                   const json_t *job);

/* Whether a called workflow declares that output; true where it cannot be looked at. */
bool validate_called_has_output(const struct validate_file *file, const char *uses, const char *name);

/* ---- shared ---- */

/* The paths of each expression of a string with ${{ }}, or of a condition; flags: of expr_paths. */
void validate_each_path(const char *text, bool condition, int flags,
                        void (*seen)(void *user, const char *const *path, size_t count), void *user);
/* Tells what strangers choose and a script with expressions would hold: "github.event.issue.title". envs: maps of variables that stand in the
 * file, the nearest first. */
void validate_each_stranger(const char *text, const json_t *const *envs, size_t env_count,
                            void (*seen)(void *user, const char *what), void *user);
/* A call in an expression of the string that fails whatever the contexts hold: the message, the caller's. NULL: none. */
char *validate_sure_failure(const char *text, bool condition);
/* True: a context whose members are known (github, runner, job, strategy, a step) has none of that name: what to tell, both the caller's; the hint
 * may be NULL. */
bool validate_unknown_member(const char *const *path, size_t count, char **ret_message, char **ret_hint);
/* Names of inputs, outputs, secrets have no case. Borrowed; NULL: none. */
json_t *validate_member(const json_t *object, const char *name);
/* The inputs of the action that a step uses: of ours, or of a local one. NULL: not known. The caller's. */
json_t *validate_action_inputs(const struct validate_file *file, const char *uses);
/* The outputs of a composite action in the work tree. NULL: not known. The caller's. */
json_t *validate_action_outputs(const struct validate_file *file, const char *uses);
