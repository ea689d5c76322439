#!/usr/bin/env python3
"""Actions of the workspace and of other repositories: how they are found, fetched and kept, composite ones, and what a host allows."""
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import unittest
import unittest.mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from harness.waiting import until
from servers.worker import House, REPOSITORY, davit

TOOLS = "octo/tools"
OWN = "davit-deploy/davit"
GREET = """
name: greet
inputs:
  who: {default: "${{ github.repository }}", description: x}
  Loud-Word: {default: quiet}
  old: {deprecationMessage: use who}
outputs:
  said: {value: "${{ steps.say.outputs.text }}"}
  nothing: {description: no value}
runs:
  using: composite
  steps:
    - id: say
      shell: bash
      env: {OWN: "of ${{ env.OUTER }}"}
      run: |
        echo "hello ${{ inputs.who }} ${{ inputs.loud-word }} $OWN $OUTER"
        echo "text=hello ${{ inputs.WHO }}" >> "$GITHUB_OUTPUT"
        echo "path=${GITHUB_ACTION_PATH##*/_actions/} ref=[$GITHUB_ACTION_REF] input=[${INPUT_WHO-none}] action=$GITHUB_ACTION"
"""


def checkout(*names):
    """A step that does what a checkout would: the pushed files into the workspace."""
    return f"- {{name: gets, run: 'git -C \"$GITHUB_WORKSPACE\" init -q . && git fetch -q $GITHUB_SERVER_URL/$GITHUB_REPOSITORY.git $GITHUB_SHA && git checkout -q FETCH_HEAD'}}\n"


