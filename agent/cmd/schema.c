/* davit schema: the schemas that are built in, and documents checked against a schema.
 *
 * `schema check` exits 0 (valid), 2 (not valid, or a file that cannot be read), 64 (the schema is not supported or not a schema, or the
 * check could not be done within its limits). With --batch each line of standard input is {"schema":…,"data":…}, and each
 * line of the answer {"valid":true}, {"valid":false,"errors":[…]} or {"unsupported":"KEYWORD",…}. */
#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "base/core/log.h"
#include "base/data/schema/compile.h"

#include <stdio.h>
#include <string.h>

enum { EXIT_UNSUPPORTED = 64, DOCUMENT_MAX = 64 << 20, LINE_MAX_BYTES = 64 << 20, FAULTS_SHOWN = 1000 };

static const struct yaml_limits document_limits = {
	.max_bytes = DOCUMENT_MAX,
	.max_nodes = 2000000,
	.max_depth = JSON_MAX_DEPTH,
	.keep_octal = true,
	.allow_anchors = true,
};

static int list_schemas(void)
{
	size_t count;
	const char *const *names = schema_builtin_names(&count);
	json_t *all = json_array();
	for (size_t i = 0; i < count; i++) {
		if (cli_json())
			json_array_append_new(all, json_string(names[i]));
		else
			puts(names[i]);
	}
	if (cli_json()) {
		_cleanup_free_ char *text = json_text(all);
		puts(text);
	}
	json_decref(all);
	return 0;
}

static int print_schema(const char *name)
{
	size_t count;
	const char *const *names = schema_builtin_names(&count);
	const char *text = schema_builtin(name);
	if (text == NULL) {
		const char *nearest = str_nearest(name, names, count);
		struct err err = ERR_INIT;
		int r = err_set(&err, ERR_INVALID, "there is no schema '%s'", name);
		if (nearest != NULL)
			err_hint(&err, r, "did you mean '%s'?", nearest);
		else
			err_hint(&err, r, "`davit schema` lists them");
		return cli_fail(&err, 2);
	}
	/* The text that is built in has no white space. */
	_cleanup_json_ json_t *document = json_loads(text, 0, NULL);
	_cleanup_free_ char *shown = json_pretty(document);
	puts(shown);
	return 0;
}

static json_t *fault_json(const struct fault *f)
{
	json_t *object = json_object();
	json_object_set_new(object, "pointer", json_string_lossy(f->pointer, strlen(f->pointer)));
	if (f->mark.line > 0 && f->mark.column > 0) {
		json_object_set_new(object, "line", json_integer(f->mark.line));
		json_object_set_new(object, "column", json_integer(f->mark.column));
	}
	json_object_set_new(object, "message", json_string_lossy(f->text, strlen(f->text)));
	if (f->hint != NULL)
		json_object_set_new(object, "hint", json_string_lossy(f->hint, strlen(f->hint)));
	return object;
}

static json_t *faults_json(const struct faults *faults)
{
	json_t *list = json_array();
	for (size_t i = 0; i < faults->count; i++)
		json_array_append_new(list, fault_json(&faults->items[i]));
	return list;
}

/* The keyword if there is one, and the whole sentence. */
static json_t *unsupported_json(const struct err *err)
{
	char line[1024];
	json_t *object = json_object();
	json_object_set_new(object, "unsupported", json_string_lossy(err_line(err, line, sizeof(line)), strlen(line)));
	return object;
}

static void print_json(json_t *value)
{
	_cleanup_free_ char *text = json_text(value);
	puts(text);
	fflush(stdout);
	json_decref(value);
}

/* One schema and one value: the answer as JSON. */
static json_t *judge(const json_t *schema_source, const json_t *data, const json_t *remotes)
{
	_cleanup_(schema_freep) struct schema *schema = NULL;
	struct schema_options options = {.remotes = remotes};
	struct faults faults = {.max = FAULTS_SHOWN};
	struct err err = ERR_INIT;
	int r = schema_compile(schema_source, &options, &schema, &err);
	if (r < 0)
		return unsupported_json(&err);
	r = schema_check(schema, data, NULL, &faults, &err);
	json_t *answer;
	if (r == 0)
		answer = json_pack("{s:b}", "valid", 1);
	else if (r == ERR_INVALID)
		answer = json_pack("{s:b, s:o}", "valid", 0, "errors", faults_json(&faults));
	else
		answer = unsupported_json(&err);
	faults_done(&faults);
	return answer;
}

static json_t *judge_line(const struct str *line, const json_t *remotes)
{
	_cleanup_json_ json_t *request = NULL;
	struct err err = ERR_INIT;
	char text[1024];
	int r = line->failed ? err_set(&err, ERR_LIMIT, "a line of more than %d bytes", (int)LINE_MAX_BYTES)
	                     : json_parse(str_peek(line), line->len, LINE_MAX_BYTES, &request, &err);
	if (r == ERR_LIMIT)
		return unsupported_json(&err);
	if (r < 0)
		return json_pack("{s:o}", "error", json_string_lossy(err_line(&err, text, sizeof(text)), strlen(text)));
	const json_t *schema = json_object_get(request, "schema"), *data = json_object_get(request, "data");
	if (schema == NULL || data == NULL)
		return json_pack("{s:s}", "error", "a line is {\"schema\":…,\"data\":…}");
	const json_t *own = json_object_get(request, "remotes");
	return judge(schema, data, json_is_object(own) ? own : remotes);
}

