#!/usr/bin/env python3
"""Expressions give what GitHub's own implementation gives (npm package @actions/expressions), values, kinds and messages alike.

Usage: as_github.py [CASES [SEED]]. A difference is printed with its expression. What differs on purpose is in DIFFERENCES, each
with its reason and an example, which the test checks too: a reason that no longer holds fails.
"""
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = os.environ.get("DAVIT_TEST_EXPRESSIONS", "/var/cache/davit-tests/actions-expressions")
DAVIT = os.path.join(os.environ.get("DAVIT_BUILD", HERE.parents[2] / "build" / "dev"), "bin", "davit")

CONTEXTS = {
    "github": {"ref": "refs/heads/main", "ref_name": "main", "event_name": "push", "actor": "octocat", "run_number": 7,
               "event": {"issue": {"labels": [{"name": "bug", "id": 1}, {"name": "Help Wanted", "id": 2}, {"id": 3}]},
                         "commits": [{"message": "Fix: a 'quoted' word", "added": ["a.c", "b.c"]}, {"message": "", "added": []}],
                         "deleted": False, "before": None}},
    "matrix": {"os": "ubuntu-latest", "node": 18, "float": 1.5, "include": [[1, 2], [3, [4, 5]], "x"]},
    "inputs": {"dry": True, "off": False, "count": 0, "text": "", "blank": "  ", "hex": "0x1f", "number": "12.50", "negative": "-3"},
    "steps": {"build": {"outputs": {"digest": "sha256:ab", "json": "{\"a\":[1,{\"b\":null}],\"c\":\"d\"}"}, "outcome": "success"}},
    "vars": {"A": "1", "b-c": "x", "_d": "true"},
    "nothing": None,
}

# The examples of GitHub's documentation of expressions, and what the reference of the runner lists.
DOCUMENTED = """
null
false
true
711
-9.2
0xff
-2.99e-2
'Mona the Octocat'
'It''s open source!'
contains('Hello world', 'llo')
contains(github.event.issue.labels.*.name, 'bug')
contains(fromJSON('["push", "pull_request"]'), github.event_name)
startsWith('Hello world', 'He')
endsWith('Hello world', 'ld')
format('Hello {0} {1} {2}', 'Mona', 'the', 'Octocat')
format('{{Hello {0} {1} {2}!}}', 'Mona', 'the', 'Octocat')
join(github.event.issue.labels.*.name, ', ')
toJSON(fromJSON('{"status":"success"}'))
fromJSON('{"include":[{"project":"foo","config":"Debug"},{"project":"bar","config":"Release"}]}')
fromJSON('true')
fromJSON('3')
case(github.ref == 'refs/heads/main', 'production', github.ref == 'refs/heads/staging', 'staging', 'development')
case(github.ref == 'refs/heads/none', 'production', github.ref == 'refs/heads/staging', 'staging', 'development')
github.event.commits.*.message
github.ref == 'refs/heads/main' && 'value_for_main' || 'value_for_other'
github['ref'] == 'REFS/HEADS/MAIN'
!startsWith(github.ref, 'refs/tags/')
(1 < 2) && (3 >= 3)
fromJSON('{ "fruits": { "scallions": {"colors": ["green","white","red"], "ediblePortions": ["roots", "stalks"] } } }').*.*.colors
format('{0} {{x}} {1}', 'a', 2)
'A' == 'a'
null == ''
null == 0
'' == 0
'1' == true
'0x10' == 16
' 2 ' == 2
'0o17' == 15
'abc' == 0
NaN == NaN
fromJSON('[]') == fromJSON('[]')
1 < '2'
'abc' < 'ABD'
false < true
'a' && 0
'' || 'd'
!'false'
contains('Hello', 'ELL')
contains(fromJSON('["A","b"]'), 'B')
join(fromJSON('[1,true,null,"x",{}]'))
fromJSON('{"a":[{"n":1},{"n":2},{"m":3}]}').a.*.n
fromJSON('[5,6]')[1.9]
fromJSON('[5,6]')['x']
github.none.deeper
case(false, 1, 'x')
format('{0}', -0.0)
format('{0}', 0.1)
format('{0}', 0xff)
toJSON(fromJSON('{"a":[1,{}],"b":[]}'))
'x'.y
foo == 1
"""

