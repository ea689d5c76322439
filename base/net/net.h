/* Connections by libcurl: names, proxies and happy eyeballs are its work, the waiting is ours (base/core/wait.h). */
#pragma once
#include "base/core/err.h"
#include "base/core/wait.h"

/* A plain TCP connection. The socket does not block; it lives as long as the connection. */
struct net_conn;
/* A SOCKS or HTTP proxy is taken from all_proxy (ALL_PROXY), unless no_proxy names the host. timeout_ms 0: 30 s.
 * Errors: ERR_NETWORK (name unknown, refused, unreachable), ERR_TIMEOUT, ERR_CANCELLED. */
int net_connect(const char *host, int port, int64_t timeout_ms, struct wait *w, struct net_conn **ret, struct err *err);
int net_fd(const struct net_conn *c);
void net_close(struct net_conn *c);
void net_closep(struct net_conn **c);
/* "localhost", 127.0.0.0/8 or ::1 (in brackets or not): what is said there stays on this machine. A name that only begins so is none. */
bool net_is_loopback(const char *host);
/* Both are URLs of one scheme, host and port. */
bool net_same_origin(const char *a, const char *b);

/* ---- service.c: where a service is, by its URL. One that is not https is taken for hosts of loopback only ---- */

struct net_service {
	bool secure; /* https */
	char *host;  /* "HOST", or "HOST:PORT" where it is not the scheme's own */
	char *path;  /* from "/" */
};
/* kind: "a registry", for messages. */
int net_service_read(const char *text, const char *kind, struct net_service *ret, struct err *err);
void net_service_done(struct net_service *s);
