/* What must hold when the faults are over and recovery says that it is done (docs/simulation.md). */
#include "sim/sim.h"

#include "base/core/mem.h"
#include <stdio.h>
#include <string.h>

enum { CANCEL_MS = 60000 };

const char sim_any_content[] = "*";
static const char base[] = "/var/lib/davit";
static const struct stree *wanted_trees; /* what the deployment was to make */

/* What retention may or may not have removed yet, and what a contender makes, are judged by themselves. */
static bool left_out(const char *path, bool old)
{
	if ((!old && sim_upload_retention(path)) || sim_real_kept(path))
		return true;
	return is_within(base, path) || is_within("/app/releases/r1", path) || strcmp(path, "/srv/contender") == 0;
}

static bool same_content(const struct snode *a, const struct snode *b)
{
	char x[SIM_TEXT], y[SIM_TEXT];
	if ((a->content == NULL) != (b->content == NULL))
		return false;
	if (a->content == NULL || a->content == b->content ||
	    strcmp((const char *)a->content->data, sim_any_content) == 0)
		return true;
	sim_without_ids((const char *)a->content->data, a->content->len, x, sizeof(x));
	sim_without_ids((const char *)b->content->data, b->content->len, y, sizeof(y));
	return strcmp(x, y) == 0;
}

static bool same_acl(const struct snode *a, const struct snode *b)
{
	const char *x = a->acl ? (const char *)a->acl->data : "", *y = b->acl ? (const char *)b->acl->data : "";
	return strcmp(x, y) == 0;
}

static const struct snode *find_plain(const struct stree *t, const char *plain_path)
{
	for (int i = 0; i < t->count; i++) {
		char path[SIM_PATH];
		sim_without_ids(t->nodes[i].path, strlen(t->nodes[i].path), path, sizeof(path));
		if (strcmp(path, plain_path) == 0)
			return &t->nodes[i];
	}
	return NULL;
}

/* A directory's is that of what came and went in it, unless the deployment was to destroy it: then it comes back as a whole. */
static bool time_counts(int target, const struct snode *n)
{
	if (world->sc.undone_by_command && is_within("/srv/data", n->path))
		return false;
	bool destroyed = stree_find((struct stree *)(uintptr_t)&wanted_trees[target], n->path) == NULL;
	return n->type == NODE_FILE || (n->type == NODE_DIR && destroyed);
}

static bool same_node(int target, const struct snode *a, const struct snode *b, bool times)
{
	return a->type == b->type && a->mode == b->mode && a->uid == b->uid && a->gid == b->gid && same_acl(a, b) &&
	       same_content(a, b) && (!times || !time_counts(target, a) || a->mtime_ns == b->mtime_ns);
}

typedef void (*differ_fn)(void *context, int target, const char *path, const char *how);

static void differences(const struct stree *want, const struct stree *have, int target, bool times, differ_fn differ,
                        void *context)
{
	char path[SIM_PATH];
	for (int i = 0; i < want->count; i++) {
		const struct snode *w = &want->nodes[i];
		sim_without_ids(w->path, strlen(w->path), path, sizeof(path));
		if (left_out(path, times))
			continue;
		const struct snode *h = find_plain(have, path);
		if (h == NULL)
			differ(context, target, path, "is missing");
		else if (!same_node(target, w, h, times))
			differ(context, target, path, "is another");
	}
	for (int i = 0; i < have->count; i++) {
		const char *raw = have->nodes[i].path;
		sim_without_ids(raw, strlen(raw), path, sizeof(path));
		if (!left_out(path, times) && find_plain(want, path) == NULL)
			differ(context, target, path, "is too much");
	}
}

struct first_difference {
	bool found;
	char text[300];
};

bool sim_is_persons(int target, const char *path)
{
	return world->person_came && target == world->sc.person_target && strcmp(path, world->sc.person_path) == 0;
}

static void note_first(void *context, int target, const char *path, const char *how)
{
	struct first_difference *d = context;
	if (d->found || sim_is_persons(target, path))
		return;
	d->found = true;
	snprintf(d->text, sizeof(d->text), "t%d:%s %s", target, path, how);
}

