/* Lines of a job's steps as they come, for the live console of the older services [results 1.7, 3.3]: a few at a time, never more often than
 * every quarter of a second; what does not fit is dropped, for the log has it. */
#pragma once
#include "agent/service/runservice.h"

struct v1_feed;
struct v1_feed *v1_feed_new(struct http *h, const struct run_job *job);
void v1_feed_free(struct v1_feed *f);
/* Lines each ended by \n; the first one is line number `line` of the step's log. */
void v1_feed_lines(struct v1_feed *f, const char *step_id, const char *text, size_t len, int64_t line);
void v1_feed_end(struct v1_feed *f);                     /* no more lines: of those that wait the last ones are sent */
int64_t v1_feed_turn(struct v1_feed *f, int64_t now_ms); /* when it wants the next turn; 0: it waits for nothing */
bool v1_feed_is_idle(const struct v1_feed *f);
