#!/usr/bin/env python3
"""R2: a rollback that failed half way left no trace of what was undone."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import DAVIT, Case, Trial, main  # noqa: E402
from harness.waiting import until  # noqa: E402


class HalfARollback(Case):
    """Three files and three commands, whose undo is counted, and fails or stands still where a file says so."""

    def held(self, t):
        for name in "abc":
            t.write(f"{name}.conf", b"old\n")
        steps = []
        for name in "abc":
            steps.append({"apply": {"resources": [{"file": {"path": t.path(name + ".conf"), "content": "new\n", "mode": "0644"}}]}})
            steps.append({"run": {"command": ["true"], "undo": ["sh", "-c",
                f"while test -e {t.path(name + '.wait')}; do touch {t.path(name + '.waits')}; sleep 0.05; done; "
                f"test ! -e {t.path(name + '.breaks')} || exit 7; echo {name} >> {t.path('undone')}"]}})
        steps.append({"run": {"command": ["false"], "undo": "none"}})
        result = t.deploy({"on_failure": "hold", "targets": {"web": {"local": {}}}, "steps": steps})
        self.assert_exit(result, 4)
        return json.loads(t.run("history", "--json").out)[0]["id"]

    def contents(self, t):
        return [t.read(name + ".conf") for name in "abc"]

    def undone(self, t):
        return t.read("undone").decode().split() if os.path.exists(t.path("undone")) else []

    def states(self, t, deployment):
        """The states of the three files' changes and of the three commands' that have an undo."""
        changes = json.loads(t.run("show", deployment, "--json").out)["changes"]
        return [c["state"] for c in changes if c["kind"] != "command"], [c["state"] for c in changes if c["kind"] == "command"][:3]

    def kill_a_rollback(self, t, deployment):
        """In the middle: c is undone, the undo of b's command stands still, a is to come."""
        t.write("b.wait", b"")
        process = subprocess.Popen([DAVIT, "rollback", deployment], env=dict(os.environ, DAVIT_STATE=t.state), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: os.path.exists(t.path("b.waits")) or process.poll() is not None, "the second step")
        self.assertIsNone(process.poll(), "it stands in the second command's undo")
        process.kill()
        process.wait()

    def whole_again(self, t, deployment, result):
        self.assert_exit(result, 0)
        self.assertEqual(self.contents(t), [b"old\n"] * 3)
        self.assertEqual(self.states(t, deployment)[0], ["undone"] * 3)
        history = json.loads(t.run("history", "--json").out)
        self.assertEqual([d["state"] for d in history if d["id"] == deployment], ["undone"])
        self.assertEqual(os.listdir(os.path.join(t.base, "open")) if os.path.isdir(os.path.join(t.base, "open")) else [], [])


class R2(HalfARollback):
    def test_what_was_undone_and_what_was_not_is_recorded_and_the_next_rollback_does_the_rest_only(self):
        with Trial() as t:
            deployment = self.held(t)
            t.write("b.breaks", b"")
            first = t.run("rollback", deployment)
            self.assert_exit(first, 4)
            self.assertEqual(self.undone(t), ["c", "a"], "one that fails does not stop the rest")
            files, commands = self.states(t, deployment)
            self.assertEqual(files, ["undone"] * 3)
            self.assertEqual(commands, ["undone", "conflict", "undone"])
            shown = t.run("show", deployment)
            self.assert_says(shown, "held")
            self.assert_says(first, "7", "davit rollback " + deployment)
            os.remove(t.path("b.breaks"))
            second = t.run("rollback", deployment)
            self.whole_again(t, deployment, second)
            self.assertEqual(self.undone(t), ["c", "a", "b"], "what was undone is not undone again")

    def test_a_rollback_killed_half_way_is_continued_where_it_stopped(self):
        with Trial() as t:
            deployment = self.held(t)
            self.kill_a_rollback(t, deployment)
            files, commands = self.states(t, deployment)
            self.assertEqual(files[2], "undone", "what was undone before is recorded")
            self.assertEqual(commands[2], "undone")
            self.assertNotEqual(commands[0], "undone")
            os.remove(t.path("b.wait"))
            self.whole_again(t, deployment, t.run("rollback", deployment))
            self.assertEqual(self.undone(t)[0], "c")
            self.assertEqual(self.undone(t).count("c"), 1, "what was recorded as undone is not undone again")
            self.assertEqual(self.undone(t).count("a"), 1)
            self.assertEqual(self.states(t, deployment)[1], ["undone"] * 3)

    def test_recover_continues_it_too(self):
        with Trial() as t:
            deployment = self.held(t)
            self.kill_a_rollback(t, deployment)
            os.remove(t.path("b.wait"))
            self.whole_again(t, deployment, t.run("recover"))
            self.assertEqual(self.undone(t).count("c"), 1)

    def test_a_third_rollback_has_nothing_left_to_do(self):
        with Trial() as t:
            deployment = self.held(t)
            self.whole_again(t, deployment, t.run("rollback", deployment))
            self.assertEqual(self.undone(t), ["c", "b", "a"])
            self.whole_again(t, deployment, t.run("rollback", deployment))
            self.assertEqual(self.undone(t), ["c", "b", "a"])


