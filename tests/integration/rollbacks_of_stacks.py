#!/usr/bin/env python3
"""Going back behind a committed deployment of a Compose project, with a real engine: to the configuration that it replaced and its images."""
import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.stack import StackCase, main, service, until  # noqa: E402

STUBBORN = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]


class RollbacksOfStacks(StackCase):
    def rollback(self, s, *words, **more):
        return s.run("rollback", *(words or ("last",)), timeout=240, **more)

    def two(self, s, **more):
        """Two committed deployments; the facts of each."""
        s.compose({"services": {"web": service(environment={"V": "old"}, **more), "gone": service()}})
        self.assert_exit(s.up(), 0)
        old = s.facts()
        s.compose({"services": {"web": service("2", environment={"V": "new"}, **more), "added": service("3")}})
        self.assert_exit(s.up(), 0)
        return old, s.facts()

    def assert_decided(self, s, state):
        self.assertEqual(s.last()["state"], state)
        self.assertFalse(os.path.isdir(os.path.join(s.base, "open")) and os.listdir(os.path.join(s.base, "open")))

    def test_it_brings_back_the_former_configuration_and_a_rollback_of_that_the_newer_one(self):
        with self.stack() as s:
            old, new = self.two(s)
            second, kept = s.last()["id"], s.kept()
            done = self.rollback(s, second)
            self.assert_exit(done, 0)
            self.assertEqual(s.facts(), old)
            self.assert_decided(s, "committed")
            self.assertEqual(s.kept(), kept, "both configurations are still kept")
            (change,) = s.changes()
            self.assertEqual((change["path"], change["state"], change["step_name"]), ("compose:" + s.project, "done", "rollback"))
            self.assert_exit(self.rollback(s), 0)
            self.assertEqual(s.facts(), new)

    def test_its_plan_says_what_comes_back_and_touches_nothing(self):
        with self.stack() as s:
            self.two(s)
            ids, kept, first = s.ids(), s.kept(), json.loads(s.run("history", "--json").out)[1]["id"]
            plan = self.rollback(s, "last", "--plan")
            self.assert_exit(plan, 0)
            self.assert_says(plan, f"web compose:{s.project}: bring back {s.project} as {first} started it")
            self.assert_silent(plan, "afterwards: start", f"compose:{s.project} (compose-up)")
            self.assertEqual((s.ids(), s.kept()), (ids, kept))

    def test_an_image_whose_tag_moved_comes_back_by_its_id_and_the_tag_with_it(self):
        with self.stack() as s:
            self.docker.run("tag", "local/web:1", "local/moving:latest")
            s.compose({"services": {"web": {**service(), "image": "local/moving:latest"}}})
            self.assert_exit(s.up(), 0)
            old = s.facts()
            self.docker.run("tag", "local/web:2", "local/moving:latest")
            self.assert_exit(s.up(), 0)
            self.assertNotEqual(s.facts(), old)
            self.docker.run("image", "prune", "-f")
            self.assert_exit(self.rollback(s), 0)
            self.assertEqual(s.facts(), old)
            one, two = (self.docker.inspect(n)[0]["Id"] for n in ("local/moving:latest", "local/web:1"))
            self.assertEqual(one, two)

    def test_what_was_started_by_hand_comes_back_too_also_when_only_two_are_kept(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(environment={"MODE": "by hand"}, scale=2)}})
            self.docker.compose(s.project, "up", "-d", cwd=s.home)
            before = s.facts()
            for version in ("2", "3"):
                s.compose({"services": {"web": service(version)}}, "new.yml")
                self.assert_exit(s.up(files=["new.yml"], keep=2), 0)
                if version == "2":
                    self.assert_exit(self.rollback(s), 0)
                    self.assertEqual(s.facts(), before)

    def test_a_newer_version_that_loops_in_crashes_is_no_reason_to_stay(self):
        with self.stack() as s:
            s.compose({"services": {"web": service()}})
            self.assert_exit(s.up(), 0)
            old = s.facts()
            s.compose({"services": {"web": service("2", command=["sh", "-c", "test ! -e /tmp/ill || exit 3; sleep 100000"], restart="always")}})
            self.assert_exit(s.up(), 0)
            (ill,) = s.containers()["web"]
            self.docker.run("exec", ill["Id"], "touch", "/tmp/ill")
            self.docker.run("restart", "-t", "0", ill["Id"], check=False)
            self.assert_exit(self.rollback(s), 0)
            self.assertEqual(s.facts(), old)

    def test_a_container_that_somebody_else_configured_is_told_and_overwritten_when_that_is_asked_for(self):
        with self.stack() as s:
            old, _ = self.two(s)
            s.compose({"services": {"web": service("3", environment={"V": "by hand"})}}, "other.yml")
            self.docker.compose(s.project, "-f", "other.yml", "up", "-d", "--remove-orphans", cwd=s.home)
            ids = s.ids()
            refused = self.rollback(s)
            self.assert_exit(refused, 2)
            self.assert_says(refused, "is not as that deployment left it", "--force")
            self.assertEqual(s.ids(), ids)
            self.assert_exit(self.rollback(s, "last", "--force"), 0)
            self.assertEqual(s.facts(), old)

    def test_nothing_that_ran_before_is_told_with_the_way_out(self):
        with self.stack() as s:
            s.compose({"services": {"web": service()}})
            self.assert_exit(s.up(), 0)
            ids = s.ids()
            refused = self.rollback(s)
            self.assert_exit(refused, 2)
            self.assert_says(refused, "nothing ran before that deployment", "docker compose --project-name " + s.project + " down")
            self.assertEqual(s.ids(), ids)

    def test_a_configuration_or_an_image_that_is_not_there_any_more_refuses_it_before_anything_stops(self):
        with self.stack() as s:
            s.compose({"services": {"web": service()}})
            self.assert_exit(s.up(), 0)
            s.compose({"services": {"web": service("2")}})
            self.assert_exit(s.up(keep=1), 0)
            ids = s.ids()
            refused = self.rollback(s)
            self.assert_exit(refused, 2)
            self.assert_says(refused, "is not kept any more", "deploy the commit of before")
            self.assertEqual(s.ids(), ids)

    def test_what_has_no_way_back_is_named_and_the_rest_goes(self):
        with self.stack() as s:
            conf = {"run": {"command": ["sh", "-c", f"printf new > {s.path('app.conf')}"], "undo": "none"}}
            s.compose({"services": {"web": service()}})
            self.assert_exit(s.up(), 0)
            old = s.facts()
            s.compose({"services": {"web": service("2")}})
            self.assert_exit(s.deploy(s.document(steps=[conf, s.step()]), timeout=240), 0)
            done = self.rollback(s)
            self.assert_exit(done, 0)
            self.assert_says(done, f"not taken back: what `sh -c 'printf new > {s.path('app.conf')}'")
            self.assertEqual(s.facts(), old)
            self.assertEqual(s.read("app.conf"), b"new")

    def test_killed_behind_the_records_around_the_change_it_is_back_where_it_was_or_whole(self):
        with self.stack() as s:
            old, new = self.two(s)
            second, counter = s.last()["id"], s.path("records")
            self.assert_exit(self.rollback(s, env={"DAVIT_TEST_RECORDS": counter}), 0)
            if not os.path.exists(counter):
                self.skipTest("built without test hooks")
            with open(counter, encoding="ascii") as f:
                records = len(f.read())
            self.assert_exit(s.up(), 0)
            second, ends = s.last()["id"], set()
            for at in range(records // 2, records + 1):
                killed = self.rollback(s, second, env={"DAVIT_TEST_KILL_AT": str(at)})
                recovered = s.run("recover", timeout=240)
                self.assertIn(recovered.code, (0, 1), repr(killed) + repr(recovered))
                state = s.last()["state"]
                self.assertEqual(s.facts(), old if state == "committed" else new, f"{at}: {state}: {recovered!r}")
                self.assert_decided(s, state)
                ends.add(state)
                if state == "committed":
                    break
            self.assertEqual(ends, {"undone", "committed"})

    def test_killed_while_containers_are_replaced_recover_runs_the_newer_version_again_and_the_next_rollback_ends(self):
        with self.stack() as s:
            old, new = self.two(s, command=STUBBORN, stop_signal="SIGTERM", stop_grace_period="20s")
            second = s.last()["id"]
            p = s.begin_command("rollback", second)
            until(lambda: any(c["State"]["Status"] == "created" for l in s.containers().values() for c in l))
            os.killpg(p.pid, signal.SIGKILL)
            p.communicate()
            self.assert_exit(s.run("recover", timeout=240), 0)
            self.assertEqual(s.facts(), new)
            self.assert_decided(s, "undone")
            self.assert_exit(self.rollback(s, second), 0)
            self.assertEqual(s.facts(), old)


if __name__ == "__main__":
    main()
