#include "engine/journal/sql.h"

#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/core/rand.h"
#include "base/sys/host.h"
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { STORE_FORMAT = 1, BUSY_MS = 10000, RESERVE_BYTES = 1 << 20, SHM_BYTES = 64 << 10, MAX_DOCUMENT = 16 << 20 };

void (*store_after_write)(void);

static const char *const state_names[] = {"preparing", "refused",   "open",   "undoing",
                                          "held",      "committed", "undone", "parked"};

const char *deployment_state_name(enum deployment_state s)
{
	return state_names[s];
}

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

/* ---- statements ---- */

void sql_stmt_done(sqlite3_stmt **st)
{
	sqlite3_finalize(*st);
	*st = NULL;
}

/* SQLite reports a full disk as an I/O error if it cannot make the shared memory beside the journal. */
static bool disk_is_full(const struct store *s)
{
	struct statvfs v;
	int reason = s->db ? sqlite3_system_errno(s->db) : 0;
	return reason == ENOSPC || reason == EDQUOT ||
	       (statvfs(s->dir, &v) == 0 && v.f_bavail * v.f_frsize < SHM_BYTES);
}

int sql_fail(struct store *s, int rc, struct err *err, const char *what)
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
	const char *why = s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc);
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

static int prepare_args(struct store *s, sqlite3_stmt **ret, struct err *err, const char *sql, const char *types,
                        va_list args)
{
	_cleanup_stmt_ sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
	if (rc != SQLITE_OK)
		return sql_fail(s, rc, err, "prepare a statement");
	for (int i = 0; types[i]; i++) {
		if (types[i] == 's') {
			const char *text = va_arg(args, const char *);
			rc = text ? sqlite3_bind_text(st, i + 1, text, -1, SQLITE_TRANSIENT)
			          : sqlite3_bind_null(st, i + 1);
		} else {
			rc = sqlite3_bind_int64(st, i + 1, va_arg(args, int64_t));
		}
		if (rc != SQLITE_OK)
			return sql_fail(s, rc, err, "bind a value");
	}
	*ret = TAKE(st);
	return 0;
}

int sql_prepare(struct store *s, sqlite3_stmt **ret, struct err *err, const char *sql, const char *types, ...)
{
	va_list args;
	va_start(args, types);
	int r = prepare_args(s, ret, err, sql, types, args);
	va_end(args);
	return r;
}

int sql_step(struct store *s, sqlite3_stmt *st, struct err *err)
{
	int rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0 : sql_fail(s, rc, err, sqlite3_stmt_readonly(st) ? "read" : "write");
}

int sql_run(struct store *s, struct err *err, const char *sql, const char *types, ...)
{
	_cleanup_stmt_ sqlite3_stmt *st = NULL;
	va_list args;
	va_start(args, types);
	int r = prepare_args(s, &st, err, sql, types, args);
	va_end(args);
	return r < 0 ? r : sql_step(s, st, err);
}

int sql_begin(struct store *s, struct err *err)
{
	if (s->readonly)
		return err_set(err, ERR_INTERNAL, "the journal was opened for reading");
	return sql_run(s, err, "BEGIN IMMEDIATE", "");
}

int sql_end(struct store *s, int r, struct err *err)
{
	if (r == 0)
		r = sql_run(s, err, "COMMIT", "");
	if (r < 0) {
		/* A failed statement may have rolled back by itself already. */
		if (!sqlite3_get_autocommit(s->db))
			sql_run(s, NULL, "ROLLBACK", "");
		return r;
	}
	if (store_after_write)
		store_after_write();
	return 0;
}

int sql_json(sqlite3_stmt *st, int column, json_t **ret, struct err *err)
{
	const char *text = (const char *)sqlite3_column_text(st, column);
	if (text == NULL)
		return err_set(err, ERR_PROTOCOL, "the journal holds an empty document");
	return json_parse(text, (size_t)sqlite3_column_bytes(st, column), MAX_DOCUMENT, ret, err);
}

