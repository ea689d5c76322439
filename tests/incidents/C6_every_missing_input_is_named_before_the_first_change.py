#!/usr/bin/env python3
"""C6: a required secret was missing; the workflow went on and failed silently later."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Service, Trial, main  # noqa: E402
from servers.sshd import Account, Sshd  # noqa: E402


class Missing(Case):
    def test_all_missing_secrets_of_all_steps_are_named_and_nothing_is_changed(self):
        with Trial() as t, Sshd() as server:
            steps = [
                {"preflight": {"secrets": ["FIRST", "THERE"]}},
                {"run": {"command": ["touch", t.path("ran")], "undo": ["rm", t.path("ran")]}},
                {"secret-write": {"path": t.path(".env"), "values": "${{ secrets }}", "keys": ["SECOND", "THIRD", "THERE", "APP_*"]}},
            ]
            result = t.deploy({"targets": {"web": server.target()}, "steps": steps}, secrets={"THERE": "s3cret-of-c6"})
            self.assert_exit(result, 2)
            self.assert_says(result, "'FIRST' is missing", "'SECOND' is missing", "'THIRD' is missing", "'APP_*'")
            self.assert_silent(result, "s3cret-of-c6")
            self.assertEqual(os.listdir(t.target_dir), [])

    def test_an_empty_secret_is_a_missing_one(self):
        with Trial() as t, Sshd() as server:
            steps = [{"secret-write": {"path": t.path(".env"), "values": {"A": "${{ secrets.EMPTY }}"}}}]
            result = t.deploy({"targets": {"web": server.target()}, "steps": steps}, secrets={"EMPTY": ""})
            self.assert_exit(result, 2)
            self.assertEqual(os.listdir(t.target_dir), [])


if __name__ == "__main__":
    main()
