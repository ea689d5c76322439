#!/usr/bin/env python3
"""R3: one runner process per repository filled a small host."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration" / "agent"))
from harness import Case, run, until  # noqa: E402

REPOSITORIES = [f"acme/r{i}" for i in range(12)]
RUNNER_KIB = 100 * 1024          # what one process of the official runner takes at rest, generously rounded down


def processes(agent):
    mark = f"DAVIT_STATE={agent.root}".encode()
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def rss_kib(pid):
    return next(int(line.split()[1]) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))


def test_twelve_repositories_are_served_by_one_process_at_rest():
    with Case(REPOSITORIES) as c:
        for name in REPOSITORIES:
            c.agent.configure(c.forge, name)
        c.agent.start().listening(len(REPOSITORIES))
        until("all poll", lambda: sum(r["polling"] for r in c.forge.runners()) == len(REPOSITORIES))
        until("only the agent runs", lambda: processes(c.agent) == [c.agent.process.pid])
        assert rss_kib(c.agent.process.pid) < RUNNER_KIB
        jobs = {name: c.forge.push(name=name, files={"NAME": name}) for name in REPOSITORIES}
        for name, sha in jobs.items():
            (job,) = c.forge.ended(sha)
            assert job["conclusion"] == "success", (name, job)
        assert len(c.agent.state()["registrations"]) == len(REPOSITORIES)
        assert c.agent.stop() == 0
        assert len(c.forge.seen("session", "DELETE")) == len(REPOSITORIES)
        c.forge.calm()


def test_one_registration_that_is_refused_does_not_stop_the_others():
    with Case(("acme/one", "acme/two")) as c:
        c.agent.configure(c.forge, "acme/one")
        c.agent.configure(c.forge, "acme/two")
        c.forge.fault("session", method="POST", status=403, times=1)
        c.agent.start().listening(1)
        until("one is polled", lambda: sum(r["polling"] for r in c.forge.runners()) == 1)
        served = next(r for r in c.forge.runners() if r["polling"])["scope"].removeprefix("repos/")
        (job,) = c.forge.ended(c.forge.push(name=served))
        assert job["conclusion"] == "success", job
        states = sorted(r["state"] for r in c.agent.state()["registrations"])
        assert states == ["failed", "listening"], states
        assert c.agent.stop() == 1


if __name__ == "__main__":
    run(__name__)
