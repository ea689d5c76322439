/* restore: a source becomes what a snapshot holds. What is replaced is kept first, by a snapshot whose undo puts it back; so the change behind
 * it has only to end what it has begun. */
#include "steps/sources/sources.h"
#include "base/sys/fs.h"
#include "schemas/restore.h"
#include "steps/common/command.h"
#include <inttypes.h>

static char *marker_of(const char *own)
{
	return fs_join(own, "restored");
}

/* ---- the kind of its change: begun, says a file in its own snapshot ---- */

static int compare(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	_cleanup_(node_done) struct node n = {0};

	int r = host_stat(x->v, c->path, &n, err);
	*ret = n.type == NODE_ABSENT ? MATCH_BEFORE : MATCH_AFTER;
	return r;
}

/* Nothing that a record says is acted on: the step knows its own snapshot. */
static bool is_named(const struct change *c, const json_t *input)
{
	(void)input;
	return strstr(c->path, "/snapshots/") && str_ends(c->path, "/restored");
}

static const struct change_type change_restore = {.name = "restore", .compare = compare, .is_named = is_named};
static const struct change_type *const kinds[] = {&change_restore, NULL};

static bool is_restore(const struct change *c)
{
	return strcmp(c->kind, change_restore.name) == 0;
}

/* ---- */

static void describe(const struct step_context *c, struct str *out)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	const struct restore_in *in = c->input;
	source_call_init(&s, c);
	str_append(out, "put back ");
	s.source->describe(&s, out);
	str_appendf(out, " from %s%s", in->from.snapshot ? "the snapshot " : "the newest snapshot",
	            in->from.snapshot ? in->from.snapshot : "");
	if (in->from.deployment)
		str_appendf(out, " of the deployment %s", in->from.deployment);
	if (in->from.environment)
		str_appendf(out, " in the environment %s", in->from.environment);
}

static bool is_elsewhere(const struct step_context *c)
{
	const struct restore_in *in = c->input;
	return (in->from.deployment && strcmp(in->from.deployment, c->deployment->name) != 0) ||
	       (in->from.environment && strcmp(in->from.environment, c->deployment->environment) != 0);
}

static void validate(const struct step_context *c, struct faults *faults)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	const struct restore_in *in = c->input;
	source_call_init(&s, c);
	s.source->validate(&s, faults);
	step_env_faults(&in->env, "/env", faults);
	if (in->env.count > 0 && !s.source->programs)
		faults_add(faults, NULL, "/env", "`%s` runs no programs that could use variables", s.source->name);
	if (in->from.name && s.source->subject == NULL)
		faults_add(faults, NULL, "/from/name", "files are found by their paths");
}

static const char *when_of(const json_t *head, char text[64])
{
	const char *id = json_get_string(head, "snapshot");

	if (id && strlen(id) > 15)
		snprintf(text, 64, "%.4s-%.2s-%.2s %.2s:%.2s:%.2s UTC", id, id + 4, id + 6, id + 9, id + 11, id + 13);
	else
		snprintf(text, 64, "an unknown time");
	return text;
}

static void add_restore(const struct source_call *s, struct view *v, const struct source_from *from, struct plan *plan)
{
	_cleanup_free_ char *own = source_own_dir(s->c, v), *path = marker_of(own);
	_cleanup_(str_done) struct str what = STR_INIT(SUBJECT_MAX);
	const char *deployment = json_get_string(from->head, "deployment"),
		   *id = json_get_string(from->head, "snapshot");
	char when[64];

	s->source->describe(s, &what);
	struct change *change = plan_add(plan, &change_restore, ACTION_UPDATE, path);
	change->before = json_pack("{s:s}", "type", "absent");
	change->after = json_pack("{s:s}", "type", "file");
	change->extra = json_pack("{s:s,s:O,s:{s:s,s:s?,s:s?}}", "from", from->path, "head", from->head, "plan", "type",
	                          "restore", "deployment", deployment, "snapshot", id);
	change->summary = xasprintf("replace %s by snapshot %s of %s, taken %s, %.1f MB", str_peek(&what),
	                            id ? id : "?", deployment ? deployment : "?", when_of(from->head, when),
	                            (double)json_get_int(from->head, "bytes", 0) / 1e6);
	json_object_set_new(plan->shown, "from",
	                    json_pack("{s:s,s:s?,s:s?,s:s,s:I}", "path", from->path, "deployment", deployment,
	                              "snapshot", id, "taken", when, "bytes",
	                              (json_int_t)json_get_int(from->head, "bytes", 0)));
}

