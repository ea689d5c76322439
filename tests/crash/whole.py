#!/usr/bin/env python3
"""One deployment with every kind of change, on real servers, killed with SIGKILL at random moments, recovered, and looked at.

    whole.py --times N --seed S     $DAVIT_RELEASE names a release build to do it to, else it is $DAVIT_BUILD
    whole.py --from I               from the I-th moment of that seed on

Files, a secret, a PostgreSQL database (kept, migrated, put back when the deployment fails), a release, a tag of a registry, a Compose
project and a gate. Each try deploys the version that is not there; half of the migrations fail, so that the way back is struck as well. Every
third recovery is killed before. Then the one version or the other must be there, in all of it, as the journal says, and nothing of davit's but
what a deployment leaves: no lock, no name, no sealed secret, no process, no container, no database, no snapshot beyond those that are kept.
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

if os.environ.get("DAVIT_RELEASE"):
    os.environ["DAVIT_BUILD"] = os.environ["DAVIT_RELEASE"]
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from world import DAVIT, Failure, kill, left_over, write  # noqa: E402
from servers import postgres  # noqa: E402
from servers.docker import Docker  # noqa: E402
from servers.registry import Registry  # noqa: E402

SKIPPED = 77
KEEP = 2
PROJECT = "davit-whole"
VERSIONS = ("a", "b")
SCHEMA = """
CREATE TABLE version (name text NOT NULL);
INSERT INTO version VALUES ('a');
CREATE TABLE sale (id int PRIMARY KEY, cents_a int NOT NULL);
INSERT INTO sale SELECT i, i * 7 FROM generate_series(1, 2000) i;
"""


def other(version):
    return VERSIONS[1 - VERSIONS.index(version)]


def migration(version):
    """To that version: what it writes is not what the other one reads."""
    return (f"UPDATE version SET name = '{version}'; ALTER TABLE sale RENAME cents_{other(version)} TO cents_{version}; "
            f"UPDATE sale SET cents_{version} = cents_{version} {'+ 1' if version == 'b' else '- 1'}")


class Whole:
    """The servers, and everything that a deployment of this host touches."""

    def __init__(self, docker, server, registry):
        self.docker, self.server, self.registry = docker, server, registry
        self.folder = tempfile.mkdtemp(prefix="davit-whole-")
        self.state, self.source, self.root = (os.path.join(self.folder, name) for name in ("state", "source", "target"))
        self.home = os.path.join(self.root, "stack")
        server.sql("postgres", "CREATE DATABASE shop")
        server.sql("shop", SCHEMA)
        self.tags = {v: registry.push_index("shop/web", v, v) for v in VERSIONS}
        for version in VERSIONS:
            docker.image(f"local/web:{version}", env={"VERSION": version})

    def close(self):
        self.docker.compose(PROJECT, "down", "-v", "--remove-orphans", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- what is deployed

    def psql(self, text):
        return [self.server.bin + "/psql", "-XAtqw", "-h", self.server.dir, "-p", str(self.server.port), "-U", "postgres", "-d", "shop",
                "-v", "ON_ERROR_STOP=1", "-1", "-c", text]

    def steps(self, version, fails):
        # Any version passes that is there in all of it, so that the gate behind an undo decides, and waits for nothing.
        gate = {"checks": [{"command": ["sh", "-c", f"cd {self.root} && test $(cat www/current/VERSION) = $(cat rows)"]},
                           {"postgres": {"query": "SELECT a.attname = 'cents_' || v.name FROM version v, pg_attribute a WHERE "
                                                  "a.attrelid = 'sale'::regclass AND a.attname LIKE 'cents_%'", "equals": "t", "database": "shop",
                                         "host": self.server.dir, "port": self.server.port, "user": "postgres"}, "target": "host"}],
                "deadline": "10s"}
        return [
            {"snapshot": {"target": "host", "postgres": self.server.source("shop", restore_on_rollback=True, keep=KEEP)}},
            {"snapshot": {"target": "host", "files": {"paths": [self.root + "/rows"], "restore_on_rollback": True, "keep": KEEP}}},
            {"apply": {"target": "host", "resources": [
                {"file": {"path": self.root + "/app.conf", "content": f"version = {version}\n", "mode": "0640"}},
                {"link": {"path": self.root + "/app.link", "to": "app." + version}}]}},
            {"secret-write": {"target": "host", "path": self.root + "/secrets.env", "values": {"PASSWORD": "hunter2 of " + version},
                              "generate": {"SESSION": "hex32"}}},
            {"archive-upload": {"target": "host", "source": "app", "path": self.root + "/www", "keep": KEEP}},
            {"run": {"target": "host", "command": self.psql(migration(version)), "undo": "none"}},
            {"run": {"target": "host", "script": f"echo {version} > {self.root}/rows", "undo": "none"}},
            {"promote": {"target": "images", "from": "shop/web:" + version, "to": "shop/web:live"}},
            {"compose-up": {"target": "host", "project": PROJECT, "directory": self.home, "files": [f"{version}.yml"], "settle": "200ms",
                            "timeout": "60s", "keep": KEEP, "docker_host": self.docker.host, "docker_config": self.docker.config}},
            *([{"run": {"target": "host", "command": ["false"], "undo": "none"}}] if fails else []),
            {"health-gate": gate}]

    def lay(self, version, fails=False):
        write(f"{self.source}/app/VERSION", version)
        for i in range(20):
            write(f"{self.source}/app/part{i % 3}/file{i}", f"{i} of {version if i % 3 else 'both'}\n" * 20)
        write(f"{self.source}/deploy.yml", json.dumps({
            "name": "whole", "environment": "test", "steps": self.steps(version, fails),
            "targets": {"host": {"local": {}, "base": self.root + "/base"}, "images": {"registry": {"url": self.registry.url}}}}))

    def lay_stack(self):
        for version in VERSIONS:
            one = {"image": f"local/web:{version}", "command": ["sleep", "100000"], "stop_signal": "SIGKILL", "environment": {"V": version}}
            write(f"{self.home}/{version}.yml", json.dumps({"services": {"web": one, "only-" + version: one}}))

    def run(self, *words, check=None):
        p = subprocess.run([DAVIT, *words], cwd=self.source, env=self.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           timeout=300, check=False)
        if check is not None and p.returncode != check:
            raise Failure(f"davit {' '.join(words)}: exit {p.returncode}, not {check}\n{p.stdout}{p.stderr}")
        return p

    def environment(self):
        return dict(os.environ, DAVIT_STATE=self.state)

    def killed_after(self, seconds, *words):
        """True if it had ended by then."""
        process = subprocess.Popen([DAVIT, *words], cwd=self.source, env=self.environment(), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        ended = process.poll() is not None
        kill(process)
        return ended

    # ---- what is there

    def read(self, name):
        with open(os.path.join(self.root, name), encoding="utf-8") as f:
            return f.read()

    def secrets(self):
        return sorted(line for line in self.read("secrets.env").splitlines() if line)

    def containers(self):
        return sorted((name, c["Image"], c["Config"]["Labels"]["com.docker.compose.config-hash"], c["State"]["Status"])
                      for name, found in self.docker.containers(PROJECT).items() for c in found)

    def database(self):
        return self.server.sql("shop", "SELECT name FROM version; SELECT sum(hashtext(s::text)), count(*) FROM sale s; SELECT attname FROM "
                                       "pg_attribute WHERE attrelid = 'sale'::regclass AND attnum > 0 ORDER BY 1")

    def facts(self):
        release = os.path.join(self.root, "www", "current")
        files = {os.path.relpath(os.path.join(top, n), release): os.path.getsize(os.path.join(top, n))
                 for top, _, names in os.walk(os.path.realpath(release)) for n in names}
        return {"files": [self.read("app.conf"), os.readlink(self.root + "/app.link"), self.read("rows")], "secrets": self.secrets(),
                "release": [self.read("www/current/VERSION"), len(files)], "database": self.database(),
                "tag": self.registry.digest("shop/web", "live"), "containers": self.containers()}

    # ---- what should not be there

    def processes(self):
        """Those that somebody started for a deployment of ours: the folder stands in their words or variables."""
        found = []
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as words, open(f"/proc/{pid}/environ", "rb") as variables:
                    said = words.read()
                    if self.folder.encode() in said + b"\0" + variables.read():
                        found.append(f"{pid} {said[:120]!r}")
            except OSError:
                pass
        return found

    def lasting(self):
        """Processes that do not end by themselves: a question to a program, asked before anything was locked, outlives its asker for a moment."""
        end = time.monotonic() + 30
        while (found := self.processes()) and time.monotonic() < end:
            time.sleep(0.05)
        return found

    def left(self):
        found = left_over(self.root, kept=("snapshots", "compose", "passed", "former")) + self.lasting()
        sealed = os.path.join(self.state, "sealed")
        found += os.listdir(sealed) if os.path.isdir(sealed) else []
        found += [name for name in self.server.databases() if name != "shop"]
        found += [f"{name} {status}" for name, _, _, status in self.containers() if status != "running"]
        ours = {i for found in self.docker.containers(PROJECT).values() for i in (c["Id"] for c in found)}
        found += [i for i in self.docker.run("ps", "-aq", "--no-trunc").split() if i not in ours]
        for folder in ("snapshots/whole.test", "compose/" + PROJECT):
            kept = [name for name in os.listdir(os.path.join(self.root, "base", folder)) if name != "current"]
            found += sorted(kept) if len(kept) > KEEP else []
        return found

    def passed(self):
        """The deployments whose images passed their gate, as their record says."""
        with open(os.path.join(self.root, "base", "passed", "whole.test"), encoding="utf-8") as f:
            return [json.loads(line)["deployment"] for line in f]

    def rows(self):
        return json.loads(self.run("history", "--json", check=0).stdout)


def judge(world, known, was, newest, what):
    """Which version is there; the journal must say the same of what came after `newest`."""
    now = world.facts()
    which = [v for v in VERSIONS if known[v] == now]
    if not which:
        near = {v: {k: (known[v][k], now[k]) for k in now if known[v][k] != now[k]} for v in VERSIONS}
        raise Failure(f"{what}: neither version is there in all of it:\n{json.dumps(near, indent=1, default=str)[:6000]}")
    left = world.left()
    if left:
        raise Failure(f"{what}: left behind: {left[:6]}")
    rows = world.rows()
    states = [row["state"] for row in rows[:[row["id"] for row in rows].index(newest)]]
    if any(row["state"] not in ("committed", "undone", "refused") for row in rows):
        raise Failure(f"{what}: not decided: {states}")
    if ("committed" in states) != (which[0] != was):
        raise Failure(f"{what}: '{which[0]}' is there, '{was}' was, and the journal says {states}")
    passed = world.passed()
    lies = [row["id"] for row in rows if row["state"] != "committed" and row["id"] in passed]
    live = next(row["id"] for row in rows if row["state"] == "committed")
    if lies or live not in passed:
        raise Failure(f"{what}: {passed[-3:]} passed their gate; of these were not committed: {lies}; {live} was")
    return which[0]


def learn(world):
    """The facts of both versions, and how long a deployment takes."""
    world.lay_stack()
    known, times = {}, []
    world.server.sql("shop", migration("b"))
    for version in ("a", "b", "a"):
        world.lay(version)
        started = time.monotonic()
        world.run("deploy", "deploy.yml", check=0)
        times.append(time.monotonic() - started)
        if known.setdefault(version, world.facts()) != world.facts():
            raise Failure(f"the version '{version}' is not the same twice")
    if known["a"].keys() != known["b"].keys() or any(known["a"][k] == known["b"][k] for k in known["a"]):
        raise Failure(f"the two versions do not differ in all of it: {known}")
    return known, max(times[1:])


def try_once(world, known, was, dice, number, whole, seed):
    fails = dice.random() < 0.5
    moment, again = dice.uniform(0, whole * 1.6) if fails else dice.triangular(0, whole * 1.1, whole), dice.uniform(0, whole * 0.6)
    what = f"kill {number} after {moment:.3f} s of {'a deployment that fails' if fails else 'a deployment'} (seed {seed})"
    newest = world.rows()[0]["id"]
    world.lay(other(was), fails)
    ended = world.killed_after(moment, "deploy", "deploy.yml")
    if number % 3 == 2:
        world.killed_after(again, "recover")
        what += f" and a recovery killed after {again:.3f} s"
    recovered = world.run("recover")
    if recovered.returncode != 0:
        raise Failure(f"{what}: recover exits {recovered.returncode}\n{recovered.stdout}{recovered.stderr}")
    if "undone" in world.run("recover", check=0).stdout:
        raise Failure(f"{what}: a second recover finds something to do")
    which = judge(world, known, was, newest, what)
    return which, "ended" if ended else "new" if which != was else "old"


def kills(world, args):
    known, whole = learn(world)
    was, seen = "a", {"old": 0, "new": 0, "ended": 0}
    dice = random.Random(args.seed)
    for number in range(args.times):
        if number < args.first:
            for _ in range(3):
                dice.random()
            continue
        was, end = try_once(world, known, was, dice, number, whole, args.seed)
        seen[end] += 1
        if args.verbose:
            print(number, end, flush=True)
    print(f"{sum(seen.values())} kills within {whole:.1f} s: {seen['old']} old, {seen['new']} new, {seen['ended']} had ended", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--keep", action="store_true", help="the folder stays where it failed")
    args = parser.parse_args()
    why = Docker.why_not() or postgres.lacking() or (None if Registry.available() else "docker-registry is missing")
    if why:
        print(f"skipped: {why}")
        return SKIPPED
    with Docker() as docker, postgres.Postgres() as server, Registry() as registry:
        world = Whole(docker, server, registry)
        try:
            kills(world, args)
        except Failure as failure:
            print(f"FAILED: {failure}", file=sys.stderr)
            if args.keep:
                print(f"kept: {world.folder}", file=sys.stderr)
                world.folder = "/nonexistent"
            return 1
        finally:
            world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
