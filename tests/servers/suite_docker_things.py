#!/usr/bin/env python3
"""A Docker engine for the contract suite, of which apply changes networks and volumes. What is compared of it: their names and what they are; ids and times are
new ones in each run."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from servers import suite_world  # noqa: E402
from servers.docker import Docker  # noqa: E402


class World:
    def __init__(self, docker):
        self.docker, self.saved = docker, {}
        self.facts = {"docker_host": docker.host}

    def of(self, *command):
        names = self.docker.run(*command).split()
        return [self.docker.inspect(name)[0] if command[0] == "network" else json.loads(self.docker.run("volume", "inspect", name))[0] for name in sorted(names)]

    def networks(self):
        return self.of("network", "ls", "--format", "{{.Name}}", "--filter", "type=custom")

    def volumes(self):
        return self.of("volume", "ls", "-q")

    def list(self, detail):
        lines = [f"network {n['Name']} {n['Driver']} {n['Internal']}" + (f" {n['Id']}" if detail == "touched" else "") for n in self.networks()]
        return lines + [f"volume {v['Name']} {v['Driver']}" + (f" {v['CreatedAt']}" if detail == "touched" else "") for v in self.volumes()]

    def save(self, name):
        self.saved[name] = self.list("roughly")

    def saved_list(self, name):
        return self.saved[name]

    def load(self, name, base):
        del base
        now, was = set(self.list("roughly")), set(self.saved[name])
        for line in sorted(now - was):
            self.docker.run(line.split()[0], "rm", line.split()[1])
        for line in sorted(was - now):
            kind, one, driver, *internal = line.split()
            self.docker.run(kind, "create", "--driver", driver, *(["--internal"] if internal == ["True"] else []), one)


def main():
    why = Docker.why_not()
    if why:
        suite_world.skip(why)
        return
    with Docker() as docker:
        suite_world.talk(World(docker))


if __name__ == "__main__":
    main()
