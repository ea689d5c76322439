"""Packages of rpm and the only repository that dnf knows, inside a machine of one's own (host_root.enter() first): apt-get is not there any more.

    from servers import rpm_repository
    rpm_repository.set_up()          # ends the program as skipped, with the reason, where dnf or rpmbuild is missing
    rpm_repository.make_package("davit-broken", pre="error('no')")
    rpm_repository.read_lists()
"""
import os
import shutil
import subprocess
import sys
import tempfile

REPOSITORY = "/srv/davit-rpms"
SKIP = 77
SPEC = """Name: {name}
Version: 1.0
Release: 1
Summary: for tests
License: none
BuildArch: noarch
{header}
%description
for tests
%install
mkdir -p %{{buildroot}}/usr/share/{name}
echo 1.0 >%{{buildroot}}/usr/share/{name}/part
%files
/usr/share/{name}
{pre}
"""


def missing():
    """What this machine lacks, or None."""
    for program in ("dnf", "rpm", "rpmbuild", "createrepo_c"):
        if shutil.which(program) is None:
            return f"{program} is missing"
    return None


def set_up():
    why = missing()
    if why is not None:
        print(f"skipped: {why}")
        sys.exit(SKIP)
    # The database of Debian's packages is empty here, and nobody may ask it.
    os.remove(shutil.which("apt-get"))
    for place in ("/var/lib/rpm", "/var/lib/dnf", "/var/cache/dnf", "/etc/yum.repos.d", REPOSITORY):
        shutil.rmtree(place, ignore_errors=True)
        os.makedirs(place)
    subprocess.run(["rpm", "--initdb"], check=True)
    with open("/etc/yum.repos.d/davit.repo", "w") as f:
        f.write(f"[davit]\nname=davit\nbaseurl=file://{REPOSITORY}\ngpgcheck=0\n")
    make_package("davit-library")
    make_package("davit-example", "Requires: davit-library")
    make_package("davit-other", "Requires: davit-library")
    # Longer than the column of its name in dnf's tables.
    make_package("davit-with-a-name-that-has-a-line-of-its-own", "Provides: davit-thing")
    make_package("davit-former")
    make_package("davit-successor", "Obsoletes: davit-former <= 1.0")
    make_package("davit-broken", "Requires: davit-library", pre="error('no')")
    read_lists()


def make_package(name, header="", pre=""):
    """Into the repository; `read_lists` makes it known. pre: Lua that it runs before it is installed (rpm's own: there is no package with a shell)."""
    with tempfile.TemporaryDirectory() as top:
        with open(f"{top}/{name}.spec", "w") as f:
            f.write(SPEC.format(name=name, header=header, pre=f"%pre -p <lua>\n{pre}" if pre else ""))
        subprocess.run(["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {top}", "--define", f"_rpmdir {REPOSITORY}", f"{top}/{name}.spec"],
                       check=True, capture_output=True)


def read_lists():
    subprocess.run(["createrepo_c", "-q", REPOSITORY], check=True, capture_output=True)
    subprocess.run(["dnf", "-q", "--refresh", "makecache"], check=True, capture_output=True)


def dnf(*args):
    return subprocess.run(["dnf", "-y", "-q", *args], capture_output=True, text=True, check=True).stdout


def installed():
    """The packages, and which of them somebody has asked for."""
    there = subprocess.run(["rpm", "-qa", "--qf", "%{NAME}\n"], capture_output=True, text=True, check=True).stdout.split()
    return sorted(there), sorted(dnf("--disablerepo=*", "repoquery", "--userinstalled", "--qf", "%{name}").split())
