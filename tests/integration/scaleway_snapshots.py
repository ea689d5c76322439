#!/usr/bin/env python3
"""Snapshots of Scaleway's volumes: taken, kept, put back, taken back; and every way in which the service may fail in between."""
import json
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.lanes import Lanes  # noqa: E402
from harness.own import own_address  # noqa: E402
from harness.scaleway import GATE_THAT_FAILS, ScalewayCase, instance, volume  # noqa: E402
from harness.trial import main  # noqa: E402
from servers import scaleway_objects  # noqa: E402
from servers.scaleway import ACTION, CREATE_VOLUME  # noqa: E402

TAKE = "POST /block/v1/zones/{zone}/snapshots"
SWAP = "PATCH /instance/v1/zones/{zone}/servers/{server_id}"
WRITES = {"run": {"target": "here", "command": "true"}}


def snapshot(**more):
    return {"snapshot": {"target": "cloud", "scaleway": {"volumes": ["data"], "instances": ["web"], **more}}}


def restore(identity=None, **more):
    return {"restore": {"target": "cloud", "scaleway": {"volumes": ["data"], "instances": ["web"], **more}, **({"from": {"snapshot": identity}} if identity else {})}}


class SnapshotCase(ScalewayCase):
    def service(self, **options):
        """With an instance that has a volume beside its root volume."""
        s = super().service(**options)
        self.apply(s, volume("data", tags=["keep"]), instance(volumes=["data"]))
        self.write_data(s, "old")
        return s

    def write_data(self, s, word):
        for one in s.volumes.values():
            s.data[one["id"]] = word

    def data(self, s):
        """Of the root volume, and of the other: what is attached."""
        return [s.data[v["id"]] for _, v in sorted(s.server("web")["volumes"].items())]

    def ids(self):
        """Newest first."""
        return [d["id"] for d in json.loads(self.davit("history", "--json").out)]

    def assert_whole(self, s, *data):
        self.assertEqual((self.data(s), s.server("web")["state"], len(s.volumes)), (list(data), "running", 2))
        self.assertEqual([t for t in s.volume("data")["tags"] if not t.startswith("davit")], ["keep"])


class Kept(SnapshotCase):
    def test_each_volume_has_one_that_names_its_deployment(self):
        s = self.service()
        self.assert_says(self.steps(s, [snapshot()], args=["--plan"]), "snapshot of the volume 'data', 20 GB, while its instance runs", "snapshot of the root volume of 'web'")
        self.assertEqual(s.snapshots, {})
        self.steps(s, [snapshot()])
        self.assertEqual([(x["name"], x["status"]) for x in s.snapshots.values()], [(f"davit_{self.ids()[0]}_0", "available")] * 2)
        self.assertEqual({x["parent_volume"]["id"] for x in s.snapshots.values()}, {s.volume("data")["id"], s.root("web")["id"]})

    def test_the_plan_that_was_shown_is_the_plan_that_runs(self):
        s = self.service()
        steps = [snapshot(), {"apply": {"target": "cloud", "resources": [volume("data", tags=["keep"]), instance(volumes=["data"]), instance("db")]}, "id": "cloud"}]
        digest = re.search(r"[0-9a-f]{64}", self.steps(s, steps, args=["--plan"]).out).group()
        self.steps(s, steps, args=["--expect", digest])
        self.assertEqual(s.server("db")["state"], "running")

    def test_the_oldest_go_and_nothing_that_somebody_else_took(self):
        s = self.service()
        scaleway_objects.create_snapshot(s, {}, {}, {"volume_id": s.volume("data")["id"], "name": "davit_20200101T000000-abcdef_0", "project_id": s.project, "tags": ["davit=x"]})
        for _ in range(3):
            self.steps(s, [snapshot(keep=2)])
        ids = self.ids()
        self.assertEqual(sorted(x["name"] for x in s.snapshots.values()), ["davit_20200101T000000-abcdef_0", *[f"davit_{i}_0" for i in (ids[1], ids[1], ids[0], ids[0])]])

    def test_what_cannot_be_kept_is_told_before_the_first_change(self):
        s = self.service()
        self.assert_says(self.steps(s, [WRITES, snapshot(volumes=["date"])], code=2), "has no volume 'date'", "when_none")
        self.assert_says(self.steps(s, [snapshot(volumes=["date"], when_none="skip", instances=[])]), "nothing of it is kept")
        self.apply(s, volume("data", tags=["keep"]), instance(volumes=["data"]), instance("old", root_type="l_ssd"))
        self.assert_says(self.steps(s, [snapshot(instances=["old"])], code=2), "the root volume of 'old' is l_ssd, which cannot be kept like this")
        self.assert_says(self.steps(s, [snapshot(volumes=["data", "data"])], code=2), "the volume 'data' is named twice")

    def test_one_whose_reply_is_lost_is_taken_once(self):
        s = self.service()
        s.fault(TAKE, "lost")
        s.fault(TAKE, "late")
        self.steps(s, [snapshot()])
        self.assertEqual((len(s.snapshots), s.asked("POST", ".*/snapshots")), (2, 2))

    def test_one_that_comes_to_nothing_is_taken_once_more(self):
        s = self.service()
        s.fault(TAKE, "fails")
        self.steps(s, [snapshot(instances=[])])
        self.assertEqual([x["status"] for x in s.snapshots.values()], ["available"])
        s.fault(TAKE, "fails", 2)
        self.assert_says(self.steps(s, [snapshot(instances=[])], code=1), "the snapshot of volume:data came to nothing, twice")
        self.assertEqual([x["status"] for x in s.snapshots.values()], ["available"])


