#!/usr/bin/env python3
"""The forge as a runner sees it: registration, OAuth, session, messages, lease, results, end. A runner that keeps to the book
hears no complaint; one that does not is refused, and the complaint is kept."""
import base64
import json
import os
import socket
import sys
import threading
import time
import unittest
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from servers.forge import Forge
from servers.runner import AGENT, Runner, refused

WORKFLOW = """
name: ci
on:
  push:
    branches: [main]
  workflow_dispatch:
    inputs:
      where: { type: choice, options: [staging, production], default: staging }
permissions: { contents: read, deployments: write }
jobs:
  build:
    runs-on: [self-hosted, Linux]
    outputs: { version: "${{ steps.v.outputs.version }}" }
    steps:
      - id: v
        run: echo version=1 >> "$GITHUB_OUTPUT"
"""
STAMP = "2026-03-01T10:20:30.1234567Z "


class Case(unittest.TestCase):
    options = ("--poll", "400ms")

    def setUp(self):
        self.forge = Forge(repos=["octo/demo"], options=self.options)
        self.forge.start()
        self.addCleanup(self.forge.__exit__)
        self.repo = self.forge.repo("octo/demo")

    def push(self, workflow=WORKFLOW, **files):
        return self.repo.push({".github/workflows/ci.yml": workflow, "readme": str(time.monotonic()), **files}, "a change\n\nand why")

    def expect_complaint(self, part):
        found = [c["text"] for c in self.forge.complaints()]
        self.assertTrue(any(part in text for text in found), f"no complaint has {part!r}: {found}")
        self.forge.forget_complaints()

    def expect_none(self):
        self.assertEqual(self.forge.complaints(), [])


class Registration(Case):
    def test_a_runner_registers_replaces_and_leaves(self):
        first = Runner(self.forge, "octo/demo").configure()
        token = self.forge.registration_token("octo/demo")
        found = self.forge.json("GET", f"{self.forge.api}/repos/octo/demo/actions/runners?name=BOX-1",
                                headers=first.remote_auth(token))
        self.assertEqual([r["id"] for r in found["runners"]], [first.id])
        again = refused(self.forge.json, "POST", f"{self.forge.api}/actions/runners/register", first.register_body(),
                        first.remote_auth(token))
        self.assertEqual(again.status, 409)
        second = Runner(self.forge, "octo/demo").configure(runner_id=first.id, replace=True)
        self.assertEqual(second.id, first.id)
        self.assertNotEqual(second.client_id, first.client_id)
        self.assertEqual(refused(first.login).json()["error"], "invalid_client")
        second.login()
        self.assertEqual(second.remove(), 204)
        self.assertEqual(self.forge.runners(), [])
        self.expect_none()

    def test_a_registration_that_lacks_something_is_refused(self):
        runner = Runner(self.forge, "octo/demo")
        runner.make_key()
        auth = runner.remote_auth(self.forge.registration_token("octo/demo"))
        cases = [({"labels": None}, "'labels' must be a list"), ({"version": 2}, "'version'"), ({"group_id": 9}, "no runner group 9"),
                 ({"public_key": "x"}, "public_key is not an <RSAKeyValue>"), ({"colour": "red"}, "unknown member 'colour'"),
                 ({"labels": [{"id": 0, "name": "self-hosted", "type": "odd"}]}, "system or user")]
        for change, complaint in cases:
            error = refused(self.forge.json, "POST", f"{self.forge.api}/actions/runners/register", runner.register_body(**change), auth)
            self.assertEqual(error.status, 422, change)
            self.expect_complaint(complaint)

    def test_a_small_key_is_refused(self):
        runner = Runner(self.forge, "octo/demo")
        runner.make_key(1024)
        auth = runner.remote_auth(self.forge.registration_token("octo/demo"))
        self.assertEqual(refused(self.forge.json, "POST", f"{self.forge.api}/actions/runners/register", runner.register_body(),
                                 auth).status, 422)
        self.expect_complaint("2048")

    def test_registration_needs_its_token_and_a_place_that_exists(self):
        body = {"url": f"{self.forge.url}/octo/demo", "runner_event": "register"}
        url = f"{self.forge.api}/actions/runner-registration"
        self.assertEqual(refused(self.forge.json, "POST", url, body).status, 401)
        self.expect_complaint("RemoteAuth")
        auth = {"Authorization": "RemoteAuth " + self.forge.registration_token("octo/demo")}
        self.assertEqual(refused(self.forge.json, "POST", url, {**body, "url": self.forge.url + "/octo/other"}, auth).status, 404)
        self.expect_complaint("does not belong to the token")
        self.assertEqual(refused(self.forge.json, "POST", url, {**body, "runner_event": "join"}, auth).status, 422)
        self.expect_complaint("runner_event")

    def test_a_just_in_time_configuration_is_a_registered_runner_with_its_key(self):
        files = json.loads(base64.b64decode(self.forge.jitconfig("octo/demo", "jit-1", ["self-hosted", "gpu"])))
        settings, credentials, key = (json.loads(base64.b64decode(files[n])) for n in (".runner", ".credentials", ".credentials_rsaparams"))
        self.assertEqual((settings["AgentName"], settings["Ephemeral"], settings["UseV2Flow"]), ("jit-1", "True", "True"))
        self.assertEqual(sorted(key), sorted(["d", "dp", "dq", "exponent", "inverseQ", "modulus", "p", "q"]))
        self.assertEqual(len(base64.b64decode(key["modulus"])), 256)
        self.assertEqual(credentials["Scheme"], "OAuth")
        self.assertTrue(settings["ServerUrlV2"].endswith("/_services/broker/"))
        self.assertEqual(refused(self.forge.jitconfig, "octo/demo", "jit-1").status, 409)
        self.expect_none()

    def test_an_organisations_runner_serves_its_repositories(self):
        runner = Runner(self.forge, "octo").ready()
        self.push()
        self.assertEqual(runner.take_job().message["jobDisplayName"], "build")
        self.expect_none()


