/* websocket: the client's end of one connection: the handshake, what waits to be sent, and what was read. */
#include "base/net/websocket.h"

#include "base/core/clock.h"
#include "base/core/rand.h"
#include "base/net/http_priv.h"
#include "base/secret/base64.h"

#include <poll.h>
#include <stdio.h>
#include <strings.h>

enum {
	OPEN_MS = 30000,
	CLOSE_MS = 2000,
	HEAD_MAX = 16 << 10, /* of the server's answer */
	ASK_MAX = 64 << 10,  /* of our request, with its token */
	QUEUE_MAX = 256 << 10,
	CONTROL_ROOM = 4 << 10, /* beyond the queue, for answers to pings; further ones are not answered */
	READ_CHUNK = 4096,
	READS_A_TURN = 16, /* so that a server that never stops holds nobody up */
};

struct websocket {
	struct http *client;
	struct http_transfer *connecting; /* until the connection stands */
	CURL *easy;
	curl_socket_t fd;
	enum websocket_state state;
	char *label, *accept;
	bool shaken; /* the server agreed */
	bool closed_here, more;
	struct str out, head;
	size_t sent; /* of out */
	size_t queue_max;
	int64_t until_mono_ms; /* of the opening, and of the close; 0: none */
	struct websocket_reader reader;
	websocket_event_fn on_message;
	void *context;
	struct err *err; /* NULL: nothing failed */
};

static struct err *error_of(struct websocket *ws)
{
	if (ws->err == NULL) {
		ws->err = xmalloc(sizeof(*ws->err));
		*ws->err = (struct err)ERR_INIT;
	}
	return ws->err;
}

static void hang_up(struct websocket *ws)
{
	http_cancel(TAKE(ws->connecting));
	if (ws->easy != NULL) {
		curl_multi_remove_handle(ws->client->multi, ws->easy);
		curl_easy_cleanup(TAKE(ws->easy));
	}
	ws->fd = CURL_SOCKET_BAD;
	ws->state = WEBSOCKET_CLOSED;
}

static void fail(struct websocket *ws, int code, const char *what)
{
	err_set(error_of(ws), code, "%s: %s", ws->label, what);
	hang_up(ws);
}

/* ---- the handshake [4.1] ---- */

static void connected(void *context, int result, struct http_response *response, const struct err *err)
{
	struct websocket *ws = context;
	struct http_transfer *t = TAKE(ws->connecting);
	(void)response;
	if (result < 0) {
		*error_of(ws) = *err;
		hang_up(ws);
		return;
	}
	ws->easy = TAKE(t->easy);
	curl_easy_setopt(ws->easy, CURLOPT_ERRORBUFFER, NULL);
	curl_easy_setopt(ws->easy, CURLOPT_PRIVATE, NULL);
	if (curl_easy_getinfo(ws->easy, CURLINFO_ACTIVESOCKET, &ws->fd) != CURLE_OK || ws->fd == CURL_SOCKET_BAD)
		fail(ws, ERR_NETWORK, "the server closed the connection at once");
}

/* "http://…" of "ws://…"; NULL: it is another scheme. */
static char *http_url(const char *url)
{
	if (strncasecmp(url, "ws://", 5) == 0 || strncasecmp(url, "wss://", 6) == 0)
		return xasprintf("http%s", url + 2);
	return strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0 ? xstrdup(url) : NULL;
}

static char *part_of(CURLU *u, CURLUPart part)
{
	char *text = NULL;
	if (curl_url_get(u, part, &text, 0) != CURLUE_OK)
		return NULL;
	char *copy = xstrdup(text);
	curl_free(text);
	return copy;
}

