#!/usr/bin/env python3
"""The live console: lines of a running step reach the service while it runs, and whatever becomes of that connection, the job does not notice."""
import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from harness.waiting import until
from servers.websocket import WebSocketServer
from servers.worker import House, REPOSITORY


def feed_to(url):
    def change(message):
        connection = [e for e in message["resources"]["endpoints"] if e["name"] == "SystemVssConnection"][0]
        connection["data"]["FeedStreamUrl"] = url

    return change


class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.house = House(options=["--lines"])
        cls.house.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.house.__exit__(None, None, None)

    def setUp(self):
        self.server = WebSocketServer()
        self.addCleanup(self.server.close)
        self.gate = os.path.join(self.house.folder, self.id())
        self.addCleanup(self.let_go)            # a failed test leaves no job that the next one waits behind

    def held(self, text):
        """A step that does so and then waits until it may end."""
        return f"- {{name: long, run: '{text}; until [ -e {self.gate} ]; do sleep 0.02; done; echo over'}}\n"

    def let_go(self):
        with open(self.gate, "w", encoding="ascii"):
            pass

    def messages(self):
        return [json.loads(text) for text in self.server.messages]

    def values(self):
        return [line for message in self.messages() for line in message["value"]]

    def step_now(self):
        shown = [run for run in self.house.forge.runs() if run["sha"] == self.house.sha][0]
        return next((step for step in shown["jobs"][0]["steps"] if step["name"] == "long"), {})

    def test_a_line_is_shown_while_its_step_runs_and_before_any_of_its_log(self):
        self.house.secrets(KEY="s3cr3t-value")
        worker = self.house.start(self.held("echo live-now; echo \"with ${{ secrets.KEY }}\""))
        until(lambda: "live-now" in (self.step_now().get("live") or []), seconds=20)
        step = self.step_now()
        self.assertEqual((step["status"], step["log"]), ("in_progress", None))
        until(lambda: "with ***" in self.step_now()["live"], seconds=20)
        self.assertNotIn("s3cr3t-value", json.dumps(self.step_now()))
        self.let_go()
        run = self.house.finish(worker)         # there are no complaints of the forge
        self.assertEqual(run.conclusion, "success")
        self.assertIn("over", run.lines("long"))
        self.assertEqual(self.step_now()["live"], [line for line in run.lines("long") if line])

    def test_printed_lines_stand_under_the_names_of_their_steps(self):
        worker = self.house.start(self.held("echo printed-once"))
        until(lambda: "printed-once" in (self.step_now().get("live") or []), seconds=20)
        self.let_go()
        self.assertEqual(self.house.finish(worker).conclusion, "success")
        until(lambda: " | printed-once\n" in self.house.forge.log(), seconds=20)
        places = [line.split(" | ")[0] for line in self.house.forge.log().splitlines() if line.endswith(" | printed-once")]
        self.assertEqual([place.split(" / ")[1] for place in places], ["long"])
        self.assertNotRegex(self.house.forge.log(), "(?m)^[^|\\n]*[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[^|\\n]* [|] ")

    def test_lines_come_in_batches_with_their_numbers_cut_and_without_empty_ones(self):
        run = self.house.start(self.held("printf \"a\\n\\nb\\n\"; head -c 3000 /dev/zero | tr \"\\0\" x; echo; echo ü; printf \"\\377\\n\""), change=feed_to(self.server.url("good")))
        self.server.wait(lambda: "ü" in "".join(self.server.messages) or "\\u00fc" in "".join(self.server.messages))
        self.let_go()
        run = self.house.finish(run)
        self.assertEqual(run.conclusion, "success")
        log, values = run.lines("long"), self.values()
        self.assertIn("x" * 1024 + "...", values)
        self.assertNotIn("", values)
        self.assertIn("\ufffd", values)
        for message in self.messages():
            self.assertEqual(message["count"], len(message["value"]))
            first = run.step("long")["id"] == message["stepId"] and message["value"][0]
            if first and len(first) < 1000:
                self.assertEqual(log[message["startLine"] - 1], first)
        head = self.server.heads[0]
        self.assertEqual(head["Authorization"].split()[0], "Bearer")
        self.server.wait(lambda: self.server.closes == [1000])

    def test_what_a_step_prints_without_end_is_dropped_in_part_and_holds_nothing_up(self):
        worker = self.house.start(self.held("seq 200000"), change=feed_to(self.server.url("good")))
        self.server.wait(lambda: self.server.messages and sum(m["count"] for m in self.messages()) >= 1000)
        self.let_go()
        run = self.house.finish(worker)
        self.assertEqual((run.conclusion, len([line for line in run.lines("long") if line.isdigit()])), ("success", 200000))
        self.assertLess(len(self.values()), 20000)
        self.assertTrue(all(len(m["value"]) <= 100 for m in self.messages()))

    def test_a_connection_that_ends_is_made_again(self):
        # A message that leaves before the end of its connection is seen is lost, and nobody can know: so the line comes more than once.
        worker = self.house.start(f"- {{name: long, run: 'echo one; until [ -e {self.gate} ]; do sleep 0.3; echo two; done'}}\n",
                                  change=feed_to(self.server.url("drops")))
        self.server.wait(lambda: any("one" in text for text in self.server.messages))
        self.server.wait(lambda: self.server.connections() > 1 and any("two" in text for text in self.server.messages))
        self.let_go()
        self.assertEqual(self.house.finish(worker).conclusion, "success")

    def test_a_ping_of_the_server_is_answered(self):
        worker = self.house.start(self.held("echo x"), change=feed_to(self.server.url("pings")))
        self.server.wait(lambda: self.server.pongs == ["are you there"])
        self.let_go()
        self.assertEqual(self.house.finish(worker).conclusion, "success")

    def test_no_fault_of_the_server_reaches_the_job(self):
        for how in ("refused", "silent", "closes", "rubbish", "huge", "deaf"):
            with self.subTest(how):
                begun = time.monotonic()
                run = self.house.run("- {name: prints, run: seq 5000}\n", change=feed_to(self.server.url(how)))
                self.assertEqual((run.conclusion, run.lines("prints")[-1]), ("success", "5000"))
                self.assertLess(time.monotonic() - begun, 20)       # none of the 30 s that a connection may take
        for url in ("ws://127.0.0.1:1/x", "gopher://127.0.0.1/"):
            self.assertEqual(self.house.run("- {name: prints, run: echo x}\n", change=feed_to(url)).conclusion, "success")

    def test_three_failures_are_followed_by_silence(self):
        worker = self.house.start(self.held("echo x"), change=feed_to(self.server.url("rubbish")))
        self.server.wait(lambda: self.server.connections() == 3)
        self.let_go()
        self.assertEqual(self.house.finish(worker).conclusion, "success")
        self.assertEqual(self.server.connections(), 3)

    def test_a_forge_that_was_told_prints_the_lines(self):
        worker = self.house.start(self.held("printf \"a\\033[2Jb\\n\""))
        until(lambda: "build / long | a\\x1b[2Jb\n" in self.house.forge.log(), seconds=20)
        self.let_go()
        self.assertEqual(self.house.finish(worker).conclusion, "success")


if __name__ == "__main__":
    unittest.main()
