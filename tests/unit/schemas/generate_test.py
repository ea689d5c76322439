#!/usr/bin/env python3
"""The generator stops on what it does not implement, and says where."""

import contextlib
import copy
import io
import json
import os
import pathlib
import shutil
import sys
import tempfile
import types
import unittest
import unittest.mock

SOURCE = pathlib.Path(os.environ.get("DAVIT_SOURCE", pathlib.Path(__file__).resolve().parents[3]))
sys.path.insert(0, str(SOURCE / "schemas/gen"))
import generate  # noqa: E402

STEP = {
    "$schema": "http://json-schema.org/draft-07/schema#", "title": "trial", "description": "A trial.", "type": "object",
    "additionalProperties": False, "properties": {"a": {"type": "string", "description": "A text."}},
}

RESOURCE = {
    "$schema": "http://json-schema.org/draft-07/schema#", "title": "thing", "description": "A thing.", "type": "object",
    "additionalProperties": False, "required": ["name"], "x-key": "name",
    "properties": {"name": {"type": "string"}, "size": {"type": "integer"}, "protect": {"type": "boolean", "default": False}},
}


class Generator(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        (self.root / "steps").mkdir()
        (self.root / "resources").mkdir()
        (self.root / "targets").mkdir()
        (self.root / "common.json").write_text('{"properties": {}}', encoding="utf-8")

    def tearDown(self):
        self.folder.cleanup()

    def run_on(self, text, *arguments, files=""):
        (self.root / "steps/trial.json").write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
        errors = io.StringIO()
        given = ["generate.py", "--root", str(self.root), "--out", str(self.root / "out"), "--steps", "trial", "--files", files, *arguments]
        with contextlib.redirect_stderr(errors), unittest.mock.patch.object(sys, "argv", given):
            status = generate.main()
        return types.SimpleNamespace(returncode=status, stderr=errors.getvalue())

    def refused(self, pointer, text, **changes):
        """The schema with these root words changed is refused at this place with this text."""
        step = {k: v for k, v in {**copy.deepcopy(STEP), **changes}.items() if v is not None}
        shutil.rmtree(self.root / "out", ignore_errors=True)
        result = self.run_on(step)
        self.assertEqual(result.returncode, 1, (changes, result.stderr))
        self.assertIn(f"steps/trial.json: {pointer}: ", result.stderr)
        self.assertIn(text, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1)
        self.assertFalse((self.root / "out/schemas/trial.h").exists())

    def property_refused(self, pointer, text, schema):
        self.refused("/properties/a" + pointer, text, properties={"a": {"description": "x", **schema}})

    def test_the_plain_schema_is_taken(self):
        result = self.run_on(STEP)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("struct trial_in {", (self.root / "out/schemas/trial.h").read_text(encoding="utf-8"))

    def test_an_unknown_or_unimplemented_keyword_stops_it(self):
        self.property_refused("/minimun", "'minimun' is not implemented", {"type": "integer", "minimun": 1})
        self.property_refused("/multipleOf", "'multipleOf' is not implemented", {"type": "integer", "multipleOf": 2})
        self.property_refused("/not", "'not' is not implemented", {"type": "string", "not": {}})
        self.property_refused("/maxLength", "'maxLength' is not implemented for a boolean", {"type": "boolean", "maxLength": 1})
        self.property_refused("/items/format", "'format' is not implemented", {"type": "array", "items": {"type": "string", "format": "x"}})
        self.property_refused("/additionalProperties/x-foo", "not implemented",
                              {"type": "object", "additionalProperties": {"type": "string", "x-foo": 1}})
        self.refused("/patternProperties", "'patternProperties' is not implemented", patternProperties={})
        self.refused("/if", "'if' is not implemented", **{"if": {}})

    def test_a_json_value_may_use_draft_07_and_nothing_else(self):
        good = {**STEP, "properties": {"a": {"x-type": "json", "not": {"const": 1}, "patternProperties": {"^x": {"type": "null"}},
                                             "description": "x"}}}
        self.assertEqual(self.run_on(good).returncode, 0)
        self.property_refused("/items/anyOf/0/minimun", "the keyword 'minimun' is not known",
                              {"x-type": "json", "items": {"anyOf": [{"minimun": 1}]}})
        self.property_refused("/patternProperties/~1x/nulable", "'nulable' is not known",
                              {"x-type": "json", "patternProperties": {"/x": {"nulable": True}}})

    def test_types_and_values_are_checked(self):
        self.property_refused("/x-type", "'time' is not known", {"x-type": "time"})
        self.property_refused("/enum", "must be texts", {"type": "string", "enum": [1, 2]})
        self.property_refused("/enum", "same name in C", {"type": "string", "enum": ["a-b", "a_b"]})
        self.property_refused("/default", "not one of the values", {"type": "string", "enum": ["a"], "default": "b"})
        self.property_refused("/default", "of a wrong type", {"type": "integer", "default": "1"})
        self.property_refused("/default", "of a wrong type", {"type": "integer", "default": True})
        self.property_refused("/minLength", "of a wrong type", {"type": "string", "minLength": "1"})
        self.property_refused("/type", "'text' is not known", {"type": ["text"]})

    def test_objects_are_closed_and_name_what_they_require(self):
        closed = {"type": "object", "properties": {"b": {"type": "string"}}}
        self.property_refused("/additionalProperties", "must be false", closed)
        self.property_refused("/items/additionalProperties", "must be false", {"type": "array", "items": closed})
        self.refused("/required", "'b' is not a property", required=["b"])
        self.refused("/required", "cannot be required", required=["a"], properties={"a": {"type": "string", "default": "x", "description": "x"}})
        self.refused("/oneOf/0", "branches of the form", oneOf=[{"properties": {}}])
        self.refused("/oneOf/0", "'b' is not a property", oneOf=[{"required": ["b"]}])

    def test_names_are_names_in_c(self):
        self.refused("/properties/A b", "cannot be a C name", properties={"A b": {"type": "string", "description": "x"}})
        self.refused("/properties", "the same in C",
                     properties={"a-b": {"type": "string", "description": "x"}, "a_b": {"type": "string", "description": "x"}})
        keyword = {**STEP, "properties": {"default": {"type": "string", "description": "x"}}}
        self.assertEqual(self.run_on(keyword).returncode, 0)
        self.assertIn("const char *default_;", (self.root / "out/schemas/trial.h").read_text(encoding="utf-8"))

    def test_the_frame_of_a_step_is_checked(self):
        self.refused("/", "'description' is missing", description=None)
        self.refused("/$schema", "must be draft-07", **{"$schema": "http://json-schema.org/draft-04/schema#"})
        self.refused("/title", "must be the step's name, 'trial'", title="other")
        self.refused("/", "additionalProperties", additionalProperties=True)
        self.refused("/x-target", "must be", **{"x-target": "some"})
        self.refused("/properties/a", "has no description", properties={"a": {"type": "string"}})

    def resource_refused(self, pointer, text, **changes):
        resource = {**copy.deepcopy(RESOURCE), **changes}
        (self.root / "resources/thing.json").write_text(json.dumps({k: v for k, v in resource.items() if v is not None}), encoding="utf-8")
        result = self.run_on(STEP, "--resources", "thing")
        self.assertEqual(result.returncode, 1, changes)
        self.assertIn(f"resources/thing.json: {pointer}: ", result.stderr)
        self.assertIn(text, result.stderr)

    def test_a_family_is_assembled_from_its_members(self):
        (self.root / "resources/thing.json").write_text(json.dumps(RESOURCE), encoding="utf-8")
        step = {**STEP, "properties": {"list": {"type": "array", "maxItems": 3, "items": {"x-choices": "resources"}, "description": "x"}}}
        result = self.run_on(step, "--resources", "thing")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("struct field_chosen *list;", (self.root / "out/schemas/trial.h").read_text(encoding="utf-8"))
        self.assertIn("struct resource_thing {", (self.root / "out/schemas/resources/thing.h").read_text(encoding="utf-8"))
        published = (self.root / "out/schemas/builtin.c").read_text(encoding="utf-8")
        self.assertIn(r'\"thing\":{', published)
        self.assertNotIn("x-choices", published)
        self.assertIn("/properties/list/items/x-choices: 'resources' is no family", self.run_on(step).stderr)

    def test_a_target_may_refer_to_itself_and_is_assembled_into_the_deployment(self):
        target = {"$schema": STEP["$schema"], "title": "way", "description": "A way.", "type": "object", "additionalProperties": False,
                  "properties": {"host": {"type": "string"}, "over": {"$ref": "#", "description": "x"}}}
        (self.root / "targets/way.json").write_text(json.dumps(target), encoding="utf-8")
        (self.root / "targets/common.json").write_text(json.dumps({**target, "title": "common", "properties": {"base": {"type": "string"}}}),
                                                       encoding="utf-8")
        self.write_deployment()
        result = self.run_on(STEP, "--targets", "way", files="deployment")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("struct target_way *over;", (self.root / "out/schemas/targets/way.h").read_text(encoding="utf-8"))
        published = (self.root / "out/schemas/builtin.c").read_text(encoding="utf-8")
        self.assertIn(r'\"target-way\":{', published)
        self.assertIn(r'\"$ref\":\"#/definitions/target-way\"', published)
        self.assertIn(r'\"base\":{', published)
        self.assertNotIn("x-choices", published)

    def test_who_reads_steps_and_targets_by_their_tables_gets_the_deployment_without_them(self):
        target = {"$schema": STEP["$schema"], "title": "way", "description": "A way.", "type": "object", "additionalProperties": False,
                  "properties": {"host": {"type": "string"}}}
        (self.root / "targets/way.json").write_text(json.dumps(target), encoding="utf-8")
        (self.root / "targets/common.json").write_text(json.dumps({**target, "title": "common", "properties": {}}), encoding="utf-8")
        self.write_deployment()
        self.assertEqual(self.run_on(STEP, "--targets", "way", files="deployment").returncode, 0)
        heads, targets = self.part("heads"), self.part("targets")
        self.assertEqual(set(heads["definitions"]), {"step"})
        self.assertEqual(list(heads["definitions"]["step"]["properties"]), ["id"])
        self.assertNotIn("additionalProperties", heads["definitions"]["step"])
        self.assertIs(heads["properties"]["targets"]["else"]["additionalProperties"], True)
        self.assertEqual(set(targets["definitions"]), {"target", "target-way"})
        self.assertEqual(targets["else"]["additionalProperties"]["else"]["$ref"], "#/definitions/target")

    def write_deployment(self):
        document = {"type": "object", "properties": {"targets": {"type": "object", "additionalProperties": {"$ref": "#/definitions/target"}},
                                                     "steps": {"items": {"$ref": "#/definitions/step"}}},
                    "definitions": {"target": {"x-choices": "targets"}, "step": {"type": "object", "properties": {"id": {"type": "string"}}}}}
        (self.root / "deployment.json").write_text(json.dumps(document), encoding="utf-8")

    def part(self, name):
        source = (self.root / "out/schemas/builtin.c").read_text(encoding="utf-8")
        text = source.split(f"schema_builtin_{name}(void)")[1].split("return ")[1].split(";\n")[0]
        return json.loads(json.loads(text))

    def test_a_resource_names_its_key_and_can_be_protected(self):
        self.resource_refused("/x-key", "must name a required text", **{"x-key": "size"})
        self.resource_refused("/x-key", "must name a required text", required=[])
        self.resource_refused("/title", "must be the resource's name, 'thing'", title="other")
        self.resource_refused("/properties", "'protect' must be a boolean", properties={"name": {"type": "string"}, "protect": {"type": "string"}})

    def test_broken_files_are_named(self):
        self.assertIn("trial.json: /: not JSON", self.run_on("{").stderr)
        self.assertIn("the key 'a' stands twice", self.run_on('{"a": 1, "a": 2}').stderr)
        self.assertIn("other.json: /: no such file", self.run_on(STEP, files="other").stderr)
        (self.root / "doc.json").write_text('{"properties": {"x": {"requird": []}}}', encoding="utf-8")
        self.assertIn("doc.json: /properties/x/requird: the keyword 'requird' is not known", self.run_on(STEP, files="doc").stderr)

    def test_a_text_in_c_is_the_text(self):
        text = 'a"b\\c??=\n\u00e9\x01'
        step = {**STEP, "properties": {"a": {"type": "string", "default": text, "description": "x"}}}
        self.assertEqual(self.run_on(step).returncode, 0)
        source = (self.root / "out/schemas/trial.c").read_text(encoding="utf-8")
        self.assertIn(r'"\"a\\\"b\\\\c\?\?=\\n\303\251\\u0001\""', source)

    def test_a_second_run_writes_nothing(self):
        self.run_on(STEP)
        before = {p: p.stat().st_mtime_ns for p in (self.root / "out/schemas").iterdir()}
        self.run_on(STEP)
        self.assertEqual(before, {p: p.stat().st_mtime_ns for p in (self.root / "out/schemas").iterdir()})


if __name__ == "__main__":
    unittest.main()
