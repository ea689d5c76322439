/* call: one exchange with a service, or a pause, while the job's loop goes on: a cancel ends it. */
#include "agent/worker/worker_priv.h"

#include "base/net/http.h"

enum { TURN_MS = 60000 };

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
	int serial = j->cancel.serial;
	struct http_transfer *transfer = http_start(j->http, request, call_done, &c, err);
	if (transfer == NULL)
		return err != NULL ? err->code : ERR_NETWORK;
	while (!c.done) {
		job_turn(j, NULL, 0, TURN_MS);
		if (!c.done && j->cancel.serial != serial) {
			http_cancel(transfer);
			return cancelled(err);
		}
	}
	return c.result;
}

int job_pause(struct job *j, int64_t ms, struct err *err)
{
	int64_t until = clock_mono_ms() + ms;
	int serial = j->cancel.serial;
	for (int64_t left; (left = until - clock_mono_ms()) > 0;) {
		job_turn(j, NULL, 0, left);
		if (j->cancel.serial != serial)
			return cancelled(err);
	}
	return 0;
}
