#!/usr/bin/env python3
"""Deployment files as people write them, wrong ones above all: every fault is named at once with its place, nothing is half done,
and no secret is shown on the way."""
import functools
import glob
import json
import os
import pty
import re
import subprocess
import threading
import unittest

from harness.begun import Begun
from harness.trial import DAVIT, Case, Trial, main
from harness.waiting import until
from servers.sshd import Sshd

TEN_FAULTS = """\
name: Shop
environment: test
on_failure: rolback
owner: me
targets:
  web: { local: {}, becom: sudo }
  db: { }
steps:
  - aply: { resources: [] }
  - run: { target: wbe, command: [echo, hi], undo: none }
  - run: { target: web, comand: [echo, hi] }
  - health-gate: { checks: [ { http: "ftp://shop.example/" } ], deadline: soon }
  - archive-upload: { target: web, source: ., path: relative/path, keep: many }
  - secret-write: { target: web, path: /nonexistent/x.env, values: { A: "${{ secrets.MISSING_ONE }}", B: "${{ vars.MISSING_TWO }}" } }
"""


class DeploymentFiles(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())

    def write(self, text, name="deploy.yml"):
        path = os.path.join(self.t.src, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def deploy(self, text, *args, **more):
        self.write(text)
        return self.t.run("deploy", "deploy.yml", *args, **more)

    def assert_nothing_made(self):
        """Neither on the target nor, beyond a refusal, in the journal."""
        self.assertEqual(os.listdir(self.t.target_dir), [])
        self.assertFalse(os.path.exists(self.t.base) and os.listdir(self.t.base), "something lies in the target's base")
        history = json.loads(self.t.run("history", "--json").out)
        self.assertLessEqual({d["state"] for d in history}, {"refused"})

    def test_values_of_expressions_are_read_as_what_their_place_asks_for(self):
        text = """\
name: shop
environment: test
targets:
  web: { local: {} }
  far: { ssh: { host: "${{ vars.HOST }}", user: ["${{ vars.USER }}"], port: "${{ vars.PORT }}", agent: "${{ vars.AGENT }}", host_key: "SHA256:x" } }
steps:
  - run: { target: web, command: ["true"], undo: none, timeout: "${{ vars.TIME }}" }
  - archive-upload: { target: web, source: ., path: TARGET/app, keep: "${{ vars.KEEP }}" }
""".replace("TARGET", self.t.target_dir)
        good = {"HOST": "h.example\n", "USER": " u\n", "PORT": "2222\n", "AGENT": "false", "TIME": "5m\n", "KEEP": "3"}
        values = lambda **more: [word for k, v in {**good, **more}.items() for word in ("--var", f"{k}={v}")]
        self.write(text.replace('keep: "${{ vars.KEEP }}"', "keep: 3"))
        text_of = lambda out: out.out + out.err
        done = self.deploy(text, "--plan", *values(PORT="22 22", KEEP="many"))
        self.assertEqual(done.code, 2, text_of(done))
        self.assertIn("/targets/far/ssh/port: must be a whole number, not a text", text_of(done))
        self.assertIn("/steps/1/archive-upload/keep: must be a whole number, not a text", text_of(done))
        self.assertEqual(text_of(done).count("must be"), 2, text_of(done))
        only_here = text.replace("  far:", "  x-far:").split("\n")
        done = self.deploy("\n".join(l for l in only_here if "x-far" not in l), "--plan", *values())
        self.assertEqual(done.code, 0, text_of(done))

    def test_a_text_that_looks_like_a_list_and_an_empty_one_are_what_the_file_says(self):
        empty, given = os.path.join(self.t.base, "srv/empty"), os.path.join(self.t.base, "srv/given")
        steps = [{"apply": {"resources": [{"file": {"path": empty, "content": ""}}, {"file": {"path": given, "content": "${{ vars.NOTHING }}"}}]}},
                 {"run": {"command": "[ -d / ]", "undo": "none"}},
                 {"run": {"command": "${{ vars.LIST }}", "undo": "${{ vars.NOTHING || 'none' }}", "cwd": "${{ vars.NOTHING }}"}}]
        done = self.t.deploy(self.one(steps), "--var", "NOTHING=", "--var", f"LIST=[touch, {empty}.too]")
        self.assert_exit(done, 0)
        for path in (empty, given, empty + ".too"):
            self.assertEqual(os.path.getsize(path), 0)

    def test_forms_of_a_workflow_are_answered_with_the_right_one(self):
        done = self.deploy("name: a\nenvironment: t\nsteps:\n  - run: make install\n  - uses: actions/checkout@v4\n    with: { path: x }\n"
                           "  - snapshot: /srv\n  - run: { command: [x], undo: none, cwd: srv }\n", "--plan")
        self.assertEqual(done.code, 2)
        said = done.out + done.err
        self.assertIn('write `- run: { script: "make install", undo: … }`', said)
        self.assertIn("`uses:` belongs into a workflow", said)
        self.assertIn("write `- snapshot: { INPUT: VALUE }`", said)
        self.assertNotIn("pattern", said)
        self.assertNotIn("'with'", said)

    def test_anchors_and_keys_for_them_work_in_a_file_and_for_schema_check(self):
        path = self.write("x-common: &c { undo: none, timeout: 5m }\nname: a\nenvironment: t\nsteps:\n  - run: { <<: *c, command: [\"true\"] }\n")
        self.assertEqual(self.t.run("deploy", path, "--plan").code, 0)
        self.assertEqual(self.t.run("schema", "check", "deployment", path).code, 0)

    def test_the_history_tells_what_is_live_and_what_a_rollback_went_back_behind(self):
        release = lambda: {"archive-upload": {"source": "site", "path": self.t.path("app"), "allow_dirty": True}}
        os.makedirs(os.path.join(self.t.src, "site"))
        ids, text = [], self.one([release()], name="shop", environment="test", targets={"web": {"local": {}, "base": self.t.base}})
        for content in ("1", "2", "2"):
            with open(os.path.join(self.t.src, "site", "f"), "w", encoding="utf-8") as f:
                f.write(content)
            done = self.deploy(json.dumps(text))
            self.assertEqual(done.code, 0, done.text)
            ids.append(json.loads(self.t.run("history", "--json").out)[0]["id"])
            self.assertRegex(done.out, rf"(?m)^  {ids[-1]} committed: (2 changes|nothing to change), [0-9.]+ m?s$")
        self.assertRegex(done.out, r"archive-upload\n  nothing to change\n", "an unchanged step says so")
        done = self.t.run("rollback", "--to", "nonsense")
        self.assertEqual(done.code, 2, done.text)
        done = self.t.run("rollback", ids[1])
        self.assertEqual(done.code, 0, "a deployment that changed nothing stands in nobody's way: " + done.text)
        self.assertIn(f"switched from {ids[1]} to {ids[0]}; not taken back", done.out)
        history = {d["id"]: d for d in json.loads(self.t.run("history", "--json").out)}
        back = next(d for d in history.values() if d["kind"] == "rollback")
        self.assertEqual((back["from"], back["release"], back["live"]), (ids[1], ids[0], True))
        self.assertEqual([d["id"] for d in history.values() if d.get("live")], [back["id"]])
        self.assertIn(f"committed, live, rollback of {ids[1]}", self.t.run("history").out)
        self.assertEqual(self.deploy(json.dumps(text), "--expect", "0" * 64).code, 3)
        refused = json.loads(self.t.run("history", "--json").out)[0]["id"]
        if refused != back["id"]:
            self.assertEqual(self.t.run("rollback", refused).code, 2, "a refused id is refused")
        self.assertTrue(self.t.run("show", "last").out.startswith(back["id"]), "not the refused one")
        done = self.t.run("rollback", "--to", "nonsense")
        self.assertEqual(done.code, 2)

    def one(self, steps, **more):
        return {"targets": {"web": {"local": {}}}, "steps": steps, **more}

    def file_change(self, path="x", content="x"):
        return {"apply": {"resources": [{"file": {"path": self.t.path(path), "content": content}}]}}

    # ---- faults ----

    def test_all_faults_of_a_file_are_told_at_once_with_their_places(self):
        result = self.deploy(TEN_FAULTS)
        self.assert_exit(result, 2)
        lines = [l for l in result.err.splitlines() if re.match(r"deploy\.yml:\d+:\d+: ", l)]
        places = [tuple(map(int, l.split(":")[1:3])) for l in lines]
        self.assertEqual(places, sorted(places), "not in the order of the file")
        found = {line for line, _ in places}
        self.assertGreaterEqual(len(lines), 10, repr(result))
        for line, what in ((1, "name"), (3, "on_failure"), (4, "owner"), (6, "becom"), (7, "db"), (9, "aply"), (10, "wbe"), (11, "comand"),
                           (12, "checks"), (13, "path"), (14, "MISSING_ONE"), (14, "MISSING_TWO")):
            self.assertIn(line, found, repr(result))
            self.assertTrue(any(l.startswith(f"deploy.yml:{line}:") and what in l for l in lines), f"line {line}, {what}: {result!r}")
        for nearest in ("'apply'", "'web'", "'command'", "'become'"):
            self.assertIn(f"did you mean {nearest}?", result.err)
        self.assert_nothing_made()

    def test_faults_are_a_list_in_json_and_annotations_in_a_workflow(self):
        result = self.deploy(TEN_FAULTS, "--json")
        self.assert_exit(result, 2)
        answer = json.loads(result.out)
        self.assertEqual(answer["exit_status"], 2)
        faults = answer["error"]["faults"]
        self.assertGreaterEqual(len(faults), 10)
        self.assertEqual({f["file"] for f in faults}, {"deploy.yml"})
        self.assertTrue(all(f["line"] > 0 and f["column"] > 0 and f["text"] for f in faults))
        result = self.t.run("deploy", "deploy.yml", env={"GITHUB_ACTIONS": "true"})
        self.assert_exit(result, 2)
        self.assertRegex(result.out, r"(?m)^::error file=deploy\.yml,line=9,col=\d+::.*aply")

    def test_what_a_target_prints_never_commands_the_runner(self):
        lines = ["::set-output name=x::1", "   ::set-output name=x::1", "\\t::add-path::/evil", "before ##[set-output name=x]1",
                 "##[add-path]/evil", "##[group]x", "a\\r::set-env name=x::1", "::stop-commands::mine", "::mine::", "\\xc2\\xa0::add-mask::a"]
        command = "printf '" + "\\n".join(lines) + "\\n'; echo '::error::foreign' >&2; false"
        for more in ((), ("--json",)):
            result = self.t.deploy({"targets": {"here": {"local": {}}}, "steps": [{"run": {"command": command, "undo": "true"}}]}, *more, env={"GITHUB_ACTIONS": "true"})
            self.assert_exit(result, 1)
            for text in (result.out, result.err):
                stopped = None
                for line in re.split(r"\r\n|\r|\n", text):
                    told = line.strip("\u00a0 \t\v\f")
                    if stopped is not None:
                        stopped = None if told == f"::{stopped}::" else stopped
                    elif told.startswith("::stop-commands::"):
                        stopped = told.removeprefix("::stop-commands::")
                        self.assertRegex(stopped, "^[0-9a-f]{32}$")
                    elif told.startswith("::"):
                        self.assertRegex(told, "^::(group|endgroup|error|warning|notice)")
                        self.assertFalse(told.startswith("::error::foreign"))
                    else:
                        self.assertNotIn("##[", line)
                self.assertIsNone(stopped)

    def test_a_step_that_is_no_map_or_two_steps_in_one_item(self):
        for steps, word in ((["run"], "/steps/0"), ([{"run": {"command": "true"}, "notify": {}}], "'run' and 'notify'"),
                            ([{"id": "x"}], "names no step"), ([{"run": [1]}], "not a map"), ({"run": {}}, "/steps")):
            with self.subTest(steps=steps):
                result = self.t.deploy({"steps": steps})
                self.assert_exit(result, 2)
                self.assert_says(result, word)

    def test_files_that_are_no_deployment(self):
        deep = "[" * 300 + "]" * 300
        cases = {
            "empty": ("", "not a map"),
            "a list": ("- a\n- b\n", "not a map"),
            "a text": ("just words\n", "not a map"),
            "not YAML": ("name: [shop\nsteps: }\n", "deploy.yml:"),
            "a tab": ("name: shop\n\tenvironment: test\n", "deploy.yml:2:"),
            "two documents": ("name: shop\n---\nname: shop\n", "second document"),
            "too deep": (f"name: {deep}\n", "deep"),
            "the same key twice": ("name: shop\nname: shop\n", "twice"),
            "a NUL": ("name: \"a\\0b\"\nenvironment: t\nsteps: []\n", "name"),
            "a control character": ("name: \x01\n", "deploy.yml"),
            "another tag": ("name: !!python/object:os.system shop\n", "tag"),
            "over-long": ("name: shop\n#" + "x" * (2 << 20) + "\n", "larger"),
        }
        for what, (text, word) in cases.items():
            with self.subTest(what):
                result = self.deploy(text)
                self.assert_exit(result, 2)
                self.assertIn(word, result.text)
                self.assertLess(len(result.text), 2000)
        self.assert_nothing_made()

    def test_not_utf8_a_directory_and_a_file_that_is_not_there(self):
        with open(os.path.join(self.t.src, "deploy.yml"), "wb") as f:
            f.write(b"name: caf\xe9\n")
        os.mkdir(os.path.join(self.t.src, "folder"))
        os.mkfifo(os.path.join(self.t.src, "pipe"))
        for name in ("deploy.yml", "folder", "missing.yml", "pipe"):
            with self.subTest(name):
                result = self.t.run("deploy", name, timeout=20)
                self.assert_exit(result, 2)
                self.assert_says(result, name)

    def test_anchors_may_be_used_but_not_blown_up(self):
        result = self.deploy(f"""\
name: shop
environment: test
targets: {{ web: &here {{ local: {{}}, base: {self.t.base} }} }}
steps:
  - apply: {{ resources: [ {{ file: {{ path: {self.t.path('a')}, content: &text hello }} }}, {{ file: {{ path: {self.t.path('b')}, content: *text }} }} ] }}
""")
        self.assert_exit(result, 0)
        self.assertEqual(self.t.read("b"), b"hello")
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        for i in range(1, 10):
            lines.append(f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 10) + "]")
        result = self.deploy("\n".join(lines) + "\n", timeout=20)
        self.assert_exit(result, 2)

    def test_every_missing_secret_variable_and_input_is_named(self):
        result = self.t.deploy(self.one([{"run": {"command": ["true"], "undo": "none", "env": {
            "A": "${{ secrets.ALPHA }}", "B": "${{ secrets.BRAVO }}", "C": "${{ vars.CHARLIE }}", "D": "${{ inputs.DELTA }}",
            "E": "${{ secrets.GIVEN }}", "F": "${{ secrets.ECHO || 'otherwise' }}"}}}]), secrets={"GIVEN": "here it is"})
        self.assert_exit(result, 2)
        self.assert_says(result, "secrets.ALPHA", "secrets.BRAVO", "vars.CHARLIE", "inputs.DELTA", "--secret ALPHA", "--var CHARLIE")
        self.assert_silent(result, "secrets.ECHO", "here it is")
        self.assert_nothing_made()
        result = self.t.deploy(self.one([{"run": {"command": ["true"], "undo": "none", "env": {"A": "${{ secrets.GIVN }}"}}}]), secrets={"GIVEN": "x1y2z3"})
        self.assert_says(result, "did you mean secrets.GIVEN?")

    def test_a_secret_that_the_environment_does_not_have(self):
        self.write("name: shop\nenvironment: test\nsteps: [ { run: { command: 'true' } } ]\n")
        result = self.t.run("deploy", "deploy.yml", "--secret", "NOT_THERE")
        self.assert_exit(result, 2)
        self.assert_says(result, "NOT_THERE")

    def test_a_secret_on_the_command_line_is_refused_and_not_repeated(self):
        self.write("name: shop\nenvironment: test\nsteps: [ { run: { command: 'true' } } ]\n")
        result = self.t.run("deploy", "deploy.yml", "--secret", "TOKEN=hunter2-word")
        self.assert_exit(result, 2)
        self.assert_says(result, "--secret TOKEN takes a name, not a value", "export TOKEN")
        self.assert_silent(result, "hunter2")

    def test_bad_expressions_have_a_place(self):
        for text, word in (("${{ secrets.", "deploy.yml:"), ("${{ fromJSONN('1') }}", "fromJSON"), ("${{ secrts.A }}", "secrets"),
                           ("${{ 'unclosed }}", "deploy.yml:")):
            with self.subTest(text):
                result = self.t.deploy(self.one([{"run": {"command": ["echo", text], "undo": "none"}}]))
                self.assert_exit(result, 2)
                self.assert_says(result, word, "/steps/0/run/command/1")

    def test_steps_know_the_targets_and_what_earlier_steps_gave(self):
        os.mkdir(os.path.join(self.t.src, "site"))
        with open(os.path.join(self.t.src, "site", "index.html"), "w", encoding="ascii") as f:
            f.write("hello")
        out = self.t.path("seen")
        result = self.t.deploy(self.one([
            {"id": "up", "archive-upload": {"source": "site", "path": self.t.path("app")}},
            {"run": {"command": ["sh", "-c", f"echo $0 $1 $2 > {out}", "${{ steps.up.outputs.release }}", "${{ targets.web.host }}",
                                 "${{ deployment.environment }}"], "undo": "none"}}]))
        self.assert_exit(result, 0)
        self.assertEqual(self.t.read("seen").decode().split(), [os.path.basename(os.readlink(self.t.path("app/current"))), "localhost", "test"])
        result = self.t.deploy(self.one([{"run": {"command": ["echo", "${{ steps.nobody.outputs.x }}", "${{ targets.wbe.host }}"], "undo": "none"}}]))
        self.assert_exit(result, 2)

    def test_a_resource_that_no_step_makes_or_a_later_one_does_is_found_before_the_first_change(self):
        def refer(*names, first=None):
            text = " ".join(f"${{{{ resources.{name}.digest }}}}" for name in names)
            made = [{"file": {"id": "settings", "path": self.t.path("a"), "content": "x"}}]
            late = [{"file": {"id": "banner", "path": self.t.path("b"), "content": "y"}}]
            return self.one([{"apply": first or {"resources": made}}, {"run": {"command": ["echo", text], "undo": "none"}},
                             {"apply": {"resources": late}}])
        result = self.t.deploy(refer("setings", "banner"), "--plan")
        self.assert_exit(result, 2)
        self.assert_says(result, "/steps/1/run/command/1", "no resource of this step or an earlier one has the id 'setings'", "did you mean 'settings'?",
                         "no resource of this step or an earlier one has the id 'banner'", "a later step makes it")
        self.assert_exit(self.t.deploy(refer("setings")), 2)
        self.assertEqual(os.listdir(self.t.target_dir), [])
        self.assert_exit(self.t.deploy(refer("settings")), 0)

    def desired(self, name, *resources):
        with open(os.path.join(self.t.src, name), "w", encoding="ascii") as f:
            json.dump({"resources": list(resources)}, f, indent=1)
        return {"apply": {"file": name}}

    def test_what_a_desired_state_file_does_not_have_is_found_before_the_first_change_too(self):
        def run(reference):
            return {"run": {"command": ["echo", f"${{{{ resources.{reference} }}}}"], "undo": "none"}}
        first = self.desired("first.yml", {"file": {"id": "elsewhere", "path": self.t.path("a"), "content": "x"}})
        for options in ((), ("--plan",)):
            result = self.t.deploy(self.one([first, run("elsewere.digest"), run("elsewhere.digets")]), *options)
            self.assert_exit(result, 2)
            self.assert_says(result, "/steps/1/run/command/1", "has the id 'elsewere'", "did you mean 'elsewhere'?", "/steps/2/run/command/1",
                             "'digets' of the resource 'elsewhere' (file) is no attribute of it", "did you mean 'digest'?")
        self.assertEqual(os.listdir(self.t.target_dir), [])
        self.assert_says(self.t.deploy(self.one([run("elsewhere.digest"), first]), "--plan"), "has the id 'elsewhere'", "a later step makes it")
        # One that cannot be read is told once, and nothing that rests on it.
        result = self.t.deploy(self.one([{"apply": {"file": "nowhere.yml"}}, run("any.digest")]), "--plan")
        self.assert_exit(result, 2)
        self.assert_says(result, "nowhere.yml")
        self.assert_silent(result, "has the id 'any'")
        self.assert_exit(self.t.deploy(self.one([first, run("elsewhere.digest"), run("elsewhere.size")])), 0)

    def test_an_attribute_that_a_resource_of_an_earlier_step_does_not_have_is_found_before_the_first_change(self):
        def refer(attribute):
            return self.one([{"apply": {"resources": [{"file": {"id": "settings", "path": self.t.path("a"), "content": "x"}}]}},
                             {"run": {"command": ["echo", f"${{{{ resources.settings.{attribute} }}}}"], "undo": "none"}},
                             {"apply": {"resources": [{"file": {"path": self.t.path("b"), "content": f"${{{{ resources.settings.{attribute} }}}}"}}]}}])
        for options in ((), ("--plan",)):
            result = self.t.deploy(refer("digets"), *options)
            self.assert_exit(result, 2)
            self.assert_says(result, "/steps/1/run/command/1", "'digets' of the resource 'settings' (file) is no attribute of it", "did you mean 'digest'?",
                             "/steps/2/apply/resources/0/file/content")
        self.assertEqual(os.listdir(self.t.target_dir), [])
        for attribute in ("digest", "size", "path", "mode"):
            self.assert_exit(self.t.deploy(refer(attribute), "--plan"), 0)

    def test_a_secret_in_a_command_is_refused(self):
        secret = "correct-horse-battery"
        for key, value in (("command", ["echo", "x-${{ secrets.TOKEN }}"]), ("command", "echo ${{ secrets.TOKEN }}"),
                           ("script", "echo ${{ secrets.TOKEN }}\n"), ("undo", ["echo", "${{ secrets.TOKEN }}"]),
                           ("after_undo", "echo ${{ secrets.TOKEN }}")):
            with self.subTest(key=key, value=value):
                step = {"command": ["true"], "undo": "none", key: value} if key != "script" else {"script": value, "undo": "none"}
                result = self.t.deploy(self.one([{"run": step}]), secrets={"TOKEN": secret})
                self.assert_exit(result, 2)
                self.assert_says(result, key, "env")
                self.assert_silent(result, secret)
        self.assert_nothing_made()

    def test_faults_never_show_a_secret(self):
        secret = "hunter2-but-longer"
        result = self.t.deploy(self.one([{"archive-upload": {"path": "${{ secrets.TOKEN }}", "keep": "${{ secrets.TOKEN }}"}}],
                                        on_failure="${{ secrets.TOKEN }}"), secrets={"TOKEN": secret})
        self.assert_exit(result, 2)
        self.assert_silent(result, secret)

    def test_what_a_step_cannot_know_is_refused_before_the_first_change(self):
        for step, word in (({"checkout": {}}, "repository:"), ({"archive-upload": {"source": "nosuch", "path": self.t.path("a")}}, "nosuch"),
                           ({"finish": {}}, "'finish' decides a deployment and is not a step"), ({"run": {"target": "here", "command": ["true"]}}, "here")):
            with self.subTest(step=step):
                result = self.t.deploy(self.one([self.file_change(), step]))
                self.assert_exit(result, 2)
                self.assert_says(result, word)
        self.assert_nothing_made()

    # ---- options ----

    def test_unknown_options_and_commands_name_the_nearest(self):
        for command in ("deploy", "step", "rollback", "recover", "unlock", "finish", "history", "show", "schema", "expr", "agent", "forge"):
            self.assert_exit(self.t.run(command, "--help"), 0)
        for args, word in ((["deploy", "x.yml", "--pln"], "--plan"), (["history", "--limt", "3"], "--limit"), (["rollback", "--forse"], "--force"),
                           (["recover", "--takover"], "--takeover"), (["depoy"], "deploy"), (["unlock", "x", "--acept"], "--accept"),
                           (["finish", "--statu", "x"], "--status"), (["step", "run", "--inptu", "-"], "--input"), (["show", "--jsn"], "--json")):
            with self.subTest(args=args):
                result = self.t.run(*args)
                self.assert_exit(result, 2)
                self.assert_says(result, f"did you mean {word}?" if not word.startswith("--") else word)
        result = self.t.run("step", "rnu", "--input", "/dev/null")
        self.assert_exit(result, 2)
        self.assert_says(result, "did you mean 'run'?")

    def test_wrong_values_of_options(self):
        self.write(json.dumps({"name": "shop", "environment": "test", "steps": [{"run": {"command": "true", "undo": "none"}}]}))
        for args in (["--wait", "soon"], ["--var", "novalue"], ["--input", "=x"], ["--undo-deadline", "-3"], ["--secrets", "missing.json"]):
            with self.subTest(args=args):
                result = self.t.run("deploy", "deploy.yml", *args)
                self.assert_exit(result, 2)
                self.assert_says(result, args[0].lstrip("-"))
        result = self.t.run("deploy")
        self.assert_exit(result, 2)
        self.assert_says(result, "deployment file")
        self.assert_exit(self.t.run("deploy", "a", "b"), 2)

    def test_a_secrets_file_that_others_can_read_is_refused(self):
        self.write(json.dumps({"name": "shop", "environment": "test", "steps": [{"run": {"command": "true", "undo": "none"}}]}))
        path = self.write('{"A": "b"}', "secrets.json")
        os.chmod(path, 0o644)
        result = self.t.run("deploy", "deploy.yml", "--secrets", path)
        self.assert_exit(result, 2)
        self.assert_says(result, "chmod 600")

    # ---- plan, expect ----

    def test_a_plan_writes_nothing_and_its_digest_is_what_expect_takes(self):
        document = self.one([self.file_change()])
        plan = self.t.deploy(document, "--plan", "--json")
        self.assert_exit(plan, 0)
        answer = json.loads(plan.out)
        self.assertEqual((answer["exit_status"], answer["state"]), (0, "planned"))
        self.assertRegex(answer["digest"], r"^[0-9a-f]{64}$")
        self.assertFalse(os.path.exists(self.t.base))
        self.assertFalse(os.path.exists(self.t.state) and os.listdir(self.t.state))
        self.assertEqual(os.listdir(self.t.target_dir), [])
        other = self.t.deploy(document, "--expect", "0" * 64)
        self.assert_exit(other, 3)
        self.assert_says(other, answer["digest"])
        self.assertEqual(os.listdir(self.t.target_dir), [])
        self.assertFalse(glob.glob(self.t.base + "/open/*"))
        same = self.t.deploy(document, "--expect", answer["digest"])
        self.assert_exit(same, 0)
        self.assertEqual(self.t.read("x"), b"x")
        again = self.t.deploy(document, "--expect", answer["digest"])
        self.assert_exit(again, 3)
        self.assert_exit(self.t.deploy(document, "--plan"), 0)

    def test_the_time_for_an_undo_is_part_of_what_was_reviewed_in_any_spelling(self):
        step = {"run": {"command": "true", "undo": "none"}}
        of = {text: self.digest(step, undo_deadline=text) for text in ("2m", "120s", 120, "3m")}
        self.assertEqual(len({of["2m"], of["120s"], of[120]}), 1, of)
        self.assertNotEqual(of["3m"], of["2m"])

    def digest(self, *steps, secrets=None, **more):
        return json.loads(self.t.deploy(self.one(list(steps), **more), "--plan", "--json", secrets=secrets).out)["digest"]

    def test_the_digest_holds_what_judges_and_decides_and_no_secret(self):
        gate = {"checks": [{"tcp": "127.0.0.1:1", "timeout": "1s"}], "deadline": "5s"}
        run = {"command": ["true"], "env": {"TOKEN": "${{ secrets.TOKEN }}"}, "undo": "none"}
        first = self.digest({"run": run}, {"health-gate": gate}, secrets={"TOKEN": "aaaaaaaaaaaa"})
        self.assertEqual(first, self.digest({"run": run}, {"health-gate": gate}, secrets={"TOKEN": "bbbbbbbbbbbb"}))
        others = [
            self.digest({"run": run}, {"health-gate": {**gate, "deadline": "6s"}}, secrets={"TOKEN": "x" * 12}),
            self.digest({"run": run}, {"health-gate": {**gate, "checks": [{"tcp": "127.0.0.1:2", "timeout": "1s"}]}}, secrets={"TOKEN": "x" * 12}),
            self.digest({"run": {**run, "env": {"TOKEN": "${{ secrets.TOKEN }}", "DEBUG": "1"}}}, {"health-gate": gate}, secrets={"TOKEN": "x" * 12}),
            self.digest({"run": {**run, "timeout": "1m"}}, {"health-gate": gate}, secrets={"TOKEN": "x" * 12}),
            self.digest({"run": {**run, "after_undo": ["false"]}}, {"health-gate": gate}, secrets={"TOKEN": "x" * 12}),
            self.digest({"run": run}, {"health-gate": gate}, secrets={"TOKEN": "x" * 12}, on_failure="hold"),
        ]
        self.assertEqual(len({first, *others}), 7)

    def test_a_gate_without_changes_before_it_asks_each_check_once(self):
        log = self.t.path("asked")
        document = self.one([{"health-gate": {"checks": [{"command": ["sh", "-c", f"echo x >> {log}"]}], "deadline": "5s"}}])
        self.assert_exit(self.t.deploy(document), 0)
        self.assertEqual(self.t.read("asked"), b"x\n")

    def test_a_digest_that_is_none_is_a_wrong_call(self):
        result = self.t.deploy(self.one([self.file_change()]), "--expect", "abc")
        self.assertIn(result.code, (2, 3))
        self.assertEqual(os.listdir(self.t.target_dir), [])

    def test_a_dirty_tree_is_refused(self):
        for args in (["init", "-q"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"]):
            subprocess.run(["git", *args], cwd=self.t.src, check=True)
        result = self.t.deploy(self.one([{"archive-upload": {"source": ".", "path": self.t.path("app")}}]))
        self.assert_exit(result, 2)
        self.assert_says(result, "allow_dirty")
        self.assert_nothing_made()

    def test_a_dirty_tree_is_refused_where_its_repository_lies_elsewhere(self):
        for args in (["init", "-q", "--separate-git-dir", self.t.path("repository")],
                     ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"]):
            subprocess.run(["git", *args], cwd=self.t.src, check=True)
        result = self.t.deploy(self.one([{"archive-upload": {"source": ".", "path": self.t.path("app")}}]))
        self.assert_exit(result, 2)
        self.assert_says(result, "allow_dirty")

    def test_a_repository_that_is_a_directory_above_without_a_work_tree_is_none(self):
        subprocess.run(["git", "init", "-q", "--bare", self.t.src], check=True)
        os.mkdir(os.path.join(self.t.src, "web"))
        with open(os.path.join(self.t.src, "web/index.html"), "w", encoding="ascii") as f:
            f.write("x")
        result = self.t.deploy(self.one([{"archive-upload": {"source": "web", "path": self.t.path("app")}}]))
        self.assert_exit(result, 0)

    # ---- JSON everywhere ----

    def assert_json(self, result, status):
        self.assert_exit(result, status)
        answer = json.loads(result.out)
        self.assertEqual(answer["exit_status"], status, repr(result))
        return answer

    def test_every_command_answers_in_json_with_its_exit_status(self):
        document = self.one([self.file_change()])
        self.assert_json(self.t.deploy(document, "--plan", "--json"), 0)
        done = self.assert_json(self.t.deploy(document, "--json"), 0)
        self.assertEqual(done["state"], "committed")
        self.assert_json(self.t.deploy(self.one([{"health-gate": {"checks": [{"command": ["false"]}], "deadline": "1s"}}]), "--json"), 1)
        self.assert_json(self.t.run("deploy", "missing.yml", "--json"), 2)
        self.assert_json(self.t.run("rollback", "--json"), 2)
        self.assert_json(self.t.run("rollback", "nobody", "--json"), 2)
        self.assert_json(self.t.run("recover", "--json"), 0)
        self.assert_json(self.t.run("unlock", "test", "--json"), 0)
        self.assert_json(self.t.run("unlock", "nowhere", "--json"), 2)
        self.assert_json(self.t.run("finish", "--status", "success", "--json"), 0)
        self.assert_json(self.t.run("finish", "--json"), 2)
        self.assert_json(self.t.run("step", "nothing", "--json"), 2)
        path = self.write(json.dumps({"command": ["true"], "undo": "none"}), "input.json")
        self.assert_json(self.t.run("step", "run", "--input", path, "--json"), 0)
        self.assert_json(self.t.run("step", "run", "--input", path, "--plan", "--json"), 0)
        history = json.loads(self.t.run("history", "--json").out)
        self.assertGreaterEqual(len(history), 2)
        shown = json.loads(self.t.run("show", done["id"], "--json").out)
        self.assertEqual(shown["deployment"]["state"], "committed")
        self.assert_json(self.t.run("show", "nobody", "--json"), 2)
        self.assert_json(self.t.run("history", "--limit", "many", "--json"), 2)
        self.assert_json(self.t.run("deploy", "--json", "--pln"), 2)
        self.assertIn("archive-upload", json.loads(self.t.run("schema", "--json").out))
        json.loads(self.t.run("schema", "run", "--json").out)
        self.assert_json(self.t.run("schema", "rnu", "--json"), 2)

    def test_recover_tells_of_each_deployment_that_it_decided(self):
        for args in ((), ("--json",)):
            with self.subTest(args=args):
                for environment in ("one", "two"):
                    begun = self.t.path(environment)
                    command = f"echo > {begun}; while :; do sleep 0.05; done"
                    document = {"environment": environment, "targets": {"here": {"local": {}}},
                                "steps": [self.file_change(f"{environment}.conf"), {"run": {"command": ["sh", "-c", command], "undo": "none"}}]}
                    with Begun(self.t, document) as deployment:
                        until(functools.partial(os.path.exists, begun), f"the command of {environment}")
                        deployment.kill()
                    os.unlink(begun)
                result = self.t.run("recover", *args)
                open_ones = [d["id"] for d in json.loads(self.t.run("history", "--json").out)][:2]
                if args:
                    decided = self.assert_json(result, 0)["decided"]
                    self.assertEqual({(d["id"], d["state"], d["exit_status"]) for d in decided}, {(i, "undone", 0) for i in open_ones})
                    self.assertEqual({d["report"]["deployment"]["environment"] for d in decided}, {"one", "two"})
                else:
                    self.assert_exit(result, 0)
                    for one in open_ones:
                        self.assertRegex(result.out, f"{one} undone: \\d changes?")

    # ---- colours ----

    def on_a_terminal(self, *args, env=None):
        leader, follower = pty.openpty()
        whole = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "NO_COLOR"))}
        whole.update({"DAVIT_STATE": self.t.state, "TERM": "xterm", **(env or {})})
        process = subprocess.Popen([DAVIT, *args], cwd=self.t.src, env=whole, stdin=subprocess.DEVNULL, stdout=follower, stderr=follower)
        os.close(follower)
        seen = b""
        while True:
            try:
                data = os.read(leader, 65536)
            except OSError:
                break
            if not data:
                break
            seen += data
        os.close(leader)
        process.wait(60)
        return seen

    def test_colours_are_for_terminals(self):
        document = self.one([self.file_change()])
        result = self.t.deploy(document)
        self.assertNotIn("\x1b", result.text)
        for args in (["history"], ["show", "last"], ["deploy", "deploy.yml", "--plan"]):
            self.assertIn(b"\x1b[", self.on_a_terminal(*args), args)
            self.assertNotIn(b"\x1b[", self.on_a_terminal(*args, env={"NO_COLOR": "1"}), args)
            self.assertNotIn("\x1b", self.t.run(*args).text)
        self.assertNotIn(b"\x1b[", self.on_a_terminal("history", "--json"))

    def test_what_others_wrote_cannot_steer_a_terminal(self):
        name = "x\x1b]0;owned\x07"
        result = self.t.deploy(self.one([{"name": name, "run": {"command": ["printf", "\\033[31mred"], "undo": "none"}}]))
        self.assert_exit(result, 0)
        self.assertNotIn("\x1b", result.text)
        self.assertNotIn("\x1b", self.t.run("show", "last").text)

    # ---- secrets ----

    def watch_arguments(self, needles, stop, found):
        while not stop.is_set():
            for path in glob.glob("/proc/[0-9]*/cmdline"):
                try:
                    with open(path, "rb") as f:
                        line = f.read()
                except OSError:
                    continue
                found.extend((path, n) for n in needles if n in line)

    def test_secrets_are_in_no_argument_output_journal_or_copy(self):
        secrets = {"TOKEN": "tok-5e1f0c9a77", "PASSWORD": 'pa"ss\\word\nsecond line', "KEYFILE": None}
        with Sshd() as server:
            with open(server.key, encoding="ascii") as f:
                secrets["KEYFILE"] = f.read()
            targets = {"web": {"ssh": {"host": "127.0.0.1", "port": server.port, "user": server.user, "key": "${{ secrets.KEYFILE }}",
                                       "host_key": server.host_key}}, "here": {"local": {}, "base": self.t.base + "-here"}}
            steps = [
                {"secret-write": {"target": ["web"], "path": self.t.path("app.env"), "format": "env",
                                  "values": {"TOKEN": "${{ secrets.TOKEN }}", "PASSWORD": "${{ secrets.PASSWORD }}"}}},
                {"run": {"target": ["web", "here"], "script": "test \"$T\" = tok-5e1f0c9a''77 && echo \"$T\" && printf %s \"$T\" | base64; sleep 0.2\n",
                         "env": {"T": "${{ secrets.TOKEN }}"}, "undo": "none"}},
                {"run": {"target": "here", "command": ["sh", "-c", "ls -l /proc/self/fd; env | grep -c TOKEN; cat /proc/$PPID/cmdline; exit 7"], "undo": "none"}},
            ]
            # A beginning of each secret is enough to be found: nothing of it may be seen.
            needles = [b"tok-5e1f0c9a77", b"second line", secrets["KEYFILE"].splitlines()[2].encode()]
            stop, found = threading.Event(), []
            watcher = threading.Thread(target=self.watch_arguments, args=(needles, stop, found))
            watcher.start()
            try:
                result = self.t.deploy({"targets": targets, "steps": steps}, "-v", "--trace", "all", secrets=secrets)
                held = self.t.deploy({"targets": targets, "steps": steps, "on_failure": "hold"}, secrets=secrets)
            finally:
                stop.set()
                watcher.join()
            self.assert_exit(result, 1)
            self.assert_exit(held, 4)
            self.assertEqual(found, [])
            shown = self.t.run("show", "last", "--json")
            encoded = [b"tok-5e1f0c9a77", b"dG9rLTVlMWYwYzlhNzc", b"second line", needles[2], b"pa\\\"ss", b'pa"ss']
            for text in (result.text, held.text, shown.text, self.t.run("show", "last").text, self.t.run("history", "--json").text):
                for needle in encoded:
                    self.assertNotIn(needle.decode(), text)
            copies = [self.t.state, self.t.base + "/open", self.t.base + "-here/open"]
            self.assertTrue(any(path.endswith("changes.jsonl") for path, _ in self.t.files_of(*copies)))
            for path, data in self.t.files_of(*copies):
                for needle in encoded:
                    self.assertNotIn(needle, data, path)
            done = self.t.run("rollback")
            self.assertIn(done.code, (0, 4), repr(done))
            for needle in encoded:
                self.assertNotIn(needle.decode(), done.text)

    def test_the_repository_is_that_of_the_origin_as_git_would_ask_it(self):
        env = {"HOME": self.t.src, "XDG_CONFIG_HOME": self.t.src, "GIT_CONFIG_GLOBAL": os.path.join(self.t.src, ".gitconfig")}
        for number, (origin, config, repository) in enumerate((
                ("https://github.com/acme/shop.git", "", "acme/shop"),
                ("git@github.com:acme/shop", "", "acme/shop"),
                ("corp:team/shop", '[url "https://github.com/Acme/"]\n\tinsteadOf = corp:team/\n[url "x:y/"]\n\tinsteadOf = corp:\n'
                                   '[url "z:z/"]\n\tinsteadOf = corp:other/\n', "Acme/shop"),
                (None, "", None))):
            with self.subTest(origin=origin):
                self.write(config, ".gitconfig")
                for words in (["init", "-q", "."], ["config", "remote.origin.url", origin] if origin else ["config", "--remove-section", "remote.origin"]):
                    subprocess.run(["git", *words], cwd=self.t.src, env={**os.environ, **env}, check=True)
                self.assert_exit(self.deploy("name: shop\nenvironment: test\ntargets: { web: { local: {} } }\n"
                                             f"steps: [ run: {{ target: web, script: 'true {number}' }} ]\n", env=env), 0)
                last = json.loads(self.t.run("history", "--json").out)[0]
                self.assertEqual(last.get("repository"), repository)


if __name__ == "__main__":
    main()
