/* The few elements that are asked of S3's answers, which are flat XML without attributes but the root's. Whatever else stands there is
 * passed over. */
#pragma once
#include "base/core/str.h"

struct s3_text {
	const char *data;
	size_t len;
};
/* The content of the next element of this name at or after *at, which then stands behind it. False: there is none that ends. */
bool s3_answer_next(struct s3_text xml, const char *name, size_t *at, struct s3_text *ret);
/* The text of the first one, its entities resolved. False: there is none, or it is longer than `out` takes. */
bool s3_answer_text(struct s3_text xml, const char *name, struct str *out);
