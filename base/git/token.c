#include "base/git/token.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/core/str.h"
#include "base/git/known_hosts.h"
#include "base/git/token_priv.h"
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"

enum { CONFIG_MAX = 4 << 20, KEY_MAX = 64 << 10 };
const char git_token_ssh_command_key[] = "core.sshcommand";
static const char file_pattern[] = "git-credentials-[0-9a-fA-F-]+\\.config$";
static const char header_pattern[] = "^[Aa][Uu][Tt][Hh][Oo][Rr][Ii][Zz][Aa][Tt][Ii][Oo][Nn]: ";
static const char header_start[] = "AUTHORIZATION: ";
static const char file_start[] = "git-credentials-", file_end[] = ".config";

void git_token_place_done(struct git_token_place *p)
{
	git_config_free(p->config);
	closep(&p->git);
}

int git_token_place_find(struct git_token_place *p, struct err *err)
{
	struct stat st;
	if (fstatat(p->git, "config", &st, AT_SYMLINK_NOFOLLOW) != 0)
		return err_errno(err, errno, "look at the configuration of the work area");
	if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_MAX)
		return err_set(err, ERR_INVALID,
		               "the configuration of the work area is not a file, or larger than %d MiB",
		               CONFIG_MAX >> 20);
	_cleanup_free_ char *path = git_area_path_of(p->git, err);
	if (path == NULL)
		return ERR_IO;
	if (strlen(path) >= sizeof(p->path) - sizeof("/config"))
		return err_errno(err, ENAMETOOLONG, "find the path of the work area");
	memcpy(p->path, path, strlen(path));
	memcpy(p->path + strlen(path), "/config", sizeof("/config"));
	return 0;
}

