/* event: `on:`: the events that start a workflow, what each may be filtered by, and the inputs of a dispatch. */
#include "agent/workflow/workflow_priv.h"
#include "base/data/cron.h"

#include <string.h>

enum { BRANCHES = 1, TAGS = 2, PATHS = 4, WORKFLOWS = 8, VERSIONS = 16 };

#define OF_A_PULL_REQUEST                                                                                              \
	"assigned unassigned labeled unlabeled opened edited closed reopened synchronize converted_to_draft locked "   \
	"unlocked enqueued dequeued milestoned demilestoned ready_for_review review_requested "                        \
	"review_request_removed auto_merge_enabled auto_merge_disabled stacked"

static const struct event {
	const char *name;
	const char *types; /* of its activity, between blanks; NULL: it has none; "": any */
	unsigned filters;
} events[] = {
	{"branch_protection_rule", "created edited deleted", 0},
	{"check_run", "completed created rerequested requested_action", 0},
	{"check_suite", "completed", 0},
	{"create", NULL, 0},
	{"delete", NULL, 0},
	{"deployment", NULL, 0},
	{"deployment_status", NULL, 0},
	{"discussion",
         "created edited deleted transferred pinned unpinned labeled unlabeled locked unlocked category_changed answered "
         "unanswered",
         0},
	{"discussion_comment", "created edited deleted", 0},
	{"fork", NULL, 0},
	{"gollum", NULL, 0},
	{"image_version", "created ready deleted", VERSIONS},
	{"issue_comment", "created edited deleted", 0},
	{"issues",
         "opened edited deleted transferred pinned unpinned closed reopened assigned unassigned labeled unlabeled locked "
         "unlocked milestoned demilestoned field_added field_removed typed untyped",
         0},
	{"label", "created edited deleted", 0},
	{"merge_group", "checks_requested", BRANCHES},
	{"milestone", "created closed opened edited deleted", 0},
	{"page_build", NULL, 0},
	{"project", "created closed reopened edited deleted", 0},
	{"project_card", "created moved converted edited deleted", 0},
	{"project_column", "created updated moved deleted", 0},
	{"public", NULL, 0},
	{"pull_request", OF_A_PULL_REQUEST, BRANCHES | PATHS},
	{"pull_request_comment", "created edited deleted", 0},
	{"pull_request_review", "submitted edited dismissed", 0},
	{"pull_request_review_comment", "created edited deleted", 0},
	{"pull_request_target", OF_A_PULL_REQUEST, BRANCHES | PATHS},
	{"push", NULL, BRANCHES | TAGS | PATHS},
	{"registry_package", "published updated", 0},
	{"release", "published unpublished created edited deleted prereleased released", 0},
	{"repository_dispatch", "", 0},
	{"schedule", NULL, 0},
	{"status", NULL, 0},
	{"watch", "started", 0},
	{"workflow_call", NULL, 0},
	{"workflow_dispatch", NULL, 0},
	{"workflow_run", "requested completed in_progress", BRANCHES | WORKFLOWS},
};
static const struct {
	unsigned filter;
	const char *key;
} filter_keys[] = {
	{BRANCHES, "branches"}, {BRANCHES, "branches-ignore"}, {TAGS, "tags"},           {TAGS, "tags-ignore"},
	{PATHS, "paths"},       {PATHS, "paths-ignore"},       {WORKFLOWS, "workflows"}, {VERSIONS, "names"},
	{VERSIONS, "versions"},
};

static const struct event *find_event(struct reader *r, const char *name)
{
	const char *names[ARRAY_SIZE(events)];
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		if (strcmp(events[i].name, name) == 0)
			return &events[i];
		names[i] = events[i].name;
	}
	reader_fault(r, "'%.60s' is not an event that starts a workflow", name);
	faults_code(r->source.faults, "unknown-event");
	const char *nearest = str_nearest(name, names, ARRAY_SIZE(names));
	if (nearest)
		faults_hint(r->source.faults, "did you mean '%s'?", nearest);
	return NULL;
}

/* ---- filters ---- */

static bool is_word_of(const char *words, const char *text)
{
	size_t len = strlen(text);
	for (const char *p = words; (p = strstr(p, text)) != NULL; p += len)
		if ((p == words || p[-1] == ' ') && (p[len] == ' ' || p[len] == '\0'))
			return true;
	return false;
}

