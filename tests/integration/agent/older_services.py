#!/usr/bin/env python3
"""The agent against a server of the older generation (servers/pipelines.py), as GitHub Enterprise Server has it."""
import base64
import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from harness import Agent, run, until  # noqa: E402
from servers.pipelines import SECRET, Job, Pipelines  # noqa: E402


class Place:
    """with Place() as p: p.server, p.agent"""

    def __init__(self, configured=True, options=(), **server):
        self.server, self.configured, self.options = Pipelines(**server), configured, options

    def __enter__(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="davit-older-"))
        self.server.__enter__()
        self.agent = Agent(self.root)
        if self.configured:
            self.agent.configure(self.server, "acme/widgets", *self.options)
        return self

    def start(self, *words):
        self.agent.start(*words)
        self.agent.listening()
        return self

    def __exit__(self, kind, value, trace):
        self.agent.kill()
        for pid in self.agent.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if kind is not None:
            print(f"--- agent\n{self.agent.text()[-4000:]}\n--- complaints\n" + "\n".join(self.server.complaints), file=sys.stderr)
            for r in self.server.requests[-25:]:
                print(r["method"], r["path"][:150], r["body"][:200], file=sys.stderr)
        self.server.__exit__()
        shutil.rmtree(self.root, ignore_errors=True)
        return False


def stop(place):
    assert place.agent.stop() == 0, place.agent.text()
    place.server.calm()


STEPS = [
    {"displayNameToken": "greet", "contextName": "greet", "reference": {"type": "script"}, "inputs": {"type": 2, "map": [
        {"key": "script", "value": "echo hello $LEVEL\necho \"$KEY\"\necho word=up >> $GITHUB_OUTPUT\necho '# fine' >> $GITHUB_STEP_SUMMARY\n"
                                   "echo '::warning file=a.c,line=3,title=T::mind'\necho '::notice::by the way'\n"
                                   "echo\nprintf 'ä%.0s' $(seq 3000)\necho"}]},
     "environment": {"type": 2, "map": [{"key": "LEVEL", "value": "there"}, {"key": "KEY", "value": {"type": 3, "expr": "secrets.DEPLOY_KEY"}}]}},
    {"displayNameToken": "breaks", "reference": {"type": "script"}, "inputs": {"type": 2, "map": [{"key": "script", "value": "echo ::set-output name=a::b; exit 3"}]},
     "continueOnError": {"type": 5, "bool": True}},
    {"displayNameToken": "never", "condition": "failure()", "reference": {"type": "script"},
     "inputs": {"type": 2, "map": [{"key": "script", "value": "echo no"}]}},
]
OUTPUTS = {"word": {"expr": "steps.greet.outputs.word"}}


