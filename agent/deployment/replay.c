#include "agent/deployment/replay.h"

#include <stdio.h>
#include <string.h>

#include "agent/deployment/certificates.h"
#include "agent/deployment/faults.h"
#include "agent/deployment/replay_priv.h"
#include "agent/deployment/expand.h"
#include "agent/deployment/typed.h"
#include "agent/expr/expr.h"
#include "engine/run/step.h"
#include "base/secret/mask.h"

enum { POINTER_MAX = 4096, KEPT_MAX = 1 << 20 };

/* Fills in everything but the secrets: without that context, expressions that name it stay as they are. */
static json_t *fill_but_secrets(const json_t *raw, const json_t *contexts)
{
	struct faults faults = {0};
	json_t *known _cleanup_json_ = json_copy((json_t *)contexts);
	struct str pointer _cleanup_(str_done) = STR_INIT(POINTER_MAX);
	bool late = false;
	json_object_del(known, "secrets");
	const struct deployment_expander resolver = {known, NULL, &faults, NULL};
	json_t *filled = deployment_expand(&resolver, raw, &pointer, &late);
	faults_done(&faults);
	return filled;
}

static bool written_out(const json_t *text)
{
	return json_string_length(text) > 0 && !expr_is_template(json_string_value(text));
}

const char *const kept_login[REPLAY_LOGIN_COUNT] = {"key", "key_passphrase", "password"};

static bool login_written_out(const json_t *ssh)
{
	for (size_t i = 0; i < REPLAY_LOGIN_COUNT; i++)
		if (written_out(json_object_get(ssh, kept_login[i])))
			return true;
	const json_t *jump = json_object_get(ssh, "jump");
	return jump != NULL && login_written_out(jump);
}

static bool any_login_written_out(const json_t *targets)
{
	const char *name;
	json_t *target;
	json_object_foreach((json_t *)targets, name,
	                    target) if (login_written_out(json_object_get(target, "ssh"))) return true;
	return false;
}

bool replay_needs(const char *step, const json_t *input)
{
	const struct step_info *info = step_info(step);
	if (info == NULL || info->kept == NULL)
		return false;
	return strcmp(info->kept, "always") == 0 || json_object_get(input, info->kept) != NULL;
}

void replay_spare(const char *step, json_t *input)
{
	const struct step_info *info = step_info(step);
	if (info == NULL || info->spare == NULL || !json_is_array(json_object_get(input, info->spare)) ||
	    (info->aside != NULL && json_object_get(input, info->aside) != NULL))
		return;
	json_object_set_new(input, info->spare, json_array());
}

static json_t *kept_steps(const json_t *raw, const json_t *deployment, const json_t *late, const json_t *contexts)
{
	json_t *kept = json_array();
	size_t index;
	json_t *step;
	json_array_foreach(json_object_get(deployment, "steps"), index, step)
	{
		const char *name = json_get_string(step, "step");
		const json_t *given = json_object_get(json_array_get(json_object_get(raw, "steps"), index), name);
		char number[24];
		snprintf(number, sizeof(number), "%zu", index);
		if (!replay_needs(name, given) || json_object_get(late, number) != NULL)
			continue;
		json_t *copy = json_copy(step), *input = fill_but_secrets(given, contexts);
		deployment_typed_step(name, given, input);
		json_object_del(input, "target");
		replay_spare(name, input);
		json_object_set_new(copy, "input", input);
		json_object_set_new(copy, "place", json_integer((json_int_t)index));
		json_array_append_new(kept, copy);
	}
	return kept;
}

bool replay_shows_a_secret(const json_t *value)
{
	_cleanup_free_ char *text = json_text(value);
	struct str masked _cleanup_(str_done) = STR_INIT(2 * KEPT_MAX);
	if (strlen(text) > KEPT_MAX)
		return true;
	mask_apply(mask_process(), text, strlen(text), &masked);
	return strcmp(text, str_peek(&masked)) != 0;
}

json_t *replay_make(const json_t *raw, const json_t *deployment, const json_t *late, const json_t *contexts)
{
	static const char *const heads[] = {"name", "environment", "on_failure", "undo_deadline",
	                                    "seal", "source_root", "file",       "state"};
	json_t *kept _cleanup_json_ = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		if (json_object_get(deployment, heads[i]) != NULL)
			json_object_set(kept, heads[i], json_object_get(deployment, heads[i]));
	json_t *targets = json_object_get(raw, "targets");
	json_object_set_new(kept, "targets",
	                    targets ? fill_but_secrets(targets, contexts)
	                            : json_incref(json_object_get(deployment, "targets")));
	json_object_set_new(kept, "steps", kept_steps(raw, deployment, late, contexts));
	if (any_login_written_out(json_object_get(kept, "targets")) || replay_shows_a_secret(kept))
		return NULL;
	return TAKE(kept);
}

json_t *replay_places(const json_t *kept)
{
	json_t *places = json_copy((json_t *)kept), *steps = json_array(), *step;
	size_t i;
	json_array_foreach(json_object_get(kept, "steps"), i, step)
	{
		const char *name = json_get_string(step, "step");
		const char *path = step_releases_path(name, json_object_get(step, "input"));
		json_t *certificates = certificates_of(step_info(name), json_object_get(step, "input"));
		if (certificates != NULL)
			json_array_append_new(steps, json_pack("{s:s, s:{s:o}}", "step", name, "input",
			                                       step_info(name)->certificates, certificates));
		if (path != NULL)
			json_array_append_new(steps, json_pack("{s:s, s:O?, s:{s:s}}", "step", name, "target",
			                                       json_object_get(step, "target"), "input",
			                                       step_info(name)->releases, path));
	}
	json_object_set_new(places, "steps", steps);
	return places;
}

int replay_fill(const json_t *kept, const json_t *secrets, json_t **ret_deployment, json_t **ret_faults,
                struct err *err)
{
	struct faults faults _cleanup_(faults_done) = {0};
	json_t *contexts _cleanup_json_ = json_pack("{s:O}", "secrets", secrets);
	struct str pointer _cleanup_(str_done) = STR_INIT(POINTER_MAX);
	const struct deployment_expander resolver = {contexts, NULL, &faults, NULL};
	bool late = false;
	json_t *filled = deployment_expand(&resolver, kept, &pointer, &late);
	int r = faults_to_err(&faults, NULL, err);
	if (r < 0) {
		*ret_faults = deployment_faults_json(&faults, NULL);
		json_decref(filled);
		/* Reports the faults one by one. */
		r = err_set(err, r, "the secrets of that deployment are not kept, and a way back needs %zu of them",
		            faults.count);
		return err_hint(
			err, r,
			"give each by --secret NAME, its value in that environment variable; or all by --secrets FILE");
	}
	deployment_typed_targets(json_object_get(kept, "targets"), json_object_get(filled, "targets"));
	size_t i;
	json_t *step;
	json_array_foreach(json_object_get(filled, "steps"), i, step)
		deployment_typed_step(json_get_string(step, "step"),
	                              json_object_get(json_array_get(json_object_get(kept, "steps"), i), "input"),
	                              json_object_get(step, "input"));
	/* For the rollback of the rollback. */
	json_object_set(filled, "kept", (json_t *)kept);
	*ret_deployment = filled;
	return 0;
}
