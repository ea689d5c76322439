#!/usr/bin/env python3
"""cmake/flags.cmake with every kind of build and with sanitizers, which are a list with a comma."""
import json
import os
import subprocess
import tempfile
import unittest

SOURCE = os.environ.get("DAVIT_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))
PROJECT = """cmake_minimum_required(VERSION 3.25)
project(flags VERSION 1.0.0 LANGUAGES C)
include("%s/cmake/flags.cmake")
add_executable(one one.c)
"""


class Flags(unittest.TestCase):
    def build(self, kind, sanitize):
        with tempfile.TemporaryDirectory(prefix="davit-flags-") as folder:
            with open(os.path.join(folder, "CMakeLists.txt"), "w") as f:
                f.write(PROJECT % os.path.abspath(SOURCE))
            with open(os.path.join(folder, "one.c"), "w") as f:
                f.write("int main(void)\n{\n\treturn 0;\n}\n")
            build = os.path.join(folder, "build")
            for command in (["cmake", "-G", "Ninja", "-S", folder, "-B", build, f"-DCMAKE_BUILD_TYPE={kind}",
                             f"-DDAVIT_SANITIZE={sanitize}", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DCMAKE_C_COMPILER_WORKS=1"],
                            ["ninja", "-C", build], [os.path.join(build, "one")]):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}{done.stderr}")
            with open(os.path.join(build, "compile_commands.json")) as f:
                return json.load(f)[0]["command"].split()

    def test_a_release_with_sanitizers_builds_and_is_not_fortified(self):
        for kind in ("Release", "RelWithDebInfo"):
            flags = self.build(kind, "address,undefined")
            self.assertIn("-fsanitize=address,undefined", flags)
            self.assertFalse([flag for flag in flags if "FORTIFY" in flag], flags)

    def test_a_release_is_fortified_and_a_debug_build_is_not(self):
        self.assertIn("-D_FORTIFY_SOURCE=2", self.build("Release", ""))
        self.assertFalse([flag for flag in self.build("Debug", "") if "FORTIFY" in flag])


if __name__ == "__main__":
    unittest.main()
