#include "agent/service/feed.h"

#include "agent/service/wire.h"
#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/core/rand.h"
#include "base/net/websocket.h"

#include <poll.h>

enum {
	LINES_MAX = 1024,
	BYTES_MAX = 256 << 10, /* of these lines */
	CHARACTERS_MAX = 1024, /* of a line */
	MESSAGE_LINES = 100,
	FLUSH_LINES = 500,
	MESSAGES_MAX = 64, /* made and not sent yet: a flush of lines of many steps */
	LAST_MESSAGES = 2, /* of a step, at the job's end */
	FLUSH_MS = 250,
	SLOW_FLUSH_MS = 500,
	QUICK_ROUNDS = 240,
	MESSAGE_MS = 60000,
	TRIES = 3,
	AGAIN_MIN_MS = 100,
	AGAIN_SPREAD_MS = 401,
	PAUSE_MS = 600000,
	CONNECTIONS_MAX = 50, /* of a job: a server that ends each one after a message gets no more */
	STEP_ID = 37,
};

struct line {
	char step[STEP_ID];
	int64_t number;
	char *text;
	size_t len;
};

struct message {
	char *text;
	int64_t lines;
};

struct feed {
	struct http *http;
	char *url, *token;
	struct websocket *socket; /* NULL: there is none now */
	int tries;                /* failures since a message last left */
	int connections;
	int64_t again_mono_ms;        /* when to connect next */
	struct line lines[LINES_MAX]; /* a ring */
	size_t first, count, bytes;
	struct message messages[MESSAGES_MAX];
	size_t message_first, message_count;
	bool sending; /* the first message lies with the socket */
	int64_t sent_until_mono_ms;
	int rounds;
	int64_t flush_mono_ms; /* not before */
	int64_t dropped;
};

struct feed *feed_new(struct http *h, const char *url, const char *token)
{
	struct feed *f = xcalloc(1, sizeof(*f));
	f->http = h;
	f->url = xstrdup(url);
	f->token = xstrdup(token);
	return f;
}

int64_t feed_dropped(const struct feed *f)
{
	return f->dropped;
}

/* ---- what waits ---- */

static struct line *line_at(struct feed *f, size_t index)
{
	return &f->lines[(f->first + index) % LINES_MAX];
}

static void remove_line(struct feed *f)
{
	struct line *l = line_at(f, 0);
	f->bytes -= l->len;
	free(TAKE(l->text));
	f->first = (f->first + 1) % LINES_MAX;
	f->count--;
}

static void remove_message(struct feed *f)
{
	free(TAKE(f->messages[f->message_first].text));
	f->message_first = (f->message_first + 1) % MESSAGES_MAX;
	f->message_count--;
	f->sending = false;
}

static void drop_all(struct feed *f)
{
	f->dropped += (int64_t)f->count;
	while (f->count > 0)
		remove_line(f);
	while (f->message_count > 0) {
		f->dropped += f->messages[f->message_first].lines;
		remove_message(f);
	}
}

static bool is_paused(const struct feed *f)
{
	return f->tries >= TRIES && clock_mono_ms() < f->again_mono_ms;
}

/* The bytes of the first 1024 characters. */
static size_t cut(const char *text, size_t len)
{
	size_t characters = 0;
	if (len <= CHARACTERS_MAX)
		return len;
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)text[i] & 0xc0) != 0x80 && characters++ == CHARACTERS_MAX)
			return i;
	return len;
}

void feed_text(struct feed *f, const char *step_id, int64_t line, const char *text, size_t len)
{
	size_t shown = cut(text, MIN(len, (size_t)CHARACTERS_MAX * 4 + 1));
	if (len == 0)
		return;
	if (is_paused(f) || f->count == LINES_MAX || shown + 3 > BYTES_MAX - f->bytes || strlen(step_id) >= STEP_ID) {
		f->dropped++;
		return;
	}
	struct line *l = line_at(f, f->count++);
	bool whole = shown == len;
	l->number = line;
	l->len = shown + (whole ? 0 : 3);
	l->text = xmalloc(l->len + 1);
	memcpy(l->text, text, shown);
	memcpy(l->text + shown, whole ? "" : "...", whole ? 1 : 4);
	memcpy(l->step, step_id, strlen(step_id) + 1);
	f->bytes += l->len;
}

