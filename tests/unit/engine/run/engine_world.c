#include "engine_world.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "base/data/json.h"
#include "steps/registry.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

char *dir, *state_dir;
struct store *store;
bool gate_fails, show, old_is_sick;
int baseline_says, snapshot_undos;
void (*in_gate)(void), (*in_baseline)(void), (*in_gate_again)(void), (*in_clean)(void);

char *in_dir(const char *name)
{
	return fs_join(dir, name);
}

/* ---- steps ---- */

int plan_files(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	const char *path;
	json_t *value;
	json_object_foreach(json_object_get(c->input_json, "files"), path, value)
	{
		json_t *now = NULL;
		int r = target_look(v, path, true, &now, err);
		if (r < 0)
			return r;
		char hex[65];
		const char *text = json_string_value(value);
		bool absent = strcmp(json_get_string(now, "type"), "absent") == 0;
		struct change *change = plan_add(plan, &change_file, absent ? ACTION_CREATE : ACTION_UPDATE, path);
		digest_of(text, strlen(text), hex);
		change->before = now;
		change->after = json_pack("{s:s, s:s}", "type", "file", "digest", hex);
		str_append(&change->content, text);
	}
	json_object_foreach(json_object_get(c->input_json, "link"), path, value)
	{
		struct change *change = plan_add(plan, &change_link, ACTION_UPDATE, path);
		int r = target_look(v, path, true, &change->before, err);
		if (r < 0)
			return r;
		change->after = json_pack("{s:s, s:O}", "type", "link", "link", value);
	}
	for (size_t i = 0; i < json_array_size(json_object_get(c->input_json, "mkdir")); i++) {
		path = json_string_value(json_array_get(json_object_get(c->input_json, "mkdir"), i));
		struct change *change = plan_add(plan, &change_dir, ACTION_CREATE, path);
		int r = target_look(v, path, true, &change->before, err);
		if (r < 0)
			return r;
		change->after = json_pack("{s:s, s:s}", "type", "dir", "mode", "0750");
	}
	for (size_t i = 0; i < json_array_size(json_object_get(c->input_json, "remove")); i++) {
		path = json_string_value(json_array_get(json_object_get(c->input_json, "remove"), i));
		struct change *change = plan_add(plan, &change_remove, ACTION_DESTROY, path);
		int r = target_look(v, path, true, &change->before, err);
		if (r < 0)
			return r;
		change->after = json_pack("{s:s}", "type", "absent");
	}
	return 0;
}

static int probe_gate(const struct step_context *c, bool baseline, struct err *err)
{
	if (baseline && in_baseline)
		in_baseline();
	if (!baseline && !c->deployment->undoing && in_gate)
		in_gate();
	if (c->deployment->undoing && in_gate_again)
		in_gate_again();
	if (wait_check(c->wait, err) < 0)
		return ERR_CANCELLED;
	if (!baseline && !c->deployment->undoing && gate_fails)
		return err_set(err, ERR_FAILED, "the service does not answer");
	return 0;
}

static const struct step_info files_info = {.name = "files", .changes = true};
static const struct step_info stuck_info = {.name = "stuck", .changes = true};
static const struct step_info command_info = {.name = "command", .changes = true};
static const struct step_info gate_info = {.name = "gate"};
static const struct step_type type_files = {.info = &files_info, .plan = plan_files};
static int verify_never(const struct step_context *c, struct view *v, const struct change *change, struct err *err)
{
	(void)c;
	(void)v;
	return err_set(err, ERR_CONFLICT, "'%s' is not as it was made", change->path);
}

static int undo_never(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	(void)c;
	(void)t;
	return err_set(err, ERR_PERMISSION, "'%s' may not be changed any more", change->path);
}

/* Fails, and cannot be taken back. */
static const struct step_type type_stuck = {
	.info = &stuck_info, .plan = plan_files, .verify = verify_never, .undo = undo_never};
static const struct step_type type_gate = {.info = &gate_info, .probe = probe_gate};

/* One that may not have answered when the first change begins. */
static void slow_begin(const struct step_context *c)
{
	(void)c;
}

static int slow_end(const struct step_context *c, int64_t wait_ms_, struct err *err)
{
	(void)c;
	(void)wait_ms_;
	return baseline_says < 0 ? err_set(err, baseline_says, "the service says nothing good") : 0;
}

static int probe_slow(const struct step_context *c, bool baseline, struct err *err)
{
	if (c->deployment->undoing && old_is_sick)
		return err_set(err, ERR_FAILED, "the old service does not answer");
	return probe_gate(c, baseline, err);
}

