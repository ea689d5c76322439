#!/usr/bin/env python3
"""snapshot of a PostgreSQL database: what goes wrong leaves the database as it was, and nothing of davit's in its server."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.database import FAIL, DatabaseCase  # noqa: E402
from harness.trial import DAVIT, main  # noqa: E402
from harness.waiting import until  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

NEEDS_MOUNT = "mounting a small tmpfs needs root"
MIGRATION = "CREATE TABLE later (i int); INSERT INTO later VALUES (1); DELETE FROM sale WHERE id = 1000"
UNDO_MIGRATION = "DROP TABLE later; INSERT INTO sale VALUES (1000, 1, 7000)"


class Database(DatabaseCase):
    def test_a_failed_deployment_puts_schema_rows_and_settings_back(self):
        self.server.sql("postgres", f"""ALTER DATABASE {self.db} SET search_path TO public, "$user";
            ALTER DATABASE {self.db} SET work_mem = '8MB'; COMMENT ON DATABASE {self.db} IS 'it''s the shop';
            REVOKE CONNECT ON DATABASE {self.db} FROM PUBLIC; GRANT CONNECT ON DATABASE {self.db} TO pg_monitor;
            ALTER DATABASE {self.db} CONNECTION LIMIT 77""")
        before = self.content()
        result = self.deploy(self.snapshot(restore_on_rollback=True, prove=True), self.sql(MIGRATION), FAIL)
        self.assert_exit(result, 1)
        self.assertEqual(self.content(), before)
        self.assertEqual(self.kept(), [])
        self.assert_no_databases_of_davit()

    def test_without_being_asked_an_undo_leaves_the_data_alone(self):
        self.assert_exit(self.deploy(self.snapshot(), self.sql(MIGRATION), FAIL), 1)
        self.assertIn("later", self.content())

    def test_sessions_that_are_in_the_way_of_a_restore_are_ended(self):
        before = self.content()
        session = self.server.session(self.db, "SET client_min_messages = warning;")
        self.addCleanup(session.communicate)
        result = self.deploy(self.snapshot(restore_on_rollback=True), self.sql(MIGRATION), FAIL)
        self.assert_exit(result, 1)
        self.assertEqual(self.content(), before)

    def test_clients_that_come_again_and_again_are_no_hindrance(self):
        before = self.content()
        script = self.t.write("script", b"SELECT 1;\n")
        clients = subprocess.Popen([self.server.bin + "/pgbench", "-n", "-C", "-c", "4", "-T", "600", "-f", script, self.db], env=self.server.env,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(clients.wait)
        self.addCleanup(clients.kill)
        result = self.deploy(self.snapshot(restore_on_rollback=True), self.sql(MIGRATION), FAIL)
        self.assert_exit(result, 1)
        self.assertEqual(self.content(), before)

    def test_sessions_that_stay_and_come_back_once_ended_are_no_hindrance(self):
        before = self.content()
        come_back = f'while :; do "{self.server.bin}/psql" -Xq -c "SELECT pg_sleep(600)" {self.db}; done'
        clients = subprocess.Popen(["sh", "-c", come_back], env=self.server.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.addCleanup(clients.wait)
        self.addCleanup(os.killpg, clients.pid, signal.SIGKILL)
        sleeping = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{self.db}' AND query LIKE '%pg_sleep(600)%'"
        until(lambda: self.server.sql("postgres", sleeping) == "1", "the client's session")
        between = 'case "$*" in *" -c "*) exec "$REAL" "$@";; esac; sed "s/^BEGIN;/SELECT pg_sleep(1); BEGIN;/" | "$REAL" "$@"'
        step = self.snapshot(restore_on_rollback=True, programs=self.programs(psql=between))
        result = self.deploy(step, self.sql(MIGRATION), FAIL)
        self.assert_exit(result, 1)
        self.assertEqual(self.content(), before)

    def test_over_ssh_it_is_the_same(self):
        before = self.content()
        with Sshd() as server:
            document = {"targets": {"web": server.target()}, "steps": [self.snapshot(restore_on_rollback=True, prove=True), self.sql(MIGRATION)]}
            self.assert_exit(self.t.deploy({**document, "steps": document["steps"] + [FAIL]}), 1)
            self.assertEqual(self.content(), before)
            self.assert_exit(self.t.deploy(document), 0)
        self.assertEqual(len(self.kept()), 1)

    def test_a_rollback_puts_data_back_only_when_it_is_asked_to(self):
        os.makedirs(os.path.join(self.t.src, "app"))
        open(os.path.join(self.t.src, "app", "one"), "w").close()
        upload = {"archive-upload": {"source": "app", "path": self.t.path("www")}}
        self.assert_exit(self.deploy(self.snapshot(), upload), 0)
        before = self.content()
        with open(os.path.join(self.t.src, "app", "two"), "w") as f:
            f.write("2")
        self.assert_exit(self.deploy(self.snapshot(), upload, self.sql(MIGRATION)), 0)
        after = self.content()
        newest = json.loads(self.t.run("history", "--json").out)[0]["id"]
        plan = self.t.run("rollback", newest, "--data", "--plan")
        self.assert_says(plan, f"the database {self.db}")
        self.assertEqual(self.content(), after)
        result = self.t.run("rollback", newest, "--data")
        self.assert_exit(result, 0)
        self.assertEqual(self.content(), before)
        self.assert_no_databases_of_davit()

    # ---- what is wrong with the server

    def test_a_server_that_refuses_connections_refuses_the_plan(self):
        step = self.snapshot()
        step["snapshot"]["postgres"]["port"] = 1
        result = self.deploy(step)
        self.assert_exit(result, 2)
        self.assert_says(result, "Connection refused", self.db)

    def test_a_database_that_is_not_there_is_refused_or_stepped_over(self):
        step = self.snapshot()
        step["snapshot"]["postgres"]["database"] = "nowhere"
        result = self.deploy(step)
        self.assert_exit(result, 2)
        self.assert_says(result, "the database nowhere is not there", "when_none: skip")
        step["snapshot"]["postgres"]["when_none"] = "skip"
        result = self.deploy(step)
        self.assert_exit(result, 0)
        self.assert_says(result, "nothing is kept")

    def test_a_server_that_is_gone_at_the_undo_holds_the_deployment_until_it_is_back(self):
        before = self.content()
        stop = {"run": {"command": ["sh", "-c", f"kill -QUIT $(head -n 1 {self.server.data}/postmaster.pid)"], "undo": "none"}}
        held = self.deploy(self.snapshot(restore_on_rollback=True), self.sql(MIGRATION), stop, FAIL)
        until(lambda: not os.path.exists(os.path.join(self.server.data, "postmaster.pid")), "the server's end")
        self.server.start()
        self.assert_exit(held, 4)
        self.assertNotEqual(self.content(), before)
        self.assert_exit(self.t.run("rollback"), 0)
        self.assertEqual(self.content(), before)
        self.assert_no_databases_of_davit()

    def test_a_table_that_a_migration_has_locked_fails_the_step_in_time(self):
        session = self.server.session(self.db, "BEGIN; LOCK TABLE sale IN ACCESS EXCLUSIVE MODE;")
        self.addCleanup(session.communicate)
        for prove in (False, True):
            with self.subTest(prove=prove):
                begun = time.monotonic()
                result = self.deploy(self.snapshot(lock_wait="1s", prove=prove))
                self.assert_exit(result, 1)
                self.assert_says(result, "canceling statement due to", "raise `lock_wait`")
                self.assertLess(time.monotonic() - begun, 20)
                self.assertEqual(self.kept(), [])

    def test_the_owner_of_the_database_needs_no_more_than_to_create_databases(self):
        for text in ("DROP ROLE IF EXISTS owner", "CREATE ROLE owner LOGIN CREATEDB", f"ALTER DATABASE {self.db} OWNER TO owner"):
            self.server.sql("postgres", text)
        self.addCleanup(lambda: self.server.sql(self.db, "REASSIGN OWNED BY owner TO postgres; DROP OWNED BY owner; DROP ROLE owner"))
        self.server.sql(self.db, "DROP TABLE sale CASCADE; DROP TABLE customer; SET ROLE owner; CREATE TABLE mine AS SELECT i FROM generate_series(1, 9) i")
        before = self.content()
        step = self.snapshot(user="owner", prove=True, restore_on_rollback=True)
        self.assert_exit(self.deploy(step, self.sql("DELETE FROM mine"), FAIL), 1)
        self.assertEqual(self.content(), before)

    def test_a_user_who_may_not_create_databases_proves_nothing(self):
        self.server.sql("postgres", f"DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN; ALTER DATABASE {self.db} OWNER TO reader")
        self.addCleanup(self.server.sql, "postgres", "DROP ROLE reader")
        self.addCleanup(self.server.sql, "postgres", f"ALTER DATABASE {self.db} OWNER TO postgres")
        result = self.deploy(self.snapshot(user="reader", prove=True))
        self.assert_exit(result, 2)
        self.assert_says(result, "may not create databases")

    @unittest.skipUnless(os.geteuid() == 0, NEEDS_MOUNT)
    def test_a_full_disk_fails_the_step_and_leaves_nothing(self):
        os.makedirs(self.t.base)
        self.server.sql(self.db, "CREATE TABLE noise AS SELECT gen_random_uuid() u, gen_random_uuid() v FROM generate_series(1, 800000)")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "none", self.t.base], capture_output=True, check=False)
        if done.returncode != 0:
            self.skipTest(NEEDS_MOUNT)
        self.addCleanup(subprocess.run, ["umount", "-l", self.t.base], check=True)
        result = self.deploy(self.snapshot(prove=True))
        self.assert_exit(result, 1)
        self.assert_says(result, "No space left")
        self.assertEqual(self.kept(), [])
        self.assert_no_databases_of_davit()

    # ---- what is wrong with the dump

    def test_a_snapshot_that_was_damaged_is_not_put_back(self):
        for name, spoil in (("cut off", lambda f: f.truncate(os.path.getsize(f.name) - 100)), ("changed", lambda f: (f.seek(-50, 2), f.write(b"x")))):
            with self.subTest(name):
                steps = [self.snapshot(restore_on_rollback=True), {"run": {"command": ["sh", "-c", f"echo > {self.t.path('made')}; while test -e {self.t.path('made')}; do sleep 0.02; done"],
                                                                           "undo": "none"}}, self.sql(MIGRATION.replace("later", name.replace(" ", "_"))), FAIL]
                with self.begin(*steps) as process:
                    until(lambda: os.path.exists(self.t.path("made")), "the second step")
                    with open(self.kept()[-1] + "/dump", "r+b") as f:
                        spoil(f)
                    os.remove(self.t.path("made"))
                    out = process.communicate(timeout=60)[0]
                self.assertEqual(process.returncode, 4, out)
                self.assertIn("is not as it was kept", out)
                self.assertIn(name.replace(" ", "_"), self.content())
                self.assert_exit(self.t.run("unlock", "shop.test", "--accept"), 0)
                self.setUp()

    # ---- passwords

    def test_a_password_goes_by_the_environment_and_stands_nowhere(self):
        password = "correct-horse-battery"
        self.server.sql("postgres", f"CREATE ROLE keeper SUPERUSER LOGIN PASSWORD '{password}'")
        self.addCleanup(self.server.sql, "postgres", "DROP ROLE keeper")
        seen = self.t.path("seen")
        spy = f'cat /proc/self/cmdline /proc/$PPID/cmdline >> {seen}; echo "$PGPASSWORD" >> {seen}.env; exec "$REAL" "$@"'
        step = self.snapshot(user="keeper", prove=True, programs=self.programs(psql=spy, pg_dump=spy, pg_restore=spy))
        step["snapshot"]["env"] = {"PGPASSWORD": "${{ secrets.DB_PASSWORD }}"}
        result = self.deploy(step, secrets={"DB_PASSWORD": password})
        self.assert_exit(result, 0)
        self.assert_silent(result, password)
        with open(seen, "rb") as f:
            self.assertNotIn(password.encode(), f.read())
        with open(seen + ".env") as f:
            self.assertEqual(set(f.read().split()), {password})
        for path, data in self.t.files_of(self.t.state, self.t.base, self.t.src):
            self.assertNotIn(password.encode(), data, path)

    def test_a_function_of_a_database_user_is_never_run_with_the_rights_of_davit(self):
        self.server.sql("postgres", "DROP ROLE IF EXISTS mallory; CREATE ROLE mallory LOGIN")
        self.addCleanup(lambda: self.server.sql(self.db, "DROP OWNED BY mallory; DROP ROLE mallory"))
        trap = "".join(f"CREATE FUNCTION public.{name} RETURNS {returns} LANGUAGE plpgsql AS $$BEGIN ALTER ROLE mallory SUPERUSER; RETURN NULL; END$$;"
                       for name, returns in (("format(text, text, name, name)", "text"), ("format(text, name, name)", "text"), ("translate(text, text, text)", "text"),
                                             ("pg_export_snapshot()", "text"), ("current_setting(text)", "text"), ("set_config(text, text, boolean)", "text")))
        self.server.sql(self.db, f"GRANT CREATE ON SCHEMA public TO mallory; SET ROLE mallory; {trap}"
                              "CREATE TABLE public.bait AS SELECT 1 i; CREATE FUNCTION public.bite() RETURNS void LANGUAGE plpgsql AS "
                              "$$BEGIN IF current_user <> 'mallory' THEN ALTER ROLE mallory SUPERUSER; END IF; END$$; "
                              "CREATE FUNCTION public.up(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
                              "$$BEGIN PERFORM public.bite(); RETURN 1; END$$; "
                              "CREATE INDEX ON public.bait (public.up(i))")
        self.server.sql("postgres", f"ALTER DATABASE {self.db} SET search_path = public, pg_catalog")
        before = self.content()
        result = self.deploy(self.snapshot(restore_on_rollback=True, prove=True), self.sql(MIGRATION), FAIL)
        self.assert_exit(result, 1)
        self.assert_says(result, "proven: restored", "put back the database")
        self.assertEqual(self.content(), before)
        self.assertEqual(self.server.sql("postgres", "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'"), "f")

    # ---- deaths

    def begin(self, *steps, **variables):
        with open(os.path.join(self.t.src, "deploy.yml"), "w") as f:
            json.dump({"name": "shop", "environment": "test", "targets": {"web": {"local": {}, "base": self.t.base}}, "steps": list(steps)}, f)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_"))}
        return subprocess.Popen([DAVIT, "deploy", "deploy.yml"], cwd=self.t.src, env={**env, "DAVIT_STATE": self.t.state, **variables}, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def kill_in(self, program, when, *steps):
        """Kills davit while that program of the server holds still; `when` is a test of its arguments in sh."""
        hold, begun = self.t.path("hold"), self.t.path("begun")
        open(hold, "w").close()
        wait = f'case "$*" in {when}) if test -e {hold}; then touch {begun}; while test -e {hold}; do sleep 0.02; done; fi;; esac; exec "$REAL" "$@"'
        folder = self.programs(**{program: wait})
        for step in steps:
            if "snapshot" in step:
                step["snapshot"]["postgres"]["programs"] = folder
        with self.begin(*steps) as process:
            until(lambda: os.path.exists(begun), f"{program} {when}")
            for pid in subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False).stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            process.kill()
            process.communicate()
        os.remove(hold)

    def test_davit_killed_while_the_scratch_database_is_filled_leaves_none(self):
        before = self.content()
        self.kill_in("pg_restore", "*davit_new*", self.snapshot(prove=True))
        self.assertTrue([name for name in self.server.databases() if name.startswith("davit_new_")])
        self.assert_exit(self.t.run("recover"), 0)
        self.assert_no_databases_of_davit()
        self.assertEqual(self.kept(), [])
        self.assertEqual(self.content(), before)

    def test_davit_killed_while_it_puts_back_goes_on_and_leaves_nothing(self):
        before = self.content()
        self.kill_in("psql", "*ANALYZE*", self.snapshot(restore_on_rollback=True, prove=True), self.sql(MIGRATION), FAIL)
        self.assertNotEqual(self.content(), before)
        self.assert_exit(self.t.run("recover"), 0)
        self.assertEqual(self.content(), before)
        self.assert_no_databases_of_davit()

    def test_davit_killed_while_it_dumps_leaves_no_session(self):
        self.kill_in("pg_dump", "*--snapshot*", self.snapshot(prove=True))
        self.assert_exit(self.t.run("recover"), 0)
        self.assertEqual(self.kept(), [])
        until(lambda: self.server.sql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'davit-%'") == "0", "the end of the sessions")

    def each_death(self, *steps):
        """Of a deployment killed behind each of its journal records: nothing half. Gives how many records there were, and how often it stayed."""
        before, stayed = self.content(), 0
        for at in range(1, 1000):
            with self.begin(*steps, DAVIT_TEST_KILL_AT=str(at)) as process:
                out = process.communicate(timeout=120)[0]
            if process.returncode >= 0 and process.returncode != 137:
                self.assertGreater(at, 5, f"this build has no test hooks: {out}")
                return at - 1, stayed
            self.assert_exit(self.t.run("recover"), 0)
            self.assert_no_databases_of_davit()
            if self.kept():
                stayed += 1
                self.server.sql(self.db, UNDO_MIGRATION)
                shutil.rmtree(os.path.join(self.t.base, "snapshots"))
            self.assertEqual(self.content(), before, f"killed behind record {at}")
        raise AssertionError("it never ends")

    def test_davit_killed_behind_any_record_leaves_the_database_before_or_behind_the_deployment(self):
        records, stayed = self.each_death(self.snapshot(restore_on_rollback=True, prove=True), self.sql(MIGRATION))
        self.assertTrue(0 < stayed < records, f"{stayed} of {records}")

    def test_davit_killed_behind_any_record_of_an_undo_puts_the_database_back(self):
        self.assertEqual(self.each_death(self.snapshot(restore_on_rollback=True), self.sql(MIGRATION), FAIL)[1], 0)


if __name__ == "__main__":
    main()
