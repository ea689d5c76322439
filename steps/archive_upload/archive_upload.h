/* archive-upload's own parts: one upload while it is planned and made. */
#pragma once
#include "engine/target/node_cache.h"
#include "steps/archive_upload/former.h"
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
	struct upload_source *source;
	char *former_release; /* the target directory of `current`, with a manifest of ours; NULL: none */
	char *former_name;    /* of it, "20260131T…"; NULL */
	struct upload_former former;
	bool *same; /* one for each entry: as in the previous release */
	struct upload_counts counts;
	struct node_cache seen; /* of the target, while it is planned */
	struct strv made;       /* directories outside the release that it makes, from the top down */
	bool other_owner;       /* the previous release belongs to somebody else */
	struct strv places;     /* where the nth shared path lies in the release */
	bool other_shares;      /* the previous release links other shared paths */
	json_t *largest;        /* [{"path","bytes","files"}], the top of the tree by size */
	json_t *head;           /* of the new manifest */
	char tree_digest[65], manifest_digest[65];
	bool just_filled; /* by this process, which has checked the received files */
};
void upload_free(void *u); /* payload_free */

/* A deployment plans twice: a manifest with the same time and size is not fetched again. Its text is kept. */
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
/* Sets u->places, the place of each shared path in the release: links of the tree on its way are followed within the tree. ERR_REFUSED: it leaves
 * the tree, or the tree has another entry there. The source is known. */
int upload_place_shared(struct upload *u, struct err *err);
enum { UPLOAD_MOST_SHARED = 200 };
/* Finds `current` and its manifest; ERR_REFUSED when another deployment releases here. *ret_node: of `current`. */
int upload_find_former(const struct step_context *c, struct view *v, struct upload *u, struct node *ret_node,
                       struct err *err);
/* verify: full: forgets files of the previous release that do not match its manifest, so that they are sent again. */
int upload_distrust_former(const struct step_context *c, struct view *v, struct upload *u, struct plan *plan,
                           struct err *err);
/* The text of a manifest if it was the last one read, else NULL. Borrowed until the next is read. */
const struct str *upload_manifest_text(const struct step_context *c, const struct view *v, const char *path);
/* The head of a release's manifest, of which every line can be read; ERR_NOT_FOUND. Its text is kept until the next one. */
int upload_read_head(const struct step_context *c, struct view *v, const char *path, json_t **ret, struct err *err);
/* A text that is longer than this is not kept once the upload is planned: it would be as large as the source's list. */
enum { UPLOAD_TEXT_KEPT = 8 << 20 };
void upload_drop_large_text(const struct step_context *c);

/* "3 bytes", "12.1 kB", "3.4 MB" */
void upload_show_size(int64_t bytes, struct str *out);

int archive_upload_plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err);
int upload_fill(const struct step_context *c, struct target *t, struct upload *u, struct err *err);
/* Checks every entry of the release against the manifest, by digest; names the first that differs. */
int upload_verify_full(struct view *v, const char *release, const struct manifest *m, struct err *err);
/* Checks the sent files (indices of the source's tree) by digest: all of them, or with `verify: auto` a sample of many. */
int upload_verify_sent(struct view *v, const struct upload *u, const size_t *sent, size_t sent_count, struct err *err);
