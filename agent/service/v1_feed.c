#include "agent/service/v1_feed.h"

#include <string.h>

#include "agent/service/v1_job.h"
#include "base/core/clock.h"
#include "base/core/log.h"

enum { PERIOD_MS = 250, LAST_BATCHES = 2, PENDING_MAX = 1024, TOGETHER_MAX = 100, LINE_CHARS = 1024, CALL_MS = 60000 };

/* Lines of one step that are sent together. */
struct batch {
	struct batch *next;
	char *step_id;
	json_t *lines;
	int64_t first;
};
struct v1_feed {
	struct http *http;
	const struct run_job *job;
	struct batch *batches, *last;
	size_t pending;
	struct http_transfer *transfer;
	int64_t due_ms; /* not before */
	bool ended;
};

struct v1_feed *v1_feed_new(struct http *h, const struct run_job *job)
{
	struct v1_feed *f = xcalloc(1, sizeof(*f));
	*f = (struct v1_feed){.http = h, .job = job};
	return f;
}

static void drop(struct v1_feed *f, struct batch **at)
{
	struct batch *b = *at;
	*at = b->next;
	f->pending -= json_array_size(b->lines);
	json_decref(b->lines);
	free(b->step_id);
	free(b);
}

static void drop_first(struct v1_feed *f)
{
	drop(f, &f->batches);
	if (f->batches == NULL)
		f->last = NULL;
}

void v1_feed_free(struct v1_feed *f)
{
	if (f->transfer != NULL)
		http_cancel(f->transfer);
	while (f->batches != NULL)
		drop_first(f);
	free(f);
}

bool v1_feed_is_idle(const struct v1_feed *f)
{
	return f->batches == NULL && f->transfer == NULL;
}

/* A line of at most so many characters, with an ellipsis where it was cut. */
static json_t *line_of(const char *text, size_t len)
{
	size_t chars = 0, at = 0;
	while (at < len && chars <= LINE_CHARS) {
		if (((unsigned char)text[at] & 0xc0) != 0x80 && chars++ == LINE_CHARS)
			break;
		at++;
	}
	if (at == len)
		return json_string_lossy(text, len);
	_cleanup_free_ char *cut = xasprintf("%.*s...", (int)at, text);
	return json_string_lossy(cut, strlen(cut));
}

static void add_line(struct v1_feed *f, const char *step_id, const char *text, size_t len, int64_t line)
{
	struct batch *b = f->last;
	if (f->pending >= PENDING_MAX)
		return;
	if (b == NULL || strcmp(b->step_id, step_id) != 0 || json_array_size(b->lines) >= TOGETHER_MAX) {
		b = xcalloc(1, sizeof(*b));
		*b = (struct batch){.step_id = xstrdup(step_id), .lines = json_array(), .first = line};
		*(f->last != NULL ? &f->last->next : &f->batches) = b;
		f->last = b;
	}
	json_array_append_new(b->lines, line_of(text, len));
	f->pending++;
}

void v1_feed_lines(struct v1_feed *f, const char *step_id, const char *text, size_t len, int64_t line)
{
	for (size_t at = 0, n; at < len; at += n + 1, line++) {
		const char *end = memchr(text + at, '\n', len - at);
		n = end != NULL ? (size_t)(end - text) - at : len - at;
		if (n > 0)
			add_line(f, step_id, text + at, n, line);
	}
	(void)v1_feed_turn(f, clock_mono_ms());
}

static void sent(void *context, int result, struct http_response *response, const struct err *err)
{
	struct v1_feed *f = context;
	f->transfer = NULL;
	(void)err;
	if (result < 0 || response->status > 299)
		log_debug("feed", "lines are lost: status %d", response->status);
	http_response_done(response);
	(void)v1_feed_turn(f, clock_mono_ms());
}

static void send_first(struct v1_feed *f)
{
	const struct batch *b = f->batches;
	const struct v1_value values[] = {{"recordId", f->job->job_id}, {0}};
	struct service_request q = {.method = "POST"};
	struct err err = ERR_INIT;
	if (v1_job_request(f->job, V1_FEED, values, NULL, &q, &err) < 0) {
		service_request_done(&q);
		drop_first(f);
		return;
	}
	_cleanup_(wire_headers_done) struct wire_headers headers;
	_cleanup_json_ json_t *body = v1_job_list(json_incref(b->lines));
	json_object_set_new(body, "stepId", json_string(b->step_id));
	json_object_set_new(body, "startLine", json_integer(b->first));
	_cleanup_free_ char *text = json_text(body);
	service_request_headers(&q, f->job->token, true, &headers);
	struct http_request request = {.method = q.method,
	                               .url = q.url,
	                               .headers = (const char *const *)headers.lines,
	                               .body = text,
	                               .body_len = strlen(text),
	                               .timeout_ms = wire_limit_ms(CALL_MS)};
	f->transfer = http_start(f->http, &request, sent, f, &err);
	service_request_done(&q);
	drop_first(f);
}

/* The last ones of each step stay. */
static bool has_enough_behind(const struct batch *b)
{
	int count = 0;
	for (const struct batch *later = b->next; later != NULL && count < LAST_BATCHES; later = later->next)
		count += strcmp(later->step_id, b->step_id) == 0;
	return count == LAST_BATCHES;
}

void v1_feed_end(struct v1_feed *f)
{
	f->last = NULL;
	for (struct batch **at = &f->batches; *at != NULL;) {
		if (has_enough_behind(*at)) {
			drop(f, at);
			continue;
		}
		f->last = *at;
		at = &(*at)->next;
	}
	f->ended = true;
	(void)v1_feed_turn(f, clock_mono_ms());
}

int64_t v1_feed_turn(struct v1_feed *f, int64_t now_ms)
{
	if (f->batches == NULL || f->transfer != NULL)
		return 0;
	if (now_ms < f->due_ms && !f->ended)
		return f->due_ms;
	f->due_ms = now_ms + PERIOD_MS;
	send_first(f);
	return f->batches != NULL && f->transfer == NULL ? f->due_ms : 0;
}
