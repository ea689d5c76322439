/* The HTTP side: requests in, routes, answers out, and the faults that tests plant in between. */
#include "agent/forge/services_priv.h"
#include "base/core/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BLOB_ROOM_MAX = 4 << 20 };

static const struct route *const tables[] = {app_routes,     registration_routes, broker_routes,   runservice_routes,
                                             results_routes, console_routes,      rest_routes,     control_routes,
                                             page_routes,    storage_routes,      artifact_routes, cache_routes,
                                             release_routes};

const char *req_header(const struct req *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

const char *req_query(const struct req *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

void forge_complain(struct forge *f, const char *where, const char *text)
{
	char time[CLOCK_TEXT_SIZE];
	json_array_append_new(f->complaints, json_pack("{s:s, s:s, s:o}", "time", clock_rfc3339(clock_wall_ms(), time),
	                                               "where", where, "text", json_string_lossy(text, strlen(text))));
	if (f->config.verbose)
		fprintf(stderr, "complaint: %s: %s\n", where, text);
}

void req_complain(struct req *r, const char *fmt, ...)
{
	char text[1024];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	_cleanup_free_ char *where = xasprintf("%s %s", r->method, r->path);
	forge_complain(r->f, where, text);
}

void forge_event(struct forge *f, const char *fmt, ...)
{
	char text[1024], time[CLOCK_TEXT_SIZE];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	json_array_append_new(f->events, json_pack("{s:s, s:o}", "time", clock_rfc3339(clock_wall_ms(), time), "text",
	                                           json_string_lossy(text, strlen(text))));
	if (f->config.verbose) {
		_cleanup_(str_done) struct str safe = STR_INIT(8192);
		str_append_safe(&safe, text, strlen(text));
		printf("%s\n", str_peek(&safe));
		fflush(stdout);
	}
}

/* ---- answers ---- */

void req_reply(struct req *r, int status)
{
	r->status = status;
}

void req_reply_header(struct req *r, const char *fmt, ...)
{
	char text[2048];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	strv_add(&r->headers, text);
}

void req_reply_text(struct req *r, int status, const char *type, const char *data, size_t len)
{
	r->status = status;
	str_clear(&r->out);
	str_append_n(&r->out, data, len);
	req_reply_header(r, "Content-Type: %s", type);
}

void req_reply_json(struct req *r, int status, json_t *value)
{
	_cleanup_free_ char *text = json_text(value);
	req_reply_text(r, status, "application/json; charset=utf-8", text, strlen(text));
	json_decref(value);
}

void req_reply_error(struct req *r, int status, const char *fmt, ...)
{
	char text[1024];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	req_reply_json(r, status,
	               json_pack("{s:o, s:s, s:o}", "message", json_string_lossy(text, strlen(text)),
	                         "documentation_url", "https://docs.github.com/rest", "status",
	                         json_stringf("%d", status)));
}

json_t *req_json(struct req *r)
{
	struct err err = ERR_INIT;
	json_t *value = NULL;
	if (json_parse(str_peek(&r->body), r->body.len, FORGE_JSON_MAX, &value, &err) < 0) {
		char line[512];
		req_complain(r, "the body is not JSON: %s", err_line(&err, line, sizeof(line)));
		req_reply_error(r, 400, "Problems parsing JSON");
		return NULL;
	}
	if (!json_is_object(value)) {
		req_complain(r, "the body is not a JSON object");
		req_reply_error(r, 400, "Body should be a JSON object");
		json_decref(value);
		return NULL;
	}
	return value;
}

/* ---- routes ---- */

/* Segments of the pattern against those of the path; captured strings go to args. */
static bool pattern_matches(const char *pattern, const char *path, char *args[REQ_ARGS])
{
	size_t count = 0;
	while (*pattern) {
		size_t plen = strcspn(pattern, "/"), len = strcspn(path, "/");
		if (pattern[0] == '*') {
			args[count++] = xstrdup(path);
			return true;
		}
		if (plen == 1 && pattern[0] == '+') {
			if (!len || count == REQ_ARGS - 1)
				return false;
			args[count++] = xstrndup(path, len);
		} else if (plen != len || strncmp(pattern, path, len) != 0) {
			return false;
		}
		pattern += plen;
		path += len;
		if (*pattern != *path)
			return false;
		if (*pattern) {
			pattern++;
			path++;
		}
	}
	return !*path;
}

static void clear_args(struct req *r)
{
	for (size_t i = 0; i < REQ_ARGS; i++) {
		free(r->args[i]);
		r->args[i] = NULL;
	}
}

static const struct route git_route = {NULL, "", git_handle, ROUTE_UNLOCKED | ROUTE_GIT};

/* REST is served below /api/v3 (as an own-hosted GitHub does) and at the root (as api.github.com does). */
static const struct route *find_route(struct req *r, bool *ret_known_path)
{
	const char *path = r->path[0] == '/' ? r->path + 1 : r->path;
	if (git_wants(r->path))
		return &git_route;
	if (str_starts(path, "api/v3/"))
		path += strlen("api/v3/");
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		for (const struct route *route = tables[t]; route->handle; route++) {
			if (pattern_matches(route->pattern, path, r->args)) {
				*ret_known_path = true;
				if (!route->method || strcmp(route->method, r->method) == 0)
					return route;
			}
			clear_args(r);
		}
	}
	return NULL;
}

/* ---- planted faults ---- */

static void take_fault(struct req *r)
{
	struct forge *f = r->f;
	if (str_starts(r->path, "/_forge"))
		return;
	for (size_t i = 0; i < f->fault_count; i++) {
		struct forge_fault *fault = &f->faults[i];
		if (fault->times == 0 || !strstr(r->path, fault->path) ||
		    (fault->method && strcmp(fault->method, r->method) != 0))
			continue;
		if (fault->skip > 0) {
			fault->skip--;
			continue;
		}
		if (fault->times > 0)
			fault->times--;
		r->fault = *fault;
		r->faulty = true;
		return;
	}
}

/* ---- the answer leaves ---- */

struct cut_body {
	char *data;
	size_t len, sent_limit;
};

static ssize_t cut_reader(void *context, uint64_t pos, char *buf, size_t max)
{
	struct cut_body *cut = context;
	if (pos >= cut->sent_limit)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	size_t n = MIN(max, cut->sent_limit - (size_t)pos);
	memcpy(buf, cut->data + pos, n);
	return (ssize_t)n;
}

static void cut_free(void *context)
{
	struct cut_body *cut = context;
	free(cut->data);
	free(cut);
}

/* The rest of a child's standard output; the first bytes came along with its headers. */
static ssize_t child_reader(void *context, uint64_t pos, char *buf, size_t max)
{
	(void)pos;
	struct req *r = context;
	if (r->child_head.len) {
		size_t n = MIN(max, r->child_head.len);
		memcpy(buf, r->child_head.data, n);
		str_remove_front(&r->child_head, n);
		return (ssize_t)n;
	}
	for (;;) {
		ssize_t n = read(r->child.stdout_fd, buf, max);
		if (n > 0)
			return n;
		if (n == 0)
			return MHD_CONTENT_READER_END_OF_STREAM;
		if (errno != EAGAIN && errno != EINTR)
			return MHD_CONTENT_READER_END_WITH_ERROR;
		struct pollfd p = {.fd = r->child.stdout_fd, .events = POLLIN};
		poll(&p, 1, 1000);
		if (__atomic_load_n(&r->f->stopping, __ATOMIC_RELAXED))
			return MHD_CONTENT_READER_END_WITH_ERROR;
	}
}

static ssize_t content_reader(void *context, uint64_t pos, char *buf, size_t max)
{
	const struct req *r = context;
	int64_t left = r->content_len - (int64_t)pos;
	if (left <= 0)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (r->faulty && r->fault.truncate >= 0 && pos >= (uint64_t)r->fault.truncate)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (r->faulty && r->fault.truncate >= 0)
		max = MIN(max, (size_t)r->fault.truncate - (size_t)pos);
	ssize_t n = storage_read(r->content, r->content_from + (int64_t)pos, buf, (size_t)MIN((int64_t)max, left));
	return n > 0 ? n : MHD_CONTENT_READER_END_WITH_ERROR;
}

static struct MHD_Response *make_response(struct req *r)
{
	if (r->faulty && r->fault.oversize > 0) {
		size_t want = (size_t)r->fault.oversize;
		r->out.max = want + r->out.len;
		char *room = r->out.len < want ? str_reserve(&r->out, want - r->out.len) : NULL;
		if (room) {
			memset(room, ' ', want - r->out.len);
			r->out.len = want;
		}
	}
	if (r->faulty && r->fault.truncate >= 0 && r->content == NULL) {
		struct cut_body *cut = xcalloc(1, sizeof(*cut));
		cut->len = r->out.len;
		cut->data = str_take(&r->out);
		cut->sent_limit = MIN(cut->len, (size_t)r->fault.truncate);
		return MHD_create_response_from_callback(MAX(cut->len, 1), 65536, cut_reader, cut, cut_free);
	}
	if (r->console != NULL)
		return console_response(r);
	if (r->content != NULL)
		return MHD_create_response_from_callback((uint64_t)r->content_len, 256 << 10, content_reader, r, NULL);
	if (r->streams)
		return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 65536, child_reader, r, NULL);
	return MHD_create_response_from_buffer(r->out.len, r->out.data, MHD_RESPMEM_MUST_COPY);
}

