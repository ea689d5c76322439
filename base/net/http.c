#include "base/net/http.h"
#include "base/core/clock.h"
#include "base/net/http_priv.h"
#include "base/core/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <strings.h>
#include <unistd.h>

enum { IDLE_CONNECTIONS = 8 };

/* Where distributions keep the certificates of all authorities; NULL: libcurl knows. A static one, which runs on any of them, does not. */
static const char *find_ca_file(void)
{
	static const char *const places[] = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
	                                     "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};
	if (curl_version_info(CURLVERSION_NOW)->cainfo != NULL)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (access(places[i], R_OK) == 0)
			return places[i];
	return NULL;
}

struct http *http_new(const struct http_config *config, struct err *err)
{
	static const struct http_config defaults = {0};
	const struct http_config *c = config != NULL ? config : &defaults;
	net_init();
	struct http *h = xcalloc(1, sizeof(*h));
	h->multi = curl_multi_init();
	int r = h->multi == NULL ? err_set(err, ERR_INTERNAL, "libcurl gives no handle") : http_sockets_begin(h, err);
	if (r < 0) {
		curl_multi_cleanup(h->multi);
		free(h);
		return NULL;
	}
	http_handles_begin(h);
	/* One connection for many polls where the service speaks HTTP/2. */
	curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	const char *ca_file = c->ca_file != NULL ? c->ca_file : getenv("SSL_CERT_FILE");
	if (ca_file == NULL || *ca_file == '\0')
		ca_file = find_ca_file();
	h->user_agent = xstrdup(c->user_agent != NULL ? c->user_agent : "davit/" DAVIT_VERSION);
	h->ca_file = xstrdup(ca_file != NULL && *ca_file != '\0' ? ca_file : NULL);
	h->proxy = xstrdup(c->proxy);
	h->client_cert = xstrdup(c->client_cert);
	h->client_key = xstrdup(c->client_key);
	h->public_key = xstrdup(c->public_key);
	h->insecure = c->insecure;
	h->pace_percent = c->pace_percent > 0 ? MIN(c->pace_percent, 100) : 100;
	return h;
}

int64_t http_transfer_due(const struct http_transfer *t)
{
	return t->easy == NULL ? t->due_mono_ms : t->until_mono_ms;
}

/* Sorted by when they are due, the soonest first. Polls are all held equally long, so the place of a new one is the end. */
static void link_transfer(struct http_transfer *t)
{
	struct http *h = t->client;
	struct http_transfer *before = h->last;
	while (before != NULL && http_transfer_due(before) > http_transfer_due(t))
		before = before->before;
	t->before = before;
	t->next = before != NULL ? before->next : h->first;
	*(before != NULL ? &before->next : &h->first) = t;
	*(t->next != NULL ? &t->next->before : &h->last) = t;
	h->count++;
	h->unsent += t->easy != NULL && !t->sent;
	t->linked = true;
}

static void unlink_transfer(struct http_transfer *t)
{
	struct http *h = t->client;
	if (!t->linked)
		return;
	*(t->before != NULL ? &t->before->next : &h->first) = t->next;
	*(t->next != NULL ? &t->next->before : &h->last) = t->before;
	h->count--;
	h->unsent -= t->easy != NULL && !t->sent;
	t->linked = false;
}

void http_free(struct http *h)
{
	if (h == NULL)
		return;
	while (h->first != NULL)
		http_cancel(h->first);
	http_handles_forget(h);
	curl_multi_cleanup(h->multi);
	http_handles_end(h);
	http_sockets_end(h);
	free(h->user_agent);
	free(h->ca_file);
	free(h->proxy);
	free(h->client_cert);
	free(h->client_key);
	free(h->public_key);
	free(h);
}

void http_freep(struct http **h)
{
	http_free(*h);
	*h = NULL;
}

void http_set_user_agent(struct http *h, const char *user_agent)
{
	free(h->user_agent);
	h->user_agent = xstrdup(user_agent);
	http_handles_forget(h); /* they have the former one */
}

