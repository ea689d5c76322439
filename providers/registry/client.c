#include "providers/registry/client.h"

#include "base/core/clock.h"
#include "base/core/mem.h"
#include "base/data/json.h"
#include "base/net/net.h"
#include "base/net/url.h"
#include "base/secret/base64.h"
#include "base/secret/mask.h"
#include "providers/registry/challenge.h"

#include <stdlib.h>
#include <string.h>

enum {
	TIMEOUT_MS = 60000,
	RETRIES = 3,
	TOKENS_MAX = 32,
	TOKEN_MAX = 64 << 10,
	ANSWER_MAX = 1 << 20,
	DEFAULT_LIFE_S = 60,
	LOGIN_MAX = 128 << 10,
	TURN_MS = 100,
};

struct token {
	char *scope;
	struct str value; /* the header's value, with its scheme; empty: it was answered without one */
	int64_t until_mono_ms;
};

struct registry {
	char *url, *host, *username, *ca_file;
	struct str password;
	bool secure; /* https */
	bool basic;  /* it wants the login itself */
	bool open;   /* it let somebody write who did not log in */
	struct http *http;
	struct token tokens[TOKENS_MAX];
	size_t token_count;
};

/* Address and safety of a URL. *ret_host: "HOST" or "HOST:PORT" where it is not the scheme's own. */
static int read_url(const char *text, bool *ret_secure, char **ret_host, struct err *err)
{
	struct net_service service _cleanup_(net_service_done) = {0};
	int r = net_service_read(text, "a registry", &service, err);
	if (r < 0)
		return r;
	*ret_secure = service.secure;
	*ret_host = TAKE(service.host);
	return 0;
}

int registry_new(const struct registry_config *config, struct registry **ret, struct err *err)
{
	struct registry *r _cleanup_(registry_freep) = xcalloc(1, sizeof(*r));
	r->password = (struct str)STR_SECRET_INIT(LOGIN_MAX);
	int e = read_url(config->url, &r->secure, &r->host, err);
	if (e < 0)
		return e;
	r->url = xasprintf("%s://%s", r->secure ? "https" : "http", r->host);
	r->username = xstrdup(config->username);
	r->ca_file = xstrdup(config->ca_file);
	str_append(&r->password, config->password != NULL ? config->password : "");
	const struct http_config http = {.ca_file = r->ca_file};
	r->http = http_new(&http, err);
	if (r->http == NULL)
		return err != NULL ? err->code : ERR_INTERNAL;
	*ret = r;
	r = NULL;
	return 0;
}

static void forget_tokens(struct registry *r)
{
	for (size_t i = 0; i < r->token_count; i++) {
		free(r->tokens[i].scope);
		str_done(&r->tokens[i].value);
	}
	r->token_count = 0;
}

void registry_free(struct registry *r)
{
	if (r == NULL)
		return;
	forget_tokens(r);
	http_free(r->http);
	str_done(&r->password);
	free(r->url);
	free(r->host);
	free(r->username);
	free(r->ca_file);
	free(r);
}

void registry_freep(struct registry **r)
{
	registry_free(*r);
}

const char *registry_host(const struct registry *r)
{
	return r->host;
}

bool registry_same(const struct registry *a, const struct registry *b)
{
	const char *x = a->username != NULL ? a->username : "", *y = b->username != NULL ? b->username : "";
	return strcmp(a->url, b->url) == 0 && strcmp(x, y) == 0;
}

static void append_basic(const struct registry *r, struct str *out)
{
	struct str pair _cleanup_(str_done) = STR_SECRET_INIT(LOGIN_MAX);
	str_appendf(&pair, "%s:%s", r->username != NULL ? r->username : "", str_peek(&r->password));
	str_append(out, "Basic ");
	base64_encode(str_peek(&pair), pair.len, out);
}

static struct token *find_token(struct registry *r, const char *scope)
{
	for (size_t i = 0; i < r->token_count; i++)
		if (strcmp(r->tokens[i].scope, scope) == 0)
			return &r->tokens[i];
	return NULL;
}

