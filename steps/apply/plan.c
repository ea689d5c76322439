/* Compares the desired state with the world, attribute by attribute. A destructive change is refused unless it is named
 * in allow_destroy, and always while it is protected; all refusals at once. */
#include "steps/apply/ahead.h"
#include "steps/apply/apply.h"
#include "steps/apply/exchange.h"
#include "steps/common/caps.h"

enum { CONTENT_LIMIT = (64 << 20) + (128 << 10) };

struct planner {
	struct resource_call call;
	const struct resources *all;
	struct str refused; /* sentences, "; " between */
	size_t refusals;
	struct str allow; /* the keys that would have to be allowed */
	struct keeping keeping;
	int level;     /* of what is planned now */
	json_t *facts; /* of those with an id, as planned so far: id → name → string */
	struct arena arena;
};

/* permission: what allow_destroy would have to say; NULL: nothing lets it happen. */
static void refuse(struct planner *p, const char *key, const char *permission, const char *why)
{
	str_appendf(&p->refused, "%s%s %s", p->refusals++ == 0 ? "" : "; ", key, why);
	if (permission != NULL)
		str_appendf(&p->allow, "%s\"%s\"", p->allow.len == 0 ? "" : ", ", permission);
}

/* The text in allow_destroy that lets it go. */
static char *permission_of(const struct resource_type *type, const char *key, const json_t *before)
{
	_cleanup_(str_done) struct str text = STR_INIT(8192);
	str_append(&text, key);
	if (type->identity != NULL)
		type->identity(before, &text);
	return str_take(&text);
}

static const char *type_there(const json_t *before)
{
	const char *type = json_get_string(before, "type");
	return type != NULL ? type : "absent";
}

static bool is_absent(const json_t *before)
{
	return strcmp(type_there(before), "absent") == 0;
}

static const char *subject_of(const struct resource_type *type, const char *key)
{
	return type->by_key ? key : apply_id_of_key(key);
}

/* The kind of the existing entry, among those that share ids with `type`; NULL: none of ours. */
static const struct resource_type *kind_there(const struct planner *p, const struct resource_type *type,
                                              const json_t *before)
{
	const struct field_choice *const *choices = p->call.c->type->choices;
	for (size_t i = 0; choices[i] != NULL; i++) {
		const struct resource_type *other = resource_type_of(choices[i]);
		if (strcmp(other->space, type->space) == 0 && strcmp(other->what, type_there(before)) == 0)
			return other;
	}
	return NULL;
}

static bool differs(const struct resource_type *type, const json_t *before, const json_t *after)
{
	return type->differs != NULL ? type->differs(before, after) : !json_equal(before, after);
}

/* Adds facts that `before` and `after` of the change do not say. */
static char *summary_of(const struct resource *r, const struct change *change, bool known)
{
	_cleanup_(str_done) struct str text = STR_INIT(8192);
	enum change_action action = change->action;
	str_append(&text, r->type->choice.name);
	if (action == ACTION_ADOPT)
		str_append(&text, known ? ", already as wanted; its recorded state changes"
		                        : ", already as wanted; it is managed from now on");
	else if (r->type->explain != NULL)
		r->type->explain(r, &text);
	if (action == ACTION_UPDATE && !known)
		str_append(&text, ", existed already and is managed from now on");
	if (r->type->means != NULL)
		r->type->means(change->before, change->after, action, &text);
	return str_take(&text);
}

static struct change *add(struct planner *p, const struct change_type *kind, enum change_action action,
                          const char *path, const json_t *before, const json_t *after)
{
	struct change *change = plan_add(p->call.plan, kind, action, path);
	change->before = json_deep_copy(before);
	change->after = json_deep_copy(after);
	change->extra = json_object();
	change->level = p->level;
	return change;
}

