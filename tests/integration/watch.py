#!/usr/bin/env python3
"""davit watch against the forge, and against what GitHub answers when things go wrong: new deployments and commits are carried out once, whatever
is limited, lost or killed meanwhile, and their statuses say how it went."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import DAVIT, Case, main  # noqa: E402
from harness.waiting import alive, until  # noqa: E402
from servers import github_openapi  # noqa: E402
from servers.forge import Forge, ForgeError  # noqa: E402

SHOP, BLOG = "acme/shop", "acme/blog"
FILE = """name: {name}
environment: ${{{{ inputs.environment }}}}
targets: {{ here: {{ local: {{}}, base: {root}/base }} }}
steps:
  - apply: {{ resources: [ {{ file: {{ path: "{root}/{name}.conf", content: "{text} ${{{{ vars.WORD }}}}" }} }} ] }}
  - run: {{ command: [sh, -c, '{command}'], undo: none }}
"""


class Watch(Case):
    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="davit-watch-")))
        self.forge = self.enterContext(Forge([SHOP, BLOG, "mallory/shop"]))
        self.running = []
        self.addCleanup(self.end_all)
        for name, word in (("token", "a-token"), ("secrets.json", '{"KEY": "a-secret-word"}')):
            (self.root / name).write_text(word)
            (self.root / name).chmod(0o600)
        self.ran = self.root / "ran"

    def tearDown(self):
        if self.forge.process:
            self.assertEqual(github_openapi.undescribed(self.forge.requests()), [])

    def end_all(self):
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()

    def entry(self, repository=SHOP, **more):
        return {"repository": f"{self.forge.url}/{repository}", "vars": {"WORD": "word"}, "secrets_file": str(self.root / "secrets.json"), **more}

    def write(self, *entries, interval="100ms"):
        (self.root / "watch.json").write_text(json.dumps({"interval": interval, "token_file": str(self.root / "token"), "watch": list(entries)}))

    def env(self, state="state"):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_"))}
        return {**kept, "DAVIT_STATE": str(self.root / state), "DAVIT_PACE_PERCENT": "10"}

    def start(self, *words, state="state"):
        with open(self.root / f"{state}.log", "ab") as log:
            process = subprocess.Popen([DAVIT, "watch", str(self.root / "watch.json"), "--json", *words], env=self.env(state),
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
        self.running.append(process)
        return process

    def once(self, code=0, state="state"):
        """→ what it told, an object a line."""
        process = self.start("--once", state=state)
        out, _ = process.communicate(timeout=120)
        self.assertEqual(process.returncode, code, out + self.log(state))
        return [json.loads(line) for line in out.splitlines()]

    def log(self, state="state"):
        return (self.root / f"{state}.log").read_text()

    def push(self, text="one", command="echo {} >> %s", repository=SHOP, force=False, **files):
        command = (command % self.ran).format(text) if "%s" in command else command
        name = repository.split("/")[1]
        content = FILE.format(name=name, root=self.root, text=text, command=command)
        return self.forge.repo(repository).push({"deploy.yml": content, **files})

    def deploy(self, ref, repository=SHOP, environment="production", **more):
        body = {"ref": ref, "environment": environment, "auto_merge": False, "required_contexts": [], **more}
        return self.forge.json("POST", f"/api/v3/repos/{repository}/deployments", body, self.forge.admin())["id"]

    def statuses(self, deployment, repository=SHOP):
        """The oldest first."""
        path = f"/api/v3/repos/{repository}/deployments/{deployment}/statuses?per_page=100"
        return self.forge.json("GET", path, headers=self.forge.admin())[::-1]

    def states(self, deployment, repository=SHOP):
        return [s["state"] for s in self.statuses(deployment, repository)]

    def lines(self):
        return self.ran.read_text().split() if self.ran.exists() else []

    def conf(self, name="shop"):
        return (self.root / f"{name}.conf").read_text()

    def test_deployments_of_two_repositories_are_carried_out_and_told(self):
        good, other = self.push("one"), self.push("blog", repository=BLOG)
        bad = self.push("two", command="exit 3")
        self.write(self.entry(page="https://deploy.example/"), self.entry(BLOG, environment="staging"))
        first, second = self.deploy(good), self.deploy(bad)
        third, ignored = self.deploy(other, BLOG, "staging"), self.deploy(other, BLOG, "production")
        told = self.once(code=1)
        self.assertEqual(sorted((t["event"], t["deployment"]) for t in told),
                         sorted([("taken", n) for n in (first, second, third)] + [("ended", n) for n in (first, second, third)]))
        self.assertEqual([self.states(n) for n in (first, second)], [["in_progress", "success"], ["in_progress", "failure"]])
        self.assertEqual(self.states(third, BLOG), ["in_progress", "success"])
        self.assertEqual(self.states(ignored, BLOG), [])
        self.assertEqual((self.conf(), self.conf("blog")), ("one word", "blog word"), "what failed is taken back")
        last = self.statuses(second)[-1]
        self.assertIn("taken back: ", last["description"])
        self.assertIn("exit status 3", last["description"])
        self.assertRegex(last["log_url"], r"^https://deploy\.example/deployments/\d{8}T\d{6}-")
        self.assertEqual(self.once(), [], "nothing is run twice")
        self.assertEqual(self.forge.complaints(), [])
        for path in self.root.rglob("state/watch/**/*"):
            if path.is_file():
                self.assertNotIn("a-secret-word", path.read_text())

    def test_by_an_app_s_key_each_owner_has_a_token_that_may_no_more(self):
        key = self.root / "app.pem"
        self.forge.new_app("4711", key, permissions={"contents": "read", "deployments": "write", "metadata": "read"}, person=True)
        other = FILE.format(name="other", root=self.root, text="two", command="true")
        one, two = self.push("one"), self.forge.repo("mallory/shop").push({"deploy.yml": other})
        app = {"id": "4711", "key_file": str(key)}
        first, second = self.deploy(one), self.deploy(two, "mallory/shop", "staging")
        self.write(self.entry(app=app), self.entry("mallory/shop", app=app, environment="staging"))
        self.once()
        self.assertEqual([self.states(first), self.states(second, "mallory/shop")], [["in_progress", "success"]] * 2)
        self.assertEqual(len([r for r in self.forge.requests("access_tokens")]), 2, "one for each owner")
        self.assertEqual([r for r in self.forge.requests("/api/v3") if r["status"] in (401, 403)], [])
        self.assertNotIn(key.read_text().splitlines()[5], self.log())
        # For the whole file; a token of the entry's own counts before it.
        (self.root / "watch.json").write_text(json.dumps({"app": app, "watch": [self.entry(), self.entry(BLOG, token_file=str(self.root / "token"))]}))
        self.once()
        self.assertEqual(len([r for r in self.forge.requests("access_tokens")]), 3)
        self.write(self.entry(app={"id": "4711"}))
        process = self.start("--once")
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 2, "the key is missing")

    def test_a_commit_of_a_branch_is_deployed_once_and_one_that_it_goes_back_to_again(self):
        one = self.push("one")
        self.write(self.entry(branch="main"))
        self.once()
        self.once()
        two = self.push("two")
        self.once()
        repository = self.forge.repo(SHOP)
        repository.git("push", "-q", "--force", repository.bare, f"{one}:refs/heads/main")
        self.once()
        self.assertEqual(self.lines(), ["one", "two", "one"])
        made = self.forge.received("deployments")
        self.assertEqual([d["sha"] for d in made], [one, two, one])
        self.assertEqual([self.states(d["id"])[:2] for d in made], [["in_progress", "success"]] * 3)
        repository.git("--git-dir", repository.bare, "update-ref", "-d", "refs/heads/main")
        process = self.start()
        until(lambda: "404" in self.log(), "the word about the branch")
        self.push("three")
        until(lambda: self.lines()[-1] == "three", "the branch is there again")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 0)

    def test_what_did_not_change_costs_nothing(self):
        self.write(self.entry(), self.entry(BLOG, branch="main"))
        self.push("one", repository=BLOG)
        self.once()
        before = len(self.forge.requests())
        process = self.start()

        def asked(part="/deployments"):
            return [r["status"] for r in self.forge.requests()[before:] if part in r["path"]]
        until(lambda: asked().count(304) >= 5 and 304 in asked("/branches"), "answers that it is as before")
        used = int(self.forge.request("GET", f"/api/v3/repos/{SHOP}", headers=self.forge.admin())[1]["X-RateLimit-Used"])
        until(lambda: asked().count(304) >= 15, "ten more")
        again = int(self.forge.request("GET", f"/api/v3/repos/{SHOP}", headers=self.forge.admin())[1]["X-RateLimit-Used"])
        self.assertEqual(again - used, 1, "our own look at it")
        # GitHub may ask for longer pauses.
        self.forge.faults(path="/deployments", method="GET", headers={"X-Poll-Interval": "1"}, times=-1)
        seen, begun = len(asked()), time.monotonic()
        until(lambda: len(asked()) >= seen + 3, "three more looks")
        self.assertGreater(time.monotonic() - begun, 0.9)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), 0)

    def test_limits_are_obeyed_and_nothing_is_lost_by_them(self):
        sha = self.push("one")
        self.write(self.entry())
        deployment = self.deploy(sha)
        self.forge.faults(path="/statuses", method="POST", status=403, headers={"Retry-After": "2"}, times=1,
                          body='{"message": "You have exceeded a secondary rate limit."}')
        begun = time.monotonic()
        self.once()
        self.assertGreater(time.monotonic() - begun, 1.9)
        self.assertEqual(self.states(deployment), ["in_progress", "success"])
        self.assertIn("secondary rate limit", self.log())
        refused = [r for r in self.forge.requests("/statuses") if r["status"] == 403]
        self.assertEqual(len(refused), 1, "nobody asked while it was closed")
        # The hour's limit: what is left is none, until it is given anew.
        second = self.deploy(self.push("two"))
        self.forge.request("PUT", "/_forge/limit", {"limit": 4, "window_ms": 3000})
        self.once()
        self.forge.request("PUT", "/_forge/limit", {"limit": 0})
        self.assertEqual(self.states(second), ["in_progress", "success"])
        self.assertEqual([r for r in self.forge.requests() if r["status"] == 403][1:], [])
        self.assertEqual(self.lines(), ["one", "two"])

    def test_faults_of_the_service_lose_nothing_and_run_nothing_twice(self):
        sha = self.push("one")
        self.write(self.entry())
        deployment = self.deploy(sha)
        for fault in ({"path": "/deployments", "method": "GET", "status": 502}, {"path": "/statuses", "method": "POST", "drop": "after"},
                      {"path": "/tarball", "truncate": 50}, {"path": "/tarball", "status": 503},
                      {"path": "/statuses", "method": "POST", "status": 500, "skip": 1}, {"path": "/statuses", "method": "GET", "drop": True}):
            self.forge.faults(times=1, **fault)
        self.once()
        self.assertEqual(self.lines(), ["one"])
        self.assertEqual(self.states(deployment)[-1], "success")
        self.assertEqual(self.states(deployment).count("in_progress"), 1)

    def test_a_commit_that_is_nowhere_and_a_file_that_is_missing_are_told_as_errors(self):
        gone, empty = self.push("one"), None
        self.write(self.entry(file="deploy/nowhere.yml"), self.entry(BLOG))
        empty = self.deploy(gone)
        lost = self.deploy(self.push("blog", repository=BLOG), BLOG)
        self.forge.faults(path="/tarball", status=404, body='{"message": "Not Found"}', skip=1, times=1)
        self.once(code=1)
        ends = {self.statuses(empty)[-1]["description"], self.statuses(lost, BLOG)[-1]["description"]}
        self.assertEqual({self.states(empty)[-1], self.states(lost, BLOG)[-1]}, {"error"})
        self.assertTrue(any("nowhere.yml" in e for e in ends), ends)
        self.assertEqual(self.lines(), [])
        wrong = self.deploy(self.forge.repo(BLOG).push({"deploy.yml": "name: blog\nenvironment: production\nsteps:\n- nothing: {}\n"}), BLOG)
        self.once(code=1)
        self.assertRegex(self.statuses(wrong, BLOG)[-1]["description"], r"^refused: deploy.yml:4:\d+: .*'nothing'")
        self.assertTrue(any("404" in e for e in ends), ends)
        self.assertEqual(self.lines(), [])

    def test_the_policy_of_the_host_decides_before_anything_is_fetched(self):
        sha = self.push("one")
        self.write(self.entry())
        policy = self.root / "policy.yml"
        policy.write_text("rules:\n- {name: no-octocats, refuse: true, actors: [octocat]}\n- {name: all, allow: true, steps: typed}\n")
        refused = self.deploy(sha)
        for words, code in ((("--policy", str(policy)), 1), ((), 0)):
            process = self.start("--once", *words)
            process.communicate(timeout=60)
            self.assertEqual(process.returncode, code, self.log())
        self.assertEqual(self.states(refused), ["in_progress", "error"])
        self.assertIn("no-octocats", self.statuses(refused)[-1]["description"])
        stranger = self.deploy(sha)
        self.forge.visibility(SHOP, True)
        self.once(code=1)
        self.assertIn("(public repositories)", self.statuses(stranger)[-1]["description"])
        self.forge.visibility(SHOP, False)
        self.assertEqual(self.forge.requests("tarball"), [])
        self.assertEqual(self.lines(), [])

    def test_of_two_watchers_of_one_repository_one_carries_each_out(self):
        self.write(self.entry(), self.entry(BLOG, branch="main"))
        self.once(code=1), self.once(code=1, state="second")
        self.assertIn("404", self.log(), "the branch is not there yet")
        both = [self.start(state=state) for state in ("state", "second")]
        wanted = []
        for number in range(3):
            wanted.append(self.deploy(self.push(f"n{number}")))
            self.push(f"b{number}", repository=BLOG)
            until(lambda: len(self.lines()) == 2 * number + 2, "both deployments")
        until(lambda: all(self.states(d)[-1:] == ["success"] for d in wanted), "their ends")
        for process in both:
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(60), 0)
        self.assertEqual(sorted(self.lines()), sorted([f"n{n}" for n in range(3)] + [f"b{n}" for n in range(3)]))
        for deployment in wanted:
            self.assertEqual(self.states(deployment).count("success"), 1)

    def kill(self, process, child):
        """-9, and what carries the deployment out as well or not."""
        process.kill()
        process.wait()
        if child:
            record = json.loads(next((self.root / "state" / "watch").glob("*/record.json")).read_text())
            pid = record["current"]["pid"]
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            until(lambda: not alive(pid), "its end")

    def test_one_that_is_killed_in_the_middle_is_continued_and_told(self):
        wait = f"echo begun >> {self.ran}; while [ ! -e {self.root}/go-on ]; do sleep 0.05; done"
        self.write(self.entry())
        (self.root / "shop.conf").write_text("of before")
        first = self.deploy(self.push("one", command=wait))
        process = self.start()
        until(lambda: self.lines() == ["begun"], "the deployment")
        self.kill(process, child=True)
        told = self.once(code=1)
        self.assertEqual([t["event"] for t in told], ["ended"])
        self.assertEqual(self.states(first), ["in_progress", "failure"])
        self.assertEqual((self.conf(), self.lines()), ("of before", ["begun"]), "the journal's recovery took it back")
        # Only the watcher is killed: what it began goes on, and its end is told by the next one.
        second = self.deploy(self.push("two", command=wait))
        process = self.start()
        until(lambda: self.lines() == ["begun"] * 2, "the deployment")
        self.kill(process, child=False)
        process = self.start()
        (self.root / "go-on").touch()
        until(lambda: self.states(second) == ["in_progress", "success"], "the status")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 0)
        self.assertEqual((self.conf(), self.lines()), ("two word", ["begun"] * 2))

    def test_one_that_is_told_to_stop_takes_back_what_runs(self):
        self.write(self.entry())
        deployment = self.deploy(self.push("one", command=f"echo begun >> {self.ran}; sleep 600"))
        process = self.start()
        until(lambda: self.lines() == ["begun"], "the deployment")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(self.states(deployment), ["in_progress", "failure"])
        self.assertFalse((self.root / "shop.conf").exists())

    def test_a_wrong_file_and_a_second_process_are_refused_with_what_to_do(self):
        for change, says in (({"watch": []}, "watch"), ({"watch": [{"repository": "https://github.com/acme"}]}, "is no repository"),
                             ({"watch": [{"repository": "https://github.com/a/b", "file": "../x"}]}, "no path in the repository"),
                             ({"watch": [{"repository": "https://github.com/a/b"}]}, "there is no token")):
            (self.root / "watch.json").write_text(json.dumps(change))
            process = self.start("--once")
            process.communicate(timeout=60)
            self.assertEqual(process.returncode, 2)
            self.assertIn(says, self.log())
        (self.root / "token").chmod(0o644)
        self.write(self.entry())
        process = self.start("--once")
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 2)
        self.assertIn("can be read by others", self.log())
        (self.root / "token").chmod(0o600)
        first = self.start()
        until(lambda: "watching" in self.log(), "the first")
        second = self.start()
        second.communicate(timeout=60)
        self.assertEqual(second.returncode, 5)
        first.send_signal(signal.SIGTERM)
        self.assertEqual(first.wait(60), 0)


if __name__ == "__main__":
    main()
