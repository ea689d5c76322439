#!/usr/bin/env python3
"""A target goes back by itself when the machine that deploys is not heard any more (undo_alone): the runner killed, the runner asleep, a
network that the deployment cut, a decision that cannot reach everybody. The watch runs as the target's own sh; no test waits for a time,
each waits for what must happen."""
import json
import os
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import DAVIT, Case, Trial, main  # noqa: E402
from harness.waiting import until  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

ODD = "it's -a \"$(touch no)\" new\nline \\ end"


class GoesBackAlone(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        self.lock_dir = os.path.join(self.t.base, "open", "shop.test")
        self.server = None

    def target(self):
        return {"local": {}}

    def said(self):
        try:
            with open(os.path.join(self.lock_dir, "alone", "said"), encoding="ascii") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def document(self, *more, **heads):
        """Files, a link, a directory, a secret and a service that says which file it read; then it waits until `go-on` is there."""
        t = self.t
        wait = f"touch {t.path('begun')}; while [ ! -e {t.path('go-on')} ]; do sleep 0.02; done"
        serve = ["sh", "-c", f"cat {t.path('conf')} >{t.path('serving')}"]
        return {"name": "shop", "environment": "test", "undo_alone": "10s", "targets": {"web": {**self.target(), "base": t.base}}, "steps": [
            {"apply": {"resources": [
                {"file": {"path": t.path("conf"), "content": "new", "mode": "0640"}},
                {"file": {"path": t.path(ODD), "content": "new"}},
                {"directory": {"path": t.path("made"), "mode": "0700"}},
                {"directory": {"path": t.path("dir"), "mode": "0711"}},
                {"link": {"path": t.path("link"), "to": "conf"}},
                {"link": {"path": t.path("other"), "to": "conf"}}]}},
            {"secret-write": {"path": t.path("env"), "values": {"KEY": "${{ secrets.KEY }}"}, "keys": ["KEY"]}},
            {"run": {"command": ["touch", t.path("commanded")], "undo": ["rm", t.path("commanded")]}},
            {"run": {"command": serve, "after_undo": serve}},
            *more,
            {"run": {"command": ["sh", "-c", wait], "undo": "none", "timeout": "5m"}}], **heads}

    def lay(self, *more, **heads):
        t = self.t
        t.write("conf", b"old", 0o604)
        t.write(ODD, b"old")
        t.write("env", b"KEY=former\n", 0o600)
        t.write("serving", b"old")
        os.mkdir(t.path("dir"), 0o750)
        os.symlink("nowhere", t.path("link"))
        document = self.document(*more, **heads)
        with open(os.path.join(t.src, "deploy.yml"), "w", encoding="utf-8") as f:
            json.dump(document, f)

    def world(self):
        """What lies on the target, without the marks of the test."""
        seen = {}
        for name in sorted(os.listdir(self.t.target_dir)):
            path = self.t.path(name)
            if name in ("begun", "go-on"):
                continue
            mode = oct(os.lstat(path).st_mode)
            seen[name] = (mode, os.readlink(path) if os.path.islink(path) else self.t.read(name) if os.path.isfile(path) else None)
        return seen

    def start(self, *words, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_"))}
        davit = subprocess.Popen([DAVIT, *words], cwd=self.t.src, env={**env, "DAVIT_STATE": self.t.state, "KEY": "rather-secret", **more},
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.addCleanup(lambda: (davit.poll() is None and os.killpg(davit.pid, signal.SIGKILL), davit.wait(), davit.stdout.close()))
        return davit

    def begun(self, **more):
        davit = self.start("deploy", "deploy.yml", "--secret", "KEY", **more)
        until(lambda: os.path.exists(self.t.path("begun")) or davit.poll() is not None, "the deployment's last step")
        self.assertIsNone(davit.poll(), davit.stdout.read() if davit.poll() is not None else "")
        return davit

    def killed(self):
        davit = self.begun()
        os.killpg(davit.pid, signal.SIGKILL)
        davit.wait()

    def gone_back(self):
        until(lambda: "ended" in self.said(), "that the target goes back")

    def recovered(self, code=0):
        result = self.t.run("recover")
        self.assert_exit(result, code)
        self.assert_says(result, "'web' went back by itself at ")
        return result

    def last(self):
        return json.loads(self.t.run("history", "--json").out)[0]

    def test_the_runner_is_killed_and_everything_is_as_before_without_it(self):
        self.lay()
        before = self.world()
        self.killed()
        self.assertNotEqual(self.world(), before)
        self.gone_back()
        after = self.world()
        self.assertEqual(after.pop("serving"), (before["serving"][0], b"old"))
        before.pop("serving")
        self.assertEqual(after, before)
        self.assertNotIn("left", self.said())
        self.assertFalse(os.path.exists(self.t.path("no")))
        result = self.recovered()
        self.assert_says(result, "since nothing was heard from ")
        last = self.last()
        self.assertEqual((last["state"], last["exit_status"]), ("undone", 1))
        self.assertIn("went back by itself", last["reason"])
        self.assertFalse(os.path.exists(self.t.base), "davit's own directory is left")

    def test_nothing_secret_lies_in_what_a_target_keeps_for_itself(self):
        self.lay()
        davit = self.begun()
        found = subprocess.run(["grep", "-rl", "rather-secret", os.path.join(self.lock_dir, "alone")], capture_output=True, check=False)
        self.assertEqual(found.stdout, b"")
        for name in os.listdir(os.path.join(self.lock_dir, "alone")):
            self.assertEqual(os.stat(os.path.join(self.lock_dir, "alone", name)).st_mode & 0o077, 0, name)
        self.t.write("go-on", b"")
        self.assertEqual(davit.wait(120), 0)
        self.assertEqual(self.t.read("conf"), b"new")
        self.assertEqual(os.listdir(self.t.base), ["former"])       # what `davit rollback` would bring back
        self.assertEqual(os.stat(os.path.join(self.t.base, "former")).st_mode & 0o077, 0)

    def test_a_runner_that_slept_is_shut_out_and_told_why(self):
        self.lay()
        davit = self.begun()
        os.killpg(davit.pid, signal.SIGSTOP)
        self.gone_back()
        os.killpg(davit.pid, signal.SIGCONT)
        said = davit.communicate(timeout=120)[0].decode()
        self.assertEqual(davit.returncode, 4, said)
        self.assertIn("'web' went back by itself at ", said)
        self.assertIn("davit recover", said)
        self.assertEqual(self.t.read("conf"), b"old")
        self.recovered()
        self.assertEqual(self.t.read("conf"), b"old")

    def test_what_a_person_wrote_meanwhile_stays_and_is_named(self):
        self.lay()
        davit = self.begun()
        self.t.write("conf", b"a person's")
        os.killpg(davit.pid, signal.SIGKILL)
        self.gone_back()
        self.assertEqual(self.t.read("conf"), b"a person's")
        self.assertEqual(self.t.read(ODD), b"old")
        self.assertIn("left ", self.said())
        result = self.recovered(4)
        self.assert_says(result, "conf: it is not as davit left it")
        self.assertEqual(self.last()["state"], "held")

    def test_the_plan_says_what_a_target_cannot_take_back_alone(self):
        t = self.t
        self.lay({"run": {"command": ["true"], "undo": ["true"], "env": {"A": "b"}}})
        planned = t.run("deploy", "deploy.yml", "--plan", "--secret", "KEY", env={"KEY": "rather-secret"})
        self.assert_exit(planned, 0)
        self.assert_says(planned, "'web' does not take back by itself: ")
        self.assert_says(planned, "its variables may be secrets")
        for heads, words in (({"undo_alone": "9s"}, "at least 10s"), ({"on_failure": "hold"}, "exclude each other")):
            self.lay_again(heads)
            refused = t.run("deploy", "deploy.yml", "--plan", "--secret", "KEY", env={"KEY": "rather-secret"})
            self.assert_exit(refused, 2)
            self.assert_says(refused, words)

    def lay_again(self, heads):
        with open(os.path.join(self.t.src, "deploy.yml"), "w", encoding="utf-8") as f:
            json.dump({**self.document(), **heads}, f)

    @unittest.skipUnless(shutil.which("busybox"), "there is no busybox")
    def test_a_target_that_has_nothing_but_busybox_goes_back(self):
        """The watch as the shell and the tools of busybox run it."""
        self.lay()
        before = self.world()
        davit = self.begun()
        tools = os.path.join(self.t.dir, "tools")
        os.mkdir(tools)
        subprocess.run(["busybox", "--install", "-s", tools], check=True, capture_output=True)
        with open(os.path.join(self.lock_dir, "alone", "pid"), encoding="ascii") as f:
            os.kill(int(f.read().split()[0]), signal.SIGKILL)
        os.killpg(davit.pid, signal.SIGKILL)
        davit.wait()
        watch = subprocess.run(["busybox", "sh", os.path.join(self.lock_dir, "alone", "watch")], env={"PATH": tools}, timeout=120,
                               stdin=subprocess.DEVNULL, capture_output=True, check=False)
        self.assertEqual((watch.returncode, watch.stderr), (0, b""))
        after = self.world()
        before.pop("serving"), after.pop("serving")
        self.assertEqual(after, before)
        self.recovered()


class GoesBackFromFarAway(GoesBackAlone):
    """The same over SSH: the target is another user's shell at the end of a stream."""

    def target(self):
        if self.server is None:
            self.server = self.enterContext(Sshd())
        return self.server.target()

    def test_a_runner_that_slept_is_told_so_where_an_answer_takes_longer_than_a_renewal_may(self):
        self.lay()
        davit = self.begun(DAVIT_TEST_TICK_MS="20")
        os.killpg(davit.pid, signal.SIGSTOP)
        self.gone_back()
        os.killpg(davit.pid, signal.SIGCONT)
        said = davit.communicate(timeout=120)[0].decode()
        self.assertIn("'web' went back by itself at ", said)
        self.recovered()

    # Where the target is does not matter to these.
    test_nothing_secret_lies_in_what_a_target_keeps_for_itself = None
    test_what_a_person_wrote_meanwhile_stays_and_is_named = None
    test_the_plan_says_what_a_target_cannot_take_back_alone = None
    test_a_target_that_has_nothing_but_busybox_goes_back = None


class NetworkOfItsOwn:
    """A namespace with an sshd, and one link to it that may be cut from inside."""

    def __init__(self):
        number = os.getpid() % 16000
        self.name = f"davit-{os.getpid()}"
        self.far, self.near = f"dvf{number}", f"dvn{number}"
        self.address = f"10.213.{number // 64}.{number % 64 * 4 + 2}"
        self.gateway = f"10.213.{number // 64}.{number % 64 * 4 + 1}"

    @staticmethod
    def why_not():
        if os.geteuid() != 0 or not shutil.which("ip"):
            return "a network of its own needs root and ip"
        name = f"davit-try-{os.getpid()}"
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        return "" if made.returncode == 0 else f"no network namespace: {made.stderr.decode()}"

    def ip(self, *words):
        subprocess.run(["ip", *words], check=True, capture_output=True)

    def __enter__(self):
        self.ip("netns", "add", self.name)
        self.ip("link", "add", self.near, "type", "veth", "peer", "name", self.far, "netns", self.name)
        self.ip("addr", "add", self.gateway + "/30", "dev", self.near)
        self.ip("link", "set", self.near, "up")
        for words in (("addr", "add", self.address + "/30", "dev", self.far), ("link", "set", self.far, "up"), ("link", "set", "lo", "up")):
            self.ip("-n", self.name, *words)
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "servers", "sshd.py")
        self.sshd = subprocess.Popen(["ip", "netns", "exec", self.name, sys.executable, program, "--option", f"ListenAddress {self.address}"],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.facts = json.loads(self.sshd.stdout.readline())
        return self

    def __exit__(self, *_):
        self.sshd.stdin.close()
        self.sshd.wait(30)
        self.sshd.stdout.close()
        self.ip("netns", "del", self.name)


@unittest.skipIf(NetworkOfItsOwn.why_not(), NetworkOfItsOwn.why_not())
class CutsItsNetwork(Case):
    def test_a_deployment_that_cuts_the_network_it_came_through_is_taken_back(self):
        with Trial() as t, NetworkOfItsOwn() as net:
            t.write("conf", b"old")
            with open(net.facts["key"], encoding="ascii") as f:
                key = f.read()
            cut, mend = (["ip", "link", "set", net.far, way] for way in ("down", "up"))
            steps = [{"apply": {"resources": [{"file": {"path": t.path("conf"), "content": "new"}}]}},
                     {"run": {"command": ["sh", "-c", f"touch {t.path('cut')}; exec {' '.join(cut)}"], "after_undo": mend}},
                     {"apply": {"resources": [{"file": {"path": t.path("later"), "content": "new"}}]}}]
            target = {"ssh": {"host": net.address, "port": net.facts["port"], "user": net.facts["user"], "key": key,
                              "host_key": net.facts["host_key"]}}
            result = t.deploy({"undo_alone": "10s", "undo_deadline": "60s", "targets": {"web": target}, "steps": steps}, timeout=200)
            self.assertEqual(result.code, 4, repr(result))
            self.assertTrue(os.path.exists(t.path("cut")))
            self.assert_says(result, "by itself")
            said = os.path.join(t.base, "open", "shop.test", "alone", "said")
            until(lambda: os.path.exists(said) and subprocess.run(["grep", "-q", "^ended", said], check=False).returncode == 0,
                  "that the target goes back")
            self.assertEqual(t.read("conf"), b"old")
            recovered = t.run("recover")
            self.assert_exit(recovered, 0)
            self.assert_says(recovered, "'web' went back by itself at ")
            self.assertEqual(t.read("conf"), b"old")
            self.assertFalse(os.path.exists(t.path("later")))


if __name__ == "__main__":
    main()
