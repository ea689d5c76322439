/* A source becomes what a snapshot holds, by two changes: what is replaced is kept first, by a snapshot whose undo puts it back; so the
 * undo of the change behind it has only to end what it has begun. */
#include "steps/sources/sources.h"
#include "base/sys/fs.h"
#include "providers/proxmox/snapshot_change.h"
#include "providers/scaleway/snapshot_change.h"
#include "steps/common/retention.h"
#include "steps/sources/copies.h"
#include <inttypes.h>
#include <limits.h>

static char *marker_of(const char *own)
{
	return fs_join(own, "restored");
}

char *source_fetched_dir(const struct step_context *c, const struct view *v)
{
	_cleanup_free_ char *own = source_own_dir(c, v);
	return fs_join(own, "fetched");
}

/* ---- the kind of the second change: begun or done, says a file in its own snapshot ---- */

enum { STATE_MAX = 16 };
static const char begun[] = "begun", done[] = "done";

/* One that has only begun is made once more, or taken back; it is never taken for made. */
static int compare(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	_cleanup_(str_done) struct str state = STR_INIT(STATE_MAX + 1);

	int r = host_read(x->v, c->path, STATE_MAX, &state, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		*ret = MATCH_BEFORE;
		return 0;
	}
	*ret = r == 0 && strcmp(str_peek(&state), done) == 0 ? MATCH_AFTER : MATCH_PART;
	return r;
}

/* Nothing that a record says is acted on: the step knows its own snapshot. */
static bool is_named(const struct change *c, const json_t *input)
{
	(void)input;
	return strstr(c->path, "/snapshots/") && str_ends(c->path, "/restored");
}

static const struct change_type change_restore = {.name = "restore", .compare = compare, .is_named = is_named};
const struct change_type *const source_replace_kinds[] = {&change_restore,    &proxmox_snapshot,  &proxmox_rollback,
                                                          &scaleway_snapshot, &scaleway_rollback, NULL};

static bool is_replace(const struct change *c)
{
	return strcmp(c->kind, change_restore.name) == 0;
}

/* ---- planned ---- */

static const char *when_of(const json_t *head, char text[64])
{
	const char *id = json_get_string(head, "snapshot");

	if (id && strlen(id) > RETENTION_TIME)
		snprintf(text, 64, "%.4s-%.2s-%.2s %.2s:%.2s:%.2s UTC", id, id + 4, id + 6, id + 9, id + 11, id + 13);
	else
		snprintf(text, 64, "an unknown time");
	return text;
}

static void add_replace(const struct source_call *s, struct view *v, const struct source_from *from, struct plan *plan)
{
	_cleanup_free_ char *own = source_own_dir(s->c, v), *path = marker_of(own);
	_cleanup_(str_done) struct str what = STR_INIT(SUBJECT_MAX);
	const char *deployment = json_get_string(from->head, "deployment"),
		   *id = json_get_string(from->head, "snapshot");
	char when[64];

	s->source->describe(s, &what);
	struct change *change = plan_add(plan, &change_restore, ACTION_UPDATE, path);
	change->before = json_pack("{s:s}", "type", "absent");
	change->after = json_pack("{s:s}", "type", "file");
	change->extra = json_pack("{s:[s],s:s,s:O,s:{s:s,s:s?,s:s?}}", "risk", "stateful", "from", from->path, "head",
	                          from->head, "plan", "type", "restore", "deployment", deployment, "snapshot", id);
	change->summary =
		xasprintf("replace %s by snapshot %s of %s, taken %s, %.1f MB%s%s", str_peek(&what), id ? id : "?",
	                  deployment ? deployment : "?", when_of(from->head, when),
	                  (double)json_get_int(from->head, "bytes", 0) / 1e6,
	                  from->copy_name ? ", from its copy on " : "", from->copy_name ? from->copy_target : "");
	if (from->copy_name) {
		json_object_set_new(change->extra, "copy",
		                    json_pack("{s:s,s:s}", "target", from->copy_target, "name", from->copy_name));
		json_object_set_new(json_object_get(change->extra, "plan"), "copy", json_string(from->copy_target));
	}
	json_object_set_new(plan->shown, "from",
	                    json_pack("{s:s,s:s?,s:s?,s:s,s:I,s:s*}", "path", from->path, "deployment", deployment,
	                              "snapshot", id, "taken", when, "bytes",
	                              (json_int_t)json_get_int(from->head, "bytes", 0), "copy", from->copy_target));
}

