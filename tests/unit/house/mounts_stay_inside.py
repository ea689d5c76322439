#!/usr/bin/env python3
"""What tests mount in a namespace of their own appears nowhere else, whether the root is shared, private, or no mount at all.

It is tried in a namespace made for it, whose root is made shared, and in a chroot there."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
from servers import mounts  # noqa: E402


def run(*argv):
    subprocess.run(argv, check=True)


class MountsStayInside(unittest.TestCase):
    def setUp(self):
        run("mount", "--make-rshared", "/")
        # Never removed in here: /usr may be mounted in it.
        self.folder = tempfile.mkdtemp(dir=os.environ["DAVIT_MOUNTS_INSIDE"])

    def covered(self, top, prefix):
        """Mounts something in there; whether it can be seen from outside."""
        inside = os.path.join(top, "covered")
        os.makedirs(os.path.join(self.folder, prefix, "covered"), exist_ok=True)
        run(*mounts.command(), "sh", "-c", f"mount -t tmpfs none {inside} && echo x >{inside}/seen && [ -s {inside}/seen ]")

    def seen(self, prefix=""):
        return os.path.ismount(os.path.join(self.folder, prefix, "covered"))

    def in_chroot(self, work):
        """work() in a process whose root is a plain folder."""
        root = os.path.join(self.folder, "root")
        for name in ("usr", "bin", "sbin", "lib", "lib64", "proc", "etc", "tmp"):
            path = os.path.join(root, name)
            if os.path.islink("/" + name) and not os.path.lexists(path):
                os.symlink(os.readlink("/" + name), path)
            elif os.path.isdir("/" + name) and not os.path.lexists(path):
                os.makedirs(path)
                if name not in ("etc", "tmp"):
                    run("mount", "--rbind", "/" + name, path)
        pid = os.fork()
        if pid == 0:
            try:
                os.chroot(root)
                os.chdir("/")
                mounts._can_make_private.cache_clear()
                work()
                os._exit(0)
            except BaseException as e:  # a failed assertion too: it is told to the parent by the exit status
                print(f"in the chroot: {e}", file=sys.stderr, flush=True)
                os._exit(1)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)

    def test_the_fault_that_this_is_about_can_be_seen(self):
        inside = os.path.join(self.folder, "covered")
        os.mkdir(inside)
        run("unshare", "-m", "--propagation", "unchanged", "mount", "-t", "tmpfs", "none", inside)
        self.assertTrue(self.seen())
        run("umount", inside)

    def test_below_a_shared_root(self):
        self.assertIsNone(mounts.why_not([self.folder]))
        self.covered(self.folder, "")
        self.assertFalse(self.seen())

    def test_in_a_chroot_on_a_shared_mount_it_is_refused(self):
        self.in_chroot(lambda: self.assertIn("/etc lies on a shared mount", mounts.why_not(["/etc"])))

    def test_in_a_chroot_on_a_private_mount(self):
        run("mount", "--make-private", "/")

        def work():
            self.assertIsNone(mounts.why_not(["/etc", "/missing"]))
            self.assertIn("unchanged", mounts.command())
            os.mkdir("/covered")
            run(*mounts.command(), "sh", "-c", "mount -t tmpfs none /covered && echo x >/covered/seen && [ -s /covered/seen ]")
            if os.path.ismount("/covered"):
                raise AssertionError("the mount can be seen outside")

        self.in_chroot(work)
        self.assertFalse(self.seen("root"))


if __name__ == "__main__":
    if os.environ.get("DAVIT_MOUNTS_INSIDE"):
        unittest.main()
    # A namespace of processes too: in it the tables of process 1 are those of this test.
    command = ["unshare", "-m", "-p", "-f", "--mount-proc"]
    if os.geteuid() != 0 or subprocess.run(command + ["true"], capture_output=True, check=False).returncode:
        print("skipped: a mount namespace of its own needs root, and no chroot")
        sys.exit(77)
    top = tempfile.mkdtemp(prefix="davit-mounts-")
    status = subprocess.run(command + [sys.executable, os.path.abspath(__file__)] + sys.argv[1:],
                            env={**os.environ, "DAVIT_MOUNTS_INSIDE": top}, check=False).returncode
    with open("/proc/self/mountinfo") as table:
        if top in table.read():
            sys.exit(f"{top}: a mount has got out; the folder is left as it is")
    shutil.rmtree(top)
    sys.exit(status)
