#!/usr/bin/env python3
"""A work area that is kept from job to job is not trusted: what a kill, a power cut or a job left of .git hinders no later checkout,
a deeper history is fetched, tags stay what they are, and nothing behind a link is touched."""
import glob
import json
import os
import shutil
import subprocess

from harness.trial import Case, Trial, main
from servers.git_http import GitHttp

ENV = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null", GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@t",
           GIT_COMMITTER_NAME="t", GIT_COMMITTER_EMAIL="t@t")
FILES = ["HEAD", "config", "index", "shallow", "packed-refs", "refs/heads/main", "refs/remotes/origin/main", "objects/pack/*.pack",
         "objects/pack/*.idx"]


def git(folder, *words, data=None):
    return subprocess.run(["git", "-C", folder, *words], env=ENV, input=data, capture_output=True, check=True).stdout.decode().strip()


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


class Kept(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        self.work, self.served, self.area = self.t.dir + "/work", self.t.dir + "/served", self.t.src + "/tree"
        self.bare = self.served + "/octo/site"
        subprocess.run(["git", "init", "-q", "-b", "main", self.work], env=ENV, check=True)
        self.history = [self.change(f"{n}\n".encode()) for n in range(6)]
        subprocess.run(["git", "clone", "-q", "--bare", self.work, self.bare], env=ENV, check=True)
        git(self.bare, "config", "uploadpack.allowAnySHA1InWant", "true")
        git(self.work, "remote", "add", "served", self.bare)
        self.server = self.enterContext(GitHttp(self.served))

    def change(self, data):
        write(self.work + "/number", data)
        for i in range(30):
            write(f"{self.work}/data/f{i}", b"%d " % i * 300 + data)
        git(self.work, "add", "-A")
        git(self.work, "commit", "-q", "-m", "x")
        return git(self.work, "rev-parse", "HEAD")

    def push(self, *refs):
        git(self.work, "push", "-q", "-f", "served", *(refs or ("HEAD:refs/heads/main",)))

    def step(self, ref="main", **inputs):
        path = self.t.dir + "/in.json"
        with open(path, "w") as f:
            json.dump({"repository": "octo/site", "server": self.server.url, "ref": ref, "path": "tree", **inputs}, f)
        return self.t.run("step", "checkout", "--input", path, env={"no_proxy": ""})

    def step_well(self, ref="main", **inputs):
        result = self.step(ref, **inputs)
        self.assert_exit(result, 0)
        return result

    def assert_tree(self, commit, area=None):
        area = area or self.area
        self.assertEqual(git(area, "rev-parse", "HEAD"), commit)
        self.assertEqual(git(area, "status", "--porcelain"), "")
        git(area, "fsck", "--full")

    def found(self, pattern):
        return glob.glob(f"{self.area}/.git/{pattern}")

    # ---- what was left ----

    def test_locks_that_nobody_holds_go_wherever_they_lie(self):
        self.step_well()
        left = ["index.lock", "shallow.lock", "config.lock", "packed-refs.lock", "HEAD.lock", "ORIG_HEAD.lock", "FETCH_HEAD.lock",
                "refs/heads/main.lock", "refs/remotes/origin/main.lock", "logs/HEAD.lock", "objects/info/commit-graph.lock",
                "objects/maintenance.lock", "modules/sub/index.lock", "worktrees/w/locked.lock"]
        for name in left:
            write(f"{self.area}/.git/{name}", b"")
        os.makedirs(self.area + "/.git/gc.pid.lock/inside")
        for name in ("objects/pack/tmp_pack_x1", "objects/pack/pack_git2_x1", "objects/tmp_obj_x"):
            write(f"{self.area}/.git/{name}", b"x")
        commit = self.change(b"next\n")
        self.push()
        result = self.step_well()
        self.assertNotIn("anew", result.text)
        self.assert_tree(commit)
        self.assertEqual([p for p in glob.glob(self.area + "/.git/**", recursive=True) if p.endswith(".lock") or "tmp_" in p or "git2" in p], [])

    def strike(self, pattern, how):
        paths = self.found(pattern)
        for path in paths:
            size = os.path.getsize(path)
            os.chmod(path, 0o644)
            if how == "cut":
                os.truncate(path, size // 2)
            elif how != "gone":
                os.truncate(path, 0)
            if how == "hole":
                os.truncate(path, size)
            if how == "gone":
                os.unlink(path)
        return paths

    def test_files_that_a_power_cut_left_empty_cut_or_full_of_holes_hinder_nothing(self):
        for how in ("empty", "hole", "cut", "gone"):
            for pattern in FILES:
                for clean in (True, False):
                    if how == "gone" and pattern == "shallow" or pattern == "config" and not clean and how == "cut":
                        continue
                    with self.subTest(how=how, file=pattern, clean=clean):
                        shutil.rmtree(self.area, ignore_errors=True)
                        self.step_well(clean=clean)
                        if pattern == "packed-refs":
                            git(self.area, "pack-refs", "--all")
                        self.assertEqual(len(self.strike(pattern, how)), 1)
                        commit = self.change(f"{how} {pattern} {clean}\n".encode())
                        self.push()
                        if (how, pattern, clean) == ("gone", "HEAD", False) or (how, pattern, clean) == ("gone", "config", False):
                            # No repository any more: what lies there may be somebody's.
                            self.assert_exit(self.step(clean=clean), 1)
                            continue
                        self.step_well(clean=clean)
                        self.assert_tree(commit)

    def test_a_pack_that_is_broken_within_is_made_anew_when_it_is_read(self):
        self.step_well()
        pack = self.found("objects/pack/*.pack")[0]
        os.chmod(pack, 0o644)
        with open(pack, "r+b") as f:
            f.seek(os.path.getsize(pack) // 3)
            f.write(b"\xaa" * (os.path.getsize(pack) // 3))
        shutil.rmtree(self.area + "/data")
        result = self.step_well()
        self.assert_says(result, "recreated")
        self.assert_tree(self.history[-1])

    def test_objects_that_are_gone_are_fetched_again(self):
        self.step_well()
        shutil.rmtree(self.area + "/.git/objects/pack")
        self.step_well()
        self.assert_tree(self.history[-1])

    def test_a_git_folder_that_leads_elsewhere_is_not_written_through(self):
        elsewhere = self.t.dir + "/elsewhere"
        for name in ("", "/objects", "/refs", "/logs", "/refs/heads", "/HEAD", "/config", "/index", "/shallow"):
            with self.subTest(link=".git" + name):
                shutil.rmtree(self.area, ignore_errors=True)
                shutil.rmtree(elsewhere, ignore_errors=True)
                self.step_well()
                os.makedirs(elsewhere)
                if os.path.lexists(self.area + "/.git" + name):
                    shutil.move(self.area + "/.git" + name, elsewhere + "/moved")
                os.symlink(elsewhere + "/moved", self.area + "/.git" + name)
                before = subprocess.run(["find", elsewhere, "-printf", "%p %s %T@\n"], capture_output=True, check=True).stdout
                commit = self.change(name.encode() + b" elsewhere\n")
                self.push()
                self.step_well()
                self.assert_tree(commit)
                after = subprocess.run(["find", elsewhere, "-printf", "%p %s %T@\n"], capture_output=True, check=True).stdout
                self.assertEqual(before, after)

    # ---- where it lies ----

    def test_a_path_that_is_or_lies_below_a_link_is_refused_and_nothing_behind_it_touched(self):
        outside = self.t.dir + "/outside"
        write(outside + "/deep/precious", b"keep\n")
        os.makedirs(self.t.src + "/real")
        os.symlink(outside, self.t.src + "/link")
        os.symlink("../outside/deep", self.t.src + "/real/link")
        os.symlink(self.t.dir + "/missing", self.t.src + "/dangling")
        os.symlink("real", self.t.src + "/within")
        for path in ("link", "link/deep", "link/new", "real/link", "real/../link", "dangling", "dangling/x", "within", "within/new"):
            for clean in (True, False):
                with self.subTest(path=path, clean=clean):
                    result = self.step(path=path, clean=clean)
                    self.assert_exit(result, 2)
                    self.assert_says(result, "leads through a link", "symbolic link")
        self.assertEqual(sorted(os.listdir(outside)), ["deep"])
        self.assertEqual(os.listdir(outside + "/deep"), ["precious"])
        self.assertEqual(sorted(os.listdir(self.t.src + "/real")), ["link"])
        self.assertFalse(os.path.exists(self.t.dir + "/missing"))
        self.step_well(path="real/deep/er")
        self.assert_tree(self.history[-1], self.t.src + "/real/deep/er")

    # ---- how deep ----

    def depth(self):
        return int(git(self.area, "rev-list", "--count", "HEAD"))

    def test_a_larger_depth_or_all_of_history_deepens_a_commit_that_is_there(self):
        git(self.work, "tag", "old", self.history[1])
        self.push("old")
        for version2 in (True, False):
            self.server.version2 = True
            shutil.rmtree(self.area, ignore_errors=True)
            self.step_well()
            self.server.version2 = version2
            for wanted, there in ((1, 1), (3, 3), (2, 3), (0, 6)) if version2 else ((1, 1), (3, 6)):
                with self.subTest(version2=version2, depth=wanted):
                    self.step_well(**{"fetch-depth": wanted})
                    self.assertEqual(self.depth(), there)
                    self.assert_tree(self.history[-1])
            self.assertEqual(git(self.area, "rev-parse", "--is-shallow-repository"), "false")
        self.server.version2 = True
        shutil.rmtree(self.area)
        self.step_well()
        self.step_well(**{"fetch-depth": 0})
        self.assertEqual(git(self.area, "describe", "--tags").split("-")[:2], ["old", "4"])

    def test_what_is_deep_enough_is_not_asked_for_again(self):
        self.step_well(**{"fetch-depth": 3})
        self.server.requests.clear()
        for wanted in (1, 2, 3):
            self.step_well(**{"fetch-depth": wanted})
        self.assertEqual(len(self.server.requests), 3, "the name is looked up, nothing fetched")
        self.step_well(**{"fetch-depth": 100})
        self.assertEqual(self.depth(), 6)
        self.server.requests.clear()
        self.step_well(**{"fetch-depth": 200})
        self.assertEqual(len(self.server.requests), 1)

    # ---- what a name stands for ----

    def test_an_annotated_tag_stays_annotated_and_describes_its_commit(self):
        git(self.work, "tag", "-a", "-m", "release", "v1", self.history[2])
        git(self.work, "tag", "-a", "-m", "of a tag", "v1-again", "v1")
        git(self.work, "tag", "light", self.history[2])
        self.push("--tags")
        for version2 in (True, False):
            self.server.version2 = version2
            for ref in ("v1", "refs/tags/v1", "v1-again", "light"):
                for kept in (False, True):
                    with self.subTest(version2=version2, ref=ref, kept=kept):
                        shutil.rmtree(self.area, ignore_errors=True)
                        if kept:
                            self.step_well(self.history[2])
                        self.step_well(ref)
                        name = ref.removeprefix("refs/tags/")
                        self.assert_tree(self.history[2])
                        self.assertEqual(git(self.area, "rev-parse", "refs/tags/" + name), git(self.work, "rev-parse", "refs/tags/" + name))
                        self.assertEqual(git(self.area, "describe", "--tags", "--match", name), name)
        self.server.version2 = True
        self.step_well("v1", **{"fetch-depth": 0})
        self.assertEqual(git(self.area, "cat-file", "-t", "v1"), "tag")

    def test_an_id_may_be_of_either_case_and_of_a_tag_s_object(self):
        git(self.work, "tag", "-a", "-m", "release", "v1", self.history[2])
        self.push("v1")
        tag = git(self.work, "rev-parse", "v1")
        for ref, commit in ((self.history[3].upper(), self.history[3]), (self.history[1].title(), self.history[1]), (tag, self.history[2])):
            with self.subTest(ref=ref):
                self.step_well(ref)
                self.assert_tree(commit)

    def test_a_name_or_id_of_something_that_is_no_commit_is_refused_by_name(self):
        tree = git(self.work, "rev-parse", "HEAD^{tree}")
        blob = git(self.work, "rev-parse", "HEAD:number")
        git(self.work, "tag", "light-tree", tree)
        git(self.work, "tag", "-a", "-m", "x", "the-tree", tree)
        git(self.work, "tag", "-a", "-m", "x", "the-blob", blob)
        self.push("--tags")
        self.step_well()
        for ref, words in (("light-tree", ["light-tree", "is a tree, not a commit"]), ("the-tree", ["the-tree", "not a commit"]),
                           ("the-blob", ["the-blob", "not a commit"]), (tree, [tree, "is a tree"]), (blob, [blob, "is a blob"])):
            for again in (False, True):
                with self.subTest(ref=ref, again=again):
                    result = self.step(ref)
                    self.assert_exit(result, 2)
                    self.assert_says(result, *words)
                    self.assertNotIn("anew", result.text)
        self.assert_tree(self.history[-1])


if __name__ == "__main__":
    main()