static void log_request(struct req *r, const char *outcome)
{
	struct forge *f = r->f;
	if (r->route && (r->route->flags & ROUTE_QUIET))
		return;
	if (json_array_size(f->requests) >= FORGE_REQUESTS_KEPT)
		json_array_remove(f->requests, 0);
	char time[CLOCK_TEXT_SIZE];
	json_t *entry = json_pack("{s:s, s:o, s:o, s:i, s:s, s:I, s:I}", "method", r->method, "path",
	                          json_string_lossy(r->path, strlen(r->path)), "query",
	                          json_string_lossy(r->query, strlen(r->query)), "status", r->status, "time",
	                          clock_rfc3339(r->begun_ms, time), "ms", (json_int_t)(clock_wall_ms() - r->begun_ms),
	                          "bytes", (json_int_t)r->body_len);
	const char *agent = req_header(r, "User-Agent");
	if (agent)
		json_object_set_new(entry, "user_agent", json_string_lossy(agent, strlen(agent)));
	if (outcome)
		json_object_set_new(entry, "fault", json_string(outcome));
	json_array_append_new(f->requests, entry);
}

static enum MHD_Result send_reply(struct req *r)
{
	struct MHD_Response *response = make_response(r);
	for (size_t i = 0; i < r->headers.count; i++) {
		char *colon = strchr(r->headers.items[i], ':');
		if (!colon)
			continue;
		*colon = '\0';
		MHD_add_response_header(response, r->headers.items[i], colon + 1 + strspn(colon + 1, " "));
	}
	char id[37];
	snprintf(id, sizeof(id), "%08llX:F0F6E", (unsigned long long)r->begun_ms & 0xffffffffULL);
	MHD_add_response_header(response, "X-GitHub-Request-Id", id);
	enum MHD_Result result = MHD_queue_response(r->connection, (unsigned)r->status, response);
	MHD_destroy_response(response);
	return result;
}

