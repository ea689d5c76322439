#!/usr/bin/env python3
"""How the agent goes: what `agent status` says, on its socket, and to who watches from outside. The forge and the agent are real."""
import http.server
import json
import os
import signal
import socket
import subprocess
import threading

from harness import DAVIT, HELLO, Case, run, until

REPO = "acme/widgets"
WAITS = """on: push
jobs:
  build:
    name: "build \\x1b[31m<b>\\n<3>2026-01-01 00:00:00Z: a line of its own"
    runs-on: self-hosted
    steps:
      - run: echo one
      - name: "wait \\x1b[2J <script>"
        run: until test -e %s; do read -rt 0.05 <> <(:) || true; done
"""


def listening(c, *words):
    c.agent.configure(c.forge, REPO, "--labels", "web")
    c.agent.start(*words).listening()
    c.forge.wait_online("box")
    return c.agent


def live(c):
    """What the socket says; it is asked as any program would."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(30)
        s.connect(str(c.agent.root / "agent" / "status.sock"))
        text = b""
        while piece := s.recv(65536):
            text += piece
    return json.loads(text)


def registration(c):
    (one,) = c.agent.state()["registrations"]
    return one


def test_a_running_job_is_told_with_its_step_and_lease():
    with Case() as c:
        listening(c)
        go = c.agent.root / "go"
        sha = c.forge.push(WAITS % go)
        step = until("the second step", lambda: [j["step"] for j in c.agent.state()["jobs"] if j["step"] and "wait" in j["step"]["name"]])[0]
        assert step["number"] == 3, step
        state = c.agent.state()
        (job,) = state["jobs"]
        assert (job["repository"], job["phase"], job["cancelled"]) == (REPO, "running", False), job
        assert job["lease_until"] > job["began"] and job["run_id"] == str(c.forge.run_of(sha)["id"]), job
        (one,) = state["registrations"]
        assert (one["record"], one["jobs"], one["session"]) == (job["registration"], 1, True), one
        text = c.agent.davit("status").stdout
        assert "step 3 'wait" in text and "lease until" in text and "\x1b" not in text, text
        go.touch()
        c.forge.ended(sha)
        until("no job any more", lambda: c.agent.state()["jobs"] == [])
        assert c.agent.stop() == 0
        log = c.agent.text()
        assert "Running job: build" in log and "\x1b" not in log and all(line.startswith("2") for line in log.splitlines()), log


def test_status_says_how_each_registration_is_heard_and_what_was_refused():
    with Case() as c:
        agent = listening(c)
        c.forge.ended(c.forge.push(HELLO))
        until("an answer", lambda: registration(c)["last_answer"])
        state = agent.state()
        one = state["registrations"][0]
        assert one["last_answer"]["status"] in (200, 202) and one["last_poll"] and one["labels"][-1] == "web", one
        assert state["healthy"] and state["version"] and state["started"] and state["slots"] >= 2, state
        assert 0 < state["disk"]["free"] <= state["disk"]["size"], state
        assert state["refusals"] == {"count": 0, "last": []}, state
        c.forge.visibility(REPO, True)
        c.forge.ended(c.forge.push(HELLO))
        state = agent.state()
        (refusal,) = state["refusals"]["last"]
        assert (refusal["rule"], refusal["repository"], refusal["job"]) == ("(public repositories)", REPO, "build"), refusal
        assert state["registrations"][0]["refused"] == 1
        assert "by the rule '(public repositories)'" in agent.davit("status").stdout
        assert agent.stop() == 0
        state = agent.state()
        assert state["pid"] is None and not state["healthy"] and "jobs" not in state, state
        assert not (agent.root / "agent" / "status.sock").exists()


def test_the_socket_answers_whoever_asks_and_hears_nobody():
    with Case() as c:
        agent = listening(c)
        path = agent.root / "agent" / "status.sock"
        assert path.stat().st_mode & 0o777 == 0o600
        assert live(c)["pid"] == agent.process.pid
        silent = []
        for _ in range(40):  # who asks and does not read holds nobody up
            s = socket.socket(socket.AF_UNIX)
            s.connect(str(path))
            try:
                s.send(b"GET / HTTP/1.1\r\n\r\n" * 1000)
            except OSError:
                pass  # it is closed once it has its answer
            silent.append(s)
        assert agent.state()["healthy"], "an answer behind them"
        for s in silent:
            s.close()
        c.forge.ended(c.forge.push(HELLO))
        agent.kill()
        assert agent.davit("status", "--check", check=False).returncode == 1, "a socket that is left over is no agent"
        agent.start().listening(count=2)
        until("the new one's answer", lambda: live(c)["pid"] == agent.process.pid)
        assert agent.stop() == 0


def test_check_ends_with_1_unless_every_registration_is_heard():
    with Case() as c:
        agent = listening(c)

        def checked():
            done = agent.davit("status", "--check", check=False)
            assert done.stdout == "", done
            return done.returncode
        assert checked() == 0
        agent.process.send_signal(signal.SIGSTOP)
        done = subprocess.Popen([DAVIT, "agent", "status", "--check"], env=agent.env)
        try:
            assert done.wait(60) == 1, "one that stands still is not well"
        finally:
            agent.process.send_signal(signal.SIGCONT)
        assert checked() == 0
        c.forge.fault("session", status=500, times=-1)
        c.forge.fault("/message", status=500, times=-1)
        c.forge.expire(sessions=True)
        assert agent.stop() == 0
        agent.start()
        agent.says("trying again")
        assert checked() == 1
        agent.stop()


class Watcher(http.server.BaseHTTPRequestHandler):
    """Counts the calls, and may keep one waiting for good."""

    def do_GET(self):
        self.server.calls.append(self.path)
        self.server.heard.set()
        if self.server.silent.is_set():
            self.server.free.wait(60)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_what_cannot_be_called_is_no_url_of_a_watcher():
    with Case() as c:
        c.agent.configure(c.forge)
        for url in ("watcher.example/secret-word", "file:///etc/secret-word", "http://"):
            done = c.agent.davit("run", "--ping", url, check=False)
            assert done.returncode == 1 and "--ping is no address" in done.stderr and "secret-word" not in done.stderr, done


def test_a_watcher_is_called_while_all_is_well_and_delays_nothing():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Watcher)
    server.calls, server.heard, server.silent, server.free = [], threading.Event(), threading.Event(), threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with Case() as c:
            url = f"http://127.0.0.1:{server.server_address[1]}/ping/secret-word"
            agent = listening(c, "--ping", url)
            assert server.heard.wait(60)
            assert "secret-word" not in open(f"/proc/{agent.process.pid}/cmdline").read()
            server.silent.set()
            server.heard.clear()
            assert server.heard.wait(60)
            (job,) = c.forge.ended(c.forge.push(HELLO))
            assert job["conclusion"] == "success", "while the watcher does not answer"
            server.free.set()
            assert agent.stop() == 0
            assert "secret-word" not in agent.text()
            calls = len(server.calls)
            assert set(server.calls) == {"/ping/secret-word"} and calls >= 2
    finally:
        server.free.set()
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    os.environ.pop("DAVIT_STATE", None)
    run(__name__)