void sql_json_merge(json_t *object, const json_t *members)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)members, key, value)
	{
		if (json_is_null(value))
			json_object_del(object, key);
		else
			json_object_set(object, key, value);
	}
}

/* ---- opening ---- */

static int make_store_id(const char *path, struct err *err)
{
	char id[33];
	rand_hex(id, 32);
	_cleanup_json_ json_t *o = json_pack("{s:s, s:s}", "id", id, "machine_id", host_machine_id());
	_cleanup_free_ char *text = json_text(o);
	return fs_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, err);
}

/* The id is bound to the machine: a directory that was copied to another one (a cloned disk) gets an id of its own there, so
 * that the copy never takes itself for the owner of the original's locks. */
static int load_store_id(struct store *s, struct err *err)
{
	_cleanup_free_ char *path = fs_join(s->dir, "store-id");
	for (int i = 0; i < 3; i++) {
		_cleanup_(str_done) struct str text = STR_INIT(4096);
		_cleanup_json_ json_t *o = NULL;
		int r = fs_read(AT_FDCWD, path, 4096, &text, err);
		if (r == 0)
			r = json_parse(str_peek(&text), text.len, 4096, &o, err);
		const char *id = json_get_string(o, "id"), *machine = json_get_string(o, "machine_id");
		if (r == 0 && id && machine && strcmp(machine, host_machine_id()) == 0) {
			s->id = xstrdup(id);
			return 0;
		}
		if ((r < 0 && r != ERR_NOT_FOUND) || s->readonly)
			return r < 0 ? err_wrap(err, r, "read '%s'", path) : 0;
		r = make_store_id(path, err);
		if (r < 0)
			return r;
	}
	return err_set(err, ERR_IO, "'%s' does not keep what is written", path);
}

/* A missing reserve is no reason to refuse: the previous undo may have given it up. */
static void make_reserve(const char *dir)
{
	_cleanup_free_ char *path = fs_join(dir, "reserve");
	if (fs_exists(AT_FDCWD, path))
		return;
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0 && posix_fallocate(fd, 0, RESERVE_BYTES) != 0)
		unlink(path);
}

void store_give_up_reserve(struct store *s)
{
	_cleanup_free_ char *path = fs_join(s->dir, "reserve");
	unlink(path);
}

static int get_int(struct store *s, const char *sql, int64_t *ret, struct err *err)
{
	_cleanup_stmt_ sqlite3_stmt *st = NULL;
	int r = sql_prepare(s, &st, err, sql, "");
	if (r == 0)
		r = sql_step(s, st, err);
	if (r < 0)
		return r;
	*ret = r > 0 ? sqlite3_column_int64(st, 0) : 0;
	return 0;
}

static int use_wal(struct store *s, struct err *err)
{
	_cleanup_stmt_ sqlite3_stmt *st = NULL;
	int r = sql_prepare(s, &st, err, "PRAGMA journal_mode=WAL", "");
	if (r == 0)
		r = sql_step(s, st, err);
	if (r < 0)
		return r;
	const char *mode = (const char *)sqlite3_column_text(st, 0);
	if (mode == NULL || strcmp(mode, "wal") != 0)
		return err_set(err, ERR_UNSUPPORTED,
		               "the file system of '%s' cannot hold the journal (mode '%s' instead of 'wal')", s->dir,
		               mode ? mode : "");
	sql_stmt_done(&st);
	return sql_run(s, err, "PRAGMA synchronous=FULL", "");
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
	r = sql_begin(s, err);
	if (r < 0)
		return r;
	/* Another process may have made the tables meanwhile. */
	r = get_int(s, "PRAGMA user_version", &format, err);
	if (r == 0 && format == 0 && sqlite3_exec(s->db, schema, NULL, NULL, NULL) != SQLITE_OK)
		r = sql_fail(s, sqlite3_errcode(s->db), err, "make the tables");
	return sql_end(s, r, err);
}

