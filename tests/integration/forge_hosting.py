#!/usr/bin/env python3
"""The forge as git, a person and a job's steps see it: repositories by smart HTTP, workflows started by pushes and by hand,
needs and conditions, the REST API and its permissions, TLS, its command line."""
import base64
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from servers.forge import Forge, ForgeError, program
from servers.runner import Runner, plain, refused

ONE_JOB = "on: push\njobs:\n  a:\n    runs-on: self-hosted\n    steps:\n      - run: 'true'\n"


class Case(unittest.TestCase):
    def start(self, **how):
        how.setdefault("options", ["--poll", "300ms"])
        self.forge = Forge(repos=["octo/demo"], **how)
        self.forge.start()
        self.addCleanup(self.forge.__exit__)
        self.repo = self.forge.repo("octo/demo")
        return self.forge

    def push(self, workflow=ONE_JOB, ref="main", **files):
        return self.repo.push({".github/workflows/ci.yml": workflow, **files}, ref=ref)

    def run_job(self, runner, conclusion="succeeded", **members):
        job = runner.take_job()
        job.complete(conclusion, **members)
        return job

    def expect_none(self):
        self.assertEqual(self.forge.complaints(), [])


WAITS = """on:
  %s
jobs:
  a:
    runs-on: self-hosted
    steps: [ { run: "true" } ]
"""


def event_of(job):
    return plain(job.message["contextData"]["github"])["event"]


class Causes(Case):
    def runs_of(self, event, count):
        def there():
            found = [r for r in self.forge.runs(logs=False) if r["event"] == event]
            return found if len(found) >= count else None
        return self.forge.wait(f"{count} runs of {event}", there)

    def send(self, body):
        return self.forge.request("POST", "/api/v3/repos/octo/demo/dispatches", body, headers=self.forge.admin())[0]

    def test_repository_dispatch_starts_what_waits_for_its_type(self):
        self.start()
        runner = Runner(self.forge, "octo/demo").ready()
        self.repo.push({".github/workflows/any.yml": WAITS % "repository_dispatch:", ".github/workflows/some.yml": WAITS % "repository_dispatch: { types: [deploy] }",
                        ".github/workflows/push.yml": WAITS % "push: { branches: [none] }"})
        self.assertEqual(self.send({"event_type": "deploy", "client_payload": {"version": "1.2", "deep": {"a": [1]}}}), 204)
        runs = self.runs_of("repository_dispatch", 2)
        for _ in runs:
            self.run_job(runner)
        self.assertEqual(sorted(r["path"].rsplit("/", 1)[1] for r in runs), ["any.yml", "some.yml"])
        self.assertEqual(self.send({"event_type": "other"}), 204)
        self.runs_of("repository_dispatch", 3)
        job = runner.take_job()
        job.complete("succeeded")
        event = event_of(job)
        self.assertEqual((event["action"], event["client_payload"], event["branch"]), ("other", None, "main"))
        self.expect_none()

    def test_a_dispatch_that_is_none_is_refused(self):
        self.start()
        self.push()
        for body in ({}, {"event_type": ""}, {"event_type": "x" * 101}, {"event_type": "a", "client_payload": []}, {"event_type": "a", "client_payload": {str(i): i for i in range(11)}},
                     {"event_type": "a", "ref": "main"}):
            with self.assertRaises(ForgeError) as refused_:
                self.send(body)
            self.assertEqual(refused_.exception.status, 422, body)
        self.assertEqual([r for r in self.forge.runs() if r["event"] == "repository_dispatch"], [])

    def test_a_run_that_ends_starts_what_waits_for_its_workflow_and_a_circle_ends(self):
        self.start()
        runner = Runner(self.forge, "octo/demo").ready()
        self.repo.push({".github/workflows/behind.yml": "name: behind\n" + WAITS % "workflow_run: { workflows: [build, behind], types: [completed], branches: [main] }",
                        ".github/workflows/other.yml": WAITS % "workflow_run: { workflows: [other] }",
                        ".github/workflows/ci.yml": "name: build\n" + ONE_JOB})
        self.run_job(runner, "failed")
        for number in range(1, 4):
            self.runs_of("workflow_run", number)
            job = runner.take_job()
            job.complete("succeeded")
            event = event_of(job)
            self.assertEqual((event["action"], event["workflow_run"]["name"], event["workflow_run"]["conclusion"]),
                             ("completed", "build" if number == 1 else "behind", "failure" if number == 1 else "success"))
        self.repo.push({"a": "b"}, ref="aside")
        self.run_job(runner)
        self.forge.wait("the end of all", lambda: all(r["conclusion"] for r in self.forge.runs(logs=False)))
        self.assertEqual(len(self.runs_of("workflow_run", 3)), 3)
        self.expect_none()


    def test_a_run_in_progress_is_told_once_when_its_first_job_begins_and_again_by_a_second_attempt(self):
        self.start()
        runner = Runner(self.forge, "octo/demo").ready()
        two = "jobs: { a: { runs-on: self-hosted, steps: [{ run: x }] }, b: { needs: a, runs-on: self-hosted, steps: [{ run: x }] } }\n"
        self.repo.push({".github/workflows/behind.yml": WAITS % "workflow_run: { workflows: [build], types: [in_progress] }",
                        ".github/workflows/ci.yml": "name: build\non: { push: { branches: [main] } }\n" + two})
        first = runner.take_job()
        self.runs_of("workflow_run", 1)
        first.complete("failed")
        job = runner.take_job()                 # of the run that waited: `b` is not run, since `a` has failed
        job.complete("succeeded")
        event = event_of(job)
        self.assertEqual((event["action"], event["workflow_run"]["name"]), ("in_progress", "build"))
        build = [r for r in self.forge.runs(logs=False) if r["event"] == "push"][0]
        self.forge.request("POST", f"/api/v3/repos/octo/demo/actions/runs/{build['id']}/rerun", headers=self.forge.admin())
        again = runner.take_job()
        self.runs_of("workflow_run", 2)
        again.complete("succeeded")
        for _ in ("b", "what the second attempt started"):
            self.run_job(runner)
        self.assertEqual(len(self.runs_of("workflow_run", 2)), 2)
        self.expect_none()


    def test_a_file_with_faults_fails_once_and_by_no_end_of_another_run(self):
        self.start()
        runner = Runner(self.forge, "octo/demo").ready()
        self.repo.push({".github/workflows/broken.yml": "on: push\njobs: [\n", ".github/workflows/ci.yml": "name: build\n" + ONE_JOB,
                        ".github/workflows/behind.yml": WAITS % "workflow_run: { workflows: [build], types: [completed] }"})
        self.run_job(runner)
        self.runs_of("workflow_run", 1)
        self.run_job(runner)
        self.forge.wait("the end of all", lambda: all(r["conclusion"] for r in self.forge.runs(logs=False)))
        self.assertEqual(sorted((r["event"], r["conclusion"]) for r in self.forge.runs(logs=False)), [("push", "failure"), ("push", "success"), ("workflow_run", "success")])
        self.expect_none()


