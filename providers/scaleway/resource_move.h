/* Brings an object of Scaleway from what it is to what is wanted, one request after the other, each looked at before the next: whoever goes on after a
 * lost reply or a death asks for nothing a second time. */
#pragma once
#include "providers/scaleway/object.h"

enum { MOVE_DONE = 0, MOVE_MORE = 1 };

/* What is there of a change. */
struct resource_seen {
	json_t *object;  /* NULL: nothing */
	json_t *surplus; /* made a second time by this very change; NULL: none */
	bool former;     /* of a replacement: the one that goes */
	bool foreign;    /* one of its name exists that this change did not make */
	char *left;      /* path of what stayed behind one that is gone; NULL: nothing */
};
void resource_seen_done(struct resource_seen *r);
/* settled: waits until nothing goes on with it. */
int resource_look(const struct object_call *o, const struct change *c, bool settled, struct resource_seen *ret,
                  struct err *err);
bool resource_is_absent(const json_t *node);

int resource_move(struct scaleway_move *m, struct err *err);

/* ---- for kinds ---- */

/* One request, under the deployment's lock. */
int move_ask(struct scaleway_move *m, const char *method, const char *path, const json_t *body, json_t **ret,
             struct err *err);
/* Does an attribute change, and is it not as wanted yet? */
bool move_wants(const struct scaleway_move *m, const json_t *now, const char *attribute);
/* The tags as one member of a request, if they change. */
void move_add_tags(const struct scaleway_move *m, const json_t *object, const json_t *now, json_t *body);
/* Was it refused because of the state that something is in, which may pass? */
bool move_is_refused_now(int r, const struct err *err);
