/* Objects of Scaleway found, looked at and waited for.
 *
 * Tags tell which are davit's: "davit=DEPLOYMENT" says by which deployment it was made, so that one whose making lost its reply is found again;
 * "davit-name=NAME" names what has no name of its own. */
#pragma once
#include "providers/scaleway/kind.h"

#define OBJECT_MARK "davit="
#define OBJECT_NAME "davit-name="

/* What is asked of a list or an object: the service, what kind, and how long. */
struct object_call {
	struct scaleway *s;
	const struct scaleway_kind *kind;
	struct wait *wait;
};
/* All of that name in the project, the oldest first. */
int object_find(const struct object_call *o, const char *name, json_t **ret, struct err *err);
/* All of the project. */
int object_list(const struct object_call *o, json_t **ret, struct err *err);
/* NULL in *ret: it does not exist. */
int object_get(const struct object_call *o, const char *id, json_t **ret, struct err *err);
/* The same once nothing goes on with it. */
int object_settle(const struct object_call *o, const char *id, json_t **ret, struct err *err);
/* Its path, and what follows. free() */
char *object_path(const struct scaleway *s, const struct scaleway_kind *kind, const char *id, const char *behind);

const char *object_id(const json_t *object); /* a UUID: whatever has none is never taken from an answer */
const char *object_name(const struct scaleway_kind *kind, const json_t *object); /* NULL: none */
bool object_has_mark(const json_t *object, const char *mark);                    /* mark NULL: any of davit's */
/* Whole: with "id", "name", "mark" and "tags". The caller's. */
int object_node(const struct object_call *o, const json_t *object, json_t **ret, struct err *err);
/* The tags that are wanted, with the object's own ones of davit's (object NULL: made anew, by that mark). The caller's. */
json_t *object_tags(const struct scaleway_kind *kind, const json_t *object, const json_t *wanted, const char *name,
                    const char *mark);
/* Equal, or both not there. */
bool object_same(const json_t *a, const json_t *b);
/* A list of strings, in order. The caller's. */
json_t *object_sorted(const json_t *strings);
