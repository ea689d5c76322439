#include "providers/scaleway/resource_change.h"

#include "base/core/mem.h"
#include "engine/change/address.h"
#include "engine/change/change.h"
#include "providers/scaleway/instance.h"
#include "providers/scaleway/target.h"

#include <string.h>

enum { QUIET_LOOKS = 3, QUIET_MS = 700 };

static int begin(const struct change_call *x, const struct change *c, struct object_call *ret, struct err *err)
{
	const json_t *node = resource_is_absent(c->after) ? c->before : c->after;
	const char *type = json_get_string(node, "type");
	*ret = (struct object_call){scaleway_of_target(x->v), scaleway_kind_named(type), x->v->wait};
	if (ret->s != NULL && ret->kind != NULL && json_get_string(node, "name") != NULL)
		return 0;
	return err_set(err, ERR_INVALID, "'%s' is nothing that target '%s' has", c->path, x->v->name);
}

/* Only its row changes. */
static bool changes_nothing(const struct change *c)
{
	return c->action == ACTION_ADOPT;
}

/* ---- compare ---- */

static bool fits(const json_t *now, const json_t *node, const char *but)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)node, name, value)
	{
		bool skipped = !scaleway_kind_compares(name) || (but != NULL && strcmp(name, but) == 0);
		if (!skipped && !object_same(json_object_get(now, name), value))
			return false;
	}
	return true;
}

struct sides {
	bool before, after, mixed;
};

static void weigh(const struct change *c, const json_t *now, const char *name, struct sides *s)
{
	const json_t *is = json_object_get(now, name), *was = json_object_get(c->before, name),
		     *shall = json_object_get(c->after, name);
	if (!scaleway_kind_compares(name) || object_same(was, shall))
		return;
	bool before = object_same(is, was), after = object_same(is, shall);
	s->before = s->before && before;
	s->after = s->after && after;
	s->mixed = s->mixed && (before || after);
}

/* Switched off for something else, and not on again yet. */
static bool is_on_the_way(const struct change *c, const json_t *now)
{
	const json_t *status = json_object_get(now, "status");
	return instance_may_stop(c->before, c->after) && status != NULL &&
	       !object_same(status, json_object_get(c->after, "status")) &&
	       !object_same(status, json_object_get(c->before, "status"));
}

/* What else somebody set stays theirs: only what the change is about counts. */
static enum change_match match_update(const struct change *c, const json_t *now)
{
	struct sides s = {true, true, true};
	json_t *all _cleanup_json_ = json_copy(c->before), *value;
	const char *name;
	json_object_update(all, c->after);
	json_object_foreach(all, name, value) weigh(c, now, name, &s);
	if (is_on_the_way(c, now))
		return s.mixed ? MATCH_PART : MATCH_NEITHER;
	if (s.before && s.after)
		return MATCH_BOTH;
	return s.before ? MATCH_BEFORE : s.after ? MATCH_AFTER : s.mixed ? MATCH_PART : MATCH_NEITHER;
}

/* A finished one that is otherwise now was changed by somebody else; one that is not finished belongs to its change. */
static enum change_match match_made(const struct change *c, const struct resource_seen *seen, const json_t *now)
{
	if (seen->surplus != NULL)
		return MATCH_PART;
	if (fits(now, c->after, NULL))
		return MATCH_AFTER;
	return c->state == CHANGE_DONE ? MATCH_NEITHER : MATCH_PART;
}

static enum change_match match_there(const struct change *c, const json_t *now)
{
	return fits(now, c->before, NULL) ? MATCH_BEFORE : fits(now, c->before, "status") ? MATCH_PART : MATCH_NEITHER;
}

static enum change_match match_gone(const struct change *c, const struct resource_seen *seen)
{
	if (seen->left != NULL || seen->surplus != NULL)
		return MATCH_PART;
	if (resource_is_absent(c->before))
		return seen->foreign ? MATCH_NEITHER : MATCH_BEFORE;
	if (resource_is_absent(c->after))
		return MATCH_AFTER;
	return c->action == ACTION_REPLACE ? MATCH_PART : MATCH_NEITHER;
}

