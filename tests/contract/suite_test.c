/* The contract suite over every registered step, and over the scripted provider of tests/provider. SUITE_STEPS=apply,run chooses some;
 * SUITE_SHELL=/bin/sh reaches the target by a shell; SUITE_STRIDE=7 kills behind every seventh record only. SUITE_OUTSIDE=promote tries one
 * that needs a server of its own. */
#include "contract/suite.h"
#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "base/sys/fs.h"
#include "harness/server.h"
#include "provider/provider.h"
#include "steps/apply/resource.h"
#include "steps/registry.h"

#include <fcntl.h>
#include <stdlib.h>

enum { SKIPPED = 77 }; /* as ctest knows it */

static struct suite_servers servers;

static void check(const struct suite_subject *subject)
{
	const char *stride = getenv("SUITE_STRIDE");
	_cleanup_free_ char *why = suite_check(subject, &servers, stride ? strtol(stride, NULL, 10) : 1);
	if (why != NULL)
		fail_msg("%s", why);
}

/* ---- steps that change what lies in no directory, each tried with the real part ---- */

static struct server outside_server;

static json_t *registry_config(const struct suite_trial *t)
{
	_cleanup_free_ char *user = xasprintf("deployer-%zu", t->number);
	return json_pack("{s:{s:s, s:s, s:s}}", "registry", "url", server_text(&outside_server, "url"), "username",
	                 user, "password", t->secret);
}

static const struct suite_api registry = {.target = registry_config, .find_change = change_find};

static json_t *proxmox_config(const struct suite_trial *t)
{
	return json_pack("{s:{s:s, s:s, s:s, s:s}}", "proxmox", "url", server_text(&outside_server, "url"), "token_id",
	                 server_text(&outside_server, "user"), "token_secret", t->secret, "fingerprint",
	                 server_text(&outside_server, "fingerprint"));
}

static const struct suite_api proxmox = {.target = proxmox_config, .find_change = change_find};

static json_t *scaleway_config(const struct suite_trial *t)
{
	return json_pack("{s:{s:s, s:s, s:s, s:s}}", "scaleway", "url", server_text(&outside_server, "url"), "project",
	                 server_text(&outside_server, "project"), "zone", server_text(&outside_server, "zone"), "token",
	                 t->secret);
}

static const struct suite_api scaleway = {.target = scaleway_config, .find_change = change_find};

/* SUITE_OUTSIDE names one of them, for a run of its own. */
static const struct outside {
	const char *name; /* of this run: that of its step, unless it is tried otherwise too */
	const char *step, *server;
	const char *examples;     /* a file of examples/; NULL: the schema's */
	const char *kinds[8];     /* that its examples plan, where its step does not name them itself */
	const char *alone;        /* how the kinds of changes begin that only this run tries; NULL: none */
	bool of_engine;           /* the step is told which engine */
	bool engine_of_resources; /* each resource is */
	const char *keeps;
	const struct suite_api *api;
	const char *
		elsewhere; /* a kind of changes that would change the whole machine, or that no example makes: tests/integration has it. NULL: none */
} outsides[] = {
	{.name = "compose-up",
         .step = "compose-up",
         .server = "suite_docker.py",
         .of_engine = true,
         .keeps = "compose"},
	{.name = "promote", .step = "promote", .server = "suite_registry.py", .api = &registry},
	{.name = "bootstrap", .step = "bootstrap", .server = "suite_host.py", .elsewhere = "swap"},
	{.name = "apply-on-a-host",
         .step = "apply",
         .server = "suite_host.py",
         .examples = "apply_on_a_host.json",
         .kinds = {"group", "user", "key", "package", "sysctl"}},
	{.name = "apply-with-systemd",
         .step = "apply",
         .server = "suite_systemd.py",
         .examples = "apply_with_systemd.json",
         .kinds = {"unit"}},
	{.name = "apply-with-docker",
         .step = "apply",
         .server = "suite_docker_things.py",
         .examples = "apply_with_docker.json",
         .kinds = {"network", "volume"},
         .engine_of_resources = true},
	/* It has no undo, which is what the suite asks for behind every record; tests/integration/terraform_step.py and incident I4 have
         * the rest: plans that write nothing, a second run, kills, cancels, secrets. */
	{.name = "terraform", .step = "terraform"},
	{.name = "snapshot-of-guests",
         .step = "snapshot",
         .server = "suite_proxmox.py",
         .api = &proxmox,
         .examples = "snapshot_of_guests.json",
         .alone = "proxmox-",
         .elsewhere = "proxmox-rollback"},
	{.name = "apply-at-scaleway",
         .step = "apply",
         .server = "suite_scaleway.py",
         .api = &scaleway,
         .examples = "apply_at_scaleway.json",
         .kinds = {"scaleway"}},
	{.name = "snapshot-of-disks",
         .step = "snapshot",
         .server = "suite_scaleway.py",
         .api = &scaleway,
         .examples = "snapshot_of_disks.json",
         .alone = "scaleway-",
         .elsewhere = "scaleway-rollback"},
};

