/* The journal in PostgreSQL, for several machines. A write is one transaction: it is durable when it returns, a connection that broke before its
 * commit lets it begin again, and one that broke in its commit is settled by the number of the transaction. Who owns a deployment (the
 * id of a state directory) is asked in the same transaction: a machine whose deployment was taken over writes nothing of it any more. */
#pragma once
#include "base/core/str.h"
#include "engine/journal/postgres/link.h"
#include "engine/journal/postgres/place.h"
#include "engine/journal/store_priv.h"

enum { POSTGRES_FORMAT = 1, POSTGRES_KEY_BYTES = 32 };

struct postgres {
	struct postgres_link link;
	struct journal_place place;
	struct strv
		claimed; /* the deployments that this process works on: its own, and one that it recovers meanwhile */
	struct strv
		unheld; /* of these, whose lock another session has: a former one of this process, or of who looks whether it lives */
	char *key_check;     /* digest of the journal's key */
	int64_t next_try_ms; /* mono: once given up */
	bool given_up;       /* it was waited for in vain: nobody waits so long again before it answers */
	bool has_marks; /* its rows hold the word of the last transaction about them: one that an earlier davit made does not */
	bool at_work; /* within a transaction: what is lost begins anew as a whole */
};

extern const struct store_type postgres_type;

/* Connects, tries again for some seconds; sets s->id. */
int postgres_connect(struct store *s, struct err *err);
/* Settings, and what the server must be. On each connection. */
int postgres_set_up(struct postgres *p, struct err *err);
/* Makes the tables of a journal, for a key of which the digest is `key_check`; nothing where they are there. */
int postgres_make_tables(struct postgres *p, const char *key_check, struct err *err);
/* The journal's id and its key's digest. ERR_REFUSED: there is no journal. ERR_UNSUPPORTED: a newer one. The caller's. */
int postgres_read_meta(struct postgres *p, char **ret_id, char **ret_key_check, struct err *err);

/* ---- between postgres.c and owners.c ---- */

/* With a server that is away. */
struct postgres_patience {
	int64_t until, pause_ms;
};
struct postgres_patience postgres_patience(const struct postgres *p, int64_t ms);
/* Waits a little. False: it is over. */
bool postgres_patience_left(struct postgres_patience *p);
void postgres_forget(struct strv *v, const char *id);
int postgres_write(struct store *s, const struct sql_write *w, struct err *err);
/* ERR_FENCED */
int postgres_say_taken(const char *id, struct err *err);
/* store_claim and its like. */
int postgres_claim(struct store *s, const char *id, bool *ret_elsewhere, struct err *err);
int postgres_take_over(struct store *s, const char *id, struct err *err);
int postgres_check_claim(struct store *s, const char *id, struct err *err);
void postgres_release(struct store *s, const char *id);
