/* Shared by the files that read a deployment file:
 *
 *   file_targets.c  its targets, and those that a step names
 *   file_steps.c    one item of `steps:`
 *   file_root.c     the whole document: filled in, checked against its schema, read
 *   file.c          from the YAML on, and what was read
 *   file_places.c   only the places of releases
 *   file_parked.c  what a deployment that waits for people needs to go on
 *   file_references.c  names of resources of earlier steps
 *   file_single.c   one step as a document of its own */
#pragma once
#include "agent/deployment/faults.h"
#include "agent/deployment/file.h"
#include "agent/deployment/source.h"

enum { POINTER_MAX = 4096, STEPS_MAX = 200 };

struct deployment_file {
	struct yaml_doc *yaml; /* NULL for a single step */
	json_t *deployment;
	json_t *contexts;
	json_t *late; /* step index as text → its raw input */
	struct arena arena;
	/* What was read of the object, as the engine takes it. */
	struct deployment read;
	struct deployment_step *steps;
	struct target_config *targets;
	size_t step_cap, target_cap;
};

struct reader {
	struct deployment_file *d;
	const struct deployment_source *source;
	struct faults faults;
	json_t *root; /* resolved */
	bool text_values;
	bool targets_read;
	struct strv target_names;
	/* Steps that may lack something: checked once all are read, if there are faults. */
	struct lacking {
		struct step_context context;
		char *pointer;
	} * lacking;
	size_t lacking_count, lacking_cap;
};

/* ---- file_targets.c ---- */
void file_add_default_target(struct reader *r);
void file_read_targets(struct reader *r);
/* The names a step acts on, as a list; takes `target` out of the input. */
json_t *file_step_targets(struct reader *r, json_t *input, struct str *pointer);
bool file_acts_on_targets(const char *step);
json_t *file_resolve_targets(struct reader *r, const json_t *raw);

/* ---- file_steps.c ---- */
/* Faults found by the step itself point into its input: translates them to the place in the file. */
void file_lift_faults(struct reader *r, size_t from, const struct str *pointer);
void file_read_step(struct reader *r, const json_t *item, const json_t *raw_item, size_t index);

/* ---- file_references.c ---- */
/* The ids below "resources" of a step's input: name → true. The caller's. */
json_t *file_own_resources(const json_t *input);
/* Names that neither a step itself nor one before it makes. */
void file_check_references(struct reader *r, const json_t *raw);

/* ---- file_root.c ---- */
json_t *file_resolve_root(struct reader *r, const json_t *raw);
/* What no other table reads. Without steps: the file may be none but its places. */
int file_check_schema(struct reader *r, bool with_steps, struct err *err);
void file_copy_heads(struct reader *r);
void file_read_body(struct reader *r, const json_t *raw);

/* ---- file.c ---- */
struct deployment_file *file_document_new(const struct deployment_values *values);
void file_reader_done(struct reader *r);
/* ERR_INVALID when there are faults; more than one are listed, not joined to one line. */
int file_faults_end(struct reader *r, const char *what, json_t **ret_faults, struct err *err);
int file_read_yaml(const char *path, struct reader *r, struct deployment_source *source, struct err *err);
int file_end(struct reader *r, const char *path, json_t **ret_faults, struct err *err);
