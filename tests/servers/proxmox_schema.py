"""What Proxmox's published schema says of a request: its parameters and its permissions. None of it is in this tree: it is read where the contracts
are at hand (DAVIT_CONTRACTS, else ../shared/contracts beside the source tree)."""
import json
import os
import re

SOURCE = os.environ.get("DAVIT_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
CONTRACTS = os.environ.get("DAVIT_CONTRACTS", os.path.join(os.path.realpath(SOURCE), "..", "shared", "contracts"))
PRIVILEGES = ["VM.Audit", "VM.PowerMgmt", "VM.Allocate", "VM.Clone", "VM.Snapshot", "VM.Snapshot.Rollback", "VM.Config.Disk", "VM.Config.CPU", "VM.Config.Memory",
              "VM.Config.Network", "VM.Config.Options", "VM.Config.HWType", "VM.Config.Cloudinit", "VM.Config.CDROM", "Datastore.AllocateSpace",
              "VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted", "Datastore.Audit", "SDN.Use", "Sys.Audit"]


def load():
    """None: the contracts are not at hand."""
    try:
        with open(os.path.join(CONTRACTS, "proxmox-api.json")) as f:
            return json.load(f)["paths"]
    except FileNotFoundError:
        return None


def expression(pattern):
    """Perl's (?^:…) is (?:…) here."""
    return re.sub(r"\(\?\^\w*:", "(?:", pattern)


def number_fault(schema, value, whole):
    if not re.fullmatch(r"-?\d+" if whole else r"-?\d+(\.\d+)?", value):
        return "type check ('integer') failed - got '%s'" % value if whole else "type check ('number') failed - got '%s'" % value
    if float(value) < schema.get("minimum", float("-inf")):
        return f"value must have a minimum value of {schema['minimum']}"
    if float(value) > schema.get("maximum", float("inf")):
        return f"value must have a maximum value of {schema['maximum']}"
    return None


def list_fault(form, value):
    """A value that is a list of its own."""
    default = next((k for k, v in form.items() if v.get("default_key")), None)
    given = {}
    for part in value.split(","):
        name, equals, text = part.partition("=")
        if not equals:
            name, text = default, part
        if name in given:
            return f"duplicate key in comma-separated list property: {name}"
        if name not in form:
            return f"invalid format - {name}: property is not defined in schema"
        target = form[form[name]["alias"]] if "alias" in form[name] and form[name]["alias"] in form else form[name]
        fault = value_fault(target, text)
        if fault:
            return f"invalid format - {name}: {fault}"
        given[name] = text
    aliases = {form[n].get("alias", n) for n in given} | {form[n].get("keyAlias") for n in given}
    missing = [n for n, s in form.items() if not s.get("optional") and "alias" not in s and n not in given and n not in aliases]
    return f"invalid format - {missing[0]}: property is missing and it is not optional" if missing else None


def value_fault(schema, value):
    kind = schema.get("type", "string")
    if kind == "boolean":
        return None if value in ("0", "1") else f"type check ('boolean') failed - got '{value}'"
    if kind in ("integer", "number"):
        return number_fault(schema, value, kind == "integer")
    if "enum" in schema and value not in schema["enum"]:
        return f"value '{value}' does not have a value in the enumeration"
    if "pattern" in schema and not re.fullmatch(expression(schema["pattern"]).strip("^$"), value):
        return "value does not match the regex pattern"
    if len(value) > schema.get("maxLength", len(value)) or len(value) < schema.get("minLength", 0):
        return "value has a wrong length"
    return list_fault(schema["format"], value) if isinstance(schema.get("format"), dict) else None


def parameter_of(known, name):
    """net0 is one of net[n]."""
    return known.get(name) or known.get(re.sub(r"\d+$", "[n]", name))


def faults(schema, method, template, params):
    of = schema.get(template, {}).get(method)
    if of is None:
        return {"path": f"{method} {template} is not in the schema"}
    known, found = of["parameters"].get("properties", {}), {}
    for name, value in params.items():
        parameter = parameter_of(known, name)
        fault = value_fault(parameter, value) if parameter else "property is not defined in schema and the schema does not allow additional properties"
        if fault:
            found[name] = fault
    for name, parameter in known.items():
        if not parameter.get("optional") and name not in params and "[" not in name:
            found[name] = "property is missing and it is not optional"
    return found


def checked(rule, params, may):
    """What is missing of a rule, None: nothing."""
    if rule[0] in ("and", "or"):
        results = [checked(r, params, may) for r in rule[1:]]
        return next((r for r in results if r), None) if rule[0] == "and" else None if None in results else results[0]
    if rule[0] != "perm":
        return None
    path = re.sub(r"\{(\w+)\}", lambda m: params.get(m[1], ""), rule[1])
    has = [may(path, privilege) for privilege in rule[2]]
    enough = any(has) if "any" in rule else all(has)
    return None if enough else f"{path}, {'|'.join(rule[2]) if 'any' in rule else next(p for p, h in zip(rule[2], has) if not h)}"


def missing(schema, method, template, params, may):
    rule = schema.get(template, {}).get(method, {}).get("permissions", {}).get("check")
    return checked(rule, params, may) if rule else None
