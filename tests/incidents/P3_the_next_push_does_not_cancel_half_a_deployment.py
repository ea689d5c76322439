#!/usr/bin/env python3
"""P3: a deployment was cancelled half way by the next push."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from R1_a_runner_that_dies_leaves_no_half_deployment import Deployment  # noqa: E402
from harness import run, until  # noqa: E402

GROUP = "concurrency:\n  group: production\n  cancel-in-progress: true\n"


def test_a_cancel_half_way_turns_into_a_rollback():
    with Deployment() as d:
        d.first_release()
        sha = d.held_release()
        d.forge.cancel("acme/widgets", d.forge.run_of(sha)["id"])
        (job,) = d.forge.ended(sha)
        assert job["conclusion"] == "cancelled", job
        d.old_version_is_whole()
        d.hold.unlink()
        assert d.agent.stop() == 0


def test_two_pushes_end_with_the_second_whole():
    with Deployment() as d:
        d.first_release()
        first = d.held_release()
        second = d.release(3)
        assert all(j["status"] == "queued" for j in d.forge.jobs(second)), "the running deployment is not cancelled"
        d.hold.unlink()
        (job,) = d.forge.ended(first)
        assert job["conclusion"] == "success", job
        (job,) = d.forge.ended(second)
        assert job["conclusion"] == "success", job
        assert d.version() == "3"
        assert d.agent.stop() == 0


def test_a_push_that_cancels_the_one_before_finds_the_old_version_and_replaces_it():
    with Deployment() as d:
        d.first_release()
        first = d.held_release()
        d.hold.unlink()
        d.forge.cancel("acme/widgets", d.forge.run_of(first)["id"])
        second = d.release(3)
        (job,) = d.forge.ended(first)
        assert job["conclusion"] in ("cancelled", "success"), job
        (job,) = d.forge.ended(second)
        assert job["conclusion"] == "success", job
        assert d.version() == "3"
        assert d.agent.stop() == 0


if __name__ == "__main__":
    run(__name__)
