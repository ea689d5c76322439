/* `davit worker sweep QUOTA AREA…`, executed by the listener as the user whose areas they are: says what each takes, and removes those that were not used
 * for the longest until all together take no more than QUOTA bytes. One that a job works in is locked, and stays. */
#include "agent/worker/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/core/log.h"
#include "base/core/str.h"
#include "base/core/wait.h"
#include "base/data/json.h"
#include "base/sys/fs.h"
#include "base/sys/fs_usage.h"

enum { LOOK_MS = 20, NS = 1000000000 };
static const char going[] = ".going";

struct area {
	const char *path;
	int64_t bytes, used_ns;
	bool removed;
};

/* ---- the lock: of the directory itself, so that it goes with it ---- */

static bool is_still(int fd, const char *path)
{
	struct stat held, named;
	return fstat(fd, &held) == 0 && lstat(path, &named) == 0 && held.st_ino == named.st_ino &&
	       held.st_dev == named.st_dev;
}

int sweep_hold(const char *area, struct wait *w, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = open(area, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "open it");
	while (flock(fd, LOCK_SH | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_errno(err, errno, "lock it");
		int r = wait_ms(w, LOOK_MS, err);
		if (r < 0)
			return r;
	}
	if (!is_still(fd, area))
		return err_set(err, ERR_CONFLICT, "it was removed meanwhile");
	*ret_fd = take_fd(&fd);
	return 0;
}

/* ---- the sweep ---- */

static int64_t last_use(const char *path)
{
	struct stat st;
	_cleanup_free_ char *progress = fs_join(path, "progress.json");
	if (lstat(progress, &st) == 0 || lstat(path, &st) == 0)
		return (int64_t)st.st_mtim.tv_sec * NS + st.st_mtim.tv_nsec;
	return 0;
}

/* What a sweep that was killed had begun to remove. */
static void remove_begun(const char *path)
{
	_cleanup_free_ char *begun = xasprintf("%s%s", path, going);
	struct err err = ERR_INIT;
	if (!fs_exists(AT_FDCWD, begun) || fs_remove_what_goes(AT_FDCWD, begun, &err) >= 0)
		return;
	err_hint(&err, err.code,
	         "what is another user's there, as containers of jobs may leave it, has to be removed by root");
	log_err(&err);
}

/* Under its lock it only gets another name: the next job there waits no longer than that. */
static bool remove_area(struct area *a)
{
	_cleanup_close_ int fd = open(a->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_free_ char *away = xasprintf("%s%s", a->path, going);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || !is_still(fd, a->path) || rename(a->path, away) < 0)
		return false;
	closep(&fd);
	remove_begun(a->path);
	a->removed = true;
	return true;
}

static struct area *oldest(struct area *areas, size_t count, const bool *tried)
{
	struct area *found = NULL;
	for (size_t i = 0; i < count; i++)
		if (!tried[i] && areas[i].bytes > 0 && (found == NULL || areas[i].used_ns < found->used_ns))
			found = &areas[i];
	return found;
}

static void evict(struct area *areas, size_t count, int64_t total, int64_t quota)
{
	_cleanup_free_ bool *tried = xcalloc(count, sizeof(*tried));
	for (struct area *a; total > quota && (a = oldest(areas, count, tried)) != NULL;) {
		tried[a - areas] = true;
		if (remove_area(a))
			total -= a->bytes;
	}
}

static void say(const struct area *areas, size_t count)
{
	_cleanup_json_ json_t *answer = json_object();
	for (size_t i = 0; i < count; i++)
		json_object_set_new(answer, areas[i].path,
		                    json_pack("{s:I, s:I, s:b}", "bytes", (json_int_t)areas[i].bytes, "used",
		                              (json_int_t)(areas[i].used_ns / NS), "removed", areas[i].removed));
	_cleanup_free_ char *text = json_text(answer);
	puts(text);
}

int sweep_run(int argc, char **argv)
{
	long long quota;
	if (argc < 1 || !str_parse_i64(argv[0], 0, INT64_MAX, &quota)) {
		fputs("davit: worker sweep takes a number of bytes and directories\n", stderr);
		return 2;
	}
	size_t count = (size_t)argc - 1;
	_cleanup_free_ struct area *areas = xcalloc(count + 1, sizeof(*areas));
	int64_t total = 0;
	for (size_t i = 0; i < count; i++) {
		areas[i].path = argv[i + 1];
		remove_begun(areas[i].path);
		areas[i].used_ns = last_use(areas[i].path);
		/* One that is not there yet takes nothing. */
		(void)fs_usage(AT_FDCWD, areas[i].path, &areas[i].bytes, NULL);
		total += areas[i].bytes;
	}
	evict(areas, count, total, quota);
	say(areas, count);
	return 0;
}
