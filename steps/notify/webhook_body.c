/* The body of a webhook, as schemas/webhook.json says it: what the report holds, bounded, and each string masked. */
#include "steps/notify/notify_priv.h"
#include "base/core/clock.h"
#include "base/core/shown.h"

enum { ROWS_MAX = 200, STRING_MAX = 4000 };

static void set_shown(json_t *object, const char *key, const char *text)
{
	if (text == NULL)
		return;
	_cleanup_free_ char *shown = shown_text(text, strlen(text), STRING_MAX);
	json_set_string(object, key, shown);
}

static void set_time(json_t *object, const char *key, int64_t wall_ms)
{
	char text[CLOCK_TEXT_SIZE];
	if (wall_ms > 0)
		json_object_set_new(object, key, json_string(clock_rfc3339(wall_ms, text)));
}

static const char *state_of(const struct step_outcome *outcome)
{
	switch (outcome->state) {
	case OUTCOME_COMMITTED:
		return "committed";
	case OUTCOME_UNDONE:
		return "undone";
	case OUTCOME_HELD:
		return "held";
	case OUTCOME_REFUSED:
	default:
		return "refused";
	}
}

static json_t *deployment_of(const struct step_context *c, const struct step_outcome *outcome)
{
	const struct step_deployment *d = c->deployment;
	const json_t *doc = json_get_object(outcome->report, "deployment");
	json_t *out = json_pack("{s:s, s:s, s:s, s:i, s:b, s:b}", "name", d->name, "environment", d->environment,
	                        "state", state_of(outcome), "exit_status", outcome->exit_status, "recovered",
	                        outcome->recovered, "dirty", d->dirty);
	set_shown(out, "id", d->id);
	set_shown(out, "reason", outcome->reason);
	set_shown(out, "commit", d->commit);
	set_time(out, "created", json_get_int(doc, "created_ms", 0));
	set_time(out, "decided", json_get_int(doc, "decided_ms", 0));
	return out;
}

/* A list of objects, each with those members of its source that are strings. */
static json_t *rows_of(const json_t *list, const char *const *members)
{
	json_t *out = json_array();
	size_t i;
	json_t *source;
	json_array_foreach((json_t *)(uintptr_t)list, i, source)
	{
		json_t *row = json_object();
		if (i == ROWS_MAX) {
			json_decref(row);
			break;
		}
		for (const char *const *m = members; *m != NULL; m++)
			set_shown(row, *m, json_get_string(source, *m));
		json_array_append_new(out, row);
	}
	return out;
}

static json_t *checks_of(const struct step_outcome *outcome)
{
	_cleanup_json_ json_t *latest = notify_checks(outcome);
	json_t *out = json_array(), *check;
	const char *label;
	json_object_foreach(latest, label, check)
	{
		if (json_array_size(out) == ROWS_MAX)
			break;
		json_t *row = json_object();
		set_shown(row, "check", label);
		json_object_set(row, "ok", json_object_get(check, "ok"));
		json_object_set(row, "tries", json_object_get(check, "try"));
		set_shown(row, "seen", json_get_string(check, "seen"));
		json_array_append_new(out, row);
	}
	return out;
}

json_t *notify_webhook_body(const struct step_context *c, const struct step_outcome *outcome, const char *delivery)
{
	static const char *const change_members[] = {"target", "step_name", "kind",    "path",
	                                             "action", "state",     "summary", NULL},
				 *const left_members[] = {"target", "path", "reason", NULL};
	const struct notify_in *in = c->input;
	const json_t *all = json_get_array(outcome->report, "changes");
	json_t *body = json_pack("{s:i, s:s, s:s, s:o}", "format", NOTIFY_FORMAT, "event", "deployment", "delivery",
	                         delivery, "deployment", deployment_of(c, outcome));
	set_shown(body, "repository", c->deployment->repository);
	set_shown(body, "run_url", c->deployment->run_url);
	set_shown(body, "environment_url", outcome->state == OUTCOME_COMMITTED ? in->environment_url : NULL);
	set_shown(body, "message", in->message);
	json_object_set_new(body, "changes", rows_of(all, change_members));
	json_object_set_new(body, "changes_in_all", json_integer((json_int_t)json_array_size(all)));
	json_object_set_new(body, "checks", checks_of(outcome));
	json_object_set_new(body, "left_over", rows_of(json_get_array(outcome->report, "left_over"), left_members));
	return body;
}
