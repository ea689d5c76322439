#!/usr/bin/env python3
"""Many registrations in one agent, with jobs at an even pace: each begins in time, and memory and connections stay.
DAVIT_MANY_REGISTRATIONS=200 DAVIT_MANY_MINUTES=10 makes a long one of it."""
import contextlib
import datetime
import json
import os
import random
import statistics
import time

from harness import Case, rss_kib, run, settled_kib, until

REGISTRATIONS, MINUTES = int(os.environ.get("DAVIT_MANY_REGISTRATIONS", "6")), float(os.environ.get("DAVIT_MANY_MINUTES", "0.1"))
A_MINUTE, LATE_S, GROWTH_KIB = 50, 10, 1024
JOB = """on: workflow_dispatch
jobs:
  build:
    runs-on: self-hosted
    steps:
      - run: echo hello
"""


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def cpu_s(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
        return int(f.read().split()[0]) / 1e9


def test_of_jobs_at_an_even_pace_none_is_late():
    names = [f"acme/r{i}" for i in range(REGISTRATIONS)]
    count, dice, asked = round(MINUTES * A_MINUTE), random.Random(1), {}
    with Case(names) as c:
        for name in names:
            c.agent.configure(c.forge, name)
            c.forge.push(JOB, name=name)
        c.agent.start("--slots", "4").listening(count=REGISTRATIONS)
        until("all poll", lambda: sum(r["polling"] for r in c.forge.runners()) >= REGISTRATIONS)
        pid, begun, warm = c.agent.process.pid, time.monotonic(), None
        used = cpu_s(pid)
        for number in range(count):
            due = begun + number * 60 / A_MINUTE
            until("the next one is due", lambda: time.monotonic() >= due, 60)
            if number == min(count // 5, 100):
                warm = rss_kib(pid)
            now = time.time()
            asked[c.forge.dispatch(dice.choice(names), "ci.yml")] = now
        ended = until("all have ended", lambda: (lambda r: len(r) >= count and all(x["status"] == "completed" for x in r) and r)(
            [x for x in c.forge.runs(logs=False) if x["id"] in asked]), 120)
        delays = []
        for one in ended:
            (job,) = one["jobs"]
            assert job["conclusion"] == "success", job
            delays.append(seconds(job["started_at"]) - asked[one["id"]])
            assert "hello" in "".join(s["log"] or "" for s in c.forge.run(one["id"])["jobs"][0]["steps"]), one
        until("no job any more", lambda: c.agent.state()["jobs"] == [])
        used = cpu_s(pid) - used
        grown = settled_kib(pid) - warm
        print(f"{REGISTRATIONS} registrations, {count} jobs in {time.monotonic() - begun:.0f} s: begun after {statistics.median(delays) * 1000:.0f} ms at the "
              f"median, {max(delays) * 1000:.0f} ms at most; memory {warm} KiB, then {grown:+} KiB; {used:.2f} s of the listener's processor time")
        assert max(delays) < LATE_S, sorted(delays)[-5:]
        assert grown < GROWTH_KIB, grown
        assert c.agent.stop() == 0


def connections_to(pid, port):
    """So many descriptors of that process are connections to that port of this machine, open or left by the other side."""
    own = set()
    for entry in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):  # it may be closed meanwhile
            own.add(os.readlink(f"/proc/{pid}/fd/{entry}"))
    with open(f"/proc/{pid}/net/tcp", encoding="ascii") as f:
        lines = [line.split() for line in f.readlines()[1:]]
    return sum(f"socket:[{line[9]}]" in own and line[2].endswith(f":{port:04X}") for line in lines)


def test_no_connection_is_kept_to_a_host_that_only_gives_tokens():
    names = [f"acme/r{i}" for i in range(2)]
    with Case(names) as c:
        for name in names:
            c.agent.configure(c.forge, name)
        for record in c.agent.root.glob("agent/registrations/*/registration.json"):
            text = json.loads(record.read_text())
            text["broker_url"] = text["broker_url"].replace("127.0.0.1", "localhost")
            record.write_text(json.dumps(text))
        c.agent.start().listening(count=len(names))
        until("all poll", lambda: sum(r["polling"] for r in c.forge.runners()) >= len(names))
        assert connections_to(c.agent.process.pid, int(c.forge.url.rsplit(":", 1)[1])) == len(names)


if __name__ == "__main__":
    os.environ.pop("DAVIT_STATE", None)
    run(__name__)
