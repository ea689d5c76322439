#!/usr/bin/env python3
"""D1: a backup existed but had never been checked."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.database import DatabaseCase  # noqa: E402
from harness.trial import main  # noqa: E402
from harness.snapshots import head_of  # noqa: E402


class Checked(DatabaseCase):
    def changed(self):
        return os.path.exists(self.t.path("changed"))

    def attempt(self, **more):
        return self.deploy(self.snapshot(**more), {"run": {"command": ["touch", self.t.path("changed")], "undo": "none"}})

    def assert_refused(self, result, *words):
        self.assert_exit(result, 1)
        self.assert_says(result, *words)
        self.assertFalse(self.changed())
        self.assertEqual(self.kept(), [])
        self.assert_no_databases_of_davit()

    def test_it_is_listed_read_and_has_a_checksum(self):
        self.assert_exit(self.attempt(), 0)
        head, entries = head_of(self.kept()[0])
        self.assertEqual((head["source"], head["database"], head["verified"]), ("postgres", self.db, "read"))
        self.assertRegex(entries["dump"], "^[0-9a-f]{64}$")
        with open(self.kept()[0] + "/list") as f:
            self.assertIn("TABLE DATA public sale", f.read())

    def test_a_proven_one_was_restored_and_counted(self):
        self.assert_exit(self.attempt(prove=True), 0)
        self.assertEqual(head_of(self.kept()[0])[0]["verified"], "proven")
        with open(self.kept()[0] + "/counts") as f:
            self.assertEqual(f.read().split("\n"), ["50|public.customer", "1000|public.sale", "0|large objects", ""])
        self.assert_no_databases_of_davit()

    def test_a_dump_that_was_cut_off_is_noticed_although_its_program_ended_well(self):
        cut = 'case "$*" in *--version*) exec "$REAL" "$@";; esac; "$REAL" "$@" | head -c -300'
        self.assert_refused(self.attempt(programs=self.programs(pg_dump=cut)), "end of file")
        self.assert_refused(self.attempt(programs=self.programs(pg_dump=cut), prove=True), "end of file")

    def test_rows_that_are_missing_in_the_restored_database_are_noticed(self):
        lose = f'"$REAL" "$@" || exit; case "$*" in *davit_new*) {self.server.bin}/psql -qd davit_new_* 2>&1;; esac'
        lose = lose.replace("-qd davit_new_*", '-q -d "$(echo "$*" | grep -o "davit_new_[0-9a-f]*")" -c "DELETE FROM sale WHERE id = 7"')
        self.assert_refused(self.attempt(programs=self.programs(pg_restore=lose), prove=True), "table public.sale had 1000 rows, restored it has 999")

    def test_rows_that_were_written_during_the_dump_are_no_difference(self):
        write = f"""case "$*" in *--snapshot*) {self.server.bin}/psql -q -d {self.db} -c 'INSERT INTO sale SELECT i FROM generate_series(2000, 2100) i';; esac; exec "$REAL" "$@" """
        self.assert_exit(self.attempt(programs=self.programs(pg_dump=write), prove=True), 0)
        self.assertEqual(self.server.sql(self.db, "SELECT count(*) FROM sale"), "1101")


if __name__ == "__main__":
    main()
