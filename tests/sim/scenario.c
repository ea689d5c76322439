/* From a seed: an old world, a deployment, what fails and when. And the two worlds that are right at the end. */
#include "sim/sim.h"

#include "base/data/json.h"
#include "base/core/mem.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* ---- the old world ---- */

static void file(struct stree *t, const char *path, const char *text, uint16_t mode)
{
	const struct blob *b = sim_blob(text, strlen(text));
	struct snode *n = stree_set(t, path, NODE_FILE, mode, b);
	n->synced = b;
	n->mtime_ns = 1700000000000000000 + (int64_t)sim_below(1000000);
	n->uid = (uint32_t)sim_below(3);
}

static void link_to(struct stree *t, const char *path, const char *to)
{
	stree_set(t, path, NODE_LINK, 0777, sim_blob(to, strlen(to)));
}

static void make_old(struct starget *st, int index)
{
	struct stree *t = &st->now;
	const char *const dirs[] = {"/var",    "/var/lib", "/srv",          "/srv/dx",          "/srv/empty",
	                            "/srv/m0", "/app",     "/app/releases", "/app/releases/r0", "/app/releases/r1"};
	char text[64];
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		stree_set(t, dirs[i], NODE_DIR, 0755, NULL);
	for (int i = 0; i < 5; i++) {
		char path[64];
		snprintf(path, sizeof(path), "/srv/f%d", i);
		snprintf(text, sizeof(text), "old f%d of t%d", i, index);
		file(t, path, text, (uint16_t)(sim_below(2) ? 0644 : 0600));
	}
	file(t, "/srv/secret", "old secret", 0600);
	file(t, "/srv/dx/inner", "inner", 0644);
	file(t, "/srv/m0/moved", "moved", 0644);
	file(t, "/app/releases/r0/version", "r0", 0644);
	file(t, "/app/releases/r1/version", "r1", 0644);
	link_to(t, "/srv/l0", "f0");
	link_to(t, "/app/current", sim_old_release);
	st->used = true;
	snprintf(st->serving, sizeof(st->serving), "%s", sim_old_release);
	stree_copy(&st->durable, t);
}

/* ---- the deployment ---- */

static json_t *effect(const char *kind, const char *path)
{
	return json_pack("{s:s, s:s}", "kind", kind, "path", path);
}

enum { EFFECTS = 16 };

static json_t *make_effect(int which, struct scenario *sc)
{
	char path[64], text[64];
	json_t *e;
	switch (which) {
	case 0:
	case 1:
	case 2:
	case 3:
		snprintf(path, sizeof(path), "/srv/f%d", which);
		snprintf(text, sizeof(text), "new f%d", which);
		e = effect("file", path);
		json_object_set_new(e, "text", json_string(text));
		if (sim_below(3) == 0)
			json_object_set_new(e, "mode", json_string("0640"));
		if (sim_below(3) == 0)
			json_object_set_new(e, "row", json_true());
		if (sc->person_path[0] == '\0')
			snprintf(sc->person_path, sizeof(sc->person_path), "%s", path);
		return e;
	case 4:
	case 5:
		snprintf(path, sizeof(path), "/srv/n%d", which);
		e = effect("file", path);
		json_object_set_new(e, "text", json_string("new file"));
		return e;
	case 6:
		e = effect("file", "/srv/secret");
		json_object_set_new(e, "text", json_string("new secret"));
		json_object_set_new(e, "secret", json_true());
		sc->has_secret = true;
		return e;
	case 7:
		e = effect("file", "/srv/new-secret");
		json_object_set_new(e, "text", json_string("another secret"));
		json_object_set_new(e, "secret", json_true());
		json_object_set_new(e, "mode", json_string("0600"));
		return e;
	case 8:
		e = effect("dir", "/srv/d0");
		json_object_set_new(e, "mode", json_string("0750"));
		return e;
	case 9:
		e = effect("dir", "/srv/d1");
		json_object_set_new(e, "mode", json_string("0700"));
		return e;
	case 10:
		e = effect("attr", "/srv/dx");
		json_object_set_new(e, "mode", json_string("0711"));
		json_object_set_new(e, "owner", json_string("u7"));
		return e;
	case 11:
		e = effect("link", "/srv/l0");
		json_object_set_new(e, "to", json_string("f1"));
		return e;
	case 12:
		e = effect("link", "/srv/l1");
		json_object_set_new(e, "to", json_string("f2"));
		return e;
	case 13:
		return effect("remove", "/srv/f4");
	case 14:
		return effect("remove", "/srv/empty");
	default:
		e = effect("move", "/srv/m0");
		json_object_set_new(e, "to", json_string("/srv/m1"));
		return e;
	}
}

