#include "steps/sources/programs.h"
#include "base/core/clock.h"
#include "base/core/shown.h"
#include "steps/common/command.h"
#include <stdarg.h>

enum { MAX_SHOWN = 300, MAX_LOGGED = 64 << 10, MAX_VALUE = 4096 };

void source_env_done(struct source_env *e)
{
	free(e->items);
	strv_done(&e->owned);
	*e = (struct source_env){0};
}

void source_env_add(struct source_env *e, const char *name, const char *value)
{
	if (value == NULL)
		return;
	e->items = xgrow(e->items, &e->cap, e->count + 1, sizeof(*e->items));
	e->items[e->count++] = (struct field_pair){name, value};
}

void source_env_addf(struct source_env *e, const char *name, const char *fmt, ...)
{
	_cleanup_(str_done) struct str text = STR_INIT(MAX_VALUE);
	char value[MAX_VALUE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	str_append(&text, value);
	strv_add_take(&e->owned, str_take(&text));
	source_env_add(e, name, e->owned.items[e->owned.count - 1]);
}

void source_env_inputs(struct source_env *e, const struct source_call *s)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)s->env, name, value) source_env_add(e, name, json_string_value(value));
}

/* Programs tell the error first and then what else they know; the last line counts where none says that it is an error. */
static void complaint_of(const struct str *text, struct str *out)
{
	static const char *const words[] = {"error: ", "ERROR: ", "FATAL: "};
	const char *found = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(words) && found == NULL; i++)
		found = strstr(str_peek(text), words[i]);
	if (found == NULL) {
		step_last_line(text, out);
		return;
	}
	while (found > str_peek(text) && found[-1] != '\n')
		found--;
	_cleanup_free_ char *shown = shown_text(found, strcspn(found, "\n"), MAX_SHOWN);
	str_append(out, shown);
}

static int hint_for(const char *complaint, int r, struct err *err)
{
	if (strstr(complaint, "due to lock timeout") || strstr(complaint, "due to statement timeout"))
		return err_hint(
			err, r,
			"a migration or another session holds a lock on it: wait for its end, or raise `lock_wait`");
	if (strstr(complaint, "No space left"))
		return err_hint(err, r, "make room, or set the target's `base:` to a larger file system");
	return r;
}

static int judge(const struct target_result *result, int64_t timeout_ms, struct err *err)
{
	_cleanup_(str_done) struct str line = STR_INIT(4096);
	char took[CLOCK_TEXT_SIZE];

	if (result->timed_out)
		return err_hint(err,
		                err_set(err, ERR_TIMEOUT, "it did not end within %s and was stopped",
		                        clock_duration(timeout_ms, took)),
		                "raise `timeout`, or look why it hangs");
	if (result->status == 0)
		return 0;
	complaint_of(result->err.len > 0 ? &result->err : &result->out, &line);
	int r = err_set(err, ERR_FAILED, "exit status %d%s%s", result->status, line.len > 0 ? ": " : "",
	                str_peek(&line));
	return hint_for(str_peek(&line), r, err);
}

static struct target_command command_of(const struct source_program *p)
{
	return (struct target_command){.argv = p->argv,
	                               .script = p->script,
	                               .env = p->env->items,
	                               .env_count = p->env->count,
	                               .user = p->user,
	                               .timeout_ms = p->timeout_ms};
}

static void show_line(void *context, bool is_stderr, const char *line, size_t len)
{
	const struct step_context *c = context;

	if (!is_stderr || c->report == NULL)
		return;
	_cleanup_free_ char *shown = shown_text(line, len, MAX_LOGGED);
	c->report(c->engine, "%s", shown);
}

int source_run(const struct source_call *s, struct target *t, const struct source_program *p, struct str *out,
               struct err *err)
{
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	struct target_command command = command_of(p);
	command.on_line = show_line;
	command.context = (void *)(uintptr_t)s->c;

	int r = host_run(t, &command, &result, err);
	if (r == 0)
		r = judge(&result, p->timeout_ms, err);
	if (r == 0 && out)
		str_append_n(out, str_peek(&result.out), result.out.len);
	return r;
}

int source_ask(struct view *v, const struct source_program *p, struct str *out, struct err *err)
{
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	const struct target_command command = command_of(p);

	int r = host_query(v, &command, &result, err);
	if (r == 0)
		r = judge(&result, p->timeout_ms, err);
	if (r == 0)
		str_append_n(out, str_peek(&result.out), result.out.len);
	return r;
}
