/* report: the end of a job to the service: the uploads that are left, then the result. It lies on this disk before it is sent, so that
 * neither a network that is away nor the end of this process loses it. */
#include "agent/worker/kept.h"

#include "agent/service/wire.h"
#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/net/http.h"
#include "base/sys/fs.h"

#include <fcntl.h>

enum {
	DRAIN_MS = 60000,          /* of the uploads */
	DRAIN_SHORT_MS = 2000,     /* of them before the result is put on the disk */
	REPORT_RESERVE_MS = 15000, /* of the listener's time limit: for the last messages */
	CALL_MS = 100000,
	COMPLETE_MS = 10 * 60 * 1000,
	LAST_TRIES = 2, /* once the agent is told to stop */
	LAST_PAUSE_MS = 1000,
};

static void drain_until(struct job *j, int64_t until)
{
	while (!reports_is_idle(j->reports)) {
		int64_t left = until - clock_mono_ms();
		if (left <= 0)
			break;
		job_turn(j, NULL, 0, left);
	}
}

static int64_t drain_limit(const struct job *j)
{
	int64_t until = clock_mono_ms() + DRAIN_MS;
	if (j->cancel.deadline_mono_ms != 0)
		until = MIN(until, MAX(j->cancel.deadline_mono_ms - REPORT_RESERVE_MS / 2, clock_mono_ms() + 1000));
	return until;
}

/* Those that ended, in the order of their ends. */
static json_t *step_results(struct job *j)
{
	_cleanup_free_ struct record **ended = xcalloc((size_t)j->completions + 1, sizeof(ended[0]));
	json_t *steps = json_array();
	for (size_t i = 0; i < j->record_count; i++)
		ended[j->records[i]->completion] = j->records[i];
	for (int i = 1; i <= j->completions; i++)
		if (ended[i] != NULL)
			json_array_append_new(steps, record_result(j, ended[i]));
	return steps;
}

static json_t *completion(struct job *j)
{
	json_t *body = runservice_completion(&j->run, result_wire(j->result));
	json_object_set_new(body, "outputs", json_deep_copy(j->outputs));
	json_object_set_new(body, "stepResults", step_results(j));
	json_object_set_new(body, "annotations", json_deep_copy(j->annotations));
	json_object_set_new(body, "telemetry", telemetry_end(j));
	if (j->environment_url != NULL)
		json_object_set_new(body, "environmentUrl", json_string(j->environment_url));
	return body;
}

/* ---- one try after the other, while the listener is heard: an agent that is told to stop does not wait for a network ---- */

struct sending {
	const struct run_job *job;
	bool done;
	enum runservice_end end;
	bool taken; /* perhaps, by an earlier try (runservice_completed) */
	int64_t asked_ms;
	struct err err;
};

static void try_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct sending *s = context;
	s->done = true;
	s->end = runservice_completed(s->job, result, response, failure, &s->taken, &s->err);
	s->asked_ms = result >= 0 ? http_retry_after_ms(response) : -1;
}

/* One of the requests that the end takes. False: there is no such one. */
static bool send_request(struct job *j, const json_t *body, int index, struct sending *s)
{
	struct service_request q = {.url = NULL};
	*s = (struct sending){.job = &j->run, .end = RUNSERVICE_LATER, .taken = s->taken, .asked_ms = -1};
	int r = j->run.type->complete(&j->run, body, index, &q, &s->err);
	if (r > 0 && service_request_start(j->http, &q, j->run.token, try_done, s, &s->err) == NULL)
		s->done = true;
	service_request_done(&q);
	if (r < 0)
		s->end = RUNSERVICE_REFUSED;
	/* A cancel does not give it up: the service may have it already. */
	while (r > 0 && !s->done)
		job_turn(j, NULL, 0, CALL_MS);
	return r > 0;
}

