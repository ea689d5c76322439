#include "engine/journal/postgres/postgres.h"

#include "base/core/clock.h"
#include "base/core/mem.h"
#include "base/core/rand.h"
#include "base/core/str.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	PATIENCE_MS = 30000,
	OPEN_MS = 5000,
	NEXT_TRY_MS = 5000,
	FIRST_PAUSE_MS = 50,
	PAUSE_MAX_MS = 2000,
	NUMBER_TEXT = 24,
	XID_TEXT = 24,
	MARK_DIGITS = 32
};

/* ---- patience with a server that is away ---- */

struct postgres_patience postgres_patience(const struct postgres *p, int64_t ms)
{
	ms = p->given_up ? 0 : ms;
	return (struct postgres_patience){.until = clock_mono_ms() + ms, .pause_ms = FIRST_PAUSE_MS};
}

bool postgres_patience_left(struct postgres_patience *p)
{
	int64_t left = p->until - clock_mono_ms();
	if (left <= 0)
		return false;
	clock_pause_ms(MIN(p->pause_ms, left));
	p->pause_ms = MIN(2 * p->pause_ms, (int64_t)PAUSE_MAX_MS);
	return true;
}

static int out_of_patience(struct postgres *p, int r, struct err *err)
{
	if (!p->given_up)
		err_wrap(err, r, "no journal for %d s", PATIENCE_MS / 1000);
	p->given_up = true;
	return err_hint(err, r, "once %s answers again: davit recover", p->place.name);
}

/* ---- the connection ---- */

void postgres_forget(struct strv *v, const char *id)
{
	struct strv rest = {0};
	for (size_t i = 0; i < v->count; i++)
		if (strcmp(v->items[i], id) != 0)
			strv_add(&rest, v->items[i]);
	strv_done(v);
	*v = rest;
}

/* 1: ours, 0: another session's. */
static int try_session_lock(struct postgres *p, const char *id, struct err *err)
{
	struct postgres_link_rows rows _cleanup_(postgres_link_rows_done) = {0};
	const char *const values[] = {id};
	int r = postgres_link_run(&p->link, "SELECT pg_try_advisory_lock(hashtextextended($1, 1))", values, 1, &rows,
	                          err);
	const char *got = r == 0 ? postgres_link_text(&rows, 0, 0) : NULL;
	return r < 0 ? r : got && strcmp(got, "t") == 0;
}

/* The lock of the session says that the owner's process is connected. Without it the deployment is still this one's: another machine
 * that looks meanwhile sees the counter on the targets move. */
static int hold_claims(struct postgres *p, struct err *err)
{
	strv_done(&p->unheld);
	for (size_t i = 0; i < p->claimed.count; i++) {
		int r = try_session_lock(p, p->claimed.items[i], err);
		if (r < 0)
			return r;
		if (r == 0)
			strv_add(&p->unheld, p->claimed.items[i]);
	}
	return 0;
}

static int check_same(struct store *s, struct err *err)
{
	struct postgres *p = s->database;
	_cleanup_free_ char *id = NULL, *check = NULL;
	int r = postgres_read_meta(p, &id, &check, err);
	if (r == 0 && s->id && strcmp(s->id, id) != 0)
		return err_set(err, ERR_CONFLICT, "%s is another journal than a moment ago", p->place.name);
	if (r == 0 && s->id == NULL) {
		s->id = TAKE(id);
		p->key_check = TAKE(check);
	}
	return r;
}

static int connect_again(struct store *s, struct err *err)
{
	struct postgres *p = s->database;
	if (p->link.conn)
		return 0;
	/* An undo of many changes must not wait for each of its records. */
	if (p->given_up && clock_mono_ms() < p->next_try_ms)
		return err_set(err, ERR_NETWORK, "the journal at %s does not answer", p->place.name);
	int r = postgres_link_open(&p->link, err);
	if (r == 0)
		r = postgres_set_up(p, err);
	if (r == 0)
		r = check_same(s, err);
	if (r == 0)
		r = hold_claims(p, err);
	if (r < 0) {
		postgres_link_close(&p->link);
		p->next_try_ms = clock_mono_ms() + NEXT_TRY_MS;
	} else {
		p->given_up = false;
	}
	return r;
}

int postgres_connect(struct store *s, struct err *err)
{
	const struct postgres *p = s->database;
	struct postgres_patience patience = postgres_patience(p, OPEN_MS);
	int r;
	do
		r = connect_again(s, err);
	while (r == ERR_NETWORK && postgres_patience_left(&patience));
	return r == ERR_NETWORK
	               ? err_hint(err, r, "`psql` with the URL of '%s/" STORE_PLACE_FILE "' shows whether %s answers",
	                          s->dir, p->place.name)
	               : r;
}

/* ---- rows ---- */

/* Parameters are $1 here, and no statement has a ? elsewhere. */
static char *statement_of(const char *sql)
{
	char *text = xstrdup(sql);
	for (char *p = text; (p = strchr(p, '?')) != NULL;)
		*p = '$';
	return text;
}

