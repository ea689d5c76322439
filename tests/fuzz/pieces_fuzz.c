/* A copy comes from a target or a bucket: it is read, or refused with a reason, and nothing of it is handed on unproven. */
#include "base/secret/pieces.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Made with this key under this name is what stands in corpus/pieces. */
static const char secret[] = "0123456789abcdef0123456789abcdef", name[] = "shop.test/1/0-vault-0";
static const char content[] = "headThe content.";

struct taken {
	char all[64];
	size_t len;
};

static int take(void *context, uint64_t number, const void *given, size_t len, struct err *err)
{
	struct taken *t = context;
	(void)number;
	(void)err;
	if (t->len + len > sizeof(content) - 1 || memcmp(given, content + t->len, len) != 0)
		abort();
	t->len += len;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pieces_reader *r _cleanup_(pieces_reader_freep) = NULL;
	struct pieces_key key;
	struct taken taken = {0};
	struct err err = ERR_INIT;
	size_t first = size > 0 ? data[0] % (size + 1) : 0;
	if (pieces_key_read(secret, &key, NULL) < 0 || pieces_reader_new(&key, name, take, &taken, &r, NULL) < 0)
		abort();
	int e = pieces_read(r, data, first, &err);
	if (e == 0)
		e = pieces_read(r, data + first, size - first, &err);
	if (e == 0)
		e = pieces_read_end(r, &err);
	if (e < 0 ? err.frame_count == 0 : taken.len != sizeof(content) - 1)
		abort();
	return 0;
}
