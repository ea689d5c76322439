#!/usr/bin/env python3
"""actions/checkout carried out by the worker itself: what later steps find, the token they may use and its end, and when the action itself runs."""
import base64
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from bench.native_checkout import provide
from servers.lfs import Lfs
from servers.runner import Job
from servers.sshd import Sshd
from servers.worker import REPOSITORY, House

NATIVE = {"native": "own,actions/checkout"}
WRITES = "permissions: {contents: write}"
AS_BOT = "git config user.name bot && git config user.email bot@example.org"
# What the action would do, as far as these tests ask: a composite action that says so.
ITSELF = {"action.yml": """
name: Checkout
inputs:
  repository: {default: '${{ github.repository }}'}
  ref: {}
  lfs: {default: 'false'}
  path: {}
outputs: {by: {value: the action}}
runs: {using: composite, steps: [{shell: bash, run: 'echo "the action itself: lfs ${{ inputs.lfs }}"'}]}
"""}
NODE = {"action.yml": "name: Checkout\ninputs: {lfs: {default: 'false'}}\nruns: {using: node20, main: main.js, post: post.js}\n",
        "main.js": "console.log('main of the action')\n", "post.js": "console.log('post of the action')\n"}


def until(what, condition, timeout=30):
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.01)
    return value


def has_port_22():
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", 22))
            return True
        except OSError:
            return False


