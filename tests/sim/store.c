/* The journal in PostgreSQL: a real server of the test's own, which is asked and ended by a connection of the simulator's. Sessions whose client
 * is gone without a word are kept open by a process each, until the world's time lets the server notice. */
#include "sim/sim.h"

#include "base/core/mem.h"
#include "base/sys/fs.h"
#include "engine/journal/postgres/open.h"
#include "engine/journal/store_priv.h"
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum {
	KEY_BYTES = 32,
	PATIENCE_S = 60,    /* real time: a server that answers nothing for so long ends the simulator */
	NOTICES_MS = 20000, /* by when the server asks whether the other end is there */
	IDLE_MS = 60000,    /* as the journal asks of its sessions within a transaction */
	KEEPER_S = 300,
	LOOK_US = 300,
};

bool sim_in_postgres;
enum store_only sim_store_only;
static const char *journal_url;
static char key_bytes[KEY_BYTES];
static PGconn *control; /* shared by the processes of a run: only one of them has the turn */
static int control_epoch;

uint64_t sim_store_below(uint64_t bound)
{
	uint64_t z = (world->store.rng += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return bound ? (z ^ (z >> 31)) % bound : 0;
}

/* ---- the simulator's own connection ---- */

static void give_up(const char *what, const char *why)
{
	fprintf(stderr, "sim: %s: %s\n", what, why);
	_exit(3);
}

static time_t seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static void look_again(time_t until, const char *what)
{
	const struct timespec t = {.tv_nsec = LOOK_US * 1000};
	nanosleep(&t, NULL);
	if (seconds() > until)
		give_up(what, control ? PQerrorMessage(control) : "no answer");
}

static PGconn *connect_plainly(void)
{
	const char *const names[] = {"dbname", "application_name", NULL};
	const char *const values[] = {journal_url, "sim", NULL};
	return PQconnectdbParams(names, values, 1);
}

static void ignore_notice(void *context, const char *text)
{
	(void)context;
	(void)text;
}

static void connect_control(void)
{
	time_t until = seconds() + PATIENCE_S;
	while (control == NULL || PQstatus(control) != CONNECTION_OK) {
		PQfinish(control);
		control = connect_plainly();
		PQsetNoticeProcessor(control, ignore_notice, NULL);
		if (PQstatus(control) != CONNECTION_OK)
			look_again(until, "connect to the journal's server");
	}
	control_epoch = world->store.epoch;
}

static PGresult *ask(const char *sql, const char *value)
{
	if (control && control_epoch != world->store.epoch) {
		PQfinish(control);
		control = NULL;
	}
	if (control == NULL)
		connect_control();
	PGresult *r = value ? PQexecParams(control, sql, 1, NULL, &value, NULL, NULL, 0) : PQexec(control, sql);
	if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
		give_up(sql, PQerrorMessage(control));
	return r;
}

static void tell(const char *sql)
{
	PQclear(ask(sql, NULL));
}

static int64_t ask_number(const char *sql, const char *value)
{
	PGresult *r = ask(sql, value);
	int64_t n = PQntuples(r) > 0 ? strtoll(PQgetvalue(r, 0, 0), NULL, 10) : 0;
	PQclear(r);
	return n;
}

static void await_none(const char *sql, const char *value)
{
	time_t until = seconds() + PATIENCE_S;
	while (ask_number(sql, value) > 0)
		look_again(until, sql);
}

bool sim_store_is_blocked(int backend)
{
	char text[16];
	snprintf(text, sizeof(text), "%d", backend);
	return ask_number("SELECT cardinality(pg_blocking_pids($1::int))", text) > 0;
}

bool sim_store_is_cut_off(int slot)
{
	char text[16];
	snprintf(text, sizeof(text), "%d", world->store.backends[slot]);
	return sim_in_postgres && world->slots[slot].stalled &&
	       ask_number("SELECT count(*) FROM pg_stat_activity WHERE pid = $1::int", text) == 0;
}

void sim_store_settle(void)
{
	await_none("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'davit' AND state = 'active'"
	           " AND cardinality(pg_blocking_pids(pid)) = 0",
	           NULL);
}

void sim_store_await_end(int backend)
{
	char text[16];
	snprintf(text, sizeof(text), "%d", backend);
	await_none(
		"SELECT count(*) FROM pg_stat_activity WHERE pid = $1::int AND cardinality(pg_blocking_pids(pid)) = 0",
		text);
	sim_store_settle();
}

void sim_store_end_session(int backend)
{
	char text[16];
	snprintf(text, sizeof(text), "%d", backend);
	PQclear(ask("SELECT pg_terminate_backend($1::int)", text));
	await_none("SELECT count(*) FROM pg_stat_activity WHERE pid = $1::int", text);
	sim_store_settle();
}

/* ---- sessions whose client is gone ---- */

/* Its socket stays open in a process that does nothing else. */
void sim_store_keep_open(int backend, int fd)
{
	struct sstore *st = &world->store;
	if (st->dead_count == SIM_SESSIONS)
		return;
	pid_t keeper = fork();
	if (keeper < 0)
		give_up("fork", strerror(errno));
	if (keeper == 0) {
		dup2(fd, 0);
		closefrom(1);
		alarm(KEEPER_S);
		for (;;)
			pause();
	}
	st->dead[st->dead_count].backend = backend;
	st->dead[st->dead_count].keeper = keeper;
	st->dead[st->dead_count++].until_ms = world->mono_ms + NOTICES_MS + (int64_t)sim_store_below(5000);
	st->lingered++;
	sim_trace("journal: the server takes session %d for connected", st->dead_count);
}

static void end_dead(int i)
{
	struct sstore *st = &world->store;
	sim_trace("journal: the server drops a session whose other end is gone");
	sim_store_end_session(st->dead[i].backend);
	kill(st->dead[i].keeper, SIGKILL);
	st->dead[i] = st->dead[--st->dead_count];
}

static void end_idle(void)
{
	struct sstore *st = &world->store;
	int other = 1 - sim_slot;
	if (!world->slots[other].alive || !world->slots[other].stalled || st->backends[other] == 0 ||
	    st->transaction_since_ms[other] == 0 || world->mono_ms - st->transaction_since_ms[other] < IDLE_MS)
		return;
	sim_trace("journal: the server ends a session that stands still within a transaction");
	st->transaction_since_ms[other] = 0;
	sim_store_end_session(st->backends[other]);
}

void sim_store_time_passes(void)
{
	struct sstore *st = &world->store;
	for (int i = st->dead_count; i-- > 0;)
		if (st->dead[i].until_ms <= world->mono_ms)
			end_dead(i);
	end_idle();
}

static void forget_dead(void)
{
	struct sstore *st = &world->store;
	for (int i = 0; i < st->dead_count; i++)
		kill(st->dead[i].keeper, SIGKILL);
	st->dead_count = 0;
}

void sim_store_process_ended(int slot)
{
	struct sstore *st = &world->store;
	char known[16 * SIM_SESSIONS + 64];
	if (!sim_in_postgres)
		return;
	/* Also of one that the power cut met and that has not had its last turn yet. */
	int other = st->backends[1 - slot];
	int len = snprintf(known, sizeof(known), "{%d", other);
	for (int i = 0; i < st->dead_count; i++)
		len += snprintf(known + len, sizeof(known) - (size_t)len, ",%d", st->dead[i].backend);
	snprintf(known + len, sizeof(known) - (size_t)len, "}");
	st->backends[slot] = 0;
	st->transaction_since_ms[slot] = 0;
	st->dead_waits = st->dead_waits || st->waits[slot];
	st->waits[slot] = false;
	await_none("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'davit' AND pid <> ALL($1::int[])"
	           " AND cardinality(pg_blocking_pids(pid)) = 0",
	           known);
	sim_store_settle();
}

void sim_store_calm(void)
{
	struct sstore *st = &world->store;
	if (!sim_in_postgres)
		return;
	while (st->dead_count > 0)
		end_dead(st->dead_count - 1);
	memset(st->away_until_ms, 0, sizeof(st->away_until_ms));
}

/* ---- the server itself ---- */

/* One of its processes is killed: it ends all sessions, starts anew, and what was not durable is gone. */
void sim_store_crash(void)
{
	struct pollfd p;
	PGconn *witness = connect_plainly();
	sim_trace("*** the journal's server crashes");
	if (PQstatus(witness) != CONNECTION_OK)
		give_up("connect", PQerrorMessage(witness));
	tell("SELECT 1");
	if (kill(PQbackendPID(control), SIGKILL) != 0)
		give_up("kill a process of the server", strerror(errno));
	p = (struct pollfd){.fd = PQsocket(witness), .events = POLLIN};
	if (poll(&p, 1, PATIENCE_S * 1000) <= 0)
		give_up("crash", "the server goes on");
	PQfinish(witness);
	forget_dead();
	world->store.epoch++;
	world->store.crashes++;
	tell("SELECT 1");
}

/* ---- a journal for each seed ---- */

static void remember_key(const char *dir)
{
	_cleanup_free_ char *path = fs_join(dir, STORE_KEY_FILE);
	_cleanup_(str_done) struct str text = STR_INIT(KEY_BYTES + 1);
	if (fs_read(AT_FDCWD, path, KEY_BYTES, &text, NULL) < 0 || text.len != KEY_BYTES)
		give_up("journal", "it has no key");
	memcpy(key_bytes, text.data, KEY_BYTES);
}

/* What a commit is refused with, when it comes (wire.c). */
static const char own_tables[] =
	"CREATE SCHEMA sim; CREATE TABLE sim.refusal(code text);"
	"CREATE FUNCTION sim.refuse() RETURNS trigger LANGUAGE plpgsql AS"
	" $$BEGIN RAISE EXCEPTION 'refused at the commit' USING ERRCODE = NEW.code; END$$;"
	"CREATE CONSTRAINT TRIGGER refusal AFTER INSERT ON sim.refusal DEFERRABLE INITIALLY DEFERRED"
	" FOR EACH ROW EXECUTE FUNCTION sim.refuse()";

void sim_store_open(const char *url)
{
	char line[ERR_FRAME_SIZE];
	struct err err = ERR_INIT;
	_cleanup_free_ char *dir = xasprintf("%s/first", sim_work_dir);
	journal_url = url;
	sim_in_postgres = true;
	if (journal_use(dir, url, NULL, &err) < 0)
		give_up("a journal", err_line(&err, line, sizeof(line)));
	remember_key(dir);
	tell(own_tables);
}

void sim_store_close(void)
{
	PQfinish(control);
	control = NULL;
}

void sim_store_lay(const char *dir)
{
	_cleanup_free_ char *key = fs_join(dir, STORE_KEY_FILE), *place = fs_join(dir, STORE_PLACE_FILE);
	if (fs_write_atomic(AT_FDCWD, key, key_bytes, KEY_BYTES, 0600, NULL) < 0 ||
	    fs_write_atomic(AT_FDCWD, place, journal_url, strlen(journal_url), 0600, NULL) < 0)
		give_up(dir, "no state directory can be laid");
}

void sim_store_fresh(void)
{
	forget_dead();
	tell("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'davit'");
	await_none("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'davit'", NULL);
	tell("TRUNCATE davit.deployment, davit.step, davit.change, davit.event, davit.state, davit.sealed RESTART IDENTITY");
}

bool sim_store_has_sealed(char *id, size_t size)
{
	PGresult *r = ask("SELECT deployment FROM davit.sealed LIMIT 1", NULL);
	bool found = PQntuples(r) > 0;
	snprintf(id, size, "%s", found ? PQgetvalue(r, 0, 0) : "");
	PQclear(r);
	return found;
}

/* ---- scenarios ---- */

static uint32_t rate(uint64_t one_in, uint32_t most)
{
	return sim_store_below(one_in) == 0 ? 1 + (uint32_t)sim_store_below(most) : 0;
}

static bool is_plain(const struct scenario *sc)
{
	const struct rates *r = &sc->rates;
	return sc->death_count == 0 && sc->contender == CONTENDER_NONE &&
	       r->before + r->after + r->late + r->full + r->denied + r->journal_full + r->journal_io + r->jump +
	                       r->target_power ==
	               0;
}

/* Nothing fails but the connections to the server, and those a few times only: then the end is known. */
static void only_connections(struct scenario *sc)
{
	struct sstore *st = &world->store;
	memset(&sc->rates, 0, sizeof(sc->rates));
	sc->death_count = sc->cancel_count = sc->refused_from_gate = 0;
	sc->person = PERSON_NEVER;
	sc->contender = CONTENDER_NONE;
	sc->machine_lost = sc->baseline_sick = st->two_machines = false;
	sc->gate = GATE_PASSES;
	st->cut = 1 + (uint32_t)sim_store_below(4000);
	st->ended = 1 + (uint32_t)sim_store_below(3000);
	st->lost = 1 + (uint32_t)sim_store_below(30000);
	st->refused = st->slow = 0;
}

/* In place of what was drawn: the same, many times as often. */
static void connections_break(struct scenario *sc)
{
	struct sstore *st = &world->store;
	only_connections(sc);
	st->cut = 10000;
	st->ended = 5000;
	st->lost = st->unsent = 100000;
	st->crash_at = sim_store_below(2) == 0 ? 1 + (int64_t)sim_store_below(600) : 0;
}

/* In place of what was drawn: another machine wants the environment, or finds the owner standing still, at any operation. Nothing else fails but
 * the owner's connection. */
static void machines_contend(struct scenario *sc)
{
	struct sstore *st = &world->store;
	memset(&sc->rates, 0, sizeof(sc->rates));
	sc->death_count = sc->cancel_count = sc->refused_from_gate = 0;
	sc->second_dies_at = 0;
	sc->person = PERSON_NEVER;
	sc->expects = sc->machine_lost = false;
	sc->contender = sim_store_below(2) == 0 ? CONTENDER_DEPLOYS : CONTENDER_TAKES_OVER;
	sc->contender_at_op = 1 + (int64_t)sim_store_below(900);
	sc->contender_wait_ms = 600000;
	st->by_journal = st->two_machines = st->stalled_is_cut = true;
	st->lost = st->refused = st->slow = st->ended = 0;
	st->crash_at = sim_store_below(2) == 0 ? 1 + (int64_t)sim_store_below(600) : 0;
	st->cut = sc->contender == CONTENDER_DEPLOYS ? 10000 : 0;
}

/* What another machine cannot know by the journal, or does not find again, is none of these. */
static bool may_be_contended(const struct scenario *sc)
{
	return !sc->job && !sc->real && !sc->moved && !sc->unsealed && !sc->goes_back && !sc->has_api && !sc->alone &&
	       !sc->rehoused && !sc->no_room;
}

bool sim_store_leaves_out(const struct scenario *sc)
{
	return (sim_store_only == STORE_CONTENDED && !may_be_contended(sc)) ||
	       (sim_store_only == STORE_BREAKS && (sc->goes_back || sc->job));
}

static void choose(struct scenario *sc);

void sim_store_choose(struct scenario *sc)
{
	choose(sc);
	if (sim_store_leaves_out(sc))
		return;
	if (sim_store_only == STORE_BREAKS)
		connections_break(sc);
	else if (sim_store_only == STORE_CONTENDED)
		machines_contend(sc);
}

static void choose(struct scenario *sc)
{
	struct sstore *st = &world->store;
	st->rng = sc->seed * 0xa0761d6478bd642fu + 0xe7037ed1a0b428dbu;
	st->stalled_is_cut = sim_store_below(4) != 0;
	st->by_journal = !sc->unsealed && !sc->moved && sim_store_below(2) == 0;
	st->two_machines = sc->contender != CONTENDER_NONE && sim_store_below(2) == 0;
	if (st->two_machines && sc->contender == CONTENDER_DEPLOYS && sim_store_below(2) == 0)
		sc->second_dies_at = 40 + (int64_t)sim_store_below(400);
	bool calm = sim_store_below(4) == 0 || (is_plain(sc) && sim_store_below(2) == 0);
	if (calm)
		return;
	st->cut = rate(2, 6000);
	st->lost = rate(2, 40000);
	st->refused = rate(3, 4000);
	st->slow = rate(4, 2000);
	st->ended = rate(4, 3000);
	st->crash_at = sim_store_below(25) == 0 ? 1 + (int64_t)sim_store_below(500) : 0;
	if (sim_store_below(6) == 0 && !sc->goes_back)
		only_connections(sc);
}
