/* A composite action: its steps, one after the other, with contexts of their own, in the record and the log of the step that uses
 * it. */
#include "agent/worker/actions/use.h"

#include "agent/service/wire.h"
#include "agent/worker/message.h"
#include "base/core/clock.h"

/* Paths of the command files are the outer step's own: those of the steps are made anew. */
static json_t *github_inside(const struct job *j, const struct use *u)
{
	static const char *const files[] = {"path",   "env",       "step_summary",  "state",
	                                    "output", "artifacts", "artifacts_list"};
	json_t *github = json_copy(j->github);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		json_object_del(github, files[i]);
	json_object_set_new(github, "action_path", json_string(u->action->directory));
	json_object_set_new(github, "action_repository", json_null());
	json_object_set_new(github, "action_ref", json_null());
	json_object_set_new(github, "action_status", json_string(result_context(RESULT_SUCCEEDED)));
	return github;
}

static json_t *contexts_inside(const struct job *j, const struct use *u, const json_t *inputs, json_t *github)
{
	json_t *contexts = json_copy(j->contexts);
	json_object_set(contexts, "github", github);
	json_object_set(contexts, "inputs", (json_t *)(uintptr_t)inputs);
	json_object_set(contexts, "steps", u->scope);
	json_object_set_new(contexts, "secrets", json_null());
	return contexts;
}

struct composite {
	struct use *use;
	struct frame frame;
	json_t *contexts, *github, *env;
	enum result status;
};

static void enter(struct job *j, struct record *r, struct use *u, const json_t *inputs, struct composite *c)
{
	*c = (struct composite){.use = u, .status = RESULT_SUCCEEDED};
	c->github = github_inside(j, u);
	c->contexts = contexts_inside(j, u, inputs, c->github);
	c->env = j->outer_env != NULL ? json_copy(j->outer_env) : json_object();
	json_object_update(c->env, r->own_env);
	c->frame = (struct frame){.contexts = c->contexts,
	                          .github = c->github,
	                          .steps_context = u->scope,
	                          .outer_env = c->env,
	                          .file_table = u->action->manifest.file_table,
	                          .status = r->stage == STAGE_MAIN ? &c->status : NULL};
	step_enter_frame(j, &c->frame);
}

static void leave(struct job *j, struct composite *c)
{
	step_leave_frame(j);
	json_decref(c->github);
	json_decref(c->contexts);
	json_decref(c->env);
}

static char *title_of(const struct use_step *s)
{
	const char *prefix;
	const json_t *token = step_title_token(s->step, &prefix);
	if (token == NULL)
		return step_title("Run ", s->shown != NULL ? s->shown : "");
	_cleanup_free_ char *readable = template_readable(token);
	return step_title(prefix, readable);
}

/* ---- markers by which the service shows the steps inside as steps ---- */

enum { MARKER_CHARS = 1000 };

static bool wants_markers(const struct job *j)
{
	return message_flag(j->message, "actions_runner_emit_composite_markers", false) ||
	       wire_is_true(json_get_string(j->job_environ, "ACTIONS_RUNNER_EMIT_COMPOSITE_MARKERS"));
}

/* As properties of commands are: the value ends at a semicolon or a bracket. */
static void add_property(struct str *out, const char *text)
{
	size_t len = str_whole_characters(text, MIN(strcspn(text, "\r\n"), (size_t)MARKER_CHARS));
	for (size_t i = 0; i < len; i++) {
		if (strchr("%;]", text[i]) != NULL)
			str_appendf(out, "%%%02X", (unsigned)text[i]);
		else
			str_append_c(out, text[i]);
	}
}

/* "outer.inner": the way to a step by the context names around it. */
static void add_id(struct str *out, const struct record *r)
{
	if (r->parent != NULL)
		add_id(out, r->parent);
	if (out->len > 0)
		str_append_c(out, '.');
	add_property(out, r->marker_name != NULL ? r->marker_name : r->context_name != NULL ? r->context_name : r->id);
}

static void mark_start(struct job *j, struct record *r)
{
	_cleanup_(str_done) struct str name = STR_INIT(1 << 16), id = STR_INIT(1 << 16);
	add_property(&name, r->name);
	add_id(&id, r);
	record_line(j, r, "##[start-action display=%s;id=%s]", str_peek(&name), str_peek(&id));
}

