#!/usr/bin/env python3
"""S6: the runner's own host failed its own check through itself."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Service, Trial, main  # noqa: E402
from servers import mounts  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

NOT = mounts.why_not(["/etc/machine-id", "/proc/sys/kernel/random/boot_id"])


class FromHere(Case):
    def elsewhere(self, t):
        """Options of an sshd whose commands see another machine's ids."""
        for name, text in (("machine-id", b"0123456789abcdef0123456789abcdef\n"), ("boot_id", b"01234567-89ab-cdef-0123-456789abcdef\n")):
            t.write(name, text)
        script = t.write("other", b"#!/bin/sh\nmount --bind " + t.path("machine-id").encode() + b" /etc/machine-id && mount --bind " +
                         t.path("boot_id").encode() + b' /proc/sys/kernel/random/boot_id && eval "$SSH_ORIGINAL_COMMAND"\n', 0o755)
        return ["ForceCommand " + " ".join(mounts.command()) + " " + script]

    @unittest.skipIf(NOT, NOT)
    def test_a_check_of_this_machines_loopback_for_another_machine_is_refused_and_the_way_out_works(self):
        with Trial() as t, Sshd(options=self.elsewhere(t)) as server, Service(lambda path, count: 200) as service:
            address = service.url.removeprefix("http://")
            def deploy(*checks):
                return t.deploy({"targets": {"web": server.target()}, "steps": [
                    {"apply": {"resources": [{"file": {"path": t.path("made"), "content": "x"}}]}},
                    {"health-gate": {"deadline": "5s", "checks": list(checks)}}]})
            refused = deploy({"http": service.url}, {"tcp": address}, {"http": f"http://shop.example:{address.split(':')[1]}/", "resolve": f"shop.example:{address.split(':')[1]}:127.0.0.1"})
            self.assert_exit(refused, 2)
            self.assert_says(refused, "127.0.0.1 is this machine, which asks, and not 'web'", "ask `from: web`", "/checks/2")
            self.assertFalse(os.path.exists(t.path("made")))
            self.assertEqual(service.count, 0)
            self.assert_exit(deploy({"http": service.url, "from": "web"}), 0)

    def test_a_target_that_is_this_machine_is_asked_by_its_loopback(self):
        with Trial() as t, Sshd() as server, Service(lambda path, count: 200) as service:
            result = t.deploy({"targets": {"web": server.target()}, "steps": [{"health-gate": {"deadline": "5s", "checks": [{"http": service.url}]}}]})
            self.assert_exit(result, 0)


if __name__ == "__main__":
    main()
