/* What stands between the journal and libpq, by the linker's --wrap: the journal's own code above and libpq with a real server below are as they
 * are. Each statement is a turn and perhaps a death; connections break before it or in place of its reply, it is refused or slow. Who waits for
 * a lock gives others their turn. */
#include "sim/sim.h"

#include "base/core/mem.h"
#include "engine/target/each.h"
#include <libpq-fe.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LOOK_MS = 5, SLOW_MS = 31000, LOCK_MS = 15000, LOCK_STEP_MS = 500, WORDS = 60 };

PGconn *__real_PQconnectStartParams(const char *const *names, const char *const *values, int expand);
int __real_PQsendQuery(PGconn *conn, const char *sql);
int __real_PQsendQueryParams(PGconn *conn, const char *sql, int count, const Oid *types, const char *const *values,
                             const int *lengths, const int *formats, int format);
int __real_PQisBusy(PGconn *conn);
void __real_PQfinish(PGconn *conn);
char *__real_PQresultErrorField(const PGresult *result, int field);
char *__wrap_PQresultErrorField(const PGresult *result, int field);
PGconn *__wrap_PQconnectStartParams(const char *const *names, const char *const *values, int expand);
int __wrap_PQsendQuery(PGconn *conn, const char *sql);
int __wrap_PQsendQueryParams(PGconn *conn, const char *sql, int count, const Oid *types, const char *const *values,
                             const int *lengths, const int *formats, int format);
int __wrap_PQisBusy(PGconn *conn);
void __wrap_PQfinish(PGconn *conn);
void __wrap_target_each(struct view *const *views, size_t count, struct wait *w, int64_t deadline_ms, target_ask_fn ask,
                        void *context, int *ret, struct err *errs);
void __wrap_upload_source_begin(const struct step_context *c);

enum reply { REPLY_COMES, REPLY_LOST, REPLY_SLOW };

static PGconn *mine; /* the journal's connection of this process */
static enum reply reply;
static bool is_commit, asked, waited_too_long;
static bool relaxed, records,
	behind; /* this transaction; what it writes decides something; such a one may be lost yet */

static bool begins(const char *sql, const char *with)
{
	return strncmp(sql, with, strlen(with)) == 0;
}

static bool happens(uint32_t per_million)
{
	return per_million > 0 && sim_store_below(1000000) < per_million;
}

static bool may_fail(void)
{
	return world->faults_on && sim_role != ROLE_INSPECT;
}

/* ---- connections that break ---- */

static int backend_of(PGconn *conn)
{
	return conn ? PQbackendPID(conn) : 0;
}

