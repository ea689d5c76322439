#!/usr/bin/env python3
"""I2: the machine that ran the job was in the plan. An instance that has this machine's network card or address is not switched off, replaced or destroyed, and that is
known before the first change."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.own import own_address, own_card  # noqa: E402
from harness.scaleway import ScalewayCase, instance  # noqa: E402
from harness.trial import main  # noqa: E402


class Self(ScalewayCase):
    def assert_left_alone(self, **facts):
        s = self.service()
        self.apply(s, instance("runner"), instance())
        runner = s.server("runner")
        runner.update(facts)
        del s.requests[:]
        for wanted, allow in (({"running": False}, []), ({"commercial_type": "DEV1-M"}, []), ({"image": "debian_trixie"}, [f"scaleway_instance:runner={runner['id']}"])):
            result = self.apply(s, instance("runner", **wanted), instance(tags=["x"]), allow=allow, code=2)
            self.assert_says(result, "the instance 'runner' is the machine that davit runs on")
        gone = self.apply(s, instance(tags=["x"]), allow=[f"scaleway_instance:runner={runner['id']}"], code=2)
        self.assert_says(gone, "is the machine that davit runs on", "not destroyed")
        self.assertEqual((s.changed(), runner["state"]), ([], "running"))
        self.apply(s, instance("runner", tags=["ci"]), instance())
        self.assertIn("ci", runner["tags"])

    @unittest.skipUnless(own_card(), "this machine has no network card")
    def test_an_instance_with_this_machines_card_is_left_alone(self):
        self.assert_left_alone(mac_address=(own_card() or "").lower())

    @unittest.skipUnless(own_address(), "this machine has no address")
    def test_an_instance_with_this_machines_address_is_left_alone(self):
        self.assert_left_alone(private_ip=own_address())

    def test_another_instance_is_not(self):
        s = self.service()
        self.apply(s, instance())
        self.apply(s, instance(running=False))
        self.assertEqual(s.server("web")["state"], "stopped")


if __name__ == "__main__":
    main()
