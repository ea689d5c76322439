#!/usr/bin/env python3
"""Two agents on two machines (a network namespace, a host's name and processes of its own each) that share a journal in a real PostgreSQL. They
want one environment, and one of them is killed."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

from harness import DAVIT, Agent, Case, run, until
from servers import postgres
from servers.network import Network
from servers.sshd import Sshd

ONE, TWO = "acme/one", "acme/two"
WORKFLOW = """on: push
jobs:
  deploy:
    runs-on: [self-hosted, %s]
    steps:
      - uses: davit-deploy/davit/actions/checkout@v1
      - uses: davit-deploy/davit@v1
        with: { file: deploy.yml, secrets: "${{ toJSON(secrets) }}", wait: %s }
"""
OLD = "what was there before\n"


APART = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]


def lacking():
    why = postgres.lacking() or Network.why_not() or (None if shutil.which("unshare") else "unshare is missing")
    if why is None and subprocess.run([*APART, "true"], capture_output=True, check=False).returncode != 0:
        why = "there are no PID namespaces of one's own here"
    return why


def alive(pid):
    """False for one that has ended and that nobody has waited for yet, too."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Machine(Agent):
    """An agent in a network, below a name of a host, and in a PID namespace of its own, which dies as a whole."""

    def __init__(self, root, name, network):
        super().__init__(root, name)
        self.network = network

    def start(self, *words):
        front = [*self.network.command(), *APART, "sh", "-c", 'hostname "$0" && exec "$@"', self.name]
        self.log = open(self.output, "a")
        self.namespace = f"net:[{os.stat(f'/run/netns/{self.network.name}').st_ino}]"
        self.process = subprocess.Popen([*front, DAVIT, "agent", "run", *words], env=self.env, stdout=self.log, stderr=subprocess.STDOUT,
                                        cwd=self.root)
        return self

    def power_off(self):
        """Nothing that ran there is left. Its network goes last: were it cut first, the database would notice by its keepalives only, in 25 s."""
        inside = [int(entry.name) for entry in self.processes()]
        self.process.kill()
        self.process.wait()
        until("the end of all that ran there", lambda: not any(alive(pid) for pid in inside))
        self.network.down()
        self.log.close()

    def processes(self):
        return [entry for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit() and self.is_inside(entry)]

    def is_inside(self, entry):
        with contextlib.suppress(OSError):
            return os.readlink(entry / "ns" / "net") == self.namespace
        return False

    def stop(self, number=signal.SIGINT):
        for child in pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            os.kill(int(child), number)
        return self.wait()

    def json(self, *words):
        done = subprocess.run([DAVIT, *words, "--json"], env=self.env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done
        return json.loads(done.stdout)


class Machines(Case):
    """Two agents, a host that both deploy to, a forge and a database; what a deployment there is about lies in `place`."""

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.networks = [stack.enter_context(Network()) for _ in range(2)]
            for network in self.networks:
                network.reach_everything()
            self.address = self.networks[0].gateway
            self.server = stack.enter_context(Sshd(options=[f"ListenAddress {self.address}"]))
            self.database = stack.enter_context(postgres.Postgres(("fsync=on", f"listen_addresses=127.0.0.1,{self.address}")))
            self.options = ("--listen", f"{self.address}:0", "--allow-remote")
            self.repositories = (ONE, TWO)
            super().__enter__()
            stack.push(super().__exit__)
            self.place = self.root / "place"
            self.place.mkdir()
            self.open_database()
            self.first, self.second = (Machine(self.root, name, network) for name, network in zip(("box-a", "box-b"), self.networks))
            self.agents += [self.first, self.second]
            self.join()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *what):
        return self.stack.__exit__(*what)

    def open_database(self):
        self.database.sql("postgres", "CREATE ROLE davit LOGIN PASSWORD 'a-word'; CREATE DATABASE davit OWNER davit")
        with open(os.path.join(self.database.data, "pg_hba.conf"), "a", encoding="ascii") as f:
            f.write("host davit davit 10.213.0.0/16 scram-sha-256\n")
        self.database.sql("postgres", "SELECT pg_reload_conf()")

    def join(self):
        (self.root / "pgpass").write_text("*:*:*:davit:a-word\n")
        (self.root / "pgpass").chmod(0o600)
        url = f"postgresql://davit@{self.address}:{self.database.port}/davit?sslmode=disable&passfile={self.root}/pgpass"
        key = None
        for machine in (self.first, self.second):
            subprocess.run([DAVIT, "journal", "use", url, *(["--key", "-"] if key else [])], env=machine.env, input=key, check=True,
                           capture_output=True, timeout=60)
            key = subprocess.run([DAVIT, "journal", "key"], env=machine.env, check=True, capture_output=True, timeout=60).stdout
            for repository in self.repositories:
                machine.configure(self.forge, repository, "--labels", machine.name)

    def lay(self, repository, machine, text, wait="2m", command="true"):
        """A push whose deployment writes `text` into the one file there is, on that machine's agent. → its commit"""
        target = self.server.target(base=str(self.place / "base"))
        target["ssh"].update(host=self.address, key="${{ secrets.KEY }}")
        self.forge.secrets(repository, {"KEY": pathlib.Path(self.server.key).read_text()})
        document = {"name": "shop", "environment": "production", "targets": {"web": target}, "steps": [
            {"apply": {"resources": [{"file": {"path": str(self.place / "conf"), "content": text}}]}},
            {"run": {"command": ["sh", "-c", command], "undo": ["sh", "-c", f"echo undone-on-$(hostname) >> {self.place}/undone"]}}]}
        return self.forge.push(WORKFLOW % (machine.name, wait), repository, {"deploy.yml": json.dumps(document)})

    def slowly(self):
        return f"touch {self.place}/begun; while [ ! -e {self.place}/go-on ]; do sleep 0.02; done"

    def begun(self):
        until("the first deployment", (self.place / "begun").exists)

    def conf(self):
        return (self.place / "conf").read_text()

    def told(self):
        path = self.place / "undone"
        return path.read_text() if path.exists() else ""

    def states(self):
        return [d["state"] for d in self.second.json("history")]

    def conclusion(self, sha):
        (job,) = self.forge.ended(sha, 120)
        return job["conclusion"]


