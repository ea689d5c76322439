#!/usr/bin/env python3
"""Configure, status, remove: against the forge."""
import fcntl
import json
import os
import pathlib
import stat
import subprocess

from harness import DAVIT, Case, run, until


def registrations(agent):
    return sorted((agent.root / "agent" / "registrations").iterdir())


def test_configure_registers_and_keeps_the_key_private():
    with Case() as c:
        c.agent.configure(c.forge, "acme/widgets", "--labels", "gpu, fast")
        runner = c.forge.runner()
        assert [l["name"] for l in runner["labels"]] == ["self-hosted", "Linux", runner["labels"][2]["name"], "gpu", "fast"]
        (folder,) = registrations(c.agent)
        for path in [c.agent.root / "agent", folder]:
            assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
        for path in folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert "PRIVATE KEY" in (folder / "key.pem").read_text()
        c.forge.calm()


def test_the_token_comes_from_standard_input_a_file_or_the_environment():
    with Case() as c:
        url = f"{c.forge.url}/acme/widgets"
        c.agent.davit("configure", "--unattended", "--url", url, "--token", "-", "--name", "one", input=c.forge.registration_token("acme/widgets") + "\n")
        token = c.root / "token"
        token.write_text(c.forge.registration_token("acme/widgets") + "\n")
        c.agent.davit("configure", "--unattended", "--url", url, "--token-file", str(token), "--name", "two")
        c.agent.davit("configure", env={"ACTIONS_RUNNER_INPUT_URL": url, "ACTIONS_RUNNER_INPUT_TOKEN": c.forge.registration_token("acme/widgets"),
                                        "ACTIONS_RUNNER_INPUT_NAME": "three", "ACTIONS_RUNNER_INPUT_UNATTENDED": "true"})
        names = [r["name"] for r in c.agent.state()["registrations"]]
        assert sorted(names) == ["one", "three", "two"], names


