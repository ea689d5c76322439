#include "providers/scaleway/client.h"

#include "base/core/clock.h"
#include "base/core/mem.h"
#include "base/core/rand.h"
#include "base/net/http.h"
#include "base/net/net.h"
#include "providers/scaleway/reply.h"

#include <curl/curl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
	TIMEOUT_MS = 60000,
	RETRIES = 4,
	AT_ONCE = 16,
	ANSWER_MAX = 8 << 20,
	BODY_MAX = 1 << 20,
	LOGIN_MAX = 4096,
	MESSAGE_MAX = 2048,
	/* Each twice as long as the one before, from a second. */
	TOO_FAST_TRIES = 5,
	TOO_FAST_MS = 1000,
	TOO_FAST = 429,
};

struct scaleway {
	char *origin, *host, *project, *zone;
	struct str login; /* the header */
	int64_t timeout_ms;
	struct http *http;
	json_t *kept; /* of scaleway_list_once(): path → what was listed */
};

/* ---- the service ---- */

static int read_url(struct scaleway *s, const char *url, struct err *err)
{
	struct net_service service _cleanup_(net_service_done) = {0};
	int r = net_service_read(url, "Scaleway's interface", &service, err);
	if (r < 0)
		return r;
	if (strcmp(service.path, "/") != 0)
		return err_set(err, ERR_INVALID, "'%s' is not the URL of Scaleway's interface: a path follows the host",
		               url);
	s->origin = xasprintf("%s://%s", service.secure ? "https" : "http", service.host);
	s->host = TAKE(service.host);
	return 0;
}

int scaleway_new(const struct scaleway_config *config, struct scaleway **ret, struct err *err)
{
	struct scaleway *s _cleanup_(scaleway_freep) = xcalloc(1, sizeof(*s));
	const struct http_config http = {.ca_file = config->ca_file};
	s->login = (struct str)STR_SECRET_INIT(LOGIN_MAX);
	int r = read_url(s, config->url, err);
	if (r < 0)
		return r;
	s->project = xstrdup(config->project);
	s->zone = xstrdup(config->zone);
	s->timeout_ms = config->timeout_ms;
	s->kept = json_object();
	str_appendf(&s->login, "X-Auth-Token: %s", config->token);
	if (s->login.failed)
		return err_set(err, ERR_LIMIT, "the token of %s is too long", s->host);
	s->http = http_new(&http, err);
	if (s->http == NULL)
		return ERR_INTERNAL;
	*ret = TAKE(s);
	return 0;
}

void scaleway_free(struct scaleway *s)
{
	if (s == NULL)
		return;
	str_done(&s->login);
	http_free(s->http);
	json_decref(s->kept);
	free(s->zone);
	free(s->project);
	free(s->host);
	free(s->origin);
	free(s);
}

void scaleway_freep(struct scaleway **s)
{
	scaleway_free(*s);
}

const char *scaleway_host(const struct scaleway *s)
{
	return s->host;
}

const char *scaleway_project(const struct scaleway *s)
{
	return s->project;
}

const char *scaleway_zone(const struct scaleway *s)
{
	return s->zone;
}

int64_t scaleway_timeout(const struct scaleway *s)
{
	return s->timeout_ms;
}

/* ---- paths ---- */

static char *path_of(const struct scaleway *s, const char *api, const char *fmt, va_list args)
{
	struct str rest _cleanup_(str_done) = STR_INIT(4096);
	char text[2048];
	vsnprintf(text, sizeof(text), fmt, args);
	str_append(&rest, text);
	return xasprintf("/%s/v1/zones/%s/%s", api, s->zone, str_peek(&rest));
}

char *scaleway_instance_path(const struct scaleway *s, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	char *path = path_of(s, "instance", fmt, args);
	va_end(args);
	return path;
}

char *scaleway_block_path(const struct scaleway *s, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	char *path = path_of(s, "block", fmt, args);
	va_end(args);
	return path;
}

char *scaleway_query(const char *name, const char *value)
{
	char *escaped = curl_easy_escape(NULL, value, 0);
	char *query = xasprintf("%s=%s", name, escaped != NULL ? escaped : "");
	curl_free(escaped);
	return query;
}

/* ---- requests ---- */

struct request {
	const char *method, *path; /* method NULL: GET */
	const char *body, *type;   /* NULL: none */
	size_t body_len;
};

static bool reads(const struct request *q)
{
	return q->method == NULL;
}

/* No connection came about: nothing was asked. */
static bool never_sent(const struct err *err)
{
	static const long codes[] = {CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY,
	                             CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION};
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (err->foreign == codes[i])
			return true;
	return false;
}

static bool loses_reply(int r)
{
	return r == ERR_NETWORK || r == ERR_TIMEOUT || r == ERR_PROTOCOL || r == ERR_LIMIT;
}