static int make_request(struct websocket *ws, const char *url, const char *const *headers, struct err *err)
{
	unsigned char nonce[16];
	struct str key = STR_INIT(64);
	CURLU *u = curl_url();
	bool good = u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK;
	_cleanup_free_ char *host = good ? part_of(u, CURLUPART_HOST) : NULL, *port = part_of(u, CURLUPART_PORT),
			    *path = part_of(u, CURLUPART_PATH), *query = part_of(u, CURLUPART_QUERY);
	curl_url_cleanup(u);
	if (host == NULL)
		return err_set(err, ERR_INVALID, "%s is no address of a WebSocket", ws->label);
	rand_fill(nonce, sizeof(nonce));
	base64_encode(nonce, sizeof(nonce), &key);
	ws->accept = websocket_accept(str_peek(&key));
	str_appendf(&ws->out, "GET %s%s%s HTTP/1.1\r\nHost: %s%s%s\r\n", path, query != NULL ? "?" : "",
	            query != NULL ? query : "", host, port != NULL ? ":" : "", port != NULL ? port : "");
	str_appendf(&ws->out,
	            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
	            "Sec-WebSocket-Key: %s\r\nUser-Agent: %s\r\n",
	            str_peek(&key), ws->client->user_agent);
	str_done(&key);
	for (; headers != NULL && *headers != NULL; headers++) {
		if (strpbrk(*headers, "\r\n") != NULL)
			return err_set(err, ERR_INVALID, "a header holds a line break: '%.*s'",
			               (int)strcspn(*headers, ":\r\n"), *headers);
		str_appendf(&ws->out, "%s\r\n", *headers);
	}
	str_append(&ws->out, "\r\n");
	return ws->out.failed ? err_set(err, ERR_LIMIT, "the request to %s is too large", ws->label) : 0;
}

struct websocket *websocket_open(struct http *h, const struct websocket_request *request, struct err *err)
{
	_cleanup_free_ char *url = http_url(request->url);
	if (url == NULL) {
		err_set(err, ERR_INVALID, "'%.100s' is no address of a WebSocket", request->url);
		return NULL;
	}
	int64_t timeout = request->timeout_ms > 0 ? request->timeout_ms : OPEN_MS;
	struct http_request connect = {.url = url, .timeout_ms = timeout, .connect_timeout_ms = timeout};
	struct http_transfer *t = http_transfer_new(h, &connect, err);
	if (t == NULL)
		return NULL;
	struct websocket *ws = xcalloc(1, sizeof(*ws));
	*ws = (struct websocket){.client = h,
	                         .fd = CURL_SOCKET_BAD,
	                         .label = xstrdup(t->label),
	                         .out = STR_SECRET_INIT(ASK_MAX),
	                         .head = STR_INIT(HEAD_MAX),
	                         .queue_max = request->queue_max > 0 ? request->queue_max : QUEUE_MAX,
	                         .until_mono_ms = clock_mono_ms() + timeout,
	                         .on_message = request->on_message,
	                         .context = request->context};
	t->upgrade = true;
	t->done = connected;
	t->done_context = ws;
	int r = make_request(ws, url, request->headers, err);
	if (r < 0)
		http_transfer_free(t);
	else
		r = http_launch(t, err);
	if (r < 0) {
		websocket_free(ws);
		return NULL;
	}
	ws->connecting = t;
	return ws;
}

/* The header's value in the answer's head, without blanks around it; free(). NULL: it is not there. Two of one name are as good as none. */
static char *header_of(const char *head, const char *name)
{
	char *value = NULL;
	size_t len = strlen(name);
	for (const char *line = strstr(head, "\r\n"); line != NULL && line[2] != '\r';
	     line = strstr(line + 2, "\r\n")) {
		const char *text = line + 2;
		if (strncasecmp(text, name, len) != 0 || text[len] != ':')
			continue;
		if (value != NULL) {
			free(value);
			return NULL;
		}
		text += len + 1 + strspn(text + len + 1, " \t");
		size_t n = strcspn(text, "\r\n");
		while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'))
			n--;
		value = xstrndup(text, n);
	}
	return value;
}

/* Is that word in a list with commas? */
static bool names(const char *list, const char *word)
{
	size_t len = strlen(word);
	for (; list != NULL && *list != '\0'; list += strcspn(list, ","), list += *list == ',') {
		const char *from = list + strspn(list, " \t");
		if (strncasecmp(from, word, len) == 0 && strchr(" \t,", from[len]) != NULL)
			return true;
	}
	return false;
}

static void refuse(struct websocket *ws, int status)
{
	char text[64];
	(void)snprintf(text, sizeof(text), "the server answers %d in place of a WebSocket", status);
	fail(ws, status == 401 || status == 403 ? ERR_AUTH : ERR_PROTOCOL, text);
}

