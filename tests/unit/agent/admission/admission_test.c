#include "unit/cmocka_all.h"
#include "agent/admission/admission.h"

#include <string.h>

#include "agent/template/context_data.h"
#include "agent/template/uses.h"
#include "base/sys/fs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWN "davit-deploy/davit"
#define DIGITS(number) #number
#define VERSION_OF(number) "@v" DIGITS(number)
#define VERSION VERSION_OF(DAVIT_MAJOR)

static struct admission *policy(const char *text)
{
	struct admission *a = NULL;
	struct err err = ERR_INIT;
	assert_int_equal(text != NULL ? admission_parse("policy.yml", text, strlen(text), &a, &err)
	                              : admission_read(NULL, &a, &err),
	                 0);
	return a;
}

/* A push to a private repository; each test changes what it is about. */
static json_t *push(void)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:{}}", "repository", "acme/shop", "repository_id", "7",
	                 "repository_visibility", "private", "event_name", "push", "ref", "refs/heads/main", "actor",
	                 "Octocat", "workflow_ref", "acme/shop/.github/workflows/ci.yml@refs/heads/main", "event");
}

static json_t *pull(const char *from, int id)
{
	json_t *github = push();
	json_object_set_new(github, "event_name", json_string("pull_request"));
	json_object_set_new(github, "ref", json_string("refs/pull/4/merge"));
	json_object_set_new(
		github, "event",
		json_pack("{s:{s:{s:o}}}", "pull_request", "head", "repo",
	                  from != NULL ? json_pack("{s:s, s:i}", "full_name", from, "id", id) : json_null()));
	return github;
}

static json_t *with(json_t *github, const char *name, const char *value)
{
	json_object_set_new(github, name, json_string(value));
	return github;
}

/* The name of the rule that lets the job in with a '+' before it, of the one that refuses it with a '-'. github: taken. */
static const char *rule_for(const char *text, json_t *github, const json_t *message)
{
	static char said[600];
	_cleanup_(admission_freep) struct admission *a = policy(text);
	struct admission_job job;
	struct admission_answer answer;
	admission_job_read(github, message, &job);
	admission_decide(a, &job, OWN, &answer);
	assert_true(answer.admitted == (answer.reason == NULL));
	(void)snprintf(said, sizeof(said), "%c%s", answer.admitted ? '+' : '-', answer.rule);
	admission_answer_done(&answer);
	admission_job_done(&job);
	json_decref(github);
	return said;
}
#define decides(text, github, said) assert_string_equal(rule_for(text, github, NULL), said)

static const char main_only[] =
	"rules:\n- {name: main, allow: true, repositories: [Acme/*], refs: [refs/heads/main, 'refs/tags/v*'], events: [push]}\n";

static void without_a_file_forks_and_public_repositories_are_refused(void **state)
{
	(void)state;
	decides(NULL, push(), "+(no policy)");
	decides(NULL, with(push(), "repository_visibility", "internal"), "+(no policy)");
	decides(NULL, with(push(), "repository_visibility", "public"), "-(public repositories)");
	decides(NULL, with(push(), "repository_visibility", "of a new kind"), "-(public repositories)");
	decides(NULL, pull("acme/shop", 7), "+(no policy)");
	decides(NULL, pull("mallory/shop", 8), "-(forks)");
	decides(NULL, pull("acme/shop", 8), "-(forks)");
	decides(NULL, pull(NULL, 0), "-(forks)");
	decides(NULL, with(push(), "event_name", "pull_request_target"), "-(forks)");
	decides(NULL, with(push(), "event_name", "workflow_run"), "-(forks)");
}

static void a_repository_of_which_nobody_says_that_it_is_private_counts_as_public(void **state)
{
	(void)state;
	json_t *github = push();
	json_object_del(github, "repository_visibility");
	decides(NULL, json_incref(github), "-(public repositories)");
	json_object_set_new(github, "event", json_pack("{s:{s:b}}", "repository", "private", 1));
	decides(NULL, github, "+(no policy)");
}