static struct token *clear_token(struct registry *r, const char *scope)
{
	struct token *t = find_token(r, scope);
	if (t == NULL) {
		if (r->token_count == TOKENS_MAX)
			forget_tokens(r);
		t = &r->tokens[r->token_count++];
		*t = (struct token){.scope = xstrdup(scope), .value = STR_SECRET_INIT(TOKEN_MAX)};
	}
	str_clear(&t->value);
	return t;
}

/* Renewed at four fifths of its life: a copy goes on for longer than the call that it was asked for. */
static void keep_token(struct registry *r, const char *scope, const char *value, int64_t life_s)
{
	struct token *t = clear_token(r, scope);
	str_appendf(&t->value, "Bearer %s", value);
	t->until_mono_ms = clock_mono_ms() + MIN(MAX(life_s, 5), 24 * 3600) * 800;
	mask_add_plain(mask_process(), value, strlen(value));
}

static void append_parameter(struct str *url, const char *name, const char *value)
{
	if (value == NULL || *value == '\0')
		return;
	char *escaped = curl_easy_escape(NULL, value, 0);
	if (escaped != NULL)
		str_appendf(url, "%c%s=%s", strchr(str_peek(url), '?') != NULL ? '&' : '?', name, escaped);
	curl_free(escaped);
}

/* Each scope is a parameter of its own. */
static void append_scopes(struct str *url, const char *scopes)
{
	_cleanup_free_ char *copy = xstrdup(scopes);
	char *rest = NULL;
	for (char *one = strtok_r(copy, " ", &rest); one != NULL; one = strtok_r(NULL, " ", &rest))
		append_parameter(url, "scope", one);
}

static int read_token(struct registry *r, const char *scope, const struct http_response *response, struct err *err)
{
	json_t *answer _cleanup_json_ = NULL;
	if (response->status == 401 || response->status == 403) {
		err_set(err, ERR_AUTH, "the token service of %s refuses the login of '%s' (status %d)", r->host,
		        r->username != NULL ? r->username : "", response->status);
		return err_hint(err, ERR_AUTH, "check the target's username and password, and what they may do: %s",
		                scope);
	}
	if (response->status != 200)
		return err_set(err, ERR_PROTOCOL, "the token service of %s answered %d", r->host, response->status);
	if (json_parse(str_peek(&response->body), response->body.len, ANSWER_MAX, &answer, err) < 0)
		return err_wrap(err, ERR_PROTOCOL, "read the answer of the token service of %s", r->host);
	const char *value = json_get_string(answer, "token");
	if (value == NULL)
		value = json_get_string(answer, "access_token");
	if (value == NULL || *value == '\0' || strpbrk(value, "\r\n ") != NULL || strlen(value) > TOKEN_MAX / 2)
		return err_set(err, ERR_PROTOCOL, "the token service of %s gave no token", r->host);
	keep_token(r, scope, value, json_get_int(answer, "expires_in", DEFAULT_LIFE_S));
	return 0;
}

static int fetch_token(struct registry *r, const char *scope, const struct registry_challenge *c, struct wait *w,
                       struct err *err)
{
	struct str url _cleanup_(str_done) = STR_INIT(16 << 10), login _cleanup_(str_done) = STR_SECRET_INIT(LOGIN_MAX);
	struct http_response response _cleanup_(http_response_done) = {0};
	_cleanup_free_ char *host = NULL;
	bool secure;
	int e = read_url(c->realm, &secure, &host, err);
	if (e < 0 || (r->secure && !secure))
		return err_set(err, ERR_PROTOCOL, "%s names a token service that is not safe to log in to", r->host);
	str_append(&url, c->realm);
	append_parameter(&url, "service", c->service);
	append_scopes(&url, scope);
	if (r->username != NULL) {
		append_parameter(&url, "account", r->username);
		str_append(&login, "Authorization: ");
		append_basic(r, &login);
	}
	if (url.failed || login.failed)
		return err_set(err, ERR_LIMIT, "%s: the request for a token is too long", r->host);
	const char *const headers[] = {"Accept: application/json", login.len > 0 ? str_peek(&login) : NULL, NULL};
	const struct http_request q = {
		.url = str_peek(&url), .headers = headers, .timeout_ms = TIMEOUT_MS, .retries = RETRIES};
	e = http_perform(r->http, &q, w, &response, err);
	return e < 0 ? err_wrap(err, e, "ask the token service of %s", r->host) : read_token(r, scope, &response, err);
}