static void take_head(struct websocket *ws)
{
	int status = 0;
	const char *head = str_peek(&ws->head);
	if (strlen(head) != ws->head.len || sscanf(head, "HTTP/1.1 %3d", &status) != 1) {
		fail(ws, ERR_PROTOCOL, "the server's answer is not HTTP/1.1");
		return;
	}
	if (status != 101) {
		refuse(ws, status);
		return;
	}
	_cleanup_free_ char *upgrade = header_of(head, "Upgrade"), *connection = header_of(head, "Connection"),
			    *accept = header_of(head, "Sec-WebSocket-Accept"),
			    *extensions = header_of(head, "Sec-WebSocket-Extensions"),
			    *protocol = header_of(head, "Sec-WebSocket-Protocol");
	if (upgrade == NULL || strcasecmp(upgrade, "websocket") != 0 || !names(connection, "upgrade"))
		fail(ws, ERR_PROTOCOL, "the server upgrades to something else");
	else if (accept == NULL || strcmp(accept, ws->accept) != 0)
		fail(ws, ERR_PROTOCOL, "the server's Sec-WebSocket-Accept is not the answer to our key");
	else if (extensions != NULL || protocol != NULL)
		fail(ws, ERR_PROTOCOL, "the server chose an extension that was not offered");
	if (ws->state == WEBSOCKET_CLOSED)
		return;
	ws->shaken = true;
	ws->state = WEBSOCKET_OPEN;
	ws->until_mono_ms = 0;
	str_done(&ws->out); /* its token is wiped */
	ws->out = (struct str)STR_INIT(ws->queue_max + CONTROL_ROOM);
	ws->sent = 0;
}

/* ---- what is read ---- */

static void queue(struct websocket *ws, enum websocket_kind kind, const char *data, size_t len)
{
	unsigned char mask[4];
	size_t start = ws->out.len;
	rand_fill(mask, sizeof(mask));
	websocket_frame(&ws->out, kind, true, mask, data, len);
	if (ws->out.failed) { /* half a frame would spoil all that follow */
		ws->out.failed = false;
		str_truncate(&ws->out, start);
	}
}

static int on_event(void *context, enum websocket_kind kind, const char *data, size_t len, struct err *err)
{
	struct websocket *ws = context;
	switch (kind) {
	case WEBSOCKET_PING:
		if (!ws->closed_here)
			queue(ws, WEBSOCKET_PONG, data, len);
		return 0;
	case WEBSOCKET_CLOSE:
		if (!ws->closed_here)
			websocket_close(ws, WEBSOCKET_NORMAL);
		return 0;
	case WEBSOCKET_TEXT:
	case WEBSOCKET_BINARY:
		return ws->on_message != NULL ? ws->on_message(ws->context, kind, data, len, err) : 0;
	default:
		return 0;
	}
}

static void write_out(struct websocket *ws);

/* What the server must hear before the end, if it can be said at once. */
static void spoil(struct websocket *ws, int code)
{
	if (!ws->closed_here)
		websocket_close(ws, code == ERR_LIMIT ? WEBSOCKET_TOO_LARGE : WEBSOCKET_BAD);
	write_out(ws);
	hang_up(ws);
}

static void take_frames(struct websocket *ws, const char *data, size_t len)
{
	struct err err = ERR_INIT;
	int r = websocket_reader_feed(&ws->reader, data, len, on_event, ws, &err);
	if (r >= 0)
		return;
	*error_of(ws) = err;
	err_wrap(ws->err, r, "%s", ws->label);
	spoil(ws, r);
}

/* Up to the empty line; what is behind it are frames. */
static void take_answer(struct websocket *ws, const char *data, size_t len)
{
	size_t before = ws->head.len;
	if (!str_append_n(&ws->head, data, len)) {
		fail(ws, ERR_LIMIT, "the head of the server's answer is too large");
		return;
	}
	const char *end = strstr(ws->head.data, "\r\n\r\n");
	if (end == NULL)
		return;
	size_t head = (size_t)(end - ws->head.data) + 4;
	str_truncate(&ws->head, head);
	take_head(ws);
	if (ws->state == WEBSOCKET_OPEN)
		take_frames(ws, data + (head - before), len - (head - before));
}

