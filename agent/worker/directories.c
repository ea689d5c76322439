/* directories: the work area of the job, made anew where the protocol says so, and the files that lie there from its start. */
#include "agent/worker/worker_priv.h"

#include "agent/actions/resolve.h"
#include "agent/service/wire.h"
#include "agent/worker/sweep.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HOLD_MS = 60 * 1000, HOLD_TRIES = 5 };

static int remake(const char *path, struct err *err)
{
	int r = fs_remove_tree(AT_FDCWD, path, err);
	return r < 0 ? r : fs_mkdirs(AT_FDCWD, path, 0755, err);
}

static int write_event(struct job *j, struct err *err)
{
	json_t *event = json_object_get(j->github, "event");
	_cleanup_free_ char *text = json_is_object(event) ? json_pretty(event) : xstrdup("{}");
	return fs_write_replace(AT_FDCWD, j->event_path, text, strlen(text), 0644, err);
}

/* The job's key for those who look for it without the environment of a step. */
static int write_key(struct job *j, struct err *err)
{
	static const char *const members[] = {"server", "repository", "run_id",     "attempt",
	                                      "job",    "matrix",     "tracking_id"};
	struct uses_job source = {
		.github = j->github, .matrix = json_object_get(j->contexts, "matrix"), .tracking_id = j->tracking_id};
	_cleanup_json_ json_t *all = uses_job(&source), *key = json_object();
	_cleanup_free_ char *dir = fs_join(j->temp, "davit"), *path = fs_join(dir, "job.json");
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (json_object_get(all, members[i]) != NULL)
			json_object_set(key, members[i], json_object_get(all, members[i]));
	_cleanup_free_ char *text = json_text(key);
	int r = fs_mkdirs(AT_FDCWD, dir, 0700, err);
	return r < 0 ? r : fs_write_replace(AT_FDCWD, path, text, strlen(text), 0600, err);
}

/* The registration's own: nobody else looks into it. */
static int make_area(const char *path, struct err *err)
{
	_cleanup_free_ char *root = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	struct stat st;
	int r = *root == '\0' ? 0 : fs_mkdirs(AT_FDCWD, root, 0755, err);
	if (r == 0)
		r = fs_mkdirs(AT_FDCWD, path, 0700, err);
	if (r < 0)
		return r;
	if (lstat(path, &st) < 0)
		return err_errno(err, errno, "look at it");
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid()) {
		r = err_set(err, ERR_PERMISSION, "it does not belong to the user that jobs run as");
		return err_hint(err, r, "chown it to that user, or remove it");
	}
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0 && chmod(path, 0700) < 0)
		return err_errno(err, errno, "close it to others");
	return 0;
}

/* One that was removed between the two is made anew. */
static int hold_area(struct job *j, struct err *err)
{
	struct wait w = WAIT_INIT;
	int r = ERR_CONFLICT;
	w.deadline_mono_ms = clock_mono_ms() + HOLD_MS;
	for (int i = 0; r == ERR_CONFLICT && i < HOLD_TRIES; i++) {
		err_clear(err);
		r = make_area(j->work, err);
		if (r >= 0)
			r = sweep_hold(j->work, &w, &j->area_fd, err);
	}
	return r;
}

/* What is below RUNNER_TEMP for the steps. */
static int fill_temp(struct job *j, struct err *err)
{
	_cleanup_free_ char *event_dir = fs_join(j->temp, "_github_workflow");
	int r = fs_mkdirs(AT_FDCWD, j->files, 0755, err);
	if (r == 0)
		r = fs_mkdirs(AT_FDCWD, event_dir, 0755, err);
	if (r == 0)
		r = write_event(j, err);
	return r < 0 ? r : write_key(j, err);
}

int job_restore_temp(struct job *j, struct err *err)
{
	if (access(j->files, F_OK) == 0 && access(j->event_path, F_OK) == 0)
		return 0;
	int r = fill_temp(j, err);
	return r < 0 ? err_wrap(err, r, "make '%s' again, which a step removed", j->temp) : 0;
}

int job_make_directories(struct job *j, struct err *err)
{
	const char *clean = wire_string(wire_get(j->message, "workspace"), "clean");
	_cleanup_free_ char *actions = fs_join(j->work, "_actions");
	int r = hold_area(j, err);
	if (r == 0)
		r = remake(j->temp, err);
	if (r == 0)
		r = fs_remove_tree(AT_FDCWD, actions, err);
	if (r == 0 && clean != NULL && strcasecmp(clean, "all") == 0)
		r = fs_remove_tree(AT_FDCWD, j->pipeline, err);
	if (r == 0 && clean != NULL && strcasecmp(clean, "resources") == 0)
		r = fs_remove_tree(AT_FDCWD, j->workspace, err);
	if (r == 0)
		r = fs_mkdirs(AT_FDCWD, j->workspace, 0755, err);
	/* Where an administrator chose a place that only others may make, the steps that use it say so. */
	if (r == 0)
		fs_mkdirs(AT_FDCWD, j->tools, 0755, NULL);
	if (r == 0)
		r = fill_temp(j, err);
	return r < 0 ? err_wrap(err, r, "prepare the work directory '%s'", j->work) : 0;
}
