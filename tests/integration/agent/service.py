#!/usr/bin/env python3
"""`davit agent install` on a machine with a systemd of its own as process 1 (tests/servers/systemd_root.py): the service runs jobs, is watched, and
goes again without a trace."""
import hashlib
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from servers import host_root, systemd_root  # noqa: E402

if __name__ == "__main__":
    systemd_root.enter()

import harness  # noqa: E402
from harness import Forge, run, until  # noqa: E402

UNIT, BIN = "/etc/systemd/system/davit-agent.service", pathlib.Path("/usr/local/bin")
STATE = ("/var/lib/davit-agent", "/var/lib/davit")
LOOKS = """on: push
jobs:
  build:
    runs-on: self-hosted
    steps:
      - run: |
          echo "user $(id -un) nice $(nice) oom $(cat /proc/self/oom_score_adj) new $(grep -o 'NoNewPrivs:.*' /proc/self/status | tr -d '\\t')"
          echo "socket [${NOTIFY_SOCKET-}] watchdog [${WATCHDOG_USEC-}]"
          touch /usr/mine 2>/dev/null && echo "wrote /usr" || echo "cannot write /usr"
          touch "$HOME/mine" && echo "wrote home"
          touch /srv/shop/mine && echo "wrote what was named"
          ls /var/lib/davit-agent 2>/dev/null && echo "read keys" || echo "cannot read keys"
"""


def sh(*words, check=True):
    return subprocess.run(words, capture_output=True, text=True, check=check)


def davit(*words, check=True):
    done = sh(str(BIN / "davit"), "agent", *words, check=False)
    assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def shown(name):
    return sh("systemctl", "show", "-p", name, "--value", "davit-agent.service").stdout.strip()


def journal():
    lines = sh("journalctl", "--no-pager", "-o", "json", "-u", "davit-agent").stdout.splitlines()
    return [(line.get("PRIORITY"), line.get("MESSAGE")) for line in map(json.loads, lines)]


class Machine:
    """with Machine() as m: a forge, and davit where people install it; the service is gone behind it."""

    def __enter__(self):
        for program in ("davit", "davit-agent", "davit-step", "davit-forge"):
            if not (BIN / program).exists():
                shutil.copy(harness.BUILD / "bin" / program, BIN / program)
        for name in STATE:
            os.makedirs(name, exist_ok=True)
            # What this machine itself keeps there stays out of it.
            if not os.path.ismount(name):
                sh("mount", "-t", "tmpfs", "-o", "mode=0700", "none", name)
        os.environ["DAVIT_PACE_PERCENT"] = "1"
        pathlib.Path("/srv/shop").mkdir(parents=True, exist_ok=True)
        self.forge = Forge(("acme/widgets",)).start()
        return self

    def configure(self):
        davit("configure", "--unattended", "--replace", "--url", f"{self.forge.url}/acme/widgets", "--token", self.forge.registration_token("acme/widgets"), "--name", "box")

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print("\n".join(f"{p} {m}" for p, m in journal()[-60:]), file=sys.stderr)
        sh("systemctl", "kill", "-s", "KILL", "davit-agent.service", check=False)
        sh(str(BIN / "davit"), "agent", "uninstall", check=False)
        sh("systemctl", "reset-failed", check=False)
        shutil.rmtree("/etc/systemd/system/davit-agent.service.d", ignore_errors=True)
        sh("find", *STATE, "/srv/shop", "-mindepth", "1", "-delete", check=False)
        self.forge.__exit__()


