"""Desired states of an API: what a plan of many resources costs beyond the time that the service takes for its requests, 16 at once."""
import json
import os
import statistics
import subprocess
import time

from servers.scaleway import TOKEN, Scaleway

AT_ONCE, PAUSE_S = 16, 0.05


def write(path, s, base, count):
    volumes = [{"scaleway_volume": {"name": f"data{i}", "size": 20}} for i in range(count // 2)]
    servers = [{"scaleway_instance": {"name": f"web{i}", "commercial_type": "DEV1-S", "image": "debian_bookworm", "root_size": 10}} for i in range(count - count // 2)]
    with open(path, "w") as f:
        json.dump({"name": "bench", "environment": "test", "targets": {"here": {"local": {}, "base": base}, "cloud": s.target()},
                   "steps": [{"apply": {"target": "cloud", "resources": [*volumes, *servers]}}]}, f)


def plan(b, path):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_"))}
    env.update(DAVIT_STATE=os.path.join(b.place, "api-state"), SCW_TOKEN=TOKEN)
    done = subprocess.run([b.program("bin/davit"), "deploy", "--plan", "--secret", "SCW_TOKEN", path], env=env, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(f"davit deploy --plan: status {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}")


def rows(b):
    count = 20 if b.quick else 200
    path, ratios, spent = os.path.join(b.place, "api.json"), [], []
    for _ in range(b.pairs):
        with Scaleway(quota=1000) as s:
            write(path, s, os.path.join(b.place, "api-base"), count)
            s.flight.pause_s = PAUSE_S
            start = time.monotonic()
            plan(b, path)
            spent.append(time.monotonic() - start)
            ratios.append(spent[-1] / (len(s.requests) * PAUSE_S / AT_ONCE))
            if s.flight.most > AT_ONCE:
                raise RuntimeError(f"{s.flight.most} requests at once")
            requests = len(s.requests)
    b.add(f"plan of {count} resources of an API, {requests} requests", f"{AT_ONCE} at once, each of {PAUSE_S * 1000:.0f} ms", statistics.median(ratios), 2.0, 1.2)
