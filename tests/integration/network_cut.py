#!/usr/bin/env python3
"""The network between davit and a target is cut, by the link of a namespace that is set down: no packet arrives, no connection is closed. In the middle
of `up` of a stack, of a dump and of a restore; for good, for a while, and with davit killed meanwhile."""
import json
import os
import shutil
import signal
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness.trial  # noqa: E402
from harness.lanes import Lanes  # noqa: E402
from harness.stack import StackCase, service, until  # noqa: E402
from harness.trial import Case, Trial  # noqa: E402
from harness.waiting import alive  # noqa: E402
from servers.network import Network  # noqa: E402
from servers.sshd import Sshd  # noqa: E402


class Cut:
    """A target behind a link. What stands still there says `begun`, and goes on once `hold` is gone."""

    def __init__(self, t):
        self.folder = tempfile.mkdtemp(prefix="davit-cut-")
        os.chmod(self.folder, 0o755)
        self.hold, self.begun, self.done = (os.path.join(self.folder, name) for name in ("hold", "begun", "done"))
        self.t, self.network = t, Network()

    def __enter__(self):
        self.network.__enter__()
        self.server = Sshd(network=self.network, options=[f"SetEnv SHLVL=9 PATH={self.folder}/programs:{os.environ['PATH']}"])
        self.server.start()
        open(self.hold, "w").close()
        return self

    def __exit__(self, *_):
        self.go_on()
        self.network.up()
        self.server.close()
        self.network.close()
        shutil.rmtree(self.folder)

    def script(self):
        """Once: what is done again goes on at once."""
        return (f"test -e {self.begun} || {{ echo $$ > {self.begun}.new; mv {self.begun}.new {self.begun}; "
                f"while test -e {self.hold}; do sleep 0.05; done; touch {self.done}; }}")

    def stands_still(self, program, words, behind=False):
        """That program does so for these words, before its work or behind it."""
        os.mkdir(self.folder + "/programs")
        path = os.path.join(self.folder, "programs", program)
        still, work = f'case "$*" in {words}) {self.script()} ;; esac', f'{shutil.which(program)} "$@" || exit'
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(("#!/bin/sh", *((work, still) if behind else (still, work)), "")))
        os.chmod(path, 0o755)

    def go_on(self):
        if os.path.exists(self.hold):
            os.remove(self.hold)

    def command(self):
        with open(self.begun, encoding="ascii") as f:
            return int(f.read())

    def has_ended(self):
        return not alive(self.command())


class Common:
    def begin(self, t, cut, *steps, **more):
        """Deployed as far as the step that stands still; its output goes to a file."""
        document = {"name": "shop", "environment": "test", **more, "targets": {"web": cut.server.target(base=t.base)}, "steps": list(steps)}
        with open(os.path.join(t.src, "deploy.yml"), "w", encoding="utf-8") as f:
            json.dump(document, f)
        process = t.start("deploy", "deploy.yml", log=os.path.join(cut.folder, "log"))
        until(lambda: os.path.exists(cut.begun) or process.poll() is not None, "the step")
        self.assertIsNone(process.poll(), self.said(cut))
        return process

    def said(self, cut):
        with open(os.path.join(cut.folder, "log"), encoding="utf-8") as f:
            return f.read()

    def assert_decided(self, t, state):
        self.assertEqual(json.loads(t.run("history", "--json").out)[0]["state"], state)
        opened = os.path.join(t.base, "open")
        self.assertEqual(os.listdir(opened) if os.path.isdir(opened) else [], [])


