/* WebSocket (RFC 6455): frames for both ends, and a client that waits for nothing by itself. libcurl connects (names, proxies, TLS,
 * trust), by the client it is given; its own WebSocket calls are missing where it was built without them, as Debian 12's is. Extensions
 * and subprotocols are neither offered nor accepted. */
#pragma once
#include "base/net/http.h"

enum websocket_kind {
	WEBSOCKET_CONTINUATION = 0,
	WEBSOCKET_TEXT = 1,
	WEBSOCKET_BINARY = 2,
	WEBSOCKET_CLOSE = 8,
	WEBSOCKET_PING = 9,
	WEBSOCKET_PONG = 10,
};
/* Status of a close [7.4.1]. */
enum { WEBSOCKET_NORMAL = 1000, WEBSOCKET_BAD = 1002, WEBSOCKET_NO_STATUS = 1005, WEBSOCKET_TOO_LARGE = 1009 };

/* ---- websocket_frame.c */

/* Appends one frame. mask: the four bytes that a client masks with; NULL: a server's, which is not masked. */
void websocket_frame(struct str *out, enum websocket_kind kind, bool final, const unsigned char mask[4],
                     const void *data, size_t len);
/* The payload of a close: status and reason. */
void websocket_close_payload(struct str *out, int status, const char *reason);
/* What the server must answer to that key [4.2.2]. free() */
char *websocket_accept(const char *key);

/* Frames as they arrive, in pieces of any size. All zero but the members below is a fresh one. */
struct websocket_reader {
	bool from_client;   /* it reads what clients send: each frame must be masked, else none may be */
	size_t message_max; /* of a message's bytes, over all its frames; 0: 64 KiB */

	unsigned char head[14];
	size_t head_len;
	unsigned char mask[4];
	uint64_t left, taken; /* of the present frame's payload */
	bool in_payload, final, closed;
	enum websocket_kind kind, message_kind; /* message_kind CONTINUATION: no message has begun */
	int frames;                             /* of the present message */
	struct str message;
	unsigned char control[125];
};
/* A whole message, or a control frame; the data is lent, and not NUL-terminated. < 0 stops the reader with that error. */
typedef int (*websocket_event_fn)(void *context, enum websocket_kind kind, const char *data, size_t len,
                                  struct err *err);
/* ERR_PROTOCOL: no such frame is allowed; ERR_LIMIT: the message is larger than the reader takes, known from its head alone. What
 * comes behind a close is dropped. */
int websocket_reader_feed(struct websocket_reader *r, const void *data, size_t len, websocket_event_fn event,
                          void *context, struct err *err);
void websocket_reader_done(struct websocket_reader *r);
/* The status in the payload of a close that was read; WEBSOCKET_NO_STATUS: it has none. */
int websocket_close_status(const char *data, size_t len);

/* ---- websocket.c: the client */

enum websocket_state {
	WEBSOCKET_OPENING,
	WEBSOCKET_OPEN,
	WEBSOCKET_CLOSING, /* our close is on its way, or the server's answer to it */
	WEBSOCKET_CLOSED,  /* over, however that came (websocket_error) */
};
struct websocket_request {
	const char *url;            /* ws, wss, http or https */
	const char *const *headers; /* "Name: value", NULL-terminated; may be NULL */
	int64_t timeout_ms;         /* until it is open; 0: 30 s */
	size_t queue_max;           /* bytes that wait to be sent; 0: 256 KiB */
	/* Messages of the server, if anybody wants them; pings are answered in any case. It must not free the connection. */
	websocket_event_fn on_message;
	void *context;
};
struct websocket;
/* Begins to connect; http_step of that client drives it, and the client must outlive the connection. NULL: see err. */
struct websocket *websocket_open(struct http *h, const struct websocket_request *request, struct err *err);
void websocket_free(struct websocket *ws); /* at once: websocket_close says it to the server before */
void websocket_freep(struct websocket **ws);
enum websocket_state websocket_state(const struct websocket *ws);
/* Why it is over; NULL: it is not, or both ends closed it. ERR_AUTH: the server refuses the credential (401, 403). */
const struct err *websocket_error(const struct websocket *ws);
/* Queues a message; ERR_LIMIT: it has no room, nothing of it is queued. ERR_NETWORK: it is not open. */
int websocket_send(struct websocket *ws, const char *text, size_t len, struct err *err);
/* Bytes that the system has not taken yet. */
size_t websocket_unsent(const struct websocket *ws);
/* Queues a close; no message can follow. After 2 s without the server's answer it is over. */
void websocket_close(struct websocket *ws, int status);
/* What to wait for: false: for no descriptor. *max_ms becomes shorter where something is due. */
struct pollfd;
bool websocket_poll(const struct websocket *ws, struct pollfd *ret, int64_t *max_ms);
/* Reads and sends what can be without waiting. ready: something was seen on the descriptor; else nothing is read unless it is left from
 * before. */
void websocket_turn(struct websocket *ws, bool ready);
