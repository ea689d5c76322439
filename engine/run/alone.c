/* Targets that go back by themselves (docs/semantics.md 11): the watch and its lines are laid before the first change, disarmed before
 * the decision, and heard when somebody comes back. The world is looked at all the same: what a target says decides nothing. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include "base/core/rand.h"
#include "engine/alone/alone.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TRIES = 4, PAUSE_MS = 500, START_MS = 30000, RENEWALS = 4, MOST_OPS = 3 };

int64_t engine_alone_after_ms(const struct engine *e)
{
	return json_get_int(e->deployment, "undo_alone_ms", 0);
}

int64_t engine_alone_tick_ms(const struct engine *e)
{
	int64_t after = engine_alone_after_ms(e);
#ifdef DAVIT_TEST_HOOKS
	const char *text = getenv("DAVIT_TEST_TICK_MS");
	long long ms;
	if (text != NULL && str_parse_i64(text, 1, LOCK_TICK_MS, &ms))
		return ms;
#endif
	return after > 0 ? MIN((int64_t)LOCK_TICK_MS, MAX(after / RENEWALS, (int64_t)1)) : LOCK_TICK_MS;
}

static char *place(const struct target *t, const char *name)
{
	return xasprintf("%s/%s", t->lock_dir, name);
}

/* ---- repeated after a lost connection ---- */

typedef int (*work_fn)(struct engine *e, struct etarget *et, struct err *err);

static int again_and_again(struct engine *e, struct etarget *et, work_fn work, struct err *err)
{
	int r = 0;
	for (int i = 0; i < TRIES; i++) {
		r = work(e, et, err);
		if (!engine_again(e, et, r, engine_tries_left_ms(PAUSE_MS, i, TRIES - 1), err) || i + 1 >= TRIES)
			return r;
		int waited = engine_pause(e, PAUSE_MS << i, err);
		if (waited < 0)
			return waited;
		/* Nothing of ours may arrive later: an arming behind its disarming would. */
		int fenced = r == ERR_NETWORK ? 0 : engine_refence(e, et, err);
		if (fenced < 0 && !engine_may_retry(fenced))
			return fenced;
	}
	return r;
}

/* ---- the lines ---- */

static int change_lines(struct estep *s, const struct change *c, struct str *out, struct err *err)
{
	if (change_has(c, CHANGE_BLIND)) {
		if (s->type->undo_alone)
			return s->type->undo_alone(&s->context, c, out, err);
		return err_set(err, ERR_UNSUPPORTED, "its undo needs the machine that deploys");
	}
	/* What was filled beside the rest harms nobody until we come back. */
	if (change_has(c, CHANGE_TREE))
		return 0;
	if (c->type->alone == NULL)
		return err_set(err, ERR_UNSUPPORTED, "its undo needs the machine that deploys");
	c->type->alone(c, out);
	return 0;
}

static int after_lines(struct estep *s, const char *former, struct str *out, struct err *err)
{
	_cleanup_(str_done) struct str after = STR_INIT(64 << 10);
	if (s->type->restore_alone)
		return s->type->restore_alone(&s->context, former, out, err);
	if (s->type->after)
		s->type->after(&s->context, &after);
	return after.len == 0
	               ? 0
	               : err_set(err, ERR_UNSUPPORTED, "what it does after an undo needs the machine that deploys");
}

static void warn(struct estep *s, size_t target, const struct change *c, const struct err *why)
{
	char line[ERR_FRAME_SIZE];
	const char *what = c == NULL ? s->display : change_has(c, CHANGE_BLIND) && c->summary ? c->summary : c->path;
	strv_addf(&s->plans[target].warnings, "'%s' does not take back by itself: %s: %s", s->etargets[target]->name,
	          what, err_line(why, line, sizeof(line)));
}

