#!/usr/bin/env python3
"""A3: rsync was missing on the target; rsync under sudo failed."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers.bare import Bare  # noqa: E402
from servers.sshd import Account, Sshd  # noqa: E402

HIDING = Bare.why_not()


class Tools(Case):
    def deploy(self, t, target, **step):
        with open(os.path.join(t.src, "index.html"), "w") as f:
            f.write("hello\n" * 1000)
        return t.deploy({"targets": {"web": target},
                         "steps": [{"archive-upload": {"path": t.path("app"), "exclude": ["deploy.yml"], **step}}]})

    def check(self, t):
        with open(t.path("app/current/index.html")) as f:
            self.assertEqual(f.read(), "hello\n" * 1000)

    @unittest.skipIf(HIDING, HIDING)
    def test_without_rsync_and_any_compressor(self):
        with Trial() as t, Bare("rsync", "zstd", "gzip", "python3", "perl", "cpio", "scp") as server:
            result = self.deploy(t, server.target())
            self.assert_exit(result, 0)
            self.check(t)
            self.assertNotIn("as 110 bytes", result.text)

    @unittest.skipIf(HIDING, HIDING)
    def test_a_compressor_that_was_asked_for_and_is_missing_is_found_before_the_first_change(self):
        with Trial() as t, Bare("zstd") as server:
            result = self.deploy(t, server.target(), compression="zstd")
            self.assert_exit(result, 2)
            self.assert_says(result, "target 'web' has no zstd", "install zstd there")
            self.assertFalse(os.path.exists(t.path("app")))
            self.assert_exit(self.deploy(t, server.target()), 0)
            self.check(t)

    @unittest.skipIf(HIDING, HIDING)
    def test_without_tar_it_is_refused_before_the_first_change(self):
        with Trial() as t, Bare("tar", "bsdtar") as server:
            result = self.deploy(t, server.target())
            self.assert_exit(result, 2)
            self.assert_says(result, "target 'web' has no tar", "install tar there")
            self.assertFalse(os.path.exists(t.path("app")))

    @unittest.skipIf(Sshd.can_have_accounts(), Sshd.can_have_accounts())
    def test_under_sudo_the_files_are_roots(self):
        with Trial() as t, Sshd(accounts={"deploy": Account("geheim", "ALL=(ALL) NOPASSWD: ALL")}) as server:
            os.chmod(t.target_dir, 0o755)
            target = {"ssh": {"host": "127.0.0.1", "port": server.port, "user": "deploy", "password": "geheim",
                              "host_key": server.host_key}, "become": "sudo"}
            self.assert_exit(self.deploy(t, target), 0)
            self.check(t)
            self.assertEqual(os.stat(t.path("app/current/index.html")).st_uid, 0)


if __name__ == "__main__":
    main()
