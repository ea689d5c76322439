#!/usr/bin/env python3
"""Real faults in real deployments: connections and machines that vanish, full disks, two at once, signals, a person in between.

Each case starts from version 1, deployed to two targets, and holds version 2 in its `run` step, where the fault strikes.
"""
import os
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from world import World, fast_sshd, json, kill, left_over, tree_digest, until, write  # noqa: E402

NEEDS_MOUNT = "mounting a small tmpfs needs root"


def can_mount():
    if os.geteuid() != 0:
        return False
    folder = "/tmp/davit-mount-%d" % os.getpid()
    os.mkdir(folder)
    try:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True, check=False).returncode:
            return False
        subprocess.run(["umount", folder], check=True)
        return True
    finally:
        os.rmdir(folder)


def vanish(path):
    """Removes a directory out of which a command that still runs may remove something itself."""
    while os.path.exists(path):
        shutil.rmtree(path, ignore_errors=True)


def says(path):
    """A command's number is whole once `path` is there."""
    return f"echo $$ > {path}.new; mv {path}.new {path}"


class Stage(World):
    """A world whose version 2 stops in the step `run` of the second target, for as long as the file `hold` exists."""

    def __init__(self, server):
        super().__init__(server)
        self.hold, self.begun = self.folder + "/hold", self.folder + "/begun"
        self.undo_hold, self.undo_begun = self.folder + "/undo-hold", self.folder + "/undo-begun"
        self.log = self.folder + "/deploy.log"
        self.mounts = []

    def close(self):
        for path in (self.hold, self.undo_hold):
            if os.path.exists(path):
                os.remove(path)
        for folder in self.mounts:
            subprocess.run(["umount", "-l", folder], check=False)
        super().close()

    def mount(self, folder, size):
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", folder], check=True)
        self.mounts.append(folder)

    def lay(self, version, gate="true", **more):
        """more: members of the deployment file."""
        shutil.rmtree(self.source, ignore_errors=True)
        for i in range(6):
            write(f"{self.source}/app/file{i}.txt", f"file {i} of {version}\n" * 50)
        write(f"{self.source}/app/VERSION", version + "\n")
        steps = []
        for name, root in self.roots.items():
            steps += [
                {"apply": {"target": name, "resources": [
                    {"file": {"path": root + "/app.conf", "content": f"version = {version}\n", "mode": "0640"}}]}},
                {"secret-write": {"target": name, "path": root + "/secrets.env", "values": {"PASSWORD": "hunter2 of " + version}}},
                {"archive-upload": {"target": name, "source": "app", "path": root + "/app", "keep": 3}},
            ]
        steps += [
            {"run": {"target": "beta", "script": f"test ! -e {self.hold} || {{ {says(self.begun)}; "
                                                 f"while test -e {self.hold}; do sleep 0.05; done; }}",
                     "undo": ["sh", "-c", f"test ! -e {self.undo_hold} || {{ {says(self.undo_begun)}; "
                                          f"while test -e {self.undo_hold}; do sleep 0.05; done; }}"]}},
            {"apply": {"target": "beta", "resources": [
                {"file": {"path": self.roots["beta"] + "/late.conf", "content": f"late {version}\n" * 2000, "mode": "0640"}}]}},
            {"archive-upload": {"target": "beta", "source": "app", "path": self.roots["beta"] + "/second", "keep": 3}},
            {"health-gate": {"deadline": "5s", "checks": [{"command": ["sh", "-c", gate], "target": "alpha"}]}},
        ]
        write(f"{self.source}/deploy.yml", json.dumps({
            "name": "crash", "environment": "test", "targets": {name: self.target(name) for name in self.roots},
            "steps": steps, **more}, indent=1))

    def first(self, **more):
        """Version 1 is there; version 2 is laid out."""
        for root in self.roots.values():
            os.makedirs(root, exist_ok=True)
        self.lay("v1")
        self.deploy()
        self.old = self.digests()
        self.lay("v2", **more)

    def digests(self):
        return {name: tree_digest(root) for name, root in self.roots.items()}

    def begin(self, *words, env=None):
        """Version 2 stands in its run step."""
        write(self.hold, "")
        with open(self.log, "w", encoding="utf-8") as log:
            process = self.start("deploy", "deploy.yml", "--secret", "KEY", *words, env=env, output=log)

        def held():
            if process.poll() is not None:
                raise AssertionError(f"it ended with {process.returncode} before its run step\n{self.said()}")
            return os.path.exists(self.begun)
        until("the run step holds", held)
        return process

    def said(self):
        with open(self.log, encoding="utf-8") as f:
            return f.read()

    def pid_of_command(self, path=None):
        with open(path or self.begun, encoding="ascii") as f:
            return int(f.read())

    def newest(self):
        return self.rows()[0]


