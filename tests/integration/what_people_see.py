#!/usr/bin/env python3
"""What a person at a terminal, or a log, is told while a deployment works: recovery, targets out of reach, what goes on, what was not undone."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import DAVIT, Case, Trial, main  # noqa: E402
from servers.sshd import Sshd  # noqa: E402


class Screen:
    """davit with its standard error, or all of it, on a terminal."""

    def __init__(self, trial, *args, **env):
        self.text = b""
        self.master, slave = pty.openpty()
        whole = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_")) and k != "NO_COLOR"}
        self.process = subprocess.Popen([DAVIT, *args], cwd=trial.src, env={**whole, "DAVIT_STATE": trial.state, "TERM": "xterm", **env}, stdin=subprocess.DEVNULL,
                                        stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)

    def read(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            more = os.read(self.master, 65536)
        except OSError:
            more = b""
        self.text += more
        return bool(more)

    def until(self, pattern, seconds=60):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert time.monotonic() < end, f"{pattern} was not shown: {self.text!r}"
            self.read(0.1)

    def end(self):
        while self.read(60):
            pass
        os.close(self.master)
        return self.process.wait(60)

    def left(self):
        """The lines that stay: what was taken back is gone."""
        return [line.split("\r\x1b[K")[-1] for line in self.text.decode().replace("\r\n", "\n").split("\n")]


class People(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        os.mkdir(os.path.join(self.t.src, "site"))
        with open(os.path.join(self.t.src, "site", "index.html"), "w", encoding="ascii") as f:
            f.write("one")

    def write(self, *steps, **more):
        document = {"name": "shop", "environment": "test", "targets": {"web": {"local": {}, "base": self.t.base}}, "steps": list(steps), **more}
        with open(os.path.join(self.t.src, "deploy.yml"), "w", encoding="utf-8") as f:
            json.dump(document, f)

    def upload(self):
        return {"archive-upload": {"source": "site", "path": self.t.path("app")}}

    def waits(self, name, undo="none"):
        """A command that has begun when NAME is there, and ends once NAME.go is."""
        path = self.t.path(name)
        return {"run": {"script": f"touch {path}; while ! test -e {path}.go; do sleep 0.05; done", "undo": undo}}

    def until_there(self, name):
        end = time.monotonic() + 60
        while not os.path.exists(self.t.path(name)):
            assert time.monotonic() < end, name
            time.sleep(0.02)

    def start(self, *args):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "DAVIT_"))}
        return subprocess.Popen([DAVIT, *args], cwd=self.t.src, env={**env, "DAVIT_STATE": self.t.state}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def test_a_recovery_before_a_deployment_has_a_heading_and_an_end(self):
        self.write(self.upload(), self.waits("begun"))
        dead = self.start("deploy", "deploy.yml")
        self.until_there("begun")
        dead.send_signal(signal.SIGKILL)
        dead.communicate()
        self.write(self.upload())
        result = self.t.run("deploy", "deploy.yml")
        self.assert_exit(result, 0)
        old, new = [d["id"] for d in reversed(json.loads(self.t.run("history", "--json").out))]
        lines = result.out.splitlines()
        heading = lines.index(f"Recovery of {old}: the process that deployed it is gone")
        [end] = [i for i, line in enumerate(lines) if line.startswith(f"  {old} undone: ")]
        self.assertLess(heading, end)
        self.assertLess(end, lines.index("archive-upload"))
        self.assertEqual(len([line for line in lines if line.startswith(f"  {new} committed: ")]), 1)
        self.assertEqual(len(set(lines)), len(lines), "nothing is printed twice")
        again = self.t.run("deploy", "deploy.yml")
        self.assert_silent(again, "Recovery")

    def test_what_had_nothing_to_undo_is_not_called_undone(self):
        conf = self.t.write("app.conf", b"old\n")
        self.write({"apply": {"resources": [{"file": {"path": conf, "content": "new\n"}}]}}, {"run": {"command": ["true"], "undo": "none"}},
                   {"run": {"command": ["sh", "-c", f"printf 'old\\n' > {conf}; exit 1"], "undo": "none"}})
        result = self.t.run("deploy", "deploy.yml")
        self.assertIn(result.code, (1, 4), repr(result))
        self.assertRegex(result.text, r"nothing to undo: web:true.*: it needs no undo")
        self.assert_silent(result, "  undone: web:true")
        shown = self.t.run("show", "last")
        self.assertRegex(shown.out, r"true.*\[nothing to undo\] it needs no undo")

    def test_a_target_out_of_reach_is_said_once_and_so_is_its_return(self):
        with Sshd() as server:
            target = server.target(base=self.t.base)
            self.write(self.waits("begun", undo=f"touch {self.t.path('taken-back')}"), {"run": {"command": ["false"], "undo": "none"}}, targets={"web": target})
            deploy = self.start("deploy", "deploy.yml")
            self.until_there("begun")
            server.stop()
            said = ""
            while "is out of reach" not in said:
                said += deploy.stdout.readline()
                self.assertIsNone(deploy.poll(), said)
            server.start()
            with open(self.t.path("begun.go"), "w", encoding="ascii"):
                pass
            said += deploy.communicate(timeout=120)[0]
        self.assertRegex(said, r"warning: 'web' is out of reach: .*; it is tried until \d\d:\d\d:\d\d UTC, for ")
        self.assertEqual(said.count("is out of reach"), said.count("answers again after"), said)
        self.assertTrue(os.path.exists(self.t.path("taken-back")), said)

    def test_a_long_command_has_a_live_line_on_a_terminal_and_leaves_none(self):
        self.write({**self.waits("begun"), "name": "restart"})
        screen = Screen(self.t, "deploy", "deploy.yml")
        screen.until(rb"  restart: \d+ s\r\x1b\[K  restart: \d+ s")
        with open(self.t.path("begun.go"), "w", encoding="ascii"):
            pass
        self.assertEqual(screen.end(), 0)
        self.assertEqual([line for line in screen.left() if "restart: " in line], [])
        self.assertEqual(len([line for line in screen.left() if "committed: 1 change" in line]), 1)

    def test_a_dumb_terminal_a_pipe_and_a_workflow_get_plain_lines(self):
        self.write({**self.waits("begun"), "name": "restart"})
        for env in ({"TERM": "dumb"}, {"GITHUB_ACTIONS": "true"}):
            for name in ("begun", "begun.go"):
                if os.path.exists(self.t.path(name)):
                    os.unlink(self.t.path(name))
            screen = Screen(self.t, "deploy", "deploy.yml", **env)
            self.until_there("begun")
            begun = time.monotonic()
            while time.monotonic() < begun + 2.5:
                screen.read(0.1)
            with open(self.t.path("begun.go"), "w", encoding="ascii"):
                pass
            self.assertEqual(screen.end(), 0)
            self.assertNotIn(b"\x1b[K", screen.text)
            self.assertNotIn(b"restart: ", screen.text)

    def test_an_upload_has_one_live_line_cut_to_the_terminal(self):
        with open(os.path.join(self.t.src, "site", "large"), "wb") as f:
            for _ in range(48):
                f.write(os.urandom(1 << 20))
        self.write({**self.upload(), "name": "release " + "x" * 100})
        screen = Screen(self.t, "deploy", "deploy.yml")
        self.assertEqual(screen.end(), 0)
        live = [line for line in screen.text.decode().split("\r\x1b[K") if line.startswith("  release x") and "\n" not in line]
        for line in live:
            self.assertLessEqual(len(line), 79)
        self.assertEqual([line for line in screen.left() if " left" in line], [], "progress does not stay")
        self.assertEqual(len([line for line in screen.left() if line.strip().startswith("sent ")]), 1)


if __name__ == "__main__":
    main()
