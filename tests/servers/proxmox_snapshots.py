"""Snapshots of the stand-in's guests: a tree by `parent`, of which the row "current" is the present state. One that is being made is there at once,
with `snapstate`, and stays so when its task dies; a lock is held for each of the tasks. What a storage cannot do fails in the task, as the server
does it: only a look at the feature tells before."""
import re
import time

from servers.proxmox_parts import Refused, TaskFailed, digest_of, prefix, properties

DISKS = {"lxc": r"rootfs|mp\d+", "qemu": r"(scsi|virtio|sata|ide)\d+"}
NEWEST_ONLY = {"zfspool"}


def volumes(guest):
    """storage of each disk; None: a directory of the node."""
    for key, value in guest["config"].items():
        if re.fullmatch(DISKS[guest["type"]], key) and "media=cdrom" not in str(value):
            volume = properties(value)["volume"]
            yield None if volume.startswith("/") else volume.split(":")[0]


def has_feature(p, guest):
    return all(s is not None and p.storages.get(s, {}).get("snapshots") for s in volumes(guest))


def feature(kind):
    def run(p, given, params):
        return {"hasFeature": 1 if has_feature(p, p.guest_at(given, kind)) else 0}
    return run


def listed(kind):
    def run(p, given, params):
        guest = p.guest_at(given, kind)
        rows = []
        for name, s in guest["snapshots"].items():
            row = {"name": name, "description": s["description"] + "\n" if s["description"] else "", "snaptime": s["time"]}
            if kind == "qemu":
                row["vmstate"] = s["vmstate"]
            rows.append({**row, **({"parent": s["parent"]} if s["parent"] else {}), **({"snapstate": s["state"]} if s["state"] else {})})
        present = {"name": "current", "description": "You are here!", "running": 1 if guest["status"] == "running" else 0, "digest": digest_of(guest)}
        return rows + [{**present, **({"parent": guest["parent"]} if guest.get("parent") else {})}]
    return run


def mine(guest, lock):
    """The lock of a task does not stop the task."""
    return {**guest, "lock": None if guest["lock"] == lock else guest["lock"]}


def take(kind):
    def run(p, given, params):
        guest, name = p.guest_at(given, kind), params["snapname"]
        if name in ("current", "vzdump", "pending"):
            raise Refused(400, "Parameter verification failed.", {"snapname": f"unable to use snapshot name '{name}' (reserved name)"})
        began = {}
        free, used = not guest["lock"], name in guest["snapshots"]
        if free and not used and has_feature(p, guest):
            guest["snapshots"][name] = began = {"description": params.get("description", ""), "time": int(time.time()), "parent": guest.get("parent"), "state": "prepare",
                                                "vmstate": int(params.get("vmstate", 0)), "config": dict(guest["config"]), "data": guest["data"],
                                                "status": guest["status"]}

        def effect():
            p.unlocked(mine(guest, "snapshot"))
            if used:
                raise TaskFailed(f"snapshot name '{name}' already used")
            if not began:
                raise TaskFailed("snapshot feature is not available")
            began["state"], guest["parent"] = None, name
        return p.start_task(prefix(kind) + "snapshot", given["vmid"], given["node"], effect, "snapshot" if free else None, lambda: guest["snapshots"].pop(name, None) if began else None)
    return run


def newer(guest, name):
    """As ZFS has them: in the order in which they were taken."""
    names = list(guest["snapshots"])
    return names[names.index(name) + 1:]


def roll_back(kind):
    def run(p, given, params):
        guest, name = p.guest_at(given, kind), given["snapname"]
        if name not in guest["snapshots"]:
            raise Refused(500, f"snapshot '{name}' does not exist")

        def effect():
            p.unlocked(mine(guest, "rollback"))
            kept = guest["snapshots"][name]
            if kept["state"]:
                raise TaskFailed(f"unable to rollback to incomplete snapshot (snapstate = {kept['state']})")
            for storage in volumes(guest):
                if p.storages.get(storage, {}).get("type") in NEWEST_ONLY and newer(guest, name):
                    raise TaskFailed(f"can't rollback, '{name}' is not most recent snapshot on '{storage}'")
            resumes = kept["vmstate"] and kept["status"] == "running"
            starts = resumes or params.get("start") == "1"
            guest.update(config=dict(kept["config"]), data=kept["data"], pending={}, status="stopped", parent=name)
            guest["rolled_back"] = guest.get("rolled_back", 0) + 1
            # The start is a task of its own, which the first one does not wait for.
            if starts and not p.forgets_start:
                p.later(prefix(kind) + "start", given["vmid"], given["node"], lambda: guest.update(status="running"))
        return p.start_task(prefix(kind) + "rollback", given["vmid"], given["node"], effect, "rollback" if not guest["lock"] else None)
    return run


def remove(kind):
    def run(p, given, params):
        guest, name = p.guest_at(given, kind), given["snapname"]
        if name not in guest["snapshots"]:
            raise Refused(500, f"snapshot '{name}' does not exist")

        def effect():
            p.unlocked(mine(guest, "snapshot-delete"))
            gone = guest["snapshots"][name]
            if gone["state"] and params.get("force") != "1":
                raise TaskFailed("snapshot is not whole: use force")
            del guest["snapshots"][name]
            for other in guest["snapshots"].values():
                if other["parent"] == name:
                    other["parent"] = gone["parent"]
            if guest.get("parent") == name:
                guest["parent"] = gone["parent"]
        return p.start_task(prefix(kind) + "delsnapshot", given["vmid"], given["node"], effect, "snapshot-delete" if not guest["lock"] else None)
    return run


def routes():
    for kind in ("lxc", "qemu"):
        of = f"/nodes/{{node}}/{kind}/{{vmid}}"
        yield ("GET", of + "/feature"), feature(kind)
        yield ("GET", of + "/snapshot"), listed(kind)
        yield ("POST", of + "/snapshot"), take(kind)
        yield ("DELETE", of + "/snapshot/{snapname}"), remove(kind)
        yield ("POST", of + "/snapshot/{snapname}/rollback"), roll_back(kind)


def named(p, vmid):
    """Those that are whole, oldest first."""
    return [name for name, s in p.guests[vmid]["snapshots"].items() if not s["state"]]
