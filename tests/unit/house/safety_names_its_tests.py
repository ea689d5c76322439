#!/usr/bin/env python3
"""docs/safety.md claims nothing without a test: each file that it names is there, and has the tests that are named after it."""
import os
import re
import unittest

SOURCE = os.environ.get("DAVIT_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))
FILE, TEST = re.compile(r"([a-zA-Z0-9_/]+\.(?:py|c))(?::\s+(\w+))?"), re.compile(r"[a-z0-9]+(?:_[a-z0-9]+){3,}")


class Safety(unittest.TestCase):
    def claims(self):
        """(place, words, text of the named file or None)"""
        with open(os.path.join(SOURCE, "docs", "safety.md"), encoding="utf-8") as f:
            page = f.read()
        text = None
        for code in re.findall(r"`([^`]+)`", page):
            file = FILE.fullmatch(code)
            if file:
                path = os.path.join(SOURCE, "tests", file[1])
                self.assertTrue(os.path.isfile(path), f"tests/{file[1]} is not there")
                with open(path, encoding="utf-8") as f:
                    text = f.read()
                if file[2]:
                    yield file[1], file[2], text
            elif TEST.fullmatch(code):
                self.assertIsNotNone(text, f"{code} stands behind no file")
                yield "the file before it", code, text

    def test_each_test_that_is_named_is_in_its_file(self):
        found = 0
        for place, name, text in self.claims():
            self.assertRegex(text, rf"\b(test_)?{name}\(", f"{name} is not in {place}")
            found += 1
        self.assertGreater(found, 40)


if __name__ == "__main__":
    unittest.main()
