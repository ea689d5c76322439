/* Desired state against the world, attribute by attribute. What would destroy something is refused unless it is named
 * in allow_destroy, and always while it is protected; all refusals at once. */
#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "steps/apply/apply.h"
#include "engine/target/node_cache.h"
#include "steps/common/paths.h"

struct planner {
	const struct step_context *c;
	struct view *v;
	const struct resources *all;
	struct plan *plan;
	struct node_cache *seen;
	struct str refused; /* sentences, "; " between */
	size_t refusals;
	struct str allow; /* the keys that would have to be allowed */
};

static void refuse(struct planner *p, const char *key, bool allowable, const char *why)
{
	str_appendf(&p->refused, "%s%s %s", p->refusals++ == 0 ? "" : "; ", key, why);
	if (allowable)
		str_appendf(&p->allow, "%s\"%s\"", p->allow.len == 0 ? "" : ", ", key);
}

static const char *kind_of_node(enum node_type type)
{
	return type == NODE_FILE     ? "file"
	       : type == NODE_DIR    ? "directory"
	       : type == NODE_LINK   ? "link"
	       : type == NODE_ABSENT ? "absent"
	                             : "other";
}

/* Owner and group in the words of what is there, so that 1000 and the name of that user do not differ. */
static const char *same_words(const char *given, const char *name, unsigned id)
{
	char digits[16];
	snprintf(digits, sizeof(digits), "%u", id);
	return given != NULL && (strcmp(given, name) == 0 || strcmp(given, digits) == 0) ? name : given;
}

static json_t *node_wanted(const struct resource *r, const struct node *now, const json_t *before,
                           const struct str *content)
{
	static const char *const types[] = {"file", "dir", "link"};
	if (r->kind == RESOURCE_LINK)
		return json_pack("{s:s,s:s}", "type", "link", "link", r->to);
	bool there = strcmp(node_type_name(before), types[r->kind]) == 0;
	const char *owner = there ? same_words(r->owner, now->owner, now->uid) : r->owner;
	const char *group = there ? same_words(r->group, now->group, now->gid) : r->group;
	/* A new directory without one gets what its directory passes on, or 0755. */
	long mode = r->mode >= 0 ? r->mode : there || r->kind != RESOURCE_FILE ? -1 : 0644;
	json_t *after = node_after(types[r->kind], before, owner, group, mode);
	if (r->kind == RESOURCE_FILE) {
		char hex[DIGEST_HEX];
		digest_of(str_peek(content), content->len, hex);
		json_object_set_new(after, "digest", json_string(hex));
		json_object_set_new(after, "size", json_integer((json_int_t)content->len));
	}
	return after;
}

/* What the two nodes of the change do not say. */
static char *summary_of(const struct resource *r, enum change_action action, bool known)
{
	_cleanup_(str_done) struct str text = STR_INIT(8192);
	str_append(&text, resource_kind_name(r->kind));
	if (action == ACTION_ADOPT)
		str_append(&text, known ? ", already as wanted; its recorded state changes"
		                        : ", already as wanted; it is managed from now on");
	else if (r->kind == RESOURCE_FILE && r->source != NULL)
		str_appendf(&text, " from %s", r->source);
	if (action == ACTION_UPDATE && !known)
		str_append(&text, ", was there, and is looked after from now on");
	return str_take(&text);
}

static struct change *add(struct planner *p, const struct change_type *kind, enum change_action action,
                          const char *path, const json_t *before, const json_t *after)
{
	struct change *change = plan_add(p->plan, kind, action, path);
	change->before = json_deep_copy(before);
	change->after = json_deep_copy(after);
	change->extra = json_object();
	return change;
}