void engine_alone_warn(struct engine *e, struct estep *s, size_t target)
{
	const struct plan *plan = &s->plans[target];
	_cleanup_(str_done) struct str ignored = STR_INIT(ALONE_MAX);
	struct err why = ERR_INIT;
	if (engine_alone_after_ms(e) <= 0 || plan->count == 0)
		return;
	for (size_t k = 0; k < plan->count; k++) {
		struct err own = ERR_INIT;
		if (plan->changes[k].type && change_lines(s, &plan->changes[k], &ignored, &own) < 0)
			warn(s, target, &plan->changes[k], &own);
	}
	if (after_lines(s, "", &ignored, &why) < 0)
		warn(s, target, NULL, &why);
}

/* ---- laying ---- */

static const struct node_attr ours = {.set_mode = true, .mode = 0600};

static char *step_name(const struct target *t, const struct estep *s)
{
	return xasprintf("%s/alone/a-%06d", t->lock_dir, s->index);
}

/* What runs after the undo; nothing yet where an earlier step gives a value of it. */
static bool after_text(struct engine *e, struct estep *s, const struct etarget *et, struct str *out)
{
	bool there = false;
	for (size_t j = 0; j < s->target_count; j++)
		there = there || s->etargets[j] == et;
	(void)e;
	if (!there || engine_is_unresolved(s->input))
		return false;
	_cleanup_(str_done) struct str lines = STR_INIT(ALONE_MAX);
	if (after_lines(s, et->alone_former, &lines, NULL) < 0 || lines.len == 0)
		return false;
	str_append(out, "former=");
	str_append_shell(out, et->alone_former ? et->alone_former : "");
	str_appendf(out, "\n%s", str_peek(&lines));
	return true;
}

static int put_after(struct engine *e, struct estep *s, struct etarget *et, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(ALONE_MAX);
	_cleanup_free_ char *path = step_name(et->t, s);
	if (!after_text(e, s, et, &text))
		return 0;
	return host_put(et->t, path, str_peek(&text), text.len, &ours, err);
}

static int start_watch(struct etarget *et, struct err *err)
{
	_cleanup_free_ char *watch = place(et->t, "alone/watch");
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	const char *const argv[] = {"/bin/sh", watch, "start", NULL};
	const struct target_command command = {.argv = argv, .timeout_ms = START_MS};
	int r = host_run(et->t, &command, &result, err);
	if (r < 0)
		return err_wrap(err, r, "start the watch of '%s'", et->name);
	if (result.status == 0)
		return 0;
	err_set(err, result.timed_out ? ERR_TIMEOUT : ERR_UNSUPPORTED, "'%s' cannot go back by itself: %s", et->name,
	        result.err.len > 0 ? str_peek(&result.err) : "its watch does not start");
	return err_hint(err, err->code, "leave undo_alone out, or look at '%s' on '%s'", watch, et->name);
}

static int arm(struct engine *e, struct etarget *et, struct err *err)
{
	const struct node_attr dir = {.set_mode = true, .mode = 0700};
	struct target *t = et->t;
	_cleanup_free_ char *alone = place(t, "alone"), *watch = place(t, "alone/watch"), *armed = place(t, "armed");
	_cleanup_(str_done) struct str text = STR_INIT(ALONE_MAX);
	const char *const paths[] = {t->lock_dir};
	alone_program_text(&(struct alone_program){.lock_dir = t->lock_dir,
	                                           .deployment = e->id,
	                                           .token = et->alone_token,
	                                           .after_ms = engine_alone_after_ms(e)},
	                   &text);
	const struct target_op ops[MOST_OPS] = {
		{TARGET_MKDIR, .path = alone, .attr = &dir, .fine = ERR_EXISTS},
		{TARGET_PUT, .path = watch, .data = str_peek(&text), .len = text.len, .attr = &ours},
		{TARGET_PUT, .path = armed, .data = et->alone_token, .len = strlen(et->alone_token), .attr = &ours},
	};
	int r = target_do(t, ops, ARRAY_SIZE(ops), err);
	for (size_t i = 0; r == 0 && i < e->step_count; i++)
		r = put_after(e, &e->steps[i], et, err);
	if (r == 0)
		r = host_barrier(t, paths, 1, err);
	return r < 0 ? r : start_watch(et, err);
}