class OAuth(Case):
    def setUp(self):
        super().setUp()
        self.runner = Runner(self.forge, "octo/demo").configure()

    def test_both_algorithms_are_understood(self):
        for algorithm in ("PS256", "RS256"):
            self.runner.send_assertion(self.runner.assertion(algorithm))
        self.expect_none()

    def test_a_wrong_claim_or_signature_gives_no_token(self):
        now = int(time.time())
        for change, part in [({"aud": "http://elsewhere/"}, "aud"), ({"iss": str(uuid.uuid4())}, "sub and iss"),
                             ({"exp": now + 900}, "300 s"), ({"nbf": now - 4000, "exp": now - 3900}, "not valid at this time"),
                             ({"jti": 5}, "jti")]:
            error = refused(self.runner.send_assertion, self.runner.assertion(**change))
            self.assertEqual((error.status, error.json()["error"]), (400, "invalid_client"))
            self.expect_complaint(part)
        other = Runner(self.forge, "octo/demo", "other")
        other.make_key(fresh=True)
        error = refused(self.runner.send_assertion, self.runner.assertion(key=other.key))
        self.assertEqual(error.json()["error"], "invalid_client")
        self.expect_complaint("signature")

    def test_an_assertion_is_good_for_one_request(self):
        jwt = self.runner.assertion()
        self.runner.send_assertion(jwt)
        self.assertEqual(refused(self.runner.send_assertion, jwt).status, 400)
        self.expect_complaint("jti was used")

    def test_an_expired_token_is_401_and_a_new_one_works(self):
        self.runner.login().open_session()
        self.forge.expire(tokens=True)
        self.assertEqual(refused(self.runner.poll).status, 401)
        self.assertIsNone(self.runner.login().poll())
        self.expect_none()


