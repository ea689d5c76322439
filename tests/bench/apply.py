"""Desired states on a server behind SSH: what a plan of many resources costs, and what it costs that nothing is to be done."""
import hashlib
import json
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import time

from bench import Skip, make_tree, run
from servers.sshd import SSHD, Sshd
from servers.terraform_state import StateServer


class Place:
    def __init__(self, b, server):
        self.b, self.server = b, server
        self.davit = b.program("bin/davit")
        self.etc = os.path.join(b.place, "apply-etc")
        self.www = os.path.join(b.place, "apply-www")
        self.state = os.path.join(b.place, "apply-state")
        self.base = os.path.join(b.place, "apply-base")
        self.file = os.path.join(b.place, "apply.json")
        self.ssh = ["ssh", "-p", str(server.port), "-i", server.key, "-o", "StrictHostKeyChecking=no", "-o",
                    "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        self.at = f"{server.user}@127.0.0.1"

    def clear(self):
        for path in (self.etc, self.www, self.state, self.base):
            shutil.rmtree(path, ignore_errors=True)

    def write(self, count, tree=None):
        steps = [{"apply": {"resources": [{"file": {"path": self.path(i), "content": content(i), "mode": "0640"}}
                                          for i in range(count)]}}]
        if tree:
            steps.append({"archive-upload": {"source": tree, "path": self.www}})
        with open(self.file, "w") as f:
            json.dump({"name": "bench", "environment": "test", "targets": {"web": self.server.target(base=self.base)},
                       "steps": steps}, f)

    def path(self, i):
        return f"{self.etc}/app{i // 50}/conf{i:05d}.cfg"

    def thing(self, i):
        """The same resource for davit and for ansible."""
        path = self.path(i)
        if i % 50 == 0:
            folder = os.path.dirname(path)
            return ({"directory": {"path": folder, "mode": "0755"}}, {"file": {"path": folder, "state": "directory", "mode": "0755"}})
        if i % 4 == 1:
            return ({"link": {"path": path, "to": "x"}}, {"file": {"path": path, "src": "x", "state": "link", "force": True, "follow": False}})
        if i % 4 == 2:
            return ({"lines": {"path": path, "lines": [{"line": "a = 1", "match": "^a *="}]}},
                    {"lineinfile": {"path": path, "regexp": "^a *=", "line": "a = 1", "create": True}})
        return ({"file": {"path": path, "content": content(i), "mode": "0640"}}, {"copy": {"dest": path, "content": content(i), "mode": "0640"}})

    def deploy(self, *options):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_"))}
        env["DAVIT_STATE"] = self.state
        done = subprocess.run([self.davit, "deploy", *options, self.file], env=env, stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(f"davit deploy: status {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}")
        return done.stdout.decode()


def content(i):
    return f"number {i}\n" * 20


def plan_of_many(b, p, count):
    """Nothing there, then all of it there: the worse of the two medians."""
    p.clear()
    p.write(count)
    worst = 0
    for made in (False, True):
        if made:
            p.deploy()
        times = []
        for _ in range(b.pairs + 1):
            start = time.monotonic()
            shown = p.deploy("--plan")
            times.append(time.monotonic() - start)
            if ("Nothing to change." in shown) != made:
                raise RuntimeError(f"the plan says: {shown[-300:]}")
        worst = max(worst, statistics.median(times[1:]))
    b.add(f"plan of {count} apply resources, SSH", "-", worst, 2.0, 0.5, unit="s")


def script(p, count, tree, local):
    """What a person writes: the files side by side with the server's, modes and all, and the tree by rsync."""
    for i in range(count):
        path = os.path.join(local, os.path.relpath(p.path(i), p.etc))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(content(i))
        os.chmod(path, 0o640)
    ssh = shlex.join(p.ssh)
    rsync = f"{p.b.tool('rsync')} -a -e {shlex.quote(ssh)}"
    return (f"{ssh} {p.at} mkdir -p {p.etc} {p.www}-plain && {rsync} -c {local}/ {p.at}:{p.etc}/ && "
            f"{rsync} {tree}/ {p.at}:{p.www}-plain/")


def own_cpu(command):
    """Seconds of CPU of what it starts; the server is nobody's child here."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def checked_by_ansible(b, p, count):
    """A plan of what is there already, against a dry run of the same tasks: once, since that takes about half a second a task."""
    case = f"plan of {count} resources of four kinds, SSH"
    p.clear()
    things = [p.thing(i) for i in range(count)]
    with open(p.file, "w") as f:
        json.dump({"name": "bench", "environment": "test", "targets": {"web": p.server.target(base=p.base)},
                   "steps": [{"apply": {"resources": [t[0] for t in things]}}]}, f)
    p.deploy()
    b.add(case + ", own CPU", "-", own_cpu(lambda: p.deploy("--plan")), 3.0, 1.0, unit="s")
    if not shutil.which("ansible-playbook"):
        b.skip(case + ", ansible --check", "ansible-playbook is not installed")
        return
    folder = b.folder("apply-check")
    hosts(p, folder)
    with open(os.path.join(folder, "site.yml"), "w") as f:
        json.dump([{"hosts": "web", "gather_facts": False, "tasks": [t[1] for t in things]}], f)
    dry_run = ["ansible-playbook", "--check", "-i", os.path.join(folder, "hosts"), os.path.join(folder, "site.yml")]
    start = time.monotonic()
    p.deploy("--plan")
    middle = time.monotonic()
    run(dry_run)
    b.add(case, "ansible-playbook --check", (middle - start) / (time.monotonic() - middle), 0.2, 0.05)


def rows_of_many(b, p, count):
    """The state of so many resources: what a plan without any of them in its file costs more than one without a state."""
    state = os.path.join(b.place, "apply-many-state")
    shutil.rmtree(state, ignore_errors=True)
    p.clear()
    with open(p.file, "w") as f:
        json.dump({"name": "bench", "environment": "test", "targets": {"web": {"local": {}, "base": p.base}},
                   "steps": [{"apply": {"resources": [{"link": {"path": f"{p.etc}/l{i}", "to": "x"}} for i in range(count)]}}]}, f)
    p.deploy()
    with open(p.file, "w") as f:
        json.dump({"name": "bench", "environment": "test", "targets": {"web": {"local": {}, "base": p.base}},
                   "steps": [{"apply": {"resources": []}, "id": "another"}]}, f)
    with_state = statistics.median(own_cpu(lambda: p.deploy("--plan")) for _ in range(b.pairs + 1))
    p.clear()
    without = statistics.median(own_cpu(lambda: p.deploy("--plan")) for _ in range(b.pairs + 1))
    b.add(f"state of {count} resources loaded", "-", max(with_state - without, 0), 0.1, 0.05, unit="s")


def state_of(count):
    """A document as davit writes it (docs/semantics.md 15)."""
    def canonical(value):
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    rows = {f"file:/srv/site/part{i // 100}/page{i:06d}.html": {"type": "file", "set": "site.yml", "digest": hashlib.sha256(b"%d" % i).hexdigest()}
            for i in range(count)}
    document = {"version": 1, "davit": "1.0.0", "name": "bench.test", "lineage": "0" * 32, "serial": 1, "deployment": "d", "written_ms": 1, "rows": {"web": rows}}
    return canonical({**document, "sha256": hashlib.sha256(canonical(document).encode()).hexdigest()}).encode()


def one_plan(p):
    """Its own CPU in seconds, and the most memory that it had, in MB."""
    with subprocess.Popen([p.davit, "deploy", "--plan", p.file], env={**os.environ, "DAVIT_STATE": p.state}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE) as davit:
        shown = davit.stdout.read().decode()
        _, status, used = os.wait4(davit.pid, 0)
        davit.returncode = os.waitstatus_to_exitcode(status)
    if davit.returncode != 0 or "Nothing to change." not in shown:
        raise RuntimeError(f"davit deploy --plan: status {davit.returncode}\n{shown}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def state_elsewhere(b, p, count):
    """The same state at an HTTP address: read, proven, and of no use to a plan of another set."""
    p.clear()
    with StateServer() as server:
        with open(p.file, "w") as f:
            json.dump({"name": "bench", "environment": "test", "state": "shared",
                       "targets": {"web": {"local": {}, "base": p.base}, "shared": {"http": {"address": server.url}}},
                       "steps": [{"apply": {"target": "web", "resources": []}, "id": "another"}]}, f)
        without = statistics.median(one_plan(p)[0] for _ in range(b.pairs + 1))
        server.state = state_of(count)
        plans = [one_plan(p) for _ in range(b.pairs + 1)]
    b.add(f"state of {count} resources at an HTTP address loaded", "-", max(statistics.median(t for t, _ in plans) - without, 0), 0.1, 0.05, unit="s")
    b.add(f"memory of davit with a state of {count} resources", "-", max(m for _, m in plans), 64, 32, unit="MB")


def hosts(p, folder):
    with open(os.path.join(folder, "hosts"), "w") as f:
        f.write(f"web ansible_host=127.0.0.1 ansible_port={p.server.port} ansible_user={p.server.user} "
                f"ansible_ssh_private_key_file={p.server.key} ansible_python_interpreter=/usr/bin/python3 "
                "ansible_ssh_common_args='-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null'\n")


def playbook(p, count, tree, folder):
    hosts(p, folder)
    tasks = [{"copy": {"dest": p.path(i), "content": content(i), "mode": "0640"}} for i in range(count)]
    tasks.append({"command": {"argv": [p.b.tool("rsync"), "-a", "-e", shlex.join(p.ssh), tree + "/", f"{p.at}:{p.www}-plain/"]},
                  "delegate_to": "localhost"})
    with open(os.path.join(folder, "site.yml"), "w") as f:
        json.dump([{"hosts": "web", "gather_facts": False, "tasks": tasks}], f)
    return ["ansible-playbook", "-i", os.path.join(folder, "hosts"), os.path.join(folder, "site.yml")]


def nothing_to_change(b, p, tree, count, files):
    p.clear()
    p.write(count, tree)
    p.deploy()
    folder = b.folder("apply-script")
    local = os.path.join(folder, "etc")
    os.makedirs(local)
    by_hand = script(p, count, tree, local)
    run(by_hand)
    case = f"{count} resources, a tree of {files} files, unchanged"
    b.compare(case, p.deploy, {"ssh and rsync": (by_hand, 1.0, 0.5)})
    if not shutil.which("ansible-playbook"):
        b.skip(case + ", ansible", "ansible-playbook is not installed")
        return
    pairs, b.pairs = b.pairs, 1           # a minute each
    try:
        b.compare(case, p.deploy, {"ansible-playbook": (playbook(p, count, tree, folder), 0.05, 0.02)})
    finally:
        b.pairs = pairs


def rows(b):
    if not os.path.exists(SSHD):
        raise Skip("sshd is not installed")
    resources, few, files, size = (100, 20, 300, 1_000_000) if b.quick else (1000, 100, 2000, 10_000_000)
    tree = b.folder("apply-tree")
    make_tree(tree, files, size, per_dir=4)
    with Sshd() as server:
        p = Place(b, server)
        plan_of_many(b, p, resources)
        checked_by_ansible(b, p, 40 if b.quick else resources)
        rows_of_many(b, p, 10 * resources)
        state_elsewhere(b, p, 10 * resources)
        nothing_to_change(b, p, tree, few, files)
