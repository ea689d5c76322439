#!/usr/bin/env python3
"""Steps in the background: they run beside others, later steps hear of them where they are waited for, and none outlives the job."""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from harness.waiting import alive
from servers.worker import House

UNTIL = "until [ -e {} ]; do sleep 0.01; done"


class Background(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.house = House()
        cls.house.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.house.__exit__(None, None, None)

    def mark(self, name):
        return os.path.join(self.house.folder, f"{self.id()}-{name}")

    def test_a_step_runs_beside_the_others_and_is_heard_of_where_it_is_waited_for(self):
        begun, told, bin = self.mark("begun"), self.mark("told"), self.mark("bin")
        run = self.house.run(f'''
            - id: side
              name: side
              background: true
              env: {{OWN: mine}}
              run: |
                touch {begun}
                {UNTIL.format(told)}
                echo "digest=$OWN" >> "$GITHUB_OUTPUT"
                echo "SIDE=set" >> "$GITHUB_ENV"
                mkdir {bin}; printf '#!/bin/sh\\necho by-path\\n' > {bin}/from-side; chmod +x {bin}/from-side
                echo {bin} >> "$GITHUB_PATH"
            - name: before
              run: |
                {UNTIL.format(begun)}
                echo "[${{{{ steps.side.outputs.digest }}}}][$SIDE][${{{{ steps.side.outcome }}}}]"
                touch {told}
            - {{name: Both, wait: side}}
            - name: after
              run: echo "[${{{{ steps.side.outputs.digest }}}}][$SIDE][${{{{ steps.side.outcome }}}}][$(from-side)]"
        ''')
        self.assertEqual(run.conclusion, "success", run.shown)
        self.assertIn("[][][]", run.lines("before"))
        self.assertIn("[mine][set][success][by-path]", run.lines("after"))
        self.assertEqual(run.lines("Both"), ["Waiting for background step(s) to complete: side", "Finished waiting for background step(s).",
                                             "  side: Succeeded"])
        numbers = {s["name"]: s["number"] for s in run.job["steps"]}
        self.assertEqual([numbers[n] for n in ("Set up job", "side", "before", "Both", "after", "Complete job")], [1, 2, 3, 4, 5, 6])

    def test_a_step_that_is_cancelled_does_not_fail_the_job_and_its_cancel_is_its_own(self):
        begun = self.mark("begun")
        run = self.house.run(f'''
            - id: server
              name: server
              background: true
              run: |
                trap 'echo stopping; exit 0' INT
                sleep 3000 & echo "$$ $!" > {begun}.new; mv {begun}.new {begun}
                while :; do wait; done
            - {{name: client, run: "{UNTIL.format(begun)}"}}
            - {{name: Stop it, cancel: server}}
            - {{name: after, run: "echo [${{{{ steps.server.conclusion }}}}][${{{{ job.status }}}}]"}}
        ''')
        self.assertEqual(run.conclusion, "success", run.shown)
        self.assertEqual((run.conclusions()["server"], run.conclusions()["Stop it"]), ("cancelled", "success"))
        self.assertIn("stopping", run.lines("server"))
        self.assertIn("[cancelled][success]", run.lines("after"))
        with open(begun, encoding="ascii") as f:
            self.assertFalse(any(alive(int(pid)) for pid in f.read().split()))

    def test_a_failure_counts_where_it_is_waited_for(self):
        run = self.house.run('''
            - {id: bad, name: bad, background: true, run: exit 3}
            - {id: forgiven, name: forgiven, background: true, continue-on-error: true, run: exit 4}
            - {name: One, wait: forgiven}
            - {name: between, run: "echo ${{ job.status }}"}
            - {name: Two, wait: [bad], continue-on-error: true}
            - {name: after, run: "echo ${{ steps.bad.outcome }} ${{ job.status }} ${{ steps.forgiven.outcome }}"}
        ''')
        self.assertEqual(run.conclusion, "success", run.shown)
        self.assertIn("success", run.lines("between"))
        self.assertIn("failure success failure", run.lines("after"))
        run = self.house.run('''
            - {name: bad, background: true, run: exit 3}
            - {name: after, run: echo}
        ''')
        self.assertEqual((run.conclusion, run.conclusions()["Wait for all background steps"]), ("failure", "failure"), run.shown)

    def test_what_a_failed_job_did_not_wait_for_is_waited_for_and_stopped(self):
        begun = self.mark("begun")
        run = self.house.run(f'''
            - {{id: server, name: server, background: true, run: "echo $$ > {begun}; exec sleep 3000"}}
            - {{name: client, run: "{UNTIL.format(begun)}; exit 1"}}
            - {{name: never, run: echo}}
            - cancel: server
            - {{name: always, if: always(), run: "echo ${{{{ steps.server.outcome }}}}"}}
        ''')
        self.assertEqual((run.conclusion, run.conclusions()["never"], run.conclusions()["Cancel"]), ("failure", "skipped", "success"), run.shown)
        self.assertIn("cancelled", run.lines("always"))

    def test_a_cancelled_job_ends_its_steps_in_the_background_too(self):
        begun = self.mark("begun")
        worker = self.house.start(f'''
            - {{id: side, name: side, background: true, run: "echo $$ > {begun}; exec sleep 3000"}}
            - {{name: long, run: "{UNTIL.format(begun)}; touch {begun}-too; exec sleep 3000"}}
            - {{name: all of them, wait-all: true}}
            - {{name: cleans, if: cancelled(), run: "echo ${{{{ steps.side.outcome }}}}"}}
        ''')
        while not os.path.exists(f"{begun}-too"):
            self.assertIsNone(worker.process.poll())
        worker.cancel(300)
        run = self.house.finish(worker)
        self.assertEqual((run.status, run.conclusion), (103, "cancelled"))
        self.assertEqual((run.conclusions()["side"], run.conclusions()["long"]), ("cancelled", "cancelled"))
        self.assertIn("cancelled", run.lines("cleans"))

    def test_what_one_step_began_to_match_no_line_of_another_ends(self):
        matcher = json.dumps({"problemMatcher": [{"owner": "two", "pattern": [
            {"regexp": "^in (.*)$", "code": 1}, {"regexp": r"^  (\d+) (.*)$", "line": 1, "message": 2}]}]})
        one, two, main = self.mark("one"), self.mark("two"), self.mark("main")
        run = self.house.run(f'''
            - {{name: adds, env: {{MATCHER: {json.dumps(matcher)}}}, run: 'printf %s "$MATCHER" > two.json; echo "::add-matcher::two.json"'}}
            - parallel:
              - {{id: one, name: one, run: "echo in one; touch {one}; {UNTIL.format(main)}; echo '  1 of one'"}}
              - {{id: two, name: two, run: "{UNTIL.format(one)}; echo '  2 of nothing'; echo in two; touch {two}; {UNTIL.format(main)}; echo '  3 of two'"}}
              - {{id: three, name: three, run: "{UNTIL.format(two)}; echo '  4 of nothing'; echo in three; echo '  5 of three'; touch {main}"}}
        ''')
        self.assertEqual(run.conclusion, "success", run.shown)
        found = {n: [(a["message"], a["startLine"]) for a in run.annotations(n)] for n in ("one", "two", "three")}
        self.assertEqual(found, {"one": [("of one", 1)], "two": [("of two", 3)], "three": [("of three", 5)]})

    def test_only_as_many_run_at_once_as_the_service_allows(self):
        def one_slot(message):
            message["variables"]["system.runner.maxbackgroundsteps"] = {"value": "1"}
        begun = self.mark("begun")
        run = self.house.run(f'''
            - {{id: first, name: first, background: true, run: "touch {begun}; {UNTIL.format(begun + '-go')}"}}
            - {{id: second, name: second, background: true, run: "[ -e {begun}-go ] && echo in order"}}
            - {{name: main, run: "{UNTIL.format(begun)}; touch {begun}-go"}}
            - wait-all:
        ''', change=one_slot)
        self.assertEqual(run.conclusion, "success", run.shown)
        self.assertIn("in order", run.lines("second"))

    def test_actions_run_in_the_background_with_steps_of_their_own(self):
        begun = self.mark("begun")
        action = """
runs:
  using: composite
  steps:
    - {shell: bash, run: "echo INNER=1 >> $GITHUB_ENV; touch %s"}
    - {id: told, shell: bash, run: "echo inner=$INNER; %s; echo said=it >> $GITHUB_OUTPUT"}
outputs: {said: {value: "${{ steps.told.outputs.said }}"}}
""" % (begun, UNTIL.format(begun + "-go"))
        run = self.house.run(f'''
            - {{name: tree, run: "mkdir -p one && cp {begun}.yml one/action.yml"}}
            - {{id: side, name: side, background: true, uses: ./one}}
            - {{name: main, run: "{UNTIL.format(begun)}; echo [$INNER]; touch {begun}-go"}}
            - {{wait: side}}
            - {{name: after, run: "echo [$INNER][${{{{ steps.side.outputs.said }}}}]"}}
        ''', change=lambda message: self.write(begun + ".yml", action))
        self.assertEqual(run.conclusion, "success", run.shown)
        self.assertIn("inner=1", run.lines("side"))
        self.assertIn("[]", run.lines("main"))
        self.assertIn("[1][it]", run.lines("after"))

    @staticmethod
    def write(path, text):
        with open(path, "w") as f:
            f.write(text)

    def test_steps_side_by_side_are_waited_for_together(self):
        a, b = self.mark("a"), self.mark("b")
        run = self.house.run(f'''
            - parallel:
                - {{name: one, run: "touch {a}; {UNTIL.format(b)}"}}
                - {{id: two, name: two, run: "touch {b}; {UNTIL.format(a)}; echo x=y >> $GITHUB_OUTPUT"}}
            - {{name: after, run: "echo [${{{{ steps.two.outputs.x }}}}]"}}
        ''')
        self.assertEqual(run.conclusion, "success", run.shown)
        self.assertIn("[y]", run.lines("after"))
        self.assertEqual(run.lines("Parallel group")[-2:], ["  one: Succeeded", "  two: Succeeded"])

    def test_davits_own_steps_and_unknown_kinds_of_waiting_are_refused(self):
        run = self.house.run("- {background: true, uses: davit-deploy/davit/actions/run@v1, with: {command: 'true', undo: none}}")
        self.assertIn("cannot run in the background", run.messages("Set up job")[0][1])
        run = self.house.run("- {id: a, background: true, run: echo}\n- {wait: a}", change=lambda m: m["steps"][1].update(controlType="sleep"))
        self.assertIn("unknown way, 'sleep'", run.messages("Set up job")[0][1])


unittest.main(argv=[sys.argv[0], "-v", *sys.argv[1:]])
