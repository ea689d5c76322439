#!/usr/bin/env python3
"""C3: the check that secrets exist ran without sudo and failed on files that were there."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Service, Trial, main  # noqa: E402
from servers.sshd import Account, Sshd  # noqa: E402

import unittest

WHY_NOT = Sshd.can_have_accounts()


@unittest.skipIf(WHY_NOT, WHY_NOT or "")
class Elevation(Case):
    def setUp(self):
        self.server = Sshd(accounts={"deploy": Account("unused-password", "ALL=(ALL) NOPASSWD: ALL")})
        self.server.start()

    def tearDown(self):
        self.server.close()

    def target(self, **more):
        target = self.server.target(**more)
        target["ssh"]["user"] = "deploy"
        return target

    def steps(self, t):
        return [{"preflight": {"paths": [t.path("private")]}},
                {"secret-write": {"path": t.path("private", ".env"), "values": {"PASSWORD": "${{ secrets.PASSWORD }}"}, "owner": "root"}}]

    def test_what_was_written_with_sudo_is_looked_at_with_sudo(self):
        with Trial() as t:
            os.mkdir(t.path("private"), 0o700)
            document = {"targets": {"web": self.target(become="sudo")}, "steps": self.steps(t)}
            self.assert_exit(t.deploy(document, secrets={"PASSWORD": "s3cret-of-c3"}), 0)
            self.assertEqual(t.read("private", ".env"), b"PASSWORD=s3cret-of-c3\n")
            self.assertEqual(os.stat(t.path("private", ".env")).st_uid, 0)
            second = t.deploy(document, secrets={"PASSWORD": "s3cret-of-c3"})
            self.assert_exit(second, 0)
            before = os.stat(t.path("private", ".env"))
            self.assertEqual(before.st_mode & 0o777, 0o600)

    def test_without_sudo_the_preflight_says_who_cannot_write_where(self):
        with Trial() as t:
            os.mkdir(t.path("private"), 0o700)
            t.base = os.path.join(self.server.folder, "home_deploy", "davit")
            result = t.deploy({"targets": {"web": self.target()}, "steps": self.steps(t)[:1]})
            self.assert_exit(result, 2)
            self.assert_says(result, t.path("private"), "cannot be written by 'deploy'", "become: sudo")


if __name__ == "__main__":
    main()
