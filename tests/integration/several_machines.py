#!/usr/bin/env python3
"""Machines that share a journal in PostgreSQL: one of them gets an environment, what a dead one left is undone by another, and one that was
taken for dead changes nothing any more."""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.fleet import Journal, Machine, Proxy, lay  # noqa: E402
from harness.trial import Case, Trial, main  # noqa: E402
from harness.waiting import until  # noqa: E402
from servers import postgres  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

LACKING = postgres.lacking()


@unittest.skipIf(LACKING, LACKING)
class Machines(Case):
    @classmethod
    def setUpClass(cls):
        cls.journal = cls.enterClassContext(Journal())
        cls.server = cls.enterClassContext(Sshd())

    def setUp(self):
        self.t = self.enterContext(Trial())
        self.journal.server.sql("davit", "SET client_min_messages TO warning; DROP SCHEMA IF EXISTS davit CASCADE")

    def machines(self, url=None):
        """The first one through a proxy, where its URL is given."""
        first = Machine(self.t, "first", url or self.journal.url())
        return first, Machine(self.t, "second", self.journal.url(), first)

    def lay(self, **more):
        lay(self.t, self.server.target(), **more)

    def begun(self):
        until(lambda: os.path.exists(self.t.path("begun")), "begun")

    def states(self, machine):
        return [d["state"] for d in machine.history()]

    def test_the_deployment_of_a_killed_machine_is_undone_by_another(self):
        """Its login and its undo were sealed; the other machine has neither the file nor the key of the host."""
        first, second = self.machines()
        self.lay(undo=["sh", "-c", f"echo $WORD > {self.t.path('undone')}"])
        path = os.path.join(self.t.src, "deploy.yml")
        with open(path, encoding="utf-8") as f:
            document = json.load(f)
        document["steps"][1]["run"]["env"] = {"WORD": "${{ secrets.WORD }}"}
        with open(path, "w", encoding="utf-8") as f:
            json.dump(document, f)
        first.env["WORD"] = "a-word-nobody-knows"
        first.killed("deploy", "deploy.yml", "--secret", "WORD", at=self.t.path("begun"))
        self.assertEqual(self.t.read("conf"), b"new")
        os.remove(path)
        recovered = second.run("recover", "--after", "1s")
        self.assert_exit(recovered, 0)
        self.assertEqual(self.t.read("conf"), b"old", repr(recovered))
        self.assertEqual(self.t.read("undone"), b"a-word-nobody-knows\n")
        self.assertEqual(self.states(first), ["undone"])
        self.assert_exit(first.run("recover"), 0)
        dump = self.journal.server.run("pg_dump", "-n", "davit", "davit")
        self.assertNotIn("a-word-nobody-knows", dump)
        self.assertEqual(self.journal.sql("SELECT count(*) FROM sealed"), "0")
        self.assertEqual(os.listdir(os.path.join(second.state, "owners")), [])

    def test_what_a_machine_left_before_anything_was_sealed_is_closed_by_another(self):
        """Nothing of it is on the targets, and nobody has its logins: the entry alone is left, and needs no watching."""
        first, second = self.machines()
        self.lay()
        first.env["DAVIT_TEST_KILL_AT"] = "1"
        killed = first.run("deploy", "deploy.yml")
        self.assertNotIn(killed.code, range(7), repr(killed))
        del first.env["DAVIT_TEST_KILL_AT"]
        self.assertEqual(self.states(second), ["preparing"])
        self.assertEqual(self.journal.sql("SELECT count(*) FROM sealed"), "0")
        self.assert_exit(second.run("recover", timeout=60), 0)
        self.assertEqual(self.states(second), ["refused"])
        self.assertEqual(self.journal.sql("SELECT count(*) FROM deployment WHERE holds=1 OR owner IS NOT NULL"), "0")
        self.assertEqual(self.t.read("conf"), b"old")

    def test_of_two_that_want_an_environment_one_gets_it(self):
        first, second = self.machines()
        self.lay()
        with first.start("deploy", "deploy.yml") as one:
            self.begun()
            refused = second.run("deploy", "deploy.yml")
            self.assert_exit(refused, 5)
            for words in (("recover",), ("recover", "last")):
                second.run(*words)
            self.assertEqual(os.listdir(os.path.join(second.state, "owners")), [])
            self.assertEqual(self.t.read("conf"), b"new")
            self.t.write("go-on", b"")
            out, _ = one.communicate(timeout=120)
        self.assertEqual(one.returncode, 0, out)
        self.assert_exit(second.run("deploy", "deploy.yml"), 0)
        self.assertEqual(self.states(second), ["committed", "refused", "committed"])

    def test_two_that_begin_at_once_never_both_change_the_environment(self):
        first, second = self.machines()
        self.t.write("go-on", b"")
        self.lay()
        for _ in range(2):
            both = [m.start("deploy", "deploy.yml") for m in (first, second)]
            said = [p.communicate(timeout=120)[0] for p in both]
            codes = sorted(p.returncode for p in both)
            self.assertIn(codes, ([0, 0], [0, 5]), said)
        self.assertEqual(self.journal.sql("SELECT count(*) FROM deployment WHERE holds=1"), "0")
        self.assertEqual(self.journal.sql("SELECT count(*) FROM deployment WHERE owner IS NOT NULL"), "0")

    def test_one_that_was_cut_off_and_taken_over_changes_nothing_any_more(self):
        with Proxy(self.journal.server.port) as proxy:
            first, second = self.machines(self.journal.url(proxy.port))
            self.lay()
            with first.start("deploy", "deploy.yml") as one:
                self.begun()
                proxy.order("refuse")
                recovered = second.run("recover", "--after", "1s")
                proxy.order("pass")
                self.t.write("go-on", b"")
                out, _ = one.communicate(timeout=120)
            self.assertEqual(self.t.read("conf"), b"old", repr(recovered) + out.decode())
            self.assertNotEqual(one.returncode, 0)
            # As it finds the lock at its next renewal or command: already given back, or still the other's.
            self.assertRegex(out, b"is gone|was taken over")
        self.assertEqual(self.states(second), ["undone"], repr(recovered))

    def test_the_machine_itself_is_changed_by_its_own_davit_alone(self):
        first, second = self.machines()
        lay(self.t, {"local": {}})
        first.killed("deploy", "deploy.yml", at=self.t.path("begun"))
        self.assert_exit(second.run("recover", "--after", "1s"), 0)
        self.assertEqual(self.t.read("conf"), b"new")
        for words in (("recover", "last", "--after", "1s"), ("deploy", "deploy.yml"), ("deploy", "deploy.yml", "--plan"), ("rollback", "last")):
            refused = second.run(*words)
            self.assertNotEqual(refused.code, 0, repr(refused))
            self.assert_says(refused, "lies on the machine")
        self.assertEqual(self.t.read("conf"), b"new")
        self.assert_exit(first.run("recover"), 0)
        self.assertEqual(self.t.read("conf"), b"old")

    def test_a_job_between_two_of_its_steps_is_taken_over_with_a_person_s_word_only(self):
        first, second = self.machines()
        temp = os.path.join(self.t.dir, "temp")
        os.mkdir(temp)
        first.env.update(GITHUB_ACTIONS="true", GITHUB_RUN_ID="1", GITHUB_RUN_ATTEMPT="1", GITHUB_JOB="deploy", GITHUB_REPOSITORY="acme/shop",
                         GITHUB_SERVER_URL="https://github.com", GITHUB_WORKSPACE=self.t.src, RUNNER_TEMP=temp, RUNNER_TRACKING_ID="x")
        self.t.write("conf", b"old")
        step = {"deployment": {"name": "shop", "environment": "test"}, "targets": {"web": {**self.server.target(), "base": self.t.base}},
                "target": "web", "resources": [{"file": {"path": self.t.path("conf"), "content": "new"}}]}
        self.assert_exit(first.run("step", "apply", "--input", "-", given=json.dumps(step)), 0)
        refused = second.run("recover", "last", "--after", "1s")
        self.assert_exit(refused, 5)
        self.assert_says(refused, "which may go on", "--takeover")
        self.assertEqual(self.states(second), ["open"])
        # Nobody said how the job ended: held, and any machine rolls it back.
        self.assert_exit(second.run("recover", "last", "--takeover", "--after", "1s"), 4)
        self.assertEqual(self.states(first), ["held"])
        self.assert_exit(second.run("rollback", "last"), 0)
        self.assertEqual(self.t.read("conf"), b"old")

    def test_a_plan_that_waits_for_people_is_agreed_to_from_another_machine(self):
        first, second = self.machines()
        key = os.path.join(self.t.dir, "key")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        with open(key + ".pub", encoding="ascii") as f:
            public = " ".join(f.read().split()[:2])
        for machine in (first, second):
            with open(os.path.join(machine.state, "approvers"), "w", encoding="ascii") as f:
                f.write(f"ann {public}\n")
        self.t.write("go-on", b"")
        self.lay(steps=[{"approve": {"by": ["ann"]}}])
        self.assert_exit(first.run("deploy", "deploy.yml"), 7)
        (parked,) = first.history()
        statement = second.run("approve", parked["id"], "--statement").out
        signed = subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "davit-approval", "-f", key], input=statement, capture_output=True,
                                text=True, check=True).stdout
        with open(os.path.join(self.t.src, "signature"), "w", encoding="ascii") as f:
            f.write(signed)
        self.assert_exit(second.run("approve", parked["id"], "--signature", "signature"), 0)
        self.assertEqual(self.t.read("conf"), b"new")
        self.assertEqual(self.states(first), ["committed"])


if __name__ == "__main__":
    main()