void feed_lines(struct feed *f, const char *step_id, int64_t first, const char *text, size_t len)
{
	const char *end = text + len;
	while (text < end) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((stop != NULL ? stop : end) - text);
		/* Once there is no room, what a step prints without end is only counted. */
		if (f->count == LINES_MAX || is_paused(f))
			f->dropped += n > 0;
		else
			feed_text(f, step_id, first, text, n);
		first++;
		text += n + 1;
	}
}

/* ---- messages ---- */

static bool is_of(const struct line *l, const char *step)
{
	return l->text != NULL && strcmp(l->step, step) == 0;
}

/* One of the step of the first line: those of the next `within` lines that are of it, up to a message's size. They are marked by their
 * missing text. */
static void make_message(struct feed *f, size_t within)
{
	size_t start = 0;
	while (start < within && line_at(f, start)->text == NULL)
		start++;
	char step[STEP_ID];
	json_t *value = json_array();
	int64_t number = line_at(f, start)->number;
	memcpy(step, line_at(f, start)->step, sizeof(step));
	for (size_t i = start; i < within && json_array_size(value) < MESSAGE_LINES; i++) {
		struct line *l = line_at(f, i);
		if (!is_of(l, step))
			continue;
		json_array_append_new(value, json_string_lossy(l->text, l->len));
		free(TAKE(l->text));
	}
	json_int_t count = (json_int_t)json_array_size(value);
	_cleanup_json_ json_t *message = json_pack("{s:o, s:s, s:I, s:I}", "value", value, "stepId", step, "startLine",
	                                           (json_int_t)number, "count", count);
	f->messages[(f->message_first + f->message_count++) % MESSAGES_MAX] =
		(struct message){.text = json_text(message), .lines = count};
}

static size_t texts_left(struct feed *f, size_t within)
{
	size_t left = 0;
	for (size_t i = 0; i < within; i++)
		left += line_at(f, i)->text != NULL;
	return left;
}

static void flush(struct feed *f)
{
	size_t within = MIN(f->count, (size_t)FLUSH_LINES);
	while (texts_left(f, within) > 0 && f->message_count < MESSAGES_MAX)
		make_message(f, within);
	for (; within > 0; within--) {
		f->dropped += line_at(f, 0)->text != NULL;
		remove_line(f);
	}
	f->rounds++;
	f->flush_mono_ms = clock_mono_ms() + (f->rounds < QUICK_ROUNDS ? FLUSH_MS : SLOW_FLUSH_MS);
}

/* ---- the connection ---- */

static void failed(struct feed *f)
{
	char line[512];
	const struct err *err = f->socket != NULL ? websocket_error(f->socket) : NULL;
	bool hopeless = err != NULL && err->code == ERR_AUTH;
	log_debug("feed", "%s",
	          err != NULL ? err_line(err, line, sizeof(line)) : "the live console's connection ended");
	websocket_freep(&f->socket);
	f->sending = false;
	f->tries = hopeless || f->connections >= CONNECTIONS_MAX ? TRIES : f->tries + 1;
	if (f->tries >= TRIES) {
		f->again_mono_ms = clock_mono_ms() + PAUSE_MS;
		drop_all(f);
	} else {
		f->again_mono_ms = clock_mono_ms() + AGAIN_MIN_MS + (int64_t)rand_below(AGAIN_SPREAD_MS);
	}
}

static void connect_again(struct feed *f)
{
	struct err err = ERR_INIT;
	_cleanup_free_ char *authorization = xasprintf("Authorization: Bearer %s", f->token);
	const char *headers[] = {authorization, NULL};
	struct websocket_request request = {.url = f->url, .headers = headers};
	if (f->tries >= TRIES) /* the pause is over */
		f->tries = 0;
	f->connections++;
	f->socket = websocket_open(f->http, &request, &err);
	explicit_bzero(authorization, strlen(authorization));
	if (f->socket == NULL) {
		f->connections = CONNECTIONS_MAX; /* no such address */
		failed(f);
	}
}

