/* Everything about the registrations of this host, and how the agent that serves them goes. */
#include "agent/listener/describe.h"

#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "agent/actions/native.h"
#include "agent/listener/isolation.h"
#include "agent/listener/live.h"
#include "agent/service/wire.h"
#include "base/core/clock.h"
#include "base/core/log.h"

enum { ASK_MS = 5000 };

/* A sentence that names the user of the jobs and says what follows from it. free() */
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

/* The agent that runs, or that ran last: its options stand before what the records say while it runs. */
struct running {
	pid_t pid;      /* 0: none runs */
	json_t *record; /* agent/listener/records.h; NULL */
	json_t *live;   /* agent/listener/live.h; NULL: none runs, or it does not answer */
};

static const char *option_of(const struct running *running, const char *name)
{
	bool its_own = running->pid > 0 && json_get_int(running->record, "pid", 0) == running->pid;
	return its_own ? json_get_string(running->record, name) : NULL;
}

static json_t *describe(const struct records *store, const char *id, const struct registration *reg,
                        const struct running *running)
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
	json_object_set_new(object, "queue", json_string(reg->broker_url != NULL ? "broker" : "pool"));
	json_object_set_new(object, "labels", labels);
	json_object_set_new(object, "credential", reg->credential ? json_string(reg->credential) : json_null());
	json_object_set_new(object, "ephemeral", json_boolean(reg->ephemeral));
	json_object_set_new(object, "on_failure", json_string(reg->on_failure ? reg->on_failure : "rollback"));
	json_object_set_new(object, "actions_repository",
	                    json_string(native_repository(reg->native, reg->actions_repository)));
	json_object_set_new(object, "native", json_string(reg->native ? reg->native : NATIVE_DEFAULT));
	json_object_set_new(object, "actions", json_string(reg->actions && reg->actions[0] ? reg->actions : "all"));
	json_object_set_new(object, "node", reg->node ? json_string(reg->node) : json_null());
	json_object_set_new(object, "worker_user", reg->worker_user ? json_string(reg->worker_user) : json_null());
	json_object_set_new(object, "worker", json_string(worker));
	const char *name = json_get_string(state, "state"), *text = json_get_string(state, "text");
	json_object_set_new(object, "state",
	                    json_string(running->pid > 0 && name ? name
	                                : strcmp(name ? name : "", "failed") == 0 ? name
	                                                                          : "stopped"));
	const json_t *served = json_get_object(running->live, "registrations");
	if (text == NULL && served != NULL && json_object_get(served, id) == NULL)
		text = "configured since the agent was started, which serves it once it is started again";
	if (text != NULL)
		json_object_set_new(object, "text", json_string(text));
	int64_t last = json_get_int(json_get_object(running->record, "polls"), id, 0);
	json_object_set_new(object, "last_poll", last > 0 ? json_string(clock_rfc3339(last, when)) : json_null());
	json_object_set_new(object, "record", json_string(id));
	/* What the running agent says is younger. */
	json_object_update(object, json_get_object(json_get_object(running->live, "registrations"), id));
	return object;
}

/* Jobs of one user see each other's processes, and so files and secrets, unless a user of their own or walls keep them apart. */
static int describe_isolation(struct survey *survey, size_t which, const char *mode, json_t *object, struct err *err)
{
	struct isolation isolation = {0};
	const struct isolation_question q = {.survey = survey, .which = which, .mode = mode};
	int r = isolation_decide(&q, &isolation, err);
	json_object_set_new(object, "user_is_shared", json_boolean(isolation.shared));
	json_object_set_new(object, "isolation", isolation_settings(&isolation));
	isolation_done(&isolation);
	return r;
}

static int describe_all(const struct records *store, const struct strv *ids, struct registration *regs, bool walls,
                        const struct running *running, json_t *list, struct err *err)
{
	_cleanup_free_ const struct registration **all = xcalloc(MAX(ids->count, (size_t)1), sizeof(*all));
	const char *user = option_of(running, "worker_user");
	int r = 0;
	for (size_t i = 0; r >= 0 && i < ids->count; i++) {
		r = records_load(store, ids->items[i], &regs[i], err);
		registration_overlay(&regs[i], user, option_of(running, "native"));
		all[i] = &regs[i];
		if (r >= 0)
			json_array_append_new(list, describe(store, ids->items[i], &regs[i], running));
	}
	if (r < 0 || !walls)
		return r;
	const struct survey_question q = {.all = all, .count = ids->count, .agent_dir = store->dir};
	_cleanup_(survey_freep) struct survey *survey = survey_new(&q);
	for (size_t i = 0; r >= 0 && i < ids->count; i++)
		r = describe_isolation(survey, i, option_of(running, "isolation"), json_array_get(list, i), err);
	return r;
}

static int describe_registrations(const struct records *store, bool walls, const struct running *running, json_t *list,
                                  struct err *err)
{
	_cleanup_(strv_done) struct strv ids = {0};
	int r = records_list(store, &ids, err);
	_cleanup_free_ struct registration *regs = xcalloc(MAX(ids.count, (size_t)1), sizeof(*regs));
	if (r >= 0)
		r = describe_all(store, &ids, regs, walls, running, list, err);
	for (size_t i = 0; i < ids.count; i++)
		registration_done(&regs[i]);
	return r;
}

/* An agent that does not answer is none that is well; the records are told all the same. */
static json_t *ask(const struct records *store)
{
	struct wait w = WAIT_INIT;
	struct err err = ERR_INIT;
	json_t *live = NULL;
	char line[ERR_FRAME_SIZE * 2];
	w.deadline_mono_ms = clock_mono_ms() + ASK_MS;
	if (live_read(store->dir, &w, &live, &err) < 0)
		log_warning("status", "%s", err_line(&err, line, sizeof(line)));
	return live;
}

int describe_agent(const struct records *store, bool walls, json_t **ret, struct err *err)
{
	static const char *const of_live[] = {"started",    "healthy", "stopping", "slots",          "jobs", "refusals",
	                                      "recoveries", "disk",    "update",   "version_source", NULL};
	struct running running = {0};
	_cleanup_json_ json_t *answer = json_object(), *list = json_array();
	int r = 0;
	if (store->dir != NULL) {
		running = (struct running){.pid = records_holder(store), .record = records_read_running(store)};
		running.live = running.pid > 0 ? ask(store) : NULL;
		r = describe_registrations(store, walls, &running, list, err);
	}
	const char *version = json_get_string(running.live, "version");
	const char *told = json_get_string(running.live, "runner_version");
	json_object_set_new(answer, "pid", running.pid > 0 ? json_integer(running.pid) : json_null());
	json_object_set_new(answer, "version", json_string(version != NULL ? version : DAVIT_VERSION));
	json_object_set_new(answer, "runner_version", json_string(told != NULL ? told : wire_runner_version()));
	json_object_set_new(answer, "healthy", json_false());
	json_object_set(answer, "registrations", list);
	for (size_t i = 0; of_live[i] != NULL; i++)
		json_object_set(answer, of_live[i], json_object_get(running.live, of_live[i]));
	json_decref(running.record);
	json_decref(running.live);
	if (r >= 0)
		*ret = json_incref(answer);
	return r;
}
