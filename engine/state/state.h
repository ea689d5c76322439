/* The state of an environment at its place: read and proven, written only over what was read and read back, with former versions that a damaged one goes
 * back to. */
#pragma once
#include "engine/state/document.h"
#include "engine/target/keeper.h"

enum { STATE_KEPT = 10 }; /* copies, the current one's included */

/* What is there now. */
struct state_head {
	struct state_document document; /* lineage "": none */
	char tag[KEEPER_TAG];
};
void state_head_done(struct state_head *h);

/* `err` is never NULL. None is a success. ERR_PROTOCOL: damaged; the hint names the newest good copy, if there is one. ret->tag is set then too, so that it can be replaced. */
int state_read(struct keeper *k, struct state_head *ret, struct err *err);
/* Replaces what `head` has by these rows, with the next serial: a copy is kept first, and what was written is read back. `head` is then the new one.
 * lock: ours. ERR_CONFLICT: another one is there. ERR_UNKNOWN: the place is out of reach, and nobody knows. */
int state_write(struct keeper *k, struct state_head *head, const json_t *rows, const char *deployment,
                const json_t *lock, struct err *err);

/* [{"serial","written_ms","deployment","resources","current"} | {"serial","damaged":WHY}], newest first. */
int state_versions(struct keeper *k, const struct state_head *head, json_t **ret, struct err *err);
/* The copy of a serial, proven. ERR_NOT_FOUND. */
int state_version(struct keeper *k, int64_t serial, struct state_document *ret, struct err *err);
/* The newest copy that is good: 0, or ERR_NOT_FOUND. */
int state_last_good(struct keeper *k, int64_t *ret_serial, struct state_document *ret, struct err *err);
/* Writes the rows of a copy as the next version, over whatever is there. ERR_UNSUPPORTED, ERR_INVALID: it is not davit's, or of a newer one. */
int state_restore(struct keeper *k, int64_t serial, const json_t *lock, int64_t *ret_new, struct err *err);

/* ---- copies.c: by the place, else in the state directory ---- */
int state_copy_keep(struct keeper *k, int64_t serial, const struct str *text, struct err *err);
int state_copy_read(struct keeper *k, int64_t serial, struct str *ret, struct err *err);
/* Ascending; at most STATE_KEPT + 1 of the newest. */
int state_copy_serials(struct keeper *k, int64_t ret[STATE_KEPT + 1], size_t *ret_count, struct err *err);
void state_copy_sweep(struct keeper *k); /* the oldest beyond STATE_KEPT; what fails is done next time */

/* ---- journal.c ---- */
struct store;
extern const struct keeper_type
	state_journal; /* keeper.of: a struct store. Its lock is that of the deployment in the record */
