#!/usr/bin/env python3
"""A real deployment to two real SSH targets, killed with SIGKILL, recovered, and looked at.

    crash.py records             kill after every journal record (needs a build with DAVIT_TEST_HOOKS)
    crash.py random --times N    kill at N random moments
    crash.py … --seed S          the same moments again

After each kill `davit recover` (every fourth time with another state folder that knows nothing, from the targets alone) must end with the
old or the new version whole on both targets. Proof: a digest of the whole tree, releases named by their role; and nothing of
davit's is left but releases, their manifests and snapshots.
"""
import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from servers.sshd import Sshd  # noqa: E402

DAVIT = os.path.join(os.environ["DAVIT_BUILD"], "bin", "davit")
FILES = 40


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)


class World:
    """A source tree, two targets behind one sshd, a state folder. Everything lies in one temporary folder."""

    def __init__(self, server):
        self.folder = tempfile.mkdtemp(prefix="davit-crash-")
        self.server = server
        self.source = os.path.join(self.folder, "source")
        self.state = os.path.join(self.folder, "state")
        self.roots = {name: os.path.join(self.folder, name) for name in ("alpha", "beta")}
        with open(server.key, encoding="ascii") as f:
            self.key = f.read()

    def close(self):
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
        steps.append({"health-gate": {"deadline": "10s", "checks": [
            {"command": ["sh", "-c", f"{gate} && cmp -s {root}/running {root}/app/current/VERSION"], "target": name}
            for name, root in self.roots.items()]}})
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

    def start(self, *words, env=None):
        variables = dict(os.environ, DAVIT_STATE=self.state, KEY=self.key, **(env or {}))
        return subprocess.Popen([DAVIT, *words], cwd=self.source, env=variables, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

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
    """Release ids by age: r1, r2, …, so that trees of different runs compare."""
    folder = os.path.join(root, "app", "releases")
    ids = sorted(n for n in os.listdir(folder) if not n.startswith(".")) if os.path.isdir(folder) else []
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


def left_over(root):
    """What of davit's should not be there once all is decided."""
    found = []
    base = os.path.join(root, "base")
    for folder, dirs, files in os.walk(base):
        if folder == base:
            dirs[:] = [d for d in dirs if d != "snapshots"]
        found += [os.path.join(folder, name) for name in files]
        if os.path.basename(folder) == "open":
            found += [os.path.join(folder, d) for d in dirs]
    for folder, dirs, files in os.walk(root):
        found += [os.path.join(folder, n) for n in dirs + files if n.startswith(".davit")]
    return found


class Failure(Exception):
    pass


def judge(world, old, new, what):
    """All targets old or all new, nothing left behind, and the journal says the same. Returns which."""
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
    if left:
        raise Failure(f"{what}: left behind: {left[:5]}")
    return which


def recover(world, other_state, what):
    if other_state:
        shutil.rmtree(world.state, ignore_errors=True)
        p = world.davit("recover", "deploy.yml", "--takeover", "--after", "1s", "--secret", "KEY")
    else:
        p = world.davit("recover")
    if p.returncode != 0:
        raise Failure(f"{what}: recover exits {p.returncode}\n{p.stdout}{p.stderr}")
    again = world.davit("recover")
    if again.returncode != 0:
        raise Failure(f"{what}: a second recover exits {again.returncode}\n{again.stdout}{again.stderr}")
    return p


def kill(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def prepare(world):
    """Digests of the two whole versions, and a saved world with version 1."""
    world.reset()
    world.save("v1")
    old = {name: tree_digest(root) for name, root in world.roots.items()}
    world.lay_source("v2")
    world.deploy()
    new = {name: tree_digest(root) for name, root in world.roots.items()}
    if old == new:
        raise Failure("the two versions do not differ")
    report = json.loads(world.davit("show", "last", "--json", check=0).stdout)
    if len(report["changes"]) < 12:
        raise Failure(f"only {len(report['changes'])} changes")
    world.load("v1")
    return old, new


def at_every_record(world, args):
    old, new = prepare(world)
    seen = {"old": 0, "new": 0}
    at = 0
    while True:
        at += 1
        if (at + args.seed) % args.stride:
            continue
        world.load("v1")
        p = world.davit("deploy", "deploy.yml", "--secret", "KEY", env={"DAVIT_TEST_KILL_AT": str(at)})
        if p.returncode >= 0 and p.returncode != 137:
            break
        other = at % 4 == 0
        what = f"record {at}" + (", from the targets alone" if other else "")
        recover(world, other, what)
        seen[judge(world, old, new, what)] += 1
    if p.returncode != 0:
        raise Failure(f"the undisturbed deployment exits {p.returncode}\n{p.stdout}{p.stderr}")
    if at < 12:
        raise Failure(f"only {at} records: is this a build with DAVIT_TEST_HOOKS?")
    print(f"{at - 1} journal records, killed after {sum(seen.values())} of them: {seen['old']} old, {seen['new']} new")
    if seen["old"] == 0 or seen["new"] == 0:
        raise Failure("both outcomes should have been seen")


def at_random(world, args):
    old, new = prepare(world)
    started = time.monotonic()
    world.davit("deploy", "deploy.yml", "--secret", "KEY", check=0)
    whole = time.monotonic() - started
    seen = {"old": 0, "new": 0, "ended": 0}
    dice = random.Random(args.seed)
    for i in range(args.times):
        world.load("v1")
        moment = dice.uniform(0, whole * 1.05)
        process = world.start("deploy", "deploy.yml", "--secret", "KEY")
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            pass
        ended = process.poll() is not None
        kill(process)
        other = i % 4 == 3 and not ended
        what = f"kill {i} after {moment:.3f} s (seed {args.seed})" + (", from the targets alone" if other else "")
        recover(world, other, what)
        which = judge(world, old, new, what)
        seen["ended" if ended else which] += 1
    print(f"{args.times} kills within {whole:.2f} s: {seen['old']} old, {seen['new']} new, {seen['ended']} had ended")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("records", "random"))
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stride", type=int, default=1, help="only every n-th record")
    args = parser.parse_args()
    with Sshd() as server:
        world = World(server)
        try:
            {"records": at_every_record, "random": at_random}[args.what](world, args)
        except Failure as failure:
            print(f"FAILED: {failure}", file=sys.stderr)
            return 1
        finally:
            world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
