#!/usr/bin/env python3
"""Results that the service could not be told lie on the disk and are sent later. The forge plants the faults; agent and worker are real."""
import json
import os
import signal
import stat
import subprocess

from harness import DAVIT, HELLO, Case, run, until
from servers import faketime

GONE = '{"source":"actions-run-service","statusCode":404,"errorMessage":"no such job"}'
OUTPUTS = """on: push
jobs:
  build:
    runs-on: self-hosted
    outputs:
      version: ${{ steps.one.outputs.version }}
    steps:
      - id: one
        run: |
          echo "version=1.4.2" >> "$GITHUB_OUTPUT"
          echo hello
  next:
    needs: build
    runs-on: self-hosted
    steps:
      - run: echo "got [${{ needs.build.outputs.version }}]"
"""
WAITS = """on: push
jobs:
  build:
    runs-on: self-hosted
    steps:
      - run: |
          echo begun
          until test -e MARK; do sleep 0.05; done
          echo hello
"""


def unsent(c):
    folder = c.agent.root / "unsent"
    return [p for p in folder.iterdir() if not p.name.startswith(".")] if folder.exists() else []


def started(c, **environment):
    c.agent.configure(c.forge)
    c.agent.start(**environment).listening()
    c.forge.wait_online("box")
    return c.agent


def completions(c):
    return c.forge.seen("completejob", "POST")


def log_of(job):
    return "".join(s.get("log") or "" for s in job["steps"])


def kept(c, workflow=HELLO, fault=None, mark=None):
    """A job whose end cannot be reported lies on the disk."""
    agent = started(c)
    c.forge.fault("completejob", times=-1, **(fault or {"status": 503}))
    sha = c.forge.push(workflow)
    agent.says("its result is kept and sent later")
    return sha


def test_a_result_that_no_try_could_send_is_kept_closed_and_sent_once_the_service_answers():
    with Case() as c:
        sha = kept(c)
        (file,) = unsent(c)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600 and b"hello" not in file.read_bytes() and b"ey" not in file.read_bytes()[:11]
        assert len(completions(c)) >= 25, "not before all tries"
        c.forge.no_faults()
        (job,) = c.forge.ended(sha)
        assert job["conclusion"] == "success" and "hello" in log_of(job), job
        until("the file is gone", lambda: not unsent(c))
        c.agent.says("Job build completed with result: Succeeded")
        assert c.agent.stop() == 0
        c.forge.calm()


def test_the_registration_asks_for_further_jobs_while_a_result_waits_and_the_oldest_of_too_many_goes():
    with Case() as c:
        agent = started(c)
        folder = c.agent.root / "unsent"
        folder.mkdir(mode=0o700)
        before = [folder / f"00000000-0000-4000-8000-{i:012d}" for i in range(64)]
        for age, file in enumerate(before):
            file.write_bytes(b"")
            os.utime(file, (1000 + age, 1000 + age))
        c.forge.fault("completejob", times=-1, status=503)
        c.forge.push()
        agent.says("its result is kept and sent later")
        agent.says(f"the result of job {before[0].name} was not sent, and is dropped: too many wait")
        assert len(unsent(c)) == 64 and not before[0].exists() and before[1].exists()
        for file in before[1:]:
            file.unlink()
        until("an online poll", lambda: c.forge.runner()["status"] == "Online" and c.forge.runner()["polling"])
        assert len(unsent(c)) == 1
        assert c.agent.stop() == 0
        assert len(unsent(c)) == 1, "the next start has it"


def test_an_agent_that_is_stopped_while_the_service_is_away_leaves_the_result_to_the_next_start():
    with Case() as c:
        agent = started(c, DAVIT_PACE_PERCENT="100")
        c.forge.fault("completejob", times=-1, drop=True)
        sha = c.forge.push()
        until("a try to report", lambda: unsent(c) and completions(c))
        assert agent.stop(signal.SIGTERM) == 0
        assert len(unsent(c)) == 1 and agent.workers() == [], agent.workers()
        c.forge.no_faults()
        agent.start().listening(count=2)
        (job,) = c.forge.ended(sha)
        assert job["conclusion"] == "success" and "hello" in log_of(job), job
        until("the file is gone", lambda: not unsent(c))
        assert "left a result, which is sent" in agent.text() and "died" not in agent.text(), agent.text()
        assert agent.stop() == 0
        c.forge.calm()


def test_a_worker_that_is_killed_while_it_reports_has_its_own_result_sent():
    with Case() as c:
        agent = started(c, DAVIT_PACE_PERCENT="100")
        c.forge.fault("completejob", times=-1, status=500)
        sha = c.forge.push()
        until("a try to report", lambda: unsent(c) and completions(c))
        (worker,) = agent.workers()
        c.forge.no_faults()
        os.kill(worker, signal.SIGKILL)
        (job,) = c.forge.ended(sha)
        assert job["conclusion"] == "success" and "hello" in log_of(job), job
        assert agent.stop() == 0
        c.forge.calm()


