/* trigger: whether an event starts a workflow, and the inputs of a dispatch. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "agent/workflow/workflow_priv.h"

#include <math.h>
#include <pcre2.h>
#include <stdarg.h>
#include <string.h>

static bool one_of(const char *text, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(text, names[i]) == 0)
			return true;
	return false;
}

/* A pattern as a regular expression over the whole name; NULL: it is none. */
static pcre2_code *compile_pattern(const char *pattern)
{
	_cleanup_(str_done) struct str regex = STR_INIT(8192);
	str_append(&regex, "\\A(?:");
	for (const char *p = pattern; *p; p++) {
		if (p[0] == '*' && p[1] == '*' && p[2] == '/' && (p == pattern || p[-1] == '/')) {
			str_append(&regex, "(?:.*/)?"); /* no directory at all, too */
			p += 2;
		} else if (p[0] == '*' && p[1] == '*') {
			str_append(&regex, ".*");
			p++;
		} else if (*p == '*') {
			str_append(&regex, "[^/]*");
		} else if (*p == '?' || *p == '+' || *p == '[' || *p == ']') {
			str_append_c(&regex, *p);
		} else if (*p == '\\' && p[1]) {
			str_appendf(&regex, "\\x{%02x}", (unsigned char)*++p);
		} else if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
		           *p == '-' || *p == '_') {
			str_append_c(&regex, *p);
		} else {
			str_appendf(&regex, "\\x{%02x}", (unsigned char)*p);
		}
	}
	str_append(&regex, ")\\z");
	int code = 0;
	size_t offset = 0;
	return regex.failed ? NULL
	                    : pcre2_compile((PCRE2_SPTR)regex.data, regex.len, PCRE2_DOTALL, &code, &offset, NULL);
}

bool workflow_pattern_good(const char *pattern)
{
	pcre2_code *compiled = compile_pattern(pattern + (*pattern == '!'));
	pcre2_code_free(compiled);
	return compiled != NULL;
}

static bool pattern_matches(const char *pattern, const char *name)
{
	pcre2_code *compiled = compile_pattern(pattern);
	if (!compiled)
		return false;
	pcre2_match_context *context = pcre2_match_context_create(NULL);
	pcre2_set_match_limit(context, 100000);
	pcre2_match_data *data = pcre2_match_data_create_from_pattern(compiled, NULL);
	int result = pcre2_match(compiled, (PCRE2_SPTR)name, strlen(name), 0, 0, data, context);
	pcre2_match_data_free(data);
	pcre2_match_context_free(context);
	pcre2_code_free(compiled);
	return result >= 0;
}

bool workflow_filter(const json_t *patterns, const char *name)
{
	bool wanted = false;
	size_t i;
	json_t *item;
	json_array_foreach(patterns, i, item)
	{
		const char *pattern = json_string_value(item);
		if (!pattern)
			continue;
		if (*pattern == '!')
			wanted = wanted && !pattern_matches(pattern + 1, name);
		else
			wanted = wanted || pattern_matches(pattern, name);
	}
	return wanted;
}

static const char *const starting[] = {"push",          "pull_request",      "schedule",
                                       "workflow_call", "workflow_dispatch", "repository_dispatch",
                                       "workflow_run"};

bool workflow_wants(const struct workflow *w, const char *event, const char *branch, const char *action)
{
	static const char *const usual[] = {"opened", "synchronize", "reopened"};
	const json_t *filters = json_object_get(w->on, event);
	const json_t *types = json_object_get(filters, "types"), *branches = json_object_get(filters, "branches"),
		     *ignored = json_object_get(filters, "branches-ignore");
	if (filters == NULL)
		return false;
	bool some = strncmp(event, "pull_request", strlen("pull_request")) == 0; /* others have all of theirs */
	if (action != NULL &&
	    (types != NULL ? !workflow_filter(types, action) : some && !one_of(action, usual, ARRAY_SIZE(usual))))
		return false;
	if (branch != NULL && branches != NULL)
		return workflow_filter(branches, branch);
	return branch == NULL || ignored == NULL || !workflow_filter(ignored, branch);
}

bool workflow_wants_run_of(const struct workflow *w, const char *name)
{
	const json_t *names = json_object_get(json_object_get(w->on, "workflow_run"), "workflows");
	return names != NULL && workflow_filter(names, name);
}

bool workflow_has_path_filter(const struct workflow *w, const char *event)
{
	const json_t *filters = json_object_get(w->on, event);
	return json_object_get(filters, "paths") != NULL || json_object_get(filters, "paths-ignore") != NULL;
}

