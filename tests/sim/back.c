/* Scenarios that go back: the deployment was committed without a fault, and what is run, killed and recovered is its rollback, by its id or
 * to the release of before. */
#include "sim/sim.h"

#include "base/core/mem.h"
#include "base/data/json.h"
#include "base/secret/digest.h"
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

/* ---- what leads back beside the switches: links, and files whose former content is known here ---- */

static const char old_link[] = "f0";

static char *old_text(const char *path, int target)
{
	return str_starts(path, "/srv/f") ? xasprintf("old %s of t%d", path + strlen("/srv/"), target) : NULL;
}

static void add_change(struct plan *plan, const struct change_type *type, const char *path, json_t *now, json_t *after,
                       const char *text)
{
	struct change *c = plan_add(plan, type, ACTION_UPDATE, path);
	c->before = json_incref(now);
	c->after = after;
	if (text)
		str_append(&c->content, text);
}

static bool has_row(const struct change *former)
{
	return json_object_get(former->extra, "state_row") != NULL;
}

int sim_back_lead(const struct step_context *c, struct view *v, const struct change *former, bool force,
                  struct plan *plan, struct err *err)
{
	const char *link = json_get_string(former->before, "link"), *digest = json_get_string(former->before, "digest");
	_cleanup_free_ char *text = old_text(former->path, sim_target_index(v->name));
	_cleanup_json_ json_t *now = NULL;
	char hex[65] = "";
	(void)c;
	(void)force;
	if (text)
		digest_of(text, strlen(text), hex);
	bool is_link = strcmp(former->kind, "link") == 0 && link;
	bool is_file = strcmp(former->kind, "file") == 0 && digest && strcmp(hex, digest) == 0 && !has_row(former);
	if (!is_link && !is_file)
		return err_set(err, ERR_UNSUPPORTED, "nobody kept what it was");
	int r = target_look(v, former->path, true, &now, err);
	if (r < 0)
		return r;
	const char *what = is_link ? "link" : "digest", *is = json_get_string(now, what),
		   *was = json_get_string(former->after, what);
	if (is && strcmp(is, is_link ? link : hex) == 0)
		return 0;
	if (is == NULL || strcmp(is, was) != 0)
		return err_set(err, ERR_CONFLICT, "'%s' is not as that deployment left it", former->path);
	if (is_link)
		add_change(plan, &change_link, former->path, now, json_pack("{s:s, s:s}", "type", "link", "link", link),
		           NULL);
	else
		add_change(plan, &change_file, former->path, now,
		           json_pack("{s:s, s:s}", "type", "file", "digest", hex), text);
	return 0;
}

static void model_effect(struct stree *t, const json_t *e, int target)
{
	const char *kind = json_get_string(e, "kind"), *path = json_get_string(e, "path");
	_cleanup_free_ char *text = old_text(path, target);
	struct snode *n = stree_find(t, path);
	if (strcmp(kind, "link") == 0 && strcmp(path, "/srv/l0") == 0)
		stree_set(t, path, NODE_LINK, 0777, sim_blob(old_link, strlen(old_link)));
	else if (strcmp(kind, "file") == 0 && text && n && !json_get_bool(e, "row", false))
		stree_set(t, path, NODE_FILE, n->mode, sim_blob(text, strlen(text)));
}

static void model_leads(struct stree *t, int target)
{
	_cleanup_json_ json_t *d = json_loads(world->sc.deployment, 0, NULL);
	const json_t *steps = json_object_get(d, "steps");
	for (size_t i = 0; i < json_array_size(steps); i++) {
		const json_t *step = json_array_get(steps, i);
		const json_t *effects = json_object_get(json_object_get(step, "input"), "effects");
		for (size_t k = 0; scenario_names_target(step, target) && k < json_array_size(effects); k++)
			model_effect(t, json_array_get(effects, k), target);
	}
}

/* The way back by an id leads back what steps know to lead back, the one to a release switches only; the rest stays as it is. */
void sim_back_model(struct stree *t, int target)
{
	_cleanup_free_ char *link = xasprintf("releases/%s", release_before);
	stree_set(t, "/app/current", NODE_LINK, 0777, sim_blob(link, strlen(link)));
	if (world->sc.back_to == NULL)
		model_leads(t, target);
}
