"""One command on a server behind SSH, on a new connection: a deployment of a single run step against ssh itself."""
import json
import os

from bench import Skip
from servers.sshd import SSHD, Sshd

KEX = "ecdh-sha2-nistp256"      # one that both sides have and neither prefers: the same work for both


def rows(b):
    if not os.path.exists(SSHD):
        raise Skip("sshd is not installed")
    place = b.folder("connect")
    with Sshd(options=[f"KexAlgorithms {KEX}"]) as server:
        file = os.path.join(place, "deploy.json")
        with open(file, "w", encoding="ascii") as f:
            json.dump({"name": "bench", "environment": "test", "targets": {"web": server.target(base=os.path.join(place, "base"))},
                       "steps": [{"run": {"command": ["true"], "undo": "none"}}]}, f)
        os.chmod(file, 0o600)
        ours = ["env", f"DAVIT_STATE={os.path.join(place, 'state')}", b.program("bin/davit"), "deploy", file]
        theirs = ["ssh", "-F", "none", "-p", str(server.port), "-i", server.key, "-o", "StrictHostKeyChecking=no", "-o",
                  "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", f"{server.user}@127.0.0.1", "true"]
        b.compare("one run step on a new connection", ours, {"ssh host true": (theirs, 0.9, 0.5)})
