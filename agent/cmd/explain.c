/* davit explain CODE: what a finding of `davit validate` means.
 * davit explain FILE [NAME]: from which layer each value comes that a step of the file would write, and which layers it hid. Never a value. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/deployment/file.h"
#include "agent/deployment/personal.h"
#include "agent/deployment/session.h"
#include "agent/report/report.h"
#include "agent/validate/finding.h"
#include "steps/registry.h"

struct explain_call {
	const char *file, *name, *secrets_file;
	struct strv secrets, vars, inputs;
	json_t *found; /* array of {"step","id","targets","path","values"} */
};

/* Leaves the values of that name; false: there is none. */
static bool keep_named(json_t *explained, const char *name)
{
	json_t *kept = json_array(), *one;
	size_t i;
	json_array_foreach(json_object_get(explained, "values"), i, one)
	{
		const char *is = json_get_string(one, "name");
		if (name == NULL || (is != NULL && strcmp(is, name) == 0))
			json_array_append(kept, one);
	}
	json_object_set_new(explained, "values", kept);
	return json_array_size(kept) > 0;
}

static int explain_step(struct explain_call *c, const json_t *step, const struct deployment_step *read,
                        const struct step_deployment *facts, struct err *err)
{
	const struct step_type *type = step_find(json_get_string(step, "step"));
	json_t *explained = NULL;
	if (type == NULL || type->explain == NULL)
		return 0;
	if (read == NULL || read->typed == NULL) {
		int r = err_set(err, ERR_INVALID, "the step '%s' waits for what another step gives",
		                json_get_string(step, "id"));
		return err_hint(err, r, "its values are known once that step has run");
	}
	const struct step_context context = {
		.type = type, .input = read->typed, .input_json = json_object_get(step, "input"), .deployment = facts};
	int r = type->explain(&context, &explained, err);
	if (r < 0)
		return r;
	json_object_set(explained, "step", json_object_get(step, "step"));
	json_object_set(explained, "id", json_object_get(step, "id"));
	json_object_set(explained, "targets", json_object_get(step, "target"));
	if (keep_named(explained, c->name))
		json_array_append(c->found, explained);
	json_decref(explained);
	return 0;
}

static int explain(struct explain_call *c, struct deployment_file *file, struct err *err)
{
	const struct deployment *d = deployment_file_deployment(file);
	const struct step_deployment facts = {.name = json_get_string(d->json, "name"),
	                                      .environment = json_get_string(d->json, "environment"),
	                                      .source_root = json_get_string(d->json, "source_root"),
	                                      .targets = json_object_get(d->json, "targets")};
	size_t i;
	json_t *step;
	json_array_foreach(json_object_get(d->json, "steps"), i, step)
	{
		int r = explain_step(c, step, deployment_step_read(d, i), &facts, err);
		if (r < 0)
			return r;
	}
	if (json_array_size(c->found) > 0)
		return 0;
	int r = c->name != NULL
	                ? err_set(err, ERR_INVALID, "no step of '%s' writes a value named '%s'", c->file, c->name)
	                : err_set(err, ERR_INVALID, "no step of '%s' writes values by name", c->file);
	return err_hint(err, r, "`davit explain FILE` lists those that are written");
}

static int tell(const struct explain_call *c, struct deployment_session *session)
{
	deployment_session_begin_text(session);
	if (session->json)
		deployment_session_print_json(c->found);
	else
		report_print_explained(c->found, stdout);
	return 0;
}

static int tell_page(const struct finding_page *page)
{
	if (!cli_json()) {
		fputs(page->text, stdout);
		return 0;
	}
	json_t *answer _cleanup_json_ =
		json_pack("{s:s, s:s, s:s}", "code", page->code, "meaning", page->meaning, "page", page->text);
	deployment_session_print_json(answer);
	return 0;
}

/* A single word that is no file and could not be the path of one that is meant. */
static int refuse_word(const char *word)
{
	enum { CODES_MAX = 200 };
	const char *codes[CODES_MAX];
	size_t count = 0;
	struct err err = ERR_INIT;
	for (const struct finding_page *p = finding_pages; p->code != NULL && count < CODES_MAX; p++)
		codes[count++] = p->code;
	const char *nearest = str_nearest(word, codes, count);
	err_set(&err, ERR_INVALID, "'%.60s' is neither a file nor a code of `davit validate`", word);
	if (nearest != NULL)
		err_hint(&err, 0, "did you mean '%s'?", nearest);
	else
		err_hint(&err, 0, "a code is what stands in brackets behind a finding of `davit validate`");
	return cli_fail(&err, 2);
}

int cmd_explain(int argc, char **argv)
{
	struct explain_call c = {0};
	const struct cli_option options[] = {
		{"secret", 0, CLI_LIST, &c.secrets, "NAME",
	         "a secret of the file: the value of that environment variable"},
		{"secrets", 0, CLI_TEXT, &c.secrets_file, "FILE", "the same from a JSON or YAML map, mode 0600"},
		{"var", 0, CLI_LIST, &c.vars, "NAME=VALUE", "a value of the context vars"},
		{"input", 0, CLI_LIST, &c.inputs, "NAME=VALUE", "a value of the context inputs"},
		{0},
	};
	const struct cli_command command = {
		"explain",
		"FILE [NAME] [options] | CODE",
		"Where each value comes from that a deployment file would write, and which layers it hides; never the value. "
		"With a code of `davit validate`: its page, what it means and what to write instead.",
		options,
		1,
		2};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	const struct finding_page *page = rest.count == 1 ? finding_page_of(rest.words[0]) : NULL;
	if (rest.count == 1 && strpbrk(rest.words[0], "/.") == NULL && access(rest.words[0], F_OK) != 0)
		return page != NULL ? tell_page(page) : refuse_word(rest.words[0]);
	struct err err = ERR_INIT;
	struct deployment_session session;
	struct deployment_values values;
	struct deployment_file *file _cleanup_(deployment_file_freep) = NULL;
	deployment_values_init(&values);
	deployment_values_environment(&values);
	c.file = rest.words[0];
	c.name = rest.count > 1 ? rest.words[1] : NULL;
	c.found = json_array();
	int r = deployment_session_open(&session, false, &err);
	session.json = cli_json();
	if (r >= 0)
		r = deployment_values_given(&values, &c.secrets, c.secrets_file, &c.vars, &c.inputs, &err);
	if (r >= 0)
		r = personal_values_of_file(c.file, &values, &err);
	if (r >= 0)
		r = deployment_file_read(c.file, &values, &file, &session.faults, &err);
	if (r >= 0)
		r = explain(&c, file, &err);
	status = r < 0 ? deployment_session_fail(&session, &err) : tell(&c, &session);
	json_decref(c.found);
	deployment_values_done(&values);
	deployment_session_done(&session);
	strv_done(&c.secrets);
	strv_done(&c.vars);
	strv_done(&c.inputs);
	return cli_output_failed() && status == 0 ? 1 : status;
}
