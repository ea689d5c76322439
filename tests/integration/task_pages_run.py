#!/usr/bin/env python3
"""The commands of docs/tasks run as they stand there: `sh` blocks by bash, `yaml` blocks that begin with `# file: NAME` as files."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.fleet import Journal  # noqa: E402
from servers import host_root, postgres  # noqa: E402
from servers.docker import Docker  # noqa: E402
from servers.registry import Registry  # noqa: E402
from servers.scaleway import PROJECT, TOKEN, Scaleway  # noqa: E402
from servers.terraform_state import StateServer  # noqa: E402

OF_A_HOST = "make-a-host-ready.md"  # what it does is done on a machine of its own
OF_TERRAFORM = "run-terraform.md"
OF_A_REGISTRY = "promote-what-passed.md"
OF_CONTAINERS = "run-jobs-in-containers.md"
OF_SCALEWAY = "deploy-scaleway.md"  # its commands ask a stand-in: their target gets its URL
OF_GH = "watch-runs-with-gh.md"
OF_A_JOURNAL = "share-a-journal.md"
OF_A_STATE = "keep-state-elsewhere.md"  # at a stand-in of terraform's protocol
SOURCE, BUILD = os.environ["DAVIT_SOURCE"], os.environ["DAVIT_BUILD"]


def script_of(page):
    with open(page, encoding="utf-8") as f:
        text = f.read()
    lines = ["set -eu"]
    for kind, body in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S):
        named = re.match(r"# file: (\S+)\n", body)
        if kind == "sh":
            lines.append(body)
        elif named:
            lines.append(f"cat > {named.group(1)} <<'DAVIT_END'\n{body}DAVIT_END")
    return "\n".join(lines)


def wants_an_engine(page):
    return os.path.basename(page) == OF_CONTAINERS or "docker compose" in script_of(page)


class TaskPages(unittest.TestCase):
    def test_every_page_is_in_the_index(self):
        with open(os.path.join(SOURCE, "docs/tasks/README.md"), encoding="utf-8") as f:
            index = f.read()
        for page in glob.glob(os.path.join(SOURCE, "docs/tasks/*.md")):
            if os.path.basename(page) != "README.md":
                self.assertIn(f"]({os.path.basename(page)})", index)

    def run_page(self, page, docker=None, front=(), script=None, **variables):
        folder = tempfile.mkdtemp(prefix="davit-page-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        state = tempfile.mkdtemp(prefix="davit-state-")
        self.addCleanup(shutil.rmtree, state, ignore_errors=True)
        env = dict(os.environ, PATH=os.path.join(BUILD, "bin") + ":" + os.environ["PATH"], DAVIT_STATE=state, HOME=folder, **variables)
        if docker:
            docker.use_in_home(folder)
        p = subprocess.run([*front, "bash", "-c", script or script_of(page)], cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False,
                           stdin=subprocess.DEVNULL)
        self.assertEqual(p.returncode, 0, f"{p.stdout}\n{p.stderr}")

    def test_the_commands_of_every_page_work_as_written(self):
        for page in sorted(glob.glob(os.path.join(SOURCE, "docs/tasks/*.md"))):
            with self.subTest(page=os.path.basename(page)):
                if not wants_an_engine(page) and os.path.basename(page) not in (OF_A_HOST, OF_TERRAFORM, OF_A_REGISTRY, OF_SCALEWAY, OF_GH, OF_A_JOURNAL, OF_A_STATE):
                    self.run_page(page)

    def test_the_commands_of_the_page_about_scaleway_work_as_written(self):
        page = os.path.join(SOURCE, "docs/tasks", OF_SCALEWAY)
        with Scaleway() as s:
            self.run_page(page, script=script_of(page).replace(f"project: {PROJECT}", f"project: {PROJECT}\n      url: {s.url}"), SCW_TOKEN=TOKEN)
            self.assertEqual((s.server("shop")["state"], s.wrong), ("running", []))

    @unittest.skipUnless(shutil.which("gh"), "this machine has no gh")
    def test_the_commands_of_the_page_about_gh_work_as_written(self):
        self.run_page(os.path.join(SOURCE, "docs/tasks", OF_GH))

    @unittest.skipIf(postgres.lacking(), postgres.lacking())
    def test_the_commands_of_the_page_about_a_shared_journal_work_as_written(self):
        with Journal() as journal:
            self.run_page(os.path.join(SOURCE, "docs/tasks", OF_A_JOURNAL), JOURNAL_URL=journal.url())

    def test_the_commands_of_the_page_about_states_work_as_written(self):
        with StateServer(password="pw") as server:
            self.run_page(os.path.join(SOURCE, "docs/tasks", OF_A_STATE), STATE_URL=server.url, STATE_PASSWORD="pw")
            self.assertEqual(server.broken, [])

    @unittest.skipUnless(shutil.which("terraform"), "this machine has no terraform")
    def test_the_commands_of_the_page_about_terraform_work_as_written(self):
        self.run_page(os.path.join(SOURCE, "docs/tasks", OF_TERRAFORM))

    @unittest.skipUnless(Registry.available(), "this machine has no docker-registry")
    def test_the_commands_of_the_page_that_needs_a_registry_work_as_written(self):
        with Registry() as registry:
            candidate = registry.push_index("shop/web", "candidate")
            self.run_page(os.path.join(SOURCE, "docs/tasks", OF_A_REGISTRY), REGISTRY=registry.url)
            self.assertEqual(registry.digest("shop/web", "production"), candidate)

    def test_the_commands_of_the_page_that_changes_a_host_work_as_written(self):
        why = host_root.why_not()
        if why:
            self.skipTest(why)
        self.run_page(os.path.join(SOURCE, "docs/tasks", OF_A_HOST), front=[sys.executable, os.path.join(SOURCE, "tests/servers/host_root.py")])

    def test_the_commands_of_pages_that_need_an_engine_work_as_written(self):
        why = Docker.why_not()
        if why:
            self.skipTest(why)
        with Docker() as docker:
            docker.image("busybox:stable")
            for page in sorted(glob.glob(os.path.join(SOURCE, "docs/tasks/*.md"))):
                with self.subTest(page=os.path.basename(page)):
                    if wants_an_engine(page):
                        self.run_page(page, docker)


if __name__ == "__main__":
    unittest.main(verbosity=1)
