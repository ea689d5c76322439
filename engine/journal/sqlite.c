/* The journal in SQLite: WAL, synchronous=FULL. Any number of processes; each write is one short BEGIN IMMEDIATE with a bounded wait. */
#include "engine/journal/sqlite.h"

#include "base/core/mem.h"
#include "base/sys/fs.h"
#include "engine/journal/store_priv.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { STORE_FORMAT = 1, BUSY_MS = 10000, SHM_BYTES = 64 << 10 };

static const char schema[] =
	"CREATE TABLE deployment("
	" seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, environment TEXT NOT NULL,"
	" job_key TEXT, state TEXT NOT NULL, holds INTEGER NOT NULL DEFAULT 0, cleaned INTEGER NOT NULL DEFAULT 0, doc TEXT NOT NULL);"
	"CREATE UNIQUE INDEX deployment_lock ON deployment(name, environment) WHERE holds = 1;"
	"CREATE INDEX deployment_open ON deployment(state, cleaned);"
	"CREATE TABLE step(deployment TEXT NOT NULL, idx INTEGER NOT NULL, doc TEXT NOT NULL, PRIMARY KEY(deployment, idx)) WITHOUT ROWID;"
	"CREATE TABLE change(deployment TEXT NOT NULL, id INTEGER NOT NULL, doc TEXT NOT NULL, PRIMARY KEY(deployment, id)) WITHOUT ROWID;"
	"CREATE TABLE event(seq INTEGER PRIMARY KEY AUTOINCREMENT, deployment TEXT NOT NULL, step INTEGER NOT NULL, kind TEXT NOT NULL,"
	" at_ms INTEGER NOT NULL, data TEXT NOT NULL);"
	"CREATE INDEX event_deployment ON event(deployment, seq);"
	"CREATE TABLE state(scope TEXT NOT NULL, target TEXT NOT NULL, key TEXT NOT NULL, row TEXT NOT NULL,"
	" PRIMARY KEY(scope, target, key)) WITHOUT ROWID;"
	"PRAGMA user_version = 1;";

sqlite3 *sqlite_handle(const struct store *s)
{
	return s->database;
}

/* SQLite reports a full disk as an I/O error if it cannot make the shared memory beside the journal. */
static bool disk_is_full(const struct store *s)
{
	struct statvfs v;
	int reason = s->database ? sqlite3_system_errno(s->database) : 0;
	return reason == ENOSPC || reason == EDQUOT ||
	       (statvfs(s->dir, &v) == 0 && v.f_bavail * v.f_frsize < SHM_BYTES);
}

static int fail(struct store *s, int rc, struct err *err, const char *what)
{
	int code = ERR_IO;
	switch (rc & 0xff) {
	case SQLITE_FULL:
		code = ERR_NO_SPACE;
		break;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		code = ERR_TIMEOUT;
		break;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		code = ERR_PROTOCOL;
		break;
	case SQLITE_CONSTRAINT:
		code = ERR_EXISTS;
		break;
	case SQLITE_PERM:
	case SQLITE_AUTH:
	case SQLITE_READONLY:
		code = ERR_PERMISSION;
		break;
	default:
		break;
	}
	const char *why = s->database ? sqlite3_errmsg(s->database) : sqlite3_errstr(rc);
	if (code == ERR_IO && disk_is_full(s))
		code = ERR_NO_SPACE;
	err_set(err, code, "%s in the journal '%s/journal.db': %s%s", what, s->dir,
	        code == ERR_NO_SPACE ? "no space left: " : "", why);
	if (code == ERR_NO_SPACE)
		err_hint(err, code, "free some space for '%s'", s->dir);
	if (err)
		err->foreign = rc;
	return code;
}

static int bind(sqlite3_stmt *st, const struct sql_value *values, size_t count)
{
	int rc = SQLITE_OK;
	for (size_t i = 0; rc == SQLITE_OK && i < count; i++) {
		int at = (int)i + 1;
		if (values[i].is_number)
			rc = sqlite3_bind_int64(st, at, values[i].number);
		else
			rc = values[i].text ? sqlite3_bind_text(st, at, values[i].text, -1, SQLITE_TRANSIENT)
			                    : sqlite3_bind_null(st, at);
	}
	return rc;
}

static int sqlite_query(struct store *s, const char *sql, const struct sql_value *values, size_t count,
                        struct sql_rows *rows, struct err *err)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(s->database, sql, -1, &st, NULL);
	if (rc != SQLITE_OK)
		return fail(s, rc, err, "prepare a statement");
	rows->found = st;
	rc = bind(st, values, count);
	return rc == SQLITE_OK ? 0 : fail(s, rc, err, "bind a value");
}

static int sqlite_next(struct sql_rows *rows, struct err *err)
{
	int rc = sqlite3_step(rows->found);
	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0
	                         : fail(rows->store, rc, err, sqlite3_stmt_readonly(rows->found) ? "read" : "write");
}

static const char *sqlite_column(struct sql_rows *rows, int column, size_t *ret_len)
{
	const char *text = (const char *)sqlite3_column_text(rows->found, column);
	*ret_len = text ? (size_t)sqlite3_column_bytes(rows->found, column) : 0;
	return text;
}

static void sqlite_done(struct sql_rows *rows)
{
	sqlite3_finalize(rows->found);
}

static int transact(struct store *s, const struct sql_write *w, struct err *err)
{
	int r = sql_run(s, err, "BEGIN IMMEDIATE", "");
	if (r < 0)
		return r;
	r = w->work(s, w->context, err);
	if (r == 0)
		r = sql_run(s, err, "COMMIT", "");
	/* A failed statement may have rolled back by itself already. */
	if (r < 0 && !sqlite3_get_autocommit(s->database))
		sql_run(s, NULL, "ROLLBACK", "");
	return r;
}

