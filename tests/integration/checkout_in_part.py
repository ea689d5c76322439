#!/usr/bin/env python3
"""A checkout that leaves objects at the server (`filter`), or files out of the work tree (`sparse-checkout`), is what git makes by the commands of
the action; a work area that is kept goes from one to the other; and what a server may not do meanwhile."""
import glob
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import threading
import urllib.request

from harness.trial import Case, Trial, main
from servers.git_http import GitHttp

ENV = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null", GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@t",
           GIT_COMMITTER_NAME="t", GIT_COMMITTER_EMAIL="t@t", no_proxy="*")


def git(folder, *words, data=None):
    return subprocess.run(["git", "-C", folder, *words], env=ENV, input=data, capture_output=True, check=True).stdout.decode().strip()


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


class InPart(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        self.work, self.served, self.area, self.real = (self.t.dir + "/work", self.t.dir + "/served", self.t.src + "/tree", self.t.dir + "/real")
        self.bare = self.served + "/octo/site"
        subprocess.run(["git", "init", "-q", "-b", "main", self.work], env=ENV, check=True)
        self.history = [self.change(n) for n in range(4)]
        git(self.work, "tag", "-a", "-m", "x", "v1", self.history[1])
        git(self.work, "tag", "-a", "-m", "x", "of-a-blob", "HEAD:a/one")
        git(self.work, "tag", "-a", "-m", "x", "of-a-tree", "HEAD:a")
        git(self.work, "branch", "side/one", self.history[2])
        subprocess.run(["git", "clone", "-q", "--bare", self.work, self.bare], env=ENV, check=True)
        git(self.bare, "config", "uploadpack.allowAnySHA1InWant", "true")
        git(self.bare, "config", "uploadpack.allowFilter", "true")
        git(self.work, "remote", "add", "served", self.bare)
        self.server = self.enterContext(GitHttp(self.served))

    def change(self, n):
        for name, size in (("read.me", 9), ("a/one", 3000), ("a/b/two", 20), ("a/b/c/three", 30), ("docs/page", 700), ("docs/img/x.png", 40), ("docs/img/y.txt", 5),
                           ("docs.txt", 3), ("z/only", 2)):
            write(f"{self.work}/{name}", f"{name} {n}\n".encode() * size)
        write(self.work + "/same/always", b"the same\n" * 300)
        write(self.work + "/.gitattributes", b"*.txt text\n")
        write(self.work + "/a/.gitattributes", b"two text eol=crlf\n")
        if not os.path.lexists(self.work + "/a/link"):
            os.symlink("b/two", self.work + "/a/link")
        git(self.work, "add", "-A")
        git(self.work, "commit", "-q", "-m", f"change {n}")
        return git(self.work, "rev-parse", "HEAD")

    def push(self, *refs):
        git(self.work, "push", "-q", "-f", "served", *(refs or ("HEAD:refs/heads/main",)))

    def step(self, ref="main", server=None, **inputs):
        path = self.t.dir + "/in.json"
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"repository": "octo/site", "server": server or self.server.url, "ref": ref, "path": "tree",
                       **{name.replace("_", "-"): value for name, value in inputs.items()}}, f)
        return self.t.run("step", "checkout", "--input", path, env={"no_proxy": ""})

    def bring(self, ref="main", **inputs):
        result = self.step(ref, **inputs)
        self.assert_exit(result, 0)
        return result

    def git_makes(self, fetch, depth=1, commit=None, sparse=None, cone=True):
        """The commands of the action in a new work area."""
        shutil.rmtree(self.real, ignore_errors=True)
        git(self.t.dir, "init", "-q", self.real)
        git(self.real, "remote", "add", "origin", self.server.url + "/octo/site")
        git(self.real, "config", "gc.auto", "0")
        commit = commit or self.history[-1]
        specs = [f"--depth={depth}", "origin", f"+{commit}:refs/remotes/origin/main"]
        if depth == 0:
            specs = ["origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
        git(self.real, "-c", "protocol.version=2", "fetch", "-q", *([] if depth == 0 else ["--no-tags"]), "--prune", "--no-recurse-submodules", *fetch, *specs)
        if sparse is None:
            git(self.real, "sparse-checkout", "disable")
            subprocess.run(["git", "-C", self.real, "config", "--local", "--unset-all", "extensions.worktreeConfig"], env=ENV, check=False)
        elif cone:
            git(self.real, "sparse-checkout", "set", *sparse)
        else:
            git(self.real, "config", "core.sparseCheckout", "true")
            with open(self.real + "/.git/info/sparse-checkout", "a", encoding="utf-8") as f:
                f.write("\n" + "\n".join(sparse) + "\n")
        git(self.real, "checkout", "-q", "--force", "-B", "main", "refs/remotes/origin/main")

    def seen(self, area, missing=True):
        """Files, flags of the index, what matters of the configuration, references, what is missing; and git finds it clean and whole."""
        files = subprocess.run("find . -path ./.git -prune -o ! -name . -printf '%M %p %l\\n' | sort; find . -path ./.git -prune -o -type f -print0 | sort -z | xargs -0 sha1sum",
                               shell=True, cwd=area, capture_output=True, text=True, check=True).stdout
        config = [line for line in git(area, "config", "--list", "--local").splitlines() + self.worktree_config(area)
                  if line.startswith(("core.repo", "core.sparse", "remote.", "extensions.", "branch."))]
        sparse = glob.glob(area + "/.git/info/sparse-checkout")
        text = read(sparse[0]) if "core.sparsecheckout=true" in config else ""
        gone = git(area, "rev-list", "--objects", "--all", "--missing=print") if missing else ""
        git(area, "fsck", "--full")
        return {"files": files, "index": git(area, "ls-files", "-t", "-s"), "config": sorted(config), "patterns": text,
                "refs": git(area, "for-each-ref"), "head": git(area, "symbolic-ref", "HEAD"), "missing": sorted(l for l in gone.splitlines() if l[0] == "?"),
                "status": git(area, "status", "--porcelain", "--ignored"), "depth": git(area, "rev-list", "--count", "HEAD")}

    def worktree_config(self, area):
        path = area + "/.git/config.worktree"
        lines = git(area, "config", "--list", "--file", path).splitlines() if os.path.exists(path) else []
        return [line for line in lines if line.endswith("=true")]           # what `sparse-checkout disable` leaves says false

    def assert_as_git(self, *what, **how):
        """The area was kept: it lacks less than a new one."""
        self.git_makes(*what, **how)
        ours, gits = self.seen(self.area), self.seen(self.real)
        self.assertLessEqual(set(ours.pop("missing")), set(gits.pop("missing")))
        for key, value in gits.items():
            self.assertEqual(ours[key], value, key)
        return ours

    # ---- filter ----

    def test_what_a_filter_leaves_at_the_server_is_what_git_leaves_there(self):
        for text, depth in (("blob:none", 1), ("blob:limit=1k", 3), ("tree:0", 1), ("tree:1", 0)):
            with self.subTest(filter=text, depth=depth):
                shutil.rmtree(self.area, ignore_errors=True)
                self.bring(filter=text, fetch_depth=depth)
                self.git_makes([f"--filter={text}"], depth)
                ours, gits = self.seen(self.area), self.seen(self.real)
                if text.startswith("tree"):
                    ours.pop("missing"), gits.pop("missing")         # git fetches the trees one by one
                self.assertEqual(ours, gits)

    def test_later_steps_fetch_what_they_look_at(self):
        self.bring(filter="blob:none", fetch_depth=0)
        self.assertIn("?", git(self.area, "rev-list", "--objects", "--all", "--missing=print"))
        self.assertIn("change 1", git(self.area, "log", "-p", "--stat"))
        self.assertNotIn("?", git(self.area, "rev-list", "--objects", "--all", "--missing=print"))
        git(self.area, "checkout", "-q", "v1")
        self.assertEqual(git(self.area, "status", "--porcelain"), "")
        self.bring(filter="blob:none")
        self.assertEqual(git(self.area, "rev-parse", "HEAD"), self.history[-1])

    def test_a_kept_area_follows_its_server_and_asks_for_little(self):
        self.bring(filter="blob:none")
        self.server.requests.clear()
        self.bring(filter="blob:none")
        self.assertEqual(len(self.server.requests), 2, "the name, and if it filters")
        self.history.append(self.change(4))
        self.push()
        self.server.requests.clear()
        self.bring(filter="blob:none")
        self.assertEqual(len(self.server.requests), 4, "also a pack of trees and one of blobs")
        self.assertEqual(git(self.area, "rev-parse", "HEAD"), self.history[-1])
        self.seen(self.area)
        for asked in (5, 3):
            self.server.requests.clear()
            self.bring(filter="blob:none", fetch_tags=True)
            self.assertLessEqual(len(self.server.requests), asked, "also the list of tags")
        self.assertEqual(git(self.area, "cat-file", "-t", "of-a-blob"), "tag")
        # Back to one whose objects came in part only, by each filter.
        for text in ("tree:0", "blob:limit=1k"):
            for ref in (self.history[0], "v1"):
                with self.subTest(filter=text, ref=ref):
                    self.bring(ref, filter=text, fetch_depth=0)
                    self.assertEqual(git(self.area, "rev-parse", "HEAD"), git(self.work, "rev-parse", ref + "^{commit}"))
                    self.assertEqual(git(self.area, "status", "--porcelain", "--ignored"), "")
                    git(self.area, "fsck", "--full")

    def test_with_and_without_a_filter_a_kept_area_becomes_what_a_new_one_is(self):
        for depth in (1, 0):
            shutil.rmtree(self.area, ignore_errors=True)
            self.bring(fetch_depth=depth)
            write(self.area + "/a/one", b"changed\n")
            self.bring(filter="blob:none", fetch_depth=depth)
            git(self.area, "fsck")
            self.assertEqual(git(self.area, "config", "remote.origin.promisor"), "true")
            result = self.bring(fetch_depth=depth)
            self.assertNotIn("could not be used", result.text)
            self.assert_as_git([], depth=depth)
        # Deepened behind a filter.
        self.bring(filter="blob:none", fetch_depth=1)
        self.bring(filter="blob:none", fetch_depth=0)
        self.assertEqual(git(self.area, "rev-list", "--count", "HEAD"), "4")
        self.assertEqual(git(self.area, "rev-parse", "--is-shallow-repository"), "false")
        git(self.area, "fsck", "--full")

    def test_a_server_that_does_not_filter_sends_all(self):
        git(self.bare, "config", "uploadpack.allowFilter", "false")
        for version2 in (True, False):
            self.server.version2 = version2
            shutil.rmtree(self.area, ignore_errors=True)
            for _ in range(2):
                self.bring(filter="blob:none")
                self.assertNotIn("?", git(self.area, "rev-list", "--objects", "--all", "--missing=print"))
                self.assertEqual(self.seen(self.area)["status"], "")
        # One that no longer does.
        self.server.version2 = True
        git(self.bare, "config", "uploadpack.allowFilter", "true")
        self.bring(filter="blob:none", fetch_depth=0)
        git(self.bare, "config", "uploadpack.allowFilter", "false")
        self.bring(self.history[0], filter="blob:none", fetch_depth=0)
        self.assertNotIn("?", git(self.area, "rev-list", "--objects", "--all", "--missing=print"))

    def test_what_a_killed_process_left_unmarked_is_marked(self):
        self.bring(filter="blob:none")
        for path in glob.glob(self.area + "/.git/objects/pack/*.promisor"):
            os.unlink(path)
        self.history.append(self.change(5))
        self.push()
        self.bring(filter="blob:none")
        self.seen(self.area)

    def test_a_server_that_keeps_what_it_left_out_is_found_out(self):
        """Between: the second pack, of the blobs, is another one or none."""
        empty = b"PACK\0\0\0\2\0\0\0\0"
        other = git(self.work, "hash-object", "-w", "--stdin", data=b"something else\n")
        packed = subprocess.run(["git", "-C", self.work, "pack-objects", "--stdout", "-q"], input=other.encode() + b"\n", env=ENV, capture_output=True, check=True).stdout
        for pack in (empty + hashlib.sha1(empty).digest(), packed):
            with self.subTest(pack=pack[:12]):
                shutil.rmtree(self.area, ignore_errors=True)
                result = self.step(server=self.between(pack), filter="blob:none")
                self.assertNotEqual(result.code, 0)
                self.assert_says(result, "left out objects by a filter and does not give")
                self.assertFalse(os.path.exists(self.area + "/read.me"))

    # ---- sparse ----

    CONES = (["docs"], ["a/b"], ["a/b", "docs/img", "a/b/c", "z/"], ["."], ["no/such"], ["a", "a/b/c"], ["./docs//img/", "docs"], ["docs/page"])
    PATTERNS = (["docs"], ["/*", "!/a"], ["*.txt", "!docs.txt"], ["docs/", "!*.png"], ["a/**/three"], ["/*", "!/*/"], ["!docs", "docs/img"], ["# no", "docs/*.txt", "*"],
                ["a/b/two", "two"], ["[dz]*", "!docs/img/"], ["nothing"], ["**/img/*"], ["a", "!a/b", "a/b/c"], ["/docs.txt", "\\!x"], ["same", "/.git*"])

    def git_chooses(self, lines, cone):
        """What git has in a clone that goes from one choice to the next: the index with its flags, and the file of patterns."""
        if not os.path.exists(self.real):
            git(self.t.dir, "clone", "-q", self.bare, self.real)
        if cone:
            git(self.real, "sparse-checkout", "set", "--skip-checks", *lines)
            return git(self.real, "ls-files", "-t"), read(self.real + "/.git/info/sparse-checkout")
        text = "\n" + "\n".join(lines) + "\n"
        git(self.real, "config", "core.sparseCheckout", "true")
        with open(self.real + "/.git/info/sparse-checkout", "w", encoding="utf-8") as f:
            f.write(text)
        try:
            git(self.real, "read-tree", "-mu", "HEAD")
        except subprocess.CalledProcessError as failed:
            # git wants to have at least one file.
            self.assertIn(b"leaves no entry", failed.stderr)
            return git(self.real, "ls-files").replace("\n", "\nS ").join(["S ", ""]), text
        return git(self.real, "ls-files", "-t"), text

    def choose(self, lines, cone):
        self.bring(sparse_checkout="\n".join(lines), sparse_checkout_cone_mode=cone)
        index = git(self.area, "ls-files", "-t")
        here = [os.path.relpath(os.path.join(folder, name), self.area) for folder, _, names in os.walk(self.area) for name in names]
        self.assertEqual(sorted(name for name in here if not name.startswith(".git/")), sorted(line[2:] for line in index.splitlines() if line[0] == "H"))
        return index, read(self.area + "/.git/info/sparse-checkout")

    def test_directories_of_a_cone_are_those_that_git_writes(self):
        for lines in self.CONES:
            with self.subTest(lines=lines):
                self.assertEqual(self.choose(lines, True), self.git_chooses(lines, True))
        self.assert_as_git(["--filter=blob:none"], sparse=self.CONES[-1])

    def test_patterns_are_what_git_reads_in_them(self):
        for lines in self.PATTERNS:
            with self.subTest(lines=lines):
                self.assertEqual(self.choose(lines, False), self.git_chooses(lines, False))
        self.assert_as_git(["--filter=blob:none"], sparse=self.PATTERNS[-1], cone=False)

    def test_other_filters_and_depths_go_with_it(self):
        for how in ({"filter": "tree:0", "fetch_depth": 3}, {"fetch_depth": 0}):
            with self.subTest(how=how):
                shutil.rmtree(self.area, ignore_errors=True)
                self.bring(sparse_checkout=["docs", "a/b"], **how)
                self.git_makes([f"--filter={how.get('filter', 'blob:none')}"], how.get("fetch_depth", 1), sparse=["docs", "a/b"])
                ours, gits = self.seen(self.area), self.seen(self.real)
                if how.get("filter") == "tree:0":
                    ours.pop("missing"), gits.pop("missing")
                self.assertEqual(ours, gits)

    def test_what_lies_outside_goes_and_comes_back(self):
        self.bring()
        for path in ("a/one", "docs/untracked", "z/only", "z/untracked", "other/thing"):
            write(f"{self.area}/{path}", b"changed\n")
        self.bring(sparse_checkout=["docs"])
        self.assertEqual(sorted(os.listdir(self.area)), [".git", ".gitattributes", "docs", "docs.txt", "read.me"])
        self.assertEqual(git(self.area, "status", "--porcelain", "--ignored"), "")
        self.history.append(self.change(7))
        self.push()
        self.bring(sparse_checkout=["a"])
        self.assert_as_git(["--filter=blob:none"], sparse=["a"])
        self.bring(filter="blob:none")
        self.assert_as_git(["--filter=blob:none"])
        # What a job makes of its area by git itself goes too.
        git(self.area, "sparse-checkout", "set", "docs")
        self.assertFalse(os.path.exists(self.area + "/a"))
        self.bring()
        self.assert_as_git([])

    def test_without_clean_only_files_of_the_repository_go(self):
        self.bring()
        for path in ("docs/untracked", "z/untracked", "a/one"):
            write(f"{self.area}/{path}", b"changed\n")
        os.unlink(self.area + "/a/link")
        os.mkdir(self.area + "/a/link")
        self.bring(sparse_checkout=["docs"], clean=False)
        self.assertEqual(sorted(os.listdir(self.area + "/z")), ["untracked"])
        self.assertTrue(os.path.exists(self.area + "/docs/untracked"))
        self.assertFalse(os.path.exists(self.area + "/a/one"))
        self.assertFalse(os.path.exists(self.area + "/same"))
        self.assertEqual(git(self.area, "status", "--porcelain").splitlines(), ["?? docs/untracked", "?? z/untracked"])

    def test_other_readers_of_a_work_area_open_one_in_part(self):
        self.bring(sparse_checkout=["docs"])
        write(self.area + "/docs/untracked", b"x\n")
        result = self.t.deploy({"targets": {"here": {"local": {}, "base": self.t.base}},
                                "steps": [{"archive-upload": {"target": "here", "source": "tree", "path": self.t.path("app"), "exclude": ["untracked"]}}]})
        self.assert_exit(result, 0)
        self.assertTrue(os.path.exists(self.t.path("app/current/docs/page")))
        self.assertNotIn("xtension", result.text)

    def test_a_server_that_does_not_filter_gives_a_sparse_area_too(self):
        git(self.bare, "config", "uploadpack.allowFilter", "false")
        for version2 in (True, False):
            self.server.version2 = version2
            shutil.rmtree(self.area, ignore_errors=True)
            self.bring(sparse_checkout=["docs"])
            self.assertEqual(sorted(os.listdir(self.area)), [".git", ".gitattributes", "docs", "docs.txt", "read.me"])
            self.assertEqual(git(self.area, "status", "--porcelain", "--ignored"), "")

    def test_what_git_refuses_as_a_directory_is_refused(self):
        for line in ("/docs", "!docs", "docs/*", "--no-cone", "../docs", "a\\b", "[a]"):
            with self.subTest(line=line):
                result = self.step(sparse_checkout=[line])
                self.assertNotEqual(result.code, 0)
                self.assert_says(result, "is not a directory of the repository")

    def between(self, pack):
        """A server that hands on, but answers a fetch without a depth by this pack."""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if b"command=fetch" in body and b"deepen" not in body:
                    data, kind = b"000dpackfile\n%04x\1%s0000" % (len(pack) + 5, pack), "application/x-git-upload-pack-result"
                else:
                    request = urllib.request.Request(outer.server.url + self.path, data=body or None, method=self.command,
                                                     headers={k: v for k, v in self.headers.items() if k in ("Git-Protocol", "Content-Type")})
                    with urllib.request.urlopen(request) as answer:
                        data, kind = answer.read(), answer.headers["Content-Type"]
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = answer

            def log_message(self, *unused):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_address[1]}"


if __name__ == "__main__":
    main()
