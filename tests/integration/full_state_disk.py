#!/usr/bin/env python3
"""A state folder on a disk that is full, at whichever write: it is told as no space left, with that as the way out."""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import DAVIT, Case, Result, Trial, main  # noqa: E402
from servers import mounts  # noqa: E402

SIZE = 1 << 20


class Full(Case):
    def deploy_with(self, free):
        with Trial() as t:
            os.mkdir(t.state, 0o700)
            with open(os.path.join(t.src, "d.yml"), "w", encoding="ascii") as f:
                json.dump({"name": "k", "environment": "p", "targets": {"web": {"local": {}, "base": t.base}},
                           "steps": [{"run": {"command": ["true"], "undo": "none"}}]}, f)
            script = 'mount -t tmpfs -o size=$1,mode=700 none "$2" && { head -c $3 /dev/zero >"$2/fill" || :; } && cd "$4" && exec "$5" deploy d.yml'
            return Result(subprocess.run([*mounts.command(), "sh", "-c", script, "sh", str(SIZE), t.state, str(SIZE - free), t.src, DAVIT],
                                         env={**os.environ, "DAVIT_STATE": t.state}, capture_output=True, stdin=subprocess.DEVNULL, check=False))

    def test_a_full_disk_is_told_as_that_wherever_it_strikes(self):
        if os.geteuid() != 0 or mounts.why_not([os.environ.get("TMPDIR", "/tmp")]):
            self.skipTest("mounts need root")
        failed = 0
        for kib in (0, 4, 8, 16, 24, 32, 40, 48, 64, 80, 96, 112, 128):
            with self.subTest(free=kib):
                result = self.deploy_with(kib << 10)
                self.assert_silent(result, "broken away")
                if result.code != 0:
                    failed += 1
                    self.assertRegex(result.text, "(?i)no space left")
                    self.assert_says(result, "free some space")
        self.assertGreater(failed, 3)


if __name__ == "__main__":
    main()
