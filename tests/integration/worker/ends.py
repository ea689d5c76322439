#!/usr/bin/env python3
"""How a job ends before its time, and what it cannot do: cancels, time-outs, shutdown, unsupported work, a service that fails."""
import json
import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from harness.waiting import alive
from servers.worker import House, Worker, davit


def until(what, condition, timeout=20):
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.01)
    return value


class Ends(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.house = House()
        cls.house.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.house.__exit__(None, None, None)

    def mark(self, name):
        return os.path.join(self.house.folder, name)

    def started(self, name):
        return until(name, lambda: os.path.exists(self.mark(name)) and os.path.getsize(self.mark(name)) > 0)

    def test_a_cancel_ends_the_whole_group_and_runs_what_is_meant_for_it(self):
        worker = self.house.start(f'''
            - name: long
              run: |
                sleep 3000 &
                echo "$$ $!" > {self.mark("cancel")}
                wait
            - {{name: ordinary, run: echo never}}
            - {{name: cleans, if: cancelled(), run: "echo cleaned ${{{{ job.status }}}}"}}
            - {{name: always, if: always(), run: echo too}}
            - {{name: on failure, if: failure(), run: echo}}
        ''')
        self.started("cancel")
        before = time.monotonic()
        worker.cancel(300)
        run = self.house.finish(worker)
        self.assertLess(time.monotonic() - before, 30)
        self.assertEqual((run.status, run.conclusion), (103, "cancelled"))
        self.assertEqual(run.conclusions(), {
            "Set up job": "success", "long": "cancelled", "ordinary": "skipped", "cleans": "success", "always": "success",
            "on failure": "skipped", "Complete job": "success"})
        self.assertEqual(run.messages("long"), [("failure", "The operation was canceled.")])
        self.assertIn("cleaned cancelled", run.lines("cleans"))
        with open(self.mark("cancel")) as file:
            for pid in file.read().split():
                until(f"the end of {pid}", lambda: not alive(int(pid)))

    def test_a_script_that_ignores_sigint_is_terminated(self):
        worker = self.house.start(f'''
            - name: stubborn
              run: |
                trap 'echo got term; exit 0' TERM
                trap '' INT
                echo x > {self.mark("stubborn")}
                while :; do read -t 1 < <(:) || sleep 0.1; done
              shell: bash
        ''')
        self.started("stubborn")
        before = time.monotonic()
        worker.cancel(300)
        run = self.house.finish(worker, 30)
        self.assertGreater(time.monotonic() - before, 7)
        self.assertLess(time.monotonic() - before, 40)
        self.assertEqual(run.conclusions()["stubborn"], "cancelled")
        self.assertIn("got term", run.lines("stubborn"))

    def test_a_step_that_is_to_run_always_goes_on(self):
        worker = self.house.start(f'''
            - name: goes on
              if: always()
              run: echo x > {self.mark("goes-on")}; sleep 1; echo done
        ''')
        self.started("goes-on")
        worker.cancel(300)
        run = self.house.finish(worker)
        self.assertEqual(run.conclusions()["goes on"], "success")
        self.assertIn("done", run.lines("goes on"))
        self.assertEqual(run.conclusion, "cancelled")

    def test_a_time_out_fails_the_step(self):
        run = self.house.run('''
            - {name: slow, timeout-minutes: 1, run: sleep 3000}
            - {name: bad, if: always(), timeout-minutes: "${{ 'x' }}", run: echo ran}
        ''', timeout=100)
        self.assertEqual(run.conclusion, "failure")
        self.assertEqual(run.messages("slow"), [("failure", "The action 'slow' has timed out after 1 minutes.")])
        self.assertEqual(run.conclusions()["bad"], "success")
        self.assertIn("The template is not valid. Unexpected value 'x'", run.messages("bad")[1][1])

    def test_a_shutdown_fails_the_job_and_skips_the_rest(self):
        worker = self.house.start(f'''
            - {{name: long, if: always(), run: "echo x > {self.mark("shutdown")}; sleep 3000"}}
            - {{name: always, if: always(), run: echo}}
        ''')
        self.started("shutdown")
        worker.cancel(30, "shutdown")
        run = self.house.finish(worker)
        self.assertEqual((run.status, run.conclusion), (102, "failure"))
        self.assertEqual(run.conclusions()["always"], "skipped")
        self.assertIn("shutdown signal", json.dumps(run.job["annotations"]))
        self.assertIn("##[error]The runner has received a shutdown signal.", run.job["log"])
        self.assertNotIn("shutdown signal", "".join(step["log"] or "" for step in run.job["steps"]))

    def test_a_job_cancelled_before_it_began_runs_nothing(self):
        taken = self.house.take("- {name: never, run: echo}")
        words = json.dumps({"message": taken.message, "settings": self.house.settings()}) + "\n" + \
            json.dumps({"cancel": {"timeout_s": 60, "reason": "cancelled"}}) + "\n"
        done = subprocess.run(os.environ.get("DAVIT_WORKER", davit() + " worker").split(), input=words.encode(), timeout=30)
        self.assertEqual(done.returncode, 103)
        run = self.house.forge.wait_run("octo/demo", self.house.sha, timeout=10)
        self.assertEqual(run["conclusion"], "cancelled")
        self.assertNotIn("success", [s["conclusion"] for s in run["jobs"][0]["steps"] if s["name"] == "never"])

    def test_a_listener_that_is_gone_does_not_end_the_job(self):
        worker = self.house.start(f'- {{name: long, run: "echo x > {self.mark("gone")}; sleep 1; echo finished"}}')
        self.started("gone")
        worker.process.stdin.close()
        run = self.house.finish(worker)
        self.assertEqual(run.conclusion, "success")
        self.assertIn("finished", run.lines("long"))

    def test_no_job_is_no_fault(self):
        done = subprocess.run(os.environ.get("DAVIT_WORKER", davit() + " worker").split(), stdin=subprocess.DEVNULL, timeout=20,
                              capture_output=True)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        done = subprocess.run(os.environ.get("DAVIT_WORKER", davit() + " worker").split(), input=b"{not json\n", timeout=20,
                              capture_output=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"davit: ", done.stderr)

    def unsupported(self, steps, words, **kwargs):
        run = self.house.run(steps, **kwargs)
        self.assertEqual((run.status, run.conclusion), (102, "failure"))
        self.assertEqual([s["name"] for s in run.job["steps"] if s["conclusion"] == "failure"], ["Set up job"])
        text = run.messages("Set up job")[0][1]
        for word in words:
            self.assertIn(word, text)
        return run

    def test_work_that_is_not_done_here_is_refused_by_name(self):
        self.unsupported("- run: echo", ["snapshot"], change=lambda message: message.update(snapshot="an-image"))

    def test_another_version_of_our_actions_is_refused_with_both_named(self):
        run = self.unsupported("- uses: davit-deploy/davit/actions/run@v9", ["davit-deploy/davit/actions/run@v9", "9", "1.0.0"])
        self.assertIn("davit-deploy/davit/actions/run@v1", run.log("Set up job"))
        commit = "0123456789abcdef0123456789abcdef01234567"
        self.unsupported(f"- uses: davit-deploy/davit/actions/run@{commit}", [commit, "1.0.0"])
        self.unsupported("- uses: davit-deploy/davit/other@v1", ["davit-deploy/davit/other@v1"])

    def test_a_service_that_fails_does_not_fail_the_job(self):
        forge = self.house.forge
        forge.faults(path="GetStepLogsSignedBlobURL", status=403, times=3)
        forge.faults(path="WorkflowStepsUpdate", status=400, times=2)
        try:
            run = self.house.run("- {name: one, run: echo hi}")
        finally:
            forge.no_faults()
        self.assertEqual((run.status, run.conclusion), (100, "success"))
        self.assertEqual(run.conclusions(), {"Set up job": "success", "one": "success", "Complete job": "success"})

    def test_an_update_of_steps_that_the_service_answers_but_did_not_take_is_sent_again(self):
        for times, body in ((2, '{"ok": false}'), (1, "{}")):
            self.house.forge.faults(path="WorkflowStepsUpdate", times=times, status=200, headers={"Content-Type": "application/json"}, body=body)
        worker = self.house.start(f'- {{name: long, run: "until [ -e {self.mark("told")} ]; do read -rt 0.05 <> <(:) || true; done"}}')
        self.addCleanup(worker.end)

        def known():
            (job,) = self.house.forge.runs(logs=False, sha=self.house.sha)[0]["jobs"]
            return {s["name"]: s["status"] for s in job["steps"]}
        until("the states of the steps", lambda: known() == {"Set up job": "completed", "long": "in_progress"})
        open(self.mark("told"), "w").close()
        self.assertEqual(self.house.finish(worker).conclusion, "success")

    def test_the_end_is_reported_in_spite_of_a_failing_service(self):
        self.house.forge.faults(path="completejob", status=503, times=2)
        try:
            run = self.house.run("- {name: one, run: echo hi}", env={"DAVIT_PACE_PERCENT": "1"})
        finally:
            self.house.forge.no_faults()
        self.assertEqual(run.conclusion, "success")

    def test_a_broken_message_fails_the_job_with_its_reason(self):
        taken = self.house.take("- run: echo")
        del taken.message["contextData"]["github"]
        worker = Worker(taken.message, self.house.settings())
        self.assertEqual(worker.wait(), 102)
        run = self.house.forge.wait_run("octo/demo", self.house.sha, timeout=10)
        self.assertEqual(run["conclusion"], "failure")
        self.assertIn("github.repository", json.dumps(run))

    def test_workspaces_stay_and_temporary_files_go(self):
        self.house.run("- run: echo kept > kept; echo x > $RUNNER_TEMP/mine")
        run = self.house.run("- {name: looks, run: 'cat kept; ls $RUNNER_TEMP; cat $RUNNER_TEMP/davit/job.json'}")
        self.assertIn("kept", run.lines("looks"))
        self.assertNotIn("mine", run.lines("looks"))
        key = json.loads([line for line in run.lines("looks") if line.startswith("{")][0])
        self.assertEqual((key["repository"], key["job"]), ("octo/demo", "build"))
        self.assertFalse(os.path.exists(self.house.temp()))
        run = self.house.run("- {name: looks, run: 'test ! -e kept'}",
                             change=lambda message: message.update(workspace={"clean": "all"}))
        self.assertEqual(run.conclusion, "success")


if __name__ == "__main__":
    unittest.main(verbosity=2)