/* The server learns of it at once, or does not. */
static void cut(PGconn *conn, bool silently)
{
	int fd = PQsocket(conn), pair[2];
	if (fd < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return;
	if (silently)
		sim_store_keep_open(backend_of(conn), fd);
	close(pair[1]);
	dup2(pair[0], fd);
	close(pair[0]);
	if (!silently)
		sim_store_await_end(backend_of(conn));
}

void sim_wire_power_lost(void)
{
	if (mine && PQstatus(mine) == CONNECTION_OK && PQsocket(mine) >= 0)
		sim_store_keep_open(backend_of(mine), PQsocket(mine));
}

/* A process that stands still answers nothing: sooner or later something in between forgets its connection. */
void sim_wire_stalled(void)
{
	if (mine == NULL || PQstatus(mine) != CONNECTION_OK || !world->store.stalled_is_cut)
		return;
	sim_trace("journal: the connection of who stands still is gone");
	sim_store_end_session(backend_of(mine));
}

static void server_is_away(void)
{
	static const int64_t spans[] = {0, 200, 2000, 20000, 45000};
	struct sstore *st = &world->store;
	int64_t until = world->mono_ms + spans[sim_store_below(ARRAY_SIZE(spans))];
	bool everywhere = sim_store_below(2) == 0;
	for (int m = 0; m < SIM_MACHINES; m++)
		if (everywhere || m == sim_machine)
			st->away_until_ms[m] = until;
	/* Half a minute within a deployment, seconds before one. */
	if (until - world->mono_ms > 15000)
		world->journal_failed = true;
}

static void count_fault(int64_t *kind)
{
	world->store.faults++;
	(*kind)++;
}

PGconn *__wrap_PQconnectStartParams(const char *const *names, const char *const *values, int expand)
{
	static const char *const nowhere_names[] = {"host", NULL}, *const nowhere[] = {"/nonexistent", NULL};
	if (!sim_in_postgres || world == NULL || world->slots[sim_slot].pid == 0)
		return __real_PQconnectStartParams(names, values, expand);
	sim_step("journal connect");
	sim_store_time_passes();
	bool away = may_fail() && world->mono_ms < world->store.away_until_ms[sim_machine];
	sim_trace(away ? "journal: out of reach" : "journal: connect");
	mine = away ? __real_PQconnectStartParams(nowhere_names, nowhere, 0)
	            : __real_PQconnectStartParams(names, values, expand);
	behind = false;
	return mine;
}

void __wrap_PQfinish(PGconn *conn)
{
	bool is_mine = conn && conn == mine;
	int backend = is_mine ? backend_of(conn) : 0;
	__real_PQfinish(conn);
	if (!is_mine)
		return;
	mine = NULL;
	world->store.backends[sim_slot] = 0;
	world->store.transaction_since_ms[sim_slot] = 0;
	for (int i = 0; i < world->store.dead_count; i++)
		if (world->store.dead[i].backend == backend)
			return;
	if (backend != 0)
		sim_store_await_end(backend);
}

/* ---- statements ---- */

static void note_transaction(const char *sql)
{
	struct sstore *st = &world->store;
	if (begins(sql, "BEGIN")) {
		st->transaction_since_ms[sim_slot] = world->mono_ms;
		relaxed = strstr(sql, "synchronous_commit TO off") != NULL;
		records = false;
	} else if (begins(sql, "COMMIT") || begins(sql, "ROLLBACK")) {
		st->transaction_since_ms[sim_slot] = 0;
	}
	/* What was seen (events) may wait for the next record; no other may. */
	records = records || begins(sql, "UPDATE") || (begins(sql, "INSERT") && !begins(sql, "INSERT INTO event"));
	if (is_commit)
		behind = relaxed && (behind || records);
}

/* The statement that comes in its place; NULL: none does. */
static const char *refusal(PGconn *conn)
{
	static const char *const codes[] = {"40001", "40001", "40001", "40P01", "57014",
	                                    "55P03", "53100", "58030", "53200"};
	static char text[120];
	const char *code = codes[sim_store_below(ARRAY_SIZE(codes))];
	bool again = begins(code, "40");
	count_fault(&world->store.refusals);
	world->journal_failed = world->journal_failed || !again;
	sim_trace("journal: refused with %s", code);
	if (!is_commit) {
		snprintf(text, sizeof(text), "DO $$BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '%s'; END$$", code);
		return text;
	}
	snprintf(text, sizeof(text), "INSERT INTO sim.refusal VALUES ('%s')", code);
	PQclear(PQexec(conn, text));
	return NULL;
}

static uint32_t refusals(void)
{
	const struct rates *r = &world->sc.rates;
	return world->store.refused + r->journal_full / 4 + (is_commit ? r->journal_io : 0);
}

static bool may_be_refused(const char *sql)
{
	return PQtransactionStatus(mine) == PQTRANS_INTRANS && !begins(sql, "ROLLBACK");
}

/* Of one statement. *ret_instead: what is sent in its place. */
static void before(PGconn *conn, const char *sql, const char **ret_instead)
{
	struct sstore *st = &world->store;
	*ret_instead = NULL;
	is_commit = begins(sql, "COMMIT");
	reply = REPLY_COMES;
	asked = true;
	st->backends[sim_slot] = backend_of(conn);
	sim_trace("journal: %.*s", WORDS, sql);
	sim_step("journal statement");
	sim_store_time_passes();
	note_transaction(sql);
	world->writes += is_commit;
	if (!may_fail())
		return;
	/* Where a crash is asked for, it comes in the moment that costs most. */
	bool may_crash = is_commit || sim_store_only == STORE_AS_DRAWN;
	if (st->crash_at > 0 && world->ops >= st->crash_at && may_crash) {
		st->crash_at = 0;
		st->faults++;
		sim_store_crash();
	} else if (happens(is_commit ? MAX(st->cut, st->unsent) : st->cut)) {
		sim_trace("journal: the connection breaks before it");
		count_fault(&st->cuts);
		cut(conn, sim_store_below(3) == 0);
		server_is_away();
	} else if (happens(st->ended)) {
		sim_trace("journal: the server ends the session");
		count_fault(&st->cuts);
		sim_store_end_session(backend_of(conn));
	} else if (happens(is_commit ? st->lost : st->lost / 20)) {
		count_fault(&st->losts);
		reply = REPLY_LOST;
	} else if (happens(st->slow)) {
		count_fault(&st->slows);
		reply = REPLY_SLOW;
	} else if (may_be_refused(sql) && happens(refusals())) {
		*ret_instead = refusal(conn);
	}
}

int __wrap_PQsendQuery(PGconn *conn, const char *sql)
{
	const char *instead = NULL;
	if (conn == mine && mine)
		before(conn, sql, &instead);
	return __real_PQsendQuery(conn, instead ? instead : sql);
}

int __wrap_PQsendQueryParams(PGconn *conn, const char *sql, int count, const Oid *types, const char *const *values,
                             const int *lengths, const int *formats, int format)
{
	const char *instead = NULL;
	if (conn == mine && mine)
		before(conn, sql, &instead);
	return instead ? __real_PQsendQuery(conn, instead)
	               : __real_PQsendQueryParams(conn, sql, count, types, values, lengths, formats, format);
}

/* ---- replies ---- */

static bool is_readable(PGconn *conn)
{
	struct pollfd p = {.fd = PQsocket(conn), .events = POLLIN};
	return poll(&p, 1, LOOK_MS) > 0;
}

static void stop_waiting(PGconn *conn)
{
	char why[200];
	PGcancel *c = PQgetCancel(conn);
	sim_trace("journal: it waited too long for a lock");
	waited_too_long = true;
	PQcancel(c, why, sizeof(why));
	PQfreeCancel(c);
}

/* The server's own clock has nothing to say here: what was cancelled in its place is called as it would call it. */
char *__wrap_PQresultErrorField(const PGresult *result, int field)
{
	static char lock_timeout[] = "55P03";
	char *value = __real_PQresultErrorField(result, field);
	if (!waited_too_long || field != PG_DIAG_SQLSTATE || value == NULL || strcmp(value, "57014") != 0)
		return value;
	waited_too_long = false;
	return lock_timeout;
}

/* Another session has the lock: whoever has it goes on, or time passes until the server ends it or this wait. */
static void wait_for_lock(PGconn *conn, int64_t *since_ms)
{
	struct sstore *st = &world->store;
	int other = 1 - sim_slot;
	if (*since_ms == 0) {
		*since_ms = world->mono_ms;
		st->lock_waits++;
		sim_trace("journal: waits for a lock");
	}
	st->waits[sim_slot] = true;
	sim_step("journal lock");
	if (!world->slots[other].alive || world->slots[other].stalled || st->waits[other])
		world->mono_ms += LOCK_STEP_MS;
	sim_store_time_passes();
	if (world->mono_ms - *since_ms > LOCK_MS && sim_store_is_blocked(backend_of(conn))) {
		stop_waiting(conn);
		*since_ms = INT64_MAX / 2;
	}
	st->waits[sim_slot] = false;
}

/* Until a reply can be read, or the connection is gone. */
static void await_reply(PGconn *conn)
{
	int64_t since_ms = 0;
	while (PQstatus(conn) == CONNECTION_OK && !is_readable(conn)) {
		PQflush(conn);
		if (sim_store_is_blocked(backend_of(conn)))
			wait_for_lock(conn, &since_ms);
	}
}

static void replied(void)
{
	asked = false;
	/* Whoever waited for a lock that this statement gave back has it before anybody goes on. */
	if (world->store.waits[1 - sim_slot] || world->store.dead_waits)
		sim_store_settle();
	if (is_commit)
		sim_step("journal reply");
}

int __wrap_PQisBusy(PGconn *conn)
{
	if (conn != mine || mine == NULL || !asked)
		return __real_PQisBusy(conn);
	if (!__real_PQisBusy(conn))
		return 0;
	if (reply == REPLY_SLOW) {
		sim_store_settle();
		world->mono_ms += SLOW_MS;
		world->journal_failed = true;
		sim_trace("journal: no answer for %d s", SLOW_MS / 1000);
		reply = REPLY_COMES;
		return 1;
	}
	await_reply(conn);
	if (reply == REPLY_LOST) {
		sim_trace("journal: the connection breaks in place of the reply");
		reply = REPLY_COMES;
		sim_store_settle();
		cut(conn, sim_store_below(3) == 0);
		server_is_away();
		return 1;
	}
	while (__real_PQisBusy(conn)) {
		await_reply(conn);
		if (PQconsumeInput(conn) == 0)
			return __real_PQisBusy(conn);
	}
	replied();
	return 0;
}

/* ---- what is durable ---- */

bool sim_wire_is_synced(void)
{
	return mine == NULL || PQstatus(mine) != CONNECTION_OK ||
	       (PQtransactionStatus(mine) == PQTRANS_IDLE && !behind);
}

bool sim_journal_is_synced(void)
{
	return sim_in_postgres ? sim_wire_is_synced() : sim_vfs_is_synced();
}

/* ---- targets ---- */

/* They are this process's own: one after the other, so that the seed decides. */
void __wrap_target_each(struct view *const *views, size_t count, struct wait *w, int64_t deadline_ms, target_ask_fn ask,
                        void *context, int *ret, struct err *errs)
{
	(void)w;
	(void)deadline_ms;
	for (size_t i = 0; i < count; i++)
		if (views[i] != NULL)
			ret[i] = ask(context, i, views[i], &errs[i]);
}

/* Nor is a source read ahead by a thread. */
void __wrap_upload_source_begin(const struct step_context *c)
{
	(void)c;
}