int store_check_owner(const char *dir, struct err *err)
{
	struct stat st;
	if (stat(dir, &st) < 0 || st.st_uid == 0 || st.st_uid == geteuid())
		return 0;
	const struct passwd *entry = getpwuid(st.st_uid);
	_cleanup_free_ char *owner = entry ? xstrdup(entry->pw_name) : xasprintf("%lld", (long long)st.st_uid);
	err_set(err, ERR_PERMISSION,
	        "the state directory '%s' belongs to %s: what it says to undo or to run would be done with the rights of another user",
	        dir, owner);
	return err_hint(err, ERR_PERMISSION, "run it as %s (sudo -u %s), or name another directory by DAVIT_STATE",
	                owner, owner);
}

static int prepare_dir(const char *dir, struct err *err)
{
	int r = fs_mkdirs(AT_FDCWD, dir, 0700, err);
	if (r < 0)
		return err_wrap(err, r, "the state directory");
	r = store_check_owner(dir, err);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "open the state directory '%s'", dir);
	if (fs_is_network(fd)) {
		err_set(err, ERR_REFUSED,
		        "the state directory '%s' lies on a network file system, where locks cannot be relied on", dir);
		return err_hint(err, ERR_REFUSED, "set DAVIT_STATE to a directory on a local disk");
	}
	struct stat st;
	if (fstat(fd, &st) == 0 && (st.st_mode & 077) != 0 && fchmod(fd, 0700) != 0)
		return err_errno(err, errno, "close the state directory '%s' to others", dir);
	_cleanup_free_ char *owners = fs_join(dir, "owners");
	return fs_mkdirs(AT_FDCWD, owners, 0700, err);
}

static int open_database(const char *dir, const char *vfs, bool readonly, struct store **ret, struct err *err)
{
	_cleanup_(store_closep) struct store *s = xcalloc(1, sizeof(*s));
	s->dir = xstrdup(dir);
	s->readonly = readonly;
	_cleanup_free_ char *path = fs_join(dir, "journal.db");
	int flags =
		(readonly ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) | SQLITE_OPEN_NOMUTEX;
	int rc = sqlite3_open_v2(path, &s->db, flags, vfs);
	if (rc != SQLITE_OK)
		return sql_fail(s, rc, err, "open");
	sqlite3_extended_result_codes(s->db, 1);
	sqlite3_busy_timeout(s->db, BUSY_MS);
	int r = readonly ? 0 : use_wal(s, err);
	if (r == 0)
		r = check_format(s, err);
	if (r == 0)
		r = load_store_id(s, err);
	if (r < 0)
		return r;
	*ret = TAKE(s);
	return 0;
}

int store_open(const char *dir, const char *vfs, struct store **ret, struct err *err)
{
	int r = prepare_dir(dir, err);
	if (r < 0)
		return r;
	make_reserve(dir);
	r = open_database(dir, vfs, false, ret, err);
	if (r == ERR_NO_SPACE)
		err_hint(err, r, "free some space for '%s'", dir);
	return r;
}

int store_open_readonly(const char *dir, struct store **ret, struct err *err)
{
	_cleanup_free_ char *path = fs_join(dir, "journal.db");
	struct stat st;
	/* A directory that cannot be read is not the same as one without a journal. */
	if (stat(path, &st) < 0)
		return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "there is no journal in '%s' yet", dir)
		                       : err_set(err, errno == EACCES ? ERR_PERMISSION : ERR_IO,
		                                 "look into the state directory '%s': %s", dir, strerror(errno));
	return open_database(dir, NULL, true, ret, err);
}

void store_close(struct store *s)
{
	if (s == NULL)
		return;
	sqlite3_close(s->db);
	free(s->dir);
	free(s->id);
	free(s);
}

void store_closep(struct store **s)
{
	store_close(*s);
}

const char *store_id(const struct store *s)
{
	return s->id ? s->id : "";
}

const char *store_dir(const struct store *s)
{
	return s->dir;
}