static int plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	_cleanup_(source_from_done) struct source_from from = {0};
	source_call_init(&s, c);
	if (is_elsewhere(c) && !s.source->moves)
		return err_hint(err, err_set(err, ERR_REFUSED, "only dumps move between environments"),
		                "of a database `postgres` or `command`; files go by `archive-upload`");
	int r = source_find_from(&s, v, json_object_get(s.all, "from"), &from, err);
	if (r == 0)
		r = source_plan_snapshot(&s, v, true, plan, err);
	if (r == 0 && plan->shown)
		add_restore(&s, v, &from, plan);
	return r;
}

/* ---- */

enum { STATE_MAX = 16 };
static const char begun[] = "begun", done[] = "done";

static int note(struct target *t, const char *own, const char *state, struct err *err)
{
	const struct node_attr attr = {.set_mode = true, .mode = 0600};
	_cleanup_free_ char *marker = marker_of(own);

	int r = host_put(t, marker, state, strlen(state), &attr, err);
	return r < 0 ? r : host_barrier(t, (const char *const[]){own}, 1, err);
}

/* All that is replaced is kept and durable; that something is replaced now is noted before it is. */
static int put_back(const struct source_call *s, struct target *t, const struct change *change, const char *own,
                    struct err *err)
{
	const char *from = json_get_string(change->extra, "from");

	int r = source_check(&t->view, from, NULL, err);
	if (r == 0)
		r = note(t, own, begun, err);
	if (r == 0)
		r = s->source->put_back(s, t, from, json_object_get(change->extra, "head"), own, err);
	if (r == 0)
		r = note(t, own, done, err);
	return r < 0 || s->source->sweep == NULL ? r : s->source->sweep(s, t, own, err);
}

static int apply(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	source_call_init(&s, c);
	if (!is_restore(change))
		return source_make(&s, t, change, err);
	_cleanup_free_ char *own = source_own_dir(c, &t->view);
	int r = put_back(&s, t, change, own, err);
	if (r == 0)
		json_object_set(c->outputs, "from", json_object_get(change->extra, "from"));
	return r;
}

static int verify(const struct step_context *c, struct view *v, const struct change *change, struct err *err)
{
	enum change_match match = MATCH_NEITHER;
	(void)c;

	if (!is_restore(change))
		return source_check(v, change->path, NULL, err);
	int r = change_compare(v, NULL, change, &match, err);
	if (r == 0 && match != MATCH_AFTER)
		r = err_set(err, ERR_CONFLICT, "what was replaced on '%s' is not kept any more", v->name);
	return r;
}

/* What was never replaced is not put back: people may have written to it since. */
static int keep_what_is_there(const struct source_call *s, struct target *t, const char *own, const char *marker,
                              struct err *err)
{
	_cleanup_(str_done) struct str state = STR_INIT(STATE_MAX + 1);
	_cleanup_free_ char *manifest = fs_join(own, "manifest");
	bool same = false;

	int r = host_read(&t->view, marker, STATE_MAX, &state, err);
	if (r == ERR_NOT_FOUND) { /* taken back before */
		err_clear(err);
		return 0;
	}
	if (r == 0 && strcmp(str_peek(&state), begun) == 0 && s->source->is_untouched)
		r = s->source->is_untouched(s, &t->view, own, &same, err);
	if (r < 0 || !same)
		return r;
	r = host_remove(t, manifest, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		r = 0;
	}
	return r < 0 ? r : host_barrier(t, (const char *const[]){own}, 1, err);
}

static int undo(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	_cleanup_(source_call_done) struct source_call s = {0};
	source_call_init(&s, c);
	if (!is_restore(change))
		return source_undo(&s, t, change, err);
	_cleanup_free_ char *own = source_own_dir(c, &t->view), *marker = marker_of(own);
	int r = keep_what_is_there(&s, t, own, marker, err);
	if (r == 0 && s.source->sweep)
		r = s.source->sweep(&s, t, own, err);
	if (r == 0)
		r = host_remove(t, marker, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		r = 0;
	}
	return r;
}

const struct step_type restore_step = {
	.info = &restore_info,
	.kinds = kinds,
	.describe = describe,
	.validate = validate,
	.plan = plan,
	.apply = apply,
	.verify = verify,
	.undo = undo,
};
