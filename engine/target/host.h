/* A host: a target with files and commands. Callers use the host_… functions; an implementation is one `struct host_type`. engine/target/target.h
 * says what every operation promises. */
#pragma once
#include "base/archive/archive.h"
#include "engine/record/node.h"

struct view;
struct target;
struct node_attr;
struct target_command;
struct target_result;
struct target_op;

typedef int (*target_produce_fn)(void *context, archive_write_fn write, void *write_context, struct err *err);

struct host_type {
	/* Looking. */
	int (*stat)(struct view *v, const char *path, struct node *ret,
	            struct err *err); /* absent is NODE_ABSENT, not an error */
	int (*read)(struct view *v, const char *path, size_t max, struct str *out, struct err *err);
	int (*list)(struct view *v, const char *path, struct strv *ret,
	            struct err *err); /* names, sorted, without . and .. */
	int (*digest)(struct view *v, const char *path, char hex[65], struct err *err); /* SHA-256 of a file */
	int (*tree)(struct view *v, const char *path, bool digests, struct tree *ret, struct err *err);
	int (*space)(struct view *v, const char *path, int64_t *ret_free_bytes, struct err *err);
	int (*query)(struct view *v, const struct target_command *command, struct target_result *ret,
	             struct err *err); /* must not change */

	/* Several at once, if that saves round trips: NULL means one after the other. Called by the target_… functions of these
	 * names below. */
	int (*stat_all)(struct view *v, const char *const *paths, size_t count, struct node *ret, struct err *err);
	int (*digests)(struct view *v, const char *dir, const char *const *names, size_t count, int64_t bytes,
	               char (*hex)[65], struct err *err);
	/* Like put; the file `from` on the target holds from_data, so that only the differences need be sent. */
	int (*put_like)(struct target *t, const char *path, const struct str *data, const struct node_attr *attr,
	                const char *from, const struct str *from_data, struct err *err);
	int (*barrier_read)(struct target *t, const char *const *paths, size_t count, const char *path, size_t max,
	                    struct str *out, struct err *err);
	int (*do_all)(struct target *t, const struct target_op *ops, size_t count, struct err *err);

	/* Changing: all guarded. */
	int (*mkdir)(struct target *t, const char *path, const struct node_attr *attr,
	             struct err *err); /* ERR_EXISTS */
	int (*put)(struct target *t, const char *path, const void *data, size_t len, const struct node_attr *attr,
	           struct err *err); /* whole or not at all: private name beside it, sync, rename over */
	int (*append)(struct target *t, const char *path, const void *data, size_t len,
	              struct err *err); /* one write, 0600 when new */
	int (*symlink)(struct target *t, const char *path, const char *link,
	               struct err *err); /* replaces a link or nothing, atomically */
	int (*link_new)(struct target *t, const char *from, const char *to,
	                struct err *err); /* hard link; ERR_EXISTS */
	int (*rename)(struct target *t, const char *from, const char *to,
	              struct err *err); /* replaces the target if that is allowed */
	int (*remove)(struct target *t, const char *path,
	              struct err *err); /* file, link, empty directory; absent is ERR_NOT_FOUND */
	int (*remove_tree)(struct target *t, const char *path,
	                   struct err *err); /* absent is fine; never follows links or leaves the file system */
	int (*set_attr)(struct target *t, const char *path, const struct node_attr *attr, struct err *err);
	int (*dress_like)(struct target *t, const char *path, const char *from,
	                  struct err *err); /* a directory gets owner, mode, ACL,
	                                                                                    attributes and time of another; may be NULL */
	int (*copy)(struct target *t, const char *from, const char *to,
	            struct err *err); /* a file, link or whole tree, with owner, mode, mtime,
	                                                                                       ACL; reflink where it can be; never hard links; `to` must be absent */
	int (*clone_files)(
		struct target *t, const char *from, const char *to, const struct strv *paths, bool hard_links,
		struct err *err); /* relative files and links of one directory into another, directories as needed */
	int (*unpack)(struct target *t, const char *dir, enum archive_compression compression,
	              target_produce_fn produce, void *context,
	              struct err *err); /* a tar stream into an existing directory, while it arrives */
	int (*run)(struct target *t, const struct target_command *command, struct target_result *ret, struct err *err);
	int (*barrier)(struct target *t, const char *const *paths, size_t count, struct err *err);
	/* everything written below these paths is durable when it returns */
	int (*fence)(struct target *t, const char *lock_dir, struct err *err);
	/* ends all processes of the notes in lock_dir/pids (engine/target/command_end.h) and waits until nothing is left */
};

/* The operations, by the host's own implementation. dress_like: only if the host has it. */
int host_stat(struct view *v, const char *path, struct node *ret, struct err *err);
int host_read(struct view *v, const char *path, size_t max, struct str *out, struct err *err);
int host_list(struct view *v, const char *path, struct strv *ret, struct err *err);
int host_digest(struct view *v, const char *path, char hex[65], struct err *err);
int host_tree(struct view *v, const char *path, bool digests, struct tree *ret, struct err *err);
int host_space(struct view *v, const char *path, int64_t *ret_free_bytes, struct err *err);
int host_query(struct view *v, const struct target_command *command, struct target_result *ret, struct err *err);
int host_mkdir(struct target *t, const char *path, const struct node_attr *attr, struct err *err);
int host_put(struct target *t, const char *path, const void *data, size_t len, const struct node_attr *attr,
             struct err *err);
int host_append(struct target *t, const char *path, const void *data, size_t len, struct err *err);
int host_symlink(struct target *t, const char *path, const char *link, struct err *err);
int host_link_new(struct target *t, const char *from, const char *to, struct err *err);
int host_rename(struct target *t, const char *from, const char *to, struct err *err);
int host_remove(struct target *t, const char *path, struct err *err);
int host_remove_tree(struct target *t, const char *path, struct err *err);
int host_set_attr(struct target *t, const char *path, const struct node_attr *attr, struct err *err);
int host_dress_like(struct target *t, const char *path, const char *from, struct err *err);
int host_copy(struct target *t, const char *from, const char *to, struct err *err);
int host_clone_files(struct target *t, const char *from, const char *to, const struct strv *paths, bool hard_links,
                     struct err *err);
int host_unpack(struct target *t, const char *dir, enum archive_compression compression, target_produce_fn produce,
                void *context, struct err *err);
int host_run(struct target *t, const struct target_command *command, struct target_result *ret, struct err *err);
int host_barrier(struct target *t, const char *const *paths, size_t count, struct err *err);
int host_fence(struct target *t, const char *lock_dir, struct err *err);