static void a_file_lets_in_what_it_names_and_nothing_else(void **state)
{
	(void)state;
	decides("rules: []\n", push(), "-(no rule)");
	decides(main_only, push(), "+main");
	decides(main_only, with(push(), "ref", "refs/tags/v1"), "+main");
	decides(main_only, with(push(), "ref", "refs/heads/Main"), "-(no rule)");
	decides(main_only, with(push(), "ref", "refs/heads/main2"), "-(no rule)");
	decides(main_only, with(push(), "event_name", "schedule"), "-(no rule)");
	decides(main_only, with(push(), "repository", "acmes/shop"), "-(no rule)");
	decides(main_only, with(push(), "repository_visibility", "public"), "-(public repositories)");
}

static void a_rule_lets_in_forks_and_public_repositories_only_where_it_says_so(void **state)
{
	(void)state;
	const char *all = "rules:\n- {name: all, allow: true}\n";
	decides(all, push(), "+all");
	decides(all, pull("mallory/shop", 8), "-(forks)");
	decides("rules:\n- {name: all, allow: true, forks: true}\n", pull("mallory/shop", 8), "+all");
	decides("rules:\n- {name: all, allow: true, forks: true}\n",
	        with(pull("mallory/shop", 8), "repository_visibility", "public"), "-(forks)");
	decides("rules:\n- {name: all, allow: true, forks: true, public: true}\n",
	        with(pull("mallory/shop", 8), "repository_visibility", "public"), "+all");
}

static void the_first_rule_that_fits_decides(void **state)
{
	(void)state;
	const char *text = "rules:\n"
			   "- {name: not-bots, refuse: true, actors: ['*[bot]', mallory]}\n"
			   "- {name: ci, allow: true, workflows: [.github/workflows/ci.yml], actors: [octocat]}\n"
			   "- {name: rest, refuse: true}\n"
			   "- {name: never, allow: true}\n";
	decides(text, push(), "+ci");
	decides(text, with(push(), "actor", "renovate[bot]"), "-not-bots");
	decides(text, with(push(), "workflow_ref", "acme/shop/.github/workflows/ci.yml2@refs/heads/main"), "-rest");
	decides(text, with(push(), "workflow_ref", "evil/shop/.github/workflows/ci.yml@refs/heads/main"), "-rest");
	decides(text, with(push(), "triggering_actor", "octocat"), "+ci");
	decides(text, with(push(), "triggering_actor", "mallory"), "-not-bots");
	decides(text, with(push(), "triggering_actor", "someone"), "-rest");
}

static json_t *message_with(const char *uses)
{
	json_t *reference = NULL;
	struct err err = ERR_INIT;
	if (uses == NULL)
		reference = json_pack("{s:s}", "type", "script");
	else
		assert_int_equal(uses_read(uses, &reference, &err), 0);
	return json_pack("{s:[{s:o}]}", "steps", "reference", reference);
}

static const char *step_for(const char *text, const char *uses)
{
	_cleanup_json_ json_t *message = message_with(uses);
	return rule_for(text, push(), message);
}

static void a_rule_for_typed_steps_refuses_every_other_step(void **state)
{
	(void)state;
	const char *typed = "rules:\n- {name: typed, allow: true, steps: typed}\n- {name: any, allow: true}\n";
	assert_string_equal(step_for(typed, OWN VERSION), "+typed");
	assert_string_equal(step_for(typed, OWN "/actions/run" VERSION), "+typed");
	assert_string_equal(step_for(typed, OWN "/elsewhere/run" VERSION), "-typed");
	assert_string_equal(step_for(typed, NULL), "-typed");
	assert_string_equal(step_for(typed, "actions/checkout@v4"), "-typed");
	assert_string_equal(step_for(typed, "./here"), "-typed");
	assert_string_equal(step_for(typed, "docker://alpine"), "-typed");
	_cleanup_json_ json_t *contained = message_with(OWN VERSION);
	json_object_set_new(contained, "jobContainer", json_string("alpine"));
	assert_string_equal(rule_for(typed, push(), contained), "-typed");
}

static void a_rule_names_the_actions_that_may_be_used(void **state)
{
	(void)state;
	const char *text = "rules:\n- {name: some, allow: true, actions: 'actions/*, ./'}\n";
	assert_string_equal(step_for(text, "actions/checkout@v4"), "+some");
	assert_string_equal(step_for(text, "evil/checkout@v4"), "-some");
	assert_string_equal(step_for(text, "docker://alpine"), "-some");
	assert_string_equal(step_for(text, NULL), "+some");
}

