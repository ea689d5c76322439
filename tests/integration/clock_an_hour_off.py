#!/usr/bin/env python3
"""A clock that is an hour off: of the machine that deploys, which is set right in between, and of a target, ahead and behind."""
import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from harness.waiting import until  # noqa: E402
from servers import faketime  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

HOUR = 3600


class Clock(Case):
    def setUp(self):
        why = faketime.why_not()
        if why:
            self.skipTest(why)
        self.t = Trial()
        self.addCleanup(self.t.__exit__)
        self.targets = {"web": {"local": {}}}

    def release(self, version, off=0, *more, **heads):
        """Deployed by a machine whose clock is so far off: what lies there is kept, then a release, then more."""
        with open(os.path.join(self.t.src, "VERSION"), "w", encoding="ascii") as f:
            f.write(version)
        data = self.t.path("data")
        steps = [{"snapshot": {"files": {"paths": [data], "keep": 2}}}, {"archive-upload": {"source": ".", "path": self.t.path("www"), "keep": 2}},
                 {"run": {"command": ["sh", "-c", f"echo {version} > {data}"], "undo": "none"}}, *more]
        return self.t.deploy({"targets": self.targets, "steps": steps, **heads}, env=faketime.environment(off))

    def killed(self, **heads):
        """Version 2 stands there, and its last step waits; nobody deploys it any more."""
        begun = self.t.path("begun")
        if os.path.exists(begun):
            os.remove(begun)
        with open(os.path.join(self.t.src, "VERSION"), "w", encoding="ascii") as f:
            f.write("2")
        steps = [{"archive-upload": {"source": ".", "path": self.t.path("www"), "keep": 2}},
                 {"run": {"command": ["sh", "-c", f"touch {begun}; exec sleep 1000"], "undo": "none"}}]
        document = {"name": "shop", "environment": "test", "targets": json.loads(json.dumps(self.targets)), "steps": steps, **heads}
        document["targets"]["web"]["base"] = self.t.base
        with open(os.path.join(self.t.src, "deploy.yml"), "w", encoding="utf-8") as f:
            json.dump(document, f)
        process = self.t.start("deploy", "deploy.yml", log=self.t.path("log"))
        until(lambda: os.path.exists(begun) or process.poll() is not None, "the last step")
        self.assertIsNone(process.poll(), self.t.read("log"))
        self.assertEqual(self.version(), "2")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def said(self):
        try:
            with open(os.path.join(self.t.base, "open", "shop.test", "alone", "said"), encoding="ascii") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def assert_undone(self):
        self.assertEqual(self.version(), "1")
        self.assertEqual(self.history()[0]["state"], "undone")
        self.assert_nothing_is_open()

    def version(self):
        return self.t.read("www", "current", "VERSION").decode()

    def history(self):
        return json.loads(self.t.run("history", "--json").out)

    def assert_nothing_is_open(self):
        opened = os.path.join(self.t.base, "open")
        self.assertEqual(os.listdir(opened) if os.path.isdir(opened) else [], [])


class OfTheAgent(Clock):
    def test_once_it_is_set_back_the_newest_is_still_the_last_that_was_made(self):
        self.t.write("data", b"0")
        for version, off in (("1", HOUR), ("2", HOUR), ("3", 0), ("4", 0)):
            self.assert_exit(self.release(version, off), 0)
        ids = [row["id"] for row in self.history()]
        self.assertEqual(self.version(), "4")
        self.assertEqual(sorted(n for n in os.listdir(self.t.path("www", "releases")) if not n.startswith(".")), sorted(ids[:2]), "the newest two stay")
        self.assertEqual(sorted(os.listdir(os.path.join(self.t.base, "snapshots", "shop.test"))), sorted(ids[:2]))
        self.assertEqual(ids, sorted(ids, reverse=True))
        self.assert_exit(self.t.run("rollback", "--to", ids[1]), 0)
        self.assertEqual(self.version(), "3")
        restore = {"restore": {"files": {"paths": [self.t.path("data")]}}}
        self.assert_exit(self.t.deploy({"targets": self.targets, "steps": [restore]}), 0)
        self.assertEqual(self.t.read("data"), b"3\n", "what the last snapshot kept")
        self.assert_nothing_is_open()

    def test_a_deployment_that_died_is_recovered_by_a_clock_that_is_an_hour_earlier_and_one_that_is_later(self):
        self.t.write("data", b"0")
        self.assert_exit(self.release("1"), 0)
        for off in (HOUR, -HOUR):
            self.killed()
            self.assert_exit(self.t.run("recover", env=faketime.environment(off)), 0)
            self.assert_undone()


class OfTheTarget(Clock):
    def setUp(self):
        super().setUp()
        self.t.write("data", b"0")

    def over(self, off):
        """A target whose clock is so far off: that of all its commands."""
        options = "".join(f" {name}={value}" for name, value in faketime.environment(off).items())
        server = Sshd(options=["SetEnv SHLVL=9" + options]).start()
        self.addCleanup(server.close)
        self.targets = {"web": server.target(base=self.t.base)}

    def test_it_is_told_before_anything_changes_and_changes_nothing_in_what_is_made_kept_and_taken_back(self):
        for off, side in ((HOUR, "ahead of"), (-HOUR, "behind")):
            with self.subTest(off=off):
                self.over(off)
                refused = self.release("1", 0, {"preflight": {}})
                self.assert_exit(refused, 2)
                self.assert_says(refused, "the clock of 'web' is", side, "`clock` says how much is allowed")
                for version in ("1", "2", "3"):
                    self.assert_exit(self.release(version, 0, {"preflight": {"clock": "2h"}}, undo_alone="10m"), 0)
                ids = [row["id"] for row in self.history()]
                self.assertEqual(sorted(os.listdir(os.path.join(self.t.base, "snapshots", "shop.test"))), sorted(ids[:2]))
                self.killed(undo_alone="10m")
                self.assert_exit(self.release("4"), 0)
                self.assertEqual([row["state"] for row in self.history()[:2]], ["committed", "undone"])
                self.assertEqual(self.version(), "4")
                self.assert_nothing_is_open()

    def test_it_goes_back_by_itself_after_that_time_and_not_an_hour_later(self):
        for off in (HOUR, -HOUR):
            with self.subTest(off=off):
                self.over(off)
                self.assert_exit(self.release("1"), 0)
                self.killed(undo_alone="10s")
                until(lambda: self.version() == "1" and "ended" in self.said(), "that the target goes back")
                recovered = self.t.run("recover")
                self.assert_exit(recovered, 0)
                self.assert_says(recovered, "'web' went back by itself at ")
                self.assert_undone()


if __name__ == "__main__":
    main()
