#include "base/net/http_priv.h"
#include "base/net/net.h"
#include "base/core/clock.h"
#include "base/core/rand.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

enum {
	REDIRECTS_MAX = 10,
	BACKOFF_FIRST_MS = 400,
	BACKOFF_MAX_MS = 20000,
	RETRY_AFTER_MAX_MS = 120000,
	LATE_MS = 20,
};

static char *label_of(const char *url)
{
	const char *start = strstr(url, "://");
	const char *authority = start != NULL ? start + 3 : url;
	size_t authority_len = strcspn(authority, "/?#");
	const char *path = authority + authority_len;
	/* "user:password@" must not be shown. */
	for (size_t i = authority_len; i > 0; i--) {
		if (authority[i - 1] == '@') {
			authority_len -= i;
			authority += i;
			break;
		}
	}
	return xasprintf("%.*s%.*s%.*s", start != NULL ? (int)(start + 3 - url) : 0, url, (int)authority_len, authority,
	                 (int)strcspn(path, "?#"), path);
}

static bool has_header(const char *const *headers, const char *name)
{
	size_t len = strlen(name);
	for (; headers != NULL && *headers != NULL; headers++)
		if (strncasecmp(*headers, name, len) == 0 && (*headers)[len] == ':')
			return true;
	return false;
}

static int add_header(struct curl_slist **list, const char *header, struct err *err)
{
	if (strpbrk(header, "\r\n") != NULL)
		return err_set(err, ERR_INVALID, "a header holds a line break: '%.*s'", (int)strcspn(header, ":\r\n"),
		               header);
	size_t name_len = strcspn(header, ":");
	const char *value = header + name_len + (header[name_len] == ':');
	struct curl_slist *longer;
	/* libcurl accepts a header without a value only when it ends in a semicolon. */
	if (header[name_len] == ':' && value[strspn(value, " \t")] == '\0') {
		_cleanup_free_ char *empty = xasprintf("%.*s;", (int)name_len, header);
		longer = curl_slist_append(*list, empty);
	} else {
		longer = curl_slist_append(*list, header);
	}
	if (longer == NULL)
		return err_set(err, ERR_LIMIT, "no memory for headers");
	*list = longer;
	return 0;
}

static int copy_headers(struct http_transfer *t, const char *const *headers, bool has_body, struct err *err)
{
	for (const char *const *h = headers; h != NULL && *h != NULL; h++) {
		int r = add_header(&t->headers, *h, err);
		if (r < 0)
			return r;
	}
	/* Not libcurl's own: it would say application/x-www-form-urlencoded, and wait 1 s for "100 Continue". */
	if (has_body && !has_header(headers, "Content-Type"))
		t->headers = curl_slist_append(t->headers, "Content-Type:");
	if (has_body && !has_header(headers, "Expect"))
		t->headers = curl_slist_append(t->headers, "Expect:");
	return 0;
}

/* Not CURLOPT_RESOLVE, which stays in the client for everybody's requests. */
static int copy_resolve(struct http_transfer *t, const char *resolve, struct err *err)
{
	if (resolve == NULL)
		return 0;
	const char *port = strchr(resolve, ':'), *address = port != NULL ? strchr(port + 1, ':') : NULL;
	if (address == NULL || address[1] == '\0')
		return err_set(err, ERR_INVALID, "'%s' is not HOST:PORT:ADDRESS", resolve);
	bool bare = strchr(address + 1, ':') != NULL && address[1] != '[';
	_cleanup_free_ char *entry = xasprintf("%.*s%s%s%s:", (int)(address + 1 - resolve), resolve, bare ? "[" : "",
	                                       address + 1, bare ? "]" : "");
	t->connect_to = curl_slist_append(NULL, entry);
	return t->connect_to != NULL ? 0 : err_set(err, ERR_LIMIT, "no memory for an address");
}

struct http_transfer *http_transfer_new(struct http *h, const struct http_request *request, struct err *err)
{
	bool body_given = request->body != NULL || request->body_fd > 0;
	struct http_transfer *t = xcalloc(1, sizeof(*t));
	t->client = h;
	t->method = xstrdup(request->method != NULL ? request->method : body_given ? "POST" : "GET");
	t->url = xstrdup(request->url);
	t->label = label_of(request->url);
	t->body_len = body_given ? request->body_len : 0;
	t->body_fd = request->body_fd;
	t->max_body = request->max_body;
	if (t->max_body == 0 && request->on_body == NULL)
		t->max_body = HTTP_BODY_MAX;
	t->timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : 60000;
	t->connect_timeout_ms = request->connect_timeout_ms > 0 ? request->connect_timeout_ms : 30000;
	t->retries_left = request->retries;
	t->follow = request->follow;
	t->last = request->last;
	t->fresh = request->fresh;
	t->anonymous = request->anonymous;
	t->unverified = request->unverified;
	t->handshake = request->handshake;
	t->connected_fd = request->connected_fd > 0 ? fcntl(request->connected_fd, F_DUPFD_CLOEXEC, 3) : -1;
	t->ca_text = xstrdup(request->ca_text);
	t->socket = xstrdup(request->socket);
	t->on_body = request->on_body;
	t->body_context = request->context;
	t->response.body.max = MAX(t->max_body, (size_t)HTTP_BODY_MAX);
	if (t->body_fd > 0) {
		t->body_start = lseek(t->body_fd, 0, SEEK_CUR);
	} else if (request->body != NULL) {
		t->body_owned = !request->borrow_body;
		t->body = request->borrow_body ? (void *)(uintptr_t)request->body
		                               : xmemdup(request->body, request->body_len);
	}
	if (request->connected_fd > 0 && t->connected_fd < 0) {
		err_errno(err, errno, "%s: the connection", t->label);
		http_transfer_free(t);
		return NULL;
	}
	if (copy_headers(t, request->headers, body_given, err) < 0 || copy_resolve(t, request->resolve, err) < 0) {
		http_transfer_free(t);
		return NULL;
	}
	return t;
}