static void a_job_is_read_from_its_message(void **state)
{
	(void)state;
	_cleanup_json_ json_t *github = pull("mallory/shop", 8), *message = message_with(NULL);
	json_object_set_new(message, "contextData", json_pack("{s:o}", "github", context_data(github)));
	struct admission_job job;
	struct err err = ERR_INIT;
	assert_int_equal(admission_job_of_message(message, &job, &err), 0);
	assert_string_equal(job.repository, "acme/shop");
	assert_string_equal(job.workflow, ".github/workflows/ci.yml");
	assert_string_equal(job.fork, "mallory/shop");
	assert_false(job.is_public || job.contained);
	assert_int_equal(json_array_size(job.references), 1);
	admission_job_done(&job);
	json_object_del(message, "contextData");
	assert_int_equal(admission_job_of_message(message, &job, &err), ERR_PROTOCOL);
}

static void what_is_wrong_with_a_file_is_told_with_its_place(void **state)
{
	(void)state;
	static const struct {
		const char *text, *says;
	} files[] = {
		{"rules: 1\n", "policy.yml:1:8"},
		{"rule: []\n", "policy.yml:1:1"},
		{"rules:\n- {allow: true}\n", "policy.yml:2:3"},
		{"rules:\n- {name: a}\n", "policy.yml:2:3"},
		{"rules:\n- {name: a, allow: true, refuse: true}\n", "policy.yml:2:3"},
		{"rules:\n- {name: a, allow: false}\n", "policy.yml:2:20"},
		{"rules:\n- {name: a, allow: true, ref: [x]}\n", "policy.yml:2:26"},
		{"rules:\n- {name: a, allow: true, refs: [main]}\n", "policy.yml:2:33"},
		{"rules:\n- {name: a, allow: true}\n- {name: a, refuse: true}\n", "policy.yml:3:10"},
		{"rules:\n- {name: a, allow: true, actions: what}\n", "'what' names no actions"},
		{"rules:\n- {name: a, refuse: true, forks: true}\n", "'forks' is for rules that allow"},
		{"rules:\n- {name: a, refuse: true, repositories: [acme/*, shop]}\n",
	         "/rules/0/repositories/1: 'shop' fits no repository: it has no slash"},
		{"rules:\n- {name: a, refuse: true, workflows: [deploy.yml]}\n",
	         "'deploy.yml' fits no workflow: it has no slash"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct admission *a = NULL;
		struct err err = ERR_INIT;
		char line[ERR_FRAME_SIZE * 2];
		assert_int_equal(admission_parse("policy.yml", files[i].text, strlen(files[i].text), &a, &err),
		                 ERR_INVALID);
		if (strstr(err_line(&err, line, sizeof(line)), files[i].says) == NULL)
			fail_msg("'%s' is not in '%s'", files[i].says, line);
	}
}

static void a_file_that_others_can_write_is_not_read(void **state)
{
	(void)state;
	char path[] = "/tmp/davit-policy-XXXXXX";
	struct admission *a = NULL;
	struct err err = ERR_INIT;
	int fd = mkstemp(path);
	assert_true(fd >= 0 && write(fd, main_only, strlen(main_only)) == (ssize_t)strlen(main_only));
	assert_int_equal(admission_read(path, &a, &err), 0);
	admission_freep(&a);
	assert_int_equal(fchmod(fd, 0660), 0);
	assert_int_equal(admission_read(path, &a, &err), ERR_PERMISSION);
	close(fd);
	unlink(path);
	assert_int_equal(admission_read(path, &a, &err), ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_file_forks_and_public_repositories_are_refused),
		cmocka_unit_test(a_repository_of_which_nobody_says_that_it_is_private_counts_as_public),
		cmocka_unit_test(a_file_lets_in_what_it_names_and_nothing_else),
		cmocka_unit_test(a_rule_lets_in_forks_and_public_repositories_only_where_it_says_so),
		cmocka_unit_test(the_first_rule_that_fits_decides),
		cmocka_unit_test(a_rule_for_typed_steps_refuses_every_other_step),
		cmocka_unit_test(a_rule_names_the_actions_that_may_be_used),
		cmocka_unit_test(a_job_is_read_from_its_message),
		cmocka_unit_test(what_is_wrong_with_a_file_is_told_with_its_place),
		cmocka_unit_test(a_file_that_others_can_write_is_not_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
