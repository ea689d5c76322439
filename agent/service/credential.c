#include "agent/service/credential.h"

#include <string.h>

#include "agent/service/oauth.h"
#include "agent/service/urls.h"
#include "agent/service/wire.h"
#include "base/core/clock.h"

enum { FORMAT = 1, RETRIES = 2, CALL_MS = 60000, SEALED_MAX = 256 << 10, APP_LIFE_MS = 3600 * 1000 };

void credential_done(struct credential *c)
{
	free(c->app_id);
	c->app_id = NULL;
	str_done(&c->secret);
}

void credential_token_done(struct credential_token *t)
{
	str_done(&t->text);
}

void credential_write(const struct credential *c, struct str *text)
{
	_cleanup_json_ json_t *all = json_pack("{s:i, s:s}", "format", FORMAT, "secret", str_peek(&c->secret));
	json_set_string(all, "app_id", c->app_id);
	_cleanup_free_ char *plain = json_text(all);
	str_append(text, plain);
	explicit_bzero(plain, strlen(plain));
}

int credential_read(const char *text, size_t len, struct credential *ret, struct err *err)
{
	_cleanup_json_ json_t *all = NULL;
	int r = json_parse(text, len, SEALED_MAX, &all, err);
	if (r < 0)
		return r;
	int64_t format = json_get_int(all, "format", 0);
	const char *secret = json_get_string(all, "secret");
	if (format > FORMAT)
		return err_set(err, ERR_UNSUPPORTED, "the credential has format %lld; this release reads up to %d",
		               (long long)format, FORMAT);
	if (secret == NULL)
		return err_set(err, ERR_INVALID, "the credential holds no secret");
	str_append(&ret->secret, secret);
	ret->app_id = xstrdup(json_get_string(all, "app_id"));
	return 0;
}

/* One call with a JSON answer. */
struct asked {
	struct http *http;
	struct wait *wait;
	const char *method, *token, *what;
	const json_t *body; /* NULL: none */
};

static int ask(const struct asked *q, const char *base, const char *name, json_t **ret, struct err *err)
{
	_cleanup_(wire_headers_done) struct wire_headers headers;
	_cleanup_free_ char *url = wire_url(base, name), *body = q->body != NULL ? json_text(q->body) : xstrdup("");
	struct http_response response = {0};
	wire_headers_make(&headers, "Bearer", q->token, true, q->body != NULL);
	struct http_request request = {.method = q->method,
	                               .url = url,
	                               .headers = (const char *const *)headers.lines,
	                               .body = strcmp(q->method, "GET") == 0 ? NULL : body,
	                               .body_len = strcmp(q->method, "GET") == 0 ? 0 : strlen(body),
	                               .max_body = WIRE_ANSWER_MAX,
	                               .timeout_ms = CALL_MS,
	                               .retries = RETRIES};
	int r = http_perform(q->http, &request, q->wait, &response, err);
	if (r >= 0 && (response.status < 200 || response.status >= 300))
		r = wire_status_error(&response, q->what, err);
	else if (r >= 0)
		r = wire_read_object(&response, ret, err);
	if (r < 0 && err != NULL && err->frame_count > 0 && response.status >= 200 && response.status < 300)
		err_wrap(err, r, "%s", q->what);
	http_response_done(&response);
	return r;
}

static int take_token(const json_t *answer, const char *what, struct str *ret, struct err *err)
{
	const char *token = wire_string(answer, "token");
	if (token == NULL || *token == '\0' || strpbrk(token, "\r\n") != NULL)
		return err_set(err, ERR_PROTOCOL, "the answer to '%s' has no token", what);
	str_append(ret, token);
	return ret->failed ? err_set(err, ERR_LIMIT, "the token is too long") : 0;
}

/* As long as the answer says that the token holds; what a clock that is wrong makes of that is kept within reason. */
static int64_t life_of(const json_t *answer)
{
	const char *text = wire_string(answer, "expires_at");
	int64_t until = 0;
	if (text == NULL || clock_parse_rfc3339(text, &until) < 0)
		return APP_LIFE_MS;
	int64_t life = until - clock_wall_ms();
	return life > 0 ? MIN(life, (int64_t)APP_LIFE_MS) : APP_LIFE_MS / 6;
}

