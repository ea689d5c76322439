"""Mounts that nobody outside sees: a command in front gives the program behind it a mount namespace of its own.

    why = mounts.why_not(["/etc"])        # None, or a text: what is in the way
    subprocess.run(mounts.command() + ["sh", "-c", 'mount --bind mine /etc/passwd && exec "$@"', "sh", …])

In a new namespace each mount is still in the group of peers of the one that it was copied from. Where that is shared (the
root, under systemd), what is mounted upon it would appear in the other namespace too. unshare(1) makes the whole tree
private first, but cannot in a chroot, whose root is as a rule no mount: there it is left as it is, and the paths that will
be covered must lie on mounts that are known not to be shared.
"""
import functools
import os
import shutil
import subprocess


@functools.lru_cache(maxsize=None)
def _can_make_private():
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


def command():
    return ["unshare", "-m"] if _can_make_private() else ["unshare", "-m", "--propagation", "unchanged"]


def _mount_of(path):
    """The number of the mount that path lies on."""
    fd = os.open(path, os.O_PATH)
    try:
        with open(f"/proc/self/fdinfo/{fd}") as f:
            return next(line.split()[1] for line in f if line.startswith("mnt_id:"))
    finally:
        os.close(fd)


def _table():
    """number of a mount → its optional fields. Below a chroot only the mounts inside are listed, so that of process 1 too."""
    table = {}
    tables = ["/proc/self/mountinfo"]
    try:
        if os.stat("/proc/1/ns/mnt").st_ino == os.stat("/proc/self/ns/mnt").st_ino:
            tables.append("/proc/1/mountinfo")
    except OSError:
        pass
    for name in tables:
        try:
            with open(name) as f:
                for line in f:
                    fields = line.split()
                    table[fields[0]] = fields[6:fields.index("-")]
        except OSError:
            pass
    return table


def why_not(paths):
    """Why mounts upon these paths (or what lies directly in them) could not be kept to ourselves; None: they can."""
    if os.geteuid() != 0:
        return "mounts of one's own need root"
    if shutil.which("unshare") is None:
        return "unshare is missing"
    if _can_make_private():
        return None
    if subprocess.run(["unshare", "-m", "--propagation", "unchanged", "true"], capture_output=True, check=False).returncode:
        return "there are no mount namespaces here"
    try:
        table = _table()
        for path in filter(os.path.exists, paths):
            fields = table.get(_mount_of(path))
            if fields is None:
                return f"{path} lies on a mount that cannot be seen from this chroot: it may be shared"
            if any(field.startswith("shared:") for field in fields):
                return f"{path} lies on a shared mount, and its root cannot be made private in this chroot"
    except (OSError, StopIteration) as e:
        return f"what is mounted here cannot be read: {e}"
    return None
