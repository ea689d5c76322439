/* The containers of a compose project, found by the label that compose gives them: it needs no compose file, and no compose. */
#include "base/data/json.h"
#include "steps/health_gate/health_gate.h"

enum { SETTLE_MS = 10000, TEXT_MAX = 8192, LOGS_MAX = 3 };

static const char find_all[] =
	"ids=$(docker ps -aq --no-trunc --filter \"label=com.docker.compose.project=$1\") || exit\n"
	"[ -n \"$ids\" ] || exit 0\n"
	"exec docker inspect --type container --format \"$2\" $ids";

static bool is_asked(const struct health_gate_checks *in)
{
	return in->has_compose;
}

static void label(const struct health_gate_checks *in, struct str *out)
{
	str_appendf(out, "compose project %s", in->compose.project);
}

struct project {
	struct gate_check *check;
	struct str why, incarnation;
	struct strv running; /* services */
	size_t count, ended, logs;
};

static bool must_run(const struct health_gate_checks_compose *in, const char *service)
{
	for (size_t i = 0; i < in->services.count; i++)
		if (strcmp(in->services.items[i], service) == 0)
			return true;
	return false;
}

static void add_container(struct project *p, const json_t *container)
{
	const json_t *labels = json_get_object(container, "labels");
	const char *service = json_get_string(labels, "com.docker.compose.service"),
		   *once = json_get_string(labels, "com.docker.compose.oneoff");
	_cleanup_(str_done) struct str why = STR_INIT(4096);
	bool runs;
	/* Of `compose run`: no part of what is deployed. */
	if (service == NULL || (once != NULL && strcmp(once, "True") == 0))
		return;
	bool ok = gate_container_is_well(container, !must_run(&p->check->in->compose, service), &runs, &why);
	long long restarts = json_get_int(container, "restarts", 0);
	p->count++;
	p->ended += !runs;
	if (runs)
		strv_add(&p->running, service);
	if (runs)
		gate_container_incarnation(container, &p->incarnation);
	if (!ok)
		str_appendf(&p->why, "%s%s %s", p->why.len > 0 ? "; " : "", service, str_peek(&why));
	if (restarts > 0)
		str_appendf(&p->why, "%s%s was restarted %lld time%s", p->why.len > 0 ? "; " : "", service, restarts,
		            restarts == 1 ? "" : "s");
	p->check->answer.ok = p->check->answer.ok && ok;
	if ((!ok || restarts > 0) && p->logs++ < LOGS_MAX)
		gate_container_log(p->check, container, service);
}

static void judge(struct project *p)
{
	const struct health_gate_checks_compose *in = &p->check->in->compose;
	bool ok = p->check->answer.ok && p->count > 0;
	for (size_t i = 0; i < in->services.count; i++) {
		if (strv_has(&p->running, in->services.items[i]))
			continue;
		ok = false;
		str_appendf(&p->why, "%s%s does not run", p->why.len > 0 ? "; " : "", in->services.items[i]);
	}
	if (p->count == 0 && p->why.len == 0)
		str_append(&p->why, "has no container");
	p->check->answer.incarnation = str_take(&p->incarnation);
	_cleanup_free_ char *ended = p->ended > 0 ? xasprintf(", %zu ended with 0", p->ended) : NULL;
	if (ok)
		gate_result(p->check, true, "%zu run%s%s%s", p->count - p->ended, ended != NULL ? ended : "",
		            p->why.len > 0 ? "; " : "", str_peek(&p->why));
	else
		gate_result(p->check, false, "%s", str_peek(&p->why));
}

static bool differs(const json_t *a, const json_t *b, const char *label)
{
	const char *x = json_get_string(a, label), *y = json_get_string(b, label);
	return x != NULL && y != NULL && strcmp(x, y) != 0;
}

static bool is_of_one_service(const json_t *a, const json_t *b)
{
	const char *x = json_get_string(a, "com.docker.compose.service"),
		   *y = json_get_string(b, "com.docker.compose.service");
	return x != NULL && y != NULL && strcmp(x, y) == 0;
}

/* What a replacement keeps until the commit stands still beside one of its service that runs, of another configuration or image. */
static bool is_former(const json_t *all, const json_t *container)
{
	const json_t *mine = json_get_object(container, "labels");
	size_t i;
	json_t *other;
	_cleanup_(str_done) struct str why = STR_INIT(4096);
	bool runs = true;
	gate_container_is_well(container, false, &runs, &why);
	json_array_foreach((json_t *)(uintptr_t)all, i, other)
	{
		const json_t *labels = json_get_object(other, "labels");
		bool other_runs = false;
		if (runs || !is_of_one_service(mine, labels) ||
		    !(differs(mine, labels, "com.docker.compose.config-hash") ||
		      differs(mine, labels, "com.docker.compose.image")))
			continue;
		str_clear(&why);
		gate_container_is_well(other, false, &other_runs, &why);
		if (other_runs)
			return true;
	}
	return false;
}

static void read_containers(struct project *p, const struct str *text)
{
	_cleanup_json_ json_t *all = json_array();
	size_t i;
	json_t *one;
	for (const char *line = str_peek(text); *line != '\0';) {
		size_t len = strcspn(line, "\n");
		json_t *container = NULL;
		if (json_parse(line, len, GATE_DOCKER_MAX, &container, NULL) == 0)
			json_array_append_new(all, container);
		line += len + (line[len] == '\n');
	}
	json_array_foreach(all, i, one) if (!is_former(all, one)) add_container(p, one);
}

static void ask(struct gate_check *check)
{
	const char *const argv[] = {"sh", "-c", find_all, "sh", check->in->compose.project, gate_docker_format, NULL};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	struct project p = {.check = check, .why = STR_INIT(TEXT_MAX), .incarnation = STR_INIT(GATE_BODY_MAX)};
	if (!gate_docker(check, argv, &result))
		return;
	check->answer.ok = true;
	read_containers(&p, &result.out);
	judge(&p);
	str_done(&p.why);
	str_done(&p.incarnation);
	strv_done(&p.running);
}

const struct probe_type compose_probe = {.name = "compose",
                                         .is_asked = is_asked,
                                         .label = label,
                                         .settle_ms = SETTLE_MS,
                                         .ask = ask,
                                         .can_ask = gate_docker_can_ask};
