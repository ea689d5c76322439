"""A deployment whose second target is the stand-in of Scaleway."""
import json
import os
import signal
import subprocess

from harness.trial import DAVIT, Case, Trial
from servers.scaleway import TOKEN, Scaleway

GATE_THAT_FAILS = {"health-gate": {"target": "here", "deadline": "1s", "checks": [{"command": ["false"]}]}}


def instance(name="web", **more):
    return {"scaleway_instance": {"name": name, "commercial_type": "DEV1-S", "image": "debian_bookworm", "root_size": 10, **more}}


def ip(name="web-ip", **more):
    return {"scaleway_ip": {"name": name, **more}}


def volume(name="data", size=20, **more):
    return {"scaleway_volume": {"name": name, "size": size, **more}}


def group(name="web", **more):
    return {"scaleway_security_group": {"name": name, **more}}


class ScalewayCase(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())

    def tearDown(self):
        """Each request was one that the published schema knows."""
        for server in getattr(self, "services", []):
            self.assertEqual(server.wrong, [])

    def service(self, **options):
        s = self.enterContext(Scaleway(**options))
        self.services = [*getattr(self, "services", []), s]
        return s

    def write(self, s, steps, target=None):
        targets = {"here": {"local": {}, "base": self.t.base}, "cloud": s.target(**(target or {}))}
        with open(os.path.join(self.t.src, "deploy.yml"), "w") as f:
            json.dump({"name": "shop", "environment": "test", "targets": targets, "steps": steps}, f)

    def apply(self, s, *resources, allow=(), more=(), args=(), code=0, target=None, step=None):
        wanted = {"target": "cloud", "resources": list(resources), **({"allow_destroy": list(allow)} if allow else {}), **(step or {})}
        return self.steps(s, [{"apply": wanted, "id": "cloud"}, *more], args=args, code=code, target=target)

    def steps(self, s, steps, args=(), code=0, target=None):
        self.write(s, steps, target)
        return self.davit("deploy", "deploy.yml", "--secret", "SCW_TOKEN", *args, code=code)

    def davit(self, *args, code=0):
        result = self.t.run(*args, env={"SCW_TOKEN": TOKEN})
        self.assert_exit(result, code)
        return result

    def begin(self, s, *resources):
        """A process that is not waited for."""
        return self.begin_steps(s, [{"apply": {"target": "cloud", "resources": list(resources)}, "id": "cloud"}])

    def begin_steps(self, s, steps):
        self.write(s, steps)
        env = {**{k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "DAVIT_"))}, "DAVIT_STATE": self.t.state, "SCW_TOKEN": TOKEN}
        return subprocess.Popen([DAVIT, "deploy", "deploy.yml", "--secret", "SCW_TOKEN"], cwd=self.t.src, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, start_new_session=True)

    def kill(self, process):
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
