"""A tree of 20,000 files to a server, the first time and again with 1 % changed, both sides through the same sshd."""
import json
import os
import shutil
import subprocess

from bench import Skip, make_tree, run
from servers.sshd import SSHD, Sshd

GIT = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0", "-c", "advice.detachedHead=false"]


class Place:
    """A work area, a state folder and a server on the bench's tmpfs."""

    def __init__(self, b, server):
        self.b, self.server = b, server
        self.davit = b.program("bin/davit")
        self.www = os.path.join(b.place, "www")
        self.plain = os.path.join(b.place, "plain")
        self.target = server.target(base=os.path.join(b.place, "base"))
        self.ssh = ["ssh", "-p", str(server.port), "-i", server.key, "-o", "StrictHostKeyChecking=no", "-o",
                    "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        self.at = f"{server.user}@127.0.0.1"

    def deploy(self, source):
        path = os.path.join(self.b.place, "deploy.json")
        with open(path, "w") as f:
            json.dump({"name": "bench", "environment": "test", "targets": {"web": self.target},
                       "steps": [{"archive-upload": {"source": source, "path": self.www}}]}, f)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_"))}
        env["DAVIT_STATE"] = os.path.join(self.b.place, "state")
        done = subprocess.run([self.davit, "deploy", path], env=env, stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(f"davit deploy: status {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}")

    def clear(self):
        for path in (self.www, self.plain, os.path.join(self.b.place, "state"), os.path.join(self.b.place, "base")):
            shutil.rmtree(path, ignore_errors=True)

    def rsync(self, source, *options):
        return [self.b.tool("rsync"), "-a", *options, "-e", " ".join(self.ssh), source + "/", f"{self.at}:{self.plain}/"]

    def tar(self, source):
        ssh = " ".join(self.ssh)
        return f"tar cf - -C {source} . | {ssh} {self.at} 'mkdir -p {self.plain} && tar xf - -C {self.plain}'"


def first(b, p, tree, files, size):
    def before(variant):
        p.clear()

    b.compare(f"upload of {files} files, {size / 1e6:.0f} MB, first", lambda: p.deploy(tree), {
        "tar c | ssh tar x": (p.tar(tree), 0.90, 0.70),
        "rsync -a": (p.rsync(tree), 0.75, 0.50),
    }, before=before)


def one_file(b, p):
    """What no packer makes smaller, new on both sides: a database's dump, an image, a video."""
    size = 10_000_000 if b.quick else 300_000_000
    source = b.folder("one-file")
    with open(os.path.join(source, "big.bin"), "wb") as f:
        for _ in range(size // 1_000_000):
            f.write(os.urandom(1_000_000))

    def before(variant):
        p.clear()
        os.makedirs(p.plain)

    scp = ["scp", "-q", "-P", str(p.server.port), *p.ssh[3:], os.path.join(source, "big.bin"), f"{p.at}:{p.plain}/"]
    b.compare(f"upload of one file, {size / 1e6:.0f} MB, incompressible", lambda: p.deploy(source), {
        "scp": (scp, 0.90, 0.60),
        "rsync -a": (p.rsync(source), 0.90, 0.60),
    }, before=before)
    shutil.rmtree(source)


def times_kept(b, p, tree, files):
    """A work area that stays: only what is edited gets another time. rsync goes by size and time."""
    work = os.path.join(b.place, "kept")
    shutil.copytree(tree, work)
    names = sorted(os.path.join(folder, name) for folder, _, some in os.walk(work) for name in some)
    rounds = 0

    def before(variant):
        nonlocal rounds
        if rounds == 0:
            p.clear()
        if variant == "ours":
            rounds += 1
            p.deploy(work)
            run(p.rsync(work))
            for name in names[rounds % 100::100]:
                with open(name, "ab") as f:
                    f.write(b"changed\n")

    b.compare(f"upload of {files} files, 1 % changed, no git, times kept", lambda: p.deploy(work), {
        "rsync -a": (p.rsync(work), 0.40, 0.15),
    }, before=before)
    shutil.rmtree(work)


def two_commits(b, tree, files):
    repo = b.folder("repo")
    shutil.rmtree(repo)
    shutil.copytree(tree, repo)
    run(GIT + ["-C", repo, "init", "-q", "-b", "main"])
    run(GIT + ["-C", repo, "add", "."])
    run(GIT + ["-C", repo, "commit", "-q", "-m", "one"])
    number = 0
    for folder, folders, names in os.walk(repo):
        folders.sort()
        if ".git" in folders:
            folders.remove(".git")
        for name in sorted(names):
            number += 1
            if number % 100 == 0:
                with open(os.path.join(folder, name), "ab") as f:
                    f.write(b"changed\n")
    run(GIT + ["-C", repo, "commit", "-q", "-a", "-m", "two"])
    return repo


def again(b, p, tree, files):
    repo = two_commits(b, tree, files)
    work = os.path.join(b.place, "checkout")

    def checkout(commit):
        """As a job has it: a new directory, every time of modification is now."""
        shutil.rmtree(work, ignore_errors=True)
        run(GIT + ["clone", "-q", "--no-checkout", "--shared", repo, work])
        run(GIT + ["-C", work, "checkout", "-q", commit])

    def before(variant):
        p.clear()
        checkout("HEAD~1")
        if variant == "ours":
            p.deploy(work)
        else:
            run(p.rsync(work, "--exclude=.git"))
        checkout("main")

    b.compare(f"upload of {files} files, 1 % changed, fresh checkout", lambda: p.deploy(work), {
        "rsync -a": (p.rsync(work, "--exclude=.git"), 0.25, 0.10),
    }, before=before)


def rows(b):
    if not os.path.exists(SSHD):
        raise Skip("sshd is not installed")
    files, size = (1000, 2_500_000) if b.quick else (20000, 50_000_000)
    tree = b.folder("upload-tree")
    made = make_tree(tree, files, size, per_dir=4)
    with Sshd() as server:
        p = Place(b, server)
        first(b, p, tree, files, made)
        one_file(b, p)
        times_kept(b, p, tree, files)
        again(b, p, tree, files)
