#!/usr/bin/env python3
"""The actions on a runner without davit: the release's binary is found, fetched, verified and kept, or the step fails with one sentence."""
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.tree import Tree, ends, log  # noqa: E402
from servers.forge import Forge  # noqa: E402

SOURCE, BUILD = os.environ["DAVIT_SOURCE"], os.environ["DAVIT_BUILD"]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FILE, ARCH = {"x86_64": ("davit-linux-x86_64", "x64"), "aarch64": ("davit-linux-aarch64", "arm64")}[os.uname().machine]
with open(os.path.join(SOURCE, "actions/release"), encoding="ascii") as release:
    REPOSITORY, TAG = release.read().split()
# For who only fetches it.
PROGRAM = f"#!/bin/sh\nexec '{BUILD}/bin/davit' \"$@\"\n".encode()
PAGE = "docs/tasks/install.md says how it gets there"


def write(path, data, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)


def sums(data, name=FILE):
    return f"{hashlib.sha256(data).hexdigest()}  {name}\n".encode()


def write_release(top, data=PROGRAM, listed=None):
    directory = os.path.join(top, REPOSITORY, TAG)
    write(os.path.join(directory, FILE), data)
    write(os.path.join(directory, "SHA256SUMS"), sums(data) if listed is None else listed)


class Page(http.server.BaseHTTPRequestHandler):
    """Somewhere else: a page, whatever is asked for."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html>Log in\n::add-mask::x</html>\n")

    def log_message(self, *_):
        pass


class Finding(unittest.TestCase):
    """actions/find.sh alone, as a step calls it."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="davit-release-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.actions, self.tools, self.releases = (os.path.join(self.dir, n) for n in ("actions", "tools", "releases"))
        os.makedirs(os.path.join(self.actions, "finish"))
        for name in ("find.sh", "release"):
            shutil.copy(os.path.join(SOURCE, "actions", name), self.actions)
        os.mkdir(self.releases)
        write_release(self.releases)
        self.forge = self.enterContext(Forge(options=["--releases", self.releases]))

    def start(self, path=PATH, shell="sh", **env):
        env = {"PATH": path, "RUNNER_TOOL_CACHE": self.tools, "GITHUB_SERVER_URL": self.forge.url, **env}
        return subprocess.Popen([shell, os.path.join(self.actions, "finish/../find.sh")], env=env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def find(self, **more):
        p = self.start(**more)
        out, err = p.communicate(timeout=120)
        return p.returncode, out, err

    def kept(self):
        return sorted(os.path.relpath(os.path.join(top, name), self.tools) for top, _, names in os.walk(self.tools) for name in names)

    def asked(self):
        return [r["path"] for r in self.forge.requests() if "releases" in r["path"]]

    def where(self):
        return os.path.join(self.tools, "davit", TAG[1:], ARCH, "davit")

    def assert_found(self, **more):
        self.assertEqual(self.find(**more), (0, self.where() + "\n", ""))
        self.assertIn("davit 1.", subprocess.run([self.where(), "--version"], capture_output=True, text=True, check=True).stdout)
        self.assertEqual(self.kept(), [f"davit/{TAG[1:]}/{ARCH}.complete", f"davit/{TAG[1:]}/{ARCH}/davit"])

    def assert_refused(self, *words, **more):
        code, out, err = self.find(**more)
        self.assertEqual((code, out), (2, ""), err)
        self.assertTrue(err.startswith("::error::davit is not on the PATH of this runner, and ") and err.count("\n") == 1, err)
        for word in (*words, PAGE):
            self.assertIn(word, err)
        self.assertEqual(self.kept(), [], err)

    def pin(self, data=PROGRAM):
        write(os.path.join(self.actions, "SHA256SUMS"), sums(b"", "davit-linux-other") + sums(data))

    def test_a_release_is_fetched_once_and_kept_in_the_tool_cache(self):
        self.assert_found()
        self.assertEqual(len(self.asked()), 4, "its checksums and the binary, each by way of where the release keeps them")
        self.assert_found()
        self.assertEqual(len(self.asked()), 4)

    def test_the_checksum_beside_the_action_counts_and_the_releases_own_is_not_asked_for(self):
        self.pin()
        write_release(self.releases, listed=b"")
        self.assert_found()
        self.assertFalse([p for p in self.asked() if "SHA256SUMS" in p])
        write_release(self.releases, b"#!/bin/sh\necho another one\n")
        shutil.rmtree(self.tools)
        self.assert_refused("is not what its checksum says", hashlib.sha256(PROGRAM).hexdigest())

    def test_what_was_changed_in_the_tool_cache_is_not_run_but_fetched_again(self):
        self.pin()
        self.assert_found()
        write(self.where(), b"#!/bin/sh\necho planted\n", 0o755)
        self.assert_found()
        self.assertEqual(len(self.asked()), 4)

    def test_a_file_beside_the_action_is_taken_without_the_network(self):
        write(os.path.join(self.actions, FILE), PROGRAM)
        self.assert_refused("there is no checksum of", "SHA256SUMS", GITHUB_SERVER_URL="http://127.0.0.1:1")
        self.pin()
        self.assert_found(GITHUB_SERVER_URL="http://127.0.0.1:1")
        shutil.rmtree(self.tools)
        self.pin(b"other")
        self.assert_refused("is not what its checksum says")
        self.assertEqual(self.asked(), [])

    def test_a_mirror_has_releases_of_its_own(self):
        directory = os.path.join(self.dir, "_actions/acme/mirror/v1/actions")
        shutil.copytree(self.actions, directory)
        self.actions = directory
        os.renames(os.path.join(self.releases, REPOSITORY), os.path.join(self.releases, "acme/mirror"))
        self.assert_found()

    def test_what_is_not_the_release_fails_with_one_sentence_and_leaves_nothing(self):
        whole = f"/_services/releases/{REPOSITORY}/{TAG}/{FILE}"
        self.pin()
        write_release(self.releases, PROGRAM[:-5])
        self.assert_refused("is not what its checksum says")
        write_release(self.releases, b"<html>Log in\n::add-mask::x</html>\n")
        self.assert_refused("is not what its checksum says")
        write_release(self.releases)
        self.forge.faults(path=whole, truncate=20, times=-1)
        self.assert_refused("cannot be had")
        self.forge.no_faults()
        self.forge.faults(path=whole, status=404, body="<html>\n::set-output name=x::y")
        self.assert_refused("cannot be had", "404")
        self.forge.faults(path=whole, drop=True, times=-1)
        self.assert_refused("cannot be had")
        self.forge.no_faults()
        self.assert_refused("cannot be had", GITHUB_SERVER_URL="http://127.0.0.1:1")
        with open(os.path.join(self.releases, REPOSITORY, TAG, FILE), "wb") as f:
            f.truncate(65 << 20)
        self.assert_refused("cannot be had")
        os.remove(os.path.join(self.releases, REPOSITORY, TAG, FILE))
        self.assert_refused("cannot be had", "404")

    def test_a_redirect_to_elsewhere_gives_nothing_that_is_run(self):
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.addCleanup(server.shutdown)
            path = f"/{REPOSITORY}/releases/download/{TAG}/"
            for to in (f"http://127.0.0.1:{server.server_address[1]}/{FILE}", "file:///bin/sh"):
                for pinned in (True, False):
                    if pinned:
                        self.pin()
                    else:
                        os.remove(os.path.join(self.actions, "SHA256SUMS"))
                    self.forge.faults(path=path, status=302, headers={"Location": to})
                    self.assert_refused()
            server.shutdown()

    def test_a_release_without_a_checksum_of_this_machine_is_not_run(self):
        write_release(self.releases, listed=sums(PROGRAM, "davit-linux-riscv64"))
        self.assert_refused("has no checksum of " + FILE)
        write_release(self.releases, b"#!/bin/sh\nexit 1\n")
        self.assert_refused("does not run on this machine")

    def test_jobs_that_fetch_it_at_once_do_not_harm_each_other(self):
        self.pin()
        jobs = [self.start() for _ in range(8)]
        self.assertEqual([(*p.communicate(timeout=120), p.returncode) for p in jobs], [(self.where() + "\n", "", 0)] * 8)
        self.assert_found()

    def test_wget_does_as_well_and_so_does_busybox(self):
        programs = os.path.join(self.dir, "bin")
        os.mkdir(programs)
        for name in ("tr", "cut", "sed", "rm", "uname", "head", "sha256sum", "tail", "timeout", "mkdir", "mktemp", "find", "cp", "chmod", "mv", "sh", "dirname", "wget"):
            os.symlink(shutil.which(name, path=PATH), os.path.join(programs, name))
        self.pin()
        self.assert_found(path=programs)
        shutil.rmtree(self.tools)
        os.remove(os.path.join(programs, "wget"))
        self.assert_refused("neither curl nor wget is here", path=programs)
        if os.path.exists("/bin/busybox"):
            shutil.rmtree(programs)
            os.mkdir(programs)
            for name in subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
                os.symlink("/bin/busybox", os.path.join(programs, name))
            self.assert_found(path=programs, shell=os.path.join(programs, "sh"))
            shutil.rmtree(self.tools)
            write_release(self.releases, b"other")
            self.assert_refused("is not what its checksum says", path=programs)

    def test_a_machine_without_a_release_is_told_so(self):
        programs = os.path.join(self.dir, "bin")
        write(os.path.join(programs, "uname"), b"#!/bin/sh\n[ $1 = -s ] && echo Darwin || echo arm64\n", 0o755)
        self.assert_refused("no release of it for Darwin on arm64", path=programs + ":" + PATH)

    def test_a_tool_cache_that_is_closed_is_left_aside(self):
        write(self.tools, b"")
        temp = os.path.join(self.dir, "temp")
        code, out, err = self.find(RUNNER_TEMP=temp)
        self.assertEqual((code, out), (0, os.path.join(temp, "davit", TAG[1:], ARCH, "davit") + "\n"), err)
        os.remove(self.tools)
        self.assert_refused("neither RUNNER_TOOL_CACHE nor RUNNER_TEMP", RUNNER_TOOL_CACHE="")


WORKFLOW = """on: push
jobs:
  site:
    runs-on: ubuntu-latest
    environment: production
    steps:
      - run: if command -v davit; then exit 1; fi
      - uses: davit-deploy/davit/actions/checkout@v1
      - id: up
        uses: davit-deploy/davit/actions/archive-upload@v1
        with:
          deployment: "environment: production"
          targets: '${{ toJSON(fromJSON(vars.TARGETS)) }}'
          source: site
          path: ${{ vars.PLACE }}/app
      - uses: davit-deploy/davit/actions/health-gate@v1
        with:
          checks: '[{"command": ["test", "-e", "${{ vars.PLACE }}/app/current/${{ vars.PAGE }}"]}]'
          deadline: 1s
      - id: end
        if: always()
        uses: davit-deploy/davit/actions/finish@v1
      - if: always()
        run: echo "release=${{ steps.up.outputs.release }} state=${{ steps.end.outputs.state }}"
  whole:
    runs-on: ubuntu-latest
    steps:
      - uses: davit-deploy/davit/actions/checkout@v1
      - id: d
        uses: davit-deploy/davit@v1
        with: {file: deploy.yml, vars: "${{ toJSON(vars) }}"}
      - run: echo "whole=${{ steps.d.outputs.state }}"
  setup:
    runs-on: ubuntu-latest
    steps:
      - id: s
        uses: davit-deploy/davit/actions/setup@v1
      - run: davit --version && test "$(command -v davit)" = "${{ steps.s.outputs.path }}"
"""
DEPLOY = """name: shop
environment: whole
targets: {here: {local: {}, base: "${{ vars.PLACE }}/base-whole"}}
steps:
  - run: {command: [touch, "${{ vars.PLACE }}/whole"], undo: none}
"""


class InJobs(unittest.TestCase):
    """The composite actions themselves, by davit run without its own native ones."""

    def setUp(self):
        self.tree = Tree({"ci.yml": WORKFLOW})
        self.addCleanup(self.tree.remove)
        self.place, self.releases, self.tools = (os.path.join(self.tree.dir, n) for n in ("place", "releases", "tools"))
        os.mkdir(self.place)
        write(os.path.join(self.tree.top, "site/index.html"), b"one\n")
        write(os.path.join(self.tree.top, "deploy.yml"), DEPLOY.encode())
        self.tree.git("add", "-A")
        self.tree.git("-c", "user.name=Ann", "-c", "user.email=a@example.invalid", "commit", "-qm", "two")
        own = os.path.join(self.tree.dir, "davit")
        shutil.copytree(os.path.join(SOURCE, "actions"), os.path.join(own, "actions"), ignore=shutil.ignore_patterns("SHA256SUMS"))
        shutil.copy(os.path.join(SOURCE, "action.yml"), own)
        with open(os.path.join(BUILD, "one/davit"), "rb") as one:
            self.program = one.read()
        listed = os.path.join(self.tree.dir, "SHA256SUMS")
        write(listed, sums(self.program) + sums(b"", "davit.spdx.json"))
        env = {**self.tree.env, "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.invalid", "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.invalid"}
        for words in (("git", "init", "-q", "-b", "main"), ("git", "add", "-A"), ("git", "commit", "-qm", "released"), ("git", "tag", TAG),
                      # As the release does it.
                      (os.path.join(SOURCE, "packaging/actions.sh"), TAG, listed)):
            subprocess.run(words, check=True, env=env, cwd=own, stdout=subprocess.DEVNULL)
        said = subprocess.run(["git", "show", "--stat", "--format=%s", "v1"], check=True, env=env, cwd=own, capture_output=True, text=True).stdout
        self.assertIn("actions/SHA256SUMS | 1 +", said)
        self.assertEqual(subprocess.run(["git", "status", "--porcelain"], check=True, env=env, cwd=own, capture_output=True, text=True).stdout, "")
        self.own = own

    def run_it(self, *more, page="index.html", native="none"):
        env = {"PATH": PATH, "RUNNER_TOOL_CACHE": self.tools}
        targets = f'{{"web": {{"local": {{}}, "base": "{self.place}/base"}}}}'
        return self.tree.events("--env", "DAVIT_STATE", "--native", native, "--repo", f"davit-deploy/davit={self.own}/.git", "--releases", self.releases,
                                "--var", f"PLACE={self.place}", "--var", f"TARGETS={targets}", "--var", f"PAGE={page}", *more, env=env)

    def test_single_steps_a_whole_file_and_setup_run_by_the_release_alone(self):
        write_release(self.releases, self.program)
        code, events, err = self.run_it()
        self.assertEqual((code, ends(events)), (0, {"site": "success", "whole": "success", "setup": "success"}), err + log(events))
        self.assertRegex(log(events, "site"), r"release=\d.* state=committed\n")
        self.assertIn("whole=committed\n", log(events, "whole"))
        self.assertIn("davit 1.", log(events, "setup"))
        self.assertTrue(os.path.exists(os.path.join(self.place, "app/current/index.html")))
        self.assertTrue(os.path.exists(os.path.join(self.place, "whole")))
        code, events, err = self.run_it("--job", "site", page="missing")
        self.assertEqual((code, ends(events)), (1, {"site": "failure"}), err)
        self.assertIn("state=undone\n", log(events, "site"))

    def test_without_a_release_the_step_says_where_davit_comes_from(self):
        code, events, err = self.run_it("--job", "setup")
        self.assertEqual((code, ends(events)), (1, {"setup": "failure"}), err)
        self.assertIn("davit is not on the PATH of this runner, and http://", log(events))
        self.assertIn(PAGE, log(events))
        self.assertEqual([names for _, _, names in os.walk(self.tools) if names], [])

    def test_the_same_workflow_runs_natively_and_finish_knows_the_jobs_status(self):
        for page, state in (("index.html", "committed"), ("missing", "undone")):
            _, events, err = self.run_it("--job", "site", page=page, native="own,actions/checkout")
            self.assertIn(f"state={state}\n", log(events, "site"), err)

    def test_setup_runs_natively_too(self):
        code, out, err = self.tree.run("--job", "setup", env={"PATH": PATH})
        self.assertEqual(code, 0, out + err)
        self.assertIn("of this agent: ", out)


if __name__ == "__main__":
    unittest.main(verbosity=1)