static bool may_look_inside(struct req *r)
{
	pthread_mutex_lock(&r->f->lock);
	bool admin = token_identify(r, "Bearer token Basic").admin;
	pthread_mutex_unlock(&r->f->lock);
	return admin || req_is_owners(r);
}

/* The work tree of a user is nobody else's business, nor is one job's message another's. */
static bool is_closed_to(struct req *r)
{
	if (!r->f->config.closed || (r->route != NULL && (r->route->flags & ROUTE_SIGNED)))
		return false;
	pthread_mutex_lock(&r->f->lock);
	bool known = token_identify(r, "Basic Bearer token").token != NULL;
	pthread_mutex_unlock(&r->f->lock);
	return (r->route != NULL && (r->route->flags & ROUTE_OWNER)) || (!known && !req_is_owners(r));
}

static enum MHD_Result answer(struct req *r)
{
	struct forge *f = r->f;
	pthread_mutex_lock(&f->lock);
	take_fault(r);
	bool whole = r->faulty && (r->fault.status || r->fault.drop == DROP_BEFORE);
	int64_t delay = r->faulty ? r->fault.delay_ms : 0;
	pthread_mutex_unlock(&f->lock);
	if (delay)
		clock_pause_ms(delay);
	if (whole && r->fault.drop == DROP_BEFORE) {
		pthread_mutex_lock(&f->lock);
		log_request(r, "dropped before it was looked at");
		pthread_mutex_unlock(&f->lock);
		return MHD_NO;
	}
	if (whole) {
		const char *body = r->fault.body ? r->fault.body : "{\"message\":\"planted fault\"}";
		req_reply_text(r, r->fault.status, "application/json; charset=utf-8", body, strlen(body));
	} else if (is_closed_to(r)) {
		req_reply_error(r, 404, "Not Found");
	} else if (r->route && (r->route->flags & ROUTE_OWNER) && !may_look_inside(r)) {
		req_reply_error(
			r, 403,
			"This shows secrets: it is for the user of the forge, or with its token (Authorization: Bearer TOKEN)");
	} else if (r->route && (r->route->flags & ROUTE_UNLOCKED)) {
		r->route->handle(r);
	} else if (r->route) {
		pthread_mutex_lock(&f->lock);
		r->route->handle(r);
		pthread_mutex_unlock(&f->lock);
	}
	pthread_mutex_lock(&f->lock);
	if (!r->status)
		req_reply_error(r, 500, "the handler gave no answer");
	limits_finish(r);
	if (r->faulty && !whole && r->fault.body)
		req_reply_text(r, r->status, "application/json; charset=utf-8", r->fault.body, strlen(r->fault.body));
	if (r->faulty) {
		const char *name;
		json_t *value;
		json_object_foreach(r->fault.headers, name, value)
			req_reply_header(r, "%s: %s", name, json_string_value(value));
	}
	bool drop = r->faulty && r->fault.drop == DROP_AFTER;
	log_request(r, drop ? "answer dropped" : r->faulty ? "planted" : NULL);
	pthread_mutex_unlock(&f->lock);
	return drop ? MHD_NO : send_reply(r);
}

