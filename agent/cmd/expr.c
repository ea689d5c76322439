/* davit expr EXPR [--contexts FILE]: evaluates an expression of the workflow language. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/expr/expr.h"
#include "base/core/log.h"
#include "base/data/yaml.h"

static const char *const kind_names[] = {"null", "boolean", "number", "string", "array", "object"};

int cmd_expr(int argc, char **argv)
{
	const char *contexts_file = NULL;
	const struct cli_option options[] = {
		{"contexts", 0, CLI_TEXT, &contexts_file, "FILE",
	         "the contexts as a JSON or YAML map: {github: {…}, env: {…}}"},
		{0},
	};
	const struct cli_command command = {
		"expr",
		"EXPRESSION [--contexts FILE]",
		"Evaluates an expression (without ${{ }}) and prints {\"kind\": …, \"value\": …}.",
		options,
		1,
		1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	struct err err = ERR_INIT;
	struct yaml_doc *doc _cleanup_(yaml_freep) = NULL;
	json_t *contexts _cleanup_json_ = json_object();
	int r = 0;
	if (contexts_file != NULL) {
		r = yaml_read_file(contexts_file, NULL, &doc, &err);
		if (r >= 0 && !json_is_object(yaml_root(doc)))
			r = err_set(&err, ERR_INVALID, "%s is not a map", contexts_file);
		if (r >= 0)
			json_object_update(contexts, yaml_root(doc));
	}
	struct expr_scope scope = {.contexts = contexts, .exact_context = "env"};
	struct expr_value value _cleanup_(expr_value_done) = EXPR_VALUE_INIT;
	if (r >= 0)
		r = expr_eval(rest.words[0], strlen(rest.words[0]), &scope, &value, &err);
	if (r < 0) {
		log_err(&err);
		return 2;
	}
	json_t *answer _cleanup_json_ =
		json_pack("{s:s, s:o}", "kind", kind_names[value.kind], "value", expr_value_json(&value));
	_cleanup_free_ char *text = json_text(answer);
	puts(text);
	return 0;
}