class BeforeApply(SnapshotCase):
    def before(self, s, code=0, more=(), **step):
        wanted = [volume("data", tags=["keep"], iops=15000), instance(volumes=["data"])]
        return self.steps(s, [{"apply": {"target": "cloud", "snapshot": "before", "resources": wanted, **step}, "id": "cloud"}, *more], code=code)

    def test_a_volume_that_is_changed_is_kept_first_and_put_back_where_that_is_asked_for(self):
        s = self.service()
        self.before(s, code=1, more=[GATE_THAT_FAILS], restore_on_rollback=True)
        self.assertEqual((s.snapshots, s.volume("data")["specs"]["perf_iops"]), ({}, 5000))
        self.assert_whole(s, "old", "old")
        self.before(s)
        self.assertEqual(([x["parent_volume"]["id"] for x in s.snapshots.values()], s.volume("data")["specs"]["perf_iops"]), ([s.volume("data")["id"]], 15000))
        self.write_data(s, "new")
        self.davit("rollback", self.ids()[0], "--data", "--secret", "SCW_TOKEN")
        self.assertEqual(self.data(s), ["new", "old"])


    def test_one_that_goes_is_kept_by_a_step_in_front_alone_and_the_plan_says_so(self):
        s = self.service()
        key = f"scaleway_volume:data={s.volume('data')['id']}"
        apply = {"apply": {"target": "cloud", "snapshot": "before", "resources": [instance()], "allow_destroy": [key]}, "id": "cloud"}
        self.assert_says(self.steps(s, [apply], args=["--plan"]), "`snapshot: before` keeps nothing of 'scaleway_volume:data', which is destroyed", "a `snapshot` step before this one does")


