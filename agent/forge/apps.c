/* GitHub Apps: one says who it is by a JWT of its own, and gets tokens of its installation, which may do what was asked for. */
#include "agent/forge/rest_priv.h"
#include "base/core/clock.h"
#include "base/secret/base64.h"

#include <openssl/pem.h>
#include <string.h>
#include <strings.h>

enum { LIFE_MS = 3600 * 1000, LIFE_MAX_S = 600, CLOCK_ALLOWANCE_S = 60 };

static EVP_PKEY *key_of(const struct forge *f, const char *app)
{
	const char *pem = app != NULL ? json_get_string(json_get_object(f->apps, app), "public_key") : NULL;
	BIO *bio = pem != NULL ? BIO_new_mem_buf(pem, (int)strlen(pem)) : NULL;
	EVP_PKEY *key = bio != NULL ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
	BIO_free(bio);
	return key;
}

/* What is wrong with the JWT of the request; NULL: nothing. */
static const char *fault_of(struct req *r)
{
	static const char scheme[] = "Bearer ";
	const char *header = req_header(r, "Authorization");
	const char *jwt = header != NULL && str_starts(header, scheme) ? header + strlen(scheme) : "";
	const char *one = strchr(jwt, '.'), *two = one != NULL ? strchr(one + 1, '.') : NULL;
	_cleanup_(str_done) struct str signature = STR_INIT(4096);
	if (two == NULL || base64_decode(two + 1, strlen(two + 1), &signature, NULL) < 0)
		return "A JSON web token could not be decoded";
	_cleanup_json_ json_t *head = jwt_part(jwt, (size_t)(one - jwt)),
			      *claims = jwt_part(one + 1, (size_t)(two - one - 1));
	const char *algorithm = json_get_string(head, "alg");
	int64_t now = clock_wall_ms() / 1000, from = json_get_int(claims, "iat", 0),
		until = json_get_int(claims, "exp", 0);
	if (algorithm == NULL || strcmp(algorithm, "RS256") != 0)
		return "the algorithm must be RS256";
	EVP_PKEY *key = key_of(r->f, json_get_string(claims, "iss"));
	if (key == NULL)
		return "Integration not found";
	bool fits = jwt_fits(key, algorithm, jwt, (size_t)(two - jwt), (const unsigned char *)str_peek(&signature),
	                     signature.len);
	EVP_PKEY_free(key);
	return !fits                            ? "A JSON web token could not be decoded"
	       : from > now + CLOCK_ALLOWANCE_S ? "'Issued at' claim ('iat') must be an Integer representing the past"
	       : until <= now || until > from + LIFE_MAX_S
	               ? "'Expiration time' claim ('exp') is too far in the future or past"
	               : NULL;
}

/* The one whose JWT the request has, which fits: need_app(). Borrowed. */
static json_t *app_of(struct req *r)
{
	const char *header = req_header(r, "Authorization"), *one = header != NULL ? strchr(header, '.') : NULL,
		   *two = one != NULL ? strchr(one + 1, '.') : NULL;
	_cleanup_json_ json_t *claims = two != NULL ? jwt_part(one + 1, (size_t)(two - one - 1)) : NULL;
	const char *app = json_get_string(claims, "iss");
	return app != NULL ? json_object_get(r->f->apps, app) : NULL;
}

static bool need_app(struct req *r)
{
	const char *fault = fault_of(r);
	if (fault != NULL)
		req_reply_error(r, 401, "%s", fault);
	return fault == NULL;
}

/* It is installed for every repository and organisation that is served. The installation's id is that of the owner's first repository. */
static const struct forge_repo *repo_of(struct req *r)
{
	const char *name = strstr(r->path, "/repos/") != NULL ? r->args[1] : NULL;
	if (strstr(r->path, "/users/") != NULL && !json_get_bool(app_of(r), "person", false))
		return NULL;
	if (strstr(r->path, "/orgs/") != NULL && json_get_bool(app_of(r), "person", false))
		return NULL;
	for (size_t i = 0; i < r->f->repo_count; i++)
		if (strcasecmp(r->f->repos[i]->owner, r->args[0]) == 0 &&
		    (name == NULL || strcasecmp(r->f->repos[i]->name, name) == 0))
			return r->f->repos[i];
	return NULL;
}

static void installation(struct req *r)
{
	if (!need_app(r))
		return;
	const struct forge_repo *repo = repo_of(r);
	if (repo == NULL)
		req_reply_error(r, 404, "Not Found");
	else
		req_reply_json(
			r, 200,
			json_pack("{s:I, s:{s:s}}", "id", (json_int_t)repo->id, "account", "login", repo->owner));
}

