/* Registration at the older services [1.9.4]: agents of a pool, with the management token. */
#include "agent/service/registration_priv.h"

#include <stdio.h>
#include <strings.h>
#include <sys/utsname.h>

#include "agent/service/oauth.h"
#include "agent/service/v1_locations.h"

enum { TRIES = 3, QUERY_MAX = 4096 };

/* A managing call, repeated where that may help. ret: the JSON of the answer; NULL: nobody wants it. q: freed. */
static int call(struct rest *rest, struct service_request *q, const char *what, json_t **ret, struct err *err)
{
	struct http_response response = {.status = 0};
	int r = ERR_INTERNAL;
	for (int try = 0; try < TRIES; try++) {
		if (try > 0 && !registration_pause(rest, &response))
			break;
		http_response_done(&response);
		err_clear(err);
		r = service_request_perform(rest->http, q, rest->management, rest->wait, &response, err);
		if (r < 0)
			err_wrap(err, r, "%s", what);
		else if (response.status < 200 || response.status > 299)
			r = wire_status_error(&response, what, err);
		else if (ret != NULL && (r = wire_read_object(&response, ret, err)) < 0)
			err_wrap(err, r, "%s", what);
		if (r >= 0 || r == ERR_NOT_FOUND || r == ERR_AUTH || r == ERR_CANCELLED || r == ERR_EXISTS)
			break;
	}
	http_response_done(&response);
	service_request_done(q);
	return r;
}

static int begin(struct rest *rest, const struct registration *reg, struct err *err)
{
	if (reg->server_url == NULL || rest->management == NULL)
		return err_set(err, ERR_PROTOCOL,
		               "the answer to the registration names no service, or has no token for it");
	struct service_request q = {.url = NULL};
	_cleanup_json_ json_t *answer = NULL;
	v1_locations_ask(reg->server_url, &q);
	int r = call(rest, &q, "ask what the service has", &answer, err);
	return r < 0 ? r : v1_locations_of(reg->server_url, answer, &rest->locations, err);
}

static int groups(struct rest *rest, const struct github_url *u, json_t **ret, struct err *err)
{
	(void)u;
	static const struct v1_value none[] = {{0}};
	_cleanup_json_ json_t *answer = NULL;
	struct service_request q = {.url = NULL};
	int r = v1_locations_request(rest->locations, V1_POOLS, none, "poolType=Automation", &q, err);
	if (r >= 0)
		r = call(rest, &q, "list the runner groups", &answer, err);
	*ret = json_incref(wire_get(answer, "value"));
	return r;
}

static int find(struct rest *rest, const struct github_url *u, const char *wanted, json_t **ret, struct err *err)
{
	(void)u;
	static const struct v1_value everywhere[] = {{"poolId", "0"}, {0}};
	_cleanup_(str_done) struct str query = STR_INIT(QUERY_MAX);
	_cleanup_json_ json_t *answer = NULL;
	struct service_request q = {.url = NULL};
	str_append(&query, "agentName=");
	wire_escape(&query, wanted);
	str_append(&query, "&includeCapabilities=False");
	int r = v1_locations_request(rest->locations, V1_AGENTS, everywhere, str_peek(&query), &q, err);
	if (r >= 0)
		r = call(rest, &q, "look for a runner of that name", &answer, err);
	size_t i;
	json_t *agent;
	json_array_foreach(wire_get(answer, "value"), i, agent)
	{
		const char *name = wire_string(agent, "name");
		if (*ret == NULL && name != NULL && strcasecmp(name, wanted) == 0)
			*ret = json_incref(agent);
	}
	return r;
}

/* Without regard to the case of what the service sent. */
static void set(json_t *object, const char *key, json_t *value)
{
	const char *name;
	json_t *old;
	void *next;
	json_object_foreach_safe(object, next, name, old) if (strcasecmp(name, key) == 0) json_object_del(object, name);
	json_object_set_new(object, key, value);
}

static json_t *agent_of(const struct registration_request *q, const json_t *existing, struct registration *reg)
{
	struct utsname system;
	if (uname(&system) < 0)
		memset(&system, 0, sizeof(system));
	json_t *agent = existing != NULL ? json_deep_copy(existing) : json_object();
	set(agent, "name", json_string_lossy(q->name, strlen(q->name)));
	set(agent, "version", json_string(wire_runner_version()));
	set(agent, "osDescription", json_stringf("%s %s", system.sysname, system.release));
	set(agent, "maxParallelism", json_integer(1));
	set(agent, "ephemeral", json_boolean(q->ephemeral));
	set(agent, "disableUpdate", json_boolean(q->disable_update));
	set(agent, "provisioningState", json_string("Provisioned"));
	set(agent, "authorization", json_pack("{s:o}", "publicKey", oauth_public_numbers(q->public_key)));
	set(agent, "labels", registration_labels(q, reg));
	return agent;
}

