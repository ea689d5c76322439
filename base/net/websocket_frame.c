/* websocket_frame: the bytes of frames, made and read [RFC 6455, 5]. */
#include "base/net/websocket.h"

#include "base/core/mem.h"
#include "base/secret/base64.h"

#include <openssl/evp.h>
#include <string.h>

enum {
	FINAL = 0x80,
	RESERVED = 0x70,
	KIND = 0x0f,
	MASKED = 0x80,
	LENGTH = 0x7f,
	SHORT_MAX = 125,
	LENGTH_16 = 126,
	LENGTH_64 = 127,
	CONTROL = 8,
	MESSAGE_MAX = 64 << 10,
	FRAMES_MAX = 1024, /* of a message: empty ones cost nothing to send */
};

/* ---- out ---- */

static void apply_mask(char *data, size_t len, const unsigned char mask[4], uint64_t from)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (char)((unsigned char)data[i] ^ mask[(from + i) & 3]);
}

void websocket_frame(struct str *out, enum websocket_kind kind, bool final, const unsigned char mask[4],
                     const void *data, size_t len)
{
	char head[14];
	size_t n = 2, wide = len <= SHORT_MAX ? 0 : len <= UINT16_MAX ? 2 : 8;
	head[0] = (char)((final ? FINAL : 0) | (int)kind);
	head[1] = (char)((mask != NULL ? MASKED : 0) | (wide == 0 ? (int)len : wide == 2 ? LENGTH_16 : LENGTH_64));
	for (size_t i = wide; i > 0; i--)
		head[n++] = (char)((uint64_t)len >> (8 * (i - 1)) & 0xff);
	if (mask != NULL) {
		memcpy(head + n, mask, 4);
		n += 4;
	}
	str_append_n(out, head, n);
	size_t start = out->len;
	if (str_append_n(out, data, len) && mask != NULL && len > 0)
		apply_mask(out->data + start, len, mask, 0);
}

void websocket_close_payload(struct str *out, int status, const char *reason)
{
	const char number[2] = {(char)(status >> 8 & 0xff), (char)(status & 0xff)};
	size_t len = strlen(reason), room = SHORT_MAX - sizeof(number);
	str_append_n(out, number, sizeof(number));
	str_append_n(out, reason, len <= room ? len : str_whole_characters(reason, room));
}

