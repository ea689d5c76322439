"""Schemas read and checked: what a step's schema says, as fields. Anything that is not understood is refused with its place."""

import json
import os
import re


class Refused(Exception):
    def __init__(self, path, pointer, text):
        super().__init__(f"{path}: {pointer or '/'}: {text}")


ANNOTATIONS = {"title", "description", "default", "examples", "$comment", "x-secret", "x-default-text", "x-order", "x-example", "x-line"}
DRAFT7 = {
    "$id", "$schema", "$ref", "$comment", "title", "description", "default", "readOnly", "writeOnly", "examples", "multipleOf", "maximum",
    "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength", "pattern", "additionalItems", "items", "maxItems",
    "minItems", "uniqueItems", "contains", "maxProperties", "minProperties", "required", "additionalProperties", "definitions",
    "properties", "patternProperties", "dependencies", "propertyNames", "const", "enum", "type", "format", "contentMediaType",
    "contentEncoding", "if", "then", "else", "allOf", "anyOf", "oneOf", "not",
}
OUR_WORDS = {
    "x-type", "x-secret", "x-default-text", "x-order", "x-undo", "x-changes", "x-plan", "x-example", "x-target", "x-outputs",
    "x-stays", "x-common", "x-line", "x-step", "x-choices", "x-key", "x-parts",
}
ROOT_WORDS = {
    "$schema", "$id", "title", "description", "type", "properties", "required", "additionalProperties", "oneOf", "anyOf", "$comment",
    "minProperties", "x-outputs", "x-undo", "x-changes", "x-plan", "x-example", "x-target", "x-stays", "x-common", "x-step", "examples",
}
CHOICE_WORDS = {"$schema", "title", "description", "type", "properties", "required", "additionalProperties", "oneOf", "anyOf", "$comment", "x-key"}
TEXT_WORDS = {"minLength", "maxLength", "pattern"}
NUMBER_WORDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
LIST_WORDS = {"minItems", "maxItems", "uniqueItems"}
X_TYPES = {"duration", "size", "mode", "strings", "integers", "json"}
C_KEYWORDS = set(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register restrict "
    "return short signed sizeof static struct switch typedef union unsigned void volatile while asm typeof bool true false".split())
# What an editor is told where our reader takes more than one JSON type.
PUBLISHED = {
    "duration": {"type": ["string", "number"], "pattern": "^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d)?)+$"},
    "size": {"type": ["string", "integer"]},
    "mode": {"type": "string", "pattern": "^((0o?)?[0-7]{3,4}|[ugoa]+=[rwxst]*(,[ugoa]+=[rwxst]*)*)$"},
    "strings": {"type": ["string", "array"]},
    "integers": {"type": ["integer", "array"]},
    "json": {},
}


def load_json(path):
    def no_duplicates(pairs):
        keys = [k for k, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise Refused(path, "", f"the key '{key}' stands twice in one object")
        return dict(pairs)

    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f, object_pairs_hook=no_duplicates)
    except FileNotFoundError:
        raise Refused(path, "", "no such file") from None
    except ValueError as error:
        raise Refused(path, "", f"not JSON: {error}") from None


def token(name):
    return str(name).replace("~", "~0").replace("/", "~1")


def c_name(name):
    c = re.sub(r"[-.]", "_", name)
    return c + "_" if c in C_KEYWORDS else c


