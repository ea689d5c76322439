"""The idle agent: its memory against a bare node, what a further registration costs, its processor time in a minute. Against the forge
with TLS on loopback, its certificate behind the system's bundle, so that the agent parses what it would parse for GitHub.

As a module of tests/bench/run: rows(bench). As a program: prints the rows."""
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration" / "agent"))
import harness  # noqa: E402
from harness import Agent, Forge, rss_kib, settled_kib, until  # noqa: E402

REGISTRATIONS = 50
POLL_MAX_S = 90
IDLE_POLL_S = 40                                 # well within a poll
POLL_S = 50                                      # as GitHub holds a poll
IDLE_S = 60                                      # longer than a poll lasts at GitHub (50 s), as it does at the forge
SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def cpu_ms(pid):
    """Time on a processor, from the scheduler's own count in nanoseconds."""
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


class Setup:
    def __init__(self, repositories, tls=True, options=()):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="davit-bench-agent-"))
        self.repositories = [f"acme/r{i}" for i in range(repositories)]
        self.forge = Forge(self.repositories, options, tls=tls).start()
        bundle = self.root / "bundle.pem"
        system = pathlib.Path(SYSTEM_BUNDLE)
        own = pathlib.Path(self.forge.ca_file).read_bytes() if tls else b""
        bundle.write_bytes((system.read_bytes() if system.exists() else b"") + own)
        self.agent = Agent(self.root, SSL_CERT_FILE=str(bundle), DAVIT_PACE_PERCENT="100")

    def begin(self, count):
        for name in self.repositories[:count]:
            self.agent.configure(self.forge, name)
        self.agent.start().listening(count)
        return self.agent.process.pid

    def listen(self, count):
        pid = self.begin(count)
        until("all poll", lambda: sum(r["polling"] for r in self.forge.runners()) >= count)
        return pid

    def close(self):
        self.agent.kill()
        self.forge.__exit__()
        shutil.rmtree(self.root, ignore_errors=True)


def measure_wakes():
    """Asking the forge costs the agent nothing."""
    setup = Setup(1)
    try:
        return within_a_poll(setup, setup.listen(1))
    finally:
        setup.close()


def measure(count, then=None):
    setup = Setup(count)
    try:
        pid = setup.listen(count)
        memory = settled_kib(pid)
        return memory, then(pid) if then else None
    finally:
        setup.close()


def idle_cpu(pid, seconds):
    before, end = cpu_ms(pid), time.monotonic() + seconds
    until("the time is over", lambda: time.monotonic() >= end, seconds + 10)
    return cpu_ms(pid) - before


def idle_polls(pid, setup, seconds):
    """→ (processor time in ms, polls that ended) meanwhile."""
    before, cpu = len(polls(setup)), idle_cpu(pid, seconds)
    return cpu, len(polls(setup)) - before


def spread(setup, count, poll_s):
    """Has the first polls end one after the other, so that all later ones do; none of them has begun yet."""
    for i in range(count):
        setup.forge.faults(path="/message", method="GET", status=202, delay_ms=int(1000 * poll_s * (i + 1) / count))


def floor_of(bench_program, count, poll_s, first_s, seconds, one_by_one):
    """A program that only receives and sends as many polls of the same size, which count behind first_s for so long."""
    return subprocess.Popen([bench_program, str(count), str(int(1000 * poll_s)), str(int(1000 * first_s)), str(seconds), str(int(one_by_one))],
                            stdout=subprocess.PIPE, text=True)


def taken(floor, seconds=60):
    """→ (processor time in ms, polls)"""
    nanoseconds, count = map(int, floor.communicate(timeout=seconds)[0].split())
    return nanoseconds / 1e6, count


def measure_all_at_once(count, seconds, poll_s, bench_program):
    """As measure_one_by_one."""
    setup, floor = Setup(count, options=("--poll", f"{poll_s}s")), None
    try:
        pid = setup.listen(count)
        floor = floor_of(bench_program, count, poll_s, 0, seconds, False)
        return idle_polls(pid, setup, seconds), taken(floor)
    finally:
        end(floor)
        setup.close()


