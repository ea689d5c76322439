#include "engine/journal/postgres/link.h"

#include "base/core/clock.h"
#include "base/core/mem.h"
#include "base/core/str.h"
#include "base/core/wait.h"
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECT_MS = 10000, REPLY_MS = 30000, REPLY_MAX = 256 << 20, TEXT_MAX = 300 };

/* Notices go nowhere: libpq would print them. */
static void ignore_notice(void *context, const PGresult *notice)
{
	(void)context;
	(void)notice;
}

/* The first line, in printable characters: what a server says is foreign. */
static char *one_line(const char *text)
{
	struct str out _cleanup_(str_done) = STR_INIT(TEXT_MAX + 1);
	for (const char *p = text ? text : ""; *p && *p != '\n' && out.len < TEXT_MAX; p++)
		str_append_c(&out, (unsigned char)*p < ' ' || *p == 0x7f ? ' ' : *p);
	return xstrdup(str_peek(&out));
}

void postgres_link_close(struct postgres_link *l)
{
	PQfinish(l->conn);
	l->conn = NULL;
}

static int lost(struct postgres_link *l, const char *what, struct err *err)
{
	_cleanup_free_ char *why = one_line(l->conn ? PQerrorMessage(l->conn) : "");
	postgres_link_close(l);
	err_set(err, ERR_NETWORK, "%s the journal at %s: %s", what, l->name, *why ? why : "no answer");
	if (err)
		err->retryable = true;
	return ERR_NETWORK;
}

/* ---- connecting ---- */

static int wait_for(PGconn *conn, short events, int64_t until)
{
	struct wait w = WAIT_INIT;
	w.deadline_mono_ms = until;
	return wait_fd(&w, PQsocket(conn), events, NULL);
}

/* libpq has the code of a refused connection in its words only, behind "FATAL:  ". */
static bool is_refused_with(const char *words, const char *state)
{
	_cleanup_free_ char *code = xasprintf(" %s: ", state);
	return strstr(words, code) != NULL;
}

static int refused(struct postgres_link *l, struct err *err)
{
	static const char *const final[] = {"28P01", "28000", "3D000", "42501"};
	const char *words = PQerrorMessage(l->conn);
	bool is_final = PQconnectionNeedsPassword(l->conn);
	for (size_t i = 0; i < ARRAY_SIZE(final); i++)
		is_final = is_final || is_refused_with(words, final[i]);
	int r = lost(l, "connect to", err);
	if (!is_final)
		return r;
	if (err) {
		err->code = ERR_AUTH;
		err->retryable = false;
	}
	return err_hint(
		err, ERR_AUTH,
		"the URL names user and database; the password is in the file that passfile= names, or in ~/.pgpass");
}

