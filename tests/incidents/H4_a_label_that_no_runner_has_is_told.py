#!/usr/bin/env python3
"""H4: the runner lacked the label that the workflow asked for."""
import importlib.util
import os
import pathlib
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
from harness.validate import Tree, main  # noqa: E402

spec = importlib.util.spec_from_file_location("agent_harness", os.path.join(HERE, "..", "integration", "agent", "harness.py"))
agent_harness = importlib.util.module_from_spec(spec)
spec.loader.exec_module(agent_harness)


class Labels(Tree):
    def setUp(self):
        super().setUp()
        self.put("x.yml", "on: push\njobs:\n  a: {runs-on: [self-hosted, gpu], steps: [{run: x}]}\n  b: {runs-on: ubuntu-latest, steps: [{run: x}]}\n")

    def test_labels_are_compared_with_the_runners_that_are_named(self):
        self.assertEqual(self.codes("x.yml", "--runner", "self-hosted,Linux,X64"), ["no-runner"])
        self.assertEqual(self.codes("x.yml", "--runner", "self-hosted,linux", "--runner", "self-hosted,linux,GPU"), [])
        self.assertEqual(self.codes("x.yml"), [])                # nothing is known of any runner

    def test_labels_are_compared_with_the_agent_of_this_machine(self):
        with agent_harness.Forge(["octo/demo"]) as forge:
            for labels, wanted in ((["--labels", "gpu"], []), ([], ["no-runner"])):
                root = pathlib.Path(self.dir.name) / f"root{len(labels)}"
                root.mkdir()
                agent = agent_harness.Agent(root)
                agent.configure(forge, "octo/demo", "--replace", *labels)
                state = agent.env["DAVIT_STATE"]
                self.assertEqual([f["code"] for f in self.validate("x.yml", state=state)], wanted, labels)


main()
