#!/usr/bin/env python3
"""The listener: sessions, polls, jobs, what goes wrong on the way. Against the forge, which plants the faults."""
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import time

from harness import DAVIT, HELLO, Case, run, until

SLOW = """on: push
jobs:
  build:
    runs-on: self-hosted
    steps:
      - run: |
          echo begun
          exec sleep 600
"""
FAILS = """on: push
jobs:
  build:
    runs-on: self-hosted
    steps:
      - run: exit 3
"""
TWO_JOBS = """on: push
jobs:
  one:
    runs-on: self-hosted
    steps:
      - run: echo one
  two:
    needs: one
    runs-on: self-hosted
    steps:
      - run: echo two
"""


def started(c, *words, **environment):
    c.agent.configure(c.forge)
    c.agent.start(*words, **environment).listening()
    c.forge.wait_online("box")
    return c.agent


def conclusions(jobs):
    return sorted(j["conclusion"] for j in jobs)


def test_a_job_runs_from_configure_to_completion():
    with Case() as c:
        c.agent.configure(c.forge)
        sha = c.forge.push()
        c.agent.start("--once")
        assert conclusions(c.forge.ended(sha)) == ["success"]
        assert c.agent.wait() == 0
        text = c.agent.text()
        assert "Running job: build" in text and "Job build completed with result: Succeeded" in text, text
        c.forge.calm()
        assert c.agent.state()["registrations"], "--once keeps the registration"


CHECKS_OUT = """on: push
permissions: {contents: write}
jobs:
  build:
    runs-on: self-hosted
    steps:
      - uses: actions/checkout@v4
      - run: git push -q origin HEAD:refs/heads/pushed && cat read.me
"""


def test_actions_checkout_is_carried_out_without_being_told_so_and_only_where_that_is_wanted():
    with Case() as c:
        started(c)
        (job,) = c.forge.ended(c.forge.push(CHECKS_OUT, files={"read.me": "hello\n"}))
        assert job["conclusion"] == "success" and "hello" in json.dumps(job), job
        assert [s["name"] for s in job["steps"] if s["name"].startswith("Post")] == ["Post Run actions/checkout@v4"], job
        repo = c.forge.repo("acme/widgets")
        assert "refs/heads/pushed" in repo.git("ls-remote", repo.url)
        assert not c.forge.seen("actions/download"), "nothing was asked for"
        assert c.agent.stop() == 0
        c.agent.start("--native", "own").listening()
        (job,) = c.forge.ended(c.forge.push(CHECKS_OUT, files={"read.me": "hallo\n"}))
        assert job["conclusion"] == "failure" and "actions/checkout@v4" in json.dumps(job["steps"][0]), job
        assert c.agent.stop() == 0


def test_a_job_runs_over_tls_and_a_stranger_certificate_is_refused():
    with Case(tls=True) as c:
        done = c.agent.configure(c.forge, check=False, env={"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"})
        assert done.returncode == 1 and "certificate" in done.stderr.lower(), done
        started(c)
        assert conclusions(c.forge.ended(c.forge.push())) == ["success"]
        assert c.agent.stop() == 0
        c.forge.calm()


def test_files_beside_the_keys_add_to_the_environment_of_jobs():
    with Case(GONE="x", CHANGED="before") as c:
        c.agent.configure(c.forge)
        own = c.agent.root / "agent"
        (own / ".env").write_bytes(b"no variable\nFROM_FILE='a'=b c\r\nGONE=\n=none\nDAVIT_STATE=/nowhere\nCHANGED=after")
        (own / ".path").write_text(f"{c.root}/first:{os.environ['PATH']}\n")
        c.agent.start().listening()
        (job,) = c.forge.ended(c.forge.push(HELLO.replace("echo hello", '\'echo "[$FROM_FILE] ${GONE-gone} $CHANGED ${PATH%%:*}"\'')))
        log = next(s["log"] for s in job["steps"] if s["name"].startswith("Run"))
        assert log.rstrip().endswith(f" ['a'=b c] gone after {c.root}/first"), log
        assert c.agent.stop() == 0
        (own / ".env").unlink()
        (own / ".env").mkdir()
        assert c.agent.start().wait() == 1 and f"the agent's environment, {own}/.env" in c.agent.text(), c.agent.text()


def test_a_job_inherits_no_connection_of_the_agent():
    with Case() as c:
        started(c)
        sha = c.forge.push(HELLO.replace("echo hello", "|\n          ls -l /proc/self/fd | grep -c socket: || true"))
        (job,) = c.forge.ended(sha)
        log = next(s["log"] for s in job["steps"] if s["name"].startswith("Run"))
        assert log.rstrip().endswith(" 0"), log
        assert c.agent.stop() == 0


