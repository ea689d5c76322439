/* What a job sends to the storage: a list of blocks names blocks that fit, and ends; a range lies within the content. */
#include "agent/forge/services_priv.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void read_list(const char *xml, size_t len)
{
	char id[STORAGE_BLOCK_ID_MAX + 1];
	size_t at = 0, before = 0;
	while (storage_next_block(xml, len, &at, id)) {
		if (at <= before || at > len || *id == '\0' || strlen(id) > STORAGE_BLOCK_ID_MAX ||
		    strchr(id, '<') != NULL)
			abort();
		before = at;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int64_t sizes[] = {0, 1, 10, INT64_MAX};
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	_cleanup_free_ char *exact = xmemdup(data, size); /* no byte more, so that a read beyond it is seen */
	read_list(exact, size);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		int64_t from, len;
		if (storage_range(text, sizes[i], &from, &len) && (from < 0 || len <= 0 || from > sizes[i] - len))
			abort();
	}
	return 0;
}
