#include "providers/scaleway/object.h"

#include "base/core/clock.h"
#include "base/core/mem.h"
#include "providers/scaleway/reply.h"

#include <string.h>

enum { POLL_FIRST_MS = 100, POLL_MOST_MS = 5000 };

const char *object_id(const json_t *object)
{
	return json_get_string(object, "id");
}

static const char *tag_behind(const json_t *object, const char *prefix)
{
	const json_t *tags = json_get_array(object, "tags");
	for (size_t i = 0; i < json_array_size(tags); i++) {
		const char *tag = json_string_value(json_array_get(tags, i));
		if (tag != NULL && str_starts(tag, prefix))
			return tag + strlen(prefix);
	}
	return NULL;
}

const char *object_name(const struct scaleway_kind *kind, const json_t *object)
{
	return kind->tagged_name ? tag_behind(object, OBJECT_NAME) : json_get_string(object, "name");
}

bool object_has_mark(const json_t *object, const char *mark)
{
	const char *own = tag_behind(object, OBJECT_MARK);
	return own != NULL && (mark == NULL || strcmp(own, mark + strlen(OBJECT_MARK)) == 0);
}

char *object_path(const struct scaleway *s, const struct scaleway_kind *kind, const char *id, const char *behind)
{
	return kind->block ? scaleway_block_path(s, "%s/%s%s", kind->path, id, behind)
	                   : scaleway_instance_path(s, "%s/%s%s", kind->path, id, behind);
}

/* ---- found ---- */

/* Both kinds of times sort as strings. */
static const char *born(const json_t *object)
{
	const char *date = json_get_string(object, "creation_date");
	return date != NULL ? date : json_get_string(object, "created_at");
}

static bool is_older(const json_t *a, const json_t *b)
{
	const char *one = born(a), *other = born(b);
	int order = one != NULL && other != NULL ? strcmp(one, other) : 0;
	return order != 0 ? order < 0 : strcmp(object_id(a), object_id(b)) < 0;
}

static void insert(json_t *list, json_t *object)
{
	size_t at = json_array_size(list);
	while (at > 0 && is_older(object, json_array_get(list, at - 1)))
		at--;
	json_array_insert(list, at, object);
}

static char *list_path(const struct object_call *o, const char *name)
{
	bool block = o->kind->block;
	_cleanup_free_ char *project = scaleway_query(block ? "project_id" : "project", scaleway_project(o->s)),
			    *tag = xasprintf("%s%s", OBJECT_NAME, name != NULL ? name : ""),
			    *by = name == NULL           ? xstrdup("")
	                          : o->kind->tagged_name ? scaleway_query("tags", tag)
	                                                 : scaleway_query("name", name);
	const char *and = name != NULL ? "&" : "";
	return block ? scaleway_block_path(o->s, "%s?%s%s%s", o->kind->path, project, and, by)
	             : scaleway_instance_path(o->s, "%s?%s%s%s", o->kind->path, project, and, by);
}

/* A volume is still told for a while after its end. */
static bool is_gone(const json_t *object)
{
	const char *status = json_get_string(object, "status");
	return status != NULL && strcmp(status, "deleted") == 0;
}

/* A filter by name finds names that only hold it, too. */
static int take_rows(const struct object_call *o, const char *name, const json_t *rows, json_t *all, struct err *err)
{
	for (size_t i = 0; i < json_array_size(rows); i++) {
		json_t *row = json_array_get(rows, i);
		const char *own = object_name(o->kind, row);
		if (is_gone(row) || (name != NULL && (own == NULL || strcmp(own, name) != 0)))
			continue;
		if (!reply_is_id(object_id(row)))
			return err_set(err, ERR_PROTOCOL, "%s lists a %s without an id", scaleway_host(o->s),
			               o->kind->word);
		insert(all, row);
	}
	return 0;
}

int object_find(const struct object_call *o, const char *name, json_t **ret, struct err *err)
{
	json_t *rows _cleanup_json_ = NULL, *all _cleanup_json_ = json_array();
	_cleanup_free_ char *path = list_path(o, name);
	int r = scaleway_list(o->s, path, o->kind->list, o->wait, &rows, err);
	if (r == 0)
		r = take_rows(o, name, rows, all, err);
	if (r == 0)
		*ret = TAKE(all);
	return r;
}

int object_list(const struct object_call *o, json_t **ret, struct err *err)
{
	return object_find(o, NULL, ret, err);
}

