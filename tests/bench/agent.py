"""The idle agent: its memory against a bare node, what a further registration costs, its processor time in a minute. Against the forge
with TLS on loopback, its certificate behind the system's bundle, so that the agent parses what it would parse for GitHub.

As a module: rows(record) calls record(name, ours, yardstick, unit, must, aim) a row. As a program: prints them."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration" / "agent"))
from harness import Agent, Forge, until  # noqa: E402

REGISTRATIONS = 50
IDLE_S = 60
SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def rss_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def cpu_ms(pid):
    """Time on a processor, from the scheduler's own count in nanoseconds."""
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def settled(pid):
    """The memory once it does not change for a second."""
    last, since = rss_kib(pid), time.monotonic()

    def same():
        nonlocal last, since
        now = rss_kib(pid)
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > 1
    until("the memory settles", same, 60)
    return last


class Setup:
    def __init__(self, repositories):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="davit-bench-agent-"))
        self.repositories = [f"acme/r{i}" for i in range(repositories)]
        self.forge = Forge(self.repositories, tls=True).start()
        bundle = self.root / "bundle.pem"
        system = pathlib.Path(SYSTEM_BUNDLE)
        bundle.write_bytes((system.read_bytes() if system.exists() else b"") + pathlib.Path(self.forge.ca_file).read_bytes())
        self.agent = Agent(self.root, SSL_CERT_FILE=str(bundle), DAVIT_PACE_PERCENT="100")

    def listen(self, count):
        for name in self.repositories[:count]:
            self.agent.configure(self.forge, name)
        self.agent.start().listening(count)
        until("all poll", lambda: sum(r["polling"] for r in self.forge.runners()) >= count)
        return self.agent.process.pid

    def close(self):
        self.agent.kill()
        self.forge.__exit__()
        shutil.rmtree(self.root, ignore_errors=True)


def measure(count, then=None):
    setup = Setup(count)
    try:
        pid = setup.listen(count)
        memory = settled(pid)
        return memory, then(pid) if then else None
    finally:
        setup.close()


def idle_cpu(pid):
    before, end = cpu_ms(pid), time.monotonic() + IDLE_S
    until("the minute is over", lambda: time.monotonic() >= end, IDLE_S + 10)
    return cpu_ms(pid) - before


def node_rss():
    program = shutil.which("node")
    if program is None:
        return None
    node = subprocess.Popen([program, "-e", "setInterval(()=>{},1e9)"], stdin=subprocess.DEVNULL, env={**os.environ, "NODE_OPTIONS": ""})
    try:
        until("node runs", lambda: rss_kib(node.pid) > 20000, 30)
        return settled(node.pid)
    finally:
        node.kill()
        node.wait()


def rows(record):
    node = node_rss()
    one, cpu = measure(1, idle_cpu)
    many, _ = measure(REGISTRATIONS)
    record("idle agent, 1 registration, RSS", one, node, "KiB", 0.40, 0.28)
    record("each further registration, RSS", (many - one) / (REGISTRATIONS - 1), None, "KiB", 64, 20)
    record("idle CPU with one poll, 60 s", cpu, None, "ms", 10, 1)


def show(name, ours, yardstick, unit, must, aim):
    ratio = ours / yardstick if yardstick else ours
    verdict = "aim" if ratio <= aim else "must" if ratio <= must else "MISSED"
    against = f" against {yardstick:.0f} {unit}: {ratio:.3f}" if yardstick else ""
    print(f"{name}: {ours:.1f} {unit}{against} (must {must}, aim {aim}): {verdict}", flush=True)


if __name__ == "__main__":
    rows(show)
