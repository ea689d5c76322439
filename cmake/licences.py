#!/usr/bin/env python3
"""licences.py OUTPUT PARTS: the C source of what is built into a static program. PARTS is packaging/parts.py's JSON, with the licences' texts."""
import json
import sys
import zlib


def main():
    output, source = sys.argv[1:]
    with open(source, encoding="utf-8") as f:
        text = json.dumps(json.load(f)["parts"], ensure_ascii=False, separators=(",", ":")).encode()
    data = zlib.compress(text, 9)
    rows = "\n".join("\t" + "".join(f"{byte}," for byte in data[at:at + 32]) for at in range(0, len(data), 32))
    with open(output, "w", encoding="ascii") as f:
        f.write(f"""/* Made by cmake/licences.py. */
#include "agent/cmd/licences.h"

#include <stdlib.h>
#include <zlib.h>

static const unsigned char parts[] = {{
{rows}
}};

json_t *licences_built_in(void)
{{
	uLongf size = {len(text)};
	char *text = malloc(size);
	json_t *list = NULL;
	if (text != NULL && uncompress((unsigned char *)text, &size, parts, sizeof(parts)) == Z_OK)
		list = json_loadb(text, size, 0, NULL);
	free(text);
	return list;
}}
""")


main()
