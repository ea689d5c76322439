/* A deployment file, read: YAML with positions → expressions filled in → checked against schemas/deployment.json and
 * against the schema of each step → the JSON object that engine/run/engine.h takes. All faults of a file are reported at once.
 * A document can also be one typed step (davit step, a step of a job), which is a deployment of that step alone. */
#pragma once
#include "agent/deployment/values.h"
#include "engine/run/engine.h"

struct deployment_file;

/* path: the file. values are borrowed until deployment_file_free. ret_faults: all faults when there are any (deploy/faults.h; the
 * caller's); err then says how many. */
int deployment_file_read(const char *path, const struct deployment_values *values, struct deployment_file **ret,
                         json_t **ret_faults, struct err *err);

/* Reads only what tells where the releases of the file lie, and which certificates its gates ask for: name, environment, targets, the
 * targets and path of each archive-upload, and `tls` of checks. Only the values that these name are needed. */
int deployment_file_places(const char *path, const struct deployment_values *values, json_t **ret, json_t **ret_faults,
                           struct err *err);

/* The parts of a single step's deployment; members that are NULL or empty get the defaults of docs/semantics.md 3. */
struct deployment_single {
	const char *step;            /* "secret-write" */
	const json_t *input;         /* object; may hold `deployment`, `targets`, `target` */
	bool text_values;            /* the inputs are strings (with:, INPUT_*) */
	const json_t *known_targets; /* what earlier steps of the job defined, by name; NULL: none */
	const char *name, *environment, *on_failure;
	bool environment_unknown; /* there is no default: the inputs name the environment, or the step is refused */
	const char *source_root;  /* the work tree; NULL: the one around the current directory */
	const char *repository, *run_url, *api_url, *token, *commit, *ref;
};
int deployment_file_single(const struct deployment_single *single, struct deployment_file **ret, json_t **ret_faults,
                           struct err *err);

json_t *deployment_file_object(const struct deployment_file *d); /* borrowed */
/* The object with what was read of it: as long as the file is there. Steps are removed by
 * deployment_file_remove_step alone. */
void deployment_file_remove_step(struct deployment_file *d, size_t index);
/* Leaves the steps that can destroy what they made, the last one first, and has them do it; left: names of the other steps that change
 * something. Refused unless environment is the file's own. */
int deployment_file_destroy(struct deployment_file *d, const char *environment, struct strv *ret_left, struct err *err);
const struct deployment *deployment_file_deployment(struct deployment_file *d);
/* Sets options->resolve, for values that only earlier steps give. */
void deployment_file_bind(struct deployment_file *d, struct engine_options *options);
/* The reporting side of a job: where notify writes to. */
void deployment_file_set_job(struct deployment_file *d, const char *repository, const char *run_url,
                             const char *api_url, const char *token, const char *commit, const char *ref);
/* Of a file with a step that waits for people: adds to the object, which is sealed, what going on needs in another process. masked: further
 * values that are secret, an array; actor: who began the job. Both may be NULL. */
void deployment_file_keep(struct deployment_file *d, const json_t *masked, const char *actor);
/* A parked deployment, as it was sealed: what its secrets mask is masked again, and it gives values that only earlier steps give. */
int deployment_file_parked(struct store *s, const char *id, struct deployment_file **ret, struct err *err);
void deployment_file_free(struct deployment_file *d);
void deployment_file_freep(struct deployment_file **d);