def check_words(schema, path, pointer):
    """A whole draft-07 schema (a json field's, a file's): every word must be one that base/data/schema/compile.c or we know."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise Refused(path, pointer, "a schema is an object, true or false")
    for word, value in schema.items():
        here = f"{pointer}/{token(word)}"
        if word not in DRAFT7 and word not in OUR_WORDS:
            raise Refused(path, here, f"the keyword '{word}' is not known")
        if word in ("properties", "patternProperties", "definitions"):
            for name, sub in value.items():
                check_words(sub, path, f"{here}/{token(name)}")
        elif word == "dependencies":
            for name, sub in value.items():
                if not isinstance(sub, list):
                    check_words(sub, path, f"{here}/{token(name)}")
        elif word in ("allOf", "anyOf", "oneOf") or (word == "items" and isinstance(value, list)):
            for i, sub in enumerate(value):
                check_words(sub, path, f"{here}/{i}")
        elif word in ("items", "additionalItems", "contains", "additionalProperties", "propertyNames", "if", "then", "else", "not"):
            check_words(value, path, here)


class Field:
    """One member of a struct."""

    def __init__(self, name, schema, kind):
        self.name, self.schema, self.kind = name, schema, kind
        self.c_name = c_name(name)
        self.required = False
        self.secret = bool(schema.get("x-secret"))
        self.description = schema.get("description", "")
        self.values = []
        self.texts = {}          # minLength, maxLength, pattern of the text or of each entry
        self.key_pattern = None
        self.struct = None       # of objects
        self.json_types = None
        self.json_schema = None
        self.common = False

    @property
    def has_default(self):
        return "default" in self.schema


class Struct:
    def __init__(self, c_name_, label):
        self.c_name, self.label = c_name_, label
        self.fields = []
        self.groups = []         # (exactly_one, [names])
        self.parts = []          # (name, [names of its fields])


class Step:
    pass


class Choice:
    """One of a family: a kind of resources, of targets."""


class Family:
    """What {"x-choices": NAME} stands for: exactly one of the choices, and what each may have beside it."""

    def __init__(self, choices, common=None):
        self.choices, self.common = choices, common


def allow(schema, words, path, pointer, what):
    for word in schema:
        if word not in words:
            raise Refused(path, f"{pointer}/{token(word)}", f"the keyword '{word}' is not implemented for {what}")


def check_type(value, types, path, pointer, what):
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in (types if isinstance(types, tuple) else (types,))):
        raise Refused(path, pointer, f"{what} is of a wrong type")


JSON_TYPES = {"null", "boolean", "integer", "number", "string", "array", "object"}


def kind_of(schema, path, pointer):
    x_type = schema.get("x-type")
    if x_type is not None:
        if x_type not in X_TYPES:
            raise Refused(path, pointer + "/x-type", f"the x-type '{x_type}' is not known")
        return x_type
    if schema.get("$ref") == "#":
        return "self"
    kind = schema.get("type")
    if kind == "string":
        return "enum" if "enum" in schema else "string"
    if kind in ("integer", "number", "boolean"):
        return kind
    if kind == "array" and isinstance(schema.get("items"), dict):
        items = schema["items"]
        if "x-choices" in items:
            return "choices"
        if items.get("type") == "string" and "x-type" not in items:
            return "list"
        if items.get("type") == "object" and "properties" in items:
            return "objects"
    if kind == "object" and "properties" in schema:
        return "object"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        if schema["additionalProperties"].get("type") == "string":
            return "map"
    return "json"


def read_texts(field, schema, path, pointer):
    field.texts = {w: schema[w] for w in TEXT_WORDS if w in schema}
    for word in ("minLength", "maxLength"):
        if word in schema:
            check_type(schema[word], int, path, f"{pointer}/{word}", word)


def read_enum(field, schema, path, pointer):
    values = schema["enum"]
    if not values or not all(isinstance(v, str) for v in values):
        raise Refused(path, pointer + "/enum", "the values of an enum must be texts")
    if len({re.sub(r"[^A-Za-z0-9]", "_", v).upper() for v in values}) != len(values):
        raise Refused(path, pointer + "/enum", "two values have the same name in C")
    field.values = values


def read_items(field, schema, path, pointer):
    """Entries of a list of texts."""
    items = schema.get("items")
    if items is None:
        return
    here = pointer + "/items"
    allow(items, ANNOTATIONS | TEXT_WORDS | {"type", "enum"}, path, here, "the items of a list of texts")
    read_texts(field, items, path, here)
    if "enum" in items:
        read_enum(field, items, path, here)


def read_map(field, schema, path, pointer):
    allow(schema, ANNOTATIONS | {"type", "additionalProperties", "propertyNames", "minProperties", "maxProperties"}, path, pointer,
          "a map of texts")
    values = schema["additionalProperties"]
    allow(values, ANNOTATIONS | TEXT_WORDS | {"type", "enum"}, path, pointer + "/additionalProperties", "the values of a map")
    read_texts(field, values, path, pointer + "/additionalProperties")
    if "enum" in values:
        read_enum(field, values, path, pointer + "/additionalProperties")
    if "propertyNames" in schema:
        allow(schema["propertyNames"], {"pattern"}, path, pointer + "/propertyNames", "the names of a map")
        field.key_pattern = schema["propertyNames"]["pattern"]


def read_json(field, schema, path, pointer):
    types = schema.get("type", sorted(JSON_TYPES))
    types = types if isinstance(types, list) else [types]
    for t in types:
        if t not in JSON_TYPES:
            raise Refused(path, pointer + "/type", f"the type '{t}' is not known")
    field.json_types = types
    check_words(schema, path, pointer)
    if set(schema) - ANNOTATIONS - {"type", "x-type"}:
        field.json_schema = {k: v for k, v in schema.items() if k not in ANNOTATIONS and k != "x-type"}


def read_field(name, schema, owner, path, pointer):
    check_type(schema, dict, path, pointer, "a property")
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise Refused(path, pointer, f"the name '{name}' cannot be a C name")
    kind = kind_of(schema, path, pointer)
    field = Field(name, schema, kind)
    base = ANNOTATIONS | {"type", "x-type"}
    if kind == "string":
        allow(schema, base | TEXT_WORDS | {"format"}, path, pointer, "a text")
        read_texts(field, schema, path, pointer)
    elif kind == "enum":
        allow(schema, base | {"enum"}, path, pointer, "an enum")
        read_enum(field, schema, path, pointer)
    elif kind in ("integer", "number", "duration", "size"):
        allow(schema, base | NUMBER_WORDS, path, pointer, "a number")
    elif kind in ("boolean", "mode"):
        allow(schema, base, path, pointer, f"a {kind}")
    elif kind in ("strings", "list"):
        allow(schema, base | LIST_WORDS | {"items"}, path, pointer, "a list of texts")
        read_items(field, schema, path, pointer)
    elif kind == "integers":
        allow(schema, base | LIST_WORDS | {"items"}, path, pointer, "a list of whole numbers")
        items = schema.get("items", {})
        allow(items, ANNOTATIONS | NUMBER_WORDS | {"type"}, path, pointer + "/items", "the items of a list of whole numbers")
        field.schema = {**schema, **{w: items[w] for w in NUMBER_WORDS if w in items}}
    elif kind == "self":
        allow(schema, ANNOTATIONS | {"$ref"}, path, pointer, "a reference to the whole")
        field.self_name = owner
    elif kind == "map":
        read_map(field, schema, path, pointer)
    elif kind == "objects":
        allow(schema, base | LIST_WORDS | {"items"}, path, pointer, "a list of maps")
        field.struct = read_struct(schema["items"], f"{owner}_{field.c_name.rstrip('_')}", name, path, pointer + "/items")
    elif kind == "choices":
        allow(schema, base | {"maxItems", "items"}, path, pointer, "a list of choices")
        items = {word: value for word, value in schema["items"].items() if word != "x-choices"}
        if "properties" not in items:
            raise Refused(path, pointer + "/items/x-choices", f"'{schema['items']['x-choices']}' is no family of schemas")
        field.struct = read_struct(items, f"{owner}_{field.c_name.rstrip('_')}", name, path, pointer + "/items")
    elif kind == "object":
        field.struct = read_struct(schema, f"{owner}_{field.c_name.rstrip('_')}", name, path, pointer)
    else:
        read_json(field, schema, path, pointer)
    check_default(field, path, pointer)
    return field


def check_default(field, path, pointer):
    if "default" not in field.schema:
        return
    wanted = {
        "string": str, "enum": str, "integer": int, "number": (int, float), "boolean": bool, "duration": (str, int), "size": (str, int),
        "mode": str, "strings": (str, list), "list": list, "integers": (int, list), "map": dict, "objects": list, "object": dict,
    }.get(field.kind)
    value = field.schema["default"]
    if wanted is not None:
        check_type(value, wanted, path, pointer + "/default", "the default")
    if field.kind == "enum" and value not in field.values:
        raise Refused(path, pointer + "/default", "the default is not one of the values")


def read_groups(schema, path, pointer, properties):
    groups = []
    for word in ("oneOf", "anyOf"):
        if word not in schema:
            continue
        members = []
        for i, branch in enumerate(schema[word]):
            here = f"{pointer}/{word}/{i}"
            if not isinstance(branch, dict) or list(branch) != ["required"] or len(branch["required"]) != 1:
                raise Refused(path, here, f"'{word}' is implemented for branches of the form {{\"required\": [one name]}} only")
            if branch["required"][0] not in properties:
                raise Refused(path, here, f"'{branch['required'][0]}' is not a property")
            members.append(branch["required"][0])
        groups.append((word == "oneOf", members))
    return groups


def read_struct(schema, struct_name, label, path, pointer):
    allow(schema, ANNOTATIONS | {"type", "properties", "required", "additionalProperties", "oneOf", "anyOf", "x-members"}, path, pointer,
          "an object")
    if schema.get("additionalProperties") is not False:
        raise Refused(path, pointer + "/additionalProperties", "must be false: an unknown name is a fault")
    struct = Struct(struct_name, label)
    properties = schema["properties"]
    for name, sub in properties.items():
        struct.fields.append(read_field(name, sub, struct_name, path, f"{pointer}/properties/{token(name)}"))
    struct.fields.sort(key=lambda f: f.schema.get("x-order", 0))
    by_name = {f.name: f for f in struct.fields}
    if len({f.c_name for f in struct.fields}) != len(struct.fields):
        raise Refused(path, pointer + "/properties", "two names are the same in C")
    for name in schema.get("required", []):
        if name not in by_name:
            raise Refused(path, pointer + "/required", f"'{name}' is not a property")
        by_name[name].required = True
        if by_name[name].has_default:
            raise Refused(path, pointer + "/required", f"'{name}' has a default, so it cannot be required")
    struct.groups = read_groups(schema, path, pointer, properties)
    struct.parts = schema.get("x-members", [])
    return struct


def published(schema):
    """The schema for editors and `davit schema`: x-types spelled out as JSON types."""
    if isinstance(schema, list):
        return [published(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    result = {}
    for word, value in schema.items():
        if word == "x-members":
            continue
        if word in ("default", "examples", "enum", "const", "x-outputs"):
            result[word] = value
        elif word == "x-choices":
            continue
        else:
            result[word] = published(value)
    x_type = schema.get("x-type")
    if isinstance(x_type, str) and x_type in PUBLISHED:
        result = {**result, **PUBLISHED[x_type]}
    return result


def add_part(whole, name, part, path):
    """One part's inputs beside those that the object has; the part is chosen by the input of its own name."""
    allow(part, {"$schema", "title", "description", "type", "properties", "additionalProperties"}, path, "", "a part")
    if part.get("title") != name or name not in part.get("properties", {}):
        raise Refused(path, "", f"'{name}' must be its title and one of its properties")
    for word, schema in part["properties"].items():
        if word in whole["properties"]:
            raise Refused(path, f"/properties/{token(word)}", "another part, or what all have, has a property of this name")
        whole["properties"][word] = schema
    whole.setdefault("oneOf", []).append({"required": [name]})


