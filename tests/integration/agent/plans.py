#!/usr/bin/env python3
"""A plan is shown on its pull request, kept, and applied by the deployment of the merge, or nothing is; drift becomes an issue. The forge and the agent
are the real programs."""
import json
import pathlib

from harness import Case, run

WORKFLOW = """on:
  pull_request:
  push:
    branches: [main]
  schedule:
    - cron: "0 5 * * *"
permissions:
  contents: read
  issues: write
  pull-requests: write
jobs:
  plan:
    if: github.event_name == 'pull_request'
    runs-on: self-hosted
    steps:
      - uses: davit-deploy/davit/actions/checkout@v1
      - uses: davit-deploy/davit@v1
        with:
          file: deploy.yml
          secrets: '{"WORD": "${{ secrets.WORD }}"}'
          plan: true
          comment: true
  deploy:
    if: github.event_name == 'push'
    runs-on: self-hosted
    steps:
      - uses: davit-deploy/davit/actions/checkout@v1
      - uses: davit-deploy/davit@v1
        with:
          file: deploy.yml
          secrets: '{"WORD": "${{ secrets.WORD }}"}'
          expect: pull-request
  look:
    if: github.event_name == 'schedule'
    runs-on: self-hosted
    steps:
      - uses: davit-deploy/davit/actions/checkout@v1
      - uses: davit-deploy/davit@v1
        with:
          file: deploy.yml
          secrets: '{"WORD": "${{ secrets.WORD }}"}'
          plan: true
          refresh: true
          issue: true
"""
REPO, FORK = "acme/widgets", "mallory/widgets"
SECRET = "a-word-of-this-test-77"


def equal(seen, wanted):
    assert seen == wanted, f"{seen!r} is not {wanted!r}"


def holds(text, *words):
    for word in words:
        assert word in text, f"no {word!r} in {text}"


class Shop(Case):
    """A repository whose deployment file describes files below one directory, and its agent."""

    def __init__(self):
        super().__init__((REPO, FORK))

    def __enter__(self):
        super().__enter__()
        self.area = pathlib.Path(self.root) / "area"
        self.area.mkdir()
        self.agent.configure(self.forge, REPO)
        # What a fork gets is decided behind the host's policy, too.
        (self.agent.root / "agent" / "policy.yml").write_text("rules:\n- {name: all, allow: true, forks: true}\n")
        self.agent.start().listening()
        self.forge.secrets(REPO, {"WORD": SECRET})
        self.repo = self.forge.repo(REPO)
        return self

    def path(self, name):
        return self.area / "etc" / name

    def files(self, described, extra=()):
        resources = [{"directory": {"path": str(self.area / "etc")}},
                     *({"file": {"path": str(self.path(name)), "content": content}} for name, content in described.items()), *extra]
        return {".github/workflows/ci.yml": WORKFLOW, "deploy.yml": json.dumps({
            "name": "shop", "environment": "production", "targets": {"web": {"local": {}, "base": str(self.area / "base")}},
            "steps": [{"apply": {"allow_destroy": [f"file:{self.path('old')}"], "resources": resources}}]})}

    def push(self, described, ref="main", message="change", **more):
        return self.repo.push(self.files(described, **more), message, ref=ref)

    def ended(self, sha):
        """The job of that commit's run that was not skipped, with its log."""
        jobs = [j for j in self.forge.ended(sha) if j["conclusion"] != "skipped"]
        equal(len(jobs), 1)
        return jobs[0]

    def planned(self, number):
        """The conclusion of the newest run of the pull request, once it has ended."""
        def newest():
            runs = [r for r in self.forge.runs() if r["ref"] == f"refs/pull/{number}/merge"]
            return runs[-1] if runs and runs[-1]["status"] == "completed" else None
        found = self.forge.wait(f"a plan of #{number}", newest)
        return next(j for j in found["jobs"] if j["conclusion"] != "skipped")

    def comments(self, number):
        return self.forge.json("GET", f"/api/v3/repos/{REPO}/issues/{number}/comments", headers=self.forge.admin())

    def said(self, job):
        return json.dumps(job)

    def started(self, described):
        """main has the description, and it is deployed by a pull request."""
        self.repo.push({"README": "shop\n"}, "first")
        return self.merged(described)

    def opened(self, described, branch, **more):
        self.repo.git("checkout", "-q", "-B", branch)
        self.push(described, ref=branch, **more)
        pull = self.forge.pull(REPO, branch)
        return pull["number"]

    def merge(self, number, method="merge"):
        sha = self.forge.merge(REPO, number, method)
        self.repo.git("fetch", "-q", self.repo.bare, "main")
        self.repo.git("checkout", "-q", "-B", "main", "FETCH_HEAD")
        return sha

    def merged(self, described, branch="start"):
        number = self.opened(described, branch)
        equal(self.planned(number)["conclusion"], "success")
        sha = self.merge(number)
        equal(self.ended(sha)["conclusion"], "success")
        return number

    def calm(self):
        equal([x for x in self.forge.complaints() if "/api/" in x["where"]], [])


