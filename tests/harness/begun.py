"""A deployment that goes on beside the test, so that it can be interrupted."""
import json
import os
import signal
import subprocess

from harness.trial import DAVIT, Result


class Begun:
    def __init__(self, trial, document, secrets=None):
        whole = {"name": "shop", "environment": "test", **document}
        for target in whole["targets"].values():
            target.setdefault("base", trial.base)
        with open(os.path.join(trial.src, "deploy.yml"), "w", encoding="utf-8") as f:
            json.dump(whole, f, indent=1)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_"))}
        env.update({"DAVIT_STATE": trial.state, **(secrets or {})})
        options = [x for name in secrets or {} for x in ("--secret", name)]
        self.process = subprocess.Popen([DAVIT, "deploy", "deploy.yml", *options], cwd=trial.src, env=env, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)

    def signal(self, number):
        os.killpg(self.process.pid, number)

    def end(self):
        out, err = self.process.communicate(timeout=120)
        return Result(subprocess.CompletedProcess([], self.process.returncode, out, err))

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.end()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
