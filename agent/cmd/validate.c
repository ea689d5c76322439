/* davit validate: looks through workflows, actions, deployment files and what git has tracked, without any login. */
#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/validate/validate.h"
#include "base/core/log.h"
#include "base/core/mem.h"
#include "base/sys/fs.h"

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RECORD_MAX = 1 << 20 };

static int parse_format(const char *name, enum finding_format *ret, struct err *err)
{
	static const char *const names[] = {"text", "json", "github", "sarif"};
	*ret = cli_json() ? FINDING_JSON : FINDING_TEXT;
	for (size_t i = 0; name != NULL && i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0) {
			*ret = (enum finding_format)i;
			return 0;
		}
	return name == NULL ? 0
	                    : err_set(err, ERR_INVALID, "--format is text, json, github or sarif, not '%.40s'", name);
}

static void add_runner(const char *path, struct strv *runners)
{
	_cleanup_(str_done) struct str data = STR_INIT(RECORD_MAX), labels = STR_INIT(4096);
	if (fs_read_plain(AT_FDCWD, path, RECORD_MAX, &data, NULL) < 0)
		return;
	json_t *record _cleanup_json_ = json_loadb(str_peek(&data), data.len, 0, NULL), *label;
	size_t i;
	json_array_foreach(json_object_get(record, "labels"), i, label) str_appendf(
		&labels, "%s%s", i > 0 ? "," : "", json_string_value(label) != NULL ? json_string_value(label) : "");
	if (labels.len > 0)
		strv_add(runners, str_peek(&labels));
}

/* The registrations of this machine's agent, as far as they can be read. */
static void find_runners(struct strv *runners)
{
	const char *state = getenv("DAVIT_STATE");
	_cleanup_free_ char *dir = state != NULL ? fs_join(state, "agent") : xstrdup("/var/lib/davit-agent");
	_cleanup_free_ char *pattern = xasprintf("%s/registrations/*/registration.json", dir);
	glob_t found;
	if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++)
		add_runner(found.gl_pathv[i], runners);
	globfree(&found);
}

static int read_contexts(const char *path, json_t **ret, struct err *err)
{
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	limits.allow_anchors = true;
	int r = path != NULL ? yaml_read_file(path, &limits, &doc, err) : 0;
	if (r == 0 && path != NULL && !json_is_object(yaml_root(doc)))
		r = err_set(err, ERR_INVALID, "%s is not a map", path);
	if (r == 0)
		*ret = path != NULL ? json_deep_copy(yaml_root(doc)) : json_object();
	return r;
}

int cmd_validate(int argc, char **argv)
{
	struct validate_options v = {.rendered = stdout};
	const char *format_name = NULL, *contexts_file = NULL;
	bool render = false;
	const struct cli_option options[] = {
		{"format", 0, CLI_TEXT, &format_name, "text|json|github|sarif",
	         "how it is told; github: workflow commands"},
		{"render", 0, CLI_FLAG, &render, NULL, "print each script as the shell will get it"},
		{"contexts", 0, CLI_TEXT, &contexts_file, "FILE", "for --render: the contexts as a JSON or YAML map"},
		{"runner", 0, CLI_LIST, &v.runners, "LABELS",
	         "the labels of a runner that there is, as in self-hosted,linux; may be repeated"},
		{"migrations", 0, CLI_LIST, &v.migrations, "DIR", "a directory of migrations; may be repeated"},
		{"exclude", 0, CLI_LIST, &v.excludes, "PATTERN",
	         "where keys and tokens are not looked for; may be repeated"},
		{0},
	};
	const struct cli_command command = {
		"validate",
		"[PATH…] [options]",
		"Looks through workflows, action.yml files and deployment files without any login: what GitHub would refuse, what would\n"
		"fail later, private keys and tokens in tracked files, migrations that are not committed or not pushed. Without PATH it\n"
		"takes the work tree around here. docs/findings.md explains each code. Exit: 0 no errors, 2 errors.",
		options,
		0,
		1000};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	struct err err = ERR_INIT;
	struct findings findings = {.count = 0};
	enum finding_format format;
	json_t *contexts _cleanup_json_ = NULL;
	size_t files = 0;
	int r = parse_format(format_name, &format, &err);
	if (r == 0 && (render || contexts_file != NULL))
		r = read_contexts(contexts_file, &contexts, &err);
	find_runners(&v.runners);
	v.paths = (const char *const *)rest.words;
	v.path_count = rest.count;
	v.contexts = contexts;
	if (render && format != FINDING_TEXT)
		v.rendered = stderr;
	if (r == 0)
		r = validate_run(&v, &findings, &files, &err);
	if (r == 0)
		findings_print(&findings, format, files, isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL,
		               render && format == FINDING_TEXT ? stderr : stdout);
	status = r < 0 ? cli_fail(&err, 2) : findings_count(&findings, FINDING_ERROR) > 0 ? 2 : 0;
	findings_done(&findings);
	strv_done(&v.runners);
	strv_done(&v.migrations);
	strv_done(&v.excludes);
	return status;
}
