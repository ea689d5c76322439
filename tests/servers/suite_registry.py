#!/usr/bin/env python3
"""A registry for the contract suite, which wants a login: anybody's whose password begins as the suite's secrets do. What is compared of it: which
digest each tag leads to, and whether all that it names is there. What was copied for a tag stays when the tag goes."""
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from servers import suite_world  # noqa: E402
from servers.registry import Registry  # noqa: E402

REPOSITORIES = ("shop/web", "live/web")


class Users(dict):
    """deployer-N has the secret of the Nth example."""

    def get(self, user, default=None):
        name, _, number = user.partition("-")
        return f"never-to-be-seen-9c41-{number}" if name == "deployer" else default


class World:
    def __init__(self, registry):
        self.registry, self.saved = registry, {}
        self.data = os.path.join(registry.folder, "data")
        self.facts = {"url": registry.url}
        registry.push_index("shop/web", "production", "old")
        registry.push_index("shop/web", "staging", "new")

    def tags(self, name):
        status, _, body = self.registry.request("GET", f"/v2/{name}/tags/list")
        return suite_world.json.loads(body)["tags"] or [] if status == 200 else []

    def files(self):
        for folder, _, names in os.walk(self.data):
            for name in names:
                path = os.path.join(folder, name)
                yield f"file {path[len(self.data):]} {os.stat(path).st_mtime_ns}"

    def list(self, detail):
        lines = [f"tag {name}:{tag} {self.registry.digest(name, tag)} {self.registry.whole(name, tag)} blobs"
                 for name in REPOSITORIES for tag in self.tags(name)]
        return sorted(lines + (list(self.files()) if detail == "touched" else []))

    def _copy(self, name):
        return os.path.join(self.registry.folder, "saved-" + name)

    def save(self, name):
        """The server keeps nothing but its files."""
        shutil.rmtree(self._copy(name), ignore_errors=True)
        shutil.copytree(self.data, self._copy(name), symlinks=True)
        self.saved[name] = self.list("roughly")

    def saved_list(self, name):
        return self.saved[name]

    def load(self, name, base):
        del base
        shutil.rmtree(self.data)
        shutil.copytree(self._copy(name), self.data, symlinks=True)


def main():
    if not Registry.available():
        suite_world.skip("docker-registry is missing")
        return
    with Registry(users=Users({"deployer-0": ""})) as registry:
        suite_world.talk(World(registry))


if __name__ == "__main__":
    main()
