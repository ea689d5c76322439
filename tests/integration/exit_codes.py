#!/usr/bin/env python3
"""The exit status of every situation in section 6 of docs/semantics.md, row by row, by the command line; each time what lies on the
target is looked at too."""
import json
import os
import signal
import sqlite3
import subprocess
import time
import unittest

from harness.trial import DAVIT, Case, Service, Trial, main
from harness.waiting import until
from servers.official_runner import Job


class ExitCodes(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        os.mkdir(os.path.join(self.t.src, "site"))
        self.version = 0

    # ---- what is deployed ----

    def site(self, text):
        with open(os.path.join(self.t.src, "site", "index.html"), "w", encoding="ascii") as f:
            f.write(text)

    def upload(self):
        return {"archive-upload": {"source": "site", "path": self.t.path("app")}}

    def document(self, *steps, **more):
        return {"targets": {"web": {"local": {}}}, "steps": [self.upload(), *steps], **more}

    def gate(self, command, deadline="1s"):
        return {"health-gate": {"checks": [{"command": ["sh", "-c", command]}], "deadline": deadline}}

    def deploy(self, *steps, args=(), site=None, **more):
        if site is not None:
            self.site(site)
        return self.t.deploy(self.document(*steps, **more), *args)

    def released(self):
        """The text of the current release, or None."""
        try:
            with open(self.t.path("app/current/index.html"), encoding="ascii") as f:
                return f.read()
        except FileNotFoundError:
            return None

    def history(self, *args):
        return json.loads(self.t.run("history", "--json", *args).out)

    def state(self):
        return self.history()[0]["state"]

    def assert_free(self):
        self.assertEqual(os.listdir(os.path.join(self.t.base, "open")) if os.path.isdir(self.t.base + "/open") else [], [])

    def start(self, *steps, begun, site, args=(), env=None, **more):
        """A deployment in the background, once the file `begun` is there."""
        self.site(site)
        document = {"name": "shop", "environment": "test", **self.document(*steps, **more)}
        for target in document["targets"].values():
            target.setdefault("base", self.t.base)
        with open(os.path.join(self.t.src, "slow.yml"), "w", encoding="ascii") as f:
            json.dump(document, f)
        whole = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_"))}
        process = subprocess.Popen([DAVIT, "deploy", "slow.yml", *args], cwd=self.t.src, env={**whole, "DAVIT_STATE": self.t.state, **(env or {})},
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.addCleanup(self.end, process)
        until(lambda: os.path.exists(begun) or process.poll() is not None, "the step's begin")
        self.assertTrue(os.path.exists(begun), "the step did not begin")
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
        process.stdout.close()

    def slow(self, begun, undo="none"):
        return {"run": {"script": f"touch {begun}; sleep 60", "undo": undo}}

    def held(self):
        self.assert_exit(self.deploy(site="one"), 0)
        result = self.deploy(self.gate("false"), site="two", on_failure="hold")
        self.assert_exit(result, 4)
        self.assertEqual(self.state(), "held")
        return self.history()[0]["id"]

    # ---- what history and show say of it ----

    def test_history_and_show_name_the_exit_status_that_each_deployment_ended_with(self):
        self.assert_exit(self.deploy(site="one"), 0)
        self.assert_exit(self.deploy(self.gate("false"), site="two"), 1)
        self.assert_exit(self.deploy(args=["--expect", "0" * 64], site="three"), 3)
        begun = self.t.path("begun")
        process = self.start(self.slow(begun), begun=begun, site="four")
        self.assertEqual([d.get("exit_status", "none") for d in self.history()], [None, 3, 1, 0])
        last = self.t.run("show", "last", "--json")
        self.assertIn("exit_status", json.loads(last.out)["deployment"])
        self.assertIsNone(json.loads(last.out)["deployment"]["exit_status"], "it is not decided")
        self.assertNotIn("exit status", self.t.run("show", "last").out)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(30), 130)
        self.assertEqual(self.history()[0]["exit_status"], 130)
        self.assert_exit(self.deploy(self.gate("false"), site="five", on_failure="hold"), 4)
        newest = self.history()[0]["id"]
        self.assertEqual(json.loads(self.t.run("show", newest, "--json").out)["deployment"]["exit_status"], 4)
        self.assertRegex(self.t.run("show", newest).out, r"(?m)^exit status +4$")
        self.assert_exit(self.t.run("rollback", newest), 0)
        self.assertEqual(self.history()[0]["exit_status"], 1, "undone after a failure, whoever did it")

    # ---- 0 ----

    def test_0_committed_then_nothing_to_change_then_plans(self):
        self.assert_exit(self.deploy(site="one"), 0)
        self.assertEqual((self.state(), self.released()), ("committed", "one"))
        again = self.deploy()
        self.assert_exit(again, 0)
        self.assert_exit(self.deploy(args=["--plan"]), 0)
        self.assert_exit(self.deploy(args=["--plan"], site="two"), 0)
        self.assertEqual(self.released(), "one")
        self.assert_free()

    def test_0_when_only_the_report_failed(self):
        self.site("one")
        with Service(lambda path, count: 503) as api, open(os.path.join(self.t.src, "deploy.yml"), "w", encoding="ascii") as f:
            json.dump({"name": "shop", "environment": "test", "targets": {"web": {"local": {}, "base": self.t.base}},
                       "steps": [self.upload(), {"notify": {}}]}, f)
            f.close()
            job = Job(self.t)
            job.env["GITHUB_API_URL"] = api.url
            result = job.uses(None, file="deploy.yml")
        self.assertEqual(result.code, 0, repr(result))
        self.assertGreater(len(api.requests), 0)
        self.assertRegex(result.out, r"(?m)^::warning::.*notify")
        self.assertEqual((self.state(), self.released()), ("committed", "one"))

    def test_0_rollback_and_recover_with_nothing_to_do_for_the_id(self):
        self.deploy(site="one")
        self.deploy(self.gate("false"), site="two")
        undone = self.history()[0]["id"]
        self.assert_exit(self.t.run("rollback", undone), 0)
        self.assert_exit(self.t.run("recover", undone), 0)
        self.assert_exit(self.t.run("recover"), 0)
        self.assertEqual(self.released(), "one")

    # ---- 1 ----

    def test_1_a_gate_failed_and_the_old_version_is_back_and_healthy(self):
        self.assert_exit(self.deploy(site="one"), 0)
        result = self.deploy(self.gate(f"grep -q one {self.t.path('app/current/index.html')}"), site="two")
        self.assert_exit(result, 1)
        self.assertEqual((self.state(), self.released()), ("undone", "one"))
        self.assert_free()

    def test_1_the_first_deployment_failed_and_no_gate_could_decide(self):
        result = self.deploy(self.gate("false"), site="one")
        self.assert_exit(result, 1)
        self.assertFalse(os.path.lexists(self.t.path("app")))
        self.assertEqual(os.listdir(self.t.target_dir), [])

    def test_1_a_command_that_fails_or_takes_too_long(self):
        self.assert_exit(self.deploy({"run": {"command": ["false"], "undo": ["true"]}}, site="one"), 1)
        started = time.monotonic()
        self.assert_exit(self.deploy({"run": {"command": ["sleep", "60"], "timeout": "1s", "undo": ["true"]}}, site="one"), 1)
        self.assertLess(time.monotonic() - started, 15)
        self.assertIsNone(self.released())

    # ---- 2 ----

    def test_2_refused_before_the_first_change(self):
        self.assert_exit(self.t.deploy({"steps": [{"nothing": {}}]}), 2)
        self.assert_exit(self.t.deploy(self.document({"run": {"command": ["true"], "undo": "none", "env": {"A": "${{ secrets.MISSING }}"}}})), 2)
        self.assert_exit(self.deploy({"preflight": {"secrets": ["ABSENT"]}}, site="one"), 2)
        self.assertIsNone(self.released())
        self.assert_free()

    def test_2_policy_what_left_the_file_is_destroyed_only_when_named(self):
        resources = lambda names: {"targets": {"web": {"local": {}}}, "steps": [{"apply": {"resources": [
            {"file": {"path": self.t.path(n), "content": n}} for n in names]}}]}
        self.assert_exit(self.t.deploy(resources(["a", "b"])), 0)
        result = self.t.deploy(resources(["a"]))
        self.assert_exit(result, 2)
        self.assert_says(result, "allow_destroy")
        self.assertEqual(self.t.read("b"), b"b")

    def test_2_a_journal_that_cannot_be_used(self):
        self.site("one")
        with open(self.t.state, "w", encoding="ascii"):
            pass
        self.assert_exit(self.deploy(), 2)
        os.unlink(self.t.state)
        self.assert_exit(self.t.run("recover"), 0)
        with sqlite3.connect(os.path.join(self.t.state, "journal.db")) as db:
            db.execute("PRAGMA user_version = 99")
        newer = self.deploy()
        self.assert_exit(newer, 2)
        self.assert_says(newer, "99")
        self.assert_exit(self.t.run("history"), 2)
        self.assertIsNone(self.released())

    def test_2_rollback_without_an_id_when_none_or_several_qualify(self):
        none = self.t.run("rollback")
        self.assert_exit(none, 2)
        ids = []
        for name in ("a", "b"):
            self.site(name)
            result = self.t.deploy({"name": name, "targets": {"web": {"local": {}}}, "on_failure": "hold", "steps": [
                {"archive-upload": {"source": "site", "path": self.t.path(name)}}, self.gate("false")]})
            self.assert_exit(result, 4)
            ids.append(self.history()[0]["id"])
        several = self.t.run("rollback")
        self.assert_exit(several, 2)
        self.assert_says(several, *ids)
        self.assert_exit(self.t.run("unlock", "test", "--accept"), 2)
        self.assert_exit(self.t.run("rollback", ids[0]), 0)
        only = self.t.run("rollback")
        self.assert_exit(only, 0)
        self.assertEqual({d["state"] for d in self.history()}, {"undone"})

    def test_2_a_rollback_that_names_nothing_known(self):
        self.deploy(site="one")
        self.assert_exit(self.t.run("rollback", "20200101T000000-000000"), 2)
        self.assert_exit(self.t.run("rollback", "--to", "20200101T000000-000000"), 2)
        self.assert_exit(self.t.run("recover", "20200101T000000-000000"), 2)
        first = [d["id"] for d in self.history() if d["state"] == "committed"][0]
        self.assert_exit(self.t.run("rollback", first), 2)
        self.assertEqual(self.released(), "one")

    def test_2_recover_takes_the_beginning_of_an_id_as_other_commands_do(self):
        self.deploy(site="one")
        first = self.history()[0]["id"]
        self.assert_exit(self.t.run("recover", first[:-1]), 0)
        self.assert_exit(self.t.run("recover", first[:-1] + "#"), 2)
        self.deploy(site="two")
        self.assert_exit(self.t.run("recover", "2"), 2)

    # ---- 3 ----

    def test_3_another_plan_than_expected(self):
        self.assert_exit(self.deploy(site="one", args=["--expect", "f" * 64]), 3)
        self.assertIsNone(self.released())
        self.assertEqual(self.state(), "refused")
        self.assert_free()

    # ---- 4 ----

    def test_4_hold_keeps_everything_in_place_and_locked(self):
        held = self.held()
        self.assertEqual(self.released(), "two")
        self.assertNotEqual(os.listdir(self.t.base + "/open"), [])
        self.assert_exit(self.t.run("rollback", held), 0)
        self.assertEqual(self.released(), "one")
        self.assert_free()

    def test_4_a_conflict_is_left_alone_and_named_until_it_is_forced(self):
        self.t.write("x.conf", b"old\n")
        apply = {"apply": {"resources": [{"file": {"path": self.t.path("x.conf"), "content": "new\n"}}]}}
        result = self.deploy(apply, {"run": {"command": ["sh", "-c", f"echo by hand > {self.t.path('x.conf')}"], "undo": ["true"]}}, self.gate("false"), site="one")
        self.assert_exit(result, 4)
        self.assert_says(result, self.t.path("x.conf"), "rollback")
        self.assertEqual((self.state(), self.t.read("x.conf")), ("held", b"by hand\n"))
        self.assertIsNone(self.released(), "what is no conflict was undone")
        again = self.t.run("rollback")
        self.assert_exit(again, 4)
        forced = self.t.run("rollback", "--force")
        self.assert_exit(forced, 0)
        self.assertEqual(self.t.read("x.conf"), b"old\n")
        self.assert_free()

    def test_4_a_command_without_an_undo_is_not_undone(self):
        result = self.deploy({"run": {"command": ["touch", self.t.path("made")]}}, self.gate("false"), site="one")
        self.assert_exit(result, 4)
        self.assert_says(result, "made")
        self.assertEqual(self.state(), "held")

    def test_4_the_old_version_is_not_healthy_again_though_it_was(self):
        flag = self.t.write("healthy", b"")
        result = self.deploy({"run": {"command": ["rm", flag], "undo": ["true"]}}, self.gate(f"test -e {flag}"), site="one")
        self.assert_exit(result, 4)
        self.assert_says(result, "healthy")

    def test_4_a_second_sigint_stops_the_undo(self):
        begun, undoing = self.t.path("begun"), self.t.path("undoing")
        process = self.start(self.slow(begun, undo=f"touch {undoing}; sleep 20"), begun=begun, site="one")
        process.send_signal(signal.SIGINT)
        until(lambda: os.path.exists(undoing), "the undo's begin")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(30), 4, process.stdout.read())
        self.assertEqual(self.state(), "held")
        self.assertEqual(self.released(), "one", "the undo stopped before it came to the release")

    def test_4_recover_left_something_held(self):
        begun = self.t.path("begun")
        process = self.start(self.slow(begun, undo=["true"]), begun=begun, site="one", on_failure="hold")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
        result = self.t.run("recover")
        self.assert_exit(result, 4)
        self.assertEqual(self.state(), "held")
        self.assert_says(result, "rollback")

    # ---- 5 ----

    def test_5_locked_by_a_living_deployment_until_it_ends(self):
        begun = self.t.path("begun")
        process = self.start(self.slow(begun, undo=f"rm {begun}"), begun=begun, site="one")
        blocked = self.deploy(site="two")
        self.assert_exit(blocked, 5)
        self.assert_says(blocked, self.history()[-1]["id"], "--wait")
        for args in (("recover", self.history()[-1]["id"]), ("unlock", "test"), ("unlock", "test", "--accept"), ("rollback",)):
            self.assert_exit(self.t.run(*args), 5)
        self.assert_exit(self.t.run("recover"), 0)
        self.assertIsNone(process.poll())
        started = time.monotonic()
        self.assert_exit(self.deploy(site="two", args=["--wait", "1s"]), 5)
        self.assertGreaterEqual(time.monotonic() - started, 1)
        process.send_signal(signal.SIGTERM)
        waited = self.deploy(site="two", args=["--wait", "30s"])
        self.assert_exit(waited, 0)
        self.assertEqual(process.wait(30), 130)
        self.assertEqual(self.released(), "two")

    def test_5_locked_by_a_held_deployment_and_how_to_decide_it(self):
        held = self.held()
        blocked = self.deploy(site="three")
        self.assert_exit(blocked, 5)
        self.assert_says(blocked, held, "--accept")
        self.assert_exit(self.t.run("unlock", "test"), 5)
        self.assert_exit(self.t.run("unlock", "shop.test", "--yes", "--accept"), 2)
        self.assert_exit(self.t.run("unlock", "shop.test", "--yes"), 0)
        self.assertEqual(self.state(), "held" if self.history()[0]["id"] == held else "refused")
        self.assert_exit(self.t.run("unlock", "shop.test", "--accept"), 0)
        self.assertEqual([d["state"] for d in self.history() if d["id"] == held], ["committed"])
        self.assert_free()
        self.assert_exit(self.deploy(site="three"), 0)
        self.assert_exit(self.t.run("unlock", "shop.test"), 0)

    def test_5_locked_by_another_machine_until_a_person_takes_it_over(self):
        begun = self.t.path("begun")
        process = self.start(self.slow(begun, undo=f"rm -f {begun}"), begun=begun, site="one")
        here = self.t.state
        self.t.state = here + "-other"
        self.assert_exit(self.deploy(site="two"), 5)
        self.assert_exit(self.t.run("recover", "slow.yml"), 5)
        alive = self.t.run("recover", "slow.yml", "--takeover", "--after", "12s")
        self.assert_exit(alive, 5)
        self.assertIsNone(process.poll())
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
        self.assert_exit(self.t.run("recover", "slow.yml"), 5)
        self.assert_exit(self.t.run("recover", "--takeover"), 2)
        taken = self.t.run("recover", "slow.yml", "--takeover", "--after", "2s")
        self.assert_exit(taken, 0)
        self.assertIsNone(self.released())
        self.assertFalse(os.path.exists(begun))
        self.assert_free()
        left = [line for line in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines() if begun in line]
        self.assertEqual(left, [], "what the former owner had started was ended")
        self.t.state = here
        self.assert_exit(self.t.run("recover"), 0)
        self.assertEqual(self.history()[-1]["state"], "undone")
        self.assert_exit(self.deploy(site="two"), 0)

    # ---- 130 ----

    def test_130_cancelled_and_all_restored_whatever_the_file_says(self):
        self.assert_exit(self.deploy(site="one"), 0)
        for number, on_failure in ((signal.SIGINT, "rollback"), (signal.SIGTERM, "rollback"), (signal.SIGINT, "hold")):
            with self.subTest(signal=number.name, on_failure=on_failure):
                begun = self.t.path(f"begun-{number.name}-{on_failure}")
                process = self.start(self.slow(begun, undo=f"rm {begun}"), begun=begun, site="two", on_failure=on_failure)
                process.send_signal(number)
                self.assertEqual(process.wait(30), 130, process.stdout.read())
                self.assertEqual((self.state(), self.released()), ("undone", "one"))
                self.assertFalse(os.path.exists(begun))
                self.assert_free()

    def test_130_sigterm_after_sigint_stops_nothing(self):
        begun, undoing, undone = (self.t.path(n) for n in ("begun", "undoing", "undone"))
        process = self.start(self.slow(begun, undo=f"touch {undoing}; sleep 3; touch {undone}"), begun=begun, site="one")
        process.send_signal(signal.SIGINT)
        until(lambda: os.path.exists(undoing), "the undo's begin")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(30), 130, process.stdout.read())
        self.assertTrue(os.path.exists(undone))
        self.assertIsNone(self.released())

    def test_4_instead_of_130_when_not_all_is_restored(self):
        begun = self.t.path("begun")
        process = self.start({"run": {"script": f"touch {begun}; sleep 60"}}, begun=begun, site="one")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(30), 4, process.stdout.read())

    # ---- rollback ----

    def test_rollback_of_the_newest_committed_and_to_a_named_release(self):
        restart = {"run": {"command": ["sh", "-c", f"cp {self.t.path('app/current/index.html')} {self.t.path('served')}"],
                           "after_undo": ["sh", "-c", f"cp {self.t.path('app/current/index.html')} {self.t.path('served')}"]}}
        gate = self.gate(f"test -s {self.t.path('served')}")
        ids = []
        for text in ("one", "two", "three"):
            self.assert_exit(self.deploy(restart, gate, site=text), 0)
            ids.append(self.history()[0]["id"])
        older = self.t.run("rollback", ids[0])
        self.assert_exit(older, 2)
        self.assert_says(older, ids[2], "--to")
        back = self.t.run("rollback", ids[2])
        self.assert_exit(back, 0)
        self.assertEqual((self.released(), self.t.read("served")), ("two", b"two"))
        self.assertEqual([d["state"] for d in self.history()], ["committed"] * 4)
        to = self.t.run("rollback", "--to", ids[0])
        self.assert_exit(to, 0)
        self.assertEqual((self.released(), self.t.read("served")), ("one", b"one"))
        same = self.t.run("rollback", "--to", ids[0])
        self.assert_exit(same, 2)
        both = self.t.run("rollback", ids[0], "--to", ids[1])
        self.assert_exit(both, 2)
        self.assert_exit(self.t.run("rollback", "--to", ids[2], "--file", "deploy.yml"), 0)
        self.assertEqual(self.released(), "three")
        self.assert_free()

    def test_rollback_to_a_release_that_is_not_healthy_is_taken_back(self):
        gate = self.gate(f"test -e {self.t.path('fine')} || grep -q two {self.t.path('app/current/index.html')}")
        self.t.write("fine", b"")
        ids = []
        for text in ("one", "two"):
            self.assert_exit(self.deploy(gate, site=text), 0)
            ids.append(self.history()[0]["id"])
        os.unlink(self.t.path("fine"))
        result = self.t.run("rollback", ids[1])
        self.assert_exit(result, 1)
        self.assertEqual(self.released(), "two")

    def test_rollback_asks_for_the_secrets_that_it_lacks(self):
        env = {"T": "${{ secrets.TOKEN }}", "U": "${{ secrets.OTHER }}"}
        step = {"run": {"command": ["true"], "after_undo": ["sh", "-c", f"echo $T > {self.t.path('after')}"], "env": env}}
        for text in ("one", "two"):
            self.site(text)
            self.assert_exit(self.t.deploy(self.document(step), secrets={"TOKEN": "tok-abcdef", "OTHER": "other-abcdef"}), 0)
        newest = self.history()[0]["id"]
        lacking = self.t.run("rollback", newest)
        self.assert_exit(lacking, 2)
        self.assert_says(lacking, "--secret TOKEN", "--secret OTHER")
        self.assertEqual(self.released(), "two")
        given = self.t.run("rollback", newest, "--secret", "TOKEN", "--secret", "OTHER", env={"TOKEN": "tok-abcdef", "OTHER": "other-abcdef"})
        self.assert_exit(given, 0)
        self.assertEqual((self.released(), self.t.read("after")), ("one", b"tok-abcdef\n"))
        for path, data in self.t.files_of(self.t.state):
            self.assertNotIn(b"tok-abcdef", data, path)


if __name__ == "__main__":
    main()
