#!/usr/bin/env python3
"""A deployment that waits for people, by the command line with real keys: who counts, for what, how long, and what is left when a process
dies on the way. Time passes in the journal: a test that wants a deployment to be late sets its end back."""
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile

from harness.trial import DAVIT, SKIP, Case, Service, Trial, main
from harness.waiting import until

SECRET = "a-secret-of-this-test-41"


class Keys:
    """ed25519 keys of people, made once."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="davit-keys-")
        for name in ("alice", "bob", "carol", "mallory"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.private(name)], check=True)

    def private(self, name):
        return os.path.join(self.dir, name)

    def line(self, name):
        with open(self.private(name) + ".pub", encoding="ascii") as f:
            return f"{name} {f.read()}"

    def sign(self, name, text, namespace="davit-approval", key=None):
        return subprocess.run(["ssh-keygen", "-Y", "sign", "-n", namespace, "-f", key or self.private(name)], input=text.encode(),
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout.decode()


class Approvals(Case):
    keys = None

    @classmethod
    def setUpClass(cls):
        cls.keys = Keys()
        cls.addClassCleanup(shutil.rmtree, cls.keys.dir)

    def setUp(self):
        self.t = self.enterContext(Trial())
        os.mkdir(self.t.state, 0o700)
        self.approvers("alice", "bob", "carol")

    # ---- what is deployed, and who may agree ----

    def approvers(self, *names, more="", mode=0o600):
        path = os.path.join(self.t.state, "approvers")
        with open(path, "w", encoding="ascii") as f:
            f.write("# who may agree\n" + "".join(self.keys.line(n) for n in names) + more)
        os.chmod(path, mode)

    def write_one(self, content="new\n"):
        return {"apply": {"resources": [{"file": {"path": self.t.path("app.conf"), "content": content}}]}}

    def wait(self, *steps, args=(), env=None, **inputs):
        return self.t.deploy({"targets": {"web": {"local": {}}}, "steps": [{"approve": inputs}, *(steps or [self.write_one()])]},
                             *args, env=env)

    def parked(self, *steps, **more):
        """The id of a deployment that waits."""
        result = self.wait(*steps, **more)
        self.assert_exit(result, 7)
        return re.search(r"(\S+) is parked until", result.out)[1]

    def file(self, text, name):
        path = os.path.join(self.t.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def approve(self, deployment, name, *args, env=None):
        return self.t.run("approve", deployment, "--key", self.keys.private(name), *args, env=env)

    def by_signature(self, deployment, text):
        return self.t.run("approve", deployment, "--signature", self.file(text, "signature"))

    def statement(self, deployment):
        result = self.t.run("approve", deployment, "--statement")
        self.assert_exit(result, 0)
        return result.out

    def one(self, deployment):
        return json.loads(self.t.run("show", deployment, "--json").out)["deployment"]

    def state(self, deployment):
        return self.one(deployment)["state"]

    def content(self):
        try:
            return self.t.read("app.conf").decode()
        except FileNotFoundError:
            return None

    def assert_free(self):
        """Nothing of it is locked, here or on the target."""
        with sqlite3.connect(os.path.join(self.t.state, "journal.db")) as db:
            self.assertEqual(db.execute("SELECT count(*) FROM deployment WHERE holds=1").fetchone(), (0,))
        there = os.path.join(self.t.base, "open")
        self.assertEqual(os.listdir(there) if os.path.isdir(there) else [], [])

    def set_in_journal(self, deployment, change):
        with sqlite3.connect(os.path.join(self.t.state, "journal.db")) as db:
            doc = json.loads(db.execute("SELECT doc FROM deployment WHERE id=?", (deployment,)).fetchone()[0])
            change(doc)
            db.execute("UPDATE deployment SET doc=? WHERE id=?", (json.dumps(doc), deployment))

    def make_late(self, deployment):
        self.set_in_journal(deployment, lambda doc: doc["parked"].update(until_ms=1))

    def assert_refused(self, result, deployment, *words):
        """Nothing is changed, and it waits on."""
        self.assert_exit(result, 2)
        self.assert_says(result, *words)
        self.assertEqual((self.state(deployment), self.content()), ("parked", None))

    # ---- the usual way ----

    def test_a_deployment_waits_with_nothing_locked_and_goes_on_when_one_agrees(self):
        deployment = self.parked(message="two minutes", expires="2h")
        self.assertEqual((self.state(deployment), self.content()), ("parked", None))
        self.assert_free()
        waiting = json.loads(self.t.run("approvals", "--json").out)
        self.assertEqual([(w["id"], w["need"], w["message"], w["approved_by"]) for w in waiting], [(deployment, 1, "two minutes", [])])
        self.assert_says(self.t.run("approvals", deployment), "app.conf", "+ create", waiting[0]["digest"])
        result = self.approve(deployment, "alice")
        self.assert_exit(result, 0)
        self.assert_says(result, "approved by alice", "committed: 1 change")
        self.assertEqual((self.state(deployment), self.content()), ("committed", "new\n"))
        self.assert_free()
        self.assertEqual(os.listdir(os.path.join(self.t.state, "sealed")), [])
        self.assertEqual(json.loads(self.t.run("approvals", "--json").out), [])

    def test_several_people_are_needed_and_each_counts_once(self):
        deployment = self.parked(by=["alice", "bob"], need=2)
        self.assert_exit(self.approve(deployment, "alice"), 7)
        self.assert_refused(self.approve(deployment, "alice"), deployment, "alice has agreed to it already")
        self.assert_exit(self.t.run("continue", deployment), 7)
        self.assert_refused(self.approve(deployment, "carol"), deployment, "carol is not asked")
        self.assert_exit(self.approve(deployment, "bob"), 0)
        self.assertEqual(self.content(), "new\n")

    def test_a_signature_can_be_made_on_another_machine(self):
        deployment = self.parked()
        text = self.statement(deployment)
        self.assertEqual(text.splitlines()[0:2], ["davit approval 1", f"deployment {deployment} shop.test"])
        self.assert_exit(self.by_signature(deployment, self.keys.sign("bob", text)), 0)
        self.assertEqual(self.content(), "new\n")

    def test_a_deployment_that_changes_nothing_asks_nobody(self):
        self.assert_exit(self.approve(self.parked(), "alice"), 0)
        result = self.wait()
        self.assert_exit(result, 0)
        self.assert_says(result, "nothing to change")

    def test_only_records_and_continue_goes_on(self):
        deployment = self.parked()
        self.assert_exit(self.approve(deployment, "alice", "--only"), 0)
        self.assertEqual((self.state(deployment), self.content()), ("parked", None))
        self.assert_exit(self.t.run("continue", deployment), 0)
        self.assertEqual(self.content(), "new\n")

    def test_it_goes_on_with_the_values_it_was_parked_with_and_shows_no_secret(self):
        tell = {"run": {"command": ["sh", "-c", f"printf %s \"$TOKEN\" > {self.t.path('token')}; echo \"$TOKEN\""], "undo": "none",
                        "env": {"TOKEN": "${{ secrets.TOKEN }}"}}}
        late = self.write_one("${{ deployment.id }} ${{ vars.PLACE }}\n")
        deployment = self.parked(tell, late, message="for ${{ secrets.TOKEN }}", args=("--secret", "TOKEN", "--var", "PLACE=here"),
                                 env={"TOKEN": SECRET})
        told = self.t.run("approvals", deployment).text + self.t.run("approvals", deployment, "--json").text
        result = self.approve(deployment, "alice")
        self.assert_exit(result, 0)
        self.assertEqual((self.t.read("token").decode(), self.content()), (SECRET, f"{deployment} here\n"))
        self.assertNotIn(SECRET, told + result.text + self.t.run("show", deployment, "--json").text)
        for path, data in self.t.files_of(self.t.state, self.t.base):
            self.assertNotIn(SECRET.encode(), data, path)

    def test_a_failure_after_the_approval_is_undone_as_ever(self):
        deployment = self.parked(self.write_one(), {"run": {"command": ["false"], "undo": "none"}})
        self.assert_exit(self.approve(deployment, "alice"), 1)
        self.assertEqual((self.state(deployment), self.content()), ("undone", None))
        self.assert_free()

    # ---- who and what does not count ----

    def test_a_key_that_is_not_listed_here_does_not_count(self):
        deployment = self.parked()
        self.assert_refused(self.approve(deployment, "mallory"), deployment, "nobody's line of this machine's list")

    def test_a_deployment_cannot_let_in_whom_this_machine_does_not_list(self):
        result = self.wait(by=["mallory"])
        self.assert_exit(result, 2)
        self.assert_says(result, "'mallory' is not in this machine's list of approvers")
        self.assert_exit(self.wait(need=4), 2)

    def test_a_signature_of_another_deployment_plan_or_time_does_not_count(self):
        first = self.parked()
        signature = self.keys.sign("alice", self.statement(first))
        second = self.parked()
        self.assert_refused(self.by_signature(second, signature), second, "not of this deployment, plan and time")
        text = self.statement(second)
        later = re.sub(r"until 2", "until 3", text)
        other = re.sub(r"plan \w", "plan " + ("0" if "plan 0" not in text else "1"), text)
        for changed in (later, other, text + "\n", text.rstrip("\n")):
            self.assertNotEqual(changed, text)
            self.assert_refused(self.by_signature(second, self.keys.sign("alice", changed)), second, "not of this deployment")

    def test_a_signature_for_another_purpose_or_of_another_kind_does_not_count(self):
        deployment = self.parked()
        text = self.statement(deployment)
        self.assert_refused(self.by_signature(deployment, self.keys.sign("alice", text, "git")), deployment, "made for something else")
        rsa = os.path.join(self.keys.dir, "rsa")
        if not os.path.exists(rsa):
            subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", rsa], check=True)
        self.assert_refused(self.by_signature(deployment, self.keys.sign("alice", text, key=rsa)), deployment, "not one of ssh-ed25519")
        self.assert_refused(self.by_signature(deployment, "rubbish\n"), deployment, "BEGIN SSH SIGNATURE")
        good = self.keys.sign("alice", text)
        self.assert_refused(self.by_signature(deployment, good.replace("U1NIU0lH", "U1NIU0lI")), deployment, "not a signature of ssh-keygen")

    def test_one_who_was_taken_off_the_list_does_not_count_any_more(self):
        deployment = self.parked()
        self.assert_exit(self.approve(deployment, "alice", "--only"), 0)
        self.approvers("bob")
        self.assert_exit(self.t.run("continue", deployment), 7)
        self.assertEqual(self.content(), None)

    def test_what_was_written_into_the_journal_without_a_key_does_not_count(self):
        deployment = self.parked()
        good = self.keys.sign("alice", self.statement(deployment))
        spoilt = good[:-60] + ("B" if good[-60] == "A" else "A") + good[-59:]
        with sqlite3.connect(os.path.join(self.t.state, "journal.db")) as db:
            for data in ({"how": "key", "by": "alice"}, {"how": "comment", "by": "alice"}, {"by": "alice"},
                         {"how": "key", "by": "alice", "signature": spoilt}):
                db.execute("INSERT INTO event(deployment, step, kind, at_ms, data) VALUES(?, 0, 'approval', 1, ?)", (deployment, json.dumps(data)))
        self.assert_exit(self.t.run("continue", deployment), 7)

    def test_one_who_asked_needs_somebody_else_unless_this_machine_says_otherwise(self):
        env = {"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "Alice-Hub"}
        self.approvers("alice", "bob", more="alice github alice-hub\n")
        deployment = self.parked(env=env)
        self.assert_refused(self.approve(deployment, "alice"), deployment, "alice began this deployment")
        self.approvers("alice", "bob", more="alice github alice-hub\nalice own\n")
        self.assert_exit(self.approve(deployment, "alice"), 0)

    def test_a_list_that_others_can_write_or_that_is_missing_refuses(self):
        self.approvers("alice", mode=0o666)
        self.assert_says(self.wait(), "must be a file of its user that nobody else can write")
        os.remove(os.path.join(self.t.state, "approvers"))
        result = self.wait()
        self.assert_exit(result, 2)
        self.assert_says(result, "this machine has no list of approvers")
        self.approvers("alice", more="bob ssh-ed25519 AAAA\n")
        self.assert_says(self.wait(), "approvers:3: the public key is damaged")
        self.approvers("alice", more=self.keys.line("alice").replace("alice ", "bob ", 1))
        self.assert_says(self.wait(), "the key is alice's already")

    # ---- the file ----

    def test_it_stands_before_everything_that_changes_something(self):
        steps = [self.write_one(), {"approve": {}}]
        result = self.t.deploy({"targets": {"web": {"local": {}}}, "steps": steps})
        self.assert_exit(result, 2)
        self.assert_says(result, "deploy.yml:", "stands behind a step that may change something")
        result = self.wait({"approve": {}}, self.write_one())
        self.assert_exit(result, 2)
        self.assert_says(result, "a second time")
        for inputs, words in (({"expires": "10s"}, "from 1m to 30d"), ({"by": ["alice"], "need": 2}, "more people than")):
            result = self.wait(**inputs)
            self.assert_exit(result, 2)
            self.assert_says(result, words)

    def test_it_cannot_wait_where_nothing_is_sealed_or_alone(self):
        self.assert_says(self.wait(args=("--no-seal",)), "nothing is sealed")
        result = self.t.run("step", "approve", "--input", self.file("{}", "in.yml"))
        self.assert_exit(result, 2)
        self.assert_says(result, "a single step cannot wait")

    # ---- another world when it goes on ----

    def test_another_plan_than_the_approved_one_closes_it_and_shows_the_difference(self):
        self.t.write("app.conf", b"old\n")
        deployment = self.parked()
        self.t.write("app.conf", b"somebody else's\n", mode=0o600)
        result = self.approve(deployment, "alice")
        self.assert_exit(result, 3)
        self.assert_says(result, "the plan is not the approved one any more", "app.conf", "before mode", '"0644" was approved, now "0600"')
        self.assertEqual((self.state(deployment), self.content()), ("refused", "somebody else's\n"))
        self.assertEqual(self.one(deployment)["exit_status"], 3)
        self.assert_free()
        self.assert_exit(self.approve(deployment, "bob"), 2)

    def test_a_lock_of_another_deployment_leaves_it_waiting(self):
        deployment = self.parked()
        self.assert_exit(self.t.deploy({"targets": {"web": {"local": {}}}, "on_failure": "hold", "steps": [
            {"run": {"command": ["false"], "undo": "none"}}]}), 4)
        result = self.approve(deployment, "alice")
        self.assert_exit(result, 5)
        self.assert_says(result, "stays parked")
        self.assertEqual((self.state(deployment), self.content()), ("parked", None))
        self.assert_exit(self.t.run("unlock", "test", "--accept"), 0)
        self.assert_exit(self.t.run("continue", deployment), 0)
        self.assertEqual(self.content(), "new\n")

    def test_recover_rollback_unlock_and_the_next_deployment_leave_it_alone(self):
        deployment = self.parked()
        self.assert_exit(self.t.run("recover"), 0)
        self.assert_exit(self.t.run("recover", deployment), 0)
        self.assert_exit(self.t.run("unlock", "shop.test"), 0)
        self.assert_exit(self.t.run("rollback", deployment), 2)
        self.assert_exit(self.t.run("rollback"), 2)
        self.assert_exit(self.t.deploy({"targets": {"web": {"local": {}}}, "steps": [{"run": {"command": ["true"], "undo": "none"}}]}), 0)
        self.assertEqual((self.state(deployment), self.content()), ("parked", None))
        self.assert_exit(self.approve(deployment, "alice"), 0)

    # ---- too late, and no ----

    def test_one_that_is_late_is_closed_by_whoever_comes_first(self):
        ways = {"approve": lambda d: self.approve(d, "alice"), "continue": lambda d: self.t.run("continue", d),
                "recover": lambda d: self.t.run("recover"), "recover ID": lambda d: self.t.run("recover", d),
                "the next": lambda d: self.t.deploy({"targets": {"web": {"local": {}}}, "steps": [{"preflight": {}}]})}
        for way, call in ways.items():
            with self.subTest(way):
                deployment = self.parked()
                self.make_late(deployment)
                result = call(deployment)
                self.assert_exit(result, 2 if way in ("approve", "continue") else 0)
                self.assertEqual((self.state(deployment), self.content()), ("refused", None), result)
                self.assertIn("nobody agreed in time", self.one(deployment)["reason"])
                self.assertEqual(os.listdir(os.path.join(self.t.state, "sealed")), [])
                self.assert_free()

    def test_one_that_is_late_says_so_where_what_was_sealed_cannot_be_read(self):
        for way in ("continue", "recover"):
            with self.subTest(way):
                deployment = self.parked()
                self.make_late(deployment)
                sealed = os.path.join(self.t.state, "sealed")
                for name in os.listdir(sealed):
                    os.truncate(os.path.join(sealed, name), 10)
                result = self.t.run(way, deployment)
                self.assert_exit(result, 2 if way == "continue" else 0)
                self.assertIn("nobody agreed in time", self.one(deployment)["reason"] or "", result)
                self.assertEqual(self.state(deployment), "refused")
                self.assert_free()

    def test_an_approval_in_time_does_not_outlive_the_deployment(self):
        deployment = self.parked()
        self.assert_exit(self.approve(deployment, "alice", "--only"), 0)
        self.make_late(deployment)
        self.assert_exit(self.t.run("continue", deployment), 2)
        self.assertEqual((self.state(deployment), self.content()), ("refused", None))

    def test_one_that_is_rejected_is_closed_with_the_reason(self):
        deployment = self.parked()
        self.assert_exit(self.t.run("reject", deployment, "--reason", "not on a Friday"), 0)
        self.assertEqual((self.state(deployment), self.one(deployment)["reason"]), ("refused", "rejected: not on a Friday"))
        self.assert_exit(self.approve(deployment, "alice"), 2)
        self.assert_exit(self.t.run("reject", deployment), 2)
        self.assertEqual(self.content(), None)

    # ---- processes ----

    def test_a_process_killed_at_any_record_of_going_on_loses_neither_approval_nor_world(self):
        counter, records = os.path.join(self.t.dir, "records"), 0
        for at in range(1, 60, 2):
            deployment = self.parked()
            self.assert_exit(self.approve(deployment, "alice", "--only"), 0)
            died = self.t.run("continue", deployment, env={"DAVIT_TEST_KILL_AT": str(at), "DAVIT_TEST_RECORDS": counter})
            if died.code == 0:
                break
            self.assertEqual(died.code, -signal.SIGKILL, died)
            records += 1
            self.t.run("recover")
            state = self.state(deployment)
            self.assertIn((state, self.content()), [("parked", None), ("undone", None), ("committed", "new\n")], at)
            self.assert_free()
            if state == "parked":
                self.assert_exit(self.t.run("continue", deployment), 0)
            if self.content() is not None:
                os.remove(self.t.path("app.conf"))
        self.assertGreater(records, 4)

    def test_a_process_killed_while_it_parks_leaves_it_parked_or_refused(self):
        for at in range(1, 30):
            result = self.wait(env={"DAVIT_TEST_KILL_AT": str(at)})
            if result.code == 7:
                break
            self.assertEqual(result.code, -signal.SIGKILL, result)
            self.assert_exit(self.t.run("recover"), 0)
            self.assertLessEqual({d["state"] for d in json.loads(self.t.run("history", "--json").out)}, {"refused", "parked"})
            self.assert_free()
        self.assertGreater(at, 3)

    def test_of_two_who_go_on_at_once_one_does(self):
        slow = {"run": {"command": ["sh", "-c", f"echo once >> {self.t.path('runs')}; until [ -e {self.t.path('go')} ]; do sleep 0.05; done"],
                        "undo": "none"}}
        deployment = self.parked(slow, need=1)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_", "RUNNER_", "DAVIT_"))}
        first = subprocess.Popen([DAVIT, "approve", deployment, "--key", self.keys.private("alice")], env={**env, "DAVIT_STATE": self.t.state},
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(first.kill)
        until(lambda: os.path.exists(self.t.path("runs")) or first.poll() is not None, "the first one's command")
        self.assert_exit(self.t.run("continue", deployment), 5)
        self.assert_exit(self.approve(deployment, "bob"), 2)
        self.t.write("go", b"")
        out = first.communicate(timeout=60)[0]
        self.assertEqual((first.returncode, self.t.read("runs")), (0, b"once\n"), out)

    # ---- a job ----

    def test_a_job_ends_with_how_to_agree(self):
        whole = {"name": "shop", "environment": "test", "targets": {"web": {"local": {}, "base": self.t.base}},
                 "steps": [{"approve": {"message": "<b>two</b> minutes", "by": ["alice"]}}, self.write_one()]}
        with open(os.path.join(self.t.src, "deploy.yml"), "w", encoding="utf-8") as f:
            json.dump(whole, f)
        summary, outputs = os.path.join(self.t.dir, "summary"), os.path.join(self.t.dir, "outputs")
        for path in (summary, outputs):
            open(path, "w", encoding="utf-8").close()
        result = self.t.run("deploy", "deploy.yml", env={"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": summary, "GITHUB_OUTPUT": outputs})
        self.assert_exit(result, 7)
        with open(summary, encoding="utf-8") as f:
            page = f.read()
        with open(outputs, encoding="utf-8") as f:
            self.assertIn("parked", f.read())
        self.assertIn("shop.test parked", page)
        self.assertIn("waits for 1 approval of alice.", page)
        self.assertRegex(page, r"davit approve \S+ --key FILE")
        self.assertIn("app.conf", page)
        self.assertNotIn("<b>", page)

    # ---- comments ----

    COMMIT = "0123456789012345678901234567890123456789"

    def job(self, hub):
        return {"GITHUB_ACTIONS": "true", "GITHUB_API_URL": hub.url, "GITHUB_REPOSITORY": "acme/shop", "GITHUB_SHA": self.COMMIT,
                "GITHUB_SERVER_URL": "https://github.example", "GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_JOB": "deploy",
                "GITHUB_ACTOR": "carol-hub", "GITHUB_WORKSPACE": self.t.src, "INPUT_FILE": "deploy.yml", "INPUT_TOKEN": "job-token"}

    def parked_by_a_job(self, hub, **inputs):
        whole = {"name": "shop", "environment": "test", "targets": {"web": {"local": {}, "base": self.t.base}},
                 "steps": [{"approve": inputs}, self.write_one()]}
        with open(os.path.join(self.t.src, "deploy.yml"), "w", encoding="utf-8") as f:
            json.dump(whole, f)
        result = self.t.run("deploy", env=self.job(hub))
        self.assert_exit(result, 7)
        return re.search(r"(\S+) is parked until", result.out)[1], re.search(r"/davit approve \S+ \w+", result.out)[0]

    @staticmethod
    def comment(body, login="alice-hub", **more):
        number = more.pop("id", 1)
        return {"id": number, "user": {"login": login, "type": "User"}, "body": body, "created_at": "2026-01-31T10:20:30Z",
                "updated_at": "2026-01-31T10:20:30Z", "html_url": f"https://github.example/acme/shop/issues/5#issuecomment-{number}",
                "author_association": "OWNER", "performed_via_github_app": None, **more}

    def github(self, comments, on_commit=()):
        """Answers with what the lists hold at the time."""
        def answer(path, _):
            there = comments if path.startswith("/repos/acme/shop/issues/comments?since=") else \
                on_commit if path.startswith(f"/repos/acme/shop/commits/{self.COMMIT}/comments?") else None
            if there is None:
                return 404, {}, b'{"message": "Not Found"}'
            page = int(re.search(r"[?&]page=(\d+)", path)[1])
            return 200, {}, json.dumps(list(there)[(page - 1) * 100:page * 100]).encode()
        return self.enterContext(Service(answer))

    def read_comments(self, *deployment, **env):
        return self.t.run("approve", *deployment, "--from-comment", env={"GITHUB_TOKEN": "reader", **env})

    def logins(self, hub):
        self.approvers("alice", "bob", "carol", more=f"api {hub.url}\nalice github alice-hub\nbob github bob-hub\ncarol github carol-hub\n")

    def test_a_comment_of_a_person_who_is_listed_here_counts(self):
        comments = []
        hub = self.github(comments)
        self.logins(hub)
        deployment, order = self.parked_by_a_job(hub)
        self.assert_exit(self.read_comments(deployment), 7)
        comments.append(self.comment(f"looks good\r\n{order}  \r\nthanks", login="Alice-Hub"))
        result = self.read_comments(deployment)
        self.assert_exit(result, 0)
        self.assert_says(result, "alice agrees to", "issuecomment-1", "approved by alice")
        self.assertEqual((self.state(deployment), self.content()), ("committed", "new\n"))
        self.assertIn("alice agreed, by https://github.example/", self.t.run("show", deployment).text)
        self.assertNotIn("reader", result.text)

    def test_what_is_not_the_one_line_of_a_listed_person_does_not_count(self):
        comments = []
        hub = self.github(comments)
        self.logins(hub)
        deployment, order = self.parked_by_a_job(hub)
        digest = self.one(deployment)["plan_digest"]
        comments += [
            self.comment(order, login="mallory"), self.comment("> " + order), self.comment(" " + order), self.comment(order + " please"),
            self.comment(order[:-1]), self.comment(order[:-1] + ("0" if order[-1] != "0" else "1")), self.comment(order + "g"),
            self.comment(f"/davit approve {deployment} {digest}00"), self.comment(order.upper()), self.comment(order.replace(deployment, "last")),
            self.comment(order, updated_at="2026-01-31T10:20:31Z"), self.comment(order, created_at=None), self.comment(None),
            self.comment(order, user={"login": "alice-hub", "type": "Bot"}), self.comment(order, user=None),
            self.comment(order, performed_via_github_app={"id": 1}), self.comment(order, created_at="2999-01-01T00:00:00Z", updated_at="2999-01-01T00:00:00Z"),
            self.comment(order, login="carol-hub"), self.comment(order, login="alice-hub\u0000"), self.comment(order + "\u0000 please"), "text", 7, None, {}]
        result = self.read_comments(deployment)
        self.assert_exit(result, 7)
        self.assert_says(result, "'mallory' is no login", "carol began this deployment")
        self.assertEqual((self.state(deployment), self.content()), ("parked", None))

    def test_a_comment_that_is_gone_and_one_in_the_journal_alone_do_not_count(self):
        comments = []
        hub = self.github([], comments)
        self.logins(hub)
        deployment, order = self.parked_by_a_job(hub, need=2)
        comments.append(self.comment(order))
        self.assert_exit(self.read_comments(deployment), 7)
        comments.clear()
        self.assert_exit(self.approve(deployment, "bob"), 7)
        self.assert_exit(self.t.run("continue", deployment), 7)
        comments.append(self.comment(order))
        self.assert_exit(self.read_comments(deployment), 0)
        self.assertEqual(self.content(), "new\n")

    def test_a_key_and_a_login_of_one_person_count_once(self):
        hub = self.github(comments := [])
        self.logins(hub)
        deployment, order = self.parked_by_a_job(hub, need=2)
        comments.append(self.comment(order))
        self.assert_exit(self.approve(deployment, "alice"), 7)
        self.assert_exit(self.read_comments(deployment), 7)
        self.assertEqual(self.content(), None)

    def test_without_an_id_all_that_wait_in_the_repository_are_looked_at(self):
        hub = self.github([self.comment("unrelated", id=n) for n in range(150)] + (comments := [self.comment("")]))
        self.logins(hub)
        first, order = self.parked_by_a_job(hub)
        other = self.parked()
        self.assert_exit(self.read_comments(GITHUB_REPOSITORY="acme/shop"), 0)
        self.assertEqual(self.state(first), "parked")
        comments[0]["body"] = order
        self.assert_exit(self.read_comments(GITHUB_REPOSITORY="acme/other"), 0)
        self.assertEqual(self.state(first), "parked")
        self.assert_exit(self.read_comments(GITHUB_REPOSITORY="acme/shop"), 0)
        self.assertEqual((self.state(first), self.state(other)), ("committed", "parked"))

    def test_a_deployment_cannot_say_whose_word_its_comments_are(self):
        order = []
        forged = self.github(order)
        honest = self.github([])
        self.logins(honest)
        deployment, line = self.parked_by_a_job(forged)
        order.append(self.comment(line))
        self.assert_exit(self.read_comments(deployment, GITHUB_API_URL=forged.url), 7)
        self.assertEqual((self.state(deployment), self.content()), ("parked", None))
        self.assertTrue(honest.requests)

    def test_github_out_of_reach_or_without_permission_leaves_it_waiting(self):
        hub = self.enterContext(Service(lambda path, _: (403, {}, b'{"message": "Resource not accessible"}')))
        self.logins(hub)
        deployment, _ = self.parked_by_a_job(hub)
        result = self.read_comments(deployment)
        self.assert_exit(result, 2)
        self.assert_says(result, "Resource not accessible", "issues: read, contents: read")
        self.assert_says(self.t.run("approve", deployment, "--from-comment"), "GITHUB_TOKEN is not set")
        self.assertEqual(self.state(deployment), "parked")


if __name__ == "__main__":
    if shutil.which("ssh-keygen") is None:
        print("skipped: ssh-keygen is not on this machine")
        sys.exit(SKIP)
    # Every record is synced.
    if os.access("/dev/shm", os.W_OK):
        tempfile.tempdir = "/dev/shm"
    main()
