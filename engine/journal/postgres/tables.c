/* The tables of a journal in PostgreSQL, and what is asked of a server before anything is trusted to it. */
#include "engine/journal/postgres/postgres.h"

#include "base/core/mem.h"
#include "base/core/rand.h"
#include "base/core/str.h"
#include <stdlib.h>
#include <string.h>

enum { OLDEST_SERVER = 130000, ID_DIGITS = 32 };

/* A machine that lost its power says no goodbye: the server must look for itself whether a session's other end is there. A process that was stopped within a transaction must not keep the others out for long. Documents are text, not json: their bytes stay. */
static const char settings[] =
	"SET search_path TO davit, pg_temp; SET standard_conforming_strings TO on; SET statement_timeout TO 20000;"
	"SET lock_timeout TO 15000; SET idle_in_transaction_session_timeout TO 60000;"
	"SET tcp_keepalives_idle TO 10; SET tcp_keepalives_interval TO 5; SET tcp_keepalives_count TO 3; SET tcp_user_timeout TO 20000;"
	"SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

static const char facts[] =
	"SELECT current_setting('server_version_num'), current_setting('server_encoding'), current_setting('fsync')";

static const char tables[] =
	"CREATE TABLE davit.meta(key text PRIMARY KEY, value text NOT NULL);"
	"CREATE TABLE davit.deployment(seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE, name text NOT NULL,"
	" environment text NOT NULL, job_key text, state text NOT NULL, holds integer NOT NULL DEFAULT 0,"
	" cleaned integer NOT NULL DEFAULT 0, owner text, doc text NOT NULL);"
	"CREATE UNIQUE INDEX deployment_lock ON davit.deployment(name, environment) WHERE holds = 1;"
	"CREATE INDEX deployment_open ON davit.deployment(state, cleaned);"
	"CREATE INDEX deployment_environment ON davit.deployment(name, environment, seq);"
	"CREATE TABLE davit.step(deployment text NOT NULL, idx integer NOT NULL, doc text NOT NULL, PRIMARY KEY(deployment, idx));"
	"CREATE TABLE davit.change(deployment text NOT NULL, id bigint NOT NULL, doc text NOT NULL, PRIMARY KEY(deployment, id));"
	"CREATE TABLE davit.event(seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, deployment text NOT NULL, step integer NOT NULL,"
	" kind text NOT NULL, at_ms bigint NOT NULL, data text NOT NULL);"
	"CREATE INDEX event_deployment ON davit.event(deployment, seq);"
	"CREATE TABLE davit.state(scope text NOT NULL, target text NOT NULL, key text NOT NULL, row text NOT NULL,"
	" PRIMARY KEY(scope, target, key));"
	"CREATE TABLE davit.sealed(deployment text PRIMARY KEY, data text NOT NULL)";

/* What the journals of the first programs did not have: made by the next `davit journal use`, whichever machine's it is. */
static const char later_tables[] =
	"SET LOCAL client_min_messages TO warning;"
	"CREATE TABLE IF NOT EXISTS davit.plan(name text PRIMARY KEY, made_ms bigint NOT NULL, data text NOT NULL);"
	"ALTER TABLE davit.deployment ADD COLUMN IF NOT EXISTS written text";

static int check_facts(struct postgres *p, const struct postgres_link_rows *rows, struct err *err)
{
	const char *version = postgres_link_text(rows, 0, 0), *encoding = postgres_link_text(rows, 0, 1),
		   *synced = postgres_link_text(rows, 0, 2);
	const char *name = p->place.name;
	if (version == NULL || encoding == NULL || synced == NULL)
		return err_set(err, ERR_PROTOCOL, "%s does not answer as PostgreSQL", name);
	if (strtol(version, NULL, 10) < OLDEST_SERVER)
		return err_set(err, ERR_UNSUPPORTED, "the server at %s is PostgreSQL %ld; a journal needs 13 or newer",
		               name, strtol(version, NULL, 10) / 10000);
	if (strcmp(encoding, "UTF8") != 0)
		return err_set(err, ERR_UNSUPPORTED, "the database at %s has the encoding %s; a journal needs UTF8",
		               name, encoding);
	if (strcmp(synced, "on") != 0)
		return err_set(err, ERR_REFUSED,
		               "the server at %s has fsync = off: what it calls written may be gone after a power cut",
		               name);
	return 0;
}

int postgres_set_up(struct postgres *p, struct err *err)
{
	struct postgres_link_rows rows _cleanup_(postgres_link_rows_done) = {0};
	int r = postgres_link_run(&p->link, settings, NULL, 0, NULL, err);
	if (r == 0)
		r = postgres_link_run(&p->link, facts, NULL, 0, &rows, err);
	return r < 0 ? r : check_facts(p, &rows, err);
}

