/* One process of a trial: the engine as it is, by the step that is tried in place of the registered one. Chance and the hour are the same in
 * every process, so that two runs make the same names and the same values. */
#include "contract/suite.h"
#include "unit/cmocka_all.h"
#include "base/core/clock.h"
#include "base/core/mem.h"
#include "base/core/rand.h"
#include "base/net/http.h"
#include "base/secret/mask.h"
#include "base/sys/fs.h"
#include "engine/target/shell/shell.h"
#include "steps/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_MAX = 16 << 20, HANG_SECONDS = 120 };
static const char api_target[] = "api";
static const int64_t noon = 1790000000000;

/* Of this process. */
static const struct suite_trial *trial;
static long records, records_to_live;
static int64_t passed_ms;
static struct str log_lines = STR_INIT(ANSWER_MAX);

/* ---- the surroundings ---- */

static int64_t mono_ms(void *context)
{
	struct timespec ts;
	(void)context;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return passed_ms + (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Later acts come later: what they make has names of its own. */
static int64_t act_wall_ms(void *context)
{
	return noon + *(const int *)context * 60000;
}

/* A scripted API answers at once: nothing but itself is waited for. */
static void pause_ms(void *context, int64_t ms)
{
	const struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};
	(void)context;
	if (trial->subject->api && !trial->subject->outside)
		passed_ms += ms;
	else
		nanosleep(&ts, NULL);
}

static void same_chance(void *context, void *data, size_t size)
{
	uint64_t *state = context;
	for (size_t i = 0; i < size; i++) {
		*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
		((unsigned char *)data)[i] = (unsigned char)(*state >> 56);
	}
}

static void count_record(void)
{
	records++;
	if (records == records_to_live)
		raise(SIGKILL);
}

static void tell(void *context, const char *level, const char *line)
{
	(void)context;
	str_appendf(&log_lines, "[%s] ", level);
	mask_apply(mask_process(), line, strlen(line), &log_lines);
	str_append_c(&log_lines, '\n');
}

static struct http *client(void *context)
{
	static struct http *http;
	const struct http_config config = {0};
	(void)context;
	if (http == NULL)
		http = http_new(&config, NULL);
	return http;
}

/* With the API's, where the trial has one. */
static const struct field_choice *const *kinds_of_targets(void)
{
	enum { KINDS_MAX = 16 };
	static const struct field_choice *kinds[KINDS_MAX + 2];
	size_t count = 0;
	while (count < KINDS_MAX && target_kinds[count]) {
		kinds[count] = target_kinds[count];
		count++;
	}
	kinds[count] = trial->subject->api && trial->subject->api->kind ? &trial->subject->api->kind->choice : NULL;
	return kinds;
}

static int make_target(const struct target_config *config, struct target **ret, struct err *err)
{
	static const char *shell[2]; /* the target borrows it */
	shell[0] = trial->subject->shell;
	return shell[0] && strcmp(config->name, api_target) != 0 ? target_shell_new_local(config, shell, ret, err)
	                                                         : target_config_make(config, ret, err);
}

/* ---- steps ---- */

static int make_twice(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	int r = 0;
	for (int i = 0; r >= 0 && i < 2; i++)
		r = trial->subject->type->apply ? trial->subject->type->apply(c, t, change, err)
		                                : change_apply(t, change, err);
	return r;
}

/* 1 of the second says that the first has left nothing to take back. */
static int take_back_twice(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	int r = 0, first = 0;
	for (int i = 0; r >= 0 && i < 2; i++) {
		r = trial->subject->type->undo ? trial->subject->type->undo(c, t, change, err)
		                               : change_undo(t, change, err);
		first = i == 0 ? r : first;
	}
	return r < 0 ? r : first;
}

/* An API's changes are made by their driver, which the engine tells where a task is noted. */
static const struct change_type *once;
static struct change_type twice_kind;

static int make_kind_twice(struct change_call *x, struct change *c, struct err *err)
{
	int r = once->apply(x, c, err);
	return r < 0 ? r : once->apply(x, c, err);
}

static int take_kind_back_twice(struct change_call *x, const struct change *c, struct err *err)
{
	int r = once->undo(x, c, err);
	return r < 0 ? r : once->undo(x, c, err);
}

static const struct change_type *kind_twice(const struct change_type *type)
{
	once = type;
	twice_kind = *type;
	twice_kind.apply = make_kind_twice;
	twice_kind.undo = take_kind_back_twice;
	return &twice_kind;
}

static const struct change_type *find_change(const char *kind)
{
	const struct suite_api *api = trial->subject->api;
	const struct change_type *type = api ? api->find_change(kind) : change_find(kind);
	return api && type && trial->twice ? kind_twice(type) : type;
}

static int plan_kinds_twice(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	int r = trial->subject->type->plan(c, v, plan, err);
	for (size_t i = 0; r == 0 && i < plan->count; i++)
		plan->changes[i].type = find_change(plan->changes[i].kind);
	return r;
}

static const struct step_type *find_step(const char *name)
{
	static struct step_type twice;
	if (strcmp(name, trial->subject->type->info->name) != 0)
		return step_find(name);
	if (!trial->twice)
		return trial->subject->type;
	twice = *trial->subject->type;
	if (trial->subject->api) {
		twice.plan = plan_kinds_twice;
	} else {
		twice.apply = make_twice;
		twice.undo = take_back_twice;
	}
	return &twice;
}

static json_t *deployment(const struct suite_trial *t, bool fails)
{
	json_t *step =
		json_pack("{s:s, s:s, s:O}", "step", t->subject->type->info->name, "id", "tried", "input", t->input);
	json_t *d =
		json_pack("{s:s, s:s, s:{s:{s:{}, s:s}}, s:[o], s:s, s:s, s:s, s:s, s:s}", "name", "shop",
	                  "environment", "contract", "targets", "web", "local", "base", t->world->base, "steps", step,
	                  "source_root", t->world->source, "repository", "example/shop", "api_url", t->servers->web,
	                  "token", t->secret, "commit", "0123456789abcdef0123456789abcdef01234567");
	_cleanup_free_ char *input = json_text(t->input);
	if (strstr(input, "\"vault\""))
		json_object_set_new(json_object_get(d, "targets"), "vault",
		                    json_pack("{s:{}, s:s+}", "local", "base", t->world->base, "/vault"));
	if (t->subject->api)
		json_object_set_new(json_object_get(d, "targets"), api_target, t->subject->api->target(t));
	if (t->subject->api || t->subject->type->info->targets != STEP_TARGETS_NONE)
		json_object_set_new(step, "target", json_pack("[s]", t->subject->api ? api_target : "web"));
	if (fails)
		json_array_append_new(json_object_get(d, "steps"),
		                      json_pack("{s:s, s:s, s:[s], s:{s:[s], s:s}}", "step", "run", "id", "fails",
		                                "target", "web", "input", "command", "false", "undo", "none"));
	return d;
}

/* ---- a process ---- */

static void act_out(enum suite_act act, const struct engine_options *o, struct engine_result *result, struct err *err)
{
	_cleanup_json_ json_t *d = deployment(trial, act == SUITE_FAIL);
	const struct engine_recover_options recover = {0};
	if (act == SUITE_PLAN)
		engine_plan(DEPLOYMENT_UNREAD(d), o, result, err);
	else if (act == SUITE_RECOVER)
		engine_recover(&recover, o, result, err);
	else
		engine_deploy(DEPLOYMENT_UNREAD(d), o, result, err);
}

static void write_answer(const struct engine_result *result, const struct err *err)
{
	char line[4096];
	if (err->code != 0)
		tell(NULL, "error", err_line(err, line, sizeof(line)));
	tell(NULL, "hint", err->hint);
	_cleanup_free_ char *path = fs_join(trial->world->dir, "answer");
	_cleanup_json_ json_t *answer =
		json_pack("{s:i, s:i, s:I, s:O?, s:O?, s:s}", "status", result->exit_status, "state",
	                  (int)result->state, "records", (json_int_t)records, "report", result->report, "outputs",
	                  result->outputs, "log", str_peek(&log_lines));
	_cleanup_free_ char *text = json_text(answer);
	if (fs_write_replace(AT_FDCWD, path, text, strlen(text), 0600, NULL) < 0)
		abort();
}

__attribute__((noreturn)) static void live(enum suite_act act, long die_at)
{
	static int hour;
	uint64_t chance = 7 * trial->number + (uint64_t)act;
	struct wait wait = WAIT_INIT;
	struct err err = ERR_INIT;
	struct engine_result result = {0};
	struct store *store = NULL;
	hour = (int)trial->number * 2 + (act == SUITE_RECOVER);
	const struct clock_source clock = {
		.mono_ms = mono_ms, .wall_ms = act_wall_ms, .pause_ms = pause_ms, .context = &hour};
	clock_set_source(&clock);
	rand_set_source(same_chance, &chance);
	mask_add(mask_process(), trial->secret, strlen(trial->secret));
	alarm(HANG_SECONDS);
	store_after_write = count_record;
	records_to_live = die_at;
	int r = act == SUITE_PLAN ? store_open_readonly(trial->world->state, &store, &err)
	                          : store_open(trial->world->state, NULL, &store, &err);
	struct engine_options o = {.store = store,
	                           .wait = &wait,
	                           .seal = true,
	                           .report = tell,
	                           .target_kinds = kinds_of_targets(),
	                           .make_target = make_target,
	                           .find_step = find_step,
	                           .find_change = find_change,
	                           .http = client};
	if (r == 0 || (act == SUITE_PLAN && r == ERR_NOT_FOUND)) {
		err = (struct err)ERR_INIT;
		act_out(act, &o, &result, &err);
	} else {
		result.exit_status = -1;
	}
	store_closep(&store);
	write_answer(&result, &err);
	_exit(0);
}

static void read_answer(const struct suite_world *w, struct suite_answer *ret)
{
	_cleanup_free_ char *path = fs_join(w->dir, "answer");
	_cleanup_json_ json_t *answer = NULL;
	assert_int_equal(fs_read(AT_FDCWD, path, ANSWER_MAX, &ret->log, NULL), 0);
	assert_int_equal(json_parse(ret->log.data, ret->log.len, ANSWER_MAX, &answer, NULL), 0);
	ret->status = (int)json_get_int(answer, "status", -1);
	ret->state = (enum deployment_state)json_get_int(answer, "state", 0);
	ret->records = (long)json_get_int(answer, "records", 0);
	ret->report = json_incref(json_object_get(answer, "report"));
}

void suite_run(const struct suite_trial *t, enum suite_act act, long die_at, struct suite_answer *ret)
{
	int status = 0;
	*ret = (struct suite_answer){.log = STR_INIT(ANSWER_MAX)};
	trial = t;
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		live(act, die_at);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		ret->died = true;
	else if (status != 0)
		fail_msg("%s: the process ended with status %#x", t->subject->type->info->name, (unsigned)status);
	else
		read_answer(t->world, ret);
}

void suite_answer_done(struct suite_answer *a)
{
	json_decref(a->report);
	str_done(&a->log);
}

bool suite_newest(const struct suite_world *w, enum deployment_state *ret_state, bool *ret_cleaned)
{
	struct store *store _cleanup_(store_closep) = NULL;
	const struct store_filter newest = {.limit = 1};
	_cleanup_json_ json_t *list = NULL;
	if (store_open_readonly(w->state, &store, NULL) < 0 || store_deployment_list(store, &newest, &list, NULL) < 0 ||
	    json_array_size(list) == 0)
		return false;
	const json_t *doc = json_array_get(list, 0);
	const char *state = json_get_string(doc, "state");
	*ret_cleaned = json_get_bool(doc, "cleaned", false);
	for (int i = 0; i <= DEPLOYMENT_UNDONE; i++)
		if (strcmp(deployment_state_name((enum deployment_state)i), state) == 0)
			*ret_state = (enum deployment_state)i;
	return true;
}
