#!/usr/bin/env python3
"""JavaScript actions: their stages and their order, saved state, inputs, and a real one on the packages of GitHub's toolkit."""
import json
import os
import shutil
import sys
import textwrap
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from servers.worker import House, strip_colours

TOOLS = "octo/tools"
TOOLKIT = os.environ.get("DAVIT_TEST_TOOLKIT", "/var/cache/davit-tests/actions-toolkit")
STAGES = {
    "stages/action.yml": "inputs: {name: {default: none}}\nruns: {using: node16, pre: s.js, main: s.js, post: s.js, post-if: \"!cancelled()\"}\n",
    "stages/s.js": """
const fs = require('fs')
const stage = process.env.STATE_stage || 'pre'
const next = {pre: 'main', main: 'post'}[stage]
console.log(`${stage} of ${process.env.INPUT_NAME} ${process.env.GITHUB_ACTION} ${process.env.GITHUB_ACTION_REPOSITORY}@${process.env.GITHUB_ACTION_REF}`)
fs.appendFileSync(process.env.ORDER, `${stage} ${process.env.INPUT_NAME}\\n`)
if (next) fs.appendFileSync(process.env.GITHUB_STATE, `stage=${next}\\n`)
""",
}


class Javascript(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.house = House(repos=[TOOLS])
        cls.house.__enter__()
        cls.tools = cls.house.forge.repo(TOOLS)

    @classmethod
    def tearDownClass(cls):
        cls.house.__exit__(None, None, None)

    def run_steps(self, steps, files=None, **more):
        if files:
            self.tools.push(files, ref="main")
        return self.house.run(textwrap.dedent(steps), **more)

    def test_stages_run_in_order_with_state_numbers_and_conditions(self):
        order = os.path.join(self.house.folder, "order")
        run = self.run_steps(f'''
            - {{id: one, name: A, uses: {TOOLS}/stages@main, with: {{name: a}}}}
            - {{name: fails, run: exit 1}}
            - {{name: B, uses: {TOOLS}/stages@main, with: {{name: b}}}}
        ''', STAGES, job=f"env: {{ORDER: '{order}'}}")
        self.assertEqual(run.conclusion, "failure")
        with open(order) as file:
            self.assertEqual(file.read().splitlines(), ["pre a", "pre b", "main a", "main b", "post a"])
        self.assertEqual([(s["number"], s["name"], s["conclusion"]) for s in run.job["steps"]], [
            (1, "Set up job", "success"), (2, "Pre A", "success"), (3, "Pre B", "success"), (4, "A", "success"), (5, "fails", "failure"),
            (6, "B", "skipped"), (11, "Post B", "success"), (12, "Post A", "success"), (13, "Complete job", "success")])
        self.assertIn(f"main of a one {TOOLS}@main", run.lines("A"))
        self.assertEqual(run.lines("Post A"), ["Post job cleanup.", f"post of a one {TOOLS}@main"])
        self.assertIn(f"##[group]Run {TOOLS}/stages@main", run.lines("Pre A"))

    def test_posts_inside_composite_actions_run_newest_first_and_keep_their_state(self):
        order = os.path.join(self.house.folder, "nested")
        run = self.run_steps(f'''
            - {{name: N, uses: {TOOLS}/nest@main}}
        ''', {**STAGES, "nest/action.yml": f"""
inputs: {{w: {{default: x}}}}
runs:
  using: composite
  steps:
    - {{id: u, shell: bash, run: 'echo v=1 >> "$GITHUB_OUTPUT"'}}
    - {{uses: {TOOLS}/stages@main, with: {{name: 'one ${{{{ steps.u.outputs.v }}}}'}}}}
    - {{uses: {TOOLS}/stages@main, with: {{name: 'two ${{{{ inputs.w }}}}'}}}}
"""}, job=f"env: {{ORDER: '{order}'}}")
        self.assertEqual(run.conclusion, "success", run.shown)
        with open(order) as file:
            self.assertEqual(file.read().splitlines(), ["pre one ", "pre two x", "main one 1", "main two x", "post two x", "post one 1"])
        self.assertEqual([s["name"] for s in run.job["steps"]], ["Set up job", "Pre N", "N", "Post N", "Complete job"])

    def test_a_failing_action_says_nothing_more_and_one_without_its_script_says_which(self):
        run = self.run_steps(f'''
            - {{name: fails, uses: {TOOLS}/fails@main, continue-on-error: true}}
            - {{name: no file, uses: {TOOLS}/none@main}}
        ''', {"fails/action.yml": "runs: {using: node20, main: f.js}\n", "fails/f.js": "process.exit(7)\n",
              "none/action.yml": "runs: {using: node24, main: dist/../none.js}\n"})
        self.assertEqual(run.messages("fails"), [])
        self.assertEqual(run.conclusions()["fails"], "success")
        self.assertIn("File not found: ", run.messages("no file")[0][1])

    def test_a_machine_without_node_says_so_and_a_configured_one_is_taken(self):
        files = {"says/action.yml": "runs: {using: node20, main: s.js}\n", "says/s.js": "console.log('by ' + process.argv0)\n"}
        run = self.run_steps(f"- {{name: says, uses: {TOOLS}/says@main}}", files, env={"PATH": "/nowhere"})
        self.assertIn("has no node in the agent's PATH", run.messages("says")[0][1])
        link = os.path.join(self.house.folder, "my-node")
        os.symlink(shutil.which("node"), link)
        run = self.run_steps(f"- {{name: says, uses: {TOOLS}/says@main}}", settings={"node": link})
        self.assertIn(f"by {link}", run.lines("says"))

    def test_only_actions_see_the_tokens_of_the_services(self):
        run = self.run_steps(f'''
            - {{name: action, uses: {TOOLS}/env@main, env: {{GITHUB_SHA: forged, INPUT_A: forged}}, with: {{a: given, "b c-d.e": x}}}}
            - {{name: script, run: 'echo "token ${{ACTIONS_RUNTIME_TOKEN:+there}}|"'}}
        ''', {"env/action.yml": "inputs: {a: {}, 'b c-d.e': {}, f: {}}\nruns: {using: node20, main: e.js}\n", "env/e.js": """
const e = process.env
console.log(`token ${e.ACTIONS_RUNTIME_TOKEN ? 'there' : ''} ${e.ACTIONS_RESULTS_URL.length > 0} ${e.GITHUB_SHA === 'forged'} ${e.INPUT_A} ${e['INPUT_B_C-D.E']} [${e.INPUT_F}]`)
console.log(process.cwd() === e.GITHUB_WORKSPACE)
"""})
        self.assertEqual(run.lines("action")[-2:], ["token there true false given x []", "true"])
        self.assertIn("token |", run.lines("script"))

    def test_names_of_inputs_are_upper_case_beyond_ascii_and_the_header_shows_what_pre_saved(self):
        run = self.run_steps(f"- {{name: A, uses: {TOOLS}/umlaut@main, with: {{größe: 1}}}}", {
            "umlaut/action.yml": "inputs: {größe: {}, menü: {default: 2}}\nruns: {using: node20, pre: p.js, main: m.js}\n",
            "umlaut/p.js": "require('fs').appendFileSync(process.env.GITHUB_STATE, 'mark=set\\n')\n",
            "umlaut/m.js": "console.log(process.env['INPUT_GRÖßE'] + process.env['INPUT_MENÜ'] + process.env.STATE_mark)\n"})
        self.assertEqual(run.lines("A")[-1], "12set")
        self.assertIn("  STATE_mark: set", run.lines("A"))
        self.assertNotIn("  STATE_mark: set", run.lines("Pre A"))

    def test_each_stage_tells_of_its_inputs(self):
        run = self.run_steps(f"- {{name: A, uses: {TOOLS}/told@main, with: {{other: ''}}}}", {
            "told/action.yml": "runs: {using: node20, pre: p.js, main: p.js, post: p.js}\n", "told/p.js": ""})
        for name in ("Pre A", "A", "Post A"):
            self.assertEqual(run.messages(name), [("warning", "Unexpected input(s) 'other', valid inputs are ['']")])
        self.assertEqual(run.lines("A")[-3:], [f"##[group]Run {TOOLS}/told@main", "with:", "##[endgroup]"])

    def test_a_step_that_is_skipped_has_no_post_unless_its_pre_ran(self):
        order = os.path.join(self.house.folder, "skipped")
        run = self.run_steps(f'''
            - {{name: A, uses: {TOOLS}/late@main, if: false}}
            - {{name: B, uses: {TOOLS}/stages@main, if: false, with: {{name: b}}}}
        ''', {**STAGES, "late/action.yml": "runs: {using: node20, main: s.js, post: s.js}\n", "late/s.js": "console.log('late')\n"}, job=f"env: {{ORDER: '{order}'}}")
        self.assertEqual(run.conclusion, "success", run.shown)
        self.assertEqual([(s["name"], s["conclusion"]) for s in run.job["steps"]], [
            ("Set up job", "success"), ("Pre B", "success"), ("A", "skipped"), ("B", "skipped"), ("Post B", "success"), ("Complete job", "success")])

    def test_where_the_services_are_is_told_as_the_message_has_it(self):
        connection = {"GenerateIdTokenUrl": "https://run.example/7//idtoken/p/j?api-version=2.0", "PipelinesServiceUrl": "https://pipelines.example/x/",
                      "CacheServerUrl": "https://cache.example/", "ResultsServiceUrl": "https://results.example/"}
        names = ["ACTIONS_RUNTIME_URL", "ACTIONS_CACHE_URL", "ACTIONS_RESULTS_URL", "ACTIONS_CACHE_SERVICE_V2", "ACTIONS_CACHE_MODE",
                 "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ORCHESTRATION_ID"]
        tokens = ["ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"]

        def given(message):
            next(e for e in message["resources"]["endpoints"] if e["name"] == "SystemVssConnection")["data"].update(connection)
            for name, value in (("actions_uses_cache_service_v2", "True"), ("actions_cache_mode", "read"), ("system.orchestrationId", "plan.job"),
                                ("actions_set_orchestration_id_env_for_actions", "true")):
                message["variables"][name] = {"value": value}

        def plain(message):
            data = next(e for e in message["resources"]["endpoints"] if e["name"] == "SystemVssConnection")["data"]
            for name in ("GenerateIdTokenUrl", "PipelinesServiceUrl", "CacheServerUrl"):
                data.pop(name, None)
            for name in ("actions_uses_cache_service_v2", "actions_cache_mode", "actions_set_orchestration_id_env_for_actions"):
                message["variables"].pop(name, None)

        words = json.dumps(names + tokens).replace('"', "'")
        files = {"where/action.yml": "runs: {using: node20, main: w.js}\n", "where/w.js":
                 f"console.log(JSON.stringify({words}.map(n => n.endsWith('TOKEN') ? (n in process.env) : process.env[n] ?? null)))\n"}
        steps = f'''
            - {{name: action, uses: {TOOLS}/where@main}}
            - name: script
              run: |
                printf '%s|' "${{ACTIONS_RUNTIME_URL-}}" "${{ACTIONS_CACHE_URL-}}" "${{ACTIONS_RESULTS_URL-}}" "${{ACTIONS_CACHE_SERVICE_V2-}}" "${{ACTIONS_CACHE_MODE-}}"
                printf '%s|' "${{ACTIONS_ID_TOKEN_REQUEST_URL-unset}}" "${{ACTIONS_ORCHESTRATION_ID-unset}}" "${{ACTIONS_RUNTIME_TOKEN+there}}" "${{ACTIONS_ID_TOKEN_REQUEST_TOKEN+there}}"
                echo
        '''
        run = self.run_steps(steps, files, change=given)
        url = connection["GenerateIdTokenUrl"]
        self.assertEqual(json.loads(run.lines("action")[-1]), [connection["PipelinesServiceUrl"], connection["CacheServerUrl"],
                                                               connection["ResultsServiceUrl"], "True", "read", url, "plan.job", True, True])
        self.assertEqual(run.lines("script")[-1], f"|||||{url}|plan.job||there|")
        run = self.run_steps(steps, change=plain)
        told = json.loads(run.lines("action")[-1])
        self.assertTrue(told[0].startswith("http"), told)           # the run service's own
        self.assertEqual(told[1:2] + told[3:], [None, None, None, None, None, True, False])
        self.assertEqual(run.lines("script")[-1], "|||||unset|unset|||")

    @unittest.skipUnless(os.path.isdir(os.path.join(TOOLKIT, "node_modules")), "GitHub's toolkit is not here: cmake/packages.sh test")
    def test_a_real_action_on_the_toolkit_runs_unchanged(self):
        shutil.copytree(os.path.join(TOOLKIT, "node_modules"), os.path.join(self.tools.work, "real", "node_modules"), dirs_exist_ok=True)
        run = self.run_steps(f'''
            - {{id: real, name: real, uses: {TOOLS}/real@main, with: {{Who-To: you, many: "a\\nb", flag: "true", secret: hidden-value}}}}
            - {{name: reads, run: "echo '${{{{ steps.real.outputs.greeting }}}}' $FROM_ACTION $(type -P from-action)"}}
        ''', {"real/action.yml": """
inputs: {who-to: {required: true}, many: {}, flag: {}, secret: {}}
outputs: {greeting: {description: g}}
runs: {using: node20, main: main.js, post: post.js}
""", "real/main.js": """
const core = require('@actions/core'), exec = require('@actions/exec'), fs = require('fs'), path = require('path')
async function run() {
  core.setSecret(core.getInput('secret'))
  core.info(`secret ${core.getInput('secret')}`)
  core.info(JSON.stringify([core.getInput('who-to', {required: true}), core.getMultilineInput('many'), core.getBooleanInput('flag')]))
  let out = ''
  const status = await exec.exec('sh', ['-c', 'echo from $1; exit 3', 'sh', 'exec'], {ignoreReturnCode: true, listeners: {stdout: d => { out += d }}})
  await core.group('a group', async () => core.info(`${out.trim()} ${status}`))
  core.setOutput('greeting', {a: 'multi\\nline'})
  core.exportVariable('FROM_ACTION', 'exported')
  const bin = path.join(process.env.RUNNER_TEMP, 'from-action-bin')
  fs.mkdirSync(bin)
  fs.writeFileSync(path.join(bin, 'from-action'), '#!/bin/sh\\n', {mode: 0o755})
  core.addPath(bin)
  core.saveState('left', 'behind')
  core.warning('careful', {file: 'a.js', startLine: 3})
  await core.summary.addHeading('Summary').write()
}
run().catch(e => core.setFailed(e))
""", "real/post.js": "const core = require('@actions/core'); core.info(`state ${core.getState('left')}`); core.setFailed('from post')\n"})
        lines = [strip_colours(line) for line in run.lines("real")]
        for line in ("secret ***", '["you",["a","b"],true]', "from exec 3", "##[group]a group"):
            self.assertIn(line, lines)
        self.assertIn({"level": "warning", "message": "careful", "path": "a.js", "startLine": 3, "endLine": 3},
                      [{k: a[k] for k in ("level", "message", "path", "startLine", "endLine")} for a in run.annotations("real") if "path" in a])
        self.assertIn('{"a":"multi\\nline"} exported ' + self.house.temp("from-action-bin/from-action"), run.lines("reads"))
        self.assertIn("state behind", run.lines("Post real"))
        self.assertEqual((run.conclusion, run.conclusions()["Post real"]), ("failure", "failure"))
        self.assertIn("Summary", run.step("real")["summary"])


if __name__ == "__main__":
    if shutil.which("node") is None:
        print("SKIP: there is no node")
        sys.exit(77)
    unittest.main(verbosity=2)
