#!/usr/bin/env python3
"""H6: the guest lists in the snapshot script and in the rollback script differed, and one id did not exist. There is one list, in the deployment file;
each of its guests is looked for before anything is changed; and what goes back is what the records of that deployment name, guest by guest."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.guests import GuestCase  # noqa: E402
from harness.trial import main  # noqa: E402
from servers.proxmox_snapshots import named  # noqa: E402

TOKEN = ("--secret", "PVE_TOKEN")


def snapshot(*guests):
    return {"snapshot": {"target": "cloud", "proxmox": {"guests": list(guests)}}}


class Lists(GuestCase):
    def setUp(self):
        super().setUp()
        self.p = self.server()
        for vmid, name in ((101, "web"), (102, "db"), (103, "mail")):
            self.p.add_guest(vmid, name)

    def write_since(self):
        for guest in self.p.guests.values():
            guest["data"] = "written since"

    def data(self):
        return {vmid: guest["data"] for vmid, guest in self.p.guests.items()}

    def test_an_id_that_does_not_exist_is_named_before_anything_is_changed(self):
        marker = self.t.path("ran")
        result = self.deploy_steps(self.p, [{"run": {"target": "here", "command": f"touch {marker}"}}, snapshot("web", "104")], code=2)
        self.assert_says(result, "has no guest '104'", "its guests: web (101), db (102), mail (103)")
        self.assertEqual((os.path.exists(marker), self.p.tasks), (False, []))

    def test_a_rollback_goes_by_the_record_and_not_by_the_list_of_today(self):
        self.deploy_steps(self.p, [snapshot("web", "102")])
        taken = json.loads(self.t.run("history", "--json").out)[0]["id"]
        self.write_since()
        # The file lists other guests by now; a name that looks like ours stands on one of them.
        self.p.guests[103]["snapshots"][f"davit_{taken}_0"] = dict(self.p.guests[101]["snapshots"][named(self.p, 101)[0]])
        self.write(self.p, [snapshot("mail")])
        self.davit("rollback", taken, "--data", *TOKEN)
        self.assertEqual(self.data(), {101: "data of web", 102: "data of db", 103: "written since"})

    def test_a_restore_of_more_than_was_taken_is_refused_as_a_whole(self):
        self.deploy_steps(self.p, [snapshot("web", "db")])
        self.write_since()
        tasks = len(self.p.tasks)
        result = self.deploy_steps(self.p, [{"restore": {"target": "cloud", "proxmox": {"guests": ["web", "mail"]}}}], code=2)
        self.assert_says(result, "no record of this deployment on 'cloud' names a snapshot of the guests web, mail")
        self.assertEqual((len(self.p.tasks), self.data()[101]), (tasks, "written since"))


if __name__ == "__main__":
    main()
