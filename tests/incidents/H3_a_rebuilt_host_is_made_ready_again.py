#!/usr/bin/env python3
"""H3: a host was rebuilt, and engine, Compose and directories had to be put back by hand. One file brings them all, and a second run changes nothing."""
import glob
import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers import host_root  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

PLUGINS = ["/usr/libexec/docker/cli-plugins", "/usr/lib/docker/cli-plugins", "/usr/local/lib/docker/cli-plugins", os.path.expanduser("~/.docker/cli-plugins")]
COMPOSE = [f"{place}/docker-compose" for place in PLUGINS] + ["/var/cache/davit-tests/docker-compose"]
ENGINE = {name: shutil.which(name) for name in ("docker", "dockerd")}
HOST = {"docker": True, "packages": ["davit-example"], "users": [{"name": "deploy", "groups": ["docker"]}],
        "directories": [{"path": "/srv/shop/data", "owner": "deploy"}, {"path": "/srv/shop", "owner": "deploy", "mode": "0750"}]}


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


class Rebuilt(Case):
    @classmethod
    def setUpClass(cls):
        compose = next((path for path in COMPOSE if os.path.exists(path)), None)
        if None in ENGINE.values() or compose is None:
            raise unittest.SkipTest("this machine has no Docker engine and Compose to make packages of")
        host_root.make_package("docker.io", copies={f"/usr/bin/{name}": path for name, path in ENGINE.items()},
                               scripts={"postinst": "#!/bin/sh\ngetent group docker >/dev/null || groupadd -r docker\n"})
        host_root.make_package("docker-compose-v2", depends="docker.io", copies={"/usr/libexec/docker/cli-plugins/docker-compose": compose})
        host_root.read_lists()

    def setUp(self):
        self.rebuild()

    @staticmethod
    def rebuild():
        """Nothing of it is there, as on a new host."""
        subprocess.run("apt-get -q -y purge docker.io 'davit-*'; userdel -r deploy; groupdel docker; rm -rf /srv/shop", shell=True, capture_output=True, check=False)
        copies = [f"{place}/{name}" for name in ENGINE for place in os.environ["PATH"].split(":") + ["/usr/sbin"]]
        for path in [*copies, *ENGINE.values(), *(p for place in PLUGINS for p in glob.glob(place + "/docker-compose"))]:
            if os.path.lexists(path):
                os.remove(path)

    @staticmethod
    def list_again(do, *args):
        do(*args)
        host_root.write_index()
        host_root.read_lists()

    def deploy(self, t, target, *args):
        result = t.deploy({"targets": {"web": target}, "steps": [{"bootstrap": HOST}]}, *args)
        self.assert_exit(result, 0)
        return result

    def assert_ready(self):
        self.assertIn("Docker Compose version", said("docker", "compose", "version"))
        self.assertIn("Docker version", said("dockerd", "--version"))
        self.assertIn("docker", said("id", "-nG", "deploy").split())
        self.assertEqual(said("stat", "-c", "%U %a", "/srv/shop", "/srv/shop/data"), "deploy 750\ndeploy 755\n")

    def test_one_file_brings_engine_compose_users_and_directories_each_time(self):
        with Trial() as t, Sshd() as server:
            self.assert_says(self.deploy(t, server.target(), "--plan"), "package:docker.io: not installed → 1.0", "package:docker-compose-v2", "a package may bring it")
            for _ in range(2):
                self.deploy(t, server.target())
                self.assert_ready()
                self.assert_says(self.deploy(t, server.target(), "--plan"), "Nothing to change")
                self.rebuild()

    def test_an_engine_that_the_distribution_does_not_have_is_said_with_the_way_out(self):
        package, = glob.glob(host_root.REPOSITORY + "/docker-compose-v2_*")
        self.addCleanup(self.list_again, os.rename, package + ".kept", package)
        self.list_again(os.rename, package, package + ".kept")
        with Trial() as t:
            result = t.deploy({"targets": {"web": {"local": {}}}, "steps": [{"bootstrap": {"docker": True}}]})
            self.assert_exit(result, 2)
            self.assert_says(result, "has no package with the Compose plugin", "Docker's own repository")


if __name__ == "__main__":
    host_root.enter()
    main()
