"""The world that the fixtures were made in, and how it looks. Records and sealed deployments hold absolute paths, and what is sealed
cannot be rewritten: so it always lies in the same directory, which one test at a time may have."""
import fcntl
import hashlib
import json
import os
import shutil
import stat
import subprocess

DIR = "/tmp/davit-former-journal"
STATE, BASE, TARGET, SRC = (os.path.join(DIR, name) for name in ("state", "base", "target", "src"))
SECRET = "former-secret-5d1c"


class World:
    """Makes the directory, empty, for as long as it is entered; waits for others that have it."""

    def __init__(self, davit):
        self.davit_program, self.dir, self.src, self.state = davit, DIR, SRC, STATE

    def __enter__(self):
        self.lock = os.open(DIR + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.empty()
        return self

    def __exit__(self, *_):
        shutil.rmtree(DIR, ignore_errors=True)
        os.close(self.lock)

    def empty(self):
        shutil.rmtree(DIR, ignore_errors=True)
        os.mkdir(DIR, 0o755)
        for path in (TARGET, SRC):
            os.mkdir(path)

    def davit(self, *words, env=None):
        """(exit code, all that it printed)"""
        whole = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_"))}
        whole.update({"DAVIT_STATE": STATE, "TOKEN": SECRET, **(env or {})})
        p = subprocess.run([self.davit_program, *words], cwd=SRC, env=whole, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           timeout=120, check=False)
        return p.returncode, p.stdout + p.stderr

    def history(self):
        code, text = self.davit("history", "--json")
        if code != 0:
            raise AssertionError(f"history: exit {code}\n{text}")
        return json.loads(text)

    def lay(self, version, gate="true", on_failure="rollback"):
        """The files of a version, and the deployment file that brings them."""
        shutil.rmtree(SRC)
        os.makedirs(SRC + "/app/lib")
        for name, text in (("VERSION", version), ("lib/part", "the same in each version"), (f"only-{version}", "only here")):
            with open(f"{SRC}/app/{name}", "w", encoding="ascii") as f:
                f.write(text + "\n")
        steps = [
            {"apply": {"target": "web", "resources": [
                {"directory": {"path": TARGET + "/etc", "mode": "0755"}},
                {"directory": {"path": f"{TARGET}/etc/{version}.d", "mode": "0750"}},
                {"file": {"path": TARGET + "/etc/shop.conf", "content": f"version = {version}\n", "mode": "0640"}},
                {"link": {"path": TARGET + "/etc/way", "to": f"{version}.d"}}],
                "allow_destroy": [f"directory:{TARGET}/etc/v{n}.d" for n in (1, 2, 3)]}},
            {"secret-write": {"target": "web", "path": TARGET + "/shop.env", "values": {"TOKEN": "${{ secrets.TOKEN }}", "OF": version}}},
            {"archive-upload": {"target": "web", "source": "app", "path": TARGET + "/app", "keep": 3}},
            {"run": {"target": "web", "command": ["cp", TARGET + "/app/current/VERSION", TARGET + "/running"],
                     "after_undo": ["cp", TARGET + "/app/current/VERSION", TARGET + "/running"]}},
            {"health-gate": {"deadline": "1s", "checks": [{"command": gate, "target": "web"}]}}]
        with open(SRC + "/deploy.yml", "w", encoding="utf-8") as f:
            json.dump({"name": "shop", "environment": "test", "on_failure": on_failure,
                       "targets": {"web": {"local": {}, "base": BASE}}, "steps": steps}, f)

    def deploy(self, env=None):
        return self.davit("deploy", "deploy.yml", "--secret", "TOKEN", env=env)


def listing(top=TARGET):
    """path → type, mode, owner, content; of files the time too, but of those that a command writes."""
    found = {}
    for folder, dirs, files in os.walk(top):
        for name in dirs + files:
            path = os.path.join(folder, name)
            st, what = os.lstat(path), [f"{os.lstat(path).st_mode:o}", os.lstat(path).st_uid, os.lstat(path).st_gid]
            if stat.S_ISLNK(st.st_mode):
                what.append(os.readlink(path))
            elif stat.S_ISREG(st.st_mode):
                with open(path, "rb") as f:
                    what.append(hashlib.sha256(f.read()).hexdigest())
                if name != "running":
                    what.append(st.st_mtime_ns)
            found[os.path.relpath(path, top)] = what
    return found