static const struct outside *find_outside(const char *name)
{
	for (size_t i = 0; name != NULL && i < ARRAY_SIZE(outsides); i++)
		if (strcmp(outsides[i].name, name) == 0)
			return &outsides[i];
	return NULL;
}

static void name_engine(json_t *examples)
{
	size_t i, k;
	json_t *example, *resource, *one;
	const char *kind;
	json_array_foreach(examples, i, example)
	{
		json_array_foreach(json_object_get(example, "resources"), k, resource)
		{
			json_object_foreach(resource, kind, one) json_object_set_new(
				one, "docker_host", json_string(server_text(&outside_server, "docker_host")));
		}
	}
}

static json_t *examples_of(const struct outside *o)
{
	_cleanup_free_ char *path = o->examples != NULL ? fs_join(EXAMPLES, o->examples) : NULL;
	json_t *examples = path != NULL ? json_load_file(path, 0, NULL) : NULL;
	if (path != NULL && examples == NULL)
		fail_msg("'%s' holds no JSON", path);
	if (o->engine_of_resources)
		name_engine(examples);
	return examples;
}

static void keeps_the_contract_with_the_real_part(void **state)
{
	const struct outside *o = *state;
	_cleanup_json_ json_t *examples = examples_of(o);
	const struct suite_subject subject = {.type = step_find(o->step),
	                                      .api = o->api,
	                                      .shell = getenv("SUITE_SHELL"),
	                                      .outside = &outside_server,
	                                      .inputs = o->of_engine ? outside_server.facts : NULL,
	                                      .examples = examples,
	                                      .keeps = o->keeps};
	assert_non_null(subject.type);
	check(&subject);
}

/* ---- the others ---- */

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

static json_t *provider_config(const struct suite_trial *t)
{
	_cleanup_free_ char *file = world_in(t->world->api);
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

static void expect_tried(const struct change_type *kind)
{
	if (!strv_has(&suite_kinds, kind->name))
		fail_msg("no example of a step plans a change of the kind '%s'", kind->name);
}

/* By another run than o; NULL: the one of all steps. */
static bool is_tried_elsewhere(const struct outside *o, const char *kind)
{
	bool elsewhere = o != NULL && o->alone != NULL && !str_starts(kind, o->alone);
	for (size_t i = 0; i < ARRAY_SIZE(outsides); i++)
		if (o != &outsides[i] && outsides[i].alone != NULL && str_starts(kind, outsides[i].alone))
			elsewhere = true;
	return elsewhere || (o != NULL && o->elsewhere != NULL && strcmp(o->elsewhere, kind) == 0);
}

static void expect_kinds_tried(const struct step_type *type, const struct outside *o)
{
	for (size_t i = 0; type->kinds != NULL && type->kinds[i] != NULL; i++)
		if (!is_tried_elsewhere(o, type->kinds[i]->name))
			expect_tried(type->kinds[i]);
}

static bool is_tried_outside(const char *kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(outsides); i++)
		for (size_t k = 0; k < ARRAY_SIZE(outsides[i].kinds) && outsides[i].kinds[k] != NULL; k++)
			if (strcmp(outsides[i].kinds[k], kind) == 0)
				return true;
	return false;
}

