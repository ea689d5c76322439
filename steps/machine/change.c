/* The driver of all kinds: compares states, and turns one into the other. */
#include "base/core/mem.h"
#include "base/core/shown.h"
#include "steps/common/command.h"
#include "steps/machine/machine_priv.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

enum { SCRIPT_MAX = 64 << 10, KEPT_MAX = 1 << 20, LINE_MAX_SHOWN = 1000, VARIABLES_MAX = 64, TURN_MS = 2 * 60 * 1000 };

bool machine_is_absent(const json_t *node)
{
	const char *type = json_get_string(node, "type");
	return type == NULL || strcmp(type, "absent") == 0;
}

static const struct machine_kind *const kinds[] = {
	&machine_package,  &machine_group, &machine_user,   &machine_key,     &machine_timezone, &machine_swap,
	&machine_firewall, &machine_unit,  &machine_sysctl, &machine_network, &machine_volume,
};

const struct machine_kind *machine_kind_named(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i]->change.name, name) == 0)
			return kinds[i];
	return NULL;
}

/* By its name: the driver of a change that is only read from a record may not be looked up. */
static const struct machine_kind *kind_of(const struct change *c)
{
	return machine_kind_named(c->kind);
}

/* "deploy" of "user:deploy". */
static const char *id_of(const struct change *c)
{
	const char *colon = strchr(c->path, ':');
	return colon != NULL ? colon + 1 : c->path;
}

bool machine_covers(const json_t *now, const json_t *wanted)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)wanted, name, value)
	{
		if (strcmp(name, "notes") != 0 && !json_equal(json_object_get(now, name), value))
			return false;
	}
	return true;
}

/* Beside the record, or in what was looked at. */
static const json_t *notes_of(const struct change *c)
{
	const json_t *notes = json_object_get(c->extra, "notes");
	return notes != NULL ? notes : json_object_get(c->before, "notes");
}

/* The further words of its look: beside the record, or noted with what was looked at. */
static const char *arg_of(const struct change *c)
{
	const char *arg = json_get_string(c->extra, "arg");
	return arg != NULL ? arg : json_get_string(notes_of(c), "arg");
}

/* ---- planned ---- */

static struct change *add(struct plan *plan, const struct machine_kind *kind, const char *path, const json_t *before,
                          const json_t *after, const json_t *notes, const char *arg)
{
	enum change_action action = machine_is_absent(before)  ? ACTION_CREATE
	                            : machine_is_absent(after) ? ACTION_DESTROY
	                                                       : ACTION_UPDATE;
	struct change *c = plan_add(plan, &kind->change, action, path);
	c->before = json_deep_copy(before);
	c->after = json_deep_copy(after);
	c->extra = json_pack("{s:O, s:s}", "notes", notes, "arg", arg != NULL ? arg : "");
	return c;
}

struct change *machine_plan(struct plan *plan, const struct machine_sight *seen, const json_t *after)
{
	if (machine_covers(seen->node, after))
		return NULL;
	_cleanup_free_ char *path = xasprintf("%s:%s", seen->kind->change.name, seen->id);
	return add(plan, seen->kind, path, seen->node, after, seen->notes, seen->arg);
}

/* ---- compared ---- */

static bool names_within(const char *some, const char *all)
{
	_cleanup_free_ char *around = xasprintf(",%s,", all), *copy = xstrdup(some), *rest = copy;
	for (char *name; (name = strsep(&rest, ",")) != NULL;) {
		_cleanup_free_ char *one = xasprintf(",%s,", name);
		if (*name != '\0' && strstr(around, one) == NULL)
			return false;
	}
	return true;
}

/* Each member is as before or as after. A thing that came into being may have less of its list. */
static bool is_between(const struct machine_kind *kind, const struct change *c, const json_t *now)
{
	const char *name;
	json_t *value;
	/* The old one is gone, the new one has not come yet. */
	if (c->action == ACTION_REPLACE && machine_is_absent(now))
		return true;
	if (machine_is_absent(c->after) || machine_is_absent(now))
		return false;
	json_object_foreach(c->after, name, value)
	{
		json_t *there = json_object_get(now, name);
		const char *words = json_string_value(there), *all = json_string_value(value);
		bool some = kind->list != NULL && strcmp(name, kind->list) == 0 && words != NULL && all != NULL &&
		            machine_is_absent(c->before) && names_within(words, all);
		bool passes = kind->passing != NULL && strcmp(name, kind->passing) == 0;
		if (!some && !passes && !json_equal(there, value) &&
		    !json_equal(there, json_object_get(c->before, name)))
			return false;
	}
	return true;
}

/* What only others need, as a dependency of a package, nobody has asked for. */
static bool is_unasked(const json_t *notes)
{
	return json_get_string(notes, "unasked") != NULL;
}

