/* Selects the values of a secret-write. All missing ones are named at once. Values that must never reach a target (the job's
 * own token, its login) are refused by name and left out of a glob. */
#include "base/secret/mask.h"
#include "steps/secret_write/secret_write.h"

#include <strings.h>

static const char whole_text[] = "(text)"; /* the name of the one value of `format: file` given as text */

void secret_set_done(struct secret_set *s)
{
	for (size_t i = 0; i < s->count; i++)
		str_done(&s->items[i].mended);
	free(s->items);
	strv_done(&s->left_out);
	json_decref(s->merged);
	json_decref(s->origins);
	*s = (struct secret_set){0};
}

static bool is_glob(const char *text)
{
	return strpbrk(text, "*?") != NULL;
}

/* Names of strings in a target's configuration that log in, anywhere below. */
static bool logs_in(const json_t *config, const char *value, size_t len)
{
	static const char *const names[] = {"key", "password", "passphrase", "key_passphrase"};
	const char *name;
	json_t *member;
	size_t i;
	if (json_is_array(config)) {
		json_array_foreach((json_t *)(uintptr_t)config, i, member)
		{
			if (logs_in(member, value, len))
				return true;
		}
		return false;
	}
	json_object_foreach((json_t *)(uintptr_t)config, name, member)
	{
		if (json_is_object(member) || json_is_array(member)) {
			if (logs_in(member, value, len))
				return true;
			continue;
		}
		for (i = 0; i < ARRAY_SIZE(names) && json_is_string(member); i++) {
			if (strcmp(name, names[i]) == 0 && json_string_length(member) == len && len > 0 &&
			    memcmp(json_string_value(member), value, len) == 0)
				return true;
		}
	}
	return false;
}

static const char *never_written(const struct step_context *c, const char *name, const json_t *value)
{
	if (strcasecmp(name, "github_token") == 0)
		return "the job's own token is never written to a target";
	if (c->deployment != NULL && c->deployment->targets != NULL && json_is_string(value) &&
	    logs_in(c->deployment->targets, json_string_value(value), json_string_length(value)))
		return "it logs in to a target and is never written to one";
	return NULL;
}

static bool has_item(const struct secret_set *s, const char *name)
{
	for (size_t i = 0; i < s->count; i++) {
		if (strcmp(s->items[i].name, name) == 0)
			return true;
	}
	return false;
}

static struct secret_item *add_item(struct secret_set *s, const char *name)
{
	s->items = xgrow(s->items, &s->cap, s->count + 1, sizeof(*s->items));
	struct secret_item *item = &s->items[s->count++];
	*item = (struct secret_item){.name = name, .mended = STR_SECRET_INIT(SECRET_MAX_VALUE + 2)};
	return item;
}

static void member_pointer(struct str *at, const char *member, const char *name)
{
	str_append(at, "/");
	str_append(at, member);
	if (name != NULL)
		faults_pointer_push(at, name);
}

static void take_value(const struct step_context *c, const char *name, const json_t *value, struct secret_set *s,
                       struct faults *faults)
{
	const struct secret_write_in *in = c->input;
	_cleanup_(str_done) struct str at = STR_INIT(1024);
	struct err err = ERR_INIT;
	char line[1024];
	member_pointer(&at, "values", strcmp(name, whole_text) == 0 ? NULL : name);
	if (!json_is_string(value)) {
		faults_add(faults, NULL, str_peek(&at), "the value of '%s' must be a text", name);
		faults_hint(faults, "put it in quotes, so that it is written as it stands");
		return;
	}
	size_t len = json_string_length(value);
	const char *text = json_string_value(value);
	if ((len == 0 && !secret_is_layered(s, name)) || len > SECRET_MAX_VALUE) {
		faults_add(faults, NULL, str_peek(&at),
		           len == 0 ? "the value of '%s' is missing: it is empty"
		                    : "the value of '%s' is longer than 1 MiB",
		           name);
		if (len == 0)
			faults_hint(faults, "a secret that does not exist in the environment, the repository or the "
			                    "organisation arrives as an empty text");
		return;
	}
	struct secret_item *item = add_item(s, name);
	item->value = text;
	item->len = len;
	enum secret_key_kind kind = secret_key_parse(text, len, &err);
	item->is_key = kind == SECRET_KEY;
	if (kind == SECRET_BAD_KEY) {
		faults_add(faults, NULL, str_peek(&at), "the value of '%s' is not a usable key: %s", name,
		           err_line(&err, line, sizeof(line)));
		faults_hint(faults, "%s", err.hint);
	} else if (item->is_key && in->format != SECRET_WRITE_FORMAT_ENV) {
		secret_key_mend(text, len, &item->mended, &item->mend);
	}
	if (in->format == SECRET_WRITE_FORMAT_ENV && env_value_check(in->dialect, name, text, len, &err) < 0) {
		faults_add(faults, NULL, str_peek(&at), "%s", err_line(&err, line, sizeof(line)));
		faults_hint(faults, "%s", err.hint);
	}
}

