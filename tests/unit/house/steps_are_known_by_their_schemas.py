#!/usr/bin/env python3
"""Nothing but a step's own folder knows its name: what a program asks of a step stands in its schema (x-step).

Read from the sources without their comments. A name with a hyphen means the step wherever it stands; one that is an ordinary
word too (run, apply) only where a step's name is compared with it."""
import os
import re
import sys
import unittest

SOURCE = os.environ.get("DAVIT_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))


def step_names():
    with open(os.path.join(SOURCE, "schemas/CMakeLists.txt"), encoding="utf-8") as f:
        text = f.read()
    start = text.index("set(SCHEMA_STEPS") + len("set(SCHEMA_STEPS")
    return text[start:text.index(")", start)].split()


def sources():
    for top in ("engine", "providers", "steps", "agent"):
        for folder, _, files in os.walk(os.path.join(SOURCE, top)):
            for name in files:
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(folder, name), SOURCE)


def code_of(path):
    with open(os.path.join(SOURCE, path), encoding="utf-8") as f:
        return re.sub(r'("(?:\\.|[^"\\])*")|/\*.*?\*/|//[^\n]*', lambda m: m.group(1) or "", f.read(), flags=re.S)


def found(path, code, names):
    own = path.split("/")[1].replace("_", "-") if path.startswith("steps/") else None
    for name in names:
        if name == own:
            continue
        if "-" in name or name in ("checkout", "preflight", "notify"):
            pattern = rf'"{name}"'
        else:
            pattern = rf'strcmp\([^,"]*\b(?:step|type|info|type->info->name)\b[^,"]*, "{name}"\)'
        for match in re.finditer(pattern, code):
            yield f"{path}: {match.group(0)}"


class Steps(unittest.TestCase):
    def test_no_name_of_a_step_stands_outside_its_folder(self):
        names, seen, wrong = step_names(), 0, []
        self.assertGreater(len(names), 8)
        for path in sources():
            seen += 1
            wrong += found(path, code_of(path), names)
        self.assertGreater(seen, 200)
        self.assertEqual(wrong, [])

    def test_a_name_is_found_where_it_stands(self):
        self.assertTrue(list(found("agent/x.c", 'if (strcmp(step, "run") == 0)', ["run"])))
        self.assertTrue(list(found("engine/x.c", 'json_pack("{s:s}", "step", "archive-upload")', ["archive-upload"])))
        self.assertFalse(list(found("steps/secret_write/x.c", '"secret-write"', ["secret-write"])))


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=1))