def test_an_installed_agent_runs_jobs_as_its_own_user_behind_walls_and_a_second_run_changes_nothing():
    with Machine() as m:
        verified = sh("sh", "-c", f"{BIN}/davit agent install --print >/tmp/davit-agent.service && systemd-analyze verify --man=no /tmp/davit-agent.service")
        assert verified.stdout + verified.stderr == "", verified
        done = davit("install", "--write", "/srv/shop")
        assert "made the user davit" in done.stdout and "no registration yet" in done.stdout, done.stdout
        os.chown("/srv/shop", pwd.getpwnam("davit").pw_uid, -1)
        assert shown("ActiveState") == "inactive" and shown("UnitFileState") == "enabled"
        m.configure()
        assert "the agent runs" in davit("install", "--write", "/srv/shop").stdout
        assert shown("ActiveState") == "active"
        before, pid = os.stat(UNIT).st_mtime_ns, shown("MainPID")
        assert davit("install", "--write", "/srv/shop").stdout == "nothing to change\n"
        assert (os.stat(UNIT).st_mtime_ns, shown("MainPID")) == (before, pid)
        assert "restart davit-agent" in davit("install").stdout
        assert shown("MainPID") == pid
        job, = m.forge.ended(m.forge.push(LOOKS))
        log = json.dumps(job)
        for words in ("user davit nice 0 oom 500 new NoNewPrivs:1", "socket [] watchdog []", "cannot write /usr", "wrote home", "wrote what was named", "cannot read keys"):
            assert words in log, f"{words}: {log}"
        assert os.getpriority(os.PRIO_PROCESS, int(pid)) == -5
        until("the status says what it does", lambda: shown("StatusText") == "listening for 1 of 1 registrations, 0 jobs run")


def test_a_listener_that_hangs_is_started_anew_by_the_watchdog():
    with Machine() as m:
        m.configure()
        davit("install", "--print")
        pathlib.Path("/etc/systemd/system/davit-agent.service.d").mkdir(exist_ok=True)
        pathlib.Path("/etc/systemd/system/davit-agent.service.d/test.conf").write_text("[Service]\nWatchdogSec=4s\nRestartSec=0\n[Unit]\nStartLimitIntervalSec=0\n")
        davit("install")
        pid = int(shown("MainPID"))
        os.kill(pid, signal.SIGSTOP)
        until("another process listens", lambda: shown("MainPID") not in ("0", str(pid)) and shown("ActiveState") == "active")
        assert int(shown("NRestarts")) >= 1


