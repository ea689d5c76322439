#!/usr/bin/env python3
"""A4: the upload was driven by `expect` typing a password, with a two-hour time-out."""
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers.sshd import Account, Sshd  # noqa: E402


def fill(t, files, size):
    rng = random.Random(4)
    for i in range(files):
        folder = os.path.join(t.src, "data", f"d{i % 17}")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"f{i}"), "wb") as f:
            f.write(rng.randbytes(size))


def digests(top):
    found = {}
    for folder, folders, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as f:
                found[os.path.relpath(path, top)] = hashlib.sha256(f.read()).hexdigest()
    return found


def arrived(app):
    """Files of any release that are there, whole or not."""
    return sum(len(names) for _, _, names in os.walk(os.path.join(app, "releases")))


class Upload(Case):
    def deploy(self, t, server, **step):
        return t.deploy({"targets": {"web": server.target()},
                         "steps": [{"archive-upload": {"source": "data", "path": t.path("app"), **step}}]})

    def test_a_connection_that_breaks_costs_only_what_was_on_its_way(self):
        with Trial() as t, Sshd() as server:
            fill(t, 900, 100_000)
            result = []
            worker = threading.Thread(target=lambda: result.append(self.deploy(t, server)))
            worker.start()
            deadline = time.monotonic() + 60
            while arrived(t.path("app")) < 100 and time.monotonic() < deadline and worker.is_alive():
                time.sleep(0.001)
            before = arrived(t.path("app"))
            killed = server.kill_sessions()
            worker.join(120)
            self.assertFalse(worker.is_alive())
            self.assertGreater(killed, 0)
            self.assertLess(before, 900, "the upload was over before it could be broken")
            self.assert_exit(result[0], 0)
            found = re.search(r"(\d+) files, [\d.]+ \wB, are there already", result[0].text)
            self.assertTrue(found, repr(result[0]))
            self.assertGreater(int(found.group(1)), 0)
            again = re.findall(r"sent (\d+) files", result[0].text)
            self.assertEqual(int(again[-1]) + int(found.group(1)), 900, repr(result[0]))
            self.assertEqual(digests(t.path("app/current")), digests(os.path.join(t.src, "data")))

    def test_rate_and_amount_are_told(self):
        with Trial() as t, Sshd() as server:
            fill(t, 50, 100_000)
            result = self.deploy(t, server)
            self.assert_exit(result, 0)
            self.assertRegex(result.text, r"sent 50 files, 5\d{3}\.\d kB as [\d.]+ [kM]B in \S+, [\d.]+ [kM]B/s")

    def test_a_long_upload_tells_how_far_it_is_and_how_long_it_will_take(self):
        with Trial() as t, Sshd() as server:
            proxy = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "servers", "cut_proxy.py"),
                                      str(server.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            try:
                target = server.target()
                target["ssh"]["port"] = json.loads(proxy.stdout.readline())["port"]
                fill(t, 900, 100_000)
                result = []
                worker = threading.Thread(target=lambda: result.append(t.deploy(
                    {"targets": {"web": target}, "steps": [{"archive-upload": {"source": "data", "path": t.path("app")}}]})))
                worker.start()
                deadline = time.monotonic() + 60
                while arrived(t.path("app")) < 20 and time.monotonic() < deadline and worker.is_alive():
                    time.sleep(0.001)
                # The line stands still for longer than davit keeps silent.
                stands = time.monotonic() + 3
                proxy.send_signal(signal.SIGSTOP)
                while time.monotonic() < stands:
                    time.sleep(0.05)
                proxy.send_signal(signal.SIGCONT)
                worker.join(120)
                self.assert_exit(result[0], 0)
                self.assertRegex(result[0].text, r"sent [\d.]+ [kM]B, \d+ % of [\d.]+ [kM]B, [\d.]+ \wB/s, ([\d.]+\w+ ?)+ left")
            finally:
                proxy.kill()
                proxy.wait()
                proxy.stdin.close()
                proxy.stdout.close()

    def test_the_agent_logs_in_without_the_key_in_hand(self):
        with Trial() as t, Sshd() as server:
            fill(t, 3, 1000)
            socket = os.path.join(server.folder, "agent")
            agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
            try:
                env = {"SSH_AUTH_SOCK": socket}
                while not os.path.exists(socket):
                    time.sleep(0.01)
                subprocess.run(["ssh-add", "-q", server.key], env={**os.environ, **env}, check=True, capture_output=True)
                target = server.target()
                del target["ssh"]["key"]
                target["ssh"]["agent"] = True
                document = {"targets": {"web": target}, "steps": [{"archive-upload": {"source": "data", "path": t.path("app")}}]}
                self.assert_exit(t.deploy(document, env=env), 0)
                self.assertEqual(len(digests(t.path("app/current"))), 3)
                subprocess.run(["ssh-add", "-q", "-D"], env={**os.environ, **env}, check=True, capture_output=True)
                self.assert_exit(t.deploy(document, env=env), 2)
            finally:
                agent.terminate()
                agent.wait()

    @unittest.skipIf(Sshd.can_have_accounts(), Sshd.can_have_accounts())
    def test_a_password_needs_no_terminal(self):
        with Trial() as t, Sshd(accounts={"deploy": Account("geheim-of-a4")}) as server:
            fill(t, 3, 1000)
            os.chmod(t.target_dir, 0o777)
            target = {"ssh": {"host": "127.0.0.1", "port": server.port, "user": "deploy", "password": "${{ secrets.PASSWORD }}",
                              "host_key": server.host_key}, "base": os.path.join(server.folder, "home_deploy", "davit")}
            document = {"targets": {"web": target}, "steps": [{"archive-upload": {"source": "data", "path": t.path("app")}}]}
            result = t.deploy(document, secrets={"PASSWORD": "geheim-of-a4"})
            self.assert_exit(result, 0)
            self.assertEqual(len(digests(t.path("app/current"))), 3)
            wrong = t.deploy(document, secrets={"PASSWORD": "wrong-of-a4"}, timeout=60)
            self.assert_exit(wrong, 2)
            self.assert_silent(wrong, "wrong-of-a4")

    def test_what_was_damaged_on_the_target_is_found_and_sent_anew(self):
        with Trial() as t, Sshd() as server:
            fill(t, 40, 1000)
            self.assert_exit(self.deploy(t, server), 0)
            victim = t.path("app/current/d3/f3")
            with open(victim, "r+b") as f:
                f.write(b"damaged")
            with open(os.path.join(t.src, "data", "new"), "w") as f:
                f.write("x")
            result = self.deploy(t, server, verify="full")
            self.assert_exit(result, 0)
            self.assert_says(result, "1 entries of release")
            self.assertEqual(digests(t.path("app/current")), digests(os.path.join(t.src, "data")))


if __name__ == "__main__":
    main()
