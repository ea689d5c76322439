#include "providers/http/target.h"

#include "base/core/mem.h"
#include "base/net/net.h"
#include "base/secret/base64.h"
#include "providers/http/keeper.h"
#include "schemas/targets/http.h"

#include <stdlib.h>
#include <string.h>

enum { LOGIN_MAX = 8 << 10 };

struct http_target {
	struct target t;
	struct http_place place;
};

static int open_target(struct view *v, struct err *err)
{
	const struct http_target *t = (const struct http_target *)(const void *)v;
	(void)err;
	/* Nothing is asked of it: whoever uses it asks for what it needs. */
	if (v->facts.identity == NULL)
		v->facts.identity = xasprintf("http:%s", t->place.address);
	return 0;
}

static void free_target(struct target *t)
{
	struct http_target *own = (struct http_target *)(void *)t;
	target_done(t);
	http_place_done(&own->place);
	free(own);
}

static const struct target_type http_type = {
	.name = "http", .open = open_target, .free = free_target, .keeper = &http_keeper};

struct http_place *http_place_of(void *view)
{
	struct http_target *t = view;
	return &t->place;
}

static int check_address(const char *address, struct err *err)
{
	struct net_service service _cleanup_(net_service_done) = {0};
	return net_service_read(address, "a place for a state", &service, err);
}

static void make_login(const struct target_http *given, struct str *out)
{
	_cleanup_(str_done) struct str pair = STR_SECRET_INIT(LOGIN_MAX);
	if (given->username == NULL && given->password == NULL)
		return;
	str_appendf(&pair, "%s:%s", given->username != NULL ? given->username : "",
	            given->password != NULL ? given->password : "");
	str_append(out, "Authorization: Basic ");
	base64_encode(str_peek(&pair), pair.len, out);
}

int http_target_new(const struct target_config *config, struct target **ret, struct err *err)
{
	static const char *const updates[] = {"POST", "PUT"}, *const locks[] = {"LOCK", "POST", "PUT"},
				 *const unlocks[] = {"UNLOCK", "DELETE", "POST", "PUT"};
	const struct target_http *given = config->kind.typed;
	const char *lock = given->lock_address != NULL ? given->lock_address : given->address;
	const char *unlock = given->unlock_address != NULL ? given->unlock_address : lock;
	const struct http_config http = {.ca_file = given->ca_file};
	int r = check_address(given->address, err);
	if (r == 0)
		r = check_address(lock, err);
	if (r == 0)
		r = check_address(unlock, err);
	struct http *client = r == 0 ? http_new(&http, err) : NULL;
	if (client == NULL)
		return err_wrap(err, r < 0 ? r : ERR_INTERNAL, "target '%s'", config->name);
	struct http_target *t = xcalloc(1, sizeof(*t));
	t->t.view.kind = &http_type;
	t->t.view.name = xstrdup(config->name);
	t->place = (struct http_place){.http = client,
	                               .address = xstrdup(given->address),
	                               .lock_address = xstrdup(lock),
	                               .unlock_address = xstrdup(unlock),
	                               .update_method = updates[given->update_method],
	                               .lock_method = locks[given->lock_method],
	                               .unlock_method = unlocks[given->unlock_method],
	                               .authorization = STR_SECRET_INIT(2 * LOGIN_MAX)};
	make_login(given, &t->place.authorization);
	*ret = &t->t;
	return 0;
}