static enum change_match match_of(const struct change *c, const struct resource_seen *seen, const json_t *now)
{
	if (resource_is_absent(c->before) && resource_is_absent(c->after))
		return seen->object == NULL ? MATCH_BOTH : MATCH_NEITHER;
	if (seen->object == NULL)
		return match_gone(c, seen);
	if (resource_is_absent(c->after) || seen->former)
		return match_there(c, now);
	if (resource_is_absent(c->before) || c->action == ACTION_REPLACE)
		return match_made(c, seen, now);
	return match_update(c, now);
}

static int look(const struct object_call *o, const struct change *c, bool settled, struct resource_seen *seen,
                json_t **ret_now, struct err *err)
{
	int r = resource_look(o, c, settled, seen, err);
	return r == 0 && seen->object != NULL ? object_node(o, seen->object, ret_now, err) : r;
}

static int compare(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	struct resource_seen seen _cleanup_(resource_seen_done) = {0};
	json_t *now _cleanup_json_ = NULL;
	struct object_call o;
	if (changes_nothing(c)) {
		*ret = MATCH_BOTH;
		return 0;
	}
	int r = begin(x, c, &o, err);
	if (r == 0)
		r = look(&o, c, false, &seen, &now, err);
	if (r == 0)
		*ret = match_of(c, &seen, now);
	return r;
}

static void append_difference(const json_t *now, const json_t *wanted, const char *name, struct str *out)
{
	_cleanup_free_ char *is = json_dumps(json_object_get(now, name), JSON_ENCODE_ANY | JSON_COMPACT),
			    *shall = json_dumps(json_object_get(wanted, name), JSON_ENCODE_ANY | JSON_COMPACT);
	str_appendf(out, "%s%s is %s, not %s", out->len > 0 ? "; " : "", name, is != NULL ? is : "unset",
	            shall != NULL ? shall : "unset");
}

static int explain(struct change_call *x, const struct change *c, struct str *out, struct err *err)
{
	struct resource_seen seen _cleanup_(resource_seen_done) = {0};
	json_t *now _cleanup_json_ = NULL, *value;
	struct object_call o;
	const char *name;
	int r = begin(x, c, &o, err);
	if (r == 0)
		r = look(&o, c, false, &seen, &now, err);
	if (r < 0)
		return r;
	if (now == NULL || resource_is_absent(c->after)) {
		str_appendf(out,
		            now != NULL         ? "the %s is still there"
		            : seen.foreign      ? "a %s of that name exists that this deployment did not make"
		            : seen.left != NULL ? "what belonged to the %s is still there"
		                                : "there is no such %s",
		            o.kind->word);
		return 0;
	}
	json_object_foreach(c->after, name, value)
	{
		if (scaleway_kind_compares(name) && !object_same(json_object_get(now, name), value))
			append_difference(now, c->after, name, out);
	}
	return 0;
}

/* ---- make ---- */

/* The id that the service gave is kept in the record, and in the row of the resource. */
static int note_id(const struct object_call *o, struct change *c, struct err *err)
{
	struct resource_seen seen _cleanup_(resource_seen_done) = {0};
	int r = resource_look(o, c, false, &seen, err);
	if (r < 0 || seen.object == NULL || seen.former)
		return r;
	json_t *row = json_object_get(json_object_get(c->extra, "state_row"), "row");
	json_object_set_new(c->after, "id", json_string(object_id(seen.object)));
	if (json_is_object(row))
		json_object_set_new(row, "id", json_string(object_id(seen.object)));
	return 0;
}

static int apply(struct change_call *x, struct change *c, struct err *err)
{
	struct object_call o;
	int r = begin(x, c, &o, err);
	if (r < 0 || changes_nothing(c))
		return r;
	struct scaleway_move m = {x, c, o.s, o.kind, c->before, c->after, NULL};
	r = resource_move(&m, err);
	bool made = resource_is_absent(c->before) || c->action == ACTION_REPLACE;
	return r == 0 && made && !resource_is_absent(c->after) ? note_id(&o, c, err) : r;
}

