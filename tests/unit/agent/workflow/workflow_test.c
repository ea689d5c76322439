#include "unit/cmocka_all.h"
#include "agent/workflow/workflow.h"

#include <string.h>

static const char good[] = "name: deploy\n"
			   "on:\n"
			   "  push:\n"
			   "    branches: [main, 'release/**', '!release/old']\n"
			   "  workflow_dispatch:\n"
			   "    inputs:\n"
			   "      where: { type: choice, options: [staging, production], default: staging }\n"
			   "      dry: { type: boolean }\n"
			   "      why: { required: true }\n"
			   "permissions:\n"
			   "  contents: read\n"
			   "  pull-requests: write\n"
			   "env: { LEVEL: workflow }\n"
			   "defaults: { run: { shell: bash } }\n"
			   "jobs:\n"
			   "  test:\n"
			   "    name: test (linux)\n"
			   "    runs-on: [self-hosted, linux]\n"
			   "    env:\n"
			   "      LEVEL: job\n"
			   "      OS: ${{ github.actor == 'x' && github.ref || vars.OS }}\n"
			   "    outputs:\n"
			   "      digest: ${{ steps.build.outputs.digest }}\n"
			   "    steps:\n"
			   "      - uses: actions/checkout@v4\n"
			   "        with: { fetch-depth: 0 }\n"
			   "      - id: build\n"
			   "        name: Build on ${{ matrix.os }}\n"
			   "        if: github.ref == 'refs/heads/main'\n"
			   "        env: { KEY: '${{ secrets.DEPLOY_KEY }}' }\n"
			   "        run: |\n"
			   "          make\n"
			   "          echo \"digest=abc\" >> \"$GITHUB_OUTPUT\"\n"
			   "        working-directory: src\n"
			   "        timeout-minutes: 10\n"
			   "        continue-on-error: false\n"
			   "      - run: echo a\n"
			   "      - run: echo b\n"
			   "        if: ${{ !cancelled() }}\n"
			   "  deploy:\n"
			   "    needs: test\n"
			   "    if: always()\n"
			   "    runs-on: self-hosted\n"
			   "    environment: { name: production, url: 'https://${{ steps.x.outputs.host }}/' }\n"
			   "    permissions: { deployments: write }\n"
			   "    steps:\n"
			   "      - uses: octo/davit/actions/archive-upload@v1\n"
			   "      - uses: ./local\n"
			   "      - uses: docker://alpine:3\n";

static struct workflow *read_good(const char *text)
{
	struct faults faults = {0};
	struct err err = ERR_INIT;
	struct workflow *w = NULL;
	char line[1024];
	if (workflow_read(".github/workflows/ci.yml", text, strlen(text), &faults, &w, NULL, &err) < 0)
		fail_msg("%s", err_line(&err, line, sizeof(line)));
	faults_done(&faults);
	return w;
}

static char *faults_of(const char *text)
{
	struct faults faults = {0};
	struct err err = ERR_INIT;
	struct workflow *w = NULL;
	struct yaml_doc *doc = NULL;
	struct str out = STR_INIT(65536);
	char line[1024];
	int r = workflow_read("w.yml", text, strlen(text), &faults, &w, &doc, &err);
	assert_true(r < 0);
	assert_null(w);
	if (faults.count)
		faults_print(&faults, doc, &out);
	else
		str_append(&out, err_line(&err, line, sizeof(line)));
	faults_done(&faults);
	yaml_freep(&doc);
	char *result = str_take(&out);
	str_done(&out);
	return result;
}

/* Parts of a JSON value by canonical text, so that a failure shows what there is. */
static void expect_json(const json_t *value, const char *text)
{
	_cleanup_json_ json_t *expected = json_loads(text, JSON_DECODE_ANY, NULL);
	assert_non_null(expected);
	_cleanup_free_ char *a = json_canonical(value), *b = json_canonical(expected);
	assert_string_equal(a, b);
}