class Actions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.house = House(repos=[TOOLS, OWN])
        cls.house.__enter__()
        cls.tools = cls.house.forge.repo(TOOLS)
        cls.own = cls.house.forge.repo(OWN)

    @classmethod
    def tearDownClass(cls):
        cls.house.__exit__(None, None, None)

    def run_steps(self, steps, **more):
        return self.house.run(textwrap.dedent(steps), **more)

    def local(self, files, steps, **more):
        return self.house.run(checkout() + textwrap.dedent(steps), files=files, **more)

    # -- another repository's --

    def test_a_composite_action_of_another_repository_runs_with_inputs_outputs_and_contexts(self):
        sha = self.tools.push({"greet/action.yml": GREET}, ref="refs/heads/rel/v1")
        run = self.run_steps(f'''
            - id: a
              uses: {TOOLS}/greet@rel/v1
              env: {{OUTER: out}}
              with: {{who: you, OLD: x}}
            - uses: {TOOLS}/greet@{sha}
              env: {{OUTER: b}}
            - {{name: reads, run: "echo '[${{{{ steps.a.outputs.said }}}}][${{{{ steps.a.outputs.nothing }}}}][${{{{ github.action_path }}}}]'"}}
        ''')
        self.assertEqual(run.conclusion, "success", run.shown)
        setup, first = run.lines("Set up job"), run.lines(f"Run {TOOLS}/greet@rel/v1")
        self.assertIn("Getting action download info", setup)
        self.assertIn(f"Download action repository '{TOOLS}@rel/v1' (SHA:{sha})", setup)
        self.assertEqual(first[1:8], [f"##[group]Run {TOOLS}/greet@rel/v1", "with:", "  who: you", "  OLD: x", "  Loud-Word: quiet", "env:",
                                     "  OUTER: out"])
        self.assertIn("hello you quiet of out out", first)
        self.assertIn(f"path={TOOLS}/rel/v1/greet ref=[] input=[none] action=a", first)
        self.assertIn("Input 'OLD' has been deprecated with message: use who", [m for _, m in run.messages(f"Run {TOOLS}/greet@rel/v1")])
        self.assertIn(f"hello {REPOSITORY} quiet of b b", run.lines(f"Run {TOOLS}/greet@{sha}"))
        self.assertIn("[hello you][][]", run.lines("reads"))

    def test_what_was_fetched_is_kept_by_its_commit_and_not_fetched_again(self):
        sha = self.tools.push({"kept/action.yml": GREET.replace("hello", "kept")}, ref="kept")
        for n in range(2):
            before = len([r for r in self.house.forge.requests() if "tarball" in r["path"]])
            run = self.run_steps(f"- uses: {TOOLS}/kept@kept")
            self.assertEqual(run.conclusion, "success", run.shown)
            self.assertEqual(len([r for r in self.house.forge.requests() if "tarball" in r["path"]]) - before, 1 - n)
        cache = os.path.join(self.house.state, "actions")
        names = os.listdir(cache)
        self.assertTrue(names and all(re.fullmatch(r"[0-9a-f]{64}\.tar\.gz", name) for name in names), names)
        for name in names:  # as after a power cut
            os.truncate(os.path.join(cache, name), 100)
        run = self.run_steps(f"- uses: {TOOLS}/kept@{sha}")
        self.assertEqual(run.conclusion, "success", run.shown)

    def test_a_reference_that_is_not_there_fails_the_set_up_with_the_services_words(self):
        run = self.run_steps(f"- uses: {TOOLS}/greet@no-such-branch")
        self.assertEqual(run.conclusion, "failure")
        self.assertIn("unable to find version", run.messages("Set up job")[0][1])

    def test_behind_a_set_up_that_failed_nothing_comes(self):
        run = self.run_steps(f'''
            - uses: {TOOLS}/greet@no-such-branch
            - {{name: always, run: echo no, if: always()}}
        ''')
        self.assertEqual(run.conclusion, "failure")
        self.assertEqual([(s["name"], s["conclusion"]) for s in run.job["steps"]], [("Set up job", "failure")])

    def test_a_directory_without_an_action_fails_the_set_up(self):
        self.tools.push({"empty/README": "x"}, ref="main")
        run = self.run_steps(f"- uses: {TOOLS}/empty@main")
        self.assertEqual(run.messages("Set up job")[-1], ("failure",
                         f"Can't find 'action.yml', 'action.yaml' or 'Dockerfile' for action '{TOOLS}/empty@main'."))

    def test_a_broken_manifest_fails_the_set_up_and_names_the_line(self):
        self.tools.push({"bad/action.yml": "runs:\n  using: composite\n  steps: [{run: x, shell: sh, timeout-minutes: 3}]\n"}, ref="main")
        run = self.run_steps(f"- {{uses: {TOOLS}/bad@main, continue-on-error: true}}")
        messages = [m for _, m in run.messages("Set up job")]
        self.assertIn(f"{TOOLS}/main/bad/action.yml (Line: 3, Col: 31): ", messages[0])
        self.assertIn("timeout-minutes", messages[0])
        self.assertEqual(messages[-1], f"Failed to load {TOOLS}/main/bad")

    def test_an_action_that_uses_itself_ends_at_the_depth_limit(self):
        self.tools.push({"loop/action.yml": f"runs: {{using: composite, steps: [{{uses: {TOOLS}/loop@main}}]}}\n"}, ref="main")
        run = self.run_steps(f"- uses: {TOOLS}/loop@main")
        self.assertEqual(run.messages("Set up job"), [("failure", "Composite action depth exceeded max depth 9")])

    def test_a_composite_action_that_uses_without_end_is_ended_before_that_is_fetched_or_read(self):
        def using(names):
            return f"runs: {{using: composite, steps: [{', '.join(f'{{id: u{n}, uses: {name}}}' for n, name in enumerate(names))}]}}\n"

        large = "# " + "x" * (1 << 19) + "\n" + GREET
        self.tools.push({
            "wide/action.yml": using(f"{TOOLS}/none/{n}@main" for n in range(1000)),
            "far/action.yml": using(f"{TOOLS}@v{n}" for n in range(500)),
            **{f"often/{n}/action.yml": using([f"{TOOLS}/none@main"] * 1000) for n in range(10)},
            **{f"large/{n}/action.yml": large for n in range(65)}, "heavy/action.yml": using(f"{TOOLS}/large/{n}@main" for n in range(65)),
        }, ref="main")
        cases = [
            (["wide"], "this job uses more than 1000 different actions"), (["far"], "this job uses actions of more than 500 repositories"),
            ([f"often/{n}" for n in range(10)], "the actions of this job use more than 10000 others"), (["heavy"], "larger than 32 MiB"),
        ]
        for names, said in cases:
            with self.subTest(said):
                run = self.run_steps("".join(f"- uses: {TOOLS}/{name}@main\n" for name in names))
                self.assertIn(said, "\n".join(m for _, m in run.messages("Set up job")))
                self.assertEqual(run.lines("Set up job").count("Getting action download info"), 1)

    def test_a_name_that_would_leave_its_directory_is_refused(self):
        for name in (f"{TOOLS}/../../x@main", f"{TOOLS}@../../x"):
            with self.subTest(name):
                run = self.run_steps(f"- uses: {name}")
                self.assertIn("cannot be a directory here", run.messages("Set up job")[0][1])

    def test_an_archive_with_hostile_members_is_refused_and_writes_nothing_outside(self):
        def member(name, kind=tarfile.REGTYPE, link="", data=b"x"):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, len(data) if kind == tarfile.REGTYPE else 0
            return info, data

        hostile = {
            "leads out": [member("top/../../evil")], "absolute": [member("/tmp/evil")],
            "through a link": [member("top/l", tarfile.SYMTYPE, "../.."), member("top/l/evil")],
            "hard link": [member("top/h", tarfile.LNKTYPE, "../../outside")], "device": [member("top/d", tarfile.CHRTYPE)],
        }
        for name, members in hostile.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                with open(os.path.join(folder, "outside"), "w") as out:
                    out.write("kept")
                os.mkdir(os.path.join(folder, "into"))
                archive = io.BytesIO()
                with tarfile.open(fileobj=archive, mode="w:gz") as tar:
                    for info, data in members:
                        tar.addfile(info, io.BytesIO(data))
                into = os.open(os.path.join(folder, "into"), os.O_DIRECTORY)
                done = subprocess.run([os.path.join(os.path.dirname(davit()), "davit-step"), "unpack-action", str(into)],
                                      input=archive.getvalue(), capture_output=True, pass_fds=[into])
                os.close(into)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(b"archive member", done.stderr)
                self.assertEqual(sorted(os.listdir(folder)), ["into", "outside"])
                self.assertFalse(os.path.exists("/tmp/evil"))

    # -- the workspace's --

    def test_an_action_of_the_workspace_is_read_when_its_step_runs(self):
        run = self.local({"acts/one/action.yaml": GREET}, '''
            - {id: one, uses: ./acts/one, env: {OUTER: o}}
            - {name: reads, run: "echo '${{ steps.one.outputs.said }}'"}
        ''')
        self.assertEqual(run.conclusion, "success", run.shown)
        self.assertIn(f"hello {REPOSITORY}", run.lines("reads"))
        run = self.run_steps("- uses: ./acts/none")
        self.assertIn("Did you forget to run actions/checkout", run.messages("Run ./acts/none")[0][1])
        run = self.local({"out": "x"}, '''
            - {name: links, run: "ln -s /etc out-link"}
            - {id: a, uses: ./out-link, continue-on-error: true}
            - {id: b, uses: ./../../x, continue-on-error: true}
            - {name: reads, run: "echo '${{ steps.a.outcome }} ${{ steps.b.outcome }}'"}
        ''')
        self.assertIn("failure failure", run.lines("reads"))

    def test_steps_of_an_action_go_by_the_state_of_the_action(self):
        run = self.local({"a/action.yml": """
runs:
  using: composite
  steps:
    - {id: soft, run: exit 3, shell: bash, continue-on-error: true}
    - {id: after, run: "echo 'after ${{ steps.soft.outcome }} ${{ steps.soft.conclusion }} ${{ github.action_status }}'", shell: bash}
    - {id: hard, run: exit 4, shell: bash}
    - {run: echo never, shell: bash}
    - {run: "echo 'status ${{ job.status }} ${{ github.action_status }} ${{ steps.hard.outcome }}'", shell: bash, if: failure()}
    - {run: echo always, shell: bash, if: always()}
"""}, '''
            - {name: fails, uses: ./a, continue-on-error: true}
            - {name: not failed, run: echo never, if: failure()}
        ''')
        self.assertEqual(run.conclusion, "success", run.shown)
        lines = run.lines("fails")
        self.assertIn("after failure success success", lines)
        self.assertIn("status success failure failure", lines)
        self.assertIn("always", lines)
        self.assertNotIn("never", lines)
        self.assertEqual([m for _, m in run.messages("fails")], ["Process completed with exit code 3.", "Process completed with exit code 4."])
        self.assertEqual(run.conclusions()["not failed"], "skipped")

    def test_the_environment_of_nested_actions_has_its_layers(self):
        run = self.local({"outer/action.yml": """
runs:
  using: composite
  steps:
    - {shell: bash, run: "echo LEVEL=file >> $GITHUB_ENV; echo NEW=file >> $GITHUB_ENV; echo $RUNNER_TEMP/bin >> $GITHUB_PATH"}
    - {shell: bash, run: "echo one $LEVEL $NEW", working-directory: outer}
    - {uses: ./inner, env: {MID: mid}}
    - {shell: bash, run: "echo three $LEVEL $NEW ${MID-none}; pwd"}
""", "inner/action.yml": """
runs:
  using: composite
  steps:
    - {shell: sh, run: 'echo "two $LEVEL $NEW $MID ${PATH%%:*} ${GITHUB_ACTION_PATH##*/}"', env: {NEW: own}}
"""}, '''
            - {name: nests, uses: ./outer, env: {LEVEL: step}}
            - {name: after, run: "echo after $LEVEL $NEW ${MID-none}"}
        ''')
        self.assertEqual(run.conclusion, "success", run.shown)
        lines = run.lines("nests")
        for line in ("one step file", f"two step own mid {self.house.temp('bin')} inner", "three step file none"):
            self.assertIn(line, lines)
        self.assertIn("after file file none", run.lines("after"))

    def test_an_action_that_uses_one_of_the_workspace_has_a_post_that_only_says_so(self):
        self.tools.push({"around/action.yml": "runs: {using: composite, steps: [{uses: ./inner}]}\n",
                         "alone/action.yml": "runs: {using: composite, steps: [{run: echo alone, shell: sh}]}\n"}, ref="main")
        run = self.local({"inner/action.yml": "runs: {using: composite, steps: [{run: echo inside, shell: sh}]}\n"}, f'''
            - {{name: A, uses: {TOOLS}/around@main}}
            - {{name: B, uses: {TOOLS}/alone@main}}
        ''')
        self.assertEqual(run.conclusion, "success", run.shown)
        self.assertEqual([s["name"] for s in run.job["steps"]], ["Set up job", "gets", "A", "B", "Post A", "Complete job"])
        self.assertEqual(run.lines("Post A"), ["Post job cleanup."])

    def test_steps_of_an_action_know_neither_the_jobs_defaults_nor_its_inputs_as_variables(self):
        self.tools.push({"plain/action.yml": """
inputs: {who: {default: you}}
runs:
  using: composite
  steps:
    - {shell: sh, run: 'echo "[${INPUT_WHO-none}] ${{ inputs.who }} ${PWD##*/}"'}
"""}, ref="main")
        run = self.run_steps(f"- {{name: looks, uses: {TOOLS}/plain@main}}", job="defaults: {run: {shell: bash, working-directory: not-there}}")
        self.assertEqual(run.conclusion, "success", run.shown)
        self.assertIn("[none] you demo", run.lines("looks"))

    def test_a_local_action_that_uses_itself_ends_at_the_depth_limit(self):
        run = self.local({"me/action.yml": "runs: {using: composite, steps: [{uses: ./me}]}\n"}, "- {name: loops, uses: ./me}")
        self.assertEqual(run.conclusion, "failure")
        self.assertIn("Composite action depth exceeded max depth 9", [m for _, m in run.messages("loops")])

    def test_our_own_actions_run_natively_inside_a_composite_action(self):
        run = self.local({"a/action.yml": """
outputs: {ref: {value: "${{ steps.c.outputs.commit }}"}}
runs:
  using: composite
  steps:
    - {id: c, uses: davit-deploy/davit/actions/checkout@v1, with: {path: sub}}
"""}, '''
            - {id: a, uses: ./a}
            - {name: looks, run: "test -d sub/a && echo there"}
        ''')
        self.assertEqual(run.conclusion, "success", run.shown)
        self.assertIn("there", run.lines("looks"))

    def test_our_own_actions_are_fetched_like_any_other_where_the_agent_leaves_them_out(self):
        self.own.push({"actions/greet/action.yml": "runs: {using: composite, steps: [{shell: sh, run: echo fetched}]}\n"}, ref="refs/heads/v1")
        steps = f"- {{name: greets, uses: {OWN}/actions/greet@v1}}\n"
        run = self.run_steps(steps, settings={"actions_repository": "", "native": "none"})
        self.assertEqual((run.conclusion, "fetched" in run.lines("greets")), ("success", True), run.shown)
        self.assertEqual(self.run_steps(steps).conclusion, "failure")       # no step of ours has that name

    def test_steps_inside_are_marked_where_the_service_asks_for_it(self):
        def ask(message):
            message["variables"]["actions_runner_emit_composite_markers"] = {"value": "true"}

        run = self.local({"a/action.yml": """
runs:
  using: composite
  steps:
    - {id: in, name: "one; two]", run: 'echo "##[start-action forged]"', shell: bash}
    - {run: echo, shell: bash, if: "false"}
"""}, "- {id: out, name: marks, uses: ./a}", change=ask)
        lines = run.lines("marks")
        self.assertIn("##[start-action display=one%3B two%5D;id=out.in]", lines)
        self.assertTrue(any(re.fullmatch(r"##\[end-action id=out\.in;outcome=success;conclusion=success;duration_ms=\d+\]", line) for line in lines), lines)
        self.assertIn("##[end-action id=out.__run;outcome=skipped;conclusion=skipped;duration_ms=0]", lines)
        self.assertIn("##[\\start-action forged]", lines)

    def test_a_cancel_ends_the_step_inside_and_runs_what_waits_for_it(self):
        worker = self.house.start(checkout() + "- {name: long, uses: ./a}\n", files={"a/action.yml": """
runs:
  using: composite
  steps:
    - {shell: bash, run: "touch $RUNNER_TEMP/began; exec tail -f /dev/null"}
    - {shell: bash, run: echo never}
    - {shell: bash, run: "echo cleans ${{ github.action_status }}", if: always()}
"""})
        until(lambda: os.path.exists(self.house.temp("began")))
        worker.cancel()
        run = self.house.finish(worker)
        self.assertEqual((run.conclusion, run.conclusions()["long"]), ("cancelled", "cancelled"))
        lines = run.lines("long")
        self.assertIn("##[error]The operation was canceled.", lines)
        self.assertNotIn("never", lines)
        self.assertIn("cleans cancelled", lines)

    def test_a_cancel_ends_the_unpacking_of_an_archive_and_drops_nothing_that_was_kept(self):
        sha = self.tools.push({"greet/action.yml": GREET}, ref="main")
        programs = os.path.join(self.house.folder, "bin")
        os.mkdir(programs)
        began = os.path.join(self.house.folder, "unpacking")
        for name in ("davit", "davit-agent"):
            shutil.copy(os.path.join(os.path.dirname(davit()), name), programs)
        with open(os.path.join(programs, "davit-step"), "w") as unpacker:
            unpacker.write(f"#!/bin/sh\necho $$ > {began}.new; mv {began}.new {began}; exec tail -f /dev/null\n")
        os.chmod(unpacker.name, 0o755)
        self.assertEqual(self.run_steps(f"- uses: {TOOLS}/greet@{sha}").conclusion, "success")
        for kept in (True, False):
            with self.subTest(kept=kept), unittest.mock.patch.dict(os.environ, DAVIT_WORKER=os.path.join(programs, "davit") + " worker"):
                cache = os.path.join(self.house.state, "actions")
                if not kept:
                    shutil.rmtree(cache)
                before = os.listdir(cache) if kept else []
                worker = self.house.start(f"- uses: {TOOLS}/greet@{sha}")
                until(lambda: os.path.exists(began))
                with open(began) as file:
                    unpacking = int(file.read())
                os.unlink(began)
                worker.cancel()
                run = self.house.finish(worker)
                self.assertEqual((run.conclusion, run.conclusions()["Set up job"]), ("cancelled", "cancelled"))
                self.assertFalse(os.path.exists(f"/proc/{unpacking}"))
                self.assertFalse(os.path.exists(began), "it was unpacked again")
                self.assertEqual(sorted(os.listdir(cache)), sorted(before))

    def test_links_that_a_step_put_in_the_way_are_not_followed(self):
        self.tools.push({"greet/action.yml": GREET}, ref="main")
        victim = os.path.join(self.house.folder, "victim")
        os.makedirs(os.path.join(victim, "tools", "main"))
        actions = os.path.join(self.house.work, "_actions")
        for link in ("_new", "octo"):
            with self.subTest(link):
                run = self.local({"a/action.yml": f"runs: {{using: composite, steps: [{{uses: {TOOLS}/greet@main}}]}}\n"}, f'''
                    - {{name: links, run: "mkdir -p {actions} && ln -s {victim} {actions}/{link}"}}
                    - {{name: fetches, uses: ./a}}
                ''')
                self.assertEqual(os.listdir(victim), ["tools"])
                self.assertEqual(os.listdir(os.path.join(victim, "tools")), ["main"])
                self.assertEqual(run.conclusions()["fetches"], "failure" if link == "octo" else "success")

    # -- what the host allows --

    def test_what_may_run_is_decided_before_anything_is_fetched(self):
        sha = self.tools.push({"greet/action.yml": GREET}, ref="main")
        cases = [
            ("octo/other", f"{TOOLS}/greet@main", "not among the actions"), ("octo/*,pinned", f"{TOOLS}/greet@{sha[:12]}", "names no commit"),
        ]
        for policy, uses, said in cases:
            with self.subTest(policy):
                run = self.run_steps(f"- uses: {uses}", settings={"actions": policy})
                self.assertIn(said, run.messages("Set up job")[0][1])
                self.assertNotIn("Getting action download info", run.lines("Set up job"))
        run = self.run_steps(f"- uses: {TOOLS}/greet@{sha}", settings={"actions": "OCTO/Tools,pinned"})
        self.assertEqual(run.conclusion, "success", run.shown)
        self.tools.push({"nest/action.yml": f"runs: {{using: composite, steps: [{{uses: {TOOLS}/greet@main}}]}}\n"}, ref="main")
        run = self.run_steps(f"- uses: {TOOLS}/nest@main", settings={"actions": f"{TOOLS}/nest"})
        self.assertIn(f"{TOOLS}/greet@main is not among", run.messages("Set up job")[0][1])


if __name__ == "__main__":
    unittest.main(verbosity=2)