static const struct forge_repo *installed(struct req *r)
{
	long long id = 0;
	for (size_t i = 0; str_parse_i64(r->args[0], 1, INT64_MAX, &id) && i < r->f->repo_count; i++)
		if (r->f->repos[i]->id == id)
			return r->f->repos[i];
	return NULL;
}

/* "read" or "write" of things that the App was given itself. */
static bool may_ask_for(const json_t *app, const json_t *permissions)
{
	const json_t *own = json_get_object(app, "permissions");
	const char *name;
	json_t *level;
	json_object_foreach((json_t *)(uintptr_t)permissions, name, level)
	{
		const char *asked = json_string_value(level), *given = json_get_string(own, name);
		bool fits = asked != NULL && (strcmp(asked, "read") == 0 || strcmp(asked, "write") == 0);
		if (!fits ||
		    (own != NULL && (given == NULL || (strcmp(given, asked) != 0 && strcmp(given, "write") != 0))))
			return false;
	}
	return json_object_size(permissions) > 0;
}

static void access_token(struct req *r)
{
	if (!need_app(r))
		return;
	const struct forge_repo *repo = installed(r);
	_cleanup_json_ json_t *body = repo != NULL ? req_json(r) : NULL;
	if (repo == NULL)
		req_reply_error(r, 404, "Not Found");
	if (body == NULL)
		return;
	json_t *permissions = json_object_get(body, "permissions"), *app = app_of(r);
	if (!json_is_object(permissions))
		req_complain(r, "a token that names no permissions may do all that the App may");
	if (!may_ask_for(app, permissions)) {
		req_reply_error(r, 422, "The permissions requested are not granted to this installation.");
		return;
	}
	struct forge_token *t = token_new(r->f, TOKEN_APP, json_get_int(app, "life_ms", LIFE_MS), NULL);
	t->scope = xstrdup(repo->owner);
	t->permissions = json_incref(permissions);
	t->repositories = json_incref(json_object_get(body, "repositories"));
	char time[CLOCK_TEXT_SIZE];
	req_reply_json(r, 201,
	               json_pack("{s:s, s:s, s:O}", "token", t->text, "expires_at", clock_rfc3339(t->expires_ms, time),
	                         "permissions", permissions));
}

bool app_token_has(const struct forge_token *t, const char *owner, const char *name)
{
	bool has = t->repositories == NULL || name == NULL;
	size_t i;
	json_t *one;
	json_array_foreach(t->repositories, i, one) has =
		has || (json_is_string(one) && strcasecmp(json_string_value(one), name) == 0);
	return has && strcasecmp(t->scope, owner) == 0;
}

/* The repositories that the token can reach. */
static void reachable(struct req *r)
{
	struct identity who = token_identify(r, "Bearer token");
	_cleanup_json_ json_t *all = json_array();
	if (who.token == NULL || who.token->kind != TOKEN_APP) {
		req_reply_error(r, who.token != NULL ? 403 : 401, "%s",
		                who.token != NULL ? "Resource not accessible by integration" : "Bad credentials");
		return;
	}
	if (limits_refuse(r))
		return;
	for (size_t i = 0; i < r->f->repo_count; i++)
		if (app_token_has(who.token, r->f->repos[i]->owner, r->f->repos[i]->name))
			json_array_append_new(all, forge_repo_json(r->f, r->f->repos[i]));
	req_reply_json(
		r, 200,
		json_pack("{s:i, s:o}", "total_count", (int)json_array_size(all), "repositories", rest_page(r, all)));
}

/* {"id": "12", "public_key": PEM}; "permissions": {"actions": "read"}: all that it may; "life_ms": how long its tokens hold; "person": its owners are
 * people, not organisations. */
static void put_app(struct req *r)
{
	_cleanup_json_ json_t *body = req_json(r);
	const char *id = json_get_string(body, "id");
	if (body == NULL)
		return;
	if (id == NULL || json_get_string(body, "public_key") == NULL) {
		req_reply_error(r, 422, "say id and public_key");
		return;
	}
	json_object_set(r->f->apps, id, body);
	req_reply(r, 204);
}

const struct route app_routes[] = {
	{"GET", "repos/+/+/installation", installation, 0},
	{"GET", "orgs/+/installation", installation, 0},
	{"GET", "users/+/installation", installation, 0},
	{"GET", "installation/repositories", reachable, 0},
	{"POST", "app/installations/+/access_tokens", access_token, 0},
	{"PUT", "_forge/apps", put_app, ROUTE_QUIET | ROUTE_OWNER},
	{0},
};
