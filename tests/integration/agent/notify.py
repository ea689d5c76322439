#!/usr/bin/env python3
"""How a job's deployment ended reaches people by all ways at once: comments, a deployment and a check run on the forge, and a webhook."""
import pathlib

from harness import Case, run, until
from servers.webhooks import SECRET, proven, received, running


def equal(seen, wanted):
    assert seen == wanted, f"{seen!r} is not {wanted!r}"


WORKFLOW = """on: [push, workflow_dispatch]
permissions:
  contents: write
  deployments: write
  pull-requests: write
  checks: write
jobs:
  deploy:
    runs-on: self-hosted
    env:
      GITHUB_TOKEN: ${{{{ github.token }}}}
    steps:
      - uses: davit-deploy/davit/actions/checkout@v1
      - uses: davit-deploy/davit/actions/run@v1
        with:
          deployment: '{{"name": "shop", "environment": "staging"}}'
          targets: '{{"local": {{"local": {{}}, "base": "{base}"}}}}'
          script: |
            test ! -e {broken}
          undo: none
      - uses: davit-deploy/davit/actions/notify@v1
        if: always()
        with:
          commit_comment: true
          pull_request: 5
          deployment_status: true
          environment_url: https://shop.example
          check_run: true
          webhooks: '[{{"url": "{url}/echo/job", "secret": "{secret}"}}]'
"""


def test_a_job_tells_it_in_all_ways_and_a_second_run_updates_in_place():
    with running() as url, Case() as c:
        area = pathlib.Path(c.root) / "area"
        area.mkdir()
        broken = area / "broken"
        c.agent.configure(c.forge, "acme/widgets")
        c.agent.start().listening()
        sha = c.forge.push(WORKFLOW.format(base=area / "base", broken=broken, url=url, secret=SECRET))
        (job,) = c.forge.ended(sha)
        assert job["conclusion"] == "success", job
        owner = c.forge.admin()
        (mine,) = c.forge.json("GET", "/api/v3/repos/acme/widgets/issues/5/comments", headers=owner)
        # Somebody else's comment with our mark is left alone.
        stolen = mine["body"].split("\n")[0] + "\nmine"
        c.forge.json("POST", "/api/v3/repos/acme/widgets/issues/5/comments", {"body": stolen}, headers=owner)
        broken.write_text("")
        c.forge.dispatch("acme/widgets", "ci.yml")
        until("the second run has ended", lambda: len([j for j in c.forge.jobs(sha) if j["status"] == "completed"]) == 2)
        equal({j["conclusion"] for j in c.forge.jobs(sha)}, {"success", "failure"})

        (comment,) = c.forge.comments()
        assert "shop to staging: failed and rolled back" in comment["body"], comment["body"]
        pull = c.forge.received("issue-comments")
        equal([p["user"]["login"] for p in pull], ["github-actions[bot]", "octocat"])
        assert "failed and rolled back" in pull[0]["body"], pull[0]["body"]
        equal(pull[1]["body"], stolen)

        first, second = c.forge.received("deployments")
        assert first["payload"]["davit"] != second["payload"]["davit"]
        states = {d["id"]: [] for d in (first, second)}
        for status in c.forge.received("deployment-statuses"):
            states[status["deployment_id"]].append(status)
        equal([s["state"] for s in states[first["id"]]], ["success"])
        equal(states[first["id"]][0]["environment_url"], "https://shop.example")
        assert "/actions/runs/" in states[first["id"]][0]["log_url"], states[first["id"]][0]["log_url"]
        equal([s["state"] for s in states[second["id"]]], ["failure"])
        assert "environment_url" not in states[second["id"]][0]

        runs = c.forge.received("check-runs")
        equal([(r["name"], r["conclusion"]) for r in runs], [("shop to staging", "success"), ("shop to staging", "failure")])
        equal([proven(r)["deployment"]["state"] for r in received(url, "job")], ["committed", "undone"])
        # A renewal of the job's lease may arrive behind its end.
        equal([x for x in c.forge.complaints() if "/api/" in x["where"]], [])
        assert c.agent.stop() == 0


if __name__ == "__main__":
    run(__name__)
