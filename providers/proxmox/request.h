/* Requests of changes that are tasks of the server: noted before they are waited for, never asked for a second time while one may still be at
 * work. */
#pragma once
#include "engine/change/change_type.h"
#include "providers/proxmox/guest.h"
#include "providers/proxmox/task.h"

/* Asks, under the deployment's lock, and waits for the end of the task that it began. */
int request_task(struct change_call *x, const char *method, const char *path, const json_t *params, struct err *err);
/* Until no task is at work for the guest and nothing locks it. */
int request_settle(struct change_call *x, const struct guest *g, struct err *err);
/* A driver's `resume`: the change's task has ended, and one whose name was lost has, too. */
int request_resume(struct change_call *x, const struct change *c, const char *node, int64_t vmid, struct err *err);
/* Was the task that was noted last of one of these types (NULL at the end)? */
bool request_task_is(const struct change *c, const char *const *types);
/* Its end is waited for, and the end of its log is told when it fails. */
struct task_watch request_watch(const struct change_call *x);
