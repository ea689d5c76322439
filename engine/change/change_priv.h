/* Shared by the drivers of files, directories and links. */
#pragma once
#include "base/secret/digest.h"
#include "engine/change/change.h"

/* The path of data that the change keeps in the target's copy: LOCK_DIR/undo/ID and a suffix. free() */
char *change_undo_path(const char *lock_dir, const struct change *c, const char *suffix);
int change_absent_is_fine(int r, struct err *err);

/* ---- compare.c ---- */
bool change_same_attributes(const json_t *expected, const struct node *n);
/* Compares with the two nodes of the record, given the digests of their contents (NULL: any content). ret_node: the node on the target,
 * the caller's to free. */
int change_compare_digests(struct change_call *x, const struct change *c, const char *before, const char *after,
                           struct node *ret_node, enum change_match *ret, struct err *err);
/* The same with the record's digests. */
int change_compare_node(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err);
int change_explain_node(struct change_call *x, const struct change *c, struct str *out, struct err *err);

/* ---- restore.c ---- */
/* Saves the previous file, or a directory's attributes; nothing if the record holds everything. */
int change_save_file(struct change_call *x, const struct change *c, struct err *err);
int change_save_directory(struct change_call *x, const struct change *c, struct err *err);
int change_restore_file(struct target *t, const struct change *c, struct err *err);
int change_restore_directory(struct target *t, const struct change *c, struct err *err);
/* Restores the record's `before` at its path. */
int change_restore(struct change_call *x, const struct change *c, struct err *err);
/* For a target that goes back alone: as change_restore does. */
void change_restore_alone(const struct change *c, struct str *out);
/* A link over a file is made beside it and renamed over it, so that there is always one of them. */
int change_put_link(struct target *t, const char *path, const char *link, bool over_file, struct err *err);

/* ---- attr.c ---- */
void change_attr_from(const json_t *node, bool with_mtime, struct node_attr *ret);
/* The attributes to set. rights: of readers in an access list ("r", "rx"); readers: holds the list. */
void change_attr_of(const struct change *c, const char *rights, struct node_attr *ret, struct str *readers);
/* Adds the directory that the path needs to the result of a driver's `needs`. */
void change_needs_parent(const struct change *c, struct strv *ret);
void change_needs_owners(const struct change *c, struct strv *ret);
