#!/usr/bin/env python3
"""compose-up with `strategy: rolling`: a service is replaced behind nginx while a client asks it without a pause, and no request is lost."""
import http.client
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.stack import StackCase, service, until  # noqa: E402
from harness.trial import main  # noqa: E402
from servers.sshd import free_port  # noqa: E402

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
FAILS = {"run": {"command": ["false"], "undo": "none"}}
REQUESTS = int(os.environ.get("ROLLING_REQUESTS", "3000"))

# What a team would write: the containers that run, but not the one that is about to go, become nginx's upstream.
ROUTE = """set -eu
export DOCKER_HOST={host}
for id in $(docker ps -q --filter label=com.docker.compose.project={project} --filter label=com.docker.compose.service=web); do
  docker inspect --format '{{{{.Name}}}} {{{{range .NetworkSettings.Networks}}}}{{{{.IPAddress}}}}{{{{end}}}}' "$id"
done | while read -r name ip; do
  [ "$name" = "/${{DAVIT_OLD:-}}" ] || echo "server $ip:80 max_fails=0;"
done >{dir}/upstream.new
test -s {dir}/upstream.new
mv {dir}/upstream.new {dir}/upstream.conf
{nginx} -c {dir}/nginx.conf -s reload
"""


def web(version, **more):
    serve = f"mkdir -p /tmp/www; echo version {version} >/tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www"
    return service(version, command=["sh", "-c", serve], healthcheck={"test": ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"],
                                                                      "interval": "1s", "timeout": "2s"}, **more)


class Proxy:
    """nginx on this machine."""

    def __init__(self, s):
        self.dir, self.port = s.path("nginx"), free_port()
        os.makedirs(self.dir)
        temporary = "".join(f"{kind}_temp_path {self.dir}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        self.write("nginx.conf", f"pid {self.dir}/pid; error_log {self.dir}/error.log; worker_processes 1; user root;\n"
                   "events { worker_connections 256; }\n"
                   f"http {{ access_log off; {temporary} upstream web {{ include {self.dir}/upstream.conf; }}\n"
                   f"  server {{ listen 127.0.0.1:{self.port}; location / {{ proxy_pass http://web; proxy_connect_timeout 2s; "
                   "proxy_next_upstream off; } } }\n")
        self.route = s.path("route.sh")
        s.write("route.sh", ROUTE.format(host=s.docker.host, project=s.project, dir=self.dir, nginx=NGINX).encode())

    def write(self, name, text):
        with open(os.path.join(self.dir, name), "w", encoding="ascii") as f:
            f.write(text)

    def __enter__(self):
        self.write("upstream.conf", "server 127.0.0.1:1;")
        subprocess.run([NGINX, "-c", self.dir + "/nginx.conf"], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run([NGINX, "-c", self.dir + "/nginx.conf", "-s", "quit"], check=False, stderr=subprocess.DEVNULL)


def answers(port, times=30):
    """A reload takes its time, and for a moment the old worker takes requests beside the new one."""
    for _ in range(times):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/")
        status = connection.getresponse().status
        connection.close()
        if status != 200:
            return False
    return True


class Client(threading.Thread):
    """Asks at an even pace until it is told to stop; what went wrong, and which versions answered."""

    def __init__(self, port, pause=0.004):
        super().__init__(daemon=True)
        self.port, self.pause, self.lost, self.versions, self.count, self.over = port, pause, [], [], 0, threading.Event()

    def run(self):
        while not self.over.is_set():
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("GET", "/")
                reply = connection.getresponse()
                text = reply.read().decode().strip()
                if reply.status != 200:
                    self.lost.append(reply.status)
                elif text not in self.versions:
                    self.versions.append(text)
                connection.close()
            except OSError as reason:
                self.lost.append(repr(reason))
            self.count += 1
            time.sleep(self.pause)


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
            facts = s.facts()
            s.compose({"services": {"web": web("2", scale=2), "db": service(volumes=["data:/data"])}, "volumes": {"data": {}}})
            self.assert_exit(self.rolling(s, proxy, FAILS), 1)
            self.assertEqual(s.facts(), facts)
            client = Client(proxy.port, 0)
            client.start()
            while client.count < 20:
                time.sleep(0.01)
            client.over.set()
            client.join()
            self.assertEqual((client.lost, client.versions), ([], ["version 1"]))

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
