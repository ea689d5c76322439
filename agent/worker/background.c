/* background: steps that run beside the others [5.10]: their slots, and what is waited for and cancelled. */
#include "agent/worker/background.h"

#include "agent/service/wire.h"
#include "agent/worker/action.h"
#include "agent/worker/message.h"

#include <strings.h>

enum { SLOTS = 10, SLOTS_MAX = 100, TURN_MS = 60000, AGAIN_MS = INT_MS + TERM_MS };

static int slots(const struct job *j)
{
	long long said = 0;
	const char *text = job_variable(j, "system.runner.maxbackgroundsteps");
	return text != NULL && str_parse_i64(text, 1, SLOTS_MAX, &said) ? (int)said : SLOTS;
}

/* ---- a step beside the others ---- */

static void run(struct fiber *f, void *context)
{
	struct background *b = context;
	struct job *j = b->job;
	struct record *r = b->record;
	(void)f;
	record_start(j, r);
	bool cancelled =
		b->cancels > 0 || j->cancel.shutdown || (j->cancel.serial != b->queued_at && !step_goes_on(j, r));
	if (!cancelled)
		step_execute(j, r);
	else
		step_end(j, r, RESULT_CANCELED, false);
}

static size_t free_slot(const struct job *j)
{
	bool taken[SLOTS_MAX] = {false};
	for (size_t i = 0; i < j->background_count; i++)
		if (j->backgrounds[i]->running)
			taken[j->backgrounds[i]->slot] = true;
	size_t slot = 0;
	while (slot + 1 < SLOTS_MAX && taken[slot])
		slot++;
	return slot;
}

static void begin_next(struct job *j)
{
	for (size_t i = 0; i < j->background_count && j->background_running < slots(j); i++) {
		struct background *b = j->backgrounds[i];
		struct err err = ERR_INIT;
		if (b->fiber == NULL || b->running || fiber_is_over(b->fiber))
			continue;
		b->slot = free_slot(j);
		b->running = true;
		j->background_running++;
		if (background_resume(b, &err) < 0) {
			record_error(j, b->record, "%s", err.frames[0].text);
			step_end(j, b->record, RESULT_FAILED, false);
			fiber_free(TAKE(b->fiber));
		}
		if (b->fiber == NULL || fiber_is_over(b->fiber)) {
			b->running = false;
			j->background_running--;
		}
	}
}

void background_begin(struct job *j, struct record *r)
{
	struct background *b = xcalloc(1, sizeof(*b));
	*b = (struct background){.job = j,
	                         .record = r,
	                         .queued_at = j->cancel.serial,
	                         .env_set = json_object(),
	                         .paths_added = json_array()};
	j->backgrounds = xgrow(j->backgrounds, &j->background_cap, j->background_count + 1, sizeof(j->backgrounds[0]));
	j->backgrounds[j->background_count++] = b;
	j->background_next = begin_next;
	enum result result = step_begin(j, r);
	if (result != RESULT_NONE) {
		step_end(j, r, result, false);
	} else {
		job_view_take(j, &b->view);
		b->fiber = fiber_new(run, b);
		begin_next(j);
	}
	step_show_env(j);
}

void background_free(struct background *b)
{
	if (b->fiber != NULL)
		fiber_free(b->fiber);
	job_view_done(&b->view);
	json_decref(b->env_set);
	json_decref(b->paths_added);
	free(b);
}

/* ---- how they end ---- */

static bool is_over(const struct background *b)
{
	return b->fiber == NULL || fiber_is_over(b->fiber);
}

/* NULL: it is none of them, or known already. wanted NULL: any. */
static bool is_meant(const struct background *b, const json_t *wanted)
{
	size_t i;
	json_t *name;
	if (b->merged)
		return false;
	json_array_foreach((json_t *)(uintptr_t)wanted, i, name)
	{
		const char *text = json_string_value(name);
		if (text != NULL && b->record->context_name != NULL && strcasecmp(text, b->record->context_name) == 0)
			return true;
	}
	return wanted == NULL;
}

static bool all_over(const struct job *j, const json_t *wanted)
{
	for (size_t i = 0; i < j->background_count; i++)
		if (is_meant(j->backgrounds[i], wanted) && !is_over(j->backgrounds[i]))
			return false;
	return true;
}

/* What is cancelled and goes on, by steps of an action that always run, is cancelled again. */
static int64_t cancel_again(struct job *j)
{
	int64_t now = clock_mono_ms(), next = now + TURN_MS;
	for (size_t i = 0; i < j->background_count; i++) {
		struct background *b = j->backgrounds[i];
		if (b->cancels == 0 || is_over(b))
			continue;
		if (now >= b->again_mono_ms) {
			b->cancels++;
			b->again_mono_ms = now + AGAIN_MS;
		}
		next = MIN(next, b->again_mono_ms);
	}
	return next - now;
}

static void wait_for(struct job *j, const json_t *wanted)
{
	while (!all_over(j, wanted))
		job_turn(j, NULL, 0, cancel_again(j));
}

