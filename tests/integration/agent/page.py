#!/usr/bin/env python3
"""`davit agent page`: the status page and metrics on loopback, as a browser, a monitor, a stranger and a hostile name see them."""
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile

from harness import DAVIT, HELLO, Case, run, until
from servers.balanced import Balanced

REPO = "acme/widgets"
HOSTILE = "<script>document.title='taken'</script>&\"'"
WAITS = """on: push
jobs:
  build:
    name: %s
    runs-on: self-hosted
    steps:
      - name: %s
        run: until test -e %s; do read -rt 0.05 <> <(:) || true; done
"""


class Page(Case):
    """An agent, and the page beside it."""

    def __enter__(self):
        super().__enter__()
        self.agent.configure(self.forge, REPO)
        self.page = None
        return self

    def serve(self, *words):
        port = self.agent.root / "port"
        self.page = subprocess.Popen([DAVIT, "agent", "page", "--listen", "127.0.0.1:0", "--port-file", str(port), *words], env=self.agent.env,
                                     stdout=subprocess.DEVNULL)
        until("the page's port", port.exists)
        self.port = int(port.read_text())
        return self

    def __exit__(self, *what):
        if self.page is not None:
            self.page.terminate()
            self.page.wait()
        return super().__exit__(*what)

    def ask(self, path, method="GET", host=None, body=None):
        """(status, headers, text)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body=body, headers={"Host": host} if host is not None else {})
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        return reply.status, reply.headers, text

    def look(self, path="/"):
        status, headers, text = self.ask(path)
        assert status == 200, (path, status, text)
        reader = Balanced()
        reader.feed(text)
        reader.close()
        assert reader.open == [] and reader.fetched == [] and "script" not in reader.tags, (path, reader.open, reader.fetched)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        return text

    def deploy(self, document):
        """A deployment from this host, which is held where it fails."""
        path = pathlib.Path(self.root) / "deploy.json"
        path.write_text(json.dumps(document))
        return subprocess.run([DAVIT, "deploy", str(path)], env=self.agent.env, cwd=self.root, capture_output=True, text=True, timeout=120)


def document(c, name, command, **more):
    return {"name": name, "environment": "production", "targets": {"here": {"local": {}, "base": str(c.root / "base")}},
            "steps": [{"run": {"command": command, "undo": "none"}}], **more}


def test_the_page_shows_the_agent_its_jobs_and_what_was_deployed():
    with Page() as c:
        c.agent.start().listening()
        c.forge.wait_online("box")
        assert c.deploy(document(c, "shop", ["true"])).returncode == 0
        assert c.deploy(document(c, "broken", ["false"], on_failure="hold")).returncode == 4
        c.serve()
        go = c.agent.root / "go"
        sha = c.forge.push(WAITS % (json.dumps("job " + HOSTILE), json.dumps("step " + HOSTILE), go))
        until("the step", lambda: [j for j in c.agent.state()["jobs"] if j["step"] and HOSTILE in j["step"]["name"]])
        text = c.look()
        assert "document.title" in text and "<script" not in text, text
        assert f"{c.forge.url}/{REPO}" in text and "step &lt;script&gt;" in text, text
        held = re.search(r"Held: a person is needed.*?</section>", text, re.S)[0]
        (ident,) = set(re.findall(r"davit rollback ([0-9a-fT-]+)<", held))
        assert f"davit show {ident}<" in held and "davit unlock broken.production --accept" in held, held
        live = re.search(r"What is live.*?</section>", text, re.S)[0]
        assert "shop" in live and "broken" not in live, live
        link = re.search(r'href="(/deployments/[^"]+)"', live)[1]
        assert "shop" in c.look(link) and "<svg" in c.look(link)
        go.touch()
        c.forge.ended(sha)
        c.agent.stop()
        assert "does not run" in c.look()


def test_a_browser_shows_it_without_running_anything():
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        print("skipped: no chromium here")
        return
    with Page() as c, tempfile.TemporaryDirectory(prefix="davit-browser-") as profile:
        c.agent.start().listening()
        assert c.deploy(document(c, "broken", ["false"], on_failure="hold")).returncode == 4
        go = c.agent.root / "go"
        sha = c.forge.push(WAITS % (json.dumps("job " + HOSTILE), json.dumps("step " + HOSTILE), go))
        c.serve()
        until("the step", lambda: [j for j in c.agent.state()["jobs"] if j["step"] and HOSTILE in j["step"]["name"]])
        done = subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}",
                               "--dump-dom", f"http://localhost:{c.port}/"], capture_output=True, text=True, timeout=150, env={**os.environ, "HOME": profile})
        dom = done.stdout
        assert "<title>davit agent</title>" in dom, done
        assert "Held: a person is needed" in dom and "step &lt;script&gt;" in dom and "<script" not in dom, dom
        go.touch()
        c.forge.ended(sha)
        c.agent.stop()


def test_metrics_are_prometheus_text():
    with Page() as c:
        c.agent.start().listening()
        c.forge.wait_online("box")
        c.serve()
        c.forge.visibility(REPO, True)
        c.forge.ended(c.forge.push(HELLO))
        assert c.deploy(document(c, "broken", ["false"], on_failure="hold")).returncode == 4
        status, headers, text = c.ask("/metrics")
        assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4"), headers
        values = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                match = re.fullmatch(r'([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\])*",?)+\})? (-?\d+)', line)
                assert match, line
                values[match[1] + (match[2] or "")] = int(match[3])
        names = {key.split("{")[0] for key in values}
        assert all(f"# TYPE {name} " in text and f"# HELP {name} " in text for name in names)
        one = f'{{url="{c.forge.url}/{REPO}",name="box"}}'
        assert values["davit_agent_up"] == values["davit_agent_healthy"] == values["davit_registration_session" + one] == 1, values
        assert values["davit_agent_refused_total"] == values["davit_registration_refused_total" + one] == 1, values
        assert values["davit_disk_free_bytes"] > 0 and values["davit_agent_start_time_seconds"] > 1_600_000_000
        assert [k for k in values if k.startswith('davit_deployment_held{name="broken",environment="production"')], values
        c.agent.stop()
        text = c.ask("/metrics")[2]
        assert "\ndavit_agent_up 0\n" in text and "disk" not in text and "start_time" not in text, text


def test_only_who_asks_for_this_machine_may_read_and_nobody_may_write():
    with Page() as c:
        c.agent.start().listening()
        c.serve()
        for host in ("localhost", f"localhost:{c.port}", "127.0.0.1", "LOCALHOST:1", "[::1]:8080", "127.8.9.1:2"):
            assert c.ask("/healthz", host=host)[0] == 200, host
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "evil.example:127", "", "10.0.0.1", "[::2]", "localhost:x", "a" * 5000):
            status, _, text = c.ask("/status.json", host=host)
            assert status == 403 and "registrations" not in text, (host, status)
        assert c.ask("/", method="POST", body="x" * 100000)[0] == 405
        assert c.ask("/", method="DELETE")[0] == 405
        for path in ("/deployments/root/..%2f..", "/deployments/nobody/20260101T000000-1", "/deployments/x", "/deployments//", "/etc/passwd",
                     "/deployments/root/--help", "//"):
            status, _, text = c.ask(path)
            assert status in (400, 404) and "root:" not in text, (path, status, text)
        with socket.create_connection(("127.0.0.1", c.port)) as torn, socket.create_connection(("127.0.0.1", c.port)) as long:
            torn.sendall(b"GET / HT")
            long.sendall(b"GET /" + b"a" * 200000)
            assert c.ask("/healthz")[0] == 200, "beside a request that never ends"
        done = subprocess.run([DAVIT, "agent", "page", "--listen", "0.0.0.0:0"], env=c.agent.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and "not a loopback address" in done.stderr, done
        c.agent.stop()
        assert c.ask("/healthz")[0] == 503


def test_another_user_of_the_machine_reads_it_only_where_that_is_meant():
    if os.geteuid() != 0:
        print("skipped: only root can be another user")
        return
    def as_nobody(c):
        """The status that another user gets."""
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os._exit(c.ask("/healthz")[0] // 100)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with Page() as c:
        c.agent.start().listening()
        c.serve()
        assert (c.ask("/healthz")[0], as_nobody(c)) == (200, 4)
        c.page.terminate()
        c.page.wait()
        (c.agent.root / "port").unlink()
        c.serve("--all-users")
        assert as_nobody(c) == 2
        c.agent.stop()


if __name__ == "__main__":
    os.environ.pop("DAVIT_STATE", None)
    run(__name__)