static const struct step_info slow_info = {.name = "slow-gate"};
static const struct step_type type_slow = {
	.info = &slow_info, .probe = probe_slow, .baseline_begin = slow_begin, .baseline_end = slow_end};

/* A command that writes %D/ran and does not live to tell of it; its undo removes that. */
static int plan_command(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	(void)c;
	(void)v;
	(void)err;
	plan_add(plan, &change_command, ACTION_RUN, "/");
	return 0;
}

static int run_and_die(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	_cleanup_free_ char *ran = in_dir("ran");
	(void)c;
	(void)change;
	host_put(t, ran, "x", 1, NULL, err);
	_exit(9);
}

static int undo_command(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	_cleanup_free_ char *ran = in_dir("ran");
	(void)c;
	(void)change;
	return host_remove(t, ran, err);
}

static const struct step_type type_command = {
	.info = &command_info, .plan = plan_command, .apply = run_and_die, .undo = undo_command};

/* The deployment is decided, and nothing of it is cleaned yet. */
static int clean_it(const struct step_context *c, struct target *t, struct err *err)
{
	(void)c;
	(void)t;
	(void)err;
	if (in_clean)
		in_clean();
	return 0;
}

/* A snapshot in its own directory. Its first undo leaves that empty, as where the connection breaks between the two. */
char *snapshots(void)
{
	return in_dir("base/snapshots/shop.production");
}

static int plan_snapshot(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	(void)c;
	_cleanup_free_ char *around = snapshots(), *path = fs_join(around, "1");
	struct change *change = plan_add(plan, &change_snapshot, ACTION_CREATE, path);
	change->after = json_pack("{s:s, s:s}", "type", "dir", "mode", "0700");
	return target_look(v, path, false, &change->before, err);
}

static int make_snapshot(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	(void)c;
	_cleanup_free_ char *above = in_dir("base/snapshots"), *around = snapshots();
	int r = host_mkdir(t, above, NULL, err);
	if (r == 0)
		r = host_mkdir(t, around, NULL, err);
	return r < 0 ? r : change_apply(t, change, err);
}

static int undo_snapshot(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	(void)c;
	_cleanup_free_ char *around = snapshots();
	int r = change_undo(t, change, err);
	if (r < 0 || snapshot_undos++ == 0)
		return r;
	return host_remove(t, around, err);
}

static const struct step_info snapshot_info = {.name = "snapshot", .changes = true};
static const struct step_type type_snapshot = {
	.info = &snapshot_info, .plan = plan_snapshot, .apply = make_snapshot, .undo = undo_snapshot};

static const struct step_info cleaned_info = {.name = "cleaned", .changes = true};
static const struct step_type type_cleaned = {.info = &cleaned_info, .plan = plan_files, .clean = clean_it};

const struct step_type *find_step(const char *name)
{
	const struct step_type *const all[] = {&type_files,   &type_gate,    &type_stuck,   &type_slow,
	                                       &type_command, &type_cleaned, &type_snapshot};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(all[i]->info->name, name) == 0)
			return all[i];
	return NULL;
}

/* ---- set-up ---- */

int set_up(void **state)
{
	(void)state;
	gate_fails = old_is_sick = false;
	baseline_says = 0;
	in_gate = in_baseline = in_gate_again = in_clean = NULL;
	if (fs_make_temp_dir("davit-engine-test", &dir, NULL) < 0)
		return -1;
	state_dir = in_dir("state");
	return store_open(state_dir, NULL, &store, NULL);
}

int tear_down(void **state)
{
	(void)state;
	store_close(store);
	int r = fs_remove_tree(AT_FDCWD, dir, NULL);
	free(dir);
	free(state_dir);
	return r;
}

static void report(void *context, const char *level, const char *line)
{
	(void)context;
	if (show)
		fprintf(stderr, "[%s] %s\n", level, line);
}

struct engine_options options(void)
{
	static struct wait wait = WAIT_INIT;
	return (struct engine_options){.store = store,
	                               .wait = &wait,
	                               .seal = true,
	                               .report = report,
	                               .find_step = find_step,
	                               .target_kinds = target_kinds,
	                               .make_target = target_config_make};
}

json_t *json_here(const char *given)
{
	_cleanup_(str_done) struct str text = STR_INIT(1 << 20);
	for (const char *at = given; *at; at++) {
		if (at[0] == '%' && at[1] == 'D') {
			str_append(&text, dir);
			at++;
		} else {
			str_append_c(&text, *at);
		}
	}
	json_t *value = json_loads(str_peek(&text), 0, NULL);
	assert_non_null(value);
	return value;
}

