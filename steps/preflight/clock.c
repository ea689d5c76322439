/* A clock that is wrong makes certificates invalid, tokens expired and backups old. */
#include "steps/preflight/preflight.h"

#include "base/core/clock.h"
#include "steps/common/paths.h"

enum { WARN_MS = 10000 };

/* The answer was made between the question and its arrival, and is cut to a second. */
static int64_t distance(int64_t there_ms, int64_t asked_ms, int64_t answered_ms)
{
	if (there_ms + 1000 < asked_ms)
		return there_ms + 1000 - asked_ms;
	return there_ms > answered_ms ? there_ms - answered_ms : 0;
}

int preflight_check_clock(const struct preflight_in *in, struct view *v, struct faults *faults, struct err *err)
{
	_cleanup_(str_done) struct str out = STR_INIT(64 << 10);
	char far[CLOCK_TEXT_SIZE], most[CLOCK_TEXT_SIZE], *end;
	if (in->clock_ms <= 0)
		return 0;
	int64_t asked = clock_wall_ms();
	int r = step_ask(v, "date +%s", NULL, 0, NULL, &out, err);
	int64_t answered = clock_wall_ms();
	if (r < 0)
		return r;
	long long seconds = strtoll(str_peek(&out), &end, 10);
	if (r != 0 || end == str_peek(&out))
		return 0;
	int64_t off = distance(seconds * 1000, asked, answered), size = off < 0 ? -off : off;
	const char *side = off < 0 ? "behind" : "ahead of";
	clock_duration(size, far);
	clock_duration(in->clock_ms, most);
	if (size > in->clock_ms)
		faults_add(faults, NULL, "/clock", "the clock of '%s' is %s %s this machine's, more than %s", v->name,
		           far, side, most);
	else if (size > WARN_MS)
		faults_warn(faults, "/clock", "the clock of '%s' is %s %s this machine's", v->name, far, side);
	else
		return 0;
	faults_hint(faults, "set the one that is wrong (`timedatectl set-ntp true`); `clock` says how much is allowed");
	return 0;
}