static json_t *change_step(bool used[EFFECTS], struct scenario *sc)
{
	json_t *effects = json_array();
	int count = 1 + (int)sim_below(5);
	for (int i = 0; i < count; i++) {
		int which = (int)sim_below(EFFECTS);
		if (used[which])
			continue;
		used[which] = true;
		json_array_append_new(effects, make_effect(which, sc));
		if (which == 8 && sim_below(2)) {
			json_t *inside = effect("file", "/srv/d0/inside");
			json_object_set_new(inside, "text", json_string("inside"));
			if (sim_below(2))
				snprintf(sc->person_path, sizeof(sc->person_path), "/srv/d0/inside");
			json_array_append_new(effects, inside);
		}
	}
	return json_pack("{s:s, s:{s:o}}", "step", "change", "input", "effects", effects);
}

static json_t *all_targets(int count)
{
	json_t *list = json_array();
	for (int i = 0; i < count; i++) {
		char name[16];
		snprintf(name, sizeof(name), "t%d", i);
		json_array_append_new(list, json_string(name));
	}
	return list;
}

static json_t *targets_of(int count)
{
	json_t *o = json_object();
	for (int i = 0; i < count; i++) {
		char name[16];
		snprintf(name, sizeof(name), "t%d", i);
		json_object_set_new(o, name, json_pack("{s:{}}", "local"));
	}
	return o;
}

static void add_step(json_t *steps, json_t *step, int targets, bool all)
{
	if (all || sim_below(2) == 0) {
		json_object_set_new(step, "target", all_targets(targets));
	} else {
		char name[16];
		snprintf(name, sizeof(name), "t%d", (int)sim_below((uint64_t)targets));
		json_object_set_new(step, "target", json_string(name));
	}
	json_array_append_new(steps, step);
}

static void make_deployment(struct scenario *sc)
{
	bool used[EFFECTS] = {false};
	json_t *steps = json_array();
	int kinds = 1 + (int)sim_below(3);
	if (sim_below(5) == 0)
		add_step(steps, json_pack("{s:s, s:{}}", "step", "snap", "input"), sc->target_count, false);
	for (int i = 0; i < kinds; i++)
		add_step(steps, change_step(used, sc), sc->target_count, false);
	if (sim_below(2) == 0) {
		sc->has_release = true;
		add_step(steps,
		         json_pack("{s:s, s:{s:s, s:{s:s, s:s}}}", "step", "release", "input", "path", "/app", "files",
		                   "version", "the new one", "index", "html"),
		         sc->target_count, true);
		if (sim_below(3) != 0) {
			sc->has_restart = true;
			add_step(steps, json_pack("{s:s, s:{}}", "step", "restart", "input"), sc->target_count, true);
		}
	}
	if (sim_below(4) == 0)
		add_step(steps, change_step(used, sc), sc->target_count, false);
	if (sim_below(4) != 0) {
		sc->has_gate = true;
		json_array_append_new(steps, json_pack("{s:s, s:{}}", "step", "gate", "input"));
	}
	_cleanup_json_ json_t *d = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "name", "sim", "environment", "world",
	                                     "file", "main", "on_failure", sc->hold ? "hold" : "rollback", "targets",
	                                     targets_of(sc->target_count), "steps", steps);
	_cleanup_free_ char *text = json_text(d);
	sc->deployment = sim_strdup(text);
}

static void make_contender(struct scenario *sc)
{
	json_t *e = effect("file", "/srv/contender");
	json_object_set_new(e, "text", json_string("contender"));
	json_t *step = json_pack("{s:s, s:o, s:{s:[o]}}", "step", "change", "target", all_targets(sc->target_count),
	                         "input", "effects", e);
	_cleanup_json_ json_t *d = json_pack("{s:s, s:s, s:s, s:s, s:o, s:[o]}", "name", "sim", "environment", "world",
	                                     "file", "contender", "on_failure", "rollback", "targets",
	                                     targets_of(sc->target_count), "steps", step);
	_cleanup_free_ char *text = json_text(d);
	sc->contender_deployment = sim_strdup(text);
}

/* ---- what fails ---- */

static uint32_t rate(uint64_t one_in, uint32_t most)
{
	return sim_below(one_in) == 0 ? 1 + (uint32_t)sim_below(most) : 0;
}

