#!/usr/bin/env python3
"""`davit releases`: what targets hold, read from them, on whatever machine it is asked."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

FAIL = {"run": {"command": ["false"], "undo": "none"}}


def snapshot_of(*tops):
    return {os.path.join(folder, name): os.lstat(os.path.join(folder, name)).st_mtime_ns
            for top in tops for folder, folders, names in os.walk(top) for name in folders + names}


class Releases(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        os.mkdir(os.path.join(self.t.src, "site"))
        self.elsewhere = {"DAVIT_STATE": os.path.join(self.t.dir, "colleague")}

    def deploy(self, text, *more, target=None, **options):
        with open(os.path.join(self.t.src, "site", "index.html"), "w", encoding="ascii") as f:
            f.write(text)
        upload = {"archive-upload": {"source": "site", "path": self.t.path("app")}}
        return self.t.deploy({"targets": {"web": target or {"local": {}}}, "steps": [upload, *more], **options}, secrets={"TOKEN": "tok-77aa55"})

    def secret(self):
        return {"secret-write": {"path": self.t.path("app.env"), "values": {"TOKEN": "${{ secrets.TOKEN }}"}}}

    def current(self):
        return os.path.basename(os.readlink(self.t.path("app/current")))

    def ask(self, *words, **options):
        result = self.t.run("releases", *words, "--json", **options)
        self.assert_exit(result, 0)
        [found] = json.loads(result.out)
        return found

    def listed(self, found):
        [target] = found["targets"]
        [path] = target["paths"]
        return [(r["release"], r["current"]) for r in path["releases"]]

    def test_a_machine_without_a_journal_sees_what_the_one_that_deployed_sees(self):
        made = []
        for text in ("one", "two", "three"):
            self.assert_exit(self.deploy(text, self.secret()), 0)
            made.insert(0, self.current())
        self.assert_exit(self.t.run("rollback", "--to", made[1]), 0)
        here, there = self.ask(), self.ask("deploy.yml", env=self.elsewhere)
        self.assertEqual(here, there)
        self.assertEqual(here, self.ask("last"))
        self.assertEqual((here["name"], here["environment"]), ("shop", "test"))
        self.assertEqual(self.listed(here), [(made[0], False), (made[1], True), (made[2], False)])
        self.assertIsNone(here["targets"][0]["lock"])
        self.assertFalse(os.path.exists(self.elsewhere["DAVIT_STATE"]), "a journal is not made")
        told = self.t.run("releases", "deploy.yml", env=self.elsewhere)
        self.assert_exit(told, 0)
        self.assertRegex(told.out, rf"(?m)^      \* {made[1]} .*runs now$")
        self.assertEqual(told.out.count("runs now"), 1)

    def test_each_release_that_is_listed_can_be_gone_back_to(self):
        for text in ("one", "two", "three"):
            self.assert_exit(self.deploy(text), 0)
        for release, _ in reversed(self.listed(self.ask())):
            self.assert_exit(self.t.run("rollback", "--to", release), 0)
            self.assertEqual(self.current(), release)
        refused = self.t.run("rollback", "--to", "20200101T000000-000000")
        self.assert_exit(refused, 2)
        self.assert_says(refused, "davit releases")

    def test_what_the_lock_says_is_shown_and_nothing_is_locked_or_written(self):
        self.assert_exit(self.deploy("one"), 0)
        self.assert_exit(self.deploy("two", FAIL, on_failure="hold"), 4)
        held = json.loads(self.t.run("history", "--json").out)[0]["id"]
        before = snapshot_of(self.t.base, self.t.target_dir)
        lock = self.ask("deploy.yml", env=self.elsewhere)["targets"][0]["lock"]
        self.assertEqual(lock["deployment"], held)
        self.assertEqual(snapshot_of(self.t.base, self.t.target_dir), before)
        told = self.t.run("releases", "deploy.yml", env=self.elsewhere)
        self.assert_says(told, f"held by the deployment {held} on {lock['host']} as {lock['user']} since 20")

    def test_what_a_hostile_target_says_is_shown_as_text(self):
        self.assert_exit(self.deploy("one"), 0)
        folder = os.path.join(self.t.base, "open", "shop.test")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "lock"), "w", encoding="ascii") as f:
            json.dump({"format": 1, "token": "0" * 32, "deployment": "abc", "host": "h\x1b[31m\u009b\u202e", "user": "::set-output name=a::b", "made_ms": 1}, f)
        releases = self.t.path("app/releases")
        os.mkdir(os.path.join(releases, "evil\x1b[2J\n::add-mask::x"))
        os.mkfifo(os.path.join(releases, ".20300101T000000-abcdef.manifest"))
        os.mkdir(os.path.join(releases, "20300101T000000-abcdef"))
        with open(os.path.join(releases, f".{self.current()}.manifest"), "w", encoding="ascii") as f:
            f.write('{"format":1,"commit":"\\u001b]0;x\\u0007","deployment":"other\\u001b[1m"' + " " * 20000)
        for env in ({}, {"GITHUB_ACTIONS": "true"}):
            told = self.t.run("releases", "deploy.yml", env=env)
            self.assert_exit(told, 0)
            for byte in ("\x1b", "\u009b", "\u202e", "\x07"):
                self.assertNotIn(byte, told.text)
            if env:
                first = told.out.splitlines()[0]
                self.assertTrue(first.startswith("::stop-commands::"), told.out)
                self.assertEqual(told.out.splitlines()[-1], f"::{first.split('::')[2]}::")
        os.unlink(self.t.path("app/current"))
        os.symlink("/etc/\x1b[31m", self.t.path("app/current"))
        told = self.t.run("releases", "deploy.yml")
        self.assert_says(told, "current leads to no release: /etc/\\x1b[31m")

    def test_a_target_out_of_reach_is_named_and_the_others_are_shown(self):
        self.assert_exit(self.deploy("one"), 0)
        with open(os.path.join(self.t.src, "deploy.yml"), encoding="utf-8") as f:
            document = json.load(f)
        document["targets"]["far"] = {"ssh": {"host": "127.0.0.1", "port": 1, "user": "deploy", "host_key": "ssh-ed25519 " + "A" * 68, "password": "x"}}
        document["steps"][0]["archive-upload"]["target"] = ["web", "far"]
        with open(os.path.join(self.t.src, "deploy.yml"), "w", encoding="utf-8") as f:
            json.dump(document, f)
        told = self.t.run("releases", "deploy.yml")
        self.assert_exit(told, 2)
        self.assert_says(told, self.current(), "far\n    error: ", "127.0.0.1")

    def test_the_journal_knows_several_and_options_choose_among_them(self):
        self.assert_exit(self.deploy("one"), 0)
        self.assert_exit(self.t.deploy({"name": "blog", "environment": "staging", "targets": {"web": {"local": {}}}, "steps": [
            {"archive-upload": {"source": "site", "path": self.t.path("blog")}}]}), 0)
        found = json.loads(self.t.run("releases", "--json").out)
        self.assertEqual([(d["name"], d["environment"]) for d in found], [("blog", "staging"), ("shop", "test")])
        self.assertEqual(self.ask("--name", "shop")["name"], "shop")
        self.assertEqual(self.ask("--environment", "staging")["name"], "blog")
        for words in (["--name", "nobody"], ["nonsense"], ["deploy.yml", "--name", "shop"]):
            refused = self.t.run("releases", *words)
            self.assert_exit(refused, 2)
            self.assertEqual(refused.out, "")
        self.assert_says(self.t.run("releases", env=self.elsewhere), "davit releases FILE")

    def test_over_ssh_the_journal_asks_for_the_login_only(self):
        with Sshd() as server:
            target = server.target(base=self.t.base)
            key = target["ssh"].pop("key")
            target["ssh"]["key"] = "${{ secrets.KEY }}"
            upload = {"archive-upload": {"source": "site", "path": self.t.path("app")}}
            with open(os.path.join(self.t.src, "site", "index.html"), "w", encoding="ascii") as f:
                f.write("one")
            self.assert_exit(self.t.deploy({"targets": {"web": target}, "steps": [upload, self.secret()]}, secrets={"KEY": key, "TOKEN": "tok-77aa55"}), 0)
            self.assert_says(self.t.run("releases"), "secrets.KEY")
            for words in ([], ["deploy.yml"]):
                self.assertEqual(self.listed(self.ask(*words, "--secret", "KEY", env={"KEY": key})), [(self.current(), True)])


if __name__ == "__main__":
    main()
