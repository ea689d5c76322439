#!/usr/bin/env python3
"""D2: backups piled up, until the disk was full."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.database import DatabaseCase  # noqa: E402
from harness.trial import main  # noqa: E402


class Retention(DatabaseCase):
    def age(self, path, days):
        """As if it had been made so many days ago."""
        snapshot = os.path.dirname(path)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(time.time() - days * 86400))
        os.rename(snapshot, os.path.join(os.path.dirname(snapshot), f"{stamp}-aaaaa{days}"))

    def make(self, count, **more):
        for _ in range(count):
            self.assert_exit(self.deploy(self.snapshot(**more)), 0)

    def test_by_number(self):
        self.make(2, keep=2)
        older = self.kept()
        self.make(2, keep=2)
        self.assertEqual(len(self.kept()), 2)
        self.assertFalse(set(older) & set(self.kept()))

    def test_by_age(self):
        self.make(3, keep=9)
        for path, days in zip(self.kept(), (40, 35, 2)):
            self.age(path, days)
        self.make(1, keep=9, keep_for="30d")
        self.assertEqual(len(self.kept()), 2)

    def test_of_two_databases_each_by_itself(self):
        other = self.snapshot(keep=3)
        other["snapshot"]["postgres"]["database"] = "template1"
        files = {"snapshot": {"files": {"paths": [self.t.write("data", b"x")], "keep": 1}}}
        for _ in range(4):
            self.assert_exit(self.deploy(self.snapshot(keep=2), other, files), 0)
        places = [path.rsplit("/", 1)[1] for path in self.kept()]
        self.assertEqual((places.count("0"), places.count("1"), places.count("2")), (2, 3, 1))

    def test_the_newest_good_one_stays_whatever_retention_says(self):
        self.make(2, keep=9)
        good, newest = self.kept()
        with open(newest + "/dump", "r+b") as f:
            f.truncate(100)
        # A deployment that takes no snapshot of it itself, as nothing is there: retention is all that happens.
        self.server.sql("postgres", f"ALTER DATABASE {self.db} RENAME TO {self.db}_gone")
        self.addCleanup(self.server.sql, "postgres", f"DROP DATABASE {self.db}_gone")
        touch = {"run": {"command": ["true"], "undo": "none"}}
        self.age(newest, 39)
        self.age(good, 40)
        self.assert_exit(self.deploy(self.snapshot(keep=1, keep_for="30d", when_none="skip"), touch), 0)
        self.assertEqual(len(self.kept()), 1)
        self.assertGreater(os.path.getsize(self.kept()[0] + "/dump"), 100)

    def test_nothing_goes_before_the_commit(self):
        self.make(2, keep=2)
        before = self.kept()
        self.assert_exit(self.deploy(self.snapshot(keep=1), {"run": {"command": ["false"], "undo": "none"}}), 1)
        self.assertEqual(self.kept(), before)


if __name__ == "__main__":
    main()
