#!/usr/bin/env python3
"""manual.py PROGRAM FOLDER: the man pages and the bash completion, made of what `davit help` says, so that they say nothing else.

Writes FOLDER/man1/davit.1, one page a command (davit-deploy.1), and FOLDER/davit.bash."""
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


def completion(pages):
    rows = []
    for page in pages:
        words = [c["name"] for c in page.children] + ["--" + o["name"] for o in page.options]
        takes = [f"--{o['name']}" for o in page.options if o["argument"]]
        rows.append(f"    '{' '.join(page.words)}') words='{' '.join(words)}' takes=' {' '.join(takes)} ' ;;")
    return """# bash completion for davit, made of `davit help`
_davit() {
  local cur=${COMP_WORDS[COMP_CWORD]} path=${COMP_WORDS[1]} words='' takes=''
  [ "$COMP_CWORD" -gt 1 ] || path=''
  case $path in agent) [ "$COMP_CWORD" -le 2 ] || path="agent ${COMP_WORDS[2]}" ;; esac
  case $path in
""" + "\n".join(rows) + """
  esac
  # An option's value, and what is no option, is a file for all that is known here.
  if [[ "$takes" == *" ${COMP_WORDS[COMP_CWORD-1]} "* ]] || [ -z "$words" ]; then
    COMPREPLY=($(compgen -f -- "$cur"))
    return
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  case $cur in -*) ;; *) [ "$COMP_CWORD" -lt 2 ] || COMPREPLY+=($(compgen -f -- "$cur")) ;; esac
}
complete -o filenames -F _davit davit
"""


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
    with open(os.path.join(FOLDER, "davit.bash"), "w", encoding="utf-8") as f:
        f.write(completion(pages))


if __name__ == "__main__":
    main()
