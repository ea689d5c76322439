/* Converts a blob for the work tree as git does: `ident`, end of lines, `working-tree-encoding`, in this order.
 * Attributes are the commit's; filters that start a program are not run. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"
#include <git2.h>

struct git_content {
	const char *data; /* the blob's, or that of one of the buffers below */
	size_t len;
	bool unencoded; /* the encoding is unknown or lacks a character: content as in the repository, as in git */
	git_buf filtered;
	struct str named, masked, encoded;
};
enum { GIT_CONVERTED_MAX = 1 << 30 };
#define GIT_CONTENT_INIT                                                                                               \
	{                                                                                                              \
		.named = STR_INIT(GIT_CONVERTED_MAX), .masked = STR_INIT(GIT_CONVERTED_MAX),                           \
		.encoded = STR_INIT(GIT_CONVERTED_MAX)                                                                 \
	}
void git_content_done(struct git_content *c);

/* The conversions of one path. */
struct git_conversion {
	git_filter_list *filters; /* ends of lines; NULL: none */
	bool ident;
	char *encoding; /* NULL: none */
};
void git_conversion_done(struct git_conversion *c);
/* blob may be NULL: then every conversion that may apply counts. */
int git_conversion_find(git_repository *repo, const git_oid *commit, git_blob *blob, const char *path,
                        struct git_conversion *ret, struct err *err);
bool git_conversion_is_none(const struct git_conversion *c);
/* ret->data and ret->len hold the blob's content and are changed. */
int git_convert(const struct git_conversion *c, const git_oid *id, const char *path, struct git_content *ret,
                struct err *err);
