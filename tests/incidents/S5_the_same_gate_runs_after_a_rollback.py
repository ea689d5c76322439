#!/usr/bin/env python3
"""S5: a fixed 45 s wait after a rollback was not enough."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Service, Trial, main  # noqa: E402
from servers.sshd import Account, Sshd  # noqa: E402

import time


class AfterRollback(Case):
    def test_the_gate_waits_for_the_old_version_as_long_as_it_needs_and_no_longer(self):
        with Trial() as t, Sshd() as server:
            t.write("version", b"old")
            started = {}

            def answer(path, count):
                version = t.read("version")
                if version == b"broken":
                    started.clear()
                    return 500
                # The old version needs a while after its restart, here two seconds from the first time it is asked.
                if os.path.exists(t.path("restarted")):
                    since = started.setdefault("at", time.monotonic())
                    return 502 if time.monotonic() - since < 2 else 200
                return 200

            with Service(answer) as service:
                steps = [
                    {"apply": {"resources": [{"file": {"path": t.path("version"), "content": "broken"}}]}},
                    {"run": {"command": ["true"], "after_undo": ["touch", t.path("restarted")], "when_none": "run"}},
                    {"health-gate": {"checks": [{"http": service.url, "interval": "100ms", "for": 2}], "deadline": "5s"}},
                ]
                begin = time.monotonic()
                result = t.deploy({"targets": {"web": server.target()}, "steps": steps})
                took = time.monotonic() - begin
            self.assert_exit(result, 1)
            self.assertEqual(t.read("version"), b"old")
            self.assertTrue(os.path.exists(t.path("restarted")))
            self.assert_says(result, "answered 500, wanted 200")
            self.assertLess(took, 40, repr(result))

    def test_an_old_version_that_stays_broken_is_told(self):
        with Trial() as t, Sshd() as server:
            t.write("version", b"old")
            with Service(lambda path, count: 200 if count == 1 else 500) as service:
                steps = [
                    {"apply": {"resources": [{"file": {"path": t.path("version"), "content": "broken"}}]}},
                    {"health-gate": {"checks": [{"http": service.url, "interval": "100ms"}], "deadline": "1s"}},
                ]
                result = t.deploy({"targets": {"web": server.target()}, "steps": steps})
            self.assert_exit(result, 4)
            self.assertEqual(t.read("version"), b"old")
            self.assert_says(result, "not healthy")

    def test_behind_a_commit_it_asks_once_the_data_is_back_and_its_answer_is_the_exit_code(self):
        with Trial() as t:
            t.write("data/rows", b"old")
            wanted = {b"old"}
            with Service(lambda path, count: 200 if t.read("data/rows").strip() in wanted else 500) as service:
                def deploy(version, *more):
                    os.makedirs(os.path.join(t.src, "app"), exist_ok=True)
                    with open(os.path.join(t.src, "app", "VERSION"), "w", encoding="ascii") as f:
                        f.write(version)
                    return t.deploy({"targets": {"web": {"local": {}}}, "steps": [
                        {"snapshot": {"files": {"paths": [t.path("data")]}}},
                        {"archive-upload": {"source": "app", "path": t.path("www")}}, *more,
                        {"health-gate": {"checks": [{"http": service.url, "interval": "100ms"}], "deadline": "1s"}}]})
                self.assert_exit(deploy("1"), 0)
                wanted.add(b"new")
                self.assert_exit(deploy("2", {"run": {"script": f"echo new > {t.path('data/rows')}", "undo": "none"}}), 0)
                wanted.remove(b"old")
                ill = t.run("rollback", "last", "--data")
                self.assert_exit(ill, 1)
                self.assert_says(ill, "answered 500, wanted 200")
                self.assertEqual((t.read("data/rows"), t.read("www/current/VERSION")), (b"new\n", b"2"), "taken back, the data as well")
                wanted.add(b"old")
                wanted.remove(b"new")
                second = [d["id"] for d in json.loads(t.run("history", "--json").out) if d["state"] == "committed"][0]
                self.assert_exit(t.run("rollback", second, "--data"), 0)
                self.assertEqual((t.read("data/rows"), t.read("www/current/VERSION")), (b"old", b"1"))


if __name__ == "__main__":
    main()