# Each: the reason, an expression that shows it, what davit says of it (None: only that it differs).
DIFFERENCES = [
    ("the package takes only the first '' of a string for one quote; GitHub's server and its runner take all", "'a''b''c'", "a'b'c"),
    ("numbers have 15 digits as .NET prints them, on the server and the runner alike", "format('{0}', 1e21)", "1E+21"),
    ("numbers have 15 digits as .NET prints them, on the server and the runner alike", "format('{0}', 1234.123456789012)", "1234.12345678901"),
    ("toJSON prints numbers as all other functions do", "toJSON(1234.123456789012)", "1234.12345678901"),
    ("hexadecimal and octal numbers have 32 bits with a sign", "0xFFFFFFFF", -1),
    ("hexadecimal and octal prefixes are in lower case, and there is no binary form", "0b11", None),
    ("letters are compared one by one: ß is no SS", "'ß' == 'SS'", False),
    ("an argument that is not used is not evaluated", "case(true, 1, fromJSON('x'))", 1),
    ("a comma before the end of the arguments is a mistake", "contains('a', 'b',)", None),
    ("a place of format that has anything but digits is a mistake", "format('{0x}', 1)", None),
    ("fromJSON takes comments, single quotes and names without quotes, as the runner's reader does", "fromJSON('[1, /* two */ 2]')", [1, 2]),
    ("fromJSON takes the numbers that the language has, as the runner's reader does", "fromJSON('.5')", 0.5),
    ("toJSON writes what is no number by its name", "toJSON(NaN)", "NaN"),
    ("of names that differ in case the last value stays", "fromJSON('{\"a\":1,\"A\":2}').a", 2),
    ("members keep their order, also where they are numbers", "toJSON(fromJSON('{\"b\":1,\"1\":2}'))", "{\n  \"b\": 1,\n  \"1\": 2\n}"),
    ("toJSON escapes the line ends that JavaScript does not know", "toJSON('\u2028')", "\"\\u2028\""),
    ("an expression may be as deep as its tree; the package counts parentheses", "(" * 60 + "1" + ")" * 60, 1),
    ("an expression that is too long is told so in words", " " * 21001, None),
    ("all blanks of ASCII separate", "1 ==\x0b1", True),
    ("always() may stand anywhere and is true", "always()", True),
]


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


WORDS = ["", "a", "A", "abc", "main", "push", "true", "false", "1", " 1", "1.5", "-3", "0x1f", "0o17", "1e3", ".5", "abc,d", "é", "É", "x y", "\\", "\"",
         "{0}", "{{0}}", "{1} and {0}", "{", "}", "}}", "{{", "{9}", "{a}", "{}", "a{0}b{0}", "It's", "\t", "Infinity", "NaN", "日本", "😀"]
DOCUMENTS = ["[]", "{}", "[1,2,3]", "[[1],[2,[3]]]", "{\"a\":{\"b\":[1,\"x\",null,true]}}", "[{\"n\":1},{\"n\":\"N\"},{\"m\":[]}]", "\"s\"", "12", "-0", "1e2",
             "true", "null", " [ 1 ] ", "{\"A b\":1}", "[", "{\"a\":}", "nope", "", "  ", "[1] 2", "\"\\u00e9\\n\""]
NUMBERS = ["0", "1", "2", "-1", "+3", "1.5", "-0", "0.1", "100", "1e3", "12.5e-1", "0x10", "0o7", ".5", "5.", "NaN", "Infinity", "-Infinity", "123456789012345"]
PATHS = ["github", "github.ref", "GITHUB.Ref_Name", "github.event", "github.event.issue.labels", "github.event.commits", "github.event.deleted",
         "github.event.before", "github.none", "github.run_number", "matrix", "matrix.os", "matrix.node", "matrix.float", "matrix.include",
         "inputs.dry", "inputs.off", "inputs.count", "inputs.text", "inputs.blank", "inputs.hex", "inputs.number", "inputs.negative",
         "steps.build.outputs.digest", "steps.build.outputs.json", "steps.none.outputs", "vars.A", "vars.b-c", "vars._d", "nothing", "nothing.x"]