/* Answers a 401. 1: ask again. */
static int log_in(struct registry *r, const char *scope, const struct http_response *refused, struct wait *w,
                  struct err *err)
{
	struct registry_challenge c _cleanup_(registry_challenge_done) = {0};
	const char *header = http_header(refused, "WWW-Authenticate");
	if (header == NULL)
		return err_set(err, ERR_AUTH, "%s refuses the request without saying how to log in", r->host);
	int e = registry_challenge_read(header, &c, err);
	if (e < 0)
		return err_wrap(err, e, "%s", r->host);
	if (c.bearer) {
		e = fetch_token(r, scope, &c, w, err);
		return e < 0 ? e : 1;
	}
	if (r->username == NULL || r->basic) {
		err_set(err, ERR_AUTH, "%s refuses the login%s%s", r->host, r->username != NULL ? " of " : "",
		        r->username != NULL ? r->username : "");
		return err_hint(err, ERR_AUTH, "check the target's username and password");
	}
	r->basic = true;
	return 1;
}

/* The Authorization header for a scope; "" none yet. */
static void append_login(struct registry *r, const char *scope, struct str *out)
{
	const struct token *t = find_token(r, scope);
	if (t != NULL && t->value.len > 0 && t->until_mono_ms > clock_mono_ms()) {
		str_appendf(out, "Authorization: %s", str_peek(&t->value));
	} else if (r->basic) {
		str_append(out, "Authorization: ");
		append_basic(r, out);
	}
}

static bool reads(const struct registry_request *q)
{
	return q->method == NULL || strcmp(q->method, "HEAD") == 0;
}

static bool knows_login(struct registry *r, const char *scope)
{
	const struct token *t = find_token(r, scope);
	return r->basic || r->open || (t != NULL && t->until_mono_ms > clock_mono_ms());
}

/* It was answered as it came: the next of its kind will be, too. */
static void note_answered(struct registry *r, const struct registry_request *q)
{
	if (knows_login(r, q->scope))
		return;
	r->open = !reads(q);
	clear_token(r, q->scope)->until_mono_ms = clock_mono_ms() + DEFAULT_LIFE_S * 1000;
}

static void add_header(struct strv *headers, const char *name, const char *value)
{
	if (value != NULL)
		strv_addf(headers, "%s: %s", name, value);
}

/* A request as it goes out, with what it points to. */
struct outgoing {
	struct str login;
	struct strv headers;
	char *url;
	const char *all[6];
	struct http_request request;
};

static void done_outgoing(struct outgoing *o)
{
	str_done(&o->login);
	strv_done(&o->headers);
	free(o->url);
}

static void make_outgoing(struct registry *r, const struct registry_request *q, struct outgoing *o)
{
	size_t count = 0;
	*o = (struct outgoing){.login = STR_SECRET_INIT(LOGIN_MAX), .url = xasprintf("%s%s", r->url, q->path)};
	append_login(r, q->scope, &o->login);
	add_header(&o->headers, "Accept", q->accept);
	add_header(&o->headers, "Content-Type", q->content_type);
	add_header(&o->headers, "Content-Range", q->content_range);
	for (size_t i = 0; i < o->headers.count; i++)
		o->all[count++] = o->headers.items[i];
	if (o->login.len > 0)
		o->all[count++] = str_peek(&o->login);
	o->request = (struct http_request){
		.method = q->method,
		.url = o->url,
		.headers = o->all,
		.body = q->body,
		.body_len = q->body_len,
		.borrow_body = true,
		.max_body = q->max_body,
		.timeout_ms = TIMEOUT_MS + (int64_t)(q->body_len >> 10) * 10,
		.retries = q->repeats ? RETRIES : 0,
	};
}

