#!/usr/bin/env python3
"""S1: two environments on one server shared volumes and networks through a default project name."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.stack import StackCase, main, service  # noqa: E402


class S1(StackCase):
    def test_the_project_has_to_be_named(self):
        with self.stack() as s:
            s.compose({"services": {"web": service()}})
            step = s.step()
            del step["compose-up"]["project"]
            result = s.deploy(s.document(steps=[step]))
            self.assert_exit(result, 2)
            self.assert_says(result, "'project' is missing")

    def test_a_second_environment_with_the_same_project_is_refused(self):
        with self.stack() as s:
            s.compose({"services": {"web": service()}})
            self.assert_exit(s.up(), 0)
            before = s.ids()
            result = s.deploy({**s.document(), "environment": "staging"}, timeout=240)
            self.assert_exit(result, 2)
            self.assert_says(result, "belongs to the deployment shop.test", "project")
            self.assertEqual(s.ids(), before)

    def test_volumes_networks_and_containers_of_another_project_are_refused_all_at_once(self):
        with self.stack() as s, self.stack("davit-other") as other:
            shared = {"volumes": {"data": {"name": "davit-test-shared"}}, "networks": {"back": {"name": "davit-test-back"}}}
            other.compose({"services": {"db": service(volumes=["data:/data"], networks=["back"], container_name="davit-test-db")}, **shared})
            self.docker.compose(other.project, "up", "-d", cwd=other.home)
            s.compose({"services": {"web": service(volumes=["data:/data"], networks=["back"], container_name="davit-test-db")}, **shared})
            result = s.up()
            self.assert_exit(result, 2)
            self.assert_says(result, "the volume 'davit-test-shared' belongs to the project 'davit-other'",
                             "the network 'davit-test-back' belongs to the project 'davit-other'",
                             "the container 'davit-test-db' belongs to the project 'davit-other'")
            self.assertEqual(s.containers(), {})
            shared["volumes"]["data"]["external"] = shared["networks"]["back"]["external"] = True
            s.compose({"services": {"web": service(volumes=["data:/data"], networks=["back"])}, **shared})
            self.assert_exit(s.up(), 0)


if __name__ == "__main__":
    main()
