"""A work tree with workflows, and davit run in it.

    tree = Tree({"ci.yml": "on: push\\n…"})
    code, events, errors = tree.events("--secret", "X", env={"X": "…"})
    ends(events), log(events, "job")
"""
import json
import os
import shutil
import subprocess
import tempfile

DAVIT = os.path.join(os.environ["DAVIT_BUILD"], "bin", "davit")


class Tree:
    """A work tree with one commit, an environment of its own, and davit run in it."""

    def __init__(self, files):
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="davit-tree-"))
        self.top, self.tmp = os.path.join(self.dir, "shop"), os.path.join(self.dir, "tmp")
        os.mkdir(self.tmp)
        self.env = dict(os.environ, DAVIT_STATE=os.path.join(self.dir, "state"), TMPDIR=self.tmp, GIT_CONFIG_GLOBAL="/dev/null",
                        GITHUB_TOKEN="ghp_of_the_caller", NO_COLOR="1")
        subprocess.run(["git", "init", "-q", "-b", "trunk", self.top], check=True, env=self.env)
        self.write(files)
        self.git("add", "-A")
        self.git("-c", "user.name=Ann Other", "-c", "user.email=ann@example.invalid", "commit", "-qm", "one")

    def write(self, files):
        for name, text in files.items():
            path = os.path.join(self.top, ".github/workflows", name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)

    def git(self, *args):
        subprocess.run(["git", "-C", self.top, *args], check=True, env=self.env)

    def start(self, *args, env=None, **more):
        return subprocess.Popen([DAVIT, "run", *args], cwd=self.top, env=dict(self.env, **env or {}), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)

    def run(self, *args, env=None):
        p = self.start(*args, env=env)
        out, err = p.communicate(timeout=120)
        return p.returncode, out, err

    def events(self, *args, env=None):
        code, out, err = self.run(*args, "--json", env=env)
        return code, [json.loads(line) for line in out.splitlines()], err

    def left_behind(self):
        return os.listdir(self.tmp)

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def ends(events):
    """The last event's jobs: name → conclusion."""
    return {job["name"]: job["conclusion"] for job in events[-1]["jobs"]}


def log(events, job=None):
    return "".join(e["lines"] for e in events if e["event"] == "log" and job in (None, e["job"]))
