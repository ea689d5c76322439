#!/usr/bin/env python3
"""Env files that `secret-write` makes, read back by those who are meant to read them: sh, Compose, and systemd's own parser of
EnvironmentFile=, which its library has (no systemd runs where tests run)."""
import ctypes
import glob
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers.docker import compose_plugin  # noqa: E402

PLAIN = {"bare": "a-B_1./:@%+,=", "blank": "a b", "quoted": '"a"', "dollar": "$HOME ${X} $(id) $$", "backslash": "a\\nb\\\\c", "lines": "one\ntwo\n\n",
         "tab": "a\tb", "blanks": "  a  ", "hash": "a # b", "hash_first": "#a", "cr": "a\rb", "crlf": "a\r\nb\r\n", "umlaut": "ä€😀", "equals": "=a=",
         "assignment": "x\nA=b\n# c\n", "backtick": "`id`", "bang": "!a", "tilde": "~", "long": "x y" * 30000, "semicolon": "a;b&c|d<e>(f)", "glob": "* ? [a]",
         "control": "a\x01\x1bb", "apostrophe": "it's", "ends": "ends \\", "both_ends": "it's \\", "double_and_apostrophe": "'\"$\\"}
# What sh, systemd and Compose do not read alike, so that the dialect has to be said.
AWKWARD = {"apostrophe_and_backtick": "it's `id`", "apostrophes": "''`'", "all": "'\"`$\\\n\\'"}
LIBRARIES = glob.glob("/usr/lib/*/systemd/libsystemd-shared-*.so") + glob.glob("/usr/lib/systemd/libsystemd-shared-*.so")


def by_sh(path, name, shell=("sh",)):
    return subprocess.run([*shell, "-c", '. "$1"; eval "printf %s \\"\\$$2\\""', "sh", path, name], check=True, capture_output=True).stdout


def all_by_sh(path, names):
    return {name: by_sh(path, name) for name in names}


def all_by_compose(path, _names):
    folder = os.path.dirname(path)
    with open(os.path.join(folder, "compose.yml"), "w", encoding="utf-8") as f:
        json.dump({"services": {"a": {"image": "x", "env_file": [path]}}}, f)
    done = subprocess.run([compose_plugin(), "-p", "x", "-f", f.name, "config", "--format", "json"], check=True, capture_output=True)
    # What `config` prints is a configuration again, in which `$$` is a `$`.
    return {k: v.replace("$$", "$").encode() for k, v in json.loads(done.stdout)["services"]["a"]["environment"].items()}


def all_by_systemd(path, _names):
    library = ctypes.CDLL(LIBRARIES[0])
    found = ctypes.POINTER(ctypes.c_char_p)()
    if library.load_env_file(None, path.encode(), ctypes.byref(found)) < 0:
        raise AssertionError("systemd refuses the file")
    read, i = {}, 0
    while found and found[i] is not None:
        if library.env_assignment_is_valid(found[i]):
            name, _, value = found[i].partition(b"=")
            read[name.decode()] = value
        i += 1
    return read


def lacking_systemd():
    if not LIBRARIES:
        return "systemd's library is missing"
    library = ctypes.CDLL(LIBRARIES[0])
    lacks = [name for name in ("load_env_file", "env_assignment_is_valid") if not hasattr(library, name)]
    return f"systemd's library does not show {lacks[0]}" if lacks else None


READERS = {"sh": (all_by_sh, None), "compose": (all_by_compose, None if compose_plugin() else "Compose v2 is missing"),
           "systemd": (all_by_systemd, lacking_systemd())}


class ReadBack(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())

    def write(self, values, **more):
        step = {"path": self.t.path(".env"), "values": {k: "${{ secrets.%s }}" % k for k in values}, **more}
        return self.t.deploy({"targets": {"web": {"local": {}}}, "steps": [{"secret-write": step}]}, "--secrets", self.secrets(values))

    def secrets(self, values):
        path = os.path.join(self.t.dir, "secrets.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(values, f)
        os.chmod(path, 0o600)
        return path

    def check(self, reader, values):
        read, lacking = READERS[reader]
        if lacking:
            self.skipTest(lacking)
        found = read(self.t.path(".env"), values)
        for name, value in values.items():
            self.assertEqual(found.get(name), value.encode(), f"{name} by {reader}")

    def in_dialect(self, dialect):
        values = {**PLAIN, **AWKWARD}
        result = self.write(values, dialect=dialect)
        self.assert_exit(result, 0)
        self.check(dialect, values)
        before = os.stat(self.t.path(".env"))
        self.assert_exit(self.write(values, dialect=dialect), 0)
        self.assertEqual(os.stat(self.t.path(".env")), before, "what is there already is not written again")

    def test_sh_reads_every_value_byte_for_byte(self):
        self.in_dialect("sh")

    def test_compose_reads_every_value_byte_for_byte(self):
        self.in_dialect("compose")

    def test_systemd_reads_every_value_byte_for_byte(self):
        self.in_dialect("systemd")

    def test_a_file_for_any_of_them_is_read_alike_by_all(self):
        self.assert_exit(self.write(PLAIN), 0)
        for reader in READERS:
            with self.subTest(reader=reader):
                self.check(reader, PLAIN)

    def test_what_they_would_not_read_alike_is_refused_by_name_until_the_dialect_is_said(self):
        refused = self.write(AWKWARD)
        self.assert_exit(refused, 2)
        self.assert_says(refused, *AWKWARD, "say in `dialect:` which of them reads the file")
        self.assertFalse(os.path.exists(self.t.path(".env")))

    def test_a_nul_is_refused_in_every_dialect(self):
        for dialect in ("any", *READERS):
            refused = self.write({"A": "a\0b"}, dialect=dialect)
            self.assert_exit(refused, 2)
            self.assert_says(refused, "the value of 'A' holds a NUL")

    def test_another_dialect_writes_the_same_values_anew_and_keeps_generated_ones(self):
        values = {k: v for k, v in {**PLAIN, **AWKWARD}.items() if k != "long"}
        self.assert_exit(self.write(values, dialect="sh", generate={"MADE": "hex32"}), 0)
        made = by_sh(self.t.path(".env"), "MADE")
        for dialect in ("systemd", "compose", "sh"):
            result = self.write(values, dialect=dialect, generate={"MADE": "hex32"})
            self.assert_exit(result, 0)
            with self.subTest(dialect=dialect):
                self.check(dialect, {**values, "MADE": made.decode()})

    def test_a_dialect_of_what_is_no_env_file_is_refused(self):
        refused = self.write({"A": "x"}, dialect="sh", format="dir")
        self.assert_exit(refused, 2)
        self.assert_says(refused, "`dialect` says who reads an env file, and `format: dir` is none")


if __name__ == "__main__":
    main()
