/* Which services are replaced by new containers beside the old ones, and which cannot have two. */
#include "steps/compose_up/compose_up.h"

enum { MOST_DEPTH = 50 };

const json_t *compose_service_json(const struct compose_stack *s, const char *name)
{
	return json_object_get(json_get_object(s->model, "services"), name);
}

/* NULL: it can. */
const char *compose_why_alone(const json_t *service)
{
	const json_t *ports = json_get_array(service, "ports");
	for (size_t i = 0; i < json_array_size(ports); i++) {
		const char *published = json_get_string(json_array_get(ports, i), "published");
		if (published != NULL && *published != '\0' && strcmp(published, "0") != 0)
			return "publishes a port of the host";
	}
	if (json_get_string(service, "container_name") != NULL)
		return "has a `container_name`";
	return json_get_string(service, "network_mode") != NULL ? "has the network of another (`network_mode`)" : NULL;
}

static bool writes_to_volumes(const json_t *service)
{
	const json_t *volumes = json_get_array(service, "volumes");
	for (size_t i = 0; i < json_array_size(volumes); i++) {
		const json_t *one = json_array_get(volumes, i);
		const char *type = json_get_string(one, "type");
		if (!json_get_bool(one, "read_only", false) && (type == NULL || strcmp(type, "tmpfs") != 0))
			return true;
	}
	return false;
}

static bool may_roll(const struct compose_up_in *in, const struct compose_stack *s, const struct compose_service *one)
{
	const json_t *service = compose_service_json(s, one->name);
	if (in->strategy == COMPOSE_UP_STRATEGY_RECREATE || one->once || compose_why_alone(service) != NULL)
		return false;
	for (size_t i = 0; i < in->roll.count; i++)
		if (strcmp(in->roll.items[i], one->name) == 0)
			return true;
	return in->roll.count == 0 && !writes_to_volumes(service);
}

void compose_roll_faults(const struct compose_up_in *in, const struct compose_stack *s, struct strv *faults)
{
	for (size_t i = 0; i < in->roll.count; i++) {
		const struct compose_service *one = compose_find(s, in->roll.items[i]);
		const char *why = one == NULL ? "is not a service"
		                  : one->once ? "runs to its end"
		                              : compose_why_alone(compose_service_json(s, one->name));
		if (why != NULL)
			strv_addf(faults, "'%s' cannot roll: it %s", in->roll.items[i], why);
	}
}

bool compose_is_new(const struct compose_payload *p, const struct compose_service *one,
                    const struct docker_container *c)
{
	const char *id = json_get_string(json_object_get(p->images, one->name), "id");
	return strcmp(c->service, one->name) == 0 && strcmp(c->hash, one->hash) == 0 && id != NULL &&
	       strcmp(c->image, id) == 0;
}

/* An old container of it runs, so that there is something to keep going. */
bool compose_rolls_one(const struct compose_up_in *in, const struct compose_payload *p,
                       const struct docker_containers *now, const struct compose_service *one)
{
	for (size_t i = 0; may_roll(in, &p->stack, one) && i < now->count; i++)
		if (strcmp(now->items[i].service, one->name) == 0 && now->items[i].up &&
		    !compose_is_new(p, one, &now->items[i]))
			return true;
	return false;
}

bool compose_rolls(const struct step_context *c, const struct compose_payload *p, const struct docker_containers *now)
{
	for (size_t i = 0; i < p->stack.count; i++)
		if (compose_rolls_one(c->input, p, now, &p->stack.services[i]))
			return true;
	return false;
}

static bool needs_rolled(const struct compose_up_in *in, const struct compose_payload *p,
                         const struct docker_containers *now, const char *name, int depth)
{
	const struct compose_service *one = compose_find(&p->stack, name);
	const char *need;
	json_t *ignored;
	if (one == NULL || depth > MOST_DEPTH)
		return false;
	if (compose_rolls_one(in, p, now, one))
		return true;
	json_object_foreach(json_get_object(compose_service_json(&p->stack, name), "depends_on"), need,
	                    ignored) if (needs_rolled(in, p, now, need, depth + 1)) return true;
	return false;
}

bool compose_needs_rolled(const struct compose_up_in *in, const struct compose_payload *p,
                          const struct docker_containers *now, const char *name)
{
	return needs_rolled(in, p, now, name, 0);
}
