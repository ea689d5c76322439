#!/usr/bin/env python3
"""Files of Git LFS: what davit makes of them without git-lfs, against git-lfs itself, from one server; and what a server or a commit may do to it."""
import base64
import hashlib
import os
import shutil
import subprocess
import tempfile
import unittest

from servers.git_http import GitHttp
from servers.lfs import Lfs

AREA = os.path.join(os.environ["DAVIT_BUILD"], "tests", "area_cli")
BASIC = "Basic " + base64.b64encode(b"x-access-token:secret-token").decode()


def pointer(content):
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (hashlib.sha256(content).hexdigest().encode(), len(content))


def write(path, content, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(content)
    os.chmod(path, mode)


def read(path):
    with open(path, "rb") as f:
        return f.read()


class Area(unittest.TestCase):
    """A repository, its work area, and the server of its contents."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="davit-lfs-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.work, self.area, self.bare = self.folder + "/work", self.folder + "/area", self.folder + "/served/r.git"
        self.env = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", HOME=self.folder, GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@t", GIT_COMMITTER_NAME="t",
                        GIT_COMMITTER_EMAIL="t@t", GIT_TERMINAL_PROMPT="0")
        self.git("init", "-q", "-b", "main", self.work)
        os.makedirs(self.folder + "/served")
        self.git("init", "-q", "--bare", self.bare)
        self.git("config", "uploadpack.allowAnySHA1InWant", "true", cwd=self.bare)
        self.lfs = Lfs()
        self.server = GitHttp(self.folder + "/served", lfs=self.lfs)
        self.server.__enter__()
        self.addCleanup(self.server.__exit__)
        self.addCleanup(lambda: self.assertEqual(self.lfs.wrong, []))
        self.url = self.server.url + "/r"
        write(self.work + "/.gitattributes", b"*.bin filter=lfs diff=lfs merge=lfs -text\n")

    def git(self, *words, cwd=None, env=None):
        p = subprocess.run(["git", *words], cwd=cwd, env={**self.env, **(env or {})}, capture_output=True, text=True, check=False)
        self.assertEqual(p.returncode, 0, p.stdout + p.stderr)
        return p.stdout.strip()

    def content(self, name, data, mode=0o644):
        """A file whose content the server has."""
        self.lfs.put(data)
        write(os.path.join(self.work, name), pointer(data), mode)

    def commit(self):
        self.git("add", "-A", cwd=self.work)
        self.git("commit", "-q", "--allow-empty", "-m", "x", cwd=self.work)
        self.git("push", "-q", "-f", self.bare, "HEAD:refs/heads/main", cwd=self.work)
        return self.git("rev-parse", "HEAD", cwd=self.work)

    def checkout(self, sha, lfs=True, token="secret-token", ends=0, **wishes):
        p = subprocess.run([AREA, self.url, sha, self.area, "--lfs", str(int(lfs))], env={**self.env, "TOKEN": token, **wishes}, capture_output=True, text=True, check=False)
        self.assertEqual(p.returncode, ends, p.stdout + p.stderr)
        return p.stdout + p.stderr

    def only_git(self):
        """A PATH without git-lfs."""
        place = self.folder + "/path"
        if not os.path.isdir(place):
            os.makedirs(place)
            for name in ("git", "sh"):
                os.symlink(shutil.which(name), f"{place}/{name}")
        return place

    def file(self, name):
        return read(os.path.join(self.area, name))

    def asked(self):
        return [r[1] for r in self.lfs.requests if r[0] == "GET"]


class LargeFiles(Area):
    @unittest.skipUnless(shutil.which("git-lfs"), "git-lfs is not installed")
    def test_it_is_what_git_lfs_makes(self):
        """The contents come to the server by git-lfs itself, which is asked for the same commit in the order of the action's commands."""
        self.git("lfs", "install", "--local", cwd=self.work)
        write(self.work + "/.gitattributes", b"*.bin filter=lfs diff=lfs merge=lfs -text\n*.crlf filter=lfs text eol=crlf\n*.lock filter=lfs lockable\nplain.lock -filter\n")
        for name, data in (("a.bin", b"a" * 100000), ("same/a.bin", b"a" * 100000), ("b.crlf", b"x\ny\n"), ("c.lock", b"locked"), ("plain.lock", b"plain"),
                           ("none.bin", b""), ("d/e/f.bin", os.urandom(3000))):
            write(os.path.join(self.work, name), data)
        write(self.work + "/run.bin", b"#!/bin/sh\n" * 1000, 0o755)
        write(self.work + "/pointer.txt", pointer(b"a" * 100000))
        write(self.work + "/no-pointer.bin", b"")
        self.git("remote", "add", "origin", self.url, cwd=self.work)
        self.git("add", "-A", cwd=self.work)
        blob = subprocess.run(["git", "hash-object", "-w", "--stdin"], cwd=self.work, input=b"content, and no pointer\n", capture_output=True, check=True).stdout.decode().strip()
        self.git("update-index", "--cacheinfo", f"100644,{blob},no-pointer.bin", cwd=self.work)
        self.git("commit", "-q", "-m", "x", cwd=self.work)
        sha = self.git("rev-parse", "HEAD", cwd=self.work)
        self.git("lfs", "push", "origin", "main", cwd=self.work)
        self.git("push", "-q", "--no-verify", self.bare, "HEAD:refs/heads/main", cwd=self.work)
        other = self.folder + "/other"
        self.git("init", "-q", "-b", "main", other)
        for words in (("remote", "add", "origin", self.url), ("config", "--local", "gc.auto", "0"), ("lfs", "install", "--local"),
                      ("fetch", "-q", "--no-tags", "--depth=1", "origin", f"+{sha}:refs/remotes/origin/main"), ("lfs", "fetch", "origin", "refs/remotes/origin/main"),
                      ("checkout", "-q", "--force", sha)):
            self.git(*words, cwd=other)
        said = self.checkout(sha)
        self.assertIn("files 6 fetched 5 ", said)
        looks = ("find . -path ./.git -prune -o ! -name . -printf '%M %s %p\\n' | sort", "cd .git/lfs/objects && find . -type f -printf '%M %s %p\\n' | sort",
                 "git config --local --list | sort", "git ls-files -s",
                 "git status --porcelain --ignored; find . -path ./.git -prune -o -type f -exec touch {} +; git status --porcelain --ignored")
        for look in looks:
            self.assertEqual(*[subprocess.run(look, shell=True, cwd=d, env=self.env, capture_output=True, text=True, check=True).stdout for d in (other, self.area)], look)
        subprocess.run(["diff", "-r", "--exclude=.git", other, self.area], check=True)
        self.git("lfs", "fsck", "--objects", cwd=self.area)
        # A later step commits one more; git-lfs takes it from there.
        write(self.area + "/later.bin", b"later" * 999)
        self.git("add", "-A", cwd=self.area)
        self.git("commit", "-q", "-m", "later", cwd=self.area)
        later = hashlib.sha256(b"later" * 999).hexdigest()
        self.git("lfs", "push", "origin", "--object-id", later, cwd=self.area)
        self.assertIn(later, self.lfs.contents)

    def test_git_finds_it_unchanged_where_git_lfs_is_not(self):
        self.content("a.bin", b"a" * 5000)
        self.content("b/c.bin", b"c")
        sha = self.commit()
        self.checkout(sha)
        self.assertEqual(self.git("status", "--porcelain", cwd=self.area, env={"PATH": self.only_git()}), "")
        self.assertEqual((self.file("a.bin"), self.file("b/c.bin")), (b"a" * 5000, b"c"))

    def test_what_is_here_is_not_asked_for_and_what_is_wrong_is_brought_again(self):
        self.content("a.bin", b"a" * 5000)
        sha = self.commit()
        self.checkout(sha, lfs=False)
        self.assertEqual(self.file("a.bin"), pointer(b"a" * 5000))
        self.assertIn("files 1 fetched 1", self.checkout(sha))
        self.assertEqual(self.file("a.bin"), b"a" * 5000)
        self.assertIn("files 0 fetched 0", self.checkout(sha))
        os.unlink(self.area + "/a.bin")
        self.assertIn("files 1 fetched 0", self.checkout(sha))
        self.assertEqual(len(self.asked()), 1)
        # An earlier job has put something else in its place, of the same size; or a link to somewhere.
        oid = hashlib.sha256(b"a" * 5000).hexdigest()
        stored = f"{self.area}/.git/lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}"
        write(self.folder + "/elsewhere/x", b"b" * 5000)
        for spoil in (lambda: write(stored, b"b" * 5000), lambda: (os.unlink(stored), os.symlink(self.folder + "/elsewhere/x", stored)),
                      lambda: (shutil.rmtree(self.area + "/.git/lfs"), os.symlink(self.folder + "/elsewhere", self.area + "/.git/lfs"))):
            os.chmod(stored, 0o644)
            spoil()
            os.unlink(self.area + "/a.bin")
            self.assertIn("files 1 fetched 1", self.checkout(sha))
            self.assertEqual(self.file("a.bin"), b"a" * 5000)
        self.assertEqual(os.listdir(self.folder + "/elsewhere"), ["x"])
        self.assertEqual(read(self.folder + "/elsewhere/x"), b"b" * 5000)
        # The next commit has another content.
        self.content("a.bin", b"z" * 7000)
        self.checkout(self.commit())
        self.assertEqual(self.file("a.bin"), b"z" * 7000)

    def test_of_a_checkout_in_part_only_what_is_written_comes(self):
        for name in ("a/a.bin", "docs/b.bin", "docs/deep/c.bin"):
            self.content(name, name.encode() * 999)
        sha = self.commit()
        for how in ({}, {"FILTER": "blob:none"}):
            with self.subTest(how=how):
                shutil.rmtree(self.area, ignore_errors=True)
                self.assertIn("files 2 fetched 2 ", self.checkout(sha, CONE="docs", **how))
                self.assertEqual((self.file("docs/b.bin"), self.file("docs/deep/c.bin")), (b"docs/b.bin" * 999, b"docs/deep/c.bin" * 999))
                self.assertFalse(os.path.exists(self.area + "/a"))
                self.assertEqual(self.git("status", "--porcelain", cwd=self.area, env={"PATH": self.only_git()}), "")
                self.assertIn("files 1 fetched 1 ", self.checkout(sha, **how))
                self.assertEqual(self.file("a/a.bin"), b"a/a.bin" * 999)

    def test_the_token_stays_with_the_repository_s_server(self):
        other = Lfs()
        self.lfs.token = BASIC
        other.ticket = self.lfs.ticket
        with other.alone() as elsewhere:
            self.content("a.bin", b"a" * 100)
            other.put(b"a" * 100)
            sha = self.commit()
            self.checkout(sha)
            self.assertEqual([r[2] for r in self.lfs.requests], [BASIC, BASIC])
            shutil.rmtree(self.area)
            self.lfs.href_base = elsewhere.url
            self.checkout(sha)
            self.assertEqual([(r[2], r[3]["X-Ticket"]) for r in other.requests], [(None, other.ticket)])
            shutil.rmtree(self.area)
            other.requests.clear()
            self.lfs.requests.clear()
            for key in ("lfs.url", "remote.origin.lfsurl"):
                if os.path.exists(self.work + "/.lfsconfig"):
                    os.unlink(self.work + "/.lfsconfig")
                self.git("config", "-f", ".lfsconfig", key, elsewhere.url + "/x/info/lfs/", cwd=self.work)
                self.checkout(self.commit())
                self.assertEqual([(r[1].split("/")[1], r[2]) for r in other.requests], [("x", None), ("lfs-contents", None)])
                self.assertEqual(self.lfs.requests, [])
                other.requests.clear()
                shutil.rmtree(self.area)
        self.assertEqual(other.wrong, [])

    def test_lfsconfig_of_a_stranger_leads_nowhere(self):
        self.content("a.bin", b"a" * 100)
        for text, said in ((b"[lfs]\nurl = file:///etc\n", "an address of http or https"), (b"[lfs]\nurl = ssh://git@example.com/x\n", "an address of http or https"),
                           (b"[include]\npath = /etc/passwd\n", "includes another file"), (b"[ includeIf \"gitdir:/\"]\npath = /dev/zero\n", "includes another file"),
                           (b"[lfs\nnonsense", "no configuration of git"), (b"x" * 70000, "larger than")):
            write(self.work + "/.lfsconfig", text)
            self.assertIn(said, self.checkout(self.commit(), ends=2))
        write(self.work + "/.lfsconfig", b"[lfs]\nfetchexclude = sub/*.bin, /top.bin\n")
        for name in ("sub/x.bin", "top.bin", "sub/sub.bin"):
            write(os.path.join(self.work, name), pointer(b"of no server"))
        self.checkout(self.commit())
        self.assertEqual((self.file("a.bin"), self.file("top.bin"), self.file("sub/x.bin")), (b"a" * 100, pointer(b"of no server"), pointer(b"of no server")))
        write(self.work + "/.lfsconfig", b"[lfs]\nfetchinclude = *.bin\nskipdownloaderrors = true\n")
        self.assertIn("LFS: sub/sub.bin", self.checkout(self.commit()))
        self.assertEqual(self.file("sub/x.bin"), pointer(b"of no server"))

    def test_what_does_not_come_whole_fails_by_its_path(self):
        good, data = b"good" * 50, b"bad" * 50
        oid = hashlib.sha256(data).hexdigest()
        self.content("good.bin", good)
        self.content("sub/bad.bin", data)
        sha = self.commit()
        def tried(said, **faults):
            for name, value in faults.items():
                setattr(self.lfs, name, {oid: value})
            out = self.checkout(sha, ends=2 if "more than" in said else 1)
            self.assertIn("sub/bad.bin", out)
            self.assertIn(said, out)
            self.assertFalse(os.path.exists(f"{self.area}/.git/lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}"))
            self.assertFalse(os.path.exists(self.area + "/.git/lfs/davit-unfinished"))
            self.assertFalse(os.path.exists(self.area + "/sub/bad.bin"))
            for name in faults:
                setattr(self.lfs, name, {})
        tried("does not have it (404: Object does not exist)", errors=404)
        tried("does not let us have it (403: no)", errors=403)
        tried("refuses it (422: no)", errors=422)
        tried("more than the 150 bytes", instead=data + b"!")
        tried("another content came", instead=data[:-1] + b"!")
        tried("149 bytes came instead of 150", instead=data[:-1])
        tried("HTTP 404", statuses=[404] * 3)
        tried("HTTP 403", statuses=[403] * 3)
        self.assertLess(self.lfs.batches.count(2), 9)       # what came is not asked for again
        for text, said in ((b"{", "no JSON"), (b"[]", "lists no objects"), (b'{"objects": []}', "says nothing of it"), (b'{"transfer": "tus", "objects": []}', "chose the transfer 'tus'"),
                           (b"{}" * (3 << 20), "larger than")):
            self.lfs.text = text
            self.assertIn(said, self.checkout(sha, ends=2 if "tus" in said or "larger" in said else 1))
        self.lfs.text, self.lfs.href = None, "file:///etc/passwd"
        self.assertIn("names no address of http", self.checkout(sha, ends=1))
        self.lfs.href, self.lfs.batch_status = None, 404
        self.assertIn("/r.git/info/lfs answered HTTP 404", self.checkout(sha, ends=1))
        self.lfs.batch_status = None
        self.checkout(sha)
        self.assertEqual((self.file("good.bin"), self.file("sub/bad.bin")), (good, data))

    def test_what_breaks_on_the_way_is_asked_for_once_more(self):
        data = os.urandom(100000)
        self.content("a.bin", data)
        sha = self.commit()
        oid = hashlib.sha256(data).hexdigest()
        self.lfs.cut[oid] = 50000
        self.lfs.statuses[oid] = [403]                     # a signature that is too old
        self.checkout(sha)
        self.assertEqual(self.file("a.bin"), data)
        self.assertEqual(self.lfs.batches, [1, 1, 1])

    def test_many_come_in_batches(self):
        for i in range(130):
            self.content(f"d{i % 7}/f{i}.bin", b"%d" % i * 9)
        sha = self.commit()
        self.assertIn("files 130 fetched 130", self.checkout(sha))
        self.assertEqual(sorted(self.lfs.batches), [30, 100])
        for i in range(130):
            self.assertEqual(self.file(f"d{i % 7}/f{i}.bin"), b"%d" % i * 9)

    def test_an_extension_is_refused(self):
        write(self.work + "/a.bin", b"version https://git-lfs.github.com/spec/v1\next-0-foo sha256:" + b"0" * 64 + b"\n" + pointer(b"x").split(b"\n", 1)[1])
        self.assertIn("a.bin: its LFS pointer names an extension", self.checkout(self.commit(), ends=2))


if __name__ == "__main__":
    unittest.main(verbosity=2)
