/* What only the running agent knows: its sessions, jobs, refusals. */
#include "agent/listener/endpoint_priv.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/sys/fs_usage.h"

enum { REFUSALS_KEPT = 50, PROGRESS_MAX = 8192, HEALTHY_MS = 5 * 60 * 1000 };

static json_t *text_or_null(const char *text)
{
	return text != NULL ? json_string_lossy(text, strlen(text)) : json_null();
}

static json_t *time_or_null(int64_t wall_ms)
{
	char when[CLOCK_TEXT_SIZE];
	return wall_ms > 0 ? json_string(clock_rfc3339(wall_ms, when)) : json_null();
}

static const char *step_name(const struct endpoint *e)
{
	static const char *const names[] = {
		[STEP_TOKEN] = "asking for a token", [STEP_SESSION] = "opening a session",
		[STEP_POLL] = "listening",           [STEP_HOLD] = "taking a job",
		[STEP_RENEW] = "registering again",  [STEP_VERSION] = "waiting for a newer version",
		[STEP_DELETE] = "closing",           [STEP_ENDED] = "stopped"};
	return e->step == STEP_POLL && e->due_ms != 0 ? "waiting to ask again" : names[e->step];
}

static const char *phase_name(enum lease_phase phase)
{
	static const char *const names[] = {
		[LEASE_WAITING] = "waiting for a slot", [LEASE_ACKNOWLEDGE] = "being acquired",
		[LEASE_TOKEN] = "being acquired",       [LEASE_ACQUIRE] = "being acquired",
		[LEASE_RENEW] = "being acquired",       [LEASE_RUNNING] = "running",
		[LEASE_CLEARING] = "its worker died",   [LEASE_RECOVERING] = "its deployment is being decided",
		[LEASE_COMPLETING] = "being reported",  [LEASE_OVER] = "over"};
	return names[phase];
}

static json_t *describe_endpoint(const struct endpoint *e)
{
	json_t *answer = json_null();
	if (e->last_wall_ms > 0) {
		answer = json_object();
		json_object_set_new(answer, "at", time_or_null(e->last_wall_ms));
		json_object_set_new(answer, "status", json_integer(e->last_status));
	}
	return json_pack("{s:s, s:b, s:o, s:o, s:i, s:I, s:I, s:b}", "step", step_name(e), "session",
	                 e->session != NULL && e->step != STEP_ENDED, "last_poll", time_or_null(e->answered_wall_ms),
	                 "last_answer", answer, "jobs", e->jobs, "refused", (json_int_t)e->refused, "area_bytes",
	                 (json_int_t)e->area_bytes, "full", e->full);
}

/* The worker's word, in a directory of its user's. */
static json_t *read_step(const struct lease *j)
{
	_cleanup_(str_done) struct str text = STR_INIT(PROGRESS_MAX);
	_cleanup_json_ json_t *said = NULL;
	if (j->progress == NULL || j->phase != LEASE_RUNNING ||
	    fs_read_plain(AT_FDCWD, j->progress, PROGRESS_MAX, &text, NULL) < 0 ||
	    json_parse(str_peek(&text), text.len, PROGRESS_MAX, &said, NULL) < 0)
		return json_null();
	/* That of the job before may still lie there. */
	const char *job = json_get_string(said, "tracking_id"), *name = json_get_string(said, "name");
	if (job == NULL || strcmp(job, j->tracking_id) != 0)
		return json_null();
	return json_pack("{s:I, s:o}", "number", (json_int_t)json_get_int(said, "number", 0), "name",
	                 text_or_null(name));
}

static json_t *lease_end(const struct lease *j)
{
	return j->locked_until_ms == 0 ? json_null()
	                               : time_or_null(clock_wall_ms() + j->locked_until_ms - clock_mono_ms());
}