OPERATORS = ["==", "!=", "<", "<=", ">", ">=", "&&", "||"]
FUNCTIONS = [("contains", 2, 2), ("startsWith", 2, 2), ("endsWith", 2, 2), ("format", 1, 4), ("join", 1, 2), ("toJSON", 1, 1), ("fromJSON", 1, 1), ("case", 3, 5)]
STRAY = ["(", ")", "[", "]", ",", ".", "*", "!", "=", "&", "|", "==", "<", "'", "'x", "#", "@a", "1x", "a b", "..", ".x", "-", "--1", "$", "foo", "foo(", "true", "\"s\"", "1.2.3", "%", "=x", "a.b", "\n"]


class Maker:
    def __init__(self, rng):
        self.rng = rng

    def blank(self):
        return self.rng.choice(["", "", "", " ", "  ", "\t", "\n"])

    def text(self):
        word = self.rng.choice(WORDS)
        return quoted(word) if word.count("'") < 2 else "'x'"

    def value(self, depth):
        kind = self.rng.random()
        if depth <= 0 or kind < 0.35:
            return self.rng.choice([self.text, self.text, lambda: self.rng.choice(NUMBERS), lambda: self.rng.choice(["true", "false", "null"]), self.path,
                                    self.path, self.path])()
        if kind < 0.62:
            return f"{self.value(depth - 1)}{self.blank() or ' '}{self.rng.choice(OPERATORS)}{self.blank() or ' '}{self.value(depth - 1)}"
        if kind < 0.72:
            return f"({self.blank()}{self.value(depth - 1)}{self.blank()})"
        if kind < 0.78:
            return f"!{self.value(depth - 1)}"
        if kind < 0.86:
            return self.steps_of(f"fromJSON({quoted(self.rng.choice(DOCUMENTS))})", depth)
        return self.call(depth)

    def call(self, depth):
        name, least, most = self.rng.choice(FUNCTIONS)
        count = self.rng.randint(least, most)
        if name == "case" and count % 2 == 0:
            count += 1
        if self.rng.random() < 0.04:
            count += self.rng.choice([-1, 1, 3])
        name = self.rng.choice([name, name, name.lower(), name.upper()])
        arguments = [self.value(depth - 1) for _ in range(max(0, count))]
        if name.lower() == "case":
            for i in range(0, len(arguments) - 1, 2):
                if self.rng.random() < 0.8:
                    arguments[i] = f"{self.value(0)} == {self.value(0)}"
        return f"{name}{self.rng.choice(['', '', ' '])}({(',' + self.blank()).join(arguments)})"

    def path(self):
        return self.steps_of(self.rng.choice(PATHS), 1)

    def steps_of(self, text, depth):
        while self.rng.random() < 0.4:
            text += self.rng.choice([".*", ".name", ".a", ".n", ".b-c", "[0]", "[1]", "['a']", "[-1]", "[1.9]", "['1']", "[null]", "[true]", ".true", "[*]",
                                     f"[{self.value(depth - 2)}]"])
        return text

    def expression(self):
        text = self.value(self.rng.choice([1, 2, 2, 3, 3, 4]))
        if self.rng.random() < 0.25:                              # spoil it
            at = self.rng.randint(0, len(text))
            kind = self.rng.random()
            if kind < 0.5:
                text = text[:at] + self.rng.choice(STRAY) + text[at:]
            elif kind < 0.8:
                text = text[:at] + text[min(len(text), at + self.rng.randint(1, 4)):]
            else:
                text = text[:at]
        return text


LITERAL = re.compile(r"'(?:[^']|'')*'")