void http_response_done(struct http_response *r)
{
	strv_done(&r->headers);
	str_done(&r->body);
	free(TAKE(r->reason));
	free(TAKE(r->final_url));
	free(TAKE(r->peer));
	free(TAKE(r->certificate));
	r->status = 0;
}

const char *http_header(const struct http_response *r, const char *name)
{
	size_t len = strlen(name);
	for (size_t i = 0; i < r->headers.count; i++) {
		const char *line = r->headers.items[i];
		if (strncasecmp(line, name, len) == 0 && line[len] == ':')
			return line + len + 1 + strspn(line + len + 1, " \t");
	}
	return NULL;
}

bool http_was_sent(const struct err *err)
{
	switch (err->foreign) {
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
		return false;
	default:
		return true;
	}
}

void http_cancel(struct http_transfer *t)
{
	if (t == NULL)
		return;
	unlink_transfer(t);
	http_transfer_free(t);
}

/* Few idle connections are kept beside those in use. libcurl counts both: with a fixed number and more pending polls than
 * that, each poll would lose its connection at its end, and the next one would begin with a handshake. */
static void keep_connections(struct http *h)
{
	long count = IDLE_CONNECTIONS + (long)h->count;
	if (count == h->connections_kept)
		return;
	h->connections_kept = count;
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, count);
}

static int begin(struct http_transfer *t, struct err *err)
{
	keep_connections(t->client);
	return http_transfer_begin(t, err);
}

int http_launch(struct http_transfer *t, struct err *err)
{
	int r = begin(t, err);
	if (r < 0) {
		http_transfer_free(t);
		return r;
	}
	link_transfer(t);
	return 0;
}

struct http_transfer *http_start(struct http *h, const struct http_request *request, http_done_fn done, void *context,
                                 struct err *err)
{
	struct http_transfer *t = http_transfer_new(h, request, err);
	if (t == NULL)
		return NULL;
	t->done = done;
	t->done_context = context;
	return http_launch(t, err) < 0 ? NULL : t;
}

/* The transfer is over: removed from every list before its owner is told, so that the owner may start and cancel others.
 */
static void finish(struct http_transfer *t, int result, const struct err *err)
{
	log_debug("net", "%s %s: %d%s%s", t->method, t->label, t->response.status, result < 0 ? " " : "",
	          result < 0 ? err_code_name(result) : "");
	unlink_transfer(t);
	t->done(t->done_context, result, &t->response, result < 0 ? err : NULL);
	http_transfer_free(t);
}

static void begin_due(struct http *h)
{
	int64_t now = clock_mono_ms();
	for (struct http_transfer *t = h->first, *next; t != NULL && http_transfer_due(t) <= now; t = next) {
		struct err err = ERR_INIT;
		next = t->next;
		if (t->easy != NULL)
			continue;
		unlink_transfer(t);
		int r = begin(t, &err);
		if (r >= 0) {
			link_transfer(t);
			continue;
		}
		finish(t, r, &err);
		next = h->first; /* its owner may have ended others */
	}
}

/* The try is over. True: so is the transfer. */
static bool end_try(struct http_transfer *t, CURLcode how)
{
	struct err failure = ERR_INIT;
	int result = 0;
	unlink_transfer(t);
	if (http_transfer_end(t, how, &result, &failure)) {
		link_transfer(t);
		return false;
	}
	finish(t, result, &failure);
	return true;
}

/* libcurl 7.88 drops a timer of a transfer that is due less than a millisecond after another one of it. */
static int end_overdue(struct http *h)
{
	int ended = 0;
	int64_t now = clock_mono_ms();
	for (struct http_transfer *t = h->first, *next; t != NULL && http_transfer_due(t) <= now; t = next) {
		next = t->next;
		if (t->easy == NULL || !end_try(t, CURLE_OPERATION_TIMEDOUT))
			continue;
		ended++;
		next = h->first; /* its owner may have ended others */
	}
	return ended;
}

int http_turn(struct http *h, struct err *err)
{
	int queued, ended = 0;
	begin_due(h);
	int r = http_sockets_turn(h, err);
	if (r < 0)
		return r;
	for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &queued)) != NULL;) {
		if (m->msg != CURLMSG_DONE)
			continue;
		struct http_transfer *t = NULL;
		CURLcode how = m->data.result;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		ended += end_try(t, how);
	}
	return ended + end_overdue(h);
}

