#!/usr/bin/env python3
"""A machine with systemd for the contract suite, which runs on it: what apply changes of its units beside the tree of the suite."""
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from servers import host_root, suite_world  # noqa: E402

ETC, KEPT = "/etc/systemd/system", "/var/lib/davit-units"
UNITS = ("davit-example.service", "davit-other.service")


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def is_active(unit):
    return said("systemctl", "is-active", unit).strip() == "active"


class World:
    facts = {"here": True}

    def __init__(self):
        self.base = "/tmp/davit-suite-saved"
        os.makedirs(self.base)
        self.saved = {}

    def list(self, detail):
        times = " %T@" if detail == "touched" else ""
        places = [p for p in (ETC, KEPT) if os.path.exists(p)]
        lines = said("find", *places, "-type", "d", "-printf", "%y %m %u %g %p\\n", "-o", "-printf", f"%y %m %u %g %p %l{times}\\n").splitlines()
        files = [f"{ETC}/{unit}" for unit in UNITS if os.path.isfile(f"{ETC}/{unit}")]
        lines += said("sha256sum", *files).splitlines() if files else []
        for unit in UNITS:
            lines.append(f"{unit} " + " ".join(said("systemctl", "show", "-p", "LoadState", "-p", "ActiveState", "-p", "UnitFileState", "-p", "NeedDaemonReload", unit).split()))
        # What runs was started with the file that is there.
        lines += [f"{unit} runs {said('cat', '/run/' + unit).strip()}" for unit in UNITS if is_active(unit)]
        return sorted(lines)

    def save(self, name):
        top = f"{self.base}/{name}"
        shutil.rmtree(top, ignore_errors=True)
        shutil.copytree(ETC, top + "/etc", symlinks=True)
        if os.path.isdir(KEPT):
            shutil.copytree(KEPT, top + "/kept")
        with open(top + "/active", "w", encoding="utf-8") as f:
            f.write("\n".join(unit for unit in UNITS if is_active(unit)))
        self.saved[name] = self.list("roughly")

    def saved_list(self, name):
        return self.saved[name]

    def load(self, name, base):
        del base
        top = f"{self.base}/{name}"
        subprocess.run(["systemctl", "stop", *UNITS], capture_output=True, check=False)
        shutil.rmtree(ETC)
        shutil.rmtree(KEPT, ignore_errors=True)
        shutil.copytree(top + "/etc", ETC, symlinks=True)
        if os.path.isdir(top + "/kept"):
            shutil.copytree(top + "/kept", KEPT)
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        subprocess.run(["systemctl", "reset-failed"], check=True)
        with open(top + "/active", encoding="utf-8") as f:
            active = f.read().split()
        if active:
            subprocess.run(["systemctl", "start", *active], check=True)


if __name__ == "__main__":
    if not os.environ.get(host_root.INSIDE):
        suite_world.skip("it is tried on a machine of its own only")
    else:
        suite_world.talk(World())