def test_after_a_kill_of_agent_and_worker_the_next_start_sends_what_the_worker_found():
    with Case() as c:
        agent = started(c, DAVIT_PACE_PERCENT="100")
        c.forge.fault("completejob", times=-1, status=500)
        sha = c.forge.push(OUTPUTS)
        until("a try to report", lambda: unsent(c) and completions(c))
        workers = agent.workers()
        agent.kill()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        c.forge.no_faults()
        agent.start().listening(count=2)
        jobs = c.forge.ended(sha)
        assert [j["conclusion"] for j in jobs] == ["success", "success"], jobs
        assert "got [1.4.2]" in log_of(next(j for j in jobs if j["name"] == "next")), jobs
        assert agent.stop() == 0


def test_logs_that_could_not_be_sent_come_with_the_result():
    with Case() as c:
        agent = started(c)
        mark = c.root / "go"
        sha = c.forge.push(WAITS.replace("MARK", str(mark)))
        c.forge.begun(sha)
        agent.says("Running job")
        c.forge.fault("results.services.receiver", times=-1, drop=True)
        c.forge.fault("completejob", times=-1, drop=True)
        mark.touch()
        agent.says("its result is kept and sent later")
        c.forge.no_faults()
        (job,) = c.forge.ended(sha)
        assert job["conclusion"] == "success", job
        assert "hello" in next(s["log"] for s in job["steps"] if s["name"].startswith("Run")), job
        assert agent.stop() == 0
        c.forge.calm()


def loses_the_answer(c):
    """The service has the result, no answer says so, and none does until the renewals hear that the job is over."""
    c.forge.fault("completejob", times=1, drop="after")
    c.forge.fault("completejob", times=-1, status=503)


def test_what_the_service_took_is_no_lost_result_though_no_answer_said_so():
    with Case() as c:
        agent = started(c)
        c.forge.fault("completejob", times=1, drop="after")
        sha = c.forge.push()
        agent.says("Job build completed with result: Succeeded")
        assert len(completions(c)) == 2 and not unsent(c)
        loses_the_answer(c)
        c.forge.push()
        agent.says("the lease of job 'build' is lost")
        c.forge.no_faults()
        agent.says("Job build completed with result: Succeeded", count=2)
        until("nothing is kept", lambda: not unsent(c))
        assert "Abandoned" not in agent.text() and "dropped" not in agent.text(), agent.text()
        assert [j["conclusion"] for j in c.forge.ended(sha)] == ["success"]
        assert agent.stop() == 0
        c.forge.calm()


def test_a_worker_that_is_killed_after_the_service_took_its_result_has_not_lost_it():
    with Case() as c:
        agent = started(c, DAVIT_PACE_PERCENT="100")
        loses_the_answer(c)
        sha = c.forge.push()
        until("the service has it, and another try", lambda: len(completions(c)) > 1)
        (worker,) = agent.workers()
        c.forge.no_faults()
        os.kill(worker, signal.SIGKILL)
        agent.says("Job build completed with result: Succeeded")
        assert not unsent(c) and "dropped" not in agent.text(), agent.text()
        assert [j["conclusion"] for j in c.forge.ended(sha)] == ["success"]
        assert agent.stop() == 0
        c.forge.calm()


def test_an_end_by_the_listener_whose_answer_was_lost_is_that_end():
    with Case() as c:
        agent = started(c)
        mark = c.root / "runs"
        sha = c.forge.push(HELLO.replace("echo hello", f"touch {mark}; exec sleep 600"))
        until("the step runs", mark.exists)
        loses_the_answer(c)
        (worker,) = agent.workers()
        os.kill(worker, signal.SIGKILL)
        agent.says("the lease of job 'build' is lost")
        c.forge.no_faults()
        agent.says("Job build completed with result: Failed")
        assert [j["conclusion"] for j in c.forge.ended(sha)] == ["failure"]
        assert agent.stop() == 0
        c.forge.calm()


def test_a_job_that_ended_well_beside_a_new_agent_is_not_told_as_failed():
    with Case() as c:
        agent = started(c)
        mark = c.root / "go"
        sha = c.forge.push(WAITS.replace("MARK", str(mark)))
        c.forge.begun(sha)
        agent.says("Running job")
        until("the step runs", lambda: "begun" in str(c.forge.jobs(sha)))
        agent.kill()
        agent.start().listening(count=2)
        mark.touch()
        agent.says("Job build is over; the service alone knows its result")
        assert [j["conclusion"] for j in c.forge.ended(sha)] == ["success"]
        assert "result: Failed" not in agent.text() and "404" not in agent.text(), agent.text()
        assert agent.stop() == 0