def test_a_job_of_the_older_services_is_carried_out_and_reported_step_by_step():
    with Place() as p:
        p.start()
        job = p.server.queue(Job(p.server, STEPS, OUTPUTS, {"name": "prod", "url": "https://prod.example/"},
                                 variables={"DistributedTask.DeprecateStepOutputCommands": "true"}))
        event = job.wait()
        assert event["result"] == "succeeded" and event["outputs"] == {"word": {"value": "up"}}, event
        assert event["actionsEnvironment"] == {"name": "prod", "url": "https://prod.example/"}, event
        told = [(t["type"], t["action"], t["result"], t["stepId"] == job.record(n)["id"], t["executionTimeInSeconds"] >= 0)
                for t, n in zip(event["actionsStepsTelemetry"], ("Set up job", "greet", "breaks", "Complete job"), strict=True)]
        assert told == [("runner", "setup_job", "succeeded", True, True), ("run", "sh", "succeeded", True, True),
                        ("run", "sh", "succeeded", True, True), ("runner", "complete_job", "succeeded", True, True)], told
        assert event["jobTelemetry"] == [{"message": "DeprecatedCommand: set-output", "type": "actionCommand"}], event["jobTelemetry"]
        assert job.steps() == {"Set up job": "succeeded", "greet": "succeeded", "breaks": "succeeded", "never": "skipped",
                               "Complete job": "succeeded"}, job.steps()
        assert [job.record(n)["order"] for n in job.steps()] == [1, 2, 3, 4, 5]
        assert job.record("Set up job")["refName"] == "JobExtension_Init"
        log = job.log("greet")
        assert "hello there" in log and SECRET not in log and "***" in log, log
        assert job.feed("greet").count("hello there") == 1, job.lines
        assert "ä" * 1024 + "..." in job.feed("greet") and "" not in job.feed("greet")
        lines = [line.partition(" ")[2] for line in job.raw_log(job.record("greet")).decode().splitlines()]
        firsts = [(start, values[0]) for step, start, values in job.lines if step == job.record("greet")["id"]]
        assert all(lines[start - 1] == value or value.endswith("ä...") for start, value in firsts), firsts
        assert job.issues("greet") == [("warning", "mind"), ("notice", "by the way")]
        issue = job.record("greet")["issues"][0]
        assert issue["data"]["file"] == "a.c" and issue["data"]["line"] == "3" and issue["data"]["title"] == "T", issue
        assert job.issues("breaks")[1:] == [("error", "Process completed with exit code 3.")]
        whole = job.record("build")
        assert whole["result"] == "succeeded" and whole["agentPlatform"] == "Linux" and whole["log"], whole
        assert b"hello there" in job.raw_log(whole)
        assert job.attachments == {("Checks.Step.Summary", job.record("greet")["id"]): b"# fine\n"}, job.attachments
        assert SECRET not in repr([r["body"] for r in p.server.requests]) and job.renewals >= 1
        order = [r["resource"] for r in p.server.requests]
        assert order.index("jobrequests") < order.index("records")
        last = len(order) - 1 - order[::-1].index("events")
        assert not {"records", "logs", "feed", "attachments"} & set(order[last + 1:]), order
        p.agent.says("Job build completed with result: Succeeded")
        until("polls as idle again", lambda: p.server.seen("messages", "GET")[-1]["status"] == "Online")
        assert "Busy" in [r["status"] for r in p.server.seen("messages", "GET")]
        assert [r["queue"] for r in p.agent.state()["registrations"]] == ["pool"]
        again = p.server.queue(Job(p.server, ["echo second"]))
        assert again.wait()["result"] == "succeeded"
        stop(p)
        assert p.server.sessions == {}
        assert len(p.server.seen("connectionData")) == 4  # configure, the queue, and each worker


def test_old_servers_sign_and_encrypt_with_sha_1_or_not_at_all():
    for options in ({"signature": "RS256", "fips": False}, {"encrypt": False}):
        with Place(**options) as p:
            p.start()
            assert p.server.queue(Job(p.server, ["echo hello"])).wait()["result"] == "succeeded"
            stop(p)


def test_a_log_of_many_megabytes_goes_in_parts_to_one_log():
    with Place() as p:
        p.start()
        job = p.server.queue(Job(p.server, ["seq -f 'line %08.0f of a log that is long' 1 150000"]))
        assert job.wait()["result"] == "succeeded"
        record = next(r for r in job.records.values() if r["name"].startswith("Run seq"))
        assert len(job.logs[record["log"]["id"]]) > 3
        lines = [line for line in job.raw_log(record).decode().splitlines() if " line 00" in line]
        assert len(lines) == 150000 and lines[-1].endswith("line 00150000 of a log that is long"), lines[-1]
        assert len(job.feed(record["name"])) < 150000
        stop(p)


def test_a_cancel_ends_the_step_and_always_steps_still_run():
    with Place() as p:
        p.start()
        job = p.server.queue(Job(p.server, ["echo begun; sleep 600",
                                            {"displayNameToken": "after", "condition": "always()", "reference": {"type": "script"},
                                             "inputs": {"type": 2, "map": [{"key": "script", "value": "echo still"}]}}]))
        p.server.until("its first lines", lambda: "begun" in repr(job.lines))
        p.server.cancel(job)
        assert job.wait()["result"] == "canceled"
        assert job.steps()["after"] == "succeeded" and job.record("build")["result"] == "canceled", job.steps()
        stop(p)