def end(program):
    if program is not None and program.poll() is None:
        program.kill()
        program.wait()


def measure_one_by_one(count, seconds, poll_s, bench_program):
    """→ (what the agent took, what a program that only receives and sends took beside it, of the same number of polls), in ms and polls."""
    setup, floor = Setup(count, options=("--poll", f"{poll_s}s")), None
    try:
        spread(setup, count, poll_s)
        pid, begin = setup.begin(count), time.monotonic()
        floor = floor_of(bench_program, count, poll_s, poll_s + 3, seconds, True)
        until("all polls have been spread", lambda: time.monotonic() > begin + poll_s + 3, poll_s + 10)
        ours = idle_polls(pid, setup, seconds)
        return ours, taken(floor)
    finally:
        end(floor)
        setup.close()


def wakes(pid):
    """How often its threads have gone to sleep."""
    texts = [p.read_text() for p in pathlib.Path(f"/proc/{pid}/task").glob("*/status")]
    return sum(int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("voluntary_ctxt_switches:"))


def within_a_poll(setup, pid):
    """→ wakes, from one second behind the begin of a poll to its end: nobody asks for anything then."""
    until("a poll ends", lambda: polls(setup), POLL_MAX_S)
    begun, seconds = len(polls(setup)), IDLE_POLL_S
    start = time.monotonic()
    until("the new poll has begun", lambda: time.monotonic() > start + 3, 10)
    before, start = wakes(pid), time.monotonic()
    until("some seconds of it", lambda: time.monotonic() > start + seconds, seconds + 10)
    found = wakes(pid) - before
    assert len(polls(setup)) == begun, "the poll ended meanwhile"
    return found


def polls(setup):
    return [r for r in setup.forge.requests("/message") if r["method"] == "GET"]


def node_rss():
    program = shutil.which("node")
    if program is None:
        return None
    node = subprocess.Popen([program, "-e", "setInterval(()=>{},1e9)"], stdin=subprocess.DEVNULL, env={**os.environ, "NODE_OPTIONS": ""})
    try:
        until("node runs", lambda: rss_kib(node.pid) > 20000, 30)
        return settled_kib(node.pid)
    finally:
        node.kill()
        node.wait()


class Front:
    """nginx with TLS and HTTP/2 before the forge's queue: every poll is a stream of one connection."""

    def __init__(self, root, forge_url):
        self.root, self.port = pathlib.Path(root) / "front", free_port()  # nginx gives it to its worker's user
        self.root.mkdir()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.root / "front.key", "-out", self.root / "front.pem"],
                       check=True, capture_output=True)
        (self.root / "nginx.conf").write_text(f"""
daemon off; pid {self.root}/nginx.pid; error_log {self.root}/nginx.log; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {self.root}; proxy_temp_path {self.root}; fastcgi_temp_path {self.root};
  uwsgi_temp_path {self.root}; scgi_temp_path {self.root}; http2_max_concurrent_streams 512;
  server {{
    listen 127.0.0.1:{self.port} ssl http2; ssl_certificate {self.root}/front.pem; ssl_certificate_key {self.root}/front.key;
    location / {{ proxy_pass {forge_url}; proxy_read_timeout 120s; proxy_buffering off; }}
  }}
}}
""")
        self.process = subprocess.Popen([shutil.which("nginx") or "/usr/sbin/nginx", "-c", self.root / "nginx.conf"],
                                        stderr=subprocess.DEVNULL)
        self.url = f"https://127.0.0.1:{self.port}"

    def close(self):
        self.process.terminate()
        self.process.wait()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def measure_http2(count, starts=3, seconds=0, poll_s=POLL_S):
    """→ (memory with so many registrations whose queue speaks HTTP/2, the median of some starts: how much of its libraries an agent has
    touched last differs by 200 KiB; processor time in ms in these seconds of the last start, polls that ended then)."""
    setup = Setup(count, tls=False, options=("--poll", f"{poll_s}s"))
    front = Front(setup.root, setup.forge.url)
    try:
        with open(setup.root / "bundle.pem", "ab") as bundle:
            bundle.write((front.root / "front.pem").read_bytes())
        for name in setup.repositories:
            setup.agent.configure(setup.forge, name)
        for record in setup.agent.root.glob("agent/registrations/*/registration.json"):
            text = json.loads(record.read_text())
            text["broker_url"] = text["broker_url"].replace(setup.forge.url, front.url)
            record.write_text(json.dumps(text))
        found = []
        for start in range(starts):
            setup.agent.start().listening(count * (start + 1))
            until("all poll", lambda: sum(r["polling"] for r in setup.forge.runners()) >= count)
            found.append(settled_kib(setup.agent.process.pid))
            if start + 1 < starts:
                setup.agent.stop()
        cpu, ended = idle_polls(setup.agent.process.pid, setup, seconds) if seconds else (0, 0)
        return statistics.median(found), cpu, ended
    finally:
        setup.close()
        front.close()


