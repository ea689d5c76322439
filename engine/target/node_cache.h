/* What one plan has seen of a target, so that no path is asked for twice and many go in one round trip. Holds for as long as a plan
 * is made, no longer: an apply looks again. */
#pragma once
#include "base/data/json.h"
#include "engine/target/target.h"

struct node_cache {
	struct strv paths;
	struct node *nodes;  /* one for each path */
	char (*digests)[65]; /* "" where none was asked for */
	size_t cap, digest_cap;
	size_t *slots, slot_count; /* by hash: the index of a path plus one */
};
void node_cache_done(struct node_cache *s);
/* Looks at those that were not looked at yet. */
int node_cache_fetch(struct node_cache *s, struct view *v, const struct strv *paths, struct err *err);
/* The same with the digests of those that are files. Where they cannot be had together, seen_node asks for each. */
int node_cache_fetch_contents(struct node_cache *s, struct view *v, const struct strv *paths, struct err *err);
/* *ret is borrowed until the next call. */
int node_cache_stat(struct node_cache *s, struct view *v, const char *path, const struct node **ret, struct err *err);
/* As change_look, with the digest of a file. */
int node_cache_look(struct node_cache *s, struct view *v, const char *path, json_t **ret_node, struct err *err);
/* A directory, or a link to one. */
int node_cache_is_directory(struct node_cache *s, struct view *v, const char *path, bool *ret, struct err *err);
/* Adds the directories above an absolute path, from the top down and without "/", and the path itself. */
void node_cache_add_way(struct strv *paths, const char *path);
/* The same for many: sorted paths. */
void node_cache_add_ways(struct strv *paths, const char *const *sorted, size_t count);
