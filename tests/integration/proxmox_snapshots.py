#!/usr/bin/env python3
"""Snapshots of guests of a Proxmox server: taken, kept, put back, taken back; and every way in which a server may fail in between."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.guests import GATE_THAT_FAILS, GuestCase, lxc  # noqa: E402
from harness.trial import main  # noqa: E402
from servers.proxmox_snapshots import named  # noqa: E402

TAKE, BACK = "POST /nodes/{node}/lxc/{vmid}/snapshot", "POST /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback"
TOKEN = ("--secret", "PVE_TOKEN")
TAKEN, WENT_BACK, REMOVED = r".*/snapshot", r".*/snapshot/[^/]+/rollback", r".*/snapshot/[^/]+"


def snapshot(*guests, **more):
    return {"snapshot": {"target": "cloud", "proxmox": {"guests": list(guests or ("web",)), **more}}}


def restore(*guests, snapshot=None, **more):
    return {"restore": {"target": "cloud", "proxmox": {"guests": list(guests or ("web",)), **more}, **({"from": {"snapshot": snapshot}} if snapshot else {})}}


class SnapshotCase(GuestCase):
    def server(self, **options):
        p = super().server(**options)
        p.add_guest(101, "web")
        return p

    def ids(self):
        """Newest first."""
        return [d["id"] for d in json.loads(self.t.run("history", "--json").out)]

    def last_id(self):
        return self.ids()[0]


class Kept(SnapshotCase):
    def test_each_guest_has_one_that_names_its_deployment(self):
        p = self.server()
        p.add_guest(200, "db", kind="qemu")
        plan = self.deploy_steps(p, [snapshot("web", "200")], args=["--plan"])
        self.assert_says(plan, "snapshot of the running guest 101 'web'", "snapshot of the running guest 200 'db'")
        self.assertEqual(p.tasks, [])
        self.deploy_steps(p, [snapshot("web", "200")])
        for vmid in (101, 200):
            name, = named(p, vmid)
            self.assertRegex(name, r"^[A-Za-z][A-Za-z0-9_-]+$")
            self.assertLessEqual(len(name), 40)
            self.assertEqual((name, p.guests[vmid]["snapshots"][name]["description"]), (f"davit_{self.last_id()}_0", f"davit shop.test, deployment {self.last_id()}"))
        self.assertEqual(p.guests[101]["status"], "running")

    def test_a_plan_of_it_is_the_plan_that_is_made(self):
        p = self.server()
        plan = self.deploy_steps(p, [snapshot()], args=["--plan"])
        digest = re.search(r"[0-9a-f]{64}", plan.out).group()
        self.deploy_steps(p, [snapshot()], args=["--expect", digest])

    def test_memory_is_kept_of_virtual_machines_that_run(self):
        p = self.server()
        p.add_guest(200, "db", kind="qemu")
        p.add_guest(201, "idle", kind="qemu", running=False)
        self.deploy_steps(p, [snapshot("web", "db", "idle", vmstate=True)])
        self.assertEqual([p.guests[v]["snapshots"][named(p, v)[0]]["vmstate"] for v in (101, 200, 201)], [0, 1, 0])

    def test_the_oldest_go_and_nothing_that_somebody_else_took(self):
        p = self.server()
        p.guests[101]["snapshots"]["davit_20200101T000000-abcdef_0"] = {"description": "mine", "time": 1, "parent": None, "state": None, "vmstate": 0, "config": {}, "data": "", "status": "running"}
        for _ in range(4):
            self.deploy_steps(p, [snapshot(keep=2)])
        ids = self.ids()
        self.assertEqual(named(p, 101), ["davit_20200101T000000-abcdef_0", f"davit_{ids[1]}_0", f"davit_{ids[0]}_0"])

    def test_the_newest_good_one_stays_however_old_it_is(self):
        p = self.server()
        self.deploy_steps(p, [snapshot()])
        good, = named(p, 101)
        self.deploy_steps(p, [snapshot(keep=1)])
        p.guests[101]["snapshots"][f"davit_{self.last_id()}_0"]["state"] = "delete"
        p.guests[101]["snapshots"][good] = {**p.guests[101]["snapshots"][f"davit_{self.last_id()}_0"], "state": None}
        self.deploy_steps(p, [snapshot(keep=1, keep_for="1s")])
        newest = f"davit_{self.last_id()}_0"
        self.assertEqual(named(p, 101)[-1], newest)
        p.guests[101]["snapshots"][newest]["state"] = "delete"
        p.fault(TAKE, "fails", 9)
        self.deploy_steps(p, [snapshot(keep=1)], code=1)
        self.assertIn(newest, p.guests[101]["snapshots"])

    def test_a_guest_that_is_not_there_yet_may_be_left_out(self):
        p = self.server()
        result = self.deploy_steps(p, [snapshot("web", "shop", when_none="skip")])
        self.assert_says(result, "'cloud' has no guest 'shop': nothing of it is kept")
        self.assertEqual(len(named(p, 101)), 1)


class Refused(SnapshotCase):
    """Before anything is changed."""

    def refused(self, p, *words, steps=None):
        self.assert_says(self.deploy_steps(p, steps or [snapshot()], code=2), *words)
        self.assertEqual(p.tasks, [])

    def test_storages_and_mounts_without_snapshots_are_named(self):
        p = self.server()
        p.add_guest(102, "files", rootfs="local:102/vm-102-disk-0.raw,size=8G", mp0="/srv/data,mp=/data", mp1="local-lvm:vm-102-disk-1,mp=/big,size=9G")
        self.refused(p, "guest 102 'files' cannot have snapshots: `rootfs` lies on 'local' (dir), `mp0` mounts /srv/data of the node", steps=[snapshot("web", "files")])

    def test_every_guest_is_looked_at(self):
        p = self.server()
        p.guests[101]["lock"] = "backup"
        p.add_guest(103, "golden", template=1)
        self.refused(p, "guest 101 'web' is locked (backup)", "guest 103 'golden' is a template", "has no guest 'wbe'", "its guests: web (101), golden (103)",
                     steps=[snapshot("web", "golden", "wbe")])

    def test_missing_rights_are_named(self):
        p = self.server(rights={"/": {"VM.Audit", "Datastore.Audit"}})
        self.refused(p, "the token deploy@pve!davit lacks VM.Snapshot on /vms/101")

    def test_two_guests_of_one_name_are_told_apart_by_their_ids(self):
        p = self.server()
        p.add_guest(105, "web", node="pve2")
        self.refused(p, "the guests 101 and 105 are both called 'web'")
        self.deploy_steps(p, [snapshot("105")])
        self.assertEqual((named(p, 101), len(named(p, 105))), ([], 1))

    def test_files_are_no_part_of_a_server_and_guests_none_of_a_host(self):
        p = self.server()
        self.refused(p, "'cloud' is of the kind 'proxmox', which has no `files`", steps=[{"snapshot": {"target": "cloud", "files": {"paths": ["/srv"]}}}])
        here = snapshot()
        here["snapshot"]["target"] = "here"
        self.refused(p, "'here' is of the kind 'local', which has no `proxmox`", steps=[here])
        self.refused(p, "there are no copies of it", steps=[{"snapshot": {**snapshot()["snapshot"], "copies": {"to": ["here"]}}}])


class PutBack(SnapshotCase):
    def change(self, p, data="written since", **config):
        p.guests[101]["data"] = data
        p.guests[101]["config"].update(config)

    def test_disks_configuration_and_power_state_are_as_they_were(self):
        p = self.server()
        self.deploy_steps(p, [snapshot()])
        kept = self.last_id()
        self.change(p, memory=4096)
        plan = self.deploy_steps(p, [restore()], args=["--plan"])
        self.assert_says(plan, f"put guest 101 'web' back to the snapshot of {kept}", "it is stopped for that", "running afterwards")
        self.deploy_steps(p, [restore()])
        self.assertEqual((p.guests[101]["data"], p.guests[101]["config"]["memory"], p.guests[101]["status"]), ("data of web", 512, "running"))
        former = p.guests[101]["snapshots"][f"davit_{self.last_id()}_0"]
        self.assertEqual((former["data"], former["config"]["memory"]), ("written since", 4096))
        p.guests[101]["status"] = "stopped"
        self.deploy_steps(p, [snapshot()])
        p.guests[101]["status"] = "running"
        self.deploy_steps(p, [restore(snapshot=self.last_id())])
        self.assertEqual(p.guests[101]["status"], "stopped")

    def test_a_start_that_came_to_nothing_is_asked_for_again(self):
        p = self.server()
        self.deploy_steps(p, [snapshot()])
        p.forgets_start = True
        self.deploy_steps(p, [restore()])
        self.assertEqual((p.guests[101]["status"], p.asked("POST", WENT_BACK)), ("running", 1))

    def test_guests_go_back_together(self):
        p = self.server()
        p.add_guest(102, "db")
        self.deploy_steps(p, [snapshot("web", "db")])
        both = self.last_id()
        self.deploy_steps(p, [snapshot("web")])
        self.change(p)
        p.guests[102]["data"] = "written since"
        self.deploy_steps(p, [restore("web", "db")])
        self.assertEqual((p.guests[101]["parent"], p.guests[102]["parent"]), (f"davit_{both}_0", f"davit_{both}_0"))
        self.assertEqual((p.guests[101]["data"], p.guests[102]["data"]), ("data of web", "data of db"))

    def test_an_undo_brings_back_what_was_replaced(self):
        p = self.server()
        self.deploy_steps(p, [snapshot()])
        self.change(p, memory=1024)
        before = named(p, 101)
        self.deploy_steps(p, [restore(), GATE_THAT_FAILS], code=1)
        self.assertEqual((p.guests[101]["data"], p.guests[101]["config"]["memory"], p.guests[101]["status"], named(p, 101)), ("written since", 1024, "running", before))

    def test_what_only_looks_like_ours_is_not_put_back(self):
        p = self.server()
        p.guests[101]["snapshots"]["davit_20200101T000000-abcdef_0"] = {"description": "davit shop.test, deployment 20200101T000000-abcdef", "time": 1, "parent": None, "state": None,
                                                                        "vmstate": 0, "config": {}, "data": "", "status": "running"}
        for step in (restore(), restore(snapshot="20200101T000000-abcdef")):
            self.assert_says(self.deploy_steps(p, [step], code=2), "no record of this deployment")
        self.deploy_steps(p, [snapshot()])
        p.guests[101]["snapshots"][named(p, 101)[-1]]["description"] = "somebody's"
        self.assert_says(self.deploy_steps(p, [restore()], code=2), "has no whole snapshot")
        self.assertEqual(p.asked("POST", WENT_BACK), 0)

    def test_another_guest_with_the_same_id_has_none_of_the_records(self):
        p = self.server()
        self.deploy_steps(p, [snapshot()])
        kept = p.guests[101]["snapshots"]
        p.add_guest(101, "other")["snapshots"] = kept
        self.assert_says(self.deploy_steps(p, [restore("101")], code=2), "no record of this deployment")

    def test_storages_that_only_put_back_the_newest_one_say_so(self):
        p = self.server()
        p.guests[101]["config"]["rootfs"] = "local-zfs:subvol-101-disk-0,size=8G"
        self.deploy_steps(p, [snapshot()])
        first = self.last_id()
        self.change(p)
        self.assert_says(self.deploy_steps(p, [restore()], code=2), "'local-zfs' (zfspool), where only the newest snapshot can be put back", "keep_former: false")
        result = self.deploy_steps(p, [restore(keep_former=False)])
        self.assert_says(result, "what guest 101 'web' has now is lost")
        self.assertEqual((p.guests[101]["data"], p.guests[101]["status"], len(named(p, 101))), ("data of web", "running", 1))
        self.deploy_steps(p, [snapshot()])
        second = self.last_id()
        self.assert_says(self.deploy_steps(p, [restore(snapshot=first, keep_former=False)], code=2), f"'davit_{first}_0' is older than davit_{second}_0")
        result = self.deploy_steps(p, [restore(keep_former=False), GATE_THAT_FAILS], code=4)
        self.assert_says(result, "guest 101 'web' was put back, and what it replaced was not kept")

    def test_a_rollback_with_data_puts_guests_back_and_is_rolled_back_itself(self):
        p = self.server()
        self.deploy_steps(p, [snapshot()])
        self.change(p)
        deployed = self.last_id()
        self.assert_says(self.davit("rollback", deployed, "--data", "--plan", *TOKEN), f"put guest 101 'web' back to the snapshot of {deployed}")
        self.davit("rollback", deployed, "--data", *TOKEN)
        self.assertEqual((p.guests[101]["data"], p.guests[101]["status"]), ("data of web", "running"))
        self.davit("rollback", self.last_id(), "--data", *TOKEN)
        self.assertEqual((p.guests[101]["data"], p.guests[101]["status"]), ("written since", "running"))

    def test_a_rollback_without_data_leaves_guests_alone(self):
        p = self.server()
        self.deploy_steps(p, [snapshot()])
        self.change(p)
        self.davit("rollback", self.last_id(), *TOKEN, code=2)
        self.assertEqual((p.guests[101]["data"], p.asked("POST", WENT_BACK)), ("written since", 0))


class TakenBack(SnapshotCase):
    def test_a_snapshot_goes_with_its_deployment(self):
        p = self.server()
        self.deploy_steps(p, [snapshot(), GATE_THAT_FAILS], code=1)
        self.assertEqual((named(p, 101), p.asked("POST", WENT_BACK), p.guests[101]["status"]), ([], 0, "running"))
        self.assert_says(self.deploy_steps(p, [restore()], code=2), "no record of this deployment")

    def test_guests_go_back_where_it_is_asked_for(self):
        p = self.server()
        p.add_guest(102, "idle", running=False)
        write = {"apply": {"target": "cloud", "resources": [lxc(memory=2048)]}, "id": "guests"}
        p.fault("PUT /nodes/{node}/lxc/{vmid}/config", "lost")
        self.deploy_steps(p, [snapshot("web", "idle", restore_on_rollback=True), write, GATE_THAT_FAILS], code=1)
        for vmid, status in ((101, "running"), (102, "stopped")):
            self.assertEqual((p.guests[vmid]["rolled_back"], p.guests[vmid]["status"], named(p, vmid), p.guests[vmid]["config"]["memory"]), (1, status, [], 512))


    def test_a_disk_that_grew_goes_back_with_the_snapshot_and_a_second_rollback_says_so(self):
        p = self.server()
        grow = {"apply": {"target": "cloud", "resources": [lxc(disk="9G")]}, "id": "guests"}
        self.assert_says(self.deploy_steps(p, [snapshot(restore_on_rollback=True), grow, GATE_THAT_FAILS], code=4), "a disk cannot shrink")
        self.assertEqual((p.guests[101]["config"]["rootfs"], named(p, 101)), ("local-lvm:vm-101-disk-0,size=8G", []))
        self.davit("rollback", self.last_id())


class BeforeApply(SnapshotCase):
    """`snapshot: before` of apply."""

    def before(self, p, *resources, more=(), code=0, args=(), **step):
        return self.apply(p, *(resources or [lxc(memory=1024)]), more=more, code=code, args=args, step={"snapshot": "before", **step})

    def test_what_is_changed_is_kept_first_and_nothing_else(self):
        p = self.server()
        p.add_guest(102, "same")
        self.before(p, lxc("same", 102), lxc())
        self.assertEqual((named(p, 101), named(p, 102)), ([], []))
        wanted = [lxc("same", 102), lxc(memory=1024), lxc("new", 103)]
        plan = self.before(p, *wanted, args=["--plan"])
        self.assert_says(plan, "snapshot of the running guest 101 'web'")
        self.before(p, *wanted, args=["--expect", re.search(r"[0-9a-f]{64}", plan.out).group()])
        self.assertEqual((named(p, 101), named(p, 102), named(p, 103)), ([f"davit_{self.last_id()}_0"], [], []))
        self.assertEqual(p.guests[101]["snapshots"][named(p, 101)[0]]["config"]["memory"], 512)
        self.assert_says(self.before(p, *wanted), "nothing to change")
        self.assertEqual(len(named(p, 101)), 1)

    def test_none_is_changed_before_all_are_kept(self):
        p = self.server()
        p.add_guest(102, "db")
        p.fault(TAKE, "fails", 2)
        self.before(p, lxc(memory=1024), lxc("db", 102, memory=1024), code=1)
        self.assertEqual((p.asked("PUT", ".*/config"), named(p, 101), named(p, 102)), (0, [], []))

    def test_it_goes_with_a_deployment_that_fails_and_the_disk_goes_back_where_that_is_asked_for(self):
        for restores, data in ((False, "written since"), (True, "data of web")):
            with self.subTest(restores=restores):
                p = self.server()
                real = p.handle

                def handle(handler, method, path, *rest):
                    if method == "PUT" and path.endswith("/config"):
                        p.guests[101]["data"] = "written since"
                    return real(handler, method, path, *rest)
                p.handle = handle
                self.before(p, more=[GATE_THAT_FAILS], code=1, restore_on_rollback=restores)
                self.assertEqual((p.guests[101]["data"], p.guests[101]["config"]["memory"], named(p, 101), p.guests[101]["status"]), (data, 512, [], "running"))

    def test_as_many_stay_as_are_asked_for(self):
        p = self.server()
        for memory in (600, 700, 800, 900):
            self.before(p, lxc(memory=memory), keep_snapshots=2)
        ids = self.ids()
        self.assertEqual(named(p, 101), [f"davit_{ids[1]}_0", f"davit_{ids[0]}_0"])

    def test_a_rollback_with_data_and_a_restore_find_it_by_its_record(self):
        p = self.server()
        self.before(p)
        deployed = self.last_id()
        p.guests[101]["data"] = "written since"
        self.assert_says(self.davit("rollback", deployed, "--data", "--plan", *TOKEN), f"put guest 101 'web' back to the snapshot of {deployed}", "cloud:lxc:web (apply)")
        self.davit("rollback", deployed, "--data", *TOKEN)
        self.assertEqual((p.guests[101]["data"], p.guests[101]["config"]["memory"]), ("data of web", 512))
        self.davit("rollback", self.last_id(), "--data", *TOKEN)
        self.assertEqual((p.guests[101]["data"], p.guests[101]["config"]["memory"]), ("written since", 1024))
        self.deploy_steps(p, [restore(snapshot=deployed)])
        self.assertEqual((p.guests[101]["data"], p.guests[101]["config"]["memory"]), ("data of web", 512))

    def test_a_rollback_without_data_leaves_guests_alone(self):
        p = self.server()
        self.before(p)
        self.davit("rollback", self.last_id(), *TOKEN, code=2)
        self.assertEqual(p.asked("POST", WENT_BACK), 0)

    def test_one_that_goes_is_kept_by_nothing_and_the_plan_says_so(self):
        p = self.server()
        self.before(p, lxc())
        plan = self.before(p, lxc("new", 103), args=["--plan"], allow_destroy=["lxc:web=101"])
        self.assert_says(plan, "`snapshot: before` keeps nothing of 'lxc:web', which is destroyed: its snapshots go with it, so that only a backup does")

    def test_one_that_cannot_be_kept_is_not_changed(self):
        p = self.server()
        p.guests[101]["config"]["rootfs"] = "local:101/vm-101-disk-0.raw,size=8G"
        self.assert_says(self.before(p, lxc(memory=1024, ignore_changes=["storage"]), code=2), "cannot have snapshots", "snapshot: before")
        self.assertEqual(p.tasks, [])

    def test_a_killed_process_is_recovered(self):
        p = self.server()
        p.hold("vzsnapshot")
        process = self.begin_steps(p, [{"apply": {"target": "cloud", "snapshot": "before", "restore_on_rollback": True, "resources": [lxc(memory=1024)]}, "id": "guests"}])
        p.wait_for(lambda: p.asked("GET", ".*/tasks/.*/status") > 0)
        self.kill(process)
        p.let_go()
        self.recover()
        self.assertEqual((p.guests[101]["snapshots"], p.guests[101]["config"]["memory"], p.asked("POST", TAKEN)), ({}, 512, 1))


class Faults(SnapshotCase):
    def test_a_lost_reply_is_looked_into_and_nothing_is_asked_for_twice(self):
        p = self.server()
        for how in ("lost", "strange"):
            p.fault(TAKE, how)
            self.deploy_steps(p, [snapshot()])
        self.assertEqual((len(named(p, 101)), p.asked("POST", TAKEN)), (2, 2))
        p.fault(BACK, "lost")
        self.deploy_steps(p, [restore()])
        self.assertEqual((p.guests[101]["rolled_back"], p.guests[101]["status"]), (1, "running"))
        p.fault(BACK, "lost")
        self.deploy_steps(p, [snapshot(restore_on_rollback=True), GATE_THAT_FAILS], code=1)
        self.assertEqual((p.guests[101]["rolled_back"], p.guests[101]["status"]), (2, "running"))

    def test_a_request_that_never_came_is_made_again(self):
        p = self.server()
        p.fault(TAKE, "away")
        p.fault(TAKE, "500")
        self.deploy_steps(p, [snapshot()])
        self.assertEqual((len(named(p, 101)), len([t for t in p.tasks if t["type"] == "vzsnapshot"])), (1, 1))

    def test_a_task_that_fails_is_told_with_its_log_and_all_is_taken_back(self):
        p = self.server()
        p.add_guest(102, "db")
        p.fault(TAKE, "fails")
        result = self.deploy_steps(p, [snapshot("web", "db")], code=1)
        self.assert_says(result, "the task vzsnapshot of guest 101 failed: command 'lvcreate' failed: exit code 5", "TASK ERROR")
        self.assertEqual((named(p, 101), named(p, 102)), ([], []))

    def test_a_rollback_that_fails_leaves_what_is_there(self):
        p = self.server()
        self.deploy_steps(p, [snapshot()])
        p.guests[101]["data"] = "written since"
        before = named(p, 101)
        p.fault(BACK, "fails")
        self.assert_says(self.deploy_steps(p, [restore()], code=1), "the task vzrollback of guest 101 failed")
        self.assertEqual((p.guests[101]["data"], p.guests[101]["status"], named(p, 101)), ("written since", "running", before))

    def test_a_lock_that_comes_in_between_is_waited_for(self):
        p = self.server()
        p.hold("vzdump")
        p.tasks.append({"upid": "UPID:pve:000000AA:000000BB:65000000:vzdump:101:root@pam:", "type": "vzdump", "id": "101", "node": "pve", "user": "root@pam", "pid": 170,
                        "starttime": 0, "status": "running", "effect": lambda: None, "end": 0, "how": None, "log": [], "lock": "backup"})
        process = self.begin_steps(p, [snapshot()])
        p.wait_for(lambda: p.asked("GET", ".*/tasks/UPID:pve:000000AA.*") > 0)
        self.assertEqual(p.asked("POST", TAKEN), 0)
        p.let_go()
        out = process.communicate(timeout=60)[0].decode()
        self.assertEqual((process.returncode, len(named(p, 101))), (0, 1), out)

    def test_a_killed_process_is_recovered_by_following_the_same_task(self):
        p = self.server()
        p.hold("vzsnapshot")
        process = self.begin_steps(p, [snapshot(restore_on_rollback=True)])
        p.wait_for(lambda: p.asked("GET", ".*/tasks/.*/status") > 0)
        self.kill(process)
        self.assertEqual(p.guests[101]["lock"], "snapshot")
        p.let_go()
        self.recover()
        self.assertEqual((p.guests[101]["snapshots"], p.asked("POST", TAKEN), p.guests[101]["status"]), ({}, 1, "running"))

    def test_a_process_killed_before_it_knew_the_task_finds_it_again(self):
        p = self.server()
        p.hold("vzsnapshot")
        p.fault(TAKE, "lost")
        process = self.begin_steps(p, [snapshot()])
        p.wait_for(lambda: any(t["type"] == "vzsnapshot" for t in p.tasks))
        self.kill(process)
        p.let_go()
        self.recover()
        self.assertEqual((p.guests[101]["snapshots"], p.asked("POST", TAKEN)), ({}, 1))

    def test_a_process_killed_while_a_guest_goes_back_leaves_it_as_it_was(self):
        p = self.server()
        self.deploy_steps(p, [snapshot()])
        p.guests[101]["data"] = "written since"
        before = named(p, 101)
        p.hold("vzrollback")
        process = self.begin_steps(p, [restore()])
        p.wait_for(lambda: any(t["type"] == "vzrollback" for t in p.tasks))
        self.kill(process)
        p.let_go()
        self.recover()
        self.assertEqual((p.guests[101]["data"], p.guests[101]["status"], named(p, 101)), ("written since", "running", before))

    def test_what_a_task_that_died_left_is_removed_by_the_undo(self):
        p = self.server()
        p.hold("vzsnapshot")
        process = self.begin_steps(p, [snapshot()])
        p.wait_for(lambda: p.asked("GET", ".*/tasks/.*/status") > 0)
        self.kill(process)
        with p.lock:
            p.end_task(p.tasks[-1], "unexpected status")
        self.recover()
        self.assertEqual((p.guests[101]["snapshots"], p.asked("DELETE", REMOVED)), ({}, 1))


if __name__ == "__main__":
    main()