static void make_faults(struct scenario *sc)
{
	static const int spans[] = {40, 150, 300, 600};
	sc->rates = (struct rates){
		.before = rate(4, 30000),
		.after = rate(4, 30000),
		.late = rate(4, 50000),
		.full = rate(8, 8000),
		.denied = rate(12, 5000),
		.journal_full = rate(10, 8000),
		.journal_io = rate(16, 6000),
		.jump = rate(5, 20000),
		.target_power = rate(8, 4000),
	};
	int span = spans[sim_below(4)];
	for (int g = 0; g < 4 && sc->death_count < SIM_DEATHS; g++) {
		/* The deployment dies in most runs; each recovery after it in half of those before. */
		if (sim_below(10) >= (g == 0 ? 8u : 5u))
			break;
		sc->deaths[sc->death_count++] = (struct death){
			.generation = g,
			.at_op = 1 + (int64_t)sim_below((uint64_t)(g == 0 ? span : span / 2 + 20)),
			.power = sim_below(2) == 0,
			.target = sim_below(6) == 0 ? (int)sim_below((uint64_t)sc->target_count) : -1,
		};
	}
}

/* ---- what was added later: from a stream of its own ---- */

/* Signals at any point: one, a runner's two, a second SIGINT, and the end of the grace; sometimes to a recovery. */
static void make_cancels(struct scenario *sc)
{
	static const int spans[] = {60, 200, 500};
	if (sim_more_below(7) != 0)
		return;
	int generation = sim_more_below(8) == 0 ? 1 : 0;
	bool at_mark = sim_more_below(6) == 0;
	int64_t at =
		at_mark ? (int64_t)sim_more_below(6) : 1 + (int64_t)sim_more_below((uint64_t)spans[sim_more_below(3)]);
	int64_t gap = 1 + (int64_t)sim_more_below(80);
	struct cancel *c = sc->cancels;
	c[0] = (struct cancel){.generation = generation,
	                       .at_op = at,
	                       .signal = sim_more_below(4) == 0 ? SIGTERM : SIGINT,
	                       .at_mark = at_mark};
	sc->cancel_count = 1;
	switch (at_mark ? 0 : sim_more_below(6)) {
	case 0:
	case 1:
		break;
	case 2:
		c[1] = (struct cancel){.generation = generation, .at_op = at + gap, .signal = SIGTERM};
		sc->cancel_count = 2;
		break;
	case 3:
	case 4:
		c[1] = (struct cancel){.generation = generation, .at_op = at + gap, .signal = SIGINT};
		sc->cancel_count = 2;
		break;
	default:
		if (sc->death_count < SIM_DEATHS)
			sc->deaths[sc->death_count++] =
				(struct death){.generation = generation, .at_op = at + gap, .target = -1};
		break;
	}
	/* Half of them meet nothing else: then the end is known exactly. */
	if (sim_more_below(2) == 0 && generation == 0) {
		memset(&sc->rates, 0, sizeof(sc->rates));
		sc->death_count = 0;
		sc->person = PERSON_NEVER;
		sc->contender = CONTENDER_NONE;
		sc->machine_lost = false;
	}
}

/* Where something cannot be taken back, the power goes while that is being found out. */
static void make_deaths_by_state(struct scenario *sc)
{
	bool conflicts = sc->rates.denied > 0 || sc->person != PERSON_NEVER;
	bool more = sim_more_below(12) == 0;
	if ((!conflicts && !more) || sc->death_count == SIM_DEATHS)
		return;
	if (more && sc->has_gate) {
		sc->gate = GATE_FAILS;
		sc->refused_from_gate = 5 + (int)sim_more_below(60);
		sc->death_count = 0;
	} else if (more) {
		sc->rates.denied = 4000 + (uint32_t)sim_more_below(20000);
	}
	bool blocked = sim_more_below(2) == 0;
	sc->deaths[sc->death_count++] = (struct death){
		.by_state = true,
		.in_state = blocked ? CHANGE_BLOCKED : CHANGE_CONFLICT,
		.at_op = (int64_t)sim_more_below(blocked ? 4 : 20),
		.power = sim_more_below(2) == 0,
		.target = sim_more_below(4) != 0 ? (int)sim_more_below((uint64_t)sc->target_count) : -1,
	};
}

/* Of the releases a third are what archive-upload makes of a source, with a former one to build upon. */
static void make_upload(struct scenario *sc)
{
	if (!sc->has_release || sim_more_below(3) != 0)
		return;
	_cleanup_json_ json_t *d = json_loads(sc->deployment, 0, NULL);
	size_t i;
	json_t *step;
	json_array_foreach(json_object_get(d, "steps"), i, step)
	{
		const char *name = json_get_string(step, "step");
		if (name && strcmp(name, "release") == 0)
			sim_upload_choose(sc, step);
	}
	json_object_set_new(d, "source_root", json_string("."));
	_cleanup_free_ char *text = json_text(d);
	sc->deployment = sim_strdup(text);
	for (int k = 0; k < sc->target_count; k++)
		sim_upload_old_world(sc, &world->targets[k]);
}

