#!/usr/bin/env python3
"""davit's requests to GitHub, and the forge's answers in GitHub's place, against GitHub's own description of its REST API: paths, methods, query, bodies,
statuses, and the types of what is answered."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", ".."), os.path.join(HERE, "..")]
import github_rest  # noqa: E402
from harness.trial import DAVIT, Case, Service, Trial, main  # noqa: E402
from servers import github_openapi  # noqa: E402
from servers.forge import Forge  # noqa: E402

WORKFLOW = "on: [push, workflow_dispatch, repository_dispatch]\njobs: {a: {runs-on: self-hosted, steps: [{run: 'true'}]}}\n"
DEPLOY = "name: shop\nenvironment: test\ntargets: { here: { local: {}, base: %s/base } }\nsteps:\n  - run: { command: 'true', undo: none }\n"
TOP = "/repos/acme/shop"


@unittest.skipIf(github_openapi.WHY_NOT, github_openapi.WHY_NOT)
class Description(Case):
    @classmethod
    def setUpClass(cls):
        cls.schema = github_openapi.load()

    def test_what_deployments_tell_and_ask_is_described_with_its_bodies(self):
        def answer(path, _):
            if path == "/graphql":
                return 200, {}, b'{"data":{"viewer":{"login":"me"}}}'
            if "check-runs?" in path:
                return 200, {}, b'{"total_count":0,"check_runs":[]}'
            return (200, {}, b"[]") if "?" in path else (201, {}, b'{"id":9}')
        seen = set()
        with Trial() as t, Service(answer) as hub:
            self.assert_exit(github_rest.Requests.everything(self, t, hub, True), 0)
            github_rest.Requests.plans(self, t, hub)
            for method, target, body in hub.requests:
                # Whether it may write is asked by a body that is none.
                if target == "/graphql" or body == b"{}":
                    continue
                path, query = github_openapi.split(target)
                self.assertIsNone(self.schema.request_fault(method, path, query, json.loads(body) if body else None, "application/json"))
                seen.add((method, self.schema.operation(method, path)[0]))
        self.assertIn(("POST", "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses"), seen)
        self.assertGreater(len(seen), 8, seen)

    def test_what_registers_removes_and_watches_is_described(self):
        with tempfile.TemporaryDirectory(prefix="davit-described-") as root, Forge(["acme/shop"]) as forge:
            env = {**{k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_"))}, "DAVIT_STATE": os.path.join(root, "state")}
            token = os.path.join(root, "token")
            with open(token, "w", encoding="ascii") as f:
                f.write("a-token")
            os.chmod(token, 0o600)
            with open(os.path.join(root, "watch.json"), "w", encoding="ascii") as f:
                json.dump({"token_file": token, "watch": [{"repository": f"{forge.url}/acme/shop", "environment": "test"}]}, f)
            sha = forge.repo("acme/shop").push({"deploy.yml": DEPLOY % root})
            forge.json("POST", f"/api/v3{TOP}/deployments", {"ref": sha, "environment": "test", "required_contexts": []}, forge.admin())
            own = len(forge.requests())
            url = f"{forge.url}/acme/shop"
            for words in (["agent", "configure", "--unattended", "--url", url, "--name", "box", "--pat", "a-token", "--keep-pat"], ["watch", os.path.join(root, "watch.json"), "--once"],
                          ["agent", "remove"]):
                done = subprocess.run([DAVIT, *words], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
                self.assertEqual(done.returncode, 0, done)
            asked = forge.requests()[own:]
            self.assertEqual(github_openapi.undescribed(asked), [])
            rest = [r for r in asked if r["path"].startswith("/api/v3/")]
            self.assertTrue(any("registration-token" in r["path"] for r in rest) and any(r["path"].endswith("/statuses") for r in rest), rest)

    def ask(self, forge, method, target, body=None):
        status, _, text = forge.request(method, "/api/v3" + target, body, headers=forge.admin())
        answer = json.loads(text) if text.strip() else None
        path, query = github_openapi.split(target)
        self.assertIsNone(self.schema.request_fault(method, path, query, body, "application/json"))
        self.assertIsNone(self.schema.answer_fault(method, path, status, answer), f"{answer}")
        return answer

    def test_what_the_forge_answers_is_described(self):
        with Forge(["acme/shop"]) as forge:
            sha = forge.repo("acme/shop").push({".github/workflows/a.yml": WORKFLOW})
            run = forge.wait("a run", lambda: forge.runs(logs=False))[0]["id"]
            for target in ("", "/branches/main", "/actions/runs?per_page=5", f"/actions/runs/{run}", f"/actions/workflows", f"/actions/runs/{run}/artifacts",
                           "/actions/artifacts", "/actions/caches", "/actions/runners", "/releases", "/commits/main/check-runs", f"/commits/{sha}/pulls"):
                self.ask(forge, "GET", TOP + target)
            job = self.ask(forge, "GET", f"{TOP}/actions/runs/{run}/jobs")["jobs"][0]["id"]
            self.ask(forge, "GET", f"{TOP}/actions/jobs/{job}")
            for what in ("registration-token", "remove-token"):
                self.ask(forge, "POST", f"{TOP}/actions/runners/{what}")
            self.ask(forge, "POST", f"{TOP}/actions/runners/generate-jitconfig", {"name": "box", "runner_group_id": 1, "labels": ["x"]})
            deployment = self.ask(forge, "POST", f"{TOP}/deployments", {"ref": sha, "environment": "test", "required_contexts": []})["id"]
            self.ask(forge, "POST", f"{TOP}/deployments/{deployment}/statuses", {"state": "success", "log_url": "https://shop.example/"})
            for target in ("", f"/{deployment}", f"/{deployment}/statuses"):
                self.ask(forge, "GET", f"{TOP}/deployments{target}")
            self.ask(forge, "POST", f"{TOP}/commits/{sha}/comments", {"body": "a"})
            issue = self.ask(forge, "POST", f"{TOP}/issues", {"title": "a", "body": "b"})["number"]
            self.ask(forge, "PATCH", f"{TOP}/issues/{issue}", {"state": "closed"})
            self.ask(forge, "POST", f"{TOP}/issues/{issue}/comments", {"body": "x"})
            for target in (f"/commits/{sha}/comments", "/issues?state=all", f"/issues/{issue}/comments"):
                self.ask(forge, "GET", TOP + target)
            check = self.ask(forge, "POST", f"{TOP}/check-runs", {"name": "shop", "head_sha": sha})["id"]
            self.ask(forge, "PATCH", f"{TOP}/check-runs/{check}", {"conclusion": "success", "output": {"title": "t", "summary": "s"}})
            self.ask(forge, "POST", f"{TOP}/statuses/{sha}", {"state": "success"})
            self.ask(forge, "POST", f"{TOP}/actions/workflows/a.yml/dispatches", {"ref": "main"})
            self.ask(forge, "POST", f"{TOP}/dispatches", {"event_type": "deploy", "client_payload": {"a": 1}})
            for target in ("/orgs/acme/repos", "/user/repos", "/rate_limit"):
                self.ask(forge, "GET", target)


if __name__ == "__main__":
    main()
