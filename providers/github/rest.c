#include "providers/github/rest.h"

enum { MAX_ANSWER = 4 << 20, TIMEOUT_MS = 30000, RETRIES = 3 };

void rest_reply_done(struct rest_reply *r)
{
	json_decref(r->body);
	free(r->accepted);
	*r = (struct rest_reply){0};
}

/* Too many requests in all, or too many at once. */
static bool is_limited(const struct http_response *response)
{
	const char *left = http_header(response, "X-RateLimit-Remaining");
	return response->status == 429 || (response->status == 403 && (http_header(response, "Retry-After") != NULL ||
	                                                               (left != NULL && strcmp(left, "0") == 0)));
}

struct rest rest_of_step(const struct step_context *c, const char *token)
{
	return (struct rest){
		.http = c->http(c->engine), .wait = c->wait, .api_url = c->deployment->api_url, .token = token};
}

static const char *api_of(const struct rest *g)
{
	return g->api_url != NULL ? g->api_url : "https://api.github.com";
}

static int call_url(const struct rest *g, const char *method, const char *url, const json_t *body,
                    struct rest_reply *ret, struct err *err)
{
	if (g->http == NULL)
		return err_set(err, ERR_INTERNAL, "this process has no HTTP client");
	_cleanup_(str_done) struct str login = STR_SECRET_INIT(16384);
	str_appendf(&login, "Authorization: Bearer %s", g->token);
	const char *const headers[] = {str_peek(&login), "Accept: application/vnd.github+json",
	                               "X-GitHub-Api-Version: 2022-11-28", "Content-Type: application/json", NULL};
	_cleanup_free_ char *text = body != NULL ? json_text(body) : NULL;
	struct http_request request = {
		.method = method,
		.url = url,
		.headers = headers,
		.body = text,
		.body_len = text != NULL ? strlen(text) : 0,
		.max_body = MAX_ANSWER,
		.timeout_ms = TIMEOUT_MS,
		.retries = strcmp(method, "GET") == 0 ? RETRIES : 0,
	};
	struct wait w = wait_within(g->wait, (RETRIES + 1) * (int64_t)TIMEOUT_MS);
	_cleanup_(http_response_done) struct http_response response = {0};
	int r = http_perform(g->http, &request, &w, &response, err);
	if (r < 0)
		return err_wrap(err, r, "%s %s", method, url);
	const char *accepted = http_header(&response, "X-Accepted-GitHub-Permissions");
	*ret = (struct rest_reply){
		.status = response.status, .accepted = xstrdup(accepted), .limited = is_limited(&response)};
	if (response.body.len > 0 &&
	    json_parse(response.body.data, response.body.len, MAX_ANSWER, &ret->body, NULL) < 0)
		ret->body = NULL;
	return 0;
}

int rest_call(const struct rest *g, const char *method, const char *path, const json_t *body, struct rest_reply *ret,
              struct err *err)
{
	_cleanup_free_ char *url = xasprintf("%s%s", api_of(g), path);
	return call_url(g, method, url, body, ret, err);
}

int rest_ask(const struct rest *g, const char *method, const char *path, const json_t *body, const char *what,
             const char *permission, json_t **ret_body, bool *ret_later, struct err *err)
{
	_cleanup_(rest_reply_done) struct rest_reply reply = {0};
	int r = rest_call(g, method, path, body, &reply, err);
	bool later = r < 0 ? r != ERR_INVALID && r != ERR_AUTH : rest_may_retry(&reply);
	if (ret_later != NULL)
		*ret_later = later;
	if (r < 0)
		return err_wrap(err, r, "%s", what);
	if (reply.status < 200 || reply.status > 299)
		return rest_refused(&reply, what, permission, err);
	if (ret_body != NULL)
		*ret_body = TAKE(reply.body);
	return 0;
}

bool rest_may_retry(const struct rest_reply *r)
{
	return r->limited || r->status == 401 || r->status == 408 || r->status >= 500;
}

/* An own-hosted GitHub has REST at /api/v3 and GraphQL at /api/graphql. */
static char *graphql_url(const struct rest *g)
{
	const char *api = api_of(g);
	size_t len = strlen(api);
	if (str_ends(api, "/v3"))
		len -= strlen("/v3");
	return xasprintf("%.*s/graphql", (int)len, api);
}

int rest_author(const struct rest *g, char **ret, struct err *err)
{
	_cleanup_(rest_reply_done) struct rest_reply reply = {0};
	_cleanup_free_ char *url = graphql_url(g);
	_cleanup_json_ json_t *query = json_pack("{s:s}", "query", "query { viewer { login } }");
	int r = call_url(g, "POST", url, query, &reply, err);
	if (r < 0)
		return r;
	const char *login = json_get_string(json_get_object(json_get_object(reply.body, "data"), "viewer"), "login");
	if (reply.status != 200 || login == NULL || *login == '\0')
		return err_set(err, ERR_NOT_FOUND, "GitHub does not say whose token it is (answer %d)", reply.status);
	*ret = xstrdup(login);
	return 0;
}

int rest_refused(const struct rest_reply *r, const char *what, const char *permission, struct err *err)
{
	const char *message = json_get_string(r->body, "message");
	int code = r->status == 401 || r->status == 403 ? ERR_PERMISSION
	           : r->status == 404                   ? ERR_NOT_FOUND
	                                                : ERR_FAILED;
	err_set(err, code, "%s: GitHub answered %d%s%s", what, r->status, message != NULL ? ": " : "",
	        message != NULL ? message : "");
	if (r->status == 401)
		return err_hint(err, code, "the token is wrong or has expired");
	if (r->status == 403 || r->status == 404)
		return err_hint(err, code, "the token needs the permission %s; in the workflow: permissions: { %s }",
		                r->accepted != NULL ? r->accepted : permission, permission);
	return code;
}
