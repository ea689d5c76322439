#!/usr/bin/env python3
"""After an undo services run again what lies on their targets: with a change of settings alone, on each target by what it had before; and
whatever ends a deployment half way (a closed terminal, a signal, a step that was killed) ends in an undo."""
import json
import os
import signal
import subprocess
import unittest

from harness.trial import DAVIT, Case, Trial, main
from harness.waiting import until
from servers.official_runner import Job


class InUse(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        os.mkdir(os.path.join(self.t.src, "site"))

    def site(self, text):
        with open(os.path.join(self.t.src, "site", "index"), "w", encoding="ascii") as f:
            f.write(text)

    def restart(self, served="served"):
        """A service: it serves what it was restarted with."""
        command = ["sh", "-c", f"cat {self.t.path('etc/conf')} > {self.t.path(served)}; echo \"$DAVIT_FORMER_RELEASE\" >> {self.t.path('former')}"]
        return {"run": {"command": command, "after_undo": command}}

    def conf(self, text):
        return {"apply": {"resources": [{"directory": {"path": self.t.path("etc")}}, {"file": {"path": self.t.path("etc/conf"), "content": text}}]}}

    def gate(self, wanted):
        return {"health-gate": {"checks": [{"command": ["grep", "-qx", wanted, self.t.path("served")]}], "deadline": "1s"}}

    def local(self, *steps, **more):
        return {"targets": {"web": {"local": {}}}, "steps": list(steps), **more}

    def test_a_change_of_settings_alone_is_taken_back_with_its_service(self):
        self.assert_exit(self.t.deploy(self.local(self.conf("one"), self.restart(), self.gate("one\\|two"))), 0)
        failed = self.t.deploy(self.local(self.conf("broken"), self.restart(), self.gate("one\\|two")))
        self.assert_exit(failed, 1)
        self.assertEqual((self.t.read("etc/conf"), self.t.read("served")), (b"one", b"one"))

    def test_settings_that_were_new_are_taken_back_with_the_service_that_read_them(self):
        """The file is new, the release beside it is not: the service must forget the file."""
        self.site("1")
        upload = {"archive-upload": {"source": "site", "path": self.t.path("app")}}
        self.t.write("former", b"")
        self.assert_exit(self.t.deploy(self.local(upload, {"run": {"command": ["true"], "undo": "none"}})), 0)
        release = os.readlink(self.t.path("app/current")).split("/")[1]
        failed = self.t.deploy(self.local(upload, self.conf("x"), self.restart(), {"run": {"command": ["false"], "undo": "none"}}))
        self.assert_exit(failed, 1)
        self.assertEqual(self.t.read("former").decode().split(), [release])

    def test_a_very_first_deployment_has_nothing_to_restart(self):
        failed = self.t.deploy(self.local(self.conf("x"), self.restart(), {"run": {"command": ["false"], "undo": "none"}}))
        self.assert_exit(failed, 1)
        self.assert_says(failed, "had nothing of an earlier deployment")
        self.assertEqual(self.t.read("former"), b"\n")

    def test_what_was_there_before_is_asked_of_each_target(self):
        """`a` has never had a release and comes first; the service of `b` is restarted with its own former release."""
        targets = {name: {"local": {}, "base": os.path.join(self.t.dir, "base-" + name)} for name in ("a", "b")}
        command = ["sh", "-c", f"echo \"$DAVIT_FORMER_RELEASE\" >> {self.t.path('restarted')}"]
        restart = {"run": {"target": ["a", "b"], "command": ["true"], "after_undo": command}}

        def upload(*names):
            return [{"archive-upload": {"target": n, "source": "site", "path": self.t.path("app-" + n)}} for n in names]
        self.site("1")
        self.assert_exit(self.t.deploy({"targets": targets, "steps": upload("b")}), 0)
        release = os.readlink(self.t.path("app-b/current")).split("/")[1]
        self.site("2")
        failed = self.t.deploy({"targets": targets, "steps": [*upload("a", "b"), restart, {"run": {"target": "a", "command": ["false"], "undo": "none"}}]})
        self.assert_exit(failed, 1)
        self.assertEqual(self.t.read("restarted").decode().split("\n"), [release, ""])
        self.assertEqual(os.readlink(self.t.path("app-b/current")), "releases/" + release)
        self.assertFalse(os.path.lexists(self.t.path("app-a/current")))

    def test_an_after_undo_that_names_a_step_that_was_not_reached_does_not_run_the_expression(self):
        self.assert_exit(self.t.deploy(self.local(self.conf("one"))), 0)
        log = self.t.path("ran")
        steps = [self.conf("two"), {"run": {"command": ["false"], "undo": "none"}},
                 {"archive-upload": {"source": "site", "path": self.t.path("app")}, "id": "up"},
                 {"run": {"command": ["true"], "after_undo": ["sh", "-c", f"echo '${{{{ steps.up.outputs.release }}}}' > {log}"]}}]
        self.site("1")
        failed = self.t.deploy(self.local(*steps))
        self.assert_exit(failed, 1)
        self.assert_says(failed, "names what a step gives that was not reached")
        self.assertFalse(os.path.exists(log))

    def test_a_file_of_its_own_becomes_a_link_in_a_step_that_is_not_the_first(self):
        path = self.t.path("conf")
        self.site("1")
        first = {"archive-upload": {"source": "site", "path": self.t.path("app")}}
        as_file = {"apply": {"resources": [{"file": {"path": path, "content": "x"}}]}}
        as_link = {"apply": {"resources": [{"link": {"path": path, "to": "elsewhere"}}], "allow_destroy": [f"file:{path}"]}}
        back = {"apply": {"resources": [{"file": {"path": path, "content": "y"}}], "allow_destroy": [f"link:{path}"]}}
        self.assert_exit(self.t.deploy(self.local(as_file)), 0)
        self.assert_exit(self.t.deploy(self.local(first, as_link)), 0)
        self.assertEqual(os.readlink(path), "elsewhere")
        self.site("2")
        self.assert_exit(self.t.deploy(self.local(first, back, {"run": {"command": ["false"], "undo": "none"}})), 1)
        self.assertEqual(os.readlink(path), "elsewhere")
        self.assert_exit(self.t.deploy(self.local(first, back)), 0)
        self.assertEqual(self.t.read("conf"), b"y")

    def test_an_unchanged_deployment_restarts_nothing(self):
        restart = {"run": {"command": ["sh", "-c", f"echo x >> {self.t.path('restarts')}"], "undo": "none", "when": "changed"}}
        for content, count in (("one", 1), ("one", 1), ("two", 2)):
            self.assert_exit(self.t.deploy(self.local(self.conf(content), restart)), 0)
            self.assertEqual(self.t.read("restarts").decode().count("x"), count)

    def test_a_change_on_another_target_restarts_nothing_here(self):
        targets = {name: {"local": {}, "base": os.path.join(self.t.dir, "base-" + name)} for name in ("a", "b")}
        restart = {"run": {"target": ["a", "b"], "command": ["sh", "-c", f"echo x >> {self.t.path('restarts')}"], "undo": "none", "when": "changed"}}
        conf = {"apply": {"target": "a", "resources": [{"file": {"path": self.t.path("conf"), "content": "x"}}]}}
        self.assert_exit(self.t.deploy({"targets": targets, "steps": [conf, restart]}), 0)
        self.assertEqual(self.t.read("restarts").decode().count("x"), 1)

    def test_in_a_job_what_earlier_steps_changed_counts(self):
        job = Job(self.t)
        given = {"targets": json.dumps({"web": {"local": {}, "base": self.t.base}}), "target": "web", "deployment": "{name: shop, environment: test}"}
        command = json.dumps(["sh", "-c", f"echo x >> {self.t.path('restarts')}"])
        self.assertEqual(job.uses("run", **given, command=command, undo="none", when="changed").code, 0)
        self.assertFalse(os.path.exists(self.t.path("restarts")))
        self.assertEqual(job.uses("apply", **given, resources=json.dumps([{"file": {"path": self.t.path("conf"), "content": "x"}}])).code, 0)
        self.assertEqual(job.uses("run", **given, command=command, undo="none", when="changed").code, 0)
        self.assertEqual(self.t.read("restarts"), b"x\n")
        self.assertEqual(job.uses("finish", status="success").code, 0)

    @unittest.skipIf(os.geteuid() != 0, "only root becomes another user")
    def test_a_command_runs_as_the_user_that_is_named(self):
        os.chmod(self.t.target_dir, 0o777)
        run = {"run": {"command": ["sh", "-c", f"id -un > {self.t.path('who')}"], "undo": "none", "become_user": "nobody"}}
        self.assert_exit(self.t.deploy(self.local(run)), 0)
        self.assertEqual(self.t.read("who"), b"nobody\n")

    # ---- ends that nobody planned ----

    def begin(self, document, stdout, **more):
        for target in document["targets"].values():
            target.setdefault("base", self.t.base)
        with open(os.path.join(self.t.src, "d.yml"), "w", encoding="utf-8") as f:
            json.dump({"name": "shop", "environment": "test", **document}, f)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_"))}
        process = subprocess.Popen([*more.pop("before", []), DAVIT, "deploy", "d.yml"], cwd=self.t.src, env={**env, "DAVIT_STATE": self.t.state},
                                   stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.STDOUT, start_new_session=True, **more)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def waiting(self, name):
        """Changes a file, and then waits for another one."""
        self.t.write("go-on", b"") if name is None else None
        return self.local(self.conf("two"), {"run": {"command": ["sh", "-c", f"touch {self.t.path('begun')}; while [ ! -e {self.t.path('go-on')} ]; do sleep 0.05; done"],
                                                     "undo": "none"}})

    def test_each_signal_that_ends_a_session_is_an_undo(self):
        self.assert_exit(self.t.deploy(self.local(self.conf("one"))), 0)
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGINT):
            with self.subTest(signal=number):
                process = self.begin(self.waiting("x"), subprocess.DEVNULL)
                until(lambda: os.path.exists(self.t.path("begun")), "the command")
                self.assertEqual(self.t.read("etc/conf"), b"two")
                os.killpg(process.pid, number)
                self.assertEqual(process.wait(60), 130)
                self.assertEqual(self.t.read("etc/conf"), b"one")
                os.remove(self.t.path("begun"))

    def test_a_closed_terminal_is_an_undo(self):
        self.assert_exit(self.t.deploy(self.local(self.conf("one"))), 0)
        self.begin(self.waiting("x"), subprocess.DEVNULL).kill()
        pid, terminal = os.forkpty()
        if pid == 0:
            os.chdir(self.t.src)
            os.environ["DAVIT_STATE"] = self.t.state
            os.execv(DAVIT, [DAVIT, "deploy", "d.yml"])
        self.addCleanup(lambda: os.path.exists(f"/proc/{pid}") and os.kill(pid, signal.SIGKILL))
        until(lambda: os.path.exists(self.t.path("begun")), "the command")
        os.close(terminal)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 130)
        self.assertEqual(self.t.read("etc/conf"), b"one")

    def test_a_reader_that_goes_away_ends_no_deployment(self):
        read, write = os.pipe()
        process = self.begin(self.waiting("x"), write)
        os.close(write)
        os.close(read)
        until(lambda: os.path.exists(self.t.path("begun")), "the command")
        self.t.write("go-on", b"")
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(self.t.read("etc/conf"), b"two")

    def test_nohup_is_heeded(self):
        process = self.begin(self.waiting("x"), subprocess.DEVNULL, before=["nohup"])
        until(lambda: os.path.exists(self.t.path("begun")), "the command")
        os.killpg(process.pid, signal.SIGHUP)
        self.t.write("go-on", b"")
        self.assertEqual(process.wait(60), 0)

    def test_output_that_cannot_be_written_is_an_error_of_what_only_prints(self):
        self.assert_exit(self.t.deploy(self.local(self.conf("one"))), 0)
        for words in (["history"], ["show", "last"], ["schema", "run"], ["--help"], ["help", "agent"]):
            with self.subTest(words=words), open("/dev/full", "w", encoding="ascii") as full:
                done = subprocess.run([DAVIT, *words], env={**os.environ, "DAVIT_STATE": self.t.state}, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertIn("No space left on device", done.stderr)

    def test_a_job_whose_step_was_killed_half_way_is_not_committed_though_it_ends_well(self):
        self.assert_exit(self.t.deploy(self.local(self.conf("one"))), 0)
        job = Job(self.t)
        here = json.dumps({"web": {"local": {}, "base": self.t.base}})
        settled = job.uses("apply", targets=here, target="web", deployment="{name: other, environment: test}",
                           resources=json.dumps([{"file": {"path": self.t.path("other"), "content": "x"}}]))
        self.assertEqual(settled.code, 0, repr(settled))
        step = job.start("run", targets=here, target="web", deployment="{name: other, environment: test}", undo="none",
                         command=json.dumps(["sh", "-c", f"touch {self.t.path('begun')}; exec sleep 600"]))
        until(lambda: os.path.exists(self.t.path("begun")), "the command")
        step.process.kill()
        step.wait()
        done = job.uses("finish", status="success")
        self.assertEqual(done.code, 1, repr(done))
        self.assertIn("ended in the middle of its changes", repr(done))
        self.assertFalse(os.path.exists(self.t.path("other")))

    def test_a_job_whose_step_was_killed_between_two_targets_is_not_committed_though_it_ends_well(self):
        """At some of its records all that was intended is made, and the second target has not been begun."""
        log, between = self.t.path("log"), 0
        for at in range(1, 60):
            self.t.write("log", b"")
            job = Job(self.t, name=f"job-{at}")
            targets = json.dumps({n: {"local": {}, "base": f"{self.t.base}-{n}"} for n in ("a", "b")})
            job.env["DAVIT_TEST_KILL_AT"] = str(at)
            step = job.uses("run", targets=targets, target=json.dumps(["a", "b"]), deployment="{name: two, environment: test}",
                            command=json.dumps(["sh", "-c", f"echo on >> {log}"]), undo=json.dumps(["sh", "-c", f"echo off >> {log}"]))
            del job.env["DAVIT_TEST_KILL_AT"]
            done = job.uses("finish", status="success")
            lines = self.t.read("log").decode().split()
            if step.code == 0:
                break
            if lines.count("on") == 1:
                between += "did not come to its end" in repr(done)
                self.assertEqual((done.code, "off" in lines), (1, True), f"killed at record {at}: {done!r}")
        self.assertEqual((done.code, lines), (0, ["on", "on"]), f"{step!r} {done!r}")
        self.assertGreater(between, 0)


if __name__ == "__main__":
    main()