int source_plan_replace(const struct source_call *s, struct view *v, const struct source_from *from, struct plan *plan,
                        struct err *err)
{
	size_t before = plan->count;

	int r = source_plan_snapshot(s, v, true, plan, err);
	if (r == 0 && plan->count > before)
		add_replace(s, v, from, plan);
	return r;
}

/* ---- behind a committed deployment ---- */

static int no_snapshot(struct view *v, const char *path, struct err *err)
{
	err_set(err, ERR_REFUSED, "the snapshot '%s' on '%s' is not kept any more", path, v->name);
	return err_hint(err, ERR_REFUSED,
	                "`keep` says how many are; without --data the rollback leaves the data alone");
}

/* A copy is asked for only where the step has made some. It is read as a whole once it is fetched, before anything is replaced. */
static int find_copy(const struct source_call *s, struct view *v, json_t *meant, struct source_from *from,
                     struct plan *plan, struct err *err)
{
	_cleanup_json_ json_t *owned = meant;

	if (json_object_get(s->all, "copies") == NULL)
		return 0;
	int r = copy_search(s, v, owned, from, plan, err);
	return r < 0 ? err_hint(err, r, "without --data the rollback leaves the data alone") : 0;
}

/* BASE/snapshots/NAME.ENVIRONMENT/ID/PLACE */
static json_t *meant_by(const char *path)
{
	const char *place = strrchr(path, '/');
	_cleanup_free_ char *snapshot = xstrndup(path, place ? (size_t)(place - path) : 0);
	const char *id = strrchr(snapshot, '/');
	long long number = -1;

	if (id == NULL || !str_parse_i64(place + 1, 0, INT_MAX, &number))
		return json_pack("{s:s}", "snapshot", "");
	return json_pack("{s:s,s:I}", "snapshot", id + 1, "place", (json_int_t)number);
}

/* It is read as a whole before anything is changed. */
static int plan_from(const struct source_call *s, struct view *v, const char *path, struct plan *plan, struct err *err)
{
	_cleanup_(source_from_done) struct source_from from = {0};
	_cleanup_(node_done) struct node n = {0};

	int r = host_stat(v, path, &n, err);
	if (r == 0 && n.type == NODE_DIR) {
		from.path = xstrdup(path);
		r = source_check(v, path, &from.head, err);
	} else if (r == 0) {
		r = find_copy(s, v, meant_by(path), &from, plan, err);
		if (r == 0 && from.path == NULL)
			r = no_snapshot(v, path, err);
	}
	return r < 0 ? r : source_plan_replace(s, v, &from, plan, err);
}

int source_back(const struct step_context *c, struct view *v, const struct change *former, bool force,
                struct plan *plan, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};

	(void)force;
	if (is_replace(former)) /* what it replaced is in the snapshot before it */
		return 0;
	source_call_init(&s, c);
	return s.source->outside ? s.source->outside->back(&s, v, former, plan, err)
	                         : plan_from(&s, v, former->path, plan, err);
}

/* The first that was made after the release may have been dropped while copies of it are kept: one that is older than what is there. */
static int find_older_copy(const struct source_call *s, struct view *v, const char *release, const char *path,
                           struct source_from *ret, struct plan *plan, struct err *err)
{
	_cleanup_json_ json_t *there = path ? meant_by(path) : NULL;
	json_t *meant = json_pack("{s:s,s:s*}", "after", release, "before", json_get_string(there, "snapshot"));

	return find_copy(s, v, meant, ret, plan, err);
}

