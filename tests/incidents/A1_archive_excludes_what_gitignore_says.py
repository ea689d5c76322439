#!/usr/bin/env python3
"""A1: an archive carried node_modules, build output, .git and vendored checkouts."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers.sshd import Sshd  # noqa: E402


def put(t, path, data):
    full = os.path.join(t.src, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as f:
        f.write(data)


def git(t, *args):
    subprocess.run(["git", "-C", t.src, "-c", "user.name=t", "-c", "user.email=t@example.org", *args], check=True,
                   stdout=subprocess.DEVNULL, env=dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_NOSYSTEM="1"))


def arrived(top):
    found = set()
    for folder, folders, names in os.walk(top):
        for name in names:
            found.add(os.path.relpath(os.path.join(folder, name), top))
    return found


class Excludes(Case):
    def make(self, t):
        put(t, ".gitignore", b"/node_modules/\n/dist\n*.log\n!keep.log\ndeploy.yml\n")
        put(t, "lib/.gitignore", b"generated/\n")
        put(t, "app.js", b"app\n")
        put(t, "keep.log", b"kept\n")
        put(t, "lib/util.js", b"util\n")
        put(t, "lib/generated/big.js", b"x" * 100000)
        put(t, "node_modules/left-pad/index.js", b"y" * 300000)
        put(t, "dist/bundle.js", b"z" * 200000)
        put(t, "trace.log", b"w")
        git(t, "init", "-q")
        git(t, "add", ".")
        git(t, "commit", "-q", "-m", "one")
        put(t, "vendor/other/.git/HEAD", b"ref: refs/heads/main\n")
        put(t, "vendor/other/code.c", b"int main;\n")

    def deploy(self, t, server, *args, **step):
        return t.deploy({"targets": {"web": server.target()},
                         "steps": [{"archive-upload": {"source": ".", "path": t.path("app"), **step}}]}, *args)

    def test_the_repositorys_own_ignore_files_say_what_stays_behind(self):
        with Trial() as t, Sshd() as server:
            self.make(t)
            self.assert_exit(self.deploy(t, server, exclude=["vendor/"], exclude_from=[".gitignore"]), 0)
            self.assertEqual(arrived(t.path("app/current")),
                             {".gitignore", "app.js", "keep.log", "lib/.gitignore", "lib/util.js"})

    def test_git_itself_never_goes_along_and_the_largest_things_are_listed(self):
        with Trial() as t, Sshd() as server:
            self.make(t)
            result = self.deploy(t, server, exclude=["vendor/other/.git", "deploy.yml"], allow_dirty=True)
            self.assert_exit(result, 0)
            names = arrived(t.path("app/current"))
            self.assertIn("dist/bundle.js", names)
            self.assertFalse([n for n in names if ".git/" in n], names)
            self.assert_says(result, "largest: node_modules 300.0 kB, dist 200.0 kB")

    def test_the_plan_shows_them_before_anything_is_sent(self):
        with Trial() as t, Sshd() as server:
            self.make(t)
            result = self.deploy(t, server, "--plan", "--json", exclude=["vendor/"], allow_dirty=True)
            self.assert_exit(result, 0)
            self.assert_says(result, "largest", "node_modules")
            self.assertFalse(os.path.exists(t.path("app")))


if __name__ == "__main__":
    main()
