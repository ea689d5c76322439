/* Whether the proxy in front sends requests to a container, as its own interface on the target says. Asked there: it listens where only the
 * target reaches it. */
#include "steps/compose_up/compose_up.h"
#include "base/core/clock.h"

enum { PAUSE_MS = 300, ANSWER_MAX = 4 << 20, SECONDS = 10 };

struct proxy {
	const char *name, *path;
	bool (*has)(const json_t *answer, const char *address);
};

/* "10.0.0.2:80" and "http://10.0.0.2:80/" are at 10.0.0.2. */
static bool is_at(const char *place, const char *address)
{
	const char *host = place != NULL ? strstr(place, "://") : NULL;
	host = host != NULL ? host + 3 : place;
	size_t len = strlen(address);
	return host != NULL && strncmp(host, address, len) == 0 && strchr(":/", host[len]) != NULL;
}

/* [{"address":"10.0.0.2:80","num_requests":0,"fails":0}, …] */
static bool caddy_has(const json_t *answer, const char *address)
{
	size_t i;
	json_t *one;
	json_array_foreach((json_t *)(uintptr_t)answer, i, one) if (is_at(json_get_string(one, "address"), address) &&
	                                                            json_get_int(one, "fails", 0) == 0) return true;
	return false;
}

/* [{"name":…,"loadBalancer":{"servers":[{"url":"http://10.0.0.2:80"}]},"serverStatus":{"http://10.0.0.2:80":"UP"}}, …] */
static bool traefik_has(const json_t *answer, const char *address)
{
	size_t i, k;
	json_t *service, *server;
	json_array_foreach((json_t *)(uintptr_t)answer, i, service)
		json_array_foreach(json_get_array(json_get_object(service, "loadBalancer"), "servers"), k, server)
	{
		const char *url = json_get_string(server, "url");
		const char *status =
			url != NULL ? json_get_string(json_get_object(service, "serverStatus"), url) : NULL;
		if (is_at(url, address) && (status == NULL || strcmp(status, "UP") == 0))
			return true;
	}
	return false;
}

static const struct proxy proxies[] = {
	{"caddy", "/reverse_proxy/upstreams", caddy_has},
	{"traefik", "/api/http/services?per_page=10000", traefik_has},
};

static const struct proxy *find_proxy(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(proxies); i++)
		if (strcmp(proxies[i].name, name) == 0)
			return &proxies[i];
	return NULL;
}

void compose_behind_faults(const struct compose_up_in *in, struct faults *faults)
{
	for (size_t i = 0; i < in->behind.count; i++) {
		const char *name = in->behind.items[i].key, *url = in->behind.items[i].value;
		_cleanup_free_ char *pointer = xasprintf("/behind/%s", name);
		if (find_proxy(name) == NULL)
			faults_add(faults, NULL, pointer, "'%s' is not a proxy that can be asked: caddy, traefik",
			           name);
		else if (!str_starts(url, "http://") && !str_starts(url, "https://"))
			faults_add(faults, NULL, pointer,
			           "'%s' is not the address of its interface (http://127.0.0.1:2019)", url);
	}
}

/* By curl or wget of the target. */
static int ask(const struct step_context *c, struct view *v, const struct proxy *proxy, const char *url, json_t **ret,
               struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(16384), place = STR_INIT(4096);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	size_t len = strlen(url);
	(void)c;
	str_append_n(&place, url, len - (len > 0 && url[len - 1] == '/'));
	str_append(&place, proxy->path);
	str_append(&script, "u=");
	str_append_shell(&script, str_peek(&place));
	str_appendf(
		&script,
		"\nif command -v curl >/dev/null; then exec curl -q --fail --silent --show-error --globoff --max-time %d -- "
		"\"$u\"; fi\ncommand -v wget >/dev/null || exit 127\nexec wget -q -T %d -O - -- \"$u\"\n",
		SECONDS, SECONDS);
	const struct target_command command = {
		.script = str_peek(&script), .timeout_ms = 2 * SECONDS * 1000, .max_output = ANSWER_MAX};
	int r = host_query(v, &command, &said, err);
	if (r < 0)
		return r;
	if (said.status == 127)
		return err_set(err, ERR_REFUSED, "'%s' has neither curl nor wget to ask %s with", v->name, proxy->name);
	if (said.status != 0) {
		_cleanup_free_ char *line = docker_last_line(&said.err);
		return err_set(err, ERR_FAILED, "%s does not answer at %s: %s", proxy->name, str_peek(&place), line);
	}
	return json_parse(str_peek(&said.out), said.out.len, ANSWER_MAX, ret, err);
}

/* The first container of which no address is known to it; NULL: there is none. free() */
static char *missing_one(const struct proxy *proxy, const json_t *answer, const struct compose_route *route,
                         const char *addresses)
{
	const char *at = addresses;
	for (size_t i = 0; i < route->names.count; i++) {
		bool has = false;
		size_t line = strcspn(at, "\n");
		for (const char *word = at; word < at + line;) {
			_cleanup_free_ char *address = xstrndup(word, strcspn(word, " \n"));
			has = has || (*address != '\0' && proxy->has(answer, address));
			word += strlen(address) + 1;
		}
		if (!has)
			return xstrdup(route->names.items[i]);
		at += line + (at[line] == '\n');
	}
	return NULL;
}

static int wait_for(const struct step_context *c, struct view *v, const struct proxy *proxy, const char *url,
                    const struct compose_route *route, const char *addresses, struct err *err)
{
	const struct compose_up_in *in = c->input;
	int64_t deadline = clock_mono_ms() + in->timeout_ms;
	for (;;) {
		_cleanup_json_ json_t *answer = NULL;
		int r = ask(c, v, proxy, url, &answer, err);
		_cleanup_free_ char *name = r == 0 ? missing_one(proxy, answer, route, addresses) : NULL;
		if ((r == 0 && name == NULL) || (r < 0 && r != ERR_FAILED))
			return r;
		if (clock_mono_ms() >= deadline)
			return r < 0 ? r : err_set(err, ERR_FAILED, "%s sends no requests to %s", proxy->name, name);
		err_clear(err);
		r = wait_ms(c->wait, PAUSE_MS, err);
		if (r < 0)
			return r;
	}
}

int compose_behind(const struct step_context *c, struct target *t, const struct compose_route *route,
                   const char *addresses, struct err *err)
{
	const struct compose_up_in *in = c->input;
	int r = 0;
	for (size_t i = 0; r == 0 && i < in->behind.count; i++) {
		const struct proxy *proxy = find_proxy(in->behind.items[i].key);
		if (proxy != NULL)
			r = wait_for(c, &t->view, proxy, in->behind.items[i].value, route, addresses, err);
	}
	return r;
}
