/* Scenarios of the product's own steps: snapshot with what it excludes, apply, secret-write and run as they are, upon a world that a former
 * deployment made, with a service that runs with what it read when it was last started, and users who go on writing. */
#include "sim/sim.h"

#include "base/data/json.h"
#include "base/core/mem.h"
#include <stdio.h>
#include <string.h>

/* What snapshots exclude, and users write to. */
static const char *const kept_paths[SIM_KEPT] = {"/srv/data/cache/page", "/srv/data/uploads/tmp/part",
                                                 "/srv/data/cache/other"};
static const char *const kept_dirs[] = {"/srv/data/cache", "/srv/data/uploads/tmp"};
enum { DATA_UID = 5, READER = 7 };
/* What only the step gives, once it was reached. */
static const char snapshot_path[] = "${{ steps.snapshot.outputs.path }}";
static const char old_db[] = "db of version 1", new_db[] = "db of version 2", wrong_text[] = "the wrong command ran";

/* ---- the old world ---- */

static struct snode *put(struct stree *t, const char *path, enum node_type type, uint16_t mode, uint32_t owner,
                         const char *text)
{
	const struct blob *b = text ? sim_blob(text, strlen(text)) : NULL;
	struct snode *n = stree_set(t, path, type, mode, b);
	n->synced = b;
	n->uid = n->gid = owner;
	n->mtime_ns = 1600000000000000000;
	return n;
}

static void make_old(struct starget *st)
{
	struct stree *t = &st->now;
	put(t, "/srv/data", NODE_DIR, 0751, DATA_UID, NULL);
	put(t, "/srv/data/db", NODE_FILE, 0640, DATA_UID, old_db);
	put(t, "/srv/data/uploads", NODE_DIR, 0770, DATA_UID, NULL);
	put(t, "/srv/data/uploads/cat", NODE_FILE, 0644, DATA_UID, "a cat");
	put(t, "/srv/data/uploads/tmp", NODE_DIR, 0700, DATA_UID, NULL);
	put(t, "/srv/data/cache", NODE_DIR, 0711, DATA_UID, NULL);
	put(t, "/srv/etc", NODE_DIR, 0755, 0, NULL);
	put(t, "/srv/etc/app.conf", NODE_FILE, 0644, 0, "conf of version 1");
	for (int i = 0; i < SIM_KEPT; i++)
		st->kept[i] = put(t, kept_paths[i], NODE_FILE, 0600, DATA_UID, "written by a user")->content;
	if (sim_more_below(3) != 0)
		put(t, "/srv/etc/app.env", NODE_FILE, 0600, 0, "# by hand\nTOKEN=old-" SIM_SECRET "\nKEEP=1\n");
	if (sim_more_below(3) == 0) {
		struct snode *n = stree_find(t, "/srv/etc/app.conf");
		n->acl = sim_blob("user:8:r--\n", 11);
	}
	st->no_acl = sim_more_below(6) == 0;
	stree_copy(&st->durable, t);
}

/* ---- the steps ---- */

static json_t *targets_of_step(const struct scenario *sc, bool all)
{
	json_t *list = json_array();
	int one = (int)sim_more_below((uint64_t)sc->target_count);
	for (int i = 0; i < sc->target_count; i++)
		if (all || i == one)
			json_array_append_new(list, json_stringf("t%d", i));
	return list;
}

static void add(json_t *steps, const struct scenario *sc, bool all, const char *name, json_t *input)
{
	json_t *step = json_pack("{s:s, s:o, s:o}", "step", name, "target", targets_of_step(sc, all), "input", input);
	if (strcmp(name, "snapshot") == 0)
		json_object_set_new(step, "id", json_string(name));
	json_array_append_new(steps, step);
}

static json_t *file_resource(const char *path, const char *content, const char *mode)
{
	json_t *f = json_pack("{s:s, s:s}", "path", path, "content", content);
	if (mode)
		json_object_set_new(f, "mode", json_string(mode));
	return json_pack("{s:o}", "file", f);
}

static json_t *link_resource(const char *path, const char *to)
{
	return json_pack("{s:{s:s, s:s}}", "link", "path", path, "to", to);
}

static json_t *dir_resource(const char *path, const char *mode)
{
	return json_pack("{s:{s:s, s:s}}", "directory", "path", path, "mode", mode);
}