def test_a_cancel_that_allows_no_time_leaves_a_minute_all_the_same():
    with Place() as p:
        p.agent.env["DAVIT_PACE_PERCENT"] = "100"
        p.start()
        job = p.server.queue(Job(p.server, ["echo begun; sleep 600",
                                            {"displayNameToken": "after", "condition": "always()", "reference": {"type": "script"},
                                             "inputs": {"type": 2, "map": [{"key": "script", "value": "echo still"}]}}]))
        p.server.until("its first lines", lambda: "begun" in repr(job.lines))
        p.server.cancel(job, "00:00:00")
        assert job.wait()["result"] == "canceled"
        assert job.steps()["after"] == "succeeded", job.steps()
        stop(p)


def test_the_runner_is_found_replaced_and_removed():
    with Place() as p:
        first, = p.server.agents.values()
        assert [label["name"] for label in first["labels"]][:2] == ["self-hosted", "Linux"] and first["_pool"] == 1
        other = Agent(p.root, "other")
        other.name = "box"
        refused = other.davit("configure", "--unattended", "--url", f"{p.server.url}/acme/widgets", "--token", p.server.registration, "--name",
                              "box", check=False)
        assert refused.returncode == 1 and "exists already" in refused.stderr, refused.stderr
        other.configure(p.server, "acme/widgets", "--replace", "--runnergroup", "SHIPS", "--labels", "gpu,web", "--no-default-labels",
                        "--ephemeral", "--disableupdate")
        second, = p.server.agents.values()
        assert second["id"] == first["id"] and [label["name"] for label in second["labels"]] == ["gpu", "web"], second
        assert second["ephemeral"] is True and second["authorization"]["publicKey"] != first["authorization"]["publicKey"]
        nothing = other.davit("configure", "--unattended", "--url", f"{p.server.url}/acme", "--token", p.server.registration, "--name", "x",
                              "--runnergroup", "planes", check=False)
        assert "groups are: Default, ships" in nothing.stderr, nothing.stderr
        bad = other.davit("configure", "--unattended", "--url", f"{p.server.url}/acme", "--token", "wrong", "--name", "x", check=False)
        assert bad.returncode == 1 and "good for one hour" in bad.stderr, bad.stderr
        other.davit("remove", "--token", p.server.registration)
        assert p.server.agents == {}
        # Without it there, only what is here is left to remove.
        gone = p.agent.davit("remove", "--token", p.server.registration)
        assert "has no runner of that name any more" in gone.stdout and p.agent.state()["registrations"] == [], gone.stdout
        assert len(p.server.seen("agents", "DELETE")) == 1
        p.server.calm()


def test_a_service_on_another_site_is_not_asked():
    with Place(configured=False) as p:
        p.server.tenant = p.server.tenant.replace("127.0.0.1", "localhost")
        refused = p.agent.davit("configure", "--unattended", "--url", f"{p.server.url}/acme/widgets", "--token", p.server.registration, check=False)
        assert refused.returncode == 1 and "a service on another site, http://localhost" in refused.stderr, refused.stderr
        assert p.server.seen("connectionData") == []


def test_a_server_that_knows_no_runners_for_one_job_keeps_none():
    with Place(configured=False) as p:
        p.server.unknown = ("ephemeral", "disableUpdate")
        refused = p.agent.davit("configure", "--unattended", "--url", f"{p.server.url}/acme/widgets", "--token", p.server.registration,
                                "--ephemeral", check=False)
        assert refused.returncode == 1 and "has no runners for one job" in refused.stderr, refused.stderr
        assert p.server.agents == {}
        p.agent.configure(p.server, "acme/widgets", "--disableupdate")
        p.server.calm()


