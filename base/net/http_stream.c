/* An answer that its reader pulls. libcurl pushes: unread bytes are kept, and once they are many the
 * transfer is paused, so that the peer waits instead of our memory growing. */
#include "base/net/http_priv.h"

enum { HIGH_WATER = 512 * 1024, KEPT_MAX = 2 * 1024 * 1024 };

struct http_stream {
	struct http_transfer *transfer; /* NULL: it is over */
	struct http *client;
	struct wait *wait;
	struct str kept;
	size_t taken; /* of kept */
	bool paused, begun;
	int result; /* once it is over */
	struct http_response response;
	struct err err;
};

static int on_piece(void *context, const void *data, size_t len, struct err *err)
{
	struct http_stream *s = context;
	s->begun = true;
	if (!str_append_n(&s->kept, data, len))
		return err_set(err, ERR_LIMIT, "libcurl continues although the transfer is paused");
	if (s->kept.len >= HIGH_WATER && !s->paused) {
		s->paused = true;
		http_transfer_pause(s->transfer, true);
	}
	return 0;
}

static void on_done(void *context, int result, struct http_response *response, const struct err *err)
{
	struct http_stream *s = context;
	s->transfer = NULL;
	s->result = result;
	s->response = *response;
	*response = (struct http_response){0};
	if (err != NULL)
		s->err = *err;
}

struct http_stream *http_stream_open(struct http *h, const struct http_request *request, struct wait *w,
                                     struct err *err)
{
	struct http_request own = *request;
	if (wait_check(w, err) < 0)
		return NULL;
	struct http_stream *s = xcalloc(1, sizeof(*s));
	s->client = h;
	s->wait = w;
	s->kept = (struct str)STR_INIT(KEPT_MAX);
	own.on_body = on_piece;
	own.context = s;
	s->transfer = http_transfer_new(h, &own, err);
	if (s->transfer == NULL) {
		free(s);
		return NULL;
	}
	s->transfer->done = on_done;
	s->transfer->done_context = s;
	s->transfer->deadline_mono_ms = w != NULL ? w->deadline_mono_ms : 0;
	if (http_launch(s->transfer, err) < 0) {
		free(s);
		return NULL;
	}
	return s;
}

/* Waits until there is something to read or the transfer is over. */
static int fill(struct http_stream *s, struct err *err)
{
	int r = wait_check(s->wait, err);
	if (s->paused && s->kept.len == 0 && s->transfer != NULL) {
		s->paused = false;
		http_transfer_pause(s->transfer, false);
	}
	while (r >= 0 && s->kept.len == 0 && s->transfer != NULL) {
		r = http_turn(s->client, err);
		if (r >= 0 && s->kept.len == 0 && s->transfer != NULL)
			r = http_wait(s->client, s->wait, err);
	}
	if (r < 0 && s->transfer != NULL)
		return err_wrap(err, r, "%s %s", s->transfer->method, s->transfer->label);
	return MIN(r, 0);
}

int http_stream_head(struct http_stream *s, const struct http_response **ret, struct err *err)
{
	int r = s->begun ? 0 : fill(s, err);
	if (r < 0)
		return r;
	/* A transfer that broke in the body still has a head: the reader gets the error where it broke. */
	if (s->transfer == NULL && s->result < 0 && !s->begun) {
		if (err != NULL)
			*err = s->err;
		return s->result;
	}
	*ret = s->transfer != NULL ? &s->transfer->response : &s->response;
	return 0;
}

int http_stream_read(struct http_stream *s, void *buffer, size_t size, size_t *ret_len, struct err *err)
{
	int r = fill(s, err);
	if (r < 0)
		return r;
	size_t len = MIN(size, s->kept.len - s->taken);
	if (len == 0 && s->result < 0) {
		if (err != NULL)
			*err = s->err;
		return s->result;
	}
	if (len > 0)
		memcpy(buffer, s->kept.data + s->taken, len);
	s->taken += len;
	if (s->taken == s->kept.len) {
		str_clear(&s->kept);
		s->taken = 0;
	}
	*ret_len = len;
	return 0;
}

void http_stream_free(struct http_stream *s)
{
	if (s == NULL)
		return;
	http_cancel(s->transfer);
	http_response_done(&s->response);
	str_done(&s->kept);
	free(s);
}

void http_stream_freep(struct http_stream **s)
{
	http_stream_free(*s);
	*s = NULL;
}
