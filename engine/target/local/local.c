/* The local target: looking, the guard, and the operations on single names. Entries that are made
 * whole and then renamed: put.c; copies and unpacking: copy.c; commands and the fence: run.c. */
#include "engine/target/local/local.h"

#include "base/core/clock.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "base/data/json.h"
#include "base/sys/proc.h"
#include "base/sys/host.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { MAX_LOCK = 64 << 10, MAX_NAMES = 1 << 20 };

static int wait_check_view(const struct view *v, struct err *err)
{
	return v->wait ? wait_check(v->wait, err) : 0;
}

/* ---- open ---- */

static char *default_base(bool is_root, const char *home)
{
	if (is_root)
		return xstrdup("/var/lib/davit");
	return xasprintf("%s/.local/state/davit", home);
}

static bool have_program(const char *name)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *copy = xstrdup(path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
	char *rest = copy;
	for (char *dir; (dir = strsep(&rest, ":")) != NULL;) {
		_cleanup_free_ char *full = fs_join(*dir ? dir : ".", name);
		if (access(full, X_OK) == 0)
			return true;
	}
	return false;
}

static int local_open(struct view *v, struct err *err)
{
	struct local *l = (struct local *)v;
	struct target_facts *f = &v->facts;
	if (l->opened)
		return 0;
	const struct passwd *user = getpwuid(geteuid());
	const char *home = user ? user->pw_dir : getenv("HOME");
	f->is_root = geteuid() == 0;
	f->user = user ? xstrdup(user->pw_name) : xasprintf("%u", geteuid());
	f->machine_id = xstrdup(host_machine_id());
	f->boot_id = xstrdup(host_boot_id());
	f->hostname = xstrdup(host_name());
	f->identity = xasprintf("local:%s", f->machine_id);
	if (l->configured_base) {
		int r = fs_normalize(l->configured_base, &f->base, err);
		if (r < 0)
			return err_wrap(err, r, "target '%s': 'base'", v->name);
	} else {
		f->base = default_base(f->is_root, home ? home : "/");
	}
	f->has_zstd = have_program("zstd");
	f->has_gzip = have_program("gzip");
	f->has_setfacl = have_program("setfacl");
	f->has_sha256sum = have_program("sha256sum");
	f->has_tar = have_program("tar");
	f->has_sync_f = true;
	f->has_reflink = true; /* tried for each file, and a copy is made where it fails */
	l->opened = true;
	return 0;
}

/* ---- looking ---- */

static void fill_owner(struct node *n)
{
	const struct passwd *user = getpwuid(n->uid);
	if (user)
		snprintf(n->owner, sizeof(n->owner), "%s", user->pw_name);
	else
		snprintf(n->owner, sizeof(n->owner), "%u", n->uid);
	const struct group *group = getgrgid(n->gid);
	if (group)
		snprintf(n->group, sizeof(n->group), "%s", group->gr_name);
	else
		snprintf(n->group, sizeof(n->group), "%u", n->gid);
}

static int read_link(const char *path, char **ret, struct err *err)
{
	char text[4097];
	ssize_t len = readlink(path, text, sizeof(text) - 1);
	if (len < 0)
		return err_errno(err, errno, "read the link '%s'", path);
	*ret = xstrndup(text, (size_t)len);
	return 0;
}

static int local_stat(struct view *v, const char *path, struct node *ret, struct err *err)
{
	struct stat st;
	struct node n = {0};
	int r = wait_check_view(v, err);
	if (r < 0)
		return r;
	if (lstat(path, &st) != 0) {
		if (errno != ENOENT && errno != ENOTDIR)
			return err_errno(err, errno, "look at '%s'", path);
		*ret = n;
		return 0;
	}
	n.type = S_ISREG(st.st_mode)   ? NODE_FILE
	         : S_ISDIR(st.st_mode) ? NODE_DIR
	         : S_ISLNK(st.st_mode) ? NODE_LINK
	                               : NODE_OTHER;
	n.mode = st.st_mode & 07777;
	n.uid = st.st_uid;
	n.gid = st.st_gid;
	n.size = st.st_size;
	n.mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	fill_owner(&n);
	if (n.type == NODE_LINK) {
		r = read_link(path, &n.link, err);
		if (r < 0)
			return r;
	}
	*ret = n;
	return 0;
}

static int local_read(struct view *v, const char *path, size_t max, struct str *out, struct err *err)
{
	int r = wait_check_view(v, err);
	return r < 0 ? r : fs_read(AT_FDCWD, path, max, out, err);
}

