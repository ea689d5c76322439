#!/usr/bin/env python3
"""Going back behind a committed deployment with its data: killed, damaged, and to a release by its name."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.database import ReleaseCase  # noqa: E402
from harness.trial import main  # noqa: E402


class RollbacksOfData(ReleaseCase):
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


if __name__ == "__main__":
    main()