def measure_all(record, poll_bench, idle_s=IDLE_S, registrations=REGISTRATIONS):
    node = node_rss()
    one, (cpu, later) = measure(1, lambda pid: (idle_cpu(pid, idle_s), rss_kib(pid)))
    many, _ = measure(registrations)
    many_of_them, poll_s = 2 * registrations, POLL_S if idle_s >= IDLE_S else 1
    if node is not None:
        record("memory of an idle agent, 1 registration", "bare node", max(one, later) / node, 0.20, 0.18, "ratio", kib=later, kib_before_the_first_poll_ended=one)
    record("memory of each further registration, HTTP/1.1", "-", (many - one) / (registrations - 1), 64, 20, "KiB")
    if shutil.which("nginx") or os.path.exists("/usr/sbin/nginx"):
        memory, cpu_of_streams, polls_of_streams = measure_http2(many_of_them, seconds=idle_s, poll_s=poll_s)
        record("memory of each further registration, HTTP/2", "-", (memory - measure_http2(1)[0]) / (many_of_them - 1), 16, 14, "KiB")
        record(f"idle CPU with {many_of_them} registrations, HTTP/2, 60 s, all at once", "-", cpu_of_streams, 5, 3, "ms", polls=polls_of_streams)
    record("idle CPU with one poll, 60 s", "-", cpu, 10, 1, "ms")
    for how, measured in (("all at once", measure_all_at_once), ("one by one", measure_one_by_one)):
        (ours, count), (floor, count_of_floor) = measured(many_of_them, idle_s, poll_s, poll_bench)
        record(f"idle CPU with {many_of_them} registrations, 60 s, {how}", "-", ours, 5, 3, "ms", polls=count)
        record(f"a poll of them, {how}", "recv and send", ours / count / (floor / count_of_floor), 4, 3, "ratio", us=1000 * ours / count,
               us_of_the_other=1000 * floor / count_of_floor)
    if idle_s >= IDLE_S:
        record(f"wake-ups in {IDLE_POLL_S} s of one poll", "-", measure_wakes(), 1, 0, "times")


def rows(bench):
    os.environ["DAVIT_BUILD"] = str(bench.build)
    harness.DAVIT = bench.program("bin/davit")
    bench.program("bin/davit-forge")
    if shutil.which("node") is None:
        bench.skip("memory of an idle agent, 1 registration", "node is not installed")
    measure_all(bench.add, bench.program("tests/poll_bench"), *((2, 5) if bench.quick else ()))


def show(case, against, value, must, aim, unit="ratio", **more):
    verdict = "aim" if value <= aim else "must" if value <= must else "MISSED"
    print(f"{case} against {against}: {value:.3f} {unit} (must {must}, aim {aim}): {verdict} {more or ''}", flush=True)


if __name__ == "__main__":
    measure_all(show, harness.BUILD / "tests/poll_bench")
