/* A change as data: its names, its record in the journal, plans as lists of changes. No target is touched here, so a program that only
 * reads the journal links none. */
#include "engine/record/change.h"

#include "base/data/json.h"
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

static const char *const action_names[] = {"create", "update", "replace", "destroy", "adopt", "run"};
static const char *const state_names[] = {"intent", "started", "done", "unknown", "undone", "conflict", "blocked"};

const char *change_action_name(enum change_action a)
{
	return action_names[a];
}
const char *change_state_name(enum change_state s)
{
	return state_names[s];
}

void change_done(struct change *c)
{
	free(c->step);
	free(c->step_id);
	free(c->step_inputs);
	free(c->target);
	free(c->path);
	free(c->summary);
	free(c->note);
	free(c->task);
	json_decref(c->before);
	json_decref(c->after);
	json_decref(c->extra);
	str_done(&c->content);
	if (c->payload_free)
		c->payload_free(c->payload);
	memset(c, 0, sizeof(*c));
}

struct change *plan_add_kind(struct plan *p, const char *kind, enum change_action action, const char *path)
{
	p->changes = xgrow(p->changes, &p->cap, p->count + 1, sizeof(p->changes[0]));
	struct change *c = &p->changes[p->count++];
	memset(c, 0, sizeof(*c));
	snprintf(c->kind, sizeof(c->kind), "%s", kind);
	c->action = action;
	c->path = xstrdup(path);
	c->content = (struct str)STR_SECRET_INIT(64 << 20);
	return c;
}

void plan_add_room(struct plan *p, const char *path, int64_t bytes, int64_t files)
{
	p->rooms = xgrow(p->rooms, &p->room_cap, p->room_count + 1, sizeof(*p->rooms));
	p->rooms[p->room_count++] = (struct plan_room){.path = xstrdup(path), .bytes = bytes, .files = files};
}

void plan_done(struct plan *p)
{
	for (size_t i = 0; i < p->count; i++)
		change_done(&p->changes[i]);
	for (size_t i = 0; i < p->room_count; i++)
		free(p->rooms[i].path);
	free(p->changes);
	free(p->rooms);
	strv_done(&p->warnings);
	json_decref(p->shown);
	memset(p, 0, sizeof(*p));
}

/* ---- the record ---- */

json_t *change_record(const struct change *c)
{
	json_t *o = json_object();
	json_object_set_new(o, "format", json_integer(CHANGE_FORMAT));
	json_object_set_new(o, "id", json_integer(c->id));
	json_object_set_new(o, "step", json_integer(c->step_index));
	json_set_string(o, "step_name", c->step);
	json_set_string(o, "step_id", c->step_id);
	json_set_string(o, "step_inputs", c->step_inputs);
	json_set_string(o, "target", c->target);
	json_set_string(o, "kind", c->kind);
	json_set_string(o, "path", c->path);
	json_set_string(o, "action", change_action_name(c->action));
	if (c->before)
		json_object_set(o, "before", c->before);
	if (c->after)
		json_object_set(o, "after", c->after);
	if (c->extra)
		json_object_set(o, "extra", c->extra);
	if (c->secret)
		json_object_set_new(o, "secret", json_true());
	json_set_string(o, "summary", c->summary);
	json_set_string(o, "state", change_state_name(c->state));
	json_set_string(o, "task", c->task);
	json_set_string(o, "note", c->note);
	return o;
}

static int name_index(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; name && i < count; i++)
		if (strcmp(names[i], name) == 0)
			return (int)i;
	return -1;
}

/* An unknown kind is also read: it is shown, but not acted on. */
static bool is_kind(const char *name)
{
	return name && *name && strlen(name) < CHANGE_KIND_SIZE &&
	       name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

int change_from_record(const json_t *record, struct change *ret, struct err *err)
{
	int64_t format = json_get_int(record, "format", 0);
	if (format > CHANGE_FORMAT)
		return err_set(err, ERR_UNSUPPORTED,
		               "a change record of format %" PRId64 "; this program reads up to %d", format,
		               CHANGE_FORMAT);
	const char *kind = json_get_string(record, "kind");
	int action = name_index(action_names, ARRAY_SIZE(action_names), json_get_string(record, "action"));
	int state = name_index(state_names, ARRAY_SIZE(state_names), json_get_string(record, "state"));
	const char *path = json_get_string(record, "path");
	const char *target = json_get_string(record, "target");
	if (format < 1 || !is_kind(kind) || action < 0 || state < 0 || path == NULL || target == NULL)
		return err_set(err, ERR_PROTOCOL, "an invalid change record");
	struct change c = {
		.id = json_get_int(record, "id", 0),
		.step_index = (int)json_get_int(record, "step", 0),
		.step = xstrdup(json_get_string(record, "step_name")),
		.step_id = xstrdup(json_get_string(record, "step_id")),
		.step_inputs = xstrdup(json_get_string(record, "step_inputs")),
		.target = xstrdup(target),
		.path = xstrdup(path),
		.summary = xstrdup(json_get_string(record, "summary")),
		.action = (enum change_action)action,
		.state = (enum change_state)state,
		.secret = json_get_bool(record, "secret", false),
		.before = json_incref(json_object_get(record, "before")),
		.after = json_incref(json_object_get(record, "after")),
		.extra = json_incref(json_object_get(record, "extra")),
		.note = xstrdup(json_get_string(record, "note")),
		.task = xstrdup(json_get_string(record, "task")),
		.content = STR_SECRET_INIT(64 << 20),
	};
	snprintf(c.kind, sizeof(c.kind), "%s", kind);
	*ret = c;
	return 0;
}

void change_set_state_row(struct change *c, const char *key, const json_t *row, const json_t *former)
{
	if (c->extra == NULL)
		c->extra = json_object();
	json_t *o = json_object();
	json_object_set_new(o, "key", json_string(key));
	json_object_set(o, "row", row ? (json_t *)row : json_null());
	json_object_set(o, "former", former ? (json_t *)former : json_null());
	json_object_set_new(c->extra, "state_row", o);
}