def test_polls_that_are_answered_at_once_with_nothing_are_not_made_without_end():
    with Place(hold_s=0) as p:
        p.agent.env["DAVIT_PACE_PERCENT"] = "10"
        p.start()
        p.server.until("the first", lambda: p.server.seen("messages", "GET"))
        begun, count = time.monotonic(), len(p.server.seen("messages", "GET"))
        p.server.until("nine more", lambda: len(p.server.seen("messages", "GET")) >= count + 9)
        assert time.monotonic() - begun > 0.3  # of nine tenths of a second
        stop(p)


def test_answers_to_a_registration_that_are_cut_are_asked_for_again():
    with Place(configured=False) as p:
        for resource in ("connectionData", "pools", "agents"):
            p.server.fault(resource, "GET", status=503)
            p.server.fault(resource, "GET", status=200, body="half of it")
        p.agent.configure(p.server)
        assert len(p.server.agents) == 1 and [len(p.server.seen(r, "GET")) for r in ("connectionData", "pools", "agents")] == [3, 3, 3]
        p.server.calm()


def test_a_runner_for_one_job_ends_with_it_and_forgets_itself():
    with Place(options=("--ephemeral",)) as p:
        p.start()
        job = p.server.queue(Job(p.server, ["echo once"]))
        assert job.wait()["result"] == "succeeded"
        assert p.agent.wait() == 0, p.agent.text()
        assert "Removed the registration" in p.agent.text()
        p.server.calm()
    with Place() as p:
        p.start("--once")
        first, second = (p.server.queue(Job(p.server, ["echo once"])) for _ in range(2))
        assert first.wait()["result"] == "succeeded"
        assert p.agent.wait() == 0, p.agent.text()
        assert second.event is None and second in [m.get("job") for m in p.server.counts["messages"]], "the second is for another runner"
        p.server.calm()


def test_tokens_that_are_refused_in_the_middle_are_made_anew():
    with Place() as p:
        p.start()
        p.server.fault("messages", "GET", status=401)
        p.server.fault("jobrequests", status=401)
        job = p.server.queue(Job(p.server, ["echo hello"]))
        assert job.wait()["result"] == "succeeded"
        assert len(p.server.seen("token")) >= 3
        stop(p)


def test_a_redirect_to_a_page_for_people_is_no_answer():
    with Place(configured=False) as p:
        for resource, method in (("pools", "GET"), ("messages", "GET"), ("jobrequests", "PATCH"), ("records", "PATCH"), ("logs", "POST"), ("events", "POST")):
            p.server.fault(resource, method, status=302, headers=[("Location", f"{p.server.url}/login")])
        p.agent.configure(p.server)
        p.start()
        assert p.server.queue(Job(p.server, ["echo hello"])).wait()["result"] == "succeeded"
        assert not [r for r in p.server.requests if r["path"] == "/login"]
        stop(p)


def test_an_expired_session_is_made_anew_with_its_own_key():
    with Place() as p:
        p.start()
        with p.server.condition:
            p.server.only_session()["expired"] = True
            p.server.condition.notify_all()
        job = p.server.queue(Job(p.server, ["echo hello"]))
        assert job.wait()["result"] == "succeeded"
        assert len(p.server.seen("sessions", "POST")) == 2
        stop(p)


def test_a_session_of_before_is_waited_for_and_a_killed_agents_is_deleted():
    with Place() as p:
        p.server.fault("sessions", "POST", times=2, status=409, error="TaskAgentSessionConflictException")
        p.start()
        p.agent.kill()
        assert len(p.server.sessions) == 1
        p.agent.start()
        p.agent.listening(count=2)
        assert p.server.queue(Job(p.server, ["echo hello"])).wait()["result"] == "succeeded"
        stop(p)
        p.server.fault("sessions", "POST", times=99, status=409, error="TaskAgentSessionConflictException")
        p.agent.start()
        assert p.agent.wait() == 5, p.agent.text()