static int send_once(struct registry *r, const struct registry_request *q, struct wait *w, struct http_response *ret,
                     struct err *err)
{
	_cleanup_(done_outgoing) struct outgoing o;
	make_outgoing(r, q, &o);
	int e = http_perform(r->http, &o.request, w, ret, err);
	if (!reads(q) && !q->repeats && (e == ERR_TIMEOUT || e == ERR_NETWORK))
		return err_wrap(err, ERR_UNKNOWN, "%s: the reply to %s was lost", r->host, q->method);
	return e < 0 ? err_wrap(err, e, "%s %s", q->method != NULL ? q->method : "GET", o.url) : 0;
}

int registry_call(struct registry *r, const struct registry_request *q, struct wait *w, struct http_response *ret,
                  struct err *err)
{
	struct http_response first _cleanup_(http_response_done) = {0};
	int e = send_once(r, q, w, &first, err);
	if (e < 0)
		return e;
	if (first.status == 401) {
		e = log_in(r, q->scope, &first, w, err);
		if (e < 0)
			return e;
		http_response_done(&first);
		first = (struct http_response){0};
		e = send_once(r, q, w, &first, err);
		if (e < 0)
			return e;
	}
	if (first.status == 401 || first.status == 403) {
		err_set(err, ERR_AUTH, "%s does not allow '%s' to do this: %s", r->host,
		        r->username != NULL ? r->username : "anonymous", q->scope);
		return err_hint(err, ERR_AUTH,
		                "a private repository, a name that does not exist and a missing right look alike");
	}
	note_answered(r, q);
	*ret = first;
	first = (struct http_response){0};
	return 0;
}

/* ---- several at once ---- */

struct pending {
	struct http_transfer *transfer; /* NULL: it is over */
	struct http_response *response;
	int result;
};

static void end_pending(void *context, int result, struct http_response *response, const struct err *err)
{
	struct pending *p = context;
	(void)err;
	p->transfer = NULL;
	p->result = result;
	if (result >= 0) {
		*p->response = *response;
		*response = (struct http_response){0};
	}
}

static bool any_pending(const struct pending *all, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (all[i].transfer != NULL)
			return true;
	return false;
}

static int send_all(struct registry *r, const struct registry_request *q, size_t count, struct pending *all,
                    struct wait *w, struct err *err)
{
	int e = 0;
	for (size_t i = 0; e == 0 && i < count; i++) {
		_cleanup_(done_outgoing) struct outgoing o;
		make_outgoing(r, &q[i], &o);
		all[i].result = ERR_NETWORK;
		all[i].transfer = http_start(r->http, &o.request, end_pending, &all[i], err);
		if (all[i].transfer == NULL)
			e = err != NULL ? err->code : ERR_INTERNAL;
	}
	while (e == 0 && any_pending(all, count)) {
		e = wait_check(w, err);
		if (e == 0)
			e = http_step(r->http, NULL, 0, TURN_MS, err);
		e = MIN(e, 0);
	}
	for (size_t i = 0; i < count; i++)
		if (all[i].transfer != NULL)
			http_cancel(all[i].transfer);
	return e;
}

