#!/usr/bin/env python3
"""cmake/libssh2.cmake: which libssh2 a build gets, and that a built-in one and the system's, which libgit2 and libcurl bring into
the same process, are never bound to each other."""
import os
import re
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.path.abspath(os.environ.get("DAVIT_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")))
BUILD = os.environ["DAVIT_BUILD"]
sys.path.insert(0, os.path.join(SOURCE, "tests"))
from harness import libssh2  # noqa: E402

STEP = os.path.join(BUILD, "bin", "davit-step")
PROJECT = f"""cmake_minimum_required(VERSION 3.25)
project(one VERSION 1.0.0 LANGUAGES C)
find_package(PkgConfig REQUIRED)
pkg_check_modules(libcrypto REQUIRED IMPORTED_TARGET libcrypto)
include({SOURCE}/cmake/libssh2.cmake)
"""
ARCHIVE = os.path.join(BUILD, "libssh2", "libssh2-1.11.1.tar.gz")
NO_NETWORK = {name: "http://127.0.0.1:1" for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy")}


class Symbols(unittest.TestCase):
    def setUp(self):
        if libssh2.KIND != "bundled":
            self.skipTest("libssh2 is the system's in this build")

    def test_no_symbol_of_the_built_in_one_can_be_bound_to_from_outside(self):
        table = subprocess.run(["readelf", "-W", "--dyn-syms", STEP], capture_output=True, text=True, check=True).stdout
        self.assertNotIn("libssh2_", table)

    def test_each_of_the_two_in_one_process_is_bound_to_itself(self):
        env = {**os.environ, "LD_DEBUG": "bindings", "LD_BIND_NOW": "1"}
        done = subprocess.run([STEP, "--version"], capture_output=True, text=True, env=env, check=False)
        bound = re.findall(r"binding file (\S+) \[\d+\] to (\S+) \[\d+\]: normal symbol `libssh2_", done.stderr)
        self.assertTrue(bound, "libgit2 and libcurl bring no libssh2 of the system's: there is nothing to keep apart")
        self.assertEqual({(os.path.basename(a), os.path.basename(b)) for a, b in bound if "libssh2.so" not in b or a.endswith("davit-step")},
                         set())


class Choice(unittest.TestCase):
    def configure(self, *options):
        with tempfile.TemporaryDirectory(prefix="davit-libssh2-") as folder:
            with open(os.path.join(folder, "CMakeLists.txt"), "w", encoding="ascii") as f:
                f.write(PROJECT)
            done = subprocess.run(["cmake", "-G", "Ninja", "-S", folder, "-B", os.path.join(folder, "build"), "-DCMAKE_C_COMPILER_WORKS=1",
                                   *options], capture_output=True, text=True, check=False, env={**os.environ, **NO_NETWORK})
        return done.returncode, re.sub(r"\s+", " ", done.stdout + done.stderr)

    def system(self):
        done = subprocess.run(["pkg-config", "--modversion", "libssh2"], capture_output=True, text=True, check=False)
        return tuple(int(part) for part in done.stdout.split(".")[:2]) if done.returncode == 0 else None

    def test_what_cannot_be_fetched_is_said_with_the_way_out(self):
        code, said = self.configure("-DDAVIT_LIBSSH2=bundled")
        self.assertNotEqual(code, 0)
        self.assertIn("cannot be fetched (-DDAVIT_LIBSSH2_ARCHIVE=FILE", said)

    def test_without_network_the_systems_does_with_a_warning_when_it_is_old(self):
        if (version := self.system()) is None:
            self.skipTest("the system has no libssh2")
        code, said = self.configure()
        self.assertEqual(code, 0, said)
        self.assertIn("libssh2: the system's", said)
        self.assertEqual("cannot be fetched" in said, version < (1, 11), said)

    def test_an_archive_at_hand_is_taken_and_only_the_right_one(self):
        with tempfile.NamedTemporaryFile(suffix=".tar.gz") as other:
            code, said = self.configure("-DDAVIT_LIBSSH2=bundled", f"-DDAVIT_LIBSSH2_ARCHIVE={other.name}")
            self.assertNotEqual(code, 0)
            self.assertIn("is not libssh2-1.11.1.tar.gz", said)
        if not os.path.exists(ARCHIVE):
            self.skipTest("this build has fetched none")
        code, said = self.configure("-DDAVIT_LIBSSH2=bundled", f"-DDAVIT_LIBSSH2_ARCHIVE={ARCHIVE}")
        self.assertEqual(code, 0, said)
        self.assertIn("libssh2: 1.11.1, built in", said)

    def test_a_misspelt_choice_is_refused(self):
        code, said = self.configure("-DDAVIT_LIBSSH2=static")
        self.assertNotEqual(code, 0)
        self.assertIn("system, bundled or auto", said)


if __name__ == "__main__":
    unittest.main(verbosity=1)
