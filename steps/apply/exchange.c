#include "steps/apply/exchange.h"

#include <string.h>

static bool has(const json_t *node, const char *attribute, const json_t *value)
{
	const json_t *list = json_get_array(node, attribute);
	for (size_t i = 0; i < json_array_size(list); i++)
		if (json_equal(json_array_get(list, i), value))
			return true;
	return false;
}

static bool hands_on(const struct change *gives, const struct change *takes, const char *attribute)
{
	const json_t *held = json_get_array(gives->before, attribute);
	for (size_t i = 0; i < json_array_size(held); i++) {
		const json_t *one = json_array_get(held, i);
		if (!has(gives->after, attribute, one) && has(takes->after, attribute, one) &&
		    !has(takes->before, attribute, one))
			return true;
	}
	return false;
}

static const struct resource_type *type_of(const struct step_type *step, const struct change *c)
{
	_cleanup_free_ char *kind = xstrndup(c->path, strcspn(c->path, ":"));
	return resource_type_named(step, kind);
}

bool exchange_is_in(const struct step_type *step, const struct plan *plan, size_t from)
{
	for (size_t i = from; i < plan->count; i++) {
		const struct resource_type *type = type_of(step, &plan->changes[i]);
		for (size_t k = 0; type != NULL && type->holds != NULL && type->holds[k] != NULL; k++)
			for (size_t j = from; j < plan->count; j++)
				if (j != i && hands_on(&plan->changes[i], &plan->changes[j], type->holds[k]))
					return true;
	}
	return false;
}
