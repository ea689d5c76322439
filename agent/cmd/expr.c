/* davit expr EXPR [--contexts FILE], davit expr --batch: evaluates expressions of the workflow language. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/expr/expr.h"
#include "base/core/log.h"
#include "base/data/yaml.h"

enum { LINE_MAX_BYTES = 32 << 20 };

static const char *const kind_names[] = {"Null", "Boolean", "Number", "String", "Array", "Object"};
static const char *const stage_names[] = {"lexing", "parsing", "evaluation"};

static json_t *fault_json(const char *kind, const char *message)
{
	json_t *fault = json_pack("{s:s}", "kind", kind);
	json_object_set_new(fault, "message", json_string_lossy(message, strlen(message)));
	return json_pack("{s:o}", "error", fault);
}

/* The answer to one expression. Returns false for one that is wrong. */
static bool answer(const char *text, size_t len, const json_t *contexts, json_t **ret)
{
	struct expr_fault fault _cleanup_(expr_fault_done) = {.message = NULL};
	struct expr_scope scope = {.contexts = contexts, .exact_context = "env", .fault = &fault};
	struct expr_value value _cleanup_(expr_value_done) = EXPR_VALUE_INIT;
	if (expr_eval(text, len, &scope, &value, NULL) < 0) {
		*ret = fault_json(stage_names[fault.stage], fault.message);
		return false;
	}
	*ret = json_pack("{s:s, s:o}", "kind", kind_names[value.kind], "value", expr_value_json(&value));
	return true;
}

static void print_answer(const json_t *value)
{
	_cleanup_free_ char *text = json_text(value);
	puts(text);
}

static int read_contexts(const char *file, json_t *contexts, struct err *err)
{
	struct yaml_doc *doc _cleanup_(yaml_freep) = NULL;
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	limits.allow_anchors = true;
	int r = yaml_read_file(file, &limits, &doc, err);
	if (r >= 0 && !json_is_object(yaml_root(doc)))
		r = err_set(err, ERR_INVALID, "%s is not a map", file);
	if (r >= 0)
		json_object_update(contexts, yaml_root(doc));
	return r;
}

static int answer_one(const char *text, const char *contexts_file)
{
	struct err err = ERR_INIT;
	json_t *contexts _cleanup_json_ = json_object(), *value _cleanup_json_ = NULL;
	if (contexts_file != NULL && read_contexts(contexts_file, contexts, &err) < 0) {
		log_err(&err);
		return 2;
	}
	bool good = answer(text, strlen(text), contexts, &value);
	print_answer(value);
	return good ? 0 : 2;
}

/* One line of a batch. Its own contexts count beside those of --contexts, and before them. */
static json_t *answer_line(const char *line, size_t len, json_t *common)
{
	json_error_t fault;
	json_t *request _cleanup_json_ = json_loadb(line, len, JSON_ALLOW_NUL, &fault), *value = NULL;
	if (request == NULL)
		return fault_json("input", fault.text);
	const json_t *expr = json_object_get(request, "expr"), *own = json_object_get(request, "contexts");
	if (!json_is_string(expr))
		return fault_json("input", "expr is not a string");
	if (own != NULL && !json_is_object(own))
		return fault_json("input", "contexts is not a map");
	json_t *contexts _cleanup_json_ = json_copy(common);
	if (own != NULL)
		json_object_update(contexts, (json_t *)own);
	answer(json_string_value(expr), json_string_length(expr), contexts, &value);
	return value;
}

static int answer_batch(const char *contexts_file)
{
	struct err err = ERR_INIT;
	json_t *common _cleanup_json_ = json_object();
	if (contexts_file != NULL && read_contexts(contexts_file, common, &err) < 0) {
		log_err(&err);
		return 2;
	}
	_cleanup_free_ char *line = NULL;
	size_t room = 0;
	ssize_t len;
	while ((len = getline(&line, &room, stdin)) >= 0) {
		json_t *value _cleanup_json_ = len > LINE_MAX_BYTES
		                                       ? fault_json("input", "the line is longer than 32 MiB")
		                                       : answer_line(line, (size_t)len, common);
		print_answer(value);
	}
	return fflush(stdout) == 0 && !ferror(stdin) ? 0 : 1;
}

int cmd_expr(int argc, char **argv)
{
	const char *contexts_file = NULL;
	bool batch = false;
	const struct cli_option options[] = {
		{"contexts", 0, CLI_TEXT, &contexts_file, "FILE",
	         "the contexts as a JSON or YAML map: {github: {…}, env: {…}}"},
		{"batch", 0, CLI_FLAG, &batch, NULL,
	         "read lines {\"expr\": …, \"contexts\": {…}}, write one line for each"},
		{0},
	};
	const struct cli_command command = {
		"expr",
		"(EXPRESSION | --batch) [--contexts FILE]",
		"Evaluates an expression (without ${{ }}) and prints {\"kind\": …, \"value\": …}, or\n"
		"{\"error\": {\"kind\": \"lexing\" | \"parsing\" | \"evaluation\", \"message\": …}} and exits with 2.",
		options,
		0,
		1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	if (batch != (rest.count == 0)) {
		struct err err = ERR_INIT;
		err_set(&err, ERR_INVALID, "expr takes %s",
		        batch ? "--batch or an expression, not both" : "an expression, or --batch");
		err_hint(&err, 0, "davit expr --help");
		log_err(&err);
		return 2;
	}
	return batch ? answer_batch(contexts_file) : answer_one(rest.words[0], contexts_file);
}