static json_t *message_of(const struct workflow *w, const char *job)
{
	_cleanup_json_ json_t *github =
		json_pack("{s:s, s:s, s:{s:[s, s], s:b, s:i}}", "repository", "octo/demo", "ref", "refs/heads/main",
	                  "event", "commits", "a1", "b2", "forced", 0, "size", 2);
	_cleanup_json_ json_t *secrets = json_pack("{s:s}", "DEPLOY_KEY", "s3cr3t.value");
	_cleanup_json_ json_t *permissions = workflow_permissions(w, workflow_find_job(w, job));
	struct workflow_message m = {.workflow = w,
	                             .job = workflow_find_job(w, job),
	                             .plan_id = "0b1c2d3e-1111-4222-8333-444455556666",
	                             .job_id = "77777777-aaaa-5bbb-8ccc-dddddddddddd",
	                             .display_name = "test (linux)",
	                             .run_service_url = "https://run.invalid/12/",
	                             .results_url = "https://results.invalid/",
	                             .actions_url = "https://results.invalid/",
	                             .launch_url = "https://launch.invalid",
	                             .access_token = "eyJ0.job.token",
	                             .github_token = "ghs_example",
	                             .billing_owner_id = "U_42",
	                             .runner_group = "Default",
	                             .github = github,
	                             .secrets = secrets,
	                             .permissions = permissions,
	                             .check_run_id = 7,
	                             .environment = strcmp(job, "deploy") == 0 ? "production" : NULL};
	return workflow_job_message(&m);
}

static void the_message_has_the_shape_of_the_worked_example(void **state)
{
	(void)state;
	_cleanup_(workflow_freep) struct workflow *w = read_good(good);
	_cleanup_json_ json_t *m = message_of(w, "test");
	expect_json(json_object_get(m, "messageType"), "\"RunnerJobRequest\"");
	expect_json(json_object_get(m, "plan"),
	            "{\"planId\":\"0b1c2d3e-1111-4222-8333-444455556666\",\"planType\":\"actions\",\"version\":0,"
	            "\"scopeIdentifier\":\"00000000-0000-0000-0000-000000000000\",\"artifactUri\":\"\","
	            "\"artifactLocation\":\"\",\"planGroup\":null}");
	expect_json(json_object_get(m, "timeline"),
	            "{\"id\":\"0b1c2d3e-1111-4222-8333-444455556666\",\"changeId\":0,\"location\":null}");
	expect_json(json_object_get(m, "environmentVariables"),
	            "[{\"type\":2,\"map\":[{\"key\":\"LEVEL\",\"value\":\"workflow\"}]},"
	            "{\"type\":2,\"map\":[{\"key\":\"LEVEL\",\"value\":\"job\"},{\"key\":\"OS\",\"value\":{\"type\":3,"
	            "\"file\":1,\"line\":21,\"col\":11,"
	            "\"expr\":\"github.actor == 'x' && github.ref || vars.OS\"}}]}]");
	expect_json(json_object_get(m, "defaults"), "[{\"type\":2,\"map\":[{\"key\":\"run\",\"value\":{\"type\":2,"
	                                            "\"map\":[{\"key\":\"shell\",\"value\":\"bash\"}]}}]}]");
	expect_json(json_object_get(m, "fileTable"), "[\".github/workflows/ci.yml\"]");
	expect_json(json_object_get(m, "jobOutputs"),
	            "{\"type\":2,\"map\":[{\"key\":\"digest\",\"value\":{\"type\":3,\"file\":1,\"line\":23,\"col\":15,"
	            "\"expr\":\"steps.build.outputs.digest\"}}]}");
	expect_json(json_object_get(m, "actionsEnvironment"), "null");
	expect_json(json_object_get(json_object_get(m, "variables"), "DEPLOY_KEY"),
	            "{\"value\":\"s3cr3t.value\",\"isSecret\":true}");
	expect_json(json_array_get(json_object_get(m, "mask"), 0),
	            "{\"type\":\"regex\",\"value\":\"s3cr3t\\\\.value\"}");
	json_t *endpoint = json_array_get(json_object_get(json_object_get(m, "resources"), "endpoints"), 0);
	expect_json(json_object_get(endpoint, "name"), "\"SystemVssConnection\"");
	expect_json(json_object_get(endpoint, "authorization"),
	            "{\"scheme\":\"OAuth\",\"parameters\":{\"AccessToken\":\"eyJ0.job.token\"}}");
	expect_json(json_object_get(json_object_get(m, "contextData"), "github"),
	            "{\"t\":2,\"d\":[{\"k\":\"repository\",\"v\":\"octo/demo\"},{\"k\":\"ref\",\"v\":\"refs/heads/"
	            "main\"},{\"k\":\"event\",\"v\":{\"t\":2,\"d\":["
	            "{\"k\":\"commits\",\"v\":{\"t\":1,\"a\":[\"a1\",\"b2\"]}},{\"k\":\"forced\",\"v\":false},{\"k\":"
	            "\"size\",\"v\":{\"t\":4,\"n\":2}}]}}]}");
	expect_json(json_object_get(json_object_get(m, "contextData"), "needs"), "{\"t\":2}");
	expect_json(json_object_get(json_object_get(m, "contextData"), "inputs"), "null");
}

