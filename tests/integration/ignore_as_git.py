#!/usr/bin/env python3
"""Our reading of .gitignore against git's own, on generated patterns and a tree that has what they speak of.

Usage: ignore_as_git.py [CASES [SEED]]. A difference is printed with its patterns, so that it can become a unit test.
"""
import os
import random
import subprocess
import sys
import tempfile

NAMES = ["a", "b", "ab", "a.c", "b.o", "x-y", "[z]", "a b", "é", "!n", "#h", "a*", "d", "foo", "bar", "A", "7"]
PIECES = ["a", "b", "*", "**", "?", "[ab]", "[!a]", "[^b]", "[a-c]", "[[:digit:]]", "[[:upper:]b]", "[]a]", "[a", "\\*",
          "\\[", "\\a", ".c", ".o", "foo", "bar", "ba", "d", "é", " ", "-", "[a-]", "[\\]z]", "[z-a]", "x", "[[:x:]]"]


def pattern(rng):
    parts = []
    for _ in range(rng.choice([1, 1, 1, 2, 2, 3])):
        kind = rng.random()
        if kind < 0.35:
            name = rng.choice(NAMES)
            parts.append(name)
        elif kind < 0.5:
            parts.append("**")
        elif kind < 0.6:
            parts.append("*")
        else:
            parts.append("".join(rng.choice(PIECES) for _ in range(rng.randint(1, 3))))
    text = "/".join(parts)
    if rng.random() < 0.25:
        text = "/" + text
    if rng.random() < 0.25:
        text += "/"
    if rng.random() < 0.25:
        text = "!" + text
    if rng.random() < 0.05:
        text += rng.choice([" ", "\\ ", "  ", "\\", "\r"])
    return text


def make_tree(rng, top):
    """Three levels of files and directories; returns paths relative to the top, directories with a slash."""
    paths = []

    def fill(prefix, depth):
        for name in rng.sample(NAMES, 6 if depth else 9):
            path = prefix + name
            if depth < 2 and rng.random() < 0.5:
                os.mkdir(os.path.join(top, path))
                paths.append(path + "/")
                fill(path + "/", depth + 1)
            else:
                with open(os.path.join(top, path), "w"):
                    pass
                paths.append(path)
    fill("", 0)
    return paths


def main():
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 20260131
    ours = os.path.join(os.environ["DAVIT_BUILD"], "tests", "ignore_cli")
    rng = random.Random(seed)
    different = excluded = 0
    env = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null")
    with tempfile.TemporaryDirectory(prefix="davit-ignore-") as work:
        top = os.path.join(work, "tree")
        os.mkdir(top)
        subprocess.run(["git", "init", "-q", top], check=True, env=env)
        paths = make_tree(rng, top)
        given = "".join(p + "\n" for p in paths).encode()
        # A directory is asked for without its slash too: git looks at the file system, as the walk does.
        asked = "".join(p.rstrip("/") + "\0" for p in paths).encode()
        for case in range(cases):
            patterns = [pattern(rng) for _ in range(rng.randint(1, 6))]
            file = os.path.join(work, "patterns")
            with open(file, "w", newline="") as out:
                out.write("".join(p + "\n" for p in patterns))
            git = subprocess.run(["git", "-c", "core.excludesFile=" + file, "-C", top, "check-ignore", "--no-index", "-z",
                                  "--stdin"], input=asked, capture_output=True, env=env)
            if git.returncode not in (0, 1):
                sys.exit("git check-ignore: " + git.stderr.decode())
            theirs = set(git.stdout.decode().split("\0")) - {""}
            run = subprocess.run([ours, file], input=given, capture_output=True)
            if run.returncode != 0:
                sys.exit("ignore_cli: " + run.stderr.decode())
            mine = {line.rstrip("/") for line in run.stdout.decode().split("\n")} - {""}
            excluded += len(theirs)
            if mine != theirs:
                different += 1
                if different <= 5:
                    print(f"case {case}: patterns {patterns!r}")
                    print(f"  only git excludes: {sorted(theirs - mine)[:10]}")
                    print(f"  only we exclude:   {sorted(mine - theirs)[:10]}")
    print(f"{cases} sets of patterns over {len(paths)} paths, seed {seed}: {excluded} exclusions, {different} different")
    if excluded == 0:
        sys.exit("no pattern excluded anything: this test proves nothing")
    sys.exit(1 if different else 0)


main()
