#!/usr/bin/env python3
"""I6: a full destroy and rebuild of an environment was a sequence of commands in the right order. The deployment file describes the environment: --destroy, confirmed by
the environment's name, takes down what its steps made, the last one first, and the file itself rebuilds it. Drift is told and never applied by itself."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.guests import GuestCase, lxc  # noqa: E402
from harness.trial import main  # noqa: E402
from servers.proxmox import SECRET  # noqa: E402


class Environment(GuestCase):
    def setUp(self):
        super().setUp()
        self.etc = os.path.join(self.t.src, "etc")
        self.conf = os.path.join(self.etc, "shop.conf")

    def describe(self, p, *guests):
        """Guests, what depends on them on this machine, and a step that made nothing that could be destroyed. The steps have no ids."""
        files = [{"directory": {"path": self.etc}}, {"file": {"path": self.conf, "content": "app = ${{ resources.app.ip }}\n"}},
                 {"file": {"path": os.path.join(self.etc, "banner"), "content": "hello\n"}}]
        self.write(p, [{"run": {"target": "here", "command": ["true"], "undo": "none"}},
                       {"apply": {"target": "cloud", "max_destroy": 0, "resources": list(guests or (lxc("app", 101, id="app", depends_on=["lxc:db"]), lxc("db", 102)))}},
                       {"apply": {"target": "here", "resources": files}}])

    def deploy(self, *args, code=0):
        result = self.t.run("deploy", "deploy.yml", "--secret", "PVE_TOKEN", *args, env={"PVE_TOKEN": SECRET})
        self.assert_exit(result, code)
        return result

    def test_it_goes_in_the_reverse_order_and_comes_back_as_it_was(self):
        p = self.server()
        self.describe(p)
        self.deploy()
        with open(self.conf) as f:
            self.assertEqual(f.read(), "app = 192.0.2.101\n")
        for name in ("prod", "tes"):
            self.assert_says(self.deploy("--destroy", name, code=2), f"the environment of this file is 'test', not '{name}'")
        plan = self.deploy("--destroy", "test", "--plan")
        self.assert_says(plan, "what 'run' did stays as it is", "destroy all that this step made in test", "lxc:app", "lost for good")
        self.assertEqual((sorted(p.guests), os.path.exists(self.conf)), ([101, 102], True))
        self.deploy("--destroy", "test")
        self.assertEqual((p.guests, os.path.exists(self.etc)), ({}, False))
        self.assertEqual([t["id"] for t in p.tasks if t["type"] == "vzdestroy"], ["101", "102"])
        self.assert_says(self.deploy("--destroy", "test", "--plan"), "Nothing to change")
        self.deploy()
        self.assertEqual((sorted(p.guests), os.path.exists(self.conf)), ([101, 102], True))

    def test_what_is_protected_and_what_somebody_else_made_stays(self):
        p = self.server()
        self.describe(p, lxc("app", 101, id="app"), lxc("db", 102, protect=True))
        self.deploy()
        self.assert_says(self.deploy("--destroy", "test", code=2), "lxc:db", "protected")
        self.assertEqual((sorted(p.guests), os.path.exists(self.conf)), ([101, 102], True))
        self.describe(p, lxc("app", 101, id="app"), lxc("db", 102))
        self.deploy()
        p.guests.pop(102)
        p.add_guest(102, "somebody-elses")
        self.deploy("--destroy", "test")
        self.assertEqual(sorted(p.guests), [102])

    def test_the_input_of_a_step_is_bound_to_the_environment_too(self):
        p = self.server()
        self.apply(p, lxc())
        self.assert_says(self.apply(p, lxc(), step={"destroy": "production"}, code=2), "`destroy` says 'production', and the environment is 'test'")
        self.assertEqual(sorted(p.guests), [101])
        self.apply(p, lxc(), step={"destroy": "test"})
        self.assertEqual(p.guests, {})

    def test_drift_is_told_by_status_output_and_metric_and_changes_nothing(self):
        p = self.server()
        self.describe(p)
        self.deploy()
        metrics = os.path.join(self.t.src, "davit.prom")
        self.deploy("--plan", "--refresh", "--metrics", metrics)
        with open(metrics) as f:
            self.assertIn('davit_drift_changes{name="shop",environment="test"} 0\n', f.read())
        p.guests[102]["config"]["memory"] = 4096
        with open(os.path.join(self.etc, "banner"), "w") as f:
            f.write("by hand\n")
        drift = self.deploy("--plan", "--refresh", "--metrics", metrics, code=6)
        self.assert_says(drift, "memory: 4096 → 512", "banner", "2 changes would bring that back")
        with open(metrics) as f:
            self.assertRegex(f.read(), r'davit_drift_changes\{name="shop",environment="test"\} 2\n(.*\n)*davit_drift_looked_at_seconds\{[^}]*\} \d{10}\n')
        self.assertEqual(p.guests[102]["config"]["memory"], 4096)
        self.deploy("--plan")
        self.assert_says(self.deploy("--refresh", code=2), "--refresh belongs to --plan")
        answer = json.loads(self.t.run("deploy", "deploy.yml", "--secret", "PVE_TOKEN", "--plan", "--refresh", "--json", env={"PVE_TOKEN": SECRET}).out)
        self.assertEqual(answer["drift"], 2)


if __name__ == "__main__":
    main()
