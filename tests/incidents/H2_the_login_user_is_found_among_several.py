#!/usr/bin/env python3
"""H2: the SSH user differed per provider image (root, ubuntu, debian, admin)."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Service, Trial, main  # noqa: E402
from servers.sshd import Account, Sshd  # noqa: E402


class Users(Case):
    def test_the_user_that_can_log_in_is_found_and_reported(self):
        with Trial() as t, Sshd() as server:
            target = server.target()
            target["ssh"]["user"] = ["ubuntu-of-no-image", "admin-of-no-image", server.user]
            result = t.deploy({"targets": {"web": target}, "steps": [
                {"preflight": {}}, {"run": {"script": "id -un > " + t.path("who"), "undo": "none"}}]})
            self.assert_exit(result, 0)
            self.assert_says(result, f"as '{server.user}'")
            self.assertEqual(t.read("who").decode().strip(), server.user)

    def test_when_none_can_all_are_named(self):
        with Trial() as t, Sshd() as server:
            target = server.target()
            target["ssh"]["user"] = ["ubuntu-of-no-image", "admin-of-no-image"]
            result = t.deploy({"targets": {"web": target}, "steps": [{"preflight": {}}]})
            self.assert_exit(result, 2)
            self.assert_says(result, "ubuntu-of-no-image", "admin-of-no-image")


if __name__ == "__main__":
    main()
