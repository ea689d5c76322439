#!/usr/bin/env python3
"""H5: a node's name in the scripts did not exist on the hypervisor. Names are asked of the server before anything runs, and those that exist are
listed: nodes, storages, templates, ids and who has them."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.guests import GuestCase, lxc  # noqa: E402
from harness.trial import main  # noqa: E402


class Names(GuestCase):
    def refused(self, p, wanted, *words):
        marker = self.t.path("ran")
        before = {"run": {"target": "here", "command": f"touch {marker}"}}
        self.write(p, [before, {"apply": {"target": "cloud", "resources": [wanted]}}])
        result = self.t.run("deploy", "deploy.yml", "--secret", "PVE_TOKEN", env={"PVE_TOKEN": "0d7b1c1e-5a0e-4a53-9f3c-6e5f8f0f3a10"})
        self.assert_exit(result, 2)
        self.assert_says(result, *words)
        self.assertFalse(os.path.exists(marker), "an earlier step has run")
        self.assertEqual(p.tasks, [])

    def test_a_node_that_does_not_exist_is_refused_with_those_that_do(self):
        self.refused(self.server(), lxc(node="proxmox"), "has no node 'proxmox'", "its nodes: pve, pve2")

    def test_a_node_that_is_off_is_refused(self):
        p = self.server()
        p.nodes["pve2"] = "offline"
        self.refused(p, lxc(node="pve2"), "the node 'pve2'", "is offline")

    def test_a_storage_that_does_not_exist_is_refused_with_those_that_do(self):
        self.refused(self.server(), lxc(storage="tank"), "there is no storage 'tank' on the node 'pve'", "storages there for 'rootdir': local-lvm")

    def test_a_storage_that_takes_no_disks_is_refused(self):
        self.refused(self.server(), lxc(storage="local"), "takes no 'rootdir'")

    def test_a_template_that_does_not_exist_is_refused_with_those_that_do(self):
        self.refused(self.server(), lxc(template="local:vztmpl/debian-11.tar.zst"), "there is no template", "debian-12.tar.zst, local:vztmpl/debian-13.tar.zst")

    def test_an_id_of_another_guest_is_refused_with_its_name(self):
        p = self.server()
        p.add_guest(101, "db")
        self.refused(p, lxc("web", 101), "the id 101 belongs to the guest 'db'")

    def test_a_name_of_another_guest_is_refused_with_its_id(self):
        p = self.server()
        p.add_guest(150, "web")
        self.refused(p, lxc("web", 101), "a guest with the name 'web' has the id 150 already")

    def test_an_id_that_the_token_may_not_see_is_not_taken_for_a_free_one(self):
        p = self.server(rights={"/": set(__import__("servers.proxmox_schema").proxmox_schema.PRIVILEGES), "/vms/101": {"VM.Allocate"}})
        p.add_guest(101, "hidden")
        self.refused(p, lxc("web", 101), "VM.Audit")


if __name__ == "__main__":
    main()
