#!/usr/bin/env python3
"""H1: the runner's SSH key was empty after its host was rebuilt."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Service, Trial, main  # noqa: E402
from servers.sshd import Account, Sshd  # noqa: E402

import subprocess


class Connections(Case):
    def test_each_target_that_cannot_be_reached_is_named_with_key_user_and_host(self):
        with Trial() as t, Sshd() as good, Sshd() as other:
            stranger = os.path.join(t.dir, "stranger")
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True)
            wrong_key, wrong_host_key, closed = other.target(), other.target(), other.target()
            with open(stranger) as f:
                wrong_key["ssh"]["key"] = f.read()
            wrong_host_key["ssh"]["host_key"] = good.host_key
            closed["ssh"]["port"] = 1
            targets = {"a-good": good.target(), "b-wrong-key": wrong_key, "c-other-host": wrong_host_key, "d-closed": closed}
            result = t.deploy({"targets": targets, "steps": [
                {"preflight": {}},
                {"run": {"target": "a-good", "command": ["touch", t.path("ran")], "undo": ["rm", t.path("ran")]}},
            ]})
            self.assert_exit(result, 2)
            self.assert_says(result, "b-wrong-key", "c-other-host", "d-closed", f"port {other.port}", "login as", "host key", good.user)
            self.assertEqual(os.listdir(t.target_dir), [])

    def test_an_empty_key_is_said_to_be_empty(self):
        with Trial() as t, Sshd() as server:
            target = server.target()
            target["ssh"]["key"] = "${{ secrets.DEPLOY_KEY }}"
            result = t.deploy({"targets": {"web": target}, "steps": [{"preflight": {}}]}, secrets={"DEPLOY_KEY": ""})
            self.assert_exit(result, 2)
            self.assert_says(result, "web")
            self.assertTrue("empty" in result.text or "missing" in result.text, repr(result))


if __name__ == "__main__":
    main()
