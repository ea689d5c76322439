/* settings: what a workflow and a job have alike: permissions, defaults, concurrency. */
#include "agent/workflow/workflow_priv.h"
#include "agent/expr/expr.h"

#include <string.h>

static const char *const scopes[] = {"actions",
                                     "artifact-metadata",
                                     "attestations",
                                     "checks",
                                     "code-quality",
                                     "contents",
                                     "copilot-requests",
                                     "deployments",
                                     "discussions",
                                     "drives",
                                     "id-token",
                                     "issues",
                                     "models",
                                     "packages",
                                     "pages",
                                     "pull-requests",
                                     "repository-projects",
                                     "security-events",
                                     "statuses",
                                     "vulnerability-alerts"};

static const char *const never_read[] = {"copilot-requests", "id-token"};
static const char *const never_written[] = {"models", "vulnerability-alerts"};

static bool is_one_of(const char *text, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(text, names[i]) == 0)
			return true;
	return false;
}

json_t *reader_permissions(struct reader *r, const json_t *object)
{
	json_t *value = json_object_get(object, "permissions");
	if (!value)
		return NULL;
	size_t mark = reader_enter(r, "permissions");
	const char *word = json_string_value(value);
	if (word && strcmp(word, "read-all") != 0 && strcmp(word, "write-all") != 0)
		reader_fault(r, "permissions are read-all, write-all or a map, not '%.40s'", word);
	else if (!word && !json_is_object(value))
		reader_fault(r, "permissions are read-all, write-all or a map");
	if (json_is_object(value))
		reader_known_keys(r, value, "permissions", scopes, ARRAY_SIZE(scopes));
	const char *scope;
	json_t *level;
	json_object_foreach(value, scope, level)
	{
		const char *text = json_string_value(level);
		size_t inner = reader_enter(r, scope);
		if (!text || (strcmp(text, "read") != 0 && strcmp(text, "write") != 0 && strcmp(text, "none") != 0))
			reader_fault(r, "a permission is read, write or none");
		else if (is_one_of(scope, never_read, ARRAY_SIZE(never_read)) && strcmp(text, "read") == 0)
			reader_fault(r, "the permission '%s' is write or none", scope);
		else if (is_one_of(scope, never_written, ARRAY_SIZE(never_written)) && strcmp(text, "write") == 0)
			reader_fault(r, "the permission '%s' is read or none", scope);
		reader_leave(r, inner);
	}
	reader_leave(r, mark);
	return json_incref(value);
}

json_t *reader_defaults(struct reader *r, const json_t *object)
{
	json_t *value = json_object_get(object, "defaults");
	if (!value || json_is_null(value))
		return NULL;
	size_t mark = reader_enter(r, "defaults");
	static const char *const keys[] = {"run"};
	static const char *const run_keys[] = {"shell", "working-directory"};
	if (!json_is_object(value))
		reader_fault(r, "'defaults' must be a map");
	else
		reader_known_keys(r, value, "defaults", keys, 1);
	json_t *run = json_object_get(value, "run");
	size_t inner = reader_enter(r, "run");
	if (json_is_object(run))
		reader_known_keys(r, run, "defaults.run", run_keys, 2);
	else if (run)
		reader_fault(r, "'run' must be a map");
	reader_leave(r, inner);
	json_t *token = template_from_yaml(&r->source, value, str_peek(&r->at));
	reader_leave(r, mark);
	return token;
}

void reader_refuse(struct reader *r, const json_t *object, const char *key, const char *why)
{
	if (!json_object_get(object, key))
		return;
	size_t mark = reader_enter(r, key);
	reader_refuse_here(r, "'%s' is not supported: %s", key, why);
	reader_leave(r, mark);
}

static void read_queue(struct reader *r, const json_t *concurrency)
{
	const char *queue = json_get_string(concurrency, "queue");
	if (json_object_get(concurrency, "queue") == NULL || (queue != NULL && strcmp(queue, "single") == 0))
		return;
	if (queue != NULL && strcmp(queue, "max") == 0) {
		reader_refuse(r, concurrency, "queue", "one run waits, as without it");
		return;
	}
	size_t mark = reader_enter(r, "queue");
	reader_fault(r, "'queue' is single or max");
	reader_leave(r, mark);
}

void reader_concurrency(struct reader *r, const json_t *object, json_t **group, json_t **cancel)
{
	json_t *value = json_object_get(object, "concurrency");
	if (!value)
		return;
	size_t mark = reader_enter(r, "concurrency");
	static const char *const keys[] = {"group", "cancel-in-progress", "queue"};
	if (json_is_string(value)) {
		*group = template_from_yaml(&r->source, value, str_peek(&r->at));
	} else if (json_is_object(value)) {
		reader_known_keys(r, value, "concurrency", keys, ARRAY_SIZE(keys));
		if (!json_is_string(json_object_get(value, "group")))
			reader_fault(r, "'concurrency' needs a 'group' that is a text");
		read_queue(r, value);
		*group = reader_token(r, value, "group");
		*cancel = reader_boolean(r, value, "cancel-in-progress");
	} else {
		reader_fault(r, "'concurrency' must be a text or a map with 'group'");
	}
	reader_leave(r, mark);
}
