#!/usr/bin/env python3
"""The runner version that the services are told: configured, and refreshed from a document that openssl signs."""
import base64
import http.server
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.parse

from harness import Case, run, until

REFUSAL = '{"source":"actions-broker-listener","errorKind":"RunnerVersionTooOld","statusCode":403,"errorMessage":"Runner version v2.336.0 is deprecated"}'


class Signer:
    """A key, and documents signed by it as the page says."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="davit-version-"))
        self.key, self.public, self.file = self.dir / "key.pem", self.dir / "public.pem", self.dir / "runner-version"
        self.openssl("genpkey", "-algorithm", "ed25519", "-out", self.key)
        self.openssl("pkey", "-in", self.key, "-pubout", "-out", self.public)

    def openssl(self, *words):
        return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True).stdout

    def document(self, version, serial, **more):
        line = json.dumps({"davit": "runner-version", "serial": serial, "version": version, **more}).encode()
        (self.dir / "line").write_bytes(line)
        signature = self.openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.key, "-in", self.dir / "line")
        return line + b"\n" + base64.b64encode(signature) + b"\n"

    def publish(self, version, serial, **more):
        new = self.dir / "new"
        new.write_bytes(self.document(version, serial, **more))
        new.rename(self.file)

    def options(self, source=None):
        return ("--version-source", str(source or self.file), "--version-key", str(self.public))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir)


class Source(http.server.ThreadingHTTPServer):
    """Gives what it was told to, and counts."""
    daemon_threads = True

    def __init__(self):
        source = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                source.asked += 1
                status, body = source.answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.asked = (503, b""), 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/version?key=hidden"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def polled(c):
    return [urllib.parse.parse_qs(r["query"])["runnerVersion"][0] for r in c.forge.seen("/message", "GET")]


def test_it_is_configuration_with_a_default():
    with Case(options=("--poll", "300ms")) as c:
        c.agent.configure(c.forge, "acme/widgets", "--runner-version", "2.400.1")
        assert c.forge.runner()["version"] == "2.400.1"
        c.agent.start("--runner-version", "2.401.0").listening()
        sha = c.forge.push()
        assert [j["conclusion"] for j in c.forge.ended(sha)] == ["success"]
        assert set(polled(c)) == {"2.401.0"}
        for call in ("session", "/message", "acquirejob", "completejob", "WorkflowStepsUpdate"):
            assert all("/2.401.0 davit/" in r["user_agent"] for r in c.forge.seen(call)), c.forge.seen(call)
        assert c.agent.state()["runner_version"] == "2.401.0"
        assert c.agent.stop() == 0
        c.agent.start().listening(count=2)
        until("a poll with the default", lambda: polled(c)[-1] == "2.336.0")
        assert c.agent.stop() == 0
        for words, says in ((("--runner-version", "new"), "not a version"), (("--version-source", "/x"), "belong together"),
                            (("--runner-version", "2.400.0", "--version-source", "/x", "--version-key", "/y"), "fixes")):
            c.agent.start(*words)
            assert c.agent.wait() == 1 and says in c.agent.text(), c.agent.text()


def test_a_signed_document_raises_it_and_is_kept():
    with Case(options=("--poll", "300ms")) as c, Signer() as s, Source() as source:
        c.agent.configure(c.forge)
        source.answer = (200, s.document("2.400.0", 7))
        c.agent.start(*s.options(source.url)).listening()
        until("a poll with it", lambda: "2.400.0" in polled(c))
        assert c.agent.text().count("runner version 2.400.0 from now on") == 1
        assert c.agent.state()["version_source"]["serial"] == 7
        assert c.agent.stop() == 0
        # Nobody answers: the last good one counts from the first request on.
        source.answer = (503, b"")
        before = len(polled(c))
        c.agent.start(*s.options(source.url)).listening(count=2)
        until("a poll", lambda: len(polled(c)) > before)
        assert set(polled(c)[before:]) == {"2.400.0"}
        assert c.agent.state()["version_source"]["good"] is False
        assert c.agent.stop() == 0
        assert "hidden" not in c.agent.text()


def test_what_is_not_good_changes_nothing_and_is_told_once():
    with Case(options=("--poll", "300ms")) as c, Signer() as s, Signer() as other, Source() as source:
        c.agent.configure(c.forge)
        source.answer = (200, other.document("2.500.0", 8))
        c.agent.start(*s.options(source.url)).listening()
        c.agent.says("--version-source brings no runner version: the runner version is not signed by the key of --version-key")
        # A refusal has it asked again, and the answer is as good as none.
        c.forge.fault("/message", method="GET", times=1, status=403, body=REFUSAL)
        until("it was asked again", lambda: source.asked >= 2)
        assert c.agent.text().count("--version-source brings no") == 1, c.agent.text()
        source.answer = (200, s.document("2.400.0", 7))
        c.agent.says("2.400.0 from now on")
        until("a poll with it", lambda: "2.400.0" in polled(c))
        assert c.agent.stop() == 0
        # An older document, signed as it is, is no way back, nor is a lower version.
        for start, (serial, version) in enumerate(((6, "2.450.0"), (8, "2.100.0"))):
            s.publish(version, serial)
            before = len(polled(c))
            c.agent.start(*s.options()).listening(count=2 + start)
            until("a poll", lambda: len(polled(c)) > before)
            assert c.agent.stop() == 0
        assert "an old one: serial 6, after 7" in c.agent.text()
        assert set(polled(c)) == {"2.336.0", "2.400.0"}


def test_a_refused_version_is_not_announced_again():
    with Case(options=("--poll", "300ms")) as c, Signer() as s, Source() as source:
        c.agent.configure(c.forge)
        source.answer = (200, s.document("2.330.0", 1))
        c.forge.fault("session", method="POST", times=-1, status=403, body=REFUSAL)
        c.agent.start(*s.options(source.url))
        c.agent.says("waiting for a newer version from --version-source")
        until("asked because of the refusal", lambda: source.asked >= 2)
        assert len(c.forge.seen("session", "POST")) == 1
        assert c.agent.davit("status", "--check", check=False).returncode == 1
        assert c.agent.state()["registrations"][0]["step"] == "waiting for a newer version", c.agent.state()
        c.forge.no_faults()
        source.answer = (200, s.document("2.400.0", 2))
        c.agent.listening()
        assert [j["conclusion"] for j in c.forge.ended(c.forge.push())] == ["success"]
        assert [r["status"] for r in c.forge.seen("session", "POST")] == [403, 200]
        assert c.agent.text().count("is deprecated") == 1, c.agent.text()
        assert c.agent.stop() == 0


if __name__ == "__main__":
    run(__name__)
