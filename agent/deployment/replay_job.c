/* Keeps the steps of a job for a rollback. Their inputs come filled in. Values that must not lie in the journal are found again
 * here and named, so that a rollback can ask for them. */
#include "agent/deployment/replay.h"

#include <ctype.h>
#include <string.h>

#include "agent/deployment/replay_priv.h"
#include "agent/expr/expr.h"
#include "base/data/fields/read.h"
#include "engine/run/step.h"
#include "steps/registry.h"

enum { NAME_MAX_BYTES = 256, TEXT_MAX = 1 << 20 };

struct hiding {
	bool all_known;
	const json_t *kept; /* existing names: each is used once */
	struct strv used;
	bool has_template; /* a string that would be taken for an expression */
};

static bool is_taken(const struct hiding *h, const char *name)
{
	_cleanup_free_ char *text = json_text(h->kept), *reference = xasprintf("${{ secrets.%s }}", name);
	return strv_has(&h->used, name) || strstr(text, reference) != NULL;
}

/* WEB_1_KEY of "web-1" and "key". */
static json_t *reference(struct hiding *h, const char *prefix, const char *key)
{
	_cleanup_(str_done) struct str name = STR_INIT(NAME_MAX_BYTES);
	str_appendf(&name, "%s%s%s", prefix, *prefix != '\0' ? "_" : "", key);
	for (size_t i = 0; i < name.len; i++)
		name.data[i] = isalnum((unsigned char)name.data[i]) ? (char)toupper((unsigned char)name.data[i]) : '_';
	_cleanup_free_ char *chosen = xstrdup(str_peek(&name));
	for (int i = 2; is_taken(h, chosen); i++) {
		free(chosen);
		chosen = xasprintf("%s_%d", str_peek(&name), i);
	}
	strv_add(&h->used, chosen);
	return json_stringf("${{ secrets.%s }}", chosen);
}

static json_t *hide(struct hiding *h, const json_t *value, const json_t *starred, const char *prefix, const char *key)
{
	if (json_is_object(value)) {
		json_t *object = json_object();
		const char *name;
		json_t *member;
		json_object_foreach((json_t *)value, name, member) json_object_set_new(
			object, name, hide(h, member, json_object_get(starred, name), prefix, name));
		return object;
	}
	if (json_is_array(value)) {
		json_t *list = json_array();
		for (size_t i = 0; i < json_array_size(value); i++)
			json_array_append_new(
				list, hide(h, json_array_get(value, i), json_array_get(starred, i), prefix, key));
		return list;
	}
	if (!json_is_string(value))
		return json_incref((json_t *)value);
	bool secret = starred != NULL && !json_equal(value, starred) && !h->all_known;
	if ((secret && json_string_length(value) > 0) || replay_shows_a_secret(value))
		return reference(h, prefix, key);
	h->has_template = h->has_template || expr_is_template(json_string_value(value));
	return json_incref((json_t *)value);
}

/* Like fields_write for the inputs of a step: logins are always secret. */
static json_t *star_login(const json_t *ssh)
{
	json_t *starred = json_copy((json_t *)ssh);
	for (size_t i = 0; i < REPLAY_LOGIN_COUNT; i++)
		if (json_is_string(json_object_get(ssh, kept_login[i])))
			json_object_set_new(starred, kept_login[i], json_string("***"));
	if (json_is_object(json_object_get(ssh, "jump")))
		json_object_set_new(starred, "jump", star_login(json_object_get(ssh, "jump")));
	return starred;
}

static json_t *hide_target(struct hiding *h, const char *name, const json_t *target)
{
	_cleanup_json_ json_t *starred = json_copy((json_t *)target);
	const json_t *ssh = json_object_get(target, "ssh");
	if (json_is_object(ssh))
		json_object_set_new(starred, "ssh", star_login(ssh));
	struct hiding login = *h;
	login.all_known = false;
	json_t *hidden = hide(&login, target, starred, name, "");
	h->used = login.used;
	h->has_template = login.has_template;
	return hidden;
}

static int add_targets(struct hiding *h, json_t *kept, const json_t *deployment)
{
	json_t *targets = json_object_get(kept, "targets");
	const char *name;
	json_t *target;
	json_object_foreach(json_object_get(deployment, "targets"), name,
	                    target) if (json_object_get(targets, name) == NULL)
		json_object_set_new(targets, name, hide_target(h, name, target));
	return h->has_template ? ERR_INVALID : 0;
}

/* typed: the step's input, as it was read. */
static int add_step(struct hiding *h, json_t *kept, const json_t *step, const void *typed)
{
	const char *name = json_get_string(step, "step");
	const json_t *given = json_object_get(step, "input");
	const struct step_info *info = step_info(name);
	if (info == NULL || info->inputs == NULL || !replay_needs(name, given))
		return 0;
	_cleanup_json_ json_t *whole = fields_write_whole(info->inputs, typed);
	_cleanup_json_ json_t *starred = fields_write(info->inputs, typed);
	json_t *copy = json_copy((json_t *)step);
	replay_spare(name, whole);
	json_object_set_new(copy, "input", hide(h, whole, starred, "", "value"));
	json_object_set_new(copy, "place", json_integer(json_get_int(kept, "places", 0)));
	json_array_append_new(json_object_get(kept, "steps"), copy);
	return h->has_template ? ERR_INVALID : 0;
}

static json_t *begin(const json_t *former, const json_t *deployment)
{
	static const char *const heads[] = {"name", "environment", "on_failure", "source_root"};
	if (former != NULL) {
		json_t *longer = json_deep_copy(former);
		if (json_object_get(longer, "places") == NULL) /* made by a version that did not count them */
			json_object_set_new(
				longer, "places",
				json_integer((json_int_t)json_array_size(json_object_get(longer, "steps"))));
		return longer;
	}
	json_t *kept = json_pack("{s:{}, s:[]}", "targets", "steps");
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		if (json_object_get(deployment, heads[i]) != NULL)
			json_object_set(kept, heads[i], json_object_get(deployment, heads[i]));
	return kept;
}

json_t *replay_single(const json_t *former, const struct deployment *given, bool all_known)
{
	const json_t *deployment = given->json;
	if (json_is_string(former))
		return json_incref((json_t *)former);
	const json_t *step = json_array_get(json_object_get(deployment, "steps"), 0);
	const char *name = json_get_string(step, "step");
	_cleanup_json_ json_t *kept = begin(former, deployment);
	struct hiding h = {.all_known = all_known, .kept = kept};
	int r = add_targets(&h, kept, deployment);
	if (r == 0)
		r = add_step(&h, kept, step, given->steps[0].typed);
	/* Counts all steps of the deployment so far, kept or not. */
	json_object_set_new(kept, "places", json_integer(json_get_int(kept, "places", 0) + 1));
	strv_done(&h.used);
	if (h.has_template)
		return json_stringf("the step %s has a text with ${{, which would be taken for an expression", name);
	if (r < 0 || replay_shows_a_secret(kept))
		return json_stringf("the inputs of the step %s hold a secret that cannot be left out", name);
	return TAKE(kept);
}
