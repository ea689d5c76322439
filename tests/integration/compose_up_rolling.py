#!/usr/bin/env python3
"""compose-up with `strategy: rolling`: a service is replaced behind nginx while a client asks it without a pause, and no request is lost."""
import os
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.proxied import NGINX, Client, Proxy, answers, web  # noqa: E402
from harness.stack import StackCase, main, service, until  # noqa: E402
from servers.sshd import free_port  # noqa: E402

FAILS = {"run": {"command": ["false"], "undo": "none"}}
REQUESTS = int(os.environ.get("ROLLING_REQUESTS", "3000"))

@unittest.skipUnless(os.path.exists(NGINX), "nginx is missing")
class Rolling(StackCase):
    def rolling(self, s, proxy, *more, **inputs):
        return s.up(*more, strategy="rolling", routed=["sh", proxy.route], drain="1s", **inputs)

    def begin(self, s, proxy, scale=2):
        s.compose({"services": {"web": web("1", scale=scale), "db": service(volumes=["data:/data"])}, "volumes": {"data": {}}})
        self.assert_exit(s.up(), 0)
        subprocess.run(["sh", proxy.route], check=True)
        until(lambda: answers(proxy.port))

    def test_no_request_is_lost_while_a_service_is_replaced_behind_nginx(self):
        with self.stack() as s, Proxy(s) as proxy:
            self.begin(s, proxy)
            db = s.ids()["db"]
            s.compose({"services": {"web": web("2", scale=2), "db": service(volumes=["data:/data"])}, "volumes": {"data": {}}})
            client = Client(proxy.port)
            client.start()
            result = self.rolling(s, proxy)
            while client.count < REQUESTS and client.is_alive():
                time.sleep(0.05)
            client.over.set()
            client.join()
            self.assert_exit(result, 0)
            print(f"{client.count} requests, {len(client.lost)} lost", file=sys.stderr)
            self.assertEqual(client.lost, [])
            self.assertGreaterEqual(client.count, REQUESTS)
            self.assertEqual(client.versions, ["version 1", "version 2"])
            self.assertEqual(s.ids()["db"], db)
            self.assertEqual(len(s.containers()["web"]), 2)
            self.assert_says(result, "in place of")

    def test_a_new_version_that_is_not_healthy_never_stops_the_old_one(self):
        with self.stack() as s, Proxy(s) as proxy:
            self.begin(s, proxy)
            before, facts = s.ids(), s.facts()
            broken = web("2", scale=2)
            broken["healthcheck"] = {"test": ["CMD", "false"], "interval": "1s", "retries": 2, "timeout": "1s"}
            s.compose({"services": {"web": broken, "db": service(volumes=["data:/data"])}, "volumes": {"data": {}}})
            client = Client(proxy.port, 0.02)
            client.start()
            result = self.rolling(s, proxy)
            client.over.set()
            client.join()
            self.assert_exit(result, 1)
            self.assert_says(result, "is unhealthy")
            self.assertEqual((s.ids(), s.facts()), (before, facts), "the very containers run on")
            self.assertEqual((client.lost, client.versions), ([], ["version 1"]))

    def test_what_never_stopped_is_not_made_anew_when_what_it_depends_on_is_taken_back(self):
        """Compose makes all anew that depends on what it makes anew."""
        with self.stack() as s, Proxy(s) as proxy:
            def stack(version, **more):
                after = {"depends_on": {"migrate": {"condition": "service_completed_successfully"}}}
                return {"services": {"web": {**web(version, scale=2, **after), **more}, "worker": service(version, **after),
                                     "migrate": {"image": f"local/web:{version}", "command": ["true"]},
                                     "front": service(depends_on={"web": {"condition": "service_healthy"}})}}
            s.compose(stack("1"))
            self.assert_exit(s.up(), 0)
            subprocess.run(["sh", proxy.route], check=True)
            until(lambda: answers(proxy.port))
            before, facts = s.ids(), s.facts()
            s.compose(stack("2", command=["false"], restart="always"))
            client = Client(proxy.port, 0.02)
            client.start()
            result = self.rolling(s, proxy, roll=["web"])
            client.over.set()
            client.join()
            self.assert_exit(result, 1)
            self.assertEqual(s.facts(), facts)
            self.assertEqual({n: s.ids()[n] for n in ("web", "front")}, {n: before[n] for n in ("web", "front")})
            self.assertEqual((client.lost, client.versions), ([], ["version 1"]))

    def test_a_failure_behind_it_brings_the_former_version_back(self):
        with self.stack() as s, Proxy(s) as proxy:
            self.begin(s, proxy)
            facts, before = s.facts(), [i for i, _ in s.ids()["web"]]
            s.compose({"services": {"web": web("2", scale=2), "db": service(volumes=["data:/data"])}, "volumes": {"data": {}}})
            client = Client(proxy.port, 0.02)
            client.start()
            self.assert_exit(self.rolling(s, proxy, FAILS), 1)
            seen = client.count
            until(lambda: client.count > seen + 20)
            client.over.set()
            client.join()
            self.assertEqual(s.facts(), facts)
            self.assertEqual([i for i, _ in s.ids()["web"]], before, "the former containers were kept, and started again")
            self.assertEqual((client.lost, client.versions), ([], ["version 1", "version 2"]))

    def test_killed_while_both_run_it_is_taken_back(self):
        with self.stack() as s, Proxy(s) as proxy:
            self.begin(s, proxy)
            facts = s.facts()
            s.compose({"services": {"web": web("2", scale=2), "db": service(volumes=["data:/data"])}, "volumes": {"data": {}}})
            p = s.begin(strategy="rolling", routed=["sh", proxy.route], drain="60s")
            until(lambda: "VERSION=2" in str([c["Config"]["Env"] for c in s.containers().get("web", []) if c["State"]["Running"]]))
            os.killpg(p.pid, signal.SIGKILL)
            p.communicate()
            result = s.run("recover", timeout=240)
            self.assert_exit(result, 0)
            self.assertEqual((s.last()["state"], s.facts()), ("undone", facts))
            self.assert_exit(self.rolling(s, proxy), 0)

    def test_migrations_run_once_and_before_the_first_new_container(self):
        with self.stack() as s, Proxy(s) as proxy:
            after = {"depends_on": {"migrate": {"condition": "service_completed_successfully"}}}

            def stack(version):
                log = f"date +%s%N >>/log/{version}"
                return {"services": {"web": web(version, **after), "migrate": {"image": "local/tool:1", "command": ["sh", "-c", log],
                                                                               "volumes": [s.path("log") + ":/log"]}}}
            os.mkdir(s.path("log"))
            s.compose(stack("1"))
            self.assert_exit(s.up(), 0)
            s.compose(stack("2"))
            self.assert_exit(self.rolling(s, proxy), 0)
            self.assertEqual({n: len(s.read("log", n).splitlines()) for n in ("1", "2")}, {"1": 1, "2": 1})

    def test_what_cannot_have_two_containers_is_refused_when_it_is_named_and_replaced_otherwise(self):
        with self.stack() as s, Proxy(s) as proxy:
            s.compose({"services": {"web": web("1", ports=[f"127.0.0.1:{free_port()}:80"]), "named": service(container_name="davit-named")}})
            self.assert_exit(s.up(), 0)
            before = s.ids()
            result = self.rolling(s, proxy, roll=["web", "named", "nowhere"])
            self.assert_exit(result, 2)
            self.assert_says(result, "'web' cannot roll: it publishes a port of the host", "'named' cannot roll: it has a `container_name`",
                             "'nowhere' cannot roll: it is not a service")
            self.assertEqual(s.ids(), before)
            s.compose({"services": {"web": web("1"), "named": service("2", container_name="davit-named")}})
            self.assert_exit(self.rolling(s, proxy), 0)
            self.assertIn("VERSION=2", s.containers()["named"][0]["Config"]["Env"])


if __name__ == "__main__":
    main()
