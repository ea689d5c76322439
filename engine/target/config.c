#include "engine/target/config.h"

#include "base/data/yaml.h"

const struct target_kind *target_config_kind(const struct target_config *config)
{
	/* The choice is the kind's first member. */
	return (const struct target_kind *)(const void *)config->kind.choice;
}

static void refuse_beside_api(const struct target_config *config, const struct yaml_doc *doc, const char *pointer,
                              struct faults *faults)
{
	const struct {
		const char *name;
		bool given;
	} members[] = {{"become", config->host.has_become},
	               {"base", config->host.base != NULL},
	               {"read_only", config->host.has_read_only}};
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		_cleanup_free_ char *at = xasprintf("%s/%s", pointer, members[i].name);
		if (members[i].given)
			faults_add_key(faults, doc, at, "'%s' has no files or commands, so '%s' means nothing for it",
			               config->kind.choice->name, members[i].name);
	}
}

int target_config_read(const struct field_choice *const *kinds, const char *name, const json_t *value,
                       const struct yaml_doc *doc, const char *pointer, struct arena *arena, struct target_config *ret,
                       struct faults *faults, struct err *err)
{
	*ret = (struct target_config){.name = name};
	int r = fields_read_choice(kinds, &target_common_fields, value, doc, pointer, arena, &ret->kind, &ret->host,
	                           faults, err);
	if (r < 0 || target_config_kind(ret)->is_host)
		return r;
	size_t before = faults->count;
	refuse_beside_api(ret, doc, pointer, faults);
	return faults->count > before ? faults_to_err(faults, doc, err) : 0;
}

int target_config_make(const struct target_config *config, struct target **ret, struct err *err)
{
	return target_config_kind(config)->make(config, ret, err);
}

int target_config_use(const struct field_choice *const *kinds, const char *name, const json_t *value,
                      target_make_fn make, struct target **ret, struct err *err)
{
	_cleanup_(arena_done) struct arena arena = {.wipe = true};
	_cleanup_(faults_done) struct faults faults = {0};
	_cleanup_free_ char *pointer = xasprintf("/targets/%s", name);
	struct target_config config;
	int r = target_config_read(kinds, name, value, NULL, pointer, &arena, &config, &faults, err);
	return r < 0 ? r : make(&config, ret, err);
}
