#!/usr/bin/env python3
"""Submodules of a work area that came over SSH: the same as git makes of them with the key of the step, from a real sshd; and what their addresses may not do."""
import os
import shutil
import subprocess
import unittest

from integration.checkout_of_submodules import Compared, Repo, git, modules
from servers.git_http import GitHttp
from servers.sshd import Sshd

# What the key may run. It notes what was asked for; repositories lie below the one folder.
SERVE = """#!/bin/sh
echo "$SSH_ORIGINAL_COMMAND" >>{folder}/asked
cd {folder}/served && exec git-shell -c "$(printf %s "$SSH_ORIGINAL_COMMAND" | sed "s,'/,',")"
"""


class OverSsh(Compared):
    def setUp(self):
        super().setUp()
        self.write("serve", SERVE.format(folder=self.folder), 0o755)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", self.folder + "/key"], check=True)
        self.sshd = Sshd(lets_in=f'restrict,command="{self.folder}/serve" {self.text("key.pub")}', options=["AcceptEnv GIT_PROTOCOL"])
        self.sshd.__enter__()
        self.addCleanup(self.sshd.__exit__)
        self.host = f"ssh://{self.sshd.user}@127.0.0.1:{self.sshd.port}"
        self.web, self.url = self.url, self.host + "/owner/top.git"
        self.write("known", f"[127.0.0.1]:{self.sshd.port} {self.sshd.host_key_line}\n")
        self.ssh = f'"{shutil.which("ssh")}" -F none -i "{self.folder}/key" -o StrictHostKeyChecking=yes -o CheckHostIP=no -o "UserKnownHostsFile={self.folder}/known"'
        self.more = {"KEY": self.text("key"), "KNOWN_HOSTS": self.text("known"), "SERVER": self.web}

    def write(self, name, text, mode=0o600):
        with open(f"{self.folder}/{name}", "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(f"{self.folder}/{name}", mode)

    def text(self, name):
        with open(f"{self.folder}/{name}", encoding="ascii") as file:
            return file.read()

    def asked(self):
        return self.text("asked").splitlines() if os.path.exists(self.folder + "/asked") else []

    def connections(self):
        return self.sshd.log().count("Accepted publickey")

    def three(self):
        """top ← lib ← deep, and one of the same server's web: each address has another form."""
        deep = git("rev-parse", "HEAD", cwd=self.deep.work)
        web = Repo(self.server, "owner/web.git")
        lib = self.lib.commit({".gitmodules": modules(deep=("in/deep", f"git+{self.host}/owner/deep.git"))}, {"in/deep": deep})
        return self.top.commit({".gitmodules": modules(lib=("ext/lib", "../lib.git"), web=("web", self.server.url + "/owner/web.git", "shallow = true"))},
                               {"ext/lib": lib, "web": git("rev-parse", "HEAD", cwd=web.work)})

    def test_it_is_what_git_makes_by_one_connection(self):
        commit = self.three()
        self.bring(commit)
        self.assertEqual(self.connections(), 1)
        self.assertEqual(self.bring(commit), {"count": 3, "left": 0, "written": 0})
        self.assertEqual({request[2] for request in self.server.requests}, {"Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0"})
        self.assert_as_git(commit)

    def test_a_host_that_is_not_known_is_not_asked(self):
        """The repository's own is; a submodule may name any other."""
        at = git("rev-parse", "HEAD", cwd=self.deep.work)
        commit = self.top.commit({".gitmodules": modules(x=("x", f"ssh://{self.sshd.user}@localhost:{self.sshd.port}/owner/deep.git"))}, {"x": at})
        p = self.bring(commit, check=False)
        self.assertEqual(p.returncode, 1, p.stderr)
        self.assertIn("submodule 'x': ", p.stderr)
        self.assertIn(f": [localhost]:{self.sshd.port} is not in the known hosts\n", p.stderr)
        self.assertIn("`ssh-known-hosts:`", p.stderr.splitlines()[1])
        self.assertEqual(set(self.asked()), {"git-upload-pack '/owner/top.git'"})
        with self.assertRaises(AssertionError):
            self.by_git(commit)

    def test_addresses_of_a_hostile_repository_run_nothing(self):
        at, mark = git("rev-parse", "HEAD", cwd=self.deep.work), self.folder + "/ran"
        for url, said in ((f"ssh://-oProxyCommand=touch%20{mark}/x", "is no address of a repository behind SSH"),
                          (f"git@-oProxyCommand=touch${{IFS}}{mark}:x", "is no address of a repository behind SSH"),
                          (f"-oProxyCommand=touch:{mark}", "No url found for submodule path 'x'"),
                          ("git@127.0.0.1:-x/y", "is no address of a repository behind SSH"),
                          (f"{self.host}/owner/deep.git';touch {mark};'", "is no address of a repository behind SSH"),
                          (f"{self.host}/owner/deep.git?x", "is no address of a repository behind SSH"),
                          (f"ssh://a:b@127.0.0.1:{self.sshd.port}/owner/deep.git", "is no address of a repository behind SSH"),
                          ("ssh://git@127.0.0.1:70000/x", "is no address of a repository behind SSH"),
                          (f"ext::touch {mark}", "transport 'ext' not allowed"), (self.deep.bare, "transport 'file' not allowed"),
                          ("git://127.0.0.1/x", "are not fetched by this protocol")):
            with self.subTest(url=url):
                commit = self.top.commit({".gitmodules": f'[submodule "x"]\n\tpath = x\n\turl = "{url}"\n'}, {"x": at})
                p = self.bring(commit, check=False)
                self.assertNotEqual(p.returncode, 0)
                self.assertIn(said, p.stderr)
                self.assertFalse(os.path.exists(mark))
        self.assertEqual(set(self.asked()), {"git-upload-pack '/owner/top.git'"})

    def test_another_server_of_the_web_gets_no_token(self):
        with GitHttp(self.folder + "/served") as stranger:
            at = git("rev-parse", "HEAD", cwd=self.deep.work)
            self.bring(self.top.commit({".gitmodules": modules(a=("a", stranger.url + "/owner/deep.git"))}, {"a": at}))
            self.assertEqual({request[2] for request in stranger.requests}, {None})

    def test_a_server_that_takes_no_variables_is_asked_by_version_0(self):
        with Sshd(lets_in=f'restrict,command="{self.folder}/serve" {self.text("key.pub")}') as plain:
            self.host = f"ssh://{plain.user}@127.0.0.1:{plain.port}"
            self.more["KNOWN_HOSTS"] = f"[127.0.0.1]:{plain.port} {plain.host_key_line}\n"
            self.bring(self.three(), url=self.host + "/owner/top.git")
        self.assertEqual(git("status", "--porcelain", "--ignored", cwd=self.area), "")
        self.assertEqual(len(git("submodule", "status", "--recursive", cwd=self.area).split("\n")), 3)
        self.assertNotRegex(git("submodule", "status", "--recursive", cwd=self.area), "(?m)^[-+U]")


if __name__ == "__main__":
    unittest.main()
