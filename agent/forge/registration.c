/* Registration and removal of runners: registration tokens, V2 registration, just-in-time configurations. */
#include "agent/forge/forge_priv.h"
#include "base/core/clock.h"
#include "base/secret/base64.h"
#include "base/core/rand.h"

#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <string.h>
#include <strings.h>

enum { HOUR_MS = 3600 * 1000 };

/* "repos/o/r" or "orgs/o" of the path, in the spelling of the repository; answers 404. free(). */
static char *scope_of(struct req *r, bool repository)
{
	if (repository) {
		struct forge_repo *repo = forge_repo_need(r, 0, 1);
		return repo ? xasprintf("repos/%s", repo->full_name) : NULL;
	}
	for (size_t i = 0; i < r->f->repo_count; i++)
		if (strcasecmp(r->f->repos[i]->owner, r->args[0]) == 0)
			return xasprintf("orgs/%s", r->f->repos[i]->owner);
	req_reply_error(r, 404, "Not Found");
	return NULL;
}

static bool is_repository_path(const struct req *r)
{
	return strstr(r->path, "/repos/") != NULL;
}

/* An App's token that may administer runners of this place. */
static bool is_runner_app(struct req *r, const struct forge_token *t)
{
	bool repository = is_repository_path(r);
	const char *right = repository ? "administration" : "organization_self_hosted_runners",
		   *level = t != NULL && t->kind == TOKEN_APP ? json_get_string(t->permissions, right) : NULL;
	return level != NULL && (strcmp(level, "write") == 0 || strcmp(r->method, "GET") == 0) &&
	       app_token_has(t, r->args[0], repository ? r->args[1] : NULL);
}

/* Administration: no job's token may do this. */
static bool need_admin(struct req *r)
{
	struct identity who = token_identify(r, "Bearer token Basic");
	if (who.admin || is_runner_app(r, who.token))
		return true;
	if (who.token)
		req_reply_error(r, 403, "Resource not accessible by integration");
	else
		req_reply_error(r, 401, who.given ? "Bad credentials" : "Requires authentication");
	return false;
}

static void make_token(struct req *r, enum token_kind kind)
{
	_cleanup_free_ char *scope = scope_of(r, is_repository_path(r));
	if (!scope || !need_admin(r))
		return;
	const char *authorization = req_header(r, "Authorization"), *accept = req_header(r, "Accept"),
		   *who = req_header(r, "User-Agent");
	if (who && str_starts(who, "GitHubActionsRunner-") && authorization &&
	    strncasecmp(authorization, "basic ", 6) == 0 &&
	    (!accept || strcmp(accept, "application/vnd.github.v3+json") != 0))
		req_complain(r, "Accept must be application/vnd.github.v3+json where a personal token is exchanged");
	struct forge_token *t = token_new(r->f, kind, HOUR_MS, NULL);
	t->scope = TAKE(scope);
	char time[CLOCK_TEXT_SIZE];
	req_reply_json(r, 201,
	               json_pack("{s:s, s:s}", "token", t->text, "expires_at", clock_rfc3339(t->expires_ms, time)));
}

static void registration_token(struct req *r)
{
	make_token(r, TOKEN_REGISTRATION);
}

static void remove_token(struct req *r)
{
	make_token(r, TOKEN_REMOVAL);
}

/* A registration or removal token by RemoteAuth, or what runner-registration gave by Bearer, for this scope ("": any).
 * Answers 401/404. */
static struct forge_token *need_runner_admin(struct req *r, const char *scope, bool removal)
{
	struct identity who = token_identify(r, "RemoteAuth Bearer");
	struct forge_token *t = who.token;
	if (!t ||
	    (t->kind != TOKEN_REGISTRATION && t->kind != TOKEN_MANAGEMENT && !(removal && t->kind == TOKEN_REMOVAL))) {
		req_complain(r, "Authorization must be RemoteAuth with a %s token: %s",
		             removal ? "removal" : "registration",
		             who.problem ? who.problem
		             : who.given ? "another kind was sent"
		                         : "there is none");
		req_reply_error(r, 401, "Bad credentials");
		return NULL;
	}
	if (*scope && strcmp(t->scope, scope) != 0) {
		req_complain(r, "the token is for %s", t->scope);
		req_reply_error(r, 404, "Not Found");
		return NULL;
	}
	return t;
}

