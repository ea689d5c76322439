#!/usr/bin/env python3
"""Networks and volumes of a Docker engine as resources: made, adopted, replaced, destroyed, taken back. The engine is a real one."""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers.docker import Docker  # noqa: E402

GATE_THAT_FAILS = {"health-gate": {"target": "web", "deadline": "1s", "checks": [{"command": ["false"]}]}}
WHY = Docker.why_not()


@unittest.skipIf(WHY, WHY)
class DockerThings(Case):
    @classmethod
    def setUpClass(cls):
        cls.docker = cls.enterClassContext(Docker())
        cls.docker.image("local/web:1")

    def setUp(self):
        self.t = self.enterContext(Trial())

    def tearDown(self):
        d = self.docker
        for one in d.run("ps", "-aq").split():
            d.run("rm", "-f", one)
        for one in d.run("volume", "ls", "-q").split():
            d.run("volume", "rm", one)
        for one in d.run("network", "ls", "-q", "--filter", "type=custom").split():
            d.run("network", "rm", one)

    def network(self, name="backend", **more):
        return {"docker_network": {"name": name, "docker_host": self.docker.host, **more}}

    def volume(self, name="data", **more):
        return {"docker_volume": {"name": name, "docker_host": self.docker.host, **more}}

    def apply(self, *resources, code=0, allow=(), more=(), args=(), **step):
        wanted = {"resources": list(resources), **({"allow_destroy": list(allow)} if allow else {}), **step}
        document = {"targets": {"web": {"local": {}, "base": self.t.base}}, "steps": [{"apply": wanted, "id": "engine"}, *more]}
        result = self.t.deploy(document, *args)
        self.assert_exit(result, code)
        return result

    def facts(self, kind, name):
        found = subprocess.run(["docker", "-H", self.docker.host, kind, "inspect", name], capture_output=True, text=True, check=False)
        return json.loads(found.stdout)[0] if found.returncode == 0 else None

    def write(self, name="data"):
        path = os.path.join(self.facts("volume", name)["Mountpoint"], "rows")
        with open(path, "w") as f:
            f.write("rows")
        return path

    def key(self, name="data"):
        return f"docker_volume:{name}={self.facts('volume', name)['CreatedAt']}"

    def test_they_are_made_once_and_taken_back(self):
        wanted = [self.network(subnet="172.31.7.0/24", internal=True), self.volume()]
        self.apply(*wanted, args=["--plan"])
        self.assertIsNone(self.facts("network", "backend"))
        self.apply(*wanted, more=[GATE_THAT_FAILS], code=1)
        self.assertEqual((self.facts("network", "backend"), self.facts("volume", "data")), (None, None))
        self.apply(*wanted)
        network = self.facts("network", "backend")
        self.assertEqual((network["Driver"], network["Internal"], network["IPAM"]["Config"][0]["Subnet"]), ("bridge", True, "172.31.7.0/24"))
        self.assertEqual(self.facts("volume", "data")["Driver"], "local")
        self.assert_says(self.apply(*wanted), "nothing to change")

    def test_what_is_there_is_adopted_and_stays_when_the_environment_goes(self):
        self.docker.run("network", "create", "backend")
        self.docker.run("volume", "create", "data")
        self.assert_says(self.apply(self.network(), self.volume(), args=["--plan"]), "already as wanted")
        self.apply(self.network(), self.volume())
        self.apply(self.network(), self.volume(), args=["--destroy", "test"])
        self.assertEqual([self.facts("network", "backend") is None, self.facts("volume", "data") is None], [False, False])

    def test_another_network_takes_the_place_of_one_where_that_is_allowed(self):
        self.apply(self.network())
        self.assert_says(self.apply(self.network(internal=True), code=2), "would be destroyed and made anew, because of `internal`")
        self.apply(self.network(internal=True), allow=["docker_network:backend"], more=[GATE_THAT_FAILS], code=1)
        self.assertFalse(self.facts("network", "backend")["Internal"])
        self.apply(self.network(internal=True), allow=["docker_network:backend"])
        self.assertTrue(self.facts("network", "backend")["Internal"])

    def test_what_containers_use_is_not_taken_from_them(self):
        self.apply(self.network(), self.volume())
        self.docker.run("run", "-d", "--name", "user", "--network", "backend", "-v", "data:/data", "local/web:1", "sleep", "1000")
        result = self.apply(self.network(internal=True), allow=["docker_network:backend", self.key()], code=2)
        self.assert_says(result, "docker_network:backend stays: containers use it: user", "docker_volume:data stays: containers use it: user")

    def test_a_volume_goes_only_by_the_time_at_which_it_was_made(self):
        self.apply(self.volume(), self.volume("other"))
        self.write()
        permission = self.key()
        self.assert_says(self.apply(self.volume("other"), allow=["docker_volume:data"], code=2), "left the desired state and would be destroyed", permission)
        self.docker.run("volume", "rm", "data")
        self.docker.run("volume", "create", "data")
        created = self.facts("volume", "data")["CreatedAt"]
        if created not in permission:
            self.apply(self.volume("other"), allow=[permission], code=2)
        self.write()
        self.assert_says(self.apply(self.volume("other"), allow=[self.key()], args=["--plan"]), "its data are lost for good")
        self.apply(self.volume("other"), allow=[self.key()])
        self.assertIsNone(self.facts("volume", "data"))

    def test_an_undo_makes_an_empty_volume_again_and_says_where_data_are_lost(self):
        self.apply(self.volume(), self.volume("other"))
        self.apply(self.volume("other"), allow=[self.key()], more=[GATE_THAT_FAILS], code=1)
        self.assertIsNotNone(self.facts("volume", "data"))
        self.write()
        self.assert_says(self.apply(self.volume("other"), allow=[self.key()], more=[GATE_THAT_FAILS], code=4), "the data of the volume data are lost for good")

    def test_a_rollback_behind_the_commit_brings_the_former_network_and_leaves_data_alone(self):
        self.apply(self.network(subnet="10.99.1.0/24"))
        self.apply(self.network(subnet="10.99.2.0/24"), self.volume(), self.volume("empty"), allow=["docker_network:backend"])
        rows = self.write()
        back = self.t.run("rollback", "last")
        self.assert_exit(back, 0)
        self.assert_says(back, "not taken back: web:docker_volume:data (apply): data lie in it")
        self.assertEqual((self.facts("network", "backend")["IPAM"]["Config"][0]["Subnet"], self.facts("volume", "empty"), os.path.exists(rows)),
                         ("10.99.1.0/24", None, True))
        # One that went with its data cannot come again.
        self.apply(self.network(subnet="10.99.1.0/24"), self.volume())
        self.write()
        self.apply(self.network(subnet="10.99.1.0/24"), allow=[self.key()])
        self.assert_says(refused := self.t.run("rollback", "last"), "what 'docker_volume:data' on 'web' was before is gone")
        self.assert_exit(refused, 2)

    def test_those_of_a_compose_project_are_left_to_it(self):
        for kind, name, one in (("network", "shop_default", self.network), ("volume", "shop_data", self.volume)):
            self.docker.run(kind, "create", "--label", "com.docker.compose.project=shop", name)
            self.assert_says(self.apply(one(name), code=2), f"'{name}' on 'web' belongs to the Compose project 'shop'")

    def test_an_engine_that_does_not_answer_is_said_before_anything_is_changed(self):
        away = {"docker_volume": {"name": "data", "docker_host": "unix:///run/there-is-none.sock"}}
        self.assert_says(self.apply(away, code=2), "the Docker engine of 'web' does not answer")
        self.assert_says(self.apply({"docker_network": {"name": "host"}}, code=2), "'host' is the engine's own network")

    def test_an_environment_takes_along_what_it_made(self):
        self.apply(self.network(), self.volume())
        self.write()
        self.assert_says(self.apply(self.network(), self.volume(), args=["--destroy", "test", "--plan"]), "its data are lost for good")
        self.apply(self.network(), self.volume(), args=["--destroy", "test"])
        self.assertEqual((self.facts("network", "backend"), self.facts("volume", "data")), (None, None))


if __name__ == "__main__":
    main()