static int ask(struct postgres *p, const char *sql, const struct sql_value *values, size_t count,
               struct postgres_link_rows *rows, struct err *err)
{
	char numbers[SQL_VALUES_MAX][NUMBER_TEXT];
	const char *texts[SQL_VALUES_MAX];
	_cleanup_free_ char *statement = statement_of(sql);
	for (size_t i = 0; i < count; i++) {
		snprintf(numbers[i], NUMBER_TEXT, "%" PRId64, values[i].number);
		texts[i] = values[i].is_number ? numbers[i] : values[i].text;
	}
	return postgres_link_run(&p->link, statement, texts, (int)count, rows, err);
}

static int postgres_query(struct store *s, const char *sql, const struct sql_value *values, size_t count,
                          struct sql_rows *rows, struct err *err)
{
	struct postgres *p = s->database;
	struct postgres_patience patience = postgres_patience(s->database, PATIENCE_MS);
	struct postgres_link_rows *found = xcalloc(1, sizeof(*found));
	rows->found = found;
	rows->at = -1;
	for (;;) {
		int r = p->at_work ? 0 : connect_again(s, err);
		if (r == 0)
			r = ask(p, sql, values, count, found, err);
		if (r != ERR_NETWORK || p->at_work)
			return r;
		if (!postgres_patience_left(&patience))
			return out_of_patience(p, r, err);
	}
}

static int postgres_next(struct sql_rows *rows, struct err *err)
{
	const struct postgres_link_rows *found = rows->found;
	(void)err;
	if ((size_t)(rows->at + 1) >= found->count)
		return 0;
	rows->at++;
	return 1;
}

static const char *postgres_column(struct sql_rows *rows, int column, size_t *ret_len)
{
	const char *text = postgres_link_text(rows->found, (size_t)rows->at, column);
	*ret_len = text ? strlen(text) : 0;
	return text;
}

static void postgres_done(struct sql_rows *rows)
{
	postgres_link_rows_done(rows->found);
	free(rows->found);
}

/* ---- transactions ---- */

/* What tells one from all others. Its number is not enough: a server that crashes before it is durable gives it once more, to whoever comes first. So a
 * transaction about a deployment leaves a word of its own in that row; "" where there is none. */
struct proof {
	char xid[XID_TEXT], mark[MARK_DIGITS + 1];
};

int postgres_say_taken(const char *id, struct err *err)
{
	err_set(err, ERR_FENCED, "another machine took the deployment %s over", id);
	return err_hint(err, ERR_FENCED, "`davit show %s` says what it did; nothing more is changed from here", id);
}

/* One that this process has claimed must be this machine's still: another one may have ended it meanwhile, so that nobody owns it. */
static bool may_write(const struct store *s, const struct sql_write *w, bool exists, const char *owner)
{
	const struct postgres *p = s->database;
	bool claimed = w->deployment && strv_has(&p->claimed, w->deployment);
	if (owner)
		return strcmp(owner, s->place) == 0;
	return !claimed || !exists;
}

/* What a former session of this process had until the server noticed its end. */
static int hold_again(struct postgres *p, const char *id, struct err *err)
{
	int r = id && strv_has(&p->unheld, id) ? try_session_lock(p, id, err) : 0;
	if (r > 0)
		postgres_forget(&p->unheld, id);
	return MIN(r, 0);
}

static void choose_mark(const struct postgres *p, const struct sql_write *w, struct proof *ret)
{
	ret->mark[0] = '\0';
	/* What may be lost anyway leaves none. */
	if (p->has_marks && w->deployment && !w->relaxed)
		rand_hex(ret->mark, MARK_DIGITS);
}

/* Its proof, and the right to write: the row stays locked until the end. */
static int enter(struct store *s, const struct sql_write *w, struct proof *ret, struct err *err)
{
	struct postgres *p = s->database;
	struct postgres_link_rows rows _cleanup_(postgres_link_rows_done) = {0};
	const char *const values[] = {w->deployment, ret->mark};
	int r = postgres_link_run(&p->link, w->relaxed ? "BEGIN; SET LOCAL synchronous_commit TO off" : "BEGIN", NULL,
	                          0, NULL, err);
	choose_mark(p, w, ret);
	if (r == 0)
		r = postgres_link_run(
			&p->link,
			ret->mark[0]
				? "WITH d AS (UPDATE deployment SET written=$2 WHERE id=$1 RETURNING id, owner)"
				  " SELECT pg_current_xact_id()::text, d.owner, d.id FROM (SELECT 1) AS one LEFT JOIN d ON true"
				: "SELECT pg_current_xact_id()::text, d.owner, d.id FROM (SELECT 1) AS one"
				  " LEFT JOIN LATERAL (SELECT id, owner FROM deployment WHERE id=$1 FOR UPDATE) AS d ON true",
			values, ret->mark[0] ? 2 : 1, &rows, err);
	if (r < 0)
		return r;
	const char *number = postgres_link_text(&rows, 0, 0), *owner = postgres_link_text(&rows, 0, 1);
	bool exists = rows.count > 0 && postgres_link_text(&rows, 0, 2) != NULL;
	snprintf(ret->xid, sizeof(ret->xid), "%s", number ? number : "");
	if (!exists && !w->creates)
		ret->mark[0] = '\0';
	return may_write(s, w, exists, owner) ? hold_again(p, w->deployment, err)
	                                      : postgres_say_taken(w->deployment, err);
}