/* A file becomes a link or a link a file: one change, and the old key's row goes with one that changes nothing. */
static int plan_replace(struct planner *p, const struct resource *r, const struct node *now, const json_t *before,
                        const json_t *after, struct str *content, struct err *err)
{
	_cleanup_free_ char *old_key = xasprintf("%s:%s", kind_of_node(now->type), r->path);
	_cleanup_json_ json_t *old_row = NULL;
	int got = apply_row_get(p->c, p->v, old_key, &old_row, err);
	if (got < 0)
		return got;
	bool simple = (now->type == NODE_FILE || now->type == NODE_LINK) && r->kind != RESOURCE_DIRECTORY;
	if (!simple) {
		_cleanup_free_ char *why = xasprintf("is in the way of %s: move it by hand first", r->key);
		refuse(p, old_key, false, why);
		return 0;
	}
	if (json_get_bool(old_row, "protect", false) || r->protect) {
		refuse(p, old_key, false, "would be replaced, but it is protected (`protect: true`)");
		return 0;
	}
	if (!resources_allow(p->all, old_key)) {
		_cleanup_free_ char *why = xasprintf("would be replaced by a %s", resource_kind_name(r->kind));
		refuse(p, old_key, true, why);
		return 0;
	}
	struct change *change =
		add(p, r->kind == RESOURCE_FILE ? &change_file : &change_link, ACTION_REPLACE, r->path, before, after);
	if (r->kind == RESOURCE_FILE)
		str_append_n(&change->content, str_peek(content), content->len);
	change->summary = summary_of(r, ACTION_REPLACE, true);
	_cleanup_json_ json_t *row = apply_row(p->c, r, after);
	change_set_state_row(change, r->key, row, NULL);
	if (old_row != NULL) {
		struct change *forget = add(p, r->kind == RESOURCE_FILE ? &change_file : &change_link, ACTION_ADOPT,
		                            r->path, after, after);
		forget->summary = xasprintf("%s is forgotten", old_key);
		change_set_state_row(forget, old_key, NULL, old_row);
	}
	return 0;
}

static int plan_one(struct planner *p, const struct resource *r, struct err *err)
{
	static const struct change_type *const kinds[] = {&change_file, &change_dir, &change_link};
	static const enum node_type types[] = {NODE_FILE, NODE_DIR, NODE_LINK};
	_cleanup_(str_done) struct str content = STR_INIT(APPLY_MAX_CONTENT + (128 << 10));
	_cleanup_json_ json_t *before = NULL, *row = NULL;
	const struct node *now = NULL;
	int ret = node_cache_look(p->seen, p->v, r->path, &before, err);
	if (ret == 0 && r->kind == RESOURCE_FILE)
		ret = resource_content(p->c, r, &content, err);
	if (ret == 0)
		ret = apply_row_get(p->c, p->v, r->key, &row, err);
	if (ret == 0)
		ret = step_plan_parents(p->v, p->seen, p->plan, r->path, err);
	if (ret == 0)
		ret = node_cache_stat(p->seen, p->v, r->path, &now, err);
	if (ret < 0)
		return err_wrap(err, ret, "resource %s", r->key);
	_cleanup_json_ json_t *after = node_wanted(r, now, before, &content);
	if (now->type != NODE_ABSENT && now->type != types[r->kind])
		return plan_replace(p, r, now, before, after, &content, err);
	_cleanup_json_ json_t *new_row = apply_row(p->c, r, after);
	bool differs = node_differs(before, after);
	if (!differs && row != NULL && json_equal(row, new_row))
		return 0;
	enum change_action action = now->type == NODE_ABSENT ? ACTION_CREATE : differs ? ACTION_UPDATE : ACTION_ADOPT;
	struct change *change = add(p, kinds[r->kind], action, r->path, before, after);
	if (r->kind == RESOURCE_FILE && action != ACTION_ADOPT)
		str_append_n(&change->content, str_peek(&content), content.len);
	change->summary = summary_of(r, action, row != NULL);
	change_set_state_row(change, r->key, new_row, row);
	return 0;
}

static bool plan_removes(const struct plan *plan, const char *path)
{
	for (size_t i = 0; i < plan->count; i++) {
		if (plan->changes[i].type == &change_remove && strcmp(plan->changes[i].path, path) == 0)
			return true;
	}
	return false;
}

/* A directory goes only when nothing else lies in it. */
static int holds_more(struct planner *p, const char *dir, bool *ret, struct err *err)
{
	struct strv names = {0};
	int r = host_list(p->v, dir, &names, err);
	*ret = false;
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		_cleanup_free_ char *path = fs_join(dir, names.items[i]);
		*ret = *ret || !plan_removes(p->plan, path);
	}
	strv_done(&names);
	return r;
}

