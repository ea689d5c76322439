/* The needs of a plan's changes that can be checked before the first change: users and groups that exist and
 * may be given, directories that can be written or made. */
#pragma once
#include "engine/run/step.h"

/* may_come: an earlier step runs commands, which may add what is missing: then it is a warning of the plan. */
int needs_check(struct view *v, struct plan *plan, bool may_come, struct faults *faults, struct err *err);
/* What to do where a directory cannot be written: for a hint. */
const char *needs_way_to_write(const struct view *v);