/* The release that is valid now is the one that an undo leaves. */
static int find_former(struct engine *e, struct etarget *et, struct err *err)
{
	struct plan all = {0};
	for (size_t i = 0; i < e->step_count; i++)
		for (size_t j = 0; j < e->steps[i].target_count; j++)
			for (size_t k = 0; k < e->steps[i].plans[j].count; k++) {
				all.changes = xgrow(all.changes, &all.cap, all.count + 1, sizeof(all.changes[0]));
				all.changes[all.count++] = e->steps[i].plans[j].changes[k];
			}
	int r = engine_former_release(e, &all, et, &et->alone_former, err);
	/* They are the steps'. */
	free(all.changes);
	return r;
}

int engine_alone_arm(struct engine *e, struct err *err)
{
	for (size_t i = 0; engine_alone_after_ms(e) > 0 && i < e->host_count; i++) {
		struct etarget *et = &e->targets[i];
		char token[ALONE_TOKEN_DIGITS + 1];
		rand_hex(token, ALONE_TOKEN_DIGITS);
		et->alone_token = xstrdup(token);
		int r = find_former(e, et, err);
		if (r == 0)
			r = again_and_again(e, et, arm, err);
		if (r < 0)
			return err_wrap(err, r, "let '%s' go back by itself", et->name);
	}
	return 0;
}

int engine_alone_lay(struct engine *e, struct estep *s, struct etarget *et, const struct plan *plan, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(ALONE_MAX);
	struct target *t = et->t;
	if (et->alone_token == NULL || plan->count == 0)
		return 0;
	for (size_t k = plan->count; k-- > 0;)
		if (change_lines(s, &plan->changes[k], &text, NULL) < 0)
			alone_line_stays(&plan->changes[k], change_has(&plan->changes[k], CHANGE_BLIND), &text);
	if (text.failed)
		return err_set(err, ERR_LIMIT, "'%s' cannot go back by itself over more than %d MiB of lines", et->name,
		               ALONE_MAX >> 20);
	_cleanup_free_ char *path = xasprintf("%s/alone/c-%012" PRId64, t->lock_dir, plan->changes[0].id);
	int r = host_put(t, path, str_peek(&text), text.len, &ours, err);
	if (r == 0)
		r = put_after(e, s, et, err);
	/* A target that was started anew since has lost it. */
	return r < 0 ? r : start_watch(et, err);
}

/* ---- disarming ---- */

/* Looked at behind the barrier: a target that put its own token there until then is fenced, and one that does so from now on finds
 * itself disarmed. */
static int disarm(struct engine *e, struct etarget *et, struct err *err)
{
	struct target *t = et->t;
	_cleanup_free_ char *armed = place(t, "armed");
	const char *const paths[] = {t->lock_dir};
	(void)e;
	int r = host_remove(t, armed, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		r = 0;
	}
	if (r == 0)
		r = host_barrier(t, paths, 1, err);
	return r < 0 ? r : lock_guard(t, err);
}

int engine_alone_disarm(struct engine *e, size_t from, struct err *err)
{
	for (size_t i = from; engine_alone_after_ms(e) > 0 && i < e->host_count; i++) {
		int r = e->targets[i].locked ? again_and_again(e, &e->targets[i], disarm, err) : 0;
		if (r < 0)
			return err_wrap(err, r, "let '%s' wait for the decision", e->targets[i].name);
	}
	return 0;
}

void engine_alone_disarm_all(struct engine *e)
{
	for (size_t i = 0; engine_alone_after_ms(e) > 0 && i < e->host_count; i++)
		if (e->targets[i].locked && e->targets[i].t->lock_dir)
			disarm(e, &e->targets[i], NULL);
}

/* ---- hearing ---- */

static int read_said(struct etarget *et, struct alone_said *ret)
{
	_cleanup_free_ char *path = place(et->t, "alone/said");
	_cleanup_(str_done) struct str text = STR_INIT(ALONE_SAID_MAX);
	*ret = (struct alone_said){0};
	int r = host_read(&et->t->view, path, ALONE_SAID_MAX - 1, &text, NULL);
	if (r == 0)
		alone_said_read(str_peek(&text), ret);
	return r;
}

