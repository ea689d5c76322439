/* Connecting the targets: those on other machines at the same time, so that one that hangs does not keep the others. */
#include "engine/run/run_priv.h"
#include "engine/target/each.h"

enum { OPEN_TRIES = 3, OPEN_PAUSE_MS = 500, OPEN_DEADLINE_MS = 60000 };

/* If the target's error names the target, that is enough. */
static int name_target(const struct etarget *et, int r, struct err *err)
{
	if (r < 0 && err && err->frame_count > 0 && str_starts(err->frames[err->frame_count - 1].text, "target '"))
		return r;
	return r < 0 ? err_wrap(err, r, "target '%s'", et->name) : 0;
}

int engine_open_target(struct engine *e, struct etarget *et, struct err *err)
{
	int r = 0;
	for (int i = 0; i < OPEN_TRIES; i++) {
		r = target_open(&et->t->view, err);
		if (i + 1 == OPEN_TRIES ||
		    !engine_again(e, et, r, engine_tries_left_ms(OPEN_PAUSE_MS, i, OPEN_TRIES - 1), err))
			break;
		int waited = engine_pause(e, OPEN_PAUSE_MS << i, NULL);
		if (waited < 0)
			break;
	}
	return name_target(et, r, err);
}

static int open_one(void *context, size_t index, struct view *v, struct err *err)
{
	(void)context;
	(void)index;
	err_clear(err);
	return target_open(v, err);
}

static bool is_remote(const struct etarget *et)
{
	return target_config_kind(&et->config)->is_remote;
}

/* results: 1: to be tried. Another machine's on threads of their own, where there are several; the rest here. */
static void try_round(struct engine *e, int *results, struct err *errs)
{
	_cleanup_free_ struct view **views = xcalloc(e->target_count + 1, sizeof(*views));
	size_t remote = 0;
	for (size_t i = 0; i < e->target_count; i++)
		if (results[i] > 0 && is_remote(&e->targets[i]))
			remote++, views[i] = &e->targets[i].t->view;
	if (remote > 1)
		target_each(views, e->target_count, &e->wait, OPEN_DEADLINE_MS, open_one, NULL, results, errs);
	for (size_t i = 0; i < e->target_count; i++)
		if (results[i] > 0)
			results[i] = open_one(NULL, i, &e->targets[i].t->view, &errs[i]);
}

static bool is_cancelled(const struct engine *e, const int *results)
{
	for (size_t i = 0; i < e->target_count; i++)
		if (results[i] == ERR_CANCELLED)
			return true;
	return false;
}

/* looking: those that are only looked at too. Whoever takes something back, or ends it, needs none of them. */
static void open_all(struct engine *e, bool looking, int *results, struct err *errs)
{
	for (size_t i = 0; i < e->target_count; i++)
		results[i] = looking || !e->targets[i].config.host.read_only;
	for (int round = 0; round < OPEN_TRIES; round++) {
		bool again = false;
		try_round(e, results, errs);
		if (round + 1 == OPEN_TRIES || is_cancelled(e, results))
			break;
		for (size_t i = 0; i < e->target_count; i++) {
			int64_t left = engine_tries_left_ms(OPEN_PAUSE_MS, round, OPEN_TRIES - 1);
			/* Only those that may come back are tried once more. */
			if (engine_again(e, &e->targets[i], results[i], left, &errs[i])) {
				results[i] = 1;
				again = true;
			}
		}
		if (!again)
			break;
		if (engine_pause(e, OPEN_PAUSE_MS << round, NULL) < 0) {
			for (size_t i = 0; i < e->target_count; i++)
				results[i] = results[i] > 0 ? ERR_CANCELLED : results[i];
			break;
		}
	}
	for (size_t i = 0; i < e->target_count; i++)
		name_target(&e->targets[i], results[i], &errs[i]);
}

int engine_open_targets(struct engine *e, struct err *err)
{
	_cleanup_free_ int *results = xcalloc(e->target_count + 1, sizeof(*results));
	_cleanup_free_ struct err *errs = xcalloc(e->target_count + 1, sizeof(*errs));
	int ret = 0;
	open_all(e, false, results, errs);
	for (size_t i = 0; i < e->target_count; i++) {
		char line[ERR_FRAME_SIZE];
		if (results[i] == 0)
			continue;
		if (ret < 0) {
			engine_say(e, "error", "%s", err_line(&errs[i], line, sizeof(line)));
			if (errs[i].hint[0] != '\0')
				engine_say(e, "info", "  %s", errs[i].hint);
		} else if (err) {
			*err = errs[i];
		}
		ret = ret < 0 ? ret : results[i];
	}
	return ret;
}

int engine_reach(struct engine *e, struct err *err)
{
	_cleanup_free_ int *results = xcalloc(e->target_count + 1, sizeof(*results));
	_cleanup_free_ struct err *errs = xcalloc(e->target_count + 1, sizeof(*errs));
	open_all(e, true, results, errs);
	for (size_t i = 0; i < e->target_count; i++) {
		if (results[i] == 0)
			continue;
		e->targets[i].unreached = true;
		if (!engine_find(e, NULL, e->targets[i].name, results[i], &errs[i])) {
			if (err)
				*err = errs[i];
			return results[i];
		}
	}
	return 0;
}
