#!/usr/bin/env python3
"""archive-upload and snapshot through `davit deploy` and `davit rollback`, on this machine and over SSH."""
import json
import os
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import DAVIT, Case, Trial, main  # noqa: E402
from harness.waiting import until  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

FAIL = {"run": {"command": ["false"], "undo": "none"}}


def tree_of(top):
    found = {}
    for folder, folders, names in os.walk(top):
        for name in folders + names:
            path = os.path.join(folder, name)
            key = os.path.relpath(path, top)
            if os.path.islink(path):
                found[key] = "-> " + os.readlink(path)
            elif os.path.isdir(path):
                found[key] = "dir"
            else:
                with open(path) as f:
                    found[key] = f.read()
    return found


class Steps(Case):
    def put(self, t, name, text):
        path = os.path.join(t.src, "app", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)

    def deploy(self, t, target, *steps, **upload):
        upload = {"source": "app", "path": t.path("www"), **upload}
        return t.deploy({"targets": {"web": target}, "steps": [*(s for s in steps if "snapshot" in s), {"archive-upload": upload},
                                                               *(s for s in steps if "snapshot" not in s)]})

    def begin(self, t, document):
        for target in document["targets"].values():
            target.setdefault("base", t.base)
        with open(os.path.join(t.src, "deploy.yml"), "w") as f:
            json.dump({"name": "shop", "environment": "test", **document}, f)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_"))}
        process = subprocess.Popen([DAVIT, "deploy", "deploy.yml"], cwd=t.src, env={**env, "DAVIT_STATE": t.state}, text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        return process

    def both(self, test):
        for kind in ("local", "ssh"):
            with self.subTest(kind), Trial() as t, Sshd() as server:
                test(t, {"local": {}} if kind == "local" else server.target())

    def test_a_failed_first_deployment_leaves_only_what_the_application_wrote(self):
        def test(t, target):
            self.put(t, "run.sh", "one")
            write = {"run": {"command": ["touch", t.path("www/current/uploads/photo")], "undo": "none"}}
            result = self.deploy(t, target, write, FAIL, shared=["uploads", "logs"])
            self.assert_says(result, "is not empty")
            self.assertEqual(tree_of(t.target_dir), {"www": "dir", "www/shared": "dir", "www/shared/uploads": "dir",
                                                     "www/shared/uploads/photo": ""})
        self.both(test)

    def test_a_failed_deployment_without_traces_leaves_nothing(self):
        def test(t, target):
            self.put(t, "run.sh", "one")
            failing = {"run": {"command": ["false"], "undo": ["true"]}}
            self.assert_exit(self.deploy(t, target, failing, shared=["uploads"]), 1)
            self.assertEqual(tree_of(t.target_dir), {})
        self.both(test)

    def test_what_an_application_wrote_into_its_release_is_not_taken_over(self):
        def test(t, target):
            for i in range(1500):
                self.put(t, f"d{i % 30}/f{i}", f"text {i}")
            os.makedirs(os.path.join(t.src, "app", "empty"))
            os.makedirs(t.path("www"))
            os.chmod(t.path("www"), 0o2755)
            self.assert_exit(self.deploy(t, target), 0)
            first = os.path.realpath(t.path("www/current"))
            t.write(os.path.join(first, "d3", "cache.tmp"), b"written by the application")
            self.put(t, "d3/f3", "changed")
            os.remove(os.path.join(t.src, "app", "d4", "f4"))
            os.chmod(os.path.join(t.src, "app", "d5", "f5"), 0o755)
            result = self.deploy(t, target)
            self.assert_exit(result, 0)
            self.assert_says(result, "sent 2 files")
            second = os.path.realpath(t.path("www/current"))
            self.assertNotEqual(first, second)
            self.assertEqual(tree_of(second), tree_of(os.path.join(t.src, "app")))
            self.assertEqual(os.stat(os.path.join(second, "d5", "f5")).st_mode & 0o777, 0o755)
            self.assertEqual(os.stat(os.path.join(second, "d6", "f6")).st_ino, os.stat(os.path.join(first, "d6", "f6")).st_ino)
            with open(os.path.join(first, "d3", "f3")) as f:
                self.assertEqual(f.read(), "text 3")
            self.assert_exit(self.deploy(t, target, verify="full", keep=3), 0)
        self.both(test)

    def test_a_cancel_ends_the_reading_of_a_large_source(self):
        def test(t, target):
            self.put(t, "small", "one")
            with open(os.path.join(t.src, "app", "huge"), "wb") as f:
                f.truncate(200 << 30)
            t.write("davit.yml", b"")
            process = self.begin(t, {"targets": {"web": target}, "steps": [{"archive-upload": {"source": "app", "path": t.path("www")}}]})
            until(lambda: os.path.exists(os.path.join(t.base, "open", "shop.test", "lock")), "the lock")
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(60), 130, process.stdout.read())
            self.assertLess(time.monotonic() - begun, 10)
            self.assertEqual(tree_of(t.path("")), {"davit.yml": ""})
            self.assertFalse(os.path.exists(os.path.join(t.base, "open")))
        self.both(test)

    def test_an_adopted_server_gets_everything_back(self):
        def test(t, target):
            t.write("www/current/index.php", b"old")
            t.write("www/current/uploads/photo", b"jpeg")
            before = tree_of(t.target_dir)
            self.put(t, "index.php", "new")
            failing = {"run": {"command": ["false"], "undo": ["true"]}}
            result = self.deploy(t, target, failing)
            self.assert_exit(result, 2)
            self.assert_says(result, "is a real directory", "adopt: true")
            self.assert_exit(self.deploy(t, target, failing, adopt=True, shared=["uploads"]), 1)
            self.assertEqual(tree_of(t.target_dir), before)
            self.assert_exit(self.deploy(t, target, adopt=True, shared=["uploads"]), 0)
            self.assertEqual(t.read("www/current/index.php"), b"new")
            self.assertEqual(t.read("www/current/uploads/photo"), b"jpeg")
            self.assertEqual(t.read("www/releases/before-davit/index.php"), b"old")
            self.assertEqual(t.read("www/releases/before-davit/uploads/photo"), b"jpeg")
        self.both(test)

    def test_a_snapshot_is_put_back_by_a_rollback(self):
        def test(t, target):
            t.write("data/db", b"before")
            self.put(t, "run.sh", "one")
            snapshot = {"snapshot": {"files": {"paths": [t.path("data")], "restore_on_rollback": True}}}
            migrate = {"run": {"script": f"echo after > {t.path('data/db')}; touch {t.path('data/new')}", "undo": ["true"]}}
            failing = {"run": {"command": ["false"], "undo": ["true"]}}
            self.assert_exit(self.deploy(t, target, snapshot, migrate, failing), 1)
            self.assertEqual(tree_of(t.target_dir), {"data": "dir", "data/db": "before"})
        self.both(test)

    def test_what_has_holes_takes_no_more_room_in_its_snapshot_and_when_it_comes_back(self):
        def test(t, target):
            size = 16 << 20
            os.mkdir(t.path("data"))
            with open(t.path("data/disk"), "wb") as f:
                for at, text in ((0, b"first"), (size // 2, b"middle")):
                    f.seek(at)
                    f.write(text)
                f.truncate(size)
            if os.stat(t.path("data/disk")).st_blocks * 512 > size // 2:
                self.skipTest("this file system has no holes")
            snapshot = {"snapshot": {"files": {"paths": [t.path("data")], "restore_on_rollback": True}}}
            room = {"run": {"script": f"du -sk {t.base} >{t.path('room')}; rm {t.path('data/disk')}", "undo": "none"}}
            self.assert_exit(t.deploy({"targets": {"web": target}, "steps": [snapshot, room, FAIL]}), 1)
            self.assertLess(int(t.read("room").split()[0]), 1 << 10)
            found = os.stat(t.path("data/disk"))
            self.assertEqual((found.st_size, found.st_blocks * 512 < 1 << 20), (size, True))
            with open(t.path("data/disk"), "rb") as f:
                self.assertEqual(f.read(), b"first".ljust(size // 2, b"\0") + b"middle".ljust(size // 2, b"\0"))
        self.both(test)

    def test_data_of_a_committed_deployment_comes_back_when_asked_for(self):
        def test(t, target):
            t.write("data/db", b"v1")
            snapshot = {"snapshot": {"files": {"paths": [t.path("data")]}}}
            self.put(t, "run.sh", "one")
            self.assert_exit(self.deploy(t, target, snapshot), 0)
            migrate = {"run": {"script": f"echo v2 > {t.path('data/db')}", "undo": ["true"]}}
            self.put(t, "run.sh", "two")
            self.assert_exit(self.deploy(t, target, snapshot, migrate), 0)
            new = os.path.basename(os.readlink(t.path("www/current")))
            self.assertEqual(t.read("data/db"), b"v2\n")
            self.assert_exit(t.run("rollback", new, "--file", "deploy.yml", "--data"), 0)
            self.assertEqual(t.read("www/current/run.sh"), b"one")
            self.assertEqual(t.read("data/db"), b"v1")
        self.both(test)

    def test_data_comes_back_without_the_file_though_the_step_before_the_snapshot_was_not_kept(self):
        target = {"local": {}}
        with Trial() as t:
            t.write("data/db", b"v1")
            conf = {"apply": {"resources": [{"file": {"path": t.path("conf"), "content": "x"}}]}}
            snapshot = {"snapshot": {"files": {"paths": [t.path("data")]}}}
            self.put(t, "run.sh", "one")
            self.assert_exit(self.deploy(t, target, conf, snapshot), 0)
            migrate = {"run": {"script": f"echo v2 > {t.path('data/db')}", "undo": ["true"]}}
            self.put(t, "run.sh", "two")
            self.assert_exit(self.deploy(t, target, conf, snapshot, migrate), 0)
            new = os.path.basename(os.readlink(t.path("www/current")))
            os.remove(os.path.join(t.src, "deploy.yml"))
            self.assert_exit(t.run("rollback", new, "--data"), 0)
            self.assertEqual((t.read("www/current/run.sh"), t.read("data/db")), (b"one", b"v1"))

    @unittest.skipIf(os.geteuid() != 0, "only root gives files to others")
    def test_a_release_and_what_is_shared_get_the_owners_that_are_asked_for(self):
        def owners(t, *names):
            return [(s.st_uid, s.st_gid, s.st_mode & 0o7777) for s in (os.lstat(t.path(*n.split("/"))) for n in names)]

        def test(t, target):
            self.put(t, "a/run.sh", "one")
            self.put(t, "same", "same")
            self.assert_exit(self.deploy(t, target, shared=["uploads"]), 0)
            first = os.readlink(t.path("www/current"))
            self.put(t, "a/run.sh", "two")
            more = {"shared": ["uploads", "cache/pages"], "owner": "nobody", "group": "4711", "shared_owner": "4712", "shared_mode": "0750"}
            self.assert_exit(self.deploy(t, target, **more), 0)
            self.assertEqual(owners(t, "www/current/a/run.sh", "www/current/same", "www/current/a"), [(65534, 4711, 0o644)] * 2 + [(65534, 4711, 0o755)])
            self.assertEqual(owners(t, f"www/{first}/same"), [(0, 0, 0o644)])
            self.assertEqual(owners(t, "www/shared", "www/shared/uploads", "www/shared/cache/pages"),
                             [(0, 0, 0o755), (0, 0, 0o755), (4712, 0, 0o750)])
            refused = self.deploy(t, target, owner="no-such-user", shared_group="no-such-group")
            self.assert_exit(refused, 2)
            self.assert_says(refused, "there is no user 'no-such-user'", "there is no group 'no-such-group'")
        self.both(test)

    def test_secrets_and_heavy_folders_that_git_ignores_are_named_in_the_plan(self):
        with Trial() as t:
            self.put(t, "index", "1")
            self.put(t, ".env", "A=b")
            self.put(t, ".env.example", "A=")
            self.put(t, "certs/tls.key", "k")
            self.put(t, "web/node_modules/x/index.js", "x" * 5000)
            self.put(t, "log/x", "ignored, and nothing special")
            with open(os.path.join(t.src, ".gitignore"), "w", encoding="ascii") as f:
                f.write(".env*\n*.key\nnode_modules\nlog\ndeploy.yml\n")
            git = ["git", "-c", "user.name=x", "-c", "user.email=x@x"]
            for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
                subprocess.run([*git, *words], cwd=t.src, check=True)
            plan = t.deploy({"targets": {"web": {"local": {}}}, "steps": [{"archive-upload": {"source": "app", "path": t.path("www")}}]}, "--plan")
            self.assert_exit(plan, 0)
            self.assert_says(plan, ".env, certs/tls.key look like secrets", "web/node_modules (1 files")
            self.assert_silent(plan, ".env.example", "log/x")

    def test_two_targets_get_the_same_release(self):
        with Trial() as t, Sshd() as server:
            self.put(t, "run.sh", "one")
            first, second = server.target(base=os.path.join(t.dir, "base-1")), {"local": {}, "base": os.path.join(t.dir, "base-2")}
            document = {"targets": {"a": first, "b": second},
                        "steps": [{"archive-upload": {"source": "app", "path": t.path("one"), "target": "a"}},
                                  {"archive-upload": {"source": "app", "path": t.path("two"), "target": "b"}}]}
            self.assert_exit(t.deploy(document), 0)
            self.assertEqual(os.readlink(t.path("one/current")), os.readlink(t.path("two/current")))
            again = t.deploy(document)
            self.assert_exit(again, 0)
            self.assertEqual(len([n for n in os.listdir(t.path("one/releases")) if n[0] != "."]), 1)

    def test_any_name_arrives_as_it_is(self):
        names = ["-n", "a b", "two\nlines", "tab\there", "back\\slash", "quote'\"", "$(touch evil)", "ü/ß", "日本", "*", "[x]", "~", "#h",
                 "%s", "deep/-rf/x", "trailing ", " leading", "\r", "a;b", "&"]

        def test(t, target):
            for name in names:
                self.put(t, name, name)
            self.assert_exit(self.deploy(t, target, verify="sent"), 0)
            self.assertEqual(tree_of(t.path("www/current")), tree_of(os.path.join(t.src, "app")))
            for name in names[::2]:
                self.put(t, name, "changed " + name)
            self.assert_exit(self.deploy(t, target, verify="sent"), 0)
            self.assertEqual(tree_of(t.path("www/current")), tree_of(os.path.join(t.src, "app")))
            os.remove(os.path.join(t.src, "app", names[1]))
            self.assert_exit(self.deploy(t, target, verify="full", hard_links=False), 0)
            self.assertEqual(tree_of(t.path("www/current")), tree_of(os.path.join(t.src, "app")))
        self.both(test)

    def test_the_plan_of_equal_contents_has_the_same_digest(self):
        with Trial() as t:
            self.put(t, "run.sh", "one")
            document = {"targets": {"web": {"local": {}}}, "steps": [{"archive-upload": {"source": "app", "path": t.path("www")}}]}

            def digest():
                result = t.deploy(document, "--plan", "--json")
                self.assert_exit(result, 0)
                return json.loads(result.out)["digest"]
            one = digest()
            os.utime(os.path.join(t.src, "app", "run.sh"), (1, 1))
            self.assertEqual(digest(), one)
            self.put(t, "run.sh", "two")
            self.assertNotEqual(digest(), one)


if __name__ == "__main__":
    main()
