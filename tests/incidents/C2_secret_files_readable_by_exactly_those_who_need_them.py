#!/usr/bin/env python3
"""C2: secret files were 0600 root, containers of another uid could not read them, and the fix made them readable for everybody."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Service, Trial, main  # noqa: E402
from servers.docker import Docker  # noqa: E402
from servers.sshd import Account, Sshd  # noqa: E402

import shutil
import subprocess
import unittest


NO_ENGINE = Docker.why_not()


def reads(uid, path):
    """Whether that uid, which needs no name here, can read the file."""
    command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "cat", path]
    return subprocess.run(command, capture_output=True).returncode == 0


@unittest.skipUnless(os.geteuid() == 0, "another user's eyes need root")
class SecretFiles(Case):
    def write(self, t, server, **more):
        step = {"path": t.path("app", ".env"), "values": {"PASSWORD": "${{ secrets.PASSWORD }}"}, **more}
        return t.deploy({"targets": {"web": server.target()}, "steps": [{"secret-write": step}]}, secrets={"PASSWORD": "s3cret-of-c2"})

    def test_the_owner_alone_reads_a_file_of_which_nothing_else_is_said(self):
        with Trial() as t, Sshd() as server:
            self.assert_exit(self.write(t, server, owner="4711", readable_by=["4711"]), 0)
            self.assertEqual(os.stat(t.path("app", ".env")).st_mode & 0o777, 0o600)
            self.assertTrue(reads(4711, t.path("app", ".env")))
            self.assertFalse(reads(4712, t.path("app", ".env")))

    def test_a_reader_comes_in_by_acl_or_the_way_out_is_named(self):
        with Trial() as t, Sshd() as server:
            result = self.write(t, server, readable_by=["4711"])
            if result.code == 0:
                self.assertTrue(reads(4711, t.path("app", ".env")))
            else:
                self.assert_says(result, "4711", "setfacl")
                self.assertFalse(os.path.exists(t.path("app", ".env")))
            self.assertFalse(os.path.exists(t.path("app", ".env")) and reads(4712, t.path("app", ".env")))

    def test_a_reader_comes_in_by_the_group(self):
        with Trial() as t, Sshd() as server:
            self.assert_exit(self.write(t, server, group="daemon", readable_by=["daemon"]), 0)
            self.assertEqual(os.stat(t.path("app", ".env")).st_mode & 0o777, 0o640)
            self.assertFalse(reads(4712, t.path("app", ".env")))

    def test_a_folder_that_stops_the_reader_is_found_before_the_first_change(self):
        with Trial() as t, Sshd() as server:
            os.mkdir(t.path("app"), 0o700)
            result = self.write(t, server, owner="4711", readable_by=["4711"])
            self.assert_exit(result, 2)
            self.assert_says(result, "cannot enter " + t.path("app"))
            self.assertEqual(os.listdir(t.path("app")), [])

    def test_everybody_needs_an_explicit_consent(self):
        with Trial() as t, Sshd() as server:
            result = self.write(t, server, mode="0644")
            self.assert_exit(result, 2)
            self.assert_says(result, "0644", "allow_world_readable: true")
            self.assertFalse(os.path.exists(t.path("app")))
            self.assert_exit(self.write(t, server, mode="0644", allow_world_readable=True), 0)
            self.assertTrue(reads(4712, t.path("app", ".env")))

    @unittest.skipIf(NO_ENGINE, NO_ENGINE)
    def test_a_container_of_another_uid_reads_its_secrets_as_files_and_no_other_one_does(self):
        values = {"password": "it's \"$HOME\" `id`\\n\nand a second line", "token": "0123456789"}
        with Trial() as t, Sshd() as server, Docker() as d:
            step = {"path": t.path("secrets"), "format": "dir", "owner": "4711", "readable_by": ["4711"],
                    "values": {name: "${{ secrets.%s }}" % name for name in values}}
            self.assert_exit(t.deploy({"targets": {"web": server.target()}, "steps": [{"secret-write": step}]}, secrets=values), 0)
            d.image("local/reader:1")
            stack = {"services": {"reader": {"image": "local/reader:1", "network_mode": "none", "secrets": list(values)}},
                     "secrets": {name: {"file": t.path("secrets", name)} for name in values}}
            with open(t.path("compose.yml"), "w", encoding="ascii") as f:
                json.dump(stack, f)
            for name, value in values.items():
                read = ("-f", f.name, "run", "--rm", "-T", "--user", "4711", "reader", "cat", f"/run/secrets/{name}")
                self.assertEqual(d.compose("reader", *read), value)
                other = [("4712" if word == "4711" else word) for word in read]
                self.assertEqual(d.compose("reader", *other, check=False), "")

    @unittest.skipUnless(shutil.which("setfacl"), "needs setfacl (package acl)")
    def test_a_rollback_brings_bytes_owner_mode_and_acl_back(self):
        with Trial() as t, Sshd() as server:
            path = t.write("app/.env", b"PASSWORD=former # as it was\n", 0o600)
            os.chown(path, 4713, 4714)
            if subprocess.run(["setfacl", "-m", "u:4712:r", path], capture_output=True).returncode != 0:
                self.skipTest("the file system has no ACLs")
            before = subprocess.run(["getfacl", "-n", "-p", path], capture_output=True, text=True).stdout
            for target in (server.target(), {"local": {}}):
                result = t.deploy({"targets": {"web": target}, "steps": [
                    {"secret-write": {"path": path, "values": {"PASSWORD": "${{ secrets.PASSWORD }}"}, "owner": "0", "readable_by": ["4711"]}},
                    {"run": {"script": f"setpriv --reuid=4711 --regid=4711 --clear-groups cat {path} >/dev/null && exit 9", "undo": "none"}},
                ]}, secrets={"PASSWORD": "s3cret-of-c2"})
                self.assert_exit(result, 1)
                self.assert_says(result, "exit status 9")
                after = subprocess.run(["getfacl", "-n", "-p", path], capture_output=True, text=True).stdout
                self.assertEqual(after, before)
                self.assertEqual(t.read("app", ".env"), b"PASSWORD=former # as it was\n")


if __name__ == "__main__":
    main()
