/* davit agent policy test FILE: what the policy of this host says to a job, without one. Exit: 0 it would run, 1 it would be refused, 2 the question
 * or the policy is wrong. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "agent/admission/admission.h"
#include "agent/cmd/agent.h"
#include "agent/cmd/cli.h"
#include "agent/service/wire.h"
#include "base/core/log.h"
#include "base/sys/fs.h"

enum { FILE_MAX = 64 << 20, REFUSED = 1, WRONG = 2 };

/* What the payload of a webhook does not say, or says of something else. */
struct given {
	const char *event, *workflow, *ref, *actor, *policy, *actions_repository;
};

static json_t *ref_of(const json_t *payload)
{
	const char *ref = json_get_string(payload, "ref");
	const json_t *number = json_object_get(json_get_object(payload, "pull_request"), "number"),
		     *repository = json_get_object(payload, "repository");
	if (number != NULL)
		return json_stringf("refs/pull/%lld/merge", (long long)json_integer_value(number));
	const char *branch = json_get_string(repository, "default_branch");
	if (ref != NULL && str_starts(ref, "refs/"))
		return json_string(ref);
	return json_stringf("refs/heads/%s", ref != NULL ? ref : branch != NULL ? branch : "main");
}

/* The context `github` of a run that this payload would start. */
static int context_of(json_t *payload, const struct given *given, json_t **ret, struct err *err)
{
	const json_t *repository = json_get_object(payload, "repository"), *id = json_object_get(repository, "id");
	const char *name = json_get_string(repository, "full_name");
	if (name == NULL || given->event == NULL) {
		int r = err_set(err, ERR_INVALID, "%s",
		                name == NULL
		                        ? "the file is neither a context, nor a job's message, nor an event's payload"
		                        : "the payload does not say which event it is of");
		return err_hint(err, r, "%s",
		                name == NULL ? "`${{ toJSON(github) }}` in a workflow shows a context"
		                             : "name it by --event: push, pull_request, …");
	}
	json_t *github = json_object();
	json_object_set_new(github, "event_name", json_string(given->event));
	json_object_set(github, "event", payload);
	json_set_string(github, "repository", name);
	if (json_is_integer(id))
		json_object_set_new(github, "repository_id", json_stringf("%lld", (long long)json_integer_value(id)));
	json_object_set_new(github, "ref", ref_of(payload));
	json_set_string(github, "actor", json_get_string(json_get_object(payload, "sender"), "login"));
	*ret = github;
	return 0;
}

static void overlay(json_t *github, const struct given *given)
{
	const char *repository = json_get_string(github, "repository");
	json_set_string(github, "event_name", given->event);
	json_set_string(github, "ref", given->ref);
	json_set_string(github, "actor", given->actor);
	if (given->workflow != NULL)
		json_object_set_new(github, "workflow_ref",
		                    json_stringf("%s/%s@%s", repository != NULL ? repository : "", given->workflow,
		                                 json_get_string(github, "ref")));
}

static int read_job(const char *path, const struct given *given, struct admission_job *ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(FILE_MAX);
	_cleanup_json_ json_t *value = NULL, *github = NULL;
	int r = fs_read(AT_FDCWD, path, FILE_MAX, &text, err);
	if (r >= 0)
		r = json_parse(str_peek(&text), text.len, FILE_MAX, &value, err);
	if (r >= 0 && !json_is_object(value))
		r = err_set(err, ERR_INVALID, "it is no JSON object");
	if (r >= 0 && wire_get(value, "contextData") != NULL)
		return admission_job_of_message(value, ret, err);
	if (r >= 0 && json_get_string(value, "event_name") != NULL)
		github = json_incref(value);
	else if (r >= 0)
		r = context_of(value, given, &github, err);
	if (r < 0)
		return err_wrap(err, r, "%s", path);
	overlay(github, given);
	admission_job_read(github, NULL, ret);
	return 0;
}

static int read_policy(const char *given, char **ret_path, struct admission **ret, struct err *err)
{
	struct records store = {0};
	struct err away = ERR_INIT;
	int opened = given == NULL ? records_open(false, &store, &away) : ERR_NOT_FOUND;
	char *path = admission_path(given, store.dir);
	records_done(&store);
	*ret_path = path;
	if (path == NULL && opened < 0 && opened != ERR_NOT_FOUND) {
		*err = away;
		return opened;
	}
	return admission_read(path, ret, err);
}

static void print_line(const char *name, const char *value)
{
	_cleanup_(str_done) struct str safe = STR_INIT(1 << 20);
	str_append_safe(&safe, value, strlen(value));
	printf("  %-11s %s\n", name, safe.len > 0 ? str_peek(&safe) : "not known");
}

