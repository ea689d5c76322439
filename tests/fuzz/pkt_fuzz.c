/* Packet lines from the network: the same lines however they are cut into pieces. */
#include "base/git/protocol_v2.h"

#include <stdlib.h>
#include <string.h>

struct seen {
	size_t lines, bytes;
	unsigned sum;
};

static int on_line(void *context, int kind, const char *data, size_t len, struct err *err)
{
	struct seen *s = context;
	(void)err;
	if (kind < -1 || kind > 2 || (kind >= 0 && len > 0) || len > 65516)
		abort();
	s->lines++;
	s->bytes += len;
	s->sum = s->sum * 31 + (unsigned)(kind + 2);
	for (size_t i = 0; i < len; i++)
		s->sum = s->sum * 31 + (unsigned char)data[i];
	return 0;
}

static int read_all(const uint8_t *data, size_t size, size_t piece, struct seen *ret)
{
	struct pkt_reader reader = {.line = STR_INIT(65520), .on_line = on_line, .context = ret};
	struct err err = ERR_INIT;
	int r = 0;
	for (size_t at = 0; r >= 0 && at < size; at += piece)
		r = pkt_feed(&reader, data + at, MIN(piece, size - at), &err);
	str_done(&reader.line);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole = {0}, parts = {0};
	if (size < 2)
		return 0;
	int a = read_all(data + 1, size - 1, size, &whole),
	    b = read_all(data + 1, size - 1, (size_t)data[0] + 1, &parts);
	if (a != b || memcmp(&whole, &parts, sizeof(whole)) != 0)
		abort();
	return 0;
}
