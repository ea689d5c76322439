#!/usr/bin/env python3
"""A Docker engine for the contract suite, with the images of its Compose project. What is compared of it: the containers of the project, its
networks, its volumes, the tags of images. A container that is made anew has a new id and a new time, so those are compared only of the service that no
version touches. A container that stands still is the same whether it has run or not: what runs once does not run again for a way back. The volumes
of a stack stay when it is taken back: only those that were there before are looked for."""
import hashlib
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from servers import suite_world  # noqa: E402
from servers.docker import Docker  # noqa: E402

PROJECT = "davit-example"
UNTOUCHED = "steady"
LABEL = f"label=com.docker.compose.project={PROJECT}"


def digest(value):
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]


class World:
    def __init__(self, docker):
        self.docker, self.saved, self.volumes = docker, {}, []
        self.facts = {"docker_host": docker.host, "docker_config": docker.config}
        for version in ("1", "2"):
            docker.image(f"local/web:{version}", env={"VERSION": version})

    def container(self, service, one, detail):
        labels, state = one["Config"]["Labels"], one["State"]
        line = (f"container {service} image {one['Image'][7:19]} hash {labels['com.docker.compose.config-hash'][:12]} oneoff "
                f"{labels['com.docker.compose.oneoff']} {'runs' if state['Running'] else 'stands still'} restarts {one['RestartCount']} "
                f"env {digest(one['Config']['Env'])} command {one['Config']['Cmd']} mounts {sorted((m.get('Name'), m['Destination']) for m in one['Mounts'])} "
                f"networks {sorted(one['NetworkSettings']['Networks'])} limits {digest(one['HostConfig'])}")
        if detail == "touched" or (detail == "wholly" and service == UNTOUCHED):
            line += f" {one['Name']} {one['Id'][:12]} created {one['Created']} started {state['StartedAt']}"
        return line

    def tags(self):
        """name → id"""
        lines = self.docker.run("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").split("\n")
        return dict(line.split(" ") for line in lines if line)

    def networks(self):
        return self.docker.run("network", "ls", "--format", "{{.Name}}", "--filter", LABEL).split()

    def all_volumes(self):
        return self.docker.run("volume", "ls", "--format", "{{.Name}}", "--filter", LABEL).split()

    def list(self, detail):
        lines = [self.container(service, one, detail) for service, found in self.docker.containers(PROJECT).items() for one in found]
        for network in self.networks():
            (one,) = self.docker.inspect(network)
            lines.append(f"network {network} {sorted(one['Labels'].items())}" + (f" {one['Id'][:12]} {one['Created']}" if detail == "touched" else ""))
        there = self.all_volumes()
        lines += [f"volume {name}" for name in there if detail == "touched" or name in self.volumes]
        lines += [f"tag {name} {image}" for name, image in self.tags().items()]
        return sorted(lines)

    def save(self, name):
        self.volumes = self.all_volumes()
        self.saved[name] = {"lines": self.list("roughly"), "tags": self.tags(), "volumes": self.volumes, "runs": bool(self.docker.containers(PROJECT))}

    def saved_list(self, name):
        return self.saved[name]["lines"]

    def load(self, name, base):
        """By Compose itself, from the configuration that davit kept of what ran."""
        was = self.saved[name]
        self.volumes = was["volumes"]
        if self.list("roughly") == was["lines"]:
            return
        now = self.tags()
        gone = [tag for tag in now if tag not in was["tags"]]
        if was["runs"]:
            current = os.path.join(base, "compose", PROJECT, "current")
            self.docker.compose(PROJECT, "-f", current, "up", "--detach", "--no-build", "--pull", "never", "--remove-orphans", "--quiet-pull")
            stray = set(self.networks()) - {line.split()[1] for line in was["lines"] if line.startswith("network ")}
            for network in stray:
                self.docker.run("network", "rm", network)
        else:
            self.docker.compose(PROJECT, "down", "--remove-orphans", "--timeout", "1")
        for tag, image in was["tags"].items():
            if now.get(tag) != image:
                self.docker.run("tag", image, tag)
        if gone:
            self.docker.run("rmi", "--no-prune", *gone)


def main():
    why = Docker.why_not()
    if why:
        suite_world.skip(why)
        return
    with Docker() as docker:
        suite_world.talk(World(docker))


if __name__ == "__main__":
    main()
