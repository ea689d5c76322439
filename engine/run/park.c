/* A deployment that waits for people: parked between its plan and its first change, with nothing changed and nothing locked, and carried
 * on when they have agreed to that plan (docs/semantics.md 12).
 *
 * `parked` is entered from `preparing` only, once all locks are given back, and left for `preparing` only, by the one that claimed the
 * owner's file. So a process that is killed at any moment leaves `parked`, or `preparing` that recovery parks again, or a deployment
 * that is recovered as any other. */
#include "engine/run/run_priv.h"
#include "engine/run/request.h"

#include "base/core/clock.h"
#include "base/secret/seal.h"
#include <string.h>

enum { EXIT_PARKED = 7, MISSING_MAX = 4096 };

static struct estep *waiting_step(const struct engine *e)
{
	for (size_t i = 0; i < e->step_count; i++)
		if (e->steps[i].type->park)
			return &e->steps[i];
	return NULL;
}

int engine_check_waiting(struct engine *e, struct err *err)
{
	const struct estep *s = waiting_step(e);
	for (size_t i = 0; s && i < e->step_count; i++) {
		const struct estep *o = &e->steps[i];
		if (o->index < s->index && o->type->info->changes) {
			err_set(err, ERR_INVALID,
			        "step %d (%s) waits for people behind step %d (%s), which may change something",
			        s->index + 1, s->display, o->index + 1, o->display);
			return err_hint(err, ERR_INVALID, "let it stand before the first step that changes something");
		}
		if (o->index > s->index && o->type->park)
			return err_set(err, ERR_INVALID, "step %d (%s) waits for people a second time", o->index + 1,
			               o->display);
	}
	if (s && (!e->o->seal || !json_get_bool(e->deployment, "seal", true))) {
		err_set(err, ERR_INVALID, "step %d (%s): nothing is sealed, so the deployment could not go on later",
		        s->index + 1, s->display);
		return err_hint(err, ERR_INVALID, "leave out `seal: false` and --no-seal");
	}
	return 0;
}

/* What a step will be given by an earlier one may bring changes that the plan does not have yet. */
static bool may_change(const struct estep *s)
{
	for (size_t i = 0; s->plans && i < s->target_count; i++)
		if (s->plans[i].count > 0)
			return true;
	return s->type->info->changes && engine_is_unresolved(s->input);
}

bool engine_must_wait(const struct engine *e)
{
	for (size_t i = 0; waiting_step(e) && i < e->step_count; i++)
		if (may_change(&e->steps[i]))
			return true;
	return false;
}

/* ---- parking ---- */

/* The journal says `parked` last: whoever reads it knows that nothing is locked. */
static int park(struct engine *e, json_t *members, struct err *err)
{
	engine_past_cancel(e);
	int r = engine_unlock_all(e, err);
	if (r == 0)
		r = store_unlock(e->store, e->id, err);
	if (r == 0)
		r = engine_set_state(e, DEPLOYMENT_PARKED, json_incref(members), err);
	json_decref(members);
	if (r < 0)
		return err_wrap(err, r, "park the deployment %s", e->id);
	lock_owner_drop(e->store, e->id, &e->owner_fd, true);
	return 0;
}

int engine_park_again(struct engine *e, struct err *err)
{
	return park(e, json_object(), err);
}

static const char *asked_by(const struct engine *e)
{
	const char *actor = json_get_string(e->doc, "actor"), *user = json_get_string(e->doc, "user");
	return actor ? actor : user ? user : "";
}

static int64_t until_of(const json_t *doc)
{
	return json_get_int(json_object_get(doc, "parked"), "until_ms", 0);
}

static int note_plan(struct engine *e, const struct estep *s, struct err *err)
{
	_cleanup_json_ json_t *plan = engine_plan_json(e);
	_cleanup_json_ json_t *data = json_pack(
		"{s:s, s:o, s:o, s:o}", "digest", e->digest, "of", engine_without_secrets(e->digested), "plan",
		engine_without_secrets(plan), "text", json_stringf("people are asked about %.12s", e->digest));
	return store_event_add(e->store, e->id, s->index, "plan", data, err);
}

