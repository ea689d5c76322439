/* Plans of pull requests until they are merged: a sealed file each in the state directory, or a row each of a shared journal, sealed with that
 * journal's key, so that whichever machine deploys the merge finds what another one showed. */
#include "engine/journal/store_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/core/clock.h"
#include "base/secret/base64.h"
#include "base/secret/seal.h"
#include "base/sys/fs.h"

enum {
	KEPT_MAX = 300,          /* in all */
	KEPT_OF_REPOSITORY = 60, /* so that one repository cannot push out those of all others */
	TEXT_MAX = 16 << 20,
};
static const char place[] = "plans";
#define KEPT_MS (STORE_PLAN_DAYS * INT64_C(24) * 3600 * 1000)

/* ---- files ---- */

struct kept {
	char name[STORE_PLAN_NAME];
	int64_t made_ms;
};

static int by_age(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;
	return (x->made_ms < y->made_ms) - (x->made_ms > y->made_ms);
}

static size_t list_kept(int dirfd, DIR *d, struct kept **ret)
{
	size_t count = 0, cap = 0;
	for (struct dirent *one; (one = readdir(d)) != NULL;) {
		struct stat st;
		if (strlen(one->d_name) != STORE_PLAN_NAME - 1 ||
		    fstatat(dirfd, one->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		*ret = xgrow(*ret, &cap, count + 1, sizeof(**ret));
		memcpy((*ret)[count].name, one->d_name, sizeof((*ret)->name));
		(*ret)[count++].made_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	}
	return count;
}

static void closedirp(DIR **d)
{
	if (*d != NULL)
		closedir(*d);
}

/* What is over goes, then the oldest of a repository that has too many, then the oldest of all. */
static void keep_bounds(const char *state_dir)
{
	_cleanup_free_ char *directory = fs_join(state_dir, place);
	_cleanup_free_ struct kept *all = NULL;
	_cleanup_(closedirp) DIR *d = opendir(directory);
	if (d == NULL)
		return;
	size_t count = list_kept(dirfd(d), d, &all), stay = 0;
	int64_t now = clock_wall_ms();
	if (count > 1)
		qsort(all, count, sizeof(*all), by_age);
	for (size_t i = 0; i < count; i++) {
		size_t same = 0;
		for (size_t k = 0; k < i; k++)
			same += memcmp(all[k].name, all[i].name, STORE_PLAN_REPOSITORY) == 0;
		bool over = now - all[i].made_ms > KEPT_MS || same >= KEPT_OF_REPOSITORY || stay >= KEPT_MAX;
		if (over)
			unlinkat(dirfd(d), all[i].name, 0);
		else
			stay++;
	}
	seal_sweep_at(state_dir, place, NULL);
}

static int drop_file(struct store *s, const char *name, struct err *err)
{
	_cleanup_free_ char *directory = fs_join(s->dir, place);
	return fs_exists(AT_FDCWD, directory) ? seal_erase_at(s->dir, place, name, err) : 0;
}

/* ---- rows ---- */

struct keeping {
	const char *name, *data;
	int64_t now;
};

/* The same bounds, in the transaction that adds one. */
static int write_row(struct store *s, void *context, struct err *err)
{
	const struct keeping *k = context;
	_cleanup_free_ char *repository = xasprintf("%.*s-%%", STORE_PLAN_REPOSITORY, k->name);
	int r = sql_run(s, err,
	                "INSERT INTO plan(name, made_ms, data) VALUES(?1,?2,?3)"
	                " ON CONFLICT(name) DO UPDATE SET made_ms=excluded.made_ms, data=excluded.data",
	                "sis", k->name, k->now, k->data);
	if (r == 0)
		r = sql_run(s, err, "DELETE FROM plan WHERE made_ms < ?1", "i", k->now - KEPT_MS);
	if (r == 0)
		r = sql_run(
			s, err,
			"DELETE FROM plan WHERE name LIKE ?1 AND name NOT IN (SELECT name FROM plan WHERE name LIKE ?1"
			" ORDER BY made_ms DESC, name LIMIT ?2)",
			"si", repository, (int64_t)KEPT_OF_REPOSITORY);
	if (r == 0)
		r = sql_run(
			s, err,
			"DELETE FROM plan WHERE name NOT IN (SELECT name FROM plan ORDER BY made_ms DESC, name LIMIT ?1)",
			"i", (int64_t)KEPT_MAX);
	return r;
}

static int erase_row(struct store *s, void *context, struct err *err)
{
	const struct keeping *k = context;
	return sql_run(s, err, "DELETE FROM plan WHERE name=?1", "s", k->name);
}

/* What is sealed of a deployment lies in the same database: the one must not be taken for the other. */
static char *subject_of(const char *name)
{
	return xasprintf("%s/%s", place, name);
}

static int keep_row(struct store *s, const char *name, const void *data, size_t len, struct err *err)
{
	struct str sealed _cleanup_(str_done) = STR_INIT(TEXT_MAX), text _cleanup_(str_done) = STR_INIT(TEXT_MAX);
	_cleanup_free_ char *subject = subject_of(name);
	int r = seal_bytes(s->dir, STORE_KEY_FILE, subject, data, len, &sealed, err);
	if (r < 0)
		return r;
	base64_encode(sealed.data, sealed.len, &text);
	struct keeping row = {.name = name, .data = str_peek(&text), .now = clock_wall_ms()};
	const struct sql_write w = {.work = write_row, .context = &row};
	return sql_write(s, &w, err);
}

static int read_row(struct store *s, const char *name, struct str *out, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	_cleanup_free_ char *subject = subject_of(name);
	struct str sealed _cleanup_(str_done) = STR_INIT(TEXT_MAX);
	int r = sql_query(s, &rows, err, "SELECT data FROM plan WHERE name=?1", "s", name);
	if (r == 0)
		r = sql_next(&rows, err);
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "the journal has no plan of that name");
	const char *text = r > 0 ? sql_text(&rows, 0) : NULL;
	if (r > 0 && base64_decode(text, strlen(text), &sealed, NULL) < 0)
		r = err_set(err, ERR_AUTH, "what the journal has of it is damaged");
	return r < 0 ? r : seal_open_bytes(s->dir, STORE_KEY_FILE, subject, &sealed, out, err);
}

/* ---- both ---- */

int store_plan_keep(struct store *s, const char *name, const void *data, size_t len, struct err *err)
{
	if (store_is_shared(s))
		return keep_row(s, name, data, len, err);
	int r = seal_write_at(s->dir, place, name, data, len, err);
	if (r == 0)
		keep_bounds(s->dir);
	return r;
}

int store_plan_read(struct store *s, const char *name, struct str *out, struct err *err)
{
	return store_is_shared(s) ? read_row(s, name, out, err) : seal_read_at(s->dir, place, name, out, err);
}

int store_plan_drop(struct store *s, const char *name, struct err *err)
{
	if (!store_is_shared(s))
		return drop_file(s, name, err);
	struct keeping row = {.name = name};
	const struct sql_write w = {.work = erase_row, .context = &row};
	return sql_write(s, &w, err);
}
