#!/usr/bin/env python3
"""S8: migrations lay uncommitted in a work tree."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.validate import Tree, main  # noqa: E402


class Migrations(Tree):
    def test_a_migration_that_is_not_committed_or_not_pushed_is_an_error(self):
        self.put("db/migrations/1.sql", "create table a ();\n")
        self.assertEqual(self.codes(), ["migration-not-committed"])
        self.git("add", ".")
        self.assertEqual(self.codes(), ["migration-not-committed"])
        self.git("commit", "-qm", "one")
        self.assertEqual(self.codes(), [])                       # there is no remote to push to
        remote = os.path.join(self.dir.name, "remote.git")
        subprocess.run(["git", "init", "-q", "--bare", remote], check=True)
        self.git("remote", "add", "origin", remote)
        self.git("push", "-q", "origin", "HEAD:refs/heads/main")
        self.git("fetch", "-q", "origin")
        self.assertEqual(self.codes(), [])
        self.put("db/migrations/2.sql", "alter table a;\n")
        self.put("src/main.c", "int main;\n")
        self.git("add", ".")
        self.git("commit", "-qm", "two")
        found = self.validate()
        self.assertEqual([(f["file"], f["code"]) for f in found], [("db/migrations/2.sql", "migration-not-pushed")])
        self.git("push", "-q", "origin", "HEAD:refs/heads/main")
        self.git("fetch", "-q", "origin")
        self.put("db/migrations/1.sql", "drop table a;\n")
        self.assertEqual(self.codes(), ["migration-not-committed"])

    def test_a_directory_of_another_name_is_named(self):
        self.put("changes/1.sql", "x\n")
        self.assertEqual(self.codes(), [])
        self.assertEqual(self.codes("--migrations", "changes"), ["migration-not-committed"])


main()