static int say_absent(struct postgres *p, struct err *err)
{
	err_set(err, ERR_REFUSED, "there is no journal at %s", p->place.name);
	return err_hint(err, ERR_REFUSED, "`davit journal use URL` makes one");
}

static int check_format(struct postgres *p, const char *format, struct err *err)
{
	long number = format ? strtol(format, NULL, 10) : 0;
	if (number > POSTGRES_FORMAT) {
		err_set(err, ERR_UNSUPPORTED, "the journal at %s has format %ld; this program reads up to %d",
		        p->place.name, number, POSTGRES_FORMAT);
		return err_hint(err, ERR_UNSUPPORTED, "use the davit that wrote it, or a newer one");
	}
	return number > 0 ? 0 : err_set(err, ERR_PROTOCOL, "the journal at %s does not say its format", p->place.name);
}

int postgres_read_meta(struct postgres *p, char **ret_id, char **ret_key_check, struct err *err)
{
	struct postgres_link_rows there _cleanup_(postgres_link_rows_done) = {0},
					rows _cleanup_(postgres_link_rows_done) = {0};
	int r = postgres_link_run(&p->link, "SELECT to_regclass('davit.meta')", NULL, 0, &there, err);
	if (r == 0 && postgres_link_text(&there, 0, 0) == NULL)
		return say_absent(p, err);
	if (r == 0)
		r = postgres_link_run(
			&p->link,
			"SELECT (SELECT value FROM davit.meta WHERE key='format'), (SELECT value FROM davit.meta WHERE key='id'),"
			" (SELECT value FROM davit.meta WHERE key='key_check'), (SELECT 1 FROM pg_attribute"
			" WHERE attrelid='davit.deployment'::regclass AND attname='written' AND NOT attisdropped)",
			NULL, 0, &rows, err);
	if (r == 0)
		r = check_format(p, postgres_link_text(&rows, 0, 0), err);
	if (r < 0)
		return r;
	const char *id = postgres_link_text(&rows, 0, 1), *check = postgres_link_text(&rows, 0, 2);
	if (id == NULL || check == NULL || strlen(id) != ID_DIGITS)
		return err_set(err, ERR_PROTOCOL, "the journal at %s has no id", p->place.name);
	p->has_marks = postgres_link_text(&rows, 0, 3) != NULL;
	*ret_id = xstrdup(id);
	*ret_key_check = xstrdup(check);
	return 0;
}

static int fill(struct postgres *p, const char *key_check, struct err *err)
{
	char id[ID_DIGITS + 1];
	const char *const values[] = {id, key_check};
	rand_hex(id, ID_DIGITS);
	int r = postgres_link_run(&p->link, tables, NULL, 0, NULL, err);
	if (r == 0)
		r = postgres_link_run(
			&p->link, "INSERT INTO davit.meta(key, value) VALUES('format','1'),('id',$1),('key_check',$2)",
			values, 2, NULL, err);
	return r;
}

/* The lock: two machines may make the first journal at once. A schema that somebody made for davit is taken, as long as it is empty. */
static int make(struct postgres *p, const char *key_check, struct err *err)
{
	struct postgres_link_rows there _cleanup_(postgres_link_rows_done) = {0};
	int r = postgres_link_run(&p->link, "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('davit tables', 0))",
	                          NULL, 0, NULL, err);
	if (r == 0)
		r = postgres_link_run(&p->link, "SELECT to_regnamespace('davit'), to_regclass('davit.meta')", NULL, 0,
		                      &there, err);
	if (r == 0 && postgres_link_text(&there, 0, 0) == NULL)
		r = postgres_link_run(&p->link, "CREATE SCHEMA davit", NULL, 0, NULL, err);
	if (r == 0 && postgres_link_text(&there, 0, 1) == NULL)
		r = fill(p, key_check, err);
	if (r == 0)
		r = postgres_link_run(&p->link, later_tables, NULL, 0, NULL, err);
	return r;
}

int postgres_make_tables(struct postgres *p, const char *key_check, struct err *err)
{
	int r = make(p, key_check, err);
	if (p->link.conn == NULL)
		return r;
	int end = postgres_link_run(&p->link, r == 0 ? "COMMIT" : "ROLLBACK", NULL, 0, NULL, r == 0 ? err : NULL);
	if (r == ERR_PERMISSION)
		err_hint(err, r, "CREATE SCHEMA davit AUTHORIZATION the user of the URL, or let it create one");
	return r < 0 ? r : end;
}
