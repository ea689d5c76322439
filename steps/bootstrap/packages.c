/* Packages, and the Docker engine as those of the distribution. */
#include "steps/bootstrap/bootstrap.h"

#include <string.h>

void bootstrap_want_packages(struct bootstrap_plan *p)
{
	for (size_t i = 0; i < p->in->packages.count; i++)
		bootstrap_want(p, &machine_package, p->in->packages.items[i], NULL);
	if (p->in->docker)
		bootstrap_want(p, &machine_engine, "docker", NULL);
}

/* "" and NULL alike. */
static const char *noted(const struct machine_sight *seen, const char *name)
{
	const char *text = json_get_string(seen->notes, name);
	return text != NULL && *text != '\0' ? text : NULL;
}

static char *summary_of(const struct machine_sight *seen)
{
	_cleanup_(str_done) struct str text = STR_INIT(64 << 10);
	const char *version = noted(seen, "candidate"), *brings = noted(seen, "brings"),
		   *upgrades = noted(seen, "upgrades");
	str_appendf(&text, "not installed → %s", version != NULL ? version : "installed");
	if (brings != NULL)
		str_appendf(&text, ", with %s", brings);
	if (upgrades != NULL)
		str_appendf(&text, "; newer versions of %s come along, and stay", upgrades);
	return str_take(&text);
}

static void plan_package(struct bootstrap_plan *p, const struct machine_sight *seen)
{
	const char *refused = noted(seen, "refused");
	if (noted(seen, "nomanager") != NULL) {
		faults_add(&p->faults, NULL, "/packages", "there is no apt-get, dnf or apk on '%s' to install '%s'",
		           p->v->name, seen->id);
		return;
	}
	if (noted(seen, "impossible") != NULL) {
		faults_add(&p->faults, NULL, "/packages", "'%s' cannot be installed on '%s': %s", seen->id, p->v->name,
		           noted(seen, "impossible"));
		return;
	}
	_cleanup_json_ json_t *after = json_pack("{s:s}", "type", "package");
	struct change *c = machine_plan(p->plan, seen, after);
	if (c == NULL)
		return;
	c->summary = summary_of(seen);
	p->brings = true;
	/* Lists that were never read know no package; the change reads them first. */
	if (refused != NULL)
		strv_addf(&p->plan->warnings,
		          "'%s' cannot be installed on '%s' as its package lists stand: %s (they are read anew first)",
		          seen->id, p->v->name, refused);
}

/* A package that comes for the engine is looked at like the others. */
static void want_engine(struct bootstrap_plan *p, const struct machine_sight *engine, const char *what,
                        const char *note)
{
	const char *have = json_get_string(engine->node, what), *package = noted(engine, note);
	if (have != NULL && strcmp(have, "yes") == 0)
		return;
	if (package == NULL) {
		faults_add(&p->faults, NULL, "/docker", "the distribution on '%s' has no package with the %s",
		           p->v->name, strcmp(what, "engine") == 0 ? "Docker engine" : "Compose plugin");
		faults_hint(
			&p->faults,
			"read its package lists anew, or add Docker's own repository, and name the package in `packages`");
		return;
	}
	bootstrap_want(p, &machine_package, package, NULL);
}

int bootstrap_plan_packages(struct bootstrap_plan *p, struct err *err)
{
	const struct machine_sight *engine = bootstrap_seen(p, &machine_engine, "docker");
	size_t first = p->count;
	if (engine != NULL) {
		/* Adding may move the sights. */
		struct machine_sight copy = *engine;
		want_engine(p, &copy, "engine", "engine_package");
		want_engine(p, &copy, "compose", "compose_package");
	}
	int r = machine_look(p->v, p->sights + first, p->count - first, err);
	for (size_t i = 0; r == 0 && i < p->count; i++)
		if (p->sights[i].kind == &machine_package)
			plan_package(p, &p->sights[i]);
	return r;
}
