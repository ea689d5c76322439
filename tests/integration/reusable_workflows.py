#!/usr/bin/env python3
"""Jobs that call a reusable workflow: what they give, what comes back, how they end; here and at the forge."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.tree import Tree, ends, log  # noqa: E402
from servers.forge import Forge  # noqa: E402
from servers.runner import Runner  # noqa: E402

CALLEE = """on:
  workflow_call:
    inputs:
      n: {type: number, required: true}
      who: {type: string, default: "somebody on ${{ github.ref_name }}"}
    secrets: {TOKEN: {}}
    outputs: {sum: {value: "${{ jobs.b.outputs.o }} by ${{ inputs.who }}"}}
env: {LEVEL: callee}
jobs:
  a:
    runs-on: x
    steps: [{env: {T: "${{ secrets.TOKEN }}", O: "${{ secrets.OTHER }}"}, run: 'echo "sees ${{ inputs.n }} ${{ inputs.n == 3 }} $LEVEL ${#T} ${#O}"'}]
  b:
    needs: a
    name: adds ${{ inputs.n }}
    runs-on: x
    outputs: {o: "${{ steps.s.outputs.o }}"}
    steps: [{id: s, run: 'echo "o=n${{ inputs.n }}" >> "$GITHUB_OUTPUT"'}]
"""


class ReusableWorkflows(unittest.TestCase):
    def tree(self, **files):
        tree = Tree({name + ".yml": text for name, text in files.items()})
        self.addCleanup(tree.remove)
        return tree

    def test_a_call_gives_inputs_and_secrets_and_its_outputs_come_back(self):
        tree = self.tree(callee=CALLEE, ci="""on: push
env: {LEVEL: caller}
jobs:
  first: {runs-on: x, outputs: {n: "${{ steps.s.outputs.n }}"}, steps: [{id: s, run: 'echo n=3 >> "$GITHUB_OUTPUT"'}]}
  given: {needs: first, uses: ./.github/workflows/callee.yml, with: {n: "${{ fromJSON(needs.first.outputs.n) }}"}, secrets: {TOKEN: "${{ secrets.OTHER }}"}}
  all: {uses: ./.github/workflows/callee.yml, with: {n: 4, who: me}, secrets: inherit}
  none:
    strategy: {matrix: {leg: [5, 6]}, max-parallel: 1}
    uses: ./.github/workflows/callee.yml
    with: {n: "${{ matrix.leg }}"}
  last:
    needs: [given, all, none]
    runs-on: x
    steps: [{run: 'echo "got <${{ needs.given.outputs.sum }}> <${{ needs.all.outputs.sum }}> ${{ needs.none.result }}"'}]
""")
        code, events, err = tree.events("ci", "--secret", "TOKEN", "--secret", "OTHER", env={"TOKEN": "abcdefg", "OTHER": "hijk"})
        self.assertEqual(code, 0, err)
        self.assertEqual(set(ends(events).values()), {"success"})
        self.assertIn("none (5) / adds 5", ends(events))
        self.assertIn("sees 3 true callee 4 0\n", log(events, "given / a"))
        self.assertIn("sees 4 false callee 7 4\n", log(events, "all / a"))
        self.assertIn("sees 6 false callee 0 0\n", log(events, "none (6) / a"))
        self.assertIn("got <n3 by somebody on trunk> <n4 by me> success\n", log(events, "last"))
        self.assertIn("Uses: local/shop/.github/workflows/callee.yml@refs/heads/trunk", log(events, "all / a"))
        self.assertEqual(tree.left_behind(), [])

    def test_what_fails_in_a_called_workflow_fails_the_job_that_called_it(self):
        tree = self.tree(ci="""on: push
jobs:
  outer: {uses: ./.github/workflows/middle.yml}
  behind: {needs: outer, runs-on: x, steps: [{run: echo never}]}
  told: {needs: outer, if: failure(), runs-on: x, steps: [{run: 'echo "outer ${{ needs.outer.result }}"'}]}
""", middle="on: workflow_call\njobs: {inner: {uses: ./.github/workflows/leaf.yml}}\n",
                         leaf="on: workflow_call\njobs: {bad: {runs-on: x, steps: [{run: exit 1}]}, after: {needs: bad, runs-on: x, steps: [{run: x}]}}\n")
        code, events, err = tree.events("ci")
        self.assertEqual(code, 1, err)
        self.assertEqual(ends(events), {"outer": "failure", "outer / inner": "failure", "outer / inner / bad": "failure", "outer / inner / after": "skipped",
                                        "behind": "skipped", "told": "success"})
        self.assertIn("outer failure\n", log(events, "told"))

    def test_a_call_that_cannot_be_made_fails_with_its_reason(self):
        tree = self.tree(ci="""on: push
jobs:
  gone: {uses: ./.github/workflows/gone.yml}
  other: {uses: ./.github/workflows/other.yml}
  input: {uses: ./.github/workflows/callee.yml}
  more: {uses: ./.github/workflows/callee.yml, with: {n: 1, m: 2}}
  kind: {uses: ./.github/workflows/callee.yml, with: {n: one}}
  self: {uses: ./.github/workflows/round.yml}
""", callee=CALLEE, other="on: push\njobs: {a: {runs-on: x, steps: [{run: x}]}}\n", round="on: workflow_call\njobs: {r: {uses: ./.github/workflows/round.yml}}\n")
        code, events, err = tree.events("ci")
        self.assertEqual(code, 1, err)
        said = {job["name"]: "".join(a["message"] for a in job["annotations"]) for job in events[-1]["jobs"]}
        self.assertIn("gone.yml", said["gone"])
        self.assertIn("it has no 'workflow_call' in 'on'", said["other"])
        self.assertIn("Input n is required", said["input"])
        self.assertIn("Invalid input, m is not defined", said["more"])
        self.assertIn("'n' of the reusable workflow must be a number", said["kind"])
        self.assertIn("more than 10 workflows call each other", said["self / r / r / r / r / r / r / r / r / r"])
        self.assertEqual(set(ends(events).values()), {"failure"})

    def test_the_forge_reads_a_called_workflow_from_the_commit_and_caps_its_permissions(self):
        with Forge(repos=["octo/demo"], options=["--poll", "300ms"]) as forge:
            repo = forge.repo("octo/demo")
            runner = Runner(forge, "octo/demo", "box").ready()
            sha = repo.push({".github/workflows/ci.yml": "on: push\npermissions: {contents: read, checks: write}\njobs:\n  call: {uses: ./.github/workflows/c.yml}\n",
                             ".github/workflows/c.yml": "on: workflow_call\njobs:\n  a: {runs-on: self-hosted, permissions: {contents: write, checks: read, issues: write}, steps: [{run: x}]}\n"})
            job = runner.take_job()
            self.assertEqual(job.message["jobDisplayName"], "call / a")
            self.assertEqual(job.message["fileTable"], [".github/workflows/c.yml"])
            run, = [r for r in forge.runs() if r["sha"] == sha]
            self.assertEqual([j["permissions"] for j in run["jobs"] if j["key"] == "a"], [{"Contents": "read", "Checks": "read", "Metadata": "read"}])
            forge.cancel("octo/demo", run["id"])
            self.assertEqual(runner.poll("Busy")["messageType"], "JobCancellation")
            job.complete("canceled")
            run = forge.wait_run("octo/demo", sha)
            self.assertEqual((run["conclusion"], [j["conclusion"] for j in run["jobs"]]), ("cancelled", ["cancelled", "cancelled"]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