def test_a_failed_job_is_reported_and_the_agent_goes_on():
    with Case() as c:
        agent = started(c)
        assert conclusions(c.forge.ended(c.forge.push(FAILS))) == ["failure"]
        assert conclusions(c.forge.ended(c.forge.push())) == ["success"]
        agent.says("result: Failed")
        assert agent.stop() == 0
        c.forge.calm()


def test_jobs_that_need_each_other_come_one_after_the_other():
    with Case() as c:
        agent = started(c)
        assert conclusions(c.forge.ended(c.forge.push(TWO_JOBS))) == ["success", "success"]
        assert agent.stop(signal.SIGTERM) == 0
        c.forge.calm()


def test_the_poll_says_busy_while_a_job_runs_and_online_after_it():
    with Case() as c:
        agent = started(c)
        sha = c.forge.push(SLOW)
        c.forge.begun(sha)
        until("a busy poll", lambda: (c.forge.runner() or {}).get("status") == "Busy")
        c.forge.cancel("acme/widgets", c.forge.run_of(sha)["id"])
        c.forge.ended(sha)
        until("an online poll", lambda: (c.forge.runner() or {}).get("status") == "Online")
        agent.stop()


def test_a_cancelled_job_ends_as_cancelled():
    with Case() as c:
        agent = started(c)
        sha = c.forge.push(SLOW)
        c.forge.begun(sha)
        agent.says("Running job")
        c.forge.cancel("acme/widgets", c.forge.run_of(sha)["id"])
        assert conclusions(c.forge.ended(sha)) == ["cancelled"]
        agent.says("result: Canceled")
        assert agent.stop() == 0


def test_a_worker_that_is_killed_fails_its_job_with_a_reason():
    with Case() as c:
        agent = started(c)
        sha = c.forge.push(SLOW)
        c.forge.begun(sha)
        agent.says("Running job")
        (worker,) = agent.workers()
        os.kill(worker, signal.SIGKILL)
        (job,) = c.forge.ended(sha)
        assert job["conclusion"] == "failure"
        words = str(job)
        assert "ended by signal 9" in words, words
        agent.says("result: Failed")
        assert conclusions(c.forge.ended(c.forge.push())) == ["success"]
        assert agent.stop() == 0
        c.forge.calm()


def deployment_of_a_killed_worker(on_failure):
    """The state of the deployment of a job whose worker is killed behind its first change, what the job says, and whether the change is there."""
    with Case() as c:
        c.agent.configure(c.forge, "acme/widgets", "--on-failure", on_failure)
        c.agent.start().listening()
        made, later = c.root / "made", c.root / "later"
        sha = c.forge.push(SLOW.replace("echo begun", f"touch {later}").replace("steps:", f"""steps:
      - uses: davit-deploy/davit/actions/run@v1
        with:
          deployment: "{{name: shop, environment: test}}"
          targets: "{{here: {{local: {{}}, base: {c.root}/base}}}}"
          command: "touch {made}"
          undo: 'rm {made}'"""))
        until("the later step runs", later.exists)
        (worker,) = c.agent.workers()
        os.kill(worker, signal.SIGKILL)
        (job,) = c.forge.ended(sha)
        history = subprocess.run([DAVIT, "history", "--json"], env=c.agent.env, capture_output=True, text=True, check=True, timeout=60)
        (deployment,) = json.loads(history.stdout)
        assert c.agent.stop() == 0
        return deployment["state"], str(job), made.exists()


def test_the_recovery_after_a_killed_worker_follows_the_agent_s_on_failure():
    state, words, there = deployment_of_a_killed_worker("hold")
    assert (state, there) == ("held", True) and "Its deployment is held" in words, (state, there, words)
    state, words, there = deployment_of_a_killed_worker("rollback")
    assert (state, there) == ("undone", False) and "No deployment is left undecided" in words, (state, there, words)


def test_processes_of_a_killed_worker_are_ended():
    with Case() as c:
        agent = started(c)
        mark = c.root / "pid"
        sha = c.forge.push(SLOW.replace("echo begun", f"echo $$ > {mark}"))
        until("the step runs", lambda: mark.exists() and mark.read_text().strip())
        pid = int(mark.read_text())
        (worker,) = agent.workers()
        os.kill(worker, signal.SIGKILL)
        assert conclusions(c.forge.ended(sha)) == ["failure"]
        until("the step's process is gone", lambda: not pathlib.Path(f"/proc/{pid}").exists())
        agent.stop()


