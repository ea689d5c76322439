#!/usr/bin/env python3
"""A machine for the contract suite, which runs on it: what bootstrap changes of it beside the tree of the suite."""
import glob
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from servers import host_root, suite_world  # noqa: E402

FILES = ("passwd", "shadow", "group", "gshadow", "subuid", "subgid", "localtime", "timezone")
PLACES = ("/etc/sudoers.d", "/etc/cron.d", "/etc/sysctl.d", "/home", "/var/lib/dpkg")
PARAMETERS = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/ip_local_port_range")  # of a network of its own
STATES = "/var/lib/apt/extended_states"


def packaged():
    return glob.glob("/usr/share/davit-*") + glob.glob("/etc/davit-*")


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


def copy(source, to):
    """What is not there is not there afterwards."""
    remove(to)
    if os.path.lexists(source):
        subprocess.run(["cp", "-a", source, to], check=True)


class World:
    facts = {"here": True}

    def __init__(self):
        self.saved, self.kept = {}, {}
        self.base = "/tmp/davit-suite-saved"
        os.makedirs(self.base)

    @staticmethod
    def rules():
        return subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout

    def list(self, detail):
        places = [f"/etc/{name}" for name in FILES] + ["/etc/sudoers.d", "/etc/cron.d", "/etc/sysctl.d", "/home", *packaged()]
        times = " %T@" if detail == "touched" else ""
        form = f"%y %m %u %g %p %l{times}\\n"
        lines = subprocess.run(["find", *(p for p in places if os.path.lexists(p)), "-type", "d", "-printf", "%y %m %u %g %p\\n", "-o", "-printf", form],
                               capture_output=True, text=True, check=True).stdout.splitlines()
        files = [line.split()[4] for line in lines if line.startswith("f ")]
        lines += subprocess.run(["sha256sum", *files], capture_output=True, text=True, check=True).stdout.splitlines()
        lines += [f"package {name} {version}" for name, version in host_root.installed().items()]
        lines += [f"rule {line.strip()}" for line in self.rules().splitlines()]
        lines += [f"parameter {path} {value}" for path, value in self.parameters().items()]
        return sorted(lines)

    @staticmethod
    def parameters():
        values = {}
        for path in PARAMETERS:
            with open(path, encoding="utf-8") as f:
                values[path] = f.read().strip()
        return values

    def pairs(self, name):
        top = f"{self.base}/{name}"
        for path in [f"/etc/{n}" for n in FILES] + list(PLACES) + [STATES]:
            yield path, top + "/" + path.strip("/").replace("/", "-")

    def save(self, name):
        top = f"{self.base}/{name}"
        remove(top)
        os.makedirs(top + "/packaged")
        for path, kept in self.pairs(name):
            copy(path, kept)
        for path in packaged():
            copy(path, f"{top}/packaged/{path.strip('/').replace('/', '%')}")
        with open(f"{top}/rules", "w", encoding="utf-8") as f:
            f.write("flush ruleset\n" + self.rules())
        self.kept[name] = self.parameters()
        self.saved[name] = self.list("roughly")

    def saved_list(self, name):
        return self.saved[name]

    def load(self, name, base):
        del base
        for path, kept in self.pairs(name):
            if path == "/var/lib/dpkg":  # a mount
                for inside in glob.glob(path + "/*"):
                    remove(inside)
                subprocess.run(["cp", "-a", kept + "/.", path], check=True)
            else:
                copy(kept, path)
        subprocess.run(["nft", "-f", f"{self.base}/{name}/rules"], check=True)
        for path, value in self.kept[name].items():
            with open(path, "w", encoding="utf-8") as f:
                f.write(value)
        for path in packaged():
            remove(path)
        for kept in glob.glob(f"{self.base}/{name}/packaged/*"):
            copy(kept, "/" + os.path.basename(kept).replace("%", "/"))


if __name__ == "__main__":
    if not os.environ.get(host_root.INSIDE):
        suite_world.skip("it is tried on a machine of its own only")
    else:
        suite_world.talk(World())
