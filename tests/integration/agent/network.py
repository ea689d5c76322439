#!/usr/bin/env python3
"""What lies between the agent and the service: a clock that is off, a proxy with a password, a private authority, a client's certificate, a name
that does not resolve yet."""
import contextlib
import json
import os
import pathlib
import re
import subprocess
import tempfile

from harness import DAVIT, Case, run, until
from servers import faketime
from servers.relay import Authority, Proxy, TlsRelay

PASSWORD = "s3cret-of-the-proxy"
JOB = """on: push
jobs:
  build:
    runs-on: self-hosted
    steps:
      - run: |
          echo "proxy ${https_proxy:-none}"
"""


class Far:
    """A forge that is reached as https://forge.test:PORT alone, through TLS of a private authority."""

    def __init__(self, client=False):
        self.stack, self.client = contextlib.ExitStack(), client

    def __enter__(self):
        self.dir = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="davit-far-"))
        self.authority = Authority(self.dir)
        self.relay = TlsRelay(*self.authority.issue("server", "forge.test"), client_ca=self.authority.ca if self.client else None)
        self.stack.callback(self.relay.close)
        self.proxy = Proxy("me", PASSWORD, ("forge.test",))
        self.stack.callback(self.proxy.close)
        self.url, port = f"https://forge.test:{self.relay.port}", os.path.join(self.dir, "port")
        self.case = self.stack.enter_context(Case(options=("--url", self.url, "--port-file", port, "--poll", "300ms"), SSL_CERT_FILE=self.authority.ca))
        self.forge, self.agent = self.case.forge, self.case.agent
        self.relay.target = self.forge.port = int(pathlib.Path(port).read_text())
        self.forge.url = f"http://127.0.0.1:{self.relay.target}"
        self.forge.api = self.forge.url + "/api/v3"
        for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
            self.agent.env.pop(name, None)
        return self

    def through_proxy(self, password=PASSWORD):
        self.agent.env["https_proxy"] = f"http://me:{password}@127.0.0.1:{self.proxy.port}"

    def configure(self, **more):
        return self.agent.davit("configure", "--unattended", "--url", f"{self.url}/acme/widgets", "--token", self.forge.registration_token("acme/widgets"),
                                "--name", "box", **more)

    def succeeds(self):
        sha = self.forge.push(JOB)
        assert [j["conclusion"] for j in self.forge.ended(sha)] == ["success"], self.forge.jobs(sha)
        return str(self.forge.run_of(sha)["id"])

    def __exit__(self, *what):
        return self.stack.__exit__(*what)


def everything_below(folder):
    return b"".join(p.read_bytes() for p in pathlib.Path(folder).rglob("*") if p.is_file() and not p.is_symlink())


def arguments_of_all():
    found = b""
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += path.read_bytes()
    return found


def test_a_proxy_that_wants_a_password_gets_it_and_nobody_else_does():
    with Far() as f:
        f.through_proxy("wrong")
        refused = f.configure(check=False)
        assert refused.returncode == 1 and "407" in refused.stderr and "wrong" not in refused.stderr, refused.stderr
        f.through_proxy()
        f.configure()
        f.agent.start().listening()
        before = f.proxy.refused
        f.succeeds()
        assert PASSWORD.encode() not in arguments_of_all()
        assert f.proxy.refused == before and set(f.proxy.seen) == {f"forge.test:{f.relay.port}"}, f.proxy.seen
        logs = [r for r in f.forge.runs(logs=True)]
        assert "proxy http://" in str(logs) and PASSWORD not in str(logs), "the password stands in a log of the job"
        assert f.agent.stop() == 0
        assert PASSWORD.encode() not in everything_below(f.agent.root), "the password lies on the disk"
        f.agent.env["no_proxy"] = "example.invalid,forge.test"
        count = len(f.proxy.seen)
        f.agent.start().says("trying again")
        assert "resolve" in f.agent.text() and len(f.proxy.seen) == count, f.agent.text()
        assert f.agent.stop() == 0


def test_a_service_that_wants_a_certificate_of_the_client_gets_it_with_each_call():
    with Far(client=True) as f:
        f.through_proxy()
        assert f.configure(check=False).returncode == 1
        cert, key = f.authority.issue("agent-7", "agent-7")
        f.agent.env.update(DAVIT_CLIENT_CERT=cert, DAVIT_CLIENT_KEY=key)
        f.configure()
        f.agent.start().listening()
        f.succeeds()
        assert set(f.relay.seen) == {"agent-7"} and len(f.relay.seen) > 2, f.relay.seen
        assert f.agent.stop() == 0
        f.agent.env["SSL_CERT_FILE"] = cert
        f.agent.start().says("trying again")
        assert "certificate" in f.agent.text(), f.agent.text()
        assert f.agent.stop() == 0


WATCHED = """name: here
environment: production
targets: { here: { local: {}, base: %s } }
steps:
  - run: { command: [touch, %s], undo: none }
"""


