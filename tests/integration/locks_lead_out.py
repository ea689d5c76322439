#!/usr/bin/env python3
"""Locks of the dead lead out, by a command that is printed: the journal on another machine, a second machine that died in its undo, nothing
sealed; and a directory for davit's own state that cannot be removed is no lock."""
import json
import os
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import DAVIT, Case, Trial, main  # noqa: E402
from harness.waiting import until  # noqa: E402
from servers.sshd import Account, Sshd  # noqa: E402


class LeadOut(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())

    def lay(self, undo="none", resources=None, **more):
        """A deployment that changes a file and then waits until `go-on` is there. resources: the file that holds the desired state."""
        wanted = {"resources": [{"file": {"path": self.t.path("conf"), "content": "new"}}]}
        if resources:
            with open(os.path.join(self.t.src, resources), "w", encoding="utf-8") as f:
                json.dump(wanted, f)
        wait = f"touch {self.t.path('begun')}; while [ ! -e {self.t.path('go-on')} ]; do sleep 0.02; done"
        document = {"name": "shop", "environment": "test", "targets": {"web": {"local": {}, "base": self.t.base}}, "steps": [
            {"apply": {"file": resources} if resources else wanted},
            {"run": {"command": ["sh", "-c", wait], "undo": undo}}], **more}
        self.t.write("conf", b"old")
        with open(os.path.join(self.t.src, "deploy.yml"), "w", encoding="utf-8") as f:
            json.dump(document, f)

    def killed(self, *words, state=None, at="begun"):
        """davit, killed when `at` is there."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_"))}
        with subprocess.Popen([DAVIT, *words], cwd=self.t.src, env={**env, "DAVIT_STATE": state or self.t.state}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as davit:
            try:
                until(lambda: os.path.exists(self.t.path(at)), at)
            finally:
                davit.send_signal(signal.SIGKILL)

    def next_one_works(self):
        self.t.write("go-on", b"")
        self.assert_exit(self.t.run("deploy", "deploy.yml"), 0)
        self.assertEqual(self.t.read("conf"), b"new")

    def taken_over(self):
        """The first machine asks, is told the command, and gives it."""
        for words in (("recover", "deploy.yml"), ("deploy", "deploy.yml")):
            refused = self.t.run(*words)
            self.assert_exit(refused, 5)
            self.assert_says(refused, "davit recover FILE --takeover")
        taken = self.t.run("recover", "deploy.yml", "--takeover", "--after", "1s")
        self.assert_exit(taken, 0)
        self.assertEqual(self.t.read("conf"), b"old", repr(taken))

    def test_what_a_desired_state_file_names_is_taken_back_by_another_machine(self):
        self.lay(undo="true", resources="state.yml")
        self.killed("deploy", "deploy.yml", state=os.path.join(self.t.dir, "other-state"))
        self.taken_over()
        self.next_one_works()

    def test_another_machine_takes_back_nothing_that_the_desired_state_file_does_not_name(self):
        self.lay(undo="true", resources="state.yml")
        self.killed("deploy", "deploy.yml", state=os.path.join(self.t.dir, "other-state"))
        with open(os.path.join(self.t.src, "state.yml"), "w", encoding="utf-8") as f:
            json.dump({"resources": [{"file": {"path": self.t.path("other"), "content": "new"}}]}, f)
        taken = self.t.run("recover", "deploy.yml", "--takeover", "--after", "1s")
        self.assert_exit(taken, 4)
        self.assert_says(taken, "about a path that its step does not name")
        os.remove(os.path.join(self.t.src, "state.yml"))
        self.assert_exit(self.t.run("recover", "deploy.yml", "--takeover", "--after", "1s"), 4)
        self.assertEqual(self.t.read("conf"), b"new")

    def test_the_journal_comes_to_a_machine_of_another_id(self):
        self.lay(undo="true")
        self.killed("deploy", "deploy.yml")
        # What a container made anew on its volume finds: its own journal, made on a machine of another id.
        path = os.path.join(self.t.state, "store-id")
        with open(path, encoding="ascii") as f:
            was = json.load(f)
        with open(path, "w", encoding="ascii") as f:
            json.dump({**was, "machine_id": "0" * 32}, f)
        self.taken_over()
        self.next_one_works()

    def test_the_first_machine_comes_back_after_the_second_died_in_its_undo(self):
        other = os.path.join(self.t.dir, "other-state")
        undo = f"touch {self.t.path('undoing')}; while [ ! -e {self.t.path('go-on')} ]; do sleep 0.02; done"
        self.lay(undo=["sh", "-c", undo])
        self.killed("deploy", "deploy.yml")
        self.killed("recover", "deploy.yml", "--takeover", "--after", "1s", state=other, at="undoing")
        self.t.write("go-on", b"")
        self.taken_over()
        self.next_one_works()

    def test_nothing_was_sealed_and_it_died_before_its_first_change(self):
        """In the baseline of its gate: the locks are taken, and nothing is changed."""
        self.lay(seal=False, undo="true")
        path = os.path.join(self.t.src, "deploy.yml")
        with open(path, encoding="utf-8") as f:
            document = json.load(f)
        check = document["steps"][1]["run"]["command"]
        document["steps"][1] = {"health-gate": {"deadline": "30s", "checks": [{"command": check, "target": "web"}]}}
        with open(path, "w", encoding="utf-8") as f:
            json.dump(document, f)
        self.killed("deploy", "deploy.yml")
        self.assertEqual(self.t.read("conf"), b"old")
        self.assertTrue(os.path.exists(os.path.join(self.t.base, "open", "shop.test", "lock")))
        for words, code in ((("deploy", "deploy.yml"), 5), (("recover",), 4)):
            refused = self.t.run(*words)
            self.assert_exit(refused, code)
            self.assert_says(refused, "davit recover FILE --secret NAME")
        self.assert_exit(self.t.run("recover", "deploy.yml"), 0)
        self.assertFalse(os.path.exists(self.t.base))
        self.next_one_works()

    @unittest.skipIf(Sshd.can_have_disk() or Sshd.can_have_accounts(), "file systems and accounts of its own need root")
    def test_a_base_that_is_a_file_system_of_its_own_stays(self):
        with Sshd(disk="4m") as server:
            self.twice(server.target(base=server.folder + "/disk"))

    @unittest.skipIf(Sshd.can_have_accounts(), "accounts of its own need root")
    def test_a_base_that_an_administrator_made_stays(self):
        base = os.path.join(self.t.dir, "srv", "davit")
        os.makedirs(base, 0o755)
        with Sshd(accounts={"deploy": Account("x")}) as server:
            with open(os.path.join(server.folder, "passwd"), encoding="utf-8") as f:
                uid = next(int(line.split(":")[2]) for line in f if line.startswith("deploy:"))
            os.chown(base, uid, -1)
            os.chmod(base, 0o700)
            os.chmod(self.t.target_dir, 0o777)
            target = server.target(base=base)
            target["ssh"]["user"] = "deploy"
            self.twice(target)
            self.assertTrue(os.path.isdir(base))

    def twice(self, target):
        path = self.t.path("conf")
        for content in ("one", "two"):
            result = self.t.deploy({"targets": {"web": dict(target)}, "steps": [{"apply": {"resources": [{"file": {"path": path, "content": content}}]}}]})
            self.assert_exit(result, 0)
            self.assert_silent(result, "warning")
            self.assertEqual(self.t.read("conf"), content.encode())
        self.assert_exit(self.t.run("recover"), 0)


if __name__ == "__main__":
    main()
