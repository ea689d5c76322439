/* Writes files of a work tree by their paths below one directory. No link on the way can leave it. One for each thread. */
#pragma once
#include "base/core/err.h"
#include <sys/stat.h>

struct git_files {
	int root;       /* borrowed */
	int dir;        /* the directory of the last path, kept open; -1: none */
	char *dir_path; /* its path, without a slash behind */
	bool fresh;     /* an entry in the way is not replaced: ERR_EXISTS */
};
#define GIT_FILES_INIT(fd)                                                                                             \
	{                                                                                                              \
		.root = (fd), .dir = -1                                                                                \
	}
void git_files_done(struct git_files *f);

/* True if no component is empty, ".", ".." or ".git" (case-insensitive). */
bool git_files_safe(const char *path);
/* Opens the directory of path, makes missing parts and replaces entries in the way (not directories). ret_name: within path. */
int git_files_parent(struct git_files *f, const char *path, const char **ret_name, struct err *err);
/* An empty regular file for content that comes piece by piece; an existing entry is replaced. Returns its descriptor. */
int git_files_open(struct git_files *f, const char *path, unsigned mode, struct err *err);
/* mode as git has it: 0100644, 0100755 or 0120000 (data is the link's target). An existing entry is replaced. */
int git_files_write(struct git_files *f, const char *path, unsigned mode, const void *data, size_t len,
                    struct stat *ret, struct err *err);
