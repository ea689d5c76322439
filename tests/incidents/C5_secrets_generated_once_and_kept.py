#!/usr/bin/env python3
"""C5: 28 secrets had to be generated on the host, once, and kept over later deployments."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Service, Trial, main  # noqa: E402
from servers.sshd import Account, Sshd  # noqa: E402

import base64
import re


def values(data):
    return dict(line.split("=", 1) for line in data.decode().splitlines())


class Generated(Case):
    NAMES = [f"SECRET_{n}" for n in range(28)]

    def deploy(self, t, server, **more):
        step = {"path": t.path(".env"), "generate": {n: "hex48" for n in self.NAMES}, **more}
        return t.deploy({"targets": {"web": server.target()}, "steps": [{"secret-write": step}]})

    def test_they_are_made_once_kept_and_rotated_by_name(self):
        with Trial() as t, Sshd() as server:
            first = self.deploy(t, server)
            self.assert_exit(first, 0)
            made = values(t.read(".env"))
            self.assertEqual(sorted(made), sorted(self.NAMES))
            self.assertEqual(len(set(made.values())), 28)
            for value in made.values():
                self.assertTrue(re.fullmatch("[0-9a-f]{48}", value), value)
            self.assert_exit(self.deploy(t, server), 0)
            self.assertEqual(values(t.read(".env")), made)
            third = self.deploy(t, server, rotate=["SECRET_7"])
            self.assert_exit(third, 0)
            after = values(t.read(".env"))
            self.assertEqual([n for n in self.NAMES if after[n] != made[n]], ["SECRET_7"])
            everything = b"".join(data for _, data in t.files_of(t.state, t.base, t.src))
            for value in list(made.values()) + list(after.values()):
                self.assert_silent(first, value)
                self.assert_silent(third, value)
                self.assertNotIn(value.encode(), everything)

    def test_each_kind_has_its_form_and_length(self):
        with Trial() as t, Sshd() as server:
            kinds = {"HEX": "hex40", "BASE": "base64:30", "UUID": "uuid", "ASCII": "ascii17"}
            step = {"path": t.path(".env"), "generate": kinds}
            self.assert_exit(t.deploy({"targets": {"web": server.target()}, "steps": [{"secret-write": step}]}), 0)
            made = {name: value.strip("'") for name, value in values(t.read(".env")).items()}
            self.assertRegex(made["HEX"], "^[0-9a-f]{40}$")
            self.assertEqual(len(base64.b64decode(made["BASE"], validate=True)), 30)
            self.assertRegex(made["UUID"], "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
            self.assertRegex(made["ASCII"], "^[A-Za-z0-9]{17}$")
            wrong = t.deploy({"targets": {"web": server.target()}, "steps": [{"secret-write": {**step, "generate": {"X": "hexx"}}}]})
            self.assert_exit(wrong, 2)

    def test_existing_values_are_never_touched(self):
        with Trial() as t, Sshd() as server:
            t.write(".env", b"SECRET_3='chosen by hand'\nOTHER=kept\n", 0o600)
            self.assert_exit(self.deploy(t, server), 0)
            made = values(t.read(".env"))
            self.assertEqual(made["SECRET_3"], "'chosen by hand'")
            self.assertEqual(made["OTHER"], "kept")
            self.assertEqual(len(made), 29)


if __name__ == "__main__":
    main()
