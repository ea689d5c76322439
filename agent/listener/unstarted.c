/* A job that this agent took and does not start: its page has no worker's log, so the listener writes one. "Set up job" fails, and says
 * which rule of this host or which fault it was, before the job is completed as failed. What the service does not take of it is left out. */
#include "agent/listener/lease_priv.h"

#include "agent/service/results.h"
#include "base/core/clock.h"
#include "base/core/rand.h"

#include <stdio.h>

enum { LINES_MAX = 64 << 10, TELL_MS = 15000, LOOK_MS = 20 };

struct unstarted {
	struct results *results;
	char step_id[37];
	int64_t begun_wall_ms, until_ms;
};

static const char step_name[] = "Set up job";

void unstarted_free(struct unstarted *u)
{
	if (u == NULL)
		return;
	results_free(u->results);
	free(u);
}

static void add_line(struct str *log, int64_t *lines, const char *prefix, const char *text, size_t len)
{
	char when[CLOCK_TEXT_SIZE];
	str_appendf(log, "%s %s", clock_rfc3339_ticks(clock_wall_ms(), when), prefix);
	/* A repository chose parts of it: its name does not steer a terminal. */
	for (size_t i = 0; i < len; i++)
		str_append_c(log, (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i]);
	str_append_c(log, '\n');
	(*lines)++;
}

static char *log_text(const struct lease *j, size_t *ret_len, int64_t *ret_lines)
{
	struct str log = STR_INIT(LINES_MAX);
	_cleanup_free_ char *runner = xasprintf("Runner name: '%s'", j->endpoint->reg.name);
	*ret_lines = 0;
	add_line(&log, ret_lines, "", runner, strlen(runner));
	const char *prefix = "##[error]";
	for (const char *p = j->explanation; *p != '\0'; prefix = "") {
		size_t len = strcspn(p, "\n");
		add_line(&log, ret_lines, prefix, p, len);
		p += len + (p[len] == '\n');
	}
	*ret_len = log.len;
	return str_take(&log);
}

void unstarted_tell(struct lease *j)
{
	if (j->results_base == NULL || j->endpoint == NULL) {
		lease_complete_as(j, "failed", TAKE(j->explanation));
		return;
	}
	struct unstarted *u = xcalloc(1, sizeof(*u));
	u->results = results_new(j->listener->http, j->results_base, &j->run);
	u->begun_wall_ms = clock_wall_ms();
	u->until_ms = clock_mono_ms() + TELL_MS;
	rand_uuid4(u->step_id);
	j->unstarted = u;
	j->phase = LEASE_COMPLETING;
	j->conclusion = "failed";
	j->tries = 0;
	lease_close_input(j);
	const struct results_step step = {.id = u->step_id,
	                                  .number = 1,
	                                  .name = step_name,
	                                  .started_wall_ms = u->begun_wall_ms,
	                                  .completed_wall_ms = u->begun_wall_ms,
	                                  .status = RESULTS_COMPLETED,
	                                  .conclusion = RESULTS_FAILURE};
	size_t len;
	int64_t lines;
	char *log = log_text(j, &len, &lines);
	results_step(u->results, &step);
	results_log(u->results, u->step_id, xstrndup(log, len), len, true, true, lines);
	results_log(u->results, NULL, log, len, true, true, lines);
	j->due_ms = clock_mono_ms() + LOOK_MS;
}

bool unstarted_is_told(struct lease *j)
{
	struct unstarted *u = j->unstarted;
	if (u->results == NULL)
		return true;
	if (!results_is_idle(u->results) && clock_mono_ms() < u->until_ms && !j->listener->stopping) {
		j->due_ms = clock_mono_ms() + LOOK_MS;
		return false;
	}
	results_free(TAKE(u->results));
	return true;
}

json_t *unstarted_steps(const struct unstarted *u)
{
	char when[CLOCK_TEXT_SIZE];
	clock_rfc3339(u->begun_wall_ms, when);
	return json_pack("[{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:[]}]", "external_id", u->step_id, "number",
	                 1, "name", step_name, "action_name", "setup_job", "type", "runner", "status", "completed",
	                 "conclusion", "failed", "started_at", when, "completed_at", when, "annotations");
}
