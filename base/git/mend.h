/* Fixes a .git that was kept from job to job: its user was killed at any moment, hit by a power cut, or a job changed it.
 *
 * Removes, as nobody holds them (one job at a time works in an area): locks anywhere, files that git was about to write, references
 * and loose objects without content, a truncated index. Damage that shows only when everything is read is found then;
 * git_area_bring then makes .git again. */
#pragma once
#include "base/core/err.h"

/* git: a directory in parent, such as .git. 0: whole, 1: cannot be fixed (ret_why, free()), or an error. */
int git_mend(int parent, const char *git, char **ret_why, struct err *err);
