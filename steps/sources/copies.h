/* Copies of snapshots off the host: sealed streams (base/secret/pieces.h) on other targets of the deployment. None lies in the clear, and none is
 * believed by its place: its name is part of what was sealed.
 *
 *   NAME.ENVIRONMENT/ID/PLACE-TARGET-SUBJECT   SUBJECT: 16 digits of the digest of what it is a snapshot of
 *
 * below BASE/copies of a host, or the prefix of a bucket. The first piece is a JSON object, {"format","target","subject","bytes","manifest"} (manifest:
 * the first line of the snapshot's own); the rest is a tar of the snapshot. copies.c makes, removes and drops them, copy_read.c reads
 * them; where they lie is one `struct copy_store` in a file each.
 *
 * | member | touches | promises                                                                               |
 * | ready  | reads   | so many bytes can be written, as far as that is known before                             |
 * | list   | reads   | all files below a directory ("shop.test"), as "ID/FILE", unfinished ones too             |
 * | begin  | writes  | what `write` gets becomes that file; the whole is at most so large                       |
 * | write  | writes  | in this order, a header or one sealed piece each                                         |
 * | end    | writes  | the file is there under its name, whole and durable                                      |
 * | read   | reads   | its first bytes (0: all) go to the sink; what the sink says ends it                      |
 * | remove | writes  | the file of that name, and what was begun of it, are gone, and no other; twice equals once |
 */
#pragma once
#include "steps/sources/sources.h"
#include "base/secret/pieces.h"

struct copy_place;
struct copy_store {
	int (*ready)(struct copy_place *p, int64_t bytes, struct err *err);
	int (*list)(struct copy_place *p, const char *dir, struct strv *ret, struct err *err);
	int (*begin)(struct copy_place *p, const char *name, int64_t bytes, struct err *err);
	int (*write)(struct copy_place *p, const void *data, size_t len, struct err *err);
	int (*end)(struct copy_place *p, struct err *err);
	int (*read)(struct copy_place *p, const char *name, int64_t first, pieces_sink sink, void *context,
	            struct err *err);
	int (*remove)(struct copy_place *p, const char *name, struct err *err);
	void (*forget)(struct copy_place *p); /* what begin holds */
};
extern const struct copy_store copy_host, copy_bucket;

/* Where copies lie, and the one being written. */
struct copy_place {
	const struct copy_store *store;
	const struct step_context *c;
	struct target *t;
	struct target *
		own; /* of the snapshot, to write; its lock guards what guards nothing by itself. NULL: only looked at */
	char *path, *part; /* of the file that is written, for the store */
	int64_t written;
	void *upload;
};
/* The target of that name. ERR_NETWORK: it does not answer. own: the snapshot's target, to write; NULL: to look. */
int copy_place_open(const struct source_call *s, const char *name, struct target *own, struct copy_place *ret,
                    struct err *err);
void copy_place_done(struct copy_place *p);
/* False: a target that keeps no files. One that does not answer may. */
bool copy_may_lie_on(const struct source_call *s, const char *name);

/* The key that the inputs give for copies; NULL: none. */
const char *copy_given_key(const struct source_call *s);
/* given: what was given as a key; NULL: this host's own, which is made where `make` says so. */
int copy_key(const struct step_context *c, const char *given, bool make, struct pieces_key *ret, struct err *err);

/* ---- copies.c: of the snapshot step's `copies` ---- */

void copies_validate(const struct source_call *s, struct faults *faults);
/* Looks whether they can be made, and adds them to the snapshot's own change. */
int copies_plan(const struct source_call *s, struct view *v, struct plan *plan, struct change *change, struct err *err);
/* Makes them of the snapshot, which is whole, and reads each back. */
int copies_make(const struct source_call *s, struct target *t, const struct change *change, struct err *err);
/* Removes those of this deployment. */
int copies_undo(const struct source_call *s, struct target *t, const struct change *change, struct err *err);
int copies_clean(const struct source_call *s, struct target *t, struct err *err);

/* ---- copy_read.c ---- */

enum { COPY_HEAD_MAX = 1 << 20, COPY_FORMAT = 1 };
struct copy_found {
	char *target; /* where it lies */
	char *name;   /* "shop.test/ID/FILE" */
	json_t *head; /* of the snapshot, without what of it is not meant */
	int64_t bytes;
};
void copy_found_done(struct copy_found *f);
/* Only the first piece. */
int copy_read_head(struct copy_place *p, const char *name, const struct pieces_key *key, json_t **ret, struct err *err);
/* Reads all of it. digest: of its tar; NULL: not compared. ERR_AUTH, ERR_CONFLICT: it is not good. */
int copy_check(struct copy_place *p, const char *name, const struct pieces_key *key, const char *digest,
               struct err *err);
/* The newest copy on that target of what `from` means of v; NULL in ret->name: there is none. Beside what the input `from` has, `place` is the
 * step's whose snapshot is meant, and `after` a release: then the oldest that is younger, and older than the snapshot `before`. */
int copy_find(const struct source_call *s, struct view *v, const char *target, const json_t *from,
              struct copy_found *ret, struct err *err);
/* The same on all targets where it may lie, as what is fetched before it is put back; NULL in ret->copy_name: there is none. (copy_search.c) */
int copy_search(const struct source_call *s, struct view *v, const json_t *from, struct source_from *ret,
                struct plan *plan, struct err *err);
/* Unpacked as `dir`, proven by its manifest. */
int copy_fetch(const struct source_call *s, struct target *t, const char *target, const char *name, const char *dir,
               struct err *err);
/* The parts of "ID/FILE"; false: it is none of ours. SUBJECT is the same as long as the same thing is meant. */
enum { COPY_SUBJECT = 17 };
struct copy_name {
	char id[65], target[64], subject[COPY_SUBJECT];
	long long place;
};
void copy_subject(const struct source_call *s, char hex[COPY_SUBJECT]);
bool copy_name_read(const char *name, struct copy_name *ret);
