/* The nodes of a target that a plan has seen, so that no path is requested twice and many go in one round trip. Valid only while a
 * plan is made: an apply looks again. */
#pragma once
#include "base/data/json.h"
#include "engine/target/target.h"

struct node_cache {
	struct strv paths;
	struct node *nodes;  /* one for each path */
	char (*digests)[65]; /* "" if none was requested */
	size_t cap, digest_cap;
	size_t *slots, slot_count; /* by hash: the index of a path plus one */
};
void node_cache_done(struct node_cache *s);
/* Looks at the paths that are not in the cache yet. */
int node_cache_fetch(struct node_cache *s, struct view *v, const struct strv *paths, struct err *err);
/* The same with the digests of files. If they cannot be read together, seen_node reads each. */
int node_cache_fetch_contents(struct node_cache *s, struct view *v, const struct strv *paths, struct err *err);
/* *ret is borrowed until the next call. */
int node_cache_stat(struct node_cache *s, struct view *v, const char *path, const struct node **ret, struct err *err);
/* Like change_look, with the digest of a file. */
int node_cache_look(struct node_cache *s, struct view *v, const char *path, json_t **ret_node, struct err *err);
/* A directory, or a link to one. */
int node_cache_is_directory(struct node_cache *s, struct view *v, const char *path, bool *ret, struct err *err);
/* Adds the directories above an absolute path, from the top down and without "/", and the path itself. */
void node_cache_add_way(struct strv *paths, const char *path);
/* The same for many: sorted paths. */
void node_cache_add_ways(struct strv *paths, const char *const *sorted, size_t count);