static void send_messages(struct feed *f)
{
	while (f->message_count > 0 && f->socket != NULL) {
		if (f->sending && websocket_unsent(f->socket) > 0) {
			if (clock_mono_ms() >= f->sent_until_mono_ms)
				failed(f);
			return;
		}
		if (f->sending) {
			remove_message(f);
			f->tries = 0;
			continue;
		}
		const char *text = f->messages[f->message_first].text;
		if (websocket_send(f->socket, text, strlen(text), NULL) < 0) {
			f->dropped += f->messages[f->message_first].lines;
			remove_message(f);
			continue;
		}
		f->sending = true;
		f->sent_until_mono_ms = clock_mono_ms() + MESSAGE_MS;
		websocket_turn(f->socket, false);
		if (websocket_state(f->socket) == WEBSOCKET_CLOSED) {
			failed(f);
			return;
		}
	}
}

static bool has_work(const struct feed *f)
{
	return f->count > 0 || f->message_count > 0;
}

void feed_turn(struct feed *f, bool ready)
{
	int64_t now = clock_mono_ms();
	if (f->socket == NULL && now >= f->again_mono_ms && (has_work(f) || f->connections == 0))
		connect_again(f);
	if (f->socket == NULL)
		return;
	websocket_turn(f->socket, ready);
	if (websocket_state(f->socket) == WEBSOCKET_CLOSED) {
		failed(f);
		return;
	}
	if (websocket_state(f->socket) != WEBSOCKET_OPEN)
		return;
	if (f->count > 0 && f->message_count == 0 && now >= f->flush_mono_ms)
		flush(f);
	send_messages(f);
}

bool feed_poll(const struct feed *f, struct pollfd *ret, int64_t *max_ms)
{
	int64_t now = clock_mono_ms(), due = -1;
	if (f->socket == NULL)
		due = has_work(f) || f->connections == 0 ? f->again_mono_ms : -1;
	else if (websocket_state(f->socket) != WEBSOCKET_OPEN)
		due = -1;
	else if (f->sending)
		due = f->sent_until_mono_ms;
	else if (f->count > 0)
		due = f->flush_mono_ms;
	if (due >= 0) {
		int64_t left = MAX(due - now, 0);
		*max_ms = *max_ms < 0 ? left : MIN(*max_ms, left);
	}
	return f->socket != NULL && websocket_poll(f->socket, ret, max_ms);
}

/* ---- the end ---- */

/* How many lines of that one's step come after it. */
static size_t behind(struct feed *f, size_t index)
{
	size_t count = 0;
	for (size_t i = index + 1; i < f->count; i++)
		count += strcmp(line_at(f, i)->step, line_at(f, index)->step) == 0;
	return count;
}

/* Of each step the last lines only. From behind, so that those that go do not change what is behind the others. */
static void keep_last(struct feed *f)
{
	if (f->count <= LAST_MESSAGES * MESSAGE_LINES)
		return;
	for (size_t i = f->count; i > 0; i--) {
		struct line *l = line_at(f, i - 1);
		if (behind(f, i - 1) < LAST_MESSAGES * MESSAGE_LINES)
			continue;
		f->dropped++;
		free(TAKE(l->text));
	}
}

void feed_end(struct feed *f)
{
	feed_turn(f, true);
	if (f->socket != NULL && websocket_state(f->socket) == WEBSOCKET_OPEN) {
		keep_last(f);
		while (f->count > 0 && f->message_count < MESSAGES_MAX && f->socket != NULL) {
			flush(f);
			send_messages(f);
		}
	}
	if (f->socket != NULL) {
		websocket_close(f->socket, WEBSOCKET_NORMAL);
		websocket_turn(f->socket, true);
	}
	drop_all(f);
	if (f->dropped > 0)
		log_debug("feed", "%lld lines were not shown while their steps ran", (long long)f->dropped);
}

void feed_free(struct feed *f)
{
	if (f == NULL)
		return;
	websocket_free(f->socket);
	drop_all(f);
	explicit_bzero(f->token, strlen(f->token));
	free(f->token);
	free(f->url);
	free(f);
}
