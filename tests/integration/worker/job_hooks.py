#!/usr/bin/env python3
"""The administrator's scripts around a job: where they stand, what they see and set, and what their failure means."""
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from harness.waiting import until
from servers.worker import House

STARTED = """
echo "in $PWD of $GITHUB_REPOSITORY by $RUNNER_NAME level=${LEVEL-none} jq=$(command -v only-here || echo none)"
echo "FROM_HOOK=${GITHUB_JOB}" >> "$GITHUB_ENV"
echo '::warning::looked at'
test -s "$GITHUB_EVENT_PATH" && test -z "$ACTIONS_RUNTIME_TOKEN" && echo "input: $(cat)"
"""
COMPLETED = """
echo "done level=${LEVEL-none} from=${FROM_HOOK-none} jq=$(command -v only-here || echo none) path=${PATH%%:*}"
echo ended > "$ENDED"
"""
STEPS = '''
- name: A
  run: |
    echo "hook said $FROM_HOOK"
    mkdir -p bin && printf '#!/bin/sh\\n' > bin/only-here && chmod +x bin/only-here && echo "$PWD/bin" >> "$GITHUB_PATH"
- {name: B, run: exit 1, if: env.FAILS == 'yes'}
'''


class JobHooks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.house = House()
        cls.house.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.house.__exit__(None, None, None)

    def script(self, name, text):
        path = os.path.join(self.house.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def run_hooked(self, steps=STEPS, started=None, completed=None, **more):
        names = {"ACTIONS_RUNNER_HOOK_JOB_STARTED": started, "ACTIONS_RUNNER_HOOK_JOB_COMPLETED": completed, "ENDED": self.ended()}
        return self.house.run(steps, env={k: v for k, v in names.items() if v}, **more)

    def ended(self):
        return os.path.join(self.house.folder, "ended")

    def test_they_stand_around_the_job_with_the_agent_s_environment_and_set_what_steps_see(self):
        started, completed = self.script("be fore.sh", STARTED), self.script("after.sh", COMPLETED)
        run = self.run_hooked(started=started, completed=completed, job="env: {LEVEL: job, FAILS: 'yes'}")
        self.assertEqual([(s["number"], s["name"], s["conclusion"]) for s in run.job["steps"]], [
            (1, "Set up job", "success"), (2, "Set up runner", "success"), (3, "A", "success"), (4, "B", "failure"),
            (8, "Complete runner", "success"), (9, "Complete job", "success")])
        workspace = os.path.join(self.house.work, "demo/demo")
        self.assertEqual(run.lines("Set up runner"), [
            "A job started hook has been configured by the self-hosted runner administrator",
            f"##[group]Run '{started}'", f"shell: {shutil.which('bash')} -e {{0}}", "##[endgroup]",
            f"in {workspace} of octo/demo by box-1 level=none jq=none", "##[warning]looked at", "input: "])
        self.assertEqual(run.messages("Set up runner"), [("warning", "looked at")])
        self.assertIn("hook said build", run.lines("A"))
        self.assertIn("A job completed hook has been configured by the self-hosted runner administrator", run.lines("Complete runner"))
        self.assertEqual(run.lines("Complete runner")[-1], f"done level=none from=none jq=none path={os.environ['PATH'].split(':')[0]}")

    def test_a_failure_fails_the_job_and_the_one_behind_it_runs_all_the_same(self):
        for name, text, said in (("no.sh", "exit 4\n", "Process completed with exit code 4."),
                                 ("no.txt", "", "is not a valid path to a script"), ("gone.sh", None, "File doesn't exist")):
            started = os.path.join(self.house.folder, name) if text is None else self.script(name, text)
            run = self.run_hooked(started=started, completed=self.script("after.sh", COMPLETED))
            self.assertEqual((run.conclusion, run.conclusions()["A"], run.conclusions()["Complete runner"]), ("failure", "skipped", "success"))
            self.assertIn(said, run.messages("Set up runner")[0][1])
        run = self.run_hooked(completed=self.script("bad.sh", "exit 5\n"))
        self.assertEqual((run.conclusion, run.conclusions()["Complete runner"]), ("failure", "failure"))

    def test_javascript_runs_by_node_and_a_cancel_leaves_the_last_one_to_its_end(self):
        mark = os.path.join(self.house.folder, "runs")
        worker = self.house.start(f"- {{name: long, run: 'echo > {mark}; exec sleep 3000'}}", env={
            "ACTIONS_RUNNER_HOOK_JOB_STARTED": self.script("first.js", "console.log('by node for ' + process.env.GITHUB_JOB)\n"),
            "ACTIONS_RUNNER_HOOK_JOB_COMPLETED": self.script("after.sh", COMPLETED), "ENDED": self.ended()})
        try:
            until(lambda: os.path.exists(mark), "the step")
        finally:
            worker.cancel()
        run = self.house.finish(worker)
        self.assertEqual((run.conclusion, run.conclusions()["long"], run.conclusions()["Complete runner"]), ("cancelled", "cancelled", "success"))
        self.assertEqual(run.lines("Set up runner")[-1], "by node for build")
        self.assertTrue(os.path.exists(self.ended()))

    def test_behind_a_set_up_that_failed_none_runs(self):
        run = self.run_hooked("- uses: octo/none@v1", self.script("before.sh", STARTED), self.script("after.sh", COMPLETED))
        self.assertEqual([s["name"] for s in run.job["steps"]], ["Set up job"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
