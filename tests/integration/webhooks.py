#!/usr/bin/env python3
"""How a deployment ended reaches webhooks, at a receiver that is busy, slow, redirecting or gone. Whatever becomes of a message, the
deployment ends as it would have."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.stack import main, until  # noqa: E402
from harness.trial import DAVIT, Case, Trial  # noqa: E402
from servers.webhooks import SECRET, proven, received, running  # noqa: E402


class Webhooks(Case):
    """davit deploy, and a receiver whose answers are chosen by the path."""

    def run(self, result=None):
        with running() as self.url, Trial() as self.t:
            return super().run(result)

    def deploy(self, *paths, works=True, timeout="2s", secrets=None, **notify):
        hooks = [{"url": f"{self.url}/{path}", "secret": SECRET, "timeout": timeout} for path in paths]
        command = "true" if works else "false"
        return self.t.deploy({"targets": {"here": {"local": {}}}, "steps": [
            {"notify": {"commit_comment": False, "webhooks": hooks, **notify}},
            {"run": {"command": ["touch", self.t.path("ran")], "undo": ["rm", "-f", self.t.path("ran")]}},
            {"run": {"command": [command], "undo": "none"}}]}, secrets=secrets)

    def outbox(self):
        return list(pathlib.Path(self.t.state).glob("outbox/*/*.json"))

    def test_it_is_told_once_it_is_decided_wherever_the_step_stands(self):
        self.assert_exit(self.deploy("echo/good"), 0)
        self.assert_exit(self.deploy("echo/bad", works=False), 1)
        (good,), (bad,) = received(self.url, "good"), received(self.url, "bad")
        self.assertEqual(proven(good)["deployment"]["state"], "committed")
        told = proven(bad)
        self.assertEqual((told["deployment"]["state"], told["deployment"]["exit_status"]), ("undone", 1))
        self.assertIn("false", told["deployment"]["reason"])
        self.assertEqual(self.outbox(), [])

    def test_killed_around_the_decision_and_its_cleaning_it_is_told_by_the_next_deployment_at_the_latest(self):
        counter = os.path.join(self.t.dir, "records")
        hook = {"url": f"{self.url}/echo/killed", "secret": SECRET, "timeout": "20s"}

        def deploy(works, **env):
            return self.t.deploy({"targets": {"here": {"local": {}}}, "steps": [
                {"notify": {"commit_comment": False, "webhooks": [hook]}},
                {"run": {"command": ["true" if works else "false"], "undo": "none"}}]}, env=env)
        for works in (True, False):
            if os.path.exists(counter):
                os.remove(counter)
            self.assert_exit(deploy(works, DAVIT_TEST_RECORDS=counter), 0 if works else 1)
            if not os.path.exists(counter):
                self.skipTest("built without test hooks")
            records = os.path.getsize(counter)
            killed = []
            for at in range(records - 4, records + 1):
                deploy(works, DAVIT_TEST_KILL_AT=str(at))
                killed.append(json.loads(self.t.run("history", "--json").out)[0]["id"])
                self.assert_exit(self.t.run("recover"), 0)
            self.assert_exit(deploy(works), 0 if works else 1)
            told = {}
            for request in received(self.url, "killed"):
                body = proven(request)
                told.setdefault(body["deployment"]["id"], set()).add(request["headers"]["X-Davit-Delivery"])
            ends = {d["id"]: d["state"] for d in json.loads(self.t.run("history", "--json").out)}
            self.assertEqual({i: ends[i] for i in killed if i not in told}, {}, "nobody was told of these")
            self.assertEqual({i for i in killed if len(told[i]) > 1}, set(), "a second delivery bears the mark of the first")
        self.assertEqual(self.outbox(), [])

    def test_killed_around_being_held_it_is_told_by_the_recovery(self):
        counter = os.path.join(self.t.dir, "records")
        hook = {"url": f"{self.url}/echo/held", "secret": SECRET, "timeout": "20s"}

        def hold(**env):
            result = self.t.deploy({"on_failure": "hold", "targets": {"here": {"local": {}}}, "steps": [
                {"notify": {"commit_comment": False, "webhooks": [hook]}},
                {"run": {"command": ["touch", self.t.path("ran")], "undo": ["rm", "-f", self.t.path("ran")]}},
                {"run": {"command": ["false"], "undo": "none"}}]}, env=env)
            last = json.loads(self.t.run("history", "--json").out)[0]
            return result, last

        def told(deployment):
            found = [r for r in received(self.url, "held") if proven(r)["deployment"]["id"] == deployment["id"]]
            return [(proven(r)["deployment"]["state"], proven(r)["deployment"].get("reason")) for r in found], {
                r["headers"]["X-Davit-Delivery"] for r in found}
        result, last = hold(DAVIT_TEST_RECORDS=counter)
        self.assert_exit(result, 4)
        if not os.path.exists(counter):
            self.skipTest("built without test hooks")
        records = os.path.getsize(counter)
        self.assertEqual([state for state, _ in told(last)[0]], ["held"])
        self.assert_exit(self.t.run("recover"), 4)
        self.assertEqual(len(told(last)[0]), 1, "what was told is not told again")
        self.assert_exit(self.t.run("unlock", "shop.test", "--accept"), 0)
        for at in range(records - 3, records + 1):
            _, last = hold(DAVIT_TEST_KILL_AT=str(at))
            self.assert_exit(self.t.run("recover"), 4)
            states, marks = told(last)
            self.assertIn("held", [state for state, _ in states], f"killed behind record {at} of {records}: nobody was told")
            self.assertNotIn(None, [reason for _, reason in states])
            self.assertEqual(len(marks), 1, "a second delivery bears the mark of the first")
            again = len(states)
            self.assert_exit(self.t.run("recover"), 4)
            self.assertEqual(len(told(last)[0]), again)
            self.assert_exit(self.t.run("unlock", "shop.test", "--accept"), 0)
        self.assertEqual(self.outbox(), [])

    def test_its_body_is_what_the_schema_says(self):
        self.assert_exit(self.deploy("echo/body", works=False), 1)
        path = os.path.join(self.t.dir, "body.json")
        with open(path, "w") as f:
            f.write(received(self.url, "body")[0]["body"])
        self.assert_exit(self.t.run("schema", "check", "webhook", path), 0)

    def test_a_receiver_that_is_busy_gets_the_same_delivery_again(self):
        self.assert_exit(self.deploy("fail/2/busy", timeout="20s"), 0)
        requests = received(self.url, "busy")
        self.assertEqual(len(requests), 3)
        self.assertEqual(len({r["headers"]["X-Davit-Delivery"] for r in requests}), 1)
        self.assertEqual(len({r["body"] for r in requests}), 1)
        for request in requests:
            proven(request)

    def test_it_waits_as_long_as_the_receiver_asks(self):
        begun = time.monotonic()
        self.assert_exit(self.deploy("fail/1/later?after=2", timeout="20s"), 0)
        self.assertGreaterEqual(time.monotonic() - begun, 2)
        self.assertEqual(len(received(self.url, "later")), 2)

    def test_no_failure_changes_the_outcome_and_none_is_told_with_the_answer_of_the_receiver(self):
        for path, words in (("status/404/gone", "it answered 404"), ("status/500/broken", "it answered 500"), ("hang/hangs", "did not answer in time"),
                            ("close/closed", "cannot be reached"), ("big/9000000/big", "answer is too large"),
                            (f"redirect/moved?to={self.url}/echo/elsewhere", "it answered 302, and redirects are not followed")):
            result = self.deploy(path, timeout="1s")
            self.assert_exit(result, 0)
            self.assert_says(result, words)
            self.assert_silent(result, SECRET)
        self.assertEqual(received(self.url, "elsewhere"), [])
        self.assert_exit(self.deploy("status/500/broken", works=False, timeout="1s"), 1)

    def test_a_refusal_is_not_repeated(self):
        for status in (400, 403, 404, 410, 501):
            self.deploy(f"status/{status}/s{status}", timeout="5s")
            self.assertEqual(len(received(self.url, f"s{status}")), 1, status)
        for status in (408, 429, 500, 503):
            self.deploy(f"status/{status}/s{status}", timeout="1500ms")
            self.assertGreater(len(received(self.url, f"s{status}")), 1, status)

    def test_what_could_not_be_sent_is_sent_by_the_next_deployment(self):
        result = self.deploy("fail/1/tired?after=300", timeout="1s", works=False)
        self.assert_exit(result, 1)
        self.assert_says(result, "kept for the next deployment of shop to test")
        (kept,) = self.outbox()
        self.assertEqual(kept.stat().st_mode & 0o777, 0o600)
        self.assertNotIn(SECRET, kept.read_text())
        self.assertNotIn("/fail/", kept.read_text())
        result = self.deploy("fail/1/tired?after=300", timeout="1s")
        self.assert_says(result, "1 message of earlier deployments was sent")
        states = [proven(r)["deployment"]["state"] for r in received(self.url, "tired")]
        self.assertEqual(states, ["undone", "committed", "undone"])
        self.assertEqual(self.outbox(), [])

    def test_secrets_stand_neither_in_the_message_nor_in_what_is_kept(self):
        self.deploy("fail/1/masked?after=300", timeout="1s", message="with ${{ secrets.TOKEN }}", secrets={"TOKEN": "tops3cret-value"})
        self.assertIn("with ***", proven(received(self.url, "masked")[0])["message"])
        for path, data in self.t.files_of(os.path.join(self.t.state, "outbox")):
            self.assertNotIn(b"tops3cret-value", data, path)

    def test_a_slow_receiver_does_not_hold_the_deployment_longer_than_it_may(self):
        begun = time.monotonic()
        self.assert_exit(self.deploy("slow/300/quick", "hang/slow", timeout="1s"), 0)
        self.assertLess(time.monotonic() - begun, 20)
        self.assertEqual(len(received(self.url, "quick")), 1)

    def test_a_recovery_says_that_it_was_one(self):
        hooks = [{"url": f"{self.url}/echo/killed", "secret": SECRET}]
        begun = self.t.path("begun")
        document = {"name": "shop", "environment": "test", "targets": {"here": {"local": {}, "base": self.t.base}}, "steps": [
            {"notify": {"commit_comment": False, "webhooks": hooks}},
            {"run": {"command": ["touch", self.t.path("ran")], "undo": ["rm", "-f", self.t.path("ran")]}},
            {"run": {"script": f"echo > {begun}; sleep 600", "undo": "none"}}]}
        with open(os.path.join(self.t.src, "deploy.yml"), "w") as f:
            json.dump(document, f)
        with subprocess.Popen([DAVIT, "deploy", "deploy.yml"], cwd=self.t.src, env={**os.environ, "DAVIT_STATE": self.t.state},
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as process:
            until(lambda: os.path.exists(begun))
            os.killpg(process.pid, signal.SIGKILL)
        self.assert_exit(self.t.run("recover"), 0)
        self.assertFalse(os.path.exists(self.t.path("ran")))
        (told,) = received(self.url, "killed")
        told = proven(told)["deployment"]
        self.assertEqual((told["state"], told["recovered"]), ("undone", True))
        self.assertIn("the process that deployed died", told["reason"])

    def test_what_is_no_safe_address_is_refused_before_anything_changes(self):
        for url in ("http://hooks.example/x", "https://169.254.169.254/x", "https://me:secret@hooks.example/x"):
            result = self.t.deploy({"targets": {"here": {"local": {}}}, "steps": [
                {"run": {"command": ["touch", self.t.path("ran")], "undo": "none"}},
                {"notify": {"commit_comment": False, "webhooks": [{"url": url, "secret": SECRET}]}}]})
            self.assert_exit(result, 2)
            self.assertFalse(os.path.exists(self.t.path("ran")))


if __name__ == "__main__":
    main()
