/* The summary page of a workflow's step, in Markdown. */
#include "agent/report/report.h"
#include "agent/report/report_priv.h"

#include <string.h>

#include "base/core/clock.h"
#include "base/secret/mask.h"

enum { SUMMARY_MAX = 900 << 10, CHANGES_MAX = 200, CELL_MAX = 16 << 10, TASKS_MAX = 100 };

/* Masked before it is escaped; one line, no Markdown, no HTML. */
void report_append_plain(struct str *out, const char *text)
{
	struct str masked _cleanup_(str_done) = STR_INIT(CELL_MAX);
	mask_apply(mask_process(), text, strlen(text), &masked);
	for (const char *p = str_peek(&masked); *p != '\0'; p++) {
		if (*p == '<')
			str_append(out, "&lt;");
		else if (*p == '&')
			str_append(out, "&amp;");
		else if ((unsigned char)*p < ' ')
			str_append_c(out, ' ');
		else if (strchr("\\`*_[]|#~", *p) != NULL)
			str_appendf(out, "\\%c", *p);
		else
			str_append_c(out, *p);
	}
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_get_string(object, key);
	return text ? text : "";
}

static void append_row(struct str *out, const json_t *change)
{
	str_append(out, "| ");
	report_append_plain(out, text_of(change, "action"));
	str_append(out, " | ");
	report_append_plain(out, text_of(change, "target"));
	str_append(out, " | ");
	if (strcmp(text_of(change, "kind"), "command") != 0 || text_of(change, "summary")[0] == '\0')
		report_append_plain(out, text_of(change, "path"));
	if (text_of(change, "summary")[0] != '\0') {
		str_append(out, strcmp(text_of(change, "kind"), "command") == 0 ? "" : ": ");
		report_append_plain(out, text_of(change, "summary"));
	}
	str_append(out, " | ");
	report_append_plain(out, text_of(change, "state"));
	str_append(out, " |\n");
}

static void append_changes(struct str *out, const json_t *changes, int64_t only_step)
{
	size_t i, shown = 0, hidden = 0;
	json_t *change;
	json_array_foreach((json_t *)changes, i, change)
	{
		if (only_step >= 0 && json_get_int(change, "step", -1) != only_step)
			continue;
		if (shown == CHANGES_MAX) {
			hidden++;
			continue;
		}
		if (shown++ == 0)
			str_append(out, "\n| change | target | what | state |\n| --- | --- | --- | --- |\n");
		append_row(out, change);
	}
	if (hidden > 0)
		str_appendf(out, "\nand %zu more\n", hidden);
}

json_t *report_planned_changes(const json_t *report)
{
	json_t *all = json_array();
	size_t i;
	json_t *step;
	json_array_foreach(json_object_get(report, "plan"), i, step)
		json_array_extend(all, json_object_get(step, "changes"));
	return all;
}

static void append_left_over(struct str *out, const json_t *report)
{
	size_t i;
	json_t *item;
	json_array_foreach(json_object_get(report, "left_over"), i, item)
	{
		str_append(out, i == 0 ? "\nNot as it was:\n\n- " : "- ");
		report_append_plain(out, text_of(item, "target"));
		str_append(out, " ");
		report_append_plain(out, text_of(item, "path"));
		str_append(out, ": ");
		report_append_plain(out, text_of(item, "reason"));
		str_append(out, "\n");
	}
}

static void append_faults(struct str *out, const json_t *faults)
{
	size_t i;
	json_t *fault;
	json_array_foreach((json_t *)faults, i, fault)
	{
		str_append(out, i == 0 ? "\n- " : "- ");
		if (json_get_int(fault, "line", 0) > 0)
			str_appendf(out, "line %lld: ", (long long)json_get_int(fault, "line", 0));
		report_append_plain(out, text_of(fault, "at"));
		str_append(out, ": ");
		report_append_plain(out, text_of(fault, "text"));
		if (text_of(fault, "hint")[0] != '\0') {
			str_append(out, " (");
			report_append_plain(out, text_of(fault, "hint"));
			str_append(out, ")");
		}
		str_append(out, "\n");
	}
}

