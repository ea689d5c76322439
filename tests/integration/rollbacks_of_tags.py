#!/usr/bin/env python3
"""Going back behind a committed promotion, against a real registry: the tag leads to its previous digest, where nobody moved it since."""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers.registry import Registry  # noqa: E402

PASSWORD = "pass-word-of-the-deployer"


@unittest.skipUnless(Registry.available(), "this machine has no docker-registry")
class RollbacksOfTags(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())

    def registry(self, **options):
        return self.enterContext(Registry(**options))

    def deploy(self, registry, *steps, login=None, secrets=None):
        targets = {"here": {"local": {}, "base": self.t.base}, "images": {"registry": {"url": registry.url, **(login or {})}}}
        document = {"name": "shop", "environment": "test", "targets": targets, "steps": list(steps)}
        with open(os.path.join(self.t.src, "deploy.yml"), "w", encoding="utf-8") as f:
            json.dump(document, f)
        options = [x for name in secrets or {} for x in ("--secret", name)]
        self.assert_exit(self.t.run("deploy", "deploy.yml", *options, env=secrets), 0)

    def promote(self, to="shop/web:production", source="shop/web:staging"):
        return {"promote": {"from": source, "to": to, "target": "images"}}

    def promoted(self, registry, **more):
        old = registry.push_index("shop/web", "production", "old")
        new = registry.push_index("shop/web", "staging", "new")
        self.deploy(registry, self.promote(), **more)
        self.assertEqual(registry.digest("shop/web", "production"), new)
        return old, new

    def rollback(self, *words, code=0, **more):
        result = self.t.run("rollback", "last", *words, **more)
        self.assert_exit(result, code)
        return result

    def test_the_tag_leads_to_its_former_digest_and_a_rollback_of_that_to_the_newer_one(self):
        r = self.registry()
        old, new = self.promoted(r)
        plan = self.rollback("--plan")
        self.assert_says(plan, "images shop/web:production: lead back to " + old)
        self.assertEqual(r.digest("shop/web", "production"), new)
        self.rollback()
        self.assertEqual(r.digest("shop/web", "production"), old)
        self.rollback()
        self.assertEqual(r.digest("shop/web", "production"), new)

    def test_a_tag_that_somebody_moved_since_refuses_it_unless_that_is_to_be_overwritten(self):
        r = self.registry()
        old, _ = self.promoted(r)
        third = r.push_index("shop/web", "production", "third")
        refused = self.rollback(code=2)
        self.assert_says(refused, "somebody else moved 'shop/web:production' to " + third, "--force")
        self.assertEqual(r.digest("shop/web", "production"), third)
        self.rollback("--force")
        self.assertEqual(r.digest("shop/web", "production"), old)

    def test_a_new_tag_stays_and_is_named_and_one_that_leads_back_already_is_left_alone(self):
        r = self.registry()
        old = r.push_index("shop/web", "production", "old")
        r.push_index("shop/web", "staging", "new")
        self.deploy(r, self.promote(), self.promote("shop/web:1.2"))
        done = self.rollback()
        self.assert_says(done, "not taken back: images:shop/web:1.2 (promote): the tag was new")
        self.assertEqual(r.digest("shop/web", "production"), old)
        self.assertIsNotNone(r.digest("shop/web", "1.2"))

    def test_a_digest_that_the_registry_lost_refuses_it(self):
        r = self.registry()
        old, new = self.promoted(r)
        r.request("DELETE", f"/v2/shop/web/manifests/{old}")
        self.assert_says(self.rollback(code=2), old, "is not in the registry any more", "deploy the commit of before")
        self.assertEqual(r.digest("shop/web", "production"), new)

    def test_its_login_is_asked_for_and_kept_nowhere(self):
        r = self.registry(users={"deployer": PASSWORD})
        old, new = self.promoted(r, login={"username": "deployer", "password": "${{ secrets.PASSWORD }}"}, secrets={"PASSWORD": PASSWORD})
        self.assert_says(self.rollback(code=2), "--secret NAME")
        self.assertEqual(r.digest("shop/web", "production"), new)
        self.rollback("--secret", "PASSWORD", env={"PASSWORD": PASSWORD})
        self.assertEqual(r.digest("shop/web", "production"), old)
        for path, data in self.t.files_of(self.t.state, self.t.base):
            self.assertNotIn(PASSWORD.encode(), data, path)

    def test_a_gate_that_fails_afterwards_leads_it_to_the_newer_one_again(self):
        r = self.registry()
        r.push_index("shop/web", "production", "old")
        new = r.push_index("shop/web", "staging", "new")
        gate = {"health-gate": {"target": "here", "deadline": "1s", "checks": [{"command": ["test", "!", "-e", self.t.path("ill")]}]}}
        self.deploy(r, self.promote(), gate)
        self.t.write("ill", b"")
        self.rollback(code=1)
        self.assertEqual(r.digest("shop/web", "production"), new)

    def test_killed_behind_any_record_it_leads_to_one_of_the_two(self):
        r = self.registry()
        old, new = self.promoted(r)
        second = json.loads(self.t.run("history", "--json").out)[0]["id"]
        ends = set()
        for at in range(1, 40):
            killed = self.t.run("rollback", second, env={"DAVIT_TEST_KILL_AT": str(at)})
            recovered = self.t.run("recover")
            self.assertIn(recovered.code, (0, 1), repr(killed) + repr(recovered))
            last = json.loads(self.t.run("history", "--json").out)[0]
            rolled = last["id"] != second and last["state"] == "committed"
            self.assertEqual(r.digest("shop/web", "production"), old if rolled else new, f"{at}: {recovered!r}")
            ends.add(last["state"])
            if rolled:
                break
        else:
            self.fail("it never came to its end")


if __name__ == "__main__":
    main()
