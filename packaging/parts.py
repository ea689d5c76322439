#!/usr/bin/env python3
"""What the static programs consist of, by sources.txt: for `davit --version --licences` (--program), and as the SPDX document of a release (--spdx)."""
import argparse
import datetime
import hashlib
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PUBLIC_DOMAIN = "LicenseRef-xz-public-domain"
COLUMNS = ("part", "source", "version", "suite", "in", "licence", "text")


def rows():
    """sources.txt: a dict a row. The licence may have blanks, so the other columns are counted from both ends."""
    with open(os.path.join(HERE, "sources.txt"), encoding="ascii") as f:
        for line in f:
            words = line.split("#")[0].split()
            if words:
                yield dict(zip(COLUMNS, words[:5] + [" ".join(words[5:-1]), words[-1]]))


def files_of(row):
    """Name and SHA-256 of what the source package consists of."""
    begin = row["source"] + "_" + row["version"].split(":")[-1].split("-")[0]
    with open(os.path.join(HERE, "sources.sha256"), encoding="ascii") as f:
        return [(name, digest) for digest, name in (line.split() for line in f) if name.startswith(begin)]


def version_of_davit():
    with open(os.path.join(HERE, "..", "CMakeLists.txt"), encoding="utf-8") as f:
        return re.search(r"project\(davit VERSION ([0-9.]+)", f.read())[1]


def text(*path):
    with open(os.path.join(*path), encoding="utf-8", errors="replace") as f:
        return f.read().rstrip("\n") + "\n"


def parts(program, licences):
    """davit itself, what is in this program, and the pieces of the compiler's own library that each program gets."""
    found = [{"name": "davit", "version": version_of_davit(), "licence": "MIT", "linked": "built in", "text": text(HERE, "..", "LICENSE")}]
    for row in rows():
        if row["in"] in ("all", program):
            found.append({"name": row["part"], "version": row["version"].split(":")[-1], "licence": row["licence"], "linked": "built in",
                          "text": text(licences, row["part"])})
    return found


def package(row):
    files = files_of(row)
    return {
        "SPDXID": "SPDXRef-" + row["part"], "name": row["part"], "versionInfo": row["version"].split(":")[-1], "supplier": "Organization: Debian",
        "downloadLocation": "NOASSERTION", "filesAnalyzed": False, "licenseConcluded": row["licence"], "licenseDeclared": row["licence"],
        "copyrightText": "NOASSERTION", "primaryPackagePurpose": "LIBRARY",
        "sourceInfo": "built from the files " + ", ".join(f"{name} (SHA-256 {digest})" for name, digest in files),
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                          "referenceLocator": f"pkg:deb/debian/{row['source']}@{row['version'].replace(':', '%3A').replace('+', '%2B')}?arch=source&distro={row['suite']}"}],
    }


def spdx(files, epoch):
    """SPDX 2.3: the files, davit, which they are made of, and each library. The same files give the same document."""
    version = version_of_davit()
    digests = []
    for path in files:
        with open(path, "rb") as f:
            data = f.read()
        digests.append((os.path.basename(path), hashlib.sha1(data, usedforsecurity=False).hexdigest(), hashlib.sha256(data).hexdigest()))
    seed = hashlib.sha256(json.dumps(digests).encode()).hexdigest()
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-davit")]
    relations += [("SPDXRef-davit", "STATIC_LINK", "SPDXRef-" + row["part"]) for row in rows()]
    entries = []
    for name, sha1, sha256 in digests:
        ident = "SPDXRef-File-" + re.sub(r"[^A-Za-z0-9.]", "-", name)
        entries.append({"SPDXID": ident, "fileName": "./" + name, "fileTypes": ["BINARY"], "licenseConcluded": "NOASSERTION", "licenseInfoInFiles": ["NOASSERTION"],
                        "copyrightText": "NOASSERTION",
                        "checksums": [{"algorithm": "SHA1", "checksumValue": sha1}, {"algorithm": "SHA256", "checksumValue": sha256}]})
        relations.append((ident, "GENERATED_FROM", "SPDXRef-davit"))
        for row in rows():
            if row["in"] == "all" or (row["in"] == "forge") == name.startswith("davit-forge"):
                relations.append((ident, "STATIC_LINK", "SPDXRef-" + row["part"]))
    return {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "davit-" + version,
        "documentNamespace": f"https://github.com/davit-deploy/davit/spdx/davit-{version}-{seed}",
        "creationInfo": {"created": datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), "creators": ["Tool: davit-packaging"]},
        "documentDescribes": ["SPDXRef-davit"],
        "packages": [{"SPDXID": "SPDXRef-davit", "name": "davit", "versionInfo": version, "downloadLocation": "https://github.com/davit-deploy/davit", "filesAnalyzed": False,
                      "licenseConcluded": "MIT", "licenseDeclared": "MIT", "copyrightText": "Copyright (c) 2026 The davit authors", "primaryPackagePurpose": "APPLICATION"},
                     *[package(row) for row in rows()]],
        "files": entries,
        "relationships": [{"spdxElementId": a, "relationshipType": kind, "relatedSpdxElement": b} for a, kind, b in relations],
        "hasExtractedLicensingInfos": [{"licenseId": PUBLIC_DOMAIN, "name": "XZ Utils: public domain",
                                        "extractedText": "liblzma is in the public domain."}],
    }


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--program", choices=["davit", "forge"], help="the parts of this one, with the texts of their licences")
    options.add_argument("--licences", help="the directory of these texts")
    options.add_argument("--spdx", nargs="*", metavar="FILE", help="the SPDX document of these files")
    given = options.parse_args()
    if given.spdx is not None:
        document = spdx(given.spdx, int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
    elif given.program and given.licences:
        document = {"parts": parts(given.program, given.licences)}
    else:
        options.error("--program with --licences, or --spdx")
    json.dump(document, sys.stdout, indent=1, ensure_ascii=False)
    print()


main()
