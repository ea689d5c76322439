#include "unit/cmocka_all.h"
#include "agent/actions/manifest.h"

#include <stdio.h>
#include <string.h>

static struct action_manifest read_good(const char *text)
{
	struct action_manifest m;
	struct err err = ERR_INIT;
	if (action_manifest_read("a/action.yml", text, strlen(text), &m, &err) < 0)
		fail_msg("%s", err.frames[0].text);
	return m;
}

static void refuses(const char *text, const char *said)
{
	struct action_manifest m;
	struct err err = ERR_INIT;
	char line[4096];
	assert_true(action_manifest_read("a/action.yml", text, strlen(text), &m, &err) < 0);
	if (strstr(err_line(&err, line, sizeof(line)), said) == NULL)
		fail_msg("'%s' is not in '%s'", said, line);
}

static void a_javascript_action_has_its_scripts_and_conditions(void **state)
{
	(void)state;
	struct action_manifest m =
		read_good("name: x\nauthor: y\nbranding: {icon: z}\nwhatever: [1]\n"
	                  "inputs: {a: {default: 010, more: 1}, b: , c: {default: '${{ github.ref }}'}}\n"
	                  "outputs: {o: {description: d}}\n"
	                  "runs: {using: Node20, main: m.js, post: p.js, post-if: success()}\n");
	assert_int_equal(m.kind, MANIFEST_NODE);
	assert_int_equal(m.node, 20);
	assert_string_equal(m.main, "m.js");
	assert_null(m.pre);
	assert_string_equal(m.pre_if, "always()");
	assert_string_equal(m.post_if, "success()");
	assert_int_equal(json_object_size(m.inputs), 3);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(m.inputs, "a"), "default")), 10);
	action_manifest_done(&m);
}

static void steps_have_the_form_of_a_jobs_message(void **state)
{
	(void)state;
	struct action_manifest m =
		read_good("outputs: {o: {value: '${{ steps.a.outputs.x }}'}, none: {}}\n"
	                  "runs:\n  using: composite\n  steps:\n"
	                  "    - {id: a, run: 'x ${{ inputs.y }}', shell: sh, if: inputs.z}\n"
	                  "    - {run: y, shell: sh, if: failure()}\n    - {run: z, shell: sh}\n"
	                  "    - {uses: octo/a/b/c@v1, with: {k: 1}, env: {E: e}}\n    - {uses: ./l}\n");
	static const char *const names[] = {"a", "__run", "__run_2", "__octo_a", "__self"};
	assert_int_equal(json_array_size(m.steps), 5);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_string_equal(json_get_string(json_array_get(m.steps, i), "contextName"), names[i]);
	assert_string_equal(json_get_string(json_array_get(m.steps, 0), "condition"), "success() && (inputs.z)");
	assert_string_equal(json_get_string(json_array_get(m.steps, 1), "condition"), "failure()");
	json_t *reference = json_object_get(json_array_get(m.steps, 3), "reference");
	assert_string_equal(json_get_string(reference, "name"), "octo/a");
	assert_string_equal(json_get_string(reference, "path"), "b/c");
	assert_int_equal(json_object_size(m.outputs), 1);
	action_manifest_done(&m);
}

static void what_github_refuses_is_refused_with_its_line(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{"", "must be a map"},
		{"- a\n", "must be a map"},
		{"name: x\n", "needs 'runs'"},
		{"runs: {using: node20}\n", "(Line: 1, Col: 7): a JavaScript action needs 'main'"},
		{"runs: {using: node20, main: x, steps: []}\n", "steps"},
		{"runs: {using: python, main: x}\n", "'using: python' is not supported"},
		{"runs: {using: docker}\n", "needs 'image'"},
		{"runs: {using: docker, image: x}\n", "a file called Dockerfile, not 'x'"},
		{"runs: {using: docker, image: Dockerfile, args: y}\n", "'args' must be a list"},
		{"runs: {using: docker, image: Dockerfile, env: [y]}\n", "'env' must be a map"},
		{"runs: {using: docker, image: docker://x, args: ['${{ github.ref }}']}\n", "github"},
		{"runs: {using: composite}\n", "needs 'steps'"},
		{"runs:\n  using: composite\n  steps:\n    - {run: x, shell: sh, timeout-minutes: 3}\n", "(Line: 4, "},
		{"runs: {using: composite, steps: [{run: x}]}\n", "Required property is missing: shell"},
		{"runs: {using: composite, steps: [{}]}\n", "needs 'run' or 'uses'"},
		{"runs: {using: composite, steps: [x]}\n", "needs 'run' or 'uses'"},
		{"runs: {using: composite, steps: [{run: x, uses: y/z@1}]}\n", "not both"},
		{"runs: {using: composite, steps: [{uses: a/b@c, shell: sh}]}\n", "shell"},
		{"runs: {using: composite, steps: [{run: x, shell: sh, if: secrets.A}]}\n", "secrets"},
		{"runs: {using: composite, steps: [{run: 'x ${{ secrets.A }}', shell: sh}]}\n", "secrets"},
		{"runs: {using: composite, steps: [{run: 'x ${{', shell: sh}]}\n", "x"},
		{"runs: {using: composite, steps: [{run: [x], shell: sh}]}\n", "must be a text"},
		{"runs: {using: composite, steps: [{id: 1a, run: x, shell: sh}]}\n", "'1a' is invalid"},
		{"runs: {using: composite, steps: [{id: __a, run: x, shell: sh}]}\n", "'__a' is invalid"},
		{"runs: {using: composite, steps: [{id: a, run: x, shell: sh}, {id: A, run: x, shell: sh}]}\n",
	         "more than once"},
		{"runs: {using: composite, steps: [{uses: ../x}]}\n", "'uses' has the form"},
		{"runs: {using: composite, steps: [{uses: a/b@c, with: [x]}]}\n", "'with' must be a map"},
		{"runs: {using: composite, steps: [{uses: a/b@c, with: {x: [y]}}]}\n", "must be a text"},
		{"inputs: {a: {default: '${{ secrets.A }}'}}\nruns: {using: node20, main: x}\n", "(Line: 1, "},
		{"inputs: {a: {}, A: {}}\nruns: {using: node20, main: x}\n", "already defined"},
		{"outputs: {a: {value: x, y: z}}\nruns: {using: composite, steps: []}\n", "y"},
		{"runs: {using: node20, main: x, post: y, post-if: 'nothing.x'}\n", "nothing"},
		{"a: &x 1\nb: *x\nruns: {using: composite, steps: []}\n", "anchor"},
		{"runs: {using: composite, steps: []}\n---\na: b\n", "document"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		refuses(cases[i][0], cases[i][1]);
}

static void a_long_list_of_steps_is_refused(void **state)
{
	(void)state;
	_cleanup_(str_done) struct str text = STR_INIT(MANIFEST_MAX);
	str_append(&text, "runs:\n  using: composite\n  steps:\n");
	for (int i = 0; i <= MANIFEST_STEPS_MAX; i++)
		str_append(&text, "    - {run: x, shell: sh}\n");
	refuses(str_peek(&text), "at most 1000 steps");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_javascript_action_has_its_scripts_and_conditions),
		cmocka_unit_test(steps_have_the_form_of_a_jobs_message),
		cmocka_unit_test(what_github_refuses_is_refused_with_its_line),
		cmocka_unit_test(a_long_list_of_steps_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
