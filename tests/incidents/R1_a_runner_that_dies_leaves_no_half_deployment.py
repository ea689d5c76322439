#!/usr/bin/env python3
"""R1: the runner died in the middle; the job ended as "lost communication" and the system stayed half deployed."""
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration" / "agent"))
from harness import DAVIT, Case, run, until  # noqa: E402

WORKFLOW = """on: push
permissions:
  contents: write
jobs:
  deploy:
    runs-on: self-hosted
    env:
      GITHUB_TOKEN: ${{{{ github.token }}}}
    steps:
      - uses: davit-deploy/davit/actions/checkout@v1
      - uses: davit-deploy/davit/actions/archive-upload@v1
        with:
          source: app
          path: {place}
          targets: '{{"local": {{"local": {{}}, "base": "{base}"}}}}'
      - uses: davit-deploy/davit/actions/run@v1
        with:
          script: |
            test ! -e {hold} || {{ echo > {begun}; while test -e {hold}; do sleep 0.05; done; }}
          undo: none
      - uses: davit-deploy/davit/actions/notify@v1
        with:
          commit_comment: true
"""


# Held by the workflow's own shell: no step of the deployment is at work, and the last one had ended well.
BETWEEN = WORKFLOW.replace("""      - uses: davit-deploy/davit/actions/run@v1
        with:
          script: |
            test ! -e {hold} || {{ echo > {begun}; while test -e {hold}; do sleep 0.05; done; }}
          undo: none
""", """      - run: |
          test ! -e {hold} || {{ echo > {begun}; while test -e {hold}; do sleep 0.05; done; }}
""")


class Deployment(Case):
    """A job that releases app/ to a folder of this machine, and can be held in its third step."""

    def __init__(self, user=None, workflow=WORKFLOW, on_failure=None):
        super().__init__()
        self.user, self.form, self.on_failure = user, workflow, on_failure

    def __enter__(self):
        super().__enter__()
        self.area = self.root / "area"
        self.place, self.hold, self.begun_file = self.area / "shop", self.area / "hold", self.area / "begun"
        self.place.mkdir(parents=True)
        self.workflow = self.form.format(place=self.place, base=self.area / "base", hold=self.hold, begun=self.begun_file)
        if self.user:
            self.root.chmod(0o755)
            for path in (self.area, self.place):
                shutil.chown(path, self.user)
        self.agent.configure(self.forge, "acme/widgets", *(["--worker-user", self.user] if self.user else []),
                             *(["--on-failure", self.on_failure] if self.on_failure else []))
        self.agent.start().listening()
        return self

    def release(self, version):
        return self.forge.push(self.workflow, files={"app/VERSION": f"{version}\n"})

    def version(self):
        path = self.place / "current" / "VERSION"
        return path.read_text().strip() if path.exists() else None

    def first_release(self):
        (job,) = self.forge.ended(self.release(1))
        assert job["conclusion"] == "success", job
        assert self.version() == "1"

    def held_release(self):
        """The second version is switched to, and the step behind it waits."""
        self.hold.write_text("")
        sha = self.release(2)
        until("the third step runs", self.begun_file.exists)
        assert self.version() == "2"
        return sha

    def everything(self):
        """All processes of this agent's jobs."""
        found = []
        mark = f"DAVIT_STATE={self.agent.root}".encode()
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if mark in (entry / "environ").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    pass
        return found

    def kill_all(self):
        for pid in self.everything():
            os.kill(pid, signal.SIGKILL)
        self.agent.process.wait()
        self.agent.kill()
        self.hold.unlink()

    def old_version_is_whole(self):
        until("the old version is back", lambda: self.version() == "1")
        until("the other release is removed", lambda: len([r for r in (self.place / "releases").iterdir() if not r.name.startswith(".")]) == 1)
        until("nothing is left open", lambda: not list((self.area / "base" / "open").glob("*")))

    def comment(self, sha):
        def look():
            return [c for c in self.forge.comments() if c.get("commit_id", c.get("sha")) == sha]
        return until("a comment on the commit", look)[-1]["body"]


