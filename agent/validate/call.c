/* call: whether a job that calls a reusable workflow of this work tree gives it what that declares: inputs with their types, secrets. */
#include "agent/validate/validate.h"
#include "agent/workflow/workflow.h"
#include "base/core/mem.h"
#include "base/sys/fs.h"

#include <fcntl.h>
#include <string.h>

enum { CALLED_MAX = 1 << 20 };

struct call {
	const struct validate_file *file;
	const struct yaml_doc *doc;
	const char *uses;
	const json_t *declared; /* on.workflow_call of the called one */
	struct str at;
};

static void report(const struct call *c, const char *code, const char *fmt, ...) _printf_(3, 4);
static void report(const struct call *c, const char *code, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *text = NULL;
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	finding_add(c->file->findings, c->file->name, yaml_value_mark(c->doc, str_peek(&c->at)), FINDING_ERROR, code,
	            NULL, "%s", text != NULL ? text : "out of memory");
}

static bool is_open(const json_t *value)
{
	return json_is_string(value) && strstr(json_string_value(value), "${{") != NULL;
}

static bool has_type(const char *type, const json_t *value)
{
	if (is_open(value) || strcmp(type, "string") == 0)
		return true;
	return strcmp(type, "boolean") == 0 ? json_is_boolean(value) : json_is_number(value);
}

static void check_given(struct call *c, const json_t *given, const char *kind, const char *what)
{
	const json_t *declared = json_object_get(c->declared, kind), *entry;
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)given, name, value)
	{
		size_t base = c->at.len;
		faults_pointer_push(&c->at, name);
		entry = validate_member(declared, name);
		const char *type = json_get_string(entry, "type");
		if (entry == NULL && strstr(name, "${{") == NULL)
			report(c, "unknown-call-input", "'%s' declares no %s '%s'", c->uses, what, name);
		else if (type != NULL && !has_type(type, value))
			report(c, "call-input-type", "the input '%s' of '%s' is a %s", name, c->uses, type);
		str_truncate(&c->at, base);
	}
}

static void check_missing(struct call *c, const json_t *given, const char *kind, const char *what)
{
	const char *name;
	json_t *entry;
	json_object_foreach(json_object_get(c->declared, kind), name, entry)
	{
		if (json_is_true(json_object_get(entry, "required")) && validate_member(given, name) == NULL)
			report(c, "missing-call-input", "'%s' needs the %s '%s'", c->uses, what, name);
	}
}

static void check(struct call *c, const json_t *job, const char *key, const char *kind, const char *what)
{
	const json_t *given = json_object_get(job, key);
	size_t base = c->at.len;
	check_missing(c, given, kind, what);
	faults_pointer_push(&c->at, key);
	check_given(c, given, kind, what);
	str_truncate(&c->at, base);
}

/* A called workflow lies beside its caller, whatever directory is to be the repository's top. NULL: the caller is none of a repository. */
static char *path_of(const struct validate_file *file, const char *uses)
{
	static const char dir[] = ".github/workflows/";
	const char *slash = strrchr(file->name, '/'), *name = strrchr(uses, '/') + 1;
	size_t len = slash != NULL ? (size_t)(slash + 1 - file->name) : 0;
	bool inside = len >= strlen(dir) && strncmp(file->name + len - strlen(dir), dir, strlen(dir)) == 0;
	return inside ? xasprintf("%.*s%s", (int)len, file->name, name) : NULL;
}

/* The workflow's triggers; NULL: it is not there, or no workflow. The caller's. */
static json_t *triggers_of(const char *path, bool *ret_there)
{
	_cleanup_(str_done) struct str text = STR_INIT(CALLED_MAX);
	_cleanup_(workflow_freep) struct workflow *workflow = NULL;
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	struct faults faults = {0}, refusals = {0};
	*ret_there = fs_read_plain(AT_FDCWD, path, CALLED_MAX, &text, NULL) >= 0;
	bool read = *ret_there &&
	            workflow_check(path, str_peek(&text), text.len, &faults, &refusals, &workflow, &doc, NULL) >= 0;
	faults_done(&faults);
	faults_done(&refusals);
	return read ? json_incref(workflow->on) : NULL;
}

static bool is_of_this_repository(const char *uses)
{
	static const char front[] = "./.github/workflows/";
	return str_starts(uses, front) && strchr(uses + strlen(front), '/') == NULL;
}

bool validate_called_has_output(const struct validate_file *file, const char *uses, const char *name)
{
	bool there;
	_cleanup_free_ char *path = is_of_this_repository(uses) ? path_of(file, uses) : NULL;
	_cleanup_json_ json_t *on = path != NULL ? triggers_of(path, &there) : NULL;
	const json_t *called = json_object_get(on, "workflow_call");
	return called == NULL || validate_member(json_object_get(called, "outputs"), name) != NULL;
}

void validate_call(const struct validate_file *file, const struct yaml_doc *doc, const char *at, const char *uses,
                   const json_t *job)
{
	bool there;
	_cleanup_free_ char *path = is_of_this_repository(uses) ? path_of(file, uses) : NULL;
	if (path == NULL)
		return;
	_cleanup_json_ json_t *on = triggers_of(path, &there);
	struct call c = {.file = file,
	                 .doc = doc,
	                 .uses = uses,
	                 .declared = json_object_get(on, "workflow_call"),
	                 .at = STR_INIT(8192)};
	str_append(&c.at, at);
	size_t base = c.at.len;
	faults_pointer_push(&c.at, "uses");
	if (!there)
		report(&c, "unknown-workflow", "'%s' is not there", uses);
	else if (on != NULL && c.declared == NULL)
		report(&c, "unknown-workflow", "'%s' cannot be called: it has no 'on: workflow_call'", uses);
	str_truncate(&c.at, base);
	if (c.declared != NULL) {
		check(&c, job, "with", "inputs", "input");
		if (!json_is_string(json_object_get(job, "secrets")))
			check(&c, job, "secrets", "secrets", "secret");
	}
	str_done(&c.at);
}
