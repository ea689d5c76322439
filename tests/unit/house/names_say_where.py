#!/usr/bin/env python3
"""The first word of a public function says where it is found: in its file's path, or beside the struct or enum that it serves."""
import os
import re
import subprocess
import sys

root = os.environ["DAVIT_SOURCE"]
FOLDERS = ("base", "engine", "providers", "steps", "agent")
# Idioms that every C programmer reads at once, and the two finders of the list of what others bring.
KNOWN = set("xmalloc xcalloc xrealloc xgrow xstrdup xstrndup xasprintf xmemdup freep closep take_fd change_find target_new".split())
DECLARATION = re.compile(r"^(?!typedef|static|return|else)[A-Za-z_][\w \*]*?[ \*]([a-z_]\w*)\(([^;{]*?)\)[^;{()]*(?:\([^;]*\))?;", re.M | re.S)
DEFINITION = re.compile(r"^(?!static|typedef)[A-Za-z_][\w \*]*?[ \*]([a-z_]\w*)\([^;{]*\)\n\{", re.M)
TYPE = re.compile(r"^(?:struct|enum) (\w+)", re.M)
FIRST_PARAMETER = re.compile(r"\s*(?:const )?(?:struct|enum) (\w+)")


def listed(pattern):
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", pattern], cwd=root, check=True, capture_output=True, text=True).stdout.split()
    return [name for name in names if name.split("/")[0] in FOLDERS and os.path.exists(os.path.join(root, name))]


def read(name):
    with open(os.path.join(root, name)) as f:
        return re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)


def words(path):
    """Of a path, in singular and plural."""
    found = set()
    for word in re.split(r"[/_]", os.path.splitext(path)[0]):
        found |= {word, word.rstrip("s"), word + "s"}
    return found


def main():
    definitions = {name: source for source in listed("*.c") for name in DEFINITION.findall(read(source))}
    wrong, count = [], 0
    for header in listed("*.h"):
        text = read(header)
        here = words(header) | {name.split("_")[0] for name in TYPE.findall(text)}
        for name, parameters in DECLARATION.findall(text):
            served = FIRST_PARAMETER.match(parameters)
            served = {served[1].split("_")[0], served[1].split("_")[-1]} if served else set()
            count += 1
            if name not in KNOWN and name.split("_")[0] not in here | served | words(definitions.get(name, "")):
                wrong.append(f"{header}: {name} ({definitions.get(name)})")
    print("\n".join(wrong))
    print(f"{count} functions, {len(wrong)} of them in no file that their name says")
    return 1 if wrong or count < 1000 else 0


sys.exit(main())