def test_all_of_it_killed_the_next_start_undoes_and_says_so_on_the_commit():
    with Deployment() as d:
        d.first_release()
        sha = d.held_release()
        d.kill_all()
        assert d.version() == "2", "half deployed"
        d.agent.start().listening(2)
        d.old_version_is_whole()
        (job,) = d.forge.ended(sha)
        assert job["conclusion"] == "failure" and "The agent died while this job ran" in str(job), job
        assert "rolled back" in d.comment(sha).lower() or "undone" in d.comment(sha).lower(), d.comment(sha)
        (job,) = d.forge.ended(d.release(3))
        assert job["conclusion"] == "success", job
        assert d.version() == "3"
        assert d.agent.stop() == 0


def test_all_of_it_killed_between_two_steps_the_next_start_undoes():
    with Deployment(workflow=BETWEEN) as d:
        d.first_release()
        sha = d.held_release()
        d.kill_all()
        d.agent.start().listening(2)
        d.old_version_is_whole()
        (job,) = d.forge.ended(sha)
        assert job["conclusion"] == "failure", job
        assert "rolled back" in d.comment(sha).lower(), d.comment(sha)
        assert d.agent.stop() == 0


def waiting_recovery(folder):
    """The programs in a folder of their own, whose first `davit-step recover` waits until the file `wait` is gone."""
    for name in ("davit", "davit-agent", "davit-step"):
        shutil.copy(pathlib.Path(DAVIT).parent / name, folder / (f"real-{name}" if name == "davit-step" else name))
    step, wait = folder / "davit-step", folder / "wait"
    step.write_text(f"""#!/bin/sh
if test "$1" = recover && test -e {wait} && mkdir {folder}/waits 2>/dev/null; then
	while test -e {wait}; do sleep 0.02; done
fi
exec {folder}/real-davit-step "$@"
""")
    step.chmod(0o755)
    wait.write_text("")
    return folder / "davit", folder / "waits", wait


def test_a_worker_that_dies_while_the_next_agent_starts_is_told_on_the_commit():
    """The recovery at the start decides its deployment before that agent sees its worker dead; it knows no job's token."""
    with Deployment(workflow=BETWEEN) as d:
        d.first_release()
        sha = d.held_release()
        folder = d.root / "programs"
        folder.mkdir()
        program, waits, wait = waiting_recovery(folder)
        (worker,) = d.agent.workers()
        d.agent.kill()
        d.agent.start(program=program).listening(2)
        until("the recovery at the start is at work", waits.exists)
        os.kill(worker, signal.SIGKILL)
        d.agent.says("its worker has ended since")
        d.hold.unlink()
        wait.unlink()
        d.old_version_is_whole()
        (job,) = d.forge.ended(sha)
        assert job["conclusion"] == "failure" and "No deployment is left undecided" in str(job), job
        assert "rolled back" in d.comment(sha).lower(), d.comment(sha)
        assert len(d.forge.comments()) == 2, d.forge.comments()
        assert d.agent.stop() == 0


def test_jobs_of_two_repositories_that_die_at_once_are_told_on_both_commits():
    """One recovery decides both deployments; a job's token is good for its own repository."""
    names = ("acme/widgets", "acme/gadgets")
    with Case(names) as c:
        hold, commits = c.root / "hold", {}
        hold.write_text("")
        for name in names:
            place = c.root / name.partition("/")[2]
            place.mkdir()
            c.agent.configure(c.forge, name)
            commits[name] = BETWEEN.format(place=place, base=c.root / "base", hold=hold, begun=place / "begun")
        c.agent.start().listening(len(names))
        for name, workflow in commits.items():
            commits[name] = c.forge.push(workflow, name=name, files={"app/VERSION": "1\n"})
        for name in names:
            until("its release is made", (c.root / name.partition("/")[2] / "begun").exists)
        workers = c.agent.workers()
        c.agent.kill()
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        hold.unlink()
        c.agent.start().listening(2 * len(names))
        for name, sha in commits.items():
            (job,) = c.forge.ended(sha)
            assert job["conclusion"] == "failure" and "No deployment is left undecided" in str(job), job
            assert not (c.root / name.partition("/")[2] / "current").exists()
            told = [o for o in c.forge.comments() if o.get("commit_id", o.get("sha")) == sha]
            assert len(told) == 1 and "rolled back" in told[0]["body"], (name, told)
        assert c.agent.stop() == 0


