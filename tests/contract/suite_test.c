/* The contract suite over every registered step, and over the scripted provider of tests/provider. SUITE_STEPS=apply,run chooses some;
 * SUITE_SHELL=/bin/sh reaches the target by a shell; SUITE_STRIDE=7 kills behind every seventh record only. */
#include "contract/suite.h"
#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "base/sys/fs.h"
#include "provider/provider.h"
#include "steps/registry.h"

#include <fcntl.h>
#include <stdlib.h>

static struct suite_servers servers;

static void check(const struct suite_subject *subject)
{
	const char *stride = getenv("SUITE_STRIDE");
	_cleanup_free_ char *why = suite_check(subject, &servers, stride ? strtol(stride, NULL, 10) : 1);
	if (why != NULL)
		fail_msg("%s", why);
}

/* What needs a registry or a Docker engine is tried with a real one: tests/incidents/P1_…, tests/integration/compose_up.py and compose_up_faults.py hold it to the same promises,
 * with an engine of their own instead of a directory that can be copied. */
static bool is_tried_elsewhere(const struct step_type *type)
{
	static const char *const names[] = {"compose-up", "promote"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i], type->info->name) == 0)
			return true;
	return false;
}

static void keeps_the_contract(void **state)
{
	const struct suite_subject subject = {.type = *state, .shell = getenv("SUITE_SHELL")};
	check(&subject);
}

/* ---- an API that the suite is given ---- */

static char *world_in(const char *dir)
{
	return fs_join(dir, "world.json");
}

static void make_world(const char *dir)
{
	_cleanup_free_ char *file = world_in(dir);
	_cleanup_json_ json_t *world = json_pack("{s:{s:i, s:i}}", "guests", "web", 2, "old", 1);
	provider_save(file, world);
}

static json_t *provider_config(const char *dir)
{
	_cleanup_free_ char *file = world_in(dir);
	return json_pack("{s:{s:s}}", "test-provider", "file", file);
}

static void list_guests(const char *dir, enum suite_detail detail, struct str *out)
{
	static const char *const changing[] = {"create", "change", "delete"};
	_cleanup_free_ char *file = world_in(dir);
	_cleanup_json_ json_t *world = provider_load(file);
	const char *name;
	json_t *size;
	json_object_foreach(json_object_get(world, "guests"), name, size)
		str_appendf(out, "guest %s %lld\n", name, (long long)json_integer_value(size));
	for (size_t i = 0; detail == SUITE_TOUCHED && i < ARRAY_SIZE(changing); i++)
		str_appendf(out, "asked to %s %lld\n", changing[i],
		            (long long)json_get_int(json_object_get(world, "requests"), changing[i], 0));
}

static void an_api_keeps_the_contract_as_a_host_does(void **state)
{
	_cleanup_(str_done) struct str schema = STR_INIT(64 << 10);
	(void)state;
	assert_int_equal(fs_read(AT_FDCWD, PROVIDER_SCHEMA, 60 << 10, &schema, NULL), 0);
	const struct suite_api api = {.schema = str_peek(&schema),
	                              .make = make_world,
	                              .target = provider_config,
	                              .kind = &provider_kind,
	                              .find_change = provider_find_change,
	                              .list = list_guests};
	const struct suite_subject subject = {.type = &provider_step, .api = &api, .shell = getenv("SUITE_SHELL")};
	check(&subject);
}

/* ---- */

static void every_kind_of_changes_was_tried(void **state)
{
	size_t count;
	const struct change_type *const *kinds = change_type_all(&count);
	(void)state;
	for (size_t i = 0; i < count; i++)
		if (!strv_has(&suite_kinds, kinds[i]->name))
			fail_msg("no example of a step plans a change of the kind '%s'", kinds[i]->name);
	strv_done(&suite_kinds);
}

int main(void)
{
	enum { STEPS_MAX = 200 };
	struct CMUnitTest tests[STEPS_MAX + 2];
	size_t count, chosen = 0;
	const struct step_type *const *steps = step_all(&count);
	const char *only = getenv("SUITE_STEPS");
	for (size_t i = 0; i < count && chosen < STEPS_MAX; i++)
		if (!is_tried_elsewhere(steps[i]) && (only == NULL || strstr(only, steps[i]->info->name) != NULL))
			tests[chosen++] = (struct CMUnitTest){.name = steps[i]->info->name,
			                                      .test_func = keeps_the_contract,
			                                      .initial_state = (void *)(uintptr_t)steps[i]};
	if (only == NULL || strstr(only, provider_step.info->name) != NULL)
		tests[chosen++] = (struct CMUnitTest)cmocka_unit_test(an_api_keeps_the_contract_as_a_host_does);
	if (only == NULL)
		tests[chosen++] = (struct CMUnitTest)cmocka_unit_test(every_kind_of_changes_was_tried);
	return suite_serve(&servers, tests, chosen);
}