def with_parts(schema, root, parts, path):
    """`"x-parts": "probes"` in an object: its further inputs are those of probes/NAME.json, of each name that CMakeLists.txt lists."""
    if isinstance(schema, list):
        return [with_parts(s, root, parts, path) for s in schema]
    if not isinstance(schema, dict):
        return schema
    result = {word: with_parts(value, root, parts, path) for word, value in schema.items()}
    family = result.pop("x-parts", None)
    if family is None:
        return result
    members = []
    for name in parts(family):
        part_path = os.path.join(root, family, name + ".json")
        part = load_json(part_path)
        add_part(result, name, part, part_path)
        members.append([name, list(part["properties"])])
    result["x-members"] = members
    return result


def with_common(document, common, path):
    """The inputs that every step has, and those of steps that act on targets. The step's own come first. x-common: false, none."""
    if document.get("x-common") is False:
        return document, []
    wanted = {n: s for n, s in common["properties"].items() if not s.get("x-target") or document.get("x-target") in (True, "any", "one", "many")}
    properties = dict(document.get("properties", {}))
    added = []
    for name, schema in wanted.items():
        if name not in properties:
            properties[name] = {k: v for k, v in schema.items() if k != "x-target"}
            added.append(name)
    return {**document, "properties": properties}, added


# What a program asks of a step without its code; docs/schemas.md says what each means.
FACTS = {"changes": bool, "joins": bool, "decides": bool, "data": bool, "reports": bool, "waits": bool}
INPUT_FACTS = ("kept", "releases", "secrets", "whole", "file", "string", "certificates", "destroy", "aside", "spare")


