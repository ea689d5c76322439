#!/usr/bin/env python3
"""Guests of a Proxmox server as resources of apply: made, changed, destroyed, taken back; and every way in which a server may fail in between."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.guests import GATE_THAT_FAILS, GuestCase, lxc  # noqa: E402
from harness.trial import main  # noqa: E402

CREATE, CONFIG = "POST /nodes/{node}/lxc", "PUT /nodes/{node}/lxc/{vmid}/config"
CREATES = "/nodes/pve/lxc"


class Guests(GuestCase):
    def test_a_container_is_made_and_a_second_run_changes_nothing(self):
        p = self.server()
        plan = self.apply(p, lxc(), args=["--plan"])
        self.assert_says(plan, "lxc:web", '"8G"', "net0")
        self.assertEqual(p.guests, {})
        self.apply(p, lxc(description="the shop", tags=["shop", "web"]))
        guest = p.guests[101]
        self.assertEqual(guest["status"], "running")
        self.assertEqual((guest["config"]["memory"], guest["config"]["hostname"], guest["config"]["unprivileged"]), (512, "web", 1))
        self.assertEqual(guest["config"]["rootfs"], "local-lvm:vm-101-disk-0,size=8G")
        self.assert_says(self.apply(p, lxc(description="the shop", tags=["web", "shop"]), args=["--plan"]), "Nothing to change")

    def test_a_plan_of_many_asks_several_at_once(self):
        p = self.server()
        p.flight.pause_s = 0.02
        self.assert_says(self.apply(p, *(lxc(f"web{i}", 101 + i) for i in range(20)), args=["--plan"]), "lxc:web0", "lxc:web19")
        self.assertTrue(4 < p.flight.most <= 16, p.flight.most)
        self.assertEqual(p.guests, {})

    def test_attributes_change_in_place_and_the_card_keeps_its_address(self):
        p = self.server()
        self.apply(p, lxc())
        before = dict(p.guests[101]["config"])
        wanted = lxc(memory=1024, disk="10G", net={"net0": "name=eth0,bridge=vmbr1,ip=dhcp"})
        self.assert_says(self.apply(p, wanted, args=["--plan"]), "512 → 1024", "an undo cannot shrink the disk")
        self.apply(p, wanted)
        config = p.guests[101]["config"]
        self.assertEqual((config["memory"], config["rootfs"]), (1024, "local-lvm:vm-101-disk-0,size=10G"))
        self.assertIn("bridge=vmbr1", config["net0"])
        self.assertEqual([x for x in config["net0"].split(",") if x.startswith("hwaddr")], [x for x in before["net0"].split(",") if x.startswith("hwaddr")])
        self.assertEqual(p.asked("POST", ".*/status/.*"), 0)

    def test_what_needs_a_restart_is_told_and_restarted(self):
        p = self.server()
        self.apply(p, lxc())
        plan = self.apply(p, lxc(features="nesting=1"), args=["--plan"])
        self.assert_says(plan, "it is restarted for `features`")
        self.apply(p, lxc(features="nesting=1"))
        self.assertEqual((p.guests[101]["config"]["features"], p.guests[101]["status"], p.guests[101]["pending"]), ("nesting=1", "running", {}))
        self.assertEqual(p.asked("POST", ".*/status/reboot"), 1)

    def test_a_guest_is_stopped_and_started(self):
        p = self.server()
        self.apply(p, lxc())
        self.assert_says(self.apply(p, lxc(running=False), args=["--plan"]), "it is stopped")
        self.apply(p, lxc(running=False))
        self.assertEqual(p.guests[101]["status"], "stopped")
        self.apply(p, lxc())
        self.assertEqual(p.guests[101]["status"], "running")

    def test_a_clone_gets_its_own_attributes_and_disk(self):
        p = self.server()
        p.add_guest(900, "golden", running=False)
        clone = lxc(clone={"from": 900}, memory=2048, disk="12G")
        del clone["lxc"]["template"]
        self.apply(p, clone)
        guest = p.guests[101]
        self.assertEqual((guest["data"], guest["status"], guest["config"]["memory"]), ("data of golden", "running", 2048))
        self.assertIn("size=12G", guest["config"]["rootfs"])
        self.assert_says(self.apply(p, clone, args=["--plan"]), "Nothing to change")

    def test_a_virtual_machine_is_made_changed_and_destroyed(self):
        p = self.server()
        machine = {"name": "db", "vmid": 200, "node": "pve", "storage": "local-lvm", "disk": "32G", "memory": 2048, "cores": 2, "agent": "1",
                   "net": {"net0": "virtio,bridge=vmbr0"}, "ipconfig": {"ipconfig0": "ip=10.1.2.3/24,gw=10.1.2.1"}, "ciuser": "deploy",
                   "ssh_public_keys": ["ssh-ed25519 AAAAC3Nza one@example"]}
        self.apply(p, {"qemu": machine})
        self.assertEqual((p.guests[200]["status"], p.guests[200]["config"]["scsi0"]), ("running", "local-lvm:vm-200-disk-0,size=32G"))
        self.assert_says(self.apply(p, {"qemu": machine}, args=["--plan"]), "Nothing to change")
        self.assert_says(self.apply(p, {"qemu": {**machine, "memory": 4096}}, args=["--plan"]), "it is restarted for `memory`")
        self.apply(p, {"qemu": {**machine, "memory": 4096}})
        self.assertEqual(int(p.guests[200]["config"]["memory"]), 4096)
        self.apply(p, allow=["qemu:db=200"])
        self.assertNotIn(200, p.guests)

    def test_what_was_made_goes_and_what_was_changed_is_as_before_when_the_gate_fails(self):
        p = self.server()
        self.apply(p, lxc())
        before = dict(p.guests[101]["config"])
        self.apply(p, lxc(memory=1024, features="nesting=1", description="new"), lxc("db", 102), more=[GATE_THAT_FAILS], code=1)
        self.assertNotIn(102, p.guests)
        self.assertEqual((p.guests[101]["config"], p.guests[101]["status"], p.guests[101]["pending"]), (before, "running", {}))

    def test_an_undo_says_that_a_disk_cannot_shrink(self):
        p = self.server()
        self.apply(p, lxc())
        result = self.apply(p, lxc(memory=1024, disk="9G"), more=[GATE_THAT_FAILS], code=4)
        self.assert_says(result, "a disk cannot shrink")
        self.assertEqual(p.guests[101]["config"]["memory"], 512)

    def test_an_undo_says_that_a_destroyed_guest_cannot_come_back(self):
        p = self.server()
        self.apply(p, lxc(), lxc("old", 102))
        plan = self.apply(p, lxc(), allow=["lxc:old=102"], args=["--plan"])
        self.assert_says(plan, "lost for good")
        result = self.apply(p, lxc(memory=1024), allow=["lxc:old=102"], more=[GATE_THAT_FAILS], code=4)
        self.assert_says(result, "guest 102 'old' was destroyed with its disks, which nothing brings back")
        self.assertEqual((sorted(p.guests), p.guests[101]["config"]["memory"]), ([101], 512))


class Faults(GuestCase):
    def test_a_lost_reply_is_looked_into_and_nothing_is_asked_for_twice(self):
        p = self.server()
        p.fault(CREATE, "lost")
        self.apply(p, lxc())
        self.assertEqual((p.guests[101]["status"], p.asked("POST", CREATES)), ("running", 1))
        for how in ("lost", "strange"):
            p.fault(CONFIG, how)
            self.apply(p, lxc(memory=1024 if how == "lost" else 2048))
        self.assertEqual((p.guests[101]["config"]["memory"], p.asked("PUT", ".*/config")), (2048, 2))

    def test_a_request_that_never_came_is_made_again(self):
        p = self.server()
        p.fault(CREATE, "away")
        self.apply(p, lxc())
        self.assertEqual(p.guests[101]["status"], "running")

    def test_bursts_of_500_and_of_a_proxy_are_waited_out(self):
        p = self.server()
        p.fault(CREATE, "500", 2)
        for request in ("GET /cluster/resources", "GET /nodes/{node}/tasks/{upid}/status", "GET /nodes/{node}/lxc/{vmid}/config", "GET /nodes"):
            p.fault(request, "500")
            p.fault(request, "596")
        self.apply(p, lxc())
        self.assertEqual((p.guests[101]["status"], len([t for t in p.tasks if t["type"] == "vzcreate"])), ("running", 1))

    def test_a_reply_to_a_request_that_was_carried_out_twice_is_one_guest(self):
        p = self.server()
        p.fault(CREATE, "twice")
        self.apply(p, lxc())
        self.assertEqual(sorted(p.guests), [101])

    def test_a_task_that_fails_is_told_with_its_log_and_all_is_taken_back(self):
        p = self.server()
        p.fault(CREATE, "fails")
        result = self.apply(p, lxc(), lxc("db", 102), code=1)
        self.assert_says(result, "the task vzcreate of guest 102 failed: command 'lvcreate' failed: exit code 5", "TASK ERROR")
        self.assertEqual(p.guests, {})

    def test_a_task_that_hangs_is_given_up_and_stopped(self):
        p = self.server()
        p.fault(CREATE, "hangs")
        result = self.apply(p, lxc(), target={"task_timeout": "2s"}, code=1)
        self.assert_says(result, "does not end")
        self.assertEqual((p.guests, p.asked("DELETE", ".*/tasks/.*")), ({}, 1))

    def test_a_config_that_somebody_changes_in_between_is_not_overwritten(self):
        p = self.server()
        self.apply(p, lxc())
        self.write(p, [{"apply": {"target": "cloud", "resources": [lxc(memory=1024)]}, "id": "guests"}])
        plan = self.apply(p, lxc(memory=1024), args=["--plan", "--json"])
        self.assertIn("1024", plan.out)
        p.guests[101]["lock"] = "backup"
        p.tasks.append({"upid": "UPID:pve:000000AA:000000BB:65000000:vzdump:101:root@pam:", "type": "vzdump", "id": "101", "node": "pve", "user": "root@pam", "pid": 170,
                        "starttime": 0, "status": "running", "effect": lambda: p.guests[101]["config"].update(memory=768), "end": 0, "how": None, "log": [],
                        "lock": "backup"})
        p.hold("vzdump")
        process = self.begin(p, lxc(memory=1024))
        p.wait_for(lambda: p.asked("GET", ".*/tasks/UPID:pve:000000AA.*") > 0)
        p.let_go()
        out = process.communicate(timeout=60)[0].decode()
        self.assertEqual(process.returncode, 0, out)
        self.assertEqual(p.guests[101]["config"]["memory"], 1024)

    def test_a_killed_process_is_recovered_by_following_the_same_task(self):
        p = self.server()
        p.hold("vzcreate")
        process = self.begin(p, lxc())
        p.wait_for(lambda: p.asked("GET", ".*/tasks/.*/status") > 0)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        self.assertEqual(p.guests[101]["lock"], "create")
        p.let_go()
        self.recover()
        self.assertEqual((p.guests, p.asked("POST", CREATES)), ({}, 1))

    def test_a_process_killed_before_it_knew_the_task_finds_it_again(self):
        p = self.server()
        p.hold("vzcreate")
        p.fault(CREATE, "lost")
        process = self.begin(p, lxc())
        p.wait_for(lambda: any(t["type"] == "vzcreate" for t in p.tasks))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        p.let_go()
        self.recover()
        self.assertEqual((p.guests, p.asked("POST", CREATES)), ({}, 1))


class Together(GuestCase):
    """Guests that need nothing of each other."""

    GUESTS = [lxc(f"web-{i}", 110 + i) for i in range(6)]

    def begun(self, p):
        return [t["id"] for t in p.tasks if t["type"] == "vzcreate"]

    def begin_held(self, p, guests, **more):
        p.hold("vzcreate")
        return self.begin_steps(p, [{"apply": {"target": "cloud", "resources": guests, **more}, "id": "guests"}])

    def end(self, process, code=0):
        out = process.communicate(timeout=120)[0].decode()
        self.assertEqual(process.returncode, code, out)
        return out

    def test_they_are_made_at_the_same_time_and_no_more_than_may_be(self):
        for most, at_once in ((None, 6), (2, 2)):
            with self.subTest(most=most):
                p = self.server()
                process = self.begin_held(p, self.GUESTS, **({"parallel": most} if most else {}))
                p.wait_for(lambda n=at_once, p=p: len(self.begun(p)) == n)
                polls = p.asked("GET", ".*/tasks/.*/status")
                p.wait_for(lambda p=p, n=polls: p.asked("GET", ".*/tasks/.*/status") > n + 8)
                self.assertEqual(len(self.begun(p)), at_once)
                p.let_go()
                self.end(process)
                self.assertEqual(sorted(p.guests), [110 + i for i in range(6)])
                self.davit("deploy", "deploy.yml", "--secret", "PVE_TOKEN", "--destroy", "test")
                self.assertEqual(p.guests, {})

    def test_what_one_needs_comes_first(self):
        p = self.server()
        process = self.begin_held(p, [lxc("a", 110, depends_on=["lxc:z"]), lxc("b", 111), lxc("z", 112)])
        p.wait_for(lambda: len(self.begun(p)) == 2)
        polls = p.asked("GET", ".*/tasks/.*/status")
        p.wait_for(lambda: p.asked("GET", ".*/tasks/.*/status") > polls + 4)
        self.assertEqual(sorted(self.begun(p)), ["111", "112"])
        p.let_go()
        self.end(process)
        self.assertEqual(self.begun(p)[2:], ["110"])

    def test_one_that_fails_ends_the_others_first_and_takes_all_back(self):
        p = self.server()
        p.fault("POST /nodes/{node}/lxc", "fails")
        self.assert_says(self.apply(p, *self.GUESTS, step={"parallel": 3}, code=1), "the task vzcreate of guest 110 failed")
        self.assertEqual(p.guests, {})
        self.assertLess(len(self.begun(p)), 6)

    def test_those_whose_replies_are_lost_are_asked_for_once_each(self):
        p = self.server()
        p.fault("POST /nodes/{node}/lxc", "lost", 3)
        self.apply(p, *self.GUESTS)
        self.assertEqual((len(p.guests), sorted(self.begun(p))), (6, [str(110 + i) for i in range(6)]))

    def test_a_process_that_is_killed_leaves_several_at_work_and_all_are_recovered(self):
        for how in (None, "lost"):
            with self.subTest(how=how):
                p = self.server()
                if how:
                    p.fault("POST /nodes/{node}/lxc", how, 2)
                process = self.begin_held(p, self.GUESTS, parallel=4)
                p.wait_for(lambda p=p: len(self.begun(p)) == 4)
                self.kill(process)
                p.let_go()
                self.recover()
                self.assertEqual((p.guests, len(self.begun(p))), ({}, 4))

    def test_a_cancel_ends_all_of_them(self):
        p = self.server()
        process = self.begin_held(p, self.GUESTS, parallel=4)
        p.wait_for(lambda: len(self.begun(p)) == 4)
        process.send_signal(signal.SIGINT)
        p.let_go()
        self.end(process, 130)
        self.assertEqual((p.guests, len(self.begun(p))), ({}, 4))


class Servers(GuestCase):
    def test_another_certificate_gets_nothing_of_the_token(self):
        p = self.server()
        wrong = ":".join(["AB"] * 32)
        result = self.apply(p, lxc(), target={"fingerprint": wrong}, code=2)
        self.assert_says(result, "not the one that is pinned", p.fingerprint)
        self.assertEqual(p.requests, [])

    def test_a_fingerprint_may_be_written_in_either_form(self):
        p = self.server()
        result = self.apply(p, lxc(), target={"fingerprint": p.fingerprint.lower().replace(":", "")}, args=["--plan"])
        self.assert_says(result, "lxc:web")

    def test_a_private_ca_is_trusted_by_its_file(self):
        p = self.server()
        entry = p.target(ca_file=p.certificate)
        del entry["proxmox"]["fingerprint"]
        p.target = lambda **_: entry
        self.assert_says(self.apply(p, lxc(), args=["--plan"]), "lxc:web")
        del entry["proxmox"]["ca_file"]
        self.apply(p, lxc(), args=["--plan"], code=2)

    def test_an_old_server_says_what_is_wrong_behind_its_status(self):
        p = self.server(old=True)
        self.apply(p, lxc())
        p.guests[101]["config"]["protection"] = 1
        p.guests[101]["status"] = "stopped"
        result = self.apply(p, allow=["lxc:web=101"], code=1)
        self.assert_says(result, "protection mode enabled")

    def test_missing_rights_are_named_before_anything_is_changed(self):
        p = self.server(rights={"/": {"VM.Audit", "Datastore.Audit"}, "/vms/101": {"VM.Audit", "VM.PowerMgmt", "VM.Config.CPU"}})
        result = self.apply(p, lxc(), code=2)
        self.assert_says(result, "the token deploy@pve!davit lacks VM.Allocate, VM.Config.Disk, VM.Config.Memory, VM.Config.Network on /vms/101")
        self.assertEqual(p.tasks, [])

    def write_address(self, p, content, code=0, args=()):
        """A file of this machine that a guest's attribute is written into, by a step behind the guest's own."""
        path = os.path.join(self.t.src, "address")
        write = {"apply": {"target": "here", "resources": [{"file": {"path": path, "content": content}}]}, "id": "files"}
        return path, self.apply(p, lxc(id="web"), more=[write], code=code, args=args)

    def test_an_address_that_a_guest_is_given_reaches_a_later_step_and_is_unknown_until_then(self):
        p = self.server()
        path, plan = self.write_address(p, "${{ resources.web.ip }} ${{ resources.web.vmid }}\n", args=["--plan"])
        self.assert_says(plan, 'content: "known after apply"')
        self.assertEqual(p.guests, {})
        self.write_address(p, "${{ resources.web.ip }} ${{ resources.web.vmid }}\n")
        with open(path) as f:
            self.assertEqual(f.read(), "192.0.2.101 101\n")
        path, again = self.write_address(p, "${{ resources.web.ip }} ${{ resources.web.vmid }}\n")
        self.assert_says(again, "nothing to change")

    def write_machines_address(self, p, code=0, args=(), target=None, **more):
        machine = {"name": "db", "vmid": 200, "node": "pve", "storage": "local-lvm", "disk": "32G", "memory": 2048, "net": {"net0": "virtio,bridge=vmbr0"}, "id": "db", **more}
        path = os.path.join(self.t.src, "address")
        write = {"apply": {"target": "here", "resources": [{"file": {"path": path, "content": "${{ resources.db.ip }}\n"}}]}, "id": "files"}
        result = self.apply(p, {"qemu": machine}, more=[write], code=code, args=args, target=target)
        if code or args:
            return result, None
        with open(path) as f:
            return result, f.read()

    def test_the_address_of_a_virtual_machine_is_what_the_agent_in_it_tells_of_its_card(self):
        p = self.server()
        p.agent_sleeps = 2
        self.assertEqual(self.write_machines_address(p, agent="1")[1], "192.0.2.200\n")
        self.assertEqual(p.asked("GET", ".*/agent/network-get-interfaces"), 3)

    def test_an_address_that_is_written_in_its_configuration_needs_no_agent(self):
        p = self.server()
        self.assertEqual(self.write_machines_address(p, ipconfig={"ipconfig0": "ip=10.1.2.3/24,gw=10.1.2.1"})[1], "10.1.2.3\n")
        self.assertEqual(p.asked("GET", ".*/agent/.*"), 0)

    def test_a_virtual_machine_that_tells_no_address_is_named_with_the_reason(self):
        p = self.server()
        says = "it has no guest agent (`agent: 1`), and no `ip` in `ipconfig0`"
        self.assert_says(self.write_machines_address(p, args=["--plan"])[0], "qemu:db: its `ip` will not be known: " + says)
        self.assert_says(self.write_machines_address(p, code=1)[0], "the address of qemu:db is not known: " + says, "has no 'ip'")
        p.agent_sleeps = 10 ** 6
        result = self.write_machines_address(p, code=1, agent="1", target={"task_timeout": "2s"})[0]
        self.assert_says(result, "the address of qemu:db is not known: its guest agent: ", "QEMU guest agent is not running")
        self.assertEqual(p.guests, {})

    def test_a_name_that_no_earlier_step_knows_is_found_before_the_guest_is_made(self):
        p = self.server()
        path, result = self.write_address(p, "${{ resources.wbe.ip }}\n", code=2)
        self.assert_says(result, "no resource of this step or an earlier one has the id 'wbe'", "did you mean 'web'?")
        self.assertEqual((p.tasks, os.path.exists(path)), ([], False))

    def test_an_attribute_that_it_does_not_have_is_found_before_the_guest_is_made(self):
        p = self.server()
        path, result = self.write_address(p, "${{ resources.web.ipp }}\n", code=2)
        self.assert_says(result, "'ipp' of the resource 'web' (lxc) is no attribute of it", "did you mean 'ip'?")
        self.assertEqual((p.tasks, os.path.exists(path)), ([], False))


if __name__ == "__main__":
    main()
