#!/usr/bin/env python3
"""Typed steps in a job: they share its deployment, which the worker decides at the end; a cancel makes them undo."""
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from servers.worker import House

OWN = "davit-deploy/davit/actions"


def until(what, condition, timeout=20):
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.01)
    return value


class Typed(unittest.TestCase):
    def setUp(self):
        self.house = House()
        self.house.__enter__()
        self.addCleanup(self.house.__exit__, None, None, None)
        self.house.secrets(KEY="s3cr3t-value")
        self.srv = os.path.join(self.house.folder, "srv")
        # Lock and undo data of this machine as a target: a folder of the test's own.
        self.here = json.dumps(json.dumps({"local": {"local": {}, "base": os.path.join(self.house.folder, "base")}}))

    def states(self):
        with sqlite3.connect(os.path.join(self.house.state, "journal.db")) as db:
            tables = [name for name, in db.execute("select name from sqlite_master where type = 'table'")]
            self.assertIn("deployment", tables)
            return [row[0] for row in db.execute("select state from deployment order by rowid")]

    def upload(self, more=""):
        return f'''
            - uses: {OWN}/checkout@v1
            - uses: {OWN}/archive-upload@v1
              name: upload
              id: up
              with: {{targets: {self.here}, path: {self.srv}, source: .}}
{more}'''

    def test_the_steps_of_a_job_are_committed_at_its_end(self):
        run = self.house.run(self.upload(f'''
            - uses: {OWN}/secret-write@v1
              with: {{targets: {self.here}, path: {self.srv}/env, values: "KEY: ${{{{ secrets.KEY }}}}"}}
            - {{name: looks, run: "cat {self.srv}/current/a.txt; test -n '${{{{ steps.up.outputs.release }}}}'"}}
            - {{name: knows, run: "cat $RUNNER_TEMP/davit/deployment"}}
        '''), files={"a.txt": "hello\n"})
        self.assertEqual((run.status, run.conclusion), (100, "success"), run.shown)
        self.assertIn("hello", run.lines("looks"))
        with sqlite3.connect(os.path.join(self.house.state, "journal.db")) as db:
            self.assertIn(db.execute("select id from deployment").fetchone()[0], run.lines("knows"))
        self.assertEqual(run.step("Decide the deployment")["conclusion"], "success")
        with open(f"{self.srv}/env") as file:
            self.assertIn("s3cr3t-value", file.read())
        self.assertNotIn("s3cr3t-value", repr(run.shown))
        numbers = [s["number"] for s in run.job["steps"]]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual(run.step("Complete job")["number"], run.step("Decide the deployment")["number"] + 1)

    def test_a_failing_step_later_takes_everything_back(self):
        run = self.house.run(self.upload(f'''
            - {{name: seen, run: "test -e {self.srv}/current"}}
            - {{name: fails, run: exit 1}}
            - {{name: skipped, uses: {OWN}/secret-write@v1, with: {{targets: {self.here}, path: {self.srv}/env, values: "A: b"}}}}
        '''))
        self.assertEqual(run.conclusion, "failure")
        self.assertEqual(run.conclusions()["seen"], "success")
        self.assertEqual(run.conclusions()["skipped"], "skipped")
        self.assertFalse(os.path.lexists(f"{self.srv}/current"))
        self.assertEqual(run.step("Decide the deployment")["conclusion"], "success")

    def test_a_committed_job_is_gone_back_behind_with_its_secrets_only(self):
        for text in ("one", "two"):
            run = self.house.run(self.upload(f'''
            - uses: {OWN}/run@v1
              with: {{targets: {self.here}, command: "true", undo: none, after_undo: 'echo "$MODE $T" > {self.srv}/after',
                      env: "MODE: plain\\nT: ${{{{ secrets.KEY }}}}"}}
'''), files={"a.txt": text})
            self.assertEqual(run.conclusion, "success", run.shown)
        with sqlite3.connect(os.path.join(self.house.state, "journal.db")) as db:
            newest = db.execute("select id from deployment order by rowid desc").fetchone()[0]
        davit, env = os.path.join(os.environ["DAVIT_BUILD"], "bin", "davit"), {**os.environ, "DAVIT_STATE": self.house.state}
        lacking = subprocess.run([davit, "rollback", newest], env=env, capture_output=True, text=True, timeout=60)
        self.assertEqual(lacking.returncode, 2, lacking)
        self.assertEqual(re.findall(r"secrets\.(\w+)", lacking.stderr), ["T"], lacking.stderr)
        done = subprocess.run([davit, "rollback", newest, "--secret", "T"], env={**env, "T": "s3cr3t-value"}, capture_output=True, text=True,
                              timeout=60)
        self.assertEqual(done.returncode, 0, done)
        with open(f"{self.srv}/after") as file, open(f"{self.srv}/current/a.txt") as released:
            self.assertEqual((file.read(), released.read()), ("plain s3cr3t-value\n", "one"))
        with open(os.path.join(self.house.state, "journal.db"), "rb") as file:
            self.assertNotIn(b"s3cr3t-value", file.read())

    def test_a_job_without_changing_steps_decides_nothing(self):
        run = self.house.run(f"- uses: {OWN}/checkout@v1\n- run: echo")
        self.assertNotIn("Decide the deployment", run.conclusions())

    def test_bad_inputs_fail_the_step_with_a_clear_sentence(self):
        run = self.house.run(f'''
            - {{name: upload, uses: {OWN}/archive-upload@v1, with: {{targets: {self.here}, pth: {self.srv}, source: .}}}}
            - {{name: none, if: always(), uses: {OWN}/no-such-step@v1}}
        ''')
        self.assertEqual(run.conclusions()["upload"], "failure")
        self.assertIn("pth", run.log("upload"))
        self.assertIn("path", run.log("upload"))
        self.assertEqual(run.conclusions()["none"], "failure")
        self.assertIn("no-such-step", run.log("none"))

    def test_a_cancelled_step_undoes_and_the_deployment_with_it(self):
        mark = os.path.join(self.house.folder, "mark")
        worker = self.house.start(self.upload(f'''
            - uses: {OWN}/run@v1
              name: waits
              with: {{targets: {self.here}, command: "echo x > {mark}; sleep 3000", undo: "echo undone > {mark}.undone"}}
            - {{name: always, if: always(), run: "ls {self.srv}"}}
        '''))
        until("the step", lambda: os.path.exists(mark), 30)
        before = time.monotonic()
        worker.cancel(300)
        run = self.house.finish(worker)
        self.assertLess(time.monotonic() - before, 20)
        self.assertEqual((run.status, run.conclusion), (103, "cancelled"), run.log("waits"))
        self.assertEqual(run.conclusions()["waits"], "cancelled")
        self.assertTrue(os.path.exists(mark + ".undone"), run.log("waits"))
        self.assertFalse(os.path.lexists(f"{self.srv}/current"), run.log("Decide the deployment"))
        self.assertIn("current", run.lines("always"))

    def test_a_step_before_it_cannot_reach_into_a_typed_step(self):
        """LD_PRELOAD and its like by GITHUB_ENV, a program of its own by GITHUB_PATH: read by davit-step's loader, curl or itself."""
        source, spy, stolen = (os.path.join(self.house.folder, name) for name in ("spy.c", "spy.so", "stolen"))
        with open(source, "w", encoding="ascii") as f:
            f.write("#include <stdio.h>\n#include <string.h>\n#include <errno.h>\n"
                    "__attribute__((constructor)) static void spy(void) { if (!strstr(program_invocation_name, \"davit-step\")) return;"
                    f" FILE *f = fopen(\"{stolen}\", \"a\"); fputs(program_invocation_name, f); fclose(f); }}\n")
        subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", spy, source], check=True)
        run = self.house.run(f'''
            - run: |
                for pair in LD_PRELOAD={spy} SSL_CERT_FILE=/nowhere https_proxy=http://127.0.0.1:9 DAVIT_TRACE=all OPEN=seen; do echo "$pair" >> "$GITHUB_ENV"; done
                mkdir bin; printf '#!/bin/sh\\necho ran > {stolen}\\n' > bin/sh; chmod +x bin/sh; echo "$PWD/bin" >> "$GITHUB_PATH"
            - uses: {OWN}/run@v1
              name: typed
              with: {{targets: {self.here}, script: 'env | sort; echo "value ${{{{ env.OPEN }}}}"', env: "K: ${{{{ secrets.KEY }}}}", undo: none}}
        ''')
        text = "\n".join(run.lines("typed"))
        self.assertFalse(os.path.exists(stolen), text)
        self.assertIn("value seen", text)
        for name in ("LD_PRELOAD", "SSL_CERT_FILE", "https_proxy", "DAVIT_TRACE"):
            self.assertNotIn(name + "=", text.split("##[endgroup]", 1)[-1])

    def test_a_target_does_not_command_the_runner(self):
        evil = r"printf '::set-output name=x::evil\\n  ::set-output name=x::evil\\na ##[set-output name=x]evil\\n::add-path::/evil\\n::error::evil\\n'"
        run = self.house.run(f"""
            - uses: {OWN}/run@v1
              id: there
              name: there
              with: {{targets: {self.here}, command: {json.dumps(evil)}}}
            - {{name: looks, run: "echo \\"[${{{{ steps.there.outputs.x }}}}] $PATH\\""}}
        """)
        self.assertEqual(run.conclusion, "success", run.shown)
        self.assertIn("a ##[set-output name=x]evil", repr(run.log("there")))
        looks = [line for line in run.lines("looks") if line.startswith("[]")]
        self.assertEqual(len(looks), 1, run.lines("looks"))
        self.assertNotIn("/evil", looks[0])
        self.assertEqual([a for a in run.annotations("there") if a["level"] == "failure"], [])

    def test_nothing_secret_lies_open_beside_a_step(self):
        mark = os.path.join(self.house.folder, "mark")
        worker = self.house.start(f'''
            - uses: {OWN}/run@v1
              name: waits
              env: {{OPEN: visible, HIDDEN: "${{{{ secrets.KEY }}}}"}}
              with: {{targets: {self.here}, command: 'test "$K" = s3cr3t-value && echo $PPID > {mark}; sleep 2', env: "K: ${{{{ secrets.KEY }}}}", undo: none}}
        '''.replace("= s3cr3t-value", "!= x"))
        until("the step", lambda: os.path.exists(mark) and os.path.getsize(mark), 30)
        found = False
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    line = file.read()
                with open(f"/proc/{pid}/environ", "rb") as file:
                    env = file.read()
            except OSError:
                continue
            self.assertNotIn(b"s3cr3t-value", line)
            if b"davit-step\0step\0run" in line:
                found = True
                self.assertNotIn(b"s3cr3t-value", env)
                self.assertNotIn(b"OPEN=", env)
                self.assertNotIn(b"HIDDEN=", env)
                self.assertIn(f"DAVIT_STATE={self.house.state}".encode(), env)
        self.assertTrue(found)
        self.house.finish(worker)

    def test_the_deployment_has_the_environment_of_its_job_and_all_steps_share_it(self):
        for job, environment in (("environment: Production EU", "production-eu"), ("environment: {name: staging}", "staging"), ("", "default")):
            run = self.house.run(f"""
                - uses: {OWN}/run@v1
                  with: {{targets: {self.here}, command: "true", undo: none}}
                - uses: {OWN}/secret-write@v1
                  with: {{targets: {self.here}, path: {self.srv}.env, values: "KEY: ${{{{ secrets.KEY }}}}"}}
            """, job=job)
            self.assertEqual(run.conclusion, "success", run.shown)
            with sqlite3.connect(os.path.join(self.house.state, "journal.db")) as db:
                self.assertIn(environment, repr(db.execute("select * from deployment order by rowid desc limit 1").fetchall()))
                self.assertEqual(len(set(self.states())), 1)

    def test_the_root_action_carries_out_a_deployment_file(self):
        deploy = f"""name: shop
environment: production
targets: {{web: {{local: {{}}, base: {self.house.folder}/base}}}}
steps:
  - archive-upload: {{target: web, source: app, path: {self.srv}}}
  - secret-write: {{target: web, path: {self.srv}/env, values: {{KEY: "${{{{ secrets.KEY }}}}", WHO: "${{{{ inputs.who }}}}"}}}}
  - run: {{target: web, command: "test -e {self.srv}/current/a.txt", undo: none}}
"""
        files = {"deploy.yml": deploy, "app/a.txt": "hello\n"}
        steps = f'''
            - uses: {OWN}/checkout@v1
            - uses: davit-deploy/davit@v1
              name: deploys
              id: d
              with: {{file: deploy.yml, secrets: "${{{{ toJSON(secrets) }}}}", inputs: "who: octo"}}
        '''
        run = self.house.run(steps, files=files)
        self.assertEqual(run.conclusion, "success", run.log("deploys"))
        with open(f"{self.srv}/env") as file:
            self.assertEqual(sorted(file.read().split()), ["KEY=s3cr3t-value", "WHO=octo"])
        self.assertNotIn("s3cr3t-value", repr(run.shown))
        self.assertNotIn("Decide the deployment", run.conclusions())
        broken = self.house.run(steps, files={"deploy.yml": deploy.replace("current/a.txt", "current/none"), "app/a.txt": "new\n"})
        self.assertEqual(broken.conclusion, "failure")
        with open(f"{self.srv}/current/a.txt") as file:
            self.assertEqual(file.read(), "hello\n")

    def outlived(self, script):
        """A job that is cancelled while its undo goes on: its annotations. The script runs between the two."""
        mark = os.path.join(self.house.folder, "mark")
        worker = self.house.start(f'''
            - uses: {OWN}/run@v1
              name: slow undo
              with: {{targets: {self.here}, command: echo, undo: "echo $$ > {mark}.new; mv {mark}.new {mark}; exec sleep 3000"}}
            - {{name: waits, run: "{script} echo x > {mark}.waits; sleep 3000"}}
        ''')
        until("the step", lambda: os.path.exists(mark + ".waits"), 30)
        worker.cancel(18)
        before = time.monotonic()
        run = self.house.finish(worker)
        self.assertLess(time.monotonic() - before, 17)
        self.assertEqual((run.status, run.conclusion), (103, "cancelled"))
        with open(mark, encoding="ascii") as file:
            self.addCleanup(os.kill, int(file.read()), signal.SIGKILL)
        self.assertEqual(run.step("Decide the deployment")["conclusion"], "cancelled")
        self.assertIn("undoing", self.states())
        return json.dumps(run.job["annotations"])

    def test_an_undo_that_outlives_the_job_is_said(self):
        self.assertRegex(self.outlived(""), r"undo continues as \d{8}T\d{6}-[0-9a-f]+")

    def test_what_a_job_writes_over_the_id_of_its_deployment_is_shown_to_nobody(self):
        notes = self.outlived("echo '::error::shown' > $RUNNER_TEMP/davit/deployment;")
        self.assertRegex(notes, "undo continues as the deployment of this job")
        self.assertNotIn("shown", notes)


if __name__ == "__main__":
    unittest.main(verbosity=2)
