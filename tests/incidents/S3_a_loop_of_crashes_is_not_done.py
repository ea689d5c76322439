#!/usr/bin/env python3
"""S3: services restarted in a loop and the deployment was called done."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers.docker import Docker  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

NO_DOCKER = Docker.why_not()


@unittest.skipIf(NO_DOCKER, NO_DOCKER)
class CrashLoop(Case):
    def test_the_gate_fails_with_the_last_lines_and_the_version_before_runs_again(self):
        with Docker() as d, Trial() as t, Sshd() as server:
            d.image("local/bb:1")
            program = t.write("run.sh", b"echo version 1; sleep 100000\n")
            d.run("run", "-d", "--name", "shop-web-1", "--network", "none", "--restart", "always", "-v", f"{t.target_dir}:/app:ro",
                  "--label", "com.docker.compose.project=shop", "--label", "com.docker.compose.service=web", "local/bb:1", "sh", "/app/run.sh")
            before = d.inspect("shop-web-1")[0]["State"]["StartedAt"]
            restart = ["docker", "restart", "-t", "0", "shop-web-1"]
            steps = [
                {"apply": {"resources": [{"file": {"path": program, "content": "echo version 2; sleep 0.6; echo no such table: carts >&2; exit 1\n"}}]}},
                {"run": {"command": restart, "env": {"DOCKER_HOST": d.host}, "undo": "none", "after_undo": restart, "when_none": "run"}},
                {"health-gate": {"deadline": "7s", "checks": [{"compose": {"project": "shop"}, "env": {"DOCKER_HOST": d.host}, "interval": "200ms", "settle": "2s"}]}},
            ]
            result = t.deploy({"targets": {"web": server.target()}, "steps": steps})
            self.assert_exit(result, 1)
            self.assert_says(result, "compose project shop", "web | no such table: carts")
            self.assertEqual(t.read("run.sh"), b"echo version 1; sleep 100000\n")
            now = d.inspect("shop-web-1")[0]["State"]
            self.assertEqual(now["Status"], "running")
            self.assertNotEqual(now["StartedAt"], before)


if __name__ == "__main__":
    main()
