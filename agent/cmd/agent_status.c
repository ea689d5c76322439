#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/cmd/agent.h"
#include "agent/service/wire.h"
#include "agent/listener/isolation.h"
#include "agent/listener/listener.h"
#include "base/core/clock.h"
#include "base/core/log.h"

/* Whom jobs run as, as a sentence that says what follows from it. free() */
static char *worker_sentence(const struct registration *reg)
{
	if (reg->worker_user != NULL && geteuid() == 0)
		return xasprintf("jobs run as %s; the keys are root's alone", reg->worker_user);
	if (geteuid() == 0)
		return xstrdup("jobs run as root, with all its rights; --worker-user of configure names another user");
	const struct passwd *entry = getpwuid(geteuid());
	return xasprintf("jobs run as %s, the agent's own user, and can read its keys",
	                 entry ? entry->pw_name : "this user");
}

static json_t *describe(const struct records *store, const char *id, const struct registration *reg, bool running)
{
	char when[CLOCK_TEXT_SIZE];
	json_t *object = json_object(), *labels = json_array();
	_cleanup_json_ json_t *state = records_read_state(store, id);
	_cleanup_free_ char *worker = worker_sentence(reg);
	for (size_t i = 0; i < reg->labels.count; i++)
		json_array_append_new(labels, json_string_lossy(reg->labels.items[i], strlen(reg->labels.items[i])));
	json_object_set_new(object, "url", json_string(reg->url ? reg->url : ""));
	json_object_set_new(object, "name", json_string(reg->name));
	json_object_set_new(object, "id", json_integer(reg->id));
	json_object_set_new(object, "group", json_string(reg->group ? reg->group : ""));
	json_object_set_new(object, "labels", labels);
	json_object_set_new(object, "ephemeral", json_boolean(reg->ephemeral));
	json_object_set_new(object, "on_failure", json_string(reg->on_failure ? reg->on_failure : "rollback"));
	json_object_set_new(object, "actions_repository",
	                    json_string(reg->actions_repository ? reg->actions_repository : DAVIT_ACTIONS_REPOSITORY));
	json_object_set_new(object, "worker_user", reg->worker_user ? json_string(reg->worker_user) : json_null());
	json_object_set_new(object, "worker", json_string(worker));
	const char *name = json_get_string(state, "state"), *text = json_get_string(state, "text");
	json_object_set_new(object, "state",
	                    json_string(running && name ? name
	                                : strcmp(name ? name : "", "failed") == 0 ? name
	                                                                          : "stopped"));
	if (text != NULL)
		json_object_set_new(object, "text", json_string(text));
	int64_t last = records_last_poll_ms(store, id);
	json_object_set_new(object, "last_poll", last > 0 ? json_string(clock_rfc3339(last, when)) : json_null());
	return object;
}

static void print_one(const json_t *one)
{
	size_t i;
	const json_t *label;
	const char *text = json_get_string(one, "text"), *poll = json_get_string(one, "last_poll");
	printf("%s\n", json_get_string(one, "url"));
	printf("  name       %s (id %lld, group %s%s)\n", json_get_string(one, "name"),
	       (long long)json_get_int(one, "id", 0), json_get_string(one, "group"),
	       json_get_bool(one, "ephemeral", false) ? ", ephemeral" : "");
	printf("  labels     ");
	json_array_foreach(json_get_array(one, "labels"), i, label)
		printf("%s%s", i > 0 ? ", " : "", json_string_value(label));
	printf("\n  state      %s%s%s\n  last poll  %s\n  worker     %s\n  actions    %s run in this program; on "
	       "failure: %s\n",
	       json_get_string(one, "state"), text ? ": " : "", text ? text : "", poll ? poll : "never",
	       json_get_string(one, "worker"), json_get_string(one, "actions_repository"),
	       json_get_string(one, "on_failure"));
	const char *isolation = json_get_string(json_get_object(one, "isolation"), "text");
	if (isolation != NULL)
		printf("  isolation  %s\n", isolation);
}

/* Jobs of one user see each other's processes, and by them files and secrets, where neither a user of their own nor walls keep them apart. */
static int describe_isolation(const struct records *store, const struct registration *const *all, size_t count,
                              size_t which, json_t *object, struct err *err)
{
	struct isolation isolation = {0};
	const struct isolation_question q = {.all = all, .count = count, .which = which, .agent_dir = store->dir};
	int r = isolation_decide(&q, &isolation, err);
	json_object_set_new(object, "user_is_shared", json_boolean(isolation.shared));
	json_t *told = isolation_settings(&isolation, true);
	json_object_del(told, "closed");
	json_object_del(told, "open");
	json_object_set_new(object, "isolation", told);
	isolation_done(&isolation);
	return r;
}

static int collect(const struct records *store, bool running, json_t *list, struct err *err)
{
	_cleanup_(strv_done) struct strv ids = {0};
	int r = records_list(store, &ids, err);
	struct registration *regs = xcalloc(MAX(ids.count, (size_t)1), sizeof(*regs));
	const struct registration **all = xcalloc(MAX(ids.count, (size_t)1), sizeof(*all));
	for (size_t i = 0; r >= 0 && i < ids.count; i++) {
		r = records_load(store, ids.items[i], &regs[i], err);
		all[i] = &regs[i];
		if (r >= 0)
			json_array_append_new(list, describe(store, ids.items[i], &regs[i], running));
	}
	for (size_t i = 0; r >= 0 && i < ids.count; i++)
		r = describe_isolation(store, all, ids.count, i, json_array_get(list, i), err);
	for (size_t i = 0; i < ids.count; i++)
		registration_done(&regs[i]);
	free(all);
	free(regs);
	return r;
}

static void print_all(const json_t *list, pid_t pid, bool as_json)
{
	if (as_json) {
		_cleanup_json_ json_t *answer = json_object();
		json_object_set_new(answer, "pid", pid > 0 ? json_integer(pid) : json_null());
		json_object_set_new(answer, "runner_version", json_string(WIRE_RUNNER_VERSION));
		json_object_set(answer, "registrations", (json_t *)(uintptr_t)list);
		_cleanup_free_ char *text = json_pretty(answer);
		printf("%s\n", text);
		return;
	}
	if (pid > 0)
		printf("the agent runs (process %d)\n", (int)pid);
	else
		printf("the agent does not run; start it with `davit agent run`\n");
	size_t i;
	const json_t *one;
	json_array_foreach((json_t *)(uintptr_t)list, i, one) print_one(one);
	if (json_array_size(list) == 0)
		printf("no registration; add one with `davit agent configure --url URL --token TOKEN`\n");
}

int agent_status(int argc, char **argv)
{
	struct agent_options o;
	struct err err = ERR_INIT;
	int r = agent_options_begin("status", "[--json]", argc, argv, &o);
	if (r != 0)
		return r > 0 ? 0 : LISTEN_TERMINATED;
	struct records store = {0};
	_cleanup_json_ json_t *list = json_array();
	pid_t pid = 0;
	r = records_open(false, &store, &err);
	if (r >= 0) {
		pid = records_holder(&store);
		r = collect(&store, pid > 0, list, &err);
	} else if (r == ERR_NOT_FOUND) {
		r = 0;
	}
	if (r < 0)
		log_err(&err);
	else
		print_all(list, pid, o.json);
	records_done(&store);
	agent_options_done(&o);
	return r < 0 ? LISTEN_TERMINATED : 0;
}