class Faults(unittest.TestCase):
    def setUp(self):
        self.server = fast_sshd().start()
        self.addCleanup(self.server.close)
        self.world = Stage(self.server)
        self.addCleanup(self.world.close)

    def end(self, process, status, timeout=60):
        try:
            got = process.wait(timeout)
        except subprocess.TimeoutExpired:
            kill(process)
            self.fail(f"no end within {timeout} s\n{self.world.said()}")
        self.assertEqual(got, status, self.world.said())

    def old_is_whole(self, state="undone"):
        now = self.world.digests()
        for name, digest in self.world.old.items():
            self.assertEqual(now[name].splitlines(), digest.splitlines(), name)
        self.assertEqual([f for root in self.world.roots.values() for f in left_over(root)], [])
        self.assertEqual(self.world.newest()[1], state)
        self.assertTrue(self.world.decided())

    def new_is_whole(self):
        for root in self.world.roots.values():
            with open(root + "/app/current/VERSION", encoding="ascii") as f:
                self.assertEqual(f.read(), "v2\n")
            with open(root + "/app.conf", encoding="ascii") as f:
                self.assertEqual(f.read(), "version = v2\n")
        self.assertEqual([f for root in self.world.roots.values() for f in left_over(root)], [])
        self.assertEqual(self.world.newest()[1:], ("committed", 1))

    def is_held(self):
        self.assertEqual(self.world.newest()[1], "held", self.world.said())

    def gone(self, pid):
        until(f"the end of the remote process {pid}", lambda: not os.path.exists(f"/proc/{pid}"), 10)


class Connections(Faults):
    def test_a_server_that_vanishes_and_comes_back_is_undone_once_it_is_back(self):
        world = self.world
        world.first()
        process = world.begin()
        command = world.pid_of_command()
        self.server.stop()
        until("the undo begins", lambda: "taking back" in world.said() or process.poll() is not None)
        self.assertIsNone(process.poll(), "it tries until the server is back: " + world.said())
        self.server.start()
        self.end(process, 1)
        self.old_is_whole()
        self.gone(command)

    def test_a_server_that_stays_away_leaves_the_deployment_held_and_a_rollback_goes_on(self):
        world = self.world
        world.first(undo_deadline="1s")
        process = world.begin()
        self.server.stop()
        self.end(process, 4)
        self.is_held()
        self.assertIn("davit rollback " + world.newest()[0], world.said())
        self.server.start()
        os.remove(world.hold)
        world.davit("rollback", world.newest()[0], check=0)
        self.old_is_whole()

    def test_connections_that_die_while_the_server_lives_are_undone_at_once(self):
        world = self.world
        world.first()
        process = world.begin()
        command = world.pid_of_command()
        self.server.kill_sessions()
        self.end(process, 1)
        self.old_is_whole()
        self.gone(command)


