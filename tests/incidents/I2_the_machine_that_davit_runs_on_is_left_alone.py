#!/usr/bin/env python3
"""I2: the guest that ran the runner was in the plan and killed its own job. A guest that has this machine's network card or address is not stopped, restarted,
replaced or destroyed, and that is known before the first change."""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.guests import GuestCase, lxc  # noqa: E402
from harness.own import own_address, own_card  # noqa: E402
from harness.trial import main  # noqa: E402


class Self(GuestCase):
    def assert_left_alone(self, **config):
        p = self.server()
        self.apply(p, lxc("runner", 101), lxc("web", 102))
        p.guests[101]["config"].update(config.get("config", {}))
        p.guests[101]["interfaces"] = config.get("interfaces", [])
        before, count = json.dumps(p.guests[101]["config"]), len(p.tasks)
        runner = {"ignore_changes": ["net"]}
        for wanted, allow in (({"running": False}, []), ({"features": "nesting=1"}, []), ({"unprivileged": False}, ["lxc:runner=101"])):
            result = self.apply(p, lxc("runner", 101, **wanted, **runner), lxc("web", 102, memory=1024), allow=allow, code=2)
            self.assert_says(result, "guest 101 'runner' is the machine that davit runs on")
        self.assert_says(self.apply(p, lxc("web", 102, memory=1024), allow=["lxc:runner=101"], code=2), "is the machine that davit runs on", "not destroyed")
        self.assertEqual((json.dumps(p.guests[101]["config"]), len(p.tasks), p.guests[102]["config"]["memory"]), (before, count, 512))
        self.apply(p, lxc("runner", 101, memory=1024, **runner), lxc("web", 102))
        self.assertEqual(p.guests[101]["config"]["memory"], 1024)

    @unittest.skipUnless(own_card(), "this machine has no network card")
    def test_a_guest_with_this_machines_card_is_left_alone(self):
        self.assert_left_alone(config={"net0": f"name=eth0,bridge=vmbr0,hwaddr={own_card()},ip=dhcp,type=veth"})

    @unittest.skipUnless(own_address(), "this machine has no address")
    def test_a_guest_with_this_machines_address_is_left_alone(self):
        self.assert_left_alone(config={"net0": f"name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip={own_address()}/24,type=veth"})

    @unittest.skipUnless(own_address(), "this machine has no address")
    def test_a_guest_that_got_this_machines_address_is_left_alone(self):
        self.assert_left_alone(interfaces=[{"name": "eth0", "hwaddr": "bc:24:11:00:00:01", "inet": f"{own_address()}/24"}])

    def test_a_guest_that_is_none_of_ours_is_not(self):
        p = self.server()
        self.apply(p, lxc("web", 102))
        self.apply(p, lxc("web", 102, running=False))
        self.assertEqual(p.guests[102]["status"], "stopped")


if __name__ == "__main__":
    main()