static void say_parked(struct engine *e)
{
	char until[CLOCK_TEXT_SIZE];
	const char *user = json_get_string(e->doc, "user"), *host = json_get_string(e->doc, "host");
	engine_say(e, "info", "%s is parked until %s: nothing is changed, nothing is locked", e->id,
	           clock_rfc3339(until_of(e->doc), until));
	engine_say(e, "info", "plan %s", e->digest);
	engine_say(e, "info",
	           "look at it and agree to it on %s, as %s, with DAVIT_STATE=%s:", host ? host : "this machine",
	           user ? user : "this user", store_dir(e->store));
	engine_say(e, "info", "  davit approvals %s", e->id);
	engine_say(e, "info", "  davit approve %s --key FILE", e->id);
	if (json_get_string(e->doc, "repository"))
		engine_say(e, "info",
		           "or write a comment, for `davit approve %s --from-comment`: /davit approve %s %.12s", e->id,
		           e->id, e->digest);
}

int engine_park_planned(struct engine *e, struct err *err)
{
	struct estep *s = waiting_step(e);
	json_t *asked = NULL;
	int64_t wait_ms = 0;
	int r = s->type->park(&s->context, &wait_ms, &asked, err);
	if (r == 0)
		r = note_plan(e, s, err);
	if (r == 0) {
		json_object_set_new(asked, "until_ms", json_integer(clock_wall_ms() + wait_ms));
		json_object_set_new(asked, "step", json_integer(s->index));
		json_object_set_new(asked, "asked_by", json_string(asked_by(e)));
		r = park(e,
		         json_pack("{s:s, s:o, s:o}", "plan_digest", e->digest, "parked", engine_without_secrets(asked),
		                   "targets", engine_targets_json(e)),
		         err);
	}
	json_decref(asked);
	if (r == 0) {
		say_parked(e);
		return EXIT_PARKED;
	}
	int status = engine_refused_status(r);
	engine_refuse(e, status, err);
	return status;
}

/* ---- closing ---- */

/* With all that its steps say when it is decided: people wait for it. */
static int close_parked(struct engine *e, int status, const struct err *why)
{
	struct err reason = *why;
	e->reason = reason;
	int r = engine_refuse(e, status, &reason);
	if (r == 0)
		engine_settled(e, OUTCOME_REFUSED, status);
	return r;
}

/* What it needs was erased, or cannot be read: only the journal's entry is left. */
static int close_entry(const json_t *doc, const struct engine_options *o, int status, const struct err *why,
                       struct err *err)
{
	const char *id = json_get_string(doc, "id");
	int fd = -1;
	int r = lock_owner_claim(o->store, id, &fd, NULL, err);
	if (r < 0)
		return r;
	_cleanup_json_ json_t *members =
		json_pack("{s:s, s:i, s:o, s:I}", "state", deployment_state_name(DEPLOYMENT_REFUSED), "exit_status",
	                  status, "reason", engine_line(why), "decided_ms", (json_int_t)clock_wall_ms());
	r = store_seal_erase(o->store, id, err);
	if (r == 0)
		r = store_deployment_set(o->store, id, members, err);
	lock_owner_drop(o->store, id, &fd, r == 0);
	return r;
}

/* Claims it; ERR_REFUSED: it does not wait any more. */
static int resume_parked(struct engine *e, const json_t *doc, const struct engine_options *o, struct err *err)
{
	int r = engine_resume(e, doc, o, NULL, true, err);
	if (r == ERR_LOCKED) {
		err_set(err, r, "another process carries the deployment %s on", json_get_string(doc, "id"));
		return err_hint(err, r, "davit show %s", json_get_string(doc, "id"));
	}
	if (r == 0 && e->state != DEPLOYMENT_PARKED) {
		lock_owner_drop(o->store, e->id, &e->owner_fd, false);
		return err_set(err, ERR_REFUSED, "the deployment %s is %s: it does not wait for people", e->id,
		               deployment_state_name(e->state));
	}
	return r;
}