def test_an_expired_token_is_replaced_without_a_word():
    with Case() as c:
        agent = started(c)
        before = len(c.forge.seen("token", "POST"))
        c.forge.expire(tokens=True)
        assert conclusions(c.forge.ended(c.forge.push())) == ["success"]
        assert len(c.forge.seen("token", "POST")) > before
        assert "warning" not in agent.text(), agent.text()
        agent.stop()


def test_an_expired_session_is_made_anew():
    with Case() as c:
        agent = started(c)
        c.forge.expire(sessions=True)
        until("a second session", lambda: len(c.forge.seen("session", "POST")) >= 2)
        assert conclusions(c.forge.ended(c.forge.push())) == ["success"]
        assert agent.stop() == 0


def test_a_conflicting_session_is_tried_eight_times_and_ends_with_5():
    with Case() as c:
        c.agent.configure(c.forge)
        c.forge.fault("session", method="POST", status=409, times=-1)
        c.agent.start()
        assert c.agent.wait() == 5
        assert len(c.forge.seen("session", "POST")) == 8
        assert "another process listens" in c.agent.text()


def test_a_conflict_that_ends_is_survived():
    with Case() as c:
        c.agent.configure(c.forge)
        c.forge.fault("session", method="POST", status=409, times=3)
        c.forge.fault("session", method="POST", status=401, times=3)  # nor is a token that is refused again and again the end
        c.agent.start().listening()
        assert len(c.forge.seen("session", "POST")) == 7
        assert c.agent.stop() == 0


def test_a_forbidden_session_ends_with_1():
    with Case() as c:
        c.agent.configure(c.forge)
        c.forge.fault("session", method="POST", status=403, times=-1)
        c.agent.start()
        assert c.agent.wait() == 1


def test_polling_errors_are_waited_out_and_told_once():
    with Case() as c:
        agent = started(c)
        c.forge.fault("/message", method="GET", status=500, times=7)
        c.forge.expire(sessions=True)
        sha = c.forge.push()
        assert conclusions(c.forge.ended(sha)) == ["success"]
        assert agent.text().count("HTTP 500") == 1, agent.text()
        agent.says("reconnected")
        assert agent.stop() == 0


def test_connections_that_break_are_waited_out():
    with Case() as c:
        agent = started(c)
        c.forge.fault("/message", method="GET", drop=True, times=4)
        c.forge.expire(sessions=True)
        assert conclusions(c.forge.ended(c.forge.push())) == ["success"]
        assert agent.stop() == 0


def test_an_oversized_or_torn_message_does_not_stop_the_agent():
    with Case(options=("--poll", "500ms")) as c:
        agent = started(c)
        c.forge.fault("/message", method="GET", oversize=True, times=1)
        c.forge.expire(sessions=True)
        c.forge.wait("the oversized answer", lambda: "maximum" in agent.text() or "limit" in agent.text() or "trying again" in agent.text())
        c.forge.message("box", "RunnerJobRequest", {"nonsense": 1})
        agent.says("runner_request_id is missing")
        c.forge.message("box", "SomethingNew", {"x": [1, 2]})
        assert conclusions(c.forge.ended(c.forge.push())) == ["success"]
        assert agent.stop() == 0


def test_a_registration_that_was_deleted_ends_with_0_and_is_forgotten():
    with Case() as c:
        agent = started(c)
        c.forge.expire(runners=True)
        code = agent.wait()
        assert code in (0, 1), code
        assert "deleted on the server" in agent.text(), agent.text()



def refused_acquire(status):
    with Case() as c:
        agent = started(c)
        c.forge.fault("acquirejob", times=1, status=status,
                      body=f'{{"source":"actions-run-service","statusCode":{status},"errorMessage":"no"}}')
        c.forge.push()
        agent.says("not to be had")
        c.forge.wait_online("box")
        assert agent.process.poll() is None
        assert agent.stop() == 0


def test_a_job_that_is_gone_at_acquire_is_skipped():
    refused_acquire(404)


def test_a_job_that_another_runner_has_is_skipped():
    refused_acquire(409)


def test_a_bare_404_at_acquire_is_tried_again():
    with Case() as c:
        agent = started(c)
        c.forge.fault("acquirejob", times=2, status=404, body="<html>")
        assert conclusions(c.forge.ended(c.forge.push())) == ["success"]
        assert agent.stop() == 0


