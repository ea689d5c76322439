/* A WebSocket server is foreign: whatever frames it sends, they are read within bounds or refused with a reason, and the same bytes in pieces are
 * read as the whole. The first byte says how long the pieces are, and whose frames they are. */
#include "base/net/websocket.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MESSAGE_MAX = 1000 };

struct heard {
	struct str text;
	int count;
};

static int on_event(void *context, enum websocket_kind kind, const char *data, size_t len, struct err *err)
{
	struct heard *h = context;
	(void)err;
	if (len > MESSAGE_MAX || (kind == WEBSOCKET_TEXT && !str_is_utf8(data, len)))
		abort();
	h->count++;
	str_appendf(&h->text, "%d:%zu:", (int)kind, len);
	str_append_n(&h->text, data, len);
	return 0;
}

static int read_all(const uint8_t *data, size_t size, size_t piece, bool from_client, struct heard *ret)
{
	struct websocket_reader r = {.from_client = from_client, .message_max = MESSAGE_MAX};
	struct err err = ERR_INIT;
	int result = 0;
	for (size_t at = 0; result >= 0 && at < size; at += piece) {
		size_t left = size - at;
		result = websocket_reader_feed(&r, data + at, MIN(piece, left), on_event, ret, &err);
	}
	if (result < 0 && err.frame_count == 0)
		abort();
	websocket_reader_done(&r);
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct heard whole = {.text = STR_INIT(1 << 24)}, pieces = {.text = STR_INIT(1 << 24)};
	size_t piece = (size_t)(data[0] >> 1) + 1;
	bool from_client = data[0] & 1;
	int one = read_all(data + 1, size - 1, size, from_client, &whole);
	int other = read_all(data + 1, size - 1, piece, from_client, &pieces);
	if (one != other || whole.count != pieces.count || whole.text.len != pieces.text.len ||
	    memcmp(str_peek(&whole.text), str_peek(&pieces.text), whole.text.len) != 0)
		abort();
	str_done(&whole.text);
	str_done(&pieces.text);
	return 0;
}
