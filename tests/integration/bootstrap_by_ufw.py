#!/usr/bin/env python3
"""Rules of the real ufw, in namespaces of its own (tests/servers/host_root.py)."""
import glob
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import SKIP, Case, Trial, main  # noqa: E402
from servers import host_root  # noqa: E402

FAIL = {"run": {"command": "false", "undo": "none"}}
# As people write them: host bits, capitals, a prefix that says nothing.
RULES = [{"allow": "4242/tcp"}, {"allow": "53/udp", "from": "10.1.2.3/8"}, {"allow": "80/tcp", "from": "2001:DB8:0::/32"},
         {"allow": "81/tcp", "from": "10.1.2.3/32"}, {"allow": "82/tcp", "from": "0.0.0.0/0"}]
SHOWN = ["ufw allow 4242/tcp", "ufw allow 82/tcp", "ufw allow from 10.0.0.0/8 to any port 53 proto udp", "ufw allow from 10.1.2.3 to any port 81 proto tcp",
         "ufw allow from 2001:db8::/32 to any port 80 proto tcp"]


def ufw(*args):
    return subprocess.run(["ufw", *args], capture_output=True, text=True, check=True).stdout


def added():
    return sorted(line for line in ufw("show", "added").splitlines() if line.startswith("ufw "))


class Ufw(Case):
    def setUp(self):
        """As the package leaves it: no rules, and not switched on."""
        for path in glob.glob("/usr/share/ufw/iptables/*.rules"):
            shutil.copy(path, "/etc/ufw/")

    def deploy(self, t, rules, *args, after=(), code=0):
        result = t.deploy({"targets": {"web": {"local": {}}}, "steps": [{"bootstrap": {"firewall": rules}}, *after]}, *args)
        self.assert_exit(result, code)
        return result

    def test_rules_come_once_and_only_they_go_again(self):
        ufw("--force", "enable")
        self.addCleanup(ufw, "--force", "disable")
        ufw("allow", "22/tcp")
        with Trial() as t:
            self.deploy(t, RULES[:2], after=[FAIL], code=1)
            self.assertEqual(added(), ["ufw allow 22/tcp"])
            plan = self.deploy(t, RULES, "--plan")
            self.assert_says(plan, "let in 4242/tcp, by ufw")
            self.assertNotIn("not switched on", plan.text)
            self.deploy(t, RULES)
            self.assertEqual(added(), sorted([*SHOWN, "ufw allow 22/tcp"]))
            self.assertIn("--dport 4242 -j ACCEPT", subprocess.run(["iptables", "-S"], capture_output=True, text=True, check=True).stdout)
            self.assert_says(self.deploy(t, RULES, "--plan"), "Nothing to change")
            self.assert_exit(t.run("rollback", "last"), 0)
        self.assertEqual(added(), ["ufw allow 22/tcp"])

    def test_that_it_is_not_switched_on_is_said_and_left_so(self):
        with Trial() as t:
            self.assert_says(self.deploy(t, RULES[:1]), "ufw on 'web' is not switched on: rules wait until it is")
        self.assertEqual(added(), ["ufw allow 4242/tcp"])
        self.assertIn("Status: inactive", ufw("status"))

    def test_a_rule_that_somebody_made_keeps_its_comment_and_stays(self):
        ufw("allow", "4242/tcp", "comment", "by hand")
        ufw("allow", "log", "from", "10.0.0.0/8", "to", "any", "port", "53", "proto", "udp")
        before = added()
        with Trial() as t:
            self.assert_says(self.deploy(t, RULES[:2], "--plan"), "Nothing to change")
            self.deploy(t, RULES[:3], after=[FAIL], code=1)
        self.assertEqual(added(), before)

    def test_a_rule_that_forbids_or_limits_the_same_is_not_replaced(self):
        ufw("limit", "22/tcp")
        ufw("deny", "from", "10.0.0.0/8", "to", "any", "port", "53", "proto", "udp")
        before = added()
        for rule, words in (({"allow": "22/tcp"}, "22/tcp: limit"), ({"allow": "53/udp", "from": "10.0.0.0/8"}, "53/udp from 10.0.0.0/8: deny")):
            with Trial() as t:
                self.assert_says(self.deploy(t, [RULES[0], rule], code=2), f"ufw on 'web' has another rule for {words}")
        self.assertEqual(added(), before)

    def test_what_is_no_address_is_refused(self):
        for source in ("10.0.0.0/33", "999.1.1.1", "10.0.0", "2001:db8::/129", "1:2"):
            with Trial() as t:
                self.assert_says(self.deploy(t, [{"allow": "22/tcp", "from": source}], code=2), "is no address and no network")


if __name__ == "__main__":
    host_root.enter(ufw=True)
    if shutil.which("ufw") is None:
        print("skipped: ufw is missing")
        sys.exit(SKIP)
    main()
