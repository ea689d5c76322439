#!/usr/bin/env python3
"""A Proxmox server for the contract suite, whose token has the suite's secrets. What is compared of it: what each guest is, and how many snapshots of
davit's it has, whose names are new ones in each run."""
import copy
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from servers import suite_world  # noqa: E402
from servers.proxmox import USER, Proxmox  # noqa: E402


class Server(Proxmox):
    def knows(self, secret):
        return secret.startswith("never-to-be-seen-9c41-")


class World:
    def __init__(self, server):
        self.server, self.saved = server, {}
        self.facts = {"url": server.url, "user": USER, "fingerprint": server.fingerprint}
        server.add_guest(101, "web")
        server.add_guest(200, "db", kind="qemu")

    def list(self, detail):
        with self.server.lock:
            self.server.advance()
            lines = []
            for vmid, g in sorted(self.server.guests.items()):
                lines.append(f"guest {vmid} {g['status']} {json.dumps(g['config'], sort_keys=True)} {g['data']} lock {g['lock']}")
                lines += [f"snapshot of {vmid} number {i} {s['state']} {s['vmstate']}" for i, s in enumerate(g["snapshots"].values())]
            changed = sum(1 for method, _, _ in self.server.requests if method != "GET")
            return lines + ([f"asked to change {changed}"] if detail == "touched" else []) + [f"wrong {w}" for w in self.server.wrong]

    def save(self, name):
        self.saved[name] = (copy.deepcopy(self.server.guests), self.list("roughly"))

    def saved_list(self, name):
        return self.saved[name][1]

    def load(self, name, base):
        del base
        with self.server.lock:
            self.server.tasks.clear()
            self.server.guests = copy.deepcopy(self.saved[name][0])


def main():
    with Server() as server:
        suite_world.talk(World(server))


if __name__ == "__main__":
    main()
