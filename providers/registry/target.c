#include "providers/registry/target.h"

#include "base/core/mem.h"
#include "schemas/targets/registry.h"

#include <stdlib.h>

struct registry_target {
	struct target t;
	struct registry *registry;
};

static int open_target(struct view *v, struct err *err)
{
	const struct registry_target *r = (const struct registry_target *)(const void *)v;
	(void)err;
	/* Nothing is asked of it: what a login may do shows with the first repository. */
	if (v->facts.identity == NULL)
		v->facts.identity = xasprintf("registry:%s", registry_host(r->registry));
	return 0;
}

static void free_target(struct target *t)
{
	struct registry_target *r = (struct registry_target *)(void *)t;
	target_done(t);
	registry_free(r->registry);
	free(r);
}

static const struct target_type registry_type = {.name = "registry", .open = open_target, .free = free_target};

int registry_target_new(const struct target_config *config, struct target **ret, struct err *err)
{
	const struct target_registry *given = config->kind.typed;
	const struct registry_config login = {given->url, given->username, given->password, given->ca_file};
	struct registry *registry = NULL;
	int e = registry_new(&login, &registry, err);
	if (e < 0)
		return err_wrap(err, e, "target '%s'", config->name);
	struct registry_target *r = xcalloc(1, sizeof(*r));
	r->t.view.kind = &registry_type;
	r->t.view.name = xstrdup(config->name);
	r->registry = registry;
	*ret = &r->t;
	return 0;
}

struct registry *registry_of_target(const struct view *v)
{
	return v->kind == &registry_type ? ((const struct registry_target *)(const void *)v)->registry : NULL;
}
