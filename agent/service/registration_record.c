/* A registration as it lies on the disk: JSON, format 1. */
#include "agent/service/registration.h"

#include <stddef.h>

enum { RECORD_FORMAT = 1 };

void registration_done(struct registration *r)
{
	free(r->url);
	free(r->name);
	free(r->group);
	strv_done(&r->labels);
	free(r->work);
	free(r->server_url);
	free(r->broker_url);
	free(r->generation);
	free(r->client_id);
	free(r->authorization_url);
	free(r->token_url);
	free(r->worker_user);
	free(r->actions_repository);
	free(r->native);
	free(r->on_failure);
	free(r->isolation);
	free(r->actions);
	free(r->node);
	free(r->credential);
	*r = (struct registration){0};
}

static void overlay(char **member, const char *text)
{
	if (text == NULL)
		return;
	free(*member);
	*member = xstrdup(text);
}

void registration_overlay(struct registration *r, const char *worker_user, const char *native)
{
	overlay(&r->worker_user, worker_user);
	overlay(&r->native, native);
}

int64_t registration_pace(int64_t ms)
{
	static int percent;
	if (percent == 0) {
		const char *text = getenv("DAVIT_PACE_PERCENT");
		long long value;
		percent = text != NULL && str_parse_i64(text, 1, 100, &value) ? (int)value : 100;
	}
	return ms * percent / 100;
}

/* The members that are plain strings. */
struct text_member {
	const char *key;
	size_t offset;
	bool required;
};
#define MEMBER(name, need)                                                                                             \
	{                                                                                                              \
#name, offsetof(struct registration, name), need                                                       \
	}
static const struct text_member members[] = {
	MEMBER(url, false),        MEMBER(name, true),         MEMBER(group, false),
	MEMBER(work, true),        MEMBER(server_url, false),  MEMBER(broker_url, false),
	MEMBER(generation, false), MEMBER(client_id, true),    MEMBER(authorization_url, true),
	MEMBER(token_url, false),  MEMBER(worker_user, false), MEMBER(actions_repository, false),
	MEMBER(native, false),     MEMBER(on_failure, false),  MEMBER(isolation, false),
	MEMBER(actions, false),    MEMBER(node, false),        MEMBER(credential, false),
};
#undef MEMBER

static char **member_of(const struct registration *r, const struct text_member *m)
{
	return (char **)((char *)(uintptr_t)r + m->offset);
}

json_t *registration_to_json(const struct registration *r)
{
	json_t *record = json_object();
	json_object_set_new(record, "format", json_integer(RECORD_FORMAT));
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const char *text = *member_of(r, &members[i]);
		if (text != NULL)
			json_object_set_new(record, members[i].key, json_string_lossy(text, strlen(text)));
	}
	json_object_set_new(record, "id", json_integer(r->id));
	json_object_set_new(record, "group_id", json_integer(r->group_id));
	json_object_set_new(record, "signature", json_string(r->pss ? "PS256" : "RS256"));
	json_object_set_new(record, "ephemeral", json_boolean(r->ephemeral));
	json_object_set_new(record, "disable_update", json_boolean(r->disable_update));
	json_t *labels = json_array();
	for (size_t i = 0; i < r->labels.count; i++)
		json_array_append_new(labels, json_string_lossy(r->labels.items[i], strlen(r->labels.items[i])));
	json_object_set_new(record, "labels", labels);
	return record;
}

static int read_members(const json_t *record, struct registration *r, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const char *text = json_get_string(record, members[i].key);
		if (text == NULL && members[i].required)
			return err_set(err, ERR_INVALID, "the registration lacks '%s'", members[i].key);
		*member_of(r, &members[i]) = xstrdup(text);
	}
	if (r->broker_url == NULL && r->server_url == NULL)
		return err_set(err, ERR_INVALID, "the registration lacks 'broker_url'");
	const char *signature = json_get_string(record, "signature");
	r->pss = signature == NULL || strcmp(signature, "RS256") != 0;
	if (!json_is_integer(json_object_get(record, "id")))
		return err_set(err, ERR_INVALID, "the registration lacks 'id'");
	r->id = json_get_int(record, "id", 0);
	r->group_id = json_get_int(record, "group_id", 0);
	r->ephemeral = json_get_bool(record, "ephemeral", false);
	r->disable_update = json_get_bool(record, "disable_update", false);
	size_t i;
	json_t *label;
	json_array_foreach(json_get_array(record, "labels"), i, label) if (json_is_string(label))
		strv_add(&r->labels, json_string_value(label));
	return 0;
}

int registration_from_json(const json_t *record, struct registration *ret, struct err *err)
{
	int64_t format = json_get_int(record, "format", 0);
	if (!json_is_object(record) || !json_is_integer(json_object_get(record, "format")))
		return err_set(err, ERR_INVALID, "this is not a registration");
	if (format > RECORD_FORMAT)
		return err_set(err, ERR_UNSUPPORTED, "the registration has format %lld; this release reads up to %d",
		               (long long)format, RECORD_FORMAT);
	struct registration r = {0};
	int code = read_members(record, &r, err);
	if (code < 0) {
		registration_done(&r);
		return code;
	}
	*ret = r;
	return 0;
}
