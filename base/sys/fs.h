/* Files of this machine: at-style, no following of links where it matters, atomic and durable replacement.
 * dirfd may be AT_FDCWD. Functions that write leave nothing behind on failure. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"
#include <sys/stat.h>
#include <sys/types.h>

/* Whole content; ERR_LIMIT above max. A secret: pass a str with wipe. */
int fs_read(int dirfd, const char *path, size_t max, struct str *out, struct err *err);
int fs_read_fd(int fd, const char *path, size_t max, struct str *out, struct err *err); /* path: for messages */
/* Opens a file that an attacker may have placed: only a regular file, never through a link, without blocking (a FIFO).
 * flags: of open. The descriptor, or ERR_NOT_FOUND, ERR_INVALID. */
int fs_open_plain(int dirfd, const char *path, int flags, struct err *err);
int fs_read_plain(int dirfd, const char *path, size_t max, struct str *out, struct err *err);
/* Private name in the same directory, write, fsync, rename, fsync of the directory. */
int fs_write_atomic(int dirfd, const char *path, const void *data, size_t len, mode_t mode, struct err *err);
/* The same without the two syncs, for files that can be made again. */
int fs_write_replace(int dirfd, const char *path, const void *data, size_t len, mode_t mode, struct err *err);
int fs_mkdirs(int dirfd, const char *path, mode_t mode, struct err *err); /* all missing parents */
int fs_remove_tree(int dirfd, const char *path, struct err *err);         /* never follows a link; absent is fine */
/* The same, but goes on behind what cannot be removed; the error is that of the first. */
int fs_remove_what_goes(int dirfd, const char *path, struct err *err);
int fs_sync_dir(int dirfd, const char *path, struct err *err);
/* renameat2 of the kernel: -1 and errno. Not every C library has it. */
int fs_renameat2(int old_dir, const char *from, int new_dir, const char *to, unsigned flags);
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1 << 0)
#define RENAME_EXCHANGE (1 << 1)
#endif
int fs_write_all(int fd, const void *data, size_t len, struct err *err);
/* A temporary directory 0700 below $TMPDIR or /tmp; the caller removes it and frees the name. */
int fs_make_temp_dir(const char *prefix, char **ret_path, struct err *err);
bool fs_exists(int dirfd, const char *path);
char *fs_join(const char *dir, const char *name); /* free() */
/* Lexical: collapses // . and ..; ERR_INVALID when it leaves the root. Absolute stays absolute. */
int fs_normalize(const char *path, char **ret, struct err *err);
/* True when `path` (normalized) is `dir` or lies below it. */
bool fs_below(const char *dir, const char *path);
bool fs_is_network(int fd);                            /* NFS, SMB, 9p, FUSE over a network */
char *fs_real_path(const char *path, struct err *err); /* NULL on failure */
/* This program's own directory, and a helper program beside it or in libexec: "davit-step". free(); NULL when missing. */
char *fs_helper_program(const char *name, struct err *err);
