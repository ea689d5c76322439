/* triggers: what starts a workflow never or not as meant: patterns that match nothing, workflows that are not there, defaults that do not fit. */
#include "agent/validate/validate.h"
#include "agent/workflow/workflow.h"
#include "base/core/mem.h"
#include "base/sys/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { WORKFLOW_MAX = 1 << 20, WORKFLOWS_MAX = 500 };

struct trigger_look {
	const struct validate_file *file;
	const struct yaml_doc *doc;
	struct str at;
};

static void report(struct trigger_look *l, enum finding_severity severity, const char *code, const char *hint,
                   const char *fmt, const char *text)
{
	_cleanup_free_ char *shown = xasprintf("%.200s", text);
	_cleanup_(str_done) struct str message = STR_INIT(1024);
	const char *place = strstr(fmt, "%s");
	str_appendf(&message, "%.*s%s%s", (int)(place - fmt), fmt, shown, place + strlen("%s"));
	finding_add(l->file->findings, l->file->name, yaml_value_mark(l->doc, str_peek(&l->at)), severity, code, hint,
	            "%s", str_peek(&message));
}

/* ---- filters ---- */

/* What git takes in no name of a branch or tag; * ? [ are the pattern's, and \\ takes that away. */
static bool is_no_ref(const char *pattern)
{
	for (const char *p = pattern; *p != '\0'; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f || strchr("~^:", *p) != NULL || str_starts(p, "..") ||
		    str_starts(p, "//") || str_starts(p, "@{"))
			return true;
	return pattern[0] == '/' || str_ends(pattern, "/") || str_ends(pattern, ".lock");
}

static bool has_outer_blank(const char *pattern)
{
	size_t len = strlen(pattern);
	return len > 0 && (pattern[0] == ' ' || pattern[len - 1] == ' ');
}

static void check_pattern(struct trigger_look *l, const char *pattern, bool paths)
{
	const char *inner = pattern + (*pattern == '!');
	if (!workflow_pattern_good(pattern))
		report(l, FINDING_ERROR, "bad-pattern",
		       "*, **, ?, +, [a-z] and a leading ! are special; \\ takes that away", "'%s' is no pattern",
		       pattern);
	else if (paths && (inner[0] == '/' || str_starts(inner, "./") || str_starts(inner, "../")))
		report(l, FINDING_ERROR, "bad-pattern", "a path begins with the name of a file or directory at the top",
		       "'%s' matches no path", pattern);
	else if (paths && has_outer_blank(inner))
		report(l, FINDING_ERROR, "bad-pattern", "take the blank away", "'%s' begins or ends with a blank",
		       pattern);
	else if (!paths && is_no_ref(inner))
		report(l, FINDING_ERROR, "bad-pattern", "see `git help check-ref-format`",
		       "'%s' matches no name of a branch or tag", pattern);
	else if (!paths && (str_starts(inner, "refs/heads/") || str_starts(inner, "refs/tags/")))
		report(l, FINDING_ERROR, "bad-pattern",
		       "a pattern is compared with the name alone, without refs/heads/",
		       "'%s' matches no name of a branch or tag", pattern);
}

static void check_patterns(struct trigger_look *l, const json_t *value, const char *key)
{
	bool paths = str_starts(key, "paths"), excludes_only = true;
	size_t base = l->at.len, i;
	json_t *item;
	json_array_foreach(value, i, item)
	{
		const char *pattern = json_string_value(item);
		if (pattern == NULL || pattern[0] == '\0')
			return;
		excludes_only &= pattern[0] == '!';
		faults_pointer_push_index(&l->at, i);
		check_pattern(l, pattern, paths);
		str_truncate(&l->at, base);
	}
	if (json_is_string(value) && json_string_length(value) > 0)
		check_pattern(l, json_string_value(value), paths);
	else if (excludes_only && json_array_size(value) > 0 && strstr(key, "-ignore") == NULL)
		report(l, FINDING_ERROR, "bad-pattern", "put what it is taken from before it, as in '**'",
		       "'%s' has patterns that exclude, and none that includes", key);
}

/* ---- workflow_run ---- */

static void add_name(const char *directory, const char *file, json_t *names)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", directory, file);
	_cleanup_(str_done) struct str text = STR_INIT(WORKFLOW_MAX);
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	limits.allow_anchors = true;
	if (fs_read_plain(AT_FDCWD, path, WORKFLOW_MAX, &text, NULL) < 0 ||
	    yaml_read(file, str_peek(&text), text.len, &limits, &doc, NULL) < 0)
		return;
	const char *name = json_get_string(yaml_root(doc), "name");
	_cleanup_free_ char *unnamed = xasprintf(".github/workflows/%s", file);
	json_array_append_new(names, json_string(name != NULL ? name : unnamed));
}

/* Of all workflows beside this one. New; NULL: it lies in no repository. */
static json_t *names_of_workflows(const struct validate_file *file)
{
	static const char place[] = ".github/workflows";
	const char *slash = strrchr(file->name, '/');
	_cleanup_free_ char *directory =
		slash != NULL ? xasprintf("%.*s", (int)(slash - file->name), file->name) : NULL;
	if (directory == NULL || !str_ends(directory, place))
		return NULL;
	DIR *dir = opendir(directory);
	json_t *names = json_array();
	for (struct dirent *e; dir != NULL && json_array_size(names) < WORKFLOWS_MAX && (e = readdir(dir)) != NULL;)
		if (str_ends(e->d_name, ".yml") || str_ends(e->d_name, ".yaml"))
			add_name(directory, e->d_name, names);
	if (dir != NULL)
		closedir(dir);
	return names;
}

