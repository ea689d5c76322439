"""C from the model of a step or of a choice: structs and conversions in NAME.h, field tables in NAME.c, all texts in builtin.c."""

import json
import re

NOTE = "/* Generated from schemas/%s.json by schemas/gen/generate.py. */\n"

KINDS = {
    "string": "FIELD_STRING", "enum": "FIELD_ENUM", "integer": "FIELD_INTEGER", "number": "FIELD_NUMBER", "boolean": "FIELD_BOOLEAN",
    "duration": "FIELD_DURATION", "size": "FIELD_SIZE", "mode": "FIELD_MODE", "strings": "FIELD_STRINGS", "list": "FIELD_LIST",
    "integers": "FIELD_INTEGERS", "object": "FIELD_OBJECT", "objects": "FIELD_OBJECTS", "choices": "FIELD_CHOICES", "self": "FIELD_SELF", "map": "FIELD_MAP", "json": "FIELD_JSON",
}
# kind → declaration of the member, whether has_ stands beside it
MEMBERS = {
    "string": ("const char *%s;", False), "integer": ("int64_t %s;", True), "number": ("double %s;", True), "boolean": ("bool %s;", True),
    "duration": ("int64_t %s_ms;", True), "size": ("int64_t %s_bytes;", True), "mode": ("int64_t %s;", True),
    "strings": ("struct field_strings %s;", True), "list": ("struct field_strings %s;", True),
    "integers": ("struct field_integers %s;", True), "map": ("struct field_map %s;", True), "json": ("const json_t *%s;", False),
}


def quoted(text):
    """A C string literal; trigraphs and control characters cannot slip in."""
    out = []
    for byte in text.encode("utf-8"):
        char = chr(byte)
        if char in '"\\':
            out.append("\\" + char)
        elif char == "\n":
            out.append("\\n")
        elif char == "?":
            out.append("\\?")
        elif 0x20 <= byte < 0x7F:
            out.append(char)
        else:
            out.append("\\%03o" % byte)
    return '"' + "".join(out) + '"'


def upper(name):
    return re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def member_name(field):
    suffix = {"duration": "_ms", "size": "_bytes"}.get(field.kind, "")
    base = field.c_name.rstrip("_") if suffix else field.c_name
    return base + suffix


def has_name(field):
    return "has_" + field.c_name.rstrip("_")


def has_has(field):
    return field.kind in ("enum", "object") or (field.kind in MEMBERS and MEMBERS[field.kind][1])


def own_struct(field):
    """The struct of the member; those of choices have headers of their own."""
    return field.struct if field.kind != "choices" else None


def enum_name(struct, field):
    return f"{struct.c_name}_{field.c_name.rstrip('_')}"


def declaration(struct, field):
    if field.kind == "enum":
        return f"enum {enum_name(struct, field)} {field.c_name};"
    if field.kind == "object":
        return f"struct {field.struct.c_name} {field.c_name};"
    if field.kind == "objects":
        return f"struct {field.struct.c_name} *{field.c_name};\n\tsize_t {field.c_name.rstrip('_')}_count;"
    if field.kind == "self":
        return f"struct {field.self_name} *{field.c_name};"
    if field.kind == "choices":
        return f"struct field_chosen *{field.c_name};\n\tsize_t {field.c_name.rstrip('_')}_count;"
    return MEMBERS[field.kind][0] % (field.c_name.rstrip("_") if field.kind in ("duration", "size") else field.c_name)


def comment(field):
    notes = []
    if field.required:
        notes.append("required")
    if field.secret:
        notes.append("secret")
    if field.has_default:
        notes.append("default " + json.dumps(field.schema["default"], ensure_ascii=True))
    text = "; ".join(notes).replace("*/", "* /")
    return f"  /* {text} */" if text else ""


def emit_enums(struct, out):
    for field in struct.fields:
        if own_struct(field):
            emit_enums(field.struct, out)
        if field.kind != "enum":
            continue
        name = enum_name(struct, field)
        values = ", ".join(f"{name.upper()}_{upper(v)}" for v in field.values)
        out.append(f"enum {name} {{ {values} }};\n"
                   f"const char *{name}_name(enum {name} value);\n"
                   f"bool {name}_from(const char *text, enum {name} *ret);\n\n")


def emit_struct(struct, tag, out):
    for field in struct.fields:
        if own_struct(field):
            emit_struct(field.struct, field.struct.c_name, out)
    out.append(f"struct {tag} {{\n")
    for field in struct.fields:
        out.append(f"\t{declaration(struct, field)}{comment(field)}\n")
        if has_has(field):
            out.append(f"\tbool {has_name(field)};\n")
    if not struct.fields:
        out.append("\tchar nothing;\n")
    out.append("};\n\n")