static json_t *apply_step_of(json_t *resources, json_t *allowed)
{
	json_t *s = json_pack("{s:s, s:s, s:{s:o}}", "step", "apply", "id", "state", "input", "resources", resources);
	if (allowed)
		json_object_set_new(json_object_get(s, "input"), "allow_destroy", allowed);
	return s;
}

/* What stands there before: some of it leaves, some of it becomes something else. */
static json_t *former_state(void)
{
	return json_pack("[o, o, o, o, o]", dir_resource("/srv/etc/conf.d", "0750"),
	                 file_resource("/srv/etc/conf.d/a", "a part", "0640"),
	                 file_resource("/srv/etc/gone", "it will go", "0604"),
	                 file_resource("/srv/etc/swap", "a file of its own", NULL),
	                 link_resource("/srv/etc/way", "app.conf"));
}

static void add_apply(json_t *steps, const struct scenario *sc, bool all)
{
	json_t *resources = json_array(), *allowed = json_array();
	bool dir_goes = sim_more_below(2) == 0;
	if (dir_goes) {
		json_array_append_new(allowed, json_string("file:/srv/etc/conf.d/a"));
		json_array_append_new(allowed, json_string("directory:/srv/etc/conf.d"));
	} else {
		json_array_append_new(resources, dir_resource("/srv/etc/conf.d", sim_more_below(2) ? "0750" : "0700"));
		json_array_append_new(resources, file_resource("/srv/etc/conf.d/a",
		                                               sim_more_below(2) ? "a part" : "another part", "0640"));
	}
	json_array_append_new(allowed, json_string("file:/srv/etc/gone"));
	if (sim_more_below(2) == 0) {
		json_array_append_new(resources, link_resource("/srv/etc/swap", "app.conf"));
		json_array_append_new(allowed, json_string("file:/srv/etc/swap"));
	} else {
		json_array_append_new(resources,
		                      file_resource("/srv/etc/swap",
		                                    sim_more_below(2) ? "a file of its own" : "its new content", NULL));
	}
	json_array_append_new(resources, link_resource("/srv/etc/way", sim_more_below(2) ? "app.conf" : "swap"));
	if (sim_more_below(3) != 0)
		json_array_append_new(resources, file_resource("/srv/etc/app.conf", "conf of version 2",
		                                               sim_more_below(2) ? "0640" : NULL));
	if (sim_more_below(2) == 0) {
		json_array_append_new(resources, dir_resource("/srv/etc/new.d", "0711"));
		json_array_append_new(resources, file_resource("/srv/etc/new.d/b", "new", NULL));
	}
	json_t *s = apply_step_of(resources, allowed);
	json_object_set_new(s, "target", targets_of_step(sc, all));
	json_array_append_new(steps, s);
}

static void add_secret(json_t *steps, const struct scenario *sc)
{
	json_t *in = json_pack("{s:s, s:{s:s}, s:s}", "path", "/srv/etc/app.env", "values", "TOKEN", "new-" SIM_SECRET,
	                       "mode", sim_more_below(2) ? "0600" : "0400");
	if (sim_more_below(2) == 0)
		json_object_set_new(in, "generate", json_pack("{s:s}", "PASSWORD", "hex32"));
	if (sim_more_below(2) == 0)
		json_object_set_new(in, "readable_by", json_pack("[s]", "7"));
	add(steps, sc, sim_more_below(3) != 0, "secret-write", in);
}

