/* The token of a work area in its submodules: each has a configuration of its own, below .git/modules. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/core/log.h"
#include "base/git/gitmodules.h"
#include "base/git/module_url.h"
#include "base/git/submodules.h"
#include "base/git/token_priv.h"
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"

enum { DIRECTORIES_MAX = 20000, DEPTH_MAX = 64 };
static const char modules[] = "modules";

/* ---- removing ---- */

struct clearing {
	struct strv *files;
	bool *broken;
	size_t seen;
};

static int clear_below(struct clearing *c, int parent, const char *name, int depth, struct err *err);

static bool is_repository(int directory)
{
	return fs_exists(directory, "HEAD") && fs_exists(directory, "objects");
}

/* One that cannot be read may hold a token: it goes, and the next checkout writes another. */
static int clear_one(struct clearing *c, int git, struct err *err)
{
	struct git_token_place p _cleanup_(git_token_place_done) = {.git = fcntl(git, F_DUPFD_CLOEXEC, 3)};
	struct err why = ERR_INIT;
	int r = git_token_place_find(&p, &why);
	if (r == ERR_NOT_FOUND)
		return 0;
	if (r >= 0)
		r = git_token_place_open(&p, &why);
	if (r >= 0)
		r = git_token_clear(p.config, c->files);
	if (r == 0)
		return 0;
	*c->broken = true;
	return fs_remove_tree(git, "config", err);
}

/* Takes directory. */
static int clear_entries(struct clearing *c, int directory, int depth, struct err *err)
{
	DIR *d = fdopendir(directory);
	int r = 0;
	if (d == NULL) {
		close(directory);
		return 0;
	}
	for (struct dirent *entry; r >= 0 && (entry = readdir(d)) != NULL;)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = clear_below(c, dirfd(d), entry->d_name, depth, err);
	closedir(d);
	return r;
}

/* A name may have slashes: what is no repository holds some. */
static int clear_below(struct clearing *c, int parent, const char *name, int depth, struct err *err)
{
	int directory _cleanup_close_ = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (directory < 0)
		return 0;
	if (++c->seen > DIRECTORIES_MAX || depth > DEPTH_MAX)
		return err_set(err, ERR_LIMIT, "there are too many directories of submodules");
	if (!is_repository(directory))
		return clear_entries(c, take_fd(&directory), depth + 1, err);
	int r = clear_one(c, directory, err);
	return r >= 0 ? clear_below(c, directory, modules, depth + 1, err) : r;
}

int git_token_clear_modules(int git, struct strv *ret_files, bool *ret_broken, struct err *err)
{
	struct clearing c = {.files = ret_files, .broken = ret_broken};
	int r = clear_below(&c, git, modules, 0, err);
	if (r == ERR_LIMIT) {
		/* No checkout has made that many. */
		err_clear(err);
		*ret_broken = true;
		r = fs_remove_tree(git, modules, err);
	}
	return r < 0 ? err_wrap(err, r, "remove the token from the submodules") : 0;
}

/* ---- keeping ---- */

struct keeping {
	const struct git_token *t;
	const char *key, *value;
	size_t count;
};

/* In its place the address of the server is asked, with the token. */
static int alias(const struct keeping *k, git_config *config)
{
	struct strv aliases _cleanup_(strv_done) = {0};
	const struct git_module_server server = {.url = k->t->server, .owner_id = k->t->owner_id};
	_cleanup_free_ char *origin = git_module_origin(k->t->server),
			    *key = origin != NULL ? xasprintf("url.%s.insteadOf", origin) : NULL;
	git_buf own = {NULL, 0, 0};
	if (key == NULL)
		return 0;
	bool has_own = git_config_get_string_buf(&own, config, "remote.origin.url") == 0;
	/* Behind SSH an address stands for itself. */
	if (k->t->ssh_name == NULL)
		git_module_aliases(&server, &aliases);
	int r = git_config_delete_multivar(config, key, ".*");
	r = r == GIT_ENOTFOUND ? 0 : r;
	for (size_t i = 0; r == 0 && i < aliases.count; i++) {
		bool is_url = strstr(aliases.items[i], "://") != NULL;
		/* An address that the action does not know: only where it is needed. */
		if (!is_url || (has_own && str_starts(own.ptr, aliases.items[i])))
			r = git_config_set_multivar(config, key, "^$", aliases.items[i]);
	}
	git_buf_dispose(&own);
	return r;
}