static json_t *describe_job(const struct lease *j)
{
	json_t *job = json_object();
	json_object_set_new(job, "name", text_or_null(j->run.name));
	json_object_set_new(job, "repository", text_or_null(json_get_string(j->report, "repository")));
	json_object_set_new(job, "run_id", text_or_null(json_get_string(j->report, "run_id")));
	json_object_set_new(job, "registration", text_or_null(j->endpoint != NULL ? j->endpoint->id : NULL));
	json_object_set_new(job, "phase", json_string(phase_name(j->phase)));
	json_object_set_new(job, "began", time_or_null(j->began_wall_ms));
	json_object_set_new(job, "lease_until", lease_end(j));
	json_object_set_new(job, "cancelled", json_boolean(j->cancelled));
	json_object_set_new(job, "step", read_step(j));
	return job;
}

static json_t *describe_disk(const struct listener *l)
{
	int64_t free_bytes = 0, size = 0;
	if (fs_free_space(l->state_dir, &free_bytes, &size, NULL) < 0)
		return json_null();
	return json_pack("{s:s, s:I, s:I}", "path", l->state_dir, "free", (json_int_t)free_bytes, "size",
	                 (json_int_t)size);
}

bool listener_is_healthy(const struct listener *l)
{
	int64_t now_ms = clock_mono_ms();
	bool any = false;
	for (size_t i = 0; i < l->endpoint_count; i++) {
		const struct endpoint *e = l->endpoints[i];
		if (e->step == STEP_ENDED && e->exit_code == LISTEN_DONE)
			continue;
		if (e->session == NULL || now_ms - e->heard_ms > HEALTHY_MS)
			return false;
		any = true;
	}
	return any;
}

void listener_note_refusal(struct listener *l, const struct lease *j, const char *rule, const char *reason)
{
	json_t *refusal = json_object();
	if (l->refusals == NULL)
		l->refusals = json_array();
	if (json_array_size(l->refusals) >= REFUSALS_KEPT)
		json_array_remove(l->refusals, 0);
	json_object_set_new(refusal, "at", time_or_null(clock_wall_ms()));
	json_object_set_new(refusal, "job", text_or_null(j->run.name));
	json_object_set_new(refusal, "repository", text_or_null(json_get_string(j->report, "repository")));
	json_object_set_new(refusal, "rule", text_or_null(rule));
	json_object_set_new(refusal, "reason", text_or_null(reason));
	json_array_append_new(l->refusals, refusal);
	l->refusal_count++;
}

json_t *listener_live(const struct listener *l)
{
	json_t *live = json_object(), *registrations = json_object(), *jobs = json_array();
	size_t recoveries = 0;
	for (size_t i = 0; i < l->endpoint_count; i++)
		if (l->endpoints[i]->id != NULL)
			json_object_set_new(registrations, l->endpoints[i]->id, describe_endpoint(l->endpoints[i]));
	for (const struct lease *j = l->jobs; j != NULL; j = j->next)
		if (j->phase != LEASE_OVER)
			json_array_append_new(jobs, describe_job(j));
	for (const struct recovery *r = l->recoveries; r != NULL; r = r->next)
		recoveries += !r->over;
	json_object_set_new(live, "pid", json_integer(getpid()));
	json_object_set_new(live, "version", json_string(DAVIT_VERSION));
	json_object_set_new(live, "runner_version", json_string(wire_runner_version()));
	json_object_set_new(live, "version_source", version_describe(l));
	json_object_set_new(live, "started", time_or_null(l->started_wall_ms));
	json_object_set_new(live, "healthy", json_boolean(listener_is_healthy(l)));
	json_object_set_new(live, "stopping", json_boolean(l->stopping || l->draining));
	json_object_set_new(live, "slots", json_integer(l->options.slots));
	json_object_set_new(live, "registrations", registrations);
	json_object_set_new(live, "jobs", jobs);
	json_object_set_new(live, "refusals",
	                    json_pack("{s:I, s:o}", "count", (json_int_t)l->refusal_count, "last",
	                              l->refusals != NULL ? json_incref(l->refusals) : json_array()));
	json_object_set_new(live, "recoveries", json_integer((json_int_t)recoveries));
	json_object_set_new(live, "disk", describe_disk(l));
	json_object_set_new(live, "update", update_describe(l));
	return live;
}
