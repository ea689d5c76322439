/* A guest goes back to one of its snapshots, power state included, by requests that are each looked at before the next. */
#pragma once
#include "providers/proxmox/request.h"

/* Whose snapshot a record is about; as one text. */
struct snapshot_guest {
	int64_t vmid;
	const char *type, *name, *node; /* borrowed */
};
/* ERR_INVALID: the record names no guest. */
int snapshot_guest_read(const struct change *c, const json_t *node, struct snapshot_guest *ret, struct err *err);
/* What is there now. Not there: it is gone, or its id is another guest's. rows: its snapshots; NULL where it is not there. */
int snapshot_look(struct change_call *x, const struct snapshot_guest *of, struct guest *ret, json_t **ret_rows,
                  struct err *err);

struct snapshot_goal {
	struct snapshot_guest guest;
	const char *snapshot;
	bool running; /* afterwards */
	const char *
		from; /* the snapshot that its state came from before; the same one: only a task tells whether it went back */
	const char *seen; /* the newest task of the kind before that; NULL: there was none */
};
/* Did it go back since? Its power state does not count. */
int snapshot_is_put_back(struct change_call *x, const struct snapshot_goal *goal, const json_t *rows, bool *ret,
                         struct err *err);
int snapshot_put_back(struct change_call *x, const struct snapshot_goal *goal, struct err *err);
/* The newest rollback of the guest so far; NULL in *ret: none. free() */
int snapshot_last_rollback(struct proxmox *p, const struct guest *g, struct wait *w, char **ret, struct err *err);
