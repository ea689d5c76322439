/* The whole of an image from one repository to another: its blobs, its manifests, of an index all of them; every tag stays as it is. Within a
 * registry blobs are mounted, else they are streamed in pieces of 8 MiB, whatever their size. What is there already is not sent again,
 * so a copy that was interrupted goes on. */
#pragma once
#include "providers/registry/manifest.h"

struct registry_copy {
	struct registry *from, *to;
	const char *from_repository, *to_repository;
	struct wait *wait;
	int (*guard)(void *context, struct err *err); /* before each request that changes something; may be NULL */
	void (*progress)(void *context, const char *digest, int64_t bytes); /* of a blob that is sent; may be NULL */
	void *context;
	size_t mounted, sent, present; /* blobs, told afterwards */
	int64_t bytes;                 /* sent */
};
/* Afterwards the manifest itself can be put under any name. ERR_PROTOCOL, ERR_LIMIT: what a manifest says is not acceptable. */
int registry_copy_content(struct registry_copy *c, const struct registry_manifest *m, struct err *err);
