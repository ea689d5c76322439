"""Jobs carried out by a real `davit worker`, handed over by a runner of the test's own, against a real forge.

    with House() as house:
        run = house.run('''
            - run: echo hi
        ''')
        assert run.conclusion == "success" and "hi" in run.log("Run echo hi")
"""
import json
import os
import re
import shutil
import subprocess
import tempfile
import textwrap
import threading
import uuid

from servers.forge import Forge
from servers.runner import Runner

REPOSITORY = "octo/demo"


def davit():
    return os.path.join(os.environ.get("DAVIT_BUILD") or os.path.join(os.path.dirname(__file__), "../../build/dev"), "bin", "davit")


class Worker:
    """The process of one job. say(): a word of the listener's."""

    def __init__(self, message, settings, env=None):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "RUNNER_", "ACTIONS_"))}
        environment.update(env or {})
        command = os.environ.get("DAVIT_WORKER", davit() + " worker").split()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        self.errors = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.say({"message": message, "settings": settings})

    def _read(self):
        self.errors = self.process.stderr.read()

    def say(self, word):
        self.process.stdin.write(json.dumps(word).encode() + b"\n")
        self.process.stdin.flush()

    def cancel(self, timeout_s=300, reason="cancelled"):
        self.say({"cancel": {"timeout_s": timeout_s, "reason": reason}})

    def end(self):
        """For a test that fails: the worker and its step would go on."""
        if self.process.poll() is None:
            self.cancel(30, "shutdown")
            self.wait()

    def wait(self, timeout=60):
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the worker does not end: " + self.errors.decode())
        self.process.stdin.close()
        self._reader.join(10)
        self.process.stderr.close()
        return status


class Run:
    """A finished run as the forge knows it."""

    def __init__(self, house, shown, status, message):
        self.house, self.shown, self.status, self.message = house, shown, status, message
        self.conclusion = shown["conclusion"]
        self.job = shown["jobs"][0]

    def step(self, name):
        found = [s for s in self.job["steps"] if s["name"] == name]
        assert found, f"no step '{name}' among {[s['name'] for s in self.job['steps']]}"
        return found[0]

    def conclusions(self):
        return {s["name"]: s["conclusion"] for s in self.job["steps"]}

    def lines(self, name):
        """The step's log without time stamps."""
        text = self.step(name).get("log") or ""
        return [line.split(" ", 1)[1] if " " in line else "" for line in text.splitlines()]

    def log(self, name):
        return "\n".join(self.lines(name))

    def annotations(self, name):
        return self.step(name).get("annotations") or []

    def messages(self, name):
        return [(a["level"], a["message"]) for a in self.annotations(name)]


class House:
    def __init__(self, actions_repository="davit-deploy/davit", repos=(), options=()):
        self.folder = tempfile.mkdtemp(prefix="davit-worker-")
        self.work = os.path.join(self.folder, "work")
        self.state = os.path.join(self.folder, "state")
        os.makedirs(self.state, mode=0o700)
        self.forge = Forge(repos=[REPOSITORY, *repos], options=options)
        self.actions_repository = actions_repository
        self.runner = None
        self._count = 0

    def __enter__(self):
        self.forge.start()
        self.runner = Runner(self.forge, REPOSITORY).ready()
        return self

    def __exit__(self, *exc):
        try:
            self.forge.__exit__(*exc)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def settings(self, **changes):
        return {"agent_name": "box-1", "agent_id": self.runner.id, "runner_group": "Default", "runner_group_id": 1, "os": "Linux",
                "arch": "X64", "version": "2.336.0", "work_folder": self.work, "labels": ["self-hosted"],
                "actions_repository": self.actions_repository, "on_failure": "rollback", "state_dir": self.state,
                "server_url": self.forge.url, "url": f"{self.forge.url}/{REPOSITORY}", "ephemeral": False,
                "tracking_id": f"github_{uuid.uuid4()}", **changes}

    def secrets(self, **secrets):
        self.forge.secrets(REPOSITORY, secrets)

    def take(self, steps, job="", workflow="", files=None):
        """Pushes a workflow with one job of these steps; its job, acquired."""
        self._count += 1
        steps = textwrap.indent(textwrap.dedent(steps).strip("\n"), "      ")
        job = textwrap.indent(textwrap.dedent(job).strip("\n"), "    ")
        text = f"name: w{self._count}\non: push\n{textwrap.dedent(workflow)}\njobs:\n  build:\n    runs-on: self-hosted\n{job}\n    steps:\n{steps}\n"
        self.sha = self.forge.repo(REPOSITORY).push({".github/workflows/ci.yml": text, **(files or {})}, f"change {self._count}")
        return self.runner.take_job()

    def start(self, steps, job="", workflow="", files=None, env=None, settings=None, change=None):
        taken = self.take(steps, job, workflow, files)
        if change:
            change(taken.message)
        worker = Worker(taken.message, self.settings(**(settings or {})), env)
        worker.message = taken.message
        return worker

    def finish(self, worker, timeout=60):
        status = worker.wait(timeout)
        assert b"Sanitizer" not in worker.errors, worker.errors.decode()
        assert status >= 100, f"exit {status}: {worker.errors.decode()}"
        shown = self.forge.wait_run(REPOSITORY, self.sha, timeout=20)
        complaints = self.forge.complaints()
        self.forge.forget_complaints()
        assert complaints == [], complaints
        return Run(self, shown, status, worker.message)

    def run(self, steps, job="", workflow="", files=None, env=None, settings=None, change=None, timeout=60):
        return self.finish(self.start(steps, job, workflow, files, env, settings, change), timeout)

    def temp(self, *parts):
        return os.path.join(self.work, "_temp", *parts)


def strip_colours(text):
    return re.sub("\x1b\\[[0-9;]*m", "", text)