void http_transfer_free(struct http_transfer *t)
{
	if (t == NULL)
		return;
	http_handle_give(t, false);
	curl_slist_free_all(t->headers);
	curl_slist_free_all(t->connect_to);
	free(t->ca_text);
	free(t->socket);
	if (t->body_owned)
		free(t->body);
	http_response_done(&t->response);
	free(t->method);
	free(t->url);
	free(t->label);
	free(t->err);
	closep(&t->connected_fd);
	free(t);
}

struct err *http_transfer_text(struct http_transfer *t)
{
	if (t->err == NULL)
		t->err = xcalloc(1, sizeof(*t->err));
	return t->err;
}

int http_transfer_seek(void *transfer, curl_off_t offset, int origin)
{
	struct http_transfer *t = transfer;
	if (origin != SEEK_SET || t->body_start < 0 || lseek(t->body_fd, t->body_start + offset, SEEK_SET) < 0)
		return CURL_SEEKFUNC_CANTSEEK;
	t->body_sent = (size_t)offset;
	return CURL_SEEKFUNC_OK;
}

void http_transfer_sent(struct http_transfer *t, bool sent)
{
	if (t->linked && t->easy != NULL)
		t->client->unsent += (size_t)t->sent - (size_t)sent;
	t->sent = sent;
}

int http_transfer_begin(struct http_transfer *t, struct err *err)
{
	struct http *h = t->client;
	int64_t timeout = t->timeout_ms;
	if (t->deadline_mono_ms != 0)
		timeout = MAX(MIN(timeout, t->deadline_mono_ms - clock_mono_ms()), 1);
	if (t->hops_until_mono_ms == 0)
		t->hops_until_mono_ms = clock_mono_ms() + timeout;
	else
		timeout = MAX(MIN(timeout, t->hops_until_mono_ms - clock_mono_ms()), 1);
	t->until_mono_ms = clock_mono_ms() + timeout + LATE_MS;
	http_answer_forget(t);
	t->failed = 0;
	t->sent = false;
	t->tries++;
	if (t->body_fd > 0 && t->body_sent > 0 && http_transfer_seek(t, 0, SEEK_SET) != CURL_SEEKFUNC_OK)
		return err_set(err, ERR_IO, "%s: the body cannot be sent again", t->label);
	int r = http_handle_take(t, timeout, err);
	if (r < 0)
		return r;
	CURLMcode code = curl_multi_add_handle(h->multi, t->easy);
	if (code != CURLM_OK) {
		http_handle_give(t, false);
		return err_set(err, ERR_INTERNAL, "%s: %s", t->label, curl_multi_strerror(code));
	}
	return 0;
}

static bool is_transient(CURLcode code)
{
	switch (code) {
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_PARTIAL_FILE:
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		return true;
	default:
		return false;
	}
}

/* Doubled each time, and anywhere between half of it and the whole: clients that failed together do not return
 * together. */
static int64_t backoff_ms(int tries, int pace_percent)
{
	int64_t full = BACKOFF_FIRST_MS;
	for (int i = 1; i < tries && full < BACKOFF_MAX_MS; i++)
		full *= 2;
	full = MIN(full, (int64_t)BACKOFF_MAX_MS) * pace_percent / 100;
	return full / 2 + (int64_t)rand_below((uint64_t)full / 2 + 1);
}

