/* The contract suite over every registered step. SUITE_STEPS=apply,run chooses some; SUITE_SHELL=/bin/sh reaches the target by a shell;
 * SUITE_STRIDE=7 kills behind every seventh record only. */
#include "contract/suite.h"
#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "steps/registry.h"

#include <stdlib.h>

static struct suite_servers servers;

static void keeps_the_contract(void **state)
{
	const struct step_type *type = *state;
	const char *stride = getenv("SUITE_STRIDE");
	_cleanup_free_ char *why =
		suite_check(type, &servers, getenv("SUITE_SHELL"), stride ? strtol(stride, NULL, 10) : 1);
	if (why != NULL)
		fail_msg("%s", why);
}

/* What needs a Docker engine is tried with a real one: tests/integration/compose_up.py and compose_up_faults.py hold it to the same promises,
 * with an engine of their own instead of a directory that can be copied. */
static bool is_tried_elsewhere(const struct step_type *type)
{
	static const char *const names[] = {"compose-up"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i], type->info->name) == 0)
			return true;
	return false;
}

int main(void)
{
	enum { STEPS_MAX = 200 };
	struct CMUnitTest tests[STEPS_MAX];
	size_t count, chosen = 0;
	const struct step_type *const *steps = step_all(&count);
	const char *only = getenv("SUITE_STEPS");
	for (size_t i = 0; i < count && chosen < STEPS_MAX; i++)
		if (!is_tried_elsewhere(steps[i]) && (only == NULL || strstr(only, steps[i]->info->name) != NULL))
			tests[chosen++] = (struct CMUnitTest){.name = steps[i]->info->name,
			                                      .test_func = keeps_the_contract,
			                                      .initial_state = (void *)(uintptr_t)steps[i]};
	return suite_serve(&servers, tests, chosen);
}
