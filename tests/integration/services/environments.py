#!/usr/bin/env python3
"""Environments at the forge: their jobs wait for a review, which GitHub's calls give; and lists whose pages go on with what was asked for."""
import json
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from servers.forge import Forge
from servers.runner import Runner, refused

REPO = "octo/demo"
WORKFLOW = """on: push
permissions: write-all
jobs:
  build: {runs-on: self-hosted, environment: free, steps: [{run: x}]}
  deploy: {needs: build, runs-on: self-hosted, environment: "${{ 'Production' }}", strategy: {matrix: {n: [1, 2]}}, steps: [{run: x}]}
  after: {needs: deploy, runs-on: self-hosted, environment: production, steps: [{run: x}]}
"""


class Environments(unittest.TestCase):
    def setUp(self):
        self.forge = Forge([REPO])
        self.forge.__enter__()
        self.addCleanup(self.forge.__exit__)
        self.runner = Runner(self.forge, REPO).ready()

    def rest(self, path, method="GET", body=None):
        return self.forge.json(method, f"/api/v3/repos/{REPO}/{path}", body, self.forge.admin())

    def protect(self, name):
        return self.rest(f"environments/{name}", "PUT", {"reviewers": [{"type": "User", "id": 1}, {"type": "Team", "id": 7}]})

    def push(self):
        sha = self.forge.repo(REPO).push({".github/workflows/ci.yml": WORKFLOW})
        return self.forge.wait_run(REPO, sha, status="queued")["id"]

    def jobs(self, run):
        return {job["name"]: (job["status"], job["conclusion"]) for job in self.rest(f"actions/runs/{run}/jobs")["jobs"]}

    def pending(self, run):
        return [one["environment"]["name"] for one in self.rest(f"actions/runs/{run}/pending_deployments")]

    def review(self, run, state="approved", **more):
        ids = [one["environment"]["id"] for one in self.rest(f"actions/runs/{run}/pending_deployments")]
        return self.rest(f"actions/runs/{run}/pending_deployments", "POST", {"environment_ids": ids, "state": state, "comment": "seen", **more})

    def test_jobs_of_an_environment_with_reviewers_wait_until_each_wave_of_them_is_approved(self):
        rule = self.protect("production")["protection_rules"][0]
        self.assertEqual((rule["type"], [(one["type"], one["reviewer"]["login"]) for one in rule["reviewers"]]),
                         ("required_reviewers", [("User", "octocat"), ("Team", "user-7")]))
        run = self.push()
        self.runner.take_job().complete()
        self.assertEqual(self.jobs(run)["deploy (1)"], ("waiting", None))
        self.assertEqual((self.rest(f"actions/runs/{run}")["status"], self.pending(run)), ("waiting", ["production"]))
        self.assertEqual([one["id"] for one in self.rest("actions/runs?status=waiting")["workflow_runs"]], [run])
        self.assertEqual([one["environment"] for one in self.review(run)], ["production"])
        self.assertEqual((self.rest(f"actions/runs/{run}")["status"], self.pending(run)), ("in_progress", []))
        self.assertEqual(refused(self.rest, f"actions/runs/{run}/pending_deployments", "POST",
                                 {"environment_ids": [1], "state": "approved", "comment": ""}).status, 422)
        for _ in range(2):
            self.runner.take_job().complete()
        # The next job of that environment is another deployment.
        self.assertEqual((self.jobs(run)["after"], self.pending(run)), (("waiting", None), ["production"]))
        self.review(run)
        self.runner.take_job().complete()
        self.assertEqual(self.rest(f"actions/runs/{run}")["conclusion"], "success")
        self.assertEqual([(one["state"], one["comment"], one["user"]["login"], one["environments"][0]["name"]) for one in self.rest(f"actions/runs/{run}/approvals")],
                         [("approved", "seen", "octocat", "production")] * 2)
        self.assertEqual({one["name"]: len(one["protection_rules"]) for one in self.rest("environments")["environments"]}, {"production": 1, "free": 0})

    def test_what_is_rejected_or_whose_environment_goes_fails_and_a_cancelled_run_waits_no_more(self):
        for end, wanted in (("reject", "failure"), ("delete", "failure"), ("cancel", "cancelled")):
            self.protect("production")
            run = self.push()
            self.runner.take_job().complete()
            if end == "reject":
                self.review(run, "rejected")
            elif end == "delete":
                self.forge.request("DELETE", f"/api/v3/repos/{REPO}/environments/Production", headers=self.forge.admin())
            else:
                self.rest(f"actions/runs/{run}/cancel", "POST", {})
            self.assertEqual(self.rest(f"actions/runs/{run}")["conclusion"], wanted, end)
            self.assertEqual(self.jobs(run)["deploy (1)"], ("completed", wanted), end)
            self.assertIn(self.jobs(run)["after"][1], ("skipped", "cancelled"), end)

    def test_a_job_reviews_nothing_and_makes_no_environment(self):
        self.protect("production")
        run = self.push()
        job = self.runner.take_job()
        mine = {"Authorization": f"Bearer {job.github_token}"}
        for method, path, body in (("PUT", "environments/production", {}), ("DELETE", "environments/production", None),
                                   ("POST", f"actions/runs/{run}/pending_deployments", {"environment_ids": [1], "state": "approved", "comment": ""})):
            self.assertEqual(refused(self.forge.json, method, f"/api/v3/repos/{REPO}/{path}", body, mine).status, 403, path)
        job.complete()
        self.assertEqual(self.pending(run), ["production"])

    def test_rules_that_are_not_there_are_refused(self):
        for body in ({"wait_timer": 30}, {"deployment_branch_policy": {"protected_branches": True, "custom_branch_policies": False}}, {"reviewers": [{"type": "Robot", "id": 1}]},
                     {"reviewers": [{"type": "User", "id": 1}] * 7}):
            self.assertEqual(refused(self.rest, "environments/production", "PUT", body).status, 422, body)
        self.assertEqual(refused(self.rest, "environments/production").status, 404)

    def test_pages_go_on_with_what_was_asked_for_and_attempts_have_their_jobs(self):
        run = self.push()
        self.runner.take_job().complete("failed")
        for _ in range(3):
            self.rest(f"actions/runs/{run}/rerun", "POST", {})
            self.runner.take_job().complete("failed")
        ask = f"/api/v3/repos/{REPO}/actions/runs/{run}/jobs?filter=all&per_page=5"
        seen = []
        while ask:
            _, headers, body = self.forge.request("GET", ask, headers=self.forge.admin())
            seen.append(len(json.loads(body)["jobs"]))
            rels = dict(reversed(found) for found in re.findall(r'<[^>]*?(/api[^>]*)>; rel="(\w+)"', headers.get("Link", "")))
            self.assertEqual(("last" in rels, "prev" in rels), ("next" in rels, len(seen) > 1))
            ask = rels.get("next")
        self.assertEqual(seen, [5, 5, 2])
        self.assertEqual([self.rest(f"actions/runs/{run}/attempts/{n}/jobs")["total_count"] for n in (1, 4)], [3, 3])
        self.assertEqual(refused(self.rest, f"actions/runs/{run}/attempts/5/jobs").status, 404)
        self.assertEqual(len(self.rest(f"actions/runs/{run}/jobs?filter=all&per_page=1000")["jobs"]), 12)


if __name__ == "__main__":
    unittest.main(verbosity=2)