def test_two_jobs_of_one_run_that_die_at_once_are_both_told():
    """Their deployments name the same run, and one recovery decides both."""
    with Case() as c:
        hold, text = c.root / "hold", "on: push\npermissions:\n  contents: write\njobs:\n"
        hold.write_text("")
        places = [c.root / name for name in ("one", "two")]
        for place in places:
            place.mkdir()
            job = BETWEEN.format(place=place, base=c.root / f"{place.name}-base", hold=hold, begun=place / "begun").partition("jobs:\n")[2]
            text += job.replace("  deploy:", f"  {place.name}:\n    environment: {place.name}", 1)
        for c.agent.name in ("one", "two"):
            c.agent.configure(c.forge, "acme/widgets")
        c.agent.start("--slots", "2").listening(2)
        sha = c.forge.push(text, files={"app/VERSION": "1\n"})
        for place in places:
            until("its release is made", (place / "begun").exists)
        workers = c.agent.workers()
        c.agent.kill()
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        hold.unlink()
        c.agent.start("--slots", "2").listening(4)
        assert [job["conclusion"] for job in c.forge.ended(sha)] == ["failure", "failure"]
        told = until("both comments", lambda: len(c.forge.comments()) == 2 and c.forge.comments())
        assert len({o["body"] for o in told}) == 2 and all("rolled back" in o["body"] for o in told), told
        assert c.agent.stop() == 0


def test_the_worker_killed_between_two_steps_the_agent_undoes_and_completes_the_job():
    with Deployment(workflow=BETWEEN) as d:
        d.first_release()
        sha = d.held_release()
        (worker,) = d.agent.workers()
        os.kill(worker, signal.SIGKILL)
        (job,) = d.forge.ended(sha)
        assert job["conclusion"] == "failure", job
        d.old_version_is_whole()
        d.hold.unlink()
        assert d.agent.stop() == 0


def test_the_worker_killed_the_agent_undoes_and_completes_the_job():
    with Deployment() as d:
        d.first_release()
        sha = d.held_release()
        (worker,) = d.agent.workers()
        os.kill(worker, signal.SIGKILL)
        (job,) = d.forge.ended(sha)
        assert job["conclusion"] == "failure" and "signal 9" in str(job), job
        d.old_version_is_whole()
        assert "rolled back" in d.comment(sha).lower() or "undone" in d.comment(sha).lower(), d.comment(sha)
        d.hold.unlink()
        assert d.agent.stop() == 0


def test_the_worker_killed_the_agent_holds_what_it_was_configured_to_hold():
    for workflow in (WORKFLOW, BETWEEN):
        with Deployment(workflow=workflow, on_failure="hold") as d:
            d.first_release()
            sha = d.held_release()
            (worker,) = d.agent.workers()
            os.kill(worker, signal.SIGKILL)
            (job,) = d.forge.ended(sha)
            assert job["conclusion"] == "failure" and "is held" in str(job), job
            assert d.version() == "2", "nothing is taken back"
            assert list((d.area / "base" / "open").glob("*")), "it keeps its lock"
            assert "is held" in d.comment(sha), d.comment(sha)
            d.hold.unlink()
            back = subprocess.run([DAVIT, "rollback"], env=d.agent.env, capture_output=True, text=True, timeout=60, check=False)
            assert back.returncode == 0, back
            d.old_version_is_whole()
            assert d.agent.stop() == 0


def test_the_agent_alone_killed_its_worker_finishes_the_job():
    with Deployment() as d:
        d.first_release()
        sha = d.held_release()
        d.agent.kill()
        d.agent.start().listening(2)
        d.hold.unlink()
        (job,) = d.forge.ended(sha)
        assert job["conclusion"] == "success", job
        assert d.version() == "2"
        assert d.agent.stop() == 0


def test_jobs_of_another_user_are_recovered_as_that_user():
    if os.geteuid() != 0:
        print("skipped: only root can give work to another user")
        return
    with Deployment("nobody") as d:
        d.first_release()
        sha = d.held_release()
        (worker,) = d.agent.workers()
        os.kill(worker, signal.SIGKILL)
        (job,) = d.forge.ended(sha)
        assert job["conclusion"] == "failure", job
        d.old_version_is_whole()
        assert (d.place / "current").lstat().st_uid == pwd.getpwnam("nobody").pw_uid
        assert "rolled back" in d.comment(sha).lower(), d.comment(sha)
        assert d.agent.stop() == 0


if __name__ == "__main__":
    run(__name__)