/* The scope that an operator's URL names: http://host/owner/repo or http://host/org. free(); NULL: none. */
static char *scope_of_url(struct forge *f, const char *url)
{
	const char *p = strstr(url, "://");
	p = p ? strchr(p + 3, '/') : NULL;
	if (!p)
		return NULL;
	_cleanup_free_ char *path = xstrdup(p + 1);
	size_t len = strlen(path);
	while (len && path[len - 1] == '/')
		path[--len] = '\0';
	char *slash = strchr(path, '/');
	if (slash && strchr(slash + 1, '/'))
		return NULL;
	if (slash) {
		*slash = '\0';
		struct forge_repo *repo = forge_repo_find(f, path, slash + 1);
		return repo ? xasprintf("repos/%s", repo->full_name) : NULL;
	}
	for (size_t i = 0; i < f->repo_count; i++)
		if (strcasecmp(f->repos[i]->owner, path) == 0)
			return xasprintf("orgs/%s", f->repos[i]->owner);
	return NULL;
}

static void runner_registration(struct req *r)
{
	static const struct member members[] = {{"url", 'S', true}, {"runner_event", 'S', true}};
	check_rest_headers(r);
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	const char *event = json_get_string(body, "runner_event");
	bool good = check_members(r, body, "runner-registration", members, ARRAY_SIZE(members));
	if (good && strcmp(event, "register") != 0 && strcmp(event, "remove") != 0) {
		req_complain(r, "runner_event is register or remove, not '%.40s'", event);
		good = false;
	}
	if (!good) {
		req_reply_error(r, 422, "Validation Failed");
		return;
	}
	struct forge_token *t = need_runner_admin(r, "", strcmp(event, "remove") == 0);
	if (!t)
		return;
	_cleanup_free_ char *scope = scope_of_url(r->f, json_get_string(body, "url"));
	if (!scope || strcmp(scope, t->scope) != 0) {
		req_complain(r, "the URL '%.100s' does not belong to the token, which is for %s",
		             json_get_string(body, "url"), t->scope);
		req_reply_error(r, 404, "Not Found");
		return;
	}
	struct forge_token *management = token_new(r->f, TOKEN_MANAGEMENT, HOUR_MS, NULL);
	management->scope = xstrdup(t->scope);
	_cleanup_free_ char *tenant = xasprintf("%s/_services/pipelines/1/", r->f->base);
	req_reply_json(r, 200,
	               json_pack("{s:s, s:s, s:s, s:b}", "url", tenant, "token_schema", "OAuthAccessToken", "token",
	                         management->text, "use_v2_flow", 1));
}

static void runner_groups(struct req *r)
{
	_cleanup_free_ char *scope = scope_of(r, is_repository_path(r));
	if (!scope || !need_runner_admin(r, scope, false))
		return;
	req_reply_json(r, 200,
	               json_pack("{s:i, s:[{s:i, s:s, s:b, s:b}]}", "total_count", 1, "runner_groups", "id", 1, "name",
	                         "Default", "default", 1, "is_hosted", 0));
}

static json_t *runner_object(const struct forge_runner *runner)
{
	int64_t silent = clock_mono_ms() - runner->last_poll_ms;
	bool online = runner->session_id[0] && runner->last_poll_ms && silent < 2 * 60 * 1000;
	return json_pack("{s:I, s:s, s:s, s:s, s:b, s:b, s:O}", "id", (json_int_t)runner->id, "name", runner->name,
	                 "os", runner->os ? runner->os : "unknown", "status", online ? "online" : "offline", "busy",
	                 runner->job != NULL, "ephemeral", runner->ephemeral, "labels", runner->label_objects);
}

