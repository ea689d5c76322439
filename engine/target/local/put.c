/* The local target: files, directories and links that are made whole and then renamed.
 *
 * The directory may belong to another user, who may change any name in it at any moment. So a new entry is made in a directory of
 * our own beside the path, which nobody else can enter, under a name that nobody can guess. All operations on it use
 * file descriptors, and the last step is the rename over the path. Below BASE, which is ours alone, the name is known in
 * advance instead, so that the next process removes leftovers of a killed one. */
#include "engine/target/local/local.h"

#include "base/sys/fs.h"
#include "base/data/json.h"
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"

enum { TRIES = 8, MAX_VALUE = 64 << 10 };

struct private
{
	int parent, dir;  /* the path's directory; the directory of the new entry (the same below BASE) */
	char *own;        /* our own directory, in parent; NULL below BASE */
	const char *name; /* the path's last part */
	const char *made; /* its name in dir */
	char *known;      /* below BASE: behind `made` */
};

static void private_close(struct private *p)
{
	if (p->own)
		unlinkat(p->parent, p->own, AT_REMOVEDIR);
	free(p->own);
	free(p->known);
	if (p->dir != p->parent)
		closep(&p->dir);
	closep(&p->parent);
}

/* alone: nothing that the directory passes on (default ACL, set-group-id bit and with it the group) may reach the new entry. */
static int enter_own(struct private *p, bool alone)
{
	struct stat st;
	p->dir = openat(p->parent, p->own, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (p->dir < 0 || fstat(p->dir, &st) != 0)
		return -errno;
	if (st.st_uid != geteuid() || (st.st_mode & 0077) != 0)
		return -EEXIST;
	if (alone && ((fremovexattr(p->dir, ACL_DEFAULT) != 0 && errno != ENODATA && errno != EOPNOTSUPP) ||
	              fchmod(p->dir, 0700) != 0))
		return -errno;
	return 0;
}

static int private_open(const struct target *t, const char *path, bool alone, struct private *ret, struct err *err)
{
	const char *base = t->view.facts.base, *slash = strrchr(path, '/');
	_cleanup_free_ char *directory = slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
	struct private p = {.parent = -1, .dir = -1, .name = slash + 1, .made = "new"};
	p.parent = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (p.parent < 0)
		return err_errno(err, errno, "open '%s'", directory);
	if (base && fs_below(base, path)) {
		p.known = target_private_name(p.name);
		p.made = p.known;
		p.dir = p.parent;
		int r = fs_remove_tree(p.dir, p.made, err);
		if (r < 0) {
			private_close(&p);
			return r;
		}
		*ret = p;
		return 0;
	}
	int errnum = EEXIST;
	for (int i = 0; i < TRIES && errnum != 0; i++) {
		closep(&p.dir);
		p.dir = -1;
		free(TAKE(p.own));
		char *own = target_fresh_name(p.name, "new");
		if (mkdirat(p.parent, own, 0700) != 0) {
			errnum = errno;
			free(own);
			if (errnum != EEXIST)
				break;
			continue;
		}
		p.own = own;
		/* The owner of the directory may have removed it or put something else in its place: retry. */
		errnum = -enter_own(&p, alone);
	}
	if (errnum != 0) {
		private_close(&p);
		return err_errno(err, errnum, "make a private directory beside '%s'", path);
	}
	*ret = p;
	return 0;
}

/* ---- attributes ---- */

/* The access list of an attribute's value: "u:UID:rx,…" beside the mode. */
static int acl_value(const char *readers, mode_t mode, char *value, size_t size, size_t *ret_len, struct err *err)
{
	enum { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, MASK = 0x10, OTHER = 0x20 };
	struct entry {
		uint16_t tag, perm;
		uint32_t id;
	} entries[512];
	size_t count = 0;
	unsigned mask = (mode >> 3) & 7;
	entries[count++] = (struct entry){USER_OBJ, (mode >> 6) & 7, UINT32_MAX};
	for (const char *p = readers; *p != '\0';) {
		unsigned uid;
		char rights[4] = "";
		int n = 0;
		if (sscanf(p, "u:%u:%3[rwx]%n", &uid, rights, &n) != 2 || n == 0 || count + 4 > ARRAY_SIZE(entries))
			return err_set(err, ERR_INTERNAL, "'%s' is not an access list", readers);
		unsigned perm =
			(strchr(rights, 'r') ? 4 : 0) | (strchr(rights, 'w') ? 2 : 0) | (strchr(rights, 'x') ? 1 : 0);
		/* The kernel wants them in the order of their numbers, each once. */
		size_t at = 1;
		while (at < count && entries[at].id < uid)
			at++;
		if (at == count || entries[at].id != uid) {
			memmove(&entries[at + 1], &entries[at], (count - at) * sizeof(entries[0]));
			count++;
		}
		entries[at] = (struct entry){USER, (uint16_t)perm, uid};
		mask |= perm;
		p += n;
		p += *p == ',';
	}
	entries[count++] = (struct entry){GROUP_OBJ, (mode >> 3) & 7, UINT32_MAX};
	entries[count++] = (struct entry){MASK, (uint16_t)mask, UINT32_MAX};
	entries[count++] = (struct entry){OTHER, mode & 7, UINT32_MAX};
	const uint32_t version = htole32(2);
	*ret_len = sizeof(version) + count * 8;
	if (*ret_len > size)
		return err_set(err, ERR_INTERNAL, "'%s' is too long an access list", readers);
	memcpy(value, &version, sizeof(version));
	for (size_t i = 0; i < count; i++) {
		const uint16_t words[2] = {htole16(entries[i].tag), htole16(entries[i].perm)};
		const uint32_t id = htole32(entries[i].id);
		memcpy(value + 4 + i * 8, words, 4);
		memcpy(value + 4 + i * 8 + 4, &id, 4);
	}
	return 0;
}

static int set_readers(int fd, const char *readers, mode_t mode, struct err *err)
{
	char value[8192];
	size_t len = 0;
	int r = acl_value(readers, mode, value, sizeof(value), &len, err);
	if (r < 0)
		return r;
	if (fsetxattr(fd, ACL_ACCESS, value, len, 0) == 0)
		return 0;
	return err_hint(err, err_errno(err, errno, "set the access list"),
	                "the file system may know no ACL: use `group:` instead");
}

/* Everything except the access lists. Without privilege, attributes that need it are dropped. A label of a security module
 * is that of the new place. */
static int copy_xattrs(int from, int to, struct err *err)
{
	char path[64];
	_cleanup_free_ char *names = xmalloc(MAX_VALUE), *value = xmalloc(MAX_VALUE);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", from);
	ssize_t len = listxattr(path, names, MAX_VALUE);
	if (len < 0)
		return errno == EOPNOTSUPP || errno == ENOENT ? 0
		                                              : err_errno(err, errno, "list the extended attributes");
	for (const char *name = names; name < names + len; name += strlen(name) + 1) {
		if (str_starts(name, "system.") || strcmp(name, "security.selinux") == 0 ||
		    strcmp(name, "security.ima") == 0 || strcmp(name, "security.evm") == 0)
			continue;
		ssize_t n = getxattr(path, name, value, MAX_VALUE);
		if (n < 0 && (errno == ENODATA || errno == EACCES || errno == EPERM))
			continue;
		if (n < 0 ||
		    (fsetxattr(to, name, value, (size_t)n, 0) != 0 && (geteuid() == 0 || str_starts(name, "user."))))
			return err_errno(err, errno, "copy the attribute '%s'", name);
	}
	return 0;
}

static int copy_acl(int from, int to, const char *name, struct err *err)
{
	char path[64], value[8192];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", from);
	ssize_t len = getxattr(path, name, value, sizeof(value));
	if (len > 0)
		return fsetxattr(to, name, value, (size_t)len, 0) == 0 ? 0
		                                                       : err_errno(err, errno, "copy the access list");
	if (len < 0 && errno != ENODATA && errno != EOPNOTSUPP)
		return err_errno(err, errno, "read the access list");
	if (fremovexattr(to, name) != 0 && errno != ENODATA && errno != EOPNOTSUPP)
		return err_errno(err, errno, "remove the access list");
	return 0;
}

int local_copy_extended(int from, int to, bool directory, struct err *err)
{
	int r = copy_acl(from, to, ACL_ACCESS, err);
	if (r == 0 && directory)
		r = copy_acl(from, to, ACL_DEFAULT, err);
	return r == 0 ? copy_xattrs(from, to, err) : r;
}

static int set_time(int fd, const struct node_attr *attr, const char *path, struct err *err)
{
	const struct timespec times[2] = {
		{.tv_nsec = UTIME_OMIT},
		{.tv_sec = (time_t)(attr->mtime_ns / 1000000000), .tv_nsec = (long)(attr->mtime_ns % 1000000000)},
	};
	return !attr->set_mtime || futimens(fd, times) == 0 ? 0 : err_errno(err, errno, "set the time of '%s'", path);
}

/* Owner first, as it clears set-user-id and capabilities; then attributes of the previous file that nobody named; the mode after the
 * access list, whose mask it is. former: -1, none. */
static int dress(int fd, int former, bool directory, const struct node_attr *attr, const char *path, struct err *err)
{
	struct stat st;
	uid_t uid;
	gid_t gid;
	mode_t mode = attr->mode & 07777;
	bool set_mode = attr->set_mode;
	int r = local_owner(attr, &uid, &gid, err);
	if (r == 0 && former >= 0 && fstat(former, &st) != 0)
		r = err_errno(err, errno, "look at '%s'", path);
	if (r < 0)
		return r;
	if (former >= 0) {
		if (uid == (uid_t)-1 && st.st_uid != geteuid())
			uid = st.st_uid;
		if (gid == (gid_t)-1)
			gid = st.st_gid;
		if (!set_mode)
			mode = st.st_mode & 07777;
		set_mode = true;
	} else if (!set_mode && !directory) {
		mode = 0644;
		set_mode = true;
	}
	struct stat now;
	if (fstat(fd, &now) != 0)
		return err_errno(err, errno, "look at '%s'", path);
	if (((uid != (uid_t)-1 && uid != now.st_uid) || (gid != (gid_t)-1 && gid != now.st_gid)) &&
	    fchown(fd, uid, gid) != 0)
		return err_errno(err, errno, "set the owner of '%s'", path);
	if (former >= 0)
		r = attr->alone ? copy_xattrs(former, fd, err) : local_copy_extended(former, fd, directory, err);
	if (r == 0 && set_mode && fchmod(fd, mode) != 0)
		r = err_errno(err, errno, "set the mode of '%s'", path);
	if (r == 0 && attr->acl)
		r = set_readers(fd, attr->acl, mode, err);
	if (r < 0)
		return err_wrap(err, r, "'%s'", path);
	return set_time(fd, attr, path, err);
}

/* ---- files ---- */

/* Opens the existing file; -1 if there is none. */
static int open_former(const struct private *p)
{
	struct stat st;
	int fd = openat(p->parent, p->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)))
		closep(&fd);
	return fd;
}

