#!/usr/bin/env python3
"""Containers of a job whose worker was killed: the agent removes them, or the one that is started after it. With a real engine."""
import os
import pathlib
import signal
import sys

from harness import Case, run, until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from servers.docker import Docker  # noqa: E402

WAITS = """on: push
jobs:
  build:
    runs-on: self-hosted
    container: local/base:1
    services: {other: local/base:1}
    steps:
      - run: echo up > up; exec tail -f /dev/null
"""


def test_containers_of_a_killed_worker_go_with_the_agent_that_lives_and_with_the_next_one():
    with Docker() as docker, Case() as c:
        docker.image("local/base:1")
        own = {"DOCKER_HOST": docker.host, "DOCKER_CONFIG": docker.config}
        c.agent.configure(c.forge)
        for agent_dies in (False, True):
            c.agent.start(**own).listening(count=2 if agent_dies else 1)
            sha = c.forge.push(WAITS + f"# {agent_dies}\n")
            until("both containers run", lambda: len(docker.run("ps", "-q").split()) == 2)
            until("the step runs", lambda: list(c.root.rglob("up")))
            for up in c.root.rglob("up"):
                up.unlink()
            (worker,) = c.agent.workers()
            if agent_dies:
                c.agent.kill()
            os.kill(worker, signal.SIGKILL)
            if agent_dies:
                c.agent.start(**own)
            (job,) = c.forge.ended(sha)
            assert job["conclusion"] == "failure", job
            assert docker.run("ps", "-aq").strip() == ""
            assert "github_network" not in docker.run("network", "ls")
            c.agent.stop()


if __name__ == "__main__":
    why = Docker.why_not()
    if why:
        print(f"SKIP: {why}")
        sys.exit(77)
    run(__name__)