static bool may_try_again(struct http_transfer *t, CURLcode code)
{
	if (t->retries_left <= 0 || t->failed < 0 || t->body_taken)
		return false;
	if (t->body_fd > 0 && t->body_sent > 0 && t->body_start < 0)
		return false;
	int status = t->response.status;
	if (code != CURLE_OK)
		return is_transient(code);
	return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

/* Drops the caller's headers for another server: any of them may carry a secret. */
static void drop_own_headers(struct http_transfer *t, bool has_body)
{
	struct curl_slist *kept = NULL;
	for (const struct curl_slist *h = t->headers; h != NULL; h = h->next)
		if (strncasecmp(h->data, "Accept:", 7) == 0 ||
		    (has_body && strncasecmp(h->data, "Content-Type:", 13) == 0) ||
		    strncasecmp(h->data, "Expect:", 7) == 0)
			kept = curl_slist_append(kept, h->data);
	curl_slist_free_all(t->headers);
	t->headers = kept;
}

static void drop_body(struct http_transfer *t)
{
	if (t->body_owned)
		free(t->body);
	t->body = NULL;
	t->body_owned = false;
	t->body_len = t->body_sent = 0;
	t->body_fd = -1;
}

/* Turns t into the request that a redirect asks for. Done here since libcurl would send all headers except Authorization. */
static bool follow_redirect(struct http_transfer *t, const char *to, struct err *err)
{
	int status = t->response.status;
	if (t->hops++ >= REDIRECTS_MAX) {
		t->failed = err_set(err, ERR_PROTOCOL, "%s: more than %d redirects", t->label, REDIRECTS_MAX);
		return false;
	}
	bool was_post = strcmp(t->method, "POST") == 0;
	if ((status == 303 && strcmp(t->method, "HEAD") != 0) || ((status == 301 || status == 302) && was_post)) {
		free(t->method);
		t->method = xstrdup("GET");
		drop_body(t);
	}
	if (!net_same_origin(t->url, to))
		drop_own_headers(t, t->body != NULL || t->body_fd > 0);
	free(t->url);
	t->url = xstrdup(to);
	t->due_mono_ms = 0;
	return true;
}

static void take_peer(struct http_transfer *t)
{
	char *address = NULL;
	long port = 0;
	curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_IP, &address);
	curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_PORT, &port);
	if (address == NULL || *address == '\0' || port <= 0)
		return;
	bool bare = strchr(address, ':') != NULL;
	t->response.peer = xasprintf("%s%s%s:%ld", bare ? "[" : "", address, bare ? "]" : "", port);
}

static void take_certificate(struct http_transfer *t)
{
	static const char key[] = "Cert:";
	struct curl_certinfo *chain = NULL;
	if (!t->handshake || curl_easy_getinfo(t->easy, CURLINFO_CERTINFO, &chain) != CURLE_OK || chain == NULL ||
	    chain->num_of_certs == 0)
		return;
	for (const struct curl_slist *line = chain->certinfo[0]; line != NULL; line = line->next)
		if (strncmp(line->data, key, sizeof(key) - 1) == 0 && t->response.certificate == NULL)
			t->response.certificate = xstrdup(line->data + sizeof(key) - 1);
}

bool http_transfer_end(struct http_transfer *t, CURLcode code, int *ret_result, struct err *err)
{
	long status = 0;
	char *final_url = NULL;
	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &final_url);
	t->response.status = (int)status;
	t->response.final_url = xstrdup(final_url != NULL ? final_url : t->url);
	take_peer(t);
	take_certificate(t);
	char *redirect = NULL;
	curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &redirect);
	bool redirected = code == CURLE_OK && t->failed >= 0 && t->follow && redirect != NULL &&
	                  http_is_redirect(t->response.status);
	if (redirected)
		redirected = follow_redirect(t, redirect, http_transfer_text(t));
	if (!t->upgrade || code != CURLE_OK)
		http_handle_give(t, code == CURLE_OK && t->failed >= 0);
	if (redirected)
		return true;

	if (may_try_again(t, code)) {
		int64_t delay = backoff_ms(t->tries, t->client->pace_percent),
			asked = code == CURLE_OK ? http_retry_after_ms(&t->response) : -1;
		/* If the server asks for a longer wait, the caller gets the answer and decides itself. */
		if (asked <= RETRY_AFTER_MAX_MS) {
			t->due_mono_ms = clock_mono_ms() + MAX(delay, asked);
			if (t->deadline_mono_ms == 0 || t->due_mono_ms < t->deadline_mono_ms) {
				t->retries_left--;
				t->hops_until_mono_ms = 0;
				return true;
			}
		}
	}
	if (t->failed < 0) {
		if (err != NULL)
			*err = *http_transfer_text(t);
		*ret_result = t->failed;
	} else if (code == CURLE_FILESIZE_EXCEEDED) {
		*ret_result = err_set(err, ERR_LIMIT, "%s: the answer is larger than %zu bytes", t->label, t->max_body);
	} else if (code != CURLE_OK) {
		*ret_result = net_curl_err(code, t->detail, t->label, err);
		/* Its time went by before there was a connection (http_was_sent). */
		if (code == CURLE_OPERATION_TIMEDOUT && !t->ever_sent && err != NULL)
			err->foreign = CURLE_COULDNT_CONNECT;
	} else {
		*ret_result = 0;
	}
	return false;
}

void http_transfer_pause(struct http_transfer *t, bool paused)
{
	if (t->easy != NULL)
		curl_easy_pause(t->easy, paused ? CURLPAUSE_RECV : CURLPAUSE_CONT);
}
