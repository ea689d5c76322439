/* davit approvals: which deployments wait for people, and the plan of one of them. It only reads. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/cmd/journal.h"
#include "agent/deployment/find.h"
#include "agent/report/report.h"
#include "base/core/clock.h"
#include "base/core/log.h"
#include "engine/run/request.h"

enum { LINES_MAX = 1 << 20 };

static json_t *names_of(const json_t *approvals)
{
	json_t *names = json_array(), *approval;
	size_t i;
	json_array_foreach((json_t *)approvals, i, approval) json_array_append(names, json_object_get(approval, "by"));
	return names;
}

/* {"id","name","environment","digest","until","need","by","message","asked_by","approved_by"} */
static json_t *describe(const struct request *r)
{
	static const char *const asked[] = {"need", "by", "message", "asked_by"};
	static const char *const own[] = {"id", "name", "environment", "commit", "repository", "run_url", "state"};
	char until[CLOCK_TEXT_SIZE];
	json_t *o = json_pack("{s:s, s:s}", "digest", r->step.digest, "until", clock_rfc3339(r->step.until_ms, until));
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (json_object_get(r->doc, own[i]))
			json_object_set(o, own[i], json_object_get(r->doc, own[i]));
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
		if (json_object_get(r->step.asked, asked[i]))
			json_object_set(o, asked[i], json_object_get(r->step.asked, asked[i]));
	json_object_set_new(o, "approved_by", names_of(r->approvals));
	return o;
}

static void append_names(struct str *out, const json_t *names)
{
	size_t i;
	json_t *name;
	json_array_foreach((json_t *)names, i, name)
	{
		str_append(out, i ? ", " : "");
		if (json_is_string(name))
			str_append_safe(out, json_string_value(name), json_string_length(name));
	}
}

static void append_one(struct str *out, const json_t *o)
{
	const json_t *by = json_object_get(o, "by"), *approved = json_object_get(o, "approved_by");
	const char *message = json_get_string(o, "message"), *asked = json_get_string(o, "asked_by");
	str_appendf(out, "%s  %s.%s  until %s\n", json_get_string(o, "id"), json_get_string(o, "name"),
	            json_get_string(o, "environment"), json_get_string(o, "until"));
	str_appendf(out, "  plan %s\n  approved by %zu of %lld", json_get_string(o, "digest"),
	            json_array_size(approved), (long long)json_get_int(o, "need", 1));
	str_append(out, json_array_size(approved) ? ": " : "");
	append_names(out, approved);
	str_append(out, json_array_size(by) ? "; may approve: " : "");
	append_names(out, by);
	str_append(out, "\n");
	if (asked && *asked) {
		str_append(out, "  asked for by ");
		str_append_safe(out, asked, strlen(asked));
		str_append(out, "\n");
	}
	if (message) {
		str_append(out, "  ");
		str_append_safe(out, message, strlen(message));
		str_append(out, "\n");
	}
}

static void print(const json_t *value, const json_t *plan)
{
	struct str out _cleanup_(str_done) = STR_INIT(LINES_MAX);
	size_t i;
	json_t *one;
	if (cli_json()) {
		_cleanup_free_ char *text = json_pretty(value);
		report_print_masked(text, stdout);
		return;
	}
	json_array_foreach((json_t *)value, i, one) append_one(&out, one);
	if (json_array_size(value) == 0 && json_is_array(value))
		str_append(&out, "no deployment waits for people\n");
	if (json_is_object(value))
		append_one(&out, value);
	fputs(str_peek(&out), stdout);
	if (plan)
		report_print_plan(plan, json_get_string(plan, "digest"), log_colours(STDOUT_FILENO), stdout);
}

static int show_one(struct store *store, const char *word, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL, *one = NULL;
	_cleanup_(request_done) struct request request = {0};
	int r = deployment_find(store, word, &doc, err);
	if (r == 0)
		r = request_read(store, doc, &request, err);
	if (r < 0)
		return r;
	one = describe(&request);
	if (request.plan)
		json_object_set(one, "plan", json_object_get(request.plan, "plan"));
	print(one, request.plan);
	return 0;
}

static int show_all(struct store *store, struct err *err)
{
	_cleanup_json_ json_t *list = NULL, *waiting = json_array();
	const struct store_filter filter = {.undecided = true};
	int r = store ? store_deployment_list(store, &filter, &list, err) : 0;
	for (size_t i = json_array_size(list); r == 0 && i-- > 0;) {
		const json_t *doc = json_array_get(list, i);
		_cleanup_(request_done) struct request request = {0};
		const char *state = json_get_string(doc, "state");
		if (state == NULL || strcmp(state, deployment_state_name(DEPLOYMENT_PARKED)) != 0)
			continue;
		r = request_read(store, doc, &request, err);
		if (r == 0)
			json_array_append_new(waiting, describe(&request));
	}
	if (r == 0)
		print(waiting, NULL);
	return r;
}

int cmd_approvals(int argc, char **argv)
{
	const struct cli_option options[] = {{0}};
	const struct cli_command command = {
		"approvals", "[ID]", "Which deployments wait for people; with ID, the plan that they are asked about.",
		options,     0,      1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	struct err err = ERR_INIT;
	struct store *store _cleanup_(store_closep) = NULL;
	int r = cmd_open_journal(&store, &err);
	if (r == 0 && store == NULL && rest.count > 0)
		r = err_hint(&err, err_set(&err, ERR_INVALID, "no deployment has been made from here"),
		             "a journal elsewhere is named by DAVIT_STATE");
	if (r == 0)
		r = rest.count > 0 ? show_one(store, rest.words[0], &err) : show_all(store, &err);
	return r < 0 ? cmd_journal_fail(&err) : 0;
}
