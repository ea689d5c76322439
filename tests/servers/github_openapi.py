"""GitHub's own description of its REST API (npm package @octokit/openapi), where cmake/packages.sh has fetched it (DAVIT_TEST_OPENAPI names another place)."""
import functools
import json
import os
import re
import urllib.parse

from servers.openapi import Schema

FILE = os.environ.get("DAVIT_TEST_OPENAPI", "/var/cache/davit-tests/github-openapi/api.github.com.json")
WHY_NOT = None if os.path.isfile(FILE) else "GitHub's description of its REST API is not here: cmake/packages.sh test"
# What the official runner asks too, and the description leaves out.
BESIDE = re.compile(r"POST /actions/(runner-registration|runners/register)|GET /(repos/[^/]+/[^/]+|orgs/[^/]+)/actions/runner-groups")


@functools.cache
def load():
    """A stand-in answers fewer members than GitHub: those that it has are looked at."""
    with open(FILE, encoding="utf-8") as f:
        return Schema(json.load(f), whole=False)


def split(target):
    """"/api/v3/a?b=c" → "/a", {"b": "c"}"""
    path, _, query = target.partition("?")
    return path.removeprefix("/api/v3"), dict(urllib.parse.parse_qsl(query, keep_blank_values=True))


def undescribed(requests):
    """Of the requests that a forge has seen (GET /_forge/requests) those of REST whose path, method or query GitHub does not describe; none where the
    description is not here."""
    if WHY_NOT:
        return []
    schema, faults = load(), []
    for r in requests:
        if not r["path"].startswith("/api/v3/"):
            continue
        path, query = split(r["path"])
        template, operation = schema.operation(r["method"], path)
        if operation is None:
            if not BESIDE.fullmatch(f"{r['method']} {path}"):
                faults.append(f"{r['method']} {path} is not described")
            continue
        known = {p["name"] for p in map(schema.resolve, operation.get("parameters", [])) if p["in"] == "query"}
        faults += [f"{r['method']} {template} has no {name}" for name in query if name not in known]
    return faults