def test_a_session_whose_answer_was_lost_is_waited_for_until_it_runs_out():
    with Place() as p:
        p.server.fault("sessions", "POST", status=502)
        p.server.fault("sessions", "POST", times=9, status=409, error="TaskAgentSessionConflictException")
        p.start()
        assert len(p.server.seen("sessions", "POST")) == 11
        stop(p)


def test_what_no_retry_mends_ends_the_agent_and_says_why():
    with Place() as p:
        for error, code, status, says in (("TaskAgentNotFoundException", 0, 1, "look at it in the settings"),
                                          ("AccessDeniedException", 0, 1, "look at it in the settings"),
                                          ("AccessDeniedException", 1, 1, "a newer release of davit is needed")):
            p.server.fault("sessions", "POST", status=403, error=error, code=code)
            before = len(p.agent.text())
            p.agent.start()
            assert p.agent.wait() == status and says in p.agent.text()[before:], p.agent.text()
        p.start()
        p.server.fault("messages", "GET", status=404, error="TaskAgentNotFoundException")
        with p.server.condition:
            p.server.only_session()["expired"] = True
            p.server.condition.notify_all()
        # the expired session is made anew; the poll behind it says that the runner is gone
        assert p.agent.wait() == 0 and "was deleted on the server" in p.agent.text(), p.agent.text()


def test_a_pool_that_is_gone_forgets_no_registration():
    with Place() as p:
        p.start()
        p.server.fault("messages", "GET", status=404, error="TaskAgentPoolNotFoundException")
        job = p.server.queue(Job(p.server, ["echo hello"]))
        assert job.wait()["result"] == "succeeded"
        p.server.fault("messages", "GET", status=404, error="TaskAgentPoolNotFoundException", times=9)
        p.server.fault("sessions", "POST", status=404, error="TaskAgentPoolNotFoundException", times=9)
        with p.server.condition:
            p.server.only_session()["expired"] = True
            p.server.condition.notify_all()
        assert p.agent.wait() == 1 and "look at it in the settings" in p.agent.text(), p.agent.text()
        assert len(p.agent.state()["registrations"]) == 1


def test_a_token_that_was_revoked_ends_the_agent_and_forgets_nothing():
    with Place() as p:
        p.server.fault("sessions", "POST", status=403, error="TaskAgentAccessTokenExpiredException")
        p.agent.start()
        assert p.agent.wait() == 0, p.agent.text()
        p.start()
        p.server.fault("messages", "GET", status=403, error="TaskAgentAccessTokenExpiredException")
        with p.server.condition:
            p.server.only_session()["expired"] = True
            p.server.condition.notify_all()
        assert p.agent.wait() == 0, p.agent.text()
        assert len(p.agent.state()["registrations"]) == 1


def test_bursts_of_errors_and_connections_that_break_lose_no_job():
    with Place() as p:
        p.start()
        p.server.fault("messages", "GET", status=503, times=3)
        p.server.fault("messages", "GET", cut=True)
        p.server.fault("messages", "DELETE", status=500)
        p.server.fault("jobrequests", status=502, times=2)
        p.server.fault("connectionData", status=503)
        p.server.fault("records", status=500, times=5)
        p.server.fault("logs", status=503)
        p.server.fault("events", status=500, times=2)
        job = p.server.queue(Job(p.server, ["echo hello"]))
        assert job.wait()["result"] == "succeeded"
        assert "hello" in job.log("Run echo hello") and job.record("build")["result"] == "succeeded"
        assert set(job.steps().values()) == {"succeeded"} and len(job.steps()) == 3, job.steps()
        stop(p)


