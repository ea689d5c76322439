"""A machine of one's own with systemd as its process 1: this machine's files, copied when they are written to, in namespaces of its own. Nothing of
this machine's units is started there.

    from servers import systemd_root
    systemd_root.enter()       # at the start of a program: it goes on inside, or ends as skipped with the reason

As a program: systemd_root.py COMMAND…, which is run inside.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from servers import host_root, mounts  # noqa: E402

SYSTEMD = "/usr/lib/systemd/systemd"
NAMESPACES = ["-n", "-p", "-C", "-i", "-u"]

# The upper layer is a file system in memory: an overlay cannot lie in another one. Units of this machine stay out of it, and what would
# look through its whole disk.
SETUP = """set -e
cd "$1"; mkdir -p memory; mount -t tmpfs none memory; mkdir memory/upper memory/work memory/root
mount -t overlay overlay -o lowerdir=/,upperdir=memory/upper,workdir=memory/work memory/root
cd memory/root
mount -t proc proc proc
for d in sys dev; do mount --rbind /$d $d; done
for d in run var/lib/dpkg var/lib/apt var/cache/apt; do mount -t tmpfs none $d; done
mkdir -p -m 1777 tmp
rm -rf etc/systemd/system; mkdir -m 755 etc/systemd/system
for u in usr/lib/systemd/system/sysinit.target.wants/*; do case $u in *journald*) ;; *) ln -s /dev/null etc/systemd/system/${u##*/};; esac; done
printf '[Unit]\nDescription=nothing but itself\nDefaultDependencies=no\nAllowIsolate=yes\n' >etc/systemd/system/davit-test.target
ln -s davit-test.target etc/systemd/system/default.target
container=davit-test exec chroot . "$2" --system --unit=davit-test.target --log-target=null --show-status=false
"""


def why_not():
    """What this machine lacks, or None. enter() finds the rest."""
    why = host_root.why_not()
    if why is not None:
        return why
    for program in (SYSTEMD, "systemctl", "journalctl", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is missing"
    return None


def _inside(pid):
    return ["nsenter", "-t", str(pid), "-m", *NAMESPACES, "-r", "-w"]


def _child(process):
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as f:
        words = f.read().split()
    return int(words[0]) if words else None


def _wait(process, pid_of, seconds=30):
    """The process id of a systemd that answers; None: it ended, or does not answer in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        pid = pid_of(process)
        if pid is not None:
            asked = subprocess.run(_inside(pid) + ["systemctl", "is-system-running"], capture_output=True, text=True, check=False)
            if asked.stdout.strip() in ("running", "degraded"):
                return pid
        time.sleep(0.05)
    return None


def enter(command=None):
    """command: what goes on inside; None: this program."""
    if os.environ.get(host_root.INSIDE):
        host_root.enter()
        return
    command = command or [sys.executable, os.path.abspath(sys.argv[0]), *sys.argv[1:]]
    why = why_not()
    if why is not None:
        print(f"skipped: {why}")
        sys.exit(host_root.SKIP)
    with tempfile.TemporaryDirectory(prefix="davit-systemd-") as top:
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(mounts.command() + [*NAMESPACES, "--fork", "--kill-child", "sh", "-c", SETUP, "sh", top, SYSTEMD], stdin=subprocess.DEVNULL, stdout=said,
                                       stderr=subprocess.STDOUT)
            pid = _wait(process, _child)
            if pid is None:
                said.seek(0)
                print(f"skipped: systemd does not come up in namespaces of its own: {said.read().decode(errors='replace').strip() or 'no word of it'}")
                code = host_root.SKIP
            else:
                code = subprocess.run(_inside(pid) + command, env={**os.environ, host_root.INSIDE: "1", "TMPDIR": "/tmp"}, check=False).returncode
                os.kill(pid, signal.SIGKILL)
            process.kill()
            process.wait()
    sys.exit(code)


if __name__ == "__main__":
    enter(sys.argv[1:])
    sys.exit(subprocess.run(sys.argv[1:], check=False).returncode)
