/* Scenarios with an API beside the hosts: the scripted provider of tests/provider, whose tasks fail, hang, are done twice, and whose replies
 * are lost. Its world is a file, so that it outlives the processes that die in it. Nothing guards a request that is on its way: an owner that
 * stands still, is taken over and comes back, is left out. */
#include "sim/sim.h"

#include "base/core/mem.h"
#include "base/data/json.h"
#include "provider/provider.h"
#include <stdio.h>
#include <string.h>

static const char target[] = "api", step_name[] = "guests";
enum { UNDO_MS = 300000, WAITS_MAX = 3 };

static char *world_file(void)
{
	return xasprintf("%s/api.json", sim_work_dir);
}

/* ---- the scenario ---- */

static json_t *old_guests(void)
{
	return json_pack("{s:i, s:i}", "web", 2, "old", 1);
}

static json_t *new_guests(void)
{
	return json_pack("{s:i, s:i}", "web", 4, "new", 1);
}

/* "web" grows, "new" comes, "old" goes: a change, a creation, a deletion. */
static void add_step(struct scenario *sc, json_t *d)
{
	json_t *steps = json_object_get(d, "steps");
	size_t gates = sc->has_gate ? 1 : 0;
	json_t *step = json_pack("{s:s, s:s, s:{s:{s:i, s:i, s:n}}}", "step", step_name, "target", target, "input",
	                         "guests", "web", 4, "new", 1, "old");
	json_array_insert_new(steps, (size_t)sim_more_below(json_array_size(steps) - gates + 1), step);
}

static void add_fault(struct scenario *sc, json_t *faults, const char *verb, const char *const *kinds, size_t count)
{
	json_t *list = json_array();
	for (size_t n = (size_t)sim_more_below(WAITS_MAX); n > 0; n--)
		json_array_append_new(list, json_string(""));
	const char *kind = kinds[sim_more_below(count)];
	json_array_append_new(list, json_string(kind));
	json_object_set_new(faults, verb, list);
	sc->api_faults = true;
	bool hangs = strcmp(kind, "hangs") == 0;
	sc->api_refuses = sc->api_refuses || hangs || strcmp(kind, "fails") == 0;
	sc->api_hangs = sc->api_hangs || (hangs && strcmp(verb, "create") != 0);
}

static void make_faults(struct scenario *sc)
{
	static const char *const tasks[] = {"fails", "hangs", "twice", "lost", "away"}, *const looks[] = {"lost",
	                                                                                                  "away"};
	static const char *const changing[] = {"create", "change", "delete"}, *const looking[] = {"look", "poll"};
	_cleanup_json_ json_t *faults = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(changing); i++)
		if (sim_more_below(4) == 0)
			add_fault(sc, faults, changing[i], tasks, ARRAY_SIZE(tasks));
	for (size_t i = 0; i < ARRAY_SIZE(looking); i++)
		if (sim_more_below(6) == 0)
			add_fault(sc, faults, looking[i], looks, ARRAY_SIZE(looks));
	_cleanup_free_ char *text = json_text(faults);
	sc->api_script = sim_strdup(text);
}

void sim_api_choose(struct scenario *sc)
{
	if (sc->real || sc->goes_back || sc->contender == CONTENDER_TAKES_OVER || sim_more_below(8) != 0)
		return;
	_cleanup_json_ json_t *d = json_loads(sc->deployment, 0, NULL);
	_cleanup_free_ char *file = world_file();
	sc->has_api = true;
	json_object_set_new(json_object_get(d, "targets"), target,
	                    json_pack("{s:{s:s}}", "test-provider", "file", file));
	json_object_set_new(d, "undo_deadline_ms", json_integer(UNDO_MS));
	add_step(sc, d);
	_cleanup_free_ char *text = json_text(d);
	sc->deployment = sim_strdup(text);
	make_faults(sc);
}

bool sim_api_is_step(const char *step)
{
	return strcmp(step, step_name) == 0;
}

/* ---- its world ---- */

/* A process may die where it asks, and where the reply is on its way. */
static void on_request(const char *verb, bool done)
{
	bool changes = strcmp(verb, "look") != 0 && strcmp(verb, "poll") != 0;
	if (changes && !done && !world->slots[1 - sim_slot].alive && !world->journal_failed && !sim_journal_is_synced())
		sim_violation("the API was asked to %s while the journal was not synced", verb);
	sim_step(verb);
	sim_trace("api: %s%s", verb, done ? ": its reply" : "");
}

void sim_api_world(void)
{
	if (!world->sc.has_api)
		return;
	_cleanup_free_ char *file = world_file();
	_cleanup_json_ json_t *made =
		json_pack("{s:o, s:o}", "guests", old_guests(), "faults", json_loads(world->sc.api_script, 0, NULL));
	provider_save(file, made);
	provider_on_request = on_request;
}

void sim_api_calm(void)
{
	if (!world->sc.has_api)
		return;
	_cleanup_free_ char *file = world_file();
	_cleanup_json_ json_t *now = provider_load(file);
	json_object_del(now, "faults");
	provider_save(file, now);
}

/* ---- what must hold ---- */

static int64_t size_in(const json_t *guests, const char *name)
{
	return json_get_int(guests, name, -1);
}

/* All of it is old or new; where it is held, the report names what is neither. */
void sim_api_check(enum deployment_state state)
{
	static const char *const names[] = {"web", "new", "old"};
	if (!world->sc.has_api)
		return;
	_cleanup_free_ char *file = world_file();
	/* What is still at work when all is decided would move it on. */
	provider_let_pass(file);
	_cleanup_json_ json_t *now = provider_load(file);
	_cleanup_json_ json_t *wanted = state == DEPLOYMENT_COMMITTED ? new_guests() : old_guests();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char line[64];
		int64_t is = size_in(json_object_get(now, "guests"), names[i]), was = size_in(wanted, names[i]);
		snprintf(line, sizeof(line), "%s:guest:%s\n", target, names[i]);
		bool named = strstr(world->seen.named, line) ||
		             (world->seen.named[0] == '\0' && strstr(world->seen.changed, line));
		if (is != was && !(state == DEPLOYMENT_HELD && named))
			sim_violation("%s, and the API's '%s' is %lld instead of %lld", deployment_state_name(state),
			              names[i], (long long)is, (long long)was);
	}
}