def test_logs_and_step_states_that_could_not_be_sent_are_kept_with_the_result_and_sent_later():
    with Place() as p:
        p.start()
        for resource in ("records", "logs", "attachments", "events", "results"):
            p.server.fault(resource, status=503, times=100000)
        job = p.server.queue(Job(p.server, STEPS, OUTPUTS, variables={"system.github.results_endpoint": f"{p.server.url}/results/"}))
        p.agent.says("its result is kept and sent later", seconds=120)
        (file,) = (p.agent.root / "unsent").iterdir()
        assert b"hello there" not in file.read_bytes() and job.records == {} and not p.agent.workers()
        with p.server.condition:
            p.server.faults.clear()
        assert job.wait()["result"] == "succeeded"
        assert job.steps() == {"Set up job": "succeeded", "greet": "succeeded", "breaks": "succeeded", "never": "skipped",
                               "Complete job": "succeeded"}, job.steps()
        log = job.log("greet")
        assert log.count("hello there") == 1 and SECRET not in log, log
        assert b"hello there" in job.raw_log(job.record("build"))
        assert job.issues("greet") == [("warning", "mind"), ("notice", "by the way")]
        assert job.attachments == {("Checks.Step.Summary", job.record("greet")["id"]): b"# fine\n"}, job.attachments
        assert b"hello there" in job.blobs[f"logs-{job.record('greet')['id']}"], "the other service has it too"
        until("the file is gone", lambda: not list((p.agent.root / "unsent").iterdir()))
        stop(p)


def test_a_message_that_comes_twice_is_one_job():
    with Place() as p:
        p.start()
        job = p.server.queue(Job(p.server, ["echo hello"]), twice=True)
        assert job.wait()["result"] == "succeeded"
        p.server.until("both are removed", lambda: p.server.counts["messages"] == [])
        p.agent.says("completed with result")
        other = p.server.queue(Job(p.server, ["echo hello"]))
        assert other.wait()["result"] == "succeeded"
        assert p.agent.text().count("Running job: build") == 2
        stop(p)


def test_a_message_that_cannot_be_decrypted_comes_again_in_another_session():
    with Place() as p:
        p.start()
        job = Job(p.server, ["echo hello"])
        with p.server.condition:
            p.server.queue(job)
            p.server.counts["messages"][-1]["spoilt"] = True
        assert job.wait()["result"] == "succeeded"
        assert "cannot be decrypted" in p.agent.text() and len(p.server.seen("sessions", "POST")) == 2
        stop(p)


def test_the_queue_sends_polls_to_a_broker_while_it_migrates():
    with Place(hold_s=1) as p:
        p.server.migrating = True
        p.start()
        job = p.server.queue(Job(p.server, ["echo by the run service"], by_run_service=True))
        completion = job.wait()
        assert completion["conclusion"] == "succeeded", completion
        assert p.server.counts["acknowledged"] == job.id
        p.agent.says("completed with result: Succeeded")
        p.server.migrating = False
        old = p.server.queue(Job(p.server, ["echo by the queue again"]))
        assert old.wait()["result"] == "succeeded"
        stop(p)


def test_announced_jobs_that_are_not_to_be_had_are_asked_for_less_and_less():
    with Place(hold_s=1) as p:
        p.server.migrating = True
        p.agent.env["DAVIT_PACE_PERCENT"] = "5"
        p.start()
        p.server.fault("acquirejob", times=6, status=409, body={"source": "actions-run-service", "statusCode": 409, "errorMessage": "no"})
        jobs = [p.server.queue(Job(p.server, ["echo hello"], by_run_service=True)) for _ in range(7)]
        p.server.until("the first is asked for", lambda: p.server.seen("acquirejob"))
        begun = time.monotonic()
        p.server.until("the last is asked for", lambda: len(p.server.seen("acquirejob")) == 7)
        # at a twentieth of the pace: nothing, then about 50, 100, 200, 400 and 800 ms
        assert time.monotonic() - begun > 1
        assert jobs[-1].wait()["conclusion"] == "succeeded"
        assert p.agent.text().count("not to be had") == 6
        stop(p)


def test_a_job_announced_by_reference_is_fetched_from_the_older_service():
    with Place() as p:
        p.start()
        job = p.server.announce_by_reference(Job(p.server, ["echo by reference"]))
        assert job.wait()["result"] == "succeeded"
        stop(p)


