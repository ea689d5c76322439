#include "steps/common/machine_list.h"

#include "base/sys/fs.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static const char of_machine[] = "/etc/davit";

bool machine_list_is_name(const char *text, size_t max, const char *also)
{
	size_t len = strlen(text);
	if (len == 0 || len > max || text[0] == '-' || text[0] == '.')
		return false;
	for (; *text; text++)
		if (!(*text >= 'a' && *text <= 'z') && !(*text >= 'A' && *text <= 'Z') &&
		    !(*text >= '0' && *text <= '9') && strchr(also, *text) == NULL)
			return false;
	return true;
}

/* Whoever can change it decides who is trusted. */
static int check_owner(int fd, const char *path, bool of_host, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "look at '%s'", path);
	bool trusted = st.st_uid == 0 || (!of_host && st.st_uid == geteuid());
	if (S_ISREG(st.st_mode) && trusted && (st.st_mode & 022) == 0)
		return 0;
	err_set(err, ERR_PERMISSION, "'%s' must be a file of %s that nobody else can write", path,
	        of_host ? "root's" : "its user");
	return err_hint(err, ERR_PERMISSION, "chown %s %s; chmod 0644 %s", of_host ? "root" : "USER", path, path);
}

int machine_list_read(const char *state_dir, const char *name, const char *lines, char **ret_path, struct str *ret,
                      struct err *err)
{
	_cleanup_free_ char *whole = fs_join(of_machine, name), *own = state_dir ? fs_join(state_dir, name) : NULL;
	bool of_host = own == NULL || fs_exists(AT_FDCWD, whole);
	const char *path = of_host ? whole : own;
	_cleanup_close_ int fd = fs_open_plain(AT_FDCWD, path, O_RDONLY, err);
	if (fd == ERR_NOT_FOUND || (fd < 0 && !fs_exists(AT_FDCWD, path))) {
		err_set(err, ERR_NOT_FOUND, "this machine has no list of %s", name);
		return err_hint(err, ERR_NOT_FOUND, "write %s or %s: %s", whole, own ? own : name, lines);
	}
	if (fd < 0)
		return fd;
	int r = check_owner(fd, path, of_host, err);
	if (r == 0)
		r = fs_read_fd(fd, path, MACHINE_LIST_MAX - 1, ret, err);
	if (r == 0 && strlen(str_peek(ret)) != ret->len)
		r = err_set(err, ERR_INVALID, "'%s' holds a NUL", path);
	if (r == 0)
		*ret_path = xstrdup(path);
	return r;
}

int machine_list_parse(const char *text, const char *path, int (*line)(void *context, char *line, struct err *err),
                       void *context, struct err *err)
{
	_cleanup_free_ char *copy = xstrdup(text);
	int number = 0;
	for (char *at = copy, *one; (one = strsep(&at, "\n")) != NULL;) {
		number++;
		int r = line(context, one, err);
		if (r < 0)
			return err_wrap(err, r, "%s:%d", path, number);
	}
	return 0;
}
