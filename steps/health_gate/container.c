/* A container, as the engine of its target sees it. */
#include "base/data/json.h"
#include "steps/health_gate/health_gate.h"

enum { SETTLE_MS = 10000 };

static bool is_asked(const struct health_gate_checks *in)
{
	return in->has_container;
}

static void label(const struct health_gate_checks *in, struct str *out)
{
	str_appendf(out, "container %s", in->container.name);
}

static void judge(struct gate_check *check, const struct str *text)
{
	_cleanup_json_ json_t *container = NULL;
	_cleanup_(str_done) struct str why = STR_INIT(4096), incarnation = STR_INIT(1024);
	bool runs;
	if (json_parse(str_peek(text), text->len, GATE_DOCKER_MAX, &container, NULL) < 0 ||
	    !json_is_object(container)) {
		gate_result(check, false, "the engine gave an unexpected reply");
		return;
	}
	long long restarts = json_get_int(container, "restarts", 0);
	bool ok = gate_container_is_well(container, false, &runs, &why);
	gate_container_incarnation(container, &incarnation);
	check->answer.incarnation = str_take(&incarnation);
	if (!ok || restarts > 0)
		gate_container_log(check, container, check->in->container.name);
	if (restarts > 0)
		str_appendf(&why, "%srestarted %lld time%s", ok ? "runs, was " : ", was ", restarts,
		            restarts == 1 ? "" : "s");
	gate_result(check, ok, "%s", why.len > 0 ? str_peek(&why) : "runs");
}

static void ask(struct gate_check *check)
{
	const char *const argv[] = {
		"docker", "inspect", "--type", "container", "--format", gate_docker_format, check->in->container.name,
		NULL};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	if (gate_docker(check, argv, &result))
		judge(check, &result.out);
}

const struct probe_type container_probe = {.name = "container",
                                           .is_asked = is_asked,
                                           .label = label,
                                           .settle_ms = SETTLE_MS,
                                           .ask = ask,
                                           .can_ask = gate_docker_can_ask};
