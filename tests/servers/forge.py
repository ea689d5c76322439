#!/usr/bin/env python3
"""A davit-forge of one's own: GitHub on loopback, started on a free port and stopped at the end.

    from servers.forge import Forge
    with Forge() as forge:
        repo = forge.repo("octo/demo")                    # a bare repository, served and with a work tree to commit in
        sha = repo.push({"run.sh": "echo hi\n", ".github/workflows/ci.yml": WORKFLOW}, "first")
        token = forge.registration_token("octo/demo")
        run = forge.wait_run("octo/demo", sha, timeout=60) # → the run as GET /runs shows it, completed
        assert forge.complaints() == []

forge.url, forge.port, forge.api; forge.runs(), forge.requests(), forge.comments(), forge.faults(path="acquirejob", status=500, times=2),
forge.expire(sessions=True), forge.cancel("octo/demo", run_id), forge.secrets("octo/demo", {"KEY": "v"}).
As a program: forge.py [davit-forge options] prints the URL and runs until its standard input closes.
"""
import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

GIT_ENV = {
    "GIT_AUTHOR_NAME": "Octo Cat", "GIT_AUTHOR_EMAIL": "octo@example.invalid", "GIT_COMMITTER_NAME": "Octo Cat",
    "GIT_COMMITTER_EMAIL": "octo@example.invalid", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
}


def program(name="davit-forge"):
    build = os.environ.get("DAVIT_BUILD") or os.path.join(os.path.dirname(__file__), "../../build/dev")
    return os.path.join(build, "bin", name)


class ForgeError(Exception):
    def __init__(self, status, body, headers):
        super().__init__(f"{status}: {body[:500]!r}")
        self.status, self.body, self.headers = status, body, headers

    def json(self):
        return json.loads(self.body)