static void mark_end(struct job *j, struct record *r, int64_t ms)
{
	_cleanup_(str_done) struct str id = STR_INIT(1 << 16);
	add_id(&id, r);
	record_line(j, r, "##[end-action id=%s;outcome=%s;conclusion=%s;duration_ms=%lld]", str_peek(&id),
	            result_context(r->outcome), result_context(r->result),
	            (long long)(r->result == RESULT_SKIPPED ? 0 : ms));
}

/* ---- one step ---- */

/* False: the ones behind it are not run either. */
static bool run_step(struct job *j, struct record *outer, struct composite *c, size_t index, const char *condition)
{
	struct use_step *s = &c->use->steps[index];
	_cleanup_free_ char *title = title_of(s);
	struct record *r = record_embedded(outer, title);
	r->action = s->type;
	r->memory = s->memory;
	r->shares_memory = true;
	r->step = s->step;
	r->context_name = outer->stage == STAGE_MAIN ? wire_string(s->step, "contextName") : NULL;
	r->stage_condition = xstrdup(condition);
	json_object_set_new(j->github, "action_status", json_string(result_context(c->status)));
	bool marked = wants_markers(j) && outer->stage == STAGE_MAIN;
	int64_t started_ms = clock_mono_ms();
	r->marker_name = wire_string(s->step, "contextName");
	if (marked)
		mark_start(j, r);
	step_run(j, r);
	if (marked)
		mark_end(j, r, clock_mono_ms() - started_ms);
	bool began = r->result != RESULT_SKIPPED && !r->condition_failed, goes_on = !r->condition_failed;
	if (began && outer->stage != STAGE_POST && s->type->stage != NULL &&
	    s->type->stage(s->memory, STAGE_POST) != NULL) {
		bool known = false;
		for (size_t i = 0; i < c->use->post_count; i++)
			known |= c->use->posts[i] == index;
		if (!known)
			c->use->posts[c->use->post_count++] = index;
	}
	if (r->result == RESULT_FAILED || r->result == RESULT_CANCELED)
		c->status = result_merge(c->status, r->result);
	record_free(r);
	return goes_on;
}

static void run_main(struct job *j, struct record *r, struct composite *c)
{
	for (size_t i = 0; i < c->use->step_count; i++) {
		job_turn(j, NULL, 0, 0);
		if (!run_step(j, r, c, i, NULL))
			break;
	}
}

static void run_stage(struct job *j, struct record *r, struct composite *c, enum stage stage)
{
	size_t count = stage == STAGE_PRE ? c->use->step_count : c->use->post_count;
	for (size_t i = 0; i < count; i++) {
		size_t index = stage == STAGE_PRE ? i : c->use->posts[count - 1 - i];
		const struct use_step *s = &c->use->steps[index];
		const char *condition = s->type->stage != NULL ? s->type->stage(s->memory, stage) : NULL;
		if (condition != NULL)
			run_step(j, r, c, index, condition);
	}
}

/* Evaluated inside, set outside. One that fails keeps the others. */
static int eval_outputs(struct job *j, const struct use *u, json_t *into, struct err *err)
{
	struct template_scope scope = step_value_scope(j);
	const char *name;
	json_t *token;
	scope.expr.hash_files = NULL;
	json_object_foreach(u->action->manifest.outputs, name, token)
	{
		json_t *text = NULL;
		int e = template_eval_string(token, &scope, &text, err);
		if (e < 0)
			return e;
		json_object_set_new(into, name, text);
	}
	return 0;
}

int use_run_composite(struct job *j, struct record *r, struct use *u, const json_t *inputs, enum result *ret,
                      struct err *err)
{
	_cleanup_json_ json_t *outputs = json_object();
	struct composite c;
	int e = 0;
	enter(j, r, u, inputs, &c);
	if (r->stage == STAGE_MAIN) {
		run_main(j, r, &c);
		json_object_set_new(j->github, "action_status", json_string(result_context(c.status)));
		e = eval_outputs(j, u, outputs, err);
	} else {
		run_stage(j, r, &c, r->stage);
	}
	leave(j, &c);
	const char *name;
	json_t *value;
	json_object_foreach(outputs, name, value)
	{
		if (e < 0)
			break;
		e = record_set_output(j, r, name, json_string_value(value), json_string_length(value), err);
	}
	*ret = c.status;
	return e;
}