static int close_one(const json_t *doc, const struct engine_options *o, int status, const struct err *why,
                     struct engine_result *ret, struct err *err)
{
	_cleanup_(engine_done) struct engine e = {.owner_fd = -1};
	int r = resume_parked(&e, doc, o, err);
	if (r == 0) {
		r = close_parked(&e, status, why);
		if (ret)
			engine_result_fill(&e, ret, status);
	} else if (r != ERR_LOCKED && r != ERR_REFUSED) {
		if (err)
			err_clear(err);
		r = close_entry(doc, o, status, why, err);
	}
	return r;
}

static void expired(const json_t *doc, struct err *ret)
{
	char until[CLOCK_TEXT_SIZE];
	err_set(ret, ERR_REFUSED, "nobody agreed in time: it waited until %s", clock_rfc3339(until_of(doc), until));
}

static bool has_expired(const json_t *doc)
{
	return clock_wall_ms() >= until_of(doc);
}

int engine_recover_parked(const json_t *doc, const struct engine_options *o, bool unasked, struct err *err)
{
	struct err why = ERR_INIT;
	char until[CLOCK_TEXT_SIZE];
	const char *id = json_get_string(doc, "id");
	bool over = has_expired(doc);
	_cleanup_free_ char *line = xasprintf(over ? "%s is closed: nobody agreed to it until %s"
	                                           : "%s waits until %s for people to agree to it",
	                                      id, clock_rfc3339(until_of(doc), until));
	int r = 0;
	if (over) {
		expired(doc, &why);
		/* It is not the deployment that this recovery was started for, and its steps say themselves how it ended. */
		r = close_one(doc, o, 2, &why, NULL, err);
	}
	if (r == 0 && o->report && (over || !unasked))
		o->report(o->report_context, "info", line);
	if (r == ERR_REFUSED && err)
		err_clear(err);
	return r == 0 || r == ERR_REFUSED ? 0 : r == ERR_LOCKED ? 5 : 4;
}

/* ---- going on ---- */

/* 0: enough people have agreed; 1: not yet, and the error says who is missing. */
static int agreed(struct engine *e, struct err *err)
{
	_cleanup_(request_done) struct request request;
	_cleanup_(str_done) struct str missing = STR_INIT(MISSING_MAX);
	struct estep *s = waiting_step(e);
	int r = request_read(e->store, e->doc, &request, err);
	if (r == 0 && s == NULL)
		r = err_set(err, ERR_PROTOCOL, "no step of the deployment %s waits for people", e->id);
	if (r == 0 && e->o->heard)
		json_array_extend(request.proven, (json_t *)e->o->heard);
	if (r == 0)
		r = s->type->agreed(&s->context, &request.step, &missing, err);
	if (r == 1)
		err_set(err, ERR_REFUSED, "the deployment %s waits: %s", e->id, str_peek(&missing));
	return r;
}

static void say_difference(struct engine *e)
{
	_cleanup_(request_done) struct request request;
	if (request_read(e->store, e->doc, &request, NULL) == 0)
		engine_tell_difference(e, json_object_get(request.plan, "of"));
}

static int same_plan(struct engine *e, struct err *err)
{
	const char *digest = json_get_string(e->doc, "plan_digest");
	if (digest && strcmp(digest, e->digest) == 0)
		return 0;
	say_difference(e);
	err_set(err, ERR_CONFLICT, "the plan is not the approved one any more: %.12s instead of %.12s", e->digest,
	        digest ? digest : "");
	return err_hint(err, ERR_CONFLICT, "nothing was changed; deploy again, and let that plan be approved");
}

/* What stands in the way now may be gone later. */
static int wait_on(struct engine *e, int status)
{
	struct err failed = ERR_INIT;
	char line[ERR_FRAME_SIZE];
	if (engine_park_again(e, &failed) < 0)
		engine_say(e, "warning", "%s (davit recover %s parks it again)", err_line(&failed, line, sizeof(line)),
		           e->id);
	else
		engine_say(e, "info", "%s stays parked: davit continue %s", e->id, e->id);
	return status;
}

