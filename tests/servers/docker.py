#!/usr/bin/env python3
"""A Docker engine of a test's own, with Compose v2: its socket, its data and the command's configuration lie in one directory.

    from servers.docker import Docker
    why = Docker.why_not()                  # None, or what this machine lacks: then the test skips and says it
    with Docker() as d:
        d.host, d.config                    # DOCKER_HOST and DOCKER_CONFIG
        d.image("local/web:1", env={"V": "1"})
        d.run("ps", "-a")                   # the docker command, its output

The engine runs as root beside others, and touches neither the machine's packet filter, which they would fight for, nor the bridge docker0:
containers reach each other and this machine over the networks that their project makes, and nothing beyond. Each engine has addresses of its own:
engines look at the machine's routes for free ones, and two that look at once would take the same."""
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

PLUGINS = ("/usr/libexec/docker/cli-plugins", "/usr/lib/docker/cli-plugins", "/usr/local/lib/docker/cli-plugins")
CACHE = os.environ.get("DAVIT_TEST_COMPOSE", "/var/cache/davit-tests/docker-compose")
APPLETS = ("sh", "ls", "cat", "sleep", "wget", "httpd", "nc", "true", "false", "echo", "date", "kill", "touch", "rm", "test", "mkdir", "id", "tail", "env", "chown", "stat")


def compose_plugin():
    """The plugin of Compose v2 that this machine has; None."""
    home = os.path.expanduser("~/.docker/cli-plugins")
    for path in [CACHE, *(os.path.join(folder, "docker-compose") for folder in (home, *PLUGINS))]:
        if os.access(path, os.X_OK):
            return path
    return None


def _busybox():
    for path in ("/bin/busybox", "/usr/bin/busybox"):
        if os.path.exists(path) and b"statically linked" in subprocess.run(["file", "-L", path], capture_output=True, check=False).stdout:
            return path
    return None


