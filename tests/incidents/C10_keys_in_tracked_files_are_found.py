#!/usr/bin/env python3
"""C10: private keys were found in tracked files."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.validate import Tree, main  # noqa: E402


class Keys(Tree):
    def key(self, *how):
        return subprocess.run(["openssl", "genpkey", *how], check=True, capture_output=True, text=True).stdout

    def test_private_keys_and_tokens_are_found_and_never_shown(self):
        body = "0a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R"
        rsa = self.key("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
        secret = {"deploy/key.pem": ("private-key", rsa), "a.env": ("token", "TOKEN=ghp_" + body),
                  "one-line.json": ("private-key", '{"k": "' + rsa.replace("\n", "\\n") + '"}'),
                  "aws.txt": ("token", "key AKIA" + "Q7W2E4R6T8Y1U3I5 end")}
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", os.path.join(self.top, "id")], check=True)
        for name, (_, text) in secret.items():
            self.put(name, text)
        secret["id"] = ("private-key", "")
        self.git("add", ".")
        found = self.validate()
        self.assertEqual(sorted((f["file"], f["code"]) for f in found), sorted((n, c) for n, (c, _) in secret.items()))
        shown = str(found) + self.run_text()
        self.assertNotIn(body, shown)
        self.assertNotIn(rsa.splitlines()[1], shown)
        self.assertEqual(self.codes("--exclude", "*"), [])

    def test_what_is_none_or_not_tracked_is_left_alone(self):
        self.put("README", "-----BEGIN PRIVATE KEY-----\n<your key>\n-----END PRIVATE KEY-----\nghp_" + "x" * 36 + "\nAKIAXXXXXXXXXXXXXXXX\n")
        self.put("cert.pem", "-----BEGIN CERTIFICATE-----\n" + "MIIB" * 40 + "\n-----END CERTIFICATE-----\n")
        self.git("add", ".")
        self.put("own/key.pem", self.key("-algorithm", "ed25519"))
        self.assertEqual(self.codes(), [])


main()
