/* The text of a notification: what happened, from the outcome's report. */
#include "steps/notify/notify_priv.h"
#include "base/core/shown.h"
#include "base/secret/mask.h"

enum { MAX_TEXT = 60000, MAX_ROWS = 60, HEADLINE_MAX = 140, CODE_MAX = 2000 };

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

/* Who did it, where that is not the process that deployed. */
static const char *by_whom(const struct step_outcome *o)
{
	return o->recovered ? " by a recovery" : "";
}

void notify_headline(const struct step_context *c, const struct step_outcome *outcome, struct str *out)
{
	const struct step_deployment *d = c->deployment;
	_cleanup_(str_done) struct str text = STR_INIT(8192);
	str_appendf(&text, "%s to %s: %s%s", d->name, d->environment, verdict(outcome), by_whom(outcome));
	if (outcome->reason != NULL)
		str_appendf(&text, " (%s)", outcome->reason);
	_cleanup_(str_done) struct str masked = STR_INIT(16384);
	mask_apply(mask_process(), str_peek(&text), text.len, &masked);
	size_t len = masked.len;
	if (len > HEADLINE_MAX)
		len = str_whole_characters(str_peek(&masked), HEADLINE_MAX - 3);
	str_append_safe(out, str_peek(&masked), len);
	if (len < masked.len)
		str_append(out, "...");
}

void notify_marker(const struct step_context *c, struct str *out)
{
	str_appendf(out, "<!-- davit %s.%s -->", c->deployment->name, c->deployment->environment);
}

static void code(struct str *out, const char *text)
{
	shown_code(out, text, CODE_MAX);
}

static const char *what_of(const json_t *change)
{
	const char *summary = json_get_string(change, "summary");
	return summary != NULL ? summary : "";
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
		const char *action = json_get_string(change, "action");
		_cleanup_free_ char *what =
			xasprintf("%s%s%s", action != NULL ? action : "",
		                  action != NULL && *what_of(change) != '\0' ? ": " : "", what_of(change));
		const char *const cells[] = {json_get_string(change, "target"), json_get_string(change, "step_name"),
		                             json_get_string(change, "path"), what, json_get_string(change, "state")};
		for (size_t n = 0; n < ARRAY_SIZE(cells); n++) {
			str_append(out, n == 0 ? "| " : " | ");
			code(out, cells[n]);
		}
		str_append(out, " |\n");
	}
	if (rows > MAX_ROWS)
		str_appendf(out, "\n… and %zu more.\n", rows - MAX_ROWS);
}

json_t *notify_checks(const struct step_outcome *outcome)
{
	size_t i;
	json_t *event, *latest = json_object();
	json_array_foreach(json_get_array(outcome->report, "events"), i, event)
	{
		const char *kind = json_get_string(event, "kind");
		json_t *data = json_get_object(event, "data");
		if (data == NULL)
			data = event;
		const char *label = json_get_string(data, "check");
		if (label == NULL || (kind != NULL && strcmp(kind, "baseline") == 0))
			continue;
		json_t *one = json_pack("{s:b, s:I}", "ok", json_get_bool(data, "ok", false), "try",
		                        (json_int_t)json_get_int(data, "try", 0));
		json_set_string(one, "seen", json_get_string(data, "seen"));
		if (json_object_get(event, "step") != NULL)
			json_object_set(one, "step", json_object_get(event, "step"));
		json_object_set_new(latest, label, one);
	}
	return latest;
}

static void checks(const struct step_outcome *outcome, struct str *out)
{
	_cleanup_json_ json_t *latest = notify_checks(outcome);
	const char *label;
	json_t *check;
	if (json_object_size(latest) > 0)
		str_append(out, "\n| check | result | seen | tries |\n| --- | --- | --- | --- |\n");
	json_object_foreach(latest, label, check)
	{
		str_append(out, "| ");
		code(out, label);
		str_appendf(out, " | %s | ", json_get_bool(check, "ok", false) ? "ok" : "failed");
		code(out, json_get_string(check, "seen"));
		str_appendf(out, " | %lld |\n", (long long)json_get_int(check, "try", 0));
	}
}

static void leftovers(const json_t *list, struct str *out)
{
	size_t i;
	json_t *left;
	if (json_array_size(list) > 0)
		str_append(out, "\n**Not as it was before:**\n\n");
	json_array_foreach((json_t *)(uintptr_t)list, i, left)
	{
		if (i == MAX_ROWS) {
			str_appendf(out, "- … and %zu more.\n", json_array_size(list) - i);
			break;
		}
		_cleanup_free_ char *place = NULL;
		const char *target = json_get_string(left, "target"), *path = json_get_string(left, "path");
		const char *reason = json_is_string(left) ? json_string_value(left) : json_get_string(left, "reason");
		if (target != NULL || path != NULL)
			place = xasprintf("%s%s%s", target != NULL ? target : "",
			                  target != NULL && path != NULL ? " " : "", path != NULL ? path : "");
		str_append(out, "- ");
		code(out, place);
		str_append(out, place != NULL ? ": " : "");
		code(out, reason);
		str_append(out, "\n");
	}
}

static void facts(const struct step_context *c, const struct step_outcome *outcome, struct str *out)
{
	const struct step_deployment *d = c->deployment;
	str_appendf(out, "\nDeployment `%s`", d->id != NULL ? d->id : "");
	if (d->commit != NULL)
		str_appendf(out, " of %.12s%s", d->commit, d->dirty ? " with uncommitted files" : "");
	if (d->run_url != NULL) {
		str_append(out, ", ");
		shown_link(out, "the run", d->run_url);
	}
	if (outcome->recovered)
		str_append(out, ". The process that deployed was gone; a recovery ended its work");
	if (outcome->state == OUTCOME_HELD)
		str_appendf(out, ". To go on: `davit rollback %s`, or `davit unlock %s.%s --accept`",
		            d->id != NULL ? d->id : "", d->name, d->environment);
	str_append(out, ".\n");
}

void notify_text(const struct step_context *c, const struct step_outcome *outcome, struct str *out)
{
	const struct notify_in *in = c->input;
	const struct step_deployment *d = c->deployment;
	_cleanup_(str_done) struct str text = STR_INIT(MAX_TEXT);
	if (in->message != NULL)
		str_appendf(&text, "%s\n\n", in->message);
	str_appendf(&text, "**%s to %s: %s%s**\n", d->name, d->environment, verdict(outcome), by_whom(outcome));
	if (outcome->reason != NULL) {
		str_append(&text, "\n");
		code(&text, outcome->reason);
		str_append(&text, "\n");
	}
	leftovers(json_get_array(outcome->report, "left_over"), &text);
	checks(outcome, &text);
	changes(json_get_array(outcome->report, "changes"), &text);
	/* Text that reached its ceiling takes nothing more, so that a table may lack its end. */
	facts(c, outcome, &text);
	mask_apply(mask_process(), str_peek(&text), text.len, out);
}