def test_a_pull_request_has_one_comment_and_the_merge_applies_that_plan():
    with Shop() as c:
        c.repo.push({"README": "shop\n"}, "first")
        secret = {"link": {"path": str(c.path("link")), "to": "${{ secrets.WORD }}"}}
        number = c.opened({"a": "one\n"}, "change", extra=[secret])
        equal(c.planned(number)["conclusion"], "success")
        (first,) = c.comments(number)
        equal(first["user"]["login"], "github-actions[bot]")
        holds(first["body"], "<!-- davit plan shop.production -->\n### Plan: `shop` to `production`", "3 create", str(c.path("a")), "`link`: nothing → `***`", "expect: pull-request")

        c.push({"a": "two\n", "b": "more\n"}, ref="change", extra=[secret])
        c.forge.wait("the updated comment", lambda: "4 create" in c.comments(number)[0]["body"])
        (second,) = c.comments(number)
        equal((second["id"], str(c.path("b")) in second["body"]), (first["id"], True))
        equal(c.planned(number)["conclusion"], "success")
        assert not (c.area / "etc").exists()

        job = c.ended(c.merge(number))
        equal((job["conclusion"], c.path("a").read_text(), c.path("b").read_text()), ("success", "two\n", "more\n"))
        shown = second["body"].rstrip().rsplit("`", 2)[1]
        job_text = c.said(job)
        holds(job_text, "committed: 4 changes")
        equal((len(shown), (c.area / "etc/link").readlink().name, SECRET in second["body"] + job_text), (64, SECRET, False))
        c.calm()
        assert c.agent.stop() == 0


def test_a_world_that_changed_in_between_refuses_the_merge_with_the_difference():
    with Shop() as c:
        c.started({"a": "one\n"})
        number = c.opened({"a": "two\n"}, "change")
        equal(c.planned(number)["conclusion"], "success")
        c.path("a").write_text("somebody was here\n")
        c.path("a").chmod(0o600)
        job = c.ended(c.merge(number, "squash"))
        equal((job["conclusion"], c.path("a").read_text()), ("failure", "somebody was here\n"))
        holds(c.said(job), "before digest", "before mode", "was approved, now", "the plan is not the expected one")
        c.calm()
        assert c.agent.stop() == 0


def test_what_no_pull_request_led_to_is_refused_and_so_is_a_plan_of_an_earlier_push():
    with Shop() as c:
        job = c.ended(c.push({"a": "one\n"}))
        equal(job["conclusion"], "failure")
        holds(c.said(job), "no pull request of acme/widgets was merged as", "expect: DIGEST")
        number = c.opened({"a": "two\n"}, "change")
        equal(c.planned(number)["conclusion"], "success")
        # The plan of the newest push fails, so what was kept before it does not count either.
        c.repo.push({"deploy.yml": "{"}, "broken", ref="change")
        c.forge.wait("a plan that fails", lambda: c.planned(number)["conclusion"] == "failure")
        c.push({"a": "two\n"}, ref="change", message="[skip ci] whole again")
        job = c.ended(c.merge(number))
        equal((job["conclusion"], c.path("a").exists()), ("failure", False))
        holds(c.said(job), "no plan of shop.production is kept here")
        assert c.agent.stop() == 0


