#include "engine/state/state.h"

#include "base/core/clock.h"
#include "base/core/mem.h"
#include "base/core/rand.h"

#include <stdlib.h>
#include <string.h>

enum { TRIES = 4, PAUSE_MS = 200 };

void state_head_done(struct state_head *h)
{
	state_document_done(&h->document);
	h->tag[0] = '\0';
}

static int at_place(struct keeper *k, int r, struct err *err)
{
	_cleanup_free_ char *place = k->type->place(k);
	return err_wrap(err, r, "the state of %s in %s", k->name, place);
}

static bool is_unsure(int r)
{
	return r == ERR_UNKNOWN || r == ERR_NETWORK || r == ERR_TIMEOUT;
}

/* ---- reading ---- */

static void offer_last_good(struct keeper *k, int r, struct err *err)
{
	struct state_document good = {0};
	struct err ignored = ERR_INIT;
	char when[CLOCK_TEXT_SIZE];
	int64_t serial = 0;
	if (state_last_good(k, &serial, &good, &ignored) == 0)
		err_hint(err, r, "the last good version is %lld of %s: davit state FILE --restore %lld",
		         (long long)serial, clock_rfc3339(good.written_ms, when), (long long)serial);
	else
		err_hint(err, r, "no good copy of it is known here: put one there by hand, or remove it");
	state_document_done(&good);
}

/* Some services have an empty document where there is none. Where copies are known there was one. */
static bool is_none(struct keeper *k, int r, const struct str *text)
{
	int64_t serials[STATE_KEPT + 1];
	size_t count = 0;
	struct err ignored = ERR_INIT;
	if (r == 0 && text->len == 0)
		return state_copy_serials(k, serials, &count, &ignored) == 0 && count == 0;
	return r == ERR_NOT_FOUND;
}

int state_read(struct keeper *k, struct state_head *ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(STATE_MAX + 1);
	state_head_done(ret);
	int r = k->type->read(k, &text, ret->tag, err);
	if (is_none(k, r, &text)) {
		err_clear(err);
		return 0;
	}
	if (r == 0)
		r = state_document_read(str_peek(&text), text.len, k->name, &ret->document, err);
	if (r == 0)
		return 0;
	at_place(k, r, err);
	if (r == ERR_PROTOCOL)
		offer_last_good(k, r, err);
	return r;
}

/* ---- writing ---- */

/* 1: what we wrote is there. 0: what was there before still is. ERR_CONFLICT: neither. */
static int look_back(struct keeper *k, const struct str *text, const char *former_tag, char tag[KEEPER_TAG],
                     struct err *err)
{
	_cleanup_(str_done) struct str there = STR_INIT(STATE_MAX + 1);
	int r = k->type->read(k, &there, tag, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return *former_tag == '\0' ? 0 : err_set(err, ERR_CONFLICT, "it is gone");
	}
	if (r < 0)
		return r;
	if (there.len == text->len && memcmp(str_peek(&there), str_peek(text), text->len) == 0)
		return 1;
	return strcmp(tag, former_tag) == 0 ? 0 : err_set(err, ERR_CONFLICT, "another version is there");
}

/* Whatever became of a try, what is there afterwards decides. */
static int write_until_known(struct keeper *k, const struct str *text, const char *former_tag, const json_t *lock,
                             char tag[KEEPER_TAG], struct err *err)
{
	int r = 0;
	for (int i = 0; i < TRIES; i++) {
		int written = k->type->write(k, text, former_tag, lock, err);
		if (written < 0 && !is_unsure(written) && written != ERR_CONFLICT)
			return written;
		struct err why = ERR_INIT;
		r = look_back(k, text, former_tag, tag, &why);
		if (r == 1)
			return 0;
		if (r == 0 && written == 0)
			r = err_set(&why, ERR_UNKNOWN, "it was written, and is not there");
		if (r < 0)
			*err = why;
		if (r < 0 && !is_unsure(r))
			return r;
		r = r < 0 ? r : written;
		int waited = wait_ms(k->wait, (int64_t)PAUSE_MS << i, NULL);
		if (waited < 0)
			break;
	}
	return is_unsure(r) ? ERR_UNKNOWN : r;
}

/* Who wrote what is there now, where that can be read. */
static void name_other(struct keeper *k, int r, struct err *err)
{
	_cleanup_(state_head_done) struct state_head now = {0};
	struct err ignored = ERR_INIT;
	char when[CLOCK_TEXT_SIZE];
	_cleanup_(str_done) struct str who = STR_INIT(512);
	if (state_read(k, &now, &ignored) < 0 || now.document.rows == NULL)
		return;
	const char *by = now.document.deployment != NULL ? now.document.deployment : "a person";
	str_append_safe(&who, by, MIN(strlen(by), 80U));
	err_set(err, r, "it was written by %s at %s meanwhile: serial %lld", str_peek(&who),
	        clock_rfc3339(now.document.written_ms, when), (long long)now.document.serial);
}

