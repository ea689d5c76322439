#!/usr/bin/env python3
"""Files of Git LFS of a repository behind SSH: the same as git-lfs makes of them, from a real sshd whose git-lfs-authenticate says where they are; and what that may not say."""
import json
import os
import shutil
import subprocess
import unittest

from integration.checkout_of_large_files import Area, write
from servers.lfs import Lfs
from servers.sshd import Sshd

# What the key may run, as a host of repositories has it: it notes what was asked for.
SERVE = """#!/bin/sh
echo "$SSH_ORIGINAL_COMMAND" >>{folder}/asked
case "$SSH_ORIGINAL_COMMAND" in
  "git-lfs-authenticate /r.git download") cat {folder}/answer; cat {folder}/said >&2; exit "$(cat {folder}/status)" ;;
  git-upload-pack*) cd {folder}/served && exec git-shell -c "git-upload-pack 'r.git'" ;;
esac
exit 127
"""
SECRET = "RemoteAuth s3cret-of-ssh"


class OverSsh(Area):
    def setUp(self):
        super().setUp()
        write(self.folder + "/serve", SERVE.format(folder=self.folder).encode(), 0o755)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", self.folder + "/key"], check=True)
        with open(self.folder + "/key.pub", encoding="ascii") as file:
            self.sshd = Sshd(lets_in=f'restrict,command="{self.folder}/serve" {file.read()}', options=["AcceptEnv GIT_PROTOCOL"])
        self.sshd.__enter__()
        self.addCleanup(self.sshd.__exit__)
        known = f"[127.0.0.1]:{self.sshd.port} {self.sshd.host_key_line}\n"
        write(self.folder + "/known", known.encode())
        with open(self.folder + "/key", encoding="ascii") as file:
            self.env.update(KEY=file.read(), KNOWN_HOSTS=known, SERVER=self.url)
        self.url = f"ssh://{self.sshd.user}@127.0.0.1:{self.sshd.port}/r.git"
        # Another host than that of the repository.
        self.elsewhere = Lfs()
        self.elsewhere.token = SECRET
        alone = self.elsewhere.alone()
        self.place = alone.__enter__().url
        self.addCleanup(alone.__exit__, None, None, None)
        self.addCleanup(lambda: self.assertEqual(self.elsewhere.wrong, []))
        self.answer()

    def answer(self, text=None, status=0, said="", **more):
        text = json.dumps({"href": self.place + "/o/r.git/info/lfs", "header": {"Authorization": SECRET, "Accept": "x"}, **more}) if text is None else text
        for name, value in (("answer", text), ("status", str(status)), ("said", said)):
            write(f"{self.folder}/{name}", value.encode())

    def asked(self):
        with open(self.folder + "/asked", encoding="ascii") as file:
            lines = file.read().splitlines()
        os.unlink(self.folder + "/asked")
        return lines

    def large(self, name, data):
        self.elsewhere.put(data)
        self.content(name, data)

    @unittest.skipUnless(shutil.which("git-lfs"), "git-lfs is not installed")
    def test_it_is_what_git_lfs_makes(self):
        self.large("a.bin", b"a" * 100000)
        self.large("same/a.bin", b"a" * 100000)
        self.large("d/b.bin", os.urandom(3000))
        sha = self.commit()
        self.assertIn("files 3 fetched 2 ", self.checkout(sha))
        self.assertEqual([line for line in self.asked() if "lfs" in line], ["git-lfs-authenticate /r.git download"])
        self.assertEqual([(r[0], r[1].rsplit("/", 1)[0], r[2]) for r in self.elsewhere.requests],
                         [("POST", "/o/r.git/info/lfs/objects", SECRET)] + [("GET", "/lfs-contents", None)] * 2)
        other = self.folder + "/other"
        ssh = f'ssh -F none -i "{self.folder}/key" -o StrictHostKeyChecking=yes -o CheckHostIP=no -o "UserKnownHostsFile={self.folder}/known"'
        self.git("init", "-q", "-b", "main", other)
        for words in (("remote", "add", "origin", self.url), ("config", "--local", "gc.auto", "0"), ("lfs", "install", "--local"),
                      ("fetch", "-q", "--no-tags", "--depth=1", "origin", f"+{sha}:refs/remotes/origin/main"), ("lfs", "fetch", "origin", "refs/remotes/origin/main"),
                      ("checkout", "-q", "--force", sha)):
            self.git(*words, cwd=other, env={"GIT_SSH_COMMAND": ssh})
        self.assertIn("git-lfs-authenticate /r.git download", self.asked())
        for look in ("cd .git/lfs/objects && find . -type f -printf '%M %s %p\\n' | sort", "git config --local --list | sort", "git ls-files -s", "git status --porcelain --ignored"):
            self.assertEqual(*[subprocess.run(look, shell=True, cwd=d, env=self.env, capture_output=True, text=True, check=True).stdout for d in (other, self.area)], look)
        subprocess.run(["diff", "-r", "--exclude=.git", other, self.area], check=True)

    def test_it_is_asked_again_when_it_has_ended(self):
        for lives, asks in ((600, 1), (1, 2)):
            data = os.urandom(100)
            self.large("a.bin", data)
            self.elsewhere.statuses[self.elsewhere.put(data)] = [403]     # so that a second batch is asked for
            self.answer(expires_in=lives)
            self.checkout(self.commit())
            self.assertEqual(sum("lfs" in line for line in self.asked()), asks)
            self.assertEqual(self.file("a.bin"), data)

    def test_lfsconfig_goes_before_it_and_the_token_is_for_the_server_of_the_web(self):
        self.lfs.token = "Basic eC1hY2Nlc3MtdG9rZW46c2VjcmV0LXRva2Vu"
        self.content("a.bin", b"a" * 100)
        write(self.work + "/.lfsconfig", f"[lfs]\nurl = {self.server.url}/r.git/info/lfs\n".encode())
        self.checkout(self.commit())
        self.assertEqual(self.file("a.bin"), b"a" * 100)
        self.assertEqual([line for line in self.asked() if "lfs" in line], [])
        self.assertEqual({r[2] for r in self.lfs.requests}, {self.lfs.token})

    def test_what_it_may_not_say(self):
        self.large("a.bin", b"a" * 100)
        sha = self.commit()
        for said, how in (("ended with status 127: sh: git-lfs-authenticate: command not found", {"text": "", "status": 127, "said": "sh: git-lfs-authenticate: command not found\n"}),
                          ("ended with status 1: no access", {"status": 1, "said": "no access\n"}),
                          ("is no JSON object", {"text": '{"href": "' + SECRET}), ("is no JSON object", {"text": "[]"}), ("is no JSON object", {"text": ""}),
                          ("more than 65536 bytes", {"text": json.dumps({"x": SECRET * 4000})}),
                          ("names headers that are none", {"header": {"X-A": SECRET + "\r\nX-Evil: 1"}}), ("names headers that are none", {"header": {"X-A\r\nX-Evil": "1"}}),
                          ("is none of https", {"href": "http://lfs.example/" + SECRET}), ("is none of https", {"href": "file:///etc/passwd"})):
            with self.subTest(said=said):
                self.answer(**how)
                out = self.checkout(sha, ends=2 if "more than" in said else 1)
                self.assertIn(said, out)
                self.assertNotIn("s3cret-of-ssh", out)
        self.answer(header={"Authorization": "RemoteAuth old"})
        self.assertIn(f"{self.place} does not let us in (HTTP 401)", self.checkout(sha, ends=1))
        self.assertEqual([r[2] for r in self.elsewhere.requests], ["RemoteAuth old"])


if __name__ == "__main__":
    unittest.main()
