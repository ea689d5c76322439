/* How long the last successes of a check took, and the bounds of that. */
#include "base/core/clock.h"
#include "steps/health_gate/health_gate.h"

enum { KEPT = 20 };

size_t gate_latency_room(const struct health_gate_checks *in)
{
	return in->has_latency ? (size_t)in->latency.samples : KEPT;
}

void gate_latency_add(struct gate_check *check, int64_t ms)
{
	size_t room = gate_latency_room(check->in);
	if (check->latencies == NULL)
		check->latencies = xcalloc(room, sizeof(check->latencies[0]));
	check->latencies[check->latency_next] = ms;
	check->latency_next = (check->latency_next + 1) % room;
	check->latency_count = MIN(check->latency_count + 1, room);
}

static int by_length(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

/* The smallest one that so many of a hundred do not exceed. */
int64_t gate_percentile(const struct gate_check *check, int percent)
{
	size_t count = check->latency_count;
	if (count == 0)
		return -1;
	_cleanup_free_ int64_t *sorted = xmemdup(check->latencies, count * sizeof(sorted[0]));
	qsort(sorted, count, sizeof(sorted[0]), by_length);
	return sorted[(count * (size_t)percent + 99) / 100 - 1];
}

static bool is_within(const struct gate_check *check, int percent, int64_t bound, const char *of, struct str *why)
{
	char is[CLOCK_TEXT_SIZE], wanted[CLOCK_TEXT_SIZE];
	int64_t ms = gate_percentile(check, percent);
	if (ms <= bound)
		return true;
	str_appendf(why, ", but too slowly: %d of 100 take up to %s, wanted %s%s", percent, clock_duration(ms, is),
	            clock_duration(bound, wanted), of);
	return false;
}

bool gate_latency_holds(const struct gate_check *check, struct str *why)
{
	const struct health_gate_checks_latency *in = &check->in->latency;
	if (!check->in->has_latency)
		return true;
	if (check->latency_count < gate_latency_room(check->in)) {
		str_appendf(why, ", measured %zu of %zu times", check->latency_count, gate_latency_room(check->in));
		return false;
	}
	if (in->has_p50 && !is_within(check, 50, in->p50_ms, "", why))
		return false;
	if (in->has_p95 && !is_within(check, 95, in->p95_ms, "", why))
		return false;
	int64_t before = in->has_times ? gate_baseline_p95(check->gate->c, check->in) : -1;
	/* A clock of milliseconds tells nothing of what takes less than one. */
	return before < 0 || is_within(check, 95, (int64_t)((double)MAX(before, 1) * in->times + 0.5),
	                               " after what it was before", why);
}

json_t *gate_latency_json(const struct gate_check *check)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "count", (json_int_t)check->latency_count, "p50",
	                 (json_int_t)gate_percentile(check, 50), "p95", (json_int_t)gate_percentile(check, 95), "max",
	                 (json_int_t)gate_percentile(check, 100));
}
