#!/usr/bin/env python3
"""A davit is killed in the middle of a command, and the command's first process with it. What that command has started writes nothing
once `davit recover` has ended: on this machine, by SSH, as root by sudo, and as a user that root becomes."""
import json
import os
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import DAVIT, Case, Trial, main  # noqa: E402
from harness.waiting import alive, until  # noqa: E402
from servers.sshd import Account, Sshd  # noqa: E402


# A session of its own, and forked twice: no parent and no group tells whose it is. It writes to the file that the deployment changes.
WRITER = """
case $2 in
  '') setsid sh "$0" "$1" again & ;;
  again) sh "$0" "$1" write & ;;
  write)
    echo $$ >"$1/writer.new"
    mv "$1/writer.new" "$1/writer"
    while [ -d "$1" ]; do
      [ ! -e "$1/write" ] || echo "written late" >"$1/conf"
      sleep 0.01
    done ;;
esac
"""


def by_sudo(server):
    target = server.target(become="sudo")
    target["ssh"]["user"] = "deploy"
    return target


class Dead(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        os.chmod(self.t.target_dir, 0o777)
        self.writer = os.path.join(self.t.dir, "writer.sh")
        with open(self.writer, "w", encoding="ascii") as f:
            f.write(WRITER)

    def pid(self, name):
        until(lambda: os.path.exists(self.t.path(name)), name)
        return int(self.t.read(name))

    def begin(self, target, **more):
        """Kills davit in a command that has started the writer, and the command's first process."""
        at = self.t.target_dir
        command = f"sh {self.writer} {at} </dev/null >/dev/null 2>&1; echo $$ > {at}/first.new; mv {at}/first.new {at}/first; sleep 600"
        document = {"name": "shop", "environment": "test", "targets": {"web": {**target, "base": self.t.base}}, "steps": [
            {"apply": {"resources": [{"file": {"path": self.t.path("conf"), "content": "new"}}]}},
            {"run": {"command": ["sh", "-c", command], "undo": "none", **more}}]}
        with open(os.path.join(self.t.src, "deploy.yml"), "w", encoding="utf-8") as f:
            json.dump(document, f)
        self.t.write("conf", b"old", 0o666)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_"))}
        with subprocess.Popen([DAVIT, "deploy", "deploy.yml"], cwd=self.t.src, env={**env, "DAVIT_STATE": self.t.state}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as davit:
            try:
                first, writer = self.pid("first"), self.pid("writer")
            finally:
                davit.kill()
        self.addCleanup(lambda: alive(writer) and os.kill(writer, signal.SIGKILL))
        os.kill(first, signal.SIGKILL)
        self.assertTrue(alive(writer))
        return writer

    def judge(self, writer):
        recovered = self.t.run("recover")
        self.t.write("write", b"")
        self.assertFalse(alive(writer), repr(recovered))
        self.assertEqual(self.t.read("conf"), b"old", repr(recovered))
        self.assert_exit(self.t.run("recover"), 0)

    def test_on_this_machine(self):
        self.judge(self.begin({"local": {}}))

    def test_by_ssh(self):
        with Sshd() as server:
            self.judge(self.begin(server.target()))

    @unittest.skipIf(Sshd.can_have_accounts(), "accounts of its own need root")
    def test_as_root_by_sudo(self):
        with Sshd(accounts={"deploy": Account("x", "ALL=(ALL) NOPASSWD: ALL")}) as server:
            self.judge(self.begin(by_sudo(server)))

    @unittest.skipIf(Sshd.can_have_accounts(), "accounts of its own need root")
    def test_as_another_user_than_root(self):
        with Sshd(accounts={"deploy": Account("x", "ALL=(ALL) NOPASSWD: ALL")}) as server:
            self.judge(self.begin(by_sudo(server), become_user="nobody"))

    @unittest.skipIf(os.geteuid() != 0, "only root becomes another user")
    def test_as_another_user_on_this_machine(self):
        self.judge(self.begin({"local": {}}, become_user="nobody"))

    def test_what_a_command_that_ended_left_running_stays(self):
        """The writer belongs to a command that ended; the one that died had nothing to do with it."""
        at = self.t.target_dir
        service = {"name": "shop", "environment": "test", "targets": {"web": {"local": {}, "base": self.t.base}},
                   "steps": [{"run": {"command": ["sh", self.writer, at], "undo": "none"}}]}
        self.assert_exit(self.t.deploy(service), 0)
        writer = self.pid("writer")
        self.addCleanup(os.kill, writer, signal.SIGKILL)
        other = os.path.join(self.t.dir, "other")
        os.mkdir(other)
        self.t.target_dir = other
        self.judge(self.begin({"local": {}}))
        self.assertTrue(alive(writer))


if __name__ == "__main__":
    main()
