#!/usr/bin/env python3
"""checkout from servers without git's protocol version 2, and of all history: libgit2's negotiation over our own HTTP."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from harness.trial import Case, Trial, main
from servers.git_http import GitHttp

AREA = os.path.join(os.environ["DAVIT_BUILD"], "tests", "area_cli")
ENV = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null", GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@t",
           GIT_COMMITTER_NAME="t", GIT_COMMITTER_EMAIL="t@t")
TOKEN = "ghs_0123456789abcdefghijklmnopqrstuvwxyz"


def git(folder, *words):
    return subprocess.run(["git", "-C", folder, *words], env=ENV, capture_output=True, check=True).stdout.decode().strip()


class VersionZero(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        self.work, self.served, self.area = self.t.dir + "/work", self.t.dir + "/served", self.t.src + "/tree"
        self.bare = self.served + "/octo/site"
        os.makedirs(self.served)
        subprocess.run(["git", "init", "-q", "-b", "main", self.work], env=ENV, check=True)
        self.write("read.me", b"one\n")
        for i in range(40):
            self.write(f"data/f{i}", os.urandom(500))
        self.zero = self.commit("zero")
        self.write("read.me", b"two\n")
        self.first = self.commit("first")
        subprocess.run(["git", "clone", "-q", "--bare", self.work, self.bare], env=ENV, check=True)
        git(self.work, "remote", "add", "served", self.bare)
        self.server = self.serve(version2=False)

    def serve(self, **options):
        server = GitHttp(self.served, **options)
        server.__enter__()
        self.addCleanup(server.__exit__)
        return server

    def write(self, name, data):
        path = os.path.join(self.work, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)

    def commit(self, message):
        git(self.work, "add", "-A")
        git(self.work, "commit", "-q", "--allow-empty", "-m", message)
        return git(self.work, "rev-parse", "HEAD")

    def push(self, *refs):
        git(self.work, "push", "-q", "-f", "served", *(refs or ("HEAD:refs/heads/main",)))

    def step(self, ref="main", server=None, env=None, **inputs):
        path = self.t.dir + "/in.json"
        with open(path, "w") as f:
            json.dump({"repository": "octo/site", "server": server or self.server.url, "ref": ref, "path": "tree", **inputs}, f)
        return self.t.run("step", "checkout", "--input", path, env={"no_proxy": "", **(env or {})})

    def step_well(self, *args, **inputs):
        result = self.step(*args, **inputs)
        self.assert_exit(result, 0)
        return result

    def assert_tree(self, commit):
        """git finds the area whole, clean and at the commit."""
        self.assertEqual(git(self.area, "rev-parse", "HEAD"), commit)
        self.assertEqual(git(self.area, "status", "--porcelain", "--ignored"), "")
        git(self.area, "fsck", "--full")

    def assert_nothing_came(self):
        """No files, no pack, not even a part of one."""
        self.assertEqual([name for name in os.listdir(self.area) if name != ".git"], [])
        self.assertEqual([(top, names) for top, _, names in os.walk(self.area + "/.git/objects") if names], [])

    def asked(self):
        return [(method, path.removeprefix("/octo/site")) for method, path, _ in self.server.requests]

    # ---- what arrives ----

    def test_a_branch_and_its_next_commit_come_whole(self):
        self.step_well()
        self.assert_tree(self.first)
        self.assertEqual(git(self.area, "symbolic-ref", "HEAD"), "refs/heads/main")
        self.assertEqual(git(self.area, "rev-list", "--count", "HEAD"), "2")
        self.write("new", b"new\n")
        second = self.commit("second")
        self.push()
        self.server.requests.clear()
        self.server.cut = 4000      # all of it is 20 kB: what is here already must not be sent again
        self.step_well()
        self.assertEqual(self.server.cut, 4000)
        self.assert_tree(second)

    def test_a_tag_a_commit_below_a_branch_and_a_reference_of_another_kind_are_found(self):
        git(self.work, "tag", "-a", "-m", "x", "v1", self.zero)
        third = self.commit("third")
        self.push("v1", f"{third}:refs/pull/7/merge")
        for ref, commit in (("v1", self.zero), (self.zero, self.zero), (third, third), ("refs/pull/7/merge", third), ("main", self.first)):
            with self.subTest(ref=ref):
                shutil.rmtree(self.area, ignore_errors=True)
                self.step_well(ref)
                self.assert_tree(commit)

    def test_only_the_wanted_branch_is_sent(self):
        self.write("large", os.urandom(200000))
        self.commit("elsewhere")
        self.push("HEAD:refs/heads/large")
        self.server.cut = 100000
        self.step_well()
        self.assertEqual(self.server.cut, 100000)

    def test_a_name_or_a_commit_that_is_not_there_is_said_so(self):
        result = self.step("no-such-branch")
        self.assert_exit(result, 1)
        self.assert_says(result, "has no 'refs/heads/no-such-branch'")
        result = self.step("12" * 20)
        self.assert_exit(result, 1)
        self.assert_says(result, "has no branch or tag that holds 121212121212")

    def test_all_history_comes_with_all_branches_and_tags_also_into_a_shallow_area(self):
        git(self.work, "tag", "old", self.zero)
        self.push("old", f"{self.zero}:refs/heads/other")
        for version2 in (True, False):
            with self.subTest(version2=version2):
                shutil.rmtree(self.area, ignore_errors=True)
                self.server.version2 = True
                self.step_well()
                self.assertEqual(git(self.area, "rev-list", "--count", "HEAD"), "1")
                self.server.version2 = version2
                self.step_well(**{"fetch-depth": 0})
                self.assert_tree(self.first)
                self.assertEqual(git(self.area, "rev-list", "--count", "HEAD"), "2")
                self.assertEqual(git(self.area, "rev-parse", "origin/other", "old"), f"{self.zero}\n{self.zero}")
                self.assertFalse(os.path.exists(self.area + "/.git/shallow"))

    def test_a_shallow_area_is_carried_on_when_version_2_is_lost(self):
        self.server.version2 = True
        self.step_well()
        self.write("new", b"new\n")
        second = self.commit("second")
        self.push()
        self.server.version2 = False
        self.step_well()
        self.assert_tree(second)

    def test_a_branch_may_take_the_place_of_a_directory_of_branches_and_back(self):
        self.push("HEAD:refs/heads/line/a")
        for version2 in (True, False):
            with self.subTest(version2=version2):
                self.server.version2 = version2
                self.step_well("line/a")
                git(self.bare, "update-ref", "-d", "refs/heads/line/a")
                self.push("HEAD:refs/heads/line")
                self.step_well("line")
                self.assertEqual(git(self.area, "symbolic-ref", "HEAD"), "refs/heads/line")
                git(self.bare, "update-ref", "-d", "refs/heads/line")
                self.push("HEAD:refs/heads/line/a")
                self.step_well("line/a")
                self.assert_tree(self.first)

    # ---- who may ----

    def test_the_token_goes_with_every_request_and_stays_nowhere(self):
        self.server.token = TOKEN
        result = self.step_well(token=TOKEN)
        self.assert_tree(self.first)
        self.assertEqual(len(self.server.requests), 5, self.asked())
        self.assertNotIn(None, [authorization for _, _, authorization in self.server.requests])
        self.assert_silent(result, TOKEN)
        os.unlink(self.t.dir + "/in.json")
        for path, data in self.t.files_of(self.t.dir):
            self.assertNotIn(TOKEN.encode(), data, path)

    def test_a_wrong_token_is_one_clear_error(self):
        self.server.token = TOKEN
        for place in ("version 2", "version 0"):
            with self.subTest(place=place):
                if place == "version 0":
                    self.server.token, self.server.refuse = None, {"/info/refs": 401}
                result = self.step(token="ghs_of_another_repository_0123456789ab")
                self.assert_exit(result, 1)
                self.assertEqual(result.text.count("does not let us read"), 1, result)
                self.assert_says(result, "HTTP 401", "give `token:`")
                self.assert_silent(result, "ghs_of_another")

    def test_an_address_that_the_area_s_configuration_changes_is_not_asked(self):
        self.step_well(token=TOKEN)
        other = self.serve(version2=False)
        git(self.area, "config", f"url.{other.url}/.insteadOf", self.server.url + "/")
        git(self.area, "config", "http.proxy", other.url)
        self.commit("second")
        self.push()
        self.step_well(token=TOKEN)
        self.assertEqual(other.requests, [])

    def test_what_answers_in_the_server_s_place_is_named(self):
        self.server.page = b"<html>please log in</html>"
        result = self.step()
        self.assert_exit(result, 1)
        self.assert_says(result, "does not answer as a git server", "text/html", "login page")
        self.server.page, self.server.refuse = None, {"/info/refs": 500}
        result = self.step()
        self.assert_exit(result, 1)
        self.assert_says(result, "HTTP 500: refused here")

    # ---- what breaks ----

    def test_a_pack_that_ends_in_the_middle_leaves_nothing_and_the_next_try_works(self):
        self.server.cut = 5000
        result = self.step()
        self.assert_exit(result, 1)
        self.assertIsNone(self.server.cut)
        self.assert_says(result, f"fetch {self.first[:12]}")
        self.assert_nothing_came()
        self.step_well()
        self.assert_tree(self.first)

    def test_a_server_that_is_busy_for_a_moment_is_asked_again(self):
        for version2, requests in ((True, 4), (False, 7)):
            with self.subTest(version2=version2):
                shutil.rmtree(self.area, ignore_errors=True)
                self.server.version2, self.server.busy = version2, 2
                self.server.requests.clear()
                self.step_well()
                self.assert_tree(self.first)
                self.assertEqual(len(self.server.requests), requests, self.asked())
        self.server.busy = 100
        result = self.step()
        self.assert_exit(result, 1)
        self.assertEqual(self.server.busy, 97)
        self.assert_says(result, "HTTP 503")

    def test_a_silent_server_is_ended_by_the_deadline(self):
        for fault, value in (("hang", "/info/refs"), ("stall", 5000)):
            with self.subTest(fault=fault):
                setattr(self.server, fault, value)
                start = time.monotonic()
                p = subprocess.run([AREA, self.server.url + "/octo/site", self.first, self.area, "--deadline", "700"], env=ENV, timeout=60,
                                   capture_output=True, text=True, check=False)
                self.assertEqual(p.returncode, 1, p.stderr)
                self.assertTrue(p.stderr.startswith("timeout: "), p.stderr)
                self.assertLess(time.monotonic() - start, 20)       # the server is silent for good
                self.assert_nothing_came()
                setattr(self.server, fault, None)

    def test_a_silent_server_is_ended_by_a_cancel_at_once(self):
        for fault, value in (("hang", "/info/refs"), ("stall", 5000)):
            with self.subTest(fault=fault):
                setattr(self.server, fault, value)
                self.server.requests.clear()
                p = subprocess.Popen([AREA, self.server.url + "/octo/site", self.first, self.area], env=ENV, stderr=subprocess.PIPE, text=True)
                end = time.monotonic() + 20
                wanted = 2 if fault == "hang" else 3
                while len(self.server.requests) < wanted and time.monotonic() < end:
                    time.sleep(0.01)
                self.assertEqual(len(self.server.requests), wanted, self.asked())
                start = time.monotonic()
                p.send_signal(signal.SIGINT)
                said = p.communicate(timeout=60)[1]
                self.assertEqual(p.returncode, 130, said)
                self.assertLess(time.monotonic() - start, 20)
                self.assert_nothing_came()
                setattr(self.server, fault, None)

    # ---- how it gets there ----

    def test_a_proxy_from_the_environment_carries_every_request(self):
        self.step_well(server="http://git.invalid", env={"http_proxy": self.server.url})
        self.assert_tree(self.first)
        self.assertEqual(self.server.proxied, 5)

    def test_a_ca_file_of_one_s_own_is_trusted_and_nothing_else(self):
        folder = tempfile.mkdtemp(dir=self.t.dir)
        key, certificate = folder + "/key.pem", folder + "/cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout", key,
                        "-out", certificate, "-subj", "/CN=git", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        server = self.serve(version2=False, tls=(certificate, key))
        result = self.step(server=server.url, token=TOKEN)
        self.assert_exit(result, 1)
        self.assert_says(result, "certificate")
        self.assertEqual(server.requests, [])
        self.step_well(server=server.url, token=TOKEN, env={"SSL_CERT_FILE": certificate})
        self.assert_tree(self.first)
        self.assertEqual(len(server.requests), 5)


if __name__ == "__main__":
    main()
