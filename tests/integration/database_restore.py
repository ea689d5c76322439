#!/usr/bin/env python3
"""restore of a PostgreSQL database from a snapshot: shown before, kept before, taken back when it fails."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.database import FAIL, DatabaseCase  # noqa: E402
from harness.snapshots import head_of  # noqa: E402
from harness.trial import main  # noqa: E402

LATER = "CREATE TABLE later (i int); DELETE FROM sale WHERE id > 100"


class Restore(DatabaseCase):
    def restore(self, of=None, **more):
        source = {"postgres": self.server.source(of or self.db, **more.pop("postgres", {}))}
        return {"restore": {**source, **more}}

    def owners(self, database):
        return self.server.sql(database, "SELECT relname, pg_get_userbyid(relowner), relacl FROM pg_class WHERE relnamespace = 'public'::regnamespace "
                                         "ORDER BY 1")

    def setUp(self):
        super().setUp()
        self.before = self.content()
        self.assert_exit(self.deploy(self.snapshot(prove=True)), 0)
        self.server.sql(self.db, LATER)
        self.after = self.content()
        self.first = os.path.basename(os.path.dirname(self.kept()[0]))

    def test_the_plan_says_what_is_replaced_from_when_and_how_large(self):
        result = self.t.deploy({"targets": {"web": {"local": {}}}, "steps": [self.restore()]}, "--plan")
        self.assert_exit(result, 0)
        taken = f"{self.first[:4]}-{self.first[4:6]}-{self.first[6:8]} {self.first[9:11]}:{self.first[11:13]}"
        self.assert_says(result, f"replace the database {self.db} by snapshot {self.first} of shop.test, taken {taken}", " MB", "MB in the server")
        self.assertEqual(self.content(), self.after)

    def test_it_is_put_back_and_what_it_replaced_is_kept(self):
        self.assert_exit(self.deploy(self.restore()), 0)
        self.assertEqual(self.content(), self.before)
        self.assert_no_databases_of_davit()
        kept = self.kept()
        self.assertEqual(len(kept), 2)
        self.assertEqual(head_of(kept[1])[0]["database"], self.db)
        # That is a snapshot like any other: the way back.
        self.assert_exit(self.deploy(self.restore()), 0)
        self.assertEqual(self.content(), self.after)

    def test_one_is_named(self):
        self.assert_exit(self.deploy(self.snapshot()), 0)
        self.assert_exit(self.deploy(self.restore(**{"from": {"snapshot": self.first}})), 0)
        self.assertEqual(self.content(), self.before)
        missing = self.deploy(self.restore(**{"from": {"snapshot": "20200101T000000-000000"}}))
        self.assert_exit(missing, 2)
        self.assert_says(missing, "has no snapshot 20200101T000000-000000")

    def test_a_later_failure_takes_it_back(self):
        self.assert_exit(self.deploy(self.restore(), FAIL), 1)
        self.assertEqual(self.content(), self.after)
        self.assertEqual(len(self.kept()), 1)
        self.assert_no_databases_of_davit()

    def test_a_snapshot_with_a_wrong_checksum_replaces_nothing(self):
        with open(self.kept()[0] + "/dump", "r+b") as f:
            f.seek(-40, 2)
            f.write(b"?")
        result = self.deploy(self.restore())
        self.assert_exit(result, 1)
        self.assert_says(result, "is not as it was kept")
        self.assertEqual(self.content(), self.after)

    def test_a_dump_that_does_not_restore_whole_replaces_nothing(self):
        lose = 'case "$*" in *davit_new*) "$REAL" "$@" && exec "' + self.server.bin + \
               '/psql" -q -d "$(echo "$*" | grep -o "davit_new_[0-9a-f]*")" -c "DELETE FROM sale WHERE id = 7";; *) exec "$REAL" "$@";; esac'
        result = self.deploy(self.restore(postgres={"programs": self.programs(pg_restore=lose)}))
        self.assert_exit(result, 1)
        self.assert_says(result, "table public.sale had 1000 rows, restored it has 999")
        self.assertEqual(self.content(), self.after)
        self.assert_no_databases_of_davit()

    def test_a_restore_that_replaced_nothing_loses_nothing_that_was_written_since(self):
        write = f"""case "$*" in *davit_new*) {self.server.bin}/psql -q -d {self.db} -c "INSERT INTO later VALUES (1)"; echo 'error: broken' >&2; exit 1;;
            *) exec "$REAL" "$@";; esac"""
        self.assert_exit(self.deploy(self.restore(postgres={"programs": self.programs(pg_restore=write)})), 1)
        self.assertEqual(self.server.sql(self.db, "SELECT count(*) FROM later"), "1")
        self.assert_no_databases_of_davit()

    def test_only_dumps_come_from_another_environment(self):
        result = self.deploy({"restore": {"files": {"paths": [self.t.path()]}, "from": {"environment": "production"}}})
        self.assert_exit(result, 2)
        self.assert_says(result, "only dumps move between environments")

    def test_the_dump_of_another_environment_comes_without_its_owners(self):
        staging = self.db + "_staging"
        for text in ("DROP ROLE IF EXISTS staging", "CREATE ROLE staging LOGIN CREATEDB", f"CREATE DATABASE {staging} OWNER staging"):
            self.server.sql("postgres", text)
        self.addCleanup(self.server.sql, "postgres", "DROP ROLE staging")
        self.addCleanup(self.server.sql, "postgres", f"DROP DATABASE {staging}")
        step = self.restore(of=staging, postgres={"user": "staging", "no_owner": True}, **{"from": {"environment": "test", "name": self.db}})
        self.server.sql(staging, "SET ROLE staging; CREATE TABLE own AS SELECT 1 i; GRANT SELECT ON own TO pg_monitor")
        before = self.owners(staging)
        document = {"environment": "staging", "targets": {"web": {"local": {}}}, "steps": [step]}
        self.assert_exit(self.t.deploy({**document, "steps": [step, FAIL]}), 1)
        self.assertEqual(self.owners(staging), before)
        self.assert_exit(self.t.deploy(document), 0)
        self.assertEqual(self.server.sql(staging, "SELECT count(*), (SELECT tableowner FROM pg_tables WHERE tablename = 'sale') FROM sale"),
                         "1000|staging")
        self.assertEqual(self.server.sql("postgres", f"SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '{staging}'"), "staging")
        self.assertEqual(self.content(), self.after)

    def test_davit_killed_behind_any_record_leaves_the_one_or_the_other(self):
        seen = {self.before: 0, self.after: 0}
        self.t.write("kept/x", b"")
        for at in range(1, 1000):
            result = self.deploy(self.restore(), env={"DAVIT_TEST_KILL_AT": str(at)})
            if result.code >= 0 and result.code != 137:
                self.assertGreater(at, 5, "this build has no test hooks: " + repr(result))
                break
            self.assert_exit(self.t.run("recover"), 0)
            self.assert_no_databases_of_davit()
            content = self.content()
            self.assertIn(content, seen, f"killed behind record {at}")
            seen[content] += 1
            self.assertEqual(len(self.kept()), 2 if content == self.before else 1)
            if content == self.before:
                self.assert_exit(self.deploy(self.restore()), 0)
                self.assertEqual(self.content(), self.after)
                for path in self.kept()[1:]:
                    os.rename(path, self.t.path(f"kept/{at}-{len(os.listdir(self.t.path('kept')))}"))
                    os.rmdir(os.path.dirname(path))
        self.assertTrue(all(seen.values()), "both outcomes should have been seen")


if __name__ == "__main__":
    main()
