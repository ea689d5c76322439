#!/usr/bin/env python3
"""C7: a multi-line private key was mangled on its way into a file."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Service, Trial, main  # noqa: E402
from servers.sshd import Account, Sshd  # noqa: E402

import subprocess


class Keys(Case):
    def setUp(self):
        self.trial = Trial()
        self.addCleanup(self.trial.__exit__)
        path = os.path.join(self.trial.dir, "id")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        with open(path) as f:
            self.key = f.read()
        self.pem = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], check=True, capture_output=True, text=True).stdout

    def deploy(self, value, **more):
        with Sshd() as server:
            step = {"path": self.trial.path("key"), "format": "file", "values": {"KEY": "${{ secrets.KEY }}"}, **more}
            return self.trial.deploy({"targets": {"web": server.target()}, "steps": [{"secret-write": step}]}, secrets={"KEY": value})

    def test_a_key_arrives_as_it_is(self):
        self.assert_exit(self.deploy(self.key), 0)
        self.assertEqual(self.trial.read("key"), self.key.encode())
        self.assertEqual(os.stat(self.trial.path("key")).st_mode & 0o777, 0o600)

    def test_crlf_and_a_missing_final_newline_are_mended_and_said(self):
        result = self.deploy(self.pem.replace("\n", "\r\n").rstrip("\r\n"))
        self.assert_exit(result, 0)
        self.assert_says(result, "CRLF line ends and the missing final newline fixed")
        self.assertEqual(self.trial.read("key"), self.pem.encode())

    def test_a_key_without_its_line_breaks_is_refused_before_the_first_change(self):
        for mangled, hint in ((self.key.replace("\n", " "), "line breaks are gone"), (self.pem.replace("\n", "\\n"), "\\n")):
            result = self.deploy(mangled)
            self.assert_exit(result, 2)
            self.assert_says(result, "not a usable key", hint)
            self.assertFalse(os.path.exists(self.trial.path("key")))

    def test_other_values_are_left_alone_and_an_env_file_carries_every_byte(self):
        value = "line one\r\nit\u00e4 $HOME \"quoted\" # no comment\n\\ last"
        self.assert_exit(self.deploy(value), 0)
        self.assertEqual(self.trial.read("key"), value.encode())
        self.assert_exit(self.deploy(value, path=self.trial.path(".env"), format="env"), 0)
        shown = subprocess.run(["sh", "-c", '. "$1"; printf %s "$KEY"', "sh", self.trial.path(".env")], check=True, capture_output=True)
        self.assertEqual(shown.stdout, value.encode())


if __name__ == "__main__":
    main()
