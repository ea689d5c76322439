/* Inside the local target (target_local*.c): this machine, acted on by this process. */
#pragma once
#include "engine/target/target.h"

struct local {
	struct target t; /* first */
	char *configured_base;
	bool opened;
};

/* The guard of one operation: notes this process in LOCK_DIR/pids, then checks the token. Without a guard only BASE, its parents and entries below it
 * are allowed. ERR_FENCED, ERR_INTERNAL. local_leave removes the note and returns `r`. */
int local_enter(struct target *t, const char *path, struct err *err);
int local_leave(struct target *t, int r);
/* `owner` and `group` as names or numbers; -1 for NULL. */
int local_owner(const struct node_attr *attr, uid_t *ret_uid, gid_t *ret_gid, struct err *err);
/* Copies access lists and extended attributes from one to the other. */
int local_copy_extended(int from, int to, bool directory, struct err *err);

int local_put(struct target *t, const char *path, const void *data, size_t len, const struct node_attr *attr,
              struct err *err);
int local_mkdir(struct target *t, const char *path, const struct node_attr *attr, struct err *err);
int local_symlink(struct target *t, const char *path, const char *link, struct err *err);
int local_set_attr(struct target *t, const char *path, const struct node_attr *attr, struct err *err);
int local_dress_like(struct target *t, const char *path, const char *from, struct err *err);
int local_copy(struct target *t, const char *from, const char *to, struct err *err);
int local_clone_files(struct target *t, const char *from, const char *to, const struct strv *paths, bool hard_links,
                      struct err *err);
int local_unpack(struct target *t, const char *dir, enum archive_compression compression, target_produce_fn produce,
                 void *context, struct err *err);
int local_query(struct view *v, const struct target_command *command, struct target_result *ret, struct err *err);
int local_run(struct target *t, const struct target_command *command, struct target_result *ret, struct err *err);
int local_fence(struct target *t, const char *lock_dir, struct err *err);
