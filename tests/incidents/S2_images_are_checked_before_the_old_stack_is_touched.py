#!/usr/bin/env python3
"""S2: a custom image was looked up at a public registry."""
import os
import shutil
import socket
import subprocess
import sys
import time
import unittest
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.stack import StackCase, main, service  # noqa: E402
from servers.sshd import free_port  # noqa: E402


class S2(StackCase):
    def running(self, s):
        s.compose({"services": {"web": service()}})
        self.assert_exit(s.up(), 0)
        return s.ids()

    def test_an_image_that_is_nowhere_is_refused_and_what_runs_stays(self):
        with self.stack() as s:
            before = self.running(s)
            for policy, words in (("never", "is not to be fetched"), ("missing", "cannot be fetched"), ("always", "cannot be fetched")):
                s.compose({"services": {"web": {**service(), "image": "127.0.0.1:1/nowhere:1", "pull_policy": policy}}})
                result = s.up()
                self.assert_exit(result, 2)
                self.assert_says(result, "127.0.0.1:1/nowhere:1", words)
                self.assertEqual(s.ids(), before)

    def test_a_service_that_would_be_built_is_refused_unless_that_is_asked_for(self):
        with self.stack() as s:
            before = self.running(s)
            s.compose({"services": {"web": {**service(), "image": "local/built:1", "build": "."}}})
            result = s.up()
            self.assert_exit(result, 2)
            self.assert_says(result, "build: true")
            self.assertEqual(s.ids(), before)

    def test_what_is_built_when_asked_is_built_before_anything_stops(self):
        with self.stack() as s:
            before = self.running(s)
            s.file("Dockerfile", "FROM local/web:1\nRUN false\n")
            s.compose({"services": {"web": {**service(), "image": "local/built:1", "build": "."}}})
            result = s.up(build=True)
            self.assert_exit(result, 1)
            self.assertEqual(s.ids(), before, "a build that fails touches nothing")
            s.file("Dockerfile", "FROM local/web:1\nENV BUILT=1\n")
            self.assert_exit(s.up(build=True), 0)
            self.assertIn("BUILT=1", s.containers()["web"][0]["Config"]["Env"])

    @unittest.skipUnless(shutil.which("docker-registry"), "docker-registry is missing")
    def test_an_image_of_a_registry_is_fetched_before_anything_stops_and_a_newer_one_is_taken_with_always(self):
        with self.stack() as s:
            port = free_port()
            with open(s.path("registry.yml"), "w", encoding="utf-8") as f:
                f.write(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {s.path('registry')}}}}}\n"
                        f"http: {{addr: 127.0.0.1:{port}}}\n")
            registry = subprocess.Popen(["docker-registry", "serve", s.path("registry.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                self.wait_for(port)
                name = f"127.0.0.1:{port}/web:latest"

                def push(version):
                    self.docker.run("tag", f"local/web:{version}", name)
                    self.docker.run("push", name)
                    self.docker.run("rmi", name)
                push("1")
                s.compose({"services": {"web": {**service(), "image": name}}})
                result = s.up(options=["--plan"])
                self.assert_exit(result, 0)
                self.assert_says(result, f"web: {name} (registry)")
                self.assert_exit(s.up(), 0)
                first = s.facts()
                push("2")
                self.docker.run("tag", "local/web:1", name)
                self.assert_exit(s.up(), 0)
                self.assertEqual(s.facts(), first, "`missing` takes what is here")
                self.assert_exit(s.up(pull="always"), 0)
                self.assertIn("VERSION=2", s.containers()["web"][0]["Config"]["Env"])
            finally:
                registry.terminate()
                registry.wait()

    def wait_for(self, port):
        end = time.monotonic() + 20
        while True:
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).close()
            except (OSError, socket.timeout):
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)


if __name__ == "__main__":
    main()
