#!/usr/bin/env python3
"""P1: staging and production ran differently built images. promote makes a tag lead to the very digest, every architecture included, and reads
it back; its undo leads to the previous one. Against a real registry."""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers.registry import Registry  # noqa: E402


@unittest.skipUnless(Registry.available(), "this machine has no docker-registry")
class Promotions(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())

    def registry(self, **options):
        return self.enterContext(Registry(**options))

    def run_steps(self, registry, *steps, code=0, more=None, args=(), login=None, secrets=None):
        targets = {"here": {"local": {}}, "images": {"registry": {"url": registry.url, **(login or {})}}, **(more or {})}
        result = self.deploy_with(targets, steps, args, secrets)
        self.assert_exit(result, code)
        return result

    def deploy_with(self, targets, steps, args, secrets):
        document = {"name": "shop", "environment": "test", "targets": targets, "steps": list(steps)}
        targets["here"]["base"] = self.t.base
        with open(os.path.join(self.t.src, "deploy.yml"), "w") as f:
            json.dump(document, f)
        options = [x for name in secrets or {} for x in ("--secret", name)]
        return self.t.run("deploy", "deploy.yml", *options, *args, env=secrets)

    def promote(self, source="shop/web:staging", to="shop/web:production", **more):
        return {"promote": {"from": source, "to": to, "target": "images", **more}}

    gate_that_fails = {"health-gate": {"target": "here", "deadline": "1s", "checks": [{"command": ["false"]}]}}

    def test_a_tag_leads_to_the_index_of_all_architectures_and_a_second_run_changes_nothing(self):
        r = self.registry()
        index = r.push_index("shop/web", "staging")
        plan = self.run_steps(r, self.promote(), args=["--plan"])
        self.assert_says(plan, "shop/web:production", index)
        self.assertIsNone(r.digest("shop/web", "production"))
        self.run_steps(r, self.promote())
        self.assertEqual(r.digest("shop/web", "production"), index)
        self.assert_says(self.run_steps(r, self.promote(), args=["--plan"]), "Nothing to change")

    def test_a_gate_that_fails_leads_the_tag_back(self):
        r = self.registry()
        old = r.push_index("shop/web", "production", "old")
        new = r.push_index("shop/web", "staging", "new")
        self.run_steps(r, self.promote(), self.gate_that_fails, code=1)
        self.assertEqual(r.digest("shop/web", "production"), old)
        self.assertEqual(r.digest("shop/web", "staging"), new)

    def test_the_previous_digest_is_shown_and_can_be_promoted_again(self):
        r = self.registry()
        old = r.push_index("shop/web", "production", "old")
        r.push_index("shop/web", "staging", "new")
        self.run_steps(r, self.promote())
        (change,) = json.loads(self.t.run("show", "last", "--json").out)["changes"]
        self.assertEqual(change["before"], {"type": "image", "digest": old})
        self.run_steps(r, self.promote("shop/web@" + change["before"]["digest"]))
        self.assertEqual(r.digest("shop/web", "production"), old)

    def test_what_another_repository_lacks_is_mounted_and_an_undo_takes_the_new_tag_away(self):
        r = self.registry()
        index = r.push_index("shop/web", "staging", layers=3)
        self.run_steps(r, self.promote(to="live/web:1"), self.gate_that_fails, code=1)
        self.assertIsNone(r.digest("live/web", "1"))
        self.run_steps(r, self.promote(to="live/web:1"))
        self.assertEqual(r.digest("live/web", "1"), index)
        self.assertEqual(r.whole("live/web", "1"), 8)

    def test_a_registry_that_deletes_nothing_holds_the_undo_of_a_new_tag_and_says_why(self):
        r = self.registry(delete=False)
        r.push_index("shop/web", "staging")
        result = self.run_steps(r, self.promote(to="live/web:1"), self.gate_that_fails, code=4)
        self.assert_says(result, "deletes nothing")

    def test_an_image_goes_to_another_registry_in_pieces(self):
        a, b = self.registry(), self.registry(users={"deployer": "pass-word-of-the-deployer"})
        index = a.push_index("shop/web", "staging", architectures=("amd64",), layers=1, size=20 << 20)
        more = {"live": {"registry": {"url": b.url, "username": "deployer", "password": "${{ secrets.PASSWORD }}"}}}
        step = {"promote": {"from": "shop/web:staging", "to": "live/web:1", "target": ["live", "images"], "source": "images"}}
        result = self.run_steps(a, step, more=more, secrets={"PASSWORD": "pass-word-of-the-deployer"})
        self.assert_silent(result, "pass-word-of-the-deployer")
        self.assertEqual(b.digest("live/web", "1"), index)
        self.assertEqual(b.whole("live/web", "1"), 2)
        for path, data in self.t.files_of(self.t.state, self.t.base):
            self.assertNotIn(b"pass-word-of-the-deployer", data, path)

    def test_a_wrong_login_and_a_missing_right_are_told_apart_and_nothing_changes(self):
        r = self.registry(users={"reader": "read-only-password"}, allowed=lambda user, name: {"pull"} if user else set())
        r.push_index("shop/web", "staging")
        wrong = self.run_steps(r, self.promote(), code=2, login={"username": "reader", "password": "no"})
        self.assert_says(wrong, "refuses the login of 'reader'")
        self.assert_says(self.run_steps(r, self.promote(), code=2), "does not allow 'anonymous' to do this: repository:shop/web:pull")
        given = {"username": "reader", "password": "${{ secrets.PASSWORD }}"}
        result = self.run_steps(r, self.promote(), code=1, login=given, secrets={"PASSWORD": "read-only-password"})
        self.assert_says(result, "does not allow 'reader' to do this: repository:shop/web:pull,push")
        self.assertIsNone(r.digest("shop/web", "production"))

    def test_what_is_not_there_or_is_not_what_was_meant_is_refused(self):
        r = self.registry()
        r.push_index("shop/web", "staging")
        self.assert_says(self.run_steps(r, self.promote("shop/web:nothing"), code=2), "there is no image 'shop/web:nothing'")
        other = "sha256:" + "0" * 64
        self.assert_says(self.run_steps(r, self.promote(digest=other), code=2), "instead of " + other)
        self.assert_says(self.run_steps(r, self.promote("Shop:1"), code=2), "is not the name of a repository")
        self.assert_says(self.run_steps(r, self.promote(to="shop/web@" + other), code=2), "must be REPOSITORY:TAG")
        self.assertIsNone(r.digest("shop/web", "production"))

    def test_somebody_who_moves_the_tag_between_plan_and_apply_is_not_overruled(self):
        r = self.registry()
        r.push_index("shop/web", "production", "old")
        r.push_index("shop/web", "staging", "new")
        moved = r.push_index("shop/web", "other", "other")
        mover = os.path.join(self.t.dir, "move.py")
        with open(mover, "w") as f:
            f.write("import urllib.request as u\n"
                    f"m=u.urlopen(u.Request('{r.url}/v2/shop/web/manifests/{moved}',headers={{'Accept':'application/vnd.oci.image.index.v1+json'}}))\n"
                    f"u.urlopen(u.Request('{r.url}/v2/shop/web/manifests/production',data=m.read(),method='PUT',"
                    "headers={'Content-Type':'application/vnd.oci.image.index.v1+json'}))\n")
        step = {"run": {"target": "here", "command": f"{sys.executable} {mover}", "undo": "true"}}
        result = self.run_steps(r, step, self.promote(), code=1)
        self.assert_says(result, "was changed by somebody else since the plan was made")
        self.assertEqual(r.digest("shop/web", "production"), moved)

    def test_a_promotion_that_is_killed_at_any_record_ends_old(self):
        r = self.registry()
        old = r.push_index("live/web", "1", "old")
        r.push_index("shop/web", "staging", "new")
        for record in range(1, 40):
            killed = self.run_killed(r, record)
            if killed != -9:
                break
            self.assert_exit(self.t.run("recover"), 0)
            self.assertEqual(r.digest("live/web", "1"), old, record)
        self.assertGreater(record, 3)

    def run_killed(self, registry, record):
        targets = {"here": {"local": {}, "base": self.t.base}, "images": {"registry": {"url": registry.url}}}
        with open(os.path.join(self.t.src, "deploy.yml"), "w") as f:
            json.dump({"name": "shop", "environment": "test", "targets": targets, "steps": [self.promote(to="live/web:1"), self.gate_that_fails]}, f)
        result = self.t.run("deploy", "deploy.yml", env={"DAVIT_TEST_KILL_AT": str(record)})
        return result.code


if __name__ == "__main__":
    main()
