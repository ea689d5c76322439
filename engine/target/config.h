/* Where a target is and how it is reached: its entry in "targets", read once by the tables of schemas/targets/. */
#pragma once
#include "base/data/fields/read.h"
#include "schemas/targets/common.h"

struct target;

struct target_config {
	const char *name;          /* "web"; borrowed */
	struct field_chosen kind;  /* struct target_NAME of schemas/targets/NAME.json */
	struct target_common host; /* become and base: of hosts only */
};

/* A kind of targets. Its name is the key in the entry; schemas/targets/NAME.json says what stands below it. */
struct target_kind {
	struct field_choice choice; /* first */
	bool is_host;               /* it may have become and base */
	bool is_remote;             /* connecting takes a while, in which something else can be done */
	/* No I/O. Keeps nothing of the configuration but copies. */
	int (*make)(const struct target_config *config, struct target **ret, struct err *err);
	/* What expressions may know of it, beside its kind: nothing that logs in. NULL: nothing more. */
	void (*describe)(const struct target_config *config, json_t *ret);
};
const struct target_kind *target_config_kind(const struct target_config *config);
/* kinds: each the choice of a target_kind, NULL at the end. ERR_INVALID: all faults are reported. What is typed lies in the arena. */
int target_config_read(const struct field_choice *const *kinds, const char *name, const json_t *value,
                       const struct yaml_doc *doc, const char *pointer, struct arena *arena, struct target_config *ret,
                       struct faults *faults, struct err *err);
/* As its kind makes it. */
int target_config_make(const struct target_config *config, struct target **ret, struct err *err);
typedef int (*target_make_fn)(const struct target_config *config, struct target **ret, struct err *err);
/* Reads and makes one that is needed once. */
int target_config_use(const struct field_choice *const *kinds, const char *name, const json_t *value,
                      target_make_fn make, struct target **ret, struct err *err);