int object_get(const struct object_call *o, const char *id, json_t **ret, struct err *err)
{
	json_t *answer _cleanup_json_ = NULL;
	*ret = NULL;
	if (!reply_is_id(id))
		return err_set(err, ERR_INVALID, "a %s has no id '%s'", o->kind->word, id != NULL ? id : "");
	_cleanup_free_ char *path = object_path(o->s, o->kind, id, "");
	int r = scaleway_call(o->s, NULL, path, NULL, o->wait, &answer, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	if (r < 0)
		return r;
	json_t *object = o->kind->wrap != NULL ? json_object_get(answer, o->kind->wrap) : answer;
	const char *own = object_id(object);
	if (own == NULL || strcmp(own, id) != 0)
		return err_set(err, ERR_PROTOCOL, "GET %s: %s answered with something else", path, scaleway_host(o->s));
	*ret = is_gone(object) ? NULL : json_incref(object);
	return 0;
}

/* ---- waited for ---- */

/* No ERR_TIMEOUT: whoever got that would wait as long again. */
static int given_up(const struct object_call *o, const json_t *object, struct err *err)
{
	const char *name = object_name(o->kind, object), *state = json_get_string(object, "state");
	if (state == NULL)
		state = json_get_string(object, "status");
	err_set(err, ERR_FAILED, "the %s '%s' is %s and becomes nothing else", o->kind->word,
	        name != NULL ? name : object_id(object), state != NULL ? state : "in no known state");
	return err_hint(err, ERR_FAILED, "its id is %s; the target's `action_timeout` says how long that may take",
	                object_id(object));
}

int object_settle(const struct object_call *o, const char *id, json_t **ret, struct err *err)
{
	int64_t pause = POLL_FIRST_MS, until = clock_mono_ms() + scaleway_timeout(o->s);
	for (;;) {
		json_t *object _cleanup_json_ = NULL;
		int r = object_get(o, id, &object, err);
		if (r < 0)
			return r;
		if (object == NULL || o->kind->settled == NULL || o->kind->settled(object)) {
			*ret = TAKE(object);
			return 0;
		}
		if (clock_mono_ms() >= until)
			return given_up(o, object, err);
		r = wait_aside(o->wait, pause, err);
		if (r < 0)
			return r;
		pause = MIN(pause * 2, (int64_t)POLL_MOST_MS);
	}
}

/* ---- as a node ---- */

bool object_same(const json_t *a, const json_t *b)
{
	return a == b || json_equal(a, b);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

json_t *object_sorted(const json_t *strings)
{
	size_t count = 0;
	_cleanup_free_ const char **all = xcalloc(json_array_size(strings) + 1, sizeof(*all));
	for (size_t i = 0; i < json_array_size(strings); i++) {
		const char *text = json_string_value(json_array_get(strings, i));
		if (text != NULL)
			all[count++] = text;
	}
	qsort(all, count, sizeof(*all), by_text);
	json_t *sorted = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(sorted, json_string(all[i]));
	return sorted;
}

static bool is_own_tag(const char *tag)
{
	return str_starts(tag, OBJECT_MARK) || str_starts(tag, OBJECT_NAME);
}

static json_t *other_tags(const json_t *object)
{
	const json_t *tags = json_get_array(object, "tags");
	json_t *others _cleanup_json_ = json_array();
	for (size_t i = 0; i < json_array_size(tags); i++) {
		const char *tag = json_string_value(json_array_get(tags, i));
		if (tag != NULL && !is_own_tag(tag))
			json_array_append(others, json_array_get(tags, i));
	}
	return object_sorted(others);
}

int object_node(const struct object_call *o, const json_t *object, json_t **ret, struct err *err)
{
	json_t *node _cleanup_json_ = json_pack("{s:s, s:s}", "type", o->kind->name, "id", object_id(object));
	const char *mark = tag_behind(object, OBJECT_MARK);
	json_set_string(node, "name", object_name(o->kind, object));
	if (mark != NULL)
		json_object_set_new(node, "mark", json_stringf("%s%s", OBJECT_MARK, mark));
	json_object_set_new(node, "tags", other_tags(object));
	int r = o->kind->node(o->s, object, o->wait, node, err);
	if (r == 0)
		*ret = TAKE(node);
	return r;
}

json_t *object_tags(const struct scaleway_kind *kind, const json_t *object, const json_t *wanted, const char *name,
                    const char *mark)
{
	json_t *tags = json_array();
	const json_t *there = json_get_array(object, "tags");
	json_array_extend(tags, (json_t *)(uintptr_t)wanted);
	for (size_t i = 0; i < json_array_size(there); i++) {
		const char *tag = json_string_value(json_array_get(there, i));
		if (tag != NULL && is_own_tag(tag))
			json_array_append(tags, json_array_get(there, i));
	}
	if (object != NULL)
		return tags;
	if (mark != NULL)
		json_array_append_new(tags, json_string(mark));
	if (kind->tagged_name)
		json_array_append_new(tags, json_stringf("%s%s", OBJECT_NAME, name));
	return tags;
}