def test_a_runner_that_was_registered_by_the_older_service_may_listen_at_a_broker():
    with Place(configured=False) as p:
        p.server.properties = {"UseV2Flow": True, "ServerUrlV2": f"{p.server.url}/broker"}
        p.agent.configure(p.server)
        record = next(p.agent.root.glob("agent/registrations/*/registration.json")).read_text()
        assert '"generation": "v1"' in record or '"generation":"v1"' in record, record
        p.agent.davit("remove", "--token", p.server.registration)
        assert p.server.agents == {}
        p.server.calm()


def test_a_just_in_time_configuration_without_a_broker_listens_at_the_older_queue():
    with Place() as p:
        registration = next(p.agent.root.glob("agent/registrations/*"))
        record = json.loads((registration / "registration.json").read_text())
        text = subprocess.run(["openssl", "rsa", "-in", registration / "key.pem", "-noout", "-text"], check=True, capture_output=True, text=True).stdout
        numbers = {n.strip(): bytes.fromhex(re.sub(r"[\s:]", "", v)) for n, v in re.findall(r"(?m)^(\w+):\n((?:    .*\n)+)", text)}
        names = {"modulus": "modulus", "privateExponent": "d", "prime1": "p", "prime2": "q", "exponent1": "dp", "exponent2": "dq",
                 "coefficient": "inverseQ"}
        files = {".runner": {"AgentId": str(record["id"]), "AgentName": "box", "PoolId": "1", "ServerUrl": p.server.tenant, "Ephemeral": "True"},
                 ".credentials": {"Scheme": "OAuth", "Data": {"ClientId": record["client_id"], "AuthorizationUrl": p.server.token_url,
                                                              "oauthEndpointUrl": p.server.token_url + "?via=another",
                                                              "RequireFipsCryptography": "True"}},
                 ".credentials_rsaparams": {"exponent": "AQAB", **{to: base64.b64encode(numbers[own]).decode() for own, to in names.items()}}}
        coded = {n: base64.b64encode(json.dumps(v).encode()).decode() for n, v in files.items()}
        p.start("--jitconfig", base64.b64encode(json.dumps(coded).encode()).decode())
        assert p.server.queue(Job(p.server, ["echo just in time"])).wait()["result"] == "succeeded"
        assert p.agent.wait() == 0
        # the token is asked for elsewhere than at whom it is for
        assert {r["path"].rsplit("?", 1)[-1] for r in p.server.seen("token")} == {"via=another"}
        p.server.calm()


def test_a_job_that_names_a_results_service_too_is_told_to_both():
    for storage in ("BLOB_STORAGE_TYPE_AZURE", "BLOB_STORAGE_TYPE_UNSPECIFIED"):
        results_are_told_too(storage)


def results_are_told_too(storage):
    with Place() as p:
        p.server.storage = storage
        p.start()
        job = p.server.queue(Job(p.server, STEPS, variables={"system.github.results_endpoint": f"{p.server.url}/results/"}))
        assert job.wait()["result"] == "succeeded"
        step = job.record("greet")["id"]
        assert "hello there" in job.log("greet") and b"hello there" in job.blobs[f"logs-{step}"], job.blobs.keys()
        assert job.blobs[f"summary-{step}"] == b"# fine\n" == job.attachments["Checks.Step.Summary", step]
        last = {s["external_id"]: s for call, body in job.results if call == "WorkflowStepsUpdate" for s in body["steps"]}
        assert {s["name"]: s["conclusion"] for s in last.values()} == {"Set up job": 2, "greet": 2, "breaks": 2, "never": 7, "Complete job": 2}
        stop(p)


def test_a_job_that_the_hosts_policy_refuses_fails_with_the_rule():
    with Place() as p:
        p.start()
        job = p.server.queue(Job(p.server, ["echo no"], visibility="public"))
        assert job.wait()["result"] == "failed"
        assert "refuses this job by the rule" in repr(job.record("build")["issues"]), job.records
        assert p.server.queue(Job(p.server, ["echo yes"])).wait()["result"] == "succeeded"
        stop(p)