def test_a_refused_plan_is_told_in_the_comment_and_is_not_kept():
    with Shop() as c:
        c.started({"a": "one\n"})
        number = c.opened({"a": "one\n", "@octocat `x`": "y"}, "change")
        equal(c.planned(number)["conclusion"], "success")
        holds(c.comments(number)[0]["body"], "@octocat 'x'`")
        c.push({"b": "without a\n"}, ref="change")
        c.forge.wait("a refused plan", lambda: "**Refused:**" in c.comments(number)[0]["body"])
        body = c.comments(number)[0]["body"]
        holds(body, "left the desired state and would be destroyed", "allow_destroy")
        assert "Plan `" not in body and SECRET not in body, body
        job = c.ended(c.merge(number))
        equal(job["conclusion"], "failure")
        holds(c.said(job), "no plan of shop.production is kept here")
        assert c.agent.stop() == 0


def test_a_fork_gets_no_plan_and_its_merge_none_that_counts():
    with Shop() as c:
        c.started({"a": "one\n"})
        fork = c.forge.repo(FORK)
        fork.git("fetch", "-q", c.repo.bare, "main")
        fork.git("checkout", "-q", "-B", "evil", "FETCH_HEAD")
        fork.push(c.files({"a": "evil\n"}), "evil", ref="evil")
        number = c.forge.pull(REPO, "mallory:evil")["number"]
        job = c.planned(number)
        equal((job["conclusion"], c.comments(number)), ("failure", []))
        holds(c.said(job), "comes from the fork mallory/widgets")
        job = c.ended(c.merge(number))
        equal((job["conclusion"], c.path("a").read_text()), ("failure", "one\n"))
        holds(c.said(job), "comes from the fork mallory/widgets: no plan of it counts")
        assert c.agent.stop() == 0


def test_drift_is_one_issue_that_is_closed_when_it_is_gone_and_opened_again():
    with Shop() as c:
        c.started({"a": "one\n"})

        def look(conclusion):
            before = len([r for r in c.forge.runs(logs=False) if r["event"] == "schedule"])
            c.forge.schedule(REPO)

            def done():
                runs = [r for r in c.forge.runs(logs=False) if r["event"] == "schedule"]
                return len(runs) > before and runs[-1]["status"] == "completed" and runs[-1]["conclusion"]
            equal(c.forge.wait("a look", done), conclusion)
            return c.forge.received("issues")
        equal(look("success"), [])
        c.path("a").write_text("somebody was here\n")
        (issue,) = look("failure")
        equal((issue["state"], issue["user"]["login"], issue["title"]),
              ("open", "github-actions[bot]", "Drift: shop to production is not as described"))
        holds(issue["body"], "<!-- davit drift shop.production -->", "**update**", str(c.path("a")), "`digest`")
        c.path("a").write_text("somebody was here again\n")
        (again,) = look("failure")
        equal((again["number"], again["body"] != issue["body"]), (issue["number"], True))
        holds(again["body"], "`size`: `24` → `4`")
        equal(c.path("a").read_text(), "somebody was here again\n")
        c.path("a").write_text("one\n")
        (closed,) = look("success")
        equal(closed["state"], "closed")
        holds(closed["body"], "No drift: all is as described.")
        c.path("a").unlink()
        (opened,) = look("failure")
        equal((opened["number"], opened["state"]), (issue["number"], "open"))
        c.calm()
        assert c.agent.stop() == 0


if __name__ == "__main__":
    run(__name__)