class Forks(unittest.TestCase):
    def test_a_pull_request_from_a_fork_gets_no_secrets_and_a_token_that_only_reads(self):
        with Forge(repos=["octo/demo", "mallory/demo"], options=["--poll", "300ms"]) as forge:
            repo, fork = forge.repo("octo/demo"), forge.repo("mallory/demo")
            forge.secrets("octo/demo", {"KEY": "a-secret-of-octo"})
            workflow = ONE_JOB.replace("on: push", "on: pull_request\npermissions: { contents: write, issues: write }")
            repo.push({".github/workflows/ci.yml": workflow})
            runner = Runner(forge, "octo/demo").ready()
            for place, head in ((repo, "change"), (fork, "mallory:change")):
                place.git("fetch", "-q", repo.bare, "main")
                place.git("checkout", "-q", "-B", "change", "FETCH_HEAD")
                place.push({"a": head}, ref="change")
                forge.pull("octo/demo", head)
                job = runner.take_job()
                own = place is repo
                self.assertEqual("a-secret-of-octo" in json.dumps(job.message), own)
                (shown,) = [r["jobs"][0] for r in forge.runs() if not r["conclusion"]]
                self.assertEqual(set(shown["permissions"].values()), {"write", "read"} if own else {"read"})
                job.complete("succeeded")


