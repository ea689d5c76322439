/* The parts of apply: the desired state read (desired.c), compared with what is there (plan.c), and the
 * rows that say what apply once made (rows.c). */
#pragma once
#include "engine/run/step.h"
#include "schemas/apply.h"

enum { APPLY_MAX_CONTENT = 64 << 20 };
enum resource_kind { RESOURCE_FILE, RESOURCE_DIRECTORY, RESOURCE_LINK };
const char *resource_kind_name(enum resource_kind kind); /* "file", "directory", "link" */

struct resource {
	enum resource_kind kind;
	const char *path;    /* normalized, in the arena */
	const char *key;     /* "file:/path" */
	const char *content; /* borrowed; NULL: from source */
	const char *source, *owner, *group, *to;
	long mode; /* -1: as it is */
	bool protect;
	char pointer[64]; /* "/resources/3/file" */
};
struct resources {
	struct resource *items;
	size_t count;
	struct field_strings allow_destroy;
	struct yaml_doc *doc; /* of a desired-state file; NULL: inline */
	struct arena arena;
};
/* All faults at once: those of a file with its name and place. Reads the file of the source tree when the input names
 * one. */
int apply_read(const struct step_context *c, struct resources *ret, struct faults *faults, struct err *err);
/* What can be said without reading anything: inline resources only. */
void apply_read_inline(const struct step_context *c, struct resources *ret, struct faults *faults);
void resources_done(struct resources *r);
bool resources_allow(const struct resources *r, const char *key);
/* The bytes of a file resource. ERR_LIMIT above 64 MiB. */
int resource_content(const struct step_context *c, const struct resource *r, struct str *out, struct err *err);

/* One change for each resource that differs from the desired state, then one for each that left the desired state. */
int apply_plan(const struct step_context *c, struct view *v, const struct resources *all, struct plan *plan,
               struct err *err);

/* Several apply steps may act on one target: a row belongs to the set that made it, the file's name or the step's id.
 */
const char *apply_set(const struct step_context *c);
/* The row of a resource: what was asked for, without contents:
 * {"type","set","digest","mode","owner","group","to","protect"}. */
json_t *apply_row(const struct step_context *c, const struct resource *r, const json_t *after);
/* Rows whose key no resource has: what left the desired state. key → row, the caller's. */
int apply_left(const struct step_context *c, struct view *v, const struct resources *all, json_t **ret,
               struct err *err);
int apply_row_get(const struct step_context *c, const struct view *v, const char *key, json_t **ret,
                  struct err *err); /* NULL: none */
