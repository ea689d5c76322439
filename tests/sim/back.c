/* Scenarios that go back: the deployment was committed without a fault, and what is run, killed and recovered is its rollback, by its id or
 * to the release of before. */
#include "sim/sim.h"

#include "base/core/mem.h"
#include "base/data/json.h"
#include <stdio.h>
#include <string.h>

static const char release_before[] = "r0";

/* Half of them restart the service as the product does. */
static void restart_by_run(json_t *deployment)
{
	size_t i;
	json_t *step;
	json_array_foreach(json_object_get(deployment, "steps"), i, step)
	{
		if (strcmp(json_get_string(step, "step"), "restart") != 0)
			continue;
		json_object_set_new(step, "step", json_string("run"));
		json_object_set_new(step, "input",
		                    json_pack("{s:[s], s:[s]}", "command", "restart", "after_undo", "restart"));
	}
}

void sim_back_prelude(struct scenario *sc)
{
	_cleanup_json_ json_t *d = json_loads(sc->deployment, 0, NULL);
	json_object_set_new(d, "file", json_string("prelude"));
	_cleanup_free_ char *text = json_text(d);
	sc->prelude = sim_strdup(text);
}

/* Of the scenarios with an upload: a third of those that are no jobs. */
void sim_back_choose(struct scenario *sc)
{
	if (!sc->has_upload || sc->job || sim_more_below(3) != 0)
		return;
	sc->goes_back = true;
	sc->back_to = sim_more_below(2) == 0 ? release_before : NULL;
	if (sim_more_below(2) == 0) {
		_cleanup_json_ json_t *d = json_loads(sc->deployment, 0, NULL);
		restart_by_run(d);
		_cleanup_free_ char *text = json_text(d);
		sc->deployment = sim_strdup(text);
	}
	sim_back_prelude(sc);
}

/* The way back switches, and leaves the rest as it is. */
void sim_back_model(struct stree *t)
{
	_cleanup_free_ char *link = xasprintf("releases/%s", release_before);
	stree_set(t, "/app/current", NODE_LINK, 0777, sim_blob(link, strlen(link)));
}
