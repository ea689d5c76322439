/* HTTP by libcurl's multi interface: one handle a process, any number of requests at once, connections kept.
 * Answers are bounded; retries have a bound, jitter and honour Retry-After; proxies (http_proxy, https_proxy, no_proxy), a CA
 * file and a client certificate are set once. CAPATH is off, so that the parsed CA store is shared. Secrets in headers
 * never reach the log. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"
#include "base/core/wait.h"

struct http; /* the process's client */
struct http_config {
	const char *user_agent; /* NULL: "davit/VERSION" */
	const char *ca_file;    /* NULL: the system's bundle, or SSL_CERT_FILE */
	const char *proxy;      /* NULL: from the environment */
	const char *client_cert, *client_key;
	int pace_percent; /* of the pauses between tries that are really waited, 1 to 100; 0: all of it. For trials */
	bool insecure;    /* no verification: only by an explicit option of the user */
	const char *
		public_key; /* "sha256//BASE64": the server is the one that has this key, whatever its certificate's name and issuer */
};
struct http *http_new(const struct http_config *config, struct err *err);
void http_free(struct http *h);
void http_freep(struct http **h);
void http_set_user_agent(struct http *h, const char *user_agent); /* of requests from now on */

struct http_request {
	const char *method; /* NULL: GET, or POST with a body */
	const char *url;
	const char *const *headers; /* "Name: value", NULL-terminated; may be NULL */
	const void *body;
	size_t body_len;
	bool borrow_body;           /* body outlives the transfer, and is not copied */
	int body_fd;                /* > 0: body is streamed from it, body_len bytes */
	size_t max_body;            /* of the answer; 0: 1 MiB, with on_body no ceiling */
	int64_t timeout_ms;         /* one try as a whole; 0: 60 s */
	int64_t connect_timeout_ms; /* 0: 30 s */
	int retries; /* retries after network errors, 408, 429 and 5xx; 0: none. Only for repeatable requests.
	                                    A Retry-After beyond 2 min or the deadline ends them: the answer is returned */
	bool last; /* no other request to that server is near: its connection is not kept, but where others use it too */
	bool fresh; /* a connection and a look-up of its own, for who asks whether there is one; else those of before serve */
	const char *
		socket; /* a Unix socket of this machine that is asked in place of the URL's host, through no proxy; NULL */
	const char *resolve; /* "HOST:PORT:ADDRESS": what is said to that host and port goes to this address; NULL */
	const char *ca_text; /* certificates (PEM) that are trusted in place of the client's; NULL */
	bool anonymous;      /* the client's certificate is not shown, to servers that a stranger names */
	bool unverified;     /* the server's certificate is not verified: it is looked at (http_response.certificate) */
	int connected_fd; /* > 0: TLS begins on this connection, to what `resolve` says; the transfer has a descriptor of its own of it. No proxy, no
	                      other protocol is offered (ALPN) */
	bool handshake; /* over once the connection stands: nothing is asked. Its URL may be of smtp or imap too: TLS begins there after
	                        the protocol's own word for it (STARTTLS) */
	bool follow; /* redirects: at most 10, never to another scheme than http(s); own headers go to the
	                                    scheme, host and port that they were given for, and nowhere else */
	/* Instead of collecting the body of a 2xx answer (others are collected): called with each piece; < 0 stops the transfer
	 * with that error. Not called twice for the same bytes: once it took bytes there is no retry. It must not
	 * start or cancel transfers. */
	int (*on_body)(void *context, const void *data, size_t len, struct err *err);
	void *context;
};

struct http_response {
	int status;   /* 0: none came */
	char *reason; /* what the status line says behind the number; NULL: nothing */
	bool resent;  /* the connection ended before any answer, and the request was sent once more on another one */
	struct strv headers; /* "Name: value" as received, final answer only */
	struct str body;
	char *final_url;
	char *peer;        /* "192.0.2.7:443", "[::1]:80": who answered; NULL: nobody */
	char *certificate; /* of the server of a handshake, as PEM; NULL */
};
void http_response_done(struct http_response *r);
const char *http_header(const struct http_response *r, const char *name); /* value, case-insensitive name; NULL */
/* What the answer asks to wait (Retry-After, seconds or a date), unbounded; -1: nothing. */
int64_t http_retry_after_ms(const struct http_response *response);
/* The server's clock as the answer was made (Date), in wall milliseconds of whole seconds; -1: it does not say. */
int64_t http_date_ms(const struct http_response *response);
/* May the server have acted on a request that ended with this error? False: no connection to it ever stood. */
bool http_was_sent(const struct err *err);

/* Sends and waits; done functions of other transfers may be called meanwhile. ret: zeroed by the caller. Any status is
 * a success (0); ERR_NETWORK, ERR_TIMEOUT, ERR_CANCELLED, ERR_LIMIT, ERR_AUTH (TLS) otherwise. */
int http_perform(struct http *h, const struct http_request *request, struct wait *w, struct http_response *ret,
                 struct err *err);

/* Calls one(context, i) for each i below count, at most `most` (64) of them at a time: while one waits in http_perform() of this client,
 * the others go on. They take turns, each on a stack of its own of 1 MiB, so what they share needs no locks. Within another one, or
 * where a thread cannot be had, one after the other. w ends all waits: its error is returned, and those that had not begun never
 * are. What a call finds out is its own business. */
int http_together(struct http *h, size_t count, size_t most, void (*one)(void *context, size_t i), void *context,
                  struct wait *w, struct err *err);

/* The answer pulled by the caller instead of pushed to on_body: for libraries that read. At most 1 MiB is buffered here, then the
 * connection waits. request->on_body must be NULL; max_body 0 is no ceiling; further tries as with on_body. Not thread-safe. */
struct http_stream;
/* Starts; copies all that the request points to. w is used by each call below and must outlive the stream. NULL: see err. */
struct http_stream *http_stream_open(struct http *h, const struct http_request *request, struct wait *w,
                                     struct err *err);
/* Waits until status and headers are known. *ret: the stream's. It holds the whole body of an answer other than 2xx. */
int http_stream_head(struct http_stream *s, const struct http_response **ret, struct err *err);
/* Waits for the next bytes of a 2xx answer: 1 to size of them, 0 at its end. An answer that ends too early is an error. */
int http_stream_read(struct http_stream *s, void *buffer, size_t size, size_t *ret_len, struct err *err);
void http_stream_free(struct http_stream *s); /* even in the middle: the transfer is given up */
void http_stream_freep(struct http_stream **s);

/* Asynchronous: for the listener's event loop. Copies all that the request points to (except a lent body). done is called from http_step, may take
 * members of the response (zeroing them), and may start and cancel transfers; the transfer itself is gone after it.
 * NULL: it could not be started. */
typedef void (*http_done_fn)(void *context, int result, struct http_response *response, const struct err *err);
struct http_transfer;
struct http_transfer *http_start(struct http *h, const struct http_request *request, http_done_fn done, void *context,
                                 struct err *err);
void http_cancel(struct http_transfer *t); /* done is not called */
/* One turn: waits until something happens on transfers or on extra descriptors, at most max_wait_ms (-1: no limit);
 * calls done functions. Returns how many of the extra descriptors are ready (their revents are set). */
struct pollfd;
int http_step(struct http *h, struct pollfd *extra, size_t extra_count, int64_t max_wait_ms, struct err *err);