static int sqlite_write(struct store *s, const struct sql_write *w, struct err *err)
{
	if (!w->relaxed)
		return transact(s, w, err);
	int r = sql_run(s, err, "PRAGMA synchronous=NORMAL", "");
	if (r == 0)
		r = transact(s, w, err);
	int back = sql_run(s, r == 0 ? err : NULL, "PRAGMA synchronous=FULL", "");
	return r < 0 ? r : back;
}

static void sqlite_close(struct store *s)
{
	sqlite3_close(s->database);
}

static const struct store_type sqlite = {
	.name = "sqlite",
	.write = sqlite_write,
	.query = sqlite_query,
	.next = sqlite_next,
	.column = sqlite_column,
	.done = sqlite_done,
	.close = sqlite_close,
};

/* ---- opening ---- */

static int get_int(struct store *s, const char *sql, int64_t *ret, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	int r = sql_query(s, &rows, err, sql, "");
	if (r == 0)
		r = sql_next(&rows, err);
	if (r < 0)
		return r;
	*ret = r > 0 ? sql_int(&rows, 0) : 0;
	return 0;
}

static int use_wal(struct store *s, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	int r = sql_query(s, &rows, err, "PRAGMA journal_mode=WAL", "");
	if (r == 0)
		r = sql_next(&rows, err);
	if (r < 0)
		return r;
	const char *mode = sql_text(&rows, 0);
	if (mode == NULL || strcmp(mode, "wal") != 0)
		return err_set(err, ERR_UNSUPPORTED,
		               "the file system of '%s' cannot hold the journal (mode '%s' instead of 'wal')", s->dir,
		               mode ? mode : "");
	sql_rows_done(&rows);
	return sql_run(s, err, "PRAGMA synchronous=FULL", "");
}

/* Another process may have made the tables meanwhile. */
static int make_tables(struct store *s, void *context, struct err *err)
{
	(void)context;
	int64_t format = 0;
	int r = get_int(s, "PRAGMA user_version", &format, err);
	if (r == 0 && format == 0 && sqlite3_exec(s->database, schema, NULL, NULL, NULL) != SQLITE_OK)
		r = fail(s, sqlite3_errcode(s->database), err, "make the tables");
	return r;
}

static int check_format(struct store *s, struct err *err)
{
	int64_t format = 0;
	int r = get_int(s, "PRAGMA user_version", &format, err);
	if (r < 0)
		return r;
	if (format > STORE_FORMAT) {
		err_set(err, ERR_UNSUPPORTED,
		        "the journal '%s/journal.db' has format %lld; this program reads up to %d", s->dir,
		        (long long)format, STORE_FORMAT);
		return err_hint(err, ERR_UNSUPPORTED, "use the davit that wrote it, or a newer one");
	}
	if (format == STORE_FORMAT)
		return 0;
	if (s->readonly)
		return err_set(err, ERR_NOT_FOUND, "there is no journal in '%s' yet", s->dir);
	const struct sql_write tables = {.work = make_tables};
	return sql_write(s, &tables, err);
}

static int open_database(const char *dir, const char *vfs, bool readonly, struct store **ret, struct err *err)
{
	_cleanup_(store_closep) struct store *s = xcalloc(1, sizeof(*s));
	s->dir = xstrdup(dir);
	s->readonly = readonly;
	s->type = &sqlite;
	_cleanup_free_ char *path = fs_join(dir, STORE_DATABASE_FILE);
	int flags =
		(readonly ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) | SQLITE_OPEN_NOMUTEX;
	sqlite3 *db = NULL;
	int rc = sqlite3_open_v2(path, &db, flags, vfs);
	s->database = db;
	if (rc != SQLITE_OK)
		return fail(s, rc, err, "open");
	sqlite3_extended_result_codes(db, 1);
	sqlite3_busy_timeout(db, BUSY_MS);
	int r = readonly ? 0 : use_wal(s, err);
	if (r == 0)
		r = check_format(s, err);
	if (r == 0)
		r = store_load_place(s, err);
	if (r < 0)
		return r;
	s->id = s->place ? xstrdup(s->place) : NULL;
	*ret = TAKE(s);
	return 0;
}

/* An empty journal beside the one that is meant would be worse than none. */
static int refuse_elsewhere(const char *dir, struct err *err)
{
	_cleanup_free_ char *path = fs_join(dir, STORE_PLACE_FILE);
	return fs_exists(AT_FDCWD, path)
	               ? err_set(err, ERR_UNSUPPORTED,
	                         "the journal of '%s' lies in PostgreSQL, which this program does not read", dir)
	               : 0;
}

int store_open(const char *dir, const char *vfs, struct store **ret, struct err *err)
{
	int r = store_prepare_dir(dir, err);
	if (r < 0)
		return r;
	r = refuse_elsewhere(dir, err);
	if (r < 0)
		return r;
	store_make_reserve(dir);
	r = open_database(dir, vfs, false, ret, err);
	if (r == ERR_NO_SPACE)
		err_hint(err, r, "free some space for '%s'", dir);
	return r;
}

int store_open_readonly(const char *dir, struct store **ret, struct err *err)
{
	_cleanup_free_ char *path = fs_join(dir, STORE_DATABASE_FILE);
	struct stat st;
	int r = refuse_elsewhere(dir, err);
	if (r < 0)
		return r;
	/* A directory that cannot be read is not the same as one without a journal. */
	if (stat(path, &st) < 0)
		return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "there is no journal in '%s' yet", dir)
		                       : err_set(err, errno == EACCES ? ERR_PERMISSION : ERR_IO,
		                                 "look into the state directory '%s': %s", dir, strerror(errno));
	return open_database(dir, NULL, true, ret, err);
}
