/* The digest of a plan: exactly the reviewed plan runs. docs/semantics.md 10 says what is in it and what is not. */
#include "engine/run/run_priv.h"

#include <ctype.h>
#include <string.h>

#include "base/secret/digest.h"
#include "base/data/fields/table.h"
#include "base/secret/mask.h"

static bool is_id_at(const char *s)
{
	static const char pattern[] = "ddddddddTdddddd-xxxxxx";
	for (size_t i = 0; pattern[i]; i++) {
		unsigned char c = (unsigned char)s[i];
		bool ok = pattern[i] == 'd' ? isdigit(c) : pattern[i] == 'x' ? isxdigit(c) : s[i] == pattern[i];
		if (!ok)
			return false;
	}
	return true;
}

/* A value with each of its strings mapped; `dropped`: a member that does not count, or NULL. */
typedef json_t *text_map(const struct engine *e, const char *text);
static json_t *map_texts(const struct engine *e, const json_t *value, text_map *map, const char *dropped)
{
	if (json_is_string(value))
		return map(e, json_string_value(value));
	if (json_is_array(value)) {
		json_t *list = json_array();
		for (size_t i = 0; i < json_array_size(value); i++)
			json_array_append_new(list, map_texts(e, json_array_get(value, i), map, dropped));
		return list;
	}
	if (json_is_object(value)) {
		json_t *o = json_object();
		const char *key;
		json_t *member;
		json_object_foreach((json_t *)value, key, member) if (dropped == NULL || strcmp(key, dropped) != 0)
			json_object_set_new(o, key, map_texts(e, member, map, dropped));
		return o;
	}
	return json_incref((json_t *)value);
}

/* Deployment ids differ from run to run for the same content: they count as the word ID. */
static json_t *without_ids(const struct engine *e, const char *text)
{
	_cleanup_(str_done) struct str out = STR_INIT(strlen(text) + 1);
	(void)e;
	for (const char *at = text; *at;) {
		if (is_id_at(at)) {
			str_append(&out, "ID");
			at += 22;
		} else {
			str_append_c(&out, *at++);
		}
	}
	return json_string_lossy(str_peek(&out), out.len);
}

static json_t *found_value(const json_t *value)
{
	return map_texts(NULL, value, without_ids, "mtime_ns");
}

static json_t *digest_change(const struct change *c)
{
	json_t *o = json_object();
	_cleanup_json_ json_t *record = change_record(c);
	const char *const keys[] = {"step", "step_name", "target", "kind", "path", "action", "before", "after"};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		json_t *value = json_object_get(record, keys[i]);
		if (value)
			json_object_set_new(o, keys[i], found_value(value));
	}
	json_t *planned = json_object_get(c->extra, "digest") ? json_object_get(c->extra, "digest")
	                                                      : json_object_get(c->extra, "plan");
	if (planned)
		json_object_set_new(o, "digest", found_value(planned));
	return o;
}

/* A string in the form for a digest: no secret, no commit, no path of the work tree on this machine. */
static json_t *without_places(const struct engine *e, const char *text)
{
	const char *root = json_get_string(e->deployment, "source_root"),
		   *commit = json_get_string(e->deployment, "commit");
	struct str masked _cleanup_(str_done) = STR_INIT(64 << 20), out _cleanup_(str_done) = STR_INIT(64 << 20);
	mask_apply(mask_process(), text, strlen(text), &masked);
	size_t root_len = root != NULL ? strlen(root) : 0, commit_len = commit != NULL ? strlen(commit) : 0;
	for (const char *at = str_peek(&masked); *at != '\0';) {
		if (commit_len >= 40 && strncmp(at, commit, commit_len) == 0) {
			str_append(&out, "COMMIT");
			at += commit_len;
		} else if (root_len > 1 && strncmp(at, root, root_len) == 0 &&
		           (at[root_len] == '/' || at[root_len] == '\0')) {
			str_append(&out, ".");
			at += root_len;
		} else {
			str_append_c(&out, *at++);
		}
	}
	return without_ids(e, str_peek(&out));
}

static json_t *digest_value(const struct engine *e, const json_t *value)
{
	return map_texts(e, value, without_places, NULL);
}