class Natively(unittest.TestCase):
    def setUp(self):
        self.house = House(repos=["actions/checkout"])
        self.house.__enter__()
        self.addCleanup(self.house.__exit__, None, None, None)
        self.workspace = os.path.join(self.house.work, "demo", "demo")

    def action(self, files=None):
        """Its repository with these files, as v4, v5 and v6; its commit."""
        repo = self.house.forge.repo("actions/checkout")
        sha = repo.push(files or ITSELF)
        for tag in ("v3", "v4", "v5", "v6.0.1", "v7"):
            repo.git("push", "-q", repo.url, f"{sha}:refs/tags/{tag}")
        return sha

    def run_steps(self, steps, settings=None, ends="success", **more):
        run = self.house.run(steps, settings={**NATIVE, **(settings or {})}, **more)
        self.assertEqual(run.conclusion, ends, "\n".join(f"== {s['name']}: {s['conclusion']}\n{s.get('log')}" for s in run.job["steps"]))
        return run

    def git(self, *words, below=".", check=True):
        return subprocess.run(["git", "-C", os.path.join(self.workspace, below), "-c", "safe.directory=*", *words], check=check, capture_output=True,
                              text=True).stdout.strip()

    def left(self, below="."):
        """What of tokens lies in the work area or the job's temporary directory."""
        with open(os.path.join(self.workspace, below, ".git", "config"), encoding="utf-8") as file:
            text = file.read()
        files = os.listdir(self.house.temp()) if os.path.isdir(self.house.temp()) else []       # it goes with its job
        return re.findall(r"(?i)authorization|git-credentials", text) + [name for name in files if name.startswith("git-cred")]

    def test_a_later_step_pushes_with_the_token_that_the_post_step_removes(self):
        for version in ("v4", "v5.0.1", "v6", "v7.0.0"):
            run = self.run_steps(f'''
                - {{id: co, uses: actions/checkout@{version}}}
                - name: works
                  run: |
                    set -ex
                    test "$(git symbolic-ref HEAD)" = refs/heads/main
                    test "$(git rev-parse HEAD origin/main main@{{upstream}} | sort -u)" = "$GITHUB_SHA"
                    test -z "$(git status --porcelain --ignored)"
                    test "${{{{ steps.co.outputs.commit }}}} ${{{{ steps.co.outputs.ref }}}}" = "$GITHUB_SHA refs/heads/main"
                    {AS_BOT}
                    git commit -q --allow-empty -m made && git push -q origin HEAD:refs/heads/made-{version}
                    git fetch -q origin made-{version}
                    git config --get http.$GITHUB_SERVER_URL/.extraheader
                    ls $RUNNER_TEMP; cat .git/config
            ''', workflow=WRITES)
            log = run.log("works")
            self.assertIn("AUTHORIZATION: basic ***", log)
            self.assertEqual("extraheader" in log.split("[core]")[1], version[:2] in ("v4", "v5"), log)
            self.assertEqual("git-credentials-" in log, version[:2] not in ("v4", "v5"), log)
            self.assertEqual(run.conclusions()[f"Post Run actions/checkout@{version}"], "success")
            self.assertEqual(self.left(), [])
            self.assertNotIn("Download action repository", run.log("Set up job"))
            token = run.message["resources"]["endpoints"][0]["authorization"]["parameters"]["AccessToken"]
            self.assertNotIn(token, repr(run.shown))
        # A fresh clone has what was pushed: the forge took it from the job alone.
        self.assertIn("made-v7.0.0", self.house.forge.repo(REPOSITORY).git("ls-remote", self.house.forge.repo(REPOSITORY).url))

    def test_it_is_removed_after_a_failure_and_a_cancel_and_not_kept_unless_asked_for(self):
        run = self.run_steps('''
            - {uses: actions/checkout@v6}
            - {name: fails, run: exit 3}
        ''', ends="failure")
        self.assertEqual((run.conclusion, run.conclusions()["Post Run actions/checkout@v6"]), ("failure", "success"))
        self.assertEqual(self.left(), [])
        mark = os.path.join(self.house.folder, "mark")
        worker = self.house.start(f'''
            - {{uses: actions/checkout@v4}}
            - {{name: waits, run: "touch {mark}; exec sleep 3000"}}
        ''', settings=NATIVE)
        until("the step", lambda: os.path.exists(mark))
        self.assertNotEqual(self.left(), [])
        worker.cancel(300)
        run = self.house.finish(worker)
        self.assertEqual((run.conclusion, run.conclusions()["Post Run actions/checkout@v4"]), ("cancelled", "success"))
        self.assertEqual(self.left(), [])
        run = self.run_steps('''
            - {uses: actions/checkout@v4, with: {persist-credentials: false}}
            - {name: looks, run: "cat .git/config"}
        ''')
        self.assertNotIn("AUTHORIZATION", run.log("looks"))
        self.assertNotIn("Post Run actions/checkout@v4", run.conclusions())

    def test_what_a_killed_worker_left_goes_with_the_next_checkout(self):
        mark = os.path.join(self.house.folder, "mark")
        worker = self.house.start(f'''
            - {{uses: actions/checkout@v4}}
            - {{name: waits, run: "echo $$ > {mark}.new && mv {mark}.new {mark}; exec sleep 3000"}}
        ''', settings=NATIVE)
        until("the step", lambda: os.path.exists(mark))
        worker.process.kill()
        with open(mark, encoding="ascii") as file:
            os.kill(int(file.read()), signal.SIGKILL)
        worker.wait()
        Job(self.house.runner, worker.message).complete("failed")
        self.assertNotEqual(self.left(), [])
        run = self.run_steps("- {uses: actions/checkout@v6, with: {persist-credentials: false}}")
        self.assertEqual(self.left(), [])

    def link(self, path, target, sha):
        """Makes `target` at this commit a submodule at path, with the next push."""
        repo = self.house.forge.repo(REPOSITORY)
        os.makedirs(os.path.join(repo.work, path))
        repo.git("update-index", "--add", "--cacheinfo", f"160000,{sha},{path}")
        return {".gitmodules": f'[submodule "{path}"]\n\tpath = {path}\n\turl = {target}\n'}

    def modules_left(self):
        """What of tokens lies in the configurations of submodules, at all levels."""
        found = []
        for place, _, names in os.walk(os.path.join(self.workspace, ".git", "modules")):
            if "config" in names:
                with open(os.path.join(place, "config"), encoding="utf-8") as file:
                    found += re.findall(r"(?i)authorization|git-credentials", file.read())
        return found

    def test_submodules_are_fetched_with_the_token_and_keep_it_until_the_post_step(self):
        # Other branches of the same repository: the job's token may read no other one.
        repo = self.house.forge.repo(REPOSITORY)
        deep = repo.push({"deep.txt": "deep\n"}, ref="deep")
        lib = repo.push({**self.link("in/deep", "../demo", deep), "lib.txt": "lib\n"}, ref="lib")
        shutil.rmtree(repo.work + "/in")
        modules = {**self.link("ext/lib", "git@forge.localhost:octo/demo", lib), "lib.txt": None}
        for version in ("v4", "v6"):
            run = self.run_steps(f'''
                - {{name: co, uses: actions/checkout@{version}, with: {{submodules: Recursive}}}}
                - name: works
                  run: |
                    set -ex
                    cat ext/lib/lib.txt ext/lib/in/deep/deep.txt
                    test -z "$(git status --porcelain --ignored)"
                    for at in ext/lib ext/lib/in/deep; do
                      git -C $at config --local --list
                      git -C $at config --get http.$GITHUB_SERVER_URL/.extraheader
                    done
                    git submodule update --remote ext/lib
                    test "$(git -C ext/lib rev-parse HEAD)" = $GITHUB_SHA
                    test {version} = v6 || echo '[broken' >> .git/modules/ext/lib/config
            ''', files=modules)
            log = run.log("works")
            self.assertIn("lib\ndeep\n", log)
            self.assertEqual(log.count("AUTHORIZATION: basic ***"), 4 if version == "v4" else 2, log)
            self.assertEqual(log.count("includeif.gitdir:"), 4 if version == "v6" else 0, log)
            self.assertIn(".insteadof=git@forge.localhost:", log)
            self.assertIn("2 submodules of ", run.log("co"))
            self.assertEqual((self.left(), self.modules_left()), ([], []))
            modules = {}
        # One level, no token; and what a killed worker left in them goes with any next checkout.
        self.git("config", "http.x/.extraheader", "AUTHORIZATION: basic x", below="ext/lib")
        self.git("config", "http.x/.extraheader", "AUTHORIZATION: basic x", below="ext/lib/in/deep")
        self.run_steps("- {uses: actions/checkout@v4, with: {persist-credentials: false}}")
        self.assertEqual(self.modules_left(), [])
        shutil.rmtree(self.workspace)
        run = self.run_steps("- {name: co, uses: actions/checkout@v5, with: {submodules: true, sparse-checkout: lib, persist-credentials: false}}")
        self.assertEqual((self.modules_left(), os.listdir(self.workspace + "/ext/lib/in/deep")), ([], []))
        self.assertIn("1 submodules are left alone", run.log("co"))
        # `lfs` is of the repository itself; what stays as it is in a submodule is said.
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 5\n"
        big = repo.push({".gitattributes": "*.bin filter=lfs -text\n", "a.bin": pointer, ".github/workflows/ci.yml": None}, ref="big")
        repo.git("rm", "-q", "--cached", "ext/lib")
        config = os.path.join(self.house.folder, "gitconfig")
        open(config, "w", encoding="ascii").close()
        step, env = "- {name: co, uses: actions/checkout@v4, with: {submodules: true, lfs: true}}", {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": config}
        run = self.run_steps(step, files={**self.link("ext/big", "../demo", big), ".gitattributes": None, "a.bin": None}, env=env)
        self.assertIn("1 written files of submodules are LFS pointers and stay pointers: run `git submodule foreach --recursive 'git lfs install --local && git lfs pull'` "
                      "in a step if the contents are needed", run.lines("co"))
        # Where git has the filter for every repository, the action's submodules have their contents.
        with open(config, "w", encoding="ascii") as file:
            file.write('[filter "lfs"]\n\tprocess = git-lfs filter-process\n\trequired = true\n')
        self.action()
        run = self.run_steps(step, env=env)
        self.assertIn("fetched and run: `lfs` with `submodules`: git-lfs is set up here", run.log("co"))
        self.assertIn("the action itself: lfs true", run.lines("co"))

    def test_a_configuration_that_a_step_has_spoilt_keeps_no_token(self):
        elsewhere = os.path.join(self.house.folder, "elsewhere")
        with open(elsewhere, "w", encoding="ascii") as file:
            file.write("[http \"x\"]\n\textraheader = y\n")
        for spoil in ("echo '[broken' >> .git/config", f"mv .git/config kept && ln -s {elsewhere} .git/config && rm kept",
                      "rm -rf .git", f"git config include.path {elsewhere}"):
            run = self.run_steps(f'''
                - {{uses: actions/checkout@v4}}
                - {{name: spoils, run: "{spoil.replace('"', "'")}"}}
            ''')
            config = os.path.join(self.workspace, ".git", "config")
            if os.path.exists(config):
                self.assertEqual(self.left(), [])
            shutil.rmtree(self.workspace)
        with open(elsewhere, encoding="ascii") as file:
            self.assertEqual(file.read(), "[http \"x\"]\n\textraheader = y\n")

    def test_the_next_job_finds_its_work_area_clean(self):
        self.run_steps('''
            - {uses: actions/checkout@v4}
            - {run: "git checkout -q -b mine && echo x > left && echo left > .gitignore && echo changed > a.txt && git branch other"}
        ''', files={"a.txt": "a\\n", "b/c.txt": "c\\n"})
        run = self.run_steps('''
            - {uses: actions/checkout@v4}
            - {name: looks, run: "git status --porcelain --ignored; git branch -a; cat a.txt; ls"}
        ''')
        lines = [line.strip() for line in run.lines("looks")]
        self.assertEqual([line for line in lines if line.endswith(("main", "mine", "other"))], ["* main", "remotes/origin/main"], lines)
        self.assertNotIn("left", lines)
        self.assertNotIn("changed", lines)

    def test_names_of_all_forms_are_checked_out_as_the_action_does(self):
        repo = self.house.forge.repo(REPOSITORY)
        first = repo.push({"a.txt": "one\\n"})
        repo.git("tag", "-a", "-m", "one", "v1.0", cwd=None)
        repo.git("push", "-q", repo.url, "v1.0", f"{first}:refs/heads/some/branch")
        run = self.run_steps(f'''
            - {{id: a, uses: actions/checkout@v4, with: {{ref: some/branch, path: a}}}}
            - {{id: b, uses: actions/checkout@v4, with: {{ref: v1.0, path: '${{{{ github.workspace }}}}/b', fetch-depth: 0}}}}
            - {{id: c, uses: actions/checkout@v4, with: {{ref: '{first}', path: c, repository: Octo/Demo}}}}
            - {{id: d, uses: actions/checkout@v4, with: {{ref: refs/heads/some/branch, path: d, clean: FALSE, show-progress: false}}}}
            - name: outputs
              run: |
                echo "a ${{{{ steps.a.outputs.ref }}}}" "b ${{{{ steps.b.outputs.ref }}}}" "c ${{{{ steps.c.outputs.ref }}}}" "d ${{{{ steps.d.outputs.ref }}}}" .
            - {{name: leaves, if: always(), continue-on-error: true, uses: actions/checkout@v4, with: {{path: ../out}}}}
        ''')
        self.assertIn("a some/branch b v1.0 c  d refs/heads/some/branch .", run.lines("outputs"))
        heads = [self.git("symbolic-ref", "-q", "HEAD", below=d, check=False) or self.git("rev-parse", "HEAD", below=d) for d in "abcd"]
        self.assertEqual(heads, ["refs/heads/some/branch", first, first, "refs/heads/some/branch"])
        self.assertEqual(self.git("cat-file", "-t", "v1.0", below="b"), "tag")
        self.assertIn("origin/main", self.git("branch", "-r", below="b"))
        self.assertEqual(self.git("rev-parse", "--is-shallow-repository", below="a"), "true")
        self.assertEqual(self.git("config", "gc.auto", below="a"), "0")
        self.assertIn("leaves the workspace", run.log("leaves"))

    def test_a_part_is_checked_out_and_later_steps_fetch_the_rest(self):
        run = self.run_steps("""
            - {uses: actions/checkout@v6, with: {sparse-checkout: "b\\n./c//d/\\n", fetch-tags: true}}
            - {name: looks, run: 'find . -name .git -prune -o -type f -print | sort; git ls-files -t; git status --porcelain; git show HEAD:x/y.txt'}
            - {uses: actions/checkout@v4, with: {sparse-checkout: "*.txt\\n!/x/*\\n", sparse-checkout-cone-mode: false, filter: "blob:limit=1m"}}
            - {name: again, run: 'git ls-files -t'}
            - {uses: actions/checkout@v5}
            - {name: whole, run: 'git ls-files -t; git config --get-regexp "sparse|promisor|worktree" || echo none'}
        """, files={"a.txt": "a\n", "b/c.txt": "c\n", "c/d/e/f": "f\n", "c/g": "g\n", "x/y.txt": "only x\n"})
        lines = run.lines("looks")
        for line in ("./a.txt", "./b/c.txt", "./c/d/e/f", "./c/g", "S x/y.txt", "H a.txt", "only x"):
            self.assertIn(line, lines)
        self.assertNotIn("./x/y.txt", lines)
        self.assertEqual([line for line in run.lines("again") if line[:2] in ("H ", "S ") and ".github" not in line],
                         ["H a.txt", "H b/c.txt", "S c/d/e/f", "S c/g", "S x/y.txt"])
        self.assertEqual([line for line in run.lines("whole") if line[:2] == "S " or line == "none"], ["none"])

    def test_the_action_itself_runs_where_its_inputs_ask_for_more(self):
        sha = self.action()
        more = ("sparse-checkout: /docs", "filter: 'sparse:oid=main:x'", "token: ''",
                "github-server-url: 'https://elsewhere.example'", "no-such-input: x", "ref: REFS/heads/main", "clean: maybe")
        run = self.run_steps("\n".join(f"- {{name: c{n}, id: c{n}, uses: actions/checkout@v4, with: {{{given}}}}}" for n, given in enumerate(more)) +
                             f"\n- {{name: by, run: 'echo {' '.join(f'${{{{ steps.c{n}.outputs.by }}}}' for n in range(len(more)))}'}}")
        for n, given in enumerate(more):
            said = [line for line in run.lines(f"c{n}") if "is not carried out by this agent but fetched and run: `" in line]
            self.assertEqual((len(said), given.split(", ")[-1].split(":")[0] in said[0]), (1, True), run.log(f"c{n}"))
        self.assertIn(" ".join(["the action"] * len(more)), run.lines("by"))
        self.assertNotIn("Download action repository", run.log("Set up job"))
        # Nobody knows of a commit which version it is; and values are known when the step runs.
        run = self.run_steps(f"""
            - {{name: co, uses: actions/checkout@{sha}}}
            - {{name: old, uses: actions/checkout@v3}}
            - {{run: 'echo LFS=true >> $GITHUB_ENV'}}
            - {{name: env, uses: actions/checkout@v4, with: {{token: '', lfs: '${{{{ env.LFS }}}}'}}}}
        """)
        for name, lfs in (("co", "false"), ("old", "false"), ("env", "true")):
            self.assertIn(f"the action itself: lfs {lfs}", run.lines(name))

    def test_the_action_in_its_place_has_its_own_post_and_works_inside_a_composite(self):
        self.action(NODE)
        run = self.run_steps('''
            - {uses: actions/checkout@v4}
            - {name: second, uses: actions/checkout@v4, with: {path: more, token: ''}}
            - {name: inner, uses: ./act}
        ''', files={"act/action.yml": """
runs:
  using: composite
  steps:
    - {uses: actions/checkout@v5, with: {path: in}}
    - {uses: actions/checkout@v5, with: {token: ''}}
    - {shell: bash, run: 'git -C in config --get-regexp "http.*extraheader"'}
"""})
        self.assertIn("main of the action", run.lines("second"))
        self.assertIn("post of the action", run.lines("Post second"))
        self.assertIn("main of the action", run.lines("inner"))
        self.assertIn("AUTHORIZATION: basic ***", run.log("inner"))
        self.assertIn("post of the action", run.lines("Post inner"))
        self.assertEqual((self.left(), self.left("in")), ([], []))

    @unittest.skipUnless(shutil.which("node"), "node is not installed")
    def test_the_work_area_is_as_git_s_own_commands_leave_it(self):
        """Those that the action runs, in their order (tests/bench/native_checkout.py), or the action itself, where DAVIT_CHECKOUT_ACTION names a clone."""
        provide(self.house)
        looks = """
            - {name: co, id: co, uses: actions/checkout@v4}
            - name: area
              run: |
                git symbolic-ref HEAD
                git for-each-ref --format='%(objectname) %(refname) %(upstream)'
                git config --local --list | grep -v -e core.sparsecheckout -e extensions. | sort
                git ls-files -s
                git status --porcelain --ignored
                git rev-parse --is-shallow-repository
                git log --format=%H%d
                ls -lAR --time-style=+ -I .git | awk '{print $1, $5, $6, $7, $8}' | grep -v -e '^total'
            - {name: config, if: always(), run: 'cat .git/config'}
        """
        files = {"a.txt": "a\n", "b/run.sh": "#!/bin/sh\n", "b/c/d.bin": "x" * 70000, ".gitattributes": "*.txt text\n"}
        areas, after = [], []
        for native in ("own,actions/checkout", "own"):
            shutil.rmtree(self.workspace, ignore_errors=True)
            worker = self.house.start(looks, settings={"native": native}, files=files)
            run = self.house.finish(worker)
            self.assertEqual(run.conclusion, "success", run.log("co") + run.log("area"))
            sha, start = self.house.sha, run.lines("area").index("##[endgroup]") + 1
            areas.append([line.replace(sha, "SHA") for line in run.lines("area")[start:] if "ci.yml" not in line])
            after.append(self.git("config", "--local", "--list").splitlines())
        self.assertEqual(areas[0], areas[1])
        for line in ("refs/heads/main", "SHA refs/heads/main refs/remotes/origin/main", "SHA refs/remotes/origin/main ", "branch.main.merge=refs/heads/main",
                     "gc.auto=0", "true"):
            self.assertIn(line, areas[0])
        self.assertIn(".extraheader=AUTHORIZATION: basic ***", "".join(areas[0]))
        self.assertEqual(*[sorted(line for line in lines if "sparse" not in line and "extensions." not in line) for lines in after])

    def test_large_files_come_without_git_lfs(self):
        lfs, text = Lfs(), "a large file\n" * 5000
        oid = lfs.put(text.encode())
        files = {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "in/a.bin": f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(text)}\n"}
        with lfs.alone() as server:
            run = self.run_steps('''
                - {name: co, uses: actions/checkout@v4, with: {lfs: true}}
                - {name: looks, run: 'sha256sum in/a.bin; git config --local filter.lfs.process; git status --porcelain'}
            ''', files={**files, ".lfsconfig": f"[lfs]\n\turl = {server.url}/info/lfs\n"})
            self.assertIn("1 files from contents of LFS, 1 of them downloaded (0.1 MiB)", run.lines("co"))
            self.assertIn(f"{oid}  in/a.bin", run.lines("looks"))
            self.assertNotIn("M in/a.bin", run.log("looks"))
            self.assertIn("git-lfs filter-process", run.lines("looks"))
            self.assertEqual({r[2] for r in lfs.requests}, {None})
            shutil.rmtree(self.workspace)
            lfs.contents.clear()
            run = self.run_steps("- {name: co, uses: actions/checkout@v4, with: {lfs: true}}", ends="failure")
            self.assertIn("in/a.bin", run.log("co"))
            self.assertIn("the server does not have it", run.log("co"))
        self.assertEqual((lfs.wrong, hashlib.sha256(text.encode()).hexdigest()), ([], oid))

    def serve_by_ssh(self):
        """The forge's repositories by SSH, at the port that a server's address stands for; what was asked for is noted. The key may do nothing else."""
        folder, url = self.house.folder, self.house.forge.repo(REPOSITORY).url.replace("://", f"://x:{self.house.forge.token}@")
        serve = os.path.join(folder, "serve")
        with open(serve, "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\necho \"$SSH_ORIGINAL_COMMAND\" >>{folder}/asked\ncd {folder}/ssh && git -C {REPOSITORY}.git fetch -q {url} '+refs/*:refs/*' && exec git-shell -c \"$SSH_ORIGINAL_COMMAND\"\n")
        os.chmod(serve, 0o755)
        os.chmod(folder, 0o755)
        subprocess.run(["git", "init", "-q", "--bare", f"{folder}/ssh/{REPOSITORY}.git"], check=True)
        subprocess.run(["git", "-C", f"{folder}/ssh/{REPOSITORY}.git", "config", "uploadpack.allowAnySHA1InWant", "true"], check=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", f"{folder}/key"], check=True)
        with open(folder + "/key.pub", encoding="ascii") as file:
            server = Sshd(port=22, lets_in=f'restrict,command="{serve}" {file.read()}', options=["AcceptEnv GIT_PROTOCOL"])
        server.__enter__()
        self.addCleanup(server.__exit__)
        with open(folder + "/key", encoding="ascii") as file:
            return server, file.read()

    @unittest.skipUnless(has_port_22(), "the port of ssh cannot be had here")
    def test_a_repository_is_read_over_ssh_and_later_steps_use_the_key(self):
        server, key = self.serve_by_ssh()
        host = "forge.localhost"
        secrets = {"KEY": key, "KNOWN": f"{host},127.0.0.1 {server.host_key_line}\n"}
        given = f"ssh-key: '${{{{ secrets.KEY }}}}', ssh-known-hosts: '${{{{ secrets.KNOWN }}}}', ssh-user: {server.user}"
        self.house.secrets(**secrets)
        # Submodules are branches of the same repository: it is the one that is served.
        repo = self.house.forge.repo(REPOSITORY)
        deep = repo.push({"deep.txt": "deep\n"}, ref="deep")
        lib = repo.push({**self.link("in/deep", "../demo", deep), "lib.txt": "lib\n"}, ref="lib")
        shutil.rmtree(repo.work + "/in")
        run = self.run_steps(f'''
            - {{name: co, uses: actions/checkout@v4, with: {{{given}}}}}
            - name: works
              run: |
                set -ex
                test "$(git rev-parse HEAD)" = "$GITHUB_SHA"
                git remote get-url origin
                git config --local core.sshCommand
                git ls-remote -q {server.user}@127.0.0.1:{REPOSITORY}.git HEAD
                ls -l "$RUNNER_TEMP" | awk '{{print $1, $NF}}'
            - {{name: again, uses: actions/checkout@v6, with: {{path: sub, persist-credentials: false, ref: main, {given}}}}}
            - {{name: looks, run: "cat sub/.git/config; ls $RUNNER_TEMP"}}
        ''', files={**self.link("ext/lib", f"{server.user}@{host}:{REPOSITORY}", lib), "lib.txt": None})
        log = run.log("works")
        self.assertIn(f"{server.user}@{host}:{REPOSITORY}.git", log)
        name = re.search(r'-i "\$RUNNER_TEMP/([0-9a-f-]{36})" -o StrictHostKeyChecking=yes -o CheckHostIP=no -o "UserKnownHostsFile=\$RUNNER_TEMP/\1_known_hosts"', log).group(1)
        self.assertIn(f"-rw------- {name}\n", log)
        self.assertIn(f"{name}_known_hosts", log)
        self.assertNotIn("sshCommand", run.log("looks"))
        self.assertEqual(run.conclusions()["Post co"], "success")
        self.assertNotIn("sshcommand", self.git("config", "--local", "--list"))
        self.assertEqual(os.path.exists(os.path.join(self.house.temp(), name)), False)
        self.assertNotIn(key.splitlines()[2], repr(run.shown))
        with open(self.house.folder + "/asked", encoding="ascii") as file:
            self.assertEqual(set(file.read().splitlines()), {f"git-upload-pack '{REPOSITORY}.git'"})
        # Submodules: each can be fetched by later steps, and none keeps anything; what stood for the server's own address is gone.
        run = self.run_steps(f'''
            - {{name: co, uses: actions/checkout@v4, with: {{submodules: recursive, {given}}}}}
            - {{run: 'git -C ext/lib config url.$GITHUB_SERVER_URL/.insteadOf {server.user}@{host}:'}}
            - {{uses: actions/checkout@v6, with: {{submodules: recursive, {given}}}}}
            - name: works
              run: |
                set -ex
                cat ext/lib/lib.txt ext/lib/in/deep/deep.txt
                test -z "$(git status --porcelain --ignored)"
                for at in ext/lib ext/lib/in/deep; do
                  test "$(git -C $at config --local core.sshCommand)" = "$(git config --local core.sshCommand)"
                  git -C $at config --local --get-regexp insteadof || git -C $at ls-remote -q {server.user}@127.0.0.1:{REPOSITORY} HEAD
                done
        ''')
        log = run.log("works")
        self.assertIn("lib\ndeep\n", log)
        self.assertIn("2 submodules of ", run.log("co"))
        self.assertNotIn(".insteadof", log)
        self.assertEqual((self.left(), self.modules_left()), ([], []))
        for at in ("ext/lib", "ext/lib/in/deep"):
            self.assertNotIn("sshcommand", self.git("config", "--local", "--list", below=at))
        self.assertEqual([name for name in os.listdir(self.house.temp()) if "-" in name] if os.path.isdir(self.house.temp()) else [], [])
        # What is not known is not asked, and a failed checkout leaves no key.
        self.house.secrets(KEY=key, KNOWN="elsewhere " + server.host_key_line)
        run = self.run_steps(f"- {{name: co, uses: actions/checkout@v4, with: {{{given}}}}}", ends="failure")
        self.assertIn(f"{host} is not in the known hosts", run.log("co"))

    @unittest.skipUnless(has_port_22(), "the port of ssh cannot be had here")
    def test_hosts_that_nothing_names_are_taken_by_the_action_itself_if_ssh_does(self):
        server, key = self.serve_by_ssh()
        self.action()
        host, places = "forge.localhost", {}
        for name, option in (("asks", ""), ("takes", " -o StrictHostKeyChecking=no")):     # what a configuration of ssh would say
            places[name] = os.path.join(self.house.folder, name)
            os.makedirs(places[name])
            with open(places[name] + "/ssh", "w", encoding="ascii") as file:
                file.write(f'#!/bin/sh\nexec {shutil.which("ssh")} -F none{option} "$@"\n')
            os.chmod(places[name] + "/ssh", 0o755)
        self.house.secrets(KEY=key, KNOWN=f"{host} {server.host_key_line}\n", OTHER="elsewhere " + server.host_key_line)
        def step(name, how, known):
            return (f"- {{name: {name}, continue-on-error: true, uses: actions/checkout@v4, env: {{PATH: '{places[how]}:{os.environ['PATH']}'}}, "
                    f"with: {{path: {name}, ssh-strict: false, ssh-key: '${{{{ secrets.KEY }}}}', ssh-known-hosts: '${{{{ secrets.{known} }}}}', ssh-user: {server.user}}}}}")
        run = self.run_steps("\n".join((step("a", "asks", "KNOWN"), step("b", "asks", "OTHER"), step("c", "takes", "OTHER"),
                                        "- {name: looks, run: 'git -C a config --local core.sshCommand'}")))
        self.assertRegex(run.log("looks"), r'(?m)"[^ ]*/asks/ssh" -i "\$RUNNER_TEMP/[0-9a-f-]{36}" -o "UserKnownHostsFile=')
        self.assertIn(f"{host} is not in the known hosts", run.log("b"))
        self.assertIn("fetched and run: `ssh-strict` is false", run.log("c"))
        self.assertIn("the action itself: lfs false", run.lines("c"))

    def test_the_host_s_policy_decides_first(self):
        run = self.run_steps("- {name: co, uses: actions/checkout@v4}", settings={"actions": "acme/*"}, ends="failure")
        self.assertIn("actions/checkout", run.log("Set up job"))
        self.assertFalse(os.path.exists(os.path.join(self.workspace, ".git")))
        run = self.run_steps("- {name: co, uses: actions/checkout@v4}", settings={"actions": "actions/*,pinned"}, ends="failure")
        run = self.run_steps("- {name: co, uses: actions/checkout@v4}", settings={"actions": "actions/*"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
