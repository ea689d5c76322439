"""The agent against the forge: both are real programs, on a free port, in a temporary folder."""
import atexit
import contextlib
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from servers import forge  # noqa: E402

BUILD = pathlib.Path(os.environ.get("DAVIT_BUILD", "build/dev"))


def programs_for_everybody(folder):
    """The programs where every user may execute them: a checkout below a closed home folder does not let other users in."""
    folder = folder.resolve()
    if not folder.is_dir() or os.geteuid() != 0 or all(p.stat().st_mode & 0o001 for p in (folder, *folder.parents)):
        return folder
    copy = pathlib.Path(tempfile.mkdtemp(prefix="davit-programs-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy.chmod(0o755)
    for name in ("davit", "davit-agent", "davit-step", "davit-forge"):
        shutil.copy(folder / name, copy / name)
    return copy


DAVIT = os.environ.get("DAVIT_PROGRAM") or str(programs_for_everybody(BUILD / "bin") / "davit")
DEADLINE = float(os.environ.get("DAVIT_TEST_DEADLINE", "60"))

HELLO = """on: push
jobs:
  build:
    runs-on: self-hosted
    steps:
      - run: echo hello
"""


def until(what, condition, seconds=DEADLINE):
    """The first true value of condition; asks again every few milliseconds."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def rss_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))


def own_kib(pid):
    """Without the pages of programs and libraries, of which an agent that rests gives a megabyte back and the next call takes it again."""
    return int(re.search(r"RssAnon:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))


def settled_kib(pid, look=rss_kib):
    """The memory once it is the same for two seconds: the agent gives back what its start, or a job, has left."""
    last, since = look(pid), time.monotonic()

    def same():
        nonlocal last, since
        now = look(pid)
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > 2
    until("the memory settles", same)
    return last


class Forge(forge.Forge):
    """The forge with what the agent's tests ask often."""

    def push(self, workflow=HELLO, name="acme/widgets", files=None):
        """One commit more on main; returns its id."""
        return self.repo(name).push({".github/workflows/ci.yml": workflow, **(files or {})})

    def jobs(self, sha):
        return [job for run in self.runs(sha=sha) for job in run["jobs"]]

    def ended(self, sha, seconds=DEADLINE):
        """The jobs of that commit once all are completed."""
        def done():
            runs = self.runs(logs=False, sha=sha)
            jobs = [job for run in runs for job in run["jobs"]]
            return runs if jobs and all(j["status"] == "completed" for j in jobs) else None
        runs = self.wait(f"the end of the jobs of {sha[:7]}", done, seconds)
        return [job for run in runs for job in self.run(run["id"])["jobs"]]

    def begun(self, sha, seconds=DEADLINE):
        return self.wait(f"a running job of {sha[:7]}",
                         lambda: [j for j in self.jobs(sha) if j["status"] == "in_progress"], seconds)[0]

    def run_of(self, sha):
        return next(run for run in self.runs(logs=False) if run["sha"] == sha)

    def calm(self):
        """Nothing that GitHub would not have understood has arrived."""
        complaints = self.complaints()
        assert complaints == [], json.dumps(complaints, indent=1)

    def fault(self, path, **what):
        self.faults(path=path, **what)

    def seen(self, part, method=None):
        return [r for r in self.requests(part) if method in (None, r["method"])]

    def runner(self, name="box"):
        return next((r for r in self.runners() if r["name"] == name), None)


class Agent:
    """One agent with a state folder of its own."""

    def __init__(self, root, name="box", user=None, **environment):
        self.root = pathlib.Path(root) / f"agent-{name}"
        self.root.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.env = {**os.environ, "DAVIT_STATE": str(self.root), "DAVIT_PACE_PERCENT": "1", "HOME": str(self.root), **environment}
        self.process = None
        self.identity, self.seen = {}, set()
        if user is not None:
            entry = pwd.getpwnam(user)
            self.identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            os.chown(self.root, entry.pw_uid, entry.pw_gid)
        self.output = self.root / "output.log"

    def davit(self, *words, check=True, **more):
        done = subprocess.run([DAVIT, "agent", *words], env={**self.env, **more.pop("env", {})}, capture_output=True, text=True,
                              timeout=DEADLINE, **self.identity, **more)
        if check and done.returncode != 0:
            raise AssertionError(f"agent {words[0]}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def configure(self, forge, repository="acme/widgets", *words, **more):
        return self.davit("configure", "--unattended", "--url", f"{forge.url}/{repository}", "--token",
                          forge.registration_token(repository), "--name", self.name, *words, **more)

    def start(self, *words, program=DAVIT, before=None, command="run", **environment):
        """before: called in the new process, before it executes the program."""
        self.log = open(self.output, "a")
        self.process = subprocess.Popen([program, "agent", command, *words], env={**self.env, **environment}, stdout=self.log,
                                        stderr=subprocess.STDOUT, cwd=self.root, preexec_fn=before, **self.identity)
        return self

    def text(self):
        return self.output.read_text() if self.output.exists() else ""

    def says(self, words, seconds=DEADLINE, count=1):
        def there():
            if self.text().count(words) >= count:
                return True
            if self.process.poll() is not None and self.text().count(words) < count:
                raise AssertionError(f"the agent ended (status {self.process.returncode}) before it said '{words}':\n{self.text()}")
            return False
        until(f"the agent says '{words}'", there, seconds)

    def listening(self, count=1):
        self.says("Listening for Jobs", count=count)
        return self

    def wait(self, seconds=DEADLINE):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the agent did not end:\n{self.text()}") from None
        finally:
            self.log.close()

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.wait()

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.workers()
            self.process.kill()
            self.process.wait()
        if self.process is not None:
            self.log.close()

    def is_its_worker(self, entry):
        """Of a worker whose environment is closed to us: by its parent, as long as that lives; later it is remembered."""
        parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        if self.process is not None and parent == self.process.pid:
            self.seen.add(entry.name)
        return entry.name in self.seen

    @staticmethod
    def is_its_child(entry):
        """True for what a worker has begun, which has the worker's words until it runs its own program."""
        parent = re.search(r"PPid:\s+(\d+)", (entry / "status").read_text()).group(1)
        return b"worker" in (entry.parent / parent / "cmdline").read_bytes().split(b"\0")[1:3]

    def workers(self):
        """Pids of the agent's worker processes; one of another user has its state below the agent's."""
        found = []
        root = str(self.root).encode()
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"worker" not in words[1:3] or self.is_its_child(entry):
                    continue
                try:
                    environ = (entry / "environ").read_bytes().split(b"\0")
                except PermissionError:
                    environ = [b"DAVIT_STATE=" + root] if self.is_its_worker(entry) else []
            except OSError:
                continue
            state = [v[len(b"DAVIT_STATE=") :] for v in environ if v.startswith(b"DAVIT_STATE=")]
            if b"worker" in words[1:3] and any(s == root or s.startswith(root + b"/users/") for s in state):
                found.append(int(entry.name))
        return found

    def state(self):
        return json.loads(self.davit("status", "--json").stdout)


class Case:
    """with Case() as c: c.forge, c.agent; everything is ended and removed behind it."""

    def __init__(self, repositories=("acme/widgets",), options=(), tls=False, place=None, user=None, **environment):
        self.repositories, self.options, self.tls, self.environment = repositories, options, tls, environment
        self.place, self.user = place, user
        self.agents = []

    def __enter__(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="davit-agent-", dir=self.place))
        if self.user is not None:
            self.root.chmod(0o755)
        self.forge = Forge(self.repositories, self.options, tls=self.tls).start()
        if self.tls:
            self.environment["SSL_CERT_FILE"] = self.forge.ca_file
        self.agent = self.new_agent("box", **self.environment)
        return self

    def new_agent(self, name, **environment):
        agent = Agent(self.root, name, user=self.user, **environment)
        self.agents.append(agent)
        return agent

    def __exit__(self, kind, value, trace):
        for agent in self.agents:
            agent.kill()
            for pid in agent.workers():
                with contextlib.suppress(ProcessLookupError):  # it may end by itself meanwhile
                    os.kill(pid, signal.SIGKILL)
        if kind is not None:
            for agent in self.agents:
                print(f"--- agent {agent.name}\n{agent.text()[-4000:]}", file=sys.stderr)
            print(f"--- forge\n{self.forge.log()[-3000:]}", file=sys.stderr)
            print(f"--- the last run\n{json.dumps(self.forge.runs()[-1:], indent=1)[-6000:]}", file=sys.stderr)
        self.forge.__exit__()
        shutil.rmtree(self.root, ignore_errors=True)
        return False


def run(module):
    """Runs every test_ function (or those named on the command line); a name is a sentence."""
    wanted = [w for w in sys.argv[1:] if not w.startswith("-")]
    failed = 0
    for name, function in list(vars(sys.modules[module]).items()):
        if not name.startswith("test_") or (wanted and not any(w in name for w in wanted)):
            continue
        start = time.monotonic()
        try:
            function()
            print(f"ok {name[5:].replace('_', ' ')} ({time.monotonic() - start:.1f} s)", flush=True)
        except Exception:
            failed += 1
            traceback.print_exc()
            print(f"FAILED {name[5:].replace('_', ' ')}", flush=True)
    sys.exit(1 if failed else 0)
