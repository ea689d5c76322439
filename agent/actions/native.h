/* Which actions this program carries out itself, without a download: the words of `--native`. */
#pragma once
#include "base/core/err.h"

/* What a list that was not given stands for: all there is. */
#define NATIVE_DEFAULT "own,actions/checkout"

/* "none", or a list with commas of "own" (davit's own actions, which any list but "none" implies) and names of GitHub's that a step of
 * ours stands in for. ERR_INVALID: with a hint that lists the words. */
int native_check(const char *list, struct err *err);
/* Is that action of GitHub's among them? Its name without regard to case. */
bool native_has(const char *list, const char *name);
/* The repository whose actions are our own ones: as given, NULL: the build's; "" where the list (NULL: the default) leaves them out. */
const char *native_repository(const char *list, const char *given);
