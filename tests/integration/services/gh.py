#!/usr/bin/env python3
"""GitHub's own command line against the forge by TLS: runs listed, watched, read, started, run again; artifacts; and what only REST gives."""
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from servers.forge import Forge, ForgeError
from servers.job_services import Caller
from servers.runner import Runner, refused

REPO = "octo/demo"
WORKFLOW = """name: Build it
on: {push: , pull_request: , workflow_dispatch: {inputs: {who: {default: nobody}}}}
jobs:
  build: {runs-on: self-hosted, strategy: {matrix: {n: [1, 2]}, fail-fast: false}, steps: [{run: x}]}
  test: {runs-on: self-hosted, needs: build, steps: [{run: x}]}
  lint: {runs-on: self-hosted, steps: [{run: x}]}
"""


def zipped(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


class OfARun(unittest.TestCase):
    tls = True

    def setUp(self):
        self.releases = tempfile.TemporaryDirectory(prefix="davit-releases-")
        self.addCleanup(self.releases.cleanup)
        self.forge = Forge([REPO, "octo/other", "mallory/demo"], tls=self.tls, options=["--releases", self.releases.name])
        self.forge.__enter__()
        self.addCleanup(self.forge.__exit__)
        self.runner = Runner(self.forge, REPO).ready()

    def push(self, workflow=WORKFLOW, **more):
        sha = self.forge.repo(REPO).push({".github/workflows/ci.yml": workflow}, **more)
        return self.forge.wait_run(REPO, sha, status="queued")["id"]

    def end(self, conclusions, step="Say hello"):
        """Takes a job for each conclusion, and ends it so; → its names."""
        names = []
        for conclusion in conclusions:
            job = self.runner.take_job()
            one = job.step(1, step, conclusion={"succeeded": 2, "failed": 3}[conclusion])
            job.update_steps(one)
            text = f"2026-03-01T10:20:30.1234567Z {job.message['jobDisplayName']} says hello\n"
            job.upload_log(text, one["external_id"])
            job.upload_log(text)
            wrong = [{"level": "failure", "message": "it broke", "path": "a.c", "startLine": 3, "endLine": 3, "stepNumber": 1}]
            job.complete(conclusion, stepResults=[job.result(one, conclusion, wrong if conclusion == "failed" else [])])
            names.append(job.message["jobDisplayName"])
        return names

    def rest(self, path, method="GET", body=None):
        return self.forge.json(method, f"/api/v3/repos/{REPO}/actions/{path}", body, self.forge.admin())


@unittest.skipUnless(shutil.which("gh"), "there is no gh")
class Gh(OfARun):
    def setUp(self):
        super().setUp()
        self.home = tempfile.TemporaryDirectory(prefix="davit-gh-")
        self.addCleanup(self.home.cleanup)

    def start(self, *args):
        env = {"PATH": os.environ["PATH"], "HOME": self.home.name, "GH_CONFIG_DIR": self.home.name, "GH_HOST": f"localhost:{self.forge.port}",
               "GH_ENTERPRISE_TOKEN": "any", "SSL_CERT_FILE": self.forge.ca_file, "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1"}
        return subprocess.Popen(["gh", *args, *(() if args[0] == "api" else ("-R", REPO))], env=env, cwd=self.home.name, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def gh(self, *args, status=0):
        process = self.start(*args)
        out, err = process.communicate(timeout=90)
        self.assertEqual(process.returncode, status, out + err)
        return out + err

    def test_runs_are_listed_viewed_and_their_logs_read(self):
        run = self.push(message="The first one")
        self.end(["succeeded", "failed", "succeeded"])
        listed = json.loads(self.gh("run", "list", "--json", "databaseId,name,displayTitle,event,headBranch,status,conclusion,workflowName"))
        self.assertEqual(listed, [{"databaseId": run, "name": "Build it", "workflowName": "Build it", "displayTitle": "The first one", "event": "push",
                                   "headBranch": "main", "status": "completed", "conclusion": "failure"}])
        self.assertIn("The first one", self.gh("run", "list", "--workflow", "ci.yml", "--branch", "main"))
        shown = self.gh("run", "view", str(run), "--exit-status", status=1)
        for line in ("X main Build it", "X build (2) in", "- test in 0s", "✓ lint in", "X it broke", "build (2): a.c#3"):
            self.assertIn(line, shown)
        self.assertIn("build (1)\tSay hello\t2026-03-01T10:20:30.1234567Z build (1) says hello", self.gh("run", "view", str(run), "--log"))
        broken = self.gh("run", "view", str(run), "--log-failed")
        self.assertEqual(("build (2) says hello" in broken, "build (1)" in broken), (True, False))
        self.assertEqual(self.forge.complaints(), [])

    def test_a_run_is_started_watched_to_its_end_and_run_again_where_it_failed(self):
        self.forge.repo(REPO).push({".github/workflows/ci.yml": WORKFLOW.replace("push: , ", "")})
        self.gh("workflow", "run", "ci.yml", "-f", "who=you")
        run = self.forge.wait_run(REPO, status="queued")
        self.assertEqual((run["event"], run["workflow"]), ("workflow_dispatch", "Build it"))
        watch = self.start("run", "watch", str(run["id"]), "--interval", "1", "--exit-status")
        self.forge.wait("gh to ask for the jobs", lambda: self.forge.requests(f"/runs/{run['id']}/jobs"))
        self.assertEqual(sorted(self.end(["failed", "succeeded", "succeeded"])), ["build (1)", "build (2)", "lint"])
        out, err = watch.communicate(timeout=90)
        self.assertEqual(watch.returncode, 1, out + err)
        self.assertIn("✓ lint", out)
        self.gh("run", "rerun", str(run["id"]), "--failed")
        self.assertEqual(self.end(["succeeded", "succeeded"]), ["build (1)", "test"])
        self.assertIn("already completed with 'success'", self.gh("run", "watch", str(run["id"]), "--exit-status"))
        again = self.forge.wait_run(REPO)
        self.assertEqual((again["attempt"], again["conclusion"]), (2, "success"))
        self.gh("run", "rerun", str(run["id"]))
        self.assertEqual(sorted(self.end(["succeeded"] * 4)), ["build (1)", "build (2)", "lint", "test"])
        self.gh("workflow", "run", "Build it", "--ref", "main")
        self.gh("run", "cancel", str(self.forge.wait_run(REPO, status="queued")["id"]))
        self.assertEqual(self.forge.wait_run(REPO)["conclusion"], "cancelled")
        self.assertIn("Build it\tactive", self.gh("workflow", "list"))

    def test_a_workflow_is_shown_disabled_and_enabled_again(self):
        repo = self.forge.repo(REPO)
        self.push()
        self.assertEqual(self.gh("workflow", "view", "Build it", "--yaml").strip(), WORKFLOW.strip())
        self.assertEqual(self.gh("workflow", "view", "ci.yml", "--yaml", "--ref", "main").strip(), WORKFLOW.strip())
        self.gh("workflow", "disable", "ci.yml")
        self.assertNotIn("Build it", self.gh("workflow", "list"))
        self.assertIn("Build it\tdisabled_manually", self.gh("workflow", "list", "--all"))
        started = len(self.forge.runs())
        repo.push({"more": "a"})
        self.forge.schedule(REPO)
        self.forge.wait("the push and the schedule to be passed over", lambda: str(self.forge.events()).count("ci.yml of octo/demo is disabled") == 2)
        self.assertIn("disabled workflow", str(refused(self.rest, "workflows/ci.yml/dispatches", "POST", {"ref": "main"})))
        self.assertEqual(refused(self.rest, "workflows/none.yml/disable", "PUT").status, 404)
        self.assertEqual(len(self.forge.runs()), started)
        self.gh("workflow", "enable", "Build it")
        self.gh("workflow", "run", "ci.yml")
        self.assertEqual(len(self.forge.runs()), started + 1)
        for path in ("none", ".github", "../x", "ci.yml?ref=none"):
            self.assertEqual(refused(self.forge.request, "GET", f"/api/v3/repos/{REPO}/contents/{path}", headers=self.forge.admin()).status, 404, path)

    def test_artifacts_are_downloaded_and_caches_are_listed_and_deleted(self):
        run = self.push()
        job = self.runner.take_job()
        caller = Caller(self.forge, job)
        for name in ("dist", "docs"):
            caller.upload(name, zipped(**{"a/b.txt": f"of {name}"}))
        caller.save("deps-1", b"12345")
        job.complete()
        self.gh("run", "download", str(run))
        self.gh("run", "download", str(run), "-n", "docs", "-D", "there")
        for path, text in (("dist/a/b.txt", "of dist"), ("docs/a/b.txt", "of docs"), ("there/a/b.txt", "of docs")):
            with open(os.path.join(self.home.name, path), encoding="ascii") as f:
                self.assertEqual(f.read(), text)
        self.assertIn("no artifact matches", self.gh("run", "download", str(run), "-n", "none", status=1))
        path = f"repos/{REPO}/actions/caches"
        self.assertEqual(self.gh("api", path, "--jq", ".actions_caches[] | [.key, .ref, .size_in_bytes] | @csv").strip(), '"deps-1","refs/heads/main",5')
        self.gh("api", "-X", "DELETE", f"{path}?key=deps-1")
        self.assertEqual(json.loads(self.gh("api", path))["total_count"], 0)

    def test_releases_are_viewed_and_their_files_downloaded(self):
        for tag, text in (("v1.9.0", b"nine"), ("v1.10.0", b"ten"), ("v2.0.0-rc1", b"two")):
            os.makedirs(os.path.join(self.releases.name, REPO, tag))
            with open(os.path.join(self.releases.name, REPO, tag, "tool"), "wb") as f:
                f.write(text)
        os.symlink("/etc/passwd", os.path.join(self.releases.name, REPO, "v1.9.0/link"))
        shown = json.loads(self.gh("release", "view", "v1.9.0", "--json", "tagName,assets,isPrerelease"))
        self.assertEqual((shown["tagName"], shown["isPrerelease"], [(a["name"], a["size"]) for a in shown["assets"]]), ("v1.9.0", False, [("tool", 4)]))
        self.gh("release", "download", "v1.10.0", "-p", "tool", "-D", "got")
        with open(os.path.join(self.home.name, "got/tool"), "rb") as f:
            self.assertEqual(f.read(), b"ten")
        self.assertEqual(self.gh("api", f"repos/{REPO}/releases/latest", "--jq", ".tag_name").strip(), "v1.10.0")
        self.assertEqual(self.gh("api", f"repos/{REPO}/releases", "--jq", ".[].tag_name").split(), ["v2.0.0-rc1", "v1.10.0", "v1.9.0"])
        for path in ("v1.9.0/link", "v1.9.0/none", "../../etc/passwd", "..%2f..%2f/x", "none/tool"):
            with self.assertRaises(ForgeError) as refused:
                self.forge.request("GET", f"/{REPO}/releases/download/{path}")
            self.assertEqual(refused.exception.status, 404)
        self.gh("release", "view", "v3", status=1)

    def test_a_pull_request_is_opened_and_the_run_of_it_names_it(self):
        self.push()
        self.end(["succeeded"] * 4)
        self.forge.repo(REPO).push({"README": "more\n"}, ref="side")
        self.end(["succeeded"] * 4)
        self.gh("api", f"repos/{REPO}/pulls", "-f", "title=More", "-f", "head=side", "-f", "base=main")
        run = self.forge.wait_run(REPO, status="queued")
        self.assertEqual(run["event"], "pull_request")
        self.assertIn("* side Build it #1", self.gh("run", "view", str(run["id"])))
        asked = self.gh("api", "graphql", "-F", "o=octo", "-f", "query=query($o: String!, $n: String = \"demo\") { a: repository(owner: $o, name: \"demo\") { ...f } viewer { login } }"
                        " fragment f on Repository { nameWithOwner defaultBranchRef { name } pullRequests(states: [OPEN], first: 5) { totalCount nodes { title number } } }")
        self.assertEqual(json.loads(asked)["data"], {"viewer": {"login": "octocat"}, "a": {
            "nameWithOwner": REPO, "defaultBranchRef": {"name": "main"}, "pullRequests": {"totalCount": 1, "nodes": [{"title": "More", "number": 1}]}}})
        for query in ("{ repository(owner: \"octo\", name: \"demo\") { secrets } }", "{ repository(owner: \"octo\", name: \"none\") { name } }", "mutation { x }",
                      "{ a { ...f } } fragment f on X { ...f }", "{" * 40, "{ viewer { login }", "query a { viewer { login } } query b { viewer { login } }"):
            self.gh("api", "graphql", "-f", f"query={query}", status=1)


class Rest(OfARun):
    tls = False

    def test_only_what_failed_and_what_depends_on_it_runs_again_and_former_attempts_stay(self):
        run = self.push()
        self.assertEqual(refused(self.rest, f"runs/{run}/rerun", "POST").status, 403)
        self.end(["failed", "succeeded", "succeeded"])
        first = {job["name"]: job for job in self.rest(f"runs/{run}/jobs")["jobs"]}
        self.rest(f"runs/{run}/rerun-failed-jobs", "POST", {})
        jobs = {job["name"]: job for job in self.rest(f"runs/{run}/jobs")["jobs"]}
        self.assertEqual({n: (j["run_attempt"], j["status"]) for n, j in jobs.items()},
                         {"build (1)": (2, "queued"), "build (2)": (1, "completed"), "lint": (1, "completed"), "test": (2, "waiting")})
        self.assertEqual(self.end(["succeeded", "succeeded"]), ["build (1)", "test"])
        self.assertEqual([self.rest(f"runs/{run}/attempts/{n}")["conclusion"] for n in (1, 2)], ["failure", "success"])
        self.assertEqual(refused(self.rest, f"runs/{run}/attempts/3").status, 404)
        self.assertEqual(refused(self.rest, f"runs/{run}/rerun-failed-jobs", "POST").status, 403)
        log = f"/api/v3/repos/{REPO}/actions/jobs/{first['build (1)']['id']}/logs"
        self.assertIn(b"build (1) says hello", self.forge.request("GET", log, headers=self.forge.admin())[2])
        self.assertEqual(len(self.rest(f"runs/{run}/jobs?filter=all")["jobs"]), 6)
        self.rest(f"jobs/{jobs['build (2)']['id']}/rerun", "POST")
        self.assertEqual(self.end(["succeeded", "succeeded"]), ["build (2)", "test"])
        self.assertEqual(refused(self.rest, f"jobs/{first['build (1)']['id']}/rerun", "POST").status, 403)

    def test_a_job_that_calls_a_workflow_runs_again_with_the_jobs_of_that_workflow(self):
        self.forge.repo(REPO).commit({".github/workflows/called.yml": "on: workflow_call\njobs:\n  in: {runs-on: self-hosted, steps: [{run: x}]}\n  by: {runs-on: self-hosted, steps: [{run: x}]}\n"})
        run = self.push("on: push\njobs:\n  calls: {uses: ./.github/workflows/called.yml}\n  after: {needs: calls, runs-on: self-hosted, steps: [{run: x}]}\n")
        self.end(["failed", "succeeded"])
        self.rest(f"runs/{run}/rerun-failed-jobs", "POST")
        self.assertEqual(sorted(self.end(["succeeded"] * 3)), ["after", "calls / by", "calls / in"])
        self.assertEqual(self.rest(f"runs/{run}")["conclusion"], "success")

    def test_jobs_of_a_fork_only_read_in_every_leg_call_and_attempt(self):
        self.forge.repo(REPO).commit({".github/workflows/called.yml": "on: workflow_call\njobs:\n  in: {runs-on: self-hosted, steps: [{run: x}]}\n"})
        self.forge.repo(REPO).push({".github/workflows/ci.yml": "on: pull_request\npermissions: write-all\njobs:\n"
                                    "  legs: {runs-on: self-hosted, strategy: {matrix: {n: [1, 2]}, fail-fast: false}, steps: [{run: x}]}\n  calls: {uses: ./.github/workflows/called.yml}\n"})
        bare, fork = self.forge.repo(REPO).bare, self.forge.repo("mallory/demo").bare
        self.forge.repo(REPO).git("push", "-q", fork, "main:side", cwd=bare)
        self.forge.pull(REPO, "mallory:side")
        run = self.forge.wait_run(REPO, status="queued")

        def levels():
            found = {(level, job["name"]) for job in self.forge.run(run["id"])["jobs"] for level in job["permissions"].values()}
            return {name for level, name in found if level == "write"}
        self.assertEqual(levels(), set())
        self.end(["failed", "failed", "succeeded"])
        self.rest(f"runs/{run['id']}/rerun", "POST")
        self.end(["succeeded"] * 3)
        self.assertEqual(levels(), set())

    def test_names_of_jobs_and_steps_are_no_paths_in_the_archive_of_logs(self):
        run = self.push("on: push\njobs:\n  a: {name: '../../up \\ x', runs-on: self-hosted, steps: [{run: x}]}\n  b: {name: '..', runs-on: self-hosted, steps: [{run: x}]}\n")
        self.assertEqual(refused(self.rest, f"runs/{run}/logs").status, 404)
        self.end(["succeeded", "succeeded"], step="/etc/../passwd: \u202e*")
        body = self.forge.request("GET", f"/api/v3/repos/{REPO}/actions/runs/{run}/logs", headers=self.forge.admin())[2]
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            self.assertEqual(archive.namelist(), ["0_....up  x.txt", "....up  x/1_etc..passwd .txt", "1__.txt", "_/1_etc..passwd .txt"])
            self.assertIn("says hello", archive.read("1__.txt").decode())

    def test_a_jobs_token_needs_the_permission_and_sees_its_own_repository_only(self):
        self.push("on: push\npermissions: {actions: read}\njobs: {a: {runs-on: self-hosted, steps: [{run: x}]}}\n")
        job = self.runner.take_job()
        Caller(self.forge, job).upload("dist")
        mine = {"Authorization": f"Bearer {job.github_token}"}

        def ask(method, path, repository=REPO, body=None):
            return self.forge.request(method, f"/api/v3/repos/{repository}/actions/{path}", body, mine)[0]
        (artifact,) = self.rest("artifacts?name=dist")["artifacts"]
        self.assertEqual((artifact["name"], artifact["size_in_bytes"]), ("dist", 7))
        self.assertEqual(ask("GET", f"artifacts/{artifact['id']}/zip"), 200)
        for method, path in (("DELETE", f"artifacts/{artifact['id']}"), ("DELETE", "caches?key=k"), ("POST", f"runs/{artifact['workflow_run']['id']}/rerun")):
            self.assertEqual(refused(ask, method, path).status, 403)
        for path in ("runs", "artifacts", "caches", "workflows"):
            self.assertEqual(refused(ask, "GET", path, "octo/other").status, 403)
        query = {"query": "{ repository(owner: \"octo\", name: \"other\") { name } }"}
        self.assertEqual(self.forge.json("POST", "/api/graphql", query, mine)["errors"][0]["type"], "NOT_FOUND")
        self.assertEqual(refused(self.rest, "artifacts/999999").status, 404)
        self.forge.request("DELETE", f"/api/v3/repos/{REPO}/actions/artifacts/{artifact['id']}", headers=self.forge.admin())
        self.assertEqual(self.rest("artifacts")["total_count"], 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
