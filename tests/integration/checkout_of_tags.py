#!/usr/bin/env python3
"""All tags beside a history of some commits: what `git fetch --depth=N origin +refs/tags/*:refs/tags/* +COMMIT:…` brings, on a first checkout and in
a work area that is kept; and what a server may not do with its list."""
import http.server
import json
import os
import shutil
import subprocess
import threading

from harness.trial import Case, Trial, main
from servers.git_http import GitHttp

ENV = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null", GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@t",
           GIT_COMMITTER_NAME="t", GIT_COMMITTER_EMAIL="t@t")


def git(folder, *words, data=None):
    return subprocess.run(["git", "-C", folder, *words], env=ENV, input=data, capture_output=True, check=True).stdout.decode().strip()


class Lists(http.server.BaseHTTPRequestHandler):
    """A server of protocol version 2 that answers every ls-refs with the same lines, and every fetch with an empty pack."""
    lines = staticmethod(lambda: iter(()))
    asked = 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked += 1
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-upload-pack-result")
        self.end_headers()
        try:
            if b"command=ls-refs" in body:
                for line in self.lines():
                    self.wfile.write(b"%04x%s\n" % (len(line) + 5, line))
                self.wfile.write(b"0000")
        except (BrokenPipeError, ConnectionResetError):
            pass

    def log_message(self, *unused):
        pass


