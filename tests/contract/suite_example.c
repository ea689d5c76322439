/* The examples of a step's schema: placeholders become this trial's, secret inputs the secret that is searched for. */
#include "contract/suite.h"
#include "unit/cmocka_all.h"
#include "harness/server.h"
#include "base/core/mem.h"
#include "base/data/schema/compile.h"

enum { TEXT_MAX = 1 << 20, SCHEMA_MAX = 1 << 20 };

static void replace(const char *text, const char *word, const char *with, struct str *out)
{
	for (const char *at; (at = strstr(text, word)) != NULL; text = at + strlen(word)) {
		str_append_n(out, text, (size_t)(at - text));
		str_append(out, with);
	}
	str_append(out, text);
}

static json_t *with_places(const char *text, const struct suite_world *w, const struct suite_servers *servers)
{
	_cleanup_free_ char *chat = xasprintf("%s/echo", servers->web);
	const char *const places[][2] = {
		{"/srv/example", w->tree},
		{"http://web.example", servers->web},
		{"http://git.example", servers->git},
		{"https://chat.example", chat},
	};
	_cleanup_free_ char *now = xstrdup(text);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_(str_done) struct str next = STR_INIT(TEXT_MAX);
		replace(now, places[i][0], places[i][1], &next);
		free(now);
		now = xstrdup(str_peek(&next));
	}
	return json_string(now);
}

/* Each text of an example, in place. */
static json_t *each_text(json_t *value, const struct suite_world *w, const struct suite_servers *servers)
{
	if (json_is_string(value))
		return with_places(json_string_value(value), w, servers);
	json_t *made = json_is_object(value) ? json_object() : json_is_array(value) ? json_array() : json_incref(value);
	const char *key;
	size_t i;
	json_t *item;
	if (json_is_object(value))
		json_object_foreach(value, key, item) json_object_set_new(made, key, each_text(item, w, servers));
	else if (json_is_array(value))
		json_array_foreach(value, i, item) json_array_append_new(made, each_text(item, w, servers));
	return made;
}

/* ---- secret inputs ---- */

char *suite_secret(size_t number)
{
	return xasprintf("never-to-be-seen-9c41-%zu", number);
}

static json_t *secret_in_place_of(const json_t *value, const char *secret)
{
	json_t *made = json_object();
	const char *key;
	json_t *ignored;
	if (!json_is_object(value)) {
		json_decref(made);
		return json_string(secret);
	}
	json_object_foreach((json_t *)(uintptr_t)value, key, ignored)
		json_object_set_new(made, key, json_string(secret));
	return made;
}

/* Walks a value along its schema. seen: the pointers into the schema of the secret inputs that were given. */
static void put_secrets(const json_t *schema, json_t *value, const char *pointer, const char *secret, struct strv *seen)
{
	const json_t *items = json_object_get(schema, "items");
	const char *name;
	size_t i;
	json_t *property, *item;
	for (i = 0; json_is_object(items) && i < json_array_size(value); i++)
		put_secrets(items, json_array_get(value, i), pointer, secret, seen);
	json_object_foreach(json_object_get(schema, "properties"), name, property)
	{
		_cleanup_free_ char *here = xasprintf("%s/%s", pointer, name);
		if ((item = json_object_get(value, name)) == NULL)
			continue;
		if (json_is_true(json_object_get(property, "x-secret"))) {
			strv_add(seen, here);
			json_object_set_new(value, name, secret_in_place_of(item, secret));
		} else {
			put_secrets(property, item, here, secret, seen);
		}
	}
}

static void secrets_not_given(const json_t *schema, const char *pointer, const struct strv *seen, struct str *why)
{
	const json_t *items = json_object_get(schema, "items");
	const char *name;
	json_t *property;
	if (json_is_object(items))
		secrets_not_given(items, pointer, seen, why);
	json_object_foreach(json_object_get(schema, "properties"), name, property)
	{
		_cleanup_free_ char *here = xasprintf("%s/%s", pointer, name);
		if (!json_is_true(json_object_get(property, "x-secret")))
			secrets_not_given(property, here, seen, why);
		else if (!strv_has(seen, here))
			str_appendf(why, "the secret input %s is given in no example", here);
	}
}

/* ---- */

static void check_example(const json_t *document, const json_t *example, size_t number, struct str *why)
{
	_cleanup_(schema_freep) struct schema *schema = NULL;
	struct faults faults = {0};
	if (schema_compile(document, NULL, &schema, NULL) < 0)
		str_append(why, "the schema cannot be read");
	else if (schema_check(schema, example, NULL, &faults, NULL) < 0)
		str_appendf(why, "example %zu: %s: %s", number, faults.count ? faults.items[0].pointer : "",
		            faults.count ? faults.items[0].text : "?");
	faults_done(&faults);
}

json_t *suite_examples(const struct suite_subject *subject, const struct suite_world *w,
                       const struct suite_servers *servers, struct str *why)
{
	const char *text =
		subject->api && subject->api->schema ? subject->api->schema : schema_builtin(subject->type->info->name);
	_cleanup_json_ json_t *document = NULL;
	_cleanup_(strv_done) struct strv seen = {0};
	if (text == NULL || json_parse(text, strlen(text), SCHEMA_MAX, &document, NULL) < 0) {
		str_append(why, "there is no schema of this name");
		return NULL;
	}
	const json_t *given = subject->examples != NULL ? subject->examples : json_object_get(document, "examples");
	json_t *examples = each_text((json_t *)(uintptr_t)given, w, servers);
	size_t i;
	json_t *example;
	if (json_array_size(examples) == 0)
		str_append(why, "the schema has no examples");
	json_array_foreach(examples, i, example)
	{
		_cleanup_free_ char *secret = suite_secret(i);
		put_secrets(document, example, "", secret, &seen);
		json_object_update(example, (json_t *)(uintptr_t)subject->inputs);
		check_example(document, example, i, why);
	}
	/* Common to all steps, for one that stands alone in a job; here the deployment has them. */
	strv_add(&seen, "/targets");
	/* An example with it needs an SSH server: checkout_over_ssh.py and worker/checkout.py look for the key. */
	if (subject->api == NULL && strcmp(subject->type->info->name, "checkout") == 0)
		strv_add(&seen, "/ssh-key");
	if (subject->examples == NULL) /* those of a part leave the rest to the schema's */
		secrets_not_given(document, "", &seen, why);
	if (why->len == 0)
		return examples;
	json_decref(examples);
	return NULL;
}

int suite_serve(struct suite_servers *servers, const struct CMUnitTest *tests, size_t count)
{
	struct server server;
	/* Every record is synced. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	if (!server_start(&server, "examples.py", NULL))
		return 1;
	*servers = (struct suite_servers){.web = server_text(&server, "web"), .git = server_text(&server, "git")};
	int failed = _cmocka_run_group_tests("contract", tests, count, NULL, NULL);
	server_stop(&server);
	return failed;
}