static void the_steps_of_the_message_are_those_of_the_file(void **state)
{
	(void)state;
	_cleanup_(workflow_freep) struct workflow *w = read_good(good);
	_cleanup_json_ json_t *m = message_of(w, "test");
	json_t *steps = json_object_get(m, "steps");
	assert_int_equal(json_array_size(steps), 4);
	size_t i;
	json_t *step;
	json_array_foreach(steps, i, step)
	{
		assert_int_equal(strlen(json_get_string(step, "id")), 36);
		json_object_del(step, "id");
	}
	expect_json(json_array_get(steps, 0),
	            "{\"type\":\"action\",\"name\":\"__actions_checkout\",\"contextName\":\"__actions_checkout\","
	            "\"condition\":\"success()\",\"continueOnError\":null,\"timeoutInMinutes\":null,\"reference\":{"
	            "\"type\":\"repository\","
	            "\"name\":\"actions/checkout\",\"ref\":\"v4\",\"repositoryType\":\"GitHub\",\"path\":null},"
	            "\"inputs\":{\"type\":2,\"map\":[{\"key\":\"fetch-depth\",\"value\":\"0\"}]}}");
	expect_json(json_array_get(steps, 1),
	            "{\"type\":\"action\",\"name\":\"build\",\"contextName\":\"build\",\"displayNameToken\":"
	            "{\"type\":3,\"file\":1,\"line\":28,\"col\":15,\"expr\":\"format('Build on {0}', matrix.os)\"},"
	            "\"condition\":\"success() && (github.ref == "
	            "'refs/heads/main')\",\"timeoutInMinutes\":10,\"continueOnError\":false,"
	            "\"environment\":{\"type\":2,\"map\":[{\"key\":\"KEY\",\"value\":{\"type\":3,\"file\":1,\"line\":"
	            "30,\"col\":21,\"expr\":\"secrets.DEPLOY_KEY\"}}]},"
	            "\"reference\":{\"type\":\"script\"},\"inputs\":{\"type\":2,\"map\":[{\"key\":\"script\","
	            "\"value\":\"make\\necho \\\"digest=abc\\\" >> "
	            "\\\"$GITHUB_OUTPUT\\\"\\n\"},{\"key\":\"workingDirectory\",\"value\":\"src\"}]}}");
	assert_string_equal(json_get_string(json_array_get(steps, 2), "contextName"), "__run");
	assert_string_equal(json_get_string(json_array_get(steps, 3), "contextName"), "__run_2");
	assert_string_equal(json_get_string(json_array_get(steps, 3), "condition"), "!cancelled()");
}