/* A request that lost its reply may be carried out late: several looks in a row must find nothing. */
static int resume(struct change_call *x, const struct change *c, struct err *err)
{
	struct object_call o;
	int r = begin(x, c, &o, err);
	bool may_come = c->task == NULL && c->state != CHANGE_INTENT && c->state != CHANGE_DONE;
	for (int i = 0; r == 0 && i < QUIET_LOOKS && !changes_nothing(c); i++) {
		struct resource_seen seen _cleanup_(resource_seen_done) = {0};
		r = i > 0 ? wait_aside(o.wait, QUIET_MS, err) : 0;
		if (r == 0)
			r = resource_look(&o, c, true, &seen, err);
		if (seen.object != NULL || !may_come)
			break;
	}
	return r;
}

/* ---- take back ---- */

static int cannot_come_back(const struct object_call *o, const struct change *c, struct err *err)
{
	const char *name = json_get_string(c->before, "name");
	err_set(err, ERR_UNSUPPORTED, "the %s '%s' was destroyed: %s", o->kind->word, name != NULL ? name : "",
	        o->kind->lost);
	return err_hint(err, ERR_UNSUPPORTED, "deploy the former file again: it makes a new one");
}

static int refuse_shrink(const struct change *c, const json_t *now, struct err *err)
{
	static const char *const sizes[] = {"size", "root_size"};
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		int64_t before = json_get_int(c->before, sizes[i], 0), there = json_get_int(now, sizes[i], 0);
		if (before == 0 || there <= before)
			continue;
		err_set(err, ERR_UNSUPPORTED, "the volume of '%s' has %lld GB now and had %lld: a volume cannot shrink",
		        c->path, (long long)there, (long long)before);
		return err_hint(
			err, ERR_UNSUPPORTED,
			"everything else of it is as before; accept the larger one: davit unlock ENVIRONMENT --accept");
	}
	return 0;
}

static int undo_update(struct change_call *x, const struct object_call *o, const struct change *c, struct err *err)
{
	struct resource_seen seen _cleanup_(resource_seen_done) = {0};
	struct scaleway_move m = {x, c, o->s, o->kind, c->after, c->before, NULL};
	json_t *now _cleanup_json_ = NULL;
	int r = resource_move(&m, err);
	if (r == 0)
		r = look(o, c, true, &seen, &now, err);
	return r < 0 ? r : refuse_shrink(c, now, err);
}

/* One of a replacement is still the former one as long as nothing took its place. */
static int undo_destroy(struct change_call *x, const struct object_call *o, const struct change *c, struct err *err)
{
	struct resource_seen seen _cleanup_(resource_seen_done) = {0};
	struct change former = *c;
	int r = resource_look(o, c, true, &seen, err);
	bool there = seen.object != NULL && (c->action != ACTION_REPLACE || seen.former);
	if (r < 0 || (!there && o->kind->lost != NULL))
		return r < 0 ? r : cannot_come_back(o, c, err);
	/* Every attribute counts, as of one that is made: what was done to remove it is undone, too. */
	json_t *nothing _cleanup_json_ = json_pack("{s:s}", "type", "absent");
	former.action = ACTION_UPDATE;
	struct scaleway_move m = {x, &former, o->s, o->kind, nothing, c->before, NULL};
	return resource_move(&m, err);
}

static int undo(struct change_call *x, const struct change *c, struct err *err)
{
	struct object_call o;
	int r = begin(x, c, &o, err);
	if (r < 0 || changes_nothing(c))
		return r;
	struct scaleway_move m = {x, c, o.s, o.kind, c->after, c->before, NULL};
	if (resource_is_absent(c->before))
		return resource_move(&m, err);
	return resource_is_absent(c->after) || c->action == ACTION_REPLACE ? undo_destroy(x, &o, c, err)
	                                                                   : undo_update(x, &o, c, err);
}

const struct change_type scaleway_resource = {
	.name = "scaleway",
	.compare = compare,
	.explain = explain,
	.apply = apply,
	.resume = resume,
	.undo = undo,
	.is_named = address_is_named,
};