static int put_into(const struct private *p, const char *path, const void *data, size_t len,
                    const struct node_attr *attr, struct err *err)
{
	_cleanup_close_ int fd = openat(p->dir, p->made, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, errno, "make '%s'", path);
	_cleanup_close_ int former = attr->fresh ? -1 : open_former(p);
	int r = fs_write_all(fd, data, len, err);
	if (r == 0)
		r = dress(fd, former, false, attr, path, err);
	if (r == 0 && fsync(fd) != 0)
		r = err_errno(err, errno, "sync '%s'", path);
	if (r == 0 && renameat(p->dir, p->made, p->parent, p->name) != 0)
		r = err_errno(err, errno, "put '%s' into place", path);
	if (r < 0)
		unlinkat(p->dir, p->made, 0);
	return r;
}

static const struct node_attr nothing_set = {0};

int local_put(struct target *t, const char *path, const void *data, size_t len, const struct node_attr *attr,
              struct err *err)
{
	struct private p;
	if (attr == NULL)
		attr = &nothing_set;
	int r = local_enter(t, path, err);
	if (r < 0)
		return r;
	r = private_open(t, path, attr->alone, &p, err);
	if (r == 0) {
		r = put_into(&p, path, data, len, attr, err);
		private_close(&p);
	}
	return local_leave(t, r);
}

