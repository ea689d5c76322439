"""What is committed: actions/NAME/action.yml and README.md, docs/steps/NAME.md and their index."""

import json

NOTE = "Generated from schemas/steps/%s.json by schemas/gen/generate.py --write; do not edit."
TYPES = {
    "string": "text", "enum": "one of", "integer": "whole number", "number": "number", "boolean": "true, false", "duration": "duration",
    "size": "size", "mode": "permissions", "strings": "text or list of texts", "list": "list of texts", "object": "map",
    "integers": "whole number or list of them", "objects": "list of maps", "choices": "list of maps", "map": "map of texts", "json": "any",
}
WORDS = {
    "null": "nothing", "boolean": "true, false", "integer": "whole number", "number": "number", "string": "text", "array": "list",
    "object": "map",
}
STRUCTURED = {"strings", "list", "integers", "object", "objects", "choices", "map", "json"}


def scalar(text):
    """A YAML scalar that any reader takes as text: JSON strings are YAML."""
    return json.dumps(text, ensure_ascii=False)


def default_text(field):
    """What stands in action.yml: all inputs of an action are texts."""
    if "x-default-text" in field.schema:
        return field.schema["x-default-text"]
    if not field.has_default:
        return None
    value = field.schema["default"]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def type_text(field):
    if field.kind == "enum":
        return ", ".join(f"`{v}`" for v in field.values)
    if field.kind == "json" and len(field.json_types) < 7:
        return " or ".join(WORDS[t] for t in field.json_types)
    return TYPES[field.kind]


def action_inputs(step):
    """A deployment's name goes by its own inputs in a workflow; both ways reach the same reader."""
    return step.inputs.fields


def action(step):
    out = [f"# {NOTE % step.name}\n", f"name: {scalar('davit ' + step.name)}\n", f"description: {scalar(step.document['description'])}\n"]
    fields = action_inputs(step)
    if fields:
        out.append("inputs:\n")
    for field in fields:
        description = field.description
        if field.kind in STRUCTURED:
            description += " A list or a map is given as YAML or JSON in the text."
        out.append(f"  {field.name}:\n    description: {scalar(description)}\n    required: {'true' if field.required else 'false'}\n")
        if "x-default-text" in field.schema:
            out.append(f"    default: {scalar(default_text(field))}\n")
    if step.outputs:
        out.append("outputs:\n")
        for field in step.outputs.fields:
            out.append(f"  {field.name}:\n    description: {scalar(field.description)}\n"
                       f"    value: ${{{{ steps.davit.outputs.{field.name} }}}}\n")
    out.append("runs:\n  using: composite\n  steps:\n    - id: davit\n      shell: bash\n")
    if fields:
        out.append("      env:\n")
    for field in fields:
        out.append(f"        INPUT_{field.name.upper()}: ${{{{ inputs.{field.name} }}}}\n")
    out.append("      run: |\n"
               "        command -v davit >/dev/null || { echo '::error::davit is not on the PATH of this runner: https://github.com/davit-deploy/davit/blob/v1/docs/tasks/install.md says how it gets there'; exit 2; }\n"
               f"        exec davit step {step.name}\n")
    return "".join(out)


def action_readme(step):
    return (f"<!-- {NOTE % step.name} -->\n# {step.name}\n\n{step.document['description']}\n\n"
            "On a davit agent the step runs natively; under another self-hosted runner this action calls the `davit` that is installed "
            f"there.\n\n```yaml\n- uses: davit-deploy/davit/actions/{step.name}@v1\n{with_block(step)}```\n\n"
            f"Inputs, outputs and what is undone: [docs/steps/{step.name}.md](../../docs/steps/{step.name}.md).\n")


def with_block(step):
    """The required inputs, by name and kind."""
    required = [f for f in step.inputs.fields if f.required]
    if not required:
        return ""
    lines = ["  with:\n"]
    for field in required:
        lines.append(f"    {field.name}: …\n")
    return "".join(lines)


def cell(text):
    return " ".join(text.split()).replace("|", "\\|")


def default_cell(field):
    if field.required:
        return "required"
    if field.has_default:
        value = field.schema["default"]
        return "`" + (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) + "`"
    if "x-default-text" in field.schema:
        return "`" + field.schema["x-default-text"] + "`"
    return ""


def rows(struct, prefix, out, common):
    for field in struct.fields:
        if field.common != common:
            continue
        secret = " Secret." if field.secret else ""
        out.append(f"| `{prefix}{field.name}` | {cell(type_text(field))} | {cell(default_cell(field))} | {cell(field.description)}{secret} |\n")
        if field.struct:
            rows(field.struct, prefix + field.name + ("[]." if field.kind in ("objects", "choices") else "."), out, False)


def groups(struct, prefix, out):
    for one, members in struct.groups:
        out.append(f"- {'Exactly one' if one else 'At least one'} of {', '.join(f'`{prefix}{m}`' for m in members)} is needed.\n")
    for field in struct.fields:
        if field.struct:
            groups(field.struct, prefix + field.name + ("[]." if field.kind in ("objects", "choices") else "."), out)


def paragraph(out, title, text):
    if not text:
        return
    if isinstance(text, list):
        text = "\n".join(f"- {t}" for t in text)
    out.append(f"## {title}\n\n{text}\n\n")


def page(step):
    d = step.document
    out = [f"<!-- {NOTE % step.name} -->\n# {step.name}\n\n{d['description']}\n\n"]
    own = [f for f in step.inputs.fields if not f.common]
    if own:
        out.append("## Inputs\n\n| name | type | default | meaning |\n| --- | --- | --- | --- |\n")
        rows(step.inputs, "", out, False)
        out.append("\n")
    rules = []
    groups(step.inputs, "", rules)
    if rules:
        out.append("".join(rules) + "\n")
    if len(own) < len(step.inputs.fields):
        out.append("Inputs that it shares with other steps:\n\n| name | type | default | meaning |\n| --- | --- | --- | --- |\n")
        rows(step.inputs, "", out, True)
        out.append("\n")
    if step.outputs:
        out.append("## Outputs\n\n| name | type | meaning |\n| --- | --- | --- |\n")
        for field in step.outputs.fields:
            out.append(f"| `{field.name}` | {cell(type_text(field))} | {cell(field.description)} |\n")
        out.append("\n")
    paragraph(out, "What the plan shows", d.get("x-plan"))
    paragraph(out, "Changes", d.get("x-changes"))
    paragraph(out, "Undo", d.get("x-undo"))
    paragraph(out, "What stays", d.get("x-stays"))
    if d.get("x-example"):
        where = "workflow" if "uses:" in d["x-example"] else "deployment file"
        out.append(f"## Example\n\nIn a {where}:\n\n```yaml\n{d['x-example'].rstrip()}\n```\n\n")
    out.append(f"The schema itself: `davit schema {step.name}`.\n")
    return "".join(out)


def index(steps):
    out = ["<!-- Generated from schemas/steps/ by schemas/gen/generate.py --write; do not edit. -->\n# The steps\n\n",
           "Each step is described by one JSON Schema in `schemas/steps/`; these pages are made from it. In a deployment file a step is an item "
           "of `steps:`; in a workflow it is `uses: davit-deploy/davit/actions/NAME@v1`; in a shell, `davit step NAME --input FILE`. `approve` stands in a "
           "deployment file only.\n\n",
           "| step | does |\n| --- | --- |\n"]
    for step in steps:
        out.append(f"| [{step.name}]({step.name}.md) | {cell(step.document['description'])} |\n")
    return "".join(out)
