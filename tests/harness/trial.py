"""A place to deploy from: a folder of its own with a deployment file, a state folder, and davit as a user calls it.

    from harness.trial import Trial, main
    with Trial() as t:
        result = t.deploy({"steps": [...], "targets": {"web": server.target()}}, secrets={"TOKEN": "x"})
        t.assertions…

Everything lies below t.dir and is removed at the end.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUILD = os.environ.get("DAVIT_BUILD", os.path.join(os.path.dirname(__file__), "..", "..", "build", "dev"))
DAVIT = os.path.join(BUILD, "bin", "davit")
SKIP = 77


class Result:
    def __init__(self, process):
        self.code = process.returncode
        self.out = process.stdout.decode("utf-8", "replace")
        self.err = process.stderr.decode("utf-8", "replace")
        self.text = self.out + self.err

    def __repr__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Trial:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="davit-trial-")
        os.chmod(self.dir, 0o755)
        self.state = os.path.join(self.dir, "state")
        self.src = os.path.join(self.dir, "src")
        self.target_dir = os.path.join(self.dir, "target")
        self.base = os.path.join(self.dir, "base")
        for path in (self.src, self.target_dir):
            os.mkdir(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, *names):
        """A path on the target."""
        return os.path.join(self.target_dir, *names)

    def read(self, *names):
        with open(self.path(*names), "rb") as f:
            return f.read()

    def write(self, name, data, mode=0o644):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)
        os.chmod(path, mode)
        return path

    def run(self, *args, env=None, timeout=120):
        whole = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_"))}
        whole["DAVIT_STATE"] = self.state
        whole.update(env or {})
        return Result(subprocess.run([DAVIT, *args], cwd=self.src, env=whole, stdin=subprocess.DEVNULL, capture_output=True,
                                     timeout=timeout))

    def start(self, *args, log):
        """The same in a process group of its own that can be killed; its output goes to that file."""
        with open(log, "wb") as out:
            return subprocess.Popen([DAVIT, *args], cwd=self.src, env={**os.environ, "DAVIT_STATE": self.state}, stdin=subprocess.DEVNULL,
                                    stdout=out, stderr=subprocess.STDOUT, start_new_session=True)

    def deploy(self, document, *args, secrets=None, env=None, timeout=120):
        """document: a dict; name and environment are added. Secrets go by the environment, as `--secret NAME` wants them."""
        whole = {"name": "shop", "environment": "test", **document}
        for target in whole.get("targets", {}).values():
            if "local" in target or "ssh" in target:
                target.setdefault("base", self.base)
        with open(os.path.join(self.src, "deploy.yml"), "w") as f:
            json.dump(whole, f, indent=1)
        options = [x for name in secrets or {} for x in ("--secret", name)]
        return self.run("deploy", "deploy.yml", *options, *args, env={**(secrets or {}), **(env or {})}, timeout=timeout)

    def files_of(self, *folders):
        """Every file below, with its bytes."""
        for folder in folders:
            for top, _, names in os.walk(folder):
                for name in names:
                    path = os.path.join(top, name)
                    if os.path.isfile(path) and not os.path.islink(path):
                        with open(path, "rb") as f:
                            yield path, f.read()


class Service:
    """A web service: answer(path, count) → status or (status, headers, body); count: requests so far; requests: (method, path, body)."""

    def __init__(self, answer):
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                given_body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with service.lock:
                    service.count += 1
                    service.requests.append((self.command, self.path, given_body))
                    given = answer(self.path, service.count)
                status, headers, body = given if isinstance(given, tuple) else (given, {}, b"")
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_PATCH = do_GET

            def log_message(self, *_):
                pass

        self.requests = []
        self.lock = threading.Lock()
        self.count = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Case(unittest.TestCase):
    def assert_exit(self, result, code):
        self.assertEqual(result.code, code, repr(result))

    def assert_says(self, result, *words):
        for word in words:
            self.assertIn(word, result.text, repr(result))

    def assert_silent(self, result, *words):
        for word in words:
            self.assertNotIn(word, result.text, repr(result))


def main(runner=None):
    """All skipped counts as skipped for ctest."""
    program = unittest.main(exit=False, verbosity=2, testRunner=runner)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIP if result.testsRun > 0 and len(result.skipped) == result.testsRun else 0)
