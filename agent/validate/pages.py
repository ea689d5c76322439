#!/usr/bin/env python3
"""pages.py OUT PAGE.md…: the pages of docs/findings as a table in C, so that `davit explain CODE` prints them."""
import json
import os
import sys

out, *pages = sys.argv[1:]
rows = []
for path in sorted(pages):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    code = os.path.splitext(os.path.basename(path))[0]
    title, meaning, _ = text.split("\n\n", 2)
    if title != f"# `{code}`":
        sys.exit(f"{path}: it does not begin with \"# `{code}`\"")
    if not text.isascii():
        sys.exit(f"{path}: it is not all ASCII")
    # JSON's strings are C's, as long as all of it is ASCII.
    lines = "\n\t ".join(json.dumps(line) for line in text.splitlines(keepends=True))
    rows.append(f"\t{{{json.dumps(code)}, {json.dumps(meaning)},\n\t {lines}}},\n")
with open(out, "w", encoding="ascii") as f:
    f.write('#include "agent/validate/finding.h"\n\nconst struct finding_page finding_pages[] = {\n' + "".join(rows) + "\t{0},\n};\n")