def test_watch_and_autoscale_show_the_certificate_of_the_client_too():
    with Far(client=True) as f:
        f.through_proxy()
        cert, key = f.authority.issue("agent-7", "agent-7")
        token, made = pathlib.Path(f.dir, "token"), pathlib.Path(f.dir, "made")
        token.write_text("a-token")
        token.chmod(0o600)
        sha = f.forge.push(JOB, files={"deploy.yml": WATCHED % (f.dir, made)})
        f.forge.json("POST", "/api/v3/repos/acme/widgets/deployments", {"ref": sha, "auto_merge": False, "required_contexts": []}, f.forge.admin())
        watched = pathlib.Path(f.dir, "watch.json")
        watched.write_text(json.dumps({"token_file": str(token), "watch": [{"repository": f"{f.url}/acme/widgets"}]}))

        def watch(**more):
            return subprocess.run([DAVIT, "watch", str(watched), "--once"], env={**f.agent.env, **more}, capture_output=True, text=True, check=False)

        def scale(**more):
            f.agent.start("--url", f"{f.url}/acme/widgets", "--token-file", str(token), "--interval", "1s", command="autoscale", **more)

        refused = watch()
        assert refused.returncode == 1 and "certificate" in refused.stderr and not made.exists(), refused.stderr
        scale()
        f.agent.says("certificate")
        assert f.agent.stop() == 0 and f.relay.seen == [], f.agent.text()
        shown = {"DAVIT_CLIENT_CERT": cert, "DAVIT_CLIENT_KEY": key}
        carried = watch(**shown)
        assert carried.returncode == 0 and made.exists(), carried.stderr
        scale(**shown)
        assert [j["conclusion"] for j in f.forge.ended(sha)] == ["success"], f.agent.text()
        assert set(f.relay.seen) == {"agent-7"}, f.relay.seen
        assert f.agent.stop() == 0


def test_a_name_that_does_not_resolve_yet_is_waited_for():
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        print("skipped: a hosts file of one's own needs a mount namespace")
        return
    with Far() as f:
        hosts = pathlib.Path(f.dir, "hosts")
        hosts.write_text("127.0.0.1 localhost\n")
        f.through_proxy()
        f.configure()
        del f.agent.env["https_proxy"]
        script = pathlib.Path(f.dir, "agent")
        script.write_text(f'#!/bin/sh\nexec unshare -m --propagation private sh -c \'mount --bind "{hosts}" /etc/hosts && exec "{DAVIT}" "$@"\' sh "$@"\n')
        script.chmod(0o755)
        f.agent.start(program=str(script))
        f.agent.says("trying again")
        assert "resolve" in f.agent.text(), f.agent.text()
        hosts.write_text("127.0.0.1 localhost forge.test\n")
        f.agent.listening()
        f.succeeds()
        assert f.agent.text().count("trying again") == 1, f.agent.text()
        assert f.agent.stop() == 0


def test_a_clock_that_is_ten_minutes_off_keeps_nobody_from_working():
    why = faketime.why_not()
    if why:
        print(f"skipped: {why}")
        return
    for off in (600, -600):
        with Case(options=("--poll", "300ms")) as c:
            c.agent.configure(c.forge)
            c.agent.start(**faketime.environment(off)).listening()
            c.forge.expire(tokens=True)
            until("another token", lambda: [r["status"] for r in c.forge.seen("oauth2/token")].count(200) >= 2)
            # One that cannot be renewed for a moment is not taken for lost.
            c.forge.fault("renewjob", method="POST", times=2, skip=1, status=503)
            sha = c.forge.push(JOB.replace("echo", f"until [ -e {c.root}/renewed ]; do read -rt 0.05 <> <(:) || true; done; echo"))
            until("a renewal behind those that were refused", lambda: [r["status"] for r in c.forge.seen("renewjob")][-3:-1] == [503, 503])
            (c.root / "renewed").touch()
            assert [j["conclusion"] for j in c.forge.ended(sha)] == ["success"]
            assert [r["status"] for r in c.forge.seen("oauth2/token")].count(400) == 1, c.forge.seen("oauth2/token")
            assert len(re.findall(rf"clock is (59|60)\d s {'before' if off > 0 else 'behind'} the service's", c.agent.text())) == 1, c.agent.text()
            assert "is lost" not in c.agent.text()
            assert c.agent.stop() == 0


def test_a_clock_that_is_set_while_a_job_runs_costs_it_no_lease():
    why = faketime.why_not()
    if why:
        print(f"skipped: {why}")
        return
    with Case(options=("--poll", "300ms")) as c:
        clock, go = c.root / "clock", c.root / "go"
        clock.write_text("+0\n")
        fake = {**faketime.environment(1), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
        del fake["FAKETIME"]
        c.agent.configure(c.forge)
        c.agent.start(**fake).listening()
        for seconds in (86400, -86400):
            go.unlink(missing_ok=True)
            sha = c.forge.push(JOB.replace("echo", f"until [ -e {go} ]; do read -rt 0.05 <> <(:) || true; done; echo"))
            c.forge.begun(sha)
            until("a renewal", lambda: [r["status"] for r in c.forge.seen("renewjob")][-2:] == [200, 200])
            before = len(c.forge.seen("renewjob"))
            clock.write_text(f"{seconds:+d}\n")
            # The service is not well for a moment, behind the jump.
            c.forge.fault("renewjob", method="POST", times=2, status=503)
            until("renewals again", lambda: "503, 503, 200" in str([r["status"] for r in c.forge.seen("renewjob")][before:]))
            go.touch()
            assert [j["conclusion"] for j in c.forge.ended(sha)] == ["success"], seconds
        assert "is lost" not in c.agent.text()
        assert c.agent.stop() == 0


if __name__ == "__main__":
    os.environ.pop("DAVIT_STATE", None)
    run(__name__)