static void list_runners(struct req *r)
{
	_cleanup_free_ char *scope = scope_of(r, is_repository_path(r));
	if (!scope)
		return;
	struct identity who = token_identify(r, "RemoteAuth Bearer token Basic");
	if (!who.admin && !is_runner_app(r, who.token) && !need_runner_admin(r, scope, false))
		return;
	const char *name = req_query(r, "name");
	json_t *list = json_array();
	for (size_t i = 0; i < r->f->runner_count; i++) {
		const struct forge_runner *runner = r->f->runners[i];
		if (!runner->deleted && strcmp(runner->scope, scope) == 0 &&
		    (!name || strcasecmp(name, runner->name) == 0))
			json_array_append_new(list, runner_object(runner));
	}
	req_reply_json(r, 200, json_pack("{s:i, s:o}", "total_count", (int)json_array_size(list), "runners", list));
}

void forge_runner_remove(struct forge *f, struct forge_runner *runner)
{
	runner->deleted = true;
	runner->session_id[0] = '\0';
	for (size_t i = 0; i < f->token_count; i++)
		if (f->tokens[i]->runner == runner && f->tokens[i]->kind == TOKEN_RUNNER)
			f->tokens[i]->revoked = true;
	forge_event(f, "runner %s removed", runner->name);
	forge_wake(f);
}

static struct forge_runner *find_runner(struct forge *f, const char *scope, int64_t id, const char *name)
{
	for (size_t i = 0; i < f->runner_count; i++) {
		struct forge_runner *runner = f->runners[i];
		if (!runner->deleted && strcmp(runner->scope, scope) == 0 &&
		    (name ? strcasecmp(runner->name, name) == 0 : runner->id == id))
			return runner;
	}
	return NULL;
}

static void delete_runner(struct req *r)
{
	_cleanup_free_ char *scope = scope_of(r, is_repository_path(r));
	if (!scope)
		return;
	struct identity who = token_identify(r, "RemoteAuth Bearer token Basic");
	if (!who.admin && !is_runner_app(r, who.token) && !need_runner_admin(r, scope, true))
		return;
	long long id = 0;
	struct forge_runner *runner = str_parse_i64(r->args[is_repository_path(r) ? 2 : 1], 1, INT64_MAX, &id)
	                                      ? find_runner(r->f, scope, id, NULL)
	                                      : NULL;
	if (!runner) {
		req_reply_error(r, 404, "Not Found");
		return;
	}
	forge_runner_remove(r->f, runner);
	req_reply(r, 204);
}

/* ---- keys ---- */

static BIGNUM *xml_number(const char *xml, const char *open, const char *close)
{
	const char *from = strstr(xml, open);
	const char *to = from ? strstr(from, close) : NULL;
	if (!to)
		return NULL;
	from += strlen(open);
	_cleanup_(str_done) struct str bytes = STR_INIT(2048);
	if (base64_decode(from, (size_t)(to - from), &bytes, NULL) < 0 || !bytes.len)
		return NULL;
	return BN_bin2bn((const unsigned char *)bytes.data, (int)bytes.len, NULL);
}

/* <RSAKeyValue><Modulus>…</Modulus><Exponent>…</Exponent></RSAKeyValue> → key; NULL unless it is one of 2048 bits or
 * more. */
static EVP_PKEY *key_from_xml(const char *xml)
{
	if (!str_starts(xml, "<RSAKeyValue><Modulus>") || !str_ends(xml, "</Exponent></RSAKeyValue>"))
		return NULL;
	BIGNUM *n = xml_number(xml, "<Modulus>", "</Modulus>"), *e = xml_number(xml, "<Exponent>", "</Exponent>");
	EVP_PKEY *key = NULL;
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	if (n && e && BN_num_bits(n) >= 2048 && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) &&
	    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e)) {
		OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
		EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
		if (EVP_PKEY_fromdata_init(context) != 1 ||
		    EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
			key = NULL;
		EVP_PKEY_CTX_free(context);
		OSSL_PARAM_free(params);
	}
	OSSL_PARAM_BLD_free(build);
	BN_free(n);
	BN_free(e);
	return key;
}

