#!/usr/bin/env python3
"""A throwaway sshd on loopback: a free port, its own host keys, an Ed25519 login key. Nothing outside its folder is touched.

    from servers.sshd import Sshd
    with Sshd() as server:
        server.port, server.user, server.key (path), server.host_key ("SHA256:…"), server.host_key_line

Sshd(accounts={"deploy": Account(...)}) gives it accounts of its own with PAM, passwords and sudo, in a private mount
namespace over bind-mounted passwd, shadow, group and sudoers; that needs root (Sshd.can_have_accounts()). Sshd(disk="1m")
gives it a small file system, as FOLDER/disk, which only it sees (Sshd.can_have_disk()). Sshd(network=Network()) listens in that namespace.
Sshd(address=…) listens at another loopback address; lets_in: lines of authorized_keys in place of its own login key.

As a program it prints one JSON object and runs until its standard input closes:
    sshd.py [--host-keys ed25519,ecdsa,rsa] [--option 'MaxSessions 1']… [--account NAME:PASSWORD[:SUDOERS RULE]]… [--disk 1m]
"""
import argparse
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from servers import mounts  # noqa: E402

SSHD = "/usr/sbin/sshd"


class Account:
    def __init__(self, password, sudo=None, shell="/bin/sh"):
        self.password = password
        self.sudo = sudo          # what follows "NAME " in sudoers, e.g. "ALL=(ALL) NOPASSWD: ALL"
        self.shell = shell


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _children():
    """pid → list of (child pid, name) of every process."""
    tree = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as f:
                text = f.read()
        except OSError:
            continue
        head, _, tail = text.rpartition(")")
        tree.setdefault(int(tail.split()[1]), []).append((int(name), head.partition("(")[2]))
    return tree