static int64_t sooner(int64_t a, int64_t b)
{
	return a < 0 ? b : b < 0 ? a : MIN(a, b);
}

/* Milliseconds to what is next: a try that is due or over its time, or what libcurl wants; -1: nothing. */
static int64_t next_due_ms(const struct http *h)
{
	int64_t due = sooner(h->first != NULL ? http_transfer_due(h->first) : -1, http_sockets_due(h));
	return due < 0 ? -1 : MAX(due - clock_mono_ms(), 0);
}

/* Until one of the descriptors or a connection is ready, or at most so long. Returns how many of the descriptors are. */
static int poll_all(struct http *h, struct pollfd *extra, size_t extra_count, int64_t max_ms, struct err *err)
{
	_cleanup_free_ struct pollfd *fds = xcalloc(extra_count + 1, sizeof(*fds));
	http_sockets_settle(h);
	if (extra_count > 0)
		memcpy(fds, extra, extra_count * sizeof(*fds));
	fds[extra_count] = (struct pollfd){.fd = h->epoll_fd, .events = POLLIN};
	int64_t ms = sooner(max_ms, next_due_ms(h));
	int ready = poll(fds, extra_count + 1, ms < 0 ? -1 : (int)MIN(ms, INT_MAX));
	if (ready < 0 && errno != EINTR)
		return err_errno(err, errno, "wait for the network");
	h->ready = ready > 0 && fds[extra_count].revents != 0;
	for (size_t i = 0; i < extra_count; i++)
		extra[i].revents = ready > 0 ? fds[i].revents : 0;
	return MAX(ready, 0) - h->ready;
}

int http_wait(struct http *h, struct wait *w, struct err *err)
{
	struct pollfd cancel = {.fd = w != NULL ? w->cancel_fd : -1, .events = POLLIN};
	int r = poll_all(h, &cancel, 1, wait_left_ms(w), err);
	return r < 0 ? r : wait_ms(w, 0, err);
}

int http_step(struct http *h, struct pollfd *extra, size_t extra_count, int64_t max_wait_ms, struct err *err)
{
	int ended = http_turn(h, err);
	if (ended < 0)
		return ended;
	int ready = poll_all(h, extra, extra_count, ended > 0 ? 0 : max_wait_ms, err);
	if (ready < 0)
		return ready;
	int r = http_turn(h, err);
	return r < 0 ? r : ready;
}

struct waiter {
	bool done;
	int result;
	struct http_response response;
	struct err err;
};

static void wake_waiter(void *context, int result, struct http_response *response, const struct err *err)
{
	struct waiter *waiter = context;
	waiter->done = true;
	waiter->result = result;
	waiter->response = *response;
	*response = (struct http_response){0};
	if (err != NULL)
		waiter->err = *err;
}

int http_perform(struct http *h, const struct http_request *request, struct wait *w, struct http_response *ret,
                 struct err *err)
{
	struct waiter waiter = {.err = ERR_INIT};
	int r = wait_check(w, err);
	if (r < 0)
		return err_wrap(err, r, "before the request");
	struct http_request own = *request;
	own.borrow_body = true;
	struct http_transfer *t = http_transfer_new(h, &own, err);
	if (t == NULL)
		return ERR_INVALID;
	t->done = wake_waiter;
	t->done_context = &waiter;
	t->deadline_mono_ms = w != NULL ? w->deadline_mono_ms : 0;
	r = http_launch(t, err);
	if (r < 0)
		return r;
	for (;;) {
		r = http_turn(h, err);
		if (waiter.done)
			break;
		if (r >= 0)
			r = http_turns_inside(h) ? http_turns_wait(h, &waiter.done, err) : http_wait(h, w, err);
		if (r < 0) {
			r = err_wrap(err, r, "%s %s", t->method, t->label);
			http_cancel(t);
			return r;
		}
	}
	if (waiter.result < 0) {
		http_response_done(&waiter.response);
		if (err != NULL)
			*err = waiter.err;
		return waiter.result;
	}
	*ret = waiter.response;
	return 0;
}