class Disks(Faults):
    def setUp(self):
        if not can_mount():
            self.skipTest(NEEDS_MOUNT)
        super().setUp()

    def fill(self, folder):
        """Every byte; returns the file that holds them."""
        path = folder + "/.filler"
        with open(path, "wb", buffering=0) as f:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        f.write(b"x" * size)
                except OSError:
                    pass
        return path

    def test_a_target_without_space_is_undone_and_the_old_version_stays_whole(self):
        world = self.world
        world.mount(world.roots["beta"], "48m")
        world.first()
        process = world.begin()
        filler = self.fill(world.roots["beta"])
        os.remove(world.hold)
        status = process.wait(60)
        self.assertIn(status, (1, 4), world.said())
        self.assertIn("o space left", world.said())
        os.remove(filler)
        if status == 4:
            world.davit("rollback", world.newest()[0], check=0)
        self.old_is_whole()
        self.assertEqual(status, 1, world.said())

    def test_a_target_that_is_full_from_the_start_is_refused_before_the_first_change(self):
        world = self.world
        world.mount(world.roots["beta"], "48m")
        world.first()
        filler = self.fill(world.roots["beta"])
        p = world.deploy(check=None)
        os.remove(filler)
        self.assertEqual(p.returncode, 2, p.stdout + p.stderr)
        self.old_is_whole("refused")

    def test_a_full_disk_below_the_journal_does_not_keep_the_undo_from_being_recorded(self):
        world = self.world
        world.mount(world.state, "8m")
        world.first()
        process = world.begin()
        filler = self.fill(world.state)
        os.remove(world.hold)
        self.end(process, 1)
        self.assertIn("full", world.said())
        os.remove(filler)
        self.old_is_whole()

    def test_a_journal_that_cannot_be_written_before_the_first_change_refuses(self):
        world = self.world
        world.first()
        shutil.rmtree(world.state)
        world.mount(world.state, "16k")
        p = world.deploy(check=None)
        self.assertEqual(p.returncode, 2, p.stdout + p.stderr)
        self.assertIn(world.state, p.stdout + p.stderr)
        now = world.digests()
        self.assertEqual(now, world.old)


class TwoAtOnce(Faults):
    def names_the_first(self, second):
        first = next(id for id, state, _ in self.world.rows() if state == "open")
        said = second.stdout + second.stderr
        self.assertIn(first, said)
        self.assertIn(os.uname().nodename, said)
        self.assertIn("--wait", said)

    def test_the_second_is_told_who_is_at_it(self):
        world = self.world
        world.first()
        process = world.begin()
        second = world.deploy(check=5)
        self.names_the_first(second)
        os.remove(world.hold)
        self.end(process, 0)
        self.assertEqual([state for _, state, _ in world.rows() if state == "committed"], ["committed"] * 2)

    def test_the_second_from_another_machine_is_told_too(self):
        world = self.world
        world.first()
        process = world.begin()
        second = world.davit("deploy", "deploy.yml", "--secret", "KEY", state=world.folder + "/other-state", check=5)
        self.names_the_first(second)
        os.remove(world.hold)
        self.end(process, 0)
        self.new_is_whole()

    def test_with_wait_the_second_goes_on_once_the_first_has_ended(self):
        world = self.world
        world.first()
        process = world.begin()
        log = world.folder + "/second.log"
        with open(log, "w", encoding="utf-8") as output:
            second = world.start("deploy", "deploy.yml", "--secret", "KEY", "--wait", "60s", output=output)

        def waits():
            with open(log, encoding="utf-8") as f:
                return "wait" in f.read().lower()
        until("the second says that it waits", waits)
        self.assertIsNone(second.poll())
        os.remove(world.hold)
        self.end(process, 0)
        with open(log, encoding="utf-8") as f:
            self.assertEqual(second.wait(60), 0, f.read())
        self.new_is_whole()


