#include "agent/review/drift.h"

#include "agent/report/report.h"
#include "agent/review/review_priv.h"
#include "base/core/clock.h"
#include "base/core/shown.h"
#include "providers/github/issue.h"

int review_drift_check(const struct invocation *job, struct err *err)
{
	return review_check_job(job, "an issue about drift", err);
}

/* Without what says nothing of the world: commands, and what is only adopted. */
static json_t *only_drift(const json_t *report)
{
	json_t *plan = json_array(), *step, *change;
	size_t i, k;
	json_array_foreach(json_object_get(report, "plan"), i, step)
	{
		json_t *copy = json_copy(step), *changes = json_array();
		json_array_foreach(json_object_get(step, "changes"), k,
		                   change) if (json_get_bool(change, "drift", false))
			json_array_append(changes, change);
		json_object_set_new(copy, "changes", changes);
		json_object_set_new(copy, "warnings", json_array());
		json_array_append_new(plan, copy);
	}
	return json_pack("{s:o}", "plan", plan);
}

int review_drift_tell(struct deployment_session *s, const struct invocation *job, const json_t *deployment,
                      const struct engine_result *result, int64_t *ret_number, struct err *err)
{
	const char *name = json_get_string(deployment, "name"),
		   *environment = json_get_string(deployment, "environment");
	char now[CLOCK_TEXT_SIZE];
	_cleanup_json_ json_t *report = only_drift(result->report);
	_cleanup_(str_done) struct str note = STR_INIT(4096);
	str_appendf(&note, "Looked at %.16s UTC by ", clock_rfc3339(clock_wall_ms(), now));
	shown_link(&note, "this run", job->run_url);
	str_append(&note, ". Nothing was changed: a deployment does that, or a change of the description.");
	const struct report_plan page = {.title = "Drift",
	                                 .name = name,
	                                 .environment = environment,
	                                 .commit = job->commit,
	                                 .nothing = "No drift: all is as described.",
	                                 .note = str_peek(&note)};
	_cleanup_free_ char *marker = xasprintf("<!-- davit drift %s.%s -->", name, environment);
	_cleanup_free_ char *title = xasprintf("Drift: %s to %s is not as described", name, environment);
	_cleanup_free_ char *text = report_plan_markdown(&page, report, REVIEW_TEXT_MAX);
	const struct rest g = review_rest(s, job);
	const struct issue issue = {.repository = job->repository,
	                            .marker = marker,
	                            .title = title,
	                            .text = text,
	                            .open = result->drift > 0};
	return issue_put(&g, &issue, ret_number, err);
}
