/* What results.c and results_kept.c share. */
#pragma once
#include "agent/service/results.h"

enum {
	PARALLEL_MAX = 24,       /* pending uploads at once */
	UPDATE_FAILURES_MAX = 3, /* an update's content is resent with the next one, so often */
	URL_MAX = 16384,
	URL_LIFE_MS = 5 * 60 * 1000, /* signatures hold for an hour */
	HEADERS_MAX = 10,
	PARKED_MAX = 8 << 20, /* bytes that wait for a service that is out of reach */
	PARKED_RETRY_MS = 15000,
};

enum stage { STAGE_URL, STAGE_CREATE, STAGE_WRITE, STAGE_SEAL, STAGE_METADATA };

/* One block or summary on its way. */
struct upload {
	struct upload *next;
	struct results *results;
	char *step_id; /* NULL: the job's log */
	bool summary;
	char *data;
	size_t len;
	int64_t offset; /* of the block in its log */
	bool first, final, running;
	bool parked;      /* the service was out of reach: it waits for the next try */
	bool url_is_kept; /* of an earlier block, not requested for this one */
	bool stored;      /* the storage has all of the log: it is only to be announced */
	bool too_large;   /* for what the service takes */
	int64_t line_count;
	enum stage stage;
	char *url;
	bool is_azure;
	struct http_transfer *transfer;
};

/* Progress of a log: once a block is lost, no further blocks are sent. */
struct stream {
	struct stream *next;
	char *step_id;
	int64_t offset;
	bool broken;
	char *url; /* of its blob, from an earlier block; NULL: not yet, or too old */
	bool is_azure;
	int64_t url_mono_ms;
};

struct results {
	struct http *http;
	const struct run_job *job;
	char *base;
	struct wire_headers headers;
	struct upload *uploads; /* in order of their arrival */
	struct stream *streams;
	size_t queued_bytes, parked_bytes;
	int64_t retry_mono_ms; /* of what is parked; 0: nothing is */
	int running, failures;
	json_t *changed;     /* external_id → the step as it is sent */
	json_t *sent;        /* those of the pending update, for a retry */
	json_t *left;        /* those of updates that failed too often: sent with the next one, or kept */
	int update_failures; /* in a row */
	struct http_transfer *update;
	bool updating;
	int64_t change_order;
	bool closing;
};

/* results.c */
void results_pump(struct results *r);
struct stream *results_stream(struct results *r, const char *step_id);
struct upload *results_add(struct results *r, const char *step_id, char *data, size_t len);
void results_drop(struct upload *u);

/* results_kept.c */
/* The service was out of reach: it waits. False: there is no room for it. */
bool results_park(struct upload *u);
bool results_same_log(const struct upload *u, const struct upload *other);
