/* Retention, by number and by age. Nothing is removed before the commit, and the newest good snapshot never is. */
#include "steps/sources/sources.h"
#include "base/sys/fs.h"
#include "steps/common/retention.h"
#include "steps/sources/copies.h"

/* ---- of files: whole deployments, as far as nothing else lies in them ---- */

/* An empty snapshot directory, left by a dead undo, is removed and does not count. */
static int drop_empty(struct target *t, const char *dir, struct retention_list *kept, struct err *err)
{
	size_t whole = 0;
	int r = 0;

	for (size_t i = 0; i < kept->count && r == 0; i++) {
		_cleanup_free_ char *path = fs_join(dir, kept->items[i].name);
		_cleanup_(strv_done) struct strv names = {0};
		r = host_list(&t->view, path, &names, err);
		if (r == 0 && names.count == 0)
			r = host_remove(t, path, err);
		else if (r == 0) {
			const struct retention_entry one = kept->items[i];
			kept->items[i] = kept->items[whole];
			kept->items[whole++] = one;
		}
	}
	while (r == 0 && kept->count > whole)
		free(kept->items[--kept->count].name);
	return r;
}

/* A snapshot with a subject is of another source, whose own step drops it. */
static int drop_files(struct target *t, const char *snapshot, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	bool all = true;

	int r = host_list(&t->view, snapshot, &names, err);
	for (size_t i = 0; i < names.count && r == 0; i++) {
		_cleanup_free_ char *path = fs_join(snapshot, names.items[i]), *subject = fs_join(path, "subject");
		_cleanup_(node_done) struct node n = {0};
		r = host_stat(&t->view, subject, &n, err);
		if (r == 0 && n.type != NODE_ABSENT)
			all = false;
		else if (r == 0)
			r = host_remove_tree(t, path, err);
	}
	return r < 0 || !all ? r : host_remove_tree(t, snapshot, err);
}

static int clean_files(const struct source_call *s, struct target *t, const char *dir, int64_t keep, struct err *err)
{
	_cleanup_(retention_done) struct retention_list kept = {0};

	int r = retention_list(&t->view, dir, "", "", &kept, err);
	if (r == 0)
		r = drop_empty(t, dir, &kept, err);
	for (size_t i = 0; r == 0 && i + (size_t)keep < kept.count; i++) {
		_cleanup_free_ char *path = fs_join(dir, kept.items[i].name);
		r = drop_files(t, path, err);
		if (r == 0)
			s->c->report(s->c->engine, "removed snapshot %s", kept.items[i].name);
	}
	return r;
}

/* ---- of one subject ---- */

/* Its snapshots, oldest first; names: of the deployments that made them. */
static int list_own(const struct source_call *s, struct view *v, const char *dir, struct strv *names,
                    struct strv *paths, struct err *err)
{
	_cleanup_(retention_done) struct retention_list kept = {0};

	int r = retention_list(v, dir, "", "", &kept, err);
	for (size_t i = 0; r == 0 && i < kept.count; i++) {
		_cleanup_free_ char *snapshot = fs_join(dir, kept.items[i].name), *path = NULL;
		r = source_place(s, v, snapshot, &path, err);
		if (r < 0 || path == NULL)
			continue;
		strv_add(names, kept.items[i].name);
		strv_add_take(paths, TAKE(path));
	}
	return r;
}

/* The newest one that matches its manifest; ERR_NOT_FOUND: none does. */
static int find_good(struct view *v, const struct strv *paths, size_t *ret, struct err *err)
{
	for (size_t i = paths->count; i-- > 0;) {
		int r = source_check(v, paths->items[i], NULL, err);
		*ret = i;
		if (r != ERR_CONFLICT && r != ERR_INVALID)
			return r;
		err_clear(err);
	}
	return err_set(err, ERR_NOT_FOUND, "no snapshot is whole: none is removed");
}

static int drop_one(struct target *t, const char *dir, const char *name, const char *path, struct err *err)
{
	_cleanup_free_ char *snapshot = fs_join(dir, name);

	int r = host_remove_tree(t, path, err);
	if (r == 0)
		r = host_remove(t, snapshot, err);
	if (r == ERR_EXISTS) { /* it holds snapshots of other steps */
		err_clear(err);
		r = 0;
	}
	return r;
}

static int clean_own(const struct source_call *s, struct target *t, const char *dir, int64_t keep, int64_t age_ms,
                     struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	_cleanup_(strv_done) struct strv paths = {0};
	size_t good = SIZE_MAX;

	int r = list_own(s, &t->view, dir, &names, &paths, err);
	for (size_t i = 0; r == 0 && i < paths.count; i++) {
		if (i + (size_t)keep >= paths.count && !retention_is_older(names.items[i], age_ms))
			continue;
		if (good == SIZE_MAX)
			r = find_good(&t->view, &paths, &good, err);
		if (r < 0 || i == good)
			continue;
		r = drop_one(t, dir, names.items[i], paths.items[i], err);
		if (r == 0)
			s->c->report(s->c->engine, "removed snapshot %s", names.items[i]);
	}
	return r;
}

int source_clean(const struct source_call *s, struct target *t, struct err *err)
{
	_cleanup_free_ char *dir = source_snapshots_dir(s->c, &t->view);
	int64_t keep = json_get_int(s->in, "keep", 1);

	int r = s->source->subject == NULL ? clean_files(s, t, dir, keep, err)
	                                   : clean_own(s, t, dir, keep, source_duration_ms(s->in, "keep_for"), err);
	return r < 0 ? r : copies_clean(s, t, err);
}