static int local_list(struct view *v, const char *path, struct strv *ret, struct err *err)
{
	int r = wait_check_view(v, err);
	if (r < 0)
		return r;
	DIR *dir = opendir(path);
	if (dir == NULL)
		return err_errno(err, errno, "list '%s'", path);
	struct strv names = {0};
	const struct dirent *entry;
	errno = 0;
	while ((entry = readdir(dir)) != NULL && names.count < MAX_NAMES) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			strv_add(&names, entry->d_name);
		errno = 0;
	}
	int errnum = errno;
	closedir(dir);
	if (errnum != 0 || names.count >= MAX_NAMES) {
		strv_done(&names);
		return errnum ? err_errno(err, errnum, "list '%s'", path)
		              : err_set(err, ERR_LIMIT, "'%s' holds too many names", path);
	}
	strv_sort(&names);
	*ret = names;
	return 0;
}

static int local_digest(struct view *v, const char *path, char hex[65], struct err *err)
{
	int r = wait_check_view(v, err);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_errno(err, errno, "open '%s'", path);
	r = digest_of_fd(fd, hex, err);
	return r < 0 ? err_wrap(err, r, "'%s'", path) : 0;
}

static int local_tree(struct view *v, const char *path, bool digests, struct tree *ret, struct err *err)
{
	struct wait none = WAIT_INIT;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "open '%s'", path);
	return tree_walk(fd, NULL, digests, v->wait ? v->wait : &none, ret, err);
}

static int local_space(struct view *v, const char *path, int64_t *ret_free_bytes, struct err *err)
{
	(void)v;
	struct statvfs fs;
	/* A path that does not exist yet will lie on its parent's file system. */
	_cleanup_free_ char *at = xstrdup(path);
	while (statvfs(at, &fs) != 0) {
		char *slash = strrchr(at, '/');
		if (errno != ENOENT || slash == NULL || strcmp(at, "/") == 0)
			return err_errno(err, errno, "find the free space of '%s'", path);
		slash[slash == at ? 1 : 0] = '\0';
	}
	*ret_free_bytes = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
	return 0;
}

/* ---- the guard ---- */

static int check_token(const struct target *t, struct err *err)
{
	_cleanup_free_ char *path = fs_join(t->lock_dir, "lock");
	_cleanup_(str_done) struct str text = STR_INIT(MAX_LOCK);
	_cleanup_json_ json_t *lock = NULL;
	int r = fs_read(AT_FDCWD, path, MAX_LOCK, &text, NULL);
	if (r == 0)
		r = json_parse(str_peek(&text), text.len, MAX_LOCK, &lock, NULL);
	const char *token = json_get_string(lock, "token");
	if (token == NULL || t->token == NULL || strcmp(token, t->token) != 0)
		return err_set(err, ERR_FENCED, "the lock '%s' is no longer ours", path);
	return 0;
}

static char *note_path(const struct target *t)
{
	return xasprintf("%s/pids/%d", t->lock_dir, (int)getpid());
}

static int write_note(const struct target *t, struct err *err)
{
	_cleanup_free_ char *path = note_path(t);
	char text[120];
	int len = snprintf(text, sizeof(text), "%" PRIu64 " %s\n", proc_start_time(getpid()), host_boot_id());
	for (int i = 0; i < 2; i++) {
		_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd >= 0)
			return fs_write_all(fd, text, (size_t)len, err);
		if (errno != ENOENT)
			break;
		_cleanup_free_ char *dir = fs_join(t->lock_dir, "pids");
		if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
			if (errno == ENOENT)
				return err_set(err, ERR_FENCED, "the lock directory '%s' is gone", t->lock_dir);
			return err_errno(err, errno, "make '%s'", dir);
		}
	}
	return err_errno(err, errno, "note this process in '%s'", path);
}

int local_enter(struct target *t, const char *path, struct err *err)
{
	int r = wait_check_view(&t->view, err);
	if (r < 0)
		return r;
	if (t->lock_dir == NULL) {
		if (t->view.facts.base && (fs_below(t->view.facts.base, path) || fs_below(path, t->view.facts.base)))
			return 0;
		return err_set(err, ERR_INTERNAL, "'%s' was to be changed without a lock", path);
	}
	r = write_note(t, err);
	if (r == 0)
		r = check_token(t, err);
	return r < 0 ? local_leave(t, r) : 0;
}

int local_leave(struct target *t, int r)
{
	if (t->lock_dir) {
		_cleanup_free_ char *path = note_path(t);
		unlink(path);
	}
	return r;
}

/* ---- single names ---- */

static int parse_id(const char *text, uint32_t *ret)
{
	long long value;
	if (!str_parse_i64(text, 0, UINT32_MAX - 1, &value))
		return ERR_NOT_FOUND;
	*ret = (uint32_t)value;
	return 0;
}

int local_owner(const struct node_attr *attr, uid_t *ret_uid, gid_t *ret_gid, struct err *err)
{
	*ret_uid = (uid_t)-1;
	*ret_gid = (gid_t)-1;
	if (attr->owner) {
		const struct passwd *user = getpwnam(attr->owner);
		if (user)
			*ret_uid = user->pw_uid;
		else if (parse_id(attr->owner, ret_uid) < 0)
			return err_set(err, ERR_NOT_FOUND, "there is no user '%s'", attr->owner);
	}
	if (attr->group) {
		const struct group *group = getgrnam(attr->group);
		if (group)
			*ret_gid = group->gr_gid;
		else if (parse_id(attr->group, ret_gid) < 0)
			return err_set(err, ERR_NOT_FOUND, "there is no group '%s'", attr->group);
	}
	return 0;
}

