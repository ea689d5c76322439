#!/usr/bin/env python3
"""I7: the plan that was reviewed was not the plan that ran. A pull request shows the plan; the deployment of its merge applies that plan or stops with
the difference. What a comment says, another repository or a fork decides nothing."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Service, Trial, main  # noqa: E402

HEAD, MERGED = "a" * 40, "b" * 40
TOKEN = "job-token-of-i7"


class Hub:
    """As much of GitHub as a plan needs: one list of comments, and the pull requests of a commit."""

    def __init__(self):
        self.comments, self.refuses = [], None
        self.pulls = [self.pull()]

    @staticmethod
    def pull(repository="acme/shop", head=HEAD, merged=MERGED, number=7):
        return {"number": number, "merged_at": "2026-01-31T10:20:30Z", "merge_commit_sha": merged,
                "head": {"sha": head, "repo": repository and {"full_name": repository}}, "base": {"repo": {"full_name": "acme/shop"}}}

    def answer(self, path, _):
        if path == "/graphql":
            return (200, {}, b'{"data": {"viewer": {"login": "github-actions[bot]"}}}')
        if self.refuses and self.refuses in path:
            return (403, {}, b'{"message": "Resource not accessible by integration"}')
        if path.partition("?")[0].endswith("/pulls"):
            return (200, {}, json.dumps(self.pulls).encode())
        return (200, {}, json.dumps(self.comments).encode())


class Plans(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        self.hub = Hub()
        self.service = self.enterContext(Service(self.hub.answer))

    def job(self, event=None, repository="acme/shop", commit=MERGED, **inputs):
        env = {"GITHUB_ACTIONS": "true", "GITHUB_API_URL": self.service.url, "GITHUB_REPOSITORY": repository, "GITHUB_SHA": commit,
               "GITHUB_SERVER_URL": "https://github.example", "GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_JOB": "deploy",
               "GITHUB_WORKSPACE": self.t.src, "INPUT_FILE": "deploy.yml", "INPUT_TOKEN": TOKEN}
        if event:
            path = os.path.join(self.t.dir, "event.json")
            with open(path, "w", encoding="ascii") as f:
                json.dump(event, f)
            env.update(GITHUB_EVENT_NAME="pull_request", GITHUB_EVENT_PATH=path)
        env.update({f"INPUT_{name.upper()}": value for name, value in inputs.items()})
        return self.t.run("deploy", env=env)

    def describe(self, content="new\n", environment="production", **more):
        resources = [{"file": {"path": self.t.path("app.conf"), "content": content, **more}}]
        with open(os.path.join(self.t.src, "deploy.yml"), "w", encoding="ascii") as f:
            json.dump({"name": "shop", "environment": environment, "targets": {"web": {"local": {}, "base": self.t.base}},
                       "steps": [{"apply": {"resources": resources}}]}, f)

    def plan(self, code=0, head=HEAD, of="acme/shop", **more):
        event = {"number": 7, "pull_request": {"number": 7, "head": {"sha": head, "repo": of and {"full_name": of}}}}
        result = self.job(event, commit="c" * 40, plan="true", comment="true", **more)
        self.assert_exit(result, code)
        self.assert_silent(result, TOKEN)
        return result

    def merge(self, code=0, **more):
        result = self.job(expect="pull-request", **more)
        self.assert_exit(result, code)
        return result

    def written(self):
        return [(method, json.loads(body)["body"]) for method, path, body in self.service.requests
                if method in ("POST", "PATCH") and "comments" in path]

    def content(self):
        return self.t.read("app.conf") if os.path.exists(self.t.path("app.conf")) else None

    def test_the_plan_of_the_pull_request_is_shown_with_its_digest_and_applied_by_the_merge(self):
        self.describe()
        shown = self.plan()
        ((method, body),) = self.written()
        digest = body.rstrip().rsplit("`", 2)[1]
        self.assertEqual((method, body.splitlines()[0]), ("POST", "<!-- davit plan shop.production -->"))
        self.assertIn("**1 change**: 1 create.", body)
        self.assert_says(shown, digest)
        self.merge()
        self.assertEqual(self.content(), b"new\n")

    def test_a_world_that_changed_since_stops_it_with_each_attribute_that_differs(self):
        self.t.write("app.conf", b"old\n", 0o644)
        self.describe(mode="0644")
        self.plan()
        self.t.write("app.conf", b"somebody was here\n", 0o600)
        result = self.merge(code=3)
        self.assert_says(result, "before mode: \"0644\" was approved, now \"0600\"", "before size: 4 was approved, now 18",
                         "the plan is not the expected one")
        self.assertEqual(self.content(), b"somebody was here\n")

    def test_a_file_that_changed_since_stops_it_with_the_difference(self):
        self.describe()
        self.plan()
        self.describe("other\n", mode="0600")
        self.assert_says(self.merge(code=3), "after size: 4 was approved, now 6", "step 1 (apply): its inputs are not those that were approved")
        self.assertIsNone(self.content())

    def test_a_comment_is_only_shown(self):
        self.describe()
        self.plan()
        self.hub.comments = [{"id": 1, "user": {"login": "github-actions[bot]"}, "body": "<!-- davit plan shop.production -->\nPlan `" + "0" * 64 + "`"}]
        before = len(self.service.requests)
        self.merge()
        self.assertEqual([path for _, path, _ in self.service.requests[before:] if "comments" in path], [])

    def test_no_plan_of_another_repository_environment_push_or_fork_counts(self):
        self.describe()
        self.plan()
        other = dict(self.hub.pull("acme/other"), base={"repo": {"full_name": "acme/other"}})
        for pulls, more, words in (
                ([other], {"repository": "acme/other"}, "no plan of shop.production is kept here for the pull request #7 of acme/other"),
                ([self.hub.pull(number=8)], {}, "no plan of shop.production is kept here for the pull request #8"),
                ([self.hub.pull(head="d" * 40)], {}, "the newest is of aaaaaaaaaaaa, and what was merged is dddddddddddd"),
                ([self.hub.pull("mallory/shop")], {}, "comes from the fork mallory/shop"),
                ([self.hub.pull(None)], {}, "comes from a fork that is gone"),
                ([self.hub.pull(merged="e" * 40)], {}, "no pull request of acme/shop was merged as bbbbbbbbbbbb"),
                ([dict(self.hub.pull(), merged_at=None)], {}, "no pull request of acme/shop was merged as"),
                ([self.hub.pull(), self.hub.pull(number=9)], {}, "2 pull requests of acme/shop were merged as"),
                ([], {}, "no pull request of acme/shop was merged as")):
            with self.subTest(words=words):
                self.hub.pulls = pulls
                self.assert_says(self.merge(code=2, **more), words)
                self.assertIsNone(self.content())
        self.hub.pulls = [self.hub.pull()]
        self.describe(environment="staging")
        self.assert_says(self.merge(code=2), "no plan of shop.staging is kept here")
        self.assertIsNone(self.content())

    def test_a_fork_is_refused_before_its_file_is_read(self):
        with open(os.path.join(self.t.src, "deploy.yml"), "w", encoding="ascii") as f:
            f.write("{")
        self.assert_says(self.plan(code=2, of="mallory/shop"), "comes from the fork mallory/shop: its file is not planned", "davit validate")
        self.assert_says(self.plan(code=2, of=None), "comes from a fork that is gone")
        self.assertEqual(self.service.requests, [])

    def test_a_plan_that_could_not_be_shown_is_not_kept_and_takes_the_former_one_with_it(self):
        self.describe()
        self.plan()
        self.hub.refuses = "/comments"
        result = self.plan(code=2)
        self.assert_says(result, "403", "pull-requests: write", "1 change.")
        self.hub.refuses = None
        self.assert_says(self.merge(code=2), "no plan of shop.production is kept here")

    def test_a_refused_plan_is_shown_as_one_and_not_kept(self):
        self.describe()
        self.plan()
        self.describe(owner="nobody-of-that-name")
        self.plan(code=2)
        self.assertIn("**Refused:**", self.written()[-1][1])
        self.assertNotIn("Plan `", self.written()[-1][1])
        self.describe()
        self.merge(code=2)
        self.assertIsNone(self.content())

    def test_what_a_comment_needs_is_asked_for_before_anything_else(self):
        self.describe()
        self.assert_says(self.job(plan="true", comment="true"), "no pull request began this job", "on: pull_request")
        self.assert_says(self.job(comment="true"), "--comment belongs to --plan")
        self.assert_says(self.job(plan="true", issue="true"), "--issue belongs to --plan --refresh")
        self.assert_says(self.t.run("deploy", "deploy.yml", "--expect", "pull-request"), "belongs to a job of a workflow")
        self.assertEqual(self.service.requests, [])


if __name__ == "__main__":
    main()
