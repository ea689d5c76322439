#include "agent/service/registration_priv.h"

#include <strings.h>

#include "agent/service/v1_locations.h"
#include "agent/service/wire.h"
#include "base/secret/base64.h"
#include "base/core/rand.h"

enum { TRIES = 3, PAUSE_MS = 1000, PAUSE_SPREAD_MS = 4000, ASKED_MAX_MS = 120000 };

/* ---- Calls to the REST API. They block: only `configure` and `remove` make them. */

static int call_once(struct rest *rest, const char *method, const char *url, const char *scheme, const char *token,
                     const char *body, struct http_response *ret, struct err *err)
{
	_cleanup_(wire_headers_done) struct wire_headers headers;
	wire_headers_make(&headers, scheme, token, false, body != NULL);
	/* Where GitHub's REST API for everybody is asked [1.5]. */
	if (strcmp(scheme, "basic") == 0)
		headers.lines[headers.count++] = xstrdup("Accept: application/vnd.github.v3+json");
	struct http_request request = {
		.method = method,
		.url = url,
		.headers = (const char *const *)headers.lines,
		.body = body,
		.body_len = body ? strlen(body) : 0,
		.timeout_ms = 100000,
		.follow = true,
	};
	return http_perform(rest->http, &request, rest->wait, ret, err);
}

bool registration_pause(struct rest *rest, const struct http_response *response)
{
	struct err ignored = ERR_INIT;
	int64_t own = registration_pace(PAUSE_MS + (int64_t)rand_below(PAUSE_SPREAD_MS));
	int64_t asked = http_retry_after_ms(response);
	asked = MIN(asked, (int64_t)ASKED_MAX_MS);
	return wait_ms(rest->wait, MAX(own, asked), &ignored) >= 0;
}

static bool is_success(const struct http_response *response)
{
	return response->status >= 200 && response->status < 300;
}

/* Three tries with 1 to 5 s between them, or as long as the service asks for. A 404 is final, and so is a refusal of the token, unless
 * it says when to come again (a 403 may be a limit of rates). */
static int call(struct rest *rest, const char *method, const char *url, const char *scheme, const char *token,
                const char *body, const char *what, struct http_response *ret, struct err *err)
{
	int r = ERR_INTERNAL;
	for (int try = 0; try < TRIES; try++) {
		if (try > 0 && !registration_pause(rest, ret))
			break;
		http_response_done(ret);
		err_clear(err);
		r = call_once(rest, method, url, scheme, token, body, ret, err);
		if (r >= 0 && is_success(ret))
			return 0;
		if (r >= 0)
			r = wire_status_error(ret, what, err);
		else
			err_wrap(err, r, "%s", what);
		if (r == ERR_NOT_FOUND || (r == ERR_AUTH && http_retry_after_ms(ret) < 0) || r == ERR_CANCELLED ||
		    r == ERR_EXISTS)
			break;
	}
	return r;
}

/* RemoteAuth with the operator's token; if that is refused, Bearer with the management token [1.10, 10.4]. */
static int manage(struct rest *rest, const char *method, const char *url, const char *body, const char *what,
                  struct http_response *ret, struct err *err)
{
	int r = call(rest, method, url, "RemoteAuth", rest->token, body, what, ret, err);
	if ((r != ERR_AUTH && r != ERR_NOT_FOUND) || rest->management == NULL)
		return r;
	struct err second = ERR_INIT;
	struct http_response other = {0};
	if (call(rest, method, url, "Bearer", rest->management, body, what, &other, &second) < 0) {
		http_response_done(&other);
		return r;
	}
	http_response_done(ret);
	*ret = other;
	err_clear(err);
	return 0;
}

/* A JSON answer of a managing call. */
static int manage_json(struct rest *rest, const char *method, const char *url, const char *body, const char *what,
                       json_t **ret, struct err *err)
{
	struct http_response response = {0};
	int r = manage(rest, method, url, body, what, &response, err);
	if (r >= 0) {
		r = wire_read_object(&response, ret, err);
		if (r < 0)
			err_wrap(err, r, "%s", what);
	}
	http_response_done(&response);
	return r;
}

