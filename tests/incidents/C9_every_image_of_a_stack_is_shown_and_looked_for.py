#!/usr/bin/env python3
"""C9: a nested default doubled the registry's prefix, and the engine pulled from a public registry instead of using the local image."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.stack import StackCase, main, service  # noqa: E402


class C9(StackCase):
    def test_the_plan_shows_each_image_as_it_resolves_and_where_it_would_come_from(self):
        with self.stack() as s:
            s.compose({"services": {"web": {**service(), "image": "${REGISTRY:-local}/web:${VERSION:-2}"}, "worker": service()}})
            result = s.up(options=["--plan"])
            self.assert_exit(result, 0)
            self.assert_says(result, "web: local/web:2 (here)", "worker: local/web:1 (here)")
            self.assertEqual(s.containers(), {}, "a plan starts nothing")

    def test_a_doubled_prefix_is_refused_with_the_name_that_came_of_it(self):
        with self.stack() as s:
            s.compose({"services": {"web": {**service(), "image": "${REGISTRY:-127.0.0.1:1}/${IMAGE:-127.0.0.1:1/web:1}"}}})
            result = s.up()
            self.assert_exit(result, 2)
            self.assert_says(result, "127.0.0.1:1/127.0.0.1:1/web:1", "is not here, and cannot be fetched")
            self.assertEqual(s.containers(), {})

    def test_an_image_for_another_processor_is_a_finding(self):
        with self.stack() as s:
            self.docker.image("local/arm:1", platform="linux/arm64")
            s.compose({"services": {"web": {**service(), "image": "local/arm:1"}}})
            result = s.up()
            self.assert_exit(result, 2)
            self.assert_says(result, "is for linux/arm64", "linux/amd64")
            self.assertEqual(s.containers(), {})


if __name__ == "__main__":
    main()
