/* What a job says while it runs, told to each service that its message names: the results service (results.h), the timeline of its
 * plan (v1_timeline.c), or both. Queued here and sent while the job runs, over the client's open connections; http_step drives it. A failure
 * never changes the job. */
#pragma once
#include "agent/service/results.h"

/* One service that is told. lines and turn may be NULL. */
struct report_type {
	const char *name; /* of what is kept of it */
	void (*free)(void *sink);
	void (*step)(void *sink, const struct results_step *step);
	void (*log)(void *sink, const char *step_id, char *data, size_t len, bool first, bool final, int64_t lines);
	void (*summary)(void *sink, const char *step_id, char *data, size_t len);
	/* Masked lines as they come, each ended by \n; the first one is line number `line` of the step's log. */
	void (*lines)(void *sink, const char *step_id, const char *text, size_t len, int64_t line);
	size_t (*queued_bytes)(const void *sink);
	bool (*is_idle)(const void *sink);
	int (*failures)(const void *sink);
	/* As results_retry and results_keep. */
	void (*retry)(void *sink, bool now);
	json_t *(*keep)(const void *sink);
	/* Does what is due; monotonic milliseconds of the next time, 0: none. */
	int64_t (*turn)(void *sink, int64_t now_ms);
};

struct reports;
struct reports *reports_new(void);
/* The sink is taken, with reports_free. */
void reports_add(struct reports *r, const struct report_type *type, void *sink);
void reports_free(struct reports *r);

/* The results service at base; job: borrowed for the life of the reports, as http. */
void reports_add_results(struct reports *r, struct http *h, const char *base, const struct run_job *job);
/* The timeline of a job of the older services, whose locations are known. worker, os: as the job's record shows them. */
void reports_add_timeline(struct reports *r, struct http *h, const struct run_job *job, const char *worker,
                          const char *os);

bool reports_restore_timeline(struct reports *r, struct http *h, const struct run_job *job, const json_t *kept);

/* Those that the job's message names. worker: the runner's name. */
void reports_add_of_message(struct reports *r, struct http *h, const struct run_job *job, const json_t *message,
                            const char *worker);

bool reports_any(const struct reports *r); /* somebody is told */
void reports_step(struct reports *r, const struct results_step *step);
/* data is taken (free()); as results_log. */
void reports_log(struct reports *r, const char *step_id, char *data, size_t len, bool first, bool final, int64_t lines);
void reports_summary(struct reports *r, const char *step_id, char *data, size_t len);
void reports_lines(struct reports *r, const char *step_id, const char *text, size_t len, int64_t line);
size_t reports_queued_bytes(const struct reports *r); /* of the service that has the most */
bool reports_is_idle(const struct reports *r);
int reports_failures(const struct reports *r);
int64_t reports_turn(struct reports *r, int64_t now_ms);
/* Tries again what a service out of reach was not told. r may be NULL. */
void reports_retry(struct reports *r, bool now);
/* For another process: service → what it was not told; NULL: nothing. The caller's. r may be NULL. */
json_t *reports_keep(const struct reports *r);
/* What another process kept of this job is sent; of the older services their locations must be known. False: it is damaged, at least in part. */
bool reports_restore(struct reports *r, struct http *h, const struct run_job *job, const json_t *kept);
