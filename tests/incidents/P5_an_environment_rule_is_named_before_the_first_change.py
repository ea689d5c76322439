#!/usr/bin/env python3
"""P5: an environment rule blocked the branch."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Service, Trial, main  # noqa: E402

ENVIRONMENT = "/repos/acme/shop/environments/production"


class Rules(Case):
    def deploy(self, t, hub, ref="refs/heads/feature/x"):
        document = {"name": "shop", "environment": "test", "targets": {"here": {"local": {}, "base": t.base}}, "steps": [
            {"preflight": {"environment": "production", "ref": ref}},
            {"run": {"command": ["touch", t.path("ran")], "undo": ["rm", "-f", t.path("ran")]}}]}
        with open(os.path.join(t.src, "deploy.yml"), "w", encoding="ascii") as f:
            json.dump(document, f)
        return t.run("deploy", env={
            "GITHUB_ACTIONS": "true", "GITHUB_API_URL": hub.url, "GITHUB_REPOSITORY": "acme/shop", "GITHUB_SHA": "0" * 40,
            "GITHUB_SERVER_URL": "https://github.example", "GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_JOB": "deploy",
            "GITHUB_WORKSPACE": t.src, "INPUT_FILE": "deploy.yml", "INPUT_TOKEN": "job-token-of-p5"})

    def answer_with(self, answers):
        def answer(path, _):
            value = answers.get(path.partition("?")[0])
            return (404, {}, b'{"message":"Not Found"}') if value is None else (200, {}, json.dumps(value).encode())
        return answer

    def test_a_branch_that_no_pattern_lets_in_is_refused_with_the_rule_and_where_it_is_set(self):
        answers = {ENVIRONMENT: {"deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True}},
                   ENVIRONMENT + "/deployment-branch-policies": {"branch_policies": [
                       {"name": "main", "type": "branch"}, {"name": "release/*", "type": "branch"}, {"name": "v*", "type": "tag"}]}}
        with Trial() as t, Service(self.answer_with(answers)) as hub:
            for ref in ("refs/heads/feature/x", "refs/heads/v1", "refs/heads/release/1/2"):
                result = self.deploy(t, hub, ref)
                self.assert_exit(result, 2)
                self.assert_says(result, f"the environment 'production' of acme/shop does not let '{ref}' in: only main, release/*, v* are",
                                 "Environments, 'production'", "Deployment branches and tags")
                self.assert_silent(result, "job-token-of-p5")
                self.assertFalse(os.path.exists(t.path("ran")))
            for ref in ("refs/heads/main", "refs/heads/release/1", "refs/tags/v1", "main"):
                self.assert_exit(self.deploy(t, hub, ref), 0)
            self.assertEqual({method for method, _, _ in hub.requests}, {"GET"})

    def test_only_protected_branches_are_let_in_where_that_is_the_rule(self):
        answers = {ENVIRONMENT: {"deployment_branch_policy": {"protected_branches": True, "custom_branch_policies": False}},
                   "/repos/acme/shop/branches/main": {"name": "main", "protected": True},
                   "/repos/acme/shop/branches/feature%2Fx": {"name": "feature/x", "protected": False}}
        with Trial() as t, Service(self.answer_with(answers)) as hub:
            for ref in ("refs/heads/feature/x", "refs/tags/v1", "refs/heads/gone"):
                result = self.deploy(t, hub, ref)
                self.assert_exit(result, 2)
                self.assert_says(result, "only protected branches are, and this is none")
            self.assert_exit(self.deploy(t, hub, "refs/heads/main"), 0)

    def test_an_environment_that_is_not_there_is_told_with_those_that_are(self):
        answers = {"/repos/acme/shop/environments": {"environments": [{"name": "staging"}, {"name": "prod"}]}}
        with Trial() as t, Service(self.answer_with(answers)) as hub:
            result = self.deploy(t, hub)
            self.assert_exit(result, 2)
            self.assert_says(result, "acme/shop has no environment 'production'", "there are: staging, prod")

    def test_what_holds_a_job_back_is_a_warning(self):
        answers = {ENVIRONMENT: {"deployment_branch_policy": None, "protection_rules": [
            {"type": "wait_timer", "wait_timer": 30}, {"type": "required_reviewers"}, {"type": "branch_policy"}]}}
        with Trial() as t, Service(self.answer_with(answers)) as hub:
            result = self.deploy(t, hub)
            self.assert_exit(result, 0)
            self.assert_says(result, "holds each job back for 30 minutes", "waits for a review of each job")

    def test_a_token_that_may_not_read_it_is_told_what_it_lacks(self):
        with Trial() as t, Service(lambda *_: (403, {"X-Accepted-GitHub-Permissions": "actions=read"}, b'{"message":"no"}')) as hub:
            result = self.deploy(t, hub)
            self.assert_exit(result, 2)
            self.assert_says(result, "403", "actions: read")


if __name__ == "__main__":
    main()
