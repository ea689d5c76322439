/* The copy that is meant, on all places where it may lie: of `restore` any target of the deployment, behind a rollback those that the snapshot was
 * copied to. */
#include "steps/sources/copies.h"

/* What was found, and the places that could not be asked. */
struct search {
	const struct source_call *s;
	struct view *v;
	const json_t *from;
	struct copy_found *best;
	struct err failed; /* the first failure */
	struct str where;
};

static bool is_better(const struct search *search, const struct copy_found *one)
{
	if (one->name == NULL || search->best->name == NULL)
		return one->name != NULL;
	int order = strcmp(one->name, search->best->name);
	return json_get_string(search->from, "after") ? order < 0 : order > 0;
}

static int search_at(struct search *search, const char *name)
{
	struct copy_found one _cleanup_(copy_found_done) = {0};
	struct err why = ERR_INIT;

	int r = copy_find(search->s, search->v, name, search->from, &one, &why);
	if (r == 0 && is_better(search, &one)) {
		copy_found_done(search->best);
		*search->best = one;
		one = (struct copy_found){0};
	}
	if (r < 0) {
		if (search->failed.code == 0)
			search->failed = why;
		str_appendf(&search->where, "%s%s", search->where.len > 0 ? ", " : "", name);
	}
	return r == ERR_CANCELLED ? r : 0;
}

static int search_targets(struct search *search)
{
	const char *name;
	json_t *config;
	int r = 0;

	json_object_foreach((json_t *)(uintptr_t)search->s->c->deployment->targets, name, config)
	{
		/* No step of this deployment keeps anything on a host that is only looked at. */
		if (r == 0 && strcmp(name, search->v->name) != 0 && !json_get_bool(config, "read_only", false) &&
		    copy_may_lie_on(search->s, name))
			r = search_at(search, name);
	}
	return r;
}

/* made: what the snapshot's own step says of its copies; NULL: that is not known. */
static int search_all(struct search *search, const json_t *made)
{
	const char *only = json_get_string(search->from, "copy");
	size_t i;
	json_t *name;
	int r = 0;

	if (only)
		return search_at(search, only);
	if (made == NULL)
		return search_targets(search);
	json_array_foreach(json_get_array(made, "to"), i, name) if (r == 0) r =
		search_at(search, json_string_value(name));
	return r;
}

/* Its tar, and what is in it. */
static int check_room_for(struct view *v, const struct copy_found *copy, struct plan *plan, struct err *err)
{
	const struct source_sizes sizes = {.bytes = 2 * copy->bytes, .files = 1};
	int64_t room;

	return source_check_space(v, &sizes, plan, &room, err);
}

int copy_search(const struct source_call *s, struct view *v, const json_t *from, struct source_from *ret,
                struct plan *plan, struct err *err)
{
	struct copy_found copy _cleanup_(copy_found_done) = {0};
	struct search search = {
		.s = s, .v = v, .from = from, .best = &copy, .failed = ERR_INIT, .where = STR_INIT(4096)};

	int r = search_all(&search, json_object_get(s->all, "copies"));
	/* A place that cannot be asked may hold one that is meant rather, unless `from` names the snapshot. */
	bool is_known = copy.name && json_get_string(from, "snapshot");
	if (search.failed.code != 0 && (r < 0 || !is_known)) {
		if (err)
			*err = search.failed;
		r = err_wrap(err, search.failed.code, "look for copies on %s", str_peek(&search.where));
	}
	str_done(&search.where);
	if (r < 0 || copy.name == NULL)
		return r;
	ret->path = source_fetched_dir(s->c, v);
	ret->head = json_incref(copy.head);
	ret->copy_target = xstrdup(copy.target);
	ret->copy_name = xstrdup(copy.name);
	return check_room_for(v, &copy, plan, err);
}
