#!/usr/bin/env python3
"""What davit asks of GitHub, and what the forge answers in its place, is what GitHub's own description says (servers/github_rest.json: method, path,
query, statuses, the schema of the body, the members of an answer)."""
import json
import os
import re
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Service, Trial, main  # noqa: E402
from servers.forge import Forge  # noqa: E402

COMMIT = "0123456789012345678901234567890123456789"
SCRATCH = [{"notify": {"commit_comment": True, "pull_request": 5, "deployment_status": True, "environment_url": "https://shop.example",
                       "check_run": True}}]
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "servers", "github_rest.json"), encoding="utf-8") as described:
    OPERATIONS = json.load(described)


def operation(method, path):
    """The one that this request is; its query is checked too."""
    path, _, query = path.partition("?")
    for o in OPERATIONS:
        if o["method"] == method and re.fullmatch(re.sub(r"{[^}]*}", "[^/]+", o["path"]), path):
            unknown = {pair.partition("=")[0] for pair in query.split("&") if pair} - set(o["query"])
            assert not unknown, f"{method} {path} has no {unknown}"
            return o
    raise AssertionError(f"GitHub describes no {method} {path}")


class Requests(Case):
    def everything(self, t, hub, works):
        document = {"name": "shop", "environment": "test", "targets": {"here": {"local": {}, "base": t.base}},
                    "steps": SCRATCH + [{"run": {"command": "true" if works else "false", "undo": "none"}}]}
        with open(os.path.join(t.src, "deploy.yml"), "w", encoding="ascii") as f:
            json.dump(document, f)
        return t.run("deploy", env={
            "GITHUB_ACTIONS": "true", "GITHUB_API_URL": hub.url, "GITHUB_REPOSITORY": "acme/shop", "GITHUB_SHA": COMMIT,
            "GITHUB_SERVER_URL": "https://github.example", "GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_JOB": "deploy",
            "GITHUB_WORKSPACE": t.src, "INPUT_FILE": "deploy.yml", "INPUT_TOKEN": "job-token"})

    def plans(self, t, hub):
        """The plan of a pull request, the deployment of its merge, and a look."""
        event = os.path.join(t.dir, "event.json")
        with open(event, "w", encoding="ascii") as f:
            json.dump({"pull_request": {"number": 5, "head": {"sha": COMMIT, "repo": {"full_name": "acme/shop"}}}}, f)
        document = {"name": "shop", "environment": "test", "targets": {"here": {"local": {}, "base": t.base}},
                    "steps": [{"apply": {"resources": [{"file": {"path": t.path("a"), "content": "a"}}]}}]}
        with open(os.path.join(t.src, "deploy.yml"), "w", encoding="ascii") as f:
            json.dump(document, f)
        job = {"GITHUB_ACTIONS": "true", "GITHUB_API_URL": hub.url, "GITHUB_REPOSITORY": "acme/shop", "GITHUB_SHA": COMMIT,
               "GITHUB_TOKEN": "job-token"}
        of_pull = {**job, "GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": event}
        self.assert_exit(t.run("deploy", "deploy.yml", "--plan", "--comment", env=of_pull), 0)
        self.assert_exit(t.run("deploy", "deploy.yml", "--expect", "pull-request", env=job), 2)
        self.assert_exit(t.run("deploy", "deploy.yml", "--plan", "--refresh", "--issue", env=job), 6)

    def test_each_request_is_one_that_github_describes(self):
        ours = [{"id": 9, "user": {"login": "me"}, "body": "<!-- davit shop.test -->\nbefore"}]
        drift = [{"number": 3, "state": "open", "user": {"login": "me"}, "body": "<!-- davit drift shop.test -->\nbefore"}]

        def answer(there):
            def of(path, _):
                if path == "/graphql":
                    return 200, {}, b'{"data":{"viewer":{"login":"me"}}}'
                if "check-runs?" in path:
                    return 200, {}, b'{"total_count":0,"check_runs":[]}'
                if "/issues?" in path:
                    return 200, {}, json.dumps(drift if there else []).encode()
                if "?" in path:
                    return 200, {}, json.dumps(ours if there and "comments" in path else []).encode()
                return 201, {}, b'{"id":9}'
            return of
        seen = set()
        for works in (True, False):
            with Trial() as t, Service(answer(works)) as hub:
                self.assert_exit(self.everything(t, hub, works), 0 if works else 1)
                self.plans(t, hub)
                for method, path, body in hub.requests:
                    if path == "/graphql":
                        continue
                    o = operation(method, path)
                    seen.add((method, o["path"]))
                    if body and body != b"{}":
                        self.holds(t, o["body"], body, f"{method} {path}")
        # The change of a check run comes with its second batch only.
        self.assertEqual({(o["method"], o["path"]) for o in OPERATIONS} - seen, {("PATCH", "/repos/{owner}/{repo}/check-runs/{check_run_id}")})

    def holds(self, t, schema, body, what):
        with tempfile.TemporaryDirectory(dir=t.dir) as place:
            for name, data in (("schema.json", json.dumps(schema).encode()), ("body.json", body)):
                with open(os.path.join(place, name), "wb") as f:
                    f.write(data)
            result = t.run("schema", "check", os.path.join(place, "schema.json"), os.path.join(place, "body.json"))
            self.assertEqual(result.code, 0, f"{what}: {body!r}: {result}")


