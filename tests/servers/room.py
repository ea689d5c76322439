"""A cgroup with a memory limit for a process and all that it starts, as MemoryMax= of a unit is one: cgroup v2, or v1 where the machine has that."""
import contextlib
import os
import pathlib

ROOT = pathlib.Path("/sys/fs/cgroup")


def _make():
    """→ the directory of a new cgroup, the names of its limit and its peak; None: this machine lets us make none."""
    for base, limit, peak in ((ROOT, "memory.max", "memory.peak"), (ROOT / "memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes")):
        path = base / f"davit-test-{os.getpid()}"
        try:
            if limit == "memory.max" and "memory" not in (base / "cgroup.subtree_control").read_text():
                (base / "cgroup.subtree_control").write_text("+memory")
            path.mkdir()
        except OSError:
            continue
        if (path / limit).exists():
            return path, limit, peak
        path.rmdir()
    return None


class Room:
    def __init__(self, path, peak):
        self.path, self._peak = path, path / peak

    def enter(self):
        """In the child, before it executes its program: preexec_fn."""
        (self.path / "cgroup.procs").write_text("0" if (self.path / "memory.max").exists() else str(os.getpid()))

    def peak_kib(self):
        return int(self._peak.read_text()) // 1024 if self._peak.exists() else None

    def killed(self):
        """How many processes the kernel ended for want of memory."""
        for name in ("memory.events", "memory.oom_control"):
            if (self.path / name).exists():
                return sum(int(line.split()[1]) for line in (self.path / name).read_text().splitlines() if line.startswith("oom_kill "))
        return 0


@contextlib.contextmanager
def room(size):
    """→ a Room of so many bytes; None where none can be made. Its processes must have ended at the end."""
    made = _make()
    if made is None:
        yield None
        return
    path, limit, peak = made
    try:
        (path / limit).write_text(str(size))
        yield Room(path, peak)
    finally:
        path.rmdir()