static void references_are_taken_apart(void **state)
{
	(void)state;
	_cleanup_(workflow_freep) struct workflow *w = read_good(good);
	const struct workflow_job *job = workflow_find_job(w, "deploy");
	expect_json(job->steps[0].reference,
	            "{\"type\":\"repository\",\"name\":\"octo/davit\",\"ref\":\"v1\",\"repositoryType\":\"GitHub\","
	            "\"path\":\"actions/archive-upload\"}");
	expect_json(job->steps[1].reference, "{\"type\":\"repository\",\"name\":null,\"ref\":null,\"repositoryType\":"
	                                     "\"self\",\"path\":\"./local\"}");
	expect_json(job->steps[2].reference, "{\"type\":\"containerRegistry\",\"image\":\"alpine:3\"}");
	assert_string_equal(job->condition, "always()");
	assert_string_equal(job->needs.items[0], "test");
	_cleanup_json_ json_t *m = message_of(w, "deploy");
	expect_json(json_object_get(m, "actionsEnvironment"),
	            "{\"name\":\"production\",\"url\":{\"type\":3,\"file\":1,\"line\":44,\"col\":43,"
	            "\"expr\":\"format('https://{0}/', steps.x.outputs.host)\"}}");
}

static void containers_keep_their_form_and_each_place_its_contexts(void **state)
{
	(void)state;
	static const char text[] =
		"on: push\n"
		"jobs:\n"
		"  a:\n"
		"    runs-on: x\n"
		"    container: node:20\n"
		"    services: '${{ fromJSON(vars.SERVICES) }}'\n"
		"    steps: [{run: a}]\n"
		"  b:\n"
		"    runs-on: x\n"
		"    container: {image: '${{ matrix.image }}', env: {A: 1, B: '${{ secrets.B }}'}, ports: [80], options: --init}\n"
		"    services:\n"
		"      db: {image: pg, volumes: ['a:/b'], credentials: {username: u, password: '${{ secrets.P }}'}, command: x}\n"
		"      plain: redis\n"
		"    steps: [{run: a}]\n";
	_cleanup_(workflow_freep) struct workflow *w = read_good(text);
	_cleanup_json_ json_t *a = message_of(w, "a"), *b = message_of(w, "b");
	expect_json(json_object_get(a, "jobContainer"), "\"node:20\"");
	assert_string_equal(json_get_string(json_object_get(a, "jobServiceContainers"), "expr"),
	                    "fromJSON(vars.SERVICES)");
	const json_t *map = json_object_get(json_object_get(b, "jobContainer"), "map");
	expect_json(json_array_get(map, 1),
	            "{\"key\":\"env\",\"value\":{\"type\":2,\"map\":[{\"key\":\"A\",\"value\":\"1\"},{\"key\":\"B\","
	            "\"value\":{\"type\":3,\"file\":1,\"line\":10,\"col\":62,\"expr\":\"secrets.B\"}}]}}");
	map = json_object_get(json_object_get(b, "jobServiceContainers"), "map");
	expect_json(json_array_get(map, 1), "{\"key\":\"plain\",\"value\":\"redis\"}");
	_cleanup_free_ char *faults =
		faults_of("on: push\n"
	                  "jobs:\n"
	                  "  a:\n"
	                  "    runs-on: x\n"
	                  "    container: {image: '${{ secrets.A }}', volume: [x], ports: 80}\n"
	                  "    services: {'a b': [x], c: {env: {A: b}, entrypoint: [x], credentials: {username: u}}}\n"
	                  "    steps: [{run: a}]\n");
	static const char *const words[] = {"secrets",
	                                    "'volume'",
	                                    "'ports' must be a list",
	                                    "the name of a service",
	                                    "a service must be an image or a map",
	                                    "a service needs 'image'",
	                                    "'entrypoint' must be a text",
	                                    "'credentials' needs 'password'"};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strstr(faults, words[i]) == NULL)
			fail_msg("no '%s' in: %s", words[i], faults);
}

static void permissions_follow_the_job_then_the_workflow_then_the_default(void **state)
{
	(void)state;
	_cleanup_(workflow_freep) struct workflow *w = read_good(good);
	_cleanup_json_ json_t *of_workflow = workflow_permissions(w, workflow_find_job(w, "test"));
	_cleanup_json_ json_t *of_job = workflow_permissions(w, workflow_find_job(w, "deploy"));
	expect_json(of_workflow, "{\"Contents\":\"read\",\"PullRequests\":\"write\",\"Metadata\":\"read\"}");
	expect_json(of_job, "{\"Deployments\":\"write\",\"Metadata\":\"read\"}");
	_cleanup_(workflow_freep) struct workflow *plain =
		read_good("on: push\njobs: { a: { runs-on: x, steps: [ { run: a } ] } }\n");
	_cleanup_json_ json_t *by_default = workflow_permissions(plain, &plain->jobs[0]);
	expect_json(by_default, "{\"Contents\":\"read\",\"Packages\":\"read\",\"Metadata\":\"read\"}");
}

