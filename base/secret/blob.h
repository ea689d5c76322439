/* What SSH packs its keys and signatures into (RFC 4251, 5): numbers of 32 bits, and strings with their length in front. */
#pragma once
#include "base/core/str.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is left of one. */
struct blob {
	const unsigned char *at;
	size_t left;
};
/* False: less is left. */
bool blob_take(struct blob *b, size_t len, struct blob *ret);
bool blob_take_number(struct blob *b, uint32_t *ret);
bool blob_take_string(struct blob *b, struct blob *ret);
void blob_put_string(struct str *out, const void *data, size_t len);
bool blob_is_text(const struct blob *b, const char *text);
