"""A deployment whose second target is the stand-in of a Proxmox server."""
import json
import os
import signal
import subprocess

from harness.trial import DAVIT, Case, Trial
from servers.proxmox import SECRET, Proxmox

TEMPLATE = "local:vztmpl/debian-12.tar.zst"
GATE_THAT_FAILS = {"health-gate": {"target": "here", "deadline": "1s", "checks": [{"command": ["false"]}]}}


def lxc(name="web", vmid=101, **more):
    return {"lxc": {"name": name, "vmid": vmid, "node": "pve", "template": TEMPLATE, "storage": "local-lvm", "disk": "8G", "memory": 512, "cores": 1,
                    "net": {"net0": "name=eth0,bridge=vmbr0,ip=dhcp"}, **more}}


class GuestCase(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())

    def tearDown(self):
        """Each request was one that the published schema knows."""
        for server in getattr(self, "servers", []):
            self.assertEqual(server.wrong, [])

    def server(self, **options):
        p = self.enterContext(Proxmox(**options))
        self.servers = [*getattr(self, "servers", []), p]
        return p

    def write(self, p, steps, target=None, name="deploy.yml"):
        targets = {"here": {"local": {}, "base": self.t.base}, "cloud": p.target(**(target or {}))}
        with open(os.path.join(self.t.src, name), "w") as f:
            json.dump({"name": "shop", "environment": "test", "targets": targets, "steps": steps}, f)

    def apply(self, p, *resources, allow=(), args=(), code=0, more=(), target=None, env=None, step=None):
        wanted = {"target": "cloud", "resources": list(resources), **({"allow_destroy": list(allow)} if allow else {}), **(step or {})}
        step = {"apply": wanted, "id": "guests"}
        return self.deploy_steps(p, [step, *more], code, args, target, env)

    def deploy_steps(self, p, steps, code=0, args=(), target=None, env=None):
        self.write(p, steps, target)
        return self.davit("deploy", "deploy.yml", "--secret", "PVE_TOKEN", *args, code=code, env=env)

    def davit(self, *args, code=0, env=None):
        result = self.t.run(*args, env={"PVE_TOKEN": SECRET, **(env or {})})
        self.assert_exit(result, code)
        return result

    def begin(self, p, *resources, more=()):
        """A process that is not waited for."""
        return self.begin_steps(p, [{"apply": {"target": "cloud", "resources": list(resources)}, "id": "guests"}, *more])

    def begin_steps(self, p, steps):
        self.write(p, steps)
        env = {**{k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "DAVIT_"))}, "DAVIT_STATE": self.t.state, "PVE_TOKEN": SECRET}
        return subprocess.Popen([DAVIT, "deploy", "deploy.yml", "--secret", "PVE_TOKEN"], cwd=self.t.src, env=env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)

    def kill(self, process):
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def recover(self, code=0):
        return self.davit("recover", code=code)
