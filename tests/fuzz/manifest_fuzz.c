/* A manifest comes from a target: read or refused with a reason; what was read is written and read again as the same. */
#include "steps/common/manifest.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct manifest m = {0}, again = {0};
	struct err err = ERR_INIT;
	if (manifest_parse("fuzz", (const char *)data, size, &m, &err) < 0) {
		if (err.frame_count == 0)
			abort();
		return 0;
	}
	_cleanup_(str_done) struct str text = STR_INIT(MANIFEST_MAX);
	manifest_write(m.head, &m.tree, m.blobs, &text);
	if (manifest_parse("again", str_peek(&text), text.len, &again, &err) < 0 || again.tree.count != m.tree.count)
		abort();
	char first[65], second[65];
	manifest_tree_digest(&m.tree, first);
	manifest_tree_digest(&again.tree, second);
	if (strcmp(first, second) != 0)
		abort();
	manifest_done(&again);
	manifest_done(&m);
	return 0;
}
