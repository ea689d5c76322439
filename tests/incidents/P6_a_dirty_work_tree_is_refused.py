#!/usr/bin/env python3
"""P6: deploying from a work tree with uncommitted files."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers.sshd import Sshd  # noqa: E402


def git(t, *args):
    return subprocess.run(["git", "-C", t.src, "-c", "user.name=t", "-c", "user.email=t@example.org", *args], check=True,
                          capture_output=True, text=True,
                          env=dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_NOSYSTEM="1")).stdout.strip()


def put(t, name, text):
    path = os.path.join(t.src, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def manifest(t):
    current = os.path.basename(os.readlink(t.path("www/current")))
    with open(t.path("www/releases", f".{current}.manifest")) as f:
        return json.loads(f.readline())


class Dirty(Case):
    def make(self, t):
        put(t, "app/main.py", "print(1)\n")
        put(t, ".gitignore", "deploy.yml\n/app/cache/\n")
        git(t, "init", "-q")
        git(t, "add", ".")
        git(t, "commit", "-q", "-m", "one")

    def deploy(self, t, server, **step):
        return t.deploy({"targets": {"web": server.target()},
                         "steps": [{"archive-upload": {"source": "app", "path": t.path("www"), **step}}]})

    def test_the_release_records_the_commit(self):
        with Trial() as t, Sshd() as server:
            self.make(t)
            put(t, "app/cache/ignored", "by git\n")
            put(t, "elsewhere", "not sent\n")
            self.assert_exit(self.deploy(t, server), 0)
            self.assertEqual(manifest(t)["commit"], git(t, "rev-parse", "HEAD"))
            self.assertIs(manifest(t)["dirty"], False)

    def test_what_is_not_committed_is_refused_by_name(self):
        with Trial() as t, Sshd() as server:
            self.make(t)
            put(t, "app/main.py", "print(2)\n")
            put(t, "app/stray.py", "")
            result = self.deploy(t, server)
            self.assert_exit(result, 2)
            self.assert_says(result, "dirty", "modified: main.py", "untracked: stray.py", "allow_dirty")
            self.assertFalse(os.path.exists(t.path("www")))

    def test_allowed_it_is_marked(self):
        with Trial() as t, Sshd() as server:
            self.make(t)
            put(t, "app/main.py", "print(2)\n")
            self.assert_exit(self.deploy(t, server, allow_dirty=True), 0)
            self.assertIs(manifest(t)["dirty"], True)
            self.assertEqual(t.read("www/current/main.py"), b"print(2)\n")

    def test_without_git_there_is_no_commit(self):
        with Trial() as t, Sshd() as server:
            put(t, "app/main.py", "print(1)\n")
            self.assert_exit(self.deploy(t, server), 0)
            self.assertIsNone(manifest(t)["commit"])


if __name__ == "__main__":
    main()
