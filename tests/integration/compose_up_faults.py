#!/usr/bin/env python3
"""compose-up when something dies: davit behind each record, davit and the engine in the middle of `up`; over SSH and sudo; twice."""
import hashlib
import os
import shutil
import signal
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.lanes import alone  # noqa: E402
from harness.stack import StackCase, main, service, until  # noqa: E402
from servers.sshd import Account, Sshd, free_port  # noqa: E402

FAILS = {"run": {"command": ["false"], "undo": "none"}}
STUBBORN = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]


class Faults(StackCase):
    def old_and_new(self, s, **more):
        s.compose({"services": {"web": service(environment={"V": "old"}, **more), "gone": service()}})
        self.assert_exit(s.up(), 0)
        before = s.facts()
        s.compose({"services": {"web": service("2", environment={"V": "new"}, **more), "added": service("3")}})
        return before

    def same_again(self, s, before, result):
        self.assert_exit(result, 0)
        self.assertEqual(s.facts(), before)
        self.assertEqual(s.last()["state"], "undone")
        ids = s.ids()
        self.assert_exit(s.run("rollback", s.last()["id"], timeout=240), 0)
        self.assertEqual((s.facts(), s.ids()), (before, ids), "a second undo does nothing")

    def killed_behind(self, part):
        """Behind each third record from that one on."""
        with self.stack() as s:
            before = self.old_and_new(s)
            counter = s.path("records")
            self.assert_exit(s.deploy(s.document(), env={"DAVIT_TEST_RECORDS": counter}, timeout=240), 0)
            with open(counter, encoding="ascii") as f:
                records = len(f.read())
            after, new = s.facts(), s.document()
            ends, now = set(), after
            for at in range(1 + part, records + 1, 3):
                if now != before:
                    s.compose({"services": {"web": service(environment={"V": "old"}), "gone": service()}})
                    self.assert_exit(s.up(), 0)
                    self.assertEqual(s.facts(), before)
                    s.compose({"services": {"web": service("2", environment={"V": "new"}), "added": service("3")}})
                killed = s.deploy(new, env={"DAVIT_TEST_KILL_AT": str(at)}, timeout=240)
                recovered = s.run("recover", timeout=240)
                self.assertIn(recovered.code, (0, 1), repr(killed) + repr(recovered))
                now, state = s.facts(), s.last()["state"]
                self.assertEqual(now, after if state == "committed" else before, f"killed behind record {at}: {state}: {recovered!r}")
                self.assertFalse(os.path.isdir(os.path.join(s.base, "open")) and os.listdir(os.path.join(s.base, "open")))
                ends.add(state)
            self.assertIn("undone", ends)

    def test_killed_behind_any_record_it_is_taken_back_or_whole(self):
        self.killed_behind(0)

    def test_killed_behind_any_second_record_it_is_taken_back_or_whole(self):
        self.killed_behind(1)

    def test_killed_behind_any_third_record_it_is_taken_back_or_whole(self):
        self.killed_behind(2)

    def test_killed_in_the_middle_of_up_it_is_taken_back(self):
        with self.stack() as s:
            before = self.old_and_new(s, command=STUBBORN, stop_signal="SIGTERM", stop_grace_period="20s")
            p = s.begin()
            until(lambda: len(self.docker.run("ps", "-aq", "--filter", f"label=com.docker.compose.project={s.project}").split()) > 2)
            os.killpg(p.pid, signal.SIGKILL)
            p.communicate()
            self.same_again(s, before, s.run("recover", timeout=240))

    def stopped_behind(self, s, words, **inputs):
        """From here on davit stands still behind the first such docker command with a configuration that was not there now."""
        place, reached = s.path("programs"), s.path("reached")
        os.mkdir(place)
        with open(os.path.join(place, "docker"), "w", encoding="utf-8") as f:
            f.write(f"""#!/bin/sh
case "$*" in {words}) [ "$(ls {s.base}/compose/{s.project}/*.json 2>/dev/null | wc -l)" -gt {len([n for n in s.kept() if n.endswith('.json')])} ] && wait=1 ;; esac
{shutil.which("docker")} "$@"; r=$?
[ -z "$wait" ] || {{ touch {reached}; exec sleep 1000; }}
exit $r
""")
        os.chmod(os.path.join(place, "docker"), 0o755)
        s.env = {"PATH": place + ":" + os.environ["PATH"]}
        p = s.begin(**inputs)
        until(lambda: os.path.exists(reached) or p.poll() is not None, "the docker command")
        os.killpg(p.pid, signal.SIGKILL)
        p.communicate()
        s.env = {}

    def killed_with_its_configuration_laid(self, s, **inputs):
        before, kept, images = s.facts(), s.kept(), s.kept_images()
        s.compose({"services": {"web": service("2", environment={"V": "new"}), "added": service("3")}})
        self.stopped_behind(s, "'tag '*davit-kept/*", **inputs)
        self.assertEqual(s.facts(), before, "no container was touched yet")
        self.assertGreater(len(s.kept()), len(kept))
        # As if it had been killed while it put the link there: the name that such a file has until then.
        name = ".davit-new-" + hashlib.sha256(b"current").hexdigest()[:16]
        with open(os.path.join(s.base, "compose", s.project, name), "wb"):
            pass
        self.same_again(s, before, s.run("recover", timeout=240))
        self.assertEqual((s.kept(), s.kept_images()), (kept, images))

    def test_killed_before_its_first_container_it_leaves_no_configuration_and_no_image_behind(self):
        with self.stack() as s:
            self.killed_with_its_configuration_laid(s)
            self.assertEqual(os.path.isdir(os.path.join(s.base, "compose")), False)
        with self.stack() as s:
            s.compose({"services": {"web": service()}})
            self.assert_exit(s.up(), 0)
            self.killed_with_its_configuration_laid(s)
        with self.stack() as s:  # somebody else's, of which the files are gone: no way back is known, and none is needed
            s.compose({"services": {"web": service()}})
            self.docker.compose(s.project, "up", "-d", cwd=s.home)
            self.killed_with_its_configuration_laid(s, forget_former=True)

    def test_a_container_that_ignores_sigterm_is_killed_and_replaced(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(command=STUBBORN, stop_signal="SIGTERM", stop_grace_period="1s")}})
            self.assert_exit(s.up(), 0)
            s.compose({"services": {"web": service("2", command=STUBBORN, stop_signal="SIGTERM", stop_grace_period="1s")}})
            self.assert_exit(s.up(), 0)
            self.assertIn("VERSION=2", s.containers()["web"][0]["Config"]["Env"])

    @alone
    def test_an_engine_that_is_stopped_in_the_middle_of_up_and_comes_back_runs_what_it_ran(self):
        with self.stack() as s:
            before = self.old_and_new(s, command=STUBBORN, stop_signal="SIGTERM", stop_grace_period="20s")
            p = s.begin()
            lines = []
            reader = threading.Thread(target=lambda: lines.extend(p.stdout), daemon=True)
            reader.start()
            until(lambda: len(self.docker.run("ps", "-aq", "--filter", f"label=com.docker.compose.project={s.project}").split()) > 2)
            self.addCleanup(lambda: self.docker.process or self.docker.start())
            self.docker.stop()
            until(lambda: any(b"does not answer" in line for line in lines))
            self.docker.start()
            self.assertIn(p.wait(200), (0, 1), lines)
            state = s.last()["state"]
            if state == "undone":
                self.assertEqual(s.facts(), before)
            else:
                self.assertEqual(state, "committed")
                self.assertEqual(sorted(s.facts()), ["added", "web"])

    def test_an_engine_that_does_not_answer_is_known_before_the_first_change(self):
        with self.stack() as s:
            s.compose({"services": {"web": service()}})
            result = s.deploy(s.document({"run": {"command": ["touch", s.path("changed")], "undo": "none"}},
                                         docker_host="unix:///nowhere/d.sock"))
            self.assertNotEqual(result.code, 0)
            self.assert_says(result, "does not answer")
            self.assertFalse(os.path.exists(s.path("changed")))

    def test_faults_of_a_file_are_told_in_composes_words_and_nothing_is_touched(self):
        faults = [("services: {web: {image: local/web:1, imagee: x}}", "imagee"), ("services: [", "yaml"),
                  ("services: {web: {}}", "image"), ("services: {web: {image: 'local/web:1', depends_on: [db]}}", "db"),
                  ("services: {web: {image: 'local/web:1', ports: ['99999999:1']}}", "99999999"),
                  ("services: {web: {image: 'local/web:1', networks: [back]}}", "back"),
                  ("services: {web: {image: 'local/web:1', volumes: ['data:/x']}}", "data"),
                  ("services: {web: {image: 'local/web:1', env_file: gone.env}}", "gone.env"),
                  ("include: [gone.yml]\nservices: {web: {image: 'local/web:1'}}", "gone.yml"),
                  ("services: {web: {image: 'local/web:1', environment: {A: 1}, secrets: [s]}}\nsecrets: {s: {environment: S}}", "secrets.s")]
        with self.stack() as s:
            s.compose({"services": {"web": service()}})
            self.assert_exit(s.up(), 0)
            before = s.ids()
            for text, word in faults:
                with self.subTest(word=word):
                    s.compose(text)
                    result = s.up()
                    self.assert_exit(result, 2)
                    self.assert_says(result, word)
                    self.assertEqual(s.ids(), before)
            self.assert_exit(s.up(directory=s.path("nowhere")), 2)
            self.assert_exit(s.up(files=["gone.yml"]), 2)

    def test_a_port_that_somebody_holds_is_refused_with_its_owner_before_anything_stops(self):
        with self.stack() as s, self.stack() as other, socket.create_server(("127.0.0.1", 0)) as held:
            taken, ours = free_port(), free_port()
            other.compose({"services": {"shop": service(ports=[f"127.0.0.1:{taken}:80"])}})
            self.assert_exit(other.up(), 0)
            s.compose({"services": {"web": service(ports=[f"127.0.0.1:{ours}:80"])}})
            self.assert_exit(s.up(), 0)
            ids = s.ids()
            ports = [f"127.0.0.1:{ours}:80", f"127.0.0.1:{taken}:81", f"{held.getsockname()[1]}:82"]
            s.compose({"services": {"web": service("2", ports=ports)}})
            result = s.up()
            self.assert_exit(result, 2)
            self.assert_says(result, f"the port 127.0.0.1:{taken}/tcp of 'web' is in use by the container '{other.project}-shop-1' of the project '{other.project}'",
                             f"the port {held.getsockname()[1]}/tcp of 'web' is in use by", f"(process {os.getpid()})", "publish another port")
            self.assertEqual(s.ids(), ids)
            s.compose({"services": {"web": service("2", ports=ports[:1])}})
            self.assert_exit(s.up(), 0)

    def over(self, target):
        with self.stack() as s:
            s.compose({"services": {"web": service(environment={"A": "${A}"})}})
            self.assert_exit(s.up(target=target, env={"A": "1"}), 0)
            before = s.facts()
            s.compose({"services": {"web": service("2", environment={"A": "${A}"})}})
            self.assert_exit(s.up(FAILS, target=target, env={"A": "2"}), 1)
            self.assertEqual(s.facts(), before)
            self.assert_exit(s.up(target=target, env={"A": "2"}), 0)
            self.assertIn("A=2", s.containers()["web"][0]["Config"]["Env"])
            self.assert_says(s.up(target=target, env={"A": "2"}), "nothing to change")

    def test_it_works_over_sudo(self):
        self.over({"local": {}, "become": "sudo"})

    def test_it_works_over_ssh(self):
        with Sshd() as server:
            self.over(server.target())

    @alone
    def test_it_works_over_ssh_and_sudo_of_another_user(self):
        why = Sshd.can_have_accounts()
        if why:
            self.skipTest(why)
        with Sshd(accounts={"deploy": Account("pw", sudo="ALL=(ALL) NOPASSWD: ALL")}) as server:
            target = server.target(become="sudo")
            target["ssh"].update(user="deploy", password="pw")
            del target["ssh"]["key"]
            self.over(target)


if __name__ == "__main__":
    main()
