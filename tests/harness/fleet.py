"""Several machines with one journal in a PostgreSQL of the test's own: state directories that stand for machines, and a proxy that breaks
the connection of one of them."""
import contextlib
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import DAVIT, Result, Trial  # noqa: E402
from harness.waiting import until  # noqa: E402
from servers.postgres import Postgres  # noqa: E402

PROXY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "servers", "cut_proxy.py")


class Proxy:
    def __init__(self, port):
        self.process = subprocess.Popen([sys.executable, PROXY, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = json.loads(self.process.stdout.readline())["port"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def order(self, line):
        assert self.ask(line) == "ok"


class Journal:
    """A PostgreSQL that syncs, with an empty database `davit` of a user of that name."""

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.server = stack.enter_context(Postgres(("fsync=on",)))
            self.server.sql("postgres", "CREATE ROLE davit LOGIN; CREATE DATABASE davit OWNER davit")
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def url(self, port=None):
        """Through a proxy, where one is named."""
        if port:
            return f"postgresql://davit@127.0.0.1:{port}/davit?sslmode=disable"
        return f"postgresql://davit@/davit?host={self.server.dir}&port={self.server.port}"

    def sql(self, text):
        return self.server.sql("davit", "SET search_path TO davit; " + text)


class Machine:
    """davit with a state directory of its own, in a trial's directory of sources."""

    def __init__(self, trial, name, url, first=None):
        self.trial, self.state = trial, os.path.join(trial.dir, name)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_", "PG"))}
        self.env["DAVIT_STATE"] = self.state
        words = ["journal", "use", url] + (["--key", "-"] if first else [])
        joined = self.run(*words, given=first.run("journal", "key").out if first else None)
        assert joined.code == 0, joined

    def run(self, *words, given=None, timeout=120):
        return Result(subprocess.run([DAVIT, *words], cwd=self.trial.src, env=self.env, input=(given or "").encode(), capture_output=True,
                                     timeout=timeout))

    def start(self, *words):
        return subprocess.Popen([DAVIT, *words], cwd=self.trial.src, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, start_new_session=True)

    def killed(self, *words, at):
        """davit, killed once `at` is there."""
        with self.start(*words) as davit:
            try:
                until(lambda: os.path.exists(at), at)
            finally:
                davit.send_signal(signal.SIGKILL)

    def history(self):
        return json.loads(self.run("history", "--json").out)


def lay(trial, target, undo="none", steps=(), **more):
    """A deployment that changes a file and then waits until `go-on` is there."""
    wait = f"touch {trial.path('begun')}; while [ ! -e {trial.path('go-on')} ]; do sleep 0.02; done"
    document = {"name": "shop", "environment": "test", "targets": {"web": {**target, "base": trial.base}}, "steps": [
        *steps, {"apply": {"resources": [{"file": {"path": trial.path("conf"), "content": "new"}}]}},
        {"run": {"command": ["sh", "-c", wait], "undo": undo}}], **more}
    trial.write("conf", b"old")
    with open(os.path.join(trial.src, "deploy.yml"), "w", encoding="utf-8") as f:
        json.dump(document, f)


__all__ = ["Journal", "Machine", "Proxy", "Trial", "lay"]