static int plan_destroy(struct planner *p, const char *key, const json_t *row, struct err *err)
{
	const char *path = strchr(key, ':') != NULL ? strchr(key, ':') + 1 : key;
	const char *type = json_get_string(row, "type");
	const struct node *now = NULL;
	_cleanup_json_ json_t *before = NULL, *after = json_pack("{s:s}", "type", "absent");
	int r = node_cache_look(p->seen, p->v, path, &before, err);
	if (r == 0)
		r = node_cache_stat(p->seen, p->v, path, &now, err);
	if (r < 0)
		return r;
	bool there = type != NULL && strcmp(kind_of_node(now->type), type) == 0;
	if (there && json_get_bool(row, "protect", false)) {
		refuse(p, key, false,
		       "left the desired state, but it is protected (`protect: true`): put it back, without `protect` "
		       "first");
		return 0;
	}
	if (there && !resources_allow(p->all, key)) {
		refuse(p, key, true, "left the desired state and would be destroyed");
		return 0;
	}
	bool more = false;
	if (there && now->type == NODE_DIR) {
		r = holds_more(p, path, &more, err);
		if (r < 0)
			return r;
	}
	struct change *change;
	if (there && !more) {
		change = add(p, &change_remove, ACTION_DESTROY, path, before, after);
		change->summary = xasprintf("the %s left the desired state", type);
	} else {
		/* Gone already, something else by now, or still in use: only what is remembered of it goes. */
		change = add(p, &change_remove, ACTION_ADOPT, path, before, before);
		change->summary = xasprintf("forgotten: %s", more ? "other things lie in the directory, so it stays"
		                                                  : "it is not there any more");
	}
	change_set_state_row(change, key, NULL, row);
	return 0;
}

static int by_path(const void *a, const void *b)
{
	const struct resource *const *x = a, *const *y = b;
	return strcmp((*x)->path, (*y)->path);
}

static int deepest_first(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;
	const char *p = strchr(*x, ':'), *q = strchr(*y, ':');
	return strcmp(q != NULL ? q : *y, p != NULL ? p : *x);
}

static int look_left(struct planner *p, const char *const *keys, size_t count, struct err *err)
{
	_cleanup_(strv_done) struct strv paths = {0};
	for (size_t i = 0; i < count; i++)
		strv_add(&paths, strchr(keys[i], ':') != NULL ? strchr(keys[i], ':') + 1 : keys[i]);
	return node_cache_fetch_contents(p->seen, p->v, &paths, err);
}

static int plan_left(struct planner *p, struct err *err)
{
	_cleanup_json_ json_t *left = NULL;
	const char *key;
	json_t *row;
	size_t count = 0;
	int r = apply_left(p->c, p->v, p->all, &left, err);
	if (r < 0)
		return r;
	const char **keys = xcalloc(json_object_size(left) + 1, sizeof(*keys));
	json_object_foreach(left, key, row) keys[count++] = key;
	qsort(keys, count, sizeof(*keys), deepest_first);
	r = look_left(p, keys, count, err);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = plan_destroy(p, keys[i], json_object_get(left, keys[i]), err);
	free(keys);
	return r;
}

/* All that the plan will ask for, together: a thousand questions are a few round trips. */
static int look_ahead(struct planner *p, const struct resource *const *sorted, size_t count, struct err *err)
{
	_cleanup_(strv_done) struct strv ways = {0}, own = {0};
	const char **paths = xcalloc(count + 1, sizeof(*paths));
	for (size_t i = 0; i < count; i++) {
		paths[i] = sorted[i]->path;
		strv_add(&own, paths[i]);
	}
	node_cache_add_ways(&ways, paths, count);
	free(paths);
	int r = node_cache_fetch(p->seen, p->v, &ways, err);
	return r < 0 ? r : node_cache_fetch_contents(p->seen, p->v, &own, err);
}

int apply_plan(const struct step_context *c, struct view *v, const struct resources *all, struct plan *plan,
               struct err *err)
{
	_cleanup_(node_cache_done) struct node_cache seen = {0};
	struct planner p = {.c = c,
	                    .v = v,
	                    .all = all,
	                    .plan = plan,
	                    .seen = &seen,
	                    .refused = STR_INIT(16384),
	                    .allow = STR_INIT(8192)};
	const struct resource **sorted = xcalloc(all->count + 1, sizeof(*sorted));
	for (size_t i = 0; i < all->count; i++)
		sorted[i] = &all->items[i];
	qsort(sorted, all->count, sizeof(*sorted), by_path);
	int r = look_ahead(&p, sorted, all->count, err);
	for (size_t i = 0; r == 0 && i < all->count; i++)
		r = plan_one(&p, sorted[i], err);
	free(sorted);
	if (r == 0)
		r = plan_left(&p, err);
	if (r == 0 && p.refusals > 0) {
		r = err_set(err, ERR_REFUSED, "%s", str_peek(&p.refused));
		if (p.allow.len > 0)
			err_hint(err, r,
			         "allow_destroy: [%s] lets that happen; otherwise put it back into the desired state",
			         str_peek(&p.allow));
	}
	str_done(&p.refused);
	str_done(&p.allow);
	return r;
}