/* Keeps the names of a secret map (env, headers), which a person reviews. Of other secrets only their existence counts. */
static json_t *names_of(const json_t *value, const struct field *f)
{
	if (f->kind != FIELD_MAP || !json_is_object(value))
		return json_string("secret");
	json_t *names = json_object();
	const char *key;
	json_t *member;
	json_object_foreach((json_t *)value, key, member) json_object_set_new(names, key, json_string("secret"));
	return names;
}

static json_t *digest_input(const struct engine *e, const struct field_table *table, const json_t *input)
{
	if (!json_is_object(input))
		return digest_value(e, input);
	json_t *o = json_object();
	for (size_t i = 0; i < table->count; i++) {
		const struct field *f = &table->fields[i];
		const json_t *value = json_object_get(input, f->name);
		if (value == NULL)
			continue;
		json_t *shown;
		if (f->secret) {
			shown = names_of(value, f);
		} else if (f->table != NULL && json_is_array(value)) {
			shown = json_array();
			for (size_t k = 0; k < json_array_size(value); k++)
				json_array_append_new(shown, digest_input(e, f->table, json_array_get(value, k)));
		} else {
			shown = f->table != NULL ? digest_input(e, f->table, value) : digest_value(e, value);
		}
		json_object_set_new(o, f->name, shown);
	}
	return o;
}

/* The input of a step, without defaults: a gate's checks and a command's timeout belong to a plan like a file's content. */
json_t *engine_digest_step(const struct engine *e, const struct estep *s)
{
	json_t *o = json_pack("{s:s}", "step", s->type->info->name), *targets = json_array();
	for (size_t i = 0; i < s->target_count; i++)
		json_array_append_new(targets, json_string(s->etargets[i]->name));
	json_object_set_new(o, "targets", targets);
	if (s->type->info->inputs != NULL)
		json_object_set_new(o, "input", digest_input(e, s->type->info->inputs, s->input));
	return o;
}

/* The members beside the steps that decide between old and new. */
static void copy_decisions(const struct engine *e, json_t *root)
{
	static const char *const members[] = {"on_failure", "undo_deadline_ms", "undo_alone_ms", "seal"};
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		json_t *value = json_object_get(e->deployment, members[i]);
		if (value != NULL)
			json_object_set(root, members[i], value);
	}
}

static json_t *mask_text(const struct engine *e, const char *text)
{
	struct str masked _cleanup_(str_done) = STR_INIT(64 << 20);
	(void)e;
	mask_apply(mask_process(), text, strlen(text), &masked);
	return json_string_lossy(str_peek(&masked), masked.len);
}

json_t *engine_without_secrets(const json_t *value)
{
	return map_texts(NULL, value, mask_text, NULL);
}

void engine_make_digest(struct engine *e)
{
	json_t *root = json_object();
	json_t *steps = json_array(), *targets = json_object(), *changes = json_array();
	const char *file = json_get_string(e->deployment, "file");
	json_object_set_new(root, "name", json_string(e->name));
	json_object_set_new(root, "environment", json_string(e->environment));
	if (file)
		json_object_set_new(root, "file", json_string(file));
	for (size_t i = 0; i < e->target_count; i++) {
		const char *identity = e->targets[i].t->view.facts.identity;
		bool local = identity && str_starts(identity, "local:");
		json_object_set_new(targets, e->targets[i].name, json_string(identity && !local ? identity : "local"));
	}
	copy_decisions(e, root);
	for (size_t i = 0; i < e->step_count; i++) {
		struct estep *s = &e->steps[i];
		json_array_append_new(steps, engine_digest_step(e, s));
		for (size_t j = 0; j < s->target_count; j++)
			for (size_t k = 0; k < s->plans[j].count; k++)
				json_array_append_new(changes, digest_change(&s->plans[j].changes[k]));
	}
	json_object_set_new(root, "steps", steps);
	json_object_set_new(root, "targets", targets);
	json_object_set_new(root, "changes", changes);
	_cleanup_free_ char *text = json_canonical(root);
	digest_of(text, strlen(text), e->digest);
	json_decref(e->digested);
	e->digested = root;
}