def delivered(c, file):
    done = subprocess.run([DAVIT, "worker", "deliver", str(c.agent.root), file.name], env=c.agent.env, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


def test_a_job_that_the_service_does_not_know_any_more_is_dropped_with_a_line():
    with Case() as c:
        sha = kept(c)
        assert c.agent.stop() == 0
        (file,) = unsent(c)
        sealed = file.read_bytes()
        for fault in ({"status": 404, "body": GONE}, {"status": 401}, {"status": 409}, {"status": 410}):
            c.forge.no_faults()
            c.forge.fault("completejob", times=-1, **fault)
            file.write_bytes(sealed)
            before = len(completions(c))
            status, words = delivered(c, file)
            assert status == 4 and f"is dropped: report the job's end: HTTP {fault['status']}" in words, (status, words)
            assert len(completions(c)) == before + 1 and not unsent(c), "asked once"
        for fault in ({"status": 404, "body": "<html>"}, {"status": 429, "headers": {"Retry-After": "1"}}, {"drop": True}, {"status": 500}):
            c.forge.no_faults()
            c.forge.fault("completejob", times=-1, **fault)
            file.write_bytes(sealed)
            assert delivered(c, file)[0] == 1 and unsent(c) == [file], fault
        c.forge.no_faults()
        assert delivered(c, file)[0] == 100 and not unsent(c)
        assert [j["conclusion"] for j in c.forge.ended(sha)] == ["success"]
        assert delivered(c, file)[0] == 3, "there is nothing"


def test_a_result_that_is_refused_is_not_sent_again_and_again():
    with Case() as c:
        agent = started(c)
        c.forge.fault("completejob", times=1, status=400, body='{"message":"an annotation is too long"}')
        sha = c.forge.push(OUTPUTS)
        jobs = c.forge.ended(sha)
        build, following = (next(j for j in jobs if j["name"] == n) for n in ("build", "next"))
        assert build["conclusion"] == following["conclusion"] == "success", jobs
        assert "an annotation is too long" in json.dumps(build["annotations"]), build
        assert "got [1.4.2]" in log_of(following), "its outputs came"
        assert len(completions(c)) == 3, completions(c)
        c.forge.fault("completejob", times=2, status=422)
        jobs = c.forge.ended(c.forge.push(OUTPUTS))
        build = next(j for j in jobs if j["name"] == "build")
        assert build["conclusion"] == "failure" and "outputs are missing" in json.dumps(build["annotations"]), build
        seen = len(completions(c))
        c.forge.fault("completejob", times=-1, status=400)
        c.forge.push()
        agent.says("completed with result: Abandoned")
        assert len(completions(c)) == seen + 2, "what has no outputs is tried twice"
        assert not unsent(c)
        assert agent.stop() == 0


def test_a_clock_that_is_wrong_drops_no_result():
    why = faketime.why_not()
    if why:
        print(f"skipped: {why}")
        return
    with Case() as c:
        sha = kept(c)
        assert c.agent.stop() == 0
        c.forge.no_faults()
        c.agent.start(**faketime.environment(2 * 24 * 3600)).listening(count=2)
        assert [j["conclusion"] for j in c.forge.ended(sha)] == ["success"], "by a clock that is two days ahead"
        until("the file is gone", lambda: not unsent(c))
        assert c.agent.stop() == 0


def test_what_is_damaged_or_too_old_goes_and_nothing_else_is_touched():
    with Case() as c:
        kept(c)
        assert c.agent.stop() == 0
        (file,) = unsent(c)
        whole = file.read_bytes()
        torn = file.with_name("00000000-0000-4000-8000-000000000001")
        torn.write_bytes(whole[:-7])
        other = file.with_name("note.txt")
        other.write_text("not ours")
        c.forge.no_faults()
        c.agent.start().listening(count=2)
        until("the torn and the good one are gone", lambda: unsent(c) == [other])
        assert c.agent.stop() == 0
        c.forge.calm()


def test_an_end_that_the_listener_gives_survives_a_stop_too():
    with Case() as c:
        agent = started(c, DAVIT_PACE_PERCENT="100")
        mark = c.root / "runs"
        sha = c.forge.push(HELLO.replace("echo hello", f"touch {mark}; exec sleep 600"))
        until("the step runs", mark.exists)
        c.forge.fault("completejob", times=-1, status=502)
        (worker,) = agent.workers()
        os.kill(worker, signal.SIGKILL)
        until("a try to report", lambda: completions(c))
        assert agent.stop(signal.SIGTERM) == 0
        c.forge.no_faults()
        agent.start().listening(count=2)
        (job,) = c.forge.ended(sha)
        assert job["conclusion"] == "failure" and "ended by signal 9" in json.dumps(job), job
        assert agent.stop() == 0
        c.forge.calm()


if __name__ == "__main__":
    os.environ.pop("DAVIT_STATE", None)
    run(__name__)
