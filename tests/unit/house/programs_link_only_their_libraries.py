#!/usr/bin/env python3
"""Each program links what design says and nothing else: an idle agent does not carry libgit2, libssh2 or libarchive."""
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
from harness import libssh2  # noqa: E402

BIN = os.path.join(os.environ["DAVIT_BUILD"], "bin")
SYSTEM = {"libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libasan.so.8",
          "libubsan.so.1", "libgcc_s.so.1"}
CORE = {"libcurl.so.4", "libjansson.so.4", "libyaml-0.so.2", "libcrypto.so.3", "libpcre2-8.so.0", "libsqlite3.so.0"}
ALLOWED = {
    "davit": set(),
    "davit-agent": CORE,
    "davit-step": CORE | {"libgit2.so.1.5", "libarchive.so.13", "libz.so.1", "libresolv.so.2", "libpq.so.5"} | ({"libssh2.so.1"} if libssh2.KIND == "system" else set()),
    "davit-forge": CORE | {"libarchive.so.13", "libgit2.so.1.5", "libmicrohttpd.so.12", "libssl.so.3", "libz.so.1"},
}


def needed(program):
    text = subprocess.run(["readelf", "-d", os.path.join(BIN, program)], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", text)) - SYSTEM


class Programs(unittest.TestCase):
    def test_no_program_links_more_than_its_part_of_the_house_needs(self):
        for program, allowed in ALLOWED.items():
            with self.subTest(program=program):
                self.assertLessEqual(needed(program), allowed)

    def test_davit_step_has_the_libraries_that_the_agent_does_without(self):
        self.assertIn("libarchive.so.13", needed("davit-step"))
        self.assertNotIn("libarchive.so.13", needed("davit-agent"))
        self.assertNotIn("libpq.so.5", needed("davit-agent"))


if __name__ == "__main__":
    unittest.main(verbosity=1)
