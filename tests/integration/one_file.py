#!/usr/bin/env python3
"""davit, davit-agent and davit-step as one file (DAVIT_ONE_FILE), with a davit-forge beside it: the form of the static release, here of ordinary parts;
and what `davit --version --licences` says of both forms."""
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import libssh2  # noqa: E402
from harness.tree import Tree, ends  # noqa: E402

BUILD = os.environ["DAVIT_BUILD"]
ORDINARY, ONE = os.path.join(BUILD, "bin"), os.environ.get("DAVIT_ONE", os.path.join(BUILD, "one"))
MACHINE = platform.machine()
# The names of all processes above the one of the step's command.
NAMES = 'p=$$; while [ "$p" -gt 1 ]; do cat /proc/$p/comm; p=$(cut -d " " -f 4 /proc/$p/stat); done'
WORKFLOW = """on: push
jobs:
  job:
    runs-on: x
    steps:
      - uses: davit-deploy/davit/actions/run@v1
        with: {command: 'sh %s/names', undo: none, deployment: '{name: shop, environment: test}'}
"""


def run(*words, code=0, **more):
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL, **more)
    assert done.returncode == code, (words, done)
    return done


class OneFile(unittest.TestCase):
    def setUp(self):
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="davit-one-"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def put(self, name, program="davit"):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # A link of the same file: nothing of the build is beside it.
        try:
            os.link(os.path.join(ONE, program), path)
        except OSError:
            shutil.copy(os.path.join(ONE, program), path)
        return path

    def deploys(self, davit):
        work = os.path.join(self.dir, "work")
        os.makedirs(work)
        with open(os.path.join(work, "d.yml"), "w", encoding="ascii") as f:
            json.dump({"name": "shop", "environment": "test", "targets": {"here": {"local": {}, "base": os.path.join(self.dir, "base")}},
                       "steps": [{"run": {"command": ["touch", os.path.join(self.dir, "made")], "undo": "none"}}]}, f)
        env = {"PATH": "/usr/bin:/bin", "DAVIT_STATE": os.path.join(self.dir, "state"), "HOME": work}
        run(davit, "deploy", "d.yml", cwd=work, env=env)
        self.assertTrue(os.path.exists(os.path.join(self.dir, "made")))
        self.assertIn("shop", run(davit, "history", cwd=work, env=env).stdout)

    def test_it_deploys_under_whatever_name_it_has_with_nothing_beside_it(self):
        self.deploys(self.put("davit-linux-" + MACHINE))

    def test_it_deploys_through_a_link(self):
        self.put("opt/davit-1.0.0")
        os.symlink("opt/davit-1.0.0", os.path.join(self.dir, "davit"))
        self.deploys(os.path.join(self.dir, "davit"))

    def test_it_has_every_command_of_the_four_programs(self):
        one, ordinary = self.put("davit"), os.path.join(ORDINARY, "davit")
        self.put("davit-forge", "davit-forge")
        listed = run(ordinary, "--complete").stdout
        self.assertEqual(run(one, "--complete").stdout, listed)
        for line in listed.splitlines():
            name = line.split("\t")[0]
            self.assertEqual(run(one, "help", name).stdout, run(ordinary, "help", name).stdout, name)

    def test_called_as_one_of_its_parts_it_is_that_part(self):
        os.symlink(self.put("davit"), os.path.join(self.dir, "davit-step"))
        os.symlink("davit", os.path.join(self.dir, "davit-agent"))
        self.assertIn("davit-step: unknown command or step 'no-such'", run(os.path.join(self.dir, "davit-step"), "no-such", code=2).stderr)
        self.assertIn("davit-agent is executed by davit", run(os.path.join(self.dir, "davit-agent"), code=2).stderr)

    def test_a_job_of_a_workflow_runs_with_the_two_files_of_a_release(self):
        davit = self.put("davit-linux-" + MACHINE)
        self.put("davit-forge-linux-" + MACHINE, "davit-forge")
        with open(os.path.join(self.dir, "names"), "w", encoding="ascii") as f:
            f.write(f"({NAMES}) >{self.dir}/found")
        tree = Tree({"ci.yml": WORKFLOW % self.dir})
        self.addCleanup(tree.remove)
        done = run(davit, "run", "--json", cwd=tree.top, env=tree.env)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(ends(events), {"job": "success"}, done.stdout)
        with open(os.path.join(self.dir, "found"), encoding="utf-8") as f:
            names = f.read().split("\n")
        # As separate programs are called: the agent finds the steps that a dead worker left by that name.
        self.assertIn("davit-step", names)
        self.assertIn("davit-agent", names)

    def test_without_the_forge_its_commands_say_which_file_is_missing(self):
        said = run(self.put("davit"), "forge", "--repo", self.dir, code=1).stderr
        self.assertIn("the program 'davit-forge' is not beside", said)
        self.assertIn("put it there as 'davit-forge'", said)


class Licences(unittest.TestCase):
    def parts(self, davit):
        document = json.loads(run(davit, "--version", "--licences", "--json").stdout)
        self.assertEqual("davit " + document["version"], run(davit, "--version").stdout.strip())
        return {part["name"]: part for part in document["parts"]}

    def test_both_forms_name_the_libraries_they_load_with_their_versions(self):
        parts = self.parts(os.path.join(ORDINARY, "davit"))
        self.assertEqual({name: part["version"] for name, part in parts.items()},
                         {name: part["version"] for name, part in self.parts(os.path.join(BUILD, "one", "davit")).items()})
        for name, package in (("curl", "libcurl"), ("sqlite", "sqlite3"), ("pcre2", "libpcre2-8"), ("zlib", "zlib"), ("libmicrohttpd", "libmicrohttpd")):
            self.assertEqual(parts[name]["version"], run("pkg-config", "--modversion", package).stdout.strip(), name)
            self.assertEqual(parts[name]["linked"], "at run time")
        self.assertEqual(parts["libssh2"]["linked"], "built in" if libssh2.KIND == "bundled" else "at run time")
        self.assertEqual(parts["davit"], {"name": "davit", "version": parts["davit"]["version"], "licence": "MIT", "linked": "built in"})

    def test_for_people_each_part_is_a_line(self):
        lines = run(os.path.join(ORDINARY, "davit"), "version", "--licences").stdout.splitlines()
        self.assertEqual(lines[0].split(), ["davit", lines[0].split()[1], "built", "in", "MIT"])
        self.assertTrue(any(line.split()[0] == "libgit2" and line.endswith("GPL-2.0-only WITH GCC-exception-2.0") for line in lines))


if __name__ == "__main__":
    unittest.main(verbosity=1)
