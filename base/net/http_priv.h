/* One HTTP request through its tries: shared by http.c (the client and its loop), http_sockets.c (what libcurl waits for), http_stream.c (an answer that is pulled) and
 * http_transfer.c (one try). */
#pragma once
#include "base/net/http.h"
#include "base/net/net_priv.h"

struct http {
	CURLM *multi;
	int epoll_fd;          /* of the connections that libcurl waits for */
	int64_t timer_mono_ms; /* when libcurl is to be called without any of them being ready; -1: never */
	bool timer_is_far;
	char *user_agent, *ca_file, *proxy, *client_cert, *client_key, *public_key;
	bool insecure;
	int pace_percent;
	long connections_kept;
	struct http_transfer *transfers; /* in flight or in back-off */
	struct http_turns *turns;        /* of http_together(); NULL: nobody is in it */
};

struct http_transfer {
	struct http *client;
	struct http_transfer *next;
	http_done_fn done;
	void *done_context;

	/* The request, copied. */
	char *method, *url, *label; /* label: scheme, host and path, for messages: a query may hold a signature */
	struct curl_slist *headers;
	void *body; /* owned when body_owned */
	bool body_owned, follow;
	size_t body_len, max_body;
	int body_fd;
	off_t body_start; /* -1: cannot be sent twice */
	struct curl_slist *connect_to;
	char *socket, *ca_text;
	bool fresh, anonymous, unverified, handshake;
	bool upgrade;          /* connects only; `done` takes the handle, which keeps the connection (websocket.c) */
	int connected_fd;      /* -1: none, or libcurl has it */
	bool given_connection; /* it has it */
	int64_t timeout_ms, connect_timeout_ms, deadline_mono_ms;
	int retries_left, tries, hops;
	int64_t hops_until_mono_ms; /* of a try and the redirects that it led to */
	int (*on_body)(void *context, const void *data, size_t len, struct err *err);
	void *body_context;

	/* This try. */
	CURL *easy;            /* NULL in back-off */
	int64_t due_mono_ms;   /* of the next try */
	int64_t until_mono_ms; /* of this one, and a little more: libcurl ends it before, but where it loses the timer */
	bool sent; /* on a connection that stands, and nothing is left to send: only an answer or the end of its time can come */
	size_t body_sent, header_bytes;
	int sent_times;  /* on one connection after the other */
	bool ever_sent;  /* in any of the tries */
	bool body_taken; /* on_body got bytes: no retry */
	int failed;      /* error of a callback, below; 0: none */
	struct err *err; /* its text, made when needed: a struct err is large and most tries have none */
	struct http_response response;
	char detail[CURL_ERROR_SIZE];
};

struct http_transfer *http_transfer_new(struct http *h, const struct http_request *request, struct err *err);
void http_transfer_free(struct http_transfer *t);
/* Makes the easy handle of a (further) try and adds it to the client's multi handle. */
int http_transfer_begin(struct http_transfer *t, struct err *err);
/* The try ended with `code`: true when a retry follows at t->due_mono_ms; else *ret_result says how it ended.
 */
bool http_transfer_end(struct http_transfer *t, CURLcode code, int *ret_result, struct err *err);
/* Stops pieces to on_body, or resumes: then it gets libcurl's buffer at once, from within. */
void http_transfer_pause(struct http_transfer *t, bool paused);

/* libcurl names its connections and its time from now on. */
int http_sockets_begin(struct http *h, struct err *err);
/* Has libcurl work on those that are ready, and on its timers that are due. */
int http_sockets_turn(struct http *h, struct err *err);
/* To the next timer, or to the end of a try; -1: there is neither. */
int64_t http_sockets_left_ms(const struct http *h);

/* Everything that can be done without waiting. Returns how many transfers ended. */
int http_turn(struct http *h, struct err *err);
/* Begins t and lists it with its client. On failure t is freed. */
int http_launch(struct http_transfer *t, struct err *err);
/* Is it somebody within http_together() who asks? Then he gives his turn away until *until, or until all of them are stopped. */
bool http_turns_inside(const struct http *h);
int http_turns_wait(struct http *h, const bool *until, struct err *err);
/* Waits until something may have happened on a transfer of h, as w allows; 0 or an error of w. */
int http_wait(struct http *h, struct wait *w, struct err *err);
