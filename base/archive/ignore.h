/* The part of the excludes for the walk only: files of patterns that lie in the tree and apply to entries below them.
 * A walk begins with a view of its own, enters and leaves directories as a stack, and tests entries whose parents it has
 * entered (and which are therefore not excluded). */
#pragma once
#include "base/archive/archive.h"

struct ignore *ignore_begin(const struct ignore *i); /* i must outlive it */
void ignore_end(struct ignore *walk);
/* prefix: the directory's path with its slash, "" at the top. ret_mark goes to ignore_leave. */
int ignore_enter(struct ignore *walk, int dirfd, const char *prefix, size_t *ret_mark, struct err *err);
void ignore_leave(struct ignore *walk, size_t mark);
/* Of the path alone: 1: the last rule that speaks of it matches, 0: it is a negated one, -1: none does. */
int ignore_verdict(const struct ignore *i, const char *path, bool is_dir);
/* Like ignore_matches, but ignores the parents. */
bool ignore_matches_here(const struct ignore *i, const char *path, bool is_dir);
