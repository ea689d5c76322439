/* libcurl's handle for one try, with the options of its request; and those handles that are kept.
 *
 * A waiting agent does nothing but polls, which differ from each other by URL, headers and time. Making their handle anew
 * takes libcurl as long as all of its work with it, so the handle of such a request serves a later one, with all its other options as they are. */
#include "base/net/http_priv.h"

#include <errno.h>
#include <unistd.h>

enum { SMALL_BUFFER = 1024 };

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
	http_transfer_sent(t, t->body == NULL && t->body_fd <= 0 && !t->upgrade && !t->handshake);
	return CURL_PREREQFUNC_OK;
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
			t->failed = err_errno(http_transfer_text(t), errno, "%s: read the body to send", t->label);
		else
			t->failed = err_set(http_transfer_text(t), ERR_IO,
			                    "%s: the body to send is shorter than %zu bytes", t->label, t->body_len);
		return CURL_READFUNC_ABORT;
	}
	t->body_sent += (size_t)n;
	return (size_t)n;
}

static void set_body(struct http_transfer *t)
{
	bool is_post = strcmp(t->method, "POST") == 0, is_put = strcmp(t->method, "PUT") == 0;
	bool is_patch = strcmp(t->method, "PATCH") == 0;
	if (t->body_fd > 0) {
		curl_easy_setopt(t->easy, CURLOPT_POST, 1L);
		curl_easy_setopt(t->easy, CURLOPT_READFUNCTION, on_send);
		curl_easy_setopt(t->easy, CURLOPT_READDATA, t);
		curl_easy_setopt(t->easy, CURLOPT_SEEKFUNCTION, http_transfer_seek);
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
	http_transfer_sent(t, false);
	return 0;
}

static int on_connect(void *context, curl_socket_t fd, curlsocktype purpose)
{
	struct http_transfer *t = context;
	(void)purpose;
	http_sockets_opened(t->client, fd);
	http_transfer_sent(t, false);
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
	if (t->connected_fd >= 0)
		set_connected(t);
	if (t->connect_to != NULL)
		curl_easy_setopt(t->easy, CURLOPT_CONNECT_TO, t->connect_to);
	if (t->socket != NULL) {
		curl_easy_setopt(t->easy, CURLOPT_UNIX_SOCKET_PATH, t->socket);
		curl_easy_setopt(t->easy, CURLOPT_PROXY, "");
	}
	if (t->last || t->fresh)
		curl_easy_setopt(t->easy, CURLOPT_FORBID_REUSE, 1L);
	if (t->fresh) {
		curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
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
	return t->max_body > HTTP_BODY_MAX ? 64 * 1024 : SMALL_BUFFER;
}

/* It also holds the request of a poll for its duration; a large body is sent in few pieces. */
static long upload_buffer_size(const struct http_transfer *t)
{
	return t->body_len > 256 * 1024 ? 256 * 1024 : 16 * 1024;
}

/* What is the same for every request, or is never changed for one that is plain. */
static void set_common(struct http_transfer *t)
{
	const struct http *h = t->client;
	net_easy_defaults(t->easy);
	set_protocols(t);
	set_trust(t);
	set_connection(t);
	curl_easy_setopt(t->easy, CURLOPT_USERAGENT, h->user_agent);
	curl_easy_setopt(t->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(t->easy, CURLOPT_BUFFERSIZE, buffer_size(t));
	if (t->body_fd <= 0)
		curl_easy_setopt(t->easy, CURLOPT_UPLOAD_BUFFERSIZE, upload_buffer_size(t));
	curl_easy_setopt(t->easy, CURLOPT_CLOSESOCKETFUNCTION, http_sockets_close);
	curl_easy_setopt(t->easy, CURLOPT_CLOSESOCKETDATA, h);
	curl_easy_setopt(t->easy, CURLOPT_RESOLVER_START_FUNCTION, on_resolve);
	curl_easy_setopt(t->easy, CURLOPT_SOCKOPTFUNCTION, on_connect);
	curl_easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, http_answer_header);
	curl_easy_setopt(t->easy, CURLOPT_PREREQFUNCTION, count_sending);
	curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, http_answer_data);
	if (h->proxy != NULL && t->socket == NULL)
		curl_easy_setopt(t->easy, CURLOPT_PROXY, h->proxy);
	if (t->plain && h->sessions != NULL)
		curl_easy_setopt(t->easy, CURLOPT_SHARE, h->sessions);
	set_body(t);
}

static void set_own(struct http_transfer *t, int64_t timeout_ms)
{
	curl_easy_setopt(t->easy, CURLOPT_URL, t->url);
	/* One connection for many polls where the service speaks HTTP/2. */
	curl_easy_setopt(t->easy, CURLOPT_PIPEWAIT, str_starts(t->url, "http:") ? 0L : 1L);
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
	curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)MIN(t->connect_timeout_ms, timeout_ms));
	/* The length that an answer to HEAD names is that of a body that does not come. */
	if (t->on_body == NULL && strcmp(t->method, "HEAD") != 0)
		curl_easy_setopt(t->easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)t->max_body);
	curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
	curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->detail);
	curl_easy_setopt(t->easy, CURLOPT_RESOLVER_START_DATA, t);
	curl_easy_setopt(t->easy, CURLOPT_SOCKOPTDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_PREREQDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
}

/* A request that set_common() gives nothing of its own. */
static bool is_plain(const struct http_transfer *t)
{
	return strcmp(t->method, "GET") == 0 && t->body == NULL && t->body_fd <= 0 && t->on_body == NULL &&
	       buffer_size(t) == SMALL_BUFFER && t->socket == NULL && t->ca_text == NULL && t->connect_to == NULL &&
	       t->connected_fd < 0 && !t->given_connection && !t->last && !t->fresh && !t->anonymous &&
	       !t->unverified && !t->upgrade && !t->handshake;
}

int http_handle_take(struct http_transfer *t, int64_t timeout_ms, struct err *err)
{
	struct http *h = t->client;
	t->plain = is_plain(t);
	if (t->plain && h->kept_count > 0) {
		t->easy = h->kept[--h->kept_count];
	} else {
		t->easy = curl_easy_init();
		if (t->easy == NULL)
			return err_set(err, ERR_INTERNAL, "libcurl gives no handle");
		set_common(t);
	}
	set_own(t, timeout_ms);
	return 0;
}

void http_handle_give(struct http_transfer *t, bool ended_well)
{
	struct http *h = t->client;
	CURL *easy = TAKE(t->easy);
	if (easy == NULL)
		return;
	curl_multi_remove_handle(h->multi, easy);
	if (!ended_well || !t->plain || h->kept_count == HTTP_HANDLES_KEPT) {
		curl_easy_cleanup(easy);
		return;
	}
	/* Nothing of the request that is over, which may be freed. */
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, NULL);
	h->kept[h->kept_count++] = easy;
}

/* What asks for a certificate, or shows none, is never plain: it resumes no session of another request. */
void http_handles_begin(struct http *h)
{
	h->sessions = curl_share_init();
	if (h->sessions != NULL)
		curl_share_setopt(h->sessions, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
}

void http_handles_forget(struct http *h)
{
	while (h->kept_count > 0)
		curl_easy_cleanup(h->kept[--h->kept_count]);
}

void http_handles_end(struct http *h)
{
	http_handles_forget(h);
	curl_share_cleanup(h->sessions);
}
