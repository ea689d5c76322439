#!/usr/bin/env python3
"""I1: a changed list of keys made an apply destroy and make anew every container. What forces a new guest is named; nothing is destroyed or replaced unless
allow_destroy names it with its identity; ignore_changes leaves an attribute to others."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.guests import GuestCase, lxc  # noqa: E402
from harness.trial import main  # noqa: E402

ONE, TWO = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA one@example", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB two@example"


class Keys(GuestCase):
    def made(self):
        p = self.server()
        self.apply(p, lxc(ssh_public_keys=[ONE]), lxc("db", 102, ssh_public_keys=[ONE]))
        self.tags = {i: g["tag"] for i, g in p.guests.items()}
        return p

    def assert_untouched(self, p):
        self.assertEqual({i: g["tag"] for i, g in p.guests.items()}, self.tags)

    def test_other_keys_are_refused_for_all_guests_at_once_with_what_forces_it(self):
        p = self.made()
        result = self.apply(p, lxc(ssh_public_keys=[ONE, TWO]), lxc("db", 102, ssh_public_keys=[ONE, TWO]), code=2)
        self.assert_says(result, "lxc:web would be destroyed and made anew, because of `ssh_public_keys`", "lxc:db would be destroyed and made anew",
                         'allow_destroy: ["lxc:db=102", "lxc:web=101"]')
        self.assert_untouched(p)

    def test_ignored_changes_are_none(self):
        p = self.made()
        ignored = [lxc(n, i, ssh_public_keys=[TWO], ignore_changes=["ssh_public_keys"], memory=1024) for n, i in (("web", 101), ("db", 102))]
        self.apply(p, *ignored)
        self.assert_untouched(p)
        self.assertEqual(p.guests[101]["config"]["memory"], 1024)

    def test_a_replacement_needs_the_identity_and_then_happens_once(self):
        p = self.made()
        wanted = lxc(ssh_public_keys=[TWO]), lxc("db", 102, ssh_public_keys=[ONE])
        for allow in ("lxc:web", "lxc:web=102", "lxc:db=101"):
            self.apply(p, *wanted, allow=[allow], code=2)
        self.assert_untouched(p)
        plan = self.apply(p, *wanted, allow=["lxc:web=101"], args=["--plan"])
        self.assert_says(plan, "replace", "forced by `ssh_public_keys`", "lost for good")
        self.apply(p, *wanted, allow=["lxc:web=101"])
        self.assertNotEqual(p.guests[101]["tag"], self.tags[101])
        self.assertEqual((p.guests[101]["keys"], p.guests[102]["tag"]), (TWO, self.tags[102]))
        self.assert_says(self.apply(p, *wanted, args=["--plan"]), "Nothing to change")

    def test_a_lost_reply_to_either_half_of_a_replacement_makes_one_new_guest(self):
        for request in ("DELETE /nodes/{node}/lxc/{vmid}", "POST /nodes/{node}/lxc"):
            p = self.made()
            p.fault(request, "lost")
            self.apply(p, lxc(ssh_public_keys=[TWO]), lxc("db", 102, ssh_public_keys=[ONE]), allow=["lxc:web=101"])
            self.assertEqual((p.guests[101]["keys"], [t["type"] for t in p.tasks if t["id"] == "101"].count("vzdestroy")), (TWO, 1))
            self.apply(p, allow=["lxc:web=101", "lxc:db=102"])

    def test_a_guest_that_left_the_desired_state_stays_until_it_is_named(self):
        p = self.made()
        self.assert_says(self.apply(p, lxc(ssh_public_keys=[ONE]), code=2), "lxc:db left the desired state and would be destroyed", '"lxc:db=102"')
        self.apply(p, lxc(ssh_public_keys=[ONE]), allow=["lxc:db"], code=2)
        self.assert_untouched(p)
        self.apply(p, lxc(ssh_public_keys=[ONE]), allow=["lxc:db=102"])
        self.assertEqual(sorted(p.guests), [101])

    def test_a_protected_guest_stays_whatever_is_allowed(self):
        p = self.server()
        self.apply(p, lxc(protect=True))
        self.assert_says(self.apply(p, allow=["lxc:web=101"], code=2), "protected")
        self.assert_says(self.apply(p, lxc(protect=True, unprivileged=False), allow=["lxc:web=101"], code=2), "`unprivileged`", "protected")
        self.assertEqual(sorted(p.guests), [101])

    def test_an_attribute_of_replace_on_forces_a_new_guest_and_needs_the_identity(self):
        p = self.server()
        self.apply(p, lxc(memory=512, replace_on=["memory"]))
        bigger = lxc(memory=1024, replace_on=["memory"])
        self.assert_says(self.apply(p, bigger, code=2), "lxc:web would be destroyed and made anew, because of `memory`", '"lxc:web=101"')
        self.assertEqual(p.guests[101]["config"]["memory"], 512)
        self.apply(p, bigger, allow=["lxc:web=101"])
        self.assertEqual(([t["type"] for t in p.tasks].count("vzdestroy"), p.guests[101]["config"]["memory"]), (1, 1024))

    def test_a_cap_stops_what_allow_destroy_lets_through(self):
        p = self.made()
        allow = ["lxc:web=101", "lxc:db=102"]
        self.assert_says(self.apply(p, allow=allow, step={"max_destroy": 1}, code=2), "2 resources would be destroyed or replaced, and max_destroy is 1")
        self.assert_untouched(p)

    def test_guests_are_made_and_destroyed_in_the_order_of_their_dependencies(self):
        p = self.server()
        self.apply(p, lxc("app", 101, depends_on=["store"]), lxc("web", 103, depends_on=["lxc:app"]), lxc("db", 102, id="store"))
        self.assertEqual([t["id"] for t in p.tasks if t["type"] == "vzcreate"], ["102", "101", "103"])
        self.apply(p, allow=["lxc:app=101", "lxc:db=102", "lxc:web=103"])
        self.assertEqual([t["id"] for t in p.tasks if t["type"] == "vzdestroy"], ["103", "101", "102"])

    def test_an_id_that_was_given_to_another_guest_is_not_destroyed(self):
        p = self.made()
        p.guests.pop(102)
        p.add_guest(102, "somebody-elses")
        self.apply(p, lxc(ssh_public_keys=[ONE]), allow=["lxc:db=102"])
        self.assertEqual(sorted(p.guests), [101, 102])


if __name__ == "__main__":
    main()