def one_file(path, name, before=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n# {name}\n{before}\nexec {BIN}/davit \"$@\"\n")
    path.chmod(0o755)
    (path.parent / "SHA256SUMS").write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    return str(path)


def test_another_davit_takes_over_the_service_or_the_old_one_goes_on():
    with Machine() as m:
        m.configure()
        old = one_file(pathlib.Path("/opt/davit/davit"), "old")
        pathlib.Path("/etc/systemd/system/davit-agent.service.d").mkdir(exist_ok=True)
        pathlib.Path("/etc/systemd/system/davit-agent.service.d/test.conf").write_text(
            f"[Service]\nWatchdogSec=4s\nExecStart=\nExecStart={old} agent run --worker-user davit --slots 3\n")
        davit("install")
        pid = shown("MainPID")

        def goes_on(name):
            assert f"# {name}\n" in pathlib.Path(old).read_text() and [p for p in os.listdir("/opt/davit") if ".new-" in p] == []
            assert (shown("MainPID"), shown("ActiveState"), shown("NRestarts")) == (pid, "active", "0")
            told = shown("WatchdogTimestampMonotonic")
            until("the watchdog hears it again", lambda: shown("WatchdogTimestampMonotonic") != told)
            until("it listens", lambda: shown("StatusText") == "listening for 1 of 1 registrations, 0 jobs run")
            assert [j["conclusion"] for j in m.forge.ended(m.forge.push(harness.HELLO))] == ["success"]
        dies = davit("update", "--program", old, "--from", one_file(pathlib.Path("/srv/dies/davit"), "dies", '[ "$1" = --version ] || exit 9'), check=False)
        assert dies.returncode == 1 and "it ended with 9" in dies.stderr, dies
        goes_on("old")
        assert "and runs" in davit("update", "--program", old, "--from", one_file(pathlib.Path("/srv/new/davit"), "new")).stdout
        goes_on("new")
        state = json.loads(davit("status", "--json").stdout)
        assert (state["slots"], state["update"]["state"], str(state["pid"])) == (3, "done", pid), state
        shutil.copy(harness.BUILD / "one/davit", "/usr/bin/davit-of-a-package")
        refused = sh("/usr/bin/davit-of-a-package", "agent", "update", "--from", "/srv/new/davit", check=False)
        os.unlink("/usr/bin/davit-of-a-package")
        assert refused.returncode == 1 and "lies where packages are" in refused.stderr, refused
        levels = {level for level, text in journal() if "does not take over" in text}
        assert levels == {"4"}, journal()
        assert [text for _, text in journal() if "Z: " not in text[:24]] == [], journal()


def test_lines_of_the_journal_have_their_level_and_time():
    with Machine() as m:
        m.configure()
        pathlib.Path("/etc/systemd/system/davit-agent.service.d").mkdir(exist_ok=True)
        pathlib.Path("/etc/systemd/system/davit-agent.service.d/test.conf").write_text("[Service]\nExecStart=\nExecStart=/usr/local/bin/davit agent run --worker-user nobody-of-that-name\n")
        done = davit("install", check=False)
        assert done.returncode == 1 and "journalctl -u davit-agent" in done.stderr, done
        until("the journal has it", lambda: any("there is no user 'nobody-of-that-name'" in (text or "") for _, text in journal()))
        level, text = next(line for line in journal() if "there is no user" in (line[1] or ""))
        assert level == "3" and text[10] == " " and text[19:22] == "Z: ", (level, text)
        assert shown("NRestarts") == "0"


def test_an_uninstalled_agent_leaves_registrations_and_no_unit():
    with Machine() as m:
        m.configure()
        davit("install")
        assert davit("uninstall").stdout.startswith(f"removed {UNIT}")
        assert not os.path.lexists(UNIT) and not os.path.lexists("/etc/systemd/system/multi-user.target.wants/davit-agent.service")
        assert shown("LoadState") == "not-found"
        assert json.loads(davit("status", "--json").stdout)["registrations"][0]["name"] == "box"
        assert davit("uninstall").stdout == "nothing to change\n"


def test_the_hook_of_an_official_runner_decides_what_a_job_before_left():
    place = pathlib.Path("/srv/runner")
    with Machine():
        done = davit("install", "--hook", "/srv", check=False)
        assert done.returncode == 1 and "is not the directory of a configured runner" in done.stderr, done
        place.mkdir()
        (place / ".runner").write_text("{}")
        (place / ".env").write_text("LANG=C.UTF-8")
        os.chown(place, 4711, 4712)
        done = davit("install", "--hook", str(place), check=False)
        assert done.returncode == 0 and "from its next start on" in done.stdout, done
        script = place / "davit-job-started.sh"
        assert (place / ".env").read_text() == f"LANG=C.UTF-8\nACTIONS_RUNNER_HOOK_JOB_STARTED={script}\n"
        assert [(os.stat(p).st_uid, os.stat(p).st_gid) for p in (script, place / ".env")] == [(4711, 4712)] * 2
        said = sh(str(script))
        assert "nothing is left undecided" in said.stdout + said.stderr, said
        assert davit("install", "--hook", str(place)).stdout == "nothing to change\n"
        assert davit("uninstall", "--hook", str(place)).stdout == "removed the hook\n"
        assert (place / ".env").read_text() == "LANG=C.UTF-8\n" and not script.exists()
        assert davit("uninstall", "--hook", str(place)).stdout == "nothing to change\n"
        (place / ".env").write_text("ACTIONS_RUNNER_HOOK_JOB_STARTED=/srv/own.sh\n")
        done = davit("install", "--hook", str(place), check=False)
        assert done.returncode == 1 and "has a hook of its own: /srv/own.sh" in done.stderr and not script.exists(), done


def test_root_copies_no_file_of_others_for_the_user_of_a_runner():
    place = pathlib.Path("/srv/hostile")
    with Machine():
        place.mkdir()
        (place / ".runner").write_text("{}")
        secret = pathlib.Path("/srv/secret")
        secret.write_text("of somebody else")
        os.chown(secret, 4713, 4713)
        os.link(secret, place / ".env")
        os.chown(place, 4711, 4712)
        done = davit("install", "--hook", str(place), check=False)
        assert done.returncode == 1 and ".env belongs to another user than the directory" in done.stderr, done
        (place / ".env").unlink()
        (place / ".env").symlink_to(secret)
        assert davit("install", "--hook", str(place), check=False).returncode == 1
        assert secret.read_text() == "of somebody else" and os.stat(secret).st_uid == 4713


def test_a_unit_of_somebody_else_stays():
    with Machine():
        pathlib.Path(UNIT).write_text("[Service]\nExecStart=/bin/true\n")
        for part in ("install", "uninstall"):
            done = davit(part, check=False)
            assert done.returncode == 1 and "not written by davit" in done.stderr, done
        assert pathlib.Path(UNIT).read_text() == "[Service]\nExecStart=/bin/true\n"
        os.unlink(UNIT)


if __name__ == "__main__":
    run(__name__)
