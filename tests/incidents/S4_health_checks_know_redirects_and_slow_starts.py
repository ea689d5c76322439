#!/usr/bin/env python3
"""S4: health checks took 302 for a failure, or 502 during a start for the end."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Service, Trial, main  # noqa: E402
from servers.sshd import Account, Sshd  # noqa: E402


class Checks(Case):
    def gate(self, service, **check):
        with Trial() as t:
            deadline = check.pop("deadline", "20s")
            check = {"http": service.url + "/", "interval": "100ms", **check}
            return t.deploy({"targets": {"here": {"local": {}}}, "steps": [{"health-gate": {"checks": [check], "deadline": deadline}}]})

    def test_502_during_a_start_is_retried_inside_the_deadline(self):
        # The first request is the baseline's.
        with Service(lambda path, count: 502 if count < 6 else 200) as service:
            self.assert_exit(self.gate(service, **{"for": 3}), 0)
            self.assertEqual(service.count, 8)

    def test_a_302_is_accepted_where_it_is_listed_and_followed_where_asked(self):
        def answer(path, _):
            return (302, {"Location": "/login"}, b"") if path == "/" else 200
        with Service(answer) as service:
            self.assert_exit(self.gate(service, status=[200, 302]), 0)
            self.assert_exit(self.gate(service, follow=True), 0)
            refused = self.gate(service, deadline="1s")
            self.assert_exit(refused, 1)
            self.assert_says(refused, "answered 302 to /login, wanted 200", "follow: true")

    def test_successes_count_only_in_a_row(self):
        with Service(lambda path, count: 500 if count % 3 == 0 else 200) as service:
            self.assert_exit(self.gate(service, deadline="2s", **{"for": 4}), 1)

    def test_a_failure_says_what_was_seen_last_and_how_often_it_was_tried(self):
        with Service(lambda path, count: 503) as service:
            result = self.gate(service, deadline="1s")
            self.assert_exit(result, 1)
            self.assert_says(result, "answered 503, wanted 200", "tries)")


if __name__ == "__main__":
    main()