def read_facts(document, inputs, path):
    """x-step: flags, and names of inputs."""
    facts = document.get("x-step", {})
    check_type(facts, dict, path, "/x-step", "the facts of a step")
    known = {field.name for field in inputs.fields} | {"always"}
    for word, value in facts.items():
        if word in FACTS and value is not True:
            raise Refused(path, f"/x-step/{word}", "is true or left out")
        if word in INPUT_FACTS and value not in known:
            raise Refused(path, f"/x-step/{word}", f"there is no input '{value}'")
        if word not in FACTS and word not in INPUT_FACTS:
            raise Refused(path, f"/x-step/{word}", "is not known")
    return facts


def check_frame(document, name, path, what):
    for word in ("$schema", "title", "description", "type", "properties", "additionalProperties"):
        if word not in document:
            raise Refused(path, "", f"'{word}' is missing")
    if document["$schema"] != "http://json-schema.org/draft-07/schema#":
        raise Refused(path, "/$schema", "must be draft-07")
    if document["title"] != name:
        raise Refused(path, "/title", f"must be the {what}'s name, '{name}'")
    if document["type"] != "object" or document["additionalProperties"] is not False:
        raise Refused(path, "", f"a {what} is an object with \"additionalProperties\": false")


def load_choice(path, name, what, more=None):
    """What: "resource"; the C names begin with it. More: properties that it has unless it describes them itself."""
    document = load_json(path)
    check_type(document, dict, path, "", "a schema")
    if isinstance(document.get("properties"), dict):
        document["properties"] = {**document["properties"], **{word: shape for word, shape in (more or {}).items() if word not in document["properties"]}}
    choice = Choice()
    choice.path, choice.name, choice.document = path, name, document
    choice.c_name = f"{what}_{c_name(name).rstrip('_')}"
    allow(document, CHOICE_WORDS, path, "", f"a {what}")
    check_frame(document, name, path, what)
    choice.shape = {word: document[word] for word in ("type", "additionalProperties", "required", "description", "oneOf", "anyOf", "properties")
                    if word in document}
    choice.struct = read_struct(choice.shape, choice.c_name, name, path, "")
    choice.key = document.get("x-key")
    return choice


