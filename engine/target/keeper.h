/* Where the state of an environment may be kept: one document, replaced only where it still is what was read, former versions beside it, and
 * one lock. engine/state has the documents and proves them; this is what it asks of a place. Implementations: a bucket (providers/s3/keeper.c), an
 * address that speaks terraform's protocol (providers/http/keeper.c), the journal (engine/state/journal.c). tests/unit/engine/state holds all of them
 * to the same suite.
 *
 * | member  | promises                                                                                       | NULL |
 * | place   | where it is, for people; free()                                                                | –    |
 * | read    | the document, and its tag, by which `write` knows it again. ERR_NOT_FOUND: there is none         | –    |
 * | write   | replaces the document of that tag ("": there is none), while the lock is ours. ERR_CONFLICT: another one is there; ERR_UNKNOWN, ERR_NETWORK, ERR_TIMEOUT: nobody knows whether it was written | – |
 * | keep    | a copy of what is, or will be, the document of that serial; one of before is replaced            | copies lie in the state directory |
 * | former  | the copy of a serial; ERR_NOT_FOUND                                                              | as `keep` |
 * | serials | those that there are copies of, ascending; those of `max` that are the newest                    | as `keep` |
 * | drop    | removes a copy; absent is fine                                                                   | as `keep` |
 * | lock    | 0: ours, by the record's "ID", now or already. ERR_LOCKED: *ret_holder is what the holder wrote, data of others (an object; the caller's). ERR_UNSUPPORTED: this place cannot hold a lock | – |
 * | renew   | the holder's record changes, so that others see that it lives. ERR_FENCED: the lock is another's, or gone | nobody can see that: a person says it |
 * | unlock  | frees the lock of that "ID"; not locked is fine. ERR_FENCED: it is another's                     | –    |
 *
 * `err` is never NULL here.
 */
#pragma once
#include "base/core/wait.h"
#include "base/data/json.h"

enum { KEEPER_TAG = 160, KEEPER_MAX = 16 << 20, KEEPER_HOLDER_MAX = 64 << 10 };

struct keeper_type;
struct keeper {
	const struct keeper_type *type;
	void *of;         /* the type's own: a view of its target, or the journal; borrowed */
	const char *name; /* of the document, "shop.production"; borrowed */
	const char
		*dir; /* the state directory, for copies that the place does not keep; NULL: none are kept; borrowed */
	struct wait *wait; /* may be NULL */
};

struct keeper_type {
	const char *name;
	char *(*place)(const struct keeper *k);
	int (*read)(struct keeper *k, struct str *ret, char ret_tag[KEEPER_TAG], struct err *err);
	int (*write)(struct keeper *k, const struct str *text, const char *tag, const json_t *lock, struct err *err);
	int (*keep)(struct keeper *k, int64_t serial, const struct str *text, struct err *err);
	int (*former)(struct keeper *k, int64_t serial, struct str *ret, struct err *err);
	int (*serials)(struct keeper *k, int64_t *ret, size_t max, size_t *ret_count, struct err *err);
	int (*drop)(struct keeper *k, int64_t serial, struct err *err);
	int (*lock)(struct keeper *k, const json_t *record, json_t **ret_holder, struct err *err);
	int (*renew)(struct keeper *k, const json_t *record, struct err *err);
	int (*unlock)(struct keeper *k, const json_t *record, struct err *err);
};
