/* One journal, several machines: which deployments only one of them can end, and the proof that another one's owner is gone. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include <stdlib.h>
#include <string.h>

/* Files of the machine that deploys are of no other one. An API's lock lies on the first host, which is such a machine where the file names none. */
static bool has_own_files(const struct engine *e)
{
	for (size_t i = 0; i < e->host_count; i++)
		if (!target_config_kind(&e->targets[i].config)->is_remote)
			return true;
	return false;
}

void engine_note_machine(struct engine *e)
{
	if (store_is_shared(e->store) && has_own_files(e))
		json_object_set_new(e->doc, "bound",
		                    json_pack("{s:s, s:O}", "place", store_place(e->store), "host",
		                              json_object_get(e->doc, "host")));
}

int engine_check_machine(const struct store *s, const json_t *doc, struct err *err)
{
	const json_t *bound = json_object_get(doc, "bound");
	const char *place = json_get_string(bound, "place"), *host = json_get_string(bound, "host");
	if (!store_is_shared(s) || place == NULL || strcmp(place, store_place(s)) == 0)
		return 0;
	err_set(err, ERR_REFUSED, "%s.%s lies on the machine %s itself, by a target that is `local` there",
	        json_get_string(doc, "name"), json_get_string(doc, "environment"), host ? host : "?");
	return err_hint(
		err, ERR_REFUSED,
		"run it there; or give this machine an environment of its own, or name that one as an ssh target");
}

int engine_check_environment(struct engine *e, struct err *err)
{
	_cleanup_json_ json_t *list = NULL;
	const struct store_filter filter = {.name = e->name, .environment = e->environment, .limit = 1};
	if (e->store == NULL || !store_is_shared(e->store) || !has_own_files(e))
		return 0;
	int r = store_deployment_list(e->store, &filter, &list, err);
	return r < 0 ? r : engine_check_machine(e->store, json_array_get(list, 0), err);
}

/* Between two steps of a job nothing renews the locks: only a person knows that its runner is gone. */
static int refuse_job(const struct engine *e, struct err *err)
{
	const char *host = json_get_string(e->doc, "host");
	if (json_object_get(e->doc, "runner") == NULL || e->state != DEPLOYMENT_OPEN)
		return 0;
	err_set(err, ERR_LOCKED, "the deployment %s is of a job on %s, which may go on: nothing here proves its end",
	        e->id, host ? host : "another machine");
	return err_hint(err, ERR_LOCKED,
	                "run `davit recover %s` there; if that machine is gone for good: davit recover %s --takeover",
	                e->id, e->id);
}

/* Nothing but a test's build may be told to watch for less than was asked for. */
static int64_t standstill_ms(const struct engine *e)
{
#ifdef DAVIT_TEST_HOOKS
	const char *text = getenv("DAVIT_TEST_STANDSTILL_MS");
	long long ms;
	if (text != NULL && str_parse_i64(text, 1, LOCK_STANDSTILL_MS, &ms))
		return ms;
#endif
	return e->o->standstill_ms > 0 ? e->o->standstill_ms : LOCK_STANDSTILL_MS;
}

int engine_prove_gone(struct engine *e, struct err *err)
{
	char waits[CLOCK_TEXT_SIZE];
	int64_t after_ms = standstill_ms(e);
	const char *host = json_get_string(e->doc, "host");
	int r = e->o->consent ? 0 : refuse_job(e, err);
	if (r == 0)
		r = engine_open_targets(e, err);
	if (r < 0)
		return r;
	engine_say(e, "info", "%s is of %s, which is not connected to the journal: its locks are watched for %s", e->id,
	           host ? host : "another machine", clock_duration(after_ms, waits));
	r = engine_stands_still(e, after_ms, err);
	return r < 0 ? r : store_take_over(e->store, e->id, err);
}
