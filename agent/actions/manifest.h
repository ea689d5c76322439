/* An action's manifest (action.yml), read and checked: what it is run by, its inputs and outputs, the steps of a composite one in the
 * form that steps have in job messages. The repository that it comes from is hostile: sizes, depth and counts are bounded. */
#pragma once
#include "base/core/err.h"
#include "base/data/json.h"

enum { MANIFEST_MAX = 1 << 20, MANIFEST_STEPS_MAX = 1000 };
enum action_manifest_kind { MANIFEST_NODE, MANIFEST_COMPOSITE, MANIFEST_DOCKER };
struct action_manifest {
	enum action_manifest_kind kind;
	int node;           /* of JavaScript actions: 12, 16, 20, 24 */
	json_t *inputs;     /* name → {"default": token, "deprecation": text}, both optional */
	json_t *outputs;    /* name → token of its value */
	json_t *file_table; /* [name], which errors of the tokens are told with */
	char *main, *pre, *post, *pre_if,
		*post_if; /* a script each, or NULL; conditions: always() where none is given */
	json_t *steps;    /* as in a job message, without ids */
	/* of Docker actions: what `pre`, `main` and `post` are for others; an image, or a Dockerfile in the action's directory */
	char *image, *entrypoint, *pre_entrypoint, *post_entrypoint;
	json_t *args, *env; /* tokens: a list, a map; NULL: none */
};
/* name: of the file, for errors. ERR_INVALID tells all faults of the file in one line each. */
int action_manifest_read(const char *name, const char *data, size_t len, struct action_manifest *ret, struct err *err);
void action_manifest_done(struct action_manifest *m);
