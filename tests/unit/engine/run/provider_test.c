/* The engine with a target that is an API (tests/provider): no file of the engine knows it. Time is simulated, so that pauses cost none. */
#include "unit/cmocka_all.h"
#include "base/core/clock.h"
#include "base/data/json.h"
#include "base/sys/fs.h"
#include "engine/run/engine.h"
#include "provider/provider.h"
#include "steps/registry.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static char *dir, *state_dir, *cloud; /* of one test */
static struct store *store;
static bool gate_fails, show;
static void (*in_gate)(void);
static int64_t now_ms;

/* ---- time ---- */

static int64_t mono(void *context)
{
	(void)context;
	return ++now_ms;
}

static int64_t wall(void *context)
{
	(void)context;
	return INT64_C(1790000000000) + now_ms;
}

static void pass(void *context, int64_t ms)
{
	(void)context;
	now_ms += ms;
}

static const struct clock_source clock_of_test = {.mono_ms = mono, .wall_ms = wall, .pause_ms = pass};

/* ---- a gate ---- */

static int probe(const struct step_context *c, bool baseline, struct err *err)
{
	if (baseline || c->deployment->undoing)
		return 0;
	if (in_gate)
		in_gate();
	return gate_fails ? err_set(err, ERR_FAILED, "the service does not answer") : 0;
}

static const struct step_info gate_info = {.name = "gate"};
static const struct step_type gate = {.info = &gate_info, .probe = probe};

static const struct step_type *find_step(const char *name)
{
	const struct step_type *const types[] = {&gate, &provider_step, &provider_apply};
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i]->info->name, name) == 0)
			return types[i];
	return NULL;
}

static const struct field_choice *kinds[3]; /* the product's local, and the provider's */

static int make_target(const struct target_config *config, struct target **ret, struct err *err)
{
	if (!target_config_kind(config)->is_host)
		return target_config_make(config, ret, err);
	/* Where davit lies by itself is not the test's to touch. */
	struct target_config with_base = *config;
	_cleanup_free_ char *base = fs_join(dir, "base");
	with_base.host.base = base;
	return target_local_new(&with_base, ret, err);
}

/* ---- set-up ---- */

static void make_old_world(void)
{
	_cleanup_json_ json_t *world = json_pack("{s:{s:i, s:i}}", "guests", "web", 2, "old", 1);
	provider_save(cloud, world);
}