static bool generates(const struct secret_write_in *in, const char *name)
{
	for (size_t i = 0; i < in->generate.count; i++) {
		if (strcmp(in->generate.items[i].key, name) == 0)
			return true;
	}
	return false;
}

static void take_named(const struct step_context *c, const char *name, struct secret_set *s, struct faults *faults)
{
	const struct secret_write_in *in = c->input;
	_cleanup_(str_done) struct str at = STR_INIT(1024);
	member_pointer(&at, "keys", NULL);
	const json_t *value = json_object_get(s->merged, name);
	if (has_item(s, name))
		return;
	if (value == NULL || json_is_null(value)) {
		if (generates(in, name))
			return;
		faults_add(faults, NULL, str_peek(&at), "the value of '%s' is missing", name);
		faults_hint(faults, "give it in `values:` (a secret that the workflow does not hand over does not "
		                    "arrive), or name it in `generate:`");
		return;
	}
	const char *why = never_written(c, name, value);
	if (why != NULL) {
		faults_add(faults, NULL, str_peek(&at), "'%s' is refused: %s", name, why);
		return;
	}
	take_value(c, name, value, s, faults);
}

static void take_glob(const struct step_context *c, const char *glob, struct secret_set *s, struct faults *faults)
{
	const struct secret_write_in *in = c->input;
	const char *name;
	json_t *value;
	bool any = false;
	json_object_foreach(s->merged, name, value)
	{
		if (!str_glob(glob, name))
			continue;
		any = true;
		if (has_item(s, name))
			continue;
		if (never_written(c, name, value) != NULL) {
			if (!strv_has(&s->left_out, name))
				strv_add(&s->left_out, name);
			continue;
		}
		take_value(c, name, value, s, faults);
	}
	for (size_t i = 0; i < in->generate.count; i++)
		any = any || str_glob(glob, in->generate.items[i].key);
	if (!any) {
		faults_add(faults, NULL, "/keys", "no value has a name like '%s'", glob);
		faults_hint(faults, "a secret that the workflow does not hand over does not arrive");
	}
}

static void take_all(const struct step_context *c, struct secret_set *s, struct faults *faults)
{
	const char *name;
	json_t *value;
	json_object_foreach(s->merged, name, value)
	{
		if (strcasecmp(name, "github_token") == 0) {
			faults_add(faults, NULL, "/keys",
			           "`values` holds all secrets of the job: `keys` must say which are meant");
			faults_hint(faults, "keys: [APP_*, SMTP_PASSWORD]");
			return;
		}
	}
	json_object_foreach(s->merged, name, value)
	{
		const char *why = never_written(c, name, value);
		if (why == NULL) {
			take_value(c, name, value, s, faults);
			continue;
		}
		_cleanup_(str_done) struct str at = STR_INIT(1024);
		member_pointer(&at, "values", name);
		faults_add(faults, NULL, str_peek(&at), "'%s' is refused: %s", name, why);
	}
}