/* Personal access token → registration or removal token [1.5]. free() after wiping. */
static int exchange_pat(struct rest *rest, const struct github_url *u, const char *event, const char *pat, char **ret,
                        struct err *err)
{
	_cleanup_(str_done) struct str plain = STR_SECRET_INIT(4096), coded = STR_SECRET_INIT(8192);
	str_appendf(&plain, "github:%s", pat);
	base64_encode(str_peek(&plain), plain.len, &coded);
	_cleanup_free_ char *name = xasprintf("%s/actions/runners/%s-token", u->entity, event);
	_cleanup_free_ char *url = wire_url(u->api, name);
	struct http_response response = {0};
	_cleanup_json_ json_t *answer = NULL;
	int r = call(rest, "POST", url, "basic", str_peek(&coded), "", "exchange the personal access token", &response,
	             err);
	if (r >= 0)
		r = wire_read_object(&response, &answer, err);
	http_response_done(&response);
	if (r == ERR_AUTH || r == ERR_NOT_FOUND)
		err_hint(err, r, "the token needs the right to administer runners of %s", u->path);
	if (r < 0)
		return r;
	const char *token = wire_string(answer, "token");
	if (token == NULL)
		return err_set(err, ERR_PROTOCOL, "the answer to the personal access token has no token");
	*ret = xstrdup(token);
	return 0;
}

static int hint_token(struct err *err, int r, const struct github_url *u)
{
	if (r == ERR_AUTH || r == ERR_NOT_FOUND)
		err_hint(err, r,
		         "the token is good for one hour and for %s only; make a new one at %s, Settings, Actions, "
		         "Runners",
		         u->path, u->url);
	return r;
}

/* The generation that a registration was made with. */
static const struct registration_type *type_of(const char *generation);

int registration_hello(struct rest *rest, const struct github_url *u, const char *event, struct registration *reg,
                       struct err *err)
{
	_cleanup_json_ json_t *ask = json_pack("{s:s, s:s}", "url", u->url, "runner_event", event), *answer = NULL;
	_cleanup_free_ char *body = json_text(ask), *url = wire_url(u->api, "actions/runner-registration");
	struct http_response response = {0};
	int r = call(rest, "POST", url, "RemoteAuth", rest->token, body, "ask for the registration", &response, err);
	if (r >= 0)
		r = wire_read_object(&response, &answer, err);
	http_response_done(&response);
	if (r < 0)
		return hint_token(err, r, u);
	const char *schema = wire_string(answer, "token_schema");
	if (schema != NULL && strcasecmp(schema, "OAuthAccessToken") != 0)
		return err_set(err, ERR_PROTOCOL, "%s answered with a token of the kind '%.60s', not OAuthAccessToken",
		               u->authority, schema);
	rest->management = xstrdup(wire_string(answer, "token"));
	free(reg->server_url);
	reg->server_url = xstrdup(wire_string(answer, "url"));
	if (!u->hosted && reg->server_url != NULL && !github_url_same_site(u, reg->server_url))
		return err_set(err, ERR_PROTOCOL, "%s answered with a service on another site, %.200s", u->authority,
		               reg->server_url);
	rest->type = type_of(wire_bool(answer, "use_v2_flow", false) ? NULL : "v1");
	return 0;
}

/* The one that is wanted among those that take runners of one's own; without a name the default one, or one of that name [1.9.4]. */
static const json_t *group_of(const struct rest *rest, const json_t *groups, const char *wanted, struct strv *names)
{
	const json_t *flagged = NULL, *named = NULL, *hosted = NULL;
	size_t i;
	json_t *group;
	json_array_foreach((json_t *)groups, i, group)
	{
		const char *name = wire_string(group, "name");
		bool is_default = wire_bool(group, rest->type->default_member, false);
		if (name == NULL)
			continue;
		if (wire_bool(group, rest->type->hosted_member, false)) {
			hosted = is_default ? group : hosted;
			continue;
		}
		strv_add(names, name);
		if (is_default && flagged == NULL)
			flagged = group;
		if (strcasecmp(name, wanted != NULL ? wanted : "default") == 0 && named == NULL)
			named = group;
	}
	if (names->count == 0)
		return hosted;
	return wanted == NULL && flagged != NULL ? flagged : named;
}

static int choose_group(const struct rest *rest, const json_t *groups, const char *wanted, struct registration *reg,
                        struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	const json_t *group = group_of(rest, groups, wanted, &names);
	if (group != NULL) {
		reg->group_id = wire_int(group, "id", 1);
		reg->group = xstrdup(wire_string(group, "name"));
		return 0;
	}
	if (wanted == NULL)
		err_set(err, ERR_NOT_FOUND, "there is no default runner group");
	else
		err_set(err, ERR_NOT_FOUND, "there is no runner group '%.100s'", wanted);
	_cleanup_(str_done) struct str list = STR_INIT(400);
	for (size_t i = 0; i < names.count; i++)
		str_appendf(&list, "%s%s", i > 0 ? ", " : "", names.items[i]);
	return names.count == 0 ? ERR_NOT_FOUND : err_hint(err, ERR_NOT_FOUND, "groups are: %s", str_peek(&list));
}

