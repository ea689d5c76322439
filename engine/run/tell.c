/* Messages to a person while a deployment continues: a target is out of reach and until when, the current activity. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include "base/core/shown.h"
#include <stdarg.h>

enum { LIVE_AFTER_MS = 2000, LIVE_OWN_MS = 1500, LIVE_MAX = 1000, TIME_FROM = 11, TIME_LEN = 8 };

/* ---- out of reach ---- */

int64_t engine_tries_left_ms(int64_t first, int tried, int tries)
{
	int64_t left = 0;
	for (int i = tried; i < tries; i++)
		left += first << i;
	return left;
}

/* Once for as long as it lasts. */
static void say_away(struct engine *e, struct etarget *et, int64_t left_ms, const struct err *why)
{
	char until[CLOCK_TEXT_SIZE], left[CLOCK_TEXT_SIZE], line[ERR_FRAME_SIZE];
	if (et->away_since != 0)
		return;
	et->away_since = clock_mono_ms();
	clock_rfc3339(clock_wall_ms() + left_ms, until);
	engine_say(e, "warning", "'%s' is out of reach: %s; it is tried until %.*s UTC, for %s", et->name,
	           why && why->code != 0 ? err_line(why, line, sizeof(line)) : "it does not answer", TIME_LEN,
	           until + TIME_FROM, clock_duration(MAX(left_ms, (int64_t)1), left));
}

static void say_back(struct engine *e, struct etarget *et)
{
	char spent[CLOCK_TEXT_SIZE];
	if (et->away_since == 0)
		return;
	engine_say(e, "info", "'%s' answers again after %s", et->name,
	           clock_duration(MAX(clock_mono_ms() - et->away_since, (int64_t)1), spent));
	et->away_since = 0;
}

bool engine_again(struct engine *e, struct etarget *et, int r, int64_t left_ms, const struct err *why)
{
	if (engine_may_retry(r)) {
		say_away(e, et, left_ms, why);
		return true;
	}
	if (r != ERR_CANCELLED)
		say_back(e, et);
	return false;
}

/* ---- the current activity ---- */

void engine_live_begin(struct engine *e, const char *what)
{
	free(e->live_what);
	e->live_what = xstrdup(what);
	e->live_since = clock_mono_ms();
	e->live_own = 0;
}

void engine_live_end(struct engine *e)
{
	free(e->live_what);
	e->live_what = NULL;
	if (e->o->live)
		e->o->live(e->o->report_context, NULL);
}

/* A step that reports its own progress owns the line. */
void engine_live_tick(struct engine *e)
{
	int64_t now = clock_mono_ms();
	if (e->o->live == NULL || e->live_what == NULL || now - e->live_since < LIVE_AFTER_MS ||
	    (e->live_own != 0 && now - e->live_own < LIVE_OWN_MS))
		return;
	long long spent = (now - e->live_since) / 1000;
	_cleanup_free_ char *line = spent < 60 ? xasprintf("%s: %lld s", e->live_what, spent)
	                                       : xasprintf("%s: %lld min %lld s", e->live_what, spent / 60, spent % 60);
	e->o->live(e->o->report_context, line);
}

void engine_live_step(void *engine, const char *fmt, ...)
{
	struct engine *e = engine;
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *line = shown_format(LIVE_MAX, fmt, args);
	va_end(args);
	e->live_own = clock_mono_ms();
	if (e->o->live)
		e->o->live(e->o->report_context, line);
}