static int go_on(struct engine *e, struct engine_result *ret, struct err *err)
{
	int r = agreed(e, err);
	if (r != 0) {
		lock_owner_drop(e->store, e->id, &e->owner_fd, true);
		return r == 1 ? EXIT_PARKED : 2;
	}
	_cleanup_json_ json_t *owner = lock_owner_process(0);
	r = engine_set_state(e, DEPLOYMENT_PREPARING,
	                     json_pack("{s:O, s:I}", "owner", owner, "continued_ms", (json_int_t)clock_wall_ms()), err);
	if (r == 0)
		r = engine_look(e, err);
	if (r == 0 && same_plan(e, err) < 0) {
		struct err why = *err;
		close_parked(e, 3, &why);
		return 3;
	}
	if (r == 0)
		r = engine_carry_out(e, ret, err);
	return r == 0 ? ret->exit_status : wait_on(e, engine_refused_status(r));
}

/* *ret: as the journal has it now, `parked`. */
static int find_parked(const char *id, const struct engine_options *o, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	int r = store_deployment_get(o->store, id, &doc, err);
	/* Its process was killed before the first change. */
	if (r == 0 && engine_state_of(doc) == DEPLOYMENT_PREPARING && json_object_get(doc, "parked")) {
		struct err ignored = ERR_INIT;
		engine_recover_one(doc, o, NULL, NULL, &ignored);
		json_decref(doc);
		doc = NULL;
		r = store_deployment_get(o->store, id, &doc, err);
	}
	if (r < 0)
		return r;
	enum deployment_state state = engine_state_of(doc);
	bool goes_on = state == DEPLOYMENT_PREPARING || state == DEPLOYMENT_OPEN || state == DEPLOYMENT_UNDOING;
	if (goes_on && json_object_get(doc, "parked")) {
		err_set(err, ERR_LOCKED, "another process carries the deployment %s on", id);
		return err_hint(err, ERR_LOCKED, "davit show %s; if that process died: davit recover %s", id, id);
	}
	if (state != DEPLOYMENT_PARKED) {
		const char *reason = json_get_string(doc, "reason");
		err_set(err, ERR_REFUSED, "the deployment %s does not wait for people: it is %s%s%s", id,
		        deployment_state_name(state), reason ? ": " : "", reason ? reason : "");
		return err_hint(err, ERR_REFUSED, "davit approvals lists those that wait");
	}
	*ret = TAKE(doc);
	return 0;
}

int engine_continue(const char *id, const struct engine_options *o, struct engine_result *ret, struct err *err)
{
	_cleanup_(engine_done) struct engine e = {.owner_fd = -1};
	_cleanup_json_ json_t *doc = NULL;
	memset(ret, 0, sizeof(*ret));
	ret->state = DEPLOYMENT_PARKED;
	int r = find_parked(id, o, &doc, err);
	if (r == 0 && has_expired(doc)) {
		struct err why = ERR_INIT;
		expired(doc, &why);
		r = close_one(doc, o, 2, &why, ret, err);
		if (r == 0)
			*err = why;
		ret->exit_status = r == ERR_LOCKED ? 5 : 2;
		return 0;
	}
	if (r == 0)
		engine_recover_environment(o, json_get_string(doc, "name"), json_get_string(doc, "environment"));
	if (r == 0)
		r = resume_parked(&e, doc, o, err);
	if (r < 0) {
		ret->exit_status = r == ERR_LOCKED ? 5 : 2;
		return 0;
	}
	int status = go_on(&e, ret, err);
	engine_result_fill(&e, ret, status);
	return 0;
}

int engine_reject(const char *id, const char *reason, const struct engine_options *o, struct engine_result *ret,
                  struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	struct err why = ERR_INIT;
	memset(ret, 0, sizeof(*ret));
	ret->state = DEPLOYMENT_PARKED;
	int r = find_parked(id, o, &doc, err);
	if (r == 0) {
		err_set(&why, ERR_REFUSED, "%s", reason);
		r = close_one(doc, o, 2, &why, ret, err);
	}
	/* What was asked for is done. */
	ret->exit_status = r == 0 ? 0 : r == ERR_LOCKED ? 5 : 2;
	return 0;
}