static void check_types(struct reader *r, const struct event *event, const json_t *types)
{
	size_t i;
	json_t *item;
	json_array_foreach((json_t *)(uintptr_t)types, i, item)
	{
		const char *type = json_string_value(item);
		if (type == NULL || *type == '\0' || event->types[0] == '\0' || is_word_of(event->types, type))
			continue;
		reader_fault(r, "'%s' has no activity of the type '%.60s'", event->name, type);
		faults_hint(r->source.faults, "it has: %s", event->types);
	}
}

/* A filter is a string or a list of strings; read as a list. */
static void read_filter(struct reader *r, const struct event *event, json_t *filters, const char *key)
{
	json_t *value = json_object_get(filters, key), *item;
	size_t i, mark = reader_enter(r, key);
	bool good = json_is_string(value) || json_is_array(value);
	if (json_is_string(value)) {
		json_object_set_new(filters, key, json_pack("[O]", value));
		value = json_object_get(filters, key);
	}
	json_array_foreach(value, i, item) good &= json_is_string(item) && json_string_length(item) > 0;
	if (!good)
		reader_fault(r, "'%s' must be a list of strings that are not empty", key);
	json_array_foreach(value, i, item) if (reader_is_expression(item))
		reader_fault(r, "'%s' cannot hold an expression", key);
	if (strcmp(key, "types") == 0)
		check_types(r, event, value);
	reader_leave(r, mark);
}

static void check_exclusion(struct reader *r, const json_t *filters, const char *key, const char *other)
{
	if (json_object_get(filters, key) && json_object_get(filters, other))
		reader_fault(r, "'%s' and '%s' exclude each other: use a pattern with a leading !", key, other);
}

static void read_filters(struct reader *r, const struct event *event, json_t *filters)
{
	const char *known[ARRAY_SIZE(filter_keys) + 1], *key;
	size_t count = 0;
	_cleanup_free_ char *what = xasprintf("on.%s", event->name);
	json_t *value;
	void *next;
	for (size_t i = 0; i < ARRAY_SIZE(filter_keys); i++)
		if (event->filters & filter_keys[i].filter)
			known[count++] = filter_keys[i].key;
	if (event->types != NULL)
		known[count++] = "types";
	reader_known_keys(r, filters, what, known, count);
	json_object_foreach_safe(filters, next, key, value)
	{
		for (size_t i = 0; i < count; i++)
			if (strcmp(known[i], key) == 0)
				read_filter(r, event, filters, known[i]);
	}
	check_exclusion(r, filters, "branches", "branches-ignore");
	check_exclusion(r, filters, "tags", "tags-ignore");
	check_exclusion(r, filters, "paths", "paths-ignore");
}

/* ---- workflow_dispatch ---- */

static bool default_fits(const char *type, const json_t *value)
{
	if (value == NULL || json_is_null(value))
		return true;
	if (strcmp(type, "boolean") == 0)
		return json_is_boolean(value);
	return !json_is_object(value) && !json_is_array(value);
}

static void check_default(struct reader *r, const char *type, const json_t *input)
{
	size_t mark = reader_enter(r, "default");
	if (!default_fits(type, json_object_get(input, "default")))
		reader_fault(r, "the default of an input of type %s must be a %s", type, type);
	reader_leave(r, mark);
}

static void read_input(struct reader *r, json_t *input)
{
	static const char *const keys[] = {"description", "required", "default",
	                                   "type",        "options",  "deprecationMessage"};
	static const char *const types[] = {"string", "boolean", "number", "choice", "environment"};
	if (json_is_null(input))
		return;
	if (!json_is_object(input)) {
		reader_fault(r, "an input must be a map");
		return;
	}
	reader_known_keys(r, input, "an input", keys, ARRAY_SIZE(keys));
	const char *said = json_get_string(input, "type"), *type = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (said != NULL && strcmp(types[i], said) == 0)
			type = types[i];
	if (type == NULL && json_object_get(input, "type") != NULL)
		reader_fault(r, "the type of an input is string, boolean, number, choice or environment, not '%.40s'",
		             said != NULL ? said : "");
	json_t *options = json_object_get(input, "options");
	bool choice = type != NULL && strcmp(type, "choice") == 0;
	if (choice && !(json_is_array(options) && json_array_size(options)))
		reader_fault(r, "an input of type choice needs 'options'");
	if (!choice && options != NULL)
		reader_fault(r, "'options' belong to an input of type choice");
	if (type != NULL)
		check_default(r, type, input);
	json_decref(reader_boolean(r, input, "required"));
}

