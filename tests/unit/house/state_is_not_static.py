#!/usr/bin/env python3
"""Nothing in engine/, steps/ and providers/ remembers by itself: what outlives a call lies in the engine, in a step's memory (step_type.memory)
or with a caller. A static variable is shared by two deployments of one process, and nobody says when it ends."""
import glob
import os
import re
import subprocess
import sys
import tempfile
import unittest

BUILD = os.environ["DAVIT_BUILD"]
FOLDERS = ("engine", "steps", "providers")
# What tests hook into (engine/journal/store.h).
ALLOWED = {"store_after_write", "store_after_change"}


def variables(path):
    """(object, name) of each variable of an archive or an object that can be written once the program runs."""
    text = subprocess.run(["objdump", "-t", path], check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout
    found, member = [], os.path.basename(path)
    for line in text.splitlines():
        begun = re.match(r"(\S+\.o):\s+file format", line)
        if begun:
            member = begun.group(1)
        symbol = re.match(r"[0-9a-f]+ (.{7}) (\S+)\s+[0-9a-f]+ (?:\.(?:hidden|internal|protected) )?(\S+)$", line)
        if symbol is None or "d" in symbol.group(1):   # d: the section itself
            continue
        _, section, name = symbol.groups()
        if re.match(r"\.(data|bss|tdata|tbss)(\.|$)|\*COM\*", section) and not section.startswith(".data.rel.ro"):
            found.append((member, name))
    return found


class Statics(unittest.TestCase):
    def test_engine_steps_and_providers_have_no_variables_of_their_own(self):
        archives = [a for folder in FOLDERS for a in glob.glob(f"{BUILD}/{folder}/**/*.a", recursive=True)]
        self.assertGreater(len(archives), 10)
        found = [f"{os.path.relpath(a, BUILD)}: {member}: {name}" for a in archives for member, name in variables(a)
                 if name not in ALLOWED and not name.startswith("__")]
        self.assertEqual(found, [])

    def test_each_way_to_have_one_is_noticed(self):
        with tempfile.TemporaryDirectory() as folder:
            source, made = os.path.join(folder, "a.c"), os.path.join(folder, "a.o")
            with open(source, "w", encoding="ascii") as f:
                f.write("static int of_file = 1; int of_all; static const char *moves = \"a\"; static _Thread_local int of_thread;\n"
                        "static const int never = 1; static const char *const fixed[] = {\"a\"};\n"
                        "int f(int i) { static int of_function; moves += i; of_thread += i; of_file += i;\n"
                        "  return (of_function += i) + of_thread + of_file + *moves + *fixed[i] + (&never)[i]; }\n")
            subprocess.run(["cc", "-fPIC", "-c", source, "-o", made], check=True)
            names = sorted(name.split(".")[0] for _, name in variables(made))
            self.assertEqual(names, ["moves", "of_all", "of_file", "of_function", "of_thread"])


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
