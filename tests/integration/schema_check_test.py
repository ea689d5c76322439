#!/usr/bin/env python3
"""davit schema: the program, its exit statuses and its lines of JSON."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

DAVIT = pathlib.Path(os.environ["DAVIT_BUILD"]) / "bin/davit"
SUITE = pathlib.Path("/usr/share/json-schema-test-suite")


def davit(*arguments, stdin=""):
    return subprocess.run([DAVIT, "schema", *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False)


class Schema(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()

    def tearDown(self):
        self.folder.cleanup()

    def file(self, name, text):
        path = pathlib.Path(self.folder.name) / name
        path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
        return str(path)

    def check(self, schema, instance, *options):
        return davit("check", *options, self.file("schema.json", schema), self.file("instance.yml", instance))

    def test_it_lists_and_prints_what_is_built_in(self):
        names = davit().stdout.split()
        self.assertIn("deployment", names)
        self.assertIn("archive-upload", names)
        self.assertEqual(json.loads(davit("--json").stdout), names)
        for name in names:
            self.assertEqual(json.loads(davit(name).stdout)["$schema"], "http://json-schema.org/draft-07/schema#")
        wrong = davit("archive-uplod")
        self.assertEqual(wrong.returncode, 2)
        self.assertIn("did you mean 'archive-upload'?", wrong.stderr)

    def test_a_valid_document_exits_0_and_says_nothing(self):
        result = self.check({"type": "object"}, "a: 1\n")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        self.assertEqual(json.loads(self.check({"type": "object"}, "a: 1\n", "--json").stdout), {"valid": True})

    def test_each_fault_is_a_line_with_its_place_and_the_exit_is_2(self):
        schema = {"properties": {"name": {"type": "string"}, "port": {"maximum": 9}}, "additionalProperties": False}
        result = self.check(schema, "name: 3\nport: 10\nprot: 1\n")
        self.assertEqual(result.returncode, 2)
        lines = [line.split("instance.yml:")[1] for line in result.stderr.splitlines()]
        self.assertEqual(lines, ["1:7: /name: must be a text, not a number", "2:7: /port: must be at most 9",
                                 "3:1: /prot: 'prot' is not known here; did you mean 'port'?"])
        answer = json.loads(self.check(schema, "port: 10\n", "--json").stdout)
        self.assertEqual(answer, {"valid": False, "errors": [{"pointer": "/port", "line": 1, "column": 7, "message": "must be at most 9"}]})

    def test_what_cannot_be_judged_exits_64(self):
        for schema in ({"$schema": "http://json-schema.org/draft-04/schema#"}, {"type": "text"}, {"$ref": "http://x.test/a.json"},
                       {"pattern": "(?<=a+)b"}, {"allOf": [{"$ref": "#"}]}):
            result = self.check(schema, "a")
            self.assertEqual(result.returncode, 64, schema)
            self.assertIn("schema.json: ", result.stderr)
            self.assertIn("unsupported", json.loads(self.check(schema, "a", "--json").stdout))

    def test_files_that_cannot_be_read_and_wrong_calls_exit_2(self):
        schema = self.file("schema.json", {})
        self.assertEqual(davit("check", schema, "/nowhere/x.yml").returncode, 2)
        self.assertEqual(davit("check", schema, self.file("broken.yml", "a: [")).returncode, 2)
        self.assertEqual(davit("check", schema).returncode, 2)
        self.assertEqual(davit("check", "--batsh").returncode, 2)

    def test_a_deployment_file_with_ten_faults_shows_all_ten(self):
        text = ("name: Shop\nenviroment: production\non_failure: retry\nundo_deadline: soon\nseal: maybe\ntargets:\n  web:\n    ssh: { port: 0 }\n"
                "  db:\n    local: {}\n    ssh: { host: h }\n    become: doas\nsteps:\n  - id: 9\n    run: {}\n")
        result = davit("check", "deployment", self.file("production.yml", text))
        self.assertEqual(result.returncode, 2)
        for place in ("1:7: /name", "2:1: /enviroment", "3:13: /on_failure", "4:16: /undo_deadline", "5:7: /seal", "8:10: /targets/web/ssh",
                      "8:18: /targets/web/ssh/port", "10:5: /targets/db", "12:13: /targets/db/become", "14:9: /steps/0/id"):
            self.assertIn("production.yml:" + place + ": ", result.stderr)
        self.assertIn("'environment' is missing", result.stderr)
        self.assertIn("only one of 'local', 'ssh', 'registry', 'proxmox', 'http', 's3', 'scaleway' is possible", result.stderr)

    def test_a_good_deployment_file_is_valid(self):
        text = ("name: shop\nenvironment: production\ntargets:\n  web:\n    ssh: { host: h, user: [a, b], key: k, host_key: 'SHA256:x', "
                "jump: { host: j } }\n    become: sudo\nsteps:\n  - run: { command: 'true' }\n    name: restart\n")
        result = davit("check", "deployment", self.file("production.yml", text))
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_a_misspelt_step_and_misspelt_inputs_are_faults_with_their_places(self):
        text = ("name: shop\nenvironment: production\nsteps:\n  - run: { comand: [a] }\n  - archive-uplod: { source: . }\n"
                "  - health-gate: { checks: [ { htp: 'http://x' } ] }\n")
        result = davit("check", "deployment", self.file("production.yml", text))
        self.assertEqual(result.returncode, 2)
        for place in ("4:12: /steps/0/run/comand: 'comand' is not known here; did you mean 'command'?",
                      "5:5: /steps/1/archive-uplod: 'archive-uplod' is not known here; did you mean 'archive-upload'?",
                      "6:32: /steps/2/health-gate/checks/0/htp: 'htp' is not known here; did you mean 'http'?"):
            self.assertIn("production.yml:" + place, result.stderr)

    def test_any_value_of_a_deployment_file_may_be_an_expression(self):
        text = ("name: shop\nenvironment: ${{ vars.ENV }}\nx-note: for people\ntargets:\n  web: { ssh: { host: h, port: '${{ vars.PORT }}' } }\n"
                "steps:\n  - run: { command: 'true', exit: '${{ vars.EXIT }}' }\n  - preflight:\n"
                "  - secret-write: { path: '${{ vars.P }}', values: '${{ secrets }}', keys: [A] }\n")
        result = davit("check", "deployment", self.file("production.yml", text))
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_the_example_of_each_step_is_valid_where_its_page_says_it_stands(self):
        frame = "name: shop\nenvironment: production\ntargets: { web: { local: {} } }\nsteps:\n"
        pages = (pathlib.Path(os.environ["DAVIT_SOURCE"]) / "docs/steps").glob("*.md")
        places = {page.name: re.search(r"^In a (deployment file|workflow):\n\n```yaml\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
                  for page in pages}
        self.assertGreater(len([1 for found in places.values() if found and found[1] == "deployment file"]), 6)
        for name, found in places.items():
            with self.subTest(page=name):
                if name == "README.md":
                    continue
                self.assertEqual(found[1] == "workflow", "uses:" in found[2])
                if found[1] == "deployment file":
                    result = davit("check", "deployment", self.file("d.yml", frame + re.sub("^", "  ", found[2], flags=re.M)))
                    self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_a_batch_answers_each_line_as_it_comes(self):
        with subprocess.Popen([DAVIT, "schema", "check", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as batch:
            for request, answer in (({"schema": {"type": "integer"}, "data": 1.0}, {"valid": True}),
                                    ({"schema": True, "data": None}, {"valid": True}),
                                    ({"schema": {"const": "a\0b"}, "data": "a\0c"},
                                     {"valid": False, "errors": [{"pointer": "", "message": "must be 'a'"}]})):
                batch.stdin.write(json.dumps(request) + "\n")
                batch.stdin.flush()
                given = json.loads(batch.stdout.readline())
                self.assertEqual(given["valid"], answer["valid"])
            batch.stdin.close()
            self.assertEqual(batch.stdout.read(), "")
            self.assertEqual(batch.wait(10), 0)

    def test_a_batch_goes_on_behind_a_line_that_is_no_request(self):
        deep = "[" * 1000 + "]" * 1000
        lines = ["nonsense", "", '{"schema": {}}', '{"schema": {"$schema": "x"}, "data": 1}', '{"schema": {}, "data": ' + deep + "}",
                 '{"schema": {"maximum": 18446744073709551615}, "data": 18446744073709551616}', '{"schema": {}, "data": 1}']
        result = davit("check", "--batch", stdin="\n".join(lines) + "\n")
        answers = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual([next(iter(a)) for a in answers], ["error", "error", "unsupported", "unsupported", "valid", "valid"])
        self.assertEqual(result.returncode, 2)

    @unittest.skipUnless(SUITE.exists(), "json-schema-test-suite is not installed")
    def test_the_official_suite_passes_through_the_batch(self):
        remotes = {"http://localhost:1234/" + str(p.relative_to(SUITE / "remotes")): json.loads(p.read_text(encoding="utf-8"))
                   for p in (SUITE / "remotes").rglob("*.json")}
        cases, lines = [], []
        for path in sorted((SUITE / "tests/draft7").glob("*.json")):
            for group in json.loads(path.read_text(encoding="utf-8")):
                for test in group["tests"]:
                    cases.append((path.name, group["description"], test["description"], test["valid"]))
                    lines.append(json.dumps({"schema": group["schema"], "data": test["data"]}))
        result = davit("check", "--batch", "--remotes", self.file("remotes.json", remotes), stdin="\n".join(lines))
        self.assertEqual(result.returncode, 0)
        answers = [json.loads(line).get("valid") for line in result.stdout.splitlines()]
        self.assertGreater(len(cases), 400)
        self.assertEqual([(c, a) for c, a in zip(cases, answers, strict=True) if c[3] != a], [])


if __name__ == "__main__":
    unittest.main()
