#include "base/secret/blob.h"

#include <string.h>

bool blob_take(struct blob *b, size_t len, struct blob *ret)
{
	if (len > b->left)
		return false;
	*ret = (struct blob){b->at, len};
	b->at += len;
	b->left -= len;
	return true;
}

bool blob_take_number(struct blob *b, uint32_t *ret)
{
	struct blob n;
	if (!blob_take(b, 4, &n))
		return false;
	*ret = (uint32_t)n.at[0] << 24 | (uint32_t)n.at[1] << 16 | (uint32_t)n.at[2] << 8 | n.at[3];
	return true;
}

bool blob_take_string(struct blob *b, struct blob *ret)
{
	uint32_t len;
	return blob_take_number(b, &len) && blob_take(b, len, ret);
}

bool blob_is_text(const struct blob *b, const char *text)
{
	return b->left == strlen(text) && memcmp(b->at, text, b->left) == 0;
}

void blob_put_string(struct str *out, const void *data, size_t len)
{
	const unsigned char size[] = {(unsigned char)(len >> 24), (unsigned char)(len >> 16), (unsigned char)(len >> 8),
	                              (unsigned char)len};
	str_append_n(out, size, sizeof(size));
	str_append_n(out, data, len);
}