json_t *deployment(const char *on_failure, const char *steps)
{
	_cleanup_free_ char *base = in_dir("base");
	json_t *list = json_here(steps);
	return json_pack("{s:s, s:s, s:s, s:{s:{s:{}, s:s}}, s:o}", "name", "shop", "environment", "production",
	                 "on_failure", on_failure, "targets", "here", "local", "base", base, "steps", list);
}

void write_file(const char *name, const char *text)
{
	_cleanup_free_ char *path = in_dir(name);
	assert_int_equal(fs_write_replace(AT_FDCWD, path, text, strlen(text), 0640, NULL), 0);
}

void assert_file(const char *name, const char *text)
{
	_cleanup_free_ char *path = in_dir(name);
	_cleanup_(str_done) struct str out = STR_INIT(1000);
	assert_int_equal(fs_read(AT_FDCWD, path, 900, &out, NULL), 0);
	assert_string_equal(str_peek(&out), text);
}

void assert_absent(const char *name)
{
	_cleanup_free_ char *path = in_dir(name);
	assert_false(fs_exists(AT_FDCWD, path));
}

void assert_link(const char *name, const char *to)
{
	_cleanup_free_ char *path = in_dir(name);
	char text[200] = "";
	assert_true(readlink(path, text, sizeof(text) - 1) > 0);
	assert_string_equal(text, to);
}

const char steps_text[] =
	"[{\"step\":\"files\",\"id\":\"a\",\"input\":{\"files\":{\"%D/a\":\"new a\",\"%D/b\":\"new b\"},"
	"\"link\":{\"%D/current\":\"releases/2\"},\"remove\":[\"%D/old\"],\"mkdir\":[\"%D/made\"]}},"
	"{\"step\":\"gate\"}]";

void make_old_world(void)
{
	_cleanup_free_ char *link = in_dir("current");
	write_file("a", "old a");
	write_file("old", "old");
	assert_int_equal(symlink("releases/1", link), 0);
}

void assert_old_world(void)
{
	assert_file("a", "old a");
	assert_file("old", "old");
	assert_absent("b");
	assert_absent("made");
	assert_link("current", "releases/1");
	assert_absent("base");
}

void assert_new_world(void)
{
	assert_file("a", "new a");
	assert_file("b", "new b");
	assert_absent("old");
	assert_link("current", "releases/2");
	assert_absent("base");
}

int deploy_this(const json_t *d, const struct engine_options *o, struct engine_result *ret)
{
	struct err err = ERR_INIT;
	char line[1000];
	engine_result_done(ret);
	int r = engine_deploy(DEPLOYMENT_UNREAD(d), o, ret, &err);
	if (show && err.code)
		fprintf(stderr, "%s\n", err_line(&err, line, sizeof(line)));
	assert_int_equal(r, 0);
	return ret->exit_status;
}

int deploy(const char *on_failure, const struct engine_options *o, struct engine_result *ret)
{
	_cleanup_json_ json_t *d = deployment(on_failure, steps_text);
	return deploy_this(d, o, ret);
}

void change_a_behind_our_back(void)
{
	write_file("a", "a person's");
}

void die(void)
{
	_exit(9);
}

void die_deploying(const json_t *d)
{
	store_close(store);
	pid_t pid = fork();
	if (pid == 0) {
		_cleanup_(engine_result_done) struct engine_result result = {0};
		if (store_open(state_dir, NULL, &store, NULL) < 0)
			_exit(8);
		struct engine_options o = options();
		deploy_this(d, &o, &result);
		_exit(7);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 9);
	assert_int_equal(store_open(state_dir, NULL, &store, NULL), 0);
}

void deploy_and_die(const char *on_failure)
{
	_cleanup_json_ json_t *d = deployment(on_failure, steps_text);
	in_gate = die;
	die_deploying(d);
	in_gate = NULL;
}

json_t *slowly(const char *content)
{
	_cleanup_free_ char *steps = xasprintf("[{\"step\":\"files\",\"input\":{\"files\":{\"%%D/a\":\"%s\"}}},"
	                                       "{\"step\":\"slow-gate\"}]",
	                                       content);
	return deployment("rollback", steps);
}

int deploy_slowly(const char *content)
{
	struct engine_options o = options();
	_cleanup_json_ json_t *d = slowly(content);
	_cleanup_(engine_result_done) struct engine_result result = {0};
	return deploy_this(d, &o, &result);
}

bool names_path(const json_t *left, const char *name)
{
	_cleanup_free_ char *path = in_dir(name);
	for (size_t i = 0; i < json_array_size(left); i++)
		if (strcmp(json_get_string(json_array_get(left, i), "path"), path) == 0)
			return true;
	return false;
}