/* Makes a valid task name for mermaid, which has no quoting. */
static void append_task(struct str *out, const char *name, const char *tag, int64_t from, int64_t to)
{
	struct str masked _cleanup_(str_done) = STR_INIT(CELL_MAX);
	mask_apply(mask_process(), name, strlen(name), &masked);
	str_append(out, "  ");
	for (size_t i = 0; i < masked.len && i < 60; i++) {
		unsigned char c = (unsigned char)str_peek(&masked)[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
		             c == '.' || c == '_';
		str_append_c(out, plain ? (char)c : ' ');
	}
	str_appendf(out, " :%s, %lld, %lld\n", tag, (long long)from, (long long)MAX(to, from + 1));
}

/* The steps of a decided deployment along their time, as GitHub's pages draw it. */
static void append_timeline(struct str *out, const json_t *report)
{
	const json_t *deployment = json_object_get(report, "deployment");
	int64_t decided = json_get_int(deployment, "decided_ms", 0), last = 0;
	size_t i, count = 0;
	json_t *step;
	if (decided == 0)
		return;
	json_array_foreach(json_object_get(report, "steps"), i, step)
	{
		int64_t from = json_get_int(step, "started_ms", 0), to = json_get_int(step, "ended_ms", decided);
		if (from == 0 || count == TASKS_MAX)
			continue;
		if (count++ == 0)
			str_append(out, "\n```mermaid\ngantt\n  dateFormat x\n  axisFormat %M:%S\n");
		append_task(out, text_of(step, "name")[0] ? text_of(step, "name") : text_of(step, "step"),
		            strcmp(text_of(step, "state"), "failed") == 0 ? "crit" : "done", from, to);
		last = MAX(last, to);
	}
	if (count == 0)
		return;
	if (strcmp(text_of(deployment, "state"), "undone") == 0 || strcmp(text_of(deployment, "state"), "held") == 0)
		append_task(out, "taking back", "active", last, decided);
	str_append(out, "```\n");
}

/* What to do where people are asked: the commands are put together from ids alone. */
static void append_parked(struct str *out, const json_t *deployment)
{
	char until[CLOCK_TEXT_SIZE];
	const json_t *asked = json_object_get(deployment, "parked");
	int64_t need = json_get_int(asked, "need", 1);
	str_appendf(out, "\nNothing is changed and nothing is locked. Until %s it waits for %lld approval%s",
	            clock_rfc3339(json_get_int(asked, "until_ms", 0), until), (long long)need, need == 1 ? "" : "s");
	size_t i;
	json_t *name;
	json_array_foreach(json_object_get(asked, "by"), i, name)
	{
		str_append(out, i == 0 ? " of " : ", ");
		report_append_plain(out, json_string_value(name));
	}
	str_append(out, ".");
	if (text_of(asked, "message")[0] != '\0') {
		str_append(out, " ");
		report_append_plain(out, text_of(asked, "message"));
	}
	str_append(out, "\n\nOn ");
	report_append_plain(out, text_of(deployment, "host"));
	str_append(out, ", as ");
	report_append_plain(out, text_of(deployment, "user"));
	str_appendf(out, ":\n\n```sh\ndavit approvals %s\ndavit approve %s --key FILE\n```\n",
	            text_of(deployment, "id"), text_of(deployment, "id"));
}

char *report_summary(const char *title, const json_t *report, const json_t *faults, const json_t *findings,
                     const char *state, const char *digest, const char *reason)
{
	struct str out _cleanup_(str_done) = STR_INIT(SUMMARY_MAX);
	const json_t *deployment = json_object_get(report, "deployment");
	bool planned = state != NULL && strcmp(state, "planned") == 0,
	     parked = state != NULL && strcmp(state, "parked") == 0;
	json_t *changes _cleanup_json_ =
		planned || parked ? report_planned_changes(report) : json_incref(json_object_get(report, "changes"));
	size_t steps = json_array_size(json_object_get(report, "steps"));
	if (json_array_size(changes) == 0 && json_array_size(findings) == 0 && reason == NULL && !planned &&
	    state == NULL)
		return NULL;
	str_append(&out, "### davit ");
	report_append_plain(&out, title);
	if (state != NULL) {
		str_append(&out, ": ");
		if (text_of(deployment, "name")[0] != '\0')
			str_appendf(&out, "%s.%s ", text_of(deployment, "name"), text_of(deployment, "environment"));
		report_append_plain(&out, state);
	}
	str_append(&out, "\n");
	if (reason != NULL) {
		str_append(&out, "\n");
		report_append_plain(&out, reason);
		str_append(&out, "\n");
	}
	append_faults(&out, faults);
	report_append_findings_markdown(&out, findings);
	/* The steps of a job share one report: each shows its own part, the deciding one all of it. */
	bool of_job = text_of(deployment, "job_key")[0] != '\0' && strcmp(text_of(deployment, "state"), "open") == 0;
	append_changes(&out, changes, of_job && !planned && steps > 0 ? (int64_t)steps - 1 : -1);
	if (planned && json_array_size(changes) == 0)
		str_append(&out, "\nNothing to change.\n");
	if (parked)
		append_parked(&out, deployment);
	append_left_over(&out, report);
	if (!planned)
		append_timeline(&out, report);
	if (digest != NULL && *digest != '\0')
		str_appendf(&out, "\nPlan `%s`\n", digest);
	if (text_of(deployment, "id")[0] != '\0' && !planned)
		str_appendf(&out, "\nDeployment `%s`\n", text_of(deployment, "id"));
	str_append_c(&out, '\n');
	return str_take(&out);
}
