#!/usr/bin/env python3
"""C8: people believed that a quoted heredoc stops expressions, and that format() does not exist."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.validate import DAVIT, Tree, main  # noqa: E402


class Render(Tree):
    def test_a_quoted_heredoc_stops_no_expression(self):
        self.put("x.yml", "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: |\n          cat <<'END'\n          ${{ format('{0}!', github.actor) }} $HOME ${{ secrets.A }}\n          END\n")
        contexts = self.put("contexts.json", '{"github": {"actor": "o\'c"}}')
        done = subprocess.run([DAVIT, "validate", "x.yml", "--render", "--contexts", contexts], cwd=self.top, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("cat <<'END'\no'c! $HOME <<${{ secrets.A }}>>\nEND\n", done.stdout)

    def test_an_unknown_function_or_context_has_a_place_and_the_nearest_name(self):
        self.put("x.yml", "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: ${{ fromat('a') }}\n      - run: ${{ githb.actor }}\n")
        found = {f["line"]: f for f in self.validate("x.yml")}
        self.assertIn("Unrecognized function: 'fromat'", found[6]["message"])
        self.assertEqual(found[6]["hint"], "did you mean 'format'?")
        self.assertEqual(found[7]["hint"], "did you mean 'github'?")


main()
