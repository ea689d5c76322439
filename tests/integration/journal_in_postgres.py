#!/usr/bin/env python3
"""The journal in a real PostgreSQL: it keeps to what every journal keeps to, and a server that goes away and comes back, or a connection
that breaks anywhere, costs no record and makes none twice."""
import json
import os
import subprocess
import sys
import unittest
import unittest.mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.fleet import Journal, Machine, Proxy, lay  # noqa: E402
from harness.trial import BUILD, Case, Trial, main  # noqa: E402
from harness.waiting import until  # noqa: E402
from servers import postgres  # noqa: E402

LACKING = postgres.lacking()
COUNTS = "SELECT (SELECT count(*) FROM deployment), (SELECT count(*) FROM step), (SELECT count(*) FROM change), (SELECT count(*) FROM event)"


@unittest.skipIf(LACKING, LACKING)
class InPostgres(Case):
    @classmethod
    def setUpClass(cls):
        cls.journal = cls.enterClassContext(Journal())

    def setUp(self):
        self.t = self.enterContext(Trial())
        self.journal.server.sql("davit", "SET client_min_messages TO warning; DROP SCHEMA IF EXISTS davit CASCADE")

    def machine(self, url=None):
        return Machine(self.t, "state", url or self.journal.url())

    def suite(self, name):
        done = subprocess.run([os.path.join(BUILD, "tests", name)], env={**os.environ, "DAVIT_TEST_JOURNAL": self.journal.url()},
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_it_keeps_to_what_every_journal_keeps_to(self):
        self.assertNotIn("SKIPPED", self.suite("test_store"))

    def test_a_lock_that_another_machine_took_over_meanwhile_is_not_taken_back(self):
        self.assertNotIn("SKIPPED", self.suite("test_engine_shared"))

    def test_it_keeps_plans_as_files_do_and_for_every_machine_of_it(self):
        self.assertEqual(self.suite("test_agent_review_plan").count("[  SKIPPED ] what_lies_there_is_sealed"), 2)

    def test_a_deployment_goes_on_once_the_server_is_back(self):
        machine = self.machine()
        lay(self.t, {"local": {}})
        with machine.start("deploy", "deploy.yml") as davit:
            until(lambda: os.path.exists(self.t.path("begun")), "begun")
            self.journal.server.stop("immediate")
            self.t.write("go-on", b"")
            self.journal.server.start()
            out, _ = davit.communicate(timeout=120)
        self.assertEqual(davit.returncode, 0, out)
        self.assertEqual(self.t.read("conf"), b"new")
        self.assertEqual([d["state"] for d in machine.history()], ["committed"])

    def test_a_connection_that_breaks_anywhere_loses_no_record_and_makes_none_twice(self):
        self.t.write("go-on", b"")
        with Proxy(self.journal.server.port) as proxy:
            machine = self.machine(self.journal.url(proxy.port))
            counts = set()
            # Where it breaks: at the first byte, here and there, in place of the answer to a commit that was made (that of the deployment, of the
            # changes of each step, of how it ended), and not at all.
            for order in (*(f"cut-after {n}" for n in (1, 2000, 9000, 17000, 25000)), *(f"lose COMMIT {n}" for n in (1, 7, 13, 18)), "pass"):
                self.journal.sql("TRUNCATE deployment, step, change, event, state, sealed")
                lay(self.t, {"local": {}})
                proxy.order(order)
                done = machine.run("deploy", "deploy.yml")
                proxy.order("pass")
                self.assert_exit(done, 0)
                self.assertEqual([d["state"] for d in machine.history()], ["committed"], order)
                counts.add(self.journal.sql(COUNTS))
            self.assertEqual(len(counts), 1, counts)

    def crash_in_a_commit(self, proxy, number):
        """The server dies when the Nth commit is on its way, and nothing of it was written. Returns the transaction's number, once the server is back."""
        self.journal.sql("TRUNCATE deployment, step, change, event, state, sealed")
        lay(self.t, {"local": {}})
        proxy.order(f"hang-at COMMIT {number}")
        davit = self.enterContext(self.machine_beyond.start("deploy", "deploy.yml"))
        until(lambda: proxy.ask("hung") == "ok", "the commit")
        (xid,) = self.journal.server.sql("postgres", "SELECT backend_xid FROM pg_stat_activity WHERE usename='davit' AND backend_xid IS NOT NULL").split()
        self.journal.server.stop("immediate")
        self.journal.server.start()
        return davit, xid

    def test_a_commit_that_a_crash_took_is_made_again_whatever_became_of_its_number(self):
        """The server does not know the number any more, or has given it to another transaction, which was committed."""
        server = self.journal.server
        self.t.write("go-on", b"")
        server.stop("fast")
        # Nothing of an open transaction is written, and nobody but the test takes a number.
        self.enterContext(unittest.mock.patch.object(server, "settings", (*server.settings, "wal_writer_delay=10s", "autovacuum=off")))
        server.start()
        with Proxy(server.port) as proxy:
            self.machine_beyond = self.machine(self.journal.url(proxy.port))
            lay(self.t, {"local": {}})
            self.assert_exit(self.machine_beyond.run("deploy", "deploy.yml"), 0)
            counts = self.journal.sql(COUNTS)
            # One in the middle of its changes.
            for number, given_again in ((7, False), (7, True)):
                davit, xid = self.crash_in_a_commit(proxy, number)
                if given_again:
                    self.assertEqual(server.sql("postgres", "BEGIN; SELECT pg_current_xact_id(); COMMIT"), xid)
                    self.assertEqual(server.sql("postgres", f"SELECT pg_xact_status('{xid}')"), "committed")
                else:
                    with self.assertRaisesRegex(AssertionError, "in the future"):
                        server.sql("postgres", f"SELECT pg_xact_status('{xid}')")
                proxy.order("pass")
                out, _ = davit.communicate(timeout=120)
                self.assertEqual(davit.returncode, 0, out)
                self.assertEqual([d["state"] for d in self.machine_beyond.history()], ["committed"])
                self.assertEqual(self.journal.sql(COUNTS), counts, (number, given_again))

    def test_what_is_no_place_for_a_journal_is_refused(self):
        state = {"DAVIT_STATE": self.t.state}
        self.journal.server.sql("postgres", "SELECT 1")
        latin = self.journal.url().replace("/davit?", "/latin?")
        self.journal.server.sql("postgres", "DROP DATABASE IF EXISTS latin")
        self.journal.server.sql("postgres", "CREATE DATABASE latin OWNER davit ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        for url, says in ((latin, "encoding LATIN1"), (self.journal.url().replace("/davit?", "/none?"), "does not exist"),
                          ("postgresql://me:s3cret@db/davit", "holds a password"), ("mysql://db/davit", "no URL of PostgreSQL")):
            refused = self.t.run("journal", "use", url, env=state)
            self.assert_exit(refused, 2)
            self.assert_says(refused, says)
            self.assertNotIn("s3cret", refused.text)
        self.assertFalse(os.path.exists(os.path.join(self.t.state, "journal.url")))

    def test_a_journal_that_is_gone_is_no_empty_one(self):
        machine = self.machine()
        self.journal.server.sql("davit", "SET client_min_messages TO warning; DROP SCHEMA davit CASCADE")
        lay(self.t, {"local": {}})
        for words in (("history",), ("show",), ("deploy", "deploy.yml"), ("recover",)):
            refused = machine.run(*words)
            self.assert_exit(refused, 2)
            self.assert_says(refused, "there is no journal at")
        self.assertEqual(self.t.read("conf"), b"old")

    def test_a_server_that_does_not_sync_is_refused(self):
        with postgres.Postgres() as careless:
            refused = self.t.run("journal", "use", f"postgresql://postgres@/postgres?host={careless.dir}&port={careless.port}")
        self.assert_exit(refused, 2)
        self.assert_says(refused, "fsync = off")

    def test_a_job_cannot_send_the_journal_elsewhere(self):
        """libpq reads variables, and a job sets them for its later steps."""
        machine = self.machine()
        machine.env.update(GITHUB_ACTIONS="true", PGHOSTADDR="192.0.2.1", PGPASSFILE="/nonexistent", PGOPTIONS="-c search_path=public",
                           PGSERVICE="theirs")
        self.assert_exit(machine.run("journal"), 0)

    def test_the_deployments_before_stay_in_the_state_directory(self):
        self.t.write("go-on", b"")
        lay(self.t, {"local": {}})
        self.assert_exit(self.t.run("deploy", "deploy.yml"), 0)
        machine = self.machine()
        self.assertEqual(machine.history(), [])
        self.assert_exit(machine.run("journal", "use", "here"), 0)
        self.assertEqual([d["state"] for d in machine.history()], ["committed"])
        self.assertEqual(json.loads(machine.run("journal", "--json").out)["shared"], False)


if __name__ == "__main__":
    main()
