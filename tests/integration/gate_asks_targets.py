#!/usr/bin/env python3
"""What a health gate asks on a target: containers and compose projects of a real engine, queries of a real PostgreSQL, units by a systemctl that
plays a script, since the machines of the tests have no systemd."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.gate import GateCase  # noqa: E402
from harness.trial import Trial, main  # noqa: E402
from servers import postgres  # noqa: E402
from servers.docker import Docker  # noqa: E402
from servers.postgres import Postgres  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

NO_DOCKER = Docker.why_not()


@unittest.skipIf(NO_DOCKER, NO_DOCKER)
class Containers(GateCase):
    @classmethod
    def setUpClass(cls):
        cls.docker = cls.enterClassContext(Docker())
        cls.docker.image("local/bb:1")

    def setUp(self):
        self.t = self.enterContext(Trial())
        self.env = {"DOCKER_HOST": self.docker.host}

    def tearDown(self):
        ids = self.docker.run("ps", "-aq").split()
        if ids:
            self.docker.run("rm", "-f", *ids)

    def start(self, name, *command, options=()):
        return self.docker.run("run", "-d", "--name", name, "--network", "none", *options, "local/bb:1", *command).strip()

    def of_project(self, project, service, *command, options=()):
        labels = ["--label", f"com.docker.compose.project={project}", "--label", f"com.docker.compose.service={service}"]
        return self.start(f"{project}-{service}-1", *command, options=(*labels, *options))

    def container(self, name, **more):
        return {"container": {"name": name}, "env": self.env, "settle": "600ms", **more}

    def compose(self, project, services=None, **more):
        return {"compose": {"project": project, **({"services": services} if services else {})}, "env": self.env, "settle": "600ms", **more}

    def test_a_container_that_runs_and_is_healthy_passes_over_ssh_too(self):
        self.start("web", "sleep", "1000", options=["--health-cmd", "true", "--health-interval", "100ms"])
        with Sshd() as server:
            self.assert_exit(self.gate(self.t, self.container("web"), targets={"web": server.target()}), 0)
        seen = [p["seen"] for p in self.probes(self.t)]
        self.assertTrue(any("'starting'" in s for s in seen) or seen[-1] == "runs", seen)

    def test_an_unhealthy_container_fails_with_what_its_check_said_and_its_last_lines(self):
        self.start("web", "sh", "-c", "echo cannot reach the database; sleep 1000",
                   options=["--health-cmd", "echo no route to db; false", "--health-interval", "100ms", "--health-retries", "1"])
        wrong = self.gate(self.t, self.container("web"), deadline="6s")
        self.assert_exit(wrong, 1)
        self.assert_says(wrong, "container web is unhealthy: no route to db", "web | cannot reach the database")
        self.assertIn("web | cannot reach the database", self.probes(self.t)[-1]["log"])

    def test_a_loop_of_crashes_never_settles_although_it_runs_whenever_it_is_asked(self):
        self.start("web", "sh", "-c", "echo starting; sleep 0.7; echo out of tokens >&2; exit 7", options=["--restart", "always"])
        wrong = self.gate(self.t, self.container("web", settle="3s"), deadline="12s")
        self.assert_exit(wrong, 1)
        self.assert_says(wrong, "web | out of tokens")
        self.assertTrue(any("but was restarted since it was asked before" in p["seen"] for p in self.probes(self.t)), self.probes(self.t))

    def test_a_container_that_ended_or_is_not_there_fails(self):
        self.start("gone", "sh", "-c", "exit 3")
        wrong = self.gate(self.t, self.container("gone"), self.container("nobody"), deadline="5s")
        self.assert_exit(wrong, 1)
        self.assert_says(wrong, "container gone is exited (exit code 3)", "container nobody ", "nobody")

    def test_a_project_passes_when_its_services_run_and_its_migration_ended_with_0(self):
        self.of_project("shop", "web", "sleep", "1000")
        self.of_project("shop", "migrate", "true")
        self.of_project("shop", "shell", "false", options=["--label", "com.docker.compose.oneoff=True"])
        self.of_project("other", "web", "false")
        self.assert_exit(self.gate(self.t, self.compose("shop"), self.compose("shop", ["web"])), 0)
        self.assertIn("1 run, 1 ended with 0", self.probes(self.t)[-1]["seen"])
        wrong = self.gate(self.t, self.compose("shop", ["web", "migrate", "worker"]), self.compose("nothing"), self.compose("other"), deadline="5s")
        self.assert_exit(wrong, 1)
        self.assert_says(wrong, "migrate is exited", "worker does not run", "compose project nothing has no container", "web is exited (exit code 1)")

    def test_a_new_version_that_ended_is_not_excused_by_the_former_one_that_runs(self):
        for version, command in (("1", "sleep 1000"), ("2", "exit 0")):
            labels = [x for n, v in (("project", "shop"), ("service", "web"), ("config-hash", version)) for x in ("--label", f"com.docker.compose.{n}={v}")]
            self.start(f"shop-web-{version}", "sh", "-c", command, options=labels)
        wrong = self.gate(self.t, self.compose("shop"), self.compose("shop", ["web"]), deadline="4s")
        self.assert_exit(wrong, 1)
        self.assert_says(wrong, "compose project shop web is exited (exit code 0)", "web does not run")
        self.docker.run("rm", "shop-web-2")
        self.assert_exit(self.gate(self.t, self.compose("shop", ["web"])), 0)

    def test_a_crash_loop_in_a_project_fails_it_with_the_last_lines_of_that_service(self):
        self.of_project("shop", "web", "sleep", "1000")
        self.of_project("shop", "worker", "sh", "-c", "sleep 0.5; echo queue is gone >&2; exit 1", options=["--restart", "always"])
        wrong = self.gate(self.t, self.compose("shop", settle="3s"), deadline="12s")
        self.assert_exit(wrong, 1)
        self.assert_says(wrong, "worker", "worker | queue is gone")
        self.assert_silent(wrong, "web |")

    def test_a_target_without_docker_is_named_before_the_first_change(self):
        with Trial() as t:
            empty = os.path.join(t.dir, "bin")
            os.mkdir(empty)
            for tool in ("sh", "env", "cat"):
                os.symlink("/bin/" + tool, os.path.join(empty, tool))
            refused = self.gate(t, self.container("web"), self.compose("shop"), {"unit": {"name": "shop.service"}}, {"postgres": {"query": "select 1"}},
                                env={"PATH": empty})
            self.assert_exit(refused, 2)
            self.assert_says(refused, "has no docker to ask with", "has no systemctl to ask with", "has no psql to ask with")


@unittest.skipIf(postgres.lacking(), postgres.lacking())
class Queries(GateCase):
    def setUp(self):
        self.server = self.enterContext(Postgres())
        self.server.sql("postgres", "CREATE DATABASE shop")
        self.server.sql("shop", "CREATE TABLE migrations (id int, name text); INSERT INTO migrations VALUES (41, 'carts'), (42, 'taxes')")
        self.t = self.enterContext(Trial())

    def check(self, query, **more):
        equals = {"equals": more.pop("equals")} if "equals" in more else {}
        return {"postgres": {"query": query, "database": "shop", "host": self.server.dir, "port": self.server.port, "user": "postgres", **equals}, **more}

    def test_a_value_and_rows_are_compared(self):
        self.assert_exit(self.gate(self.t, self.check("SELECT max(id) FROM migrations", equals="42"),
                                   self.check("SELECT * FROM migrations ORDER BY id", equals="41|carts\n42|taxes"),
                                   self.check("SELECT name FROM migrations WHERE id > 41;", contains="taxes"),
                                   self.check("SELECT 1 FROM migrations")), 0)
        wrong = self.gate(self.t, self.check("SELECT max(id) FROM migrations", equals="43"), self.check("SELECT 1 WHERE false"),
                          self.check("SELECT nothing"), deadline="5s")
        self.assert_exit(wrong, 1)
        self.assert_says(wrong, "gave '42', wanted '43'", "gave no row", 'column "nothing" does not exist')

    def test_no_query_writes(self):
        for query in ("DELETE FROM migrations", "WITH gone AS (DELETE FROM migrations RETURNING 1) SELECT 1 FROM gone", "SELECT nextval('s')",
                      "SET TRANSACTION READ WRITE"):
            wrong = self.gate(self.t, self.check(query), deadline="300ms")
            self.assert_exit(wrong, 1)
        for query in ("COMMIT", "SELECT 1; DELETE FROM migrations", "\\! touch x", "copy migrations to '/tmp/x'"):
            self.assert_exit(self.gate(self.t, self.check(query)), 2)
        self.assertEqual(self.server.sql("shop", "SELECT count(*) FROM migrations"), "2")

    def test_a_server_that_is_away_for_a_moment_is_waited_for(self):
        self.server.stop()
        self.server.start()
        self.assert_exit(self.gate(self.t, self.check("SELECT 1")), 0)
        self.server.stop()
        wrong = self.gate(self.t, self.check("SELECT 1"), deadline="500ms")
        self.assert_exit(wrong, 1)
        self.assert_says(wrong, "query of shop: SELECT 1 ")
        self.server.start()

    @unittest.skipIf(NO_DOCKER, NO_DOCKER)
    def test_a_query_goes_through_the_container_of_the_server(self):
        with Docker() as d:
            d.image("local/bb:1")
            mounts = [x for path in ("/usr", "/lib", "/lib64") if os.path.isdir(path) for x in ("-v", f"{path}:{path}:ro")]
            d.run("run", "-d", "--name", "db", "--network", "none", *mounts, "-v", f"{self.server.dir}:{self.server.dir}",
                  "-e", f"PATH={self.server.bin}:/bin", "local/bb:1", "sleep", "1000")
            check = self.check("SELECT current_setting('application_name') || max(id) FROM migrations", equals="secret-app42",
                               env={"DOCKER_HOST": d.host, "PGAPPNAME": "${{ secrets.APP }}"})
            check["postgres"]["container"] = "db"
            result = self.gate(self.t, check, deadline="5s", secrets={"APP": "secret-app"})
            self.assert_exit(result, 0)


SYSTEMCTL = """#!/bin/sh
# Plays states, one a call; the last one stays.
n=$(cat {dir}/n 2>/dev/null || echo 0); echo $((n + 1)) > {dir}/n
echo "$@" >> {dir}/calls
cat {dir}/state.$n 2>/dev/null || cat {dir}/state.last
"""


class Units(GateCase):
    def setUp(self):
        self.t = self.enterContext(Trial())
        self.dir = self.t.path("systemd")
        os.mkdir(self.dir)
        self.script("systemctl", SYSTEMCTL.replace("{dir}", self.dir))
        self.script("journalctl", '#!/bin/sh\nprintf "first\\nport is taken\\n"\n')
        self.env = {"PATH": self.dir + ":" + os.environ["PATH"]}

    def script(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        os.chmod(path, 0o755)

    def states(self, *states):
        """Each: active, sub, restarts, invocation."""
        for number, (active, sub, restarts, invocation) in enumerate(states):
            name = "last" if number == len(states) - 1 else str(number)
            with open(os.path.join(self.dir, "state." + name), "w", encoding="ascii") as f:
                f.write(f"Result={'success' if active == 'active' else 'exit-code'}\nLoadState=loaded\nActiveState={active}\nSubState={sub}\n"
                        f"NRestarts={restarts}\nExecMainStatus=1\nInvocationID={invocation}\n")

    def check(self, **more):
        return {"unit": {"name": "shop.service"}, "settle": "300ms", **more}

    def test_a_unit_that_becomes_active_and_stays_so_passes(self):
        self.states(("activating", "start", 0, "a"), ("active", "running", 0, "a"))
        self.assert_exit(self.gate(self.t, self.check(), env=self.env), 0)
        with open(os.path.join(self.dir, "calls"), encoding="ascii") as f:
            self.assertIn("--system show --property LoadState,", f.readline())

    def test_a_unit_that_is_restarted_while_it_settles_begins_anew_and_one_that_goes_on_so_fails(self):
        self.states(*[("active", "running", n, f"i{n}") for n in range(40)], ("failed", "failed", 5, "x"))
        wrong = self.gate(self.t, self.check(), env=self.env, deadline="2s")
        self.assert_exit(wrong, 1)
        self.assert_says(wrong, "shop.service | port is taken")
        self.assertTrue(any("restarted since" in p["seen"] for p in self.probes(self.t)))

    def test_a_unit_that_is_not_there_or_has_failed_is_named(self):
        self.states(("failed", "failed", 5, "x"))
        wrong = self.gate(self.t, self.check(), env=self.env, deadline="2s")
        self.assert_says(wrong, "unit shop.service is failed (failed, exit-code, exit code 1), was restarted 5 times")
        with open(os.path.join(self.dir, "state.last"), "w", encoding="ascii") as f:
            f.write("LoadState=not-found\nActiveState=inactive\n")
        self.assert_says(self.gate(self.t, self.check(), env=self.env, deadline="2s"), "there is no such unit")


if __name__ == "__main__":
    main()
