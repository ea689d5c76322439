#!/usr/bin/env python3
"""Everything that follows from schemas/: typed C structs, field tables, built-in schema texts, action.yml files, reference pages.

    generate.py --out DIR --steps a,b --files c --resources d,e --targets f
                                                         the C of the named schemas, below DIR/schemas/
    generate.py --write  --steps a,b                     the committed outputs: actions/*/, docs/steps/
    generate.py --check  --steps a,b                     exit 1 when a committed output is not what --write would make

A keyword, a type or a name that is not implemented here stops it: FILE: /json/pointer: what. base/data/fields/read.h says how a schema
becomes a struct; docs/schemas.md explains the words.
"""

import argparse
import json
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import emit_c  # noqa: E402
import emit_pages  # noqa: E402
import model  # noqa: E402


FAMILIES = ("resources", "targets")


def write_if_changed(path, text):
    """Files that stay the same keep their time, so that nothing is compiled again."""
    try:
        with open(path, encoding="utf-8") as f:
            if f.read() == text:
                return
    except FileNotFoundError:
        pass
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def load_families(root, names_of):
    """Family → its members: what {"x-choices": FAMILY} stands for."""
    def members(family, load):
        return [load(os.path.join(root, family, name + ".json"), name) for name in names_of[family]]

    def load_target(path, name):
        return model.load_choice(path, name, "target")

    common = os.path.join(root, "targets", "common.json")
    return {"resources": model.Family(members("resources", model.load_resource)),
            "targets": model.Family(members("targets", load_target), load_target(common, "common") if os.path.exists(common) else None)}


def load_steps(root, names, families):
    if not names:
        return []
    common = model.load_json(os.path.join(root, "common.json"))
    return [model.load_step(os.path.join(root, "steps", name + ".json"), name, common, families, lambda family: listed_parts(root, family))
            for name in names]


def generate_c(root, out, steps, files, families):
    directory = os.path.join(out, "schemas")
    texts, parts = {}, {}
    for family, members in families.items():
        for choice in members.choices + ([members.common] if members.common else []):
            write_if_changed(os.path.join(directory, family, choice.name + ".h"), emit_c.choice_header(choice, family))
            write_if_changed(os.path.join(directory, family, choice.name + ".c"), emit_c.choice_source(choice, family))
    if not steps and not files:
        return
    for step in steps:
        write_if_changed(os.path.join(directory, step.c_name + ".h"), emit_c.header(step))
        write_if_changed(os.path.join(directory, step.c_name + ".c"), emit_c.source(step))
        texts[step.name] = step.published
    for name in files:
        path = os.path.join(root, name + ".json")
        document = model.load_json(path)
        model.check_words(document, path, "")
        texts[name] = model.with_steps(document, steps, families) if name == "deployment" else document
        if name == "deployment":
            parts = {"heads": model.heads(texts[name], document), "targets": model.targets_alone(texts[name])}
    write_if_changed(os.path.join(directory, "builtin.c"), emit_c.builtin(texts, parts))
    write_if_changed(os.path.join(directory, "tables.h"), emit_c.TABLES_HEADER)
    write_if_changed(os.path.join(directory, "tables.c"), emit_c.tables(steps))
    write_if_changed(os.path.join(directory, "step_info.h"), emit_c.INFO_HEADER)
    write_if_changed(os.path.join(directory, "step_info.c"), emit_c.info(steps))


def committed(root, steps):
    """Path relative to the tree → text."""
    outputs = {}
    for step in steps:
        # One that parks a deployment stands in its file: a job's steps cannot wait.
        if not step.facts.get("waits"):
            outputs[f"actions/{step.name}/action.yml"] = emit_pages.action(step)
            outputs[f"actions/{step.name}/README.md"] = emit_pages.action_readme(step)
        outputs[f"docs/steps/{step.name}.md"] = emit_pages.page(step)
    outputs["docs/steps/README.md"] = emit_pages.index(steps)
    version = project_version(root)
    if version:
        outputs["actions/setup/action.yml"] = emit_pages.setup_action()
        outputs["actions/setup/README.md"] = emit_pages.setup_readme()
        outputs["actions/release"] = emit_pages.release(version)
    return outputs


def project_version(root):
    """Of the program that these schemas are part of; None: of none, as in trials of this generator."""
    try:
        with open(os.path.join(os.path.dirname(root), "CMakeLists.txt"), encoding="utf-8") as f:
            found = re.search(r"^project\(davit VERSION ([0-9.]+)", f.read(), re.M)
    except FileNotFoundError:
        return None
    return found.group(1) if found else None


def check_committed(tree, outputs):
    stale = []
    for path, text in outputs.items():
        try:
            with open(os.path.join(tree, path), encoding="utf-8") as f:
                if f.read() != text:
                    stale.append(path)
        except FileNotFoundError:
            stale.append(path)
    for path in stale:
        print(f"{path}: is not what the schemas say; run schemas/gen/generate.py --write", file=sys.stderr)
    return 1 if stale else 0


def names(text):
    return [n for n in text.split(",") if n]


def listed_names(root, variable):
    """The list in schemas/CMakeLists.txt: the one place where a schema is named."""
    with open(os.path.join(root, "CMakeLists.txt"), encoding="utf-8") as f:
        text = f.read()
    start = text.index(f"set({variable}") + len(f"set({variable}")
    return text[start:text.index(")", start)].split()


def listed_parts(root, family):
    """"probes" → the list SCHEMA_PROBES."""
    return listed_names(root, "SCHEMA_" + family.upper())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default=os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser.add_argument("--tree", help="where --write and --check look; default: the folder above the schemas")
    parser.add_argument("--out")
    parser.add_argument("--steps", help="default: the list in CMakeLists.txt")
    parser.add_argument("--files")
    for family in FAMILIES:
        parser.add_argument("--" + family, help="default: none where --steps is given, else the list")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    tree = args.tree or os.path.dirname(args.root)
    try:
        step_names = names(args.steps) if args.steps is not None else listed_names(args.root, "SCHEMA_STEPS")
        file_names = names(args.files) if args.files is not None else listed_names(args.root, "SCHEMA_FILES")
        families = load_families(args.root, {
            family: names(getattr(args, family) or "") if args.steps is not None else listed_names(args.root, "SCHEMA_" + family.upper())
            for family in FAMILIES})
        steps = load_steps(args.root, step_names, families)
        if args.out:
            generate_c(args.root, args.out, steps, file_names, families)
        outputs = committed(args.root, steps) if args.write or args.check else {}
    except model.Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    if args.write:
        for path, text in outputs.items():
            write_if_changed(os.path.join(tree, path), text)
    return check_committed(tree, outputs) if args.check else 0


if __name__ == "__main__":
    sys.exit(main())