static int ask_as_app(const struct asked *q, const struct credential_place *place, const json_t *rights,
                      struct credential_token *ret, struct err *err)
{
	_cleanup_free_ char *where = xasprintf("%s/installation", place->name);
	_cleanup_json_ json_t *installation = NULL, *answer = NULL;
	struct asked find = *q, make = *q;
	find.method = "GET";
	find.what = "find the App's installation";
	int r = ask(&find, place->api, where, &installation, err);
	if (r == ERR_NOT_FOUND || r == ERR_AUTH)
		return err_hint(err, r, "is the App installed for %s, and are its id and key right?",
		                strchr(place->name, '/') + 1);
	if (r < 0)
		return r;
	int64_t id = wire_int(installation, "id", 0);
	if (id <= 0)
		return err_set(err, ERR_PROTOCOL, "the answer about the App's installation has no id");
	_cleanup_free_ char *name = xasprintf("app/installations/%lld/access_tokens", (long long)id);
	make.method = "POST";
	make.body = rights;
	make.what = "get a token of the App's installation";
	r = ask(&make, place->api, name, &answer, err);
	if (r < 0)
		return err_hint(err, r,
		                "the App needs these permissions, and its installation must have agreed to them: %s",
		                place->rights_shown);
	ret->life_ms = life_of(answer);
	return take_token(answer, make.what, &ret->text, err);
}

int credential_app_token(struct http *h, const struct credential *c, const struct credential_place *place,
                         const json_t *rights, struct wait *w, struct credential_token *ret, struct err *err)
{
	_cleanup_(oauth_key_freep) struct oauth_key *key = NULL;
	_cleanup_(str_done) struct str assertion = STR_SECRET_INIT(16 << 10);
	int r = oauth_key_read_pem(str_peek(&c->secret), c->secret.len, &key, err);
	if (r < 0)
		return err_wrap(err, r, "the App's private key");
	r = oauth_app_assertion(key, c->app_id, clock_wall_ms(), &assertion, err);
	const struct asked q = {.http = h, .wait = w, .token = str_peek(&assertion)};
	return r < 0 ? r : ask_as_app(&q, place, rights, ret, err);
}

/* No more than runners of this one place. */
static int runner_app_token(struct http *h, const struct credential *c, const struct github_url *u, struct wait *w,
                            struct credential_token *ret, struct err *err)
{
	bool repository = u->kind == GITHUB_REPOSITORY;
	if (u->kind == GITHUB_ENTERPRISE)
		return err_set(err, ERR_UNSUPPORTED,
		               "an App is installed for organisations and people, not for enterprises");
	_cleanup_json_ json_t *rights =
		repository ? json_pack("{s:{s:s}, s:[s]}", "permissions", "administration", "write", "repositories",
	                               strrchr(u->path, '/') + 1)
			   : json_pack("{s:{s:s}}", "permissions", "organization_self_hosted_runners", "write");
	const struct credential_place place = {.api = u->api,
	                                       .name = u->entity,
	                                       .rights_shown = repository ? "Administration: write"
	                                                                  : "Self-hosted runners: write"};
	return credential_app_token(h, c, &place, rights, w, ret, err);
}

int credential_runner_token(struct http *h, const struct credential *c, const char *url, const char *event,
                            struct wait *w, struct str *ret, struct err *err)
{
	_cleanup_(github_url_done) struct github_url u = {0};
	_cleanup_(credential_token_done) struct credential_token token = CREDENTIAL_TOKEN_INIT;
	_cleanup_json_ json_t *answer = NULL;
	int r = github_url_parse(url, &u, err);
	if (r >= 0 && c->app_id != NULL)
		r = runner_app_token(h, c, &u, w, &token, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *name = xasprintf("%s/actions/runners/%s-token", u.entity, event);
	const struct asked q = {.http = h,
	                        .wait = w,
	                        .method = "POST",
	                        .token = c->app_id != NULL ? str_peek(&token.text) : str_peek(&c->secret),
	                        .what = "get a token for runners"};
	r = ask(&q, u.api, name, &answer, err);
	if (r == ERR_AUTH || r == ERR_NOT_FOUND)
		err_hint(err, r, "what the agent holds needs the right to administer runners of %s", u.path);
	return r < 0 ? r : take_token(answer, q.what, ret, err);
}