static struct first_difference compare_all(const struct stree *want, bool times)
{
	struct first_difference d = {0};
	for (int i = 0; i < world->sc.target_count; i++)
		differences(&want[i], &world->targets[i].now, i, times, note_first, &d);
	return d;
}

/* Of a job that went on behind a step that died or was refused: each of these is there as a whole, or not at all. */
static struct first_difference compare_new(const struct stree *old_trees, const struct stree *new_trees)
{
	static struct stree without[SIM_TARGETS];
	const uint32_t missed = world->sc.missed_steps;
	struct first_difference d = compare_all(new_trees, false);
	for (uint32_t mask = missed; d.found && mask != 0; mask = (mask - 1) & missed) {
		scenario_new(old_trees, mask, without);
		struct first_difference other = compare_all(without, false);
		if (!other.found)
			d = other;
	}
	return d;
}

bool check_same_worlds(const struct stree *a)
{
	for (int i = 0; i < world->sc.target_count; i++) {
		const struct stree *b = &world->targets[i].now;
		if (a[i].count != b->count)
			return false;
		for (int k = 0; k < b->count; k++) {
			const struct snode *n = stree_find((struct stree *)(uintptr_t)&a[i], b->nodes[k].path);
			if (n == NULL || n->type != b->nodes[k].type || n->content != b->nodes[k].content ||
			    n->mode != b->nodes[k].mode)
				return false;
		}
	}
	return true;
}

/* ---- each rule ---- */

static void check_services(bool new_version)
{
	/* A job that died before its restart was given: nobody could know of it, and a target that was started anew serves what it found. */
	if (world->sc.job && strstr(world->seen.changed, ":restart\n") == NULL)
		return;
	for (int i = 0; world->sc.has_restart && i < world->sc.target_count; i++) {
		char serving[SIM_PATH], served[SIM_PATH];
		const struct starget *t = &world->targets[i];
		if (t->fresh && !new_version)
			continue;
		sim_without_ids(t->serving, strlen(t->serving), serving, sizeof(serving));
		sim_without_ids(t->served, strlen(t->served), served, sizeof(served));
		const char *newer = world->sc.goes_back ? sim_old_release : "releases/ID";
		const char *wanted = new_version && world->sc.has_release ? newer : served;
		if (strcmp(serving, wanted) != 0)
			sim_violation("t%d serves %s instead of %s", i, serving, wanted);
	}
}

static bool has_lock(int target)
{
	return stree_find(&world->targets[target].now, "/var/lib/davit/open/sim.world/lock") != NULL;
}

/* What the newest committed deployment replaced stays for a rollback. */
static bool is_former(int target, const char *path)
{
	static const char formers[] = "/var/lib/davit/former";
	bool above = strcmp(path, base) == 0 && stree_find(&world->targets[target].now, formers) != NULL;
	return above || (is_within(formers, path) && strstr(path, ".davit-") == NULL);
}

static void check_nothing_left(bool snapshots_allowed)
{
	for (int i = 0; i < world->sc.target_count; i++) {
		const struct stree *t = &world->targets[i].now;
		for (int k = 0; k < t->count; k++) {
			const char *path = t->nodes[k].path;
			bool snapshot = strcmp(path, base) == 0 || is_within("/var/lib/davit/snapshots", path);
			bool allowed = (snapshots_allowed && snapshot) || sim_locks_keep(i, path) ||
			               sim_passed_keep(path) || is_former(i, path);
			if (is_within(base, path) && !allowed)
				sim_violation("t%d:%s was left behind", i, path);
			if (strstr(path, ".davit-") && !allowed)
				sim_violation("t%d:%s was left behind", i, path);
		}
	}
}

struct naming {
	const char *names;
	bool all;
};