class Docker:
    def __init__(self, disk=None):
        """disk: the size of a file system of its own for all that it keeps ("40m")."""
        self.folder = tempfile.mkdtemp(prefix="davit-docker-")
        self.host = "unix://" + self._path("d.sock")
        self.config = self._path("config")
        self.process = None
        number = int.from_bytes(os.urandom(2), "big") % 1024
        self.pool = f"100.{64 + number // 16}.{number % 16 * 16}.0/20"
        os.makedirs(os.path.join(self.config, "cli-plugins"))
        os.mkdir(self._path("data"))
        if disk:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={disk}", "davit-docker", self._path("data")], check=True)
        shutil.copy(compose_plugin(), os.path.join(self.config, "cli-plugins", "docker-compose"))

    def _path(self, name):
        return os.path.join(self.folder, name)

    @staticmethod
    def lacking():
        """What this machine lacks, or None; an engine may still not start."""
        if os.geteuid() != 0:
            return "a Docker engine needs root"
        for command in ("dockerd", "docker", "containerd", "iptables"):
            if shutil.which(command) is None and not os.path.exists("/usr/sbin/" + command):
                return f"{command} is missing"
        if compose_plugin() is None:
            return "Compose v2 is missing (cmake/packages.sh test brings it)"
        if _busybox() is None:
            return "busybox-static is missing"
        return None

    @staticmethod
    def why_not():
        """The same, and an engine has started once."""
        why = Docker.lacking()
        if why:
            return why
        try:
            with Docker():
                return None
        except RuntimeError as reason:
            return str(reason).splitlines()[0]

    def start(self):
        command = ["dockerd", "--data-root", self._path("data"), "--exec-root", self._path("exec"), "-H", self.host,
                   "-p", self._path("d.pid"), "--shutdown-timeout", "2",
                   "--iptables=false", "--ip6tables=false", "--bridge=none", "--default-address-pool", f"base={self.pool},size=26"]
        with open(self._path("log"), "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                            env={**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"})
        end = time.monotonic() + 40
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            if self._answers():
                return self
            time.sleep(0.05)
        self.stop()
        raise RuntimeError("dockerd does not start: " + self._last_line() + "\n" + self.log())

    def _answers(self):
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(5)
                s.connect(self._path("d.sock"))
                s.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return s.recv(100).split(b" ")[1:2] == [b"200"]
        except OSError:
            return False

    def log(self):
        with open(self._path("log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def _last_line(self):
        lines = self.log().strip().splitlines()
        return lines[-1][-300:] if lines else "it says nothing"

    def stop(self):
        """The engine goes, and its containers with it, as when its service is stopped."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def close(self):
        if self.process is not None and self._answers():
            ids = self.run("ps", "-aq", check=False).split()
            if ids:
                self.run("rm", "-f", *ids, check=False)
            for network in self.run("network", "ls", "-q", "--filter", "type=custom", check=False).split():
                self.run("network", "rm", network, check=False)
        self.stop()
        for mount in sorted(self._mounts(), reverse=True):
            subprocess.run(["umount", "-l", mount], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _mounts(self):
        with open("/proc/mounts", encoding="utf-8") as f:
            return [line.split()[1] for line in f if line.split()[1].startswith(self.folder + "/")]

    def __enter__(self):
        try:
            return self.start()
        except RuntimeError:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()

    def environment(self):
        return {**os.environ, "DOCKER_HOST": self.host, "DOCKER_CONFIG": self.config}

    def run(self, *words, check=True, data=None, cwd=None):
        result = subprocess.run(["docker", *words], input=data, capture_output=True, env=self.environment(), timeout=180, check=False,
                                cwd=cwd or self.folder)
        if check and result.returncode != 0:
            raise AssertionError(f"docker {' '.join(words)}: {result.stderr.decode()}")
        return result.stdout.decode("utf-8", "replace")

    def compose(self, project, *words, cwd=None, check=True):
        return self.run("compose", "-p", project, *words, cwd=cwd, check=check)

    def use_in_home(self, home):
        """The docker command of a user with that home directory speaks to this engine."""
        config = os.path.join(home, ".docker")
        os.makedirs(os.path.join(config, "cli-plugins"))
        os.symlink(os.path.join(self.config, "cli-plugins", "docker-compose"), os.path.join(config, "cli-plugins", "docker-compose"))
        for words in (("create", "test", "--docker", "host=" + self.host), ("use", "test")):
            subprocess.run(["docker", "--config", config, "context", *words], check=True, capture_output=True,
                           env={k: v for k, v in os.environ.items() if k != "DOCKER_HOST"})

    def image(self, name, env=None, platform=None):
        """An image of busybox and these variables; two with different variables differ."""
        with tempfile.TemporaryDirectory() as folder:
            tree = os.path.join(folder, "tree")
            os.makedirs(os.path.join(tree, "bin"))
            os.makedirs(os.path.join(tree, "tmp"))
            shutil.copy(_busybox(), os.path.join(tree, "bin", "busybox"))
            for applet in APPLETS:
                os.symlink("busybox", os.path.join(tree, "bin", applet))
            archive = os.path.join(folder, "layer.tar")
            with tarfile.open(archive, "w") as tar:
                tar.add(tree, ".")
            if platform:
                return self._load(folder, archive, name, platform)
            changes = ["ENV PATH=/bin", 'CMD ["sleep", "100000"]', *(f"ENV {k}={v}" for k, v in (env or {}).items())]
            return self.run("import", *(x for change in changes for x in ("-c", change)), archive, name).strip()

    def _load(self, folder, layer, name, platform):
        """One for another processor, which `docker import` would call this machine's."""
        system, architecture = platform.split("/")
        with open(layer, "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        config = {"os": system, "architecture": architecture, "config": {"Env": ["PATH=/bin"], "Cmd": ["sleep", "100000"]},
                  "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]}}
        for file, content in (("config.json", config), ("manifest.json", [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}])):
            with open(os.path.join(folder, file), "w", encoding="ascii") as f:
                json.dump(content, f)
        whole = os.path.join(folder, "image.tar")
        with tarfile.open(whole, "w") as tar:
            for file in ("config.json", "manifest.json", "layer.tar"):
                tar.add(os.path.join(folder, file), file)
        return self.run("load", "--quiet", "--input", whole).strip()

    def inspect(self, *names):
        return json.loads(self.run("inspect", *names)) if names else []

    def containers(self, project):
        """service → list of what the engine says of its containers."""
        ids = self.run("ps", "-aq", "--filter", f"label=com.docker.compose.project={project}").split()
        found = {}
        for one in self.inspect(*ids):
            found.setdefault(one["Config"]["Labels"]["com.docker.compose.service"], []).append(one)
        return found


def main():
    """Runs until its standard input closes."""
    why = Docker.why_not()
    if why:
        print(json.dumps({"skip": why}), flush=True)
        return
    with Docker() as d:
        print(json.dumps({"host": d.host, "config": d.config}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
