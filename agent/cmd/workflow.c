/* davit workflow show FILE: its jobs and steps as they would run. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/workflow/show.h"
#include "base/sys/fs.h"

enum { WORKFLOW_MAX = 1 << 20 };

static int read_file(const char *path, const char *name, struct workflow **ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(WORKFLOW_MAX);
	_cleanup_(faults_done) struct faults faults = {0};
	int r = fs_read(AT_FDCWD, path, WORKFLOW_MAX, &text, err);
	if (r >= 0)
		r = workflow_read(name, str_peek(&text), text.len, &faults, ret, NULL, err);
	return r < 0 && faults.count > 1 ? err_hint(err, r, "all that is wrong: davit validate %s", path) : r;
}

/* What it calls lies in its own directory, as all workflows of a repository do. */
static int read_called(void *user, const char *uses, struct workflow **ret, struct err *err)
{
	const char *file = user, *slash = strrchr(file, '/');
	const char *name = strrchr(uses, '/') + 1;
	_cleanup_free_ char *path =
		slash != NULL ? xasprintf("%.*s/%s", (int)(slash - file), file, name) : xstrdup(name);
	return read_file(path, uses + strlen("./"), ret, err);
}

/* ---- for people */

static void print_line(int indent, const char *fmt, ...) _printf_(2, 3);
static void print_line(int indent, const char *fmt, ...)
{
	_cleanup_(str_done) struct str safe = STR_INIT(1 << 20);
	char *text = NULL;
	va_list args;
	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	str_append_safe(&safe, text != NULL ? text : "", text != NULL ? strlen(text) : 0);
	printf("%*s%s\n", indent, "", str_peek(&safe));
	free(text);
}

static char *words_of(const json_t *list)
{
	_cleanup_(str_done) struct str out = STR_INIT(1 << 20);
	size_t i;
	json_t *item;
	if (json_is_string(list))
		str_append(&out, json_string_value(list));
	json_array_foreach((json_t *)(uintptr_t)list, i, item) if (json_is_string(item))
		str_appendf(&out, "%s%s", i > 0 ? ", " : "", json_string_value(item));
	return str_take(&out);
}

/* "", ", never runs", ", if …": what is not the default. */
static char *condition_of(const json_t *of)
{
	const char *condition = json_get_string(of, "if");
	if (json_is_false(json_object_get(of, "runs")))
		return xasprintf(", never runs (if: %s)", condition);
	return strcmp(condition, "success()") != 0 ? xasprintf(", if: %s", condition) : xstrdup("");
}

static void print_jobs(const json_t *jobs, int indent)
{
	size_t i, n;
	json_t *job, *step;
	json_array_foreach((json_t *)(uintptr_t)jobs, i, job)
	{
		_cleanup_free_ char *needs = words_of(json_object_get(job, "needs")),
				    *labels = words_of(json_object_get(job, "runs-on")), *condition = condition_of(job);
		const char *uses = json_get_string(job, "uses"), *error = json_get_string(job, "error");
		print_line(indent, "%lld. %s: %s%s%s%s", (long long)json_get_int(job, "stage", 0),
		           json_get_string(job, "name"), uses != NULL ? uses : labels, *needs != '\0' ? ", needs " : "",
		           needs, condition);
		if (error != NULL)
			print_line(indent + 3, "%s", error);
		print_jobs(json_object_get(job, "jobs"), indent + 3);
		json_array_foreach(json_object_get(job, "steps"), n, step)
		{
			_cleanup_free_ char *of_step = condition_of(step);
			print_line(indent + 3, "%s%s", json_get_string(step, "name"), of_step);
		}
	}
}

/* ---- the command */

static int pair(json_t *into, const char *option, const char *text, struct err *err)
{
	const char *equals = strchr(text, '=');
	if (equals == NULL || equals == text || !str_is_utf8(text, strlen(text)))
		return err_set(err, ERR_INVALID, "--%s '%.100s' is not NAME=VALUE", option, text);
	_cleanup_free_ char *name = xstrndup(text, (size_t)(equals - text));
	json_object_set_new(into, name, json_string(equals + 1));
	return 0;
}

struct call {
	char *file;
	const char *event;
	struct strv inputs, vars;
};

static int show(const struct call *call, json_t **ret, struct err *err)
{
	_cleanup_(workflow_freep) struct workflow *w = NULL;
	_cleanup_json_ json_t *given = json_object(), *vars = json_object(), *inputs = NULL;
	struct workflow_show how = {.event = call->event, .read = read_called, .user = call->file};
	int r = read_file(call->file, call->file, &w, err);
	for (size_t i = 0; r >= 0 && i < call->inputs.count; i++)
		r = pair(given, "input", call->inputs.items[i], err);
	for (size_t i = 0; r >= 0 && i < call->vars.count; i++)
		r = pair(vars, "var", call->vars.items[i], err);
	bool dispatched =
		call->inputs.count > 0 || (call->event != NULL && strcmp(call->event, "workflow_dispatch") == 0);
	if (r >= 0 && dispatched)
		r = workflow_dispatch_inputs(w, given, &inputs, err);
	how.inputs = inputs;
	how.vars = call->vars.count > 0 ? vars : NULL;
	if (dispatched)
		how.event = "workflow_dispatch";
	return r < 0 ? r : workflow_show(w, &how, ret, err);
}

static int tell(const json_t *shown)
{
	if (cli_json()) {
		_cleanup_free_ char *text = json_pretty(shown);
		puts(text);
		return 0;
	}
	_cleanup_free_ char *events = words_of(json_object_get(shown, "on"));
	print_line(0, "%s (%s)", json_get_string(shown, "name"), events);
	print_jobs(json_object_get(shown, "jobs"), 0);
	return 0;
}

int cmd_workflow(int argc, char **argv)
{
	struct call call = {0};
	const struct cli_option options[] = {
		{"event", 0, CLI_TEXT, &call.event, "NAME", "the event that starts it, where conditions ask for it"},
		{"input", 0, CLI_LIST, &call.inputs, "NAME=VALUE", "an input of workflow_dispatch; may be repeated"},
		{"var", 0, CLI_LIST, &call.vars, "NAME=VALUE", "a value of the context vars; may be repeated"},
		{0},
	};
	const struct cli_command command = {
		"workflow",
		"show FILE [options]",
		"Shows the jobs and steps of a workflow as they would run: in the order of their needs, a job for each combination of a matrix.",
		options,
		2,
		2};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status < 0) {
		struct err err = ERR_INIT;
		_cleanup_json_ json_t *shown = NULL;
		int r = strcmp(rest.words[0], "show") == 0
		                ? 0
		                : err_set(&err, ERR_INVALID, "davit workflow knows 'show', not '%.40s'", rest.words[0]);
		call.file = rest.words[1];
		if (r >= 0)
			r = show(&call, &shown, &err);
		status = r < 0 ? cli_fail(&err, 2) : tell(shown);
	}
	strv_done(&call.inputs);
	strv_done(&call.vars);
	return status;
}