static int set_up(void **state)
{
	(void)state;
	gate_fails = false;
	in_gate = NULL;
	now_ms = 1000000;
	clock_set_source(&clock_of_test);
	if (fs_make_temp_dir("davit-provider-test", &dir, NULL) < 0)
		return -1;
	state_dir = fs_join(dir, "state");
	cloud = fs_join(dir, "cloud.json");
	make_old_world();
	return store_open(state_dir, NULL, &store, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	store_close(store);
	int r = fs_remove_tree(AT_FDCWD, dir, NULL);
	free(dir);
	free(state_dir);
	free(cloud);
	clock_set_source(NULL);
	return r;
}

static void report(void *context, const char *level, const char *line)
{
	(void)context;
	if (show)
		fprintf(stderr, "[%s] %s\n", level, line);
}

static struct engine_options options(void)
{
	static struct wait wait = WAIT_INIT;
	return (struct engine_options){.store = store,
	                               .wait = &wait,
	                               .seal = true,
	                               .report = report,
	                               .find_step = find_step,
	                               .find_change = provider_find_change,
	                               .target_kinds = kinds,
	                               .make_target = make_target};
}

/* "api" comes before "host" by name, and is no anchor all the same. */
static json_t *deployment(bool with_host)
{
	json_t *d = json_pack("{s:s, s:s, s:{s:{s:{s:s}}}, s:[{s:s, s:s, s:{s:{s:i, s:i, s:n}}}, {s:s}]}", "name",
	                      "shop", "environment", "production", "targets", "api", "test-provider", "file", cloud,
	                      "steps", "step", "guests", "target", "api", "input", "guests", "web", 4, "new", 1, "old",
	                      "step", "gate");
	assert_non_null(d);
	if (with_host)
		json_object_set_new(json_object_get(d, "targets"), "host", json_pack("{s:{}}", "local"));
	return d;
}

static int deploy_to(json_t *d, struct engine_result *ret)
{
	struct engine_options o = options();
	struct err err = ERR_INIT;
	char line[1000];
	engine_result_done(ret);
	int r = engine_deploy(DEPLOYMENT_UNREAD(d), &o, ret, &err);
	if (show && err.code)
		fprintf(stderr, "%s\n", err_line(&err, line, sizeof(line)));
	assert_int_equal(r, 0);
	return ret->exit_status;
}

static int deploy(struct engine_result *ret)
{
	_cleanup_json_ json_t *d = deployment(true);
	return deploy_to(d, ret);
}

static void fault(const char *verb, const char *name)
{
	_cleanup_json_ json_t *world = provider_load(cloud);
	if (json_object_get(world, "faults") == NULL)
		json_object_set_new(world, "faults", json_object());
	json_object_set_new(json_object_get(world, "faults"), verb, json_pack("[s]", name));
	provider_save(cloud, world);
}

static bool guests_are(int web, int new, int old)
{
	_cleanup_json_ json_t *world = provider_load(cloud);
	const json_t *guests = json_object_get(world, "guests");
	return json_get_int(guests, "web", -1) == web &&
	       json_get_int(guests, "new", -1) == new &&json_get_int(guests, "old", -1) == old;
}

/* For good: nothing is at work any more that changes it later, and no lock stays. */
static void assert_old_world(void)
{
	_cleanup_free_ char *base = fs_join(dir, "base");
	provider_let_pass(cloud);
	assert_true(guests_are(2, -1, 1));
	assert_false(fs_exists(AT_FDCWD, base));
}

static void assert_new_world(void)
{
	_cleanup_free_ char *base = fs_join(dir, "base");
	provider_let_pass(cloud);
	assert_true(guests_are(4, 1, -1));
	assert_false(fs_exists(AT_FDCWD, base));
}

static int requests(const char *verb)
{
	_cleanup_json_ json_t *world = provider_load(cloud);
	return (int)json_get_int(json_object_get(world, "requests"), verb, 0);
}

/* ---- tests ---- */

static void guests_are_created_changed_and_deleted(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result result = {0};
	assert_int_equal(deploy(&result), 0);
	assert_int_equal(result.state, DEPLOYMENT_COMMITTED);
	assert_new_world();
	assert_int_equal(deploy(&result), 0);
	assert_int_equal(requests("create"), 1);
}

static void a_failed_gate_brings_the_guests_back(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result result = {0};
	gate_fails = true;
	assert_int_equal(deploy(&result), 1);
	assert_int_equal(result.state, DEPLOYMENT_UNDONE);
	assert_old_world();
}

static void a_file_that_names_an_api_only_has_its_lock_on_this_machine(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result result = {0};
	_cleanup_json_ json_t *d = deployment(false);
	/* Not named either: the only target of the file is meant. */
	json_object_del(json_array_get(json_object_get(d, "steps"), 0), "target");
	assert_int_equal(deploy_to(d, &result), 0);
	assert_new_world();
}

static void a_step_that_needs_a_host_is_refused_for_an_api(void **state)
{
	(void)state;
	struct engine_options o = options();
	struct err err = ERR_INIT;
	char line[1000];
	_cleanup_(engine_result_done) struct engine_result result = {0};
	_cleanup_json_ json_t *d = deployment(true);
	json_object_set_new(json_array_get(json_object_get(d, "steps"), 1), "target", json_string("api"));
	assert_int_equal(engine_deploy(DEPLOYMENT_UNREAD(d), &o, &result, &err), 0);
	assert_int_equal(result.exit_status, 2);
	assert_non_null(strstr(err_line(&err, line, sizeof(line)), "it is an API"));
	assert_old_world();
}

static void what_only_hosts_have_is_refused_for_an_api(void **state)
{
	(void)state;
	static const char *const members[][2] = {{"base", "/srv"}, {"become", "sudo"}};
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		struct engine_options o = options();
		struct err err = ERR_INIT;
		char line[1000];
		_cleanup_(engine_result_done) struct engine_result result = {0};
		_cleanup_json_ json_t *d = deployment(true);
		json_object_set_new(json_object_get(json_object_get(d, "targets"), "api"), members[i][0],
		                    json_string(members[i][1]));
		assert_int_equal(engine_deploy(DEPLOYMENT_UNREAD(d), &o, &result, &err), 0);
		assert_int_equal(result.exit_status, 2);
		assert_non_null(strstr(err_line(&err, line, sizeof(line)), "has no files or commands"));
	}
	assert_old_world();
}

