#include "base/core/rand.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PART_MAX = 256 }; /* getentropy gives no more at once */

static rand_fill_fn source_fill;
static void *source_context;

void rand_set_source(rand_fill_fn fill, void *context)
{
	source_fill = fill;
	source_context = context;
}

void rand_fill(void *data, size_t size)
{
	if (source_fill) {
		source_fill(source_context, data, size);
		return;
	}
	unsigned char *at = data;
	while (size > 0) {
		size_t part = size > PART_MAX ? PART_MAX : size;
		if (getentropy(at, part) < 0) {
			fputs("davit: the random number generator failed\n", stderr);
			_Exit(70);
		}
		at += part;
		size -= part;
	}
}

uint64_t rand_below(uint64_t bound)
{
	/* Values at or above the largest multiple of bound would favour the small results. */
	uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
	uint64_t value;
	do
		rand_fill(&value, sizeof(value));
	while (value >= limit);
	return value % bound;
}

void rand_hex(char *buf, size_t digits)
{
	static const char alphabet[] = "0123456789abcdef";
	for (size_t i = 0; i < digits; i += 2) {
		unsigned char byte;
		rand_fill(&byte, 1);
		buf[i] = alphabet[byte >> 4];
		if (i + 1 < digits)
			buf[i + 1] = alphabet[byte & 15];
	}
	buf[digits] = '\0';
}

void rand_uuid4(char buf[37])
{
	unsigned char b[16];
	rand_fill(b, sizeof(b));
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	snprintf(buf, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
	         b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}
