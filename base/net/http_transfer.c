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
	HEADER_BYTES_MAX = 256 * 1024,
	BODY_MAX_DEFAULT = 1024 * 1024,
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
		t->max_body = BODY_MAX_DEFAULT;
	t->timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : 60000;
	t->connect_timeout_ms = request->connect_timeout_ms > 0 ? request->connect_timeout_ms : 30000;
	t->retries_left = request->retries;
	t->follow = request->follow;
	t->fresh = request->fresh;
	t->anonymous = request->anonymous;
	t->unverified = request->unverified;
	t->handshake = request->handshake;
	t->connected_fd = request->connected_fd > 0 ? fcntl(request->connected_fd, F_DUPFD_CLOEXEC, 3) : -1;
	t->ca_text = xstrdup(request->ca_text);
	t->socket = xstrdup(request->socket);
	t->on_body = request->on_body;
	t->body_context = request->context;
	t->response.body.max = MAX(t->max_body, (size_t)BODY_MAX_DEFAULT);
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
	if (t->easy != NULL) {
		curl_multi_remove_handle(t->client->multi, t->easy);
		curl_easy_cleanup(t->easy);
	}
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

static struct err *text_of(struct http_transfer *t)
{
	if (t->err == NULL)
		t->err = xcalloc(1, sizeof(*t->err));
	return t->err;
}

static void forget_answer(struct http_transfer *t)
{
	strv_done(&t->response.headers);
	str_clear(&t->response.body);
	free(TAKE(t->response.reason));
	free(TAKE(t->response.final_url));
	free(TAKE(t->response.peer));
	free(TAKE(t->response.certificate));
	t->response.status = 0;
	t->response.resent = false;
	t->header_bytes = 0;
	t->sent_times = 0;
}

/* libcurl sends a request once more, without a word, where a connection that was kept open ends before any answer. */
static int count_sending(void *context, char *peer, char *own, int peer_port, int own_port)
{
	struct http_transfer *t = context;
	(void)peer;
	(void)own;
	(void)peer_port;
	(void)own_port;
	t->response.resent = t->sent_times++ > 0;
	t->ever_sent = true;
	t->sent = t->body == NULL && t->body_fd <= 0 && !t->upgrade && !t->handshake;
	return CURL_PREREQFUNC_OK;
}

static size_t on_header(char *data, size_t size, size_t count, void *context)
{
	struct http_transfer *t = context;
	size_t len = size * count;
	t->header_bytes += len;
	if (t->header_bytes > HEADER_BYTES_MAX) {
		t->failed = err_set(text_of(t), ERR_LIMIT, "%s: more than %d KiB of headers", t->label,
		                    HEADER_BYTES_MAX / 1024);
		return 0;
	}
	while (len > 0 && (data[len - 1] == '\n' || data[len - 1] == '\r'))
		len--;
	/* A status line: of a redirect's answer, of 100 Continue, or the final one. */
	if (len >= 5 && memcmp(data, "HTTP/", 5) == 0) {
		const char *number = memchr(data, ' ', len);
		size_t at = number != NULL ? (size_t)(number - data) + strlen(" 200 ") : len;
		strv_done(&t->response.headers);
		free(TAKE(t->response.reason));
		if (at < len)
			t->response.reason = xstrndup(data + at, len - at);
		return size * count;
	}
	if (len > 0)
		strv_add_take(&t->response.headers, xstrndup(data, len));
	return size * count;
}

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static size_t on_data(char *data, size_t size, size_t count, void *context)
{
	struct http_transfer *t = context;
	size_t len = size * count;
	long status = 0;
	if (t->failed < 0)
		return 0;
	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	t->response.status = (int)status;
	if (t->follow && is_redirect(t->response.status) && http_header(&t->response, "Location") != NULL)
		return len;
	if (t->on_body != NULL && status >= 200 && status < 300) {
		curl_off_t before = 0;
		curl_easy_getinfo(t->easy, CURLINFO_SIZE_DOWNLOAD_T, &before);
		if (t->max_body != 0 && (uint64_t)before > t->max_body) {
			t->failed = err_set(text_of(t), ERR_LIMIT, "%s: the answer is larger than %zu bytes", t->label,
			                    t->max_body);
			return 0;
		}
		t->body_taken = true;
		t->failed = t->on_body(t->body_context, data, len, text_of(t));
		return t->failed < 0 ? 0 : len;
	}
	size_t max = t->on_body != NULL ? (size_t)BODY_MAX_DEFAULT : t->max_body;
	if (t->response.body.len + len > max || !str_append_n(&t->response.body, data, len)) {
		t->failed = err_set(text_of(t), ERR_LIMIT, "%s: the answer is larger than %zu bytes", t->label, max);
		return 0;
	}
	return len;
}

