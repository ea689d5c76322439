#!/usr/bin/env python3
"""P4: the commit comment failed with 403."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Service, Trial, main  # noqa: E402

COMMIT = "0123456789012345678901234567890123456789"


class Permissions(Case):
    def deploy(self, t, hub, **notify):
        document = {"name": "shop", "environment": "test", "targets": {"here": {"local": {}, "base": t.base}}, "steps": [
            {"run": {"command": ["touch", t.path("ran")], "undo": ["rm", "-f", t.path("ran")]}}, {"notify": {"commit_comment": True, **notify}}]}
        with open(os.path.join(t.src, "deploy.yml"), "w") as f:
            json.dump(document, f)
        return t.run("deploy", env={
            "GITHUB_ACTIONS": "true", "GITHUB_API_URL": hub.url, "GITHUB_REPOSITORY": "acme/shop", "GITHUB_SHA": COMMIT,
            "GITHUB_SERVER_URL": "https://github.example", "GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_JOB": "deploy",
            "GITHUB_WORKSPACE": t.src, "INPUT_FILE": "deploy.yml", "INPUT_TOKEN": "job-token-of-p4"})

    def test_a_missing_permission_stops_it_before_the_first_change_and_is_named(self):
        def answer(path, _):
            return 403, {"X-Accepted-GitHub-Permissions": "contents=write"}, b'{"message":"Resource not accessible by integration"}'
        with Trial() as t, Service(answer) as hub:
            result = self.deploy(t, hub)
            self.assert_exit(result, 2)
            self.assert_says(result, "403", "Resource not accessible by integration", "contents=write", "permissions: { contents: write }")
            self.assert_silent(result, "job-token-of-p4")
            self.assertFalse(os.path.exists(t.path("ran")))

    def test_one_that_lacks_among_several_is_named_with_all_lines_that_are_wanted(self):
        def answer(path, _):
            if path.endswith("/check-runs"):
                return 403, {"X-Accepted-GitHub-Permissions": "checks=write"}, b'{"message":"Resource not accessible by integration"}'
            return 422, {}, b"{}"
        with Trial() as t, Service(answer) as hub:
            result = self.deploy(t, hub, check_run=True, deployment_status=True)
            self.assert_exit(result, 2)
            self.assert_says(result, "a check run: GitHub answered 403", "checks=write",
                             "permissions: { contents: write, deployments: write, checks: write }")
            self.assertEqual(result.text.count("GitHub answered"), result.text.count("GitHub answered 403"))
            self.assertFalse(os.path.exists(t.path("ran")))

    def test_with_it_the_check_says_nothing_and_the_comment_is_made_at_the_end(self):
        def answer(path, count):
            if path == "/graphql":
                return 200, {}, b'{"data":{"viewer":{"login":"github-actions[bot]"}}}'
            return (422 if count == 1 else 201), {}, b"[]" if "page=" in path else b"{}"
        with Trial() as t, Service(answer) as hub:
            self.assert_exit(self.deploy(t, hub), 0)
            self.assertTrue(os.path.exists(t.path("ran")))
            writing = [r for r in hub.requests if r[0] != "GET" and r[1] != "/graphql"]
            self.assertEqual([(method, path) for method, path, _ in writing], [("POST", f"/repos/acme/shop/commits/{COMMIT}/comments")] * 2)
            self.assertEqual(writing[0][2], b"{}")
            self.assertIn("shop to test: deployed", json.loads(writing[1][2])["body"])

    def test_a_comment_that_fails_at_the_end_is_a_warning(self):
        def answer(path, count):
            return (422, {}, b"{}") if count == 1 else (403, {}, b'{"message":"taken away"}')
        with Trial() as t, Service(answer) as hub:
            result = self.deploy(t, hub)
            self.assert_exit(result, 0)
            self.assert_says(result, "taken away")


if __name__ == "__main__":
    main()
