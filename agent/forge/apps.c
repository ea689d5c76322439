/* GitHub Apps: one says who it is by a JWT of its own, and gets tokens of its installation, which here may do nothing but administer runners. */
#include "agent/forge/forge_priv.h"
#include "base/core/clock.h"
#include "base/secret/base64.h"

#include <openssl/pem.h>
#include <string.h>
#include <strings.h>

enum { LIFE_MS = 3600 * 1000, LIFE_MAX_S = 600, CLOCK_ALLOWANCE_S = 60 };

static EVP_PKEY *key_of(const struct forge *f, const char *app)
{
	const char *pem = app != NULL ? json_get_string(f->apps, app) : NULL;
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
	const json_t *permissions = json_get_object(body, "permissions");
	const char *of_repo = json_get_string(permissions, "administration"),
		   *of_owner = json_get_string(permissions, "organization_self_hosted_runners");
	const char *name = json_string_value(json_array_get(json_get_array(body, "repositories"), 0));
	if (json_object_size(permissions) != 1 || (of_repo == NULL) == (of_owner == NULL) ||
	    (of_repo != NULL && name == NULL))
		req_complain(r, "a token for runners needs one right, and of a repository its name");
	struct forge_token *t = token_new(r->f, TOKEN_APP, LIFE_MS, NULL);
	t->scope = of_repo != NULL && name != NULL ? xasprintf("repos/%s/%s", repo->owner, name)
	                                           : xasprintf("orgs/%s", repo->owner);
	char time[CLOCK_TEXT_SIZE];
	req_reply_json(r, 201,
	               json_pack("{s:s, s:s}", "token", t->text, "expires_at", clock_rfc3339(t->expires_ms, time)));
}

/* {"id": "12", "public_key": PEM} */
static void put_app(struct req *r)
{
	_cleanup_json_ json_t *body = req_json(r);
	const char *id = json_get_string(body, "id"), *pem = json_get_string(body, "public_key");
	if (body == NULL)
		return;
	if (id == NULL || pem == NULL) {
		req_reply_error(r, 422, "say id and public_key");
		return;
	}
	json_object_set_new(r->f->apps, id, json_string(pem));
	req_reply(r, 204);
}

const struct route app_routes[] = {
	{"GET", "repos/+/+/installation", installation, 0},
	{"GET", "orgs/+/installation", installation, 0},
	{"POST", "app/installations/+/access_tokens", access_token, 0},
	{"PUT", "_forge/apps", put_app, ROUTE_QUIET | ROUTE_OWNER},
	{0},
};
