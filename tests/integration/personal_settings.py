#!/usr/bin/env python3
"""~/.config/davit/config.yml: what a person does not type again."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

BIN = os.path.join(os.environ["DAVIT_BUILD"], "bin")
DEPLOYMENT = {"name": "shop", "environment": "test", "targets": {"here": {"local": {}, "base": "$BASE"}},
              "steps": [{"run": {"command": ["sh", "-c", "printf '%s|%s' \"$PASS\" \"$REGION\" >made"], "cwd": "$DIR", "env": {"PASS": "${{ secrets.DB_PASSWORD }}", "REGION": "${{ vars.REGION }}"}, "undo": "none"}}]}


class PersonalSettings(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="davit-settings-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.path = os.path.join(self.dir, ".config/davit/config.yml")
        os.makedirs(os.path.dirname(self.path))
        text = json.dumps(DEPLOYMENT).replace("$BASE", self.dir + "/base").replace("$DIR", self.dir)
        self.write("deploy.yml", text)

    def write(self, name, text, mode=0o600):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def settings(self, text, mode=0o644):
        return self.write(self.path, text, mode)

    def davit(self, *words, code=0, **env):
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "XDG_", "DAVIT_"))}
        done = subprocess.run([os.path.join(BIN, "davit"), *words], cwd=self.dir, env={**keep, "HOME": self.dir, "DAVIT_STATE": self.dir + "/state", **env},
                              capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, code, f"{done.stdout}\n{done.stderr}")
        return done

    def made(self):
        with open(os.path.join(self.dir, "made"), encoding="utf-8") as f:
            return f.read()

    def test_a_deployment_takes_its_file_secrets_and_variables_from_them(self):
        self.settings("file: deploy.yml\nsecrets:\n  db_password: { command: [printf, 'from a command\\n'] }\n  OTHER: { command: ['false'] }\nvars: { REGION: fr-par }\n")
        done = self.davit("deploy")
        self.assertEqual(self.made(), "from a command|fr-par")
        self.assertNotIn("from a command", done.stdout + done.stderr)

    def test_the_command_line_wins(self):
        self.settings("secrets:\n  DB_PASSWORD: { command: ['false'] }\nvars: { REGION: fr-par }\n")
        self.davit("deploy", "deploy.yml", "--secret", "DB_PASSWORD", "--var", "REGION=nl-ams", DB_PASSWORD="mine")
        self.assertEqual(self.made(), "mine|nl-ams")

    def test_a_secret_comes_from_a_file_that_only_its_owner_reads(self):
        self.write("password", "of a file\n")
        self.settings("secrets: { DB_PASSWORD: { file: ~/password } }\nvars: { REGION: 1 }\n")
        self.davit("deploy", "deploy.yml")
        self.assertEqual(self.made(), "of a file|1")
        os.chmod(os.path.join(self.dir, "password"), 0o640)
        done = self.davit("deploy", "deploy.yml", code=2)
        self.assertIn("is not a file that only you can read", done.stderr)
        self.assertIn("chmod 0600", done.stderr)

    def test_what_is_wrong_in_them_is_named_with_its_place(self):
        for text, words in (("secret: {}\n", "config.yml:1:"), ("secrets:\n  A: { commnd: [x] }\n", "config.yml:2:"), ("vars: { A: [1] }\n", "config.yml:1:"),
                            ("file: [\n", "config.yml:"), ("secrets: { A: { command: [x], file: y } }\n", "config.yml:1:")):
            self.settings(text)
            self.assertIn(words, self.davit("deploy", "deploy.yml", code=2).stderr)
        self.settings("secrets: { DB_PASSWORD: { command: [sh, -c, 'echo no such entry >&2; exit 3'] } }\nvars: { REGION: a }\n")
        done = self.davit("deploy", "deploy.yml", code=2)
        self.assertIn("secret 'DB_PASSWORD' of your settings: sh ended with status 3: no such entry", done.stderr)

    def test_settings_that_others_may_write_are_refused(self):
        self.settings("vars: { REGION: a }\n", 0o664)
        done = self.davit("deploy", "deploy.yml", code=2)
        self.assertIn("is not a file that only you can write", done.stderr)

    def test_a_job_does_not_read_them(self):
        self.settings("nonsense: 1\n")
        done = self.davit("deploy", "deploy.yml", "--secret", "DB_PASSWORD", "--var", "REGION=a", DB_PASSWORD="mine", GITHUB_ACTIONS="true")
        self.assertNotIn("config.yml", done.stderr)

    def test_a_workflow_that_runs_here_gets_what_it_mentions(self):
        os.makedirs(os.path.join(self.dir, ".github/workflows"))
        self.write(".github/workflows/ci.yml", "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: echo \"$S in ${{ vars.REGION }}\" | rev\n        env: { S: '${{ secrets.TOKEN }}' }\n", 0o644)
        self.settings("secrets:\n  TOKEN: { command: [printf, abcdef] }\n  TOKEN_2: { command: ['false'] }\nvars: { REGION: fr-par }\n")
        for words in (("init", "-q"), ("add", "-A", ".github"), ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x")):
            subprocess.run(["git", *words], cwd=self.dir, check=True, capture_output=True)
        self.assertIn("rap-rf ni fedcba", self.davit("run").stdout)

    def test_the_forge_takes_its_options_from_them(self):
        self.settings("forge: { listen: 'nowhere', repos: [a/b=x] }\n")
        self.assertIn("'nowhere'", self.davit("forge", code=2).stderr)


if __name__ == "__main__":
    unittest.main(verbosity=1)
