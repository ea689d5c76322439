#!/usr/bin/env python3
"""`davit agent autoscale`: a runner for each queued job, by a just-in-time registration that ends with it. The forge and the agents are real."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess

from harness import DAVIT, Case, run, until
from servers import github_openapi

ONE, TWO, OTHER = "acme/one", "acme/two", "mallory/one"
BURST = """on: push
jobs:
  build:
    runs-on: [self-hosted, %s]
    strategy: { matrix: { n: [1, 2, 3] } }
    steps:
      - run: echo "$RUNNER_NAME"; %s
"""


class Scaled(Case):
    def __init__(self, *words):
        super().__init__((ONE, TWO, OTHER))
        self.words = words

    def __enter__(self):
        super().__enter__()
        self.token = self.root / "token"
        self.token.write_text("of-the-owner\n")
        self.token.chmod(0o600)
        return self

    def scale(self, *words, slots="2", access=None, stdout=None):
        self.agent.log = open(self.agent.output, "a")
        access = access or ("--token-file", str(self.token))
        self.agent.process = subprocess.Popen(
            [DAVIT, "agent", "autoscale", *access, "--interval", "1s", "--slots", slots, "--labels", "web", *words],
            env=self.agent.env, stdout=stdout or self.agent.log, stderr=subprocess.STDOUT if stdout is None else self.agent.log,
            cwd=self.agent.root)
        return self.agent

    def app(self, **more):
        """What names a new GitHub App in the token's place."""
        key = self.root / "app.pem"
        self.forge.new_app("4711", key, permissions={"actions": "read", "administration": "write", "metadata": "read"}, **more)
        return "--app-id", "4711", "--app-key", str(key)

    def kept(self):
        return list((self.agent.root / "autoscale").glob("*.json"))

    def jit_runners(self):
        return [r for r in self.forge.runners()]

    def clean(self):
        """Nothing is left of any runner: at the forge, in what is kept, on the disk. Each request was one that GitHub describes."""
        assert github_openapi.undescribed(self.forge.requests("/api/v3")) == []
        until("no registration", lambda: self.jit_runners() == [])
        until("nothing kept", lambda: self.kept() == [])
        assert list((self.agent.root / "autoscale" / "work").glob("*")) == []

    def __exit__(self, *what):
        for path in self.kept():
            with contextlib.suppress(OSError, ValueError, KeyError):
                os.killpg(json.loads(path.read_text())["pid"], signal.SIGKILL)
        return super().__exit__(*what)


def most_at_once(forge):
    """How many of the jobs that are over ran at the same time."""
    times = []
    for job in (job for r in forge.runs() for job in r["jobs"] if job["completed_at"]):
        times += [(job["started_at"], 1), (job["completed_at"], -1)]
    most = now = 0
    for _, step in sorted(times):
        now += step
        most = max(most, now)
    return most


def test_a_burst_over_two_repositories_of_an_owner_has_a_runner_a_job_and_leaves_none():
    with Scaled() as c:
        commits = [c.forge.push(BURST % ("web", f"echo {name}"), name=name) for name in (ONE, TWO)]
        stranger = c.forge.push(BURST % ("web", "true"), name=OTHER)
        elsewhere = c.forge.push(BURST % ("gpu", "true"), name=ONE)
        c.scale("--url", f"{c.forge.url}/acme")
        jobs = [job for sha in commits for job in c.forge.ended(sha)]
        assert [j["conclusion"] for j in jobs] == ["success"] * 6, jobs
        assert len({j["runner"] for j in jobs}) == 6, "a runner a job"
        assert most_at_once(c.forge) <= 2, "two slots"
        assert all(j["status"] == "queued" for sha in (stranger, elsewhere) for j in c.forge.jobs(sha))
        c.clean()
        made = [r for r in c.forge.requests("generate-jitconfig")]
        assert len(made) == 6 and all(r["status"] == 201 for r in made), made
        assert c.agent.stop() == 0


def test_by_an_app_s_key_it_serves_an_owner_with_tokens_that_may_no_more_and_renews_them_in_time():
    with Scaled() as c:
        # The pace of these tests makes six seconds of the ten minutes before the end at which a token is renewed.
        access = c.app(life_ms=7000)
        sha = c.forge.push(BURST % ("web", "echo one"), name=ONE)
        c.scale("--url", f"{c.forge.url}/acme", access=access)
        assert [j["conclusion"] for j in c.forge.ended(sha)] == ["success"] * 3
        until("another token", lambda: len(c.forge.seen("access_tokens", "POST")) >= 2)
        asked = len(c.forge.requests("/actions/runs"))
        until("it goes on asking", lambda: len(c.forge.requests("/actions/runs")) > asked + 3)
        assert [r["status"] for r in c.forge.requests("/api/v3") if r["status"] in (401, 403)] == [], "none was used until it was refused"
        c.clean()
        assert c.agent.stop() == 0