/* Runs in which requests arrive late again and again, some so late that they meet the undo. */
static void make_lates(struct scenario *sc)
{
	if (sim_more_below(16) != 0)
		return;
	sc->rates.late += 20000 + (uint32_t)sim_more_below(60000);
	sc->rates.before = sc->rates.after = 0;
	sc->late_ops = 300;
	sc->gate = sim_more_below(3) == 0 ? sc->gate : GATE_FAILS;
}

/* What is new takes the room that the old needs in the undo. */
static void make_no_room(struct scenario *sc)
{
	static const char *const made[] = {"/srv/n4", "/srv/n5"};
	const char *path = made[sim_more_below(2)];
	if (sc->real || sc->goes_back || sc->job || !sc->has_gate || strstr(sc->deployment, path) == NULL ||
	    sim_more_below(4) != 0)
		return;
	sc->no_room = true;
	sc->gate = GATE_FAILS;
	sc->rates.full = 0;
	snprintf(sc->room_path, sizeof(sc->room_path), "%s", path);
}

/* A hand that a change meets: on a target where a step changes that very path. */
static void meet_a_change(struct scenario *sc)
{
	_cleanup_json_ json_t *d = json_loads(sc->deployment, 0, NULL);
	json_t *step, *one;
	size_t i, j;
	json_array_foreach(json_object_get(d, "steps"), i, step)
	{
		json_array_foreach(json_object_get(json_object_get(step, "input"), "effects"), j, one)
		{
			const char *path = json_string_value(json_object_get(one, "path"));
			for (int t = 0; t < sc->target_count; t++)
				if (path != NULL && strcmp(path, sc->person_path) == 0 &&
				    scenario_names_target(step, t))
					sc->person_target = t;
		}
	}
}

void scenario_make(uint64_t seed)
{
	struct scenario *sc = &world->sc;
	world_reset(seed);
	sc->seed = seed;
	sc->target_count = 1 + (int)sim_below(SIM_TARGETS);
	sc->hold = sim_below(10) == 0;
	sc->gate = sim_below(2) == 0 ? GATE_PASSES : sim_below(4) == 0 ? GATE_HANGS : GATE_FAILS;
	sc->baseline_sick = sim_below(10) == 0;
	for (int i = 0; i < sc->target_count; i++) {
		make_old(&world->targets[i], i);
		world->targets[i].remote = sim_below(4) != 0;
	}
	make_deployment(sc);
	make_contender(sc);
	make_faults(sc);
	if (sim_below(8) == 0 && sc->person_path[0]) {
		sc->person = sim_below(2) ? PERSON_AFTER_PLAN : PERSON_AT_GATE;
		sc->person_target = (int)sim_below((uint64_t)sc->target_count);
		if (sim_more_below(4) != 0)
			meet_a_change(sc);
	}
	uint64_t other = sim_below(12);
	if (other == 0)
		sc->contender = CONTENDER_DEPLOYS;
	else if (other == 1)
		sc->contender = CONTENDER_RECOVERS;
	else if (other == 2)
		sc->contender = CONTENDER_TAKES_OVER;
	sc->contender_at_op = 1 + (int64_t)sim_below(300);
	sc->contender_wait_ms = sim_below(2) ? 0 : 600000;
	sc->machine_lost = sc->contender == CONTENDER_NONE && sim_below(8) == 0;
	sc->job = sc->contender == CONTENDER_NONE && !sc->machine_lost && sim_below(5) == 0;
	if (sim_below(25) == 0) {
		/* Some runs without any fault: the plain way must work too. */
		memset(&sc->rates, 0, sizeof(sc->rates));
		sc->death_count = 0;
		sc->person = PERSON_NEVER;
		sc->contender = CONTENDER_NONE;
		sc->machine_lost = false;
	}
	make_deaths_by_state(sc);
	/* Half of the plans are reviewed; the others meet the person's hand when they are carried out. */
	sc->expects = sc->person == PERSON_AFTER_PLAN && !sc->job && strncmp(sc->person_path, "/srv/f", 6) == 0 &&
	              sim_more_below(2) == 0;
	make_cancels(sc);
	make_upload(sc);
	make_lates(sc);
	sim_real_choose(sc);
	sim_back_choose(sc);
	sim_locks_choose(sc);
	sim_api_choose(sc);
	make_no_room(sc);
	sim_alone_choose(sc);
	if (sim_in_postgres)
		sim_store_choose(sc);
	world->faults_on = true;
}