static int own_new(struct store *s, const struct sql_write *w, const struct proof *proof, struct err *err)
{
	struct postgres *p = s->database;
	const char *const values[] = {w->deployment, s->place, proof->mark};
	if (!w->creates)
		return 0;
	return postgres_link_run(&p->link,
	                         proof->mark[0] ? "UPDATE deployment SET owner=$2, written=$3 WHERE id=$1"
	                                        : "UPDATE deployment SET owner=$2 WHERE id=$1",
	                         values, proof->mark[0] ? 3 : 2, NULL, err);
}

/* *ret_sent: the commit was sent, so that a loss leaves open whether it was made. */
static int try_once(struct store *s, const struct sql_write *w, struct proof *proof, bool *ret_sent, struct err *err)
{
	struct postgres *p = s->database;
	*ret_sent = false;
	int r = connect_again(s, err);
	if (r < 0)
		return r;
	p->at_work = true;
	r = enter(s, w, proof, err);
	if (r == 0)
		r = w->work(s, w->context, err);
	if (r == 0)
		r = own_new(s, w, proof, err);
	if (r == 0) {
		*ret_sent = true;
		r = postgres_link_run(&p->link, "COMMIT", NULL, 0, NULL, err);
	} else if (p->link.conn) {
		postgres_link_run(&p->link, "ROLLBACK", NULL, 0, NULL, NULL);
	}
	p->at_work = false;
	return r;
}

/* What became of the transaction, once the server answers again. 1: it is durable; 0: nothing of it is there. */
static int settle(struct store *s, const char *deployment, const struct proof *proof,
                  struct postgres_patience *patience, struct err *err)
{
	struct postgres *p = s->database;
	const char *const values[] = {proof->xid, deployment};
	const char *sql = proof->mark[0] ? "SELECT pg_xact_status(CAST($1 AS text)::xid8),"
	                                   " (SELECT written FROM deployment WHERE id=$2)"
	                                 : "SELECT pg_xact_status(CAST($1 AS text)::xid8)";
	while (postgres_patience_left(patience)) {
		struct postgres_link_rows rows _cleanup_(postgres_link_rows_done) = {0};
		int r = connect_again(s, err);
		if (r == 0)
			r = postgres_link_run(&p->link, sql, values, proof->mark[0] ? 2 : 1, &rows, err);
		/* A number that the server has not given yet: it crashed, and knows nothing of it any more. */
		if (r == ERR_INVALID)
			return 0;
		if (r < 0 && r != ERR_NETWORK)
			return r;
		const char *status = postgres_link_text(&rows, 0, 0), *mark = postgres_link_text(&rows, 0, 1);
		if (status && strcmp(status, "in progress") != 0)
			return strcmp(status, "committed") == 0 &&
			       (proof->mark[0] == '\0' || (mark && strcmp(mark, proof->mark) == 0));
	}
	return err_set(err, ERR_UNKNOWN,
	               "nobody knows whether the journal at %s has the last record: it did not answer its commit",
	               p->place.name);
}

static bool is_passing(int r, const struct err *why)
{
	return r == ERR_NETWORK || (r < 0 && why->retryable);
}

int postgres_write(struct store *s, const struct sql_write *w, struct err *err)
{
	struct postgres_patience patience = postgres_patience(s->database, PATIENCE_MS);
	struct err why = ERR_INIT;
	int r;
	do {
		struct proof proof = {0};
		bool sent = false;
		err_clear(&why);
		r = try_once(s, w, &proof, &sent, &why);
		int settled = r == ERR_NETWORK && sent ? settle(s, w->deployment, &proof, &patience, &why) : 0;
		if (settled > 0)
			return 0;
		r = settled < 0 ? settled : r;
	} while (is_passing(r, &why) && postgres_patience_left(&patience));
	if (is_passing(r, &why))
		out_of_patience(s->database, r, &why);
	if (r < 0 && err)
		*err = why;
	return r;
}

static void postgres_close(struct store *s)
{
	struct postgres *p = s->database;
	if (p == NULL)
		return;
	postgres_link_close(&p->link);
	journal_place_done(&p->place);
	strv_done(&p->claimed);
	strv_done(&p->unheld);
	free(p->key_check);
	free(p);
}

const struct store_type postgres_type = {
	.name = "postgresql",
	.shared = true,
	.write = postgres_write,
	.query = postgres_query,
	.next = postgres_next,
	.column = postgres_column,
	.done = postgres_done,
	.close = postgres_close,
	.claim = postgres_claim,
	.take_over = postgres_take_over,
	.check_claim = postgres_check_claim,
	.release = postgres_release,
};