class Git(Case):
    def test_what_is_pushed_can_be_cloned_by_both_protocols(self):
        self.start()
        sha = self.push(**{"big": "x" * 3000000})
        for version in ("0", "2"):
            with tempfile.TemporaryDirectory() as folder:
                self.repo.git("-c", f"protocol.version={version}", "clone", "-q", self.repo.url, folder + "/c", cwd=folder)
                self.assertEqual(self.repo.git("rev-parse", "HEAD", cwd=folder + "/c"), sha)
                self.assertEqual(os.path.getsize(folder + "/c/big"), 3000000)
        self.expect_none()

    def test_a_commit_that_is_no_branch_can_be_fetched_by_its_id(self):
        self.start()
        first = self.push()
        self.push(**{"b": "2"})
        with tempfile.TemporaryDirectory() as folder:
            self.repo.git("init", "-q", folder, cwd=folder)
            self.repo.git("fetch", "-q", "--depth", "1", self.repo.url, first, cwd=folder)
            self.assertEqual(self.repo.git("rev-parse", "FETCH_HEAD", cwd=folder), first)

    def test_a_push_of_many_commits_sends_a_large_body(self):
        self.start()
        data = os.urandom(8 << 20)
        sha = self.repo.push({"blob": data})
        self.assertEqual(subprocess.run(["git", "--git-dir", self.repo.bare, "rev-parse", "main"], capture_output=True, text=True,
                                        check=True).stdout.strip(), sha)

    def test_a_repository_that_is_not_there_is_said(self):
        self.start()
        done = self.repo.git("ls-remote", self.forge.url + "/octo/none.git", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("not found", done.stderr)

    def test_a_push_needs_the_token_when_there_is_one(self):
        self.start(token="sesame")
        self.repo.commit({"a": "b"})
        self.assertNotEqual(self.repo.git("push", "-q", self.repo.url, "HEAD:refs/heads/main", check=False).returncode, 0)
        self.push()
        self.assertEqual(self.repo.git("ls-remote", self.repo.url, "refs/heads/main").split()[0], self.repo.git("rev-parse", "HEAD"))

    def test_a_jobs_token_fetches_but_pushes_only_with_contents_write(self):
        self.start(token="sesame")
        runner = Runner(self.forge, "octo/demo").ready()
        self.push("permissions: { contents: read }\n" + ONE_JOB)
        reader = runner.take_job()
        url = self.repo.url.replace("://", f"://x-access-token:{reader.github_token}@")
        self.repo.git("ls-remote", url)
        self.assertIn("403", self.repo.git("push", url, "HEAD:refs/heads/by-job", check=False).stderr)
        reader.complete()
        header = base64.b64encode(f"x-access-token:{reader.github_token}".encode()).decode()
        late = self.repo.git("-c", f"http.extraHeader=Authorization: Basic {header}", "ls-remote", self.repo.url, check=False)
        self.assertNotEqual(late.returncode, 0, "the token of a job that is over still works")
        self.push("permissions: { contents: write }\n" + ONE_JOB)
        writer = runner.take_job()
        before = len(self.forge.runs())
        self.repo.git("push", "-q", self.repo.url.replace("://", f"://x-access-token:{writer.github_token}@"), "HEAD:refs/heads/by-job")
        self.assertEqual(len(self.forge.runs()), before)


@unittest.skipIf(os.geteuid() != 0, "only root can ask as another user")
class OtherUsers(Case):
    """Another user of the machine reads no secrets of the forge and pushes nothing."""

    ASK = ("import sys, urllib.request, urllib.error\nmethod, url, token = sys.argv[1:]\n"
           "headers = {'Authorization': 'Bearer ' + token} if token else {}\n"
           "try: answer = urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers), timeout=20)\n"
           "except urllib.error.HTTPError as error: answer = error\nprint(answer.status, answer.read().decode())\n")

    def ask(self, method, path, token=""):
        done = subprocess.run(["setpriv", "--reuid=4711", "--regid=4711", "--clear-groups", "python3", "-c", self.ASK, method, self.forge.url + path, token],
                              capture_output=True, text=True, check=True, timeout=60, cwd="/")
        return int(done.stdout.split()[0]), done.stdout

    def test_another_user_reads_no_message_and_gets_no_token(self):
        self.start()
        self.forge.secrets("octo/demo", {"KEY": "s3cr3t-of-the-forge"})
        runner = Runner(self.forge, "octo/demo").ready()
        self.push(ONE_JOB)
        job = runner.take_job()
        for path in (f"/_forge/messages/{job.message['jobId']}", "/_forge/requests", "/_forge/runners", "/runs"):
            status, text = self.ask("GET", path)
            self.assertEqual(status, 403, path)
            self.assertNotIn("s3cr3t", text)
        self.assertEqual(self.ask("POST", "/api/v3/repos/octo/demo/actions/runners/registration-token", "admin")[0], 401)
        printed = self.forge.wait("the token", lambda: [l.split(": ", 1)[1] for l in self.forge.log().split("\n") if l.startswith("token for other")])
        self.assertEqual(self.ask("POST", "/api/v3/repos/octo/demo/actions/runners/registration-token", printed[0])[0], 201)
        self.assertEqual(self.ask("GET", f"/_forge/messages/{job.message['jobId']}", printed[0])[0], 200)
        job.complete()

    def test_another_user_pushes_nothing(self):
        self.start()
        self.push()
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o777)
            url = self.repo.url.replace("://", "://x:admin@")
            script = (f"cd {folder} && git init -q x && cd x && git -c user.name=x -c user.email=x@x commit -q --allow-empty -m x && "
                      f"git push -q {url} HEAD:refs/heads/theirs")
            done = subprocess.run(["setpriv", "--reuid=4711", "--regid=4711", "--clear-groups", "env", f"HOME={folder}", "GIT_TERMINAL_PROMPT=0", "sh", "-c", script],
                                  capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
            self.assertNotEqual(done.returncode, 0, done)
        self.assertNotIn("theirs", self.repo.git("ls-remote", self.repo.url))

    def test_a_wrong_removal_token_is_refused_though_its_sender_owns_the_forge(self):
        self.start()
        status = refused(self.forge.json, "POST", "/api/v3/actions/runner-registration", {"url": self.forge.url + "/octo/demo", "runner_event": "remove"},
                         {"Authorization": "RemoteAuth WRONG"}).status
        self.assertIn(status, (401, 404))


class Workflows(Case):
    def setUp(self):
        self.start()

    def test_each_branch_starts_what_wants_it(self):
        only_main = ONE_JOB.replace("on: push", "on: { push: { branches: [main] } }")
        self.push(only_main)
        self.push(only_main, ref="dev")
        self.push(only_main, ref="refs/tags/v1")
        self.assertEqual([r["ref"] for r in self.forge.runs()], ["refs/heads/main"])

    def test_files_that_change_start_what_names_them(self):
        self.push(ONE_JOB.replace("on: push", "on: { push: { paths: ['src/**'] }, pull_request: { paths-ignore: ['docs/**'] } }"))
        self.assertEqual(self.forge.runs(), [])
        self.repo.push({"docs/a": "1"})
        self.repo.push({"src/a": "1", "docs/a": "2"})
        self.assertEqual([r["event"] for r in self.forge.runs()], ["push"])
        self.repo.git("checkout", "-q", "-b", "change")
        self.repo.push({"docs/a": "3"}, ref="change")
        self.forge.pull("octo/demo", "change")
        self.assertEqual(len(self.forge.runs()), 1)
        self.repo.push({"b": "1"}, ref="change")
        self.assertEqual(sorted(r["event"] for r in self.forge.runs()), ["pull_request", "push"])
        self.repo.git("checkout", "-q", "-b", "other", "main")
        self.repo.push({"src/b": "1"}, ref="other")
        self.repo.push({"src/b": "1"}, ref="refs/tags/v1")
        self.assertEqual(sorted(r["event"] for r in self.forge.runs()), ["pull_request", "push", "push", "push"])

    def test_a_broken_workflow_is_a_failed_run_with_its_faults(self):
        sha = self.push("on: push\njobs:\n  a:\n    runs-on: x\n    stepz: []\n")
        run = self.forge.wait_run("octo/demo", sha)
        self.assertEqual((run["conclusion"], run["jobs"]), ("failure", []))
        self.assertTrue(any("did you mean" not in a["message"] and "stepz" in a["message"] and a["startLine"] == 5
                            for a in run["annotations"]), run["annotations"])

    def test_jobs_wait_for_each_other_and_see_outputs(self):
        runner = Runner(self.forge, "octo/demo").ready()
        sha = self.push("""
on: push
jobs:
  a:
    runs-on: self-hosted
    outputs: { v: "${{ steps.x.outputs.v }}" }
    steps: [ { id: x, run: x } ]
  b:
    name: after ${{ needs.a.outputs.v }}
    needs: a
    if: needs.a.outputs.v == '7'
    runs-on: self-hosted
    steps: [ { run: x } ]
  c:
    needs: [a, b]
    if: needs.a.outputs.v == '8'
    runs-on: self-hosted
    steps: [ { run: x } ]
  d:
    needs: c
    runs-on: self-hosted
    steps: [ { run: x } ]
  e:
    needs: c
    if: always()
    runs-on: self-hosted
    steps: [ { run: x } ]
""")
        self.run_job(runner, outputs={"v": {"value": "7"}})
        second = runner.take_job()
        self.assertEqual(second.message["jobDisplayName"], "after 7")
        needs = second.message["contextData"]["needs"]["d"]
        self.assertEqual(needs[0]["k"], "a")
        second.complete()
        self.assertEqual(self.run_job(runner).message["variables"]["system.github.job"]["value"], "e")
        run = self.forge.wait_run("octo/demo", sha)
        self.assertEqual({j["key"]: j["conclusion"] for j in run["jobs"]},
                         {"a": "success", "b": "success", "c": "skipped", "d": "skipped", "e": "success"})
        self.assertEqual(run["conclusion"], "success")
        self.expect_none()

    def test_a_failed_job_skips_what_needs_it_unless_that_asks_for_failure(self):
        runner = Runner(self.forge, "octo/demo").ready()
        sha = self.push("on: push\njobs:\n  a: { runs-on: self-hosted, steps: [ { run: x } ] }\n"
                        "  b: { needs: a, runs-on: self-hosted, steps: [ { run: x } ] }\n"
                        "  c: { needs: b, if: failure(), runs-on: self-hosted, steps: [ { run: x } ] }\n")
        self.run_job(runner, "failed")
        self.run_job(runner)
        run = self.forge.wait_run("octo/demo", sha)
        self.assertEqual([j["conclusion"] for j in run["jobs"]], ["failure", "skipped", "success"])
        self.assertEqual(run["conclusion"], "failure")

    def test_a_job_whose_condition_cannot_be_evaluated_fails_with_the_reason(self):
        sha = self.push(ONE_JOB.replace("    runs-on", "    if: fromJSON('{') == 1\n    runs-on"))
        run = self.forge.wait_run("octo/demo", sha)
        self.assertEqual(run["conclusion"], "failure")
        self.assertTrue(run["jobs"][0]["annotations"])

    def test_one_of_a_concurrency_group_runs_and_the_newest_waits(self):
        runner = Runner(self.forge, "octo/demo").ready()
        grouped = "concurrency: production-${{ github.ref_name }}\n" + ONE_JOB
        shas = [self.push(grouped, **{"n": str(i)}) for i in range(3)]
        states = [r["conclusion"] for r in self.forge.runs()]
        self.assertEqual(states, [None, "cancelled", None])
        first = runner.take_job()
        self.assertIsNone(runner.poll("Busy"))
        first.complete()
        self.run_job(runner)
        self.assertEqual(self.forge.wait_run("octo/demo", shas[2])["conclusion"], "success")

    def test_cancel_in_progress_cancels_the_older_run(self):
        runner = Runner(self.forge, "octo/demo").ready()
        grouped = "concurrency: { group: g, cancel-in-progress: true }\n" + ONE_JOB
        first_sha = self.push(grouped, **{"n": "1"})
        job = runner.take_job()
        self.push(grouped, **{"n": "2"})
        self.assertEqual(runner.poll("Busy")["messageType"], "JobCancellation")
        job.complete("canceled")
        self.assertEqual(self.forge.wait_run("octo/demo", first_sha)["conclusion"], "cancelled")
        self.run_job(runner)
        self.expect_none()

    def test_cancel_in_progress_may_be_an_expression(self):
        runner = Runner(self.forge, "octo/demo").ready()
        grouped = ("concurrency: { group: 'g-${{ github.ref }}', cancel-in-progress: \"${{ github.ref != 'refs/heads/main' }}\" }\n" + ONE_JOB)
        self.push(grouped, **{"n": "1"})
        job = runner.take_job()
        self.push(grouped, **{"n": "2"})
        self.assertIsNone(runner.poll("Busy"))
        job.complete()
        self.run_job(runner)
        self.push(grouped, ref="dev", **{"n": "3"})
        job = runner.take_job()
        self.push(grouped, ref="dev", **{"n": "4"})
        self.assertEqual(runner.poll("Busy")["messageType"], "JobCancellation")
        job.complete("canceled")

    def test_a_commit_that_says_skip_ci_starts_nothing(self):
        self.repo.push({".github/workflows/ci.yml": ONE_JOB}, message="docs: a typo [skip ci]")
        self.assertEqual(self.forge.runs(), [])
        self.repo.push({"a": "b"}, message="docs: another")
        self.assertEqual(len(self.forge.runs()), 1)

    def test_the_event_of_a_dispatch_has_its_inputs_as_texts(self):
        self.push(ONE_JOB.replace("on: push", "on: { workflow_dispatch: { inputs: { dry: { type: boolean }, n: { type: number, default: 3 } } } }"))
        runner = Runner(self.forge, "octo/demo").ready()
        self.forge.dispatch("octo/demo", "ci.yml", inputs={"dry": "true"})
        github = {p["k"]: p["v"] for p in runner.take_job().message["contextData"]["github"]["d"]}
        event = {p["k"]: p["v"] for p in github["event"]["d"]}
        self.assertEqual({p["k"]: p["v"] for p in event["inputs"]["d"]}, {"dry": "true", "n": "3"})

    def test_a_pull_request_starts_what_its_merge_would_be_and_one_in_conflict_starts_nothing(self):
        self.push(ONE_JOB.replace("on: push", "on: { pull_request: { branches: [main] } }"))
        self.repo.git("checkout", "-q", "-b", "change")
        head = self.repo.push({"a": "1"}, ref="change")
        number = self.forge.pull("octo/demo", "change")["number"]
        (run,) = self.forge.runs()
        self.assertEqual((run["event"], run["ref"], run["sha"] == head), ("pull_request", f"refs/pull/{number}/merge", False))
        self.repo.git("checkout", "-q", "main")
        self.repo.push({"a": "2"})
        self.repo.git("checkout", "-q", "change")
        self.repo.push({"a": "3"}, ref="change")
        self.assertEqual(len(self.forge.runs()), 1)
        self.assertEqual(refused(self.forge.merge, "octo/demo", number).status, 405)

    def test_an_event_that_never_comes_here_is_named(self):
        sha = self.push(ONE_JOB.replace("on: push", "on: { push: , release: , issues: { types: [opened] } }"))
        run = [r for r in self.forge.runs() if r["sha"] == sha][0]
        said = [a["message"] for a in run["annotations"]]
        self.assertEqual([m.split("'")[1] for m in said], ["release", "issues"])

    def test_the_page_of_a_run_shows_jobs_steps_and_logs_and_runs_nothing_of_what_was_printed(self):
        runner = Runner(self.forge, "octo/demo").ready()
        self.push(ONE_JOB)
        job = runner.take_job()
        step = job.step(1, "a <script>alert(1)</script>")
        job.update_steps(step)
        job.upload_log("2026-01-01T00:00:00.0000000Z <b>bold</b> \x1b[31mred\x1b[0m & more\n", step["external_id"])
        job.complete()
        run = self.forge.runs()[-1]
        _, headers, body = self.forge.request("GET", f"/octo/demo/actions/runs/{run['id']}")
        self.assertIn("text/html", headers["Content-Type"])
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        self.assertIn("&lt;b&gt;bold&lt;/b&gt; red &amp; more", body.decode())
        self.assertNotIn("<script", body.decode())
        self.assertIn(f"/octo/demo/actions/runs/{run['id']}", self.forge.request("GET", "/octo/demo/actions")[2].decode())

    def test_a_log_of_many_megabytes_costs_disk_and_no_memory(self):
        def resident():
            with open(f"/proc/{self.forge.process.pid}/status", encoding="ascii") as f:
                return int(next(line for line in f if line.startswith("VmRSS")).split()[1])
        runner = Runner(self.forge, "octo/demo").ready()
        self.push(ONE_JOB)
        job = runner.take_job()
        before = resident()
        line = "2026-01-01T00:00:00.0000000Z " + "x" * 970 + "\n"
        step = job.step(1, "long")
        job.update_steps(step)
        job.upload_log(line * 60000, step["external_id"])
        self.assertLess(resident() - before, 40000)
        job.complete()

    def test_a_dispatch_carries_checked_inputs(self):
        self.push(ONE_JOB.replace("on: push", "on: { workflow_dispatch: { inputs: { where: { type: choice, options: [a, b] }, "
                                              "dry: { type: boolean, default: true } } } }"))
        runner = Runner(self.forge, "octo/demo").ready()
        run_id = self.forge.dispatch("octo/demo", "ci.yml", inputs={"where": "b"})
        job = runner.take_job()
        self.assertEqual(job.message["contextData"]["inputs"],
                         {"t": 2, "d": [{"k": "where", "v": "b"}, {"k": "dry", "v": True}]})
        job.complete()
        self.assertEqual(self.forge.run(run_id)["event"], "workflow_dispatch")
        for workflow, ref, inputs, status in [("ci.yml", "main", {"where": "c"}, 422), ("ci.yml", "main", {"x": "1"}, 422),
                                              ("ci.yml", "nope", {}, 422), ("no.yml", "main", {}, 404)]:
            self.assertEqual(refused(self.forge.dispatch, "octo/demo", workflow, ref, inputs).status, status)

    def test_secrets_of_the_environment_win(self):
        runner = Runner(self.forge, "octo/demo").ready()
        self.forge.secrets("octo/demo", {"A": "repository", "B": "repository"})
        self.forge.secrets("octo/demo", {"A": "environment"}, environment="production")
        self.push(ONE_JOB.replace("    runs-on", "    environment: production\n    runs-on"))
        job = runner.take_job()
        self.assertEqual((job.variables["A"], job.variables["B"]), ("environment", "repository"))
        self.assertEqual(job.message["actionsEnvironment"], {"name": "production", "url": None})

    def test_a_job_that_runs_too_long_is_cancelled(self):
        runner = Runner(self.forge, "octo/demo").ready()
        self.push(ONE_JOB.replace("    runs-on", "    timeout-minutes: 0.005\n    runs-on"))
        job = runner.take_job()
        message = self.forge.wait("the cancellation", lambda: runner.poll("Busy"), 20)
        self.assertEqual(message["messageType"], "JobCancellation")
        job.complete("canceled")

    def test_the_time_out_of_one_job_leaves_the_others_of_its_run_alone(self):
        runners = [Runner(self.forge, "octo/demo", name=name).ready() for name in ("one", "two")]
        sha = self.push("on: push\njobs:\n  a: { runs-on: self-hosted, timeout-minutes: 0.005, cancel-timeout-minutes: 3, steps: [ { run: x } ] }\n"
                        "  b: { runs-on: self-hosted, steps: [ { run: x } ] }\n")
        jobs = [runner.take_job() for runner in runners]
        late = [job.message["variables"]["system.github.job"]["value"] for job in jobs].index("a")
        message = self.forge.wait("the cancellation", lambda: runners[late].poll("Busy"), 20)
        self.assertEqual((message["messageType"], message["body"]["timeout"]), ("JobCancellation", "00:03:00"))
        self.assertIsNone(runners[1 - late].poll("Busy"))
        jobs[late].complete("canceled")
        jobs[1 - late].complete()
        run = self.forge.wait_run("octo/demo", sha)
        self.assertEqual({j["key"]: j["conclusion"] for j in run["jobs"]}, {"a": "cancelled", "b": "success"})


class Rest(Case):
    def setUp(self):
        self.start()
        self.runner = Runner(self.forge, "octo/demo").ready()

    def job(self, permissions):
        self.sha = self.push(f"permissions: {permissions}\n" + ONE_JOB)
        job = self.runner.take_job()
        self.auth = {"Authorization": f"Bearer {job.github_token}"}
        return job

    def call(self, method, path, body=None, **kwargs):
        return self.forge.json(method, f"/api/v3/repos/octo/demo{path}", body, self.auth, **kwargs)

    def test_a_commit_comment_is_made_changed_and_listed(self):
        job = self.job("{ contents: write }")
        comment = self.call("POST", f"/commits/{self.sha}/comments", {"body": "**done** é"})
        self.assertEqual(comment["commit_id"], self.sha)
        self.assertNotIn("_job", comment)
        self.assertEqual(self.call("PATCH", f"/comments/{comment['id']}", {"body": "better"})["body"], "better")
        self.assertEqual([c["body"] for c in self.call("GET", f"/commits/{self.sha}/comments")], ["better"])
        self.assertEqual([c["_job"] for c in self.forge.comments()], [job.id])
        self.assertEqual(refused(self.call, "POST", f"/commits/{'0' * 40}/comments", {"body": "x"}).status, 404)
        self.expect_none()
        self.assertEqual(refused(self.call, "POST", f"/commits/{self.sha}/comments", {"text": "x"}).status, 422)

    def test_long_lists_come_in_pages(self):
        self.job("{ contents: write }")
        for i in range(5):
            self.call("POST", f"/commits/{self.sha}/comments", {"body": str(i)})
        url, seen = f"/api/v3/repos/octo/demo/commits/{self.sha}/comments?per_page=2", []
        while url:
            _, headers, body = self.forge.request("GET", url, headers=self.auth)
            seen += [c["body"] for c in json.loads(body)]
            following = re.search(r'<([^>]*)>; rel="next"', headers.get("Link", ""))
            url = following[1] if following else None
        self.assertEqual(seen, list("01234"))

    def test_what_the_token_may_not_do_is_403_with_the_permission(self):
        self.job("{ contents: read }")
        error = refused(self.call, "POST", "/deployments", {"ref": self.sha})
        self.assertEqual((error.status, error.json()["message"]), (403, "Resource not accessible by integration"))
        self.assertEqual(error.headers["X-Accepted-GitHub-Permissions"], "deployments=write")
        error = refused(self.call, "POST", "/actions/runners/registration-token")
        self.assertEqual(error.status, 403)
        self.assertEqual(self.call("GET", "")["permissions"], {"admin": False, "push": False, "pull": True})
        self.expect_none()

    def test_a_deployment_has_statuses(self):
        self.job("{ deployments: write }")
        deployment = self.call("POST", "/deployments", {"ref": self.sha, "environment": "production", "auto_merge": False,
                                                        "required_contexts": []})
        self.assertEqual(deployment["sha"], self.sha)
        self.call("POST", f"/deployments/{deployment['id']}/statuses", {"state": "in_progress"})
        self.call("POST", f"/deployments/{deployment['id']}/statuses", {"state": "success", "environment_url": "https://x.invalid"})
        states = [s["state"] for s in self.call("GET", f"/deployments/{deployment['id']}/statuses")]
        self.assertEqual(states, ["success", "in_progress"])
        self.assertEqual(len(self.call("GET", "/deployments?environment=production")), 1)
        self.assertEqual(self.call("GET", "/deployments?environment=other"), [])
        self.expect_none()
        self.assertEqual(refused(self.call, "POST", f"/deployments/{deployment['id']}/statuses", {"state": "great"}).status, 422)
        self.assertEqual(refused(self.call, "POST", f"/deployments/{deployment['id']}/statuses",
                                 {"state": "success", "description": "x" * 141}).status, 422)

    def test_statuses_check_runs_and_issue_comments(self):
        self.job("write-all")
        self.call("POST", f"/statuses/{self.sha}", {"state": "success", "context": "davit"})
        check = self.call("POST", "/check-runs", {"name": "davit", "head_sha": self.sha, "status": "in_progress"})
        self.assertEqual(self.call("PATCH", f"/check-runs/{check['id']}", {"conclusion": "success"})["status"], "completed")
        comment = self.call("POST", "/issues/4/comments", {"body": "hi"})
        self.call("PATCH", f"/issues/comments/{comment['id']}", {"body": "ho"})
        self.assertEqual([c["body"] for c in self.call("GET", "/issues/4/comments")], ["ho"])
        self.assertEqual(len(self.forge.received("statuses")) + len(self.forge.received("check-runs")), 2)
        self.expect_none()

    def test_a_tarball_has_one_folder_with_the_files(self):
        self.job("{ contents: read }")
        _, _, data = self.forge.request("GET", f"/api/v3/repos/octo/demo/tarball/{self.sha}", headers=self.auth)
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            names = tar.getnames()
        self.assertEqual({n.split("/")[0] for n in names}, {f"octo-demo-{self.sha[:7]}"})
        self.assertIn(f"octo-demo-{self.sha[:7]}/.github/workflows/ci.yml", names)
        self.assertEqual(refused(self.forge.request, "GET", "/api/v3/repos/octo/demo/tarball/nope").status, 404)

    def test_the_token_ends_with_the_job(self):
        job = self.job("{ contents: write }")
        job.complete()
        self.assertEqual(refused(self.call, "GET", "").status, 401)

    def test_runs_and_jobs_can_be_asked_for(self):
        self.job("{ actions: read }")
        runs = self.call("GET", "/actions/runs?status=in_progress")["workflow_runs"]
        self.assertEqual([r["head_sha"] for r in runs], [self.sha])
        jobs = self.call("GET", f"/actions/runs/{runs[0]['id']}/jobs")["jobs"]
        self.assertEqual((jobs[0]["name"], jobs[0]["status"]), ("a", "in_progress"))

    def test_unknown_paths_are_404_and_noted(self):
        self.assertEqual(refused(self.forge.request, "GET", "/api/v3/unknown/thing").status, 404)
        self.assertEqual(refused(self.forge.request, "DELETE", "/api/v3/repos/octo/demo").status, 405)
        self.assertEqual([c["text"] for c in self.forge.complaints()],
                         ["there is nothing at this path", "the path does not take this method"])


class CommandLine(Case):
    def test_over_tls_everything_is_the_same(self):
        forge = self.start(tls=True)
        self.assertTrue(forge.url.startswith("https://127.0.0.1:"))
        sha = self.push()
        runner = Runner(forge, "octo/demo").ready()
        job = runner.take_job()
        self.assertTrue(job.url.startswith("https://"))
        job.upload_log("2026-03-01T10:20:30.1234567Z x\n")
        job.complete()
        self.assertEqual(forge.wait_run("octo/demo", sha)["conclusion"], "success")
        self.expect_none()

    def test_runs_are_written_down_and_secrets_read(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(folder + "/secrets.json", "w") as out:
                json.dump({"octo/demo": {"secrets": {"KEY": "v"}}, "*": {"vars": {"EVERY": "where"}}}, out)
            self.start(options=["--poll", "300ms", "--state", folder + "/state", "--secrets", folder + "/secrets.json"])
            sha = self.push()
            job = Runner(self.forge, "octo/demo").ready().take_job()
            self.assertEqual(job.variables["KEY"], "v")
            self.assertEqual(job.message["contextData"]["vars"]["d"], [{"k": "EVERY", "v": "where"}])
            job.complete()
            run = self.forge.wait_run("octo/demo", sha)
            with open(f"{folder}/state/run-{run['id']}.json") as saved:
                self.assertEqual(json.load(saved)["conclusion"], "success")

    def test_a_runner_need_not_acknowledge_where_that_is_said(self):
        self.start(options=["--poll", "300ms", "--no-acknowledge"])
        runner = Runner(self.forge, "octo/demo").ready()
        self.push()
        self.forge.variables(ACTIONS_STEP_DEBUG="true")
        reference = runner.poll_job()
        self.assertIs(reference["should_acknowledge"], False)
        self.assertEqual(runner.acquire(reference).variables["ACTIONS_STEP_DEBUG"], "true")
        self.expect_none()

    def test_it_says_on_a_descriptor_that_it_listens(self):
        read, write = os.pipe()
        process = subprocess.Popen([program(), "--ready-fd", str(write)], pass_fds=[write], stdout=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as text:
            self.assertRegex(text.readline(), r"^http://127\.0\.0\.1:[0-9]+\n$")
            process.terminate()
            self.assertEqual(process.wait(10), 0)

    def call(self, *args):
        return subprocess.run([program(), *args], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)

    def test_more_open_files_than_a_system_begins_with_are_no_end(self):
        """Each log is one. Descriptors that it is handed stand for those of some hundred jobs."""
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.assertGreater(limits[1], 1300)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1300, limits[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(1200)]
        for fd in fds:
            self.addCleanup(os.close, fd)
        forge = Forge(["octo/demo"])
        forge.pass_fds = fds
        resource.setrlimit(resource.RLIMIT_NOFILE, (1300, limits[1]))
        with forge:
            with open(f"/proc/{forge.process.pid}/limits", encoding="ascii") as f:
                files = next(line.split() for line in f if line.startswith("Max open files"))
            self.assertEqual(files[3], files[4])
            self.assertEqual(forge.runs(), [])

    def test_a_wrong_call_says_what_is_wrong(self):
        for args, status, part in [(["--help"], 0, "--repo"), (["--listen", "0.0.0.0:0"], 2, "allow-remote"),
                                   (["--listen", "nowhere"], 2, "ADDRESS:PORT"), (["--poll", "soon"], 2, "90s"),
                                   (["--repo", "/nonexistent/a/b"], 2, "/nonexistent/a/b"), (["--repo", "/tmp"], 2, "OWNER/NAME"),
                                   (["--repo", "x/y=/tmp"], 2, "not a bare git repository"), (["--colour"], 2, "colour"),
                                   (["--secrets", "/nonexistent"], 2, "/nonexistent"), (["--ca-file", "x"], 2, "--tls")]:
            done = self.call(*args)
            self.assertEqual(done.returncode, status, (args, done.stderr))
            self.assertIn(part, done.stdout + done.stderr, args)

    def test_a_taken_port_is_said(self):
        forge = self.start()
        done = self.call("--listen", f"127.0.0.1:{forge.port}")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("in use", done.stderr)

    def test_it_writes_its_port_and_ends_with_open_polls_at_once(self):
        with tempfile.TemporaryDirectory() as folder:
            forge = self.start(options=["--port-file", folder + "/port", "--poll", "60s"])
            with open(folder + "/port") as text:
                self.assertEqual(int(text.read()), forge.port)
            runner = Runner(forge, "octo/demo").ready()

            def poll():
                try:
                    self.assertIsNone(runner.poll())
                except OSError:
                    pass                       # the connection may end before the answer

            thread = threading.Thread(target=poll)
            thread.start()
            forge.wait_online("box-1")
            forge.process.send_signal(signal.SIGTERM)
            self.assertEqual(forge.process.wait(10), 0)
            thread.join(10)


if __name__ == "__main__":
    unittest.main()
