"""A work tree for `davit validate`."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DAVIT = os.path.join(os.environ.get("DAVIT_BUILD", os.path.join(ROOT, "build", "dev")), "bin", "davit")


class Tree(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="davit-validate-")
        self.addCleanup(self.dir.cleanup)
        self.top = os.path.join(self.dir.name, "tree")
        os.mkdir(self.top)
        self.git("init", "-q", "-b", "main")

    def put(self, name, text):
        path = os.path.join(self.top, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        return path

    def git(self, *args):
        subprocess.run(["git", "-C", self.top, "-c", "user.name=t", "-c", "user.email=t@example.org", *args], check=True, capture_output=True,
                       env=dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_NOSYSTEM="1"))

    def run_text(self, *args, state=None):
        env = dict(os.environ, DAVIT_STATE=state or os.path.join(self.dir.name, "state"))
        done = subprocess.run([DAVIT, "validate", *args], cwd=self.top, capture_output=True, text=True, env=env)
        self.assertIn(done.returncode, (0, 2), done.stderr)
        self.status = done.returncode
        return done.stdout

    def validate(self, *args, state=None):
        found = json.loads(self.run_text(*args, "--format", "json", state=state))
        self.assertEqual(self.status, 2 if any(f["severity"] == "error" for f in found) else 0)
        return found

    def codes(self, *args):
        return sorted({f["code"] for f in self.validate(*args)})


def main():
    sys.exit(unittest.main(verbosity=1))