/* The last request decides, and whether that one arrived. */
static void try_once(struct job *j, const json_t *body, struct sending *s)
{
	struct sending next = {.taken = s->taken};
	bool more = send_request(j, body, 0, s);
	for (int index = 1; more; index++) {
		more = send_request(j, body, index, &next);
		if (more)
			*s = next;
	}
}

static bool refused(const json_t **body, json_t **smaller, const json_t *whole, int refusals, const struct err *err)
{
	char line[ERR_FRAME_SIZE];
	err_line(err, line, sizeof(line));
	log_warning("worker", "the service refuses the result: %s", line);
	json_decref(*smaller);
	*body = *smaller = runservice_smaller(whole, refusals, line);
	return *body != NULL;
}

static enum runservice_end report_completion(struct job *j, const json_t *whole, enum result *result, bool *taken,
                                             struct err *err)
{
	int64_t until = clock_mono_ms() + COMPLETE_MS;
	struct sending s = {.end = RUNSERVICE_LATER};
	_cleanup_json_ json_t *smaller = NULL;
	const json_t *body = whole;
	for (int tries = 1, refusals = 0, last = 0;; tries++) {
		try_once(j, body, &s);
		if (s.end == RUNSERVICE_REFUSED && refused(&body, &smaller, whole, ++refusals, &s.err))
			continue;
		if (s.end != RUNSERVICE_LATER || tries >= RUNSERVICE_COMPLETE_TRIES || clock_mono_ms() >= until ||
		    (j->cancel.shutdown && ++last >= LAST_TRIES))
			break;
		int64_t pause = j->cancel.shutdown ? LAST_PAUSE_MS : runservice_complete_pause(tries, s.asked_ms);
		struct err word = ERR_INIT;
		(void)job_pause(j, pause, &word);
	}
	if (s.end == RUNSERVICE_SENT && strcmp(json_get_string(body, "conclusion"), "failed") == 0)
		*result = RESULT_FAILED;
	if (s.end != RUNSERVICE_SENT && err != NULL)
		*err = s.err;
	*taken = s.taken;
	return s.end;
}

/* ---- the end of the job ---- */

enum report job_send(struct job *j, const json_t *body, enum result *result, bool kept, struct err *err)
{
	bool taken = false;
	switch (report_completion(j, body, result, &taken, err)) {
	case RUNSERVICE_SENT:
		kept_erase(j);
		return REPORT_SENT;
	case RUNSERVICE_LATER:
		if (kept && !taken)
			kept = kept_write(j, body, *result, false);
		return kept ? REPORT_KEPT : REPORT_FAILED;
	default:
		kept_erase(j);
		return REPORT_LOST;
	}
}

enum report job_report(struct job *j, struct err *err)
{
	if (j->undo_continues != NULL) {
		_cleanup_free_ char *text = xasprintf("undo continues as %s", j->undo_continues);
		job_issue(j, ISSUE_ERROR, text);
	}
	job_close_log(j);
	if (j->feed != NULL)
		feed_end(j->feed);
	int64_t limit = drain_limit(j);
	reports_retry(j->reports, true);
	drain_until(j, MIN(limit, clock_mono_ms() + DRAIN_SHORT_MS));
	/* A cancel or a shutdown from here on changes nothing any more: each try says the same. */
	enum result result = j->result == RESULT_NONE ? RESULT_SUCCEEDED : j->result;
	_cleanup_json_ json_t *body = completion(j);
	bool kept = kept_write(j, body, result, true);
	if (!reports_is_idle(j->reports)) {
		drain_until(j, limit);
		kept = kept_write(j, body, result, true);
	}
	if (j->deserted) {
		fs_remove_tree(AT_FDCWD, j->work, NULL);
		err_set(err, ERR_CANCELLED, "the process that watched this job is gone");
		return REPORT_FAILED;
	}
	console_end(j);
	enum report end = job_send(j, body, &result, kept, err);
	j->result = result;
	fs_remove_tree(AT_FDCWD, j->temp, NULL);
	return end;
}