static void a_lost_reply_while_it_waits_is_followed_by_the_same_task(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result result = {0};
	fault("poll", "lost");
	assert_int_equal(deploy(&result), 0);
	assert_int_equal(requests("create") + requests("change") + requests("delete"), 3);
	assert_new_world();
}

static void a_request_whose_reply_was_lost_is_not_made_again(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result result = {0};
	fault("create", "lost");
	assert_int_equal(deploy(&result), 0);
	assert_int_equal(requests("create"), 1);
	assert_new_world();
}

static void a_provider_that_was_away_is_asked_again(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result result = {0};
	fault("create", "away");
	assert_int_equal(deploy(&result), 0);
	assert_int_equal(requests("create"), 2);
	assert_new_world();
}

static void a_task_that_fails_takes_the_deployment_back(void **state)
{
	(void)state;
	static const char *const verbs[] = {"create", "change", "delete"};
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		_cleanup_(engine_result_done) struct engine_result result = {0};
		fault(verbs[i], "fails");
		assert_int_equal(deploy(&result), 1);
		assert_int_equal(result.state, DEPLOYMENT_UNDONE);
		assert_old_world();
	}
}

static void a_task_that_never_ends_is_cancelled_by_the_undo(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result result = {0};
	fault("create", "hangs");
	assert_int_equal(deploy(&result), 1);
	assert_int_equal(result.state, DEPLOYMENT_UNDONE);
	assert_old_world();
	_cleanup_json_ json_t *world = provider_load(cloud);
	const json_t *tasks = json_object_get(world, "tasks");
	for (size_t i = 0; i < json_array_size(tasks); i++)
		assert_string_not_equal(json_get_string(json_array_get(tasks, i), "state"), "running");
}

static void a_task_that_never_ends_and_cannot_be_cancelled_is_held(void **state)
{
	(void)state;
	_cleanup_(engine_result_done) struct engine_result result = {0};
	fault("change", "hangs");
	assert_int_equal(deploy(&result), 4);
	assert_int_equal(result.state, DEPLOYMENT_HELD);
	const json_t *left = json_object_get(result.report, "left_over");
	assert_true(json_array_size(left) > 0);
}

static void what_a_provider_does_twice_is_taken_back_for_good(void **state)
{
	(void)state;
	static const char *const verbs[] = {"create", "change", "delete"};
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		_cleanup_(engine_result_done) struct engine_result result = {0};
		fault(verbs[i], "twice");
		gate_fails = true;
		assert_int_equal(deploy(&result), 1);
		assert_old_world();
	}
}

/* ---- resources of apply ---- */

/* resources: a JSON list, of which "guest" is the provider's; allow: what may be destroyed. */
static json_t *applying(const char *target, const char *resources, const char *allow)
{
	json_t *d = deployment(true);
	json_t *step = json_array_get(json_object_get(d, "steps"), 0);
	json_t *input = json_pack("{s:o, s:[s]}", "resources", json_loads(resources, 0, NULL), "allow_destroy", allow);
	assert_non_null(input);
	json_object_set_new(step, "step", json_string("apply"));
	json_object_set_new(step, "target", json_string(target));
	json_object_set_new(step, "input", input);
	return d;
}

static int apply_guests(const char *resources, const char *allow)
{
	_cleanup_(engine_result_done) struct engine_result result = {0};
	_cleanup_json_ json_t *d = applying("api", resources, allow);
	return deploy_to(d, &result);
}

static const char three_guests[] = "[{\"guest\": {\"name\": \"web\", \"size\": 4}}, {\"guest\": {\"name\": \"new\", "
				   "\"size\": 1}}, {\"guest\": {\"name\": \"old\", \"size\": 1}}]";
static const char two_guests[] =
	"[{\"guest\": {\"name\": \"web\", \"size\": 4}}, {\"guest\": {\"name\": \"new\", \"size\": 1}}]";

static void apply_brings_a_providers_resources_to_a_desired_state(void **state)
{
	(void)state;
	assert_int_equal(apply_guests(three_guests, ""), 0);
	assert_true(guests_are(4, 1, 1));
	/* What is so already is neither planned nor asked for again. */
	assert_int_equal(apply_guests(three_guests, ""), 0);
	assert_int_equal(requests("create") + requests("change"), 2);
	/* What left the state goes only when that is allowed. */
	assert_int_equal(apply_guests(two_guests, ""), 2);
	assert_true(guests_are(4, 1, 1));
	assert_int_equal(apply_guests(two_guests, "guest:old"), 0);
	assert_new_world();
}

