#!/usr/bin/env python3
"""What `cmake --install` and `cpack` bring, used from where it was installed."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import libssh2  # noqa: E402

SOURCE, BUILD = os.environ["DAVIT_SOURCE"], os.environ["DAVIT_BUILD"]
COMMANDS = ["agent", "deploy", "step", "rollback", "recover", "unlock", "finish", "history", "show", "schema", "expr", "forge"]


def run(*words, **more):
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=300, stdin=subprocess.DEVNULL, **more).stdout


class Installing(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="davit-install-")
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.root, *names)

    def install(self):
        run("cmake", "--install", BUILD, "--prefix", self.root)
        return self.path("bin", "davit")

    def test_an_installed_davit_deploys(self):
        davit = self.install()
        os.mkdir(self.path("work"))
        with open(self.path("work", "d.yml"), "w", encoding="ascii") as f:
            json.dump({"name": "shop", "environment": "test", "targets": {"here": {"local": {}, "base": self.path("base")}},
                       "steps": [{"run": {"command": ["touch", self.path("made")], "undo": "none"}}]}, f)
        env = {"PATH": "/usr/bin:/bin", "DAVIT_STATE": self.path("state"), "HOME": self.path("work")}
        run(davit, "deploy", "d.yml", cwd=self.path("work"), env=env)
        self.assertTrue(os.path.exists(self.path("made")))

    def test_every_command_has_a_man_page_without_warnings(self):
        self.install()
        pages = glob.glob(self.path("share/man/man1/*.1"))
        davit = self.path("bin/davit")
        named = re.compile(r"^  ([a-z]+) ", re.M)
        commands = [(word,) for word in named.findall(run(davit, "--help"))] + [("agent", word) for word in named.findall(run(davit, "agent", "--help"))]
        self.assertEqual(set(COMMANDS) - {words[0] for words in commands}, set())
        for words in commands:
            page = self.path("share/man/man1", f"davit-{'-'.join(words)}.1")
            self.assertIn(page, pages)
            with open(page, encoding="utf-8") as f:
                text = f.read().replace("\\-", "-")
            for option in re.findall(r"^  (?:-., |    )?(--[\w-]+)", run(davit, "help", *words), re.M):
                self.assertIn(f"{option}\\fR", text, words)
        with open(self.path("share/man/man1/davit.1"), encoding="utf-8") as f:
            self.assertEqual(set(re.findall(r"^\\fB([a-z]+)\\fR$", f.read(), re.M)), {words[0] for words in commands if len(words) == 1})
        for page in pages:
            done = subprocess.run(["groff", "-man", "-K", "utf8", "-Tutf8", "-P-cbou", "-ww", page], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), page)
            self.assertIn("SYNOPSIS", done.stdout)

    def complete(self, *words):
        script = ('. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _davit; printf "%s\\n" "${COMPREPLY[@]}"')
        return run("bash", "-c", script, "bash", self.path("share/bash-completion/completions/davit"), self.path("bin/davit"), *words, cwd=self.path("bin")).split()

    def test_the_completion_knows_commands_and_their_options(self):
        self.install()
        self.assertEqual(self.complete("hist"), ["history"])
        self.assertIn("configure", self.complete("agent", "c"))
        self.assertEqual(self.complete("agent", "run", "--sl"), ["--slots"])
        self.assertEqual(self.complete("agent", "run", "--isolation", ""), ["auto", "on", "off"])
        self.assertEqual(self.complete("validate", "--format", "s"), ["sarif"])
        self.assertEqual(self.complete("deploy", "--exp"), ["--expect"])
        self.assertNotIn("--slots", self.complete("deploy", "--"))
        # The value of an option, and what is none, are files.
        self.assertEqual(self.complete("deploy", "--secrets", "da"), ["davit"])
        self.assertEqual(self.complete("deploy", "da"), ["davit"])

    def test_fish_completes_with_what_each_word_means(self):
        if shutil.which("fish") is None:
            self.skipTest("fish is missing")
        self.install()
        script = "source $argv[1]; complete --do-complete $argv[2]"

        def complete(line):
            return run("fish", "--no-config", "-c", script, self.path("share/fish/vendor_completions.d/davit.fish"), line,
                       env={**os.environ, "PATH": self.path("bin") + ":" + os.environ["PATH"], "HOME": self.root}).splitlines()
        self.assertEqual(complete("davit hist"), ["history\twhat was deployed, when and how it ended"])
        self.assertEqual(sorted(complete("davit agent run --isolation o")), ["off", "on"])
        self.assertIn("--slots\tjobs at a time; default: one a processor, at least two", complete("davit agent run --"))

    def test_zsh_offers_the_same_words(self):
        if shutil.which("zsh") is None:
            self.skipTest("zsh is missing")
        self.install()
        # The functions of zsh's own that it calls, with what they are given shown.
        script = ("compdef() { :; }; _describe() { printf '%s\\n' \"${shown[@]}\"; }; _files() { print FILES; }; compadd() { shift; print -l -- \"$@\"; }; . $1; "
                  "words=($2 ${=3}); CURRENT=$4; _davit")

        def complete(line, current):
            return run("zsh", "-f", "-c", script, "zsh", self.path("share/zsh/site-functions/_davit"), self.path("bin/davit"), line, str(current)).splitlines()
        self.assertIn("history:what was deployed, when and how it ended", complete("his", 2))
        self.assertEqual(complete("agent run --isolation", 5), ["auto", "on", "off"])
        self.assertEqual(complete("deploy --secrets", 4), ["FILES"])

    def test_licence_schemas_actions_and_documents_come_along(self):
        self.install()
        with open(self.path("share/davit/schemas/steps/run.json"), encoding="utf-8") as f:
            self.assertEqual(json.load(f)["type"], "object")
        for name in ("share/davit/action.yml", "share/davit/actions/run/action.yml", "share/doc/davit/copyright", "share/doc/davit/docs/semantics.md"):
            self.assertTrue(os.path.isfile(self.path(name)), name)
        licence = self.path("share/doc/davit/copyright.libssh2")
        self.assertEqual(os.path.isfile(licence), libssh2.KIND == "bundled")
        self.assertTrue(os.access(self.path("share/doc/davit/examples/quickstart/run"), os.X_OK))

    def test_the_debian_package_depends_on_what_it_needs_and_holds_what_an_install_brings(self):
        run("cpack", "--config", os.path.join(BUILD, "CPackConfig.cmake"), "-G", "DEB", "-B", self.root)
        package, = glob.glob(self.path("*.deb"))
        depends = run("dpkg-deb", "-f", package, "Depends")
        for name in ("libc6", "libcurl4", "libgit2-1.5", "libarchive13", "libsqlite3-0", "libmicrohttpd12", "bash", "ca-certificates"):
            self.assertRegex(depends, rf"(^|, ){re.escape(name)}( |,|$)")
        self.assertEqual("libssh2-1" in depends, libssh2.KIND == "system", depends)
        run("dpkg-deb", "-x", package, self.path("tree"))
        self.assertIn("davit 1.", run(self.path("tree/usr/bin/davit"), "--version"))
        self.assertIn("usage: davit deploy", run(self.path("tree/usr/bin/davit"), "help", "deploy"))
        self.assertTrue(os.path.isfile(self.path("tree/usr/share/man/man1/davit.1")) or
                        os.path.isfile(self.path("tree/usr/share/man/man1/davit.1.gz")))


if __name__ == "__main__":
    unittest.main(verbosity=1)