class Signals(Faults):
    def cancelled_by(self, *numbers):
        world = self.world
        world.first()
        process = world.begin()
        command = world.pid_of_command()
        for number in numbers:
            process.send_signal(number)
        self.end(process, 130)
        self.old_is_whole()
        self.gone(command)

    def test_sigint_takes_everything_back(self):
        self.cancelled_by(signal.SIGINT)

    def test_sigterm_takes_everything_back(self):
        self.cancelled_by(signal.SIGTERM)

    def test_sigterm_after_sigint_stops_nothing(self):
        self.cancelled_by(signal.SIGINT, signal.SIGTERM)

    def test_a_second_sigint_stops_the_undo_and_a_rollback_finishes_it(self):
        world = self.world
        world.first()
        process = world.begin()
        write(world.undo_hold, "")
        process.send_signal(signal.SIGINT)
        until("the undo runs", lambda: os.path.exists(world.undo_begun))
        process.send_signal(signal.SIGINT)
        self.end(process, 4)
        self.is_held()
        self.assertIn("davit rollback " + world.newest()[0], world.said())
        os.remove(world.undo_hold)
        world.davit("rollback", world.newest()[0], check=0)
        self.old_is_whole()

    def test_a_cancel_undoes_also_where_a_failure_would_hold(self):
        world = self.world
        world.first(on_failure="hold")
        process = world.begin()
        process.send_signal(signal.SIGINT)
        self.end(process, 130)
        self.old_is_whole()


class Held(Faults):
    def hold(self):
        world = self.world
        world.first(on_failure="hold", gate="exit 3")
        p = world.deploy(check=4)
        self.assertEqual(world.newest()[1], "held", p.stdout + p.stderr)
        for root in world.roots.values():
            with open(root + "/app/current/VERSION", encoding="ascii") as f:
                self.assertEqual(f.read(), "v2\n", "nothing is undone")
        return world.newest()[0]

    def test_it_keeps_the_lock_until_a_person_accepts(self):
        world, held = self.world, self.hold()
        second = world.deploy(check=5)
        self.assertIn(held, second.stdout + second.stderr)
        self.assertEqual(world.davit("recover").returncode, 4, "a held one is a person's")
        world.davit("unlock", "crash.test", check=5)
        world.davit("unlock", "crash.test", "--accept", check=0)
        self.assertIn((held, "committed", 1), world.rows())
        for root in world.roots.values():
            self.assertEqual(left_over(root), [])
        world.lay("v2")
        world.deploy()

    def test_a_rollback_undoes_it(self):
        held = self.hold()
        self.world.davit("rollback", held, check=0)
        self.old_is_whole()

    def test_a_rollback_without_an_id_finds_the_only_held_one(self):
        self.hold()
        self.world.davit("rollback", check=0)
        self.old_is_whole()


class APersonInBetween(Faults):
    def conflict(self):
        world = self.world
        world.first()
        process = world.begin()
        write(world.roots["alpha"] + "/app.conf", "edited by hand\n", 0o640)
        process.send_signal(signal.SIGINT)
        self.end(process, 4)
        self.is_held()
        self.assertIn(world.roots["alpha"] + "/app.conf", world.said())
        with open(world.roots["alpha"] + "/app.conf", encoding="ascii") as f:
            self.assertEqual(f.read(), "edited by hand\n", "it is left alone")
        with open(world.roots["beta"] + "/app.conf", encoding="ascii") as f:
            self.assertEqual(f.read(), "version = v1\n", "the rest is undone")
        return world.newest()[0]

    def test_what_a_person_wrote_is_left_alone_and_named_until_forced(self):
        world, held = self.world, self.conflict()
        p = world.davit("rollback", held, check=4)
        self.assertIn(world.roots["alpha"] + "/app.conf", p.stdout + p.stderr)
        world.davit("rollback", held, "--force", check=0)
        self.old_is_whole()

    def test_what_a_person_put_back_is_no_conflict_any_more(self):
        world, held = self.world, self.conflict()
        write(world.roots["alpha"] + "/app.conf", "version = v1\n", 0o640)
        world.davit("rollback", held, check=0)
        self.old_is_whole()


