/* Results that workers left on the disk, since the service could not be told (agent/worker/kept.h): a process of the worker's user sends
 * them, one at a time, the oldest first, while the lease is renewed from here. */
#include "agent/listener/lease_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/sys/fs.h"

enum {
	LOOK_MS = 100,
	RESULT_BASE = 100,
	RESULT_MAX = 105,
	STATUS_NONE = 3,
	STATUS_DROPPED = 4,
	COUNT_MAX = 64,
	FEW = 5,
};
static const char place[] = "unsent";

static bool is_job_id(const char *id)
{
	size_t len = strlen(id);
	return len > 0 && len < 64 && strspn(id, "0123456789abcdefABCDEF-") == len;
}

bool delivery_lies_there(const struct lease *j)
{
	struct stat st;
	_cleanup_free_ char *state = listener_state_dir(j->listener, j->user, NULL);
	if (state == NULL || j->run.job_id == NULL || !is_job_id(j->run.job_id))
		return false;
	_cleanup_free_ char *path = xasprintf("%s/%s/%s", state, place, j->run.job_id);
	return lstat(path, &st) == 0;
}

bool delivery_is_due(const struct lease *j)
{
	/* A worker that had no job has no result. */
	bool had_worker = j->endpoint == NULL || j->began_wall_ms != 0;
	return j->delivering.pid != 0 ||
	       (had_worker && !j->kept_looked_for && (j->kept_only || delivery_lies_there(j)));
}

static bool one_delivers(const struct listener *l)
{
	for (const struct lease *j = l->jobs; j != NULL; j = j->next)
		if (j->delivering.pid != 0)
			return true;
	return false;
}

static int start(struct lease *j, struct err *err)
{
	_cleanup_free_ char *state = listener_state_dir(j->listener, j->user, err);
	if (state == NULL)
		return err->code;
	const char *program = listener_program(j->listener);
	const char *plain[] = {program, "worker", "deliver", state, j->run.job_id, NULL};
	const char *other[] = {program,  "agent",   "as-user", j->user,       program,
	                       "worker", "deliver", state,     j->run.job_id, NULL};
	struct proc_options options = {.argv = j->user != NULL ? other : plain,
	                               .stdin_fd = -1,
	                               .stdout_fd = -1,
	                               .stderr_fd = STDERR_FILENO,
	                               .new_session = true};
	return proc_spawn(&options, &j->delivering, err);
}

static void later(struct lease *j)
{
	if (++j->tries == 1)
		log_warning("listen", "the result of job '%s' is kept and sent as soon as the service answers",
		            j->run.name);
	j->due_ms = clock_mono_ms() + (j->tries <= FEW ? listener_pause(15000, 30000) : listener_pause(30000, 60000));
	lease_let_go(j);
}

static void ended(struct lease *j, int status)
{
	static const char *const names[] = {"Succeeded", "SucceededWithIssues", "Failed", "Canceled", "Skipped",
	                                    "Abandoned"};
	if (status >= RESULT_BASE && status <= RESULT_MAX) {
		j->result = status - RESULT_BASE;
		lease_over(j, j->kept_only ? NULL : names[j->result]);
	} else if (status == STATUS_DROPPED) {
		lease_over(j, j->kept_only ? NULL : "Abandoned");
	} else if (status == STATUS_NONE) {
		j->kept_looked_for = true;
		if (j->kept_only || j->lease_lost || j->conclusion == NULL)
			lease_over(j, NULL);
		else
			lease_complete(j);
	} else {
		later(j);
	}
}

void delivery_begin(struct lease *j)
{
	struct err err = ERR_INIT;
	struct wait now = WAIT_INIT;
	int status = -1;
	j->due_ms = clock_mono_ms() + LOOK_MS;
	if (j->delivering.pid == 0) {
		if (one_delivers(j->listener) || call_is_running(&j->renewal))
			return;
		if (start(j, &err) < 0) {
			log_err(&err);
			later(j);
		}
		return;
	}
	now.deadline_mono_ms = clock_mono_ms() + 1;
	int r = proc_wait(&j->delivering, &now, &status, &err);
	if (r == ERR_TIMEOUT)
		return;
	proc_done(&j->delivering);
	j->delivering = (struct proc)PROC_INIT;
	j->due_ms = 0;
	ended(j, r < 0 ? -1 : status);
}

/* ---- At the start: what nobody sent. */

struct left {
	char id[64];
	int64_t since_ns;
};

static int newest_first(const void *a, const void *b)
{
	int64_t one = ((const struct left *)a)->since_ns, other = ((const struct left *)b)->since_ns;
	return one < other ? 1 : one > other ? -1 : 0;
}

static bool is_known(const struct listener *l, const char *id)
{
	for (const struct lease *j = l->jobs; j != NULL; j = j->next)
		if (j->run.job_id != NULL && strcmp(j->run.job_id, id) == 0)
			return true;
	return false;
}

void delivery_at_start(struct listener *l, const char *user)
{
	_cleanup_free_ char *state = listener_state_dir(l, user, NULL);
	_cleanup_free_ char *path = state == NULL ? NULL : fs_join(state, place);
	struct left found[COUNT_MAX];
	size_t count = 0;
	DIR *dir = path == NULL ? NULL : opendir(path);
	for (struct dirent *entry; dir != NULL && count < COUNT_MAX && (entry = readdir(dir)) != NULL;) {
		struct stat st;
		if (!is_job_id(entry->d_name) || is_known(l, entry->d_name) ||
		    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		found[count].since_ns = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
		(void)snprintf(found[count++].id, sizeof(found[0].id), "%.*s", (int)sizeof(found[0].id) - 1,
		               entry->d_name);
	}
	if (dir != NULL)
		closedir(dir);
	/* The list of jobs begins with the one that was added last. */
	qsort(found, count, sizeof(found[0]), newest_first);
	for (size_t i = 0; i < count; i++)
		lease_adopt_result(l, found[i].id, user);
}
