/* What the older services could not be told: it waits in the queue, is tried again, and in the end becomes an object that another process sends. */
#include "agent/service/v1_timeline_priv.h"

#include "base/core/clock.h"
#include "base/secret/base64.h"

enum { PART_MAX = 4 << 20 };

bool timeline_park(struct part *p)
{
	struct timeline *t = p->timeline;
	if (t->parked_bytes + p->len > PARKED_MAX)
		return false;
	if (p->running)
		t->running--;
	p->running = false;
	p->creating = false;
	p->parked = true;
	p->transfer = NULL;
	t->queued_bytes -= p->len;
	t->parked_bytes += p->len;
	if (t->retry_mono_ms == 0)
		t->retry_mono_ms = clock_mono_ms() + PARKED_RETRY_MS;
	return true;
}

void timeline_retry(void *sink, bool now)
{
	struct timeline *t = sink;
	if (t->retry_mono_ms == 0 && json_object_size(t->left) == 0)
		return;
	if (!now && (t->retry_mono_ms == 0 || clock_mono_ms() < t->retry_mono_ms))
		return;
	t->retry_mono_ms = 0;
	for (struct part *p = t->parts; p != NULL; p = p->next) {
		if (!p->parked)
			continue;
		p->parked = false;
		t->parked_bytes -= p->len;
		t->queued_bytes += p->len;
	}
	timeline_add_older(t->changed, t->left);
	json_object_clear(t->left);
	timeline_pump(t);
}

/* ---- for another process ---- */

static json_t *keep_part(const struct part *p)
{
	_cleanup_(str_done) struct str text = STR_INIT(2 * (PARKED_MAX + PART_MAX));
	base64_encode(p->data != NULL ? p->data : "", p->len, &text);
	return json_pack("{s:s, s:b, s:b, s:s}", "record", p->record, "summary", p->summary, "final", p->final, "data",
	                 str_peek(&text));
}

json_t *timeline_keep(const void *sink)
{
	const struct timeline *t = sink;
	size_t bytes = 0;
	json_t *records = json_deep_copy(t->changed), *parts = json_array();
	timeline_add_older(records, t->left);
	if (t->updating)
		timeline_add_older(records, t->sent);
	for (const struct part *p = t->parts; p != NULL; p = p->next) {
		/* A log with a gap would be worse than one that ends early: what comes behind has no room either. */
		if ((bytes += p->len) > PARKED_MAX)
			break;
		json_array_append_new(parts, keep_part(p));
	}
	if (json_object_size(records) == 0 && json_array_size(parts) == 0) {
		json_decref(records);
		json_decref(parts);
		return NULL;
	}
	return json_pack("{s:O, s:o, s:o}", "logs", t->logs, "records", records, "parts", parts);
}

static bool restore_part(struct timeline *t, const json_t *kept)
{
	const char *text = json_get_string(kept, "data"), *record = json_get_string(kept, "record");
	_cleanup_(str_done) struct str data = STR_INIT(PARKED_MAX + PART_MAX);
	if (text == NULL || record == NULL || base64_decode(text, strlen(text), &data, NULL) < 0)
		return false;
	size_t len = data.len;
	char *bytes = len > 0 ? str_take(&data) : xstrdup("");
	struct part *p = timeline_add(t, record, bytes, len);
	p->summary = json_get_bool(kept, "summary", false);
	p->final = json_get_bool(kept, "final", false);
	return true;
}

bool timeline_restore(struct timeline *t, const json_t *kept)
{
	size_t i;
	json_t *part;
	json_object_update(t->logs, json_get_object(kept, "logs"));
	json_object_update(t->changed, json_get_object(kept, "records"));
	json_array_foreach(json_get_array(kept, "parts"), i, part) if (!restore_part(t, part)) return false;
	return true;
}
