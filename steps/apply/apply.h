/* The parts of apply: the desired state read (desired.c), compared with the target (plan.c), and the
 * rows of the resources that apply once made (rows.c). */
#pragma once
#include "schemas/apply.h"
#include "steps/apply/resource.h"

/* The step, but for its `choices`: each begins a resource_type. steps/resources.c has the product's. */
#define APPLY_STEP                                                                                                     \
	.info = &apply_info, .fits = apply_fits, .describe = apply_describe, .validate = apply_validate,               \
	.check = apply_check, .named = apply_named, .plan = apply_plan, .outputs = apply_outputs,                      \
	.clean = apply_clean, .back = apply_back, .back_aside = true
bool apply_fits(const struct step_type *type, const struct view *v);
void apply_describe(const struct step_context *c, struct str *out);
void apply_validate(const struct step_context *c, struct faults *faults);
int apply_check(const struct step_context *c, struct faults *faults, struct err *err);
int apply_named(const struct step_context *c, json_t **ret, struct err *err);
int apply_plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err);
int apply_outputs(const struct step_context *c, struct view *v, struct err *err);
int apply_clean(const struct step_context *c, struct target *t, struct err *err);
int apply_back(const struct step_context *c, struct view *v, const struct change *former, bool force, struct plan *plan,
               struct err *err);

struct resources {
	struct resource *items;
	size_t count;
	const struct resource **order; /* each behind those that it needs; NULL: some are invalid */
	struct field_strings allow_destroy;
	struct yaml_doc *doc; /* of a desired-state file; NULL: inline */
	struct arena arena;
};

/* All faults at once: those of a file with its name and place. Reads the file of the source tree when the input names
 * one. */
int apply_read(const struct step_context *c, struct resources *ret, struct faults *faults, struct err *err);
/* Reads inline resources only, so it needs no file. */
void apply_read_inline(const struct step_context *c, struct resources *ret, struct faults *faults);
void resources_done(struct resources *r);
bool resources_allow(const struct resources *r, const char *key);

/* Their order, by depends_on and by their paths. Faults: what nobody knows, and cycles. */
void apply_order(struct resources *all, struct faults *faults);
/* Keys of rows that left the desired state, in the order in which they go: each before those that it needed. */
void apply_order_left(const struct step_type *step, const json_t *left, const char **keys, size_t count);

/* The level of each, above that of those that needed it; from 1. ret: zeroed. */
void apply_levels_left(const json_t *left, const char *const *keys, size_t count, int *ret);

/* ---- references: ${{ resources.ID.ATTRIBUTE }} in strings ---- */

/* Keeps the input of one that refers to others; the others, which it needs, are found by apply_order. */
void reference_note(struct resource *r);
/* Calls `on` for each reference in the strings of a value. */
typedef void reference_visit(void *context, const char *name, const char *attribute);
void reference_each(const json_t *value, reference_visit *on, void *context);
/* Does an attribute of that name exist, and is it known with the plan? NULL: yes; else why not. nearest may be set. */
const char *reference_refuse(const struct resource *of, const char *attribute, const char **ret_nearest);
/* What is known of it with the plan, by its input and what is wanted there: name → string. */
json_t *reference_facts(const struct resource *r, const json_t *node);
/* The same resource with its references filled in. facts: id → name → string. An id that is not there belongs to a step before, and is not known yet:
 * *ret_unknown then names the attributes, and nothing is read. */
int reference_fill(const struct resource *r, const json_t *facts, struct arena *arena, struct resource *ret,
                   json_t **ret_unknown, struct err *err);

/* Names in ignore_changes and replace_on that the kind does not have. */
void apply_validate_attributes(const struct resource *r, const struct resource_faults *f);
bool apply_ignores(const struct resource *r, const char *attribute);
/* What is ignored is wanted as it is there. */
void apply_keep_ignored(const struct resource *r, const json_t *before, json_t *after);
/* Adds the attributes of replace_on that differ. */
void apply_replaced_on(const struct resource *r, const json_t *before, const json_t *after, struct str *out);

/* ---- snapshot: before (snapshots.c) ---- */

/* What a plan changes in place, as the source of it names that. */
struct keeping {
	const struct source *source; /* NULL: nothing so far */
	json_t *in;
};
void keeping_done(struct keeping *k);
void keeping_add(struct keeping *k, const struct resource *r);
/* Plans the snapshots, in front of the changes from `from` on: none of those is made before all are kept. */
int keeping_plan(const struct keeping *k, const struct step_context *c, struct view *v, size_t from, struct plan *plan,
                 struct err *err);

/* One change for each resource that differs from the desired state, then one for each that left the desired state. */
int apply_plan_resources(const struct step_context *c, struct view *v, const struct resources *all, struct plan *plan,
                         struct err *err);

/* Several apply steps may act on one target: a row belongs to the set that made it, the file's name or the step's id.
 */
const char *apply_set(const struct step_context *c);
/* The row of a resource: the desired values, without contents: {"type","set","digest","protect"} and the values that its kind remembers.
 * The plan adds "existed" where the thing was there before its first row: an environment that goes leaves it. */
json_t *apply_row(const struct step_context *c, const struct resource *r, const json_t *after);
/* Rows whose key no resource has: those that left the desired state. key → row, the caller's. */
int apply_left(const struct step_context *c, struct view *v, const struct resources *all, json_t **ret,
               struct err *err);
int apply_row_get(const struct step_context *c, const struct view *v, const char *key, json_t **ret,
                  struct err *err); /* NULL: none */
/* "/path" of "file:/path". */
const char *apply_id_of_key(const char *key);