static void must_be_named(void *context, int target, const char *path, const char *how)
{
	struct naming *n = context;
	if (sim_is_persons(target, path))
		return;
	char line[SIM_PATH + 16], parent[SIM_PATH], ran[24], snapshot[64];
	snprintf(ran, sizeof(ran), "t%d:/\n", target);
	snprintf(snapshot, sizeof(snapshot), "t%d:/var/lib/davit/snapshots/", target);
	snprintf(parent, sizeof(parent), "%s", path);
	/* What lies in a release or a moved directory is named by it. */
	for (;;) {
		snprintf(line, sizeof(line), "t%d:%s\n", target, parent);
		if (strstr(n->names, line))
			return;
		char *slash = strrchr(parent, '/');
		if (slash == NULL || slash == parent)
			break;
		*slash = '\0';
	}
	/* Its manifest, and the directories beside it that it had to make. */
	if ((strstr(path, ".manifest") || is_within("/app/shared", path)) && strstr(n->names, "/app/releases/ID"))
		return;
	/* A command is named by where it ran, its data by the snapshot that would have brought them back. */
	if (is_within("/srv/data", path) && (strstr(n->names, snapshot) || strstr(n->names, ran)))
		return;
	/* A move names where it started. */
	if (is_within("/srv/m1", path) && strstr(n->names, "/srv/m0\n"))
		return;
	if (strstr(path, ".davit-"))
		return;
	sim_violation("t%d:%s %s, and the report does not name it", target, path, how);
}

/* What a release's link names is there, whatever became of the deployment. */
static void check_links(void)
{
	for (int i = 0; i < world->sc.target_count; i++) {
		struct stree *t = &world->targets[i].now;
		const struct snode *current = stree_find(t, "/app/current");
		if (current == NULL || current->type != NODE_LINK)
			continue;
		_cleanup_free_ char *goal = xasprintf("/app/%s", (const char *)current->content->data);
		if (stree_find(t, goal) == NULL)
			sim_violation("t%d:/app/current names %s, which is not there", i, goal);
	}
}

/* Nothing is held without a cause that the world gave: a wish, a person's hand, a target that refuses, a machine that took over. */
static void check_cause(void)
{
	const struct scenario *sc = &world->sc;
	bool cause = sc->hold || world->person_came || sc->rates.denied > 0 || sc->refused_from_gate > 0 ||
	             sc->rates.full > 0 || sc->contender == CONTENDER_TAKES_OVER || sc->machine_lost || sc->job ||
	             world->stops > 0 || sc->api_refuses;
	if (!cause)
		sim_violation("held without a cause: %s", world->seen.named);
}

/* By a file that moved on: nothing was undone, or what is left is named as ever; and no command of that file ran. */
static void check_moved(void)
{
	for (int i = 0; i < world->sc.target_count; i++)
		for (int k = 0; k < world->targets[i].now.count; k++)
			if (sim_real_is_wrong(&world->targets[i].now.nodes[k]))
				sim_violation("a command of a file that moved on wrote t%d:%s", i,
				              world->targets[i].now.nodes[k].path);
}

static void check_held(const struct stree *old_trees)
{
	if (world->sc.moved && world->seen.named[0] == '\0' && world->seen.changed[0] == '\0')
		return;
	struct naming n = {.names = world->seen.named};
	/* Held as it stands, by a wish or since nobody knows better: the changes themselves say it. */
	if (world->seen.named[0] == '\0' && (world->sc.hold || !world->seen.undo_began))
		n.names = world->seen.changed;
	/* It said that nobody had looked any more. */
	char *all = xasprintf("%s%s", world->seen.named, world->seen.changed);
	if ((strncmp(n.names, ":\n", 2) == 0 || strstr(n.names, "\n:\n")) &&
	    world->deaths_power + world->target_powers > 0)
		n.names = all;
	for (int i = 0; i < world->sc.target_count; i++)
		differences(&old_trees[i], &world->targets[i].now, i, false, must_be_named, &n);
	free(all);
}

/* A plan that counts what is there before is another one now. */
static void check_review(void)
{
	char line[SIM_PATH + 16];
	snprintf(line, sizeof(line), "t%d:%s\n", world->sc.person_target, world->sc.person_path);
	if (world->person_between && world->first.ended && world->first.status == 0 &&
	    strstr(world->seen.changed, line))
		sim_violation("a person wrote %s behind the plan that was reviewed, and it was carried out", line);
}