/* Kinds of resources that are no files bring their own kinds of changes. */
static void expect_resources_tried(const struct step_type *type)
{
	for (size_t i = 0; type->choices != NULL && type->choices[i] != NULL; i++) {
		const struct resource_type *resource = resource_type_of(type->choices[i]);
		for (size_t k = 0; resource->targets == NULL && resource->kinds != NULL && resource->kinds[k] != NULL;
		     k++)
			if (!is_tried_outside(resource->kinds[k]->name))
				expect_tried(resource->kinds[k]);
	}
}

static void every_kind_of_changes_was_tried(void **state)
{
	size_t count;
	const struct change_type *const *kinds = change_type_all(&count);
	(void)state;
	for (size_t i = 0; i < count; i++)
		expect_tried(kinds[i]);
	const struct step_type *const *steps = step_all(&count);
	for (size_t i = 0; i < count; i++)
		if (find_outside(steps[i]->info->name) == NULL)
			expect_kinds_tried(steps[i], NULL);
	expect_resources_tried(step_find("apply"));
	strv_done(&suite_kinds);
}

static void each_of_its_kinds_of_changes_was_tried(void **state)
{
	const struct outside *o = *state;
	expect_kinds_tried(step_find(o->step), o);
	for (size_t i = 0; i < ARRAY_SIZE(o->kinds) && o->kinds[i] != NULL; i++)
		if (!strv_has(&suite_kinds, o->kinds[i]))
			fail_msg("no example plans a change of the kind '%s'", o->kinds[i]);
	strv_done(&suite_kinds);
}

static int run_with_the_real_part(const struct outside *o)
{
	if (o == NULL || o->server == NULL)
		return 1;
	const struct CMUnitTest tests[] = {
		{.name = o->name,
	         .test_func = keeps_the_contract_with_the_real_part,
	         .initial_state = (void *)(uintptr_t)o},
		cmocka_unit_test_prestate(each_of_its_kinds_of_changes_was_tried, (void *)(uintptr_t)o),
	};
	int failed = SKIPPED;
	if (server_start(&outside_server, o->server, NULL))
		failed = suite_serve(&servers, tests, ARRAY_SIZE(tests));
	else if (outside_server.facts != NULL)
		printf("skipped: %s\n", server_text(&outside_server, "skip"));
	else
		failed = 1;
	server_stop(&outside_server);
	return failed;
}

int main(void)
{
	enum { STEPS_MAX = 200 };
	struct CMUnitTest tests[STEPS_MAX + 2];
	size_t count, chosen = 0;
	const struct step_type *const *steps = step_all(&count);
	const char *only = getenv("SUITE_STEPS");
	const char *outside = getenv("SUITE_OUTSIDE");
	if (outside != NULL)
		return run_with_the_real_part(find_outside(outside));
	for (size_t i = 0; i < count && chosen < STEPS_MAX; i++)
		if (find_outside(steps[i]->info->name) == NULL &&
		    (only == NULL || strstr(only, steps[i]->info->name) != NULL))
			tests[chosen++] = (struct CMUnitTest){.name = steps[i]->info->name,
			                                      .test_func = keeps_the_contract,
			                                      .initial_state = (void *)(uintptr_t)steps[i]};
	if (only == NULL || strstr(only, provider_step.info->name) != NULL)
		tests[chosen++] = (struct CMUnitTest)cmocka_unit_test(an_api_keeps_the_contract_as_a_host_does);
	if (only == NULL)
		tests[chosen++] = (struct CMUnitTest)cmocka_unit_test(every_kind_of_changes_was_tried);
	return suite_serve(&servers, tests, chosen);
}