/* ---- the two right worlds ---- */

static void model_effect(struct stree *t, const json_t *e)
{
	const char *kind = json_get_string(e, "kind"), *path = json_get_string(e, "path"),
		   *mode = json_get_string(e, "mode");
	const char *to = json_get_string(e, "to"), *text = json_get_string(e, "text");
	struct snode *n = stree_find(t, path);
	uint16_t bits = mode ? (uint16_t)strtoul(mode, NULL, 8) : n ? n->mode : 0644;
	if (strcmp(kind, "file") == 0) {
		stree_set(t, path, NODE_FILE, bits, sim_blob(text, strlen(text)));
	} else if (strcmp(kind, "dir") == 0 || strcmp(kind, "attr") == 0) {
		n = stree_set(t, path, NODE_DIR, bits, NULL);
		if (json_get_string(e, "owner"))
			n->uid = (uint32_t)strtoul(json_get_string(e, "owner") + 1, NULL, 10);
	} else if (strcmp(kind, "link") == 0) {
		stree_set(t, path, NODE_LINK, 0777, sim_blob(to, strlen(to)));
	} else if (strcmp(kind, "remove") == 0) {
		if (n)
			stree_drop(t, n);
	} else {
		for (int i = 0; i < t->count; i++)
			if (is_within(path, t->nodes[i].path)) {
				char moved[SIM_PATH * 2];
				snprintf(moved, sizeof(moved), "%s%s", to, t->nodes[i].path + strlen(path));
				snprintf(t->nodes[i].path, SIM_PATH, "%.*s", SIM_PATH - 1, moved);
			}
	}
}

static void model_step(struct stree *t, const json_t *step)
{
	const char *name = json_get_string(step, "step");
	const json_t *input = json_object_get(step, "input");
	if (strcmp(name, "change") == 0) {
		const json_t *effects = json_object_get(input, "effects");
		for (size_t i = 0; i < json_array_size(effects); i++)
			model_effect(t, json_array_get(effects, i));
	} else if (sim_api_is_step(name)) {
		return;
	} else if (strcmp(name, "archive-upload") == 0) {
		sim_upload_model(t, input);
	} else if (world->sc.real && strcmp(name, "release") != 0) {
		sim_real_model(t, step);
	} else if (strcmp(name, "release") == 0) {
		const char *file_name;
		json_t *text;
		stree_set(t, "/app/releases/ID", NODE_DIR, 0755, NULL);
		json_object_foreach(json_object_get(input, "files"), file_name, text)
		{
			char path[SIM_PATH];
			snprintf(path, sizeof(path), "/app/releases/ID/%s", file_name);
			stree_set(t, path, NODE_FILE, 0600,
			          sim_blob(json_string_value(text), json_string_length(text)));
		}
		stree_set(t, "/app/releases/.ID.manifest", NODE_FILE, 0644, sim_blob("manifest", 8));
		stree_set(t, "/app/current", NODE_LINK, 0777, sim_blob("releases/ID", 11));
	}
}

bool scenario_names_target(const json_t *step, int index)
{
	const json_t *t = json_object_get(step, "target");
	char name[16];
	snprintf(name, sizeof(name), "t%d", index);
	if (json_is_string(t))
		return strcmp(json_string_value(t), name) == 0;
	for (size_t i = 0; i < json_array_size(t); i++)
		if (strcmp(json_string_value(json_array_get(t, i)), name) == 0)
			return true;
	return false;
}

void scenario_new(const struct stree *old, uint32_t without, struct stree *ret_new)
{
	_cleanup_json_ json_t *d = json_loads(world->sc.deployment, 0, NULL);
	const json_t *steps = json_object_get(d, "steps");
	for (int i = 0; i < world->sc.target_count; i++) {
		stree_copy(&ret_new[i], &old[i]);
		for (size_t k = 0; k < json_array_size(steps); k++)
			if (!(without & (1u << k)) && scenario_names_target(json_array_get(steps, k), i))
				model_step(&ret_new[i], json_array_get(steps, k));
	}
}

void scenario_models(struct stree *ret_old, struct stree *ret_new)
{
	for (int i = 0; i < world->sc.target_count; i++)
		stree_copy(&ret_old[i], &world->targets[i].now);
	scenario_new(ret_old, 0, ret_new);
	for (int i = 0; world->sc.goes_back && i < world->sc.target_count; i++) {
		stree_copy(&ret_new[i], &ret_old[i]);
		sim_back_model(&ret_new[i], i);
	}
}