static void make_deployment(struct scenario *sc)
{
	json_t *steps = json_array();
	sc->in_command = sc->contender == CONTENDER_NONE && !sc->job && sim_more_below(8) == 0;
	bool snapshot = !sc->in_command && sim_more_below(3) != 0, restarts = sim_more_below(4) != 0;
	sc->has_release = sc->has_gate = sc->has_secret = sc->has_upload = false;
	sc->has_restart = restarts;
	if (snapshot)
		add(steps, sc, true, "snapshot",
		    json_pack("{s:{s:[s], s:[s, s], s:b}}", "files", "paths", "/srv/data", "exclude", "cache/",
		              "uploads/tmp", "restore_on_rollback", 1));
	if (sim_more_below(2) == 0 || sc->in_command) {
		json_t *in = json_pack("{s:[s, s, s]}", "command", "write", "/srv/data/db", new_db);
		/* A job may go on without its snapshot. */
		bool by_command = !snapshot || sc->goes_on;
		if (!by_command)
			json_object_set_new(in, "undo", json_string("none"));
		else
			json_object_set_new(in, "undo", json_pack("[s, s, s]", "write", "/srv/data/db", old_db));
		sc->undone_by_command = by_command;
		add(steps, sc, sim_more_below(2) == 0, "run", in);
	}
	if (sim_more_below(3) != 0)
		add_apply(steps, sc, sim_more_below(2) == 0);
	if (sim_more_below(3) != 0)
		add_secret(steps, sc);
	if (sim_more_below(4) == 0) {
		sc->has_release = true;
		add(steps, sc, true, "release",
		    json_pack("{s:s, s:{s:s}}", "path", "/app", "files", "version", "the new one"));
	}
	if (restarts)
		add(steps, sc, true, "run", json_pack("{s:[s], s:[s]}", "command", "restart", "after_undo", "restart"));
	sc->tells = snapshot && !sc->job && sim_more_below(2) == 0;
	if (sc->tells)
		add(steps, sc, false, "run",
		    json_pack("{s:[s, s], s:[s, s]}", "command", "tell", snapshot_path, "after_undo", "tell",
		              snapshot_path));
	if (sim_more_below(4) != 0) {
		sc->has_gate = true;
		json_array_append_new(steps, json_pack("{s:s, s:{}}", "step", "gate", "input"));
	}
	_cleanup_json_ json_t *d = json_loads(sc->deployment, 0, NULL);
	json_object_set_new(d, "steps", steps);
	_cleanup_free_ char *text = json_text(d);
	sc->deployment = sim_strdup(text);
}

/* A target that nothing was deployed to so far, beside others; one with a release, else there is nothing to tell them apart by. */
static void make_fresh(struct scenario *sc)
{
	struct starget *t = &world->targets[sim_more_below((uint64_t)sc->target_count)];
	if (sc->target_count < 2 || !sc->has_release || sim_more_below(2) == 0)
		return;
	static const char *const gone[] = {"/app/current", "/app/releases/r0/version", "/app/releases/r0",
	                                   "/app/releases/r1/version", "/app/releases/r1"};
	for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
		stree_drop(&t->now, stree_find(&t->now, gone[i]));
	stree_copy(&t->durable, &t->now);
	t->fresh = true;
}

static json_t *deployed_before(const struct scenario *sc)
{
	json_t *list = json_array();
	for (int i = 0; i < sc->target_count; i++)
		if (!world->targets[i].fresh)
			json_array_append_new(list, json_stringf("t%d", i));
	return list;
}

/* The file as it is on another machine: another step stands before the others, one has gone, or its commands are others. */
static void make_moved(struct scenario *sc)
{
	bool other_machine = sc->machine_lost || sc->contender == CONTENDER_TAKES_OVER;
	if (!other_machine || sim_more_below(3) != 0)
		return;
	_cleanup_json_ json_t *d = json_loads(sc->deployment, 0, NULL);
	json_t *steps = json_object_get(d, "steps");
	_cleanup_json_ json_t *wrong = json_pack("{s:s, s:o, s:{s:[s, s, s], s:[s, s, s]}}", "step", "run", "target",
	                                         targets_of_step(sc, true), "input", "command", "write", "/srv/data/db",
	                                         wrong_text, "undo", "write", "/srv/data/db", wrong_text);
	switch (sim_more_below(3)) {
	case 0:
		json_array_insert(steps, 0, wrong);
		break;
	case 1:
		json_array_remove(steps, 0);
		json_array_append(steps, wrong);
		break;
	default:
		json_array_set(steps, (size_t)sim_more_below(json_array_size(steps)), wrong);
		break;
	}
	_cleanup_free_ char *text = json_text(d);
	sc->moved = sim_strdup(text);
}

static void make_prelude(struct scenario *sc)
{
	_cleanup_json_ json_t *d = json_loads(sc->deployment, 0, NULL);
	json_t *s = apply_step_of(former_state(), NULL);
	json_object_set_new(s, "target", deployed_before(sc));
	json_object_set_new(d, "steps", json_pack("[o]", s));
	json_object_set_new(d, "file", json_string("prelude"));
	_cleanup_free_ char *text = json_text(d);
	sc->prelude = sim_strdup(text);
}

