#!/usr/bin/env python3
"""Submodules of a work area against git itself: the commands that actions/checkout runs, in their order, over the same server."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from servers.git_http import GitHttp

AREA = os.path.join(os.environ["DAVIT_BUILD"], "tests", "area_cli")
TOKEN = "s3cret"
ENV = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null", GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@t",
           GIT_COMMITTER_NAME="t", GIT_COMMITTER_EMAIL="t@t", GIT_TERMINAL_PROMPT="0", TOKEN=TOKEN)


def git(*words, cwd=None, env=None, check=True):
    p = subprocess.run(["git", *words], cwd=cwd, env={**ENV, **(env or {})}, capture_output=True, text=True, check=False)
    if check and p.returncode != 0:
        raise AssertionError(f"git {' '.join(words)}: {p.stderr}")
    return p.stdout.strip()


class Repo:
    """A repository of the server, and the clone that commits to it."""

    def __init__(self, server, name):
        self.bare, self.work = os.path.join(server.folder, name), os.path.join(server.folder, "../work", name)
        git("init", "-q", "--bare", "-b", "main", self.bare)
        git("config", "uploadpack.allowAnySHA1InWant", "true", cwd=self.bare)
        git("config", "uploadpack.allowFilter", "true", cwd=self.bare)
        git("init", "-q", "-b", "main", self.work)
        git("remote", "add", "served", self.bare, cwd=self.work)
        self.commit({"read.me": name + "\n"})

    def link(self, path, commit):
        git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}", cwd=self.work)

    def commit(self, files=None, links=None, branch="main"):
        """files: name → text, None removes it; links: path → commit, None removes it."""
        for name, text in (files or {}).items():
            place = os.path.join(self.work, name)
            if text is None:
                os.unlink(place)
            else:
                os.makedirs(os.path.dirname(place), exist_ok=True)
                with open(place, "w", encoding="utf-8", newline="") as file:
                    file.write(text)
            git("add", "-A", "--", name, cwd=self.work)
        for path, commit in (links or {}).items():
            if commit is None:
                git("rm", "-q", "--cached", path, cwd=self.work)
            else:
                self.link(path, commit)
        git("commit", "-q", "--allow-empty", "-m", "next", cwd=self.work)
        git("push", "-q", "-f", "served", f"HEAD:refs/heads/{branch}", cwd=self.work)
        return git("rev-parse", "HEAD", cwd=self.work)


def modules(**entries):
    """NAME=(path, url, *further lines): a .gitmodules."""
    return "".join(f'[submodule "{name}"]\n\tpath = {path}\n\turl = {url}\n' + "".join(f"\t{line}\n" for line in more)
                   for name, (path, url, *more) in entries.items())


class Compared(unittest.TestCase):
    """Work areas of both, and their looks."""
    maxDiff = None
    ssh = None          # the command by which git asks servers behind SSH; else addresses there stand for the server's own
    more = {}           # for davit

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="davit-submodules-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.area, self.other = self.folder + "/area", self.folder + "/git"
        os.makedirs(self.folder + "/served/owner")
        os.makedirs(self.folder + "/work")
        self.server = GitHttp(self.folder + "/served")
        self.server.token = TOKEN
        self.server.__enter__()
        self.addCleanup(self.server.__exit__)
        self.top, self.lib, self.deep = (Repo(self.server, "owner/" + name) for name in ("top.git", "lib.git", "deep.git"))
        self.url = self.server.url + "/owner/top.git"

    def bring(self, commit, recursive=True, depth=1, clean=True, area=None, url=None, check=True, part=None):
        sparse = {part[0]: part[1], "FILTER": "blob:none"} if part else {}
        p = subprocess.run([AREA, url or self.url, commit, area or self.area, "--depth", str(depth), "--submodules", "2" if recursive else "1",
                            "--clean", "1" if clean else "0"], env={**ENV, **self.more, **sparse}, capture_output=True, text=True, timeout=120, check=False)
        if not check:
            return p
        self.assertEqual(p.returncode, 0, p.stderr)
        return json.loads(p.stdout)

    def choose(self, part, env):
        """Of the files, as the action has git do it."""
        if part is None:
            git("sparse-checkout", "disable", cwd=self.other, env=env)
        elif part[0] == "CONE":
            git("sparse-checkout", "set", part[1], cwd=self.other, env=env)
        else:
            git("config", "core.sparseCheckout", "true", cwd=self.other)
            with open(self.other + "/.git/info/sparse-checkout", "w", encoding="ascii") as file:
                file.write(f"\n{part[1]}\n")

    def by_git(self, commit, recursive=True, depth=1, clean=True, part=None):
        """The commands of the action (v4), with its settings for as long as they run."""
        nested, filtered = ["--recursive"] if recursive else [], ["--filter=blob:none"] if part else []
        shallow = [f"--depth={depth}"] if depth else []
        settings = self.folder + "/gitconfig"
        with open(settings, "w", encoding="ascii"):
            pass
        env = {"GIT_CONFIG_GLOBAL": settings, **({"GIT_SSH_COMMAND": self.ssh} if self.ssh else {})}
        aliases = [] if self.ssh else ["git@127.0.0.1:", "org-42@github.com:"]
        basic = subprocess.run(["base64", "-w0"], input=f"x-access-token:{TOKEN}", capture_output=True, text=True, check=True).stdout
        for key, value in ((f"http.{self.server.url}/.extraheader", f"AUTHORIZATION: Basic {basic}"), *((f"url.{self.server.url}/.insteadOf", alias) for alias in aliases)):
            git("config", "--global", "--add", key, value, env=env)
        if not os.path.isdir(self.other):
            git("init", "-q", "-b", "main", self.other)
            git("remote", "add", "origin", self.url, cwd=self.other)
            git("config", "gc.auto", "0", cwd=self.other)
        elif clean:
            git("clean", "-ffdx", cwd=self.other)
            git("reset", "--hard", "HEAD", cwd=self.other)
        git("-c", "protocol.version=2", "fetch", "-q", "--no-tags", "--prune", "--no-recurse-submodules", *filtered, *shallow, "origin", f"+{commit}:refs/remotes/origin/x",
            cwd=self.other, env=env)
        self.choose(part, env)
        git("checkout", "-q", "--force", commit, cwd=self.other, env=env)
        git("submodule", "sync", *nested, cwd=self.other, env=env)
        git("-c", "protocol.version=2", "submodule", "update", "--init", "--force", *shallow, *nested, cwd=self.other, env=env)
        git("submodule", "foreach", *nested, "git config --local gc.auto 0", cwd=self.other, env=env)
        if clean:
            git("clean", "-ffdx", cwd=self.other)   # the directory of one that is gone, which the action leaves to the next job

    def looks(self, root):
        """All that git says of it, and the files that bind the two places together."""
        text = [git("submodule", "status", "--recursive", cwd=root),
                git("config", "--local", "--get-regexp", r"^submodule\.", cwd=root),
                git("status", "--porcelain", "--ignored", cwd=root)]
        for place, _, names in sorted(os.walk(root)):
            if ".git" in names and place != root:
                with open(os.path.join(place, ".git"), encoding="utf-8") as file:
                    text.append(f"{os.path.relpath(place, root)}: {file.read()}")
                text += [git(*words, cwd=place) for words in (
                    ("config", "--local", "--list"), ("for-each-ref", "--format=%(objectname) %(refname) %(symref) %(upstream)"), ("rev-parse", "HEAD", "--git-dir"),
                    ("rev-parse", "--is-shallow-repository"), ("log", "--format=%H%d"), ("ls-files", "-s"), ("status", "--porcelain", "--ignored"))]
        tidy = "\n".join(text).replace(root, "ROOT")
        return [line for line in tidy.split("\n")]

    def assert_as_git(self, commit, **how):
        self.bring(commit, **how)
        self.by_git(commit, **how)
        p = subprocess.run(["diff", "-r", "--no-dereference", "--exclude=.git", self.other, self.area], capture_output=True, text=True, check=False)
        self.assertEqual(p.stdout + p.stderr, "")
        ours, theirs = self.looks(self.area), self.looks(self.other)
        self.assertEqual(sorted(ours), sorted(theirs))
        git("fsck", "--full", cwd=self.area)
        git("submodule", "foreach", "--recursive", "git fsck --full", cwd=self.area)


class Submodules(Compared):
    def three(self):
        """top ← lib ← deep, by relative addresses."""
        inner = git("rev-parse", "HEAD", cwd=self.deep.work)
        lib = self.lib.commit({".gitmodules": modules(deep=("in/deep", "../deep.git"))}, {"in/deep": inner})
        return self.top.commit({".gitmodules": modules(lib=("ext/lib", "../lib.git"))}, {"ext/lib": lib})

    def test_one_level_and_all_of_them(self):
        commit = self.three()
        self.assert_as_git(commit, recursive=False)
        self.assertEqual(os.listdir(self.area + "/ext/lib/in/deep"), [])
        self.assert_as_git(commit)
        self.assertEqual(self.bring(commit), {"count": 2, "left": 0, "written": 0})

    def test_what_changes_between_two_jobs(self):
        """Addresses of all forms, updated, moved, added and removed ones, and all of history."""
        self.assert_as_git(self.three())
        inner, more = (repo.commit({"more": "2\n"}) for repo in (self.deep, self.lib))
        links = {"ext/lib": None, "moved/to lib": more, "ssh": inner, "org": inner, "other": inner, "again": inner}
        commit = self.top.commit({".gitmodules": modules(
            lib=("moved/to lib", "../lib.git", "branch = main"), ssh=("ssh", "git@127.0.0.1:owner/deep.git", "shallow = true"),
            org=("org", "org-42@github.com:owner/deep.git"), other=("other", "./../../owner/deep.git/", "update = none"),
            again=("again", "../deep.git", "update = merge"))}, links)
        self.assert_as_git(commit)
        self.assertEqual(self.bring(commit)["left"], 1)
        # An area of its own with all of history, and back to fewer submodules.
        shutil.rmtree(self.area)
        shutil.rmtree(self.other)
        self.assert_as_git(commit, depth=0)
        gone = self.top.commit({".gitmodules": modules(lib=("moved/to lib", "../lib.git"))}, {name: None for name in ("ssh", "org", "other", "again")})
        self.assert_as_git(gone, depth=0)
        self.assertEqual(sorted(os.listdir(self.area)), [".git", ".gitmodules", "moved", "read.me"])

    def test_of_a_part_of_the_files_all_submodules_come(self):
        """Whether they lie in it or not, and whole; so git has it from one part to the next, and back to all."""
        lib, paths = self.lib.commit({"s/s": "s\n"}), ("in/lib", "out/lib", "at")
        commit = self.top.commit({"in/a": "a\n", "out/c": "c\n", ".gitmodules": modules(**{path.replace("/", "-"): (path, "../lib.git") for path in paths})},
                                 dict.fromkeys(paths, lib))
        for part in (("CONE", "in"), ("CONE", "out"), ("PATTERN", "/in/a"), None):
            with self.subTest(part=part):
                self.assert_as_git(commit, part=part, recursive=False)
                for words in (("ls-files", "-t"), ("-c", "sparse.expectFilesOutsideOfPatterns=true", "ls-files", "-t")):
                    self.assertEqual(*[git(*words, cwd=place) for place in (self.area, self.other)])

    def refused(self, text, links, *words, git_too=True):
        """None of it is fetched, and git says no as well."""
        commit = self.top.commit({".gitmodules": text}, links)
        shutil.rmtree(self.area, ignore_errors=True)
        self.server.requests.clear()
        p = self.bring(commit, check=False)
        self.top.commit(None, dict.fromkeys(links))
        self.assertNotEqual(p.returncode, 0, text)
        for word in words:
            self.assertIn(word, p.stderr)
        if git_too:
            shutil.rmtree(self.other, ignore_errors=True)
            with self.assertRaises(AssertionError):
                self.by_git(commit)

    def test_names_paths_and_addresses_of_a_hostile_repository_are_refused(self):
        at = git("rev-parse", "HEAD", cwd=self.deep.work)
        self.refused("", {"x": at}, "No url found for submodule path 'x' in .gitmodules")
        self.refused('[submodule "../../x"]\n\tpath = x\n\turl = ../deep.git\n', {"x": at}, "No url found for submodule path 'x'", git_too=False)
        self.refused(modules(x=("x", self.deep.bare)), {"x": at}, "submodule 'x': transport 'file' not allowed")
        self.refused(modules(x=("x", "../deep.git", "update = !touch ran")), {"x": at}, "invalid value for 'submodule.x.update'", git_too=False)
        nested = '[submodule "a"]\n\tpath = x\n\turl = ../deep.git\n[submodule "a/modules/b"]\n\tpath = y\n\turl = ../deep.git\n'
        self.refused(nested, {"x": at, "y": at}, "would lie in that of 'a/'", git_too=False)
        # A link where a submodule belongs, and one on the way to its git directory.
        commit = self.top.commit({".gitmodules": modules(x=("x", "../deep.git"))}, {"x": at})
        outside = self.folder + "/outside"
        os.makedirs(outside)
        self.bring(commit)
        for link in ("x", ".git/modules", ".git/modules/x"):
            shutil.rmtree(os.path.join(self.area, link))
            os.symlink(outside, os.path.join(self.area, link))
            self.bring(commit)
            self.assertEqual(os.listdir(outside), [])
            self.assertEqual(git("submodule", "status", cwd=self.area)[:40], at)
            self.assertEqual(git("status", "--porcelain", cwd=self.area), "")

    def test_their_number_and_their_depth_have_bounds(self):
        at = git("rev-parse", "HEAD", cwd=self.deep.work)
        # Each commit has the one before as its submodule: the 16 levels that are taken, and one more.
        deep, inner, commits = self.server.url + "/owner/deep.git", at, []
        for _ in range(17):
            inner = self.deep.commit({".gitmodules": modules(m=("m", "../deep.git"))}, {"m": inner})
            commits.append(inner)
        p = self.bring(commits[16], url=deep, check=False)
        self.assertEqual(p.returncode, 2, p.stderr)
        self.assertIn("more than 16 deep", p.stderr)
        self.assertEqual(git("rev-parse", "HEAD", cwd=self.area + "/m" * 16), commits[0])
        names = [f"s{i}" for i in range(2001)]
        subprocess.run(["git", "update-index", "--index-info"], cwd=self.top.work, env=ENV, check=True, text=True, capture_output=True,
                       input="".join(f"160000 {at}\t{name}\n" for name in names))
        many = self.top.commit({".gitmodules": modules(**{name: (name, "../deep.git") for name in names})})
        asked = len(self.server.requests)
        p = self.bring(many, area=self.folder + "/many", check=False)
        self.assertEqual(p.returncode, 2, p.stderr)
        self.assertIn("more than 2000 submodules", p.stderr)
        self.assertLess(len(self.server.requests) - asked, 10)

    def test_the_token_is_sent_to_its_own_server_alone(self):
        with GitHttp(self.folder + "/served") as stranger:
            at = git("rev-parse", "HEAD", cwd=self.deep.work)
            address = stranger.url.replace("http://", "http://user:word@")
            commit = self.top.commit({".gitmodules": modules(a=("a", stranger.url + "/owner/deep.git"), b=("b", address + "/owner/deep.git"))}, {"a": at, "b": at})
            self.bring(commit)
            self.assertEqual({request[2] for request in stranger.requests}, {None, "Basic dXNlcjp3b3Jk"})
            self.assertNotIn(None, {request[2] for request in self.server.requests})

    def test_a_server_of_version_0_and_files_that_stay_or_go(self):
        self.server.version2 = False
        commit = self.three()
        older = git("rev-parse", "HEAD", cwd=self.lib.work)
        self.lib.commit({"read.me": "newer\n"})
        self.bring(commit)
        self.assertEqual(git("rev-parse", "HEAD", cwd=self.area + "/ext/lib"), older)
        self.assertEqual(git("status", "--porcelain", "--ignored", cwd=self.area), "")
        changed, left = self.area + "/ext/lib/read.me", self.area + "/ext/lib/in/deep/left"
        for clean in (False, True):
            for place in (changed, left):
                with open(place, "w", encoding="ascii") as file:
                    file.write("of a job\n")
            self.bring(commit, clean=clean)
            self.assertEqual(os.path.exists(left), not clean)
            with open(changed, encoding="ascii") as file:
                self.assertEqual(file.read(), "owner/lib.git\n")
        # What a killed job left, and a git directory that cannot be used.
        os.truncate(self.area + "/.git/modules/lib/HEAD", 0)
        with open(self.area + "/.git/modules/lib/index.lock", "w", encoding="ascii"):
            pass
        shutil.rmtree(self.area + "/ext/lib/in")
        self.bring(commit)
        self.assertEqual(git("status", "--porcelain", "--ignored", cwd=self.area), "")
        self.assertEqual(git("submodule", "status", "--recursive", cwd=self.area).count("\n"), 1)
        git("submodule", "foreach", "--recursive", "git fsck --full", cwd=self.area)


if __name__ == "__main__":
    unittest.main()