/* Reads the next line without its end; false at the end of the input. Keeps only the failure of a line that is too long. */
static bool next_line(struct str *line)
{
	char chunk[8192];
	bool any = false;
	str_clear(line);
	while (fgets(chunk, sizeof(chunk), stdin) != NULL) {
		size_t len = strlen(chunk);
		any = true;
		str_append_n(line, chunk, len);
		if (len > 0 && chunk[len - 1] == '\n')
			break;
	}
	return any;
}

/* A line that is not a request gets its own "error"; the exit status says that there was one. */
static int check_batch(const json_t *remotes)
{
	_cleanup_(str_done) struct str line = STR_INIT(LINE_MAX_BYTES);
	bool broken = false;
	while (next_line(&line)) {
		if (!line.failed && strspn(str_peek(&line), " \t\r\n") == line.len)
			continue;
		json_t *answer = judge_line(&line, remotes);
		broken |= json_object_get(answer, "error") != NULL;
		print_json(answer);
	}
	return broken ? 2 : 0;
}

static int read_document(const char *path, struct yaml_doc **ret)
{
	struct err err = ERR_INIT;
	int r = yaml_read_file(path, &document_limits, ret, &err);
	if (r < 0)
		log_err(&err);
	return r;
}

/* A file, or the name of a schema that is built in. */
static int read_schema(const char *name, struct yaml_doc **ret)
{
	const char *text = schema_builtin(name);
	struct err err = ERR_INIT;
	if (text == NULL)
		return read_document(name, ret);
	int r = yaml_read(name, text, strlen(text), &document_limits, ret, &err);
	if (r < 0)
		log_err(&err);
	return r;
}

static void report(const struct yaml_doc *doc, const struct faults *faults)
{
	_cleanup_(str_done) struct str out = STR_INIT(64 << 20);
	if (cli_json()) {
		print_json(json_pack("{s:b, s:o}", "valid", 0, "errors", faults_json(faults)));
		return;
	}
	faults_print(faults, doc, &out);
	fputs(str_peek(&out), stderr);
}

static int check_files(const char *schema_path, const char *instance_path, const json_t *remotes)
{
	_cleanup_(yaml_freep) struct yaml_doc *schema_doc = NULL;
	_cleanup_(yaml_freep) struct yaml_doc *instance = NULL;
	_cleanup_(schema_freep) struct schema *schema = NULL;
	struct schema_options options = {.remotes = remotes};
	struct faults faults = {.max = FAULTS_SHOWN};
	struct err err = ERR_INIT;
	if (read_schema(schema_path, &schema_doc) < 0 || read_document(instance_path, &instance) < 0)
		return 2;
	int r = schema_compile(yaml_root(schema_doc), &options, &schema, &err);
	if (r == 0)
		r = schema_check(schema, yaml_root(instance), instance, &faults, &err);
	if (r == ERR_INVALID && schema != NULL) {
		report(instance, &faults);
		faults_done(&faults);
		return 2;
	}
	if (r < 0) {
		err_wrap(&err, r, "%s", schema_path);
		log_err(&err);
		if (cli_json())
			print_json(unsupported_json(&err));
		faults_done(&faults);
		return EXIT_UNSUPPORTED;
	}
	if (cli_json())
		print_json(json_pack("{s:b}", "valid", 1));
	return 0;
}

static int check(int argc, char **argv)
{
	bool batch = false;
	const char *remotes_path = NULL;
	const struct cli_option options[] = {
		{"batch", 0, CLI_FLAG, &batch, NULL,
	         "read {\"schema\":…,\"data\":…} lines, answer each with a line of JSON"},
		{"remotes", 0, CLI_TEXT, &remotes_path, "FILE",
	         "a map from URIs to schemas; other documents are found nowhere else"},
		{0},
	};
	const struct cli_command command = {
		"schema check",
		"SCHEMA INSTANCE | --batch [--remotes FILE]",
		"Checks a document (YAML or JSON) against a JSON Schema (draft-07, or the name of a built-in one).",
		options,
		0,
		2};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	if (rest.count != (batch ? 0 : 2)) {
		fprintf(stderr, "davit schema check: needs SCHEMA and INSTANCE, or --batch\n");
		return 2;
	}
	_cleanup_(yaml_freep) struct yaml_doc *remotes = NULL;
	if (remotes_path != NULL && read_document(remotes_path, &remotes) < 0)
		return 2;
	const json_t *map = remotes ? yaml_root(remotes) : NULL;
	if (map != NULL && !json_is_object(map)) {
		fprintf(stderr, "davit schema check: %s is not a map from URIs to schemas\n", remotes_path);
		return 2;
	}
	return batch ? check_batch(map) : check_files(rest.words[0], rest.words[1], map);
}

int cmd_schema(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "check") == 0)
		return check(argc - 1, argv + 1);
	const struct cli_option options[] = {{0}};
	const struct cli_command command = {
		"schema",
		"[NAME] | check SCHEMA INSTANCE",
		"Lists the schemas that are built in, prints one, or checks a document against one.",
		options,
		0,
		1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	return rest.count == 0 ? list_schemas() : print_schema(rest.words[0]);
}
