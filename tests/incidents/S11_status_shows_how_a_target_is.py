#!/usr/bin/env python3
"""S11: monitoring meant logging in and typing commands."""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from harness.waiting import until  # noqa: E402
from servers import nginx  # noqa: E402
from servers.bare import Bare  # noqa: E402
from servers.docker import Docker, _busybox  # noqa: E402
from servers.nginx import Authority, Nginx  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

WHY_NOT, HIDING = Docker.why_not(), Bare.why_not()
TLS = "server { listen 127.0.0.1:{tls} ssl; ssl_certificate {dir}/shop.pem; ssl_certificate_key {dir}/shop.key; return 200; }"
STACK = """services:
  web: { image: "local/web:1", network_mode: none }
  sick:
    image: local/web:1
    network_mode: none
    command: [sh, -c, "echo ready; exec sleep 1000"]
    healthcheck: { test: [CMD, sh, -c, "echo no database; false"], interval: 100ms, timeout: 5s, retries: 1, start_period: 0s }
"""


def on(environment):
    """An SSH server whose sessions have these variables."""
    return Sshd(options=["SetEnv SHLVL=9 " + " ".join(f"{k}={v}" for k, v in environment.items())])


class Status(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())

    def key(self, server):
        with open(server.key, encoding="ascii") as f:
            return {"KEY": f.read()}

    def target(self, server):
        entry = server.target()
        entry["ssh"]["key"] = "${{ secrets.KEY }}"
        return entry

    def ask(self, server, *words, json_wanted=True):
        return self.t.run("status", *words, *(["--json"] if json_wanted else []), "--secret", "KEY", env=self.key(server))

    def one(self, result):
        self.assert_exit(result, 0)
        [deployment] = json.loads(result.out)
        [target] = deployment["targets"]
        return target

    def deploy(self, server, keeps_data=True):
        os.makedirs(os.path.join(self.t.src, "site"), exist_ok=True)
        with open(os.path.join(self.t.src, "site", "index.html"), "w", encoding="ascii") as f:
            f.write("hello")
        with open(self.t.path("orders"), "w", encoding="ascii") as f:
            f.write("1")
        upload = {"archive-upload": {"source": "site", "path": self.t.path("app")}}
        snapshot = {"snapshot": {"files": {"paths": [self.t.path("orders")]}}}
        result = self.t.deploy({"targets": {"web": self.target(server)}, "steps": [*([snapshot] if keeps_data else []), upload]}, secrets=self.key(server))
        self.assert_exit(result, 0)
        return os.path.basename(os.readlink(self.t.path("app/current")))

    @unittest.skipIf(WHY_NOT, WHY_NOT)
    def test_services_resources_and_what_was_released_are_shown_and_the_target_stays_as_it_is(self):
        with Docker() as d, on({"DOCKER_HOST": d.host, "DOCKER_CONFIG": d.config}) as server:
            d.image("local/web:1")
            d.run("run", "-d", "--network", "none", "--name", "loop", "--restart", "always", "local/web:1",
                  "sh", "-c", r"printf 'no config \033[31m\n::error::x\n'; exit 7")
            with open(os.path.join(self.t.src, "compose.yml"), "w", encoding="ascii") as f:
                f.write(STACK)
            release = self.deploy(server)
            d.compose("shop", "-f", os.path.join(self.t.src, "compose.yml"), "up", "-d")
            until(lambda: d.inspect("shop-sick-1")[0]["State"]["Health"]["Status"] == "unhealthy")
            until(lambda: d.inspect("loop")[0]["RestartCount"] > 0)
            before = {path: os.lstat(path).st_mtime_ns for path, _ in self.t.files_of(self.t.base, self.t.target_dir)}
            target = self.one(self.ask(server, "web"))
            self.assertEqual(before, {path: os.lstat(path).st_mtime_ns for path, _ in self.t.files_of(self.t.base, self.t.target_dir)})
            found = {c["name"]: c for c in target["containers"]}
            self.assertEqual((found["shop-web-1"]["well"], found["shop-web-1"]["project"], found["shop-web-1"]["service"]), (True, "shop", "web"))
            self.assertEqual((found["shop-sick-1"]["well"], found["shop-sick-1"]["health"]), (False, "unhealthy"))
            self.assertEqual((found["shop-sick-1"]["probe"], found["shop-sick-1"]["log"]), ("no database", ["ready"]))
            self.assertFalse(found["loop"]["well"])
            self.assertIn("::error::x", found["loop"]["log"])
            self.assertGreater(found["loop"]["restarts"], 0)
            self.assertNotIn("log", found["shop-web-1"])
            self.assertEqual(found["shop-web-1"]["image"], d.inspect("local/web:1")[0]["Id"])
            self.assertEqual([r["release"] for r in target["paths"][0]["releases"] if r["current"]], [release])
            self.assertEqual([s["deployment"] for s in target["snapshots"]], [release])
            self.assertIsNone(target["lock"])
            self.assertTrue({"load", "memory", "disks", "uptime_s", "cpus"} <= target.keys(), target.keys())
            shown = self.ask(server, "--file", "deploy.yml", json_wanted=False)
            self.assert_exit(shown, 0)
            self.assert_says(shown, "project shop", "! sick", "running, unhealthy", "its health check says: no database", "| ready", release, r"\x1b[31m")
            self.assert_silent(shown, "\x1b[31m")
            d.stop()
            gone = self.ask(server, json_wanted=False)
            self.assert_exit(gone, 0)
            self.assert_says(gone, "the engine does not answer", "Cannot connect to the Docker daemon", release)

    @unittest.skipIf(HIDING or _busybox() is None, HIDING or "busybox-static is missing")
    def test_a_busybox_without_an_engine_is_shown_as_far_as_it_goes(self):
        programs = os.path.join(self.t.dir, "programs")
        os.mkdir(programs)
        subprocess.run([_busybox(), "--install", "-s", programs], check=True)
        with Bare("docker", "timeout", "df", "stat", "nproc", options=["SetEnv SHLVL=9 PATH=" + programs]) as server:
            release = self.deploy(server, keeps_data=False)
            target = self.one(self.ask(server))
            self.assertEqual(target["docker"], {"state": "none"})
            self.assertTrue({"load", "memory", "disks", "cpus"} <= target.keys(), target)
            self.assertEqual(target["paths"][0]["current"], release)
            self.assertNotIn("unexpected", target)
            self.assertNotIn("incomplete", target)

    @unittest.skipIf(nginx.lacking(), nginx.lacking())
    def test_the_certificates_that_the_gates_watch_are_shown_from_the_file_and_from_the_journal(self):
        with on({}) as server, Nginx(TLS, lambda web: Authority(web.dir).sign("shop", ["shop.example", "www.shop.example"], 20)) as web:
            with open(os.path.join(web.dir, "ca.pem"), encoding="ascii") as f:
                authority = f.read()
            address = f"127.0.0.1:{web.port['tls']}"
            # A number that only the gate needs is no secret that the look needs.
            checks = [{"tls": {"address": address, "server_name": "shop.example", "ca": authority}},
                      {"tls": {"address": address, "server_name": "shop.example"}},
                      {"tls": {"address": address, "server_name": "other.example", "verify": False}},
                      {"http": "http://${{ secrets.UNKNOWN }}/"}]
            gate = {"health-gate": {"deadline": "3s", "checks": [checks[0]]}}
            self.assert_exit(self.t.deploy({"targets": {"web": self.target(server)}, "steps": [{"run": {"command": ["true"], "undo": "none"}}, gate]},
                                           secrets=self.key(server)), 0)
            [good] = json.loads(self.ask(server).out)[0]["certificates"]
            self.assertEqual((good["names"], good.get("problem")), ("shop.example, www.shop.example", None))
            self.assertIn(good["days"], (19, 20))
            gate["health-gate"]["checks"] = checks
            with open(os.path.join(self.t.src, "watched.yml"), "w", encoding="ascii") as f:
                json.dump({"name": "shop", "environment": "test", "targets": {"web": self.target(server)}, "steps": [gate]}, f)
            result = self.ask(server, "--file", "watched.yml")
            self.assert_exit(result, 0)
            [good, untrusted, other] = json.loads(result.out)[0]["certificates"]
            self.assertNotIn("problem", good)
            self.assertEqual(untrusted["issuer"], good["issuer"])
            self.assertIn("problem", untrusted)
            self.assertEqual(other["problem"], "it is for another name")
            shown = self.ask(server, "--file", "watched.yml", json_wanted=False)
            self.assert_says(shown, "certificates", address, " days left, shop.example, www.shop.example, from")

    def test_a_deployment_that_was_left_open_is_shown_with_its_owner(self):
        with on({}) as server:
            held = self.t.deploy({"targets": {"web": self.target(server)}, "on_failure": "hold",
                                  "steps": [{"run": {"command": ["false"], "undo": "none"}}]}, secrets=self.key(server))
            self.assert_exit(held, 4)
            target = self.one(self.ask(server, "--file", "deploy.yml"))
            [left] = target["open"]
            self.assertEqual((left["scope"], target["lock"]["deployment"]), ("shop.test", left["deployment"]))
            self.assertNotIn("token", left)
            self.assert_says(self.ask(server, "--file", "deploy.yml", json_wanted=False), "shop.test", left["deployment"])

    def test_one_that_is_out_of_reach_is_said_beside_the_others(self):
        with on({}) as server, on({}) as gone:
            targets = {"web": self.target(server), "far": {**self.target(gone), "base": os.path.join(self.t.dir, "far")}}
            steps = [{"run": {"command": ["true"], "undo": "none", "target": ["web", "far"]}}]
            for entry in targets.values():
                with open(gone.key + ".pub", encoding="ascii") as f, open(server._path("authorized_keys"), "a", encoding="ascii") as keys:
                    keys.write(f.read())
            self.assert_exit(self.t.deploy({"targets": targets, "steps": steps}, secrets=self.key(gone)), 0)
            gone.stop()
            result = self.ask(gone)
            self.assert_exit(result, 4)
            far, web = sorted(json.loads(result.out)[0]["targets"], key=lambda t: t["name"])
            self.assertIn("error", far)
            self.assertIn("load", web)
            self.assert_exit(self.ask(gone, "web"), 0)
            wrong = self.ask(gone, "wob", json_wanted=False)
            self.assert_exit(wrong, 2)
            self.assert_says(wrong, "no target is called 'wob'", "there are:", "web", "far")

    def test_what_a_hostile_host_says_is_bounded_and_steers_no_terminal(self):
        programs = os.path.join(self.t.dir, "programs")
        os.mkdir(programs)
        with open(os.path.join(programs, "docker"), "w", encoding="ascii") as f:
            f.write("#!/bin/sh\ncase $1 in ps) printf '%064d\\n' 1;;\n"
                    "inspect) printf 'container {\"id\":\"\\\\u001b[2J\",\"name\":\"\\\\u202e/\",\"state\":{\"Status\":\"\\\\u0007\"}}\\nend\\n';"
                    " yes 'container {' | head -n 2000000;;\nesac\n")
        os.chmod(f.name, 0o755)
        with on({"PATH": programs + ":" + os.environ["PATH"]}) as server:
            self.deploy(server)
            result = self.ask(server, json_wanted=False)
            self.assert_exit(result, 0)
            for sequence in ("\x1b", "\x07", "\u202e"):
                self.assertNotIn(sequence, result.text)
            self.assertLess(len(result.out), 20000)
            self.assert_says(result, "lines of its answer are none that were asked for")


if __name__ == "__main__":
    main()
