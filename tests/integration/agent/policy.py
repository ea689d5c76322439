#!/usr/bin/env python3
"""Which jobs may run on a host: its policy, decided on the job's message before anything of it is fetched. The forge and the agent are real."""
import json
import os
import pathlib
import subprocess

from harness import DAVIT, HELLO, Case, run

REPO, FORK = "acme/widgets", "mallory/widgets"
PULLS = """on: [push, pull_request]
jobs:
  build:
    runs-on: self-hosted
    steps:
      - uses: davit-deploy/davit/actions/checkout@v1
      - run: echo "$RUNNER_NAME"
"""


class Host(Case):
    """An agent with a policy file of its own; policy None: without one."""

    def __init__(self, policy=None):
        super().__init__((REPO, FORK))
        self.policy = policy

    def __enter__(self):
        super().__enter__()
        self.agent.configure(self.forge, REPO)
        self.file = self.agent.root / "agent" / "policy.yml"
        if self.policy is not None:
            self.write(self.policy)
        self.agent.start().listening()
        return self

    def write(self, text):
        self.file.write_text(text)
        self.file.chmod(0o644)

    def pushed(self, workflow=HELLO):
        (job,) = self.forge.ended(self.forge.push(workflow))
        return job

    def pull_of_fork(self):
        """The job of a pull request that mallory has opened."""
        self.forge.ended(self.forge.push(PULLS))
        fork = self.forge.repo(FORK)
        fork.git("fetch", "-q", self.forge.repo(REPO).bare, "main")
        fork.git("checkout", "-q", "-B", "evil", "FETCH_HEAD")
        fork.push({"evil": "yes\n"}, "evil", ref="evil")
        self.forge.requests_seen = len(self.forge.requests(""))
        number = self.forge.pull(REPO, "mallory:evil")["number"]

        def ended():
            found = [r for r in self.forge.runs() if r["ref"] == f"refs/pull/{number}/merge" and r["status"] == "completed"]
            return found and found[0]["jobs"][0]
        return self.forge.wait("the pull request's job", ended)

    def since(self):
        return self.forge.requests("")[self.forge.requests_seen:]


def refused(job, rule):
    assert job["conclusion"] == "failure", job
    assert f"refuses this job by the rule '{rule}'" in json.dumps(job), job


def test_a_pull_request_from_a_fork_is_refused_before_anything_is_fetched():
    with Host() as c:
        job = c.pull_of_fork()
        refused(job, "(forks)")
        assert "mallory/widgets" in json.dumps(job["annotations"]), job
        c.agent.says("is refused by the policy's rule '(forks)'")
        paths = [r["path"] for r in c.since()]
        assert any("acquirejob" in p for p in paths) and any("completejob" in p for p in paths), paths
        bad = [p for p in paths if "git-upload-pack" in p or "info/refs" in p or "runnerresolve" in p or "tarball" in p]
        assert bad == [], bad
        (step,) = job["steps"]
        assert (step["name"], step["conclusion"]) == ("Set up job", "failure"), step
        assert "##[error]" in step["log"] and "by the rule '(forks)'" in step["log"] and "Runner name: 'box'" in step["log"], step
        assert "(forks)" in job["log"], job
        assert not list(c.agent.root.rglob("evil")), "nothing of the fork is here"
        assert c.pushed()["conclusion"] == "success", "the agent goes on"
        c.forge.calm()


def test_a_rule_lets_a_fork_in_where_it_says_so():
    with Host("rules:\n- {name: all, allow: true, forks: true}\n") as c:
        assert c.pull_of_fork()["conclusion"] == "success"


def test_a_public_repository_runs_nothing_without_a_rule_that_names_it():
    with Host() as c:
        assert c.pushed()["conclusion"] == "success", "a private one does"
        c.forge.visibility(REPO, True)
        refused(c.pushed(), "(public repositories)")
        c.write(f"rules:\n- {{name: ours, allow: true, public: true, repositories: [{REPO}], events: [push]}}\n")
        assert c.pushed()["conclusion"] == "success", "the file counts as it is when the job comes"


def test_a_host_may_take_typed_steps_only():
    with Host("rules:\n- {name: deployments, allow: true, steps: typed}\n") as c:
        refused(c.pushed(), "deployments")
        typed = HELLO.replace("run: echo hello", "uses: davit-deploy/davit/actions/checkout@v1")
        assert c.pushed(typed)["conclusion"] == "success"
        foreign = HELLO.replace("run: echo hello", "uses: acme/widgets/any@main")
        refused(c.pushed(foreign), "deployments")


