#!/usr/bin/env python3
"""The journal of the version before is read, and what it left undone is ended. Each fixture is a state directory and a target as that
version left them (README.md)."""
import json
import os
import sqlite3
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness.trial import BUILD, Case, main  # noqa: E402
from world import BASE, DIR, SECRET, STATE, TARGET, World, listing  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
TABLES = {"deployment": ("doc",), "step": ("doc",), "change": ("doc",), "event": ("data",), "state": ("row",)}


def files_below(folder):
    for top, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(top, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path


def come_to_this_machine(former):
    """As if it had been made here: this machine's id. Its boot stays another one, so its processes are surely gone."""
    with open("/etc/machine-id", encoding="ascii") as f:
        here = f.read().strip()
    for path in [*files_below(STATE), *files_below(BASE)]:
        if os.path.basename(path).startswith("journal.db"):
            continue
        with open(path, "rb") as f:
            data = f.read()
        if former.encode() in data:
            with open(path, "r+b") as f:
                f.truncate()
                f.write(data.replace(former.encode(), here.encode()))
    journal = sqlite3.connect(os.path.join(STATE, "journal.db"))
    with journal:
        for table, columns in TABLES.items():
            for column in columns:
                journal.execute(f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?)', (former, here))
    journal.close()


class FormerJournal(Case):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("what root has made is restored by root only")
        self.world = self.enterContext(World(os.path.join(BUILD, "bin", "davit")))

    def unpack(self, name):
        subprocess.run(["tar", "-C", DIR, "--numeric-owner", "-xpzf", os.path.join(HERE, name + ".tar.gz")], check=True)
        with open(DIR + "/facts.json", encoding="utf-8") as f:
            facts = json.load(f)
        come_to_this_machine(facts["machine_id"])
        return facts

    def davit(self, *words, code=0):
        is_, text = self.world.davit(*words)
        self.assertEqual(is_, code, f"davit {' '.join(words)}\n{text}")
        self.assertNotIn(SECRET, text)
        return text

    def state_of(self, id_):
        return {d["id"]: d["state"] for d in self.world.history()}[id_]

    def assert_read(self, facts):
        """As the former version left it, before anything of today's wrote to it."""
        self.assertEqual(self.state_of(facts["id"]), facts["state"])
        self.assertEqual(self.state_of(facts["first"]), "committed")
        self.assertIn(facts["id"], self.davit("history"))
        for id_ in (facts["id"], facts["first"]):
            self.assertIn(id_, self.davit("show", id_))
            shown = json.loads(self.davit("show", id_, "--json"))
            self.assertEqual(shown["deployment"]["id"], id_)
        self.assertGreaterEqual(len(shown["changes"]), 6)

    def assert_ended(self, facts):
        state, tree = facts["then"]
        self.assertEqual(self.state_of(facts["id"]), state)
        self.assertEqual(listing(), facts[tree])
        for folder in (BASE + "/open", STATE + "/sealed"):
            self.assertEqual([p for p in files_below(folder) if not p.endswith(".key")], [])

    def assert_goes_on(self):
        """A deployment upon it, and back to the release before."""
        before = os.readlink(TARGET + "/app/current")
        self.world.lay("v3")
        code, text = self.world.deploy()
        self.assertEqual(code, 0, text)
        with open(TARGET + "/app/current/VERSION", encoding="ascii") as f:
            self.assertEqual(f.read(), "v3\n")
        self.assertFalse(os.path.exists(TARGET + "/etc/v1.d"), "the former state rows of apply are known")
        self.davit("rollback", "last", "--secret", "TOKEN")
        self.assertEqual(os.readlink(TARGET + "/app/current"), before)

    def assert_carried_on(self, name, way=None):
        facts = self.unpack(name)
        self.assert_read(facts)
        for words in (way(facts) if way else [("recover",)]):
            self.davit(*words)
        self.assert_ended(facts)
        self.davit("recover")
        self.assert_ended(facts)
        self.assert_goes_on()

    def test_one_that_only_prepared_is_ended(self):
        self.assert_carried_on("preparing")

    def test_one_that_died_in_its_changes_is_undone(self):
        self.assert_carried_on("open")

    def test_one_that_died_in_its_undo_is_undone(self):
        self.assert_carried_on("undoing")

    def test_one_that_was_committed_and_not_cleaned_is_cleaned(self):
        self.assert_carried_on("committed_not_cleaned")

    def test_one_that_was_undone_and_not_cleaned_is_cleaned(self):
        self.assert_carried_on("undone_not_cleaned")

    def test_one_that_was_committed_stays_so(self):
        self.assert_carried_on("committed")

    def test_one_that_was_undone_stays_so(self):
        self.assert_carried_on("undone")

    def test_one_that_is_held_is_rolled_back_by_its_id(self):
        self.assert_carried_on("held", lambda facts: [("rollback", facts["id"])])

    def test_one_that_is_held_is_left_to_people(self):
        facts = self.unpack("held")
        self.davit("recover", code=4)
        self.assertEqual(self.state_of(facts["id"]), "held")
        self.assertEqual(listing(), facts["now"])

    def test_the_open_one_of_a_job_that_is_gone_is_held_and_then_rolled_back(self):
        def held_first(facts):
            self.davit("recover", code=4)
            self.assertEqual(self.state_of(facts["id"]), "held")
            return [("rollback", facts["id"])]
        self.assert_carried_on("job", held_first)


if __name__ == "__main__":
    main()