/* Between absent and there, what nobody asks for any more counts as absent; unless nobody asked for it before. */
static bool is_as_before(const struct change *c, const struct machine_sight *now)
{
	/* However it came, it is as it was before ours, until ours has begun. */
	if (json_get_string(notes_of(c), "brought") != NULL && !machine_is_absent(now->node))
		return c->state == CHANGE_INTENT || !machine_covers(now->node, c->after);
	if (is_unasked(now->notes) && machine_is_absent(c->before))
		return true;
	if (is_unasked(now->notes) && machine_is_absent(c->after) && !is_unasked(notes_of(c)))
		return false;
	return machine_covers(now->node, c->before);
}

static bool is_as_after(const struct change *c, const struct machine_sight *now)
{
	if (is_unasked(now->notes) && machine_is_absent(c->after) != machine_is_absent(c->before))
		return machine_is_absent(c->after);
	return machine_covers(now->node, c->after);
}

static char *kept_path(const char *lock_dir, const struct change *c)
{
	return xasprintf("%s/undo/%" PRId64, lock_dir, c->id);
}

/* What `before` printed; empty where nothing was kept: the change never began. */
static int read_kept(struct change_call *x, const struct change *c, struct str *out, struct err *err)
{
	if (kind_of(c)->before == NULL || x->lock_dir == NULL || c->state == CHANGE_INTENT)
		return 0;
	_cleanup_free_ char *path = kept_path(x->lock_dir, c);
	int r = host_read(x->v, path, KEPT_MAX, out, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	return r;
}

static int look_now(struct change_call *x, const struct change *c, struct machine_sight *ret, struct err *err)
{
	_cleanup_(str_done) struct str kept = STR_INIT(KEPT_MAX);
	*ret = (struct machine_sight){.kind = kind_of(c), .id = id_of(c), .arg = arg_of(c)};
	if (!machine_text_fits(ret->id) || (ret->arg != NULL && !machine_text_fits(ret->arg)))
		return err_set(err, ERR_INVALID, "the record of '%s' holds control characters", c->path);
	int r = read_kept(x, c, &kept, err);
	return r < 0 ? r : machine_look_begun(x->v, ret, 1, str_peek(&kept), err);
}

int machine_compare(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	struct machine_sight now;
	int r = look_now(x, c, &now, err);
	if (r < 0)
		return r;
	bool began = machine_is_absent(c->before) && json_get_string(now.notes, "part") != NULL;
	bool was = is_as_before(c, &now), is = is_as_after(c, &now);
	if (was && !began)
		*ret = is ? MATCH_BOTH : MATCH_BEFORE;
	else
		*ret = is ? MATCH_AFTER : began || is_between(kind_of(c), c, now.node) ? MATCH_PART : MATCH_NEITHER;
	machine_sights_done(&now, 1);
	return 0;
}

int machine_explain(struct change_call *x, const struct change *c, struct str *out, struct err *err)
{
	struct machine_sight now;
	const char *name;
	json_t *value;
	size_t found = 0;
	int r = look_now(x, c, &now, err);
	if (r < 0)
		return r;
	json_object_foreach(c->after, name, value)
	{
		const char *there = json_get_string(now.node, name);
		if (there != NULL && strcmp(there, json_string_value(value)) == 0)
			continue;
		_cleanup_free_ char *shown =
			shown_text(there != NULL ? there : "", there != NULL ? strlen(there) : 0, 200);
		str_appendf(out, "%sthe %s is '%s' instead of '%s'", found++ > 0 ? ", " : "", name, shown,
		            json_string_value(value));
	}
	machine_sights_done(&now, 1);
	return 0;
}

/* ---- made and taken back ---- */

struct variables {
	struct field_pair items[VARIABLES_MAX];
	char *names[VARIABLES_MAX];
	size_t count;
};

static void variables_done(struct variables *all)
{
	for (size_t i = 0; i < all->count; i++)
		free(all->names[i]);
}

static void add_variable(struct variables *all, const char *prefix, const char *name, const char *value)
{
	if (all->count == VARIABLES_MAX)
		return;
	all->names[all->count] = xasprintf("%s%s", prefix, name);
	all->items[all->count] = (struct field_pair){.key = all->names[all->count], .value = value};
	all->count++;
}

/* A record may come from a target: its members become variables only where their names can be some. */
static void add_members(struct variables *all, const char *prefix, const json_t *node)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)node, name, value)
	{
		bool fits = *name != '\0';
		for (const char *p = name; *p; p++)
			fits = fits && (islower((unsigned char)*p) || *p == '_');
		if (fits && json_is_string(value))
			add_variable(all, prefix, name, json_string_value(value));
	}
}

