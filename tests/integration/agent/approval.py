#!/usr/bin/env python3
"""A job's deployment waits without the agent's slot, and goes on by a comment that another job reads: agent, worker and forge as they are."""
import json
import os
import pathlib
import subprocess

from harness import DAVIT, Case, run, until

DEPLOY = """on: push
jobs:
  deploy:
    runs-on: self-hosted
    steps:
      - uses: davit-deploy/davit/actions/checkout@v1
      - uses: davit-deploy/davit@v1
        id: shop
        continue-on-error: true
        with: { file: deploy.yml, secrets: "${{ toJSON(secrets) }}" }
      - run: test "${{ steps.shop.outputs.state }}" = parked
"""
APPROVE = """on: workflow_dispatch
permissions: {{ issues: read, contents: read }}
jobs:
  approve:
    runs-on: self-hosted
    steps:
      - run: {davit} approve --from-comment
        env: {{ GITHUB_TOKEN: "${{{{ github.token }}}}" }}
"""
FILE = """name: shop
environment: staging
targets: {{ web: {{ local: {{}}, base: {area}/base }} }}
steps:
  - approve: {{ message: "with ${{{{ secrets.WORD }}}}" }}
  - archive-upload: {{ source: site, path: {area}/app }}
  - run: {{ command: [sh, -c, 'printf %s "$WORD" > {area}/word'], undo: none, env: {{ WORD: "${{{{ secrets.WORD }}}}" }} }}
"""
SECRET = "a-word-that-nobody-reads"


def waiting(agent):
    answer = subprocess.run([DAVIT, "approvals", "--json"], env={**agent.env}, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)


def approve_job(c):
    """One more run of the workflow that reads comments; its job."""
    started = c.forge.dispatch("acme/widgets", "approve.yml")
    ended = until("the job that reads comments has ended", lambda: [
        r for r in c.forge.runs() if r["id"] == started and all(j["status"] == "completed" for j in r["jobs"]) and r["jobs"]])
    return ended[0]["jobs"][0]


def test_a_deployment_that_waits_keeps_no_slot_and_goes_on_by_a_comment():
    with Case() as c:
        area = pathlib.Path(c.root) / "area"
        area.mkdir()
        approvers = c.agent.root / "approvers"
        api = f"api {c.forge.url}/api/v3\n"
        approvers.write_text(api + "bob github octocat\n")
        approvers.chmod(0o600)
        c.forge.secrets("acme/widgets", {"WORD": SECRET})
        c.agent.configure(c.forge, "acme/widgets")
        c.agent.start().listening()
        sha = c.forge.push(DEPLOY, files={".github/workflows/approve.yml": APPROVE.format(davit=DAVIT), "deploy.yml": FILE.format(area=area),
                                          "site/index.html": "new\n"})
        (job,) = c.forge.ended(sha)
        assert job["conclusion"] == "success", job
        (one,) = waiting(c.agent)
        assert (one["asked_by"], one["repository"], one["commit"]) == ("octocat", "acme/widgets", sha), one
        assert SECRET not in json.dumps(one) and not (area / "app").exists()

        # The agent has one slot, and this job gets it.
        assert approve_job(c)["conclusion"] == "success"
        c.forge.json("POST", "/api/v3/repos/acme/widgets/issues/5/comments",
                     {"body": f"/davit approve {one['id']} {one['digest'][:12]}"}, headers=c.forge.admin())
        assert approve_job(c)["conclusion"] == "success"
        assert len(waiting(c.agent)) == 1 and not (area / "app").exists(), "one who asked for it has agreed to it"

        approvers.write_text(api + "bob github octocat\nbob own\n")
        last = approve_job(c)
        assert last["conclusion"] == "success", last
        assert waiting(c.agent) == []
        assert (area / "app/current/index.html").read_text() == "new\n"
        assert (area / "word").read_text() == SECRET
        for top, _, names in os.walk(c.agent.root):
            for name in names:
                path = os.path.join(top, name)
                if os.path.isfile(path):
                    with open(path, "rb") as f:
                        assert SECRET.encode() not in f.read(), path
        assert c.agent.stop() == 0


if __name__ == "__main__":
    run(__name__)
