#!/usr/bin/env python3
"""Packages by the real dnf, on a machine of its own without apt-get (tests/servers/host_root.py, rpm_repository.py): bootstrap and apply."""
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers import host_root, rpm_repository  # noqa: E402
from servers.rpm_repository import dnf, installed  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

FAIL = {"run": {"command": "false", "undo": "none"}}
GATE = {"health-gate": {"deadline": "1s", "checks": [{"command": "false"}]}}
LONG = "davit-with-a-name-that-has-a-line-of-its-own"
NOTHING = ([], [])
BOTH = (["davit-example", "davit-library"], ["davit-example"])


class Dnf(Case):
    maxDiff = None

    def tearDown(self):
        there, _ = installed()
        if there:
            dnf("remove", *there)

    def deploy(self, t, names, *args, target=None, after=(), code=0):
        result = t.deploy({"targets": {"web": target or {"local": {}}}, "steps": [{"bootstrap": {"packages": names}}, *after]}, *args)
        self.assert_exit(result, code)
        return result

    def apply(self, t, names, *args, after=(), code=0, allow=()):
        resources = [{"package": {"name": name}} for name in names]
        result = t.deploy({"targets": {"web": {"local": {}}}, "steps": [
            {"apply": {"resources": resources, "allow_destroy": [f"package:{name}" for name in allow]}, "id": "host"}, *after]}, *args)
        self.assert_exit(result, code)
        return result

    def test_a_package_comes_once_with_what_it_needs_and_goes_with_it(self):
        with Trial() as t:
            self.assert_says(self.deploy(t, ["davit-example"], "--plan"), "not installed → 1.0-1, with davit-library")
            self.assertEqual(installed(), NOTHING)
            self.deploy(t, ["davit-example"])
            self.assertEqual(installed(), BOTH)
            self.assert_says(self.deploy(t, ["davit-example"], "--plan"), "Nothing to change")
            self.assert_exit(t.run("rollback", "last"), 0)
            self.assertEqual(installed(), NOTHING)

    def test_a_gate_that_fails_takes_back_only_what_came_over_ssh(self):
        # One that nothing needs any more was there before, and one that is asked for.
        dnf("install", "davit-library")
        dnf("mark", "remove", "davit-library")
        dnf("install", LONG)
        before = installed()
        with Sshd() as server, Trial() as t:
            self.deploy(t, ["davit-example", LONG], target=server.target(), after=[GATE], code=1)
        self.assertEqual(installed(), before)

    def test_a_package_that_another_one_needs_by_then_stays_as_its_dependency(self):
        with Trial() as t:
            self.deploy(t, ["davit-library"], after=[{"run": {"command": ["dnf", "-y", "-q", "install", "davit-other"], "undo": "none"}}, FAIL], code=1)
        self.assertEqual(installed(), (["davit-library", "davit-other"], ["davit-other"]))

    def test_a_package_whose_script_fails_leaves_nothing_it_brought(self):
        with Trial() as t:
            self.assert_says(self.deploy(t, ["davit-broken"], code=1), "davit-broken")
        self.assertEqual(installed(), NOTHING)

    def test_what_cannot_be_installed_is_found_before_the_first_change(self):
        # dnf would install the one that takes its place.
        subprocess.run(f"rpm --force-debian -i {rpm_repository.REPOSITORY}/noarch/davit-former-*.rpm", shell=True, check=True, capture_output=True)
        before = installed()
        for name, words in (("davit-no-such", "Unable to find a match: davit-no-such"),
                            ("davit-thing", f"it is provided by: {LONG}"),
                            ("davit-successor", "it would take the place of davit-former")):
            with Trial() as t:
                self.assert_says(self.deploy(t, [name], code=2), f"'{name}' cannot be installed on 'web'", words)
        with Trial() as t:
            self.assert_says(self.apply(t, ["davit-example", "davit-no-such"], code=2), "'davit-no-such' cannot be installed on 'web'")
        self.assertEqual(installed(), before)

    def test_lists_that_were_never_read_are_read_by_the_change(self):
        self.addCleanup(dnf, "makecache")
        shutil.rmtree("/var/cache/dnf")
        with Trial() as t:
            self.assert_says(self.deploy(t, ["davit-example"]), "they are read anew first")
            self.assertEqual(installed(), BOTH)
            # Who has asked for a package is known without any list.
            shutil.rmtree("/var/cache/dnf")
            self.assert_exit(t.run("rollback", "last"), 0)
        self.assertEqual(installed(), NOTHING)

    def test_a_name_that_turns_out_to_be_anothers_brings_nothing(self):
        self.addCleanup(dnf, "makecache")
        shutil.rmtree("/var/cache/dnf")
        with Trial() as t:
            self.assert_says(self.deploy(t, ["davit-thing"], code=1), f"it is provided by: {LONG}")
        self.assertEqual(installed(), NOTHING)

    def test_apply_has_packages_that_come_go_and_come_back(self):
        with Trial() as t:
            self.apply(t, ["davit-example"])
            self.assertEqual(installed(), BOTH)
            self.assert_says(self.apply(t, ["davit-example"], "--plan"), "Nothing to change")
            self.apply(t, [], allow=["davit-example"], after=[FAIL], code=1)
            self.assertEqual(installed(), BOTH)
            self.apply(t, [], allow=["davit-example"])
        self.assertEqual(installed(), NOTHING)

    def test_apply_lets_a_dependency_go_and_asks_for_it_again(self):
        dnf("install", "davit-library")
        dnf("install", "davit-other")
        with Trial() as t:
            self.apply(t, ["davit-library"])
            self.apply(t, [], allow=["davit-library"], after=[FAIL], code=1)
            self.assertEqual(installed(), (["davit-library", "davit-other"], ["davit-library", "davit-other"]))
            self.apply(t, [], allow=["davit-library"])
        self.assertEqual(installed(), (["davit-library", "davit-other"], ["davit-other"]))


if __name__ == "__main__":
    host_root.enter()
    rpm_repository.set_up()
    main()
