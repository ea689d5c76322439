"""The official runner as a step of it sees it: composite actions run by bash with INPUT_* and GITHUB_* in the environment, one file
of outputs and one of the summary for each step, and a cancel that is SIGINT, 7.5 s, SIGTERM, 2.5 s, SIGKILL to the direct child only.

    job = Job(trial)                                # its processes' parent is this process
    step = job.uses("archive-upload", source="site", path="/opt/shop")
    step.code, step.outputs, step.summary, step.text
"""
import os
import re
import signal
import subprocess
import tempfile
import time
import uuid

from harness.trial import BUILD

SOURCE = os.environ.get("DAVIT_SOURCE", os.path.join(os.path.dirname(__file__), "..", ".."))
GRACE = (7.5, 2.5)


def read_action(name):
    """(environment: variable → input, defaults: input → text, script). Our action.yml files only: they have one form."""
    path = os.path.join(SOURCE, "action.yml" if name is None else f"actions/{name}/action.yml")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    head, body = re.sub(r"(?m)^ *#.*\n", "", text).split("\nruns:\n")
    variables = dict(re.findall(r"^\s+(INPUT_\w+): \$\{\{ inputs\.(\w+) \}\}$", body, re.M))
    defaults = {}
    for block in re.split(r"\n  (?=\w+:\n)", head.split("\ninputs:")[1].split("\noutputs:")[0]):
        found = re.search(r"^    default: \"?(.*?)\"?$", block, re.M)
        if found:
            defaults[block.strip().split(":")[0]] = found.group(1)
    script = re.search(r"^      run: (?:\|\n((?:        .*\n?)+)|(.*)$)", body, re.M)
    lines = script.group(1) or script.group(2)
    return variables, defaults, re.sub(r"(?m)^ {8}", "", lines)


class Step:
    def __init__(self, process, output, summary):
        self.process, self._output, self._summary = process, output, summary
        self.code = self.out = self.err = None

    def wait(self, timeout=120):
        self.out, self.err = (x.decode("utf-8", "replace") for x in self.process.communicate(timeout=timeout))
        self.code, self.text = self.process.returncode, self.out + self.err
        with open(self._output, encoding="utf-8") as f:
            self.outputs = {n: v for n, _, v in re.findall(r"(?ms)^(\w+)<<(\w+)\n(.*?)\n\2$", f.read())}
        with open(self._summary, encoding="utf-8") as f:
            self.summary = f.read()
        return self

    def cancel(self, grace=GRACE):
        """As the runner cancels: the direct child only, whatever it started goes on."""
        for number, patience in ((signal.SIGINT, grace[0]), (signal.SIGTERM, grace[1]), (signal.SIGKILL, 30)):
            self.process.send_signal(number)
            end = time.monotonic() + patience
            while time.monotonic() < end and self.process.poll() is None:
                time.sleep(0.02)
            if self.process.poll() is not None:
                break
        return self

    def __repr__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}\n--- summary\n{self.summary}"


class Job:
    def __init__(self, trial, repository="demo/shop", environment=None, name="deploy"):
        self.trial = trial
        self.folder = tempfile.mkdtemp(prefix="runner-", dir=trial.dir)
        self.workspace = trial.src
        self.number = 0
        self.status = "success"
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_"))}
        os.mkdir(os.path.join(self.folder, "temp"))
        self.env = {**keep, "PATH": os.path.join(BUILD, "bin") + ":" + keep["PATH"], "DAVIT_STATE": trial.state, "CI": "true",
                    "GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://github.example", "GITHUB_API_URL": "https://api.github.example",
                    "GITHUB_REPOSITORY": repository, "GITHUB_RUN_ID": str(uuid.uuid4().int % 10**9), "GITHUB_RUN_ATTEMPT": "1",
                    "GITHUB_JOB": name, "GITHUB_SHA": "0123456789abcdef0123456789abcdef01234567", "GITHUB_WORKSPACE": self.workspace,
                    "RUNNER_TRACKING_ID": f"github_{uuid.uuid4()}", "RUNNER_TEMP": os.path.join(self.folder, "temp"),
                    "RUNNER_NAME": "box-1", "RUNNER_OS": "Linux"}
        if environment:
            self.env["GITHUB_ENVIRONMENT"] = environment

    def command(self, action, inputs):
        """The environment, script and files of one step of the action (None: the root action)."""
        variables, defaults, script = read_action(action)
        unknown = set(inputs) - set(variables.values())
        assert not unknown, f"the action has no inputs {unknown}"
        self.number += 1
        env = dict(self.env, GITHUB_ACTION_PATH=os.path.join(SOURCE, *(["actions", action] if action else [])))
        files = []
        for kind in ("OUTPUT", "STEP_SUMMARY", "ENV", "PATH", "STATE"):
            path = os.path.join(self.folder, f"{kind.lower()}_{self.number}")
            with open(path, "w", encoding="utf-8"):
                files.append(path)
            env[f"GITHUB_{kind}"] = path
        for variable, name in variables.items():
            text = inputs.get(name, defaults.get(name, ""))
            env[variable] = text.replace("${{ job.status }}", self.status).replace("${{ github.token }}", "ghs_tokenoftests")
            env[variable] = re.sub(r"\$\{\{.*?\}\}", "", env[variable]) if name not in inputs else env[variable]
        path = os.path.join(self.folder, "temp", f"{self.number}.sh")
        with open(path, "w", encoding="utf-8") as f:
            f.write(script)
        return env, ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", path], files[0], files[1]

    def start(self, action, **inputs):
        env, command, output, summary = self.command(action, inputs)
        process = subprocess.Popen(command, cwd=self.workspace, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return Step(process, output, summary)

    def uses(self, action, **inputs):
        step = self.start(action, **inputs).wait()
        if step.code != 0 and self.status == "success":
            self.status = "failure"
        return step
