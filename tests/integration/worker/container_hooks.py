#!/usr/bin/env python3
"""Container hooks: a script of the host's administrator makes the job's containers and runs its steps, in place of docker. The one of this test
runs everything on this machine, with the directories where the document says they are mounted."""
import json
import os
import sys
import textwrap
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from servers.worker import House

HOOK = r'''
import json, os, subprocess, sys
said = json.load(sys.stdin)
folder = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(folder, "calls"), "a") as calls:
    calls.write(json.dumps({**said, "environ": dict(os.environ)}) + "\n")
command, args, state = said["command"], said["args"], said["state"] or {"calls": 0}
assert os.path.getsize(said["responseFile"]) == 0
state["calls"] += 1
answer, status = {"state": state}, 0

def here(text):
    for mount in sorted(state["mounts"], key=lambda m: -len(m["targetVolumePath"])):
        if text == mount["targetVolumePath"] or text.startswith(mount["targetVolumePath"] + "/"):
            return mount["sourceVolumePath"] + text[len(mount["targetVolumePath"]):]
    return text

if command == "prepare_job":
    print("::error::what this prints is no command")
    if os.path.exists(os.path.join(folder, "fail")):
        sys.exit(3)
    state["mounts"] = args["container"]["systemMountVolumes"] + args["container"]["userMountVolumes"]
    answer.update(isAlpine=False, context={"container": {"id": "pod-1", "network": "net-1"}, "services": [{"id": "s-1", "network": "net-1", "ports": {"80": "32768"}}]})
    if os.path.exists(os.path.join(folder, "mute")):
        del answer["isAlpine"]
elif command == "run_script_step":
    env = {name: here(value) for name, value in args["environmentVariables"].items()}
    env["PATH"] = ":".join([here(p) for p in args["prependPath"]] + ["/usr/bin:/bin"])
    status = subprocess.run([args["entryPoint"], *map(here, args["entryPointArgs"])], env=env, cwd=here(args["workingDirectory"])).returncode
elif command == "run_container_step":
    print("image", args.get("image"), args["entryPointArgs"], args["environmentVariables"]["GITHUB_WORKSPACE"], args["workingDirectory"])
    print("::warning::of the container")
with open(said["responseFile"], "w") as f:
    json.dump(answer, f)
sys.exit(status)
'''


