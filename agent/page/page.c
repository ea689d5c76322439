#include "agent/page/page.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "agent/report/report.h"
#include "base/core/str.h"
#include "base/net/peer.h"

enum { CONNECTIONS_MAX = 32, IDLE_S = 15, REQUEST_MAX = 32 << 10, NAME_MAX_LEN = 64, STACK = 8 << 20 };
static const char html[] = "text/html; charset=utf-8", plain[] = "text/plain; charset=utf-8",
		  metrics[] = "text/plain; version=0.0.4; charset=utf-8", of_json[] = "application/json";

struct page {
	struct page_source source;
	bool all_users;
	int port;
	struct MHD_Daemon *daemon;
};

/* What is answered. */
struct reply {
	unsigned status;
	const char *type;
	char *body; /* free() */
};

/* ---- who asks ---- */

bool page_is_own_host(const char *header)
{
	static const char local[] = "localhost", six[] = "[::1]";
	size_t len = header[0] == '[' ? strcspn(header, "]") + (strchr(header, ']') != NULL) : strcspn(header, ":");
	const char *port = header + len;
	char name[NAME_MAX_LEN];
	if (len == 0 || len >= sizeof(name) ||
	    (*port != '\0' && (*port != ':' || port[1] == '\0' || strspn(port + 1, "0123456789") != strlen(port + 1))))
		return false;
	memcpy(name, header, len);
	name[len] = '\0';
	struct in_addr address;
	return strcasecmp(name, local) == 0 || strcmp(name, six) == 0 ||
	       (inet_pton(AF_INET, name, &address) == 1 && ntohl(address.s_addr) >> 24 == 127);
}

static bool is_welcome(const struct page *p, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	uid_t user;
	return p->all_users || (info != NULL && peer_user(info->connect_fd, &user) && (user == geteuid() || user == 0));
}

static struct reply refuse(unsigned status, const char *why)
{
	return (struct reply){.status = status, .type = plain, .body = xasprintf("%s\n", why)};
}

/* ---- what is asked for ---- */

static struct reply fail(const struct err *err)
{
	char line[ERR_FRAME_SIZE * 2];
	return refuse(err->code == ERR_NOT_FOUND ? MHD_HTTP_NOT_FOUND : MHD_HTTP_INTERNAL_SERVER_ERROR,
	              err_line(err, line, sizeof(line)));
}

static struct reply give(const char *type, char *body)
{
	return body != NULL ? (struct reply){.status = MHD_HTTP_OK, .type = type, .body = body}
	                    : refuse(MHD_HTTP_INTERNAL_SERVER_ERROR, "the answer would be too large");
}

static struct reply show_status(const struct page *p)
{
	_cleanup_json_ json_t *status = NULL;
	struct err err = ERR_INIT;
	if (p->source.status(p->source.context, &status, &err) < 0)
		return fail(&err);
	return give(of_json, json_pretty(status));
}

static struct reply show_health(const struct page *p)
{
	_cleanup_json_ json_t *status = NULL;
	struct err err = ERR_INIT;
	if (p->source.status(p->source.context, &status, &err) < 0)
		return fail(&err);
	return json_get_bool(status, "healthy", false) ? refuse(MHD_HTTP_OK, "well")
	                                               : refuse(MHD_HTTP_SERVICE_UNAVAILABLE, "not well");
}

static struct reply show_all(const struct page *p, const char *type, char *(*render)(const json_t *, const json_t *))
{
	_cleanup_json_ json_t *status = NULL, *hosts = NULL;
	struct err err = ERR_INIT;
	int r = p->source.status(p->source.context, &status, &err);
	if (r >= 0)
		r = p->source.hosts(p->source.context, &hosts, &err);
	return r < 0 ? fail(&err) : give(type, render(status, hosts));
}

/* rest: "USER/ID". */
static struct reply show_deployment(const struct page *p, const char *rest)
{
	_cleanup_json_ json_t *report = NULL;
	struct err err = ERR_INIT;
	const char *slash = strchr(rest, '/'), *id = slash != NULL ? slash + 1 : NULL;
	bool whole = id != NULL && slash - rest < NAME_MAX_LEN && *id != '\0' && strlen(id) < NAME_MAX_LEN &&
	             strspn(id, "0123456789abcdefT-") == strlen(id) && id[0] != '-';
	if (!whole)
		return refuse(MHD_HTTP_NOT_FOUND, "there is no such deployment");
	_cleanup_free_ char *user = xstrndup(rest, (size_t)(slash - rest));
	if (p->source.deployment(p->source.context, user, id, &report, &err) < 0)
		return fail(&err);
	return give(html, report_page(report));
}