/* ---- requests arrive ---- */

static void *request_begins(void *context, const char *uri, struct MHD_Connection *connection)
{
	struct req *r = xcalloc(1, sizeof(*r));
	r->f = context;
	r->connection = connection;
	const char *question = strchr(uri, '?');
	r->query = xstrdup(question ? question + 1 : "");
	r->body_fd = -1;
	r->body = (struct str)STR_INIT(FORGE_JSON_MAX);
	r->out = (struct str)STR_INIT(SIZE_MAX / 2);
	r->child_head = (struct str)STR_INIT(1 << 20);
	r->child = (struct proc)PROC_INIT;
	r->fault.truncate = -1;
	r->begun_ms = clock_wall_ms();
	return r;
}

static void request_ends(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
	(void)context;
	(void)connection;
	(void)code;
	struct req *r = *state;
	if (!r)
		return;
	*state = NULL;
	if (r->content != NULL) {
		pthread_mutex_lock(&r->f->lock);
		storage_release(r->content);
		pthread_mutex_unlock(&r->f->lock);
	}
	console_free(r->console);
	proc_done(&r->child);
	closep(&r->body_fd);
	free(r->method);
	free(r->path);
	free(r->query);
	clear_args(r);
	str_done(&r->body);
	str_done(&r->out);
	str_done(&r->child_head);
	strv_done(&r->headers);
	free(r);
}

/* Reserves room at once for a body that gives its length, up to the size of a log block. */
static void expect_blob(struct req *r)
{
	const char *length = req_header(r, "Content-Length");
	long long expected;
	r->body.max = FORGE_BLOB_MAX;
	if (length && str_parse_i64(length, 0, INT64_MAX, &expected))
		str_reserve(&r->body, (size_t)MIN(expected, BLOB_ROOM_MAX));
}

/* Headers are there: decide where the request goes, so that its body is kept in the right way. */
static void first_look(struct req *r, const char *path, const char *method)
{
	r->path = xstrdup(path);
	r->method = xstrdup(method);
	bool known = false;
	r->route = find_route(r, &known);
	if (!r->route) {
		r->rejected = true;
		pthread_mutex_lock(&r->f->lock);
		if (!str_starts(r->path, "/_forge"))
			req_complain(r, known ? "the path does not take this method" : "there is nothing at this path");
		pthread_mutex_unlock(&r->f->lock);
		req_reply_error(r, known ? 405 : 404, known ? "Method Not Allowed" : "Not Found");
		return;
	}
	if (r->route->flags & ROUTE_BLOB)
		expect_blob(r);
	if ((r->route->flags & ROUTE_SIGNED) && !storage_admits(r)) {
		r->rejected = true;
		return;
	}
	if ((r->route->flags & ROUTE_SIGNED) && strcmp(method, "PUT") == 0 && (r->body_fd = forge_blob_file()) < 0) {
		r->rejected = true;
		req_reply_error(r, 500, "no room for the body");
	}
	if (r->route->flags & ROUTE_GIT) {
		r->body_fd = memfd_create("davit-forge-body", MFD_CLOEXEC);
		if (r->body_fd < 0) {
			r->rejected = true;
			req_reply_error(r, 500, "no memory for the body");
		}
	}
}

