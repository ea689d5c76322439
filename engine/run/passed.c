/* The record of what passed a gate (engine/record/passed.h): each host of the deployment keeps it. A deployment that has no gate, or no step
 * with images, asks nothing for it. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "engine/record/passed.h"
#include <string.h>

enum { KEEP_TRIES = 4 };
static const char accepted[] = "accepted";

int engine_note_accepted(struct engine *e, struct err *err)
{
	_cleanup_json_ json_t *data = json_object();
	return store_event_add(e->store, e->id, -1, accepted, data, err);
}

/* ---- which gates let it in ---- */

static bool may_have_passed(const struct engine *e)
{
	bool has_gate = false, has_images = false;
	for (size_t i = 0; i < e->step_count; i++) {
		has_gate = has_gate || e->steps[i].type->probe != NULL;
		has_images = has_images || e->steps[i].type->images != NULL;
	}
	return has_gate && has_images;
}

static bool is_event(const json_t *event, const char *kind)
{
	const char *is = json_get_string(event, "kind");
	return is != NULL && strcmp(is, kind) == 0;
}

static bool has_event(const json_t *events, const char *kind)
{
	for (size_t i = 0; i < json_array_size(events); i++)
		if (is_event(json_array_get(events, i), kind))
			return true;
	return false;
}

/* Its last word: 1 healthy, 0 not, -1 it was not asked. */
static int word_of_gate(const json_t *events, int step)
{
	for (size_t i = json_array_size(events); i-- > 0;) {
		const json_t *event = json_array_get(events, i);
		if (is_event(event, "gate") && json_get_int(event, "step", -1) == step)
			return json_get_bool(json_object_get(event, "data"), "healthy", false);
	}
	return -1;
}

static bool all_gates_agree(const struct engine *e, const json_t *events)
{
	for (size_t i = 0; i < e->step_count; i++)
		if (e->steps[i].type->probe != NULL && word_of_gate(events, e->steps[i].index) == 0)
			return false;
	return true;
}

/* One that was asked before the images stood says nothing of them. */
static bool was_let_in(const struct engine *e, const struct estep *s, const json_t *events)
{
	for (size_t i = 0; i < e->step_count; i++)
		if (e->steps[i].type->probe != NULL && e->steps[i].index > s->index &&
		    word_of_gate(events, e->steps[i].index) == 1)
			return true;
	return false;
}

/* ---- what stands ---- */

static void ask_step(struct engine *e, struct estep *s, json_t *ret)
{
	char line[ERR_FRAME_SIZE];
	/* A recovery has the inputs as they were sealed. */
	if (engine_is_unresolved(s->input)) {
		engine_say(
			e, "warning",
			"%s: its images are not recorded as passed: an input names what another step gave, which is not "
			"known any more",
			s->display);
		return;
	}
	for (size_t j = 0; j < s->target_count; j++) {
		struct err why = ERR_INIT;
		if (s->type->images(&s->context, &s->targets[j]->view, ret, &why) < 0)
			engine_say(e, "warning", "%s: its images on '%s' are not recorded as passed: %s", s->display,
			           s->etargets[j]->name, err_line(&why, line, sizeof(line)));
	}
}

static void sort_digests(struct engine *e, const json_t *all, struct strv *ret)
{
	bool left_out = false;
	for (size_t i = 0; i < json_array_size(all); i++) {
		const char *digest = json_string_value(json_array_get(all, i));
		if (digest == NULL || !passed_is_digest(digest) || strv_has(ret, digest))
			continue;
		left_out = left_out || ret->count == PASSED_DIGESTS;
		if (ret->count < PASSED_DIGESTS)
			strv_add(ret, digest);
	}
	strv_sort(ret);
	if (left_out)
		engine_say(e, "warning", "only %d images are recorded as passed: a record holds no more",
		           PASSED_DIGESTS);
}

/* ---- kept ---- */

static int make_line(const struct engine *e, const struct strv *digests, struct passed_line *ret, struct err *err)
{
	struct ed25519_pair pair;
	int r = ed25519_pair_of_host(store_dir(e->store), true, &pair, err);
	if (r < 0)
		return r;
	ret->name = xstrdup(e->name);
	ret->environment = xstrdup(e->environment);
	ret->deployment = xstrdup(e->id);
	/* As the journal has it, so that a recovery writes the same line. */
	ret->committed_ms = json_get_int(e->doc, "decided_ms", clock_wall_ms());
	for (size_t i = 0; i < digests->count; i++)
		strv_add(&ret->digests, digests->items[i]);
	r = passed_sign(ret, &pair, err);
	ed25519_pair_done(&pair);
	return r;
}

/* What is too large was not written by us, and nothing is lost with it. */
static int read_kept(struct view *v, const char *path, struct passed *ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(PASSED_MAX + 1);
	int r = host_read(v, path, PASSED_MAX, &text, err);
	if (r == ERR_NOT_FOUND || r == ERR_LIMIT) {
		if (err)
			err_clear(err);
		return 0;
	}
	return r < 0 ? r : passed_read(str_peek(&text), text.len, ret, err);
}

static int put_line(struct engine *e, struct target *t, const struct strv *digests, struct err *err)
{
	static const struct node_attr of_dir = {.set_mode = true, .mode = 0700},
				      of_file = {.set_mode = true, .mode = 0600};
	_cleanup_free_ char *path = passed_path(t->view.facts.base, e->name, e->environment),
			    *dir = fs_join(t->view.facts.base, "passed");
	_cleanup_(passed_done) struct passed kept = {0};
	_cleanup_(passed_line_done) struct passed_line line = {0};
	_cleanup_(str_done) struct str text = STR_INIT(PASSED_MAX);
	int r = make_line(e, digests, &line, err);
	if (r == 0)
		r = read_kept(&t->view, path, &kept, err);
	if (r < 0)
		return r;
	passed_add(&kept, &line);
	passed_write(&kept, &text);
	const struct target_op ops[] = {
		{.kind = TARGET_MKDIR, .path = dir, .attr = &of_dir, .fine = ERR_EXISTS},
		{.kind = TARGET_PUT, .path = path, .data = text.data, .len = text.len, .attr = &of_file},
	};
	return target_do(t, ops, ARRAY_SIZE(ops), err);
}

/* A lost reply: nothing of ours may arrive behind the next try. */
static void keep_at(struct engine *e, struct etarget *et, const struct strv *digests)
{
	struct err why = ERR_INIT;
	char line[ERR_FRAME_SIZE];
	int r = put_line(e, et->t, digests, &why);
	for (int tries = 1; engine_may_retry(r) && tries < KEEP_TRIES && engine_refence(e, et, &why) >= 0; tries++)
		r = put_line(e, et->t, digests, &why);
	if (r < 0)
		engine_say(e, "warning", "what passed the gate is not recorded on '%s': %s", et->name,
		           err_line(&why, line, sizeof(line)));
}

void engine_note_passed(struct engine *e)
{
	_cleanup_json_ json_t *events = NULL, *all = json_array();
	_cleanup_(strv_done) struct strv digests = {0};
	if (!may_have_passed(e) || store_event_list(e->store, e->id, &events, NULL) < 0 ||
	    has_event(events, accepted) || !all_gates_agree(e, events))
		return;
	for (size_t i = 0; i < e->step_count; i++)
		if (e->steps[i].type->images != NULL && was_let_in(e, &e->steps[i], events))
			ask_step(e, &e->steps[i], all);
	sort_digests(e, all, &digests);
	for (size_t i = 0; digests.count > 0 && i < e->host_count; i++)
		if (e->targets[i].locked)
			keep_at(e, &e->targets[i], &digests);
}
