#!/usr/bin/env python3
"""Room for the images that compose-up fetches: asked of the registry and of the engine's disk before anything is fetched. Against a real engine whose
disk is small, and a real registry."""
import os
import subprocess
import sys
import tarfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.stack import Stack  # noqa: E402
from harness.trial import Case, main  # noqa: E402
from servers.docker import Docker  # noqa: E402
from servers.registry import Registry  # noqa: E402

LARGE = 20 << 20


@unittest.skipUnless(Registry.available(), "this machine has no docker-registry")
class Room(Case):
    @classmethod
    def setUpClass(cls):
        why = Docker.why_not()
        if why:
            raise unittest.SkipTest(why)
        cls.registry = cls.enterClassContext(Registry())
        cls.name = f"{cls.registry.host}/shop/large"
        with Docker() as builder:
            cls.push_large(builder)

    @classmethod
    def push_large(cls, builder):
        """Two versions that share the large layer."""
        large, archive = os.path.join(builder.folder, "large"), os.path.join(builder.folder, "large.tar")
        with open(large, "wb") as f:
            f.write(os.urandom(LARGE))
        with tarfile.open(archive, "w") as tar:
            tar.add(large, "large")
        builder.run("import", archive, f"{cls.name}:1")
        container = builder.run("create", f"{cls.name}:1", "/none").strip()
        builder.run("cp", os.path.join(builder.folder, "log"), f"{container}:/small")
        builder.run("commit", container, f"{cls.name}:2")
        for version in ("1", "2"):
            builder.run("push", f"{cls.name}:{version}")

    def stack(self, docker, version):
        s = self.enterContext(Stack(docker))
        s.compose({"services": {"web": {"image": f"{self.name}:{version}", "command": ["/none"]}}})
        return s

    def test_images_that_cannot_have_room_are_refused_before_they_are_fetched(self):
        docker = self.enterContext(Docker(disk="16m"))
        s = self.stack(docker, "1")
        result = s.up()
        self.assert_exit(result, 2)
        self.assert_says(result, "the images to be fetched need at least 21 MB in '" + os.path.join(docker.folder, "data"), "docker image prune")
        self.assertEqual(docker.run("images", "-q"), "")

    def test_layers_that_are_there_need_no_room(self):
        docker = self.enterContext(Docker(disk="80m"))
        docker.run("pull", f"{self.name}:1")
        self.fill(docker, left=8 << 20)
        result = self.stack(docker, "2").up(options=["--plan"])
        self.assert_exit(result, 0)
        self.assertNotIn("need at least", result.text)

    def test_where_nobody_knows_what_the_images_there_are_made_of_it_is_a_warning(self):
        docker = self.enterContext(Docker(disk="30m"))
        docker.image("local/own:1")
        self.fill(docker, left=8 << 20)
        result = self.stack(docker, "1").up(options=["--plan"])
        self.assert_exit(result, 0)
        self.assert_says(result, "need at least 21 MB")

    @staticmethod
    def fill(docker, left):
        data = os.path.join(docker.folder, "data")
        free = os.statvfs(data).f_bavail * os.statvfs(data).f_frsize
        subprocess.run(["fallocate", "-l", str(free - left), os.path.join(data, "filler")], check=True)


if __name__ == "__main__":
    main()
