#!/usr/bin/env python3
"""A project of Scaleway for the contract suite, whose token has the suite's secrets. What is compared of it is what there is by its names: ids, times and the tags that
davit gives are new ones in each run."""
import copy
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from servers import scaleway_objects, suite_world  # noqa: E402
from servers.scaleway import PROJECT, ZONE, Scaleway  # noqa: E402

KEPT = ("servers", "volumes", "local_volumes", "snapshots", "ips", "groups", "data")


class Service(Scaleway):
    def knows(self, token):
        return token.startswith("never-to-be-seen-9c41-")


def tags_of(one):
    return sorted(t for t in one["tags"] if not t.startswith("davit="))


class World:
    def __init__(self, service):
        self.service, self.saved = service, {}
        self.facts = {"url": service.url, "project": PROJECT, "zone": ZONE}
        c = service
        image = next(k for k, v in c.image_labels().items() if v == ("debian_bookworm", "x86_64"))
        _, made = scaleway_objects.create_server(c, {}, {}, {"name": "web", "commercial_type": "DEV1-S", "image": image, "project": PROJECT, "tags": ["blue"],
                                                             "dynamic_ip_required": False, "volumes": {"0": {"size": 10 ** 10, "volume_type": "sbs_volume"}}})
        c.servers[made["server"]["id"]].update(state="running", state_detail="booted")
        data = scaleway_objects.new_volume(c, "data", 2 * 10 ** 10, 5000, ["keep"], data="rows")
        data["status"] = "available"
        scaleway_objects.attach_volume(c, {"server_id": made["server"]["id"]}, {}, {"volume_id": data["id"]})
        scaleway_objects.create_ip(c, {}, {}, {"project": PROJECT, "type": "routed_ipv4", "tags": ["davit-name=old-ip"]})
        _, group = scaleway_objects.create_group(c, {}, {}, {"name": "shop", "project": PROJECT})
        scaleway_objects.put_rules(c, {"group_id": group["security_group"]["id"]}, {}, {"rules": [
            {"action": "accept", "protocol": "TCP", "direction": "inbound", "ip_range": "0.0.0.0/0", "dest_port_from": 22, "dest_port_to": 22, "position": 1, "editable": True}]})

    def lines(self):
        c = self.service
        for s in c.servers.values():
            disks = [(k, c.volumes[v["id"]]["name"], c.data[v["id"]]) for k, v in sorted(s["volumes"].items())]
            yield f"instance {s['name']} {s['commercial_type']} {s['state']} {tags_of(s)} {s['security_group']['name']} {s['protected']} {s['_user_data']} {disks}"
        for v in c.volumes.values():
            yield f"volume {v['name']} {v['size']} {v['status']} {v['specs']['perf_iops']} {tags_of(v)} {c.data[v['id']]} used {len(v['references'])}"
        for i in c.ips.values():
            yield f"ip {i['type']} {tags_of(i)} {i['server'] and i['server']['name']} {i['reverse']}"
        for g in c.groups.values():
            rules = [{k: v for k, v in r.items() if k != "id"} for r in g["_rules"]]
            yield f"group {g['name']} {g['stateful']} {g['inbound_default_policy']} {g['outbound_default_policy']} {g['description']} {tags_of(g)} {json.dumps(rules, sort_keys=True)}"
        yield f"snapshots {sorted(s['status'] for s in c.snapshots.values())}"

    def list(self, detail):
        with self.service.lock:
            self.service.advance()
            lines = sorted(self.lines())
            changed = len(self.service.changed())
            return lines + ([f"asked to change {changed}"] if detail == "touched" else []) + [f"wrong {w}" for w in self.service.wrong]

    def save(self, name):
        self.saved[name] = ({k: copy.deepcopy(getattr(self.service, k)) for k in KEPT}, self.list("roughly"))

    def saved_list(self, name):
        return self.saved[name][1]

    def load(self, name, base):
        del base
        with self.service.lock:
            self.service.pending.clear()
            for key, value in copy.deepcopy(self.saved[name][0]).items():
                setattr(self.service, key, value)


def main():
    with Service(task_s=0.02) as service:
        suite_world.talk(World(service))


if __name__ == "__main__":
    main()