int state_write(struct keeper *k, struct state_head *head, const json_t *rows, const char *deployment,
                const json_t *lock, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(STATE_MAX + 1);
	char tag[KEEPER_TAG] = "";
	struct state_document next = {.serial = head->document.serial + 1,
	                              .written_ms = clock_wall_ms(),
	                              .deployment = xstrdup(deployment),
	                              .rows = json_incref((json_t *)(uintptr_t)rows)};
	if (head->document.lineage[0] != '\0')
		memcpy(next.lineage, head->document.lineage, STATE_LINEAGE);
	else
		rand_hex(next.lineage, STATE_LINEAGE - 1);
	int r = state_document_text(&next, k->name, &text, err);
	if (r == 0)
		r = state_copy_keep(k, next.serial, &text, err);
	if (r == 0)
		r = write_until_known(k, &text, head->tag, lock, tag, err);
	if (r < 0) {
		state_document_done(&next);
		if (r == ERR_CONFLICT)
			name_other(k, r, err);
		return at_place(k, r, err);
	}
	state_head_done(head);
	head->document = next;
	memcpy(head->tag, tag, KEEPER_TAG);
	state_copy_sweep(k);
	return 0;
}

/* ---- versions ---- */

int state_version(struct keeper *k, int64_t serial, struct state_document *ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(STATE_MAX + 1);
	int r = state_copy_read(k, serial, &text, err);
	if (r == 0)
		r = state_document_read(str_peek(&text), text.len, k->name, ret, err);
	return r < 0 ? err_wrap(err, r, "version %lld of the state of %s", (long long)serial, k->name) : 0;
}

int state_last_good(struct keeper *k, int64_t *ret_serial, struct state_document *ret, struct err *err)
{
	int64_t serials[STATE_KEPT + 1];
	size_t count = 0;
	int r = state_copy_serials(k, serials, &count, err);
	for (size_t i = count; r == 0 && i-- > 0;) {
		struct err ignored = ERR_INIT;
		if (state_version(k, serials[i], ret, &ignored) < 0)
			continue;
		*ret_serial = serials[i];
		return 0;
	}
	return r < 0 ? r : err_set(err, ERR_NOT_FOUND, "there is no good copy of the state of %s", k->name);
}

static json_t *describe(struct keeper *k, int64_t serial, const struct state_head *head)
{
	_cleanup_(state_document_done) struct state_document d = {0};
	struct err why = ERR_INIT;
	char line[ERR_FRAME_SIZE];
	if (state_version(k, serial, &d, &why) < 0)
		return json_pack("{s:I, s:o}", "serial", (json_int_t)serial, "damaged",
		                 json_stringf("%s", err_line(&why, line, sizeof(line))));
	bool current = head->document.serial == serial && strcmp(head->document.lineage, d.lineage) == 0;
	json_t *o =
		json_pack("{s:I, s:I, s:I, s:b}", "serial", (json_int_t)serial, "written_ms", (json_int_t)d.written_ms,
	                  "resources", (json_int_t)state_document_count(&d), "current", current);
	if (d.deployment != NULL)
		json_object_set_new(o, "deployment", json_stringf("%s", d.deployment));
	return o;
}

int state_versions(struct keeper *k, const struct state_head *head, json_t **ret, struct err *err)
{
	int64_t serials[STATE_KEPT + 1];
	size_t count = 0;
	int r = state_copy_serials(k, serials, &count, err);
	if (r < 0)
		return at_place(k, r, err);
	*ret = json_array();
	for (size_t i = count; i-- > 0;)
		json_array_append_new(*ret, describe(k, serials[i], head));
	return 0;
}

int state_restore(struct keeper *k, int64_t serial, const json_t *lock, int64_t *ret_new, struct err *err)
{
	_cleanup_(state_document_done) struct state_document copy = {0};
	_cleanup_(state_head_done) struct state_head head = {0};
	struct err why = ERR_INIT;
	int64_t serials[STATE_KEPT + 1];
	size_t count = 0;
	int r = state_read(k, &head, &why);
	if (r < 0 && r != ERR_PROTOCOL) {
		*err = why;
		return r;
	}
	r = state_version(k, serial, &copy, err);
	if (r == 0)
		r = state_copy_serials(k, serials, &count, err);
	if (r < 0)
		return r;
	/* A serial is given once, whatever the damaged one says of its own. */
	for (size_t i = 0; i < count; i++)
		head.document.serial = MAX(head.document.serial, serials[i]);
	memcpy(head.document.lineage, copy.lineage, STATE_LINEAGE);
	r = state_write(k, &head, copy.rows, NULL, lock, err);
	*ret_new = head.document.serial;
	return r;
}
