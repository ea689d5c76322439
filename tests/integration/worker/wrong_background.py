#!/usr/bin/env python3
"""Messages whose background steps, waits and cancels are not as GitHub sends them: the worker ends each with a result, never by a signal, and in time.
Seeds in the ordinary run: 6; DAVIT_SEEDS=N, DAVIT_FIRST_SEED=N for more."""
import copy
import os
import random
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from servers.worker import House, Worker

SEEDS, FIRST = int(os.environ.get("DAVIT_SEEDS", "6")), int(os.environ.get("DAVIT_FIRST_SEED", "1"))
STEPS = """
    - {id: one, name: One, background: true, run: 'echo "v=1" >> "$GITHUB_OUTPUT"'}
    - {id: two, name: Two, background: true, run: sleep 600}
    - {name: Wait, wait: one}
    - parallel:
        - {id: left, run: echo left}
        - {id: right, run: exit 3, continue-on-error: true}
    - {name: Cancel, cancel: two}
    - {id: three, background: true, if: always(), run: echo three}
    - {name: All, wait-all: true}
    - {name: Last, if: always(), run: 'echo "${{ steps.one.outputs.v }} ${{ steps.three.outcome }}"'}
"""
ODD = [None, True, False, 0, -1, 1 << 70, 1.5, "", "one", "two", "__wait", "\0", "\x1b[2J", "a" * 70000, "${{ steps }}", "${{ broken", [], ["one"], ["one", "one", 3, None],
       ["none"], {}, {"lit": "x"}, {"type": 3, "expr": "steps.one"}, [[[[]]]], "wait", "wait-all", "cancel", "WAIT", "wait-none"]
KEYS = ["background", "controlType", "stepIds", "contextName", "id", "name", "displayName", "displayNameToken", "condition", "reference", "type", "continueOnError",
        "timeoutInMinutes", "inputs", "environment", "enabled", "order"]


def spoil(r, steps):
    """One thing about the steps is not as it should be."""
    where = r.randrange(len(steps)) if steps else 0
    kind = r.choice(["set", "set", "set", "drop", "twice", "away", "order", "odd", "refer", "many"])
    if kind == "odd" or not steps:
        steps.insert(where, r.choice(ODD))
    elif kind == "twice":
        steps.insert(r.randrange(len(steps)), copy.deepcopy(steps[where]))
    elif kind == "away":
        del steps[where]
    elif kind == "order":
        r.shuffle(steps)
    elif kind == "many":
        steps.extend(copy.deepcopy(r.choice(steps)) for _ in range(r.randrange(40)))
    elif isinstance(steps[where], dict):
        step = steps[where]
        if kind == "set":
            step[r.choice(KEYS + list(step))] = copy.deepcopy(r.choice(ODD))
        elif kind == "drop" and step:
            del step[r.choice(list(step))]
        elif kind == "refer":
            step["stepIds"] = [s.get("contextName") for s in steps if isinstance(s, dict)] + [r.choice(ODD)]


class WrongBackground(unittest.TestCase):
    def test_no_message_ends_the_worker_by_a_signal_or_keeps_it(self):
        with House() as house:
            whole = house.take(STEPS).message
            said = set()
            for seed in range(FIRST, FIRST + SEEDS):
                r = random.Random(seed)
                message = copy.deepcopy(whole)
                for _ in range(r.randrange(1, 5)):
                    spoil(r, message["steps"])
                worker = Worker(message, house.settings(work_folder=os.path.join(house.folder, f"work-{seed}")), env={"DAVIT_PACE_PERCENT": "1"})
                # Some are cut short, as a person would: a step that nobody cancels sleeps for ten minutes.
                try:
                    worker.process.wait(r.choice([0.3, 1, 3]))
                except subprocess.TimeoutExpired:
                    worker.cancel(5)
                status = worker.wait(60)
                text = worker.errors.decode("utf-8", "replace")
                self.assertGreaterEqual(status, 0, f"seed {seed}: {text}")
                self.assertNotIn("Sanitizer", text, f"seed {seed}")
                said.add(status)
            print(f"{SEEDS} messages from seed {FIRST}, results {sorted(said)}")


if __name__ == "__main__":
    unittest.main(verbosity=1)