static void read_in(struct websocket *ws)
{
	char buffer[READ_CHUNK];
	ws->more = false;
	for (int i = 0; ws->easy != NULL && i < READS_A_TURN; i++) {
		size_t n = 0;
		CURLcode code = curl_easy_recv(ws->easy, buffer, sizeof(buffer), &n);
		if (code == CURLE_AGAIN)
			return;
		if (code != CURLE_OK) {
			net_curl_err(code, NULL, ws->label, error_of(ws));
			hang_up(ws);
			return;
		}
		if (n == 0) {
			if (ws->reader.closed)
				hang_up(ws);
			else
				fail(ws, ERR_NETWORK, "the server closed the connection");
			return;
		}
		if (ws->shaken)
			take_frames(ws, buffer, n);
		else
			take_answer(ws, buffer, n);
	}
	ws->more = ws->easy != NULL;
}

/* ---- what is sent ---- */

static void write_out(struct websocket *ws)
{
	if (ws->out.len == 0 || ws->easy == NULL)
		return;
	while (ws->easy != NULL && ws->sent < ws->out.len) {
		size_t n = 0;
		CURLcode code = curl_easy_send(ws->easy, ws->out.data + ws->sent, ws->out.len - ws->sent, &n);
		if (code == CURLE_AGAIN)
			return;
		if (code != CURLE_OK) {
			if (ws->err == NULL)
				net_curl_err(code, NULL, ws->label, error_of(ws));
			hang_up(ws);
			return;
		}
		ws->sent += n;
	}
	str_clear(&ws->out);
	ws->sent = 0;
}

size_t websocket_unsent(const struct websocket *ws)
{
	return ws->out.len - ws->sent;
}

int websocket_send(struct websocket *ws, const char *text, size_t len, struct err *err)
{
	if (ws->state != WEBSOCKET_OPEN)
		return err_set(err, ERR_NETWORK, "%s is not open", ws->label);
	str_remove_front(&ws->out, ws->sent);
	ws->sent = 0;
	if (ws->out.len > ws->queue_max || len > ws->queue_max - ws->out.len)
		return err_set(err, ERR_LIMIT, "%s: %zu bytes wait to be sent", ws->label, ws->out.len);
	queue(ws, WEBSOCKET_TEXT, text, len);
	return 0;
}

void websocket_close(struct websocket *ws, int status)
{
	struct str payload = STR_INIT(128);
	if (ws->state != WEBSOCKET_OPEN)
		return;
	websocket_close_payload(&payload, status, "");
	queue(ws, WEBSOCKET_CLOSE, str_peek(&payload), payload.len);
	str_done(&payload);
	ws->closed_here = true;
	ws->state = WEBSOCKET_CLOSING;
	ws->until_mono_ms = clock_mono_ms() + CLOSE_MS;
}

/* ---- the loop ---- */

bool websocket_poll(const struct websocket *ws, struct pollfd *ret, int64_t *max_ms)
{
	if (ws->state == WEBSOCKET_CLOSED)
		return false;
	if (ws->until_mono_ms != 0) {
		int64_t left = ws->until_mono_ms - clock_mono_ms();
		left = MAX(left, 0);
		*max_ms = *max_ms < 0 ? left : MIN(*max_ms, left);
	}
	if (ws->easy == NULL)
		return false;
	if (ws->more)
		*max_ms = 0;
	*ret = (struct pollfd){.fd = ws->fd, .events = (short)(POLLIN | (ws->sent < ws->out.len ? POLLOUT : 0))};
	return true;
}

void websocket_turn(struct websocket *ws, bool ready)
{
	if (ws->state == WEBSOCKET_CLOSED)
		return;
	write_out(ws);
	if (ready || ws->more)
		read_in(ws);
	write_out(ws);
	if (ws->state == WEBSOCKET_CLOSING && ws->reader.closed && ws->sent == ws->out.len)
		hang_up(ws); /* both have said it */
	if (ws->state != WEBSOCKET_CLOSED && ws->until_mono_ms != 0 && clock_mono_ms() >= ws->until_mono_ms)
		fail(ws, ERR_TIMEOUT, ws->shaken ? "the server does not answer the close" : "no answer in time");
}

enum websocket_state websocket_state(const struct websocket *ws)
{
	return ws->state;
}

const struct err *websocket_error(const struct websocket *ws)
{
	return ws->err;
}

void websocket_free(struct websocket *ws)
{
	if (ws == NULL)
		return;
	hang_up(ws);
	websocket_reader_done(&ws->reader);
	str_done(&ws->out);
	str_done(&ws->head);
	free(ws->label);
	free(ws->accept);
	free(ws->err);
	free(ws);
}

void websocket_freep(struct websocket **ws)
{
	websocket_free(*ws);
	*ws = NULL;
}
