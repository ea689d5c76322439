/* A deployment file turned around: what its steps made is destroyed, the last step first. */
#include "agent/deployment/file_priv.h"

#include "schemas/step_info.h"

#include <string.h>

/* Its state is known by its id, which is its place in the file where it has none of its own. */
static json_t *destroying(const json_t *step, size_t index, const char *input, const char *environment)
{
	json_t *ret = json_copy((json_t *)(uintptr_t)step), *given = json_copy(json_object_get(step, "input"));
	if (json_object_get(ret, "id") == NULL)
		json_object_set_new(ret, "id", json_stringf("%zu", index + 1));
	json_object_set_new(given, input, json_string(environment));
	json_object_set_new(ret, "input", given);
	return ret;
}

int deployment_file_destroy(struct deployment_file *d, const char *environment, struct strv *ret_left, struct err *err)
{
	const json_t *steps = json_object_get(d->deployment, "steps");
	const char *own = json_get_string(d->deployment, "environment");
	if (own == NULL || strcmp(own, environment) != 0) {
		err_set(err, ERR_REFUSED, "the environment of this file is '%s', not '%s': nothing is destroyed",
		        own != NULL ? own : "", environment);
		return err_hint(err, ERR_REFUSED, "--destroy takes the name of the environment that is meant");
	}
	json_t *turned = json_array();
	for (size_t i = json_array_size(steps); i-- > 0;) {
		const json_t *step = json_array_get(steps, i);
		const char *name = json_get_string(step, "step");
		const struct step_info *info = name != NULL ? step_info(name) : NULL;
		if (info != NULL && info->destroy != NULL)
			json_array_append_new(turned, destroying(step, i, info->destroy, environment));
		else if (info != NULL && info->changes)
			strv_add(ret_left, name);
	}
	/* The engine reads the steps anew, and there is nothing that a rollback of them could replay. */
	json_object_set_new(d->deployment, "steps", turned);
	json_object_del(d->deployment, "kept");
	json_object_clear(d->late);
	d->read.step_count = 0;
	if (json_array_size(turned) == 0)
		return err_set(err, ERR_REFUSED, "no step of this file can destroy what it made");
	return 0;
}
