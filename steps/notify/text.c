#include "steps/notify/notify.h"
#include "base/secret/mask.h"

enum { MAX_TEXT = 60000, MAX_ROWS = 60 };

static const char *verdict(const struct step_outcome *o)
{
	switch (o->state) {
	case OUTCOME_COMMITTED:
		return "deployed";
	case OUTCOME_UNDONE:
		return o->exit_status == 130 ? "cancelled and rolled back" : "failed and rolled back";
	case OUTCOME_HELD:
		return "stopped half way: a person is needed";
	case OUTCOME_REFUSED:
	default:
		return "refused: nothing was changed";
	}
}

void notify_headline(const struct step_context *c, const struct step_outcome *outcome, struct str *out)
{
	const struct step_deployment *d = c->deployment;
	_cleanup_(str_done) struct str text = STR_INIT(8192);
	str_appendf(&text, "%s to %s: %s", d->name, d->environment, verdict(outcome));
	if (outcome->reason != NULL)
		str_appendf(&text, " (%s)", outcome->reason);
	_cleanup_(str_done) struct str masked = STR_INIT(16384);
	mask_apply(mask_process(), str_peek(&text), text.len, &masked);
	size_t len = masked.len;
	if (len > 140) {
		len = 137;
		while (len > 0 && ((unsigned char)masked.data[len] & 0xC0) == 0x80)
			len--;
	}
	str_append_safe(out, str_peek(&masked), len);
	if (len < masked.len)
		str_append(out, "...");
}

void notify_marker(const struct step_context *c, struct str *out)
{
	str_appendf(out, "<!-- davit %s.%s -->", c->deployment->name, c->deployment->environment);
}

/* A cell of a table: no line breaks, no bars, no markup that could break out of a code span. */
static void cell(struct str *out, const char *text)
{
	for (const char *p = text != NULL ? text : ""; *p != '\0'; p++) {
		if (*p == '|')
			str_append(out, "\\|");
		else if (*p == '<')
			str_append(out, "&lt;");
		else if (*p == '`')
			str_append_c(out, '\'');
		else
			str_append_c(out, (unsigned char)*p < 0x20 ? ' ' : *p);
	}
}

static void changes(const json_t *list, struct str *out)
{
	size_t i, rows = 0;
	json_t *change;
	json_array_foreach((json_t *)(uintptr_t)list, i, change)
	{
		if (rows == 0)
			str_append(out,
			           "\n| target | step | path | change | state |\n| --- | --- | --- | --- | --- |\n");
		if (rows++ >= MAX_ROWS)
			continue;
		const char *action = json_get_string(change, "action"), *summary = json_get_string(change, "summary");
		_cleanup_free_ char *what =
			xasprintf("%s%s%s", action != NULL ? action : "", action != NULL && summary != NULL ? ": " : "",
		                  summary != NULL ? summary : "");
		const char *const cells[] = {json_get_string(change, "target"), json_get_string(change, "step_name"),
		                             json_get_string(change, "path"), what, json_get_string(change, "state")};
		for (size_t n = 0; n < ARRAY_SIZE(cells); n++) {
			str_append(out, n == 0 ? "| " : " | ");
			cell(out, cells[n]);
		}
		str_append(out, " |\n");
	}
	if (rows > MAX_ROWS)
		str_appendf(out, "\n… and %zu more.\n", rows - MAX_ROWS);
}

/* The last probe of each check, after the changes and, where there was one, after the rollback. */
static void probes(const json_t *list, struct str *out)
{
	size_t i;
	json_t *event, *latest = json_object(), *value;
	const char *label;
	json_array_foreach((json_t *)(uintptr_t)list, i, event)
	{
		const char *kind = json_get_string(event, "kind");
		json_t *data = json_get_object(event, "data");
		if (data == NULL)
			data = event;
		label = json_get_string(data, "check");
		if (label != NULL && (kind == NULL || strcmp(kind, "baseline") != 0))
			json_object_set(latest, label, data);
	}
	if (json_object_size(latest) > 0)
		str_append(out, "\n| check | result | seen | tries |\n| --- | --- | --- | --- |\n");
	json_object_foreach(latest, label, value)
	{
		str_append(out, "| ");
		cell(out, label);
		str_appendf(out, " | %s | ", json_get_bool(value, "ok", false) ? "ok" : "failed");
		cell(out, json_get_string(value, "seen"));
		str_appendf(out, " | %lld |\n", (long long)json_get_int(value, "try", 0));
	}
	json_decref(latest);
}

static void leftovers(const json_t *list, struct str *out)
{
	size_t i;
	json_t *left;
	if (json_array_size(list) > 0)
		str_append(out, "\n**Not as it was before:**\n\n");
	json_array_foreach((json_t *)(uintptr_t)list, i, left)
	{
		str_append(out, "- ");
		if (json_is_string(left)) {
			cell(out, json_string_value(left));
		} else {
			cell(out, json_get_string(left, "target"));
			str_append(out, " ");
			cell(out, json_get_string(left, "path"));
			str_append(out, ": ");
			cell(out, json_get_string(left, "reason") != NULL ? json_get_string(left, "reason")
			                                                  : json_get_string(left, "note"));
		}
		str_append(out, "\n");
	}
}

static const json_t *member(const json_t *report, const char *const *names)
{
	for (; *names != NULL; names++) {
		json_t *list = json_get_array(report, *names);
		if (list != NULL)
			return list;
	}
	return NULL;
}

void notify_text(const struct step_context *c, const struct step_outcome *outcome, struct str *out)
{
	static const char *const change_names[] = {"changes", NULL}, *const probe_names[] = {"events", NULL},
				 *const left_names[] = {"left_over", NULL};
	const struct notify_in *in = c->input;
	const struct step_deployment *d = c->deployment;
	_cleanup_(str_done) struct str text = STR_INIT(MAX_TEXT);
	if (in->message != NULL)
		str_appendf(&text, "%s\n\n", in->message);
	str_appendf(&text, "**%s to %s: %s**\n", d->name, d->environment,
	            outcome != NULL ? verdict(outcome) : "how it ended");
	if (outcome != NULL && outcome->reason != NULL) {
		str_append(&text, "\n");
		cell(&text, outcome->reason);
		str_append(&text, "\n");
	}
	if (outcome != NULL && outcome->report != NULL) {
		leftovers(member(outcome->report, left_names), &text);
		probes(member(outcome->report, probe_names), &text);
		changes(member(outcome->report, change_names), &text);
	}
	str_appendf(&text, "\nDeployment `%s`", d->id != NULL ? d->id : "");
	if (d->commit != NULL)
		str_appendf(&text, " of %.12s%s", d->commit, d->dirty ? " with uncommitted files" : "");
	if (d->run_url != NULL)
		str_appendf(&text, ", [the run](%s)", d->run_url);
	if (outcome != NULL && outcome->state == OUTCOME_HELD)
		str_appendf(&text, ". To go on: `davit rollback %s`, or `davit unlock %s --accept`",
		            d->id != NULL ? d->id : "", d->environment);
	str_append(&text, ".\n");
	mask_apply(mask_process(), str_peek(&text), text.len, out);
}
