"""A Compose stack of three services that runs as configured: `davit deploy`, which finds that out, against `docker compose up -d`, which finds it
out too."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from bench import Skip  # noqa: E402
from servers.docker import Docker  # noqa: E402

PROJECT = "davit-bench"


def rows(b):
    why = Docker.why_not()
    if why:
        raise Skip(why)
    place = b.folder("compose")
    with Docker() as docker:
        docker.image("local/bench:1")
        with open(os.path.join(place, "compose.yml"), "w", encoding="ascii") as f:
            json.dump({"services": {n: {"image": "local/bench:1", "stop_grace_period": "1s"} for n in ("web", "worker", "db")}}, f)
        file = os.path.join(place, "deploy.json")
        with open(file, "w", encoding="ascii") as f:
            json.dump({"name": "bench", "environment": "test", "targets": {"here": {"local": {}, "base": os.path.join(place, "base")}},
                       "steps": [{"compose-up": {"project": PROJECT, "directory": place, "settle": "0s", "docker_host": docker.host,
                                                 "docker_config": docker.config}}]}, f)
        os.chmod(file, 0o600)
        deploy = ["env", f"DAVIT_STATE={os.path.join(place, 'state')}", b.program("bin/davit"), "deploy", file]
        subprocess.run(deploy, check=True, stdout=subprocess.DEVNULL)
        up = ["env", f"DOCKER_HOST={docker.host}", f"DOCKER_CONFIG={docker.config}", "docker", "compose", "-p", PROJECT, "-f",
              os.path.join(place, "compose.yml"), "up", "-d"]
        b.compare("a Compose stack, nothing to change", deploy, {"docker compose up -d": (up, 0.5, 0.4)})
