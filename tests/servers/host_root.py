"""A machine of one's own for tests that install packages and make users: this machine's files, copied when they are written to, in namespaces of
its own. The database of packages is empty and its only source is a directory with a few small packages.

    from servers import host_root
    host_root.enter()          # at the start of a program: it goes on inside, or ends as skipped with the reason

As a program: host_root.py COMMAND…, which is run inside.

What is done inside (mounts, users, packages, rules of the firewall) is gone when the program ends.
"""
import fcntl
import glob
import hashlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from servers import mounts  # noqa: E402

INSIDE = "DAVIT_TEST_INSIDE"
REPOSITORY = "/srv/davit-repository"
SKIP = 77
UFW = "/usr/sbin/ufw"
FIREWALL = "table inet filter { chain input { type filter hook input priority 0; policy accept; }\n}\n"

# The upper layer is a file system in memory: an overlay cannot lie in another one.
SETUP = """set -e
cd "$1"; mkdir -p memory; mount -t tmpfs none memory; mkdir memory/upper memory/work memory/root
mount -t overlay overlay -o lowerdir=/,upperdir=memory/upper,workdir=memory/work memory/root
cd memory/root
for d in proc sys dev; do mount --rbind /$d $d; done
for d in run var/lib/dpkg var/lib/apt var/cache/apt; do mount -t tmpfs none $d; done
mkdir -p -m 1777 tmp
shift; exec chroot . "$@"
"""


def _command(top):
    return mounts.command() + ["-n", "sh", "-c", SETUP, "sh", top]


def why_not():
    """What this machine lacks, or None."""
    why = mounts.why_not(["/tmp", "/var"])
    if why is not None:
        return why
    for program in ("apt-get", "dpkg-deb", "useradd", "visudo", "nft"):
        if shutil.which(program) is None:
            return f"{program} is missing"
    with _place() as top:
        done = subprocess.run(_command(top) + ["true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"no overlay of the root can be mounted: {done.stderr.strip()}"


def _place():
    return tempfile.TemporaryDirectory(prefix="davit-root-")


def enter(command=None, ufw=False):
    """command: what goes on inside; None: this program. ufw: it is there if this machine has it, else nobody sees it."""
    if os.environ.get(INSIDE):
        if not ufw and os.path.exists(UFW):
            os.remove(UFW)
        _arrive()
        return
    command = command or [sys.executable, os.path.abspath(sys.argv[0]), *sys.argv[1:]]
    why = why_not()
    if why is not None:
        print(f"skipped: {why}")
        sys.exit(SKIP)
    with _place() as top:
        done = subprocess.run(_command(top) + command, env={**os.environ, INSIDE: "1", "TMPDIR": "/tmp"}, check=False)
    sys.exit(done.returncode)


def _arrive():
    """Once in each program that comes here; a child finds it done."""
    if os.path.isdir(REPOSITORY):
        return
    loopback_up()
    os.makedirs("/var/lib/dpkg/info")
    os.makedirs("/var/lib/dpkg/updates")
    os.makedirs("/var/lib/dpkg/triggers")
    for name in ("status", "available"):
        open(f"/var/lib/dpkg/{name}", "w").close()
    os.makedirs("/var/lib/apt/lists/partial")
    os.makedirs("/var/cache/apt/archives/partial")
    for path in glob.glob("/etc/apt/sources.list.d/*"):
        os.remove(path)
    os.makedirs(REPOSITORY)
    with open("/etc/apt/sources.list", "w") as f:
        f.write(f"deb [trusted=yes] file:{REPOSITORY} ./\n")
    # Nothing here is worth a disk's time.
    with open("/etc/dpkg/dpkg.cfg.d/davit-test", "w") as f:
        f.write("force-unsafe-io\n")
    own_numbers()
    # The firewall of these namespaces, which lets everything in.
    subprocess.run(["nft", "-f", "-"], input=FIREWALL, text=True, check=True)
    make_package("davit-library")
    make_package("davit-example", depends="davit-library", files={"/etc/davit-example.conf": "as packaged\n"})
    make_package("davit-other", depends="davit-library")
    read_lists()


def own_numbers():
    """Processes are seen by all, and a user is known in them by number: each of these machines gives out others."""
    first = 10000 + os.getpid() % 4000 * 10
    with open("/etc/login.defs", encoding="utf-8") as f:
        lines = [line for line in f if not line.startswith(("UID_MIN", "UID_MAX", "GID_MIN", "GID_MAX"))]
    with open("/etc/login.defs", "w", encoding="utf-8") as f:
        f.writelines([*lines, *(f"{kind}ID_MIN {first}\n{kind}ID_MAX {first + 9}\n" for kind in "UG")])


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        up = struct.pack("16sh", b"lo", 0x1)  # IFF_UP
        fcntl.ioctl(s, 0x8914, up)  # SIOCSIFFLAGS


def make_package(name, version="1.0", depends=None, files=None, scripts=None, copies=None):
    """Into the repository; `read_lists` makes it known. copies: path → a file of this machine."""
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        os.mkdir(f"{top}/DEBIAN")
        paths = {**{f"/usr/share/{name}/part": f"{name} {version}\n"}, **(files or {})}
        for path, content in paths.items():
            os.makedirs(os.path.dirname(top + path), exist_ok=True)
            with open(top + path, "w") as f:
                f.write(content)
        for path, source in (copies or {}).items():
            os.makedirs(os.path.dirname(top + path), exist_ok=True)
            shutil.copy(source, top + path)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@example>\nDescription: for tests\n"
        control += f"Depends: {depends}\n" if depends else ""
        with open(f"{top}/DEBIAN/control", "w") as f:
            f.write(control)
        for script, text in (scripts or {}).items():
            with open(f"{top}/DEBIAN/{script}", "w") as f:
                f.write(text)
            os.chmod(f"{top}/DEBIAN/{script}", 0o755)
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", top, f"{REPOSITORY}/{name}_{version}_all.deb"], check=True, capture_output=True)
    write_index()


def write_index():
    with open(f"{REPOSITORY}/Packages", "w") as index:
        for path in sorted(glob.glob(f"{REPOSITORY}/*.deb")):
            with open(path, "rb") as f:
                data = f.read()
            control = subprocess.run(["dpkg-deb", "-f", path], capture_output=True, text=True, check=True).stdout
            index.write(f"{control}Filename: ./{os.path.basename(path)}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n")


def read_lists():
    subprocess.run(["apt-get", "update", "-q"], check=True, capture_output=True)


def installed():
    """name → version, of what dpkg has configured."""
    done = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\n"], capture_output=True, text=True, check=False)
    return {line.split()[1]: line.split()[2] for line in done.stdout.splitlines() if line.startswith("installed ")}


if __name__ == "__main__":
    enter()
    sys.exit(subprocess.run(sys.argv[1:], check=False).returncode)