/* What people look at first in a plan: it has a state of its own, or is protected from worse than this. */
static void note_risk(struct change *change, const struct resource_type *type, bool protected)
{
	json_t *risk = json_array();
	bool there =
		change->action == ACTION_UPDATE || change->action == ACTION_REPLACE || change->action == ACTION_DESTROY;
	if (there && type->identity != NULL)
		json_array_append_new(risk, json_string("stateful"));
	if (there && protected)
		json_array_append_new(risk, json_string("protected"));
	if (json_array_size(risk) > 0)
		json_object_set(change->extra, "risk", risk);
	json_decref(risk);
}

/* A file becomes a link or a link a file: one change, and the old key's row is removed by one that changes nothing. */
static int plan_replace(struct planner *p, const struct resource *r, const json_t *before, const json_t *after,
                        const struct str *content, struct err *err)
{
	const struct resource_type *old = kind_there(p, r->type, before);
	_cleanup_free_ char *old_key = xasprintf("%s:%s", old != NULL ? old->choice.name : "other", r->id);
	_cleanup_json_ json_t *old_row = NULL;
	int got = apply_row_get(p->call.c, p->call.v, old_key, &old_row, err);
	if (got < 0)
		return got;
	if (old == NULL || !old->plain || !r->type->plain) {
		_cleanup_free_ char *why = xasprintf("is in the way of %s: move it by hand first", r->key);
		refuse(p, old_key, NULL, why);
		return 0;
	}
	if (json_get_bool(old_row, "protect", false) || r->protect) {
		refuse(p, old_key, NULL, "would be replaced, but it is protected (`protect: true`)");
		return 0;
	}
	if (!resources_allow(p->all, old_key)) {
		_cleanup_free_ char *why = xasprintf("would be replaced by a %s", r->type->choice.name);
		refuse(p, old_key, old_key, why);
		return 0;
	}
	struct change *change = add(p, r->type->change, ACTION_REPLACE, subject_of(r->type, r->key), before, after);
	str_append_n(&change->content, str_peek(content), content->len);
	change->summary = summary_of(r, change, true);
	_cleanup_json_ json_t *row = apply_row(p->call.c, r, after);
	change_set_state_row(change, r->key, row, NULL);
	if (old_row != NULL) {
		struct change *forget =
			add(p, r->type->change, ACTION_ADOPT, subject_of(r->type, r->key), after, after);
		forget->summary = xasprintf("%s is forgotten", old_key);
		change_set_state_row(forget, old_key, NULL, old_row);
	}
	return 0;
}

static int is_forbidden(struct planner *p, const struct resource_type *type, const char *key, enum change_action action,
                        const json_t *before, const json_t *after, bool *ret, struct err *err)
{
	_cleanup_(str_done) struct str why = STR_INIT(4096);
	int r = type->forbids != NULL ? type->forbids(&p->call, before, after, action, &why, err) : 0;
	if (r < 0)
		return err_wrap(err, r, "resource %s", key);
	*ret = why.len > 0;
	if (*ret)
		refuse(p, key, NULL, str_peek(&why));
	return 0;
}

/* The same kind, but what is there cannot become what is wanted: a new one takes its place. */
static int plan_anew(struct planner *p, const struct resource *r, const json_t *before, const json_t *after,
                     const char *forced, const json_t *row, struct err *err)
{
	_cleanup_free_ char *permission = permission_of(r->type, r->key, before);
	bool protected = r->protect || json_get_bool(row, "protect", false), forbidden = false;
	if (protected || !resources_allow(p->all, permission)) {
		_cleanup_free_ char *why = xasprintf("would be destroyed and made anew, because of %s%s", forced,
		                                     protected ? ", but it is protected (`protect: true`)" : "");
		refuse(p, r->key, protected ? NULL : permission, why);
		return 0;
	}
	int ret = is_forbidden(p, r->type, r->key, ACTION_REPLACE, before, after, &forbidden, err);
	if (ret < 0 || forbidden)
		return ret;
	struct change *change = add(p, r->type->change, ACTION_REPLACE, subject_of(r->type, r->key), before, after);
	_cleanup_free_ char *summary = summary_of(r, change, true);
	change->summary = xasprintf("%s; forced by %s", summary, forced);
	note_risk(change, r->type, false);
	_cleanup_json_ json_t *new_row = apply_row(p->call.c, r, after);
	change_set_state_row(change, r->key, new_row, row);
	return 0;
}

