/* Files below a directory that somebody else may change at any moment: a job's workspace, a repository, a target's directory.
 *
 * root is the directory's descriptor. No link is followed, neither on the way nor at the end, and nothing outside root is reached,
 * whatever is swapped in meanwhile: ERR_REFUSED. Paths are relative; "." is root itself; ".." is taken lexically and may not lead out.
 * By openat2 (RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS); where the kernel or a seccomp filter does not allow that, component by
 * component with O_NOFOLLOW. A path that is resolved twice may have changed: open once, then work with the descriptor. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"
#include <sys/stat.h>
#include <sys/types.h>

/* flags as open; O_CLOEXEC is added. Use O_NONBLOCK if it may be a FIFO. Returns the descriptor. */
int fs_open_beneath(int root, const char *path, int flags, mode_t mode, struct err *err);
/* Opens a path whose links may lead anywhere within root, which may be a link itself. Links are resolved first, then the result is
 * opened beneath root without links, so that one that is swapped in meanwhile is refused. ret_real: the real path; free() */
int fs_open_within(const char *root, const char *path, int flags, char **ret_real, struct err *err);
/* Stats a link itself, not its target. */
int fs_stat_beneath(int root, const char *path, struct stat *ret, struct err *err);
/* Whole content of a regular file, never blocking on anything else; ERR_LIMIT above max. */
int fs_read_beneath(int root, const char *path, size_t max, struct str *out, struct err *err);
/* The directory that path lies in, as a descriptor for ...at(), and its last component (free()), which may be missing.
 * ERR_INVALID: path is root itself. */
int fs_parent_beneath(int root, const char *path, char **ret_name, struct err *err);
/* Makes missing directories of path. Returns a descriptor (O_RDONLY) of the last one. */
int fs_mkdirs_beneath(int root, const char *path, mode_t mode, struct err *err);
/* flags as renameat2: RENAME_NOREPLACE, RENAME_EXCHANGE. */
int fs_rename_beneath(int root, const char *from, const char *to, unsigned flags, struct err *err);
/* Not for directories. Absent is ERR_NOT_FOUND. */
int fs_unlink_beneath(int root, const char *path, struct err *err);
/* Absent is fine. */
int fs_remove_tree_beneath(int root, const char *path, struct err *err);
