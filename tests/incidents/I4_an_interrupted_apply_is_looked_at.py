#!/usr/bin/env python3
"""I4: state had to be repaired by hand after an interrupted apply."""
import contextlib
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.begun import Begun  # noqa: E402
from harness.terraform import PROGRAM, Infra, backend, waits  # noqa: E402
from harness.trial import Case, Trial, main  # noqa: E402
from harness.waiting import until  # noqa: E402
from servers.sshd import Sshd  # noqa: E402
from servers.terraform_state import StateServer  # noqa: E402


@unittest.skipUnless(PROGRAM, "this machine has no terraform")
class InterruptedApply(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        self.server = self.enterContext(StateServer())
        self.infra = Infra(self.t, waits(self.t.target_dir) + backend(self.server))

    def tearDown(self):
        self.infra.kill()
        self.assertEqual(self.server.broken, [])

    def begin(self, **step):
        begun = self.enterContext(Begun(self.t, self.infra.document(**step)))
        until(lambda: os.path.exists(self.t.path("begun")), "the change")
        work = os.path.join(self.t.base, "open", "shop.test", "terraform-0", "lock")
        until(lambda: os.path.exists(work), "the look at the lock")
        return begun

    def holder(self):
        return self.server.lock and self.server.lock["Operation"]

    def test_a_cancel_is_handed_over_and_what_was_done_is_in_the_state(self):
        begun = self.begin()
        begun.signal(signal.SIGINT)
        result = begun.end()
        self.assert_exit(result, 4)
        self.assert_says(result, "Interrupt received", "it began to change 2 resources and ended 1 (", "terraform_data.slow")
        self.assertEqual((self.server.lock, self.server.forced), (None, []))
        # It is in the state, tainted: nothing has to be repaired.
        self.assertEqual(self.server.resources(), ["terraform_data.first", "terraform_data.slow"])
        self.assertFalse(os.path.exists(self.t.path("made")))

    def test_terraform_whose_davit_dies_goes_on_to_its_end_and_a_recovery_waits_for_it(self):
        begun = self.begin()
        begun.kill()
        self.assertEqual(self.holder(), "OperationTypeApply")
        self.t.write("go", b"")
        result = self.t.run("recover")
        self.assert_exit(result, 4)
        self.assert_says(result, "it began to change 3 resources and ended 3 (")
        self.assert_silent(result, "and died at it", "ended with status")
        self.assertEqual((self.server.lock, self.server.forced), (None, []))
        self.assertEqual(self.server.resources(), ["terraform_data.first", "terraform_data.last", "terraform_data.slow"])
        self.assert_exit(self.t.run("unlock", "shop.test", "--accept"), 0)
        again = self.infra.deploy()
        self.assert_exit(again, 0)
        self.assert_says(again, "nothing to change")

    def kill_all(self, begun):
        begun.kill()
        self.infra.kill()

    def test_the_lock_of_a_terraform_that_died_is_released_and_the_world_is_asked_how_far_it_came(self):
        begun = self.begin()
        own = self.server.lock["ID"]
        self.kill_all(begun)
        result = self.t.run("recover")
        self.assert_exit(result, 4)
        self.assert_says(result, f"the state's lock {own} was of the terraform that died here, and is released", "and died at it",
                         "a new plan still has")
        self.assertEqual((self.server.lock, self.server.forced), (None, [own]))

    def test_a_cancel_is_handed_over_to_a_host_behind_ssh(self):
        server = self.enterContext(Sshd())
        document = self.infra.document()
        document["targets"] = {"web": server.target()}
        document["steps"][0]["terraform"]["directory"] = self.infra.dir
        begun = self.enterContext(Begun(self.t, document))
        until(lambda: os.path.exists(self.t.path("begun")), "the change")
        until(lambda: os.path.exists(os.path.join(self.t.base, "open", "shop.test", "terraform-0", "lock")), "the look at the lock")
        begun.signal(signal.SIGINT)
        result = begun.end()
        self.assert_exit(result, 4)
        # Whether its line about the interrupt comes before its end is up to terraform.
        self.assert_says(result, "cancelled", "terraform has no undo", "ended with status 1")
        self.assertEqual((self.server.lock, self.server.forced), (None, []))

    def test_one_that_does_not_end_in_its_time_is_ended_and_its_lock_released(self):
        begun = self.begin(grace="2s")
        own = self.server.lock["ID"]
        for pid in self.infra.processes():
            with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/cmdline", "rb") as f:  # a short one may have ended
                if b"apply\0" in f.read():
                    os.kill(pid, signal.SIGSTOP)  # it hears nothing any more
        begun.signal(signal.SIGINT)
        result = begun.end()
        self.assert_exit(result, 4)
        self.assert_says(result, "and died at it", f"the state's lock {own} was of the terraform that died here, and is released")
        self.assertEqual((self.server.lock, self.server.forced, self.infra.processes()), (None, [own], []))
        plans = [path for path, data in self.t.files_of(self.t.base) if os.path.basename(path) == "plan"]
        self.assertEqual(plans, [])

    def test_a_lock_that_somebody_else_has_taken_meanwhile_stays(self):
        begun = self.begin()
        self.kill_all(begun)
        other = {**self.server.lock, "ID": "5f0c7f5e-0000-4000-8000-000000000002"}
        self.server.lock = other
        result = self.t.run("recover")
        self.assert_exit(result, 4)
        self.assert_says(result, f"the state is locked by {other['ID']}, which is not known to be of this deployment: it stays")
        self.assertEqual((self.server.lock, self.server.forced), (other, []))


if __name__ == "__main__":
    main()
