#!/usr/bin/env python3
"""D3: a rollback restored the code but not the data."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.database import DatabaseCase  # noqa: E402
from harness.trial import main  # noqa: E402

MIGRATION = "ALTER TABLE sale RENAME cents TO pence; DELETE FROM sale WHERE id > 500"


class Rollback(DatabaseCase):
    def state(self):
        with open(self.t.path("www/current/VERSION")) as f:
            version = f.read()
        return version, self.t.read("uploads/photo"), self.content()

    def release(self, version, *more, ask=False):
        os.makedirs(os.path.join(self.t.src, "app"), exist_ok=True)
        with open(os.path.join(self.t.src, "app", "VERSION"), "w") as f:
            f.write(version)
        return self.deploy(
            {"snapshot": {"files": {"paths": [self.t.path("uploads")], "restore_on_rollback": ask}}},
            self.snapshot(restore_on_rollback=ask, prove=ask),
            {"archive-upload": {"source": "app", "path": self.t.path("www")}},
            *more)

    def migrate(self):
        return [self.sql(MIGRATION), {"run": {"command": ["sh", "-c", f"echo new > {self.t.path('uploads/photo')}"], "undo": "none"}}]

    def setUp(self):
        super().setUp()
        self.t.write("uploads/photo", b"old")
        self.assert_exit(self.release("1"), 0)
        self.before = self.state()

    def newest(self):
        return json.loads(self.t.run("history", "--json").out)[0]["id"]

    def test_a_failed_deployment_puts_back_every_snapshot_that_asks_for_it(self):
        result = self.release("2", *self.migrate(), {"run": {"command": ["false"], "undo": "none"}}, ask=True)
        self.assert_exit(result, 1)
        self.assertEqual(self.state(), self.before)
        self.assertLess(result.text.index("put back the database"), result.text.index("put back " + self.t.path("uploads")), "newest first")

    def test_a_committed_one_goes_back_with_its_data(self):
        self.assert_exit(self.release("2", *self.migrate()), 0)
        self.assertNotEqual(self.state(), self.before)
        self.assert_exit(self.t.run("rollback", self.newest(), "--data"), 0)
        self.assertEqual(self.state(), self.before)

    def assert_nothing_is_left(self):
        self.assert_no_databases_of_davit()
        open_ = os.path.join(self.t.base, "open")
        self.assertEqual(os.listdir(open_) if os.path.isdir(open_) else [], [])

    def test_a_rollback_whose_gate_fails_leaves_the_newer_version_with_its_data(self):
        ill = {"health-gate": {"deadline": "1s", "checks": [{"command": ["sh", "-c", f"test $(cat {self.t.path('www/current/VERSION')}) = 2"]}]}}
        self.assert_exit(self.release("2", *self.migrate(), ill), 0)
        after = self.state()
        result = self.t.run("rollback", self.newest(), "--data")
        self.assert_exit(result, 1)
        self.assertEqual(self.state(), after)
        self.assert_nothing_is_left()

    def test_what_it_puts_back_is_recorded_newest_first_and_a_rollback_of_it_brings_the_newer_data_again(self):
        self.assert_exit(self.release("2", *self.migrate()), 0)
        after = self.state()
        self.assert_exit(self.t.run("rollback", self.newest(), "--data"), 0)
        changes = json.loads(self.t.run("show", "last", "--json").out)["changes"]
        self.assertEqual([(c["kind"], c["state"]) for c in changes],
                         [("link", "done"), *[("snapshot", "done"), ("restore", "done")] * 2])
        self.assertEqual([os.path.basename(c["path"]) for c in changes[1::2]], ["1", "0"])
        self.assert_exit(self.t.run("rollback", self.newest(), "--data"), 0)
        self.assertEqual(self.state(), after)
        self.assert_nothing_is_left()

    def test_killed_behind_any_of_its_records_it_is_back_where_it_was_or_whole(self):
        self.assert_exit(self.release("2", *self.migrate()), 0)
        after, second, counter = self.state(), self.newest(), self.t.path("records")
        self.assert_exit(self.t.run("rollback", second, "--data", env={"DAVIT_TEST_RECORDS": counter}), 0)
        if not os.path.exists(counter):
            self.skipTest("built without test hooks")
        with open(counter, encoding="ascii") as f:
            records = len(f.read())
        self.assert_exit(self.t.run("rollback", self.newest(), "--data"), 0)
        self.assertEqual(self.state(), after)
        second, old, new = self.newest(), self.before, after
        # The newest committed one is a rollback now: behind it is version 1 again.
        ends = set()
        for at in [n for n in range(3, records + 1) if n % 6 == 5 or n > records - 5]:
            killed = self.t.run("rollback", second, "--data", env={"DAVIT_TEST_KILL_AT": str(at)})
            recovered = self.t.run("recover")
            self.assert_exit(recovered, 0)
            newest = json.loads(self.t.run("history", "--json").out)[0]
            committed = newest["state"] == "committed" and newest["id"] != second
            self.assertEqual(self.state(), old if committed else new, f"{at}: {killed!r} {recovered!r}")
            self.assert_nothing_is_left()
            ends.add(committed)
            if committed:
                break
        self.assertEqual(ends, {True, False})

    def test_a_snapshot_that_is_damaged_refuses_it_before_its_first_change(self):
        self.assert_exit(self.release("2", *self.migrate()), 0)
        after = self.state()
        (dump,) = [os.path.join(d, n) for d in self.kept()[-2:] for n in os.listdir(d) if n.endswith(".dump") or n == "dump"][-1:]
        with open(dump, "r+b") as f:
            f.seek(100)
            f.write(b"damaged")
        second = self.newest()
        result = self.t.run("rollback", second, "--data")
        self.assert_exit(result, 2)
        self.assert_says(result, "is not as it was kept")
        self.assertEqual(self.state(), after)
        self.assert_exit(self.t.run("rollback", second), 0)

    def test_to_a_release_by_its_name_it_is_the_data_that_this_release_left(self):
        self.assert_exit(self.release("2", *self.migrate()), 0)
        self.assert_exit(self.release("3", self.sql("DELETE FROM sale")), 0)
        after, first = self.state(), json.loads(self.t.run("history", "--json").out)[2]["id"]
        plan = self.t.run("rollback", "--to", first, "--data", "--plan")
        self.assert_says(plan, f"replace the database {self.db} by snapshot")
        self.assertEqual(self.state(), after)
        self.assert_exit(self.t.run("rollback", "--to", first, "--data"), 0)
        self.assertEqual(self.state(), self.before)
        self.assert_nothing_is_left()

    def test_and_without_it_where_that_was_not_asked(self):
        self.assert_exit(self.release("2", *self.migrate()), 0)
        after = self.state()
        result = self.t.run("rollback", self.newest())
        self.assert_exit(result, 0)
        self.assert_says(result, "--data puts back what the snapshots kept")
        self.assertEqual(self.state()[1:], after[1:])
        self.assertEqual(self.state()[0], "1")


if __name__ == "__main__":
    main()
