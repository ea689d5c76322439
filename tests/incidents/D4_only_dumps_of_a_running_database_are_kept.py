#!/usr/bin/env python3
"""D4: a volume was copied between environments while its database ran, and the copy was broken."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers import postgres  # noqa: E402
from servers.docker import Docker  # noqa: E402

FAIL = {"run": {"command": ["false"], "undo": "none"}}


class Volumes(Case):
    @classmethod
    def setUpClass(cls):
        why = postgres.lacking() or Docker.why_not()
        if why:
            raise unittest.SkipTest(why)
        cls.docker = Docker().__enter__()
        cls.addClassCleanup(cls.docker.__exit__)
        cls.docker.image("local/bb:1")
        cls.pg = postgres.PostgresContainer(cls.docker, "shop-db", "--label", "com.docker.compose.project=shop", "--label",
                                            "com.docker.compose.service=db").__enter__()
        cls.addClassCleanup(cls.pg.__exit__)
        cls.pg.sql("postgres", "CREATE DATABASE shop")
        cls.pg.sql("shop", "CREATE TABLE sale AS SELECT i FROM generate_series(1, 100) i")

    def setUp(self):
        self.t = Trial()
        self.addCleanup(self.t.__exit__)

    def deploy(self, *steps):
        for step in steps:
            for inputs in step.values():
                if set(inputs) & {"postgres", "docker-volume"}:
                    inputs["env"] = {"DOCKER_HOST": self.docker.host}
        return self.t.deploy({"targets": {"web": {"local": {}}}, "steps": list(steps)})

    def in_volume(self, name, script):
        return self.docker.run("run", "--rm", "--network", "none", "-v", name + ":/v", "local/bb:1", "sh", "-c", script)

    def test_the_volume_of_a_running_database_is_refused(self):
        result = self.deploy({"snapshot": {"docker-volume": {"volume": self.pg.volume}}})
        self.assert_exit(result, 2)
        self.assert_says(result, "is that of a running database", "PG_VERSION", "shop-db", "keep a dump")

    def test_a_dump_of_it_is_kept_proven_and_put_back(self):
        for where in ({"container": "shop-db"}, {"service": "shop/db"}):
            with self.subTest(**where):
                step = {"snapshot": {"postgres": {"database": "shop", "prove": True, "restore_on_rollback": True, **where}}}
                drop = {"run": {"command": ["docker", "-H", self.docker.host, "exec", "shop-db", "psql", "-U", "postgres", "-d", "shop",
                                            "-c", "DELETE FROM sale WHERE i > 7; CREATE TABLE later ()"], "undo": "none"}}
                self.assert_exit(self.deploy(step, drop, FAIL), 1)
                self.assertEqual(self.pg.sql("shop", "SELECT count(*) FROM sale"), "100")
                self.assertEqual(self.pg.sql("postgres", "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database"),
                                 "postgres shop template0 template1")

    def test_a_container_that_is_not_there_is_refused_or_stepped_over(self):
        for where in ({"container": "nobody"}, {"service": "shop/nobody"}):
            with self.subTest(**where):
                source = {"database": "shop", **where}
                self.assert_exit(self.deploy({"snapshot": {"postgres": source}}), 2)
                self.assert_exit(self.deploy({"snapshot": {"postgres": {**source, "when_none": "skip"}}}), 0)

    def test_files_of_a_volume_are_kept_and_put_back(self):
        self.addCleanup(self.docker.run, "volume", "rm", "-f", "uploads")
        self.in_volume("uploads", "echo old > /v/photo; chmod 600 /v/photo")
        step = {"snapshot": {"docker-volume": {"volume": "uploads", "restore_on_rollback": True}}}
        change = {"run": {"command": ["docker", "-H", self.docker.host, "run", "--rm", "--network", "none", "-v", "uploads:/v", "local/bb:1", "sh",
                                      "-c", "echo new > /v/photo; touch /v/later"], "undo": "none"}}
        self.assert_exit(self.deploy(step, change, FAIL), 1)
        self.assertEqual(self.in_volume("uploads", "ls /v; cat /v/photo"), "photo\nold\n")

    def test_a_volume_is_restored_by_a_step_and_never_from_another_environment(self):
        self.addCleanup(self.docker.run, "volume", "rm", "-f", "media")
        self.in_volume("media", "echo old > /v/photo")
        self.assert_exit(self.deploy({"snapshot": {"docker-volume": {"volume": "media"}}}), 0)
        self.in_volume("media", "echo new > /v/photo; touch /v/later")
        back = {"restore": {"docker-volume": {"volume": "media"}}}
        self.assert_exit(self.deploy(back, FAIL), 1)
        self.assertEqual(self.in_volume("media", "ls /v; cat /v/photo"), "later\nphoto\nnew\n")
        self.assert_exit(self.deploy(back), 0)
        self.assertEqual(self.in_volume("media", "ls /v; cat /v/photo"), "photo\nold\n")
        back["restore"]["from"] = {"environment": "production"}
        result = self.deploy(back)
        self.assert_exit(result, 2)
        self.assert_says(result, "only dumps move between environments")

    def test_a_volume_that_a_container_uses_is_kept_but_not_put_back_under_it(self):
        self.docker.run("run", "-d", "--name", "web", "--network", "none", "-v", "site:/v", "local/bb:1", "sh", "-c", "echo old > /v/page; sleep 1000")
        self.addCleanup(self.docker.run, "volume", "rm", "-f", "site")
        self.addCleanup(self.docker.run, "rm", "-f", "web", check=False)
        result = self.deploy({"snapshot": {"docker-volume": {"volume": "site", "restore_on_rollback": True}}}, FAIL)
        self.assert_exit(result, 4)
        self.assert_says(result, "only while that is stopped", "is in use by")
        self.docker.run("rm", "-f", "web")
        self.assert_exit(self.t.run("rollback"), 0)

    def test_a_volume_that_is_not_there_is_refused_or_stepped_over(self):
        self.assert_exit(self.deploy({"snapshot": {"docker-volume": {"volume": "nothing"}}}), 2)
        result = self.deploy({"snapshot": {"docker-volume": {"volume": "nothing", "when_none": "skip"}}})
        self.assert_exit(result, 0)
        self.assert_says(result, "nothing is kept")


if __name__ == "__main__":
    main()