/* Later steps see from here on what it did. */
static void merge(struct job *j, struct record *waits, struct background *b)
{
	size_t i;
	json_t *path;
	struct err err = ERR_INIT;
	json_object_update(j->global_env, b->env_set);
	json_array_foreach(b->paths_added, i, path)
	{
		if (job_add_path(j, json_string_value(path), &err) < 0 && waits != NULL)
			record_error(j, waits, "%s", err.frames[0].text);
	}
	step_set_outcome(j, b->record);
	b->merged = true;
}

static char *names_of(const struct job *j, const json_t *wanted)
{
	_cleanup_(str_done) struct str out = STR_INIT(1 << 20);
	for (size_t i = 0; i < j->background_count; i++)
		if (is_meant(j->backgrounds[i], wanted))
			str_appendf(&out, "%s%s", out.len > 0 ? ", " : "", j->backgrounds[i]->record->name);
	return str_take(&out);
}

/* Merges in the order of the steps; the worst result. */
static enum result settle(struct job *j, struct record *r, const json_t *wanted)
{
	static const char *const words[] = {"Succeeded", "SucceededWithIssues", "Failed", "Canceled", "Skipped",
	                                    "Succeeded"};
	enum result worst = RESULT_SUCCEEDED;
	for (size_t i = 0; i < j->background_count; i++) {
		struct background *b = j->backgrounds[i];
		if (!is_meant(b, wanted))
			continue;
		merge(j, r, b);
		if (r != NULL)
			record_line(j, r, "  %s: %s", b->record->name, words[b->record->result]);
		if (b->record->result == RESULT_FAILED || (b->record->result == RESULT_CANCELED && b->cancels == 0))
			worst = result_merge(worst, b->record->result);
	}
	return worst;
}

void background_drain(struct job *j)
{
	wait_for(j, NULL);
	enum result worst = settle(j, NULL, NULL);
	if (worst == RESULT_FAILED)
		job_set_result(j, worst);
}

/* ---- the steps that wait and cancel ---- */

static const char *kind_of(const struct record *r)
{
	const char *kind = wire_string(r->step, "controlType");
	return kind != NULL ? kind : "wait-all";
}

static void cancel_them(struct job *j, const json_t *wanted)
{
	for (size_t i = 0; i < j->background_count; i++) {
		struct background *b = j->backgrounds[i];
		if (!is_meant(b, wanted) || is_over(b))
			continue;
		b->cancels++;
		b->again_mono_ms = clock_mono_ms() + AGAIN_MS;
	}
}

static int control_run(struct job *j, struct record *r, const json_t *inputs, enum result *ret, struct err *err)
{
	bool cancels = strcasecmp(kind_of(r), "cancel") == 0, all = strcasecmp(kind_of(r), "wait-all") == 0;
	const json_t *wanted = all ? NULL : wire_get(r->step, "stepIds");
	_cleanup_free_ char *names = names_of(j, wanted);
	(void)inputs;
	(void)err;
	r->type = xstrdup("runner");
	r->action_name = xstrdup(kind_of(r));
	*ret = RESULT_SUCCEEDED;
	if (names[0] == '\0') {
		record_line(j, r, "No background steps remaining to wait for.");
		return 0;
	}
	if (cancels) {
		record_line(j, r, "Cancelling background step(s): %s", names);
		cancel_them(j, wanted);
	} else {
		record_line(j, r, "Waiting for %sbackground step(s) to complete: %s", all ? "all " : "", names);
	}
	wait_for(j, wanted);
	record_line(j, r, "Finished waiting for background step(s).");
	enum result worst = settle(j, r, wanted);
	if (!cancels)
		*ret = worst;
	else if (worst == RESULT_FAILED) /* it had failed before */
		job_set_result(j, worst);
	return 0;
}

static const struct action_type control = {.run = control_run, .here = true};

int background_read_control(const json_t *step, struct record *r, struct err *err)
{
	static const char *const kinds[] = {"wait", "wait-all", "cancel"};
	const char *kind = wire_string(step, "controlType");
	for (size_t i = 0; kind != NULL && i < ARRAY_SIZE(kinds); i++)
		if (strcasecmp(kind, kinds[i]) == 0) {
			r->action = &control;
			return 0;
		}
	return err_set(err, ERR_PROTOCOL, "the job has a step that waits in an unknown way, '%.40s'",
	               kind != NULL ? kind : "");
}

static bool is_covered(const struct job *j, size_t index)
{
	const struct record *background = j->records[index];
	for (size_t i = index + 1; i < j->record_count; i++) {
		const struct record *r = j->records[i];
		size_t n;
		json_t *name;
		if (r->action != &control)
			continue;
		if (strcasecmp(kind_of(r), "wait-all") == 0)
			return true;
		json_array_foreach(wire_get(r->step, "stepIds"), n,
		                   name) if (json_is_string(name) && background->context_name != NULL &&
		                             strcasecmp(json_string_value(name), background->context_name) ==
		                                     0) return true;
	}
	return false;
}

void background_expect_wait(struct job *j)
{
	bool missing = false;
	for (size_t i = 0; i < j->record_count; i++)
		missing |= j->records[i]->background && !is_covered(j, i);
	if (!missing)
		return;
	struct record *r = record_new(j, NULL, "Wait for all background steps");
	r->action = &control;
	r->name_final = true;
	record_tell(j, r);
}
