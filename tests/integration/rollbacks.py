#!/usr/bin/env python3
"""Going back behind a committed deployment: what the plan of it shows, what a killed one leaves to be recovered, and who may do it."""
import json
import os
import pwd
import shutil

from harness.trial import Case, Trial, main

NAMES = ("db", "web")


class Rollbacks(Case):
    """Two targets on this machine, each with a release, a file, a restart and a gate."""

    def setUp(self):
        self.t = self.enterContext(Trial())
        os.mkdir(os.path.join(self.t.src, "site"))

    def site(self, text):
        with open(os.path.join(self.t.src, "site", "index.html"), "w", encoding="ascii") as f:
            f.write(text)

    def served(self, name):
        try:
            return self.t.read(name, "served").decode()
        except FileNotFoundError:
            return None

    def current(self, name):
        return os.path.basename(os.readlink(self.t.path(name, "app/current")))

    def document(self, text, snapshot=False, **more):
        steps = []
        for name in NAMES:
            root = self.t.path(name)
            restart = ["cp", f"{root}/app/current/index.html", f"{root}/served"]
            steps += [
                {"apply": {"target": name, "resources": [{"directory": {"path": root}},
                                                         {"file": {"path": f"{root}/app.conf", "content": text + "\n"}}]}},
                {"archive-upload": {"target": name, "source": "site", "path": f"{root}/app"}},
                {"run": {"target": name, "command": restart, "after_undo": restart}},
            ]
            if snapshot:
                steps.insert(0, {"snapshot": {"target": name, "files": {"paths": [f"{root}/data"]}}})
        steps.append({"health-gate": {"deadline": "5s", "checks": [
            {"command": ["grep", "-q", ".", f"{self.t.path(name)}/served"], "target": name} for name in NAMES]}})
        return {"targets": {name: {"local": {}, "base": self.base(name)} for name in NAMES}, "steps": steps, **more}

    def base(self, name):
        return f"{self.t.base}-{name}"

    def deploy(self, text, *args, **more):
        self.site(text)
        result = self.t.deploy(self.document(text, **more), *args)
        return result

    def history(self):
        return json.loads(self.t.run("history", "--json").out)

    def two(self, **more):
        """The ids of two committed deployments."""
        for text in ("one", "two"):
            self.assert_exit(self.deploy(text, **more), 0)
        return [d["id"] for d in reversed(self.history())]

    def everything(self):
        return sorted((path, data) for path, data in self.t.files_of(self.t.target_dir, *(self.base(n) for n in NAMES)))

    def assert_free(self):
        for name in NAMES:
            self.assertFalse(os.path.isdir(self.base(name) + "/open") and os.listdir(self.base(name) + "/open"))

    # ---- the plan

    def test_the_plan_shows_the_switches_the_restarts_and_what_stays_and_changes_nothing(self):
        first, second = self.two()
        before, rows = self.everything(), self.history()
        for words in (("rollback", second), ("rollback", "--to", first), ("rollback", "last")):
            plan = self.t.run(*words, "--plan")
            self.assert_exit(plan, 0)
            for name in NAMES:
                self.assert_says(plan, f"{name} {self.t.path(name, 'app/current')}: switch back from releases/{second} to releases/{first}",
                                 f"afterwards: run `cp {self.t.path(name)}/app/current/index.html")
                # Behind a release nobody says which file belonged to it.
                if "--to" in words:
                    self.assert_says(plan, f"{name}:{self.t.path(name, 'app.conf')} (apply)")
                else:
                    self.assert_says(plan, f"{name} {self.t.path(name, 'app.conf')}: as before that deployment")
            self.assert_says(plan, "then the gate: ", "Not taken back:", "data: no snapshot")
            report = json.loads(self.t.run(*words, "--plan", "--json").out)
            self.assertEqual((report["exit_status"], report["state"]), (0, "planned"))
            [switches] = [s for s in report["report"]["plan"] if s["step"] == "rollback"]
            self.assertEqual([(c["target"], c["before"]["link"], c["after"]["link"]) for c in switches["changes"] if "link" in c["after"]],
                             [(name, f"releases/{second}", f"releases/{first}") for name in NAMES])
            self.assertEqual(f"web:{self.t.path('web/app.conf')} (apply)" in report["report"]["not_taken_back"], "--to" in words)
        self.assertEqual(self.everything(), before)
        self.assertEqual(self.history(), rows, "no deployment was begun")
        done = self.t.run("rollback", second)
        self.assert_exit(done, 0)
        self.assert_says(done, f"web:{self.t.path('web/app/current')}: switch back from releases/{second} to releases/{first}",
                         f"db:{self.t.path('db/app.conf')}: as before that deployment")
        self.assertEqual([(self.current(n), self.served(n), self.t.read(n, "app.conf")) for n in NAMES], [(first, "one", b"one\n")] * 2)

    def test_the_plan_says_what_data_would_do(self):
        for name in NAMES:
            self.t.write(f"{name}/data/rows", b"1")
        _, second = self.two(snapshot=True)
        without, with_data = self.t.run("rollback", second, "--plan"), self.t.run("rollback", second, "--plan", "--data")
        self.assert_says(without, "data: --data puts back what the snapshots kept")
        self.assert_silent(without, "by snapshot")
        self.assert_says(with_data, f"replace {self.t.path('web/data')} by snapshot {second} of shop.test")
        self.assert_silent(with_data, "--data")

    def test_the_plan_of_an_open_deployment_shows_what_would_be_taken_back(self):
        self.two()
        self.site("three")
        document = self.document("three", on_failure="hold")
        document["steps"] += [{"run": {"target": "web", "command": ["true"]}}, {"run": {"target": "web", "command": ["false"], "undo": "none"}}]
        self.assert_exit(self.t.deploy(document), 4)
        held, before = self.history()[0]["id"], self.everything()
        for words in (("rollback", held, "--plan"), ("rollback", "--plan")):
            plan = self.t.run(*words)
            self.assert_exit(plan, 0)
            self.assert_says(plan, "take back", f"undo     web {self.t.path('web/app/current')}", "afterwards: run `cp ", "did on web")
            self.assertLess(plan.text.index(self.t.path("web/app.conf")), plan.text.index(self.t.path("db/app.conf")), "newest first")
        self.assertEqual(self.everything(), before)
        self.assertEqual(self.history()[0]["state"], "held")

    def test_a_plan_is_refused_as_the_rollback_itself_would_be(self):
        nothing = self.t.run("rollback", "20200101T000000-000000", "--plan")
        self.assert_exit(nothing, 2)
        self.assertFalse(os.path.exists(self.t.state), "a plan makes no journal")
        first, second = self.two()
        self.assert_exit(self.t.run("rollback", first, "--plan"), 2)
        self.assert_exit(self.t.run("rollback", second, "--to", first, "--plan"), 2)
        self.assert_exit(self.t.run("rollback", "--to", second, "--plan"), 2)
        for words in (("rollback", "--to", "nonsense"), ("rollback", "--to", "nonsense", "--plan")):
            refused = self.t.run(*words)
            self.assert_exit(refused, 2)
            self.assert_says(refused, "no target has a release 'nonsense'", "the releases there are: ", first, second)
        shutil.rmtree(self.t.path("web/app/releases", first))
        gone = self.t.run("rollback", second)
        self.assert_exit(gone, 2)
        self.assert_says(gone, "is not there any more")
        self.assertEqual([self.current(n) for n in NAMES], [second] * 2, "nothing is switched on the other target")
        self.assert_free()

    def test_going_to_a_release_says_where_it_is_not(self):
        first, second = self.two()
        shutil.rmtree(self.t.path("web/app/releases", first))
        plan = self.t.run("rollback", "--to", first, "--plan")
        self.assert_exit(plan, 0)
        self.assert_says(plan, f"'{self.t.path('web/app/current')}' on 'web' stays as it is")
        done = self.t.run("rollback", "--to", first)
        self.assert_exit(done, 0)
        self.assert_says(done, "on 'web' stays as it is")
        self.assertEqual([(n, self.current(n), self.served(n)) for n in NAMES], [("db", first, "one"), ("web", second, "two")])

    def test_no_file_can_name_the_step_of_a_rollback(self):
        for inputs in ({}, {"switches": [{"target": "web", "path": self.t.path("x"), "to": "releases/y"}]}):
            document = self.document("one")
            document["steps"].append({"rollback": inputs})
            self.site("one")
            for words in ((), ("--plan",)):
                refused = self.t.deploy(document, *words)
                self.assert_exit(refused, 2)
                self.assert_says(refused, "rollback")
        self.assertEqual(self.everything(), [])

    # ---- killed (every record of it: tests/crash)

    def parts(self):
        return [self.t.state, self.t.target_dir, *(self.base(n) for n in NAMES)]

    def copy_parts(self, back):
        for part in self.parts():
            here, there = (part + ".saved", part) if back else (part, part + ".saved")
            shutil.rmtree(there, ignore_errors=True)
            if os.path.isdir(here):
                shutil.copytree(here, there, symlinks=True)

    def kill_until(self, condition, *words):
        """Killed after each of its records in turn, in the same world, until the condition holds. The killed one's id."""
        self.copy_parts(False)
        for at in range(1, 60):
            killed = self.t.run(*words, env={"DAVIT_TEST_KILL_AT": str(at)})
            self.assertIn(killed.code, (-9, 137), f"it never was so: {killed}")
            if condition():
                return self.history()[0]["id"]
            self.copy_parts(True)
        self.fail("it never was so")

    def are_apart(self):
        return len({self.current(n) for n in NAMES}) == 2

    def kill_between_the_targets(self, *words):
        """The first target is switched, the second is not."""
        return self.kill_until(self.are_apart, *words)

    def test_a_rollback_that_died_between_its_targets_is_taken_back_with_nothing_sealed_by_the_file_alone(self):
        _, second = self.two(seal=False)
        dead = self.kill_between_the_targets("rollback", second)
        lacking = self.t.run("recover", dead)
        self.assert_exit(lacking, 4)
        self.assertTrue(self.are_apart())
        self.assert_exit(self.t.run("recover", "deploy.yml"), 0)
        self.assertEqual([(self.current(n), self.served(n)) for n in NAMES], [(second, "two")] * 2)
        self.assert_free()
        self.assert_exit(self.t.run("rollback", second), 0)

    def test_a_rollback_that_was_killed_and_is_asked_for_again_is_taken_back_first_and_made_then(self):
        first, second = self.two()
        dead = self.kill_between_the_targets("rollback", second)
        self.assert_exit(self.t.run("rollback", second), 0)
        self.assertEqual([(self.current(n), self.served(n)) for n in NAMES], [(first, "one")] * 2)
        self.assertEqual({d["id"]: d["state"] for d in self.history()}[dead], "undone")
        self.assert_free()

    def test_a_rollback_that_is_held_is_taken_back_by_its_own_id(self):
        _, second = self.two(on_failure="hold")
        dead = self.kill_between_the_targets("rollback", second)
        held = self.t.run("recover")
        self.assert_exit(held, 4)
        self.assert_says(self.t.run("rollback", dead, "--plan"), "undo ")
        self.assert_exit(self.t.run("rollback", dead), 0)
        self.assertEqual([(self.current(n), self.served(n)) for n in NAMES], [(second, "two")] * 2)
        self.assert_free()

    def copy_of(self, name):
        return os.path.join(self.base(name), "open/shop.test/changes.jsonl")

    def meddle(self, name, **members):
        with open(self.copy_of(name), encoding="utf-8") as f:
            records = [json.loads(line) for line in f.read().splitlines() if line]
        for record in records:
            record.update({k: v for k, v in members.items() if k in record})
        with open(self.copy_of(name), "w", encoding="utf-8") as f:
            f.writelines(json.dumps(record) + "\n" for record in records)

    def refused_takeover(self, state):
        """By a machine that knows nothing but the file and the targets. It names the way that works."""
        self.t.state = f"{self.t.dir}/{state}"
        refused = self.t.run("recover", "deploy.yml", "--takeover", "--after", "1s")
        self.assert_exit(refused, 4)
        self.assertEqual(self.history()[0]["state"], "held")
        self.assert_says(refused, "davit unlock shop.test --accept")
        self.assert_silent(refused, "davit rollback")
        self.assert_exit(self.t.run("rollback"), 4)
        return refused

    def test_a_hostile_target_cannot_make_a_rollback_of_its_own(self):
        _, second = self.two()
        victim, here = self.t.write("victim", b"mine"), self.t.state
        self.kill_between_the_targets("rollback", second)
        for part in self.parts():
            shutil.rmtree(part + ".saved", ignore_errors=True)
        self.copy_parts(False)
        for number, lie in enumerate(({"path": victim}, {"path": self.t.path("web/app/current/../../x")}, {"step": 99}, {"kind": "file"},
                                      {"path": self.t.path("db/app/current")}, {"step_name": "apply"})):
            with self.subTest(lie=lie):
                self.t.state = here
                self.copy_parts(True)
                self.meddle("web", **lie)
                self.refused_takeover(f"other-{number}")
                self.assertEqual(self.t.read("victim"), b"mine")
                self.assertTrue(self.are_apart(), "nothing was undone")
                self.assert_exit(self.t.run("unlock", "shop.test", "--accept"), 0)
                self.assert_free()
        self.t.state = here
        self.copy_parts(True)
        self.t.state += "-honest"
        self.assert_exit(self.t.run("recover", "deploy.yml", "--takeover", "--after", "1s"), 0)
        self.assertEqual([(self.current(n), self.served(n)) for n in NAMES], [(second, "two")] * 2)

    def test_a_hostile_target_cannot_call_a_deployment_a_rollback(self):
        self.two()
        self.site("three")
        with open(os.path.join(self.t.src, "deploy.yml"), encoding="utf-8") as f:
            document = f.read().replace("two", "three")
        with open(os.path.join(self.t.src, "deploy.yml"), "w", encoding="utf-8") as f:
            f.write(document)
        self.kill_until(lambda: all(os.path.exists(self.copy_of(n)) for n in NAMES), "deploy", "deploy.yml")
        self.meddle("db", step_name="rollback", step_id="rollback", kind="link", path=self.t.path("db/app/current"))
        before = self.t.read("web/app.conf")
        self.refused_takeover("other")
        self.assertEqual(self.t.read("web/app.conf"), before)
        self.assert_exit(self.t.run("unlock", "shop.test", "--accept"), 0)
        self.assert_free()

    # ---- whose state directory

    def test_a_state_directory_of_another_user_is_refused_by_all_that_act_on_it(self):
        if os.geteuid() != 0:
            self.skipTest("only root can give a directory away")
        undone = self.t.path("undone")
        document = {"targets": {"web": {"local": {}}}, "on_failure": "hold", "steps": [
            {"run": {"command": ["true"], "undo": ["touch", undone]}}, {"run": {"command": ["false"], "undo": "none"}}]}
        self.assert_exit(self.t.deploy(document), 4)
        shutil.chown(self.t.state, "nobody")
        before = self.history()
        for words in (("recover",), ("rollback",), ("rollback", "--plan"), ("rollback", before[0]["id"]), ("unlock", "test", "--accept"),
                      ("deploy", "deploy.yml"), ("deploy", "deploy.yml", "--plan"), ("releases",), ("step", "run", "--input", "deploy.yml"),
                      ("finish", "--status", "success")):
            refused = self.t.run(*words)
            self.assert_exit(refused, 2)
            self.assert_says(refused, "belongs to nobody", "sudo -u nobody")
        self.assertFalse(os.path.exists(undone), "nothing of it was run")
        self.assertEqual(self.history(), before, "to look at it is nobody's harm")
        os.chown(self.t.state, 0, 0)
        self.assert_exit(self.t.run("rollback"), 0)
        self.assertTrue(os.path.exists(undone))
        self.assertEqual(pwd.getpwuid(os.stat(self.t.state).st_uid).pw_name, "root")

    # ---- what a killed recovery leaves

    def test_the_next_recovery_removes_what_a_killed_one_left_beside_sealed_files(self):
        self.two()
        sealed = os.path.join(self.t.state, "sealed")
        for words in (("recover",), ("deploy", "deploy.yml"), ("recover", "deploy.yml")):
            with open(os.path.join(sealed, ".davit-0123456789ab"), "wb") as f:
                f.write(b"half")
            self.assert_exit(self.t.run(*words), 0)
            self.assertEqual(os.listdir(sealed), [])


if __name__ == "__main__":
    main()
