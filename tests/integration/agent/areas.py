#!/usr/bin/env python3
"""Room on the disk: what work areas may take together, which go first, and below which free space no job is taken. The forge and the agent are real."""
import fcntl
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from harness import DAVIT, Case, run, until
from servers import mounts

ONE, TWO = "acme/one", "acme/two"
FILLS = """on: push
jobs:
  build:
    runs-on: self-hosted
    steps:
      - run: head -c %d /dev/zero > filled%s
"""
MIB = 1 << 20


def area(c, repository):
    """Its directory; None: there is none."""
    name = repository.split("/")[1] + "-"
    root = c.agent.root / "_work"
    found = [p for p in (root.iterdir() if root.exists() else ()) if p.name.startswith(name) and not p.name.endswith(".going")]
    return found[0] if found else None


def filled(c, repository, mib=20):
    # The same files would be the same commit in both.
    (job,) = c.forge.ended(c.forge.push(FILLS % (mib * MIB, ""), name=repository, files={"repository": repository}))
    assert job["conclusion"] == "success", job


def both(c, *words):
    for repository in (ONE, TWO):
        c.agent.configure(c.forge, repository)
    c.agent.start(*words).listening(count=2)
    return c.agent


def test_the_area_that_was_not_used_for_the_longest_goes_first():
    with Case((ONE, TWO)) as c:
        agent = both(c, "--quota", "30M")
        filled(c, ONE)
        until("what it takes", lambda: [r for r in agent.state()["registrations"] if r["url"].endswith(ONE) and r["area_bytes"] >= 20 * MIB])
        assert area(c, ONE).is_dir()
        filled(c, TWO)
        agent.says("removed its work area (20 MiB)")
        until("the older one is gone", lambda: area(c, ONE) is None)
        assert (area(c, TWO) / "two" / "two" / "filled").stat().st_size == 20 * MIB
        filled(c, ONE)
        until("the other one is gone", lambda: area(c, TWO) is None)
        assert area(c, ONE).is_dir()
        until("all of it is gone", lambda: not list((agent.root / "_work").glob("*.going")))
        assert agent.stop() == 0


def test_the_area_of_a_running_job_stays_however_old_it_is():
    with Case((ONE, TWO)) as c:
        agent = both(c, "--quota", "30M")
        go = agent.root / "go"
        sha = c.forge.push(FILLS % (20 * MIB, f"; until test -e {go}; do read -rt 0.05 <> <(:) || true; done"), name=ONE)
        until("its file", lambda: area(c, ONE) and list(area(c, ONE).rglob("filled")))
        filled(c, TWO)
        until("the other one is gone", lambda: area(c, TWO) is None)
        assert list(area(c, ONE).rglob("filled"))
        go.touch()
        assert [j["conclusion"] for j in c.forge.ended(sha)] == ["success"]
        assert agent.stop() == 0


def test_no_job_is_taken_below_the_free_space_that_was_asked_for():
    why = mounts.why_not([tempfile.gettempdir()])
    if why is not None:
        print(f"skipped: {why}")
        return
    with Case((ONE,)) as c:
        agent = c.agent
        work = agent.root / "disk"
        work.mkdir()
        agent.configure(c.forge, ONE, "--work", str(work / "work"))
        log = open(agent.output, "a")
        script = 'mount -t tmpfs -o size=64m none "$1" && shift && exec "$@"'
        agent.process = subprocess.Popen([*mounts.command(), "sh", "-c", script, "sh", str(work), DAVIT, "agent", "run", "--free-space", "32M"],
                                         env=agent.env, stdout=log, stderr=subprocess.STDOUT, cwd=agent.root)
        agent.log = log
        agent.listening()
        filled(c, ONE, mib=50)
        agent.says("no job is taken")
        sha = c.forge.push(FILLS % (MIB, ""), name=ONE)
        (one,) = agent.state()["registrations"]
        assert one["full"] and "are free at" in one["text"], one
        assert [j["status"] for j in c.forge.jobs(sha)] == ["queued"], c.forge.jobs(sha)
        next(pathlib.Path(f"/proc/{agent.process.pid}/root{work}").rglob("filled")).unlink()
        assert [j["conclusion"] for j in c.forge.ended(sha)] == ["success"]
        assert "there is room again" in agent.text()
        assert agent.stop() == 0


FULL = """mount -t tmpfs -o size=4m none "$DAVIT_STATE" || exit 90
"$1" agent configure --unattended --url "$2" --name box || exit 91
cat /dev/zero > "$DAVIT_STATE/filled"
"$1" agent configure --unattended --url "$2" --name two && exit 92
"$1" agent run & agent=$!
read -r go
rm "$DAVIT_STATE/filled"
"$1" agent configure --unattended --url "$2" --name two || exit 93
read -r go
kill -INT $agent; wait $agent"""