static void read_dispatch(struct reader *r, json_t *dispatch)
{
	static const char *const keys[] = {"inputs"};
	reader_known_keys(r, dispatch, "on.workflow_dispatch", keys, 1);
	size_t mark = reader_enter(r, "inputs");
	json_t *inputs = json_object_get(dispatch, "inputs");
	if (inputs && !json_is_object(inputs) && !json_is_null(inputs))
		reader_fault(r, "'inputs' must be a map");
	const char *name;
	json_t *input;
	json_object_foreach(inputs, name, input)
	{
		size_t inner = reader_enter(r, name);
		read_input(r, input);
		reader_leave(r, inner);
	}
	reader_leave(r, mark);
}

/* ---- schedule ---- */

static void read_time(struct reader *r, const json_t *time)
{
	static const char *const keys[] = {"cron", "timezone"};
	if (!json_is_object(time)) {
		reader_fault(r, "an entry of 'schedule' must be a map with 'cron'");
		return;
	}
	reader_known_keys(r, time, "on.schedule", keys, ARRAY_SIZE(keys));
	const json_t *cron = json_object_get(time, "cron");
	size_t mark = reader_enter(r, "cron");
	if (cron == NULL) {
		reader_leave(r, mark);
		reader_fault(r, "an entry of 'schedule' needs 'cron'");
	} else if (!json_is_string(cron) || !cron_fits(json_string_value(cron), CRON_GITHUB)) {
		reader_fault(r, "'%.60s' is no cron line", json_is_string(cron) ? json_string_value(cron) : "");
		faults_code(r->source.faults, "cron");
		faults_hint(r->source.faults, "minute hour day month weekday, as in '30 4 * * 1-5' (UTC)");
	}
	reader_leave(r, mark);
	_cleanup_free_ char *zone = reader_string(r, time, "timezone", false);
}

static void read_schedule(struct reader *r, const json_t *times)
{
	size_t i;
	json_t *time;
	if (!json_is_array(times))
		reader_fault(r, "'schedule' must be a list of maps with 'cron'");
	json_array_foreach((json_t *)(uintptr_t)times, i, time)
	{
		size_t mark = reader_enter_index(r, i);
		read_time(r, time);
		reader_leave(r, mark);
	}
}

/* ---- on ---- */

static void read_event(struct reader *r, const char *name, const json_t *said, json_t *value)
{
	const struct event *event = find_event(r, name);
	if (event == NULL)
		return;
	if (strcmp(name, "schedule") == 0)
		read_schedule(r, said);
	else if (!json_is_object(said) && !json_is_null(said))
		reader_fault(r, "the event '%.60s' has a map or nothing", name);
	else if (strcmp(name, "workflow_dispatch") == 0)
		read_dispatch(r, value);
	else if (strcmp(name, "workflow_call") == 0)
		reader_call_trigger(r, value);
	else
		read_filters(r, event, value);
}

static void read_list(struct reader *r, const json_t *list, json_t *result)
{
	size_t i;
	json_t *item;
	json_array_foreach((json_t *)(uintptr_t)list, i, item)
	{
		size_t mark = reader_enter_index(r, i);
		if (!json_is_string(item))
			reader_fault(r, "'on' lists names of events");
		else if (find_event(r, json_string_value(item)) != NULL)
			json_object_set_new(result, json_string_value(item), json_object());
		reader_leave(r, mark);
	}
}

json_t *reader_triggers(struct reader *r, const json_t *root)
{
	json_t *on = json_object_get(root, "on"), *result = json_object(), *said;
	size_t mark = reader_enter(r, "on");
	const char *name;
	void *next;
	if (json_is_string(on) && find_event(r, json_string_value(on)) != NULL)
		json_object_set_new(result, json_string_value(on), json_object());
	else if (json_is_array(on))
		read_list(r, on, result);
	else if (!json_is_object(on) && !json_is_string(on))
		reader_fault(r, on ? "'on' must be an event, a list or a map of events"
		                   : "a workflow needs 'on', the events that start it");
	json_object_foreach_safe(on, next, name, said)
	{
		size_t inner = reader_enter(r, name);
		json_t *value = json_is_object(said) ? json_deep_copy(said) : json_object();
		json_object_set_new(result, name, value);
		read_event(r, name, said, value);
		reader_leave(r, inner);
	}
	reader_leave(r, mark);
	return result;
}