static int never_known(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	(void)x;
	(void)ret;
	return err_set(err, ERR_REFUSED, "'%s' refers to a resource of an earlier step, and there is none", c->path);
}

/* Shown, and planned anew once it is known: never made as it is. */
static const struct change_type later = {.name = "later", .flags = CHANGE_LATER, .compare = never_known};

static int plan_later(struct planner *p, const struct resource *r, const json_t *unknown, struct err *err)
{
	_cleanup_json_ json_t *before = NULL, *after = json_pack("{s:s}", "type", r->type->what);
	p->call.wanted = r;
	p->call.row = NULL;
	int ret = r->type->look(&p->call, r->id, &before, err);
	if (ret < 0)
		return err_wrap(err, ret, "resource %s", r->key);
	json_object_update(after, (json_t *)(uintptr_t)unknown);
	struct change *change = add(p, &later, is_absent(before) ? ACTION_CREATE : ACTION_UPDATE,
	                            subject_of(r->type, r->key), before, after);
	change->summary = xasprintf("%s, with what an earlier step finds out", r->type->choice.name);
	return 0;
}

static int plan_one(struct planner *p, const struct resource *r, struct err *err);

static int plan_filled(struct planner *p, const struct resource *r, struct err *err)
{
	_cleanup_json_ json_t *unknown = NULL;
	struct resource filled = *r;
	int ret = r->written != NULL ? reference_fill(r, p->facts, &p->arena, &filled, &unknown, err) : 0;
	if (ret < 0)
		return ret;
	return unknown != NULL ? plan_later(p, r, unknown, err) : plan_one(p, &filled, err);
}

static int plan_one(struct planner *p, const struct resource *r, struct err *err)
{
	const struct resource_type *type = r->type;
	struct resource_call *x = &p->call;
	_cleanup_(str_done) struct str content = STR_INIT(CONTENT_LIMIT);
	_cleanup_json_ json_t *before = NULL, *after = NULL, *row = NULL;
	int ret = apply_row_get(x->c, x->v, r->key, &row, err);
	x->wanted = r;
	x->row = row;
	if (ret == 0)
		ret = ahead_node(x, type, r->key, r->id, &before, err);
	if (ret == 0)
		ret = type->want(x, r, before, &after, &content, err);
	if (ret == 0 && type->first != NULL)
		ret = type->first(x, r, err);
	if (ret < 0)
		return err_wrap(err, ret, "resource %s", r->key);
	if (!is_absent(before) && strcmp(type_there(before), type->what) != 0)
		return plan_replace(p, r, before, after, &content, err);
	if (!is_absent(before))
		apply_keep_ignored(r, before, after);
	if (r->name != NULL)
		json_object_set_new(p->facts, r->name, reference_facts(r, after));
	_cleanup_(str_done) struct str forced = STR_INIT(4096);
	if (!is_absent(before) && type->forces != NULL) {
		type->forces(before, after, &forced);
		apply_replaced_on(r, before, after, &forced);
	}
	if (forced.len > 0)
		return plan_anew(p, r, before, after, str_peek(&forced), row, err);
	_cleanup_json_ json_t *new_row = apply_row(x->c, r, after);
	if (!is_absent(before) && (row == NULL || json_get_bool(row, "existed", false)))
		json_object_set_new(new_row, "existed", json_true());
	bool changes = differs(type, before, after);
	if (!changes && row != NULL && json_equal(row, new_row))
		return 0;
	enum change_action action = is_absent(before) ? ACTION_CREATE : changes ? ACTION_UPDATE : ACTION_ADOPT;
	bool forbidden = false;
	if (action == ACTION_UPDATE)
		ret = is_forbidden(p, type, r->key, action, before, after, &forbidden, err);
	if (ret < 0 || forbidden)
		return ret;
	struct change *change = add(p, type->change, action, subject_of(type, r->key), before, after);
	if (action != ACTION_ADOPT)
		str_append_n(&change->content, str_peek(&content), content.len);
	change->summary = summary_of(r, change, row != NULL);
	note_risk(change, type, r->protect || json_get_bool(row, "protect", false));
	change_set_state_row(change, r->key, new_row, row);
	if (action == ACTION_UPDATE)
		keeping_add(&p->keeping, r);
	return 0;
}