static char *words_of(const struct engine *e, const struct etarget *et, const struct alone_said *said)
{
	char at[CLOCK_TEXT_SIZE], after[CLOCK_TEXT_SIZE];
	const char *host = json_get_string(e->doc, "host");
	return xasprintf("'%s' went back by itself at %s, since nothing was heard from %s for %s%s", et->name,
	                 clock_rfc3339(said->at_ms, at), host ? host : "the machine that deployed",
	                 clock_duration(engine_alone_after_ms(e), after),
	                 !said->ended     ? ", and did not come to its end"
	                 : said->left > 0 ? ", but for what it could not take back alone"
	                                  : "");
}

/* Of a command only its target knows. It speaks for its own ones. */
static void believe_commands(struct engine *e, struct etarget *et)
{
	_cleanup_(plan_done) struct plan copy = {0}, all = {0};
	if (lock_read_changes(&et->t->view, et->t->lock_dir, &copy, NULL) < 0 || engine_changes(e, &all, NULL) < 0)
		return;
	for (size_t i = 0; i < all.count; i++) {
		struct change *c = &all.changes[i];
		if (!change_has(c, CHANGE_BLIND) || c->state == CHANGE_UNDONE || strcmp(c->target, et->name) != 0)
			continue;
		for (size_t k = 0; k < copy.count; k++)
			if (copy.changes[k].id == c->id && copy.changes[k].state == CHANGE_UNDONE)
				store_change_set(e->store, e->id, c, CHANGE_UNDONE, "its target took it back by itself",
				                 NULL);
	}
}

void engine_alone_hear(struct engine *e, struct etarget *et)
{
	struct alone_said said;
	if (engine_alone_after_ms(e) <= 0 || !et->locked || et->went_alone || read_said(et, &said) < 0 || !said.went)
		return;
	_cleanup_free_ char *words = words_of(e, et, &said);
	_cleanup_json_ json_t *data =
		json_pack("{s:s, s:I, s:b, s:I}", "target", et->name, "at_ms", (json_int_t)said.at_ms, "ended",
	                  said.ended, "left", (json_int_t)said.left);
	et->went_alone = true;
	engine_say(e, "warning", "%s", words);
	store_event_add(e->store, e->id, -1, "alone", data, NULL);
	if (e->reason.code == 0)
		err_set(&e->reason, ERR_FAILED, "%s", words);
	believe_commands(e, et);
}

/* Its lock as it is now. A connection that the target's way back has cut is found out by the first question. */
static int read_lock_again(struct etarget *et, json_t **ret, struct err *err)
{
	if (lock_read(&et->t->view, et->t->lock_dir, ret, NULL) == 0)
		return 0;
	return lock_read(&et->t->view, et->t->lock_dir, ret, err);
}

static void tell_who_shut_us_out(struct engine *e, struct etarget *et)
{
	_cleanup_json_ json_t *record = NULL;
	struct alone_said said;
	struct err err = ERR_INIT;
	char line[ERR_FRAME_SIZE];
	if (et->alone_token == NULL || et->t->lock_dir == NULL)
		return;
	if (read_lock_again(et, &record, &err) < 0) {
		engine_say(e, "warning", "'%s' does not say whether it went back by itself: %s", et->name,
		           err_line(&err, line, sizeof(line)));
		return;
	}
	const char *token = json_get_string(record, "token");
	if (token == NULL || strcmp(token, et->alone_token) != 0)
		return;
	if (read_said(et, &said) < 0 || !said.went) {
		engine_say(e, "warning", "'%s' is going back by itself, since nothing was heard from here", et->name);
		return;
	}
	_cleanup_free_ char *words = words_of(e, et, &said);
	engine_say(e, "warning", "%s", words);
}

/* Our own command failed at the lock: perhaps it was the target that shut us out. Without the tick, which would end each of these questions by
 * what we know already: that the lock is lost. */
void engine_alone_fenced(struct engine *e)
{
	int (*tick)(void *, struct err *) = e->wait.tick;
	e->wait.tick = NULL;
	for (size_t i = 0; engine_alone_after_ms(e) > 0 && i < e->host_count; i++)
		tell_who_shut_us_out(e, &e->targets[i]);
	e->wait.tick = tick;
}