/* What it had begun goes on without it; half of them are recovered by another machine, which has the copies only. */
static void die_in_command(struct scenario *sc)
{
	memset(&sc->rates, 0, sizeof(sc->rates));
	sc->machine_lost = sim_more_below(2) == 0;
	sc->moved = NULL;
	sc->cancel_count = 0;
	sc->person = PERSON_NEVER;
	sc->deaths[0] = (struct death){
		.by_state = true, .in_state = CHANGE_STARTED, .at_op = (int64_t)sim_more_below(8), .target = -1};
	sc->death_count = 1;
}

/* Of the scenarios without an upload a quarter are of these. */
void sim_real_choose(struct scenario *sc)
{
	if (sc->has_upload || sim_more_below(4) != 0)
		return;
	sc->real = true;
	sc->goes_on = sc->job && sim_more_below(2) == 0;
	for (int i = 0; i < sc->target_count; i++)
		make_old(&world->targets[i]);
	make_deployment(sc);
	make_fresh(sc);
	make_prelude(sc);
	make_moved(sc);
	if (sc->in_command)
		die_in_command(sc);
	if (sc->person != PERSON_NEVER)
		snprintf(sc->person_path, sizeof(sc->person_path), "/srv/etc/app.conf");
}

/* ---- the right worlds ---- */

static void model_attr(struct snode *n, const json_t *resource)
{
	const char *mode = json_get_string(resource, "mode");
	if (mode)
		n->mode = (uint16_t)strtoul(mode, NULL, 8);
}

static void model_file(struct stree *t, const char *path, const char *text, const json_t *resource)
{
	const struct snode *old = stree_find(t, path);
	bool there = old && old->type == NODE_FILE;
	uint32_t uid = there ? old->uid : 0, gid = there ? old->gid : 0;
	const struct blob *acl = there ? old->acl : NULL;
	struct snode *n = stree_set(t, path, NODE_FILE, there ? old->mode : 0644, sim_blob(text, strlen(text)));
	n->uid = uid;
	n->gid = gid;
	n->acl = acl;
	model_attr(n, resource);
}

static void model_apply(struct stree *t, const json_t *input)
{
	size_t i;
	json_t *r, *allowed = json_object_get(input, "allow_destroy");
	json_array_foreach(allowed, i, r)
	{
		struct snode *n = stree_find(t, strchr(json_string_value(r), ':') + 1);
		if (n)
			stree_drop(t, n);
	}
	json_array_foreach(json_object_get(input, "resources"), i, r)
	{
		const json_t *f = json_object_get(r, "file"), *d = json_object_get(r, "directory"),
			     *l = json_object_get(r, "link");
		if (f) {
			model_file(t, json_get_string(f, "path"), json_get_string(f, "content"), f);
		} else if (d) {
			struct snode *n = stree_find(t, json_get_string(d, "path"));
			model_attr(n ? n : stree_set(t, json_get_string(d, "path"), NODE_DIR, 0755, NULL), d);
		} else {
			stree_set(t, json_get_string(l, "path"), NODE_LINK, 0777,
			          sim_blob(json_get_string(l, "to"), strlen(json_get_string(l, "to"))));
		}
	}
}

static void model_secret(struct stree *t, const json_t *input)
{
	const char *path = json_get_string(input, "path");
	bool there = stree_find(t, path) != NULL, generates = json_object_get(input, "generate") != NULL;
	const char *text = generates ? sim_any_content
	                   : there   ? "# by hand\nTOKEN=new-" SIM_SECRET "\nKEEP=1\n"
	                             : "TOKEN=new-" SIM_SECRET "\n";
	model_file(t, path, text, input);
	struct snode *n = stree_find(t, path);
	if (json_object_get(input, "readable_by")) {
		n->mode |= 0040;
		n->acl = sim_blob("user:7:r--\n", 11);
	}
}

