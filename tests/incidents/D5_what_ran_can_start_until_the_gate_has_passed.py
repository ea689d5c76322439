#!/usr/bin/env python3
"""D5: "stop old, start new" left nothing running when the new stack failed."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.stack import StackCase, main, service  # noqa: E402
from harness.trial import Service  # noqa: E402


class D5(StackCase):
    def test_a_gate_that_fails_behind_the_new_stack_brings_the_old_one_back(self):
        with self.stack() as s, Service(lambda path, count: 200 if s.image_of("web") == [one] else 503) as web:
            one = self.docker.inspect("local/web:1")[0]["Id"]
            gate = {"health-gate": {"deadline": "2s", "checks": [{"http": web.url}]}}
            s.compose({"services": {"web": service()}})
            self.assert_exit(s.up(gate), 0)
            before = s.facts()
            s.compose({"services": {"web": service("2")}})
            self.assert_exit(s.up(gate), 1)
            self.assertEqual(s.facts(), before)

    def test_a_stack_that_cannot_start_at_all_leaves_the_old_one_running(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(environment={"A": "1"}), "worker": service()}})
            self.assert_exit(s.up(), 0)
            before = s.facts()
            s.compose({"services": {"web": service("2", command=["/no/such/program"]), "worker": service("2")}})
            result = s.up()
            self.assert_exit(result, 1)
            self.assert_says(result, "/no/such/program")
            self.assertEqual(s.facts(), before)

    def test_the_images_of_what_ran_are_there_though_their_names_are_gone(self):
        with self.stack() as s:
            self.docker.image("local/renamed:1", env={"V": "old"})
            s.compose({"services": {"web": {**service(), "image": "local/renamed:1"}}})
            self.assert_exit(s.up(), 0)
            before = s.facts()
            s.compose({"services": {"web": service("2")}})
            clean = {"run": {"command": ["docker", "image", "prune", "-f"], "env": {"DOCKER_HOST": self.docker.host}, "undo": "none"}}
            forget = {"run": {"command": ["docker", "rmi", "local/renamed:1"], "env": {"DOCKER_HOST": self.docker.host}, "undo": "none"}}
            self.assert_exit(s.up(forget, clean, {"run": {"command": ["false"], "undo": "none"}}), 1)
            self.assertEqual(s.facts(), before)


if __name__ == "__main__":
    main()