static void branch_filters_decide_which_push_counts(void **state)
{
	(void)state;
	_cleanup_(workflow_freep) struct workflow *w = read_good(good);
	assert_true(workflow_wants_push(w, "refs/heads/main"));
	assert_true(workflow_wants_push(w, "refs/heads/release/1/x"));
	assert_false(workflow_wants_push(w, "refs/heads/release/old"));
	assert_false(workflow_wants_push(w, "refs/heads/dev"));
	assert_false(workflow_wants_push(w, "refs/tags/v1"));
	_cleanup_(workflow_freep) struct workflow *any =
		read_good("on: [push]\njobs: { a: { runs-on: x, steps: [ { run: a } ] } }\n");
	assert_true(workflow_wants_push(any, "refs/heads/x/y"));
	assert_true(workflow_wants_push(any, "refs/tags/v1"));
}

static void filter_patterns_are_githubs(void **state)
{
	(void)state;
	static const struct {
		const char *pattern, *name;
		bool matches;
	} cases[] = {
		{"feature/*", "feature/a", true},
		{"feature/*", "feature/a/b", false},
		{"feature/**", "feature/a/b", true},
		{"*", "main", true},
		{"*", "a/b", false},
		{"**", "a/b", true},
		{"v2*", "v2.0", true},
		{"v2*", "v1", false},
		{"v[12].[0-9]+.[0-9]+", "v1.10.1", true},
		{"v[12].[0-9]+.[0-9]+", "v3.1.1", false},
		{"*.jsx?", "page.js", true},
		{"*.jsx?", "page.jsx", true},
		{"*.jsx?", "page.jsy", false},
		{"a.b", "axb", false},
		{"(a", "(a", true},
		{"**/README.md", "README.md", true},
		{"**/README.md", "a/b/README.md", true},
		{"**/README.md", "a/XREADME.md", false},
		{"docs/**/*.md", "docs/a.md", true},
		{"docs/**/*.md", "docs/a/b.md", true},
		{"docs/**/*.md", "docsa.md", false},
		{"**/docs/**", "docs/a", true},
		{"a**/b", "ab", false},
		{"[z-a]", "z", false},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *list = json_pack("[s]", cases[i].pattern);
		if (workflow_filter(list, cases[i].name) != cases[i].matches)
			fail_msg("%s against %s", cases[i].pattern, cases[i].name);
	}
	assert_true(workflow_pattern_good("!v[0-9]+.*"));
	assert_false(workflow_pattern_good("[z-a]"));
	assert_false(workflow_pattern_good("![a"));
	assert_false(workflow_pattern_good("+a"));
}

static void inputs_of_a_dispatch_are_checked_and_filled_in(void **state)
{
	(void)state;
	_cleanup_(workflow_freep) struct workflow *w = read_good(good);
	struct err err = ERR_INIT;
	char line[512];
	json_t *inputs = NULL;
	_cleanup_json_ json_t *given = json_pack("{s:s, s:s}", "why", "because", "dry", "true");
	assert_int_equal(workflow_dispatch_inputs(w, given, &inputs, &err), 0);
	expect_json(inputs, "{\"where\":\"staging\",\"dry\":true,\"why\":\"because\"}");
	json_decref(inputs);
	_cleanup_json_ json_t *none = json_object();
	assert_true(workflow_dispatch_inputs(w, none, &inputs, &err) < 0);
	assert_string_equal(err_line(&err, line, sizeof(line)), "Required input 'why' not provided");
	_cleanup_json_ json_t *bad = json_pack("{s:s, s:s}", "why", "x", "where", "moon");
	assert_true(workflow_dispatch_inputs(w, bad, &inputs, &err) < 0);
	assert_string_equal(err_line(&err, line, sizeof(line)), "input 'where' has no option 'moon'");
	_cleanup_json_ json_t *unknown = json_pack("{s:s, s:s}", "why", "x", "nope", "1");
	assert_true(workflow_dispatch_inputs(w, unknown, &inputs, &err) < 0);
}

