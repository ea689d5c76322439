/* The results service: step states, step and job logs, summaries [results 2]. Everything is queued here and sent
 * while the job runs, over the client's open connections; http_step drives it. A failure never changes the job: what the
 * service refuses is dropped and counted; where it is out of reach, a bounded amount waits for results_retry, and what is left at the end
 * can be kept for another process. Order: updates one after the other with a growing change_order; the
 * blocks of one log one after the other; different logs side by side. Source: PROTOCOL.md in this directory; Twirp over
 * JSON, signed blob URLs (block blobs, append blobs). */
#pragma once
#include "agent/service/runservice.h"

enum { RESULTS_BLOCK = 2 << 20 }; /* a log is cut into blocks of this size */

struct results;
/* base: system.github.results_endpoint. All pointers are borrowed for the life of the results, but base is copied. */
struct results *results_new(struct http *h, const char *base, const struct run_job *job);
void results_free(struct results *r);
void results_freep(struct results **r);

enum results_status { RESULTS_IN_PROGRESS = 3, RESULTS_PENDING = 5, RESULTS_COMPLETED = 6 };
enum results_conclusion {
	RESULTS_NONE = 0,
	RESULTS_SUCCESS = 2,
	RESULTS_FAILURE = 3,
	RESULTS_CANCELLED = 4,
	RESULTS_SKIPPED = 7
};
struct results_step {
	const char *id;
	int number;
	const char *name;
	enum results_status status;
	enum results_conclusion conclusion;
	int64_t started_wall_ms, completed_wall_ms; /* 0: not yet */
	const json_t *background;                   /* further members, of steps in the background; NULL: none */
	/* What only the older services take. */
	const char *result;        /* "succeededWithIssues"; NULL: not over */
	const char *reference;     /* the step's own name; NULL: its id */
	const json_t *annotations; /* so far */
};
/* Sets the step's state; several changes of one step before the next request become one. */
void results_step(struct results *r, const struct results_step *step);

/* One block of a step's log, or of the job's log (step_id NULL). data is taken (free()). line_count: of the whole log,
 * used with final. */
void results_log(struct results *r, const char *step_id, char *data, size_t len, bool first, bool final,
                 int64_t line_count);
/* A step's summary; taken. */
void results_summary(struct results *r, const char *step_id, char *data, size_t len);

size_t results_queued_bytes(const struct results *r);
/* Nothing is on its way, nor will be before results_retry. */
bool results_is_idle(const struct results *r);
/* Tries again what waits; unless `now`, not more often than every 15 s. r may be NULL. */
void results_retry(struct results *r, bool now);
/* What the service has not been told: {"base","change_order","steps","uploads"}. NULL: nothing. The caller's. r may be NULL. */
json_t *results_keep(const struct results *r);
/* Queues what results_keep gave, in a fresh r. False: it is damaged. */
bool results_restore(struct results *r, const json_t *kept);
int results_failures(const struct results *r);
