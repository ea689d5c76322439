/* The engine's public entry: deploy and plan. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include "base/core/shown.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- helpers ---- */

const char *step_releases_path(const char *step, const json_t *input)
{
	const struct step_info *info = step != NULL ? step_info(step) : NULL;
	return info != NULL && info->releases != NULL ? json_get_string(input, info->releases) : NULL;
}

void engine_say(struct engine *e, const char *level, const char *fmt, ...)
{
	if (e->o->report == NULL)
		return;
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *line = shown_format(ENGINE_MAX_LINE - 1, fmt, args);
	va_end(args);
	e->o->report(e->o->report_context, level, line);
}

json_t *engine_line(const struct err *err)
{
	char line[ERR_FRAME_SIZE * 2];
	err_line(err, line, sizeof(line));
	return json_string_lossy(line, strlen(line));
}

bool engine_may_retry(int code)
{
	return code == ERR_NETWORK || code == ERR_TIMEOUT || code == ERR_UNKNOWN;
}

int engine_pause(struct engine *e, int64_t ms, struct err *err)
{
	return wait_ms(&e->wait, ms, err);
}

/* ---- deploy and plan ---- */

int engine_look(struct engine *e, struct err *err)
{
	engine_begin_steps(e);
	int r = engine_reach(e, err);
	if (r == 0 && e->found.count == 0)
		r = engine_lock_all(e, err);
	if (r == 0)
		r = engine_examine(e, true, err);
	return r == 0 ? engine_check_expected(e, err) : r;
}

static int open_deployment(struct engine *e, struct err *err)
{
	int r = engine_baseline(e, err);
	if (r == 0)
		r = engine_alone_arm(e, err);
	if (r == 0)
		r = engine_set_state(
			e, DEPLOYMENT_OPEN,
			json_pack("{s:s, s:o}", "plan_digest", e->digest, "targets", engine_targets_json(e)), err);
	return r;
}

int engine_refused_status(int code)
{
	switch (code) {
	case ERR_LOCKED:
		return 5;
	case ERR_CANCELLED:
		return 130;
	case ERR_CONFLICT:
		return 3;
	default:
		return 2;
	}
}

int engine_carry_out(struct engine *e, struct engine_result *ret, struct err *err)
{
	int r = open_deployment(e, err);
	if (r < 0)
		return r;
	r = engine_apply_all(e, err);
	if (r == 0)
		r = engine_commit(e, err);
	if (r < 0)
		engine_fail(e, r, err, ret);
	else
		engine_result_fill(e, ret, 0);
	return 0;
}

static void deploy(struct engine *e, struct engine_result *ret, struct err *err)
{
	int r = engine_begin(e, err);
	if (r < 0) {
		engine_result_fill(e, ret, engine_refused_status(r));
		return;
	}
	r = engine_look(e, err);
	if (r == 0 && engine_must_wait(e)) {
		engine_result_fill(e, ret, engine_park_planned(e, err));
		return;
	}
	if (r == 0)
		r = engine_carry_out(e, ret, err);
	if (r < 0) {
		int status = engine_refused_status(r);
		engine_refuse(e, status, err);
		engine_result_fill(e, ret, status);
	}
}

int engine_deploy(const struct deployment *deployment, const struct engine_options *o, struct engine_result *ret,
                  struct err *err)
{
	_cleanup_(engine_done) struct engine e;
	memset(ret, 0, sizeof(*ret));
	int r = engine_load(&e, deployment, o, err);
	if (r == 0)
		r = engine_validate(&e, err);
	if (r < 0) {
		ret->state = DEPLOYMENT_REFUSED;
		engine_result_fill(&e, ret, engine_refused_status(r));
		return 0;
	}
	engine_recover_environment(o, e.name, e.environment);
	deploy(&e, ret, err);
	return 0;
}

/* A command says nothing of how the world is, what is not known yet nothing of how it shall be, and what is only adopted is as described. */
bool engine_is_drift(const struct change *c)
{
	return c->action != ACTION_ADOPT && c->action != ACTION_RUN && !change_has(c, CHANGE_ASIDE) &&
	       !change_has(c, CHANGE_LATER);
}

static size_t count_drift(const struct engine *e)
{
	size_t count = 0;
	for (size_t i = 0; i < e->step_count; i++)
		for (size_t j = 0; e->steps[i].plans != NULL && j < e->steps[i].target_count; j++)
			for (size_t k = 0; k < e->steps[i].plans[j].count; k++)
				count += engine_is_drift(&e->steps[i].plans[j].changes[k]);
	return count;
}

int engine_plan(const struct deployment *deployment, const struct engine_options *o, struct engine_result *ret,
                struct err *err)
{
	_cleanup_(engine_done) struct engine e;
	memset(ret, 0, sizeof(*ret));
	int r = engine_load(&e, deployment, o, err);
	if (r == 0)
		r = engine_validate(&e, err);
	if (r == 0)
		engine_begin_steps(&e);
	if (r == 0)
		r = engine_reach(&e, err);
	if (r == 0)
		r = engine_rows_look(&e, err);
	if (r == 0)
		r = engine_examine(&e, true, err);
	if (r == 0 && o->planned)
		ret->planned = engine_without_secrets(e.digested);
	if (r == 0)
		r = engine_check_expected(&e, err);
	ret->state = DEPLOYMENT_PREPARING;
	ret->drift = r == 0 && o->refresh ? count_drift(&e) : 0;
	if (ret->drift > 0)
		err_set(err, ERR_CONFLICT, "not as described: %zu change%s would bring that back", ret->drift,
		        ret->drift == 1 ? "" : "s");
	engine_result_fill(&e, ret, r < 0 ? engine_refused_status(r) : ret->drift > 0 ? 6 : 0);
	return 0;
}