char *websocket_accept(const char *key)
{
	_cleanup_free_ char *text = xasprintf("%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
	struct str out = STR_INIT(64);
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	if (EVP_Digest(text, strlen(text), sum, &len, EVP_sha1(), NULL) != 1)
		abort();
	base64_encode(sum, len, &out);
	return str_take(&out);
}

/* ---- in ---- */

static int bad(struct err *err, const char *what)
{
	return err_set(err, ERR_PROTOCOL, "a WebSocket frame %s", what);
}

static bool is_control(enum websocket_kind kind)
{
	return (kind & CONTROL) != 0;
}

/* How many bytes the head has, from those that are there. */
static size_t head_size(const struct websocket_reader *r)
{
	if (r->head_len < 2)
		return 2;
	int length = r->head[1] & LENGTH;
	return (size_t)(2 + (length == LENGTH_16 ? 2 : length == LENGTH_64 ? 8 : 0) + (r->head[1] & MASKED ? 4 : 0));
}

static int read_length(struct websocket_reader *r, struct err *err)
{
	int length = r->head[1] & LENGTH, wide = length == LENGTH_16 ? 2 : length == LENGTH_64 ? 8 : 0;
	r->left = wide == 0 ? (uint64_t)length : 0;
	for (int i = 0; i < wide; i++)
		r->left = r->left << 8 | r->head[2 + i];
	if ((wide == 2 && r->left <= SHORT_MAX) || (wide == 8 && r->left <= UINT16_MAX))
		return bad(err, "has a longer form of its length than it needs");
	if (r->left >> 63 != 0)
		return bad(err, "is longer than there are numbers for");
	if (r->head[1] & MASKED)
		memcpy(r->mask, r->head + 2 + wide, 4);
	return 0;
}

static int check_control(const struct websocket_reader *r, struct err *err)
{
	if (r->kind != WEBSOCKET_CLOSE && r->kind != WEBSOCKET_PING && r->kind != WEBSOCKET_PONG)
		return bad(err, "is of a kind that is not defined");
	if (!r->final)
		return bad(err, "of control is in pieces");
	return r->left > SHORT_MAX ? bad(err, "of control is longer than 125 bytes") : 0;
}

static int check_data(struct websocket_reader *r, struct err *err)
{
	size_t max = r->message_max != 0 ? r->message_max : MESSAGE_MAX;
	if (r->kind > WEBSOCKET_BINARY)
		return bad(err, "is of a kind that is not defined");
	if ((r->kind == WEBSOCKET_CONTINUATION) != (r->frames > 0))
		return bad(err, r->frames > 0 ? "begins a message within another"
		                              : "continues a message that has not begun");
	if (r->left > max - r->message.len)
		return err_set(err, ERR_LIMIT, "a WebSocket message is larger than %zu bytes", max);
	if (r->frames == FRAMES_MAX)
		return err_set(err, ERR_LIMIT, "a WebSocket message has more than %d frames", FRAMES_MAX);
	if (r->frames++ == 0) {
		r->message_kind = r->kind;
		r->message.max = max + 1;
	}
	return 0;
}

static int begin_frame(struct websocket_reader *r, struct err *err)
{
	r->final = (r->head[0] & FINAL) != 0;
	r->kind = (enum websocket_kind)(r->head[0] & KIND);
	r->taken = 0;
	r->in_payload = true;
	if (r->head[0] & RESERVED)
		return bad(err, "uses an extension that was not agreed on");
	if (((r->head[1] & MASKED) != 0) != r->from_client)
		return bad(err, r->from_client ? "of a client is not masked" : "of a server is masked");
	int e = read_length(r, err);
	if (e < 0)
		return e;
	return is_control(r->kind) ? check_control(r, err) : check_data(r, err);
}

static bool is_status(int status)
{
	return (status >= 1000 && status <= 1014 && (status < 1004 || status > 1006)) ||
	       (status >= 3000 && status <= 4999);
}

int websocket_close_status(const char *data, size_t len)
{
	return len < 2 ? WEBSOCKET_NO_STATUS : (unsigned char)data[0] << 8 | (unsigned char)data[1];
}

static int end_control(struct websocket_reader *r, websocket_event_fn event, void *context, struct err *err)
{
	const char *data = (const char *)r->control;
	size_t len = (size_t)r->taken;
	if (r->kind == WEBSOCKET_CLOSE) {
		r->closed = true;
		if (len == 1 || (len > 1 && !is_status(websocket_close_status(data, len))))
			return bad(err, "closes with a status that is not defined");
		if (len > 2 && !str_is_utf8(data + 2, len - 2))
			return bad(err, "closes with a reason that is not UTF-8");
	}
	return event != NULL ? event(context, r->kind, data, len, err) : 0;
}

static int end_message(struct websocket_reader *r, websocket_event_fn event, void *context, struct err *err)
{
	const char *data = str_peek(&r->message);
	size_t len = r->message.len;
	if (r->message_kind == WEBSOCKET_TEXT && !str_is_utf8(data, len))
		return bad(err, "has a text that is not UTF-8");
	int e = event != NULL ? event(context, r->message_kind, data, len, err) : 0;
	str_clear(&r->message);
	r->frames = 0;
	return e;
}

static int end_frame(struct websocket_reader *r, websocket_event_fn event, void *context, struct err *err)
{
	r->in_payload = false;
	r->head_len = 0;
	if (is_control(r->kind))
		return end_control(r, event, context, err);
	return r->final ? end_message(r, event, context, err) : 0;
}

static size_t take_payload(struct websocket_reader *r, const char *data, size_t len)
{
	size_t n = (size_t)MIN((uint64_t)len, r->left);
	char *to;
	if (is_control(r->kind)) {
		to = (char *)r->control + r->taken;
		memcpy(to, data, n);
	} else {
		size_t start = r->message.len;
		if (!str_append_n(&r->message, data, n))
			return 0;
		to = r->message.data + start;
	}
	if (r->from_client)
		apply_mask(to, n, r->mask, r->taken);
	r->taken += n;
	r->left -= n;
	return n;
}

int websocket_reader_feed(struct websocket_reader *r, const void *data, size_t len, websocket_event_fn event,
                          void *context, struct err *err)
{
	const char *from = data;
	int e = 0;
	while (e >= 0 && !r->closed && (len > 0 || (r->in_payload && r->left == 0))) {
		size_t n;
		if (!r->in_payload) {
			size_t missing = head_size(r) - r->head_len;
			n = MIN(len, missing);
			memcpy(r->head + r->head_len, from, n);
			r->head_len += n;
			if (r->head_len >= 2 && r->head_len == head_size(r))
				e = begin_frame(r, err);
		} else if (r->left > 0) {
			n = take_payload(r, from, len);
			if (n == 0)
				e = err_set(err, ERR_LIMIT, "no memory for a WebSocket message");
		} else {
			n = 0;
			e = end_frame(r, event, context, err);
		}
		from += n;
		len -= n;
	}
	return e;
}

void websocket_reader_done(struct websocket_reader *r)
{
	str_done(&r->message);
}