def test_the_actions_of_a_rule_stand_in_place_of_what_was_configured():
    with Host("rules:\n- {name: ci, allow: true, actions: none}\n") as c:
        job = c.pushed(HELLO.replace("run: echo hello", "uses: ./action"))
        refused(job, "ci")
        c.write("rules:\n- {name: ci, allow: true, actions: './'}\n")
        files = {"action/action.yml": "runs:\n  using: composite\n  steps:\n    - uses: octo/other@v1\n"}
        workflow = HELLO.replace("run: echo hello", "uses: davit-deploy/davit/actions/checkout@v1\n      - uses: ./action")
        (job,) = c.forge.ended(c.forge.push(workflow, files=files))
        assert job["conclusion"] == "failure" and "octo/other" in json.dumps(job), job


def test_a_policy_that_became_wrong_refuses_every_job_and_one_that_is_wrong_lets_no_agent_start():
    with Host("rules:\n- {name: all, allow: true}\n") as c:
        c.write("rules:\n- {name: all, alow: true}\n")
        job = c.pushed()
        assert job["conclusion"] == "failure" and "policy.yml:2:" in json.dumps(job), job
        c.file.chmod(0o666)
        job = c.pushed()
        assert job["conclusion"] == "failure" and "writable by others" in json.dumps(job), job
        assert c.agent.stop() == 0
        c.agent.start()
        assert c.agent.wait() == 1 and "policy.yml" in c.agent.text()


def test_what_would_happen_is_said_without_a_job():
    with Host() as c:
        def says(value, *words, policy=None):
            path = pathlib.Path(c.root) / "event.json"
            path.write_text(json.dumps(value))
            done = subprocess.run([DAVIT, "agent", "policy", "test", str(path), "--json", *words], env=c.agent.env, capture_output=True,
                                  text=True, timeout=60)
            return done.returncode, json.loads(done.stdout)
        push = {"ref": "refs/heads/main", "repository": {"full_name": REPO, "id": 5, "private": True}, "sender": {"login": "octocat"}}
        status, answer = says(push, "--event", "push")
        assert (status, answer["admitted"], answer["rule"], answer["policy"]) == (0, True, "(no policy)", None), answer
        status, answer = says(push)
        assert status == 2 and "--event" in answer["error"]["hint"], answer
        c.write("rules:\n- {name: main, allow: true, workflows: [.github/workflows/ci.yml], actors: [octocat]}\n")
        assert says(push, "--event", "push")[1]["rule"] == "(no rule)"
        status, answer = says(push, "--event", "push", "--workflow", ".github/workflows/ci.yml")
        assert (status, answer["rule"], answer["policy"]) == (0, "main", str(c.file)), answer
        assert says(push, "--event", "push", "--workflow", ".github/workflows/ci.yml", "--actor", "mallory")[0] == 1
        context = {"event_name": "pull_request", "repository": REPO, "repository_id": "5", "repository_visibility": "private",
                   "event": {"pull_request": {"number": 3, "head": {"repo": {"full_name": FORK, "id": 6}}}}}
        status, answer = says(context)
        assert (status, answer["rule"], answer["job"]["fork"]) == (1, "(forks)", FORK), answer
        sha = c.forge.push()
        (job,) = c.forge.ended(sha)
        message = c.forge.json("GET", f"/_forge/messages/{job['job_id']}")
        status, answer = says(message)
        assert (status, answer["job"]["steps_are_known"], answer["job"]["workflow"]) == (0, True, ".github/workflows/ci.yml"), answer
        text = subprocess.run([DAVIT, "agent", "policy", "test", str(pathlib.Path(c.root) / "event.json"), "--ref", "refs/heads/a\x1b[31m"],
                              env=c.agent.env, capture_output=True, text=True, timeout=60).stdout
        assert "would run by the rule 'main'" in text and "\x1b" not in text, text
        context["event"]["pull_request"]["head"]["repo"]["full_name"] = "mallory/\x1b[31m"
        (pathlib.Path(c.root) / "event.json").write_text(json.dumps(context))
        text = subprocess.run([DAVIT, "agent", "policy", "test", str(pathlib.Path(c.root) / "event.json")], env=c.agent.env, capture_output=True,
                              text=True, timeout=60).stdout
        assert "mallory/" in text and "\x1b" not in text, text
        for words, status, says in ((["--help"], 0, "--event NAME"), ([], 2, "needs a part"), (["tset"], 2, "no part 'tset'")):
            done = subprocess.run([DAVIT, "agent", "policy", *words], env=c.agent.env, capture_output=True, text=True, timeout=60)
            assert done.returncode == status and says in done.stdout + done.stderr, done


if __name__ == "__main__":
    os.environ.pop("DAVIT_STATE", None)
    run(__name__)
