#include "providers/proxmox/task.h"

#include "base/core/clock.h"
#include "base/core/mem.h"

#include <inttypes.h>
#include <string.h>

enum { POLL_FIRST_MS = 200, POLL_MOST_MS = 3000, LOG_LINES = 1000, LOG_TOLD = 12, STOP_MS = 20000 };

static char *path_of(const struct upid *u, const char *upid, const char *what)
{
	_cleanup_free_ char *segment = proxmox_segment(upid);
	return xasprintf("/nodes/%s/tasks/%s%s", u->node, segment, what);
}

/* A look that fails says nothing about the task: the request for it must not be made again. */
static int unknown(int r)
{
	return r == ERR_NETWORK || r == ERR_TIMEOUT || r == ERR_PROTOCOL ? ERR_UNKNOWN : r;
}

static void tell_log(const struct task_watch *watch, const struct upid *u, const char *upid)
{
	json_t *lines _cleanup_json_ = NULL, *params _cleanup_json_ = json_pack("{s:i}", "limit", LOG_LINES);
	_cleanup_free_ char *path = path_of(u, upid, "/log");
	if (watch->tell == NULL || proxmox_call(watch->p, NULL, path, params, watch->wait, &lines, NULL) < 0)
		return;
	size_t count = json_array_size(lines);
	for (size_t i = count > LOG_TOLD ? count - LOG_TOLD : 0; i < count; i++) {
		const char *text = json_get_string(json_array_get(lines, i), "t");
		_cleanup_free_ char *line = xasprintf("%s: %.400s", u->type, text != NULL ? text : "");
		watch->tell(watch->context, line);
	}
}

/* "OK" and "WARNINGS: 2" are successes; everything else is what went wrong. */
static bool is_success(const char *status)
{
	return strcmp(status, "OK") == 0 || str_starts(status, "WARNINGS: ");
}

static int judge(const struct task_watch *watch, const struct upid *u, const char *upid, const json_t *status,
                 struct err *err)
{
	const char *how = json_get_string(status, "exitstatus");
	if (how != NULL && is_success(how))
		return 0;
	tell_log(watch, u, upid);
	err_set(err, ERR_FAILED, "the task %s of guest %s failed: %.300s", u->type, u->id,
	        how != NULL ? how : "it ended without a status");
	return err_hint(err, ERR_FAILED, "its name is %s", upid);
}

static int look(const struct task_watch *watch, const char *path, json_t **ret, bool *ret_ended, struct err *err)
{
	int r = proxmox_call(watch->p, NULL, path, NULL, watch->wait, ret, err);
	if (r < 0)
		return unknown(r);
	const char *state = json_get_string(*ret, "status");
	if (state == NULL)
		return err_set(err, ERR_UNKNOWN, "%s: the status of a task is missing", path);
	*ret_ended = strcmp(state, "stopped") == 0;
	return 0;
}

int task_follow(const struct task_watch *watch, const char *upid, int64_t timeout_ms, struct err *err)
{
	int64_t pause = POLL_FIRST_MS, until = clock_mono_ms() + timeout_ms;
	struct upid u;
	int r = upid_read(upid, &u, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *path = path_of(&u, upid, "/status");
	for (;;) {
		json_t *status _cleanup_json_ = NULL;
		bool ended = false;
		r = look(watch, path, &status, &ended, err);
		if (r < 0 || ended)
			return r < 0 ? r : judge(watch, &u, upid, status, err);
		if (clock_mono_ms() >= until) {
			err_set(err, ERR_TIMEOUT, "the task %s of guest %s does not end", u.type, u.id);
			return err_hint(err, ERR_TIMEOUT,
			                "its name is %s; the target's `task_timeout` says how long it may take", upid);
		}
		r = wait_aside(watch->wait, MIN(pause, MAX(until - clock_mono_ms(), (int64_t)1)), err);
		if (r < 0)
			return r;
		pause = MIN(pause * 3 / 2, (int64_t)POLL_MOST_MS);
	}
}

int task_stop(const struct task_watch *watch, const char *upid, struct err *err)
{
	struct upid u;
	int r = upid_read(upid, &u, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *path = path_of(&u, upid, "");
	r = proxmox_call(watch->p, "DELETE", path, NULL, watch->wait, NULL, err);
	if (r < 0)
		return r;
	r = task_follow(watch, upid, STOP_MS, err);
	if (r != ERR_FAILED)
		return r;
	err_clear(err);
	return 0;
}

int task_at_work(const struct task_watch *watch, const char *node, int64_t vmid, char **ret, struct err *err)
{
	json_t *tasks _cleanup_json_ = NULL;
	json_t *params _cleanup_json_ = json_pack("{s:I, s:s}", "vmid", (json_int_t)vmid, "source", "active");
	_cleanup_free_ char *path = xasprintf("/nodes/%s/tasks", node);
	int r = proxmox_call(watch->p, NULL, path, params, watch->wait, &tasks, err);
	*ret = NULL;
	for (size_t i = 0; r == 0 && *ret == NULL && i < json_array_size(tasks); i++) {
		const json_t *task = json_array_get(tasks, i);
		const char *upid = json_get_string(task, "upid"), *status = json_get_string(task, "status");
		struct upid u;
		/* "active" lists what has just ended, too: with its status. */
		bool ended = status != NULL && status[0] != '\0' && strcmp(status, "RUNNING") != 0 &&
		             strcmp(status, "running") != 0;
		if (upid != NULL && !ended && upid_read(upid, &u, NULL) == 0 && strcmp(u.node, node) == 0)
			*ret = xstrdup(upid);
	}
	return unknown(r);
}

int task_last_good(const struct task_watch *watch, const char *node, int64_t vmid, const char *type, char **ret,
                   struct err *err)
{
	json_t *tasks _cleanup_json_ = NULL;
	json_t *params _cleanup_json_ =
		json_pack("{s:I, s:s, s:s}", "vmid", (json_int_t)vmid, "source", "all", "typefilter", type);
	_cleanup_free_ char *path = xasprintf("/nodes/%s/tasks", node);
	int r = proxmox_call(watch->p, NULL, path, params, watch->wait, &tasks, err);
	int64_t newest = -1;
	*ret = NULL;
	for (size_t i = 0; r == 0 && i < json_array_size(tasks); i++) {
		const json_t *task = json_array_get(tasks, i);
		const char *upid = json_get_string(task, "upid"), *status = json_get_string(task, "status");
		struct upid u;
		if (upid == NULL || status == NULL || !is_success(status) || upid_read(upid, &u, NULL) < 0 ||
		    strcmp(u.type, type) != 0 || strcmp(u.user, proxmox_token(watch->p)) != 0 || u.started_s <= newest)
			continue;
		newest = u.started_s;
		free(*ret);
		*ret = xstrdup(upid);
	}
	return unknown(r);
}