static void check_named_workflow(struct trigger_look *l, const json_t *names, json_t *wanted)
{
	_cleanup_json_ json_t *pattern = json_pack("[O]", wanted);
	size_t i;
	json_t *name;
	json_array_foreach((json_t *)(uintptr_t)names, i, name)
	{
		if (workflow_filter(pattern, json_string_value(name)))
			return;
	}
	report(l, FINDING_WARNING, "unknown-workflow", "a workflow is meant by its 'name', without one by its path",
	       "no workflow here has the name '%s'", json_string_value(wanted));
}

static void check_named_workflows(struct trigger_look *l, const json_t *value)
{
	_cleanup_json_ json_t *names = names_of_workflows(l->file);
	size_t base = l->at.len, i;
	json_t *item;
	if (names == NULL)
		return;
	json_array_foreach(value, i, item)
	{
		faults_pointer_push_index(&l->at, i);
		if (json_is_string(item))
			check_named_workflow(l, names, item);
		str_truncate(&l->at, base);
	}
}

static void check_follows(struct trigger_look *l, const char *event, const json_t *settings)
{
	if (event != NULL && strcmp(event, "workflow_run") == 0 && json_object_get(settings, "workflows") == NULL)
		report(l, FINDING_WARNING, "unknown-workflow", "name the workflows that it follows under 'workflows'",
		       "%s names no workflow, so nothing starts this one", event);
}

/* `on` as a name or a list of names. */
static void check_bare_events(struct trigger_look *l, const json_t *on)
{
	size_t i;
	json_t *event;
	str_append(&l->at, "/on");
	check_follows(l, json_string_value(on), NULL);
	json_array_foreach(on, i, event)
	{
		size_t base = l->at.len;
		faults_pointer_push_index(&l->at, i);
		check_follows(l, json_string_value(event), NULL);
		str_truncate(&l->at, base);
	}
	str_truncate(&l->at, 0);
}

/* ---- inputs ---- */

enum { DISPATCH_INPUTS_MAX = 25 };

static void check_number_of_inputs(struct trigger_look *l, const char *event, const json_t *inputs)
{
	char count[32];
	if (strcmp(event, "workflow_dispatch") != 0 || json_object_size(inputs) <= DISPATCH_INPUTS_MAX)
		return;
	snprintf(count, sizeof(count), "%zu", json_object_size(inputs));
	report(l, FINDING_ERROR, "syntax", NULL, "workflow_dispatch has %s inputs; at most 25 are allowed", count);
}

static bool is_option(const json_t *options, const json_t *value)
{
	size_t i;
	json_t *option;
	json_array_foreach(options, i, option)
	{
		if (json_equal(option, value))
			return true;
	}
	return false;
}

/* A number may be written as a text. */
static bool is_number(const json_t *value)
{
	const char *text = json_string_value(value);
	char *end = NULL;
	if (text == NULL)
		return json_is_number(value);
	strtod(text, &end);
	return end != text && *end == '\0';
}

static void check_default(struct trigger_look *l, const json_t *input)
{
	const char *type = json_get_string(input, "type");
	const json_t *value = json_object_get(input, "default"), *options = json_object_get(input, "options");
	if (type == NULL || value == NULL || json_is_null(value))
		return;
	_cleanup_free_ char *text =
		json_is_string(value) ? xstrdup(json_string_value(value)) : json_dumps(value, JSON_ENCODE_ANY);
	size_t base = l->at.len;
	faults_pointer_push(&l->at, "default");
	if (strcmp(type, "number") == 0 && !is_number(value))
		report(l, FINDING_ERROR, "input-default", NULL, "the default '%s' is no number", text);
	else if (strcmp(type, "choice") == 0 && json_is_array(options) && !is_option(options, value))
		report(l, FINDING_ERROR, "input-default", NULL, "the default '%s' is not among the options", text);
	str_truncate(&l->at, base);
}

void validate_triggers(const struct validate_file *file, const struct yaml_doc *doc)
{
	static const char *const filters[] = {"branches",    "branches-ignore", "tags",
	                                      "tags-ignore", "paths",           "paths-ignore"};
	struct trigger_look l = {.file = file, .doc = doc, .at = STR_INIT(8192)};
	const char *event, *key;
	json_t *settings, *value;
	check_bare_events(&l, json_object_get(yaml_root(doc), "on"));
	json_object_foreach(json_object_get(yaml_root(doc), "on"), event, settings)
	{
		str_append(&l.at, "/on");
		faults_pointer_push(&l.at, event);
		size_t base = l.at.len;
		for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
			faults_pointer_push(&l.at, filters[i]);
			check_patterns(&l, json_object_get(settings, filters[i]), filters[i]);
			str_truncate(&l.at, base);
		}
		faults_pointer_push(&l.at, "workflows");
		if (strcmp(event, "workflow_run") == 0)
			check_named_workflows(&l, json_object_get(settings, "workflows"));
		str_truncate(&l.at, base);
		if (strcmp(event, "workflow_run") == 0 && json_object_get(settings, "workflows") == NULL)
			report(&l, FINDING_WARNING, "unknown-workflow",
			       "name the workflows that it follows under 'workflows'",
			       "%s names no workflow, so nothing starts this one", event);
		faults_pointer_push(&l.at, "inputs");
		base = l.at.len;
		check_number_of_inputs(&l, event, json_object_get(settings, "inputs"));
		json_object_foreach(json_object_get(settings, "inputs"), key, value)
		{
			faults_pointer_push(&l.at, key);
			check_default(&l, value);
			str_truncate(&l.at, base);
		}
		str_truncate(&l.at, 0);
	}
	str_done(&l.at);
}