class Sshd:
    def __init__(self, folder=None, host_keys=("ed25519",), options=(), accounts=None, port=None, disk=None, network=None, address="127.0.0.1", lets_in=None):
        self._own_folder = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="davit-sshd-")
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.accounts = accounts or {}
        self.options = list(options)
        self.process = None
        self.port = port
        self.disk = disk
        self.network = network
        self.address = network.address if network else address
        os.chmod(self.folder, 0o755)
        for kind in host_keys:
            self._keygen(kind, self._path(f"host_{kind}"))
        self._host_keys = host_keys
        self.key = self._path("user_key")
        self._keygen("ed25519", self.key)
        shutil.copy(self.key + ".pub", self._path("authorized_keys"))
        if lets_in is not None:
            with open(self._path("authorized_keys"), "w") as f:
                f.write(lets_in)
        os.chmod(self._path("authorized_keys"), 0o644)
        self.host_key = self.fingerprint(host_keys[0])
        self.host_key_line = self.key_line(host_keys[0])

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _keygen(self, kind, path):
        if not os.path.exists(path):
            subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path], check=True)

    def fingerprint(self, kind):
        out = subprocess.run(["ssh-keygen", "-lf", self._path(f"host_{kind}.pub")], check=True, capture_output=True, text=True)
        return out.stdout.split()[1]

    def key_line(self, kind):
        with open(self._path(f"host_{kind}.pub")) as f:
            return " ".join(f.read().split()[:2])

    @staticmethod
    def can_have_accounts():
        """Why not, or None."""
        if os.geteuid() != 0:
            return "accounts with passwords need root"
        for path in ("/etc/pam.d/sshd", shutil.which("sudo") or "/usr/bin/sudo"):
            if not os.path.exists(path):
                return f"{path} is missing"
        return mounts.why_not(["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/sudoers"])

    @staticmethod
    def can_have_disk():
        """Why not, or None."""
        return mounts.why_not([tempfile.gettempdir()])

    def start(self):
        for _ in range(20):
            port = self.port or free_port()
            if self._start_on(port):
                self.port = port
                return self
        raise RuntimeError("sshd does not start: " + self.log())

    def _start_on(self, port):
        lines = [f"Port {port}", f"ListenAddress {self.address}", f"PidFile {self._path('sshd.pid')}",
                 f"AuthorizedKeysFile {self._path('authorized_keys')}", "StrictModes no", "AllowTcpForwarding yes",
                 "LogLevel VERBOSE", "MaxStartups 100", "MaxSessions 100"]
        lines += [f"HostKey {self._path('host_' + kind)}" for kind in self._host_keys]
        names = {o.split()[0].lower() for o in self.options}
        # Of a subsystem a second value is an error; naming another one leaves the server without this one.
        if "subsystem" not in names:
            lines.append("Subsystem sftp internal-sftp")
        if not self.accounts:
            self.options += [o for o in ("UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no")
                             if o.split()[0].lower() not in names]
        if "setenv" not in names:
            # bash as a login shell reads .bashrc under sshd only when it is the outermost shell: what stands there is the
            # machine's matter and may cost half a second each time.
            self.options.append("SetEnv SHLVL=9")
        # The first value of an option counts.
        with open(self._path("sshd_config"), "w") as f:
            f.write("\n".join(self.options + lines) + "\n")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        command = [SSHD, "-D", "-f", self._path("sshd_config"), "-E", self._path("log")]
        covers = (self._account_files() if self.accounts else []) + (self._disk() if self.disk else [])
        if covers:
            command = mounts.command() + ["sh", "-c", " && ".join(covers) + ' && exec "$@"', "sh"] + command
        if self.network:
            command = self.network.command() + command
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        return self._wait_ready(port)

    def _disk(self):
        os.makedirs(self._path("disk"), exist_ok=True)
        return [f"mount -t tmpfs -o size={self.disk},mode=755 none {self._path('disk')}"]

    def _account_files(self):
        covers = []
        for name in ("passwd", "shadow", "group"):
            shutil.copy(f"/etc/{name}", self._path(name))
            covers.append(f"mount --bind {self._path(name)} /etc/{name}")
        rules = ["root ALL=(ALL:ALL) ALL", "Defaults !syslog"]
        for number, (name, account) in enumerate(self.accounts.items()):
            uid = 47110 + number
            home = self._path(f"home_{name}")
            os.makedirs(home, exist_ok=True)
            os.chown(home, uid, uid)
            hashed = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=account.password, check=True,
                                    capture_output=True, text=True).stdout.strip()
            with open(self._path("passwd"), "a") as f:
                f.write(f"{name}:x:{uid}:{uid}::{home}:{account.shell}\n")
            with open(self._path("shadow"), "a") as f:
                f.write(f"{name}:{hashed}:19000:0:99999:7:::\n")
            with open(self._path("group"), "a") as f:
                f.write(f"{name}:x:{uid}:\n")
            if account.sudo:
                rules.append(f"{name} {account.sudo}")
        with open(self._path("sudoers"), "w") as f:
            f.write("\n".join(rules) + "\n")
        os.chmod(self._path("sudoers"), 0o440)
        os.chmod(self._path("shadow"), 0o600)
        return covers + [f"mount --bind {self._path('sudoers')} /etc/sudoers"]

    def _wait_ready(self, port):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return False
            try:
                with socket.create_connection((self.address, port), 1) as s:
                    if s.recv(4) == b"SSH-":
                        return True
            except OSError:
                pass
            time.sleep(0.02)
        return False

    def log(self):
        try:
            with open(self._path("log")) as f:
                return f.read()
        except OSError:
            return ""

    def _sessions(self):
        """The sshd processes below the listener: one or two for each connection, not the commands that they run."""
        tree, found, queue = _children(), [], [self.process.pid]
        while queue:
            for pid, name in tree.get(queue.pop(), []):
                if name.startswith("sshd"):
                    found.append(pid)
                    queue.append(pid)
        return found

    def kill_sessions(self):
        """Every connection dies at once, as when the machine is pulled; the listener stays."""
        killed = self._sessions()
        for pid in killed:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return len(killed)

    def stop(self):
        if self.process is not None:
            self.kill_sessions()
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def close(self):
        self.stop()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_args):
        self.close()

    def target(self, **more):
        """An entry of a deployment file's targets."""
        with open(self.key) as f:
            key = f.read()
        entry = {"ssh": {"host": self.address, "port": self.port, "user": self.user, "key": key, "host_key": self.host_key}}
        entry.update(more)
        return entry

    def facts(self):
        return {"port": self.port, "user": self.user, "key": self.key, "host_key": self.host_key, "folder": self.folder,
                "host_key_line": self.host_key_line, "pid": self.process.pid}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host-keys", default="ed25519")
    parser.add_argument("--option", action="append", default=[])
    parser.add_argument("--account", action="append", default=[])
    parser.add_argument("--disk")
    args = parser.parse_args()
    accounts = {}
    for text in args.account:
        name, password, *sudo = text.split(":", 2)
        accounts[name] = Account(password, sudo[0] if sudo else None)
    why = (Sshd.can_have_accounts() if accounts else None) or (Sshd.can_have_disk() if args.disk else None)
    if why:
        print(json.dumps({"skip": why}), flush=True)
        return
    # Also when killed by a signal nothing stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Sshd(host_keys=args.host_keys.split(","), options=args.option, accounts=accounts, disk=args.disk) as server:
        print(json.dumps(server.facts()), flush=True)
        for line in sys.stdin:
            if line.strip() == "kill-sessions":
                print(json.dumps({"killed": server.kill_sessions()}), flush=True)


if __name__ == "__main__":
    main()
