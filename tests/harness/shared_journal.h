/* The journal that a test shares with others: the PostgreSQL of tests/integration/journal_in_postgres.py, which starts the test. */
#pragma once
#include <libpq-fe.h>
#include <stdlib.h>

#include "engine/journal/postgres/open.h"
#include "engine/journal/store.h"

/* NULL: this run has none. */
static const char *shared_journal_url(void)
{
	return getenv("DAVIT_TEST_JOURNAL");
}

static void in_postgres(const char *sql)
{
	PGconn *conn = PQconnectdb(shared_journal_url());
	PGresult *done = PQexec(conn, sql);
	assert_int_not_equal(PQresultStatus(done), PGRES_FATAL_ERROR);
	PQclear(done);
	PQfinish(conn);
}

/* As a new server has it. */
static void shared_journal_clear(void)
{
	in_postgres("SET client_min_messages TO warning; DROP SCHEMA IF EXISTS davit CASCADE");
}

/* A state directory that works with the shared journal from now on. */
static int shared_journal_join(const char *at, const char *key, struct store **ret)
{
	struct err err = ERR_INIT;
	char line[1000];
	int r = journal_use(at, shared_journal_url(), key, &err);
	if (r == 0)
		r = journal_open(at, ret, &err);
	if (r < 0)
		fail_msg("%s", err_line(&err, line, sizeof(line)));
	return r;
}