bool workflow_wants_paths(const struct workflow *w, const char *event, const struct strv *changed)
{
	const json_t *filters = json_object_get(w->on, event), *wanted = json_object_get(filters, "paths"),
		     *ignored = json_object_get(filters, "paths-ignore");
	bool wants = wanted == NULL && ignored == NULL;
	for (size_t i = 0; i < changed->count && !wants; i++)
		wants = wanted != NULL ? workflow_filter(wanted, changed->items[i])
		                       : !workflow_filter(ignored, changed->items[i]);
	return wants;
}

const char *workflow_silent_event(const struct workflow *w, size_t n)
{
	const char *name;
	json_t *value;
	json_object_foreach(w->on, name,
	                    value) if (!one_of(name, starting, ARRAY_SIZE(starting)) && n-- == 0) return name;
	return NULL;
}

bool workflow_wants_push(const struct workflow *w, const char *ref)
{
	json_t *push = json_object_get(w->on, "push");
	if (!push)
		return false;
	json_t *branches = json_object_get(push, "branches"),
	       *branches_ignore = json_object_get(push, "branches-ignore");
	json_t *tags = json_object_get(push, "tags"), *tags_ignore = json_object_get(push, "tags-ignore");
	bool branch_rules = branches || branches_ignore, tag_rules = tags || tags_ignore;
	if (str_starts(ref, "refs/heads/")) {
		const char *name = ref + strlen("refs/heads/");
		if (!branch_rules)
			return !tag_rules;
		return branches ? workflow_filter(branches, name) : !workflow_filter(branches_ignore, name);
	}
	if (str_starts(ref, "refs/tags/")) {
		const char *name = ref + strlen("refs/tags/");
		if (!tag_rules)
			return !branch_rules;
		return tags ? workflow_filter(tags, name) : !workflow_filter(tags_ignore, name);
	}
	return false;
}

bool workflow_skipped_by(const char *message)
{
	static const char *const words[] = {"[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]"};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strstr(message, words[i]) != NULL)
			return true;
	/* A trailer stands at the end, after an empty line. */
	const char *last = NULL;
	for (const char *p = message; (p = strstr(p, "\n\n")) != NULL; p++)
		last = p;
	return last != NULL &&
	       (strstr(last, "\nskip-checks: true") != NULL || strstr(last, "\nskip-checks:true") != NULL);
}

static int check_input_value(const char *name, const json_t *declared, json_t *value, json_t **ret, struct err *err)
{
	const char *type = json_get_string(declared, "type");
	if (!type)
		type = "string";
	_cleanup_free_ char *text = template_literal(value);
	if (!text)
		return err_set(err, ERR_INVALID, "the value of input '%s' must be a text", name);
	if (strcmp(type, "boolean") == 0) {
		if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
			return err_set(err, ERR_INVALID, "input '%s' must be true or false", name);
		*ret = json_boolean(strcmp(text, "true") == 0);
		return 0;
	}
	if (strcmp(type, "choice") == 0) {
		bool found = false;
		size_t i;
		json_t *item;
		json_array_foreach(json_object_get(declared, "options"), i, item)
		{
			_cleanup_free_ char *option = template_literal(item);
			found |= option && strcmp(option, text) == 0;
		}
		if (!found)
			return err_set(err, ERR_INVALID, "input '%s' has no option '%.60s'", name, text);
	}
	if (strcmp(type, "number") == 0) {
		char *end = NULL;
		double number = strtod(text, &end);
		/* "nan" and "inf" are none that an expression, or JSON, can hold. */
		if (!*text || *end || !isfinite(number))
			return err_set(err, ERR_INVALID, "input '%s' must be a number", name);
		*ret = json_real(number);
		return 0;
	}
	*ret = json_string(text);
	return 0;
}

int workflow_dispatch_inputs(const struct workflow *w, const json_t *given, json_t **ret, struct err *err)
{
	json_t *declared = json_object_get(json_object_get(w->on, "workflow_dispatch"), "inputs");
	_cleanup_json_ json_t *result = json_object();
	const char *name;
	json_t *value;
	json_object_foreach(
		(json_t *)(uintptr_t)given, name,
		value) if (!json_object_get(declared, name)) return err_set(err, ERR_INVALID,
	                                                                    "Unexpected inputs provided: [\"%.60s\"]",
	                                                                    name);
	json_object_foreach(declared, name, value)
	{
		json_t *now = json_object_get(given, name);
		if (!now)
			now = json_object_get(value, "default");
		if (!now || json_is_null(now)) {
			if (json_is_true(json_object_get(value, "required")))
				return err_set(err, ERR_INVALID, "Required input '%s' not provided", name);
			const char *type = json_get_string(value, "type");
			json_object_set_new(result, name,
			                    type && strcmp(type, "boolean") == 0 ? json_false() : json_string(""));
			continue;
		}
		json_t *checked = NULL;
		int r = check_input_value(name, value, now, &checked, err);
		if (r < 0)
			return r;
		json_object_set_new(result, name, checked);
	}
	*ret = TAKE(result);
	return 0;
}