static struct reply answer(const struct page *p, const char *path)
{
	static const char deployments[] = "/deployments/";
	if (strcmp(path, "/") == 0)
		return show_all(p, html, report_agent_page);
	if (strcmp(path, "/metrics") == 0)
		return show_all(p, metrics, report_agent_metrics);
	if (strcmp(path, "/status.json") == 0)
		return show_status(p);
	if (strcmp(path, "/healthz") == 0)
		return show_health(p);
	if (str_starts(path, deployments))
		return show_deployment(p, path + strlen(deployments));
	return refuse(MHD_HTTP_NOT_FOUND, "there is /, /metrics, /status.json, /healthz, and /deployments/USER/ID");
}

static struct reply judge(const struct page *p, struct MHD_Connection *connection, const char *path, const char *method)
{
	const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
	if (host == NULL || !page_is_own_host(host))
		return refuse(MHD_HTTP_FORBIDDEN, "ask by localhost or a loopback address");
	if (!is_welcome(p, connection))
		return refuse(MHD_HTTP_FORBIDDEN, "this page is for the user of its process and for root");
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return refuse(MHD_HTTP_METHOD_NOT_ALLOWED, "there is nothing here but to read");
	return answer(p, path);
}

/* ---- HTTP ---- */

static enum MHD_Result send_reply(struct MHD_Connection *connection, struct reply *reply)
{
	static const char *const headers[][2] = {
		{"Content-Security-Policy",
	         "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"},
		{"X-Content-Type-Options", "nosniff"},
		{"X-Frame-Options", "DENY"},
		{"Referrer-Policy", "no-referrer"},
		{"Cross-Origin-Resource-Policy", "same-origin"},
		{"Cache-Control", "no-store"},
	};
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(reply->body), reply->body, MHD_RESPMEM_MUST_FREE);
	if (response == NULL) {
		free(reply->body);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->type);
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		MHD_add_response_header(response, headers[i][0], headers[i][1]);
	enum MHD_Result result = MHD_queue_response(connection, reply->status, response);
	MHD_destroy_response(response);
	return result;
}

/* Called once with the headers, and again for a body, which nobody reads. */
static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *path, const char *method,
                              const char *version, const char *body, size_t *body_len, void **state)
{
	static const char begun[] = "";
	(void)version, (void)body;
	if (*state == NULL) {
		*state = (void *)(uintptr_t)begun;
		return MHD_YES;
	}
	if (*body_len > 0) {
		*body_len = 0;
		return MHD_YES;
	}
	struct reply reply = judge(context, connection, path, method);
	return send_reply(connection, &reply);
}

static void silent(void *context, const char *fmt, va_list args)
{
	(void)context, (void)fmt, (void)args;
}

static int listen_at(const struct page_config *config, int *ret_port, struct err *err)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)config->port)};
	socklen_t len = sizeof(address);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int yes = 1;
	if (fd < 0 || inet_pton(AF_INET, config->host, &address.sin_addr) != 1 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, SOMAXCONN) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		return err_errno(err, errno, "listen on %s:%d", config->host, config->port);
	*ret_port = ntohs(address.sin_port);
	return take_fd(&fd);
}

int page_open(const struct page_config *config, const struct page_source *source, struct page **ret, struct err *err)
{
	struct page *p = xcalloc(1, sizeof(*p));
	*p = (struct page){.source = *source, .all_users = config->all_users};
	_cleanup_close_ int fd = listen_at(config, &p->port, err);
	if (fd >= 0)
		p->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ERROR_LOG | MHD_USE_ITC, 0, NULL,
		                             NULL, handle, p, MHD_OPTION_EXTERNAL_LOGGER, silent, NULL,
		                             MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		                             (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
		                             MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_MAX,
		                             MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK, MHD_OPTION_END);
	if (p->daemon == NULL) {
		free(p);
		return fd < 0 ? fd : err_set(err, ERR_INTERNAL, "the HTTP server does not start");
	}
	take_fd(&fd);
	*ret = p;
	return 0;
}

int page_port(const struct page *p)
{
	return p->port;
}

void page_close(struct page *p)
{
	if (p == NULL)
		return;
	MHD_stop_daemon(p->daemon);
	free(p);
}
