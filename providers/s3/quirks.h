/* What services that speak S3 do differently. By the name that the target gives (`provider`), else by the host.
 *
 * Sources: Ceph's gateway 16 as run in tests; for the others what their makers document (July 2026). What is not known is asked: a lock is
 * made twice, and the second time must be refused. */
#pragma once
#include <stdbool.h>

enum s3_if_match {
	S3_IF_MATCH_QUOTED, /* as the standard has it: If-Match: "5d41…" */
	S3_IF_MATCH_BARE,   /* compares without quotes: the quoted form is always 412 */
	S3_IF_MATCH_NONE,   /* refused, or passed over */
};
struct s3_quirks {
	const char *name; /* "ceph", "aws", …; "other" */
	const char *host; /* what its hosts end with; NULL: it has none of its own */
	bool locks;       /* If-None-Match: * is honoured, as far as is known */
	enum s3_if_match if_match;
	int parts_max; /* of an upload */
};
/* name: as the schema has it, NULL: by the host, which may have a port. Never NULL. */
const struct s3_quirks *s3_quirks_of(const char *name, const char *host);