/* ---- register ---- */

static bool check_labels(struct req *r, const json_t *labels)
{
	static const struct member members[] = {{"id", 'i', false}, {"name", 'S', true}, {"type", 'S', true}};
	bool good = true;
	size_t i;
	json_t *label;
	json_array_foreach(labels, i, label)
	{
		_cleanup_free_ char *where = xasprintf("label %zu", i + 1);
		if (!check_members(r, label, where, members, ARRAY_SIZE(members))) {
			good = false;
			continue;
		}
		const char *type = json_get_string(label, "type");
		if (strcmp(type, "system") != 0 && strcmp(type, "user") != 0) {
			req_complain(r, "%s: the type is system or user, not '%.40s'", where, type);
			good = false;
		}
	}
	const char *first = json_get_string(json_array_get(labels, 0), "name");
	if (!first || strcmp(first, "self-hosted") != 0)
		req_complain(r, "the first label must be self-hosted, not '%.40s'", first ? first : "");
	return good;
}

static struct forge_runner *runner_new(struct forge *f, const char *scope, const char *name, bool ephemeral)
{
	struct forge_runner *runner = xcalloc(1, sizeof(*runner));
	runner->id = forge_id(f);
	runner->name = xstrdup(name);
	runner->scope = xstrdup(scope);
	runner->ephemeral = ephemeral;
	runner->queue = json_array();
	runner->label_objects = json_array();
	rand_uuid4(runner->client_id);
	f->runners = xgrow(f->runners, &f->runner_cap, f->runner_count + 1, sizeof(*f->runners));
	f->runners[f->runner_count++] = runner;
	return runner;
}

static void set_labels(struct forge_runner *runner, const json_t *labels)
{
	size_t i;
	json_t *label;
	json_array_foreach(labels, i, label)
	{
		const char *name = json_get_string(label, "name");
		strv_add(&runner->labels, name);
		json_array_append_new(
			runner->label_objects,
			json_pack("{s:i, s:s, s:s}", "id", (int)i + 1, "name", name, "type",
		                  strcmp(json_get_string(label, "type"), "system") == 0 ? "read-only" : "custom"));
	}
}

static bool check_registration(struct req *r, const json_t *body, EVP_PKEY **ret_key)
{
	static const struct member members[] = {
		{"url", 'S', true},      {"group_id", 'i', true},         {"name", 'S', true},
		{"version", 'S', true},  {"updates_disabled", 'b', true}, {"ephemeral", 'b', true},
		{"labels", 'a', true},   {"public_key", 'S', true},       {"runner_id", 'i', false},
		{"replace", 'b', false},
	};
	if (!check_members(r, body, "register", members, ARRAY_SIZE(members)) ||
	    !check_labels(r, json_object_get(body, "labels")))
		return false;
	const char *name = json_get_string(body, "name");
	if (strlen(name) > 64) {
		req_complain(r, "the name is longer than 64 characters");
		return false;
	}
	if (json_get_int(body, "group_id", 0) != 1) {
		req_complain(r, "there is no runner group %lld", (long long)json_get_int(body, "group_id", 0));
		return false;
	}
	*ret_key = key_from_xml(json_get_string(body, "public_key"));
	if (!*ret_key)
		req_complain(r, "public_key is not an <RSAKeyValue> of at least 2048 bits");
	return *ret_key != NULL;
}

/* The service's answer to a registration. */
static json_t *registration_answer(struct forge *f, const struct forge_runner *runner)
{
	return json_pack("{s:I, s:s, s:{s:s, s:o, s:o}}", "id", (json_int_t)runner->id, "name", runner->name,
	                 "authorization", "client_id", runner->client_id, "authorization_url",
	                 json_stringf("%s/_services/vstoken/_apis/oauth2/token/1", f->base), "server_url",
	                 json_stringf("%s/_services/broker/", f->base));
}

