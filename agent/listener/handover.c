#include "agent/listener/handover.h"

#include "agent/actions/native.h"
#include "agent/service/urls.h"
#include "agent/service/wire.h"
#include "agent/listener/records.h"
#include "base/sys/fs.h"

char *handover_work_root(const struct registration *r, const char *state_dir)
{
	return r->work[0] == '/' ? xstrdup(r->work) : fs_join(state_dir, r->work);
}

char *handover_work_folder(const struct registration *r, const char *state_dir)
{
	_cleanup_free_ char *root = handover_work_root(r, state_dir), *area = records_area(r);
	return fs_join(root, area);
}

static json_t *text_or_empty(const char *text)
{
	return text != NULL ? json_string_lossy(text, strlen(text)) : json_string("");
}

/* "https://github.com" of "https://github.com/acme/widgets". */
static json_t *server_of(const char *url)
{
	const char *start = url == NULL ? NULL : strstr(url, "://");
	return start == NULL ? json_string("")
	                     : json_string_lossy(url, (size_t)(start - url) + 3 + strcspn(start + 3, "/"));
}

json_t *handover_settings(const struct registration *r, const char *state_dir, const char *tracking_id,
                          const json_t *isolation)
{
	_cleanup_free_ char *work = handover_work_folder(r, state_dir);
	json_t *settings = json_object(), *labels = json_array();
	for (size_t i = 0; i < r->labels.count; i++)
		json_array_append_new(labels, text_or_empty(r->labels.items[i]));
	json_object_set_new(settings, "agent_name", text_or_empty(r->name));
	json_object_set_new(settings, "agent_id", json_integer(r->id));
	json_object_set_new(settings, "runner_group", text_or_empty(r->group));
	json_object_set_new(settings, "runner_group_id", json_integer(r->group_id));
	json_object_set_new(settings, "os", json_string(wire_os()));
	json_object_set_new(settings, "arch", json_string(wire_arch()));
	json_object_set_new(settings, "version", json_string(wire_runner_version()));
	json_object_set_new(settings, "work_folder", text_or_empty(work));
	json_object_set_new(settings, "labels", labels);
	json_object_set_new(settings, "actions_repository",
	                    text_or_empty(native_repository(r->native, r->actions_repository)));
	json_object_set_new(settings, "native", text_or_empty(r->native ? r->native : NATIVE_DEFAULT));
	json_object_set_new(settings, "actions", text_or_empty(r->actions));
	json_object_set_new(settings, "node", text_or_empty(r->node));
	json_object_set_new(settings, "on_failure", text_or_empty(r->on_failure ? r->on_failure : "rollback"));
	json_object_set_new(settings, "state_dir", text_or_empty(state_dir));
	json_object_set_new(settings, "server_url", server_of(r->url));
	json_object_set_new(settings, "url", text_or_empty(r->url));
	json_object_set_new(settings, "ephemeral", json_boolean(r->ephemeral));
	json_object_set_new(settings, "tracking_id", text_or_empty(tracking_id));
	if (isolation != NULL)
		json_object_set(settings, "isolation", (json_t *)(uintptr_t)isolation);
	return settings;
}

json_t *handover_cancel(int64_t timeout_s, const char *reason)
{
	return json_pack("{s:{s:I, s:s}}", "cancel", "timeout_s", (json_int_t)timeout_s, "reason", reason);
}

int handover_cancel_value(int64_t timeout_s, const char *reason)
{
	int number = strcmp(reason, "lease") == 0 ? 2 : strcmp(reason, "shutdown") == 0 ? 3 : 1;
	return (int)MIN(MAX(timeout_s, 0), (int64_t)86400) * 4 + number;
}