class Files(Common, Case):
    def setUp(self):
        why = Network.why_not()
        if why:
            self.skipTest(why)
        self.t = Trial()
        self.addCleanup(self.t.__exit__)
        self.cut = Cut(self.t).__enter__()
        self.addCleanup(self.cut.__exit__)
        self.t.write("data", b"old")
        self.data = {"name": "data", "dump": ["cat", self.t.path("data")], "restore": ["sh", "-c", f"cat > {self.t.path('data')}"]}

    def slow(self, word):
        """The source, whose dump or restore stands still in its middle."""
        whole = {"dump": f"cat {self.t.path('data')}", "restore": f"head -c 1 > {self.t.path('data')}; rest=$(cat); printf %s \"$rest\" >> {self.t.path('data')}"}
        middle = {"dump": f"{self.cut.script()}; {whole['dump']}", "restore": whole["restore"].replace("; rest", f"; {self.cut.script()}; rest", 1)}
        return {**self.data, word: ["sh", "-c", middle[word]]}

    def change(self):
        return {"apply": {"resources": [{"file": {"path": self.t.path("conf"), "content": "new\n"}}]}}

    def keep(self):
        self.assert_exit(self.t.deploy({"targets": {"web": self.cut.server.target()}, "steps": [{"snapshot": {"command": self.data}}]}), 0)
        self.t.write("data", b"newer")

    def test_a_cut_that_ends_while_the_connection_lives_costs_nothing_but_time(self):
        self.keep()
        process = self.begin(self.t, self.cut, self.change(), {"restore": {"command": self.slow("restore")}})
        self.cut.network.down()
        self.cut.go_on()
        until(lambda: os.path.exists(self.cut.done), "the end of the restore, of which nobody hears")
        self.assertIsNone(process.poll())
        self.cut.network.up()
        self.assertEqual(process.wait(120), 0, self.said(self.cut))
        self.assertEqual((self.t.read("data"), self.t.read("conf")), (b"old", b"new\n"))
        self.assert_decided(self.t, "committed")

    def test_a_restore_in_whose_middle_the_link_is_cut_is_made_anew_once_it_is_back(self):
        self.keep()
        process = self.begin(self.t, self.cut, self.change(), {"restore": {"command": self.slow("restore")}})
        self.cut.network.down()
        until(lambda: "is out of reach" in self.said(self.cut) or process.poll() is not None, "a word of it", 240)
        self.assertIsNone(process.poll(), self.said(self.cut))
        self.assertFalse(self.cut.has_ended(), "nothing can have ended it yet")
        self.assertEqual(self.t.read("data"), b"o")
        self.cut.network.up()
        self.assertEqual(process.wait(240), 0, self.said(self.cut))
        until(self.cut.has_ended, "the end of what was in its middle")
        self.assertFalse(os.path.exists(self.cut.done), "what was in its middle is fenced off")
        self.assertEqual((self.t.read("data"), self.t.read("conf")), (b"old", b"new\n"))
        self.assert_decided(self.t, "committed")

    def test_killed_while_the_link_is_down_it_waits_for_it_and_is_recovered_once_it_is_back(self):
        process = self.begin(self.t, self.cut, self.change(), {"snapshot": {"command": self.slow("dump")}})
        self.cut.network.down()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        away = self.t.run("recover")
        self.assert_exit(away, 4)
        self.assert_says(away, "connect")
        self.assertEqual(self.t.read("conf"), b"new\n")
        self.cut.network.up()
        self.assert_exit(self.t.run("recover"), 0)
        until(self.cut.has_ended, "the end of what was in its middle")
        self.assertFalse(os.path.exists(self.t.path("conf")))
        self.assert_decided(self.t, "undone")
        self.assertFalse(os.path.exists(os.path.join(self.t.base, "snapshots")))


class Stacks(Common, StackCase):
    def setUp(self):
        why = Network.why_not()
        if why:
            self.skipTest(why)

    def test_a_cut_behind_the_last_container_does_not_make_the_rest_of_the_step_superfluous(self):
        with self.stack() as s, Cut(s) as cut:
            s.compose({"services": {"web": service()}})
            self.assert_exit(s.up(target=cut.server.target()), 0)
            s.compose({"services": {"web": service("2")}})
            cut.stands_still("docker", "*' up '*", behind=True)
            process = self.begin(s, cut, s.step())
            cut.network.down()
            until(lambda: "is out of reach" in self.said(cut) or process.poll() is not None, "a word of it", 240)
            self.assertIsNone(process.poll(), self.said(cut))
            cut.network.up()
            self.assertEqual(process.wait(240), 0, self.said(cut))
            self.assertFalse(os.path.exists(cut.done))
            current = os.readlink(os.path.join(s.base, "compose", s.project, "current"))
            self.assertEqual(current, s.last()["id"] + ".json")
            self.assertIn("VERSION=2", s.containers()["web"][0]["Config"]["Env"])
            self.assert_exit(s.run("rollback", s.last()["id"], "--file", "deploy.yml", timeout=240), 0)
            self.assertIn("VERSION=1", s.containers()["web"][0]["Config"]["Env"])

    def test_a_cut_in_the_middle_of_up_that_outlasts_the_undo_is_held_and_a_rollback_goes_on_once_the_link_is_back(self):
        with self.stack() as s, Cut(s) as cut:
            s.compose({"services": {"web": service(), "gone": service()}})
            self.assert_exit(s.up(target=cut.server.target()), 0)
            before, kept, images = s.facts(), s.kept(), s.kept_images()
            s.compose({"services": {"web": service("2"), "added": service("3")}})
            cut.stands_still("docker", "*' up '*")
            process = self.begin(s, cut, s.step(), undo_deadline="1s")
            cut.network.down()
            self.assertEqual(process.wait(300), 4, self.said(cut))
            self.assertEqual(s.last()["state"], "held")
            self.assertIn(f"davit rollback {s.last()['id']}", self.said(cut))
            self.assertFalse(cut.has_ended(), "nothing can have ended it yet")
            cut.network.up()
            self.assert_exit(s.run("rollback", s.last()["id"], timeout=240), 0)
            until(cut.has_ended, "the end of what was in its middle")
            self.assertFalse(os.path.exists(cut.done))
            self.assertEqual((s.facts(), s.kept(), s.kept_images()), (before, kept, images))
            self.assert_decided(s, "undone")


if __name__ == "__main__":
    harness.trial.main(Lanes(5))