def test_a_token_of_an_app_that_is_revoked_is_replaced_at_once():
    with Scaled() as c:
        c.scale("--url", f"{c.forge.url}/acme", access=c.app(person=True))
        until("answers that it is as before", lambda: any(r["status"] == 304 for r in c.forge.requests("/actions/runs")))
        c.forge.expire(apps=True)
        sha = c.forge.push(BURST % ("web", "echo one"), name=ONE)
        assert [j["conclusion"] for j in c.forge.ended(sha)] == ["success"] * 3
        assert [r["status"] for r in c.forge.requests("/api/v3")].count(401) == 1
        assert "trouble" not in c.agent.text() and "warning autoscale" not in c.agent.text(), c.agent.text()
        c.clean()
        assert c.agent.stop() == 0


def test_an_app_that_may_too_little_or_is_wrong_is_told_with_the_way_out():
    with Scaled() as c:
        access = c.app()
        key = pathlib.Path(access[3])
        public = subprocess.run(["openssl", "rsa", "-in", key, "-pubout"], check=True, capture_output=True, text=True).stdout
        c.forge.app("4711", public, permissions={"actions": "read"})
        c.scale("--url", f"{c.forge.url}/{ONE}", access=access)
        c.agent.says("the App needs these permissions")
        assert "administration: write" in c.agent.text() and key.read_text().splitlines()[5] not in c.agent.text()
        assert c.agent.stop() == 0
        for words, says in ((("--app-id", "4711"), "belong together"), ((*access, "--token-file", str(c.token)), "exclude each other")):
            done = subprocess.run([DAVIT, "agent", "autoscale", *words, "--url", f"{c.forge.url}/{ONE}"], env=c.agent.env, capture_output=True, text=True)
            assert done.returncode == 1 and says in done.stderr, done
        key.chmod(0o644)
        done = subprocess.run([DAVIT, "agent", "autoscale", *access, "--url", f"{c.forge.url}/{ONE}"], env=c.agent.env, capture_output=True, text=True)
        assert done.returncode == 1 and "can be read by others" in done.stderr, done


def test_with_json_each_event_is_an_object_a_line():
    with Scaled() as c:
        told = c.root / "events"
        with open(told, "wb") as out:
            sha = c.forge.push(BURST % ("web", "echo one"), name=ONE)
            c.forge.faults(path="/actions/runs", status=502, times=1)
            c.scale("--url", f"{c.forge.url}/{ONE}", "--json", stdout=out)
            assert [j["conclusion"] for j in c.forge.ended(sha)] == ["success"] * 3
            c.clean()
            assert c.agent.stop() == 0
        events = [json.loads(line) for line in told.read_text().splitlines()]
        assert all(set(e) == {"event", "runner", "repository", "id", "text"} for e in events), events
        kinds = [e["event"] for e in events]
        assert kinds[0] == "trouble" and kinds[-1] == "stopping" and kinds.count("started") == kinds.count("ended") == 3, kinds
        assert {e["runner"] for e in events if e["event"] == "started"} == {e["runner"] for e in events if e["event"] == "ended"}
        assert all(e["repository"] == ONE and e["id"] for e in events if e["event"] in ("started", "ended")), events
        assert "502" in events[0]["text"], events[0]


def test_a_runner_whose_job_is_gone_makes_room_for_another_repository():
    with Scaled() as c:
        c.forge.faults(path="/broker/session", method="POST", delay_ms=3000, times=1)
        sha = c.forge.push(BURST % ("web", "echo one"), name=ONE)
        c.scale("--url", f"{c.forge.url}/acme", slots="1")
        c.agent.says("for a job of acme/one")
        c.forge.cancel(ONE, c.forge.run_of(sha)["id"])
        other = c.forge.push(BURST % ("web", "echo two"), name=TWO)
        assert [j["conclusion"] for j in c.forge.ended(other)] == ["success"] * 3
        c.agent.says("makes room")
        c.clean()
        assert c.agent.stop() == 0


def test_what_is_asked_again_costs_nothing_and_limits_are_obeyed():
    with Scaled() as c:
        c.forge.faults(path="/actions/runs", status=403, times=1, headers={"Retry-After": "1"}, body='{"message": "secondary rate limit"}')
        c.scale("--url", f"{c.forge.url}/{ONE}")
        asked = lambda: [r["status"] for r in c.forge.requests("/actions/runs")]  # noqa: E731
        until("answers that it is as before", lambda: asked().count(304) >= 6)
        assert asked()[0] == 403 and asked()[1:3] == [200, 200] and set(asked()[3:]) == {304}, asked()
        assert c.agent.stop(signal.SIGTERM) == 0