int registry_call_all(struct registry *r, const struct registry_request *q, size_t count, struct wait *w,
                      struct http_response *ret, struct err *err)
{
	_cleanup_free_ struct pending *all = xcalloc(count + 1, sizeof(*all));
	/* Where that is not known, the first one learns how to log in. */
	size_t from = count > 0 && !knows_login(r, q->scope) ? 1 : 0;
	int e = from > 0 ? registry_call(r, q, w, ret, err) : 0;
	for (size_t i = from; i < count; i++)
		all[i].response = &ret[i];
	if (e == 0 && count > from)
		e = send_all(r, q + from, count - from, all + from, w, err);
	/* What did not come back, or wants another login, is asked by itself. */
	for (size_t i = from; e == 0 && i < count; i++) {
		if (all[i].result >= 0 && ret[i].status != 401 && ret[i].status != 403)
			continue;
		http_response_done(&ret[i]);
		ret[i] = (struct http_response){0};
		e = registry_call(r, &q[i], w, &ret[i], err);
	}
	return e;
}

int registry_open_blob(struct registry *r, const char *path, const char *scope, struct wait *w,
                       struct http_stream **ret, struct err *err)
{
	/* A HEAD first: a stream cannot be asked again after its login was refused. */
	struct http_response head _cleanup_(http_response_done) = {0};
	struct registry_request q = {.method = "HEAD", .path = path, .scope = scope, .repeats = true};
	int e = registry_call(r, &q, w, &head, err);
	if (e < 0)
		return e;
	struct str login _cleanup_(str_done) = STR_SECRET_INIT(LOGIN_MAX);
	_cleanup_free_ char *url = xasprintf("%s%s", r->url, path);
	append_login(r, scope, &login);
	const char *const headers[] = {login.len > 0 ? str_peek(&login) : NULL, NULL};
	const struct http_request request = {.url = url,
	                                     .headers = headers,
	                                     .timeout_ms = 24 * 3600 * (int64_t)1000,
	                                     .retries = RETRIES,
	                                     .follow = true};
	*ret = http_stream_open(r->http, &request, w, err);
	return *ret == NULL ? (err != NULL ? err->code : ERR_NETWORK) : 0;
}

int registry_location(const struct registry *r, const struct http_response *response, char **ret, struct err *err)
{
	const char *location = http_header(response, "Location");
	if (location == NULL)
		return err_set(err, ERR_PROTOCOL, "%s opens an upload without saying where", r->host);
	_cleanup_(net_url_freep) CURLU *url = curl_url();
	if (url == NULL || curl_url_set(url, CURLUPART_URL, r->url, 0) != CURLUE_OK ||
	    curl_url_set(url, CURLUPART_URL, location, 0) != CURLUE_OK)
		return err_set(err, ERR_PROTOCOL, "%s opens an upload at what is not a URL", r->host);
	_cleanup_free_ char *host = net_url_part(url, CURLUPART_HOST, 0),
			    *port = net_url_part(url, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT);
	_cleanup_free_ char *path = net_url_part(url, CURLUPART_PATH, 0),
			    *query = net_url_part(url, CURLUPART_QUERY, 0);
	_cleanup_free_ char *there = port != NULL ? xasprintf("%s:%s", host, port) : xstrdup(host);
	if (there == NULL || path == NULL || strcmp(there, r->host) != 0)
		return err_set(err, ERR_PROTOCOL, "%s sends uploads to another host, '%s'", r->host,
		               there != NULL ? there : "");
	*ret = query != NULL ? xasprintf("%s?%s", path, query) : TAKE(path);
	return 0;
}

int registry_refused(const struct http_response *response, const char *what, struct err *err)
{
	json_t *body _cleanup_json_ = NULL;
	int code = response->status == 404                              ? ERR_NOT_FOUND
	           : response->status == 429 || response->status >= 500 ? ERR_NETWORK
	                                                                : ERR_FAILED;
	json_parse(str_peek(&response->body), response->body.len, ANSWER_MAX, &body, NULL);
	const json_t *first = json_array_get(json_get_array(body, "errors"), 0);
	const char *name = json_get_string(first, "code"), *message = json_get_string(first, "message");
	return err_set(err, code, "%s: the registry answered %d%s%.60s%s%.200s", what, response->status,
	               name != NULL ? " " : "", name != NULL ? name : "", message != NULL ? ": " : "",
	               message != NULL ? message : "");
}
