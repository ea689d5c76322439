#!/usr/bin/env python3
"""D3: a rollback restored the code but not the data."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.database import ReleaseCase  # noqa: E402
from harness.trial import main  # noqa: E402


class Rollback(ReleaseCase):
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
