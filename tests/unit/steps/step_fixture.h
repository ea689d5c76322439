/* A local target in a temporary folder, a lock on it, and a step's input from YAML: what the engine gives a step,
 * without the engine. */
#pragma once
#include "unit/cmocka_all.h"
#include "base/sys/fs.h"
#include "base/net/http.h"
#include "engine/lock/lock.h"
#include "engine/run/step.h"
#include "steps/registry.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
	char *dir; /* everything lies below */
	struct target *target;
	struct target *targets[1];
	struct wait wait;
	struct arena arena;
	struct yaml_doc *doc;
	struct step_deployment deployment;
	struct step_context c;
	const struct step_type *type; /* whose memory c.memory is */
	struct plan plan;
	struct faults faults;
	json_t *rows, *events;
	struct strv lines;
	struct http *http;
	struct err err;
	char text[4096];
};

static void fixture_report(void *engine, const char *fmt, ...) _printf_(2, 3);
static void fixture_report(void *engine, const char *fmt, ...)
{
	struct fixture *f = engine;
	char line[4096];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	strv_add(&f->lines, line);
}

static void fixture_event(void *engine, const char *kind, json_t *data)
{
	struct fixture *f = engine;
	json_object_set_new(data, "kind_of_event", json_string(kind));
	json_array_append_new(f->events, data);
}

static int fixture_state_get(void *engine, const char *target, const char *key, json_t **ret, struct err *err)
{
	struct fixture *f = engine;
	(void)target;
	json_t *row = json_object_get(f->rows, key);
	if (row == NULL)
		return err_set(err, ERR_NOT_FOUND, "no row");
	*ret = json_incref(row);
	return 0;
}

static int fixture_state_list(void *engine, const char *target, json_t **ret, struct err *err)
{
	struct fixture *f = engine;
	(void)target;
	(void)err;
	*ret = json_deep_copy(f->rows);
	return 0;
}

static struct http *fixture_http(void *engine)
{
	struct fixture *f = engine;
	if (f->http == NULL)
		f->http = http_new(&(struct http_config){0}, NULL);
	return f->http;
}

static int fixture_setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	f->wait = (struct wait)WAIT_INIT;
	f->rows = json_object();
	f->events = json_array();
	if (fs_make_temp_dir("davit-step", &f->dir, &f->err) < 0)
		return -1;
	_cleanup_json_ json_t *config = json_object();
	_cleanup_free_ char *base = xasprintf("%s/base", f->dir),
			    *lock_dir = xasprintf("%s/base/open/shop.test", f->dir);
	json_object_set_new(config, "local", json_object());
	json_object_set_new(config, "base", json_string(base));
	if (target_config_use(target_kinds, "local", config, target_local_new, &f->target, &f->err) < 0)
		return -1;
	f->target->view.wait = &f->wait;
	if (target_open(&f->target->view, &f->err) < 0)
		return -1;
	_cleanup_json_ json_t *record =
		json_pack("{s:i,s:s,s:s}", "format", 1, "token", "0123456789abcdef0123456789abcdef", "deployment",
	                  "20260131T102030-3fa94c");
	json_t *holder = NULL;
	if (lock_take(f->target, lock_dir, record, &holder, &f->err) < 0) {
		print_error("%s\n", err_line(&f->err, f->text, sizeof(f->text)));
		return -1;
	}
	f->targets[0] = f->target;
	f->deployment = (struct step_deployment){.id = "20260131T102030-3fa94c",
	                                         .name = "shop",
	                                         .environment = "test",
	                                         .source_root = f->dir,
	                                         .commit = "0123456789012345678901234567890123456789"};
	*state = f;
	return 0;
}

static void fixture_forget(struct fixture *f)
{
	if (f->type && f->type->forget)
		f->type->forget(f->c.memory);
	free(f->c.memory);
	f->c.memory = NULL;
}

static int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	plan_done(&f->plan);
	fixture_forget(f);
	faults_done(&f->faults);
	target_free(f->target);
	http_freep(&f->http);
	json_decref(f->rows);
	json_decref(f->events);
	strv_done(&f->lines);
	yaml_freep(&f->doc);
	arena_done(&f->arena);
	fs_remove_tree(AT_FDCWD, f->dir, NULL);
	free(f->dir);
	free(f);
	return 0;
}

/* Reads the input; DIR in it stands for the fixture's folder. Faults of the reader end the test. */
static void fixture_input(struct fixture *f, const char *step, const char *yaml)
{
	const struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	_cleanup_(str_done) struct str text = STR_INIT(1 << 20);
	for (const char *p = yaml; *p != '\0';) {
		const char *dir = strstr(p, "DIR");
		str_append_n(&text, p, dir != NULL ? (size_t)(dir - p) : strlen(p));
		if (dir == NULL)
			break;
		str_append(&text, f->dir);
		p = dir + 3;
	}
	yaml_freep(&f->doc);
	faults_done(&f->faults);
	f->faults = (struct faults){0};
	const struct step_type *type = step_find(step);
	assert_non_null(type);
	int r = yaml_read("input", str_peek(&text), text.len, &limits, &f->doc, &f->err);
	if (r < 0)
		fail_msg("%s", err_line(&f->err, f->text, sizeof(f->text)));
	void *input = arena_alloc(&f->arena, type->info->input_size);
	r = fields_read_choices(type->info->inputs, type->choices, yaml_root(f->doc), f->doc, "", false, &f->arena,
	                        input, &f->faults, &f->err);
	if (r < 0 || f->faults.count > 0)
		fail_msg("%s",
		         f->faults.count > 0 ? f->faults.items[0].text : err_line(&f->err, f->text, sizeof(f->text)));
	if (f->type != type)
		fixture_forget(f);
	void *memory = f->c.memory || type->memory == 0 ? f->c.memory : xcalloc(1, type->memory);
	f->type = type;
	f->c = (struct step_context){.type = type,
	                             .memory = memory,
	                             .input = input,
	                             .input_json = yaml_root(f->doc),
	                             .deployment = &f->deployment,
	                             .targets = f->targets,
	                             .target_count = 1,
	                             .wait = &f->wait,
	                             .http = fixture_http,
	                             .engine = f,
	                             .report = fixture_report,
	                             .event = fixture_event,
	                             .state_get = fixture_state_get,
	                             .state_list = fixture_state_list};
}