def load_resource(path, name):
    """One that apply knows by a key and may be told to protect; beside its own properties it has those of resources/common.json."""
    common = load_json(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "resources", "common.json"))
    choice = load_choice(path, name, "resource", common["properties"])
    by_name = {field.name: field for field in choice.struct.fields}
    key, protect = by_name.get(choice.key), by_name.get("protect")
    if key is None or key.kind != "string" or not key.required:
        raise Refused(path, "/x-key", "must name a required text")
    if protect is None or protect.kind != "boolean":
        raise Refused(path, "/properties", "'protect' must be a boolean")
    return choice


def assembled(document, families):
    """The document with each {"x-choices": FAMILY} as an object of exactly one of the family's members."""
    if isinstance(document, list):
        return [assembled(value, families) for value in document]
    if not isinstance(document, dict):
        return document
    family = families.get(document.get("x-choices"))
    if family is None or not family.choices:
        return {word: assembled(value, families) for word, value in document.items()}
    beside = family.common.shape["properties"] if family.common else {}
    return {"type": "object", "additionalProperties": False, "oneOf": [{"required": [choice.name]} for choice in family.choices],
            "properties": {**{choice.name: choice.shape for choice in family.choices}, **beside}, "x-choices": document["x-choices"]}


def load_step(path, name, common, families, parts):
    """parts: family → names of its parts."""
    document = load_json(path)
    check_type(document, dict, path, "", "a schema")
    document = with_parts(document, os.path.dirname(os.path.dirname(path)), parts, path)
    document = assembled(document, families)
    step = Step()
    step.path, step.name, step.c_name = path, name, c_name(name)
    allow(document, ROOT_WORDS, path, "", "a step")
    check_frame(document, name, path, "step")
    if document.get("x-target") not in (None, True, False, "none", "any", "one", "many"):
        raise Refused(path, "/x-target", "must be \"one\", \"many\", \"any\" or \"none\"")
    whole, added = with_common(document, common, path)
    inputs = {k: whole[k] for k in whole if k in ("type", "properties", "required", "additionalProperties", "oneOf", "anyOf")}
    step.inputs = read_struct(inputs, step.c_name, name, path, "")
    for field in step.inputs.fields:
        field.common = field.name in added
        if not field.description:
            raise Refused(path, f"/properties/{field.name}", "has no description")
    step.inputs.fields.sort(key=lambda f: f.common)
    step.outputs = None
    if "x-outputs" in document:
        outputs = {"additionalProperties": False, **document["x-outputs"]}
        step.outputs = read_struct(outputs, step.c_name + "_out", name, path, "/x-outputs")
    step.document = document
    step.facts = read_facts(document, step.inputs, path)
    step.published = published(whole)
    step.published["x-target"] = document.get("x-target") in (True, "one", "many")
    return step