static int find_group(struct rest *rest, const struct github_url *u, const char *wanted, struct registration *reg,
                      struct err *err)
{
	_cleanup_json_ json_t *groups = NULL;
	int r = rest->type->groups(rest, u, &groups, err);
	return r < 0 ? hint_token(err, r, u) : choose_group(rest, groups, wanted, reg, err);
}

static void add_label(json_t *list, struct registration *reg, const char *name, const char *type)
{
	for (size_t i = 0; i < reg->labels.count; i++)
		if (strcasecmp(reg->labels.items[i], name) == 0)
			return;
	strv_add(&reg->labels, name);
	json_t *label = json_object();
	json_object_set_new(label, "id", json_integer(0));
	json_object_set_new(label, "name", json_string_lossy(name, strlen(name)));
	json_object_set_new(label, "type", json_string(type));
	json_array_append_new(list, label);
}

json_t *registration_labels(const struct registration_request *q, struct registration *reg)
{
	json_t *labels = json_array();
	if (!q->no_default_labels) {
		add_label(labels, reg, "self-hosted", "system");
		add_label(labels, reg, wire_os(), "system");
		add_label(labels, reg, wire_arch(), "system");
	}
	for (size_t i = 0; q->labels != NULL && i < q->labels->count; i++)
		add_label(labels, reg, q->labels->items[i], "user");
	return labels;
}

static int add(struct rest *rest, const struct registration_request *q, const struct github_url *u,
               struct registration *reg, struct err *err)
{
	_cleanup_json_ json_t *existing = NULL;
	int r = registration_hello(rest, u, "register", reg, err);
	if (r >= 0)
		r = rest->type->begin(rest, reg, err);
	if (r >= 0)
		r = find_group(rest, u, q->group, reg, err);
	if (r >= 0)
		r = rest->type->find(rest, u, q->name, &existing, err);
	if (r < 0)
		return r;
	if (existing != NULL && !q->replace) {
		err_set(err, ERR_EXISTS, "a runner named '%.100s' exists already at %s", q->name, u->url);
		return err_hint(err, ERR_EXISTS, "take it over with --replace, or choose another --name");
	}
	r = rest->type->add(rest, q, u, existing, reg, err);
	reg->generation = xstrdup(rest->type->generation);
	return hint_token(err, r, u);
}

/* ---- By the REST API [1.10]. */

static int rest_begin(struct rest *rest, const struct registration *reg, struct err *err)
{
	(void)rest;
	(void)reg;
	(void)err;
	return 0;
}

static int rest_groups(struct rest *rest, const struct github_url *u, json_t **ret, struct err *err)
{
	_cleanup_free_ char *name = xasprintf("%s/actions/runner-groups", u->entity), *url = wire_url(u->api, name);
	_cleanup_json_ json_t *answer = NULL;
	int r = manage_json(rest, "GET", url, NULL, "list the runner groups", &answer, err);
	*ret = json_incref(wire_get(answer, "runner_groups"));
	return r;
}

static int rest_find(struct rest *rest, const struct github_url *u, const char *wanted, json_t **ret, struct err *err)
{
	_cleanup_(str_done) struct str url = STR_INIT(1 << 16);
	str_appendf(&url, "%s/%s/actions/runners?name=", u->api, u->entity);
	wire_escape(&url, wanted);
	_cleanup_json_ json_t *answer = NULL;
	int r = manage_json(rest, "GET", str_peek(&url), NULL, "look for a runner of that name", &answer, err);
	if (r < 0)
		return r;
	size_t i;
	json_t *runner;
	json_array_foreach(wire_get(answer, "runners"), i, runner)
	{
		const char *name = wire_string(runner, "name");
		if (name == NULL || strcasecmp(name, wanted) != 0 || wire_int(runner, "id", 0) == 0)
			continue;
		json_decref(*ret);
		*ret = json_incref(runner);
	}
	return 0;
}

static json_t *register_body(const struct registration_request *q, const struct github_url *u, const json_t *existing,
                             struct registration *reg)
{
	json_t *body = json_object();
	json_object_set_new(body, "url", json_string(u->url));
	json_object_set_new(body, "group_id", json_integer(reg->group_id));
	json_object_set_new(body, "name", json_string_lossy(q->name, strlen(q->name)));
	json_object_set_new(body, "version", json_string(wire_runner_version()));
	json_object_set_new(body, "updates_disabled", json_boolean(q->disable_update));
	json_object_set_new(body, "ephemeral", json_boolean(q->ephemeral));
	json_object_set_new(body, "labels", registration_labels(q, reg));
	json_object_set_new(body, "public_key", json_string(q->public_key));
	if (existing != NULL) {
		json_object_set_new(body, "runner_id", json_integer(wire_int(existing, "id", 0)));
		json_object_set_new(body, "replace", json_true());
	}
	return body;
}