static int plan_destroy(struct planner *p, const char *key, const json_t *row, struct err *err)
{
	const char *id = apply_id_of_key(key), *name = json_get_string(row, "type"), *stays = NULL;
	const struct resource_type *type = name != NULL ? resource_type_named(p->call.c->type, name) : NULL;
	_cleanup_json_ json_t *before = NULL, *after = json_pack("{s:s}", "type", "absent");
	bool forbidden = false;
	if (type == NULL) {
		refuse(p, key, NULL, "left the desired state, and this davit has no resource of that kind");
		return 0;
	}
	p->call.wanted = NULL;
	p->call.row = row;
	int r = ahead_node(&p->call, type, key, id, &before, err);
	if (r < 0)
		return err_wrap(err, r, "resource %s", key);
	bool there = strcmp(type_there(before), type->what) == 0 && !type->edits;
	if (there && json_get_bool(row, "protect", false)) {
		refuse(p, key, NULL,
		       "left the desired state, but it is protected (`protect: true`): put it back, without `protect` "
		       "first");
		return 0;
	}
	_cleanup_free_ char *permission = permission_of(type, key, before);
	const struct apply_in *in = p->call.c->input;
	if (there && in->destroy == NULL && !resources_allow(p->all, permission)) {
		refuse(p, key, permission, "left the desired state and would be destroyed");
		return 0;
	}
	if (in->destroy != NULL && json_get_bool(row, "existed", false))
		stays = "it was there before";
	if (there && stays == NULL) {
		r = is_forbidden(p, type, key, ACTION_DESTROY, before, after, &forbidden, err);
		if (r < 0 || forbidden)
			return r;
	}
	if (there && stays == NULL && type->keeps != NULL) {
		r = type->keeps(&p->call, id, &stays, err);
		if (r < 0)
			return r;
	}
	struct change *change;
	if (there && stays == NULL) {
		change = add(p, type->remove, ACTION_DESTROY, subject_of(type, key), before, after);
		_cleanup_(str_done) struct str means = STR_INIT(8192);
		if (type->means != NULL)
			type->means(before, after, ACTION_DESTROY, &means);
		note_risk(change, type, false);
		change->summary =
			xasprintf("the %s %s%s", name,
		                  in->destroy != NULL ? "is destroyed with its environment" : "left the desired state",
		                  str_peek(&means));
	} else {
		/* Already gone, something else by now, or still in use: removes only its row. */
		change = add(p, type->remove, ACTION_ADOPT, subject_of(type, key), before, before);
		change->summary = xasprintf("forgotten: %s", type->edits              ? "what was changed in it stays"
		                                             : there && stays != NULL ? stays
		                                                                      : "it is not there any more");
	}
	change_set_state_row(change, key, NULL, row);
	return 0;
}

static int highest(const struct resources *all)
{
	int level = 0;
	for (size_t i = 0; i < all->count; i++)
		level = MAX(level, all->items[i].level);
	return level;
}

