#!/usr/bin/env python3
"""Jobs with `container:` and `services:`, with a real engine: what their steps see, how they end, what is left behind."""
import json
import os
import pwd
import shutil
import subprocess
import sys
import textwrap
import unittest
import unittest.mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from harness.waiting import until
from servers.docker import Docker
from servers.registry import Registry
from servers.runner import Job
from servers.worker import House, davit

PROGRAM = davit()

BASE, WEB, NODE = "local/base:1", "local/web:1", "local/node:1"
TOOLS = "octo/tools"
# A container hook as administrators have them: JavaScript, with the engine. Where it is comes from the agent's environment.
HOOK = r"""
const { spawnSync } = require("child_process"), fs = require("fs");
const { command, responseFile, args, state } = JSON.parse(fs.readFileSync(0, "utf8"));
const docker = (...words) => {
  const run = spawnSync("docker", words, { stdio: ["ignore", command.startsWith("run_") ? "inherit" : "pipe", "inherit"], encoding: "utf8" });
  if (run.status !== 0) process.exit(run.status ?? 1);
  return (run.stdout ?? "").trim();
};
const variables = (map) => Object.entries(map ?? {}).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
const mounts = (c) => [...(c.systemMountVolumes ?? []), ...(c.userMountVolumes ?? [])]
  .flatMap((m) => ["-v", `${m.sourceVolumePath}:${m.targetVolumePath}${m.readOnly ? ":ro" : ""}`]);
let answer = {};
if (command === "prepare_job") {
  const c = args.container, network = docker("network", "create", "hook-network");
  const id = docker("run", "-d", "--label", "by-the-hook", "--network", network, "-w", c.workingDirectory, ...variables(c.environmentVariables), ...mounts(c),
    "--entrypoint", c.entryPoint, c.image, ...c.entryPointArgs);
  answer = { state: { id, network }, context: { container: { id, network } }, isAlpine: true };
} else if (command === "run_script_step") {
  const path = args.prependPath.length ? ["-e", `PATH=${args.prependPath.join(":")}:/usr/bin:/bin`] : [];
  docker("exec", "-w", args.workingDirectory, ...variables(args.environmentVariables), ...path, state.id, args.entryPoint, ...args.entryPointArgs);
  answer = { state };
} else if (command === "run_container_step") {
  docker("run", "--rm", "--network", state.network, "-w", args.workingDirectory, ...variables(args.environmentVariables), ...mounts(args),
    ...(args.entryPoint ? ["--entrypoint", args.entryPoint] : []), args.image, ...args.entryPointArgs);
  answer = { state };
} else {
  if (state) { docker("rm", "-f", state.id); docker("network", "rm", state.network); }
}
fs.writeFileSync(responseFile, JSON.stringify(answer));
"""
SERVED = "wget -qO /dev/null http://127.0.0.1/index.html"
HEALTH = f'--health-cmd \\"{SERVED}\\" --health-interval 200ms --health-retries 1000'


