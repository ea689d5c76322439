#include "steps/registry.h"

#include "base/sys/walls.h"
#include "base/data/json.h"
#include "steps/apply/apply.h"

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
		if (strcmp(steps[i]->info->name, name) == 0)
			return steps[i];
	return NULL;
}

static const struct change_type *find_among(const struct change_type *const *kinds, const char *kind)
{
	for (size_t i = 0; kinds && kinds[i]; i++)
		if (strcmp(kinds[i]->name, kind) == 0)
			return kinds[i];
	return NULL;
}

const struct change_type *change_find(const char *kind)
{
	const struct change_type *found = NULL;
	for (size_t i = 0; !found && steps[i]; i++)
		found = find_among(steps[i]->kinds, kind);
	for (size_t i = 0; !found && apply_step.choices[i]; i++)
		found = find_among(resource_type_of(apply_step.choices[i])->kinds, kind);
	return found;
}

int target_new(const char *name, const json_t *config, struct target **ret, struct err *err)
{
	const char *become = json_get_string(config, "become");
	json_t *ssh = json_object_get(config, "ssh");
	json_t *local = json_object_get(config, "local");
	if ((ssh != NULL) == (local != NULL))
		return err_set(err, ERR_INVALID, "target '%s' needs exactly one of 'local' and 'ssh'", name);
	if (become && strcmp(become, "sudo") != 0)
		return err_set(err, ERR_INVALID, "target '%s': 'become' is 'sudo' or left out, not '%s'", name, become);
	/* What this process does itself is done before the walls that a job's commands stay behind; a shell's work is done behind them. */
	if (ssh || become || walls_stand())
		return target_shell_new(name, config, ret, err);
	return target_local_new(name, config, ret, err);
}
