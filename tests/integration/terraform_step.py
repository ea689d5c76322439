#!/usr/bin/env python3
"""The step `terraform` with the real terraform: what is planned is shown and judged, and nothing else is applied."""
import fcntl
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.terraform import PROGRAM, VALUES, Infra, backend, waits  # noqa: E402
from harness.trial import Case, Trial, main  # noqa: E402
from servers.sshd import Sshd  # noqa: E402
from servers.terraform_state import StateServer  # noqa: E402

TOKEN = "a-token-of-the-shop-4711"


@unittest.skipUnless(PROGRAM, "this machine has no terraform")
class TerraformStep(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        self.server = self.enterContext(StateServer())
        self.infra = Infra(self.t, VALUES + backend(self.server))

    def tearDown(self):
        self.assertEqual(self.server.broken, [])

    def apply(self, value="one", *args, **step):
        result = self.infra.deploy(*args, variables={"value": value}, **step)
        return result

    def test_a_plan_shows_attributes_and_writes_nothing_and_a_second_run_changes_nothing(self):
        plan = self.apply("one", "--plan")
        self.assert_exit(plan, 0)
        self.assert_says(plan, "terraform_data.a input: \"one\"", "terraform_data.a id: \"(known after apply)\"", "1 change.")
        self.assertEqual((self.server.writes, sorted(os.listdir(self.infra.dir)), os.path.exists(self.t.base)), (0, ["main.tf"], False))
        digest = plan.out.split("Plan ")[1].strip()
        self.assert_exit(self.apply("one", "--expect", digest), 0)
        self.assertEqual(self.server.resources(), ["terraform_data.a", "terraform_data.b", "terraform_data.login"])
        writes = self.server.writes
        again = self.apply()
        self.assert_exit(again, 0)
        self.assert_says(again, "nothing to change")
        self.assertEqual((self.server.writes, self.server.lock, sorted(os.listdir(self.infra.dir))), (writes, None, ["main.tf"]))
        self.assert_exit(self.apply("two", "--expect", digest, allow_destroy=["terraform_data.b"]), 3)
        self.assertEqual(self.server.writes, writes)

    def test_what_destroys_is_refused_unless_it_is_named_and_never_while_it_is_protected(self):
        self.assert_exit(self.apply(), 0)
        writes = self.server.writes
        refused = self.apply("two")
        self.assert_exit(refused, 2)
        self.assert_says(refused, "terraform_data.b would be destroyed and made anew, because of triggers_replace", 'allow_destroy: ["terraform_data.b"]')
        protected = self.apply("two", allow_destroy=["terraform_data.b"], protect=["terraform_data.b"])
        self.assert_exit(protected, 2)
        self.assert_says(protected, "it is protected")
        self.assertEqual(self.server.writes, writes)
        shown = self.apply("two", "--plan", allow_destroy=["terraform_data.b"])
        self.assert_says(shown, "terraform_data.b triggers_replace (forces replacement)", "forced by triggers_replace", 'terraform_data.a input: "one" → "two"')
        plan = json.loads(self.apply("two", "--plan", "--json", allow_destroy=["terraform_data.b"]).out)["report"]["plan"]
        (risk,) = [c["extra"]["risk"] for step in plan for c in step["changes"] if "risk" in c.get("extra", {})]
        self.assertEqual([r.split()[0] for r in risk], ["terraform_data.b"])
        self.assert_exit(self.apply("two", allow_destroy=["terraform_data.b"]), 0)
        self.infra.write(VALUES.replace('resource "terraform_data" "b" { triggers_replace = [var.value] }',
                                        'removed {\n  from = terraform_data.b\n  lifecycle { destroy = false }\n}') + backend(self.server))
        forgotten = self.apply("two")
        self.assert_exit(forgotten, 2)
        self.assert_says(forgotten, "terraform_data.b would be forgotten")

    def test_a_host_behind_ssh_is_planned_and_applied_as_this_machine(self):
        server = self.enterContext(Sshd())
        document = {"targets": {"web": server.target()}, "steps": [{"terraform": {"directory": self.infra.dir, "variables": {"value": "one"},
                    "env": {"TF_VAR_token": "${{ secrets.TOKEN }}"}}}]}
        plan = self.t.deploy(document, "--plan", secrets={"TOKEN": TOKEN})
        self.assert_exit(plan, 0)
        self.assert_says(plan, 'terraform_data.login input: "(sensitive)"')
        self.assert_exit(self.t.deploy(document, secrets={"TOKEN": TOKEN}), 0)
        again = self.t.deploy(document, secrets={"TOKEN": TOKEN})
        self.assert_says(again, "nothing to change")
        relative = self.t.deploy({"targets": {"web": server.target()}, "steps": [{"terraform": {"directory": "infra"}}]})
        self.assert_exit(relative, 2)
        self.assert_says(relative, "relative to the source tree, which is not on 'web'")

    def test_secrets_reach_terraform_and_nothing_else(self):
        self.server.password = "the-password-of-the-state"
        login = {"TF_HTTP_USERNAME": "davit", "TF_HTTP_PASSWORD": "${{ secrets.STATE }}", "TF_VAR_token": "${{ secrets.TOKEN }}"}
        secrets = {"STATE": self.server.password, "TOKEN": TOKEN}
        self.infra.write("""
resource "terraform_data" "tells" {
  triggers_replace = [nonsensitive(var.token)]
  provisioner "local-exec" {
    command     = "echo to the log: $GIVEN"
    environment = { GIVEN = var.token }
  }
}
""", "tells.tf")
        results = [self.infra.deploy("--plan", "--json", variables={"value": "one"}, env=login, secrets=secrets),
                   self.infra.deploy(variables={"value": "one"}, env=login, secrets=secrets),
                   self.t.run("show", "last", "--json"), self.t.run("report", "last", "--html", "report.html")]
        for result in results:
            self.assert_exit(result, 0)
            self.assert_silent(result, TOKEN, self.server.password)
        self.assertIn(TOKEN.encode(), self.server.state)
        for path, data in self.t.files_of(self.t.state, self.t.base, self.t.src):
            self.assertFalse(TOKEN.encode() in data or self.server.password.encode() in data, path)
        variable = self.infra.deploy("--plan", "--json", variables={"value": "${{ secrets.TOKEN }}"}, env=login, secrets=secrets, allow_destroy=["terraform_data.b"])
        self.assert_exit(variable, 0)
        self.assert_silent(variable, TOKEN)
        argument = self.infra.deploy("--plan", variables={"value": "one"}, env=login, secrets=secrets,
                                     backend_config={"password": "${{ secrets.STATE }}"})
        self.assert_exit(argument, 2)
        self.assert_says(argument, "a secret would be an argument of a command")

    def test_what_was_changed_outside_is_told_and_never_applied_by_itself(self):
        self.assert_exit(self.apply(), 0)
        self.assert_exit(self.apply("one", "--plan", "--refresh"), 0)
        state = json.loads(self.server.state)
        one = next(r for r in state["resources"] if r["name"] == "a")["instances"][0]["attributes"]
        one["input"]["value"] = one["output"]["value"] = "by hand"
        state["serial"] += 1
        self.server.state = json.dumps(state).encode()
        drift = self.apply("one", "--plan", "--refresh")
        self.assert_exit(drift, 6)
        self.assert_says(drift, 'terraform_data.a input: "by hand" → "one"')
        self.assertIn(b"by hand", self.server.state)

    def test_a_lock_of_somebody_else_refuses_it_and_stays(self):
        held = {"ID": "5f0c7f5e-0000-4000-8000-000000000001", "Operation": "OperationTypeApply", "Info": "", "Who": "eve@elsewhere",
                "Version": "1.11.4", "Created": "2026-01-31T10:00:00Z", "Path": ""}
        self.server.lock = held
        result = self.apply()
        self.assert_exit(result, 5)
        self.assert_says(result, held["ID"])
        self.assertEqual((self.server.lock, self.server.forced, self.server.writes), (held, [], 0))

    def test_a_state_that_cannot_be_saved_is_kept_and_said(self):
        self.server.fail_writes = 1000
        result = self.apply()
        self.assert_exit(result, 4)
        self.assert_says(result, "errored.tfstate", "terraform has no undo")
        kept = os.path.join(self.t.base, "terraform", "shop.test")
        copies = os.listdir(kept)
        self.assertEqual(len(copies), 1)
        self.assertEqual(os.stat(os.path.join(kept, copies[0])).st_mode & 0o777, 0o600)
        with open(os.path.join(kept, copies[0]), "rb") as f, open(os.path.join(self.infra.dir, "errored.tfstate"), "rb") as g:
            self.assertEqual(f.read(), g.read())
        self.server.fail_writes = 0
        self.assert_exit(self.t.run("unlock", "shop.test", "--accept"), 0)
        refused = self.apply()
        self.assert_exit(refused, 2)
        self.assert_says(refused, "errored.tfstate", "state push")
        self.assertTrue(os.path.exists(os.path.join(self.infra.dir, "errored.tfstate")))

    def test_what_is_not_in_order_is_told_before_anything_is_asked(self):
        self.infra.write('resource "terraform_data" "a" { inputs = 1 }\n' + backend(self.server))
        self.assert_says(self.infra.deploy(), "the configuration is not valid: main.tf:1: Unsupported argument")
        self.assert_says(self.infra.deploy(program="/nowhere/terraform"), "there is no program '/nowhere/terraform'")
        self.assert_says(self.infra.deploy(env={"TF_CLI_ARGS_apply": "-lock=false"}), "TF_CLI_ARGS_apply is set by davit")
        self.assert_says(self.infra.deploy(undo="former"), "the source tree has no former configuration")
        self.infra.write(VALUES + backend(self.server) + 'terraform {\n  required_providers {\n    x = { source = "davit.example/no/such" }\n  }\n}\n')
        self.assert_says(self.apply(), "`terraform init` failed")


@unittest.skipUnless(PROGRAM, "this machine has no terraform")
class StateInAFile(Case):
    def test_a_plan_leaves_the_directory_and_its_state_as_they_are_and_outputs_alone_are_a_change(self):
        with Trial() as t:
            infra = Infra(t, 'resource "terraform_data" "a" {}\n')
            before = os.stat(infra.dir).st_mtime_ns
            self.assert_exit(infra.deploy("--plan"), 0)
            self.assertEqual((os.stat(infra.dir).st_mtime_ns, os.listdir(infra.dir)), (before, ["main.tf"]))
            result = infra.deploy()
            self.assert_exit(result, 0)
            self.assert_says(result, "the state lies in the source tree")
            self.assertEqual(sorted(os.listdir(infra.dir)), ["main.tf", "terraform.tfstate"])
            infra.write('resource "terraform_data" "a" {}\noutput "told" { value = 1 }\n')
            changed = infra.deploy("--plan", max_changes=0)
            self.assert_exit(changed, 0)
            self.assert_says(changed, 'output.told value: "1"', "1 created")
            self.assert_exit(infra.deploy(max_changes=0), 0)
            self.assert_says(infra.deploy(), "nothing to change")

    def test_an_apply_that_takes_too_long_is_told_to_end_and_held(self):
        with Trial() as t:
            infra = Infra(t, waits(t.target_dir))
            result = infra.deploy(timeout="3s")
            self.assert_exit(result, 4)
            self.assert_says(result, "did not end in time (`timeout`), and was told to stop", "terraform_data.slow")
            with open(os.path.join(infra.dir, "terraform.tfstate"), encoding="utf-8") as f:
                self.assertIn("tainted", f.read())

    def test_what_fails_before_anything_was_begun_is_undone(self):
        with Trial() as t:
            infra = Infra(t, 'resource "terraform_data" "a" {}\n')
            state = os.path.join(infra.dir, "terraform.tfstate")
            with open(state, "w+b") as held:
                held.write(b'{"version":4,"serial":1,"lineage":"4a1f6a0e-0000-4000-8000-000000000000","outputs":{},"resources":[]}')
                held.flush()
                fcntl.lockf(held, fcntl.LOCK_EX)
                result = infra.deploy()
            self.assert_exit(result, 1)
            self.assert_says(result, "Error acquiring the state lock", "nothing to undo: here:1 created, by terraform in infra")


@unittest.skipUnless(PROGRAM, "this machine has no terraform")
class Former(Case):
    def test_what_a_step_before_it_brings_is_judged_then_and_a_refusal_undoes_all(self):
        with Trial() as t, StateServer() as server:
            infra = Infra(t, 'resource "terraform_data" "a" {}\n' + backend(server))
            document = {"targets": {"here": {"local": {}}}, "steps": [{"archive-upload": {"source": "infra", "path": t.path("infra")}},
                        {"terraform": {"directory": t.path("infra", "current"), "grace": "20s"}}]}
            plan = t.deploy(document, "--plan")
            self.assert_exit(plan, 0)
            self.assert_says(plan, "planned and judged once the steps before it are done")
            self.assert_exit(t.deploy(document), 0)
            release, writes = os.readlink(t.path("infra", "current")), server.writes
            infra.write(backend(server))
            result = t.deploy(document)
            self.assert_exit(result, 1)
            self.assert_says(result, "terraform_data.a would be destroyed")
            self.assertEqual((os.readlink(t.path("infra", "current")), server.writes, server.resources()), (release, writes, ["terraform_data.a"]))

    def test_an_undo_applies_the_configuration_of_the_former_release(self):
        with Trial() as t, StateServer() as server:
            infra = Infra(t, 'resource "terraform_data" "a" { input = "one" }\n' + backend(server))
            steps = [{"archive-upload": {"source": "infra", "path": t.path("infra")}},
                     {"terraform": {"directory": t.path("infra", "current"), "undo": "former", "grace": "20s"}}]
            targets = {"here": {"local": {}}}
            self.assert_exit(t.deploy({"targets": targets, "steps": steps}), 0)
            infra.write('resource "terraform_data" "a" { input = "two" }\nresource "terraform_data" "new" {}\n' + backend(server))
            fails = {"run": {"command": ["false"], "undo": "none"}}
            result = t.deploy({"targets": targets, "steps": [*steps, fails]})
            self.assert_exit(result, 1)
            self.assert_says(result, "terraform_data.new is created", "apply the former configuration")
            self.assertEqual((server.resources(), server.broken, server.lock), (["terraform_data.a"], [], None))
            self.assertIn(b'"one"', server.state)
            steps[1]["terraform"]["undo"] = "hold"
            held = t.deploy({"targets": targets, "steps": [*steps, fails]})
            self.assert_exit(held, 4)
            self.assert_says(held, "terraform has no undo: it began to change 2 resources and ended 2 (", "unlock shop.test --accept")


if __name__ == "__main__":
    main()
