#!/usr/bin/env python3
"""A real deployment to two real SSH targets, killed with SIGKILL, recovered, and looked at.

    crash.py records             kill after every journal record (needs a build with DAVIT_TEST_HOOKS)
    crash.py records --only archive-upload   the same to a deployment of such steps only
    crash.py rollback            the same to a rollback behind a committed deployment; --to: to the release before it, by its name
    crash.py random --times N    kill at N random moments; $DAVIT_RELEASE names a release build to do it to, else it is $DAVIT_BUILD
    crash.py … --seed S          the same moments again

Each try ends the way that its number says: half of them by the agent's own start, a quarter by `davit recover`, a quarter from the
targets alone, with another state folder that knows nothing. Every third time a recovery was killed before. The old or the new version must be whole on both targets, by a digest
of the whole tree; nothing of davit's is left but releases, their manifests and snapshots; the journal says the same; and a second
recovery finds nothing to do.
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time

if "random" in sys.argv[1:] and os.environ.get("DAVIT_RELEASE"):
    os.environ["DAVIT_BUILD"] = os.environ["DAVIT_RELEASE"]
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from world import Failure, World, fast_sshd, judge, kill, tree_digest  # noqa: E402

LAST = 8      # the records around the commit, which every stride strikes
WAYS = ("agent", "recover", "agent", "targets alone")


def recover(world, way, what):
    if way == "agent":
        try:
            world.run_agent_until_decided()
        except AssertionError as failure:
            raise Failure(f"{what}: {failure}") from None
    else:
        words = ["recover"]
        if way == "targets alone":
            shutil.rmtree(world.state, ignore_errors=True)
            words += ["deploy.yml", "--takeover", "--after", "1s", "--secret", "KEY"]
        p = world.davit(*words)
        if p.returncode != 0:
            raise Failure(f"{what}: recover exits {p.returncode}\n{p.stdout}{p.stderr}")
    again = world.davit("recover")
    if again.returncode != 0 or "undone" in again.stdout + again.stderr:
        raise Failure(f"{what}: a second recover exits {again.returncode}\n{again.stdout}{again.stderr}")


def history_is_true(world, way, which, what, committed=1):
    """The newest deployment is the one that was killed, unless it died before it was recorded. committed: so many were before it."""
    rows = world.rows()
    states = [state for _, state, _ in rows]
    if not world.decided():
        raise Failure(f"{what}: not decided: {rows}")
    if way == "targets alone":
        wrong = states and states[0] not in ({"new": ("committed",), "old": ("undone",)}[which])
    else:
        wrong = states.count("committed") != committed + {"new": 1, "old": 0}[which]
    if wrong:
        raise Failure(f"{what}: the {which} version is there, and the journal says {rows}")


def next_one_works(world, which, new, what):
    """The lock is free, and a deployment of the same files ends where the killed one was to end."""
    world.deploy()
    now = {name: tree_digest(root) for name, root in world.roots.items()}
    if which == "old" and now != new:
        raise Failure(f"{what}: the deployment after it is not whole:\n{now}")


def prepare(world):
    """Digests of the two whole versions, and a saved world with version 1."""
    world.reset()
    world.enroll()
    world.save("v1")
    old = {name: tree_digest(root) for name, root in world.roots.items()}
    world.lay_source("v2")
    world.deploy()
    new = {name: tree_digest(root) for name, root in world.roots.items()}
    if old == new:
        raise Failure("the two versions do not differ")
    report = json.loads(world.davit("show", "last", "--json", check=0).stdout)
    if len(report["changes"]) < 12 and not world.only:
        raise Failure(f"only {len(report['changes'])} changes")
    world.load("v1")
    return old, new


def settle(world, old, new, number, what, kill_recovery, committed=1):
    way = WAYS[number % len(WAYS)]
    if number % 3 == 2:
        kill_recovery()
        what += " and a killed recovery"
    what += f" (by {way})"
    recover(world, way, what)
    which = judge(world, old, new, what)
    history_is_true(world, way, which, what, committed)
    if committed == 1 and number % 10 == 0:
        next_one_works(world, which, new, what)
    return which


def count_records(world, words):
    counter = os.path.join(world.folder, "records")
    world.davit(*words, env={"DAVIT_TEST_RECORDS": counter}, check=0)
    records = os.path.getsize(counter) if os.path.exists(counter) else 0
    if records < 12:
        raise Failure(f"only {records} records: is this a build with DAVIT_TEST_HOOKS?")
    return records


def kill_at_each(world, args, words, saved, old, new, committed):
    """The command dies after each of its records in turn; each time the world begins as it was saved."""
    seen = {"old": 0, "new": 0}
    world.load(saved)
    records = count_records(world, words)
    chosen = [n for n in range(args.first, records + 1) if (n + args.seed) % args.stride == 0 or n > records - min(LAST, args.last)]
    for number, at in enumerate(chosen):
        world.load(saved)
        p = world.davit(*words, env={"DAVIT_TEST_KILL_AT": str(at)})
        if p.returncode not in (-9, 137):
            raise Failure(f"record {at}: not killed, exit {p.returncode}\n{p.stdout}{p.stderr}")

        def kill_recovery(after=1 + at % 23):
            world.davit("recover", env={"DAVIT_TEST_KILL_AT": str(after)})
        seen[settle(world, old, new, number, f"record {at}", kill_recovery, committed)] += 1
    print(f"{records} journal records, killed after {sum(seen.values())} of them: {seen['old']} old, {seen['new']} new")
    if seen["old"] == 0 or seen["new"] == 0:
        raise Failure("both outcomes should have been seen")


def at_every_record(world, args):
    old, new = prepare(world)
    kill_at_each(world, args, ("deploy", "deploy.yml", "--secret", "KEY"), "v1", old, new, 1)


def at_every_record_of_a_rollback(world, args):
    """Old is the version that is gone back behind, new the one before it: the releases and what is restarted on them."""
    prepare(world)
    former = world.rows()[0][0]
    world.lay_source("v2")
    world.deploy()
    world.save("v2")
    old = {name: tree_digest(root) for name, root in world.roots.items()}
    words = ("rollback", *(("--to", former) if args.to else (world.rows()[0][0],)), "--secret", "KEY")
    world.davit(*words, check=0)
    new = {name: tree_digest(root) for name, root in world.roots.items()}
    running = {name: open(os.path.join(root, "running"), encoding="ascii").read() for name, root in world.roots.items()}
    if set(running.values()) != {"v1\n"}:
        raise Failure(f"the rollback did not restart what was there before: {running}")
    kill_at_each(world, args, words, "v2", old, new, 2)


def at_random(world, args):
    old, new = prepare(world)
    started = time.monotonic()
    world.davit("deploy", "deploy.yml", "--secret", "KEY", check=0)
    whole = time.monotonic() - started
    seen = {"old": 0, "new": 0, "ended": 0}
    dice = random.Random(args.seed)
    for i in range(args.times):
        world.load("v1")
        moment = dice.uniform(0, whole * 1.05)
        process = world.start("deploy", "deploy.yml", "--secret", "KEY")
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            pass
        ended = process.poll() is not None
        kill(process)

        def kill_recovery(after=dice.uniform(0, whole * 0.6)):
            recovery = world.start("recover")
            try:
                recovery.wait(after)
            except subprocess.TimeoutExpired:
                pass
            kill(recovery)
        which = settle(world, old, new, i if not ended else 1, f"kill {i} after {moment:.3f} s (seed {args.seed})", kill_recovery)
        seen["ended" if ended else which] += 1
    print(f"{args.times} kills within {whole:.2f} s: {seen['old']} old, {seen['new']} new, {seen['ended']} had ended")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("records", "rollback", "random"))
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stride", type=int, default=1, help="only every n-th record")
    parser.add_argument("--first", type=int, default=1, help="from this record on")
    parser.add_argument("--last", type=int, default=LAST, help="and so many of the last records, whatever the stride")
    parser.add_argument("--to", action="store_true", help="a rollback names the release")
    parser.add_argument("--only", metavar="STEP", help="the deployment has no other steps")
    parser.add_argument("--keep", action="store_true", help="the world stays where it failed")
    args = parser.parse_args()
    with fast_sshd() as server:
        world = World(server)
        world.only = args.only
        failed = True
        try:
            {"records": at_every_record, "rollback": at_every_record_of_a_rollback, "random": at_random}[args.what](world, args)
            failed = False
        except Failure as failure:
            print(f"FAILED: {failure}", file=sys.stderr)
            return 1
        finally:
            if failed and args.keep:
                print(f"kept: {world.folder}", file=sys.stderr)
            else:
                world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
