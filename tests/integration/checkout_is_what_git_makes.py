#!/usr/bin/env python3
"""The work area of checkout against git itself, over git's own http-backend."""
import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest
import zlib

from servers.git_http import GitHttp

AREA = os.path.join(os.environ["DAVIT_BUILD"], "tests", "checkout_bench")
CANCELLABLE = os.path.join(os.environ["DAVIT_BUILD"], "tests", "area_cli")
ENV = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null", GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@t",
           GIT_COMMITTER_NAME="t", GIT_COMMITTER_EMAIL="t@t")


def git(*words, cwd=None, data=None):
    return subprocess.run(["git", *words], cwd=cwd, env=ENV, input=data, capture_output=True, check=True).stdout.decode().strip()


def write(path, content, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(content)
    os.chmod(path, mode)


class Checkout(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="davit-checkout-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.work, self.area = self.folder + "/work", self.folder + "/area"
        self.bare = self.folder + "/served/r.git"
        git("init", "-q", "-b", "main", self.work)
        write(self.work + "/read.me", b"one\n")
        write(self.work + "/bin/tool", b"#!/bin/sh\n", 0o755)
        for i in range(300):
            write(f"{self.work}/data/d{i % 7}/f{i}.txt", b"line %d\n" % i * 30)
        write(self.work + "/empty", b"")
        os.symlink("../read.me", self.work + "/bin/link")
        self.first = self.commit("first")
        os.makedirs(self.folder + "/served")
        git("clone", "-q", "--bare", self.work, self.bare)
        git("config", "uploadpack.allowAnySHA1InWant", "true", cwd=self.bare)
        git("remote", "add", "served", self.bare, cwd=self.work)
        self.server = GitHttp(self.folder + "/served")
        self.server.__enter__()
        self.addCleanup(self.server.__exit__)
        self.url = self.server.url + "/r.git"

    def commit(self, message):
        git("add", "-A", cwd=self.work)
        git("commit", "-q", "--allow-empty", "-m", message, cwd=self.work)
        return git("rev-parse", "HEAD", cwd=self.work)

    def push(self):
        git("push", "-q", "-f", "served", "HEAD:refs/heads/main", cwd=self.work)

    def checkout(self, commit, ref="", keep=False, check=True, env=None):
        words = [AREA, self.url, commit, self.area, ref] + (["keep"] if keep else [])
        p = subprocess.run(words, env={**ENV, **(env or {})}, capture_output=True, text=True, timeout=120, check=False)
        if check:
            self.assertEqual(p.returncode, 0, p.stderr)
            return json.loads(p.stdout)
        return p

    def assert_same_files(self, other):
        p = subprocess.run(["diff", "-r", "--no-dereference", "--exclude=.git", other, self.area], capture_output=True, text=True, check=False)
        self.assertEqual(p.stdout + p.stderr, "")

    def assert_files_as_git(self, commit):
        """Where git itself may see modifications: what was committed is not what it would commit."""
        other = os.path.join(tempfile.mkdtemp(dir=self.folder), "git")
        git("init", "-q", other)
        git("fetch", "-q", "--depth", "1", self.url, commit, cwd=other)
        git("checkout", "-q", "FETCH_HEAD", cwd=other)
        self.assert_same_files(other)

    def assert_as_git(self, commit):
        """The same files, bytes, modes and links as git makes of it; git finds the area clean and whole."""
        other = os.path.join(tempfile.mkdtemp(dir=self.folder), "git")
        git("init", "-q", other)
        git("fetch", "-q", "--depth", "1", self.url, commit, cwd=other)
        git("checkout", "-q", "FETCH_HEAD", cwd=other)
        self.assert_same_files(other)
        modes = [subprocess.run("find . -path ./.git -prune -o ! -name . -printf '%M %p\\n' | sort", shell=True, cwd=d, capture_output=True, text=True, check=True).stdout
                 for d in (other, self.area)]
        self.assertEqual(*modes)
        self.assertEqual(git("status", "--porcelain", "--ignored", cwd=self.area), "")
        self.assertEqual(git("rev-parse", "HEAD", cwd=self.area), commit)
        git("fsck", "--full", cwd=self.area)

    def test_a_first_checkout_is_byte_for_byte_what_git_makes(self):
        self.checkout(self.first)
        self.assert_as_git(self.first)
        self.assertEqual(git("rev-list", "--count", "HEAD", cwd=self.area), "1")
        self.assertEqual(self.server.requests[0][:2], ("POST", "/r.git/git-upload-pack"), "one request, no listing of references before it")

    def test_a_branch_is_made_and_followed(self):
        self.checkout(self.first, "refs/heads/main")
        self.assertEqual(git("symbolic-ref", "HEAD", cwd=self.area), "refs/heads/main")
        self.assertEqual(git("rev-parse", "origin/main", cwd=self.area), self.first)

    def test_the_next_commit_writes_only_what_differs_and_removes_what_is_not_of_it(self):
        self.checkout(self.first)
        write(self.area + "/build/out.o", b"junk")
        write(self.area + "/data/d1/untracked", b"junk")
        write(self.work + "/data/d2/f2.txt", b"changed\n")
        write(self.work + "/new/file", b"new\n")
        os.unlink(self.work + "/data/d3/f3.txt")
        second = self.commit("second")
        self.push()
        result = self.checkout(second)
        self.assertEqual(result["written"], 2)
        self.assert_as_git(second)

    def test_changed_and_deleted_tracked_files_are_restored(self):
        self.checkout(self.first)
        write(self.area + "/read.me", b"two\n")                 # same size
        os.unlink(self.area + "/data/d1/f1.txt")
        shutil.rmtree(self.area + "/data/d2")
        os.chmod(self.area + "/bin/tool", 0o644)
        self.checkout(self.first)
        self.assert_as_git(self.first)

    def test_a_directory_that_became_a_link_is_not_followed(self):
        outside = self.folder + "/outside"
        os.makedirs(outside)
        self.checkout(self.first)
        shutil.rmtree(self.area + "/data")
        os.symlink(outside, self.area + "/data")
        self.checkout(self.first)
        self.assertEqual(os.listdir(outside), [])
        self.assert_as_git(self.first)

    def test_files_directories_and_links_change_into_each_other(self):
        self.checkout(self.first)
        shutil.rmtree(self.work + "/data/d1")
        write(self.work + "/data/d1", b"a file now\n")
        os.unlink(self.work + "/read.me")
        write(self.work + "/read.me/inside", b"a directory now\n")
        os.unlink(self.work + "/bin/link")
        write(self.work + "/bin/link", b"no link any more\n")
        second = self.commit("second")
        self.push()
        self.checkout(second)
        self.assert_as_git(second)
        self.checkout(self.first)
        self.assert_as_git(self.first)

    def test_without_clean_what_git_does_not_know_stays(self):
        self.checkout(self.first)
        write(self.area + "/cache/object", b"keep me")
        os.unlink(self.work + "/data/d3/f3.txt")
        second = self.commit("second")
        self.push()
        self.checkout(second, keep=True)
        self.assertTrue(os.path.exists(self.area + "/cache/object"))
        self.assertFalse(os.path.exists(self.area + "/data/d3/f3.txt"))

    def test_what_a_user_of_git_has_rewritten_makes_no_other_area(self):
        write(self.folder + "/home/.gitconfig", f'[url "http://elsewhere.invalid/"]\n\tinsteadOf = {self.server.url}/\n'.encode())
        env = {"HOME": self.folder + "/home", "XDG_CONFIG_HOME": self.folder + "/home"}
        self.checkout(self.first, env=env)
        self.assertEqual(git("config", "remote.origin.url", cwd=self.area), self.url)
        write(self.work + "/data/d2/f2.txt", b"changed\n")
        second = self.commit("second")
        self.push()
        self.assertEqual(self.checkout(second, env=env)["written"], 1)
        self.assert_as_git(second)

    def test_line_ends_and_encodings_follow_the_attributes(self):
        write(self.work + "/.gitattributes", b"*.crlf text eol=crlf\n*.u16 text working-tree-encoding=UTF-16LE\n*.bin -text\n")
        write(self.work + "/a.crlf", b"one\r\ntwo\r\n")
        write(self.work + "/b.u16", "Gr\u00fc\u00dfe\n".encode("utf-16-le"))
        write(self.work + "/c.bin", b"one\ntwo\r\n")
        second = self.commit("second")
        self.push()
        self.checkout(second)
        self.assert_as_git(second)
        with open(self.area + "/b.u16", "rb") as f:
            self.assertEqual(f.read(), "Gr\u00fc\u00dfe\n".encode("utf-16-le"))

    def test_every_name_of_an_encoding_that_git_knows_is_one(self):
        text = "G abc 123\nline two\n"
        names = ["UTF-16LE-BOM", "utf-16le-bom", "UTF-16BE-BOM", "utf16be-bom", "UTF-16", "utf16", "UTF-16BE", "utf16le", "UTF-32", "UTF-32LE",
                 "latin1", "latin-1", "ISO-8859-1", "iso-8859-15", "windows-1252", "cp1251", "SHIFT-JIS", "EUC-JP", "ISO-2022-JP", "GB18030",
                 "Big5", "KOI8-R", "utf8", "UTF-8", "US-ASCII", "no-such-encoding"]
        extra = {"latin1": "caf\u00e9\n", "cp1251": "\u043f\u0440\n", "SHIFT-JIS": "\u65e5\u672c", "ISO-2022-JP": "\u65e5\u672c", "UTF-16": "\U0001f600\n",
                 "UTF-16LE-BOM": "\u00fc\U0001f600", "iso-8859-15": "\u65e5\n", "GB18030": "\u65e5\n", "KOI8-R": "\u043f\n"}
        lines = [f"f{i} text working-tree-encoding={name}\ng{i} text eol=crlf working-tree-encoding={name}\nh{i} working-tree-encoding={name}\n"
                 for i, name in enumerate(names)]
        write(self.work + "/.gitattributes", "".join(lines).encode())
        git("add", ".gitattributes", cwd=self.work)
        for i, name in enumerate(names):
            blob = git("hash-object", "-w", "--stdin", cwd=self.work, data=(text + extra.get(name, "")).encode())
            for kind in "fgh":
                git("update-index", "--add", "--cacheinfo", f"100644,{blob},{kind}{i}", cwd=self.work)
        git("commit", "-q", "-m", "encodings", cwd=self.work)
        commit = git("rev-parse", "HEAD", cwd=self.work)
        self.push()
        self.checkout(commit)
        self.assert_files_as_git(commit)

    def test_ident_is_expanded_as_git_does_it(self):
        texts = [b"$Id$\n", b"a $Id$ b $Id$\n", b"$Id: 0123456789abcdef0123456789abcdef01234567 $\r\n", b"$Id:old$ $Id: $ $Id:$ $Id: x$\n",
                 b"$Id: a foreign one $\n", b"$Id: cut\n$Id$\n", b"$iD$ $Id $ $id$ $$Id$$ $Id", b"\0binary $Id$ \0", b"$Id: no end", b"", b"$Id$",
                 b"$Id: a b$ $iD: q $ $Id$\n$iD$\n", b"$$Id$ $I$Id$ $Id $Id$ x\n",
                 b"$Id: a b$Id$ $Id$ $Id$\n", b"$Id:  $ $Id: a $ $Id:a $ $Id: \n$\n"]
        write(self.work + "/.gitattributes", b"*.i ident\n*.c ident text eol=crlf\n*.u ident text working-tree-encoding=UTF-16\n*.n -ident\n")
        git("add", ".gitattributes", cwd=self.work)
        for i, text in enumerate(texts):
            blob = git("hash-object", "-w", "--stdin", cwd=self.work, data=text)
            for kind in "icun":
                git("update-index", "--add", "--cacheinfo", f"100644,{blob},{i}.{kind}", cwd=self.work)
        git("commit", "-q", "-m", "ident", cwd=self.work)
        commit = git("rev-parse", "HEAD", cwd=self.work)
        self.push()
        self.checkout(commit)
        self.assert_files_as_git(commit)

    def measured(self, commit, limit):
        """A checkout, and the most memory that it had to itself; page cache of packs is not counted."""
        words = [AREA, self.url, commit, self.area]
        code = ("import resource,subprocess,sys; p=subprocess.run(sys.argv[2:],capture_output=True,text=True); sys.stderr.write(p.stderr);"
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(p.returncode)")
        p = subprocess.run(["python3", "-c", code, str(limit), *words], env=ENV, capture_output=True, text=True, timeout=200, check=False)
        return p, int(p.stdout) // 1024

    def commit_zeros(self, size):
        """Without what git would do for such a file besides: differences, a low level for zeros, unpacking at the server."""
        git("config", "core.bigFileThreshold", "1m", cwd=self.work)
        git("config", "core.compression", "1", cwd=self.work)
        git("config", "receive.unpackLimit", "1", cwd=self.bare)
        with open(self.work + "/zeros", "wb") as f:
            f.truncate(size)
        commit = self.commit("zeros")
        self.push()
        return commit

    def test_a_few_trees_that_name_more_files_than_anybody_has_are_refused(self):
        def mktree(*entries):
            return git("mktree", cwd=self.work, data="".join(entries).encode())
        def commit(tree):
            self.assertEqual(git("update-ref", "refs/heads/main", made := git("commit-tree", "-m", "x", tree, cwd=self.work), cwd=self.work), "")
            self.push()
            return made
        blob = git("hash-object", "-w", "--stdin", cwd=self.work, data=b"x")
        wide = mktree(*(f"100644 blob {blob}\tf{i}\n" for i in range(10)))
        for _ in range(9):
            wide = mktree(*(f"040000 tree {wide}\td{i}\n" for i in range(10)))
        git("fast-import", "--quiet", cwd=self.work, data=f"commit refs/heads/deep\ncommitter t <t@t> 0 +0000\ndata 0\nM 100644 {blob} {'d/' * 520}f\n".encode())
        deep = git("rev-parse", "deep^{tree}", cwd=self.work)
        git("config", "uploadpack.allowFilter", "true", cwd=self.bare)
        for tree in (wide, deep):
            made = commit(tree)
            p = subprocess.run([CANCELLABLE, self.url, made, self.folder + "/in-part"], env={**ENV, "FILTER": "blob:none"}, capture_output=True, text=True, timeout=60, check=False)
            self.assertIn("the commit has more than 2097152 files and directories, or more than 512 levels", p.stderr)
            p, used = self.measured(made, 1)
            self.assertEqual(p.returncode, 1)
            self.assertIn("the commit has more than 2097152 files and directories, or more than 512 levels", p.stderr)
            self.assertLess(used, 200)
            self.assertEqual(os.listdir(self.area), [".git"])

    def test_a_large_file_of_zeros_costs_no_memory_of_its_size(self):
        size = 200 << 20
        commit = self.commit_zeros(size)
        p, used = self.measured(commit, 0)
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertEqual(os.path.getsize(self.area + "/zeros"), size)
        self.assertLess(used, 120)
        # Loose, and replaced where it was changed.
        git("init", "-q", self.folder + "/other")
        blob = git("-c", "core.compression=1", "hash-object", "-w", self.area + "/zeros", cwd=self.folder + "/other")
        os.makedirs(f"{self.area}/.git/objects/{blob[:2]}", exist_ok=True)
        shutil.copy(f"{self.folder}/other/.git/objects/{blob[:2]}/{blob[2:]}", f"{self.area}/.git/objects/{blob[:2]}")
        with open(self.area + "/zeros", "r+b") as f:
            f.write(b"changed")
        p, used = self.measured(commit, 0)
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertLess(used, 120)
        with open(self.area + "/zeros", "rb") as f:
            self.assertEqual(f.read(8), bytes(8))
        self.assertEqual(git("status", "--porcelain", cwd=self.area), "")

    def test_a_large_file_that_is_to_be_converted_is_refused_by_its_size(self):
        write(self.work + "/.gitattributes", b"zeros text eol=crlf\n")
        commit = self.commit_zeros(300 << 20)
        p, used = self.measured(commit, 0)
        self.assertEqual(p.returncode, 1)
        self.assertIn("zeros: an object of 300 MiB", p.stderr)
        self.assertIn("256 MiB", p.stderr)
        self.assertLess(used, 120)

    def commit_of_a_difference(self, mebibytes):
        """A base of 1 MiB, and a file that is nothing but copies of it: a pack of some hundred bytes."""
        def name(kind, data):
            return hashlib.sha1(b"%s %d\0" % (kind, len(data)) + data).digest()

        def entry(kind, size, data, base=b""):
            head, size = [kind << 4 | size & 15], size >> 4
            while size:
                head[-1] |= 128
                head.append(size & 127)
                size >>= 7
            return bytes(head) + base + zlib.compress(data)

        def number(n):
            out = b""
            while n > 127:
                out, n = out + bytes([n & 127 | 128]), n >> 7
            return out + bytes([n])

        base, large = bytes(1 << 20), bytes(mebibytes << 20)
        delta = number(len(base)) + number(len(large)) + b"\xc0\x10" * mebibytes
        tree = b"100644 base\0" + name(b"blob", base) + b"100644 large\0" + name(b"blob", large)
        text = b"tree %s\nauthor t <t@t> 1 +0000\ncommitter t <t@t> 1 +0000\n\nx\n" % name(b"tree", tree).hex().encode()
        pack = b"PACK" + struct.pack(">II", 2, 4) + entry(3, len(base), base) + entry(7, len(delta), delta, name(b"blob", base))
        pack += entry(2, len(tree), tree) + entry(1, len(text), text)
        git("index-pack", "--stdin", cwd=self.bare, data=pack + hashlib.sha1(pack).digest())
        commit = name(b"commit", text).hex()
        git("update-ref", "refs/heads/difference", commit, cwd=self.bare)
        return commit

    def test_a_difference_that_unfolds_to_more_than_the_ceiling_is_refused_while_the_pack_is_read(self):
        p, used = self.measured(self.commit_of_a_difference(300), 0)
        self.assertEqual(p.returncode, 1)
        self.assertIn("an object of 300 MiB", p.stderr)
        self.assertLess(used, 120)
        shutil.rmtree(self.area)
        p, used = self.measured(self.commit_of_a_difference(40), 0)
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertEqual(os.path.getsize(self.area + "/large"), 40 << 20)

    def test_submodules_and_large_file_pointers_are_left_and_counted(self):
        write(self.work + "/big.dat", b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n")
        git("update-index", "--add", "--cacheinfo", f"160000,{self.first},sub", cwd=self.work)
        git("add", "big.dat", cwd=self.work)
        git("commit", "-q", "-m", "second", cwd=self.work)
        second = git("rev-parse", "HEAD", cwd=self.work)
        self.push()
        result = self.checkout(second)
        self.assertEqual((result["lfs"], result["submodules"]), (1, 1))
        self.assertEqual(os.listdir(self.area + "/sub"), [])

    def evil_commit(self, name):
        blob = git("hash-object", "-w", "--stdin", cwd=self.bare, data=b"evil\n")
        raw = b"100644 " + name.encode() + b"\0" + bytes.fromhex(blob)
        tree = git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", cwd=self.bare, data=raw)
        commit = git("commit-tree", tree, "-m", "evil", cwd=self.bare)
        git("update-ref", "refs/heads/evil", commit, cwd=self.bare)
        return commit

    def test_names_that_leave_the_area_are_refused(self):
        for name in ("..", ".git", ".GIT", "../outside", "a/../../outside", "/outside"):
            with self.subTest(name=name):
                p = self.checkout(self.evil_commit(name), check=False)
                self.assertEqual(p.returncode, 1, p.stdout)
                self.assertFalse(os.path.exists(self.folder + "/outside"))

    def test_an_answer_that_ends_in_the_middle_is_an_error_and_the_next_try_works(self):
        self.server.cut = 3000
        p = self.checkout(self.first, check=False)
        self.assertEqual(p.returncode, 1)
        self.assertIn("fetch", p.stderr)
        self.assertEqual(os.listdir(self.area), [".git"])
        self.checkout(self.first)
        self.assert_as_git(self.first)

    def large_commit(self):
        """More than the queue between network and writer holds; things that are decoded in more than one way."""
        for i in range(25):
            write(f"{self.work}/large/d{i % 3}/r{i}", os.urandom(200_000))
        text = b"".join(b"line %d of a text\n" % i for i in range(4000))
        for i in range(10):
            write(f"{self.work}/similar/t{i}", text.replace(b"line %d " % (i * 7), b"changed "))
            write(f"{self.work}/same/s{i}/x", b"the same everywhere\n")
        write(self.work + "/huge", bytes(17 << 20))
        write(self.work + "/large/tool", b"#!/bin/sh\n" * 1000, 0o755)
        os.symlink("../same/s0/x", self.work + "/large/link")
        commit = self.commit("large")
        self.push()
        git("-c", "pack.window=3", "repack", "-q", "-a", "-d", cwd=self.bare)
        return commit

    def test_large_similar_and_equal_files_come_whole_the_first_time(self):
        commit = self.large_commit()
        result = self.checkout(commit)
        self.assertEqual(result["written"], result["files"])
        self.assert_as_git(commit)
        self.assertEqual(self.checkout(commit)["written"], 0)

    def test_attributes_deep_in_the_tree_hold_in_a_first_checkout_too(self):
        write(self.work + "/zz/deep/.gitattributes", b"*.txt text eol=crlf\n")
        write(self.work + "/zz/deep/a.txt", b"one\ntwo\n")
        commit = self.commit("attributes")
        self.push()
        self.checkout(commit)
        self.assert_as_git(commit)
        with open(self.area + "/zz/deep/a.txt", "rb") as f:
            self.assertEqual(f.read(), b"one\r\ntwo\r\n")

    def in_the_middle(self, commit):
        """A first checkout that has written files and waits for the rest of the pack."""
        self.server.stall = 4_000_000
        p = subprocess.Popen([CANCELLABLE, self.url, commit, self.area], env=ENV, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 30
        while not os.path.isdir(self.area + "/large") and time.monotonic() < end and p.poll() is None:
            time.sleep(0.01)
        self.assertTrue(os.path.isdir(self.area + "/large"), "nothing was written before the pack was whole")
        self.server.stall = None
        return p

    def test_files_are_written_while_the_pack_arrives_and_go_when_it_fails(self):
        commit = self.large_commit()
        p = self.in_the_middle(commit)
        p.send_signal(signal.SIGINT)
        said = p.communicate(timeout=60)[1]
        self.assertEqual(p.returncode, 130, said)
        self.assertEqual(os.listdir(self.area), [".git"])
        self.checkout(commit)
        self.assert_as_git(commit)

    def test_what_a_killed_first_checkout_wrote_goes_even_without_clean(self):
        p = self.in_the_middle(self.large_commit())
        p.kill()
        p.communicate()
        self.checkout(self.first, keep=True)
        self.assert_as_git(self.first)
        write(self.area + "/mine", b"stays\n")
        self.checkout(self.first, keep=True)
        self.assertTrue(os.path.exists(self.area + "/mine"))

    def test_a_tree_with_a_path_twice_is_one_of_them_or_refused(self):
        blobs = [bytes.fromhex(git("hash-object", "-w", "--stdin", cwd=self.bare, data=b)) for b in (b"one\n", b"two\n")]
        raw = b"".join(b"100644 twice\0" + blob for blob in blobs)
        tree = git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", cwd=self.bare, data=raw)
        commit = git("commit-tree", tree, "-m", "twice", cwd=self.bare)
        git("update-ref", "refs/heads/twice", commit, cwd=self.bare)
        if self.checkout(commit, check=False).returncode == 0:
            with open(self.area + "/twice", "rb") as f:
                self.assertIn(f.read(), (b"one\n", b"two\n"))

    def test_a_server_without_protocol_version_2_is_fetched_from_all_the_same(self):
        self.server.version2 = False
        self.checkout(self.first)
        self.assert_as_git(self.first)

    def test_killed_in_the_middle_the_next_run_is_whole(self):
        for i in range(20):
            p = subprocess.Popen([AREA, self.url, self.first, self.area], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                p.wait(0.004 * i)
            except subprocess.TimeoutExpired:
                p.send_signal(signal.SIGKILL)
                p.wait()
        self.checkout(self.first)
        self.assert_as_git(self.first)

    def test_a_server_that_refuses_says_so(self):
        self.server.status = 403
        p = self.checkout(self.first, check=False)
        self.assertIn("does not let us read", p.stderr)
        self.assertIn("token", p.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=1)
