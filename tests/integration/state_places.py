#!/usr/bin/env python3
"""The state of an environment at places of its own: each keeps to what every place keeps to, and whatever happens on the way, the document, the targets and the
journal end as one of the two: all of the deployment, or nothing of it."""
import contextlib
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.fleet import Journal  # noqa: E402
from harness.trial import BUILD, DAVIT, Case, Trial, main  # noqa: E402
from servers import postgres  # noqa: E402
from servers.bare_s3 import BareS3  # noqa: E402
from servers.s3 import Ceph  # noqa: E402
from servers.terraform_state import StateServer  # noqa: E402

STRIDE = int(os.environ.get("STATE_STRIDE", "6"))


class Keeps(Case):
    """The contract suite: tests/unit/engine/state/state_test.c; the journal in SQLite is its ordinary run."""

    def suite(self, **env):
        result = subprocess.run([os.path.join(BUILD, "tests", "test_state")], env={**os.environ, **env}, capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_an_http_address_keeps_to_what_every_place_keeps_to(self):
        with StateServer(password="pw", many=True) as server:
            self.suite(DAVIT_TEST_STATE=json.dumps({"http": {"address": server.url + "/%", "username": "davit", "password": "pw"}}))
            self.assertEqual(server.broken, [])

    @unittest.skipIf(postgres.lacking(), postgres.lacking())
    def test_a_journal_in_postgresql_keeps_to_what_every_place_keeps_to(self):
        with Journal() as journal, Trial() as t:
            self.assert_exit(t.run("journal", "use", journal.url()), 0)
            self.suite(DAVIT_TEST_JOURNAL=journal.url(), DAVIT_TEST_KEY=t.run("journal", "key").out.strip())


class InTheJournal(Case):
    def test_a_damaged_row_is_refused_with_the_version_that_brings_it_back(self):
        t = self.enterContext(Trial())
        made = {"targets": {"web": {"local": {}}}, "steps": [{"apply": {"resources": [{"file": {"path": t.path("a"), "content": "one\n"}}]}}]}
        self.assert_exit(t.deploy(made), 0)
        with contextlib.closing(sqlite3.connect(os.path.join(t.state, "journal.db"))) as db, db:
            db.execute("UPDATE state SET row = substr(row, 1, 9) WHERE target = 'web'")
        for options in ((), ("--plan",)):
            result = t.deploy(made, *options)
            self.assert_exit(result, 2)
            self.assert_says(result, "the state of shop.test in the journal is damaged", "davit state FILE --restore 1")
        self.assert_exit(t.run("state", "deploy.yml"), 2)
        self.assert_exit(t.run("state", "deploy.yml", "--restore", "1"), 0)
        self.assert_says(t.deploy(made, "--plan"), "Nothing to change")
        self.assertEqual([v["serial"] for v in json.loads(t.run("state", "last", "--json").out)["versions"]], [2, 1])


class At(Case):
    """What both services are held to; a place: what its document and its lock are."""

    def setUp(self):
        self.t = self.enterContext(Trial())
        self.count = 0

    def place(self):
        raise NotImplementedError

    def document(self, content="one\n", names=("a", "b", "c"), **more):
        files = [{"file": {"path": self.t.path(name), "content": content}} for name in names]
        return {"targets": {"web": {"local": {}}, "shared": self.place()}, "state": "shared",
                "steps": [{"apply": {"target": "web", "resources": files, **more}}]}

    def deploy(self, *args, env=None, **given):
        return self.t.deploy(self.document(**given), *args, secrets={"PW": "pw-of-the-place"}, env=env)

    def recover(self):
        return self.t.run("recover", "deploy.yml", "--secret", "PW", env={"PW": "pw-of-the-place"})

    def state(self, *args):
        return self.t.run("state", "deploy.yml", "--secret", "PW", *args, env={"PW": "pw-of-the-place"})

    def rows(self):
        held = self.held()
        return sorted(held["rows"].get("web", {})) if held else []

    def check_kills(self):
        """Killed behind any record, with what is there before: nothing, or a state."""
        for before in (False, True):
            if before:
                self.assert_exit(self.deploy(content="former\n"), 0)
            n, died = 1, True
            while died:
                result = self.deploy(content=f"{before} {n}\n", env={"DAVIT_TEST_KILL_AT": str(n)})
                died = result.code == -signal.SIGKILL
                self.assertIn(self.recover().code if died else 0, (0, 2), n)
                self.check_one_of_two(before, n, died)
                n += STRIDE if died else 0

    def check_one_of_two(self, before, n, died):
        new = f"{before} {n}\n".encode()
        there = {self.t.read(name) if os.path.exists(self.t.path(name)) else None for name in "abc"}
        self.assertEqual(len(there), 1, f"{before} {n}: {there}")
        content = there.pop()
        rows = self.held()["rows"].get("web", {}) if self.held() else {}
        self.assertEqual(len(rows), 3 if content is not None else 0, f"{before} {n}")
        if content is not None:
            digests = {row["digest"] for row in rows.values()}
            self.assertEqual(digests, {hashlib.sha256(content).hexdigest()}, f"{before} {n}")
        self.assertIsNone(self.lock(), f"{before} {n}")
        if not died:
            self.assertEqual(content, new)


class Http(At):
    def setUp(self):
        super().setUp()
        self.server = self.enterContext(StateServer(password="pw-of-the-place"))

    def tearDown(self):
        self.assertEqual(self.server.broken, [])

    def place(self):
        return {"http": {"address": self.server.url, "username": "davit", "password": "${{ secrets.PW }}"}}

    def held(self):
        return json.loads(self.server.state) if self.server.state else None

    def lock(self):
        return self.server.lock

    def test_one_killed_behind_any_record_is_recovered_to_one_of_the_two(self):
        self.check_kills()

    def test_one_killed_once_the_document_was_written_and_before_anybody_knew_is_taken_back(self):
        self.assert_exit(self.deploy(), 0)
        first = self.held()
        with open(os.path.join(self.t.src, "deploy.yml"), "w") as f:
            json.dump({"name": "shop", "environment": "test", **self.document(content="two\n", names="ab", allow_destroy=[f"file:{self.t.path('c')}"])}, f)
        davit = subprocess.Popen([DAVIT, "deploy", "deploy.yml", "--secret", "PW"], cwd=self.t.src, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL, start_new_session=True, env={**os.environ, "DAVIT_STATE": self.t.state, "PW": "pw-of-the-place"})
        self.server.faults = ["kill after"]
        self.server.on_kill = lambda: os.killpg(davit.pid, signal.SIGKILL)
        davit.wait()
        self.assertEqual(self.held()["serial"], 2)
        self.assertEqual(self.rows(), [f"file:{self.t.path(n)}" for n in "ab"])
        self.assertIsNotNone(self.lock())
        self.assert_exit(self.recover(), 0)
        self.assertEqual(self.held()["serial"], 3)
        self.assertEqual(self.held()["rows"], first["rows"])
        self.assertEqual(self.t.read("c"), b"one\n")
        self.assertIsNone(self.lock())

    def test_a_write_of_which_nobody_knows_is_settled_by_looking(self):
        for i, faults in enumerate((["500 before"], ["500 after"], ["cut after"], ["500 before", "cut after"])):
            self.server.faults = list(faults)
            self.assert_exit(self.deploy(content=f"{i}\n"), 0)
            self.assertEqual((self.held()["serial"], self.server.faults), (i + 1, []))
            self.assertIsNone(self.lock())

    def test_another_writer_is_named_and_the_deployment_undone(self):
        self.assert_exit(self.deploy(), 0)
        self.server.other, former = self.server.state, None
        self.assert_exit(self.deploy(content="two\n"), 0)
        former = self.server.state
        self.server.faults = ["other"]
        result = self.deploy(content="three\n")
        self.assert_exit(result, 1)
        first = json.loads(self.server.other)["deployment"]
        self.assert_says(result, f"it was written by {first} at", "serial 1", "the state was not written")
        self.assertEqual(self.t.read("a"), b"two\n")
        self.assertNotEqual(self.server.state, former)
        self.assertIsNone(self.lock())

    def test_a_place_that_stays_away_leaves_it_to_a_recovery(self):
        self.assert_exit(self.deploy(), 0)
        self.server.faults = ["away"]
        result = self.deploy(content="two\n")
        self.assert_exit(result, 4)
        self.assert_says(result, "davit recover")
        self.assertEqual(self.t.read("a"), b"one\n")
        self.server.away = False
        self.assert_exit(self.recover(), 0)
        self.assertEqual(self.t.read("a"), b"one\n")
        self.assertEqual(len(self.rows()), 3)
        self.assertIsNone(self.lock())

    def test_a_lock_of_the_living_is_waited_for_or_told_and_of_the_dead_needs_proof(self):
        self.server.lock = {"ID": "x-1", "Operation": "OperationTypeApply", "Who": "ann@elsewhere", "Created": "2026-11-30T09:00:00Z", "Info": ""}
        result = self.deploy()
        self.assert_exit(result, 5)
        self.assert_says(result, "locked by ann@elsewhere since 2026-11-30T09:00:00Z (lock x-1)", "davit state FILE --unlock")
        self.assertFalse(os.path.exists(self.t.path("a")))
        refused = self.state("--unlock")
        self.assert_exit(refused, 5)
        self.assert_says(refused, "ann@elsewhere", "--takeover")
        self.assert_exit(self.state("--unlock", "--takeover"), 0)
        self.assertIsNone(self.lock())
        self.assert_exit(self.deploy(), 0)

    def test_a_lock_that_a_decided_deployment_left_is_taken(self):
        self.assert_exit(self.deploy(), 0)
        self.deploy(content="two\n", env={"DAVIT_TEST_KILL_AT": "12"})
        held = self.lock()
        self.assertIsNotNone(held)
        self.assert_exit(self.recover(), 0)
        self.server.lock = held
        self.assert_exit(self.deploy(content="three\n"), 0)
        self.assertIsNone(self.lock())

    def test_a_machine_that_takes_a_deployment_over_takes_its_lock_and_writes_the_rows_of_before(self):
        self.assert_exit(self.deploy(), 0)
        first = self.held()["rows"]
        gone = [f"file:{self.t.path('c')}"]
        self.assertEqual(self.deploy(content="two\n", names="ab", allow_destroy=gone, env={"DAVIT_TEST_KILL_AT": "12"}).code, -signal.SIGKILL)
        dead, machine = self.lock(), self.t.state
        self.assertIsNotNone(dead)
        self.t.state += "-of-another"
        self.assert_exit(self.t.run("recover", "deploy.yml", "--secret", "PW", env={"PW": "pw-of-the-place"}), 5)
        self.assertEqual(self.lock(), dead)
        taken = self.t.run("recover", "deploy.yml", "--takeover", "--after", "1s", "--secret", "PW", env={"PW": "pw-of-the-place"})
        self.assert_exit(taken, 0)
        self.assertEqual([self.t.read(name) for name in "abc"], [b"one\n"] * 3)
        self.assertEqual(self.held()["rows"], first)
        self.assertIsNone(self.lock())
        self.assert_says(self.deploy("--plan"), "Nothing to change")
        self.assertNotEqual(machine, self.t.state)

    def test_a_hostile_holder_does_not_write_on_the_terminal(self):
        for holder in (b'{"ID":"\\u001b[2J","Who":"\\u001b]0;x\\u0007","Created":"\\u202e"}', b"\x1b[2J", b"[]", b"{" * 60000, b"x" * 70000):
            self.server.holder = holder
            result = self.deploy()
            self.assertIn(result.code, (2, 5), repr(result))
            self.assertNotIn("\x1b", result.text)
            self.assertNotIn("\u202e", result.text)

    def test_a_damaged_a_newer_and_a_foreign_state_are_told_apart_and_a_good_one_comes_back(self):
        self.assert_exit(self.deploy(), 0)
        self.assert_exit(self.deploy(content="two\n"), 0)
        good = self.server.state
        for damage in (good[:100], good.replace(b'"serial":2', b'"serial":9'), b"", b"\xff\xfe", b"x" * (17 << 20)):
            self.server.state = damage
            result = self.deploy(content="three\n")
            self.assert_exit(result, 2)
            self.assertEqual(self.t.read("a"), b"two\n")
            if len(damage) < 1 << 20:
                self.assert_says(result, "it is damaged", "the last good version is 2", "--restore 2")
        self.assert_exit(self.state(), 2)
        for foreign, says in ((b'{"version":4,"terraform_version":"1.11.4","serial":1,"lineage":"x"}', "terraform's state, not davit's"),
                              (b'{"version":7,"davit":"9.9","name":"shop.test","serial":1}', "version 7, written by davit 9.9")):
            self.server.state = foreign
            self.assert_says(self.deploy(content="three\n"), says)
            self.assertNotEqual(self.state("--restore", "2").code, 0)
        self.server.state = good[:100]
        self.assert_exit(self.state("--restore", "2"), 0)
        self.assertEqual(self.held()["rows"], json.loads(good)["rows"])
        self.assert_exit(self.deploy(content="four\n"), 0)

    def test_a_login_that_may_not_write_is_found_before_the_first_change(self):
        self.server.password = "another"
        result = self.deploy()
        self.assert_exit(result, 2)
        self.assert_says(result, "401", "`username` and `password`")
        self.assertFalse(os.path.exists(self.t.path("a")))

    def test_what_another_machine_made_is_known_here_and_no_secret_lies_there(self):
        self.assert_exit(self.deploy(), 0)
        self.assertNotIn(b"pw-of-the-place", self.server.state)
        for path, content in self.t.files_of(self.t.state, self.t.base):
            self.assertNotIn(b"pw-of-the-place", content, path)
        self.t.state += "-of-another"
        plan = self.deploy("--plan", names="ab")
        self.assert_says(plan, "left the desired state and would be destroyed")
        self.assert_says(self.deploy("--plan"), "Nothing to change")
        self.assert_exit(self.deploy(names="ab", allow_destroy=[f"file:{self.t.path('c')}"]), 0)
        self.assertEqual(len(self.rows()), 2)


class Bare(At):
    """A bucket of a service that does what it is told to."""

    def setUp(self):
        super().setUp()
        self.s3 = self.enterContext(BareS3())

    def place(self):
        return self.s3.target()

    def object(self, name):
        found = self.s3.objects.get(f"/bare/davit/state/shop.test/{name}")
        return json.loads(found) if found else None

    def held(self):
        return self.object("state.json")

    def lock(self):
        return self.object("lock")

    def test_each_form_of_condition_keeps_to_what_every_place_keeps_to(self):
        for conditions in ("honoured", "bare"):
            self.s3.conditions = conditions
            Keeps.suite(self, DAVIT_TEST_STATE=json.dumps(self.place()))

    def test_a_write_of_which_nobody_knows_is_settled_by_looking(self):
        for i, faults in enumerate((["500 before"], ["500 after"], ["cut after"], ["409"], ["412"], ["slow"], ["500 before", "cut after"])):
            self.s3.faults = list(faults)
            self.assert_exit(self.deploy(content=f"{i}\n"), 0)
            self.assertEqual((self.held()["serial"], self.s3.faults), (i + 1, []))
            self.assertIsNone(self.lock())

    def test_a_lock_of_which_nobody_knows_is_settled_by_looking(self):
        self.s3.faulty = "lock"
        for i, fault in enumerate(("500 before", "500 after", "cut after", "409")):
            self.s3.faults = [fault]
            self.assert_exit(self.deploy(content=f"{i}\n"), 0)
            self.assertEqual(self.s3.faults, [])
            self.assertIsNone(self.lock())


    def test_a_login_that_may_read_but_not_write_is_found_before_the_first_change(self):
        self.assert_exit(self.deploy(), 0)
        self.s3.read_only = True
        self.assert_exit(self.deploy("--plan", content="two\n"), 0)
        result = self.deploy(content="two\n")
        self.assert_exit(result, 2)
        self.assert_says(result, "403 AccessDenied", "read, write and delete")
        self.assertEqual(self.t.read("a"), b"one\n")


class Bucket(At):
    @classmethod
    def setUpClass(cls):
        why = Ceph.why_not()
        if why:
            raise unittest.SkipTest(why)
        cls.s3 = Ceph()
        cls.addClassCleanup(cls.s3.stop)
        cls.s3.start()
        cls.number = 0

    def setUp(self):
        super().setUp()
        Bucket.number += 1
        self.name = f"state-{Bucket.number}"
        self.s3.bucket(self.name)
        self.provider = {"provider": "ceph"}

    def place(self):
        return self.s3.target(self.name, **self.provider)

    def object(self, name):
        status, body = self.s3.request("GET", f"/{self.name}/davit/state/shop.test/{name}")
        return json.loads(body) if status == 200 else None

    def held(self):
        return self.object("state.json")

    def lock(self):
        return self.object("lock")

    def test_a_bucket_keeps_to_what_every_place_keeps_to(self):
        for provider in ({"provider": "ceph"}, {}):
            Keeps.suite(self, DAVIT_TEST_STATE=json.dumps(self.s3.target(self.name, **provider)))

    def test_one_killed_behind_any_record_is_recovered_to_one_of_the_two(self):
        self.check_kills()

    def test_versions_lie_beside_the_state_and_a_damaged_one_goes_back(self):
        self.assert_exit(self.deploy(), 0)
        self.assert_exit(self.deploy(content="two\n"), 0)
        self.assertEqual([key.split("/")[-1] for key in self.s3.keys(self.name, "davit/state/shop.test/versions/")], ["1.json", "2.json"])
        self.s3.request("PUT", f"/{self.name}/davit/state/shop.test/state.json", b'{"davit"')
        result = self.deploy(content="three\n")
        self.assert_exit(result, 2)
        self.assert_says(result, "it is damaged", "the last good version is 2")
        self.assert_exit(self.state("--restore", "2"), 0)
        self.assertEqual(self.held()["serial"], 3)
        self.assert_exit(self.deploy(content="three\n"), 0)

    def test_a_holder_who_renews_lives_and_one_who_stands_still_is_gone(self):
        lock = {"ID": "x-1", "Operation": "OperationTypeApply", "Who": "ann@elsewhere", "Created": "2026-11-30T09:00:00Z", "Info": "{}"}
        self.s3.request("PUT", f"/{self.name}/davit/state/shop.test/lock", json.dumps(lock).encode())
        result = self.deploy()
        self.assert_exit(result, 5)
        self.assert_says(result, "locked by ann@elsewhere since")
        self.assert_exit(self.state("--unlock"), 5)
        self.assert_exit(self.state("--unlock", "--takeover", "--after", "300ms"), 0)
        self.assertIsNone(self.lock())
        self.assert_exit(self.deploy(), 0)

    def test_a_bucket_that_is_not_there_is_no_empty_state(self):
        self.name = "nobody-made-it"
        result = self.deploy("--plan")
        self.assert_exit(result, 2)
        self.assert_says(result, "make the bucket")


del At
if __name__ == "__main__":
    main()
