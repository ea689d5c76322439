#!/usr/bin/env python3
"""An agent that administers its own registrations: by the key of a GitHub App, or by a token that it keeps. The forge and the agent are real."""
import os
import pathlib

from harness import HELLO, Case, run, until

REPO = "acme/widgets"


class App(Case):
    """A GitHub App that the forge knows, and its private key in a file."""

    def __enter__(self):
        super().__enter__()
        self.key = pathlib.Path(self.root) / "app.pem"
        self.forge.new_app("4711", self.key)
        return self

    def configure(self, *words, url=None, check=True, agent=None):
        agent = agent or self.agent
        return agent.davit("configure", "--unattended", "--url", url or f"{self.forge.url}/{REPO}", "--name", "box", "--app-id", "4711",
                           "--app-key", str(self.key), *words, check=check)


def conclusions(jobs):
    return [j["conclusion"] for j in jobs]


def test_an_app_s_key_registers_and_removes_without_a_token():
    with App() as c:
        c.configure("--labels", "web")
        assert c.agent.state()["registrations"][0]["credential"] == "app"
        c.agent.start().listening()
        assert conclusions(c.forge.ended(c.forge.push(HELLO))) == ["success"]
        assert c.agent.stop() == 0
        c.agent.davit("remove")
        assert c.forge.runner() is None and c.agent.state()["registrations"] == []
        assert not list((c.agent.root / "agent" / "credentials").iterdir()), "what was kept goes with it"
        c.forge.calm()


def test_an_organisation_is_registered_by_an_app_too():
    with App() as c:
        c.configure(url=f"{c.forge.url}/acme")
        assert c.forge.runner()["scope"] == "orgs/acme"
        c.forge.calm()


def test_a_registration_that_was_forgotten_while_nobody_listened_is_made_anew():
    with App() as c:
        c.configure("--labels", "web", "--actions", "./")
        before = c.agent.state()["registrations"][0]
        c.forge.expire(runners=True)
        c.forge.fault("access_tokens", status=401, body='{"message": "not now"}', times=1)
        c.agent.start()
        c.agent.says("could not be registered again")
        c.agent.says("registering it again")
        c.agent.listening()
        assert conclusions(c.forge.ended(c.forge.push(HELLO))) == ["success"]
        after = c.agent.state()["registrations"][0]
        assert after["id"] != before["id"]
        for name in ("url", "name", "labels", "group", "actions", "on_failure", "credential", "record"):
            assert after[name] == before[name], (name, before, after)
        assert c.agent.stop() == 0
        c.agent.start().listening(count=2)
        assert c.agent.stop() == 0
        c.forge.calm()


def test_a_runner_that_was_taken_away_while_it_listened_stays_away():
    with App() as c:
        c.configure()
        c.agent.start().listening()
        c.forge.wait_online("box")
        registered = len(c.forge.seen("runners/register", "POST"))
        c.forge.expire(runners=True)
        c.agent.wait()
        assert len(c.forge.seen("runners/register", "POST")) == registered, "somebody decided that"


def test_a_token_that_is_kept_does_the_same():
    with Case() as c:
        c.agent.davit("configure", "--unattended", "--url", f"{c.forge.url}/{REPO}", "--name", "box", "--pat", "of-the-owner", "--keep-pat")
        assert c.agent.state()["registrations"][0]["credential"] == "token"
        c.forge.expire(runners=True)
        c.agent.start().listening()
        assert "registering it again" in c.agent.text()
        assert c.agent.stop() == 0
        c.agent.davit("remove")
        assert c.forge.runner() is None
        c.forge.calm()


def test_what_is_kept_lies_sealed_and_is_shown_nowhere():
    with App() as c:
        c.configure()
        c.forge.expire(runners=True)
        c.agent.start().listening()
        c.agent.davit("status")
        line = c.key.read_text().splitlines()[5]
        for path in c.agent.root.rglob("*"):
            if path.is_file():
                assert line.encode() not in path.read_bytes(), path
        (kept,) = (c.agent.root / "agent" / "credentials").iterdir()
        assert kept.stat().st_mode & 0o777 == 0o600 and kept.read_bytes().startswith(b"DAVITSEAL1\n")
        assert c.agent.stop() == 0
        c.agent.configure(c.forge, REPO, "--replace")
        assert not list((c.agent.root / "agent" / "credentials").iterdir()), "a registration without one keeps none"
        tokens = [r for r in c.forge.requests("access_tokens")]
        assert len(tokens) == 2, "one for each registration, none is kept"


def test_a_key_or_an_app_that_is_wrong_is_told_with_the_way_out():
    with App() as c:
        done = c.agent.davit("configure", "--unattended", "--url", f"{c.forge.url}/{REPO}", "--name", "box", "--app-id", "1", "--app-key",
                             str(c.key), check=False)
        assert done.returncode == 1 and "is the App installed" in done.stderr, done
        (c.key.parent / "no.pem").write_text("nothing")
        done = c.agent.davit("configure", "--unattended", "--url", f"{c.forge.url}/{REPO}", "--name", "box", "--app-id", "4711", "--app-key",
                             str(c.key.parent / "no.pem"), check=False)
        assert done.returncode == 1 and "the App's private key" in done.stderr, done
        done = c.agent.davit("configure", "--unattended", "--url", f"{c.forge.url}/{REPO}", "--app-id", "4711", check=False)
        assert done.returncode == 1 and "belong together" in done.stderr, done
        assert c.agent.state()["registrations"] == [] and not (c.agent.root / "agent" / "credentials").exists()
        until("no runner", lambda: c.forge.runner() is None)


if __name__ == "__main__":
    os.environ.pop("DAVIT_STATE", None)
    run(__name__)