void sim_real_model(struct stree *t, const json_t *step)
{
	const char *name = json_get_string(step, "step");
	const json_t *input = json_object_get(step, "input"), *command = json_object_get(input, "command");
	if (strcmp(name, "apply") == 0)
		model_apply(t, input);
	else if (strcmp(name, "secret-write") == 0)
		model_secret(t, input);
	else if (strcmp(name, "run") == 0 && json_array_size(command) == 3)
		model_file(t, json_string_value(json_array_get(command, 1)),
		           json_string_value(json_array_get(command, 2)), NULL);
}

/* In place of the expression language: the one expression of these scenarios. */
int sim_real_resolve(void *context, int step_index, const json_t *contexts, json_t **ret_input, struct err *err)
{
	(void)err;
	const json_t *snapshot = json_object_get(json_object_get(contexts, "steps"), "snapshot");
	json_t *path = json_object_get(json_object_get(snapshot, "outputs"), "path");
	const json_t *step = json_array_get(json_object_get((const json_t *)context, "steps"), (size_t)step_index);
	json_t *input = json_deep_copy(json_object_get(step, "input"));
	static const char *const keys[] = {"command", "after_undo"};
	for (size_t i = 0; path && i < ARRAY_SIZE(keys); i++) {
		json_t *words = json_object_get(input, keys[i]);
		const char *last = json_string_value(json_array_get(words, json_array_size(words) - 1));
		if (last && strcmp(last, snapshot_path) == 0)
			json_array_set(words, json_array_size(words) - 1, path);
	}
	*ret_input = input;
	return 0;
}

bool sim_real_restarts(const json_t *step)
{
	return json_array_size(json_object_get(json_object_get(step, "input"), "command")) == 1;
}

bool sim_real_is_wrong(const struct snode *n)
{
	/* A command that died in the middle has written half of it. */
	return n->type == NODE_FILE && n->content && n->content->len > 0 &&
	       strncmp((const char *)n->content->data, wrong_text, strlen(wrong_text) / 2) == 0;
}

/* ---- users ---- */

bool sim_real_kept(const char *path)
{
	for (size_t i = 0; world->sc.real && i < ARRAY_SIZE(kept_dirs); i++)
		if (is_within(kept_dirs[i], path))
			return true;
	return false;
}

/* Where the folder is at its place; what they write is durable. */
void sim_users_write(void)
{
	for (int i = 0; world->sc.real && i < world->sc.target_count; i++) {
		struct starget *t = &world->targets[i];
		int which = (int)sim_below(SIM_KEPT);
		struct snode *n = stree_find(&t->now, kept_paths[which]);
		if (n == NULL || sim_below(2) == 0)
			continue;
		char text[48];
		snprintf(text, sizeof(text), "written by a user at %lld", (long long)world->ops);
		n->content = n->synced = t->kept[which] = sim_blob(text, strlen(text));
		struct snode *d = stree_find(&t->durable, kept_paths[which]);
		if (d)
			d->content = d->synced = n->content;
		sim_trace("*** a user writes t%d:%s", i, kept_paths[which]);
	}
}

/* ---- what must hold ---- */

static void check_kept(int index)
{
	struct starget *t = &world->targets[index];
	for (int i = 0; i < SIM_KEPT; i++) {
		const struct snode *n = stree_find(&t->now, kept_paths[i]);
		if (n == NULL)
			sim_violation("t%d:%s, which no snapshot holds, is lost", index, kept_paths[i]);
		else if (n->content != t->kept[i] || n->mode != 0600 || n->uid != DATA_UID)
			sim_violation("t%d:%s, which no snapshot holds, is another", index, kept_paths[i]);
	}
}

static void check_service(int index)
{
	const struct starget *t = &world->targets[index];
	const char *path = sim_service_differs(t);
	const struct snode *n = path ? stree_find((struct stree *)(uintptr_t)&t->now, path) : NULL;
	if (path)
		sim_violation("t%d: the service runs with another %s than lies there (%.40s)", index, path,
		              n && n->content ? (const char *)n->content->data : "none");
}

void check_real(bool decided)
{
	/* A job that died before its restart was given, or another machine whose file has none: nobody could know of it. */
	bool knows = (!world->sc.job || strstr(world->seen.changed, ":restart\n") != NULL) && world->sc.moved == NULL;
	for (int i = 0; world->sc.real && i < world->sc.target_count; i++) {
		check_kept(i);
		if (decided && world->sc.has_restart && knows && !world->targets[i].fresh)
			check_service(i);
	}
}
