#!/usr/bin/env python3
"""I8: an inventory sent a playbook to the wrong address. Targets are named once, in one place; what was recorded and reported of each step is
the host that it acted on, with the identity that this host proved, and another machine under a known address is refused before the first
change. Against real servers."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers.sshd import Sshd  # noqa: E402


def write(t, target, name):
    return {"name": f"on {target}", "run": {"target": target, "command": ["touch", t.path(name)], "undo": ["rm", "-f", t.path(name)]}}


class Hosts(Case):
    def test_the_report_names_for_each_step_the_host_and_the_identity_that_it_answered_with(self):
        with Trial() as t, Sshd() as web, Sshd() as db:
            result = t.deploy({"targets": {"web": web.target(), "db": db.target(base=t.path("db-base"))}, "steps": [write(t, "web", "a"), write(t, "db", "b")]})
            self.assert_exit(result, 0)
            report = json.loads(t.run("show", "last", "--json").out)
            answered = {x["name"]: x["identity"] for x in report["deployment"]["targets"]}
            self.assertEqual(answered, {"web": web.host_key, "db": db.host_key})
            self.assertEqual([c["target"] for c in report["changes"]], ["web", "db"])
            shown = t.run("show", "last")
            self.assert_says(shown, web.host_key, db.host_key)
            lines = shown.out.splitlines()
            for step, target in (("on web", "web"), ("on db", "db")):
                (at,) = [i for i, x in enumerate(lines) if x.strip().startswith(step)]
                self.assertRegex(lines[at + 1], rf"run +{target} touch")
            page = os.path.join(t.dir, "page.html")
            self.assert_exit(t.run("report", "last", "--html", page), 0)
            with open(page) as f:
                text = f.read()
            self.assertIn(web.host_key, text)
            self.assertIn(db.host_key, text)

    def test_another_machine_under_a_known_address_is_refused_before_the_first_change(self):
        with Trial() as t, Sshd() as web, Sshd() as stranger:
            moved = web.target()
            moved["ssh"]["port"] = stranger.port
            with open(stranger.key) as f:
                moved["ssh"]["key"] = f.read()
            result = t.deploy({"targets": {"here": {"local": {}}, "web": moved}, "steps": [write(t, "here", "a"), write(t, "web", "b")]})
            self.assert_exit(result, 2)
            self.assert_says(result, "web", web.host_key, stranger.host_key)
            self.assertEqual(os.listdir(t.target_dir), [])

    def test_a_step_for_a_host_that_no_target_names_is_refused_with_the_names_that_there_are(self):
        with Trial() as t, Sshd() as web:
            result = t.deploy({"targets": {"web": web.target(), "db": {"local": {}}}, "steps": [write(t, "wbe", "a")]})
            self.assert_exit(result, 2)
            self.assert_says(result, "no target is called 'wbe'", "did you mean 'web'?")
            self.assertEqual(os.listdir(t.target_dir), [])

    def test_two_names_of_one_place_are_refused_before_the_first_change(self):
        with Trial() as t, Sshd() as web:
            result = t.deploy({"targets": {"blue": web.target(), "green": web.target()}, "steps": [write(t, "blue", "a"), write(t, "green", "b")]})
            self.assert_exit(result, 2)
            self.assert_says(result, "the targets 'blue' and 'green' are one", t.base, "name it once")
            self.assertEqual(os.listdir(t.target_dir), [])
            self.assertEqual(os.listdir(os.path.join(t.base, "open")) if os.path.exists(os.path.join(t.base, "open")) else [], [])


if __name__ == "__main__":
    main()
