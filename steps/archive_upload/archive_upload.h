/* archive-upload's own parts: what one upload is while it is planned and made. */
#pragma once
#include "engine/target/node_cache.h"
#include "steps/archive_upload/source.h"

struct upload_places {
	char *path, *releases, *release, *manifest, *current, *shared, *before;
};

struct upload_counts {
	size_t fresh, changed, gone, same;
	int64_t fresh_bytes, changed_bytes, gone_bytes, same_bytes;
};

struct upload {
	const struct archive_upload_in *in;
	struct upload_places at;
	char *release;    /* its name: the deployment's id */
	char *deployment; /* "shop.production" */
	struct upload_source source;
	char *former_release; /* the directory that `current` leads to, with a manifest of ours; NULL: none */
	char *former_name;    /* of it, "20260131T…"; NULL */
	struct manifest former;
	bool *same; /* one for each entry: as in the former release */
	struct upload_counts counts;
	struct node_cache seen; /* of the target, while it is planned */
	struct strv made;       /* directories outside the release that it makes, from the top down */
	bool other_owner;       /* the former release belongs to somebody else */
	struct strv places;     /* where the nth shared path lies in the release */
	bool other_shares;      /* the former release links other shared paths */
	json_t *largest;        /* [{"path","bytes","files"}], the top of the tree by size */
	json_t *head;           /* of the new manifest */
	struct str text;        /* the new manifest */
	char tree_digest[65], manifest_digest[65];
	bool just_filled; /* by this process, which has looked at what arrived */
};
void upload_free(void *u); /* payload_free */

/* A deployment plans twice: a manifest that has kept its time and size since is not fetched again. Its text is what is kept. */
struct upload_fetched {
	char *target, *path;
	int64_t mtime_ns, size;
	struct str text;
};
/* step_context.memory */
struct upload_memory {
	struct upload_fetched fetched;
	struct upload_last last;
	struct upload_ahead ahead;
};
void upload_forget(void *memory);

void upload_places_of(const char *path, const char *release, struct upload_places *ret);
void upload_places_done(struct upload_places *p);
/* "shared/NAME" as seen from `place` in a release: "../../shared/uploads". free(). */
char *upload_shared_link(const char *place, const char *name);
/* Where each shared path lies in the release, into u->places: links of the tree on its way are followed within the tree. ERR_REFUSED: it leaves
 * the tree, or lies where the tree has something. The source is known. */
int upload_place_shared(struct upload *u, struct err *err);
enum { UPLOAD_MOST_SHARED = 200 };
/* Finds `current` and its manifest; ERR_REFUSED when another deployment releases here. *ret_node: of `current`. */
int upload_find_former(const struct step_context *c, struct view *v, struct upload *u, struct node *ret_node,
                       struct err *err);
/* verify: full: what of the former release is not as its manifest says is forgotten there, so that it is sent anew. */
int upload_distrust_former(const struct step_context *c, struct view *v, struct upload *u, struct plan *plan,
                           struct err *err);
/* The text of a manifest that was read last, NULL when that was another one. Borrowed until the next is read. */
const struct str *upload_manifest_text(const struct step_context *c, const struct view *v, const char *path);
/* Reads the manifest of a release; ERR_NOT_FOUND. */
int upload_read_manifest(const struct step_context *c, struct view *v, const char *path, struct manifest *ret,
                         struct err *err);

/* "3 bytes", "12.1 kB", "3.4 MB" */
void upload_show_size(int64_t bytes, struct str *out);

int archive_upload_plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err);
int upload_fill(const struct step_context *c, struct target *t, struct upload *u, struct err *err);
/* Every entry of the release as the manifest says, by digest; the first that differs is named. */
int upload_verify_full(struct view *v, const char *release, const struct manifest *m, struct err *err);
/* The files among what was sent (indices of the source's tree), by digest: all of them, or with `verify: auto` a sample of many. */
int upload_verify_sent(struct view *v, const struct upload *u, const size_t *sent, size_t sent_count, struct err *err);