static int run_script(struct target *t, const struct change *c, const char *body, const struct variables *all,
                      struct str *out, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(SCRIPT_MAX), said = STR_INIT(LINE_MAX_SHOWN);
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	const struct machine_kind *kind = kind_of(c);
	const char *id = id_of(c);
	_cleanup_free_ char *user = kind->by_owner ? xstrndup(id, strcspn(id, ":")) : NULL;
	str_appendf(&script, "%sset -e\nfail() { echo \"$*\" >&2; exit 1; }\n%s", machine_prelude, body);
	const struct target_command command = {.script = str_peek(&script),
	                                       .env = all->items,
	                                       .env_count = all->count,
	                                       .user = user,
	                                       .timeout_ms = kind->timeout_ms > 0 ? kind->timeout_ms : TURN_MS,
	                                       .max_output = KEPT_MAX};
	int r = host_run(t, &command, &result, err);
	if (r < 0)
		return r;
	if (result.timed_out)
		return err_set(err, ERR_TIMEOUT, "it took longer than %lld s", (long long)(command.timeout_ms / 1000));
	step_last_line(result.err.len > 0 ? &result.err : &result.out, &said);
	if (result.status != 0)
		return err_set(err, ERR_FAILED, "%s", said.len > 0 ? str_peek(&said) : "it failed without a word");
	if (out != NULL)
		str_append_n(out, str_peek(&result.out), result.out.len);
	return 0;
}

static int turn(struct change_call *x, const struct change *c, const char *script, bool undoing, struct err *err)
{
	_cleanup_(variables_done) struct variables all = {0};
	_cleanup_(str_done) struct str kept = STR_INIT(KEPT_MAX);
	const char *arg = arg_of(c);
	int r = read_kept(x, c, &kept, err);
	if (r < 0)
		return r;
	add_variable(&all, "", "ID", id_of(c));
	add_variable(&all, "", "ARG", arg != NULL ? arg : "");
	add_variable(&all, "", "BEGUN", str_peek(&kept));
	add_variable(&all, "", "CONTENT", undoing ? "" : str_peek(&c->content));
	add_variable(&all, "", "UNDOING", undoing ? "yes" : "");
	add_members(&all, "FROM_", undoing ? c->after : c->before);
	add_members(&all, "TO_", undoing ? c->before : c->after);
	add_members(&all, "NOTE_", notes_of(c));
	return run_script(x->t, c, script, &all, NULL, err);
}

int machine_save(struct change_call *x, const struct change *c, struct err *err)
{
	_cleanup_(variables_done) struct variables all = {0};
	_cleanup_(str_done) struct str said = STR_INIT(KEPT_MAX + 1);
	_cleanup_free_ char *path = kept_path(x->lock_dir, c);
	const struct node_attr attr = {.set_mode = true, .mode = 0600};
	add_variable(&all, "", "ID", id_of(c));
	int r = run_script(x->t, c, kind_of(c)->before, &all, &said, err);
	return r < 0 ? r : host_put(x->t, path, str_peek(&said), said.len, &attr, err);
}

int machine_apply(struct change_call *x, struct change *c, struct err *err)
{
	return c->action == ACTION_ADOPT ? 0 : turn(x, c, kind_of(c)->turn, false, err);
}

int machine_undo(struct change_call *x, const struct change *c, struct err *err)
{
	return c->action == ACTION_ADOPT ? 0 : turn(x, c, kind_of(c)->turn, true, err);
}

int machine_settle(struct change_call *x, const struct change *c, struct err *err)
{
	return c->action == ACTION_ADOPT ? 0 : turn(x, c, kind_of(c)->settle, true, err);
}

/* ---- behind a committed deployment ---- */

static void add_back(struct plan *plan, const struct change *former, const struct machine_sight *now)
{
	_cleanup_json_ json_t *none = json_object();
	const json_t *notes = notes_of(former);
	struct change *c = add(plan, kind_of(former), former->path, now->node, former->before,
	                       notes != NULL ? notes : none, now->arg);
	if (former->action == ACTION_REPLACE)
		c->action = ACTION_REPLACE;
	c->summary = xasprintf("as before that deployment");
}

int machine_back(struct view *v, const struct change *former, bool force, struct plan *plan, struct err *err)
{
	struct change_call x = {.v = v};
	struct machine_sight now;
	int r = look_now(&x, former, &now, err);
	if (r < 0)
		return r;
	if (!is_as_before(former, &now)) {
		if (!is_as_after(former, &now) && !force)
			r = err_set(err, ERR_CONFLICT, "'%s' is not as that deployment left it", former->path);
		else
			add_back(plan, former, &now);
	}
	machine_sights_done(&now, 1);
	return r;
}
