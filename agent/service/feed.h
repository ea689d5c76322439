/* The live console: lines of running steps, sent as they come over a WebSocket [results 3]. Best effort throughout: what cannot be sent is
 * dropped and counted, and no failure reaches the job. Whoever calls has masked the text. Limits of the reference: 1024 lines wait,
 * 100 a message, 500 every 250 ms (after a minute: 500 ms), a line is cut at 1024 characters; a broken connection is made again after
 * 100 to 500 ms, three times without success lead to a pause of 10 minutes. */
#pragma once
#include "base/net/http.h"

struct feed;
/* url, token: of the job's system connection. The client drives the connection (http_step) and outlives the feed. */
struct feed *feed_new(struct http *h, const char *url, const char *token);
void feed_free(struct feed *f); /* at once; feed_end says goodbye before */
/* Lines that each end with \n; `first`: the number of the first one in the step's log, from 1. */
void feed_lines(struct feed *f, const char *step_id, int64_t first, const char *text, size_t len);
/* What is one write, as one element, whatever line feeds it holds. */
void feed_text(struct feed *f, const char *step_id, int64_t line, const char *text, size_t len);
/* What to wait for: false: for no descriptor. *max_ms becomes shorter where something is due. */
struct pollfd;
bool feed_poll(const struct feed *f, struct pollfd *ret, int64_t *max_ms);
void feed_turn(struct feed *f, bool ready);
/* The job is over: the last lines of each step and the close, as far as they leave without waiting. */
void feed_end(struct feed *f);
int64_t feed_dropped(const struct feed *f); /* lines */
