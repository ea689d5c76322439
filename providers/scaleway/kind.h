/* The kinds of objects that Scaleway has: how each is named, looked at, made, changed and removed. One table in a file each; object.c finds them,
 * resource_move.c brings them from one state to another by one request after the other.
 *
 * | member   | touches | promises                                                                                | NULL            |
 * | settled  | nothing | nothing goes on with it                                                                   | it always is    |
 * | broken   | nothing | why nothing more can be done with it, in words; else NULL                                 | it never is     |
 * | node     | reads   | what it is, as an attribute each (see below)                                              |                 |
 * | body     | reads   | what a request to make it holds beside its name and tags                                  |                 |
 * | next     | writes  | the next thing that is not as wanted is asked for: 1; 0: all is as wanted                   |                 |
 * | clear    | writes  | what must be done before it can be removed: 1 when something was; 0                        | nothing         |
 * | names    | nothing | what would stay behind it when it is gone, as a word of c->task: "root=…"; free()            | nothing stays   |
 * | left     | reads   | the path of one thing that c->task names and that is still there; NULL: none. free()          | nothing stays   |
 *
 * A node: {"type":"scaleway_volume","name":"data","id":"UUID","mark":"davit=DEPLOYMENT", …}, or {"type":"absent"}. Attributes that are lists are
 * sorted. Only those that are asked for are compared; "id" and what the service makes up are not.
 */
#pragma once
#include "engine/change/change_type.h"
#include "providers/scaleway/client.h"

struct scaleway_kind;
struct scaleway_move {
	struct change_call *x;
	const struct change *c;
	struct scaleway *s;
	const struct scaleway_kind *kind;
	const json_t *from, *to; /* nodes; what neither of them names is left as it is */
	const char *acted;       /* the action that was asked for last: asked for twice it came to nothing */
};

struct scaleway_kind {
	const char *name; /* of its resources: "scaleway_volume" */
	const char *word; /* for people: "volume" */
	bool block;       /* of the interface of block volumes */
	bool tagged_name; /* it has no name: a tag says it */
	const char *path; /* "volumes" */
	const char *list; /* the member of its list */
	const char *wrap; /* the member that holds it in an answer; NULL: it is the answer */
	const char *lost; /* what goes with it for good, in words; NULL: it can be made again as it was */
	bool (*settled)(const json_t *object);
	const char *(*broken)(const json_t *object);
	int (*node)(struct scaleway *s, const json_t *object, struct wait *w, json_t *ret, struct err *err);
	int (*body)(struct scaleway_move *m, json_t *body, struct err *err);
	int (*next)(struct scaleway_move *m, const json_t *object, const json_t *now, struct err *err);
	int (*clear)(struct scaleway_move *m, const json_t *object, struct err *err);
	char *(*names)(const json_t *object);
	int (*left)(struct scaleway *s, const char *task, struct wait *w, char **ret, struct err *err);
};
extern const struct scaleway_kind scaleway_kind_instance, scaleway_kind_ip, scaleway_kind_volume,
	scaleway_kind_security_group;

/* By the "type" of a node; NULL: none of Scaleway's. */
const struct scaleway_kind *scaleway_kind_named(const char *name);
/* Is it compared, so that it counts as a difference? */
bool scaleway_kind_compares(const char *attribute);