def test_a_repository_that_is_gone_or_closed_keeps_no_other_one_waiting():
    with Scaled() as c:
        # Of the second no runner can be registered.
        c.forge.faults(path=f"/repos/{TWO}/actions/runners/generate-jitconfig", status=404, times=-1, body='{"message": "Not Found"}')
        one = (BURST % ("web", "true")).replace("[1, 2, 3]", "[1]")
        first, second = (c.forge.push(one, name=name, files={"repository": name}) for name in (TWO, ONE))
        c.scale(*(word for name in ("acme/gone", TWO, ONE) for word in ("--url", f"{c.forge.url}/{name}")), slots="1")
        assert [j["conclusion"] for j in c.forge.ended(second)] == ["success"]
        until("further looks", lambda: len(c.forge.requests("/acme/gone/")) >= 4)
        assert c.agent.text().count("the queued jobs of acme/gone") == c.agent.text().count(f"register a runner for {TWO}") == 1, c.agent.text()
        c.forge.no_faults()
        assert [j["conclusion"] for j in c.forge.ended(first)] == ["success"], "it is there again"
        assert c.agent.stop(signal.SIGTERM) == 0


def test_killed_in_the_middle_it_leaves_no_stale_registration_after_its_next_start():
    with Scaled() as c:
        go = c.agent.root / "go"
        sha = c.forge.push(BURST % ("web", f"until test -e {go}; do read -rt 0.05 <> <(:) || true; done"), name=ONE)
        c.scale("--url", f"{c.forge.url}/{ONE}", slots="3")
        c.forge.wait("three running jobs", lambda: sum(j["status"] == "in_progress" for j in c.forge.jobs(sha)) == 3)
        # One dies with the autoscaler, two go on. A third registration was made, and nobody lived to keep its number.
        c.agent.process.kill()
        c.agent.process.wait()
        victim = json.loads(c.kept()[0].read_text())
        os.killpg(victim["pid"], signal.SIGKILL)
        c.forge.jitconfig(ONE, "lost-1", labels=("self-hosted", "gpu"))
        (c.agent.root / "autoscale" / "lost-1.json").write_text(json.dumps({"format": 1, "name": "lost-1", "repository": ONE, "id": 0, "pid": 0,
                                                                           "start_time": 0, "boot_id": ""}))
        assert c.forge.runner("lost-1")
        c.scale("--url", f"{c.forge.url}/{ONE}", slots="3")
        until("the lost one is gone", lambda: c.forge.runner("lost-1") is None)
        until("the dead one is gone", lambda: c.forge.runner(victim["name"]) is None)
        c.forge.expire(leases=False)
        go.touch()
        ended = c.forge.wait("the two that went on", lambda: [j for j in c.forge.jobs(sha) if j["conclusion"] == "success"][1:] and True)
        assert ended
        c.clean()
        assert c.agent.stop() == 0


def test_told_to_stop_it_takes_idle_runners_back_and_lets_the_others_end_their_jobs():
    with Scaled() as c:
        go = c.agent.root / "go"
        sha = c.forge.push((BURST % ("web", f"until test -e {go}; do read -rt 0.05 <> <(:) || true; done")).replace("[1, 2, 3]", "[1]"), name=ONE)
        c.scale("--url", f"{c.forge.url}/{ONE}")
        c.forge.begun(sha)
        c.agent.process.send_signal(signal.SIGTERM)
        c.agent.says("told to stop")
        assert c.agent.process.poll() is None
        go.touch()
        (job,) = c.forge.ended(sha)
        assert job["conclusion"] == "success", job
        assert c.agent.wait() == 0
        c.clean()


def test_what_cannot_be_meant_is_refused():
    with Scaled() as c:
        for words, says in (((), "--url is missing"), (("--url", f"{c.forge.url}/a", "--url", f"{c.forge.url}/b"), "a second owner"),
                            (("--url", f"{c.forge.url}/{ONE}", "--interval", "soon"), "--interval takes a time")):
            done = subprocess.run([DAVIT, "agent", "autoscale", "--token-file", str(c.token), *words], env=c.agent.env, capture_output=True, text=True)
            assert done.returncode == 1 and says in done.stderr, done
        pathlib.Path(c.token).chmod(0o644)
        done = subprocess.run([DAVIT, "agent", "autoscale", "--token-file", str(c.token), "--url", f"{c.forge.url}/{ONE}"], env=c.agent.env,
                              capture_output=True, text=True)
        assert done.returncode == 1 and "can be read by others" in done.stderr, done


if __name__ == "__main__":
    run(__name__)