int source_back_to(const struct step_context *c, struct view *v, const char *release, struct plan *plan,
                   struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	_cleanup_(source_from_done) struct source_from copy = {0};
	_cleanup_free_ char *path = NULL;
	bool sure = false;

	source_call_init(&s, c);
	if (s.source->outside)
		return s.source->outside->back_to(&s, v, release, plan, err);
	int r = source_first_after(&s, v, release, &path, &sure, err);
	if (r == 0 && !sure)
		r = find_older_copy(&s, v, release, path, &copy, plan, err);
	if (r == 0 && copy.path)
		return source_plan_replace(&s, v, &copy, plan, err);
	if (r == 0 && path == NULL)
		r = err_set(err, ERR_REFUSED, "'%s' has no snapshot that was taken after the release '%s'", v->name,
		            release);
	return r < 0 ? r : plan_from(&s, v, path, plan, err);
}

/* ---- made ---- */

static int note(struct target *t, const char *own, const char *state, struct err *err)
{
	const struct node_attr attr = {.set_mode = true, .mode = 0600};
	_cleanup_free_ char *marker = marker_of(own);

	int r = host_put(t, marker, state, strlen(state), &attr, err);
	return r < 0 ? r : host_barrier(t, (const char *const[]){own}, 1, err);
}

/* All that is replaced is kept and durable; that something is replaced now is noted before it is. */
static int put_back(const struct source_call *s, struct target *t, const struct change *change, const char *own,
                    struct err *err)
{
	const char *from = json_get_string(change->extra, "from");
	const json_t *copy = json_object_get(change->extra, "copy");

	int r = copy ? copy_fetch(s, t, json_get_string(copy, "target"), json_get_string(copy, "name"), from, err)
	             : source_check(&t->view, from, NULL, err);
	if (r == 0)
		r = note(t, own, begun, err);
	if (r == 0)
		r = s->source->put_back(s, t, from, json_object_get(change->extra, "head"), own, err);
	if (r == 0)
		r = note(t, own, done, err);
	if (r == 0 && copy)
		r = host_remove_tree(t, from, err);
	return r < 0 || s->source->sweep == NULL ? r : s->source->sweep(s, t, own, err);
}

int source_apply(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};

	source_call_init(&s, c);
	if (!is_replace(change))
		return source_make(&s, t, change, err);
	_cleanup_free_ char *own = source_own_dir(c, &t->view);
	int r = put_back(&s, t, change, own, err);
	if (r == 0)
		json_object_set(c->outputs, "from", json_object_get(change->extra, "from"));
	return r;
}

int source_verify(const struct step_context *c, struct view *v, const struct change *change, struct err *err)
{
	enum change_match match = MATCH_NEITHER;

	(void)c;
	if (!is_replace(change))
		return source_check(v, change->path, NULL, err);
	int r = change_compare(v, NULL, change, &match, err);
	if (r == 0 && match != MATCH_AFTER)
		r = err_set(err, ERR_CONFLICT, "what was replaced on '%s' is not kept any more", v->name);
	return r;
}

/* ---- taken back ---- */

/* What was never replaced is not put back: people may have written to it since. */
static int keep_what_is_there(const struct source_call *s, struct target *t, const char *own, const char *marker,
                              struct err *err)
{
	_cleanup_(str_done) struct str state = STR_INIT(STATE_MAX + 1);
	_cleanup_free_ char *manifest = fs_join(own, "manifest");
	bool same = false;

	int r = host_read(&t->view, marker, STATE_MAX, &state, err);
	if (r == ERR_NOT_FOUND) { /* taken back before */
		err_clear(err);
		return 0;
	}
	if (r == 0 && strcmp(str_peek(&state), begun) == 0 && s->source->is_untouched)
		r = s->source->is_untouched(s, &t->view, own, &same, err);
	if (r < 0 || !same)
		return r;
	r = host_remove(t, manifest, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		r = 0;
	}
	return r < 0 ? r : host_barrier(t, (const char *const[]){own}, 1, err);
}

static int undo_replace(const struct source_call *s, struct target *t, struct err *err)
{
	_cleanup_free_ char *own = source_own_dir(s->c, &t->view), *marker = marker_of(own);

	int r = keep_what_is_there(s, t, own, marker, err);
	if (r == 0 && s->source->sweep)
		r = s->source->sweep(s, t, own, err);
	if (r == 0)
		r = host_remove(t, marker, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		r = 0;
	}
	return r;
}

int source_undo(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};

	source_call_init(&s, c);
	return is_replace(change) ? undo_replace(&s, t, err) : source_unmake(&s, t, change, err);
}