class PutBack(SnapshotCase):
    def write_and_fail(self, s):
        """Between the snapshot and the gate something is written."""
        real = s.handle

        def handle(handler, path, *rest):
            result = real(handler, path, *rest)
            if path.endswith("/snapshots") and handler.command == "POST":
                s.later(lambda: self.write_data(s, "new") if len(s.snapshots) == 2 else None, 0.02)
            return result
        s.handle = handle

    def test_a_deployment_that_fails_puts_them_back_with_the_power_that_it_had(self):
        s = self.service()
        self.write_and_fail(s)
        former = s.volume("data")["id"]
        self.steps(s, [snapshot(restore_on_rollback=True), GATE_THAT_FAILS], code=1)
        self.assert_whole(s, "old", "old")
        self.assertNotEqual(s.volume("data")["id"], former)
        self.assertEqual(s.snapshots, {})
        self.assert_says(self.apply(s, volume("data", tags=["keep"]), instance(volumes=["data"]), args=["--plan"]), "already as wanted; its recorded state changes")

    def test_what_a_deployment_kept_is_put_back_by_its_records_only(self):
        s = self.service()
        self.steps(s, [snapshot()])
        kept = self.ids()[0]
        self.write_data(s, "new")
        plan = self.steps(s, [restore(kept)], args=["--plan"])
        self.assert_says(plan, "a new volume takes the place of", "its instance is switched off for that, and on again")
        self.steps(s, [restore(kept)])
        self.assert_whole(s, "old", "old")
        self.assert_says(self.steps(s, [restore("20200101T000000-abcdef")], code=2), "nothing recorded here", "names a snapshot by 20200101T000000-abcdef")

    def test_a_restore_that_is_taken_back_leads_to_what_was_there(self):
        s = self.service()
        self.steps(s, [snapshot()])
        self.write_data(s, "new")
        self.steps(s, [restore(), GATE_THAT_FAILS], code=1)
        self.assert_whole(s, "new", "new")
        self.assertEqual(len(s.snapshots), 2)

    def test_a_rollback_with_data_goes_to_what_that_deployment_kept(self):
        s = self.service()
        self.steps(s, [snapshot()])
        kept = self.ids()[0]
        self.write_data(s, "new")
        self.davit("rollback", kept, "--data", "--file", "deploy.yml", "--secret", "SCW_TOKEN")
        self.assert_whole(s, "old", "old")

    def test_one_that_somebody_removed_is_refused(self):
        s = self.service()
        self.steps(s, [snapshot()])
        s.snapshots.popitem()
        self.assert_says(self.steps(s, [restore(self.ids()[0])], code=2), "has no whole snapshot")

    def test_a_volume_that_nothing_uses_is_put_back_too(self):
        s = self.service()
        self.apply(s, volume("data", tags=["keep"]), instance(volumes=[]))
        self.steps(s, [snapshot(instances=[])])
        self.write_data(s, "new")
        self.steps(s, [restore(instances=[])])
        self.assertEqual((s.data[s.volume("data")["id"]], s.asked("POST", ".*/action")), ("old", 1))

    def test_lost_replies_and_states_that_pass_are_looked_into(self):
        s = self.service()
        self.steps(s, [snapshot()])
        self.write_data(s, "new")
        for request in (CREATE_VOLUME, ACTION, SWAP):
            s.fault(request, "lost")
            s.fault(request, "busy" if request != CREATE_VOLUME else "away")
        self.steps(s, [restore()])
        self.assert_whole(s, "old", "old")

    def test_a_process_killed_while_the_instance_is_off_is_recovered_to_what_was_there(self):
        s = self.service()
        self.steps(s, [snapshot()])
        self.write_data(s, "new")
        s.task_s = 1
        process = self.begin_steps(s, [restore()])
        s.wait_for(lambda: s.server("web")["state"] == "stopping")
        self.kill(process)
        s.task_s = 0.05
        self.davit("recover")
        self.assert_whole(s, "new", "new")

    @unittest.skipUnless(own_address(), "this machine has no address")
    def test_the_machine_that_davit_runs_on_is_not_switched_off(self):
        s = self.service()
        self.steps(s, [snapshot()])
        s.server("web")["private_ip"] = own_address()
        self.assert_says(self.steps(s, [restore()], code=2), "is the machine that davit runs on")
        self.assert_says(self.steps(s, [snapshot(restore_on_rollback=True)], code=2), "is the machine that davit runs on")
        self.steps(s, [snapshot()])


if __name__ == "__main__":
    main(Lanes(8))