def test_a_lease_that_the_service_forgot_cancels_the_job():
    with Place() as p:
        p.start()
        job = p.server.queue(Job(p.server, ["echo begun; sleep 600"]))
        p.server.until("its first lines", lambda: "begun" in repr(job.lines))
        job.gone = True
        assert job.wait()["result"] == "canceled"
        p.agent.says("completed with result: Abandoned")
        stop(p)


def test_renewals_that_fail_end_the_job_only_when_its_lease_is_over():
    with Place(lock_s=1) as p:
        p.start()
        job = p.server.queue(Job(p.server, [f"echo begun; until test -e {p.root}/go; do sleep 0.05; done"]))
        p.server.until("its first lines", lambda: "begun" in repr(job.lines))
        p.server.fault("jobrequests", status=500, times=3)
        renewals = job.renewals
        p.server.until("a good one behind them", lambda: not any(f["times"] for f in p.server.faults) and job.renewals > renewals)
        (p.root / "go").touch()
        assert job.wait()["result"] == "succeeded"
        second = p.server.queue(Job(p.server, ["echo begun; sleep 600"]))
        p.server.until("its first lines", lambda: "begun" in repr(second.lines))
        begun = time.monotonic()
        p.server.fault("jobrequests", status=503, times=9999)
        assert second.wait()["result"] == "canceled"
        # what is left of its second, and a hundredth of five minutes
        assert time.monotonic() - begun > 2.5
        p.agent.says("completed with result: Abandoned")
        p.server.faults.clear()
        p.server.calm()
        p.server.fault("jobrequests", "PATCH", status=503, times=6)
        third = p.server.queue(Job(p.server, ["echo never"]))
        assert third.wait()["result"] == "failed"
        assert "could not be renewed before it began" in repr(third.record("build")["issues"])
        assert p.agent.stop() == 0


def test_a_worker_that_dies_is_completed_from_here_and_an_agent_that_dies_finds_its_job_again():
    with Place() as p:
        p.start()
        job = p.server.queue(Job(p.server, ["echo begun; sleep 600"]))
        p.server.until("its first lines", lambda: "begun" in repr(job.lines))
        os.kill(p.agent.workers()[0], signal.SIGKILL)
        assert job.wait()["result"] == "failed"
        assert "ended by signal 9" in repr(job.record("build")["issues"]), job.record("build")
        second = p.server.queue(Job(p.server, [f"echo begun; until test -e {p.root}/go; do sleep 0.05; done"]))
        p.server.until("its first lines", lambda: "begun" in repr(second.lines))
        p.agent.process.kill()
        p.agent.process.wait()
        renewals = second.renewals
        p.agent.start()
        p.agent.listening(count=2)
        p.server.until("renewals by the next agent", lambda: second.renewals > renewals)
        (p.root / "go").touch()
        assert second.wait()["result"] == "succeeded"
        stop(p)


def test_actions_of_other_repositories_come_by_the_older_services_answer():
    with Place() as p:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            text = b"name: hi\nruns:\n  using: composite\n  steps:\n    - run: echo from the action\n      shell: bash\n"
            member = tarfile.TarInfo("acme-hi-abab/action.yml")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
        p.server.archives = {"acme/hi.tar.gz": archive.getvalue()}
        p.start()
        job = p.server.queue(Job(p.server, [{"displayNameToken": "uses", "inputs": None, "reference": {
            "type": "repository", "name": "acme/hi", "ref": "v1", "repositoryType": "GitHub", "path": ""}}]))
        assert job.wait()["result"] == "succeeded", job.log("Set up job")
        assert "from the action" in job.log("uses")
        assert job.asked_actions == [[{"nameWithOwner": "acme/hi", "ref": "v1", "path": ""}]]
        stop(p)


if __name__ == "__main__":
    run(__name__)
