/* Annotations of a check run: what was not taken back, checks that fail, warnings of the plan. Each stands at its step in the deployment
 * file, as far as that file is still there to be looked at. */
#include "steps/notify/notify_priv.h"
#include "base/core/shown.h"
#include "base/sys/fs.h"

enum { MESSAGE_MAX = 16 << 10, TITLE_MAX = 200, FILE_MAX_BYTES = 1 << 20 };

struct notes {
	json_t *list;
	const char *path; /* of the deployment file, or GitHub's word for "no file" */
	struct yaml_doc *file;
};

static int line_of(const struct notes *n, int64_t step)
{
	char pointer[64];
	if (n->file == NULL || step < 0)
		return 1;
	snprintf(pointer, sizeof(pointer), "/steps/%lld", (long long)step);
	return MAX(yaml_value_mark(n->file, pointer).line, 1);
}

static void note(struct notes *n, const char *level, int64_t step, const char *title, const char *fmt, ...)
	_printf_(5, 6);
static void note(struct notes *n, const char *level, int64_t step, const char *title, const char *fmt, ...)
{
	va_list ap;
	if (json_array_size(n->list) >= NOTIFY_ANNOTATION_MAX)
		return;
	va_start(ap, fmt);
	_cleanup_free_ char *text = shown_format(MESSAGE_MAX, fmt, ap), *head = NULL;
	va_end(ap);
	head = shown_text(title, strlen(title), TITLE_MAX);
	int line = line_of(n, step);
	json_t *one = json_pack("{s:i, s:i, s:s}", "start_line", line, "end_line", line, "annotation_level", level);
	json_set_string(one, "path", n->path);
	json_set_string(one, "title", head);
	json_set_string(one, "message", *text != '\0' ? text : head);
	json_array_append_new(n->list, one);
}

static const char *or_empty(const json_t *object, const char *key)
{
	const char *text = json_get_string(object, key);
	return text != NULL ? text : "";
}

static void note_left_over(struct notes *n, const json_t *report)
{
	size_t i;
	json_t *left;
	json_array_foreach(json_get_array(report, "left_over"), i, left)
	{
		if (json_is_string(left))
			note(n, "failure", -1, "not as it was before", "%s", json_string_value(left));
		else
			note(n, "failure", json_get_int(left, "step", -1), "not as it was before", "%s %s: %s",
			     or_empty(left, "target"), or_empty(left, "path"), or_empty(left, "reason"));
	}
}

static void note_checks(struct notes *n, const struct step_outcome *outcome)
{
	_cleanup_json_ json_t *checks = notify_checks(outcome);
	const char *label;
	json_t *check;
	json_object_foreach(checks, label, check)
	{
		if (!json_get_bool(check, "ok", false))
			note(n, outcome->state == OUTCOME_COMMITTED ? "warning" : "failure",
			     json_get_int(check, "step", -1), label, "%s", or_empty(check, "seen"));
	}
}

static void note_warnings(struct notes *n, const json_t *report)
{
	size_t i, k;
	json_t *step, *warning;
	json_array_foreach(json_get_array(report, "plan"), i, step)
	{
		json_array_foreach(json_get_array(step, "warnings"), k, warning)
			note(n, "warning", json_get_int(step, "index", -1), or_empty(step, "name"), "%s",
		             json_is_string(warning) ? json_string_value(warning) : "");
	}
}

json_t *notify_annotations(const struct step_context *c, const struct step_outcome *outcome)
{
	const struct yaml_limits limits = {
		.max_bytes = FILE_MAX_BYTES, .max_nodes = 100000, .max_depth = 100, .allow_anchors = true};
	const char *file = json_get_string(json_get_object(outcome->report, "deployment"), "file");
	const char *root = c->deployment->source_root;
	struct notes n = {.list = json_array(), .path = ".github"};
	if (file != NULL && *file != '/' && *file != '\0') {
		_cleanup_free_ char *path = fs_join(root != NULL ? root : "", file);
		n.path = file;
		if (yaml_read_file(path, &limits, &n.file, NULL) < 0)
			n.file = NULL;
	}
	note_left_over(&n, outcome->report);
	note_checks(&n, outcome);
	note_warnings(&n, outcome->report);
	yaml_doc_free(n.file);
	return n.list;
}
