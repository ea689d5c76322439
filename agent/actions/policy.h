/* Which actions may run on this host (`davit agent configure --actions`): decided before anything is asked for or fetched. */
#pragma once
#include "base/core/err.h"
#include "base/data/json.h"

/* "all", "none", or a list with commas of OWNER/REPO[/PATH], where * within stands for anything (so that all of an owner's are one word), "./" for
 * actions of the job's own workspace, docker://IMAGE; with `pinned` those of other repositories must be named by a whole commit
 * digest; alone it allows those and "./". */
int policy_check(const char *policy, struct err *err);
/* policy "": none was configured, all may run. ERR_REFUSED: a sentence for the job's log with its hint. */
int policy_allows(const char *policy, const json_t *reference, struct err *err);
/* The same for the image of a job's container or service: without "docker://". */
int policy_allows_image(const char *policy, const char *image, struct err *err);
/* The next word of a list with commas, without blanks around it; free(). NULL: there is none. */
char *policy_word(const char **list);
/* 40 or 64 digits: no branch or tag that may move. */
bool policy_is_commit(const char *ref);