static _unused_ size_t fixture_validate(struct fixture *f)
{
	if (f->c.type->validate != NULL)
		f->c.type->validate(&f->c, &f->faults);
	return f->faults.count;
}

static _unused_ bool fixture_fault(const struct fixture *f, const char *pointer, const char *words)
{
	for (size_t i = 0; i < f->faults.count; i++) {
		if ((pointer == NULL || strcmp(f->faults.items[i].pointer, pointer) == 0) &&
		    strstr(f->faults.items[i].text, words) != NULL)
			return true;
	}
	for (size_t i = 0; i < f->faults.count; i++)
		print_message("fault %s: %s\n", f->faults.items[i].pointer, f->faults.items[i].text);
	return false;
}

static _unused_ int fixture_plan(struct fixture *f)
{
	plan_done(&f->plan);
	f->plan = (struct plan){0};
	err_clear(&f->err);
	int r = f->c.type->plan(&f->c, &f->target->view, &f->plan, &f->err);
	for (size_t i = 0; i < f->plan.count; i++) {
		f->plan.changes[i].id = (int64_t)i + 1;
		f->plan.changes[i].target = xstrdup("local");
		f->plan.changes[i].step = xstrdup(f->c.type->info->name);
	}
	return r;
}

static _unused_ void fixture_keep_row(struct fixture *f, const struct change *c, bool undone)
{
	json_t *row = json_object_get(c->extra, "state_row");
	const char *key = json_get_string(row, "key");
	if (key == NULL)
		return;
	json_t *value = json_object_get(row, undone ? "former" : "row");
	if (value == NULL || json_is_null(value))
		json_object_del(f->rows, key);
	else
		json_object_set(f->rows, key, value);
}

/* Saves, applies and verifies each change. */
static _unused_ int fixture_apply(struct fixture *f)
{
	for (size_t i = 0; i < f->plan.count; i++) {
		struct change *c = &f->plan.changes[i];
		int r = change_save_former(f->target, c, &f->err);
		if (r == 0)
			r = f->c.type->apply != NULL ? f->c.type->apply(&f->c, f->target, c, &f->err)
			                             : change_apply(f->target, c, &f->err);
		enum change_match match = MATCH_AFTER;
		if (r == 0 && f->c.type->verify != NULL)
			r = f->c.type->verify(&f->c, &f->target->view, c, &f->err);
		else if (r == 0)
			r = change_compare(&f->target->view, f->target->lock_dir, c, &match, &f->err);
		if (r < 0)
			return r;
		assert_true(match == MATCH_AFTER || match == MATCH_BOTH);
		fixture_keep_row(f, c, false);
	}
	return 0;
}

static _unused_ int fixture_undo(struct fixture *f)
{
	int ret = 0;
	for (size_t i = f->plan.count; i > 0; i--) {
		struct change *c = &f->plan.changes[i - 1];
		int r = f->c.type->undo != NULL ? f->c.type->undo(&f->c, f->target, c, &f->err)
		                                : change_undo(f->target, c, &f->err);
		ret = r < 0 ? r : ret;
		fixture_keep_row(f, c, true);
	}
	return ret;
}

static _unused_ char *fixture_read(struct fixture *f, const char *name)
{
	_cleanup_free_ char *path = fs_join(f->dir, name);
	struct str text = STR_INIT(1 << 20);
	if (fs_read(AT_FDCWD, path, 1 << 20, &text, NULL) < 0)
		return NULL;
	return str_take(&text);
}

static _unused_ void fixture_write(struct fixture *f, const char *name, const char *text, mode_t mode)
{
	_cleanup_free_ char *path = fs_join(f->dir, name);
	assert_int_equal(fs_write_replace(AT_FDCWD, path, text, strlen(text), mode, NULL), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static _unused_ mode_t fixture_mode(struct fixture *f, const char *name)
{
	struct stat st;
	_cleanup_free_ char *path = fs_join(f->dir, name);
	assert_int_equal(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

static _unused_ void assert_file(struct fixture *f, const char *name, const char *text)
{
	_cleanup_free_ char *is = fixture_read(f, name);
	assert_non_null(is);
	assert_string_equal(is, text);
}

/* Nothing that a step hands to the journal or shows may hold it. */
static _unused_ void assert_not_told(struct fixture *f, const char *secret)
{
	for (size_t i = 0; i < f->plan.count; i++) {
		_cleanup_json_ json_t *record = change_record(&f->plan.changes[i]);
		_cleanup_free_ char *text = json_text(record);
		assert_null(strstr(text, secret));
	}
	for (size_t i = 0; i < f->plan.warnings.count; i++)
		assert_null(strstr(f->plan.warnings.items[i], secret));
	for (size_t i = 0; i < f->lines.count; i++)
		assert_null(strstr(f->lines.items[i], secret));
	_cleanup_free_ char *events = json_text(f->events);
	assert_null(strstr(events, secret));
}