def structs_with_parts(struct):
    inner = [s for field in struct.fields if field.struct for s in structs_with_parts(field.struct)]
    return inner + ([struct] if struct.parts else [])


def emit_parts(struct, out):
    """Which inputs belong to which part, by name; a NULL ends each list."""
    for i, (_, members) in enumerate(struct.parts):
        out.append(f"static const char *const {struct.c_name}_part_{i}[] = {{ {', '.join(quoted(m) for m in members)}, NULL }};\n")
    out.append(f"const struct field_part {struct.c_name}_parts[] = {{\n")
    out.extend(f"\t{{ {quoted(name)}, {struct.c_name}_part_{i} }},\n" for i, (name, _) in enumerate(struct.parts))
    out.append("\t{ NULL, NULL },\n};\n\n")


def header(step):
    out = ["#pragma once\n", NOTE % f"steps/{step.name}", '#include "schemas/step_info.h"\n\n']
    emit_enums(step.inputs, out)
    emit_struct(step.inputs, step.c_name + "_in", out)
    out.extend(f"extern const struct field_part {s.c_name}_parts[]; /* up to one without a name */\n" for s in structs_with_parts(step.inputs))
    out.append(f"extern const struct field_table {step.c_name}_fields;\nextern const struct step_info {step.c_name}_info;\n")
    if step.outputs:
        out.append("\n")
        emit_enums(step.outputs, out)
        emit_struct(step.outputs, step.outputs.c_name, out)
        out.append(f"extern const struct field_table {step.c_name}_out_fields;\n")
    return "".join(out)


def number(value):
    return repr(float(value))


def limits(field, parts):
    s = field.schema
    for low, flag in (("minimum", None), ("exclusiveMinimum", "above_minimum")):
        if low in s:
            parts.append(f".has_minimum = true, .minimum = {number(s[low])}" + (f", .{flag} = true" if flag else ""))
    for high, flag in (("maximum", None), ("exclusiveMaximum", "below_maximum")):
        if high in s:
            parts.append(f".has_maximum = true, .maximum = {number(s[high])}" + (f", .{flag} = true" if flag else ""))
    least = s.get("minItems", s.get("minProperties", 0))
    most = s.get("maxItems", s.get("maxProperties"))
    if field.kind == "json":
        least, most = 0, None
    if least:
        parts.append(f".min_items = {least}")
    parts.append(f".max_items = {'FIELD_NONE' if most is None else most}")
    if s.get("uniqueItems") and field.kind != "json":
        parts.append(".unique = true")


def texts(field, parts):
    if "minLength" in field.texts:
        parts.append(f".min_length = {field.texts['minLength']}")
    parts.append(f".max_length = {field.texts.get('maxLength', 'FIELD_NONE')}")
    if "pattern" in field.texts:
        parts.append(f".pattern = {quoted(field.texts['pattern'])}")
    if field.key_pattern:
        parts.append(f".key_pattern = {quoted(field.key_pattern)}")


def table_entry(struct, tag, field):
    parts = [f".name = {quoted(field.name)}", f".kind = {KINDS[field.kind]}", f".offset = offsetof(struct {tag}, {member_name(field)})"]
    parts.append(f".has_offset = offsetof(struct {tag}, {has_name(field)})" if has_has(field) else ".has_offset = FIELD_NONE")
    if field.kind in ("objects", "choices"):
        parts.append(f".count_offset = offsetof(struct {tag}, {field.c_name.rstrip('_')}_count)")
    if field.required:
        parts.append(".required = true")
    if field.secret:
        parts.append(".secret = true")
    if field.kind == "self":
        parts.append(f".table = &{field.self_name}_fields")
    if own_struct(field):
        parts.append(f".table = &{field.struct.c_name}_table")
    if field.values:
        parts.append(f".values = {enum_name(struct, field)}_values, .value_count = {len(field.values)}")
    if field.has_default:
        parts.append(f".default_text = {quoted(json.dumps(field.schema['default'], ensure_ascii=False))}")
    texts(field, parts)
    limits(field, parts)
    if field.kind == "json":
        types = " | ".join("FIELD_TYPE_" + t.upper() for t in field.json_types)
        if "number" in field.json_types and "integer" not in field.json_types:
            types += " | FIELD_TYPE_INTEGER"
        parts.append(f".json_types = {types}")
        if field.json_schema:
            parts.append(f".schema = {quoted(json.dumps(field.json_schema, ensure_ascii=False))}")
    return "\t{ " + ",\n\t  ".join(parts) + " },\n"