def test_a_lease_that_lapsed_cancels_the_worker():
    with Case() as c:
        agent = started(c)
        sha = c.forge.push(SLOW)
        c.forge.begun(sha)
        agent.says("Running job")
        c.forge.fault("renewjob", times=-1, status=404,
                      body='{"source":"actions-run-service","statusCode":404,"errorMessage":"no such job"}')
        agent.says("lease of job 'build' is lost")
        agent.says("result: Abandoned")
        assert agent.workers() == []
        assert agent.stop() == 0


def test_a_job_that_is_lost_before_it_began_does_not_keep_the_agent_from_ending():
    with Case() as c:
        agent = started(c)
        c.forge.fault("renewjob", times=1, status=404,
                      body='{"source":"actions-run-service","statusCode":404,"errorMessage":"no such job"}')
        c.forge.push()
        agent.says("lease of job 'build' is lost")
        assert agent.stop() == 0


def test_a_first_renewal_that_never_succeeds_fails_the_job():
    with Case() as c:
        agent = started(c)
        c.forge.fault("renewjob", times=-1, status=500)
        sha = c.forge.push()
        (job,) = c.forge.ended(sha)
        assert job["conclusion"] == "failure" and "lease" in str(job), job
        assert agent.stop() == 0


def test_renewals_go_on_while_a_job_runs():
    with Case() as c:
        agent = started(c)
        sha = c.forge.push(SLOW)
        c.forge.begun(sha)
        until("five renewals", lambda: len(c.forge.seen("renewjob")) >= 5)
        c.forge.cancel("acme/widgets", c.forge.run_of(sha)["id"])
        c.forge.ended(sha)
        agent.stop()


def test_a_job_that_the_service_does_not_know_once_is_asked_for_again():
    """A renewal may cross with the completion, which another process sends: that is no lost lease."""
    with Case() as c:
        agent = started(c)
        sha = c.forge.push(SLOW)
        c.forge.begun(sha)
        agent.says("Running job")
        before = len(c.forge.seen("renewjob"))
        c.forge.fault("renewjob", times=1, status=404,
                      body='{"source":"actions-run-service","statusCode":404,"errorMessage":"no such job"}')
        until("five renewals more", lambda: len(c.forge.seen("renewjob")) >= before + 5)
        assert "is lost" not in agent.text()
        c.forge.cancel("acme/widgets", c.forge.run_of(sha)["id"])
        assert conclusions(c.forge.ended(sha)) == ["cancelled"]
        assert agent.stop() == 0


def test_sigint_fails_the_running_job_and_ends_with_0():
    with Case() as c:
        agent = started(c)
        sha = c.forge.push(SLOW)
        c.forge.begun(sha)
        agent.says("Running job")
        assert agent.stop() == 0
        (job,) = c.forge.ended(sha)
        assert job["conclusion"] == "failure", job
        assert "Exiting..." in agent.text()
        assert len(c.forge.seen("session", "DELETE")) == 1


def test_sigint_without_a_job_deletes_the_session():
    with Case() as c:
        agent = started(c)
        assert agent.stop() == 0
        assert len(c.forge.seen("session", "DELETE")) == 1
        c.forge.calm()


def test_an_agent_that_drains_lets_its_job_end_and_takes_no_other():
    with Case(repositories=("acme/widgets", "acme/other")) as c:
        c.agent.configure(c.forge, "acme/other")
        agent = started(c, "--drain")
        agent.listening(count=2)
        go = agent.root / "go"
        sha = c.forge.push(HELLO.replace("echo hello", f"until test -e {go}; do read -rt 0.05 <> <(:) || true; done"))
        agent.says("Running job")
        agent.process.send_signal(signal.SIGTERM)
        agent.says("Draining")
        assert agent.state()["stopping"], agent.state()
        assert "it takes no further job: it ends once" in agent.davit("status").stdout
        other = c.forge.push(name="acme/other", files={"other": "yes"})
        until("both sessions but one are gone", lambda: len(c.forge.seen("session", "DELETE")) == 1)
        go.touch()
        assert conclusions(c.forge.ended(sha)) == ["success"]
        assert agent.wait() == 0
        assert [j["status"] for j in c.forge.jobs(other)] == ["queued"]
        assert len(c.forge.seen("session", "DELETE")) == 2


def draining(c):
    """An agent that ends with the job that it has, and that job's commit."""
    agent = started(c, "--drain")
    sha = c.forge.push(SLOW)
    c.forge.begun(sha)
    agent.says("Running job")
    agent.process.send_signal(signal.SIGTERM)
    agent.says("Draining")
    return agent, sha