class Tags(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        self.work, self.served, self.area = self.t.dir + "/work", self.t.dir + "/served", self.t.src + "/tree"
        self.bare = self.served + "/octo/site"
        subprocess.run(["git", "init", "-q", "-b", "main", self.work], env=ENV, check=True)
        self.history = [self.change(n) for n in range(5)]
        for n in range(3):
            git(self.work, "tag", f"v{n}", self.history[n])
            git(self.work, "tag", "-a", "-m", "x", f"release/{n}", self.history[n])
        git(self.work, "tag", "-a", "-m", "of a tag", "again", "release/1")
        git(self.work, "tag", "tree", "HEAD^{tree}")
        git(self.work, "tag", "-a", "-m", "x", "blob", git(self.work, "rev-parse", "HEAD:number"))
        git(self.work, "checkout", "-q", "-b", "side", self.history[2])
        git(self.work, "tag", "side/only", self.change("side"))
        git(self.work, "checkout", "-q", "main")
        subprocess.run(["git", "clone", "-q", "--bare", self.work, self.bare], env=ENV, check=True)
        git(self.bare, "config", "uploadpack.allowAnySHA1InWant", "true")
        git(self.work, "remote", "add", "served", self.bare)
        self.server = self.enterContext(GitHttp(self.served))

    def change(self, n):
        with open(self.work + "/number", "w", encoding="ascii") as f:
            f.write(f"{n}\n" * 50)
        git(self.work, "add", "-A")
        git(self.work, "commit", "-q", "-m", "x")
        return git(self.work, "rev-parse", "HEAD")

    def step(self, depth=1, ref="main", server=None, **inputs):
        path = self.t.dir + "/in.json"
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"repository": "octo/site", "server": server or self.server.url, "ref": ref, "path": "tree", "fetch-depth": depth, "fetch-tags": True,
                       **inputs}, f)
        return self.t.run("step", "checkout", "--input", path, env={"no_proxy": ""})

    def bring(self, depth=1, **inputs):
        self.assert_exit(self.step(depth, **inputs), 0)

    def seen(self, area):
        """References of tags, where the history of each ends, and what git says of it all."""
        names = git(area, "for-each-ref", "--format=%(objectname) %(objecttype) %(refname)", "refs/tags").splitlines()
        commits = [name.split()[2] for name in names if not name.endswith(("/tree", "/blob"))]
        counts = [(name, git(area, "rev-list", "--count", name)) for name in ["HEAD", *commits]]
        git(area, "fsck", "--full")
        return names, counts, git(area, "status", "--porcelain")

    def git_area(self, folder, depth, commit):
        """The commands of the action."""
        if not os.path.exists(folder):
            git(self.t.dir, "init", "-q", folder)
            git(folder, "remote", "add", "origin", self.server.url + "/octo/site")
        git(folder, "-c", "protocol.version=2", "fetch", "-q", "--no-tags", "--prune", "--no-recurse-submodules", f"--depth={depth}", "origin",
            "+refs/tags/*:refs/tags/*", f"+{commit}:refs/remotes/origin/main")
        git(folder, "checkout", "-q", "--force", "-B", "main", "refs/remotes/origin/main")

    def push(self, *refs):
        git(self.work, "push", "-q", "-f", "served", *refs)

    def test_they_come_as_with_git_and_follow_the_server(self):
        real = self.t.dir + "/real"
        for depth in (1, 3):
            self.bring(depth)
            self.git_area(real, depth, self.history[-1])
            self.assertEqual(self.seen(self.area), self.seen(real))
        self.assertIn(("refs/tags/side/only", "4"), self.seen(self.area)[1])
        # Moved, gone, and a name that was a directory of names.
        git(self.work, "tag", "-f", "v0", self.history[3])
        git(self.work, "tag", "-f", "-a", "-m", "y", "release/0", self.history[4])
        git(self.work, "tag", "-d", "side/only", "v1")
        git(self.work, "tag", "side", self.history[1])
        self.push("--tags", ":refs/tags/side/only", ":refs/tags/v1")
        self.push("refs/tags/side")
        self.bring(3)
        self.git_area(real, 3, self.history[-1])
        self.assertEqual(self.seen(self.area), self.seen(real))
        self.assertIn(f"{self.history[3]} commit refs/tags/v0", self.seen(self.area)[0])
        # What is here already is not asked for again.
        self.server.requests.clear()
        self.bring(1)
        self.assertEqual(len(self.server.requests), 2, "the name and the list, no pack")
        self.bring(1, **{"fetch-tags": False})
        self.assertEqual(self.seen(self.area), self.seen(real), "they stay where nobody asks for them")

    def test_a_first_checkout_asks_once_for_all_of_them(self):
        self.bring(2)
        self.assertEqual(len(self.server.requests), 3, "name, list, pack")
        git(self.work, "tag", "new", self.history[0])
        self.push("new")
        self.server.requests.clear()
        self.bring(2, ref="v2")
        self.assertEqual(len(self.server.requests), 2, "its commit is here")
        self.assertEqual(git(self.area, "rev-parse", "HEAD", "new"), self.history[2] + "\n" + self.history[0])

    def test_an_old_server_gives_them_with_all_of_history(self):
        self.server.version2 = False
        for kept in (False, True):
            self.bring(1)
            self.assertEqual(len(self.seen(self.area)[0]), 10)
            self.assertEqual(git(self.area, "rev-parse", "--is-shallow-repository"), "false")
            self.assertNotIn("side", git(self.area, "branch", "-a"))
        self.server.version2 = True
        shutil.rmtree(self.area)
        self.bring(1)
        self.server.version2 = False
        self.bring(3)
        self.assertEqual(len(self.seen(self.area)[0]), 10)

    def test_many_tags_are_no_burden(self):
        with open(self.bare + "/packed-refs", "a", encoding="ascii") as f:
            f.writelines(f"{self.history[n % 5]} refs/tags/t{n:04}\n" for n in range(3000))
        self.bring(1)
        self.assertEqual(len(git(self.area, "for-each-ref", "refs/tags").splitlines()), 3010)

    def serve(self, lines):
        Lists.lines, Lists.asked = staticmethod(lines), 0
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Lists)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_address[1]}"

    def test_a_list_without_an_end_is_left(self):
        commit = self.history[-1].encode()
        for lines, words in ((lambda: (b"%s refs/tags/t%d" % (commit, n) for n in range(10 ** 6)), "more than 100000 tags"),
                             (lambda: (b"%s refs/tags/t%d%s" % (commit, n, b"x" * 1000) for n in range(10 ** 6)), "bytes of references")):
            result = self.step(ref=commit.decode(), server=self.serve(lines))
            self.assertNotEqual(result.code, 0)
            self.assert_says(result, words)
            self.assertEqual(Lists.asked, 1)

    def test_names_that_git_does_not_allow_are_left_out_and_objects_that_do_not_come_are_missed(self):
        self.bring(1)
        before = self.seen(self.area)
        commit = self.history[-1].encode()
        for name in (b"refs/tags/../../config", b"refs/tags/a..b", b"refs/tags/x.lock", b"refs/tags/", b"refs/heads/evil", b"refs/tags//x", b"refs/tags/a b"):
            with self.subTest(name=name):
                other = self.serve(lambda name=name: iter([b"%s refs/heads/main" % commit, b"%s %s" % (commit, name)]))
                git(self.area, "config", "remote.origin.url", other + "/octo/site")
                self.assert_exit(self.step(ref=commit.decode(), server=other), 0)
                self.assertEqual(git(self.area, "for-each-ref", "refs/tags"), "" if name != b"refs/tags/a b" else f"{commit.decode()} commit\trefs/tags/a")
        other = self.serve(lambda: iter([b"%s refs/tags/v9" % (b"12" * 20)]))
        git(self.area, "config", "remote.origin.url", other + "/octo/site")
        self.assertNotEqual(self.step(ref=commit.decode(), server=other).code, 0)
        self.assertEqual(before[1][0], ("HEAD", "1"))


if __name__ == "__main__":
    main()
