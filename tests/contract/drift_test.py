#!/usr/bin/env python3
"""actions/ and docs/steps/ are what the schemas say."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("DAVIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))


def generate(*arguments):
    return subprocess.run([sys.executable, str(SOURCE / "schemas/gen/generate.py"), *arguments], capture_output=True, text=True,
                          timeout=60, check=False)


class Drift(unittest.TestCase):
    def test_the_committed_outputs_are_what_the_generator_makes(self):
        result = generate("--check")
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_a_changed_or_missing_output_is_found_by_name(self):
        with tempfile.TemporaryDirectory() as tree:
            shutil.copytree(SOURCE / "actions", tree + "/actions")
            shutil.copytree(SOURCE / "docs/steps", tree + "/docs/steps")
            with open(tree + "/actions/run/action.yml", "a", encoding="utf-8") as f:
                f.write("# changed\n")
            os.unlink(tree + "/docs/steps/run.md")
            result = generate("--check", "--tree", tree)
            self.assertEqual(result.returncode, 1)
            self.assertIn("actions/run/action.yml: is not what the schemas say", result.stderr)
            self.assertIn("docs/steps/run.md: is not what the schemas say", result.stderr)
            self.assertEqual(result.stderr.count("\n"), 2)

    def test_nothing_is_left_of_a_step_that_has_no_schema(self):
        schemas = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in (SOURCE / "schemas/steps").glob("*.json")}
        steps = set(schemas)
        # One that waits for people stands in a deployment file only.
        waits = {name for name, schema in schemas.items() if schema.get("x-step", {}).get("waits")}
        # What finds davit where it is not installed is no step.
        self.assertEqual({p.name for p in (SOURCE / "actions").iterdir()} - {"SHA256SUMS"}, (steps - waits) | {"setup", "find.sh", "release"})
        self.assertEqual({p.stem for p in (SOURCE / "docs/steps").glob("*.md")} - {"README"}, steps)

    def test_an_action_hands_each_input_over_by_one_variable_and_never_all_at_once(self):
        for path in (SOURCE / "actions").glob("*/action.yml"):
            text = path.read_text(encoding="utf-8")
            self.assertIn('davit=$(command -v davit || sh "$GITHUB_ACTION_PATH/../find.sh") || exit 2\n', text)
            if path.parent.name == "setup":
                continue
            head, _, runs = text.partition("\nruns:\n")
            inputs = re.findall(r"^  ([a-z0-9_-]+):$", head.partition("\ninputs:\n")[2].partition("\noutputs:\n")[0], re.M)
            variables = re.findall(r"^        INPUT_([A-Z0-9_-]+): \$\{\{ inputs\.([a-z0-9_-]+) \}\}$", runs, re.M)
            self.assertEqual([v for _, v in variables], inputs, path)
            self.assertTrue(all(a == b.upper() for a, b in variables), path)
            self.assertNotIn("toJSON", text, path)
            self.assertIn(f'exec "$davit" step {path.parent.name}\n', runs)


if __name__ == "__main__":
    unittest.main()
