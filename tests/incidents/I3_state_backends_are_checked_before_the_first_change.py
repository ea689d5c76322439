#!/usr/bin/env python3
"""I3: the state backend refused an S3-compatible provider, when half of the deployment was done."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.terraform import PROGRAM, Infra  # noqa: E402
from harness.trial import Case, Trial, main  # noqa: E402
from servers.bare_s3 import BareS3  # noqa: E402

RESOURCE = 'resource "terraform_data" "a" {}\n'


class OwnState(Case):
    """davit's own state of an environment at an S3 service."""

    def setUp(self):
        self.t = self.enterContext(Trial())

    def deploy(self, target, content="x"):
        resources = [{"file": {"path": self.t.path("a"), "content": content}}]
        return self.t.deploy({"targets": {"web": {"local": {}}, "shared": target}, "state": "shared",
                              "steps": [{"apply": {"target": "web", "resources": resources}}]})

    def test_a_service_whose_lock_protects_nothing_is_refused_before_the_first_change(self):
        for conditions, more in (("ignored", {}), ("refused", {}), ("honoured", {"provider": "garage"})):
            with self.subTest(conditions), BareS3(conditions) as s3:
                result = self.deploy(s3.target(**more))
                self.assert_exit(result, 2)
                self.assert_says(result, "does not honour conditional writes", "davit journal use")
                self.assertFalse(os.path.exists(self.t.path("a")))
                self.assertEqual(s3.objects, {})

    def test_a_service_that_does_not_answer_and_a_target_that_keeps_no_state_are_told_before_the_first_change(self):
        with BareS3() as s3:
            gone = s3.target()
        self.assert_exit(self.deploy(gone), 2)
        result = self.deploy({"registry": {"url": "http://127.0.0.1:1"}})
        self.assert_exit(result, 2)
        self.assert_says(result, "cannot keep a state", "`s3` or `http`")
        self.assertFalse(os.path.exists(self.t.path("a")))


@unittest.skipUnless(PROGRAM, "this machine has no terraform")
class StateBackends(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())

    def look(self, settings, kind="s3", **step):
        infra = Infra(self.t, RESOURCE + f'terraform {{\n  backend "{kind}" {{\n{settings}\n  }}\n}}\n')
        document = infra.document(**step)
        document["steps"].insert(0, {"run": {"command": ["touch", self.t.path("changed")], "undo": "none"}})
        result = self.t.deploy(document)
        self.assert_exit(result, 2)
        self.assertFalse(os.path.exists(self.t.path("changed")), repr(result))
        return result

    def test_a_service_that_is_not_aws_and_a_state_that_nothing_locks_are_named_before_the_first_change(self):
        url = 'bucket = "b"\nkey = "k"\nregion = "fr-par"\nendpoints = { s3 = "http://127.0.0.1:1" }'
        self.assert_says(self.look(url), "http://127.0.0.1:1 is not AWS", "skip_credentials_validation, skip_region_validation, "
                         "skip_requesting_account_id", "neither `use_lockfile` nor `dynamodb_table`", "`unlocked: true`")
        self.assert_says(self.look('address = "http://127.0.0.1:1"', "http"), "no `lock_address`: nothing locks the state")
        self.assert_says(self.look('address = "http://127.0.0.1:1"\nlock_address = "http://127.0.0.1:1"\n', "http"), "no `unlock_address`")

    def test_what_another_machine_would_plan_is_refused(self):
        self.assert_says(self.look('organization = "x"\nworkspaces { name = "x" }', "remote"), "plans and applies on another machine")

    def test_a_state_in_a_release_that_goes_is_refused_and_one_beside_it_is_not(self):
        Infra(self.t, RESOURCE)
        upload = {"archive-upload": {"source": "infra", "path": self.t.path("infra")}}
        targets = {"here": {"local": {}}}
        self.assert_exit(self.t.deploy({"targets": targets, "steps": [upload]}), 0)
        step = {"terraform": {"directory": self.t.path("infra", "current"), "grace": "20s"}}
        refused = self.t.deploy({"targets": targets, "steps": [step]})
        self.assert_exit(refused, 2)
        self.assert_says(refused, "the state lies in the release", "`shared` of archive-upload")
        state = os.path.join(self.t.dir, "outside.tfstate")
        Infra(self.t, RESOURCE + f'terraform {{\n  backend "local" {{\n    path = "{state}"\n  }}\n}}\n')
        self.assert_exit(self.t.deploy({"targets": targets, "steps": [upload, step]}), 0)
        self.assertTrue(os.path.exists(state))

    def test_a_workspace_that_a_directory_has_selected_is_not_taken_for_granted(self):
        infra = Infra(self.t, RESOURCE)
        os.mkdir(os.path.join(infra.dir, ".terraform"))
        infra.write("staging", ".terraform/environment")
        result = infra.deploy()
        self.assert_exit(result, 2)
        self.assert_says(result, "the workspace 'staging' selected", "`workspace: staging` or `workspace: default`")
        self.assert_exit(infra.deploy(workspace="default"), 0)


if __name__ == "__main__":
    main()
