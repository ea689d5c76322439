/* acknowledge → acquire, with a new token where the old one is refused → the first renewal, which starts the job. */
#include "agent/listener/lease_priv.h"

#include "agent/listener/handover.h"
#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/sys/fs.h"

enum { ACQUIRE_TRIES = 5 };

static void skip(struct lease *j, int status)
{
	log_info("listen", "the announced job is not to be had (%s)",
	         status == 404   ? "it is gone"
	         : status == 409 ? "another runner has it"
	                         : "the service refuses it");
	lease_drop(j, LEASE_DROP_SKIPPED);
}

static int prepare_input(struct lease *j, json_t *message, struct err *err)
{
	struct listener *l = j->listener;
	_cleanup_free_ char *state = listener_state_dir(l, j->user, err);
	if (state == NULL)
		return err->code;
	_cleanup_json_ json_t *isolation = NULL;
	if (listener_isolation(l, j->endpoint, &isolation, err) < 0)
		return err->code;
	_cleanup_json_ json_t *settings = handover_settings(&j->endpoint->reg, state, j->tracking_id, isolation);
	json_set_string(settings, "actions", j->actions);
	_cleanup_free_ char *area = handover_work_folder(&j->endpoint->reg, state);
	j->progress = fs_join(area, "progress.json");
	json_set_string(settings, "progress", j->progress);
	_cleanup_free_ char *settings_text = json_text(settings), *message_text = json_text(message);
	str_clear(&j->input);
	str_append(&j->input, "{\"message\":");
	str_append(&j->input, message_text);
	str_append(&j->input, ",\"settings\":");
	str_append(&j->input, settings_text);
	str_append(&j->input, "}\n");
	explicit_bzero(message_text, strlen(message_text));
	return j->input.failed ? err_set(err, ERR_LIMIT, "the job's message is too large") : 0;
}

/* Its worker will not get it: once the lease is renewed the job is completed with this sentence, which is all that its page shows. */
static void fail_after_renewal(struct lease *j, const struct err *err)
{
	char line[ERR_FRAME_SIZE * 2];
	err_line(err, line, sizeof(line));
	if (err->code != ERR_REFUSED)
		log_err(err);
	j->explanation =
		xasprintf("The agent did not start this job: %s%s%s", line, err->hint[0] ? "\n" : "", err->hint);
}

/* message: taken. */
static void acquired(struct lease *j, json_t *message)
{
	struct err err = ERR_INIT;
	int r = run_job_read(message, &j->run, &err);
	if (r >= 0)
		r = j->endpoint->queue->type->attach(j->endpoint->queue, &j->run, &err);
	if (r >= 0) {
		j->acquired = true;
		j->renewer = j->endpoint;
		j->report = run_job_report(message);
		j->results_base = xstrdup(wire_string(
			wire_get(wire_get(message, "variables"), "system.github.results_endpoint"), "value"));
		r = lease_admit(j, message, &err);
	}
	if (r >= 0)
		r = prepare_input(j, message, &err);
	json_decref(message);
	if (!j->acquired) {
		log_err(&err);
		lease_drop(j, LEASE_DROP_FAILED);
		return;
	}
	if (r < 0)
		fail_after_renewal(j, &err);
	j->phase = LEASE_RENEW;
	j->tries = 0;
	lease_renew(j);
}

static void acquire_token_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct lease *j = context;
	struct err err = ERR_INIT;
	if (endpoint_token_read(j->endpoint, result, response, failure, &err) == OAUTH_OK) {
		lease_acquire(j);
		return;
	}
	log_err(&err);
	lease_drop(j, LEASE_DROP_FAILED);
}

static void acquire_with_new_token(struct lease *j)
{
	struct err err = ERR_INIT;
	j->phase = LEASE_TOKEN;
	if (endpoint_token_request(j->endpoint, &j->call, acquire_token_done, j, &err) < 0) {
		log_err(&err);
		lease_drop(j, LEASE_DROP_FAILED);
	}
}

static void acquire_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct lease *j = context;
	struct err err = ERR_INIT;
	int r = call_result(result, response, failure, "acquire the job", &err);
	json_t *message = NULL;
	if (r >= 0 && (r = wire_read_object(response, &message, &err)) < 0) {
		log_err(&err);
		lease_drop(j, LEASE_DROP_FAILED);
		return;
	}
	if (r >= 0) {
		acquired(j, message);
		return;
	}
	int status = result >= 0 ? wire_run_service_error(response) : 0;
	if (status == 404 || status == 409 || status == 422) {
		skip(j, status);
		return;
	}
	if (++j->tries >= ACQUIRE_TRIES) {
		log_err(&err);
		lease_drop(j, LEASE_DROP_FAILED);
	} else if (result >= 0 && response->status == 401 && j->tries == 1) {
		acquire_with_new_token(j);
	} else {
		j->due_ms = clock_mono_ms() + listener_pause_asked(listener_pause(5000, 15000), response);
	}
}

void lease_acquire(struct lease *j)
{
	j->phase = LEASE_ACQUIRE;
	j->due_ms = 0;
	if (j->endpoint->token == NULL) {
		acquire_with_new_token(j);
		return;
	}
	struct service_request q = {.url = NULL};
	struct err err = ERR_INIT;
	if (j->endpoint->queue->type->acquire(j->endpoint->queue, &j->ref, &q, &err) >= 0) {
		call_service(j->listener, &j->call, &q, j->endpoint->token, acquire_done, j);
		return;
	}
	service_request_done(&q);
	log_err(&err);
	lease_drop(j, LEASE_DROP_FAILED);
}

static void acknowledge_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct lease *j = context;
	struct err err = ERR_INIT;
	if (call_result(result, response, failure, "acknowledge the job", &err) < 0) {
		char line[ERR_FRAME_SIZE * 2];
		log_debug("listen", "%s", err_line(&err, line, sizeof(line)));
		if (result >= 0 && j->endpoint->reg.ephemeral &&
		    wire_broker_error(response) == BROKER_ERROR_ACKNOWLEDGE_NOT_FOUND) {
			log_info("listen", "the job that this runner was made for is gone");
			lease_drop(j, LEASE_DROP_RUNNER_IS_USED_UP);
			return;
		}
	}
	lease_acquire(j);
}

void lease_begin(struct lease *j)
{
	struct err err = ERR_INIT;
	if (lease_spawn_worker(j, &err) < 0)
		log_err(&err);
	if (j->ref.job != NULL) {
		acquired(j, TAKE(j->ref.job));
		return;
	}
	struct service_request q = {.url = NULL};
	if (j->ref.should_acknowledge && j->endpoint->token != NULL && j->endpoint->session != NULL)
		j->endpoint->queue->type->acknowledge(j->endpoint->queue, j->endpoint->session, &j->ref, &q);
	if (q.url == NULL) {
		lease_acquire(j);
		return;
	}
	j->phase = LEASE_ACKNOWLEDGE;
	call_service(j->listener, &j->call, &q, j->endpoint->token, acknowledge_done, j);
}
