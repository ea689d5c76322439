#include "base/net/net.h"
#include "base/core/clock.h"
#include "base/core/mem.h"
#include "base/net/net_priv.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

struct net_conn {
	CURLM *multi;
	CURL *easy;
	int fd;
};

static void init_once(void)
{
	if (net_memory_init() != CURLE_OK)
		abort();
}

void net_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, init_once);
}

void net_easy_defaults(CURL *easy)
{
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* With a CA directory libcurl 7.88 parses the whole store for each connection: 880 KiB and 40 ms. */
	curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* Freeing a handle during name resolution would wait for the resolver's thread. */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
	curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	/* A proxy elsewhere has another loopback: loopback addresses are always reached directly, whatever the environment says of proxies. */
	const char *others = getenv("no_proxy");
	if (others == NULL || *others == '\0')
		others = getenv("NO_PROXY");
	_cleanup_free_ char *none = xasprintf("%s%slocalhost,127.0.0.0/8,::1", others != NULL ? others : "",
	                                      others != NULL && *others != '\0' ? "," : "");
	curl_easy_setopt(easy, CURLOPT_NOPROXY, none);
}

static int err_of(CURLcode code)
{
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		return ERR_TIMEOUT;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_LOGIN_DENIED:
		return ERR_AUTH;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return ERR_INVALID;
	case CURLE_TOO_MANY_REDIRECTS:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
		return ERR_PROTOCOL;
	case CURLE_FILESIZE_EXCEEDED:
		return ERR_LIMIT;
	case CURLE_READ_ERROR:
		return ERR_IO;
	default:
		return ERR_NETWORK;
	}
}

int net_curl_err(CURLcode code, const char *detail, const char *what, struct err *err)
{
	int r = err_set(err, err_of(code), "%s: %s", what,
	                detail != NULL && *detail != '\0' ? detail : curl_easy_strerror(code));
	if (err != NULL)
		err->foreign = (long)code;
	if (code == CURLE_PEER_FAILED_VERIFICATION)
		r = err_hint(err, r,
		             "if the server's certificate comes from an authority of your own, name its CA file "
		             "(SSL_CERT_FILE, or the setting for it)");
	if (code == CURLE_COULDNT_RESOLVE_HOST)
		r = err_hint(err, r, "check the host's name and this machine's DNS");
	return r;
}

/* Waits for activity of the handle. 0, or as wait_ms. */
static int multi_wait(CURLM *multi, struct wait *w, struct err *err)
{
	struct curl_waitfd cancel = {.fd = w != NULL ? w->cancel_fd : -1, .events = CURL_WAIT_POLLIN};
	int64_t left = wait_left_ms(w);
	/* libcurl's own timers shorten this. */
	CURLMcode code = curl_multi_poll(multi, cancel.fd >= 0 ? &cancel : NULL, cancel.fd >= 0 ? 1 : 0,
	                                 left < 0 ? INT_MAX : (int)MIN(left, INT_MAX), NULL);
	if (code != CURLM_OK)
		return err_set(err, ERR_INTERNAL, "wait for the network: %s", curl_multi_strerror(code));
	return wait_ms(w, 0, err);
}

static void set_proxy(CURL *easy)
{
	const char *proxy = getenv("all_proxy");
	if (proxy == NULL || *proxy == '\0')
		proxy = getenv("ALL_PROXY");
	/* "" also keeps http_proxy away, which is not meant for such a connection. */
	curl_easy_setopt(easy, CURLOPT_PROXY, proxy != NULL ? proxy : "");
	curl_easy_setopt(easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
	curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
}

static int run_connect(struct net_conn *c, const char *what, char *detail, struct wait *w, struct err *err)
{
	for (;;) {
		int running = 0, queued;
		CURLMcode code = curl_multi_perform(c->multi, &running);
		if (code != CURLM_OK)
			return err_set(err, ERR_INTERNAL, "connect to %s: %s", what, curl_multi_strerror(code));
		CURLMsg *message = curl_multi_info_read(c->multi, &queued);
		if (message != NULL && message->msg == CURLMSG_DONE)
			return message->data.result == CURLE_OK ? 0
			                                        : net_curl_err(message->data.result, detail, what, err);
		int r = multi_wait(c->multi, w, err);
		if (r < 0)
			return err_wrap(err, r, "connect to %s", what);
	}
}

static void keep_alive(int fd)
{
	int on = 1, idle = 60, interval = 15, count = 4;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

int net_connect(const char *host, int port, int64_t timeout_ms, struct wait *w, struct net_conn **ret, struct err *err)
{
	net_init();
	bool bare_v6 = strchr(host, ':') != NULL && host[0] != '[';
	_cleanup_free_ char *url = xasprintf(bare_v6 ? "http://[%s]:%d/" : "http://%s:%d/", host, port);
	_cleanup_free_ char *what = xasprintf("%s port %d", host, port);
	/* A host is one name: with any of these it would become another part of a URL. */
	if (*host == '\0' || strpbrk(host, "/@?#\\ \t\r\n") != NULL)
		return err_set(err, ERR_INVALID, "'%s' is not a host name", host);

	_cleanup_(net_closep) struct net_conn *c = xcalloc(1, sizeof(*c));
	char detail[CURL_ERROR_SIZE] = "";
	c->fd = -1;
	c->multi = curl_multi_init();
	c->easy = curl_easy_init();
	if (c->multi == NULL || c->easy == NULL)
		return err_set(err, ERR_INTERNAL, "libcurl gives no handle");
	net_easy_defaults(c->easy);
	set_proxy(c->easy);
	curl_easy_setopt(c->easy, CURLOPT_URL, url);
	curl_easy_setopt(c->easy, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, detail);
	curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(timeout_ms > 0 ? timeout_ms : 30000));
	curl_multi_add_handle(c->multi, c->easy);
	int r = run_connect(c, what, detail, w, err);
	curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, NULL);
	if (r < 0)
		return r;
	curl_socket_t fd = CURL_SOCKET_BAD;
	if (curl_easy_getinfo(c->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd == CURL_SOCKET_BAD)
		return err_set(err, ERR_NETWORK, "%s closed the connection at once", what);
	c->fd = fd;
	keep_alive(fd);
	*ret = TAKE(c);
	return 0;
}

int net_fd(const struct net_conn *c)
{
	return c->fd;
}

void net_close(struct net_conn *c)
{
	if (c == NULL)
		return;
	if (c->multi != NULL && c->easy != NULL)
		curl_multi_remove_handle(c->multi, c->easy);
	curl_easy_cleanup(c->easy);
	if (c->multi != NULL)
		curl_multi_cleanup(c->multi);
	free(c);
}

void net_closep(struct net_conn **c)
{
	net_close(*c);
	*c = NULL;
}

bool net_is_loopback(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;
	if (host == NULL)
		return false;
	if (strcasecmp(host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	size_t len = strlen(host);
	_cleanup_free_ char *bare =
		len > 2 && host[0] == '[' && host[len - 1] == ']' ? xstrndup(host + 1, len - 2) : xstrdup(host);
	return inet_pton(AF_INET6, bare, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}