static size_t on_send(char *buffer, size_t size, size_t count, void *context)
{
	struct http_transfer *t = context;
	size_t want = MIN(size * count, t->body_len - t->body_sent);
	if (want == 0)
		return 0;
	ssize_t n;
	do {
		n = read(t->body_fd, buffer, want);
	} while (n < 0 && errno == EINTR);
	if (n <= 0) {
		if (n < 0)
			t->failed = err_errno(text_of(t), errno, "%s: read the body to send", t->label);
		else
			t->failed = err_set(text_of(t), ERR_IO, "%s: the body to send is shorter than %zu bytes",
			                    t->label, t->body_len);
		return CURL_READFUNC_ABORT;
	}
	t->body_sent += (size_t)n;
	return (size_t)n;
}

static int on_seek(void *context, curl_off_t offset, int origin)
{
	struct http_transfer *t = context;
	if (origin != SEEK_SET || t->body_start < 0 || lseek(t->body_fd, t->body_start + offset, SEEK_SET) < 0)
		return CURL_SEEKFUNC_CANTSEEK;
	t->body_sent = (size_t)offset;
	return CURL_SEEKFUNC_OK;
}

static void set_body(struct http_transfer *t)
{
	bool is_post = strcmp(t->method, "POST") == 0, is_put = strcmp(t->method, "PUT") == 0;
	bool is_patch = strcmp(t->method, "PATCH") == 0;
	if (t->body_fd > 0) {
		curl_easy_setopt(t->easy, CURLOPT_POST, 1L);
		curl_easy_setopt(t->easy, CURLOPT_READFUNCTION, on_send);
		curl_easy_setopt(t->easy, CURLOPT_READDATA, t);
		curl_easy_setopt(t->easy, CURLOPT_SEEKFUNCTION, on_seek);
		curl_easy_setopt(t->easy, CURLOPT_SEEKDATA, t);
		curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->body_len);
	} else if (t->body != NULL || is_post || is_put || is_patch) {
		curl_easy_setopt(t->easy, CURLOPT_POST, 1L);
		curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->body_len);
		curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, t->body != NULL ? t->body : "");
	} else if (strcmp(t->method, "HEAD") == 0) {
		curl_easy_setopt(t->easy, CURLOPT_NOBODY, 1L);
		return;
	} else if (strcmp(t->method, "GET") == 0) {
		return;
	}
	if (!is_post)
		curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, t->method);
}

