#!/usr/bin/env python3
"""archive-upload by a user who is not root, into folders that are not all his: read-only directories in the tree, files of the
application's own user in old releases, links on the way to shared paths. On this machine and over SSH."""
import json
import os
import subprocess
import unittest

from harness.trial import DAVIT, Case, Result, Trial, main
from servers.sshd import Account, Sshd

USER, APPLICATION = 47110, 47202   # the first account that Sshd makes has this id
WHY_NOT = Sshd.can_have_accounts()


def as_user(*words):
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *words]


@unittest.skipIf(WHY_NOT, WHY_NOT)
class OrdinaryUser(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        os.mkdir(self.t.state)
        for path in (self.t.state, self.t.target_dir, self.t.src, self.t.dir):
            os.chown(path, USER, USER)
        os.chmod(self.t.state, 0o700)

    def put(self, name, text, mode=None):
        path = os.path.join(self.t.src, "app", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        if mode is not None:
            os.chmod(path, mode)

    def davit(self, *words, secrets=None):
        subprocess.run(["chown", "-R", f"{USER}:{USER}", self.t.src], check=True)
        env = {"PATH": os.environ["PATH"], "HOME": self.t.dir, "DAVIT_STATE": self.t.state, **(secrets or {})}
        return Result(subprocess.run(as_user(DAVIT, *words), cwd=self.t.src, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=120))

    def deploy(self, target, *steps, **upload):
        document = {"name": "shop", "environment": "test", "targets": {"web": {**target, "base": self.t.base}},
                    "steps": [{"archive-upload": {"source": "app", "path": self.t.path("www"), **upload}}, *steps]}
        with open(os.path.join(self.t.src, "d.yml"), "w", encoding="utf-8") as f:
            json.dump(document, f)
        return self.davit("deploy", "d.yml")

    def both(self, test):
        """On this machine, and over SSH as an account of the same id."""
        with self.subTest(target="local"):
            test({"local": {}})
        with self.subTest(target="ssh"), Trial() as t, Sshd(accounts={"dep": Account("geheim-of-dep")}) as server:
            self.t = t
            os.mkdir(t.state)
            for path in (t.state, t.target_dir, t.src, t.dir):
                os.chown(path, USER, USER)
            os.chmod(t.state, 0o700)
            test({"ssh": {"host": "127.0.0.1", "port": server.port, "user": "dep", "password": "geheim-of-dep", "host_key": server.host_key}})

    def releases(self):
        return sorted(n for n in os.listdir(self.t.path("www/releases")) if not n.startswith("."))

    def test_directories_that_may_not_be_written_to_are_released_built_upon_and_removed(self):
        def test(target):
            self.put("mod/pkg/sub/x.go", "5", 0o444)
            self.put("mod/pkg/go.mod", "6", 0o444)
            for path in ("mod/pkg/sub", "mod/pkg"):
                os.chmod(os.path.join(self.t.src, "app", path), 0o555)
            for i in range(4):
                self.put("version", str(i))
                self.assert_exit(self.deploy(target, keep=2, hard_links=i != 2), 0)
                self.assertEqual(self.t.read("www/current/version"), str(i).encode())
                for path in ("mod/pkg/sub", "mod/pkg"):
                    self.assertEqual(os.stat(self.t.path("www/current", path)).st_mode & 0o7777, 0o555)
            self.assertEqual(len(self.releases()), 2)
            before = os.readlink(self.t.path("www/current"))
            self.put("version", "broken")
            failed = self.deploy(target, {"run": {"command": ["false"], "undo": "none"}}, keep=2)
            self.assert_exit(failed, 1)
            self.assertEqual((os.readlink(self.t.path("www/current")), len(self.releases())), (before, 2))
        self.both(test)

    def test_an_old_release_with_files_of_another_user_is_named_and_the_others_go(self):
        def test(target):
            for i in range(5):
                self.put("version", str(i))
                done = self.deploy(target, keep=2)
                self.assert_exit(done, 0)
                if i == 0:
                    stuck = os.readlink(self.t.path("www/current")).split("/")[1]
                    os.makedirs(self.t.path("www/current/cache/d"))
                    open(self.t.path("www/current/cache/d/f"), "w", encoding="ascii").close()
                    os.chmod(self.t.path("www/current/cache"), 0o700)
                    subprocess.run(["chown", "-R", f"{APPLICATION}:{APPLICATION}", self.t.path("www/current/cache")], check=True)
            self.assert_says(done, stuck)
            self.assertEqual(len(self.releases()), 2)
            before = os.readlink(self.t.path("www/current"))
            back = self.davit("rollback", "--to", stuck, "--path", self.t.path("www"), "--file", "d.yml")
            self.assert_exit(back, 2)
            self.assertEqual(os.readlink(self.t.path("www/current")), before)
        self.both(test)

    def test_a_shared_path_through_a_link_of_the_tree_leads_to_shared_or_is_refused(self):
        def test(target):
            outside = self.t.path("outside")
            os.mkdir(outside)
            os.chmod(outside, 0o777)
            self.put("storage/app/public/.keep", "y")
            for name, to in (("public/files", "../storage/app/public"), ("media", outside), ("up", "..")):
                link = os.path.join(self.t.src, "app", name)
                os.makedirs(os.path.dirname(link), exist_ok=True)
                os.symlink(to, link)
            self.assert_exit(self.deploy(target, shared=["./public//files/uploads", "var//log/"]), 0)
            for name in ("public/files/uploads", "var/log"):
                self.assertEqual(os.path.realpath(self.t.path("www/current", name)), os.path.realpath(self.t.path("www/shared", name)))
                self.assertTrue(os.path.isdir(self.t.path("www/current", name)))
            for name in ("media/uploads", "up/uploads"):
                refused = self.deploy(target, shared=[name])
                self.assert_exit(refused, 2)
                self.assert_says(refused, "leads out of the release", name)
            self.assertEqual(os.listdir(outside), [])
        self.both(test)

    def test_a_path_that_is_a_link_to_elsewhere_needs_consent(self):
        def test(target):
            self.put("version", "1")
            os.mkdir(self.t.path("elsewhere"))
            os.chown(self.t.path("elsewhere"), USER, USER)
            os.symlink(self.t.path("elsewhere"), self.t.path("www"))
            refused = self.deploy(target)
            self.assert_exit(refused, 2)
            self.assert_says(refused, "is a link to", "adopt: true")
            self.assertEqual(os.listdir(self.t.path("elsewhere")), [])
            self.assert_exit(self.deploy(target, adopt=True), 0)
        self.both(test)


if __name__ == "__main__":
    main()
