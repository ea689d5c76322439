/* Archives of actions that were fetched before, shared by all jobs of this agent: a file each, named by server, repository and commit. Jobs
 * reach them as they reach the rest of the state directory, unless walls close it: what lies there is not proven to be that commit.
 * Any number of workers use it at once: files come by rename, and one that is open stays good when it goes. */
#pragma once
#include "base/core/err.h"
#include <stdint.h>

enum { CACHE_ARCHIVE_MAX = 1 << 30 }; /* of one archive */
/* A descriptor of the directory, made when it is missing. */
int cache_open(const char *state_dir, struct err *err);
/* The file's name. free() */
char *cache_name(const char *server, const char *repository, const char *commit);
/* A descriptor for reading, marked as used now; ERR_NOT_FOUND. */
int cache_find(int dir, const char *name, struct err *err);
/* A new file, for cache_keep or cache_drop. ret_temporary: free() */
int cache_begin(int dir, char **ret_temporary, struct err *err);
/* It is complete now. Then those go that were not used for the longest time, until at most max_bytes are left. */
int cache_keep(int dir, const char *temporary, const char *name, int64_t max_bytes, struct err *err);
void cache_drop(int dir, const char *name);
