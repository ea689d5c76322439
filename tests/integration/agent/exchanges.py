#!/usr/bin/env python3
"""What goes wrong between the agent and the service, call by call: each answer of a row comes once, in this order, and the job succeeds all the same. The
forge gives the answers; agent and worker are real."""
import datetime
import os
import pathlib
import resource
import tempfile

from harness import Case, run, until
from servers.slow import SlowRelay

LATER = {"status": 429, "headers": {"Retry-After": "0"}, "body": '{"message":"too fast"}'}
PROXY = {"status": 502, "body": "<html>Bad Gateway</html>"}
BARE = {"status": 404, "body": "<html>not here</html>"}
# call, method, answers. A dropped answer was lost before the service saw the request; "after": the service had acted on it.
ROWS = [
    ("token", "POST", [{"drop": True}, {"drop": "after"}, PROXY, LATER, {"truncate": 20}, {"status": 500}]),
    ("session", "POST", [{"status": 401}, {"drop": True}, {"status": 409}, BARE, {"status": 410}, LATER, PROXY]),
    ("/message", "GET", [{"status": 401}, {"status": 403, "body": "denied"}, BARE, {"status": 409}, {"status": 410}, LATER, PROXY, {"drop": True},
                         {"status": 200, "body": '{"messageType": "Runner', "headers": {"Content-Type": "application/json"}},
                         {"status": 200, "body": "[]", "headers": {"Content-Type": "application/json"}},
                         {"status": 204}, {"status": 202}]),
    ("acknowledge", "POST", [{"status": 401}]),
    ("acknowledge", "POST", [{"drop": "after"}]),
    ("acknowledge", "POST", [PROXY]),
    ("acquirejob", "POST", [{"status": 401}, {"drop": True}, {"drop": "after"}, {"truncate": 100}]),
    ("acquirejob", "POST", [{"status": 403, "body": "denied"}, BARE, {"status": 410}, LATER]),
    ("renewjob", "POST", [BARE, PROXY, {"drop": True}, {"truncate": 5}, LATER]),
    ("completejob", "POST", [PROXY, {"drop": True}, LATER, BARE, {"status": 408}, {"truncate": 0}]),
    ("WorkflowStepsUpdate", "POST", [{"status": 401}, {"drop": True}, PROXY]),
    ("LogsSignedBlobURL", "POST", [{"drop": True}, PROXY, {"drop": "after"}]),
    ("blobs", "PUT", [{"drop": "after"}, {"status": 503}]),
    ("LogsMetadata", "POST", [{"drop": True}, {"status": 500}]),
]
# Without an effect that a test could wait for: the agent answers none of these with anything but its next poll.
MESSAGES = [("SomethingNew", {"x": 1}), ("RunnerRefresh", {"target_version": "9.9.9", "download_url": "https://example.invalid/x"}),
            ("JobCancellation", {"jobId": "00000000-0000-4000-8000-000000000000", "timeout": "00:05:00"}), ("RunnerRefreshConfig", {"configType": "runner"}),
            ("RunnerJobRequest", {}), ("JobCancellation", {"jobId": 7}), ("BrokerMigration", {"brokerBaseUrl": ""})]


def plant(c, call, method, answers):
    for answer in answers:
        c.forge.fault(call, method=method, times=1, **answer)


def consumed(c, call):
    return all(f["times"] == 0 for f in c.forge.json("GET", "/_forge/faults") if f["path"] == call)


def succeeds(c, what):
    jobs = c.forge.ended(c.forge.push())
    assert [j["conclusion"] for j in jobs] == ["success"], (what, jobs)


def test_a_job_succeeds_whatever_came_in_between():
    with Case() as c:
        c.agent.configure(c.forge)
        plant(c, *ROWS[0])
        plant(c, *ROWS[1])
        c.agent.start().listening()
        assert consumed(c, "token") and consumed(c, "session"), c.forge.json("GET", "/_forge/faults")
        for call, method, answers in ROWS[2:]:
            c.forge.no_faults()
            plant(c, call, method, answers)
            if call == "/message":
                c.forge.expire(sessions=True)
                until("each answer came", lambda name=call: consumed(c, name))
            succeeds(c, (call, answers))
            assert consumed(c, call), (call, c.forge.json("GET", "/_forge/faults"))
            assert c.agent.process.poll() is None, c.agent.text()
        assert c.agent.stop() == 0


# What a service that is slow on purpose can hold up; its answer comes a byte at a time, or never has all its headers.
SLOW = [("oauth2/token", "POST", "headers"), ("session", "POST", "bytes"), ("/message", "GET", "headers"),
        ("acquirejob", "POST", "bytes"), ("renewjob", "POST", "headers"), ("WorkflowStepsUpdate", "POST", "bytes"),
        ("GetStepLogsSignedBlobURL", "POST", "headers"), ("blobs", "PUT", "bytes"), ("CreateJobLogsMetadata", "POST", "headers"),
        ("completejob", "POST", "bytes")]