class Sessions(Case):
    def setUp(self):
        super().setUp()
        self.runner = Runner(self.forge, "octo/demo").configure().login()

    def test_there_is_one_session_at_a_time(self):
        self.runner.open_session()
        self.assertEqual(refused(self.runner.open_session).status, 409)
        self.assertEqual(self.runner.close_session(), 204)
        self.runner.open_session()
        self.expect_none()

    def test_a_poll_without_news_is_held_and_ends_with_202(self):
        self.runner.open_session()
        before = time.monotonic()
        code, _, body = self.runner.service("GET", f"{self.runner.broker}message?{self.runner.query()}&disableUpdate=true")
        self.assertEqual((code, body), (202, b""))
        self.assertGreaterEqual(time.monotonic() - before, 0.35)
        self.expect_none()

    def test_a_lost_session_says_so(self):
        self.runner.open_session()
        self.forge.expire(sessions=True)
        error = refused(self.runner.poll)
        self.assertEqual((error.status, error.json()["errorKind"], error.json()["source"]),
                         (400, "RunnerSessionInvalid", "actions-broker-listener"))

    def test_a_deleted_runner_is_told(self):
        self.runner.open_session()
        self.forge.expire(runners=True)
        error = refused(self.runner.poll)
        self.assertIn(error.status, (401, 404))
        self.assertEqual(refused(self.runner.login).json()["error"], "invalid_client")
        self.expect_none()

    def test_a_poll_with_a_wrong_query_is_refused(self):
        self.runner.open_session()
        for query, part in [("status=online", "status"), ("status=Online&runnerVersion=", "runnerVersion"),
                            ("status=Online&runnerVersion=2&os=linux", "os"),
                            ("status=Online&runnerVersion=2&os=Linux&architecture=X64", "disableUpdate")]:
            error = refused(self.runner.service, "GET", f"{self.runner.broker}message?sessionId={self.runner.session}&{query}")
            self.assertEqual(error.status, 400)
            self.expect_complaint(f"query's {part}")

    def test_a_session_of_another_agent_is_refused(self):
        body = self.runner.session_body(agent={"id": 1, "name": "x", "version": "2", "osDescription": "x"})
        self.assertEqual(refused(self.runner.service, "POST", self.runner.broker + "session", body).status, 400)
        self.expect_complaint("agent.id")

    def test_a_newer_poll_ends_the_older_one(self):
        self.forge.stop()
        self.forge.options = ["--poll", "30s"]
        self.forge.start()
        runner = Runner(self.forge, "octo/demo").ready()
        answers = []
        thread = threading.Thread(target=lambda: answers.append(runner.poll()))
        thread.start()
        self.forge.wait_online("box-1")
        second = threading.Thread(target=lambda: runner.poll("Busy"))
        second.start()
        thread.join(10)
        self.assertEqual(answers, [None])
        self.forge.message("box-1", "ForceTokenRefresh")
        second.join(10)
        self.assertFalse(second.is_alive())

    def test_any_message_can_be_sent(self):
        self.runner.open_session()
        self.forge.message("box-1", "RunnerRefresh", {"target_version": "9.9.9"})
        message = self.runner.poll()
        self.assertEqual((message["messageType"], message["body"]["target_version"]), ("RunnerRefresh", "9.9.9"))
        self.assertGreater(message["messageId"], 0)


