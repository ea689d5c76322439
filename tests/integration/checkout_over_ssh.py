#!/usr/bin/env python3
"""A work area over SSH: the same as git makes of it with the command that actions/checkout gives it, from a real sshd and git-shell; keys, host keys and servers
that are not as they should be."""
import os
import shutil
import subprocess
import tempfile
import unittest

from servers import mounts
from servers.sshd import Sshd

AREA = os.path.join(os.environ["DAVIT_BUILD"], "tests", "area_cli")
# What a key may run, as a host of repositories has it. It notes what was asked for, and by which protocol.
SERVE = """#!/bin/sh
printf '%s|%s\\n' "$GIT_PROTOCOL" "$SSH_ORIGINAL_COMMAND" >>{folder}/asked
cd {folder}/served || exit 1
command=$(printf %s "$SSH_ORIGINAL_COMMAND" | sed "s,'/,',")
if [ -e {folder}/cut ]; then git-shell -c "$command" 2>/dev/null | {{ dd bs=1 count="$(cat {folder}/cut)" 2>/dev/null; kill $$; }}; fi
exec git-shell -c "$command"
"""


class OverSsh(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="davit-git-ssh-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.env = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", HOME=cls.folder, GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@t", GIT_COMMITTER_NAME="t",
                       GIT_COMMITTER_EMAIL="t@t")
        for name, words in (("ed", ("-t", "ed25519")), ("rsa", ("-t", "rsa", "-b", "2048")), ("pem", ("-t", "rsa", "-b", "2048", "-m", "PEM")), ("stranger", ("-t", "ed25519"))):
            subprocess.run(["ssh-keygen", "-q", *words, "-N", "", "-f", f"{cls.folder}/{name}"], check=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "a phrase", "-f", f"{cls.folder}/locked"], check=True)
        with open(cls.folder + "/serve", "w", encoding="ascii") as file:
            file.write(SERVE.format(folder=cls.folder))
        os.chmod(cls.folder + "/serve", 0o755)
        lines = "".join(f'restrict,command="{cls.folder}/serve" {cls.text(name + ".pub")}' for name in ("ed", "rsa", "pem", "locked"))
        cls.sshd = Sshd(lets_in=lines, options=["AcceptEnv GIT_PROTOCOL"])
        cls.sshd.__enter__()
        cls.addClassCleanup(cls.sshd.__exit__)
        cls.url = f"ssh://{cls.sshd.user}@127.0.0.1:{cls.sshd.port}/octo/demo.git"
        cls.known = f"[127.0.0.1]:{cls.sshd.port} {cls.sshd.host_key_line}\n"
        work = cls.folder + "/work"
        cls.git("init", "-q", "-b", "main", work)
        for n in range(3):
            os.makedirs(f"{work}/d{n}")
            for i in range(40):
                with open(f"{work}/d{n}/f{i}", "wb") as file:
                    file.write(os.urandom(500) * 4)
            cls.git("add", "-A", cwd=work)
            cls.git("commit", "-q", "-m", f"c{n}", cwd=work)
        cls.git("tag", "-a", "-m", "one", "v1", cwd=work)
        cls.sha = cls.git("rev-parse", "HEAD", cwd=work)
        os.makedirs(cls.folder + "/served/octo")
        cls.git("clone", "-q", "--bare", work, cls.folder + "/served/octo/demo.git")
        cls.git("config", "uploadpack.allowAnySHA1InWant", "true", cwd=cls.folder + "/served/octo/demo.git")

    def setUp(self):
        self.area = tempfile.mkdtemp(dir=self.folder)
        for name in ("asked", "cut"):
            if os.path.exists(f"{self.folder}/{name}"):
                os.unlink(f"{self.folder}/{name}")

    @classmethod
    def text(cls, name):
        with open(f"{cls.folder}/{name}", encoding="ascii") as file:
            return file.read()

    @classmethod
    def git(cls, *words, cwd=None, env=None):
        return subprocess.run(["git", *words], cwd=cwd, env={**cls.env, **(env or {})}, capture_output=True, text=True, check=True).stdout.strip()

    def checkout(self, key="ed", known=None, url=None, depth=1, ends=0, text=None, more=None, before=()):
        env = {**self.env, **(more or {}), "KEY": self.text(key) if text is None else text, "KNOWN_HOSTS": self.known if known is None else known}
        p = subprocess.run([*before, AREA, url or self.url, self.sha, self.area, "--depth", str(depth)], env=env, capture_output=True, text=True, check=False)
        self.assertEqual(p.returncode, ends, p.stdout + p.stderr)
        self.assertNotIn("PRIVATE KEY", p.stdout + p.stderr)
        return p.stderr

    def asked(self):
        return self.text("asked").splitlines() if os.path.exists(self.folder + "/asked") else []

    def assert_as_git(self, depth):
        other = tempfile.mkdtemp(dir=self.folder)
        with open(self.folder + "/known", "w", encoding="ascii") as file:
            file.write(self.known)
        ssh = f'"{shutil.which("ssh")}" -i "{self.folder}/ed" -o StrictHostKeyChecking=yes -o CheckHostIP=no -o "UserKnownHostsFile={self.folder}/known"'
        self.git("init", "-q", other)
        self.git("remote", "add", "origin", self.url, cwd=other)
        words = [f"--depth={depth}", "--no-tags", self.sha] if depth else ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
        self.git("-c", "protocol.version=2", "fetch", "-q", "origin", *words, cwd=other, env={"GIT_SSH_COMMAND": ssh})
        self.git("checkout", "-q", self.sha, cwd=other)
        subprocess.run(["diff", "-r", "--exclude=.git", other, self.area], check=True)
        for look in (("log", "--format=%H"), ("for-each-ref", "--format=%(objectname) %(refname)"), ("rev-parse", "--is-shallow-repository"), ("status", "--porcelain", "--ignored")):
            self.assertEqual(self.git(*look, cwd=self.area), self.git(*look, cwd=other), look)
        self.git("fsck", cwd=self.area)

    def test_it_is_what_git_makes(self):
        self.checkout()
        self.assertEqual(self.asked(), ["version=2|git-upload-pack '/octo/demo.git'"])
        self.assert_as_git(1)
        self.checkout(depth=2)                              # of an area that has less
        self.assertEqual(self.git("rev-list", "--count", "HEAD", cwd=self.area), "2")

    def test_all_of_history_comes_with_branches_and_tags(self):
        self.checkout(depth=0)
        self.assert_as_git(0)

    def test_a_filter_leaves_objects_at_the_server(self):
        self.git("config", "uploadpack.allowFilter", "true", cwd=self.folder + "/served/octo/demo.git")
        self.checkout(depth=0, more={"FILTER": "tree:0"})
        self.assertIn("?", self.git("rev-list", "--objects", "--all", "--missing=print", cwd=self.area))
        self.assertEqual(self.git("status", "--porcelain", cwd=self.area), "")
        self.assertEqual(self.git("rev-parse", "HEAD", cwd=self.area), self.sha)
        subprocess.run(["diff", "-r", "--exclude=.git", self.folder + "/work", self.area], check=True)

    def test_a_server_that_takes_no_variables_is_asked_by_version_0(self):
        with Sshd(lets_in=f'restrict,command="{self.folder}/serve" {self.text("ed.pub")}') as plain:
            self.checkout(url=f"ssh://{plain.user}@127.0.0.1:{plain.port}/octo/demo.git", known=f"[127.0.0.1]:{plain.port} {plain.host_key_line}\n")
        self.assertEqual(len(self.asked()), 2)
        self.assertEqual({line.split("|")[0] for line in self.asked()}, {""})
        self.assertEqual(self.git("status", "--porcelain", cwd=self.area), "")

    def test_keys_of_each_kind_and_form_are_taken(self):
        for key in ("rsa", "pem"):
            shutil.rmtree(self.area)
            self.checkout(key)
        shutil.rmtree(self.area)
        self.checkout(text="\n " + self.text("ed").replace("\n", "\r\n") + "\n\n")
        self.assertEqual(self.git("rev-parse", "HEAD", cwd=self.area), self.sha)

    def test_a_key_that_cannot_be_used_is_told(self):
        self.assertIn("passphrase", self.checkout("locked", ends=2))
        self.assertIn("refused", self.checkout("stranger", ends=1))
        self.checkout(text="no key", ends=2)
        self.assertEqual(self.asked(), [])

    def test_a_host_that_is_not_known_is_not_asked(self):
        other = f"[127.0.0.1]:{self.sshd.port} {' '.join(self.text('stranger.pub').split()[:2])}\n"
        self.assertIn("is not in the known hosts", self.checkout(known="", ends=1))
        self.assertIn("is not in the known hosts", self.checkout(known="github.com " + self.sshd.host_key_line, ends=1))
        self.assertIn("is not the pinned one", self.checkout(known=other, ends=1))
        self.assertIn("revoked", self.checkout(known=self.known + "@revoked " + self.known, ends=1))
        self.assertEqual(self.asked(), [])

    @unittest.skipIf(mounts.why_not(["/etc"]), mounts.why_not(["/etc"]))
    def test_hosts_that_the_machine_knows_are_known(self):
        etc = tempfile.mkdtemp(dir=self.folder)
        covered = [*mounts.command(), "sh", "-c", f'mount --bind {etc} /etc/ssh && exec "$@"', "sh"]
        for name, text, ends in (("ssh_known_hosts", self.known, 0), ("ssh_known_hosts2", self.known, 0), ("ssh_known_hosts", self.known + "@revoked " + self.known, 1),
                                 ("ssh_known_hosts", "x" * (5 << 20), 1)):
            with open(f"{etc}/{name}", "w", encoding="ascii") as file:
                file.write(text)
            shutil.rmtree(self.area, ignore_errors=True)
            out = self.checkout(known="", ends=ends, before=covered)
            self.assertIn("revoked" if "revoked" in text else "is not in the known hosts" if ends else "", out)
            os.unlink(f"{etc}/{name}")

    def test_what_git_says_there_is_told(self):
        self.assertIn("octo/none.git", self.checkout(url=self.url.replace("demo", "none"), ends=1))
        for size in (200, 5000):
            with open(self.folder + "/cut", "w", encoding="ascii") as file:
                file.write(str(size))
            self.checkout(ends=1)
        for url in ("ssh:///octo/demo.git", "ssh://-oX@127.0.0.1/octo/demo.git", "git@-oProxyCommand=x:octo/demo", "git@127.0.0.1:octo/d emo.git"):
            self.assertIn("is no address of a repository behind SSH", self.checkout(url=url, ends=2))


if __name__ == "__main__":
    unittest.main(verbosity=2)
