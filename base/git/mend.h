/* A .git that was kept from job to job, by whoever worked in it: killed at any moment, struck by a power cut, changed by a job.
 *
 * Removed, as nobody holds them (one job at a time works in an area): locks anywhere, files that git was about to write, references
 * and loose objects without content, an index that is cut. What cannot be told whole without reading all of it is found when it is
 * read; git_area_bring then makes .git anew. */
#pragma once
#include "base/core/err.h"

/* root: the work tree's; .git is a directory. 0: whole, 1: beyond mending (ret_why, free()), or an error. */
int git_mend(int root, char **ret_why, struct err *err);
