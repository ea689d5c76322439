/* One HTTP request through its tries: shared by http.c (the client and its loop), http_sockets.c (what libcurl waits for), http_stream.c (an answer that is pulled),
 * http_transfer.c (one try), http_answer.c (what comes in) and http_handle.c (libcurl's handle with its options). */
#pragma once
#include "base/net/http.h"
#include "base/net/net_priv.h"

enum {
	HTTP_HANDLES_KEPT = 4,
	HTTP_BODY_MAX = 1024 * 1024, /* of an answer, where nothing else is said */
};

struct http {
	CURLM *multi;
	CURLSH *sessions;              /* of TLS, of plain requests: else each handle has room for some of its own */
	CURL *kept[HTTP_HANDLES_KEPT]; /* handles of plain requests that are over, for the next ones */
	size_t kept_count;
	int epoll_fd;                 /* of the connections that libcurl waits for */
	bool ready;                   /* one of them may be */
	struct http_watched *watched; /* by descriptor */
	size_t watched_cap;
	int *unsettled; /* descriptors whose place in epoll is not yet what libcurl asked for */
	size_t unsettled_count, unsettled_cap;
	int64_t timer_mono_ms; /* when libcurl is to be called without any of them being ready; -1: never */
	bool timer_is_far;
	char *user_agent, *ca_file, *proxy, *client_cert, *client_key, *public_key;
	bool insecure;
	int pace_percent;
	long connections_kept;
	struct http_transfer *first, *last; /* in flight or in back-off, by when they are to be looked at */
	size_t count, unsent;               /* of those; of those in flight that have something to send or to connect */
	struct http_turns *turns;           /* of http_together(); NULL: nobody is in it */
};

struct http_transfer {
	struct http *client;
	struct http_transfer *before, *next;
	bool linked;
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
	bool last, fresh, anonymous, unverified, handshake;
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
	bool plain;            /* it has no other options than every plain request (http_handle.c) */
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
/* Where the body to send is read from next; CURL_SEEKFUNC_OK or not. */
int http_transfer_seek(void *transfer, curl_off_t offset, int origin);
/* When t is to be looked at: begun, or ended since its time is over. */
int64_t http_transfer_due(const struct http_transfer *t);
/* The request is on a connection, or has to get onto one (again). */
void http_transfer_sent(struct http_transfer *t, bool sent);
/* Room for the words of an error of a callback. */
struct err *http_transfer_text(struct http_transfer *t);

/* Callbacks of libcurl: a line of the answer's head, a piece of its body. */
size_t http_answer_header(char *data, size_t size, size_t count, void *transfer);
size_t http_answer_data(char *data, size_t size, size_t count, void *transfer);
bool http_is_redirect(int status);
void http_answer_forget(struct http_transfer *t);

/* Gives t a handle with the options of its request: a new one, or one that is kept. */
int http_handle_take(struct http_transfer *t, int64_t timeout_ms, struct err *err);
/* Takes the handle from t and from the multi handle. It is kept where its try ended well and it may serve another request. */
void http_handle_give(struct http_transfer *t, bool ended_well);
void http_handles_begin(struct http *h);
void http_handles_forget(struct http *h); /* those that are kept */
void http_handles_end(struct http *h);    /* no other one is left */

/* libcurl names its connections and its time from now on. */
int http_sockets_begin(struct http *h, struct err *err);
void http_sockets_end(struct http *h);
/* A new connection, before libcurl waits for it; one that is to be closed. */
void http_sockets_opened(struct http *h, int fd);
int http_sockets_close(void *client, curl_socket_t fd);
/* Before the wait: has the kernel look at what libcurl asked for last. */
void http_sockets_settle(struct http *h);
/* Has libcurl work on those that are ready, and on its timers that are due. */
int http_sockets_turn(struct http *h, struct err *err);
/* When libcurl is to be called for its timer; -1: never. */
int64_t http_sockets_due(const struct http *h);

/* Everything that can be done without waiting. Returns how many transfers ended. */
int http_turn(struct http *h, struct err *err);
/* Begins t and lists it with its client. On failure t is freed. */
int http_launch(struct http_transfer *t, struct err *err);
/* Is it somebody within http_together() who asks? Then he gives his turn away until *until, or until all of them are stopped. */
bool http_turns_inside(const struct http *h);
int http_turns_wait(struct http *h, const bool *until, struct err *err);
/* Waits until something may have happened on a transfer of h, as w allows; 0 or an error of w. */
int http_wait(struct http *h, struct wait *w, struct err *err);
