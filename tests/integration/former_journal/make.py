#!/usr/bin/env python3
"""Makes the fixtures: DAVIT_BUILD=…/build/dev make.py FOLDER, with a build of the former version that has DAVIT_TEST_HOOKS, as root."""
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from servers.official_runner import Job  # noqa: E402
from world import BASE, DIR, SRC, TARGET, World, listing  # noqa: E402

SAVED = DIR + ".saved"


class Maker:
    def __init__(self, world, folder):
        self.world, self.folder = world, folder

    def save(self):
        shutil.rmtree(SAVED, ignore_errors=True)
        subprocess.run(["cp", "-a", DIR, SAVED], check=True)

    def load(self):
        shutil.rmtree(DIR)
        subprocess.run(["cp", "-a", SAVED, DIR], check=True)

    def newest(self):
        d = self.world.history()[0]
        return d["id"], d["state"], d.get("cleaned", False)

    def begin(self, **more):
        """Version 1, deployed by the former version, and version 2 laid out."""
        self.world.empty()
        self.world.lay("v1")
        code, text = self.world.deploy()
        if code != 0:
            raise SystemExit(text)
        self.first = self.newest()[0]
        self.old = listing()
        self.world.lay("v2", **more)
        self.save()

    def pack(self, name, state, then):
        """then: how the deployment is to end, and which version is there then."""
        facts = {"id": self.newest()[0], "first": self.first, "state": state, "then": then, "old": self.old, "now": listing(),
                 "machine_id": open("/etc/machine-id", encoding="ascii").read().strip()}
        with open(DIR + "/facts.json", "w", encoding="utf-8") as f:
            json.dump(facts, f)
        shutil.rmtree(SRC)
        os.mkdir(SRC)
        subprocess.run(["tar", "--format=posix", "--exclude=./runner-*", "-C", DIR, "-czf", os.path.join(self.folder, name + ".tar.gz"), "."],
                       check=True)
        print(name, facts["id"], state)

    def killed(self, name, state, cleaned, then, which, **more):
        """Killed behind each record in turn; of those that leave this state, one: 0 the first, 0.5 the one in the middle."""
        self.begin(**more)
        found, at = [], 0
        while True:
            at += 1
            self.load()
            code, text = self.world.deploy({"DAVIT_TEST_KILL_AT": str(at)})
            if code not in (-9, 137):
                break
            id_, is_, done = self.newest()
            if id_ != self.first and is_ == state and bool(done) == cleaned:
                found.append(at)
        if not found:
            raise SystemExit(f"never {state}: {text}")
        self.load()
        self.world.deploy({"DAVIT_TEST_KILL_AT": str(found[int(len(found) * which)])})
        self.pack(name, state, then)

    def ended(self, name, state, then, **more):
        self.begin(**more)
        self.world.deploy()
        if self.newest()[1] != state:
            raise SystemExit(f"{name}: {self.newest()}")
        self.pack(name, state, then)

    def job(self):
        self.begin()
        runner = Job(self.world, repository="demo/shop")
        step = runner.uses("archive-upload", source="app", path=TARGET + "/worker",
                           targets=json.dumps({"web": {"local": {}, "base": BASE}}))
        if step.code != 0 or self.newest()[1] != "open":
            raise SystemExit(f"{step!r}")
        self.pack("job", "open", ["undone", "old"])


def main():
    with World(os.path.join(os.environ["DAVIT_BUILD"], "bin", "davit")) as world:
        maker = Maker(world, sys.argv[1])
        maker.killed("preparing", "preparing", False, ["refused", "old"], 0.5)
        maker.killed("open", "open", False, ["undone", "old"], 0.6)
        maker.killed("undoing", "undoing", False, ["undone", "old"], 0.5, gate="false")
        maker.killed("committed_not_cleaned", "committed", False, ["committed", "now"], 0)
        maker.killed("undone_not_cleaned", "undone", False, ["undone", "old"], 0, gate="false")
        maker.ended("committed", "committed", ["committed", "now"])
        maker.ended("undone", "undone", ["undone", "old"], gate="false")
        maker.ended("held", "held", ["undone", "old"], gate="false", on_failure="hold")
        maker.job()
        shutil.rmtree(SAVED, ignore_errors=True)


if __name__ == "__main__":
    main()
