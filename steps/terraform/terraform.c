#include "steps/terraform/terraform.h"
#include "engine/target/grace.h"
#include "steps/common/command.h"
#include "base/secret/mask.h"

static void describe(const struct step_context *c, struct str *out)
{
	const struct terraform_in *in = c->input;
	str_appendf(out, "apply what %s plans for the configuration in %s", in->program, in->directory);
	if (in->workspace != NULL)
		str_appendf(out, ", workspace %s", in->workspace);
}

/* What a run rests on is not the environment's to say. */
static void check_env(const struct field_map *env, struct faults *faults)
{
	static const char *const ours[] = {"TF_CLI_ARGS", "TF_LOG",           "TF_DATA_DIR",
	                                   "TF_INPUT",    "TF_IN_AUTOMATION", "TF_WORKSPACE"};
	step_env_faults(env, "/env", faults);
	for (size_t i = 0; i < env->count; i++)
		for (size_t k = 0; k < ARRAY_SIZE(ours); k++)
			if (str_starts(env->items[i].key, ours[k])) {
				_cleanup_free_ char *pointer = xasprintf("/env/%s", env->items[i].key);
				faults_add(faults, NULL, pointer, "%s is set by davit", env->items[i].key);
			}
}

static void check_backend_config(const struct field_map *map, struct faults *faults)
{
	for (size_t i = 0; i < map->count; i++) {
		_cleanup_free_ char *pointer = xasprintf("/backend_config/%s", map->items[i].key);
		if (!mask_finds(mask_process(), map->items[i].value, strlen(map->items[i].value)))
			continue;
		faults_add(faults, NULL, pointer, "a secret would be an argument of a command");
		faults_hint(
			faults,
			"give it by `env:`, under the name that the backend reads (TF_HTTP_PASSWORD, AWS_SECRET_ACCESS_KEY)");
	}
}

static bool climbs(const char *path)
{
	return strcmp(path, "..") == 0 || str_starts(path, "../") || strstr(path, "/../") != NULL ||
	       str_ends(path, "/..");
}

static void validate(const struct step_context *c, struct faults *faults)
{
	const struct terraform_in *in = c->input;
	check_env(&in->env, faults);
	step_env_faults(&in->variables, "/variables", faults);
	check_backend_config(&in->backend_config, faults);
	if (climbs(in->directory))
		faults_add(faults, NULL, "/directory", "`..` is not allowed in it");
	if (in->timeout_ms <= 0)
		faults_add(faults, NULL, "/timeout", "the time must be longer than nothing");
	if (in->grace_ms < 1000 || in->grace_ms > GRACE_MAX_MS)
		faults_add(faults, NULL, "/grace", "must be between 1s and 1h");
	if (in->undo == TERRAFORM_UNDO_FORMER && *in->directory != '/') {
		faults_add(faults, NULL, "/undo", "the source tree has no former configuration");
		faults_hint(faults, "let an archive-upload bring the files, and name its `current` as `directory`");
	}
}

static const struct change_type *const kinds[] = {&change_terraform, NULL};

const struct step_type terraform_step = {
	.info = &terraform_info,
	.kinds = kinds,
	.memory = sizeof(struct terraform_memory),
	.forget = terraform_forget,
	.describe = describe,
	.validate = validate,
	.check = terraform_check,
	.plan = terraform_plan_step,
	.apply = terraform_apply,
	.undo = terraform_undo,
	.restore = terraform_restore,
	.after = terraform_after,
};