static void print_people(const char *path, const struct admission_job *job, const struct admission_answer *answer)
{
	_cleanup_free_ char *repository =
		xasprintf("%s (%s)", job->repository, job->is_public ? "public" : "not public");
	_cleanup_free_ char *said =
		xasprintf("%s by the rule '%s'%s%s", answer->admitted ? "would run" : "would be refused", answer->rule,
	                  answer->reason != NULL ? ": " : "", answer->reason != NULL ? answer->reason : "");
	_cleanup_(str_done) struct str safe = STR_INIT(1 << 20);
	str_append_safe(&safe, said, strlen(said));
	puts(str_peek(&safe));
	if (answer->hint != NULL)
		printf("  %s\n", answer->hint);
	print_line("policy", path != NULL ? path : "none");
	print_line("repository", repository);
	print_line("workflow", job->workflow);
	print_line("event", job->event);
	print_line("ref", job->ref);
	print_line("actor", job->actor);
	print_line("fork", job->fork != NULL ? job->fork : "no");
	if (answer->actions != NULL)
		print_line("actions", answer->actions);
	if (job->references == NULL)
		printf("  its steps are not known here: a rule's `steps` and `actions` are compared with the job itself\n");
}

static void print_json(const char *path, const struct admission_job *job, const struct admission_answer *answer)
{
	_cleanup_json_ json_t *about =
		json_pack("{s:s, s:b, s:s, s:s, s:s, s:s, s:s?, s:b}", "repository", job->repository, "public",
	                  job->is_public, "workflow", job->workflow, "event", job->event, "ref", job->ref, "actor",
	                  job->actor, "fork", job->fork, "steps_are_known", job->references != NULL);
	_cleanup_json_ json_t *all = json_pack("{s:b, s:s, s:s?, s:s?, s:s?, s:s?, s:O}", "admitted", answer->admitted,
	                                       "rule", answer->rule, "reason", answer->reason, "hint", answer->hint,
	                                       "actions", answer->actions, "policy", path, "job", about);
	_cleanup_free_ char *text = json_pretty(all);
	puts(text);
}

static int test(const char *path, const struct given *given)
{
	_cleanup_(admission_freep) struct admission *policy = NULL;
	_cleanup_free_ char *where = NULL;
	struct admission_job job = {0};
	struct admission_answer answer = {0};
	struct err err = ERR_INIT;
	int r = read_policy(given->policy, &where, &policy, &err);
	if (r >= 0)
		r = read_job(path, given, &job, &err);
	if (r < 0)
		return cli_fail(&err, WRONG);
	admission_decide(policy, &job,
	                 given->actions_repository != NULL ? given->actions_repository : DAVIT_ACTIONS_REPOSITORY,
	                 &answer);
	(cli_json() ? print_json : print_people)(where, &job, &answer);
	int status = answer.admitted ? 0 : REFUSED;
	admission_answer_done(&answer);
	admission_job_done(&job);
	return cli_output_failed() ? WRONG : status;
}

int agent_policy(int argc, char **argv)
{
	struct given given = {0};
	const struct cli_option options[] = {
		{"policy", 0, CLI_TEXT, &given.policy, "FILE",
	         "default: /etc/davit/policy.yml, else policy.yml in the agent's own directory"},
		{"event", 0, CLI_TEXT, &given.event, "NAME", "of which event the payload is: push, pull_request, …"},
		{"workflow", 0, CLI_TEXT, &given.workflow, "PATH", "of which workflow: .github/workflows/deploy.yml"},
		{"ref", 0, CLI_TEXT, &given.ref, "REF", "in place of the file's: refs/heads/main"},
		{"actor", 0, CLI_TEXT, &given.actor, "LOGIN", "in place of the file's"},
		{"actions-repository", 0, CLI_TEXT, &given.actions_repository, "O/R", "as given to `agent configure`"},
		{0}};
	const struct cli_command command = {
		.name = "agent policy test",
		.usage = "FILE [options]",
		.summary =
			"Says what the policy of this host would do with a job. FILE is the context `github` of a run (toJSON), "
			"a job's message, or the payload of an event.",
		.options = options,
		.min_rest = 1,
		.max_rest = 1};
	struct cli_rest rest;
	bool asks = argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
	if (argc < 2 || (!asks && strcmp(argv[1], "test") != 0)) {
		(void)fprintf(stderr, "davit: %s%s%s\n  davit agent policy --help explains it\n",
		              argc < 2 ? "agent policy needs a part: test" : "agent policy has no part '",
		              argc < 2 ? "" : argv[1], argc < 2 ? "" : "'");
		return WRONG;
	}
	int r = asks ? cli_parse(&command, argc, argv, &rest) : cli_parse(&command, argc - 1, argv + 1, &rest);
	return r >= 0 ? r : test(rest.words[0], &given);
}
