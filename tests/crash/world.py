"""The world of the crash tests: a source tree, two targets behind one sshd, a state folder; digests of what is there."""
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from servers.forge import Forge  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

DAVIT = os.path.join(os.environ["DAVIT_BUILD"], "bin", "davit")
FILES = 40


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)


def fast_sshd(**more):
    """bash, started by sshd, reads .bashrc when it is the outermost shell; with a level given it does not, and a login costs less."""
    return Sshd(options=["SetEnv SHLVL=9"], **more)


def until(what, condition, seconds=60):
    """The first true value of condition."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class World:
    """A source tree, two targets behind one sshd, a state folder. Everything lies in one temporary folder."""

    def __init__(self, server, folder=None):
        self.folder = folder or tempfile.mkdtemp(prefix="davit-crash-")
        self.server = server
        self.forge = None
        self.only = None        # a step's name: the deployment has no others
        self.source = os.path.join(self.folder, "source")
        self.state = os.path.join(self.folder, "state")
        self.roots = {name: os.path.join(self.folder, name) for name in ("alpha", "beta")}
        with open(server.key, encoding="ascii") as f:
            self.key = f.read()

    def close(self):
        if self.forge is not None:
            self.forge.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    def target(self, name):
        return {"ssh": {"host": "127.0.0.1", "port": self.server.port, "user": self.server.user,
                        "key": "${{ secrets.KEY }}", "host_key": self.server.host_key},
                "base": self.roots[name] + "/base"}

    def lay_source(self, version, gate="true"):
        """The version's files and its deployment file: at least 12 changes on two targets."""
        shutil.rmtree(self.source, ignore_errors=True)
        for i in range(FILES):
            changing = version if i % 4 == 0 else "same"
            write(f"{self.source}/app/part{i % 5}/file{i}.txt", f"file {i} of {changing}\n" * 20)
        write(f"{self.source}/app/VERSION", version + "\n")
        # Against the former release: most files are the same, some are changed, one is gone and one is new.
        write(f"{self.source}/app/only-{version}/file.txt", "only here\n")
        write(f"{self.source}/app/bin/run", "#!/bin/sh\n", 0o755)
        os.symlink("part0/file0.txt", f"{self.source}/app/first")
        steps = []
        for name, root in self.roots.items():
            steps += [
                {"snapshot": {"target": name, "files": {"paths": [root + "/etc"], "keep": 2}}},
                {"apply": {"target": name, "resources": [
                    {"directory": {"path": root + "/etc", "mode": "0755"}},
                    {"directory": {"path": root + f"/etc/{version}.d", "mode": "0750"}},
                    {"file": {"path": root + "/etc/app.conf", "content": f"version = {version}\n", "mode": "0640"}},
                    {"link": {"path": root + "/etc/app.link", "to": f"app.{version}"}},
                ], "allow_destroy": [f"directory:{root}/etc/v1.d", f"directory:{root}/etc/v2.d"]}},
                {"secret-write": {"target": name, "path": root + "/secrets.env", "values": {"PASSWORD": "hunter2 of " + version},
                                  "generate": {"SESSION": "hex32"}}},
                {"archive-upload": {"target": name, "source": "app", "path": root + "/app", "keep": 3}},
                {"run": {"target": name, "command": ["sh", "-c", f"readlink {root}/app/current >/dev/null && cp {root}/app/current/VERSION {root}/running"],
                         "after_undo": ["sh", "-c", f"cp {root}/app/current/VERSION {root}/running"]}},
            ]
        gated = {"health-gate": {"deadline": "10s", "checks": [
            {"command": ["sh", "-c", f"{gate} && cmp -s {root}/running {root}/app/current/VERSION"], "target": name}
            for name, root in self.roots.items()]}}
        steps = [step for step in steps if self.only in step] if self.only else steps + [gated]
        write(f"{self.source}/deploy.yml", json.dumps({
            "name": "crash", "environment": "test", "targets": {name: self.target(name) for name in self.roots},
            "steps": steps}, indent=1))

    def davit(self, *words, state=None, env=None, check=None, timeout=120):
        variables = dict(os.environ, DAVIT_STATE=state or self.state, KEY=self.key, **(env or {}))
        p = subprocess.run([DAVIT, *words], cwd=self.source, env=variables, stdin=subprocess.DEVNULL, capture_output=True,
                           text=True, timeout=timeout, check=False)
        if check is not None and p.returncode != check:
            raise AssertionError(f"davit {' '.join(words)}: exit {p.returncode}, expected {check}\n{p.stdout}{p.stderr}")
        return p

    def start(self, *words, env=None, output=subprocess.DEVNULL):
        variables = dict(os.environ, DAVIT_STATE=self.state, KEY=self.key, **(env or {}))
        return subprocess.Popen([DAVIT, *words], cwd=self.source, env=variables, stdin=subprocess.DEVNULL, stdout=output,
                                stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def rows(self):
        """(id, state, cleaned) of every deployment in the journal, newest first; none where there is no journal."""
        path = os.path.join(self.state, "journal.db")
        if not os.path.exists(path):
            return []
        journal = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            return journal.execute("SELECT id, state, cleaned FROM deployment ORDER BY seq DESC").fetchall()
        finally:
            journal.close()

    def decided(self):
        return all(state == "refused" or (state in ("committed", "undone") and cleaned) for _, state, cleaned in self.rows())

    # ---- the agent, whose start recovers

    def enroll(self):
        """A forge, and an agent registered at it in our state folder."""
        if self.forge is None:
            self.forge = Forge(repos=["acme/widgets"]).start()
        self.davit("agent", "configure", "--unattended", "--url", self.forge.url + "/acme/widgets", "--token",
                   self.forge.registration_token("acme/widgets"), "--name", "box", "--replace", check=0)

    def run_agent_until_decided(self):
        """Its output; AssertionError where nothing is decided in time."""
        log = os.path.join(self.folder, "agent.log")
        with open(log, "w", encoding="utf-8") as output:
            agent = self.start("agent", "run", env={"DAVIT_PACE_PERCENT": "1"}, output=output)
        try:
            def there():
                if agent.poll() is not None:
                    raise AssertionError(f"the agent ended with {agent.returncode}")
                with open(log, encoding="utf-8") as f:
                    return "Listening for Jobs" in f.read() and self.decided()
            until("the journal says decided", there)
            agent.send_signal(signal.SIGINT)
            if agent.wait(60) != 0:
                raise AssertionError(f"the agent ended with {agent.returncode}")
        except (AssertionError, subprocess.TimeoutExpired) as failure:
            with open(log, encoding="utf-8") as f:
                raise AssertionError(f"{failure}\n{f.read()[-4000:]}\n{self.rows()}") from None
        finally:
            kill(agent)
        with open(log, encoding="utf-8") as f:
            return f.read()

    def deploy(self, check=0):
        return self.davit("deploy", "deploy.yml", "--secret", "KEY", check=check)

    def reset(self):
        """Version 1, deployed; what every try starts from."""
        for root in self.roots.values():
            shutil.rmtree(root, ignore_errors=True)
            os.makedirs(root)
        shutil.rmtree(self.state, ignore_errors=True)
        self.lay_source("v1")
        self.deploy()

    def save(self, name):
        for part in ("alpha", "beta", "state"):
            copy = os.path.join(self.folder, name, part)
            shutil.rmtree(copy, ignore_errors=True)
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            subprocess.run(["cp", "-a", os.path.join(self.folder, part), copy], check=True)

    def load(self, name):
        for part in ("alpha", "beta", "state"):
            shutil.rmtree(os.path.join(self.folder, part), ignore_errors=True)
            subprocess.run(["cp", "-a", os.path.join(self.folder, name, part), os.path.join(self.folder, part)], check=True)


def role_names(root):
    """Release ids by age: r1, r2, …, so that trees of different runs compare. An id has whole seconds; its manifest was written when the
    release was made."""
    folder = os.path.join(root, "app", "releases")

    def age(name):
        manifest = os.path.join(folder, f".{name}.manifest")
        return name[:15], os.lstat(manifest).st_mtime_ns if os.path.exists(manifest) else 0, name

    ids = sorted((n for n in os.listdir(folder) if not n.startswith(".")), key=age) if os.path.isdir(folder) else []
    return {name: f"r{i + 1}" for i, name in enumerate(ids)}


def tree_digest(root, leave_out=("base",)):
    """Every file's name, type, mode and content below root. Snapshots and generated secrets differ between runs and are left out by role."""
    names = role_names(root)

    def renamed(text):
        for old, new in names.items():
            text = text.replace(old, new)
        return text

    lines = []
    for folder, dirs, files in os.walk(root):
        if folder == root:
            dirs[:] = [d for d in dirs if d not in leave_out]
        for name in sorted(dirs + files):
            path = os.path.join(folder, name)
            st = os.lstat(path)
            what = renamed(os.path.relpath(path, root))
            if stat.S_ISLNK(st.st_mode):
                lines.append(f"{what} -> {renamed(os.readlink(path))}")
            elif stat.S_ISDIR(st.st_mode):
                lines.append(f"{what}/ {stat.S_IMODE(st.st_mode):o}")
            else:
                with open(path, "rb") as f:
                    content = f.read()
                if name == "secrets.env":
                    content = b"\n".join(line for line in content.split(b"\n") if not line.startswith(b"SESSION="))
                if name.endswith(".manifest"):
                    content = b""
                lines.append(f"{what} {stat.S_IMODE(st.st_mode):o} {hashlib.sha256(content).hexdigest()}")
    return "\n".join(sorted(lines))


def left_over(root, kept=("snapshots", "former")):
    """What of davit's should not be there once all is decided. kept: directories of BASE whose content stays."""
    found = []
    base = os.path.join(root, "base")
    for folder, dirs, files in os.walk(base):
        if folder == base:
            dirs[:] = [d for d in dirs if d not in kept]
        found += [os.path.join(folder, name) for name in files]
        if os.path.basename(folder) == "open":
            found += [os.path.join(folder, d) for d in dirs]
    for folder, dirs, files in os.walk(root):
        found += [os.path.join(folder, n) for n in dirs + files if n.startswith(".davit")]
    return found


def manifest_lines(path):
    with open(path, encoding="utf-8") as f:
        return sorted(line for line in f.read().split("\n")[1:] if line)


def listed(release):
    """The lines that a release's manifest should have but for git's names of the contents."""
    lines = []
    for folder, dirs, files in os.walk(release):
        for name in dirs + files:
            path = os.path.join(folder, name)
            st, what = os.lstat(path), os.path.relpath(path, release)
            if stat.S_ISLNK(st.st_mode):
                lines.append(f"l {what}\t{os.readlink(path)}")
            elif stat.S_ISDIR(st.st_mode):
                lines.append(f"d {stat.S_IMODE(st.st_mode):04o} {what}")
            else:
                with open(path, "rb") as f:
                    digest = hashlib.sha256(f.read()).hexdigest()
                lines.append(f"f {stat.S_IMODE(st.st_mode):04o} {st.st_size} {digest} - {what}")
    return sorted(lines)


def older_formers(root):
    """Contents that were replaced are kept of one deployment alone."""
    folder = os.path.join(root, "base", "former")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [os.path.join(folder, name) for name in names if len(os.listdir(os.path.join(folder, name))) > 1]


def wrong_releases(root):
    """Manifests and releases that do not say the same."""
    folder = os.path.join(root, "app", "releases")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    releases = {n for n in names if not n.startswith(".")}
    manifests = {n[1:-len(".manifest")] for n in names if n.startswith(".") and n.endswith(".manifest")}
    wrong = [f"{folder}/{n}: one without the other" for n in sorted(releases ^ manifests)]
    for name in sorted(releases & manifests):
        said, there = manifest_lines(f"{folder}/.{name}.manifest"), listed(f"{folder}/{name}")
        if said != there:
            wrong.append(f"{folder}/{name}: {sorted(set(said) ^ set(there))[:4]}")
    return wrong


def kill(process):
    """The process and all that it started, at once."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


class Failure(Exception):
    pass


def judge(world, old, new, what):
    """All targets old or all new, nothing left behind. Returns which."""
    now = {name: tree_digest(root) for name, root in world.roots.items()}
    which = "old" if now == old else "new" if now == new else None
    if which is None:
        for name in world.roots:
            mine, a, b = (set(x[name].splitlines()) for x in (now, old, new))
            print(f"--- {name}: against old\n" + "\n".join(sorted(("+" + l for l in mine - a), key=str)) + "\n"
                  + "\n".join("-" + l for l in sorted(a - mine)), file=sys.stderr)
            print(f"--- {name}: against new\n" + "\n".join("+" + l for l in sorted(mine - b)) + "\n"
                  + "\n".join("-" + l for l in sorted(b - mine)), file=sys.stderr)
        raise Failure(f"{what}: neither the old nor the new version is whole")
    left = [f for root in world.roots.values() for f in left_over(root)]
    sealed = os.path.join(world.state, "sealed")
    left += [os.path.join(sealed, name) for name in os.listdir(sealed)] if os.path.isdir(sealed) else []
    left += [f for root in world.roots.values() for f in older_formers(root)]
    if left:
        raise Failure(f"{what}: left behind: {left[:5]}")
    wrong = [w for root in world.roots.values() for w in wrong_releases(root)]
    if wrong:
        raise Failure(f"{what}: {wrong[0]}")
    return which