class JobContainers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.docker = Docker().start()
        cls.addClassCleanup(cls.docker.__exit__, None, None, None)
        cls.docker.image(BASE)
        cls.build(WEB, 'CMD ["sh", "-c", "echo served > /index.html; echo \'::error::of the service\'; httpd -f -p 80 -h /"]')
        cls.house = House(repos=[TOOLS])
        cls.house.__enter__()
        cls.addClassCleanup(cls.house.__exit__, None, None, None)
        cls.env = {"DOCKER_HOST": cls.docker.host, "DOCKER_CONFIG": cls.docker.config, "DOCKER_BUILDKIT": "0"}

    @classmethod
    def build(cls, name, more):
        subprocess.run(["docker", "build", "-q", "-t", name, "-"], input=f"FROM {BASE}\n{more}\n".encode(), check=True, capture_output=True,
                       env={**cls.docker.environment(), "DOCKER_BUILDKIT": "0"})

    def begin(self, steps, job, env=None, **more):
        return self.house.start(textwrap.dedent(steps), textwrap.dedent(job), env={**self.env, **(env or {})}, **more)

    def run_job(self, steps, job, **more):
        return self.house.finish(self.begin(steps, job, **more), timeout=120)

    def assert_nothing_is_left(self):
        self.assertEqual(self.docker.run("ps", "-aq").strip(), "")
        names = self.docker.run("network", "ls", "--format", "{{.Name}}").split()
        self.assertEqual([name for name in names if name.startswith("github_")], [])

    def workspace(self, *parts):
        return os.path.join(self.house.work, "demo", "demo", *parts)

    def test_steps_run_in_the_container_and_give_back_what_they_set(self):
        self.house.secrets(WORD="of-the-repository")
        with open(os.path.join(self.house.folder, "given"), "w") as given:
            given.write("noted\n")
        run = self.run_job("""
            - {id: a, name: a, run: "pwd; echo $INSIDE $JOB $HOME; cat /etc/hostname; id -u; mkdir -p sub; echo made > sub/made
               \\n echo out=$GITHUB_WORKSPACE/x >> $GITHUB_OUTPUT; echo LATER=yes >> $GITHUB_ENV; echo /extra >> $GITHUB_PATH"}
            - name: b
              working-directory: sub
              env: {OWN: "${{ github.workspace }}/own", SECRET: "${{ secrets.WORD }}"}
              run: |
                pwd
                echo "$LATER $PATH $OWN"
                test "$SECRET" = of-the-repository && echo "the secret $SECRET is here"
                echo '${{ github.workspace }} ${{ runner.temp }} ${{ steps.a.outputs.out }}'
                echo "::warning file=$GITHUB_WORKSPACE/sub/made,line=1::seen"
                cat $GITHUB_EVENT_PATH > event; cat /data/given; touch /github/home/x
                exit 3
            - {name: c, if: "failure() && job.container.id != '' && job.container.network != ''", shell: "sh -c", run: "none {0}"}
            - {name: d, if: always(), shell: "nowhere {0}", run: "x"}
        """, f"""
            env: {{JOB: of the job}}
            container: {{image: "docker://{BASE}", env: {{INSIDE: in, N: 1}}, options: '--cpus 1 --hostname "inside" --user 0:0', volumes: ["{self.house.folder}/given:/data/given:ro"]}}
        """, settings={"actions": "docker://local/base"})
        self.assertEqual(run.conclusions(), {"Set up job": "success", "Initialize containers": "success", "a": "success", "b": "failure",
                                             "c": "failure", "d": "failure", "Stop containers": "success", "Complete job": "success"})
        a, b = run.lines("a"), run.lines("b")
        self.assertEqual(a[-4:], ["/__w/demo/demo", "in of the job /github/home", "inside", "0"])
        for line in ("/__w/demo/demo/sub", "yes /extra:/bin /__w/demo/demo/own", "the secret *** is here", "/__w/demo/demo /__w/_temp /__w/demo/demo/x",
                     "noted", "shell: sh -e {0}"):
            self.assertIn(line, b)
        self.assertEqual([(x["level"], x.get("path")) for x in run.annotations("b")], [("warning", "sub/made"), ("failure", None)])
        self.assertEqual(run.messages("d")[0][1], "Process completed with exit code 127.")
        made = [line for line in run.lines("Initialize containers") if " create --name " in line][0]
        self.assertRegex(made, r"^##\[command\]\S+/docker create --name [0-9a-f]{32}_localbase1_[0-9a-f]{6} --workdir /__w/demo/demo --network github_network_[0-9a-f]{32} ")
        self.assertNotIn("of the job", made)
        with open(self.workspace("sub", "event")) as event:
            self.assertIn("refs/heads/main", event.read())
        self.assert_nothing_is_left()

    def test_the_machines_proxies_are_known_and_paths_of_matchers_are_the_machines(self):
        matcher = {"problemMatcher": [{"owner": "by-project", "pattern": [
            {"regexp": r"^(.+):(\d+): (.*) \[(.*)\]$", "file": 1, "line": 2, "message": 3, "fromPath": 4}]}]}
        run = self.run_job(f"""
            - {{name: asks, run: env}}
            - {{name: image, uses: "docker://{BASE}", with: {{entrypoint: env}}, env: {{no_proxy: of.the.step}}}}
            - name: matches
              env: {{MATCHER: {json.dumps(json.dumps(matcher))}}}
              run: |
                mkdir -p .git src/deep; printf '[remote "origin"]\\n url = %s/%s\\n' "$GITHUB_SERVER_URL" "$GITHUB_REPOSITORY" > .git/config
                touch src/a.c src/deep/b.c /tmp/c.c; printf '%s' "$MATCHER" > "$GITHUB_WORKSPACE/m.json"
                echo "::add-matcher::$GITHUB_WORKSPACE/m.json"
                echo "a.c:1: beside its project [$GITHUB_WORKSPACE/src/x.proj]"
                echo "../a.c:2: above it [src/deep/x.proj]"
                echo "$GITHUB_WORKSPACE/src/deep/b.c:3: whole [/tmp/x.proj]"
                echo "c.c:4: of the container alone [/tmp/x.proj]"
                echo "{self.workspace()}/src/a.c:5: of the machine [x.proj]"
        """, f"""
            container: {{image: "{BASE}", env: {{no_proxy: of.the.container}}}}
        """, settings={"actions": "docker://local/base"},
            env={"HTTPS_PROXY": "user:hidden-word@192.0.2.1:3128", "no_proxy": "127.0.0.1,localhost,a.example",
                 "https_proxy": "", "http_proxy": "", "HTTP_PROXY": "", "all_proxy": "", "ALL_PROXY": ""})
        self.assertEqual(run.conclusion, "success", run.shown)
        url = "http://user:***@192.0.2.1:3128"
        proxies = [f"HTTPS_PROXY={url}", "NO_PROXY=127.0.0.1,localhost,a.example", f"https_proxy={url}"]
        for name, own in (("asks", "no_proxy=of.the.container"), ("image", "no_proxy=of.the.step")):
            seen = [line for line in run.lines(name) if "_proxy=" in line.lower()]
            self.assertEqual(sorted(seen), [*proxies, own])
        self.assertNotIn("hidden-word", repr(run.shown))
        self.assertEqual([(a["message"], a.get("path"), a["startLine"]) for a in run.annotations("matches")], [
            ("beside its project", "src/a.c", 1), ("above it", "src/a.c", 2), ("whole", "src/deep/b.c", 3), ("of the container alone", None, 4),
            ("of the machine", "src/a.c", 5)])
        self.assert_nothing_is_left()

    def test_services_are_waited_for_and_reached_by_name_and_by_port(self):
        services = f"""
            services:
              web: {{image: {WEB}, ports: [80], options: "{HEALTH}"}}
              none: {{image: "${{{{ '' }}}}"}}
              bare: {BASE}
        """
        folder, asked = os.path.join(self.house.folder, "told"), os.path.join(self.house.folder, "asked")
        os.mkdir(folder)
        with open(os.path.join(folder, "docker"), "w") as told:
            told.write(f"#!/bin/sh\n{shutil.which('docker')} \"$@\"\nstatus=$?\ncase \"$*\" in *State.Running*) echo >> {asked};; esac\nexit $status\n")
        os.chmod(told.name, 0o755)
        gate = services.replace(SERVED, f"test -e /gate/asked && {SERVED}").replace("ports: [80]", f"ports: [80], volumes: ['{self.house.folder}:/gate:ro']")
        run = self.run_job(f"""
            - {{name: inside, run: "wget -qO- http://web/index.html; echo 'port ${{{{ job.services.web.ports[80] != '' }}}} ${{{{ job.services.web.network == job.container.network }}}}'"}}
        """, f"container: {BASE}\n" + textwrap.dedent(gate), env={"PATH": f"{folder}:{os.environ['PATH']}"})
        self.assertEqual(run.conclusion, "success", run.log("Initialize containers"))
        self.assertEqual(run.lines("inside")[-2:], ["served", "port true true"])
        self.assertIn("The service 'none' will not be started because the container definition has an empty image.", run.lines("Set up job"))
        begun = run.lines("Initialize containers")
        self.assertIn("web service is starting, waiting 2 seconds before checking again.", begun)
        self.assertEqual([line for line in begun if line.endswith("service is healthy.")], ["web service is healthy.", "bare service is healthy."])
        self.assertIn(" ::error::of the service", run.lines("Stop containers"))
        self.assertEqual(run.annotations("Stop containers"), [])
        self.assert_nothing_is_left()
        # An engine gives IPv4 and IPv6 ports of their own where one is taken; the number is that of its last line, and `localhost` is both.
        run = self.run_job("""
            - name: here
              run: |
                exec 3<>/dev/tcp/localhost/${{ job.services.web.ports['80'] }}
                printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3
              shell: bash
        """, services)
        self.assertEqual((run.conclusion, run.lines("here")[-1]), ("success", "served"), run.log("here"))
        self.assert_nothing_is_left()

    def test_a_service_that_is_not_healthy_fails_the_job_with_its_log(self):
        run = self.run_job("""
            - {name: never, run: touch never}
        """, f"""
            services:
              bad: {{image: {WEB}, options: "--health-cmd false --health-interval 200ms --health-retries 1"}}
        """)
        self.assertEqual((run.conclusion, run.conclusions()["never"], run.conclusions()["Initialize containers"]), ("failure", "skipped", "failure"))
        self.assertEqual([m for _, m in run.messages("Initialize containers")],
                         [f"Failed to initialize container {WEB}", "One or more containers failed to start."])
        lines = run.lines("Initialize containers")
        self.assertIn("##[group]Service container bad failed.", lines)
        self.assertIn(" ::error::of the service", lines)
        self.assertFalse(os.path.exists(self.workspace("never")))
        self.assert_nothing_is_left()

    def test_a_login_is_good_for_the_pull_and_nothing_of_it_is_left(self):
        if not Registry.available():
            self.skipTest("docker-registry is missing")
        word = "s3cret-of-the-registry"
        self.house.secrets(PASSWORD=word)
        with Registry(users={"deployer": word}) as registry:
            image = f"{registry.host}/team/base:1"
            own = os.path.join(self.house.folder, "login")
            self.docker.run("tag", BASE, image)
            self.docker.run("--config", own, "login", registry.host, "-u", "deployer", "--password-stdin", data=word.encode())
            self.docker.run("--config", own, "push", image)
            self.docker.run("rmi", image)
            seen = self.house.temp("config")
            run = self.run_job("""
                - {name: inside, run: "pwd; ls -a /__w/_temp"}
            """, f"""
                container: {{image: "{image}", credentials: {{username: deployer, password: "${{{{ secrets.PASSWORD }}}}"}}}}
            """)
            self.assertFalse(os.path.exists(seen))
        self.assertEqual(run.conclusion, "success", run.log("Initialize containers"))
        lines = run.lines("Initialize containers")
        self.assertTrue(any(f" login {registry.host} -u deployer --password-stdin" in line for line in lines), lines)
        self.assertIn("Login Succeeded", lines)
        self.assertNotIn(word, run.shown["jobs"][0]["log"] if "log" in run.shown["jobs"][0] else "")
        self.assertFalse(any(".docker_" in line for line in run.lines("inside")), run.lines("inside"))
        config = os.path.join(self.docker.config, "config.json")
        self.assertNotIn("deployer", open(config).read() if os.path.exists(config) else "")
        self.docker.run("rmi", image)

    def test_a_cancel_reaches_the_program_in_the_container_and_all_of_it_goes(self):
        worker = self.begin("""
            - name: waits
              run: |
                trap 'echo told > told; exit 1' INT
                tail -f /dev/null & echo $! > child
                echo up > up
                while :; do wait; done
            - {name: after, if: always(), run: 'test -z "$(cat /proc/$(cat child)/cmdline)" || echo alive; pwd'}
        """, f"container: {BASE}")
        until(lambda: os.path.exists(self.workspace("up")))
        worker.cancel()
        run = self.house.finish(worker, timeout=60)
        self.assertEqual((run.conclusion, run.conclusions()["waits"], run.conclusions()["after"]), ("cancelled", "cancelled", "success"))
        self.assertTrue(os.path.exists(self.workspace("told")))
        self.assertEqual(run.lines("after")[-1], "/__w/demo/demo")
        self.assertNotIn("alive", run.lines("after"))
        self.assert_nothing_is_left()

    def test_a_cancel_ends_the_wait_for_a_service_and_what_was_started_goes(self):
        never = '--health-cmd \\"test -e /never\\" --health-interval 200ms --health-retries 100000'
        worker = self.begin("- {name: first, run: touch ran}", f"services: {{slow: {{image: {WEB}, options: '{never}'}}}}".replace("'", '"'))
        until(lambda: len(self.docker.run("ps", "-q", "--filter", "health=starting").split()) == 1)
        worker.cancel()
        run = self.house.finish(worker, timeout=60)
        self.assertEqual((run.conclusion, run.conclusions()["Initialize containers"], run.conclusions()["first"], run.conclusions()["Stop containers"]),
                         ("cancelled", "cancelled", "skipped", "success"))
        self.assert_nothing_is_left()

    def test_what_a_killed_worker_left_is_removed_before_the_next_job(self):
        worker = self.begin("- {name: waits, run: 'echo up > began; exec tail -f /dev/null'}", f"container: {BASE}\nservices: {{other: {BASE}}}")
        until(lambda: os.path.exists(self.workspace("began")))
        worker.process.kill()
        worker.wait()
        self.assertEqual(len(self.docker.run("ps", "-q").split()), 2)
        Job(self.house.runner, worker.message).complete("failed")
        run = self.run_job("- {name: other, run: 'id -u; pwd; test -r $GITHUB_EVENT_PATH; ls /__w'}",
                           f"container: {{image: {BASE}, options: '--user 1234:1234'}}")
        self.assertEqual((run.conclusion, run.lines("other")[-6:]), ("success", ["1234", "/__w/demo/demo", "_actions", "_temp", "_tool", "demo"]))
        self.assert_nothing_is_left()

    def test_without_an_engine_the_set_up_says_so_and_no_step_runs_on_this_machine(self):
        steps = "- {name: first, run: touch ran}\n- {name: last, if: always(), run: touch ran}\n"
        dead = {"DOCKER_HOST": "unix://" + os.path.join(self.house.folder, "none.sock")}
        for env, why in (({"PATH": "/nowhere"}, "the job runs containers, and this machine has no program 'docker'"),
                         (dead, "docker version failed with exit code 1")):
            run = self.run_job(steps, f"container: {BASE}", env=env)
            self.assertEqual(run.messages("Initialize containers"), [("failure", why)])
            self.assertEqual((run.conclusions()["first"], run.conclusions()["last"]), ("skipped", "failure"))
            self.assertEqual(run.messages("last"), [("failure", "the job's container does not run")])
            self.assertFalse(os.path.exists(self.workspace("ran")))

    def test_images_and_options_are_looked_at_before_docker_is_asked(self):
        nothing = {"PATH": "/nowhere"}
        for job, settings, why in (
                (f"container: {BASE}", {"actions": "docker://alpine, octo/*"},
                 f"the job's container: docker://{BASE} is not among the images that may run on this host"),
                (f"services: {{x: {BASE}}}", {"actions": "none"}, f"service 'x': docker://{BASE} is not among the images that may run on this host"),
                (f"container: {{image: {BASE}, options: '--cpus 1 evil/image'}}", {}, "the job's container: options: 'evil/image' is no option of docker create"),
                ("container: '--privileged'", {}, "the job's container: '--privileged' is no image"),
                (f"services: {{x: {{image: {BASE}, command: sh}}}}", {}, "service 'x': The key 'command' is not allowed")):
            run = self.run_job("- {name: first, run: touch ran}", job, env=nothing, settings=settings)
            self.assertEqual(run.messages("Set up job"), [("failure", why)])
            self.assertNotIn("Initialize containers", run.conclusions())

    def node_image(self):
        """One with the libraries that this machine's node is linked with; None."""
        node = os.path.realpath(subprocess.run(["which", "node"], capture_output=True, text=True, check=False).stdout.strip() or "/nowhere")
        libraries = [word for line in subprocess.run(["ldd", node], capture_output=True, text=True, check=False).stdout.splitlines()
                     for word in line.split() if word.startswith("/")]
        if not libraries:
            return None
        folder = os.path.join(self.house.folder, "node")
        os.makedirs(folder, exist_ok=True)
        text = f"FROM {BASE}\n"
        for library in libraries:
            name = os.path.basename(library)
            with open(library, "rb") as source, open(os.path.join(folder, name), "wb") as copy:
                copy.write(source.read())
            os.chmod(copy.name, 0o755)
            text += f"COPY {name} {library}\n"
        with open(os.path.join(folder, "Dockerfile"), "w") as file:
            file.write(text)
        subprocess.run(["docker", "build", "-q", "-t", NODE, folder], check=True, capture_output=True,
                       env={**self.docker.environment(), "DOCKER_BUILDKIT": "0"})
        return NODE

    def test_actions_run_beside_and_in_the_container(self):
        self.house.forge.repo(TOOLS).push({
            "js/action.yml": "inputs: {where: {default: '${{ github.workspace }}'}}\nruns: {using: node20, main: m.js, post: m.js}\n",
            "js/m.js": "const fs = require('fs'); console.log('js', process.cwd(), process.env.INPUT_WHERE, fs.existsSync('/tmp/here'), __dirname)\n",
            "both/action.yml": textwrap.dedent("""
                inputs: {dir: {}}
                runs:
                  using: composite
                  steps:
                    - {run: "touch /tmp/here; ls $GITHUB_ACTION_PATH; echo 'dir ${{ inputs.dir }}'", shell: sh}
                    - {uses: octo/tools/js@main}
                """),
            "d/action.yml": "inputs: {dir: {}}\nruns: {using: docker, image: Dockerfile}\n",
            "d/Dockerfile": f"FROM {BASE}\nENTRYPOINT [\"/bin/sh\", \"-c\", \"echo $INPUT_DIR $(pwd) $GITHUB_WORKSPACE; wget -qO- http://web/index.html\"]\n",
        }, ref="main")
        services = f"services: {{web: {{image: {WEB}, options: \"{HEALTH}\"}}}}"
        steps = f"""
            - {{name: both, uses: {TOOLS}/both@main, with: {{dir: "${{{{ github.workspace }}}}/x"}}}}
            - {{name: docker, uses: {TOOLS}/d@main, with: {{dir: "${{{{ github.workspace }}}}/x"}}}}
        """
        image = self.node_image()
        if image is None:
            self.skipTest("node is missing")
        run = self.run_job(steps, f"container: {image}\n{services}")
        self.assertEqual(run.conclusion, "success", run.log("both"))
        both = run.lines("both")
        self.assertIn("dir /__w/demo/demo/x", both)
        self.assertIn("js /__w/demo/demo /__w/demo/demo true /__w/_actions/octo/tools/main/js", both)
        self.assertIn("js /__w/demo/demo /__w/demo/demo true /__w/_actions/octo/tools/main/js", run.lines("Post both"))
        self.assertEqual(run.lines("docker")[-2:], ["/github/workspace/x /github/workspace /github/workspace", "served"])
        run = self.run_job(f"- {{name: js, uses: {TOOLS}/js@main}}", f"container: {BASE}")
        self.assertIn("JavaScript actions cannot run in the job's container", run.messages("js")[0][1])
        self.assert_nothing_is_left()

    def test_files_that_a_container_made_belong_to_the_jobs_user_again(self):
        nobody = pwd.getpwnam("nobody")
        with House() as house, unittest.mock.patch.dict(os.environ, {"DAVIT_WORKER": f"setpriv --reuid {nobody.pw_uid} --clear-groups {PROGRAM} worker"}):
            for place in (house.folder, house.state):
                os.chown(place, nobody.pw_uid, -1)
            os.chmod(self.docker.folder, 0o711)
            os.chmod(self.docker.host[len("unix://"):], 0o666)
            steps = "- {name: makes, run: 'id -u; mkdir -p deep/er; echo made > deep/er/made; echo x > $HOME/x; mkdir /__w/_temp/closed; mkdir /__w/_temp/closed/x'}"
            run = house.run(steps, f"container: {{image: {BASE}, volumes: ['{self.docker.folder}/data:/__w/_temp/data:ro']}}", env=self.env, timeout=120)
            self.assertEqual((run.conclusion, run.lines("makes")[-1]), ("success", "0"), run.log("Initialize containers"))
            self.assertEqual(os.stat(os.path.join(house.work, "demo", "demo", "deep", "er", "made")).st_uid, nobody.pw_uid)
            self.assertEqual(os.stat(os.path.join(self.docker.folder, "data")).st_uid, 0)
            run = house.run(f"""
                - {{uses: "docker://{BASE}", with: {{entryPoint: /bin/sh, args: '-c "mkdir of; echo > of/x"'}}}}
                - {{name: removes, run: 'rm -r deep of; id -u'}}
            """, env=self.env)
            self.assertEqual((run.conclusion, run.lines("removes")[-1]), ("success", str(nobody.pw_uid)), run.shown)

    def test_a_hook_in_javascript_makes_the_container_and_runs_the_steps_in_it(self):
        if not shutil.which("node"):
            self.skipTest("there is no node")
        hook = os.path.join(self.house.folder, "hook.js")
        with open(hook, "w", encoding="ascii") as f:
            f.write(HOOK)
        run = self.run_job(f"""
            - {{id: a, name: a, run: "cat /etc/hostname; echo $INSIDE; echo made > made; echo out=$GITHUB_WORKSPACE >> $GITHUB_OUTPUT; echo LATER=yes >> $GITHUB_ENV; echo /extra >> $GITHUB_PATH"}}
            - {{name: b, run: 'echo "$LATER $PATH ${{{{ steps.a.outputs.out }}}} $(cat made)"; echo "id ${{{{ job.container.id }}}}"'}}
            - {{name: image, uses: "docker://{BASE}", with: {{entryPoint: /bin/sh, args: '-c "cat made; echo [$PWD]; echo ::warning::of-the-image"'}}}}
            - {{name: fails, run: exit 7}}
        """, f"container: {{image: {BASE}, env: {{INSIDE: in}}}}", env={"ACTIONS_RUNNER_CONTAINER_HOOKS": hook})
        self.assertEqual(run.messages("fails"), [("failure", "Process completed with exit code 7.")], run.shown)
        self.assertIn("in", run.lines("a"))
        self.assertEqual(run.lines("b")[-2], "yes /extra:/usr/bin:/bin /__w/demo/demo made")
        self.assertIn(run.lines("a")[-2], run.lines("b")[-1])          # the host's name is the container's id
        self.assertEqual(run.lines("image")[-3:-1] + run.messages("image"), ["made", "[/github/workspace]", ("warning", "of-the-image")])
        self.assert_nothing_is_left()
        self.assertNotIn("hook-network", self.docker.run("network", "ls", "--format", "{{.Name}}").split())


def in_a_network_of_its_own():
    """The packet filter of this machine may be another engine's, which lets containers of ours not reach each other."""
    if "OWN_NETWORK" in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    if os.geteuid() == 0 and subprocess.run(["unshare", "-n", "ip", "link", "show", "lo"], capture_output=True, check=False).returncode == 0:
        os.environ["OWN_NETWORK"] = "1"
        os.execvp("unshare", ["unshare", "-n", sys.executable, *sys.argv])


if __name__ == "__main__":
    in_a_network_of_its_own()
    why = Docker.why_not()
    if why:
        print(f"SKIP: {why}")
        sys.exit(77)
    unittest.main(verbosity=2)
