#!/usr/bin/env python3
"""An account that gives SFTP and no shell cannot be deployed to: the error says so, before the first change."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers.sshd import Sshd  # noqa: E402


class WithoutAShell(Case):
    def deploy(self, options, says):
        with Trial() as t, Sshd(options=options) as server:
            result = t.deploy({"targets": {"web": server.target()}, "steps": [{"run": {"target": "web", "script": "touch " + t.path("ran")}}]})
            self.assert_says(result, *says)
            self.assertFalse(os.path.exists(t.path("ran")))
            self.assert_exit(result, 2)

    def test_sftp_by_force_is_named(self):
        for command in ("internal-sftp", "/usr/lib/openssh/sftp-server"):
            with self.subTest(command):
                self.deploy([f"ForceCommand {command}"], ["target 'web'", "runs no commands, it gives SFTP only", "ForceCommand"])

    def test_a_forced_command_that_is_no_sftp_is_not_mistaken_for_it(self):
        with Trial() as t, Sshd(options=["ForceCommand echo only backups here"]) as server:
            result = t.deploy({"targets": {"web": server.target()}, "steps": [{"run": {"target": "web", "script": "true"}}]})
            self.assert_says(result, "the shell on the target does not start: only backups here")
            self.assertNotIn("SFTP", result.text)
            self.assert_exit(result, 2)


if __name__ == "__main__":
    main()
