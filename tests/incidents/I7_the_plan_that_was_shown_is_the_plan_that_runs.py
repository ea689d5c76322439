#!/usr/bin/env python3
"""I7: the plan that was reviewed was not the plan that ran."""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.terraform import PROGRAM, VALUES, Infra, backend  # noqa: E402
from harness.trial import Case, Trial, main  # noqa: E402
from servers.terraform_state import StateServer  # noqa: E402


@unittest.skipUnless(PROGRAM, "this machine has no terraform")
class ShownPlan(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        self.server = self.enterContext(StateServer())
        self.infra = Infra(self.t, VALUES + backend(self.server))
        self.step = {"variables": {"value": "one"}}

    def digest(self):
        plan = self.infra.deploy("--plan", "--json", **self.step)
        self.assert_exit(plan, 0)
        return json.loads(plan.out)["digest"]

    def test_the_digest_is_of_what_a_plan_does_and_another_plan_is_refused(self):
        digest = self.digest()
        self.assertEqual(self.digest(), digest)
        self.infra.write('resource "terraform_data" "more" {}\n', "more.tf")
        self.assertNotEqual(self.digest(), digest)
        refused = self.infra.deploy("--expect", digest, **self.step)
        self.assert_exit(refused, 3)
        self.assertEqual(self.server.writes, 0)
        os.unlink(os.path.join(self.infra.dir, "more.tf"))
        self.assert_exit(self.infra.deploy("--expect", digest, **self.step), 0)

    def test_what_changes_behind_the_plan_that_was_shown_is_not_applied(self):
        document = self.infra.document(**self.step)
        script = f"echo 'resource \"terraform_data\" \"more\" {{}}' > {self.infra.dir}/more.tf"
        document["steps"].insert(0, {"apply": {"resources": [{"directory": {"path": self.t.path("d")}}]}})
        document["steps"].insert(1, {"run": {"script": script, "undo": ["rm", f"{self.infra.dir}/more.tf"]}})
        result = self.t.deploy(document)
        self.assert_exit(result, 1)
        self.assert_says(result, "terraform plans something else than before, when the plan was shown")
        self.assertEqual((self.server.writes, self.server.lock), (0, None))


if __name__ == "__main__":
    main()
