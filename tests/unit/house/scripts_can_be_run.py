#!/usr/bin/env python3
"""A script that names its interpreter can be run: a checkout has the mode that git keeps."""
import os
import subprocess
import unittest

SOURCE = os.path.realpath(os.environ["DAVIT_SOURCE"])


def scripts():
    """Mode and name of each file in git that begins with #!."""
    listed = subprocess.run(["git", "-C", SOURCE, "ls-files", "-s", "-z"], capture_output=True, check=True).stdout
    for entry in filter(None, listed.split(b"\0")):
        words, name = entry.split(b"\t", 1)
        path = os.path.join(os.fsencode(SOURCE), name)
        if words.startswith(b"100") and os.path.exists(path):
            with open(path, "rb") as f:
                if f.read(2) == b"#!":
                    yield words[:6], os.fsdecode(name)


@unittest.skipUnless(os.path.exists(os.path.join(SOURCE, ".git")), "no checkout of git")
class Scripts(unittest.TestCase):
    def test_every_script_is_executable(self):
        found = list(scripts())
        self.assertGreater(len(found), 100)
        self.assertEqual([name for mode, name in found if mode != b"100755"], [])


if __name__ == "__main__":
    unittest.main()
