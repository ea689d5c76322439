"""A service behind a proxy, and a client that counts what it loses."""
import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.stack import service, until  # noqa: E402
from servers.sshd import free_port  # noqa: E402

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
CADDY = shutil.which("caddy")

# What a team would write: the containers that run, but not those that are about to go, become nginx's upstream.
ROUTE = """set -eu
export DOCKER_HOST={host}
for id in $(docker ps -q --filter label=com.docker.compose.project={project} --filter label=com.docker.compose.service=web); do
  docker inspect --format '{{{{.Name}}}} {{{{range .NetworkSettings.Networks}}}}{{{{.IPAddress}}}}{{{{end}}}}' "$id"
done | while read -r name ip; do
  case " ${{DAVIT_OLD:-}} " in *" ${{name#/}} "*) ;; *) echo "server $ip:80 max_fails=0;" ;; esac
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


CADDY_ROUTE = """set -eu
export DOCKER_HOST={host}
for id in $(docker ps -q --filter label=com.docker.compose.project={project} --filter label=com.docker.compose.service=web); do
  docker inspect --format '{{{{.Name}}}} {{{{range .NetworkSettings.Networks}}}}{{{{.IPAddress}}}}{{{{end}}}}' "$id"
done | while read -r name ip; do
  case " ${{DAVIT_OLD:-}} " in *" ${{name#/}} "*) ;; *) printf '%s{{"dial":"%s:80"}}' "${{comma:-}}" "$ip"; comma=, ;; esac
done >{dir}/upstreams
echo "[$(cat {dir}/upstreams)]" | curl -sS --fail -X PATCH -H 'Content-Type: application/json' --data-binary @- \
  http://127.0.0.1:{admin}/config/apps/http/servers/s/routes/0/handle/0/upstreams
"""


class Caddy:
    """The same with Caddy, told by its admin interface."""

    def __init__(self, s):
        self.dir, self.port, self.admin = s.path("caddy"), free_port(), free_port()
        os.makedirs(self.dir)
        self.route = s.path("route.sh")
        self.behind = {"caddy": f"http://127.0.0.1:{self.admin}"}
        s.write("route.sh", CADDY_ROUTE.format(host=s.docker.host, project=s.project, dir=self.dir, admin=self.admin).encode())

    def __enter__(self):
        handle = {"handler": "reverse_proxy", "upstreams": [{"dial": "127.0.0.1:1"}]}
        server = {"listen": [f"127.0.0.1:{self.port}"], "automatic_https": {"disable": True}, "routes": [{"handle": [handle]}]}
        with open(os.path.join(self.dir, "caddy.json"), "w", encoding="ascii") as f:
            json.dump({"admin": {"listen": f"127.0.0.1:{self.admin}"}, "apps": {"http": {"servers": {"s": server}}}}, f)
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.process = subprocess.Popen([CADDY, "run", "--config", os.path.join(self.dir, "caddy.json")], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env={**os.environ, "HOME": self.dir, "XDG_DATA_HOME": self.dir, "XDG_CONFIG_HOME": self.dir})
        until(self.answers)
        return self

    def answers(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/config/", timeout=5) as reply:
                return reply.status == 200
        except OSError:
            return False

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)


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

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def wait_for(self, more):
        """So many requests from now on."""
        seen = self.count
        until(lambda: self.count > seen + more)
