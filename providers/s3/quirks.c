#include "providers/s3/quirks.h"

#include "base/core/mem.h"
#include "base/core/str.h"

#include <string.h>

static const struct s3_quirks known[] = {
	{"aws", ".amazonaws.com", true, S3_IF_MATCH_QUOTED, 10000},
	{"backblaze", ".backblazeb2.com", false, S3_IF_MATCH_NONE, 10000},
	{"ceph", NULL, true, S3_IF_MATCH_BARE, 10000},
	{"cloudflare", ".r2.cloudflarestorage.com", true, S3_IF_MATCH_QUOTED, 10000},
	{"garage", NULL, false, S3_IF_MATCH_NONE, 10000},
	{"minio", NULL, true, S3_IF_MATCH_QUOTED, 10000},
	{"ovh", ".cloud.ovh.net", true, S3_IF_MATCH_QUOTED, 10000},
	{"scaleway", ".scw.cloud", true, S3_IF_MATCH_QUOTED, 1000},
};
static const struct s3_quirks other = {"other", NULL, true, S3_IF_MATCH_QUOTED, 10000};

const struct s3_quirks *s3_quirks_of(const char *name, const char *host)
{
	_cleanup_free_ char *bare = xstrndup(host, strcspn(host, ":"));
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (name != NULL ? strcmp(known[i].name, name) == 0
		                 : known[i].host != NULL && str_ends(bare, known[i].host))
			return &known[i];
	return &other;
}
