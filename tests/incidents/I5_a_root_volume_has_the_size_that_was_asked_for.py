#!/usr/bin/env python3
"""I5: the disk had 10 GB because nobody asked for another size, and growing it needed a stop, another interface for each kind of volume, and a start. The size is asked
for; a block volume grows while the instance runs, or with it switched off where the service wants that; a local one is refused before anything is done; none ever
shrinks."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.lanes import Lanes  # noqa: E402
from harness.scaleway import GATE_THAT_FAILS, ScalewayCase, instance  # noqa: E402
from harness.trial import main  # noqa: E402
from servers.scaleway import PATCH_VOLUME  # noqa: E402

GB = 10 ** 9


class RootVolume(ScalewayCase):
    def made(self, **options):
        s = self.service()
        self.apply(s, instance(**options))
        del s.requests[:]
        return s

    def test_a_size_must_be_asked_for(self):
        s = self.service()
        nameless = instance()
        del nameless["scaleway_instance"]["root_size"]
        self.assert_says(self.apply(s, nameless, code=2), "'root_size' is missing")
        self.assertEqual(s.changed(), [])

    def test_a_block_volume_grows_while_the_instance_runs(self):
        s = self.made()
        self.assert_says(self.apply(s, instance(root_size=25), args=["--plan"]), "10 → 25", "an undo cannot shrink the volume")
        self.apply(s, instance(root_size=25))
        self.assertEqual((s.root("web")["size"], s.server("web")["state"], s.asked("POST", ".*/action")), (25 * GB, "running", 0))
        self.assert_says(self.apply(s, instance(root_size=25)), "nothing to change")

    def test_where_the_service_wants_it_off_it_is_switched_off_and_on_again(self):
        s = self.made()
        s.grows_only_when_off = True
        self.apply(s, instance(root_size=25))
        self.assertEqual((s.root("web")["size"], s.server("web")["state"], s.asked("POST", ".*/action")), (25 * GB, "running", 2))

    def test_a_process_killed_while_it_is_off_for_that_leaves_it_running(self):
        s = self.made()
        s.grows_only_when_off = True
        s.fault(PATCH_VOLUME, "busy")
        s.task_s = 1
        process = self.begin(s, instance(root_size=25))
        s.wait_for(lambda: s.server("web")["state"] == "stopping")
        self.kill(process)
        s.task_s = 0.05
        self.davit("recover")
        self.assertEqual((s.root("web")["size"], s.server("web")["state"]), (10 * GB, "running"))

    def test_a_growth_whose_reply_is_lost_is_asked_for_once(self):
        s = self.made()
        s.fault(PATCH_VOLUME, "lost")
        self.apply(s, instance(root_size=25))
        self.assertEqual((s.root("web")["size"], s.asked("PATCH", ".*block.*")), (25 * GB, 1))

    def test_a_local_volume_is_refused_before_anything_is_done(self):
        s = self.made(root_type="l_ssd")
        self.assert_says(self.apply(s, instance(root_type="l_ssd", root_size=15), code=2), "a local one (l_ssd), which never grows", "root_type: sbs_volume")
        self.assertEqual(s.changed(), [])

    def test_a_local_one_becomes_a_block_volume_only_by_another_instance(self):
        s = self.made(root_type="l_ssd")
        former = s.server("web")["id"]
        self.assert_says(self.apply(s, instance(root_size=10), code=2), "because of `root_type`", f"scaleway_instance:web={former}")
        self.apply(s, instance(root_size=25), allow=[f"scaleway_instance:web={former}"])
        self.assertEqual((s.root("web")["size"], s.local_volumes, len(s.servers)), (25 * GB, {}, 1))

    def test_none_ever_shrinks(self):
        s = self.made(root_size=20)
        self.assert_says(self.apply(s, instance(root_size=15), code=2), "has 20 GB, and a volume cannot shrink to 15 GB")
        self.assertEqual(s.changed(), [])

    def test_one_that_has_grown_is_told_when_all_else_is_taken_back(self):
        s = self.made(tags=["blue"])
        result = self.apply(s, instance(root_size=25, tags=["green"]), more=[GATE_THAT_FAILS], code=4)
        self.assert_says(result, "has 25 GB now and had 10: a volume cannot shrink")
        self.assertEqual((s.root("web")["size"], [t for t in s.server("web")["tags"] if not t.startswith("davit")]), (25 * GB, ["blue"]))


if __name__ == "__main__":
    main(Lanes(5))