EXPRESSION = {"type": "string", "pattern": "\\$\\{\\{"}
SHAPES = {"type", "enum", "const", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "items", "properties",
          "additionalProperties", "propertyNames", "required", "oneOf", "anyOf", "minProperties", "$ref"}


def open_to_expressions(schema):
    """Any value of a deployment file may be an expression, whose value is checked once it is known."""
    if not isinstance(schema, dict):
        return schema
    result = {}
    for word, value in schema.items():
        if word in ("properties", "definitions", "patternProperties"):
            result[word] = {name: wrap(sub) if word != "definitions" else open_to_expressions(sub) for name, sub in value.items()}
        elif word in ("items", "additionalProperties") and isinstance(value, dict):
            result[word] = wrap(value)
        elif word in ("anyOf", "oneOf", "allOf"):
            result[word] = [open_to_expressions(sub) for sub in value]
        else:
            result[word] = value
    return result


def wrap(schema):
    shape = open_to_expressions({k: v for k, v in schema.items() if k in SHAPES}) if isinstance(schema, dict) else {}
    if not shape or shape == {"type": "string"}:
        return schema
    rest = {k: v for k, v in schema.items() if k not in SHAPES}
    return {**rest, "if": EXPRESSION, "then": True, "else": shape}


def referring(schema, name):
    """A shape that refers to itself, as a definition of another document."""
    if isinstance(schema, list):
        return [referring(value, name) for value in schema]
    if not isinstance(schema, dict):
        return schema
    return {word: name if word == "$ref" and value == "#" else referring(value, name) for word, value in schema.items()}


def with_targets(document, family):
    """The definition `target` with each kind of targets in it."""
    definitions = document["definitions"]
    definitions["target"] = assembled(definitions["target"], {"targets": family})
    for choice in family.choices:
        name = "target-" + choice.name
        definitions[name] = published(referring(choice.shape, "#/definitions/" + name))
        definitions["target"]["properties"][choice.name] = {"$ref": "#/definitions/" + name}
    definitions["target"] = published(definitions["target"])


def with_steps(document, steps, families):
    """The schema of deployment files with each step's inputs in it. What the file says once for all steps is no input there."""
    document = json.loads(json.dumps(document))
    with_targets(document, families["targets"])
    frame = document["definitions"]["step"]
    frame["additionalProperties"] = False
    for step in steps:
        inputs = {k: v for k, v in step.published.items() if k in ("type", "properties", "required", "additionalProperties", "oneOf", "anyOf")}
        inputs["properties"] = {n: s for n, s in inputs.get("properties", {}).items() if n not in ("targets", "deployment")
                                or n in step.document.get("properties", {})}
        inputs["type"] = ["object", "null"]
        document["definitions"]["step-" + step.name] = inputs
        frame["properties"][step.name] = {"description": step.document["description"], "$ref": "#/definitions/step-" + step.name}
    return open_to_expressions(document)


def pruned(document):
    """Without the definitions that nothing refers to any more."""
    needed, left = set(), [{k: v for k, v in document.items() if k != "definitions"}]
    while left:
        node = left.pop()
        if isinstance(node, list):
            left.extend(node)
        elif isinstance(node, dict):
            left.extend(node.values())
            name = str(node.get("$ref", "")).removeprefix("#/definitions/")
            if name in document["definitions"] and name not in needed:
                needed.add(name)
                left.append(document["definitions"][name])
    return {**document, "definitions": {n: d for n, d in document["definitions"].items() if n in needed}}


def heads(document, frame):
    """What is left of the schema of deployment files for who reads the inputs of steps and the settings of targets by their own tables, which say
    more and accept values that an expression filled in. `frame`: as it was without the steps."""
    document = json.loads(json.dumps(document))
    targets = document["properties"]["targets"]
    targets.get("else", targets)["additionalProperties"] = True
    step = document["definitions"]["step"]
    step["properties"] = {name: step["properties"][name] for name in frame["definitions"]["step"]["properties"]}
    del step["additionalProperties"]
    return pruned(document)


def targets_alone(document):
    """What the targets of a deployment file may be."""
    return pruned({**document["properties"]["targets"], "definitions": document["definitions"]})
