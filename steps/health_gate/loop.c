/* Who is asked when: one event loop for what is asked from here, and for the answers of the targets' threads. */
#include "base/core/clock.h"
#include "base/secret/mask.h"
#include "steps/health_gate/health_gate.h"

enum { TURN_MS = 1000, BACKOFF_START = 4, LAST_WORD_MS = 1000 };

static char *label_of(const struct health_gate_checks *in, const struct probe_type *type)
{
	_cleanup_(str_done) struct str text = STR_INIT(64 << 10), masked = STR_INIT(256 << 10);
	if (in->name != NULL)
		str_append(&text, in->name);
	else
		type->label(in, &text);
	mask_apply(mask_process(), str_peek(&text), text.len, &masked);
	return str_take(&masked);
}

void gate_init(struct gate *g, const struct step_context *c, bool baseline)
{
	const struct health_gate_in *in = c->input;
	*g = (struct gate){.c = c, .baseline = baseline, .wait = c->wait, .woken_fd = -1, .stop_fd = -1};
	g->checks = xcalloc(in->checks_count + 1, sizeof(*g->checks));
	g->started_mono_ms = clock_mono_ms();
	g->deadline_mono_ms = baseline ? 0 : g->started_mono_ms + in->deadline_ms;
}

int gate_add(struct gate *g, const struct health_gate_checks *in, struct err *err)
{
	struct gate_check *check = &g->checks[g->count++];
	*check = (struct gate_check){
		.in = in, .type = probe_type_of(in), .gate = g, .seen = STR_INIT(64 << 10), .answer = {.status = -1}};
	check->answer.seen = (struct str)STR_INIT(128 << 10);
	check->answer.begins = (struct str)STR_INIT(GATE_BODY_MAX);
	check->label = label_of(in, check->type);
	check->pause_ms = MAX(in->interval_ms / BACKOFF_START, 1);
	if (!gate_is_there(in, check->type))
		return 0;
	check->target = gate_find_target(g->c, in->from != NULL ? in->from : in->target);
	return check->target != NULL ? 0 : err_set(err, ERR_INVALID, "the check '%s' needs a target", check->label);
}

void gate_done(struct gate *g)
{
	gate_lanes_close(g);
	for (size_t i = 0; i < g->count; i++) {
		struct gate_check *check = &g->checks[i];
		if (check->type->stop != NULL)
			check->type->stop(check);
		gate_answer_done(&check->answer);
		str_done(&check->seen);
		strv_done(&check->log);
		free(check->incarnation);
		free(check->latencies);
		free(check->label);
	}
	free(TAKE(g->checks));
	g->count = 0;
}

int64_t gate_left_ms(const struct gate_check *check)
{
	int64_t own = check->in->timeout_ms;
	return check->gate->baseline ? own : MIN(own, MAX(check->gate->deadline_mono_ms - clock_mono_ms(), 1));
}

/* A check of a baseline has one try, or as many successes as its latency is measured by. */
static bool is_finished(const struct gate_check *check)
{
	return check->passed || (check->gate->baseline && check->tries > 0 && !check->last_ok);
}

static bool is_due(const struct gate_check *check, int64_t now)
{
	return !check->in_flight && !is_finished(check) && now >= check->next_mono_ms;
}

static bool is_over(const struct gate *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->checks[i].in_flight || !is_finished(&g->checks[i]))
			return false;
	return true;
}

bool gate_is_healthy(const struct gate *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (!g->checks[i].passed)
			return false;
	return true;
}

static void start_try(struct gate_check *check)
{
	struct gate_answer *a = &check->answer;
	gate_answer_done(a);
	a->seen = (struct str)STR_INIT(128 << 10);
	a->begins = (struct str)STR_INIT(GATE_BODY_MAX);
	a->status = -1;
	a->ms = -1;
	a->cut = false;
	check->started_mono_ms = clock_mono_ms();
	if (check->target != NULL && !gate_lane_start(check))
		return;
	check->in_flight = true;
	check->tries++;
	if (check->target == NULL)
		check->type->start(check);
}

/* Of those that wait for one target the one that has waited longest. */
static bool is_first(const struct gate *g, const struct gate_check *check, int64_t now)
{
	for (size_t i = 0; check->target != NULL && i < g->count; i++) {
		const struct gate_check *other = &g->checks[i];
		if (other->target == check->target && is_due(other, now) && other->next_mono_ms < check->next_mono_ms)
			return false;
	}
	return true;
}

static void start_due(struct gate *g)
{
	int64_t now = clock_mono_ms();
	for (size_t i = 0; i < g->count; i++)
		if (is_due(&g->checks[i], now) && is_first(g, &g->checks[i], now))
			start_try(&g->checks[i]);
}

static void take_answers(struct gate *g)
{
	gate_lanes_collect(g);
	for (size_t i = 0; i < g->count; i++)
		if (g->checks[i].in_flight && g->checks[i].target == NULL && g->checks[i].answered)
			gate_take(&g->checks[i]);
}

static bool is_polled(const struct gate_check *check)
{
	return check->target == NULL && check->in_flight && !check->answered && check->type->poll != NULL;
}

/* Until when nothing has to be started or timed out. What waits for a lane is woken by it. */
static int64_t next_turn_ms(const struct gate *g, int64_t now)
{
	int64_t next = now + TURN_MS;
	for (size_t i = 0; i < g->count; i++) {
		const struct gate_check *check = &g->checks[i];
		if (is_polled(check))
			next = MIN(next, check->started_mono_ms + check->in->timeout_ms);
		else if (!check->in_flight && !is_finished(check) &&
		         (check->target == NULL || check->next_mono_ms > now))
			next = MIN(next, check->next_mono_ms);
	}
	if (g->deadline_mono_ms > now)
		next = MIN(next, g->deadline_mono_ms);
	return MAX(next - now, 0);
}

static int wait_turn(struct gate *g, struct err *err)
{
	_cleanup_free_ struct pollfd *fds = xcalloc(g->count + 2, sizeof(*fds));
	size_t count = 0;
	if (g->wait->cancel_fd >= 0)
		fds[count++] = (struct pollfd){.fd = g->wait->cancel_fd, .events = POLLIN};
	if (g->woken_fd >= 0)
		fds[count++] = (struct pollfd){.fd = g->woken_fd, .events = POLLIN};
	for (size_t i = 0; i < g->count; i++)
		if (is_polled(&g->checks[i]))
			g->checks[i].type->poll(&g->checks[i], &fds[count++]);
	int r = http_step(g->http, fds, count, next_turn_ms(g, clock_mono_ms()), err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < g->count; i++)
		if (is_polled(&g->checks[i]))
			g->checks[i].type->turn(&g->checks[i]);
	/* The tick (the lock's renewal) is due by time only. */
	return wait_ms(g->wait, 0, err);
}

/* Whoever is being asked when the deadline comes has it as its own limit, and is about to say so. */
static bool has_last_words(const struct gate *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->checks[i].target != NULL && g->checks[i].in_flight)
			return clock_mono_ms() < g->deadline_mono_ms + LAST_WORD_MS;
	return false;
}

int gate_run(struct gate *g, struct err *err)
{
	int r = gate_lanes_open(g, err);
	while (r >= 0 && !is_over(g)) {
		bool late = !g->baseline && clock_mono_ms() >= g->deadline_mono_ms;
		if (late && !has_last_words(g))
			break;
		r = wait_check(g->wait, err);
		if (r < 0)
			break;
		if (!late)
			start_due(g);
		take_answers(g);
		if (!is_over(g))
			r = wait_turn(g, err);
		take_answers(g);
	}
	return r < 0 ? r : 0;
}
