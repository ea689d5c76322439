#!/usr/bin/env python3
"""A6: an archive member tried to leave the directory (../, absolute, through a symlink)."""
import io
import os
import subprocess
import sys
import tarfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import BUILD, Case, Trial, main  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

KINDS = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "pipe": tarfile.FIFOTYPE,
         "device": tarfile.CHRTYPE}


def archive(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for kind, name, *rest in members:
            info = tarfile.TarInfo(name)
            info.type = KINDS[kind]
            info.mode = 0o755
            data = rest[0].encode() if kind == "file" else b""
            info.size = len(data)
            if kind in ("link", "hard"):
                info.linkname = rest[0]
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Members(Case):
    def refused(self, member, *members):
        with Trial() as t:
            os.mkdir(t.path("in"))
            t.write("outside", b"safe")
            done = subprocess.run([os.path.join(BUILD, "tests", "unpack_cli"), t.path("in")], input=archive(*members),
                                  capture_output=True)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(f"'{member}'", done.stderr.decode())
            self.assertEqual(t.read("outside"), b"safe")
            self.assertEqual(sorted(os.listdir(t.target_dir)), ["in", "outside"])

    def test_upwards(self):
        self.refused("../outside", ("file", "../outside", "evil"))
        self.refused("a/../../outside", ("dir", "a"), ("file", "a/../../outside", "evil"))

    def test_absolute(self):
        self.refused("/tmp/davit-evil", ("file", "/tmp/davit-evil", "evil"))
        self.assertFalse(os.path.exists("/tmp/davit-evil"))

    def test_through_a_link(self):
        self.refused("a/outside", ("link", "a", ".."), ("file", "a/outside", "evil"))
        self.refused("a/b/outside", ("dir", "a"), ("link", "a/b", "../.."), ("file", "a/b/outside", "evil"))
        self.refused("a/x/", ("dir", "a"), ("link", "a", ".."), ("dir", "a/x"))

    def test_by_a_hard_link(self):
        self.refused("x", ("hard", "x", "../outside"), ("file", "x", "evil"))
        self.refused("x", ("link", "a", ".."), ("hard", "x", "a/outside"), ("file", "x", "evil"))

    def test_devices_and_pipes(self):
        self.refused("pipe", ("pipe", "pipe"))
        self.refused("null", ("device", "null"))

    def test_a_link_of_the_former_release_is_no_way_out_of_the_next(self):
        for local in (False, True):
            with Trial() as t, Sshd() as server:
                os.mkdir(t.path("outside"))
                app = os.path.join(t.src, "app")
                os.mkdir(app)
                os.symlink(t.path("outside"), os.path.join(app, "data"))
                with open(os.path.join(app, "same"), "w") as f:
                    f.write("same")
                target = {"local": {}} if local else server.target()
                document = {"targets": {"web": target}, "steps": [{"archive-upload": {"source": "app", "path": t.path("www")}}]}
                self.assert_exit(t.deploy(document), 0)
                os.remove(os.path.join(app, "data"))
                os.mkdir(os.path.join(app, "data"))
                with open(os.path.join(app, "data", "x"), "w") as f:
                    f.write("mine")
                self.assert_exit(t.deploy(document), 0)
                self.assertEqual(os.listdir(t.path("outside")), [])
                self.assertEqual(t.read("www/current/data/x"), b"mine")


if __name__ == "__main__":
    main()