def test_on_a_full_disk_nothing_is_registered_that_cannot_be_kept_and_the_agent_starts():
    why = mounts.why_not([tempfile.gettempdir()])
    if why is not None:
        print(f"skipped: {why}")
        return
    with Case() as c:
        agent, url = c.agent, f"{c.forge.url}/acme/widgets"
        agent.log = open(agent.output, "a")
        env = {**agent.env, "DAVIT_STATE": str(c.root / "agent-box" / "full"), "ACTIONS_RUNNER_INPUT_TOKEN": c.forge.registration_token("acme/widgets")}
        (c.root / "agent-box" / "full").mkdir()
        agent.process = subprocess.Popen([*mounts.command(), "sh", "-c", FULL, "sh", DAVIT, url], env=env, stdin=subprocess.PIPE,
                                         stdout=agent.log, stderr=subprocess.STDOUT, cwd=agent.root)
        agent.listening()
        assert "nothing was asked for" in agent.text() and [r["name"] for r in c.forge.runners()] == ["box"], agent.text()
        c.forge.ended(c.forge.push())
        agent.process.stdin.write(b"\n")
        agent.process.stdin.flush()
        c.forge.wait("the second one", lambda: len(c.forge.runners()) == 2)
        (job,) = c.forge.ended(c.forge.push())
        assert job["conclusion"] == "success", job
        agent.process.stdin.write(b"\n")
        agent.process.stdin.close()
        assert agent.wait() == 0, agent.text()


def swept(quota, *areas):
    done = subprocess.run([DAVIT, "worker", "sweep", str(quota), *map(str, areas)], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def test_a_sweep_follows_no_link_finishes_one_that_was_killed_and_leaves_a_held_area_alone():
    with tempfile.TemporaryDirectory(prefix="davit-areas-") as folder:
        root = pathlib.Path(folder)
        (root / "kept").mkdir()
        (root / "kept" / "big").write_bytes(bytes(5 * MIB))
        for name, age in (("old", 300), ("held", 900), ("new", 0)):
            (root / name).mkdir()
            (root / name / "file").write_bytes(bytes(2 * MIB))
            (root / name / "out").symlink_to(root / "kept")
            (root / name / "progress.json").write_text("{}")
            os.utime(root / name / "progress.json", (time.time() - age,) * 2)
        (root / "link").symlink_to(root / "kept")
        (root / "old.going").mkdir()
        (root / "old.going" / "left").write_text("x")
        names = [root / n for n in ("old", "held", "new", "link", "missing")]
        held = os.open(root / "held", os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_SH)
        answer = swept(10 * MIB, *names)
        assert not any(one["removed"] for one in answer.values()) and not (root / "old.going").exists(), answer
        assert 2 * MIB <= answer[str(root / "old")]["bytes"] < 3 * MIB and answer[str(root / "link")]["bytes"] == 0, answer
        answer = swept(5 * MIB, *names)
        assert [pathlib.Path(p).name for p, one in answer.items() if one["removed"]] == ["old"], answer
        answer = swept(0, *names)
        assert sorted(p.name for p in root.iterdir()) == ["held", "kept", "link"], answer
        assert (root / "kept" / "big").stat().st_size == 5 * MIB
        os.close(held)
        swept(0, *names)
        assert sorted(p.name for p in root.iterdir()) == ["kept", "link"]


def test_what_is_closed_counts_and_what_is_another_user_s_keeps_nothing_else():
    if os.geteuid() != 0:
        print("skipped: not root, who alone makes files of another user")
        return
    with tempfile.TemporaryDirectory(prefix="davit-areas-") as folder:
        root, nobody = pathlib.Path(folder), 65534
        closed, foreign = root / "area" / "closed", root / "area" / "foreign"
        for place in (closed, foreign):
            place.mkdir(parents=True)
            (place / "file").write_bytes(bytes(3 * MIB))
        for path in (root, root / "area", closed, closed / "file"):
            os.chown(path, nobody, nobody)
        root.chmod(0o755)
        closed.chmod(0)

        def as_nobody(quota):
            done = subprocess.run([DAVIT, "worker", "sweep", str(quota), str(root / "area")], capture_output=True, text=True, timeout=60, check=True,
                                  user=nobody, group=nobody, extra_groups=[], cwd="/")
            return json.loads(done.stdout)[str(root / "area")], done.stderr
        said, _ = as_nobody(100 * MIB)
        assert 6 * MIB <= said["bytes"] < 7 * MIB and closed.stat().st_mode & 0o777 == 0, said
        said, text = as_nobody(MIB)
        assert said["removed"] and "Permission denied" in text and "removed by root" in text, text
        assert sorted(p.name for p in root.rglob("*")) == ["area.going", "file", "foreign"]


if __name__ == "__main__":
    os.environ.pop("DAVIT_STATE", None)
    sys.dont_write_bytecode = True
    run(__name__)
