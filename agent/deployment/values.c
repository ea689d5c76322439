#include "agent/deployment/values.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys/fs.h"
#include "base/secret/leaves.h"
#include "base/data/yaml.h"

enum { VALUES_MAX = 4 << 20 };

void deployment_values_init(struct deployment_values *v)
{
	v->secrets = json_object();
	v->vars = json_object();
	v->inputs = json_object();
	v->env = json_object();
	v->github = json_object();
}

void deployment_values_done(struct deployment_values *v)
{
	json_decrefp(&v->secrets);
	json_decrefp(&v->vars);
	json_decrefp(&v->inputs);
	json_decrefp(&v->env);
	json_decrefp(&v->github);
}

void deployment_values_environment(struct deployment_values *values)
{
	for (char **variable = environ; *variable != NULL; variable++) {
		const char *equals = strchr(*variable, '=');
		if (equals == NULL || str_starts(*variable, "INPUT_") || !str_is_utf8(*variable, strlen(*variable)))
			continue;
		_cleanup_free_ char *name = xstrndup(*variable, (size_t)(equals - *variable));
		json_object_set_new(values->env, name, json_string(equals + 1));
		if (!str_starts(name, "GITHUB_"))
			continue;
		for (char *p = name; *p != '\0'; p++)
			*p = (char)tolower((unsigned char)*p);
		json_object_set_new(values->github, name + strlen("github_"), json_string(equals + 1));
	}
}

void deployment_values_mask(const json_t *value)
{
	if (json_is_string(value)) {
		mask_add(mask_process(), json_string_value(value), json_string_length(value));
		mask_add_leaves(mask_process(), json_string_value(value), json_string_length(value));
		return;
	}
	const char *key;
	size_t index;
	json_t *item;
	json_object_foreach((json_t *)value, key, item) deployment_values_mask(item);
	json_array_foreach(value, index, item) deployment_values_mask(item);
}

int deployment_values_secret_from_env(struct deployment_values *v, const char *name, struct err *err)
{
	const char *equals = strchr(name, '=');
	if (equals != NULL) {
		int r = err_set(err, ERR_INVALID, "--secret %.*s takes a name, not a value", (int)(equals - name),
		                name);
		return err_hint(
			err, r,
			"every user of this machine could see it in the list of processes: export %.*s, then --secret %.*s",
			(int)(equals - name), name, (int)(equals - name), name);
	}
	char *value = getenv(name);
	if (value == NULL) {
		int r = err_set(err, ERR_INVALID, "--secret %s: no such environment variable", name);
		return err_hint(err, r, "set it for this command: %s=… davit … --secret %s", name, name);
	}
	json_t *text = json_string(value);
	if (text == NULL)
		return err_set(err, ERR_INVALID, "--secret %s: the value is not UTF-8", name);
	json_object_set_new(v->secrets, name, text);
	deployment_values_mask(text);
	/* Processes that we start later must not inherit it. */
	explicit_bzero(value, strlen(value));
	unsetenv(name);
	return 0;
}

int deployment_read_string(const char *path, struct str *out, struct err *err)
{
	if (strcmp(path, "-") != 0)
		return fs_read(AT_FDCWD, path, out->max, out, err);
	for (;;) {
		char *room = str_reserve(out, 65536);
		if (room == NULL)
			return err_set(err, ERR_LIMIT, "standard input holds more than %zu bytes", out->max);
		ssize_t n = read(STDIN_FILENO, room, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, errno, "read standard input");
		if (n == 0)
			return 0;
		out->len += (size_t)n;
		out->data[out->len] = '\0';
	}
}

