#include "engine/run/request.h"

#include "base/core/mem.h"
#include "base/data/json.h"
#include <string.h>

static void sort_events(struct request *r)
{
	size_t i;
	json_t *event;
	json_array_foreach(r->events, i, event)
	{
		const char *kind = json_get_string(event, "kind");
		json_t *data = json_object_get(event, "data");
		const char *how = json_get_string(data, "how");
		if (kind && strcmp(kind, "approval") == 0) {
			json_array_append(r->approvals, data);
			if (how && strcmp(how, "key") == 0)
				json_array_append(r->proven, data);
		} else if (kind && strcmp(kind, "plan") == 0) {
			r->plan = data;
		}
	}
}

int request_read(struct store *s, const json_t *doc, struct request *ret, struct err *err)
{
	const json_t *asked = json_object_get(doc, "parked");
	const char *id = json_get_string(doc, "id"), *name = json_get_string(doc, "name"),
		   *environment = json_get_string(doc, "environment"), *digest = json_get_string(doc, "plan_digest");
	*ret = (struct request){.doc = json_deep_copy(doc), .approvals = json_array(), .proven = json_array()};
	if (asked == NULL || digest == NULL || id == NULL)
		return err_set(err, ERR_PROTOCOL, "the deployment %s was never parked", id ? id : "");
	int r = store_event_list(s, id, &ret->events, err);
	if (r < 0)
		return r;
	sort_events(ret);
	ret->scope = xasprintf("%s.%s", name ? name : "", environment ? environment : "");
	asked = json_object_get(ret->doc, "parked");
	const char *by = json_get_string(asked, "asked_by");
	ret->step = (struct step_request){.id = json_get_string(ret->doc, "id"),
	                                  .scope = ret->scope,
	                                  .digest = json_get_string(ret->doc, "plan_digest"),
	                                  .until_ms = json_get_int(asked, "until_ms", 0),
	                                  .asked_by = by ? by : "",
	                                  .asked = asked,
	                                  .approvals = ret->proven};
	return 0;
}

void request_done(struct request *r)
{
	json_decref(r->doc);
	json_decref(r->events);
	json_decref(r->approvals);
	json_decref(r->proven);
	free(r->scope);
}
