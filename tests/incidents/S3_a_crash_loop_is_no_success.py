#!/usr/bin/env python3
"""S3: services restarted in a loop and the deployment was called done."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.stack import StackCase, main, service  # noqa: E402


class S3(StackCase):
    def fails_and_comes_back(self, broken, *words, **inputs):
        with self.stack() as s:
            s.compose({"services": {"web": service(), "worker": service()}})
            self.assert_exit(s.up(), 0)
            before = s.facts()
            s.compose({"services": {"web": service("2"), "worker": broken}})
            result = s.up(settle="5s", **inputs)
            self.assert_exit(result, 1)
            self.assert_says(result, *words)
            self.assertEqual(s.facts(), before)
            return result

    def test_a_service_that_dies_and_comes_back_fails_with_its_last_lines(self):
        loop = service("2", command=["sh", "-c", "echo starting; echo 'no database: \033[31mgiving up' >&2; exit 7"], restart="always")
        result = self.fails_and_comes_back(loop, "worker is restarted again and again", "restarts; its last lines", "| starting", "| no database: ")
        self.assert_silent(result, "\033[31m")

    def test_a_service_that_is_slow_to_die_is_seen_within_the_settling_time(self):
        loop = service("2", command=["sh", "-c", "sleep 1; exit 3"], restart="always")
        self.fails_and_comes_back(loop, "worker is restarted again and again")

    def test_a_service_that_ends_without_being_restarted_fails(self):
        self.fails_and_comes_back(service("2", command=["false"]), "worker has ended", "exit status 1")

    def test_an_unhealthy_service_fails(self):
        check = {"test": ["CMD", "false"], "interval": "1s", "retries": 2, "timeout": "1s"}
        self.fails_and_comes_back(service("2", healthcheck=check), "worker is unhealthy")

    def test_a_service_that_never_becomes_healthy_fails_when_the_time_is_over(self):
        check = {"test": ["CMD", "false"], "interval": "1s", "retries": 1000, "timeout": "1s"}
        self.fails_and_comes_back(service("2", healthcheck=check), "worker is starting", timeout="6s")

    def test_a_service_that_becomes_healthy_late_is_waited_for(self):
        with self.stack() as s:
            check = {"test": ["CMD", "test", "-e", "/tmp/ready"], "interval": "1s", "retries": 60, "timeout": "1s"}
            s.compose({"services": {"web": service(command=["sh", "-c", "sleep 3; touch /tmp/ready; sleep 100000"], healthcheck=check)}})
            self.assert_exit(s.up(), 0)


if __name__ == "__main__":
    main()
