#!/usr/bin/env python3
"""Wrong calls, wrong ids, and state folders that are missing, closed or broken: each ends with the documented exit status and one clear
error in two lines, what is wrong and what to do. Nothing is asked of the service, nothing is changed."""
import json
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import tempfile

from harness import DAVIT, Case, run

NOBODY = {"user": "nobody", "group": "nogroup", "extra_groups": []}


class Folder:
    def __enter__(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="davit-rubbish-"))
        self.root.chmod(0o755)
        self.state = self.root / "state"
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.root, ignore_errors=True)

    def davit(self, words, state=None, **more):
        env = {**{k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "ACTIONS_"))},
               "DAVIT_STATE": str(state or self.state), "HOME": str(self.root), "DAVIT_PACE_PERCENT": "1"}
        return subprocess.run([DAVIT, *words.split()], env=env, cwd=self.root, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60, **more)

    def refused(self, words, status, *said, state=None, **more):
        """One error in two lines."""
        done = self.davit(words, state, **more)
        # A running agent puts the time before what it says.
        lines = [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ: ", "", line) for line in done.stderr.splitlines()]
        shown = f"davit {words}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode == status, shown
        assert done.stdout == "", shown
        assert len(lines) == 2 and lines[0].startswith(("davit", "error:")) and lines[1].startswith("  ") and len(lines[1]) > 8, shown
        for word in said:
            assert word in done.stderr, f"'{word}' is not in\n{shown}"
        return done

    def all(self, calls, **more):
        for words, status, *said in calls:
            self.refused(words, status, *said, **more)


def test_wrong_words_and_options():
    with Folder() as f:
        f.all([("history --limt 3", 2, "--limit"), ("history --limit x", 2, "1 to 100000"), ("history extra", 2, "extra"),
               ("show a b", 2, "one word too many"), ("show --bogus", 2, "--bogus"), ("rollback --too x", 2, "--to"), ("rollback a b", 2),
               ("rollback a --to b", 2, "exclude"), ("recover --after x", 2, "duration", "5m"), ("recover --takeover", 2, "file"),
               ("recover x --after", 2, "needs a value"), ("unlock", 2, "ENVIRONMENT"), ("unlock a --yes --accept", 2, "exclude"),
               ("unlock --yess a", 2, "--yes"), ("agent bogus", 1, "--help"), ("agent stats", 1, "status"),
               ("agent run --slots x", 1, "1 to 1000"), ("agent run --slots 0", 1), ("agent run --bogus", 1, "--bogus", "--help"), ("agent configure --frobnicate", 1, "--frobnicate"),
               ("agent status --urll x", 1, "--urll"), ("agent configure --labelz x", 1, "did you mean --labels?"), ("agent configure --slots 2", 1, "agent run"),
               ("help nonsense", 2, "davit --help"), ("forge --frobnicate", 2, "--frobnicate"), ("step run --plann", 2, "--plan"),
               ("agent run --jitconfig x", 1, "base64", "encoded_jit_config"), ("agent run --jitconfig", 1, "needs a value"),
               ("agent configure", 1, "--url is missing"), ("agent configure --url", 1, "needs a value"),
               ("agent configure --url nonsense --token x", 1, "OWNER/REPO"),
               ("agent configure --url https://github.com/a/b --token x --on-failure x", 1, "hold"),
               ("agent configure --url http://127.0.0.1:1/a/b --token x --unattended", 1, "connect", "proxy"),
               ("agent remove --url nonsense --local", 1, "status")])


def test_ids_and_names_that_nothing_has():
    with Folder() as f:
        f.all([("show", 2, "DAVIT_STATE"), ("show nope", 2), ("rollback", 2, "history"), ("rollback nope", 2, "'nope'", "history"),
               ("recover nope", 2, "'nope'", "history"), ("unlock nope", 2, "'nope'", "history"), ("rollback --to nope", 2),
               ("agent run", 1, "configure"), ("agent remove --local", 1)])
        done = f.davit("recover")
        assert (done.returncode, done.stderr) == (0, "") and "nothing is left undecided" in done.stdout, done


def test_a_state_folder_that_is_none():
    with Folder() as f:
        state = f.root / "file"
        state.write_text("hello")
        for words in ("history", "show", "rollback", "recover", "unlock x"):
            f.refused(words, 2, "Not a directory", "DAVIT_STATE", state=state)
        for words in ("agent status", "agent run", "agent remove --local", "agent configure --unattended --url https://github.com/a/b --token x"):
            f.refused(words, 1, "Not a directory", "DAVIT_STATE", state=state)
        for words, status in (("history", 2), ("rollback", 2), ("agent status", 1), ("agent run", 1)):
            f.refused(words, status, "absolute", state="relative")


def test_a_state_folder_that_may_not_be_looked_into_is_not_taken_for_an_empty_one():
    if os.geteuid() != 0:
        print("skipped: only root can try it as another user")
        return
    with Folder() as f:
        f.davit("recover")
        (f.state / "agent" / "registrations").mkdir(parents=True, mode=0o700)
        (f.state / "agent").chmod(0o700)
        for words in ("history", "show", "rollback", "recover", "unlock x"):
            f.refused(words, 2, str(f.state), "DAVIT_STATE", **NOBODY)
        for words in ("agent status", "agent run", "agent remove --local"):
            f.refused(words, 1, "Permission denied", "DAVIT_STATE", **NOBODY)
        shutil.chown(f.state, "nobody")
        f.refused("agent status", 1, "Permission denied", "agent's user", **NOBODY)


def test_a_journal_that_is_newer_or_none():
    with Folder() as f:
        calls = ("history", "show", "rollback", "recover", "unlock x")
        f.davit("recover")
        journal = f.state / "journal.db"
        with sqlite3.connect(journal) as db:
            db.execute("pragma user_version = 99")
        db.close()
        for words in calls:
            f.refused(words, 2, "has format 99; this program reads up to", "newer")
        for part in f.state.glob("journal.db*"):
            part.unlink()
        journal.write_text("this is no journal, only a text that is long enough\n" * 100)
        for words in calls:
            f.refused(words, 2, "not a database", "recover FILE --takeover")
        journal.unlink()
        journal.mkdir()
        for words in calls:
            f.refused(words, 2, "unable to open", "recover FILE --takeover")
        journal.rmdir()
        f.davit("recover")
        (f.state / "store-id").write_text("x")
        for words in ("rollback", "recover", "unlock x"):
            f.refused(words, 2, "store-id", "recover FILE --takeover")


def test_a_registration_that_cannot_be_read():
    with Case() as c, Folder() as f:
        c.agent.configure(c.forge)
        (record,) = c.agent.root.glob("agent/registrations/*/registration.json")
        key, good = record.parent / "key.pem", json.loads(record.read_text())
        broken = {"torn": json.dumps(good)[:60], "empty": "", "a list": "[]", "without url": json.dumps({**good, "url": None}),
                  "another type": json.dumps({**good, "id": "x"}), "a name too few": json.dumps({k: v for k, v in good.items() if k != "name"})}
        for what, text in broken.items():
            record.write_text(text)
            for words in ("agent status", "agent run", "agent remove --local"):
                f.refused(words, 1, "registration.json", f"remove the directory {record.parent}", state=c.agent.root)
        record.write_text(json.dumps({**good, "format": 99}))
        for words in ("agent status", "agent run", "agent remove --local"):
            f.refused(words, 1, "has format 99; this release reads up to", "newer", state=c.agent.root)
        record.write_text(json.dumps(good))
        sessions = len(c.forge.seen("session", "POST"))
        key.write_text("rubbish")
        done = f.davit("agent run", c.agent.root)
        assert done.returncode == 1 and "private key" in done.stderr and "--replace" in done.stderr, done
        key.unlink()
        done = f.davit("agent run", c.agent.root)
        assert done.returncode == 1 and "key.pem" in done.stderr and "remove the directory" in done.stderr, done
        assert len(c.forge.seen("session", "POST")) == sessions


run(__name__)
