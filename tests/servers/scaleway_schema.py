"""What Scaleway's published schema says of a request and of an answer. None of it is in this tree: it is read where the contracts are at hand (DAVIT_CONTRACTS,
else ../shared/contracts beside the source tree)."""
import json
import os
import re

from servers.openapi import Schema

SOURCE = os.environ.get("DAVIT_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
CONTRACTS = os.environ.get("DAVIT_CONTRACTS", os.path.join(os.path.realpath(SOURCE), "..", "shared", "contracts"))
# The schema at hand leaves them out.
OUTSIDE = re.compile(r"/instance/v1/zones/[^/]+/security_groups(/.*)?")


class Described(Schema):
    def request_fault(self, method, path, query, body, content_type):
        outside = OUTSIDE.fullmatch(path) and self.operation(method, path)[1] is None
        return None if outside else super().request_fault(method, path, query, body, content_type)


def load():
    """None: the contracts are not at hand."""
    try:
        with open(os.path.join(CONTRACTS, "scaleway-openapi.json")) as f:
            return Described(json.load(f))
    except FileNotFoundError:
        return None


def recorded():
    """Exchanges with the real service, as they were; None: the contracts are not at hand."""
    try:
        with open(os.path.join(CONTRACTS, "scaleway-recorded.jsonl")) as f:
            return [row for row in map(json.loads, f) if "method" in row]
    except FileNotFoundError:
        return None