def test_a_second_signal_cancels_what_an_agent_drains():
    with Case() as c:
        agent, sha = draining(c)
        agent.process.send_signal(signal.SIGTERM)
        agent.says("Exiting")
        (job,) = c.forge.ended(sha)
        assert job["conclusion"] in ("cancelled", "failure"), job
        assert agent.wait() == 0


def test_a_job_that_an_agent_drains_can_still_be_cancelled():
    with Case() as c:
        agent, sha = draining(c)
        c.forge.cancel("acme/widgets", c.forge.run_of(sha)["id"])
        assert conclusions(c.forge.ended(sha)) == ["cancelled"]
        assert agent.wait() == 0


def test_a_second_job_while_one_runs_is_left_to_another_runner_and_harms_nothing():
    with Case(options=("--poll", "300ms")) as c:
        agent = started(c)
        go = c.root / "go"
        sha = c.forge.push(HELLO.replace("echo hello", f"until test -e {go}; do read -rt 0.05 <> <(:) || true; done"))
        c.forge.begun(sha)
        agent.says("Running job")
        workers = agent.workers()
        c.forge.message("box", "RunnerJobRequest", {"id": "", "runner_request_id": "another", "run_service_url": f"{c.forge.url}/_services/run/1/",
                                                    "should_acknowledge": True})
        polls = len(c.forge.seen("/message"))
        until("polls behind it", lambda: len(c.forge.seen("/message")) > polls + 2)
        assert agent.workers() == workers
        go.touch()
        assert conclusions(c.forge.ended(sha)) == ["success"]
        assert len(c.forge.seen("acquirejob")) == 1 and len(c.forge.seen("acknowledge")) <= 1, c.forge.requests("_services")
        assert conclusions(c.forge.ended(c.forge.push(files={"more": "yes"}))) == ["success"]
        assert agent.stop() == 0


def test_an_agent_that_drains_and_has_no_job_stops_at_once():
    with Case() as c:
        agent = started(c, "--drain")
        assert agent.stop(signal.SIGTERM) == 0
        assert "Draining" not in agent.text()


def test_an_ephemeral_agent_takes_one_job_and_forgets_its_registration():
    with Case() as c:
        c.agent.configure(c.forge, "acme/widgets", "--ephemeral")
        sha = c.forge.push(TWO_JOBS)
        c.agent.start()
        assert c.agent.wait() == 0
        assert sorted(j["conclusion"] or "none" for j in c.forge.jobs(sha)) == ["none", "success"]
        assert c.agent.state()["registrations"] == []


def test_an_ephemeral_runner_that_the_service_forgot_before_its_job_was_over_ends_well():
    with Case() as c:
        c.agent.configure(c.forge, "acme/widgets", "--ephemeral")
        c.agent.start().listening()
        c.forge.wait_online("box")
        c.forge.fault("oauth2/token", status=400, body='{"error": "invalid_client"}', times=-1)
        c.forge.fault("/message", status=401, times=-1)
        go = c.agent.root / "go"
        sha = c.forge.push(HELLO.replace("echo hello", f"until test -e {go}; do read -rt 0.05 <> <(:) || true; done"))
        until("the service refuses the runner", lambda: [r for r in c.forge.seen("oauth2/token", "POST") if r["status"] == 400])
        go.touch()
        assert conclusions(c.forge.ended(sha)) == ["success"]
        assert c.agent.wait() == 0
        assert c.agent.state()["registrations"] == []


def test_a_runner_whose_only_job_is_gone_when_it_acknowledges_it_ends_and_forgets_itself():
    gone = '{"source": "actions-broker-listener", "errorKind": "AcknowledgeJobNotFound", "statusCode": 404, "errorMessage": "gone"}'
    for ephemeral in (True, False):
        with Case() as c:
            c.agent.configure(c.forge, "acme/widgets", *(["--ephemeral"] if ephemeral else []))
            c.forge.fault("/acknowledge", status=404, body=gone)
            sha = c.forge.push()
            c.agent.start()
            if not ephemeral:
                assert conclusions(c.forge.ended(sha)) == ["success"]  # it is asked for all the same
                c.agent.stop()
                continue
            assert c.agent.wait() == 0, c.agent.text()
            assert c.agent.state()["registrations"] == [] and c.forge.seen("acquirejob") == []


def test_a_just_in_time_configuration_runs_one_job_and_writes_no_key():
    with Case() as c:
        text = c.forge.jitconfig("acme/widgets", "jit-1")
        sha = c.forge.push()
        c.agent.start(ACTIONS_RUNNER_INPUT_JITCONFIG=text)
        assert conclusions(c.forge.ended(sha)) == ["success"]
        assert c.agent.wait() == 0
        assert not list(c.agent.root.rglob("*.pem"))
        c.forge.calm()


