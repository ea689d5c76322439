/* Issues the forge's tokens, and identifies the sender of an Authorization header. */
#include "agent/forge/forge_priv.h"
#include "base/core/clock.h"
#include "base/secret/base64.h"
#include "base/secret/digest.h"
#include "base/core/rand.h"

#include <string.h>
#include <strings.h>

/* A JWT signed with the forge's key: runners take it as opaque, libraries of actions look into its claims. */
static char *make_jwt(struct forge *f, const json_t *claims)
{
	_cleanup_(str_done) struct str text = STR_INIT(1 << 16);
	static const char header[] = "{\"typ\":\"JWT\",\"alg\":\"HS256\"}";
	_cleanup_free_ char *payload = json_text(claims);
	base64_encode_url(header, strlen(header), &text);
	str_append_c(&text, '.');
	base64_encode_url(payload, strlen(payload), &text);
	unsigned char mac[DIGEST_BYTES];
	digest_hmac_sha256(f->key, sizeof(f->key), text.data, text.len, mac);
	str_append_c(&text, '.');
	base64_encode_url(mac, sizeof(mac), &text);
	return str_take(&text);
}

static char *make_opaque(const char *prefix, size_t digits)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	_cleanup_(str_done) struct str text = STR_INIT(256);
	str_append(&text, prefix);
	for (size_t i = 0; i < digits; i++)
		str_append_c(&text, alphabet[rand_below(sizeof(alphabet) - 1)]);
	return str_take(&text);
}

struct forge_token *token_new(struct forge *f, enum token_kind kind, int64_t life_ms, const json_t *claims)
{
	struct forge_token *t = xcalloc(1, sizeof(*t));
	t->kind = kind;
	t->expires_ms = clock_wall_ms() + life_ms;
	if (claims)
		t->text = make_jwt(f, claims);
	else if (kind == TOKEN_GITHUB || kind == TOKEN_APP)
		t->text = make_opaque("ghs_", 36);
	else
		t->text = make_opaque("A", 28);
	f->tokens = xgrow(f->tokens, &f->token_cap, f->token_count + 1, sizeof(*f->tokens));
	f->tokens[f->token_count++] = t;
	return t;
}

/* The credential of the header: the part after the scheme, or a Basic password. *ret_scheme is borrowed from
 * schemes. */
static char *credential_of(struct req *r, const char *schemes, bool *ret_known_scheme)
{
	const char *header = req_header(r, "Authorization");
	size_t len = strcspn(header, " ");
	*ret_known_scheme = false;
	for (const char *p = schemes; *p;) {
		size_t n = strcspn(p, " ");
		if (n == len && strncasecmp(p, header, n) == 0)
			*ret_known_scheme = true;
		p += n + (p[n] == ' ');
	}
	const char *rest = header + len + strspn(header + len, " ");
	if (len != strlen("Basic") || strncasecmp(header, "Basic", len) != 0)
		return xstrdup(rest);
	_cleanup_(str_done) struct str plain = STR_SECRET_INIT(8192);
	if (base64_decode(rest, strlen(rest), &plain, NULL) < 0)
		return xstrdup("");
	const char *colon = strchr(str_peek(&plain), ':');
	const char *password = colon ? colon + 1 : "";
	/* git sends a token as user name too, with an empty or a fixed password. */
	if (colon && (!*password || strcmp(password, "x-oauth-basic") == 0))
		return xstrndup(plain.data, (size_t)(colon - plain.data));
	return xstrdup(password);
}

struct identity token_identify(struct req *r, const char *schemes)
{
	struct forge *f = r->f;
	struct identity who = {0};
	if (!req_header(r, "Authorization"))
		return who;
	who.given = true;
	bool known_scheme;
	_cleanup_free_ char *text = credential_of(r, schemes, &known_scheme);
	if (!known_scheme) {
		who.problem = "its scheme is not understood here";
		return who;
	}
	for (size_t i = 0; i < f->token_count; i++) {
		struct forge_token *t = f->tokens[i];
		if (strcmp(t->text, text) != 0)
			continue;
		if (t->revoked)
			who.problem = "the token was revoked";
		else if (t->expires_ms <= clock_wall_ms())
			who.problem = "the token has expired";
		else
			who.token = t;
		return who;
	}
	const char *own = f->config.token ? f->config.token : f->token;
	/* A removal or registration token that was never issued is wrong, whoever sends it. */
	bool any = !f->config.token && !f->config.closed &&
	           strncasecmp(req_header(r, "Authorization"), "RemoteAuth ", 11) != 0;
	if (*text && (strcmp(own, text) == 0 || (any && req_is_owners(r))))
		who.admin = true;
	else
		who.problem = "the credential is not known";
	return who;
}

struct forge_token *token_need(struct req *r, enum token_kind kind)
{
	struct identity who = token_identify(r, "Bearer");
	if (who.token && who.token->kind == kind)
		return who.token;
	if (!who.given)
		req_complain(r, "there is no Authorization header");
	else if (who.token || who.admin)
		req_complain(r, "the token is not of the kind that belongs here");
	else if (who.problem && !strstr(who.problem, "expired") && !strstr(who.problem, "revoked"))
		req_complain(r, "Authorization: %s", who.problem);
	req_reply_header(r, "WWW-Authenticate: Bearer");
	req_reply_error(r, 401, "Unauthorized");
	return NULL;
}

static bool level_suffices(const char *have, const char *need)
{
	return have && (strcmp(have, need) == 0 || (strcmp(have, "write") == 0 && strcmp(need, "read") == 0));
}

bool token_need_permission(struct req *r, const struct forge_repo *repo, const char *permission, const char *level,
                           struct forge_job **ret_job)
{
	char lower[64];
	size_t n = 0;
	for (const char *p = permission; *p && n + 2 < sizeof(lower); p++) {
		if (*p >= 'A' && *p <= 'Z' && p != permission)
			lower[n++] = '_';
		lower[n++] = (char)(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
	}
	lower[n] = '\0';
	if (ret_job)
		*ret_job = NULL;
	struct identity who = token_identify(r, "Bearer token Basic");
	if (who.admin)
		return true;
	req_reply_header(r, "X-Accepted-GitHub-Permissions: %s=%s", lower, level);
	if (!who.given) {
		if (strcmp(level, "read") == 0 && !r->f->config.token)
			return true; /* a public repository */
		req_reply_error(r, 401, "Requires authentication");
		return false;
	}
	if (!who.token) {
		req_reply_error(r, 401, "Bad credentials");
		return false;
	}
	if (who.token->kind == TOKEN_APP && app_token_has(who.token, repo->owner, repo->name) &&
	    (strcmp(lower, "metadata") == 0 || level_suffices(json_get_string(who.token->permissions, lower), level)))
		return true;
	if (who.token->kind != TOKEN_GITHUB || who.token->job->run->repo != repo ||
	    !level_suffices(json_get_string(who.token->job->permissions, permission), level)) {
		req_reply_error(r, 403, "Resource not accessible by integration");
		return false;
	}
	if (ret_job)
		*ret_job = who.token->job;
	return true;
}