def is_known_difference(text):
    """Told from the expression alone: the reasons of DIFFERENCES that the generator can meet."""
    if any(literal[1:-1].count("''") > 1 for literal in LITERAL.findall(text)):
        return True
    if re.search(r",\s*\)", text) or "{0x" in text or re.search(r"\{\d+[^}\d]", text):
        return True
    return bool(re.search(r"[\x0b\x0c]", text))


def ask(command, expressions):
    lines = "".join(json.dumps({"expr": e, "contexts": CONTEXTS}) + "\n" for e in expressions)
    done = subprocess.run(command, input=lines.encode(), capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]}: status {done.returncode}\n{done.stderr.decode()[-2000:]}")
    answers = [json.loads(line) for line in done.stdout.decode().removesuffix("\n").split("\n")]
    assert len(answers) == len(expressions), (len(answers), len(expressions))
    return answers


def ours(expressions):
    return ask([DAVIT, "expr", "--batch"], expressions)


def theirs(node, expressions):
    return ask([node, str(HERE / "oracle.mjs"), PACKAGE], expressions)


def why_it_differs(text, their):
    """The reason of DIFFERENCES, where there is one that only the answer tells; None: there is none."""
    if their.get("error", {}).get("kind") == "evaluation":
        if re.search(r"\b(?:case|join|format)\s*\(", text, re.IGNORECASE):
            return "an argument that is not used"
        if "fromJson" in their["error"]["message"] and re.search(r"NaN|Infinity|'0[xo]|'\.5|[0-9]\.(?![0-9])|inputs\.hex", text):
            return "a number that JSON does not have"
    if re.search(r"tojson\s*\(", text, re.IGNORECASE) and re.search(r"NaN|Infinity", text):
        return "NaN and infinities in toJSON"
    return None


def check_differences(node):
    failed = []
    expressions = [e for _, e, _ in DIFFERENCES]
    for (reason, text, wanted), mine, their in zip(DIFFERENCES, ours(expressions), theirs(node, expressions)):
        if mine == their:
            failed.append(f"no difference any more ({reason}): {text!r} gives {mine}")
        if wanted is not None and mine.get("value") != wanted:
            failed.append(f"{reason}: {text!r} gives {mine}, not {wanted!r}")
    return failed


def check_command_line():
    """An expression is one word of a command, whatever it begins with."""
    expressions = ["-1", "-.5", "-0", "-Infinity", "1", "!true"]
    for text, batch in zip(expressions, ours(expressions)):
        said = subprocess.run([DAVIT, "expr", text], capture_output=True, text=True, check=False)
        assert said.stdout and json.loads(said.stdout) == batch, (text, said.stdout, said.stderr)


def main():
    check_command_line()
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 12000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None or not os.path.exists(os.path.join(PACKAGE, "dist", "index.js")):
        print(f"skipped: {'node is not installed' if node is None else PACKAGE + ' does not hold @actions/expressions'}")
        sys.exit(77)
    make = Maker(random.Random(seed))
    documented = [line for line in DOCUMENTED.strip().splitlines()]
    expressions = list(documented)
    while len(expressions) < cases + len(documented):
        text = make.expression()
        if text.strip() and not is_known_difference(text):
            expressions.append(text)
    failed, kinds, known = check_differences(node), {}, {}
    for text, mine, their in zip(expressions, ours(expressions), theirs(node, expressions)):
        kind = their["error"]["kind"] if "error" in their else "value"
        kinds[kind] = kinds.get(kind, 0) + 1
        why = why_it_differs(text, their) if mine != their else None
        if why is not None:
            known[why] = known.get(why, 0) + 1
        elif mine != their:
            failed.append(f"{text!r}\n    davit:  {json.dumps(mine, ensure_ascii=False)}\n    github: {json.dumps(their, ensure_ascii=False)}")
    for line in failed[:25]:
        print(line)
    for said in (kinds, known):
        print(", ".join(f"{n} {k}" for k, n in sorted(said.items())))
    print(f"{len(expressions)} expressions, {len(failed)} differences without a reason")
    sys.exit(1 if failed else 0)


main()
