#!/usr/bin/env python3
"""Another davit takes over a running agent: after its jobs, once the service has seen it, or not at all. The forge and the agents are real."""
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from harness import BUILD, DAVIT, HELLO, Case, run, until

REPO = "acme/widgets"
WAITS = """on: push
jobs:
  build:
    runs-on: self-hosted
    steps:
      - run: until test -e %s; do read -rt 0.05 <> <(:) || true; done
"""


class Place:
    """Where the davit that is replaced lies, as one file, and the new ones: each is the build's, and notes how it was called."""

    def __init__(self, c):
        self.root = c.root / "place"
        (self.root / "bin").mkdir(parents=True)
        self.program, self.calls = self.root / "bin/davit", self.root / "calls"
        self.write(self.program, "old")

    def write(self, path, name, before=""):
        path.write_text(f"#!/bin/sh\n# {name}\n[ \"$1\" = --version ] || echo {name} \"$@\" >>{self.calls}\n{before}\nexec '{DAVIT}' \"$@\"\n")
        path.chmod(0o755)
        return path

    def new(self, name, before=""):
        """A release: the file and its checksum."""
        top = self.root / name
        top.mkdir()
        path = self.write(top / "davit-linux", name, before)
        (top / "SHA256SUMS").write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  davit-linux\n")
        return path

    def called(self, name):
        return [line[len(name) + 1:] for line in (self.calls.read_text().splitlines() if self.calls.exists() else []) if line.startswith(name + " ")]

    def assert_nothing_beside(self):
        assert os.listdir(self.root / "bin") == ["davit"], os.listdir(self.root / "bin")


def listening(c, *words):
    c.agent.configure(c.forge, REPO)
    c.agent.start(*words).listening()
    c.forge.wait_online("box")
    return Place(c)


def update(c, place, new, *words, **more):
    done = c.agent.davit("update", "--from", str(new), "--program", str(place.program), *words, check=False, **more)
    place.assert_nothing_beside()
    assert not (c.agent.root / "agent/update.json").exists()
    return done


def assert_goes_on(c, place):
    """The old one, in the same process, and it takes jobs."""
    assert "# old" in place.program.read_text()
    state = until("the agent is well", lambda: (lambda s: s if s["healthy"] else None)(c.agent.state()))
    assert state["pid"] == c.agent.process.pid and c.agent.process.poll() is None
    assert [j["conclusion"] for j in c.forge.ended(c.forge.push(HELLO))] == ["success"]


def test_a_new_davit_takes_over_in_the_same_process_with_the_same_options():
    with Case() as c:
        place = listening(c, "--slots", "3", "--quota", "5G", "--drain")
        done = update(c, place, place.new("new"))
        assert (done.returncode, done.stdout) == (0, f"{place.program} is davit 1.0.0, and runs\n"), done
        assert "# new" in place.program.read_text()
        options = "agent run --drain --slots 3 --quota 5368709120"
        assert place.called("new") == [options + " --probe 1", options], place.called("new")
        state = c.agent.state()
        assert (state["pid"], state["healthy"], state["slots"], state["update"]["state"]) == (c.agent.process.pid, True, 3, "done"), state
        assert [j["conclusion"] for j in c.forge.ended(c.forge.push(HELLO))] == ["success"]
        again = update(c, place, place.root / "new/davit-linux")
        assert (again.returncode, again.stdout) == (0, f"nothing to change: that is {place.program}\n"), again
        third = json.loads(update(c, place, place.new("third"), "--json").stdout)
        assert third["changed"] and third["runs"] and "# third" in place.program.read_text(), third
        assert c.agent.stop() == 0
        assert all(line[10] == " " and line[19:22] == "Z: " for line in c.agent.text().splitlines() if line), c.agent.text()
        c.forge.calm()


