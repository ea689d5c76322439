#!/usr/bin/env python3
"""Jobs of three repositories one after the other, with faults of the service at random: none is lost, nor a line of its log, and the agent's memory stays.
DAVIT_SOAK_JOBS=2000 makes a long one of it; DAVIT_SOAK_SEED takes other faults."""
import os
import random
import re

from harness import Case, own_kib, run, settled_kib, until

REPOSITORIES = ("acme/one", "acme/two", "acme/three")
JOBS, SEED = int(os.environ.get("DAVIT_SOAK_JOBS", "6")), int(os.environ.get("DAVIT_SOAK_SEED", "1"))
LINES = 30
JOB = """on: push
jobs:
  build:
    runs-on: self-hosted
    steps:
      - run: for i in $(seq %d); do echo "line $i of %s"; done
"""
FAULTS = [
    {"path": "acquirejob", "status": 503}, {"path": "acquirejob", "drop": True}, {"path": "renewjob", "status": 500},
    {"path": "renewjob", "drop": "after"}, {"path": "completejob", "status": 502}, {"path": "completejob", "drop": True},
    {"path": "/message", "method": "GET", "status": 500}, {"path": "/message", "method": "GET", "drop": True}, {"path": "acknowledge", "status": 500},
    {"path": "oauth2/token", "status": 503}, {"path": "_services/results", "status": 500}, {"path": "_services/results", "drop": True},
]
GROWTH_KIB = 512  # of an agent whose memory is as it was, between two looks


def check(job, name):
    assert job["conclusion"] == "success", (name, job)
    said = re.findall(rf"line (\d+) of {name}\b", "".join(s["log"] or "" for s in job["steps"] if s["name"].startswith("Run")))
    assert said == [str(i) for i in range(1, LINES + 1)], (name, said)


def test_no_job_and_no_line_is_lost_whatever_fails_and_the_memory_stays():
    print(f"{JOBS} jobs, seed {SEED}")
    dice = random.Random(SEED)
    with Case(REPOSITORIES) as c:
        for repository in REPOSITORIES:
            c.agent.configure(c.forge, repository)
        c.agent.start("--slots", "3").listening(count=3)
        warm = None
        for number in range(0, JOBS, 3):
            pushed = []
            for repository in REPOSITORIES:
                name = f"job{number}-{repository[5:]}"
                if dice.random() < 0.7:
                    c.forge.faults(times=dice.choice((1, 1, 2)), skip=dice.choice((0, 0, 1)), **dice.choice(FAULTS))
                pushed.append((name, c.forge.push(JOB % (LINES, name), name=repository)))
            for name, sha in pushed:
                (job,) = c.forge.ended(sha)
                check(job, name)
            if warm is None and number >= min(JOBS // 3, 99):
                warm = settled_kib(c.agent.process.pid, own_kib)
        until("no job any more", lambda: c.agent.state()["jobs"] == [])
        grown = settled_kib(c.agent.process.pid, own_kib) - warm
        print(f"memory: {warm} KiB, then {grown:+} KiB")
        assert grown < GROWTH_KIB, grown
        c.forge.no_faults()
        assert c.agent.stop() == 0


if __name__ == "__main__":
    os.environ.pop("DAVIT_STATE", None)
    run(__name__)
