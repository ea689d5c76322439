#include "engine/run/deployment.h"

#include <string.h>

const struct target_config *deployment_target(const struct deployment *d, const char *name)
{
	for (size_t i = 0; i < d->target_count; i++)
		if (strcmp(d->targets[i].name, name) == 0)
			return &d->targets[i];
	return NULL;
}

const struct deployment_step *deployment_step_read(const struct deployment *d, size_t index)
{
	return d != NULL && index < d->step_count && d->steps[index].typed != NULL ? &d->steps[index] : NULL;
}
