/* record: what the service is told of a step, from its beginning to its result. */
#include "agent/worker/action.h"

#include "agent/service/wire.h"

#include "base/core/clock.h"
#include "base/core/rand.h"
#include "base/sys/fs.h"

#include <fcntl.h>

enum { LINES_MAX = 64 << 20 };

static const char *const context_names[] = {"success", "success", "failure", "cancelled", "skipped", "success"};
static const char *const wire_names[] = {"succeeded", "succeededWithIssues", "failed", "canceled", "skipped",
                                         "succeeded"};

const char *result_context(enum result r)
{
	return context_names[r];
}

const char *result_wire(enum result r)
{
	return wire_names[r];
}

enum result result_merge(enum result current, enum result incoming)
{
	if (current == RESULT_NONE)
		return incoming;
	if (incoming == RESULT_NONE || current > RESULT_FAILED)
		return current;
	return MAX(current, incoming);
}

static struct record *make(const char *name)
{
	struct record *r = xcalloc(1, sizeof(*r));
	*r = (struct record){.top = r,
	                     .name = xstrdup(name),
	                     .result = RESULT_NONE,
	                     .outcome = RESULT_NONE,
	                     .command_result = RESULT_NONE,
	                     .annotations = json_array(),
	                     .outputs = json_object(),
	                     .output_names = json_object()};
	return r;
}

struct record *record_embedded(struct record *parent, const char *name)
{
	struct record *r = make(name);
	r->parent = parent;
	r->top = parent->top;
	r->stage = parent->stage;
	r->deadline_mono_ms = parent->deadline_mono_ms;
	r->name_final = true;
	rand_uuid4(r->id); /* its summary is told by it; the step's own has that of the top */
	return r;
}

struct record *record_new(struct job *j, const char *id, const char *name)
{
	struct record *r = make(name);
	r->number = ++j->counter;
	r->log.block = (struct str)STR_INIT(LINES_MAX);
	if (id != NULL && strlen(id) < sizeof(r->id))
		memcpy(r->id, id, strlen(id) + 1);
	else
		rand_uuid4(r->id);
	j->records = xgrow(j->records, &j->record_cap, j->record_count + 1, sizeof(j->records[0]));
	j->records[j->record_count++] = r;
	return r;
}

void record_free(struct record *r)
{
	str_done(&r->log.block);
	json_decref(r->annotations);
	json_decref(r->outputs);
	json_decref(r->output_names);
	json_decref(r->env);
	json_decref(r->own_env);
	free(r->name);
	free(r->stage_condition);
	free(r->type);
	free(r->action_name);
	free(r->ref);
	free(r->stopped);
	if (r->action != NULL && r->action->release != NULL && !r->shares_memory)
		r->action->release(r->memory);
	free(r);
}

/* What both services are told of a step in the background, or of one that waits for such; NULL: it is neither. */
static json_t *background_members(const struct record *r)
{
	const json_t *step = r->stage == STAGE_MAIN ? r->step : NULL, *ids = wire_get(step, "stepIds");
	const char *control = wire_string(step, "controlType"), *group = wire_string(step, "parallelGroupId");
	if (!r->background && control == NULL)
		return NULL;
	json_t *members = json_object();
	if (r->background)
		json_object_set_new(members, "is_background", json_true());
	if (control != NULL)
		json_object_set_new(members, "background_control_type", json_string(control));
	if (control != NULL && json_array_size(ids) > 0)
		json_object_set(members, "background_control_step_ids", (json_t *)(uintptr_t)ids);
	if (group != NULL)
		json_object_set_new(members, "parallel_group_id", json_string(group));
	return members;
}

/* Its own name, by the workflow or the runner. NULL: it has none. */
static const char *reference_of(const struct job *j, const struct record *r)
{
	if (r == j->setup)
		return "JobExtension_Init";
	if (r == j->complete)
		return "JobExtension_Final";
	return r->stage == STAGE_MAIN ? r->reference_name : NULL;
}

void record_tell(struct job *j, const struct record *r)
{
	static const enum results_conclusion conclusions[] = {
		RESULTS_SUCCESS, RESULTS_SUCCESS, RESULTS_FAILURE, RESULTS_CANCELLED, RESULTS_SKIPPED, RESULTS_NONE,
	};
	if ((!reports_any(j->reports) && !j->watched) || r->parent != NULL)
		return;
	_cleanup_free_ char *name = job_masked(j, r->name);
	console_step(j, r, name);
	if (!reports_any(j->reports))
		return;
	_cleanup_json_ json_t *background = background_members(r);
	struct results_step step = {
		.background = background,
		.id = r->id,
		.number = r->number,
		.name = name,
		.started_wall_ms = r->started_wall_ms,
		.completed_wall_ms = r->completed_wall_ms,
		.conclusion = r->completed_wall_ms != 0 ? conclusions[r->result] : RESULTS_NONE,
		.status = r->completed_wall_ms != 0 ? RESULTS_COMPLETED
	                  : r->started_wall_ms != 0 ? RESULTS_IN_PROGRESS
	                                            : RESULTS_PENDING,
		.result = r->completed_wall_ms != 0 ? result_wire(r->result) : NULL,
		.reference = reference_of(j, r),
		.annotations = r->annotations,
	};
	reports_step(j->reports, &step);
}

/* For `agent status`: the job does not depend on it. */
static void note_progress(const struct job *j, const struct record *r)
{
	const char *path = job_setting(j, "progress");
	if (path[0] == '\0' || r->parent != NULL)
		return;
	_cleanup_free_ char *name = job_masked(j, r->name);
	_cleanup_json_ json_t *progress = json_pack("{s:s, s:i}", "tracking_id", j->tracking_id, "number", r->number);
	json_set_string(progress, "name", name);
	_cleanup_free_ char *text = json_text(progress);
	(void)fs_write_replace(AT_FDCWD, path, text, strlen(text), 0600, NULL);
}

void record_start(struct job *j, struct record *r)
{
	r->started_wall_ms = clock_wall_ms();
	r->echo = j->debug;
	record_tell(j, r);
	note_progress(j, r);
}

void record_complete(struct job *j, struct record *r, enum result result)
{
	r->result = result;
	r->completed_wall_ms = clock_wall_ms();
	if (r->started_wall_ms == 0)
		r->started_wall_ms = r->completed_wall_ms;
	if (r->parent != NULL)
		return;
	r->completion = ++j->completions;
	record_close_log(j, r);
	record_tell(j, r);
}

json_t *record_result(struct job *j, const struct record *r)
{
	char text[CLOCK_TEXT_SIZE];
	if (r->completed_wall_ms == 0)
		return NULL;
	_cleanup_free_ char *name = job_masked(j, r->name);
	json_t *s = json_pack("{s:s, s:i, s:s, s:s, s:O}", "external_id", r->id, "number", r->number, "status",
	                      "completed", "conclusion", result_wire(r->result), "annotations", r->annotations);
	json_object_set_new(s, "name", json_string_lossy(name, strlen(name)));
	_cleanup_json_ json_t *background = background_members(r);
	json_object_del(background, "parallel_group_id"); /* the run service does not take it */
	json_object_update(s, background);
	record_set_masked(j, s, "action_name", r->action_name);
	record_set_masked(j, s, "ref", r->ref);
	record_set_masked(j, s, "type", r->type);
	json_object_set_new(s, "started_at", json_string(clock_rfc3339(r->started_wall_ms, text)));
	json_object_set_new(s, "completed_at", json_string(clock_rfc3339(r->completed_wall_ms, text)));
	return s;
}