/* YAML's null, numbers and booleans are strings in these contexts, as on GitHub; lists and maps are left out. */
static int add_scalar(json_t *into, const char *what, const char *key, const json_t *value, struct err *err)
{
	if (json_is_string(value)) {
		json_object_set(into, key, (json_t *)value);
	} else if (json_is_null(value)) {
		json_object_set_new(into, key, json_string(""));
	} else if (json_is_boolean(value)) {
		json_object_set_new(into, key, json_string(json_is_true(value) ? "true" : "false"));
	} else if (json_is_number(value)) {
		_cleanup_free_ char *text = json_dumps(value, JSON_ENCODE_ANY);
		json_object_set_new(into, key, json_string(text));
	} else {
		int r = err_set(err, ERR_INVALID, "%s: the value of '%s' is a list or a map", what, key);
		return err_hint(err, r, "give it as text");
	}
	return 0;
}

int deployment_values_map(json_t *into, const char *what, const json_t *map, bool secret, struct err *err)
{
	struct yaml_doc *doc _cleanup_(yaml_freep) = NULL;
	if (map == NULL || json_is_null(map))
		return 0;
	if (json_is_string(map)) {
		const char *text = json_string_value(map);
		if (text[strspn(text, " \t\r\n")] == '\0')
			return 0;
		struct yaml_limits limits = YAML_LIMITS_DEFAULT;
		limits.max_bytes = VALUES_MAX;
		int r = yaml_read(what, text, json_string_length(map), &limits, &doc, err);
		if (r < 0)
			return r;
		map = yaml_root(doc);
		if (json_is_null(map))
			return 0;
	}
	if (!json_is_object(map)) {
		int r = err_set(err, ERR_INVALID, "%s is not a map", what);
		return err_hint(err, r, "give lines `name: value`, or JSON: %s: ${{ toJSON(%s) }}", what, what);
	}
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)map, key, value)
	{
		int r = add_scalar(into, what, key, value, err);
		if (r < 0)
			return r;
		if (secret)
			deployment_values_mask(json_object_get(into, key));
	}
	return 0;
}

int deployment_values_secrets_file(struct deployment_values *v, const char *path, struct err *err)
{
	struct str text _cleanup_(str_done) = STR_SECRET_INIT(VALUES_MAX);
	struct stat st;
	if (strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) != 0) {
		int r = err_set(err, ERR_INVALID, "--secrets %s: other users may read it (mode %04o)", path,
		                st.st_mode & 0777);
		return err_hint(err, r, "chmod 600 %s", path);
	}
	int r = deployment_read_string(path, &text, err);
	if (r < 0)
		return err_wrap(err, r, "--secrets");
	json_t *wrapped _cleanup_json_ = json_stringn(str_peek(&text), text.len);
	if (wrapped == NULL)
		return err_set(err, ERR_INVALID, "--secrets %s is not UTF-8", path);
	return deployment_values_map(v->secrets, "secrets", wrapped, true, err);
}

int deployment_values_pair(json_t *into, const char *option, const char *pair, struct err *err)
{
	const char *equals = strchr(pair, '=');
	if (equals == NULL || equals == pair) {
		int r = err_set(err, ERR_INVALID, "--%s '%s' is not NAME=VALUE", option, pair);
		return err_hint(err, r, "write --%s name=value", option);
	}
	_cleanup_free_ char *key = xstrndup(pair, (size_t)(equals - pair));
	json_t *value = json_string(equals + 1);
	if (value == NULL)
		return err_set(err, ERR_INVALID, "--%s %s: the value is not UTF-8", option, key);
	json_object_set_new(into, key, value);
	return 0;
}

int deployment_values_given(struct deployment_values *v, const struct strv *secrets, const char *secrets_file,
                            const struct strv *vars, const struct strv *inputs, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r >= 0 && i < secrets->count; i++)
		r = deployment_values_secret_from_env(v, secrets->items[i], err);
	if (r >= 0 && secrets_file != NULL)
		r = deployment_values_secrets_file(v, secrets_file, err);
	for (size_t i = 0; r >= 0 && vars != NULL && i < vars->count; i++)
		r = deployment_values_pair(v->vars, "var", vars->items[i], err);
	for (size_t i = 0; r >= 0 && inputs != NULL && i < inputs->count; i++)
		r = deployment_values_pair(v->inputs, "input", inputs->items[i], err);
	return r;
}
