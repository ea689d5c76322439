/* call: one exchange with a service, a pause, or a program of our own, while the job's loop goes on: a cancel ends it. */
#include "agent/worker/worker_priv.h"

#include "base/core/wait.h"
#include "base/net/http.h"

enum { TURN_MS = 60000, CHILD_TURN_MS = 100, CHILD_OUTPUT_MAX = 1 << 16 };

struct call {
	struct http_response *response;
	struct err *err;
	int result;
	bool done;
};

static void call_done(void *context, int result, struct http_response *response, const struct err *err)
{
	struct call *c = context;
	c->done = true;
	c->result = result;
	*c->response = *response;
	*response = (struct http_response){.status = 0};
	if (result < 0 && c->err != NULL)
		*c->err = *err;
}

static int cancelled(struct err *err)
{
	return err_set(err, ERR_CANCELLED, "The operation was canceled.");
}

int job_call(struct job *j, const struct http_request *request, struct http_response *ret, struct err *err)
{
	struct call c = {.response = ret, .err = err};
	int serial = job_cancels(j);
	struct http_transfer *transfer = http_start(j->http, request, call_done, &c, err);
	if (transfer == NULL)
		return err != NULL ? err->code : ERR_NETWORK;
	while (!c.done) {
		job_turn(j, NULL, 0, TURN_MS);
		if (!c.done && job_cancels(j) != serial) {
			http_cancel(transfer);
			return cancelled(err);
		}
	}
	return c.result;
}

int job_pause(struct job *j, int64_t ms, struct err *err)
{
	int64_t until = clock_mono_ms() + ms;
	int serial = job_cancels(j);
	for (int64_t left; (left = until - clock_mono_ms()) > 0;) {
		job_turn(j, NULL, 0, left);
		if (job_cancels(j) != serial)
			return cancelled(err);
	}
	return 0;
}

struct child {
	struct job *job;
	int serial;
	bool deaf;
};

static int child_turn(void *context, struct err *err)
{
	struct child *c = context;
	job_turn(c->job, NULL, 0, 0);
	return c->deaf || job_cancels(c->job) == c->serial ? 0 : cancelled(err);
}

int job_child(struct job *j, const struct proc_options *options, int64_t timeout_ms, bool deaf, struct str *ret_output,
              struct str *ret_errors, int *ret_status, struct err *err)
{
	struct child c = {.job = j, .serial = job_cancels(j), .deaf = deaf};
	struct wait w = {.cancel_fd = -1,
	                 .deadline_mono_ms = clock_mono_ms() + timeout_ms,
	                 .tick_ms = CHILD_TURN_MS,
	                 .tick = child_turn,
	                 .context = &c};
	int r = proc_run(options, NULL, 0, CHILD_OUTPUT_MAX, &w, ret_output, ret_errors, ret_status, err);
	if (r != ERR_CANCELLED)
		return r;
	err_clear(err);
	return cancelled(err);
}
