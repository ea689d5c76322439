/* container: `container:` and `services:` of a job: an image, or a map of what it needs; each place has contexts of its own. */
#include "agent/workflow/workflow_priv.h"

#include <string.h>

static const char *const container_keys[] = {"image",   "options",     "env",        "ports",
                                             "volumes", "credentials", "entrypoint", "command"};
static const char *const credential_keys[] = {"username", "password"};
static const char *const in_container[] = {"github", "needs", "strategy", "matrix", "vars", "inputs", NULL};
static const char *const in_container_env[] = {"github", "needs", "strategy", "matrix",  "vars", "inputs",
                                               "env",    "job",   "runner",   "secrets", NULL};
static const char *const in_credentials[] = {"github", "needs", "strategy", "matrix", "vars",
                                             "inputs", "env",   "secrets",  NULL};

enum { CONTAINER_KEYS = 6 };

static bool is_scalar(const json_t *value)
{
	return value != NULL && !json_is_object(value) && !json_is_array(value);
}

static json_t *read_list(struct reader *r, const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key), *item;
	size_t i, mark = reader_enter(r, key);
	bool good = json_is_array(value) || reader_is_expression(value) || json_is_null(value);
	json_array_foreach(value, i, item) good &= is_scalar(item);
	if (!good)
		reader_fault(r, "'%s' must be a list of texts", key);
	reader_leave(r, mark);
	return reader_token(r, object, key);
}

static json_t *read_credentials(struct reader *r, const json_t *object)
{
	json_t *value = json_object_get(object, "credentials");
	size_t mark = reader_enter(r, "credentials");
	if (json_is_object(value)) {
		reader_known_keys(r, value, "credentials", credential_keys, ARRAY_SIZE(credential_keys));
		for (size_t i = 0; i < ARRAY_SIZE(credential_keys); i++)
			if (!is_scalar(json_object_get(value, credential_keys[i])))
				reader_fault(r, "'credentials' needs '%s', a text", credential_keys[i]);
	} else if (!reader_is_expression(value) && !json_is_null(value)) {
		reader_fault(r, "'credentials' must be a map with 'username' and 'password'");
	}
	reader_leave(r, mark);
	reader_allow(r, in_credentials, 0);
	json_t *token = reader_token(r, object, "credentials");
	reader_allow(r, in_container, 0);
	return token;
}

static json_t *read_member(struct reader *r, const json_t *object, const char *key)
{
	if (strcmp(key, "credentials") == 0)
		return read_credentials(r, object);
	if (strcmp(key, "ports") == 0 || strcmp(key, "volumes") == 0)
		return read_list(r, object, key);
	if (strcmp(key, "env") == 0) {
		reader_allow(r, in_container_env, 0);
		json_t *env = reader_scalars(r, object, key);
		reader_allow(r, in_container, 0);
		return env;
	}
	size_t mark = reader_enter(r, key);
	if (!is_scalar(json_object_get(object, key)))
		reader_fault(r, "'%s' must be a text", key);
	reader_leave(r, mark);
	return reader_token(r, object, key);
}

/* The map as a token, each member with the contexts that it may name. */
static json_t *read_map(struct reader *r, const json_t *value, const char *what, size_t keys)
{
	json_t *map = json_array(), *item;
	const char *key;
	reader_known_keys(r, value, what, container_keys, keys);
	if (json_object_get(value, "image") == NULL)
		reader_fault(r, "%s needs 'image'", what);
	json_object_foreach((json_t *)(uintptr_t)value, key, item)
	{
		json_t *token = read_member(r, value, key);
		json_array_append_new(map, json_pack("{s:s, s:o}", "key", key, "value", token ? token : json_null()));
	}
	return json_pack("{s:i, s:o}", "type", 2, "map", map);
}

static json_t *read_one(struct reader *r, const json_t *object, const char *key, const char *what, size_t keys)
{
	json_t *value = json_object_get(object, key), *token = NULL;
	size_t mark = reader_enter(r, key);
	if (json_is_object(value)) {
		token = read_map(r, value, what, keys);
	} else if (!json_is_string(value) && !json_is_null(value)) {
		reader_fault(r, "%s must be an image or a map with 'image'", what);
	}
	reader_leave(r, mark);
	return token != NULL ? token : reader_token(r, object, key);
}

json_t *reader_container(struct reader *r, const json_t *object)
{
	if (json_object_get(object, "container") == NULL)
		return NULL;
	reader_allow(r, in_container, 0);
	return read_one(r, object, "container", "a container", CONTAINER_KEYS);
}

json_t *reader_services(struct reader *r, const json_t *object)
{
	json_t *value = json_object_get(object, "services"), *service;
	if (value == NULL)
		return NULL;
	reader_allow(r, in_container, 0);
	size_t mark = reader_enter(r, "services");
	if (!json_is_object(value) && !reader_is_expression(value) && !json_is_null(value))
		reader_fault(r, "'services' must be a map of services");
	json_t *map = json_array();
	const char *alias;
	json_object_foreach(value, alias, service)
	{
		if (!reader_is_name(alias))
			reader_fault(
				r, "the name of a service has letters, digits, - and _, and begins with a letter or _");
		json_t *token = read_one(r, value, alias, "a service", ARRAY_SIZE(container_keys));
		json_array_append_new(map, json_pack("{s:s, s:o}", "key", alias, "value", token ? token : json_null()));
	}
	reader_leave(r, mark);
	if (json_is_object(value))
		return json_pack("{s:i, s:o}", "type", 2, "map", map);
	json_decref(map);
	return reader_token(r, object, "services");
}
