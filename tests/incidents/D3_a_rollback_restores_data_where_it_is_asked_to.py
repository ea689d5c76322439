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