static int read_registered(const json_t *answer, struct registration *reg, struct err *err)
{
	const json_t *authorization = wire_get(answer, "authorization");
	const char *client = wire_string(authorization, "client_id"),
		   *broker = wire_string(authorization, "server_url");
	const char *url = wire_string(authorization, "legacy_authorization_url");
	if (url == NULL || *url == '\0')
		url = wire_string(authorization, "authorization_url");
	reg->id = wire_int(answer, "id", 0);
	if (reg->id == 0 || client == NULL || broker == NULL || url == NULL)
		return err_set(err, ERR_PROTOCOL,
		               "the answer to the registration lacks id, client id, authorization URL or server URL");
	const char *name = wire_string(answer, "name");
	if (name != NULL && *name != '\0') {
		free(reg->name);
		reg->name = xstrdup(name);
	}
	reg->client_id = xstrdup(client);
	reg->broker_url = xstrdup(broker);
	reg->authorization_url = xstrdup(url);
	reg->pss = true;
	return 0;
}

static int rest_add(struct rest *rest, const struct registration_request *q, const struct github_url *u,
                    const json_t *existing, struct registration *reg, struct err *err)
{
	_cleanup_json_ json_t *ask = register_body(q, u, existing, reg), *answer = NULL;
	_cleanup_free_ char *body = json_text(ask), *url = wire_url(u->api, "actions/runners/register");
	int r = manage_json(rest, "POST", url, body, "register", &answer, err);
	return r < 0 ? r : read_registered(answer, reg, err);
}

static int rest_remove(struct rest *rest, const struct github_url *u, const struct registration *reg, struct err *err)
{
	_cleanup_free_ char *name = xasprintf("%s/actions/runners/%lld", u->entity, (long long)reg->id);
	_cleanup_free_ char *url = wire_url(u->api, name);
	struct http_response response = {0};
	int r = manage(rest, "DELETE", url, NULL, "delete the runner", &response, err);
	http_response_done(&response);
	return r;
}

static const struct registration_type registration_rest = {
	.hosted_member = "is_hosted",
	.default_member = "default",
	.begin = rest_begin,
	.groups = rest_groups,
	.find = rest_find,
	.add = rest_add,
	.remove = rest_remove,
};

static const struct registration_type *type_of(const char *generation)
{
	return generation != NULL ? &registration_v1 : &registration_rest;
}

/* ---- Both. */

static void rest_done(struct rest *rest, char *exchanged)
{
	if (rest->management != NULL)
		explicit_bzero(rest->management, strlen(rest->management));
	free(rest->management);
	v1_locations_free(rest->locations);
	if (exchanged != NULL)
		explicit_bzero(exchanged, strlen(exchanged));
	free(exchanged);
}

int registration_add(struct http *h, const struct registration_request *request, struct wait *w,
                     struct registration *ret, struct err *err)
{
	_cleanup_(github_url_done) struct github_url u = {0};
	int r = github_url_parse(request->url, &u, err);
	if (r < 0)
		return r;
	struct rest rest = {.http = h, .wait = w, .token = request->token};
	struct registration reg = {.url = xstrdup(u.url),
	                           .name = xstrdup(request->name),
	                           .ephemeral = request->ephemeral,
	                           .disable_update = request->disable_update};
	char *exchanged = NULL;
	if (request->pat != NULL) {
		r = exchange_pat(&rest, &u, "registration", request->pat, &exchanged, err);
		rest.token = exchanged;
	}
	if (r >= 0)
		r = add(&rest, request, &u, &reg, err);
	rest_done(&rest, exchanged);
	if (r < 0) {
		registration_done(&reg);
		return err_wrap(err, r, "register at %s", u.url);
	}
	*ret = reg;
	return 0;
}

int registration_remove(struct http *h, const struct registration *r, const char *token, const char *pat,
                        struct wait *w, struct err *err)
{
	if (r->url == NULL)
		return err_set(err, ERR_INVALID, "a just-in-time registration is removed by the service itself");
	_cleanup_(github_url_done) struct github_url u = {0};
	int code = github_url_parse(r->url, &u, err);
	if (code < 0)
		return code;
	struct rest rest = {.http = h, .wait = w, .token = token};
	char *exchanged = NULL;
	if (pat != NULL) {
		code = exchange_pat(&rest, &u, "remove", pat, &exchanged, err);
		rest.token = exchanged;
	}
	rest.type = type_of(r->generation);
	if (code >= 0)
		code = rest.type->remove(&rest, &u, r, err);
	rest_done(&rest, exchanged);
	return code < 0 ? err_wrap(err, code, "remove the runner '%s' from %s", r->name, u.url) : code;
}
