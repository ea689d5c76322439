/* Shared by files, directories and links: they lie at a path of a host, where one excludes another. */
#pragma once
#include "steps/apply/resource.h"

#define PATH_SPACE "path"

char *path_id(const struct resource *r, const char *pointer, struct faults *faults);
/* Nothing lies below a file or a link. */
bool path_bars(const struct resource *r, const struct resource *other);
int path_ahead(struct resource_call *x, const struct resource_sight *sights, size_t count, bool with_way,
               struct err *err);
int path_look(struct resource_call *x, const char *id, json_t **ret, struct err *err);
/* The directories above it that are missing. */
int path_first(struct resource_call *x, const struct resource *r, struct err *err);
/* Modes that let everybody write are refused. */
void path_validate_mode(const struct resource *r, bool has_mode, int64_t mode, const struct resource_faults *f);
/* The desired attributes; missing ones stay as they are. mode: -1 not given; fresh_mode: of a new entry, -1 the target's. */
struct path_owner {
	const char *owner, *group;
	long mode, fresh_mode;
};
int path_want(struct resource_call *x, const struct resource *r, const json_t *before, const struct path_owner *o,
              json_t **ret, struct err *err);
void path_remember(const struct path_owner *o, json_t *row);