class Answers(unittest.TestCase):
    def ask(self, forge, method, path, body=None):
        o = operation(method, path)
        status, _, text = forge.request(method, "/api/v3" + path, body, headers=forge.admin())
        answer = json.loads(text)
        self.assertIn(status, o["statuses"], f"{method} {path}")
        one = answer[0] if isinstance(answer, list) else answer
        self.assertEqual(set(o["answer"]) - set(one), set(), f"{method} {path}")
        return one

    def test_each_answer_of_the_forge_has_the_members_that_github_promises(self):
        with Forge(["acme/shop"]) as forge:
            sha = forge.repo("acme/shop").push({"README": "shop\n"})
            top = "/repos/acme/shop"
            comment = self.ask(forge, "POST", f"{top}/commits/{sha}/comments", {"body": "a"})
            self.ask(forge, "PATCH", f"{top}/comments/{comment['id']}", {"body": "b"})
            self.ask(forge, "GET", f"{top}/commits/{sha}/comments")
            comment = self.ask(forge, "POST", f"{top}/issues/5/comments", {"body": "a"})
            self.ask(forge, "PATCH", f"{top}/issues/comments/{comment['id']}", {"body": "b"})
            self.ask(forge, "GET", f"{top}/issues/5/comments")
            issue = self.ask(forge, "POST", f"{top}/issues", {"title": "a", "body": "b"})
            self.ask(forge, "PATCH", f"{top}/issues/{issue['number']}", {"body": "c", "state": "closed"})
            self.ask(forge, "GET", f"{top}/issues?state=all&sort=updated&direction=desc")
            forge.repo("acme/shop").git("checkout", "-q", "-b", "change")
            head = forge.repo("acme/shop").push({"a": "b"}, ref="change")
            forge.pull("acme/shop", "change")
            self.ask(forge, "GET", f"{top}/commits/{head}/pulls?per_page=100")
            deployment = self.ask(forge, "POST", f"{top}/deployments", {"ref": sha, "environment": "test", "required_contexts": []})
            self.ask(forge, "GET", f"{top}/deployments?sha={sha}&environment=test")
            self.ask(forge, "POST", f"{top}/deployments/{deployment['id']}/statuses", {"state": "success"})
            run = self.ask(forge, "POST", f"{top}/check-runs", {"name": "shop", "head_sha": sha})
            output = {"title": "t", "summary": "s", "annotations": [{"path": "a", "start_line": 1, "end_line": 1, "annotation_level": "notice",
                                                                     "message": "m"}]}
            for count in (1, 2):
                run = self.ask(forge, "PATCH", f"{top}/check-runs/{run['id']}", {"conclusion": "success", "output": output})
                self.assertEqual(run["output"]["annotations_count"], count)
            self.ask(forge, "GET", f"{top}/commits/{sha}/check-runs?filter=all")
            self.assertEqual(forge.complaints(), [])


if __name__ == "__main__":
    main()