static void register_runner(struct req *r)
{
	check_rest_headers(r);
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	const char *url = json_get_string(body, "url");
	_cleanup_free_ char *scope = url ? scope_of_url(r->f, url) : NULL;
	struct forge_token *t = need_runner_admin(r, scope ? scope : "", false);
	if (!t)
		return;
	EVP_PKEY *key = NULL;
	if (!check_registration(r, body, &key) || !scope) {
		if (url && !scope)
			req_complain(r, "the URL '%.100s' names nothing here", url);
		EVP_PKEY_free(key);
		req_reply_error(r, 422, "Validation Failed");
		return;
	}
	const char *name = json_get_string(body, "name");
	struct forge_runner *old = find_runner(r->f, scope, 0, name);
	if (old && !(json_get_bool(body, "replace", false) && json_get_int(body, "runner_id", 0) == old->id)) {
		EVP_PKEY_free(key);
		req_reply_error(r, 409, "A runner exists with the same name %s.", name);
		return;
	}
	if (!old && json_get_bool(body, "replace", false)) {
		EVP_PKEY_free(key);
		req_reply_error(r, 404, "Not Found");
		return;
	}
	if (old)
		forge_runner_remove(r->f, old);
	struct forge_runner *runner = runner_new(r->f, scope, name, json_get_bool(body, "ephemeral", false));
	if (old)
		runner->id = old->id;
	runner->key = key;
	runner->version = xstrdup(json_get_string(body, "version"));
	runner->public_key = xstrdup(json_get_string(body, "public_key"));
	set_labels(runner, json_object_get(body, "labels"));
	forge_event(r->f, "runner %s registered for %s", name, scope);
	req_reply_json(r, 200, registration_answer(r->f, runner));
}

/* ---- just-in-time configuration: the service makes the key ---- */

static void add_number(json_t *out, const char *name, EVP_PKEY *key, const char *param, int width)
{
	BIGNUM *n = NULL;
	unsigned char bytes[512];
	if (EVP_PKEY_get_bn_param(key, param, &n) == 1 && BN_bn2binpad(n, bytes, width) == width) {
		_cleanup_(str_done) struct str text = STR_SECRET_INIT(1024);
		base64_encode(bytes, (size_t)width, &text);
		json_object_set_new(out, name, json_string(str_peek(&text)));
	}
	BN_clear_free(n);
}

static json_t *private_key_file(EVP_PKEY *key)
{
	json_t *out = json_object();
	add_number(out, "d", key, OSSL_PKEY_PARAM_RSA_D, 256);
	add_number(out, "dp", key, OSSL_PKEY_PARAM_RSA_EXPONENT1, 128);
	add_number(out, "dq", key, OSSL_PKEY_PARAM_RSA_EXPONENT2, 128);
	add_number(out, "exponent", key, OSSL_PKEY_PARAM_RSA_E, 3);
	add_number(out, "inverseQ", key, OSSL_PKEY_PARAM_RSA_COEFFICIENT1, 128);
	add_number(out, "modulus", key, OSSL_PKEY_PARAM_RSA_N, 256);
	add_number(out, "p", key, OSSL_PKEY_PARAM_RSA_FACTOR1, 128);
	add_number(out, "q", key, OSSL_PKEY_PARAM_RSA_FACTOR2, 128);
	return out;
}

static void add_file(json_t *files, const char *name, json_t *content)
{
	_cleanup_free_ char *text = json_text(content);
	_cleanup_(str_done) struct str base64 = STR_INIT(1 << 16);
	base64_encode(text, strlen(text), &base64);
	json_object_set_new(files, name, json_string(str_peek(&base64)));
	json_decref(content);
}