static int keep_one(const struct keeping *k, struct git_token_place *p, const char *below, struct err *err)
{
	static const char *const rests[] = {".path"};
	int r = k->t->file != NULL ? git_token_include(k->t, p->config, below, rests, ARRAY_SIZE(rests))
	                           : git_config_set_string(p->config, k->key, k->value);
	if (r == 0)
		r = alias(k, p->config);
	if (r == 0 && k->t->ssh_name != NULL)
		r = git_config_set_string(p->config, git_token_ssh_command_key, k->t->ssh_command);
	return r == 0 ? 0 : git_area_error(err, r, "change the configuration of a submodule");
}

static int keep_below(struct keeping *k, const struct git_token_place *super, const char *below, int level,
                      struct err *err);

/* One that is not here was not asked for. */
static int keep_name(struct keeping *k, const struct git_token_place *super, const char *name, const char *below,
                     int level, struct err *err)
{
	struct git_token_place p _cleanup_(git_token_place_done) = {.git = -1};
	struct strv none _cleanup_(strv_done) = {0};
	_cleanup_free_ char *own = xasprintf("%s/%s", modules, name), *whole = xasprintf("%s/%s", below, own);
	struct err why = ERR_INIT;
	p.git = fs_open_beneath(super->git, own, O_RDONLY | O_DIRECTORY, 0, &why);
	if (p.git == ERR_NOT_FOUND)
		return 0;
	if (++k->count > GIT_MODULE_COUNT_MAX)
		return err_set(err, ERR_LIMIT, "there are more than %d submodules", GIT_MODULE_COUNT_MAX);
	int r = p.git < 0 ? p.git : git_token_place_find(&p, &why);
	if (r >= 0)
		r = git_token_place_open(&p, &why);
	if (r < 0) {
		*err = why;
		return r;
	}
	r = keep_one(k, &p, whole, err);
	return r >= 0 && k->t->submodules == GIT_TOKEN_ALL_SUBMODULES ? keep_below(k, &p, whole, level + 1, err) : r;
}

static int keep_below(struct keeping *k, const struct git_token_place *super, const char *below, int level,
                      struct err *err)
{
	const unsigned flags = GIT_REPOSITORY_OPEN_NO_SEARCH | GIT_REPOSITORY_OPEN_NO_DOTGIT | GIT_REPOSITORY_OPEN_BARE;
	git_repository *repo _cleanup_(repository_freep) = NULL;
	struct strv paths _cleanup_(strv_done) = {0}, commits _cleanup_(strv_done) = {0};
	struct git_modules list _cleanup_(git_modules_done) = {.count = 0};
	_cleanup_free_ char *path = git_area_path_of(super->git, err);
	if (path == NULL)
		return ERR_IO;
	if (level > GIT_MODULE_LEVELS_MAX)
		return err_set(err, ERR_LIMIT, "submodules lie in each other more than %d deep", GIT_MODULE_LEVELS_MAX);
	int r = git_repository_open_ext(&repo, path, flags, NULL);
	if (r != 0)
		return git_area_error(err, r, "open the work area");
	r = git_modules_links(repo, &paths, &commits, err);
	if (r >= 0 && paths.count > 0)
		r = git_modules_read(repo, &list, err);
	for (size_t i = 0; r >= 0 && i < paths.count; i++) {
		const struct git_module *m = git_modules_at(&list, paths.items[i]);
		if (m != NULL)
			r = keep_name(k, super, m->name, below, level, err);
	}
	return r;
}

int git_token_keep_modules(const struct git_token *t, const struct git_token_place *top, const char *key,
                           const char *value, struct err *err)
{
	struct keeping k = {.t = t, .key = key, .value = value};
	int r = t->submodules != GIT_TOKEN_NO_SUBMODULES ? keep_below(&k, top, "", 0, err) : 0;
	return r < 0 ? err_wrap(err, r, "keep the token in the submodules") : 0;
}