static void a_failed_gate_brings_a_providers_resources_back(void **state)
{
	(void)state;
	gate_fails = true;
	assert_int_equal(apply_guests(three_guests, ""), 1);
	assert_old_world();
	gate_fails = false;
	/* The undone deployment left no row behind: nothing is missed. */
	assert_int_equal(apply_guests("[]", ""), 0);
	assert_old_world();
}

static void a_resource_is_refused_on_a_target_of_another_kind(void **state)
{
	(void)state;
	struct engine_options o = options();
	const struct {
		const char *target, *resources, *says;
	} wrong[] = {{"host", two_guests, "a guest cannot be on 'host', which is of the kind 'local'"},
	             {"api", "[{\"file\": {\"path\": \"/x\", \"content\": \"x\"}}]",
	              "a file cannot be on 'api', which is of the kind 'test-provider'"},
	             {"api", "[{\"gust\": {}}]", "'gust' is not known here; did you mean 'guest'?"},
	             {"api", "[{\"guest\": {\"name\": \"web\", \"size\": 0}}]", "/resources/0/guest/size"},
	             {"api",
	              "[{\"guest\": {\"name\": \"a\", \"size\": 1}}, {\"guest\": {\"name\": \"a\", \"size\": 2}}]",
	              "'a' stands twice in the desired state"}};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		_cleanup_(engine_result_done) struct engine_result result = {0};
		_cleanup_json_ json_t *d = applying(wrong[i].target, wrong[i].resources, "");
		struct err err = ERR_INIT;
		char line[1000];
		assert_int_equal(engine_deploy(DEPLOYMENT_UNREAD(d), &o, &result, &err), 0);
		assert_int_equal(result.exit_status, 2);
		if (strstr(err_line(&err, line, sizeof(line)), wrong[i].says) == NULL)
			fail_msg("'%s' does not say '%s'", line, wrong[i].says);
	}
	assert_old_world();
}

/* ---- killed ---- */

static int writes_left;

static void count_down(void)
{
	if (--writes_left == 0)
		_exit(9);
}

/* True: it ended by itself before that record. */
static bool deploy_and_die_at(int record)
{
	store_close(store);
	pid_t pid = fork();
	if (pid == 0) {
		_cleanup_(engine_result_done) struct engine_result result = {0};
		if (store_open(state_dir, NULL, &store, NULL) < 0)
			_exit(8);
		writes_left = record;
		store_after_write = count_down;
		deploy(&result);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 9 || WEXITSTATUS(status) == 0));
	assert_int_equal(store_open(state_dir, NULL, &store, NULL), 0);
	return WEXITSTATUS(status) == 0;
}

static void new_world_and_journal(void)
{
	store_close(store);
	assert_int_equal(fs_remove_tree(AT_FDCWD, state_dir, NULL), 0);
	assert_int_equal(store_open(state_dir, NULL, &store, NULL), 0);
	make_old_world();
}

static void recover(const struct engine_recover_options *r)
{
	struct engine_options o = options();
	struct err err = ERR_INIT;
	_cleanup_(engine_result_done) struct engine_result result = {0};
	char line[1000];
	assert_int_equal(engine_recover(r, &o, &result, &err), 0);
	if (show && err.code)
		fprintf(stderr, "%s\n", err_line(&err, line, sizeof(line)));
	assert_int_equal(result.exit_status, 0);
}

static void killed_at_each_record_it_is_the_old_or_the_new_world_once_recovered(void **state)
{
	(void)state;
	static const char *const faults[][2] = {{"", ""},         {"create", "lost"},  {"create", "twice"},
	                                        {"poll", "lost"}, {"create", "fails"}, {"change", "twice"}};
	int killed = 0;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		for (int record = 1;; record++) {
			new_world_and_journal();
			fault(faults[i][0], faults[i][1]);
			bool ended = deploy_and_die_at(record);
			const struct engine_recover_options r = {0};
			recover(&r);
			provider_let_pass(cloud);
			if (!guests_are(4, 1, -1))
				assert_old_world();
			else
				assert_new_world();
			if (ended)
				break;
			killed++;
		}
	}
	assert_true(killed > 100);
}