@contextlib.contextmanager
def machines(**environment):
    with Machines() as c:
        (c.place / "conf").write_text(OLD)
        for machine in (c.first, c.second):
            machine.env.update(environment)
            machine.start("--slots", "2").listening(2)
        yield c


def test_of_two_machines_that_want_an_environment_one_gets_it_and_what_a_killed_one_began_is_undone_by_the_other():
    with machines() as c:
        one = c.lay(ONE, c.first, "of the first\n", command=c.slowly())
        c.begun()
        assert c.conf() == "of the first\n"
        refused = c.lay(TWO, c.second, "of the second\n", wait="0s")
        assert c.conclusion(refused) == "failure" and c.conf() == "of the first\n"
        assert "box-a" in json.dumps(c.forge.jobs(refused))
        # Behind a job that failed an agent looks for what is undecided. It would begin to watch the dead one's locks, for 90 s.
        c.second.says("Job deploy completed")
        until("the second one's own recovery", lambda: c.second.state().get("recoveries") == 0)
        c.first.power_off()
        done = subprocess.run([*c.second.network.command(), DAVIT, "recover", "--after", "1s"], env=c.second.env, capture_output=True, text=True,
                              timeout=120)
        assert done.returncode == 0 and "undone-on-" in c.told(), (done, c.states())
        assert c.conf() == OLD
        assert c.conclusion(c.lay(TWO, c.second, "of the second\n")) == "success"
        assert c.conf() == "of the second\n" and c.states() == ["committed", "refused", "undone"], c.states()
        # Nobody renews that job's lease any more. What comes back finds nothing to do.
        c.forge.expire(leases=True)
        assert c.conclusion(one) == "failure"
        c.first.network.up()
        c.first.start().listening(4)
        assert c.conclusion(c.lay(ONE, c.first, "of the first again\n")) == "success"
        assert c.conf() == "of the first again\n" and c.told().count("\n") == 1
        assert c.first.stop() == 0 and c.second.stop() == 0


def test_one_that_waits_for_the_environment_takes_back_itself_what_a_killed_one_began():
    """It watches the locks of the dead one first: for 90 s, of which a test's build waits less."""
    with machines(DAVIT_TEST_STANDSTILL_MS="1500") as c:
        c.lay(ONE, c.first, "of the first\n", command=c.slowly())
        c.begun()
        waits = c.lay(TWO, c.second, "of the second\n", wait="5m")
        until("it waits", lambda: c.states()[0] == "preparing")
        until("it has seen who has the environment", lambda: "box-a" in json.dumps(c.forge.jobs(waits)))
        c.first.power_off()
        (job,) = c.forge.ended(waits, 240)
        assert job["conclusion"] == "success" and c.conf() == "of the second\n", job
        assert c.states() == ["committed", "undone"] and c.told().count("\n") == 1, c.states()


REASON = lacking()
if REASON:
    print(REASON)
    sys.exit(77)
run(__name__)
