#include "providers/scaleway/target.h"

#include "base/core/mem.h"
#include "schemas/targets/scaleway.h"

#include <stdlib.h>

struct scaleway_target {
	struct target t;
	struct scaleway *scaleway;
};

static const char *const zones[] = {"fr-par-1", "fr-par-2", "fr-par-3", "nl-ams-1", "nl-ams-2",
                                    "nl-ams-3", "pl-waw-1", "pl-waw-2", "pl-waw-3", "it-mil-1"};

static bool is_known(const char *zone)
{
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++)
		if (strcmp(zones[i], zone) == 0)
			return true;
	return false;
}

/* One that is newer than this program may exist: the service decides, this only helps with what it refuses. */
static int refuse_zone(const struct scaleway *s, int code, struct err *err)
{
	struct str all _cleanup_(str_done) = STR_INIT(512);
	const char *nearest = str_nearest(scaleway_zone(s), zones, ARRAY_SIZE(zones));
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++)
		str_appendf(&all, "%s%s", i > 0 ? ", " : "", zones[i]);
	err_wrap(err, code, "the zone '%s' is not one that is known", scaleway_zone(s));
	return nearest != NULL ? err_hint(err, code, "did you mean '%s'? The zones are %s", nearest, str_peek(&all))
	                       : err_hint(err, code, "the zones are %s", str_peek(&all));
}

/* The first question shows whether the zone exists and the token is taken. */
static int open_target(struct view *v, struct err *err)
{
	struct scaleway *s = ((const struct scaleway_target *)(const void *)v)->scaleway;
	if (v->facts.identity != NULL)
		return 0;
	_cleanup_free_ char *project = scaleway_query("project", scaleway_project(s)),
			    *path = scaleway_instance_path(s, "servers?%s&per_page=1&page=1", project);
	int r = scaleway_call(s, NULL, path, NULL, v->wait, NULL, err);
	if ((r == ERR_NOT_FOUND || r == ERR_INVALID) && !is_known(scaleway_zone(s)))
		r = refuse_zone(s, r, err);
	if (r < 0)
		return err_wrap(err, r, "target '%s'", v->name);
	v->facts.identity = xasprintf("scaleway:%s/%s/%s", scaleway_host(s), scaleway_project(s), scaleway_zone(s));
	return 0;
}

static void free_target(struct target *t)
{
	struct scaleway_target *own = (struct scaleway_target *)(void *)t;
	scaleway_free(own->scaleway);
	target_done(t);
	free(own);
}

static const struct target_type scaleway_type = {.name = "scaleway", .open = open_target, .free = free_target};

int scaleway_target_new(const struct target_config *config, struct target **ret, struct err *err)
{
	const struct target_scaleway *given = config->kind.typed;
	const struct scaleway_config own = {.url = given->url,
	                                    .project = given->project,
	                                    .zone = given->zone,
	                                    .token = given->token,
	                                    .ca_file = given->ca_file,
	                                    .timeout_ms = given->action_timeout_ms};
	struct scaleway *scaleway = NULL;
	int r = scaleway_new(&own, &scaleway, err);
	if (r < 0)
		return err_wrap(err, r, "target '%s'", config->name);
	struct scaleway_target *t = xcalloc(1, sizeof(*t));
	t->t.view.kind = &scaleway_type;
	t->t.view.name = xstrdup(config->name);
	t->scaleway = scaleway;
	*ret = &t->t;
	return 0;
}

struct scaleway *scaleway_of_target(const struct view *v)
{
	return v->kind == &scaleway_type ? ((const struct scaleway_target *)(const void *)v)->scaleway : NULL;
}