def test_a_broken_just_in_time_configuration_ends_with_1():
    with Case() as c:
        done = c.agent.davit("run", "--jitconfig", "bm9uc2Vuc2U=", check=False)
        assert done.returncode == 1 and "just-in-time" in done.stderr, done


def test_two_registrations_share_one_process():
    with Case(("acme/widgets", "acme/gears")) as c:
        c.agent.configure(c.forge)
        c.agent.configure(c.forge, "acme/gears")
        c.agent.start().listening(2)
        first, second = c.forge.push(SLOW), c.forge.push(name="acme/gears")
        assert conclusions(c.forge.ended(second)) == ["success"]
        job = c.forge.begun(first)
        assert job["conclusion"] is None
        c.forge.cancel("acme/widgets", c.forge.run_of(first)["id"])
        assert conclusions(c.forge.ended(first)) == ["cancelled"]
        assert c.agent.stop() == 0
        c.forge.calm()


def test_one_slot_makes_the_second_job_wait():
    with Case(("acme/widgets", "acme/gears")) as c:
        c.agent.configure(c.forge)
        c.agent.configure(c.forge, "acme/gears")
        c.agent.start("--slots", "1").listening(2)
        first = c.forge.push(SLOW)
        c.forge.begun(first)
        second = c.forge.push(name="acme/gears")
        until("the second job is announced", lambda: [r for r in c.forge.requests("/message") if r["status"] == 200][1:])
        assert all(j["status"] == "queued" for j in c.forge.jobs(second))
        c.forge.cancel("acme/widgets", c.forge.run_of(first)["id"])
        assert conclusions(c.forge.ended(second)) == ["success"]
        assert c.agent.stop() == 0


def test_a_worker_that_outlives_its_cancel_is_killed_and_the_job_still_ends():
    with Case() as c:
        agent = started(c)
        mark = c.root / "runs"
        sha = c.forge.push(SLOW.replace("echo begun", f"trap '' INT TERM; echo > {mark}"))
        until("the step runs", mark.exists)
        (worker,) = agent.workers()
        os.kill(worker, signal.SIGSTOP)
        before = time.monotonic()
        # Of seven minutes all but 15 seconds; the pace of these tests makes four seconds of that, and less than three of the usual five minutes.
        c.forge.message("box", "JobCancellation", {"jobId": c.forge.jobs(sha)[0]["job_id"], "timeout": "00:07:00"})
        agent.says("did not end in time")
        assert time.monotonic() - before > 3.5
        (job,) = c.forge.ended(sha)
        assert job["conclusion"] == "cancelled" and "signal 9" in str(job), job
        assert conclusions(c.forge.ended(c.forge.push())) == ["success"]
        assert agent.stop() == 0


def test_what_actions_may_run_is_what_was_configured():
    with Case() as c:
        workflow = "on: push\njobs:\n  build:\n    runs-on: self-hosted\n    steps:\n      - uses: acme/widgets/act@main\n"
        action = {"act/action.yml": "runs: {using: composite, steps: [{run: echo from the action, shell: sh}]}\n"}
        done = c.agent.configure(c.forge, "acme/widgets", "--actions", "acme", check=False)
        assert "'acme' names no actions" in done.stderr, done
        for words, conclusion in ((("--actions", "other/*"), "failure"), (("--actions", "acme/widgets/*,pinned"), "failure"), (("--actions", "ACME/widgets"), "success")):
            c.agent.configure(c.forge, "acme/widgets", "--replace", *words)
            sha = c.forge.push(workflow, files=action)
            c.agent.start("--once")
            assert conclusions(c.forge.ended(sha)) == [conclusion], words
            assert c.agent.wait() == 0


def test_messages_of_other_kinds_are_dealt_with():
    with Case() as c:
        agent = started(c)
        c.forge.message("box", "ForceTokenRefresh", {})
        until("a new token", lambda: len([r for r in c.forge.requests("oauth2/token") if r["method"] == "POST"]) >= 2)
        c.forge.message("box", "JobCancellation", {"jobId": "00000000-1111-2222-3333-444444444444", "timeout": "00:05:00"})
        c.forge.message("box", "RunnerRefresh", {"target_version": "9.0.0", "download_url": "https://x/", "os": "linux-x64"})
        c.forge.message("box", "RunnerRefreshConfig", {"runnerQualifiedId": "a/b/c/21", "configType": "runner",
                                                       "serviceType": "pipelines", "configRefreshURL": "https://x/"})
        assert conclusions(c.forge.ended(c.forge.push())) == ["success"]
        c.forge.message("box", "RunnerShutdown", {"reason": "maintenance"})
        assert agent.wait() == 0
        assert "maintenance" in agent.text()
        assert c.forge.seen("session", "DELETE") == []


