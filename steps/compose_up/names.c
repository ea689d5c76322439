/* Two stacks on one host share what has one name: a container, a network or a volume that another project made is not ours to touch. */
#include "steps/compose_up/compose_up.h"

static int check_name(const struct compose_up_in *in, const struct docker *d, enum docker_name_kind kind,
                      const char *what, const char *name, struct strv *faults, struct err *err)
{
	_cleanup_free_ char *owner = NULL;
	int r = docker_name_owner(d, kind, name, &owner, err);
	if (r < 0 || owner == NULL || strcmp(owner, in->project) == 0)
		return r;
	if (*owner != '\0')
		strv_addf(faults, "the %s '%s' belongs to the project '%s'", what, name, owner);
	else
		strv_addf(faults, "the %s '%s' is there already and belongs to no project", what, name);
	return 0;
}

static int check_parts(const struct compose_up_in *in, const struct docker *d, const json_t *parts,
                       enum docker_name_kind kind, const char *what, struct strv *faults, struct err *err)
{
	const char *key;
	json_t *part;
	json_object_foreach((json_t *)(uintptr_t)parts, key, part)
	{
		const char *name = json_get_string(part, "name");
		const json_t *external = json_object_get(part, "external");
		if (name == NULL || json_is_true(external) || json_is_object(external))
			continue;
		int r = check_name(in, d, kind, what, name, faults, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int compose_check_names(const struct compose_up_in *in, const struct docker *d, const struct compose_stack *s,
                        struct strv *faults, struct err *err)
{
	int r = check_parts(in, d, json_get_object(s->model, "networks"), DOCKER_NETWORK, "network", faults, err);
	if (r == 0)
		r = check_parts(in, d, json_get_object(s->model, "volumes"), DOCKER_VOLUME, "volume", faults, err);
	for (size_t i = 0; r == 0 && i < s->count; i++)
		if (s->services[i].container_name != NULL)
			r = check_name(in, d, DOCKER_CONTAINER, "container", s->services[i].container_name, faults,
			               err);
	return r;
}