def test_the_one_file_of_a_release_is_replaced_and_its_workers_are_the_new_ones():
    with Case() as c:
        place = Place(c)
        place.program.unlink()
        shutil.copy(BUILD / "one/davit", place.program)
        new = place.new("new")
        # The same program with another checksum.
        new.write_bytes(place.program.read_bytes() + b"\0")
        (new.parent / "SHA256SUMS").write_text(f"{hashlib.sha256(new.read_bytes()).hexdigest()}  davit-linux\n")
        c.agent.configure(c.forge, REPO)
        c.agent.start(program=str(place.program)).listening()
        done = subprocess.run([str(place.program), "agent", "update", "--from", str(new)], env=c.agent.env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0 and done.stdout.endswith("and runs\n"), done
        place.assert_nothing_beside()
        assert place.program.read_bytes() == new.read_bytes()
        assert os.readlink(f"/proc/{c.agent.process.pid}/exe") == str(place.program.resolve())
        assert [j["conclusion"] for j in c.forge.ended(c.forge.push(HELLO))] == ["success"]
        assert c.agent.stop() == 0


def test_a_job_that_runs_is_waited_for_and_the_next_one_is_the_new_ones():
    with Case() as c:
        place, go = listening(c), c.agent.root / "go"
        first = c.forge.push(WAITS % go)
        c.forge.begun(first)
        p = subprocess.Popen([DAVIT, "agent", "update", "--from", str(place.new("new")), "--program", str(place.program)], env=c.agent.env, text=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert p.stdout.readline() == "the agent takes no further job, and waits for the 1 that runs\n"
        assert place.called("new") == [] and "# old" in place.program.read_text()
        second = c.forge.push(HELLO)
        go.touch()
        assert [j["conclusion"] for j in c.forge.ended(first)] == ["success"]
        out, err = p.communicate(timeout=120)
        assert p.returncode == 0 and "and runs" in out, out + err
        assert [j["conclusion"] for j in c.forge.ended(second)] == ["success"]
        assert len(place.called("new")) == 2
        c.agent.stop()


def test_an_agent_that_drains_for_a_new_davit_cancels_no_job_when_it_is_told_to_stop():
    with Case() as c:
        place, go = listening(c, "--drain"), c.agent.root / "go"
        sha = c.forge.push(WAITS % go)
        c.forge.begun(sha)
        p = subprocess.Popen([DAVIT, "agent", "update", "--from", str(place.new("new")), "--program", str(place.program)], env=c.agent.env, text=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert p.stdout.readline() == "the agent takes no further job, and waits for the 1 that runs\n"
        assert "takes its place" in c.agent.davit("status").stdout
        c.agent.process.send_signal(signal.SIGTERM)
        c.agent.says("Draining")
        go.touch()
        assert [j["conclusion"] for j in c.forge.ended(sha)] == ["success"]
        assert c.agent.wait() == 0
        out, err = p.communicate(timeout=120)
        assert p.returncode == 1 and "the agent ended before the new one took its place" in err, out + err
        assert "# old" in place.program.read_text()
        place.assert_nothing_beside()


def test_one_that_does_not_start_or_is_not_seen_leaves_the_old_one_running():
    with Case() as c:
        place = listening(c)
        for name, before, why in (("dies", "echo 'no luck' >&2; exit 9", "it ended with 9: no luck"),
                                  ("unseen", f"mkdir -p {c.root}/other; export DAVIT_STATE={c.root}/other", "it ended with 1"),
                                  ("crashes", "kill -SEGV $$", "it ended with 139")):
            new = place.new(name, f'[ "$1" = --version ] || {{ {before}; }}')
            done = update(c, place, new)
            assert done.returncode == 1 and "does not take over" in done.stderr and why in done.stderr, done
            assert_goes_on(c, place)
        c.agent.stop()
        c.forge.calm()


def test_one_that_runs_and_is_not_heard_is_rolled_back():
    """Already while it shows itself, and behind that, when it runs in the place of the old one."""
    with Case(DAVIT_LIMIT_PERCENT="5") as c:
        place = listening(c)
        c.forge.fault("session", method="POST", times=-1, status=503)
        done = update(c, place, place.new("early"))
        c.forge.no_faults()
        assert done.returncode == 1 and "does not take over: the service did not hear it within 4 s" in done.stderr, done
        assert_goes_on(c, place)
        c.forge.fault("session", method="POST", skip=1, times=-1, status=503)
        done = update(c, place, place.new("late"))
        c.forge.no_faults()
        assert done.returncode == 1 and done.stderr == "davit: davit 1.0.0 does not take over: the service did not hear it within 3 s\n", done
        assert [line for line in place.called("late") if "--probe" not in line], "it ran"
        assert_goes_on(c, place)
        assert c.agent.state()["update"]["state"] == "failed"
        assert c.agent.stop() == 0


def test_what_is_not_the_new_davit_changes_nothing():
    with Case() as c:
        place = listening(c)
        new = place.new("new")
        sums, data = new.parent / "SHA256SUMS", new.read_bytes()
        new.write_bytes(data[:-3])
        assert "is not what its checksum says" in update(c, place, new).stderr
        sums.unlink()
        assert "--sha256 HEX" in update(c, place, new).stderr
        assert "64 digits" in update(c, place, new, "--sha256", "abc").stderr
        for text in ("#!/bin/sh\necho 'not that program'\n", "no program"):
            new.write_text(text)
            done = update(c, place, new, "--sha256", hashlib.sha256(text.encode()).hexdigest())
            assert done.returncode == 1 and f"try {new}" in done.stderr, done
        assert "is not fetched by TLS" in update(c, place, c.forge.url + "/x").stderr
        assert "--from" in c.agent.davit("update", check=False).stderr
        several = c.agent.davit("update", "--from", str(new), "--program", DAVIT, "--sha256", "0" * 64, check=False)
        assert several.returncode == 1 and "a davit of several files" in several.stderr, several
        assert place.called("new") == []
        assert_goes_on(c, place)
        c.agent.stop()


def test_a_release_is_fetched_and_without_an_agent_only_the_file_is_replaced():
    with tempfile.TemporaryDirectory(prefix="davit-releases-") as top, Case(options=["--releases", top]) as c:
        place = Place(c)
        new = place.new("new")
        data, directory = new.read_bytes(), pathlib.Path(top, REPO, "v9")
        directory.mkdir(parents=True)
        (directory / "davit-linux").write_bytes(data)
        url = f"{c.forge.url}/{REPO}/releases/download/v9/davit-linux"
        done = update(c, place, url, "--sha256", hashlib.sha256(data).hexdigest())
        assert (done.returncode, done.stdout) == (0, f"{place.program} is davit 1.0.0; no agent runs\n"), done
        assert "# new" in place.program.read_text()
        lost = update(c, place, url + "-none", "--sha256", "0" * 64)
        assert lost.returncode == 1 and "the answer is 404" in lost.stderr, lost


def test_who_asks_may_think_better_of_it_while_a_job_runs():
    with Case() as c:
        place, go = listening(c), c.agent.root / "go"
        sha = c.forge.push(WAITS % go)
        c.forge.begun(sha)
        p = subprocess.Popen([DAVIT, "agent", "update", "--from", str(place.new("new")), "--program", str(place.program)], env=c.agent.env, text=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert "waits for the 1" in p.stdout.readline()
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        assert p.returncode == 1 and "cancelled" in err, out + err
        place.assert_nothing_beside()
        go.touch()
        assert [j["conclusion"] for j in c.forge.ended(sha)] == ["success"]
        assert_goes_on(c, place)
        assert place.called("new") == []
        assert pathlib.Path(f"/proc/{c.agent.process.pid}").exists()
        c.agent.stop()


if __name__ == "__main__":
    run(__name__)