static void a_number_that_is_none_is_refused(void **state)
{
	(void)state;
	static const char *const none[] = {"nan", "inf", "-infinity", "1e999", "3 apples", ""};
	_cleanup_(workflow_freep) struct workflow *w =
		read_good("on: {workflow_dispatch: {inputs: {n: {type: number}}}}\n"
	                  "jobs: {a: {runs-on: x, steps: [{run: x}]}}\n");
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		_cleanup_json_ json_t *given = json_pack("{s:s}", "n", none[i]);
		json_t *inputs = NULL;
		assert_int_equal(workflow_dispatch_inputs(w, given, &inputs, NULL), ERR_INVALID);
	}
}

static void all_faults_of_a_file_come_at_once_with_their_places(void **state)
{
	(void)state;
	_cleanup_free_ char *text =
		faults_of("nmae: x\n"
	                  "on: puhs\n"
	                  "permissions: { contnets: read, issues: maybe }\n"
	                  "jobs:\n"
	                  "  a:\n"
	                  "    runs-on: self-hosted\n"
	                  "    needs: [bb]\n"
	                  "    strategy: { matrix: { os: [] } }\n"
	                  "    steps:\n"
	                  "      - run: x\n"
	                  "        uses: a/b@c\n"
	                  "      - uses: nonsense\n"
	                  "      - run: echo ${{ github.ref\n"
	                  "      - run: echo ${{ secret.X }}\n"
	                  "      - if: secrets.X == 'a'\n"
	                  "        run: x\n"
	                  "      - name: nothing\n"
	                  "      - run: x\n"
	                  "        wiht: { a: b }\n"
	                  "  b: { runs-on: x, needs: b, steps: [ { run: x, timeout-minutes: -1 } ] }\n");
	static const char *const expected[] = {
		"w.yml:1:1:",
		"did you mean 'name'?",
		"w.yml:2:5:",
		"did you mean 'push'?",
		"did you mean 'contents'?",
		"read, write or none",
		"'bb', which is not a job",
		"did you mean 'b'?",
		"'os' does not contain any values",
		"/jobs/a/steps/0/uses: 'uses' does not go with 'run' in one step",
		"'nonsense'",
		"secret",
		"needs 'run', 'uses', 'wait'",
		"did you mean 'with'?",
		"waits for itself",
		"greater than 0",
		"Unrecognized named-value: 'secrets'",
	};
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		if (!strstr(text, expected[i]))
			fail_msg("'%s' is not in:\n%s", expected[i], text);
}

static void a_reusable_workflow_of_elsewhere_is_refused_with_the_way_out(void **state)
{
	(void)state;
	_cleanup_free_ char *text = faults_of("on: push\njobs: { a: { uses: a/b/.github/workflows/x.yml@v1 } }\n");
	assert_non_null(strstr(text, "only reusable workflows of the same repository are called here"));
}

static void files_that_change_start_what_names_them(void **state)
{
	(void)state;
	static const struct {
		const char *filter, *changed;
		bool wanted;
	} cases[] = {
		{"paths: ['src/**', '!src/doc/**']", "src/a.c", true},
		{"paths: ['src/**', '!src/doc/**']", "src/doc/a", false},
		{"paths: ['src/**', '!src/doc/**']", "README", false},
		{"paths: ['*.md']", "docs/a.md", false},
		{"paths: ['**.md']", "docs/a.md", true},
		{"paths-ignore: ['docs/**']", "docs/a", false},
		{"paths-ignore: ['docs/**']", "src/a", true},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = xasprintf(
			"on: { push: { %s } }\njobs: { a: { runs-on: x, steps: [ { run: x } ] } }\n", cases[i].filter);
		_cleanup_(workflow_freep) struct workflow *w = NULL;
		_cleanup_(faults_done) struct faults faults = {0};
		_cleanup_(strv_done) struct strv changed = {0};
		assert_int_equal(workflow_read("w.yml", text, strlen(text), &faults, &w, NULL, NULL), 0);
		assert_true(workflow_has_path_filter(w, "push"));
		assert_false(workflow_wants_paths(w, "push", &changed));
		strv_add(&changed, cases[i].changed);
		if (workflow_wants_paths(w, "push", &changed) != cases[i].wanted)
			fail_msg("%s, %s", cases[i].filter, cases[i].changed);
	}
}

