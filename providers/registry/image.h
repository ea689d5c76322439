/* Names of images as registries know them (OCI distribution 1.1): REPOSITORY:TAG, REPOSITORY@sha256:HEX or both. The registry's host is
 * the target's, not part of the name. */
#pragma once
#include "base/core/err.h"

enum { REGISTRY_DIGEST_SIZE = 72 /* "sha256:", 64 digits, NUL */, REGISTRY_NAME_MAX = 255, REGISTRY_TAG_MAX = 128 };

struct registry_image {
	char *repository;
	char *tag;                         /* NULL: none */
	char digest[REGISTRY_DIGEST_SIZE]; /* "": none */
};

/* ERR_INVALID says which part is wrong. ret: zeroed by the caller. */
int registry_image_read(const char *text, struct registry_image *ret, struct err *err);
void registry_image_done(struct registry_image *i);
/* What a manifest is asked for by: the digest where there is one, else the tag. */
const char *registry_image_reference(const struct registry_image *i);
bool registry_is_digest(const char *text); /* "sha256:" and 64 lower-case hex digits */
