/* What is different between the plan that people saw and the one that is made now, for people. */
#include "engine/run/run_priv.h"

#include <string.h>

enum { DIFFERENCE_SHOWN = 100 };

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_get_string(object, key);
	return text ? text : "";
}

/* A change is known by what it changes, and by which step it is made. */
static bool same_place(const json_t *a, const json_t *b)
{
	static const char *const keys[] = {"step", "target", "kind", "path"};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!json_equal(json_object_get(a, keys[i]), json_object_get(b, keys[i])))
			return false;
	return true;
}

static const json_t *find_place(const json_t *changes, const json_t *change)
{
	size_t i;
	json_t *other;
	json_array_foreach((json_t *)changes, i, other) if (same_place(other, change)) return other;
	return NULL;
}

static char *value_text(const json_t *value)
{
	return value ? json_dumps(value, JSON_ENCODE_ANY | JSON_SORT_KEYS) : xstrdup("nothing");
}

/* Each member that differs, "before.mode", with both values. */
static void add_members(struct strv *lines, const char *place, const char *part, const json_t *seen, const json_t *now)
{
	const char *key;
	json_t *value;
	_cleanup_json_ json_t *all = json_object();
	json_object_update(all, (json_t *)seen);
	json_object_update(all, (json_t *)now);
	json_object_foreach(all, key, value)
	{
		const json_t *a = json_object_get(seen, key), *b = json_object_get(now, key);
		if (a && b && json_equal(a, b))
			continue;
		_cleanup_free_ char *from = value_text(a), *to = value_text(b);
		strv_addf(lines, "  %s: %s %s: %.300s was approved, now %.300s", place, part, key, from, to);
	}
}

static char *place_of(const json_t *change)
{
	return xasprintf("%s %s %s", text_of(change, "target"), text_of(change, "action"), text_of(change, "path"));
}

static void compare_change(struct strv *lines, const json_t *seen, const json_t *now)
{
	_cleanup_free_ char *place = place_of(now);
	size_t before = lines->count;
	add_members(lines, place, "before", json_object_get(seen, "before"), json_object_get(now, "before"));
	add_members(lines, place, "after", json_object_get(seen, "after"), json_object_get(now, "after"));
	if (lines->count == before)
		strv_addf(lines, "  %s: its content is not the approved one", place);
}

static void compare_changes(struct strv *lines, const json_t *seen, const json_t *now)
{
	size_t i;
	json_t *change;
	json_array_foreach((json_t *)seen, i, change)
	{
		const json_t *other = find_place(now, change);
		_cleanup_free_ char *place = place_of(change);
		if (other == NULL)
			strv_addf(lines, "  %s: was approved, and is not to be done any more", place);
		else if (!json_equal(change, other))
			compare_change(lines, change, other);
	}
	json_array_foreach((json_t *)now, i, change)
	{
		_cleanup_free_ char *place = place_of(change);
		if (find_place(seen, change) == NULL)
			strv_addf(lines, "  %s: was not approved", place);
	}
}

static void compare_steps(struct strv *lines, const json_t *seen, const json_t *now)
{
	size_t count = MAX(json_array_size(seen), json_array_size(now));
	for (size_t i = 0; i < count; i++) {
		const json_t *a = json_array_get(seen, i), *b = json_array_get(now, i);
		if (a == NULL || b == NULL || !json_equal(a, b))
			strv_addf(lines, "  step %zu (%s): its inputs are not those that were approved", i + 1,
			          text_of(b ? b : a, "step"));
	}
}

void engine_plan_difference(const json_t *seen, const json_t *now, struct strv *ret)
{
	const char *key;
	json_t *value;
	if (seen == NULL) {
		strv_addf(ret, "  the approved plan is not in the journal");
		return;
	}
	compare_changes(ret, json_object_get(seen, "changes"), json_object_get(now, "changes"));
	compare_steps(ret, json_object_get(seen, "steps"), json_object_get(now, "steps"));
	add_members(ret, "targets", "which machine", json_object_get(seen, "targets"), json_object_get(now, "targets"));
	json_object_foreach((json_t *)now, key, value)
	{
		if (!json_is_object(value) && !json_is_array(value) && !json_equal(value, json_object_get(seen, key)))
			strv_addf(ret, "  `%s` is not as it was approved", key);
	}
}

void engine_tell_difference(struct engine *e, const json_t *seen)
{
	_cleanup_json_ json_t *now = engine_without_secrets(e->digested);
	_cleanup_(strv_done) struct strv lines = {0};
	engine_plan_difference(seen, now, &lines);
	for (size_t i = 0; i < lines.count && i < DIFFERENCE_SHOWN; i++)
		engine_say(e, "error", "%s", lines.items[i]);
	if (lines.count > DIFFERENCE_SHOWN)
		engine_say(e, "info", "  and %zu more", lines.count - DIFFERENCE_SHOWN);
}

int engine_check_expected(struct engine *e, struct err *err)
{
	const char *expected = e->o->expect_digest;
	if (expected == NULL || strcmp(expected, e->digest) == 0)
		return 0;
	if (e->o->expect_plan != NULL)
		engine_tell_difference(e, e->o->expect_plan);
	int r = err_set(err, ERR_CONFLICT, "the plan is not the expected one: %s instead of %s", e->digest, expected);
	return err_hint(err, r, "look at the new plan, and approve its digest");
}
