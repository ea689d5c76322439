/* tcp checks: a connection that is made and closed. */
#include "base/core/clock.h"
#include "steps/health_gate/health_gate.h"

#include <unistd.h>

static bool is_asked(const struct health_gate_checks *in)
{
	return in->tcp != NULL;
}

static void label(const struct health_gate_checks *in, struct str *out)
{
	str_append(out, in->tcp);
}

static void validate(const struct health_gate_checks *in, const struct gate_place *place)
{
	struct err err = ERR_INIT;
	char line[512];
	_cleanup_free_ char *host = NULL;
	int port;
	if (gate_split_address(in->tcp, &host, &port, &err) < 0)
		gate_fault(place, NULL, NULL, "%s", err_line(&err, line, sizeof(line)));
}

static char *host_of(const struct health_gate_checks *in)
{
	char *host = NULL;
	int port;
	return gate_split_address(in->tcp, &host, &port, NULL) == 0 ? host : NULL;
}

static void stop(struct gate_check *check)
{
	gate_connection_free(TAKE(check->own));
}

static void failed(struct gate_check *check, const struct err *err)
{
	char line[512];
	gate_result(check, false, "%s", err_line(err, line, sizeof(line)));
	stop(check);
}

static void start(struct gate_check *check)
{
	struct err err = ERR_INIT;
	check->own = gate_connect(check->in->tcp, &err);
	if (check->own == NULL)
		failed(check, &err);
}

static void poll_for(const struct gate_check *check, struct pollfd *ret)
{
	gate_connection_poll(check->own, ret);
}

static void accepted(struct gate_check *check)
{
	_cleanup_close_ int fd = gate_connection_take(check->own);
	check->answer.address = gate_peer(fd, true);
	gate_result(check, true, "accepted a connection");
	stop(check);
}

static void turn(struct gate_check *check)
{
	struct err err = ERR_INIT;
	char text[CLOCK_TEXT_SIZE];
	if (clock_mono_ms() - check->started_mono_ms >= check->in->timeout_ms) {
		gate_result(check, false, "no connection within %s", clock_duration(check->in->timeout_ms, text));
		stop(check);
		return;
	}
	int r = gate_connection_turn(check->own, &err);
	if (r < 0)
		failed(check, &err);
	else if (r > 0)
		accepted(check);
}

const struct probe_type tcp_probe = {.name = "tcp",
                                     .is_asked = is_asked,
                                     .label = label,
                                     .validate = validate,
                                     .host = host_of,
                                     .start = start,
                                     .poll = poll_for,
                                     .turn = turn,
                                     .stop = stop};
