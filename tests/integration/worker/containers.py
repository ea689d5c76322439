#!/usr/bin/env python3
"""Docker actions and images as steps, with a real engine: what the container sees, what it gives back, what is left behind."""
import os
import sys
import textwrap
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from harness.waiting import until
from servers.docker import Docker
from servers.worker import House, strip_colours

TOOLS = "octo/tools"
ACTION = """
inputs: {who: {default: nobody}, secret: {}}
runs:
  using: docker
  image: Dockerfile
  args: [hello, "${{ inputs.who }}", "two words"]
  env: {EXTRA: "of ${{ inputs.who }}", OWN: manifest}
  post-entrypoint: /after.sh
"""
ENTRY = """#!/bin/sh
echo "args $# $1 $2 $3"
echo "who $INPUT_WHO extra $EXTRA own $OWN home $HOME pwd $(pwd)"
echo "workspace $GITHUB_WORKSPACE output $GITHUB_OUTPUT event $GITHUB_EVENT_PATH"
echo "agent [$DAVIT_STATE] token [$ACTIONS_RUNTIME_TOKEN]"
echo "said=from $2" >> "$GITHUB_OUTPUT"
echo "left=behind" >> "$GITHUB_STATE"
echo made > made-inside
"""


class Containers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.docker = Docker().start()
        cls.addClassCleanup(cls.docker.__exit__, None, None, None)
        cls.docker.image("local/base:1")
        cls.house = House(repos=[TOOLS])
        cls.house.__enter__()
        cls.addClassCleanup(cls.house.__exit__, None, None, None)
        cls.env = {"DOCKER_HOST": cls.docker.host, "DOCKER_CONFIG": cls.docker.config, "DOCKER_BUILDKIT": "0"}

    def test_an_action_with_a_dockerfile_is_built_run_and_ended(self):
        self.house.forge.repo(TOOLS).push({
            "d/action.yml": ACTION, "d/Dockerfile": "FROM local/base:1\nCOPY entry.sh after.sh /\nENTRYPOINT [\"/entry.sh\"]\n",
            "d/entry.sh": (ENTRY, 0o755), "d/after.sh": ("#!/bin/sh\necho \"after $STATE_left\"\n", 0o755)}, ref="main")
        own = {**self.env, "OWN": "of the agent", "EXTRA": "of the agent"}
        run = self.house.run(textwrap.dedent(f'''
            - {{id: d, name: D, uses: {TOOLS}/d@main, env: {{OWN: step, LD_PRELOAD: x}}, with: {{who: you, secret: hidden-value}}}}
            - {{name: reads, run: "cat made-inside; echo '${{{{ steps.d.outputs.said }}}}'"}}
        '''), env=own, timeout=120)
        self.assertEqual(run.conclusion, "success", run.shown)
        lines = [strip_colours(line) for line in run.lines("D")]
        for line in ("args 3 hello you two words", "who you extra of you own step home /github/home pwd /github/workspace"):
            self.assertIn(line, lines)
        place = [line for line in lines if line.startswith("workspace ")][0]
        self.assertRegex(place, r"^workspace /github/workspace output /github/file_commands/set_output_\S+ event /github/workflow/event\.json$")
        self.assertIn("agent [] token [***]", lines)
        self.assertEqual(run.lines("reads")[-2:], ["made", "from you"])
        self.assertIn("after behind", run.lines("Post D"))
        self.assertEqual(self.docker.run("ps", "-aq").strip(), "")
        self.assertNotIn("davit", self.docker.run("images"))

    def test_a_dockerfile_alone_is_an_action_in_either_spelling(self):
        text = "FROM local/base:1\nENTRYPOINT [\"/bin/sh\", \"-c\", \"echo by %s\"]\n"
        self.house.forge.repo(TOOLS).push({f"{name}-alone/{name}": text % name for name in ("Dockerfile", "dockerfile")}, ref="main")
        run = self.house.run("".join(f"- {{name: {name}, uses: {TOOLS}/{name}-alone@main}}\n" for name in ("Dockerfile", "dockerfile")),
                             env=self.env, timeout=120)
        self.assertEqual(run.conclusion, "success", run.shown)
        for name in ("Dockerfile", "dockerfile"):
            self.assertIn(f"by {name}", run.lines(name))

    def test_an_image_is_a_step_and_its_failure_the_steps(self):
        run = self.house.run(textwrap.dedent('''
            - {name: runs, uses: "docker://local/base:1", with: {entryPoint: /bin/sh, args: "-c \\"echo inside; exit 3\\""}, continue-on-error: true}
            - {name: none, uses: "docker://-v", continue-on-error: true}
            - {uses: "docker://local/base:1", with: {entryPoint: /bin/true}}
        '''), env=self.env, timeout=120)
        self.assertIn("##[group]Run docker://local/base:1", run.lines("Run local/base:1"))
        self.assertIn("inside", run.lines("runs"))
        self.assertIn("The image cannot be pulled; the one of this machine is used", run.lines("runs"))
        self.assertEqual(run.conclusion, "success", run.shown)
        self.assertIn("is no image", run.messages("none")[0][1])

    def test_a_cancel_ends_the_question_whether_an_image_is_here(self):
        began = os.path.join(self.house.folder, "asked")
        stuck = os.path.join(self.house.folder, "stuck")
        os.mkdir(stuck)
        with open(os.path.join(stuck, "docker"), "w") as docker:
            docker.write(f"#!/bin/sh\necho $1 >> {began}\nexec tail -f /dev/null\n")
        os.chmod(docker.name, 0o755)
        worker = self.house.start("- {name: runs, uses: 'docker://local/base:1'}", env={"PATH": f"{stuck}:{os.environ['PATH']}"})
        until(lambda: os.path.exists(began))
        worker.cancel()
        run = self.house.finish(worker, timeout=25)
        self.assertEqual((run.conclusion, run.conclusions()["runs"]), ("cancelled", "cancelled"))
        with open(began) as asked:
            self.assertEqual(asked.read(), "image\n")

    def test_a_machine_without_docker_says_so(self):
        run = self.house.run("- {name: runs, uses: 'docker://local/base:1'}", env={"PATH": "/nowhere"})
        self.assertEqual(run.messages("runs"), [("failure", "the step runs a container, and this machine has no program 'docker'")])


if __name__ == "__main__":
    why = Docker.why_not()
    if why:
        print(f"SKIP: {why}")
        sys.exit(77)
    unittest.main(verbosity=2)