static bool take_body(struct req *r, const char *data, size_t len)
{
	r->body_len += (int64_t)len;
	if (r->rejected)
		return true;
	if (r->body_fd < 0)
		return str_append_n(&r->body, data, len);
	while (len) {
		ssize_t n = write(r->body_fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *path, const char *method,
                              const char *version, const char *data, size_t *len, void **state)
{
	(void)context;
	(void)version;
	struct req *r = *state;
	r->connection = connection;
	if (!r->seen) {
		r->seen = true;
		first_look(r, path, method);
		return MHD_YES;
	}
	if (*len) {
		if (!take_body(r, data, *len)) {
			r->rejected = true;
			req_reply_error(r, 413, "Payload Too Large");
		}
		*len = 0;
		return MHD_YES;
	}
	if (!r->rejected)
		return answer(r);
	pthread_mutex_lock(&r->f->lock);
	log_request(r, NULL);
	pthread_mutex_unlock(&r->f->lock);
	return send_reply(r);
}

static void silent(void *context, const char *fmt, va_list args)
{
	(void)context;
	(void)fmt;
	(void)args;
}

/* The socket first: the URL must stand before any request can come. */
static int open_socket(struct forge *f, struct err *err)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->config.port)};
	socklen_t len = sizeof(address);
	if (inet_pton(AF_INET, f->config.host, &address.sin_addr) != 1)
		return err_set(err, ERR_INVALID, "'%s' is not an IPv4 address to listen on", f->config.host);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int yes = 1;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, SOMAXCONN) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		return err_errno(err, errno, "listen on %s:%d", f->config.host, f->config.port);
	f->config.port = ntohs(address.sin_port);
	const char *scheme = f->config.tls ? "https" : "http";
	f->base = f->config.url != NULL ? xstrdup(f->config.url)
	                                : xasprintf("%s://%s:%d", scheme, f->config.host, f->config.port);
	f->server_url = f->config.url == NULL && strcmp(f->config.host, "127.0.0.1") == 0
	                        ? xasprintf("%s://forge.localhost:%d", scheme, f->config.port)
	                        : xstrdup(f->base);
	return take_fd(&fd);
}

/* Each log that was sent is an open file: after some hundred jobs they are more than the 1024 that many systems begin with, and that select() takes. */
static void allow_many_files(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

int forge_listen(struct forge *f, struct err *err)
{
	unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
	                 MHD_USE_ERROR_LOG | MHD_USE_ITC | MHD_ALLOW_UPGRADE;
	allow_many_files();
	if (f->config.tls)
		flags |= MHD_USE_TLS;
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_MEM_KEY, 0, f->certificate_key},
		{MHD_OPTION_HTTPS_MEM_CERT, 0, f->certificate},
		{MHD_OPTION_END, 0, NULL},
	};
	int fd = open_socket(f, err);
	if (fd < 0)
		return fd;
	f->daemon = MHD_start_daemon(flags, (uint16_t)f->config.port, NULL, NULL, handle, f, MHD_OPTION_EXTERNAL_LOGGER,
	                             silent, NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK,
	                             request_begins, f, MHD_OPTION_NOTIFY_COMPLETED, request_ends, f,
	                             MHD_OPTION_CONNECTION_LIMIT, 1000u, MHD_OPTION_CONNECTION_TIMEOUT, 300u,
	                             MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)256 * 1024, MHD_OPTION_ARRAY,
	                             f->config.tls ? tls : tls + 2, MHD_OPTION_END);
	if (!f->daemon) {
		closep(&fd);
		return err_set(err, ERR_INTERNAL, "the HTTP server does not start");
	}
	return 0;
}

void forge_unlisten(struct forge *f)
{
	__atomic_store_n(&f->stopping, true, __ATOMIC_RELAXED);
	pthread_mutex_lock(&f->lock);
	forge_wake(f);
	pthread_mutex_unlock(&f->lock);
	while (__atomic_load_n(&f->consoles, __ATOMIC_ACQUIRE) > 0)
		clock_pause_ms(1);
	if (f->daemon)
		MHD_stop_daemon(f->daemon);
	f->daemon = NULL;
}
