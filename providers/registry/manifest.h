/* Manifests and indexes, byte for byte: their digest is SHA-256 of the bytes that came, which are never written anew. */
#pragma once
#include "providers/registry/client.h"
#include "providers/registry/image.h"

enum { REGISTRY_MANIFEST_MAX = 4 << 20 };

struct registry_manifest {
	struct str bytes;
	char *media_type; /* one of the four that the Accept header names */
	char digest[REGISTRY_DIGEST_SIZE];
	bool index; /* a list of manifests */
};
#define REGISTRY_MANIFEST_INIT                                                                                         \
	{                                                                                                              \
		.bytes = STR_INIT(REGISTRY_MANIFEST_MAX)                                                               \
	}
void registry_manifest_done(struct registry_manifest *m);

/* reference: a tag or a digest. ERR_NOT_FOUND; ERR_PROTOCOL where the bytes are not what was asked for. */
int registry_manifest_get(struct registry *r, const char *repository, const char *reference, struct wait *w,
                          struct registry_manifest *ret, struct err *err);
/* Several by their digests, side by side. ret: REGISTRY_MANIFEST_INIT each, to be freed in any case. */
int registry_manifest_get_all(struct registry *r, const char *repository, const char *const *digests, size_t count,
                              struct wait *w, struct registry_manifest *ret, struct err *err);
/* Only its digest; "" where there is none of that name. */
int registry_manifest_digest(struct registry *r, const char *repository, const char *reference, struct wait *w,
                             char ret[REGISTRY_DIGEST_SIZE], struct err *err);
/* Read back: the reference leads to these bytes afterwards. */
int registry_manifest_put(struct registry *r, const char *repository, const char *reference,
                          const struct registry_manifest *m, struct wait *w, struct err *err);
/* The same for several, side by side, each by its own digest. */
int registry_manifest_put_all(struct registry *r, const char *repository, const struct registry_manifest *m,
                              size_t count, struct wait *w, struct err *err);
/* ERR_UNSUPPORTED where the registry deletes nothing. Gone already is fine. */
int registry_manifest_delete(struct registry *r, const char *repository, const char *reference, struct wait *w,
                             struct err *err);
