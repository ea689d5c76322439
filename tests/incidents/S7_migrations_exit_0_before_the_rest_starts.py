#!/usr/bin/env python3
"""S7: migrations ran, or did not, and nobody knew."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.stack import StackCase, main, service  # noqa: E402

AFTER = {"migrate": {"condition": "service_completed_successfully"}}


class S7(StackCase):
    def stack_of(self, version, command):
        return {"services": {"web": service(version, depends_on=AFTER), "migrate": {"image": f"local/web:{version}", "command": command}}}

    def test_a_migration_that_fails_starts_nothing_and_what_ran_comes_back(self):
        with self.stack() as s:
            s.compose(self.stack_of("1", ["true"]))
            self.assert_exit(s.up(), 0)
            before = {n: f for n, f in s.facts().items() if n == "web"}
            s.compose(self.stack_of("2", ["sh", "-c", "echo column exists; exit 3"]))
            result = s.up()
            self.assert_exit(result, 1)
            self.assert_says(result, "| column exists", "exit status 3")
            self.assertEqual({n: f for n, f in s.facts().items() if n == "web"}, before)

    def test_a_migration_that_nothing_waits_for_has_to_end_well_too(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(), "migrate": {"image": "local/tool:1", "command": ["sh", "-c", "sleep 1; exit 4"]}}})
            result = s.up(once=["migrate"])
            self.assert_exit(result, 1)
            self.assert_says(result, "migrate exited with 4")

    def test_what_migrated_before_and_now_is_recorded(self):
        with self.stack() as s:
            for version in ("1", "2"):
                s.compose(self.stack_of(version, ["true"]))
                result = s.up()
                self.assert_exit(result, 0)
            self.assert_says(result, "migrate ran to its end: local/web:2", "before: local/web:1")
            shown = s.run("show", s.last()["id"], "--json").out
            once = [e["data"]["migrate"] for e in json.loads(shown)["events"] if e["kind"] == "once"]
            self.assertEqual([(o["image_before"], o["image"]) for o in once], [("local/web:1", "local/web:2")])
            self.assertNotEqual(once[0]["id"], once[0]["id_before"])


if __name__ == "__main__":
    main()