static void take_generated(const struct secret_write_in *in, struct secret_set *s, struct faults *faults)
{
	for (size_t i = 0; i < in->generate.count; i++) {
		const struct field_pair *pair = &in->generate.items[i];
		struct err err = ERR_INIT;
		char line[512];
		_cleanup_(str_done) struct str at = STR_INIT(1024);
		member_pointer(&at, "generate", pair->key);
		if (has_item(s, pair->key)) {
			faults_add(faults, NULL, str_peek(&at), "'%s' has a value already and cannot be made too",
			           pair->key);
			continue;
		}
		if (secret_generate_check(pair->value, &err) < 0) {
			faults_add(faults, NULL, str_peek(&at), "%s", err_line(&err, line, sizeof(line)));
			faults_hint(faults, "%s", err.hint);
			continue;
		}
		add_item(s, pair->key)->spec = pair->value;
	}
	for (size_t i = 0; i < in->rotate.count; i++) {
		if (!generates(in, in->rotate.items[i])) {
			faults_add(faults, NULL, "/rotate",
			           "'%s' is not in `generate:`: only values that are made here can be rotated",
			           in->rotate.items[i]);
			continue;
		}
		for (size_t n = 0; n < s->count; n++) {
			if (s->items[n].spec != NULL && strcmp(s->items[n].name, in->rotate.items[i]) == 0)
				s->items[n].rotate = true;
		}
	}
}

static bool is_file_name(const char *name)
{
	return *name != '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strchr(name, '/') == NULL &&
	       strlen(name) <= 255;
}

static void check_names(const struct secret_write_in *in, const struct secret_set *s, struct faults *faults)
{
	for (size_t i = 0; i < s->count; i++) {
		const char *name = s->items[i].name;
		_cleanup_(str_done) struct str at = STR_INIT(1024);
		member_pointer(&at, s->items[i].spec != NULL ? "generate" : "values", name);
		if (in->format == SECRET_WRITE_FORMAT_ENV && !env_is_name(name))
			faults_add(
				faults, NULL, str_peek(&at),
				"'%s' cannot be the name of a variable: letters, digits and _ only, not a digit first",
				name);
		else if (in->format == SECRET_WRITE_FORMAT_DIR && !is_file_name(name))
			faults_add(faults, NULL, str_peek(&at), "'%s' cannot be the name of a file", name);
	}
	if (in->format == SECRET_WRITE_FORMAT_FILE && s->count > 1) {
		faults_add(faults, NULL, "/keys", "`format: file` writes one value, and %zu are meant", s->count);
		faults_hint(faults, "name the one in `keys:`, or use `format: env` or `dir`");
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct secret_item *)a)->name, ((const struct secret_item *)b)->name);
}

void secret_select(const struct step_context *c, struct secret_set *ret, struct faults *faults)
{
	const struct secret_write_in *in = c->input;
	size_t before = faults->count;
	*ret = (struct secret_set){0};
	secret_merge(c, ret, faults);
	if (json_is_string(in->values) && in->layers.count > 0) {
		faults_add(faults, NULL, "/values", "`layers` are names and texts, and so must `values` be");
	} else if (json_is_string(in->values)) {
		if (in->format != SECRET_WRITE_FORMAT_FILE)
			faults_add(faults, NULL, "/values",
			           "`values` must be a map of names and texts (a text alone is for `format: file`)");
		else
			take_value(c, whole_text, in->values, ret, faults);
	} else if (in->values != NULL && !json_is_object(in->values)) {
		faults_add(faults, NULL, "/values", "`values` must be a map of names and texts");
	} else if (in->keys.count > 0) {
		for (size_t i = 0; i < in->keys.count; i++) {
			if (is_glob(in->keys.items[i]))
				take_glob(c, in->keys.items[i], ret, faults);
			else
				take_named(c, in->keys.items[i], ret, faults);
		}
	} else {
		take_all(c, ret, faults);
	}
	take_generated(in, ret, faults);
	check_names(in, ret, faults);
	if (ret->count == 0 && faults->count == before)
		faults_add(faults, NULL, "", "nothing is to be written: give `values:`, `layers:` or `generate:`");
	if (ret->count > SECRET_MAX_KEYS)
		faults_add(faults, NULL, "/values", "more than %d values", SECRET_MAX_KEYS);
	if (ret->count > 0)
		qsort(ret->items, ret->count, sizeof(*ret->items), by_name);
}