static void a_condition_with_a_line_feed_behind_its_braces_is_a_text_and_true(void **state)
{
	(void)state;
	_cleanup_(workflow_freep) struct workflow *w = read_good(
		"on: push\njobs:\n  a:\n    runs-on: x\n    if: |\n      ${{ false }}\n    steps: [ { run: a } ]\n"
		"  b:\n    runs-on: x\n    if: |\n      github.ref == 'x'\n    steps: [ { run: a } ]\n");
	assert_string_equal(w->jobs[0].condition, "success() && (format('{0}\n', false))");
	assert_string_equal(w->jobs[1].condition, "success() && (github.ref == 'x')");
}

static void merge_keys_are_refused_and_anchors_are_not(void **state)
{
	(void)state;
	_cleanup_free_ char *text = faults_of(
		"on: push\nenv: &e { A: b }\njobs: { a: { runs-on: x, env: { <<: *e }, steps: [ { run: a } ] } }\n");
	assert_non_null(strstr(text, "<<"));
	_cleanup_(workflow_freep) struct workflow *w =
		read_good("on: push\nenv: &e { A: b }\njobs: { a: { runs-on: x, env: *e, steps: [ { run: a } ] } }\n");
	assert_int_equal(w->job_count, 1);
}

static void keys_that_github_knows_are_known(void **state)
{
	(void)state;
	_cleanup_(workflow_freep) struct workflow *w = read_good(
		"\xef\xbb\xbfon: push\npermissions: { code-quality: read, vulnerability-alerts: read }\n"
		"concurrency: { group: g, cancel-in-progress: \"${{ github.ref != 'refs/heads/main' }}\" }\n"
		"jobs:\n  a:\n    runs-on: x\n    cancel-timeout-minutes: 2\n    environment: { name: p, deployment: false }\n"
		"    steps: [ { run: a } ]\n");
	assert_non_null(w->concurrency_cancel);
	assert_non_null(w->jobs[0].cancel_timeout_minutes);
}

static void the_words_that_skip_a_push_are_githubs(void **state)
{
	(void)state;
	assert_true(workflow_skipped_by("docs: a typo [skip ci]"));
	assert_true(workflow_skipped_by("x\n\nbody [actions skip] more"));
	assert_true(workflow_skipped_by("x\n\nbody\n\nskip-checks: true"));
	assert_false(workflow_skipped_by("skip ci"));
	assert_false(workflow_skipped_by("x\n\nskip-checks: true\n\nmore"));
}

static void text_in_braces_stays_text(void **state)
{
	(void)state;
	_cleanup_(workflow_freep) struct workflow *w =
		read_good("on: push\njobs: { a: { runs-on: x, env: { A: \"${{ 'it''s' }}\", "
	                  "B: \"{x}'${{ github.ref }}\", C: '${{ 1 }}' }, steps: [ { run: a } ] } }\n");
	json_t *map = json_object_get(w->jobs[0].env, "map");
	expect_json(json_array_get(map, 0), "{\"key\":\"A\",\"value\":\"it's\"}");
	assert_string_equal(json_get_string(json_object_get(json_array_get(map, 1), "value"), "expr"),
	                    "format('{{x}}''{0}', github.ref)");
	assert_string_equal(json_get_string(json_object_get(json_array_get(map, 2), "value"), "expr"), "1");
}