def test_the_queue_moves_to_another_broker():
    with Case() as c:
        agent = started(c)
        broker = c.forge.seen("session", "POST")[-1]["path"].split("session")[0]
        c.forge.message("box", "BrokerMigration", {"brokerBaseUrl": f"{c.forge.url}{broker}"})
        agent.says("the queue moves to")
        assert conclusions(c.forge.ended(c.forge.push())) == ["success"]
        assert agent.stop() == 0


def test_a_queue_behind_tls_moves_to_none_without():
    with Case(tls=True) as c:
        agent = started(c)
        c.forge.message("box", "BrokerMigration", {"brokerBaseUrl": c.forge.url.replace("https:", "http:") + "/elsewhere/"})
        agent.says("refused to move to a queue without TLS")
        assert conclusions(c.forge.ended(c.forge.push())) == ["success"]
        assert agent.stop() == 0


def test_a_killed_agent_listens_again_at_once():
    with Case() as c:
        agent = started(c)
        agent.kill()
        agent.start().listening(2)
        assert "409" not in agent.text(), agent.text()
        assert conclusions(c.forge.ended(c.forge.push())) == ["success"]
        assert agent.stop() == 0


def restarted_beside_its_job(c):
    """An agent that was killed while a job ran, and started again; the commit, and a file that tells how the step ended."""
    agent, end = started(c), c.root / "end"
    sha = c.forge.push(SLOW.replace("exec sleep 600", f"trap 'echo interrupted > {end}; exit 1' INT\n          sleep 600 & wait"))
    c.forge.begun(sha)
    agent.says("Running job")
    until("the step runs", lambda: "begun" in str(c.forge.jobs(sha)))
    began = agent.state()["jobs"][0]["began"]
    agent.kill()
    agent.start().listening(2)
    (job,) = agent.state()["jobs"]
    assert job["began"] == began and job["step"]["number"] == 2, job
    return agent, sha, end


def test_a_cancel_reaches_a_worker_that_a_former_agent_started():
    with Case() as c:
        agent, sha, end = restarted_beside_its_job(c)
        c.forge.cancel("acme/widgets", c.forge.run_of(sha)["id"])
        (job,) = c.forge.ended(sha)
        assert job["conclusion"] == "cancelled", job
        assert end.read_text() == "interrupted\n"
        step = next(s for s in job["steps"] if s["name"].startswith("Run"))
        assert "The operation was canceled" in step["log"], step
        agent.says("result: Canceled")
        assert conclusions(c.forge.ended(c.forge.push())) == ["success"]
        assert agent.stop() == 0


def test_a_worker_of_a_former_agent_that_does_not_heed_its_cancel_is_killed():
    with Case() as c:
        agent, sha, _ = restarted_beside_its_job(c)
        (worker,) = agent.workers()
        os.kill(worker, signal.SIGSTOP)
        c.forge.cancel("acme/widgets", c.forge.run_of(sha)["id"])
        (job,) = c.forge.ended(sha)
        assert job["conclusion"] == "cancelled", job
        agent.says("did not end in time")
        assert agent.stop() == 0


def test_a_lapsed_lease_reaches_a_worker_that_a_former_agent_started():
    with Case() as c:
        agent, _, end = restarted_beside_its_job(c)
        c.forge.fault("renewjob", times=-1, status=404,
                      body='{"source":"actions-run-service","statusCode":404,"errorMessage":"no such job"}')
        until("the step is interrupted", end.exists)
        agent.says("Job build is over; the service alone knows its result")
        assert agent.stop() == 0


def test_sigint_ends_the_job_of_a_former_agent_too():
    with Case() as c:
        agent, sha, end = restarted_beside_its_job(c)
        assert agent.stop() == 0
        (job,) = c.forge.ended(sha)
        assert job["conclusion"] == "failure" and "shutdown signal" in str(job), job
        assert end.read_text() == "interrupted\n"


