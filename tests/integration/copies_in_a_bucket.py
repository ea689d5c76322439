#!/usr/bin/env python3
"""Copies of snapshots in a bucket of an S3 service that checks signatures."""
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
from servers.s3 import Ceph  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

KEY = "0123456789abcdef0123456789abcdef"
FAIL = {"run": {"target": "web", "command": ["false"], "undo": "none"}}


class Bucket(Case):
    @classmethod
    def setUpClass(cls):
        why = Ceph.why_not()
        cls.s3 = None if why else Ceph().start()
        cls.why, cls.count = why, 0

    @classmethod
    def tearDownClass(cls):
        if cls.s3:
            cls.s3.stop()

    def setUp(self):
        if self.why:
            self.skipTest(self.why)
        Bucket.count += 1
        self.t = Trial()
        self.addCleanup(self.t.__exit__)
        self.name = f"copies-{Bucket.count}"
        self.s3.bucket(self.name)
        self.web = {"local": {}, "base": self.t.base}
        self.other = self.s3.target(self.name, secret_key="${{ secrets.S3 }}")

    def deploy(self, *steps, options=(), secret=None, path=None, **target):
        with open(os.path.join(self.t.src, "deploy.yml"), "w") as f:
            json.dump({"name": "shop", "environment": "test", "steps": list(steps),
                       "targets": {"web": self.web, "vault": {"s3": {**self.other["s3"], **target}}}}, f)
        return self.t.run("deploy", "deploy.yml", "--secret", "S3", "--secret", "KEY", *options,
                          env={"S3": secret or self.s3.secret_key, "KEY": KEY, "PATH": ":".join(filter(None, (path, os.environ["PATH"])))})

    def dump(self, command, **copies):
        return {"snapshot": {"target": "web", "command": {"name": "big", "dump": command},
                             "copies": {"to": ["vault"], "key": "${{ secrets.KEY }}", **copies}}}

    def restore(self, place, **given):
        return {"restore": {"target": "web", "command": {"name": "big", "dump": ["echo", "as it is now"], "restore": f"cat >{place}"},
                            "from": {"key": "${{ secrets.KEY }}", **given}}}

    def test_in_one_request_and_back_on_another_host(self):
        result = self.deploy(self.dump(["echo", "what nobody else reads"]))
        self.assert_exit(result, 0)
        keys = self.s3.keys(self.name)
        self.assertEqual(len(keys), 1)
        self.assertRegex(keys[0], r"^davit/copies/shop\.test/[0-9T-]+-[0-9a-f]+/0-web-[0-9a-f]{16}$")
        status, body = self.s3.request("GET", f"/{self.name}/{keys[0]}")
        self.assertEqual(status, 200)
        self.assertNotIn(b"nobody else", body)
        for path, content in self.t.files_of(self.t.base, self.t.state):
            self.assertNotIn(self.s3.secret_key.encode(), content, path)
        shutil.rmtree(self.t.base)
        shutil.rmtree(self.t.state)
        place = self.t.path("back")
        plan = self.deploy(self.restore(place), options=["--plan"])
        self.assert_says(plan, "from its copy on vault")
        self.assert_exit(self.deploy(self.restore(place)), 0)
        self.assertEqual(self.t.read("back"), b"what nobody else reads\n")

    def test_in_several_parts_and_back(self):
        data = os.urandom(21000000)
        source = self.t.write("big", data)
        self.assert_exit(self.deploy(self.dump(["cat", source])), 0)
        self.assertEqual(self.s3.uploads(self.name), 0)
        shutil.rmtree(self.t.base)
        self.assert_exit(self.deploy(self.restore(self.t.path("back"))), 0)
        self.assertEqual(self.t.read("back"), data)

    def test_in_several_parts_from_a_host_over_ssh(self):
        """The lock is asked between the parts, while the same connection sends what is copied."""
        with Sshd() as server:
            self.web = server.target(base=self.t.base)
            result = self.deploy(self.dump(["head", "-c", "20000000", "/dev/urandom"]))
            self.assert_exit(result, 0)
            self.assert_says(result, "and read back")
        self.assertEqual((len(self.s3.keys(self.name)), self.s3.uploads(self.name)), (1, 0))

    def test_a_failed_deployment_removes_it(self):
        self.assert_exit(self.deploy(self.dump(["echo", "1"])), 0)
        before = self.s3.keys(self.name)
        self.assert_exit(self.deploy(self.dump(["head", "-c", "20000000", "/dev/zero"]), FAIL), 1)
        self.assertEqual(self.s3.keys(self.name), before)
        self.assertEqual(self.s3.uploads(self.name), 0)

    def test_a_process_killed_in_the_middle_leaves_nothing_behind(self):
        self.deploy(self.dump(["head", "-c", "150000000", "/dev/zero"]), options=["--plan"])
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_"))}
        process = subprocess.Popen([DAVIT, "deploy", "deploy.yml", "--secret", "S3", "--secret", "KEY"], cwd=self.t.src,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env={**env, "DAVIT_STATE": self.t.state, "S3": self.s3.secret_key, "KEY": KEY})
        self.addCleanup(process.kill)
        until(lambda: self.s3.uploads(self.name) or process.poll() is not None, "an upload")
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.assert_exit(self.t.run("recover"), 0)
        self.assertEqual(self.s3.keys(self.name), [])
        self.assertEqual(self.s3.uploads(self.name), 0)
        self.assertEqual(glob.glob(self.t.base + "/snapshots/*"), [])

    def test_one_that_has_lost_its_lock_writes_nothing_and_removes_nothing_there(self):
        """Another machine takes the deployment over while the copy is made: the tar that is to be copied writes another token."""
        self.assert_exit(self.deploy(self.dump(["echo", "1"])), 0)
        before = self.s3.keys(self.name)
        lock, tools = self.t.base + "/open/shop.test/lock", os.path.join(self.t.dir, "tools")
        os.mkdir(tools)
        with open(tools + "/tar", "w") as f:
            f.write(f"#!/bin/sh\ncase \"$*\" in *-cf*) sed -i 's/\"token\":\"[0-9a-f]*/\"token\":\"{32 * '0'}/' {lock};; esac\n"
                    f"exec {shutil.which('tar')} \"$@\"\n")
        os.chmod(tools + "/tar", 0o755)
        for size in (1000, 20000000):
            with self.subTest(size):
                result = self.deploy(self.dump(["head", "-c", str(size), "/dev/urandom"]), path=tools)
                self.assert_says(result, "no longer ours")
                self.assertEqual(self.s3.keys(self.name), before)
                self.assertEqual(self.s3.uploads(self.name), 0)
                shutil.rmtree(self.t.base + "/open")
                shutil.rmtree(self.t.state)

    def test_old_ones_go_and_what_others_keep_there_stays(self):
        self.assertEqual(self.s3.request("PUT", f"/{self.name}/davit/copies/shop.test/notes", b"mine")[0], 200)
        self.assertEqual(self.s3.request("PUT", f"/{self.name}/davit/copies/shop.test/a%20b/0-web-x", b"mine")[0], 200)
        for _ in range(3):
            self.assert_exit(self.deploy(self.dump(["echo", "1"], keep=2)), 0)
        self.assertEqual(len(self.s3.keys(self.name)), 4)

    def test_a_login_or_bucket_that_is_wrong_is_found_before_the_first_change(self):
        result = self.deploy(self.dump(["echo", "1"]), secret="wrong")
        self.assert_exit(result, 2)
        self.assert_says(result, "SignatureDoesNotMatch", "check the target's `access_key`")
        result = self.deploy(self.dump(["echo", "1"]), bucket="no-such-bucket")
        self.assert_exit(result, 2)
        self.assert_says(result, "NoSuchBucket", "make the bucket")
        self.assertFalse(os.path.exists(self.t.base + "/snapshots"))


if __name__ == "__main__":
    main()
