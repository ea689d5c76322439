#!/usr/bin/env python3
"""davit run: workflows without GitHub, by real workers."""
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unicodedata
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.tree import DAVIT, Tree, ends, log  # noqa: E402
from harness.waiting import alive  # noqa: E402


class RunHere(unittest.TestCase):
    def tree(self, text=None, **files):
        tree = Tree({"ci.yml": text} if text else files)
        self.addCleanup(tree.remove)
        return tree

    def test_jobs_run_in_the_order_of_their_needs_with_outputs_legs_and_the_event_of_the_work_tree(self):
        tree = self.tree("""on: {push: {branches: [main]}}
jobs:
  last:
    needs: [test, first]
    if: always() && needs.test.result == 'success'
    runs-on: ubuntu-latest
    steps: [{run: 'echo "last sees ${{ needs.first.outputs.v }} ${{ vars.COLOUR }}"'}]
  test:
    needs: first
    runs-on: [self-hosted, gpu]
    strategy: {matrix: {n: [1, 2]}}
    steps: [{run: 'echo "leg ${{ matrix.n }} sees ${{ needs.first.outputs.v }}"'}]
  first:
    runs-on: x
    outputs: {v: "${{ steps.a.outputs.v }}"}
    steps:
      - {id: a, run: 'echo v=42 >> "$GITHUB_OUTPUT"'}
      - run: 'echo "$GITHUB_REPOSITORY $GITHUB_REF $GITHUB_ACTOR ${{ github.event.head_commit.message }} $(pwd)"'
      - run: echo "token of the caller is '${GITHUB_TOKEN-}'"
""")
        tree.git("remote", "add", "origin", "git@github.com:acme/shop.git")
        code, events, err = tree.events("--var", "COLOUR=blue")
        self.assertEqual(code, 0, err)
        self.assertEqual(ends(events), {"first": "success", "test (1)": "success", "test (2)": "success", "last": "success"})
        started = [e["name"] for e in events if e["event"] == "job" and e["status"] == "in_progress"]
        self.assertEqual((started[0], started[-1]), ("first", "last"))
        self.assertIn("leg 2 sees 42\n", log(events, "test (2)"))
        self.assertIn("last sees 42 blue\n", log(events, "last"))
        self.assertIn("acme/shop refs/heads/trunk Ann Other one " + tree.tmp, log(events))
        self.assertIn("token of the caller is ''\n", log(events))
        self.assertEqual(tree.left_behind(), [])

    def test_a_failing_job_gives_1_and_says_where_and_a_second_run_is_no_different(self):
        tree = self.tree("""on: push
jobs:
  good: {runs-on: x, continue-on-error: true, steps: [{run: exit 3}]}
  bad: {runs-on: x, steps: [{name: breaks, run: 'echo reason; exit 4'}, {run: echo never}]}
  behind: {runs-on: x, needs: bad, steps: [{run: echo never}]}
""")
        for _ in range(2):
            code, out, err = tree.run("--slots", "1")
            self.assertEqual((code, err), (1, ""))
            for line in ("bad    !! breaks: failed", "bad    !! Error: Process completed with exit code 4.", "behind -  skipped", "bad    !! failed"):
                self.assertIn(line, out)
            self.assertIn("reason", out)
            self.assertIn("bad    -  Run echo never: skipped\n", out)
            self.assertNotIn("bad       never", out)
            self.assertTrue(out.endswith("\n!! failed\n"))
        self.assertEqual(tree.left_behind(), [])

    def test_one_workflow_is_picked_several_are_listed_and_wrong_ones_are_refused(self):
        tree = self.tree(**{"ci.yml": "name: Check it\non: [push, workflow_dispatch]\njobs: {a: {runs-on: x, steps: [{run: echo by hand}]}, b: {runs-on: x, steps: [{run: x}]}}\n",
                            "other.yaml": "on: schedule\njobs: {a: {runs-on: x, steps: [{run: x}], if: 1}, b: {runs-on: x, nedds: a}}\n"})
        code, out, err = tree.run()
        self.assertEqual((code, out), (2, "ci.yml  Check it  (push, workflow_dispatch)\nother.yaml  (has faults: davit validate)\n"))
        self.assertIn("has 2 workflows", err)
        for words, says in ((["other"], "a job needs 'steps'"), (["othr"], "did you mean 'other'?"), (["Deploy"], "other.yaml has faults"), (["ci", "--job", "c"], "no job 'c'"),
                            (["ci", "--event", "release"], "it is started by: push, workflow_dispatch"), (["ci", "--secret", "NONE"], "NONE"),
                            (["ci", "--slots", "0"], "--slots"), (["ci", "--event", "push", "--input", "a=b"], "workflow_dispatch"),
                            (["ci", "--event-file", "/none"], "/none")):
            code, out, err = tree.run(*words)
            self.assertEqual((code, out), (2, ""), err)
            self.assertIn(says, err)
        for words in (["ci"], ["Check it"], [".github/workflows/ci.yml"]):
            code, events, err = tree.events(*words, "--job", "a")
            self.assertEqual((code, ends(events)), (0, {"a": "success"}), err)
        empty = tempfile.mkdtemp(dir=tree.dir)
        p = subprocess.run([DAVIT, "run"], cwd=empty, env=tree.env, capture_output=True, text=True, check=False)
        self.assertEqual(p.returncode, 2)
        self.assertIn("is not in a git work tree", p.stderr)

    def test_a_workflow_is_shown_as_it_would_run(self):
        tree = self.tree(**{"ci.yml": """name: "It \\e[2J"
on: [push, workflow_dispatch]
jobs:
  b: {needs: a, if: github.event_name == 'release', uses: ./.github/workflows/callee.yml}
  a: {runs-on: '${{ vars.OS }}', steps: [{run: make}, {uses: actions/checkout@v4, if: always()}]}
""", "callee.yml": "on: workflow_call\njobs: {c: {runs-on: y, steps: [{run: x}]}}\n"})

        def show(*words):
            p = subprocess.run([DAVIT, "workflow", *words], cwd=tree.top, env=tree.env, capture_output=True, text=True, check=False)
            return p.returncode, p.stdout, p.stderr
        self.assertEqual(show("show", ".github/workflows/ci.yml", "--var", "OS=linux", "--event", "push"), (0, """It \\x1b[2J (push, workflow_dispatch)
1. a: linux
   Run make
   Run actions/checkout@v4, if: always()
2. b: ./.github/workflows/callee.yml, needs a, never runs (if: success() && (github.event_name == 'release'))
   1. c: y
      Run x
""", ""))
        code, out, _ = show("show", ".github/workflows/ci.yml", "--json")
        jobs = json.loads(out)["jobs"]
        self.assertEqual((code, [(j["id"], j["runs"]) for j in jobs], jobs[0]["runs-on"]), (0, [("a", True), ("b", None)], "${{ vars.OS }}"))
        for words in (["show", "/none.yml"], ["list", ".github/workflows/ci.yml"], ["show", ".github/workflows/ci.yml", "--input", "x"], ["show"]):
            self.assertEqual(show(*words)[:2], (2, ""))

    def test_githubs_checkout_is_carried_out_without_a_clone_of_it(self):
        tree = self.tree("""on: push
jobs:
  a:
    runs-on: x
    steps:
      - {id: co, uses: actions/checkout@v4, with: {path: sub, fetch-depth: 0, persist-credentials: false, submodules: false}}
      - run: 'git -C sub log --format=%H | grep -x ${{ steps.co.outputs.commit }} && echo "commit ${{ steps.co.outputs.commit == github.sha }}"'
  b: {runs-on: x, steps: [{uses: actions/checkout@v5.0.1, with: {token: ''}}]}
  c: {runs-on: x, steps: [{uses: actions/checkout@v3}]}
""")
        code, events, err = tree.events()
        self.assertEqual((code, ends(events)), (1, {"a": "success", "b": "failure", "c": "failure"}), err)
        self.assertIn("commit true\n", log(events, "a"))
        self.assertIn("fetched and run: `token` is empty", log(events, "b"))
        code, events, err = tree.events("--job", "a", "--repo", f"actions/checkout={tree.top}/.git")
        self.assertEqual(ends(events), {"a": "failure"}, err)       # what is named is taken, or nothing

    def test_actions_are_fetched_from_a_git_server_without_credentials(self):
        action = self.tree("on: push\njobs: {a: {runs-on: x, steps: [{run: x}]}}\n")
        git = ("git", "-C", action.top, "-c", "user.name=a", "-c", "user.email=a@b")

        def release(word):
            with open(os.path.join(action.top, "action.yml"), "w", encoding="ascii") as f:
                f.write(f"runs: {{using: composite, steps: [{{shell: sh, run: 'echo {word}'}}]}}\n")
            for words in (("add", "-A"), ("commit", "-qm", word), ("tag", "-f", "v1")):
                subprocess.run([*git, *words], check=True, stdout=subprocess.DEVNULL)

        tree = self.tree("on: push\njobs: {a: {runs-on: x, steps: [{uses: acme/greet@v1}]}}\n")
        url = f"file://{action.top}"
        for word in ("first", "second"):
            release(word)
            code, events, err = tree.events("--repo", f"acme/greet={url}")
            self.assertEqual(code, 0, err)
            self.assertIn(f"{word}\n", log(events))
        os.rename(action.top, action.top + "-gone")
        code, events, err = tree.events("--repo", f"acme/greet={url}")
        self.assertEqual(code, 0, err)                              # as it was fetched before
        self.assertIn("second\n", log(events))
        for wrong, said in ((f"file://{action.top}/none", "fetch acme/greet from"), ("ssh://git@host/x", "only https"), ("ext::sh -c id", "only https"),
                            ("https://me:secret@host/x", "a login in an address")):
            code, out, err = tree.run("--repo", f"acme/greet={wrong}")
            self.assertEqual(code, 2)
            self.assertIn(said, err)

    def test_inputs_of_a_dispatch_have_their_types_and_defaults_and_an_event_can_be_given(self):
        tree = self.tree("""on:
  issues:
  workflow_dispatch: {inputs: {count: {type: number, default: 3}, really: {type: boolean}, where: {type: choice, options: [a, b], required: true}}}
jobs:
  a:
    runs-on: x
    steps: [{run: 'echo "${{ toJSON(inputs) == ''null'' }} ${{ inputs.count + 0 }} ${{ inputs.really == false }} ${{ inputs.where }} ${{ github.event.issue.title }}"'}]
""".replace("inputs.count + 0", "inputs.count >= 3"))
        code, events, err = tree.events("--input", "where=b")
        self.assertEqual(code, 0, err)
        self.assertIn("false true true b \n", log(events))
        code, _, err = tree.run("--input", "where=c")
        self.assertEqual(code, 2)
        self.assertIn("no option 'c'", err)
        with open(os.path.join(tree.dir, "event.json"), "w", encoding="utf-8") as f:
            json.dump({"issue": {"title": "broken"}}, f)
        code, events, err = tree.events("--event", "issues", "--event-file", f.name)
        self.assertEqual(code, 0, err)
        self.assertIn("broken\n", log(events))

    def test_secrets_are_masked_everywhere_and_reach_only_who_asks(self):
        tree = self.tree("""on: push
jobs:
  a:
    runs-on: x
    outputs: {leak: "${{ steps.a.outputs.leak }}"}
    steps:
      - {id: a, env: {P: "${{ secrets.PASSWORD }}"}, run: 'echo "$P"; echo "$P" | rev; echo "leak=$P" >> "$GITHUB_OUTPUT"; echo "$P" > "$GITHUB_STEP_SUMMARY"'}
      - run: 'echo "inherits ''${PASSWORD-}'' ${OTHER-}"'
""")
        for words in ((), ("--json",)):
            code, out, err = tree.run("--secret", "PASSWORD", "--env", "OTHER", *words, env={"PASSWORD": "correct-horse", "OTHER": "yes"})
            self.assertEqual(code, 0, err)
            self.assertNotIn("correct-horse", out + err)
            self.assertIn("***", out)
            self.assertIn("esroh-tcerroc", out)
            self.assertIn("inherits '' yes", out)

    def test_nothing_that_a_job_prints_or_is_called_is_obeyed_by_a_terminal(self):
        tree = self.tree("""on: push
jobs:
  a:
    name: "evil \\e]0;owned\\a \\u202e name"
    runs-on: x
    outputs: {o: "${{ steps.s.outputs.o }}"}
    steps:
      - {id: s, name: "step \\e[2J", run: "printf '\\\\033[31mred\\\\033[0m \\\\033]0;x\\\\007 \\\\033[2J\\\\r\\\\n'; printf 'o=\\\\033[2J' >> $GITHUB_OUTPUT"}
  b:
    name: ${{ needs.a.outputs.o }}
    needs: a
    runs-on: x
    steps: [{run: exit 1}]
""")
        code, out, err = tree.run()
        self.assertEqual((code, err), (1, ""))
        self.assertEqual([c for c in out if (ord(c) < 32 and c != "\n") or ord(c) in (0x202e, 0x9b, 0x7f)], [])
        self.assertIn(" red \\x1b]0;x\\x07 \\x1b[2J\n", out)

    def test_the_forge_of_a_run_is_closed_to_other_users_and_its_jobs_do_not_administer_it(self):
        ask = """import os, sys, urllib.request as u, urllib.error
def ask(path, method="GET", **headers):
    try:
        return u.urlopen(u.Request(sys.argv[1] + path, method=method, headers=headers), timeout=30).status
    except urllib.error.HTTPError as e:
        return e.code
refs = "/local/shop.git/info/refs?service=git-upload-pack"
print("told", ask("/runs"), ask("/_forge/messages/x"), ask(refs), ask(refs, Authorization="Bearer none"),
      ask("/api/v3/repos/local/shop/actions/runners/registration-token", "POST", Authorization="Bearer any"),
      ask(refs.replace("upload", "receive"), Authorization="Bearer " + sys.argv[2]))
if os.getuid() == 0:
    os.setuid(65534)
    print("told", ask("/runs"), ask(refs), ask("/api/v3/repos/local/shop"))
"""
        tree = self.tree("on: push\njobs:\n  a:\n    runs-on: x\n    permissions: write-all\n    steps:\n      - env: {ASK: '${{ vars.ASK }}', T: '${{ github.token }}'}\n"
                         "        run: python3 -c \"$ASK\" \"${GITHUB_API_URL%/api/v3}\" \"$T\"\n")
        code, events, err = tree.events("--var", f"ASK={ask}")
        self.assertEqual(code, 0, err + log(events))
        told = [line for line in log(events).splitlines() if line.startswith("told")]
        self.assertEqual(told, ["told 404 404 200 401 401 403"] + ["told 404 404 404"] * (os.getuid() == 0), log(events))

    def test_a_worker_that_dies_fails_its_job_and_who_watches_takes_all_along(self):
        tree = self.tree("on: push\njobs: {a: {runs-on: x, steps: [{run: 'echo \"ids $PPID $$\"; sleep 600 & wait'}]}, b: {needs: a, runs-on: x, steps: [{run: x}]}}\n")
        for victim in ("worker", "watcher"):
            p = tree.start()
            worker = step = None
            for line in p.stdout:
                if "ids " in line and "echo" not in line:
                    worker, step = (int(n) for n in line.split("ids ")[1].split())
                    break
            os.kill(worker if victim == "worker" else p.pid, signal.SIGKILL)
            if victim == "worker":
                out, err = p.communicate(timeout=60)
                self.assertEqual((p.returncode, err), (1, ""))
                self.assertIn("The worker of this job ended with status 137 before it reported a result.", out)
                self.assertEqual(tree.left_behind(), [])
            else:
                p.stdout.read()                                   # ends when the worker has
                p.wait()
            end = time.monotonic() + 60
            while any(alive(pid) for pid in (worker, step)) and time.monotonic() < end:
                os.sched_yield()
            self.assertEqual([pid for pid in (worker, step) if alive(pid)], [], victim)

    def wait_for_line(self, p, wanted):
        for line in p.stdout:
            if wanted in line:
                return
        self.fail(f"'{wanted}' never came: {p.stderr.read()}")

    SLOW = """on: push
jobs:
  a:
    runs-on: x
    steps:
      - {run: 'trap "" INT; echo "pid $$ of the step"; sleep 600 & wait'}
      - {if: always(), run: echo always}
      - {if: cancelled(), run: 'echo was cancelled; [ ! -e "$FIFO" ] || cat "$FIFO"', env: {FIFO: "${{ vars.FIFO }}"}}
      - run: echo never
  b: {needs: a, runs-on: x, steps: [{run: echo never}]}
"""

    def test_an_interrupt_cancels_as_github_does(self):
        tree = self.tree(self.SLOW.replace('trap "" INT; ', ""))
        p = tree.start()
        self.wait_for_line(p, "of the step")
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        self.assertEqual((p.returncode, err), (130, ""), out)
        self.assertIn("always\n", out)
        self.assertIn("was cancelled\n", out)
        self.assertIn("a -  Run echo never: skipped\n", out)
        self.assertIn("b !! cancelled", out)
        self.assertEqual(tree.left_behind(), [])

    def test_a_second_interrupt_ends_all_at_once_and_leaves_nothing(self):
        tree = self.tree(self.SLOW.replace('trap "" INT; ', ""))
        fifo = os.path.join(tree.dir, "fifo")
        os.mkfifo(fifo)
        p = tree.start("--var", f"FIFO={fifo}")
        self.wait_for_line(p, "of the step")
        p.send_signal(signal.SIGINT)
        self.wait_for_line(p, "was cancelled")
        p.send_signal(signal.SIGINT)
        out, _ = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 130)
        self.assertTrue(out.endswith("!! cancelled\n"), out)
        self.assertEqual(tree.left_behind(), [])
        found = subprocess.run(["pgrep", "-f", tree.dir], capture_output=True, text=True, check=False).stdout.split()
        self.assertEqual([pid for pid in found if alive(pid)], [])

    def test_a_variable_that_no_process_can_have_fails_the_step_and_is_not_left_out(self):
        tree = self.tree("""on: push
jobs:
  a:
    runs-on: x
    steps:
      - run: '{ printf E=; head -c 2000000 /dev/zero | tr "\\0" x; echo; } >> "$GITHUB_ENV"'
      - {run: 'echo "length ${#E}"', continue-on-error: true}
      - {run: 'echo "without: $E"', env: {E: small}}
""")
        code, out, err = tree.run()
        self.assertEqual(code, 0, err)
        self.assertRegex(out, "Error: An error occurred trying to start process '.*' with working directory '.*'. Argument list too long\n")
        self.assertIn("a    without: small\n", out)
        self.assertNotIn("a    length", out)

    def test_the_end_of_a_step_has_its_annotations(self):
        tree = self.tree("on: push\njobs: {a: {runs-on: x, steps: [{env: {S: '${{ secrets.S }}'}, run: 'echo \"::warning file=a.c,line=3,title=$S::beware of $S\"; exit 3'}]}}\n")
        code, events, err = tree.events("--secret", "S", env={"S": "hidden-value"})
        self.assertEqual(code, 1, err)
        ended = [e["step"] for e in events if e["event"] == "step" and e["step"]["status"] == "completed" and e["step"]["number"] == 2]
        self.assertEqual([{k: a[k] for k in ("level", "message", "path", "startLine", "title") if k in a} for a in ended[0]["annotations"]],
                         [{"level": "warning", "message": "beware of ***", "path": "a.c", "startLine": 3, "title": "***"},
                          {"level": "failure", "message": "Process completed with exit code 3.", "startLine": ended[0]["annotations"][1]["startLine"]}])

    def test_what_a_script_holds_is_shown_as_its_text_until_it_prints_it(self):
        tree = self.tree("on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: |\n          cat <<X\n          ##[error]hash\n          ##[endgroup]\n          X\n")
        code, out, err = tree.run()
        self.assertEqual(code, 0, err)
        self.assertRegex(out, r"(?s)a    ##\[error\]hash\na    ##\[endgroup\]\na    X\n.*a !! Error: hash\n")
        self.assertEqual(out.count("Error: hash"), 1)

    def test_a_warning_around_the_steps_is_shown_and_a_step_that_is_called_as_theirs_is_no_frame(self):
        tree = self.tree("""on: push
jobs:
  a:
    runs-on: x
    outputs: {o: "${{ steps.s.outputs.o }}"}
    steps: [{id: s, run: 'echo "o=$S" >> "$GITHUB_OUTPUT"', env: {S: "${{ secrets.S }}"}}, {name: Complete job, run: echo of a step}]
""")
        code, out, err = tree.run("--secret", "S", env={"S": "in-the-output"})
        self.assertEqual(code, 0, err)
        self.assertRegex(out, r"(?s)a    of a step\n.*a ok Complete job \(.*a !  Warning: Skip output 'o' since it may contain secret\.\n")
        self.assertNotIn("Evaluate and set job outputs", out)

    def test_a_whole_strategy_comes_from_an_expression(self):
        tree = self.tree("""on: push
jobs:
  list: {runs-on: x, outputs: {s: '${{ steps.s.outputs.s }}'}, steps: [{id: s, run: 'echo ''s={"fail-fast": false, "matrix": {"n": [1, 2]}}'' >> "$GITHUB_OUTPUT"'}]}
  each: {needs: list, strategy: "${{ fromJSON(needs.list.outputs.s) }}", name: "leg ${{ matrix.n }}", runs-on: x, steps: [{run: 'echo "of ${{ strategy.job-total }}"; exit ${{ matrix.n }}'}]}
  alone: {strategy: "${{ fromJSON('{\\"max-parallel\\": 3}') }}", runs-on: x, steps: [{run: 'echo "by itself"'}]}
  none: {strategy: "${{ fromJSON('{\\"matrix\\": {\\"n\\": []}}') }}", runs-on: x, steps: [{run: 'true'}]}
""")
        code, out, err = tree.run()
        self.assertEqual((code, err), (1, ""))
        for line in ("leg 1    of 2", "leg 2    of 2", "leg 1 !! failed", "leg 2 !! failed", "alone    by itself", "none .*Matrix vector 'n' does not contain any values"):
            self.assertRegex(out, "(?m)^" + line.replace("    ", " +").replace(" !!", " +!!"), out)

    def on_a_terminal(self, tree, columns=80, seen=None, then=None, **env):
        """then: what is done once `seen` was written."""
        pid, terminal = pty.fork()
        if pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            os.chdir(tree.top)
            os.execvpe(DAVIT, [DAVIT, "run"], dict(tree.env, **env))
        out = b""
        while select.select([terminal], [], [], 60)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                break
            if not data:
                break
            out += data
            if then is not None and seen in out.decode(errors="replace"):
                then()
                then = None
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), out.decode()

    def test_a_line_that_is_taken_away_again_fits_the_terminal_whatever_its_letters_need(self):
        gate = os.path.join(tempfile.mkdtemp(), "gate")
        self.addCleanup(shutil.rmtree, os.path.dirname(gate))
        os.mkfifo(gate)
        tree = self.tree(f"""on: push
jobs:
  a: {{name: 本番環境へ配置する, runs-on: x, steps: [{{name: ビルドとテストを実行する, run: 'cat {gate}'}}, {{name: "e\u0301\u0301 done", run: 'true'}}]}}
  b: {{name: é, runs-on: x, steps: [{{name: s, run: echo said}}]}}
""")

        def let_go():
            with open(gate, "w") as f:
                f.write("\n")
        code, text = self.on_a_terminal(tree, columns=30, seen="… 本番環境へ配置する: ビ", then=let_go, TERM="xterm", NO_COLOR="1")
        self.assertEqual(code, 0, text)
        drawn = [line for line in text.replace("\x1b[1A", "").replace("\x1b[2K", "").split("\r\n") if line.startswith("…")]
        for line in drawn:
            self.assertLess(sum(2 if unicodedata.east_asian_width(c) == "W" else 0 if unicodedata.combining(c) else 1 for c in line), 30, line)
        # Names are as wide as the widest of those before them.
        said = re.search("(é +)  said", text)[1]
        self.assertIn(len(said), (2, 19), text)

    def test_a_terminal_that_knows_no_cursor_gets_plain_lines(self):
        tree = self.tree("on: push\njobs: {a: {runs-on: x, steps: [{run: echo said}]}}\n")
        code, text = self.on_a_terminal(tree, TERM="dumb")
        self.assertEqual(code, 0, text)
        self.assertNotIn("\x1b", text)
        self.assertIn("a    said\r\n", text)

    def test_on_a_terminal_groups_are_folded_and_what_runs_now_is_shown(self):
        tree = self.tree("""on: push
jobs:
  a: {runs-on: x, steps: [{name: build, run: 'echo ::group::Details; echo inside; echo ::warning::beware; echo ::endgroup::; echo outside'}]}
  b: {runs-on: x, steps: [{name: breaks, run: 'echo ::group::Hidden; echo the reason; exit 1'}]}
""")
        code, text = self.on_a_terminal(tree, TERM="xterm", NO_COLOR="1")
        self.assertEqual(code, 1)
        self.assertIn("▸ Details (1 line)", text)
        self.assertRegex(text, "! +Warning: beware")
        self.assertNotIn("inside", text.replace("echo inside", ""))
        self.assertIn("outside", text)
        self.assertIn("the reason", text)
        self.assertNotIn("shell:", text)
        self.assertRegex(text, "… [ab]: ")
        self.assertLess(text.index("✓ build"), text.index("a ✓ succeeded"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
