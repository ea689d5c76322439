#!/usr/bin/env python3
"""packaging/: its scripts are sound, each source has its digests, the list of parts is SPDX 2.3, and the release workflow is valid and needs no action of others."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD = os.environ["DAVIT_SOURCE"], os.environ["DAVIT_BUILD"]
PACKAGING = os.path.join(SOURCE, "packaging")
DAVIT = os.path.join(BUILD, "bin", "davit")
WORKFLOW = os.path.join(SOURCE, ".github", "workflows", "release.yml")
LICENCES = {"MIT", "Apache-2.0", "Zlib", "BSD-2-Clause", "BSD-3-Clause", "bzip2-1.0.6", "blessing", "curl", "PostgreSQL", "GPL-2.0-only WITH GCC-exception-2.0",
            "LGPL-2.1-or-later"}  # of the SPDX licence list


def run(*words, **more):
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60, **more).stdout


def scripts():
    return [os.path.join(PACKAGING, name) for name in sorted(os.listdir(PACKAGING)) if name.endswith(".sh")]


class Scripts(unittest.TestCase):
    def test_each_is_a_script_of_sh_that_ends_at_its_first_failure(self):
        self.assertGreater(len(scripts()), 6)
        for path in scripts():
            with self.subTest(path=path), open(path, encoding="utf-8") as f:
                text = f.read()
                subprocess.run(["dash", "-n", path], check=True)
                self.assertTrue("\nset -eu\n" in text or '. "$(dirname "$0")/common.sh"' in text)
        with open(os.path.join(PACKAGING, "common.sh"), encoding="utf-8") as f:
            self.assertIn("\nset -eu\n", f.read())

    def test_the_notes_of_a_release_are_its_own(self):
        with tempfile.TemporaryDirectory() as work:
            log = os.path.join(work, "CHANGELOG.md")
            with open(log, "w", encoding="ascii") as f:
                f.write("# Changelog\n\n## 1.1.0\n\n- newer\n\n## 1.0.0\n\nThe first.\n\n- older\n")
            notes = os.path.join(PACKAGING, "notes.sh")
            self.assertEqual(run(notes, "1.1.0", log), "- newer\n")
            self.assertEqual(run(notes, "1.0.0", log), "The first.\n\n- older\n")
            done = subprocess.run([notes, "1.0", log], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn("says nothing of 1.0", done.stderr)

    def test_another_machine_is_refused(self):
        with tempfile.TemporaryDirectory() as work:
            done = subprocess.run([os.path.join(PACKAGING, "toolchain.sh"), "riscv64"], capture_output=True, text=True, check=False, env={**os.environ, "DAVIT_PACKAGING": work})
        self.assertEqual(done.returncode, 2)
        self.assertIn("for x86_64 and aarch64, not for 'riscv64'", done.stderr)


class Compiler(unittest.TestCase):
    """What an object says of its sources must not depend on where they lie: two builds of a release are compared byte by byte."""

    def objects(self, source, work):
        machine = os.uname().machine
        root = os.path.join(work, machine)
        os.makedirs(os.path.join(source, "packaging"))
        for name in ("common.sh", "compiler.sh"):
            shutil.copy(os.path.join(PACKAGING, name), os.path.join(source, "packaging"))
        run(os.path.join(source, "packaging", "compiler.sh"), machine, env={**os.environ, "DAVIT_PACKAGING": work, "SOURCE_DATE_EPOCH": "1700000000"})
        made = {}
        # A source of davit, one that its build wrote, and one of a library with its header.
        for path in (f"{source}/base/own.c", f"{root}/davit/schemas/written.c", f"{root}/src/library/src/foreign.c"):
            os.makedirs(os.path.dirname(path))
            with open(path, "w", encoding="ascii") as f:
                f.write('#include "said.h"\nconst char *where(void) { return __FILE__; }\n')
            with open(os.path.join(os.path.dirname(path), "said.h"), "w", encoding="ascii") as f:
                f.write("static inline const char *header(void) { return __FILE__; }\nconst char *both(void);\nconst char *both(void) { return header(); }\n")
            run(os.path.join(root, "bin", "davit-cc"), "-c", path, "-o", f"{path}.o")
            with open(f"{path}.o", "rb") as f:
                made[os.path.basename(path)] = f.read()
        return made

    def test_objects_are_the_same_whether_a_build_lies_in_its_source_or_apart_from_it(self):
        with tempfile.TemporaryDirectory() as folder:
            inside = self.objects(f"{folder}/a", f"{folder}/a/build/packaging")
            apart = self.objects(f"{folder}/another/source", f"{folder}/another/elsewhere/work")
        for name, made in inside.items():
            self.assertIn(name.encode(), made)
            self.assertNotIn(folder.encode(), made)
            self.assertTrue(made == apart[name], (name, re.findall(rb"[./\w]+\.[ch]\b", made), re.findall(rb"[./\w]+\.[ch]\b", apart[name])))


class Sources(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.env = {**os.environ, "DAVIT_PACKAGING": os.path.join(self.dir.name, "work"), "DAVIT_SOURCES": os.path.join(self.dir.name, "mirror")}
        os.mkdir(self.env["DAVIT_SOURCES"])

    def test_each_part_has_a_description_and_its_files_with_digests(self):
        with open(os.path.join(PACKAGING, "sources.sha256"), encoding="ascii") as f:
            pinned = [line.split() for line in f]
        self.assertTrue(all(re.fullmatch("[0-9a-f]{64}", digest) for digest, _ in pinned))
        names = [name for _, name in pinned]
        with open(os.path.join(PACKAGING, "sources.txt"), encoding="ascii") as f:
            rows = [line.split() for line in f if not line.startswith("#")]
        for row in rows:
            description = f"{row[1]}_{row[2].split(':')[-1]}.dsc"
            self.assertIn(description, names)
            self.assertTrue([name for name in names if name.startswith(row[1] + "_") and ".tar." in name], row)
        self.assertEqual(len(rows), len([name for name in names if name.endswith(".dsc")]))

    def test_a_file_with_another_digest_is_refused(self):
        with open(os.path.join(PACKAGING, "sources.sha256"), encoding="ascii") as f:
            first = next(line.split()[1] for line in f)
        with open(os.path.join(self.env["DAVIT_SOURCES"], first), "w", encoding="ascii") as f:
            f.write("another\n")
        done = subprocess.run([os.path.join(PACKAGING, "fetch.sh")], capture_output=True, text=True, check=False, env=self.env)
        self.assertEqual(done.returncode, 1)
        self.assertIn("has not the digest of sources.sha256", done.stderr)


class Spdx(unittest.TestCase):
    def document(self, *files):
        return json.loads(run(os.path.join(PACKAGING, "parts.py"), "--spdx", *files, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}))

    def test_it_has_what_the_standard_wants_and_names_only_what_is_in_it(self):
        with tempfile.TemporaryDirectory() as folder:
            files = [os.path.join(folder, name) for name in ("davit-linux-x86_64", "davit-forge-linux-x86_64")]
            for path in files:
                with open(path, "w", encoding="ascii") as f:
                    f.write(path)
            document = self.document(*files)
            self.assertEqual(document, self.document(*files))
        self.assertEqual((document["spdxVersion"], document["dataLicense"], document["SPDXID"]), ("SPDX-2.3", "CC0-1.0", "SPDXRef-DOCUMENT"))
        self.assertRegex(document["documentNamespace"], r"^https://[^#]+$")
        self.assertRegex(document["creationInfo"]["created"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertTrue(all(re.match("(Tool|Person|Organization): ", who) for who in document["creationInfo"]["creators"]))
        own = {one["licenseId"] for one in document["hasExtractedLicensingInfos"] if one["extractedText"]}
        ids = ["SPDXRef-DOCUMENT"]
        for package in document["packages"]:
            ids.append(package["SPDXID"])
            self.assertIn(package["licenseConcluded"], LICENCES | own, package["name"])
            self.assertIs(package["filesAnalyzed"], False)
            self.assertTrue(package["name"] and package["versionInfo"] and package["downloadLocation"] and package["copyrightText"])
            for reference in package.get("externalRefs", []):
                self.assertRegex(reference["referenceLocator"], r"^pkg:deb/debian/[a-z0-9.-]+@[A-Za-z0-9.~%-]+\?arch=source&distro=")
        for file in document["files"]:
            ids.append(file["SPDXID"])
            self.assertRegex(file["fileName"], r"^\./")
            self.assertEqual([one["algorithm"] for one in file["checksums"]], ["SHA1", "SHA256"])
        self.assertEqual(len(ids), len(set(ids)))
        self.assertTrue(all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", name) for name in ids))
        for relation in document["relationships"]:
            self.assertIn(relation["spdxElementId"], ids)
            self.assertIn(relation["relatedSpdxElement"], ids)
        linked = {(one["spdxElementId"], one["relatedSpdxElement"]) for one in document["relationships"] if one["relationshipType"] == "STATIC_LINK"}
        self.assertIn(("SPDXRef-File-davit-forge-linux-x86-64", "SPDXRef-libmicrohttpd"), linked)
        self.assertNotIn(("SPDXRef-File-davit-linux-x86-64", "SPDXRef-libmicrohttpd"), linked)

    def test_it_names_every_library_that_davit_says_it_loads(self):
        parts = json.loads(run(DAVIT, "--version", "--licences", "--json"))["parts"]
        named = {package["name"]: package["licenseConcluded"] for package in self.document()["packages"]}
        self.assertEqual({part["name"]: part["licence"] for part in parts}, {part["name"]: named.get(part["name"]) for part in parts})


class Release(unittest.TestCase):
    def test_the_workflow_is_valid_and_uses_no_action_but_githubs_own(self):
        run(DAVIT, "validate", WORKFLOW)
        with open(WORKFLOW, encoding="utf-8") as f:
            text = f.read()
        uses = set(re.findall(r"uses: (\S+)", text))
        self.assertTrue(uses)
        self.assertTrue(all(one.startswith("actions/") for one in uses), uses)

    def test_the_scripts_it_calls_are_there(self):
        with open(WORKFLOW, encoding="utf-8") as f:
            called = re.findall(r"packaging/(\w+\.sh)", f.read())
        self.assertEqual(sorted(set(called)), ["actions.sh", "deb.sh", "image.sh", "notes.sh", "reproducible.sh", "static.sh", "sums.sh", "try.sh"])
        self.assertTrue(all(os.access(os.path.join(PACKAGING, name), os.X_OK) for name in called))

    def test_the_packages_it_asks_for_are_of_a_kind_that_there_is(self):
        with open(WORKFLOW, encoding="utf-8") as f:
            kinds = set(re.findall(r"packages\.sh (\w+)", f.read()))
        self.assertTrue({"static", "image"} <= kinds, kinds)
        for kind in kinds:
            # Where there is no apt, it names what it would install.
            with tempfile.TemporaryDirectory() as folder:
                for tool in ("uname", "dirname"):
                    os.symlink(shutil.which(tool), os.path.join(folder, tool))
                done = subprocess.run(["/bin/sh", os.path.join(SOURCE, "cmake", "packages.sh"), kind], capture_output=True, text=True, check=False, env={"PATH": folder})
            self.assertEqual(done.returncode, 2)
            self.assertIn("This is no Debian.", done.stderr, kind)
            self.assertIn(" ca-certificates gcc ", done.stderr.replace("\n", " "))


if __name__ == "__main__":
    unittest.main(verbosity=1)
