#include "engine/state/holder.h"

#include "base/core/clock.h"
#include "base/core/mem.h"
#include "base/secret/digest.h"
#include "engine/lock/lock.h"

#include <stdio.h>
#include <string.h>

enum { INFO_MAX = 16 << 10 };

/* In the form of a UUID: some servers take no other. */
static void make_id(const char *store, const char *deployment, char ret[37])
{
	char hex[DIGEST_HEX];
	_cleanup_free_ char *text = xasprintf("davit state lock %s %s", store, deployment);
	digest_of(text, strlen(text), hex);
	snprintf(ret, 37, "%.8s-%.4s-4%.3s-a%.3s-%.12s", hex, hex + 8, hex + 12, hex + 15, hex + 18);
}

json_t *state_holder_make(const struct store *s, const json_t *deployment)
{
	char id[37], created[CLOCK_TEXT_SIZE];
	_cleanup_json_ json_t *record = lock_record(s, deployment, NULL);
	json_object_del(record, "targets");
	json_object_del(record, "token");
	_cleanup_free_ char *info = json_text(record),
			    *who = xasprintf("%s@%s", json_get_string(record, "user"), json_get_string(record, "host")),
			    *path = xasprintf("%s.%s", json_get_string(record, "name"),
	                                      json_get_string(record, "environment"));
	make_id(store_id(s), json_get_string(deployment, "id"), id);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "ID", id, "Operation", "OperationTypeApply", "Info",
	                 info, "Who", who, "Version", "davit " DAVIT_VERSION, "Created",
	                 clock_rfc3339(clock_wall_ms(), created), "Path", path);
}

void state_holder_renew(json_t *record, int64_t count)
{
	_cleanup_json_ json_t *info = NULL;
	const char *text = json_get_string(record, "Info");
	if (text == NULL || json_parse(text, strlen(text), INFO_MAX, &info, NULL) < 0)
		return;
	json_object_set_new(info, "renewed", json_integer(count));
	_cleanup_free_ char *now = json_text(info);
	json_object_set_new(record, "Info", json_string(now));
}

/* ---- what others wrote ---- */

static void take_word(const json_t *from, const char *member, char *ret, size_t size)
{
	const char *text = json_get_string(from, member);
	size_t len = text != NULL ? strlen(text) : 0;
	bool plain = len > 0 && len < size;
	for (size_t i = 0; plain && i < len; i++)
		plain = text[i] > ' ' && text[i] < 0x7f;
	snprintf(ret, size, "%s", plain ? text : "");
}

static void take_text(const json_t *from, const char *member, char *ret, size_t size)
{
	_cleanup_(str_done) struct str shown = STR_INIT(8192);
	const char *text = json_get_string(from, member);
	size_t len = text != NULL ? strlen(text) : 0;
	if (len > 0)
		str_append_safe(&shown, text, str_whole_characters(text, MIN(len, size)));
	snprintf(ret, size, "%.*s", (int)str_whole_characters(str_peek(&shown), MIN(shown.len, size - 1)),
	         str_peek(&shown));
}

void state_holder_read(const json_t *record, struct state_holder *ret)
{
	_cleanup_json_ json_t *info = NULL;
	*ret = (struct state_holder){0};
	take_word(record, "ID", ret->id, sizeof(ret->id));
	take_text(record, "Who", ret->who, sizeof(ret->who));
	take_text(record, "Created", ret->since, sizeof(ret->since));
	const char *text = json_get_string(record, "Info");
	if (text == NULL || json_parse(text, strlen(text), INFO_MAX, &info, NULL) < 0)
		return;
	take_word(info, "deployment", ret->deployment, sizeof(ret->deployment));
	take_word(info, "store_id", ret->store_id, sizeof(ret->store_id));
	take_word(info, "machine_id", ret->machine_id, sizeof(ret->machine_id));
	if (!lock_id_is_sound(ret->deployment))
		ret->deployment[0] = '\0';
	ret->process = TAKE(info);
}

void state_holder_done(struct state_holder *h)
{
	json_decref(h->process);
	h->process = NULL;
}

char *state_holder_describe(const struct state_holder *h)
{
	const char *who = h->who[0] != '\0' ? h->who : "somebody", *since = h->since[0] != '\0' ? h->since : "?";
	return h->deployment[0] != '\0'
	               ? xasprintf("by the deployment %s of %s since %s", h->deployment, who, since)
	               : xasprintf("by %s since %s (lock %s)", who, since, h->id[0] != '\0' ? h->id : "without an id");
}