def test_jobs_of_a_root_agent_run_as_the_user_that_was_named_and_cannot_read_its_keys():
    if os.geteuid() != 0:
        print("skipped: only root can give work to another user")
        return
    with Case() as c:
        c.root.chmod(0o755)
        c.agent.configure(c.forge, "acme/widgets", "--worker-user", "nobody")
        assert c.agent.root.stat().st_uid == 0
        assert (c.agent.root / "users" / "nobody").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        assert (c.agent.root / "agent").stat().st_uid == 0
        sha = c.forge.push(HELLO.replace("echo hello", f"|\n          id -un; id -G; ls {c.agent.root}/agent || echo closed"))
        c.agent.start()
        (job,) = c.forge.ended(sha)
        assert job["conclusion"] == "success", job
        log = next(s["log"] for s in job["steps"] if s["name"].startswith("Run"))
        assert "nobody" in log and "closed" in log and "registrations" not in log.split("##[endgroup]")[-1], log
        text = c.agent.davit("status").stdout
        assert "jobs run as nobody; the keys are root's alone" in text, text
        assert c.agent.stop() == 0


def closed_copy(c):
    """davit in a folder that only root may enter."""
    folder = c.root / "closed"
    folder.mkdir()
    for name in ("davit", "davit-agent", "davit-step"):
        shutil.copy(pathlib.Path(DAVIT).parent / name, folder / name)
    folder.chmod(0o700)
    return folder / "davit"


def test_a_worker_user_that_may_not_execute_davit_is_refused_before_it_is_registered():
    if os.geteuid() != 0:
        print("skipped: only root can give work to another user")
        return
    with Case() as c:
        c.root.chmod(0o755)
        davit = closed_copy(c)

        def run_davit(*words):
            return subprocess.run([davit, "agent", *words], env=c.agent.env, capture_output=True, text=True, timeout=60)
        done = run_davit("configure", "--unattended", "--url", f"{c.forge.url}/acme/widgets", "--token", "x", "--name", "box",
                         "--worker-user", "nobody")
        assert done.returncode == 1, done
        lines = done.stderr.splitlines()
        assert len(lines) == 2, done
        assert f"'nobody': that user may not execute {davit}-agent ({davit.parent} is closed to it)" in lines[0], done
        assert f"chmod o+x {davit.parent}" in lines[1], done
        assert c.forge.runners() == [] and c.forge.seen("registration") == []
        c.agent.configure(c.forge)
        for user, words in (("nobody", "may not execute"), ("no-such-user", "no user 'no-such-user'")):
            done = run_davit("run", "--worker-user", user)
            assert done.returncode == 1 and words in done.stderr and len(done.stderr.splitlines()) == 2, done
        davit.parent.chmod(0o755)
        (davit.parent / "davit-step").chmod(0o700)
        done = run_davit("run", "--worker-user", "nobody")
        assert done.returncode == 1 and f"may not execute {davit}-step\n" in done.stderr, done
        assert c.forge.seen("session") == []


def test_the_worker_user_can_be_named_when_the_agent_starts():
    if os.geteuid() != 0:
        print("skipped: only root can give work to another user")
        return
    with Case() as c:
        c.root.chmod(0o755)
        c.agent.configure(c.forge)
        c.agent.start("--worker-user", "nobody").listening()
        (job,) = c.forge.ended(c.forge.push(HELLO.replace("echo hello", "id -un")))
        assert job["conclusion"] == "success" and "nobody" in next(s["log"] for s in job["steps"] if s["name"].startswith("Run")), job
        assert c.agent.stop() == 0


def test_a_worker_user_that_is_gone_is_told_when_the_agent_starts():
    with Case() as c:
        c.agent.configure(c.forge)
        (record,) = c.agent.root.glob("agent/registrations/*/registration.json")
        text = json.loads(record.read_text())
        text["worker_user"] = "no-such-user"
        record.write_text(json.dumps(text))
        done = c.agent.davit("run", check=False)
        assert done.returncode == 1 and "no user 'no-such-user'" in done.stderr and len(done.stderr.splitlines()) == 2, done


def test_a_worker_user_that_does_not_exist_is_refused():
    with Case() as c:
        done = c.agent.configure(c.forge, "acme/widgets", "--worker-user", "no-such-user", check=False)
        assert done.returncode == 1 and "no user 'no-such-user'" in done.stderr, done


def test_a_second_agent_with_the_same_folder_is_refused():
    with Case() as c:
        started(c)
        done = c.agent.davit("run", check=False)
        assert done.returncode == 5 and "listens for these registrations already" in done.stderr, done
        c.agent.stop()


def test_an_agent_without_registration_says_how_to_get_one():
    with Case() as c:
        done = c.agent.davit("run", check=False)
        assert done.returncode == 1 and "agent configure" in done.stderr, done


if __name__ == "__main__":
    run(__name__)