def test_an_answer_that_drips_or_has_headers_without_end_is_given_up_and_the_job_succeeds():
    relay = SlowRelay()
    url = f"http://127.0.0.1:{relay.port}"
    with tempfile.TemporaryDirectory(prefix="davit-slow-") as folder:
        port = pathlib.Path(folder, "port")
        # Of each time limit two hundredths: two seconds of a call's hundred.
        with Case(options=("--url", url, "--port-file", str(port), "--poll", "300ms"), DAVIT_LIMIT_PERCENT="2") as c:
            relay.target = c.forge.port = int(port.read_text())
            c.forge.url = f"http://127.0.0.1:{relay.target}"
            slow_answers(c, relay, url)
    relay.close()


def slow_answers(c, relay, url):
    c.agent.davit("configure", "--unattended", "--url", f"{url}/acme/widgets", "--token", c.forge.registration_token("acme/widgets"), "--name", "box")
    relay.rules = list(SLOW)
    c.agent.start().listening()
    until("the end of the slow poll", lambda: any(path == "/message" for path, _, _ in relay.ended))
    succeeds(c, "slow answers")
    assert relay.rules == [], relay.rules
    until("each slow answer is given up", lambda: sorted(relay.ended) == sorted(SLOW))
    assert c.agent.process.poll() is None, c.agent.text()
    assert c.agent.stop() == 0


def test_messages_that_are_unknown_broken_or_come_twice_do_no_harm():
    with Case(options=("--poll", "500ms")) as c:
        c.agent.configure(c.forge)
        c.agent.start().listening()
        for kind, body in MESSAGES:
            for _ in range(2):
                c.forge.message("box", kind, body)
        succeeds(c, "messages")
        assert c.agent.stop() == 0


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


# What a service that is asked too much is asked again, and by whom.
CALLS = [("token", "POST"), ("session", "POST"), ("/message", "GET"), ("acquirejob", "POST"), ("renewjob", "POST"), ("WorkflowStepsUpdate", "POST"),
         ("GetJobLogsSignedBlobURL", "POST"), ("blobs", "PUT"), ("CreateJobLogsMetadata", "POST"), ("completejob", "POST")]


def test_each_call_waits_as_long_as_it_is_asked_to():
    with Case(options=("--poll", "300ms")) as c:
        later = {"times": 1, "headers": {"Retry-After": "1"}}
        for call in ("runner-registration", "runners/register"):
            c.forge.fault(call, method="POST", status=429, **later)
        c.agent.configure(c.forge)
        for number, (call, method) in enumerate(CALLS):
            c.forge.fault(call, method=method, status=(429, 503)[number % 2], **later)
        c.agent.start().listening()
        succeeds(c, "Retry-After")
        for call, method in (("runner-registration", "POST"), ("runners/register", "POST"), *CALLS):
            refused = [r for r in c.forge.seen(call, method) if r["status"] in (429, 503)]
            assert len(refused) == 1, (call, refused)
            again = next(r for r in c.forge.seen(call, method) if r["time"] > refused[0]["time"] and r["path"] == refused[0]["path"])
            assert seconds(again["time"]) - seconds(refused[0]["time"]) >= 0.9, (call, refused, again)
        assert c.agent.stop() == 0


def test_a_session_whose_answer_was_lost_is_ended_and_made_anew():
    for lost in ({"drop": "after"}, {"truncate": 20}):
        with Case() as c:
            c.agent.configure(c.forge)
            c.forge.fault("session", method="POST", times=1, **lost)
            c.agent.start().listening()
            assert [r["status"] for r in c.forge.seen("session", "POST")][1:] == [409, 200], c.forge.seen("session")
            assert len(c.forge.seen("session", "DELETE")) == 1
            succeeds(c, lost)
            assert c.agent.stop() == 0


def test_a_session_of_another_process_is_left_alone():
    with Case(DAVIT_PACE_PERCENT="1") as c:
        c.agent.configure(c.forge)
        c.forge.fault("session", method="POST", times=-1, status=409, body='{"source":"actions-broker-listener","errorKind":"SessionConflict"}')
        c.forge.fault("session", method="POST", times=1, skip=1, drop=True)
        c.agent.start()
        assert c.agent.wait() == 5, c.agent.text()
        assert c.forge.seen("session", "DELETE") == []


def test_a_version_that_is_refused_is_told_once_and_ends_the_agent():
    body = '{"source":"actions-broker-listener","errorKind":"RunnerVersionTooOld","statusCode":403,"errorMessage":"Runner version v2.336.0 is deprecated"}'
    for call, method, switch, code in (("session", "POST", "", 1), ("/message", "GET", "true", 7)):
        with Case() as c:
            c.agent.configure(c.forge)
            c.forge.fault(call, method=method, times=-1, status=403, body=body)
            c.agent.start(ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE=switch)
            assert c.agent.wait() == code, c.agent.text()
            assert len(c.forge.seen(call, method)) == 1, "asked once"
            assert c.agent.text().count("Runner version v2.336.0 is deprecated") == 1, c.agent.text()


def test_it_starts_within_256_mib_of_addresses():
    with Case() as c:
        c.agent.configure(c.forge)
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (256 << 20, before[1]))
        try:
            c.agent.start()
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
        c.agent.listening()
        succeeds(c, "256 MiB")
        assert c.agent.stop() == 0


if __name__ == "__main__":
    os.environ.pop("DAVIT_STATE", None)
    run(__name__)