int postgres_link_open(struct postgres_link *l, struct err *err)
{
	/* What stands behind the URL counts more than what stands in it. */
	const char *const names[] = {"dbname",
	                             "client_encoding",
	                             "application_name",
	                             "keepalives_idle",
	                             "keepalives_interval",
	                             "keepalives_count",
	                             "tcp_user_timeout",
	                             NULL};
	const char *const values[] = {l->url, "UTF8", "davit", "10", "5", "3", "20000", NULL};
	int64_t until = clock_mono_ms() + CONNECT_MS;
	postgres_link_close(l);
	l->conn = PQconnectStartParams(names, values, 1);
	if (l->conn == NULL)
		return err_set(err, ERR_INTERNAL, "no memory for a connection");
	PQsetErrorVerbosity(l->conn, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(l->conn, ignore_notice, NULL);
	PostgresPollingStatusType is = PGRES_POLLING_WRITING;
	while (PQstatus(l->conn) != CONNECTION_BAD && is != PGRES_POLLING_OK && is != PGRES_POLLING_FAILED) {
		if (wait_for(l->conn, is == PGRES_POLLING_READING ? POLLIN : POLLOUT, until) < 0)
			return lost(l, "connect to", err);
		is = PQconnectPoll(l->conn);
	}
	if (PQstatus(l->conn) != CONNECTION_OK)
		return refused(l, err);
	PQsetnonblocking(l->conn, 1);
	return 0;
}

/* ---- statements ---- */

static const struct {
	const char *state; /* a beginning of SQLSTATE */
	enum err_code code;
} codes[] = {{"08", ERR_NETWORK},
             {"57P", ERR_NETWORK},
             {"23505", ERR_EXISTS},
             {"53100", ERR_NO_SPACE},
             {"53", ERR_IO},
             {"55P03", ERR_TIMEOUT},
             {"57", ERR_TIMEOUT},
             {"22023", ERR_INVALID},
             {"25006", ERR_PERMISSION},
             {"42P01", ERR_UNSUPPORTED},
             {"42501", ERR_PERMISSION},
             {"28", ERR_AUTH}};

/* Two transactions in each other's way: the server ended one of them, which may begin again. The other one may be our own, on a connection that
 * broke without a word to the server: it lets go of the row within half a minute. */
static bool is_in_the_way(const char *state)
{
	return strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0 || strcmp(state, "55P03") == 0;
}

static int failed(struct postgres_link *l, const PGresult *result, struct err *err)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	_cleanup_free_ char *why = one_line(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
	int code = ERR_IO;
	for (size_t i = 0; state && i < ARRAY_SIZE(codes); i++)
		if (str_starts(state, codes[i].state)) {
			code = codes[i].code;
			break;
		}
	if (code == ERR_NETWORK || state == NULL)
		return lost(l, "ask", err);
	err_set(err, code, "the journal at %s: %s", l->name, *why ? why : "the server refused without a reason");
	if (err)
		err->retryable = is_in_the_way(state);
	if (code == ERR_NO_SPACE)
		err_hint(err, code, "free some space on the database server");
	if (code == ERR_UNSUPPORTED)
		err_hint(err, code, "an earlier davit made this journal: `davit journal use URL` adds what it lacks");
	if (strcmp(state, "25006") == 0)
		err_hint(
			err, code,
			"it is a standby: name the server that writes, or add target_session_attrs=read-write to the URL");
	return code;
}

static int flush(struct postgres_link *l, int64_t until)
{
	int left;
	while ((left = PQflush(l->conn)) == 1) {
		int events = wait_for(l->conn, POLLIN | POLLOUT, until);
		if (events < 0 || ((events & POLLIN) && !PQconsumeInput(l->conn)))
			return -1;
	}
	return left;
}

/* NULL in *ret: no more. */
static int next_result(struct postgres_link *l, int64_t until, PGresult **ret)
{
	while (PQisBusy(l->conn))
		if (wait_for(l->conn, POLLIN, until) < 0 || !PQconsumeInput(l->conn))
			return -1;
	*ret = PQgetResult(l->conn);
	return 0;
}

static size_t size_of(const PGresult *row)
{
	size_t size = 0;
	for (int i = 0; PQntuples(row) > 0 && i < PQnfields(row); i++)
		size += (size_t)PQgetlength(row, 0, i);
	return size;
}

/* All results are read, a failed one too: then the connection can be used again. */
static int take_results(struct postgres_link *l, struct postgres_link_rows *rows, struct err *err)
{
	int64_t until = clock_mono_ms() + REPLY_MS;
	size_t size = 0;
	int r = 0;
	for (;;) {
		PGresult *result = NULL;
		if (next_result(l, until, &result) < 0)
			return lost(l, "ask", err);
		if (result == NULL)
			return r;
		ExecStatusType is = PQresultStatus(result);
		if (is == PGRES_FATAL_ERROR || is == PGRES_BAD_RESPONSE || is == PGRES_NONFATAL_ERROR)
			r = r < 0 ? r : failed(l, result, err);
		if (is == PGRES_SINGLE_TUPLE || (is == PGRES_TUPLES_OK && PQntuples(result) > 0)) {
			size += size_of(result);
			rows->rows = xgrow(rows->rows, &rows->cap, rows->count + 1, sizeof(rows->rows[0]));
			rows->rows[rows->count++] = TAKE(result);
		}
		PQclear(result);
		if (l->conn == NULL)
			return r;
		if (size > REPLY_MAX) {
			postgres_link_close(l);
			return err_set(err, ERR_LIMIT, "the journal at %s sent more than %d MiB in one reply", l->name,
			               REPLY_MAX >> 20);
		}
	}
}

int postgres_link_run(struct postgres_link *l, const char *sql, const char *const *values, int count,
                      struct postgres_link_rows *ret, struct err *err)
{
	struct postgres_link_rows rows _cleanup_(postgres_link_rows_done) = {0};
	if (l->conn == NULL)
		return lost(l, "ask", err);
	int sent = count > 0 ? PQsendQueryParams(l->conn, sql, count, NULL, values, NULL, NULL, 0)
	                     : PQsendQuery(l->conn, sql);
	if (!sent || (count > 0 && !PQsetSingleRowMode(l->conn)) || flush(l, clock_mono_ms() + REPLY_MS) != 0)
		return lost(l, "ask", err);
	int r = take_results(l, &rows, err);
	if (r == 0 && ret) {
		*ret = rows;
		rows = (struct postgres_link_rows){0};
	}
	return r;
}

const char *postgres_link_text(const struct postgres_link_rows *rows, size_t row, int column)
{
	if (row >= rows->count || column >= PQnfields(rows->rows[row]) || PQgetisnull(rows->rows[row], 0, column))
		return NULL;
	return PQgetvalue(rows->rows[row], 0, column);
}

void postgres_link_rows_done(struct postgres_link_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++)
		PQclear(rows->rows[i]);
	free(rows->rows);
	*rows = (struct postgres_link_rows){0};
}
