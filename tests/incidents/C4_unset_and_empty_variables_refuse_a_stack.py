#!/usr/bin/env python3
"""C4: Compose ran without --env-file: every password became the empty string, with a warning that nobody read."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.stack import StackCase, main, service  # noqa: E402


class C4(StackCase):
    def refused(self, s, result, *words):
        self.assert_exit(result, 2)
        self.assert_says(result, *words)
        self.assertEqual(s.containers(), {}, "nothing was started")

    def test_variables_that_are_not_set_are_named_all_at_once(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(environment={"URL": "postgres://shop:${DB_PASSWORD}@db", "KEY": "${API_KEY:?}"},
                                                   labels={"x": "$OTHER"})}})
            self.refused(s, s.up(), "DB_PASSWORD is not set", "API_KEY is not set", "OTHER is not set")

    def test_a_variable_that_an_env_file_leaves_empty_is_named(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(environment={"URL": "postgres://shop:${DB_PASSWORD}@db"})}})
            s.file("production.env", "DB_PASSWORD=\n")
            self.refused(s, s.up(env_file=["production.env"]), "DB_PASSWORD is empty")
            s.file("production.env", "DB_PASSWORD=good\n")
            self.assert_exit(s.up(env_file=["production.env"]), 0)
            self.assertIn("URL=postgres://shop:good@db", s.containers()["web"][0]["Config"]["Env"])

    def test_an_env_file_that_is_forgotten_is_noticed(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(environment={"PASSWORD": "${DB_PASSWORD}"})}})
            s.file("production.env", "DB_PASSWORD=good\n")
            self.refused(s, s.up(), "DB_PASSWORD is not set")

    def test_what_a_service_gets_empty_or_not_at_all_is_named(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(environment=["PASSED_ON", "EMPTY="], env_file=["web.env"])}})
            s.file("web.env", "FROM_FILE=\n")
            self.refused(s, s.up(), "PASSED_ON of 'web' is not set", "EMPTY of 'web' is empty", "FROM_FILE of 'web' is empty")

    def test_defaults_and_allow_empty_say_what_may_be_empty(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(environment={"A": "${A:-a}", "B": "${B-b}", "C": "x${C}", "D": "y${D:-}"})}})
            self.assert_exit(s.up(allow_empty=["C"]), 0)
            env = s.containers()["web"][0]["Config"]["Env"]
            self.assertLessEqual({"A=a", "B=b", "C=x", "D=y"}, set(env))

    def test_variables_of_the_process_that_runs_davit_are_not_taken(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(labels={"x": "$LEAKED"})}})
            self.refused(s, s.deploy(s.document(), env={"LEAKED": "1", "COMPOSE_FILE": "other.yml"}, timeout=240), "LEAKED is not set")


if __name__ == "__main__":
    main()
