"""The conversation of the contract suite with a server that has what lies in no directory (tests/contract/suite_outside.c): a line of JSON to it, a line back.

    class World:
        facts                       # what the suite is told at the start
        def list(self, detail): …   # lines; detail is one of "roughly", "wholly", "touched"
        def save(self, name): …
        def load(self, name, base): …
    talk(World)
"""
import json
import sys
import traceback


def answer(world, question):
    do = question["do"]
    if do == "list":
        return {"lines": world.list(question["detail"])}
    if do == "save":
        world.save(question["name"])
    else:
        was = world.saved_list(question["name"])
        world.load(question["name"], question["base"])
        now = world.list("roughly")
        assert now == was, f"it is not as it was: {sorted(set(was) ^ set(now))}"
    return {}


def talk(world):
    """Until the input ends."""
    print(json.dumps(world.facts), flush=True)
    for line in sys.stdin:
        try:
            said = answer(world, json.loads(line))
        except Exception:  # pylint: disable=broad-except
            said = {"failed": traceback.format_exc()}
        print(json.dumps(said), flush=True)


def skip(why):
    print(json.dumps({"skip": why}), flush=True)