static void check_person(void)
{
	if (!world->person_came || world->person_named)
		return;
	const struct snode *n = stree_find(&world->targets[world->sc.person_target].now, world->sc.person_path);
	if (n == NULL || n->content == NULL || strcmp((const char *)n->content->data, world->person_content) != 0)
		sim_violation("what a person wrote to t%d:%s was overwritten", world->sc.person_target,
		              world->sc.person_path);
}

static void check_first_exit(enum deployment_state state, bool fenced_possible)
{
	const struct outcome *f = &world->first;
	/* A job whose first step was refused has nothing to decide. */
	if (!f->ended || (world->sc.job && f->id[0] == '\0'))
		return;
	bool committed = state == DEPLOYMENT_COMMITTED;
	switch (f->status) {
	case 0:
		/* `finish` after a step that died before its first change: nothing to decide. */
		if (!committed && !(world->sc.job && state == DEPLOYMENT_REFUSED))
			sim_violation("the deployment said 0 and is %s", deployment_state_name(state));
		break;
	case 1:
	case 130:
	case 2:
	case 3:
	case 5:
		if (committed)
			sim_violation("the deployment said %d and is committed", f->status);
		if (state == DEPLOYMENT_HELD && !fenced_possible)
			sim_violation("the deployment said %d and is held", f->status);
		break;
	case 4:
		break;
	default:
		sim_violation("the deployment ended with %d", f->status);
	}
}

/* What the journal waits for, or begins again, costs no deployment: connections that break, answers that are lost, a crash of the server. */
static bool journal_met_a_fault(void)
{
	return world->journal_failed || world->store.faults > 2;
}

static bool met_a_fault(void)
{
	const struct rates *r = &world->sc.rates;
	return world->deaths_kill + world->deaths_power + world->target_powers + world->nets + world->lates +
	                       world->fulls + world->jumps + world->watches_fired >
	               0 ||
	       r->denied > 0 || world->sc.refused_from_gate > 0 || r->journal_full > 0 || r->journal_io > 0 ||
	       world->person_came || world->sc.contender != CONTENDER_NONE || world->sc.hold ||
	       world->sc.baseline_sick || world->sc.api_faults || journal_met_a_fault();
}

/* Nothing failed: then nothing is a reason to take it back. */
static void check_plain(enum deployment_state state)
{
	const struct scenario *sc = &world->sc;
	bool cause = world->cancels > 0 || sc->real || sc->job || (sc->has_gate && sc->gate != GATE_PASSES);
	if (!cause && !met_a_fault() && state != DEPLOYMENT_COMMITTED)
		sim_violation("nothing failed%s, and it is %s: %s",
		              world->store.faults > 0 ? " but the journal's connection" : "",
		              deployment_state_name(state), world->first.reason);
}

/* A cancel that met no other fault: all is taken back, at once, and the exit code says so. */
static void check_cancel(enum deployment_state state)
{
	const struct outcome *f = &world->first;
	if (world->cancels == 0 || world->stops > 0 || met_a_fault() || world->store.faults > 0 || !f->ended ||
	    f->id[0] == '\0')
		return;
	if (f->status == 4 || state == DEPLOYMENT_HELD)
		sim_violation("cancelled once, and the end is %d (%s): %s", f->status, deployment_state_name(state),
		              f->reason);
	if (world->ended_ms > world->cancelled_ms + CANCEL_MS)
		sim_violation("cancelled, and it took %lld ms more",
		              (long long)(world->ended_ms - world->cancelled_ms));
}

