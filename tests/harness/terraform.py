"""Configurations of the built-in terraform_data, which needs no download, and the step that applies them."""
import json
import os
import shutil
import signal

from harness.waiting import until

PROGRAM = shutil.which("terraform")


def backend(server):
    return f"""terraform {{
  backend "http" {{
    address        = "{server.url}"
    lock_address   = "{server.url}"
    unlock_address = "{server.url}"
    retry_max      = 0
  }}
}}
"""


VALUES = """
variable "value" { type = string }
variable "token" {
  type      = string
  sensitive = true
  default   = ""
}
resource "terraform_data" "a" { input = var.value }
resource "terraform_data" "b" { triggers_replace = [var.value] }
resource "terraform_data" "login" { input = { user = "shop", token = var.token } }
output "value" { value = terraform_data.a.output }
"""


def waits(directory, more=""):
    """A resource whose making says that it has begun, and goes on once a file is there; one before it and one behind it."""
    script = f"echo begun > {directory}/begun; until [ -e {directory}/go ]; do sleep 0.05; done; echo made > {directory}/made"
    return f"""
resource "terraform_data" "first" {{}}
resource "terraform_data" "slow" {{
  depends_on = [terraform_data.first]
  provisioner "local-exec" {{ command = {json.dumps(script)} }}
}}
resource "terraform_data" "last" {{ depends_on = [terraform_data.slow] }}
{more}"""


class Infra:
    """The directory `infra` of a trial's source tree, deployed on this machine."""

    def __init__(self, trial, text, name="infra"):
        self.t, self.name = trial, name
        self.dir = os.path.join(trial.src, name)
        self.write(text)

    def write(self, text, name="main.tf"):
        os.makedirs(self.dir, exist_ok=True)
        with open(os.path.join(self.dir, name), "w", encoding="utf-8") as f:
            f.write(text)

    def document(self, **step):
        return {"targets": {"here": {"local": {}}}, "steps": [{"terraform": {"directory": self.name, "grace": "20s", **step}}]}

    def deploy(self, *args, secrets=None, **step):
        return self.t.deploy(self.document(**step), *args, secrets=secrets)

    def processes(self):
        """The ids of what runs in the configuration's directory."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/cwd") == os.path.realpath(self.dir):
                    found.append(int(pid))
            except OSError:
                continue
        return found

    def kill(self):
        """Ends all of them at once, as a power cut would."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        until(lambda: not self.processes(), "the end of all processes")
