/* Starts children behind Landlock's walls while the process itself stays outside. A worker holds secrets and ends leftovers of a
 * job; the job's scripts must reach neither it nor the jobs of others. Rights belong to a thread, so one thread goes behind
 * the walls and starts the children there: all of them are behind the same walls and reach each other. */
#pragma once
#include "base/sys/landlock.h"
#include "base/sys/proc.h"

/* Once a process, and for good. Call walls_close_process first where the process has secrets: its own thread behind the walls is
 * one of those that they reach. */
int walls_raise(const struct landlock_plan *plan, struct err *err);
bool walls_stand(void);
/* Like proc_spawn; behind the walls if there are any. */
int walls_spawn(const struct proc_options *options, struct proc *ret, struct err *err);
/* No process of the same user may trace this one or read its memory, environment and descriptors any more. */
void walls_close_process(void);
