/* Two values of a resource, attribute by attribute. What a map of sensitive values calls so is never written down, nor its length. */
#include "providers/terraform/plan.h"

#include "base/core/shown.h"

enum { VALUE_SHOWN = 300, DEPTH_MAX = 12 };

static const char sensitive[] = "(sensitive)", unknown[] = "(known after apply)";

struct side {
	const json_t *value, *secret;
};
struct pair {
	struct side before, after;
	const json_t *unknown;
};
struct output {
	json_t *before, *after;
};

static bool is_nothing(const json_t *value)
{
	return value == NULL || json_is_null(value);
}

/* Is it, or anything in it? */
static bool any_true(const json_t *map)
{
	const char *key;
	json_t *one;
	size_t i;
	if (json_is_true(map))
		return true;
	json_object_foreach((json_t *)(uintptr_t)map, key, one) if (any_true(one)) return true;
	json_array_foreach(map, i, one) if (any_true(one)) return true;
	return false;
}

static void put(json_t *to, const char *path, const json_t *value, bool secret)
{
	if (is_nothing(value))
		return;
	if (secret) {
		json_object_set_new(to, path, json_string(sensitive));
		return;
	}
	_cleanup_free_ char *text = json_is_string(value) ? xstrdup(json_string_value(value)) : json_text(value);
	_cleanup_free_ char *shown = shown_text(text, strlen(text), VALUE_SHOWN);
	json_set_string(to, path, shown);
}

static void leaf(const struct output *out, const char *path, const struct pair *p)
{
	bool later = any_true(p->unknown);
	if (!later && json_equal(is_nothing(p->before.value) ? NULL : p->before.value,
	                         is_nothing(p->after.value) ? NULL : p->after.value))
		return;
	if (!later && is_nothing(p->before.value) && is_nothing(p->after.value))
		return;
	bool hidden = any_true(p->before.secret) || any_true(p->after.secret);
	put(out->before, path, p->before.value, hidden);
	if (later)
		json_object_set_new(out->after, path, json_string(unknown));
	else if (is_nothing(p->after.value))
		json_object_set_new(out->after, path, json_string("(gone)"));
	else if (hidden && !is_nothing(p->before.value))
		json_object_set_new(out->after, path, json_string("(sensitive, another value)"));
	else
		put(out->after, path, p->after.value, hidden);
}

static void walk(const struct output *out, const char *path, const struct pair *p, int depth);

static const json_t *member(const json_t *map, const char *key)
{
	return json_is_true(map) ? map : json_object_get(map, key);
}

static void walk_member(const struct output *out, const char *path, const struct pair *p, const char *key, int depth)
{
	_cleanup_free_ char *here = *path != '\0' ? xasprintf("%s.%s", path, key) : xstrdup(key);
	const struct pair one = {{json_object_get(p->before.value, key), member(p->before.secret, key)},
	                         {json_object_get(p->after.value, key), member(p->after.secret, key)},
	                         member(p->unknown, key)};
	walk(out, here, &one, depth + 1);
}

static void walk_members(const struct output *out, const char *path, const struct pair *p, int depth)
{
	const char *key;
	json_t *one;
	json_object_foreach((json_t *)(uintptr_t)p->before.value, key, one) walk_member(out, path, p, key, depth);
	json_object_foreach((json_t *)(uintptr_t)p->after.value, key,
	                    one) if (json_object_get(p->before.value, key) == NULL)
		walk_member(out, path, p, key, depth);
	json_object_foreach((json_t *)(uintptr_t)p->unknown, key,
	                    one) if (json_object_get(p->before.value, key) == NULL &&
	                             json_object_get(p->after.value, key) == NULL)
		walk_member(out, path, p, key, depth);
}

/* An object is shown by its members, unless it comes or goes as a whole below the top. */
static void walk(const struct output *out, const char *path, const struct pair *p, int depth)
{
	bool objects = json_is_object(p->before.value) && json_is_object(p->after.value);
	bool whole = depth == 0 && (json_is_object(p->before.value) || json_is_object(p->after.value));
	bool hidden = json_is_true(p->before.secret) || json_is_true(p->after.secret);
	if ((objects || whole) && !hidden && !json_is_true(p->unknown) && depth < DEPTH_MAX)
		walk_members(out, path, p, depth);
	else
		leaf(out, *path != '\0' ? path : "value", p);
}

void terraform_difference(const json_t *change, json_t *before, json_t *after)
{
	const struct output out = {before, after};
	const struct pair whole = {
		{json_object_get(change, "before"), json_object_get(change, "before_sensitive")},
		{json_object_get(change, "after"), json_object_get(change, "after_sensitive")},
		json_object_get(change, "after_unknown"),
	};
	walk(&out, "", &whole, 0);
}

char *terraform_paths(const json_t *replace_paths)
{
	_cleanup_(str_done) struct str out = STR_INIT(2000);
	size_t i, k;
	json_t *path, *part;
	json_array_foreach(replace_paths, i, path)
	{
		if (out.len > 0)
			str_append(&out, ", ");
		json_array_foreach(path, k, part)
		{
			if (json_is_string(part))
				str_appendf(&out, "%s%s", k > 0 ? "." : "", json_string_value(part));
			else if (json_is_integer(part))
				str_appendf(&out, "[%lld]", (long long)json_integer_value(part));
		}
	}
	return out.len > 0 ? shown_text(out.data, out.len, VALUE_SHOWN) : NULL;
}