static void check_contender(void)
{
	int present = 0;
	for (int i = 0; i < world->sc.target_count; i++)
		present += stree_find(&world->targets[i].now, "/srv/contender") != NULL;
	bool all = present == world->sc.target_count;
	bool held = world->seen.contender_found && world->seen.contender_state == DEPLOYMENT_HELD;
	if (present != 0 && !all && !held)
		sim_violation("the contender changed %d of %d targets", present, world->sc.target_count);
	if (world->seen.contender_found && world->seen.contender_state == DEPLOYMENT_COMMITTED && !all)
		sim_violation("the contender is committed and not there");
	if (world->seen.contender_found && world->seen.contender_state != DEPLOYMENT_COMMITTED &&
	    world->seen.contender_state != DEPLOYMENT_HELD && present > 0)
		sim_violation("the contender is %s and there", deployment_state_name(world->seen.contender_state));
	if (world->contender.ended && world->sc.contender == CONTENDER_DEPLOYS && world->contender.status == 0 && !all)
		sim_violation("the contender said 0 and is not there");
}

static bool has_snapshot(void)
{
	for (int i = 0; i < world->sc.target_count; i++)
		for (int k = 0; k < world->targets[i].now.count; k++)
			if (is_within("/var/lib/davit/snapshots", world->targets[i].now.nodes[k].path))
				return true;
	return false;
}

/* Without a journal (the machine is gone, and nothing was open): the world itself says which version it is. */
static enum deployment_state state_by_looking(const struct stree *old_trees, const struct stree *new_trees)
{
	struct first_difference to_old = compare_all(old_trees, true), to_new = compare_all(new_trees, false);
	/* Where both are the same, only a commit leaves a snapshot. */
	if (!to_old.found && (to_new.found || !has_snapshot()))
		return DEPLOYMENT_UNDONE;
	if (to_new.found)
		sim_violation("neither old (%s) nor new (%s)", to_old.text, to_new.text);
	return DEPLOYMENT_COMMITTED;
}

void check_world(const struct stree *old_trees, const struct stree *new_trees)
{
	wanted_trees = new_trees;
	enum deployment_state state =
		world->seen.found ? world->seen.final_state : state_by_looking(old_trees, new_trees);
	struct first_difference d;
	bool taken_over = world->sc.contender == CONTENDER_TAKES_OVER || world->sc.machine_lost;
	check_contender();
	switch (state) {
	case DEPLOYMENT_COMMITTED:
		d = compare_new(old_trees, new_trees);
		if (d.found)
			sim_violation("committed, and %s", d.text);
		if (!(world->sc.goes_back && world->sc.former_unknown))
			check_manifests();
		if (!(world->seen.contender_found && world->seen.contender_state == DEPLOYMENT_HELD))
			check_nothing_left(true);
		/* Of a job that went on without its restart, or without its release, the service tells nothing. */
		if (world->sc.missed_steps == 0)
			check_services(true);
		break;
	case DEPLOYMENT_UNDONE:
	case DEPLOYMENT_REFUSED:
	case DEPLOYMENT_PARKED:
		d = compare_all(old_trees, true);
		if (d.found)
			sim_violation("%s, and %s", deployment_state_name(state), d.text);
		if (!(world->seen.contender_found && world->seen.contender_state == DEPLOYMENT_HELD))
			check_nothing_left(world->sc.goes_back);
		check_services(false);
		break;
	case DEPLOYMENT_HELD:
		check_cause();
		check_held(old_trees);
		for (int i = 0; i < world->sc.target_count; i++)
			if (!has_lock(i) && !taken_over)
				sim_violation("held, and t%d has no lock", i);
		break;
	case DEPLOYMENT_PREPARING:
	case DEPLOYMENT_OPEN:
	case DEPLOYMENT_UNDOING:
	default:
		sim_violation("recovery ended and the deployment is %s", deployment_state_name(state));
	}
	if (world->seen.found && state != DEPLOYMENT_HELD && state != DEPLOYMENT_REFUSED &&
	    state != DEPLOYMENT_PARKED && !world->seen.cleaned)
		sim_violation("recovery ended and the deployment is not cleaned");
	sim_api_check(state);
	check_moved();
	check_real(state != DEPLOYMENT_HELD && world->sc.missed_steps == 0);
	check_person();
	check_review();
	check_links();
	check_cancel(state);
	check_plain(state);
	sim_passed_check(state);
	check_first_exit(state, taken_over);
}