def test_what_is_missing_is_an_error_without_a_terminal():
    with Case() as c:
        done = c.agent.davit("configure", check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 1 and "--url is missing" in done.stderr, done
        done = c.agent.davit("configure", "--url", f"{c.forge.url}/acme/widgets", check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 1 and "--token is missing" in done.stderr, done
        done = c.agent.davit("configure", "--url", "https://github.com/a/b/c", "--token", "x", check=False)
        assert done.returncode == 1 and "OWNER/REPO" in done.stderr, done


def test_a_name_that_is_taken_needs_replace():
    with Case() as c:
        c.agent.configure(c.forge)
        done = c.agent.configure(c.forge, check=False)
        assert done.returncode == 1 and "already configured" in done.stderr, done
        other = c.new_agent("other")
        other.name = "box"
        done = other.configure(c.forge, check=False)
        assert done.returncode == 1 and "exists already" in done.stderr and "--replace" in done.stderr, done
        other.configure(c.forge, "acme/widgets", "--replace")
        assert len(c.forge.runners()) == 1


def test_a_registration_is_made_anew_beside_the_agent_that_serves_it():
    with Case(("acme/widgets", "acme/gears"), options=("--poll", "300ms")) as c:
        agent = c.agent
        agent.configure(c.forge)
        agent.start().listening()
        c.forge.wait_online("box")
        # The service has forgotten the former one long before the new one is kept here.
        c.forge.fault("runners/register", delay_ms=1000)
        agent.configure(c.forge, "acme/widgets", "--replace", "--labels", "anew")
        agent.says("its new registration is served from here on")
        agent.configure(c.forge, "acme/gears")
        (later, served) = until("its session", lambda: (lambda both: both if both[1]["session"] else None)(agent.state()["registrations"]))
        assert served["labels"][-1] == "anew" and served["step"] != "stopped", served
        assert later["state"] == "stopped" and "once it is started again" in later["text"], later
        sha = c.forge.push()
        assert [j["conclusion"] for j in c.forge.ended(sha)] == ["success"]
        done = agent.davit("remove", "--local", "--url", f"{c.forge.url}/acme/widgets")
        assert f"the running agent (process {agent.process.pid}) serves it until it ends" in done.stdout, done
        assert agent.stop() == 0


def test_two_that_configure_at_once_take_turns():
    with Case() as c:
        c.agent.configure(c.forge)
        place = next(c.agent.root.rglob("registrations"))
        words = [DAVIT, "agent", "configure", "--unattended", "--replace", "--name", "box", "--url", f"{c.forge.url}/acme/widgets"]
        env = {**c.agent.env, "DAVIT_PACE_PERCENT": "10", "ACTIONS_RUNNER_INPUT_TOKEN": c.forge.registration_token("acme/widgets")}
        held = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(held, fcntl.LOCK_EX)
        second = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert "another davit configures or removes a registration; waiting for it" in second.stderr.readline()
        fcntl.flock(held, fcntl.LOCK_UN)
        assert second.wait(60) == 0, second.communicate()
        fcntl.flock(held, fcntl.LOCK_EX)
        done = subprocess.run(words, env={**env, "DAVIT_PACE_PERCENT": "1"}, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0 and "let it end" in done.stderr, done
        os.close(held)


def test_what_would_steer_a_terminal_is_no_name():
    with Case() as c:
        for words in (("--name", "b\x1b[31mox"), ("--name", "two\nlines"), ("--labels", "web,a\u202eb")):
            done = c.agent.davit("configure", "--unattended", "--url", f"{c.forge.url}/acme/widgets", "--token", "x", *words, check=False)
            assert done.returncode == 1 and f"{words[0]} holds characters that are not seen" in done.stderr, done
        done = c.agent.davit("configure", "--unattended", "--url", f"{c.forge.url}/acme/widgets", "--token", "", check=False)
        assert done.returncode == 1 and "ACTIONS_RUNNER_INPUT_TOKEN" in done.stderr, done


def test_remove_ends_the_registration_here_and_there():
    with Case(("acme/widgets", "acme/gears")) as c:
        c.agent.configure(c.forge)
        c.agent.configure(c.forge, "acme/gears")
        done = c.agent.davit("remove", "--token", "x", check=False)
        assert done.returncode == 1 and "name one by --url" in done.stderr, done
        c.agent.davit("remove", "--token", c.forge.remove_token("acme/gears"), "--url", f"{c.forge.url}/acme/gears")
        assert len(c.forge.runners()) == 1
        c.agent.davit("remove", "--local")
        assert registrations(c.agent) == []
        assert len(c.forge.runners()) == 1
        c.forge.calm()


def test_a_failed_removal_keeps_the_registration():
    with Case() as c:
        c.agent.configure(c.forge)
        c.forge.fault("/actions/runners/", method="DELETE", status=503, times=-1)
        done = c.agent.davit("remove", "--token", c.forge.remove_token("acme/widgets"), check=False)
        assert done.returncode == 1 and "503" in done.stderr, done
        assert len(registrations(c.agent)) == 1


def test_a_server_in_trouble_is_asked_three_times():
    with Case() as c:
        c.forge.fault("runner-registration", status=502, times=2)
        c.agent.configure(c.forge)
        assert len(c.forge.seen("runner-registration", "POST")) == 3


def group(name, default=False, hosted=False):
    return {"name": name, "default": default, "is_hosted": hosted}


# What there is, what is asked for, and which one it is; a text: why none is.
GROUPS = [([group("Default", default=True), group("ships")], None, "Default"), ([group("Default", default=True), group("ships")], "SHIPS", "ships"),
          ([group("GitHub", default=True, hosted=True), group("ships"), group("default")], None, "default"),
          ([group("GitHub", default=True, hosted=True), group("More", hosted=True)], None, "GitHub"),
          ([group("GitHub", default=True, hosted=True), group("ships")], None, "no default runner group\n  groups are: ships"),
          ([group("GitHub", default=True, hosted=True), group("ships")], "github", "no runner group 'github'\n  groups are: ships"),
          ([group("More", hosted=True)], None, "no default runner group\n")]


def test_the_group_is_the_one_that_the_official_runner_takes():
    with Case() as c:
        for number, (groups, wanted, found) in enumerate(GROUPS):
            c.agent.name = f"box-{number}"
            c.forge.fault("runner-groups", times=1, status=200, headers={"Content-Type": "application/json"},
                          body=json.dumps({"total_count": len(groups), "runner_groups": [
                              # The forge registers in the group 1 alone.
                              {"id": 1 if g["name"] == found else 7, **g} for g in groups]}))
            done = c.agent.configure(c.forge, "acme/widgets", *(("--runnergroup", wanted) if wanted else ()), check=False)
            said = f", group {found}, " in done.stdout if done.returncode == 0 else found in done.stderr
            assert said and (done.returncode == 0) == any(g["name"] == found for g in groups), (groups, wanted, done)


def test_the_older_of_two_token_services_is_the_one_that_is_used():
    url = "https://tokens.example/"
    for legacy, used in ((url + "old", url + "old"), ("", url + "new")):
        with Case() as c:
            c.forge.fault("runners/register", status=200, body=json.dumps({"id": 21, "name": "box", "authorization": {
                "client_id": "3b7f6a8e-6e0e-4f3e-9a52-1f2b3c4d5e6f", "authorization_url": url + "new", "legacy_authorization_url": legacy,
                "server_url": "https://broker.example/"}}))
            c.agent.configure(c.forge)
            record = json.loads(next(c.agent.root.glob("agent/registrations/*/registration.json")).read_text())
            assert record["authorization_url"] == used and record["signature"] == "PS256", record


def test_a_token_of_another_kind_than_the_protocols_is_refused():
    with Case() as c:
        c.forge.fault("runner-registration", times=1, status=200, headers={"Content-Type": "application/json"},
                      body='{"url": "http://127.0.0.1:1/x", "token_schema": "Magic", "token": "t", "use_v2_flow": true}')
        done = c.agent.configure(c.forge, check=False)
        assert done.returncode == 1 and "a token of the kind 'Magic'" in done.stderr, done
        assert c.forge.seen("runners/register", "POST") == []


def test_status_says_labels_last_poll_and_whom_jobs_run_as():
    with Case() as c:
        c.agent.configure(c.forge, "acme/widgets", "--labels", "gpu")
        text = c.agent.davit("status").stdout
        assert "last poll  never" in text and "gpu" in text and "does not run" in text, text
        who = "root" if os.geteuid() == 0 else "own user"
        assert who in text, text
        c.agent.start().listening()
        state = c.agent.state()
        assert state["pid"] == c.agent.process.pid
        assert state["registrations"][0]["state"] == "listening"
        assert c.agent.stop() == 0
        state = c.agent.state()
        assert state["pid"] is None and state["registrations"][0]["state"] == "stopped"
        assert state["registrations"][0]["last_poll"] is None
        c.agent.start().listening(2)
        c.forge.ended(c.forge.push())
        assert c.agent.stop() == 0
        polled = c.agent.state()["registrations"][0]["last_poll"]
        assert polled is not None
        c.agent.start().listening(3)
        assert c.agent.state()["registrations"][0]["last_poll"] == polled


def test_a_folder_that_others_may_read_is_refused():
    with Case() as c:
        c.agent.configure(c.forge)
        (c.agent.root / "agent").chmod(0o755)
        done = c.agent.davit("run", check=False)
        assert done.returncode == 1 and "open to others" in done.stderr, done


def test_secrets_are_in_no_argument_list_and_no_file():
    with Case() as c:
        c.forge.fault("runner-registration", delay_ms=2000)
        token = c.forge.registration_token("acme/widgets").encode()
        slow = subprocess.Popen([DAVIT, "agent", "configure", "--unattended", "--url", f"{c.forge.url}/acme/widgets", "--token",
                                 token.decode(), "--name", "box"], env=c.agent.env, stdout=subprocess.DEVNULL)
        line = pathlib.Path(f"/proc/{slow.pid}/cmdline")
        until("the argument is wiped", lambda: b"configure" in line.read_bytes() and token not in line.read_bytes(), 1.5)
        assert slow.wait(60) == 0
        c.agent.start().listening()
        c.agent.stop()
        for path in c.agent.root.rglob("*"):
            if path.is_file():
                assert token not in path.read_bytes() and b"access_token" not in path.read_bytes(), path


if __name__ == "__main__":
    run(__name__)
