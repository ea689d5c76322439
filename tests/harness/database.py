"""Deployments with a real database: a server for all tests of a case, a fresh database for each."""
import json
import os
import unittest

from harness.trial import Case, Trial
from servers import postgres

FAIL = {"run": {"command": ["false"], "undo": "none"}}
RENAME = "ALTER TABLE sale RENAME cents TO pence; DELETE FROM sale WHERE id > 500"
SCHEMA = """
CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE sale (id int PRIMARY KEY, customer int REFERENCES customer, cents int);
CREATE INDEX ON sale (customer);
CREATE VIEW turnover AS SELECT customer, sum(cents) FROM sale GROUP BY customer;
INSERT INTO customer SELECT i, 'customer ' || i FROM generate_series(1, 50) i;
INSERT INTO sale SELECT i, 1 + i % 50, i * 7 FROM generate_series(1, 1000) i;
"""


class DatabaseCase(Case):
    settings = ()

    @classmethod
    def setUpClass(cls):
        why = postgres.lacking()
        if why:
            raise unittest.SkipTest(why)
        cls.server = postgres.Postgres(cls.settings).__enter__()
        cls.addClassCleanup(cls.server.__exit__)
        cls.count = 0

    def setUp(self):
        type(self).count += 1
        self.db = f"shop{self.count}"
        self.server.sql("postgres", f"CREATE DATABASE {self.db}")
        self.server.sql(self.db, SCHEMA)
        self.addCleanup(self.server.sql, "postgres", f"DROP DATABASE IF EXISTS {self.db} WITH (FORCE)")
        self.t = Trial()
        self.addCleanup(self.t.__exit__)

    def snapshot(self, **more):
        return {"snapshot": {"postgres": self.server.source(self.db, **more)}}

    def sql(self, text):
        """A step that runs it in the database."""
        return {"run": {"command": ["psql", "-XAtqw", "-h", self.server.dir, "-p", str(self.server.port), "-U", "postgres", "-d", self.db,
                                    "-c", text], "undo": "none"}}

    def deploy(self, *steps, **more):
        return self.t.deploy({"targets": {"web": {"local": {}}}, "steps": list(steps)}, **more)

    def content(self):
        """All that the database holds, as text: schema, rows, settings of its own."""
        dump = self.server.run("pg_dump", "--create", self.db)
        return "\n".join(line for line in dump.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))

    def kept(self):
        """The directories of the snapshots, oldest first."""
        top = os.path.join(self.t.base, "snapshots", "shop.test")
        ids = sorted(os.listdir(top), key=lambda name: (name[:15], os.stat(os.path.join(top, name)).st_mtime_ns)) if os.path.isdir(top) else []
        return [os.path.join(top, name, place) for name in ids for place in sorted(os.listdir(os.path.join(top, name)))]

    def programs(self, **wrappers):
        """A directory of the server's programs in which some are scripts of the test's own; $REAL is the one that each stands for."""
        folder = self.t.path("programs")
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)
        for name in ("psql", "pg_dump", "pg_restore"):
            path, real = os.path.join(folder, name), os.path.join(self.server.bin, name)
            with open(path, "w") as f:
                f.write(f"#!/bin/sh\nREAL={real}\n" + wrappers.get(name, 'exec "$REAL" "$@"') + "\n")
            os.chmod(path, 0o755)
        return folder

    def assert_no_databases_of_davit(self):
        self.assertEqual([name for name in self.server.databases() if name.startswith("davit")], [])


class ReleaseCase(DatabaseCase):
    """Releases with uploads and a database, both kept by snapshots; version 1 is deployed."""

    def state(self):
        with open(self.t.path("www/current/VERSION")) as f:
            version = f.read()
        return version, self.t.read("uploads/photo"), self.content()

    def release(self, version, *more, ask=False):
        os.makedirs(os.path.join(self.t.src, "app"), exist_ok=True)
        with open(os.path.join(self.t.src, "app", "VERSION"), "w") as f:
            f.write(version)
        return self.deploy(
            {"snapshot": {"files": {"paths": [self.t.path("uploads")], "restore_on_rollback": ask}}},
            self.snapshot(restore_on_rollback=ask, prove=ask),
            {"archive-upload": {"source": "app", "path": self.t.path("www")}},
            *more)

    def migrate(self):
        return [self.sql(RENAME), {"run": {"command": ["sh", "-c", f"echo new > {self.t.path('uploads/photo')}"], "undo": "none"}}]

    def setUp(self):
        super().setUp()
        self.t.write("uploads/photo", b"old")
        self.assert_exit(self.release("1"), 0)
        self.before = self.state()

    def newest(self):
        return json.loads(self.t.run("history", "--json").out)[0]["id"]

    def assert_nothing_is_left(self):
        self.assert_no_databases_of_davit()
        open_ = os.path.join(self.t.base, "open")
        self.assertEqual(os.listdir(open_) if os.path.isdir(open_) else [], [])
