"""An SSH server on which programs are missing that this machine has: only its sessions do not see them.

    from servers.bare import Bare
    why = Bare.why_not()                    # None, or what this machine lacks
    with Bare("rsync", "docker") as server:
        ...
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import servers.sshd  # noqa: E402
from servers import mounts  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

PLACES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


class Bare(Sshd):
    """A server whose programs of some names are not there."""

    def __init__(self, *missing, options=()):
        super().__init__(options=options)
        found = {os.path.realpath(os.path.join(top, name)) for top in PLACES for name in missing
                 if os.path.exists(os.path.join(top, name))}
        # A plain file that may not be executed is no command.
        nothing = self._path("nothing")
        open(nothing, "w").close()
        covers = " && ".join(f"mount --bind {nothing} {path}" for path in sorted(found)) or "true"
        self.program = self._path("sshd")
        with open(self.program, "w") as f:
            f.write(f"#!/bin/sh\nexec {' '.join(mounts.command())} sh -c '{covers} && exec {servers.sshd.SSHD} \"$@\"' sh \"$@\"\n")
        os.chmod(self.program, 0o755)

    @staticmethod
    def why_not():
        """What this machine lacks, or None."""
        return mounts.why_not(PLACES)

    def _start_on(self, port):
        usual, servers.sshd.SSHD = servers.sshd.SSHD, self.program
        try:
            return super()._start_on(port)
        finally:
            servers.sshd.SSHD = usual
