#include "steps/step.h"

#include <string.h>

extern const struct step_type apply_step, archive_upload_step, checkout_step, health_gate_step, notify_step,
	preflight_step, run_step, secret_write_step, snapshot_step;

/* In the order of docs/steps. */
static const struct step_type *const steps[] = {
	&checkout_step,       &preflight_step, &snapshot_step,    &apply_step,  &secret_write_step,
	&archive_upload_step, &run_step,       &health_gate_step, &notify_step, NULL,
};

const struct step_type *const *step_all(size_t *ret_count)
{
	*ret_count = sizeof(steps) / sizeof(steps[0]) - 1;
	return steps;
}

const struct step_type *step_find(const char *name)
{
	for (size_t i = 0; steps[i]; i++)
		if (strcmp(steps[i]->name, name) == 0)
			return steps[i];
	return NULL;
}
