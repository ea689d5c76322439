#!/usr/bin/env python3
"""No two libraries of the house define the same function: the static binary holds all of them, and a linker that needs only one takes the wrong one
in silence."""
import collections
import glob
import os
import subprocess
import unittest

BUILD = os.environ["DAVIT_BUILD"]


class Names(unittest.TestCase):
    def test_each_public_function_is_defined_once(self):
        found = collections.defaultdict(set)
        for part in ("base", "engine", "providers", "steps", "agent", "schemas"):
            for library in glob.glob(os.path.join(BUILD, part, "**", "lib*.a"), recursive=True):
                lines = subprocess.run(["nm", "-g", "--defined-only", library], capture_output=True, text=True, check=True).stdout.splitlines()
                for name in (line.split()[2] for line in lines if line[17:19] == "T "):
                    found[name].add(os.path.relpath(library, BUILD))
        self.assertGreater(len(found), 500)
        self.assertEqual({name: places for name, places in found.items() if len(places) > 1}, {})


if __name__ == "__main__":
    unittest.main(verbosity=1)