class Jobs(Case):
    def setUp(self):
        super().setUp()
        self.runner = Runner(self.forge, "octo/demo").ready()

    def test_a_job_goes_from_the_push_to_its_end(self):
        sha = self.push()
        job = self.runner.take_job()
        setup, step, last = job.step(1, "Set up job"), job.step(2, "Run echo"), job.step(3, "Complete job")
        job.update_steps(job.step(1, "Set up job", 3, external_id=setup["external_id"]),
                         job.step(2, "Run echo", 5, external_id=step["external_id"]))
        self.assertEqual(job.update_steps(setup, step, last), {"ok": True})
        job.upload_log(f"{STAMP}setting up\n", setup["external_id"])
        job.upload_log(f"\ufeff{STAMP}hällo\n{STAMP}two\n", step["external_id"])
        job.upload_log(f"{STAMP}all\n")
        job.upload_summary("# done\n", step["external_id"])
        self.assertEqual(job.complete(outputs={"version": {"value": "1"}}, annotations=[], telemetry=[{"message": "x", "type": "General"}],
                                      environmentUrl="https://x.invalid/", stepResults=[
            job.result(setup, kind="runner"), job.result(step, annotations=[{"level": "warning", "message": "careful", "startLine": 2}]),
            job.result(last, kind="runner")]), 204)
        run = self.forge.wait_run("octo/demo", sha)
        self.assertEqual((run["conclusion"], run["event"], run["ref"], run["title"]), ("success", "push", "refs/heads/main", "a change"))
        seen, = run["jobs"]
        self.assertEqual((seen["conclusion"], seen["runner"], seen["outputs"]), ("success", "box-1", {"version": "1"}))
        self.assertEqual([(s["number"], s["name"], s["status"], s["conclusion"]) for s in seen["steps"]],
                         [(1, "Set up job", "completed", "success"), (2, "Run echo", "completed", "success"),
                          (3, "Complete job", "completed", "success")])
        self.assertEqual(seen["steps"][1]["log"], f"{STAMP}hällo\n{STAMP}two\n")
        self.assertEqual(seen["steps"][1]["summary"], "# done\n")
        self.assertEqual(seen["steps"][1]["annotations"][0]["message"], "careful")
        self.assertEqual(seen["log"], f"{STAMP}all\n")
        self.assertEqual(seen["environment_url"], "https://x.invalid/")
        self.expect_none()

    def test_the_message_says_where_everything_is(self):
        sha = self.push()
        self.forge.secrets("octo/demo", {"KEY": "s3cret"}, {"COLOUR": "red"})
        message = self.runner.take_job().message
        github = {e["k"]: e["v"] for e in message["contextData"]["github"]["d"]}
        self.assertEqual((github["repository"], github["sha"], github["ref_name"]), ("octo/demo", sha, "main"))
        event = {e["k"]: e["v"] for e in github["event"]["d"]}
        self.assertEqual(event["after"], sha)
        self.assertEqual(message["variables"]["KEY"], {"value": "s3cret", "isSecret": True})
        self.assertEqual(message["contextData"]["vars"], {"t": 2, "d": [{"k": "COLOUR", "v": "red"}]})
        self.assertEqual(json.loads(message["variables"]["system.github.token.permissions"]["value"]),
                         {"Contents": "read", "Deployments": "write", "Metadata": "read"})
        payload = message["resources"]["endpoints"][0]["authorization"]["parameters"]["AccessToken"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        self.assertIn(f"Actions.Results:{message['plan']['planId']}:{message['jobId']}", claims["scp"].split(" "))

    def test_a_job_is_given_to_one_runner_only(self):
        second = Runner(self.forge, "octo/demo", "box-2").ready()
        self.push()
        reference = self.runner.poll_job()
        self.assertIsNone(second.poll())
        self.assertEqual(refused(second.acquire, reference).status, 409)
        self.runner.acknowledge(reference)
        job = self.runner.acquire(reference)
        again = self.runner.acquire(reference)              # the first answer may have been lost
        self.assertEqual(again.message, job.message)
        job.renew()
        error = refused(self.runner.acquire, reference)
        self.assertEqual((error.status, error.json()["source"], error.json()["statusCode"]), (409, "actions-run-service", 409))
        self.expect_none()

    def test_a_poll_that_was_hung_up_takes_no_job(self):
        self.forge.stop()
        self.forge.options = ["--poll", "30s"]
        self.forge.start()
        runner = Runner(self.forge, "octo/demo").ready()
        with socket.create_connection(("127.0.0.1", self.forge.port)) as s:
            path = runner.broker.replace(self.forge.url, "")
            s.sendall(f"GET {path}message?{runner.query()}&disableUpdate=true HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n"
                      f"Accept: application/json\r\nAuthorization: Bearer {runner.token}\r\n\r\n".encode())
            self.forge.wait_online("box-1")
        self.forge.wait("the end of the poll", lambda: not any(r["polling"] for r in self.forge.runners()))
        self.push()
        self.assertEqual(runner.take_job().message["jobDisplayName"], "build")

    def test_a_job_whose_announcement_was_lost_is_announced_again(self):
        self.push()
        self.forge.faults(path="/message", drop="after")
        with self.assertRaises(OSError):
            self.runner.poll()
        before = time.monotonic()
        self.assertIsNone(self.runner.poll())
        self.assertTrue(self.runner.poll_job())
        self.assertGreater(time.monotonic() - before, 5)

    def test_a_body_that_is_too_large_is_refused(self):
        self.push()
        job = self.runner.take_job()
        error = refused(job.call, "POST", job.url + "renewjob", {"planId": "x" * (17 << 20)})
        self.assertEqual(error.status, 413)

    def test_labels_decide_who_gets_a_job(self):
        self.push(WORKFLOW.replace("[self-hosted, Linux]", "[self-hosted, gpu]"))
        self.assertIsNone(self.runner.poll())
        gpu = Runner(self.forge, "octo/demo", "box-gpu", ("self-hosted", "Linux", "X64", "GPU")).ready()
        self.assertTrue(gpu.poll_job())

    def test_a_busy_runner_gets_no_job(self):
        self.push()
        self.assertIsNone(self.runner.poll("Busy"))
        self.assertIsNotNone(self.runner.poll("Online"))

    def test_an_acknowledgement_is_asked_for_and_checked(self):
        self.push()
        reference = self.runner.poll_job()
        self.assertIs(reference["should_acknowledge"], True)
        error = refused(self.runner.acknowledge, {"runner_request_id": str(uuid.uuid4())})
        self.assertEqual(error.json()["errorKind"], "AcknowledgeJobNotFound")
        self.runner.acquire(reference)
        self.expect_complaint("acknowledgement")

    def test_unknown_jobs_and_wrong_bodies_are_refused(self):
        self.push()
        job = self.runner.take_job()
        reference = {"runner_request_id": str(uuid.uuid4()), "run_service_url": job.url, "billing_owner_id": "U_1"}
        error = refused(self.runner.acquire, reference)
        self.assertEqual((error.status, error.json()["statusCode"]), (404, 404))
        self.expect_complaint("no job was announced")
        error = refused(job.call, "POST", job.url + "renewjob", {"planId": str(uuid.uuid4()), "jobId": job.id})
        self.assertEqual((error.status, error.json()["source"]), (404, "actions-run-service"))
        self.expect_complaint("planId and jobId")
        for change, part in [({"conclusion": "success"}, "not a conclusion"), ({"outputs": []}, "'outputs'"), ({"colour": 1}, "unknown member"),
                             ({"stepResults": [{"number": 1}]}, "lacks 'external_id'"),
                             ({"annotations": [{"level": "bad", "message": "x"}]}, "level is")]:
            self.assertEqual(refused(job.complete, **change).status, 400, change)
            self.expect_complaint(part)
        self.assertEqual(job.complete(), 204)

    def test_the_runners_token_is_not_the_jobs(self):
        self.push()
        job = self.runner.take_job()
        self.assertEqual(refused(self.runner.service, "POST", job.url + "renewjob", job.ids()).status, 401)
        self.expect_complaint("not of the kind")

    def test_a_lease_that_lapses_loses_the_job(self):
        sha = self.push()
        job = self.runner.take_job()
        self.forge.expire(leases=True)
        run = self.forge.wait_run("octo/demo", sha)
        self.assertEqual((run["conclusion"], run["jobs"][0]["lost"]), ("failure", True))
        self.assertIn("lost communication", run["jobs"][0]["annotations"][0]["message"])
        self.assertEqual(refused(job.renew).status, 404)
        self.assertEqual(refused(job.complete, "failed").status, 404)
        self.expect_none()

    def test_a_cancel_reaches_the_busy_runner(self):
        sha = self.push()
        job = self.runner.take_job()
        run_id = self.forge.wait_run("octo/demo", sha, status="in_progress")["id"]
        self.forge.cancel("octo/demo", run_id)
        message = self.runner.poll("Busy")
        self.assertEqual((message["messageType"], message["body"]), ("JobCancellation", {"jobId": job.id, "timeout": "00:05:00"}))
        self.assertEqual(job.complete("canceled"), 204)
        self.assertEqual(self.forge.wait_run("octo/demo", sha)["conclusion"], "cancelled")
        self.assertEqual(refused(self.forge.cancel, "octo/demo", run_id).status, 409)
        self.expect_none()

    def test_a_queued_job_is_cancelled_at_once(self):
        sha = self.push()
        self.forge.cancel("octo/demo", self.forge.wait_run("octo/demo", sha, status="queued")["id"])
        self.assertEqual(self.forge.wait_run("octo/demo", sha)["conclusion"], "cancelled")
        self.assertIsNone(self.runner.poll())

    def test_an_ephemeral_runner_is_gone_after_its_job(self):
        runner = Runner(self.forge, "octo/demo", "once", ("self-hosted", "Linux", "X64", "once"), ephemeral=True).ready()
        self.push(WORKFLOW.replace("[self-hosted, Linux]", "once"))
        runner.take_job().complete()
        self.assertEqual([r["name"] for r in self.forge.runners()], ["box-1"])
        self.assertEqual(refused(runner.close_session).status, 401)
        self.expect_none()

    def test_nothing_is_taken_behind_completejob(self):
        self.push()
        job = self.runner.take_job()
        url = job.receiver("GetJobLogsSignedBlobURL")["logs_url"]
        job.complete()
        self.assertEqual(refused(job.update_steps, job.step(1, "x")).status, 412)
        self.expect_complaint("completed before")
        self.assertEqual(refused(job.complete).status, 404)
        self.expect_complaint("completed before")
        job.put(url, b"x\n", x_ms_blob_type="BlockBlob")
        self.expect_complaint("after completejob")

    def test_actions_are_resolved_to_commits_of_served_repositories(self):
        sha = self.push()
        job = self.runner.take_job()
        path = f"{self.forge.url}/actions/build/{job.plan}/jobs/{job.id}/runnerresolve/actions"
        answer = job.call("POST", path, {"actions": [{"action": "octo/demo", "version": "main", "path": ""}]})
        found = answer["actions"]["octo/demo@main"]
        self.assertEqual((found["resolved_sha"], found["resolved_name"]), (sha, "octo/demo"))
        code, headers, body = self.forge.request("GET", found["tar_url"], headers={"Authorization": f"Bearer {job.github_token}"})
        self.assertEqual((code, headers["Content-Type"], body[:2]), (200, "application/x-gzip", b"\x1f\x8b"))
        error = refused(job.call, "POST", path, {"actions": [{"action": "octo/none", "version": "v1", "path": ""}]})
        self.assertEqual((error.status, list(error.json()["errors"])), (422, ["octo/none@v1"]))


class Results(Case):
    def setUp(self):
        super().setUp()
        self.runner = Runner(self.forge, "octo/demo").ready()
        self.sha = self.push()
        self.job = self.runner.take_job()
        self.step = str(uuid.uuid4())

    def url(self):
        return self.job.receiver("GetStepLogsSignedBlobURL", step_backend_id=self.step)["logs_url"]

    def test_a_log_of_several_blocks_is_appended_and_sealed(self):
        text = f"{STAMP}one\n".encode(), f"{STAMP}two\n".encode()
        self.assertEqual(self.job.put(self.url(), b"", x_ms_blob_type="AppendBlob", x_ms_blob_content_type="text/plain"), 201)
        self.assertEqual(self.job.put(self.url() + "&comp=appendblock", text[0], x_ms_blob_condition_appendpos="0"), 201)
        error = refused(self.job.put, self.url() + "&comp=appendblock", text[0], x_ms_blob_condition_appendpos="0")
        self.assertEqual((error.status, error.headers["x-ms-error-code"]), (412, "AppendPositionConditionNotMet"))
        self.assertEqual(self.job.put(self.url() + "&comp=appendblock", text[1]), 201)
        self.assertEqual(self.job.put(self.url() + "&comp=seal", b""), 200)
        self.job.receiver("CreateStepLogsMetadata", step_backend_id=self.step, uploaded_at="2026-03-01T10:20:30.123Z", line_count=2)
        self.expect_none()

    def test_the_raw_shape_of_appends_is_taken_too(self):
        self.job.put(self.url(), b"", x_ms_blob_type="AppendBlob")
        self.assertEqual(self.job.put(self.url() + "&comp=appendblock&seal=true", f"{STAMP}x\n".encode(), x_ms_blob_sealed="True"), 201)
        self.job.receiver("CreateStepLogsMetadata", step_backend_id=self.step, uploaded_at="2026-03-01T10:20:30.123Z", line_count=1)
        self.assertEqual(refused(self.job.put, self.url() + "&comp=appendblock", b"y\n").status, 409)
        self.expect_complaint("sealed")

    def test_a_blob_request_is_checked(self):
        for part, status, url, headers in [
                ("not one that was signed", 403, lambda: self.url().replace("sig=", "sig=0"), {"x_ms_blob_type": "BlockBlob"}),
                ("BlockBlob or AppendBlob", 400, self.url, {}),
                ("no append blob yet", 404, lambda: self.url() + "&comp=appendblock", {}),
                ("not used by runners", 400, lambda: self.url() + "&comp=copy", {})]:
            self.assertEqual(refused(self.job.put, url(), b"x\n", **headers).status, status)
            self.expect_complaint(part)
        self.job.put(self.url(), b"x\n", x_ms_blob_type="BlockBlob", Authorization="Bearer leak")
        self.expect_complaint("takes no Authorization")
        error = refused(self.job.put, self.url(), b"x\n", x_ms_blob_type="BlockBlob", If_None_Match="*")
        self.assertEqual(error.status, 409)

    def test_metadata_must_tell_the_truth(self):
        for line, count, part in [(f"{STAMP}x\n", 7, "line_count is 7, the log has 1"), ("no time\n", 1, "does not begin with a time")]:
            self.step = str(uuid.uuid4())
            self.job.put(self.url(), line.encode(), x_ms_blob_type="BlockBlob")
            self.job.receiver("CreateStepLogsMetadata", step_backend_id=self.step, uploaded_at="2026-03-01T10:20:30.123Z", line_count=count)
            self.expect_complaint(part)
        error = refused(self.job.receiver, "CreateStepLogsMetadata", step_backend_id=str(uuid.uuid4()),
                        uploaded_at="2026-03-01T10:20:30.123Z", line_count=1)
        self.assertEqual(error.json()["code"], "not_found")
        self.expect_complaint("nothing was uploaded")
        self.assertEqual(refused(self.job.receiver, "CreateStepLogsMetadata", step_backend_id=self.step, uploaded_at="2026-03-01T10:20:30Z",
                                 line_count=1).status, 400)
        self.expect_complaint("three digits")

    def test_step_updates_are_checked(self):
        good = self.job.step(1, "a")
        for change, part in [({"status": 4}, "is not a status"), ({"conclusion": 0}, "without a conclusion"), ({"number": 0}, "begin with 1"),
                             ({"status": 3, "completed_at": None}, "has a conclusion")]:
            self.job.update_steps({**good, "external_id": str(uuid.uuid4()), "number": 50 + len(part), **change})
            self.expect_complaint(part)
        self.assertEqual(refused(self.job.update_steps, {**good, "started_at": "2026-03-01T10:20:29Z"}).status, 400)
        self.expect_complaint("three digits")
        self.job.update_steps(good)
        self.job.update_steps(self.job.step(1, "other"))
        self.expect_complaint("belongs to another step")
        self.job.update_steps({**good, "status": 3, "conclusion": 0, "completed_at": None})
        self.expect_complaint("is no more")

    def test_a_late_update_changes_nothing(self):
        done = self.job.step(1, "a")
        self.job.update_steps(done)
        self.job.order = 0
        self.assertEqual(self.job.update_steps({**done, "name": "old"}), {"ok": True})
        self.assertEqual(self.forge.wait_run("octo/demo", self.sha, status="in_progress")["jobs"][0]["steps"][0]["name"], "a")


class Faults(Case):
    def setUp(self):
        super().setUp()
        self.runner = Runner(self.forge, "octo/demo").ready()

    def test_a_status_is_given_so_many_times(self):
        self.push()
        reference = self.runner.poll_job()
        self.runner.acknowledge(reference)
        self.forge.faults(path="acquirejob", times=2, status=503)
        for _ in range(2):
            self.assertEqual(refused(self.runner.acquire, reference).status, 503)
        self.runner.acquire(reference)
        self.assertEqual([r["status"] for r in self.forge.requests("acquirejob")], [503, 503, 200])
        self.expect_none()

    def test_a_connection_is_dropped_before_or_after_the_work(self):
        sha = self.push()
        job = self.runner.take_job()
        self.forge.faults(path="completejob", drop=True)
        with self.assertRaises(OSError):
            job.complete()
        self.assertEqual(self.forge.wait_run("octo/demo", sha, status="in_progress")["status"], "in_progress")
        self.forge.faults(path="completejob", drop="after")
        with self.assertRaises(OSError):
            job.complete()
        self.assertEqual(self.forge.wait_run("octo/demo", sha)["conclusion"], "success")

    def test_an_answer_is_cut_or_blown_up(self):
        self.push()
        reference = self.runner.poll_job()
        self.runner.acknowledge(reference)
        self.forge.faults(path="acquirejob", truncate=20)
        with self.assertRaises(Exception) as caught:
            self.runner.acquire(reference)
        self.assertEqual(type(caught.exception).__name__, "IncompleteRead")
        self.forge.faults(path="acquirejob", oversize=1 << 20)
        text = self.runner.service("POST", reference["run_service_url"] + "acquirejob", {
            "jobMessageId": reference["runner_request_id"], "runnerOS": "Linux", "billingOwnerId": reference["billing_owner_id"]})[2]
        self.assertEqual(len(text), 1 << 20)
        self.forge.faults(path="acquirejob", body="no json")
        self.assertEqual(self.forge.json("GET", "/_forge/faults")[-1]["times"], 1)
        self.forge.no_faults()
        self.runner.acquire(reference)

    def test_a_fault_that_makes_no_sense_is_refused(self):
        self.assertEqual(refused(self.forge.faults, path="x", drop="sometimes").status, 422)
        self.assertEqual(refused(self.forge.faults, colour="red").status, 422)


if __name__ == "__main__":
    unittest.main()