/* What left goes once all that is wanted is there. */
static int plan_left(struct planner *p, struct err *err)
{
	_cleanup_json_ json_t *left = NULL;
	const char *key;
	json_t *row;
	size_t count = 0;
	int r = apply_left(p->call.c, p->call.v, p->all, &left, err);
	if (r < 0)
		return r;
	_cleanup_free_ const char **keys = xcalloc(json_object_size(left) + 1, sizeof(*keys));
	_cleanup_free_ struct resource_sight *sights = xcalloc(json_object_size(left) + 1, sizeof(*sights));
	json_object_foreach(left, key, row) keys[count++] = key;
	apply_order_left(p->call.c->type, left, keys, count);
	for (size_t i = 0; i < count; i++) {
		const json_t *gone = json_object_get(left, keys[i]);
		const char *name = json_get_string(gone, "type");
		sights[i] = (struct resource_sight){.type = name != NULL ? resource_type_named(p->call.c->type, name)
		                                                         : NULL,
		                                    .key = keys[i],
		                                    .id = apply_id_of_key(keys[i]),
		                                    .row = gone};
	}
	_cleanup_free_ int *levels = xcalloc(count + 1, sizeof(*levels));
	apply_levels_left(left, keys, count, levels);
	int above = highest(p->all);
	r = ahead_look(&p->call, sights, count, false, err);
	for (size_t i = 0; r == 0 && i < count; i++) {
		p->level = above + levels[i];
		r = plan_destroy(p, keys[i], json_object_get(left, keys[i]), err);
	}
	return r;
}

static int plan_wanted(struct planner *p, struct err *err)
{
	const struct resources *all = p->all;
	_cleanup_free_ struct resource_sight *sights = xcalloc(all->count + 1, sizeof(*sights));
	for (size_t i = 0; i < all->count; i++)
		sights[i] = (struct resource_sight){.type = all->order[i]->type,
		                                    .key = all->order[i]->key,
		                                    .id = all->order[i]->id,
		                                    .wanted = all->order[i]};
	int r = ahead_look(&p->call, sights, all->count, true, err);
	for (size_t i = 0; r == 0 && i < all->count; i++) {
		p->level = all->order[i]->level;
		r = plan_filled(p, all->order[i], err);
	}
	return r;
}

/* ---- caps ---- */

static void count_actions(const struct plan *plan, size_t from, size_t *ret_changes, size_t *ret_destroyed)
{
	*ret_changes = *ret_destroyed = 0;
	for (size_t i = from; i < plan->count; i++) {
		enum change_action action = plan->changes[i].action;
		*ret_changes += action != ACTION_ADOPT;
		*ret_destroyed += action == ACTION_DESTROY || action == ACTION_REPLACE;
	}
}

static int check_caps(const struct planner *p, size_t from, struct err *err)
{
	const struct apply_in *in = p->call.c->input;
	size_t changes, destroyed;
	if (in->destroy != NULL)
		return 0;
	count_actions(p->call.plan, from, &changes, &destroyed);
	const struct caps caps = {in->has_max_changes, in->has_max_destroy, in->max_changes, in->max_destroy};
	return caps_check(&caps, changes, destroyed, err);
}

int apply_plan_resources(const struct step_context *c, struct view *v, const struct resources *all, struct plan *plan,
                         struct err *err)
{
	_cleanup_(node_cache_done) struct node_cache seen = {0};
	_cleanup_json_ json_t *found = json_object(), *looked = json_object();
	struct planner p = {.call = {.c = c, .v = v, .seen = &seen, .found = found, .looked = looked, .plan = plan},
	                    .all = all,
	                    .facts = json_object(),
	                    .refused = STR_INIT(16384),
	                    .allow = STR_INIT(8192)};
	size_t from = plan->count;
	int r = plan_wanted(&p, err);
	if (r == 0)
		r = plan_left(&p, err);
	if (r == 0 && p.refusals > 0) {
		r = err_set(err, ERR_REFUSED, "%s", str_peek(&p.refused));
		if (p.allow.len > 0)
			err_hint(err, r,
			         "allow_destroy: [%s] lets that happen; otherwise put it back into the desired state",
			         str_peek(&p.allow));
	}
	if (r == 0)
		r = check_caps(&p, from, err);
	if (r == 0)
		r = keeping_plan(&p.keeping, c, v, from, plan, err);
	const struct apply_in *in = c->input;
	plan->together = exchange_is_in(c->type, plan, from) ? 0 : (size_t)in->parallel;
	keeping_done(&p.keeping);
	str_done(&p.refused);
	str_done(&p.allow);
	json_decref(p.facts);
	arena_done(&p.arena);
	return r;
}
