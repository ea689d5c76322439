/* Removes the private names that interrupted operations left beside the paths of their changes. */
#include "engine/run/undo_priv.h"

#include <string.h>

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash && slash != path ? xstrndup(path, (size_t)(slash - path)) : xstrdup("/");
}

/* Paths beside which it makes private names. */
static void leftovers_of(const struct change *c, struct strv *ret)
{
	if (!change_has(c, CHANGE_FILES))
		return;
	strv_add(ret, c->path);
	if (c->type->leftovers)
		c->type->leftovers(c, ret);
}

/* Only names that this deployment's own changes would use. */
static bool is_ours(const struct engine *e, const struct plan *all, const char *target, const char *directory,
                    const char *name)
{
	for (size_t i = 0; i < all->count; i++) {
		const struct change *c = &all->changes[i];
		_cleanup_(strv_done) struct strv paths = {0};
		if (!engine_was_started(c) || !engine_undo_concerns(e, c) || strcmp(c->target, target) != 0)
			continue;
		leftovers_of(c, &paths);
		for (size_t k = 0; k < paths.count; k++) {
			_cleanup_free_ char *own = folder_of(paths.items[k]);
			if (strcmp(own, directory) == 0 && target_is_private_name(name, paths.items[k]))
				return true;
		}
	}
	return false;
}

static int sweep_folder(struct engine *e, const struct plan *all, struct etarget *et, const char *directory,
                        bool *ret_found, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	int r = host_list(&et->t->view, directory, &names, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		if (!str_starts(names.items[i], ".davit-") || !is_ours(e, all, et->name, directory, names.items[i]))
			continue;
		_cleanup_free_ char *path =
			xasprintf("%s/%s", strcmp(directory, "/") == 0 ? "" : directory, names.items[i]);
		r = host_remove_tree(et->t, path, err);
		*ret_found = true;
	}
	return r;
}

static void add_folder(struct strv *directories, const char *path)
{
	_cleanup_free_ char *directory = folder_of(path);
	if (!strv_has(directories, directory))
		strv_add(directories, directory);
}

static void add_folders_of(struct strv *directories, const struct change *c)
{
	_cleanup_(strv_done) struct strv paths = {0};
	leftovers_of(c, &paths);
	for (size_t i = 0; i < paths.count; i++)
		add_folder(directories, paths.items[i]);
}

int engine_sweep_beside(struct engine *e, struct etarget *et, const struct change *c, struct err *err)
{
	_cleanup_(strv_done) struct strv directories = {0};
	const struct plan one = {.changes = (struct change *)(uintptr_t)c, .count = 1};
	bool found = false;
	int r = 0;
	if (engine_was_started(c))
		add_folders_of(&directories, c);
	for (size_t i = 0; r == 0 && i < directories.count; i++)
		r = sweep_folder(e, &one, et, directories.items[i], &found, err);
	return r;
}

static int sweep_target(struct engine *e, const struct plan *all, struct etarget *et, bool *ret_found, struct err *err)
{
	_cleanup_(strv_done) struct strv directories = {0};
	for (size_t i = 0; i < all->count; i++) {
		const struct change *c = &all->changes[i];
		if (!engine_was_started(c) || !engine_undo_concerns(e, c) || strcmp(c->target, et->name) != 0)
			continue;
		add_folders_of(&directories, c);
	}
	int r = 0;
	for (size_t i = 0; r == 0 && i < directories.count; i++) {
		int64_t pause = ENGINE_UNDO_PAUSE_MS;
		do {
			r = sweep_folder(e, all, et, directories.items[i], ret_found, err);
			if (!engine_is_away(e, et, r, err))
				break;
			r = engine_meet_again(e, et, r, &pause, err);
		} while (r == 0);
	}
	/* A directory that may not be read or changed: reports its entries, and continues with the rest. */
	if (r < 0 && r != ERR_FENCED && r != ERR_CANCELLED && !engine_may_retry(r)) {
		char line[ERR_FRAME_SIZE];
		engine_say(e, "warning", "private names on '%s' cannot be removed: %s", et->name,
		           err ? err_line(err, line, sizeof(line)) : "");
		r = 0;
	}
	return r;
}

int engine_sweep_private_names(struct engine *e, const struct plan *all, bool *ret_found, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < e->host_count; i++)
		if (e->targets[i].locked)
			r = sweep_target(e, all, &e->targets[i], ret_found, err);
	return r;
}