/* The three files in the spelling that GitHub uses here: capitals, and every value a string. */
static char *jit_config(struct forge *f, const struct forge_runner *runner, EVP_PKEY *key, const char *work_folder)
{
	json_t *files = json_object();
	add_file(files, ".runner",
	         json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:s}", "AgentId",
	                   json_stringf("%lld", (long long)runner->id), "AgentName", runner->name, "DisableUpdate",
	                   "True", "Ephemeral", "True", "PoolId", "1", "PoolName", "Default", "UseV2Flow", "True",
	                   "WorkFolder", work_folder, "ServerUrl", json_stringf("%s/_services/pipelines/1/", f->base),
	                   "ServerUrlV2", json_stringf("%s/_services/broker/", f->base), "IsHostedServer", "False"));
	add_file(files, ".credentials",
	         json_pack("{s:s, s:{s:s, s:o, s:s}}", "Scheme", "OAuth", "Data", "ClientId", runner->client_id,
	                   "AuthorizationUrl", json_stringf("%s/_services/vstoken/_apis/oauth2/token/1", f->base),
	                   "requireFipsCryptography", "True"));
	add_file(files, ".credentials_rsaparams", private_key_file(key));
	_cleanup_free_ char *text = json_text(files);
	json_decref(files);
	_cleanup_(str_done) struct str base64 = STR_INIT(1 << 20);
	base64_encode(text, strlen(text), &base64);
	return str_take(&base64);
}

static void generate_jitconfig(struct req *r)
{
	static const struct member members[] = {{"name", 'S', true},
	                                        {"runner_group_id", 'i', true},
	                                        {"labels", 'a', true},
	                                        {"work_folder", 'S', false}};
	_cleanup_free_ char *scope = scope_of(r, is_repository_path(r));
	if (!scope || !need_admin(r))
		return;
	check_rest_headers(r);
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	json_t *labels = json_object_get(body, "labels");
	if (!check_members(r, body, "generate-jitconfig", members, ARRAY_SIZE(members)) || !json_array_size(labels) ||
	    json_array_size(labels) > 100) {
		req_reply_error(r, 422, "Validation Failed");
		return;
	}
	const char *name = json_get_string(body, "name");
	if (find_runner(r->f, scope, 0, name)) {
		req_reply_error(r, 409, "Already exists - A runner with the name %s already exists.", name);
		return;
	}
	EVP_PKEY *key = EVP_RSA_gen(2048);
	struct forge_runner *runner = runner_new(r->f, scope, name, true);
	runner->jit = true;
	size_t i;
	json_t *label;
	json_array_foreach(labels, i, label) if (json_is_string(label))
	{
		strv_add(&runner->labels, json_string_value(label));
		json_array_append_new(runner->label_objects, json_pack("{s:i, s:s, s:s}", "id", (int)i + 1, "name",
		                                                       json_string_value(label), "type", "custom"));
	}
	const char *work_folder = json_get_string(body, "work_folder");
	_cleanup_free_ char *config = jit_config(r->f, runner, key, work_folder ? work_folder : "_work");
	runner->key = key;
	req_reply_json(r, 201, json_pack("{s:o, s:s}", "runner", runner_object(runner), "encoded_jit_config", config));
}

const struct route registration_routes[] = {
	{"POST", "actions/runner-registration", runner_registration, 0},
	{"POST", "actions/runners/register", register_runner, 0},
	{"POST", "repos/+/+/actions/runners/registration-token", registration_token, 0},
	{"POST", "repos/+/+/actions/runners/remove-token", remove_token, 0},
	{"POST", "repos/+/+/actions/runners/generate-jitconfig", generate_jitconfig, 0},
	{"GET", "repos/+/+/actions/runners", list_runners, 0},
	{"DELETE", "repos/+/+/actions/runners/+", delete_runner, 0},
	{"GET", "repos/+/+/actions/runner-groups", runner_groups, 0},
	{"POST", "orgs/+/actions/runners/registration-token", registration_token, 0},
	{"POST", "orgs/+/actions/runners/remove-token", remove_token, 0},
	{"POST", "orgs/+/actions/runners/generate-jitconfig", generate_jitconfig, 0},
	{"GET", "orgs/+/actions/runners", list_runners, 0},
	{"DELETE", "orgs/+/actions/runners/+", delete_runner, 0},
	{"GET", "orgs/+/actions/runner-groups", runner_groups, 0},
	{0},
};
