#!/usr/bin/env python3
"""A5: the new code was unpacked over the old."""
import os
import re
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers.sshd import Sshd  # noqa: E402


class Reader:
    """Reads two files of the valid release again and again; both must always be there and of one version."""

    def __init__(self, current):
        self.current = current
        self.wrong = []
        self.seen = set()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.stop.is_set():
            try:
                fd = os.open(self.current, os.O_RDONLY | os.O_DIRECTORY)
            except OSError as e:
                self.wrong.append(f"current: {e}")
                continue
            try:
                texts = []
                for name in ("one", "two"):
                    file = os.open(name, os.O_RDONLY, dir_fd=fd)
                    texts.append(os.read(file, 100))
                    os.close(file)
                if texts[0] != texts[1]:
                    self.wrong.append(f"mixed: {texts}")
                self.seen.add(texts[0])
            except OSError as e:
                self.wrong.append(str(e))
            finally:
                os.close(fd)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


class Releases(Case):
    def version(self, t, text):
        os.makedirs(os.path.join(t.src, "app"), exist_ok=True)
        for name in ("one", "two"):
            with open(os.path.join(t.src, "app", name), "w") as f:
                f.write(text)

    def deploy(self, t, server, *more, **step):
        return t.deploy({"targets": {"web": server.target()},
                         "steps": [{"archive-upload": {"source": "app", "path": t.path("www"), "keep": 3, **step}}, *more]})

    def releases(self, t):
        return sorted(n for n in os.listdir(t.path("www/releases")) if not n.startswith("."))

    def test_a_reader_sees_the_old_or_the_new_and_nothing_else(self):
        with Trial() as t, Sshd() as server:
            self.version(t, "v0")
            self.assert_exit(self.deploy(t, server), 0)
            with Reader(t.path("www/current")) as reader:
                for i in range(1, 4):
                    self.version(t, f"v{i}")
                    self.assert_exit(self.deploy(t, server), 0)
            self.assertEqual(reader.wrong, [])
            self.assertEqual({b"v0", b"v3"} - reader.seen, set())

    def test_the_newest_releases_stay_each_with_its_manifest(self):
        with Trial() as t, Sshd() as server:
            for i in range(5):
                self.version(t, f"v{i}")
                self.assert_exit(self.deploy(t, server), 0)
            names = self.releases(t)
            self.assertEqual(len(names), 3)
            texts = [t.read("www/releases", n, "one").decode() for n in names]
            # Two of one second have names in any order.
            self.assertEqual(sorted(texts), ["v2", "v3", "v4"])
            self.assertEqual(t.read("www/current/one"), b"v4")
            hidden = sorted(n for n in os.listdir(t.path("www/releases")) if n.startswith("."))
            self.assertEqual(hidden, [f".{n}.manifest" for n in names])

    def test_a_failed_deployment_leaves_the_former_release_as_it_was(self):
        with Trial() as t, Sshd() as server:
            self.version(t, "v0")
            self.assert_exit(self.deploy(t, server), 0)
            former = os.readlink(t.path("www/current"))
            self.version(t, "broken")
            self.assert_exit(self.deploy(t, server, {"run": {"command": ["false"], "undo": "none"}}), 1)
            self.assertEqual(os.readlink(t.path("www/current")), former)
            self.assertEqual(t.read("www/current/one"), b"v0")
            self.assertEqual(len(self.releases(t)), 1)

    def test_the_former_release_is_the_rollback(self):
        with Trial() as t, Sshd() as server:
            self.version(t, "v0")
            self.assert_exit(self.deploy(t, server), 0)
            self.version(t, "v1")
            self.assert_exit(self.deploy(t, server), 0)
            new = os.path.basename(os.readlink(t.path("www/current")))
            self.assertTrue(re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]{6}", new), new)
            result = t.run("rollback", new, "--file", "deploy.yml")
            self.assert_exit(result, 0)
            self.assertEqual(t.read("www/current/one"), b"v0")


if __name__ == "__main__":
    main()
