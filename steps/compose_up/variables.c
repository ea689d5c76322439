/* Variables that are not set, or empty. Compose warns of the first kind, in a line that nobody reads, and of the second it says nothing. What a
 * variable is worth only compose itself knows (its env files have a dialect of their own), so it is asked: with a configuration of one
 * service that has each variable as a label. */
#include "steps/compose_up/compose_up.h"

#include <ctype.h>

enum { MOST_VARIABLES = 1000 };

static const char unset[] = "davit: not set"; /* no value is like it */

static bool may_be_empty(const struct compose_up_in *in, const char *name)
{
	for (size_t i = 0; i < in->allow_empty.count; i++)
		if (strcmp(in->allow_empty.items[i], name) == 0)
			return true;
	return false;
}

static void add_name(struct strv *names, const char *from, size_t len)
{
	_cleanup_free_ char *name = xstrndup(from, len);
	if (names->count < MOST_VARIABLES && !strv_has(names, name))
		strv_add(names, name);
}

static size_t name_length(const char *at)
{
	size_t len = 0;
	if (isdigit((unsigned char)*at))
		return 0;
	while (isalnum((unsigned char)at[len]) || at[len] == '_')
		len++;
	return len;
}

/* Behind the brace that closes the one that was opened before `at`. */
static const char *behind_brace(const char *at)
{
	for (int depth = 1; *at != '\0'; at++)
		if (*at == '{')
			depth++;
		else if (*at == '}' && --depth == 0)
			return at + 1;
	return at;
}

/* $NAME and ${NAME…}. One with a default that also stands for an empty value, or with a replacement, says itself what is meant; what stands
 * inside a default is used at times only, and compose warns of it then. */
static void find_in_text(const char *text, struct strv *wanted, struct strv *may_be_unset)
{
	for (const char *at = text; (at = strchr(at, '$')) != NULL;) {
		at++;
		bool braced = *at == '{';
		const char *name = at + braced;
		size_t len = name_length(name);
		const char *then = name + len;
		if (len == 0) {
			at += *at == '$';
			continue;
		}
		at = braced ? behind_brace(then) : then;
		if (!braced || *then == '}' || *then == '?' || str_starts(then, ":?")) {
			add_name(wanted, name, len);
		} else if (*then == '-') {
			/* An empty default is the author's word. */
			if (then[1] != '}')
				add_name(wanted, name, len);
			add_name(may_be_unset, name, len);
		}
	}
}

static void find_in(const json_t *value, struct strv *wanted, struct strv *may_be_unset)
{
	const char *key;
	size_t i;
	json_t *member;
	if (json_is_string(value))
		find_in_text(json_string_value(value), wanted, may_be_unset);
	json_array_foreach((json_t *)(uintptr_t)value, i, member) find_in(member, wanted, may_be_unset);
	json_object_foreach((json_t *)(uintptr_t)value, key, member) find_in(member, wanted, may_be_unset);
}

/* `The \"X\" variable is not set`: of what an include, an extends or an env file brings as well. */
static void find_in_warnings(const char *said, struct strv *missing)
{
	static const char front[] = "The ", behind[] = " variable is not set";
	for (const char *at = said; (at = strstr(at, front)) != NULL;) {
		at += strlen(front);
		at += strspn(at, "\\\"");
		size_t len = name_length(at);
		const char *then = at + len + strspn(at + len, "\\\"");
		if (len > 0 && str_starts(then, behind))
			add_name(missing, at, len);
	}
}

/* A variable that a service gets, as it is in its container. */
static void find_in_services(const json_t *model, const struct compose_up_in *in, struct strv *ret)
{
	const char *service, *name;
	json_t *one, *value;
	json_object_foreach(json_get_object(model, "services"), service, one)
		json_object_foreach(json_get_object(one, "environment"), name, value)
	{
		if (may_be_empty(in, name))
			continue;
		if (json_is_null(value))
			strv_addf(ret, "%s of '%s' is not set", name, service);
		else if (json_is_string(value) && json_string_length(value) == 0)
			strv_addf(ret, "%s of '%s' is empty", name, service);
	}
}

/* ---- asked ---- */

static json_t *make_probe(const struct strv *names)
{
	json_t *labels = json_object();
	for (size_t i = 0; i < names->count; i++)
		json_object_set_new(labels, names->items[i], json_stringf("${%s-%s}", names->items[i], unset));
	return json_pack("{s:{s:{s:s,s:o}}}", "services", "probe", "image", "probe", "labels", labels);
}

static int ask_values(const struct step_context *c, const struct docker *d, const struct strv *names, json_t **ret,
                      struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_json_ json_t *probe = make_probe(names), *model = NULL;
	_cleanup_free_ char *text = json_text(probe);
	_cleanup_(str_done) struct str script = STR_INIT(64 << 10);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	said.out.wipe = true;
	str_append(&script, "cd -P -- ");
	str_append_shell(&script, in->directory);
	str_append(&script, " || exit\n");
	compose_words(&script, in->project);
	for (size_t i = 0; i < in->env_file.count; i++) {
		str_append(&script, " --env-file ");
		str_append_shell(&script, in->env_file.items[i]);
	}
	str_append(&script, " --project-directory . -f - config --format json\n");
	const struct docker_call call = {
		.script = str_peek(&script), .input = text, .input_len = strlen(text), .timeout_ms = COMPOSE_LOOK_MS};
	int r = docker_must(d, &call, &said, err);
	if (r == 0)
		r = json_parse(str_peek(&said.out), said.out.len, COMPOSE_CONFIG_MAX, &model, err);
	if (r < 0)
		return err_wrap(err, r == ERR_FAILED ? ERR_REFUSED : r, "read the variables of '%s' on '%s'",
		                in->directory, d->v->name);
	*ret = json_incref(json_get_object(json_get_object(json_get_object(model, "services"), "probe"), "labels"));
	return 0;
}

static bool is_told(const struct strv *told, const char *name)
{
	_cleanup_free_ char *start = xasprintf("%s ", name);
	for (size_t i = 0; i < told->count; i++)
		if (str_starts(told->items[i], start))
			return true;
	return false;
}

int compose_variables(const struct step_context *c, const struct docker *d, const json_t *raw, const char *said,
                      const json_t *model, struct strv *ret, struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_(strv_done) struct strv wanted = {0}, may_be_unset = {0}, missing = {0};
	_cleanup_json_ json_t *values = NULL;
	find_in(raw, &wanted, &may_be_unset);
	find_in_warnings(said, &missing);
	int r = wanted.count > 0 ? ask_values(c, d, &wanted, &values, err) : 0;
	if (r < 0)
		return r;
	for (size_t i = 0; i < wanted.count; i++) {
		const char *name = wanted.items[i], *value = json_get_string(values, name);
		bool is_unset = value == NULL || strcmp(value, unset) == 0;
		if (may_be_empty(in, name) || (is_unset && strv_has(&may_be_unset, name)))
			continue;
		if (is_unset || *value == '\0')
			strv_addf(ret, "%s is %s", name, is_unset ? "not set" : "empty");
	}
	for (size_t i = 0; i < missing.count; i++)
		if (!may_be_empty(in, missing.items[i]) && !is_told(ret, missing.items[i]))
			strv_addf(ret, "%s is not set", missing.items[i]);
	find_in_services(model, in, ret);
	return 0;
}