static void set_trust(struct http_transfer *t)
{
	const struct http *h = t->client;
	if (h->ca_file != NULL)
		curl_easy_setopt(t->easy, CURLOPT_CAINFO, h->ca_file);
	if (h->client_cert != NULL && !t->anonymous)
		curl_easy_setopt(t->easy, CURLOPT_SSLCERT, h->client_cert);
	if (h->client_key != NULL && !t->anonymous)
		curl_easy_setopt(t->easy, CURLOPT_SSLKEY, h->client_key);
	if (t->ca_text != NULL) {
		struct curl_blob blob = {.data = t->ca_text, .len = strlen(t->ca_text), .flags = CURL_BLOB_NOCOPY};
		curl_easy_setopt(t->easy, CURLOPT_CAINFO_BLOB, &blob);
	}
	curl_easy_setopt(t->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (h->public_key != NULL)
		curl_easy_setopt(t->easy, CURLOPT_PINNEDPUBLICKEY, h->public_key);
	/* A pinned key says more than a name: libcurl compares it whether or not it verifies the certificate. */
	if (h->insecure || t->unverified || h->public_key != NULL) {
		curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

/* The connection is libcurl's from here on, which closes it. Without one it tries no other: the other end was told what comes. */
static curl_socket_t give_connection(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct http_transfer *t = context;
	int fd = t->connected_fd;
	(void)purpose;
	(void)address;
	t->connected_fd = -1;
	t->given_connection = true;
	return fd >= 0 ? fd : CURL_SOCKET_BAD;
}

/* What was sent on a connection that then broke is sent once more. */
static int on_resolve(void *resolver, void *reserved, void *context)
{
	struct http_transfer *t = context;
	(void)resolver;
	(void)reserved;
	t->sent = false;
	return 0;
}

static int on_connect(void *context, curl_socket_t fd, curlsocktype purpose)
{
	struct http_transfer *t = context;
	(void)fd;
	(void)purpose;
	t->sent = false;
	return t->given_connection ? CURL_SOCKOPT_ALREADY_CONNECTED : CURL_SOCKOPT_OK;
}

static void set_connected(struct http_transfer *t)
{
	curl_easy_setopt(t->easy, CURLOPT_OPENSOCKETFUNCTION, give_connection);
	curl_easy_setopt(t->easy, CURLOPT_OPENSOCKETDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(t->easy, CURLOPT_SSL_ENABLE_ALPN, 0L);
}

static void set_connection(struct http_transfer *t)
{
	curl_easy_setopt(t->easy, CURLOPT_RESOLVER_START_FUNCTION, on_resolve);
	curl_easy_setopt(t->easy, CURLOPT_RESOLVER_START_DATA, t);
	curl_easy_setopt(t->easy, CURLOPT_SOCKOPTFUNCTION, on_connect);
	curl_easy_setopt(t->easy, CURLOPT_SOCKOPTDATA, t);
	if (t->connected_fd >= 0)
		set_connected(t);
	if (t->connect_to != NULL)
		curl_easy_setopt(t->easy, CURLOPT_CONNECT_TO, t->connect_to);
	if (t->socket != NULL) {
		curl_easy_setopt(t->easy, CURLOPT_UNIX_SOCKET_PATH, t->socket);
		curl_easy_setopt(t->easy, CURLOPT_PROXY, "");
	}
	if (t->fresh) {
		curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
		curl_easy_setopt(t->easy, CURLOPT_FORBID_REUSE, 1L);
		curl_easy_setopt(t->easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
	}
	if (t->upgrade) {
		curl_easy_setopt(t->easy, CURLOPT_CONNECT_ONLY, 1L);
		curl_easy_setopt(t->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
		curl_easy_setopt(t->easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
	}
	if (t->handshake) {
		curl_easy_setopt(t->easy, CURLOPT_CONNECT_ONLY, 1L);
		curl_easy_setopt(t->easy, CURLOPT_CERTINFO, 1L);
		curl_easy_setopt(t->easy, CURLOPT_USE_SSL, (long)CURLUSESSL_ALL);
	}
}

static void set_protocols(struct http_transfer *t)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, t->handshake ? "https,smtp,imap" : "http,https");
	curl_easy_setopt(t->easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS,
	                 (long)(t->handshake ? CURLPROTO_HTTPS | CURLPROTO_SMTP | CURLPROTO_IMAP
	                                     : CURLPROTO_HTTP | CURLPROTO_HTTPS));
	curl_easy_setopt(t->easy, CURLOPT_REDIR_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

/* The buffer stays as long as the request: small for a poll that waits, large for a body that streams. */
static long buffer_size(const struct http_transfer *t)
{
	if (t->on_body != NULL)
		return 256 * 1024;
	return t->max_body > BODY_MAX_DEFAULT ? 64 * 1024 : 1024;
}

/* It also holds the request of a poll for its duration; a large body is sent in few pieces. */
static long upload_buffer_size(const struct http_transfer *t)
{
	return t->body_len > 256 * 1024 ? 256 * 1024 : 16 * 1024;
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
	forget_answer(t);
	t->failed = 0;
	t->sent = false;
	t->tries++;
	if (t->body_fd > 0 && t->body_sent > 0 && on_seek(t, 0, SEEK_SET) != CURL_SEEKFUNC_OK)
		return err_set(err, ERR_IO, "%s: the body cannot be sent again", t->label);
	t->easy = curl_easy_init();
	if (t->easy == NULL)
		return err_set(err, ERR_INTERNAL, "libcurl gives no handle");
	net_easy_defaults(t->easy);
	set_protocols(t);
	set_trust(t);
	set_connection(t);
	curl_easy_setopt(t->easy, CURLOPT_URL, t->url);
	curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
	curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->detail);
	curl_easy_setopt(t->easy, CURLOPT_USERAGENT, h->user_agent);
	curl_easy_setopt(t->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(t->easy, CURLOPT_BUFFERSIZE, buffer_size(t));
	if (t->body_fd <= 0)
		curl_easy_setopt(t->easy, CURLOPT_UPLOAD_BUFFERSIZE, upload_buffer_size(t));
	curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)timeout);
	curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)MIN(t->connect_timeout_ms, timeout));
	curl_easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_PREREQFUNCTION, count_sending);
	curl_easy_setopt(t->easy, CURLOPT_PREREQDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
	if (t->headers != NULL)
		curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
	if (h->proxy != NULL && t->socket == NULL)
		curl_easy_setopt(t->easy, CURLOPT_PROXY, h->proxy);
	/* The length that an answer to HEAD names is that of a body that does not come. */
	if (t->on_body == NULL && strcmp(t->method, "HEAD") != 0)
		curl_easy_setopt(t->easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)t->max_body);
	set_body(t);
	CURLMcode code = curl_multi_add_handle(h->multi, t->easy);
	if (code != CURLM_OK) {
		curl_easy_cleanup(TAKE(t->easy));
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
	bool redirected =
		code == CURLE_OK && t->failed >= 0 && t->follow && redirect != NULL && is_redirect(t->response.status);
	if (redirected)
		redirected = follow_redirect(t, redirect, text_of(t));
	if (!t->upgrade || code != CURLE_OK) {
		curl_multi_remove_handle(t->client->multi, t->easy);
		curl_easy_cleanup(TAKE(t->easy));
	}
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
			*err = *text_of(t);
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
