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
static const int64_t noon = 1790000000000;

/* Of this process. */
static const struct suite_trial *trial;
static long records, records_to_live;
static struct str log_lines = STR_INIT(ANSWER_MAX);

/* ---- the surroundings ---- */

static int64_t real_mono_ms(void *context)
{
	struct timespec ts;
	(void)context;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Later acts come later: what they make has names of its own. */
static int64_t act_wall_ms(void *context)
{
	return noon + *(const int *)context * 60000;
}

static void real_pause_ms(void *context, int64_t ms)
{
	const struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};
	(void)context;
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

static int make_target(const struct target_config *config, struct target **ret, struct err *err)
{
	static const char *shell[2]; /* the target borrows it */
	shell[0] = trial->shell;
	return trial->shell ? target_shell_new_local(config, shell, ret, err) : target_config_make(config, ret, err);
}

/* ---- steps ---- */

static int make_twice(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	int r = 0;
	for (int i = 0; r >= 0 && i < 2; i++)
		r = trial->type->apply ? trial->type->apply(c, t, change, err) : change_apply(t, change, err);
	return r;
}

/* 1 of the second says that the first has left nothing to take back. */
static int take_back_twice(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	int r = 0, first = 0;
	for (int i = 0; r >= 0 && i < 2; i++) {
		r = trial->type->undo ? trial->type->undo(c, t, change, err) : change_undo(t, change, err);
		first = i == 0 ? r : first;
	}
	return r < 0 ? r : first;
}

static const struct step_type *find_step(const char *name)
{
	static struct step_type twice;
	if (strcmp(name, trial->type->info->name) != 0)
		return step_find(name);
	if (!trial->twice)
		return trial->type;
	twice = *trial->type;
	twice.apply = make_twice;
	twice.undo = take_back_twice;
	return &twice;
}

static json_t *deployment(const struct suite_trial *t, bool fails)
{
	json_t *step = json_pack("{s:s, s:s, s:O}", "step", t->type->info->name, "id", "tried", "input", t->input);
	json_t *d =
		json_pack("{s:s, s:s, s:{s:{s:{}, s:s}}, s:[o], s:s, s:s, s:s, s:s, s:s}", "name", "shop",
	                  "environment", "contract", "targets", "web", "local", "base", t->world->base, "steps", step,
	                  "source_root", t->world->source, "repository", "example/shop", "api_url", t->servers->web,
	                  "token", t->secret, "commit", "0123456789abcdef0123456789abcdef01234567");
	if (t->type->info->targets != STEP_TARGETS_NONE)
		json_object_set_new(step, "target", json_pack("[s]", "web"));
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
		.mono_ms = real_mono_ms, .wall_ms = act_wall_ms, .pause_ms = real_pause_ms, .context = &hour};
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
	                           .target_kinds = target_kinds,
	                           .make_target = make_target,
	                           .find_step = find_step,
	                           .find_change = change_find,
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
		fail_msg("%s: the process ended with status %#x", t->type->info->name, (unsigned)status);
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