/* A value of the bag of properties: bare, or with its type beside it [0.3]. */
static const json_t *property(const json_t *agent, const char *name)
{
	const json_t *value = wire_get(wire_get(agent, "properties"), name);
	return json_is_object(value) ? wire_get(value, "$value") : value;
}

static bool property_is(const json_t *agent, const char *name, bool otherwise)
{
	const json_t *value = property(agent, name);
	if (json_is_string(value))
		return wire_is_true(json_string_value(value));
	return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

static int read_agent(const json_t *agent, struct registration *reg, struct err *err)
{
	const json_t *authorization = wire_get(agent, "authorization");
	const char *client = wire_string(authorization, "clientId"),
		   *url = wire_string(authorization, "authorizationUrl"), *name = wire_string(agent, "name"),
		   *broker = json_string_value(property(agent, "ServerUrlV2"));
	reg->id = wire_int(agent, "id", 0);
	if (reg->id == 0 || client == NULL || url == NULL)
		return err_set(err, ERR_PROTOCOL,
		               "the answer to the registration lacks id, client id or authorization URL");
	if (name != NULL && *name != '\0') {
		free(reg->name);
		reg->name = xstrdup(name);
	}
	reg->client_id = xstrdup(client);
	reg->authorization_url = xstrdup(url);
	reg->pss = property_is(agent, "RequireFipsCryptography", true);
	/* Registered here, listening at the broker. */
	if (property_is(agent, "UseV2Flow", false) && broker != NULL)
		reg->broker_url = xstrdup(broker);
	return 0;
}

static int delete_agent(struct rest *rest, int64_t id, struct err *err)
{
	char text[24];
	(void)snprintf(text, sizeof(text), "%lld", (long long)id);
	const struct v1_value values[] = {{"poolId", "0"}, {"agentId", text}, {0}};
	struct service_request q = {.method = "DELETE"};
	int r = v1_locations_request(rest->locations, V1_AGENTS, values, NULL, &q, err);
	return r < 0 ? r : call(rest, &q, "delete the runner", NULL, err);
}

static int add(struct rest *rest, const struct registration_request *q, const struct github_url *u,
               const json_t *existing, struct registration *reg, struct err *err)
{
	char pool[24], id[24];
	(void)snprintf(pool, sizeof(pool), "%lld", (long long)reg->group_id);
	(void)snprintf(id, sizeof(id), "%lld", (long long)wire_int(existing, "id", 0));
	const struct v1_value values[] = {{"poolId", pool}, {existing != NULL ? "agentId" : NULL, id}, {0}};
	_cleanup_json_ json_t *agent = NULL;
	struct service_request ask = {.method = existing != NULL ? "PUT" : "POST"};
	int r = v1_locations_request(rest->locations, V1_AGENTS, values, NULL, &ask, err);
	if (r < 0)
		return r;
	ask.json = agent_of(q, existing, reg);
	r = call(rest, &ask, "register", &agent, err);
	if (r >= 0)
		r = read_agent(agent, reg, err);
	if (r < 0 || !q->ephemeral || wire_bool(agent, "ephemeral", false))
		return r;
	struct err ignored = ERR_INIT;
	(void)delete_agent(rest, reg->id, &ignored);
	return err_set(err, ERR_UNSUPPORTED, "%s has no runners for one job; it is too old", u->authority);
}

/* [1.14] A removal token gives a management token as a registration token does. */
static int remove_agent(struct rest *rest, const struct github_url *u, const struct registration *reg, struct err *err)
{
	struct registration now = {.url = NULL};
	_cleanup_json_ json_t *agent = NULL;
	int r = registration_hello(rest, u, "remove", &now, err);
	if (r >= 0)
		r = begin(rest, &now, err);
	if (r >= 0)
		r = find(rest, u, reg->name, &agent, err);
	if (r >= 0)
		r = agent != NULL ? delete_agent(rest, reg->id, err) : 1;
	registration_done(&now);
	return r;
}

const struct registration_type registration_v1 = {
	.generation = "v1",
	.hosted_member = "isHosted",
	.default_member = "isInternal",
	.begin = begin,
	.groups = groups,
	.find = find,
	.add = add,
	.remove = remove_agent,
};