/* ---- directories ---- */

static int mkdir_into(const struct private *p, const char *path, const struct node_attr *attr, struct err *err)
{
	struct stat st;
	if (fstatat(p->parent, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return err_set(err, ERR_EXISTS, "'%s' is there already", path);
	/* Without a mode of its own it gets its directory's default, or 0755. */
	if (mkdirat(p->dir, p->made, attr->set_mode ? 0700 : 0777) != 0)
		return err_errno(err, errno, "make the directory '%s'", path);
	_cleanup_close_ int fd = openat(p->dir, p->made, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? err_errno(err, errno, "open '%s'", path) : 0;
	if (r == 0 && !attr->set_mode) {
		char value[8192];
		if (fgetxattr(fd, ACL_ACCESS, value, sizeof(value)) <= 0 && fstat(fd, &st) == 0 &&
		    fchmod(fd, (st.st_mode & 02000) | 0755) != 0)
			r = err_errno(err, errno, "set the mode of '%s'", path);
	}
	if (r == 0)
		r = dress(fd, -1, true, attr, path, err);
	if (r == 0 && fs_renameat2(p->dir, p->made, p->parent, p->name, RENAME_NOREPLACE) != 0)
		r = err_errno(err, errno, "make the directory '%s'", path);
	if (r < 0)
		unlinkat(p->dir, p->made, AT_REMOVEDIR);
	return r;
}

int local_mkdir(struct target *t, const char *path, const struct node_attr *attr, struct err *err)
{
	struct private p;
	if (attr == NULL)
		attr = &nothing_set;
	int r = local_enter(t, path, err);
	if (r < 0)
		return r;
	r = private_open(t, path, attr->alone, &p, err);
	if (r == 0) {
		r = mkdir_into(&p, path, attr, err);
		private_close(&p);
	}
	return local_leave(t, r);
}

/* ---- links ---- */

static int symlink_into(const struct private *p, const char *path, const char *link, struct err *err)
{
	struct stat st;
	if (fstatat(p->parent, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISLNK(st.st_mode))
		return err_set(err, ERR_EXISTS, "'%s' exists but is not a link", path);
	if (symlinkat(link, p->dir, p->made) != 0)
		return err_errno(err, errno, "make the link '%s'", path);
	if (renameat(p->dir, p->made, p->parent, p->name) == 0)
		return 0;
	int r = err_errno(err, errno, "put the link '%s' into place", path);
	unlinkat(p->dir, p->made, 0);
	return r;
}

int local_symlink(struct target *t, const char *path, const char *link, struct err *err)
{
	struct private p;
	int r = local_enter(t, path, err);
	if (r < 0)
		return r;
	r = private_open(t, path, false, &p, err);
	if (r == 0) {
		r = symlink_into(&p, path, link, err);
		private_close(&p);
	}
	return local_leave(t, r);
}

/* ---- existing entries ---- */

/* By descriptor: a link that is swapped in meanwhile is not followed. */
static int set_attr_at(const char *path, const struct node_attr *attr, struct err *err)
{
	char self[64];
	struct stat st;
	uid_t uid;
	gid_t gid;
	int r = local_owner(attr, &uid, &gid, err);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		return err_errno(err, errno, "open '%s'", path);
	bool is_link = S_ISLNK(st.st_mode);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if ((uid != (uid_t)-1 || gid != (gid_t)-1) && fchownat(fd, "", uid, gid, AT_EMPTY_PATH) != 0)
		return err_errno(err, errno, "set the owner of '%s'", path);
	if (attr->set_mode && !is_link && chmod(self, attr->mode & 07777) != 0)
		return err_errno(err, errno, "set the mode of '%s'", path);
	if (attr->acl && !is_link) {
		_cleanup_close_ int open_fd = open(self, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		r = open_fd < 0 ? err_errno(err, errno, "open '%s'", path)
		                : set_readers(open_fd, attr->acl, attr->mode & 07777, err);
		if (r < 0)
			return r;
	}
	const struct timespec times[2] = {
		{.tv_nsec = UTIME_OMIT},
		{.tv_sec = (time_t)(attr->mtime_ns / 1000000000), .tv_nsec = (long)(attr->mtime_ns % 1000000000)},
	};
	if (attr->set_mtime && (is_link ? utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW)
	                                : utimensat(AT_FDCWD, self, times, 0)) != 0)
		return err_errno(err, errno, "set the time of '%s'", path);
	return 0;
}

int local_set_attr(struct target *t, const char *path, const struct node_attr *attr, struct err *err)
{
	int r = local_enter(t, path, err);
	return r < 0 ? r : local_leave(t, set_attr_at(path, attr, err));
}

static int dress_like(const char *path, const char *from, struct err *err)
{
	struct stat st;
	_cleanup_close_ int former = open(from, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (former < 0 || fd < 0 || fstat(former, &st) != 0)
		return err_errno(err, errno, "open '%s'", former < 0 ? from : path);
	const struct node_attr attr = {.set_mtime = true,
	                               .mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec};
	return dress(fd, former, true, &attr, path, err);
}

int local_dress_like(struct target *t, const char *path, const char *from, struct err *err)
{
	int r = local_enter(t, path, err);
	return r < 0 ? r : local_leave(t, dress_like(path, from, err));
}
