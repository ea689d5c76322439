#include "agent/listener/listener_priv.h"

#include "base/core/clock.h"
#include "base/core/log.h"

enum { PING_MS = 60000, PING_TIMEOUT_MS = 10000, PING_MAX = 64 << 10 };

void ping_begin(struct listener *l)
{
	if (l->options.ping != NULL)
		l->ping.due_ms = clock_mono_ms() + registration_pace(PING_MS);
}

/* The first failure of a streak is told, without the URL: whoever knows it can call in our name. */
static void ping_over(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct listener *l = context;
	struct err err = ERR_INIT;
	int r = call_result(result, response, failure, "tell that all is well", &err);
	if (r < 0 && !l->ping.failed)
		log_warning("listen", "the URL of --ping does not answer as it should (%s %d)",
		            result < 0 ? "error" : "status", result < 0 ? result : response->status);
	l->ping.failed = r < 0;
}

void ping_timer(struct listener *l, int64_t now_ms)
{
	if (l->ping.due_ms == 0 || now_ms < l->ping.due_ms)
		return;
	l->ping.due_ms = now_ms + registration_pace(PING_MS);
	if (l->stopping || call_is_running(&l->ping.call) || !listener_is_healthy(l))
		return;
	struct call_request q = {.url = xstrdup(l->options.ping), .timeout_ms = PING_TIMEOUT_MS, .max_body = PING_MAX};
	call_start(l, &l->ping.call, &q, ping_over, l);
}

void ping_end(struct listener *l)
{
	call_cancel(&l->ping.call);
}
