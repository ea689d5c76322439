#!/usr/bin/env python3
"""A2: 50,000 files were copied one by one and blocked the deployment for hours. They go as one compressed stream on one connection, which is
unpacked while it arrives, and the next deployment sends only what changed. Against a real sshd."""
import os
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

FILES = 2000


def fill(t):
    for i in range(FILES):
        folder = os.path.join(t.src, "tree", f"d{i % 50}")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"f{i}.txt"), "w") as f:
            f.write(f"file {i}\n" * 60)


def files_below(top):
    return {os.path.relpath(os.path.join(folder, name), top) for folder, _, names in os.walk(top) for name in names}


def logins(server):
    return server.log().count("Accepted publickey")


def commands(server):
    return server.log().count("Starting session")


class ManyFiles(Case):
    def deploy(self, t, server):
        result = t.deploy({"targets": {"web": server.target()}, "steps": [{"archive-upload": {"source": "tree", "path": t.path("app")}}]})
        self.assert_exit(result, 0)
        return result

    def test_the_number_of_files_changes_neither_the_connections_nor_the_commands(self):
        seen = []
        for count in (10, FILES):
            with Trial() as t, Sshd() as server:
                fill(t)
                for name in sorted(files_below(os.path.join(t.src, "tree")))[count:]:
                    os.unlink(os.path.join(t.src, "tree", name))
                self.deploy(t, server)
                self.assertEqual(len(files_below(t.path("app/current/"))), count)
                seen.append((logins(server), commands(server)))
        self.assertEqual(seen[0][0], seen[1][0], seen)
        self.assertLessEqual(abs(seen[0][1] - seen[1][1]), 2, seen)

    def test_what_repeats_is_compressed(self):
        with Trial() as t, Sshd() as server:
            fill(t)
            found = re.search(rf"sent {FILES} files, ([\d.]+) (k|M)B as ([\d.]+) (k|M)B", self.deploy(t, server).text)
            self.assertTrue(found)
            unit = {"k": 1, "M": 1000}
            plain, packed = float(found.group(1)) * unit[found.group(2)], float(found.group(3)) * unit[found.group(4)]
            self.assertLess(packed, plain / 4)

    def test_a_second_deployment_sends_only_what_changed(self):
        with Trial() as t, Sshd() as server:
            fill(t)
            self.deploy(t, server)
            with open(os.path.join(t.src, "tree", "d7", "f7.txt"), "w") as f:
                f.write("changed\n")
            os.unlink(os.path.join(t.src, "tree", "d8", "f8.txt"))
            result = self.deploy(t, server)
            self.assertRegex(result.text, r"sent 1 file, 8 bytes")
            there = files_below(t.path("app/current/"))
            self.assertEqual(there, files_below(os.path.join(t.src, "tree")))
            with open(t.path("app/current/d7/f7.txt")) as f:
                self.assertEqual(f.read(), "changed\n")
            self.assert_says(self.deploy(t, server), "nothing to change")

    def test_files_stand_on_the_target_before_the_last_one_was_sent(self):
        proxy = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "servers", "cut_proxy.py")
        with Trial() as t, Sshd() as server:
            for i in range(300):
                os.makedirs(os.path.join(t.src, "tree"), exist_ok=True)
                with open(os.path.join(t.src, "tree", f"f{i}"), "wb") as f:
                    f.write(os.urandom(200_000))
            way = subprocess.Popen([sys.executable, proxy, str(server.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            try:
                target = server.target()
                target["ssh"]["port"] = int(re.search(r"\d+", way.stdout.readline()).group())
                result = []
                worker = threading.Thread(target=lambda: result.append(t.deploy(
                    {"targets": {"web": target}, "steps": [{"archive-upload": {"source": "tree", "path": t.path("app")}}]})))
                worker.start()
                seen, deadline = 0, time.monotonic() + 60
                while worker.is_alive() and time.monotonic() < deadline:
                    count = len(files_below(t.path("app", "releases")))
                    seen = count if 0 < count < 300 else seen
                worker.join(60)
                self.assert_exit(result[0], 0)
                self.assertGreater(seen, 0, "nothing was unpacked before the stream had ended")
            finally:
                way.kill()
                way.wait()
                way.stdin.close()
                way.stdout.close()


if __name__ == "__main__":
    main()
