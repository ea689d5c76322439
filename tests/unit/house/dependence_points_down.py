#!/usr/bin/env python3
"""Dependence points down: no object of a folder was compiled with a header of a folder above it.

CMake gives each target only the folders that it links to, so `#include "steps/x.h"` in base/ does not compile. A relative
path would, which is why this reads what the compiler really opened (ninja -t deps)."""
import functools
import os
import re
import subprocess
import sys
import unittest

BUILD, SOURCE = os.environ["DAVIT_BUILD"], os.path.realpath(os.environ["DAVIT_SOURCE"])
# From the bottom up; folders of one line do not know each other.
RANKS = [["base/core"], ["base/sys"], ["base/data"], ["base/data/schema"], ["base/data/fields"], ["base/secret"], ["base/net"],
         ["base/ssh", "base/archive"], ["base/git"], ["schemas"], ["engine/record"], ["engine/target"],
         ["engine/target/local", "engine/target/shell"], ["engine/journal", "engine/alone"], ["engine/journal/postgres"], ["engine/change"], ["engine/lock"], ["engine/state"], ["engine/run"],
         ["providers/docker", "providers/github", "providers/http", "providers/proxmox", "providers/registry", "providers/s3", "providers/scaleway", "providers/terraform"], ["steps/common"], ["steps/sources", "steps/status", "steps/machine"],
         ["steps/apply", "steps/approve", "steps/archive_upload", "steps/bootstrap", "steps/checkout", "steps/compose_up", "steps/health_gate", "steps/notify", "steps/preflight", "steps/promote", "steps/restore", "steps/run",
          "steps/secret_write", "steps/snapshot", "steps/terraform"], ["steps"],
         ["agent/expr", "agent/report"], ["agent/service"], ["agent/template"], ["agent/workflow"], ["agent/actions"],
         ["agent/forge", "agent/deployment", "agent/validate"], ["agent/admission"], ["agent/worker"], ["agent/listener"], ["agent/install", "agent/page", "agent/run"], ["agent"]]
RANK = {folder: rank for rank, folders in enumerate(RANKS) for folder in folders}


@functools.cache
def folder_of(path):
    """The folder of the house that a path lies in, None outside it."""
    path = os.path.relpath(os.path.realpath(path), SOURCE)
    for folder in sorted(RANK, key=len, reverse=True):
        if path.startswith(folder + "/"):
            return folder
    return None


@functools.cache
def dependencies():
    text = subprocess.run(["ninja", "-C", BUILD, "-t", "deps"], capture_output=True, text=True, check=True).stdout
    found = []
    for block in text.split("\n\n"):
        lines = block.splitlines()
        match = lines and re.match(r"(\S+): #deps", lines[0])
        if match:
            found.append((match.group(1), [os.path.join(BUILD, line.strip()) for line in lines[1:]]))
    return found


class House(unittest.TestCase):
    def test_no_folder_includes_a_header_from_above(self):
        seen, wrong = 0, []
        for name, headers in dependencies():
            if name.startswith("tests/") or not headers:
                continue
            own = folder_of(headers[0])
            if own is None:
                path = os.path.relpath(os.path.realpath(headers[0]), SOURCE)
                if path.startswith(("base/", "schemas/", "engine/", "providers/", "steps/", "agent/")):
                    wrong.append(f"{path} lies in a folder without a rank")
                continue
            seen += 1
            for header in headers[1:]:
                folder = folder_of(header)
                if folder is None or folder == own:
                    continue
                if RANK[folder] >= RANK[own]:
                    wrong.append(f"{os.path.relpath(os.path.realpath(headers[0]), SOURCE)} includes {folder}/{os.path.basename(header)}")
        self.assertGreater(seen, 50, "the compilers' dependency files were not found")
        self.assertEqual(wrong, [])

    def test_steps_know_nothing_of_the_agent(self):
        for name, headers in dependencies():
            if headers and (folder_of(headers[0]) or "").split("/")[0] in ("base", "engine", "providers", "steps"):
                for header in headers:
                    self.assertFalse((folder_of(header) or "").startswith("agent"), f"{name}: {header}")


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=1))
