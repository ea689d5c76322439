/* Which state directory's process works on a deployment: the row says whose it is, a lock of the session that its process is connected. */
#include "engine/journal/postgres/postgres.h"

#include "base/core/mem.h"
#include <string.h>

enum { SESSION_END_MS = 2000 };

static int owner_elsewhere(const char *id, struct err *err)
{
	return err_set(err, ERR_LOCKED, "the process on another machine that owns the deployment %s is alive", id);
}

/* Waits for a server that is away. */
static int try_claim(struct store *s, const char *id, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	int r = sql_query(s, &rows, err, "SELECT pg_try_advisory_lock(hashtextextended(?1, 1))", "s", id);
	if (r == 0)
		r = sql_next(&rows, err);
	return r < 0 ? r : strcmp(sql_text(&rows, 0), "t") == 0;
}

/* Whoever holds the session's lock is the only one that asks: two machines never wait for the same dead owner. The session of a process that
 * was killed lasts until the server has noticed, so one try is not enough. */
static int take_session_lock(struct store *s, const char *id, struct err *err)
{
	struct postgres *p = s->database;
	struct postgres_patience patience = postgres_patience(p, SESSION_END_MS);
	if (strv_has(&p->claimed, id))
		return 1;
	int r;
	do
		r = try_claim(s, id, err);
	while (r == 0 && postgres_patience_left(&patience));
	if (r >= 0)
		strv_add(&p->claimed, id);
	if (r == 0)
		strv_add(&p->unheld, id);
	return r;
}

static int let_session_lock_go(struct store *s, const char *id)
{
	struct postgres *p = s->database;
	if (!strv_has(&p->claimed, id))
		return 0;
	postgres_forget(&p->claimed, id);
	postgres_forget(&p->unheld, id);
	return sql_run(s, NULL, "SELECT pg_advisory_unlock(hashtextextended(?1, 1))", "s", id);
}

struct owning {
	const char *id, *place, *former;
	bool done;
};

/* Only of the owner that was seen; one without an owner, or in a state that needs no process, is anybody's. Whoever has decided still cleans, and
 * gives it up behind that. */
static int take_ownership(struct store *s, void *context, struct err *err)
{
	struct owning *o = context;
	_cleanup_rows_ struct sql_rows rows = {0};
	int r = sql_query(s, &rows, err,
	                  "UPDATE deployment SET owner=?2 WHERE id=?1 AND (owner IS NULL OR owner=?2 OR owner=?3"
	                  " OR state IN ('refused','held','parked') OR (state IN ('committed','undone') AND cleaned=1))"
	                  " RETURNING id",
	                  "sss", o->id, o->place, o->former);
	if (r == 0)
		r = sql_next(&rows, err);
	o->done = r > 0;
	return MIN(r, 0);
}

static int own(struct store *s, struct owning *o, struct err *err)
{
	const struct sql_write w = {.work = take_ownership, .context = o};
	return postgres_write(s, &w, err);
}

static int owner_of(struct store *s, const char *id, char **ret, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	int r = sql_query(s, &rows, err, "SELECT owner FROM deployment WHERE id=?1", "s", id);
	if (r == 0)
		r = sql_next(&rows, err);
	if (r > 0 && sql_text(&rows, 0))
		*ret = xstrdup(sql_text(&rows, 0));
	return r;
}

/* This machine's own (its file in owners/ is ours, so that the process is gone) needs no session's lock: one that the server still keeps is stale. */
static int claim_there(struct store *s, const char *id, bool locked, bool *ret_elsewhere, struct err *err)
{
	_cleanup_free_ char *owner = NULL;
	struct owning o = {.id = id, .place = s->place};
	int r = owner_of(s, id, &owner, err);
	if (r >= 0 && !locked && (owner == NULL || strcmp(owner, s->place) != 0))
		return owner_elsewhere(id, err);
	/* 0: it is yet to be added. */
	if (r > 0)
		r = own(s, &o, err);
	else
		o.done = true;
	*ret_elsewhere = r == 0 && !o.done;
	return r;
}

int postgres_claim(struct store *s, const char *id, bool *ret_elsewhere, struct err *err)
{
	*ret_elsewhere = false;
	int r = take_session_lock(s, id, err);
	if (r >= 0)
		r = claim_there(s, id, r > 0, ret_elsewhere, err);
	if (r < 0)
		let_session_lock_go(s, id);
	return r;
}

int postgres_take_over(struct store *s, const char *id, struct err *err)
{
	_cleanup_free_ char *owner = NULL;
	int r = owner_of(s, id, &owner, err);
	struct owning o = {.id = id, .place = s->place, .former = owner};
	if (r >= 0)
		r = own(s, &o, err);
	return r == 0 && !o.done ? postgres_say_taken(id, err) : r;
}

static int nothing(struct store *s, void *context, struct err *err)
{
	(void)s;
	(void)context;
	(void)err;
	return 0;
}

int postgres_check_claim(struct store *s, const char *id, struct err *err)
{
	const struct sql_write w = {.deployment = id, .work = nothing};
	return postgres_write(s, &w, err);
}

static int give_ownership_up(struct store *s, void *context, struct err *err)
{
	const struct owning *o = context;
	return sql_run(
		s, err,
		"UPDATE deployment SET owner=NULL WHERE id=?1 AND owner=?2 AND state NOT IN ('preparing','open','undoing')",
		"ss", o->id, o->place);
}

void postgres_release(struct store *s, const char *id)
{
	struct owning o = {.id = id, .place = s->place};
	const struct sql_write w = {.work = give_ownership_up, .context = &o};
	postgres_write(s, &w, NULL);
	let_session_lock_go(s, id);
}
