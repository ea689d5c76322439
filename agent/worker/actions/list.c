#include "agent/worker/action.h"

extern const struct action_type action_typed;

/* The last one takes what no other does. */
static const struct action_type *const types[] = {
	&action_script, &action_image, &action_typed, &action_stand_in, &action_repository,
};

const struct action_type *action_type_of(const struct job *j, const json_t *reference)
{
	size_t i = 0;
	while (i + 1 < ARRAY_SIZE(types) && !types[i]->takes(j, reference))
		i++;
	return types[i];
}
