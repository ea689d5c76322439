/* The tasks that long requests are: followed to their exit status, found again when their name was lost. */
#pragma once
#include "providers/proxmox/client.h"
#include "providers/proxmox/upid.h"

/* Follows a task to its end. tell (may be NULL): the end of its log when it failed, line by line. ERR_FAILED: it failed, with its words. ERR_TIMEOUT:
 * it still runs. */
struct task_watch {
	struct proxmox *p;
	struct wait *wait;
	void (*tell)(void *context, const char *line);
	void *context;
};
int task_follow(const struct task_watch *watch, const char *upid, int64_t timeout_ms, struct err *err);
/* Asks it to stop, and waits until it has. */
int task_stop(const struct task_watch *watch, const char *upid, struct err *err);
/* The newest task that is at work for a guest on that node, whoever asked for it; NULL in *ret: none. free() */
int task_at_work(const struct task_watch *watch, const char *node, int64_t vmid, char **ret, struct err *err);
/* The newest task of that type for the guest that this token began and that succeeded; NULL in *ret: none. free() */
int task_last_good(const struct task_watch *watch, const char *node, int64_t vmid, const char *type, char **ret,
                   struct err *err);
