#include "agent/deployment/find.h"
#include "schemas/step_info.h"

#include <string.h>

enum { LOOKED_AT = 1000 };

static bool has_state(const json_t *deployment, const char *state)
{
	const char *is = json_get_string(deployment, "state");
	return is != NULL && strcmp(is, state) == 0;
}

static json_t *last_one(const json_t *all)
{
	size_t i;
	json_t *d;
	json_array_foreach((json_t *)all, i, d) if (!has_state(d, "refused")) return d;
	return json_array_get(all, 0);
}

int deployment_find(struct store *store, const char *word, json_t **ret, struct err *err)
{
	json_t *all _cleanup_json_ = NULL, *found = NULL, *d;
	struct store_filter filter = {.limit = LOOKED_AT};
	struct err not_found = ERR_INIT;
	int r = store_deployment_get(store, word, ret, &not_found);
	if (r != ERR_NOT_FOUND) {
		if (r < 0)
			*err = not_found;
		return r;
	}
	r = store_deployment_list(store, &filter, &all, err);
	if (r < 0)
		return r;
	bool last = strcmp(word, "last") == 0;
	size_t i, matches = 0;
	if (last)
		matches = (found = last_one(all)) != NULL;
	json_array_foreach(all, i, d)
	{
		if (last || *word == '\0' || !str_starts(json_get_string(d, "id"), word))
			continue;
		found = d;
		matches++;
	}
	if (matches == 1) {
		*ret = json_incref(found);
		return 0;
	}
	r = err_set(err, ERR_INVALID, matches ? "'%s' begins several deployments' ids" : "no deployment is called '%s'",
	            word);
	return err_hint(err, r, "`davit history` lists them");
}

/* "releases/ID", as in the link to the valid release: its name. */
static const char *release_of(const json_t *state)
{
	const char *link = json_get_string(state, "link"), *at = link ? strstr(link, "releases/") : NULL;
	return at && (at == link || at[-1] == '/') && at[9] != '\0' && strchr(at + 9, '/') == NULL ? at + 9 : NULL;
}

static bool made_by_rollback(struct store *store, const char *id)
{
	json_t *steps _cleanup_json_ = NULL;
	struct err ignored = ERR_INIT;
	if (store_step_list(store, id, &steps, &ignored) < 0)
		return false;
	const char *step = json_get_string(json_array_get(steps, json_array_size(steps) - 1), "step");
	const struct step_info *info = step != NULL ? step_info(step) : NULL;
	return info != NULL && info->decides;
}

int deployment_describe(struct store *store, json_t *deployment, struct err *err)
{
	struct plan changes _cleanup_(plan_done) = {0};
	const char *id = json_get_string(deployment, "id");
	int r = store_change_list(store, id, &changes, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < changes.count; i++) {
		const char *to = release_of(changes.changes[i].after), *from = release_of(changes.changes[i].before);
		if (to == NULL)
			continue;
		json_object_set_new(deployment, "release", json_string(to));
		if (from != NULL)
			json_object_set_new(deployment, "from", json_string(from));
	}
	json_object_set_new(deployment, "changes", json_integer((json_int_t)changes.count));
	json_object_set_new(deployment, "kind",
	                    json_string(json_get_bool(deployment, "accepted", false) ? "accepted"
	                                : made_by_rollback(store, id)                ? "rollback"
	                                                                             : "deploy"));
	return 0;
}

static bool same_scope(const json_t *a, const json_t *b)
{
	static const char *const parts[] = {"name", "environment"};
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (!json_equal(json_object_get(a, parts[i]), json_object_get(b, parts[i])))
			return false;
	return true;
}

void deployment_mark_live(json_t *deployments)
{
	size_t i, k;
	json_t *d, *newer;
	json_array_foreach(deployments, i, d)
	{
		bool live = has_state(d, "committed");
		json_array_foreach(deployments, k, newer)
		{
			if (k == i)
				break;
			live = live && !(has_state(newer, "committed") && same_scope(newer, d));
		}
		if (live)
			json_object_set_new(d, "live", json_true());
	}
}
