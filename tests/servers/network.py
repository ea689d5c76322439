"""A network of a test's own: a namespace behind a veth pair, whose link can be set down and up again.

    why = Network.why_not()                  # None, or what is in the way
    with Network() as n, Sshd(network=n) as server:
        n.down(), n.up()                     # packets are lost, connections stay open at both ends
"""
import functools
import os
import random
import shutil
import subprocess


def ip(*words, check=True):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.returncode == 0


class Network:
    def __init__(self):
        self.name, self.here, self.address, self.gateway = None, None, None, None

    @staticmethod
    @functools.lru_cache(maxsize=None)
    def why_not():
        if os.geteuid() != 0:
            return "network namespaces need root"
        if shutil.which("ip") is None:
            return "ip is missing (iproute2)"
        try:
            with Network():
                return None
        except RuntimeError as reason:
            return f"there are no network namespaces of one's own here: {reason}"

    def _make(self, number):
        """One of 16,384 networks of four addresses in 10.213.0.0/16."""
        self.name, self.here = f"davit-{number:x}", f"dvt{number:x}"
        self.gateway, self.address = (f"10.213.{number >> 6}.{(number & 63) * 4 + host}" for host in (1, 2))
        ip("netns", "add", self.name)
        ip("link", "add", self.here, "type", "veth", "peer", "name", "far", "netns", self.name)
        ip("address", "add", self.gateway + "/30", "dev", self.here)
        ip("-n", self.name, "address", "add", self.address + "/30", "dev", "far")
        ip("-n", self.name, "link", "set", "lo", "up")
        ip("-n", self.name, "link", "set", "far", "up")
        self.up()

    def __enter__(self):
        for last in (False, False, False, True):
            try:
                self._make(random.randrange(1 << 14))
                return self
            except RuntimeError:
                self.close()
                if last:
                    raise
        return self

    def command(self):
        """What stands before a command that shall run there."""
        return ["ip", "netns", "exec", self.name]

    def down(self):
        ip("link", "set", self.here, "down")

    def up(self):
        ip("link", "set", self.here, "up")

    def reach_everything(self):
        """From there all addresses of this machine, not the one beside alone."""
        ip("-n", self.name, "route", "add", "default", "via", self.gateway)

    def close(self):
        ip("link", "del", self.here, check=False)
        ip("netns", "del", self.name, check=False)

    def __exit__(self, *_):
        self.close()