def emit_values(struct, out):
    for field in struct.fields:
        if not field.values:
            continue
        name = enum_name(struct, field)
        out.append(f"static const char *const {name}_values[] = {{ {', '.join(quoted(v) for v in field.values)} }};\n")
        if field.kind != "enum":
            continue
        out.append(f"\nconst char *{name}_name(enum {name} value)\n{{\n\treturn {name}_values[value];\n}}\n\n"
                   f"bool {name}_from(const char *text, enum {name} *ret)\n{{\n"
                   f"\tfor (size_t i = 0; i < {len(field.values)}; i++) {{\n"
                   f"\t\tif (strcmp({name}_values[i], text) == 0) {{\n"
                   f"\t\t\t*ret = (enum {name})i;\n\t\t\treturn true;\n\t\t}}\n\t}}\n\treturn false;\n}}\n\n")


def emit_table(struct, tag, table, label, linkage, out):
    for field in struct.fields:
        if own_struct(field):
            emit_table(field.struct, field.struct.c_name, field.struct.c_name + "_table", field.name, "static ", out)
    emit_values(struct, out)
    group_text = ""
    for i, (exactly_one, members) in enumerate(struct.groups):
        out.append(f"static const char *const {table}_group_{i}[] = {{ {', '.join(quoted(m) for m in members)} }};\n")
    if struct.groups:
        rows = ", ".join(f"{{ {'true' if one else 'false'}, {table}_group_{i}, {len(members)} }}"
                         for i, (one, members) in enumerate(struct.groups))
        out.append(f"static const struct field_group {table}_groups[] = {{ {rows} }};\n")
        group_text = f", .groups = {table}_groups, .group_count = {len(struct.groups)}"
    if struct.fields:
        out.append(f"static const struct field {table}_list[] = {{\n")
        out.extend(table_entry(struct, tag, f) for f in struct.fields)
        out.append("};\n")
    listed = f"{table}_list" if struct.fields else "NULL"
    out.append(f"{linkage}const struct field_table {table} = {{ .name = {quoted(label)}, .size = sizeof(struct {tag}), "
               f".fields = {listed}, .count = {len(struct.fields)}{group_text} }};\n\n")


def source(step):
    out = [NOTE % f"steps/{step.name}", f'#include "schemas/{step.c_name}.h"\n', '#include "base/data/fields/table.h"\n\n']
    emit_table(step.inputs, step.c_name + "_in", step.c_name + "_fields", step.name, "", out)
    for struct in structs_with_parts(step.inputs):
        emit_parts(struct, out)
    if step.outputs:
        emit_table(step.outputs, step.outputs.c_name, step.c_name + "_out_fields", step.name, "", out)
    return "".join(out)


def choice_header(choice, family):
    out = ["#pragma once\n", NOTE % f"{family}/{choice.name}", '#include "base/data/fields/read.h"\n\n']
    emit_enums(choice.struct, out)
    emit_struct(choice.struct, choice.c_name, out)
    key = f", .key = {quoted(choice.key)}" if choice.key else ""
    out.append(f"extern const struct field_table {choice.c_name}_fields;\n"
               f"#define {choice.c_name.upper()}_CHOICE {{ .name = {quoted(choice.name)}, .table = &{choice.c_name}_fields{key} }}\n")
    return "".join(out)


def choice_source(choice, family):
    out = [NOTE % f"{family}/{choice.name}", f'#include "schemas/{family}/{choice.name}.h"\n', '#include "base/data/fields/table.h"\n\n#include <string.h>\n\n']
    emit_table(choice.struct, choice.c_name, choice.c_name + "_fields", choice.name, "", out)
    return "".join(out)


def builtin(documents, parts):
    out = ["/* Generated by schemas/gen/generate.py: the texts of all schemas. */\n", '#include "base/data/schema/compile.h"\n\n']
    ordered = sorted(documents)
    for i, name in enumerate(ordered):
        # Without white space: half of the text would be that. A line of the source is one of the text as people read it.
        lines = json.dumps(documents[name], indent=0, separators=(",", ":"), ensure_ascii=False).split("\n")
        out.append(f"static const char text_{i}[] =\n")
        out.append("\n".join("\t" + quoted(line) for line in lines) + ";\n\n")
    listed = ", ".join(quoted(n) for n in ordered)
    pointers = ", ".join(f"text_{i}" for i in range(len(ordered)))
    out.append(f"static const char *const names[] = {{ {listed} }};\n")
    out.append(f"static const char *const texts[] = {{ {pointers} }};\n\n")
    out.append(f"const char *schema_builtin(const char *name)\n{{\n\tfor (size_t i = 0; i < {len(ordered)}; i++)\n"
               "\t\tif (strcmp(names[i], name) == 0)\n\t\t\treturn texts[i];\n\treturn NULL;\n}\n\n")
    out.append(f"const char *const *schema_builtin_names(size_t *ret_count)\n{{\n\t*ret_count = {len(ordered)};\n\treturn names;\n}}\n")
    for name, part in parts.items():
        text = json.dumps(part, separators=(",", ":"), ensure_ascii=False)
        out.append(f"\nconst char *schema_builtin_{name}(void)\n{{\n\treturn {quoted(text)};\n}}\n")
    return "".join(out)


