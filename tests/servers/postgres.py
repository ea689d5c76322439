"""A PostgreSQL server of a test's own, on a socket and a port of its own; databases in it by name. The machine's newest version."""
import contextlib
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time

MEMORY = "/dev/shm"
ROOM = 1 << 30


def programs():
    """The directory of the newest server's programs; None: there is none."""
    found = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    if found:
        return os.path.dirname(max(found, key=lambda path: int(path.split("/")[4])))
    beside = shutil.which("initdb")
    return os.path.dirname(os.path.realpath(beside)) if beside else None


def lacking():
    """Why no server can run here; None: one can."""
    if programs() is None:
        return "postgresql is not installed"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            return "there is no user postgres, and the server does not run as root"
    return None


def place():
    """In memory where there is room: a server that syncs costs nothing there. None: where temporary files are."""
    return MEMORY if os.path.isdir(MEMORY) and shutil.disk_usage(MEMORY).free > ROOM else None


class Postgres:
    def __init__(self, settings=(), in_memory=True):
        self.bin = programs()
        self.dir = tempfile.mkdtemp(prefix="davit-pg-", dir=place() if in_memory else None)
        os.chmod(self.dir, 0o755)
        self.data, self.log = os.path.join(self.dir, "data"), os.path.join(self.dir, "log")
        self.settings = settings
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        if os.geteuid() == 0:
            shutil.chown(self.dir, "postgres")

    def _as_owner(self, *argv):
        if os.geteuid() == 0:
            argv = ("runuser", "-u", "postgres", "--", *argv)
        done = subprocess.run(argv, cwd=self.dir, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)}: {done.stdout}{done.stderr}")

    def __enter__(self):
        self._as_owner(self.bin + "/initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "--locale=C.UTF-8", "--no-sync")
        self.start()
        return self

    def start(self):
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self.dir} -c fsync=off " + " ".join(f"-c {s}" for s in self.settings)
        self._as_owner(self.bin + "/pg_ctl", "-D", self.data, "-w", "-l", self.log, "-o", options, "start")

    def secure(self, certificate, key, clients=None):
        """It offers TLS from its next start on. clients: the authority of certificates that let in, where pg_hba.conf asks for one."""
        files = {"server.crt": certificate, "server.key": key, **({"clients.crt": clients} if clients else {})}
        for name, path in files.items():
            goal = shutil.copy(path, os.path.join(self.data, name))
            os.chmod(goal, 0o600)
            if os.geteuid() == 0:
                shutil.chown(goal, "postgres")
        self.settings = (*self.settings, "ssl=on", *(["ssl_ca_file=clients.crt"] if clients else []))

    def stop(self, mode="immediate"):
        self._as_owner(self.bin + "/pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")

    def __exit__(self, *_):
        with contextlib.suppress(AssertionError):
            self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    @property
    def env(self):
        return {**os.environ, "PGHOST": self.dir, "PGPORT": str(self.port), "PGUSER": "postgres"}

    def run(self, program, *argv, given=None):
        done = subprocess.run([f"{self.bin}/{program}", *argv], env=self.env, input=given, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{program} {' '.join(argv)}: {done.stderr}")
        return done.stdout.strip()

    def sql(self, database, text):
        return self.run("psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-", given=text)

    def databases(self):
        return self.sql("postgres", "SELECT datname FROM pg_database WHERE datname NOT LIKE 'template%' AND datname <> 'postgres' "
                                    "ORDER BY 1").split()

    def source(self, database, **more):
        """The input `postgres` of a snapshot of that database."""
        return {"database": database, "host": "127.0.0.1", "port": self.port, "user": "postgres", "programs": self.bin, **more}

    def session(self, database, text):
        """A session that has run the text and stays: locks that it took are held until it is closed."""
        process = subprocess.Popen([f"{self.bin}/psql", "-XAtqw", "-d", database], env=self.env, text=True, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        process.stdin.write(text + "\nSELECT 'ready';\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if line != "ready\n":
            raise AssertionError(line)
        return process


def lay_image(docker, name):
    """An image without anything of its own: /usr of this machine is mounted into its containers."""
    with tempfile.TemporaryDirectory() as folder:
        for made in ("usr", "etc", "var/lib", "proc", "dev", "sys"):
            os.makedirs(os.path.join(folder, made))
        os.mkdir(os.path.join(folder, "tmp"))
        os.chmod(os.path.join(folder, "tmp"), 0o1777)
        for link in ("bin", "sbin", "lib", "lib64"):
            os.symlink("usr/" + link, os.path.join(folder, link))
        tar = subprocess.run(["tar", "-C", folder, "-c", "."], capture_output=True, check=True).stdout
        docker.run("import", "-", name, data=tar)


class PostgresContainer:
    """The machine's PostgreSQL in a container, its data in the volume `name`-data; it listens on a socket inside only."""

    def __init__(self, docker, name, *options):
        self.docker, self.name, self.volume = docker, name, name + "-data"
        self.options = options

    def __enter__(self):
        begin = ("set -e; cd /; as='setpriv --reuid postgres --regid postgres --clear-groups'; chown postgres /data; "
                 "test -e /data/d/PG_VERSION || $as initdb -D /data/d -A trust -U postgres --locale=C.UTF-8 --no-sync; "
                 "exec $as postgres -D /data/d -k /data -c listen_addresses= -c fsync=off")
        lay_image(self.docker, "local/postgres:1")
        self.docker.run("run", "-d", "--name", self.name, "--network", "none", "-v", "/usr:/usr:ro", "-v", "/etc/passwd:/etc/passwd:ro",
                        "-v", "/etc/group:/etc/group:ro", "-v", f"{self.volume}:/data", "-e", "PGHOST=/data", "-e",
                        f"PATH={programs()}:/usr/bin:/bin", *self.options, "local/postgres:1", "sh", "-c", begin)
        end = time.monotonic() + 60
        while self.docker.run("exec", self.name, "psql", "-U", "postgres", "-Atc", "SELECT 'up'", check=False) != "up\n":
            if time.monotonic() > end:
                raise AssertionError(self.docker.run("logs", self.name))
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self.docker.run("rm", "-f", self.name, check=False)
        self.docker.run("volume", "rm", "-f", self.volume, check=False)

    def sql(self, database, text):
        return self.docker.run("exec", "-i", self.name, "psql", "-XAtqw", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-",
                               data=text.encode()).strip()
