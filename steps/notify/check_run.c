/* A check run on the commit, with an annotation for each thing that is not as it should be. It is found again by its external id. */
#include "steps/notify/notify_priv.h"
#include "base/core/clock.h"

enum { BATCH = 50, TEXT_MAX = 64 << 10, HEADLINE_MAX = 2048, LISTED = 100 };

static const char permission[] = "checks: write";

static bool is_asked(const struct notify_in *in)
{
	return in->check_run;
}

static char *probe(const struct step_context *c)
{
	return xasprintf("/repos/%s/check-runs", c->deployment->repository);
}

static const char *conclusion_of(const struct step_outcome *outcome)
{
	switch (outcome->state) {
	case OUTCOME_COMMITTED:
		return "success";
	case OUTCOME_UNDONE:
		return outcome->exit_status == 130 ? "cancelled" : "failure";
	case OUTCOME_HELD:
		return "action_required";
	case OUTCOME_REFUSED:
	default:
		return "failure";
	}
}

/* Whole seconds, as GitHub shows them. */
static void set_time(json_t *run, const char *key, int64_t wall_ms)
{
	char text[CLOCK_TEXT_SIZE];
	if (wall_ms > 0)
		json_object_set_new(run, key, json_stringf("%.19sZ", clock_rfc3339(wall_ms, text)));
}

static json_t *run_of(const struct step_context *c, const struct step_outcome *outcome)
{
	const struct step_deployment *d = c->deployment;
	const json_t *doc = json_get_object(outcome->report, "deployment");
	_cleanup_(str_done) struct str headline = STR_INIT(HEADLINE_MAX), text = STR_INIT(TEXT_MAX);
	json_t *run = json_pack("{s:o, s:s, s:s, s:s}", "name", json_stringf("%s to %s", d->name, d->environment),
	                        "head_sha", d->commit, "status", "completed", "conclusion", conclusion_of(outcome));
	json_set_string(run, "details_url", d->run_url);
	json_set_string(run, "external_id", d->id);
	set_time(run, "started_at", json_get_int(doc, "created_ms", 0));
	set_time(run, "completed_at", json_get_int(doc, "decided_ms", clock_wall_ms()));
	notify_headline(c, outcome, &headline);
	notify_text(c, outcome, &text);
	json_t *output = json_object();
	json_set_string(output, "title", str_peek(&headline));
	json_set_string(output, "summary", str_peek(&text));
	json_object_set_new(run, "output", output);
	return run;
}

static void compose(const struct step_context *c, const struct step_outcome *outcome, json_t *messages)
{
	const struct step_deployment *d = c->deployment;
	if (d->commit == NULL)
		return;
	_cleanup_free_ char *key = xasprintf("%s:%s", d->repository, d->id != NULL ? d->id : "");
	json_t *message = notify_message(c, messages, notify_check_run.name, key);
	json_object_set_new(message, "run", run_of(c, outcome));
	json_object_set_new(message, "annotations", notify_annotations(c, outcome));
}

static enum notify_sent find(const struct step_context *c, const json_t *run, json_int_t *ret, size_t *ret_annotations,
                             struct err *err)
{
	const char *own = json_get_string(run, "external_id");
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_free_ char *path = xasprintf("/repos/%s/commits/%s/check-runs?filter=all&per_page=%d",
	                                      c->deployment->repository, json_get_string(run, "head_sha"), LISTED);
	size_t i;
	json_t *there;
	*ret = 0;
	if (own == NULL || *own == '\0')
		return NOTIFY_SENT;
	enum notify_sent sent = notify_ask(c, "GET", path, NULL, "the check runs", permission, &answer, err);
	json_array_foreach(json_get_array(answer, "check_runs"), i, there)
	{
		const char *id = json_get_string(there, "external_id");
		if (*ret != 0 || id == NULL || strcmp(id, own) != 0)
			continue;
		*ret = json_get_int(there, "id", 0);
		*ret_annotations =
			(size_t)MAX(json_get_int(json_get_object(there, "output"), "annotations_count", 0), (int64_t)0);
	}
	return sent;
}

/* One request: the run, and the next annotations. *at: how many GitHub has. */
static enum notify_sent put(const struct step_context *c, json_int_t *id, json_t *run, const json_t *annotations,
                            size_t *at, struct err *err)
{
	_cleanup_json_ json_t *made = NULL;
	_cleanup_free_ char *all = probe(c), *one = xasprintf("%s/%lld", all, (long long)*id);
	json_t *output = json_get_object(run, "output"), *batch = json_array();
	size_t from = *at;
	for (; *at < json_array_size(annotations) && *at < from + BATCH; ++*at)
		json_array_append(batch, json_array_get(annotations, *at));
	json_object_set_new(output, "annotations", batch);
	enum notify_sent sent = notify_ask(c, *id != 0 ? "PATCH" : "POST", *id != 0 ? one : all, run, "the check run",
	                                   permission, &made, err);
	if (sent == NOTIFY_SENT && *id == 0)
		*id = json_get_int(made, "id", 0);
	return sent;
}

static enum notify_sent send(const struct step_context *c, const json_t *message, struct err *err)
{
	const json_t *annotations = json_get_array(message, "annotations");
	_cleanup_json_ json_t *run = json_deep_copy(json_get_object(message, "run"));
	json_int_t id = 0;
	size_t at = 0;
	if (!notify_is_ours(c, message))
		return NOTIFY_NOT_OURS;
	if (json_get_string(run, "head_sha") == NULL || json_get_object(run, "output") == NULL) {
		err_set(err, ERR_INVALID, "the check run: the kept message is not whole");
		return NOTIFY_NEVER;
	}
	enum notify_sent sent = find(c, run, &id, &at, err);
	/* The head does not change. */
	do {
		if (id != 0)
			json_object_del(run, "head_sha");
		if (sent == NOTIFY_SENT)
			sent = put(c, &id, run, annotations, &at, err);
	} while (sent == NOTIFY_SENT && at < json_array_size(annotations));
	return sent;
}

const struct notify_channel notify_check_run = {
	.name = "check-run",
	.said = "a check run",
	.permission = permission,
	.pointer = "/check_run",
	.is_asked = is_asked,
	.probe = probe,
	.compose = compose,
	.send = send,
};