INFO_HEADER = """/* Generated by schemas/gen/generate.py. What the schemas say of steps, for programs that have no step's code. */
#pragma once
#include "base/data/fields/read.h"

enum step_targets { STEP_TARGETS_NONE, STEP_TARGETS_ANY, STEP_TARGETS_ONE, STEP_TARGETS_MANY };
struct step_info {
	const char *name; /* "archive-upload" */
	const struct field_table *inputs;
	size_t input_size;
	enum step_targets targets;
	bool changes; /* may change something: opens the deployment of a job */
	bool joins;   /* changes nothing, but belongs to the deployment of its job once that is open */
	bool decides; /* ends a deployment instead of being a part of it */
	bool data;    /* its undo puts users' data back: only when that is asked for, once the deployment is committed */
	bool reports; /* says by itself how its deployment ended */
	bool waits;   /* parks its deployment until people agree; in a deployment file only */
	/* Names of inputs; NULL: none. */
	const char *kept;     /* the step is kept for a later rollback when this input is given; "always" */
	const char *releases; /* the directory of its releases */
	const char *secrets;  /* gets the names of the deployment's secrets that are set */
	const char *whole;    /* takes secrets by name: all of them only with `keys` */
	const char *file;     /* a deployment file that a step on its own in a job reads */
	const char *string;   /* what a bare string in place of the inputs means */
	const char *certificates; /* a list whose items may have `tls`: a server's certificate */
	const char *destroy;      /* with the environment's name in it all that the step made is destroyed */
	const char *aside;        /* when this input is given, what an API has is kept aside before it is changed */
	const char *spare;        /* a list that a later rollback needs only with `aside`: else an empty one is kept */
};
/* NULL: there is none of that name. */
const struct step_info *step_info(const char *name);
/* In the order of schemas/CMakeLists.txt. */
const struct step_info *const *step_info_all(size_t *ret_count);
"""


def info(steps):
    out = ["/* Generated by schemas/gen/generate.py: what the schemas say of the steps. */\n", '#include "schemas/step_info.h"\n\n', "#include <string.h>\n\n"]
    for step in steps:
        out.append(f'#include "schemas/{step.c_name}.h"\n')
    out.append("\n")
    for step in steps:
        target = step.document.get("x-target")
        target = {True: "MANY", None: "NONE", False: "NONE"}.get(target, str(target).upper())
        out.append(f"const struct step_info {step.c_name}_info = {{\n\t.name = {quoted(step.name)},\n\t.inputs = &{step.c_name}_fields,\n"
                   f"\t.input_size = sizeof(struct {step.c_name}_in),\n\t.targets = STEP_TARGETS_{target},\n")
        for word, value in step.facts.items():
            out.append(f"\t.{word} = {'true' if value is True else quoted(value)},\n")
        out.append("};\n\n")
    out.append("static const struct step_info *const all[] = {\n" + "".join(f"\t&{s.c_name}_info,\n" for s in steps) + "};\n\n")
    out.append("const struct step_info *const *step_info_all(size_t *ret_count)\n{\n\t*ret_count = sizeof(all) / sizeof(all[0]);\n\treturn all;\n}\n\n"
               "const struct step_info *step_info(const char *name)\n{\n\tfor (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)\n"
               "\t\tif (strcmp(all[i]->name, name) == 0)\n\t\t\treturn all[i];\n\treturn NULL;\n}\n")
    return "".join(out)


def tables(steps):
    """Name → field table, for whoever handles steps without knowing them."""
    out = ["/* Generated by schemas/gen/generate.py: the field tables of all steps, by name. */\n", '#include "schemas/tables.h"\n\n']
    out.extend(f'#include "schemas/{s.c_name}.h"\n' for s in steps)
    rows = "".join(f"\t{{ {quoted(s.name)}, &{s.c_name}_fields }},\n" for s in steps)
    out.append("\nstatic const struct { const char *name; const struct field_table *table; } all[] = {\n" + rows + "};\n\n"
               "const struct field_table *schema_table(const char *name)\n{\n\tfor (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)\n"
               "\t\tif (strcmp(all[i].name, name) == 0)\n\t\t\treturn all[i].table;\n\treturn NULL;\n}\n")
    return "".join(out)


TABLES_HEADER = """#pragma once
/* Generated by schemas/gen/generate.py. */
#include "base/data/fields/read.h"

/* The inputs of a step by its name ("archive-upload"), or NULL. */
const struct field_table *schema_table(const char *name);
"""
