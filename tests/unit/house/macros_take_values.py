#!/usr/bin/env python3
"""MIN and MAX evaluate an argument twice: none of theirs is a call that does something. A statement was executed twice that way, the second time
outside of its transaction."""
import os
import re
import sys
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
# They look, or reckon, and nothing else.
PURE = {"MIN", "MAX", "sizeof", "strlen", "strcspn", "ARRAY_SIZE", "clock_mono_ms", "clock_wall_ms", "json_array_size", "json_object_size",
        "json_object_get", "json_get_object", "json_get_int", "json_integer_value", "json_number_value", "mask_patterns_longest", "mask_expressions_count",
        "yaml_value_mark", "rank_of", "where_of", "room", "process_patience", "engine_alone_tick_ms", "proxmox_task_timeout",
        "source_duration_ms", "gate_left_ms"}


def arguments(text, start):
    """What stands in the parentheses that open at start."""
    depth = 0
    for at in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0:
            return text[start + 1:at]
    return text[start + 1:]


def sources():
    for top in ("agent", "base", "engine", "providers", "steps"):
        for folder, _, names in os.walk(os.path.join(ROOT, top)):
            yield from (os.path.join(folder, n) for n in names if n.endswith((".c", ".h")))


class Macros(unittest.TestCase):
    maxDiff = None

    def test_no_argument_of_min_and_max_is_a_call_that_does_something(self):
        found = []
        for path in sources():
            with open(path, encoding="utf-8") as f:
                text = re.sub(r"/\*.*?\*/|\"(?:[^\"\\\n]|\\.)*\"", "", f.read(), flags=re.S)
            for match in re.finditer(r"\b(?:MIN|MAX)\(", text):
                given = arguments(text, match.end() - 1)
                calls = set(re.findall(r"\b([A-Za-z_]\w*)\s*\(", given)) - PURE
                members = re.findall(r"(?:->|\.)\w+\(", given)
                if calls or members:
                    found.append(f"{os.path.relpath(path, ROOT)}: {match.group()}{given})")
        self.assertEqual(found, [])


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=1))
