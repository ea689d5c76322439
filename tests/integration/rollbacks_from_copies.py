#!/usr/bin/env python3
"""Going back behind a committed deployment with its data, of which the snapshots are gone and copies are on another target."""
import glob
import json
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.database import ReleaseCase  # noqa: E402
from harness.trial import main  # noqa: E402

KEY = "0123456789abcdef0123456789abcdef"


class RollbacksFromCopies(ReleaseCase):
    keep = 5

    def deploy(self, *steps, **more):
        targets = {"web": {"local": {}}, "vault": {"local": {}, "base": os.path.join(self.t.dir, "vault")}}
        copies = {"to": ["vault"], "key": "${{ secrets.COPY_KEY }}"}
        for step in steps:
            (inputs,) = step.values()
            inputs["target"] = "web"
            if "snapshot" in step:
                inputs["copies"] = copies
                inputs["files" if "files" in inputs else "postgres"]["keep"] = self.keep
        return self.t.deploy({"targets": targets, "steps": list(steps)}, secrets={"COPY_KEY": KEY}, **more)

    def rollback(self, *words, env=None):
        return self.t.run("rollback", *words, "--data", "--secret", "COPY_KEY", env={"COPY_KEY": KEY, **(env or {})})

    def lose(self, deployment):
        shutil.rmtree(os.path.join(self.t.base, "snapshots", "shop.test", deployment))

    def copies(self, deployment):
        return sorted(glob.glob(f"{self.t.dir}/vault/copies/shop.test/{deployment}/*"))

    def second(self):
        """The release that is gone back behind, without its snapshots."""
        self.assert_exit(self.release("2", *self.migrate()), 0)
        after, second = self.state(), self.newest()
        self.lose(second)
        self.assertEqual(len(self.copies(second)), 2)
        return second, after

    def test_data_comes_from_the_copies_and_a_rollback_of_the_rollback_brings_the_newer_one_again(self):
        second, after = self.second()
        plan = self.rollback(second, "--plan")
        self.assert_exit(plan, 0)
        self.assertEqual(plan.text.count("from its copy on vault"), 2, plan)
        self.assertEqual(self.state(), after)
        self.assert_exit(self.rollback(second), 0)
        self.assertEqual(self.state(), self.before)
        self.assert_nothing_is_left()
        self.assertEqual(glob.glob(self.t.base + "/snapshots/shop.test/*/*/fetched*"), [])
        self.assert_exit(self.rollback(self.newest()), 0)
        self.assertEqual(self.state(), after)

    def test_killed_while_it_comes_from_the_copies_it_is_back_where_it_was_or_whole(self):
        second, after = self.second()
        counter = self.t.path("records")
        self.assert_exit(self.rollback(second, env={"DAVIT_TEST_RECORDS": counter}), 0)
        if not os.path.exists(counter):
            self.skipTest("built without test hooks")
        records = os.path.getsize(counter)
        self.assert_exit(self.rollback(self.newest()), 0)
        second = self.newest()
        self.lose(second)
        for at in (records // 4, records // 2, records - 8):
            self.rollback(second, env={"DAVIT_TEST_KILL_AT": str(at)})
            self.assert_exit(self.t.run("recover"), 0)
            self.assertEqual(self.state(), after, at)
            self.assert_nothing_is_left()
            self.assertEqual(glob.glob(self.t.base + "/snapshots/shop.test/*/*/fetched*"), [])

    def test_without_a_copy_that_can_be_read_it_is_refused_before_its_first_change(self):
        second, after = self.second()
        os.truncate(self.copies(second)[0], 70)
        damaged = self.rollback(second)
        self.assert_exit(damaged, 2)
        self.assert_says(damaged, "look for copies on vault", "without --data the rollback leaves the data alone")
        for path in self.copies(second):
            os.remove(path)
        gone = self.rollback(second)
        self.assert_exit(gone, 2)
        self.assert_says(gone, "is not kept any more", "without --data the rollback leaves the data alone")
        self.assertEqual(self.state(), after)
        self.assert_exit(self.t.run("rollback", second, "--secret", "COPY_KEY", env={"COPY_KEY": KEY}), 0)

    def test_to_a_release_it_is_the_copy_of_what_that_release_left_and_no_newer_snapshot(self):
        self.keep = 1
        first = json.loads(self.t.run("history", "--json").out)[0]["id"]
        self.assert_exit(self.release("2", *self.migrate()), 0)
        self.assert_exit(self.release("3", self.sql("DELETE FROM sale")), 0)
        self.assertEqual(len(self.kept()), 2)
        plan = self.rollback("--to", first, "--plan")
        self.assertEqual(plan.text.count("from its copy on vault"), 2, plan)
        self.assert_exit(self.rollback("--to", first), 0)
        self.assertEqual(self.state(), self.before)
        self.assert_nothing_is_left()


if __name__ == "__main__":
    main()