class R2WithData(HalfARollback):
    """Rows that a program of one's own puts back; it stands still, half done, where a file says so."""

    def two(self, t):
        wait = f"while test -e {t.path('wait')}; do touch {t.path('waits')}; sleep 0.05; done"
        keep = {"snapshot": {"command": {"name": "rows", "dump": ["cat", t.path("rows")],
                                         "restore": f"echo half > {t.path('rows')}; {wait}; cat > {t.path('rows')}"}}}
        t.write("rows", b"old\n")
        for version in ("1", "2"):
            os.makedirs(os.path.join(t.src, "app"), exist_ok=True)
            with open(os.path.join(t.src, "app", "VERSION"), "w", encoding="ascii") as f:
                f.write(version)
            migrate = {"run": {"script": f"test {version} = 1 || echo new > {t.path('rows')}", "undo": "none"}}
            self.assert_exit(t.deploy({"targets": {"web": {"local": {}}}, "steps": [
                keep, {"archive-upload": {"source": "app", "path": t.path("www")}}, migrate]}), 0)
        return json.loads(t.run("history", "--json").out)[0]["id"]

    def there(self, t):
        return t.read("rows"), t.read("www/current/VERSION")

    def kill_it(self, t, deployment):
        t.write("wait", b"")
        process = subprocess.Popen([DAVIT, "rollback", deployment, "--data"], env=dict(os.environ, DAVIT_STATE=t.state),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: os.path.exists(t.path("waits")) or process.poll() is not None, "the rows' way back")
        self.assertIsNone(process.poll(), "it stands in the middle of putting the rows back")
        process.kill()
        process.wait()
        self.assertEqual(self.there(t), (b"half\n", b"1"))

    def test_data_that_was_half_put_back_is_the_newer_again_and_recorded_and_the_next_rollback_ends(self):
        with Trial() as t:
            deployment = self.two(t)
            self.kill_it(t, deployment)
            (rollback,) = [d["id"] for d in json.loads(t.run("history", "--json").out) if d["state"] == "open"]
            os.remove(t.path("wait"))
            self.assert_exit(t.run("recover"), 0)
            self.assertEqual(self.there(t), (b"new\n", b"2"))
            changes = json.loads(t.run("show", rollback, "--json").out)["changes"]
            self.assertEqual([c["state"] for c in changes], ["undone"] * 3)
            self.assert_exit(t.run("rollback", deployment, "--data"), 0)
            self.assertEqual(self.there(t), (b"old\n", b"1"))

    def test_a_rollback_without_a_name_takes_the_dead_one_back(self):
        with Trial() as t:
            self.kill_it(t, self.two(t))
            os.remove(t.path("wait"))
            self.assert_exit(t.run("rollback"), 0)
            self.assertEqual(self.there(t), (b"new\n", b"2"))


if __name__ == "__main__":
    main()