static int send_once(struct scaleway *s, const struct request *q, struct wait *w, struct http_response *ret,
                     struct err *err)
{
	_cleanup_free_ char *url = xasprintf("%s%s", s->origin, q->path),
			    *type = q->type != NULL ? xasprintf("Content-Type: %s", q->type) : NULL;
	const char *const headers[] = {str_peek(&s->login), "Accept: application/json", type, NULL};
	const struct http_request request = {
		.method = q->method,
		.url = url,
		.headers = headers,
		.body = q->body,
		.body_len = q->body_len,
		.borrow_body = true,
		.max_body = ANSWER_MAX,
		.timeout_ms = TIMEOUT_MS,
		.retries = reads(q) ? RETRIES : 0,
		/* libcurl would send it again by itself on a kept connection that is gone. */
		.fresh = !reads(q),
	};
	struct err own = ERR_INIT;
	int r = http_perform(s->http, &request, w, ret, &own);
	if (r < 0 && err != NULL)
		*err = own;
	if (r < 0 && !reads(q) && loses_reply(r) && !never_sent(&own))
		return err_wrap(err, ERR_UNKNOWN, "%s: the reply was lost", s->host);
	return r;
}

static int64_t pause_after(const struct http_response *response, int tried)
{
	const char *told = http_header(response, "Retry-After");
	long long seconds = 0;
	int64_t own = (int64_t)TOO_FAST_MS << tried;
	return told != NULL && str_parse_i64(told, 0, 60, &seconds) ? seconds * 1000
	                                                            : own + (int64_t)rand_below(own / 4);
}

/* What came too fast was not looked at: it may be sent again, whatever it asks for. */
static int send_request(struct scaleway *s, const struct request *q, struct wait *w, struct http_response *ret,
                        struct err *err)
{
	for (int i = 0;; i++) {
		int r = send_once(s, q, w, ret, err);
		if (r < 0 || ret->status != TOO_FAST || reads(q) || i + 1 >= TOO_FAST_TRIES)
			return r;
		r = wait_ms(w, pause_after(ret, i), err);
		if (r < 0)
			return r;
		http_response_done(ret);
		*ret = (struct http_response){0};
	}
}

/* ---- answers ---- */

static int refused(const struct scaleway *s, const struct request *q, const struct http_response *response,
                   struct err *err)
{
	json_t *body _cleanup_json_ = NULL;
	struct str message _cleanup_(str_done) = STR_INIT(MESSAGE_MAX);
	json_parse(str_peek(&response->body), response->body.len, ANSWER_MAX, &body, NULL);
	reply_describe(body, &message);
	int code = reply_code(response->status, body, reads(q));
	const char *hint = reply_hint(response->status, body), *number = http_header(response, "X-Request-Id");
	bool tells = reply_is_id(number);
	err_set(err, code, "%s answered %d%s%s%s%s%s", s->host, response->status, message.len > 0 ? ": " : "",
	        str_peek(&message), tells ? " (request " : "", tells ? number : "", tells ? ")" : "");
	if (err != NULL)
		err->foreign = response->status;
	if (hint[0] != '\0')
		err_hint(err, code, "%s", hint);
	return code;
}

static bool is_good(const struct http_response *response)
{
	return response->status >= 200 && response->status <= 299;
}

static int perform(struct scaleway *s, const struct request *q, struct wait *w, struct http_response *ret,
                   struct err *err)
{
	int r = send_request(s, q, w, ret, err);
	if (r == 0 && !is_good(ret))
		r = refused(s, q, ret, err);
	return r < 0 ? err_wrap(err, r, "%s %s", q->method != NULL ? q->method : "GET", q->path) : 0;
}

static int read_answer(const struct scaleway *s, const struct request *q, const struct http_response *response,
                       json_t **ret, struct err *err)
{
	json_t *body _cleanup_json_ = NULL;
	if (response->body.len == 0) {
		*ret = json_object();
		return 0;
	}
	int r = json_parse(str_peek(&response->body), response->body.len, ANSWER_MAX, &body, NULL);
	if (r < 0 || !json_is_object(body))
		return err_set(err, reads(q) ? ERR_PROTOCOL : ERR_UNKNOWN,
		               "%s %s: %s answered with what is not its interface's JSON", reads(q) ? "GET" : q->method,
		               q->path, s->host);
	*ret = TAKE(body);
	return 0;
}

int scaleway_each(struct scaleway *s, size_t count, void (*one)(void *context, size_t i), void *context, struct wait *w,
                  struct err *err)
{
	return http_together(s->http, count, AT_ONCE, one, context, w, err);
}

