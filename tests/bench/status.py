"""`davit status` of a host with 30 containers, a program's start and one SSH connection included."""
import json
import os
import statistics
import subprocess
import time

from bench import Skip
from servers.docker import Docker
from servers.sshd import SSHD, Sshd

CONTAINERS = 30


def rows(b):
    if not os.path.exists(SSHD):
        raise Skip("sshd is not installed")
    why = Docker.why_not()
    if why:
        raise Skip(why)
    count = 3 if b.quick else CONTAINERS
    place = b.folder("status")
    with Docker() as docker, Sshd(options=[f"SetEnv SHLVL=9 DOCKER_HOST={docker.host} DOCKER_CONFIG={docker.config}"]) as server:
        docker.image("local/bench:1")
        for i in range(count):
            docker.run("run", "-d", "--network", "none", "--label", "com.docker.compose.project=bench", "--label",
                       f"com.docker.compose.service=s{i}", "local/bench:1")
        file = os.path.join(place, "deploy.json")
        with open(file, "w", encoding="ascii") as f:
            json.dump({"name": "bench", "environment": "test", "targets": {"web": server.target(base=os.path.join(place, "base"))}, "steps": []}, f)
        os.chmod(file, 0o600)
        ours = ["env", f"DAVIT_STATE={os.path.join(place, 'state')}", b.program("bin/davit"), "status", "web", "--file", file, "--json"]
        times = []
        for _ in range(b.pairs + 1):                              # the first one warms up
            start = time.monotonic()
            said = subprocess.run(ours, check=True, capture_output=True)
            times.append(time.monotonic() - start)
        if len(json.loads(said.stdout)[0]["targets"][0]["containers"]) != count:
            raise RuntimeError("not every container is shown")
        b.add(f"status of a host with {count} containers", "-", statistics.median(times[1:]), 1.0, 0.5, unit="s")
