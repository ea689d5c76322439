#!/usr/bin/env python3
"""C1: a generic .env, loaded after the environment's own file, overrode the secrets directory: secrets went to the wrong place."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

LAYERS = {
    "defaults.env": "# for everybody\nSECRETS_DIR=/run/default\nLOG_LEVEL=info\nDEBUG=\n",
    "shared.env": "SECRETS_DIR='/run/shared'\nREGISTRY=registry.example\n",
    "test.env": "export SECRETS_DIR=\"/run/test\"\n",
}


class Layers(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        for name, text in LAYERS.items():
            self.layer(name, text)

    def layer(self, name, text):
        with open(os.path.join(self.t.src, name), "w", encoding="utf-8") as f:
            f.write(text)

    def step(self, **more):
        return {"secret-write": {"path": self.t.path(".env"), "layers": list(LAYERS), "values": {"TOKEN": "${{ secrets.TOKEN }}"}, **more}}

    def deploy(self, step, target=None, *options, token="tok-5f2a9c"):
        return self.t.deploy({"targets": {"web": target or {"local": {}}}, "steps": [step]}, *options, secrets={"TOKEN": token})

    def read(self, name):
        return subprocess.run(["sh", "-c", '. "$1"; eval "printf %s \\"\\$$2\\""', "sh", self.t.path(".env"), name], check=True, capture_output=True,
                              text=True).stdout

    def explain(self, *words):
        return self.t.run("explain", "deploy.yml", *words, "--secret", "TOKEN", env={"TOKEN": "tok-5f2a9c"})

    def test_the_most_specific_layer_counts_and_the_input_of_the_step_above_all(self):
        with Sshd() as server:
            self.assert_exit(self.deploy(self.step(), server.target()), 0)
            self.assertEqual([self.read(name) for name in ("SECRETS_DIR", "LOG_LEVEL", "REGISTRY", "TOKEN", "DEBUG")],
                             ["/run/test", "info", "registry.example", "tok-5f2a9c", ""])
            self.assert_exit(self.deploy(self.step(values={"SECRETS_DIR": "/run/input"}), server.target()), 0)
            self.assertEqual(self.read("SECRETS_DIR"), "/run/input")
            self.layer("defaults.env", LAYERS["defaults.env"].replace("/run/default", "/run/elsewhere"))
            self.assert_exit(self.deploy(self.step(values={}), server.target()), 0)
            self.assertEqual(self.read("SECRETS_DIR"), "/run/test")

    def test_explain_says_where_each_value_comes_from_and_what_it_hides_and_never_the_value(self):
        self.assert_exit(self.deploy(self.step(generate={"SESSION": "hex32"}, values={"TOKEN": "${{ secrets.TOKEN }}", "REGISTRY": "mine.example"})), 0)
        result = self.explain("--json")
        self.assert_exit(result, 0)
        [step] = json.loads(result.out)
        found = {one["name"]: (one["from"], one["hides"]) for one in step["values"]}
        self.assertEqual(step["targets"], ["web"])
        self.assertEqual(found, {"SECRETS_DIR": ("test.env", ["shared.env", "defaults.env"]), "LOG_LEVEL": ("defaults.env", []),
                                 "DEBUG": ("defaults.env", []), "REGISTRY": ("values", ["shared.env"]), "TOKEN": ("values", []),
                                 "SESSION": ("generate", [])})
        shown = self.explain("SECRETS_DIR")
        self.assert_exit(shown, 0)
        self.assert_says(shown, self.t.path(".env"), "on web", "test.env, hides shared.env, defaults.env")
        self.assert_silent(shown, "REGISTRY")
        for answer in (result, shown):
            self.assert_silent(answer, "/run/test", "/run/shared", "tok-5f2a9c", "mine.example")
        unknown = self.explain("SECRET_DIR")
        self.assert_exit(unknown, 2)
        self.assert_says(unknown, "writes a value named 'SECRET_DIR'")

    def test_an_input_that_came_empty_is_missing_and_does_not_fall_back_to_a_general_layer(self):
        self.layer("defaults.env", "TOKEN=default\n")
        result = self.deploy(self.step(), token="")
        self.assert_exit(result, 2)
        self.assert_says(result, "TOKEN")
        self.assertFalse(os.path.exists(self.t.path(".env")))

    def test_a_layer_that_is_missing_or_broken_or_outside_is_refused_before_the_first_change(self):
        self.layer("broken.env", "A='never closed\n")
        self.layer("loose.env", "this is no assignment\n")
        before = {"run": {"command": ["touch", self.t.path("ran")], "undo": "none"}}
        step = self.step(layers=["absent.env", "broken.env", "loose.env", "../outside.env"])
        result = self.t.deploy({"targets": {"web": {"local": {}}}, "steps": [before, step]}, secrets={"TOKEN": "tok-5f2a9c"})
        self.assert_exit(result, 2)
        self.assert_says(result, "the layer 'absent.env' cannot be read", "the quote of 'A' is never closed", "is not NAME=value", "'../outside.env'")
        self.assertFalse(os.path.exists(self.t.path("ran")))

    def test_keys_choose_among_the_layers_too_and_directories_of_files_take_them(self):
        self.assert_exit(self.deploy(self.step(keys=["SECRETS_*", "TOKEN"], path=self.t.path("secrets"), format="dir")), 0)
        self.assertEqual(sorted(os.listdir(self.t.path("secrets"))), ["SECRETS_DIR", "TOKEN"])
        self.assertEqual(self.t.read("secrets", "SECRETS_DIR"), b"/run/test")


if __name__ == "__main__":
    main()
