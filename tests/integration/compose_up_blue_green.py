#!/usr/bin/env python3
"""compose-up with `strategy: blue-green`: the new containers stand beside the old ones until the deployment is committed; behind nginx and Caddy."""
import json
import os
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.proxied import CADDY, NGINX, Caddy, Client, Proxy, answers, web  # noqa: E402
from harness.stack import StackCase, main, service, until  # noqa: E402

FAILS = {"run": {"command": ["false"], "undo": "none"}}
HOOKS = os.environ.get("DAVIT_TEST_HOOKS", "1") != "0"


class BlueGreen(StackCase):
    def begin(self, s, proxy):
        s.compose({"services": {"web": web("1", scale=2), "db": service()}})
        self.assert_exit(s.up(), 0)
        subprocess.run(["sh", proxy.route], check=True)
        until(lambda: answers(proxy.port))
        s.compose({"services": {"web": web("2", scale=2), "db": service()}})

    def up(self, s, proxy, *more, **inputs):
        return s.up(*more, strategy="blue-green", routed=["sh", proxy.route], **inputs)

    def look(self, s):
        """A step behind it that writes down how many of each version run."""
        script = f"docker ps -q --filter label=com.docker.compose.project={s.project} | xargs docker inspect --format '{{{{.Config.Image}}}}' >{s.path('seen')}"
        return {"run": {"command": ["sh", "-c", script], "env": {"DOCKER_HOST": self.docker.host}, "undo": "none"}}

    @unittest.skipUnless(os.path.exists(NGINX), "nginx is missing")
    def test_both_stand_until_the_commit_and_no_request_is_lost(self):
        with self.stack() as s, Proxy(s) as proxy:
            self.begin(s, proxy)
            db = s.ids()["db"]
            with Client(proxy.port, 0.01) as client:
                result = self.up(s, proxy, self.look(s))
                client.wait_for(30)
            self.assert_exit(result, 0)
            self.assert_says(result, "2 new beside 2 former ones", "removed 2 former containers")
            self.assertEqual(sorted(s.read("seen").decode().split()), ["local/web:1"] * 3 + ["local/web:2"] * 2)
            self.assertEqual((client.lost, client.versions), ([], ["version 1", "version 2"]))
            self.assertEqual(s.image_of("web"), [self.docker.inspect("local/web:2")[0]["Id"]] * 2)
            self.assertEqual(s.ids()["db"], db)
            again = self.up(s, proxy)
            self.assert_says(again, "nothing to change")

    @unittest.skipUnless(os.path.exists(NGINX), "nginx is missing")
    def test_a_failure_behind_it_gives_the_requests_back_to_containers_that_never_stopped(self):
        with self.stack() as s, Proxy(s) as proxy:
            self.begin(s, proxy)
            before, facts = s.ids(), s.facts()
            with Client(proxy.port, 0.01) as client:
                result = self.up(s, proxy, FAILS)
                client.wait_for(30)
            self.assert_exit(result, 1)
            self.assertEqual((s.ids(), s.facts()), (before, facts))
            self.assertEqual((client.lost, client.versions), ([], ["version 1", "version 2"]))

    def deploy_killed(self, s, document, at):
        """Version 2 behind version 1. A busy engine may still be at work on version 1 between the plan and the first change: that is taken
        back before the moment comes, and begun again."""
        for _ in range(3):
            s.compose({"services": {"web": web("1", scale=2), "db": service()}})
            self.assert_exit(s.up(), 0)
            s.compose({"services": {"web": web("2", scale=2), "db": service()}})
            killed = s.deploy(document, env={"DAVIT_TEST_KILL_AT": str(at)}, timeout=240)
            if killed.code in (-signal.SIGKILL, 0):
                break
        return killed

    @unittest.skipUnless(os.path.exists(NGINX) and HOOKS, "nginx is missing, or built without test hooks")
    def test_killed_around_the_commit_it_is_taken_back_or_whole_and_nothing_is_left_standing(self):
        with self.stack() as s, Proxy(s) as proxy:
            self.begin(s, proxy)
            old, counter = s.facts(), s.path("records")
            document = s.document(strategy="blue-green")
            self.assert_exit(s.deploy(document, env={"DAVIT_TEST_RECORDS": counter}, timeout=240), 0)
            new, ends = s.facts(), set()
            with open(counter, encoding="ascii") as f:
                at = len(f.read())
            # A busy engine is asked more often, and each answer is a record: the commit may be a few of them away, in either direction.
            for _ in range(8):
                killed = self.deploy_killed(s, document, at)
                self.assertIn(killed.code, (-signal.SIGKILL, 0), killed)
                s.run("recover", timeout=240)
                state = s.last()["state"]
                self.assertEqual(s.facts(), new if state == "committed" else old, f"{at}: {state}")
                ends.add(state)
                if len(ends) == 2:
                    break
                at += 1 if state == "undone" else -1
            self.assertIn("committed", ends)

    def test_what_an_earlier_one_could_not_remove_is_removed_by_the_next(self):
        with self.stack() as s:
            s.compose({"services": {"web": service()}})
            self.assert_exit(s.up(), 0)
            labels = {**s.containers()["web"][0]["Config"]["Labels"], "com.docker.compose.config-hash": "0" * 64}
            words = [w for name, value in labels.items() for w in ("--label", f"{name}={value}")]
            left = self.docker.run("create", "--network", "none", *words, "local/web:3").strip()
            before = s.facts()
            self.assert_exit(s.up(), 2)
            current = os.path.join(s.base, "compose", s.project, "current")
            with open(current, encoding="utf-8") as f:
                kept = json.load(f)
            kept["x-davit"]["standing"] = [left]
            with open(current, "w", encoding="utf-8") as f:
                json.dump(kept, f)
            self.assert_exit(s.up(FAILS), 1)
            self.assert_exit(s.up(), 0)
            self.assertNotEqual(s.facts(), before)
            self.assertEqual(s.image_of("web"), [self.docker.inspect("local/web:1")[0]["Id"]])

    def test_a_gate_behind_it_does_not_mind_the_former_containers_that_stand_still(self):
        with self.stack() as s:
            check = {"compose": {"project": s.project}, "env": {"DOCKER_HOST": self.docker.host}, "settle": "500ms", "interval": "200ms"}
            gate = {"health-gate": {"deadline": "20s", "checks": [check]}}
            s.compose({"services": {"web": service()}})
            self.assert_exit(s.up(), 0)
            s.compose({"services": {"web": service("2")}})
            self.assert_exit(s.up(gate, strategy="rolling", drain="0s"), 0)

    def test_new_containers_that_die_before_the_gate_fail_it_and_the_former_ones_stay(self):
        with self.stack() as s:
            s.compose({"services": {"web": service()}})
            self.assert_exit(s.up(), 0)
            before, env = s.ids(), {"DOCKER_HOST": self.docker.host}
            # Of this project alone: the other tests have containers of the same image in this engine.
            of_it = f"--filter label=com.docker.compose.project={s.project} --filter ancestor=local/web:2"
            kill = {"run": {"command": ["sh", "-c", f"docker ps -q {of_it} | xargs docker kill"], "env": env, "undo": "none"}}
            gate = {"health-gate": {"deadline": "5s", "checks": [{"compose": {"project": s.project, "services": ["web"]}, "env": env, "settle": "200ms"}]}}
            s.compose({"services": {"web": service("2")}})
            result = s.up(kill, gate, strategy="blue-green")
            self.assert_exit(result, 1)
            self.assert_says(result, "web is exited (exit code 137)", "web does not run")
            self.assertEqual(s.ids(), before)

    def test_a_service_that_depends_on_it_and_differs_too_is_refused(self):
        with self.stack() as s:
            def stack(version):
                return {"services": {"web": service(version), "front": service(version, container_name=s.project + "-front", depends_on=["web"])}}
            s.compose(stack("1"))
            self.assert_exit(s.up(), 0)
            ids = s.ids()
            s.compose(stack("2"))
            result = s.up(strategy="blue-green")
            self.assert_exit(result, 2)
            self.assert_says(result, "'front' differs too", "deployed by itself first")
            self.assertEqual(s.ids(), ids)

    def test_a_new_service_that_depends_on_it_is_made_beside_the_former_ones(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(scale=2), "gone": service()}})
            self.assert_exit(s.up(), 0)
            before = s.ids()
            s.compose({"services": {"api": service("2"), "web": service("2", scale=2, depends_on=["api"]), "added": service("3", depends_on=["web"])}})
            self.assert_exit(s.up(self.look(s), FAILS, strategy="blue-green"), 1)
            self.assertEqual(sorted(s.read("seen").decode().split()), ["local/web:1"] * 2 + ["local/web:2"] * 3 + ["local/web:3"])
            self.assertEqual({n: [i for i, _ in l] for n, l in s.ids().items() if n == "web"}, {"web": [i for i, _ in before["web"]]})
            self.assert_exit(s.up(strategy="blue-green"), 0)
            self.assertEqual({n: len(l) for n, l in s.containers().items()}, {"api": 1, "web": 2, "added": 1})

    @unittest.skipUnless(CADDY, "caddy is missing")
    def test_caddy_is_asked_until_it_has_the_new_containers(self):
        with self.stack() as s, Caddy(s) as proxy:
            self.begin(s, proxy)
            with Client(proxy.port, 0.01) as client:
                result = self.up(s, proxy, behind=proxy.behind)
                client.wait_for(30)
            self.assert_exit(result, 0)
            self.assertEqual((client.lost, client.versions), ([], ["version 1", "version 2"]))

    @unittest.skipUnless(CADDY, "caddy is missing")
    def test_a_new_container_that_caddy_does_not_know_takes_no_old_ones_place(self):
        with self.stack() as s, Caddy(s) as proxy:
            self.begin(s, proxy)
            before = s.ids()
            for strategy in ("rolling", "blue-green"):
                result = s.up(strategy=strategy, behind=proxy.behind, timeout="8s")
                self.assert_exit(result, 1)
                self.assert_says(result, "caddy sends no requests to " + s.project + "-web-")
                self.assertEqual(s.ids(), before)
            refused = s.up(strategy="rolling", behind={"nginx": "http://127.0.0.1:1"})
            self.assert_exit(refused, 2)
            self.assert_says(refused, "'nginx' is not a proxy that can be asked")

    @unittest.skipUnless(CADDY, "caddy is missing")
    def test_caddy_is_asked_for_the_former_containers_too_before_an_undo_takes_the_new_ones(self):
        with self.stack() as s, Caddy(s) as proxy:
            self.begin(s, proxy)
            former = " ".join(c["Name"].lstrip("/") for c in s.containers()["web"])
            # Caddy has the new ones only, and nobody tells it otherwise any more.
            left = {"run": {"command": ["sh", "-c", f"sh {proxy.route}; echo 'exit 0' >{proxy.route}"], "env": {"DAVIT_OLD": former}, "undo": "none"}}
            result = self.up(s, proxy, left, FAILS, behind=proxy.behind, timeout="10s")
            self.assert_exit(result, 1)
            self.assert_says(result, "the requests do not go to the former containers first: caddy sends no requests to " + s.project + "-web-")


if __name__ == "__main__":
    main()
