/* What runs of a project, in the form that a record holds. A container is what its configuration's hash and its image's id make of it: two
 * that agree in both are the same for us, whatever their names and ids. */
#include "steps/compose_up/compose_up.h"

#include <stdlib.h>

static void short_of(const char *id, char ret[COMPOSE_SHORT + 1])
{
	if (id == NULL)
		id = "";
	if (str_starts(id, "sha256:"))
		id += strlen("sha256:");
	snprintf(ret, COMPOSE_SHORT + 1, "%s", id);
}

static json_t *what_is(const char *hash, const char *image)
{
	char h[COMPOSE_SHORT + 1], i[COMPOSE_SHORT + 1];
	short_of(hash, h);
	short_of(image, i);
	return json_stringf("%s:%s", h, i);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(json_string_value(*(json_t *const *)a), json_string_value(*(json_t *const *)b));
}

static json_t *sorted(json_t *list)
{
	size_t count = json_array_size(list);
	_cleanup_free_ json_t **items = xcalloc(count + 1, sizeof(json_t *));
	for (size_t i = 0; i < count; i++)
		items[i] = json_array_get(list, i);
	qsort(items, count, sizeof(json_t *), by_text);
	json_t *out = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append(out, items[i]);
	json_decref(list);
	return out;
}

static json_t *of_services(json_t *services)
{
	const char *name;
	json_t *one;
	json_object_foreach(services, name, one)
		json_object_set_new(one, "is", sorted(json_incref(json_object_get(one, "is"))));
	return json_pack("{s:s,s:o}", "type", "compose", "services", services);
}

json_t *compose_state_found(const struct docker_containers *l)
{
	json_t *services = json_object();
	if (l->count == 0) {
		json_decref(services);
		return json_pack("{s:s}", "type", "absent");
	}
	for (size_t i = 0; i < l->count; i++) {
		const struct docker_container *c = &l->items[i];
		json_t *one = json_object_get(services, c->service);
		if (one == NULL) {
			one = json_pack("{s:[],s:i}", "is", "up", 0);
			json_object_set_new(services, c->service, one);
		}
		json_array_append_new(json_object_get(one, "is"), what_is(c->hash, c->image));
		json_object_set_new(one, "up", json_integer(json_get_int(one, "up", 0) + c->up));
	}
	return of_services(services);
}

json_t *compose_state_service(const char *hash, const char *image, int64_t count, int64_t up)
{
	json_t *is = json_array();
	for (int64_t i = 0; i < count; i++)
		json_array_append_new(is, what_is(hash, image));
	return json_pack("{s:o,s:I}", "is", is, "up", (json_int_t)up);
}

json_t *compose_state_wanted(const struct compose_stack *s, const json_t *images)
{
	json_t *services = json_object();
	for (size_t i = 0; i < s->count; i++) {
		const struct compose_service *one = &s->services[i];
		const char *image = json_get_string(json_object_get(images, one->name), "id");
		json_object_set_new(
			services, one->name,
			compose_state_service(one->hash, image, one->replicas, one->once ? 0 : one->replicas));
	}
	return of_services(services);
}

void compose_state_add(json_t *state, const struct docker_container *c)
{
	json_t *one = json_object_get(json_object_get(state, "services"), c->service);
	if (one == NULL)
		return;
	json_array_append_new(json_object_get(one, "is"), what_is(c->hash, c->image));
	json_object_set_new(one, "is", sorted(json_incref(json_object_get(one, "is"))));
}

/* One without an image is any of its configuration. */
static bool same(const char *wanted, const char *found)
{
	size_t len = strlen(wanted);
	return len > 0 && wanted[len - 1] == ':' ? strncmp(wanted, found, len) == 0 : strcmp(wanted, found) == 0;
}

static bool same_list(const json_t *wanted, const json_t *found)
{
	if (json_array_size(wanted) != json_array_size(found))
		return false;
	for (size_t i = 0; i < json_array_size(wanted); i++)
		if (!same(json_string_value(json_array_get(wanted, i)), json_string_value(json_array_get(found, i))))
			return false;
	return true;
}

static const json_t *is_of(const json_t *state, const char *service)
{
	return json_object_get(json_object_get(json_object_get(state, "services"), service), "is");
}

bool compose_state_is(const json_t *found, const json_t *wanted)
{
	const char *name;
	json_t *one;
	json_object_foreach(json_object_get(wanted, "services"), name, one)
	{
		const json_t *there = json_object_get(json_object_get(found, "services"), name);
		if (!same_list(json_object_get(one, "is"), json_object_get(there, "is")) ||
		    json_get_int(there, "up", 0) < json_get_int(one, "up", 0))
			return false;
	}
	json_object_foreach(json_object_get(found, "services"), name,
	                    one) if (is_of(wanted, name) == NULL) return false;
	return true;
}

static bool is_among(const json_t *list, const char *text)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (same(json_string_value(json_array_get(list, i)), text))
			return true;
	return false;
}

/* The first container that is of neither; NULL: none. */
static const char *stranger(const json_t *before, const json_t *after, const json_t *found, const char **ret_service)
{
	const char *name;
	json_t *one, *text;
	size_t i;
	json_object_foreach(json_object_get(found, "services"), name, one)
		json_array_foreach(json_object_get(one, "is"), i, text)
	{
		const char *is = json_string_value(text);
		*ret_service = name;
		if (is != NULL && !is_among(is_of(before, name), is) && !is_among(is_of(after, name), is))
			return is;
	}
	return NULL;
}

bool compose_state_is_absent(const json_t *state)
{
	return json_object_get(state, "services") == NULL;
}

/* A container that stands still where one ran is part of an interrupted change. */
enum change_match compose_state_match(const json_t *before, const json_t *after, const json_t *found)
{
	const char *service;
	bool is_before = compose_state_is(found, before), is_after = compose_state_is(found, after);
	if (is_before || is_after)
		return is_before && is_after ? MATCH_BOTH : is_before ? MATCH_BEFORE : MATCH_AFTER;
	return stranger(before, after, found, &service) != NULL ? MATCH_NEITHER : MATCH_PART;
}

void compose_state_explain(const json_t *before, const json_t *after, const json_t *found, struct str *out)
{
	const char *service = "";
	const char *is = stranger(before, after, found, &service);
	if (is != NULL)
		str_appendf(
			out,
			"the service '%s' has a container that neither the former configuration nor the new one makes (%s)",
			service, is);
	else
		str_append(out, "not all of its containers are there and run");
}