class Repo:
    """A served repository and a work tree beside it."""

    def __init__(self, forge, name):
        self.forge, self.name = forge, name
        self.bare = os.path.join(forge.folder, "repos", name + ".git")
        self.work = os.path.join(forge.folder, "work", name)
        os.makedirs(os.path.dirname(self.bare), exist_ok=True)
        os.makedirs(os.path.dirname(self.work), exist_ok=True)
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", self.bare], check=True, env=self.env())
        subprocess.run(["git", "init", "-q", "-b", "main", self.work], check=True, env=self.env())

    def env(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        env.update(GIT_ENV, HOME=self.forge.folder)
        return env

    def git(self, *args, check=True, cwd=None):
        done = subprocess.run(["git", *args], cwd=cwd or self.work, env=self.env(), capture_output=True, text=True, timeout=120)
        if check and done.returncode:
            raise AssertionError(f"git {' '.join(args)}: {done.stderr}")
        return done.stdout.strip() if check else done

    @property
    def url(self):
        return f"{self.forge.url}/{self.name}.git"

    def write(self, files):
        """files: path → text or bytes; None removes; (text, mode) sets the mode."""
        for path, content in files.items():
            full = os.path.join(self.work, path)
            if content is None:
                os.remove(full)
                continue
            mode = 0o644
            if isinstance(content, tuple):
                content, mode = content
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as out:
                out.write(content.encode() if isinstance(content, str) else content)
            os.chmod(full, mode)

    def commit(self, files, message="change"):
        self.write(files)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def push(self, files, message="change", ref="main", force=False):
        sha = self.commit(files, message)
        args = ["push", "-q"] + (["--force"] if force else [])
        url = self.url
        if self.forge.token:
            url = url.replace("://", f"://x:{self.forge.token}@")
        extra = ["-c", f"http.sslCAInfo={self.forge.ca_file}"] if self.forge.ca_file else []
        self.git(*extra, *args, url, f"HEAD:refs/heads/{ref}" if not ref.startswith("refs/") else f"HEAD:{ref}")
        return sha


class Forge:
    def __init__(self, repos=(), options=(), token=None, tls=False, folder=None):
        self._own_folder = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="davit-forge-")
        self.token, self.options, self.process, self.url = token, list(options), None, None
        self.pass_fds = ()
        self.ca_file = os.path.join(self.folder, "ca.pem") if tls else None
        self._repos = {}
        self._wanted = list(repos)

    # -- life --

    def start(self):
        for name in self._wanted:
            if name not in self._repos:
                self._repos[name] = Repo(self, name)
        args = [program(), "--verbose", "--listen", "127.0.0.1:0"]
        for name, repo in self._repos.items():
            args += ["--repo", f"{name}={repo.bare}"]
        if self.token:
            args += ["--token", self.token]
        if self.ca_file:
            args += ["--tls", "--ca-file", self.ca_file]
        self._log = open(os.path.join(self.folder, "forge.log"), "ab")
        self.process = subprocess.Popen(args + self.options, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log,
                                        pass_fds=self.pass_fds)
        output = select.poll()  # select() takes no descriptor from 1024 on
        output.register(self.process.stdout, select.POLLIN)
        ready = output.poll(30000)
        line = self.process.stdout.readline().decode().strip() if ready else ""
        if not line.startswith("http"):
            self._log.close()
            self.process.kill()
            self.process.wait()
            with open(self._log.name) as log:
                raise AssertionError(f"the forge did not start: {line!r} {log.read()}")
        self.url, self.port, self.api = line, int(line.rsplit(":", 1)[1]), line + "/api/v3"
        self._reader = threading.Thread(target=self._drain, args=(self.process.stdout, self._log), daemon=True)
        self._reader.start()
        return self

    @staticmethod
    def _drain(stream, log):
        with stream, log:
            for line in stream:
                log.write(line)
                log.flush()

    def stop(self):
        """Ends it; the exit status."""
        status = None
        if self.process:
            self.process.terminate()
            try:
                status = self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("the forge does not end on SIGTERM")
            self._reader.join(10)
            self.process = None
        return status

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, *_exc):
        """Ends it, checks that it ended well, removes its folder."""
        try:
            status = self.stop()
            assert status in (0, None), f"the forge ended with {status}: {self.log()}"
        finally:
            if self._own_folder:
                shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        with open(os.path.join(self.folder, "forge.log")) as log:
            return log.read()

    def repo(self, name):
        """A repository that was named at the start (Forge(repos=[…])), or, before the start, a new one."""
        if name not in self._repos:
            assert not self.process, "name it in Forge(repos=[…])"
            self._repos[name] = Repo(self, name)
        return self._repos[name]

    # -- HTTP --

    def request(self, method, path, body=None, headers=None, timeout=30, raw=False):
        """→ (status, headers, body). Raises ForgeError from 400 on. path: below the forge's URL, or a whole one."""
        url = path if "://" in path else self.url + path
        data = None
        headers = {"User-Agent": "forge.py/1", **(headers or {})}
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            if not raw:
                headers.setdefault("Content-Type", "application/json; charset=utf-8")
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        context = None
        if self.ca_file and url.startswith("https"):
            import ssl
            context = ssl.create_default_context(cafile=self.ca_file)
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=context) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise ForgeError(error.code, error.read(), error.headers) from None

    def json(self, method, path, body=None, headers=None, timeout=30):
        _, _, text = self.request(method, path, body, headers, timeout)
        return json.loads(text) if text.strip() else None

    def admin(self):
        return {"Authorization": f"Bearer {self.token or 'admin'}"}

    # -- what it knows --

    def runs(self, logs=True, sha=None):
        return self.json("GET", f"/runs?{'' if logs else 'logs=0&'}{f'sha={sha}' if sha else ''}".rstrip("?&"))

    def run(self, run_id):
        return self.json("GET", f"/runs/{run_id}")

    def complaints(self):
        return self.json("GET", "/_forge/complaints")

    def requests(self, path=None):
        found = self.json("GET", "/_forge/requests")
        return [r for r in found if path in r["path"]] if path else found

    def comments(self):
        return self.json("GET", "/_forge/comments")

    def received(self, what):
        """comments, issue-comments, deployments, deployment-statuses, statuses, check-runs"""
        return self.json("GET", f"/_forge/{what}")

    def runners(self):
        return [r for r in self.json("GET", "/_forge/runners") if not r["deleted"]]

    def events(self):
        return [e["text"] for e in self.json("GET", "/_forge/events")]

    def wait(self, what, condition, timeout=60):
        """Polls condition() until it is true; its value."""
        deadline = time.monotonic() + timeout
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come within {timeout} s; events: {self.events()[-20:]}, "
                                     f"complaints: {self.complaints()}")
            time.sleep(0.05)

    def wait_run(self, repository, sha=None, timeout=60, status="completed", nth=-1):
        """The nth run (of this commit) once it has the status: "queued", "in_progress" or "completed"."""
        order = ["queued", "in_progress", "completed"]

        def look():
            runs = [r for r in self.runs(logs=False) if r["repository"] == repository and (not sha or r["sha"] == sha)]
            return runs and order.index(runs[nth]["status"]) >= order.index(status) and runs[nth]["id"]
        return self.run(self.wait(f"a run of {repository} that is {status}", look, timeout))

    def wait_online(self, name=None, timeout=30):
        """Until a runner (this one) holds a message poll open."""
        return self.wait("a polling runner", lambda: [r for r in self.runners() if r["polling"] and name in (None, r["name"])],
                         timeout)[0]

    # -- what it can be told --

    def registration_token(self, scope):
        """scope: "owner/name" or "owner"."""
        path = f"/api/v3/repos/{scope}" if "/" in scope else f"/api/v3/orgs/{scope}"
        pat = base64.b64encode(f"github:{self.token or 'pat'}".encode()).decode()
        return self.json("POST", f"{path}/actions/runners/registration-token", headers={"Authorization": f"basic {pat}"})["token"]

    def remove_token(self, scope):
        path = f"/api/v3/repos/{scope}" if "/" in scope else f"/api/v3/orgs/{scope}"
        return self.json("POST", f"{path}/actions/runners/remove-token", headers=self.admin())["token"]

    def jitconfig(self, scope, name, labels=("self-hosted",)):
        path = f"/api/v3/repos/{scope}" if "/" in scope else f"/api/v3/orgs/{scope}"
        return self.json("POST", f"{path}/actions/runners/generate-jitconfig",
                         {"name": name, "runner_group_id": 1, "labels": list(labels)}, self.admin())["encoded_jit_config"]

    def dispatch(self, repository, workflow, ref="main", inputs=None):
        return self.json("POST", f"/api/v3/repos/{repository}/actions/workflows/{workflow}/dispatches",
                         {"ref": ref, "inputs": inputs or {}, "return_run_details": True}, self.admin())["workflow_run_id"]

    def pull(self, repository, head, base="main", title="a change"):
        """Opens a pull request; head: "branch" or "owner:branch". → as REST answers it."""
        return self.json("POST", f"/api/v3/repos/{repository}/pulls", {"title": title, "head": head, "base": base}, self.admin())

    def merge(self, repository, number, method="merge"):
        """→ the commit that the base's branch is now."""
        return self.json("PUT", f"/api/v3/repos/{repository}/pulls/{number}/merge", {"merge_method": method}, self.admin())["sha"]

    def schedule(self, repository):
        """The time of every `schedule` of the repository has come."""
        self.request("POST", "/_forge/schedule", {"repository": repository})

    def cancel(self, repository, run_id):
        self.request("POST", f"/api/v3/repos/{repository}/actions/runs/{run_id}/cancel", headers=self.admin())

    def secrets(self, repository, secrets=None, variables=None, environment=None):
        body = {"repository": repository, "secrets": secrets or {}, "vars": variables or {}}
        if environment:
            body["environment"] = environment
        self.request("PUT", "/_forge/secrets", body)

    def app(self, ident, public_key, **more):
        """A GitHub App, installed for all repositories and owners; its public key as PEM. permissions={"actions": "read"}: all that it may;
        life_ms=3000: of its tokens; person=True: owners are people, not organisations."""
        self.request("PUT", "/_forge/apps", {"id": ident, "public_key": public_key, **more})

    def new_app(self, ident, key, **more):
        """Makes its private key in the file key (0600)."""
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        os.chmod(key, 0o600)
        public = subprocess.run(["openssl", "rsa", "-in", str(key), "-pubout"], check=True, capture_output=True, text=True).stdout
        self.app(ident, public, **more)

    def visibility(self, repository, public):
        self.request("PUT", "/_forge/visibility", {"repository": repository, "public": public})

    def variables(self, **variables):
        """Variables of every later job message, e.g. ACTIONS_STEP_DEBUG="true"."""
        self.request("PUT", "/_forge/variables", variables)

    def faults(self, **fault):
        """path="acquirejob", times=2, status=500 | drop=True|"after" | truncate=10 | oversize=True | delay_ms=50 | body="x" | skip=1"""
        self.request("POST", "/_forge/faults", fault)

    def no_faults(self):
        self.request("DELETE", "/_forge/faults")

    def expire(self, **what):
        """tokens=True, sessions=True, leases=True, runners=True, apps=True"""
        self.request("POST", "/_forge/expire", what)

    def message(self, runner, kind, body=None):
        self.request("POST", "/_forge/messages", {"runner": runner, "type": kind, "body": body})

    def forget_complaints(self):
        self.request("DELETE", "/_forge/complaints")


def main():
    with Forge(options=sys.argv[1:]) as forge:
        print(forge.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
