"""A checkout over git's smart HTTP, the first time and for the next commit in the same work area; both sides from one server."""
import os
import shutil
import subprocess
import time

from bench import make_tree, run
from servers.git_http import GitHttp

GIT = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0", "-c", "advice.detachedHead=false",
       "-c", "init.defaultBranch=main", "-c", "protocol.version=2"]


def git(folder, *words):
    return subprocess.run(GIT + ["-C", folder, *words], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout.strip()


def make_repository(b, files, size, commits=20):
    """A bare repository with a history; each commit changes 1 % of the files. Returns its folder and the last two commits."""
    served, tree = b.folder("served"), b.folder("git-tree")
    make_tree(tree, files, size, per_dir=8)
    git(tree, "init", "-q")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "0")
    paths = git(tree, "ls-files").splitlines()
    for number in range(1, commits):
        for path in paths[number::100]:
            with open(os.path.join(tree, path), "ab") as f:
                f.write(b"changed in %d\n" % number)
        git(tree, "commit", "-q", "-a", "-m", str(number))
    bare = os.path.join(served, "site.git")
    run(GIT + ["clone", "-q", "--bare", tree, bare])
    # As GitHub: any commit can be asked for by its id; and packed once.
    git(bare, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(bare, "repack", "-q", "-a", "-d")
    git(bare, "pack-refs", "--all")
    return served, git(bare, "rev-parse", "main~1"), git(bare, "rev-parse", "main")


def another_second(path):
    """git compares times of files with that of its index; a checkout of the same second would be read anew."""
    while int(time.time()) <= int(os.path.getmtime(path)):
        time.sleep(0.01)


def first(b, tool, url, commit, files, size):
    work = os.path.join(b.place, "work")
    b.compare(f"checkout of {files} files, {size / 1e6:.0f} MB, first, depth 1", [tool, url, commit, work, "refs/heads/main"], {
        "git clone --depth 1": (GIT + ["clone", "-q", "--depth", "1", url, work], 0.90, 0.65),
    }, before=lambda variant: shutil.rmtree(work, ignore_errors=True))


def following(b, tool, url, old, new, files):
    work = os.path.join(b.place, "work")

    def before(variant):
        shutil.rmtree(work, ignore_errors=True)
        if variant == "ours":
            run([tool, url, old, work, "refs/heads/main"])
        else:
            os.mkdir(work)
            git(work, "init", "-q")
            git(work, "remote", "add", "origin", url)
            git(work, "fetch", "-q", "--depth", "1", "origin", old)
            git(work, "reset", "-q", "--hard", "FETCH_HEAD")
        for i in range(200):
            folder = os.path.join(work, "build", f"o{i % 10}")
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, f"{i}.o"), "wb") as f:
                f.write(b"x" * 20000)
        another_second(os.path.join(work, ".git", "index"))

    words = " ".join(GIT)
    b.compare(f"checkout of {files} files, next commit, same work area", [tool, url, new, work, "refs/heads/main"], {
        "git fetch, reset, clean": (f"cd {work} && {words} fetch -q --depth 1 origin {new} && {words} reset -q --hard FETCH_HEAD && "
                                    f"{words} clean -q -ffdx", 0.50, 0.20),
    }, before=before)
    same(work, new)


def same(work, commit):
    """What was measured was right: git finds nothing to say about the work area."""
    assert git(work, "rev-parse", "HEAD") == commit
    assert git(work, "status", "--porcelain", "--ignored") == ""


def rows(b):
    b.tool("git")
    tool = b.program("tests/checkout_bench")
    files, size = (400, 2_000_000) if b.quick else (20_000, 80_000_000)
    served, old, new = make_repository(b, files, size)
    with GitHttp(served) as server:
        url = server.url + "/site.git"
        first(b, tool, url, new, files, size)
        following(b, tool, url, old, new, files)
