/* Digests of source files that were made by an earlier deployment from this machine: a file that is the same one (device, inode, size,
 * times of change) is not read again. */
#pragma once
#include "base/archive/archive.h"
#include "engine/run/step.h"

/* Fills the digests of the files that are known. */
void upload_known_recall(const struct step_context *c, const char *source, struct tree *tree);
/* Keeps the digests that were made from content. looked_ns: the wall clock before the tree was walked. */
void upload_known_keep(const struct step_context *c, const char *source, const struct tree *tree, int64_t looked_ns);