class ContainerHooks(unittest.TestCase):
    def setUp(self):
        self.house = House()
        self.house.__enter__()
        self.addCleanup(self.house.__exit__, None, None, None)
        self.hook = self.write("hook.sh", f"exec python3 {self.house.folder}/hook.py\n")
        self.write("hook.py", HOOK)

    def write(self, name, text=""):
        path = os.path.join(self.house.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def run_job(self, steps, job="container: local/none:1", hook=None, **more):
        return self.house.run(textwrap.dedent(steps), textwrap.dedent(job), env={"ACTIONS_RUNNER_CONTAINER_HOOKS": hook or self.hook, "DOCKER_HOST": "unix:///nowhere"}, **more)

    def calls(self):
        try:
            with open(os.path.join(self.house.folder, "calls"), encoding="utf-8") as f:
                return [json.loads(line) for line in f]
        except FileNotFoundError:
            return []

    def test_the_script_makes_the_containers_and_runs_the_steps(self):
        self.house.secrets(KEY="s3cr3t-value", PASSWORD="p4ssw0rd-value")
        run = self.run_job("""
            - {id: a, name: a, run: 'echo "in $GITHUB_WORKSPACE as ${{ job.container.id }} with $OWN, ${{ job.services.web.ports[80] }}"; echo out=${{ github.workspace }} >> $GITHUB_OUTPUT; echo /extra >> $GITHUB_PATH; echo LATER=yes >> $GITHUB_ENV'}
            - {name: b, env: {SECRET: "${{ secrets.KEY }}"}, run: 'echo "$LATER $PATH ${{ steps.a.outputs.out }}"; echo "key $SECRET"'}
            - {name: image, uses: "docker://local/tool:1", with: {args: 'one "two three"'}}
            - {name: fails, run: exit 7}
        """, """
            env: {OWN: of-the-job, BASH_ENV: /stolen, PYTHONPATH: /stolen}
            container: {image: "registry.test/acme/base:1", env: {INSIDE: in}, options: '--cpus 1 --hostname "in side"', volumes: ["/data:/mnt:ro"], ports: ["8080:80"], credentials: {username: me, password: "${{ secrets.PASSWORD }}"}}
            services: {web: {image: "local/web:1", ports: [80]}}
        """)
        self.assertEqual([run.conclusions()[n] for n in ("Initialize containers", "a", "b", "image", "fails", "Stop containers")],
                         ["success", "success", "success", "success", "failure", "success"])
        workspace = os.path.join(self.house.work, "demo", "demo")
        self.assertIn(f"in {workspace} as pod-1 with of-the-job, 32768", run.lines("a"))
        self.assertIn("yes /extra:/usr/bin:/bin /__w/demo/demo", run.lines("b"))
        self.assertIn("key ***", run.lines("b"))
        self.assertIn("image local/tool:1 ['one', 'two three'] /github/workspace /github/workspace", run.lines("image"))
        self.assertEqual(run.messages("image"), [("warning", "of the container")])
        self.assertEqual(run.messages("fails"), [("failure", "Process completed with exit code 7.")])
        self.assertEqual(run.messages("Initialize containers"), [])
        self.assertNotIn("p4ssw0rd", json.dumps(run.shown))
        calls = self.calls()
        self.assertEqual([c["command"] for c in calls], ["prepare_job", "run_script_step", "run_script_step", "run_container_step", "run_script_step", "cleanup_job"])
        self.assertEqual([(c["state"] or {}).get("calls") for c in calls], [None, 1, 2, 3, 4, 4])     # a call that failed answers nothing
        container = calls[0]["args"]["container"]
        self.assertEqual((container["image"], container["registry"], container["portMappings"], container["createOptions"], container["environmentVariables"]["INSIDE"]),
                         ("registry.test/acme/base:1", {"username": "me", "password": "p4ssw0rd-value", "serverUrl": "registry.test"}, ["8080:80"], "--cpus 1 --hostname 'in side'", "in"))
        self.assertEqual(container["userMountVolumes"], [{"sourceVolumePath": "/data", "targetVolumePath": "/mnt", "readOnly": True}])
        self.assertEqual(calls[0]["args"]["services"][0]["contextName"], "web")
        for call in calls:
            self.assertNotIn("/stolen", call["environ"].values())       # the workflow has no say in how the script runs
            self.assertNotIn("s3cr3t-value", call["environ"].values())
            self.assertFalse(os.path.exists(call["responseFile"]))

    def test_a_script_that_fails_or_says_nonsense_fails_the_job_and_still_cleans_up(self):
        self.write("fail")
        run = self.run_job("- {name: a, run: echo}")
        self.assertEqual((run.conclusion, run.conclusions()["a"]), ("failure", "skipped"))
        self.assertIn("Executing the custom container implementation failed", run.messages("Initialize containers")[0][1])
        self.assertEqual([c["command"] for c in self.calls()], ["prepare_job", "cleanup_job"])
        os.unlink(os.path.join(self.house.folder, "fail"))
        self.write("mute")
        self.assertIn("does not say 'isAlpine'", self.run_job("- {name: a, run: echo}").messages("Initialize containers")[0][1])
        for hook, why in ((self.house.folder + "/none.sh", "no absolute path of a file"), (self.write("hook.exe"), "neither .js, .sh nor .ps1")):
            self.assertIn(why, self.run_job("- {name: a, run: echo}", hook=hook).messages("Initialize containers")[0][1])

    def test_the_service_can_forbid_it(self):
        def forbid(message):
            message["variables"]["DistributedTask.AllowRunnerContainerHooks"] = {"value": "false"}

        self.assertEqual(self.run_job("- {name: a, run: echo}", change=forbid).conclusion, "failure")     # there is no docker
        self.assertEqual(self.calls(), [])


if __name__ == "__main__":
    unittest.main()