static int append_whole(const char *path, const void *data, size_t len, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, errno, "open '%s'", path);
	int r = fs_write_all(fd, data, len, err);
	return r < 0 ? err_wrap(err, r, "append to '%s'", path) : 0;
}

static int local_append(struct target *t, const char *path, const void *data, size_t len, struct err *err)
{
	int r = local_enter(t, path, err);
	return r < 0 ? r : local_leave(t, append_whole(path, data, len, err));
}

static int local_link_new(struct target *t, const char *from, const char *to, struct err *err)
{
	int r = local_enter(t, to, err);
	if (r < 0)
		return r;
	return local_leave(t, link(from, to) == 0 ? 0 : err_errno(err, errno, "link '%s' to '%s'", from, to));
}

static int local_rename(struct target *t, const char *from, const char *to, struct err *err)
{
	int r = local_enter(t, to, err);
	if (r < 0)
		return r;
	return local_leave(t, rename(from, to) == 0 ? 0 : err_errno(err, errno, "rename '%s' to '%s'", from, to));
}

static int remove_one(const char *path, struct err *err)
{
	struct stat st;
	if (lstat(path, &st) != 0)
		return err_errno(err, errno, "remove '%s'", path);
	if (unlinkat(AT_FDCWD, path, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) != 0)
		return err_errno(err, errno, "remove '%s'", path);
	return 0;
}

static int local_remove(struct target *t, const char *path, struct err *err)
{
	int r = local_enter(t, path, err);
	return r < 0 ? r : local_leave(t, remove_one(path, err));
}

static int local_remove_tree(struct target *t, const char *path, struct err *err)
{
	int r = local_enter(t, path, err);
	return r < 0 ? r : local_leave(t, fs_remove_tree(AT_FDCWD, path, err));
}

/* The file system of the path, or of the nearest existing parent. */
static int sync_file_system(const char *path, struct err *err)
{
	_cleanup_free_ char *at = xstrdup(path);
	for (;;) {
		_cleanup_close_ int fd = open(at, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd >= 0)
			return syncfs(fd) == 0 ? 0 : err_errno(err, errno, "sync the file system of '%s'", path);
		char *slash = strrchr(at, '/');
		if (slash == NULL || strcmp(at, "/") == 0)
			return err_errno(err, errno, "sync the file system of '%s'", path);
		slash[slash == at ? 1 : 0] = '\0';
	}
}

/* Syncs one file and its name only: cheaper than all pending writes of its file system. False: not a file. */
static bool sync_one_file(const char *path, int *ret, struct err *err)
{
	struct stat st;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return false;
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
	*ret = fsync(fd) == 0 ? fs_sync_dir(AT_FDCWD, parent, err) : err_errno(err, errno, "sync '%s'", path);
	return true;
}

static int local_barrier(struct target *t, const char *const *paths, size_t count, struct err *err)
{
	(void)t;
	int one = 0;
	if (count == 1 && paths[0][0] == '/' && sync_one_file(paths[0], &one, err))
		return one;
	for (size_t i = 0; i < count; i++) {
		struct stat st, other;
		bool done = false;
		for (size_t j = 0; j < i && !done; j++)
			done = stat(paths[i], &st) == 0 && stat(paths[j], &other) == 0 && st.st_dev == other.st_dev;
		int r = done ? 0 : sync_file_system(paths[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void local_free(struct target *t)
{
	struct local *l = (struct local *)t;
	target_done(t);
	free(l->configured_base);
	free(l);
}

static const struct host_type local_host = {
	.stat = local_stat,
	.read = local_read,
	.list = local_list,
	.digest = local_digest,
	.tree = local_tree,
	.space = local_space,
	.query = local_query,
	.mkdir = local_mkdir,
	.put = local_put,
	.append = local_append,
	.symlink = local_symlink,
	.link_new = local_link_new,
	.rename = local_rename,
	.remove = local_remove,
	.remove_tree = local_remove_tree,
	.set_attr = local_set_attr,
	.dress_like = local_dress_like,
	.copy = local_copy,
	.clone_files = local_clone_files,
	.unpack = local_unpack,
	.run = local_run,
	.barrier = local_barrier,
	.fence = local_fence,
};
static const struct target_type local_type = {
	.name = "local", .open = local_open, .host = &local_host, .here = true, .free = local_free};

int target_local_new(const struct target_config *config, struct target **ret, struct err *err)
{
	(void)err;
	struct local *l = xcalloc(1, sizeof(*l));
	l->t.view.kind = &local_type;
	l->t.view.type = &local_host;
	l->t.view.name = xstrdup(config->name);
	l->configured_base = xstrdup(config->host.base);
	*ret = &l->t;
	return 0;
}
