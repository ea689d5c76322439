#!/usr/bin/env python3
"""A job with a matrix: its legs, what they see, how they end each other, what jobs behind them see."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from servers.forge import Forge
from servers.runner import Runner, plain

STEPS = "    runs-on: self-hosted\n    steps: [{run: x}]\n"


class Matrix(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.forge = Forge(repos=["octo/demo"], options=["--poll", "300ms"])
        cls.forge.start()
        cls.addClassCleanup(cls.forge.__exit__)
        cls.repo = cls.forge.repo("octo/demo")
        cls.runners = [Runner(cls.forge, "octo/demo", f"box-{n}").ready() for n in range(3)]

    def push(self, jobs):
        return self.repo.push({".github/workflows/ci.yml": f"on: push\njobs:\n{jobs}"})

    def jobs(self, sha):
        run, = [r for r in self.forge.runs() if r["sha"] == sha]
        return run["jobs"]

    def test_legs_have_names_contexts_and_expressions_of_their_own(self):
        sha = self.push("""  a:
    outputs: {list: x}
""" + STEPS + """  b:
    needs: a
    name: test
    runs-on: ["${{ matrix.os }}"]
    strategy:
      max-parallel: 2
      matrix:
        os: "${{ fromJSON(needs.a.outputs.list) }}"
        v: [1]
        include: [{os: self-hosted, more: {x: y}}]
    steps: [{run: x}]
""")
        self.runners[0].take_job().complete(outputs={"list": {"value": '["self-hosted", "gpu"]'}})
        leg = self.runners[0].take_job()
        message = leg.message
        self.assertEqual(plain(message["contextData"]["matrix"]), {"os": "self-hosted", "v": 1, "more": {"x": "y"}})
        self.assertEqual(plain(message["contextData"]["strategy"]), {"fail-fast": True, "job-index": 0, "job-total": 2, "max-parallel": 2})
        self.assertEqual(message["jobDisplayName"], "test (self-hosted, 1, y)")
        self.assertEqual([(j["key"], j["name"], j["labels"]) for j in self.jobs(sha)],
                         [("a", "a", ["self-hosted"]), ("b", "test (self-hosted, 1, y)", ["self-hosted"]), ("b", "test (gpu, 1)", ["gpu"])])
        leg.complete()
        run, = [r for r in self.forge.runs() if r["sha"] == sha]
        self.forge.cancel("octo/demo", run["id"])

    def test_a_failed_leg_cancels_the_others_and_jobs_behind_see_the_failure(self):
        sha = self.push("""  a:
    strategy: {matrix: {n: [1, 2, 3]}, max-parallel: 2}
""" + STEPS + """  b:
    needs: a
    if: always()
    name: ${{ needs.a.result }}
""" + STEPS)
        first, second = self.runners[0].take_job(), self.runners[1].take_job()
        self.assertEqual({j["name"]: j["status"] for j in self.jobs(sha) if j["key"] == "a"}["a (3)"], "waiting")
        first.complete("failed")
        self.assertEqual(self.runners[1].poll("Busy")["messageType"], "JobCancellation")
        second.complete("canceled")
        last = self.runners[0].take_job()
        self.assertEqual(last.message["jobDisplayName"], "failure")
        last.complete()
        run = self.forge.wait_run("octo/demo", sha)
        self.assertEqual((run["conclusion"], [j["conclusion"] for j in run["jobs"]]), ("failure", ["failure", "cancelled", "cancelled", "success"]))

    def test_without_fail_fast_all_legs_run_one_by_one_and_their_outputs_come_together(self):
        sha = self.push("""  a:
    strategy: {fail-fast: false, max-parallel: 1, matrix: {n: [1, 2]}}
    continue-on-error: "${{ matrix.n == 1 }}"
""" + STEPS + """  b:
    needs: a
    name: ${{ needs.a.result }} ${{ needs.a.outputs.x }} ${{ needs.a.outputs.y }}
""" + STEPS)
        self.runners[0].take_job().complete("failed", outputs={"x": {"value": "one"}, "y": {"value": "first"}})
        self.runners[0].take_job().complete(outputs={"x": {"value": "two"}})
        last = self.runners[0].take_job()
        self.assertEqual(last.message["jobDisplayName"], "success two first")
        last.complete()
        self.assertEqual(self.forge.wait_run("octo/demo", sha)["conclusion"], "success")

    def test_an_empty_matrix_skips_and_a_wrong_one_fails_with_its_reason(self):
        sha = self.push("""  a:
    strategy: {matrix: {n: [1], exclude: [{n: 1}]}}
""" + STEPS + """  b:
    strategy: {matrix: "${{ fromJSON('[1]') }}"}
""" + STEPS + """  c:
    strategy: {matrix: {n: [1], exclude: [{m: 1}]}}
""" + STEPS)
        run = self.forge.wait_run("octo/demo", sha)
        self.assertEqual([j["conclusion"] for j in run["jobs"]], ["skipped", "failure", "failure"])
        self.assertIn("strategy.matrix: a matrix must be a map", run["jobs"][1]["annotations"][0]["message"])
        self.assertIn("'m' does not match any key", run["jobs"][2]["annotations"][0]["message"])

    def test_a_cancelled_run_ends_the_legs_that_wait(self):
        sha = self.push("  a:\n    strategy: {max-parallel: 1, matrix: {n: [1, 2]}}\n" + STEPS)
        job = self.runners[0].take_job()
        run, = [r for r in self.forge.runs() if r["sha"] == sha]
        self.forge.cancel("octo/demo", run["id"])
        self.assertEqual(self.runners[0].poll("Busy")["messageType"], "JobCancellation")
        job.complete("canceled")
        run = self.forge.wait_run("octo/demo", sha)
        self.assertEqual((run["conclusion"], [j["conclusion"] for j in run["jobs"]]), ("cancelled", ["cancelled", "cancelled"]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