static void numbers_and_booleans_become_texts_where_texts_belong(void **state)
{
	(void)state;
	_cleanup_(workflow_freep) struct workflow *w =
		read_good("on: push\njobs: { a: { runs-on: x, env: { A: 1.10, B: true, C: , D: 0x10, E: 1e3 }, "
	                  "steps: [ { run: 5, name: 7 } ] } }\n");
	expect_json(
		json_object_get(w->jobs[0].env, "map"),
		"[{\"key\":\"A\",\"value\":\"1.1\"},{\"key\":\"B\",\"value\":\"true\"},"
		"{\"key\":\"C\",\"value\":\"\"},{\"key\":\"D\",\"value\":\"16\"},{\"key\":\"E\",\"value\":\"1000\"}]");
	expect_json(json_object_get(w->jobs[0].steps[0].inputs, "map"), "[{\"key\":\"script\",\"value\":\"5\"}]");
	expect_json(w->jobs[0].steps[0].name, "\"7\"");
}

static void a_circle_of_jobs_is_found_however_long(void **state)
{
	(void)state;
	struct str text = STR_INIT(1 << 20);
	str_append(&text, "on: push\njobs:\n");
	for (int i = 0; i < 200; i++)
		str_appendf(&text, "  j%d: { runs-on: x, needs: [j%d, j%d], steps: [ { run: a } ] }\n", i,
		            (i + 1) % 200, (i + 7) % 200);
	_cleanup_free_ char *faults = faults_of(str_peek(&text));
	assert_non_null(strstr(faults, "waits for itself"));
	str_clear(&text);
	str_append(&text, "on: push\njobs:\n");
	for (int i = 0; i < 200; i++)
		str_appendf(&text, "  j%d: { runs-on: x, needs: [%s], steps: [ { run: a } ] }\n", i,
		            i == 0   ? ""
		            : i == 1 ? "j0"
		                     : "j0, j1");
	_cleanup_(workflow_freep) struct workflow *w = read_good(str_peek(&text));
	assert_int_equal(w->job_count, 200);
	str_done(&text);
}

static void no_workflow_is_read_from_nonsense(void **state)
{
	(void)state;
	static const char *const texts[] = {"",
	                                    "a",
	                                    "[]",
	                                    "jobs: {}\non: push\n",
	                                    "on: push\n",
	                                    "on: push\njobs: { a: 1 }\n",
	                                    "on: push\njobs: { a: { runs-on: x, steps: 3 } }\n",
	                                    "on: { push: 1 }\njobs: { a: { runs-on: x, steps: [1] } }\n",
	                                    "a: [",
	                                    "\x01"};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_free_ char *text = faults_of(texts[i]);
		assert_true(*text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_message_has_the_shape_of_the_worked_example),
		cmocka_unit_test(the_steps_of_the_message_are_those_of_the_file),
		cmocka_unit_test(references_are_taken_apart),
		cmocka_unit_test(containers_keep_their_form_and_each_place_its_contexts),
		cmocka_unit_test(permissions_follow_the_job_then_the_workflow_then_the_default),
		cmocka_unit_test(branch_filters_decide_which_push_counts),
		cmocka_unit_test(filter_patterns_are_githubs),
		cmocka_unit_test(inputs_of_a_dispatch_are_checked_and_filled_in),
		cmocka_unit_test(a_number_that_is_none_is_refused),
		cmocka_unit_test(all_faults_of_a_file_come_at_once_with_their_places),
		cmocka_unit_test(a_reusable_workflow_of_elsewhere_is_refused_with_the_way_out),
		cmocka_unit_test(files_that_change_start_what_names_them),
		cmocka_unit_test(a_condition_with_a_line_feed_behind_its_braces_is_a_text_and_true),
		cmocka_unit_test(merge_keys_are_refused_and_anchors_are_not),
		cmocka_unit_test(keys_that_github_knows_are_known),
		cmocka_unit_test(the_words_that_skip_a_push_are_githubs),
		cmocka_unit_test(text_in_braces_stays_text),
		cmocka_unit_test(numbers_and_booleans_become_texts_where_texts_belong),
		cmocka_unit_test(a_circle_of_jobs_is_found_however_long),
		cmocka_unit_test(no_workflow_is_read_from_nonsense),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
