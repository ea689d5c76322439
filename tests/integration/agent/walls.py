#!/usr/bin/env python3
"""Attacks of jobs on what is not theirs: root's folder, root's terminal, the jobs of another repository. Each is done for real."""
import ctypes
import json
import os
import pathlib
import pwd
import select
import shutil
import signal
import subprocess
import time

from harness import DAVIT, Case, Agent, run, until

ROOT = os.geteuid() == 0


def needs_root():
    if not ROOT:
        print("skipped: only root can give work to another user")
    return not ROOT


def job(script, env=""):
    """A workflow of one job with one step."""
    lines = "\n".join("          " + line for line in script.strip("\n").split("\n"))
    return f"on: push\njobs:\n  build:\n    runs-on: self-hosted\n    steps:\n      - name: step\n{env}        run: |\n{lines}\n"


def log_of(one, step="step"):
    return next(s["log"] for s in one["steps"] if s["name"] == step)


def said(one):
    """What the step printed, without the time stamps and without the script above it."""
    return "\n".join(line[29:] for line in log_of(one).split("##[endgroup]", 1)[1].split("\n"))


# ---- root's folder ----

def test_a_job_cannot_exchange_the_folder_of_a_root_agent_that_has_a_state_folder():
    if needs_root():
        return
    with Case() as c:
        c.root.chmod(0o755)
        c.agent.configure(c.forge, "acme/widgets", "--worker-user", "nobody")
        sha = c.forge.push(job(f"""
mv {c.agent.root}/agent {c.agent.root}/other && echo moved || echo stays
mkdir {c.agent.root}/new && echo made || echo closed
echo "state $DAVIT_STATE"; touch "$DAVIT_STATE/mine" && echo "has its own"
"""))
        c.agent.start()
        (one,) = c.forge.ended(sha)
        text = said(one)
        for words in ("stays", "closed", f"state {c.agent.root}/users/nobody", "has its own"):
            assert words in text, text
        assert c.agent.root.stat().st_uid == 0 and (c.agent.root / "agent").stat().st_uid == 0
        state = (c.agent.root / "users" / "nobody").stat()
        assert state.st_uid == pwd.getpwnam("nobody").pw_uid and state.st_mode & 0o777 == 0o700
        assert c.agent.stop() == 0