static int find(const struct git_token *t, struct git_token_place *p, struct err *err)
{
	_cleanup_close_ int root = open(t->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_errno(err, errno, "open the workspace %s", t->root);
	_cleanup_free_ char *below = xasprintf("%s/.git", t->below);
	p->git = fs_open_beneath(root, below, O_RDONLY | O_DIRECTORY, 0, err);
	return p->git < 0 ? p->git : git_token_place_find(p, err);
}

int git_token_place_open(struct git_token_place *p, struct err *err)
{
	git_area_library();
	int r = git_config_open_ondisk(&p->config, p->path);
	return r == 0 ? 0 : git_area_error(err, r, "read the configuration of the work area");
}

static char *header_key(const struct git_token *t)
{
	return xasprintf("http.%s/.extraheader", t->server);
}

/* ---- a key for SSH ---- */

static void remove_key(const struct git_token *t)
{
	if (t->ssh_name == NULL || strchr(t->ssh_name, '/') != NULL)
		return;
	_cleanup_free_ char *key = fs_join(t->directory, t->ssh_name), *known = xasprintf("%s_known_hosts", key);
	unlink(key);
	unlink(known);
}

static int write_key(const struct git_token *t, struct err *err)
{
	struct str key _cleanup_(str_done) = STR_SECRET_INIT(KEY_MAX),
		       known _cleanup_(str_done) = STR_INIT(GIT_KNOWN_HOSTS_MAX);
	_cleanup_free_ char *key_path = fs_join(t->directory, t->ssh_name),
			    *known_path = xasprintf("%s_known_hosts", key_path);
	/* ssh takes no line ends of Windows. */
	for (const char *c = t->ssh_key + strspn(t->ssh_key, " \t\r\n"); *c != '\0'; c++)
		if (*c != '\r')
			str_append_c(&key, *c);
	while (key.len > 0 && strchr(" \t\n", key.data[key.len - 1]) != NULL)
		str_truncate(&key, key.len - 1);
	str_append_c(&key, '\n');
	if (key.failed)
		return err_set(err, ERR_LIMIT, "the key is larger than %d KiB", KEY_MAX >> 10);
	int r = git_known_hosts(t->ssh_known_hosts, false, &known, err);
	if (r >= 0)
		r = fs_write_replace(AT_FDCWD, key_path, str_peek(&key), key.len, 0600, err);
	if (r >= 0)
		r = fs_write_replace(AT_FDCWD, known_path, str_peek(&known), known.len, 0644, err);
	return r < 0 ? err_wrap(err, r, "keep the key for later steps") : 0;
}

/* ---- removing ---- */

static bool is_token_file(const char *name)
{
	size_t len = strlen(name), start = strlen(file_start), end = strlen(file_end);
	if (len <= start + end || !str_starts(name, file_start) || !str_ends(name, file_end))
		return false;
	return strspn(name + start, "0123456789abcdefABCDEF-") == len - start - end;
}

/* Only what lies in the directory of tokens: where the configuration says they are is the job's word. */
static void remove_file(int directory, const char *path)
{
	const char *slash = path != NULL ? strrchr(path, '/') : NULL, *name = slash != NULL ? slash + 1 : path;
	if (directory >= 0 && name != NULL && is_token_file(name))
		unlinkat(directory, name, 0);
}

/* Of keys that begin and end so: those whose value says so. libgit2's own search by a pattern loses 20 KB for each key that does not fit. */
static int find_keys(git_config *config, const char *start, const char *end, bool (*is)(const char *value),
                     struct strv *ret_keys, struct strv *ret_values)
{
	git_config_iterator *all = NULL;
	git_config_entry *entry;
	int r = git_config_iterator_new(&all, config);
	while (r == 0 && (r = git_config_next(&entry, all)) == 0) {
		if (!str_starts(entry->name, start) || !str_ends(entry->name, end) || !is(entry->value))
			continue;
		strv_add(ret_keys, entry->name);
		strv_add(ret_values, entry->value);
	}
	git_config_iterator_free(all);
	return r == GIT_ITEROVER ? 0 : r;
}

static bool is_token_path(const char *value)
{
	const char *slash = value != NULL ? strrchr(value, '/') : NULL;
	return value != NULL && is_token_file(slash != NULL ? slash + 1 : value);
}

static bool is_token_header(const char *value)
{
	return value != NULL && strncasecmp(value, header_start, strlen(header_start)) == 0;
}

static int delete_keys(git_config *config, const struct strv *keys, const char *values)
{
	int r = 0;
	for (size_t i = 0; (r == 0 || r == GIT_ENOTFOUND) && i < keys->count; i++)
		r = git_config_delete_multivar(config, keys->items[i], values);
	return r == GIT_ENOTFOUND ? 0 : r;
}

int git_token_clear(git_config *config, struct strv *files)
{
	struct strv keys _cleanup_(strv_done) = {0}, headers _cleanup_(strv_done) = {0},
			 values _cleanup_(strv_done) = {0};
	int r = find_keys(config, "includeif.gitdir:", ".path", is_token_path, &keys, files);
	if (r == 0)
		r = find_keys(config, "http.", ".extraheader", is_token_header, &headers, &values);
	if (r == 0)
		r = delete_keys(config, &keys, file_pattern);
	if (r == 0)
		r = delete_keys(config, &headers, header_pattern);
	if (r == 0 && (r = git_config_delete_multivar(config, git_token_ssh_command_key, ".*")) == GIT_ENOTFOUND)
		r = 0;
	return r;
}

int git_token_forget(git_repository *repo, bool submodules, struct err *err)
{
	git_config *all _cleanup_(config_freep) = NULL, *own _cleanup_(config_freep) = NULL;
	struct strv files _cleanup_(strv_done) = {0};
	int r = git_repository_config(&all, repo);
	if (r == 0)
		r = git_config_open_level(&own, all, GIT_CONFIG_LEVEL_LOCAL);
	if (r == 0)
		r = git_token_clear(own, &files);
	if (r != 0)
		return git_area_error(err, r, "remove an earlier token from the configuration of the work area");
	if (!submodules)
		return 0;
	bool broken = false;
	int git _cleanup_close_ = open(git_repository_path(repo), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return git < 0 ? 0 : git_token_clear_modules(git, &files, &broken, err);
}

static int clear(const struct git_token *t, struct git_token_place *p, bool *ret_broken, struct err *err)
{
	struct strv files _cleanup_(strv_done) = {0};
	int directory _cleanup_close_ = open(t->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = git_token_clear(p->config, &files);
	int below = git_token_clear_modules(p->git, &files, ret_broken, err);
	for (size_t i = 0; i < files.count; i++)
		remove_file(directory, files.items[i]);
	return r == 0 ? below : git_area_error(err, r, "change the configuration of the work area");
}

int git_token_remove(const struct git_token *t, bool *ret_broken, struct err *err)
{
	struct git_token_place p _cleanup_(git_token_place_done) = {.git = -1};
	int directory _cleanup_close_ = open(t->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct err why = ERR_INIT;
	*ret_broken = false;
	remove_file(directory, t->file);
	remove_key(t);
	int r = find(t, &p, &why);
	if (r == ERR_NOT_FOUND)
		return 0;
	if (r == 0)
		r = git_token_place_open(&p, &why);
	if (r == 0)
		r = clear(t, &p, ret_broken, &why);
	if (r == 0)
		return 0;
	/* A token in it would stay: the next checkout makes a new one. */
	bool removed = p.git >= 0 && (unlinkat(p.git, "config", 0) == 0 || errno == ENOENT);
	if (removed && p.config == NULL) {
		struct strv files _cleanup_(strv_done) = {0};
		r = git_token_clear_modules(p.git, &files, ret_broken, &why);
		removed = r == 0;
	}
	*ret_broken |= removed;
	if (!removed && err != NULL)
		*err = why;
	return removed ? 0 : r;
}

/* ---- keeping ---- */

/* A pattern in the key: what stands for others there stands for itself. */
static char *include_key(const char *git_dir, const char *rest)
{
	struct str key _cleanup_(str_done) = STR_INIT(4 * PATH_MAX);
	str_append(&key, "includeIf.gitdir:");
	for (const char *c = git_dir; *c != '\0'; c++) {
		if (strchr("*?[\\", *c) != NULL)
			str_append_c(&key, '\\');
		str_append_c(&key, *c);
	}
	str_append(&key, rest);
	return str_take(&key);
}

int git_token_include(const struct git_token *t, git_config *config, const char *below, const char *const *rests,
                      size_t rest_count)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < t->view_count * rest_count; i++) {
		const struct git_token_view *view = &t->views[i / rest_count];
		_cleanup_free_ char *whole = xasprintf("%s%s", view->git_dir, below),
				    *key = include_key(whole, rests[i % rest_count]);
		r = git_config_set_string(config, key, view->file);
	}
	return r;
}

/* Nobody but its owner reads it. */
static int write_file(const struct git_token *t, const char *key, const char *value, struct err *err)
{
	_cleanup_free_ char *path = fs_join(t->directory, t->file);
	git_config *config _cleanup_(config_freep) = NULL;
	mode_t mask = umask(0077);
	int r = git_config_open_ondisk(&config, path);
	if (r == 0)
		r = git_config_set_string(config, key, value);
	umask(mask);
	return r == 0 ? 0 : git_area_error(err, r, "write the file of the token");
}

int git_token_keep(const struct git_token *t, struct err *err)
{
	struct git_token_place p _cleanup_(git_token_place_done) = {.git = -1};
	_cleanup_free_ char *key = header_key(t);
	static const char *const rests[] = {".path", "/worktrees/*.path"};
	struct str value _cleanup_(str_done) = STR_SECRET_INIT(32 * 1024);
	bool broken = false;
	str_appendf(&value, "AUTHORIZATION: %s", t->authorization);
	if (value.failed)
		return err_set(err, ERR_LIMIT, "the token is too long");
	int r = find(t, &p, err);
	if (r >= 0)
		r = git_token_place_open(&p, err);
	if (r >= 0)
		r = clear(t, &p, &broken, err);
	if (r < 0)
		return r;
	if (t->ssh_name != NULL && (r = write_key(t, err)) < 0)
		return r;
	if (t->file != NULL) {
		r = write_file(t, key, str_peek(&value), err);
		if (r < 0)
			return r;
		r = git_token_include(t, p.config, "", rests, ARRAY_SIZE(rests));
	} else {
		r = git_config_set_string(p.config, key, str_peek(&value));
	}
	if (r == 0 && t->ssh_name != NULL)
		r = git_config_set_string(p.config, git_token_ssh_command_key, t->ssh_command);
	if (r != 0)
		return git_area_error(err, r, "change the configuration of the work area");
	return git_token_keep_modules(t, &p, key, str_peek(&value), err);
}
