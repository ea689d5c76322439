/* Between the simulated target's vtable (target.c) and what happens to its tree (effects.c). */
#pragma once
#include "sim/sim.h"

struct sim_target {
	struct target t; /* first */
	int index;
	int boots; /* when it was last connected */
	bool opened;
};

/* of: the world's side of a handle. guard: as a target checks the token. before: a turn, time, and what can go wrong on the way; after:
 * the reply. goes_late: the request is given up and still on its way. The rest changes the tree at once. */
struct starget *fx_of(const struct view *v);
void fx_restart(struct starget *t);
int fx_guard(struct target *t, const char *path, struct err *err);
/* stops: a cancel ends it in the middle here too, not only at the other end of a line. */
int fx_go_on(struct target *t, const char *what, bool stops, struct err *err);
/* What the caller of a request that goes late is told. */
/* The connection, in the middle of a request: what was made so far stays. */
int fx_breaks(struct target *t, struct err *err);
int fx_lost(struct target *t, struct err *err);
int fx_before(struct view *v, const char *what, const char *path, bool changes, struct err *err);
int fx_full(struct target *t, struct err *err);
int fx_no_room(struct target *t, const char *path, struct err *err);
int fx_denied(struct target *t, const char *path, struct err *err);
int fx_after(struct view *v, int r, struct err *err);
bool fx_goes_late(struct target *t, enum late_kind kind, const char *path, const char *other, const struct blob *data,
                  const struct sattr *attr);
/* Before each change: what can go wrong on the way, the guard, the rights. */
int fx_enter(struct target *t, const char *what, const char *path, struct err *err);
/* So it is, whatever the chances are. */
void fx_late(struct target *t, enum late_kind kind, const char *path, const struct blob *data);
/* NULL: nothing is set. */
struct sattr fx_attr(const struct node_attr *attr);
/* Of a new node, or of one that takes the place of `former`. */
void fx_dress(struct snode *n, const struct snode *former, const struct sattr *attr);
void fx_touch_parent(struct starget *t, const char *path);
int fx_put(struct starget *t, const char *path, const struct blob *data, const struct sattr *attr, struct err *err);
int fx_symlink(struct starget *t, const char *path, const struct blob *link, struct err *err);
int fx_mkdir(struct starget *t, const char *path, const struct sattr *attr, struct err *err);
int fx_remove(struct starget *t, const char *path, struct err *err);
int fx_remove_tree(struct starget *t, const char *path, struct target *by, struct err *err);
int fx_append(struct starget *t, const char *path, const struct blob *data, struct err *err);
int fx_rename(struct starget *t, const char *from, const char *to, struct err *err);
/* A command that is at work goes on when its giver dies: NULL when there is no room to note it. */
struct late *fx_at_work(struct target *t, const struct blob *words);
/* commands.c */
const struct blob *sim_command_words(const struct target_command *command);
int sim_command_acts(struct starget *t, const struct blob *words, bool all);
int sim_question(struct starget *t, const struct target_command *command, struct target_result *ret);
/* upload.c */
int sim_tree(struct view *v, const char *path, bool digests, struct tree *ret, struct err *err);
int sim_clone_files(struct target *t, const char *from, const char *to, const struct strv *paths, bool hard_links,
                    struct err *err);
int sim_unpack(struct target *t, const char *dir, enum archive_compression compression, target_produce_fn produce,
               void *context, struct err *err);
void sim_unpack_late(struct starget *st, const char *dir, const struct blob *rest);
bool fx_parent_ok(struct starget *t, const char *path);
int fx_no_parent(const char *path, struct err *err);
