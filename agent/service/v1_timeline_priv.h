/* What v1_timeline.c and v1_timeline_kept.c share. */
#pragma once
#include "agent/service/reports.h"
#include "agent/service/v1_feed.h"

enum {
	PARALLEL_MAX = 4,
	UPDATE_FAILURES_MAX = 3,
	PERCENT_DONE = 100,
	PARKED_MAX = 8 << 20, /* bytes that wait for a service that is out of reach */
	PARKED_RETRY_MS = 15000,
};

/* One part of a record's log, or a summary. */
struct part {
	struct part *next;
	struct timeline *timeline;
	char *record;
	char *data;
	size_t len;
	bool final, summary, running;
	bool parked;   /* the service was out of reach: it waits for the next try */
	bool creating; /* its log is being made */
	struct http_transfer *transfer;
};

struct timeline {
	struct http *http;
	const struct run_job *job;
	char *worker;
	struct part *parts; /* in order of their arrival */
	int running, failures;
	size_t queued_bytes, parked_bytes;
	int64_t retry_mono_ms; /* of what is parked; 0: nothing is */
	json_t *logs;          /* record → the number of its log; -1: it is broken */
	json_t *changed;       /* record → what is to be sent of it */
	json_t *sent;          /* of the pending update, for a retry */
	json_t *left;          /* of updates that failed too often: sent with the next one, or kept */
	int update_failures;
	struct http_transfer *update;
	bool updating, closing;
	struct v1_feed *feed;
};

/* v1_timeline.c */
void timeline_pump(struct timeline *t);
struct part *timeline_add(struct timeline *t, const char *record, char *data, size_t len);
void timeline_drop(struct part *p);
/* Of each record what a newer change does not say. */
void timeline_add_older(json_t *records, const json_t *older);

/* v1_timeline_kept.c */
/* The service was out of reach: it waits. False: there is no room for it. */
bool timeline_park(struct part *p);
void timeline_retry(void *sink, bool now);
json_t *timeline_keep(const void *sink);
/* False: what is kept is damaged. */
bool timeline_restore(struct timeline *t, const json_t *kept);
