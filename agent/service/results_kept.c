/* What the service could not be told: it waits in the queue, is tried again, and in the end becomes an object that another process sends. */
#include "agent/service/results_priv.h"

#include "base/core/clock.h"
#include "base/secret/base64.h"

bool results_same_log(const struct upload *u, const struct upload *other)
{
	if (u->summary != other->summary)
		return false;
	return u->step_id == NULL ? other->step_id == NULL
	                          : other->step_id != NULL && strcmp(u->step_id, other->step_id) == 0;
}

bool results_park(struct upload *u)
{
	struct results *r = u->results;
	if (r->parked_bytes + u->len > PARKED_MAX)
		return false;
	if (u->running)
		r->running--;
	u->running = false;
	u->parked = true;
	u->transfer = NULL;
	/* The credential in a URL does not outlive a long silence. */
	u->stage = STAGE_URL;
	u->url_is_kept = false;
	free(TAKE(u->url));
	r->queued_bytes -= u->len;
	r->parked_bytes += u->len;
	if (r->retry_mono_ms == 0)
		r->retry_mono_ms = clock_mono_ms() + PARKED_RETRY_MS;
	return true;
}

void results_retry(struct results *r, bool now)
{
	if (r == NULL || (r->retry_mono_ms == 0 && json_object_size(r->left) == 0))
		return;
	if (!now && (r->retry_mono_ms == 0 || clock_mono_ms() < r->retry_mono_ms))
		return;
	r->retry_mono_ms = 0;
	for (struct upload *u = r->uploads; u != NULL; u = u->next) {
		if (!u->parked)
			continue;
		u->parked = false;
		r->parked_bytes -= u->len;
		r->queued_bytes += u->len;
		if (!u->summary)
			free(TAKE(results_stream(r, u->step_id)->url));
	}
	json_object_update_missing(r->changed, r->left);
	json_object_clear(r->left);
	results_pump(r);
}

/* ---- for another process ---- */

static json_t *keep_upload(const struct upload *u)
{
	_cleanup_(str_done) struct str text = STR_INIT(2 * (PARKED_MAX + RESULTS_BLOCK));
	base64_encode(u->data != NULL ? u->data : "", u->len, &text);
	json_t *kept = json_pack("{s:b, s:b, s:b, s:b, s:I, s:I, s:s}", "stored", u->stored, "summary", u->summary,
	                         "first", u->first, "final", u->final, "offset", (json_int_t)u->offset, "line_count",
	                         (json_int_t)u->line_count, "data", str_peek(&text));
	if (u->step_id != NULL)
		json_object_set_new(kept, "step_id", json_string(u->step_id));
	return kept;
}

json_t *results_keep(const struct results *r)
{
	if (r == NULL)
		return NULL;
	size_t bytes = 0;
	json_t *steps = json_object(), *uploads = json_array();
	json_object_update(steps, r->changed);
	json_object_update_missing(steps, r->left);
	if (r->updating)
		json_object_update_missing(steps, r->sent);
	for (const struct upload *u = r->uploads; u != NULL; u = u->next) {
		/* A log with a gap would be worse than one that ends early: what comes behind has no room either. */
		if ((bytes += u->len) > PARKED_MAX)
			break;
		json_array_append_new(uploads, keep_upload(u));
	}
	if (json_object_size(steps) == 0 && json_array_size(uploads) == 0) {
		json_decref(steps);
		json_decref(uploads);
		return NULL;
	}
	return json_pack("{s:s, s:I, s:o, s:o}", "base", r->base, "change_order", (json_int_t)r->change_order, "steps",
	                 steps, "uploads", uploads);
}

static bool restore_upload(struct results *r, const json_t *kept)
{
	const char *text = json_get_string(kept, "data");
	_cleanup_(str_done) struct str data = STR_INIT(PARKED_MAX + RESULTS_BLOCK);
	if (text == NULL || base64_decode(text, strlen(text), &data, NULL) < 0)
		return false;
	size_t len = data.len;
	char *bytes = len > 0 ? str_take(&data) : xstrdup("");
	struct upload *u = results_add(r, json_get_string(kept, "step_id"), bytes, len);
	u->summary = json_get_bool(kept, "summary", false);
	u->first = json_get_bool(kept, "first", false);
	u->final = json_get_bool(kept, "final", false);
	u->stored = json_get_bool(kept, "stored", false);
	u->offset = json_get_int(kept, "offset", 0);
	u->line_count = json_get_int(kept, "line_count", 0);
	return true;
}

bool results_restore(struct results *r, const json_t *kept)
{
	size_t i;
	json_t *upload;
	r->change_order = json_get_int(kept, "change_order", 0);
	json_object_update(r->changed, json_get_object(kept, "steps"));
	json_array_foreach(json_get_array(kept, "uploads"), i, upload) if (!restore_upload(r, upload)) return false;
	results_pump(r);
	return true;
}
