#!/usr/bin/env python3
"""C11: secrets printed in logs by a helper command."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Service, Trial, main  # noqa: E402
from servers.sshd import Account, Sshd  # noqa: E402

import base64
import json
import urllib.parse

SECRET = 'p@ss "word" \\ with/all+of=it & more'


class Masked(Case):
    def forms(self):
        raw = SECRET.encode()
        return [raw, base64.b64encode(raw), urllib.parse.quote(SECRET, safe="").encode(), json.dumps(SECRET)[1:-1].encode()]

    def look(self, t, result):
        for form in self.forms():
            self.assert_silent(result, form.decode())
            for path, data in t.files_of(t.state, t.base, t.src):
                self.assertNotIn(form, data, f"{form!r} lies in {path}")

    def steps(self, t, last):
        script = ("echo \"plain $S\"; printf %s \"$S\" | base64 -w0; echo; "
                  "python3 -c 'import os,json,urllib.parse as u; s=os.environ[\"S\"]; print(json.dumps(s)); print(u.quote(s, safe=\"\"))'")
        return [{"secret-write": {"path": t.path(".env"), "values": {"S": "${{ secrets.S }}"}}},
                {"run": {"script": script, "env": {"S": "${{ secrets.S }}"}, "undo": "none"}},
                {"run": {"script": last, "env": {"S": "${{ secrets.S }}"}, "undo": "none"}}]

    def test_a_helper_that_prints_a_secret_shows_stars_and_leaves_nothing_behind(self):
        with Trial() as t, Sshd() as server:
            result = t.deploy({"targets": {"web": server.target()}, "steps": self.steps(t, "true")}, secrets={"S": SECRET})
            self.assert_exit(result, 0)
            self.assert_says(result, "plain ***")
            self.look(t, result)
            self.assertIn(b"word", t.read(".env"))
            ids = json.loads(t.run("history", "--json").out)
            deployments = ids["deployments"] if isinstance(ids, dict) else ids
            self.look(t, t.run("show", deployments[0]["id"], "--json"))

    def test_a_failure_that_quotes_a_secret_is_masked_too(self):
        with Trial() as t, Sshd() as server:
            result = t.deploy({"targets": {"web": server.target()}, "steps": self.steps(t, 'echo "cannot log in with $S" >&2; exit 9')}, secrets={"S": SECRET})
            self.assert_exit(result, 1)
            self.assert_says(result, "cannot log in with ***")
            self.look(t, result)
            self.assertFalse(os.path.exists(t.path(".env")))

    def test_a_secret_inside_a_command_is_refused(self):
        with Trial() as t, Sshd() as server:
            steps = [{"run": {"command": ["echo", "${{ secrets.S }}"], "undo": "none"}}]
            result = t.deploy({"targets": {"web": server.target()}, "steps": steps}, secrets={"S": SECRET})
            self.assert_exit(result, 2)
            self.assert_says(result, "a secret is part of the command", "env:")
            self.look(t, result)

    def test_what_logs_in_is_never_written_and_all_secrets_at_once_need_names(self):
        with Trial() as t, Sshd() as server:
            with open(server.key) as f:
                key = f.read()
            target = server.target()
            target["ssh"]["key"] = "${{ secrets.DEPLOY_KEY }}"
            values = {"A": "${{ secrets.S }}", "K": "${{ secrets.DEPLOY_KEY }}"}
            steps = [{"secret-write": {"path": t.path("dir"), "format": "dir", "values": values}}]
            result = t.deploy({"targets": {"web": target}, "steps": steps}, secrets={"S": SECRET, "DEPLOY_KEY": key})
            self.assert_exit(result, 2)
            self.assert_says(result, "'K' is refused: it logs in to a target")
            steps = [{"secret-write": {"path": t.path("dir"), "format": "dir", "values": "${{ secrets }}"}}]
            result = t.deploy({"targets": {"web": target}, "steps": steps}, secrets={"S": SECRET, "DEPLOY_KEY": key})
            self.assert_exit(result, 2)
            self.assert_says(result, "`keys` must say which")
            self.assertEqual(os.listdir(t.target_dir), [])


if __name__ == "__main__":
    main()
