"""Compose projects on an engine of the test's own.

    class C4(StackCase):
        def test_…(self):
            with self.stack() as s:                # a Trial with a directory for the project's files
                s.compose({"services": {"web": {"image": "local/web:1"}}})
                self.assert_exit(s.up(), 0)
"""
import itertools
import json
import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness.trial  # noqa: E402
from harness.lanes import Lanes  # noqa: E402
from harness.trial import DAVIT, Case, Trial  # noqa: E402
from harness.waiting import until  # noqa: E402
from servers.docker import Docker  # noqa: E402

PROJECT = "davit-test"
NUMBERS = itertools.count()
LANES = 3


class Stack(Trial):
    """One project of one engine."""

    def __init__(self, docker, project=PROJECT):
        super().__init__()
        self.docker = docker
        self.project = project
        self.home = self.path("app")
        self.env = {}
        os.mkdir(self.home)

    def compose(self, document, name="compose.yml"):
        with open(os.path.join(self.home, name), "w", encoding="utf-8") as f:
            f.write(document if isinstance(document, str) else json.dumps(document))

    def file(self, name, text):
        with open(os.path.join(self.home, name), "w", encoding="utf-8") as f:
            f.write(text)

    def step(self, **inputs):
        return {"compose-up": {"target": "web", "project": self.project, "directory": self.home, "settle": "400ms", "timeout": "60s",
                               "docker_host": self.docker.host, "docker_config": self.docker.config, **inputs}}

    def document(self, *more, steps=None, target=None, **inputs):
        return {"targets": {"web": target or {"local": {}}}, "steps": (steps or [self.step(**inputs)]) + list(more)}

    def up(self, *more, options=(), secrets=None, target=None, **inputs):
        return self.deploy(self.document(*more, target=target, **inputs), *options, secrets=secrets, timeout=240)

    def begin(self, *more, **inputs):
        """The same in a process group of its own that can be killed."""
        whole = {"name": "shop", "environment": "test", **self.document(*more, **inputs)}
        whole["targets"]["web"]["base"] = self.base
        with open(os.path.join(self.src, "deploy.yml"), "w", encoding="utf-8") as f:
            json.dump(whole, f)
        return self.begin_command("deploy", "deploy.yml")

    def begin_command(self, *words):
        return subprocess.Popen([DAVIT, *words], cwd=self.src, env={**os.environ, "DAVIT_STATE": self.state, **self.env},
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)

    def containers(self):
        return self.docker.containers(self.project)

    def image_of(self, service):
        return [c["Image"] for c in self.containers().get(service, [])]

    def facts(self):
        """What runs: service → sorted list of what makes a container what it is."""
        return {name: sorted((c["Image"], c["Config"]["Labels"]["com.docker.compose.config-hash"], c["State"]["Running"],
                              tuple(c["Config"]["Env"] or [])) for c in found) for name, found in self.containers().items()}

    def ids(self):
        return {name: sorted((c["Id"], c["State"]["StartedAt"]) for c in found) for name, found in self.containers().items()}

    def last(self):
        return json.loads(self.run("history", "--json").out)[0]

    def changes(self, deployment=None):
        return json.loads(self.run("show", deployment or self.last()["id"], "--json").out)["changes"]

    def kept(self):
        folder = os.path.join(self.base, "compose", self.project)
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

    def kept_images(self):
        return sorted(self.docker.run("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter",
                                      f"reference=davit-kept/{self.project}").split())

    def __exit__(self, *_):
        self.docker.compose(self.project, "down", "-v", "--remove-orphans", "-t", "0", check=False)
        kept = self.kept_images()
        if kept:
            self.docker.run("rmi", *kept, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)


class StackCase(Case):
    docker = None

    @classmethod
    def setUpClass(cls):
        why = Docker.lacking()
        if why:
            raise unittest.SkipTest(why)
        docker = Docker()
        try:
            cls.docker = docker.start()
        except RuntimeError as reason:
            docker.close()
            raise unittest.SkipTest(str(reason).splitlines()[0]) from None
        for version in ("1", "2", "3"):
            cls.docker.image(f"local/web:{version}", env={"VERSION": version})
        cls.docker.image("local/tool:1", env={"TOOL": "1"})

    @classmethod
    def tearDownClass(cls):
        cls.docker.close()

    def stack(self, project=None):
        """Each has a name of its own: tests run side by side."""
        return Stack(self.docker, project or f"{PROJECT}-{next(NUMBERS)}")


def service(version="1", **more):
    """One that is stopped at once. Where SIGTERM matters: `stop_signal` of the test's own."""
    return {"image": f"local/web:{version}", "command": ["sleep", "100000"], "stop_signal": "SIGKILL", **more}


def main():
    harness.trial.main(Lanes(LANES))