int scaleway_call(struct scaleway *s, const char *method, const char *path, const json_t *body, struct wait *w,
                  json_t **ret, struct err *err)
{
	struct http_response response _cleanup_(http_response_done) = {0};
	json_t *answer _cleanup_json_ = NULL;
	_cleanup_free_ char *text = body != NULL ? json_text(body) : NULL;
	const struct request q = {method, path, text, text != NULL ? "application/json" : NULL,
	                          text != NULL ? strlen(text) : 0};
	if (q.body_len > BODY_MAX)
		return err_set(err, ERR_LIMIT, "%s %s: the request is larger than %d KiB", method, path,
		               BODY_MAX >> 10);
	int r = perform(s, &q, w, &response, err);
	if (r == 0)
		r = read_answer(s, &q, &response, &answer, err);
	if (r == 0 && ret != NULL)
		*ret = TAKE(answer);
	return r;
}

int scaleway_set_text(struct scaleway *s, const char *path, const char *text, size_t len, struct wait *w,
                      struct err *err)
{
	struct http_response response _cleanup_(http_response_done) = {0};
	const struct request q = {"PATCH", path, text, "text/plain", len};
	return perform(s, &q, w, &response, err);
}

int scaleway_get_text(struct scaleway *s, const char *path, struct wait *w, struct str *ret, struct err *err)
{
	struct http_response response _cleanup_(http_response_done) = {0};
	const struct request q = {.path = path};
	int r = perform(s, &q, w, &response, err);
	if (r == 0 && !str_append_n(ret, str_peek(&response.body), response.body.len))
		r = err_set(err, ERR_LIMIT, "%s: the answer of %s is too long", path, s->host);
	return r;
}

/* ---- lists ---- */

enum { PAGE = 100, PAGES_MAX = 100 };

/* Instances name the size of a page otherwise than the newer interfaces do. */
static char *page_of(const char *path, int page)
{
	bool old = str_starts(path, "/instance/");
	return xasprintf("%s%c%s=%d&page=%d", path, strchr(path, '?') != NULL ? '&' : '?',
	                 old ? "per_page" : "page_size", PAGE, page);
}

static int64_t total_of(const struct http_response *response, const json_t *body)
{
	const char *told = http_header(response, "X-Total-Count");
	long long total = 0;
	return told != NULL && str_parse_i64(told, 0, INT32_MAX, &total) ? total
	                                                                 : json_get_int(body, "total_count", -1);
}

static size_t add_rows(json_t *all, const json_t *rows)
{
	if (json_is_array(all)) {
		json_array_extend(all, (json_t *)(uintptr_t)rows);
		return json_array_size(rows);
	}
	json_object_update(all, (json_t *)(uintptr_t)rows);
	return json_object_size(rows);
}

static size_t size_of(const json_t *all)
{
	return json_is_array(all) ? json_array_size(all) : json_object_size(all);
}

/* One page more. ret_last: there is none behind it. */
static int read_page(struct scaleway *s, const char *path, const char *key, int page, struct wait *w, json_t **all,
                     bool *ret_last, struct err *err)
{
	struct http_response response _cleanup_(http_response_done) = {0};
	json_t *body _cleanup_json_ = NULL;
	_cleanup_free_ char *whole = page_of(path, page);
	const struct request q = {.path = whole};
	int r = perform(s, &q, w, &response, err);
	if (r == 0)
		r = read_answer(s, &q, &response, &body, err);
	if (r < 0)
		return r;
	const json_t *rows = json_object_get(body, key);
	if (!json_is_array(rows) && !json_is_object(rows))
		return err_set(err, ERR_PROTOCOL, "GET %s: the answer of %s has no list '%s'", path, s->host, key);
	if (*all == NULL)
		*all = json_is_array(rows) ? json_array() : json_object();
	size_t count = add_rows(*all, rows);
	int64_t total = total_of(&response, body);
	*ret_last = count == 0 || (total >= 0 ? (int64_t)size_of(*all) >= total : count < PAGE);
	return 0;
}

int scaleway_list(struct scaleway *s, const char *path, const char *key, struct wait *w, json_t **ret, struct err *err)
{
	json_t *all _cleanup_json_ = NULL;
	bool last = false;
	for (int page = 1; !last; page++) {
		if (page > PAGES_MAX || size_of(all) > (size_t)PAGES_MAX * PAGE)
			return err_set(err, ERR_LIMIT, "GET %s: %s lists more than %d", path, s->host,
			               PAGES_MAX * PAGE);
		int r = read_page(s, path, key, page, w, &all, &last, err);
		if (r < 0)
			return r;
	}
	*ret = TAKE(all);
	return 0;
}

int scaleway_list_once(struct scaleway *s, const char *path, const char *key, struct wait *w, json_t **ret,
                       struct err *err)
{
	json_t *kept = json_object_get(s->kept, path);
	if (kept != NULL) {
		*ret = json_incref(kept);
		return 0;
	}
	int r = scaleway_list(s, path, key, w, ret, err);
	if (r == 0)
		json_object_set(s->kept, path, *ret);
	return r;
}
