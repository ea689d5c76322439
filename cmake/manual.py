#!/usr/bin/env python3
"""manual.py PROGRAM FOLDER: the man pages, made of what `davit help` says, so that they say nothing else, and the completions of three shells.

Writes FOLDER/man1/davit.1, one page a command (davit-deploy.1), and FOLDER/davit.bash, davit.zsh and davit.fish."""
import os
import re
import subprocess
import sys

PROGRAM, FOLDER = sys.argv[1:]
OPTION = re.compile(r"^  (?:-(?P<letter>\w), |    )?--(?P<name>[\w-]+)(?: (?P<argument>\S+))?\s\s+(?P<help>.*)$")
WORD = re.compile(r"^  (?P<name>[a-z][\w-]*)\s\s+(?P<help>.*)$")


def help_of(*words):
    return subprocess.run([PROGRAM, "help", *words], capture_output=True, text=True, check=True).stdout


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return "\\&" + text if text.startswith((".", "\\(aq")) else text


class Page:
    """One help text: usage, sentences, words (of `davit` and `davit agent`), options."""

    def __init__(self, *words):
        self.words, self.children, self.options, self.text = words, [], [], []
        lines = help_of(*words).splitlines()
        usage = next(line for line in lines if line.startswith("usage: "))
        self.usage = usage.removeprefix("usage: ")
        for line in lines:
            if line == usage:
                continue
            option, word = OPTION.match(line), WORD.match(line)
            if option:
                self.options.append(option.groupdict())
            elif word and len(words) < 2:
                self.children.append(word.groupdict())
            elif line.startswith(" " * 8) and self.options:
                self.options[-1]["help"] += " " + line.strip()
            elif line.strip():
                self.text.append(line.strip())

    def name(self):
        return "-".join(("davit", *self.words))

    def roff(self, summary):
        out = [f'.TH "{self.name().upper()}" 1 "" "davit" "davit"', ".SH NAME", f"{roff(self.name())} \\- {roff(summary)}",
               ".SH SYNOPSIS", f".B {roff(self.usage)}", ".SH DESCRIPTION"]
        for line in self.text:
            out += [roff(line), ".br"]
        for title, rows in (("COMMANDS", self.children), ("OPTIONS", self.options)):
            if rows:
                out.append(f".SH {title}")
            for row in rows:
                head = roff(row["name"]) if title == "COMMANDS" else roff(
                    (f"-{row['letter']}, " if row["letter"] else "") + "--" + row["name"])
                argument = f" \\fI{roff(row['argument'])}\\fR" if row.get("argument") else ""
                out += [".TP", f"\\fB{head}\\fR{argument}", roff(row["help"])]
        out += [".SH SEE ALSO", roff("davit(1)" if self.words else ", ".join(f"davit-{c['name']}(1)" for c in self.children)), ""]
        return "\n".join(out)


def main():
    top = Page()
    pages, summaries = [top], {"": "lowers a new version onto a server and can always haul it back"}
    for child in top.children:
        page = Page(child["name"])
        pages.append(page)
        summaries[child["name"]] = child["help"]
        for part in page.children if child["name"] == "agent" else []:
            pages.append(Page(child["name"], part["name"]))
            summaries[f"{child['name']} {part['name']}"] = part["help"]
    man = os.path.join(FOLDER, "man1")
    os.makedirs(man, exist_ok=True)
    for page in pages:
        with open(os.path.join(man, page.name() + ".1"), "w", encoding="utf-8") as f:
            f.write(page.roff(summaries[" ".join(page.words)]))
    for shell in ("bash", "zsh", "fish"):
        with open(os.path.join(FOLDER, "davit." + shell), "w", encoding="utf-8") as f:
            f.write(subprocess.run([PROGRAM, "completion", shell], capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