/* The journal is lost: the copy on the host says what the API is at work with. */
static void another_machine_takes_the_guests_back_from_the_hosts_copy(void **state)
{
	(void)state;
	_cleanup_json_ json_t *d = deployment(true);
	const struct engine_recover_options r = {
		.deployment = DEPLOYMENT_UNREAD(d), .takeover = true, .takeover_after_ms = 50};
	int taken_over = 0;
	for (int record = 4;; record++) {
		_cleanup_free_ char *copy = fs_join(dir, "base/open/shop.production/changes.jsonl");
		new_world_and_journal();
		if (deploy_and_die_at(record))
			break;
		bool open = fs_exists(AT_FDCWD, copy);
		store_close(store);
		assert_int_equal(fs_remove_tree(AT_FDCWD, state_dir, NULL), 0);
		assert_int_equal(store_open(state_dir, NULL, &store, NULL), 0);
		if (open)
			recover(&r);
		taken_over += open;
		provider_let_pass(cloud);
		if (open && !guests_are(4, 1, -1))
			assert_old_world();
		_cleanup_free_ char *base = fs_join(dir, "base");
		fs_remove_tree(AT_FDCWD, base, NULL);
	}
	assert_true(taken_over > 5);
}

static void die(void)
{
	_exit(9);
}

static void a_copy_that_names_another_guest_is_not_believed(void **state)
{
	(void)state;
	_cleanup_free_ char *copy = fs_join(dir, "base/open/shop.production/changes.jsonl");
	_cleanup_(str_done) struct str text = STR_INIT(1 << 20), changed = STR_INIT(1 << 20);
	in_gate = die;
	assert_false(deploy_and_die_at(1000));
	in_gate = NULL;
	assert_int_equal(fs_read(AT_FDCWD, copy, 1 << 19, &text, NULL), 0);
	for (const char *at = str_peek(&text); *at; at++) {
		bool here = str_starts(at, "guest:new");
		str_append(&changed, here ? "guest:web2" : "");
		at += here ? strlen("guest:new") : 0;
		str_append_c(&changed, *at);
	}
	assert_int_equal(fs_write_replace(AT_FDCWD, copy, str_peek(&changed), changed.len, 0600, NULL), 0);
	store_close(store);
	assert_int_equal(fs_remove_tree(AT_FDCWD, state_dir, NULL), 0);
	assert_int_equal(store_open(state_dir, NULL, &store, NULL), 0);
	struct engine_options o = options();
	struct err err = ERR_INIT;
	char line[1000];
	_cleanup_(engine_result_done) struct engine_result result = {0};
	_cleanup_json_ json_t *d = deployment(true);
	const struct engine_recover_options r = {
		.deployment = DEPLOYMENT_UNREAD(d), .takeover = true, .takeover_after_ms = 50};
	assert_int_equal(engine_recover(&r, &o, &result, &err), 0);
	assert_int_equal(result.exit_status, 4);
	assert_non_null(strstr(err_line(&err, line, sizeof(line)), "that its step does not name"));
	assert_true(guests_are(4, 1, -1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(guests_are_created_changed_and_deleted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(apply_brings_a_providers_resources_to_a_desired_state, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_failed_gate_brings_a_providers_resources_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_resource_is_refused_on_a_target_of_another_kind, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_failed_gate_brings_the_guests_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_file_that_names_an_api_only_has_its_lock_on_this_machine, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_step_that_needs_a_host_is_refused_for_an_api, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_only_hosts_have_is_refused_for_an_api, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_lost_reply_while_it_waits_is_followed_by_the_same_task, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_request_whose_reply_was_lost_is_not_made_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_provider_that_was_away_is_asked_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_task_that_fails_takes_the_deployment_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_task_that_never_ends_is_cancelled_by_the_undo, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_task_that_never_ends_and_cannot_be_cancelled_is_held, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(what_a_provider_does_twice_is_taken_back_for_good, set_up, tear_down),
		cmocka_unit_test_setup_teardown(killed_at_each_record_it_is_the_old_or_the_new_world_once_recovered,
	                                        set_up, tear_down),
		cmocka_unit_test_setup_teardown(another_machine_takes_the_guests_back_from_the_hosts_copy, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_copy_that_names_another_guest_is_not_believed, set_up, tear_down),
	};
	kinds[0] = target_kinds[0];
	kinds[1] = &provider_kind.choice;
	show = getenv("SHOW") != NULL;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
