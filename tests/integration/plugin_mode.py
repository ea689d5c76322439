#!/usr/bin/env python3
"""The actions under a runner that is not davit's: composite steps, inputs in the environment, ten seconds from a cancel to the kill."""
import json
import os
import signal
import subprocess
import sys
import time
import unittest

from harness.trial import BUILD, Case, Service, Trial, main
from harness.waiting import until
from servers.official_runner import Job
from servers.sshd import Sshd


HERE = "environment: default"


class PluginMode(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        os.mkdir(os.path.join(self.t.src, "site"))
        self.site("one")
        self.targets = json.dumps({"web": {"local": {}, "base": self.t.base}})

    def site(self, text):
        with open(os.path.join(self.t.src, "site", "index.html"), "w", encoding="ascii") as f:
            f.write(text)

    def upload(self, job, **more):
        return job.uses("archive-upload", source="site", path=self.t.path("app"), targets=self.targets, **{"deployment": HERE, **more})

    def secrets(self, job, **more):
        return job.uses("secret-write", path=self.t.path("app.env"), format="env", values='{"TOKEN": "tok-77aa55"}', targets=self.targets, **{"deployment": HERE, **more})

    def history(self):
        return json.loads(self.t.run("history", "--json").out)

    def current(self):
        with open(self.t.path("app/current/index.html"), encoding="ascii") as f:
            return f.read()

    def assert_ok(self, step):
        self.assertEqual(step.code, 0, repr(step))

    def assert_nothing_left(self):
        self.assertEqual(os.listdir(os.path.join(self.t.base, "open")) if os.path.isdir(os.path.join(self.t.base, "open")) else [], [])

    def gate(self, job, command):
        return job.uses("health-gate", checks=json.dumps([{"command": command}]), deadline="1s", targets=self.targets)

    def note(self, job):
        """Where the job's deployment is noted."""
        return os.path.join(job.env["RUNNER_TEMP"], "davit", "deployment")

    def finish_elsewhere(self, job, name, value):
        """A `finish` that has another value of that variable than the steps before it."""
        kept, job.env[name] = job.env[name], value
        try:
            return job.uses("finish", status="success")
        finally:
            job.env[name], job.status = kept, "success"

    # ---- the way it should go ----

    def test_the_id_of_the_jobs_deployment_lies_in_its_temporary_folder(self):
        job = Job(self.t)
        self.assert_ok(self.gate(job, ["true"]))
        self.assertFalse(os.path.exists(self.note(job)), "nothing is opened by a step that changes nothing")
        held = self.t.path("held")
        self.assert_ok(job.uses("run", command=f"cp {self.note(job)} {held}", undo="none", targets=self.targets, deployment=HERE))
        [d] = self.history()
        for path in (self.note(job), held):
            with open(path, encoding="ascii") as f:
                self.assertEqual(f.read(), d["id"] + "\n", "it is there before the first change")
        self.assert_ok(self.secrets(job))
        self.assert_ok(job.uses("finish"))

    def test_finish_is_not_silent_where_the_journal_does_not_know_the_jobs_deployment(self):
        job = Job(self.t)
        self.assert_ok(self.upload(job))
        [d] = self.history()
        lost = self.finish_elsewhere(job, "DAVIT_STATE", self.t.path("elsewhere"))
        self.assertEqual(lost.code, 4, repr(lost))
        self.assertIn(d["id"], lost.text)
        self.assertIn("DAVIT_STATE", lost.text)
        other = self.finish_elsewhere(job, "RUNNER_TRACKING_ID", "github_other")
        self.assertEqual(other.code, 4, repr(other))
        self.assertIn(d["id"], other.text)
        self.assertIn("davit rollback " + d["id"], other.text)
        self.assertEqual([x["state"] for x in self.history()], ["open"], "neither decided anything")
        self.assert_ok(job.uses("finish"))
        self.assertEqual([x["state"] for x in self.history()], ["committed"])
        self.assert_ok(self.finish_elsewhere(job, "RUNNER_TRACKING_ID", "github_other"))

    def test_the_steps_of_a_job_share_one_deployment_and_finish_commits_it(self):
        job = Job(self.t)
        up = self.upload(job)
        self.assert_ok(up)
        self.assertEqual(up.outputs["release"], os.path.basename(os.readlink(self.t.path("app/current"))))
        self.assertEqual([d["state"] for d in self.history()], ["open"])
        self.assert_ok(self.secrets(job))
        self.assert_ok(self.gate(job, ["grep", "-q", "one", self.t.path("app/current/index.html")]))
        done = job.uses("finish")
        self.assert_ok(done)
        [d] = self.history()
        self.assertEqual((d["state"], d["name"], d["environment"], d["commit"][:8]), ("committed", "shop", "default", "01234567"))
        self.assertEqual(done.outputs, {"deployment": d["id"], "state": "committed"})
        self.assertIn("/demo/shop/actions/runs/", d["run_url"])
        self.assertEqual(self.t.read("app.env"), b"TOKEN=tok-77aa55\n")
        self.assert_nothing_left()
        again = job.uses("finish")
        self.assert_ok(again)

    def restart(self, job, **more):
        return job.uses("run", command="true", after_undo=f'echo "to $DAVIT_FORMER_RELEASE with $T" >> {self.t.path("restarted")}', undo="none",
                        **more)

    def test_a_committed_deployment_of_single_steps_is_gone_back_behind_without_a_file(self):
        for text in ("one", "two"):
            self.site(text)
            job = Job(self.t)
            self.assert_ok(self.upload(job))
            self.assert_ok(self.restart(job))
            self.assert_ok(self.secrets(job))
            self.assert_ok(self.gate(job, ["grep", "-q", ".", self.t.path("app/current/index.html")]))
            self.assert_ok(job.uses("finish"))
        first = os.path.basename(os.readlink(self.t.path("app/current")))
        back = self.t.run("rollback", self.history()[0]["id"])
        self.assert_exit(back, 0)
        self.assertEqual(self.current(), "one")
        self.assertNotEqual(os.path.basename(os.readlink(self.t.path("app/current"))), first)
        self.assertIn("to " + os.path.basename(os.readlink(self.t.path("app/current"))), self.t.read("restarted").decode())
        self.assertIn("probe", [e["kind"] for e in json.loads(self.t.run("show", "last", "--json").out)["events"]])
        self.assert_exit(self.t.run("rollback", "--to", first), 0)
        self.assertEqual(self.current(), "two")
        self.assert_nothing_left()

    def test_going_back_asks_for_what_may_be_secret_and_names_it(self):
        for text in ("one", "two"):
            self.site(text)
            job = Job(self.t)
            self.assert_ok(self.upload(job))
            self.assert_ok(self.restart(job, env="T: tok-77aa55"))
            self.assert_ok(job.uses("finish"))
        newest = self.history()[0]["id"]
        lacking = self.t.run("rollback", newest)
        self.assert_exit(lacking, 2)
        self.assert_says(lacking, "--secret T", "/steps/1/input/env/T")
        self.assertEqual(self.current(), "two")
        self.assert_exit(self.t.run("rollback", newest, "--secret", "T", env={"T": "tok-77aa55"}), 0)
        self.assertEqual(self.current(), "one")
        self.assertIn(b"with tok-77aa55\n", self.t.read("restarted"))
        for path, data in self.t.files_of(self.t.state):
            self.assertNotIn(b"tok-77aa55", data, path)

    def test_going_back_over_ssh_asks_for_the_login(self):
        with Sshd() as server:
            target = server.target(base=self.t.base)
            key = target["ssh"]["key"]
            for text in ("one", "two"):
                self.site(text)
                job = Job(self.t)
                self.assert_ok(job.uses("archive-upload", source="site", path=self.t.path("app"), targets=json.dumps({"web-1": target}), deployment=HERE))
                self.assert_ok(job.uses("finish"))
            newest = self.history()[0]["id"]
            lacking = self.t.run("rollback", newest)
            self.assert_exit(lacking, 2)
            self.assert_says(lacking, "--secret WEB_1_KEY", "/targets/web-1/ssh/key")
            self.assert_exit(self.t.run("rollback", newest, "--secret", "WEB_1_KEY", env={"WEB_1_KEY": key}), 0)
            self.assertEqual(self.current(), "one")
            for path, data in self.t.files_of(self.t.state):
                self.assertNotIn(key.splitlines()[1].encode(), data, path)

    def test_going_back_says_why_it_needs_a_file(self):
        for text in ("one", "two"):
            self.site(text)
            job = Job(self.t)
            self.assert_ok(self.upload(job))
            self.assert_ok(self.gate(job, ["test", "${{ x }}", "!=", "y"]))
            self.assert_ok(job.uses("finish"))
        newest = self.history()[0]["id"]
        refused = self.t.run("rollback", newest)
        self.assert_exit(refused, 2)
        self.assert_says(refused, "the step health-gate", "${{", f"davit rollback {newest} --file")
        self.assertEqual(self.current(), "two")

    def test_each_step_writes_a_summary_of_its_own_changes(self):
        job = Job(self.t)
        up, secret, gate = self.upload(job), self.secrets(job), self.gate(job, ["true"])
        done = job.uses("finish")
        self.assertIn("archive-upload", up.summary)
        self.assertIn(self.t.path("app/current").replace("_", "\\_"), up.summary)
        self.assertIn("app.env", secret.summary)
        self.assertNotIn("app/current", secret.summary)
        self.assertIn("committed", done.summary)
        for step in (up, secret, gate, done):
            self.assertNotIn("tok-77aa55", step.summary + step.text)

    def test_a_gate_that_fails_stops_later_steps_and_finish_takes_everything_back(self):
        first = Job(self.t)
        self.assert_ok(self.upload(first))
        self.assert_ok(first.uses("finish"))
        self.site("two")
        job = Job(self.t)
        self.assert_ok(self.upload(job))
        self.assertEqual(self.current(), "two")
        gate = self.gate(job, ["grep", "-q", "three", self.t.path("app/current/index.html")])
        self.assertEqual(gate.code, 1, repr(gate))
        self.assertIn("::error::", gate.out)
        self.assertEqual(self.current(), "two", "what earlier steps did stays until the deployment is decided")
        late = self.secrets(job)
        self.assertEqual(late.code, 2, repr(late))
        self.assertFalse(os.path.exists(self.t.path("app.env")))
        done = job.uses("finish")
        self.assertEqual(done.code, 1, repr(done))
        self.assertEqual(done.outputs["state"], "undone")
        self.assertEqual(self.current(), "one")
        self.assertEqual(self.history()[0]["state"], "undone")
        self.assert_nothing_left()

    def test_a_job_that_failed_elsewhere_is_taken_back_and_hold_holds(self):
        job = Job(self.t)
        self.assert_ok(self.upload(job))
        job.status = "failure"
        held = job.uses("finish", on_failure="hold")
        self.assertEqual(held.code, 4, repr(held))
        self.assertEqual(held.outputs["state"], "held")
        self.assertTrue(os.path.exists(self.t.path("app/current")))
        other = Job(self.t)
        blocked = self.upload(other)
        self.assertEqual(blocked.code, 5, repr(blocked))
        self.assertIn(self.history()[-1]["id"], blocked.text)
        back = self.t.run("rollback")
        self.assert_exit(back, 0)
        self.assertFalse(os.path.lexists(self.t.path("app/current")))

    def test_the_rollback_action_takes_the_jobs_deployment_back(self):
        job = Job(self.t)
        self.assert_ok(self.upload(job))
        job.status = "failure"
        back = job.uses("rollback")
        self.assert_ok(back)
        self.assertEqual(back.outputs, {"deployment": self.history()[0]["id"], "state": "undone"})
        self.assertFalse(os.path.lexists(self.t.path("app/current")))
        self.assertEqual(job.uses("rollback").code, 2, "nothing is open any more, and it never guesses")

    def test_the_rollback_action_overwrites_a_conflict_by_force_only(self):
        job = Job(self.t)
        self.assert_ok(self.secrets(job))
        self.t.write("app.env", b"TOKEN=by hand\n")
        back = job.uses("rollback")
        self.assertEqual(back.code, 4, repr(back))
        self.assertEqual(back.outputs["state"], "held")
        self.assertIn("Not as it was", back.summary)
        self.assertEqual(self.t.read("app.env"), b"TOKEN=by hand\n")
        forced = job.uses("rollback", force="true")
        self.assert_ok(forced)
        self.assertFalse(os.path.exists(self.t.path("app.env")))

    def test_a_step_that_names_another_environment_is_refused(self):
        job = Job(self.t)
        self.assert_ok(self.upload(job, deployment="environment: staging"))
        other = self.secrets(job, deployment="environment: production")
        self.assertEqual(other.code, 2, repr(other))
        self.assertIn("staging", other.text)
        job.uses("rollback")
        self.assertEqual(self.history()[0]["environment"], "staging")

    def test_a_step_that_cannot_know_its_environment_is_refused(self):
        job = Job(self.t)
        for refused in (self.upload(job, deployment=""), self.upload(job, deployment="name: shop"), self.upload(job, deployment="on_failure: hold")):
            self.assertEqual(refused.code, 2, repr(refused))
            self.assertIn("does not name the environment", refused.text)
            self.assertIn("environment: production", refused.text)
        self.assertEqual(self.history(), [])
        self.assertFalse(os.path.exists(self.t.path("app")))
        self.assert_ok(self.gate(job, ["true"]))
        self.assertEqual(self.history(), [], "a check needs none")

    def test_later_steps_inherit_the_deployment_of_the_first_and_may_not_change_it(self):
        job = Job(self.t)
        self.assert_ok(self.upload(job, deployment="{name: store, environment: staging, on_failure: hold}"))
        self.assert_ok(self.secrets(job, deployment=""))
        [d] = self.history()
        self.assertEqual((d["name"], d["environment"], d["on_failure"]), ("store", "staging", "hold"))
        for other in ("name: shop", "environment: production", "on_failure: rollback"):
            refused = self.secrets(job, deployment=other)
            self.assertEqual(refused.code, 2, repr(refused))
            self.assertIn(other.split(": ", maxsplit=1)[1], refused.text)
        self.assertEqual(job.uses("finish").code, 4)
        self.assertEqual([d["state"] for d in self.history()], ["held"])

    def test_later_steps_know_the_targets_that_earlier_ones_defined(self):
        job = Job(self.t)
        two = json.dumps({"web": {"local": {}, "base": self.t.base}, "db": {"local": {}, "base": self.t.base + "-db"}})
        self.assert_ok(job.uses("secret-write", path=self.t.path("a.env"), values="A: one", targets=two, target="web", deployment=HERE))
        self.assert_ok(job.uses("run", command=json.dumps(["touch", self.t.path("ran")]), undo="none", target="db"))
        self.assert_ok(job.uses("health-gate", checks=json.dumps([{"command": ["true"], "target": "db"}]), deadline="1s", target="[web, db]"))
        several = job.uses("run", command="true", undo="none")
        self.assertEqual(several.code, 2, repr(several))
        self.assertIn("does not say on which target", several.text)
        self.assertEqual(job.uses("run", command="true", undo="none", target="cache").code, 2)
        job.status = "success"
        self.assert_ok(job.uses("finish"))
        self.assertFalse(os.path.isdir(self.t.base + "-db/open") and os.listdir(self.t.base + "-db/open"))

    def test_a_held_deployment_is_what_finish_says(self):
        job = Job(self.t)
        self.assertEqual(job.uses("run", script="exit 3", targets=self.targets, deployment=HERE).code, 4)
        done = job.uses("finish")
        self.assertEqual(done.code, 4, repr(done))
        self.assertEqual(done.outputs, {"deployment": self.history()[0]["id"], "state": "held"})

    def test_notify_writes_on_the_commit_with_the_jobs_token(self):
        with Service(lambda path, count: (200, {"Content-Type": "application/json"}, b"[]") if "comments" not in path else
                     (201, {"Content-Type": "application/json"}, b'{"id": 1}')) as api:
            job = Job(self.t)
            job.env["GITHUB_API_URL"] = api.url
            self.assert_ok(self.upload(job))
            self.assert_ok(job.uses("notify", commit_comment="true"))
            self.assert_ok(job.uses("finish"))
        comments = [body for method, path, body in api.requests if method == "POST" and path.endswith("/comments") and len(body) > 50]
        self.assertEqual(len(comments), 1, api.requests)

    def test_two_jobs_do_not_share(self):
        a, b = Job(self.t, name="a"), Job(self.t, name="b")
        self.assert_ok(self.upload(a, deployment="{name: a, environment: test}"))
        self.assert_ok(b.uses("finish"))
        self.assertEqual(self.history()[0]["state"], "open")
        self.assert_ok(a.uses("finish"))
        self.assertEqual(self.history()[0]["state"], "committed")

    # ---- what goes wrong ----

    def test_bad_inputs_are_named_in_annotations(self):
        job = Job(self.t)
        step = job.uses("archive-upload", path="relative", keep="some", targets="web: { locl: {} }", deployment="nam: x")
        self.assertEqual(step.code, 2, repr(step))
        for word in ("path", "keep", "locl", "nam"):
            self.assertRegex(step.out, rf"(?m)^::error.*{word}")
        self.assertEqual(self.history(), [])

    def test_inputs_leave_the_environment_before_any_child_starts(self):
        job = Job(self.t)
        secret = "tok-in-an-input"
        step = job.uses("run", script="env > seen; tr '\\0' '\\n' < /proc/$PPID/environ >> seen; env | grep -c '^INPUT_' || true\n", cwd=self.t.target_dir,
                        env=json.dumps({"APP_TOKEN": secret}), undo="none", targets=self.targets, deployment=HERE)
        self.assert_ok(step)
        seen = self.t.read("seen").decode()
        self.assertEqual(seen.count(secret), 1, "once, as the variable that was asked for")
        self.assertIn(f"APP_TOKEN={secret}", seen)
        self.assertNotIn("INPUT_ENV={", seen)
        self.assertNotIn("ghs_tokenoftests", seen)
        job.uses("finish")

    def test_a_cancel_in_the_middle_of_a_slow_undo_is_finished_by_finish(self):
        job = Job(self.t)
        self.assert_ok(self.upload(job))
        begun, gone_on = self.t.path("begun"), self.t.path("undone")
        slow = job.start("run", script=f"touch {begun}; sleep 60", undo=f"test -e {gone_on} || {{ touch {begun}.undo; sleep 15; touch {gone_on}; }}",
                         targets=self.targets, deployment=HERE)
        until(lambda: os.path.exists(begun), "the step's begin")
        started = time.monotonic()
        slow.cancel().wait()
        self.assertLess(time.monotonic() - started, 11)
        self.assertEqual(slow.code, -signal.SIGKILL, repr(slow))
        self.assertTrue(os.path.exists(begun + ".undo"), "the undo had begun")
        self.assertFalse(os.path.exists(gone_on))
        job.status = "cancelled"
        done = job.uses("finish")
        self.assertEqual(done.code, 130, repr(done))
        self.assertTrue(os.path.exists(gone_on))
        self.assertFalse(os.path.lexists(self.t.path("app/current")))
        [d] = self.history()
        self.assertEqual(d["state"], "undone")
        self.assert_nothing_left()
        left = [line for line in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines() if begun in line]
        self.assertEqual(left, [], "what the killed step had started still runs")

    def test_a_quick_undo_fits_into_the_runners_patience(self):
        job = Job(self.t)
        begun = self.t.path("begun")
        step = job.start("run", script=f"touch {begun}; sleep 60", undo=f"rm {begun}", targets=self.targets, deployment=HERE)
        until(lambda: os.path.exists(begun), "the step's begin")
        step.cancel().wait()
        self.assertEqual(step.code, 130, repr(step))
        self.assertFalse(os.path.exists(begun))
        job.status = "cancelled"
        self.assertIn(job.uses("finish").code, (0, 130))

    # ---- nobody decides ----

    def in_a_runner_of_its_own(self, action, kill_when=None, **inputs):
        """The step's parent, the runner, is a process that ends with it."""
        job = Job(self.t)
        env, command, _, _ = job.command(action, inputs)
        source = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
        process = subprocess.Popen([sys.executable, "-c", source, *command], cwd=job.workspace, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   start_new_session=True)
        if kill_when:
            until(kill_when, "the step's begin")
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        return job

    def test_a_deployment_that_nobody_decides_is_held_once_the_runner_is_gone(self):
        self.in_a_runner_of_its_own("archive-upload", source="site", path=self.t.path("app"), targets=self.targets, deployment=HERE)
        self.assertEqual(self.history()[0]["state"], "open")
        recovered = self.t.run("recover")
        self.assert_exit(recovered, 4)
        self.assert_says(recovered, "rollback", "--accept")
        self.assertEqual(self.history()[0]["state"], "held")
        self.assertEqual(self.current(), "one")
        self.assert_exit(self.t.run("unlock", "default", "--accept"), 0)
        self.assertEqual(self.history()[0]["state"], "committed")
        self.assert_nothing_left()

    def test_between_the_steps_of_a_living_job_nothing_is_recovered(self):
        job = Job(self.t)
        self.assert_ok(self.upload(job))
        self.assert_exit(self.t.run("recover", self.history()[0]["id"]), 5)
        everything = self.t.run("recover")
        self.assert_exit(everything, 0)
        self.assert_says(everything, "still running")
        self.assertEqual(self.history()[0]["state"], "open")
        self.assert_ok(job.uses("finish"))

    def test_a_step_that_died_in_the_middle_is_undone(self):
        begun = self.t.path("begun")
        self.in_a_runner_of_its_own("run", kill_when=lambda: os.path.exists(begun), script=f"touch {begun}; sleep 60", undo=f"rm -f {begun}", targets=self.targets, deployment=HERE)
        recovered = self.t.run("recover")
        self.assert_exit(recovered, 0)
        self.assertFalse(os.path.exists(begun))
        self.assertEqual(self.history()[0]["state"], "undone")
        self.assert_nothing_left()

    # ---- the journal's place ----

    def test_a_job_cannot_move_the_journal(self):
        """The runner is a process called Runner.Worker; what its own environment does not have came from the job."""
        runner = os.path.join(self.t.dir, "Runner.Worker")
        os.symlink(os.path.realpath(sys.executable), runner)
        source = "import os, subprocess, sys; subprocess.run(['davit', 'history', '--json'], env={**os.environ, 'DAVIT_STATE': sys.argv[1]})"
        self.assert_ok(self.upload(Job(self.t)))
        elsewhere = os.path.join(self.t.dir, "elsewhere")
        for own, given, seen in ((self.t.state, self.t.state, 1), (elsewhere, self.t.state, 0), (self.t.state, elsewhere, 1)):
            env = {"PATH": os.path.join(BUILD, "bin") + ":" + os.environ["PATH"], "GITHUB_ACTIONS": "true", "DAVIT_STATE": own, "HOME": self.t.dir,
                   "PYTHONHOME": sys.base_prefix}
            out = subprocess.run([runner, "-c", source, given], env=env, capture_output=True, text=True, check=True).stdout
            self.assertEqual(len(json.loads(out)), seen, (own, given))

    # ---- the root action ----

    def write_file(self, **more):
        document = {"name": "shop", "environment": "test", "targets": {"web": {"local": {}, "base": self.t.base}}, "steps": [
            {"archive-upload": {"source": "site", "path": "${{ vars.ROOT }}/app"}},
            {"secret-write": {"path": "${{ vars.ROOT }}/app.env", "format": "env", "values": "${{ secrets }}", "keys": ["TOK*"]}},
            {"health-gate": {"checks": [{"command": ["grep", "-q", "${{ inputs.word }}", "${{ vars.ROOT }}/app/current/index.html"]}], "deadline": "1s"}}], **more}
        with open(os.path.join(self.t.src, "test.yml"), "w", encoding="utf-8") as f:
            json.dump(document, f)

    def test_the_root_action_carries_out_a_file_and_decides_itself(self):
        self.write_file()
        job = Job(self.t)
        given = {"file": "test.yml", "secrets": json.dumps({"TOKEN": 'a"b\\c-long', "github_token": "ghs_x", "OTHER": "zzzzzzzz"}),
                 "vars": f"ROOT: {self.t.target_dir}", "inputs": "word: one"}
        plan = job.uses(None, plan="true", **given)
        self.assert_ok(plan)
        self.assertRegex(plan.outputs["digest"], "^[0-9a-f]{64}$")
        self.assertEqual(plan.outputs["deployment"], "")
        self.assertIn(plan.outputs["digest"], plan.summary)
        self.assertFalse(os.path.exists(self.t.path("app")))
        wrong = job.uses(None, expect="1" * 64, **given)
        self.assertEqual(wrong.code, 3, repr(wrong))
        done = job.uses(None, expect=plan.outputs["digest"], **given)
        self.assert_ok(done)
        self.assertEqual(self.history()[0]["state"], "committed")
        self.assertEqual(done.outputs["deployment"], self.history()[0]["id"])
        self.assertIn("committed", done.summary)
        self.assertNotIn("a\\\"b", done.text + done.summary)
        self.assertIn(b"TOKEN=", self.t.read("app.env"))
        self.site("two")
        broken = job.uses(None, **given)
        self.assertEqual(broken.code, 1, repr(broken))
        self.assertEqual(self.current(), "one")
        self.assertIn("undone", broken.summary)
        self.assert_ok(job.uses("finish"))

    def test_the_root_action_names_the_faults_of_the_file_at_their_lines(self):
        self.write_file(owner="me", on_failure="maybe")
        step = Job(self.t).uses(None, file="test.yml")
        self.assertEqual(step.code, 2, repr(step))
        self.assertRegex(step.out, r"(?m)^::error file=test\.yml,line=1,col=\d+::.*owner")
        self.assertRegex(step.out, r"(?m)^::error file=test\.yml,line=1,col=\d+::.*vars\.ROOT")
        self.assertIn("owner", step.summary)
        missing = Job(self.t).uses(None, file="")
        self.assertEqual(missing.code, 2, repr(missing))

    def test_a_cancelled_deployment_file_is_undone_by_the_next_one(self):
        self.write_file(steps=[{"archive-upload": {"source": "site", "path": self.t.path("app")}},
                               {"run": {"script": f"touch {self.t.path('begun')}; sleep 60", "undo": f"touch {self.t.path('undo')}; sleep 15; rm -f {self.t.path('begun')}"}}])
        step = Job(self.t).start(None, file="test.yml")
        until(lambda: os.path.exists(self.t.path("begun")), "the step's begin")
        step.cancel().wait()
        self.assertLess(step.code, 0)
        self.write_file()
        after = Job(self.t).uses(None, file="test.yml", secrets='{"TOKEN": "xyzxyz"}', vars=f"ROOT: {self.t.target_dir}", inputs="word: one")
        self.assert_ok(after)
        self.assertFalse(os.path.exists(self.t.path("begun")))
        self.assertEqual([d["state"] for d in self.history()], ["committed", "undone"])

    def test_the_actions_say_so_when_davit_is_not_installed(self):
        job = Job(self.t)
        job.env.update(PATH="/usr/bin:/bin", GITHUB_SERVER_URL="http://127.0.0.1:1")
        for action in ("finish", None):
            step = job.uses(action, **({} if action else {"file": "none.yml"}))
            self.assertEqual(step.code, 2, repr(step))
            self.assertRegex(step.err, r"^::error::davit is not on the PATH of this runner, and http://127.*: https://\S*/docs/tasks/install.md says how it gets there\n$")


if __name__ == "__main__":
    main()