class AfterADeath(Faults):
    def dead(self):
        """Killed in its run step, whose command goes on."""
        world = self.world
        world.first()
        process = world.begin()
        command = world.pid_of_command()
        kill(process)
        self.assertTrue(os.path.exists(f"/proc/{command}"))
        return command

    def test_the_next_deployment_takes_back_what_the_dead_one_left(self):
        world = self.world
        command = self.dead()
        dead = world.newest()[0]
        os.remove(world.begun)
        os.rename(world.hold, world.hold + ".not")
        world.deploy()
        self.gone(command)
        self.assertIn((dead, "undone", 1), world.rows())
        self.new_is_whole()

    def test_recovery_waits_for_a_target_that_is_away(self):
        world = self.world
        command = self.dead()
        self.server.stop()
        p = world.davit("recover", check=4)
        self.assertIn("connect", p.stdout + p.stderr)
        self.assertNotIn(world.newest()[1], ("undone", "committed"))
        self.server.start()
        world.davit("recover", check=0)
        self.old_is_whole()
        self.gone(command)

    def without_locks(self):
        for root in self.world.roots.values():
            vanish(root + "/base/open")

    def test_where_the_locks_are_gone_and_all_is_as_it_was_made_it_counts_as_committed(self):
        world = self.world
        self.dead()
        self.without_locks()
        p = world.davit("recover", check=0)
        self.assertIn("another machine finished it", p.stdout + p.stderr)
        self.assertNotIn("not undone", p.stdout + p.stderr)
        self.assertEqual(world.newest()[1:], ("committed", 1))

    def test_where_the_locks_are_gone_and_the_world_is_neither_version_a_person_decides(self):
        world = self.world
        self.dead()
        self.without_locks()
        write(world.roots["beta"] + "/app.conf", "version = v1\n", 0o640)
        p = world.davit("recover", check=4)
        self.assertEqual(world.newest()[1], "held", p.stdout + p.stderr)
        self.assertIn("not undone: alpha:" + world.roots["alpha"] + "/app.conf", p.stdout + p.stderr)
        world.davit("unlock", "crash.test", "--accept", check=0)
        self.assertTrue(world.decided())


class AnotherMachine(Faults):
    def takeover(self, after, check):
        return self.world.davit("recover", "deploy.yml", "--takeover", "--after", after, "--secret", "KEY",
                                state=self.world.folder + "/other-state", check=check)

    def test_without_consent_it_is_told_who_holds_the_lock(self):
        world = self.world
        world.first()
        process = world.begin()
        p = world.davit("recover", "deploy.yml", "--secret", "KEY", state=world.folder + "/other-state", check=5)
        self.assertIn(world.newest()[0], p.stdout + p.stderr)
        self.assertIn("--takeover", p.stdout + p.stderr)
        os.remove(world.hold)
        self.end(process, 0)

    def test_nothing_is_taken_over_from_the_living(self):
        world = self.world
        world.first()
        process = world.begin()
        p = self.takeover("25s", 5)
        self.assertIn("lives", p.stdout + p.stderr)
        os.remove(world.hold)
        self.end(process, 0)
        self.new_is_whole()

    def test_a_former_owner_who_wakes_up_changes_nothing(self):
        world = self.world
        world.first()
        process = world.begin()
        command = world.pid_of_command()
        process.send_signal(signal.SIGSTOP)
        self.takeover("2s", 0)
        now = world.digests()
        self.assertEqual(now, world.old)
        self.gone(command)
        os.remove(world.hold)
        process.send_signal(signal.SIGCONT)
        self.end(process, 4)
        self.assertEqual(world.digests(), world.old, world.said())
        self.assertEqual([f for root in world.roots.values() for f in left_over(root)], [])
        self.assertEqual(world.davit("recover").returncode, 0, "the journal of the former owner learns how it ended")
        self.old_is_whole()


if __name__ == "__main__":
    unittest.main(verbosity=2)
