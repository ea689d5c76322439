#include "agent/listener/trust.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys/fs.h"
#include "base/core/str.h"

enum { LINKS_MAX = 40, WAY_MAX = 64 << 10 };

static bool is_ours(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

static int refuse_owner(const char *part, uid_t uid, struct err *err)
{
	const struct passwd *entry = getpwuid(uid);
	char number[32];
	(void)snprintf(number, sizeof(number), "%lld", (long long)uid);
	return err_set(err, ERR_PERMISSION, "%s belongs to %s, who could exchange what is below it", part,
	               entry != NULL ? entry->pw_name : number);
}

static int look_at(const char *part, const struct stat *st, struct err *err)
{
	if (!is_ours(st->st_uid))
		return refuse_owner(part, st->st_uid, err);
	if (S_ISLNK(st->st_mode) || (st->st_mode & S_ISVTX) != 0)
		return 0;
	bool group = geteuid() == 0 && (st->st_mode & S_IWGRP) != 0;
	if (!group && (st->st_mode & S_IWOTH) == 0)
		return 0;
	err_set(err, ERR_PERMISSION, "%s is writable by others, who could exchange what is below it", part);
	return err_hint(err, ERR_PERMISSION, "chmod go-w %s, or name another directory by DAVIT_STATE", part);
}

/* Continues the path with the link's target, then with rest, the part after the link. */
static int follow(struct str *way, size_t dir_len, const char *link, const char *rest, struct err *err)
{
	char target[PATH_MAX];
	ssize_t n = readlink(link, target, sizeof(target) - 1);
	if (n < 0)
		return err_errno(err, errno, "read the link %s", link);
	target[n] = '\0';
	_cleanup_(str_done) struct str next = STR_INIT(WAY_MAX);
	if (target[0] != '/')
		str_append_n(&next, str_peek(way), dir_len);
	str_appendf(&next, "/%s%s", target, rest);
	str_clear(way);
	str_append(way, str_peek(&next));
	return way->failed || next.failed ? err_set(err, ERR_LIMIT, "the path after %s is too long", link) : 0;
}

/* Checks part after part from the root. "." and ".." of a link stay in the string: each prefix is resolved by the
 * kernel, and each directory on the way is checked before its entries. */
static int walk(struct str *way, struct err *err)
{
	int links = 0;
	for (size_t at = 0; at < way->len;) {
		size_t start = at + strspn(str_peek(way) + at, "/"), end = start + strcspn(str_peek(way) + start, "/");
		_cleanup_free_ char *part = xstrndup(str_peek(way), end), *rest = xstrdup(str_peek(way) + end);
		struct stat st;
		if (start == end)
			return 0;
		if (lstat(part, &st) < 0)
			return errno == ENOENT    ? 0
			       : errno == ENOTDIR ? err_set(err, ERR_IO, "look at %s: %s", part, strerror(errno))
			                          : err_errno(err, errno, "look at %s", part);
		int r = look_at(part, &st, err);
		if (r < 0)
			return r;
		if (!S_ISLNK(st.st_mode)) {
			at = end;
			continue;
		}
		if (++links > LINKS_MAX)
			return err_set(err, ERR_INVALID, "too many links on the way to %s", part);
		r = follow(way, at, part, rest, err);
		if (r < 0)
			return r;
		at = 0;
	}
	return 0;
}

int trust_check(const char *path, struct err *err)
{
	_cleanup_(str_done) struct str way = STR_INIT(WAY_MAX);
	struct stat st;
	if (path[0] != '/')
		return err_set(err, ERR_INVALID, "'%s' is not an absolute path", path);
	if (stat("/", &st) == 0 && look_at("/", &st, err) < 0)
		return err->code;
	str_append(&way, path);
	return walk(&way, err);
}