def test_root_trusts_no_folder_below_one_that_another_user_can_change():
    if needs_root():
        return
    nobody = pwd.getpwnam("nobody")

    def refused(c, *words):
        for command in (["run", "--once"], ["status"], ["configure", "--unattended", "--url", f"{c.forge.url}/acme/widgets", "--token", "x"]):
            done = c.agent.davit(*command, check=False)
            assert done.returncode == 1, (command, done)
            lines = done.stderr.splitlines()
            assert len(lines) == 2 and all(w in lines[0] for w in words) and "DAVIT_STATE" in lines[1], done
    with Case() as c:
        c.agent.configure(c.forge)
        os.chown(c.agent.root, nobody.pw_uid, nobody.pw_gid)
        refused(c, str(c.agent.root), "belongs to nobody")
        os.chown(c.agent.root, 0, 0)
        above = c.agent.root.parent
        os.chown(above, nobody.pw_uid, nobody.pw_gid)
        refused(c, str(above), "belongs to nobody")
        os.chown(above, 0, 0)
        for mode in (0o777, 0o775):
            above.chmod(mode)
            refused(c, str(above), "writable by others")
        above.chmod(0o1777)
        c.agent.davit("status")
        # A link of that user in a folder like /tmp leads wherever he wants.
        link = above / "link"
        link.symlink_to(c.agent.root)
        c.agent.env["DAVIT_STATE"] = str(link)
        c.agent.davit("status")
        os.chown(link, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
        refused(c, str(link), "belongs to nobody")
        # A link of root's through such a folder.
        theirs = above / "theirs"
        theirs.mkdir()
        (theirs / "onward").symlink_to(c.agent.root)
        os.chown(theirs, nobody.pw_uid, nobody.pw_gid)
        far = above / "far"
        far.symlink_to("theirs/onward")
        c.agent.env["DAVIT_STATE"] = str(far)
        refused(c, str(theirs), "belongs to nobody")


def test_a_registration_names_the_worker_user_only_in_root_s_own_folder():
    """The attack itself: the folder is exchanged for one in which the next job would run as root."""
    if needs_root():
        return
    with Case() as c:
        c.root.chmod(0o755)
        c.agent.configure(c.forge, "acme/widgets", "--worker-user", "nobody")
        c.agent.start().listening()
        (one,) = c.forge.ended(c.forge.push(job(f"""
cd {c.agent.root}
mv agent away || exit 0
mkdir -p agent; cp -r away/registrations agent/ ; sed -i /worker_user/d agent/registrations/*/registration.json
""")))
        assert c.agent.stop() == 0
        c.agent.start().listening(2)
        (two,) = c.forge.ended(c.forge.push(job("echo user $(id -un)")))
        assert "user nobody" in said(two), said(two)


# ---- root's terminal ----

TYPES = r"""
import fcntl, os, termios
def into(path):
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError as error:
        return f"not opened ({error.strerror})"
    try:
        for c in b"touch PROOF\n":
            fcntl.ioctl(fd, termios.TIOCSTI, bytes([c]))
        return "TYPED"
    except OSError as error:
        return f"not typed ({error.strerror})"
print("tty:", into("/dev/tty"), flush=True)
os.setsid() if os.getpgrp() != os.getpid() else None
for name in sorted(os.listdir("/dev/pts")):
    print("pts:", into("/dev/pts/" + name), flush=True)
"""


def on_a_terminal(words, env, user=None):
    """The program as the leader of a session on a terminal of its own: (pid, the terminal's other side)."""
    pid, master = os.forkpty()
    if pid == 0:
        try:
            if user is not None:
                entry = pwd.getpwnam(user)
                os.setgroups([])
                os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
                os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
            os.execve(words[0], words, env)
        finally:
            os._exit(127)
    return pid, master


def read_all(pid, master, seconds=60):
    """Until the program has ended; its status and what it wrote."""
    text, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        ready, _, _ = select.select([master], [], [], 0.1)
        try:
            piece = os.read(master, 65536) if ready else None
        except OSError:
            piece = b""
        if piece:
            text += piece
        if piece == b"" or piece is None and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return os.waitpid(pid, 0)[1], text.decode(errors="replace")
    os.kill(pid, signal.SIGKILL)
    raise AssertionError(f"the agent did not end:\n{text.decode(errors='replace')}")


def types_into_the_terminal(user, *words):
    with Case() as c:
        c.root.chmod(0o755)
        program = c.root / "types.py"
        program.write_text(TYPES.replace("PROOF", str(c.root / "proof")))
        c.agent.configure(c.forge, "acme/widgets", *words)
        if user is not None:
            for path in (c.agent.root, *c.agent.root.rglob("*")):
                shutil.chown(path, user)
            c.root.chmod(0o755)
        sha = c.forge.push(job(f"python3 {program}"))
        pid, master = on_a_terminal([DAVIT, "agent", "run", "--once"], c.agent.env, user)
        status, text = read_all(pid, master)
        os.close(master)
        (one,) = c.forge.ended(sha)
        assert status == 0 and one["conclusion"] == "success", (status, text, one)
        assert "TYPED" not in said(one) and "tty: not opened" in said(one), said(one)
        assert "touch" not in text, text


def test_a_job_types_nothing_into_the_terminal_of_a_root_agent():
    if not needs_root():
        types_into_the_terminal(None, "--worker-user", "nobody")


def test_a_job_types_nothing_into_the_terminal_of_its_own_user_s_agent():
    if not needs_root():
        types_into_the_terminal("nobody")


def test_a_cancel_ends_what_a_job_left_in_the_background_of_its_step():
    with Case() as c:
        c.agent.configure(c.forge)
        mark = c.root / "pids"
        sha = c.forge.push(job(f"""
sleep 611 & echo $! >> {mark}
(sleep 612 & echo $! >> {mark})
setsid sleep 613 & echo $! >> {mark}
sleep 614 & echo $! >> {mark}; touch {mark}.all
wait
"""))
        c.agent.start()
        until("all are started", pathlib.Path(f"{mark}.all").exists)
        pids = [int(line) for line in mark.read_text().split()]
        assert len(pids) == 4, pids
        c.forge.cancel("acme/widgets", c.forge.run_of(sha)["id"])
        (one,) = c.forge.ended(sha)
        assert one["conclusion"] == "cancelled", one

        def gone(pid):
            try:
                return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
            except OSError:
                return True
        until("all have ended", lambda: all(gone(p) for p in pids))
        assert c.agent.stop() == 0


# ---- names ----

def test_a_repository_may_begin_with_an_underscore_or_be_called_as_one_of_the_agent_s_folders():
    names = ["acme/_scripts", "acme/_temp", "acme/_tool", "acme/_actions", "acme/_r"]
    with Case(names) as c:
        for name in names:
            c.agent.configure(c.forge, name)
        c.agent.start().listening(len(names))
        for name in names:
            for turn in ("first", "second"):
                sha = c.forge.push(job("""
echo "at ${GITHUB_WORKSPACE##*/}"; cat kept 2>/dev/null || echo nothing kept
echo text > kept; echo temp > "$RUNNER_TEMP/x"; [ "$RUNNER_TEMP" != "$RUNNER_WORKSPACE" ] && echo apart
"""), name=name, files={"turn": f"{name} {turn}"})
                (one,) = c.forge.ended(sha)
                text = said(one)
                assert one["conclusion"] == "success" and f"at {name[5:]}" in text and "apart" in text, text
                assert ("nothing kept" in text) == (turn == "first") and ("text" in text) == (turn == "second"), text
        assert c.agent.stop() == 0


def test_registrations_whose_names_differ_a_little_are_kept_apart():
    repositories = ["acme/box_b", "acme_box/b", "acme/b", "acme/widgets"]
    pairs = [("acme/widgets", "build box 1"), ("acme/widgets", "build_box_1"), ("acme/widgets", "étage"), ("acme/widgets", "ètage"),
             ("acme/widgets", "a/b"), ("acme/widgets", "a:b"), ("acme/box_b", "x"), ("acme_box/b", "x"), ("acme/b", "x"),
             ("acme/widgets", "x"), ("acme/widgets", "b_x"), ("acme/b", "x-00000000")]
    with Case(repositories) as c:
        for repository, name in pairs:
            c.agent.name = name
            c.agent.configure(c.forge, repository)
        found = {(r["url"].split("/", 3)[3], r["name"]) for r in c.agent.state()["registrations"]}
        assert found == set(pairs), found
        c.agent.name = "BUILD box 1"
        done = c.agent.configure(c.forge, "ACME/widgets", check=False)
        assert done.returncode == 1 and "already configured" in done.stderr, done
        # The folder of an older release has no digest in its name.
        folder = next(p for p in (c.agent.root / "agent" / "registrations").iterdir() if "build_box_1" in p.name
                      and json.loads((p / "registration.json").read_text())["name"] == "build_box_1")
        folder.rename(folder.parent / "127.0.0.1_acme_widgets_build_box_1")
        c.agent.name = "build_box_1"
        done = c.agent.configure(c.forge, "acme/widgets", check=False)
        assert done.returncode == 1 and "already configured" in done.stderr, done
        c.agent.configure(c.forge, "acme/widgets", "--replace")
        assert len(c.agent.state()["registrations"]) == len(pairs)


# ---- two repositories, one agent ----

def test_the_status_says_which_registrations_are_not_kept_apart():
    with Case(["acme/one", "acme/two"]) as c:
        c.agent.configure(c.forge, "acme/one", "--isolation", "off")
        assert "isolation" not in c.agent.davit("status").stdout
        c.agent.configure(c.forge, "acme/two", "--isolation", "off")
        assert c.agent.davit("status").stdout.count("not apart: processes, environment and files") == 2
        for one in c.agent.state()["registrations"]:
            assert one["user_is_shared"] and not one["isolation"]["processes"] and "isolation is off" in one["isolation"]["text"], one
        done = c.agent.davit("configure", "--isolation", "some", check=False)
        assert done.returncode == 1 and "'auto', 'on' or 'off', not 'some'" in done.stderr, done


def test_the_status_knows_what_a_running_agent_was_told_beside_its_records():
    with Case(["acme/one", "acme/two"]) as c:
        for name in c.repositories:
            c.agent.configure(c.forge, name)
        options = ["--isolation", "off"] + (["--worker-user", "nobody"] if ROOT else [])
        if ROOT:
            c.root.chmod(0o755)
        c.agent.start(*options).listening(2)

        def told():
            return [("isolation is off" in (one["isolation"]["text"] or ""), one["worker_user"]) for one in c.agent.state()["registrations"]]
        assert told() == [(True, "nobody" if ROOT else None)] * 2, told()
        assert c.agent.stop() == 0
        assert told()[0][1] is None and not told()[0][0], told()


def landlock():
    """The version of Landlock in this kernel; 0: none."""
    return max(0, ctypes.CDLL(None).syscall(444, None, 0, 1))


def needs_landlock(version, what):
    if landlock() < version:
        print(f"skipped: this kernel's Landlock ({landlock() or 'none'}) keeps no {what} apart")
    return landlock() < version


def two_of_one_user(place=None, **more):
    """Two repositories whose jobs run as one user who is not root."""
    c = Case(("acme/one", "else/one"), place=place, user="nobody" if ROOT else None, **more)
    return c


VICTIM = """
echo text > secret
python3 -c 'import socket, time, sys
s = socket.socket(socket.AF_UNIX); s.bind(chr(0) + sys.argv[1]); s.listen(); open(sys.argv[2], "w").close(); s.accept()' \
  "{common}" {common}/listens &
(for name in GITHUB_WORKSPACE RUNNER_TEMP RUNNER_WORKSPACE RUNNER_TOOL_CACHE GITHUB_OUTPUT DAVIT_STATE; do echo "$name=${{!name}}"; done
echo STEP=$$; echo WORKER=$PPID; echo AGENT=$(ps -o ppid= -p $PPID | tr -d ' '); echo SOCKET={common}) > {common}/new
until [ -e {common}/listens ]; do sleep 0.05; done
mv {common}/new {common}/facts
until [ -e {common}/over ]; do sleep 0.05; done
echo "still $(cat secret) $(ls "$RUNNER_TEMP" >/dev/null && echo there)"
"""
ATTACKS = r"""
import ctypes, socket
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def traces(pid):
    PTRACE_ATTACH, PTRACE_DETACH = 16, 17
    if libc.ptrace(PTRACE_ATTACH, pid, None, None) != 0:
        raise OSError(ctypes.get_errno(), "not traced")
    os.waitpid(pid, 0)
    libc.ptrace(PTRACE_DETACH, pid, None, None)


for who in ("STEP", "WORKER", "AGENT"):
    reached(f"{who} by a trace", lambda: traces(int(facts[who])))
reached("AGENT by a signal", lambda: os.kill(int(facts["AGENT"]), 0))
reached("AGENT environ", lambda: open(f"/proc/{facts['AGENT']}/environ", "rb").read(1))
reached("the socket", lambda: socket.socket(socket.AF_UNIX).connect(chr(0) + facts["SOCKET"]))
"""


def attack(c, files_are_apart=True):
    """A job of one repository does all it can to a job of the other; what it reached, and what it did not."""
    common = c.root / "common"
    common.mkdir()
    common.chmod(0o1777)
    program = c.root / "looks.py"
    program.write_text(LOOKS + ATTACKS)
    c.agent.start("--slots", "2").listening(2)
    long = c.forge.push(job(VICTIM.format(common=common), env="        env:\n          WALL_SECRET: hidden\n"), name="acme/one")
    until("the long job began", (common / "facts").exists)
    (second,) = c.forge.ended(c.forge.push(job(f"id -un; python3 {program} {common}/facts"), name="else/one"))
    (common / "over").touch()
    (first,) = c.forge.ended(long)
    assert first["conclusion"] == second["conclusion"] == "success", (first, second)
    assert not files_are_apart or "still text there" in said(first), said(first)
    lines = said(second).split("\n")
    head = next(line for line in log_of(second, "Set up job").split("\n") if "Isolation: " in line)
    return [x[8:] for x in lines if x.startswith("REACHED ")], [x[7:] for x in lines if x.startswith("closed ")], head


def test_jobs_of_two_repositories_and_one_user_reach_nothing_of_each_other():
    if needs_root() or needs_landlock(6, "files and signals"):
        return
    with two_of_one_user(place="/var/lib") as c:
        home = c.root / "home"
        home.mkdir()
        os.chown(home, c.agent.identity["user"], c.agent.identity["group"])
        c.agent.env["HOME"] = str(home)
        for name in c.repositories:
            c.agent.configure(c.forge, name)
        status = c.agent.davit("status").stdout
        assert status.count("kept apart from jobs of other repositories: memory and environment, signals, files\n") == 2, status
        reached, closed, head = attack(c)
        assert reached == [] and len(closed) == 37, (reached, closed)
        assert "memory and environment, signals, files" in head, head
        assert c.agent.stop() == 0


def test_where_walls_around_files_would_cost_too_much_processes_are_kept_apart_and_it_is_said():
    if needs_landlock(2, "processes"):
        return
    with two_of_one_user() as c:
        for name in c.repositories:
            c.agent.configure(c.forge, name)
        status = c.agent.davit("status").stdout
        assert status.count("memory and environment") == 2 and status.count("not apart: files (the home directory lies in ") == 2, status
        reached, closed, head = attack(c, files_are_apart=False)
        for who in ("STEP", "WORKER", "AGENT"):
            assert f"{who} environ" in closed and f"{who} by a trace" in closed, (who, reached, closed)
        assert not any("the secret in" in line for line in reached), reached
        if landlock() >= 6:
            for what in ("STEP by a signal", "WORKER by a signal", "AGENT by a signal", "the socket"):
                assert what in closed, (what, reached)
        assert "not apart: files" in head, head
        assert c.agent.stop() == 0


def test_isolation_that_is_asked_for_closes_files_whatever_it_costs():
    if needs_landlock(6, "files and signals"):
        return
    with two_of_one_user() as c:
        for name in c.repositories:
            c.agent.configure(c.forge, name, "--isolation", "on")
        reached, closed, _ = attack(c)
        assert reached == [] and len(closed) == 37, (reached, closed)
        assert c.agent.stop() == 0


TOOLS = """on: push
jobs:
  build:
    runs-on: self-hosted
    steps:
      - name: one
        run: |
          sleep 600 & echo $! > sleeper
          git config --global user.email a@b; git config --global user.name a
          git init -q tree; cd tree; echo x > f; git add f; git commit -qm x; git log --oneline
          d=$(mktemp -d); echo y > $d/y; mv $d/y .; cat y; cat <<< here; ls "$HOME" >/dev/null
          echo "A=1" >> "$GITHUB_ENV"; echo "o=2" >> "$GITHUB_OUTPUT"
      - name: two
        run: kill $(cat sleeper) && echo "ended $A"
      - name: deploy
        uses: davit-deploy/davit/actions/run@v1
        with:
          deployment: "{name: one, environment: test}"
          targets: "{web: {local: {}}}"
          command: sh PROBE
          undo: none
"""


def test_tools_and_deployments_of_this_machine_work_behind_the_walls_and_stay_there():
    if needs_root() or needs_landlock(6, "files and signals"):
        return
    with two_of_one_user(place="/var/lib") as c:
        home = c.root / "home"
        home.mkdir()
        os.chown(home, c.agent.identity["user"], c.agent.identity["group"])
        c.agent.env["HOME"] = str(home)
        for name in c.repositories:
            c.agent.configure(c.forge, name)
        c.agent.start().listening(2)
        probe = c.root / "probe"
        probe.write_text(f"""
id -un
cat /proc/{c.agent.process.pid}/environ >/dev/null && echo REACHED environment
ls {c.agent.root} && echo REACHED state
cat {c.agent.root}/agent/registrations/*/key.pem && echo REACHED key
echo over
""")
        (one,) = c.forge.ended(c.forge.push(TOOLS.replace("PROBE", str(probe)), name="acme/one"))
        assert one["conclusion"] == "success", one
        assert "ended 1" in log_of(one, "two"), one
        text = log_of(one, "deploy")
        assert "REACHED" not in text and "over" in text, text
        assert c.agent.stop() == 0
        shown = subprocess.run([DAVIT, "history"], env=c.agent.env, capture_output=True, text=True, timeout=60, **c.agent.identity)
        assert shown.returncode == 0 and "committed" in shown.stdout, shown


def test_an_agent_and_its_workers_are_closed_to_other_processes_of_their_user():
    with Case(user="nobody" if ROOT else None) as c:
        c.agent.configure(c.forge)
        c.agent.start().listening()
        (one,) = c.forge.ended(c.forge.push(job("""
for pid in $PPID $(ps -o ppid= -p $PPID); do
  for part in environ maps mem fd/0; do
    if head -c1 /proc/$pid/$part >/dev/null 2>&1; then echo "REACHED $pid $part"; else echo closed; fi
  done
done
""")))
        assert "REACHED" not in said(one) and said(one).count("closed") == 8, said(one)
        assert c.agent.stop() == 0


def test_the_end_of_one_repository_s_job_leaves_the_files_of_another_s_alone():
    with Case(("acme/one", "else/one")) as c:
        flag = c.root / "flag"
        for name in c.repositories:
            c.agent.configure(c.forge, name)
        c.agent.start("--slots", "2").listening(2)
        long = c.forge.push(job(f"""
echo mine > "$RUNNER_TEMP/mine"; echo mine > kept; echo mine > "$RUNNER_TOOL_CACHE/t" 2>/dev/null || true
touch {flag}.begun; until [ -e {flag} ]; do sleep 0.05; done
echo "kept $(cat "$RUNNER_TEMP/mine") $(cat kept)"; echo "places $RUNNER_TEMP $RUNNER_TOOL_CACHE $GITHUB_WORKSPACE"
"""), name="acme/one")
        until("the long job began", pathlib.Path(f"{flag}.begun").exists)
        short = c.forge.push(job('echo "places $RUNNER_TEMP $RUNNER_TOOL_CACHE $GITHUB_WORKSPACE"; rm -rf "$GITHUB_WORKSPACE"/*'), name="else/one")
        (second,) = c.forge.ended(short)
        flag.touch()
        (first,) = c.forge.ended(long)
        assert first["conclusion"] == second["conclusion"] == "success", (first, second)
        assert "kept mine mine" in said(first), said(first)

        def places(one):
            return next(line for line in said(one).split("\n") if line.startswith("places ")).split()[1:]
        assert not set(places(first)) & set(places(second)), (places(first), places(second))
        assert c.agent.stop() == 0


LOOKS = r"""
import os, pathlib, subprocess, sys
facts = dict(line.split("=", 1) for line in open(sys.argv[1]).read().splitlines())

def reached(what, does):
    try:
        does()
        print(f"REACHED {what}", flush=True)
    except (OSError, subprocess.CalledProcessError):
        print(f"closed {what}", flush=True)


for name in ("GITHUB_WORKSPACE", "RUNNER_TEMP", "RUNNER_WORKSPACE", "RUNNER_TOOL_CACHE", "DAVIT_STATE"):
    reached(name, lambda: os.listdir(facts[name]))
    reached(name + " to write", lambda: open(facts[name] + "/mine", "w").close())
    reached(name + " to move", lambda: os.rename(facts[name], facts[name] + ".moved"))
reached("the file", lambda: open(facts["GITHUB_WORKSPACE"] + "/secret").read())
reached("the output file", lambda: open(facts["GITHUB_OUTPUT"], "a").write("x=y"))
for who in ("STEP", "WORKER"):
    for part in ("environ", "mem", "cwd/secret", "root/etc/hostname", "fd/0", "maps"):
        reached(f"{who} {part}", lambda: open(f"/proc/{facts[who]}/{part}", "rb").read(1))
    reached(f"{who} by a signal", lambda: os.kill(int(facts[who]), 0))
for folder in pathlib.Path("/proc").iterdir():
    try:
        if folder.name.isdigit() and b"WALL_SECRET=hidden" in (folder / "environ").read_bytes():
            print(f"REACHED the secret in {folder}", flush=True)
    except OSError:
        pass
"""


def test_jobs_of_registrations_with_users_of_their_own_reach_nothing_of_each_other():
    if needs_root():
        return
    with Case(("acme/one", "else/one")) as c:
        c.root.chmod(0o755)
        for name, user in zip(c.repositories, ("nobody", "daemon")):
            c.agent.configure(c.forge, name, "--worker-user", user)
        assert "not apart" not in c.agent.davit("status").stdout
        common = c.root / "common"
        common.mkdir()
        common.chmod(0o1777)
        program = c.root / "looks.py"
        program.write_text(LOOKS)
        c.agent.start("--slots", "2").listening(2)
        long = c.forge.push(job(f"""
echo text > secret; chmod 0644 secret
(for name in GITHUB_WORKSPACE RUNNER_TEMP RUNNER_WORKSPACE RUNNER_TOOL_CACHE GITHUB_OUTPUT DAVIT_STATE; do echo "$name=${{!name}}"; done
echo STEP=$$; echo WORKER=$PPID) > {common}/new; chmod 0644 {common}/new
mv {common}/new {common}/facts
until [ -e {common}/over ]; do sleep 0.05; done
echo "still $(cat secret) $(ls "$RUNNER_TEMP" >/dev/null && echo there)"
""", env="        env:\n          WALL_SECRET: hidden\n"), name="acme/one")
        until("the long job began", (common / "facts").exists)
        (second,) = c.forge.ended(c.forge.push(job(f"id -un; python3 {program} {common}/facts"), name="else/one"))
        (common / "over").touch()
        (first,) = c.forge.ended(long)
        text = said(second)
        assert second["conclusion"] == "success" and "daemon" in text, second
        assert "REACHED" not in text and text.count("closed ") == 31, text
        assert "still text there" in said(first), said(first)
        assert c.agent.stop() == 0


if __name__ == "__main__":
    run(__name__)
