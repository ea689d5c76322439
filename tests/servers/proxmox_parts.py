"""What the stand-in of Proxmox VE and its parts share."""
import hashlib
import json


class Refused(Exception):
    def __init__(self, status, message, errors=None):
        super().__init__(message)
        self.status, self.message, self.errors = status, message, errors


class TaskFailed(Exception):
    pass


def properties(text, first="volume"):
    return dict(p.split("=", 1) if "=" in p else (first, p) for p in str(text).split(","))


def word(guest):
    return "CT" if guest["type"] == "lxc" else "VM"


def prefix(kind):
    return "vz" if kind == "lxc" else "qm"


def digest_of(guest):
    return hashlib.sha1(json.dumps(guest["config"], sort_keys=True).encode()).hexdigest()
