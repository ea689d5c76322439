/* What one plan has seen of a target, so that no path is asked for twice and many go in one round trip. Holds for as long as a plan
 * is made, no longer: an apply looks again. */
#pragma once
#include "base/data/json.h"
#include "engine/target/target.h"

struct seen_nodes {
	struct strv paths;
	struct node *nodes;  /* one for each path */
	char (*digests)[65]; /* "" where none was asked for */
	size_t cap, digest_cap;
	size_t *slots, slot_count; /* by hash: the index of a path plus one */
};
void seen_done(struct seen_nodes *s);
/* Looks at those that were not looked at yet. */
int seen_fetch(struct seen_nodes *s, struct view *v, const struct strv *paths, struct err *err);
/* The same with the digests of those that are files. Where they cannot be had together, seen_node asks for each. */
int seen_fetch_contents(struct seen_nodes *s, struct view *v, const struct strv *paths, struct err *err);
/* *ret is borrowed until the next call. */
int seen_stat(struct seen_nodes *s, struct view *v, const char *path, const struct node **ret, struct err *err);
/* As change_look, with the digest of a file. */
int seen_look(struct seen_nodes *s, struct view *v, const char *path, json_t **ret_node, struct err *err);
/* A directory, or a link to one. */
int seen_is_directory(struct seen_nodes *s, struct view *v, const char *path, bool *ret, struct err *err);
/* Adds the directories above an absolute path, from the top down and without "/", and the path itself. */
void seen_add_way(struct strv *paths, const char *path);
/* The same for many: sorted paths. */
void seen_add_ways(struct strv *paths, const char *const *sorted, size_t count);
