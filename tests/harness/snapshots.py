"""What a snapshot's manifest says."""
import json


def head_of(folder):
    """Its head, and the digest of each file."""
    with open(folder + "/manifest", encoding="utf-8") as f:
        lines = f.read().splitlines()
    files = (line.split(" ") for line in lines[1:] if line.startswith("f "))
    return json.loads(lines[0]), {words[-1]: words[3] for words in files}
