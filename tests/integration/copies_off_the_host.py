#!/usr/bin/env python3
"""Copies of snapshots on another target: made encrypted, read back, dropped with age, and put back from when the target has lost its own."""
import glob
import json
import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import DAVIT, Case, Trial, main  # noqa: E402
from harness.waiting import until  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

KEY = "0123456789abcdef0123456789abcdef"
OTHER_KEY = "another key that nobody can guess"
FAIL = {"run": {"target": "web", "command": ["false"], "undo": "none"}}
CONTENT = b"what nobody else should read " * 1000


class Copies(Case):
    def setUp(self):
        self.t = Trial()
        self.addCleanup(self.t.__exit__)
        self.data = self.t.write("data/photo", CONTENT, 0o640)
        self.t.write("data/deep/er", b"second")
        os.symlink("photo", self.t.path("data", "link"))
        self.vault = os.path.join(self.t.dir, "vault")
        self.other = {"local": {}, "base": self.vault}

    def snapshot(self, keep=5, key="${{ secrets.COPY_KEY }}", files=None, **copies):
        given = {"to": ["vault"], "keep": keep, **({"key": key} if key else {}), **copies}
        return {"snapshot": {"target": "web", "files": {"paths": [self.t.path("data")], **(files or {})}, "copies": given}}

    def restore(self, **given):
        given.setdefault("key", "${{ secrets.COPY_KEY }}")
        return {"restore": {"target": "web", "files": {"paths": [self.t.path("data")]}, "from": given}}

    def deploy(self, *steps, options=(), secret=KEY, **more):
        targets = {"web": {"local": {}}, "vault": dict(self.other)}
        return self.t.deploy({"targets": targets, "steps": list(steps), **more}, *options, secrets={"COPY_KEY": secret})

    def copies(self):
        return sorted(p for p in glob.glob(self.vault + "/copies/shop.test/*/*") if os.path.isfile(p))

    def lose(self):
        """The host burned down: data and snapshots are gone."""
        shutil.rmtree(self.t.path("data"))
        shutil.rmtree(self.t.base)

    def assert_data(self):
        self.assertEqual(self.t.read("data", "photo"), CONTENT)
        self.assertEqual(os.stat(self.data).st_mode & 0o777, 0o640)
        self.assertEqual(self.t.read("data", "deep", "er"), b"second")
        self.assertEqual(os.readlink(self.t.path("data", "link")), "photo")

    def flip(self, path, at):
        with open(path, "r+b") as f:
            f.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
            one = f.read(1)
            f.seek(-1, os.SEEK_CUR)
            f.write(bytes([one[0] ^ 1]))

    def test_a_copy_is_encrypted_and_read_back_and_its_key_stands_nowhere(self):
        self.assert_says(self.deploy(self.snapshot(), options=["--plan"]), "copied encrypted to vault")
        result = self.deploy(self.snapshot())
        self.assert_exit(result, 0)
        self.assert_says(result, "copied to vault", "and read back")
        self.assertEqual(len(self.copies()), 1)
        for path, content in self.t.files_of(self.vault, self.t.state, self.t.base):
            self.assertNotIn(KEY.encode(), content, path)
            if path.startswith(self.vault):
                self.assertNotIn(b"nobody else", content, path)
                self.assertNotIn(b"photo", content, path)
        self.assertEqual(os.stat(self.copies()[0]).st_mode & 0o777, 0o600)
        self.assert_silent(result, KEY)

    def test_a_lost_host_is_put_back_from_the_copy(self):
        self.assert_exit(self.deploy(self.snapshot()), 0)
        self.lose()
        shutil.rmtree(self.t.state)  # the machine that deployed is gone, too
        plan = self.deploy(self.restore(), options=["--plan"])
        self.assert_exit(plan, 0)
        self.assert_says(plan, "from its copy on vault")
        self.assertFalse(os.path.exists(self.t.path("data")))
        self.assert_exit(self.deploy(self.restore()), 0)
        self.assert_data()
        self.assertEqual(glob.glob(self.t.base + "/snapshots/shop.test/*/*/fetched*"), [])

    def test_a_failed_deployment_after_a_restore_from_a_copy_is_taken_back(self):
        self.assert_exit(self.deploy(self.snapshot()), 0)
        self.t.write("data/photo", b"newer")
        self.assert_exit(self.deploy(self.restore(copy="vault"), FAIL), 1)
        self.assertEqual(self.t.read("data", "photo"), b"newer")

    def test_the_snapshot_itself_is_taken_while_it_is_there(self):
        self.assert_exit(self.deploy(self.snapshot()), 0)
        self.t.write("data/photo", b"newer")
        plan = self.deploy(self.restore(), options=["--plan"])
        self.assert_silent(plan, "its copy")
        plan = self.deploy(self.restore(copy="vault"), options=["--plan"])
        self.assert_says(plan, "from its copy on vault")

    def test_another_key_reads_nothing_and_changes_nothing(self):
        self.assert_exit(self.deploy(self.snapshot()), 0)
        self.lose()
        result = self.deploy(self.restore(), secret=OTHER_KEY)
        self.assert_exit(result, 2)
        self.assert_says(result, "was sealed with the key", "davit copy key")
        self.assertFalse(os.path.exists(self.t.path("data")))

    def test_a_copy_that_was_changed_cut_or_swapped_is_never_put_back(self):
        self.assert_exit(self.deploy(self.snapshot()), 0)
        self.t.write("data/photo", b"the second")
        self.assert_exit(self.deploy(self.snapshot()), 0)
        first, second = self.copies()
        self.t.write("data/photo", b"as it is now")
        for spoil in (lambda: self.flip(second, -1000), lambda: os.truncate(second, os.path.getsize(second) - 20),
                      lambda: shutil.copy(first, second), lambda: os.truncate(second, 70), lambda: self.flip(second, 20)):
            shutil.copy(second, second + ".kept")
            os.rename(second + ".kept", self.t.dir + "/kept")
            spoil()
            result = self.deploy(self.restore(copy="vault"))
            self.assertIn(result.code, (1, 2), repr(result))
            self.assertEqual(self.t.read("data", "photo"), b"as it is now")
            shutil.move(self.t.dir + "/kept", second)
        self.assert_exit(self.deploy(self.restore(copy="vault")), 0)
        self.assertEqual(self.t.read("data", "photo"), b"the second")

    def test_a_failed_deployment_removes_what_it_copied(self):
        self.assert_exit(self.deploy(self.snapshot()), 0)
        before = self.copies()
        self.assert_exit(self.deploy(self.snapshot(), FAIL), 1)
        self.assertEqual(self.copies(), before)
        self.assertEqual(len(os.listdir(self.vault + "/copies/shop.test")), 1)

    def test_copies_go_by_number_and_the_newest_good_one_stays(self):
        for _ in range(4):
            self.assert_exit(self.deploy(self.snapshot(keep=2)), 0)
        self.assertEqual(len(self.copies()), 2)
        self.flip(self.copies()[-1], -1)
        good = self.copies()[0]
        # Both are old now, and nothing new is made: what is proven stays.
        for path, days in zip(self.copies(), ("20240101T000000-aaaaaa", "20240102T000000-aaaaaa")):
            os.rename(os.path.dirname(path), os.path.join(self.vault, "copies/shop.test", days))
        self.assert_exit(self.deploy(self.snapshot(keep=1, keep_for="1d")), 0)
        self.assertEqual(len(self.copies()), 1)
        self.assertNotIn(os.path.basename(os.path.dirname(good)), self.copies()[0])

    def test_the_machines_own_key_is_shown_once_and_reads_its_copies_elsewhere(self):
        plan = self.deploy(self.snapshot(key=None), options=["--plan"])
        self.assert_says(plan, "keep what `davit copy key` prints")
        result = self.deploy(self.snapshot(key=None))
        self.assert_exit(result, 0)
        self.assert_silent(self.deploy(self.snapshot(key=None), options=["--plan"]), "keep what")
        key = self.t.run("copy", "key")
        self.assert_exit(key, 0)
        self.lose()
        shutil.rmtree(self.t.state)
        self.assert_exit(self.deploy(self.restore(), secret=key.out.strip()), 0)
        self.assert_data()

    def test_a_copy_is_opened_without_any_deployment(self):
        self.assert_exit(self.deploy(self.snapshot()), 0)
        with open(self.t.dir + "/key", "w") as f:
            f.write(KEY + "\n")
        name = os.path.relpath(self.copies()[0], self.vault + "/copies")
        kept = shutil.copy(self.copies()[0], self.t.dir + "/elsewhere")
        out = self.t.dir + "/opened.tar"
        result = self.t.run("copy", "open", kept, "--name", name, "--key-file", self.t.dir + "/key", "--output", out)
        self.assert_exit(result, 0)
        listed = subprocess.run(["tar", "-tf", out], capture_output=True, text=True, check=True).stdout
        self.assertIn("./0/photo", listed)
        self.flip(kept, -1)
        os.remove(out)
        result = self.t.run("copy", "open", kept, "--name", name, "--key-file", self.t.dir + "/key", "--output", out)
        self.assert_exit(result, 2)
        self.assertFalse(os.path.exists(out))
        with open(out + ".part", "w") as f:
            f.write("of a call that was killed")
        result = self.t.run("copy", "open", kept, "--name", name, "--key-file", self.t.dir + "/key", "--output", out)
        self.assert_exit(result, 2)
        self.assert_says(result, "remove it, unless another call is writing it")
        with open(out + ".part") as f:
            self.assertEqual(f.read(), "of a call that was killed")

    def test_targets_whose_names_begin_alike_keep_each_their_copy(self):
        """One is made behind the other, and a failed deployment takes back its own alone."""
        targets = {"web": {"local": {}}, "web-2": {"local": {}, "base": self.t.dir + "/base-2"}, "vault": self.other}
        both = self.snapshot()
        both["snapshot"]["target"] = ["web-2", "web"]
        self.assert_exit(self.deploy(both, targets=targets), 0)
        self.assertEqual([os.path.basename(p).rpartition("-")[0] for p in self.copies()], ["0-web", "0-web-2"])
        self.assertEqual(len(glob.glob(self.t.dir + "/base*/snapshots/shop.test/*/0/manifest")), 2)
        before = self.copies()
        self.assert_exit(self.deploy(both, {"run": {"target": "web", "command": ["false"], "undo": "none"}}, targets=targets), 1)
        self.assertEqual(self.copies(), before)

    def test_a_copy_is_found_whatever_other_targets_there_are(self):
        self.assert_exit(self.deploy(self.snapshot()), 0)
        self.lose()
        hub = {"registry": {"url": "http://127.0.0.1:1"}}
        for targets in ({"hub": hub, "vault": self.other}, {"vault": self.other, "hub": hub}):
            plan = self.deploy(self.restore(), options=["--plan"], targets={"web": {"local": {}}, **targets})
            self.assert_exit(plan, 0)
            self.assert_says(plan, "from its copy on vault")
        named = self.deploy(self.restore(copy="hub"), targets={"web": {"local": {}}, "hub": hub})
        self.assert_exit(named, 2)
        self.assert_says(named, "the target 'hub' keeps no files")

    def test_which_copy_is_the_newest_is_not_known_while_one_place_cannot_be_read(self):
        second = {"local": {}, "base": self.t.dir + "/second"}
        places = {"vault": self.other, "second": second}
        self.assert_exit(self.deploy(self.snapshot(to=["vault", "second"]), targets={"web": {"local": {}}, **places}), 0)
        os.truncate(self.copies()[0], 70)
        self.lose()
        name = os.path.basename(os.path.dirname(self.copies()[0]))
        for order in (["vault", "second"], ["second", "vault"]):
            targets = {"web": {"local": {}}, **{k: places[k] for k in order}}
            plan = self.deploy(self.restore(), options=["--plan"], targets=targets)
            self.assert_exit(plan, 2)
            self.assert_says(plan, "look for copies on vault", "`from: { copy, snapshot }` names another one")
            plan = self.deploy(self.restore(snapshot=name), options=["--plan"], targets=targets)
            self.assert_exit(plan, 0)
            self.assert_says(plan, "from its copy on second")
        result = self.deploy(self.restore(copy="vault"), targets=targets)
        self.assert_exit(result, 2)
        self.assert_says(result, "`from: { copy, snapshot }` names another one")
        self.assert_exit(self.deploy(self.restore(copy="second"), targets=targets), 0)
        self.assert_data()

    def test_a_copy_of_another_target_is_none_of_this_one(self):
        """Naming the deployment's own name or environment is no other one."""
        both = {"web": {"local": {}}, "web-2": {"local": {}, "base": self.t.dir + "/base-2"}, "vault": self.other}
        other = self.snapshot()
        other["snapshot"]["target"] = "web-2"
        self.assert_exit(self.deploy(other, targets=both), 0)
        for given in ({}, {"deployment": "shop"}, {"environment": "test"}):
            with self.subTest(given):
                result = self.deploy(self.restore(copy="vault", **given), targets=both)
                self.assert_exit(result, 2)
                self.assert_says(result, "'vault' has no copy that holds it")

    def test_a_target_that_is_none_or_the_same_is_refused(self):
        self.assert_says(self.deploy(self.snapshot(to=["valut"])), "there is no target 'valut'")
        result = self.deploy(self.snapshot(to=["web"]))
        self.assert_exit(result, 2)
        self.assert_says(result, "'web' is the target itself")

    def dump(self, size, **copies):
        """What nobody knows the size of before."""
        return {"snapshot": {"target": "web", "command": {"name": "big", "dump": ["head", "-c", str(size), "/dev/urandom"]},
                             "copies": {"to": ["vault"], "key": "${{ secrets.COPY_KEY }}", **copies}}}

    def test_over_ssh(self):
        with Sshd() as server:
            self.other = server.target(base=self.vault)
            self.assert_exit(self.deploy(self.snapshot()), 0)
            self.assertEqual(len(self.copies()), 1)
            self.lose()
            self.assert_exit(self.deploy(self.restore()), 0)
            self.assert_data()

    def test_a_full_disk_takes_the_snapshot_back_and_leaves_nothing_there(self):
        why = Sshd.can_have_disk()
        if why:
            self.skipTest(why)
        with Sshd(disk="40m") as server:
            place = os.path.join(server.folder, "disk")
            self.other = server.target(base=os.path.join(place, "vault"))
            result = self.deploy(self.dump(60000000))
            self.assert_exit(result, 1)
            self.assert_says(result, "copy the snapshot to 'vault'", "No space left")
            self.assertEqual(glob.glob(self.t.base + "/snapshots/shop.test/*"), [])
            listed = subprocess.run(["nsenter", "-t", str(server.process.pid), "-m", "find", place, "-type", "f"], capture_output=True, text=True,
                                    check=True).stdout
            self.assertEqual(listed, "")

    def test_a_connection_that_is_cut_is_made_again(self):
        with Sshd() as server, CutProxy(server.port) as proxy:
            self.other = server.target(base=self.vault)
            self.other["ssh"]["port"] = proxy.port
            proxy.say("cut-after 9000000")
            result = self.deploy(self.dump(20000000))
            self.assert_exit(result, 0)
            self.assertEqual(len(self.copies()), 1)
            self.assertGreater(os.path.getsize(self.copies()[0]), 20000000)

    def test_a_process_killed_in_the_middle_of_a_copy_leaves_none_behind(self):
        self.assert_exit(self.deploy(self.snapshot()), 0)
        before = self.copies()
        document = {"name": "shop", "environment": "test", "targets": {"web": {"local": {}, "base": self.t.base}, "vault": self.other},
                    "steps": [self.dump(200000000)]}
        with open(os.path.join(self.t.src, "deploy.yml"), "w") as f:
            json.dump(document, f)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_"))}
        process = subprocess.Popen([DAVIT, "deploy", "deploy.yml", "--secret", "COPY_KEY"], cwd=self.t.src, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env={**env, "DAVIT_STATE": self.t.state, "COPY_KEY": KEY})
        self.addCleanup(process.kill)
        until(lambda: glob.glob(self.vault + "/copies/shop.test/*/*.part-*") or process.poll() is not None, "a part of a copy")
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.assert_exit(self.t.run("recover"), 0)
        self.assertEqual(self.copies(), before)
        self.assertEqual(len(os.listdir(self.vault + "/copies/shop.test")), 1)
        self.assertEqual(len(glob.glob(self.t.base + "/snapshots/shop.test/*")), 1)


class CutProxy:
    def __init__(self, port):
        self.process = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../servers/cut_proxy.py"),
                                         str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = json.loads(self.process.stdout.readline())["port"]

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


if __name__ == "__main__":
    assert os.path.exists(DAVIT)
    main()
